"""Wrong answers to chapter 11."""

from __future__ import annotations

import numpy as np

from course_lib.exercises.chapter_11.accumulator_range import accumulator_range
from course_lib.exercises.chapter_11.add_codes import add_codes
from course_lib.exercises.chapter_11.most_bytes import most_bytes
from course_lib.exercises.chapter_11.multiplier_and_shift import multiplier_and_shift
from course_lib.exercises.chapter_11.requantize import requantize
from course_lib.exercises.chapter_11.zero_point_sums import zero_point_sums
from course_lib.quantization.integer import shift_half_even
from engine_trial.answers import Answers


def codes_changed(q_x, q_w, z_x, z_w):
    found = zero_point_sums(q_x, q_w, z_x, z_w)
    q_x[:] = 0
    return found


def clipped_products(q_x, q_w, z_x, z_w):
    """Sums that stop at the ends of int16, as VPMADDUBSW's do."""
    constant, sums = zero_point_sums(q_x, q_w, z_x, z_w)
    return constant, np.clip(sums, -(2**15), 2**15 - 1)


SUMS: Answers = {
    "codes_changed": codes_changed,
    "clipped": clipped_products,
    "sums_alone": lambda x, w, a, b: zero_point_sums(x, w, a, b)[1],
    "order_swapped": lambda x, w, a, b: zero_point_sums(x, w, a, b)[::-1],
    "absolute": lambda x, w, a, b: tuple(np.abs(part) for part in zero_point_sums(x, w, a, b)),
    "first_input_alone": lambda x, w, a, b: (zero_point_sums(x, w, a, b)[0], zero_point_sums(x[:1], w, a, b)[1]),
    "means": lambda x, w, a, b: tuple(part / x.shape[1] for part in zero_point_sums(x, w, a, b)),
    "one_more": lambda x, w, a, b: tuple(part + 1 for part in zero_point_sums(x, w, a, b)),
}
RANGE: Answers = {
    "always_32": lambda w, b, low, high, z: (*accumulator_range(w, b, low, high, z)[:2], np.full(len(w), 32)),
    "whole_bytes": lambda w, b, low, high, z: (
        *accumulator_range(w, b, low, high, z)[:2],
        -8 * (-accumulator_range(w, b, low, high, z)[2] // 8),
    ),
    "bits_alone": lambda w, b, low, high, z: accumulator_range(w, b, low, high, z)[2],
    "highest_code_missed": lambda w, b, low, high, z: accumulator_range(w, b, low, high - 1, z),
    "bias_twice": lambda w, b, low, high, z: accumulator_range(w, 2 * b, low, high, z),
    "bias_subtracted": lambda w, b, low, high, z: accumulator_range(w, -b, low, high, z),
    "first_weight": lambda w, b, low, high, z: accumulator_range(w[:, :1], b, low, high, z),
}
FACTOR: Answers = {
    "nearest_power": lambda f: (2**30, multiplier_and_shift(f)[1]),
    "one_more": lambda f: (multiplier_and_shift(f)[0] + 1, multiplier_and_shift(f)[1]),
    "rounded_up": lambda f: (-int(-np.frexp(f)[0] * 2**31 // 1), -int(np.frexp(f)[1])),
    "even_multipliers": lambda f: (multiplier_and_shift(f)[0] // 2 * 2, multiplier_and_shift(f)[1]),
    "inverse": lambda f: multiplier_and_shift(1 / f),
    "float_multiplier": lambda f: (float(multiplier_and_shift(f)[0]), multiplier_and_shift(f)[1]),
    "multiplier_alone": lambda f: multiplier_and_shift(f)[0],
    "product": lambda f: float(multiplier_and_shift(f)[0] * 2.0 ** (-31 - multiplier_and_shift(f)[1])),
}


def sums_changed(acc, multiplier, shift, zero_point, low):
    found = requantize(acc, multiplier, shift, zero_point, low)
    acc //= 2
    return found


def longdouble(acc, multiplier, shift, zero_point, low):
    """Floats of 64 bits, which hold every product, on x86."""
    steps = np.rint(acc.astype(np.longdouble) * multiplier / 2 ** (31 + shift))
    return np.clip(steps + zero_point, low, 255).astype(np.uint8)


CODE: Answers = {
    "longdouble": longdouble,
    "never_cast": lambda a, m, s, z, low: requantize(a, m, s, z, low).astype(np.int64),
    "cast_to_int8": lambda a, m, s, z, low: requantize(a, m, s, z, low).astype(np.int8),
    "sixteen_bits": lambda a, m, s, z, low: np.clip(
        shift_half_even(a.astype(np.int64) * m, 31 + s).astype(np.int16) + z, low, 255
    ),
    "sums_changed": sums_changed,
    "half_down": lambda a, m, s, z, low: np.clip(
        -((-a.astype(np.int64) * m + (1 << (30 + s))) >> (31 + s)) + z, low, 255
    ),
    "rounded_up": lambda a, m, s, z, low: np.clip(-((-a.astype(np.int64) * m) >> (31 + s)) + z, low, 255),
    "half_to_odd": lambda a, m, s, z, low: np.clip(
        shift_half_even(a.astype(np.int64) * m + (1 << (31 + s)), 31 + s) - 1 + z, low, 255
    ),
    "high_254": lambda a, m, s, z, low: np.minimum(requantize(a, m, s, z, low), 254),
    "magnitude": lambda a, m, s, z, low: requantize(np.abs(a), m, s, z, low),
    "first_alone": lambda a, m, s, z, low: requantize(a[:1], m, s, z, low),
    "no_multiplier": lambda a, m, s, z, low: requantize(a, 2**30, s, z, low),
}
ADD: Answers = {
    "difference": lambda p, q, a, b, y: add_codes(p, 2 * b[1] - q.astype(int), a, b, y),
    "first_alone": lambda p, q, a, b, y: add_codes(p, np.full_like(q, b[1]), a, b, y),
    "ten_bits": lambda p, q, a, b, y: add_codes(p, q, (round(1024 * a[0] / y[0]) / 1024 * y[0], a[1]), b, y),
    "never_cast": lambda p, q, a, b, y: add_codes(p, q, a, b, y).astype(np.int64),
    "fourteen_bits_of_a": lambda p, q, a, b, y: add_codes(
        p, q, (round(2**14 * a[0] / y[0]) / 2**14 * y[0], a[1]), b, y
    ),
    "mean": lambda p, q, a, b, y: add_codes(p, q, (a[0] / 2, a[1]), (b[0] / 2, b[1]), y),
    "scales_swapped": lambda p, q, a, b, y: add_codes(p, q, (b[0], a[1]), (a[0], b[1]), y),
    "zero_points_swapped": lambda p, q, a, b, y: add_codes(p, q, (a[0], b[1]), (b[0], a[1]), y),
    "real": lambda p, q, a, b, y: a[0] * (p.astype(float) - a[1]) + b[0] * (q.astype(float) - b[1]),
}


def reads_changed(sizes, reads):
    found = most_bytes(sizes, reads)
    reads.pop()
    return found


def kept_unread(sizes, reads):
    """A tensor that nobody reads stays to the end."""
    last = {t: step for step, inputs in enumerate(reads, start=1) for t in inputs}
    return max(sizes[i] + sum(sizes[t] for t in range(i) if last.get(t, len(sizes)) >= i) for i in range(1, len(sizes)))


BYTES: Answers = {
    "kept_unread": kept_unread,
    "reads_changed": reads_changed,
    "last_step": lambda sizes, reads: most_bytes([0] * (len(sizes) - 2) + sizes[-2:], reads),
    "twice_the_largest": lambda sizes, reads: 2 * max(sizes),
    "three_neighbours": lambda sizes, reads: max(sum(sizes[i : i + 3]) for i in range(len(sizes))),
    "whole_words": lambda sizes, reads: -4 * (-most_bytes(sizes, reads) // 4),
    "step": lambda sizes, reads: max(range(len(sizes)), key=lambda i: sizes[i]),
    "every_step": lambda sizes, reads: [most_bytes(sizes, reads)] * len(reads),
}
WRONG = {"11.1": SUMS, "11.2": RANGE, "11.3": FACTOR, "11.4": CODE, "11.5": ADD, "11.6": BYTES}
