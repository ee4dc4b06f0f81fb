"""What distillation costs per step, and what a table of the teacher's logits saves: distillation_speed.json.

    python benchmarks/distillation_speed.py            print the result
    python benchmarks/distillation_speed.py --record   also write benchmarks/results/distillation_speed.json

1. ``soft_target_loss``, forward and backward, its checks included, against the bare expression
   ``F.kl_div(F.log_softmax(s/T), F.log_softmax(t/T), log_target=True)`` on the same tensors, B = 128.
2. An epoch of the student's training with the teacher's logits from a table against one that runs the teacher, on the
   same images and views; the table's making is not part of it, and is given beside it.

Interleaved rounds, medians, bootstrap intervals of the ratios.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from course_lib.data.rendered import render_split
from course_lib.distillation import Distiller, soft_target_loss, soft_target_terms, teacher_table
from course_lib.experiments.reporting import report
from course_lib.measure import Measurement, latency, torch_threads
from course_lib.models import checkpoints, sign_student
from course_lib.training import Recipe, fit

BATCH, TEMPERATURE, THREADS, IMAGES = 128, 4.0, 1, 1280
NAME = "distillation_speed"


def bare(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """The expression that everybody types; its "mean" divides by B·C, which costs the same."""
    return F.kl_div(F.log_softmax(student / TEMPERATURE, 1), F.log_softmax(teacher / TEMPERATURE, 1), log_target=True)


def loss_figures(repeats: int) -> dict[str, Measurement]:
    """Time of our loss / time of the bare expression, for 43 and 1000 classes."""
    found = {}
    for classes in (43, 1000):
        generator = torch.Generator().manual_seed(classes)
        student, teacher = torch.randn(2, BATCH, classes, generator=generator)
        student.requires_grad_()

        def step(loss: Callable, s: torch.Tensor = student, t: torch.Tensor = teacher) -> Callable[[], None]:
            def run() -> None:
                s.grad = None
                loss(s, t).backward()

            return run

        ours = step(lambda s, t: soft_target_loss(s, t, TEMPERATURE))
        report = latency({"ours": ours, "bare": step(bare)}, warmup=50, repeats=repeats, threads=THREADS, seed=0)
        ratio = report.ratio("ours", "bare")
        meaning = (
            f"soft_target_loss / bare expression, forward and backward, B = {BATCH}, C = {classes}, {THREADS} thread"
        )
        key = "loss_time_ratio_to_torch" + ("" if classes == 43 else f"_{classes}_classes")
        note = None if ratio.value <= 1.2 else "the checks of the input cost more than a fifth of so small a loss"
        found[key] = Measurement(
            round(ratio.value, 3),
            "×",
            repeats,
            meaning,
            round(ratio.low, 3),
            round(ratio.high, 3),
            target="≤ 1.2",
            note=note,
        )
    return found


def epoch_figures(repeats: int) -> dict[str, Measurement]:
    """Time of an epoch that runs the teacher / time of one that reads its logits from a table."""
    teacher, _ = checkpoints.load("teacher_rendered")
    train = render_split("train", tracks=-(-IMAGES // 6)).subset(np.arange(IMAGES))
    recipe = Recipe(epochs=1, views=1)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        table = teacher_table(teacher, train, recipe, folder=folder, progress=False)
        making = time.perf_counter() - started
        sources = {"teacher runs": {"teacher": teacher}, "table": {"teacher": None, "table": table}}
        variants = {name: _epoch(train, recipe, **source) for name, source in sources.items()}
        report = latency(variants, warmup=1, repeats=repeats, threads=THREADS, seed=0)
    ratio = report.ratio("teacher runs", "table")
    meaning = f"epoch of {IMAGES} images, student of width 0.5, teacher running / its logits read, {THREADS} thread"
    return {
        "cached_logits_speedup": Measurement(
            round(ratio.value, 2),
            "×",
            repeats,
            meaning,
            round(ratio.low, 2),
            round(ratio.high, 2),
            target="≥ 1.8",
            note=None if ratio.value >= 1.8 else "the student's own step takes most of the time here",
        ),
        "table_cost_epochs": Measurement(
            round(1000 * making / report.p50("teacher runs"), 2),
            "epochs",
            1,
            "making a table of one view, in epochs that run the teacher: what the first use costs",
        ),
    }


def _epoch(train, recipe, *, teacher, table=None) -> Callable[[], None]:
    torch.manual_seed(0)
    student = sign_student(0.5)
    distiller = Distiller(student, copy.deepcopy(teacher), soft_target_terms(temperature=4.0, alpha=0.9), table=table)
    few = train.subset(np.arange(1))  # validation is not what is timed

    def run() -> None:
        fit(student, train, few, recipe, loss=distiller, progress=False)

    return run


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Time distillation's loss and cached logits.")
    parser.add_argument("--record", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    parser.add_argument("--repeats", type=int, default=400, help="rounds of the loss; a fiftieth for the epochs")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", message="reduction: 'mean' divides")  # once: a filter inside would be timed
    with torch_threads(THREADS):
        figures = {**epoch_figures(max(5, options.repeats // 50)), **loss_figures(options.repeats)}
    command = "python benchmarks/distillation_speed.py --record"
    report(NAME, command, figures, recorded=options.record, seeds=[0], threads=THREADS)


if __name__ == "__main__":
    main()
