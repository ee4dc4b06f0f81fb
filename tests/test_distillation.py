"""Soft-target distillation equals its formula, PyTorch's own loss and its limits; targets stay with their images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.data import Augmentation, SignDataset
from course_lib.distillation import distillation_loss, distillation_training_loss, soft_target_loss, teacher_logits
from course_lib.training import Recipe, epoch_batches


def logits(rows: int = 6, classes: int = 5, seed: int = 0, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(3 * torch.randn(rows, classes, generator=generator, dtype=dtype) for _ in range(2))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
def test_the_loss_equals_the_formula_written_out_for_each_image(temperature):
    student, teacher = logits()
    total = 0.0
    for s, t in zip(student.tolist(), teacher.tolist(), strict=True):
        p = [math.exp(v / temperature) for v in t]
        q = [math.exp(v / temperature) for v in s]
        p, q = [v / sum(p) for v in p], [v / sum(q) for v in q]
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    expected = temperature**2 * total / len(student)
    assert soft_target_loss(student, teacher, temperature).item() == pytest.approx(expected, rel=1e-12)


def test_the_loss_equals_torch_kldivloss_on_log_softmaxes():
    student, teacher = logits(dtype=torch.float32)
    reference = nn.KLDivLoss(reduction="batchmean", log_target=True)
    expected = 16 * reference(F.log_softmax(student / 4, 1), F.log_softmax(teacher / 4, 1))
    assert torch.equal(soft_target_loss(student, teacher, 4.0), expected)


def test_the_gradient_is_t_times_the_difference_of_the_distributions():
    student, teacher = logits()
    student.requires_grad_()
    soft_target_loss(student, teacher, 3.0).backward()
    expected = 3.0 * (F.softmax(student / 3, 1) - F.softmax(teacher / 3, 1)) / len(student)
    torch.testing.assert_close(student.grad, expected.detach(), rtol=1e-10, atol=1e-12)


def test_equal_logits_cost_nothing_and_the_direction_matters():
    student, teacher = logits()
    assert soft_target_loss(teacher, teacher, 2.0).item() == pytest.approx(0.0, abs=1e-12)
    assert soft_target_loss(student, teacher, 2.0) != soft_target_loss(teacher, student, 2.0)


def test_the_loss_does_not_depend_on_the_number_of_copies_of_the_batch():
    student, teacher = logits()
    twice = soft_target_loss(student.repeat(2, 1), teacher.repeat(2, 1), 4.0)
    torch.testing.assert_close(twice, soft_target_loss(student, teacher, 4.0))


def test_logits_of_ten_thousand_give_finite_loss_and_gradient():
    student = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    value = soft_target_loss(student, torch.tensor([[-1e4, 1e4, 0.0]]), 1.0)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(student.grad).all()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_alpha_weighs_soft_target_against_label(alpha):
    student, teacher = logits()
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    found = distillation_loss(student, teacher, labels, temperature=4.0, alpha=alpha)
    expected = alpha * soft_target_loss(student, teacher, 4.0) + (1 - alpha) * F.cross_entropy(student, labels)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"temperature": 0.0, "alpha": 0.5}, "temperature must be positive, got 0.0"),
        ({"temperature": float("nan"), "alpha": 0.5}, "temperature"),
        ({"temperature": 1.0, "alpha": 1.1}, r"alpha must be in \[0, 1\], got 1.1"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, words):
    student, teacher = logits()
    with pytest.raises(ValueError, match=words):
        distillation_loss(student, teacher, torch.zeros(6, dtype=torch.long), **arguments)


def test_unequal_class_counts_are_refused():
    with pytest.raises(ValueError, match=r"\(6, 5\) and \(6, 4\)"):
        soft_target_loss(torch.zeros(6, 5), torch.zeros(6, 4), 1.0)


class Mean(nn.Module):
    """Logits that are a fixed function of the pixels, and differ between train and eval mode."""

    def forward(self, images):
        means = 20 * images.mean((2, 3))
        return means + 100 if self.training else means


@pytest.fixture
def signs() -> SignDataset:
    rng = np.random.default_rng(0)
    return SignDataset(rng.integers(0, 256, (23, 3, 16, 16), dtype=np.uint8), rng.integers(0, 3, 23), num_classes=3)


@pytest.mark.parametrize("augmentation", [None, Augmentation(seed=3)], ids=["plain", "augmented"])
def test_every_batch_gets_the_teachers_logits_of_its_own_images_and_view(signs, augmentation):
    recipe = Recipe(epochs=5, batch_size=7, augmentation=augmentation, views=2)
    teacher = Mean().train()
    table = teacher_logits(teacher, signs, recipe, batch_size=5, progress=False)
    assert teacher.training, "the caller's mode must be restored"
    teacher.eval()
    # A loss of α = 1 is zero exactly where the student's logits are the teacher's on the same pixels.
    loss = distillation_training_loss(table, temperature=2.0, alpha=1.0)
    for epoch in range(5):
        for batch in epoch_batches(signs, recipe, epoch):
            assert loss(teacher(batch.images), batch).item() == pytest.approx(0.0, abs=1e-5)


def test_logits_of_another_view_do_not_fit(signs):
    recipe = Recipe(epochs=2, batch_size=23, views=2, augmentation=Augmentation(brightness=1.0))
    teacher = Mean().eval()
    swapped = teacher_logits(teacher, signs, recipe, progress=False).flip(0)
    batch = next(epoch_batches(signs, recipe, 0))
    assert distillation_training_loss(swapped, temperature=1.0, alpha=1.0)(teacher(batch.images), batch) > 1e-3


def test_a_recipe_without_a_number_of_views_is_refused(signs):
    with pytest.raises(ValueError, match=r"recipe\.views must be a number"):
        teacher_logits(Mean(), signs, Recipe(epochs=1), progress=False)


def test_no_gradient_reaches_the_teacher(signs):
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(768, 3))
    table = teacher_logits(teacher, signs, Recipe(epochs=1, views=1), progress=False)
    assert not table.requires_grad
    assert not table.is_inference(), "a student's loss must be able to use the table in autograd"
