# %% [markdown]
# # 15 · Fusion and graphs: where does time go between the layers?
#
# All multiplications that the course counts stand in the teacher's convolutions and its one linear layer. BatchNorm, ReLU and sums only touch up what those have computed; counted in MACs they are free. Are they free by the clock? And if not, can they be had for nothing?
#
# **You will be able to**
#
# * time a network operator by operator, and count the bytes that each one moves;
# * fold BatchNorm into the layer before or behind it, and say where that is wrong;
# * rewrite a graph with torch.fx, and say what must stay as it is;
# * predict in milliseconds what fusion saves, and check the prediction;
# * read what a runtime has fused already, and find a fusion that costs time.
#
# **Before:** chapters [01](01_measuring.ipynb) (medians, rounds, A/A, roofline), [10](10_affine_quantization.ipynb) (folding, in one cell). **Time:** 100 min to work through; the cells take about 1 min on 2 quiet cores. Symbols: [notation](../docs/notation.md).

# %% tags=["nbval-ignore-output"]
import copy
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown, display
from torch import fx, nn
from torch.nn import functional as F

from course_lib import fusion, measure, plots, widgets
from course_lib.data import load
from course_lib.errors import CourseError
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.measure import claim
from course_lib.measure.reference import reference
from course_lib.measure.tables import text_table
from course_lib.models import checkpoints

# %% tags=["nbval-ignore-output"]
torch.set_num_threads(1)  # everything on this page runs on one thread
splits = load(size=32)
networks = {name: checkpoints.load(f"{name}_{splits.train.name}")[0].eval()
            for name in ("teacher", "student")}
teacher = networks["teacher"]
image = splits.validation.batch(np.array([0]))[0]  # (1, 3, 32, 32)

# %% [markdown]
# ## The clock, operator by operator
#
# PyTorch's *eager* mode does what a network's `forward` says, line by line: each line calls one function of the library, an *operator*. `torch.fx` runs `forward` once with placeholders instead of tensors and writes the calls down. The list is the network's *graph*; each entry is a *node*.

# %%
graph = fx.symbolic_trace(teacher)
for node in list(graph.graph.nodes)[:10]:
    print(f"{node.op:14} {getattr(node.target, '__name__', node.target):20} reads {node.args}")

# %% [markdown]
# The sum and the last ReLU of a residual block are functions, not modules: hooks on modules would miss them. An `Interpreter` runs the graph node by node, so the clock can stand between them. Each pass times all nodes in turn; a slow second of the machine meets them all.


# %% tags=["nbval-ignore-output"]
class Stopwatch(fx.Interpreter):
    """Runs a graph and keeps the microseconds of each node."""

    def __init__(self, graph):
        super().__init__(graph)
        self.us = {}

    def run_node(self, node):
        start = time.perf_counter()
        result = super().run_node(node)
        self.us.setdefault(node.name, []).append(1e6 * (time.perf_counter() - start))
        return result


watch = Stopwatch(graph)
with torch.inference_mode():
    for _ in range(80):
        watch.run(image)
us = {name: np.median(times[20:]) for name, times in watch.us.items()}
idle = us["images"]  # the node of the input computes nothing
print(f"a node that does nothing takes {idle:.1f} µs: subtracted from each of the others")

# %% tags=["nbval-ignore-output"]
LAYERS = "convolutions and linear"
GROUPS = {LAYERS: ("Conv2d", "Linear"), "BatchNorm": ("BatchNorm2d",), "ReLU": ("ReLU", "relu"),
          "sums": ("add",)}


def group_of(kind):
    return next((group for group, kinds in GROUPS.items() if kind in kinds), "other")


def kind_of(node):
    if node.op == "call_module":
        return type(graph.get_submodule(node.target)).__name__
    return getattr(node.target, "__name__", node.target)


groups = [*GROUPS, "other"]
spent, calls = dict.fromkeys(groups, 0.0), dict.fromkeys(groups, 0)
for node in graph.graph.nodes:
    if node.op.startswith("call"):
        spent[group_of(kind_of(node))] += max(0.0, us[node.name] - idle)
        calls[group_of(kind_of(node))] += 1
whole = sum(spent.values())
rows = [[group, str(calls[group]), "100 %" if group == LAYERS else "0 %", f"{spent[group]:.0f}",
         f"{100 * spent[group] / whole:.0f} %"] for group in groups]
print(text_table(["operators", "calls", "of the MACs", "µs", "of the time"], rows))

# %% tags=["nbval-ignore-output"]
between = sum(spent[group] for group in ("BatchNorm", "ReLU", "sums")) / whole
claim("BatchNorm, ReLU and sums, 0 % of the MACs, take more than 10 % of the teacher's time in eager mode",
      between > 0.1, hardware=True, measured=f"{100 * between:.0f} %")

# %% [markdown]
# *Fusing* means that fewer, larger operators do the same. BatchNorm, ReLU and sums are then done by the convolution in front of them.
#
# ## Predict first
#
# 1. Teacher, eager mode, one image a call, untouched against fused. How many times faster? (a) less than 1.15, (b) 1.15 to 1.6, (c) more.
# 2. The same teacher exported twice for ONNX Runtime: once as it is, once with each BatchNorm folded into its convolution before. How many times faster is the second file? (a) less than 1.1, (b) 1.1 to 1.5, (c) more.

# %% tags=["nbval-ignore-output"]
eager_guess = None  # "a", "b" or "c"; the chapter comes back to both
runtime_guess = None
display(predict("15.p1", eager_guess, sure=None), predict("15.p2", runtime_guess, sure=None))

# %% [markdown]
# ## Bytes
#
# An operator is a loop over memory: fetch a number, compute, put the result back. BatchNorm in use computes one multiplication and one addition for each number, 2 FLOP, and moves 4 bytes in and 4 out: an intensity of $I = 2/8 = 0.25$ FLOP a byte. A 3×3 convolution from 64 to 64 channels fetches a number and needs it $9 \cdot 64$ times.
#
# **Four numbers by hand.** A picture of 2×2 pixels and one channel, float32: 16 bytes. A 1×1 convolution reads 16 and its weight, 4, and writes 16: 36 bytes. BatchNorm reads 16 and $\gamma, \beta, \mu, \sigma^2$, 16, and writes 16: 48. ReLU reads 16 and writes 16, in place or not: 32. Together 116. All in one operator: read 16, a weight and a bias, write 16: 40.

# %%
four = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])  # (1, 1, 2, 2)
torch.manual_seed(0)
chain = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1), nn.ReLU()).eval()
apart, at_once = fusion.traffic(chain, four), fusion.traffic(fusion.fuse(chain, four).model, four)
for row in apart.rows + at_once.rows:
    print(f"{row.kind:17} reads {row.read:2} + {row.weights:2}, writes {row.written}")

# %%
claim("The library counts what the hand counted: 116 bytes apart, 40 at once.",
      (apart.total, at_once.total) == (116, 40))

# %% [markdown]
# The teacher, by kind of operator:

# %% tags=["nbval-ignore-output"]
before = fusion.traffic(teacher, image)
moved = dict.fromkeys(groups, 0)
for row in before.rows:
    moved[group_of(row.kind)] += row.bytes
shares = {"MACs": {group: float(group == LAYERS) for group in groups},
          "bytes": {group: moved[group] / before.total for group in groups},
          "time": {group: spent[group] / whole for group in groups}}
print(f"one image moves {before.total / 1e6:.1f} MB through {len(before.rows)} operators; "
      f"the other {sum(calls.values()) - len(before.rows)} calls of the first table move nothing")
plots.shares_figure(shares)

# %% [markdown]
# Views, such as `flatten`, move nothing: they are another name for the same memory. Nor do the three shortcuts that hand on what they read (`Identity`).
#
# **Exercise 15.1.** Count for any chain, apart or fused.


# %%
def bytes_moved(kernels, batch, channels, pixels, itemsize):
    """Bytes that the kernels, which run one after another, read and write; a whole number.

    Each kernel is a tuple of the steps that it computes at once, also where it is one: ("conv",), with its
    comma; without it ("conv") is a text of four letters. All pictures hold batch · channels · pixels numbers
    of ``itemsize`` bytes. A kernel reads one picture and writes one, and reads one more for each "sum" in
    it. "conv" reads channels² weights once a call; "norm" reads four numbers a channel, or, beside a "conv"
    in its kernel, one: the folded bias. "relu" reads nothing more; it, too, may be a kernel alone. The
    kernel ("view",) moves nothing.
    """
    ...


check("15.1", bytes_moved)

# %% [markdown]
# ### How fast do bytes come?
#
# That depends on where they lie. Arrays that fit a cache, the small fast memory beside the core, come faster than those in main memory. Below, three arrays are read and written again and again. The lines: the teacher's largest activation, read and written, for one image and for 32.

# %% tags=["nbval-ignore-output"]
sizes = np.array([1 / 32, 1 / 8, 1 / 2, 2, 8, 32, 96])  # MiB of each of the three arrays
speeds = [measure.peak_bandwidth_gbs(1, seconds=0.15, array_mib=mib).value for mib in sizes]
largest = max(row.written for row in before.rows)
marks = {"largest activation, 1 image": 2 * largest, "largest activation, 32 images": 64 * largest}
plots.bandwidth_figure(3 * sizes * 2**20, speeds, marks)

# %% tags=["nbval-ignore-output"]
claim("What fits a cache comes more than 1.5 times faster than what lies in main memory",
      speeds[1] > 1.5 * speeds[-1], hardware=True,
      measured=f"{speeds[1]:.3g} GB/s against {speeds[-1]:.3g} GB/s")

# %% [markdown]
# So the roofline's slope is that of the cache where a network's activations fit one. With a batch of 32 they may not.
#
# ## BatchNorm behind a convolution
#
# In use, BatchNorm has no statistics to find: training has fixed them. It is one factor $f$ and one shift $t$ for each channel,
#
# $$\mathrm{BN}(y) = f y + t, \qquad f = \frac{\gamma}{\sqrt{\sigma^2 + \varepsilon}}, \qquad t = \beta - \mu f . \tag{1}$$
#
# A convolution with weights $W$ and bias $b$ is linear in its weights, so both fit in:
#
# $$f\,(W * x + b) + t = (f W) * x + (f b + t), \tag{2}$$
#
# with one $f$ for each *output* channel.
#
# **Four numbers by hand.** $\mu = 1$, $\sigma^2 = 3$, $\varepsilon = 1$, $\gamma = 4$, $\beta = 5$: $f = 4/\sqrt4 = 2$ and $t = 5 - 1 \cdot 2 = 3$. With $W = 10$ and no bias the pixels 1, 2, 3, 4 become 10, 20, 30, 40 and then 23, 43, 63, 83. Folded: $fW = 20$, $t = 3$; and $20 \cdot 1 + 3 = 23$.

# %%
norm = fusion.ChannelNorm(*(torch.tensor([value]) for value in (1.0, 3.0)), 1.0,
                          *(torch.tensor([value]) for value in (4.0, 5.0)))  # μ, σ², ε, γ, β
weight, bias = fusion.fold_after(torch.full((1, 1, 1, 1), 10.0), None, norm)
print(f"weight {weight.item():.0f}, bias {bias.item():.0f}:", F.conv2d(four, weight, bias).flatten().tolist())

# %%
convs = [module for module in teacher.modules() if isinstance(module, nn.Conv2d)]
norms = [module for module in teacher.modules() if isinstance(module, nn.BatchNorm2d)]
alike = []
for conv, bn in zip(convs, norms, strict=True):
    mine = fusion.fold_after(conv.weight, conv.bias, fusion.norm_of(bn))
    statistics = bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    theirs = nn.utils.fusion.fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
    alike.append(all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True)))
claim("For each of the teacher's convolutions PyTorch's own function gives the same weights, to the bit.",
      all(alike))

# %% [markdown]
# In train mode none of this holds: the statistics then are the batch's.
#
# ## BatchNorm in front of one
#
# Some networks normalize first (DenseNet; ResNet's second version). If nothing but a convolution reads the result:
#
# $$W * (f x + t) + b = (W f) * x + \Bigl(b + \sum W t\Bigr), \tag{3}$$
#
# now with one $f$ and $t$ for each *input* channel, and the sum over all weights that one output reads. Look for the flaw before you run the next cell: a mean of 3×3 pixels, padded with zeros, on a picture of 8×8 pixels; $f = 2$ and $t = 3$ as above.

# %%
torch.manual_seed(0)
picture = torch.rand(1, 1, 8, 8)
conv = nn.Conv2d(1, 1, 3, padding=1).requires_grad_(False)
conv.weight.fill_(1 / 9)  # a mean of nine pixels
right = conv(norm.scale * picture + norm.shift)
weight, bias = fusion.fold_before(norm, conv.weight, conv.bias)  # as if nothing were padded
folded = F.conv2d(picture, weight, bias, padding=1)
value = -(norm.shift / norm.scale).item()
mended = F.conv2d(F.pad(picture, (1, 1, 1, 1), value=value), weight, bias)
wrong, still = (abs(found - right)[0, 0] for found in (folded, mended))
plots.rim_figure({"folded, padded with 0": wrong, f"padded with −t/f = −{-value:g}": still})

# %%
inner = wrong[1:-1, 1:-1]
claim("All 28 pixels of the border are wrong, the 36 others right; padding with −t/f mends it.",
      (wrong > 0.01).sum() == 28 and inner.max() < 1e-4 and still.max() < 1e-4)

# %% [markdown]
# Zeros are put in *behind* BatchNorm: they were never shifted. In (3) the bias assumes that every weight meets $t$; at an edge three of the nine meet a zero, so the bias is too large by $3 \cdot t/9 = 1$, in a corner by $5 \cdot t/9$. In front of BatchNorm, the pixel that becomes 0 is $-t/f$; but a runtime pads with zeros. So the library refuses:

# %%
try:
    fusion.fold_before(norm, conv.weight, conv.bias, zero_padded=True)
except ValueError as error:
    print("refused:", error)

# %% [markdown]
# **Exercise 15.2.** With groups, and with the refusal. Your factor and shift are $f$ and $t$.


# %%
def fold_in_front(w, b, factor, shift, groups, padding):
    """(weights, bias (C_out,)) of the one convolution that does conv(factor·x + shift), or None.

    w is (C_out, C_in/groups, k_h, k_w), as are the weights that you return; b is (C_out,) or None for 0;
    factor and shift are (C_in,), one
    number for each input channel. The convolution pads factor·x + shift with ``padding`` rows and columns
    of zeros on each side. None if padding is above 0 and a shift is not 0, whatever the weights; −0.0
    is 0. Otherwise there is always an answer.
    """
    ...


check("15.2", fold_in_front)

# %% [markdown]
# ## Rewriting a graph
#
# A formula folds two layers. To find them in any network is work on its graph: trace, find BatchNorms, look at who feeds them, write new weights, let the readers of BatchNorm read the convolution, erase the node, make a `forward` of what is left.


# %%
def fold_norms(network):
    """A graph of the network in which each BatchNorm behind a convolution is part of it."""
    graph = fx.symbolic_trace(copy.deepcopy(network).eval())
    modules = dict(graph.named_modules())
    for node in list(graph.graph.nodes):
        if not isinstance(modules.get(node.target), nn.BatchNorm2d):
            continue
        source = node.args[0]  # the node that BatchNorm reads
        conv, norm = modules.get(source.target), modules[node.target]
        if isinstance(conv, nn.Conv2d) and len(source.users) == 1:
            weight, bias = fusion.fold_after(conv.weight, conv.bias, fusion.norm_of(norm))
            conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
            node.replace_all_uses_with(source)
            graph.graph.erase_node(node)
    graph.recompile()
    return graph


by_hand = fold_norms(teacher)
by_library = fusion.fuse(teacher, image, one_kernel=False, packed=False)
print(f"nodes: {len(graph.graph.nodes)}, folded {len(by_hand.graph.nodes)}")
print(f"the library: {len(by_library.model.graph.nodes)}; BatchNorms left: {by_library.norms_left}")

# %%
theirs = by_library.model.state_dict()
claim("Both graphs have the same weights, to the bit.",
      all(torch.equal(by_hand.get_parameter(name), value) for name, value in theirs.items()))

# %% [markdown]
# (The library also removes the shortcuts that hand on what they read, and checks on random images that the outputs differ by less than $10^{-5}$ of the largest.)
#
# `len(source.users) == 1` is the important half of the pattern: who else reads the convolution would read something else afterwards. The lines above still miss a case: a module that is called twice. What does the library leave alone?


# %%
class Awkward(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen, self.tied, self.behind = (nn.Conv2d(4, 4, 1) for _ in range(3))
        self.norm_of_seen, self.norm_of_tied, self.in_front = (nn.BatchNorm2d(4) for _ in range(3))
        self.padded = nn.Conv2d(4, 4, 3, padding=1)
        nn.init.ones_(self.in_front.bias)

    def forward(self, x):
        y = self.seen(x)
        z = self.norm_of_seen(y) + y  # y is read twice
        z = self.norm_of_tied(self.tied(self.tied(z)))  # tied is called twice
        return self.padded(self.in_front(z.relu()))


torch.manual_seed(0)
for rewrite in fusion.fuse(Awkward().eval(), torch.rand(1, 4, 8, 8), one_kernel=False, packed=False).left:
    print(rewrite)

# %% [markdown]
# **Exercise 15.3.** Find the pairs; the graph is given as plain data.


# %%
def foldable(nodes, outputs, training):
    """[(name of a convolution, name of the norm that reads it), …], in the order of the norms in ``nodes``.

    Each node is (name, kind, module, inputs): its kind is "conv", "norm" or something else; ``inputs``
    are names of nodes before it, of a norm exactly one. Two nodes with the same module call it twice. A
    pair may be folded if no node but the norm reads the convolution's result, the network does not return
    it (``outputs`` are the names that it returns), neither module is called twice, and the norm's module
    is not in ``training``, the set of modules in train mode.
    """
    ...


check("15.3", foldable)

# %% [markdown]
# ## One kernel
#
# ReLU has no weights to hide in. It disappears otherwise: the *kernel*, the routine that computes a convolution, applies it to each piece of the output while that is still in registers, and writes once. The same goes for the sum of a residual block. Eager PyTorch has no module for that; on x86 its compiler calls such kernels of oneDNN, and so does the library. They want their weights *packed*: reordered into the blocks that the kernel reads. Which blocks depends on the input's shape, so the library packs when it first sees one; weights packed for another shape may have to be reordered in each call.

# %% tags=["nbval-ignore-output"]
fused = fusion.fuse(teacher, image)
after = fusion.traffic(fused.model, image)
print("kernel:", fused.kernel)
for name, found in (("untouched", before), ("fused", after)):
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.kinds.items())
    print(f"{name}: {found.total / 1e6:.1f} MB in {len(found.rows)} calls: {kinds}")

# %% [markdown]
# Where there is no such kernel (another processor, another type than float32), the same module computes one after another, and says so; the result is the same, the saving is not:

# %% tags=["nbval-ignore-output"]
with torch.backends.mkldnn.flags(enabled=False):
    print("oneDNN off:", fusion.fuse(teacher, image).kernel)

# %%
part = splits.validation.subset(np.arange(0, len(splits.validation), max(1, len(splits.validation) // 300)))
pictures, _ = part.batch(np.arange(len(part)))  # (N, 3, 32, 32)
with torch.inference_mode():
    logits = {"untouched": teacher(pictures), "folded": by_library.model(pictures),
              "fused": fused.model(pictures)}
answers = {name: z.argmax(1) for name, z in logits.items()}
claim("Fused, fewer than 1 in 100 validation images get another answer.",
      (answers["fused"] != answers["untouched"]).double().mean() < 0.01)

# %% [markdown]
# ## Does it pay?
#
# Against what? PyTorch has several kernels for a convolution and chooses by size. Its profiler tells which one eager mode called:

# %% tags=["nbval-ignore-output"]
from torch.profiler import ProfilerActivity, profile

KERNELS = {"matrix product": "aten::_slow_conv2d_forward", "oneDNN": "aten::mkldnn_convolution"}
rows = []
for name, model in networks.items():
    for batch in (1, 32):
        with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as seen:
            model(pictures[:batch])
        counts = {event.key: event.count for event in seen.key_averages()}
        rows.append([f"{name}, batch {batch}", *(str(counts.get(key, 0)) for key in KERNELS.values())])
print(text_table(["convolutions computed by", *KERNELS], rows))

# %% [markdown]
# Where that is not oneDNN, fusing also exchanges the kernel, which may gain or lose by itself. So the steps are timed apart, each beside the untouched network ("eager") in the same rounds: *folded*; *packed*, which has oneDNN's kernels and nothing folded; both; all in one kernel, but packed anew in each call; and all together, *fused*. What fusion itself saves is packed against fused: the same kernels on the same packed weights. A `Cadence` says how calls follow one another ([chapter 01](01_measuring.ipynb)): here back to back, `calls` timed ones in a row after `settle` ones that are not counted.

# %% tags=["nbval-ignore-output"]
STEPS = {"folded": {"one_kernel": False, "packed": False}, "packed": {"folded": False, "one_kernel": False},
         "packed, folded": {"one_kernel": False}, "one kernel, not packed": {"packed": False}, "fused": {}}
ONE = measure.Cadence("back to back", calls=6, settle=2)
MANY = measure.Cadence("back to back", calls=1, settle=1)
variants, reports = {}, {}
for name, model in networks.items():
    for batch, rounds, pace in ((1, 16, ONE), (32, 6, MANY)):
        x = pictures[:batch].contiguous()
        setting = f"{name}, batch {batch}"
        variants[setting] = {"eager": model, "A/A": model}
        variants[setting] |= {step: fusion.fuse(model, x, **options).model for step, options in STEPS.items()}
        timed = {step: lambda run=run, x=x: run(x) for step, run in variants[setting].items()}
        with torch.inference_mode():
            reports[setting] = measure.latency(timed, warmup=2, repeats=rounds, threads=1, seed=0,
                                               cadence=pace)

# %% tags=["nbval-ignore-output"]
ratios = {setting: {step: report.ratio("eager", step) for step in ("A/A", *STEPS)}
          for setting, report in reports.items()}
for setting, report in reports.items():
    print(f"{setting}: eager {report.p50('eager'):.2f} ms, fused {report.p50('fused'):.2f} ms")
plots.steps_figure(ratios)

# %% tags=["nbval-ignore-output"]
first = ratios["teacher, batch 1"]
blind = [setting for setting, found in ratios.items() if not found["A/A"].includes(1)]
print("A/A, the same network twice:", f"not 1 in {', '.join(blind)}: read no ratio there to that digit"
      if blind else "every interval holds 1")
display(reveal("15.p1", first["fused"].value))
claim("Fused, the teacher is faster than eager, one image a call", first["fused"].low > 1, hardware=True,
      measured=f"{first['fused'].value:.2f} × [{first['fused'].low:.2f}, {first['fused'].high:.2f}]",
      reference=reference("fusion", "fusion_speedup"))

# %% [markdown]
# "Folded" removes BatchNorm and nothing else, and any export can use it. Is every step a gain?

# %% tags=["nbval-ignore-output"]
slower = [f"{step} ({setting}: {ratio.value:.2f} ×)" for setting, found in ratios.items()
          for step, ratio in found.items() if ratio.high < 1 and step != "A/A"]
print("slower than the untouched network, whole interval below 1:", "; ".join(slower) or "no step")
alone = {setting: report.ratio("packed", "fused") for setting, report in reports.items()}
for setting, ratio in alone.items():
    print(f"{setting}: fusion itself, packed → fused: {ratio.value:.2f} × as fast "
          f"[{ratio.low:.2f}, {ratio.high:.2f}]")
packing = {setting: report.ratio("one kernel, not packed", "fused") for setting, report in reports.items()}
for setting, ratio in packing.items():
    print(f"{setting}: packed once instead of in each call, the same kernels are {ratio.value:.2f} × as fast "
          f"[{ratio.low:.2f}, {ratio.high:.2f}]")

# %% [markdown]
# "One kernel, not packed" makes fewer calls and moves fewer bytes than "folded", and need not be faster for that. A fusion is worth what it saves less what it brings along: another kernel, other weights in each call. Where convolutions are small, as the student's with one image, what a call of oneDNN costs before it computes can outweigh all that fusion saves. No rule knows that for each network and processor; `fastest` times the whole network untouched, folded and in one kernel, and keeps the fastest.

# %% tags=["nbval-ignore-output"]
for name, model in networks.items():
    print(f"{name}, one image: {fusion.fastest(model, image)}")

# %% [markdown]
# ### The prediction
#
# What should BatchNorm, ReLU and sums save? A call that disappears saves its *overhead*, what the call of an operator costs before it moves anything; the bytes save what they take at the bandwidth of their place:
#
# $$\Delta t = \text{calls removed} \cdot t_{\text{call}} + \frac{\text{bytes saved}}{\text{bandwidth}} . \tag{4}$$
#
# Both constants are measured: the bandwidth on arrays as large as the largest activation, the overhead with the same operators on next to nothing, one number a channel. Once each operator calls itself in a loop, once it stands where it stands in the packed teacher, between the convolutions:

# %% tags=["nbval-ignore-output"]
tiny, bn, relu = torch.rand(1, 32, 1, 1), nn.BatchNorm2d(32).eval(), nn.ReLU(inplace=True)
empty = {"BatchNorm2d": lambda: bn(tiny), "ReLU": lambda: relu(tiny), "relu": lambda: torch.relu(tiny),
         "add": lambda: tiny + tiny}
with torch.inference_mode():
    report = measure.latency(empty, warmup=20, repeats=30, threads=1, seed=0, cadence=ONE)
in_a_loop = {kind: 1e3 * report.p50(kind) for kind in empty}
in_place = fusion.call_overhead_us(variants["teacher, batch 1"]["packed"], image, in_a_loop)
rows = [[kind, f"{in_a_loop[kind]:.1f}", f"{in_place[kind]:.1f}"] for kind in empty]
print(text_table(["operator", "in a loop, µs", "in the network, µs"], rows))

# %% tags=["nbval-ignore-output"]
placed, looped = in_place["BatchNorm2d"], in_a_loop["BatchNorm2d"]
claim("A call of BatchNorm costs more in the network than in a loop", placed > looped, hardware=True,
      measured=f"{placed:.1f} µs against {looped:.1f} µs")

# %% [markdown]
# A loop finds its own code in the nearest cache; the convolutions push it out. Fusion removes calls from the network, so theirs is the overhead that counts.

# %% tags=["nbval-ignore-output"]
predicted, savings = {}, {}
for setting, steps in variants.items():
    x = pictures[: int(setting.split()[-1])]
    old, new = (fusion.traffic(steps[step], x) for step in ("packed", "fused"))
    mib = max(max(row.written for row in old.rows) / 2**20, 1 / 64)
    speed = measure.peak_bandwidth_gbs(1, seconds=0.1, array_mib=mib).value
    gone = old.kinds - new.kinds
    overhead = fusion.call_overhead_us(steps["packed"], x, gone, passes=30)
    each = sum(count * overhead[kind] for kind, count in gone.items()) / gone.total()
    predicted[setting] = fusion.predicted_saving_ms(old, new, bandwidth_gbs=speed, overhead_us=each)
    savings[setting] = gone.total(), (old.total - new.total) / 1e6, each, speed

# %% tags=["nbval-ignore-output"]
found, noise = {}, {}
for setting, report in reports.items():
    found[setting] = report.p50("packed") - report.p50("fused")
    noise[setting] = abs(report.p50("eager") - report.p50("A/A"))
rows = [[setting, str(count), f"{mb:.1f}", f"{each:.1f}", f"{speed:.0f}", f"{predicted[setting]:.3f}",
         f"{found[setting]:.3f}", f"{noise[setting]:.3f}"]
        for setting, (count, mb, each, speed) in savings.items()]
print(text_table(["setting", "calls gone", "MB gone", "µs a call", "GB/s", "predicted, ms", "measured, ms",
                  "A/A apart, ms"], rows))

# %% tags=["nbval-ignore-output"]
try:
    recorded = measure.load_result("fusion")["figures"]
except CourseError:
    recorded = {}
    print("the study on a quiet machine is not recorded yet")
for name in ("fusion_speedup", "traffic_prediction_error"):
    if name in recorded:
        print(f"recorded, {name}: {recorded[name]}")

# %% [markdown]
# Where the two differ by more than the last column, (4) is missing something. What it leaves out: the next operator may find its input in a nearer cache than assumed; BatchNorm's kernel computes more than it moves, so it does not reach memory's speed; and outputs must be allocated. Which overhead and which bandwidth would explain what was measured?

# %% tags=["nbval-ignore-output"]
count, mb, each, speed = savings["teacher, batch 1"]
widgets.saving_explorer(count, mb, found["teacher, batch 1"], overhead_us=each, bandwidth_gbs=speed)

# %% tags=["nbval-ignore-output"]
plots.saving_figure(count, mb, each, speed, found["teacher, batch 1"])

# %% [markdown]
# **Exercise 15.4.** Formula (4), with its units.


# %%
def saved_ms(before, after, bandwidth_gbs, overhead_us):
    """Milliseconds that the graph ``after`` needs less than ``before``; negative if it needs more.

    ``before`` and ``after`` hold the bytes that each call moves, one entry a call; a call that moves 0
    bytes is a call. Each call costs overhead_us microseconds, and then moves its bytes at
    bandwidth_gbs · 10⁹ bytes a second. Unrounded.
    """
    ...


check("15.4", saved_ms)

# %% [markdown]
# ## What the runtime has done already
#
# ONNX Runtime rewrites a graph when it opens a file, in levels: *basic* folds constants and BatchNorm, *extended* brings operators of its own such as FusedConv, *all* also other orders in memory. Here is the teacher's file with BatchNorm left in, and the operators that each level makes of it.

# %% tags=["nbval-ignore-output"]
from course_lib.deploy.onnx import LEVELS, export_onnx, fusion_table, open_session, optimized_graph

folder = tempfile.TemporaryDirectory()
files = {"BatchNorm left in": export_onnx(teacher, Path(folder.name) / "as_it_is.onnx", folded=False),
         "folded before": export_onnx(teacher, Path(folder.name) / "folded.onnx")}
made = {name: {level: optimized_graph(path, level).kinds for level in LEVELS} for name, path in files.items()}
levels = made["BatchNorm left in"]
kinds = sorted(set().union(*levels.values()))
rows = [[kind, *(str(levels[level][kind] or "–") for level in LEVELS)] for kind in kinds]
print(text_table(["operators", *LEVELS], rows))

# %%
claim("16 BatchNorms stand in the file; from the basic level on ONNX Runtime has folded all of them.",
      levels["disabled"]["BatchNormalization"] == 16
      and not any(levels[level]["BatchNormalization"] for level in ("basic", "extended", "all")))

# %% [markdown]
# Layer by layer, what became part of each convolution, ours beside the runtime's. A sum may go into either of the two convolutions that it adds; where the table differs, look whether that is all.

# %% tags=["nbval-ignore-output"]
table = fusion_table(fused, files["BatchNorm left in"])
print(f"{table.agree} of {len(table.rows)} layers took in the same at the last level")
table

# %% tags=["nbval-ignore-output"]
feed = {"images": image.numpy()}
sessions = {name: open_session(path, threads=1) for name, path in files.items()}
timed = {name: lambda session=session: session.run(None, feed) for name, session in sessions.items()}
timed |= {"A/A": timed["BatchNorm left in"], "eager": lambda: teacher(image),
          "fused": lambda: fused.model(image)}
with torch.inference_mode():
    runtime = measure.latency(timed, warmup=5, repeats=30, threads=1, seed=0, cadence=ONE)
display(runtime)
twice = runtime.ratio("BatchNorm left in", "folded before")
reveal("15.p2", twice.value)

# %% tags=["nbval-ignore-output"]
claim("In ONNX Runtime folding by hand gains less than 10 %", twice.high < 1.1, hardware=True,
      measured=f"{twice.value:.2f} × [{twice.low:.2f}, {twice.high:.2f}]")

# %% tags=["nbval-ignore-output"]
eager_to = {name: runtime.ratio("eager", name).value for name in ("fused", "BatchNorm left in")}
print(f"eager → fused by us {eager_to['fused']:.2f} ×; "
      f"eager → ONNX Runtime {eager_to['BatchNorm left in']:.2f} ×; "
      f"in ONNX Runtime, left in → folded before {twice.value:.2f} ×")

# %% [markdown]
# The speed-ups do not multiply: at its last level the runtime had folded and fused by itself. (Its whole gain over eager mode is more than fusion: other kernels, another order in memory.) Every ledger of this course that ran in ONNX Runtime had it already. Fusing by hand pays where nobody else does it: in eager mode, in code of your own, and before quantization, where the *folded* weights get the codes ([chapter 10](10_affine_quantization.ipynb)).
#
# ## A fusion that costs
#
# Two linear layers with nothing between are one: $W_2 (W_1 x + b_1) + b_2 = (W_2 W_1) x + (W_2 b_1 + b_2)$. One call less, and the numbers between are never written. Take 100 → 2 → 100.

# %% tags=["nbval-ignore-output"]
torch.manual_seed(0)
two = nn.Sequential(nn.Linear(100, 2), nn.Linear(2, 100)).requires_grad_(False)
one_layer = fusion.merge_linears(two[0].weight, two[0].bias, two[1].weight, two[1].bias)
print(f"multiplications a row: two layers {one_layer.macs_before:,}, one {one_layer.macs_after:,}")
linears = {}
for batch in (1, 64, 4096):
    x = torch.rand(batch, 100)
    timed = {"two": lambda x=x: two(x), "one": lambda x=x: F.linear(x, one_layer.weight, one_layer.bias)}
    with torch.inference_mode():
        report = measure.latency(timed, warmup=5, repeats=40, threads=1, seed=0, cadence=ONE)
    linears[batch] = report.ratio("two", "one")
    print(f"batch {batch:4}: merged {linears[batch].value:.2f} × as fast "
          f"[{linears[batch].low:.2f}, {linears[batch].high:.2f}]")

# %% tags=["nbval-ignore-output"]
many = linears[4096]
claim("With 4,096 rows the merged layer is slower", many.high < 1, hardware=True,
      measured=f"{many.value:.2f} × as fast [{many.low:.2f}, {many.high:.2f}]")

# %% [markdown]
# One row is little work either way; there, calls count. Many rows are arithmetic, and the narrow middle was a saving that merging undoes. The library merges only where multiplications become fewer, and says so:

# %%
print(fusion.fuse(two, torch.rand(1, 100)).left[0])

# %% [markdown]
# **Exercise 15.5.** Two layers, or one?


# %%
def merged(w1, b1, w2, b2):
    """(weights (C_out, C_in), bias (C_out,)) of the one layer that does w2(w1·x + b1) + b2, or None.

    w1 is (H, C_in), b1 (H,), w2 (C_out, H), b2 (C_out,). None unless one layer takes fewer
    multiplications a row of the batch than two, biases not counted; as many are not fewer.
    """
    ...


check("15.5", merged)

# %% [markdown]
# ## The same numbers?
#
# (2) is exact for real numbers. In float32 each operation rounds, and folding rounds in other places: the logits change in their last digits. Which are nearer to the truth? A network in double precision is the judge. Errors are taken relative to the largest logit: a logit near 0 has no relative error worth the name.

# %% tags=["nbval-ignore-output"]
with torch.inference_mode():
    truth = copy.deepcopy(teacher).double()(pictures.double())
errors = {name: ((z - truth).abs().max() / truth.abs().max()).item() for name, z in logits.items()}
for name, error in errors.items():
    print(f"{name:10} largest error {error:.1e} of the largest logit")
off = {name: (z - truth).abs().amax(1) for name, z in logits.items()}
nearer = (off["folded"] < off["untouched"]).double().mean().item()
print(f"folded is nearer to the truth than untouched on {100 * nearer:.0f} % of {len(pictures)} images")

# %%
claim("All three stay within the library's tolerance, 1e-5 of the largest logit.",
      max(errors.values()) < 1e-5)

# %% [markdown]
# The tolerance is some hundred times float32's rounding, $6 \cdot 10^{-8}$: room for a deep network's sums. It finds a wrong border or a lost factor, and not every fault: where variances are large, a lost $\varepsilon$ changes less than that.
#
# Can BatchNorm's statistics make it worse? Sixteen channels lie around 1 with a spread of $\sigma$, a 1×1 convolution sums them, BatchNorm brings the sum to a spread of about 1 (less where its variance comes near $\varepsilon$). The smaller $\sigma$, the larger the factor; and it enlarges what was rounded before, too.


# %%
def errors_at(sigma):
    """Largest error over largest output, apart and folded."""
    rng = torch.Generator().manual_seed(0)
    x = 1 + sigma * torch.randn(1, 16, 32, 32, generator=rng)
    w, bn = torch.rand(1, 16, 1, 1, generator=rng), nn.BatchNorm2d(1).eval()
    y = F.conv2d(x.double(), w.double())
    bn.running_mean[:], bn.running_var[:] = y.mean(), y.var()
    truth = copy.deepcopy(bn).double()(y)
    weight, bias = fusion.fold_after(w, None, fusion.norm_of(bn))
    both = bn(F.conv2d(x, w)), F.conv2d(x, weight, bias)
    return [((found - truth).abs().max() / truth.abs().max()).item() for found in both]


with torch.no_grad():
    enlarged = {sigma: errors_at(sigma) for sigma in (1.0, 1e-2, 1e-4)}

# %% tags=["nbval-ignore-output"]
print(text_table(["spread σ", "apart", "folded"],
                 [[f"{sigma:g}", *(f"{error:.0e}" for error in pair)] for sigma, pair in enlarged.items()]))

# %%
claim("From a spread of 1 to one of 0.0001 both errors grow more than a hundredfold: no fault of folding.",
      all(small > 100 * large for small, large in zip(enlarged[1e-4], enlarged[1.0], strict=True)))

# %% [markdown]
# No factor exceeds $\gamma/\sqrt\varepsilon$: that bounds the absolute error. Relative to outputs that become as small, nothing is gained.
#
# ## Pitfalls
#
# * **MACs taken for time.** What has none still reads and writes.
# * **A view counted as a copy;** ReLU in place counted as free.
# * **Folding in train mode,** or with the variance where its root belongs.
# * **BatchNorm in front of a padded convolution:** right inside, wrong at the border.
# * **The convolution's other readers** forgotten; a module that is called twice.
# * **Conv and ReLU in one module, in two calls.** Nothing is saved; look at the calls.
# * **A kernel that packs in each call** because nobody packed for it, or for another shape.
# * **Another kernel's time called fusion's gain,** or its loss.
# * **Bandwidth of main memory** for what lies in a cache; a call timed in a loop for one in a network.
# * **Speed-ups multiplied:** the runtime folds what you folded.
# * **Fewer layers taken for less work.** Count multiplications first.
# * **Equality asked of floats,** or errors relative to logits near 0.
#
# ## Recap

# %% tags=["nbval-ignore-output"]
small = ratios["student, batch 1"]["fused"]
share = sum(shares["bytes"][group] for group in ("BatchNorm", "ReLU", "sums"))
count, mb, each, speed = savings["teacher, batch 1"]
display(Markdown(f"""
1. BatchNorm, ReLU and sums have 0 % of the teacher's MACs and {100 * share:.0f} % of its bytes; they took
   {100 * between:.0f} % of its time in eager mode.
2. Folded behind a convolution BatchNorm is exact. In front of a padded one {int((wrong > 0.01).sum())} of
   {wrong.numel()} pixels were wrong.
3. Fused, an image moves {after.total / 1e6:.1f} MB instead of {before.total / 1e6:.1f}, in {len(after.rows)}
   calls instead of {len(before.rows)}. The teacher became {first["fused"].value:.2f} × as fast
   [{first["fused"].low:.2f}, {first["fused"].high:.2f}]; folded alone {first["folded"].value:.2f} ×;
   in one kernel that packs in each call {first["one kernel, not packed"].value:.2f} ×; fusion itself, packed
   before and after, {alone["teacher, batch 1"].value:.2f} × [{alone["teacher, batch 1"].low:.2f},
   {alone["teacher, batch 1"].high:.2f}]. The student, fused:
   {small.value:.2f} × as fast [{small.low:.2f}, {small.high:.2f}].
4. {count} calls of {each:.1f} µs and {mb:.1f} MB at {speed:.0f} GB/s should save
   {predicted["teacher, batch 1"]:.2f} ms; measured: {found["teacher, batch 1"]:.2f} ms.
5. ONNX Runtime folds by itself: the file folded before ran {twice.value:.2f} × as fast
   [{twice.low:.2f}, {twice.high:.2f}].
6. 100 → 2 → 100 merged takes {one_layer.macs_after / one_layer.macs_before:.0f} times the
   multiplications: one row {linears[1].value:.2f} × as fast, 4,096 rows {many.value:.2f} ×.
7. Against double precision the untouched teacher is off by {errors["untouched"]:.0e} of the largest logit,
   the fused one by {errors["fused"]:.0e}.
"""))

# %% [markdown]
# Next: [16 · deploying on a CPU](16_deploy_cpu.ipynb). Which runtime, which precision, how many threads?
#
# ## References
#
# * S. Ioffe, C. Szegedy (2015). *Batch normalization.* [arXiv:1502.03167](https://arxiv.org/abs/1502.03167), algorithm 2: in use it is one linear map.
# * B. Jacob et al. (2018). [arXiv:1712.05877](https://arxiv.org/abs/1712.05877), eq. 14: folded weights.
# * J. Reed et al. (2022). *torch.fx: practical program capture and transformation for deep learning in Python.* [arXiv:2112.08429](https://arxiv.org/abs/2112.08429), section 6.2.2: this very rewrite.
# * A. Ivanov et al. (2021). *Data movement is all you need.* [arXiv:2007.00072](https://arxiv.org/abs/2007.00072), table 1: FLOP and time by class of operator, in a transformer.
# * S. Williams, A. Waterman, D. Patterson (2009). *Roofline.* CACM 52(4).
# * ONNX Runtime, [graph optimizations](https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html): the levels. oneDNN, [post-ops](https://uxlfoundation.github.io/oneDNN/dev_guide_attributes_post_ops.html): what a convolution can take in.
