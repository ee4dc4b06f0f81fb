"""README's tables of few bits say what the records say, one row for each network and number of bits."""

from __future__ import annotations

import json

import pytest

from course_lib.errors import CourseError
from course_lib.publishing.few_bits_table import BITS, WAYS, doctor_line, post_training_table, training_table


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


def test_every_network_and_number_of_bits_that_was_measured_has_a_row(tmp_path):
    write_few_bits(tmp_path)
    lines = post_training_table(tmp_path).splitlines()
    assert lines[0].startswith("|  | network | bits of weights | nearest codes | biases corrected |")
    assert [line.split(" | ")[:3] for line in lines[2:]] == [
        ["| rendered signs", "teacher", "4"],
        ["| rendered signs", "student", "4"],
        ["| rendered signs", "student", "2"],
        ["| real signs (GTSRB)", "student", "4"],
        ["| real signs (GTSRB)", "student", "2"],
    ]
    assert lines[4].endswith("| 6.00 | 6.25 | 6.50 (target ≤ 4: missed) | 6.75 |")


def test_bits_stand_in_rows_data_in_columns_and_the_control_below(tmp_path):
    write_few_bits(tmp_path)
    lines = training_table(tmp_path).splitlines()
    assert lines[0].count("points lost") == 2
    assert [line.split(" | ")[0] for line in lines[2:6]] == ["| 8", "| 4", "| 3", "| 2"]
    assert "| 94.00 | 4.00 [3.00, 5.00] (target ≤ 4.5: not established) |" in lines[3]
    assert "6.00 [5.00, 7.00] (target ≤ 4.5: missed)" in lines[5]
    assert lines[-1].startswith("Rendered signs: 3 seeds, 7 epochs; student as shipped 98.50 %, FP32 so long 98.25 [98")


def test_the_doctor_s_misses_and_alarms_are_told(tmp_path):
    write_few_bits(tmp_path)
    line = doctor_line(tmp_path)
    assert "named 36 of 37 seeded faults first, and 49 of 50" in line
    assert "healthy pairs: 1" in line
    assert "took 23 s" in line


def test_a_missing_record_is_named(tmp_path):
    for table in (post_training_table, training_table, doctor_line):
        with pytest.raises(CourseError, match="missing"):
            table(tmp_path)
