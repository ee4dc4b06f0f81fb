"""README's table of tools and the line on calibration say what the records say."""

from __future__ import annotations

import pytest

from course_lib.errors import CourseError
from course_lib.publishing.peers_table import TOOLS, calibration_line, peers_table


def test_every_tool_stands_beside_our_choice(tmp_path, peers):
    peers(tmp_path)
    lines = peers_table(tmp_path).splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:]] == list(TOOLS.values())
    assert lines[2].startswith("| ours, chosen on training images | 98.00 [97.00, 99.00] | – | – | 98.00")
    assert lines[3].split(" | ")[2:4] == ["–", "1.01 [1.00, 1.02]"]
    assert lines[4].split(" | ")[2] == "0.20 [−0.10, 0.50] (target ≥ 0: not established)"


def test_calibration_says_how_many_keep_to_what_was_asked(tmp_path, peers):
    peers(tmp_path)
    line = calibration_line(tmp_path)
    assert "teacher: forward passes alone 5.0, min max 6.0, moving average 7.0" in line
    assert "6 of 10 keep to it" in line  # 1.3 and 1.4 do not


def test_a_missing_record_is_named(tmp_path):
    for table in (peers_table, calibration_line):
        with pytest.raises(CourseError, match="missing"):
            table(tmp_path)
