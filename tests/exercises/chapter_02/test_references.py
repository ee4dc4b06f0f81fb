"""What chapter 02's solutions write out is what the library computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from course_lib.evaluation import expected_calibration_error, leak_fraction, recall_matrix, track_standard_error
from course_lib.exercises.engine.registry import find


def arguments_of(id: str, draws: int = 20) -> list:
    """All fixed cases of an exercise, and some draws."""
    exercise, rng = find(id), np.random.default_rng(0)
    assert exercise.inputs_fn is not None
    return [*exercise.examples, *(exercise.inputs_fn(rng) for _ in range(draws))]


@pytest.mark.parametrize(("train", "test"), arguments_of("02.1"))
def test_leak_is_the_library_s(train, test):
    assert find("02.1").reference_fn(train, test) == pytest.approx(leak_fraction(train, test), abs=1e-12)


@pytest.mark.parametrize("total_steps", [7, 33, 60, 105])
def test_one_cycle_is_torch_s_at_every_step(total_steps):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = OneCycleLR(optimizer, 0.5, total_steps=total_steps, pct_start=0.2, cycle_momentum=False)
    for step in range(total_steps):
        wanted = optimizer.param_groups[0]["lr"]
        assert find("02.2").reference_fn(step, total_steps, 0.5) == pytest.approx(wanted, rel=1e-9)
        optimizer.step()
        if step < total_steps - 1:
            scheduler.step()


@pytest.mark.parametrize(("right", "groups"), arguments_of("02.3"))
def test_track_error_is_the_library_s(right, groups):
    assert find("02.3").reference_fn(right, groups) == pytest.approx(track_standard_error(right, groups), abs=1e-12)


@pytest.mark.parametrize(("labels", "predictions", "classes"), arguments_of("02.4"))
def test_recalls_are_the_library_s(labels, predictions, classes):
    np.testing.assert_allclose(
        find("02.4").reference_fn(labels, predictions, classes), recall_matrix(labels, predictions, classes), atol=1e-12
    )


@pytest.mark.parametrize(("probabilities", "labels", "bins"), arguments_of("02.5"))
def test_calibration_error_is_the_library_s(probabilities, labels, bins):
    wanted = expected_calibration_error(probabilities, labels, bins).ece
    assert find("02.5").reference_fn(probabilities, labels, bins) == pytest.approx(wanted, abs=1e-12)
