"""Records as the benchmarks write them, for the tables that README shows."""

from __future__ import annotations

import json

import pytest

from course_lib.publishing.few_bits_table import BITS, WAYS
from course_lib.publishing.peers_table import OBSERVERS, ROLES, TOOLS


def figure(value: float, unit: str = "points", **more) -> dict:
    return {"value": value, "unit": unit, "n": 9, "meaning": "m", **more}


def after_training(key: str) -> dict:
    arms = [("student", bits) for bits in (4, 2)] + ([("teacher", 4)] if key == "rendered" else [])
    return {
        f"{role}_w{bits}a8_{way}_drop_points": figure(place / 4 + 8 - bits, target="≤ 4" if way == "adaround" else None)
        for role, bits in arms
        for place, way in enumerate(WAYS)
    }


def trained() -> dict:
    figures = {"shipped_accuracy": figure(98.5, "%"), "fp32_accuracy": figure(98.25, "%", low=98.0, high=98.5)}
    for bits in BITS:
        figures[f"w{bits}a{bits}_lsq_accuracy"] = figure(90.0 + bits, "%")
        figures[f"w{bits}a{bits}_lsq_drop_points"] = figure(8.0 - bits, low=7.0 - bits, high=9.0 - bits, target="≤ 4.5")
    return figures


def write_few_bits(folder) -> None:
    """The records that the tables read."""
    common = {"command": "c", "date": "2026-01-02", "seeds": [1, 2, 3], "plan": {"epochs": 7}}
    for key in ("rendered", "gtsrb"):
        for name, figures in (("post_training", after_training(key)), ("quantization_training", trained())):
            (folder / f"{name}_{key}.json").write_text(json.dumps({**common, "figures": figures}), encoding="utf-8")
    found = {"faults_seeded": 37, "faults_named_first": 36, "faults_seeded_everywhere": 50, "false_alarms": 1}
    found |= {"faults_named_first_everywhere": 49, "report_seconds": 22.7}
    figures = {name: figure(value, "") for name, value in found.items()}
    (folder / "doctor.json").write_text(json.dumps({**common, "figures": figures}), encoding="utf-8")


def write_peers(folder) -> None:
    """The records that the table and the line read."""
    figures, calibrated = {}, {}
    for role in ROLES:
        for place, tool in enumerate(TOOLS):
            figures[f"{role}_{tool}_accuracy"] = figure(98 + place / 10, "%", low=97.0, high=99.0)
            figures[f"{role}_{tool}_time_ratio"] = figure(1.01, "×", low=1.0, high=1.02)
            if tool.startswith(("ort", "nncf")):
                target = {"low": -0.1, "high": 0.5, "target": "≥ 0"}
                figures[f"{role}_ours_best_over_{tool}_points"] = figure(place / 10, **target)
        calibrated[f"{role}_forward_seconds"] = figure(5.0, "s")
        for place, name in enumerate(OBSERVERS):
            calibrated[f"{role}_{name}_seconds"] = figure(6.0 + place, "s")
            ends = {"low": 0.9, "high": 1.0 + place / 10, "target": "≤ 1.2"}
            calibrated[f"{role}_{name}_share"] = figure(0.95, "×", **ends)
    for name, content in (("quantization_peers", figures), ("calibration", calibrated)):
        recorded = {"command": "c", "date": "2026-01-02", "figures": content}
        (folder / f"{name}.json").write_text(json.dumps(recorded), encoding="utf-8")


@pytest.fixture
def few_bits():
    """Writes the records of few bits into a folder."""
    return write_few_bits


@pytest.fixture
def peers():
    """Writes the records of the peers and of calibration into a folder."""
    return write_peers


def write_deployment(folder) -> None:
    """The records that the tables of fusion and runtimes and the kit's line read."""
    fused = {"fusion_speedup": figure(1.25, "×", low=1.1, high=1.4, target="≥ 1.15")}
    fused["traffic_prediction_error"] = figure(0.4, "", low=0.2, high=0.6, target="≤ 0.3", note="why", met=False)
    fused["student_32_folded"] = figure(1.5, "×", low=1.4, high=1.6)
    faster = {"value": 7.0, "low": 6.5, "high": 7.5, "n": 60, "unit": "×"}
    rows = [
        {
            "network": "teacher",
            "row": name,
            "version": "1.2",
            "agreement": {"value": 1.0 if ratio is None else 0.998},
            "times": {pace: {"ms": 2.5, "faster_than_eager": ratio} for pace in ("back to back", "30 a second")},
        }
        for name, ratio in (("torch float32", None), ("onnxruntime int8", faster))
    ]
    timed = {"best_over_eager_teacher": figure(7.0, "×", low=6.5, high=7.5, target="≥ 3")}
    timed["session_overhead"] = figure(0.7, "%", low=0.1, high=1.3, target="≤ 3")
    kit = {"kit_mb": figure(9.63, "MB"), "build_seconds": figure(49.4, "s")}
    kit |= {"models_correct_emulated": figure(7, ""), "models_total": figure(7, "")}
    absent = {"litert": "it is not installed; pip install …"}
    for name, content, more in (
        ("fusion", fused, {}),
        ("runtimes", timed, {"rows": rows, "absent": absent}),
        ("edge_kit", kit, {"python36": "passed"}),
    ):
        recorded = {"command": "c", "date": "2026-01-02", "figures": content, **more}
        (folder / f"{name}.json").write_text(json.dumps(recorded), encoding="utf-8")


@pytest.fixture
def deployment():
    """Writes the records of fusion, runtimes and the kit into a folder."""
    return write_deployment
