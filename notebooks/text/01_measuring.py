# %% [markdown]
# # 01 · Measuring
#
# **What do "faster" and "smaller" mean?**
#
# You will be able to
#
# - count parameters, multiply-accumulates (MACs), bytes and non-zeros of a network, by hand and with the library;
# - time a network so that others, on another day, find the same ratio;
# - give every speed-up its interval, and say which question it answers;
# - say why fewer MACs save less time than they promise.
#
# **Prerequisites:** one network trained in PyTorch; chapter 00 helps.
# **Time:** 90 min, half of them for four exercises. The cells run in 1 min on 2 CPU cores.
#
# Symbols and terms, also in Chinese: [notation](../docs/notation.md).

# %%
import copy
import gzip
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown, display
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_lib import measure, plots, widgets
from course_lib.deploy.onnx import export_onnx, onnx_counts, open_session
from course_lib.evaluation import bootstrap_ratio
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.measure import claim
from course_lib.measure.reference import reference
from course_lib.measure.tables import text_table
from course_lib.models import SignStudent, sign_student, sign_teacher

IMAGE = (1, 3, 32, 32)  # one image: batch, channels, height, width
torch.manual_seed(0)
teacher, student = sign_teacher().eval(), sign_student().eval()

# %% [markdown]
# The **teacher** is a large network for traffic signs, the **student** a small one (smaller still than chapter 00's). Their
# weights are random: a multiplication by 0.3 takes as long as one by 0.7.
#
# Here is a benchmark as many posts have it. Make both models, call each once, divide the times: the **speed-up**.


# %% tags=["nbval-ignore-output"]
def call_ms(function):
    """Milliseconds of one call."""
    start = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - start)


def careless_speedup():
    image, big, small = torch.rand(IMAGE), sign_teacher(), sign_student()
    return call_ms(lambda: big(image)) / call_ms(lambda: small(image))


careless = [careless_speedup()]
print(f"The student is {careless[0]:.1f} times faster than the teacher.")

# %% [markdown]
# Run that cell a few times: the answer changes. It has at least six faults. Can you name three?
#
# ## Predict first
#
# How many times faster is the student?

# %%
macs = {
    name: measure.total_macs(model, IMAGE) for name, model in {"teacher": teacher, "student": student}.items()
}
macs_ratio = macs["teacher"] / macs["student"]
print(f"The student needs {macs_ratio:.1f} times fewer multiplications than the teacher.")
print("One image at a time, on one thread: how many times faster is it?")

# %% tags=["nbval-ignore-output"]
guess = None  # your number here; the chapter comes back to it
predict("01.p", guess, sure=None)  # sure: in per cent, such as 70

# %% [markdown]
# ## Smaller: four counts
#
# "Smaller" has four meanings: fewer **parameters**, fewer **MACs**, fewer **bytes**, more **zeros**. None
# is time.
#
# ### Parameters and MACs
#
# A convolution slides $C_{out}$ filters over its input. Each filter has $C_{in}/g$ channels of $k_h \times k_w$
# weights, where $C_{in}$ is the number of input channels and $g$ the number of groups (1 in an ordinary convolution).
# So, without bias,
#
# $$\text{parameters} = C_{out} \cdot \frac{C_{in}}{g} \cdot k_h \cdot k_w .$$
#
# Each number of the output is one dot product of a filter with a patch of the input. Its length is
# $\frac{C_{in}}{g} k_h k_w$, and every step multiplies and adds: one **multiply-accumulate**, MAC. There are
# $C_{out} \cdot H_{out} \cdot W_{out}$ outputs for each of $B$ images, so
#
# $$\text{MACs} = B \cdot C_{out} \cdot H_{out} \cdot W_{out} \cdot \frac{C_{in}}{g} \cdot k_h \cdot k_w ,
# \qquad \text{FLOP} = 2 \cdot \text{MACs}.$$
#
# A MAC is two floating-point operations (FLOP), but many tables head a column of MACs "FLOPs".
#
# **Four outputs by hand.** Take $x = \begin{pmatrix}1&0&2\\3&1&0\\0&2&1\end{pmatrix}$ and the filter
# $w = \begin{pmatrix}1&2\\3&4\end{pmatrix}$. The filter fits in four places:
#
# - top left: $1\cdot1 + 2\cdot0 + 3\cdot3 + 4\cdot1 = 14$; top right: $1\cdot0 + 2\cdot2 + 3\cdot1 + 4\cdot0 = 7$;
# - bottom left: $1\cdot3 + 2\cdot1 + 3\cdot0 + 4\cdot2 = 13$; bottom right: $1\cdot1 + 2\cdot0 + 3\cdot2 + 4\cdot1 = 11$.
#
# Four weights, four outputs, $4 \cdot 4 = 16$ MACs, 32 FLOP. Now one MAC at a time, in code.


# %%
def naive_conv(x, w):
    """Convolution of x (C_in, H, W) with w (C_out, C_in, k, k), no padding, stride 1; counts its MACs."""
    c_out, c_in, k, _ = w.shape
    y, count = torch.zeros(c_out, x.shape[1] - k + 1, x.shape[2] - k + 1), 0
    for o, i, j in np.ndindex(*y.shape):
        for c, u, v in np.ndindex(c_in, k, k):
            y[o, i, j] += w[o, c, u, v] * x[c, i + u, j + v]
            count += 1
    return y, count


x = torch.tensor([[[1.0, 0, 2], [3, 1, 0], [0, 2, 1]]])
y, count = naive_conv(x, torch.tensor([[[[1.0, 2], [3, 4]]]]))
print(y[0].tolist(), count, "MACs")

# %%
conv = nn.Conv2d(3, 4, 3, bias=False)
x = torch.rand(3, 8, 8)
y, count = naive_conv(x, conv.weight.detach())
claim(
    "The naive loop computes what PyTorch computes, and counts as many MACs as the library",
    torch.allclose(y, conv(x), atol=1e-5) and count == measure.total_macs(conv, (1, 3, 8, 8)),
)

# %% [markdown]
# From here on the library counts. PyTorch has a counter of its own, which reports FLOP:

# %%
flop = {}
for name, model in {"teacher": teacher, "student": student}.items():
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.rand(IMAGE))
    flop[name] = counter.get_total_flops()
claim(
    "For both networks PyTorch's counter reports exactly 2 FLOP per MAC",
    all(flop[n] == 2 * macs[n] for n in macs),
)

# %% [markdown]
# Where do the student's MACs and parameters sit?

# %%
layers = measure.count_layers(student, IMAGE)
rows = [
    [row.name, "×".join(map(str, row.output_shape[1:])), f"{row.parameters:,}", f"{row.macs:,}"]
    for row in layers.values()
]
print(text_table(["layer", "output", "parameters", "MACs"], rows))

# %%
first, last = layers["features.0.0"], layers["features.4.0"]
print(f"The last convolution has {last.parameters / first.parameters:.0f} times the parameters of the first,")
print(f"but only {last.macs / first.macs:.0f} times the MACs: its output has fewer pixels.")

# %% [markdown]
# In most networks for images parameters sit late, where channels are many. MACs are spread more evenly, since early maps
# are large. Cutting a third of one need not cut a third of the other.
#
# **Your turn.** Count the MACs of a convolution (without its bias): stride, padding, groups, rectangular kernels, and each of them may differ along the two axes. Without dilation the output's height is
# $H_{out} = \lfloor (H + 2p - k_h)/s \rfloor + 1$ with padding $p$ and stride $s$.


# %%
def conv_macs(conv: nn.Conv2d, height: int, width: int) -> int:
    """MACs of ``conv`` for one image of height × width."""
    ...


check("01.1", conv_macs)

# %% [markdown]
# ### Bytes
#
# A parameter in FP32 (32 bits) takes 4 bytes. What you ship is a file, and it holds the graph as well: names, shapes,
# operators. So export the models and measure the files.

# %%
folder = tempfile.TemporaryDirectory()
files = {
    name: export_onnx(model, Path(folder.name) / f"{name}.onnx")
    for name, model in {"teacher": teacher, "student": student}.items()
}
counts = {name: onnx_counts(path) for name, path in files.items()}
rows = [
    [name, f"{measure.count_parameters(model):,}", f"{c.parameters:,}",
     measure.quantity(4 * c.parameters, "B"), measure.quantity(c.deployable_bytes, "B"),
     f"{100 * (c.deployable_bytes / (4 * c.parameters) - 1):.1f} %"]
    for (name, c), model in zip(counts.items(), (teacher, student), strict=True)
]
print(text_table(["model", "parameters", "in the file", "× 4 bytes", "file", "beyond the weights"], rows))

# %% [markdown]
# The file is hardly larger than its weights. It has fewer parameters than the PyTorch model, because the export folds each
# BatchNorm into the convolution before it. Count the file that you deploy.
#
# **Fewer bits.** Four weights in FP32 take 16 bytes. Quantized to INT8 they take 4 bytes, *plus* the scale that turns
# codes back into numbers, 4 bytes: $16/8 = 2\times$ smaller, not $4\times$. Large tensors come near 4.
#
# **Your turn.** How many bytes does a convolution's weight take at $b$ bits? The codes are packed without gaps, and each
# output channel has one scale in FP32. There is no zero point (the codes are symmetric).


# %%
def weight_bytes(shape: tuple, bits: int) -> int:
    """Bytes of a weight (C_out, C_in, k_h, k_w): its packed codes, and one FP32 scale per output channel."""
    ...


check("01.2", weight_bytes)

# %% [markdown]
# ### Zeros
#
# Set the 90 % smallest weights of every layer to zero. Is the file smaller now?

# %%
sparse = copy.deepcopy(student)
with torch.no_grad():
    for weight in (p for p in sparse.parameters() if p.ndim > 1):
        weight[weight.abs() < weight.abs().quantile(0.9)] = 0
files["sparse"] = export_onnx(sparse, Path(folder.name) / "sparse.onnx")
counts["sparse"] = onnx_counts(files["sparse"])
zipped = {name: len(gzip.compress(files[name].read_bytes())) for name in ("student", "sparse")}
rows = [
    [name, f"{c.parameters:,}", f"{c.nonzeros:,}", measure.quantity(c.deployable_bytes, "B"),
     f"{100 * zipped[name] / c.deployable_bytes:.0f} % of it"]
    for name, c in counts.items() if name in zipped
]
print(text_table(["model", "parameters", "not zero", "file", "after gzip"], rows))

# %%
claim(
    "Zeros do not shrink the file by a single byte",
    counts["sparse"].deployable_bytes == counts["student"].deployable_bytes,
)

# %% [markdown]
# The *download* shrinks; the file that the runtime opens does not. Does the runtime at least skip the zeros? We will time it.
#
# ## Faster: one call is no measurement
#
# From here on the models run in ONNX Runtime: one image at a time (batch 1), one thread.


# %% tags=["nbval-ignore-output"]
def runner(name, *, threads=1, batch=1):
    """A function without arguments that runs the exported model once, in a session of its own."""
    session = open_session(files[name], threads=threads)
    feed = {"images": np.random.default_rng(0).random((batch, 3, 32, 32), dtype=np.float32)}
    return lambda: session.run(None, feed)


features = measure.cpu_features()
print(f"{features['model']}, {features['cores']} cores, {', '.join(features['isa'])}")

# %% [markdown]
# ### Warm up
#
# Open a fresh session and time each call.

# %% tags=["nbval-ignore-output"]
first_calls = {}
for name in ("teacher", "student"):
    run = runner(name)
    first_calls[name] = np.array([call_ms(run) for _ in range(20)])
plots.first_calls_figure(first_calls)

# %% tags=["nbval-ignore-output"]
first_ratio = {name: ms[0] / np.median(ms[1:]) for name, ms in first_calls.items()}
for name, ratio in first_ratio.items():
    print(f"{name}: the first call takes {ratio:.1f} times the median of the others")

# %% [markdown]
# The first call allocates memory and finds the caches (small fast memories near the core) empty. Among thousands of calls
# the first ones do not matter: throw them away, and say how many.
#
# ### Median and p95, not the mean
#
# **Four calls by hand.** You time 2, 2, 2 and 10 ms: another program had the core during the last call. The mean is
# $(2+2+2+10)/4 = 4$ ms, a time that *no call took*. The median, the middle of the sorted times (of an even number: the mean of the two middle ones), is 2 ms, and it stays 2 ms if
# the slow call takes 10 seconds.

# %%
for slowest in (10, 10_000):
    times = np.array([2, 2, 2, slowest])
    print(f"slowest {slowest:6} ms: mean {times.mean():6.0f} ms, median {np.median(times):.0f} ms")

# %% [markdown]
# Now 2,000 real calls:

# %% tags=["nbval-ignore-output"]
run = runner("student")
single_calls = np.array([call_ms(run) for _ in range(2000)])[20:]
print(f"mean / median = {single_calls.mean() / np.median(single_calls):.2f}")
plots.distribution_figure(single_calls)

# %% [markdown]
# Little makes a call much *faster* than usual, much makes it slower: the tail is long. So report the **median** (p50), what
# a call usually takes, and **p95**, the time that 95 % of the calls stay within: sort the times and go 95 % of the way up,
# `np.percentile(times, 95)`. For a deadline p95 is too mild: of 30 pictures a second, 1.5 come later. Ask for p99.9, or
# the slowest call seen.
#
# ### Interleave
#
# Processors slow down when they get hot, and other programs start and stop. If you time all calls of A, then all of B
# (in **blocks**), B meets another machine. **Interleaved**, they take turns: one call of each is a **round**.
#
# To know the truth, simulate. Variant A takes 2 ms and B takes 1 ms, so the true ratio is $r = 2$. With each call the clock slows down by the same amount, in all by a fraction $d$
# over the session (all calls of one benchmark). In blocks, A meets on average the slow-down $d/4$ and B $3d/4$, so you will measure
#
# $$r \cdot \frac{1 + d/4}{1 + 3d/4} .$$
#
# Interleaved, both meet $d/2$ on average, and it cancels.

# %%
from course_lib.measure.simulation import simulate_session

drift = 0.5
common = {"rounds": 100, "drift": drift, "interruptions": 0.0, "seed": 0}
blocks = simulate_session(2.0, interleaved=False, **common)
mixed = simulate_session(2.0, interleaved=True, **common)
plots.drift_figure(blocks, mixed, 2.0)

# %%
expected = 2.0 * (1 + drift / 4) / (1 + 3 * drift / 4)
in_blocks = blocks.a_ms.mean() / blocks.b_ms.mean()
claim("In blocks you measure what the formula says, within 2 %", abs(in_blocks / expected - 1) < 0.02)

# %%
paired = bootstrap_ratio(mixed.a_ms, mixed.b_ms, seed=0)
print(f"blocks, ratio of means: {in_blocks:.2f} (by the formula {expected:.2f})")
print(f"interleaved, median of the rounds' ratios: {paired.value:.2f} (truth 2)")
claim("Interleaved you measure the truth within 2 %", abs(paired.value / 2.0 - 1) < 0.02)

# %% [markdown]
# **And on your machine?** One ratio is known anywhere: a model against *itself*, 1. This is the **A/A test**. Each line
# repeats it ten times with equally many calls. How far do the ten scatter, and how many of their 95 % intervals hold 1?

# %% tags=["nbval-ignore-output"]
same = [runner("student"), runner("student")]
aa, held_one = {"blocks": [], "interleaved": []}, 0
rng = np.random.default_rng(0)
for seed in range(10):
    times = [np.median([call_ms(run) for _ in range(60)]) for run in same]
    aa["blocks"].append(times[0] / times[1])
    rounds = np.empty((60, 2))
    for row in rounds:
        for i in rng.permutation(2):  # neither always goes first
            row[i] = call_ms(same[i])
    ratio = bootstrap_ratio(rounds[:, 0], rounds[:, 1], seed=seed)  # explained right below
    aa["interleaved"].append(ratio.value)
    held_one += ratio.includes(1)
for design, ratios in aa.items():
    print(f"{design:12} ratio of a model to itself: from {min(ratios):.3f} to {max(ratios):.3f}")
print(f"{held_one} of the 10 intervals (interleaved) hold 1")

# %% tags=["nbval-ignore-output"]
aa_spread = {design: 100 * (max(ratios) / min(ratios) - 1) for design, ratios in aa.items()}
claim(
    "Interleaving makes the A/A test narrower",
    aa_spread["interleaved"] < aa_spread["blocks"],
    hardware=True,
    measured=f"highest over lowest: interleaved {aa_spread['interleaved']:.1f} % "
    f"(in blocks {aa_spread['blocks']:.1f} %)",
    reference=reference("measuring", "aa_spread_interleaved"),
)

# %% [markdown]
# An A/A test shows whether intervals are wide enough: if fewer than eight of ten hold 1, distrust them. It cannot show a
# bias: what favours short calls over long ones favours neither here.
#
# ### An interval for the ratio
#
# Round $i$ times both variants, $a_i$ and $b_i$, within milliseconds. What disturbs both cancels in $a_i/b_i$. How to sum
# up the rounds?
#
# **Two rounds by hand.** $a = (2, 1)$ ms, $b = (1, 2)$ ms. The variants are equally fast. The ratios $a_i/b_i$ are 2 and ½, and
# their mean is 1.25: "B is 25 % faster". But the ratios $b_i/a_i$ are ½ and 2, so A is 25 % faster, too. Take logarithms instead: $\log 2$ and $-\log 2$, whose middle is 0, and $e^0 = 1$. So the course's ratio is
#
# $$\hat r = \exp\left(\operatorname{median}_i \log \frac{a_i}{b_i}\right).$$
#
# How far could $\hat r$ be off? The **bootstrap** repeats the session 2,000 times with what you have: draw $n$ rounds out
# of your $n$, *with replacement*, and compute $\hat r$. Keep the middle 95 %. That covers what varies *within* this session,
# not what differs on another day: quote several sessions.


# %%
def naive_interval(a, b, seed):
    """The middle 95 % of the ratio over 2,000 re-drawn sessions."""
    log_ratio, rng = np.log(a / b), np.random.default_rng(seed)
    draws = rng.integers(0, len(a), size=(2000, len(a)))
    return np.exp(np.quantile(np.median(log_ratio[draws], axis=1), [0.025, 0.975]))


low, high = naive_interval(mixed.a_ms, mixed.b_ms, seed=0)
print(f"ratio {paired.value:.2f}, 95 % interval [{low:.2f}, {high:.2f}]")
claim("The six-line bootstrap equals the library's", np.allclose([low, high], [paired.low, paired.high]))

# %% [markdown]
# Does a 95 % interval hold what it promises? Simulate 100 sessions with drift (the slowing clock) and 5 % of the calls
# interrupted.

# %%
held = 0
for seed in range(100):
    session = simulate_session(2.0, 40, drift=0.5, interruptions=0.05, interleaved=True, seed=seed)
    interval = bootstrap_ratio(session.a_ms, session.b_ms, seed=seed)
    held += interval.low <= 2.0 <= interval.high
print(f"The interval holds the truth in {held} of 100 sessions.")
claim("About 95 % of the 95 % intervals hold the truth", 89 <= held <= 99)

# %% [markdown]
# Now break a benchmark yourself. Which of the four methods survives drift? Which interruptions? What do more rounds
# *not* mend?

# %%
widgets.benchmark_figure(rounds=40, drift=50, interruptions=5, seed=0)

# %% tags=["nbval-ignore-output"]
widgets.benchmark_explorer()

# %%
from course_lib.measure.simulation import speedup_estimates

many = speedup_estimates(2.0, 1000, drift=0.5, interruptions=0.05, seed=0)
for method, e in many.items():
    print(f"{method:42} {e.value:.2f} [{e.low:.2f}, {e.high:.2f}]")
claim(
    "With 1,000 rounds in blocks the interval of the medians is narrow and does not hold the truth",
    many["blocks, ratio of medians"].high < 1.9,
)

# %% [markdown]
# An interval tells how much your answer would move if you drew such rounds again. It cannot tell that you measured the wrong thing.
#
# **Your turn.** Sum up an interleaved run: median and p95 of the variant, and the course's ratio $\hat r$ of baseline over variant.


# %%
def compare_times(baseline_ms, variant_ms):
    """(p50 of the variant, its p95, ratio baseline / variant); entry i of both belongs to round i."""
    ...


check("01.3", compare_times)

# %% [markdown]
# ## One pair of models, several "speed-ups"
#
# `measure.latency` does all of this: warm-up, rounds in shuffled order, medians, the interval. Every sample is one call.

# %% tags=["nbval-ignore-output"]
report = measure.latency(
    {name: runner(name) for name in ("teacher", "student")},
    warmup=20,
    repeats=100,
    threads=1,
    seed=0,
)
speedup = report.ratio("teacher", "student")
print(report)

# %% [markdown]
# Can you trust it? On a machine with more programs than cores a long call is almost always interrupted and a short one
# rarely. That is a bias, and no interval shows it. If the median is far above the fastest call, which nobody
# interrupted, close other programs and run again.

# %% tags=["nbval-ignore-output"]
crowding = report.p50("teacher") / report.samples("teacher").min()
claim(
    "The machine is quiet: the teacher's median call takes less than 1.5 times its fastest",
    crowding < 1.5,
    hardware=True,
    measured=f"{crowding:.2f} ×",
    reference=reference("measuring", "crowding"),
)

# %% tags=["nbval-ignore-output"]
dense_and_sparse = {name: runner(name) for name in ("student", "sparse")}
pace = measure.BACK_TO_BACK  # many calls a round: the finest comparison
calls = measure.latency(dense_and_sparse, warmup=20, repeats=60, threads=1, seed=0, cadence=pace)
zeros = calls.ratio("student", "sparse")
claim(
    "90 % zeros change the student's time by less than 10 %: a zero is multiplied like any number",
    zeros.low > 0.9 and zeros.high < 1.1,
    hardware=True,
    measured=f"{zeros.value:.2f} × [{zeros.low:.2f}, {zeros.high:.2f}]",
    reference=reference("measuring", "zeros_speedup"),
)

# %% [markdown]
# ### Cadence: what does a call find?
#
# What a call finds depends on the **cadence**, the way calls follow one another:
#
# - **back to back**: the same network again at once. Its data lie in the caches.
# - **in turn**, as above: single calls, other networks between. The caches hold something else.
# - **30 a second**: a camera. The core sleeps for some 30 of every 33 ms.
#
# Two more look for the reason. Waiting **awake**, in a loop that only looks at the clock, leaves out the sleep. One call
# **ahead**, thrown away right before each timed one, shows how much can be won back.

# %% tags=["nbval-ignore-output"]
from dataclasses import replace

camera = measure.THIRTY_A_SECOND
paces = {
    measure.BACK_TO_BACK: 30,
    measure.IN_TURN: 100,
    camera: 12,
    replace(camera, name="30 a second, awake", awake=True): 12,
    replace(camera, name="30 a second, one call ahead", ahead=1): 12,
}
pair = {name: runner(name) for name in ("teacher", "student")}
reports = measure.latency_by_cadence(pair, paces, warmup=20, threads=1, seed=0)
paced = {found.cadence.name: found for found in reports}
by_pace = {name: found.ratio("teacher", "student") for name, found in paced.items()}
more = {
    name: [found.p50(model) - paced["back to back"].p50(model) for model in pair]
    for name, found in paced.items()
}
rows = [
    [name, *(f"{found.p50(m):.3f} ({more[name][i]:+.2f})" for i, m in enumerate(pair)),
     measure.ratio_text(by_pace[name])]
    for name, found in paced.items()
]
print(text_table(["cadence", "teacher, ms (more)", "student, ms (more)", "times faster"], rows))

# %% tags=["nbval-ignore-output"]
slower = {m: paced[camera.name].p50(m) / paced["back to back"].p50(m) for m in pair}
claim(
    "At 30 calls a second the student loses more than the teacher: the speed-up is smaller",
    by_pace[camera.name].high < by_pace["back to back"].low,
    hardware=True,
    measured=f"teacher {slower['teacher']:.2f} ×, student {slower['student']:.2f} × slower; speed-up "
    f"{by_pace['back to back'].value:.1f} × → {by_pace[camera.name].value:.1f} ×",
    reference=reference("measuring", "speedup_30_hz"),
)

# %% [markdown]
# All of these are true, and an advertisement can choose. In parentheses stands what a call costs beyond back to back. Part of
# that is the same for every call and weighs more on a small network. How much is sleep, caches or clock these rows cannot
# tell for certain. Below, calls are *in turn* where nothing else is said.
#
# ### Other questions about the same pair
#
# The same pair on the same machine, measured in ways that others publish:

# %% tags=["nbval-ignore-output"]
careless += [careless_speedup() for _ in range(8)]
image = torch.rand(IMAGE)
with torch.inference_mode(), measure.torch_threads(1):
    eager = measure.latency(
        {"teacher": lambda: teacher(image), "student": lambda: student(image)},
        warmup=5, repeats=30, threads=1, seed=0,
    ).ratio("teacher", "student")
cores = max(2, os.cpu_count() or 2)
ways = {}
for way, options, repeats in (("batch", {"batch": 128}, 8), ("cores", {"threads": cores}, 40)):
    variants = {name: runner(name, **options) for name in ("teacher", "student")}
    ways[way] = measure.latency(
        variants, warmup=1, repeats=repeats, threads=options.get("threads", 1), seed=0
    ).ratio("teacher", "student")


# %% tags=["nbval-ignore-output"]
def interval(ratio):
    return ratio.value, ratio.low, ratio.high


speedups = {
    "eager PyTorch, train mode, first call, one run": (careless[0], min(careless), max(careless)),
    "eager PyTorch, eval mode, warm": interval(eager),
    "ONNX Runtime, batch 128": interval(ways["batch"]),
    f"ONNX Runtime, batch 1, {cores} threads": interval(ways["cores"]),
    "ONNX Runtime, batch 1, 1 thread, back to back": interval(by_pace["back to back"]),
    "ONNX Runtime, batch 1, 1 thread, in turn": interval(speedup),
    "ONNX Runtime, batch 1, 1 thread, 30 a second": interval(by_pace[camera.name]),
    "MACs: no time at all": (macs_ratio, macs_ratio, macs_ratio),
}
plots.speedups_figure(speedups)

# %% tags=["nbval-ignore-output"]
rows = [
    [way, f"{v:.1f}", "–" if low == high else f"{low:.1f} to {high:.1f}"]
    for way, (v, low, high) in speedups.items()
]
print(text_table(["measured as", "times faster", "interval (first row: range of 9 tries)"], rows))

# %% tags=["nbval-ignore-output"]
reveal("01.p", speedup.value)

# %% tags=["nbval-ignore-output"]
measured = [value for way, (value, _, _) in speedups.items() if "no time" not in way]
print(f"timed: from {min(measured):.1f} to {max(measured):.1f} times faster; by MACs: {macs_ratio:.1f}")

# %% [markdown]
# They differ because they answer different questions:
#
# - **Eager PyTorch (layer by layer, from Python), train mode, first call, one run.** The benchmark from the beginning, with
#   its six faults: train mode, autograd on, no warm-up, a single call, no turns, no interval.
# - **Eager, eval mode, warm.** A fair timing of *PyTorch*. Every layer costs some microseconds of Python; a small
#   network consists mostly of that.
# - **Batch 128.** A question about servers: fixed costs per call vanish, but a car cannot wait for 128 images. (Only 8
#   rounds: rough.)
# - **More threads.** Splitting a layer costs a fixed time, which large layers repay more easily.
# - **Batch 1, one thread, the runtime that ships, interleaved.** The question of this course, in three cadences.
#
# Of every speed-up say *than what, on what, in which runtime, at which batch, thread count and cadence, ± what*.
#
# ## Why MACs mislead
#
# Write a latency as work over the speed that was reached: $t = 2\,\text{MACs} / v$, $v$ in FLOP/s. Then, for teacher $T$ and
# student $S$,
#
# $$\frac{t_T}{t_S} = \frac{\text{MACs}_T}{\text{MACs}_S} \cdot \frac{v_S}{v_T} .$$
#
# A MACs ratio is a speed-up if and only if both networks run at the same speed.

# %% tags=["nbval-ignore-output"]
from course_lib.measure.roofline import achieved_gflops

speed = {name: achieved_gflops(macs[name], report.p50(name)) for name in macs}
print(f"teacher {speed['teacher']:.1f} GFLOP/s, student {speed['student']:.1f} GFLOP/s")
product = macs_ratio * speed["student"] / speed["teacher"]
print(f"{macs_ratio:.1f} × {speed['student'] / speed['teacher']:.2f} = {product:.1f}")
print(f"ratio of the median times: {report.p50('teacher') / report.p50('student'):.1f}")

# %% [markdown]
# ### The roofline
#
# Why do layers run at different speeds? A layer must do $W = 2\,\text{MACs}$ operations and move $Q$ bytes (weights, input, output).
# Let $P$ be the processor's peak in FLOP/s and $\beta$ the memory's bandwidth in bytes/s. Then it needs at least $W/P$
# seconds to compute and $Q/\beta$ seconds to move, if every tensor travels once between memory and core. At best the two overlap, and the longer
# one decides:
#
# $$t \ge \max\left(\frac{W}{P}, \frac{Q}{\beta}\right) \iff v = \frac{W}{t} \le \min(P,\ I \cdot \beta), \qquad
# I = \frac{W}{Q} .$$
#
# $I$ is the **arithmetic intensity**: FLOP per byte moved. Drawn over $I$, the right side looks like a roof. Its slanted part meets the flat one at
# $I = P/\beta$, the **ridge**.
#
# **By hand.** One output from four inputs and four weights: 4 MACs, so $W = 8$ FLOP; $4 + 4 + 1 = 9$ numbers of 4 bytes, so $Q = 36$ bytes.
# $I = 8/36 = 0.22$. In a matrix times a vector every weight is used once. A convolution uses each weight at
# every position, so its intensity is high.

# %%
tiny = nn.Linear(4, 1, bias=False)
(row,) = measure.count_layers(tiny, (1, 4)).values()
print(f"the library: {2 * row.macs} FLOP over {row.bytes_moved} bytes")

# %% [markdown]
# $P$ and $\beta$ come from *your* machine: a large matrix product for compute, a sum of long arrays (STREAM's "triad") for memory.
# Arrays that fit the large cache give a second, higher slanted roof, drawn dashed. A roof is the best that was reached, the fastest sample.

# %% tags=["nbval-ignore-output"]
peak = measure.peak_compute_gflops(threads=1, seconds=1.0, size=512)
bandwidth = measure.peak_bandwidth_gbs(threads=1, seconds=1.0, array_mib=128)
cache = measure.peak_bandwidth_gbs(threads=1, seconds=0.5, array_mib=1)
print(f"compute   {peak.high:6.1f} GFLOP/s  ({peak.method})")
print(f"memory    {bandwidth.high:6.1f} GB/s     ({bandwidth.method})")
print(f"cache     {cache.high:6.1f} GB/s     ({cache.method})")
print(f"ridge     {peak.high / bandwidth.high:6.1f} FLOP/byte: below this intensity, memory is the limit")

# %% [markdown]
# ONNX Runtime can write down how long each operator took. Put every layer under the roof.

# %% tags=["nbval-ignore-output"]
from course_lib.deploy.onnx.profile import layer_times_ms
from course_lib.measure.roofline import roofline_points

one_image = np.random.default_rng(0).random(IMAGE, dtype=np.float32)
points, layer_ms = {}, {}
for name, model in {"teacher": teacher, "student": student}.items():
    layer_counts = measure.count_layers(model, IMAGE)
    layer_ms[name] = layer_times_ms(files[name], one_image, layer_counts, threads=1, warmup=20, repeats=100)
    points[name] = roofline_points(layer_counts, layer_ms[name])
plots.roofline_figure(peak.high, bandwidth.high, points, cache_gbs=cache.high)

# %% tags=["nbval-ignore-output"]
rows = [
    [f"{name} {p.name}", f"{p.intensity:.1f}", f"{1000 * layer_ms[name][p.name]:.0f}", f"{p.gflops:.1f}",
     f"{100 * p.gflops / min(peak.high, p.intensity * bandwidth.high):.0f} %",
     f"{100 * p.gflops / min(peak.high, p.intensity * cache.high):.0f} %"]
    for name, layers in points.items() for p in layers
]
print(text_table(["layer", "FLOP/byte", "µs", "GFLOP/s", "of memory's roof", "of the cache's"], rows))

# %% tags=["nbval-ignore-output"]
everything = [p for layers in points.values() for p in layers]
highest = max(p.gflops / min(peak.high, p.intensity * bandwidth.high) for p in everything)
under_cache = max(p.gflops / min(peak.high, p.intensity * cache.high) for p in everything)
print(f"highest share: {100 * highest:.0f} % of memory's roof, {100 * under_cache:.0f} % of the cache's")

# %% tags=["nbval-ignore-output"]
fastest, slowest = (choose(everything, key=lambda p: p.gflops) for choose in (max, min))
claim(
    "Layers of the same two networks run at speeds that differ more than tenfold",
    fastest.gflops > 10 * slowest.gflops,
    hardware=True,
    measured=f"{fastest.gflops / slowest.gflops:.0f} × ({slowest.name} {slowest.gflops:.1f}, "
    f"{fastest.name} {fastest.gflops:.1f} GFLOP/s)",
    reference=reference("measuring", "layer_speed_spread"),
)

# %% [markdown]
# How to read it:
#
# - **Right of the ridge, near the flat roof:** most of the teacher's 3×3 convolutions. Only fewer operations, or narrower
#   ones (INT8), make them faster.
# - **On the slope:** shortcuts, late layers, most of the student. Some pass main memory's roof: their weights lie in a
#   cache. A row's µs times its share of a roof is the least time that this roof allows.
# - **Far left:** the classifiers, matrix times vector. Most of their microseconds are overhead.
#
# A point a little *above* the flat roof has a better kernel (the routine that computes a layer) than the matrix product;
# far above it, the roof was measured on a busy core. The lower slanted roof is *main memory's*;
# where a network's weights fit the caches, the dashed one counts.
#
# **Your turn.** Turn the roofline into a bound on time: the least time in ms, one number, if all bytes come from main memory. A GFLOP/s is $10^9$ FLOP/s, a GB/s $10^9$ bytes/s.


# %%
def least_time_ms(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    """The time in ms below which the roofline does not let this layer go (all bytes from main memory)."""
    ...


check("01.4", least_time_ms)

# %% [markdown]
# Move one convolution under your roof. When does it leave the slanted part? What does "depthwise" (one filter for each channel,
# $g = C_{in}$) do to it, and a larger batch for a 1×1 map?

# %% tags=["nbval-ignore-output"]
widgets.layer_roofline_figure(
    peak.high, bandwidth.high, channels=32, size=16, kernel=3, kind="depthwise", batch=1
)

# %% tags=["nbval-ignore-output"]
widgets.roofline_explorer(peak.high, bandwidth.high)

# %%
dense, depthwise = (
    measure.count_layers(nn.Conv2d(32, 32, 3, padding=1, groups=g, bias=False), (1, 32, 16, 16))[""]
    for g in (1, 32)
)
print(f"dense: {dense.macs:,} MACs at {dense.arithmetic_intensity:.1f} FLOP/byte")
print(f"depthwise: {depthwise.macs:,} MACs at {depthwise.arithmetic_intensity:.1f} FLOP/byte")

# %% [markdown]
# ### The floor
#
# One cost is under no roof: the call itself. Build a student with *one* channel in each layer: as many layers, next to no
# arithmetic.

# %% tags=["nbval-ignore-output"]
empty = SignStudent(channels=[1] * 5).eval()
files["empty"] = export_onnx(empty, Path(folder.name) / "empty.onnx")
floor = measure.latency(
    {n: runner(n) for n in ("teacher", "student", "empty")}, warmup=20, repeats=60, threads=1, seed=0
)
print(f"{macs['student'] / measure.total_macs(empty, IMAGE):.0f} times fewer MACs than the student")
print(floor)

# %% [markdown]
# **Amdahl's law** (1967). Let a fraction $f$ of the time shrink $s$-fold; the rest stays. Then the speed-up is
#
# $$\frac{1}{(1 - f) + f/s} \;\le\; \frac{1}{1-f} .$$
#
# By hand: $f = ¾$ of the time is arithmetic and shrinks $s = 6$-fold. $1/(¼ + ⅛) = 2.7$, not 6, and never more than 4 whatever $s$.
# Take the floor as the part that stays, and the MACs ratio as $s$. The forecast errs twice, and the
# errors may cancel: the teacher's own floor is higher (which makes it too low), the student's arithmetic slower (too high).

# %% tags=["nbval-ignore-output"]
fixed = floor.p50("empty") / floor.p50("teacher")  # 1 − f: the part of the teacher's time that stays
amdahl = 1 / (fixed + (1 - fixed) / macs_ratio)
now = floor.ratio("teacher", "student").value
print(f"MACs alone: {macs_ratio:.1f} ×.  Amdahl with the floor: {amdahl:.1f} ×.  Measured: {now:.1f} ×.")
print(f"The floor is {100 * floor.p50('empty') / floor.p50('student'):.0f} % of the student's time.")
print(f"The empty student is {1 / fixed:.0f} times faster than the teacher: at its depth that is the limit.")

# %% [markdown]
# The smaller the network, the larger the floor's share, and the less saved MACs gain. Then fewer or fused *layers* help.
#
# ## Pitfalls
#
# | what is done | what goes wrong | instead |
# |---|---|---|
# | report the mean | one interruption moves it | median and p95 |
# | time A, then B | drift becomes a speed-up | interleave |
# | time on a crowded machine | long calls are interrupted more often | look at the fastest call |
# | other batch, threads or cadence | another question | state all three |
# | a MACs ratio called speed-up | speeds differ between layers | measure |
# | zeros called speed-up | dense kernels multiply zeros | remove channels |
# | a ratio without interval | noise gets a story | bootstrap over rounds |
#
# ## Recap

# %% tags=["nbval-ignore-output"]
parameters_ratio = counts["teacher"].parameters / counts["student"].parameters
bytes_ratio = counts["teacher"].deployable_bytes / counts["student"].deployable_bytes
display(
    Markdown(f"""
1. **Smaller is four numbers.** Teacher over student: {parameters_ratio:.1f} × parameters, {bytes_ratio:.1f}
   × bytes, {macs_ratio:.1f} × MACs. Zeroing 90 % of the weights changed the file by 0 bytes and the latency
   by a factor of {zeros.value:.2f}.
2. **Faster is a ratio with an interval and conditions.** {speedup.value:.1f} × [{speedup.low:.1f},
   {speedup.high:.1f}]: ONNX Runtime, batch 1, one thread, {speedup.n} interleaved rounds of single calls
   in turn, on this {features["model"]}. Measured twice more within this chapter it was
   {by_pace["in turn"].value:.1f} and {now:.1f} ×: an interval covers its own rounds, not another minute.
   Back to back it is {by_pace["back to back"].value:.1f} ×, at 30 a second
   {by_pace[camera.name].value:.1f} ×.
3. **Timed carelessly, the same pair** is anything from {min(careless):.1f} to {max(careless):.1f} × faster.
4. **Drift becomes a speed-up in blocks, and cancels in rounds**: with a known truth of 2, blocks gave
   {in_blocks:.2f}, interleaving {paired.value:.2f}.
5. **MACs are not time.** The student reaches {100 * speed["student"] / speed["teacher"]:.0f} % of the
   teacher's FLOP/s, and {100 * floor.p50("empty") / floor.p50("student"):.0f} % of its time is the floor
   that no MAC pays for.
""")
)

# %% tags=["nbval-ignore-output"]
claim(
    "The speed-up that counts is smaller than the MACs ratio",
    speedup.high < macs_ratio,
    hardware=True,
    measured=f"{speedup.value:.1f} × [{speedup.low:.1f}, {speedup.high:.1f}] against {macs_ratio:.1f}",
    reference=reference("measuring", "speedup"),
)

# %% [markdown]
# Next: [02 · the teacher](02_the_teacher.ipynb) measures what is still missing, accuracy: how a careless split flatters it,
# and how sure one may be of it.
#
# ## References
#
# - G. Amdahl 1967, "Validity of the single processor approach to achieving large scale computing capabilities", AFIPS 30.
# - B. Efron 1979, "Bootstrap methods: another look at the jackknife", Annals of Statistics 7(1); B. Efron and R. Tibshirani 1993, *An
#   Introduction to the Bootstrap*, section 13.3 (percentile interval).
# - P. Fleming and J. Wallace 1986, "How not to lie with statistics: the correct way to summarize benchmark results", CACM 29(3).
# - J. McCalpin 1995, "Memory bandwidth and machine balance in current high performance computers": STREAM.
# - S. Williams, A. Waterman, D. Patterson 2009, "Roofline: an insightful visual performance model for multicore architectures",
#   CACM 52(4).
