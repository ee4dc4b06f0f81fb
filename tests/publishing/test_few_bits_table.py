"""README's tables of few bits say what the records say, one row for each network and number of bits."""

from __future__ import annotations

import json

import pytest

from course_lib.errors import CourseError
from course_lib.publishing.few_bits_table import doctor_line, post_training_table, training_table


def test_every_network_and_number_of_bits_that_was_measured_has_a_row(tmp_path, few_bits):
    few_bits(tmp_path)
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


def test_bits_stand_in_rows_data_in_columns_and_the_control_below(tmp_path, few_bits):
    few_bits(tmp_path)
    lines = training_table(tmp_path).splitlines()
    assert lines[0].count("points lost") == 2
    assert [line.split(" | ")[0] for line in lines[2:6]] == ["| 8", "| 4", "| 3", "| 2"]
    assert "| 94.00 | 4.00 [3.00, 5.00] (target ≤ 4.5: not established) |" in lines[3]
    assert "6.00 [5.00, 7.00] (target ≤ 4.5: missed)" in lines[5]
    assert lines[-1].startswith("Rendered signs: 3 seeds, 7 epochs; student as shipped 98.50 %, FP32 so long 98.25 [98")


def test_bits_that_were_not_trained_on_a_data_set_are_a_dash(tmp_path, few_bits):
    few_bits(tmp_path)
    path = tmp_path / "quantization_training_gtsrb.json"
    recorded = json.loads(path.read_text(encoding="utf-8"))
    recorded["figures"] = {name: one for name, one in recorded["figures"].items() if not name.startswith("w3a3")}
    path.write_text(json.dumps(recorded), encoding="utf-8")
    assert training_table(tmp_path).splitlines()[4].endswith("(target ≤ 4.5: missed) | – | – |")


def test_the_doctor_s_misses_and_alarms_are_told(tmp_path, few_bits):
    few_bits(tmp_path)
    line = doctor_line(tmp_path)
    assert "named 36 of 37 seeded faults first, and 49 of 50" in line
    assert "healthy pairs: 1" in line
    assert "took 23 s" in line


def test_a_missing_record_is_named(tmp_path):
    for table in (post_training_table, training_table, doctor_line):
        with pytest.raises(CourseError, match="missing"):
            table(tmp_path)
