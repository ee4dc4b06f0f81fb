"""16.4: a queue with one server: how long does each image wait?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from course_lib.exercises.engine.exercise import Exercise
from course_lib.measure.serving import waiting_times as librarys

Question = tuple[list[float], list[float]]

ex = Exercise(
    "16.4",
    "Waiting in line",
    points=3,
    hints=[
        "Keep one number: the moment at which the server is free again. It starts before the first arrival.",
        "begin = max(arrival, free); wait = begin − arrival; free = begin + service.",
    ],
    explanation="""
        One line of state is the whole queue: begin = max(arrival, free). It is Lindley's recursion. Feed it with the
        times that you measured, not with their median: what makes others wait is the slow calls.
    """,
)


@ex.reference
def waiting_times(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    """How long each image waits before its own computation begins.

    Image i arrives at ``arrivals[i]`` (ascending, equal ones allowed, the first at any moment) and takes
    ``services[i]`` ≥ 0, in the same unit. One server, free at first, computes one image at a time, in the order of the
    lists, and begins as soon as image and server are there.
    """
    return librarys(arrivals, services).tolist()


@ex.solution
def in_full(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    """How long each image waits before its own computation begins."""
    waits, free = [], float("-inf")
    for arrival, service in zip(arrivals, services, strict=True):
        begin = max(arrival, free)
        waits.append(begin - arrival)
        free = begin + service
    return waits


@ex.case("by hand: 3 ms each; the second waits 2, the third 4, and the fourth comes when all are done")
def by_hand() -> Question:
    return [0.0, 1.0, 2.0, 12.0], [3.0, 3.0, 3.0, 3.0]


@ex.case("services that differ: it counts who is in front")
def different() -> Question:
    return [0.0, 2.0, 3.0, 4.0, 30.0, 31.0], [1.0, 8.0, 0.5, 2.0, 4.0, 1.0]


@ex.case("one slow call is felt by those behind it, until the line is empty")
def slow_call() -> Question:
    return [0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0], [2.0, 11.0, 2.0, 2.0, 2.0, 2.0, 2.0]


@ex.case("three arrive together")
def together() -> Question:
    return [5.0, 5.0, 5.0, 6.5], [1.0, 2.0, 1.5, 1.0]


@ex.case("moments before 0: the server was free already")
def before_zero() -> Question:
    return [-7.0, -6.5, -1.0], [1.0, 2.0, 1.0]


@ex.case("nobody waits")
def idle() -> Question:
    return [1.0, 4.0, 9.0], [3.0, 2.0, 7.0]


@ex.case("a computation that takes no time")
def nothing() -> Question:
    return [0.0, 1.0, 1.0, 1.5], [2.0, 0.0, 3.0, 0.0]


@ex.inputs
def random_queue(rng: np.random.Generator) -> Question:
    count = int(rng.integers(4, 7))
    arrivals = np.cumsum(rng.exponential(2, count)).round(1)
    services = rng.uniform(0.3, 4, count).round(1)
    return [round(float(t), 1) for t in arrivals], [round(float(t), 1) for t in services]


@ex.mistake("You gave the time from arrival to answer. Asked is the wait before the computation begins.")
def with_own_service(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    return [w + s for w, s in zip(waiting_times(arrivals, services), services, strict=True)]


@ex.mistake("You gave the moments at which the computations begin. Subtract the arrivals.")
def begins(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    return [w + a for w, a in zip(waiting_times(arrivals, services), arrivals, strict=True)]


@ex.mistake("An image waits for the one in front in your answer, but not for those that this one waits for.")
def one_in_front(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    ends = [a + s for a, s in zip(arrivals, services, strict=True)]
    return [0.0, *(max(0.0, end - a) for end, a in zip(ends, arrivals[1:], strict=False))]


@ex.mistake("Your waits become negative: a server that has been free for a while saves nothing for later.")
def negative(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    waits = [0.0]
    for n in range(1, len(arrivals)):
        waits.append(waits[-1] + services[n - 1] - (arrivals[n] - arrivals[n - 1]))
    return waits


@ex.mistake("Your server never idles: it works through all services as if the images had been there from the start.")
def never_idle(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    free = arrivals[0] + np.concatenate([[0.0], np.cumsum(services)[:-1]])
    return np.maximum(0.0, free - np.asarray(arrivals)).tolist()


@ex.mistake("You used each image's own service for the wait. It waits for the services in front of it.")
def own_service(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    waits = [0.0]
    for n in range(1, len(arrivals)):
        waits.append(max(0.0, waits[-1] + services[n] - (arrivals[n] - arrivals[n - 1])))
    return waits


@ex.mistake("Your server is free at moment 0, and images can come before. It is free at first, whenever that is.")
def free_from_zero(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    waits, free = [], 0.0
    for arrival, service in zip(arrivals, services, strict=True):
        begin = max(arrival, free)
        waits.append(begin - arrival)
        free = begin + service
    return waits


@ex.mistake("Nobody ever waits in your answer, as if each image had a server of its own.")
def many_servers(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    return [0.0] * len(arrivals)


@ex.mistake("All images take the mean time in your answer. Then the slow calls, which make others wait, are gone.")
def mean_service(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    return waiting_times(arrivals, [float(np.mean(services))] * len(services))


@ex.mistake("All images take the median time in your answer. Then the slow calls, which make others wait, are gone.")
def median_service(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    return waiting_times(arrivals, [float(np.median(services))] * len(services))


@ex.mistake("Your server is free again one service after the *arrival*. It is one service after the *beginning*.")
def free_after_arrival(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    waits, free = [], float("-inf")
    for arrival, service in zip(arrivals, services, strict=True):
        waits.append(max(0.0, free - arrival))
        free = max(free, arrival + service)
    return waits


@ex.mistake("You gave one number. Asked is the wait of each image.")
def mean_wait(arrivals: Sequence[float], services: Sequence[float]) -> float:
    return float(np.mean(waiting_times(arrivals, services)))


@ex.mistake("You subtracted the other way round: wait = begin − arrival.")
def sign(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    return [-w for w in waiting_times(arrivals, services)]


@ex.mistake("The list begins with the second image: the first one waits, too, namely 0.")
def first_missing(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    return waiting_times(arrivals, services)[1:]


@ex.alternative
def lindley(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    waits = [0.0]
    for n in range(1, len(arrivals)):
        waits.append(max(0.0, waits[-1] + services[n - 1] - (arrivals[n] - arrivals[n - 1])))
    return waits


@ex.alternative
def in_closed_form(arrivals: Sequence[float], services: Sequence[float]) -> np.ndarray:
    moments = np.array(arrivals)
    before = np.concatenate([[0.0], np.cumsum(services)[:-1]])
    return np.maximum.accumulate(moments - before) + before - moments


@ex.alternative
def by_ends(arrivals: Sequence[float], services: Sequence[float]) -> list[float]:
    ends: list[float] = []
    for arrival, service in zip(arrivals, services, strict=True):
        ends.append((arrival if not ends else max(arrival, ends[-1])) + service)
    return [end - service - arrival for end, service, arrival in zip(ends, services, arrivals, strict=True)]
