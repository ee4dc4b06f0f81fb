"""README's table of tools and the line on calibration say what the records say."""

from __future__ import annotations

import json

import pytest

from course_lib.errors import CourseError
from course_lib.publishing.peers_table import OBSERVERS, ROLES, TOOLS, calibration_line, peers_table


def figure(value: float, unit: str = "points", **more) -> dict:
    return {"value": value, "unit": unit, "n": 9, "meaning": "m", **more}


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


def test_every_tool_stands_beside_our_choice(tmp_path):
    write_peers(tmp_path)
    lines = peers_table(tmp_path).splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]] == list(TOOLS.values())
    assert lines[2].startswith("| ours, chosen on training images | 98.00 [97.00, 99.00] | – | – | 98.00")
    assert lines[3].split(" | ")[2:4] == ["–", "1.01 [1.00, 1.02]"]
    assert lines[4].split(" | ")[2] == "0.20 [−0.10, 0.50] (target ≥ 0: not established)"


def test_calibration_says_how_many_keep_to_what_was_asked(tmp_path):
    write_peers(tmp_path)
    line = calibration_line(tmp_path)
    assert "teacher: forward passes alone 5.0, min max 6.0, moving average 7.0" in line
    assert "6 of 10 keep to it" in line  # 1.3 and 1.4 do not


def test_a_missing_record_is_named(tmp_path):
    for table in (peers_table, calibration_line):
        with pytest.raises(CourseError, match="missing"):
            table(tmp_path)
