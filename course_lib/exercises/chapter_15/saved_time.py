"""15.4: the time that fusion should save, from calls and bytes."""

from __future__ import annotations

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Bytes = tuple[int, ...]
Question = tuple[Bytes, Bytes, float, float]

ex = Exercise(
    "15.4",
    "The time that fusion should save",
    points=2,
    hints=[
        "Calls are saved, len(before) − len(after), and bytes, sum(before) − sum(after). Price each of them.",
        "A call costs overhead_us, a thousandth of that in ms. 1 GB/s is 10⁹ bytes in 1,000 ms: 10⁶ bytes per ms.",
        "The two add up: before a kernel moves anything it must have been called.",
    ],
    explanation="""
        calls · overhead / 10³ + bytes / (bandwidth · 10⁶), both in ms. The result is negative where the graph with
        fewer calls moves more. It says nothing about arithmetic: before and after must multiply the same. The library:
        `predicted_saving_ms`, which takes a bandwidth for each kind of operator, too.
    """,
)


@ex.reference
def saved_ms(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    """Milliseconds that the graph ``after`` needs less than ``before``; negative if it needs more.

    ``before`` and ``after`` hold the bytes that each call moves, one entry a call; a call that moves 0 bytes is a call.
    Each call costs overhead_us microseconds, and then moves its bytes at bandwidth_gbs · 10⁹ bytes a second. Unrounded.
    """
    return _calls_ms(before, after, overhead_us) + _bytes_ms(before, after, bandwidth_gbs)


def _calls_ms(before: Bytes, after: Bytes, overhead_us: float) -> float:
    return (len(before) - len(after)) * overhead_us / 1e3


def _bytes_ms(before: Bytes, after: Bytes, bandwidth_gbs: float) -> float:
    return (sum(before) - sum(after)) / (bandwidth_gbs * 1e6)


@ex.case("by hand: one call of 5 µs and 1 MB at 10 GB/s less: 0.005 + 0.1 ms")
def by_hand() -> Question:
    return (1_000_000, 1_000_000), (1_000_000,), 10.0, 5.0


@ex.case("many small calls: the calls decide")
def small() -> Question:
    return (4_000, 4_000, 2_000, 2_000, 1_000), (4_000, 2_000), 25.0, 4.0


@ex.case("as many calls, fewer bytes")
def bytes_alone() -> Question:
    return (600_000, 300_000), (200_000, 100_000), 8.0, 6.0


@ex.case("fewer calls that move as many bytes")
def calls_alone() -> Question:
    return (300_000, 0, 100_000), (400_000,), 8.0, 6.0


@ex.case("merged into one call that moves more: negative")
def costs() -> Question:
    return (50_000, 60_000), (900_000,), 12.5, 3.0


@ex.case("nothing changes")
def nothing() -> Question:
    return (7_000,), (7_000,), 10.0, 5.0


@ex.case("everything is gone")
def all_gone() -> Question:
    return (250_000, 30_000, 20_000), (), 5.0, 2.5


@ex.case("a result of many digits: unrounded")
def many_digits() -> Question:
    return (7_777_777, 1_234_567), (345_678,), 7.3, 1.7


@ex.case("less than a microsecond: not rounded away")
def tiny() -> Question:
    return (900, 300), (600,), 20.0, 0.125


@ex.inputs
def random_graphs(rng: np.random.Generator) -> Question:
    before = tuple(int(n) for n in rng.integers(1_000, 800_000, int(rng.integers(4, 8))))
    after = tuple(int(n) for n in rng.integers(1_000, 500_000, int(rng.integers(1, 4))))
    return before, after, round(float(rng.uniform(3, 60)), 1), round(float(rng.uniform(1, 20)), 1)


@ex.mistake("You took microseconds for milliseconds: a call costs overhead_us / 1000 ms.")
def overhead_in_ms(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return _calls_ms(before, after, 1000 * overhead_us) + _bytes_ms(before, after, bandwidth_gbs)


@ex.mistake("The calls' part is in seconds, the bytes' in ms: divide microseconds by 10³, not by 10⁶.")
def overhead_in_seconds(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return _calls_ms(before, after, overhead_us / 1000) + _bytes_ms(before, after, bandwidth_gbs)


@ex.mistake("The bytes' part is in seconds, the calls' in ms: 1 GB/s is 10⁶ bytes per ms.")
def bytes_in_seconds(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return _calls_ms(before, after, overhead_us) + _bytes_ms(before, after, 1000 * bandwidth_gbs)


@ex.mistake("The bytes' part is in microseconds, the calls' in ms: 1 GB/s is 10⁶ bytes per ms.")
def bytes_in_microseconds(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return _calls_ms(before, after, overhead_us) + _bytes_ms(before, after, bandwidth_gbs / 1000)


@ex.mistake("The value is in seconds; milliseconds are asked for.")
def in_seconds(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return saved_ms(before, after, bandwidth_gbs, overhead_us) / 1000


@ex.mistake("The value is in microseconds; milliseconds are asked for.")
def in_microseconds(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return 1000 * saved_ms(before, after, bandwidth_gbs, overhead_us)


@ex.mistake("You took giga for 2³⁰. In GB/s it is 10⁹ (2³⁰ bytes are a GiB).")
def giga_as_power_of_two(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return _calls_ms(before, after, overhead_us) + _bytes_ms(before, after, bandwidth_gbs) * 1e9 / 2**30


@ex.mistake("GB/s counts bytes, and so do the lists: no factor of 8 for bits.")
def bytes_as_bits(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return _calls_ms(before, after, overhead_us) + 8 * _bytes_ms(before, after, bandwidth_gbs)


@ex.mistake("The lists hold bytes already: not times 4.")
def numbers_for_bytes(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return _calls_ms(before, after, overhead_us) + 4 * _bytes_ms(before, after, bandwidth_gbs)


@ex.mistake("You priced the bytes alone. Each call that disappears saves its overhead, too.")
def no_calls(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return _bytes_ms(before, after, bandwidth_gbs)


@ex.mistake("You priced the calls alone. Bytes that no longer move save time, too.")
def no_bytes(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return _calls_ms(before, after, overhead_us)


@ex.mistake("You took the larger part, as under a roofline. Here both are paid: first the call, then its bytes.")
def larger_part(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return max(_calls_ms(before, after, overhead_us), _bytes_ms(before, after, bandwidth_gbs))


@ex.mistake("You subtracted before from after. A saving is positive where after needs less.")
def turned(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return saved_ms(after, before, bandwidth_gbs, overhead_us)


@ex.mistake("A negative saving became 0 or positive. A graph that moves more costs time: say so by the sign.")
def never_negative(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return max(0.0, saved_ms(before, after, bandwidth_gbs, overhead_us))


@ex.mistake("You dropped the sign. A graph that moves more costs time: there the saving is negative.")
def absolute(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return abs(saved_ms(before, after, bandwidth_gbs, overhead_us))


@ex.mistake("That is the time of the graph before. What the graph after needs is still to be paid.")
def all_of_before(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return saved_ms(before, (), bandwidth_gbs, overhead_us)


@ex.mistake("Calls that move 0 bytes are missing from your count. They cost their overhead as well.")
def empty_calls_dropped(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return saved_ms(tuple(n for n in before if n), tuple(n for n in after if n), bandwidth_gbs, overhead_us)


@ex.mistake("You compared call by call, and dropped the calls that have no partner.")
def call_by_call(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    moved = sum(one - other for one, other in zip(before, after, strict=False))
    return _calls_ms(before, after, overhead_us) + moved / (bandwidth_gbs * 1e6)


@ex.mistake("You multiplied by the bandwidth. Bytes over bytes a second are seconds: divide.")
def times_bandwidth(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return _calls_ms(before, after, overhead_us) + (sum(before) - sum(after)) * bandwidth_gbs / 1e6


@ex.mistake("You rounded. Small graphs save less than a microsecond, and that is not 0.")
def rounded(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    return round(saved_ms(before, after, bandwidth_gbs, overhead_us), 3)


@ex.mistake("That is a ratio. Asked is a difference, in milliseconds.")
def a_ratio(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    times = [saved_ms(calls, (), bandwidth_gbs, overhead_us) for calls in (before, after)]
    return times[0] / times[1] if times[1] else float("inf")


@ex.alternative
def two_times(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    def whole(calls: Bytes) -> float:
        return sum(overhead_us * 1e-6 + moved / (bandwidth_gbs * 1e9) for moved in calls)

    return 1e3 * (whole(before) - whole(after))


@ex.alternative
def in_seconds_first(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> float:
    seconds = (len(before) - len(after)) * overhead_us * 1e-6
    seconds += (sum(before) - sum(after)) / bandwidth_gbs * 1e-9
    return 1000 * seconds


@ex.alternative
def with_numpy(before: Bytes, after: Bytes, bandwidth_gbs: float, overhead_us: float) -> np.floating:
    times = [np.sum(overhead_us + np.array(calls, float) / (1e3 * bandwidth_gbs)) for calls in (before, after)]
    return (times[0] - times[1]) / 1000
