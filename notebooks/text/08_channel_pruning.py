# %% [markdown]
# # 08 · Channel pruning: how do I remove work, not just zeros?
#
# Chapter 07 ended with 90 % zeros and the same milliseconds. Now whole channels go, and the tensors become smaller. Is the network then as much faster as it is smaller?
#
# **You will be able to**
#
# * cut a channel out of every tensor that holds a share of it, and prove that the cut is right;
# * say why 30 % of the channels are half of the MACs;
# * find out which layers of a network must be cut together;
# * rank channels in five ways, and test the ranking against the truth and against chance;
# * measure what a cut is worth in milliseconds, and choose widths that a runtime likes.
#
# **Before:** chapter [01](01_measuring.ipynb) (MACs, latency), chapter [07](07_magnitude_pruning.ipynb) (magnitudes, fractions). **Time:** 110 min to work through; the cells take about 1 min on 2 quiet cores. Symbols: [notation](../docs/notation.md).

# %% tags=["nbval-ignore-output"]
import copy
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown, display
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F

from course_lib import measure, plots, widgets
from course_lib.data import load
from course_lib.evaluation import model_accuracy
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.measure import claim, load_result
from course_lib.measure.tables import text_table
from course_lib.models import checkpoints

splits = load(size=32)

# %% [markdown]
# Two shipped networks: the distilled *student*, a chain of convolutions, and the residual *teacher*. All accuracies are on validation images; the test part is not for trying.

# %% tags=["nbval-ignore-output"]
every = max(1, len(splits.validation) // 450)
validation = splits.validation.subset(np.arange(0, len(splits.validation), every))
networks = {}
for role in ("student", "teacher"):
    networks[role], card = checkpoints.load(f"{role}_{splits.train.name}")
    macs = measure.total_macs(networks[role], (1, 3, 32, 32))
    right = model_accuracy(networks[role], validation)
    print(f"{role}: {macs / 1e6:5.1f} million MACs, {100 * right:.1f} % of {len(validation)} images right")
student, teacher = networks["student"], networks["teacher"]

# %% [markdown]
# ## Predict first
#
# 1. Remove 30 % of the channels of every layer of the student. How many of its MACs are left: (a) more than 60 %, (b) 40 to 60 %, (c) fewer?
# 2. Remove the same share of every layer of the teacher until half of its MACs are gone. How many times faster does ONNX Runtime answer: (a) less than 1.3, (b) 1.3 to 1.8, (c) more?

# %% tags=["nbval-ignore-output"]
macs_guess = None  # "a", "b" or "c"; the chapter comes back to both
speed_guess = None
display(predict("08.p1", macs_guess, sure=None), predict("08.p2", speed_guess, sure=None))

# %% [markdown]
# ## One channel, many tensors
#
# A *filter* is one output of a convolution: row $c$ of its kernel $W$, which has the axes (outputs, inputs, height, width). What it computes is *channel* $c$ of the layer's output. The next convolution reads that channel with an input slice, $W'_{:,c}$. BatchNorm between them holds one number for each channel in four vectors: $\gamma$, $\beta$, the running mean $\mu$ and variance $\sigma^2$. To remove a channel is to shorten all of them.
#
# **By hand:** convolution 3 → 4, BatchNorm, ReLU, convolution 4 → 2, kernels 3 × 3. Keep the channels 0, 1 and 3.

# %%
from course_lib.pruning import cut, dependency_graph, masked

torch.manual_seed(0)
chain = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
chain[1].running_mean.fill_(-0.1)
chain[1].bias.data.fill_(0.3)
graph = dependency_graph(chain, torch.zeros(1, 3, 8, 8))
small = cut(chain, graph, {"0": [0, 1, 3]})
for (name, before), after in zip(chain.state_dict().items(), small.state_dict().values(), strict=True):
    print(f"{name:21} {list(before.shape)} → {list(after.shape)}")

# %% [markdown]
# How do we know that the cut is right? It must compute what the whole chain computes when channel 2 is silenced. But silenced where? **Four numbers:** a filter of zeros gives 0, and BatchNorm makes of it
#
# $$\gamma\,\frac{0 - \mu}{\sqrt{\sigma^2 + \varepsilon}} + \beta = 1 \cdot \frac{0.1}{\sqrt{1}} + 0.3 = 0.4,$$
#
# which ReLU lets pass ($\varepsilon$ is a tiny constant against division by 0). A zero filter is not a removed channel: it still sends 0.4 to the next layer at every pixel. The channel must be 0 *where the next layer reads it*. That is what `masked` does, in the full-size network.

# %%
zero_filter = copy.deepcopy(chain)
zero_filter[0].weight.data[2] = 0
images = torch.rand(8, 3, 8, 8)
with torch.no_grad():
    apart = {name: (net(images) - small(images)).abs().max().item()
             for name, net in {"filter zeroed": zero_filter,
                               "channel zeroed": masked(chain, graph, {"0": [0, 1, 3]})}.items()}
claim("The cut chain is the one with the channel zeroed, within 1e-5; with the filter zeroed it is not.",
      apart["channel zeroed"] < 1e-5 and apart["filter zeroed"] > 1e-3)

# %% [markdown]
# ### Why the square
#
# A convolution with $C_{in}$ inputs, $C_{out}$ outputs, a $k \times k$ kernel and $P$ output pixels costs $P\,C_{in}\,C_{out}\,k^2$ multiply-accumulates (MACs). Remove the fraction $s$ of every layer's channels. An inner layer loses outputs and inputs:
#
# $$P\,(1-s)C_{in}\,(1-s)C_{out}\,k^2 = (1-s)^2 \cdot P\,C_{in}\,C_{out}\,k^2, \qquad (1 - 0.3)^2 = 0.49 .$$
#
# Half of the MACs need $s = 1 - \sqrt{1/2} \approx 0.29$ only. The first layer keeps the image's three inputs, the last one the answers' outputs: each falls with $1-s$.

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import choose, norms

graph = dependency_graph(student, torch.zeros(1, 3, 32, 32))
keep = choose(graph, student, norms(2), 0.3, scope="layer")
before, after = (measure.macs_by_layer(net, (1, 3, 32, 32)) for net in (student, cut(student, graph, keep)))
for name in before:
    print(f"{name:12} {before[name]:9,} → {after[name]:9,} MACs: {100 * after[name] / before[name]:.1f} %")
left = sum(after.values()) / sum(before.values())
reveal("08.p1", 100 * left)

# %% [markdown]
# **Exercise 08.1.** The MACs of a chain. `channels` holds the image's channels, then each layer's outputs; `positions` each layer's output pixels.


# %%
def chain_macs(channels, positions, kernel_size, pruning_ratio):
    """MACs when each inner entry of ``channels`` loses round(pruning_ratio · c), and keeps at least one."""
    ...


check("08.1", chain_macs)

# %% [markdown]
# **Exercise 08.2.** The cut itself, on the tensors of such a chain.


# %%
def cut_chain(state, keep):
    """The state dict with only the channels ``keep`` (ascending) between first and second.

    Keys: first.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var,
    norm.num_batches_tracked, second.weight, second.bias.
    """
    ...


check("08.2", cut_chain)

# %% [markdown]
# ### Behind flatten
#
# `flatten` writes a map's $H \cdot W$ values channel by channel. So a linear layer behind it has $H \cdot W$ inputs for each channel. **By hand:** 3 channels of $2 \times 2$; channel 1 has the inputs 4, 5, 6, 7.

# %%
head = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Flatten(), nn.Linear(12, 2))
print(dependency_graph(head, torch.zeros(1, 1, 2, 2))["0"])

# %% [markdown]
# **Exercise 08.3.** Which columns of the linear layer stay?


# %%
def inputs_of_channels(keep, channels, height, width):
    """A list of columns, in the order in which the cut map is flattened; ``keep``: channels, ascending."""
    ...


check("08.3", inputs_of_channels)

# %% [markdown]
# ## Who is tied to whom
#
# A residual block adds $F(x)$ to its input $x$, or to a 1 × 1 projection of $x$ where the shapes differ. A sum needs equal shapes, and more: channel $c$ of one branch meets channel $c$ of the other. If one goes, both go. So the ties reach along the shortcut through all blocks of a stage. A *group* is all channels that share such ties. `dependency_graph` (the idea of Fang et al. 2023) traces the network and follows every channel through sums, concatenations and reshapes. Two of the teacher's blocks:

# %%
graphs = {role: dependency_graph(net, torch.zeros(1, 3, 32, 32)) for role, net in networks.items()}
stage = [g for g in graphs["teacher"].groups if g.name.startswith(("stages.1", "stages.2"))]
plots.groups_figure(stage)

# %% [markdown]
# Three convolutions make the channels of one group, and three read them, in three blocks. What a cut takes from each tensor:

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import predicted_macs, rank_channels

ranking = rank_channels(teacher, graphs["teacher"], norms(2))
macs = predicted_macs(teacher, graphs["teacher"], ranking)
tied = stage[0]
counts = {tied.name: 58}
plots.cut_figure(tied, ranking.keep(counts)[tied.name], macs(counts), macs({}))

# %% [markdown]
# Choose another group and fraction. Which group saves most MACs when 30 % of it go, and which least?

# %% tags=["nbval-ignore-output"]
widgets.channel_cut_explorer(graphs["teacher"], macs)

# %% [markdown]
# ### What goes wrong without it
#
# Let each of the three convolutions keep its own 58 strongest filters. All shapes fit, and the network runs. But from the first place where their choices differ, the sum adds channels that do not belong together, and the readers take them for channels that they are not.

# %% tags=["nbval-ignore-output"]
kept = ranking.keep(counts)
together = cut(teacher, graphs["teacher"], kept)
each_its_own = copy.deepcopy(together)
for member in tied.members:
    if member.role == "produces":
        source = teacher.get_submodule(member.module)
        own = source.weight.detach().flatten(1).norm(dim=1).topk(58).indices.sort().values
        each_its_own.get_submodule(member.module).weight.data = source.weight.data[own]
        norm = member.module.removesuffix("0") + "1"  # its BatchNorm goes with it
        state = teacher.get_submodule(norm).state_dict()
        state = {name: v[own] if v.ndim else v for name, v in state.items()}
        each_its_own.get_submodule(norm).load_state_dict(state)
views = validation.subset(np.arange(0, len(validation), 2))
naive = {"as one": model_accuracy(together, views), "each its own": model_accuracy(each_its_own, views)}
print({way: f"{100 * right:.1f} % right" for way, right in naive.items()})

# %%
claim("Cut each on its own, no shape complains, and the teacher loses at least 10 points more.",
      naive["as one"] > naive["each its own"] + 0.1)

# %% [markdown]
# A *concatenation* ties nothing: its branches are cut independently. But whoever reads it has its inputs at an offset. **By hand:** two branches of two channels; a reader with the weights 10, 20, 30, 40; channel 1 of each branch stays.

# %%
reader = torch.tensor([10, 20, 30, 40])
print("right:", reader[[1, 2 + 1]].tolist(), " offset forgotten:", reader[[1, 1]].tolist(), " same shape")

# %% [markdown]
# **Exercise 08.4.** The inputs behind a concatenation.


# %%
def concatenated_inputs(sizes, keeps):
    """A list of the inputs that stay, ascending.

    ``sizes``: each branch's channels before the cut.
    ``keeps``: for each branch a list of the channels that stay, counted within the branch, ascending.
    """
    ...


check("08.4", concatenated_inputs)

# %% [markdown]
# A *depthwise* convolution gives each channel its own filter and mixes none. So its outputs belong to the group of its inputs. Its kernel has the shape (outputs, 1, height, width): one axis to cut, and `groups` to lower by as many.

# %%
depthwise = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 2, 1))
print(dependency_graph(depthwise, torch.zeros(1, 3, 8, 8))["0"])

# %% [markdown]
# ## Which channels
#
# * **Norm of the filter**, $\sum|w|$ (Li et al. 2017) or $\sqrt{\sum w^2}$. Needs no data. Blind to the BatchNorm behind.
# * **BatchNorm's $|\gamma|$** (Liu et al. 2017). They add $\lambda \sum |\gamma|$ to the loss while training. It pulls every $\gamma$ towards 0 with the same force $\lambda$, and those that the loss does not hold arrive. It removes nothing itself. Nor does it see the next kernel: halve $\gamma$ and $\beta$, double what reads the channel, and the function is the same, since $\mathrm{ReLU}(x/2) = \mathrm{ReLU}(x)/2$.
# * **First-order Taylor** (Molchanov et al. 2017). Let channel $c$ have the activations $a_1 \dots a_n$, one for each pixel. Set to 0, they change the loss $L$ by
#
# $$L(0) - L(a) \approx -\sum_i a_i \frac{\partial L}{\partial a_i}.$$
#
# All positions go together, so their changes add up *with signs*, and the absolute value comes last. (The authors also divide by the number of positions and normalise within each layer; that leaves the order within a layer as it is.) **Four numbers:** $a = (2, 4)$, gradients $(0.5, -0.25)$: $1 - 1 = 0$, the channel may go. With the absolute value first it would be $2$. The same holds for weights, with $w$ in place of $a$.
# * **Second order** (LeCun et al. 1990): $\frac12 \sum h_{ii} w_i^2$, which stays where a converged network's gradients vanish. For the second derivative $h_{ii}$ the library takes the mean of squared gradients, image by image (Theis et al. 2018 do so with whole channels).
# * **Random numbers.** Whoever does not beat them knows nothing.
#
# **Exercise 08.5.** Taylor importance; `gradients` holds for each image the gradient of its own loss.


# %%
def taylor_scores(activations, gradients):
    """(C,): mean over images of |Σ over positions of a · ∂L/∂a|; both arguments are (B, C, H, W)."""
    ...


check("08.5", taylor_scores)

# %% [markdown]
# ### Against the truth
#
# For one channel at a time the truth is cheap: set it to 0 and compute the loss. The student's third layer, on augmented training images; Taylor's scores come from other images than the truth:

# %% tags=["nbval-ignore-output"]
from course_lib.training import Recipe, epoch_batches

some = max(1, len(splits.train) // 1000)
train = splits.train.subset(np.arange(0, len(splits.train), some))
twice = splits.train.subset(np.arange(0, len(splits.train), max(1, len(splits.train) // 2000)))
scored, batch = islice(epoch_batches(twice, Recipe(epochs=1, batch_size=1000), epoch=0), 2)
rest = nn.Sequential(*student.features[3:], student.pool, nn.Flatten(), student.classifier).eval()


def third_layer(images):
    return student.features[:3](images).detach().requires_grad_()  # (B, C, H, W)


seen = third_layer(scored.images)
each = F.cross_entropy(rest(seen), scored.labels, reduction="sum")  # so each image has its own gradient
(gradients,) = torch.autograd.grad(each, seen)
activations = third_layer(batch.images)
loss = F.cross_entropy(rest(activations), batch.labels, reduction="sum")
rises = []
with torch.no_grad():
    for channel in range(activations.shape[1]):
        silenced = activations.clone()
        silenced[:, channel] = 0
        without = F.cross_entropy(rest(silenced), batch.labels, reduction="sum")
        rises.append((without - loss).item() / len(batch.labels))

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import batch_norm_scales, noise

third = graphs["student"]["features.2.0"]
scores = {"Taylor": (seen * gradients).sum((2, 3)).abs().mean(0).detach(),
          "|γ|": batch_norm_scales(third, student), "L2 norm": norms(2)(third, student),
          "random": noise(0)(third, student)}
agreement = {name: spearmanr(score, rises).statistic for name, score in scores.items()}
plots.importance_figure(rises, scores, agreement)

# %% [markdown]
# *Rank correlation* is 1 where both order the channels alike, and near 0 where they know nothing of each other. How near? Of random orders of $C$ channels, 95 % stay within $\pm 1.96/\sqrt{C-1}$.

# %% tags=["nbval-ignore-output"]
luck = 1.96 / (len(rises) - 1) ** 0.5
print(f"by luck: up to {luck:.2f};", {name: round(float(found), 2) for name, found in agreement.items()})

# %%
claim("For single channels Taylor's order agrees with the measured losses better than the other three.",
      agreement["Taylor"] == max(agreement.values()))

# %% [markdown]
# (The student was trained without Liu's penalty.) How does one pass score all layers at once? Put a *gate* $g = 1$ in front of each channel, $a \to g\,a$. Then $\partial L/\partial g = \sum_i a_i\,\partial L/\partial a_i$: autograd adds up for us. The library's `taylor` follows Molchanov et al. (2019): gates behind BatchNorm, and the *square* of the gradient of a batch's mean loss, averaged over batches. Within a batch signs may cancel, which they could not in exercise 08.5; small batches lose less.

# %%
from course_lib.pruning import taylor

gate = torch.ones(third.size, 1, 1, requires_grad=True)
handle = student.features[2][1].register_forward_hook(lambda norm, inputs, output: output * gate)
(of_gate,) = torch.autograd.grad(F.cross_entropy(student(batch.images), batch.labels), gate)
handle.remove()
library = taylor([third], student, [(batch.images, batch.labels)], gate="activations")(third, student)
claim("The library's Taylor scores are the squared gradients of gates, within a thousandth of the largest.",
      (of_gate.flatten().square() - library).abs().max() < 1e-3 * library.max())

# %% [markdown]
# ### Many channels at once
#
# Now a fifth to a half of all MACs, every layer losing the same fraction, so that all criteria give *the same shape*. What depends on chance or on the images drawn is repeated: five draws of random numbers, three of images.

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import curvature, uniform_allocation

groups = [g for g in graphs["student"].groups if g.prunable]


def drawn(seed, images, batch_size):
    """Batches of augmented training images."""
    batches = epoch_batches(train, Recipe(epochs=1, batch_size=batch_size, seed=seed), epoch=0)
    return [(b.images, b.labels) for b in islice(batches, images // batch_size)]


criteria = {
    "random": [noise(seed) for seed in range(5)],
    "L2 norm": [norms(2)],
    "|γ|": [batch_norm_scales],
    "Taylor": [taylor(groups, student, drawn(seed, 512, 64), gate="activations") for seed in range(3)],
    "second order": [curvature(groups, student, drawn(seed, 48, 48)) for seed in range(3)],
}

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import reestimate_batch_norm_

fresh = train.subset(np.arange(0, len(train), 4))
at_once, reestimated, halves = {}, {}, {}
for name, importances in criteria.items():
    at_once[name], reestimated[name] = {}, {}
    for share in (0.8, 0.65, 0.5):
        at_once[name][share], reestimated[name][share] = [], []
        for importance in importances:
            ranking = rank_channels(student, graphs["student"], importance)
            cost = predicted_macs(student, graphs["student"], ranking)
            counts = uniform_allocation(ranking, cost, share)
            small = cut(student, graphs["student"], ranking.keep(counts))
            at_once[name][share].append(model_accuracy(small, validation))
            reestimate_batch_norm_(small, fresh)
            reestimated[name][share].append(model_accuracy(small, validation))
            if share == 0.5:
                halves.setdefault(name, []).append(small)
plots.criteria_figure(at_once)

# %% [markdown]
# Points are means, bars the range of the draws; points of one share are drawn side by side. The best forecaster of a single loss does not clearly win here. Taylor's sum takes each channel as if all others stayed; three in ten of them gone at once is no small step. Which criteria lie outside the range of the random draws? The next figure's cell counts.
#
# ### BatchNorm remembers the old network
#
# Its $\mu$ and $\sigma^2$ were measured on sums that have since lost terms. Measured anew on a few hundred unlabelled training images, without one step of training:

# %% tags=["nbval-ignore-output"]
for when, found in {"at once": at_once, "re-estimated": reestimated}.items():
    told = [f"{name} at {100 * share:.0f} %" for name in criteria for share in found[name]
            if not min(found["random"][share]) <= np.mean(found[name][share]) <= max(found["random"][share])]
    print(f"{when}, outside the range of random draws: {', '.join(told) or 'none'}")
plots.criteria_figure(reestimated)

# %%
means = {when: {name: np.mean(found[name][0.5]) for name in criteria}
         for when, found in {"at once": at_once, "re-estimated": reestimated}.items()}
gains = {name: means["re-estimated"][name] - means["at once"][name] for name in criteria}
claim("At half of the MACs, re-estimated BatchNorm gives every criterion back at least 10 points.",
      min(gains.values()) > 0.10)

# %% tags=["nbval-ignore-output"]
for when, found in means.items():
    distance = max(found.values()) - min(found.values())
    print(f"{when:13} best and worst criterion lie {100 * distance:.0f} points apart")

# %% [markdown]
# What shrinks from the first line to the second was no better choice of channels, but statistics that happened to fit. Re-estimate first, then compare criteria.
#
# ### The same ratio is not the same work
#
# 30 % of all channels in *one* ranking over all layers: each criterion takes them elsewhere.

# %% tags=["nbval-ignore-output"]
shares = {}
for name in ("L2 norm", "|γ|", "Taylor", "random"):
    keep = choose(graphs["student"], student, criteria[name][0], 0.3, scope="global")
    small = cut(student, graphs["student"], keep)
    shares[name] = measure.total_macs(small, (1, 3, 32, 32)) / sum(before.values())
    print(f"{name:8} {100 * shares[name]:.1f} % of the MACs; channels kept {[len(k) for k in keep.values()]}")

# %%
claim("At the same 30 % of channels, the MACs left differ by more than 5 points of the whole.",
      max(shares.values()) - min(shares.values()) > 0.05)

# %% [markdown]
# Raw norms do not compare across layers at all: a filter with more inputs has more weights to add up, and in one ranking the first layers lose nearly everything. Li et al. rank within a layer. So criteria are compared at the same MACs, or the same milliseconds. Which layer can give how much is a question of its own.
#
# ## Recovery
#
# The student at half of its MACs, two short epochs on a part of the training images: *fine-tuned* with the labels, or *distilled* from the unpruned network (chapter 05). As a control, random channels in the same shape, fine-tuned alike.

# %% tags=["nbval-ignore-output"]
from course_lib.distillation import Distiller, soft_target_terms
from course_lib.training import fit

recipe = Recipe(epochs=2, batch_size=64, max_lr=2e-3, schedule="cosine")
middle = {name: np.argsort(found[0.5])[len(found[0.5]) // 2] for name, found in reestimated.items()}
recovered = {}
for name, distilled in (("|γ|", False), ("|γ|", True), ("random", False)):
    trained = copy.deepcopy(halves[name][middle[name]])  # of several draws the middle one
    terms = soft_target_terms(temperature=4, alpha=0.9)
    loss = Distiller(trained, student, terms) if distilled else None
    history = fit(trained, train, validation, recipe, loss=loss, progress=False)
    way = "distilled" if distilled else "fine-tuned"
    recovered[name, way] = history.best_accuracy
    start = ", ".join(f"{when} {100 * found[name][0.5][middle[name]]:.1f} %"
                      for when, found in {"cut": at_once, "re-estimated": reestimated}.items())
    print(f"{name:7} {start}, {way} {100 * history.best_accuracy:.1f} %")

# %%
claim("Two short epochs bring the network at half of its MACs at least 10 points above re-estimation alone.",
      recovered["|γ|", "fine-tuned"] > reestimated["|γ|"][0.5][0] + 0.1)

# %% [markdown]
# One training of each decides nothing between the last digits. It does show the size of things: re-estimation and two short epochs give back most of what was lost, also where the channels were drawn at random (Mittal et al. 2018 report the like for VGG-16 and ResNet-50). What the *inherited weights* are worth, against the same shape trained from scratch, only equal budgets can tell (Liu et al. 2019): below.
#
# ### Recorded
#
# The teacher, cut in multiples of 16 channels by Taylor scores, then a few epochs of distillation from the unpruned network; three seeds. Points lost below the unpruned teacher, on the half of the validation signs that did not choose the epoch; time as a fraction of its, ONNX Runtime, one thread. *Real*: the training tracks of GTSRB, split by track.

# %%
recorded = {"rendered": load_result("pruning_rendered")["figures"],
            "real": load_result("pruning_gtsrb")["figures"]}


def with_interval(found, sign=""):
    return f"{found.value:{sign}.2f} [{found.low:{sign}.2f}, {found.high:{sign}.2f}]"


rows = []
for signs, found in recorded.items():
    for share in ("half", "quarter", "tenth"):
        kept_macs = found[f"macs_ratio_at_{share}_macs"].value
        cells = [with_interval(found[f"{what}_at_{share}_macs"]) for what in ("drop_points", "latency_ratio")]
        rows.append([signs, share, f"{100 * kept_macs:.0f} %", *cells])
print(text_table(["signs", "at most", "MACs left", "points lost [95 %]", "time left [95 %]"], rows))

# %%
claim("Recorded: at half of the MACs at most 0.2 points are lost and at most 0.56 of the time is left.",
      all(f["drop_points_at_half_macs"].value <= 0.2 and f["latency_ratio_at_half_macs"].high <= 0.56
          for f in recorded.values()))

# %% [markdown]
# (Where an interval is some points wide around exactly 0, no image in any of the three runs changed its verdict; the width is what so few signs can exclude at all.)
#
# Now the honest question. What are the *old weights* worth, once the shape is known? At a quarter of the MACs, the same shape with new weights gets as many epochs, and, "all epochs", those of the teacher's own training as well:

# %%
arms = {"distilled": "old weights, distilled", "tuned": "old weights, labels",
        "fresh_distilled": "new weights, distilled", "fresh": "new weights, labels",
        "fresh_long_distilled": "new, distilled, all epochs", "fresh_long": "new, labels, all epochs"}
rows = []
for arm, words in arms.items():
    name = f"{'' if arm == 'distilled' else arm + '_'}drop_points_at_quarter_macs"
    rows.append([words, *(with_interval(f[name]) if name in f else "–" for f in recorded.values())])
print(text_table(["a quarter of the MACs", "rendered: points lost", "real: points lost"], rows))
print()
pairs = {"old − new, labels": "tuned_minus_fresh",
         "old − new, distilled": "distilled_minus_fresh_distilled",
         "old − new with all epochs, labels": "tuned_minus_fresh_long",
         "old − new with all epochs, distilled": "distilled_minus_fresh_long_distilled",
         "distilled − labels, old weights": "distilled_minus_tuned"}
for words, pair in pairs.items():
    name = f"{pair}_points_at_quarter_macs"
    told = [f"{signs} {with_interval(f[name], '+')}" for signs, f in recorded.items() if name in f]
    print(f"{words}:", "; ".join(told))

# %% [markdown]
# At equal, few epochs the old weights are ahead in every row, though no interval excludes 0. Give the new ones the whole budget, and they end where the pruned ones do: Liu et al.'s finding, here on two rows. What pruning found is the *shape*, and a start that saves epochs. And where a quarter of the MACs loses next to nothing, distillation has nothing to repair: its row holds 0, too.

# %%
claim("Recorded: with all epochs, new weights in the same shape are not told apart from the pruned ones.",
      all(found.low <= 0 <= found.high for found in
          (recorded["rendered"][f"{pair}_points_at_quarter_macs"] for pair in
           ("tuned_minus_fresh_long", "distilled_minus_fresh_long_distilled"))))

# %% [markdown]
# ## Time it
#
# MACs are counted; milliseconds are measured. Latency hardly depends on what the weights are, so the cut networks need no training to be timed. First the teacher, each layer cut by the same fraction, whatever widths result:

# %% tags=["nbval-ignore-output"]
from course_lib.deploy.onnx import export_onnx, open_session

folder = tempfile.TemporaryDirectory()
image = np.random.default_rng(0).random((1, 3, 32, 32), dtype=np.float32)
timing = {"warmup": 10, "threads": 1, "seed": 0, "cadence": measure.BACK_TO_BACK}


def exported_call(model, input_image):
    """The network as an ONNX file, and a function that runs it once."""
    path = Path(folder.name) / f"{len(list(Path(folder.name).iterdir()))}.onnx"
    session = open_session(export_onnx(model, path, input_shape=input_image.shape), threads=1)
    return lambda: session.run(None, {"images": input_image})


def cut_to(role, share, multiple):
    """The network at ``share`` of its MACs or a little less, and the share that is really left."""
    net, graph = networks[role], graphs[role]
    ranking = rank_channels(net, graph, norms(2))
    cost = predicted_macs(net, graph, ranking)
    counts = uniform_allocation(ranking, cost, share, multiple=multiple)
    return cut(net, graph, ranking.keep(counts)), cost(counts) / cost({})


# %% tags=["nbval-ignore-output"]
calls = {"whole": exported_call(teacher, image), "whole again": exported_call(teacher, image)}
real_share = {}
for multiple in (1, 8):
    for share in (0.5, 0.25, 0.1):
        small, real_share[multiple, share] = cut_to("teacher", share, multiple)
        name = f"{100 * real_share[multiple, share]:.1f} %, ×{multiple}"
        calls[name] = exported_call(small, image)
        widths = sorted({m.out_channels for m in small.modules() if isinstance(m, nn.Conv2d)})
        print(f"{name:10} widths {widths}")
report = measure.latency(calls, repeats=15, **timing)
print(report)
speed = report.ratio("whole", f"{100 * real_share[1, 0.5]:.1f} %, ×1")
reveal("08.p2", speed.value)

# %% [markdown]
# "×1" takes any width, "×8" only multiples of 8; the per cents are MACs left. "whole again" is the same network a second time, an A/A test: where its interval excludes 1, distrust differences of that size. The files, at least, shrink by themselves:

# %% tags=["nbval-ignore-output"]
for number, name in enumerate(calls):
    print(f"{name:12} {Path(folder.name, f'{number}.onnx').stat().st_size / 1000:5.0f} kB")

# %% tags=["nbval-ignore-output"]
claim(
    "Half of the teacher's MACs, at whatever widths result, take more than 0.7 of its time",
    speed.high < 1 / 0.7,
    hardware=True,
    measured=f"{speed.value:.2f} [{speed.low:.2f}, {speed.high:.2f}] times faster",
)

# %% [markdown]
# ### One convolution, channel by channel
#
# Where does the time go? One 3 × 3 convolution on 16 × 16 pixels, with 24, 25, … 40 channels in and out, all interleaved, the widest twice:

# %% tags=["nbval-ignore-output"]
widths, single = list(range(24, 41)), {}
for width in (*widths, "again"):
    channels = widths[-1] if width == "again" else width
    pixels = np.random.default_rng(0).random((1, channels, 16, 16), dtype=np.float32)
    single[str(width)] = exported_call(nn.Conv2d(channels, channels, 3, padding=1), pixels)
by_width = measure.latency(single, repeats=25, **timing)
times = [1000 * by_width.p50(str(width)) for width in widths]
plots.widths_figure(widths, times, 1000 * by_width.p50("again"), multiple=4)

# %% tags=["nbval-ignore-output"]
odd = by_width.ratio("31", "32")
claim(
    "A convolution with 32 channels takes less time than one with 31",
    odd.low > 1,
    hardware=True,
    measured=f"32 are {odd.value:.2f} [{odd.low:.2f}, {odd.high:.2f}] times faster than 31",
)

# %% [markdown]
# A channel removed, and slower. The reason can be read in what ONNX Runtime makes of the file: it writes the graph that it runs.

# %% tags=["nbval-ignore-output"]
import onnx
import onnxruntime

for width in (24, 31, 32, 36):
    path = export_onnx(nn.Conv2d(width, width, 3, padding=1), Path(folder.name) / "one.onnx",
                       input_shape=(1, width, 16, 16))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(Path(folder.name) / "as_run.onnx")
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    run = onnx.load(options.optimized_model_filepath).graph
    convolution = next(node for node in run.node if node.op_type == "Conv")
    kernel = next(list(tensor.dims) for tensor in run.initializer if len(tensor.dims) == 4)
    print(f"{width} channels: kernel as run {kernel}, operator of {convolution.domain or 'plain ONNX'}")

# %% [markdown]
# Where the operator is "nchwc", the runtime stores a block of channels side by side, as many as one instruction multiplies, and fills the last block with zeros: widths in one block cost the same. It takes this path only at certain widths; others fall back to a slower kernel. Processors and runtimes differ, so measure yours. Multiples of 8 or 16 are a good first guess.
#
# ### Where MACs and time part
#
# Another reason shows in the student: a layer costs a call whatever its width, and narrow layers fill vectors badly. The smaller the network, the more of its time is that.

# %% tags=["nbval-ignore-output"]
calls, student_share = {"whole": exported_call(student, image)}, {}
for share in (0.5, 0.25, 0.1):
    small, student_share[share] = cut_to("student", share, 8)
    calls[str(share)] = exported_call(small, image)
student_report = measure.latency(calls, repeats=30, **timing)


def time_left(report, name):
    """The time of a variant as a fraction of the whole network's."""
    return report.ratio(name, "whole")


points = {"teacher, ×1": {}, "teacher, ×8": {}, "student, ×8": {}}
for (multiple, _), left_over in real_share.items():
    name = f"{100 * left_over:.1f} %, ×{multiple}"
    points[f"teacher, ×{multiple}"][left_over] = time_left(report, name)
for share, left_over in student_share.items():
    points["student, ×8"][left_over] = time_left(student_report, str(share))
plots.macs_and_time_figure(points)

# %% [markdown]
# Above the dotted line the MACs promise more than the clock gives. A table that calls a MACs ratio a speed-up has drawn that line instead of measuring.
#
# ## Pitfalls
#
# * **A MACs ratio reported as a latency ratio.** Time the file, with the widths that it has.
# * **Widths that fit no block.** Round to what the runtime likes, then count the MACs again.
# * **A zeroed filter taken for a removed channel.** BatchNorm still sends $\beta - \gamma\mu/\sqrt{\sigma^2 + \varepsilon}$.
# * **BatchNorm's vectors forgotten,** or re-estimation forgotten, and the loss blamed on the criterion.
# * **`weight[:, keep]` behind a flatten,** or a concatenation's offset forgotten: no error, wrong columns.
# * **Branches of a sum cut each on its own.**
# * **The norm taken over the wrong axes,** one number for a layer or one for each input; or the strongest channels removed. Look at what was kept.
# * **Criteria compared at the same ratio,** without random channels beside them.
# * **A cut network with more training than its control.** The ratio or the epoch chosen on test.
#
# ## Recap

# %% tags=["nbval-ignore-output"]
def percent(values):
    return f"{100 * np.mean(values):.0f} %"


odd_time, even_time = points["teacher, ×1"][real_share[1, 0.25]], points["teacher, ×8"][real_share[8, 0.25]]
half_time = points["teacher, ×1"][real_share[1, 0.5]]
display(Markdown(f"""
1. 30 % of every layer's channels gone leaves {100 * left:.0f} % of the student's MACs: inner layers fall
   with the square.
2. A channel is cut in all tensors of its group. Each layer on its own: {100 * naive["each its own"]:.1f} %
   right instead of {100 * naive["as one"]:.1f} %, and no error.
3. For single channels Taylor's ranks agree with the measured loss by {agreement["Taylor"]:.2f}, those of the
   L2 norm by {agreement["L2 norm"]:.2f}. At half of the MACs, cut at once: random
   {percent(at_once["random"][0.5])} right, Taylor {percent(at_once["Taylor"][0.5])},
   |γ| {percent(at_once["|γ|"][0.5])}.
4. Re-estimating BatchNorm gives back {100 * min(gains.values()):.0f} to {100 * max(gains.values()):.0f}
   points, without training. Two short epochs reach {100 * recovered["|γ|", "fine-tuned"]:.1f} %, with random
   channels {100 * recovered["random", "fine-tuned"]:.1f} %.
5. {100 * real_share[1, 0.5]:.0f} % of the teacher's MACs take {100 * half_time.value:.0f} % of the time at
   whatever widths result. {100 * real_share[1, 0.25]:.0f} % take {100 * odd_time.value:.0f} %, and
   {100 * real_share[8, 0.25]:.0f} % at multiples of 8 {100 * even_time.value:.0f} %.
6. Recorded, after recovery: half of the teacher's MACs lose
   {with_interval(recorded["rendered"]["drop_points_at_half_macs"])} points and take
   {with_interval(recorded["rendered"]["latency_ratio_at_half_macs"])} of the time.
"""))

# %% [markdown]
# Next: every layer lost the same fraction here. Which can give more? [Chapter 09](09_how_much_where.ipynb) measures it.
#
# ## References
#
# * Y. LeCun, J. Denker, S. Solla (1990). *Optimal brain damage.* NeurIPS 2, section 2.
# * H. Li et al. (2017). *Pruning filters for efficient ConvNets.* [arXiv:1608.08710](https://arxiv.org/abs/1608.08710), section 3.1.
# * Z. Liu et al. (2017). *Learning efficient convolutional networks through network slimming.* [arXiv:1708.06519](https://arxiv.org/abs/1708.06519), eq. 1.
# * P. Molchanov et al. (2017). *Pruning convolutional neural networks for resource efficient inference.* [arXiv:1611.06440](https://arxiv.org/abs/1611.06440), eq. 8; for weights (2019): [arXiv:1906.10771](https://arxiv.org/abs/1906.10771), eq. 8.
# * L. Theis et al. (2018). *Faster gaze prediction with dense networks and Fisher pruning.* [arXiv:1801.05787](https://arxiv.org/abs/1801.05787), eq. 7.
# * D. Mittal et al. (2018). *Recovering from random pruning.* [arXiv:1801.10447](https://arxiv.org/abs/1801.10447).
# * Z. Liu et al. (2019). *Rethinking the value of network pruning.* [arXiv:1810.05270](https://arxiv.org/abs/1810.05270).
# * G. Fang et al. (2023). *DepGraph: towards any structural pruning.* [arXiv:2301.12900](https://arxiv.org/abs/2301.12900), section 3.
