"""``course doctor``: what is wrong with this environment, and the command that mends it.

Most hours lost at the start of a course are lost here: a package of another version, a torchvision built for another
PyTorch, a notebook that runs in another Python, a file cut short by a download, a container that grants two cores of
sixty-four. Each check looks at one such thing, and says what it found in words. A finding that stops the course is not
``ok`` and names a command; a fact that only explains a number (no VNNI, no GPU) is ``ok`` and says what it means.

The checks must run where everything else is broken. So this module imports the standard library alone, tries every
other import inside its check, and turns a check that itself fails into a finding. No check takes more than the
import of the package it looks at: the whole takes a few seconds.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from course_lib.environment.packages import (
    installed_version,
    mismatches,
    project,
    python_command,
    python_fits,
    reinstall_command,
    requirements,
)
from course_lib.errors import CourseError
from course_lib.storage.cards import check_cards, restore_command
from course_lib.storage.files import CHECKPOINTS, DATASETS, cache_dir

DISK_GB = 1.0  # rendered images, exported models
MEMORY_GB = 3.0  # the demo's peak
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Finding:
    """One thing looked at: its name, whether the course can work with it, what was found, what mends it."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


def diagnose() -> list[Finding]:
    """Every check's finding, in the order in which they should be mended. Never raises; takes a few seconds."""
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            found = check()
        except Exception as error:  # a broken environment breaks checks in ways nobody foresaw
            name = check.__name__.removeprefix("check_").replace("_", " ")
            found = Finding(name, False, f"the check failed: {_one_line(error)}", reinstall_command())
        findings.extend([found] if isinstance(found, Finding) else found)
    return findings


def main() -> int:
    """Print the findings as a table, then the mends; returns 1 if something is broken, else 0."""
    findings = diagnose()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{'ok    ' if finding.ok else 'BROKEN'}  {finding.name:<{width}}  {finding.detail}")
    broken = [finding for finding in findings if not finding.ok]
    summary = (
        f"{len(broken)} of {len(findings)} checks found something broken:" if broken else "Everything is in order."
    )
    print(f"\n{summary}")
    for finding in broken:
        print(f"  {finding.name}: {finding.mend}")
    return 1 if broken else 0


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """Python is within ``requires-python`` of pyproject.toml."""
    detail = f"{'.'.join(map(str, version))} ({platform.machine()}), needs {project()['requires-python']}"
    ok = python_fits(version)
    return Finding("Python", ok, detail, "" if ok else "install Python 3.13, then: rm -rf .venv && make setup")


def check_packages(installed: Callable[[str], str] = importlib.metadata.version) -> list[Finding]:
    """The versions installed are those that pyproject.toml names."""
    findings = []
    for name, wanted in (("packages", requirements()), ("test packages", requirements("dev"))):
        problems = mismatches(wanted, installed)
        detail = "; ".join(problems) or f"{len(wanted)} at the versions of pyproject.toml"
        findings.append(Finding(name, not problems, detail, reinstall_command() if problems else ""))
    return findings


def check_torch() -> Finding:
    """PyTorch imports and computes."""
    try:
        torch = importlib.import_module("torch")
        total = float((torch.ones(4, 4) @ torch.ones(4, 4)).sum())
    except Exception as error:  # OSError for a missing library, ImportError, or anything a broken build raises
        return Finding("PyTorch", False, f"does not import: {_one_line(error)}", reinstall_command("torch"))
    device = "with CUDA" if torch.cuda.is_available() else "on the CPU"
    detail = f"{torch.__version__}, {device}, {torch.get_num_threads()} threads"
    return Finding("PyTorch", total == 64.0, detail, "" if total == 64.0 else reinstall_command("torch"))


def check_torchvision() -> Finding:
    """torchvision imports, and whether its compiled operators fit this PyTorch."""
    try:
        compat = importlib.import_module("course_lib.data.torchvision_compat")
        version = importlib.import_module("torchvision").__version__
    except Exception as error:
        return Finding(
            "torchvision", False, f"does not import: {_one_line(error)}", reinstall_command("torch", "torchvision")
        )
    if compat.HAS_COMPILED_OPS:
        return Finding("torchvision", True, f"{version}, its compiled operators load")
    detail = "its compiled operators were built for another PyTorch; the course declares them, models and data work"
    return Finding("torchvision", True, f"{version}, {detail} (nms and read_image do not)")


def check_onnxruntime() -> Finding:
    """ONNX Runtime imports, alone, and offers the CPU."""
    variants = [name for name in ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml") if installed_version(name)]
    reinstall = f"{python_command()} -m pip uninstall --yes {' '.join(variants)} && {reinstall_command()}"
    if len(variants) > 1:
        detail = f"{' and '.join(variants)} are both installed and overwrite each other's files"
        return Finding("ONNX Runtime", False, detail, reinstall)
    try:
        onnxruntime = importlib.import_module("onnxruntime")
        providers = onnxruntime.get_available_providers()
    except Exception as error:
        return Finding("ONNX Runtime", False, f"does not import: {_one_line(error)}", reinstall_command("onnxruntime"))
    ok = "CPUExecutionProvider" in providers
    listed = ", ".join(name.removesuffix("ExecutionProvider") for name in providers)
    detail = f"{onnxruntime.__version__}, providers: {listed}"
    return Finding("ONNX Runtime", ok, detail, "" if ok else reinstall_command("onnxruntime"))


def check_jupyter() -> Finding:
    """Notebooks run in this Python, and widgets have their browser part."""
    try:
        kernelspec = importlib.import_module("jupyter_client.kernelspec")
        paths = importlib.import_module("jupyter_core.paths")
        importlib.import_module("ipywidgets")
        if importlib.util.find_spec("jupyterlab") is None:
            raise ModuleNotFoundError("No module named 'jupyterlab'")
        command = kernelspec.KernelSpecManager().get_kernel_spec("python3").argv[0]
    except Exception as error:
        return Finding(
            "JupyterLab", False, _one_line(error), reinstall_command("jupyterlab", "ipywidgets", "ipykernel")
        )
    if os.path.isabs(command) and os.path.dirname(command) != os.path.dirname(sys.executable):
        # A kernel named python3 in the user's folder hides this environment's own.
        mend = f"{python_command()} -m jupyter kernelspec remove python3"
        return Finding("JupyterLab", False, f"notebooks would run in another Python, {command}", mend)
    extension = Path("@jupyter-widgets", "jupyterlab-manager", "package.json")
    if not any(Path(folder, extension).is_file() for folder in paths.jupyter_path("labextensions")):
        return Finding(
            "JupyterLab", False, "the widgets' browser part is missing", reinstall_command("jupyterlab_widgets")
        )
    return Finding("JupyterLab", True, "notebooks run in this Python, widgets are complete")


def check_files(datasets: Path = DATASETS, checkpoints: Path = CHECKPOINTS) -> list[Finding]:
    """Every file that a card (a .json with "file" and "sha256") describes is there and unaltered."""
    findings = []
    for name, folder in (("data files", datasets), ("checkpoints", checkpoints)):
        pattern = "*.json" if folder == checkpoints else "**/*.json"
        cards = [
            path for path in sorted(folder.glob(pattern)) if name == "checkpoints" or checkpoints not in path.parents
        ]
        count, problems = check_cards(cards)
        if not count and not problems:
            problems = ["no file with a checksum was found"]
        mend = restore_command(folder) if problems else ""
        findings.append(
            Finding(name, not problems, "; ".join(problems) or f"{count} files match their checksums", mend)
        )
    return findings


def check_cache() -> Finding:
    """The cache can be written and has room."""
    try:
        folder = cache_dir()
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"course")
    except CourseError as error:
        return Finding("cache", False, f"{error.path}: {error.problem}", error.mend or "")
    except OSError as error:
        return Finding("cache", False, _one_line(error), "export COURSE_CACHE=/path/to/a/folder/you/may/write")
    free = shutil.disk_usage(folder).free / 1e9
    mend = f"free some disk ({DISK_GB:.0f} GB), or export COURSE_CACHE=/path/on/another/disk"
    detail = f"{folder} can be written, {free:.1f} GB free"
    return Finding("cache", free >= DISK_GB, detail, "" if free >= DISK_GB else mend)


def check_memory() -> Finding:
    """Enough memory is free for the demo."""
    try:
        memory = importlib.import_module("psutil").virtual_memory()
    except ImportError as error:
        return Finding("memory", False, _one_line(error), reinstall_command("psutil"))
    free = memory.available / 1e9
    detail = f"{free:.1f} of {memory.total / 1e9:.1f} GB available, the demo needs {MEMORY_GB:.0f}"
    return Finding("memory", free >= MEMORY_GB, detail, "" if free >= MEMORY_GB else "close other programs")


def check_threads() -> Finding:
    """Threads asked for by the environment, against cores granted by the machine or its container."""
    cores = granted_cores()
    set_here = {name: os.environ[name] for name in THREAD_VARIABLES if os.environ.get(name)}
    wrong = [name for name, value in set_here.items() if not value.isdigit() or not 1 <= int(value) <= cores]
    listed = ", ".join(f"{name}={value}" for name, value in set_here.items()) or "no thread variable set"
    detail = f"{cores:g} cores granted of {os.cpu_count()}, {listed}"
    if wrong:
        return Finding("threads", False, detail, f"unset {' '.join(wrong)}")
    if not set_here and cores < _visible_cores():
        detail += "; PyTorch would start a thread for each core it sees and they would wait for one another"
        return Finding("threads", False, detail, f"export OMP_NUM_THREADS={max(1, int(cores))}")
    return Finding("threads", True, detail)


def granted_cores(cpu_max: Path = Path("/sys/fs/cgroup/cpu.max")) -> float:
    """Cores this process may use: its affinity, and at most the quota of its container (cgroup v2)."""
    cores = float(_visible_cores())
    try:
        quota, period = cpu_max.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else min(cores, int(quota) / int(period))


def _visible_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_processor() -> Finding:
    """Which INT8 instructions the processor has, and what that means for the course's numbers."""
    try:
        features = importlib.import_module("course_lib.measure.machine").cpu_features()
    except Exception as error:  # it needs PyTorch; the finding above says what is wrong with that
        return Finding("processor", True, f"not looked at: {_one_line(error)}")
    emulated = "emulated, so no time measured here may be quoted; " if features["emulated"] else ""
    return Finding("processor", True, f"{features['model']}: {emulated}{int8_advice(features['isa'])}")


def int8_advice(isa: Iterable[str]) -> str:
    """What INT8 may bring on a processor with these instruction sets (named as in course_lib.measure.machine)."""
    isa = set(isa)
    present = sorted(isa & {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"})
    if present:
        return f"INT8 dot products in hardware ({', '.join(present)}), so INT8 can be much faster than FP32"
    if "asimd" in isa:
        return "no INT8 dot product, so INT8 gains little time over FP32; it still makes files 4 times smaller"
    if "avx2" in isa:
        return (
            "no VNNI: ONNX Runtime sums pairs of U8·S8 products in 16 bits, which saturate, so INT8 gains less time "
            "and can lose accuracy (reduce_range, 7-bit weights, avoids that)"
        )
    return "no INT8 instructions known to the course, so expect no gain in time from INT8"


CHECKS: tuple[Callable[[], Finding | list[Finding]], ...] = (
    check_python,
    check_packages,
    check_torch,
    check_torchvision,
    check_onnxruntime,
    check_jupyter,
    check_files,
    check_cache,
    check_memory,
    check_threads,
    check_processor,
)


def _one_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


if __name__ == "__main__":
    sys.exit(main())
