"""``course demo`` and ``course bench``: the main job, once and quickly, or in fresh processes and recorded."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from course_lib import plots
from course_lib.commands.speaking import speaker
from course_lib.data import chosen
from course_lib.experiments import main_job, main_job_record
from course_lib.experiments.plans import data_key, shown_data
from course_lib.measure import peak_memory_bytes
from course_lib.storage.files import RESULTS, ROOT, atomic_path

OWN_RESULTS = ROOT / "build" / "results"


def demo(options: argparse.Namespace) -> None:
    """Run the main job; print its ledger, and draw it beside the ledger's file."""
    started, out = time.perf_counter(), Path(options.out)
    ledger = main_job.run(chosen(options.data), quick=options.quick, out=out, say=speaker())
    with atomic_path(out / "ledger.png") as part:
        plots.ledger_figure(ledger).savefig(part, format="png", dpi=150)
    print(f"\n{ledger}\n")
    minutes, peak = (time.perf_counter() - started) / 60, peak_memory_bytes() / 1e9
    print(f"{minutes:.1f} minutes, at most {peak:.2f} GB of memory.")
    print(f"Written: {out / 'ledger.json'}, {out / 'ledger.png'}")


def bench(options: argparse.Namespace) -> None:
    """Measure the main job's files in fresh processes, and write its figures: the learner's own, or README's."""
    data, say = chosen(options.data), speaker()
    key = data_key(data)
    out = ROOT / "build" / f"journey_{key}"
    files, title, _ = main_job.prepare(data, quick=True, out=out, shipped=options.shipped, say=say)
    ledger = main_job_record.measure_sessions(data, files, title, out, options.sessions, say)
    print(f"\n{ledger}\n\n{ledger.tails()}\n")
    command = f"course bench journey --data {shown_data(data)}" + " --shipped" * options.shipped
    folder = RESULTS if options.shipped else OWN_RESULTS
    print(f"Written: {main_job_record.record_main_job(ledger, key, command, folder=folder)}")
