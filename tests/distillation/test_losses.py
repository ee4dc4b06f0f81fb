"""Every loss on logits equals its formula, PyTorch's own function and its limits."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from course_lib.distillation import (
    UNLABELLED,
    decoupled_loss,
    distillation_loss,
    label_loss,
    pseudo_label_loss,
    soft_target_loss,
)


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
    reference = torch.nn.KLDivLoss(reduction="batchmean", log_target=True)
    expected = 16 * reference(F.log_softmax(student / 4, 1), F.log_softmax(teacher / 4, 1))
    # Ours multiplies the sum by T²/B at once: one rounding less.
    torch.testing.assert_close(soft_target_loss(student, teacher, 4.0), expected, rtol=3e-7, atol=0)


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


def test_the_hard_limit_of_a_very_sure_teacher_is_cross_entropy_with_its_choice():
    student, _ = logits()
    choice = torch.tensor([1, 4, 0, 2, 2, 3])
    sure = 1e4 * F.one_hot(choice, 5).double()
    torch.testing.assert_close(soft_target_loss(student, sure, 1.0), F.cross_entropy(student, choice))
    torch.testing.assert_close(pseudo_label_loss(student, sure), F.cross_entropy(student, choice))


def test_pixels_count_like_images():
    generator = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(2, 3, 5, 4, 6, generator=generator)  # (B, K, H, W)
    labels = torch.randint(0, 5, (3, 4, 6), generator=generator)
    rows = [z.permute(0, 2, 3, 1).reshape(-1, 5) for z in (student, teacher)]
    torch.testing.assert_close(soft_target_loss(student, teacher, 2.0), soft_target_loss(*rows, 2.0))
    torch.testing.assert_close(label_loss(student, labels), F.cross_entropy(student, labels))
    torch.testing.assert_close(
        decoupled_loss(student, teacher, labels, temperature=2.0, alpha=1.0, beta=3.0),
        decoupled_loss(*rows, labels.flatten(), temperature=2.0, alpha=1.0, beta=3.0),
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
def test_label_loss_is_torchs_own_where_all_are_labelled_and_leaves_out_the_others(smoothing):
    student, _ = logits()
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    expected = F.cross_entropy(student, labels, label_smoothing=smoothing)
    torch.testing.assert_close(label_loss(student, labels, smoothing=smoothing), expected)
    some = torch.tensor([0, UNLABELLED, 2, UNLABELLED, UNLABELLED, 0])
    known = some != UNLABELLED
    expected = F.cross_entropy(student[known], some[known], label_smoothing=smoothing)
    torch.testing.assert_close(label_loss(student, some, smoothing=smoothing), expected)


def test_a_batch_without_labels_has_no_label_loss_and_keeps_its_soft_one():
    student, teacher = logits()
    student.requires_grad_()
    none = torch.full((6,), UNLABELLED)
    value = label_loss(student, none)
    assert value == 0
    value.backward()
    assert torch.equal(student.grad, torch.zeros_like(student))
    mixed = distillation_loss(student, teacher, none, temperature=3.0, alpha=0.9)
    torch.testing.assert_close(mixed, 0.9 * soft_target_loss(student, teacher, 3.0))
    assert decoupled_loss(student, teacher, none, temperature=3.0, alpha=1.0, beta=8.0) == 0


def test_smoothing_is_cross_entropy_with_the_mixture_written_out():
    student, _ = logits(rows=1)
    p = torch.full((5,), 0.3 / 5, dtype=torch.float64)
    p[2] += 0.7
    expected = -(p * torch.log_softmax(student[0], 0)).sum()
    torch.testing.assert_close(label_loss(student, torch.tensor([2]), smoothing=0.3), expected)


def test_pseudo_labels_below_the_confidence_are_left_out():
    student, _ = logits()
    teacher = torch.zeros(6, 5, dtype=torch.float64)
    teacher[:2, 3] = 10.0  # sure of two images, undecided about four
    expected = F.cross_entropy(student[:2], torch.tensor([3, 3]))
    torch.testing.assert_close(pseudo_label_loss(student, teacher, min_confidence=0.9), expected)
    assert pseudo_label_loss(student, teacher, min_confidence=0.99999) == 0


def test_kl_is_its_target_part_plus_the_others_times_the_rest_of_the_probability():
    student, teacher = logits(rows=1)
    label, temperature = torch.tensor([1]), 2.0
    whole = soft_target_loss(student, teacher, temperature)
    target, others = (
        decoupled_loss(student, teacher, label, temperature=temperature, alpha=a, beta=b) for a, b in ((1, 0), (0, 1))
    )
    p_label = torch.softmax(teacher / temperature, 1)[0, 1]
    torch.testing.assert_close(whole, target + (1 - p_label) * others)


def test_decoupled_loss_equals_its_two_equations_written_out():
    student, teacher = logits()
    labels, t = [0, 4, 2, 2, 1, 3], 3.0
    target = others = 0.0
    for s, z, y in zip(student.tolist(), teacher.tolist(), labels, strict=True):
        q, p = ([math.exp(v / t) for v in row] for row in (s, z))
        q, p = [v / sum(q) for v in q], [v / sum(p) for v in p]
        target += p[y] * math.log(p[y] / q[y]) + (1 - p[y]) * math.log((1 - p[y]) / (1 - q[y]))
        for c in set(range(5)) - {y}:
            a, b = p[c] / (1 - p[y]), q[c] / (1 - q[y])
            others += a * math.log(a / b)
    expected = t**2 * (2.0 * target + 8.0 * others) / 6
    found = decoupled_loss(student, teacher, torch.tensor(labels), temperature=t, alpha=2.0, beta=8.0)
    assert found.item() == pytest.approx(expected, rel=1e-10)


def test_a_teacher_as_sure_as_rounding_allows_gives_a_finite_decoupled_loss():
    teacher = torch.tensor([[200.0, 0.0, 1.0]])
    student = torch.tensor([[-200.0, 3.0, 0.0]], requires_grad=True)
    value = decoupled_loss(student, teacher, torch.tensor([0]), temperature=1.0, alpha=1.0, beta=1.0)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(student.grad).all()


LOSSES = {
    "soft target": lambda s, t: soft_target_loss(s, t, 2.0),
    "labels": lambda s, t: label_loss(s, torch.tensor([0, 1, 2, 3, 4, 0]), smoothing=0.1),
    "pseudo-labels": pseudo_label_loss,
    "decoupled": lambda s, t: decoupled_loss(
        s, t, torch.tensor([0, 1, 2, 3, 4, 0]), temperature=2.0, alpha=1.0, beta=2.0
    ),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_gradients_agree_with_finite_differences_and_none_reaches_the_teacher(loss):
    student, teacher = (z.requires_grad_() for z in logits())
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), student)
    loss(student, teacher).backward()
    assert teacher.grad is None


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32_and_float64_stays(loss, dtype):
    student, teacher = (z.to(dtype) for z in logits())
    value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(student.float(), teacher.float()))
    assert loss(student.double(), teacher.double()).dtype == torch.float64
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(loss(student.float(), teacher.float()), value, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["soft target", "pseudo-labels", "decoupled"])
@pytest.mark.parametrize("side", [0, 1], ids=["student", "teacher"])
def test_nan_logits_are_named_with_their_side(name, side):
    pair = list(logits())
    pair[side][2, 1] = float("nan")
    words = rf"{('student', 'teacher')[side]}_logits must be finite, got NaN or ±inf in 1 of"
    with pytest.raises(ValueError, match=words):
        LOSSES[name](*pair)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s, t: soft_target_loss(s[:, :1], t[:, :1], 1.0), "C ≥ 2"),
        (lambda s, t: soft_target_loss(s.long(), t.long(), 1.0), "floating point, got torch.int64"),
        (lambda s, t: soft_target_loss(s, t, float("inf")), "temperature must be positive"),
        (lambda s, t: label_loss(s, torch.zeros(5, dtype=torch.long)), r"labels must be int64 \(6,\)"),
        (lambda s, t: label_loss(s, torch.full((6,), 5)), r"labels must be in 0\.\.4, or -1 for none, got 5\.\.5"),
        (lambda s, t: label_loss(s, torch.full((6,), -100)), r"got -100\.\.-100"),
        (lambda s, t: label_loss(s, torch.zeros(6, dtype=torch.long), smoothing=1.0), "smoothing"),
        (lambda s, t: pseudo_label_loss(s, t, min_confidence=1.0), "min_confidence"),
        (
            lambda s, t: decoupled_loss(s, t, torch.zeros(6, dtype=torch.long), temperature=1.0, alpha=1, beta=-1),
            "beta must be a number in .0, ∞., got -1",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call(*logits())
