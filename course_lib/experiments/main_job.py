"""The course's main job: one sign recognizer, smaller step by step, all variants measured in one ledger.

    teacher FP32 → student distilled from it → channels pruned → INT8 → ONNX Runtime

Beside these steps stand variants that did not help, because a learner will meet them too: the teacher merely
quantized, the student trained on the labels alone, and the distilled student with half of its weights set to zero (as
large and as slow as before). Validation chose every network; the test part is read once, by ``measure_ledger``.

``run`` works in two ways and says which: *live* trains the students with ``plans.LIVE`` in a few minutes; *quick*
loads the shipped ones, which ``plans.PLANS`` made. The teacher is always loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from course_lib.data import SignDataset, Splits, load
from course_lib.deploy.onnx import export_onnx, onnx_variant, onnx_variants
from course_lib.experiments.plans import LIVE, PLANS, ROLES, Plan, data_key
from course_lib.experiments.shipped_networks import prune_and_finetune, train_student
from course_lib.measure import (
    BACK_TO_BACK,
    IN_TURN,
    THIRTY_A_SECOND,
    Cadence,
    Ledger,
    measure_ledger,
)
from course_lib.models import SignStudent, checkpoints
from course_lib.models.trained import load_trained, whose
from course_lib.quantization.post_training import calibration_images, quantize_static_int8
from course_lib.storage.files import CHECKPOINTS, require_writable

TEACHER, FINAL, SMALL = "teacher FP32", "student pruned INT8", "small student INT8"
ROWS = (
    TEACHER,
    "teacher INT8",
    "student alone FP32",
    "student distilled FP32",
    "… with 50 % zeros",
    "student pruned FP32",
    FINAL,
    "small student FP32",
    SMALL,
)
"""Every variant, in the order of a ledger."""
MAIN_ROWS = (TEACHER, "student distilled FP32", "student pruned FP32", FINAL)
"""The way from the teacher to the final network, without the variants that stand beside it."""
PACES = {BACK_TO_BACK: 30, IN_TURN: 200, THIRTY_A_SECOND: 20}
"""Rounds of each cadence in a demo: about a minute and a half, half of it asleep."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class Students:
    """The networks of one run.

    Args:
        distilled: the student taught by the teacher.
        pruned: the same with fewer channels, fine-tuned.
        alone: the control, trained on the labels; None where it was neither loaded nor trained.
        small: the one for whom bytes matter more than time; None where it was neither loaded nor trained.
        origin: where they come from, in words.
    """

    distilled: SignStudent
    pruned: SignStudent
    alone: SignStudent | None
    origin: str
    small: SignStudent | None = None


def run(
    data: str = "rendered",
    *,
    quick: bool = False,
    out: str | Path = "demo",
    paces: Mapping[Cadence, int] = PACES,
    progress: bool = True,
    say: Say = lambda line: None,
) -> Ledger:
    """Run the main job and write its files: ``ledger.json`` and the ONNX models.

    Args:
        data: "rendered", "gtsrb" or the path of an .npz; see ``data.load``.
        quick: load the shipped students instead of training them.
        out: folder for the files. paces: cadence -> timed rounds.
        progress: show progress bars. say: is told what begins.
    Raises: CourseError: data or checkpoints are missing, broken, or the teacher was trained on another split.
    """
    files, title, test = prepare(data, quick=quick, out=out, progress=progress, say=say)
    say("measuring every variant on the test part, interleaved, one thread, in three cadences")
    ledger = measure_files(files, test, title, paces)
    ledger.save(Path(out) / "ledger.json")
    return ledger


def prepare(
    data: str = "rendered",
    *,
    quick: bool,
    out: str | Path,
    shipped: bool = False,
    progress: bool = True,
    say: Say = lambda line: None,
) -> tuple[dict[str, Path], str, SignDataset]:
    """All of ``run`` before the measurement.

    Args: shipped: take the networks that ship, even where the learner has trained others.
    Returns: the ONNX files, name -> path with the teacher first; the ledger's title; the test part.
    """
    key = data_key(data)
    say(f"data: {data}")
    splits = load(data)
    teacher, card, folder = _network(f"teacher_{key}", splits, shipped)
    say(f"teacher: {_origin([folder])}, validation accuracy {_told(card)}")
    require_writable(out)  # before minutes of training
    ready = quick and finished_students(splits, key, shipped)
    students = ready or live_students(teacher, splits, LIVE, progress, say)
    say(f"students: {students.origin}")
    files = export_files(teacher, students, splits, out, (PLANS[key] if quick else LIVE).calibration)
    title = f"Main job on {splits.test.name} signs; students {students.origin}"
    return files, title, splits.test


def measure_files(
    files: Mapping[str, str | Path], test: SignDataset, title: str, paces: Mapping[Cadence, int]
) -> Ledger:
    """The ledger of ONNX files on one thread, the first one opened twice: name -> path; paces: cadence -> rounds."""
    first, path = next(iter(files.items()))
    return measure_ledger(
        onnx_variants(files, threads=1),
        test.batch(np.arange(len(test)))[0].numpy(),
        test.labels,
        test.groups,
        title=title,
        data=test.name,
        cadences=paces,
        again=onnx_variant(first, path, threads=1),
    )


def shipped_students(splits: Splits, key: str) -> Students:
    """The students that the course ships, checked not to have seen this test part."""
    return finished_students(splits, key, shipped=True)


def finished_students(splits: Splits, key: str, shipped: bool = False) -> Students:
    """The students of ``plans.PLANS``, checked not to have seen this test part.

    Args: shipped: those that ship, even where the learner has trained others.
    """
    found = {role: _network(f"{role}_{key}", splits, shipped) for role in ROLES[key]}
    networks: dict[str, Any] = {role: network for role, (network, _, _) in found.items()}
    origin = f"{_origin([folder for _, _, folder in found.values()])} (trained by: course train)"
    return Students(networks["student"], networks["final"], networks.get("alone"), origin, small=networks.get("small"))


def _network(name: str, splits: Splits, shipped: bool) -> tuple[nn.Module, dict[str, Any], Path]:
    if shipped:
        return *checkpoints.load_for_split(name, splits), CHECKPOINTS
    return load_trained(name, splits)


def _told(card: dict[str, Any]) -> str:
    accuracy = card.get("validation_accuracy")
    return "not told by its card" if accuracy is None else f"{accuracy:.2%}"


def _origin(folders: Sequence[Path]) -> str:
    """Whose networks these are: "shipped", "your own", or both where the learner has trained some of them."""
    return " and ".join(sorted({whose(folder) for folder in folders}))


def live_students(teacher: nn.Module, splits: Splits, plan: Plan, progress: bool, say: Say) -> Students:
    """Distil, prune and fine-tune now, by ``plan``."""
    from course_lib.distillation import teacher_table

    started = time.perf_counter()
    say(f"the teacher comments on {plan.views} views of {len(splits.train):,} training images")
    table = teacher_table(teacher, splits.train, plan.recipe(), progress=progress)
    say(f"distilling the student, {plan.epochs} epochs")
    distilled, _ = train_student(splits, plan, table, progress=progress)
    say(f"pruning {plan.pruning_ratio:.0%} of the channels, fine-tuning {plan.finetune_epochs} epochs")
    pruned, _ = prune_and_finetune(distilled, splits, plan, table, progress=progress)
    minutes = (time.perf_counter() - started) / 60
    return Students(distilled, pruned, None, f"trained live in {minutes:.1f} min")


def export_files(
    teacher: nn.Module, students: Students, splits: Splits, out: str | Path, calibration: int
) -> dict[str, Path]:
    """Write one ONNX file a variant: name → path, the teacher first."""
    folder = Path(out) / "models"
    ranges = calibration_images(splits.train, calibration)
    files = {TEACHER: export_onnx(teacher, folder / "teacher_fp32.onnx")}
    files["teacher INT8"] = quantize_static_int8(files[TEACHER], folder / "teacher_int8.onnx", ranges)
    if students.alone is not None:
        files["student alone FP32"] = export_onnx(students.alone, folder / "alone_fp32.onnx")
    files["student distilled FP32"] = export_onnx(students.distilled, folder / "distilled_fp32.onnx")
    zeros = half_zeros(students.distilled)
    files["… with 50 % zeros"] = export_onnx(zeros, folder / "zeros_fp32.onnx")
    files["student pruned FP32"] = export_onnx(students.pruned, folder / "pruned_fp32.onnx")
    files[FINAL] = quantize_static_int8(files["student pruned FP32"], folder / "pruned_int8.onnx", ranges)
    if students.small is not None:
        files["small student FP32"] = export_onnx(students.small, folder / "small_fp32.onnx")
        files[SMALL] = quantize_static_int8(files["small student FP32"], folder / "small_int8.onnx", ranges)
    return files


def half_zeros(student: SignStudent) -> SignStudent:
    """A copy whose smaller half of each convolution's weights is zero, without training: smaller in name only."""
    import copy

    twin = copy.deepcopy(student)
    with torch.no_grad():
        for layer in twin.features.modules():
            if not isinstance(layer, nn.Conv2d):
                continue
            weight = layer.weight
            weight[weight.abs() <= weight.abs().median()] = 0.0
    return twin
