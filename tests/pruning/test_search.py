"""The search meets its budget in every trial, repeats by its seed, and gives bad trials up."""

from __future__ import annotations

import math
import sys

import pytest
import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.measure.counting import total_macs
from course_lib.models import SignStudent
from course_lib.pruning import cut, dependency_graph, norms
from course_lib.pruning.allocation import uniform_allocation
from course_lib.pruning.costs import predicted_macs
from course_lib.pruning.ranking import rank_channels
from course_lib.pruning.search import WARM_UP, search_allocation

SHAPE = (1, 3, 32, 32)


@pytest.fixture(scope="module")
def prepared():
    torch.manual_seed(0)
    model = SignStudent(num_classes=5, channels=(12, 16, 16), strides=(2, 2, 2)).eval()
    graph = dependency_graph(model, torch.zeros(SHAPE))
    ranking = rank_channels(model, graph, norms(2))
    return model, graph, ranking, predicted_macs(model, graph, ranking)


def last_layer(network: nn.Module) -> float:
    """A score that only the last group decides: the uniform rule is not its best."""
    assert isinstance(network, SignStudent)
    return network.classifier.in_features / 16


def test_every_trial_meets_the_budget_and_the_best_is_not_worse_than_uniform(prepared):
    model, graph, ranking, macs = prepared
    found = search_allocation(model, graph, ranking, macs, 0.4, [last_layer] * 2, trials=25, seed=0)
    assert [trial.number for trial in found.trials] == list(range(25))
    for trial in found.trials:
        assert trial.cost == macs(trial.counts) <= 0.4 * macs({})
        assert trial.cost == total_macs(cut(model, graph, ranking.keep(trial.counts)), SHAPE)
    uniform = uniform_allocation(ranking, macs, 0.4)
    assert found.trials[0].counts == uniform
    assert found.best.score == max(trial.score for trial in found.trials if not trial.given_up)
    assert found.best.counts["features.2.0"] > uniform["features.2.0"]


def test_a_seed_decides_the_history(prepared):
    model, graph, ranking, macs = prepared

    def run(seed: int):
        return search_allocation(model, graph, ranking, macs, 0.5, [last_layer] * 3, trials=14, seed=seed)

    first = run(3)
    assert run(3) == first
    assert run(4).trials[1:] != first.trials[1:]


def test_trials_below_the_median_are_given_up_and_never_the_best(prepared):
    model, graph, ranking, macs = prepared
    seen: list[int] = []

    def part(network: nn.Module) -> float:
        seen.append(1)
        return last_layer(network)

    found = search_allocation(model, graph, ranking, macs, 0.4, [part] * 4, trials=30, seed=0)
    stopped = [trial for trial in found.trials if trial.given_up]
    assert stopped
    assert min(trial.number for trial in stopped) >= WARM_UP
    assert all(len(trial.scores) < 4 for trial in stopped)
    assert all(len(trial.scores) == 4 for trial in found.trials if not trial.given_up)
    assert len(seen) == sum(len(trial.scores) for trial in found.trials) < 4 * 30
    whole = [trial.score for trial in found.trials if not trial.given_up and trial.number < stopped[0].number]
    assert stopped[0].score < sorted(whole)[len(whole) // 2]
    assert not found.best.given_up


def test_a_good_start_on_one_part_does_not_win(prepared):
    model, graph, ranking, macs = prepared
    trials = []

    def first(network: nn.Module) -> float:
        trials.append(1)
        return 1.0 if len(trials) == 8 else 0.5 + 0.001 * len(trials)

    def second(_: nn.Module) -> float:
        return 0.0 if len(trials) == 8 else 0.6

    found = search_allocation(model, graph, ranking, macs, 0.5, [first, second], trials=12, seed=0)
    assert found.trials[7].scores == (1.0, 0.0)
    assert found.best.score == pytest.approx((0.5 + 0.012 + 0.6) / 2)
    assert found.best.number == 11


def test_equal_scores_keep_the_first_trial_which_is_uniform(prepared):
    model, graph, ranking, macs = prepared
    found = search_allocation(model, graph, ranking, macs, 0.5, [lambda _: 0.5], trials=7, seed=0, multiple=4)
    assert found.best.number == 0
    assert found.best.counts == uniform_allocation(ranking, macs, 0.5, multiple=4)
    assert all(count % 4 == 0 for trial in found.trials for count in trial.counts.values())


def test_what_is_wrong_is_refused(prepared):
    model, graph, ranking, macs = prepared
    calls = []

    def score(network: nn.Module) -> float:
        calls.append(1)
        return 0.5

    with pytest.raises(ValueError, match=r"budget 0\.001 cannot be met: the least that can be reached is 0\.0"):
        search_allocation(model, graph, ranking, macs, 0.001, [score], trials=3, seed=0)
    with pytest.raises(ValueError, match=r"budget must be in \(0, 1\]"):
        search_allocation(model, graph, ranking, macs, 1.5, [score], trials=3, seed=0)
    assert not calls
    with pytest.raises(ValueError, match="a score must be finite, got nan on part 1"):
        search_allocation(model, graph, ranking, macs, 0.5, [score, lambda _: math.nan], trials=3, seed=0)
    for parts, trials in (([], 3), ([score], 0)):
        with pytest.raises(ValueError, match="parts and trials must be at least 1"):
            search_allocation(model, graph, ranking, macs, 0.5, parts, trials=trials, seed=0)


def test_nothing_is_printed_and_optunas_own_verbosity_stays(prepared, capsys):
    import optuna

    model, graph, ranking, macs = prepared
    before = optuna.logging.get_verbosity()
    search_allocation(model, graph, ranking, macs, 0.5, [last_layer], trials=3, seed=0)
    assert capsys.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


def test_without_optuna_the_error_says_how_to_get_it(prepared, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    model, graph, ranking, macs = prepared
    with pytest.raises(CourseError, match=r'Optuna is not installed. Mend: pip install -e "\.\[search\]"'):
        search_allocation(model, graph, ranking, macs, 0.5, [last_layer], trials=3, seed=0)


def test_importing_the_room_does_not_import_optuna(run_python):
    assert run_python("import sys, course_lib.pruning; assert 'optuna' not in sys.modules").returncode == 0
