"""12.2: how well a candidate range keeps a distribution's shape."""

from __future__ import annotations

import math

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[np.ndarray, int, int]

ex = Exercise(
    "12.2",
    "The divergence of a candidate range",
    points=3,
    hints=[
        "P = counts[:reach] as floats, and P[-1] += counts[reach:].sum(). The groups of Q are sums of counts[:reach], "
        "without what lies beyond.",
        "reshape(levels, -1) makes the groups. Each group's sum is shared by those of its bins with P > 0; all others "
        "get 0.",
        "Divide P and Q by their sums. Over the bins with P > 0: Σ P·ln(P / Q), and inf where one of them has Q = 0.",
    ],
    explanation="""
        The clipped mass in P and not in Q is what makes clipping cost something. TensorRT and ONNX Runtime avoid the
        infinite case: they give every empty bin a little (`shape_divergences` in the library, on both sides of 0).
    """,
)


@ex.reference
def shape_divergence(counts: np.ndarray, reach: int, levels: int) -> float:
    """KL(P ‖ Q) in nats, a float, of the range that ends with the first ``reach`` bins.

    counts: (K,), int64, ≥ 0, not all 0 in the first ``reach`` bins; levels: groups, divides reach ≤ K. Bins with P = 0
    add nothing; if some bin has P > 0 and Q = 0 the result is inf.
    """
    inside = counts[:reach].astype(float)
    return _kl(_with_clipped(counts, reach), _spread(inside, _with_clipped(counts, reach) > 0, levels))


def _with_clipped(counts: np.ndarray, reach: int) -> np.ndarray:
    p = counts[:reach].astype(float)
    p[-1] += counts[reach:].sum()
    return p


def _spread(inside: np.ndarray, used: np.ndarray, levels: int) -> np.ndarray:
    groups, places = inside.reshape(levels, -1).sum(1), used.reshape(levels, -1)
    share = groups / np.maximum(places.sum(1), 1)
    return (share[:, None] * places).ravel()


def _kl(p: np.ndarray, q: np.ndarray) -> float:
    p, q = p / p.sum(), q / q.sum()
    there = p > 0
    if (q[there] == 0).any():
        return math.inf
    return float((p[there] * np.log(p[there] / q[there])).sum())


def _of(counts: list[int], reach: int, levels: int) -> Question:
    return np.array(counts, np.int64), reach, levels


@ex.case("by hand: P ∝ (6, 2, 0, 8), Q ∝ (4, 4, 0, 4)")
def by_hand() -> Question:
    return _of([6, 2, 0, 4, 1, 3], 4, 2)


@ex.case("nothing is clipped")
def whole() -> Question:
    return _of([9, 5, 4, 2, 1, 1], 6, 3)


@ex.case("one bin a code: only clipping counts")
def one_bin_a_code() -> Question:
    return _of([9, 5, 4, 2, 1, 1], 4, 4)


@ex.case("one code for all bins")
def one_code() -> Question:
    return _of([8, 3, 1, 4, 5], 4, 1)


@ex.case("the last bin is empty, but what is clipped comes there: it shares its group's sum")
def last_bin_empty() -> Question:
    return _of([7, 2, 3, 6, 5, 0, 2, 2], 6, 2)


@ex.case("a group is empty, and nothing is clipped: it adds nothing")
def empty_group() -> Question:
    return _of([7, 2, 0, 0, 5, 1], 6, 3)


@ex.case("the last group is empty, and something is clipped: inf")
def infinite() -> Question:
    return _of([7, 2, 5, 1, 0, 0, 3], 6, 3)


@ex.case("more is clipped than is inside")
def mostly_clipped() -> Question:
    return _of([1, 0, 2, 3, 20, 9, 4, 1], 4, 2)


@ex.inputs
def random_counts(rng: np.random.Generator) -> Question:
    levels, size = int(rng.integers(2, 4)), int(rng.integers(2, 4))
    reach = levels * size
    counts = rng.integers(0, 9, reach + int(rng.integers(1, 4)))
    counts[reach - 1] += 1
    counts[-1] += 2
    return counts, reach, levels


@ex.mistake("What lies beyond is missing in P. Clipping puts it into the last bin; left out, clipping costs nothing.")
def clipped_forgotten(counts: np.ndarray, reach: int, levels: int) -> float:
    inside = counts[:reach].astype(float)
    return _kl(inside, _spread(inside, inside > 0, levels))


@ex.mistake("What lies beyond is in Q as well. Q is made of the counts inside alone; else clipping costs nothing.")
def clipped_in_both(counts: np.ndarray, reach: int, levels: int) -> float:
    p = _with_clipped(counts, reach)
    return _kl(p, _spread(p, p > 0, levels))


@ex.mistake("You spread a group's sum over all of its bins. Those that are empty in P get nothing.")
def over_empty_bins(counts: np.ndarray, reach: int, levels: int) -> float:
    p = _with_clipped(counts, reach)
    return _kl(p, _spread(counts[:reach].astype(float), np.ones(reach, bool), levels))


@ex.mistake("You ask which bins are empty in the counts inside. Asked is P: the clipped values may fill the last bin.")
def empty_inside(counts: np.ndarray, reach: int, levels: int) -> float:
    inside = counts[:reach].astype(float)
    return _kl(_with_clipped(counts, reach), _spread(inside, inside > 0, levels))


@ex.mistake("Your divergence is KL(Q ‖ P). The reference comes first: Σ P·ln(P / Q).")
def reversed_kl(counts: np.ndarray, reach: int, levels: int) -> float:
    p = _with_clipped(counts, reach)
    return _kl(_spread(counts[:reach].astype(float), p > 0, levels), p)


@ex.mistake("Your divergence is in bits. Asked are nats: the natural logarithm.")
def in_bits(counts: np.ndarray, reach: int, levels: int) -> float:
    return shape_divergence(counts, reach, levels) / math.log(2)


@ex.mistake("P and Q are not divided by their sums: they must be distributions.")
def not_normalized(counts: np.ndarray, reach: int, levels: int) -> float:
    p = _with_clipped(counts, reach)
    q, there = _spread(counts[:reach].astype(float), p > 0, levels), p > 0
    if (q[there] == 0).any():
        return math.inf
    return float((p[there] * np.log(p[there] / q[there])).sum())


@ex.mistake("Every bin of a group gets the group's whole sum. It is to be shared: divide by how many bins share it.")
def not_shared(counts: np.ndarray, reach: int, levels: int) -> float:
    p = _with_clipped(counts, reach)
    sums = np.repeat(counts[:reach].reshape(levels, -1).sum(1), reach // levels)
    return _kl(p, sums * (p > 0))


@ex.mistake("Your result is finite where P > 0 meets Q = 0: do not add a small number to Q, give inf.")
def with_epsilon(counts: np.ndarray, reach: int, levels: int) -> float:
    p = _with_clipped(counts, reach)
    q = _spread(counts[:reach].astype(float), p > 0, levels)
    return _kl(p, np.maximum(q, 1e-9 * (p > 0)))


@ex.mistake("Bins with P > 0 and Q = 0 are left out of your sum. There the divergence is infinite.")
def left_out(counts: np.ndarray, reach: int, levels: int) -> float:
    p = _with_clipped(counts, reach)
    q = _spread(counts[:reach].astype(float), p > 0, levels)
    p, q = p / p.sum(), q / q.sum()
    both = (p > 0) & (q > 0)
    return float((p[both] * np.log(p[both] / q[both])).sum())


@ex.mistake("You spread what lies beyond over all bins. Clipping moves it to the end of the range: the last bin.")
def clipped_spread(counts: np.ndarray, reach: int, levels: int) -> float:
    inside = counts[:reach].astype(float)
    p = inside + counts[reach:].sum() / reach
    return _kl(p, _spread(inside, p > 0, levels))


@ex.mistake("You take every levels-th bin for a group. A group is made of neighbours.")
def interleaved(counts: np.ndarray, reach: int, levels: int) -> float:
    p = _with_clipped(counts, reach)
    order = np.arange(reach).reshape(-1, levels).T.ravel()
    q = np.zeros(reach)
    q[order] = _spread(counts[:reach].astype(float)[order], p[order] > 0, levels)
    return _kl(p, q)


@ex.mistake("You took levels for the size of a group. It is the number of groups: each holds reach / levels bins.")
def levels_as_size(counts: np.ndarray, reach: int, levels: int) -> float:
    return shape_divergence(counts, reach, reach // levels)


@ex.mistake("Your Q holds whole numbers: a group's sum is shared with / and not with //.")
def whole_q(counts: np.ndarray, reach: int, levels: int) -> float:
    p = _with_clipped(counts, reach)
    return _kl(p, np.floor(_spread(counts[:reach].astype(float), p > 0, levels)))


@ex.mistake("You divided Q by P's sum. Each is divided by its own: Q holds less, as what lies beyond is not in it.")
def one_sum(counts: np.ndarray, reach: int, levels: int) -> float:
    return shape_divergence(counts, reach, levels) + math.log(counts.sum() / counts[:reach].sum())


@ex.alternative
def with_loops(counts: np.ndarray, reach: int, levels: int) -> float:
    p = [int(count) for count in counts[:reach]]
    p[-1] += int(sum(counts[reach:]))
    size, q = reach // levels, [0.0] * reach
    for start in range(0, reach, size):
        group = range(start, start + size)
        sharing = [i for i in group if p[i] > 0]
        for i in sharing:
            q[i] = sum(int(counts[j]) for j in group) / len(sharing)
    result = 0.0
    for a, b in zip(p, q, strict=True):
        if a > 0:
            if b == 0:
                return math.inf
            result += a / sum(p) * math.log((a / sum(p)) / (b / sum(q)))
    return result


@ex.alternative
def with_scipy(counts: np.ndarray, reach: int, levels: int) -> float:
    from scipy.stats import entropy

    p = np.append(counts[: reach - 1], counts[reach - 1 :].sum())
    used = np.array_split(p > 0, levels)
    sums = [part.sum() for part in np.array_split(counts[:reach], levels)]
    q = np.concatenate([flags * total / max(1, flags.sum()) for flags, total in zip(used, sums, strict=True)])
    return float(entropy(p, q))


@ex.alternative
def as_difference(counts: np.ndarray, reach: int, levels: int) -> np.float64:
    p = counts[:reach] / counts.sum()
    p[-1] = counts[reach - 1 :].sum() / counts.sum()
    group = np.arange(reach) // (reach // levels)
    totals, sharing = np.bincount(group, counts[:reach]), np.bincount(group, p > 0)
    q = np.where(p > 0, totals[group] / np.where(sharing[group] > 0, sharing[group], 1), 0) / counts[:reach].sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(p > 0, p * (np.log(p) - np.log(q)), 0.0).sum()
