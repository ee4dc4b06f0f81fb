"""How the shipped networks were made, and how to make them again: the teacher, and the students of the main job.

Every network that stands in ``datasets/checkpoints`` comes out of one of these functions, called by ``course train
--shipped``; without that word the same functions write into the learner's own folder (``models.trained``). What decides
them stands in ``plans``.

Under torchrun process 0 writes, and all wait until it has written: whoever reads a network afterwards reads that one.
Process 0 alone removes the state of a finished training, and all make sure that they were taught by the same teacher.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from course_lib.data import Splits
from course_lib.distillation import Distiller, TeacherTable, soft_target_terms, teacher_table
from course_lib.errors import CourseError
from course_lib.experiments.plans import PLANS, ROLES, SMALL_PLANS, TEACHER_PLANS, Plan, TeacherPlan
from course_lib.models import STUDENT_STRIDES, SignStudent, SignTeacher, checkpoints, sign_student, sign_teacher
from course_lib.models.trained import folder_of
from course_lib.pruning import prune_channels, pruned_widths
from course_lib.storage.files import CHECKPOINTS, cache_dir, require_space, require_writable
from course_lib.training import History, Recipe, fit, require_agreement, wait_for_all, world

_NETWORK_BYTES = 20_000_000  # the teacher has 5.7 MB, and a file is written beside the one that it replaces
Trainer = Callable[..., tuple[SignStudent, History]]


def train_teacher(
    splits: Splits,
    key: str,
    command: str,
    *,
    plan: TeacherPlan | None = None,
    precision: str | None = None,
    folder: Path = CHECKPOINTS,
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> tuple[SignTeacher, History]:
    """Train the teacher, resuming where a killed run stopped, and save it as ``teacher_<key>`` with its card.

    Args:
        key: see ``data_key``. command: what to type to get this network again, for the card.
        plan: by default the one of ``key``. precision: of the training, where it is not to be the plan's.
        say: is told each epoch's loss, validation accuracy and seconds.
        options: further arguments of ``training.fit``.
    """
    plan, state = plan or TEACHER_PLANS[key], resume_path("teacher", key)
    recipe = replace(plan.recipe, precision=precision or plan.recipe.precision)

    def told(row: dict[str, float]) -> None:
        what = f"loss {row['loss']:.4f}, validation {row['validation_accuracy']:.2%}, {row['seconds']:.0f} s"
        say(f"epoch {int(row['epoch']) + 1} of {recipe.epochs}: {what}")

    _require_place(folder)
    torch.manual_seed(recipe.seed)
    model = sign_teacher(dropout=plan.dropout)
    history = fit(model, splits.train, splits.validation, recipe, checkpoint=state, on_epoch=told, **options)
    card = {**provenance(splits, command, recipe, history), "dropout": plan.dropout}
    _save(model, f"teacher_{key}", card, folder)
    _remove([state])
    return model, history


def student_of(plan: Plan) -> SignStudent:
    """The plan's student, untrained.

    >>> student_of(Plan(channels=(12, 24, 32, 40, 56), strides=(1, 2, 1, 2, 2))).strides
    (1, 2, 1, 2, 2)
    """
    return sign_student(plan.width, channels=plan.channels, strides=plan.strides or STUDENT_STRIDES)


def train_student(
    splits: Splits, plan: Plan, table: TeacherTable | None, *, checkpoint: Path | None = None, **options: Any
) -> tuple[SignStudent, History]:
    """Train a student of ``plan`` on the teacher's logits, or on the labels alone where ``table`` is None."""
    torch.manual_seed(plan.seed)
    student = student_of(plan)
    loss = None if table is None else _distiller(student, plan, table)
    history = fit(student, splits.train, splits.validation, plan.recipe(), loss=loss, checkpoint=checkpoint, **options)
    return student, history


def prune_and_finetune(
    student: SignStudent,
    splits: Splits,
    plan: Plan,
    table: TeacherTable,
    *,
    checkpoint: Path | None = None,
    **options: Any,
) -> tuple[SignStudent, History]:
    """Cut ``plan.pruning_ratio`` of the student's channels and train what is left with the teacher's logits."""
    small, _ = prune_channels(student, pruned_widths(student, plan.pruning_ratio))
    recipe, loss = plan.finetune_recipe(), _distiller(small, plan, table)
    history = fit(small, splits.train, splits.validation, recipe, loss=loss, checkpoint=checkpoint, **options)
    return small, history


def train_students(
    splits: Splits,
    key: str,
    command: str,
    *,
    plan: Plan | None = None,
    small: Plan | None = None,
    precision: str | None = None,
    folder: Path = CHECKPOINTS,
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> None:
    """Make and save the students of ``ROLES[key]``: ``student_<key>`` (distilled), ``final_<key>`` (pruned), …

    Args:
        plan, small: by default those of ``key``; a ``plan`` of one's own comes without a small student.
        precision: that the teacher computes its logits in, where it is not to be the one it was trained in.
        say: is told what begins.
        folder: of the students; a teacher that lies there is meant, else the learner's own, else the shipped one.
    Raises: CourseError: the teacher is missing, broken, or was trained on another split; the folder cannot be written.
    """
    small = small or (SMALL_PLANS.get(key) if plan is None else None)
    plan = plan or PLANS[key]
    _require_place(folder)
    teacher, card = _teacher(f"teacher_{key}", splits, folder)
    say(f"the teacher's logits for {plan.views} views")
    precision = precision or TEACHER_PLANS[key].recipe.precision
    table = teacher_table(
        teacher, splits.train, plan.recipe(), progress=options.get("progress", True), precision=precision
    )
    shop = _Shop(splits, key, command, folder, card["sha256"], say, options)
    distil = partial(train_student, splits)
    student = shop.make("student", "the distilled student", partial(distil, plan, table), plan, plan.recipe())
    finetune = partial(prune_and_finetune, student, splits, plan, table)
    shop.make("final", "the pruned student", finetune, plan, plan.finetune_recipe())
    if "alone" in ROLES[key]:
        shop.make("alone", "the control: the student alone", partial(distil, plan, None), plan, plan.recipe())
    if small is not None:
        shop.make("small", "the small student", partial(distil, small, table), small, small.recipe())
    _remove(shop.states)


def _teacher(name: str, splits: Splits, folder: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The teacher of this folder if there is one, else the learner's own or the shipped one; in all processes one."""
    own = checkpoints.exists(name, folder=folder)
    teacher, card = checkpoints.load_for_split(name, splits, folder=folder if own else folder_of(name, splits))
    require_agreement("teacher", card["sha256"])
    return teacher, card


@dataclass
class _Shop:
    """Trains one student after the other and saves each; a finished one's state stays until all are done.

    Args:
        splits: the data.
        key: see ``data_key``.
        command: what to type to get these networks again, for the cards.
        folder: of the checkpoints.
        teacher_sha256: the teacher's, for the cards.
        say: is told what begins.
        options: further arguments of ``training.fit``.
        states: where the unfinished trainings' states lie.
    """

    splits: Splits
    key: str
    command: str
    folder: Path
    teacher_sha256: str
    say: Callable[[str], None]
    options: dict[str, Any]
    states: list[Path] = field(default_factory=list)

    def make(self, role: str, what: str, train: Trainer, plan: Plan, recipe: Recipe) -> SignStudent:
        self.say(what)
        self.states.append(resume_path(role, self.key))
        model, history = train(checkpoint=self.states[-1], **self.options)
        extra = {"plan": asdict(plan), "teacher_sha256": None if role == "alone" else self.teacher_sha256}
        card = {**provenance(self.splits, self.command, recipe, history), **extra}
        _save(model, f"{role}_{self.key}", card, self.folder)
        return model


def provenance(splits: Splits, command: str, recipe: Recipe, history: History) -> dict[str, Any]:
    """What a checkpoint's card tells about its making; validation scores only, since the test part is read once."""
    from course_lib.measure import machine_summary, versions

    return {
        "command": command,
        "data": splits.train.name,
        "data_fingerprint": checkpoints.fingerprint(splits),
        "recipe": asdict(recipe),
        # Where no epoch could be chosen there is no best one.
        "validation_accuracy": None if history.best_epoch < 0 else round(history.best_accuracy, 6),
        "best_epoch": history.best_epoch + 1,
        "minutes": round(history.seconds / 60, 1),
        "machine": machine_summary(torch.get_num_threads()),
        "versions": versions(),
    }


def _require_place(folder: Path) -> None:
    """Ask before hours of training whether the networks can be written. Raises: CourseError: they cannot."""
    require_space(require_writable(folder), _NETWORK_BYTES)


def _save(model: SignTeacher | SignStudent, name: str, card: dict[str, Any], folder: Path) -> None:
    """Of several processes one writes, and the others wait until it has: they may read the network next."""
    if world()[0] == 0:
        checkpoints.save(model, name, card, folder=folder)
    wait_for_all()


def _remove(states: list[Path]) -> None:
    if world()[0] == 0:
        for state in states:
            state.unlink(missing_ok=True)
    wait_for_all()


def resume_path(role: str, key: str) -> Path:
    """Where the state of an unfinished training of ``course train`` lies."""
    if not re.fullmatch(r"[a-z0-9_]+", f"{role}_{key}"):
        raise CourseError(f"not a name for a checkpoint: {role}_{key}", mend="use lower case letters and digits")
    return cache_dir() / "unfinished" / f"{role}_{key}.pt"


def _distiller(student: SignStudent, plan: Plan, table: TeacherTable) -> Distiller:
    """The plan's loss; it taps no layer, so it has no hooks to close."""
    return Distiller(student, None, soft_target_terms(temperature=plan.temperature, alpha=plan.alpha), table=table)
