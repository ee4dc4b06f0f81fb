"""``course diff`` and ``course export-c``: two networks compared, and one as C."""

from __future__ import annotations

import argparse

from course_lib.experiments import c_export, model_diff


def export_c(options: argparse.Namespace) -> int:
    """Write the network and print what it needs; 1 if the compiled file differs from the engine."""
    found = c_export.export_c(
        options.model, options.out, data=options.data, rounding=options.rounding, check=options.check
    )
    print(found)
    return int(found.differing > 0)


def diff(options: argparse.Namespace) -> int:
    """Print the diagnosis; 1 if the suspect is not healthy."""
    report = model_diff.diff(options.reference, options.suspect, data=options.data, images=options.images)
    print(report)
    if options.out:
        print(f"Written: {report.save(options.out)}")
    return int(not report.healthy)
