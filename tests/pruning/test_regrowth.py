"""Weights move to new places, and there are as many in each tensor as before."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib.models import sign_student
from course_lib.pruning import Masks, moved_share, regrown


def pruned(seed: int = 0, ratio: float = 0.8) -> nn.Module:
    torch.manual_seed(seed)
    model = sign_student(channels=(4, 6, 8), strides=(2, 2, 2))
    Masks.from_fraction(model, ratio, scope="global").apply_(model)
    return model


def pulls(model: nn.Module, seed: int = 1) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(p.shape, generator=generator) for name, p in model.named_parameters()}


@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.3, 0.9])
def test_each_tensor_keeps_its_number_of_weights(fraction):
    model = pruned()
    before = Masks.of(model)
    found = regrown(model, pulls(model), fraction)
    assert list(found) == list(before)
    for name, mask in found.items():
        count = int(before[name].sum())
        assert int(mask.sum()) == count
        moved = int((mask & ~before[name]).sum())
        assert moved == min(round(fraction * count), int((~before[name]).sum()))


def test_the_smallest_go_and_those_with_the_steepest_gradient_come():
    model = pruned(1)
    gradients, before = pulls(model), Masks.of(model)
    weights = dict(model.named_parameters())
    for name, mask in regrown(model, gradients, 0.4).items():
        gone, stayed = before[name] & ~mask, before[name] & mask
        came, away = mask & ~before[name], ~mask & ~before[name]
        if gone.any() and stayed.any():
            assert weights[name][gone].abs().max() <= weights[name][stayed].abs().min()
        if came.any() and away.any():
            assert gradients[name][came].abs().min() >= gradients[name][away].abs().max()


def test_equal_magnitudes_are_settled_by_position():
    model = nn.Linear(6, 1, bias=False)
    model.weight.data = torch.tensor([[0.5, -0.5, 0.5, 1.0, 1.0, 1.0]])
    Masks({"weight": torch.tensor([[True, True, True, False, False, False]])}).apply_(model)
    found = regrown(model, {"weight": torch.tensor([[9.0, 9, 9, 2, -2, 2]])}, 0.34)
    assert found["weight"].tolist() == [[True, True, False, True, False, False]]


def test_the_model_stays_and_regrown_weights_begin_at_0():
    model = pruned(2)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    found = regrown(model, pulls(model), 0.5)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    before = Masks({name: mask.clone() for name, mask in Masks.of(model).items()})
    found.apply_(model)
    for name, p in model.named_parameters():
        if name in found:
            assert (p[found[name] & ~before[name]] == 0).all()
            assert (p[~found[name]] == 0).all()
            assert torch.equal(p[found[name] & before[name]], state[name][found[name] & before[name]])


def test_a_nearly_full_tensor_moves_no_more_than_is_removed():
    model = nn.Linear(10, 1, bias=False)
    Masks.from_fraction(model, 0.2, scope="layer").apply_(model)
    before = Masks.of(model)["weight"].clone()
    found = regrown(model, {"weight": torch.ones(1, 10)}, 0.9)["weight"]
    assert int((found & ~before).sum()) == 2
    assert int(found.sum()) == 8


def test_the_share_that_moved():
    model = pruned(3)
    before = Masks({name: mask.clone() for name, mask in Masks.of(model).items()})
    assert moved_share(before, before) == 0
    assert moved_share(before, regrown(model, pulls(model), 0.3)) == pytest.approx(0.3, abs=0.02)
    assert moved_share(Masks({}), Masks({})) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fraction": 1.0}, "fraction must be in"),
        ({"fraction": -0.1}, "fraction must be in"),
        ({"gradients": {}}, "features.0.0.weight is missing"),
        ({"wrong": torch.ones(2)}, "must be finite and of shape"),
        ({"wrong": torch.full((4, 3, 3, 3), torch.nan)}, "must be finite and of shape"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    model = pruned()
    gradients = change.get("gradients", pulls(model))
    if "wrong" in change:
        gradients["features.0.0.weight"] = change["wrong"]
    with pytest.raises(ValueError, match=message):
        regrown(model, gradients, change.get("fraction", 0.3))


def test_a_dense_model_and_other_masks_are_refused():
    with pytest.raises(ValueError, match="model has no masks"):
        regrown(nn.Linear(2, 2), {}, 0.3)
    with pytest.raises(ValueError, match="masks of the same tensors"):
        moved_share(Masks({"a": torch.ones(2, dtype=torch.bool)}), Masks({}))
