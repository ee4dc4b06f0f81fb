"""A benchmark's figures are printed always, and recorded only if asked."""

from __future__ import annotations

import pytest

from course_lib.experiments import reporting
from course_lib.measure import Measurement

FIGURES = {"ratio": Measurement(2.0, "×", 3, "a / b"), "drop": Measurement(0.5, "points", 3, "a − b", 0.1, 0.9)}


@pytest.fixture
def written(monkeypatch):
    """What would be recorded."""
    calls = []
    monkeypatch.setattr(reporting, "record", lambda *args, **options: calls.append((args, options)) or "the file")
    return calls


def test_figures_are_printed_one_a_line_and_not_recorded_unasked(written, capsys):
    reporting.report("x", "python x.py", FIGURES, recorded=False, seeds=[1], threads=1)
    assert capsys.readouterr().out.splitlines() == ["ratio: 2.0 ×, n = 3", "drop: 0.5 [0.1, 0.9] points, n = 3"]
    assert written == []


def test_a_record_gets_all_that_was_told(written, capsys):
    reporting.report("x", "python x.py", FIGURES, recorded=True, seeds=[1, 2], threads=3, extra={"rows": [7]})
    assert written == [(("x", "python x.py", FIGURES), {"seeds": [1, 2], "threads": 3, "extra": {"rows": [7]}})]
    assert capsys.readouterr().out.splitlines()[-1] == "Written: the file"
