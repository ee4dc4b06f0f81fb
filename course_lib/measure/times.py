"""The times of one variant in one cadence, session by session, and the ratio of two of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from course_lib.evaluation import Estimate, bootstrap_ratio, ratio_over_sessions

FAR_TAIL_CALLS = 1000
"""Calls below which p99.9 would be the slowest call under another name."""
Rounds = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Times:
    """Single calls of one variant in one cadence.

    Args:
        cadence: its name.
        sessions: session -> round -> ms of each call. A session is a process of its own.
        busy: processor time of the process / wall time during these calls, the lowest of the sessions; None: not known.
        speedup: the reference's latency over this one's, ×; None in the reference.
    """

    cadence: str
    sessions: tuple[Rounds, ...]
    busy: float | None
    speedup: Estimate | None = None

    @cached_property
    def ms(self) -> np.ndarray:
        """All calls in ms, in the order in which they were made."""
        return np.array([ms for rounds in self.sessions for calls in rounds for ms in calls])

    @property
    def rounds(self) -> int:
        """Of all sessions together."""
        return sum(map(len, self.sessions))

    @property
    def p50(self) -> float:
        """Median over all calls, ms."""
        return float(np.percentile(self.ms, 50))

    @property
    def p95(self) -> float:
        """What 5 % of the calls exceed, ms."""
        return float(np.percentile(self.ms, 95))

    @property
    def p999(self) -> float | None:
        """What one call in a thousand exceeds, ms; None with fewer than a thousand calls."""
        return float(np.percentile(self.ms, 99.9)) if len(self.ms) >= FAR_TAIL_CALLS else None

    @property
    def worst(self) -> float:
        """The slowest call that was seen, ms."""
        return float(self.ms.max())


def ratio_of_rounds(reference: ArrayLike, other: ArrayLike, seed: int) -> Estimate:
    """``bootstrap_ratio`` of the rounds' median calls: how many times faster ``other`` is, within one session.

    Args: reference, other: (rounds, calls) ms; rounds are paired.

    >>> round(ratio_of_rounds([[2.0, 4.0, 90.0], [6.0, 6.0, 6.0]], [[2.0, 2.0, 1.0], [3.0, 3.0, 9.0]], seed=0).value, 6)
    2.0
    """
    return bootstrap_ratio(*(np.median(np.asarray(rounds), axis=1) for rounds in (reference, other)), seed=seed)


def ratio_of(reference: Times, other: Times, seed: int) -> Estimate:
    """How many times faster ``other`` is than ``reference``: medians of calls within rounds, rounds within sessions.

    Raises: ValueError: they do not belong together (other cadence, sessions or rounds).

    >>> slow = Times("in turn", (((2.0,), (4.0,), (6.0,)),), busy=1.0)
    >>> fast = Times("in turn", (((1.0,), (2.0,), (3.0,)),), busy=1.0)
    >>> round(ratio_of(slow, fast, seed=0).value, 6)
    2.0
    """
    if reference.cadence != other.cadence or len(reference.sessions) != len(other.sessions):
        raise ValueError(
            f"times of one cadence and the same sessions can be compared, got {reference.cadence!r} in "
            f"{len(reference.sessions)} and {other.cadence!r} in {len(other.sessions)} sessions"
        )
    pairs = zip(reference.sessions, other.sessions, strict=True)
    return ratio_over_sessions([ratio_of_rounds(a, b, seed) for a, b in pairs])
