"""Chapter 12's exercises ask for what calibration must give, and agree with the library."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from course_lib.exercises.chapter_12 import (
    add_to_histogram,
    best_bits,
    best_rounding,
    corrected_bias,
    equalized,
    shape_divergence,
)
from course_lib.exercises.engine.registry import find
from course_lib.quantization.equalization import equalize
from course_lib.quantization.graph import Convolution, LayerGraph
from course_lib.quantization.histogram import Histogram
from course_lib.quantization.sensitivity import Sensitivity, bits_for_budget


def test_the_histogram_is_the_librarys_whatever_the_batches():
    rng = np.random.default_rng(0)
    values = rng.exponential(3.0, 60).astype(np.float32).astype(float)
    for size in (1, 7, 60):
        counts, width = np.zeros(8, np.int64), 0.125
        for start in range(0, len(values), size):
            counts, width = add_to_histogram.add_to_histogram(counts, width, values[start : start + size])
        histogram = Histogram(16)
        histogram.update(torch.tensor(values))
        assert width == histogram.width
        assert counts.tolist() == histogram.counts[8:].tolist()


def test_the_histogram_counts_every_value_and_doubles_no_oftener_than_needed(sets):
    for counts, width, values in sets("12.1"):
        found, wider = add_to_histogram.add_to_histogram(counts, width, values)
        assert found.sum() == counts.sum() + len(values)
        assert found.dtype == np.int64
        assert np.max(values, initial=0.0) < len(counts) * wider
        assert wider == width or np.max(values) >= len(counts) * wider / 2


def test_the_divergence_of_the_page_and_one_that_is_0(sets):
    by_hand = shape_divergence.shape_divergence(np.array([6, 2, 0, 4, 1, 3]), 4, 2)
    assert by_hand == pytest.approx(6 / 16 * math.log(18 / 16) + 2 / 16 * math.log(6 / 16) + math.log(1.5) / 2)
    assert shape_divergence.shape_divergence(np.array([5, 3, 2, 0]), 4, 4) == 0
    for question in sets("12.2"):
        assert shape_divergence.shape_divergence(*question) >= 0


def test_equalized_layers_compute_the_same_and_have_equal_ranges(sets):
    for first, bias, second in sets("12.3"):
        new = equalized.equalized(first, bias, second)
        outputs = []
        for one, shift, other in ((first, bias, second), new):
            x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, first.shape[1], 6, 6)))
            hidden = torch.nn.functional.conv2d(x, torch.from_numpy(one), torch.from_numpy(shift)).relu()
            outputs.append(torch.nn.functional.conv2d(hidden, torch.from_numpy(other)))
        torch.testing.assert_close(*outputs)
        r1, r2 = np.abs(new[0]).max((1, 2, 3)), np.abs(new[2]).max((0, 2, 3))
        alive = (np.abs(first).max((1, 2, 3)) > 0) & (np.abs(second).max((0, 2, 3)) > 0)
        assert np.allclose(r1[alive], r2[alive])


def test_equalized_is_the_librarys_on_one_pair():
    first, bias, second = find("12.3").cases[2].make()
    kind = {"stride": (1, 1), "padding": (1, 1), "groups": 1}
    parts = [torch.from_numpy(np.asarray(part)).float() for part in (first, bias, second)]
    graph = LayerGraph(
        (
            Convolution("one", ("images",), parts[0], parts[1], True, **kind),
            Convolution("two", ("one",), parts[2], torch.zeros(3), False, **kind),
        )
    )
    one, two = equalize(graph, rounds=1).layers
    assert isinstance(one, Convolution)
    assert isinstance(two, Convolution)
    expected = equalized.equalized(np.asarray(first), np.asarray(bias), np.asarray(second))
    for got, wanted in zip((one.weight, one.bias, two.weight), expected, strict=True):
        torch.testing.assert_close(got, torch.from_numpy(wanted).float())


def test_a_corrected_bias_gives_the_sums_their_mean_back(sets):
    for bias, weight, restored, x in sets("12.4"):
        new = corrected_bias.corrected_bias(bias, weight, restored, x)
        wanted = np.einsum("dc,nchw->ndhw", weight, x).mean((0, 2, 3)) + bias
        got = np.einsum("dc,nchw->ndhw", restored, x).mean((0, 2, 3)) + new
        assert np.allclose(got, wanted)


def test_no_rounding_is_better_and_the_best_one_is_alone(sets):
    for weights, scale, x in sets("12.5"):
        codes = best_rounding.best_rounding(weights, scale, x)
        below = np.floor(weights / scale)
        assert set(codes - below) <= {0, 1}
        costs = sorted(
            np.mean((x @ (scale * (below + np.array(up)) - weights)) ** 2)
            for up in itertools.product((0, 1), repeat=len(weights))
        )
        assert np.mean((x @ (scale * codes - weights)) ** 2) == pytest.approx(costs[0])
        assert costs[1] > costs[0] * (1 + 1e-4)


def test_the_bits_are_the_librarys(sets):
    for noise, sizes, budget in sets("12.6", draws=40):
        rows = [
            Sensitivity(f"layer {i}", k, float(noise[i, k]), 0.0, None, int(sizes[i, k]))
            for i, k in np.ndindex(*noise.shape)
        ]
        assert best_bits.best_bits(noise, sizes, budget) == list(bits_for_budget(rows, budget).values())


def test_one_choice_alone_has_the_least_noise(sets):
    for noise, sizes, budget in sets("12.6", draws=40):
        fitting = sorted(
            sum(noise[i, k] for i, k in enumerate(choice))
            for choice in itertools.product(range(noise.shape[1]), repeat=len(noise))
            if sum(sizes[i, k] for i, k in enumerate(choice)) <= budget
        )
        assert fitting[:1] == fitting or fitting[1] > fitting[0] + 1e-6
