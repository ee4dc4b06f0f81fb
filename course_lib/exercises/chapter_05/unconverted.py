"""Distilling logits.

Five answers: the loss of Hinton et al. with both its terms, pseudo-labels that belong to the images of a shuffled
batch, what a teacher says about the classes that an image does not show, a batch in which some labels are missing, and
a temperature chosen without looking at the test part.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.distillation import UNLABELLED, decoupled_loss, soft_target_loss
from course_lib.distillation import distillation_loss as library_loss
from course_lib.exercises.engine.exercise import Exercise, Mistake


def distillation_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, alpha: float
) -> Tensor:
    """α·T²·KL(teacher ‖ student) + (1 − α)·CE(label, student), mean over the batch."""
    return library_loss(student_logits, teacher_logits, labels, temperature=temperature, alpha=alpha)


def _loss_inputs(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, float, float]:
    images, classes = int(rng.integers(3, 7)), int(rng.integers(4, 9))
    student, teacher = 2 * torch.randn(images, classes), 4 * torch.randn(images, classes)
    labels = torch.from_numpy(rng.integers(0, classes, images))
    return student, teacher, labels, float(rng.uniform(2, 6)), float(rng.choice([0.2, 0.35, 0.7, 0.9]))


def _soft(student: Tensor, teacher: Tensor, t: float) -> Tensor:
    return F.kl_div(F.log_softmax(student / t, 1), F.softmax(teacher / t, 1), reduction="batchmean")


def _softmax_then_log(s: Tensor, t: Tensor, y: Tensor, temperature: float, alpha: float) -> Tensor:
    p, q = F.softmax(t / temperature, 1), F.softmax(s / temperature, 1)
    kl = (p * (p.log() - q.log())).sum(1).mean()
    return alpha * temperature**2 * kl + (1 - alpha) * F.cross_entropy(s, y)


_FAR = (torch.tensor([[-800.0, 0, 1], [1, 2, 3]]), torch.tensor([[1.0, 2, 0], [800, 0, 0]]), torch.tensor([1, 0]))

loss = Exercise(
    id="05.1",
    title="The distillation loss with T and α",
    points=3,
    reference=distillation_loss,
    examples=[(torch.tensor([[1.0, 0, 0, -1]]), torch.tensor([[4.0, 2, 0, 0]]), torch.tensor([0]), 2.0, 0.9)],
    inputs=_loss_inputs,
    properties=[
        lambda fn, *args: (
            None
            if torch.isfinite(torch.as_tensor(fn(*_FAR, 2.0, 0.5))).all()
            else "For logits that are 800 apart your loss is not finite: softmax rounds to 0, and log(0) = −∞. "
            "F.log_softmax never makes the 0."
        )
    ],
    hints=[
        "Two terms. The soft one compares softmax(teacher/T) with softmax(student/T); the other is F.cross_entropy.",
        "F.kl_div(log q, p, reduction='batchmean') is KL(p ‖ q): the student's log-probabilities first, p the teacher.",
        "alpha · T² · F.kl_div(F.log_softmax(s/T, 1), F.softmax(t/T, 1), reduction='batchmean') + (1 − alpha) · "
        "F.cross_entropy(s, labels).",
    ],
    mistakes=[
        Mistake(
            lambda s, t, y, temperature, alpha: alpha * _soft(s, t, temperature) + (1 - alpha) * F.cross_entropy(s, y),
            "The factor T² is missing: the soft term's gradient shrinks as 1/T², and so would its weight.",
        ),
        Mistake(
            lambda s, t, y, temperature, alpha: library_loss(s, t, y, temperature=temperature, alpha=1 - alpha),
            "α and 1 − α are swapped: here α is the weight of the teacher. (Packages differ: always read which.)",
        ),
        Mistake(
            lambda s, t, y, temperature, alpha: (
                alpha * temperature**2 * _soft(s, t, temperature) + (1 - alpha) * F.cross_entropy(s / temperature, y)
            ),
            "You divided by T in the label's term too. The student answers at T = 1 when it is used: its hard term "
            "is taken there.",
        ),
        Mistake(
            lambda s, t, y, temperature, alpha: (
                alpha * temperature**2 * _soft(s, t, temperature) / s.shape[1] + (1 - alpha) * F.cross_entropy(s, y)
            ),
            "reduction='mean' divides by B·C, so the soft term weighs C times too little. 'batchmean' divides by B.",
        ),
        Mistake(
            lambda s, t, y, temperature, alpha: (
                alpha * temperature**2 * _soft(t, s, temperature) + (1 - alpha) * F.cross_entropy(s, y)
            ),
            "KL is turned round: you computed KL(student ‖ teacher). F.kl_div takes the student's log-probabilities "
            "first and the teacher's probabilities second.",
        ),
        Mistake(
            lambda s, t, y, temperature, alpha: library_loss(s, t, y, temperature=1.0, alpha=alpha),
            "The temperature does nothing in your loss: divide both networks' logits by T before the softmax.",
        ),
        Mistake(
            _softmax_then_log,
            "For logits that are 800 apart your loss is not finite: softmax rounds to 0, and log(0) = −∞. "
            "F.log_softmax never makes the 0.",
        ),
    ],
    alternatives=[
        lambda s, t, y, temperature, alpha: (
            alpha
            * temperature**2
            * (F.softmax(t / temperature, 1) * (F.log_softmax(t / temperature, 1) - F.log_softmax(s / temperature, 1)))
            .sum(1)
            .mean()
            - (1 - alpha) * F.log_softmax(s, 1)[torch.arange(len(y)), y].mean()
        )
    ],
    explanation="""
        $L = \\alpha T^2\\,\\mathrm{KL}(p_T \\Vert q_T) + (1-\\alpha)\\,\\mathrm{CE}(y, q_1)$ (Hinton et al. 2015,
        section 2), averaged over the batch. The library's version also refuses what cannot be meant: T ≤ 0, other
        shapes, NaN, and leaves out labels that are not known.
    """,
)


def kl_others(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """Mean over the batch of KL between the two answers among the classes other than the label, renormalized."""
    weights = {"temperature": temperature, "alpha": 0.0, "beta": 1.0}
    return decoupled_loss(student_logits, teacher_logits, labels, **weights) / temperature**2


def _others_inputs(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, float]:
    student, teacher, labels, temperature, _ = _loss_inputs(rng)
    return student, teacher, labels, temperature


def _own(labels: Tensor, logits: Tensor) -> Tensor:
    return F.one_hot(labels, logits.shape[1]).bool()


def _others_unnormalized(s: Tensor, t: Tensor, y: Tensor, temperature: float) -> Tensor:
    log_p, log_q = F.log_softmax(t / temperature, 1), F.log_softmax(s / temperature, 1)
    return (log_p.exp() * (log_p - log_q)).masked_fill(_own(y, s), 0).sum(1).mean()


def _others_zeroed(s: Tensor, t: Tensor, y: Tensor, temperature: float) -> Tensor:
    return _soft(s.masked_fill(_own(y, s), 0), t.masked_fill(_own(y, s), 0), temperature)


def _others_weighted(s: Tensor, t: Tensor, y: Tensor, temperature: float) -> Tensor:
    p_y = F.softmax(t / temperature, 1)[torch.arange(len(y)), y]
    each = torch.stack([kl_others(s[i : i + 1], t[i : i + 1], y[i : i + 1], temperature) for i in range(len(y))])
    return ((1 - p_y) * each).mean()


def _others_subtracting(s: Tensor, t: Tensor, y: Tensor, temperature: float) -> Tensor:
    far = 1000 * F.one_hot(y, s.shape[1])
    return _soft((s - far), (t - far), temperature)


others = Exercise(
    id="05.5",
    title="What the teacher says about the other classes",
    points=3,
    reference=kl_others,
    examples=[(torch.tensor([[1.0, 0, 0, -1]]), torch.tensor([[4.0, 2, 0, 0]]), torch.tensor([0]), 1.0)],
    inputs=_others_inputs,
    hints=[
        "Leave the label's class out of each row: C − 1 logits remain. A softmax over them renormalizes by itself.",
        "A logit of −1000 is as good as left out: its probability is exactly 0.",
        "z[~own].view(-1, C − 1) with own = F.one_hot(labels, C).bool(), for both; then KL(teacher ‖ student).",
    ],
    mistakes=[
        Mistake(
            _others_unnormalized,
            "You left the label out of the sum but did not renormalize: the C − 1 probabilities must sum to 1 again.",
        ),
        Mistake(
            _others_zeroed,
            "You set the label's logit to 0. That is no exclusion: e⁰ = 1 stays in the softmax. Take it out, or use "
            "a very negative number.",
        ),
        Mistake(
            _others_weighted,
            "You kept the factor 1 − p_y. That is how much plain KL listens to this part; decoupling drops it.",
        ),
        Mistake(
            lambda s, t, y, temperature: kl_others(s, t, t.argmax(1), temperature),
            "You left out the teacher's first choice. It is the label that is left out: where the teacher errs, its "
            "wrong first choice is part of what is compared.",
        ),
        Mistake(lambda s, t, y, temperature: kl_others(t, s, y, temperature), "KL is turned round: the teacher first."),
        Mistake(
            lambda s, t, y, temperature: kl_others(s, t, y, 1.0),
            "The temperature does nothing in your answer: divide both networks' logits by T.",
        ),
    ],
    alternatives=[_others_subtracting],
    explanation="""
        $\\mathrm{KL}(p \\Vert q) = \\mathrm{KL}_{target} + (1-p_y)\\,\\mathrm{KL}_{others}$ (Zhao et al. 2022, eq. 6).
        The authors' code subtracts 1000 from the label's logit; `course_lib.distillation.decoupled_loss` leaves the
        class out. Both give the same number.
    """,
)


def partly_labelled_loss(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float, alpha: float
) -> Tensor:
    """The distillation loss of a batch in which a label of −1 means: not known."""
    return library_loss(student_logits, teacher_logits, labels, temperature=temperature, alpha=alpha)


def _partly_inputs(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, float, float]:
    student, teacher, labels, temperature, alpha = _loss_inputs(rng)
    unknown = rng.permutation(len(labels))[: int(rng.integers(1, len(labels)))]
    labels[unknown] = UNLABELLED
    return student, teacher, labels, temperature, alpha


def _divide_by_all(s: Tensor, t: Tensor, y: Tensor, temperature: float, alpha: float) -> Tensor:
    hard = F.cross_entropy(s, y, ignore_index=UNLABELLED, reduction="sum") / len(y)
    return alpha * soft_target_loss(s, t, temperature) + (1 - alpha) * hard


def _last_class(s: Tensor, t: Tensor, y: Tensor, temperature: float, alpha: float) -> Tensor:
    log_q = F.log_softmax(s, 1)
    return alpha * soft_target_loss(s, t, temperature) - (1 - alpha) * log_q[torch.arange(len(y)), y].mean()


def _drop_unlabelled(s: Tensor, t: Tensor, y: Tensor, temperature: float, alpha: float) -> Tensor:
    known = y != UNLABELLED
    return library_loss(s[known], t[known], y[known], temperature=temperature, alpha=alpha) if known.any() else _ZERO


def _filled_in(s: Tensor, t: Tensor, y: Tensor, temperature: float, alpha: float) -> Tensor:
    filled = torch.where(y == UNLABELLED, t.argmax(1), y)
    return library_loss(s, t, filled, temperature=temperature, alpha=alpha)


def _plain_mean(s: Tensor, t: Tensor, y: Tensor, temperature: float, alpha: float) -> Tensor:
    hard = F.cross_entropy(s, y, ignore_index=UNLABELLED)  # nan when no label is known
    return alpha * soft_target_loss(s, t, temperature) + (1 - alpha) * hard


def _by_mask(s: Tensor, t: Tensor, y: Tensor, temperature: float, alpha: float) -> Tensor:
    known = y >= 0
    hard = F.cross_entropy(s[known], y[known]) if known.any() else _ZERO
    return alpha * soft_target_loss(s, t, temperature) + (1 - alpha) * hard


_ZERO = torch.zeros(())
_TWO = torch.tensor([[2.0, 0, 0], [0, 1, 0]]), torch.tensor([[3.0, 1, 0], [0, 4, 1]])
partly = Exercise(
    id="05.2",
    title="A batch in which labels are missing",
    points=3,
    reference=partly_labelled_loss,
    examples=[(*_TWO, torch.tensor([0, -1]), 2.0, 0.5), (*_TWO, torch.tensor([-1, -1]), 2.0, 0.5)],
    inputs=_partly_inputs,
    hints=[
        "The soft term needs no label: it takes the mean over the whole batch.",
        "The label's term takes the mean over the images whose label is known; if there is none, it is 0.",
        "known = labels >= 0; F.cross_entropy(s[known], labels[known]) if known.any() else 0.",
    ],
    mistakes=[
        Mistake(
            _divide_by_all,
            "You divided the label's term by the whole batch. The fewer labels a batch has, the less your labels "
            "would weigh; divide by the number of known ones.",
        ),
        Mistake(
            _last_class,
            "−1 counted as a class: as an index it means the last one, without an error. Leave these images out of "
            "the label's term.",
        ),
        Mistake(
            _drop_unlabelled,
            "You dropped the unlabelled images altogether. The teacher has an answer for them too: they stay in the "
            "soft term. That is the whole point of them.",
        ),
        Mistake(
            _filled_in,
            "You put the teacher's first choice where a label was missing. That is a method (pseudo-labels), but "
            "another one: here such images count in the soft term only.",
        ),
        Mistake(
            _plain_mean,
            "A batch without any label makes your loss NaN: F.cross_entropy divides 0 by 0. Its label's term is 0.",
        ),
    ],
    alternatives=[_by_mask],
    explanation="""
        Two means over two different sets of images: the soft term over the batch, the label's term over the labelled
        part of it. `course_lib.distillation.label_loss` ignores `UNLABELLED` = −1; the `Distiller` puts it wherever
        its `labelled` mask is false.
    """,
)


def chosen_setting(validation: dict[str, list[float]], test: dict[str, list[float]]) -> tuple[str, float]:
    """(setting, test accuracy): the setting with the best mean over seeds on validation, and its mean on test."""
    best = max(validation, key=lambda name: np.mean(validation[name]))
    return best, float(np.mean(test[best]))


def _score_inputs(rng: np.random.Generator) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    names = [f"T = {t}" for t in (1, 2, 4, 8)]
    by_validation, by_test = rng.permutation(4), rng.permutation(4)
    while np.argmax(by_validation) == np.argmax(by_test):
        by_test = rng.permutation(4)
    spread = np.array([-0.002, 0.0, 0.002])
    validation = {n: list(0.90 + 0.01 * r + spread) for n, r in zip(names, by_validation, strict=True)}
    test = {n: list(0.89 + 0.01 * r + spread) for n, r in zip(names, by_test, strict=True)}
    # The best single run belongs to a setting in the middle.
    middle = int(np.flatnonzero(by_validation == rng.integers(1, 3))[0])
    validation[names[middle]] = [float(0.90 + 0.01 * by_validation[middle] + s) for s in (-0.035, -0.03, 0.065)]
    return validation, test


def _lucky_run(validation: dict[str, list[float]], test: dict[str, list[float]]) -> tuple[str, float]:
    best = max(validation, key=lambda name: max(validation[name]))
    return best, float(np.mean(test[best]))


def _on_test(validation: dict[str, list[float]], test: dict[str, list[float]]) -> tuple[str, float]:
    best = max(test, key=lambda name: np.mean(test[name]))
    return best, float(np.mean(test[best]))


def _sorted_choice(validation: dict[str, list[float]], test: dict[str, list[float]]) -> tuple[str, float]:
    best = sorted(validation, key=lambda name: sum(validation[name]) / len(validation[name]))[-1]
    return best, sum(test[best]) / len(test[best])


def _with_value(change: Any) -> Any:
    return lambda validation, test: (chosen_setting(validation, test)[0], float(change(validation, test)))


choose = Exercise(
    id="05.3",
    title="Choose T, then report it",
    points=2,
    reference=chosen_setting,
    inputs=_score_inputs,
    hints=[
        "Two parts, two roles: validation chooses, test tells what the chosen one is worth.",
        "Each setting was trained with several seeds: compare means, so that one lucky run does not win.",
    ],
    mistakes=[
        Mistake(
            _on_test,
            "You chose on test. The best of several test scores is partly luck: what you report is then too good "
            "(chapter 02). Choose on validation.",
        ),
        Mistake(
            _lucky_run,
            "You chose the setting that holds the best single run. One seed can be lucky: compare means over seeds.",
        ),
        Mistake(
            _with_value(lambda v, t: np.mean(v[chosen_setting(v, t)[0]])),
            "You report the validation score that you chose by: the maximum of several, so too good. Report the test "
            "score of the chosen setting.",
        ),
        Mistake(
            _with_value(lambda v, t: max(t[chosen_setting(v, t)[0]])),
            "Right setting, best seed: report the mean over seeds, or say that you kept the luckiest network.",
        ),
        Mistake(
            lambda v, t: chosen_setting({k: [-x for x in xs] for k, xs in v.items()}, t),
            "You took the smallest accuracy: these are accuracies, not losses.",
        ),
    ],
    alternatives=[_sorted_choice],
    explanation="""
        A sweep over $T$ is a choice like any other: validation makes it, and the test part is read once, for the
        winner. The recorded sweeps of this chapter are validation scores; only the arms `alone` and `soft_targets`
        were ever scored on test.
    """,
)
