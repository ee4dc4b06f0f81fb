"""A budget in milliseconds: greedy by a table of the layers' times, corrected by the clock.

The sum of the layers' times is not the network's: off by a factor, and by calls and small operators that no pruning
removes. Both hardly change from one step of the greedy path to the next. So networks on the path are really cut and
timed. The whole network is too slow, the smallest one fast enough; between two such places the secant through the
measured times (regula falsi; every third place is the middle, lest one end never move) says where on the path the
target should lie, until a measured time hits it.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from course_lib.pruning.allocation import greedy_path
from course_lib.pruning.costs import example_shape
from course_lib.pruning.cutting import cut
from course_lib.pruning.groups import DependencyGraph
from course_lib.pruning.layer_latency import LatencyTable, Measure, timed


@dataclass(frozen=True)
class LatencyAllocation:
    """An allocation whose cut network hits a target on the clock.

    Args:
        counts: a group's name → how many channels it keeps.
        predicted_ms: by the table.
        measured_ms: of the network that was really cut.
        whole_ms: measured, before any cut.
        tried: (predicted, measured) ms of every network that was timed, in that order, the whole one first.
    """

    counts: dict[str, int]
    predicted_ms: float
    measured_ms: float
    whole_ms: float
    tried: tuple[tuple[float, float], ...]


def latency_allocation(
    model: nn.Module,
    graph: DependencyGraph,
    losses: Mapping[str, Tensor],
    table: LatencyTable,
    measure: Measure,
    target_ms: float,
    *,
    tolerance: float = 0.1,
    multiple: int = 1,
    most: int = 10,
) -> LatencyAllocation:
    """Walk down the greedy path until the network that is really cut takes ``target_ms``, by the clock.

    Args:
        model, graph: the network, which stays as it is, and its graph.
        losses: as for ``greedy_allocation``.
        table: guides the greedy rule; its ranking says which channels stay.
        measure: times whole networks; it gets cut copies.
        target_ms: > 0. A network that is faster already is left whole.
        tolerance: the target is hit if the measured time differs from it by at most this fraction, in (0, 1).
        multiple: a group that loses channels keeps a multiple of it.
        most: networks that are timed, at the most; at least 2.
    Raises: ValueError: an argument is out of range, a time is not positive and finite, or the target cannot be hit; the
        message then says which times can.
    """
    _check(target_ms, tolerance, most)
    path = list(greedy_path(table.ranking, table, losses, multiple=multiple))
    predicted = [table(counts) for counts in path]
    measured: dict[int, float] = {}
    place, ends = 0, (0, len(path) - 1)
    while True:
        small = cut(model, graph, table.ranking.keep(path[place]))
        ms = measured[place] = timed(measure, small, example_shape(graph))
        if abs(ms - target_ms) <= tolerance * target_ms or (place == 0 and ms < target_ms):
            tried = tuple((predicted[at], time) for at, time in measured.items())
            return LatencyAllocation(path[place], predicted[place], ms, measured[0], tried)
        ends = (place, ends[1]) if ms > target_ms else (ends[0], place)
        place = _following(ends, predicted, measured, target_ms, most)


def _following(
    ends: tuple[int, int], predicted: Sequence[float], measured: Mapping[int, float], target: float, most: int
) -> int:
    """The place to time next: the fast end, then places strictly between the ends.

    Raises: ValueError: there is none, or enough have been timed.
    """
    slow, fast = ends
    if slow == len(predicted) - 1:
        raise ValueError(f"target_ms {target} cannot be met: the least that can be reached is {measured[slow]:.4g} ms")
    if len(measured) == 1:
        return fast
    if fast - slow < 2 or len(measured) >= most:
        nearest = f"{measured[slow]:.4g} and {measured[fast]:.4g}"
        raise ValueError(f"target_ms {target} was not hit within the tolerance: the nearest are {nearest} ms")
    if len(measured) % 3 == 1:
        return (slow + fast) // 2
    share = (measured[slow] - target) / (measured[slow] - measured[fast])
    wanted = predicted[slow] + share * (predicted[fast] - predicted[slow])
    place = bisect.bisect_left(predicted, -wanted, key=lambda ms: -ms)  # predicted falls
    return min(max(place, slow + 1), fast - 1)


def _check(target_ms: float, tolerance: float, most: int) -> None:
    if not (0 < target_ms < math.inf and 0 < tolerance < 1 and most >= 2):
        raise ValueError(
            f"target_ms must be > 0, tolerance in (0, 1) and most ≥ 2, got {target_ms}, {tolerance} and {most}"
        )
