"""12.1: a histogram whose bins double when a value lies beyond them."""

from __future__ import annotations

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[np.ndarray, float, np.ndarray]
Answer = tuple[np.ndarray, float]

ex = Exercise(
    "12.1",
    "A histogram that grows",
    points=3,
    hints=[
        "First make room: while the largest value is not below K·width, add neighbours in pairs and double the width. "
        "Then count.",
        "counts.reshape(-1, 2).sum(1) adds neighbours; it has K/2 entries, and K/2 zeros follow them.",
        "A value's bin is np.floor(values / width).astype(int); np.bincount(bins, minlength=K) counts them. An empty "
        "array has no largest value: np.max(values, initial=0).",
    ],
    explanation="""
        Bins 2k and 2k + 1 are exactly bin k of the wider grid, so nothing is estimated, and the result depends on the
        values alone. The library's `Histogram` does it on both sides of 0. A width that follows the largest value,
        max / K, would fit more tightly, but old counts could only be spread by guessing.
    """,
)


@ex.reference
def add_to_histogram(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    """(counts, width) after some values more: new counts, (K,), and the width.

    Bin k counts the values in k·width ≤ x < (k + 1)·width. counts: (K,), int64, K even; width: a power of two; values:
    (N,), float64, ≥ 0, N may be 0. Where a value is not below K·width, the width doubles, as often as needed and no
    oftener; the new bin k is the old bins 2k and 2k + 1, and the upper half of the new bins is empty.
    """
    found = counts.copy()
    while np.max(values, initial=0.0) >= len(found) * width:
        found, width = _paired(found), 2 * width
    return found + _counted(values, width, len(found)), width


def _paired(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([counts.reshape(-1, 2).sum(1), np.zeros(len(counts) // 2, np.int64)])


def _counted(values: np.ndarray, width: float, bins: int) -> np.ndarray:
    """Counts by bin; what lies beyond the last bin is left out."""
    places = np.floor(values / width).astype(int)
    return np.bincount(places[places < bins], minlength=bins)


def _room(values: np.ndarray, width: float, bins: int) -> float:
    """The width that is needed."""
    while np.max(values, initial=0.0) >= bins * width:
        width *= 2
    return width


def _of(counts: list[int], width: float, values: list[float]) -> Question:
    return np.array(counts, np.int64), width, np.array(values, float)


@ex.case("by hand: no value lies beyond 4 · 0.25")
def inside() -> Question:
    return _of([1, 0, 2, 1], 0.25, [0.1, 0.3, 0.9])


@ex.case("two values in one bin, twice: each of them counts")
def same_bin() -> Question:
    return _of([1, 0, 2, 1], 0.25, [0.3, 0.4, 0.8, 0.9])


@ex.case("by hand: 1.5 doubles the width once")
def once() -> Question:
    return _of([1, 2, 0, 3], 0.25, [1.5, 0.2])


@ex.case("3.2 doubles it twice")
def twice() -> Question:
    return _of([5, 2, 1, 3], 0.25, [0.7, 3.2])


@ex.case("exactly K·width belongs to the next bin: it doubles")
def at_the_end() -> Question:
    return _of([2, 1, 1, 4], 0.5, [2.0])


@ex.case("values on the edges of bins")
def edges() -> Question:
    return _of([0, 1, 3, 0], 1.0, [1.0, 0.0, 2.0, 3.5])


@ex.case("six bins: the pairs do not fill the lower half of four")
def six_bins() -> Question:
    return _of([4, 1, 0, 2, 3, 7], 0.5, [3.25, 0.75, 5.5])


@ex.case("no values")
def none() -> Question:
    return _of([3, 0, 1, 2], 2.0, [])


@ex.case("nothing was counted before, and a value lies far away")
def far() -> Question:
    return _of([0, 0, 0, 0], 0.125, [9.0, 0.05])


@ex.inputs
def random_stream(rng: np.random.Generator) -> Question:
    bins, width = int(rng.choice([4, 6, 8])), float(2.0 ** rng.integers(-3, 2))
    values = rng.uniform(0, rng.choice([0.9, 1.8, 5.0]) * bins * width, int(rng.integers(1, 6)))
    return rng.integers(0, 9, bins), width, values.round(3)


@ex.mistake("You count what lies beyond the last bin in the last bin. Double the width until every value has a bin.")
def into_the_last(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    places = np.minimum(np.floor(values / width).astype(int), len(counts) - 1)
    return counts + np.bincount(places, minlength=len(counts)), width


@ex.mistake("You drop what lies beyond the last bin. Double the width until every value has a bin.")
def dropped(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    return counts + _counted(values, width, len(counts)), width


@ex.mistake("You double at most once. One value may need several doublings: while, not if.")
def at_most_once(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    if np.max(values, initial=0.0) >= len(counts) * width:
        counts, width = _paired(counts), 2 * width
    return counts + _counted(values, width, len(counts)), width


@ex.mistake("A value of exactly K·width does not fit: bin K − 1 ends before it. Double then, too.")
def end_included(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    found = counts.copy()
    while np.max(values, initial=0.0) > len(found) * width:
        found, width = _paired(found), 2 * width
    places = np.minimum(np.floor(values / width).astype(int), len(found) - 1)
    return found + np.bincount(places, minlength=len(found)), width


@ex.mistake(
    "You double the width and leave the old counts where they were. Add neighbours: bins 2k and 2k + 1 to bin k."
)
def not_paired(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    width = _room(values, width, len(counts))
    return counts + _counted(values, width, len(counts)), width


@ex.mistake(
    "Your pairs stand in the upper half of the bins. They belong into the lower half: the values stay where they are."
)
def pairs_above(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    found = counts.copy()
    while np.max(values, initial=0.0) >= len(found) * width:
        found, width = np.roll(_paired(found), len(found) // 2), 2 * width
    return found + _counted(values, width, len(found)), width


@ex.mistake("You throw the old counts away when the width doubles. They are to be added in pairs.")
def begun_anew(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    needed = _room(values, width, len(counts))
    old = counts if needed == width else np.zeros_like(counts)
    return old + _counted(values, needed, len(counts)), needed


@ex.mistake("You count the new values in bins of the old width. Make room first, then count.")
def counted_first(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    found = into_the_last(counts, width, values)[0]
    while np.max(values, initial=0.0) >= len(found) * width:
        found, width = _paired(found), 2 * width
    return found, width


@ex.mistake("You round to the nearest bin. A value lies in the bin that begins at or below it: floor.")
def nearest_bin(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    found = counts.copy()
    while np.max(values, initial=0.0) >= len(found) * width:
        found, width = _paired(found), 2 * width
    places = np.minimum(np.rint(values / width).astype(int), len(found) - 1)
    return found + np.bincount(places, minlength=len(found)), width


@ex.mistake("You double once too often: stop as soon as every value has a bin.")
def once_more(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    found, needed = add_to_histogram(counts, width, values[:0])[0], width
    while needed > width / 2 and np.max(values, initial=0.0) >= len(found) * needed / 2:
        found, needed = _paired(found), 2 * needed
    return found + _counted(values, needed, len(found)), needed


@ex.mistake("You return the counts of the new values alone. Add them to the old ones.")
def new_ones_alone(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    width = _room(values, width, len(counts))
    return _counted(values, width, len(counts)), width


@ex.mistake(
    "Of several values in one bin only one is counted: counts[bins] += 1 adds once for each *different* bin. "
    "Use np.bincount or np.add.at."
)
def repeats_lost(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    needed = _room(values, width, len(counts))
    found = add_to_histogram(counts, width, values)[0] - _counted(values, needed, len(counts))
    found[np.floor(values / needed).astype(int)] += 1
    return found, needed


@ex.mistake("Your pair is the wrong way round: the counts come first, then the width.")
def pair_swapped(counts: np.ndarray, width: float, values: np.ndarray) -> tuple[float, np.ndarray]:
    return add_to_histogram(counts, width, values)[::-1]


@ex.mistake("You return the old width. The caller needs the new one to know what the bins mean.")
def old_width(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    return add_to_histogram(counts, width, values)[0], width


@ex.alternative
def with_loops(counts: np.ndarray, width: float, values: np.ndarray) -> tuple[list[int], float]:
    found = counts.tolist()
    for value in values.tolist():
        while value >= len(found) * width:
            half = len(found) // 2
            found = [found[2 * k] + found[2 * k + 1] for k in range(half)] + [0] * half
            width *= 2
        found[int(value // width)] += 1
    return found, width


@ex.alternative
def by_powers(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    bins, times = len(counts), 0
    while len(values) and values.max() >= bins * width * 2**times:
        times += 1
    found = np.zeros(bins, np.int64)
    np.add.at(found, np.arange(bins) >> times, counts)
    np.add.at(found, (values // (width * 2**times)).astype(int), 1)
    return found, width * 2**times


@ex.alternative
def with_numpys_histogram(counts: np.ndarray, width: float, values: np.ndarray) -> Answer:
    bins = counts.size
    old = np.repeat(np.arange(bins) * width, counts)
    while values.size and values.max() >= bins * width:
        width = width * 2
    edges = np.arange(bins + 1) * width
    return np.histogram(np.concatenate([old, values]), edges)[0], float(width)
