"""How the shipped networks were made, and how to make them again: the teacher, and the students of the main job.

Every network that stands in ``datasets/checkpoints`` comes out of one of these functions, called by ``course train``.
A ``Plan`` holds all decisions of the students' path: how wide the student starts, how many views of each image the
teacher comments on, temperature and α, what pruning removes, and how long each part trains. ``LIVE`` fits the demo's
six minutes; ``FULL`` made the shipped students. The control, a student trained on the labels alone, gets the same
network, the same views, the same schedule and as many epochs as the distilled one. A ``TeacherPlan`` holds the
teacher's decisions, one for each kind of data: the renderer gives its signs most of their variety, real ones call for
stronger views and a longer training.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from course_lib.data import Augmentation, Splits
from course_lib.distillation import Distiller, TeacherTable, soft_target_terms, teacher_table
from course_lib.errors import CourseError
from course_lib.models import STUDENT_STRIDES, SignStudent, SignTeacher, checkpoints, sign_student, sign_teacher
from course_lib.pruning import prune_channels, pruned_widths
from course_lib.storage.files import CHECKPOINTS, cache_dir
from course_lib.training import History, Recipe, fit, world

TEACHER_RECIPE = Recipe(epochs=5, max_lr=2e-3, weight_decay=0.05)
# No change of tint (saturation) and none of the axes alone (aspect): zoom, shear and gain reach further here.
STRONG_VIEWS = Augmentation(
    rotation_deg=16,
    zoom=0.18,
    shift=0.14,
    shear=0.15,
    aspect=0.0,
    brightness=0.6,
    contrast=0.0,
    saturation=0.0,
    contrast_log=0.5,
    noise=0.03,
    blur=0.3,
    erase=0.3,
    padding="reflection",
)


@dataclass(frozen=True)
class TeacherPlan:
    """The teacher's training.

    Args:
        recipe: of its training.
        dropout: the fraction, in [0, 1), of the features that training drops before the classifier.
    """

    recipe: Recipe
    dropout: float = 0.0


TEACHER_PLANS = {
    "rendered": TeacherPlan(TEACHER_RECIPE),
    "gtsrb": TeacherPlan(
        Recipe(
            epochs=30,
            max_lr=3e-3,
            weight_decay=0.05,
            augmentation=STRONG_VIEWS,
            label_smoothing=0.05,
            average=0.999,
        ),
        dropout=0.2,
    ),
}


@dataclass(frozen=True)
class Plan:
    """The students' path, decision by decision.

    Args:
        width: of the student before pruning, where ``channels`` is None.
        pruning_ratio: fraction of each layer's channels that pruning removes.
        views: augmented views of each image that the teacher's logits are computed for.
        temperature: T of the distillation loss, > 0.
        alpha: weight of the teacher in it, in [0, 1].
        epochs: of the student.
        max_lr: of the student.
        finetune_epochs: after pruning.
        finetune_lr: after pruning.
        calibration: images that INT8's ranges are taken from.
        seed: of first weights, order and views.
        channels: of the student's layers before pruning; None: ``width`` says.
        strides: of the student's layers, 1 or 2; None: the usual ones.
        augmentation: the views that teacher and student see.
        average: decay of the moving average of the weights, in [0, 1); 0: none.
    """

    width: float = 1.25
    pruning_ratio: float = 0.22
    views: int = 4
    temperature: float = 4.0
    alpha: float = 0.9
    epochs: int = 24
    max_lr: float = 4e-3
    finetune_epochs: int = 48
    finetune_lr: float = 4e-3
    calibration: int = 512
    seed: int = 0
    channels: tuple[int, ...] | None = None
    strides: tuple[int, ...] | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    average: float = 0.0

    def recipe(self) -> Recipe:
        """Of the student, distilled or alone."""
        return self._recipe(self.epochs, self.max_lr, self.seed)

    def finetune_recipe(self) -> Recipe:
        """Of the pruned student: the same views, so that the teacher's logits can be used again."""
        return self._recipe(self.finetune_epochs, self.finetune_lr, self.seed + 1)

    def _recipe(self, epochs: int, max_lr: float, seed: int) -> Recipe:
        views, augmentation = self.views, self.augmentation
        return Recipe(epochs, max_lr, augmentation=augmentation, views=views, seed=seed, average=self.average)


FULL = Plan()
LIVE = Plan(views=2, epochs=6, finetune_epochs=4)


def data_key(data: str) -> str:
    """The name under which checkpoints and results of a set are kept: "rendered", or "gtsrb" for the real images."""
    return "rendered" if data == "rendered" else "gtsrb"


def train_teacher(
    splits: Splits,
    key: str,
    command: str,
    *,
    plan: TeacherPlan | None = None,
    folder: Path = CHECKPOINTS,
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> tuple[SignTeacher, History]:
    """Train the teacher, resuming where a killed run stopped, and save it as ``teacher_<key>`` with its card.

    Args:
        key: see ``data_key``. command: what to type to get this network again, for the card.
        plan: by default the one of ``key``.
        say: is told each epoch's loss, validation accuracy and seconds.
        options: further arguments of ``training.fit``.
    """
    plan, state = plan or TEACHER_PLANS[key], resume_path("teacher", key)
    recipe = plan.recipe

    def told(row: dict[str, float]) -> None:
        what = f"loss {row['loss']:.4f}, validation {row['validation_accuracy']:.2%}, {row['seconds']:.0f} s"
        say(f"epoch {int(row['epoch']) + 1} of {recipe.epochs}: {what}")

    torch.manual_seed(recipe.seed)
    model = sign_teacher(dropout=plan.dropout)
    history = fit(model, splits.train, splits.validation, recipe, checkpoint=state, on_epoch=told, **options)
    card = {**provenance(splits, command, recipe, history), "dropout": plan.dropout}
    _save(model, f"teacher_{key}", card, folder)
    state.unlink(missing_ok=True)
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
    plan: Plan = FULL,
    folder: Path = CHECKPOINTS,
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> None:
    """Make and save ``student_<key>`` (distilled), ``final_<key>`` (pruned) and ``alone_<key>`` (the control).

    Args: say: is told what begins.
    Raises: CourseError: the teacher is missing, broken, or was trained on another split.
    """
    name = f"teacher_{key}"
    teacher, card = checkpoints.load(name, folder=folder)
    checkpoints.require_same_split(card, splits, name=name)
    say(f"the teacher's logits for {plan.views} views")
    table = teacher_table(teacher, splits.train, plan.recipe(), progress=options.get("progress", True))

    def keep(model: SignStudent, role: str, recipe: Recipe, history: History) -> None:
        extra = {"plan": asdict(plan), "teacher_sha256": card["sha256"] if role != "alone" else None}
        _save(model, f"{role}_{key}", {**provenance(splits, command, recipe, history), **extra}, folder)

    states = {role: resume_path(role, key) for role in ("student", "final", "alone")}
    say("the distilled student")
    student, history = train_student(splits, plan, table, checkpoint=states["student"], **options)
    keep(student, "student", plan.recipe(), history)
    say("the pruned student")
    final, history = prune_and_finetune(student, splits, plan, table, checkpoint=states["final"], **options)
    keep(final, "final", plan.finetune_recipe(), history)
    say("the control: the student alone")
    alone, history = train_student(splits, plan, None, checkpoint=states["alone"], **options)
    keep(alone, "alone", plan.recipe(), history)
    for state in states.values():
        state.unlink(missing_ok=True)


def provenance(splits: Splits, command: str, recipe: Recipe, history: History) -> dict[str, Any]:
    """What a checkpoint's card tells about its making; validation scores only, since the test part is read once."""
    from course_lib.measure import machine_summary, versions

    return {
        "command": command,
        "data": splits.train.name,
        "data_fingerprint": checkpoints.fingerprint(splits),
        "recipe": asdict(recipe),
        "validation_accuracy": round(history.best_accuracy, 6),
        "best_epoch": history.best_epoch + 1,
        "minutes": round(history.seconds / 60, 1),
        "machine": machine_summary(torch.get_num_threads()),
        "versions": versions(),
    }


def _save(model: SignTeacher | SignStudent, name: str, card: dict[str, Any], folder: Path) -> None:
    if world()[0] == 0:  # of several processes one writes
        checkpoints.save(model, name, card, folder=folder)


def resume_path(role: str, key: str) -> Path:
    """Where the state of an unfinished training of ``course train`` lies."""
    if not re.fullmatch(r"[a-z0-9_]+", f"{role}_{key}"):
        raise CourseError(f"not a name for a checkpoint: {role}_{key}", mend="use lower case letters and digits")
    return cache_dir() / "unfinished" / f"{role}_{key}.pt"


def _distiller(student: SignStudent, plan: Plan, table: TeacherTable) -> Distiller:
    """The plan's loss; it taps no layer, so it has no hooks to close."""
    return Distiller(student, None, soft_target_terms(temperature=plan.temperature, alpha=plan.alpha), table=table)
