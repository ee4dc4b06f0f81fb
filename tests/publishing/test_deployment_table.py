"""README's tables of fusion and runtimes and the kit's line say what the records say."""

from __future__ import annotations

import pytest

from course_lib.errors import CourseError
from course_lib.publishing.deployment_table import STEPS, fusion_table, kit_line, runtimes_table


def test_every_step_has_a_row_and_what_was_not_timed_a_dash(tmp_path, deployment):
    deployment(tmp_path)
    lines = fusion_table(tmp_path).splitlines()
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines[2:-2]] == list(STEPS.values())
    fused = next(line for line in lines if line.startswith("| packed and all fused"))
    assert fused.split(" | ")[1] == "1.25 [1.10, 1.40] (target ≥ 1.15: not established)"
    folded = next(line for line in lines if line.startswith("| BatchNorm folded"))
    assert folded.removesuffix(" |").split(" | ")[1:] == ["–", "–", "–", "1.50 [1.40, 1.60]", "–", "–"]


def test_a_prediction_that_misses_is_told_in_per_cent(tmp_path, deployment):
    deployment(tmp_path)
    assert "off by 40 % [20, 60] of what was measured (target ≤ 0.3: missed)." in fusion_table(tmp_path)


def test_runtimes_stand_beside_eager_with_agreement(tmp_path, deployment):
    deployment(tmp_path)
    lines = runtimes_table(tmp_path).splitlines()
    assert lines[2] == "| teacher | torch float32 | 1.2 | 2.500 | – | 2.500 | – | 100.00 |"
    assert lines[3].endswith("| 2.500 | 7.00 [6.50, 7.50] | 2.500 | 7.00 [6.50, 7.50] | 99.80 |")
    assert lines[-2].endswith("beside eager: teacher 7.00 [6.50, 7.50].")
    assert lines[-1].endswith(
        "adds 0.70 [0.10, 1.30] per cent to ONNX Runtime's own call. Absent where this was recorded: litert."
    )


def test_the_kit_says_what_was_emulated_and_that_no_board_was_measured(tmp_path, deployment):
    deployment(tmp_path)
    line = kit_line(tmp_path)
    assert "has 9.6 MB and was built in 49 s; 7 of its 7 networks" in line
    assert line.endswith("on Python 3.6: passed. No board has measured it yet.")


def test_a_missing_record_is_named(tmp_path):
    for table in (fusion_table, runtimes_table, kit_line):
        with pytest.raises(CourseError, match="missing"):
            table(tmp_path)
