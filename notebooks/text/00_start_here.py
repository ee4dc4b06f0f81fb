# %% [markdown]
# # 00 · Start here
#
# **What can compression buy me, in ten minutes?**
#
# You will be able to
#
# - name the four steps that turn a large network into a small, fast one, and say what each does to its numbers;
# - read a ledger: size, latency, accuracy, and what may not be claimed from them;
# - say which steps bought nothing, and why;
# - choose the next chapter.
#
# **Prerequisites:** Python, NumPy, and having trained a small network in PyTorch once.
# **Time:** 10 min to read, 10 more for the exercises. It runs in about 1 minute on 2 CPU cores, without GPU and network; the very first run also renders the signs.
#
# Symbols and terms, also in Chinese: [notation](../docs/notation.md).

# %%
import copy
import os
from dataclasses import replace

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
from course_lib.measure import claim, load_result, measure_ledger
from course_lib.measure.reference import reference
from course_lib.models import checkpoints
from course_lib.storage.files import cache_dir

# %% [markdown]
# ## The job
#
# A car's camera cuts out a traffic sign: 32×32 pixels. A network must say which of 43 signs it is, on a computer without a large GPU, many times a second. Here are some of the pictures. They are *rendered*: drawn by a program, with blur, night, rain and dirt. Set `COURSE_DATA=gtsrb` and the same chapter runs on real photographs.

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
# A network that does the job well is already trained: a residual network, the **teacher**. (How it was trained: [02 · the teacher](02_the_teacher.ipynb).) For each picture it gives 43 numbers, the logits $z_1, \dots, z_{43}$; softmax turns them into probabilities, $p_i = e^{z_i} / \sum_j e^{z_j}$.
#
# Below is a picture that the teacher gets right without being sure. Its second and third answers are no accident: they tell what else this sign might have been, which no label says.

# %% tags=["nbval-ignore-output"]
teacher, card = checkpoints.load(f"teacher_{key}")
checkpoints.require_same_split(card, splits, name=f"teacher_{key}")
sample = splits.validation.subset(some)
p_teacher = predict_logits(teacher, sample).softmax(dim=1)  # (1000, 43)
sure, answer = p_teacher.max(dim=1)
wrong = answer != torch.from_numpy(sample.labels)
hard = int(((sure - 0.6).abs() + wrong).argmin())  # right, and as near to 60 % sure as any of the 1,000
plots.answer_figure(sample.images[hard], {"teacher": p_teacher[hard].numpy()}, CLASS_NAMES)

# %%
claim("the picture above is one that the teacher gets right", int(answer[hard]) == int(sample.labels[hard]))

# %% [markdown]
# ## Predict first
#
# The teacher takes several megabytes and a few milliseconds a picture on one CPU core. Four steps lie ahead: **distil, prune, quantize, run**. Before you scroll: how many times smaller and faster will the final network be, and how many points of accuracy (98 % → 97 % is 1 point) will it lose? Write your numbers in place of `None`, and how sure you are in per cent that they come near (for example `sure=70`). The first guess is locked; `progress()` will tell how good your guesses were.

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
# A label says "60 km/h" and nothing else. The teacher says more: *60, could be 80, surely no stop sign*. A small network, the **student**, learns from all of it. With a **temperature** $T$ the teacher's answer is softened, so that the small probabilities count:
#
# $$p_i = \frac{e^{z_i/T}}{\sum_j e^{z_j/T}}$$
#
# Four classes, by hand:

# %%
z_teacher = torch.tensor([[8.0, 5.0, 2.0, -1.0]])
plots.temperature_figure(z_teacher[0].numpy(), ["60", "80", "50", "stop"], temperatures=(1, 4))

# %% [markdown]
# The student's loss compares its own softened answer $q$ with the teacher's $p$. It is the Kullback–Leibler divergence, times $T^2$ so that its gradient does not fade as $T$ grows:
#
# $$L = T^2 \sum_i p_i \ln \frac{p_i}{q_i}$$

# %%
from course_lib.distillation import soft_target_loss

z_student, T = torch.tensor([[4.0, 4.0, 1.0, 0.0]]), 4.0
p, q = torch.exp(z_teacher / T), torch.exp(z_student / T)
p, q = p / p.sum(), q / q.sum()
by_hand = T**2 * (p * torch.log(p / q)).sum()
print(f"p = {p.numpy().round(3)}, q = {q.numpy().round(3)}, L = {by_hand:.3f}")
claim("by hand = soft_target_loss", torch.isclose(by_hand, soft_target_loss(z_student, z_teacher, T)))

# %% [markdown]
# Training a student takes minutes, so this chapter loads two that are shipped: one was distilled; the other is the same network, trained as long, on the labels **alone**. That second one is the control without which nobody could say what the teacher was good for. (Chapters 04–06 take distillation apart. `make demo` trains the students in front of your eyes.)

# %%
students = main_job.shipped_students(splits, key)
print("channels of the student's layers:", students.distilled.channels)
claim(
    "the student trained alone is the same network as the distilled one",
    students.alone.channels == students.distilled.channels,
)

# %% [markdown]
# ## Step 2: prune
#
# Some neurons hardly matter. Take two neurons with two inputs each, four numbers, and a next layer that reads both. The second neuron's weights are small. There are two ways to drop it: write **zeros** over it, or **cut** it out.

# %%
W, v, x = np.array([[3.0, 1.0], [0.2, 0.1]]), np.array([2.0, -1.0]), np.array([1.0, 2.0])
zeroed = W * [[1.0], [0.0]]  # the matrix keeps its shape
cut, v_cut = W[:1], v[:1]  # one row less here, one input less in the next layer
answers = [next_layer @ np.maximum(rows @ x, 0) for rows, next_layer in [(W, v), (zeroed, v), (cut, v_cut)]]
print(f"whole: {answers[0]:.1f}   zeroed: {answers[1]:.1f}   cut: {answers[2]:.1f}")
print(f"multiplications: {W.size + v.size}, {zeroed.size + v.size}, {cut.size + v_cut.size}")
claim("cutting computes what zeroing computes", answers[1] == answers[2])

# %% [markdown]
# The answer moved a little: that is what pruning costs, and training on for a while (**fine-tuning**) repairs it. But only the cut matrix is smaller. The zeroed one has the same shape, so the same bytes and the same multiplications. Remember that when you read "90 % sparse".
#
# In a convolution a neuron is a **channel**: cutting one removes a filter here and an input slice in the next layer.

# %%
from course_lib.pruning import masked_student, prune_channels

pruned, kept = prune_channels(students.distilled, students.pruned.channels)
zero_twin = masked_student(students.distilled, kept)
images, _ = sample.batch(range(64))
with torch.inference_mode():
    same = torch.allclose(pruned(images), zero_twin(images), atol=1e-3)
print("channels:", students.distilled.channels, "→", pruned.channels)
claim("the cut network computes what the network with zeroed channels computes", same)

# %% [markdown]
# What did cutting cost, and what did fine-tuning bring back? Three networks on the same 1,000 validation pictures:

# %% tags=["nbval-ignore-output"]
percents = {}
for name, model in (
    ("distilled", students.distilled), ("cut", pruned), ("cut, fine-tuned", students.pruned),
):
    right = accuracy(predict_logits(model, sample).argmax(1).numpy(), sample.labels, sample.groups)
    percents[name] = 100 * right.value
    print(f"{name:16} {100 * right.value:5.1f} %  [{100 * right.low:.1f}, {100 * right.high:.1f}]")
lost, found = percents["distilled"] - percents["cut"], percents["cut, fine-tuned"] - percents["cut"]
claim("fine-tuning brings back most of what cutting cost", found > 0.5 * lost > 0)

# %% [markdown]
# (Chapters 07–09: which channels, how many, where.)
#
# ## Step 3: quantize
#
# A weight is stored in 32 bits. Eight bits can name 256 values: is that enough? Choose a **scale** $S$ and a **zero point** $Z$, the code that stands for 0. Then
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
display(claim("the round trip moves no weight by more than half a step, S/2", error <= S / 2))
claim("0 comes back as exactly 0", restored[1] == 0)

# %% [markdown]
# PyTorch's own operation agrees. Two formulas that circulate do not survive four numbers. The first divides by $2^8$, as if that were a step. The second forgets the zero point and adds the minimum back instead, so that 0, which padding and ReLU produce all the time, comes back as something else.

# %%
theirs = torch.fake_quantize_per_tensor_affine(torch.tensor(w), float(S), Z, 0, 255).numpy()
claim("PyTorch gives the same four numbers", np.allclose(theirs, restored))

# %%
first_fault = np.round(w / 2**8) * 2**8
second_fault = np.round((w - w.min()) / (w.max() - w.min()) * 255) * S + w.min()
print("round(w/2⁸)·2⁸:", np.abs(first_fault), "  without a zero point, 0 becomes", second_fault[1].round(4))
display(claim("the first formula turns all four weights into 0", not first_fault.any()))
claim("the second one does not keep 0", second_fault[1] != 0)

# %% [markdown]
# Applied to every weight of a trained network, the first formula does this:

# %%
broken = copy.deepcopy(students.pruned)
with torch.no_grad():
    for parameter in broken.parameters():
        parameter.copy_(torch.round(parameter / 2**8) * 2**8)
answers = predict_logits(broken, sample).argmax(1)
right = (answers.numpy() == sample.labels).mean()
print(f"accuracy {100 * right:.1f} %; different answers given: {len(answers.unique())}")
claim("that line leaves a network that calls every sign the same", len(answers.unique()) == 1)

# %% [markdown]
# (Chapters 10–14: from four weights to integer arithmetic, calibration, training with rounding, and codebooks.)
#
# ## Step 4: run
#
# A PyTorch module is not what a car ships. Each network is exported to an ONNX file and executed by ONNX Runtime, which merges layers and has kernels for 8-bit integers. To quantize, it also needs the ranges of the activations; 512 training pictures supply them (**calibration**). Seven files, the networks of the main job and three that stand beside it:

# %% tags=["nbval-ignore-output"]
files = main_job.export_files(
    teacher, students, splits, cache_dir() / "start_here", plans.PLANS[key].calibration
)
for name, path in files.items():
    print(f"{name:26} {path.stat().st_size / 1000:8.0f} kB   {path.name}")

# %% [markdown]
# Now the **ledger**: all files on the same pictures, timed in one run (batch 1, one thread, single calls), so that a computer that slows down slows all of them. How calls follow one another decides much: *back to back* (the network again at once, its data still in the caches), *in turn* (another network between) or *30 a second* (a camera; the core sleeps between). Chapter 01 says why; the ledger shows all three. The teacher is timed twice: the row **A/A** is the teacher over itself, and should be 1. To stay within a minute we take a random third of the test part's signs. The test part is read here for the first time; nothing was chosen with it.

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
# The same as a picture, without the network of zeros, which lies far below:

# %% tags=["nbval-ignore-output"]
plots.ledger_figure(replace(ledger, rows=tuple(row for row in ledger if row.name != "… with 50 % zeros")))

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

# %%
recorded = {name: load_result(f"journey_{name}") for name in ("rendered", "gtsrb")}
saved = {row["name"]: row for row in recorded[key]["ledger"]["rows"]}
lost = recorded[key]["figures"]["accuracy_drop_points"]
print(f"recorded: {lost.value:.2f} points lost [{lost.low:.2f}, {lost.high:.2f}],", end=" ")
print(f"target {lost.target}:", end=" ")
print("missed" if not lost.met else "established" if lost.established else "not established")
claim("the final file is at least 50 times smaller than the teacher's", final.size_ratio >= 50)

# %% tags=["nbval-ignore-output"]
for times, again in zip(final.times, ledger.again, strict=True):
    faster, itself = measure.ratio_text(times.speedup), measure.ratio_text(again.speedup)
    print(f"{times.cadence:12} {faster} times faster; A/A {itself}")
camera = ledger.speedup(main_job.TEACHER, main_job.FINAL, "30 a second")
claim(
    "the final network is at least 15 times faster back to back, and less at 30 pictures a second",
    final.speedup.low >= 15 and camera.high < final.speedup.low, hardware=True,
    measured=f"{final.speedup.value:.1f}× and {camera.value:.1f}×",
    reference=f"{reference(f'journey_{key}', 'latency_ratio')} and "
    f"{reference(f'journey_{key}', 'latency_ratio_30_hz')}",
)

# %% [markdown]
# ## Reading the ledger, row by row
#
# **Teacher INT8: a fourth of the bytes, and not a fourth of the time.** Every weight went from 4 bytes to 1. The file does not quite reach a fourth: scales, zero points, biases in 32 bits and the graph itself stay. "INT8 halves the size" is a sentence about 16-bit files. Time is another matter: it depends on whether the processor has instructions for 8-bit products (AVX-512 VNNI, NEON dot product). Without them the gain is modest: the claim shows what it was here and on the reference machine.

# %% tags=["nbval-ignore-output"]
int8 = ledger["teacher INT8"]
display(claim("the teacher's INT8 file is 3 to 4 times smaller, not 2", 3 < int8.size_ratio < 4))
claim(
    "INT8 makes the teacher less than 4 times faster",
    int8.speedup.value < 4, hardware=True, measured=f"{int8.speedup.value:.2f}×",
    reference=f"{saved['teacher INT8']['times'][0]['speedup']['value']:.2f}×",
)

# %% [markdown]
# **Alone and distilled: the same bytes, the same time.** Distillation makes nothing smaller: the small network does. Distillation may pay back part of the accuracy that smallness costs. Does it? The recorded runs, on rendered and on real signs, do not give one answer:

# %%
recorded_rows = {
    name: {row["name"]: row for row in result["ledger"]["rows"]} for name, result in recorded.items()
}
bought = {
    name: 100
    * (rows["student distilled FP32"]["accuracy"]["value"] - rows["student alone FP32"]["accuracy"]["value"])
    for name, rows in recorded_rows.items()
}
for name, points in bought.items():
    print(f"{name:9} distilled minus alone: {points:+.2f} points")
claim(
    "in these two trainings distillation bought more on the real signs than on the rendered ones",
    bought["gtsrb"] > bought["rendered"],
)

# %% [markdown]
# A possible reason: rendered signs are all different, so labels alone teach much already; the real set films few physical signs many times, and there an opinion on each frame adds something. That is a guess from one training each, not a finding; chapter 05 repeats it with several seeds. Here, on the pictures of your run:

# %% tags=["nbval-ignore-output"]
alone, distilled = ledger["student alone FP32"], ledger["student distilled FP32"]
for row in (alone, distilled):
    change = row.accuracy_change
    interval = f"[{change.low:+.2f}, {change.high:+.2f}]"
    print(f"{row.name:24} {change.value:+.2f} points against the teacher {interval}")
claim("both students' files have the same number of bytes", alone.size_bytes == distilled.size_bytes)

# %% [markdown]
# **50 % zeros: nothing.** Half of the distilled student's weights were set to zero. The file has the same bytes to the last one, since a zero takes as much room as any other number; and the same time, since the kernels multiply by zero as carefully as by 0.3. Only the accuracy changed: nobody trained the network again after the zeros.

# %% tags=["nbval-ignore-output"]
zeros = ledger["… with 50 % zeros"]
display(claim("half zeros: exactly the same number of bytes", zeros.size_bytes == distilled.size_bytes))
ratio = ledger.speedup("student distilled FP32", "… with 50 % zeros")
speed = {n: row["times"][0]["speedup"]["value"] for n, row in saved.items() if n != main_job.TEACHER}
claim(
    "half zeros: not even 10 % faster", ratio.high < 1.1, hardware=True,
    measured=f"{ratio.value:.2f}× [{ratio.low:.2f}, {ratio.high:.2f}]",
    reference=f"{speed['… with 50 % zeros'] / speed['student distilled FP32']:.2f}×",
)

# %% [markdown]
# **Pruned: fewer multiplications, and less time, but not in proportion.** Cut channels leave smaller dense matrices, which every runtime runs faster without knowing why. Compare the two ratios: multiply–accumulates (MACs) are counted, time is measured. Chapter [01 · measuring](01_measuring.ipynb) is about the gap between them.

# %% tags=["nbval-ignore-output"]
small = ledger["student pruned FP32"]
faster = ledger.speedup("student distilled FP32", "student pruned FP32")
print(f"MACs: {distilled.macs / small.macs:.2f} times fewer")
print(f"time: {faster.value:.2f} times less [{faster.low:.2f}, {faster.high:.2f}]")
claim(
    "pruning and fine-tuning left a file less than 3/4 as large",
    small.size_bytes < 0.75 * distilled.size_bytes,
)

# %% [markdown]
# **Pruned INT8: what is shipped.** The bytes are divided by nearly four once more. The time is another story: between the layers numbers must be turned into codes, and on so small a network there is little multiplication left to pay for that. Whether it pays depends on the processor:

# %% tags=["nbval-ignore-output"]
gain = ledger.speedup("student pruned FP32", main_job.FINAL)
claim(
    "INT8 makes the pruned student at most 1.5 times faster", gain.high <= 1.5, hardware=True,
    measured=f"{gain.value:.2f}× [{gain.low:.2f}, {gain.high:.2f}]",
    reference=f"{speed[main_job.FINAL] / speed['student pruned FP32']:.2f}×",
)

# %% [markdown]
# So on a processor without 8-bit products this step is taken for the bytes alone; below 1 it even costs time.
#
# Is it still the same recognizer? Here are the teacher and the final network on the picture from the beginning. Where the teacher was not sure itself, the two may part; how often they do on all pictures stands in the ledger's column "same class".

# %% tags=["nbval-ignore-output"]
from course_lib.deploy.onnx import open_session, run_session

logits = run_session(open_session(files[main_job.FINAL]), sample.batch([hard])[0].numpy())
p_final = torch.from_numpy(logits).softmax(dim=1)[0].numpy()
plots.answer_figure(sample.images[hard], {"teacher": p_teacher[hard].numpy(), "final": p_final}, CLASS_NAMES)

# %% [markdown]
# ## The whole test part, rendered and real
#
# One minute allowed a third of the rendered test signs. The full figures were recorded with the command shown, on the reference machine, for the rendered signs **and** for real photographs (GTSRB, split so that no physical sign is in two parts). A rendered accuracy says nothing about a real one; the networks of each column were trained on its own data.

# %%
from course_lib.publishing.readme import figures_table, speeds_table

display(Markdown(figures_table(recorded)), Markdown(speeds_table()))
plots.recorded_figure(recorded)

# %% [markdown]
# ## Choose for a budget
#
# In practice the question comes the other way round: *this many milliseconds, this many bytes, at least this accuracy*. Blue variants keep all three limits; ✗ marks the limit that is broken. First a fixed budget:

# %% tags=["nbval-ignore-output"]
budget = {
    "latency_ms": round(first.latency_ms_p50 / 8, 2),
    "size_kb": 400,
    "accuracy": round(first.accuracy.value - 0.025, 3),
}
plots.budget_figure(ledger, **budget)

# %% [markdown]
# Then yours: move the sliders until only one variant is left. Which limit makes distillation worth it? Which one makes INT8 worth it?

# %% tags=["nbval-ignore-output"]
from course_lib.widgets import budget_explorer

budget_explorer(ledger, **budget)

# %% [markdown]
# ## Exercises
#
# **00.1 Read two rows.** Given two rows as dicts with `accuracy` (a fraction), `bytes`, `parameters`, `macs`, `p50_ms` (the median time of a call: half of the calls are faster) and `p95_ms` (95 % of the calls are faster), return how many times smaller the other one's file is than the first one's, how many times faster its usual call is, and how many points of accuracy it lost: plain numbers, not rounded. A row that is larger, slower or more accurate must show as one. Three lines.


# %%
def compare_rows(first, other):
    """Your turn: return (times smaller, times faster, points lost)."""
    ...


check("00.1", compare_rows)

# %% [markdown]
# **00.2 Eight bits and back.** Turn the worked example into a function: for a NumPy array `x` and a range `[low, high]` return $S$, $Z$ (a whole number), the codes (an array of uint8) and the restored numbers. Mind two things that the example was spared: a range that does not contain 0, and numbers outside of the range. About five lines.


# %%
def round_trip(x, low, high):
    """Your turn: return (scale, zero_point, codes, restored)."""
    ...


check("00.2", round_trip)

# %% [markdown]
# Stuck? `hint("00.2")` gives one more hint at each call, `solution("00.2")` the answer with its reason. `progress()` shows what you have passed, in all chapters.
#
# ## The map
#
# Six parts, read from left to right; within a part from top to bottom. Filled boxes are written.

# %% tags=["nbval-ignore-output"]
from course_lib.publishing.curriculum import PARTS, written

there = [page.chapter.number for page in written()]
display(plots.course_map_figure(PARTS, there))
claim("this chapter and the next one are written", {"00", "01"} <= set(there))

# %% [markdown]
# In a hurry? To *measure* honestly read 01. To make a network that you already have faster without training: 10, 12, 16. To ship on a Jetson: 12, 17. Before anything drives: 20 and 22.
#
# ## Pitfalls
#
# - **Zeros are not speed.** A sparse matrix in a dense file is as large and as slow as before, unless runtime and hardware know its pattern.
# - **A ratio of MACs is not a ratio of milliseconds**, and neither is a ratio of parameters one of bytes. Measure what you mean.
# - **No control, no conclusion.** A distilled student is compared with the same student, trained as long, on labels alone.
# - **Averages hide.** One point of accuracy may be a little of every class, or almost half of a single one. Chapter 20 looks class by class.
# - **A loop is not a camera.** Back to back, caches are warm; ask how often your network will be called.
# - **Your machine is not the car.** INT8 may gain twice as much there, or nothing.
#
# ## Recap

# %% tags=["nbval-ignore-output"]
display(
    Markdown(f"""
- From teacher to final network: **{final.size_ratio:.0f}× smaller**, **{final.speedup.value:.0f}× faster**
  back to back [{final.speedup.low:.1f}, {final.speedup.high:.1f}] and **{camera.value:.0f}×** at 30 pictures
  a second, **{measured["points lost"]:.2f} points lost** on {final.accuracy.n:,} test images.
- Most of it is the small student: {distilled.size_ratio:.1f}× smaller and {distilled.speedup.value:.1f}×
  faster before any pruning. Distillation changed neither; it bought {bought["rendered"]:+.1f} points on the
  rendered signs and {bought["gtsrb"]:+.1f} on the real ones (whole test parts, one training each).
- Cutting channels made it {faster.value:.2f}× faster; writing zeros left it as it was ({ratio.value:.2f}×
  [{ratio.low:.2f}, {ratio.high:.2f}]) and cost {-zeros.accuracy_change.value:.1f} points.
- INT8 shrank the teacher {int8.size_ratio:.1f}× and made it {int8.speedup.value:.2f}× faster here; the
  pruned student {small.size_bytes / final.size_bytes:.1f}× and {gain.value:.2f}×.
""")
)
whole = recorded[key]["figures"]["accuracy_drop_points"].value
claim(
    "a third of the signs tells the whole test part's loss to within 1.5 points",
    abs(measured["points lost"] - whole) < 1.5,
)

# %% [markdown]
# Next: [01 · measuring](01_measuring.ipynb). You have just seen many ratios; it is time to ask what they are worth.
#
# ## References
#
# - Hinton, Vinyals & Dean (2015), *Distilling the knowledge in a neural network*, [arXiv:1503.02531](https://arxiv.org/abs/1503.02531), section 2: temperature and the factor $T^2$.
# - Li et al. (2017), *Pruning filters for efficient ConvNets*, [arXiv:1608.08710](https://arxiv.org/abs/1608.08710), section 3: cutting whole filters.
# - Jacob et al. (2018), *Quantization and training of neural networks for efficient integer-arithmetic-only inference*, [arXiv:1712.05877](https://arxiv.org/abs/1712.05877), equation 1: scale and zero point.
# - Han, Mao & Dally (2016), *Deep compression*, [arXiv:1510.00149](https://arxiv.org/abs/1510.00149): the steps in a row.
# - Stallkamp et al. (2012), *Man vs. computer: benchmarking machine learning algorithms for traffic sign recognition*, Neural Networks 32: the German Traffic Sign Recognition Benchmark (GTSRB).
