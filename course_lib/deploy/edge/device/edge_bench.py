#!/usr/bin/env python3
"""Time the kit's networks on the device that holds this folder, and compare what they compute with the reference.

    python3 edge_bench.py                                   every model, ONNX Runtime, one thread
    python3 edge_bench.py --runtime c onnxruntime           the C network (needs a compiler only), then the models
    python3 edge_bench.py --runtime tensorrt                through TensorRT's own tool, trtexec
    python3 edge_bench.py --cadence 30 --resume             30 calls a second; go on where a killed run stopped

One file for Python 3.6 and newer. The C network needs the standard library and a C compiler; ONNX models need numpy and
onnxruntime, which ``setup.sh`` puts into the folder ``site`` beside this file. The sums of all files are checked first.

Every network runs in a process of its own: one that dies, for memory for example, gets a row that says so, and the
others go on. Each finished row is written to the disk at once (RESULT.rows), so a killed run resumes with ``--resume``;
rows with an error are tried again. Lines "PROGRESS done all name" tell how far it is.

Exit status: 0 all rows measured and right; 1 a row has an error or outputs that disagree; 2 wrong arguments; 3 the kit
is incomplete or altered; 4 nothing can run, because what a runtime needs is missing; 5 the result cannot be written;
130 and 143: stopped (Ctrl-C, SIGTERM).
"""

import argparse
import functools
import glob
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

FORMAT = 1
HERE = os.path.dirname(os.path.abspath(__file__))
RUNTIMES = ("onnxruntime", "tensorrt", "c")
CPU = "CPUExecutionProvider"
TRTEXEC = "/usr/src/tensorrt/bin/trtexec"
RAILS = ("POM_5V_IN", "VDD_IN")  # all that a Nano's module draws, and an Orin's; not what its carrier board feeds
X86 = ("GenuineIntel", "AuthenticAMD")
TIMED = re.compile(r"GPU Compute Time: (.*)")
ENGINE_READY = re.compile(r"[Ee]ngine (?:loaded|deserialized)[^\n]*? in ([0-9.]+) sec")


class Refusal(Exception):
    """Why nothing was measured, with the exit status."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


# ---- The board -----------------------------------------------------------------------------------------------------


def read_text(path):
    """A file's text, or None where there is none."""
    try:
        with open(path, "rb") as stream:
            return stream.read().decode("utf-8", "replace").strip("\x00\n ") or None
    except OSError:
        return None


def told(command, timeout=20):
    """What a command prints; None where it is absent, fails or takes too long."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def is_emulated(machine, cpuinfo, model):
    """Whether this is no real board: ARM code on an x86 processor, or a machine that calls itself QEMU's.

    >>> [is_emulated(machine, "vendor_id : GenuineIntel", None) for machine in ("aarch64", "x86_64")]
    [True, False]
    >>> is_emulated("aarch64", "CPU implementer : 0x41", "linux,dummy-virt")
    True
    """
    foreign = machine in ("aarch64", "armv7l", "arm64") and any(vendor in (cpuinfo or "") for vendor in X86)
    words = "{} {}".format(cpuinfo or "", model or "").lower()
    return foreign or "qemu" in words or "dummy-virt" in words


def board():
    """What does not change while a run lasts: model, system, memory, processor, power mode."""
    cpuinfo, model = read_text("/proc/cpuinfo") or "", read_text("/proc/device-tree/model")
    memory = re.search(r"MemTotal:\s+(\d+)", read_text("/proc/meminfo") or "")
    name = re.search(r"^(?:model name|Hardware)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    features = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return {
        "model": model,
        "l4t": read_text("/etc/nv_tegra_release"),
        "machine": platform.machine(),
        "system": "{} {}".format(platform.system(), platform.release()),
        "cpu": name.group(1).strip() if name else platform.processor() or None,
        "features": features.group(1).split() if features else [],
        "cores": os.cpu_count(),
        "memory_kb": int(memory.group(1)) if memory else None,
        "power_mode": told(["nvpmodel", "-q"]),
        "emulated": is_emulated(platform.machine(), cpuinfo, model or read_text("/proc/device-tree/compatible")),
    }


def state():
    """What may change while a run lasts: clocks in kHz, governors, temperatures in °C."""
    cores = sorted(glob.glob("/sys/devices/system/cpu/cpu[0-9]*/cpufreq"))
    gpus = sorted(p for p in glob.glob("/sys/class/devfreq/*") if re.search(r"gpu|gm20b|gp10b|gv11b|ga10b", p))
    zones = {}
    for zone in sorted(glob.glob("/sys/class/thermal/thermal_zone*")):
        name, value = read_text(zone + "/type"), read_text(zone + "/temp")
        if name and value and re.match(r"-?\d+$", value) and -40000 < int(value) < 200000:
            zones[name] = int(value) / 1000.0
    gpu_hz = [number(read_text(path + "/cur_freq")) for path in gpus]
    return {
        "cpu_khz": [number(read_text(path + "/scaling_cur_freq")) for path in cores],
        "cpu_limits_khz": [
            [number(read_text(path + "/scaling_min_freq")), number(read_text(path + "/scaling_max_freq"))]
            for path in cores
        ],
        "gpu_khz": [None if hz is None else hz // 1000 for hz in gpu_hz],
        "governors": sorted({read_text(path + "/scaling_governor") or "" for path in cores} - {""}),
        "temperatures": zones,
    }


def number(text):
    """An integer of /sys, or None."""
    return int(text) if text and text.isdigit() else None


def parse_power(text):
    """Milliwatts now, one for each line of tegrastats that names the board's whole rail, and the rail.

    >>> parse_power("RAM 1/2MB POM_5V_IN 2532/2500 POM_5V_GPU 0/0")
    ('POM_5V_IN', [2532])
    >>> parse_power("RAM 1/2MB VDD_IN 4984mW/4990mW VDD_CPU_GPU_CV 500mW/500mW")
    ('VDD_IN', [4984])
    >>> parse_power("RAM 1/2MB")
    (None, [])
    """
    for rail in RAILS:
        found = re.findall(r"(?:^|\s){}\s+(\d+)(?:mW)?/\d+".format(rail), text, re.MULTILINE)
        if found:
            return rail, [int(value) for value in found]
    return None, []


def measure_power(call, seconds, settled=0.0):
    """Power while ``call`` runs again and again, from tegrastats; None where there is none.

    Args: settled: the fraction of the samples that come too early to count.
    """
    if shutil.which("tegrastats") is None or seconds <= 0:
        return None
    with tempfile.TemporaryFile() as out:
        watcher = subprocess.Popen(["tegrastats", "--interval", "100"], stdout=out, stderr=subprocess.DEVNULL)
        try:
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                call()
        finally:
            watcher.terminate()
            watcher.wait()
        out.seek(0)
        rail, values = parse_power(out.read().decode("utf-8", "replace"))
    if not values:
        return None
    values = values[int(settled * len(values)) :]
    return {"mean": round(sum(values) / len(values), 1), "max": max(values), "n": len(values), "rail": rail}


def peak_memory_kb():
    """The most memory that this process has held; None where the system does not tell."""
    found = re.search(r"VmHWM:\s+(\d+)", read_text("/proc/self/status") or "")
    return int(found.group(1)) if found else None


# ---- The kit -------------------------------------------------------------------------------------------------------


def sha256(path):
    """Of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        for part in iter(lambda: stream.read(1 << 20), b""):
            digest.update(part)
    return digest.hexdigest()


def load_manifest(folder):
    """The kit's manifest with its own sum added, every file checked. Raises: Refusal: a file is missing or altered."""
    path = os.path.join(folder, "manifest.json")
    try:
        with open(path, "rb") as stream:
            manifest = json.loads(stream.read().decode("utf-8"))
        files, kit_format = manifest["files"], manifest["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refusal(3, "{}: not a kit's manifest ({}); copy the kit again".format(path, error)) from error
    if kit_format != FORMAT:
        raise Refusal(3, "the kit has format {}, this script reads {}; build the kit again".format(kit_format, FORMAT))
    for name, told_of in sorted(files.items()):
        place = os.path.join(folder, *name.split("/"))
        if not os.path.isfile(place):
            raise Refusal(3, "{} is missing; copy the kit again".format(name))
        if sha256(place) != told_of["sha256"]:
            raise Refusal(3, "{} differs from the manifest: cut short or altered; copy the kit again".format(name))
    manifest["sha256"] = sha256(path)
    return manifest


def percentile(ordered, fraction):
    """Of ascending numbers, linear between neighbours as numpy.percentile.

    >>> percentile([1.0, 2.0, 4.0], 0.5), percentile([1.0, 2.0], 0.9)
    (2.0, 1.9)
    """
    place = fraction * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def summary(times_ms):
    """Median, p10, p90, p95 in ms, and how many calls."""
    ordered = sorted(times_ms)
    marks = (("median", 0.5), ("p10", 0.1), ("p90", 0.9), ("p95", 0.95))
    found = {name: round(percentile(ordered, fraction), 6) for name, fraction in marks}
    found["n"] = len(ordered)
    return found


def timed(times_ms):
    """Fields of a row: the summary, and the times themselves in the order of the calls, at most 1,000 of them.

    >>> timed([1.0, 3.0, 2.0])["times_ms"]
    [1.0, 3.0, 2.0]
    """
    step = -(-len(times_ms) // 1000)
    return {"ms": summary(times_ms), "times_ms": [round(value, 6) for value in times_ms[::step]]}


def compare(rows, expected, tolerance):
    """Largest difference and equal largest classes of two lists of lists of numbers, as fields of a row.

    >>> compare([[1.0, 2.0], [3.0, 0.0]], [[1.0, 2.5], [0.0, 3.0]], {"max_abs_error": 4.0, "top1_agreement": 1.0})
    {'max_abs_error': 3.0, 'top1_agreement': 0.5, 'images': 2, 'outputs_agree': False}
    """
    if len(rows) != len(expected) or any(len(a) != len(b) for a, b in zip(rows, expected)):
        raise ValueError("outputs have another shape than the reference")
    worst = max(abs(x - y) for a, b in zip(rows, expected) for x, y in zip(a, b))
    same = sum(a.index(max(a)) == b.index(max(b)) for a, b in zip(rows, expected)) / float(len(rows))
    if worst != worst or worst == float("inf"):
        raise ValueError("outputs that are not finite numbers")
    agree = worst <= tolerance["max_abs_error"] and same >= tolerance["top1_agreement"]
    return {
        "max_abs_error": round(float(worst), 9),
        "top1_agreement": round(same, 6),
        "images": len(rows),
        "outputs_agree": bool(agree),
    }


def call_times(call, options):
    """Milliseconds of single calls in the cadence asked for; those of the warm-up, at the same pace, are dropped."""
    interval = 0.0 if options.cadence == "back_to_back" else 1.0 / float(options.cadence)
    times, due = [], time.perf_counter()
    for _ in range(options.warmup + options.calls):
        pause = due - time.perf_counter()
        if interval and pause > 0:
            time.sleep(pause)
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
        due = max(due + interval, start)
    return times[options.warmup :]


# ---- ONNX Runtime --------------------------------------------------------------------------------------------------


def open_onnx(model, options):
    """A session with the provider asked for, or its error; what ONNX Runtime falls back on stands in its providers."""
    import onnxruntime

    if options.provider not in onnxruntime.get_available_providers():
        has = ", ".join(onnxruntime.get_available_providers())
        raise ValueError("this onnxruntime has no {}; it has {}".format(options.provider, has))
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads, settings.inter_op_num_threads = options.threads, 1
    settings.log_severity_level = 3
    wanted = [options.provider] + ([CPU] if options.provider != CPU else [])
    return onnxruntime.InferenceSession(os.path.join(HERE, model["file"]), settings, providers=wanted)


def run_onnxruntime(model, manifest, options):
    """Fields of an ONNX model's row."""
    import numpy
    import onnxruntime

    start = time.perf_counter()
    session = open_onnx(model, options)
    load_ms = (time.perf_counter() - start) * 1e3
    given = numpy.load(os.path.join(HERE, manifest["inputs"]["npz"]))
    count = min(options.images or len(given["images"]), len(given["images"]))
    images = given["images"][:count].astype(numpy.float32) / numpy.float32(255)
    name = session.get_inputs()[0].name
    found = [numpy.asarray(session.run(None, {name: images[i : i + 1]})[0])[0].tolist() for i in range(count)]
    fields = compare(found, given[model["reference"]][:count].tolist(), model["tolerance"])
    feeds = [{name: numpy.ascontiguousarray(numpy.roll(images, -i, 0)[: options.batch])} for i in range(min(count, 16))]
    if len(feeds[0][name]) < options.batch:
        raise ValueError("the kit has {} images, too few for a batch of {}".format(count, options.batch))
    turn = [0]

    def call():
        turn[0] += 1
        session.run(None, feeds[turn[0] % len(feeds)])

    fields.update(timed(call_times(call, options)))
    fields.update(
        runtime_version=onnxruntime.__version__,
        numpy_version=numpy.__version__,
        provider_asked=options.provider,
        providers=session.get_providers(),
        threads=options.threads,
        load_ms=round(load_ms, 3),
        power_mw=measure_power(call, options.power_seconds),
        peak_memory_kb=None if options.one_process else peak_memory_kb(),
    )
    return fields


# ---- The C network -------------------------------------------------------------------------------------------------


def compiler():
    """The C compiler's name, or None."""
    return next((name for name in ("gcc", "cc", "clang") if shutil.which(name)), None)


def compile_c(model, work):
    """The program and the flags that made it: for this very processor if the compiler can."""
    program, said = os.path.join(work, model["name"]), ""
    sources = [os.path.join(HERE, model["file"]), os.path.join(HERE, model["main"])]
    for flags in (["-O3", "-march=native"], ["-O3", "-mcpu=native"], ["-O3"]):
        command = [compiler(), "-std=c99", *flags, "-DWITH_FACTS", "-o", program, *sources]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode == 0:
            return program, " ".join(flags)
        said = done.stdout.decode("utf-8", "replace").strip()
    raise ValueError("{} failed: {}".format(compiler(), said[-200:]))


def run_c(model, manifest, options):
    """Fields of the C network's row; it times itself and is compared to the bit."""
    if compiler() is None:
        raise ValueError("no C compiler (gcc, cc, clang): sudo apt-get install gcc")
    work = os.path.join(HERE, "work")
    program, flags = compile_c(model, work)
    written = os.path.join(work, model["name"] + ".logits")
    pause_us = 0 if options.cadence == "back_to_back" else int(1e6 / float(options.cadence))
    command = [program, os.path.join(HERE, model["images"]), written]
    command += [str(value) for value in (options.warmup, options.calls, pause_us)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise ValueError("the program ended with {}: {}".format(done.returncode, done.stderr.decode()[-200:]))
    lines = [line.split() for line in done.stdout.decode("ascii").splitlines()]
    facts = {line[0]: float(line[1]) for line in lines if line[0] != "ms"}
    with open(written, "rb") as found, open(os.path.join(HERE, model["reference"]), "rb") as expected:
        got, right = list(found.read()), list(expected.read())
    classes = int(facts["classes"])
    again = functools.partial(subprocess.run, [*command[:3], "0", "2000", str(pause_us)], stdout=subprocess.DEVNULL)
    cut = [[values[i : i + classes] for i in range(0, len(values), classes)] for values in (got, right)]
    fields = compare(cut[0], cut[1], model["tolerance"])
    fields.update(timed([float(line[1]) for line in lines if line[0] == "ms"]))
    fields.update(
        runtime_version=(told([compiler(), "--version"]) or "").splitlines()[0],
        provider_asked="c",
        providers=[flags],
        threads=1,
        load_ms=round(facts["load_ms"], 3),
        power_mw=measure_power(again, options.power_seconds),
        peak_memory_kb=int(facts["peak_kb"]) if facts["peak_kb"] > 0 else None,
        program_bytes=os.path.getsize(program),
    )
    return fields


# ---- TensorRT ------------------------------------------------------------------------------------------------------


def trtexec_version(text):
    """The version in trtexec's first line, as three numbers; None where there is none.

    >>> trtexec_version("&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec --help")
    (8, 2, 1)
    >>> trtexec_version("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] [b26] # trtexec")
    (10, 3, 0)
    """
    found = re.search(r"\[TensorRT v(\d+)(?:\.(\d+)\.(\d+))?", text or "")
    if found is None:
        return None
    first = int(found.group(1))
    if found.group(2):
        return first, int(found.group(2)), int(found.group(3))
    if first >= 10000:
        return first // 10000, first // 100 % 100, first % 100
    return first // 1000, first // 100 % 10, first % 100


def trtexec_flags(version, precision, workspace_mb):
    """What this version is told about memory and precision. Raises: ValueError: it cannot compute in this precision.

    >>> trtexec_flags((8, 2, 1), "fp16", 512), trtexec_flags((10, 3, 0), "int8", 512)
    (['--workspace=512', '--fp16'], ['--memPoolSize=workspace:512', '--int8'])
    >>> trtexec_flags((11, 0, 0), "int8", 512)
    ['--memPoolSize=workspace:512']
    """
    memory = "--workspace={}" if version < (8, 4, 0) else "--memPoolSize=workspace:{}"
    flags = [memory.format(workspace_mb)]
    if version[0] >= 11:  # strongly typed: the file's own types decide
        if precision == "fp16":
            raise ValueError("TensorRT 11 takes no --fp16: it computes in the types of the file, which are FP32 here")
        return flags
    return flags + {"fp32": [], "fp16": ["--fp16"], "int8": ["--int8"]}[precision]


def trtexec_shapes(batch, most, shape):
    """Which batches the engine must take: one image up to all of the kit's, fastest at the batch that is timed.

    >>> trtexec_shapes(1, 64, "3x32x32")[::2]
    ['--minShapes=images:1x3x32x32', '--maxShapes=images:64x3x32x32']
    """
    sizes = (("min", 1), ("opt", batch), ("max", most))
    return ["--{}Shapes=images:{}x{}".format(end, count, shape) for end, count in sizes]


def parse_trtexec(text):
    """GPU Compute Time in ms, as trtexec prints it: min, max, mean, median and what percentiles it gives.

    >>> line = "[I] GPU Compute Time: min = 1.5 ms, max = 2 ms, mean = 1.7 ms, median = 1.6 ms, percentile(99%) = 2 ms"
    >>> sorted(parse_trtexec(line).items())
    [('max', 2.0), ('mean', 1.7), ('median', 1.6), ('min', 1.5), ('p99', 2.0)]
    """
    found = TIMED.search(text)
    if found is None:
        return {}
    values = re.findall(r"(\w+)(?:\((\d+)%\))? = ([0-9.e+-]+) ms", found.group(1))
    return {("p" + share if share else name): float(value) for name, share, value in values}


def parse_times(text):
    """Milliseconds on the GPU of each call, from the file of --exportTimes.

    >>> parse_times('[{"startComputeMs": 1, "endComputeMs": 1.5, "computeMs": 0.5, "latencyMs": 0.7}]')
    [0.5]
    """
    return [float(entry["computeMs"]) for entry in json.loads(text)]


def parse_output(text, classes):
    """Logits, one list an image, from the file of --exportOutput.

    >>> parse_output('[{ "name" : "logits", "dimensions" : "2x2", "values" : [ 1, 2, 3, 4 ] }]', 2)
    [[1.0, 2.0], [3.0, 4.0]]
    """
    values = [float(value) for value in json.loads(text)[0]["values"]]
    return [values[i : i + classes] for i in range(0, len(values), classes)]


def run_trtexec(command):
    """What trtexec prints. Raises: ValueError: it failed; memory is named where it was the reason."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode in (-9, 137) or re.search(r"out of memory|OutOfMemory|bad_alloc|Cuda failure: 2\b", text):
        raise ValueError(
            "trtexec ran out of memory (status {}), which CPU and GPU share: stop the desktop (sudo systemctl isolate "
            "multi-user.target), add swap, or try --workspace 256".format(done.returncode)
        )
    if done.returncode:
        reasons = [line for line in text.splitlines() if "[E]" in line or "rror" in line] or text.splitlines()[-1:]
        raise ValueError("trtexec failed with {}: {}".format(done.returncode, " | ".join(reasons[:2])[:300]))
    return text


def trt_outputs(engine, work, shape, model, manifest):
    """Fields that compare the engine's outputs with the reference; a ``note`` where trtexec writes no outputs."""
    import numpy

    given = numpy.load(os.path.join(HERE, manifest["inputs"]["npz"]))
    raw, out = os.path.join(work, "images.f32"), os.path.join(work, "outputs.json")
    (given["images"].astype(numpy.float32) / numpy.float32(255)).tofile(raw)
    count = len(given["images"])
    command = [*engine, "--shapes=images:{}x{}".format(count, shape)]
    command += ["--loadInputs=images:" + raw, "--exportOutput=" + out, "--warmUp=0", "--duration=0", "--iterations=1"]
    expected = given[model["reference"]].tolist()
    try:
        run_trtexec(command)
        found = parse_output(read_text(out) or "[]", len(expected[0]))
    except (ValueError, LookupError, TypeError) as error:
        return {"note": "outputs not compared, trtexec did not write them: {}".format(error)}
    return compare(found, expected, model["tolerance"])


def run_tensorrt(model, manifest, options):
    """Fields of a row that trtexec times: GPU Compute Time, without copies to and from the GPU."""
    tool = find_trtexec(options)
    if tool is None:
        raise ValueError("no trtexec here (looked on the path and for {})".format(TRTEXEC))
    banner = subprocess.run([tool, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout
    version = trtexec_version(banner.decode("utf-8", "replace"))
    if version is None:
        raise ValueError("{} does not tell its version".format(tool))
    work = tempfile.mkdtemp(dir=os.path.join(HERE, "work"))
    try:
        engine, times = os.path.join(work, "engine"), os.path.join(work, "times.json")
        shape = "x".join(str(size) for size in manifest["inputs"]["shape"])
        command = [tool, "--onnx=" + os.path.join(HERE, model["file"]), "--saveEngine=" + engine]
        command += trtexec_flags(version, model["precision"], options.workspace)
        command += trtexec_shapes(options.batch, manifest["inputs"]["count"], shape)
        timing = ["--shapes=images:{}x{}".format(options.batch, shape), "--warmUp=500", "--exportTimes=" + times]
        text = run_trtexec(command + timing + ["--duration=10"])
        told_ms, ready = parse_trtexec(text), ENGINE_READY.search(text)
        each = parse_times(read_text(times) or "[]")
        if not each:
            raise ValueError("trtexec wrote no times; its own median: {}".format(told_ms.get("median")))
        loaded = [tool, "--loadEngine=" + engine]
        again = functools.partial(run_trtexec, [*loaded, timing[0], "--duration={}".format(int(options.power_seconds))])
        fields = {
            "runtime_version": "{}.{}.{}".format(*version),
            "provider_asked": "tensorrt",
            "providers": ["tensorrt"],
            "load_ms": round(float(ready.group(1)) * 1e3, 3) if ready else None,
            # trtexec begins with loading: the first half of the samples is dropped.
            "power_mw": measure_power(again, 0.001 if options.power_seconds >= 1 else 0, settled=0.5),
            "peak_memory_kb": children_memory_kb(),
        }
        fields.update(timed(each))
        fields.update(trt_outputs(loaded, work, shape, model, manifest))
        return fields
    finally:
        shutil.rmtree(work, ignore_errors=True)


def find_trtexec(options):
    """The tool's path, or None."""
    return next((found for found in map(shutil.which, (options.trtexec, "trtexec", TRTEXEC)) if found), None)


def children_memory_kb():
    """The most memory that a program started from this process has held, the engine's build included."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak


# ---- The run -------------------------------------------------------------------------------------------------------

RUN = {"onnxruntime": run_onnxruntime, "tensorrt": run_tensorrt, "c": run_c}


def jobs_of(manifest, options):
    """(model, runtime) in the order of execution; a network of floats runs twice in TensorRT. Raises: Refusal."""
    known = {model["name"]: model for model in manifest["models"]}
    unknown = [name for name in options.models or [] if name not in known]
    if unknown:
        raise Refusal(2, "no model {}; the kit has {}".format(", ".join(unknown), ", ".join(known)))
    jobs = []
    for runtime in options.runtime:
        for model in manifest["models"]:
            if runtime not in model["runtimes"] or (options.models and model["name"] not in options.models):
                continue
            jobs.append((model, runtime))
            if runtime == "tensorrt" and "fp16" in model:
                jobs.append((dict(model, precision="fp16", tolerance=model["fp16"]), runtime))
    if not jobs:
        raise Refusal(2, "none of these models is made for {}".format(", ".join(options.runtime)))
    return jobs


def row_of(model, runtime, manifest, options):
    """A finished row: what was asked, what was found, or why it failed."""
    row = {
        "name": model["name"],
        "file": model["file"],
        "sha256": manifest["files"][model["file"]]["sha256"],
        "bytes": manifest["files"][model["file"]]["bytes"],
        "precision": model["precision"],
        "runtime": runtime,
        "runtime_version": None,
        "provider_asked": options.provider if runtime == "onnxruntime" else runtime,
        "providers": [],
        "threads": {"onnxruntime": options.threads, "c": 1, "tensorrt": None}[runtime],
        "batch": 1 if runtime == "c" else options.batch,
        "cadence": cadence_words("back_to_back" if runtime == "tensorrt" else options.cadence),
        "load_ms": None,
        "ms": None,
        "times_ms": [],
        "max_abs_error": None,
        "top1_agreement": None,
        "images": 0,
        "outputs_agree": None,
        "peak_memory_kb": None,
        "power_mw": None,
        "error": None,
    }
    before = state()
    row.update(isolated(lambda: RUN[runtime](model, manifest, options), options.one_process))
    row["state"] = {"before": before, "after": state()}
    return row


def cadence_words(cadence):
    """As the course's tables call it.

    >>> cadence_words("back_to_back"), cadence_words("30")
    ('back to back', '30 a second')
    """
    return "back to back" if cadence == "back_to_back" else "{} a second".format(cadence)


def attempted(work):
    """What ``work`` returns, or an ``error`` in its place."""
    try:
        return work()
    except MemoryError:
        return {"error": "out of memory"}
    except Exception as error:  # whatever a runtime raises: the other models go on
        return {"error": "{}: {}".format(type(error).__name__, " ".join(str(error).split()))[:500]}


def isolated(work, one_process):
    """``attempted`` in a forked process, so that a crash costs one row; here where there is no fork."""
    if one_process or not hasattr(os, "fork"):
        return attempted(work)
    sys.stdout.flush()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, signal.SIG_DFL)
        os.close(read_end)
        with os.fdopen(write_end, "wb") as stream:
            stream.write(json.dumps(attempted(work)).encode("ascii"))
        os._exit(0)
    os.close(write_end)
    try:
        with os.fdopen(read_end, "rb") as stream:
            answer = stream.read()
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return {"error": death(os.WTERMSIG(status))}
    return json.loads(answer.decode("ascii")) if answer else {"error": "the process gave no answer"}


def death(number):
    """What a signal that ended a process most likely means.

    >>> death(9)[:38]
    'killed (signal 9), most likely because'
    """
    if number == signal.SIGKILL:
        return "killed (signal 9), most likely because memory ran out: stop the desktop or add swap"
    if number == signal.SIGILL:
        return "illegal instruction (signal 4): numpy 1.19.5 does that on a Jetson Nano, 1.19.4 does not (sh setup.sh)"
    return "the process died of signal {}".format(number)


def say(line):
    """Print a line now; a listener that is gone does not stop the run."""
    try:
        print(line)
        sys.stdout.flush()
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  for as long as the run lasts


class Rows:
    """The finished rows, in memory and on the disk: a first line that says which run this is, then a line a row.

    Args: path: of the file; header: kit and arguments; resume: keep what a run with this header has written.
    """

    def __init__(self, path, header, resume):
        self.path, self.rows = path, []
        lines = (read_text(path) or "").splitlines()
        found = [entry for entry in map(self._parsed, lines) if entry]
        if resume and found and found[0] == header:
            self.rows = [row for row in found[1:] if row["error"] is None]
        elif resume and found:
            say("NOTE {} is of another kit or other arguments: it is kept as {}.old".format(path, path))
        if found and not self.rows:
            os.replace(path, path + ".old")
        part = path + ".part"
        with open(part, "w") as stream:
            stream.write("".join(json.dumps(entry, sort_keys=True) + "\n" for entry in [header, *self.rows]))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)

    @staticmethod
    def _parsed(line):
        """A line's entry; None for the torn last line of a killed run."""
        try:
            return json.loads(line)
        except ValueError:
            return None

    def find(self, row):
        """Whether a finished row has this name, runtime and precision."""
        keys = ("name", "runtime", "precision")
        return any(all(old[key] == row[key] for key in keys) for old in self.rows)

    def add(self, row):
        """Keep a row, on the disk before this returns."""
        self.rows.append(row)
        with open(self.path, "a") as stream:
            stream.write(json.dumps(row, sort_keys=True) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def canonical_sha256(result):
    """SHA-256 of a result without its own ``sha256``: JSON with sorted keys, without spaces, in ASCII.

    >>> canonical_sha256({"b": 1, "a": [2.5], "sha256": "x"}) == canonical_sha256({"a": [2.5], "b": 1})
    True
    """
    bare = {key: value for key, value in result.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(bare, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()


def versions():
    """Of Python, of the C library and of the packages, without importing them."""
    found = {"python": platform.python_version(), "libc": " ".join(platform.libc_ver())}
    for name in ("numpy", "onnxruntime"):
        places = glob.glob(os.path.join(HERE, "site", name + "-*.dist-info"))
        if places:
            found[name] = os.path.basename(places[0]).split("-")[1]
    return found


def save(path, result):
    """Write the result, complete or not at all."""
    result["sha256"] = canonical_sha256(result)
    part = path + ".part"
    with open(part, "w") as stream:
        stream.write(json.dumps(result, sort_keys=True) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(part, path)


def measure(manifest, options):
    """The whole run: every job's row, then the result in one file."""
    jobs = jobs_of(manifest, options)
    require_runtimes(options)
    os.makedirs(os.path.join(HERE, "work"), exist_ok=True)
    kit = {"course": manifest["course"], "manifest_sha256": manifest["sha256"], "format": manifest["format"]}
    skipped = ("out", "resume", "trtexec")
    arguments = {key: value for key, value in sorted(vars(options).items()) if key not in skipped}
    rows = Rows(options.out + ".rows", {"kit": kit, "arguments": arguments}, options.resume)
    device, before = board(), state()
    before["power_mw"] = measure_power(lambda: time.sleep(0.05), min(2.0, options.power_seconds))
    for place, (model, runtime) in enumerate(jobs):
        say("PROGRESS {} {} {} {} {}".format(place, len(jobs), model["name"], runtime, model["precision"]))
        if not rows.find({"name": model["name"], "runtime": runtime, "precision": model["precision"]}):
            rows.add(row_of(model, runtime, manifest, options))
    result = {
        "format": FORMAT,
        "kit": kit,
        "device": device,
        "state": {"before": before, "after": state()},
        "versions": versions(),
        "arguments": arguments,
        "rows": in_order(rows.rows, jobs),
        "finished": True,
    }
    save(options.out, result)
    say("PROGRESS {0} {0} done".format(len(jobs)))
    return result


def in_order(rows, jobs):
    """The rows as the jobs stand: a resumed run appends those that it mends."""
    places = {(model["name"], runtime, model["precision"]): place for place, (model, runtime) in enumerate(jobs)}
    return sorted(rows, key=lambda row: places[row["name"], row["runtime"], row["precision"]])


def require_runtimes(options):
    """Raise Refusal where none of the runtimes asked for can run at all; what mends it is said."""
    missing = []
    for runtime in options.runtime:
        if runtime == "onnxruntime":
            lost = [name for name in ("numpy", "onnxruntime") if importlib.util.find_spec(name) is None]
            missing += ["onnxruntime needs {}: sh setup.sh".format(" and ".join(lost))] if lost else []
        elif runtime == "c" and compiler() is None:
            missing.append("c needs a compiler: sudo apt-get install gcc")
        elif runtime == "tensorrt" and find_trtexec(options) is None:
            missing.append("tensorrt needs trtexec: it comes with JetPack, in {}".format(TRTEXEC))
    if len(missing) == len(options.runtime):
        raise Refusal(4, "; ".join(missing))


def table(rows):
    """The rows in words, for the person at the board."""
    lines = ["{:<16} {:<12} {:>6} {:>10} {:>10}  {}".format("name", "runtime", "", "median ms", "p90 ms", "outputs")]
    for row in rows:
        if row["error"]:
            text = "error: " + row["error"]
            lines.append("{:<16} {:<12} {:>6} {}".format(row["name"], row["runtime"], row["precision"], text))
            continue
        words = {True: "as the reference", False: "DIFFER", None: "not compared"}[row["outputs_agree"]]
        columns = (row["name"], row["runtime"], row["precision"], row["ms"]["median"], row["ms"]["p90"], words)
        lines.append("{:<16} {:<12} {:>6} {:>10.3f} {:>10.3f}  {}".format(*columns))
    return "\n".join(lines)


def positive(text):
    """An integer of at least 1, for argparse."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("must be an integer of at least 1, got " + text)
    return int(text)


def cadence(text):
    """``back_to_back`` or calls a second, for argparse."""
    if text != "back_to_back" and not re.match(r"[1-9]\d{0,3}$", text):
        raise argparse.ArgumentTypeError("must be back_to_back or calls a second (1 … 9999), got " + text)
    return text


def parser():
    """The command line."""
    made = argparse.ArgumentParser(description="Time the kit's networks on this device.")
    made.add_argument("--models", nargs="+", metavar="NAME", help="these only (default: all that fit the runtimes)")
    made.add_argument("--runtime", nargs="+", choices=RUNTIMES, default=["onnxruntime"], help="default: onnxruntime")
    made.add_argument("--provider", default=CPU, help="of ONNX Runtime (default: {})".format(CPU))
    made.add_argument("--threads", type=positive, default=1, help="of ONNX Runtime (default: 1)")
    made.add_argument("--batch", type=positive, default=1, help="images a call; the C network takes one (default: 1)")
    made.add_argument("--calls", type=positive, default=200, help="that are timed (default: 200)")
    made.add_argument("--warmup", type=positive, default=20, help="calls before that (default: 20)")
    made.add_argument("--cadence", type=cadence, default="back_to_back", help="back_to_back, or calls a second: 30")
    made.add_argument("--images", type=positive, default=None, help="images to compare outputs on (default: all)")
    made.add_argument("--power-seconds", type=float, default=3.0, help="to watch power for, a model (default: 3)")
    made.add_argument("--workspace", type=positive, default=512, help="MB for TensorRT to build in (default: 512)")
    made.add_argument("--trtexec", default="trtexec", help="the tool's path, where it is not found")
    made.add_argument("--one-process", action="store_true", help="no process for each model: quicker, no peak memory")
    made.add_argument("--out", default=os.path.join(HERE, "result.json"), help="the file to write")
    made.add_argument("--resume", action="store_true", help="keep the rows that a killed run has finished")
    return made


def stop(number, frame):
    """SIGTERM ends the run as Ctrl-C does; what is finished stays on the disk."""
    raise SystemExit(128 + number)


def main(arguments=None):
    """Run; the exit status is described at the top of this file."""
    options = parser().parse_args(arguments)
    cores = os.cpu_count() or options.threads
    if options.threads > cores:
        parser().error("argument --threads: this device has {} cores, got {}".format(cores, options.threads))
    if os.path.isdir(os.path.join(HERE, "site")):
        sys.path.insert(0, os.path.join(HERE, "site"))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(options.threads))
    signal.signal(signal.SIGTERM, stop)
    try:
        result = measure(load_manifest(HERE), options)
    except Refusal as refusal:
        sys.stderr.write("edge_bench: {}\n".format(refusal))
        return refusal.status
    except OSError as error:
        sys.stderr.write("edge_bench: cannot write {} ({}); finished rows stay\n".format(options.out, error.strerror))
        return 5
    except KeyboardInterrupt:
        sys.stderr.write("edge_bench: stopped; --resume goes on\n")
        return 130
    say(table(result["rows"]))
    return 1 if any(row["error"] or row["outputs_agree"] is False for row in result["rows"]) else 0


if __name__ == "__main__":
    sys.exit(main())
