"""Sensitivity curves: the scores of networks that are really cut, cached by all that decides them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.data import SignDataset
from course_lib.evaluation import model_accuracy
from course_lib.measure.counting import count_parameters
from course_lib.models import SignStudent, sign_student
from course_lib.pruning import cut, dependency_graph, norms
from course_lib.pruning.importance import noise
from course_lib.pruning.ranking import Ranking, rank_channels
from course_lib.pruning.sensitivities import Sensitivity, SensitivityCurve, cached_sensitivity, sensitivity

IMAGES = torch.zeros(1, 3, 32, 32)


@pytest.fixture
def model() -> SignStudent:
    torch.manual_seed(0)
    return sign_student(0.5, num_classes=5)


BY_NORM = norms(2)


def ranked(model: nn.Module, importance=BY_NORM):
    graph = dependency_graph(model, IMAGES)
    return graph, rank_channels(model, graph, importance)


def size_score(network: nn.Module) -> float:
    return float(count_parameters(network))


def test_each_score_is_that_of_the_network_cut_in_one_group(model):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 3, 32, 32), dtype=np.uint8)
    signs = SignDataset(images, rng.integers(0, 5, 40), num_classes=5)
    graph, ranking = ranked(model)
    found = sensitivity(model, graph, ranking, [0.25, 0.75], lambda net: model_accuracy(net, signs))
    assert found.whole == model_accuracy(model, signs)
    assert [curve.group for curve in found.curves] == list(ranking.orders)
    for curve in found.curves:
        assert curve.counts == (curve.size * 3 // 4, curve.size // 4)
        for count, score in zip(curve.counts, curve.scores, strict=True):
            small = cut(model, graph, ranking.keep({curve.group: count}))
            assert score == model_accuracy(small, signs)


def test_ratios_with_one_count_are_scored_once_and_zero_is_the_whole_network(model):
    calls = []

    def score(network: nn.Module) -> float:
        calls.append(network)
        return size_score(network)

    graph, ranking = ranked(model)
    ranking = Ranking({"features.0.0": ranking.orders["features.0.0"]}, ranking.scores, ranking.least)
    found = sensitivity(model, graph, ranking, [0.0, 0.01, 0.5, 0.51, 0.99], score)
    assert found.curves[0].counts == (8, 8, 4, 4, 1)
    assert len(calls) == 3  # whole, 4, 1
    assert found.curves[0].scores[:2] == (found.whole, found.whole)


def test_the_score_may_ruin_its_copy_and_the_network_stays(model):
    def ruin(network: nn.Module) -> float:
        with torch.no_grad():
            for tensor in network.state_dict().values():
                tensor.zero_()
        network.eval()
        return 0.5

    model.train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    graph, ranking = ranked(model)
    sensitivity(model, graph, ranking, [0.5], ruin)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())


def test_losses_go_straight_between_what_was_measured():
    curve = SensitivityCurve("a", 10, (0.2, 0.6), (8, 4), (0.8, 0.5))
    losses = Sensitivity(0.9, (curve,)).losses()["a"]
    assert losses.shape == (11,)
    assert losses[[10, 9, 8, 6, 4, 2, 0]].tolist() == pytest.approx([0, 0.05, 0.1, 0.25, 0.4, 0.4, 0.4])


@pytest.mark.parametrize("ratios", [[], [1.0], [-0.1], [math.nan], [0.5, 1.5]])
def test_ratios_out_of_range_are_refused(model, ratios):
    graph, ranking = ranked(model)
    with pytest.raises(ValueError, match=r"at least one number in \[0, 1\)"):
        sensitivity(model, graph, ranking, ratios, size_score)


@pytest.mark.parametrize("ratios", [[0.5, 0.25], [0.5, 0.5]])
def test_ratios_that_do_not_ascend_are_refused(model, ratios):
    graph, ranking = ranked(model)
    with pytest.raises(ValueError, match="ratios must be ascending"):
        sensitivity(model, graph, ranking, ratios, size_score)


def test_a_score_that_is_not_finite_is_refused_with_its_place(model):
    graph, ranking = ranked(model)
    with pytest.raises(ValueError, match="must be finite, got nan for the whole network"):
        sensitivity(model, graph, ranking, [0.5], lambda _: math.nan)
    scores = itertools.chain([1.0, 0.5], itertools.repeat(math.inf))
    with pytest.raises(ValueError, match=r"must be finite, got inf for 'features\.1\.0' with 8 of 16 channels"):
        sensitivity(model, graph, ranking, [0.5], lambda _: next(scores))


def test_the_cache_gives_the_same_and_scores_nothing_again(model, tmp_path):
    graph, ranking = ranked(model)
    options = {"measured": "parameters", "root": tmp_path}
    first = cached_sensitivity(model, graph, ranking, [0.3, 0.5], size_score, **options)
    assert first == sensitivity(model, graph, ranking, [0.3, 0.5], size_score)

    def never(_: nn.Module) -> float:
        raise AssertionError("measured again")

    assert cached_sensitivity(model, graph, ranking, [0.3, 0.5], never, **options) == first


def test_another_network_order_ratio_or_measure_is_another_entry(model, tmp_path):
    graph, ranking = ranked(model)
    calls = []

    def count(network: nn.Module) -> float:
        calls.append(1)
        return size_score(network)

    def measured_anew(net, ranking=ranking, ratios=(0.5,), measured="parameters") -> bool:
        calls.clear()
        cached_sensitivity(net, graph, ranking, ratios, count, measured=measured, root=tmp_path)
        return bool(calls)

    assert measured_anew(model)
    assert not measured_anew(model)
    assert measured_anew(model, ratios=(0.25,))
    assert measured_anew(model, measured="parameters, counted otherwise")
    assert measured_anew(model, ranking=ranked(model, noise(1))[1])
    with torch.no_grad():
        model.features[3][1].running_mean[0] += 1e-3
    assert measured_anew(model)


def test_a_failed_measurement_leaves_no_entry(model, tmp_path):
    graph, ranking = ranked(model)
    with pytest.raises(ValueError, match="finite"):
        cached_sensitivity(model, graph, ranking, [0.5], lambda _: math.nan, measured="nan", root=tmp_path)
    assert not list(tmp_path.rglob("curves.json"))


def test_a_bar_is_shown_only_when_asked(model, capsys):
    graph, ranking = ranked(model)
    sensitivity(model, graph, ranking, [0.5], size_score)
    assert capsys.readouterr() == ("", "")
    sensitivity(model, graph, ranking, [0.5], size_score, progress=True)
    assert "/5 [" in capsys.readouterr().err
