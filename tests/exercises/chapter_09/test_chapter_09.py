"""Chapter 09's exercises ask for what the library has."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.exercises.chapter_09.executed_macs import executed_macs
from course_lib.exercises.chapter_09.greedy_step import greedy_step, in_full
from course_lib.exercises.chapter_09.sensitivity_curve import sensitivity_curve
from course_lib.exercises.chapter_09.straight_through import gate
from course_lib.exercises.chapter_09.table_ms import table_ms, two_lines
from course_lib.exercises.engine.registry import find
from course_lib.measure.counting import total_macs
from course_lib.models import sign_student
from course_lib.pruning import (
    ChainCost,
    LayerTimes,
    LayerWeight,
    dependency_graph,
    greedy_path,
    hard_gate,
    norms,
    predicted_macs,
    rank_channels,
    sensitivity,
)
from course_lib.pruning.costs import WeightAxis


def test_the_curve_is_that_of_the_librarys_scan(sets):
    for w1, w2, inputs, labels, ratios in sets("09.1"):
        net = nn.Sequential(nn.Linear(w1.shape[1], len(w1), bias=False), nn.ReLU(), nn.Linear(*w2.T.shape, bias=False))
        net[0].weight.data, net[2].weight.data = w1.clone(), w2.clone()
        graph = dependency_graph(net, torch.zeros(1, w1.shape[1]))
        ranking = rank_channels(net, graph, norms(2))

        def accuracy(network, x=inputs, y=labels):
            with torch.no_grad():
                return float((network(x).argmax(1) == y).double().mean())

        rising = sorted(ratios)
        (curve,) = sensitivity(net, graph, ranking, rising, accuracy).curves
        assert sensitivity_curve(w1, w2, inputs, labels, rising).tolist() == pytest.approx(curve.scores)


def chain(widths, inputs, classes, positions) -> int:
    before, total = inputs, 0
    for width, each in zip(widths, positions, strict=True):
        total += each * before * width
        before = width
    return total + before * classes


def test_the_step_is_the_cheapest_by_counting_the_chain_twice(sets):
    for widths, inputs, classes, positions, losses in sets("09.2", draws=60):
        whole, prices = chain(widths, inputs, classes, positions), {}
        for layer, width in enumerate(widths):
            if width > 1:
                smaller = [w - (i == layer) for i, w in enumerate(widths)]
                saved = whole - chain(smaller, inputs, classes, positions)
                prices[layer] = (losses[layer][width - 1] - losses[layer][width]) / saved
        ordered = sorted(prices.values())
        assert len(ordered) < 2 or ordered[1] - ordered[0] > 1e-6 * abs(ordered[0])  # no tie that rounding decides
        expected = min(prices, key=prices.__getitem__)
        assert greedy_step(widths, inputs, classes, positions, losses) == expected
        assert in_full(widths, inputs, classes, positions, losses) == expected


def test_the_steps_are_the_librarys_greedy_path():
    torch.manual_seed(0)
    model = sign_student(channels=(6, 8, 7), strides=(2, 1, 2))
    graph = dependency_graph(model, torch.zeros(1, 3, 16, 16))
    ranking = rank_channels(model, graph, norms(2))
    macs = predicted_macs(model, graph, ranking)
    assert macs({}) == total_macs(model, (1, 3, 16, 16))
    rng = np.random.default_rng(0)
    losses = {}
    for name, size in ranking.sizes.items():
        drops = np.sort(rng.uniform(0.001, 0.1, size))  # each channel costs more than the one before
        losses[name] = torch.tensor(np.concatenate([np.cumsum(drops)[::-1], [0.0]]))
    positions = [layer.positions * 9 for layer in macs.layers[:-1]]
    widths = list(ranking.sizes.values())
    for found in list(greedy_path(ranking, macs, losses))[1:]:
        widths[greedy_step(widths, 3, 43, positions, [curve.tolist() for curve in losses.values()])] -= 1
        assert widths == list(found.values())


def test_the_time_is_that_of_the_librarys_table(sets):
    for outputs, inputs, output_grid, input_grid, ms in sets("09.3"):
        axes = [
            WeightAxis(0, {name: tuple(range(grid[-1] + 1))}) for name, grid in (("o", output_grid), ("i", input_grid))
        ]
        grid = (tuple(output_grid), tuple(input_grid))
        layer = LayerTimes(LayerWeight("conv", 1, tuple(axes)), (1,), 1, grid, ms.double().numpy())
        expected = layer({"o": outputs, "i": inputs})
        assert table_ms(outputs, inputs, output_grid, input_grid, ms) == pytest.approx(expected, rel=1e-5)
        assert two_lines(outputs, inputs, output_grid, input_grid, ms) == pytest.approx(expected, rel=1e-5)


def test_the_macs_are_the_librarys(sets):
    for gates, pair_macs, inputs, classes in sets("09.4"):
        cost = ChainCost((inputs, *(on.shape[1] for on in gates)), tuple(pair_macs), classes)
        assert executed_macs(gates, pair_macs, inputs, classes).tolist() == cost.executed(gates).tolist()


def test_the_gate_is_the_librarys_but_for_the_channel_that_is_always_on(sets):
    for (scores,) in sets("09.5"):
        z = scores.view(-1, scores.shape[-1]).clone().requires_grad_(True)
        some = (z.detach() > 0).any(1)
        ours, theirs = gate(z), hard_gate(z)
        assert torch.equal(ours[some], theirs[some])
        weights = torch.arange(1.0, z.numel() + 1).view_as(z)
        gradients = [torch.autograd.grad((value * weights).sum(), z)[0] for value in (ours, theirs)]
        torch.testing.assert_close(*gradients)


def test_the_data_of_the_first_case_of_the_curve_is_what_its_words_say():
    w1, w2, inputs, labels, ratios = find("09.1").examples[0]
    assert w1.norm(dim=1).tolist() == [3, 1, 2]
    assert sensitivity_curve(w1, w2, inputs, labels, ratios).tolist() == [1.0, 0.5]
