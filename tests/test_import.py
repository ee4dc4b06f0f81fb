"""Importing the library is cheap: what a module does not need at once is imported when it is used."""

from __future__ import annotations

import importlib.util

import pytest

HEAVY = (
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "torchvision",
    "scipy",
    "jupyterlab",
    "ipywidgets",
    "IPython",
)
ROOMS = ("storage", "data", "models", "evaluation", "measure", "training", "distillation", "pruning", "quantization")
MODULES = (*ROOMS, "deploy", "exercises", "errors", "cli", "environment.doctor", "models.checkpoints")


@pytest.mark.parametrize("module", ["", *MODULES])
def test_an_import_loads_no_heavy_package(module, run_python):
    name = f"course_lib.{module}".rstrip(".")
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} does not exist")
    result = run_python(f"import sys, {name}; print(*sorted({set(HEAVY)!r} & sys.modules.keys()))")
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []


def test_the_bare_package_and_the_doctor_do_not_even_load_torch(run_python):
    result = run_python(
        "import sys, course_lib, course_lib.environment.doctor; print('torch' in sys.modules, 'numpy' in sys.modules)"
    )
    assert result.stdout.split() == ["False", "False"], result.stderr


def test_an_import_prints_nothing_and_writes_nothing(run_python, isolated_cache, tmp_path):
    result = run_python("import course_lib; from course_lib import data, models, training", HOME=str(tmp_path))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert list(isolated_cache.iterdir()) == []
