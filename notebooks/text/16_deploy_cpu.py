# %% [markdown]
# # 16 · Deployment on a CPU: how do I ship it?
#
# The network is trained, small and quantized. On this processor: which file, which runtime, how many threads, how many images in a call? No answer changes a weight. How much does each change the time?
#
# **You will be able to**
#
# * export a network, and find a bad export before its users do;
# * choose threads and batch from a few measured times;
# * tell whether an INT8 file really runs in 8 bits;
# * compare runtimes in one table that says what it may claim;
# * say how long images wait in a queue.
#
# **Before:** chapters [01](01_measuring.ipynb) (medians, intervals, cadence), [10](10_affine_quantization.ipynb) (codes, BatchNorm folding) and 15 (fusion). **Time:** 95 min to work through; the cells take about 2 min on 2 quiet cores. Symbols: [notation](../docs/notation.md).

# %% tags=["nbval-ignore-output"]
import copy
import os
import tempfile
import warnings
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import onnx.parser
import onnxruntime
import torch
from IPython.display import Markdown, display
from torch import nn

from course_lib import measure, plots, widgets
from course_lib.data import load as load_data
from course_lib.deploy.onnx import export_onnx, node_times_ms, onnx_counts, open_session, optimized_graph
from course_lib.deploy.runtimes import load, runtime_variant, runtimes
from course_lib.errors import CourseError
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.fusion import fuse
from course_lib.measure import claim
from course_lib.measure.tables import text_table
from course_lib.models import checkpoints

# %% tags=["nbval-ignore-output"]
WEIGHTS = os.environ.get("COURSE_MOBILENET")  # a file mobilenet_v2-b0353104.pth, or None
PHOTOGRAPHS = os.environ.get("COURSE_IMAGES")  # a folder of photographs with ImageNet's labels, or None

torch.set_num_threads(1)  # PyTorch, too; the runtimes are told how many when they open a file
splits = load_data(size=32)
names = {"teacher": "teacher", "student": "student", "pruned": "final"}
networks = {name: checkpoints.load(f"{file}_{splits.train.name}")[0] for name, file in names.items()}
places = np.linspace(0, len(splits.validation) - 1, 300).astype(int)
images, labels = (part.numpy() for part in splits.validation.batch(places))  # (300, 3, 32, 32), (300,)
one = images[:1]
shown = tempfile.TemporaryDirectory()
folder = Path(shown.name)
features = measure.cpu_features()
print(f"{features['model']}, {features['cores']} cores, {', '.join(features['isa'])}")

# %% [markdown]
# `teacher` is the large network, `student` the distilled one, `pruned` the student with fewer channels.
#
# ## Predict first
#
# The pruned network, in ONNX Runtime, one image at a time:
#
# 1. Two threads instead of one, back to back, make it (a) less than 1.1 times faster, (b) 1.1 to 1.5, (c) more?
# 2. 8 bits instead of 32, one thread, 30 calls a second: (a) less than 1.1 times faster, (b) 1.1 to 1.5, (c) more?

# %% tags=["nbval-ignore-output"]
threads_guess = None  # "a", "b" or "c"; the chapter comes back to both
bits_guess = None
display(predict("16.p1", threads_guess, sure=None), predict("16.p2", bits_guess, sure=None))

# %% [markdown]
# ## A file that others can run
#
# PyTorch is a workshop: it trains, and weighs hundreds of MB. A *runtime* only executes. What it reads is a graph. An ONNX file holds *nodes* (an operator, the names of what it reads, the names of what it writes), *initializers* (stored tensors: the weights), and the shapes of the graph's inputs and outputs. Two version numbers come with it: the **opset**, the dictionary of operators, and the **IR version**, the format of the file itself.
#
# **Four numbers by hand.** $y = \max(0,\,2x - 1)$ turns ¼, ½, ¾ and 1 into 0, 0, ½ and 1. As a graph it is three nodes and two initializers:

# %% tags=["nbval-ignore-output"]
text = """<ir_version: 7, opset_import: ["" : 13]>
tiny (float[batch] x) => (float[batch] y) <float[1] two = {2}, float[1] one = {1}> {
  double = Mul(x, two)
  shifted = Sub(double, one)
  y = Relu(shifted)
}"""
session = onnxruntime.InferenceSession(onnx.parser.parse_model(text).SerializeToString())
four = np.array([0.25, 0.5, 0.75, 1.0], np.float32)
print(session.run(None, {"x": four})[0].tolist())

# %% [markdown]
# `float[batch]` is a *dynamic* axis: a name in place of a number, so any length will do. Export the three networks, and read what stands in a file:

# %% tags=["nbval-ignore-output"]
files = {(name, "float32"): export_onnx(model, folder / f"{name}.onnx") for name, model in networks.items()}
file = onnx.load(files["pruned", "float32"])
kinds = Counter(node.op_type for node in file.graph.node)
size = [axis.dim_param or axis.dim_value for axis in file.graph.input[0].type.tensor_type.shape.dim]
print(f"opset {file.opset_import[0].version}, IR {file.ir_version}, images {size}")
print(f"{len(file.graph.initializer)} initializers; nodes: {dict(kinds)}")
leaves = [layer for layer in networks["pruned"].modules() if not list(layer.children())]
print("the network's own layers:", dict(Counter(type(layer).__name__ for layer in leaves)))

# %%
claim("No BatchNorm is in the file: the exporter has folded it into the convolutions.",
      kinds["BatchNormalization"] == 0 and kinds["Conv"] > 0)

# %% [markdown]
# Why opset 13, of 2020? A new reader knows the old dictionaries; an old reader does not know the new ones. So the *oldest* runtime that must open the file decides. On a Jetson Nano, that is TensorRT 8.2, which reads opset 13. PyTorch's newer exporter (`dynamo=True`) begins at opset 18, so the course uses the older one.
#
# ### Bad exports raise no error
#
# Four exports of the pruned network: a right one, and three with a fault. The first fault is a network in train mode. This exporter puts a network into eval mode, unless it is told otherwise (`training=`); newer ones take it as it is. The third fault doubles dark images before the network sees them, with an `if`.

# %% tags=["nbval-ignore-output"]
class Brightened(nn.Module):
    """Doubles dark images."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        if images.mean() < 0.3:
            images = (2 * images).clamp(max=1)
        return self.network(images)


pruned = networks["pruned"].eval()
in_training = copy.deepcopy(pruned).train()
other_epsilon = copy.deepcopy(pruned)
for layer in other_epsilon.modules():
    if isinstance(layer, nn.BatchNorm2d):
        layer.eps = 1e-3  # another framework's default; PyTorch's is 1e-5

# %% tags=["nbval-ignore-output"]
def plain_export(model, path, training=False):
    """An export without a check; returns the tracer's warnings."""
    mode = torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL
    axes = {"images": {0: "batch"}, "logits": {0: "batch"}}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.onnx.export(model, (torch.zeros(1, 3, 32, 32),), str(path), opset_version=13, dynamo=False,
                          training=mode, do_constant_folding=not training, input_names=["images"],
                          output_names=["logits"], dynamic_axes=axes)
    return [str(w.message) for w in caught if issubclass(w.category, torch.jit.TracerWarning)]


brightened = Brightened(pruned).eval()
exports = {"right": (pruned, pruned), "train mode": (in_training, pruned),
           "another ε in BatchNorm": (other_epsilon, pruned), "an if on the image": (brightened, brightened)}
told = {name: plain_export(made_of, folder / "plain.onnx", training=name == "train mode")
        for name, (made_of, _) in exports.items()}
print("no warning:", ", ".join(name for name, warned in told.items() if not warned))
print(f"the last export warns: {told['an if on the image'][0]}")

# %% [markdown]
# The exporter *traces*: it runs the network once, on an image of zeros, and writes down the operators that it saw. An `if` is no operator; the branch that zeros took is now in the file for all images. A warning is easily lost among others, and a wrong constant gives none.
#
# How do we find such faults? Give the same images to file and network, and compare. Two measures: the share of images with the same class, and the **relative error**: the largest difference between two logits over the largest logit.

# %% tags=["nbval-ignore-output"]
def compared(session, model, batch):
    """Share of equal classes and relative error, each image by itself."""
    with torch.inference_mode():
        expected = np.concatenate([model(torch.tensor(image[None])).numpy() for image in batch])
    found = np.concatenate([session.run(None, {"images": image[None]})[0] for image in batch])
    return ((found.argmax(1) == expected.argmax(1)).mean(),
            np.abs(found - expected).max() / np.abs(expected).max())


brightness = images.mean((1, 2, 3))
sets = {"zeros": np.zeros_like(one), "dark": images[brightness < 0.3][:60], "all": images[::3]}
errors = {}
for name, (made_of, meant) in exports.items():
    plain_export(made_of, folder / "plain.onnx", training=name == "train mode")
    session = open_session(folder / "plain.onnx")
    errors[name] = {which: compared(session, meant, batch) for which, batch in sets.items()}
rows = [[name, *(f"{error:.0e}" for _, error in found.values()), f"{100 * found['all'][0]:.1f} %"]
        for name, found in errors.items()]
header = ["export", *(f"error, {which}" for which in sets), "same class, all"]
print(text_table(header, rows))

# %%
branch = errors["an if on the image"]
claim("The frozen branch shows on no dark image, and on all images it is wrong by more than 1 % of the "
      "largest logit.", branch["dark"][1] < 1e-4 and branch["all"][1] > 1e-2)

# %%
claim("A tolerance of 1e-4 passes the right export and refuses the other three; at least one of those "
      "keeps the class of 95 images in 100.",
      [name for name, found in errors.items() if found["all"][1] < 1e-4] == ["right"]
      and max(found["all"][0] for name, found in errors.items() if name != "right") > 0.95)

# %% [markdown]
# (In train mode, BatchNorm uses mean and variance of the images at hand: one image, here.) So compare *logits*, not classes, and on images of every kind that will come. What tolerance? An export may add the same numbers in another order. In float32 that costs about 1e-6; the faults above cost 1e-2 and more; 1e-4 lies between. `export_onnx` makes this comparison, on random images, before it keeps a file. It cannot know which kinds of images you have.
#
# ### What a runtime refuses
#
# A spatial transformer reads the image at places that it chooses. Its operator came with opset 16:

# %% tags=["nbval-ignore-output"]
class Resampled(nn.Module):
    """Reads each image at other places, here the same for all."""

    def __init__(self, network):
        super().__init__()
        self.network = network
        grid = nn.functional.affine_grid(torch.eye(2, 3)[None], [1, 3, 32, 32], align_corners=False)
        self.register_buffer("grid", grid)  # (1, 32, 32, 2)

    def forward(self, images):
        grid = self.grid.expand(images.shape[0], -1, -1, -1)
        return self.network(nn.functional.grid_sample(images, grid, align_corners=False))


try:
    load(Resampled(pruned).eval(), "onnxruntime")
except CourseError as error:
    print(f"{error}\n\nIn the exporter's own words: {error.__cause__}")

# %% [markdown]
# Read three things in such a message: *which operator*, *for which opset*, and *who* says so: the exporter, or the runtime when it opens the file. Then rewrite that part with older operators, or raise the opset where every target permits it.
#
# ## Threads and batch
#
# `load(model, runtime, threads=…)` opens a network and gives a function from images to logits. **Two threads** share each layer's work. Let a share $p$ of one thread's time be divisible. Then Amdahl's law (chapter 01) says for $n$ threads
#
# $$S_n = \frac{1}{(1 - p) + p/n}, \qquad\text{so}\qquad p = 2\,\Bigl(1 - \frac1{S_2}\Bigr) . \tag{1}$$
#
# **By hand.** Two threads are 1.6 times faster: $p = 2\,(1 - 0.625) = 0.75$. Four threads will give at most $1/(0.25 + 0.1875) = 2.3$.
#
# A thread that waits for work may *spin* (look again and again, which keeps its core busy) or sleep (and be woken, which takes time).

# %% tags=["nbval-ignore-output"]
options = {"1 thread": {"threads": 1}, "2 threads": {"threads": 2},
           "2, asleep": {"threads": 2, "spinning": False}, "1, again": {"threads": 1}}
ways, rows = {}, []
for name in ("teacher", "pruned"):
    calls = {way: partial(load(files[name, "float32"], "onnxruntime", **how), one)
             for way, how in options.items()}
    ways[name] = measure.latency(calls, warmup=10, repeats=30, threads=2, seed=0,
                                 cadence=measure.BACK_TO_BACK)
    for way in list(options)[1:]:
        ratio = ways[name].ratio("1 thread", way)
        share = 2 * (1 - 1 / ratio.value)
        rows.append([name, way, f"{ways[name].p50('1 thread'):.3f}", f"{ways[name].p50(way):.3f}",
                     measure.ratio_text(ratio), f"{share:.2f}" if way.startswith("2") else "A/A"])
print(text_table(["network", "with", "1 thread, ms", "ms", "times faster", "p by (1)"], rows))

# %% tags=["nbval-ignore-output"]
two_threads = ways["pruned"].ratio("1 thread", "2 threads")
display(reveal("16.p1", two_threads.value))
claim("The second thread gains the teacher more than the pruned network", hardware=True,
      condition=ways["teacher"].ratio("1 thread", "2 threads").low > two_threads.high,
      measured=f"teacher {measure.ratio_text(ways['teacher'].ratio('1 thread', '2 threads'))}, "
               f"pruned {measure.ratio_text(two_threads)}")

# %% [markdown]
# A negative $p$ says that (1) leaves something out: handing over and waiting cost time, for each layer anew. And (1) takes for granted that the second core is free: where another program uses it, two threads gain nothing, and a thread that spins takes the core from that program.
#
# **More images in a call.** A call costs $a$ by itself (Python, starting the operators one by one) and $b$ for each image:
#
# $$t(B) = a + b\,B, \qquad \text{images a second} = \frac{B}{a + bB} < \frac1b . \tag{2}$$
#
# At $B = a/b$ half of that limit is reached, at $9a/b$ 90 %: beyond, a larger batch buys little and makes everyone wait. **By hand.** 3 ms for 1 image and 11 ms for 9: $b = 8/8 = 1$, $a = 2$. Four images take 6 ms; that is 667 a second, of at most 1000.

# %% tags=["nbval-ignore-output"]
batches = [1, 2, 4, 8, 16, 32]
curves, lines, rows = {}, {}, []
for of, threads, repeats in (("teacher", 1, 20), ("pruned", 1, 400), ("pruned", 2, 400)):
    network = load(files[of, "float32"], "onnxruntime", threads=threads)
    calls = {str(batch): partial(network, images[:batch]) for batch in batches}
    timed = measure.latency(calls, warmup=2, repeats=repeats, threads=threads, seed=0)
    name = f"{of}, {threads} thread{'s' * (threads > 1)}"
    curve = curves[name] = {batch: timed.p50(str(batch)) for batch in batches}
    b = (curve[32] - curve[1]) / 31  # two points
    a = max(0.0, curve[1] - b)  # noise can make it negative
    lines[name] = a, b
    rows.append([name, f"{a:.3f}", f"{b:.4f}", f"{a / b:.1f}", f"{1000 / b:.0f}", f"{a + 8 * b:.3f}",
                 f"{curve[8]:.3f}"])
print(text_table(["", "a, ms", "b, ms", "a/b", "limit, images/s", "t(8) by (2), ms", "measured"], rows))

# %% tags=["nbval-ignore-output"]
plots.batch_figure(curves, lines)

# %% tags=["nbval-ignore-output"]
off = {name: (lines[name][0] + 8 * lines[name][1]) / curve[8] - 1 for name, curve in curves.items()}
claim("The line through batches 1 and 32 tells the time of batch 8 within 25 %", hardware=True,
      condition=max(map(abs, off.values())) < 0.25,
      measured=", ".join(f"{name} {100 * value:+.0f} %" for name, value in off.items()))

# %% [markdown]
# **Exercise 16.1.** With more points, fit the line by least squares; then ask it for the largest batch.


# %%
def largest_batch(batches, times_ms, deadline_ms):
    """(a, b, B): the least-squares line t(B) = a + b·B through all points, and the largest whole B with
    t(B) ≤ deadline.

    B is 0 if one image is late already. B may lie beyond the batches that were measured. b is positive.
    """
    ...


check("16.1", largest_batch)

# %% [markdown]
# That deadline begins when *all* images are there. From a camera with $\lambda$ images a second, the first of $B$ has waited for $B - 1$ others:
#
# $$\text{first image's wait} = \frac{B - 1}{\lambda} + a + bB . \tag{3}$$
#
# **By hand.** 30 images a second, deadline 100 ms: of 4 images the first waits $3 \cdot 33.3 = 100$ ms, and no time is left to compute. So at most 3, whatever the processor. And (3) holds only while the processor keeps up, $t(B) \le B/\lambda$: else the batches queue. Batches are for images that are there already: a folder, several cameras, many users. Move the arrivals, the deadline, and the speed of the processor:

# %% tags=["nbval-ignore-output"]
one_thread = {name: line for name, line in lines.items() if "1" in name}
plots.deadline_figure(one_thread, rate=300, deadline_ms=40)

# %% tags=["nbval-ignore-output"]
widgets.deadline_explorer(one_thread)

# %% [markdown]
# **Exercise 16.2.** Two numbers from one list of times. A rate is images *over* time.


# %%
def latency_and_throughput(times_ms, batch, warmup):
    """(p50 in ms, p95 in ms, images per second) of calls back to back with ``batch`` images each.

    The first ``warmup`` calls are dropped. p50 and p95 are those of a call, as np.percentile gives them
    (linear between two calls). Images per second: all images of the calls that count, over the time that
    these calls took.
    """
    ...


check("16.2", latency_and_throughput)

# %% [markdown]
# ## INT8 on this very processor
#
# 8 bits gain time where one instruction multiplies and adds several bytes, a *dot product*. Above stand this processor's instruction sets; `avx512_vnni`, `avx_vnni`, `amx_int8`, `asimddp` and `i8mm` are of that kind. But a processor that could is not a file that does. Here are three INT8 files of each network, all in QDQ form: float operators between `DequantizeLinear` and `QuantizeLinear`, which the runtime should merge into integer ones.
#
# * **U8S8** is what chapter 12 exports: unsigned activations, signed weights, and a bias in 32 bits.
# * **S8S8** is the same with signed activations.
# * **TensorRT** is what TensorRT on a Jetson wants: signed codes around 0, weights and bias still stored as floats.
#
# `.precision` says in what the runtime *executes*, read from the graph that it made of the file.

# %% tags=["nbval-ignore-output"]
from course_lib.quantization.affine import Codes
from course_lib.quantization.calibrated import quantize_network
from course_lib.quantization.post_training import calibration_images
from course_lib.quantization.qdq import export_qdq
from course_lib.quantization.tensorrt import export_tensorrt, quantize_symmetric

few = torch.tensor(calibration_images(splits.train, 96))
for name in ("teacher", "pruned"):
    unsigned = quantize_network(networks[name], few)
    signed = quantize_network(networks[name], few, activation_codes=Codes(8))
    symmetric = quantize_symmetric(networks[name], few)
    files[name, "U8S8"] = export_qdq(unsigned, folder / f"{name}_u8.onnx")
    files[name, "S8S8"] = export_qdq(signed, folder / f"{name}_s8.onnx")
    files[name, "TensorRT"] = export_tensorrt(symmetric, folder / f"{name}_trt.onnx")
opened = {key: load(file, "onnxruntime") for key, file in files.items() if key[0] != "student"}

# %% tags=["nbval-ignore-output"]
converts = ("QuantizeLinear", "DequantizeLinear", "Transpose", "ReorderInput", "ReorderOutput")
rows, graphs = [], {}
for (name, bits), network in opened.items():
    kinds = graphs[name, bits] = optimized_graph(files[name, bits], "all").kinds
    steps = node_times_ms(files[name, bits], one, threads=1, warmup=10, repeats=60)
    total = sum(ms for _, ms in steps.values())
    part = sum(ms for kind, ms in steps.values() if kind in converts) / total
    changes = sum(count for kind, count in kinds.items() if kind.split(":")[-1] in converts)
    rows.append([name, bits, measure.quantity(network.bytes, "B"), network.precision, sum(kinds.values()),
                 changes, f"{100 * part:.0f} %"])
print(text_table(["network", "file", "size", "executed in", "operators", "that convert", "their time"],
                 [[str(cell) for cell in row] for row in rows]))

# %% [markdown]
# An operator *converts* if it only changes codes, layout or type. Its share of the time is from ONNX Runtime's own profile, which makes small operators look longer: a rough number. Now the files against each other, in two cadences, with float32 twice:

# %% tags=["nbval-ignore-output"]
paces = {measure.BACK_TO_BACK: 30, measure.THIRTY_A_SECOND: 8}
by_pace = {}
for name in ("teacher", "pruned"):
    calls = {bits: partial(network, one) for (of, bits), network in opened.items() if of == name}
    calls["float32, again"] = partial(load(files[name, "float32"], "onnxruntime"), one)
    reports = measure.latency_by_cadence(calls, paces, warmup=10, threads=1, seed=0)
    by_pace[name] = {report.cadence.name: report for report in reports}
rows = [[name, pace, f"{report.p50('float32'):.3f}",
         *(f"{measure.ratio_text(report.ratio('float32', bits))}"
           for bits in ("U8S8", "S8S8", "TensorRT", "float32, again"))]
        for name, found in by_pace.items() for pace, report in found.items()]
print(text_table(["network", "cadence", "float32, ms", "U8S8 times faster", "S8S8", "TensorRT", "A/A"], rows))

# %% tags=["nbval-ignore-output"]
camera = measure.THIRTY_A_SECOND.name
display(reveal("16.p2", by_pace["pruned"][camera].ratio("float32", "U8S8").value))
slower = {name: found["back to back"].ratio("float32", "TensorRT") for name, found in by_pace.items()}
claim("The file for TensorRT is slower here than float32: \"INT8\" in the name buys nothing", hardware=True,
      condition=max(ratio.high for ratio in slower.values()) < 1,
      measured=", ".join(f"{name} {measure.ratio_text(ratio)}" for name, ratio in slower.items()))

# %% tags=["nbval-ignore-output"]
merged = {key: network.precision == "int8" for key, network in opened.items()}
both_signed = by_pace["pruned"]["back to back"].ratio("TensorRT", "S8S8")
claim("Of the pruned network's two signed files, S8S8 is merged, the other is not, and S8S8 is faster",
      hardware=True, measured=f"{measure.ratio_text(both_signed)} times faster",
      condition=merged["pruned", "S8S8"] and not merged["pruned", "TensorRT"] and both_signed.low > 1)

# %% [markdown]
# Where a layer was not merged, the file computes it in floats, and converts before and after: more operators than float32 has, and none saved. Are the signs to blame? S8S8 is the control: the pruned network's is merged as U8S8 is, and about as fast; of the teacher's, most layers are not. So merging decides. Which pairs a runtime merges is its own affair, and changes with its version. A file that is slow here is right on the device it was made for. **Ask the runtime what it executes**; a small file and a name prove nothing.
#
# What do the dot products themselves bring? A controlled comparison is recorded: the same processor, once with its dot products hidden from all programs (`course_lib.measure.without_dot_products`).

# %% tags=["nbval-ignore-output"]
pairs = {"teacher": ("teacher FP32", "teacher INT8"),
         "pruned": ("student pruned FP32", "student pruned INT8")}


def recorded_ms(record, row, pace):
    """Recorded median of a row in ms; nan if it is not there."""
    found = [time["p50_ms"] for one in record["ledger"]["rows"] if one["name"] == row
             for time in one["times"] if time["cadence"] == pace]
    return found[0] if found else float("nan")


rows = []
for journey in measure.load_results("journey_rendered"):
    for name, (floats, integers) in pairs.items():
        gains = [recorded_ms(journey, floats, pace) / recorded_ms(journey, integers, pace)
                 for pace in ("back to back", camera)]
        rows.append([journey["machine"]["cpu"], name, *(f"{gain:.2f} ×" for gain in gains)])
print(text_table(["recorded on", "network", "INT8 faster, back to back", camera], rows))

# %% [markdown]
# ## Runtimes side by side
#
# Which runtimes are here? An absent one is named, never replaced by another. (`torch_compile` compiles for up to a minute; the tables leave it out. Some runtimes write remarks of their own when they start.)

# %% tags=["nbval-ignore-output"]
here = runtimes()
rows = [[name, found.version or "–", found.reason or "ready", "" if found.available else found.mend]
        for name, found in here.items()]
print(text_table(["runtime", "version", "", "to install it"], rows))

# %% tags=["nbval-ignore-output"]
def folded(model):
    """Chapter 15's: BatchNorm inside the convolutions."""
    return fuse(model, torch.tensor(images[:1]), one_kernel=False, packed=False).model


plan = {"eager": ("torch", pruned, {}), "eager, folded": ("torch_fused", pruned, {"fuse": folded})}
others = ("onnxruntime", "openvino", "litert", "executorch")
plan |= {f"{name} float32": (name, pruned, {}) for name in others}
plan |= {f"{name} INT8": (name, files["pruned", "U8S8"], {}) for name in ("onnxruntime", "openvino")}
loaded, refused = {}, {}
for row, (runtime, model, how) in plan.items():
    try:
        loaded[row] = load(model, runtime, threads=1, **how)
    except CourseError as error:
        refused[row] = str(error)
rows = [[row, network.version, network.provider, network.precision, network.instruction_set]
        for row, network in loaded.items()]
print(text_table(["", "version", "provider", "executes in", "instruction set"], rows))

# %% [markdown]
# The *provider* is the part of a runtime that executes. It and the precision are asked back from the runtime: what was asked for may be something else. Now all of them in one ledger: interleaved, one thread (PyTorch, too), batch 1, eager PyTorch as the baseline and once more as its own A/A row.

# %% tags=["nbval-ignore-output"]
counts = {bits: onnx_counts(files["pruned", bits]) for bits in ("float32", "U8S8")}
variants = [runtime_variant(network, row, counts=counts["U8S8" if "INT8" in row else "float32"])
            for row, network in loaded.items()]
ledger = measure.measure_ledger(
    variants, images, labels, splits.validation.groups[places], title="The pruned network, by runtime",
    data="validation", threads=1, warmup=10, seed=0, batch=1,
    cadences={measure.BACK_TO_BACK: 12, measure.THIRTY_A_SECOND: 8},
    again=runtime_variant(load(pruned, "torch"), "eager again", counts=counts["float32"]))
ledger

# %% [markdown]
# A time without agreement is worth nothing: the fastest network returns zeros. So beside each time belongs how well it agrees with the reference, and on how many images.
#
# **Exercise 16.3.** Ties and NaN included.


# %%
def agreement(found, expected):
    """(share, error) for logits (N, C) of two runtimes, float32 arrays, N ≥ 1.

    ``expected`` is the reference; it is not all 0.

    share: of the images whose largest logit has the same place in both, in 0 … 1; of equal largest logits
    the first one counts. An image with a NaN on either side does not agree.
    error: the largest |found − expected| over the largest |expected|, each of all logits together; inf with
    a NaN anywhere. No logit is infinite.
    """
    ...


check("16.3", agreement)

# %% tags=["nbval-ignore-output"]
logits = {row: np.concatenate([network(image[None]) for image in images]) for row, network in loaded.items()}
alike = {row: (float((found.argmax(1) == logits["eager"].argmax(1)).mean()),
               float(np.abs(found - logits["eager"]).max() / np.abs(logits["eager"]).max()))
         for row, found in logits.items()}
tails = {row.name: row.times for row in ledger.rows}
rows = [[row, *(f"{time.p50:.3f}" for time in tails[row]),
         f"{np.percentile(tails[row][0].ms, 99):.3f}", f"{tails[row][1].worst:.3f}", f"{100 * share:.1f} %",
         f"{error:.0e}"] for row, (share, error) in alike.items()]
cadences = [time.cadence for time in tails["eager"]]
print(text_table(["ms", *(f"p50, {pace}" for pace in cadences), f"p99 of {len(tails['eager'][0].ms)}",
                  f"slowest of {len(tails['eager'][1].ms)}, 30 a second", f"same class, n = {len(images)}",
                  "error"], rows))

# %%
floats = [row for row in alike if "INT8" not in row]
claim("All float32 rows agree with eager PyTorch within 1e-4, and INT8 is further off than any of them.",
      max(alike[row][1] for row in floats) < 1e-4
      and min(alike[row][1] for row in alike if "INT8" in row) > max(alike[row][1] for row in floats))

# %% tags=["nbval-ignore-output"]
orders = [sorted(tails, key=lambda row: tails[row][i].p50) for i in range(2)]
print(*(f"{pace}: {' < '.join(order)}" for pace, order in zip(cadences, orders, strict=True)), sep="\n")


def order(i, row, other):
    """1 if row is the faster one in cadence i, −1 if the other is, 0 if their intervals overlap."""
    x, y = tails[row][i].speedup, tails[other][i].speedup
    return int(x.low > y.high) - int(y.low > x.high)


turned = [f"{row} and {other}" for n, row in enumerate(tails) for other in list(tails)[:n]
          if "eager" not in (row, other) and order(0, row, other) * order(1, row, other) < 0]
print("clearly in another order at 30 calls a second:", ", ".join(turned) or "no pair")

# %% [markdown]
# p99 is the time that one call in a hundred exceeds. At a deadline it is what counts, and it takes hundreds of calls to know it; of 40 calls one can only tell the slowest. The record has more rounds, more networks and more runtimes. Its `torch_fused` is the fastest of chapter 15's three candidates, found by timing them.

# %% tags=["nbval-ignore-output"]
try:
    record = measure.load_result("runtimes")
except CourseError:
    record = None


def recorded_rows(network):
    """Row's name → (value, low, high) in each cadence, times faster than eager float32."""
    rows = [row for row in (record or {}).get("rows", []) if row["network"] == network]
    ratios = {row["row"]: [row["times"][pace]["faster_than_eager"] for pace in cadences] for row in rows}
    return {name: [(one["value"], one["low"], one["high"]) for one in found]
            for name, found in ratios.items() if all(found)}


found = recorded_rows("pruned")
plots.cadences_figure(found, cadences, "The pruned network, recorded") if found else print("not recorded yet")

# %% tags=["nbval-ignore-output"]
def sentence(key):
    """A recorded figure in words, with its interval and its target."""
    figure = record["figures"].get(key) if record else None
    if figure is None:
        return f"{key}: not recorded yet"
    target = "" if figure.target is None else f"; target {figure.target}: {'met' if figure.met else 'missed'}"
    return f"{figure.meaning}: {figure}{target}"


for name in networks:
    print(sentence(f"best_over_eager_{name}"), sentence(f"turned_pairs_{name}"), sep="\n")

# %% [markdown]
# ### What the wrapper costs
#
# Our function checks the images' type before it calls the runtime. How much of the times above is that? The bare call, ours, and the bare call again, for the smallest network. The difference is a microsecond or two, so it takes many rounds:

# %% tags=["nbval-ignore-output"]
session, again = (open_session(files["pruned", "float32"]) for _ in range(2))
feed = {"images": one}
calls = {"bare": lambda: session.run(["logits"], feed), "ours": partial(opened["pruned", "float32"], one),
         "bare, again": lambda: again.run(["logits"], feed)}
wrapped = measure.latency(calls, warmup=20, repeats=400, threads=1, seed=0,
                          cadence=measure.BACK_TO_BACK)
added = wrapped.ratio("ours", "bare")  # above 1: ours takes longer
percents = [100 * (part - 1) for part in (added.value, added.low, added.high)]
print(wrapped)
claim("Back to back, our function adds at most 3 % to the runtime's own call", hardware=True,
      condition=added.high < 1.03, measured="{:+.1f} % [{:+.1f}, {:+.1f}]".format(*percents))

# %% [markdown]
# ## A network that nobody here trained
#
# torchvision's **MobileNetV2** knows ImageNet's 1000 classes. It is made of *depthwise* convolutions (one filter for each channel), which give a processor little to do for each byte, and whose channels differ so much that 8 bits are hard (chapter 12). The same three steps: fuse, quantize, run. Its weights are not part of the course: name them and some photographs in the second cell. Without them you see the record.

# %% tags=["nbval-ignore-output"]
def mobilenet_rows(weights, photographs):
    """MobileNetV2 from the file and photographs of one's own: agreement, accuracy, and ms in turn."""
    from course_lib.data.folder import image_folder
    from course_lib.models.pretrained import mobilenet_v2

    model, (pictures, truth) = mobilenet_v2(weights), image_folder(photographs, 224)
    mirrored = torch.tensor(pictures[..., ::-1].copy())  # other views, for the ranges of the codes
    int8, shape = folder / "mobilenet_u8.onnx", (1, 3, 224, 224)
    export_qdq(quantize_network(model, mirrored), int8, input_shape=shape)
    opened = {"eager": load(model, "torch", input_shape=shape)}
    opened["onnxruntime float32"] = load(model, "onnxruntime", input_shape=shape)
    opened["onnxruntime INT8"] = load(int8, "onnxruntime", input_shape=shape)
    calls = {row: partial(network, pictures[:1]) for row, network in opened.items()}
    times = measure.latency(calls, warmup=3, repeats=15, threads=1, seed=0)
    classes = {row: np.concatenate([network(x[None]) for x in pictures]).argmax(1)
               for row, network in opened.items()}
    return [[row, f"{times.p50(row):.1f}", measure.ratio_text(times.ratio("eager", row)),
             f"{(found == classes['eager']).sum()} of {len(truth)}", f"{(found == truth).sum()}"]
            for row, found in classes.items()]

# %% tags=["nbval-ignore-output"]
header = ["MobileNetV2", "ms", "times faster", "same class as eager", "right"]
if WEIGHTS and PHOTOGRAPHS:
    print(text_table(header, mobilenet_rows(WEIGHTS, PHOTOGRAPHS)))
else:
    chosen = [row for row in (record or {}).get("rows", []) if row["network"] == "mobilenet_v2"]
    rows = [[row["row"], f"{row['times'][cadences[0]]['ms']:.2f}",
             *(f"{100 * part['value']:.1f} % [{100 * part['low']:.1f}, {100 * part['high']:.1f}]"
               for part in (row["agreement"], row["accuracy"]))] for row in chosen]
    print(text_table(["recorded", "ms, back to back", "same class as eager", "right"], rows)
          if rows else "no weights named, and not recorded yet")
    print(chosen[0]["images"] if chosen else "")

# %% [markdown]
# Read the number of photographs first: with a few dozen, an interval reaches over many points, and views of one photograph are no new photographs. (Where all classes agree, resampling has no spread to show; that interval is what 20 photographs in 20 can say.)
#
# ## When images queue
#
# So far each image found the processor free. Let $\lambda$ images arrive a second and each take $t$ seconds. Then the processor is busy for the share
#
# $$\rho = \lambda\,t , \tag{4}$$
#
# the **load** (utilisation). Above 1 the line grows without end. But long before? **Four arrivals by hand.** They come at 0, 1, 2 and 12 ms and take 3 ms each. The first begins at 0. The second, there at 1, begins at 3: it waits 2. The third, there at 2, begins at 6: it waits 4. The fourth waits 0. The load is 12 ms of work in 15 ms, yet the mean wait is 1.5 ms, half a computation.


# %%
def waits_in_line(arrivals, services):
    """One server, first come first served."""
    free, waits = -np.inf, []
    for arrival, service in zip(arrivals, services, strict=True):
        begin = max(arrival, free)
        waits.append(begin - arrival)
        free = begin + service
    return waits


from course_lib.measure.serving import expected_wait, waiting_times

print(waits_in_line([0, 1, 2, 12], [3, 3, 3, 3]))
some = np.random.default_rng(0).uniform(0, 2, (2, 50))
claim("These lines give what the library gives.",
      np.allclose(waits_in_line(np.sort(some[0]), some[1]), waiting_times(np.sort(some[0]), some[1])))

# %% [markdown]
# Now many, with service times measured above: the pruned network's calls back to back, drawn at random. (At small loads the processor rests in between, and a real call takes longer.) Arrivals come in two patterns, at the same rate: evenly, as from a camera, and by chance, as from many users who do not know of one another (a *Poisson* process). For chance there is a formula for the mean wait, by Pollaczek and Khinchine, with the service time $S$:
#
# $$\text{mean wait} = \frac{\lambda\,\mathrm E[S^2]}{2\,(1 - \rho)} . \tag{5}$$
#
# The denominator makes it explode near $\rho = 1$; the *square* means that a few slow calls count more than their time.

# %% tags=["nbval-ignore-output"]
measured = by_pace["pruned"]["back to back"].samples("float32").ravel()  # ms
loads = [0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95]


def waits_at(load, services, pattern, count=20_000, seed=0):
    """Waits of ``count`` images at a load, in mean services."""
    rng = np.random.default_rng(seed)
    takes = rng.choice(services, count)
    between = services.mean() / load  # mean time between arrivals
    gaps = np.full(count, between) if pattern == "evenly" else rng.exponential(between, count)
    return waiting_times(np.cumsum(gaps), takes) / services.mean()


waits = {"evenly, mean": [waits_at(load, measured, "evenly").mean() for load in loads],
         "by chance, mean": [waits_at(load, measured, "by chance").mean() for load in loads],
         "by chance, p99": [np.percentile(waits_at(load, measured, "by chance"), 99) for load in loads]}
theory = {load: expected_wait(load / measured.mean(), measured) / measured.mean()
          for load in np.linspace(0.1, 0.95, 50)}
plots.queue_figure(loads, waits, theory)

# %%
equal = np.ones(1)  # services that are all alike
simulated = [waits_at(load, equal, "by chance", count=100_000).mean() for load in (0.5, 0.8)]
claim("With equal services, simulated waits are within 10 % of (5) at loads of 0.5 and 0.8; evenly spaced "
      "images never wait.",
      all(abs(wait / expected_wait(load, equal) - 1) < 0.1
          for wait, load in zip(simulated, (0.5, 0.8), strict=True))
      and max(waits_at(load, equal, "evenly", count=1000).max() for load in (0.5, 0.8)) < 1e-6)

# %% [markdown]
# Evenly spaced images wait only behind slow calls, so a camera may come near a load of 1 if its calls are steady; users by chance may not. What a batch adds to this: it lowers the work for each image from $a + b$ to $a/B + b$, and so the load; and it makes images wait for one another, by (3). Raise $B$ until the deadline says no, and not further.
#
# **Exercise 16.4.** One line, several servers: the first in the line goes to whichever is free first.


# %%
def waits_at_servers(arrivals, services, servers):
    """How long each image waits before its own computation begins, as a list.

    Image i arrives at ``arrivals[i]`` (ascending, equal ones allowed, the first at any moment) and takes
    ``services[i]`` ≥ 0, in the same unit, on any of ``servers`` ≥ 1 equal servers, all free at first.
    Images begin in the order of the lists, each as soon as it is there and a server is free.
    """
    ...


check("16.4", waits_at_servers)

# %% [markdown]
# ## What belongs beside a number
#
# | write down | because |
# |---|---|
# | file, its bytes, the precision that was *executed* | "INT8" may run in floats |
# | runtime, version, provider, instruction set | a fallback looks like a slow network |
# | batch, threads, cadence | each is another question |
# | warm-up calls, number of calls, median and p99 | the first calls pay for the set-up; a mean belongs to no call |
# | eval mode, no autograd | PyTorch otherwise computes more, and something else |
# | interleaved, interval of the ratio, A/A | without them a drift is a speed-up |
# | agreement with the reference, on n images | the fastest network returns zeros |
#
# **Exercise 16.5.** The same as a program. Two timings are dicts with the keys `warmup`, `gradients`, `mode`, `calls`, `statistic`, `batch`, `threads` and `cadence`.


# %%
def faults(a, b, ratio, aa):
    """Names of all that forbids to say "b is faster or slower than a"; [] if nothing does. In this order:

    "warm-up"    a or b has ``warmup`` 0 (calls that were dropped)
    "autograd"   a or b has ``gradients`` True
    "train mode" a or b has a ``mode`` other than "eval"
    "few calls"  a or b has fewer than 30 ``calls`` (those after the warm-up)
    "statistic"  a or b has a ``statistic`` other than "median"
    "batch"      their ``batch`` differs
    "threads"    their ``threads`` differ
    "cadence"    their ``cadence`` differs
    "no effect"  ratio = (low, high), the 95 % interval of a's time over b's, holds 1, ends included
    "A/A"        aa = (low, high), the interval of a file against itself, does not hold 1, ends included
    """
    ...


check("16.5", faults)

# %% [markdown]
# ## Pitfalls
#
# * **An export checked by its classes,** or on one kind of image.
# * **A Python `if` on values,** frozen by the tracer.
# * **The newest opset,** and a device that cannot read it.
# * **All cores for one small network.**
# * **A batch's time divided by B, and called latency.**
# * **Batches from one camera.**
# * **"INT8" read from a file's name,** though the runtime merged half of it, or nothing.
# * **A runtime that fell back** to another provider, or to bfloat16, in silence.
# * **Two runtimes timed on two days,** or in two cadences.
# * **A processor planned for a load of 1.**
#
# ## Recap

# %% tags=["nbval-ignore-output"]
bare, (a, b) = wrapped.p50("bare"), lines["pruned, 1 thread"]
int8 = {pace: measure.ratio_text(report.ratio("float32", "U8S8"))
        for pace, report in by_pace["pruned"].items()}
fastest = [min((row for row in tails), key=lambda row: tails[row][i].p50) for i in range(2)]
display(Markdown(f"""
1. A right export differs by {errors["right"]["all"][1]:.0e} of the largest logit. Train mode costs
   {errors["train mode"]["all"][1]:.0e}; another ε
   {errors["another ε in BatchNorm"]["all"][1]:.0e}, and it keeps
   {100 * errors["another ε in BatchNorm"]["all"][0]:.0f} % of the classes: compare logits.
2. Two threads give the pruned network {measure.ratio_text(two_threads)} times the speed of one, the teacher
   {measure.ratio_text(ways["teacher"].ratio("1 thread", "2 threads"))}.
3. A call of the pruned network costs {a:.3f} ms and {b:.4f} ms for each image: half of its limit,
   {1000 / b:.0f} a second, is reached at {a / b:.1f} images in a call.
4. INT8 (U8S8) over float32: {"; ".join(f"{ratio} {pace}" for pace, ratio in int8.items())}. The file for
   TensorRT executes in {opened["pruned", "TensorRT"].precision}: {measure.ratio_text(slower["pruned"])}.
5. Fastest of the runtimes here: {fastest[0]} back to back, {fastest[1]} at 30 a second; agreement
   {100 * alike[fastest[0]][0]:.1f} % of {len(images)}. {sentence("best_over_eager_pruned")}.
6. At a load of 0.9, images that come by chance wait {waits["by chance, mean"][5]:.1f} computations in the
   mean, one in a hundred more than {waits["by chance, p99"][5]:.0f}.
"""))

# %% [markdown]
# Next: [17 · deployment on a Jetson](17_deploy_jetson.ipynb) takes these files to a small board: what it can run, and what must be measured there.
#
# ## References
#
# * ONNX. *Operator schemas* and *Versioning*: [onnx.ai](https://onnx.ai/onnx/repo-docs/Versioning.html).
# * ONNX Runtime. *Thread management*; *Quantize ONNX models*: [onnxruntime.ai](https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
# * M. Sandler et al. (2018). *MobileNetV2.* [arXiv:1801.04381](https://arxiv.org/abs/1801.04381).
# * G. Amdahl (1967). *Validity of the single processor approach to achieving large scale computing capabilities.* AFIPS 30.
# * D. V. Lindley (1952). *The theory of queues with a single server.* Mathematical Proceedings of the Cambridge Philosophical Society 48(2).
# * L. Kleinrock (1975). *Queueing systems, volume 1*, section 5.6: Pollaczek and Khinchine's mean wait.
