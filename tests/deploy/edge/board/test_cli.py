"""``course kit run``, ``import`` and ``predict`` from the command line, on a real kit and over a real connection."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from course_lib import cli
from course_lib.measure import Ledger
from course_lib.quantization.integer import find_compiler

SCORE = {"value": 0.9, "low": 0.89, "high": 0.91, "n": 2000, "unit": "", "clusters": 300, "spread": None}


@pytest.fixture
def scored(kit) -> Path:
    """The small kit, which says what its networks are worth."""
    manifest = json.loads((kit / "manifest.json").read_text())
    for model in manifest["models"]:
        model["scores"] = {"accuracy": SCORE, "agreement": 1.0, "accuracy_change": None}
    (kit / "manifest.json").write_text(json.dumps(manifest))
    return kit


@pytest.mark.skipif(find_compiler() is None, reason="no C compiler here")
def test_the_c_network_runs_on_the_board_and_its_results_become_a_ledger(server, scored, tmp_path, capsys):
    out, ledger, bench = tmp_path / "result.json", tmp_path / "ledger.json", "--runtime c --calls 20 --power-seconds 0"
    command = ["kit", "run", server.host, "--kit", str(scored), "--out", str(out), "--ssh", shlex.join(server.options)]
    assert cli.main([*command, "--folder", str(tmp_path / "on the board"), "--bench", bench]) == 0
    shown = capsys.readouterr()
    assert f"Written: {out}" in shown.out
    assert "copy" in shown.err
    assert cli.main(["kit", "import", str(out), "--kit", str(scored), "--out", str(ledger)]) == 0
    assert "in_c, c int8" in capsys.readouterr().out
    (row,) = Ledger.load(ledger)
    assert row.twin is not None
    assert row.twin.agreement == 1.0
    assert cli.main(["kit", "predict", "pi5", "--kit", str(scored), "--runtime", "c", "--results", str(out)]) == 0
    assert "Measured on" in capsys.readouterr().out


def test_a_prediction_names_its_sources_and_says_that_nobody_measured(scored, capsys):
    assert cli.main(["kit", "predict", "nano", "--kit", str(scored), "--runtime", "tensorrt"]) == 0
    shown = capsys.readouterr().out
    assert "Nobody has measured yet" in shown
    assert "no INT8 in TensorRT" in shown
    assert "25.6 GB/s: NVIDIA" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "a b"], "host must be like user@board"),
        (["import", "no.json", "--kit", "KIT"], "no.json: the file is missing"),
        (["import", "no.json", "--kit", "nowhere"], "nowhere: no kit in this folder"),
        (["import", "MANIFEST", "--kit", "KIT"], "manifest.json: not a results file of a kit"),
        (["predict", "nano", "--kit", "KIT", "--runtime", "foo"], "runtime must be one of onnxruntime, c, tensorrt"),
        (["predict", "xavier", "--kit", "KIT"], "nano, orin_nano"),
    ],
)
def test_a_mistake_is_one_line(arguments, words, scored, capsys):
    places = {"KIT": str(scored), "MANIFEST": str(scored / "manifest.json")}
    given = [places.get(argument, argument) for argument in arguments]
    assert cli.main(["kit", *given]) == 2
    assert words in capsys.readouterr().err


def test_results_of_a_board_without_the_provider_name_the_reason(scored, bench, capsys):
    assert bench("--provider", "CUDAExecutionProvider").returncode == 1
    assert cli.main(["kit", "import", str(scored / "result.json"), "--kit", str(scored)]) == 2
    assert "no network ran (plain, onnxruntime fp32" in capsys.readouterr().err
