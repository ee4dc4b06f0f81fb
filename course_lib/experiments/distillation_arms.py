"""The one list of distillation methods that the course compares: ``ARMS``, each one way to train the same student.

An arm says which terms its loss has, which layers they read, which labels may be used, and who teaches. Tables,
figures and the benchmark all read this list; what an arm is called in a table is its ``label``.

Weights are chosen so that a term starts about as large as the label's. What reaches the student is another matter: in
the "balanced" arms the terms on features are scaled before the first step so that together they pull as hard at the
student's weights as the labels do (``Arm.balance``; every training records weights and pulls). The authors' own weights
(hint 100, attention 1000) were chosen for other networks and hundreds of epochs; the "larger weight" arms show what
they do here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from course_lib.distillation import (
    Hint,
    Outputs,
    Term,
    attention_transfer_loss,
    decoupled_loss,
    label_loss,
    pseudo_label_loss,
    relational_angle_loss,
    relational_distance_loss,
    similarity_preserving_loss,
    soft_target_terms,
)
from course_lib.models import TEACHER_CHANNELS, SignStudent

VERSION = 2  # of the arms: a change of any term or weight is a new version, and kept scores no longer count
TEMPERATURE, ALPHA = 4.0, 0.9
MIDDLE, DEEP = ("features.2", "stages.4"), ("features.4", "stages.5")  # 8×8 and 4×4 pixels in (student, teacher)
POOLED = ("pool", "pool")
TEACHERS = {
    "shipped": "the course's teacher",
    "assistant": "the course's student of width 1.25: weaker than the teacher, nearer to this student",
    "itself": "the same student, trained alone from another seed (born again, Furlanello et al. 2018)",
    "plain": "a student of four times the width, trained in the study, labels as they are",
    "smoothed": "the same, its labels smoothed by 0.1",
}
Terms = Callable[[SignStudent], list[Term]]


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Args:
        name: as in the recorded figures, ``<name>_gain_points``.
        group: what it belongs to: "control", "logits", "features", "sweep", "teachers", "mistakes" or "tenth".
        label: what a table of methods calls it; "" for an arm that is no method of its own.
        terms: student → terms of the loss; None: cross-entropy with the labels.
        layers: (student's, teacher's) module names that the terms read.
        labelled: share of the signs whose label may be used, in (0, 1].
        only_labelled: train on those images alone.
        smoothing: of the labels, where ``terms`` is None, in [0, 1).
        teacher: one of ``TEACHERS``.
        balance: names of the terms that get weights by their pull, see ``distillation.balanced``; the weights that
            ``terms`` gives them do not count.
        targets: "own", or wrong on purpose: "other view" (logits of the next view of the same image), "shuffled"
            (logits of other images: kept in one order, read in another).
    """

    name: str
    group: str
    label: str = ""
    terms: Terms | None = None
    layers: tuple[tuple[str, str], ...] = ()
    labelled: float = 1.0
    only_labelled: bool = False
    smoothing: float = 0.0
    teacher: str = "shipped"
    balance: tuple[str, ...] = ()
    targets: str = "own"

    @property
    def student_taps(self) -> tuple[str, ...]:
        """The student's modules that the terms read."""
        return tuple(student for student, _ in self.layers)

    @property
    def teacher_taps(self) -> tuple[str, ...]:
        """The teacher's modules that the terms read."""
        return tuple(teacher for _, teacher in self.layers)


LABEL = Term("labels", 1.0, lambda o: label_loss(o.student_logits, o.labels))


def soft_targets(student: SignStudent, temperature: float = TEMPERATURE, alpha: float = ALPHA) -> list[Term]:
    """Plain distillation: α·T²·KL + (1 − α)·CE."""
    return soft_target_terms(temperature=temperature, alpha=alpha)


def pseudo_labels(student: SignStudent) -> list[Term]:
    """The label, and the teacher's first choice as a second label."""
    return [LABEL, Term("pseudo-labels", 1.0, lambda o: pseudo_label_loss(o.student_logits, o.teacher_logits))]


def decoupled(student: SignStudent, beta: float = 2.0, warmup: int = 0) -> list[Term]:
    """The label, and KL in two parts, with α = 1.

    Zhao et al. 2022 take β = 8 and let the term's weight rise over the first 20 of 240 epochs.
    """

    def loss(o: Outputs) -> Tensor:
        logits = o.student_logits, o.teacher_logits
        return decoupled_loss(*logits, o.labels, temperature=TEMPERATURE, alpha=1.0, beta=beta)

    return [LABEL, Term("decoupled", 1.0, loss, detail=f"β = {beta:g}", warmup=warmup)]


def hint_term(student: SignStudent, weight: float) -> Term:
    """The middle layer through a learned 1×1 projection (Romero et al. 2015)."""
    module = Hint(student.channels[2], TEACHER_CHANNELS[2])
    return Term("hint", weight, lambda o: module(o.student[MIDDLE[0]], o.teacher[MIDDLE[1]]), module)


def hint(student: SignStudent, weight: float) -> list[Term]:
    """The label and the hint. FitNets train the hint first and the label afterwards; here both at once."""
    return [LABEL, hint_term(student, weight)]


def attention(student: SignStudent, weight: float) -> list[Term]:
    """The label, and attention maps of two layers (Zagoruyko and Komodakis 2017)."""

    def at(layer: tuple[str, str]) -> Term:
        return Term(layer[0], weight, lambda o: attention_transfer_loss(o.student[layer[0]], o.teacher[layer[1]]))

    return [LABEL, at(MIDDLE), at(DEEP)]


def relational(student: SignStudent) -> list[Term]:
    """The label, and distances and angles within the batch (Park et al. 2019)."""

    def pooled(o: Outputs) -> tuple[Tensor, Tensor]:
        return o.student["pool"].flatten(1), o.teacher["pool"].flatten(1)

    return [
        LABEL,
        Term("distance", 2.5, lambda o: relational_distance_loss(*pooled(o))),
        Term("angle", 5.0, lambda o: relational_angle_loss(*pooled(o))),
    ]


def similarity_term() -> Term:
    """Which images excite the last layer alike (Tung and Mori 2019)."""
    loss = lambda o: similarity_preserving_loss(o.student[DEEP[0]], o.teacher[DEEP[1]])  # noqa: E731
    return Term("similarity", 300.0, loss)


def similarity(student: SignStudent) -> list[Term]:
    """The label, and the similarity of images."""
    return [LABEL, similarity_term()]


def soft_and_similarity(student: SignStudent) -> list[Term]:
    """Plain distillation and one loss on features."""
    return [*soft_targets(student), similarity_term()]


def soft_and_hint(student: SignStudent) -> list[Term]:
    """Plain distillation and a hint."""
    return [*soft_targets(student), hint_term(student, 1.0)]


_BOTH = (MIDDLE, DEEP)
_LISTED = (
    Arm("alone", "control"),
    Arm("soft_targets", "logits", "soft targets", soft_targets),
    Arm("label_smoothing", "logits", "label smoothing", smoothing=0.1),
    Arm("pseudo_labels", "logits", "pseudo-labels", pseudo_labels),
    Arm("decoupled", "logits", "decoupled", decoupled),
    # 20 of 240 epochs are 1.3 of 16: two, so that the first one differs at all.
    Arm("decoupled_authors", "logits", "decoupled, β = 8", partial(decoupled, beta=8.0, warmup=2)),
    *(Arm(f"temperature_{t:g}", "sweep", terms=partial(soft_targets, temperature=t)) for t in (1.0, 2.0, 8.0)),
    *(Arm(f"alpha_{round(100 * a)}", "sweep", terms=partial(soft_targets, alpha=a)) for a in (0.5, 1.0)),
    Arm("hint", "features", "hint", partial(hint, weight=1.0), _BOTH),
    Arm("hint_heavy", "features", "hint (larger weight)", partial(hint, weight=100.0), _BOTH),
    Arm("attention", "features", "attention", partial(attention, weight=100.0), _BOTH),
    Arm("attention_heavy", "features", "attention (larger weight)", partial(attention, weight=1000.0), _BOTH),
    Arm("relational", "features", "relational", relational, (POOLED,)),
    Arm("similarity", "features", "similarity-preserving", similarity, _BOTH),
    *(
        Arm(f"{name}_balanced", "features", f"{label} (balanced)", terms, layers, balance=balance)
        for name, label, terms, layers, balance in (
            ("hint", "hint", partial(hint, weight=1.0), _BOTH, ("hint",)),
            ("attention", "attention", partial(attention, weight=1.0), _BOTH, (MIDDLE[0], DEEP[0])),
            ("relational", "relational", relational, (POOLED,), ("distance", "angle")),
            ("similarity", "similarity-preserving", similarity, _BOTH, ("similarity",)),
            ("soft_similarity", "soft targets + similarity", soft_and_similarity, _BOTH, ("similarity",)),
            ("soft_hint", "soft targets + hint", soft_and_hint, _BOTH, ("hint",)),
        )
    ),
    Arm("assistant", "teachers", terms=soft_targets, teacher="assistant"),
    Arm("born_again", "teachers", "born again", soft_targets, teacher="itself"),
    Arm("plain_teacher", "teachers", terms=soft_targets, teacher="plain"),
    Arm("smoothed_teacher", "teachers", terms=soft_targets, teacher="smoothed"),
    Arm("other_view", "mistakes", terms=soft_targets, targets="other view"),
    Arm("shuffled_targets", "mistakes", terms=soft_targets, targets="shuffled"),
    Arm("alone_tenth", "tenth", labelled=0.1, only_labelled=True),
    Arm("soft_targets_tenth", "tenth", terms=soft_targets, labelled=0.1),
)
ARMS: dict[str, Arm] = {arm.name: arm for arm in _LISTED}
"""Every arm by name, in the order of the chapters."""

METHODS: dict[str, str] = {arm.name: arm.label for arm in _LISTED if arm.label}
"""name → label of the arms that a table of methods shows."""

TESTED = ("alone", "soft_targets", "alone_tenth", "soft_targets_tenth")
"""The arms whose students are scored on the test part, once."""
