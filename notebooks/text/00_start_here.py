# %% [markdown]
# # 00 · Start here
#
# **What can compression buy me?**
#
# You will be able to
#
# - name four steps that make a network small and fast, and say what each does to the numbers;
# - read a ledger, and what may not be claimed from it;
# - say which steps bought nothing, and why.
#
# **Prerequisites:** Python, NumPy, one small network trained in PyTorch.
# **Time:** 40 min, half of them for two exercises. The cells run in 1 to 2 min on 2 CPU cores.
#
# **Where you work:** `make lab` opens your own copy of each chapter, in the folder `workbook/`. Answer there, change cells, add your own: when the course changes, the next `make lab` brings the copy up to date and keeps what is yours.
#
# Symbols and terms: [notation](../docs/notation.md).

# %%
import copy
import os

import numpy as np
import torch
from IPython.display import Markdown, display

from course_lib import measure, plots
from course_lib.data import load
from course_lib.data.classes import CLASS_NAMES
from course_lib.deploy.onnx import onnx_variants
from course_lib.evaluation import accuracy, predict_logits
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.experiments import main_job, plans
from course_lib.measure import claim, measure_ledger
from course_lib.measure.reference import nearest_result, reference
from course_lib.models import checkpoints
from course_lib.publishing.readme import figures_table, recorded_journeys, speeds_table
from course_lib.storage.files import cache_dir

# %% [markdown]
# ## The job
#
# A car's camera cuts out a traffic sign: 32×32 pixels. Which of 43 signs is it? A small computer must answer many times a second. The pictures are *rendered*, drawn by a program; `COURSE_DATA=gtsrb` takes real photographs.

# %% tags=["nbval-ignore-output"]
DATA = os.environ.get("COURSE_DATA") or "rendered"
key = plans.data_key(DATA)
splits = load(DATA)
print(*splits, sep="\n")

# %%
some = np.random.default_rng(3).choice(len(splits.validation), 1000, replace=False)
signs = splits.validation.subset(some[:22])
plots.picture_grid(
    signs.images, [f"class {label}" for label in signs.labels],
    columns=11, title="What the network is given", inch=0.7,
    alt="22 traffic signs of 32×32 pixels: sharp and blurred, bright and dark, some partly hidden.",
)

# %% [markdown]
# A large network is trained already, the **teacher**. For each picture it gives 43 numbers, the logits $z_i$; softmax turns them into probabilities, $p_i = e^{z_i} / \sum_j e^{z_j}$.
#
# Here it is right without being sure. Its other answers tell what no label says: what else the sign might be.

# %% tags=["nbval-ignore-output"]
teacher, card = checkpoints.load(f"teacher_{key}")
checkpoints.require_same_split(card, splits, name=f"teacher_{key}")
sample = splits.validation.subset(some)
p_teacher = predict_logits(teacher, sample).softmax(dim=1)  # (1000, 43)
sure, answer = p_teacher.max(dim=1)
wrong = answer != torch.from_numpy(sample.labels)
hard = int(((sure - 0.6).abs() + wrong).argmin())  # right, and as near to 60 % sure as any of the 1,000
print("label:", CLASS_NAMES[sample.labels[hard]])
plots.answer_figure(sample.images[hard], {"teacher": p_teacher[hard].numpy()}, CLASS_NAMES)

# %% [markdown]
# ## Predict first
#
# Four steps lie ahead: **distil, prune, quantize, run**. How many times smaller and faster than the teacher will the final network be, and how many points of accuracy will it lose (98 % → 97 % is 1 point)? Write your numbers in place of `None`; `sure` is how sure you are, in per cent. The first guess is locked.

# %% tags=["nbval-ignore-output"]
times_smaller, times_faster, points_lost = None, None, None
display(
    predict("00.p1", times_smaller, sure=None),
    predict("00.p2", times_faster, sure=None),
    predict("00.p3", points_lost, sure=None),
)

# %% [markdown]
# ## Step 1: distil
#
# A label says "60 km/h" and nothing else. The teacher says: *60, perhaps 80, surely no stop sign*. A small network, the **student**, learns from all of it. A **temperature** $T$ softens the answer, so that small probabilities count:
#
# $$p_i = \frac{e^{z_i/T}}{\sum_j e^{z_j/T}}$$
#
# Four classes, by hand:

# %%
z_teacher = torch.tensor([[8.0, 5.0, 2.0, -1.0]])
plots.temperature_figure(z_teacher[0].numpy(), ["60", "80", "50", "stop"], temperatures=(1, 4))

# %% [markdown]
# The loss compares the student's softened answer $q$ with the teacher's $p$ (Kullback–Leibler divergence; $T^2$ keeps the gradient from fading as $T$ grows):
#
# $$L = T^2 \sum_i p_i \ln \frac{p_i}{q_i}$$

# %%
from course_lib.distillation import soft_target_loss

z_student, T = torch.tensor([[4.0, 4.0, 1.0, 0.0]]), 4.0
p, q = torch.exp(z_teacher / T), torch.exp(z_student / T)
p, q = p / p.sum(), q / q.sum()
by_hand = T**2 * (p * torch.log(p / q)).sum()
print(f"p = {p.numpy().round(3)}, q = {q.numpy().round(3)}, L = {by_hand:.3f}")
by_library = soft_target_loss(z_student, z_teacher, T)
claim("The loss by hand equals the library's", torch.isclose(by_hand, by_library))

# %% [markdown]
# We load two trained students. One was distilled. The other is the same network, trained as long, on labels **alone**: the *control* that tells what the teacher was good for.

# %%
students = main_job.shipped_students(splits, key)
for name, student in (("distilled", students.distilled), ("alone", students.alone)):
    print(f"{name:9} channels of the layers:", student.channels if student else "not shipped for this split")

# %% [markdown]
# ## Step 2: prune
#
# Two neurons with two weights each, and a next layer that reads both. The second neuron's weights are small. To drop it, write **zeros** over it, or **cut** it out.

# %%
W, v, x = np.array([[3.0, 1.0], [0.2, 0.1]]), np.array([2.0, -1.0]), np.array([1.0, 2.0])
zeroed = W * [[1.0], [0.0]]  # the matrix keeps its shape
cut, v_cut = W[:1], v[:1]  # one row less here, one input less in the next layer
answers = [next_layer @ np.maximum(rows @ x, 0) for rows, next_layer in [(W, v), (zeroed, v), (cut, v_cut)]]
print(f"whole: {answers[0]:.1f}   zeroed: {answers[1]:.1f}   cut: {answers[2]:.1f}")
print(f"multiplications: {W.size + v.size}, {zeroed.size + v.size}, {cut.size + v_cut.size}")

# %% [markdown]
# The answer moved a little; more training (**fine-tuning**) repairs that. Zeroed and cut give the same answer, but zeros take as many bytes and multiplications as before.
#
# In a convolution a neuron is a **channel**. Cutting one removes a filter here and an input slice in the next layer.

# %%
from course_lib.pruning import masked_student, prune_channels

pruned, kept = prune_channels(students.distilled, students.pruned.channels)
zero_twin = masked_student(students.distilled, kept)
images, _ = sample.batch(range(64))
with torch.inference_mode():
    same = torch.allclose(pruned(images), zero_twin(images), atol=1e-3)
print("channels:", students.distilled.channels, "→", pruned.channels)
claim("The cut network computes what the network with zeroed channels computes", same)

# %% [markdown]
# What did cutting cost, and what did fine-tuning bring back? (In brackets: 95 % intervals.)

# %% tags=["nbval-ignore-output"]
for name, model in (
    ("distilled", students.distilled), ("cut", pruned), ("cut, fine-tuned", students.pruned),
):
    right = accuracy(predict_logits(model, sample).argmax(1).numpy(), sample.labels, sample.groups)
    print(f"{name:16} {100 * right.value:5.1f} %  [{100 * right.low:.1f}, {100 * right.high:.1f}]")

# %% [markdown]
# ## Step 3: quantize
#
# A weight takes 32 bits (FP32). Eight bits (INT8) can name 256 values. Choose a **scale** $S$, the size of one step, and a **zero point** $Z$, the code for 0. Then
#
# $$q = \mathrm{clip}\!\left(\mathrm{round}(w/S) + Z,\ 0,\ 255\right), \qquad \hat w = S\,(q - Z)$$
#
# with $S = (w_{\max} - w_{\min})/255$ and $Z = \mathrm{round}(-w_{\min}/S)$, over a range that contains 0. Four weights, there and back:

# %%
w = np.array([-0.42, 0.0, 0.13, 0.85])
S = (w.max() - w.min()) / 255
Z = round(-w.min() / S)
codes = np.clip(np.round(w / S) + Z, 0, 255)
restored = S * (codes - Z)
print(f"S = {S:.5f}, Z = {Z}, codes = {codes.astype(int)}, restored = {restored.round(4)}")
error = np.abs(restored - w).max()
claim("The round trip moves no weight by more than half a step, S/2", error <= S / 2)

# %%
theirs = torch.fake_quantize_per_tensor_affine(torch.tensor(w), float(S), Z, 0, 255).numpy()
claim("PyTorch's own operation gives the same four numbers", np.allclose(theirs, restored))

# %% [markdown]
# An easy mistake takes $2^8$ for the step. What it does to a whole network:

# %%
broken = copy.deepcopy(students.pruned)
with torch.no_grad():
    for parameter in broken.parameters():
        parameter.copy_(torch.round(parameter / 2**8) * 2**8)
answers = predict_logits(broken, sample).argmax(1)
right = (answers.numpy() == sample.labels).mean()
print(f"accuracy {100 * right:.1f} %; different answers given: {len(answers.unique())}")
claim("That line leaves a network that gives every sign the same name", len(answers.unique()) == 1)

# %% [markdown]
# ## Step 4: run
#
# Each network becomes an ONNX file for ONNX Runtime, which merges layers and computes with 8-bit integers. INT8 also needs the ranges of what layers pass on; 512 training pictures supply them (**calibration**). The files:

# %% tags=["nbval-ignore-output"]
files = main_job.export_files(
    teacher, students, splits, cache_dir() / "start_here", plans.PLANS[key].calibration
)
for name, path in files.items():
    print(f"{name:26} {path.stat().st_size / 1000:8.0f} kB   {path.name}")

# %% [markdown]
# ## The ledger
#
# The **ledger** holds all files, measured in one run on the same pictures: one picture a call (batch 1), one thread.
#
# | column | what it says |
# |---|---|
# | accuracy | right answers; in brackets a 95 % interval, had other signs been drawn |
# | change | points against the first row, on the same pictures |
# | same class | how often variant and teacher agree, right or wrong |
# | size, × smaller | the file's bytes; the first row's over these |
# | parameters, MACs | numbers in the file; multiply–accumulates for one picture |
# | p50 | median time of a call |
# | × faster | the first row's time over this one's, 95 % interval |
# | marks | what may *not* be claimed; letters explained below |
#
# A time belongs to a **cadence**, the way calls follow one another: *back to back* (the same network again at once), *in turn* (another network's call between) or *30 a second* (a camera; the core sleeps between). The last row, **A/A**, is the teacher timed again: its interval should hold 1.
#
# To save time: a random third of the test signs, read here for the first time.

# %% tags=["nbval-ignore-output"]
signs = np.random.default_rng(0).permutation(np.unique(splits.test.groups))
third = splits.test.subset(np.isin(splits.test.groups, signs[: len(signs) // 3]))
images = third.batch(range(len(third)))[0].numpy()
ledger = measure_ledger(
    onnx_variants(files, threads=1), images, third.labels, third.groups,
    title="The main job on a third of the test signs", data=third.name, threads=1,
    cadences={measure.BACK_TO_BACK: 20, measure.IN_TURN: 100, measure.THIRTY_A_SECOND: 10},
)
ledger

# %% [markdown]
# ### Your guess and the result

# %% tags=["nbval-ignore-output"]
first, final = ledger[main_job.TEACHER], ledger[main_job.FINAL]
measured = {
    "times smaller": final.size_ratio,
    "times faster": final.speedup.value,
    "points lost": -final.accuracy_change.value,
}
display(*(reveal(f"00.p{i}", value) for i, value in enumerate(measured.values(), start=1)))

# %% tags=["nbval-ignore-output"]
for times, again in zip(final.times, ledger.again, strict=True):
    faster, itself = measure.ratio_text(times.speedup), measure.ratio_text(again.speedup)
    print(f"{times.cadence:12} {faster} times faster; A/A {itself}")
camera = ledger.speedup(main_job.TEACHER, main_job.FINAL, "30 a second")
claim(
    "The same two files: the speed-up is smaller at 30 pictures a second than back to back",
    camera.high < final.speedup.low, hardware=True,
    measured=f"{final.speedup.value:.1f}× and {camera.value:.1f}×",
    reference=f"{reference(f'journey_{key}', 'latency_ratio')} and "
    f"{reference(f'journey_{key}', 'latency_ratio_30_hz')}",
)

# %% [markdown]
# ## Reading the ledger, row by row
#
# **Teacher INT8: a fourth of the bytes, not a fourth of the time.** Weights went from 4 bytes to 1; scales, zero points, biases and the graph stay. The time depends on the processor and its instructions for 8-bit products (AVX-512 VNNI, NEON dot product).

# %% tags=["nbval-ignore-output"]
# Recorded on a processor of this one's kind:
near = nearest_result("journey_rendered" if key == "rendered" else "journey_gtsrb")
cpu = near["machine"]["cpu"]
saved = {row["name"]: row for row in near["ledger"]["rows"]}
speed = {name: row["times"][0]["speedup"]["value"] for name, row in saved.items() if name != main_job.TEACHER}
int8 = ledger["teacher INT8"]
display(claim("The teacher's INT8 file is 3 to 4 times smaller, not 2", 3 < int8.size_ratio < 4))
claim(
    "INT8 makes the teacher less than 4 times faster", int8.speedup.high < 4, hardware=True,
    measured=f"{int8.speedup.value:.2f}× [{int8.speedup.low:.2f}, {int8.speedup.high:.2f}]",
    reference=f"{speed['teacher INT8']:.2f}× ({cpu})",
)

# %% [markdown]
# **Alone and distilled: the same bytes, the same time.** Distillation may win back some of the accuracy that smallness costs. Your run, then the recorded ones:

# %% tags=["nbval-ignore-output"]
distilled = ledger["student distilled FP32"]
for row in ledger:
    if row.name in ("student alone FP32", "student distilled FP32"):
        change = row.accuracy_change
        interval = f"[{change.low:+.2f}, {change.high:+.2f}]"
        print(f"{row.name:24} {change.value:+.2f} points against the teacher {interval}")
recorded, bought = recorded_journeys(), {}
for name, result in recorded.items():
    right = {row["name"]: 100 * row["accuracy"]["value"] for row in result["ledger"]["rows"]}
    bought[name] = right["student distilled FP32"] - right["student alone FP32"]
    print(f"recorded, {name:9} distilled minus alone: {bought[name]:+.2f} points")

# %% [markdown]
# One training each is no finding; chapter 05 repeats it with several seeds.
#
# **50 % zeros: nothing.** Half of the distilled student's weights set to zero, without training afterwards. A zero is stored and multiplied like any number.

# %% tags=["nbval-ignore-output"]
zeros = ledger["… with 50 % zeros"]
display(claim("Half zeros: exactly the same number of bytes", zeros.size_bytes == distilled.size_bytes))
ratio = ledger.speedup("student distilled FP32", "… with 50 % zeros")
claim(
    "Half zeros: not even 10 % faster", ratio.high < 1.1, hardware=True,
    measured=f"{ratio.value:.2f}× [{ratio.low:.2f}, {ratio.high:.2f}]",
    reference=f"{speed['… with 50 % zeros'] / speed['student distilled FP32']:.2f}× ({cpu})",
)

# %% [markdown]
# **Pruned: smaller and faster.** MACs are counted, time is measured: they need not agree, as chapter 01 shows.

# %% tags=["nbval-ignore-output"]
small = ledger["student pruned FP32"]
faster = ledger.speedup("student distilled FP32", "student pruned FP32")
print(f"bytes: {distilled.size_bytes / small.size_bytes:.2f} times fewer")
print(f"MACs: {distilled.macs / small.macs:.2f} times fewer")
print(f"time: {faster.value:.2f} times less [{faster.low:.2f}, {faster.high:.2f}]")

# %% [markdown]
# **Pruned INT8: what is shipped.** The bytes shrink nearly four times again. Time gains less: between layers numbers must be turned into codes, and a small network has few multiplications to pay for that. Is anything left at 30 a second?

# %% tags=["nbval-ignore-output"]
gain = ledger.speedup("student pruned FP32", main_job.FINAL)
claim(
    "INT8 makes the pruned student at most 1.5 times faster", gain.high <= 1.5, hardware=True,
    measured=f"{gain.value:.2f}× [{gain.low:.2f}, {gain.high:.2f}]",
    reference=f"{speed[main_job.FINAL] / speed['student pruned FP32']:.2f}× ({cpu})",
)

# %% [markdown]
# ## The whole test part, rendered and real
#
# Recorded on rendered signs **and** on real photographs (GTSRB), each with its own networks. Rendered accuracy says nothing about real accuracy. Targets were set beforehand; look for those **missed**. A line joins the main job's steps. On real signs a **small student** has half the bytes and more layers.

# %%
display(Markdown(figures_table(recorded)), Markdown(speeds_table()))
plots.recorded_figure(recorded)

# %% [markdown]
# ## Choose for a budget
#
# Blue variants keep all three limits; ✗ marks a broken one. (In earnest choose on validation data: choosing on test data flatters.)

# %% tags=["nbval-ignore-output"]
budget = {
    "latency_ms": round(first.latency_ms_p50 / 8, 2),
    "size_kb": 400,
    "accuracy": round(first.accuracy.value - 0.025, 3),
}
plots.budget_figure(ledger, **budget)

# %% [markdown]
# Move the sliders. Which limit makes distillation worth it? Which one INT8?

# %% tags=["nbval-ignore-output"]
from course_lib.widgets import budget_explorer

budget_explorer(ledger, **budget)

# %% [markdown]
# ## Exercises
#
# **00.1 Read two rows.** Two rows are dicts with `accuracy` (a fraction), `bytes`, `parameters`, `macs`, `p50_ms` (the median time) and `p95_ms` (95 % of the calls are faster). Return how many times smaller the other row's file is than the first one's, how many times faster its usual call is, and how many points of accuracy it lost: plain numbers, not rounded. A row that is larger, slower or more accurate must show as one. Three lines.


# %%
def compare_rows(first, other):
    """Your turn: return (times smaller, times faster, points lost)."""
    ...


check("00.1", compare_rows)

# %% [markdown]
# **00.2 Eight bits and back.** Turn the worked example into a function: for a NumPy array `x` and a range `[low, high]` return $S$, $Z$ (a whole number), the codes (an array of uint8) and the restored numbers. The example was spared two things: a range that does not contain 0, and numbers outside the range. About five lines.


# %%
def round_trip(x, low, high):
    """Your turn: return (scale, zero_point, codes, restored)."""
    ...


check("00.2", round_trip)

# %% [markdown]
# Stuck? `hint("00.2")` gives one more hint at each call, `solution("00.2")` the answer; `progress()` shows what you have passed.
#
# ## The map
#
# Filled boxes are written, the others planned.

# %% tags=["nbval-ignore-output"]
from course_lib.publishing.curriculum import PARTS, written

there = [page.chapter.number for page in written()]
plots.course_map_figure(PARTS, there)

# %% [markdown]
# ## Pitfalls
#
# - **Zeros are not speed**, unless runtime and hardware know their pattern.
# - **A ratio of MACs is not one of milliseconds**, nor a ratio of parameters one of bytes.
# - **No control, no conclusion**: train the same student on labels alone.
# - **A loop is not a camera**: cadence decides.
#
# ## Recap

# %% tags=["nbval-ignore-output"]
display(
    Markdown(f"""
- From teacher to final network: **{final.size_ratio:.0f}× smaller**, **{final.speedup.value:.0f}× faster**
  back to back [{final.speedup.low:.1f}, {final.speedup.high:.1f}] and **{camera.value:.0f}×** at 30 pictures
  a second, **{measured["points lost"]:.2f} points lost** on {final.accuracy.n:,} test images.
- The distilled student is already {distilled.size_ratio:.1f}× smaller and {distilled.speedup.value:.1f}×
  faster, before any pruning. Distillation changed neither; it bought {bought["rendered"]:+.1f} points on the
  rendered signs and {bought["gtsrb"]:+.1f} on the real ones (whole test parts, one training each).
- Cutting channels made it {faster.value:.2f}× faster; writing zeros left it as it was ({ratio.value:.2f}×
  [{ratio.low:.2f}, {ratio.high:.2f}]) and, without fine-tuning, cost
  {100 * (distilled.accuracy.value - zeros.accuracy.value):.1f} points.
- INT8 shrank the teacher {int8.size_ratio:.1f}× and made it {int8.speedup.value:.2f}× faster here; the
  pruned student {small.size_bytes / final.size_bytes:.1f}× and {gain.value:.2f}×.
""")
)

# %% [markdown]
# Next: [01 · measuring](01_measuring.ipynb) asks what “× faster” is worth.
#
# ## References
#
# - Hinton, Vinyals & Dean 2015, [Distilling the knowledge …](https://arxiv.org/abs/1503.02531), section 2: temperature, $T^2$.
# - Li et al. 2017, [Pruning filters for efficient ConvNets](https://arxiv.org/abs/1608.08710), section 3.
# - Jacob et al. 2018, [integer-arithmetic-only inference](https://arxiv.org/abs/1712.05877), equation 1.
# - Han, Mao & Dally 2016, [Deep compression](https://arxiv.org/abs/1510.00149).
# - Stallkamp et al. 2012, *Man vs. computer*, Neural Networks 32.
