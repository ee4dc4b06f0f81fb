# %% [markdown]
# # 17 · Deploying to a Jetson: how do I ship it on a Jetson?
#
# The network must drive on a small board, and the board is not on your desk: it is in the car, in the next building, or not bought yet. What can you know before it is there? What must be measured on it, and how do the numbers come home without fooling you?
#
# **You will be able to**
#
# * read a board's data sheet for what decides, and predict the least time of a network on it;
# * turn power samples into energy for a picture and pictures from a battery;
# * build a folder that a board can run with nothing but Python, and say what TensorRT asks of an INT8 file;
# * refuse a result that looks like a measurement and is none;
# * set a prediction beside a measurement, and say what each is worth.
#
# **Before:** chapters [01](01_measuring.ipynb) (latency, roofline), [10](10_affine_quantization.ipynb) (scales, zero points), [11](11_integer_arithmetic.ipynb) (integer arithmetic), [16](16_deploy_cpu.ipynb) (shipping on a CPU). **Time:** 110 min to work through; the cells take about 1 min on 2 quiet cores. Symbols: [notation](../docs/notation.md).
#
# **Nobody has measured a board for this page.** What it says of a Jetson is documented or predicted, and marked so. What it measures, it measures on the CPU under this notebook.

# %% tags=["nbval-ignore-output"]
import copy
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from IPython.display import Markdown, display

from course_lib import measure, plots, widgets
from course_lib.deploy import edge
from course_lib.deploy.onnx import onnx_layers, open_session, optimized_graph
from course_lib.errors import CourseError
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.experiments import edge_kit
from course_lib.measure import claim
from course_lib.measure.tables import text_table

# %% tags=["nbval-ignore-output"]
folder = tempfile.TemporaryDirectory()
kit = Path(folder.name) / "kit"
manifest = edge_kit.build(kit, data=os.environ.get("COURSE_DATA") or "rendered", test_images=1000)
for model in manifest.models:
    print(f"{model.name:12}  {model.title:31}  {model.macs / 1e6:5.1f} M MACs")

# %% [markdown]
# That built the *kit*, a folder for the board; we look into it below. Its networks are the course's: a teacher, a student, and the student with fewer channels (`pruned`), the last in 8 bits as well. Layer by layer, one image:

# %%
def layers_of(name):
    """Layer → its counts: MACs, bytes of weights and activations in FP32."""
    *convolutions, last = onnx_layers(kit / manifest.model(name).file).values()
    return {f"conv {i}": row for i, row in enumerate(convolutions, 1)} | {"classifier": last}


networks = {name: layers_of(name) for name in ("teacher", "fp32", "pruned")}

# %% [markdown]
# ## Predict first
#
# 1. The GPU of an Orin Nano multiplies 8-bit numbers at 20,000 G operations a second; one core of a Nano multiplies FP32 numbers at 11.8: about 1,700 times as many. By documented peaks of arithmetic *and* memory, the pruned network's least time shrinks by (a) more than 1,000 ×, (b) 500 to 1,000 ×, (c) less than 500 ×?
# 2. The kit holds two INT8 files of the pruned network, one for CPUs and one for the Orin's GPU. The GPU's file runs on this CPU, too. It takes (a) less than 0.8 times the FP32 file's time, (b) 0.8 to 1.25 times, (c) more?

# %% tags=["nbval-ignore-output"]
peak_guess = None  # "a", "b" or "c"; the chapter comes back to both
file_guess = None
display(predict("17.p1", peak_guess, sure=None), predict("17.p2", file_guess, sure=None))

# %% [markdown]
# ## A board is a few peaks, and what it lacks
#
# A data sheet's *peak* is cores × clock × operations a cycle: no program reaches it, none passes it. That makes it a bound, up to a data sheet's rounding (an Orin's 20 TOPS are 20.5 by that product). With each number the library keeps the place where it is written; where two documents of NVIDIA differ (a Nano's core: 1.43 or 1.479 GHz), it takes the larger one.

# %%
def peak_of(board, runtime, precision):
    """G operations a second, or "no"."""
    try:
        return f"{board.peak(runtime, precision).value:,.1f}"
    except CourseError:
        return "no"


nano, orin = edge.BOARDS["nano"], edge.BOARDS["orin_nano"]
ways = [("onnxruntime", "fp32"), ("onnxruntime", "int8"), ("tensorrt", "fp16"), ("tensorrt", "int8")]
rows = [[board.title, f"{board.cores}", f"{board.bandwidth.value}", *(peak_of(board, *way) for way in ways)]
        for board in (nano, orin)]
header = ["board", "cores", "GB/s", "core FP32", "core INT8", "GPU FP16", "GPU INT8"]
print(text_table(header, rows))
print(orin.peak("tensorrt", "int8").source)

# %% [markdown]
# Peaks in G operations a second, of one core or of the GPU. The Orin's GPU can also skip half of the weights where two of each four are zero (2:4, chapter [09](09_how_much_where.ipynb)); the advertised TOPS often count that, so look for *dense*. And "no"?

# %%
for runtime in ("tensorrt", "onnxruntime"):
    try:
        nano.peak(runtime, "int8")
    except CourseError as error:
        print(error.problem)

# %% [markdown]
# So the Nano runs INT8 files on its CPU only, by way of wider integers, at a speed that nobody documents. The library predicts nothing there rather than something made up.
#
# ## The roofline gives the least time
#
# A layer of $W = 2\,\mathrm{MACs}$ operations that moves $Q$ bytes takes, on a peak of $P$ operations and a bandwidth of $\beta$ bytes a second (chapter 01),
#
# $$t \ge \max\!\left(\frac WP, \frac Q\beta\right), \qquad t_\text{network} \ge \sum_\text{layers} t . \tag{1}$$
#
# if each tensor comes from memory once. The maximum stands *inside* the sum: layers run one after the other, and one layer's bytes do not hide behind another one's operations. An element has $b/8$ bytes; narrower numbers raise $P$ and shrink $Q$.
#
# **Four numbers by hand.** $W = 10^6$ operations, $Q = 4 \cdot 10^5$ bytes in FP32. One Nano core, $P = 11.83 \cdot 10^9$, $\beta = 25.6 \cdot 10^9$: $W/P = 85$ µs, $Q/\beta = 16$ µs, so 85 µs: it computes. The Orin's GPU in INT8, $P = 20 \cdot 10^{12}$, $\beta = 68 \cdot 10^9$, and a quarter of the bytes: $W/P = 0.05$ µs, $Q/\beta = 1.5$ µs, so 1.5 µs: it waits.

# %%
def least_ms(layers, board, runtime, precision):
    """(to compute, by the roofline), ms."""
    peak, width = board.peak(runtime, precision).value, {"fp32": 4, "fp16": 2, "int8": 1}[precision]
    compute, roofline = 0.0, 0.0
    for row in layers.values():
        to_compute = 2 * row.macs / (peak * 1e6)  # G operations a second are 10⁶ a millisecond
        to_move = row.bytes_moved * width / 4 / (board.bandwidth.value * 1e6)
        compute += to_compute
        roofline += max(to_compute, to_move)
    return compute, roofline


ours = least_ms(networks["pruned"], orin, "tensorrt", "int8")
theirs = edge.predict(networks["pruned"], orin, "tensorrt", precision="int8")
print(theirs)

# %%
claim("These lines give the library's two times.", np.allclose(ours, (theirs.compute_ms, theirs.ms)))

# %% [markdown]
# **Exercise 17.1.** Your own, with a width in bits and a time for starting each layer.


# %%
def network_ms(layers, bits, gops, gbs, start_us):
    """(to compute, by the roofline): two times in ms of a network whose layers run one after the other.

    layers: (MACs, weights, activations) of each, the last two as counts of elements; an element has
    ``bits`` bits. gops: 10⁹ operations a second; gbs: 10⁹ bytes a second; start_us: µs for starting each
    layer, in the second time only.
    """
    ...


check("17.1", network_ms)

# %% [markdown]
# All networks, predicted for both boards. A layer *waits* if its bytes take longer than its operations:

# %% tags=["nbval-ignore-output"]
places = {
    "Nano, one core, FP32": (nano, "onnxruntime", "fp32"), "Nano, GPU, FP16": (nano, "tensorrt", "fp16"),
    "Orin, one core, INT8": (orin, "onnxruntime", "int8"), "Orin, GPU, INT8": (orin, "tensorrt", "int8"),
}
forecast = {(name, place): edge.predict(layers, board, runtime, precision=precision)
            for name, layers in networks.items() for place, (board, runtime, precision) in places.items()}
rows = []
for place in places:
    found = [forecast[name, place] for name in networks]
    waiting = [f"{one.memory_bound} of {len(one.layers)}" for one in found]
    rows.append([place, *(f"{one.ms:.4f}" for one in found), *waiting])
header = ["predicted, not measured", *(f"{name}, ms" for name in networks)]
header += [f"{name} waits" for name in networks]
print(text_table(header, rows))

# %% tags=["nbval-ignore-output"]
core, gpu = forecast["pruned", "Nano, one core, FP32"], forecast["pruned", "Orin, GPU, INT8"]
print(f"arithmetic alone: {core.compute_ms / gpu.compute_ms:,.0f} ×; roofline: {core.ms / gpu.ms:,.0f} ×")
reveal("17.p1", core.ms / gpu.ms)

# %%
claim("On a Nano's core no layer of any network waits for memory; on the Orin's GPU in INT8 every one does.",
      all(forecast[name, "Nano, one core, FP32"].memory_bound == 0
          and forecast[name, "Orin, GPU, INT8"].memory_bound == len(networks[name]) for name in networks))

# %% [markdown]
# The picture shows why. Each point is a layer of the pruned network, at the same place for all boards: operations for each *element* moved. Where points lie on a slanted part, a faster multiplier buys nothing.

# %% tags=["nbval-ignore-output"]
width = {"fp32": 4, "fp16": 2, "int8": 1}
roofs = {place: (board.peak(runtime, precision).value, board.bandwidth.value / width[precision])
         for place, (board, runtime, precision) in places.items()}
operations = {name: 2 * row.macs / (row.bytes_moved / 4) for name, row in networks["pruned"].items()}
plots.board_roofs_figure(roofs, operations)

# %% [markdown]
# The sum in (1) is not quite a bound: the pruned network's weights fit into a Nano's cache of 2 MB and need not come from memory at each call. The time to compute *is* one. Both leave out what no vendor documents: how long a layer takes to be started. Assume some microseconds for it, and see when nothing else matters any more:

# %% tags=["nbval-ignore-output"]
widgets.board_prediction_figure("pruned", networks["pruned"], "Orin Nano, GPU, INT8", 5.0)

# %% tags=["nbval-ignore-output"]
widgets.board_explorer(networks)

# %% [markdown]
# ## Energy is power times time
#
# A Jetson's module measures the power that flows into it: the tool `tegrastats` prints a line at each interval. (Camera, USB and fan hang on the carrier board and are not in it: for a battery, measure at its plug.) Two lines, *written from the documented format, not recorded on a board*; the number before the slash is the power now, in mW, the other one a mean:

# %%
from course_lib.deploy.edge.device import edge_bench

NANO = "RAM 1905/3964MB CPU [100%@1479,2%@1479,off,off] GPU@37C POM_5V_IN 4870/3701 POM_5V_CPU 890/687"
ORIN = "RAM 2431/7620MB CPU [100%@1510,off] gpu@46C VDD_IN 9120mW/7052mW VDD_CPU_GPU_CV 3100mW/1827mW"
for line in (NANO, ORIN):
    rail, samples = edge_bench.parse_power(line)
    print(f"{rail}: {samples} mW, the whole module")

# %% [markdown]
# mW times ms is µJ. **By hand** (invented numbers): the board draws 2 W idle and 5 W while it computes, 4 ms a picture. A picture takes $5 \cdot 4 = 20$ mJ, of which $(5 - 2) \cdot 4 = 12$ mJ are *extra*: the rest would have been drawn anyway. State which of the two you mean. At 30 pictures a second the mean power is $2\,\text{W} + 30 \cdot 12\,\text{mJ/s} = 2.36$ W. Now a network that is four times as fast at the same power:

# %%
idle, busy, per_second = 2.0, 5.0, 30  # W, W, pictures a second
mean_power = {ms: idle + per_second * (busy - idle) * ms / 1000 for ms in (4.0, 1.0)}
for ms, watts in mean_power.items():
    print(f"{ms:.0f} ms: {(busy - idle) * ms:.0f} mJ extra a picture, {watts:.2f} W on average")
print(f"four times as fast, the battery lasts {mean_power[4.0] / mean_power[1.0]:.2f} times as long")

# %% [markdown]
# At this pace idling decides, and a fast network pays only where there are more pictures, or where the board may sleep.
#
# A *power mode* limits the board: `nvpmodel -m 0` gives a Nano 10 W and four cores, `-m 1` 5 W and two, at lower clocks. Less power and more time may come to the same energy, so measure both. Within a mode the clock still follows load and heat, unless `jetson_clocks` fixes it. A row without its mode and clocks is therefore half a number: the kit's script records both, before and after each network.
#
# **Exercise 17.2.** From samples to a battery.


# %%
def battery(idle_mw, busy_mw, ms, per_second, watt_hours):
    """(extra energy of a picture in mJ, pictures from one charge, not rounded).

    idle_mw, busy_mw: lists of samples of all the power that is drawn from the battery, taken at equal
    intervals: while the board idles, and while it runs the network back to back, ``ms`` a picture. The extra
    energy is what a picture costs beyond idling; where noise in the samples makes it negative, give it so.
    On the battery the board is never switched off: it takes per_second pictures a second
    (per_second · ms ≤ 1,000), and idles between them.
    """
    ...


check("17.2", battery)

# %% [markdown]
# ## The kit carries what a board cannot fetch
#
# A Nano ends at Python 3.6, ONNX Runtime 1.10 and TensorRT 8.2. So the kit's networks are in opset 13, and its script is one file of old Python that needs NumPy and ONNX Runtime; the network in C needs only a compiler.

# %% tags=["nbval-ignore-output"]
sizes = [[name, f"{told['bytes'] / 1e3:.0f}"] for name, told in manifest.files.items()]
print(text_table(["file", "kB"], sizes))
print(f"in all {manifest.total_bytes / 1e6:.1f} MB")
try:
    recorded = measure.load_result("edge_kit")["figures"]
    right, total = (recorded[name] for name in ("models_correct_emulated", "models_total"))
    print(f"recorded: {right.value:.0f} of {total.value:.0f} {right.meaning}")
except (CourseError, KeyError):
    print("the emulated check is not recorded yet")

# %% [markdown]
# Every network has reference outputs beside it, computed here; on the board they are compared before anything is timed. (The recorded check ran all of them on an *emulated* ARM core: right answers, and no word about speed.)
#
# ### Why two INT8 files?
#
# CPUs like unsigned activations (U8S8): a zero point costs them sums that are known in advance (chapter 11). TensorRT's integer kernels have none: it reads *signed codes around 0* only, for weights and activations (S8S8), $Z = 0$, $S = \max|x|/127$, and biases in FP32. **By hand:** what leaves a ReLU lies in $0 \dots 5.1$. Unsigned: $S = 5.1/255 = 0.02$ and all 256 codes are in use. Signed: $S = 5.1/127 = 0.040$, and only $0 \dots 127$ are, 128 codes: one bit is gone. So the CPU's file is refused for TensorRT, before it travels. The first of several reasons is told, here the bias:

# %%
for name in ("int8_trt", "int8_cpu"):
    try:
        edge.require_portable(kit / manifest.model(name).file, tensorrt=True)
        print(f"{name}: nothing in it that TensorRT 8.2 refuses")
    except CourseError as error:
        print(f"{name}: {error.problem}\n  mend: {error.mend}")

# %% [markdown]
# **Exercise 17.3.** How many codes are left?


# %%
def signed_codes(scale, zero_point):
    """(scale, number of codes in use) of signed 8-bit codes with the zero point 0.

    The tensor's codes were 0 … 255, code q standing for scale · (q − zero_point); its range ends where
    codes 0 and 255 stood. The new codes are −127 … 127: ±127 reaches the end that lies farther from 0. In
    use are the codes to which values of the range are rounded (nearest code; no end of the range lies
    halfway). zero_point is in 0 … 255, scale > 0.
    """
    ...


check("17.3", signed_codes)

# %% [markdown]
# ## Run it here, as if this were the board
#
# On a board it is `python3 edge_bench.py` in the kit's folder. Here is the same command, with few calls. Every network runs in a process of its own:

# %% tags=["nbval-ignore-output"]
result = Path(folder.name) / "result.json"
options = ["--calls", "100", "--warmup", "10", "--images", "32", "--power-seconds", "0", "--out", str(result)]
done = subprocess.run([sys.executable, str(kit / "edge_bench.py"), *options], capture_output=True, text=True)
print("\n".join(line for line in done.stdout.splitlines() if not line.startswith("PROGRESS")), done.stderr)

# %% tags=["nbval-ignore-output"]
ledger = edge.import_results(result, kit)
ledger

# %% [markdown]
# **This is a run on the CPU under this notebook.** Accuracies were measured where the kit was built; times, clocks and outputs come from the "board". If a row has a mark instead of times, this machine's clocks moved: a laptop is refused for the same reason as a board without `jetson_clocks`. And the table has no "× faster": the networks ran one after the other, and nothing could tell if the machine changed in between.

# %%
content = json.loads(result.read_text())
claim("Every network gave the reference's outputs, and the results name this very kit.",
      all(row["outputs_agree"] for row in content["rows"])
      and content["kit"]["manifest_sha256"] == edge.read_manifest(kit).sha256)

# %% [markdown]
# ### What is no measurement
#
# Four ways in which a file may come home that looks like the one above. In each, a copy is changed and its *sum* (SHA-256 over the content, which the file carries) made anew:

# %% tags=["nbval-ignore-output"]
from course_lib.deploy.edge.results import results_sha256

STEADY = {"cpu_khz": [1_479_000], "cpu_limits_khz": [[102_000, 1_479_000]], "gpu_khz": [], "governors": []}


def saved(change, seal=True):
    """A copy of the results, changed; its first row is from a board with a steady clock."""
    changed = copy.deepcopy(content)
    row = changed["rows"][0]
    row["state"] = {"before": copy.deepcopy(STEADY), "after": copy.deepcopy(STEADY)}
    change(changed, row)
    if seal:
        changed["sha256"] = results_sha256(changed)
    path = Path(folder.name) / "changed.json"
    path.write_text(json.dumps(changed))
    return path


# %%
changes = {
    "nothing": lambda file, row: None,
    "an emulator": lambda file, row: file["device"].update(emulated=True),
    "asked for CUDA": lambda file, row: row.update(provider_asked="CUDAExecutionProvider"),
    "other outputs": lambda file, row: row.update(outputs_agree=False),
    "a slower clock": lambda file, row: row["state"]["after"].update(cpu_khz=[921_000]),
}
for name, change in changes.items():
    results = edge.read_results(saved(change))
    print(f"{name:15} → {', '.join(results.refusals(results.rows[0])) or 'times count'}")

# %% [markdown]
# Such rows come into the ledger without times. And a time that somebody improves?

# %%
def halved(file, row):
    row["times_ms"] = [ms / 2 for ms in row["times_ms"]]


try:
    edge.read_results(saved(halved, seal=False))
except CourseError as error:
    print("changed:", error.problem)
sealed = edge.read_results(saved(halved))
claim("Changed and sealed anew, the file is accepted: the sum finds accidents, it is no signature.",
      sealed.rows[0]["times_ms"][0] == content["rows"][0]["times_ms"][0] / 2)

# %% [markdown]
# **Exercise 17.4.** Be the judge, with simpler rows.


# %%
def reasons(row, emulated):
    """Why this row may not claim speed: a list of words, in the order below; [] if it may.

    "unfinished": row["error"] is not None. "emulated": the machine is (True or False).
    "fell back": the first of the list row["providers"] is not row["asked"], or there is none.
    "disagree": row["outputs_agree"] is False; None says that nobody compared, and is no reason.
    "clocks": row["before"] and row["after"], lists with each core's clock in kHz, have different lengths,
    or a core's clock afterwards differs by more than 2 % of the one before, upwards or downwards (none by
    exactly 2 %). A clock in these lists may be None: the system does not tell it; no reason.
    """
    ...


check("17.4", reasons)

# %% [markdown]
# ## Over a link that breaks
#
# On a board it is four commands at your desk (none is run on this page; the library's tests run them against a real SSH server):
#
# ```
# course kit build kit
# course kit run user@board --kit kit        copy → set up → run → fetch
# course kit import result.json --kit kit    the ledger
# course kit predict nano --kit kit --results result.json
# ```
#
# `run` asks the board for the sums of what it has and sends what differs; each file gets its name only when its sum is right, the manifest last. Then `setup.sh` puts NumPy and ONNX Runtime beside the kit, nothing else is changed, and the benchmark starts *detached*. Your side only watches. So if the link breaks, or you close the lid, the board goes on; **the same command** looks what is there, sends the rest, joins the run or fetches its result. If the run was killed, finished rows are kept and the others run again.
#
# **Exercise 17.5.** What must still travel?


# %%
def to_send(files, there, parts):
    """[(name, offset), …] of the files that must still travel: by name, "manifest.json" last.

    files: name → bytes, here. there: name → SHA-256 (hexadecimal, as hashlib's hexdigest gives it) of the
    complete files on the board. parts: name → (length, SHA-256 of these bytes) of files whose copying broke
    off there. A file travels unless the board has it complete with the same sum. The offset is the length of
    its part if the part is shorter than the file and is the file's beginning, else 0. The board may hold
    other files and parts as well: they stay.
    """
    ...


check("17.5", to_send)

# %% [markdown]
# ## TensorRT builds an engine, and tells two kinds of time
#
# TensorRT compiles a network into an *engine* for one GPU and one version; an engine does not travel, so the kit carries ONNX and builds on the board with NVIDIA's tool `trtexec`. Its options changed with the versions:

# %%
for version in ((8, 2, 1), (10, 3, 0), (11, 0, 0)):
    for precision in ("fp16", "int8"):
        try:
            flags = " ".join(edge_bench.trtexec_flags(version, precision, 512))
        except ValueError as error:
            flags = f"refused: {error}"
        print(".".join(map(str, version)), precision, flags)

# %% [markdown]
# From 11 on the *file's* types decide. An INT8 file says by its pairs of QuantizeLinear and DequantizeLinear where codes are, and `--int8` on a file without them, and without calibration, takes made-up scales: good for timing, no more. Now an output, *an example written from the documented format, no measurement*:

# %%
EXAMPLE = """&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec --onnx=fp32.onnx --fp16 --workspace=512
[I] Engine built in 68.2173 sec.
[I] Throughput: 1312.4 qps
[I] Latency: min = 0.72 ms, max = 2.36 ms, mean = 0.775 ms, median = 0.766 ms, percentile(99%) = 0.96 ms
[I] H2D Latency: min = 0.01 ms, max = 0.05 ms, mean = 0.02 ms, median = 0.02 ms, percentile(99%) = 0.03 ms
[I] GPU Compute Time: min = 0.7 ms, max = 2.3 ms, mean = 0.75 ms, median = 0.74 ms, percentile(99%) = 0.93 ms
[I] D2H Latency: min = 0.003 ms, max = 0.02 ms, mean = 0.005 ms, median = 0.005 ms, percentile(99%) = 0.01 ms
"""
print(edge_bench.trtexec_version(EXAMPLE), edge_bench.parse_trtexec(EXAMPLE))

# %% [markdown]
# A call's *Latency* is its *GPU Compute Time* and the copies to the GPU and back (H2D, D2H). The kit keeps the compute time, call by call, since it compares networks; for the car the latency counts, and the camera's and the preprocessing's time on top. *Throughput* is no reciprocal of either: calls overlap. And building may take more memory than running: a Nano's CPU and GPU share 4 GB, hence `--workspace`.
#
# ## Predicted against measured, on a machine that is here
#
# No board is here, but the method can be tried: measure *this* CPU's two peaks as chapter 01 does, call them a board, predict, and measure the networks interleaved.

# %% tags=["nbval-ignore-output"]
peak = measure.peak_compute_gflops(threads=1, seconds=0.5, size=512)
bandwidth = measure.peak_bandwidth_gbs(threads=1, seconds=0.5, array_mib=128)
here = replace(nano, name="here", title="this CPU, one thread", cores=1,
               bandwidth=edge.Documented(bandwidth.high, "GB/s", bandwidth.method),
               peaks={("cpu", "fp32"): edge.Documented(peak.high, "GFLOP/s", peak.method)},
               lacks={("cpu", "int8"): "only FP32 was measured"})
print(f"{peak.high:.0f} GFLOP/s ({peak.method}), {bandwidth.high:.1f} GB/s ({bandwidth.method})")

# %% tags=["nbval-ignore-output"]
from course_lib.measure.cadence import BACK_TO_BACK, IN_TURN

image = np.random.default_rng(0).random((1, *manifest.shape), dtype=np.float32)


def call(name):
    session = open_session(kit / manifest.model(name).file, threads=1)
    return lambda: session.run(None, {"images": image})


calls = {name: call(name) for name in ("pruned", "fp32", "teacher", "int8_cpu", "int8_trt")}
back_to_back, in_turn = measure.latency_by_cadence(
    calls, {BACK_TO_BACK: 6, IN_TURN: 100}, warmup=10, threads=1, seed=0)
in_turn

# %% tags=["nbval-ignore-output"]
kit_ms = {row["name"]: np.median(row["times_ms"]) for row in content["rows"]}
bounds = {name: edge.predict(layers, here, "onnxruntime") for name, layers in networks.items()}
rows = []
for name, bound in bounds.items():
    ms = back_to_back.p50(name)
    rows.append([name, f"{bound.compute_ms:.3f}", f"{bound.ms:.3f}", f"{ms:.3f}", f"{in_turn.p50(name):.3f}",
                 f"{kit_ms[name]:.3f}", f"{ms / bound.compute_ms:.1f} ×"])
header = ["FP32, ms", "to compute", "roofline", "back to back", "in turn", "kit's run", "measured / compute"]
print(text_table(header, rows))

# %% tags=["nbval-ignore-output"]
over = {name: back_to_back.p50(name) / bound.compute_ms for name, bound in bounds.items()}
claim(
    "No network computes faster than this CPU's measured peak by more than 10 %", min(over.values()) > 0.9,
    hardware=True, measured=", ".join(f"{name} {ratio:.1f} × the bound" for name, ratio in over.items()))

# %% tags=["nbval-ignore-output"]
below = [name for name, bound in bounds.items() if back_to_back.p50(name) < bound.ms]
print("faster than the roofline's sum:", ", ".join(below) or "none")
extra_us = {name: 1000 * (back_to_back.p50(name) - bound.compute_ms) / len(bound.layers)
            for name, bound in bounds.items()}
print("beyond the arithmetic, µs a layer:", ", ".join(f"{name} {us:.1f}" for name, us in extra_us.items()))
slower = {name: kit_ms[name] / back_to_back.p50(name) for name in bounds}
print("the kit's run / back to back:", ", ".join(f"{name} {ratio:.2f}" for name, ratio in slower.items()))

# %% [markdown]
# A network faster than the roofline's sum is no contradiction: its weights may lie in a cache, or others used the memory while its bandwidth was measured. If starting a layer were all that is missing, the second line's numbers would be alike. And the kit's run was back to back as well: where the third line is not near 1, the machine was another one a minute ago, which is why the ledger gave no ratios.
#
# So a bound says what *cannot* be, such as a deadline that no tuning will meet. It does not know the cadence, and how far off it is must be measured; on a board, where a CPU starts the GPU's kernels, it may be another distance.
#
# ### The file for another chip
#
# Last, the second question. Both INT8 files hold the same network and the same 8 bits:

# %% tags=["nbval-ignore-output"]
ratio = in_turn.ratio("int8_trt", "pruned")
print(f"GPU's file / FP32 file: {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]; "
      f"CPU's file / FP32 file: {in_turn.ratio('int8_cpu', 'pruned').value:.2f}")
reveal("17.p2", ratio.value)

# %% tags=["nbval-ignore-output"]
run_as = {name: optimized_graph(kit / manifest.model(name).file, "all").kinds
          for name in ("int8_cpu", "int8_trt")}
for name, kinds in run_as.items():
    print(name, dict(kinds))

# %%
integer = {name: sum(n for kind, n in kinds.items() if kind.endswith("QLinearConv"))
           for name, kinds in run_as.items()}
convolutions = sum(row.kind == "Conv" for row in networks["pruned"].values())
claim("Of the CPU's file ONNX Runtime makes integer convolutions, of the GPU's file not one.",
      integer["int8_cpu"] == convolutions and integer["int8_trt"] == 0)

# %% [markdown]
# Why? The GPU's file keeps weights and biases as floats, for TensorRT to round, but that is not it. In the CPU's file 0 is the *lowest* code: rounding cuts off what is negative, so QuantizeLinear does a ReLU's work, and ONNX Runtime drops the ReLU. Then a convolution stands alone between the pairs, and its rule for integer convolutions matches. With codes *around* 0 the ReLU must stay, and the rule does not match. A control: the GPU's file without its ReLUs, another network in the same types.

# %% tags=["nbval-ignore-output"]
without = onnx.load(kit / manifest.model("int8_trt").file)
for relu in [node for node in without.graph.node if node.op_type == "Relu"]:
    for node in without.graph.node:
        node.input[:] = [relu.input[0] if name == relu.output[0] else name for name in node.input]
    without.graph.node.remove(relu)
onnx.save(without, Path(folder.name) / "without_relu.onnx")
kinds = optimized_graph(Path(folder.name) / "without_relu.onnx", "all").kinds
print(dict(kinds))

# %%
claim("Without its ReLUs the GPU's file, weights and biases still floats, becomes integer convolutions too.",
      sum(n for kind, n in kinds.items() if kind.endswith("QLinearConv")) == convolutions)

# %% [markdown]
# So here it multiplies floats and rounds between the layers, to the right answers. "It is INT8" says what a file *means*, not what a runtime executes.
#
# ## A checklist for the real board
#
# 1. Predict first, and write it down: `course kit predict`.
# 2. `nvpmodel` for the mode, `jetson_clocks` for fixed clocks, five minutes to get warm, fan on, desktop off.
# 3. A first result that needs nothing installed: `python3 edge_bench.py --runtime c`.
# 4. Then ONNX Runtime, then TensorRT; back to back, and `--cadence 30` as the camera calls.
# 5. Outputs as the reference? Provider as asked? Clocks as before? Idle power noted?
# 6. Run twice, on two days. `course kit import`, and the prediction beside it.
#
# ## Pitfalls
#
# * **Sparse TOPS** taken for dense ones, TOPS for G operations of FP32, MACs for operations.
# * **The larger of two sums** for the sum of larger times.
# * **A bound taken for a forecast,** or a forecast for a measurement.
# * **Energy for a picture** without saying whether idling is in it; the module's power taken for the battery's.
# * **Clocks that follow the load;** a power mode that nobody wrote down.
# * **An emulator's time;** a provider that fell back; outputs that nobody compared.
# * **A checksum taken for a signature.**
# * **An engine copied** from another board or version.
# * **Latency against GPU Compute Time.**
# * **`--int8` on a file of floats.**
#
# ## Recap

# %% tags=["nbval-ignore-output"]
display(Markdown(f"""
1. Documented peaks give the pruned network a roofline time of {core.ms:.3f} ms on a Nano's core and of
   {gpu.ms:.4f} ms on an Orin's GPU in INT8: {core.ms / gpu.ms:,.0f} × apart where the peaks are
   {core.compute_ms / gpu.compute_ms:,.0f} × apart. Predicted; nobody has measured a board here.
2. Idling at {idle:.0f} W, {per_second} pictures a second: with a network four times as fast a battery lasts
   {mean_power[4.0] / mean_power[1.0]:.2f} times as long (invented numbers, real arithmetic).
3. The kit has {manifest.total_bytes / 1e6:.1f} MB and {len(manifest.models)} networks; on this CPU all
   {len(content["rows"])} that ONNX Runtime runs gave the reference's outputs.
4. An emulator, a provider that fell back, other outputs and moved clocks are found in the file; an intended
   change that was sealed anew is not.
5. On this CPU the networks take {min(over.values()):.1f} to {max(over.values()):.1f} times what their
   arithmetic would at the measured peak, back to back.
6. The INT8 file made for the Orin's GPU takes {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] times the
   FP32 file's time on this CPU, in turn: its convolutions are computed in floats.
"""))

# %% [markdown]
# Next: what if it does not fit one device? That chapter, on parallelism, is not written yet; the [README](../README.md) says what is planned.
#
# ## References
#
# * S. Williams, A. Waterman, D. Patterson (2009). *Roofline: an insightful visual performance model for multicore architectures.* CACM 52(4).
# * NVIDIA. *Jetson Modules, comparison of technical specifications*; *Jetson Nano System-on-Module data sheet*; *Jetson Orin Nano Series data sheet*: peaks, bandwidths; *Power Management for Jetson Nano and Jetson TX1 Devices* (Tegra Linux Driver Package Development Guide 32.7): power modes and their clocks.
# * NVIDIA. *TensorRT 8.2 Support Matrix,* "Hardware and Precision": no INT8 for compute capability 5.3; *TensorRT Developer Guide,* "Working with Quantized Types", and "trtexec": performance metrics.
# * Arm. *Cortex-A57 Software Optimization Guide* (UAN 0015B), section 3.15.
# * H. Wu et al. (2020). *Integer quantization for deep learning inference.* [arXiv:2004.09602](https://arxiv.org/abs/2004.09602), section 3: signed codes around 0.
