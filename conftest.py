"""What every run of pytest in this checkout needs, also a learner's own ``pytest --nbval notebooks``."""

from __future__ import annotations

from pathlib import Path


def pytest_configure(config) -> None:
    """Let nbval compare a figure's alt text and not its pixels, which differ between versions of matplotlib."""
    if getattr(config.option, "nbval", False) and not config.option.nbval_sanitize_with:
        config.option.nbval_sanitize_with = str(Path(__file__).with_name("tests") / "nbval_sanitize.cfg")
