"""Channels that are off are not needed: sliced execution gives the same logits, and does the work that is counted."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from course_lib.data import SignDataset
from course_lib.measure.counting import total_macs
from course_lib.models import sign_student
from course_lib.pruning import (
    ChainCost,
    GatedStudent,
    LastEpoch,
    chosen_executor,
    gate_decisions,
    gating_cost,
    gating_loss,
    hard_gate,
)
from course_lib.pruning.gating import Gate, chain
from course_lib.training import Batch, Recipe, fit

CHANNELS = (6, 10, 9, 12)


def decided(seed: int, bias: float = 0.0) -> GatedStudent:
    """A gated student whose gates and statistics are random: images differ in what they need."""
    torch.manual_seed(seed)
    student = sign_student(channels=CHANNELS, strides=(2, 1, 2, 1)).eval()
    model = GatedStudent(student)
    with torch.no_grad():
        for (_, norm), gate in zip(chain(model.student), gates(model), strict=True):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.3, 0.5)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            norm.running_mean.uniform_(-0.2, 0.4)
            norm.running_var.uniform_(0.1, 1.0)
            gate.linear.weight.normal_(0, 1)
            gate.linear.bias.normal_(bias, 0.5)
            gate.norm.momentum = 1.0
            gate.norm.train()
        model(images(64, seed=99))  # the gates' statistics are those of images
    return model.eval()


def gates(model: GatedStudent) -> list[Gate]:
    return [cast(Gate, gate) for gate in model.gates]


def images(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    colours = torch.rand(count, 3, 1, 1, generator=generator)
    return colours * torch.rand(count, 3, 16, 16, generator=generator)


def test_before_training_a_gated_student_is_the_student():
    student = sign_student(channels=CHANNELS, strides=(1, 2, 1, 2))
    x = images(5)
    for mode in (True, False):
        student.train(mode)
        gated = GatedStudent(student)
        assert gated.training is mode
        assert torch.equal(gated(x), copy.deepcopy(student)(x))
        assert all(bool((on == 1).all()) for on in gated.decisions)


@pytest.mark.parametrize("bias", [0.0, -3.0, 3.0])
def test_computing_the_chosen_channels_alone_gives_the_same_logits(bias):
    for seed in range(4):
        model, x = decided(seed, bias), images(12, seed)
        with torch.no_grad():
            whole = model(x)
        execute = chosen_executor(model)
        for i in range(len(x)):
            assert (execute(x[i : i + 1]) - whole[i]).abs().max() <= 1e-5


def test_the_macs_are_those_that_the_sliced_execution_does():
    model, x = decided(1), images(10)
    cost = gating_cost(model, (1, 3, 16, 16))
    with torch.no_grad():
        model(x)
    execute = chosen_executor(model)
    executed = cost.executed(model.decisions)
    assert len(set(executed.tolist())) > 4
    for i, macs in enumerate(executed.tolist()):
        with FlopCounterMode(display=False) as counter:
            execute(x[i : i + 1])
        assert counter.get_total_flops() / 2 == macs


def test_the_macs_are_a_count_of_single_products():
    cost = ChainCost((3, 4, 2, 5), (9, 4, 1), classes=3)
    rng = np.random.default_rng(0)
    decisions = [torch.tensor(rng.integers(0, 2, (7, c)).astype(bool)) for c in cost.channels[1:]]
    for i, found in enumerate(cost.executed(decisions).tolist()):
        on = [[True] * 3, *(layer[i].tolist() for layer in decisions)]
        count = 0
        for macs, (before, after) in zip(cost.pair_macs, itertools.pairwise(on), strict=True):
            count += sum(macs for a in before for b in after if a and b)
            count += sum(1 for a in before for _ in after if a)
        count += sum(1 for a in on[-1] for _ in range(cost.classes) if a)
        assert found == count


def test_all_on_costs_the_plain_network_and_its_gates():
    model = decided(0)
    cost = gating_cost(model, (1, 3, 16, 16))
    assert cost.dense == total_macs(model.student, (1, 3, 16, 16))
    everything = [torch.ones(2, c) for c in CHANNELS]
    assert cost.executed(everything).tolist() == [cost.dense + cost.gates] * 2
    assert gating_cost(model, (8, 3, 16, 16)) == cost


def test_an_image_does_not_depend_on_the_filters_that_are_off():
    model, x = decided(2), images(1)
    with torch.no_grad():
        before = model(x)
        off = [(on[0] == 0).nonzero().flatten() for on in model.decisions]
        assert sum(map(len, off)) > 5
        for (conv, norm), channels in zip(chain(model.student), off, strict=True):
            conv.weight[channels] = 7.0
            norm.bias[channels] = 3.0
        model.student.classifier.weight[:, off[-1]] = -5.0
        assert torch.equal(model(x), before)


def test_gates_are_0_or_1_with_the_sigmoids_gradient():
    z = torch.tensor([[0.5, -0.5, 0.0], [-9.0, -2.0, -2.5], [3.0, 80.0, -80.0]], requires_grad=True)
    on = hard_gate(z)
    assert on.tolist() == [[1, 0, 0], [0, 1, 0], [1, 1, 0]]
    (found,) = torch.autograd.grad((on * torch.arange(1.0, 10).view(3, 3)).sum(), z)
    s = torch.sigmoid(z.detach())
    torch.testing.assert_close(found, s * (1 - s) * torch.arange(1.0, 10).view(3, 3))


def test_one_channel_of_a_layer_is_always_on():
    model = decided(0, bias=-50.0)
    with torch.no_grad():
        logits = model(images(4))
    assert torch.isfinite(logits).all()
    assert all((on.sum(1) == 1).all() for on in model.decisions)


def batch(x: torch.Tensor) -> Batch:
    return Batch(x, torch.zeros(len(x), dtype=torch.long), torch.arange(len(x)), 0)


def test_the_penalty_is_the_square_of_the_distance_from_the_target_and_pulls_to_it():
    model, x = decided(3).train(), images(8)
    cost = gating_cost(model, (1, 3, 16, 16))
    logits = model(x)
    fraction = float(cost.executed(model.decisions).mean().detach() / cost.dense)
    plain = gating_loss(model, cost, 0.5, 0.0)(logits, batch(x))
    for target in (fraction / 2, min(1.0, 1.5 * fraction)):
        loss = gating_loss(model, cost, target, 10.0)(logits, batch(x))
        assert (loss - plain).item() == pytest.approx(10 * (fraction - target) ** 2, rel=1e-4)
        pull = torch.autograd.grad(loss - plain, [gate.linear.bias for gate in gates(model)], retain_graph=True)
        assert all(bool((g > 0).any() if target < fraction else (g < 0).any()) for g in pull)


def signs(count: int) -> SignDataset:
    x = (images(count) * 255).byte().numpy()
    return SignDataset(x, np.arange(count) % 3, num_classes=43)


def test_training_reaches_the_target_and_the_network_can_be_copied_and_saved():
    model, data = decided(0, bias=2.0), signs(60)
    cost = gating_cost(model, (1, 3, 16, 16))
    recipe = Recipe(15, max_lr=0.03, batch_size=20, augmentation=None, schedule="cosine")
    loss = gating_loss(model, cost, 0.4, 50.0)
    history = fit(model, data, data, recipe, loss=loss, constraint=LastEpoch(), progress=False)
    assert history.best_epoch == 14
    executed = cost.executed(gate_decisions(model, data)).mean() / cost.dense
    assert float(executed) == pytest.approx(0.4, abs=0.1)
    model.train()(images(2))
    twin = copy.deepcopy(model)
    assert twin.decisions == ()
    assert not any("decisions" in key for key in model.state_dict())
    x = images(3, 5)
    assert torch.equal(twin.eval()(x), model.eval()(x))


def test_decisions_of_all_images_are_those_of_each_and_leave_the_modes():
    model, data = decided(4).train(), signs(7)
    found = gate_decisions(model, data, batch_size=3)
    assert model.training
    assert [tuple(on.shape) for on in found] == [(7, c) for c in CHANNELS]
    model.eval()
    for i in range(7):
        model(data.batch(np.array([i]))[0])
        assert all(torch.equal(on[i], single[0] > 0) for on, single in zip(found, model.decisions, strict=True))


def test_given_decisions_take_the_place_of_the_gates():
    model, x = decided(5), images(4)
    with torch.no_grad():
        own = model(x)
        decisions = model.decisions
        assert torch.equal(model(x, decisions), own)
        turned = [on.flip(0).bool() for on in decisions]
        assert not torch.equal(model(x, turned), own)
        assert all(torch.equal(a.bool(), b) for a, b in zip(model.decisions, turned, strict=True))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: chosen_executor(m)(torch.zeros(2, 3, 16, 16)), "image must be one image"),
        (lambda m: m(torch.zeros(2, 3, 16, 16), [torch.ones(2, 6)]), "decisions must be of the shapes"),
        (lambda m: m(torch.zeros(2, 3, 16, 16), [torch.ones(1, c) for c in CHANNELS]), "decisions must be"),
        (lambda m: gating_loss(m, gating_cost(m), 0.0, 1.0), "target must be in"),
        (lambda m: gating_loss(m, gating_cost(m), 1.1, 1.0), "target must be in"),
        (lambda m: gating_loss(m, gating_cost(m), 0.5, -1.0), "weight ≥ 0"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(decided(0))


def test_a_cut_student_can_be_gated():
    from course_lib.pruning import cut, dependency_graph, norms, rank_channels

    student = sign_student(channels=CHANNELS, strides=(2, 1, 2, 1)).eval()
    graph = dependency_graph(student, torch.zeros(1, 3, 16, 16))
    small = cut(student, graph, rank_channels(student, graph, norms(2)).keep({"features.1.0": 4}))
    cost = gating_cost(GatedStudent(small), (1, 3, 16, 16))
    assert cost.channels == (3, 6, 4, 9, 12)
    assert cost.dense == total_macs(small, (1, 3, 16, 16))
    assert replace(cost, classes=0).dense < cost.dense
