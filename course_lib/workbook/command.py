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
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from course_lib.storage.files import ROOT
from course_lib.workbook.chapters import reset, status, update
from course_lib.workbook.places import place, shown

FIRST = "00_start_here.ipynb"


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands; ``add(name, run, text)`` makes the parser of one."""
    lab = add("lab", _lab, "bring your copies of the chapters up to date and open them in JupyterLab")
    lab.epilog = "Other options are JupyterLab's own, such as --no-browser or --port=8889."
    lab.set_defaults(passes_on=True)
    own = add("workbook", _workbook, "bring your copies of the chapters up to date; your answers stay")
    actions = own.add_subparsers(metavar="ACTION")
    states = actions.add_parser("status", help="how each copy stands; changes nothing")
    states.set_defaults(run=_status)
    again = actions.add_parser("reset", help="a fresh copy of one chapter; the old one is kept")
    again.add_argument("chapter", help="its number, such as 04")
    again.set_defaults(run=_reset)


def _lab(options: argparse.Namespace) -> int:
    _workbook(options)
    return open_lab(lab_command(place(), options.more))


def _workbook(options: argparse.Namespace) -> None:
    changes = update()
    if made := [change for change in changes if change.what == "made"]:
        print(f"Your copies of {len(made)} chapters are in {shown(place())}: work there.")
    for change in changes:
        if change not in made:
            print(change)


def _status(options: argparse.Namespace) -> None:
    print(*status(), sep="\n")


def _reset(options: argparse.Namespace) -> None:
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
