"""How hard each term of a loss pulls at the student, and weights with which all pull alike.

The values of two losses cannot be compared: one is in nats, another in squared activations. What reaches the student
is a gradient, and gradients of one network can be compared: a term's *pull* is the norm of its gradient over all
weights of the student, in units of that of the label's cross-entropy. A pull says how strongly a term moves the
student, not whether it moves it to a good place, and it changes while training goes on.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from course_lib.distillation.distiller import Distiller, Term
from course_lib.distillation.losses import label_loss
from course_lib.training import Batch

LABELS = "labels"


def term_pulls(student: nn.Module, distiller: Distiller, batches: Iterable[Batch]) -> dict[str, float]:
    """Each term's pull before weighting: the norm of its gradient / that of the labels' cross-entropy.

    The student is left as it was: its BatchNorm statistics and its gradients are put back.

    Args:
        student: the network that ``distiller`` was made for. distiller: with the terms.
        batches: at least one; norms are averaged over them.
    Returns: term's name → pull; that of the term called "labels" is 1 where all labels are known.
    Raises: ValueError: no batch, or labels that pull at nothing.

    >>> student = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    >>> twice = [Term("labels", 1.0, lambda o: label_loss(o.student_logits, o.labels)),
    ...          Term("double", 1.0, lambda o: 2 * label_loss(o.student_logits, o.labels))]
    >>> batch = Batch(torch.ones(2, 3, 1, 1), torch.tensor([0, 1]), torch.arange(2), 0)
    >>> batch.images[0] *= 2  # else the two labels would pull against each other and nothing were left
    >>> pulls = term_pulls(student, Distiller(student, copy.deepcopy(student), twice), [batch])
    >>> {name: round(pull, 3) for name, pull in pulls.items()}
    {'labels': 1.0, 'double': 2.0}
    """
    kept = copy.deepcopy(student.state_dict())
    weights = [p for p in student.parameters() if p.requires_grad]
    norms: dict[str, float] = {}
    reference = 0.0
    for batch in batches:
        logits = student(batch.images)
        reference += _norm(label_loss(logits, batch.labels), weights)
        for name, value in distiller.values(logits, batch).items():
            norms[name] = norms.get(name, 0.0) + _norm(value, weights)
    student.load_state_dict(kept)
    if not reference > 0:
        raise ValueError("the labels must pull at the student, got a gradient of 0 or no batch at all")
    return {name: norm / reference for name, norm in norms.items()}


def balanced(terms: Sequence[Term], pulls: dict[str, float], names: Sequence[str]) -> list[Term]:
    """The terms, with weights for those in ``names`` such that together they pull as hard as the labels.

    Args:
        terms: of a loss. pulls: as ``term_pulls`` gives them for these terms.
        names: of the terms that get a weight; each gets an equal part of the pull. The others stay as they are.
    Raises: ValueError: a name is unknown, or a term that pulls at nothing.

    >>> terms = [Term(name, 5.0, lambda o: o.student_logits.sum()) for name in ("labels", "hint")]
    >>> [term.weight for term in balanced(terms, {"labels": 1.0, "hint": 0.02}, ["hint"])]
    [5.0, 50.0]
    """
    unknown = set(names) - {term.name for term in terms}
    if unknown or any(not pulls[name] > 0 for name in names):
        raise ValueError(f"names must be of terms that pull, got {list(names)} with pulls {pulls}")
    return [replace(t, weight=1 / (len(names) * pulls[t.name])) if t.name in names else t for t in terms]


def _norm(value: Tensor, weights: Sequence[Tensor]) -> float:
    if not value.requires_grad:
        return 0.0
    gradients = torch.autograd.grad(value, weights, retain_graph=True, allow_unused=True)
    return float(torch.sqrt(sum((g.double().square().sum() for g in gradients if g is not None), torch.zeros(()))))
