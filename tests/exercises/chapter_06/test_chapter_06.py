"""Chapter 06's exercises ask for what the library has."""

from __future__ import annotations

import torch
from torch.nn import functional as F
from torch.nn.modules import module as torch_module

from course_lib.distillation import Hint, attention_map, relational_distance_loss, similarity_preserving_loss
from course_lib.exercises.chapter_06.attention_map import attention
from course_lib.exercises.chapter_06.hint_projection import hint_loss
from course_lib.exercises.chapter_06.relative_distances import relative_distances
from course_lib.exercises.chapter_06.similarity_table import similarity_loss
from course_lib.exercises.chapter_06.tap import global_hook_stays, tap
from course_lib.exercises.engine.judge import judge
from course_lib.exercises.engine.registry import find


def value_and_gradients(function, *tensors):
    """The value of a function (a table is summed with unequal weights) and its gradients, zeros where it has none."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    value = function(*leaves)
    total = (value.flatten() * torch.arange(1.0, value.numel() + 1)).sum()
    return value, torch.autograd.grad(total, leaves, allow_unused=True, materialize_grads=True)


def assert_same(one, other, *tensors):
    torch.testing.assert_close(
        value_and_gradients(one, *tensors), value_and_gradients(other, *tensors), rtol=1e-4, atol=1e-5
    )


def test_the_hint_is_the_librarys(sets):
    for student, teacher, weight in sets("06.2"):

        def library(s, t, w):
            hint = Hint(s.shape[1], t.shape[1])
            return torch.func.functional_call(hint, {"projection.weight": w[:, :, None, None]}, (s, t))

        assert_same(hint_loss, library, student, teacher, weight)


def test_the_map_is_the_librarys(sets):
    for features, power in sets("06.3"):
        assert_same(lambda x, p=power: attention(x, p), lambda x, p=power: attention_map(x, power=p), features)


def test_hubers_mean_over_two_tables_is_the_librarys_relational_loss(sets):
    clouds = [cloud for (cloud,) in sets("06.4")]
    for student, teacher in [(a, b) for a in clouds for b in clouds if len(a) == len(b)][:40]:
        tables = relative_distances(student), relative_distances(teacher)
        torch.testing.assert_close(
            F.smooth_l1_loss(*tables), relational_distance_loss(student, teacher), rtol=1e-4, atol=1e-6
        )


def test_the_similarity_loss_is_the_librarys(sets):
    for student, teacher in sets("06.5"):
        assert_same(similarity_loss, similarity_preserving_loss, student, teacher)


def test_a_global_hook_that_an_answer_leaves_is_told_and_taken_away():
    hooks = dict(torch_module._global_forward_hooks)
    verdict = judge(find("06.1"), global_hook_stays)
    assert verdict.state == "wrong"
    assert dict(torch_module._global_forward_hooks) == hooks


def test_the_tapped_networks_show_every_trace(sets):
    for model, name, images in sets("06.1", draws=5):
        modes = {module.training for module in model.modules()}
        assert modes == {True, False}
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert all(len(module._forward_hooks) == 1 for module in model.modules())
        others = [full for full, _ in model.named_modules() if full != name]
        assert "." in name or any(full.startswith(name) or full.endswith(name) for full in others)
        assert tap(model, name, images.requires_grad_()).requires_grad
