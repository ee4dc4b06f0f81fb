"""``course doctor``."""

from __future__ import annotations

import argparse

from course_lib.environment import doctor as checks


def doctor(options: argparse.Namespace) -> int:
    """Print what is wrong here; 1 if something is."""
    return checks.main()
