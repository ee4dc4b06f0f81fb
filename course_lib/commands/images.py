"""``course data``: prepare a data set, and show its parts."""

from __future__ import annotations

import argparse

from course_lib import data as sets


def data(options: argparse.Namespace) -> None:
    """Load the set, downloading it first where that was asked for, and print its parts."""
    for part in sets.load(sets.chosen(options.name), download=options.download):
        print(part)
