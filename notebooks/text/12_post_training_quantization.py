# %% [markdown]
# # 12 · Post-training quantization: how do I choose ranges without training?
#
# A network comes from somewhere, trained. You cannot train it: no time, no recipe, no labels. You have a few hundred images of the kind that it will see. Every tensor needs a *range*, from which scale and zero point follow. Which number at each end?
#
# **You will be able to**
#
# * write the calibration loop, and say what five kinds of ranges do with an outlier;
# * find out without labels how many images are enough;
# * make the ranges of channels equal without changing the network;
# * move the rounding errors of weights into biases, and choose roundings whose errors cancel;
# * give bits to the layers that need them;
# * find the fault in a quantized network.
#
# **Before:** chapter [10](10_affine_quantization.ipynb) (scales, SQNR), [04](04_kl_and_cross_entropy.ipynb) (KL divergence). **Time:** 150 min to work through; the cells take about 2 min on 2 quiet cores. Symbols: [notation](../docs/notation.md).

# %% tags=["nbval-ignore-output"]
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown, display

from course_lib import plots, widgets
from course_lib.data import load
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.measure import claim
from course_lib.measure.tables import text_table
from course_lib.models import checkpoints
from course_lib.quantization import Codes, calibration_images, fake_quantize, from_range, min_max, sqnr_db
from course_lib.quantization.calibrated import observe, quantize_network, simulate, simulated_logits
from course_lib.quantization.graph import layer_graph

splits = load(size=32)
student, _ = checkpoints.load(f"student_{splits.train.name}")
graph = layer_graph(student)  # BatchNorm is folded: each convolution has it in weights and bias
calibration = torch.from_numpy(calibration_images(splits.train, 512))  # (512, 3, 32, 32), in [0, 1]

# %% [markdown]
# The network is the course's *student*, a chain of convolutions and a classifier. Ranges come from *training* images; what is chosen is chosen on one half of the *validation* signs; accuracies are those of the *other* half. (The halves share no sign.) The test part stays closed.

# %% tags=["nbval-ignore-output"]
validation = splits.validation
signs = np.random.default_rng(0).permutation(np.unique(validation.groups))


def images_of(some_signs, most=1200):
    """About ``most`` validation images of some signs: images (N, 3, 32, 32), labels (N,)."""
    places = np.flatnonzero(np.isin(validation.groups, some_signs))
    return validation.batch(places[:: -(-len(places) // most)])


choosing, choosing_labels = images_of(signs[::2])
scored, scored_labels = images_of(signs[1::2])
in_floats = graph(scored)  # (N, classes)


# %% tags=["nbval-ignore-output"]
def accuracy(logits):
    return (logits.argmax(1) == scored_labels).double().mean().item()


def score(network):
    """Accuracy on the scored images, and the SQNR of their logits in dB."""
    logits = simulated_logits(network, scored)
    return accuracy(logits), sqnr_db(in_floats, logits)


whole = accuracy(in_floats)
print(f"FP32: {100 * whole:.1f} % of {len(scored)} images right; "
      f"one point is {len(scored) / 100:.0f} images: read nothing into tenths")

# %% [markdown]
# ## Predict first
#
# 1. Ranges are taken from the smallest and largest value on 512 images, and one of these was not divided by 255. With 8 bits everywhere, accuracy falls by (a) less than 1 point, (b) 1 to 20, (c) more?
# 2. Weights in 4 bits, each rounded to its nearest code. Others choose for each weight the code above or below, not always the nearer one. Biases stay as they are. Beside *plain nearest*, the noise in the logits is then (a) not smaller, (b) smaller, but more than half, (c) less than half?

# %% tags=["nbval-ignore-output"]
outlier_guess = None  # "a", "b" or "c"; the chapter comes back to both
rounding_guess = None
display(predict("12.p1", outlier_guess, sure=None), predict("12.p2", rounding_guess, sure=None))

# %% [markdown]
# ## The calibration loop
#
# The weights are there: their ranges can be read off. What flows between layers exists only while images run. So let some run, and remember the ends:

# %%
lowest, highest = {}, {}
for images in calibration.split(64):  # (64, 3, 32, 32)
    for name, tensor in graph.tensors(images).items():  # all tensors, the images among them
        lowest[name] = min(lowest.get(name, 0.0), tensor.min().item())
        highest[name] = max(highest.get(name, 0.0), tensor.max().item())

# %% [markdown]
# That is calibration. Both ends begin at 0, because a range must hold it. The library's loop is `observe`; `quantize_network` makes scales of ranges, of weights' too (here 8 bits, one scale an output channel):

# %%
weights_in_8 = Codes(8, restricted=True)
quantized = quantize_network(graph, calibration, weight_codes=weights_in_8)
by_hand = {name: from_range(torch.tensor(lowest[name]), torch.tensor(highest[name]), Codes(8, signed=False))
           for name in lowest if name != "images"}  # a camera's byte is its own code: scale 1/255

# %%
claim("The loop gives the library's scale and zero point of every tensor.",
      all(torch.equal(mine.scale, quantized.activations[name].scale)
          and torch.equal(mine.zero_point, quantized.activations[name].zero_point)
          for name, mine in by_hand.items()))

# %% tags=["nbval-ignore-output"]
called = {layer.name: layer.name for layer in graph.layers}
convolutions = [layer.name for layer in graph.layers if layer.name.startswith("features")]
called |= {name: f"conv {i}" for i, name in enumerate(convolutions, 1)}
for name in by_hand:
    print(f"{called[name]:10} {lowest[name]:7.2f} … {highest[name]:5.2f}")
at_8_bits, decibels_at_8 = score(quantized)
print(f"8 bits: {100 * at_8_bits:.1f} % right, logits {decibels_at_8:.1f} dB; FP32: {100 * whole:.1f} %")

# %% [markdown]
# With 8 bits nothing is left to mend; so we look at fewer.
#
# ## Which range?
#
# A wide range has coarse steps; a narrow one clips. Five ways to weigh the two, called *observers* because they look on while images run:
#
# * **min-max:** nothing is clipped.
# * **moving average:** the first batch sets the ends; each later one moves them 1 % of the way to its own. After the 16 batches here an end is still $0.99^{15} = 86\ \%$ the first one's.
# * **percentile:** 0.1 % of the values may be clipped.
# * **least squares:** the ends with the least mean of $(\hat x - x)^2$, rounding and clipping together (chapter 10), found by trying ends narrower and narrower.
# * **entropy:** the range that keeps the *shape* of the distribution best, in 128 groups of bins as ONNX Runtime's, whatever the number of bits; see below.

# %%
from course_lib.quantization.entropy import Entropy
from course_lib.quantization.observers import LeastSquares, MinMax, MovingAverage, Percentile


def observers(bits):
    return {"min-max": MinMax, "moving average": MovingAverage, "percentile": lambda: Percentile(99.9),
            "least squares": lambda: LeastSquares(Codes(bits, signed=False)), "entropy": Entropy}


def with_ranges(seen, bits):
    """The quantized network with what observers say, activations in so many bits; images stay bytes."""
    found = {name: one.affine(Codes(bits, signed=False)) for name, one in seen.items()}
    return replace(quantized, activations={**found, "images": quantized.activations["images"]})


# %% tags=["nbval-ignore-output"]
all_bits = (8, 6, 4)
seen = {(name, bits): observe(graph, calibration, make, batch_size=32)
        for bits in all_bits for name, make in observers(bits).items()}
watched = convolutions[3]
values = graph.tensors(calibration)[watched].flatten()
ends = {name: seen[name, 4][watched].ends()[1].item() for name in observers(4)}
counts, edges = np.histogram(values.numpy(), bins=120)
plots.ends_figure(counts, edges, ends, f"{called[watched]}, 512 training images, ranges for 4 bits")

# %% tags=["nbval-ignore-output"]
fresh = graph.tensors(choosing)[watched]
rows = []
for name in observers(4):
    cells = []
    for bits in all_bits:
        affine = seen[name, bits][watched].affine(Codes(bits, signed=False))
        cells.append(f"{sqnr_db(fresh, fake_quantize(fresh, affine)):.1f}")
    rows.append([name, f"{ends[name]:.2f}", *cells])
header = [f"{called[watched]}, SQNR in dB", "end (4 bits)", *(f"{bits} bits" for bits in all_bits)]
print(text_table(header, rows))

# %% tags=["nbval-ignore-output"]
right = {name: [score(with_ranges(seen[name, bits], bits)) for bits in all_bits] for name in observers(4)}
shares = {name: [share for share, _ in found] for name, found in right.items()}
plots.observers_figure(all_bits, shares, whole)

# %%
claim("Least squares keeps 8 bits within 2 points of FP32, and at 4 bits has more SQNR than min-max.",
      right["least squares"][0][0] > whole - 0.02 and right["least squares"][-1][1] > right["min-max"][-1][1])

# %% [markdown]
# With 8 bits min-max loses next to nothing; with 4 the steps are so coarse that clipping pays. Least squares knows the bits, and moves its ends with them. Entropy does not: the SQNR of its row hardly depends on them, being nearly all clipping. Its accuracy does. Drag the ends yourself:

# %% tags=["nbval-ignore-output"]
some_tensors = {called[name]: graph.tensors(calibration[:64])[name] for name in (watched, convolutions[0])}
widgets.range_figure(some_tensors[called[watched]], 0.0, highest[watched], 4, called[watched])

# %% tags=["nbval-ignore-output"]
widgets.range_explorer(some_tensors)

# %% [markdown]
# ### An outlier
#
# Now a mistake: one image of the 512 was not divided by 255. The library refuses such images, so the loop is written out once more.

# %% tags=["nbval-ignore-output"]
spoiled = calibration.clone()
spoiled[300] *= 255
try:
    quantize_network(graph, spoiled)
except ValueError as error:
    print("ValueError:", error)


def watch(images, make):
    """What ``observe`` does, without looking at the images."""
    found = {name: make() for name in ("images", *by_hand)}
    for batch in images.split(32):
        for name, tensor in graph.tensors(batch).items():
            found[name].update(tensor)
    return found


# %% tags=["nbval-ignore-output"]
rows, with_outlier = [], {}
for name, make in observers(8).items():
    disturbed = watch(spoiled, make)
    with_outlier[name] = score(with_ranges(disturbed, 8))[0]
    ends_of = [one[watched].ends()[1].item() for one in (seen[name, 8], disturbed)]
    rows.append([name, *(f"{end:.1f}" for end in ends_of), f"{100 * right[name][0][0]:.1f} %",
                 f"{100 * with_outlier[name]:.1f} %"])
print(text_table(["8 bits", f"end of {called[watched]}", "with outlier", "right", "with outlier"], rows))

# %% tags=["nbval-ignore-output"]
beyond = {name: (tensor > highest[name]).double().mean().item()
          for name, tensor in graph.tensors(spoiled).items() if name in by_hand}
print(f"the wrong image is {100 / len(spoiled):.3f} % of the images; beyond the others' ends it has "
      f"{100 * beyond[watched]:.3f} % of {called[watched]}'s values, "
      f"in no layer more than {100 * max(beyond.values()):.3f} %")
lost_points = 100 * (right["min-max"][0][0] - with_outlier["min-max"])
reveal("12.p1", lost_points)

# %%
claim("One such image of 512 costs min-max more than 20 points; a moving average loses less than 3.",
      lost_points > 20 and right["moving average"][0][0] - with_outlier["moving average"] < 0.03)

# %% [markdown]
# Least squares does not protect: an error of 100 counts 10,000 times an error of 1, so few outliers outweigh everything. A percentile protects as long as outliers are fewer than the 0.1 % that it leaves out: in all layers they are, as printed. Of the pixels they are more; but images kept a byte's scale. The moving average is saved by its slowness, and by the outlier not being in its first batch: it alone depends on the order of the images.
#
# ### Counting without keeping
#
# The last three observers need the whole distribution. Keeping all values takes gigabytes, and a histogram needs its range in advance. Unless its bins may grow: their width is a power of two, and when a value lies beyond the last bin the width *doubles*, and neighbours are added in pairs. Bins $2k$ and $2k+1$ *are* bin $k$ of the wider grid, so nothing is estimated. **By hand,** four bins of ¼ (values from 0 on), eight values in two batches:

# %%
from course_lib.quantization.histogram import Histogram

eight = torch.tensor([0.1, 0.3, 0.35, 0.9, 1.5, 0.2, 3.2, 0.6])
histogram = Histogram(8)  # four bins on each side of 0
for batch in eight.split(4):
    histogram.update(batch)
    shown = ", ".join(f"{value:g}" for value in batch.tolist())
    print(f"{shown}: width {histogram.width}, counts {histogram.counts[4:].tolist()}")

# %%
others = []
for order in (eight, eight.flip(0), eight.sort().values):
    for size in (1, 3, 8):
        others.append(Histogram(8))
        for batch in order.split(size):
            others[-1].update(batch)
claim("The counts are the same in whatever order and batches the values come.",
      all(np.array_equal(other.counts, histogram.counts) for other in others))

# %% [markdown]
# **Exercise 12.1.** Write the update, for values that are not negative.


# %%
def add_to_histogram(counts, width, values):
    """(counts, width) after some values more: new counts, (K,), and the width.

    Bin k counts the values in k·width ≤ x < (k + 1)·width. counts: (K,), int64, K even; width: a power of
    two; values: (N,), float64, ≥ 0, N may be 0. Where a value is not below K·width, the width doubles, as
    often as needed and no oftener; the new bin k is the old bins 2k and 2k + 1, and the upper half of the
    new bins is empty.
    """
    ...


check("12.1", add_to_histogram)

# %% [markdown]
# ### Entropy: which distribution against which?
#
# For a candidate range that ends with bin $r$ of a histogram (values from 0 on),
#
# * $P$: the counts of the bins up to $r$; *all that lies beyond is added to the last of them*, because clipping puts it there;
# * $Q$: the counts up to $r$ *without* what lies beyond, put into so many groups of neighbouring bins; each group's sum is spread evenly over those of its bins that are not empty in $P$. That is what as many codes could still tell.
#
# Both are divided by their sums, and the $r$ with the least $\mathrm{KL}(P\,\Vert\,Q) = \sum_i P_i \ln (P_i / Q_i)$ wins. Put the clipped mass into both, or into neither, and clipping costs nothing: the narrowest range, with one bin a group, has $Q = P$ and wins always. **By hand,** counts 6, 2, 0, 4 up to $r$, 4 beyond, two groups: $P \propto (6, 2, 0, 8)$ and $Q \propto (4, 4, 0, 4)$. So $\mathrm{KL} = \frac{6}{16}\ln\frac{6/16}{1/3} + \frac{2}{16}\ln\frac{2/16}{1/3} + \frac{8}{16}\ln\frac{8/16}{1/3} = 0.124$ nats.
#
# **Exercise 12.2.** For one candidate.


# %%
def shape_divergence(counts, reach, levels):
    """KL(P ‖ Q) in nats, a float, of the range that ends with the first ``reach`` bins, as above.

    counts: (K,), integers ≥ 0, not all 0 in the first ``reach`` bins; levels: groups, divides reach ≤ K.
    Bins with P = 0 add nothing; if some bin has P > 0 and Q = 0 the result is inf.
    """
    ...


check("12.2", shape_divergence)

# %% [markdown]
# On this network entropy clips hard, and loses points even with 8 bits. Is it because a ReLU makes so many values exactly 0, one bin that outweighs all others? The control leaves the zeros out of the counts, and nothing else:

# %% tags=["nbval-ignore-output"]
class EntropyWithoutZeros(Entropy):
    def update(self, x):
        super().update(x[x != 0])


without_zeros = observe(graph, calibration, EntropyWithoutZeros)
zero_share = (values == 0).double().mean().item()
shares = {"entropy": right["entropy"][0][0], "zeros left out": score(with_ranges(without_zeros, 8))[0]}
print(f"{100 * zero_share:.0f} % of {called[watched]}'s values are 0; its range ends at "
      f"{seen['entropy', 8][watched].ends()[1]:.2f}, zeros left out {without_zeros[watched].ends()[1]:.2f}")
print("8 bits:", ", ".join(f"{name} {100 * share:.1f} % right" for name, share in shares.items()))

# %% [markdown]
# What differs is the zeros' doing, and a zero needs no precision. Or is it our mistake? ONNX Runtime's calibrator on the same counts, with two numbers of bins:

# %% tags=["nbval-ignore-output"]
from onnxruntime.quantization.calibrate import HistogramCollector

from course_lib.quantization.entropy import shape_divergences

reach, apart = values.max().item(), []
for label, some in {"all": values.numpy(), "zeros left out": values[values != 0].numpy()}.items():
    for bins in (513, 2049):
        counts, edges = np.histogram(some, bins, (-reach, reach))
        collector = HistogramCollector("entropy", True, bins, 128, 99.9, None)
        seen_by_it = counts, edges, np.float32(-reach), np.float32(reach)
        theirs = float(collector.get_entropy_threshold(seen_by_it, 128)[1])
        ours = edges[bins // 2 + 1 + int(np.argmin(shape_divergences(counts, 128))) + 64]
        apart.append(abs(theirs - ours) / (edges[1] - edges[0]))
        print(f"{label:15} {bins:4} bins: ONNX Runtime ends at {theirs:.2f}, the library at {ours:.2f}, "
              f"the narrowest candidate at {edges[bins // 2 + 1 + 64]:.2f}")

# %%
claim("Both end in the same bin or its neighbour (ONNX Runtime rounds shared counts to whole numbers).",
      max(apart) < 1.5)

# %% [markdown]
# With the zeros, look where the range ends: at the narrowest candidate or at twice it, so the number of bins decides. And the outlier? It makes the bins wider, and the narrowest candidate is 64 of them. The control adds only the wrong image's largest value:

# %% tags=["nbval-ignore-output"]
one_more = Entropy()
one_more.update(values)
one_more.update(graph.tensors(spoiled[300:301])[watched].max().reshape(1))
watchers = {"512 images": seen["entropy", 8][watched], "with the outlier": disturbed[watched],
            "one number more": one_more}
for name, one in watchers.items():
    narrowest = one.levels // 2 * one.histogram.width
    print(f"{name:17} a bin {one.histogram.width:g}, narrowest candidate {narrowest:.1f}, "
          f"end {one.ends()[1]:.1f}")
for bits in all_bits:  # as many groups above 0 as there are codes
    informed = Entropy(levels=2 * 2**bits)
    informed.update(values)
    affine = informed.affine(Codes(bits, signed=False))
    print(f"{bits} bits, {2**bits} groups: end {informed.ends()[1]:.2f}, "
          f"{called[watched]} {sqnr_db(fresh, fake_quantize(fresh, affine)):.1f} dB")

# %% [markdown]
# One number is enough: the bins' width moves the end, not the wrong image's other values. Nor do as many groups as codes help: the end stays near the narrowest candidate; the fewer codes, the narrower.
#
# ## How many images?
#
# Draw $n$ training images, calibrate, 4 bits for activations; three draws for each $n$, seen on images of the choosing half.

# %% tags=["nbval-ignore-output"]
amounts, draws, watched_makers = (1, 4, 16, 64, 256, 512), 3, ("min-max", "least squares")
few, few_floats = choosing[::3], graph(choosing[::3])
found = {key: {name: np.zeros((len(amounts), draws)) for name in watched_makers}
         for key in (f"upper end of {called[watched]}", "SQNR of the logits, dB", "same answer as FP32, %")}
for name in watched_makers:
    for i, amount in enumerate(amounts):
        for draw in range(draws):
            images = torch.from_numpy(calibration_images(splits.train, amount, seed=10 + draw))
            drawn = observe(graph, images, observers(4)[name])
            logits = simulated_logits(with_ranges(drawn, 4), few)
            same = (logits.argmax(1) == few_floats.argmax(1)).double().mean().item()
            told = drawn[watched].ends()[1].item(), sqnr_db(few_floats, logits), 100 * same
            for key, value in zip(found, told, strict=True):
                found[key][name][i, draw] = value
plots.draws_figure(amounts, found)

# %% tags=["nbval-ignore-output"]
decibels = found["SQNR of the logits, dB"]
for i, amount in enumerate(amounts):
    print(f"{amount:3} images: " + "; ".join(
        f"{name} {d[i].mean():.1f} dB, draws differ by {np.ptp(d[i]):.1f}" for name, d in decibels.items()))
last = decibels["least squares"][-1].mean()
far = [i for i, drawn in enumerate(decibels["least squares"]) if np.abs(drawn - last).max() > 0.5]
settled = amounts[max(far, default=-1) + 1] if len(amounts) - 1 not in far else "more than 512"
print(f"least squares: from {settled} images on every draw is within half a dB of the mean at {amounts[-1]}")

# %%
moves = {name: np.ptp(d[3:].mean(1)) for name, d in decibels.items()}
claim("From 64 to 512 images the mean SQNR moves less than 0.5 dB with least squares, more with min-max.",
      moves["least squares"] < 0.5 < moves["min-max"])

# %% [markdown]
# No label was needed: FP32's own logits are the reference. Calibrate on more images until the SQNR no longer moves. Counting answers is coarser: in the right panel draws scatter as widely as the means move, and one calibration image may look as good as 512. Min-max has no such end: every rare peak makes the steps coarser, and more images made it *worse* (middle panel).
#
# ## Equal channels
#
# One weight scale for a whole tensor serves the widest channel. ReLU lets a positive factor through, $\mathrm{relu}(s x) = s\,\mathrm{relu}(x)$: so channel $i$ of one layer, weights and bias, may be divided by $s_i > 0$, and the next layer's weights that read it multiplied by $s_i$. The network computes the same. Which $s_i$?
#
# Let $r^1_i$ be the largest $|w|$ of channel $i$ in the first layer, $r^2_i$ of what reads it in the second. A channel's *precision* is its share of the tensor's range: $p^1_i = (r^1_i / s_i) / \max_j (r^1_j / s_j)$, and $p^2_i = r^2_i s_i / \max_j (r^2_j s_j)$. Make $\sum_i p^1_i p^2_i$ large. In the numerator $s_i$ cancels, so make the product of both maxima small. It is at least $(r^1_j / s_j)(r^2_j s_j) = r^1_j r^2_j$ for every $j$, and reaches the largest of these where
#
# $$\frac{r^1_i}{s_i} = r^2_i s_i = \sqrt{r^1_i r^2_i}, \qquad s_i = \frac{\sqrt{r^1_i r^2_i}}{r^2_i} . \tag{1}$$
#
# **By hand,** $r^1 = (8, ½)$ and $r^2 = (½, 8)$: $s = (4, ¼)$, and all four ranges become 2.
#
# **Exercise 12.3.** For two convolutions.


# %%
def equalized(first, bias, second):
    """(first, bias, second), new arrays, after (1): the ranges of each channel are equal in both.

    first: (C, A, k, k), weights that give C channels, and bias: (C,); second: (D, C, k, k) reads them.
    A channel whose weights are all 0 on one of the sides keeps its weights and its bias: s = 1.
    """
    ...


check("12.3", equalized)

# %% [markdown]
# Depthwise networks, MobileNets above all, are known for channels that differ a hundredfold (Nagel et al. 2019, figure 2). The student's differ little, so I *spoil it on purpose*, with factors between 0.1 and 10: it computes the same, and is hard to quantize. In a chain each inner convolution belongs to two pairs: what makes one equal disturbs the next. So `equalize` goes through all pairs until hardly a factor moves.

# %% tags=["nbval-ignore-output"]
from course_lib.quantization.equalization import equalize, equalized_pairs

layers, rng = {layer.name: layer for layer in graph.layers}, np.random.default_rng(0)
for first, second in equalized_pairs(graph):
    one, other = layers[first], layers[second]
    s = torch.from_numpy(10 ** rng.uniform(-1, 1, len(one.bias))).float()  # (C,)
    layers[first] = replace(one, weight=one.weight / s.view(-1, 1, 1, 1), bias=one.bias / s)
    layers[second] = replace(other, weight=other.weight * s.view(1, -1, *[1] * (other.weight.ndim - 2)))
networks = {"trained": graph, "trained, equalized": equalize(graph)}
networks |= {"spoiled": graph.changed(layers), "spoiled, equalized": equalize(graph.changed(layers))}
moved = max((network(scored) - in_floats).abs().max().item() for network in networks.values())

# %%
claim("Before quantization no logit moves by more than a ten-thousandth of the largest.",
      moved <= 1e-4 * in_floats.abs().max().item())

# %% tags=["nbval-ignore-output"]
kinds = {"8 bits, tensor": (8, False), "8 bits, channel": (8, True), "4 bits, tensor": (4, False),
         "4 bits, channel": (4, True), "3 bits, tensor": (3, False)}
equal = {name: [score(quantize_network(network, calibration, weight_codes=Codes(bits, restricted=True),
                                       per_channel=by_channel)) for bits, by_channel in kinds.values()]
         for name, network in networks.items()}
rows = [[name, *(f"{100 * share:.1f} %, {db:.0f} dB" for share, db in cells)]
        for name, cells in equal.items()]
print(text_table(["a weight scale for each", *kinds], rows))
for kind, before, after in zip(kinds, equal["trained"], equal["trained, equalized"], strict=True):
    print(f"{kind}: equalizing the trained student brings {100 * (after[0] - before[0]):+.1f} points, "
          f"{after[1] - before[1]:+.1f} dB")

# %%
claim("Spoiled, one scale a tensor: less than half are right; equalized, all but 2 points of FP32.",
      equal["spoiled"][0][0] < 0.5 and equal["spoiled, equalized"][0][0] > whole - 0.02)

# %% [markdown]
# With 8 bits a scale for each channel is the control: it loses far less. With 4 it saves little: of the weights of a row those that read a narrow channel are large, the others small, and *activations* have one scale a tensor. What equalizing brings to the student as it was trained, the lines below the table say; a fraction of a point is noise.
#
# ## Bias correction
#
# Replace $W$ by rounded weights $\hat W$, and every sum moves by $(\hat W - W)x$. Over many images that is a constant, $(\hat W - W)\,\mathrm{E}[x]$, and noise around it. The constant can be taken out:
#
# $$b' = b - (\hat W - W)\,\mathrm{E}[x] . \tag{2}$$
#
# **By hand,** $w = (0.4, 1.3)$, rounded $(0, 1)$; two images with $x = (2, 1)$ and $(4, 3)$, so $\mathrm{E}[x] = (3, 2)$. Errors $-1.1$ and $-2.5$, their mean $-0.4 \cdot 3 - 0.3 \cdot 2 = -1.8$. With $b' = b + 1.8$ they are $0.7$ and $-0.7$.
#
# **Exercise 12.4.** Equation (2), for a convolution of 1×1 pixels.


# %%
def corrected_bias(bias, weight, restored, x):
    """The bias (D,) of equation (2), for a convolution with a kernel of 1×1.

    bias: (D,); weight and restored: (D, C), as trained and as its codes say; x: (N, C, H, W), what the
    layer reads. E[x] is the mean of each channel over images and positions.
    """
    ...


check("12.4", corrected_bias)

# %% [markdown]
# Where does $\mathrm{E}[x]$ come from? *Empirically*: from calibration images, layer by layer, which also counts what the layers before have done. *Analytically*, without any image: BatchNorm knew the mean $\beta$ and the spread $|\gamma|$ of what it gave. Behind a ReLU a Gaussian has the mean
#
# $$\mathrm{E}[\mathrm{relu}(x)] = \int_0^\infty \frac{x}{|\gamma|}\,\varphi\Bigl(\frac{x - \beta}{|\gamma|}\Bigr) dx = \beta\,\Phi\Bigl(\frac{\beta}{|\gamma|}\Bigr) + |\gamma|\,\varphi\Bigl(\frac{\beta}{|\gamma|}\Bigr), \tag{3}$$
#
# $\varphi$ and $\Phi$ being density and distribution of the standard Gaussian. How good is that guess?

# %% tags=["nbval-ignore-output"]
from course_lib.quantization.bias_correction import (
    correct_biases,
    correct_biases_without_data,
    expected_input,
)

tensors = graph.tensors(calibration)
for layer in graph.layers[1:]:
    if hasattr(layer, "weight"):
        guessed = expected_input(graph, layer)  # (C,), equation (3)
        real = tensors[layer.inputs[0]].transpose(0, 1).flatten(1).mean(1)  # (C,)
        off = (guessed - real).square().mean().sqrt() / real.square().mean().sqrt()
        print(f"what {called[layer.name]:10} reads: (3) is off by {100 * off:.0f} % (root mean square)")

# %% tags=["nbval-ignore-output"]
corrected = {}
for label, (bits, by_channel) in kinds.items():
    rounded = quantize_network(graph, calibration, weight_codes=Codes(bits, restricted=True),
                               per_channel=by_channel)
    analytic, left_out = correct_biases_without_data(rounded)
    corrected[label] = {"nearest": rounded, "analytic": analytic,
                        "empirical": correct_biases(rounded, calibration[:256])}
biased = {label: {name: score(network) for name, network in ways.items()}
          for label, ways in corrected.items()}
rows = [[label, *(f"{100 * share:.1f} %, {db:.1f} dB" for share, db in ways.values())]
        for label, ways in biased.items()]
print(text_table(["weights", *biased["8 bits, tensor"]], rows))
print("no analytic correction of:", ", ".join(called[name] for name in left_out))

# %% tags=["nbval-ignore-output"]
def mean_shifts(network, relu):
    """Root mean square, over channels, of the shift of their means, in standard deviations of the layer."""
    restored, shifts = simulate(network, scored), {}
    for layer in (layer for layer in network.graph.layers if hasattr(layer, "weight")):
        if relu and not layer.relu:
            shifts[called[layer.name]] = float("nan")  # the classifier: nothing is cut
            continue
        original = next(one for one in graph.layers if one.name == layer.name)
        affine = network.activations[layer.inputs[0]]
        read = (restored[layer.inputs[0]] - affine.zero_point) * affine.scale
        got = network.on_codes(replace(layer, relu=relu))(read)
        wanted = replace(original, relu=relu)(graph.tensors(scored)[layer.inputs[0]])
        by_channel = (got - wanted).transpose(0, 1).flatten(1).mean(1)  # (C,)
        shifts[called[layer.name]] = (by_channel / wanted.std()).square().mean().sqrt().item()
    return shifts


shifts = {(way, relu): mean_shifts(corrected["4 bits, tensor"][way], relu)
          for relu in (False, True) for way in ("nearest", "empirical")}
titles = {(way, relu): f"{way}, {'behind the ReLU' if relu else 'sums'}" for way, relu in shifts}
plots.shifts_figure(list(next(iter(shifts.values()))),
                    {titles[key]: list(found.values()) for key, found in shifts.items()})

# %%
total = {way: sum(shifts[way, False].values()) for way in ("nearest", "empirical")}
claim("Over all layers, empirical correction takes away more than half of the sums' shift.",
      total["empirical"] < 0.5 * total["nearest"])

# %% [markdown]
# With 8 bits and one scale a channel there is hardly a shift to take back. Otherwise see the table; tenths are noise. The sums' means are right afterwards, up to what differs between training and validation images. *Behind* the ReLU they need not be: it cuts the noise, too, and noise that is cut on one side has a mean. Where did correction make it worse?

# %% tags=["nbval-ignore-output"]
behind = {way: shifts[way, True] for way in ("nearest", "empirical")}
worse = [f"{name} ({old:.3f} → {behind['empirical'][name]:.3f})" for name, old in behind["nearest"].items()
         if behind["empirical"][name] > old]
print("behind the ReLU the shift is larger after correction in:", ", ".join(worse) or "no layer")

# %% [markdown]
# ## To which neighbour?
#
# Two weights of 0.4 steps read $x = (1, 1)$. Both rounded to nearest, to 0: the sum is wrong by −0.8. One down and one up: by +0.2. *Errors of rounding add up or cancel, and nearest does not ask.* The nine weights with which a filter of the first layer reads green, in 4 bits, on all windows of 128 images, and all $2^9$ ways to round them (up from the highest code is the highest code):

# %% tags=["nbval-ignore-output"]
first = graph.layers[0]  # weight (C, 3, 3, 3)
steps = min_max(first.weight, Codes(4, restricted=True), symmetric=True, axis=0).scale.double()
windows = torch.nn.functional.unfold(calibration[:128, 1:2], 3).transpose(1, 2).reshape(-1, 9).double()
moments = windows.T @ windows / len(windows)  # (9, 9), the mean of x xᵀ: an error e costs eᵀ (x xᵀ) e
directions = torch.tensor(np.indices([2] * 9).reshape(9, -1).T)  # (512, 9): 0 is down, 1 is up
mean = windows.mean(0)  # (9,)
left, better, shifted, beside = [], [], [], []
for w, step in zip(first.weight[:, 1].flatten(1).double(), steps, strict=True):
    errors = (torch.floor(w / step) + directions).clamp(-7, 7) * step - w  # (512, 9), in the codes' range
    costs = (errors @ moments * errors).sum(1)
    nearest = torch.round(w / step) * step - w
    cost = nearest @ moments @ nearest
    unshifted = cost - (nearest @ mean) ** 2  # what nearest costs when the bias takes its mean error back
    left.append(float(costs.min() / cost))
    better.append(int((costs < cost).sum()))
    shifted.append(float(unshifted / cost))
    beside.append(float(costs.min() / unshifted))
print(f"{len(left)} filters; error of the best rounding / of nearest: "
      f"{min(left):.3f} … {max(left):.3f}, median {np.median(left):.3f}")
print(f"better than nearest are {min(better)} … {max(better)} of the 512 roundings, filter by filter")
print(f"medians: nearest, its mean error taken back / nearest: {np.median(shifted):.3f}; "
      f"best rounding / nearest, its mean error taken back: {np.median(beside):.3f}")

# %%
claim("In the median filter the best rounding of the nine weights makes less than 3/4 of nearest's error.",
      np.median(left) < 0.75)

# %% [markdown]
# Neighbouring pixels are alike: what counts is the *sum* of the nine errors, and nearest leaves it to chance. Part of the gain is the mean error, which a corrected bias takes back, too (last line).
#
# **Exercise 12.5.** The best of all roundings.


# %%
def best_rounding(weights, scale, x):
    """Codes (K,), whole numbers: their output differs least from the weights', in the mean square over x.

    weights: (K,), K ≤ 10; scale > 0; x: (N, K). Every code is floor(w / scale) or that plus 1, also where
    w / scale is a whole number; no code is clipped. The output of codes q is x @ (scale · q).
    """
    ...


check("12.5", best_rounding)

# %% [markdown]
# A layer has thousands of weights, not ten. *AdaRound* learns the directions: each weight gets a number $V$, and
#
# $$\tilde W = S \cdot \mathrm{clip}\bigl(\lfloor W / S \rfloor + h(V),\, q_l,\, q_h\bigr), \qquad h(V) = \mathrm{clip}\bigl(1.2\,\sigma(V) - 0.1,\, 0,\, 1\bigr), \tag{4}$$
#
# with the logistic function $\sigma$. Gradient steps make the error of the layer's outputs small (behind the ReLU: what it cuts need not be right), plus $\lambda \sum (1 - |2 h(V) - 1|^{\rho})$, which is 0 only where $h$ is 0 or 1. The number $\lambda > 0$ weighs this pull against the error; the exponent $\rho$ (the paper's $\beta$, which is a mean here) falls from step to step, and the pull gets harder and harder. Only codes change, not the file's size or speed. Weights in 4 bits, activations in 8:

# %% tags=["nbval-ignore-output"]
from course_lib.quantization.adaround import Rounding, adaround

fits, w4a8 = [], corrected["4 bits, channel"]["nearest"]
settings = Rounding(steps=200, rate=0.03, patches=2048, batch=128)
learned = adaround(w4a8, calibration[:256], settings, say=fits.append)
for fit in fits:
    print(f"{called[fit.layer]:10} error {fit.nearest:.4f} → {fit.learned:.4f}; "
          f"{100 * fit.flipped:.0f} % of the weights not at their nearest code")
ways = {"nearest": biased["4 bits, channel"]["nearest"], "AdaRound": score(learned),
        "bias correction": biased["4 bits, channel"]["empirical"],
        "AdaRound, then bias correction": score(correct_biases(learned, calibration[:256]))}
for name, (share, db) in ways.items():
    print(f"{name:31} {100 * share:.1f} % right, logits {db:.1f} dB")

# %% tags=["nbval-ignore-output"]
noise_left, beside_corrected = (10 ** ((ways[one][1] - ways["AdaRound"][1]) / 10)
                                for one in ("nearest", "bias correction"))
print(f"noise beside nearest with corrected biases: {beside_corrected:.3f} ×")
reveal("12.p2", noise_left)

# %%
claim("AdaRound leaves less than 80 % of the noise that plain nearest makes.", noise_left < 0.8)

# %% [markdown]
# These are few steps, on few images. More steps, three seeds, the *file* in ONNX Runtime on all validation images, of real signs (GTSRB), too (`benchmarks/post_training.py`): points lost; 95 % intervals over seeds and signs:

# %% tags=["nbval-ignore-output"]
from course_lib.errors import CourseError
from course_lib.measure import load_result


def recorded(name, figure):
    """A figure of a record with its interval, or that it is not there."""
    try:
        one = load_result(name)["figures"].get(figure)
    except CourseError:
        one = None
    return "not recorded yet" if one is None else f"{one.value:.2f} ({one.low:.2f} … {one.high:.2f})"


recorded_ways = {"nearest": "nearest", "bias": "corrected after", "adaround": "AdaRound",
                 "adaround_bias": "corrected after"}
rows = [[data, str(bits), *(recorded(f"post_training_{data}", f"student_w{bits}a8_{way}_drop_points")
                            for way in recorded_ways)]
        for data in ("rendered", "gtsrb") for bits in (4, 3, 2)]
print(text_table(["signs", "bits", *recorded_ways.values()], rows))

# %% [markdown]
# With 4 bits no column stands apart on real signs. With 3 a corrected bias helps nearest much, and AdaRound helps more. With 2, correction *after* AdaRound takes back more than half of what AdaRound had won.
#
# And 8 bits, beside other tools (`benchmarks/quantization_peers.py`)? Points over their min-max: of our min-max, and of the recipe that did best on *training* images; paired by image, 95 % intervals over signs.

# %% tags=["nbval-ignore-output"]
for which, words in (("min_max", "min-max"), ("best", "chosen recipe")):
    for key, tool in (("ort", "ONNX Runtime"), ("nncf", "NNCF")):
        gained = recorded("quantization_peers", f"student_ours_{which}_over_{key}_min_max_points")
        print(f"our {words} over {tool}'s min-max: {gained} points")

# %% [markdown]
# ## Which layer hurts?
#
# One layer at a time in few bits, all others in FP32, on the choosing half; the SQNR needs no labels.

# %% tags=["nbval-ignore-output"]
from course_lib.quantization.sensitivity import bits_for_budget, in_bits, sensitivity, weight_bytes

options = (2, 3, 4, 5, 6, 8)
sensitivities = sensitivity(graph, choosing[::2], options, choosing_labels[::2])
of = {(row.layer, row.bits): row for row in sensitivities}
weighted = [layer for layer in graph.layers if hasattr(layer, "weight")]
table = []
for layer in weighted:
    told = [of[layer.name, bits] for bits in (2, 3, 4, 8)]
    cells = [f"{one.sqnr_db:.0f} dB, {100 * one.accuracy:.0f} %" for one in told]
    table.append([called[layer.name], *cells, f"{weight_bytes(layer, 4):,}"])
print(text_table(["alone in", "2 bits", "3 bits", "4 bits", "8 bits", "bytes at 4 bits"], table))
judges = choosing[::2], choosing_labels[::2]
fp32 = (graph(judges[0]).argmax(1) == judges[1]).double().mean().item()
print(f"FP32: {100 * fp32:.0f} % of {len(judges[0])} images; bytes: codes and each channel's float32 scale")

# %% [markdown]
# SQNR is no perfect proxy: with 2 bits a layer of few dB may cost less accuracy than one of more.
#
# Noises of independent layers add up. So: choose each layer's bits so that the sum of noises is least and the bytes fit. Giving bits step by step, always where a byte takes away most noise, can get stuck. **By hand,** 100 bytes are left; a large layer's step takes all and saves 10 of noise, a small layer's takes 10 and saves 2: more a byte, but then the large step no longer fits. With a few layers, all choices can be compared.
#
# **Exercise 12.6.** The best of all.


# %%
def best_bits(noise, sizes, budget):
    """For each layer the column of its choice, a list of L integers: the least sum of noise that fits.

    noise and sizes: (L, K), of each layer at each of K numbers of bits; L ≤ 5, K ≤ 4. Sizes need not grow
    along a row. The sum of the chosen sizes must be ≤ budget; at least one choice fits, and no other one has
    the least sum, too.
    """
    ...


check("12.6", best_bits)

# %% [markdown]
# `bits_for_budget` does that for many layers: it keeps, layer by layer, only the choices that no other one beats in bytes *and* noise. (Measured milliseconds can take the bytes' place.) The budget: what 4 bits everywhere take. Controls: other choices of the same bytes, by chance.

# %% tags=["nbval-ignore-output"]
def in_mixed_bits(bits):
    logits = graph.changed({layer.name: in_bits(layer, bits[layer.name]) for layer in weighted})(scored)
    return accuracy(logits), sqnr_db(in_floats, logits)


def bytes_of(bits):
    return sum(weight_bytes(layer, bits[layer.name]) for layer in weighted)


def step_by_step(budget):
    """Bits that grow where a byte takes away most noise, as long as a step fits and gains."""
    bits = {layer.name: options[0] for layer in weighted}
    while True:
        steps = [((before.noise - after.noise) / (after.bytes - before.bytes), name, more)
                 for name, now in bits.items() for more in options
                 if more > now and bytes_of(bits | {name: more}) <= budget
                 for before, after in [(of[name, now], of[name, more])]]
        if not steps or max(steps)[0] <= 0:
            return bits
        bits[max(steps)[1]] = max(steps)[2]


# %% tags=["nbval-ignore-output"]
uniform = {layer.name: 4 for layer in weighted}
budget = bytes_of(uniform)
best = bits_for_budget(sensitivities, budget)
by_chance = []
while len(by_chance) < 10:
    drawn = {layer.name: int(rng.choice(options)) for layer in weighted}
    if 0.95 * budget <= bytes_of(drawn) <= budget:
        by_chance.append(drawn)
tried = {"4 bits everywhere": uniform, "chosen": best, "step by step": step_by_step(budget),
         "by chance, the best of 10": max(by_chance, key=lambda bits: in_mixed_bits(bits)[1])}
mixed = {name: in_mixed_bits(bits) for name, bits in tried.items()}
power = graph(judges[0]).double().square().mean().item()
rows = [[name, " ".join(map(str, bits.values())), f"{bytes_of(bits):,}", f"{100 * mixed[name][0]:.1f} %",
         f"{10 * np.log10(power / sum(of[key].noise for key in bits.items())):.1f}", f"{mixed[name][1]:.1f}"]
        for name, bits in tried.items()]
print(text_table(["bits", "layer by layer", "bytes", "right", "dB by the sum", "dB measured"], rows))
print("step by step", "gives the same bits: here it is not stuck" if tried["step by step"] == best else
      "gives other bits")

# %%
claim("Chosen bits are nowhere more than 0.5 dB behind: neither 4 bits everywhere nor ten random choices.",
      mixed["chosen"][1] > mixed["4 bits everywhere"][1] - 0.5
      and mixed["chosen"][1] > mixed["by chance, the best of 10"][1] - 0.5)

# %% [markdown]
# Layers disturb one another, so the sum is a model: the choice was measured as a whole, on images that had no say in it.
#
# ## Static or dynamic?
#
# All ranges so far are *static*: fixed before the first image. A *dynamic* range is the smallest and largest value of this very call, found at run time (ONNX: DynamicQuantizeLinear). It costs a pass over the tensor and needs no calibration. It pays where ranges change with the input, as with audio, or an exposure that calibration has not seen. Below, dynamic ranges are those of each image, and for control one of all 200 images together:

# %% tags=["nbval-ignore-output"]
bits_4 = Codes(4, signed=False)
for light in (1.0, 0.5, 0.2):
    darker = graph.tensors(scored[:200] * light)[convolutions[0]]  # (200, C, H, W)
    static = fake_quantize(darker, seen["least squares", 4][convolutions[0]].affine(bits_4))
    dynamic = torch.stack([fake_quantize(one, min_max(one, bits_4)) for one in darker])  # one image a call
    together = fake_quantize(darker, min_max(darker, bits_4))
    print(f"light × {light}: {called[convolutions[0]]}, 4 bits, static {sqnr_db(darker, static):.1f} dB, "
          f"dynamic {sqnr_db(darker, dynamic):.1f} dB, of all together {sqnr_db(darker, together):.1f} dB")

# %% [markdown]
# The control gains in the dark, too: what helps is a range of this light, only in part an image's *own*.
#
# ## The doctor
#
# A quantized network is wrong, or slow. `diagnose` takes it and a network that is right, feeds each of its layers with what the right one reads, and names the layers that are wrong *then* (here on images of the choosing half). Make a patient yourself: put another fault from the list into the first line of the second cell.

# %% tags=["nbval-ignore-output"]
from course_lib.experiments import quantization_faults as faults
from course_lib.experiments.quantization_patients import healthy, named_first
from course_lib.quantization.doctor import diagnose

folder = tempfile.TemporaryDirectory()
well = healthy(student, calibration[:256], Path(folder.name))
shown, shown_labels = choosing[:256], choosing_labels[:256]


def examine(fault):
    """Put a fault into the healthy network: the patient, and the doctor's report."""
    patient = fault(well)
    fed = shown if patient.feed is None else patient.feed(shown)
    return patient, diagnose(patient.reference, patient.suspect, shown, shown_labels, suspect_images=fed)


# %% tags=["nbval-ignore-output"]
fault = faults.range_too_small
patient, report = examine(fault)
possible = [one.__name__ for one in faults.FAULTS if one(well) is not None]  # some need layers of one shape
print("faults:", ", ".join(possible), end="\n\n")
print(fault.__doc__, report, sep="\n\n")
print("\nnames:", ", ".join(f"{name} = {called[name]}" for name in convolutions))

# %% [markdown]
# *Alone* is a layer that reads what the healthy network gives; *together*, what its own network gives. Damage done by one layer stays visible together in all that follow, and alone in that one only. *Bits* is the base-2 logarithm of how many codes lie between the largest weight and its negative: 7.0 for the 127 codes −63 … 63, healthy weights here: with more, sums of two products saturate on some processors (chapter 11). Flips in a finding are a layer's alone, counted on some of the images. Six patients more; the last one, a layer's weights left in float, answers "why is INT8 not faster here?"

# %% tags=["nbval-ignore-output"]
named = {}
for fault in (faults.images_divided_twice, faults.wrong_zero_point, faults.swapped_channel_scales,
              faults.norm_not_folded, faults.weights_in_4_bits, faults.operator_in_float):
    patient, report = examine(fault)
    named[fault.__name__] = named_first(patient, report)
    print(f"{fault.__name__}: {report.answers.all.flipped} of {len(shown)} answers flipped")
    print(f"  {report.findings[0]}\n")

# %%
claim("The doctor's first finding names the fault and its layer, in all six.", all(named.values()))

# %% tags=["nbval-ignore-output"]
from course_lib import measure
from course_lib.deploy.onnx import open_session
from course_lib.quantization.qdq import export_qdq

files = {"all in INT8": export_qdq(well.network, Path(folder.name) / "whole.onnx"),
         "one layer in float": patient.suspect}  # the last patient's file
one_image = {"images": scored[:1].numpy()}
sessions = {name: open_session(path, threads=1) for name, path in files.items()}
calls = {name: partial(session.run, None, one_image) for name, session in sessions.items()}
times = measure.latency_by_cadence(calls, {measure.BACK_TO_BACK: 20}, warmup=20, threads=1, seed=0)[0]
print(times)
claim("The layer left in float makes the file slower", times.ratio(*reversed(calls)).low > 1, hardware=True)

# %% [markdown]
# Look at how few answers some faults flip. A network can be ill and pass a test of accuracy.
#
# ## Pitfalls
#
# * **Calibration images prepared otherwise** than at run time: one is enough. Print the ranges.
# * **Calibration on test images:** a leak, as is choosing on the images that judge.
# * **Entropy with the zeros counted.**
# * **Bias correction after AdaRound,** in 2 bits.
#
# ## Recap

# %% tags=["nbval-ignore-output"]
def percent(fraction):
    return f"{100 * fraction:.1f} %"


three, spoil = biased["3 bits, tensor"], equal["spoiled"]
display(Markdown(f"""
1. 8 bits with min-max leave {percent(right["min-max"][0][0])} right (FP32 {percent(whole)}). With 4 bits for
   activations: min-max {percent(right["min-max"][-1][0])}, least squares
   {percent(right["least squares"][-1][0])}, entropy (128 groups) {percent(right["entropy"][-1][0])}.
2. One image of 512 not divided by 255: min-max falls to {percent(with_outlier["min-max"])}, least squares to
   {percent(with_outlier["least squares"])}, percentile {percent(with_outlier["percentile"])}, moving average
   {percent(with_outlier["moving average"])}.
3. With least squares every draw is within half a dB of its end from {settled} images on; from
   64 to 512 images min-max went from {decibels["min-max"][3].mean():.1f} to
   {decibels["min-max"][-1].mean():.1f} dB.
4. Channels spoiled up to a hundredfold: {percent(spoil[0][0])} right with one weight scale a tensor,
   {percent(equal["spoiled, equalized"][0][0])} equalized, {percent(spoil[1][0])} with one a channel.
5. 3-bit weights, one scale a tensor: {percent(three["nearest"][0])} right, biases corrected
   {percent(three["empirical"][0])}, without data {percent(three["analytic"][0])}.
6. 4-bit weights: plain nearest {ways["nearest"][1]:.1f} dB, AdaRound {ways["AdaRound"][1]:.1f} dB:
   {percent(noise_left)} of the noise, {percent(beside_corrected)} beside nearest with corrected biases.
7. Bits by budget: {mixed["chosen"][1]:.1f} dB; 4 bits everywhere, the same bytes:
   {mixed["4 bits everywhere"][1]:.1f} dB.
8. The doctor named {sum(named.values())} of {len(named)} faults first.
"""))

# %% [markdown]
# Next: [13 · quantization-aware training](13_quantization_aware_training.ipynb). What if choosing is not enough, and training is possible after all?
#
# ## References
#
# * M. Nagel et al. (2019). *Data-free quantization through weight equalization and bias correction.* [arXiv:1906.04721](https://arxiv.org/abs/1906.04721): eq. 9 to 12 (equalization), section 4.2 and appendices B and C (bias correction), figure 2.
# * M. Nagel et al. (2020). *Up or down? Adaptive rounding for post-training quantization.* [arXiv:2004.10568](https://arxiv.org/abs/2004.10568): eq. 21 to 25.
# * M. Nagel et al. (2021). *A white paper on neural network quantization.* [arXiv:2106.08295](https://arxiv.org/abs/2106.08295), section 3.
# * S. Migacz (2017). *8-bit inference with TensorRT.* GTC, slides 32 to 38: entropy.
# * Z. Dong et al. (2019). *HAWQ: Hessian aware quantization.* [arXiv:1905.03696](https://arxiv.org/abs/1905.03696): bits by sensitivity.
