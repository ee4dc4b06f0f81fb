"""Whether the packages that the course stands on import and work, and which package to mend where one does not."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

from course_lib.environment.finding import Finding, failed_import
from course_lib.environment.packages import installed_version, python_command, reinstall_command

# The package, and what the library imports of it. PyTorch, torchvision, ONNX Runtime, JupyterLab and psutil have checks
# of their own.
LIBRARIES = {
    "numpy": "numpy",
    "scipy": "scipy.special",
    "matplotlib": "matplotlib.figure",
    "pillow": "PIL.Image",
    "onnx": "onnx",
    "onnxscript": "onnxscript",
    "safetensors": "safetensors",
    "tqdm": "tqdm.auto",
}


def check_libraries() -> list[Finding]:
    """The packages that need no check of their own import. They come first: PyTorch cannot work with a broken NumPy."""
    findings = []
    for package, module in LIBRARIES.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # a broken installation raises whatever it likes
            findings.append(failed_import(package, error, package))
    return findings or [Finding("libraries", True, f"{', '.join(LIBRARIES)} import")]


def check_torch() -> Finding:
    """PyTorch imports and computes."""
    try:
        torch = importlib.import_module("torch")
        total = float((torch.ones(4, 4) @ torch.ones(4, 4)).sum())
    except Exception as error:  # OSError for a missing library, ImportError, or anything a broken build raises
        return failed_import("PyTorch", error, "torch")
    device = "with CUDA" if torch.cuda.is_available() else "on the CPU"
    detail = f"{torch.__version__}, {device}, {torch.get_num_threads()} threads"
    return Finding("PyTorch", total == 64.0, detail, "" if total == 64.0 else reinstall_command("torch"))


def check_torchvision() -> Finding:
    """torchvision imports, and whether its compiled operators fit this PyTorch."""
    try:
        compat = importlib.import_module("course_lib.data.torchvision_compat")
        version = importlib.import_module("torchvision").__version__
    except Exception as error:
        return failed_import("torchvision", error, "torch", "torchvision")
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
        return failed_import("ONNX Runtime", error, "onnxruntime")
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
            raise ModuleNotFoundError("No module named 'jupyterlab'", name="jupyterlab")
        command = kernelspec.KernelSpecManager().get_kernel_spec("python3").argv[0]
    except Exception as error:
        return failed_import("JupyterLab", error, "jupyterlab", "ipywidgets", "ipykernel")
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
