# %% [markdown]
# # 11 · Integer arithmetic: how does a chip compute with only integers?
#
# Many small chips have no unit for floating-point numbers, and where there is one, integers of 8 bits take less energy and less silicon. But a network's weights, images and activations are real numbers. What is left of a layer when nothing but integers may be used?
#
# **You will be able to**
#
# * write a layer's sums with codes and zero points, and say which of its terms are known before the image comes;
# * prove that an accumulator cannot overflow;
# * replace a real factor by a multiplier and a shift, and round as you mean to;
# * run a whole network in integers, and compare it code by code with the runtime that is deployed;
# * say where a simulation in floats and the integers part, and what that costs.
#
# **Before:** chapter [01](01_measuring.ipynb) (timing), chapter [10](10_affine_quantization.ipynb) (scales and zero points). **Time:** 150 min to work through; the cells take about 1 min on 2 quiet cores. Symbols: [notation](../docs/notation.md).

# %% tags=["nbval-ignore-output"]
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown, display

from course_lib import plots, widgets
from course_lib.data import load
from course_lib.deploy.onnx import open_session
from course_lib.errors import CourseError
from course_lib.evaluation import predict_logits
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.measure import claim
from course_lib.measure.tables import text_table
from course_lib.models import checkpoints
from course_lib.quantization import calibration_images
from course_lib.quantization.calibrated import quantize_network

splits = load(size=32)
student, _ = checkpoints.load(f"student_{splits.train.name}")
calibration = torch.from_numpy(calibration_images(splits.train, 512))
quantized = quantize_network(student, calibration)

# %% [markdown]
# Two networks appear here. The *student* is small: five convolutions and a classifier for traffic signs. It learned from the *teacher* ([chapter 05](05_distilling_logits.ipynb)), which is larger and has residual blocks.
#
# A real number $x$ becomes a *code* $q$, an integer of 8 bits, by a *scale* $S > 0$ and a *zero point* $Z$, which is the code of 0:
#
# $$q = \text{clamp}\bigl(\text{round}(x / S) + Z\bigr), \qquad x \approx S\,(q - Z). \tag{1}$$
#
# `quantize_network` has chosen $S$ and $Z$ of every tensor: for activations, one pair a tensor, from the smallest and largest value on 512 training images; for weights, one scale an output channel, with $Z = 0$. BatchNorm is folded into the convolutions. What it chose:

# %% tags=["nbval-ignore-output"]
for layer in quantized.graph.layers:
    affine = quantized.activations[layer.name]
    kind, scale, zero_point = type(layer).__name__, affine.scale.item(), affine.zero_point.item()
    print(f"{layer.name:13} {kind:14} S = {scale:.4f}, Z = {zero_point}")

# %% [markdown]
# ## Predict first
#
# 1. The same scales, used twice: once in a *simulation*, which computes each layer in float32 and rounds its output to codes, and once in integers alone. Of 1,000 test images, how many get another answer: (a) none, (b) fewer than 10, (c) 10 or more?
# 2. The integer network as one plain C file, equal to ONNX Runtime's INT8 to the bit, against that runtime; one image at a time without a pause, one thread. The C file's time is (a) less, (b) up to 3 times as much, (c) more?

# %% tags=["nbval-ignore-output"]
parting_guess = None  # "a", "b" or "c"; the chapter comes back to both
c_guess = None
display(predict("11.p1", parting_guess, sure=None), predict("11.p2", c_guess, sure=None))

# %% [markdown]
# ## What is left of a layer
#
# One output of a layer is $y = \sum_{k=1}^{K} x_k w_k + b$. Insert (1) for $x$, $w$ and $y$:
#
# $$S_y\,(q_y - Z_y) = S_x S_w \Bigl(\sum_k (q_{x,k} - Z_x)(q_{w,k} - Z_w) + q_b\Bigr), \qquad q_b = \text{round}\Bigl(\frac{b}{S_x S_w}\Bigr).$$
#
# The bias gets the scale $S_x S_w$, and with it needs no factor of its own. The bracket holds only integers: call it the *accumulator* $a$. So
#
# $$q_y = Z_y + \text{round}(M\,a), \qquad M = \frac{S_x S_w}{S_y}. \tag{2}$$
#
# $M$ is the only real number left, one for each output channel, and it is known before any image.
#
# **By hand.** $S_x = 0.1$, $Z_x = 2$, codes $q_x = (3, 7)$, which stand for $(0.1, 0.5)$. Two outputs, $S_w = 0.02$, $Z_w = 0$, weights $(5, -2)$ and $(1, 3)$, no bias. The accumulators: $1 \cdot 5 + 5 \cdot (-2) = -5$ and $1 \cdot 1 + 5 \cdot 3 = 16$. With $S_y = 0.004$ and $Z_y = 10$, $M = 0.5$: $-2.5$ and $8$. A half goes to its even neighbour, $-2$: the codes are $8$ and $18$. They stand for $-0.008$ and $0.032$; exact are $-0.01$ and $0.032$.
#
# ### Four terms
#
# Multiply out:
#
# $$\sum_k (q_x - Z_x)(q_w - Z_w) = \underbrace{\sum_k q_x q_w}_{K \text{ products}} \;-\; Z_w \sum_k q_x \;-\; Z_x \sum_k q_w \;+\; K Z_x Z_w . \tag{3}$$
#
# The last two terms hold no $q_x$: they are constants. The second needs the input, and is 0 where weights are *symmetric*, $Z_w = 0$; that is the reason to make them so. What remains is to multiply the codes as they are, and to start from
#
# $$b' = q_b - Z_x \sum_k q_w. \tag{4}$$
#
# By hand again: $\sum q_x q_w = 1$ and $24$; $\sum q_w = 3$ and $4$; $1 - 2 \cdot 3 = -5$, $24 - 2 \cdot 4 = 16$. Here is the student's classifier, in five lines:

# %%
from course_lib.quantization.integer import integer_network

engine = integer_network(quantized)
some = splits.validation.images[::16]  # (N, 3, 32, 32), bytes
codes = engine.tensors(some)
classifier = engine.layers[-1]
q_x, q_w = codes["flatten"].astype(np.int32), classifier.weight.astype(np.int32)  # (N, K), (classes, K)

sums = q_x @ q_w.T
folded = classifier.bias - classifier.input.zero * q_w.sum(1)  # (4)
factor = quantized.bias_scale(quantized.graph.layers[-1]) / quantized.activations["classifier"].scale
rounded = np.rint(np.float32(sums + folded) * factor.numpy())  # float32: the one real number
by_hand = np.clip(rounded + classifier.output.zero, 0, 255)

# %%
claim("These five lines give the library's codes of all logits.",
      np.array_equal(by_hand, codes["classifier"]))

# %% [markdown]
# **Exercise 11.1.** All four terms, for weights whose zero point is not 0.


# %%
def zero_point_sums(q_x, q_w, z_x, z_w):
    """(constant (N,), sums (B, N)) of the codes q_x (B, K), uint8, and q_w (N, K), int8.

    sums[b, n] = Σ_k (q_x[b, k] − z_x)·(q_w[n, k] − z_w); constant[n] is the part of it that holds no q_x.
    """
    ...


check("11.1", zero_point_sums)

# %% [markdown]
# ### Which code pads?
#
# A convolution pads its input with the *number* 0. Its code is $Z_x$. Whoever pads with the code 0 surrounds the image with $-S_x Z_x$: a frame that nobody has seen in training. Below, a row of six pixels, all with the number 0, with $Z_x = 114$:

# %%
row, kernel, zero = np.full(6, 114), np.array([1, 2, 1]), 114
for code in (zero, 0):
    padded = np.pad(row, 1, constant_values=code)
    accumulators = [int(np.dot(padded[i : i + 3], kernel) - zero * kernel.sum()) for i in range(6)]
    print(f"padded with code {code:3}: {accumulators}")

# %% [markdown]
# In our student every padded tensor is a byte image or comes from a ReLU: $Z_x = 0$, and the mistake would not show. Such a mistake needs a test of its own.
#
# ## Accumulators
#
# A product of two 8-bit codes has 16 bits: $255 \cdot 127 = 32{,}385$ is just below $2^{15}$. Two of them need more. $K$ of them stay below $2^{31}$ up to $K = 66{,}311$: wider than any layer here, so 32 bits will do. How near does a given layer come? Let $q_x$ lie in $l \dots h$, with $Z_x$ among them. A weight $q_w > 0$ adds at most $(h - Z_x)\,q_w$, a negative one at most $(l - Z_x)\,q_w$:
#
# $$q_b + \sum_k \min\bigl((l - Z_x)\,q_w, (h - Z_x)\,q_w\bigr) \;\le\; a \;\le\; q_b + \sum_k \max\bigl((l - Z_x)\,q_w, (h - Z_x)\,q_w\bigr). \tag{5}$$
#
# Some input reaches each end, so no smaller bound is safe. If they start from $q_b$, partial sums stay inside too, in whatever order: what is not yet added counts as 0. But our library starts from $b'$, our C file adds $b'$ last, and both multiply raw codes. Their partial sums have a looser bound, reached or not: $\max|q_x| \sum|q_w| + |b'|$.
#
# **Exercise 11.2.** The bound (5), and the bits that it takes.


# %%
def accumulator_range(weights, bias, low, high, zero_point):
    """(lowest, highest, bits), each (N,), of accumulators: bias (N,) plus sums of (q − zero_point)·weights.

    weights (N, K), int8. Every q is one of low … high, and so is zero_point. bits: the fewest, sign included,
    that hold all that an accumulator can reach, in two's complement.
    """
    ...


check("11.2", accumulator_range)

# %% [markdown]
# Both bounds for the student, and what some images gave:

# %% tags=["nbval-ignore-output"]
weighted = [layer for layer in engine.layers if hasattr(layer, "accumulators")]
names = {layer.name: f"conv {i + 1}" for i, layer in enumerate(weighted[:-1])} | {"classifier": "classifier"}
accumulators, reachable, on_the_way = {}, {}, {}
for layer in weighted:
    name, read = names[layer.name], codes[layer.inputs[0]]
    accumulators[name] = layer.accumulators(np.moveaxis(read, 1, -1) if read.ndim == 4 else read)
    weight = layer.weight.reshape(len(layer.weight), -1).astype(np.int64)  # (C_out, K)
    ends = np.stack([code * weight for code in (layer.input.low - layer.input.zero,
                                                layer.input.high - layer.input.zero)])
    lowest = layer.bias + ends.min(0).sum(1)  # (5), (C_out,)
    highest = layer.bias + ends.max(0).sum(1)
    reachable[name] = int(max(highest.max(), -lowest.min()))
    on_the_way[name] = int(layer.accumulator_bound().max())
seen = {name: int(np.abs(values).max()) for name, values in accumulators.items()}
bars = {"partial sums of raw codes": on_the_way, "bound (5)": reachable, "seen on images": seen}
plots.accumulator_figure(bars, [16, 32])

# %%
claim("In every layer both bounds fit into 32 bits, and not into 16.",
      all(reachable[name] > 2**15 and on_the_way[name] < 2**31 for name in reachable))

# %% [markdown]
# Between what the weights allow and what images give there is room, but no proof. Would 16 bits do, then? NumPy's `int16` wraps round, without a word, as C does on most machines:

# %% tags=["nbval-ignore-output"]
narrow = {name: values.astype(np.int16) for name, values in accumulators.items()}
for name, values in accumulators.items():
    print(f"{name:10} {100 * np.mean(narrow[name] != values):5.2f} % of the accumulators wrap in 16 bits")
values = accumulators["conv 1"]
place = np.unravel_index(np.abs(values).argmax(), values.shape)
print(f"one of them: {values[place]} becomes {narrow['conv 1'][place]}")

# %% [markdown]
# Some instructions do compute in 16 bits. x86 without 8-bit dot products uses VPMADDUBSW: it adds *two* products of an unsigned and a signed byte, and *saturates*, so what is too large becomes 32,767. That is why `quantize_network` gives weights 7 bits, $-63 \dots 63$:

# %%
for largest in (127, 63):
    pair = 2 * 255 * largest
    kept = min(pair, 2**15 - 1)
    print(f"weights up to {largest:3}: 255·{largest} + 255·{largest} = {pair:6}, saturated to {kept}")

# %% [markdown]
# With 8-bit weights this instruction may saturate, and the same file then gives other answers than on a processor that has no such instruction. With 7 bits nothing saturates, at the price of one bit.

# %% [markdown]
# ## The last real number
#
# $M$ in (2) is real. Write it as
#
# $$M = m \cdot 2^{-31-s}, \qquad 2^{30} \le m < 2^{31}, \tag{6}$$
#
# with an integer multiplier $m$ of 31 bits. $M a$ is then one wide multiplication and a shift to the right by $31 + s$. Rounding to $m$ is off by at most ½, so $M$ by at most $\frac12 / 2^{30} = 2^{-31}$ of itself.
#
# The library's engine rounds as one of two machines. `"runtime"`, used so far, is ONNX Runtime on x86. `"hardware"` stands for chips without floats: its factors are those of (6). How each rounds comes below.
#
# **By hand.** $M = 0.3 = 0.6 \cdot 2^{-1}$: $m = \text{round}(0.6 \cdot 2^{31}) = 1{,}288{,}490{,}189$, $s = 1$.

# %% tags=["nbval-ignore-output"]
hardware = integer_network(quantized, rounding="hardware")
errors = []
for layer in hardware.layers:
    if layer.name in names:
        s_x, s_y = (quantized.activations[name].scale.double() for name in (layer.inputs[0], layer.name))
        exact = (s_x * quantized.weights[layer.name].scale.double() / s_y).numpy()  # M of each channel
        m, s = layer.rescale.multiplier, layer.rescale.shift  # (C_out,)
        errors.append(np.abs(m * 2.0 ** (-31 - s) / exact - 1).max())
        print(f"{names[layer.name]:10} M = {exact[0]:.6f}: m = {m[0]:,}, s = {s[0]}")

# %%
claim("No factor of the engine's layers with weights is off by more than 2⁻³¹ of itself.",
      max(errors) <= 2**-31)

# %% [markdown]
# **Exercise 11.3.** From a factor to (6). Mind what rounds up to $2^{31}$, and factors above 1.


# %%
def multiplier_and_shift(factor):
    """Integers m, s (not floats) with factor ≈ m · 2^(−31 − s) and 2^30 ≤ m < 2^31, m as near as it can be.

    factor: 2^−30 … 2^30. A factor of 1 or more has a shift below 0: to the left.
    """
    ...


check("11.3", multiplier_and_shift)

# %% [markdown]
# ### Rounding
#
# A shift to the right rounds *down*: 2.9 becomes 2, and −2.1 becomes −3. Where many bits go, it is on average half a step too low, in every layer anew. The remedy is to add a half before the shift; then exact halves all go up. *Half to even* sends 2.5 to 2 and 3.5 to 4; *half away from 0* sends 2.5 to 3 and −2.5 to −3. On every integer of a range:

# %%
from course_lib.quantization.integer import shift_half_away, shift_half_even

roundings = {"down (shift alone)": lambda x, bits: x >> bits,
             "half up": lambda x, bits: (x + (1 << (bits - 1))) >> bits,
             "half to even": shift_half_even,
             "half away from 0": shift_half_away}
shifts, reach = range(1, 9), 2**12
both, above = np.arange(1 - reach, reach), np.arange(1, 2 * reach)
means = {name: tuple([float(np.mean(apply(x, bits) - x / 2**bits)) for bits in shifts] for x in (both, above))
         for name, apply in roundings.items()}
plots.mean_shift_figure(shifts, means)

# %% [markdown]
# With 8 bits shifted out, a half is one case in 256, and the three that round to the nearest hardly differ. With 1 or 2 bits it is one in two or four, and then *half up* and *away* push numbers above 0 upwards; behind a ReLU all numbers are. *Down* is $\frac12 - 2^{-n-1}$ of a step too low when $n$ bits go: ¼ with one bit, and nearly ½ with eight.
#
# Drag the accumulator, and look for halves. The picture shows one, 5 · ½:

# %%
widgets.rescaled_figure(5, 0.5)

# %% tags=["nbval-ignore-output"]
widgets.rounding_explorer()

# %% [markdown]
# ### ReLU for free, and the order of things
#
# $q_y = \text{clamp}(Z_y + \text{round}(Ma),\, l,\, 255)$. A code below $Z_y$ stands for a negative number. With $l = Z_y$ the clamp, which is needed anyway, *is* the ReLU.
#
# **Exercise 11.4.** The whole step. Multiply in 64 bits, round once, add, clamp, and cast last.


# %%
def requantize(acc, multiplier, shift, zero_point, low):
    """Codes (N,), uint8: acc · multiplier · 2^(−31 − shift) rounded, + zero_point, clamped to low … 255.

    acc (N,), int32; 2^30 ≤ multiplier < 2^31; 0 ≤ shift ≤ 31. Rounded once, exactly: to the nearest integer,
    a half to the even neighbour. Integers only: no float, however wide. The dtype is uint8, cast last.
    """
    ...


check("11.4", requantize)

# %% [markdown]
# What do mistakes cost? The student in integers, with one thing wrong in every layer:

# %% tags=["nbval-ignore-output"]
images, labels = splits.validation.images[::4], splits.validation.labels[::4]


def with_rescale(change, only=None):
    """The network, rescaled (``only``: in these layers) by change(accumulators, m, bits to shift)."""
    def changed(layer):
        if not hasattr(layer, "rescale") or (only is not None and layer.name not in only):
            return layer
        multiplier, bits = layer.rescale.multiplier, 31 + layer.rescale.shift
        return replace(layer, rescale=lambda a: change(a.astype(np.int64), multiplier, bits))

    return replace(hardware, layers=tuple(changed(layer) for layer in hardware.layers))


# %% tags=["nbval-ignore-output"]
def in_16_bits(a, m, bits):
    return shift_half_even(a.astype(np.int16) * m, bits)


variants = {
    "rounded once, half to even": with_rescale(lambda a, m, bits: shift_half_even(a * m, bits)),
    "shift alone": with_rescale(lambda a, m, bits: (a * m) >> bits),
    "cast before the clamp": with_rescale(lambda a, m, bits: shift_half_even(a * m, bits).astype(np.uint8)),
    "accumulators of 16 bits": with_rescale(in_16_bits),
}
right = {}
for name, network in variants.items():
    right[name] = np.mean(network.logit_codes(images).argmax(1) == labels)
    moved = np.mean(network.tensors(some)["features.0.0"] != codes["features.0.0"])
    print(f"{name:27} {100 * right[name]:5.1f} % right; codes moved in the first layer: {100 * moved:.1f} %")

# %%
claim("The cast before the clamp destroys the network; the shift alone costs less than 2 points.",
      right["cast before the clamp"] < 0.2
      and right["rounded once, half to even"] - right["shift alone"] < 0.02)

# %% [markdown]
# Compare the two columns. Accumulators of 16 bits move the fewest codes of the first layer, and destroy the network. In which layer? Wrap some of them at a time:

# %% tags=["nbval-ignore-output"]
convolutions = [name for name in names if name != "classifier"]
wrapping = {"the classifier alone": ["classifier"], "all but the classifier": convolutions,
            "conv 1 alone": convolutions[:1]}
for name, only in wrapping.items():
    right[name] = np.mean(with_rescale(in_16_bits, only).logit_codes(images).argmax(1) == labels)
    print(f"16 bits in {name:23} {100 * right[name]:5.1f} % right")

floored = variants["shift alone"].tensors(some)
for name, called in names.items():
    steps = np.abs(floored[name].astype(int) - codes[name])
    moved = 100 * np.mean(steps > 0)
    print(f"shift alone, {called:10} {moved:5.1f} % of the codes moved, by at most {steps.max()}")

# %% [markdown]
# It is the classifier: there half of the accumulators wrap. The shift alone moves many more codes, in the first layer each by one step, further on by several. Yet hardly an answer changes: accuracy does not show it. A comparison code by code does. So compare.
#
# ## One layer, by hand
#
# ONNX Runtime executes the same network. `export_qdq` writes it with *our* scales, as float operators between QuantizeLinear and DequantizeLinear; the runtime replaces each group by one integer kernel. How does it round? On x86 it converts the accumulator to float32, multiplies by $M$ in float32, and rounds, halves to even. Floats! But a float32 is itself an integer of 24 bits and a shift:

# %%
from course_lib.quantization.integer import RuntimeFactor

M = np.float32(0.0072)
mantissa, exponent = np.frexp(M)  # M = mantissa · 2^exponent
print(f"{M} = {int(mantissa * 2**24):,} · 2^{exponent - 24}, exactly")
in_floats = np.rint(accumulators["conv 1"].astype(np.float32) * M)
in_integers = RuntimeFactor.of(M)(accumulators["conv 1"])

# %%
claim("The float32 roundings can be done in integers: equal on every accumulator of the first layer.",
      np.array_equal(in_floats, in_integers))

# %% [markdown]
# `RuntimeFactor` rounds where a float32 rounds: the accumulator to 24 bits, the product to 24 bits, the result to a whole number.
#
# Now one output position of the first convolution, from the bytes of an image to one code, with Python's integers:

# %% tags=["nbval-ignore-output"]
image, layer = some[0], engine.layers[0]  # bytes (3, 32, 32)
channel, row, column = 9, 6, 8
window = image[:, 2 * row - 1 : 2 * row + 2, 2 * column - 1 : 2 * column + 2]  # stride 2, padding 1
total = int(layer.folded_bias[channel])
pairs = np.stack([np.moveaxis(window, 0, -1).ravel(), layer.weight[channel].ravel()], axis=1)  # (27, 2)
for code, weight in pairs.tolist():
    total += code * weight
multiplier, shift = int(layer.rescale.multiplier[channel]), int(layer.rescale.shift[channel])
steps = round(Fraction(total * multiplier, 2**shift))  # Python's round: a half to even
found = min(max(steps + layer.output.zero, layer.output.low), layer.output.high)
print(f"bias {layer.folded_bias[channel]}, 27 products, accumulator {total}")
print(f"{total} · {multiplier:,} / 2^{shift} = {total * multiplier / 2**shift:.4f}, code {found}")

# %%
from course_lib.quantization.integer import compare_with_runtime, runtime_codes

theirs = next(runtime_codes(quantized, some[:1]))  # every tensor's codes, by ONNX Runtime
claim("ONNX Runtime has the same code there.", found == theirs[layer.name][0, channel, row, column])

# %% [markdown]
# ## The other layers
#
# **Residual addition.** Codes of two scales cannot be added. $S_y(q_y - Z_y) = S_a(q_a - Z_a) + S_b(q_b - Z_b)$ gives
#
# $$q_y = Z_y + \text{round}\Bigl(\frac{S_a}{S_y}(q_a - Z_a) + \frac{S_b}{S_y}(q_b - Z_b)\Bigr): \tag{7}$$
#
# two factors, on a common grid of $2^{-20}$, and *one* rounding, after the sum.
#
# **Global average pooling** is a sum over positions; its division by $H W$ joins the factor: $M = S_x / (S_y\,H W)$.
#
# **Exercise 11.5.** Equation (7).


# %%
def add_codes(q_a, q_b, a, b, y):
    """Codes (N,), uint8, of the sum of what the codes q_a and q_b (N,), uint8, stand for. No ReLU.

    a, b, y: (scale, zero point) of both summands and of the sum. With m = round(2^20 · scale / scale of y), a
    Python integer, for each summand: (q_a − z_a)·m_a + (q_b − z_b)·m_b, divided by 2^20 and rounded once,
    a half to even; + z_y; clamped to 0 … 255. Sums are below 2^44; the dtype is uint8, cast last.
    """
    ...


check("11.5", add_codes)

# %% [markdown]
# ## The whole network, code by code
#
# "Runtime" rounds as ONNX Runtime does on x86. "Hardware" rounds as TensorFlow Lite and gemmlowp, Google's integer kernels, do on chips without floats: 31 bits of multiplier, but *two* roundings, so that all fits into 32-bit registers. The first, after the multiplication, sends halves up: $-7 \cdot \frac12 = -3.5$ becomes $-3$. The second, in the shift, sends them away from 0. By hand, $M = \frac12 \cdot 2^{-3}$ and $a = 7$: $3.5$ becomes $4$, and $4 / 8 = 0.5$ becomes $1$; rounded once, $7/16$ becomes $0$. The table counts the codes that differ from ONNX Runtime's. *Alone*: each layer reads the runtime's own codes. *Together*: it reads what the layers before it gave.

# %% tags=["nbval-ignore-output"]
compared = {rounding: compare_with_runtime(quantized, splits.test.images[::8], rounding=rounding)
            for rounding in ("runtime", "hardware")}
sums_of = {name: accumulators[called] for name, called in names.items()}  # (…, C) on some images
sums_of["pool"] = codes[convolutions[-1]].astype(int).sum((2, 3))  # (N, C)
rows = []
for layer in hardware.layers:
    if layer.name in sums_of:
        own, chip = (next(x for x in compared[kind] if x.layer == layer.name) for kind in compared)
        s = layer.rescale.shift  # one, or one a channel
        share = np.where(s > 0, 2.0 ** -(s + 1), 0)  # the second rounding errs this often: see below
        relu = layer.output.low == layer.output.zero
        expected = np.mean(share * (sums_of[layer.name] > 0)) if relu else np.mean(share)
        counts = (own.codes, own.together, chip.alone, round(own.codes * expected), chip.together)
        rows.append([names.get(layer.name, layer.name), f"{s.min()} … {s.max()}",
                     *(f"{count:,}" for count in counts), str(chip.together_largest)])
header = ["layer", "s", "codes", "runtime", "hardware, alone", "expected", "together", "by steps, at most"]
print(text_table(header, rows))

# %% tags=["nbval-ignore-output"]
teacher, _ = checkpoints.load(f"teacher_{splits.train.name}")
quantized_teacher = quantize_network(teacher, calibration)
few = splits.test.images[:: len(splits.test) // 50][:50]
of_teacher = {rounding: compare_with_runtime(quantized_teacher, few, rounding=rounding)
              for rounding in ("runtime", "hardware")}
shares = {"runtime rounding": [x.together / x.codes for x in of_teacher["runtime"]],
          "hardware rounding, alone": [x.alone / x.codes for x in of_teacher["hardware"]],
          "hardware rounding, together": [x.together / x.codes for x in of_teacher["hardware"]]}
layers = [x.layer.replace("stages.", "").removesuffix(".0") for x in of_teacher["runtime"]]
plots.parting_figure(layers, shares)

# %% tags=["nbval-ignore-output"]
differing = {role: sum(layer.together for layer in found["runtime"])
             for role, found in {"student": compared, "teacher": of_teacher}.items()}
claim("In the runtime's rounding every code of every layer is ONNX Runtime's, student and residual teacher",
      not any(differing.values()), hardware=True,
      measured=f"{differing['student']} and {differing['teacher']} codes differ", reference="0 and 0, x86")

# %% tags=["nbval-ignore-output"]
claim("In the hardware's rounding a layer alone is at most 1 step away",
      max(x.alone_largest for x in compared["hardware"] + of_teacher["hardware"]) <= 1, hardware=True)

# %% [markdown]
# (The claims are about this processor: on ARM the runtime adds with another kernel, and its own answers differ.)
#
# Why does the hardware's rounding part from the runtime's: because of its 31 bits against 24, or because it rounds twice? A control that has 31 bits and rounds once:

# %% tags=["nbval-ignore-output"]
reference, others = engine.tensors(some), {"twice": hardware, "once": variants["rounded once, half to even"]}
apart = {}
for times, network in others.items():
    tensors = network.tensors(some)
    apart[times] = sum(int((tensors[name] != reference[name]).sum()) for name in tensors)
print("codes that differ from the runtime's, with 31 bits: "
      f"rounded twice {apart['twice']:,}, once {apart['once']:,}")

# %%
claim("Of the hardware's differing codes less than a tenth are left when it rounds once.",
      apart["once"] < 0.1 * apart["twice"])

# %% [markdown]
# It is the second rounding. The first one leaves the product in steps of $2^{-s}$. What lay less than half such a step on the inner side of a half is now *at* the half, and the second rounding sends it away from 0: one number in $2^{s+1}$. That is the table's column *expected*. Where a ReLU follows, accumulators of 0 and less cannot differ, and are left out there. The smaller $s$, the larger the share of codes that differ: look at the pool.
#
# ## Where a simulation in floats differs
#
# `simulate` computes each layer in float32 on the numbers that codes stand for. Its scales are the same, its sums are not exact: each of $K$ additions rounds. Where a value lies next to a half, it may fall on the other side:

# %% tags=["nbval-ignore-output"]
from course_lib.quantization.calibrated import simulate

layer, channels_last = engine.layers[0], np.moveaxis(images, 1, -1)
sums, in_integers = layer.accumulators(channels_last), layer(channels_last)  # (N, H, W, C)
simulated = simulate(quantized, torch.tensor(images).float() / 255)[layer.name].numpy()
simulated = np.moveaxis(simulated, 1, -1)
parted = np.argwhere(simulated != in_integers)
print(f"first layer: {len(parted)} of {sums.size:,} codes differ")
for place in map(tuple, parted[:3]):
    multiplier, shift = layer.rescale.multiplier[place[-1]], layer.rescale.shift[place[-1]]
    print(f"accumulator {sums[place]}, M·a = {sums[place] * multiplier / 2.0**shift:.6f}: "
          f"simulated {simulated[place]}, in integers {in_integers[place]}")

# %% [markdown]
# Once a code differs, the layers behind it read another number. On all test images, FP32, simulated, in integers, and deployed:

# %% tags=["nbval-ignore-output"]
from course_lib.quantization.calibrated import simulated_logits
from course_lib.quantization.qdq import export_qdq

folder = tempfile.TemporaryDirectory()
session = open_session(export_qdq(quantized, Path(folder.name) / "student.onnx"), threads=1)
test = splits.test
pixels = test.batch(np.arange(len(test)))[0]  # float32 (N, 3, 32, 32)
parts = [session.run(None, {"images": part.numpy()})[0] for part in pixels.split(256)]
logits = {"FP32": predict_logits(student, test).numpy(),
          "simulated": simulated_logits(quantized, pixels).numpy(),
          "integers": engine.logit_codes(test.images, threads=2),
          "deployed": np.concatenate(parts)}
answers = {name: values.argmax(1) for name, values in logits.items()}
accuracy = {name: np.mean(found == test.labels) for name, found in answers.items()}
for name, found in answers.items():
    other = int((found != answers["deployed"]).sum())
    print(f"{name:10} {100 * accuracy[name]:.2f} % right; unlike the deployed answer: {other} of {len(test)}")

# %% tags=["nbval-ignore-output"]
per_thousand = 1000 * np.mean(answers["simulated"] != answers["integers"])
reveal("11.p1", per_thousand)

# %%
claim("Simulated and integers give the same answer to at least 99.5 % of the test images.", per_thousand <= 5)

# %% tags=["nbval-ignore-output"]
steps = logits["integers"].astype(np.int32) - engine.logits.zero_point.numpy()
restored = steps.astype(np.float32) * engine.logits.scale.numpy()
claim("Deployed and integers have the same logits on every test image",
      np.array_equal(restored, logits["deployed"]), hardware=True)

# %% [markdown]
# So the simulation is a good forecast of answers, and no proof of codes.
#
# ### What is not integer?
#
# Less than one would think. The image needs no quantization: a camera gives bytes, $x = q / 255$, so $S = 1/255$, $Z = 0$, and the byte *is* the code. The answer needs no real logits: $S > 0$, so the largest code is the largest logit. Scales were divided once, on the developer's machine. But ask of a network that is called integer what its rescaling step does: in many, ONNX Runtime's among them, it is a multiplication of floats. A chip without a float unit has to imitate that with many integer instructions, and is slow.
#
# ## How much memory?
#
# A small chip has its weights in flash, and in RAM, which is scarcer, only the tensors that are needed at the same time. Those places can be fixed before the network is shipped: nothing is allocated while it runs.
#
# **By hand,** a chain of tensors of 3, 8, 5 and 1 bytes. Step 1 reads the first and writes the second: 11 bytes. Step 2: 13. Step 3: 6. So 13 are needed. A residual block holds its input until the addition, and needs more.
#
# **Exercise 11.6.** For any network. A tensor that no step reads, such as the output, needs its place only while it is written.


# %%
def most_bytes(sizes, reads):
    """The most bytes that are needed at once.

    Tensor 0 is the network's input; step i = 1, 2, … writes tensor i, of sizes[i] bytes, and reads the
    tensors reads[i − 1] meanwhile. A tensor is needed from the step that writes it to the last step that
    reads it; one that no step reads, such as the output, in the step that writes it and in no other.
    """
    ...


check("11.6", most_bytes)

# %% [markdown]
# ## One C file
#
# Integers need no runtime. `c_source` writes the network as one file of C: the functions, one constant struct a layer, the weights. Nothing is allocated, nothing is a float, nothing is included but the names of the integer types. This is all that happens to an image, and how one accumulator becomes a step, with hardware's rounding. (The runtime's is longer: it imitates three roundings of floats.)

# %% tags=["nbval-ignore-output"]
from course_lib.quantization.integer import (
    c_source,
    code_lines,
    compile_c,
    find_compiler,
    footprint,
    load_c,
    memory_plan,
)

source = c_source(engine, title="The student")  # the runtime's rounding
source_hardware = c_source(hardware, title="The student, rounded as hardware does")
lines = code_lines(source_hardware)  # all but the numbers


def c_function(name):
    """Its text: from the line above the opening brace to the closing one."""
    start = next(i for i, line in enumerate(lines) if f" {name}(" in line and lines[i + 1] == "{")
    return "\n".join(lines[start : lines.index("}", start) + 1])


print(len(lines), "lines before the numbers; two of the functions:")
print(c_function("rescale"), c_function("classify"), sep="\n\n")

# %% [markdown]
# The numbers behind `arena` are the tensors' places. Does the plan reach the bound of exercise 11.6? The exercise counts image and logits, too; here they lie in the caller's memory. So compare like with like:

# %% tags=["nbval-ignore-output"]
from course_lib.quantization.integer import plan_arena

plan = memory_plan(engine)
arena = plan.arena
steps = [("images", ()), *((layer.name, layer.inputs) for layer in engine.layers)]
with_callers = plan_arena(steps, {name: tensor[0].size for name, tensor in codes.items()})
print(f"all tensors, as in 11.6: {with_callers.most_alive:,} bytes needed at once\n"
      f"without image and logits: {arena.most_alive:,} needed at once, the arena has {arena.size:,}\n"
      f"RAM, with sums and patches: {plan.ram_bytes(lane_bytes=1):,} bytes where the processor multiplies "
      f"bytes, {plan.ram_bytes(lane_bytes=2):,} where it multiplies numbers of 16 bits")

# %% [markdown]
# Then compile, and compare on every test image. (Where no compiler is, the page goes on without.) Its size depends on the compiler's aim: speed on this processor (`-O3 -march=native`), or little code (`-Os`).

# %% tags=["nbval-ignore-output"]
c_network, c_differ = None, 0
if find_compiler() is None:
    print("no C compiler here (cc, gcc or clang): nothing to compile, nothing to time")
else:
    c_network = load_c(compile_c(source, folder.name))
    c_differ = int((c_network(test.images) != logits["integers"]).sum())
    print(f"codes of logits compared: {logits['integers'].size:,}; different: {c_differ}")
    try:
        for size in (footprint(source, folder.name), footprint(source, folder.name, flags=("-Os",))):
            print(f"flash {size.flash_bytes:,} bytes, RAM {size.ram_bytes:,} bytes ({size.source})")
    except CourseError as error:
        print(error)  # no tool that reads the sections of an object

# %%
claim("The arena has no byte more than the fullest step needs of it.", arena.size == arena.most_alive)

# %% tags=["nbval-ignore-output"]
if c_network is not None:
    display(claim("The C file gives the integer network's code of every logit.", c_differ == 0))

# %% [markdown]
# And the time? Beside ONNX Runtime's INT8 and FP32, one image, one thread. Three *cadences*: *back to back*; *30 a second*, as a camera sends, where the core sleeps between; and the same with *one call ahead*, right before the timed one and thrown away.

# %% tags=["nbval-ignore-output"]
from course_lib import measure
from course_lib.deploy.onnx import export_onnx

one = test.images[:1]
numbers = {"images": one.astype(np.float32) / 255}
in_floats = open_session(export_onnx(student, Path(folder.name) / "fp32.onnx"), threads=1)
calls = {"runtime INT8": lambda: session.run(None, numbers),
         "runtime FP32": lambda: in_floats.run(None, numbers)}
if c_network is not None:
    on_chips = load_c(compile_c(source_hardware, folder.name))
    calls = {"C file": c_network.one(one), "C file again": c_network.one(one),
             "C, hardware rounding": on_chips.one(one), **calls}
camera = measure.THIRTY_A_SECOND
ahead = replace(camera, name="30 a second, one call ahead", ahead=1)
rounds = {measure.BACK_TO_BACK: 20, camera: 10, ahead: 10}
times = dict(zip(("back to back", "camera", "ahead"),
                 measure.latency_by_cadence(calls, rounds, warmup=20, threads=1, seed=0), strict=True))
for report in times.values():
    print(report, end="\n\n")

# %% tags=["nbval-ignore-output"]
after_pause = {name: times["camera"].p50(name) / times["back to back"].p50(name) for name in calls}
for name, ratio in after_pause.items():
    print(f"{name:21} at 30 a second {ratio:4.1f} × its time back to back")

# %% tags=["nbval-ignore-output"]
c_over_runtime = {}
if c_network is not None:
    c_over_runtime = {pace: report.ratio("C file", "runtime INT8") for pace, report in times.items()}
    display(reveal("11.p2", c_over_runtime["back to back"].value))
    display(claim("Back to back ONNX Runtime's INT8 is faster than the C file",
                  c_over_runtime["back to back"].low > 1, hardware=True))
    display(claim("At 30 a second the C file is faster",
                  c_over_runtime["camera"].high < 1, hardware=True))

# %% [markdown]
# On the machine that made this page, back to back the runtime is ahead of the file that equals it to the bit: its kernels are written by hand for this very processor, ours is one loop that the compiler vectorizes. How much of the distance is the price of imitating a float32's roundings? See how near the file comes that rounds as hardware does. At 30 a second the runtime's lead is gone, and the last table says where to: a call right before brings most of its time back. So most of what a single call of the *runtime* takes there is not arithmetic but coming back after a pause. The C file's time grows far less. Probably code and data have left the caches, more of a large program's, and the core has slowed down; nothing here tells these causes apart. On a chip with memory for little more than the weights there is no runtime to compare with.
#
# ## Pitfalls
#
# * **Arithmetic in the codes' own type.** In `uint8`, 3 − 200 is 59; NumPy keeps `uint8 @ int8` in 16 bits. Widen first.
# * **$K Z_x Z_w$ forgotten,** or padding with the code 0. Both are right wherever $Z = 0$, and wrong in the first network where it is not.
# * **An accumulator that held on all images so far.** That is no bound.
# * **Weights of 8 bits on processors that saturate.** Compare two processors, or keep 7.
# * **A cast before the clamp,** a clamp before the zero point, a shift before the multiplication.
# * **A rescaling step in floats, called integer-only.**
# * **Rounding twice.** Legal on hardware, but then say so, and compare with that hardware.
# * **Accuracy as the test of an integer kernel.** Compare codes.
# * **A simulation taken for the device.** Near halves they part.
# * **A time back to back** for what will run 30 times a second.
#
# ## Recap

# %% tags=["nbval-ignore-output"]
def percent(fraction):
    return f"{100 * fraction:.1f} %"


compared_codes = {role: sum(layer.codes for layer in found["runtime"])
                  for role, found in {"student": compared, "teacher": of_teacher}.items()}
c_words = "No C compiler was here."
if c_network is not None:
    c_words = (f"As C: {plan.ram_bytes(lane_bytes=1):,} or {plan.ram_bytes(lane_bytes=2):,} bytes of RAM, "
               f"by what the processor multiplies. Its time over ONNX Runtime's INT8: "
               f"back to back {c_over_runtime['back to back'].value:.1f} × (rounded as hardware does "
               f"{times['back to back'].ratio('C, hardware rounding', 'runtime INT8').value:.1f} ×), "
               f"at 30 a second {c_over_runtime['camera'].value:.1f} ×.")

# %% tags=["nbval-ignore-output"]
display(Markdown(f"""
1. One real factor is left in a layer. With 31 bits it is off by at most {max(errors) * 2**31:.2f} · 2⁻³¹.
2. By bound (5) accumulators reach {max(reachable.values()):,}, images gave {max(seen.values()):,}.
   Partial sums of raw codes stay within {max(on_the_way.values()):,}. 32 bits are proven.
   With 16 the student is {percent(right["accumulators of 16 bits"])} right, with 16 in all but the classifier
   {percent(right["all but the classifier"])}.
3. A cast before the clamp leaves {percent(right["cast before the clamp"])} right, a shift without rounding
   {percent(right["shift alone"])}, everything as it should be {percent(right["rounded once, half to even"])}.
4. With the runtime's rounding, {differing["student"]} of {compared_codes["student"]:,} codes of ONNX Runtime
   (student) and {differing["teacher"]} of {compared_codes["teacher"]:,} (teacher) differ from the integers.
   Hardware's second rounding makes {apart["twice"]:,} differ where one rounding makes {apart["once"]:,}.
5. Simulated and in integers, {per_thousand:.1f} of 1,000 test images get different answers. Right:
   {", ".join(f"{name} {percent(value)}" for name, value in accuracy.items())}.
6. {c_words}
"""))

# %% [markdown]
# Next: [12 · post-training quantization](12_post_training_quantization.ipynb). All ranges here came from smallest and largest values: what are better ones?
#
# ## References
#
# * B. Jacob et al. (2018). *Quantization and training of neural networks for efficient integer-arithmetic-only inference.* [arXiv:1712.05877](https://arxiv.org/abs/1712.05877): eq. 1 (codes), 5 and 6 (the factor), 7 and 8 (the four terms), appendix A.2 (addition), appendix B (rounding).
# * R. Krishnamoorthi (2018). *Quantizing deep convolutional networks for efficient inference.* [arXiv:1806.08342](https://arxiv.org/abs/1806.08342), section 2.
# * IEEE 754-2019, section 4.3.1: rounding halves to even.
# * gemmlowp, [low-precision.md](https://github.com/google/gemmlowp/blob/master/doc/low-precision.md) and [quantization.md](https://github.com/google/gemmlowp/blob/master/doc/quantization.md).
# * ONNX Runtime, [quantization](https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html): QDQ, and when to take 7 bits.
