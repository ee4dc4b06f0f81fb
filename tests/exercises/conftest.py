"""What the tests of the chapters' exercises share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from course_lib.exercises.engine.registry import find


@pytest.fixture(scope="session")
def sets() -> Callable[..., list]:
    """sets(id, draws=20): the arguments of an exercise's fixed cases, then those of the draws of seeds 0, 1, …"""

    def arguments(id: str, draws: int = 20) -> list:
        exercise = find(id)
        assert exercise.inputs_fn is not None
        return exercise.examples + [exercise.inputs_fn(np.random.default_rng(seed)) for seed in range(draws)]

    return arguments
