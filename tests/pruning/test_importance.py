"""Importances of groups of channels: values by hand, gates by finite differences, and what each is blind to."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models import SignStudent, SignTeacher
from course_lib.pruning.dependency import dependency_graph
from course_lib.pruning.groups import Group, Member
from course_lib.pruning.importance import (
    Importance,
    batch_norm_scales,
    channel_sums,
    curvature,
    noise,
    norms,
    scale_penalty,
    taylor,
)

IMAGES = torch.zeros(1, 3, 32, 32)


def student() -> SignStudent:
    """With weights and statistics that no layer has by default, and a β that is not 0."""
    torch.manual_seed(0)
    model = SignStudent(num_classes=5, channels=(8, 12), strides=(2, 2))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            nn.init.uniform_(module.running_mean, -0.3, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return model.eval()


def batches(count: int = 2, size: int = 6) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.rand(size, 3, 32, 32, generator=generator), torch.randint(5, (size,), generator=generator))
        for _ in range(count)
    ]


def cuttable(model: nn.Module) -> list[Group]:
    return [group for group in dependency_graph(model, IMAGES).groups if group.prunable]


def test_sums_by_hand_on_both_axes_and_ragged() -> None:
    weight = torch.arange(12.0).view(3, 4)
    assert channel_sums(weight, Member("m", "weight", 0, ((0,), (2,)), "produces")).tolist() == [6.0, 38.0]
    assert channel_sums(weight, Member("m", "weight", 1, ((1, 3), (), (0,)), "consumes")).tolist() == [36.0, 0.0, 12.0]
    assert channel_sums(torch.tensor([1.0, 5.0]), Member("m", "bias", 0, ((1,), (0,)), "produces")).tolist() == [5, 1]


@pytest.mark.parametrize("order", [1, 2])
def test_norms_are_those_of_the_filters(order: float) -> None:
    model = student()
    for group, layer in zip(cuttable(model), model.features, strict=True):
        expected = layer[0].weight.detach().flatten(1).norm(p=order, dim=1)
        assert torch.allclose(norms(order)(group, model), expected, rtol=1e-6)


def test_norms_of_both_sides_join_all_members_of_a_residual_group() -> None:
    torch.manual_seed(0)
    model = SignTeacher(num_classes=5, channels=(4, 8), blocks=(2, 1)).eval()
    group = max(cuttable(model), key=lambda g: len({m.module for m in g.members}))
    made = [m for m in group.members if m.tensor == "weight" and m.role == "produces"]
    assert len(made) > 1
    parameters = dict(model.named_parameters())
    squares = sum(parameters[m.name].detach().flatten(1).square().sum(1) for m in made)
    assert torch.allclose(norms(2)(group, model).square(), squares, rtol=1e-5)
    assert (norms(2, roles=("produces", "consumes"))(group, model) > norms(2)(group, model)).all()


def test_scales_and_their_penalty() -> None:
    model = student()
    model.features[0][1].weight.data[3] = -7.0
    first = cuttable(model)[0]
    assert torch.allclose(batch_norm_scales(first, model), model.features[0][1].weight.detach().abs())
    penalty = scale_penalty(model)
    penalty.backward()
    assert penalty.item() == pytest.approx(sum(f[1].weight.abs().sum().item() for f in model.features), rel=1e-6)
    assert model.features[0][1].weight.grad[3] == -1
    with pytest.raises(ValueError, match="no BatchNorm"):
        scale_penalty(nn.Linear(2, 2))
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match="no BatchNorm"):
        batch_norm_scales(cuttable(plain)[0], plain)


def gated_loss(model: SignStudent, layer: int, channel: int, gate: float, where: str, batch: tuple[Tensor, Tensor]):
    twin = copy.deepcopy(model).double()
    conv, norm = twin.features[layer][0], twin.features[layer][1]
    with torch.no_grad():
        for tensor in [conv.weight] if where == "weights" else [norm.weight, norm.bias]:
            tensor[channel] *= gate
    return F.cross_entropy(twin(batch[0].double()), batch[1]).item()


@pytest.mark.parametrize("where", ["weights", "activations"])
def test_taylor_is_the_squared_derivative_of_the_gate(where: str) -> None:
    model, data = student(), batches()
    groups = cuttable(model)
    found = taylor(groups, model, data, gate=where)
    for layer, channel in ((0, 2), (1, 5)):
        slopes = [
            (
                gated_loss(model, layer, channel, 1 + 1e-4, where, b)
                - gated_loss(model, layer, channel, 1 - 1e-4, where, b)
            )
            / 2e-4
            for b in data
        ]
        expected = sum(s**2 for s in slopes) / len(slopes)
        assert found(groups[layer], model)[channel].item() == pytest.approx(expected, rel=1e-3)


def test_a_gate_in_front_of_batch_norm_has_no_slope_in_train_mode() -> None:
    """What the module's text says: it is why gradients are taken in eval mode."""
    model, (images, labels) = student().train(), batches(1, 16)[0]
    F.cross_entropy(model(images), labels).backward()
    weight, norm = model.features[0][0].weight, model.features[0][1].weight
    before = (weight * weight.grad).flatten(1).sum(1).abs().max()
    assert before < 1e-3 * (norm * norm.grad).abs().max()


def test_gradients_and_modes_are_left_alone() -> None:
    model = student().train()
    model.features[0][1].eval()
    state, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    groups = cuttable(model)
    first = taylor(groups, model, batches())
    curvature(groups, model, batches(1, 2))
    assert all(p.grad is None for p in model.parameters())
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    with torch.no_grad():
        again = taylor(groups, model.requires_grad_(False), batches())
    assert torch.equal(first(groups[0], model), again(groups[0], model))


def test_curvature_of_a_linear_softmax_is_the_fisher_by_hand() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    group, ((images, labels),) = cuttable(model)[0], batches(1, 7)
    expected = torch.zeros(4)
    for image, label in zip(images, labels, strict=True):
        model.zero_grad()
        F.cross_entropy(model(image[None]), label[None]).backward()
        weight = model[0].weight
        expected += (weight * weight.grad).detach().square().flatten(1).sum(1) / 2
    assert torch.allclose(curvature([group], model, [(images, labels)])(group, model), expected / 7, rtol=1e-4)


def test_curvature_does_not_depend_on_the_batches() -> None:
    model, data = student(), batches(2, 4)
    groups = cuttable(model)
    whole = [(torch.cat([x for x, _ in data]), torch.cat([y for _, y in data]))]
    one, other = curvature(groups, model, data), curvature(groups, model, whole)
    assert torch.allclose(one(groups[1], model), other(groups[1], model), rtol=1e-4)


def test_only_some_see_data_and_only_some_see_the_norm() -> None:
    """Scaling a filter and unscaling its statistics changes no output: magnitude moves, the Taylor gate does not."""
    model = student()
    twin = copy.deepcopy(model)
    with torch.no_grad():
        conv, norm = twin.features[0][0], twin.features[0][1]
        conv.weight[0] *= 10
        norm.running_mean[0] *= 10
        norm.running_var[0] = 100 * (norm.running_var[0] + norm.eps) - norm.eps
    assert torch.allclose(model(batches()[0][0]), twin(batches()[0][0]), atol=1e-4)
    groups = cuttable(model)
    assert norms()(groups[0], twin)[0] > 5 * norms()(groups[0], model)[0]
    for gate in ("weights", "activations"):
        one, other = (taylor(groups, m, batches(), gate=gate)(groups[0], m)[0] for m in (model, twin))
        assert one.item() == pytest.approx(other.item(), rel=1e-2)


@pytest.mark.parametrize("importance", [norms(1), norms(2), batch_norm_scales, noise(3)])
def test_one_number_a_channel_finite_and_repeatable(importance: Importance) -> None:
    model = student()
    for group in cuttable(model):
        score = importance(group, model)
        assert score.shape == (group.size,)
        assert score.isfinite().all()
        assert not score.requires_grad
        assert torch.equal(score, importance(group, model))


def test_noise_depends_on_seed_and_group() -> None:
    a, b, model = Group("a", 50, (), ""), Group("b", 50, (), ""), nn.Identity()
    assert not torch.equal(noise(0)(a, model), noise(1)(a, model))
    assert not torch.equal(noise(0)(a, model), noise(0)(b, model))
    assert noise(0)(a, model).min() >= 0
    assert noise(0)(a, model).max() < 1


def test_refusals() -> None:
    model = student()
    groups = cuttable(model)
    with pytest.raises(ValueError, match="order must be > 0"):
        norms(-1)
    with pytest.raises(ValueError, match="at least one batch"):
        taylor(groups, model, [])
    with pytest.raises(ValueError, match="at least one image"):
        curvature(groups, model, [])
    with pytest.raises(ValueError, match="'weights' or 'activations'"):
        taylor(groups, model, batches(), gate="outputs")
    with pytest.raises(ValueError, match="no score for features"):
        taylor(groups[:1], model, batches(1))(groups[1], model)
    with pytest.raises(ValueError, match="no weight that scales"):
        norms(2, roles=("scales",))(groups[0], model)
