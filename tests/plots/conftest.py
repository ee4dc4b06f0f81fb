"""What every figure owes its reader, checked in one place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from course_lib import plots


@pytest.fixture
def check_drawn(tmp_path: Path) -> Callable[..., None]:
    """check_drawn(figure, most_bytes=…): it has alt text, both labels on each axis, and a PNG of moderate size."""

    def check(figure: plots.CourseFigure, *, most_bytes: int) -> None:
        assert len(plots.alt_text(figure)) > 40
        assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes if axes.axison)
        figure.savefig(tmp_path / "figure.png")
        assert (tmp_path / "figure.png").stat().st_size < most_bytes

    return check
