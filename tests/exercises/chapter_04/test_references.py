"""What chapter 04's solutions write out is what the library, and autograd, compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.distillation import cross_entropy, kl_divergence, soft_target_loss
from course_lib.exercises.chapter_04.calls import torch_calls
from course_lib.exercises.engine.registry import find


def arguments_of(id: str, draws: int = 20) -> list:
    """All fixed cases of an exercise, and some draws."""
    exercise, rng = find(id), np.random.default_rng(0)
    assert exercise.inputs_fn is not None
    return [*exercise.examples, *(exercise.inputs_fn(rng) for _ in range(draws))]


@pytest.mark.parametrize(("p", "q"), arguments_of("04.1"))
def test_price_is_cross_entropy_and_kl(p, q):
    wanted = [f(p, q, unit="bits").item() for f in (cross_entropy, kl_divergence)]
    np.testing.assert_allclose(find("04.1").reference_fn(p, q), wanted, atol=1e-9)


@pytest.mark.parametrize(("logits", "temperature"), arguments_of("04.2"))
def test_log_softmax_is_torch_s(logits, temperature):
    wanted = F.log_softmax(logits.double() / temperature, -1)
    torch.testing.assert_close(find("04.2").reference_fn(logits.double(), temperature), wanted, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize(("student", "teacher", "temperature"), arguments_of("04.3"))
def test_soft_loss_is_the_library_s(student, teacher, temperature):
    wanted = soft_target_loss(student.double(), teacher.double(), temperature)
    found = find("04.3").reference_fn(student.double(), teacher.double(), temperature)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("student", "teacher", "temperature"), arguments_of("04.4"))
def test_soft_gradient_is_autograd_s(student, teacher, temperature):
    z = student.double().requires_grad_()
    (wanted,) = torch.autograd.grad(soft_target_loss(z, teacher.double(), temperature), z)
    found = find("04.4").reference_fn(student.double(), teacher.double(), temperature)
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("alpha", "classes", "temperature"), [(0.9, 43, 4.0), (0.5, 10, 2.0), (0.2, 5, 3.0)])
def test_effective_alpha_is_the_share_that_two_wrong_terms_have(alpha, classes, temperature):
    rng = np.random.default_rng(0)
    student, teacher = (torch.from_numpy(rng.normal(0, 2, (6, classes))) for _ in range(2))
    log_q, log_p = (F.log_softmax(z / temperature, 1) for z in (student, teacher))
    wrong = alpha * F.kl_div(log_q, log_p, reduction="none", log_target=True).mean()  # as "mean" does, and no T²
    weight = wrong / soft_target_loss(student, teacher, temperature)  # what is left of α
    wanted = weight / (weight + 1 - alpha)
    assert find("04.5").reference_fn(alpha, classes, temperature) == pytest.approx(wanted.item(), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("log_softmax", lambda z: F.log_softmax(z, -1)),
        ("log_softmax", lambda z: torch.log_softmax(z, -1)),
        ("log_softmax", lambda z: z.log_softmax(-1)),
        ("log_softmax", lambda z: torch.nn.LogSoftmax(-1)(z)),
        ("grad", lambda z: torch.autograd.grad((z.requires_grad_() ** 2).sum(), z)),
        ("grad", lambda z: torch.func.grad(lambda x: (x**2).sum())(z)),
        ("backward", lambda z: (z.requires_grad_() ** 2).sum().backward()),
    ],
)
def test_torch_calls_sees_a_function_under_whatever_name(name, call):
    assert name in torch_calls(call, torch.ones(2, 3))
    assert name not in torch_calls(lambda z: (z - z.logsumexp(-1, keepdim=True)).exp(), torch.ones(2, 3))
