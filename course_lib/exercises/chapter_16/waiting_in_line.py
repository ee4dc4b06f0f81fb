"""16.4: one line, several servers: how long does each image wait?"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[list[float], list[float], int]

ex = Exercise(
    "16.4",
    "One line, several servers",
    points=3,
    hints=[
        "Keep one number for each server: the moment at which it is free again. All start before the first arrival.",
        "The server that is free first is min(free). begin = max(arrival, min(free)); wait = begin − arrival; that "
        "server is free again at begin + service.",
    ],
    explanation="""
        Two servers in front of one line beat two lines: nobody stands behind a slow image while the other server is
        idle. And one server that is twice as fast beats both for the *answer*, though not for the wait: a single
        image never uses the second server. Threads make one server faster, processes make more servers.
    """,
)


@ex.reference
def waits_at_servers(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    """How long each image waits before its own computation begins, as a list.

    Image i arrives at ``arrivals[i]`` (ascending, equal ones allowed, the first at any moment) and takes
    ``services[i]`` ≥ 0, in the same unit, on any of ``servers`` ≥ 1 equal servers, all free at first. Images begin in
    the order of the lists, each as soon as it is there and a server is free.
    """
    waits, free = [], [float("-inf")] * servers
    for arrival, service in zip(arrivals, services, strict=True):
        begin = max(arrival, min(free))
        waits.append(begin - arrival)
        free[free.index(min(free))] = begin + service
    return waits


@ex.case("by hand, one server: 3 ms each; the second waits 2, the third 4, and the fourth comes when all are done")
def by_hand() -> Question:
    return [0.0, 1.0, 2.0, 12.0], [3.0, 3.0, 3.0, 3.0], 1


@ex.case("the same with two servers: the third waits for the first")
def two_servers() -> Question:
    return [0.0, 1.0, 2.0, 12.0], [3.0, 3.0, 3.0, 3.0], 2


@ex.case("services that differ: an image goes to the server that is free first, not to each in turn")
def different() -> Question:
    return [0.0, 1.0, 2.0, 3.0, 4.0, 30.0], [20.0, 1.0, 4.0, 2.0, 3.0, 1.0], 2


@ex.case("one slow call is felt by those behind it, until the line is empty")
def slow_call() -> Question:
    return [0.0, 4.0, 8.0, 12.0, 16.0, 20.0, 24.0], [2.0, 11.0, 2.0, 2.0, 2.0, 2.0, 2.0], 1


@ex.case("five arrive together at three servers")
def together() -> Question:
    return [5.0, 5.0, 5.0, 5.0, 5.0, 6.5], [1.0, 2.0, 1.5, 1.0, 4.0, 1.0], 3


@ex.case("moments before 0: the servers were free already")
def before_zero() -> Question:
    return [-7.0, -6.5, -6.4, -1.0], [1.0, 2.0, 3.0, 1.0], 2


@ex.case("more servers than images: nobody waits")
def idle() -> Question:
    return [1.0, 1.5, 2.0], [3.0, 2.0, 7.0], 5


@ex.case("computations that take no time")
def nothing() -> Question:
    return [0.0, 1.0, 1.0, 1.5, 1.5], [2.0, 0.0, 3.0, 0.0, 1.0], 1


@ex.inputs
def random_queue(rng: np.random.Generator) -> Question:
    servers = int(rng.integers(1, 4))
    count = int(rng.integers(5, 9))
    arrivals = np.cumsum(rng.exponential(2 / servers, count)).round(1)
    services = rng.lognormal(0.6, 0.8, count).round(1)
    return [round(float(t), 1) for t in arrivals], [round(float(t), 1) for t in services], servers


@ex.mistake("You gave the time from arrival to answer. Asked is the wait before the computation begins.")
def with_own_service(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    return [w + s for w, s in zip(waits_at_servers(arrivals, services, servers), services, strict=True)]


@ex.mistake("You gave the moments at which the computations begin. Subtract the arrivals.")
def begins(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    return [w + a for w, a in zip(waits_at_servers(arrivals, services, servers), arrivals, strict=True)]


@ex.mistake("You used one server, however many there are.")
def one_server(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    return waits_at_servers(arrivals, services, 1)


@ex.mistake("You made one server that is as fast as all together. A second server makes no single image faster.")
def faster_server(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    return waits_at_servers(arrivals, [service / servers for service in services], 1)


@ex.mistake("Your servers take turns. An image goes to the one that is free first: else it stands behind a slow one.")
def in_turn(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    waits, free = [], [float("-inf")] * servers
    for i, (arrival, service) in enumerate(zip(arrivals, services, strict=True)):
        begin = max(arrival, free[i % servers])
        waits.append(begin - arrival)
        free[i % servers] = begin + service
    return waits


@ex.mistake("Your waits become negative: a server that has been free for a while saves nothing for later.")
def negative(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    waits, free = [], [arrivals[0]] * servers
    for arrival, service in zip(arrivals, services, strict=True):
        first = free.index(min(free))
        waits.append(free[first] - arrival)
        free[first] += service
    return waits


@ex.mistake("Your servers never idle: they work through all services as if the images had been there from the start.")
def never_idle(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    waits, free = [], [arrivals[0]] * servers
    for arrival, service in zip(arrivals, services, strict=True):
        first = free.index(min(free))
        waits.append(max(0.0, free[first] - arrival))
        free[first] += service
    return waits


@ex.mistake("Your servers are free at moment 0, and images can come before. They are free at first, whenever that is.")
def free_from_zero(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    waits, free = [], [0.0] * servers
    for arrival, service in zip(arrivals, services, strict=True):
        begin = max(arrival, min(free))
        waits.append(begin - arrival)
        free[free.index(min(free))] = begin + service
    return waits


@ex.mistake("Nobody ever waits in your answer, as if each image had a server of its own.")
def many_servers(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    return [0.0] * len(arrivals)


@ex.mistake("All images take the mean time in your answer. Then the slow calls, which make others wait, are gone.")
def mean_service(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    return waits_at_servers(arrivals, [float(np.mean(services))] * len(services), servers)


@ex.mistake("Your server is free again one service after the *arrival*. It is one service after the *beginning*.")
def free_after_arrival(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    waits, free = [], [float("-inf")] * servers
    for arrival, service in zip(arrivals, services, strict=True):
        first = free.index(min(free))
        waits.append(max(0.0, free[first] - arrival))
        free[first] = arrival + service
    return waits


@ex.mistake("You used the next image's service for a server's time. A server is busy for the image that it has.")
def shifted(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    return waits_at_servers(arrivals, [*services[1:], services[0]], servers)


@ex.mistake("All servers become busy with each image in your answer. One does; mind that a list can hold one number.")
def all_busy(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    waits, free = [], float("-inf")
    for i, (arrival, service) in enumerate(zip(arrivals, services, strict=True)):
        begin = max(arrival, free) if i >= servers else arrival
        waits.append(begin - arrival)
        free = max(free, begin + service)
    return waits


@ex.mistake("You gave one number. Asked is the wait of each image.")
def mean_wait(arrivals: Sequence[float], services: Sequence[float], servers: int) -> float:
    return float(np.mean(waits_at_servers(arrivals, services, servers)))


@ex.mistake("You subtracted the other way round: wait = begin − arrival.")
def sign(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    return [-w for w in waits_at_servers(arrivals, services, servers)]


@ex.mistake("The list begins with the second image: the first one waits, too, namely 0.")
def first_missing(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    return waits_at_servers(arrivals, services, servers)[1:]


@ex.alternative
def with_a_heap(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    free, waits = [float("-inf")] * servers, []
    for arrival, service in zip(arrivals, services, strict=True):
        begin = max(arrival, heapq.heappop(free))
        waits.append(begin - arrival)
        heapq.heappush(free, begin + service)
    return waits


@ex.alternative
def sorted_vector(arrivals: Sequence[float], services: Sequence[float], servers: int) -> np.ndarray:
    """Kiefer and Wolfowitz's recursion: what is left of work at each server, ascending."""
    left, waits, before = np.zeros(servers), [], arrivals[0]
    for arrival, service in zip(arrivals, services, strict=True):
        left = np.maximum(0.0, left - (arrival - before))
        waits.append(left[0])
        left[0] += service
        left, before = np.sort(left), arrival
    return np.array(waits)


@ex.alternative
def by_ends(arrivals: Sequence[float], services: Sequence[float], servers: int) -> list[float]:
    ends: list[float] = []
    waits = []
    for arrival, service in zip(arrivals, services, strict=True):
        busy = sorted(ends)[-servers:]
        begin = max(arrival, busy[0]) if len(busy) == servers else arrival
        waits.append(begin - arrival)
        ends.append(begin + service)
    return waits
