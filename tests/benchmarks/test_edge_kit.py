"""Who could not be asked is told and not counted; an old Python that fails is no pass."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from course_lib.deploy.edge import KitModel, Manifest, Tolerance
from course_lib.errors import CourseError


@pytest.fixture(scope="module")
def benchmark(load_script):
    return load_script("benchmarks/edge_kit.py")


def model(name: str, runtime: str) -> KitModel:
    same = Tolerance(1e-3, 1.0)
    return KitModel(name, name, f"models/{name}", "fp32", (runtime,), name, same, 10, 10, 10)  # pyright: ignore


def manifest() -> Manifest:
    files = {
        "models/a": {"sha256": "0" * 64, "bytes": 4_000_000},
        "edge_bench.py": {"sha256": "1" * 64, "bytes": 5_000},
    }
    return Manifest("0.1.0", "rendered", (model("a", "onnxruntime"), model("b", "c")), (3, 32, 32), 6, "i.npz", files)


def refuse(*arguments, **given):
    raise CourseError("not on this machine")


def test_a_board_that_cannot_be_had_is_told_and_counts_for_nothing(benchmark, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "prepare_board", refuse)
    monkeypatch.setattr(benchmark, "run_c_network", lambda folder, model, out: model.name == "b")
    right, reasons = benchmark.emulated(manifest(), tmp_path)
    assert right == {"b": True}
    assert "not on this machine" in reasons["onnxruntime"]


def test_a_network_whose_outputs_disagree_is_not_right(benchmark, monkeypatch, tmp_path):
    rows = {"rows": [{"name": "a", "outputs_agree": False}]}
    monkeypatch.setattr(benchmark, "prepare_board", lambda: None)
    monkeypatch.setattr(benchmark, "run_kit", lambda folder, board, out: rows)
    monkeypatch.setattr(benchmark, "run_c_network", refuse)
    right, reasons = benchmark.emulated(manifest(), tmp_path)
    assert right == {"a": False}
    assert list(reasons) == ["c"]


@pytest.mark.parametrize(
    ("right", "seconds", "met"),
    [({"a": True, "b": True}, 30.0, (True, True)), ({"a": True, "b": False}, 61.0, (False, False)),
     ({"a": True}, 30.0, (False, True)), ({}, 30.0, (False, True))],
)  # fmt: skip
def test_the_figures_count_every_network_of_the_kit(benchmark, right, seconds, met):
    found = benchmark.figures(manifest(), seconds, right)
    assert (found["kit_mb"].value, found["models_total"].value) == (4.0, 2)
    assert found["models_correct_emulated"].value == sum(right.values())
    assert (found["models_correct_emulated"].met, found["build_seconds"].met) == met


def interpreter(path: Path, version: str, code: int) -> Path:
    """A program that writes results of this version, as the kit's script would, and ends with this status."""
    content = json.dumps({"versions": {"python": version}})
    script = f"#!{sys.executable}\nimport sys\nopen(sys.argv[-1], 'w').write({content!r})\n"
    path.write_text(script + f"print('no wheel', file=sys.stderr)\nsys.exit({code})\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize(
    ("version", "code", "said"),
    [("3.6.15", 0, "passed"), ("3.9.2", 0, "failed: it ran under Python 3.9.2"),
     ("3.6.15", 3, "failed with 3: no wheel")],
)  # fmt: skip
def test_an_old_python_passes_only_with_results_of_its_own(benchmark, monkeypatch, tmp_path, version, code, said):
    python = interpreter(tmp_path / "python3.6", version, code)
    monkeypatch.setattr(benchmark, "prepare_python36", lambda: python)
    assert benchmark.python36(tmp_path) == said


def test_without_an_old_python_the_reason_is_recorded(benchmark, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "prepare_python36", refuse)
    assert benchmark.python36(tmp_path) == "skipped: not on this machine"
