"""12.5: the best of all ways to round a few weights."""

from __future__ import annotations

import itertools

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[np.ndarray, float, np.ndarray]

ex = Exercise(
    "12.5",
    "The best of all roundings",
    points=3,
    hints=[
        "itertools.product((0, 1), repeat=K) gives all directions: below = np.floor(weights / scale), and the codes "
        "are below + direction.",
        "The cost of some codes is np.mean((x @ (scale * codes − weights)) ** 2).",
        "min(all_codes, key=cost), and then astype(np.int64).",
    ],
    explanation="""
        2^K ways can be tried for K = 10, and not for a layer's thousands. AdaRound makes the choice soft, learns it by
        gradient steps, and pulls it to 0 or 1. What matters about x is only the matrix E[x xᵀ]: where inputs move
        together, the *sum* of the errors counts.
    """,
)


@ex.reference
def best_rounding(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    """Codes (K,), whole numbers: their output differs least from the weights', in the mean square over x.

    weights: (K,), float64, K ≤ 10; scale > 0; x: (N, K). Every code is floor(w / scale) or that plus 1, also where
    w / scale is a whole number; no code is clipped. The output of codes q is x @ (scale · q).
    """
    return _least(weights, scale, lambda error: np.mean((x @ error) ** 2))


def _choices(weights: np.ndarray, scale: float) -> list[np.ndarray]:
    below = np.floor(weights / scale)
    return [below + direction for direction in itertools.product((0, 1), repeat=len(weights))]


def _least(weights: np.ndarray, scale: float, cost) -> np.ndarray:
    """The choice with the least cost of its error scale·q − weights."""
    return min(_choices(weights, scale), key=lambda codes: cost(scale * codes - weights)).astype(np.int64)


def _of(weights: list, scale: float, x: list) -> Question:
    return np.array(weights, float), scale, np.array(x, float)


@ex.case("by hand: two weights below half a step that read much the same numbers: one of them goes up")
def by_hand() -> Question:
    return _of([0.4, 0.45], 1.0, [[1, 1], [2, 1]])


@ex.case("inputs of opposite signs: now both go the same way")
def opposite() -> Question:
    return _of([0.45, 0.3], 1.0, [[1, -1], [2, -1]])


@ex.case("inputs that never meet: nearest is best")
def alone() -> Question:
    return _of([0.3, 0.8, -0.6], 0.5, [[1, 0, 0], [0, 1, 0], [0, 0, 2]])


@ex.case("a weight that a code holds exactly goes up all the same, where that cancels the others' errors")
def whole_number() -> Question:
    return _of([1.0, 0.45, 0.4], 1.0, [[2, 4, 3], [2, 1, 4], [2, 3, 3]])


@ex.case("below 0: the choices for −0.8 are −1 and 0")
def below_0() -> Question:
    return _of([-0.8, 0.3], 1.0, [[1, 0], [0, 2]])


@ex.case("a loud input counts more than a quiet one")
def loud() -> Question:
    return _of([0.7, 1.15, -0.35], 0.5, [[4, 1, 0.5], [6, 1, 1], [5, 2, 0.5]])


@ex.case("the mean of the squares, not the square of the mean")
def both_signs() -> Question:
    return _of([0.3, 0.45, 0.6], 1.0, [[1, 2, -1], [-1, 1, 2], [2, -3, 1], [-2, 1, -1]])


@ex.case("the mean of the squares, not of the distances")
def not_distances() -> Question:
    return _drawn(73, 3, 4)


@ex.case("the mean of the squares, not the largest of them")
def not_the_largest() -> Question:
    return _drawn(8, 3, 4)


@ex.case("five weights, in steps of a quarter")
def five() -> Question:
    return _drawn(3, 5, 6, 0.25)


@ex.case("codes beyond 127, and below −127: none is clipped")
def large_codes() -> Question:
    return _of([150.4, -140.45, 3.4], 1.0, [[1, -1, 2], [2, -1, 1], [1, -2, 1]])


@ex.case("steps of a quarter: an error is scale · q − w, not q − w")
def scale_in_the_cost() -> Question:
    return _of([0.6, 0.35, -0.1], 0.25, [[1, 1, 2], [2, 1, 1], [1, 2, 1]])


@ex.case("nine weights: 512 ways")
def nine() -> Question:
    return _drawn(4, 9, 12)


@ex.case("ten weights: 1,024 ways")
def ten() -> Question:
    return _drawn(5, 10, 12)


@ex.case("ten weights, in steps of a quarter")
def ten_again() -> Question:
    return _drawn(6, 10, 14, 0.25)


def _drawn(seed: int, count: int, inputs: int, scale: float = 0.5) -> Question:
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, count).round(2), scale, rng.normal(0.8, 1, (inputs, count)).round(1)


@ex.inputs
def random_weights(rng: np.random.Generator) -> Question:
    count = int(rng.integers(2, 8))
    return rng.normal(0, 1, count).round(3), 0.5, rng.normal(0.8, 1, (int(rng.integers(3, 6)), count)).round(2)


@ex.mistake("You rounded each weight to the nearest code. Asked is what makes the *output* differ least.")
def nearest(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return np.rint(weights / scale).astype(np.int64)


@ex.mistake("All of your codes are rounded down.")
def all_down(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return np.floor(weights / scale).astype(np.int64)


@ex.mistake("All of your codes are rounded up.")
def all_up(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return np.floor(weights / scale).astype(np.int64) + 1


@ex.mistake("You took the codes farthest in the output: the cost is to be least.")
def worst(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return _least(weights, scale, lambda error: -np.mean((x @ error) ** 2))


@ex.mistake("Your cost is the mean of |difference|. Asked is the mean of its square.")
def absolute(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return _least(weights, scale, lambda error: np.mean(np.abs(x @ error)))


@ex.mistake("Your cost is the largest difference. Asked is the mean of the squares.")
def largest(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return _least(weights, scale, lambda error: np.max(np.abs(x @ error)))


@ex.mistake("Your cost is the square of the mean: differences of opposite sign hide one another. Square first.")
def mean_first(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return _least(weights, scale, lambda error: np.mean(x @ error) ** 2)


@ex.mistake("Your cost does not look at x: it adds the errors of the weights as they are.")
def without_x(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return _least(weights, scale, lambda error: error.sum() ** 2)


@ex.mistake("Your cost is of q − w. The output of codes is x @ (scale · q): multiply by the scale before you compare.")
def scale_forgotten(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return min(_choices(weights, scale), key=lambda q: np.mean((x @ (q - weights)) ** 2)).astype(np.int64)


@ex.mistake("You clip the codes to −7 … 7. Here no code is clipped.")
def clipped_to_7(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return _clipped(weights, scale, x, 7)


@ex.mistake("You clip the codes to −127 … 127. Here no code is clipped.")
def clipped_to_127(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return _clipped(weights, scale, x, 127)


def _clipped(weights: np.ndarray, scale: float, x: np.ndarray, most: int) -> np.ndarray:
    found = [codes.clip(-most, most) for codes in _choices(weights, scale)]
    return min(found, key=lambda q: np.mean((x @ (scale * q - weights)) ** 2)).astype(np.int64)


@ex.mistake("You try both ways for the first weights alone, and round the rest to nearest: repeat=K, for all of them.")
def first_five(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    nearest_rest = np.rint(weights[5:] / scale)
    found = [np.concatenate([codes, nearest_rest]) for codes in _choices(weights[:5], scale)]
    return min(found, key=lambda q: np.mean((x @ (scale * q - weights)) ** 2)).astype(np.int64)


@ex.mistake("A weight that a code holds exactly has two choices as well: floor(w / scale) and that plus 1, not ceil.")
def with_ceil(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    ends = [sorted({np.floor(w), np.ceil(w)}) for w in weights / scale]
    found = [np.array(codes) for codes in itertools.product(*ends)]
    return min(found, key=lambda q: np.mean((x @ (scale * q - weights)) ** 2)).astype(np.int64)


@ex.mistake(
    "You decide weight by weight, from the first to the last, the others left as trained. Try all ways together."
)
def one_by_one(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    error = np.zeros(len(weights))
    for i, w in enumerate(weights):
        ends = scale * (np.floor(w / scale) + np.array([0, 1])) - w
        costs = []
        for end in ends:
            error[i] = end
            costs.append(np.mean((x @ error) ** 2))
        error[i] = ends[int(np.argmin(costs))]
    return np.rint((weights + error) / scale).astype(np.int64)


@ex.mistake("Below 0 you cut the fraction off, which rounds up: −0.8 becomes 0. Take floor: −1, or that plus 1.")
def truncated(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    below = np.trunc(weights / scale)
    found = [below + direction for direction in itertools.product((0, 1), repeat=len(weights))]
    return min(found, key=lambda q: np.mean((x @ (scale * q - weights)) ** 2)).astype(np.int64)


@ex.mistake("You returned the rounded weights. Asked are the codes: divide by the scale.")
def rounded_weights(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return scale * best_rounding(weights, scale, x) + 0.0


@ex.mistake("You returned the directions, 0 and 1. Asked are the codes: floor(w / scale) plus the direction.")
def directions(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    return best_rounding(weights, scale, x) - np.floor(weights / scale).astype(np.int64)


@ex.alternative
def with_bits(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    count = len(weights)
    up = (np.arange(2**count)[:, None] >> np.arange(count)) & 1  # (2^K, K)
    codes = np.floor(weights / scale).astype(np.int64) + up
    costs = (((scale * codes - weights) @ x.T) ** 2).mean(1)
    return codes[costs.argmin()]


@ex.alternative
def with_moments(weights: np.ndarray, scale: float, x: np.ndarray) -> list[int]:
    moments, below = x.T @ x, np.floor(weights / scale)
    best, least = None, float("inf")
    for direction in np.ndindex(*[2] * len(weights)):
        error = scale * (below + direction) - weights
        cost = error @ moments @ error
        if cost < least:
            best, least = below + direction, cost
    assert best is not None
    return [int(code) for code in best]


@ex.alternative
def recursively(weights: np.ndarray, scale: float, x: np.ndarray) -> np.ndarray:
    def rest(i: int, difference: np.ndarray) -> tuple[float, list[int]]:
        if i == len(weights):
            return float(difference @ difference), []
        below, found = int(np.floor(weights[i] / scale)), []
        for code in (below, below + 1):
            cost, codes = rest(i + 1, difference + x[:, i] * (scale * code - weights[i]))
            found.append((cost, [code, *codes]))
        return min(found)

    return np.array(rest(0, np.zeros(len(x)))[1])
