"""``course lab`` and ``course workbook``: what a learner types, and what they are told.

``course lab`` is what ``make lab`` runs, and what Windows types. The server's root is the checkout, so that a chapter's
links to ``docs/`` and ``benchmarks/`` open: ``workbook/`` lies as deep as ``notebooks/``. A workbook elsewhere is its
own root, and those links lead nowhere.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from course_lib.storage.files import ROOT
from course_lib.workbook.chapters import reset, status, update
from course_lib.workbook.places import place, shown

FIRST = "00_start_here.ipynb"


def lab(options: argparse.Namespace) -> int:
    """Bring the copies up to date, then open JupyterLab; its status."""
    bring_up_to_date(options)
    return open_lab(lab_command(place(), options.more))


def bring_up_to_date(options: argparse.Namespace) -> None:
    """Update all copies and print what changed."""
    changes = update()
    if made := [change for change in changes if change.what == "made"]:
        print(f"Your copies of {len(made)} chapters are in {shown(place())}: work there.")
    for change in changes:
        if change not in made:
            print(change)


def tell_status(options: argparse.Namespace) -> None:
    """Print how each copy stands."""
    print(*status(), sep="\n")


def begin_anew(options: argparse.Namespace) -> None:
    """Make a fresh copy of one chapter."""
    print(reset(options.chapter))


def lab_command(folder: Path, options: Sequence[str] = ()) -> list[str]:
    """The command that opens JupyterLab at the first chapter in ``folder``; ``options`` are JupyterLab's own."""
    root = ROOT if folder.is_relative_to(ROOT) else folder
    page = quote((folder / FIRST).relative_to(root).as_posix())
    given = [f"--ServerApp.root_dir={root}", f"--LabApp.default_url=/lab/tree/{page}"]
    as_root = ["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    return [sys.executable, "-m", "jupyterlab", *given, *as_root, *options]


def open_lab(command: Sequence[str]) -> int:
    """Run JupyterLab until it ends; its status. Where the system can, it takes this process over, Ctrl-C included."""
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(command[0], list(command))
    with subprocess.Popen(command) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:  # JupyterLab gets it too, and asks
                continue
