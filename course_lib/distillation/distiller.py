"""A teacher, a student and the terms between them, as one loss for the course's training loop.

``training.fit`` asks a loss for a number; distillation only needs a loss that knows a teacher. For each batch the
``Distiller`` collects what there is to compare (``Outputs``), adds up its ``Term``s, each with its own weight, and
keeps their means epoch by epoch, so that a curve can show which of them really fell.

Four promises:

* **The teacher teaches, it does not learn.** It runs in eval mode and without gradients whatever mode the caller left
  it in, and stays so; BatchNorm in train mode would make its answer depend on the other images and move its
  statistics. It is not one of this module's parameters, so no optimiser finds it here, and ``start`` refuses one
  that did.
* **Hooks are always removed**: by ``with`` or ``close``, whatever ended the block.
* **A logit belongs to its view.** A table from ``teacher_logits`` replaces the teacher's pass only for the very images
  and views it was made for.
* **Unlabelled images are welcome**: their label is ``UNLABELLED``, and terms on labels leave them out.

Industrial frameworks (torchdistill, NNI) describe the same in configuration files; the terms here are plain functions.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor, nn

from course_lib.data import SignDataset
from course_lib.distillation.hooks import Taps
from course_lib.distillation.losses import UNLABELLED, label_loss, soft_target_loss
from course_lib.distillation.teacher_logits import TeacherTable
from course_lib.models.digest import state_sha256, weights_sha256
from course_lib.training import Batch, Loss, Recipe, function_identity


@dataclass(frozen=True)
class Outputs:
    """What a term may compare; features by module name."""

    student_logits: Tensor  # (B, C) or (B, C, H, W)
    teacher_logits: Tensor  # the same shape, no gradient
    labels: Tensor  # (B,) or (B, H, W), UNLABELLED where unknown
    student: Mapping[str, Tensor]  # module name → its output, (B, …), with gradient
    teacher: Mapping[str, Tensor]  # module name → its output, (B, …), no gradient


@dataclass(frozen=True)
class Term:
    """One summand: weight · loss(outputs).

    Args:
        name: under which it is logged.
        weight: ≥ 0, finite.
        loss: Outputs → scalar; may be a closure over an ``nn.Module`` given as ``module``.
        module: what the loss learns itself, a projection for instance; it is trained along with the student.
        detail: settings inside the loss, such as a temperature: a resumed training must have the same.
        warmup: epochs over which the weight rises in equal steps, weight · min(epoch / warmup, 1) with epochs counted
            from 1; 0 or 1: the whole weight from the start.
    Raises: ValueError for a weight or a warm-up below 0.
    """

    name: str
    weight: float
    loss: Callable[[Outputs], Tensor]
    module: nn.Module | None = None
    detail: str = ""
    warmup: int = 0

    def __post_init__(self) -> None:
        if self.warmup < 0:
            raise ValueError(f"warmup of {self.name!r} must be ≥ 0 epochs, got {self.warmup}")
        if not (self.weight >= 0 and math.isfinite(self.weight)):
            raise ValueError(f"weight of {self.name!r} must be finite and ≥ 0, got {self.weight}")

    def weight_in(self, epoch: int) -> float:
        """The weight in that epoch, counted from 0.

        >>> term = Term("decoupled", 8.0, lambda o: o.student_logits.mean(), warmup=4)
        >>> [term.weight_in(epoch) for epoch in (0, 1, 3, 9)]
        [2.0, 4.0, 8.0, 8.0]
        """
        return self.weight * min((epoch + 1) / self.warmup, 1.0) if self.warmup else self.weight


def soft_target_terms(*, temperature: float, alpha: float) -> list[Term]:
    """The two summands of ``distillation_loss``: α·T²·KL(teacher ‖ student) and (1 − α)·CE(label, student).

    Args:
        temperature: T > 0.
        alpha: weight of the soft targets, in [0, 1].
    Raises: ValueError for alpha outside [0, 1] or T ≤ 0 (when a loss is computed).

    >>> [(term.name, round(term.weight, 3), term.detail) for term in soft_target_terms(temperature=4, alpha=0.9)]
    [('soft targets', 0.9, 'T = 4'), ('labels', 0.1, '')]
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    return [
        Term(
            "soft targets",
            alpha,
            lambda o: soft_target_loss(o.student_logits, o.teacher_logits, temperature),
            detail=f"T = {temperature:g}",
        ),
        Term("labels", 1 - alpha, lambda o: label_loss(o.student_logits, o.labels)),
    ]


class Distiller(Loss):
    """Σ weight · term, for ``fit(student, …, loss=distiller)``.

    Args:
        student: the network that is trained; its taps are read while ``fit`` runs it.
        teacher: any module with the same output shape; None where a table has all that is asked.
        terms: at least one.
        student_taps, teacher_taps: names of modules whose outputs the terms read.
        table: the teacher's logits from ``teacher_logits``, made for this training set and recipe; where it holds all
            teacher_taps too, the teacher does not run.
        labelled: Boolean (N,): training images whose label may be used; None: all.
    Attributes:
        history: one dict an epoch: each term's name → its mean before weighting, and "total".
    Raises: ValueError for no terms, terms of one name, unknown taps, neither teacher nor table, a student that is
        its own teacher, or teacher taps without a teacher.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module | None,
        terms: Sequence[Term],
        *,
        student_taps: Sequence[str] = (),
        teacher_taps: Sequence[str] = (),
        table: TeacherTable | None = None,
        labelled: Tensor | None = None,
    ):
        super().__init__()
        names = [term.name for term in terms]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"terms must be at least one, with different names, got {names}")
        if teacher is None and (table is None or teacher_taps):
            raise ValueError("teacher must be given, unless a table has its logits and no teacher_taps are asked for")
        if teacher is not None and {id(p) for p in teacher.parameters()} & {id(p) for p in student.parameters()}:
            raise ValueError("student and teacher share parameters: give the teacher as a copy (copy.deepcopy)")
        self.terms, self.table, self.labelled = tuple(terms), table, labelled
        self.register_buffer("_epochs", torch.zeros((), dtype=torch.int64))  # a resumed training goes on counting
        self.learned = nn.ModuleList(term.module for term in terms if term.module is not None)
        self._teacher = (teacher,)  # in a tuple: not registered, so neither trained nor saved with this module
        taps = Taps(student, student_taps)
        try:
            self._taps = taps, Taps(teacher or nn.Identity(), teacher_taps)
        except ValueError:
            taps.close()
            raise
        self.history: list[dict[str, float]] = []
        self._sums: dict[str, float] = {}
        self._count = 0

    def forward(self, student_logits: Tensor, batch: Batch) -> Tensor:
        """The weighted sum for one batch, whose student's pass has just been made."""
        values, epoch = self.values(student_logits, batch), int(self._epochs)
        total = reduce(operator.add, (term.weight_in(epoch) * values[term.name] for term in self.terms))
        self._log(values, total, len(student_logits))
        return total

    def values(self, student_logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Each term's own value for such a batch, before weighting, by its name; nothing is logged."""
        outputs = self._outputs(student_logits, batch)
        values = {term.name: term.loss(outputs) for term in self.terms}
        for name, value in values.items():
            if value.numel() != 1:
                raise ValueError(f"term {name!r} must give one number, got shape {tuple(value.shape)}")
        for taps in self._taps:
            taps.clear()
        return values

    def identity(self) -> str:
        """Terms with weights and details, teacher, table and labels: what a resumed training must have in common."""
        teacher = self._teacher[0]
        told = [
            f"{t.weight:g} × {t.name} {t.detail}".strip()
            + f" warm-up {t.warmup}" * (t.warmup > 0)
            + f" by {function_identity(t.loss)}"
            for t in self.terms
        ]
        told += [] if teacher is None else [f"teacher {weights_sha256(teacher)}"]
        told += [] if self.table is None else [f"table {self.table.digest()}"]
        told += [] if self.labelled is None else [f"labelled {state_sha256({'': self.labelled})}"]
        return "; ".join(told)

    def end_epoch(self) -> None:
        """Close the means of an epoch; ``fit`` calls it."""
        if self._count:
            self.history.append({name: value / self._count for name, value in self._sums.items()})
        self._sums, self._count = {}, 0
        self._epochs += 1

    def start(self, train: SignDataset, recipe: Recipe, optimizer: torch.optim.Optimizer) -> None:
        """Called by ``fit`` before the first step.

        Raises: ValueError if the optimiser would train the teacher, or the table or mask is of other images or views.
        """
        teacher = self._teacher[0]
        names = {id(p): name for name, p in teacher.named_parameters()} if teacher is not None else {}
        found = [names[id(p)] for group in optimizer.param_groups for p in group["params"] if id(p) in names]
        if found:
            raise ValueError(f"the optimiser holds {len(found)} parameters of the teacher, first {found[0]!r}")
        if self.table is not None:
            self.table.require_views_of(train, recipe)
        if self.labelled is not None and self.labelled.shape != (len(train),):
            raise ValueError(f"labelled must be ({len(train)},), got {tuple(self.labelled.shape)}")

    def close(self) -> None:
        """Remove all hooks."""
        for taps in self._taps:
            taps.close()

    def __enter__(self) -> Distiller:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _outputs(self, student_logits: Tensor, batch: Batch) -> Outputs:
        labels = batch.labels
        if self.labelled is not None:
            labels = torch.where(self.labelled[batch.indices].to(labels.device), labels, UNLABELLED)
        student, teacher = self._taps
        if self.table is not None and set(teacher.names) <= self.table.features.keys():
            kept = {name: value.to(labels.device) for name, value in self.table.feature_rows(batch).items()}
            return Outputs(student_logits, self.table.rows(batch).to(labels.device), labels, student, kept)
        model = self._teacher[0]
        assert model is not None  # without a teacher __init__ asks for a table that has all
        model.eval()  # each time: a caller's model.train() in between must not change the targets
        # Not inference_mode: its tensors may not enter a graph, and the loss on taps builds one.
        with torch.no_grad():
            return Outputs(student_logits, model(batch.images), labels, student, teacher)

    def _log(self, values: dict[str, Tensor], total: Tensor, count: int) -> None:
        for name, value in {**values, "total": total}.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value.detach()) * count
        self._count += count
