"""Timing sessions with a known truth: which way of summing up a benchmark finds it?

On a real machine nobody knows the true ratio of two latencies, so no method can be proved right there. Here the truth
is chosen. A call of variant A takes ``truth`` ms and one of B takes 1 ms, times three disturbances that real machines
have:

* drift: the clock slows down steadily, to 1 + drift times the initial time at the end of the session (heat, battery);
* interruptions: with this probability another process gets the core, and the call takes ``SLOW`` times as long;
* noise: every call varies by a few per cent (log-normal, so that no time becomes negative).

Two designs use the same number of calls: *blocks* (all of A, then all of B) and *interleaved* (A, B in each round, in
random order). ``speedup_estimates`` sums both up by means and by medians. Every estimate has its bootstrap interval,
also the wrong ones: an interval tells how much the answer would move if the session were repeated, not whether the
session asked the right question. Real interruptions come in bursts; here they are independent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from course_lib.evaluation import Estimate, bootstrap_ratio

SLOW = 10.0
NOISE = 0.05
RESAMPLES = 500


@dataclass(frozen=True)
class Session:
    """Two variants' calls in one session.

    Args:
        a_ms: times of A's calls, ms, (rounds,).
        b_ms: times of B's calls, ms, (rounds,).
        a_at: when each call of A happened: its place in the order of all 2·rounds calls.
        b_at: when each call of B happened.
    """

    a_ms: np.ndarray
    b_ms: np.ndarray
    a_at: np.ndarray
    b_at: np.ndarray


def simulate_session(
    truth: float, rounds: int, *, drift: float, interruptions: float, interleaved: bool, seed: int
) -> Session:
    """One session in which B is ``truth`` times faster than A.

    Args: truth > 0; rounds ≥ 2: calls of each variant; drift ≥ 0: 0.5 means half as slow again at the end;
        interruptions: probability of a slow call, in [0, 1]; interleaved: A and B in each round, or A's block first.
    Raises: ValueError: an argument outside its range.
    """
    if not truth > 0 or rounds < 2 or drift < 0 or not 0 <= interruptions <= 1:
        raise ValueError(
            f"need truth > 0, rounds ≥ 2, drift ≥ 0, interruptions in [0, 1], "
            f"got {truth}, {rounds}, {drift}, {interruptions}"
        )
    rng = np.random.default_rng(seed)
    if interleaved:
        first = rng.integers(0, 2, rounds)  # who goes first in each round
        a_at, b_at = 2 * np.arange(rounds) + first, 2 * np.arange(rounds) + 1 - first
    else:
        a_at, b_at = np.arange(rounds), rounds + np.arange(rounds)

    def times(base_ms: float, at: np.ndarray) -> np.ndarray:
        clock = 1 + drift * at / (2 * rounds - 1)
        slow = np.where(rng.random(rounds) < interruptions, SLOW, 1.0)
        return base_ms * clock * slow * rng.lognormal(0, NOISE, rounds)

    return Session(times(truth, a_at), times(1.0, b_at), a_at, b_at)


def speedup_estimates(
    truth: float, rounds: int, *, drift: float, interruptions: float, seed: int
) -> dict[str, Estimate]:
    """Four methods on two sessions (blocks, interleaved) with the same disturbances: method -> its answer, in ×.

    Args: as in ``simulate_session``.

    >>> found = speedup_estimates(2.0, 400, drift=0.5, interruptions=0.0, seed=0)
    >>> {method: estimate.includes(2.0) for method, estimate in found.items() if "median" in method}
    {'blocks, ratio of medians': False, "interleaved, median of the rounds' ratios": True}
    """
    common = {"drift": drift, "interruptions": interruptions, "seed": seed}
    blocks = simulate_session(truth, rounds, interleaved=False, **common)
    mixed = simulate_session(truth, rounds, interleaved=True, **common)
    return {
        "blocks, ratio of means": _unpaired(blocks, np.mean, seed),
        "blocks, ratio of medians": _unpaired(blocks, np.median, seed),
        "interleaved, ratio of means": _unpaired(mixed, np.mean, seed),
        "interleaved, median of the rounds' ratios": bootstrap_ratio(mixed.a_ms, mixed.b_ms, seed=seed),
    }


def _unpaired(session: Session, centre: Callable[..., Any], seed: int) -> Estimate:
    """centre(A)/centre(B), and the interval when the calls of A and of B are drawn independently."""
    a, b = session.a_ms, session.b_ms
    draws = np.random.default_rng(seed).integers(0, len(a), size=(2, RESAMPLES, len(a)))
    low, high = np.quantile(centre(a[draws[0]], axis=1) / centre(b[draws[1]], axis=1), [0.025, 0.975])
    return Estimate(float(centre(a) / centre(b)), float(low), float(high), len(a), "×")
