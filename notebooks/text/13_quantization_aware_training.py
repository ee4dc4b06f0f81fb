# %% [markdown]
# # 13 · Quantization-aware training: what if quantizing after training is not enough?
#
# With 8 bits, a network that was trained in floats hardly notices. With 4 it does, with 2 it is lost: its weights were never asked to be anything but right in full. So ask them: round in training as well. But rounding is flat almost everywhere. Which gradient does a flat function have?
#
# **You will be able to**
#
# * derive the straight-through gradient, and say where it misleads;
# * write the training loop with rounding;
# * fold BatchNorm in training, so that what is trained is what is deployed;
# * derive LSQ's gradient of the step, and check it;
# * distil into few bits, and know what few codes for the logits cost;
# * tell from a distribution, not from the kind of model, what 8 bits will cost.
#
# **Before:** chapters [04](04_kl_and_cross_entropy.ipynb) (KL), [05](05_distilling_logits.ipynb) (temperature), [10](10_affine_quantization.ipynb) (scales, clips, folding), [11](11_integer_arithmetic.ipynb) (QDQ), [12](12_post_training_quantization.ipynb) (AdaRound). **Time:** 120 min to work through; the cells take about 2 min on 2 quiet cores. Symbols: [notation](../docs/notation.md).

# %% tags=["nbval-ignore-output"]
import copy
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown, display
from torch import nn
from torch.nn import functional as F

from course_lib import plots, widgets
from course_lib.data import load
from course_lib.distillation import distillation_loss, soft_target_loss
from course_lib.evaluation import model_accuracy, predict_logits
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.measure import claim
from course_lib.measure.tables import text_table
from course_lib.models import checkpoints
from course_lib.quantization import Affine, Codes, fake_quantize, min_max

splits = load(size=32)
student, _ = checkpoints.load(f"student_{splits.train.name}")

# %% [markdown]
# All trainings on this page are short: a sixteenth of the training signs, two epochs. Some other training images choose the better epoch; validation is the score.


# %% tags=["nbval-ignore-output"]
def part(dataset, count, first=0):
    """About ``count`` images, evenly spread."""
    return dataset.subset(np.arange(first, len(dataset), max(1, len(dataset) // count)))


train, choosing = part(splits.train, 1800), part(splits.train, 400, first=5)
validation = part(splits.validation, 1200)
images, labels = train.batch(np.arange(len(train)))  # (N, 3, 32, 32), (N,)
calibration = images[::4]
whole = model_accuracy(student, validation)
print(f"{len(train)} images to train on; the student in float32: {100 * whole:.1f} % of "
      f"{len(validation)} validation images right")

# %% [markdown]
# ## What rounding after training leaves
#
# *W4A4* means weights and activations of 4 bits. First and last layer keep 8, as in most papers, and so do the image, what the last layer reads, and the logits. (Weights of 8 bits use only the codes of 7: [chapter 11](11_integer_arithmetic.ipynb).) `quantize_network` takes ranges from training images; AdaRound *learns* which weights to round up and which down, here in few steps.

# %% tags=["nbval-ignore-output"]
from course_lib.quantization.adaround import Rounding, adaround
from course_lib.quantization.aware import BitWidths, FrozenStatistics, prepare
from course_lib.quantization.calibrated import quantize_network, simulated_logits

WIDTHS = (8, 4, 3, 2)
pixels = validation.batch(np.arange(len(validation)))[0]


def accuracy_of(quantized):
    answers = simulated_logits(quantized, pixels).argmax(1).numpy()
    return float(np.mean(answers == validation.labels))


def after_training(bits):
    """Ranges by min-max, with as many bits for each tensor as training below will have."""
    plan = prepare(student, calibration, BitWidths(bits, bits)).converted()
    eight = quantize_network(student, calibration)
    few = eight if bits == 8 else quantize_network(
        student, calibration, weight_codes=Codes(bits), activation_codes=Codes(bits, signed=False))
    tensors = {name: (few if affine.codes.bits == bits else eight).activations[name]
               for name, affine in plan.activations.items()}
    weights = {name: (few if affine.codes.bits == bits else eight).weights[name]
               for name, affine in plan.weights.items()}
    return replace(eight, activations=tensors, weights=weights)


# %% tags=["nbval-ignore-output"]
rounded = {bits: after_training(bits) for bits in WIDTHS}
post = {"min-max": {bits: accuracy_of(network) for bits, network in rounded.items()}, "AdaRound": {}}
for bits in WIDTHS:
    learned = adaround(rounded[bits], calibration[:128], Rounding(steps=100, patches=2048, batch=256))
    post["AdaRound"][bits] = accuracy_of(learned)
rows = [[f"W{bits}A{bits}", *(f"{100 * found[bits]:.1f} %" for found in post.values())] for bits in WIDTHS]
print(text_table(["after training", *post], rows))

# %%
claim("8 bits cost less than 2 points; 2 bits leave less than half of the answers right, "
      "even with AdaRound.",
      whole - post["min-max"][8] < 0.02 and max(found[2] for found in post.values()) < 0.5)

# %% [markdown]
# ## Predict first
#
# 1. The 2-bit student now trains on: some thousand images, rounded in each forward pass. Its first steps are not those of the range but $2\,\overline{|x|}/\sqrt{Q_P}$, with $Q_P$ the largest code, where that is smaller (`prepare` sets them, by the rule of LSQ, a method that comes below). It gains (a) less than 20 points over its first, untrained codes, (b) 20 to 50, (c) more?
# 2. Decision trees split one feature at a time. Their features are log-normal: a few values are very large. In uniform 8-bit codes, from the smallest to the largest value, a forest loses (a) less than 2 points, (b) 2 to 10, (c) more?

# %% tags=["nbval-ignore-output"]
training_guess = None  # "a", "b" or "c"; the chapter comes back to both
forest_guess = None
display(predict("13.p1", training_guess, sure=None), predict("13.p2", forest_guess, sure=None))

# %% [markdown]
# ## A gradient for a staircase
#
# $\mathrm{round}(x)$ is a staircase: its derivative is 0 between the steps, and there is none at them. Blur it. Add a *dither* $u$, uniform on $-\frac12 \dots \frac12$, before rounding. Write $x = n + r$ with an integer $n$ and $0 \le r < 1$: then $x + u$ is rounded to $n + 1$ if $u \ge \frac12 - r$, which has probability $r$, and to $n$ else. So
#
# $$\mathbb E\,\mathrm{round}(x + u) = n\,(1 - r) + (n + 1)\,r = x, \qquad \frac{\mathrm d}{\mathrm dx}\,\mathbb E\,\mathrm{round}(x + u) = 1 . \tag{1}$$
#
# The blurred staircase is the identity. *Straight through* uses its derivative, 1, for the staircase itself, while the forward pass rounds without dither. Clipping keeps its own: 1 inside, 0 outside. With scale $S$, lowest and highest code $q_l$, $q_h$ and $Z = 0$,
#
# $$\hat x = S\,\mathrm{clip}\bigl(\mathrm{round}(x/S),\, q_l,\, q_h\bigr), \qquad \frac{\partial L}{\partial x} := \frac{\partial L}{\partial \hat x}\cdot\begin{cases} 1 & q_l \le \mathrm{round}(x/S) \le q_h \\ 0 & \text{else.} \end{cases} \tag{2}$$
#
# **By hand.** $S = 1$, codes $-1, 0, 1$; values $-0.7$, $0.2$, $0.6$, $2.2$. Forward: $-1$, $0$, $1$, $1$. Let the loss be $\sum \hat x^2$, so $\partial L/\partial \hat x = 2\hat x$. Backward: $-2$, $0$, $2$, and $0$ for the value that was clipped.

# %%
four = torch.tensor([-0.7, 0.2, 0.6, 2.2], requires_grad=True)
codes = Codes(2, restricted=True)  # −1, 0, 1: restricted leaves out −2
three_codes = Affine(codes, torch.tensor(1.0), torch.tensor(0, dtype=torch.int32))
forward = fake_quantize(four, three_codes)
forward.square().sum().backward()
print("forward", forward.tolist(), "backward", four.grad.tolist())

# %% [markdown]
# **Exercise 13.1.** Forward and backward at once.


# %%
def round_straight_through(x, scale, low, high):
    """scale · clip(round(x / scale), low, high), of the shape of x; halves to even.

    low … high need not hold 0; the dtype of the result is free. Its gradient by x is 1 where
    round(x / scale) is one of low … high, both ends included, and 0 elsewhere.
    """
    ...


check("13.1", round_straight_through)

# %% [markdown]
# ### Where it misleads
#
# One weight, codes 0 and 1, loss $(\hat w - 0.3)^2$. Try both: code 0 costs 0.09, code 1 costs 0.49. Nothing is easier. What does gradient descent do?


# %%
def descend(start, target=0.3, rate=0.05, steps=300):
    """The weight in full and its code, before each step and after the last; the rate falls to 0."""
    kept = [start]
    for step in range(steps):
        code = np.clip(np.rint(kept[-1]), 0, 1)
        kept.append(kept[-1] - rate * (1 - step / steps) * 2 * (code - target))
    return np.array(kept), np.clip(np.rint(kept), 0, 1)


kept, used = descend(0.0)
plots.swinging_figure(kept, used, 0.3)

# %%
runs = np.array([descend(start)[1] for start in np.linspace(0.2, 0.8, 200)])  # (200, 301)
worse = runs.mean(0)  # share of the runs on code 1, before each step and after the last
mean_used = runs[:, 100:].mean()
print(f"mean of the weight used, from step 100 on: {mean_used:.2f}; of 200 runs, on the worse code after",
      ", ".join(f"{stop} steps {100 * worse[stop]:.0f} %" for stop in (200, 290, 295, 299, 300)))

# %%
claim("At every step from 100 to 290, 15 to 45 % of the runs are on the worse of two codes; "
      "the mean used is what was asked for.",
      worse[100:291].min() > 0.15 and worse[100:291].max() < 0.45 and abs(mean_used - 0.3) < 0.05)

# %% [markdown]
# At code 0 the gradient says up, at code 1 it says down, and the weight swings around the threshold. The gradient is that of the *mean* over codes, and the mean is served well. Which code is left depends on the step at which training stops: see the line above, whose last number is what these trainings leave. A smaller learning rate swings less far, and just as long.
#
# Drag step and bits. The third curve comes below.

# %% tags=["nbval-ignore-output"]
widgets.step_explorer()

# %% tags=["nbval-ignore-output"]
plots.staircase_figure(1.0, Codes(3))

# %% [markdown]
# ## The loop, once in full
#
# First a small network in floats, one convolution and a classifier, and a training loop as always:

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
classes = student.classifier.out_features
small = nn.Sequential(nn.Conv2d(3, 16, 5, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 7 * 7, classes))


def descend_on(forward, parameters, epochs, rate):
    """The loss of each step, and the gradients of the first."""
    optimizer, losses, first = torch.optim.Adam(parameters, lr=rate), [], None
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(128):
            loss = F.cross_entropy(forward(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            first = first or [parameter.grad.clone() for parameter in parameters]
            optimizer.step()
            losses.append(loss.item())
    return losses, first


losses, _ = descend_on(small, list(small.parameters()), epochs=12, rate=3e-3)
print(f"in floats: loss {np.mean(losses[:5]):.2f} at first, {np.mean(losses[-5:]):.2f} at last")

# %% [markdown]
# With rounding the loop stays as it is, and the forward pass changes: codes for the image, for both weights, for what lies between, and for the logits. The parameters are the weights *in full*; they are used rounded. All have 4 bits here.

# %% tags=["nbval-ignore-output"]
aware = prepare(small, calibration, BitWidths(4, 4, ends=4))  # the library's; here for its first scales
start = aware.converted()
x_codes, between, logit_codes = (start.activations[name] for name in ("images", "0", "3"))
w1_codes, w2_codes = start.weights["0"], start.weights["3"]
conv, linear = copy.deepcopy(small[0]), copy.deepcopy(small[3])


def forward_on_codes(x):
    x = fake_quantize(x, x_codes)
    x = F.conv2d(x, fake_quantize(conv.weight, w1_codes), conv.bias, conv.stride).relu()
    x = fake_quantize(x, between).flatten(1)
    x = F.linear(x, fake_quantize(linear.weight, w2_codes), linear.bias)
    return fake_quantize(x, logit_codes)


parameters = [conv.weight, conv.bias, linear.weight, linear.bias]
losses, first = descend_on(forward_on_codes, parameters, epochs=6, rate=1e-3)
print(f"on codes: loss {losses[0]:.2f} in the first step, {np.mean(losses[-5:]):.2f} at last")

# %% [markdown]
# (The two last losses are not comparable: the weights on codes began where the floats ended, and trained on.)
#
# `prepare` gives the same as a module that `training.fit` trains like any other; its scales are parameters, too. Its first step:

# %% tags=["nbval-ignore-output"]
batch = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:128]
aware.train()
library_loss = F.cross_entropy(aware(images[batch]), labels[batch])
library_loss.backward()
pairs = zip((first[0], first[2]), (aware.layer(name).layer.weight.grad for name in ("0", "3")), strict=True)
alike = [F.cosine_similarity(mine.flatten(), theirs.flatten(), dim=0).item() for mine, theirs in pairs]
print(f"loss {losses[0]:.4f} and {library_loss:.4f}; cosine of the weights' gradients",
      " and ".join(f"{value:.3f}" for value in alike))

# %%
claim("The library's first loss is the same within 1 %, and both weights' gradients point the same way: "
      "cosine above 0.9.", abs(library_loss.item() / losses[0] - 1) < 0.01 and min(alike) > 0.9)

# %% [markdown]
# (Not the same to the digit: the library rounds biases, too, and stops gradients half a step earlier, as LSQ does.)
#
# **Exercise 13.2.** The heart of the loop, for one linear neuron.


# %%
def training_step(w, x, y, scale, rate):
    """The weights (K,) after one step of gradient descent with the learning rate ``rate``; w stays as it is.

    x (B, K) are the inputs, y (B,) the targets. The outputs are x @ scale·round(w / scale), halves to
    even, without clipping; the loss is the mean over B of the squared differences to y; rounding
    passes the gradient straight through.
    """
    ...


check("13.2", training_step)

# %% [markdown]
# Now the student, in 2 bits:

# %% tags=["nbval-ignore-output"]
from course_lib.training import Recipe, fit


def trained(network, seed=0, rate=3e-3, loss=None, frozen=1):
    """Two epochs; BatchNorm's statistics stay in the last ``frozen`` of them."""
    recipe = Recipe(2, rate, batch_size=64, weight_decay=0.0, augmentation=None, seed=seed)
    held = FrozenStatistics(2 - frozen)
    fit(network, train, choosing, recipe, loss=loss, constraint=held, progress=False)
    return network


two_bits = prepare(student, calibration, BitWidths(2, 2))
untrained = accuracy_of(two_bits.converted())
trained(two_bits)
gained = accuracy_of(two_bits.converted())
print(f"W2A2: first codes {100 * untrained:.1f} %, after two short epochs {100 * gained:.1f} %")
reveal("13.p1", 100 * (gained - untrained))

# %% [markdown]
# ## BatchNorm: what gets codes?
#
# In use BatchNorm is a factor and a shift for each channel, $f = \gamma/\sqrt{\sigma^2 + \varepsilon}$, folded into weights and bias ([chapter 10](10_affine_quantization.ipynb)):
#
# $$y = Q(w f) * x + (b - \mu) f + \beta , \tag{3}$$
#
# where $Q$ puts weights on codes, as $\hat x$ in (2), and $*$ is the layer's convolution.
#
# So $w f$ gets codes, not $w$. Whoever rounds $w$ in training and folds afterwards deploys other numbers than were trained. And $f$ needs statistics. In training there are two: the batch's, which jump from batch to batch, and the running ones, which inference has. The library folds the running ones and undoes them behind the convolution, $y = \mathrm{BatchNorm}(Q(w f) * x / f + b)$: the codes are those of inference, and what follows is normalized by its batch. (Where $f = 0$ there is nothing to undo: the sums are 0, and are divided by a tiny number instead.) In the last epoch the statistics are *frozen*: BatchNorm uses the running ones, and training computes what is deployed.
#
# **Exercise 13.3.** What gets codes in (3).


# %%
def fold(w, b, gamma, beta, mean, variance, epsilon):
    """(weights of the shape of w, bias (C_out,)) of the layer that does what layer and BatchNorm did.

    w has two axes or more, the output channel first; b, gamma, beta, mean and variance are (C_out,), mean and
    variance BatchNorm's running statistics. Nothing is rounded yet.
    """
    ...


check("13.3", fold)


# %%
def in_three_bits(weight, axis):
    codes = Codes(3, restricted=True)
    return fake_quantize(weight, min_max(weight.detach(), codes, symmetric=True, axis=axis))


# %%
class RoundedConv(nn.Module):
    """A convolution and its BatchNorm, weights in 3 bits; fold: "none", "batch" or "running"."""

    def __init__(self, conv, norm, fold, axis=None):
        super().__init__()
        self.conv, self.norm, self.fold, self.axis = conv, norm, fold, axis

    def sums(self, x, weight):
        return F.conv2d(x, weight, None, self.conv.stride, self.conv.padding)

    def forward(self, x):
        w, norm = self.conv.weight, self.norm
        mean, variance = norm.running_mean, norm.running_var
        if self.fold == "none":
            return norm(self.sums(x, in_three_bits(w, self.axis)))
        if self.fold == "batch" and norm.training:
            plain = self.sums(x, w)
            norm(plain)  # the running statistics move
            mean, variance = plain.mean((0, 2, 3)), plain.var((0, 2, 3), unbiased=False)
        f = norm.weight / (variance + norm.eps).sqrt()  # (C_out,)
        sums = self.sums(x, in_three_bits(w * f.view(-1, 1, 1, 1), self.axis))
        if self.fold == "running" and norm.training:
            return norm(sums / f.view(-1, 1, 1))
        return sums + (norm.bias - mean * f).view(-1, 1, 1)


# %% [markdown]
# Weights alone are rounded, to 3 bits, with one scale a *layer*. Two epochs each; the last one freezes the statistics, but for row 2, where they move to the end. `trained` is what the network itself says, in eval mode; `deployed` is (3). A network that folds computes (3) in eval mode, so its two numbers are one. The last row gives each *channel* its own scale.

# %% tags=["nbval-ignore-output"]
def with_rounded_convs(fold, axis=None):
    network = copy.deepcopy(student)
    for block in network.features:
        block[0], block[1] = RoundedConv(block[0], block[1], fold, axis), nn.Identity()
    return network


def deployed(network):
    network = copy.deepcopy(network)
    for block in network.features:
        block[0].fold = "running"  # in eval mode: equation (3), whatever it was in training
    return network


ways = {"not folded": ("none", 1), "batch statistics": ("batch", 0), "batch, then frozen": ("batch", 1),
        "running, then frozen": ("running", 1), "not folded, scale a channel": ("none", 1)}
folding = {}
for way, (fold_of, frozen) in ways.items():
    axis = 0 if "channel" in way else None
    networks = [trained(with_rounded_convs(fold_of, axis), seed, rate=1e-3, frozen=frozen)
                for seed in (0, 1)]
    folding[way] = [[model_accuracy(n, validation) for n in networks],
                    [model_accuracy(deployed(n), validation) for n in networks]]
rows = [[way, *(f"{100 * a:.1f} and {100 * b:.1f} %" for a, b in found)] for way, found in folding.items()]
print(text_table(["two seeds each", "trained", "deployed"], rows))

# %%
gap = {way: np.mean(inside) - np.mean(outside) for way, (inside, outside) in folding.items()}
ahead = np.mean(folding["running, then frozen"][1]) - np.mean(folding["not folded"][1])
claim("Not folded, one scale a layer: the deployed network has more than 10 points less than training says, "
      "and than one that folded running statistics. With a scale a channel: less than 2.",
      min(gap["not folded"], ahead) > 0.1 and abs(gap["not folded, scale a channel"]) < 0.02)

# %% tags=["nbval-ignore-output"]
factors = [(norm.weight / (norm.running_var + norm.eps).sqrt()).abs().detach()
           for norm in (block[1] for block in student.features)]
print("largest f over smallest, layer by layer:", ", ".join(f"{f.max() / f.min():.1f}" for f in factors))

# %% [markdown]
# The last row is the control. A channel's own scale absorbs $f$: $Q(w f) = Q(w)\,f$ for $f > 0$, so nothing is lost by folding late. The fault needs factors that differ *within* one scale, and these do. Rows 2 and 3 differ in the frozen epoch alone, rows 3 and 4 in the statistics alone; two seeds of a short training are thin evidence for small differences.
#
# ## LSQ: learn the step
#
# Where do scales come from? So far from ranges. *Learned step size* (LSQ) gives $S$ a gradient of its own. Let $v = x/S$, and call the ends $-Q_N$ and $Q_P$. Inside, $\hat x = S\,\mathrm{round}(x/S)$. The product rule, with rounding taken for the identity in its derivative and nothing else:
#
# $$\frac{\partial \hat x}{\partial S} = \mathrm{round}(v) + S \cdot \frac{\partial (x/S)}{\partial S} = \begin{cases} \mathrm{round}(v) - v & -Q_N < v < Q_P \\ -Q_N & v \le -Q_N \\ Q_P & v \ge Q_P . \end{cases} \tag{4}$$
#
# A value just below its code pulls the step one way, one just above the other way; inside by at most $\frac12$. A clipped value pulls by $Q_N$ or $Q_P$. **By hand,** $S = 1$, codes $-1, 0, 1$: $0.4$ gives $0 - 0.4 = -0.4$; $-0.7$ gives $-1 + 0.7 = -0.3$; $2$ gives $1$; $-3$ gives $-1$.
#
# **Exercise 13.4.** The gradient of one step that all of $x$ shares.


# %%
def step_gradient(x, step, low, high, gradient):
    """∂L/∂step, a number, where L reads x̂ = step · clip(round(x / step), low, high); halves to even.

    gradient, of the shape of x, is ∂L/∂x̂. Rounding is taken for the identity when differentiating, nothing
    else is: a value with x / step ≤ low or ≥ high counts as clipped. No factor g.
    """
    ...


check("13.4", step_gradient)

# %% [markdown]
# Check (4) against autograd, in double precision. `v + (v.round() − v).detach()` is $\mathrm{round}(v)$ with the derivative 1. An older derivation differentiates the clip alone and has 0 inside: the control.

# %%
x = torch.randn(10_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
upstream = torch.rand(10_000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))  # ∂L/∂x̂
S = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
v = x / S
straight = torch.where(v <= -4, -4.0, torch.where(v >= 3, 3.0, v + (v.round() - v).detach()))
(by_autograd,) = torch.autograd.grad((upstream * S * straight).sum(), S)

v = v.detach()
ends_alone = torch.where(v <= -4, -4.0, torch.where(v >= 3, 3.0, 0.0)).double()
by_formula = (upstream * torch.where(ends_alone == 0, v.round() - v, ends_alone)).sum()
clip_alone = (upstream * ends_alone).sum()
print(f"by autograd {by_autograd:.2f}, by (4) {by_formula:.2f}, the clip alone {clip_alone:.2f}")

# %%
claim("(4) is autograd's straight-through gradient within 1e-8; the clip alone is off by more than 1.",
      abs(by_autograd - by_formula) < 1e-8 and abs(by_autograd - clip_alone) > 1)

# %% [markdown]
# ### A sum over thousands
#
# A weight's gradient is its own; a step's is a sum over $n$ values. LSQ multiplies it by $g = 1/\sqrt{n\,Q_P}$, so that one learning rate of plain gradient descent serves both. What should be alike is update over size: $|\partial L/\partial S|/S$ against $\lVert\partial L/\partial w\rVert/\lVert w\rVert$. With one step a layer:

# %% tags=["nbval-ignore-output"]
measured = prepare(student, calibration, BitWidths(2, 2), per_channel=False, relative=False)
measured.train()  # relative=False: the parameter is S itself, as in the paper
F.cross_entropy(measured(images[:512]), labels[:512]).backward()
ratios = {}
for name, layer in measured.layers.items():
    w, quantizer = layer.layer.weight, layer.quantizer
    of_step = quantizer.factor.grad.abs().item() / quantizer.factor.item()
    of_weights = (w.grad.norm() / w.norm()).item()
    ratios[name] = of_step / of_weights, of_step / of_weights / quantizer.gradient_scale(w)
rows = [[name, *(np.format_float_positional(ratio, 2, fractional=False, trim="-") for ratio in both)]
        for name, both in ratios.items()]
print(text_table(["(step's) / (weights')", "with g", "without g"], rows))

# %%
with_g, without = np.median(list(ratios.values()), axis=0)
claim("The median over layers: with g the step moves 1/20 to 10 times as fast as the weights, "
      "without more than 10 times as fast.", 1 / 20 < with_g < 10 < without)

# %% [markdown]
# A median, not a law: $g$ knows $n$ and $Q_P$, and not how far the terms of the sum cancel.
#
# Adam divides every gradient by its own size: $g$ cancels, and each parameter moves by about the learning rate. For a step of 0.01 and a rate of 0.003 that is a third. So the library's parameter is by default $S$ *relative* to its first value.
#
# **Exercise 13.5.** Count $n$.


# %%
def gradient_scale(shape, kind, bits):
    """g = 1/√(n·Q_P), with n the number of values of one image, or of weights, that share a step.

    kind "activations": shape (B, C, …), one step for all, codes 0 … 2^bits − 1. kind "layer": weights
    (C_out, …), one step for all; kind "channel": one for each output channel; codes of weights
    −2^(bits−1) … 2^(bits−1) − 1.
    """
    ...


check("13.5", gradient_scale)

# %% [markdown]
# ### PACT
#
# PACT learns the clip $\alpha$ of what follows a ReLU: $y = \mathrm{round}(\mathrm{clip}(x, 0, \alpha)/S)\,S$, $S = \alpha/Q_P$, $Q_P = 2^b - 1$. It differentiates the clip and not the step: $\partial y/\partial\alpha = 1$ where $x \ge \alpha$, else 0. That is (4) over $Q_P$ (as $\partial S/\partial\alpha = 1/Q_P$) without its first case. So only clipped values move $\alpha$ through the loss: up where a larger $y$ lowers it, down where a smaller one does. A term $\lambda\alpha^2$ pulls down, by $2\lambda\alpha$.
#
# **Exercise 13.6.** With that term.


# %%
def clip_gradient(x, alpha, gradient, decay):
    """The derivative by α, a number, of L + decay·α², where L reads PACT's y = round(clip(x, 0, α) / S)·S.

    S = α / Q_P. gradient, of the shape of x, is ∂L/∂y. Rounding to steps of S is taken for the identity, so
    that y counts as clip(x, 0, α); a value x ≥ α counts as clipped.
    """
    ...


check("13.6", clip_gradient)

# %% [markdown]
# ## From 8 bits to 2
#
# A recorded study (`benchmarks/quantization_training.py`): LSQ, three seeds, and a control that trains on in float32, as long and on the same images: the dashed line. On real signs (`gtsrb`) only those bits for which the course set itself a limit. Bars are intervals over seeds. Beside it, what rounding after training left above: other images, one run. Below, what is too small for that scale: points lost to the control.

# %% tags=["nbval-ignore-output"]
from course_lib.errors import CourseError
from course_lib.measure import load_result

studies = {}
for name in ("rendered", "gtsrb"):
    try:
        study = load_result(f"quantization_training_{name}")
        studies[name] = study["figures"]
        print(f"{name}: {study['plan']['epochs']} epochs each")
    except CourseError:
        print(f"{name}: the study is not recorded yet")


# %% tags=["nbval-ignore-output"]
def recorded(found):
    """The bits that the study has."""
    return [bits for bits in WIDTHS if f"w{bits}a{bits}_lsq_accuracy" in found]


def line(found, figure):
    """bits, value, low, high."""
    told = [found[f"w{bits}a{bits}_lsq_{figure}"] for bits in recorded(found)]
    return (recorded(found), [r.value for r in told], [r.low for r in told], [r.high for r in told])


panels = {name: (found["fp32_accuracy"].value, {"trained": line(found, "accuracy")})
          for name, found in studies.items()}
here = "rendered" if splits.train.name == "rendered" else "gtsrb"
ours = panels.setdefault(here, (100 * whole, {}))[1]
for method, found in post.items():
    percents = [100 * found[bits] for bits in WIDTHS]
    ours[method] = WIDTHS, percents, percents, percents
plots.low_bits_figure(panels, {name: line(found, "drop_points") for name, found in studies.items()})

# %% tags=["nbval-ignore-output"]
drops = {f"{name} W{bits}A{bits}": found[f"w{bits}a{bits}_lsq_drop_points"]
         for name, found in studies.items() for bits in recorded(found)}
told = {name: f"{drop.value:.2f} ({drop.low:.2f} … {drop.high:.2f})" for name, drop in drops.items()}
rows = [[name, told[name], "yes" if drop.low > 0 else "no"] for name, drop in drops.items()]
heads = ["points lost to float32, trained as long", "with 95 % interval", "without 0"]
print(text_table(heads, rows) if rows else "")

# %% tags=["nbval-ignore-output"]
shown = [name for name, drop in drops.items() if drop.low > 0]
unclear = [name for name in drops if name not in shown]
most = max((drops[name].high for name in unclear), default=0)
display(Markdown(f"Established, with an interval that leaves 0 out: a loss for {', '.join(shown) or 'none'}. "
                 f"Not established, between none and {most:.1f} points: {', '.join(unclear) or 'none'}."))

# %% [markdown]
# ## A teacher for few bits
#
# Distillation ([chapter 05](05_distilling_logits.ipynb)) suits a quantized student: its teacher is itself, in floats. Two traps. The first is old: divide logits by $T$, forget the factor $T^2$, and the soft term fades.

# %% tags=["nbval-ignore-output"]
answers = predict_logits(student, train).clone()  # (N, C), the float student's, on the plain images
logits = predict_logits(two_bits, train).clone().requires_grad_()


def pull(temperature, factor):
    """Norm of the soft term's gradient at the student's logits."""
    loss = factor * soft_target_loss(logits, answers, temperature) / temperature**2
    return torch.autograd.grad(loss, logits)[0].norm().item()


away = (logits - answers).detach()
limit = ((away - away.mean(1, keepdim=True)) / away.numel()).norm().item()
pulls = {T: (pull(T, 1), pull(T, T * T)) for T in (1, 4, 20, 80)}
rows = [[f"T = {T}", f"{bare:.2e}", f"{kept:.2e}"] for T, (bare, kept) in pulls.items()]
rows.append(["T → ∞", "0", f"{limit:.2e}"])
print(text_table(["gradient of the soft term", "without T²", "with T²"], rows))

# %%
claim("From T = 20 to 80 the gradient falls to about 1/16 without T², and stays within a factor of 2 "
      "with it.",
      10 < pulls[20][0] / pulls[80][0] < 22 and 0.5 < pulls[20][1] / pulls[80][1] < 2)

# %% [markdown]
# With $T^2$ the gradient tends to that of a squared error, the centred difference of the logits over $C$ (last row; [chapter 04](04_kl_and_cross_entropy.ipynb)). That holds for large $T$ only: between $T = 1$ and 4 even the right column is far from constant.
#
# The second belongs to few bits. A student whose *logits* have four codes can say four things about a class. How near does *nearest rounding on one grid for all images* come? Take the teacher's own logits, round them to four codes with the step that makes $T^2\,\mathrm{KL}$ least, among 60 steps and all four zero points. As control, 256 codes, of whose zero points every 32nd is tried; and logits that are all 0 and say nothing. (A shift of its own for each image, which softmax does not see, would come nearer.)

# %% tags=["nbval-ignore-output"]
centred = answers - answers.mean(1, keepdim=True)


def best_rounding(temperature, bits):
    """The teacher's logits on the codes nearest in T²·KL, and that KL."""
    found = []
    for step in np.geomspace(0.02, 8, 60):
        for zero in range(0, 2**bits, max(1, 2**bits // 8)):
            affine = Affine(Codes(bits, signed=False), torch.tensor(step, dtype=torch.float32),
                            torch.tensor(zero, dtype=torch.int32))
            restored = fake_quantize(centred, affine)
            found.append((soft_target_loss(restored, centred, temperature).item(), step, restored))
    return min(found, key=lambda one: one[0])


reached = {}
for bits in (2, 8):
    for T in (1, 4, 20):
        kl, step, restored = best_rounding(T, bits)
        ties = ((restored == restored.max(1, keepdim=True).values).sum(1) > 1).float().mean().item()
        reached[bits, T] = kl, step, ties

# %% tags=["nbval-ignore-output"]
silent = {T: soft_target_loss(torch.zeros_like(centred), centred, T).item() for T in (1, 4, 20)}
left = {(bits, T): kl / silent[T] for (bits, T), (kl, _, _) in reached.items()}
rows = [[f"{2**bits} codes, T = {T}", f"{kl:.3f}", f"{100 * left[bits, T]:.2f} %", f"{step:.2f}",
         f"{100 * ties:.0f} %"] for (bits, T), (kl, step, ties) in reached.items()]
rows += [[f"all 0, T = {T}", f"{kl:.3f}", "100 %", "", ""] for T, kl in silent.items()]
print(text_table(["logits", "least T²·KL", "of all 0", "step", "first place shared"], rows))

# %%
claim("By nearest rounding, four codes leave at T = 20 more than 5 times the share of T²·KL that they "
      "leave at T = 1 (100 %: all logits 0); 256 codes leave less than 1 %.",
      left[2, 20] > 5 * left[2, 1] and max(left[8, T] for T in (1, 4, 20)) < 0.01)

# %% [markdown]
# At $T = 1$ only the first few classes matter, and four codes nearly do. A high temperature asks for *all* logits, in squared error ([chapter 04](04_kl_and_cross_entropy.ipynb)); four codes cannot give them, and the loss keeps pulling. (Last column: images with several classes on the highest code that occurs, so that the answer is a tie.) Does training suffer from it? W2A2, two seeds, 90 % soft target; once with 2 bits for the logits, and as control with 8. Nothing else differs.

# %% tags=["nbval-ignore-output"]
def soft(temperature):
    def loss(logits, batch):
        told = answers[batch.indices]
        return distillation_loss(logits, told, batch.labels, temperature=temperature, alpha=0.9)

    return loss


def student_in_two_bits(logit_bits):
    network = prepare(student, calibration, BitWidths(2, 2))
    if logit_bits == 2:
        logits_alone = prepare(student, calibration, BitWidths(2, 2, ends=2)).quantizers["classifier"]
        network.quantizers["classifier"] = logits_alone
    return network


# %% tags=["nbval-ignore-output"]
teachers = {"labels alone": None, "T = 4": soft(4.0), "T = 20": soft(20.0)}
taught = {}
for bits in (2, 8):
    for name, loss in teachers.items():
        networks = [trained(student_in_two_bits(bits), seed, loss=loss) for seed in (0, 1)]
        taught[bits, name] = [accuracy_of(network.converted()) for network in networks]
rows = [[f"logits in {bits} bits, {name}", *(f"{100 * right:.1f} %" for right in found)]
        for (bits, name), found in taught.items()]
print(text_table(["W2A2", "seed 0", "seed 1"], rows))

# %% tags=["nbval-ignore-output"]
means = {key: np.mean(found) for key, found in taught.items()}
heat = {bits: means[bits, "T = 20"] - means[bits, "T = 4"] for bits in (2, 8)}
dearest = min(means[8, name] - means[2, name] for name in teachers)
print(f"from T = 4 to T = 20: {100 * heat[2]:+.1f} points with 4 codes for the logits, "
      f"{100 * heat[8]:+.1f} with 256")
claim("Whatever the teacher says, four codes for the logits cost more than 5 points beside 256.",
      dearest > 0.05)

# %% [markdown]
# So the trap is few codes *for the logits*: keep those at 8 bits. Which temperature is best, two seeds of a short training do not settle.
#
# ## Deployed
#
# `converted` folds, rounds, and hands over the codes; `export_qdq` writes them. Same answers? Smaller? Faster?

# %% tags=["nbval-ignore-output"]
from course_lib import measure
from course_lib.deploy.onnx import export_onnx, node_times_ms, open_session, run_session
from course_lib.quantization.qdq import export_qdq

folder = tempfile.TemporaryDirectory()
place = Path(folder.name)
files = {"float32": export_onnx(student, place / "fp32.onnx"),
         "W8A8": export_qdq(rounded[8], place / "w8a8.onnx"),
         "W2A2": export_qdq(two_bits.converted(), place / "w2a2.onnx")}
sessions = {name: open_session(path, threads=1) for name, path in files.items()}
own = predict_logits(two_bits, validation).argmax(1).numpy()
agreement = np.mean(run_session(sessions["W2A2"], pixels.numpy()).argmax(1) == own)
one = {"images": pixels[:1].numpy()}
calls = {name: lambda session=session: session.run(None, one) for name, session in sessions.items()}
times = measure.latency(calls, warmup=20, repeats=20, threads=1, seed=0, cadence=measure.BACK_TO_BACK)
packed = sum(-(-layer.quantizer.codes.bits * layer.layer.weight.numel() // 8)
             for layer in two_bits.layers.values())
for name, path in files.items():
    print(f"{name:8} {path.stat().st_size:,} bytes, {times.p50(name):.3f} ms")
print(f"same class as in training: {100 * agreement:.2f} %; the weights' codes, packed: {packed:,} bytes")

# %%
same = "The file gives the trained network's class for at least 99 % of the images."
display(claim(same, agreement >= 0.99))
claim("2-bit codes are not faster than 8-bit ones", times.ratio("W2A2", "W8A8").low > 0.95, hardware=True)

# %% tags=["nbval-ignore-output"]
slower = {name: times.ratio("W2A2", name) for name in ("W8A8", "float32")}
print("W2A2 takes", ", ".join(f"{r.value:.2f} ({r.low:.2f} … {r.high:.2f}) times as long as {name}"
                              for name, r in slower.items()))
for name, path in files.items():
    nodes = node_times_ms(path, one["images"], threads=1, warmup=2, repeats=5).values()
    counted = Counter(kind for kind, _ in nodes).most_common()
    print(f"{name:8}", ", ".join(f"{count} {kind}" for kind, count in counted))

# %% [markdown]
# A 2-bit code travels in a byte of its own, so the file is no smaller than W8A8's. And its file clips what each layer gives, so that only the four codes occur. The nodes of the graphs that run tell where the time goes: `QLinearConv` computes in integers, `FusedConv` in floats, with conversions around it. What few bits buy depends on packed storage and on hardware that multiplies them.
#
# ## At 8 bits the distribution decides
#
# Do convolutional and recurrent networks quantize, and trees not? Take the same model on both sides: an *even* and a *spoiled* distribution, each for a forest, a recurrent and a convolutional network; spoiling leaves the float function as it is. How uneven is one? Its *crest* is half the range over the root mean square ([chapter 10](10_affine_quantization.ipynb)).

# %% tags=["nbval-ignore-output"]
from sklearn.ensemble import RandomForestClassifier

rng = np.random.default_rng(0)
logs = 2 * rng.normal(0, 1, (6000, 6))  # a feature's logarithm
kinds = (logs[:, 0] + 0.7 * logs[:, 1] > 0) == (logs[:, 2] + 0.3 * logs[:, 3] > 0)
forest = RandomForestClassifier(50, random_state=0).fit(np.exp(logs[:4000]), kinds[:4000])


def on_codes(x, bits):
    """The test part in uniform codes, each feature on the range of the training part."""
    seen, new = torch.tensor(x[:4000]).float(), torch.tensor(x[4000:]).float()
    columns = [fake_quantize(new[:, i], min_max(seen[:, i], Codes(bits, signed=False))) for i in range(6)]
    return torch.stack(columns, 1).double().numpy()


table = {("forest", "logarithms in codes"): [forest.score(np.exp(logs[4000:]), kinds[4000:])],
         ("forest", "values in codes"): [forest.score(np.exp(logs[4000:]), kinds[4000:])]}
for bits in (8, 4):
    table["forest", "logarithms in codes"].append(forest.score(np.exp(on_codes(logs, bits)), kinds[4000:]))
    table["forest", "values in codes"].append(forest.score(on_codes(np.exp(logs), bits), kinds[4000:]))


# %% tags=["nbval-ignore-output"]
def crest(x):
    x = torch.as_tensor(x).float()
    return ((x.max() - x.min()) / 2 / x.square().mean().sqrt()).item()


uneven = {("forest", "logarithms in codes"): np.median([crest(column) for column in logs[:4000].T]),
          ("forest", "values in codes"): np.median([crest(column) for column in np.exp(logs[:4000]).T])}
log_normal = table["forest", "values in codes"]
reveal("13.p2", 100 * (log_normal[0] - log_normal[1]))

# %% [markdown]
# The very same forest: only where the codes lie differs. Next a GRU that reads a sign row by row; trained for seconds, it is weak, but has something to lose. It is spoiled by one input feature that is 300 times as large, with weights that are 300 times as small. And the student, where one channel of each of the first four layers is 100 times as large, and the next layer's weights for it 100 times as small.

# %% tags=["nbval-ignore-output"]
from course_lib.quantization.recurrent import gru_on_codes, input_codes


def rows_of(dataset):
    """(N, 32 rows, 96 numbers), and labels."""
    x, y = dataset.batch(np.arange(len(dataset)))
    return (3 * (x - 0.4)).permute(0, 2, 1, 3).flatten(2), y


(x, y), (x_new, y_new) = rows_of(part(splits.train, 4000)), rows_of(validation)
torch.manual_seed(0)
gru, head = nn.GRU(96, 96, batch_first=True), nn.Linear(96, student.classifier.out_features)
optimizer = torch.optim.Adam([*gru.parameters(), *head.parameters()], lr=4e-3)
for _ in range(7):
    for batch in torch.randperm(len(x)).split(64):
        loss = F.cross_entropy(head(gru(x[batch])[0][:, -1]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# %% tags=["nbval-ignore-output"]
def right(states):
    return (head(states).argmax(1) == y_new).double().mean().item()


spoiled_gru, factor = copy.deepcopy(gru), torch.ones(96)
factor[7] = 300
spoiled_gru.weight_ih_l0.data /= factor
for name, network, scale in (("even", gru, torch.ones(96)), ("one wide feature", spoiled_gru, factor)):
    with torch.no_grad():
        found = [right(network(x_new * scale)[0][:, -1])]
    for bits in (8, 4):
        codes = input_codes(x[::8] * scale, bits)
        found.append(right(gru_on_codes(network, x_new * scale, codes, bits)))
    table["GRU", name], uneven["GRU", name] = found, crest(x * scale)

# %% tags=["nbval-ignore-output"]
spoiled_student = copy.deepcopy(student)
for block, following in zip(spoiled_student.features[:4], spoiled_student.features[1:5], strict=True):
    block[1].weight.data[3] *= 100
    block[1].bias.data[3] *= 100
    following[0].weight.data[:, 3] /= 100
for name, network in (("even", student), ("wide channels", spoiled_student)):
    found = [model_accuracy(network, validation)]
    for bits in (8, 4):
        codes = {} if bits == 8 else {"weight_codes": Codes(4), "activation_codes": Codes(4, signed=False)}
        found.append(accuracy_of(quantize_network(network, calibration, **codes)))
    table["student", name] = found
    uneven["student", name] = crest(network.features[0](calibration).detach())  # what the first block gives
rows = [[": ".join(key), f"{uneven[key]:.1f}", *(f"{100 * value:.1f} %" for value in found)]
        for key, found in table.items()]
print(text_table(["right", "crest", "float", "8 bits", "4 bits"], rows))
print(f"The student at 4 bits: {100 * table['student', 'even'][2]:.1f} % here, where every layer has them; "
      f"{100 * post['min-max'][4]:.1f} % in the first table, where the ends keep 8.")

# %%
table_names = ("forest", "GRU", "student")
pairs = [[found for (model, _), found in table.items() if model == name] for name in table_names]
claim("At 8 bits each of the three loses less than 3 points on its even distribution, and more than 10 "
      "on the other.",
      all(even[0] - even[1] < 0.03 and spoiled[0] - spoiled[1] > 0.1 for even, spoiled in pairs))

# %% tags=["nbval-ignore-output"]
lost_at_4 = ", ".join(f"{name} {100 * (even[0] - even[2]):.1f}"
                      for name, (even, _) in zip(table_names, pairs, strict=True))
print("points lost at 4 bits on the even distribution:", lost_at_4)

# %% [markdown]
# At 8 bits trees quantize, and networks do not, if you choose the distribution: look at the histogram before you ask what kind of model it is. At 4 bits an even one is not enough, and the model counts, too: see the last line.
#
# ## Pitfalls
#
# * **The rounded weights are moved** instead of those in full: steps below half a code are forgotten.
# * **Rounding without straight through:** the rounded weights stay as they are. The loss falls all the same, where BatchNorm or a classifier in floats trains on: look at the weights, not at the loss.
# * **$w$ rounded, $w f$ deployed.** Compare the deployed network, not the one in training.
# * **Statistics that move to the last step.**
# * **A step with the weights' learning rate,** without $g$ or a relative parameter.
# * **$\partial\hat x/\partial S = 0$ inside:** the step then hears of clipping alone.
# * **More epochs for the quantized network than for its float control.**
# * **Few codes for the logits; $T^2$ forgotten.**
# * **"4 bits, so twice as fast":** not on a processor that computes with bytes.
#
# ## Recap

# %% tags=["nbval-ignore-output"]
def percent(fraction):
    return f"{100 * fraction:.1f} %"


points = "; ".join(f"{name} {told[name]}" for name in drops) or "not recorded yet"

# %% tags=["nbval-ignore-output"]
display(Markdown(f"""
1. After training, W2A2 leaves {percent(post["min-max"][2])} right (AdaRound
   {percent(post["AdaRound"][2])}); the first steps of LSQ's rule {percent(untrained)}, two short epochs of
   training with them {percent(gained)}; float32 {percent(whole)}.
2. The straight-through gradient is that of the staircase's mean. One weight with two codes swings: of 200
   runs {100 * worse[290]:.0f} % are on the worse one after 290 steps, {100 * worse[300]:.0f} % after all 300.
3. Rounding $w$ and folding later: training says {percent(np.mean(folding["not folded"][0]))}; when deployed,
   {percent(np.mean(folding["not folded"][1]))} are right. Folded in training, then frozen,
   {percent(np.mean(folding["running, then frozen"][1]))} are right when deployed.
4. Four codes for the logits, by nearest rounding on one grid, leave {percent(left[2, 1])} of the $T^2$ KL of
   logits that are all 0 at $T = 1$, and {percent(left[2, 20])} at $T = 20$. Trained at $T = 4$ they leave
   {percent(means[2, "T = 4"])} right, 256 codes {percent(means[8, "T = 4"])}; at $T = 20$
   {percent(means[2, "T = 20"])} and {percent(means[8, "T = 20"])}.
5. The recorded study, points lost to float32 that trained as long, with 95 % intervals: {points}.
6. At 8 bits a forest loses {100 * (pairs[0][1][0] - pairs[0][1][1]):.1f} points on log-normal values and
   {100 * (pairs[0][0][0] - pairs[0][0][1]):.1f} on their logarithms. At 4 bits the even distributions lose:
   {lost_at_4}.
"""))

# %% [markdown]
# Next: how small can it get on disk? That chapter, on codebooks and low rank, is not written yet; the [README](../README.md) says what is planned.
#
# ## References
#
# * Y. Bengio, N. Léonard, A. Courville (2013). *Estimating or propagating gradients through stochastic neurons for conditional computation.* [arXiv:1308.3432](https://arxiv.org/abs/1308.3432), section 4: straight through.
# * B. Jacob et al. (2018). [arXiv:1712.05877](https://arxiv.org/abs/1712.05877), section 3 and figure C.8: training with folded BatchNorm.
# * R. Krishnamoorthi (2018). [arXiv:1806.08342](https://arxiv.org/abs/1806.08342), section 3.2.2: running statistics, corrected and frozen.
# * S. Esser et al. (2020). *Learned step size quantization.* [arXiv:1902.08153](https://arxiv.org/abs/1902.08153), eq. 3 (the gradient), eq. 4 (update over size).
# * J. Choi et al. (2018). *PACT.* [arXiv:1805.06085](https://arxiv.org/abs/1805.06085), eq. 1 to 3.
# * M. Nagel et al. (2020). *Up or down? Adaptive rounding.* [arXiv:2004.10568](https://arxiv.org/abs/2004.10568), eq. 21 to 25.
# * M. Nagel et al. (2022). *Overcoming oscillations in quantization-aware training.* [arXiv:2203.11086](https://arxiv.org/abs/2203.11086): weights that swing.
