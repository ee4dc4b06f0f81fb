"""A pull is a ratio of gradient norms; measuring it changes nothing; balanced terms pull alike; a warm-up rises."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.data import SignDataset
from course_lib.distillation import (
    Distiller,
    Term,
    balanced,
    label_loss,
    soft_target_loss,
    soft_target_terms,
    term_pulls,
)
from course_lib.training import Batch, Recipe, fit


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    layers = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    return nn.Sequential(*layers)


def batch(seed: int, count: int = 6) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    images, labels = torch.rand(count, 3, 8, 8, generator=rng), torch.randint(5, (count,), generator=rng)
    return Batch(images, labels, torch.arange(count), 0)


def test_a_pull_is_the_ratio_of_the_gradients_norms_by_hand():
    student, teacher, given = network(0), network(1).eval(), batch(2)
    found = term_pulls(student, Distiller(student, teacher, soft_target_terms(temperature=3, alpha=0.7)), [given])
    twin, norms = copy.deepcopy(student), []
    for loss in (
        lambda z: F.cross_entropy(z, given.labels),
        lambda z: soft_target_loss(z, teacher(given.images).detach(), 3),
    ):
        twin.zero_grad()
        loss(twin(given.images)).backward()
        norms.append(torch.cat([p.grad.flatten() for p in twin.parameters()]).norm().item())
    assert found["soft targets"] == pytest.approx(norms[1] / norms[0], rel=1e-5)
    assert found["labels"] == pytest.approx(1)


def test_measuring_changes_neither_weights_nor_statistics_nor_gradients_nor_what_is_logged():
    student, given = network(0), batch(2)
    before = copy.deepcopy(student.state_dict())
    distiller = Distiller(student, network(1), soft_target_terms(temperature=3, alpha=0.7))
    term_pulls(student, distiller, [given, batch(3)])
    assert all(torch.equal(before[key], value) for key, value in student.state_dict().items())
    assert all(p.grad is None for p in student.parameters())
    distiller.end_epoch()
    assert distiller.history == []


def test_balanced_terms_share_the_labels_pull_whatever_their_scale():
    student, teacher, given = network(0), network(1), batch(2)

    def terms(scale: float) -> list[Term]:
        soft = lambda t: lambda o: scale * soft_target_loss(o.student_logits, o.teacher_logits, t)  # noqa: E731
        labels = Term("labels", 1.0, lambda o: label_loss(o.student_logits, o.labels))
        return [labels, Term("T = 1", 7.0, soft(1)), Term("T = 4", 0.1, soft(4))]

    weights = []
    for scale in (1.0, 1000.0):
        pulls = term_pulls(student, Distiller(student, teacher, terms(scale)), [given])
        found = balanced(terms(scale), pulls, ["T = 1", "T = 4"])
        assert [found[i].weight * pulls[found[i].name] for i in (1, 2)] == pytest.approx([0.5, 0.5])
        assert found[0].weight == 1.0
        weights.append(found[1].weight)
    assert weights[0] == pytest.approx(1000 * weights[1], rel=1e-4)
    assert [t.weight for t in balanced(terms(1), pulls, [])] == [1.0, 7.0, 0.1]


def test_unknown_terms_terms_that_pull_at_nothing_and_no_batch_are_refused():
    student = network(0)
    nothing = [Term("nothing", 1.0, lambda o: torch.zeros(()))]
    distiller = Distiller(student, network(1), nothing)
    assert term_pulls(student, distiller, [batch(0)]) == {"nothing": 0.0}
    for names in (["nothing"], ["other"]):
        with pytest.raises(ValueError, match="names must be of terms that pull"):
            balanced(nothing, {"nothing": 0.0, "other": 1.0}, names)
    with pytest.raises(ValueError, match="no batch"):
        term_pulls(student, distiller, [])


def signs() -> SignDataset:
    rng = np.random.default_rng(0)
    return SignDataset(rng.integers(0, 256, (12, 3, 8, 8), dtype=np.uint8), np.arange(12) % 5, num_classes=5)


def test_a_warm_up_raises_the_weight_epoch_by_epoch_also_after_a_stop(tmp_path):
    """With every learning rate 0 the term's value stays, so the total tells the weight."""
    recipe = Recipe(epochs=4, max_lr=1e-12, batch_size=12, augmentation=None, weight_decay=0)

    def train(epochs_before_the_stop: int | None) -> list[float]:
        student, totals = network(0).eval(), []
        for module in student.modules():
            module.training = False
        terms = [Term("soft", 8.0, lambda o: soft_target_loss(o.student_logits, o.teacher_logits, 1), warmup=3)]
        while True:
            distiller = Distiller(student, network(1), terms)

            def stop(row: dict, done: list = [0]) -> None:  # noqa: B006
                done[0] += 1
                if done[0] == epochs_before_the_stop:
                    raise KeyboardInterrupt

            try:
                path = tmp_path / f"{epochs_before_the_stop}.pt"
                fit(student, signs(), signs(), recipe, loss=distiller, progress=False, checkpoint=path, on_epoch=stop)
            except KeyboardInterrupt:
                totals += [row["total"] / row["soft"] for row in distiller.history]
                continue
            return totals + [row["total"] / row["soft"] for row in distiller.history]

    assert train(None) == pytest.approx([8 / 3, 16 / 3, 8, 8], rel=1e-4)
    assert train(1) == pytest.approx([8 / 3, 16 / 3, 8, 8], rel=1e-4)


def test_a_warm_up_belongs_to_the_identity_of_a_training_and_cannot_be_negative():
    loss = lambda o: o.student_logits.mean()  # noqa: E731
    texts = [Distiller(network(0), network(1), [Term("t", 1.0, loss, warmup=w)]).identity() for w in (0, 2, 3)]
    assert len(set(texts)) == 3
    assert texts[0].startswith("1 × t by ")
    assert " warm-up 2 by " in texts[1]
    with pytest.raises(ValueError, match=r"warmup of 't' must be ≥ 0 epochs, got -1"):
        Term("t", 1.0, loss, warmup=-1)
