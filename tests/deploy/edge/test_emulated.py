"""Every network of the kit gives its reference outputs on an emulated board, and under a Nano's Python.

What cannot be had here (no root, no Debian, no network, no Python 3.6) skips with the reason. Nothing is said about
speed: emulated times mean nothing.
"""

from __future__ import annotations

import json
import subprocess

import pytest

from course_lib.deploy.edge import read_manifest
from course_lib.deploy.edge.emulation import CROSS, prepare_board, run_c_network, run_kit
from course_lib.deploy.edge.old_python import prepare_python36
from course_lib.errors import CourseError
from course_lib.experiments import edge_kit


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The real kit, its networks scored on a few images only."""
    out = tmp_path_factory.mktemp("shipped") / "kit"
    edge_kit.build(out, test_images=50)
    return out


def test_the_shipped_kit_holds_all_networks_and_fits(shipped):
    manifest = read_manifest(shipped)
    names = ["teacher", "fp32", "pruned", "teacher_int8", "int8_cpu", "int8_trt", "integer_c"]
    assert [model.name for model in manifest.models] == names
    assert manifest.total_bytes <= 15e6
    for model in manifest.models:
        assert model.scores is None or model.scores.accuracy.value >= 0.9
        assert model.macs
    assert manifest.model("teacher").scores.accuracy_change is None


def test_an_emulated_board_computes_what_the_kit_says(shipped, tmp_path):
    try:
        board = prepare_board()
    except CourseError as error:
        pytest.skip(f"no emulated board here: {error}")
    result = run_kit(shipped, board, tmp_path / "result.json")
    assert result["device"]["emulated"] is True
    assert result["device"]["machine"] == "aarch64"
    assert [row["name"] for row in result["rows"]] == [m.name for m in read_manifest(shipped).models if not m.main]
    for row in result["rows"]:
        assert (row["name"], row["error"], row["outputs_agree"]) == (row["name"], None, True)
        assert f"onnxruntime=={row['runtime_version']}" in board.packages


def test_an_emulated_processor_runs_the_c_file_to_the_bit(shipped, tmp_path):
    try:
        agree = run_c_network(shipped, read_manifest(shipped).model("integer_c"), tmp_path)
    except CourseError as error:
        if not error.problem.startswith("no "):
            raise
        pytest.skip(f"no {CROSS} or no emulator here: {error}")
    assert agree


def test_the_kit_runs_under_python_3_6_with_a_nanos_packages(shipped, tmp_path):
    try:
        python = prepare_python36()
    except CourseError as error:
        pytest.skip(f"not run under Python 3.6: {error}")
    out = tmp_path / "result.json"
    command = [str(python), str(shipped / "edge_bench.py"), "--calls", "3", "--power-seconds", "0", "--out", str(out)]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(out.read_text())
    assert result["versions"]["python"].startswith("3.6.")
    assert {row["runtime_version"] for row in result["rows"]} == {"1.10.0"}
    assert all(row["outputs_agree"] and row["peak_memory_kb"] > 1000 for row in result["rows"])
