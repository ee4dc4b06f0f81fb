"""Removed weights stay 0 under every optimiser and in every average; masks load, rewind, export and go away again."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import prune

from course_lib.data import SignDataset
from course_lib.deploy.onnx.counts import onnx_counts
from course_lib.deploy.onnx.export import export_onnx
from course_lib.errors import CourseError
from course_lib.models import SignStudent, SignTeacher
from course_lib.models.checkpoints import load, save
from course_lib.pruning import (
    EarlyWeights,
    Masks,
    MasksHeld,
    enforce_,
    hold_,
    load_masked_state_,
    make_permanent_,
    rewind_,
    sparsity,
)
from course_lib.training import Recipe, fit, loop

pytestmark = pytest.mark.usefixtures("one_thread")

RECIPE = Recipe(epochs=3, max_lr=0.02, batch_size=16, augmentation=None)
OPTIMIZERS = {
    "SGD with momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "SGD with decay": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, weight_decay=0.1),
    "AdamW": lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1),
    "Adam": lambda p: torch.optim.Adam(p, 0.1, amsgrad=True),
    "RMSprop": lambda p: torch.optim.RMSprop(p, 0.1, momentum=0.9),
    "Adagrad": lambda p: torch.optim.Adagrad(p, 0.1),
    "Rprop": lambda p: torch.optim.Rprop(p, 0.1),
}


def signs(count, seed):
    rng = np.random.default_rng(seed)
    return SignDataset(rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8), rng.integers(0, 3, count), num_classes=3)


TRAIN, VALIDATION = signs(40, 0), signs(20, 1)


# Not fewer than eight channels where a network trains: oneDNN's backward pass of fewer has corrupted the heap.
def network(seed=0, channels=(8, 8, 8, 8, 8)):
    torch.manual_seed(seed)
    return SignStudent(num_classes=3, channels=channels)


def pruned(pruning_ratio=0.6, seed=0, **options):
    model = network(seed, **options)
    Masks.from_fraction(model, pruning_ratio, scope="global").apply_(model)
    return model


def run(model, recipe=RECIPE, **options):
    return fit(model, TRAIN, VALIDATION, recipe, progress=False, **options)


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


def removed_weights(model):
    return torch.cat([model.get_parameter(name)[~mask].flatten() for name, mask in Masks.of(model).items()])


def step(model, optimizer):
    images, labels = TRAIN.batch(np.arange(16))
    optimizer.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    optimizer.step()


# Why zeroing comes after the step.


def test_masking_once_is_undone_by_the_first_step():
    model = pruned()
    step(model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9))
    assert (removed_weights(model) != 0).float().mean() > 0.5  # 8×8 pixels: some weights only ever see padding


@pytest.mark.parametrize("name", ["SGD with momentum", "AdamW", "Adam"])
def test_masking_the_gradient_alone_fails_because_the_optimiser_remembers(name):
    """Dense steps, then the masks, then steps whose gradients are masked: the removed weights move all the same."""
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    step(model, optimizer)
    Masks.from_fraction(model, 0.6, scope="global").apply_(model)
    for parameter_name, mask in Masks.of(model).items():
        model.get_parameter(parameter_name).register_hook(lambda gradient, mask=mask: gradient * mask)
    assert not removed_weights(model).any()
    step(model, optimizer)
    assert (removed_weights(model) != 0).float().mean() > 0.5  # 8×8 pixels: some weights only ever see padding


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_held_weights_are_positive_zero_after_each_step_of_any_optimiser(name):
    model = network()
    optimizer = OPTIMIZERS[name](model.parameters())
    step(model, optimizer)  # something to remember
    Masks.from_fraction(model, 0.6, scope="global").apply_(model)
    before = state(model)
    handle = hold_(model, optimizer)
    for _ in range(3):
        step(model, optimizer)
        assert not removed_weights(model).any()
        assert not removed_weights(model).signbit().any()
    assert not torch.equal(model.classifier.weight, before["classifier.weight"])
    handle.remove()
    step(model, optimizer)
    assert removed_weights(model).any()


def test_the_forward_pass_is_that_of_a_network_with_zeros_and_surviving_weights_learn_as_in_pytorch_s():
    """One plain SGD step: torch.nn.utils.prune multiplies in the forward pass, and must come to the same weights."""
    ours, theirs = pruned(), network()
    for name, mask in Masks.of(ours).items():
        owner = theirs.get_submodule(name.rpartition(".")[0])
        prune.custom_from_mask(owner, "weight", mask)
    optimizer = torch.optim.SGD(ours.parameters(), 0.1)
    hold_(ours, optimizer)
    step(ours, optimizer)
    step(theirs, torch.optim.SGD(theirs.parameters(), 0.1))
    images = TRAIN.batch(np.arange(8))[0]
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))
    for name in Masks.of(ours):
        owner = theirs.get_submodule(name.rpartition(".")[0])
        torch.testing.assert_close(ours.get_parameter(name).detach(), (owner.weight_orig * owner.weight_mask).detach())


# In the training loop.


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_fit_keeps_the_masks_in_what_is_validated_and_returned(monkeypatch, optimizer, average):
    seen, real = [], loop.model_accuracy

    def accuracy(model, dataset):
        seen.append(removed_weights(model).abs().max().item())
        return real(model, dataset)

    monkeypatch.setattr(loop, "model_accuracy", accuracy)
    model = pruned()
    before = state(model)
    run(model, replace(RECIPE, optimizer=optimizer, average=average), constraint=MasksHeld())
    assert seen == [0.0] * 3
    assert not removed_weights(model).any()
    assert Masks.of(model) == Masks({name[:-5]: m for name, m in before.items() if name.endswith("_mask")})
    assert not torch.equal(model.classifier.weight, before["classifier.weight"])


def test_without_the_constraint_fit_makes_the_weights_dense_again():
    model = pruned()
    run(model)
    assert (removed_weights(model) != 0).float().mean() > 0.5  # 8×8 pixels: some weights only ever see padding


def test_a_network_without_masks_is_refused():
    model = network()
    before = state(model)
    with pytest.raises(ValueError, match=r"model has no masks to hold: Masks\.from_fraction"):
        run(model, constraint=MasksHeld())
    assert same(state(model), before)


def test_a_state_of_other_masks_is_refused(tmp_path):
    run(pruned(0.6), constraint=MasksHeld(), checkpoint=tmp_path / "x.pt")
    run(pruned(0.6), constraint=MasksHeld(), checkpoint=tmp_path / "x.pt")
    with pytest.raises(CourseError, match="belongs to a run with another"):
        run(pruned(0.7), constraint=MasksHeld(), checkpoint=tmp_path / "x.pt")


# Loading.


@pytest.mark.parametrize("target", [network(3), pruned(0.2, seed=3)], ids=["dense", "masked otherwise"])
def test_weights_and_masks_load_into_the_same_architecture(target):
    source = pruned()
    load_masked_state_(target, source.state_dict())
    assert same(state(target), state(source)) or set(state(target)) == set(state(source))
    assert Masks.of(target) == Masks.of(source)
    images = torch.rand(2, 3, 8, 8)
    assert torch.equal(target.eval()(images), source.eval()(images))
    with torch.no_grad():
        source.classifier.weight.fill_(5)
    assert not (target.classifier.weight == 5).any()


def test_a_state_without_masks_takes_them_out():
    target = pruned()
    load_masked_state_(target, network(3).state_dict())
    assert same(state(target), state(network(3)))


def test_weights_that_the_loaded_masks_remove_are_zeroed():
    loaded = state(pruned())
    loaded["classifier.weight"].fill_(1)
    target = network()
    load_masked_state_(target, loaded)
    assert torch.equal(target.classifier.weight != 0, loaded["classifier.weight_mask"])


def test_pytorch_s_own_load_state_dict_works_between_masked_networks():
    target = pruned(0.2, seed=3)
    target.load_state_dict(pruned().state_dict())
    assert same(state(target), state(pruned()))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda s: s.pop("features.1.0.weight"), r"the state lacks features\.1\.0\.weight"),
        (lambda s: s.update(extra=torch.ones(1)), "the state has extra, which the model lacks"),
        (lambda s: s.update({"classifier.weight": torch.ones(3, 9)}), r"classifier\.weight has shape \[3, 9\] in the"),
        (
            lambda s: s.update({"classifier.weight_mask": torch.ones(3, 9) > 0}),
            r"classifier\.weight has shape \[3, 9\]",
        ),
        (lambda s: s.update({"classifier.weight_mask": torch.ones(3, 8)}), "classifier.weight_mask must be boolean"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_by_the_first_tensor_and_changes_nothing(masked, change, problem):
    model = pruned(0.2, seed=3) if masked else network(3)
    before, loaded = state(model), state(pruned())
    change(loaded)
    with pytest.raises(ValueError, match=problem):
        load_masked_state_(model, loaded)
    assert same(state(model), before)


def test_a_state_of_another_architecture_names_its_first_tensor():
    model = network(channels=(4, 4, 4, 4, 8))
    before = state(model)
    with pytest.raises(ValueError, match=r"features\.2\.0\.weight has shape \[6, 4, 3, 3\] in the state"):
        load_masked_state_(model, pruned(channels=(4, 4, 6, 4, 8)).state_dict())
    with pytest.raises(ValueError, match=r"the state lacks features\.0\.0\.weight"):
        load_masked_state_(model, SignTeacher(3, channels=(8, 8), blocks=(1, 1)).state_dict())
    assert same(state(model), before)


# Out again.


def test_made_permanent_it_is_a_plain_network_with_zeros(tmp_path):
    model = pruned()
    removed, plain = {name: ~mask for name, mask in Masks.of(model).items()}, network()
    with torch.no_grad():
        model.classifier.weight.add_(1)
    make_permanent_(model)
    assert list(model.state_dict()) == list(plain.state_dict())
    assert all(not model.get_parameter(name)[gone].any() for name, gone in removed.items())
    save(model, "pruned", {}, folder=tmp_path)
    assert same(state(load("pruned", folder=tmp_path)[0]), state(model))
    make_permanent_(model)  # once is enough; twice does no harm


def test_onnx_gets_the_zeros_and_no_mask(tmp_path):
    model = pruned(0.9).eval()
    path = export_onnx(model, tmp_path / "x.onnx", input_shape=(1, 3, 32, 32))
    graph = onnx.load(path).graph
    assert not any("mask" in tensor.name for tensor in graph.initializer)
    assert {node.op_type for node in graph.node}.isdisjoint({"Mul", "Cast", "Where"})
    plain = copy.deepcopy(model)
    make_permanent_(plain)
    export_onnx(plain, tmp_path / "plain.onnx", input_shape=(1, 3, 32, 32))
    assert onnx_counts(path).nonzeros == onnx_counts(tmp_path / "plain.onnx").nonzeros
    kept = sum(int(mask.sum()) for mask in Masks.of(model).values())
    biases = sum(layer[0].out_channels for layer in model.features) + 3  # BatchNorm's, folded, and the classifier's
    assert onnx_counts(path).nonzeros <= kept + biases


# Rewinding.


def test_rewinding_gives_the_surviving_weights_their_early_values_and_the_rest_zero():
    model = network()
    early = state(model)
    step(model, torch.optim.SGD(model.parameters(), 0.1))
    Masks.from_fraction(model, 0.6, scope="global").apply_(model)
    masks = Masks({name: mask.clone() for name, mask in Masks.of(model).items()})
    rewind_(model, early)
    assert Masks.of(model) == masks
    for name, value in early.items():
        expected = value.where(masks[name], torch.zeros(())) if name in masks else value
        assert torch.equal(model.state_dict()[name], expected), name


def test_masks_among_the_early_weights_are_not_looked_at():
    model, early = network(), state(pruned(0.3))
    Masks.from_fraction(model, 0.8, scope="layer", names=["classifier.weight"]).apply_(model)
    masks = Masks({name: mask.clone() for name, mask in Masks.of(model).items()})
    rewind_(model, early)
    assert Masks.of(model) == masks


def test_early_weights_that_do_not_fit_are_refused():
    model = pruned()
    before = state(model)
    with pytest.raises(ValueError, match=r"features\.2\.0\.weight has shape"):
        rewind_(model, state(network(channels=(8, 8, 6, 8, 8))))
    assert same(state(model), before)


def test_early_weights_are_those_after_their_epochs_and_outlive_the_process(tmp_path):
    model, rows = network(), []
    early = EarlyWeights(model, 2, tmp_path / "early.pt")

    def told(row):
        early(row)
        rows.append(state(model))

    run(model, on_epoch=told)
    assert same(early.state(), rows[1])
    assert same(EarlyWeights(network(9), 2, tmp_path / "early.pt").state(), rows[1])
    assert [path.name for path in tmp_path.iterdir()] == ["early.pt"]


def test_missing_or_broken_early_weights_say_what_to_do(tmp_path):
    early = EarlyWeights(network(), 2, tmp_path / "early.pt")
    with pytest.raises(CourseError, match=r"the weights after 2 epochs were not kept\. Mend: train again"):
        early.state()
    (tmp_path / "early.pt").write_bytes(b"no file")
    with pytest.raises(CourseError, match="not a readable file of weights"):
        early.state()
    with pytest.raises(ValueError, match="epochs must be at least 1, got 0"):
        EarlyWeights(network(), 0, tmp_path / "early.pt")


# The report.


def test_the_report_counts_the_zeros_that_are_there():
    model = pruned()
    rows = {row.name: row for row in sparsity(model)}
    for name, mask in Masks.of(model).items():
        assert (rows[name].zeros, rows[name].size) == (int((~mask).sum()), mask.numel())
    assert rows["all"].fraction == Masks.of(model).pruning_ratio
    with torch.no_grad():
        model.classifier.weight.fill_(1)  # a mask promises zeros that are no longer there
    assert {row.name: row for row in sparsity(model)}["classifier.weight"].zeros == 0
    enforce_(model)
    assert sparsity(model)[-1] == rows["all"]
    assert [row.name for row in sparsity(model, ["classifier.bias"])] == ["classifier.bias", "all"]


def test_an_emptied_layer_shows_as_a_hundred_percent():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    Masks({"1.weight": torch.zeros(1, 2, dtype=torch.bool)}).apply_(model)
    assert [row.fraction for row in sparsity(model)] == [0.0, 1.0, 2 / 6]
