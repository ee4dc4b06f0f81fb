"""The layer that hurts is found, and bits go where they take most noise away for a byte."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from course_lib.errors import CourseError
from course_lib.quantization import sensitivity as sensitivity_module
from course_lib.quantization.graph import Weighted, layer_graph
from course_lib.quantization.sensitivity import Sensitivity, bits_for_budget, in_bits, sensitivity, weight_bytes


def test_noise_falls_with_bits_and_is_that_of_the_one_layer(small):
    images = small.as_images(small.image_bytes(20))
    graph = layer_graph(small.Residual())
    rows = sensitivity(graph, images, [2, 4, 8])
    weighted = [layer for layer in graph.layers if isinstance(layer, Weighted)]
    assert [(row.layer, row.bits) for row in rows] == [(one.name, b) for one in weighted for b in (2, 4, 8)]
    for start in range(0, len(rows), 3):
        noises = [row.noise for row in rows[start : start + 3]]
        assert noises == sorted(noises, reverse=True)
        assert noises[0] > 100 * noises[2]
    row = rows[4]
    changed = graph.changed({row.layer: in_bits(weighted[1], 4)})
    assert row.noise == pytest.approx(float((changed(images) - graph(images)).square().mean()), rel=1e-5)


def test_a_layer_whose_weights_are_codes_already_makes_no_noise(small):
    model = small.Residual()
    with torch.no_grad():
        model.wide.weight.copy_(torch.randint(-7, 8, model.wide.weight.shape).float())
        model.wide.weight[:, 0] = 7.0
    rows = sensitivity(layer_graph(model), small.as_images(small.image_bytes(20)), [4])
    quiet = {row.layer: row.sqnr_db for row in rows}
    assert quiet.pop("wide") == float("inf")
    assert max(quiet.values()) < 200


def test_accuracy_is_given_with_labels(small):
    images = small.as_images(small.image_bytes(50))
    graph = layer_graph(small.Branches())
    labels = graph(images).argmax(1)
    rows = sensitivity(graph, images, [2, 8], labels)
    assert all(row.accuracy is not None for row in rows)
    assert [row.accuracy for row in rows if row.bits == 8] == pytest.approx([1.0] * 5, abs=0.05)
    assert all(row.accuracy is None for row in sensitivity(graph, images, [8]))


def test_bytes_are_codes_and_scales(small):
    layer = next(one for one in layer_graph(small.Branches()).layers if one.name == "first")
    assert isinstance(layer, Weighted)
    assert weight_bytes(layer, 3) == int(np.ceil(8 * 27 * 3 / 8)) + 4 * 8


def random_rows(seed: int, layers: int = 4) -> list[Sensitivity]:
    rng = np.random.default_rng(seed)
    sizes, weights = rng.integers(10, 100, layers), rng.uniform(0.1, 10, layers)
    return [
        Sensitivity(f"layer{i}", bits, float(weights[i] * 4.0 ** (-bits)), 0.0, None, int(sizes[i] * bits))
        for i in range(layers)
        for bits in (2, 3, 4, 8)
    ]


@pytest.mark.parametrize("seed", range(8))
def test_the_choice_fits_and_is_the_best_of_all(seed):
    rows = random_rows(seed)
    table = {(row.layer, row.bits): row for row in rows}
    names = sorted({row.layer for row in rows})
    least, most = (sum(table[name, bits].bytes for name in names) for bits in (2, 8))
    for budget in np.linspace(least, most, 6).astype(int):
        chosen = bits_for_budget(rows, int(budget))
        assert sum(table[item].bytes for item in chosen.items()) <= budget
        noise = sum(table[item].noise for item in chosen.items())
        every = [
            sum(table[name, bits].noise for name, bits in zip(names, combination, strict=True))
            for combination in itertools.product((2, 3, 4, 8), repeat=len(names))
            if sum(table[name, bits].bytes for name, bits in zip(names, combination, strict=True)) <= budget
        ]
        assert noise == pytest.approx(min(every))
    assert set(bits_for_budget(rows, most).values()) == {8}
    assert set(bits_for_budget(rows, least).values()) == {2}


def test_a_step_that_gains_nothing_is_skipped():
    rows = [Sensitivity("a", bits, noise, 0.0, None, bits) for bits, noise in ((2, 9.0), (3, 9.0), (4, 1.0))]
    assert bits_for_budget(rows, 4) == {"a": 4}


def test_bits_that_make_more_noise_are_not_bought():
    rows = [Sensitivity("a", bits, noise, 0.0, None, bits) for bits, noise in ((2, 3.0), (3, 1.0), (4, 2.0))]
    assert bits_for_budget(rows, 100) == {"a": 3}


def test_a_budget_that_cannot_be_met_says_what_can():
    with pytest.raises(CourseError, match=r"take \d+ bytes, more than 5.*allow \d+ bytes"):
        bits_for_budget(random_rows(0), 5)


def test_layers_with_different_bits_are_refused():
    rows = random_rows(0)[:-1]
    for wrong in (rows, []):
        with pytest.raises(ValueError, match="same numbers of bits"):
            bits_for_budget(wrong, 10_000)


def test_no_image_and_bits_out_of_range_are_refused(small):
    graph = layer_graph(small.Branches())
    with pytest.raises(ValueError, match="at least one image"):
        sensitivity(graph, torch.zeros(0, 3, 9, 7), [8])
    with pytest.raises(ValueError, match="bits must be"):
        sensitivity(graph, torch.zeros(1, 3, 9, 7), [1])


def test_a_small_layer_does_not_spend_what_a_large_one_needs():
    told = [("large", 2, 30.0, 200), ("large", 3, 0.3, 300), ("small", 3, 0.5, 30), ("small", 2, 9.0, 20)]
    told += [("small", 4, 0.2, 40), ("large", 4, 0.05, 400)]
    rows = [Sensitivity(name, bits, noise, 0.0, None, size) for name, bits, noise, size in told]
    assert bits_for_budget(rows, 330) == {"large": 3, "small": 3}


def test_thinned_choices_still_fit_and_are_nearly_as_good(monkeypatch):
    rows = random_rows(1)
    budget = sum(row.bytes for row in rows) // 2
    noise = {(row.layer, row.bits): row.noise for row in rows}
    exact = bits_for_budget(rows, budget)
    monkeypatch.setattr(sensitivity_module, "CHOICES", 20)
    thinned = bits_for_budget(rows, budget)
    size = {(row.layer, row.bits): row.bytes for row in rows}
    assert sum(size[item] for item in thinned.items()) <= budget
    sums = [sum(noise[item] for item in chosen.items()) for chosen in (exact, thinned)]
    assert sums[0] <= sums[1] <= 1.5 * sums[0]


def test_a_budget_of_time_is_spent_by_the_measured_times():
    rows = random_rows(1)
    layers = list(dict.fromkeys(row.layer for row in rows))
    times = {(row.layer, row.bits): 0.1 * (1 + layers.index(row.layer)) * (2 if row.bits > 4 else 1) for row in rows}
    noise = {(row.layer, row.bits): row.noise for row in rows}
    options = sorted({row.bits for row in rows})
    budget = 0.1 * sum(range(1, len(layers) + 1)) + 0.1  # the first layer alone may be slow
    chosen = bits_for_budget(rows, budget, times)
    assert sum(times[item] for item in chosen.items()) <= budget * (1 + 1e-9)
    every = [dict(zip(layers, bits, strict=True)) for bits in itertools.product(options, repeat=len(layers))]
    allowed = [bits for bits in every if sum(times[item] for item in bits.items()) <= budget * (1 + 1e-9)]
    best = min(sum(noise[item] for item in bits.items()) for bits in allowed)
    assert sum(noise[item] for item in chosen.items()) == pytest.approx(best)
    assert {layer for layer, bits in chosen.items() if bits > 4} <= {layers[0]}


def test_times_that_cannot_be_used_are_refused():
    rows = [Sensitivity("a", bits, 9.0 - bits, 0.0, None, bits) for bits in (2, 4)]
    with pytest.raises(CourseError, match=r"take 0.25, more than 0.2.*allow 0.25"):
        bits_for_budget(rows, 0.2, {("a", 2): 0.25, ("a", 4): 0.5})
    for wrong in ({("a", 2): 0.25}, {("a", 2): 0.25, ("a", 4): -1.0}, {("a", 2): 0.25, ("a", 4): float("nan")}):
        with pytest.raises(ValueError, match="for a in 4 bits"):
            bits_for_budget(rows, 1.0, wrong)
    assert bits_for_budget(rows, 0, {("a", 2): 0.0, ("a", 4): 0.0}) == {"a": 4}


def test_a_budget_that_is_spent_to_the_last_digit_is_met():
    rows = [Sensitivity(name, bits, 9.0 - bits, 0.0, None, bits) for name in "abc" for bits in (2, 4)]
    times = {(row.layer, row.bits): 0.1 if row.bits == 4 else 0.05 for row in rows}
    assert 0.1 + 0.1 + 0.1 > 0.3
    assert bits_for_budget(rows, 0.3, times) == {"a": 4, "b": 4, "c": 4}
