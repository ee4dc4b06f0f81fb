"""11.2: how far an accumulator can go, and how many bits that takes."""

from __future__ import annotations

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[np.ndarray, np.ndarray, int, int, int]
Answer = tuple[np.ndarray, np.ndarray, np.ndarray]

ex = Exercise(
    "11.2",
    "The range of an accumulator",
    points=3,
    hints=[
        "One product is (q − zero_point)·w. Its first factor goes from low − zero_point, which is at most 0, to "
        "high − zero_point, which is at least 0.",
        "The highest sum takes for every weight the better end: high − zero_point where w > 0, low − zero_point where "
        "w < 0. np.maximum(w·bottom, w·top).sum(1) + bias.",
        "b bits with a sign hold −2^(b−1) … 2^(b−1) − 1: there is one number more below 0. For v ≥ 0, "
        "int(v).bit_length() + 1 bits; for v < 0, int(-v - 1).bit_length() + 1.",
    ],
    explanation="""
        The end of every product is chosen by the sign of its weight, so some input reaches the bound: it is the least
        that is always safe. Any order of adding stays inside, because a product that has not been added yet counts as
        0, and 0 is one of its values. The library's layers start from b′ and add the codes as they are, so their
        partial sums go farther; `accumulator_bound` has that bound, and a layer beyond 32 bits is refused.
    """,
)


@ex.reference
def accumulator_range(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    """(lowest, highest, bits), each (N,), of accumulators that start at bias (N,) and add (q − zero_point)·weights.

    weights (N, K), int8. Every q is one of low … high, and so is zero_point. bits: the fewest, sign included, that hold
    all that an accumulator can reach, in two's complement.
    """
    w, start = weights.astype(np.int64), bias.astype(np.int64)
    one, other = w * (low - zero_point), w * (high - zero_point)  # (N, K)
    lowest, highest = start + np.minimum(one, other).sum(1), start + np.maximum(one, other).sum(1)
    return lowest, highest, np.maximum(_bits(lowest), _bits(highest))


def _bits(values: np.ndarray) -> np.ndarray:
    """Bits of each value in two's complement: −128 and 127 have 8."""
    return np.array([int(v if v >= 0 else -v - 1).bit_length() + 1 for v in values])


def _layer(weights: list, bias: list, low: int, high: int, zero_point: int) -> Question:
    return np.array(weights, np.int8), np.array(bias, np.int32), low, high, zero_point


@ex.case("by hand: one channel, weights 3 and −2, codes 0 … 10 around 4: from −24 to 26, and the bias 1")
def by_hand() -> Question:
    return _layer([[3, -2]], [1], 0, 10, 4)


@ex.case("two channels of three weights")
def two_channels() -> Question:
    return _layer([[3, -2, 5], [-7, 1, 0]], [-20, 11], 0, 15, 3)


@ex.case("after a ReLU: no code lies below the zero point")
def after_relu() -> Question:
    return _layer([[100, -90], [50, 60]], [500, -7], 0, 255, 0)


@ex.case("signed codes around 0")
def signed() -> Question:
    return _layer([[5, -6, 7], [1, 2, 3]], [0, 40], -128, 127, 0)


@ex.case("exactly −128 … 127: eight bits hold both")
def just_eight() -> Question:
    return _layer([[-1, 0], [1, 1]], [127, -64], 0, 255, 0)


@ex.case("exactly 128: eight bits do not hold it")
def just_nine() -> Question:
    return _layer([[1, 0], [-1, -1]], [1, 0], 0, 127, 0)


@ex.case("beyond 16 bits")
def beyond_sixteen() -> Question:
    return _layer([[127, 127, -128], [64, -64, 10]], [30, -4000], 0, 255, 12)


@ex.inputs
def random_layer(rng: np.random.Generator) -> Question:
    outputs, depth = (int(size) for size in rng.permutation([2, 3, 4])[:2])
    w = rng.integers(-128, 128, (outputs, depth)).astype(np.int8)
    bias = (rng.choice([-1, 1], outputs) * rng.integers(300, 3000, outputs)).astype(np.int32)
    return w, bias, 0, 255, int(rng.integers(1, 255))


def _ends(q: Question) -> tuple[np.ndarray, np.ndarray]:
    lowest, highest, _ = accumulator_range(*q)
    return lowest, highest


@ex.mistake("The bias is missing: the accumulator starts there.")
def no_bias(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    return accumulator_range(weights, 0 * bias, low, high, zero_point)


@ex.mistake("You took the codes themselves. What is multiplied is q − zero_point.")
def no_zero_point(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    return accumulator_range(weights, bias, low, high, 0)


@ex.mistake(
    "Your highest sum takes the highest code for every weight. Where a weight is negative the lowest code gives more."
)
def one_end_for_all(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    total = weights.astype(np.int64).sum(1)
    lowest, highest = bias + total * (low - zero_point), bias + total * (high - zero_point)
    return lowest, highest, np.maximum(_bits(lowest), _bits(highest))


@ex.mistake("Your bound is K times the largest product: safe, but far above what these weights reach. Sum one by one.")
def worst_weights(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    largest = np.abs(weights.astype(np.int64)).max() * max(high - zero_point, zero_point - low) * weights.shape[1]
    lowest, highest = bias.astype(np.int64) - largest, bias.astype(np.int64) + largest
    return lowest, highest, np.maximum(_bits(lowest), _bits(highest))


@ex.mistake(
    "Your bound is Σ|w| times the farthest code, on both sides. From the zero point the codes reach unequally far down "
    "and up: choose the end by the sign of each weight."
)
def absolute_weights(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    reach = np.abs(weights.astype(np.int64)).sum(1) * max(high - zero_point, zero_point - low)
    return bias - reach, bias + reach, np.maximum(_bits(bias - reach), _bits(bias + reach))


@ex.mistake("You forgot the bit for the sign.")
def no_sign_bit(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    lowest, highest, bits = accumulator_range(weights, bias, low, high, zero_point)
    return lowest, highest, bits - 1


@ex.mistake("Your bits do not use the one number more below 0: −128 fits in 8 bits.")
def symmetric_bits(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    lowest, highest = _ends((weights, bias, low, high, zero_point))
    return lowest, highest, _bits(np.maximum(highest, -lowest))


@ex.mistake("Your bits let 2^(b−1) fit into b bits: 128 does not fit in 8 bits with a sign, 127 does.")
def one_too_far(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    lowest, highest = _ends((weights, bias, low, high, zero_point))
    return lowest, highest, np.maximum(_bits(lowest), _bits(highest - 1))


@ex.mistake("Your bits are those of the highest sum alone. The lowest may need more.")
def highest_alone(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    lowest, highest = _ends((weights, bias, low, high, zero_point))
    return lowest, highest, np.array([int(abs(v)).bit_length() + 1 for v in highest])


@ex.mistake("Your products are computed in 16 bits, and wrap there. Widen the weights first: weights.astype(np.int64).")
def wrapped(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    with np.errstate(all="ignore"):
        w = weights.astype(np.int16)
        one, other = w * np.int16(low - zero_point), w * np.int16(high - zero_point)
        smallest, largest = np.minimum(one, other), np.maximum(one, other)
        lowest = bias + smallest.sum(1, dtype=np.int16).astype(np.int64)
        highest = bias + largest.sum(1, dtype=np.int16).astype(np.int64)
    return lowest, highest, np.maximum(_bits(lowest), _bits(highest))


@ex.mistake("Your first two results change places: the lowest sum comes first.")
def ends_swapped(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    lowest, highest, bits = accumulator_range(weights, bias, low, high, zero_point)
    return highest, lowest, bits


@ex.mistake("You gave the ends over all channels. Asked is one of each for every channel.")
def all_channels(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> tuple[int, int, int]:
    lowest, highest, bits = accumulator_range(weights, bias, low, high, zero_point)
    return int(lowest.min()), int(highest.max()), int(bits.max())


@ex.alternative
def by_signs(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> Answer:
    w = weights.astype(float)
    up, down = np.where(w > 0, w, 0).sum(1), np.where(w < 0, w, 0).sum(1)  # (N,)
    top, bottom = high - zero_point, low - zero_point
    highest, lowest = bias + top * up + bottom * down, bias + bottom * up + top * down
    bits = [max(np.ceil(np.log2(h + 1)) if h > 0 else 0, np.ceil(np.log2(-v)) if v < 0 else 0) + 1
            for h, v in zip(highest, lowest, strict=True)]  # fmt: skip
    return lowest, highest, np.array(bits)


@ex.alternative
def with_loops(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> list[list[int]]:
    found: list[list[int]] = [[], [], []]
    for row, start in zip(weights.tolist(), bias.tolist(), strict=True):
        products = [sorted((w * (low - zero_point), w * (high - zero_point))) for w in row]
        lowest, highest = start + sum(p[0] for p in products), start + sum(p[1] for p in products)
        bits = 1
        while not (-(2 ** (bits - 1)) <= lowest and highest < 2 ** (bits - 1)):
            bits += 1
        for results, value in zip(found, (lowest, highest, bits), strict=True):
            results.append(value)
    return found


@ex.alternative
def by_sorting(weights: np.ndarray, bias: np.ndarray, low: int, high: int, zero_point: int) -> tuple:
    ends = np.array([low, high])[:, None, None] - zero_point  # (2, 1, 1)
    products = np.sort(ends * weights.astype(np.int64)[None], axis=0)  # (2, N, K)
    lowest, highest = products.sum(2) + bias
    reach = np.maximum(lowest ^ (lowest >> 63), highest ^ (highest >> 63))  # x, or −x − 1 below 0
    return lowest, highest, [1 + (len(f"{value:b}") if value else 0) for value in reach.tolist()]
