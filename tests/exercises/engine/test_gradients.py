"""A loss that cannot train earns nothing, whatever its value is."""

from __future__ import annotations

import pytest
import torch

from course_lib.exercises import Exercise
from course_lib.exercises.engine.judge import judge


def gap(student, teacher, weight):
    """Mean squared gap; the teacher is a target."""
    return weight * (student - teacher.detach()).square().mean()


@pytest.fixture
def loss() -> Exercise:
    ex = Exercise(
        "99.5", "A loss", points=2, hints=["a", "b"], gradient_of=("student",), no_gradient_of=("teacher",), trials=4
    )
    ex.reference(gap)

    @ex.case("two numbers")
    def two():
        return torch.tensor([1.0, 2.0]), torch.tensor([0.5, 0.0]), 2.0

    @ex.inputs
    def draw(rng):
        return torch.randn(3), torch.randn(3), float(rng.uniform(1, 2))

    @ex.mistake("The teacher learns as well.")
    def teacher_learns(student, teacher, weight):
        return weight * (student - teacher).square().mean()

    return ex


CUT = {
    "item": lambda s, t, w: gap(s, t, w).item(),
    "float": lambda s, t, w: float(gap(s, t, w)),
    "no_grad": torch.no_grad()(gap),
    "inference mode": torch.inference_mode()(gap),
    "detached result": lambda s, t, w: gap(s, t, w).detach(),
    "detached student": lambda s, t, w: gap(s.detach(), t, w),
    "made anew": lambda s, t, w: torch.tensor(float(gap(s, t, w)), requires_grad=True),
    "only the teacher": lambda s, t, w: w * (s.detach() - t).square().mean(),
}


@pytest.mark.parametrize("answer", CUT.values(), ids=CUT)
def test_a_loss_that_cannot_train_is_told_so(loss, answer):
    verdict = judge(loss, answer)
    assert verdict.state == "wrong"
    assert (
        "your result carries no gradient to student: .item(), float(), torch.no_grad() or .detach() cut it off, so "
        "nothing could be trained with it" in verdict.message
    )


def test_a_right_loss_passes_in_other_words(loss):
    assert judge(loss, gap)
    assert judge(loss, lambda s, t, w: ((s - t.clone().detach()) ** 2).sum() * w / len(s))
    with torch.no_grad():
        assert judge(loss, gap)


def test_a_gradient_into_the_target_is_told_and_can_be_planted(loss):
    assert judge(loss, lambda s, t, w: w * ((s - t) ** 2).mean()).message.startswith("The teacher learns as well.")
    loss.mistakes.clear()
    assert (
        "a gradient flows into teacher, which must stay as it is"
        in judge(loss, lambda s, t, w: w * ((s - t) ** 2).mean()).message
    )


def test_a_right_value_with_another_gradient_is_wrong(loss):
    def half(student, teacher, weight):
        return gap(student, teacher, weight) / 2 + gap(student.detach(), teacher, weight) / 2

    message = judge(loss, half).message
    assert "the value is right, and its gradient with respect to student is not" in message
    assert "expected array([1., 4.]), got array([0.5, 2. ])" in message


def test_the_gradient_of_several_numbers_names_the_sum_that_was_differentiated():
    ex = Exercise("99.6", "A square", points=1, hints=["a", "b"], gradient_of=("x",))
    ex.reference(lambda x: x.square())
    ex.case("two numbers")(lambda: (torch.tensor([1.0, 2.0]),))
    ex.inputs(lambda rng: (torch.randn(2),))
    message = judge(ex, lambda x: (x.square() + x.detach().square()) / 2).message
    assert (
        "its gradient with respect to x, of the sum of what you returned with weights that rise from 1 to 2," in message
    )
    assert "expected array([2., 8.]), got array([1., 4.])" in message


def test_a_planted_mistake_with_the_same_value_and_another_gradient_keeps_its_message(loss):
    @loss.mistake("Half of it is detached.")
    def half(student, teacher, weight):
        return gap(student, teacher, weight) / 2 + gap(student.detach(), teacher, weight) / 2

    assert judge(loss, half).message.startswith("Half of it is detached.")
    assert not judge(loss, CUT["item"]).message.startswith("Half")


def test_numpy_is_told_to_carry_no_gradient(loss):
    message = judge(loss, lambda s, t, w: w * ((s.numpy() - t.numpy()) ** 2).mean()).message
    assert "NumPy knows no gradients, and student carries one" in message


def test_an_in_place_change_is_told_as_such(loss):
    def subtracting(student, teacher, weight):
        student -= teacher.detach()
        return weight * student.square().mean()

    assert "your function changes its argument student" in judge(loss, subtracting).message


def test_the_gradient_of_a_table_does_not_cancel():
    ex = Exercise("99.6", "Differences", points=1, hints=["a", "b"], gradient_of=("x",), trials=2)

    @ex.reference
    def centred(x):
        return x - x.mean()

    @ex.inputs
    def draw(rng):
        return (torch.randn(4),)

    assert judge(ex, centred)
    assert not judge(ex, lambda x: x - x.mean().detach())
    assert not judge(ex, lambda x: x.detach() - x.mean().detach())


def test_a_gradient_of_what_is_no_tensor_is_the_courses_fault(loss):
    loss.gradient_of = ("weight",)
    with pytest.raises(RuntimeError, match="gradient_of names weight, which is no tensor of floats"):
        judge(loss, gap)


def test_gradient_of_must_name_a_parameter(loss):
    loss.gradient_of = ("pupil",)
    assert any("gradient_of must name parameters" in problem for problem in loss.problems())
