# %% [markdown]
# # 10 · Affine quantization: how do 8 bits stand for a real number?
#
# A camera's pixel is a byte, 0 to 255, and the network reads it as 0 to 1: byte $q$ *stands for* the number $q/255$. Nothing is lost, for the pixel was a byte from the start. A network's other numbers, weights and what flows between the layers, were not. What do they need to become bytes, and what does it cost?
#
# **You will be able to**
#
# * derive scale and zero point, and say why 0 must be a code;
# * predict the noise of $b$ bits, and measure it;
# * weigh clipping against rounding;
# * choose symmetric or asymmetric, and how many weights share a scale;
# * find the fault in five formulas that are often copied.
#
# **Before:** chapter [02](02_the_teacher.ipynb) (the networks); BatchNorm, standard deviation. **Time:** 100 min to work through; the cells take about 1 min on 2 quiet cores. Symbols: [notation](../docs/notation.md).

# %% tags=["nbval-ignore-output"]
import copy
from dataclasses import replace

import numpy as np
import onnx.parser
import onnxruntime
import torch
from IPython.display import Markdown, display
from torch import nn

from course_lib import plots, quantization, widgets
from course_lib.data import load
from course_lib.evaluation import model_accuracy
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.measure import claim
from course_lib.measure.tables import text_table
from course_lib.models import checkpoints
from course_lib.quantization import Codes, fake_quantize, from_range, min_max, sqnr_db

splits = load(size=32)
student, card = checkpoints.load(f"student_{splits.train.name}")

# %% [markdown]
# Before anything is rounded, BatchNorm is *folded*: in use it is a multiplication and an addition for each channel, and both fit into the convolution's weights and bias.

# %% tags=["nbval-ignore-output"]
def folded(network):
    """A copy whose convolutions have BatchNorm in their weights and bias."""
    network = copy.deepcopy(network).eval()
    for block in network.features:
        conv, norm = block[0], block[1]
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        fused = nn.utils.fusion.fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
        conv.weight, conv.bias = fused
        block[1] = nn.Identity()
    return network


def part(dataset, count):
    """About ``count`` images, evenly spread."""
    return dataset.subset(np.arange(0, len(dataset), max(1, len(dataset) // count)))


network, validation = folded(student), part(splits.validation, 1200)
whole = model_accuracy(network, validation)
print(f"right on {len(validation)} validation images: {100 * whole:.1f} %; "
      f"before folding {100 * model_accuracy(student, validation):.1f} %")
print(f"one point is {len(validation) / 100:.0f} images: read nothing into tenths")

# %% [markdown]
# A *hook* is a function that PyTorch calls when a layer runs. These hooks keep what each layer reads for some training images, and are taken away again.

# %% tags=["nbval-ignore-output"]
def is_layer(module):
    return isinstance(module, nn.Conv2d | nn.Linear)


def layers_of(model):
    """Name → layer with weights."""
    found = [module for module in model.modules() if is_layer(module)]
    return {f"conv {i + 1}": layer for i, layer in enumerate(found[:-1])} | {"classifier": found[-1]}


layers, inputs, handles = layers_of(network), {}, []
for name, layer in layers.items():

    def keep(module, arguments, name=name):
        inputs[name] = arguments[0].detach()

    handles.append(layer.register_forward_pre_hook(keep))
few = part(splits.train, 480)
images, _ = few.batch(np.arange(len(few)))  # (N, 3, 32, 32)
with torch.no_grad():
    logits = network(images)
for handle in handles:
    handle.remove()
weights = {name: layer.weight.detach() for name, layer in layers.items()}

# %% tags=["nbval-ignore-output"]
def ends(x):
    return f"{x.min():.2f} … {x.max():.2f}"


zeros = {name: (x == 0).double().mean().item() for name, x in inputs.items()}
rows = [[name, ends(weights[name]), ends(x), f"{100 * zeros[name]:.0f} %"] for name, x in inputs.items()]
print(text_table(["layer", "weights", "reads", "zeros among them"], rows))
print(f"logits: {ends(logits)}")

# %% [markdown]
# Each tensor has its own range. Weights have both signs; what follows a ReLU has one, and many zeros.
#
# ## Predict first
#
# 1. Values uniform on −1 … 1 are stored in 8 bits, symmetric around 0. One value of 10 joins them, and the range must reach it. The signal-to-noise ratio of all *others* falls by (a) less than 3 dB, (b) 3 to 12 dB, (c) more?
# 2. The student's weights get 3 bits. One scale for each *layer*, or one for each *channel*: the channels' scales gain (a) less than 5 points of accuracy, (b) 5 to 30, (c) more?

# %% tags=["nbval-ignore-output"]
outlier_guess = None  # "a", "b" or "c"; the chapter comes back to both
channel_guess = None
display(predict("10.p1", outlier_guess, sure=None), predict("10.p2", channel_guess, sure=None))

# %% [markdown]
# ## Two conditions, two numbers
#
# An *affine* code is a straight line from integers to reals:
#
# $$\hat x = S\,(q - Z) . \tag{1}$$
#
# The *scale* $S$ is the length of one step; the *zero point* $Z$ is the code of 0. **First condition:** the ends of the range, $l$ and $h$, get the outermost codes $q_l$ and $q_h$. So $l = S(q_l - Z)$ and $h = S(q_h - Z)$; subtract, and solve the first for $Z$:
#
# $$S = \frac{h - l}{q_h - q_l}, \qquad Z = q_l - \frac{l}{S} . \tag{2}$$
#
# With $b$ bits there are $2^b$ codes and $q_h - q_l = 2^b - 1$ steps. **Second condition:** 0 must be a code *exactly*. So $Z$ is rounded to an integer, which moves the range by at most half a step. And if the range lies on one side of 0, it is first extended to 0; else $Z$ would lie outside the codes. For the camera's pixels $l = 0$ and $h = 1$: $S = 1/255$, $Z = 0$, as above.
#
# To *quantize* is to solve (1) for $q$ and take the nearest code there is:
#
# $$q = \mathrm{clip}\bigl(\mathrm{round}(x / S) + Z,\; q_l,\; q_h\bigr) . \tag{3}$$
#
# *Unsigned* codes are $0 \dots 2^b - 1$, *signed* ones $-2^{b-1} \dots 2^{b-1} - 1$: shift codes and $Z$ by $2^{b-1}$, and nothing else changes. *Symmetric* codes do not use (2): they are signed, $Z = 0$, and $S = \max|x| / (2^{b-1} - 1)$ reaches equally far to both sides. *Restricted* ones leave out $-2^{b-1}$, which has no partner: 8 bits end at −127 and 127.
#
# **Four numbers by hand.** −1, 0.4, 0.5 and 2 in two unsigned bits: $S = (2 + 1)/3 = 1$, $Z = 0 + 1/1 = 1$. Codes: $-1 + 1 = 0$; $0 + 1 = 1$; 0.5 lies in the middle and goes to the even 0, so $0 + 1 = 1$; $2 + 1 = 3$. Back: −1, 0, 0, 2.


# %%
def scale_and_zero(x, bits):
    """S and Z of unsigned codes."""
    low, high = min(x.min().item(), 0.0), max(x.max().item(), 0.0)
    scale = (high - low) / (2**bits - 1)
    return scale, round(-low / scale)


def to_codes(x, scale, zero_point, bits):
    return (torch.round(x / scale) + zero_point).clamp(0, 2**bits - 1)


four = torch.tensor([-1.0, 0.4, 0.5, 2.0])
scale, zero_point = scale_and_zero(four, bits=2)
codes = to_codes(four, scale, zero_point, bits=2)
back = scale * (codes - zero_point)
print(f"S = {scale}, Z = {zero_point}, codes {codes.tolist()}, back {back.tolist()}")

# %% [markdown]
# **Exercise 10.1.** The same from a range; mind all zeros.


# %%
def scale_and_zero_point(low, high, bits):
    """(S, Z) of the unsigned codes 0 … 2^bits − 1 for values in low … high.

    The range is first extended to hold 0; S > 0; Z is one of the codes; a range of 0 … 0 has S = 1 and Z = 0.
    """
    ...


check("10.1", scale_and_zero_point)

# %% [markdown]
# In the library `Codes(b)` says which integers may be used, `min_max` takes $S$ and $Z$ from a tensor and `from_range` from two ends; `quantize` is (3), `dequantize` is (1), and `fake_quantize` goes there and back. Runtimes have the same: ONNX's two operators are (3) and (1). All on the weights of one layer:

# %%
w = weights["conv 4"].flatten()
affine = min_max(w, Codes(8, signed=False))
mine = to_codes(w, *scale_and_zero(w, bits=8), bits=8)
ours = quantization.quantize(w, affine)

graph = onnx.parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
g (float[n] x, float s, uint8 z) => (uint8[n] q, float[n] y) {
  q = QuantizeLinear(x, s, z)
  y = DequantizeLinear(q, s, z)
}""")
session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
feeds = {"x": w.numpy(), "s": affine.scale.numpy(), "z": affine.zero_point.numpy().astype(np.uint8)}
q, y = session.run(None, feeds)

# %%
claim("These lines, the library and ONNX Runtime give the same code for every weight, and the same way back.",
      torch.equal(mine.int(), ours) and np.array_equal(q, ours.numpy())
      and np.array_equal(y, quantization.dequantize(ours, affine).numpy()))

# %% [markdown]
# **Exercise 10.2.** Signed codes, in one byte each.


# %%
def quantize(x, scale, zero_point, bits):
    """Signed codes of x, torch.int8: round(x / scale) + zero_point, clamped to b bits.

    Halves are rounded to the even neighbour.
    """
    ...


check("10.2", quantize)

# %% [markdown]
# ### Why half to even?
#
# Halves are rare among weights, but common where codes are averaged or shifted: the mean of two integers ends in ½ every second time. Round halves up, and each moves by +½: a mean shift of ¼ step, for the other means are integers and stay. To the even neighbour, half of the halves go up and half go down.

# %%
means = torch.randint(0, 256, (2, 100_000), generator=torch.Generator().manual_seed(0)).float().mean(0)
up = (torch.floor(means + 0.5) - means).mean().item()
even = (torch.round(means) - means).mean().item()
print(f"mean shift, in steps: halves up {up:+.2f}, halves to even {even:+z.2f}")

# %% [markdown]
# ## Six decibels a bit
#
# How much is lost? Where the values are smooth over a step, the error $e = \hat x - x$ is uniform on $-S/2 \dots S/2$. Its mean is 0, and its mean square
#
# $$\frac1S \int_{-S/2}^{S/2} e^2\,\mathrm de = \frac{S^2}{12} . \tag{4}$$
#
# The *signal-to-quantization-noise ratio* compares powers, in decibels: $\mathrm{SQNR} = 10\log_{10}\bigl(\sum x^2 / \sum e^2\bigr)$. Let the range have the width $2R$, so $S = 2R/(2^b - 1)$, and let $c$ be $R$ over the root mean square of $x$. The signal's mean square is $R^2/c^2$, so
#
# $$\mathrm{SQNR} = 10\log_{10}\frac{R^2/c^2}{S^2/12} = 10\log_{10}\frac{3\,(2^b - 1)^2}{c^2} \approx 6.02\,b + 4.77 - 20\log_{10} c . \tag{5}$$
#
# Each bit halves the step, which divides the noise's power by 4: 6.02 dB. The constant $c$ says how far the range reaches beyond typical values. It is $\sqrt 3$ for uniform values; for bells with long tails it is large, and each doubling costs a bit.
#
# **By hand.** Values 3 and 4 come back as 3 and 3.5: power $9 + 16 = 25$, noise $0.25$, ratio 100, 20 dB.
#
# **Exercise 10.3.** The same for any two tensors.


# %%
def sqnr(x, restored):
    """10·log₁₀ of the power of x over that of x − restored, over all values; inf if nothing differs."""
    ...


check("10.3", sqnr)

# %% tags=["nbval-ignore-output"]
rng, bits = np.random.default_rng(0), np.arange(2, 9)
tensors = {"uniform": torch.tensor(rng.uniform(-1, 1, 100_000)).float(),
           "Gaussian": torch.tensor(rng.normal(0, 1, 100_000)).float(),
           "weights of conv 4": weights["conv 4"].flatten(),
           "what conv 4 reads": inputs["conv 4"].flatten()}
measured, laws = {}, {}
for name, x in tensors.items():
    affines = [min_max(x, Codes(int(b))) for b in bits]
    measured[name] = [sqnr_db(x, fake_quantize(x, affine)) for affine in affines]
    crest = (x.max() - x.min()).item() / 2 / x.square().mean().sqrt().item()
    laws[name] = [quantization.sqnr_law_db(int(b), crest) for b in bits]
plots.noise_figure(bits, measured, laws)

# %%
off = {name: np.abs(np.subtract(measured[name], laws[name])) for name in tensors}
claim("The law holds within 1 dB from 4 bits on, for uniform and Gaussian values and for the weights.",
      max(off[name][2:].max() for name in ["uniform", "Gaussian", "weights of conv 4"]) < 1)

# %% [markdown]
# What conv 4 *reads* lies above its line: values that are exactly 0 have no error. If they are a share $p$, the noise's power is $1 - p$ times that of (4), which is worth $-10\log_{10}(1 - p)$ dB. Does that explain the distance, in every layer?

# %% tags=["nbval-ignore-output"]
above, worth = {}, {}
for name, x in inputs.items():
    crest = (x.max() - x.min()).item() / 2 / x.square().mean().sqrt().item()
    above[name] = sqnr_db(x, fake_quantize(x, min_max(x, Codes(6)))) - quantization.sqnr_law_db(6, crest)
    worth[name] = -10 * np.log10(1 - zeros[name])
rows = [[name, f"{100 * zeros[name]:.0f} %", f"{above[name]:.2f} dB", f"{worth[name]:.2f} dB"]
        for name in inputs]
print(text_table(["reads, 6 bits", "zeros", "above the law", "worth of the zeros"], rows))

# %%
claim("The zeros alone explain, within 0.5 dB in every layer, how far its input lies above the law.",
      all(abs(above[name] - worth[name]) < 0.5 for name in inputs))

# %% [markdown]
# ### A ruler
#
# Codes are marks on a ruler. Move its ends inwards: does the SQNR fall at once? Then choose signed, symmetric codes for what conv 4 reads: how many marks lie where no value is?

# %% tags=["nbval-ignore-output"]
def some(x):
    return x.flatten()[torch.linspace(0, x.numel() - 1, 2000).long()]


rulers = {"weights of conv 4": some(weights["conv 4"]), "what conv 4 reads": some(inputs["conv 4"]),
          "logits": some(logits)}
widgets.ruler_explorer(rulers)

# %% tags=["nbval-ignore-output"]
plots.ruler_figure(rulers["weights of conv 4"], min_max(rulers["weights of conv 4"], Codes(4, signed=False)))

# %% [markdown]
# ## Zero must be exact
#
# What if 0 lies between two codes? Below, the marks are moved by half a step: $\hat x = S(\lfloor x/S \rfloor + \frac12)$. The steps and the largest error, $S/2$, stay as they were. But every zero becomes $+S/2$, and a convolution adds up hundreds of them. Two things are wrong with that error: its size, and the sign that all zeros share. So two controls: marks moved, and zeros left exact (no size, no sign); marks moved, and each zero at $+S/2$ or $-S/2$ by the toss of a coin (the same size, no common sign).


# %%
def with_inputs(change, model=network):
    """A copy in which each layer reads change(name, x) instead of x."""
    model = copy.deepcopy(model)
    for name, layer in layers_of(model).items():
        layer.register_forward_pre_hook(lambda layer, arguments, name=name: (change(name, arguments[0]),))
    return model


def input_codes(bits):
    """Scale and zero point of what each layer reads, from training images."""
    return {name: min_max(x, Codes(bits, signed=False)) for name, x in inputs.items()}


def moved_marks(x, affine):
    steps = torch.floor(x / affine.scale).clamp(0, affine.codes.high - 1)
    return affine.scale * (steps + 0.5)


def tossed_zeros(x, affine, generator):
    """Marks moved, and each zero half a step up or down by chance."""
    signs = torch.randint(0, 2, x.shape, generator=generator) * 2 - 1
    return torch.where(x == 0, signs * affine.scale / 2, moved_marks(x, affine))


# %% tags=["nbval-ignore-output"]
def rulers_of(bits):
    """Networks whose layers read their inputs in codes: 0 exact, marks moved, and the two controls."""
    affines, coin = input_codes(bits), torch.Generator().manual_seed(0)
    return {"exact": with_inputs(lambda name, x: fake_quantize(x, affines[name])),
            "moved": with_inputs(lambda name, x: moved_marks(x, affines[name])),
            "zeros exact": with_inputs(lambda name, x: moved_marks(x, affines[name]) * (x != 0)),
            "zeros ± by chance": with_inputs(lambda name, x: tossed_zeros(x, affines[name], coin))}


zero = {(b, words): model_accuracy(model, validation)
        for b in (8, 6, 5, 4) for words, model in rulers_of(b).items()}
heads = {"exact": "0 exact", "moved": "marks moved", "zeros exact": "moved, zeros exact",
         "zeros ± by chance": "moved, zeros ± by chance"}
rows = [[f"{b} bits", *(f"{100 * zero[b, words]:.1f} %" for words in heads)] for b in (8, 6, 5, 4)]
print(text_table(["right, all inputs in", *heads.values()], rows))

# %%
claim("At 5 bits the moved marks cost more than 20 points; with zeros exact, or as far off but by chance "
      "up or down, less than 10.",
      zero[5, "exact"] - zero[5, "moved"] > 0.2
      and zero[5, "exact"] - min(zero[5, "zeros exact"], zero[5, "zeros ± by chance"]) < 0.1)

# %% [markdown]
# At 8 bits half a step is too small to matter; it doubles with each bit that goes. The first control says that it is the zeros; the second, at 5 bits, that it is their *common sign*: errors of both signs mostly cancel in a sum, errors of one sign add up. Their size alone hurts later: see the last row. Padding is 0 as well, and so are pruned weights.
#
# ## Outliers: clip or round?

# %% tags=["nbval-ignore-output"]
others = tensors["uniform"]
everything = torch.cat([others, torch.tensor([10.0])])
restricted = Codes(8, restricted=True)
before = sqnr_db(others, fake_quantize(others, min_max(others, restricted, symmetric=True)))
after = sqnr_db(others, fake_quantize(others, min_max(everything, restricted, symmetric=True)))
print(f"without the outlier {before:.1f} dB, with it {after:.1f} dB")
reveal("10.p1", before - after)

# %% [markdown]
# The range, and with it the step, is ten times as wide: $20\log_{10} 10 = 20$ dB, more than three bits, for one value in 100,000. So let the codes end earlier, at a *clip* $\alpha$: symmetric, restricted codes on $-\alpha \dots \alpha$, so $S = \alpha/(2^{b-1} - 1)$. What lies inside is rounded, what lies outside becomes $\pm\alpha$. For values of density $f$
#
# $$E(\alpha) = \underbrace{\frac{S^2}{12}\,P(|x| \le \alpha)}_{\text{rounding}} \;+\; \underbrace{2\int_\alpha^\infty f(x)\,(x - \alpha)^2\,\mathrm dx}_{\text{clipping}} . \tag{6}$$
#
# The first grows with $\alpha$, the second falls; the best clip lies between. For a *Laplacian* whose mean $|x|$ is $a$, $f(x) = e^{-|x|/a}/(2a)$, put $t = x - \alpha$: the clipping part is $\frac{1}{a} e^{-\alpha/a}\int_0^\infty t^2 e^{-t/a}\,\mathrm dt = 2 a^2 e^{-\alpha/a}$. For a Gaussian of variance 1 it is $(1 + \alpha^2)\,\mathrm{erfc}(\alpha/\sqrt2) - \alpha\sqrt{2/\pi}\,e^{-\alpha^2/2}$ (Banner et al. 2019 take $2^b$ steps where our codes have $2^b - 2$).
#
# **By hand.** A Laplacian with $a = 1$, 4 bits, $\alpha = 5$: $S = 5/7$, rounding $0.0425 \cdot 0.993 = 0.042$, clipping $2e^{-5} = 0.013$.

# %% tags=["nbval-ignore-output"]
def error_at(x, alpha, bits):
    """Mean squared error of symmetric codes on −α … α."""
    end = torch.tensor(float(alpha))
    affine = from_range(-end, end, Codes(bits, restricted=True), symmetric=True)
    return (fake_quantize(x, affine) - x).double().square().mean().item()


alphas = np.linspace(1, 9, 33)
draws = {"gaussian": tensors["Gaussian"], "laplacian": torch.tensor(rng.laplace(0, 1, 100_000)).float()}
law = {name: [quantization.clip_error(name, 4, alpha) for alpha in alphas] for name in draws}
found = {name: [error_at(x, alpha, 4) for alpha in alphas] for name, x in draws.items()}
best = {name: quantization.optimal_clip(name, 4) for name in draws}
plots.clip_figure(alphas, law, found, best, 4)

# %%
near = {name: found[name][int(np.abs(alphas - best[name]).argmin())] for name in draws}
claim("Near the best clip the law is within 5 % of what is measured, and no clip measured is better by 5 %.",
      all(abs(quantization.clip_error(name, 4, best[name]).total / near[name] - 1) < 0.05
          and min(found[name]) > 0.95 * near[name] for name in draws))

# %% [markdown]
# **Exercise 10.4.** Real tensors follow no textbook. Try clips, and keep the best.


# %%
def best_clip(x, clips, bits):
    """The clip α of ``clips`` with the least mean squared error on x.

    The codes are symmetric and restricted: 0 has the code 0, and ±α have ±(2^(bits−1) − 1).
    """
    ...


check("10.4", best_clip)

# %% [markdown]
# On the student's weights, as parts of each layer's max |w|; the Gaussian's law gets the layer's own standard deviation, the Laplacian's its mean |w|. In the networks here, and where weights share scales below, scales are rounded to FP16, as a file would hold them.

# %% tags=["nbval-ignore-output"]
def with_weights(change):
    """A copy whose weights are changed, layer by layer."""
    model = copy.deepcopy(network)
    for layer in layers_of(model).values():
        layer.weight.data = change(layer.weight.data)
    return model


def at_best_clip(w, bits):
    most = w.abs().max().item()
    return min(np.linspace(0.2, 1, 41) * most, key=lambda alpha: error_at(w, alpha, bits))


def in_fp16(affine):
    """The same codes, their scale rounded to FP16."""
    return replace(affine, scale=quantization.round_to(affine.scale, quantization.FP16))


def clipped_codes(w, bits, alpha):
    end = torch.tensor(float(alpha))
    return fake_quantize(w, in_fp16(from_range(-end, end, Codes(bits, restricted=True), symmetric=True)))


# %% tags=["nbval-ignore-output"]
rows = []
for name, w in weights.items():
    most, gauss, laplace = w.abs().max().item(), w.std().item(), w.abs().mean().item()
    shares = [at_best_clip(w, 4), gauss * best["gaussian"], laplace * best["laplacian"]]
    rows.append([name, *(f"{share / most:.2f}" for share in shares)])
print(text_table(["best clip, 4 bits", "measured", "Gaussian", "Laplacian"], rows))

# %% [markdown]
# The measured clips lie between the two laws, or near them: use a law as a first guess. Does less error mean more right answers?

# %% tags=["nbval-ignore-output"]
def clipped_network(bits, clip):
    return with_weights(lambda w: clipped_codes(w, bits, clip(w, bits)))


clips = {"nothing clipped": lambda w, bits: w.abs().max(), "clip of least error": at_best_clip}
clipping = {(b, words): model_accuracy(clipped_network(b, clip), validation)
            for b in (4, 3) for words, clip in clips.items()}
for (b, words), right in clipping.items():
    print(f"{b} bits, one scale a layer, {words}: {100 * right:.1f} % right")

# %%
claim("At 3 bits clipping the weights at least error brings back more than 20 points.",
      clipping[3, "clip of least error"] - clipping[3, "nothing clipped"] > 0.2)

# %% [markdown]
# ## Symmetric or asymmetric?
#
# Symmetric codes save a zero point and the arithmetic with it ([chapter 11](11_integer_arithmetic.ipynb)). On weights of both signs they waste little. On what follows a ReLU, every negative code is wasted: one bit of $b$.

# %% tags=["nbval-ignore-output"]
def read_in(affines, model=network):
    """A copy in which each layer reads what its codes say."""
    return with_inputs(lambda name, x: fake_quantize(x, affines[name]), model)


def both_ways(x, bits):
    return [min_max(x, Codes(bits), symmetric=symmetric) for symmetric in (False, True)]


rows, w = [], weights["conv 4"]
for b in (8, 5, 4):
    affines = [{name: both_ways(x, b)[i] for name, x in inputs.items()} for i in (0, 1)]
    right = [model_accuracy(read_in(found), validation) for found in affines]
    decibels = [sqnr_db(w, fake_quantize(w, affine)) for affine in both_ways(w, b)]
    rows.append([f"{b} bits", *(f"{100 * fraction:.1f} %" for fraction in right),
                 *(f"{value:.1f} dB" for value in decibels)])
print(text_table(["", "reads, asym.: right", "sym.", "weights of conv 4, asym.", "sym."], rows))

# %%
x = inputs["conv 4"]
claim("On ReLU's outputs 8 symmetric signed bits give what 7 unsigned bits give, value by value.",
      torch.equal(fake_quantize(x, min_max(x, Codes(8), symmetric=True)),
                  fake_quantize(x, min_max(x, Codes(7, signed=False)))))

# %% [markdown]
# ## How many weights share a scale?
#
# Folding multiplied each output channel by its own factor. One scale for the layer must reach its widest channel:

# %% tags=["nbval-ignore-output"]
ranges = {name: w.flatten(1).abs().amax(1) for name, w in weights.items()}
plots.channel_ranges_figure(ranges)

# %% [markdown]
# With one scale for each *output channel*, $S$ is a factor of the channel's whole sum, and costs nothing inside it.
#
# **Exercise 10.5.** Weights in codes, a scale for each output channel.


# %%
def quantize_weights(w, bits):
    """(codes, scale): symmetric, restricted codes of the shape of w; scales (C_out,), one for each channel.

    w has two axes or more, the output channel first. The largest |w| of a channel, however small, gets
    the code ±(2^(bits−1) − 1). A channel of zeros has the scale 1. Codes are whole numbers; integer or
    float, any dtype will do.
    """
    ...


check("10.5", quantize_weights)

# %% [markdown]
# Finer still: a scale for each *block* of weights within a channel's row, as 4-bit language models have it. Every scale is stored. Inputs keep one scale a layer: they are summed over channels.

# %% tags=["nbval-ignore-output"]
def block_of(row):
    """The largest divisor of a row's length up to 40."""
    return max(size for size in range(1, 41) if row % size == 0)


def coded(w, bits, sharing):
    """(weights through codes, number of scales)."""
    rows = w.flatten(1)  # (C_out, everything that one output multiplies)
    choice = {"tensor": {}, "channel": {"axis": 0}, "block": {"axis": 1, "block": block_of(rows.shape[1])}}
    affine = in_fp16(min_max(rows, Codes(bits, restricted=True), symmetric=True, **choice[sharing]))
    return fake_quantize(rows, affine).view_as(w), affine.scale.numel()


def weights_in(bits, sharing):
    return with_weights(lambda w: coded(w, bits, sharing)[0])


# %% tags=["nbval-ignore-output"]
weights_alone = {name: [] for name in ("tensor", "channel", "block")}
with_inputs_coded = {name: [] for name in ("tensor", "channel")}
for sharing, accuracies in weights_alone.items():
    for b in bits.tolist():
        model = weights_in(b, sharing)
        accuracies.append(model_accuracy(model, validation))
        if sharing in with_inputs_coded:
            model = read_in(input_codes(b), model)
            with_inputs_coded[sharing].append(model_accuracy(model, validation))
panels = {"weights alone": weights_alone, "weights and all inputs": with_inputs_coded}
plots.bits_figure(bits, panels, whole, 1 / 43)

# %% tags=["nbval-ignore-output"]
three = {sharing: accuracies[1] for sharing, accuracies in weights_alone.items()}
reveal("10.p2", 100 * (three["channel"] - three["tensor"]))

# %%
claim("8 bits, a scale for each channel: weights and all inputs rounded cost less than 1 point.",
      whole - with_inputs_coded["channel"][-1] < 0.01)

# %% [markdown]
# Compare with the clips above: at 3 bits, for one scale a layer, clipping and a scale for each channel help against the same thing, steps that are too long. Which layer suffers from it? Each *alone* in 3 bits:

# %% tags=["nbval-ignore-output"]
def one_layer(name, sharing):
    model = copy.deepcopy(network)
    layer = layers_of(model)[name]
    layer.weight.data = coded(layer.weight.data, 3, sharing)[0]
    return model_accuracy(model, validation)


alone = {name: [one_layer(name, sharing) for sharing in weights_alone] for name in weights}
spread = {name: (reach.max() / reach.min()).item() for name, reach in ranges.items()}
rows = [[name, f"{spread[name]:.1f} ×", *(f"{100 * right:.1f} %" for right in found)]
        for name, found in alone.items()]
print(text_table(["3 bits in", "widest / narrowest channel", *weights_alone], rows))
print(f"channels differ most in {max(spread, key=spread.get)}; with one scale a layer most is lost in",
      min(alone, key=lambda name: alone[name][0]))
row = weights["conv 1"][0].numel()
print(f"conv 1: one channel's row has {row} weights, a block {block_of(row)}")

# %% [markdown]
# In conv 1 channel and block agree because they are the same: its short rows are one block each.
#
# Folding multiplied every channel by a factor of its own. What does a channel's scale make of that?

# %%
w = student.features[3][0].weight.detach()  # before folding
codes = [quantization.quantize(x, min_max(x, Codes(4, restricted=True), symmetric=True, axis=0))
         for x in (w, weights["conv 4"])]
claim("A channel's scale absorbs the folded factor: 99.9 % of conv 4's codes stay, but for a sign.",
      (codes[0].abs() == codes[1].abs()).double().mean() > 0.999)

# %% [markdown]
# ### Bytes
#
# "INT8 halves the size" is often read. That is true of FP16. A code of 8 bits is a *quarter* of FP32's 32; and never quite a quarter, for scales and biases (4 bytes an output) come on top.

# %% tags=["nbval-ignore-output"]
count = sum(w.numel() for w in weights.values())
bias = 4 * sum(len(w) for w in weights.values())
stored = {}
for b, i in ((8, 6), (4, 2), (3, 1)):
    for sharing in weights_alone:
        scales = sum(coded(w, b, sharing)[1] for w in weights.values())
        each = b + 16 * scales / count  # bits
        stored[b, sharing] = each * count / 8 + bias, weights_alone[sharing][i], each
rows = [[f"{b} bits, {sharing}", f"{size / 1e3:.1f} kB", f"{(4 * count + bias) / size:.2f} ×", f"{each:.2f}",
         f"{100 * right:.1f} %"] for (b, sharing), (size, right, each) in stored.items()]
print(text_table(["weights in", "bytes", "smaller than FP32", "bits a weight", "right"], rows))

# %% [markdown]
# Read the table at equal bytes, not at equal names: 3-bit blocks lie between 3-bit and 4-bit channels in bytes. In the file the graph comes on top.
#
# **Exercise 10.6.** Count it yourself.


# %%
def layer_bytes(shape, bits, block, scale_bits, symmetric):
    """Bytes of a layer with weights (C_out, …) in packed b-bit codes, and a bias of 4 bytes for each output.

    Each row, the weights of one output, is cut into blocks of ``block`` weights, the last one perhaps
    shorter. A block has a scale of ``scale_bits`` and, unless the codes are symmetric, a zero point of b
    bits. Codes, scales and zero points are each packed, and each of the three filled up to whole bytes.
    """
    ...


check("10.6", layer_bytes)

# %% [markdown]
# ## Other ways to spend 8 bits
#
# A *float* of 8 bits has an exponent: its steps double with each octave. E4M3 has 4 exponent and 3 mantissa bits, E5M2 5 and 2. *Powers of two* are floats without mantissa: a multiplication becomes a shift. All get one scale a tensor, fitted to the largest value. Student's $t$ with 3 degrees of freedom has much longer tails than a Gaussian.

# %% tags=["nbval-ignore-output"]
def clipped_affine(x):
    """Equal steps, symmetric, on the clip of least error among 50."""
    clips = np.linspace(0.02, 1, 50) * x.abs().max().item()
    return clipped_codes(x, 8, min(clips, key=lambda alpha: error_at(x, alpha, 8)))


def as_float(x, form):
    scale = x.abs().max() / form.largest
    return scale * quantization.round_to(x / scale, form, saturate=True)


tensors["t, 3 degrees"] = torch.tensor(rng.standard_t(3, 100_000)).float()
formats = {"affine": lambda x: fake_quantize(x, min_max(x, Codes(8))), "sym., clipped": clipped_affine,
           "E4M3": lambda x: as_float(x, quantization.E4M3), "E5M2": lambda x: as_float(x, quantization.E5M2),
           "powers of two": lambda x: quantization.round_to_power_of_two(x, 8)}
decibels = {name: {form: sqnr_db(x, change(x)) for form, change in formats.items()}
            for name, x in tensors.items()}
rows = [[name, *(f"{value:.1f}" for value in found.values())] for name, found in decibels.items()]
print(text_table(["SQNR in dB at 8 bits", *formats], rows))
w = weights["conv 4"]
powers = {b: sqnr_db(w, quantization.round_to_power_of_two(w, b)) for b in (3, 4, 8)}
print("powers of two, weights of conv 4:", ", ".join(f"{b} bits {db:.1f} dB" for b, db in powers.items()))

# %%
claim("Equal steps beat E4M3 by 10 dB and more on uniform values, and lose by 3 and more on long tails.",
      decibels["uniform"]["affine"] - decibels["uniform"]["E4M3"] > 10
      and decibels["t, 3 degrees"]["E4M3"] - decibels["t, 3 degrees"]["affine"] > 3)

# %% [markdown]
# A float's *relative* error is about the same everywhere, so its SQNR hardly depends on the tensor. Powers of two gain nothing from the last bits: there is one value an octave, however many bits; more of them only add octaves at the small end. Equal steps depend on how the range fits: on this network's tensors they win, on long tails they lose. Is that the fault of a bad range? The clipped column is the control.

# %%
tails = decibels["t, 3 degrees"]
claim("On long tails the best clip closes less than a third of the gap: equal spacing is at fault.",
      tails["sym., clipped"] - tails["affine"] < (tails["E4M3"] - tails["affine"]) / 3)

# %% [markdown]
# ## Five formulas that circulate
#
# Each in its fewest lines. The first four are applied to weights, the fifth to what a convolution puts out, before BatchNorm and ReLU. What is wrong with each? Look before you read on.


# %%
def formula_1(w):  # "quantize to 8 bits"
    return torch.round(w / 2**8) * 2**8


def formula_2(w):  # "scale to 0 … 255"
    return torch.round((w - w.min()) / (w.max() - w.min()) * 255)


def formula_3(w):  # "and back"
    return formula_2(w) * (w.max() - w.min()) / 255


def formula_4(w):  # "clip at half of the range"
    scale = w.abs().max() / 2 / 127
    return torch.round(w / scale).int().to(torch.int8).clamp(-127, 127) * scale


def formula_5(x):  # "there is a ReLU, so the range begins at 0"
    return fake_quantize(x, from_range(torch.tensor(0.0), x.max().clamp(min=0), Codes(8, signed=False)))


# %% [markdown]
# <details><summary>The five faults</summary>
#
# 1. It rounds to *multiples* of 256, and every weight here is far smaller.
# 2. The codes are used as weights: no way back. And it divides by max − min, which is 0 for a constant tensor.
# 3. The way back has a scale, but no zero point: all weights are shifted by −min.
# 4. int8 wraps before anything can clamp. It hides well: while the scale reaches the largest value nothing wraps, but once it clips, the largest weights change sign.
# 5. Before BatchNorm and ReLU the output has both signs, and every negative value becomes 0.
#
# </details>
#
# On the student, each beside its repair:

# %% tags=["nbval-ignore-output"]
def outputs_changed(change):
    """The student before folding, each convolution's output changed."""
    model = copy.deepcopy(student).eval()
    for block in model.features:
        block[0].register_forward_hook(lambda layer, arguments, output: change(output))
    return model


def clamped_first(w):
    scale = w.abs().max() / 2 / 127
    return torch.round(w / scale).clamp(-127, 127).to(torch.int8) * scale


wrong = [model_accuracy(with_weights(formula), validation)
         for formula in (formula_1, formula_2, formula_3, formula_4)]
wrong.append(model_accuracy(outputs_changed(formula_5), validation))
per_tensor = model_accuracy(with_weights(lambda w: fake_quantize(w, min_max(w, Codes(8)))), validation)
there_and_back = outputs_changed(lambda x: fake_quantize(x, min_max(x, Codes(8))))
mended = [per_tensor, per_tensor, per_tensor, model_accuracy(with_weights(clamped_first), validation),
          model_accuracy(there_and_back, validation)]
rows = [[f"formula {i}", f"{100 * bad:.1f} %", f"{100 * good:.1f} %"]
        for i, (bad, good) in enumerate(zip(wrong, mended, strict=True), 1)]
print(text_table(["", "right", "repaired"], rows))
print("formula 2, a constant tensor:", formula_2(torch.full((2,), 0.3)).tolist())

# %%
claim("Each of the five leaves less than 30 % right, and its repair loses less than 10 points.",
      max(wrong) < 0.3 and min(mended) > whole - 0.1)

# %% [markdown]
# ## Pitfalls
#
# * **A range that does not hold 0,** or a zero point that is no integer.
# * **$2^b$ steps** for $2^b$ codes; **128** in an int8.
# * **Halves rounded up,** where halves are common; $Z$ added before rounding.
# * **Cast, then clamp.**
# * **One outlier sets the step.** Look at the histogram before the range.
# * **Clipping judged by the values inside.**
# * **Symmetric codes for one-sided values:** a bit wasted.
# * **One scale for channels that differ;** or finer scales, and their bytes not counted.
# * **$20\log_{10}$ of powers.**
# * **"INT8 halves the size":** of FP16; of FP32 it leaves a quarter, and scales.
# * **SQNR taken for accuracy.** It is a cheap guide; the network decides.
#
# ## Recap

# %% tags=["nbval-ignore-output"]
def percent(fraction):
    return f"{100 * fraction:.1f} %"


eight, lost = measured["uniform"], before - after
display(Markdown(f"""
1. $S$ and $Z$ follow from two conditions: the ends meet the outermost codes, within half a step, and 0 is a
   code. At 5 bits the inputs leave {percent(zero[5, "exact"])} right; with marks moved by half a step
   {percent(zero[5, "moved"])}, with marks moved and zeros exact {percent(zero[5, "zeros exact"])}, with zeros
   half a step up or down by chance {percent(zero[5, "zeros ± by chance"])}: their common sign does
   the damage.
2. The noise is $S^2/12$, so a bit is worth 6.02 dB: uniform values have {eight[-1]:.1f} dB at 8 bits and
   {eight[-2]:.1f} at 7. One outlier ten times as large costs the others {lost:.1f} dB.
3. At 4 bits the best clip of a Laplacian is {best["laplacian"]:.2f} times its mean |x|, of a Gaussian
   {best["gaussian"]:.2f} standard deviations. Clipping weights at least error, one scale a layer: at 3 bits
   {percent(clipping[3, "clip of least error"])} right instead of {percent(clipping[3, "nothing clipped"])}.
4. 3-bit weights leave {percent(three["tensor"])} right with a scale for each layer,
   {percent(three["channel"])} for each channel, {percent(three["block"])} for each block, at
   {stored[3, "tensor"][2]:.2f}, {stored[3, "channel"][2]:.2f} and {stored[3, "block"][2]:.2f} bits a weight.
5. 8 bits for weights (by channel) and all inputs leave {percent(with_inputs_coded["channel"][-1])} right;
   FP32: {percent(whole)}. Weights, scales and biases take
   {(4 * count + bias) / stored[8, "channel"][0]:.2f} times fewer bytes than in FP32.
"""))

# %% [markdown]
# All this was *simulated*: floats that take only the values of codes. Next: [11 · integer arithmetic](11_integer_arithmetic.ipynb). How does a chip compute with the codes alone?
#
# ## References
#
# * B. Jacob et al. (2018). *Quantization and training of neural networks for efficient integer-arithmetic-only inference.* [arXiv:1712.05877](https://arxiv.org/abs/1712.05877), eq. 1: scale and zero point.
# * R. Krishnamoorthi (2018). *Quantizing deep convolutional networks for efficient inference.* [arXiv:1806.08342](https://arxiv.org/abs/1806.08342), sections 2 and 3: granularity.
# * W. R. Bennett (1948). *Spectra of quantized signals.* Bell System Technical Journal 27: $S^2/12$.
# * R. Banner, Y. Nahshan, D. Soudry (2019). *Post training 4-bit quantization of convolutional networks for rapid deployment.* [arXiv:1810.05723](https://arxiv.org/abs/1810.05723), section 3: the best clip.
# * P. Micikevicius et al. (2022). *FP8 formats for deep learning.* [arXiv:2209.05433](https://arxiv.org/abs/2209.05433), table 1.
# * D. Miyashita, E. Lee, B. Murmann (2016). *Convolutional neural networks using logarithmic data representation.* [arXiv:1603.01025](https://arxiv.org/abs/1603.01025), section 3.
