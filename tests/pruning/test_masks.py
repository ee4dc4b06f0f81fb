"""Masks fit their network, remove what was asked for, never give back what is gone, and leave it alone when refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from course_lib.models import SignStudent, SignTeacher
from course_lib.pruning import Masks, enforce_, n_m_mask, prunable, removed_count


def network(seed=0, channels=(4, 4, 4, 4, 8)):
    torch.manual_seed(seed)
    return SignStudent(num_classes=3, channels=channels)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def unchanged(model, before):
    after = model.state_dict()
    return list(after) == list(before) and all(torch.equal(after[name], before[name]) for name in before)


def test_by_default_kernels_and_matrices_are_pruned_and_no_biases_or_batchnorms():
    model = network()
    expected = [name for name, p in model.named_parameters() if p.ndim > 1]
    assert list(prunable(model)) == expected
    assert "classifier.bias" not in expected
    assert "classifier.weight" in expected
    assert list(prunable(model, ["classifier.bias", "features.0.0.weight"])) == [
        "features.0.0.weight",
        "classifier.bias",
    ]


@pytest.mark.parametrize("pruning_ratio", [0.0, 0.1, 0.5, 0.95, 0.999])
def test_each_layer_or_all_together_give_exactly_the_fraction(pruning_ratio):
    model = network()
    layers = Masks.from_fraction(model, pruning_ratio, scope="layer")
    for name, mask in layers.items():
        assert int((~mask).sum()) == removed_count(mask.numel(), pruning_ratio), name
    together = Masks.from_fraction(model, pruning_ratio, scope="global")
    size = sum(p.numel() for p in prunable(model).values())
    assert sum(int((~mask).sum()) for mask in together.values()) == removed_count(size, pruning_ratio)
    assert together.pruning_ratio == removed_count(size, pruning_ratio) / size


@pytest.mark.parametrize("unit", ["weight", "filter"])
def test_masks_and_zeroed_weights_equal_pytorch_s(unit):
    ours, theirs = network(), network()
    Masks.from_fraction(ours, 0.4, scope="layer", unit=unit).apply_(ours)
    for module in theirs.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if unit == "weight":
                prune.l1_unstructured(module, "weight", amount=0.4)
            else:
                prune.ln_structured(module, "weight", amount=0.4, n=2, dim=0)
            prune.remove(module, "weight")
    for name, weight in theirs.named_parameters():
        assert torch.equal(ours.get_parameter(name), weight), name


def test_given_masks_zero_what_pytorch_s_random_ones_zero():
    ours, theirs, masks = network(), network(), {}
    for name, module in theirs.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            prune.random_unstructured(module, "weight", amount=0.3)
            masks[f"{name}.weight"] = module.get_buffer("weight_mask").bool()
            prune.remove(module, "weight")
    Masks(masks).apply_(ours)
    for name, weight in theirs.named_parameters():
        assert torch.equal(ours.get_parameter(name), weight), name


def test_a_global_fraction_of_filters_ranks_them_by_their_l2_norms():
    model = network()
    masks = Masks.from_fraction(model, 0.5, scope="global", unit="filter")
    norms = torch.cat([p.detach().flatten(1).norm(dim=1) for p in prunable(model).values()])
    kept = torch.cat([mask.flatten(1).any(1) for mask in masks.values()])
    assert torch.equal(torch.cat([mask.flatten(1).all(1) for mask in masks.values()]), kept)
    assert kept.sum() == len(norms) - removed_count(len(norms), 0.5)
    assert norms[kept].min() > norms[~kept].max()


def test_a_filter_is_ranked_by_the_weights_that_it_still_has():
    model = nn.Linear(2, 2, bias=False)
    Masks({"weight": torch.tensor([[True, False], [True, True]])}).apply_(model)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 9.0], [2.0, 2.0]]))  # a step has moved the removed one
    masks = Masks.from_fraction(model, 0.5, scope="layer", unit="filter")
    assert masks["weight"].tolist() == [[False, False], [True, True]]


def test_thresholds_and_patterns_are_those_of_each_tensor():
    model = network()
    weight = model.classifier.weight.detach()
    assert torch.equal(Masks.from_threshold(model, 0.1)["classifier.weight"], weight.abs() >= 0.1)
    filters = Masks.from_threshold(model, 0.5, unit="filter")["classifier.weight"]
    assert torch.equal(filters, (weight.norm(dim=1) >= 0.5)[:, None].expand_as(weight))
    found = Masks.from_n_m(model, 2, 4, names=["classifier.weight"])
    assert list(found) == ["classifier.weight"]
    assert torch.equal(found["classifier.weight"], n_m_mask(weight.abs(), 2, 4))


def test_given_scores_decide_instead_of_the_magnitude():
    model = network()
    scores = {name: -p.detach().abs() for name, p in model.named_parameters()}
    masks = Masks.from_fraction(model, 0.5, scope="layer", scores=scores)
    kept = masks["classifier.weight"]
    assert model.classifier.weight[kept].abs().max() <= model.classifier.weight[~kept].abs().min()
    ranks = {name: torch.arange(p.numel()).view(p.shape) for name, p in model.named_parameters()}  # integers
    assert Masks.from_fraction(model, 0.5, scope="layer", scores=ranks)["classifier.weight"].flatten()[12:].all()


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("unit", ["weight", "filter"])
def test_what_is_removed_stays_removed(scope, unit):
    model, before = network(), None
    for pruning_ratio in (0.3, 0.5, 0.8):
        masks = Masks.from_fraction(model, pruning_ratio, scope=scope, unit=unit)
        masks.apply_(model)
        if before is not None:
            assert not any((masks[name] & ~before[name]).any() for name in masks)
        before = masks
        with torch.no_grad():  # what is left moves, and the removed weights with it
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
    for other in (
        Masks.from_fraction(model, 0.1, scope=scope, unit=unit),
        Masks.from_threshold(model, 0.0),
        Masks.from_n_m(model, 4, 4),
    ):
        assert other == before


def test_a_layer_may_be_emptied():
    model = network()
    with torch.no_grad():
        model.classifier.weight.mul_(1e-6)
    Masks.from_fraction(model, 0.5, scope="global").apply_(model)
    assert not model.classifier.weight.any()
    assert torch.equal(model.eval()(torch.rand(2, 3, 8, 8))[0], model.classifier.bias)


def test_the_network_is_left_alone_until_the_masks_are_applied():
    model = network()
    before = state(model)
    Masks.from_fraction(model, 0.5, scope="global")
    Masks.from_n_m(model, 2, 4)
    assert unchanged(model, before)
    assert dict(Masks.of(model)) == {}


def test_applied_masks_are_buffers_beside_the_weights_and_the_weights_are_zero():
    model = network()
    plain = list(model.state_dict())
    masks = Masks.from_fraction(model, 0.5, scope="global")
    masks.apply_(model)
    assert set(model.state_dict()) == {*plain, *(f"{name}_mask" for name in masks)}
    assert Masks.of(model) == masks
    for name, mask in masks.items():
        weight = model.get_parameter(name)
        assert not weight[~mask].any()
        assert weight[mask].all()
        assert mask is not Masks.of(model)[name]


def test_zeros_are_positive_and_what_overflowed_is_zeroed_too():
    model = nn.Linear(3, 1, bias=False)
    Masks({"weight": torch.tensor([[True, False, False]])}).apply_(model)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[-1.0, -2.0, float("nan")]]))
    enforce_(model)
    assert model.weight.tolist() == [[-1.0, 0.0, 0.0]]
    assert model.weight.signbit().tolist() == [[True, False, False]]


def test_applying_other_masks_replaces_the_first_ones():
    model = network()
    Masks.from_fraction(model, 0.5, scope="layer").apply_(model)
    own = Masks.of(model)["classifier.weight"]
    other = {"classifier.weight": torch.zeros(3, 8, dtype=torch.bool)}
    Masks(other).apply_(model)
    assert list(Masks.of(model)) == ["classifier.weight"]
    assert Masks.of(model)["classifier.weight"] is own  # in place: who holds the buffer sees the new mask
    assert not model.classifier.weight.any()


def test_copies_moves_and_types_keep_the_masks():
    model = network()
    masks = Masks.from_fraction(model, 0.5, scope="global")
    masks.apply_(model)
    twin = copy.deepcopy(model).double().to(memory_format=torch.channels_last)
    assert Masks.of(twin) == masks
    with torch.no_grad():
        twin.classifier.weight.fill_(1)
    enforce_(twin)
    assert torch.equal(twin.classifier.weight != 0, masks["classifier.weight"])
    assert not torch.equal(model.classifier.weight, twin.classifier.weight)


def test_a_shared_weight_has_one_mask():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    Masks.from_fraction(model, 0.5, scope="global").apply_(model)
    assert list(Masks.of(model)) == ["0.weight"]
    assert int((model[2].weight == 0).sum()) == 8


def test_a_parameter_of_the_network_itself_has_a_mask():
    model = nn.Linear(4, 2)
    Masks.from_fraction(model, 0.5, scope="layer").apply_(model)
    assert list(model.state_dict()) == ["weight", "bias", "weight_mask"]


def test_equal_masks_are_equal_whatever_their_memory_order():
    one = torch.rand(2, 3, 4, 4) > 0.5
    assert Masks({"w": one}) == Masks({"w": one.contiguous(memory_format=torch.channels_last)})
    assert Masks({"w": one}) != Masks({"v": one})
    assert Masks({"w": one}) != Masks({"w": ~one})
    assert Masks({"w": one}) != Masks({"w": one.flatten()})
    assert repr(Masks({"w": torch.zeros(2, dtype=torch.bool)})) == "Masks(1 tensors, 100.00% removed)"


# Refusals.


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (network(channels=(4, 4, 4, 6, 8)), r"features\.3\.0\.weight has shape \[4, 4, 3, 3\] in the masks, \[6, 4, 3"),
        (SignTeacher(3, channels=(8, 8), blocks=(1, 1)), r"have features\.0\.0\.weight, which is no parameter of"),
    ],
)
def test_masks_of_another_architecture_are_refused_by_the_first_tensor_that_differs(other, problem):
    masks, before = Masks.from_fraction(network(), 0.5, scope="global"), state(other)
    with pytest.raises(ValueError, match=problem):
        masks.apply_(other)
    assert unchanged(other, before)


def test_a_buffer_that_only_has_a_mask_s_name_is_refused():
    model = nn.Linear(2, 2)
    model.register_buffer("weight_mask", torch.ones(2, 2))
    before = state(model)
    with pytest.raises(ValueError, match="the model has a weight_mask of its own"):
        Masks.from_fraction(model, 0.5, scope="layer").apply_(model)
    enforce_(model)
    assert unchanged(model, before)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"scope": "model"}, r"scope must be one of \('layer', 'global'\), got 'model'"),
        ({"unit": "channel"}, r"unit must be one of \('weight', 'filter'\), got 'channel'"),
        ({"names": ["classifier"]}, r"names must be parameters of the model, got 'classifier'; there are features"),
        ({"names": []}, "there is nothing to prune"),
        ({"scores": {}}, r"features\.0\.0\.weight is missing"),
        ({"names": ["classifier.weight"], "scores": {"classifier.weight": torch.ones(8, 3)}}, r"shape \[3, 8\], got"),
        (
            {"names": ["classifier.weight"], "scores": {"classifier.weight": torch.full((3, 8), torch.nan)}},
            r"scores of classifier\.weight must hold no NaN",
        ),
        ({"names": ["classifier.bias"], "unit": "filter"}, "at least two axes"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_by_name(options, problem):
    model = network()
    before = state(model)
    with pytest.raises(ValueError, match=problem):
        Masks.from_fraction(model, 0.5, **{"scope": "layer", **options})
    assert unchanged(model, before)


def test_a_weight_that_is_no_number_is_refused():
    model = network()
    with torch.no_grad():
        model.features[1][0].weight[0, 0, 0, 0] = torch.nan
    for make in (
        lambda: Masks.from_fraction(model, 0.5, scope="layer"),
        lambda: Masks.from_fraction(model, 0.5, scope="global", unit="filter"),
        lambda: Masks.from_threshold(model, 0.5),
        lambda: Masks.from_n_m(model, 2, 4),
    ):
        with pytest.raises(ValueError, match=r"scores of features\.1\.0\.weight must hold no NaN"):
            make()


def test_a_mask_of_numbers_is_refused():
    with pytest.raises(TypeError, match=r"the mask of w must be boolean, got torch\.float32"):
        Masks({"w": torch.ones(2)})
