"""The comparison of methods says only what its intervals allow."""

from __future__ import annotations

import json

import pytest

from course_lib.experiments.method_comparison import METHODS, method_gains, verdict_sentence
from course_lib.measure import Measurement, load_result, record


def recorded(**gains: tuple[float, float, float]) -> dict[str, Measurement]:
    return {
        f"{name}_gain_points": Measurement(value, "points", 3, "validation accuracy, distilled − alone", low, high)
        for name, (value, low, high) in gains.items()
    }


GAINS = recorded(hint=(0.5, -0.4, 1.2), soft_targets=(2.0, 1.0, 3.0), similarity=(-1.5, -2.5, -0.5))


def test_gains_are_sorted_and_judged_by_their_intervals():
    assert [(name, gain.verdict) for name, gain in method_gains(GAINS).items()] == [
        ("soft_targets", "helped"),
        ("hint", "not shown"),
        ("similarity", "hurt"),
    ]


def test_the_table_reads_a_recorded_file_and_leaves_other_figures_out(tmp_path):
    figures = recorded(**{name: (0.1 * i, -1.0, 1.0) for i, name in enumerate(METHODS)}, temperature_2=(9.0, 8.0, 10.0))
    figures["alone_accuracy"] = Measurement(90.0, "%", 3, "alone", 89.0, 91.0)
    record("distillation_methods", "a command", figures, seeds=(0, 1, 2), folder=tmp_path)
    gains = method_gains(load_result("distillation_methods", tmp_path)["figures"])
    assert list(gains) == list(METHODS)[::-1]
    assert json.loads((tmp_path / "distillation_methods.json").read_text())["seeds"] == [0, 1, 2]


def test_the_sentence_names_each_verdict_and_the_luck_of_many_comparisons():
    text = verdict_sentence(method_gains(GAINS))
    assert "above 0** for soft targets." in text
    assert "Below 0**: similarity-preserving." in text
    assert "nothing was shown**, for hint." in text
    assert "about 14 of 100" in text
    both = {"hint": (2.0, 1.0, 3.0), "hint_heavy": (1.0, 0.5, 1.5)}  # a method's name may hold a comma or brackets
    assert "above 0** for hint; hint (larger weight)." in verdict_sentence(method_gains(recorded(**both)))
    text = verdict_sentence(method_gains(recorded(hint=(0.5, -0.2, 1.2))))
    assert text.startswith("No interval lies above 0. None lies below 0.")


def test_figures_without_methods_or_intervals_are_refused():
    with pytest.raises(ValueError, match=r"<method>_gain_points of soft_targets.*got \['other'\]"):
        method_gains({"other": Measurement(1.0, "", 1, "x")})
    with pytest.raises(ValueError, match="hint_gain_points must have an interval"):
        method_gains({"hint_gain_points": Measurement(1.0, "points", 3, "x")})
