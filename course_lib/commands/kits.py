"""``course kit …``: build the kit for a board, run it there, read its results, predict its times."""

from __future__ import annotations

import argparse
import shlex
import time

from course_lib.commands.speaking import speaker
from course_lib.data import chosen
from course_lib.deploy import edge
from course_lib.experiments import edge_kit
from course_lib.experiments.edge_progress import ProgressBar


def build(options: argparse.Namespace) -> None:
    """Write the kit's folder and print what it holds."""
    started = time.perf_counter()
    manifest = edge_kit.build(options.out, data=chosen(options.data), say=speaker())
    for model in manifest.models:
        scored = "" if model.scores is None else f"{model.scores.accuracy.value:.2%} of the test images right"
        print(f"{model.name:<14}{manifest.files[model.file]['bytes']:>10,} bytes  {scored}")
    seconds, size = time.perf_counter() - started, manifest.total_bytes / 1e6
    print(f"Written: {options.out}, {size:.1f} MB in {seconds:.0f} s. Copy it to the board and read its README.md.")


def run(options: argparse.Namespace) -> None:
    """Copy, set up, run and fetch."""
    ssh, bench = (_words(getattr(options, name), name) for name in ("ssh", "bench"))
    with ProgressBar() as say:
        given = {"ssh_options": ssh, "arguments": bench, "say": say}
        out = edge.run_kit(options.kit, options.host, folder=options.folder, out=options.out, **given)
    print(f"Written: {out}. Read it: course kit import {out} --kit {options.kit}")


def _words(text: str, name: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"--{name} must be words as a shell reads them, got {text!r} ({error})") from error


def read(options: argparse.Namespace) -> int:
    """Print a board's results as a ledger; 1 if something did not run."""
    ledger = edge.import_results(options.results, options.kit, require_speed=options.require_speed)
    print(ledger)
    failures = edge.read_results(options.results).failures
    print("".join(f"did not run: {name}: {reason}\n" for name, reason in failures.items()), end="")
    if options.out:
        ledger.save(options.out)
    return int(bool(failures))


def predict(options: argparse.Namespace) -> None:
    """Print how long each network takes at least."""
    board = edge.find_board(options.board)
    predictions = edge.predict_kit(options.kit, board, options.runtime, threads=options.threads)
    results = edge.read_results(options.results) if options.results else None
    print(f"{edge.compare(predictions, results)}\n\n{edge.sources(predictions)}")
