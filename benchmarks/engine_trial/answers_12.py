"""Wrong answers to chapter 12."""

from __future__ import annotations

import math

import numpy as np

from course_lib.exercises.chapter_12.add_to_histogram import add_to_histogram
from course_lib.exercises.chapter_12.best_bits import best_bits
from course_lib.exercises.chapter_12.best_rounding import best_rounding
from course_lib.exercises.chapter_12.corrected_bias import corrected_bias
from course_lib.exercises.chapter_12.equalized import equalized
from course_lib.exercises.chapter_12.shape_divergence import shape_divergence
from engine_trial.answers import Answers


def counts_changed(counts, width, values):
    found = add_to_histogram(counts, width, values)
    counts += 1
    return found


def tight_width(counts, width, values):
    """Bins that follow the largest value; old values are taken for the middles of their bins."""
    middles = np.repeat((np.arange(len(counts)) + 0.5) * width, counts)
    every = np.concatenate([middles, values])
    top = max(len(counts) * width, float(np.max(values, initial=0.0)) * 1.000001)
    return np.histogram(every, len(counts), (0, top))[0], top / len(counts)


GROWS: Answers = {
    "counts_changed": counts_changed,
    "tight_width": tight_width,
    "counts_alone": lambda c, w, v: add_to_histogram(c, w, v)[0],
    "order_swapped": lambda c, w, v: add_to_histogram(c, w, v)[::-1],
    "as_shares": lambda c, w, v: (
        add_to_histogram(c, w, v)[0] / max(1, c.sum() + len(v)),
        add_to_histogram(c, w, v)[1],
    ),
    "each_once": lambda c, w, v: (c + (add_to_histogram(0 * c, w, v)[0] > 0), add_to_histogram(c, w, v)[1]),
    "cumulative": lambda c, w, v: (np.cumsum(add_to_histogram(c, w, v)[0]), add_to_histogram(c, w, v)[1]),
    "first_value": lambda c, w, v: add_to_histogram(c, w, v[:1]),
    "fewer_bins": lambda c, w, v: (add_to_histogram(c, w, v)[0][: len(c) // 2], add_to_histogram(c, w, v)[1]),
}


def largest_term(counts, reach, levels):
    """The largest difference of the distributions in place of the divergence."""
    return abs(shape_divergence(counts, reach, levels)) ** 0.5


DIVERGENCE: Answers = {
    "root": largest_term,
    "negative": lambda c, r, n: -shape_divergence(c, r, n),
    "all_bins": lambda c, r, n: shape_divergence(c, len(c) // n * n, n),
    "one_level_less": lambda c, r, n: shape_divergence(c, r, 1),
    "zero": lambda c, r, n: 0.0,
    "nan_for_inf": lambda c, r, n: math.nan if math.isinf(shape_divergence(c, r, n)) else shape_divergence(c, r, n),
    "large_for_inf": lambda c, r, n: min(shape_divergence(c, r, n), 1e9),
    "mean": lambda c, r, n: shape_divergence(c, r, n) / r,
    "zero_bin_skipped": lambda c, r, n: shape_divergence(np.concatenate([[0], c[1:]]), r, n),
}


def first_changed(first, bias, second):
    found = equalized(first, bias, second)
    first *= 2
    return found


EQUAL: Answers = {
    "first_changed": first_changed,
    "unchanged": lambda f, b, s: (f.copy(), b.copy(), s.copy()),
    "order_swapped": lambda f, b, s: equalized(f, b, s)[::-1],
    "without_bias": lambda f, b, s: equalized(f, b, s)[::2],
    "twice": lambda f, b, s: tuple(2 * part for part in equalized(f, b, s)),
    "half_way": lambda f, b, s: tuple((a + c) / 2 for a, c in zip((f, b, s), equalized(f, b, s), strict=True)),
    "first_channel": lambda f, b, s: (
        np.concatenate([equalized(f, b, s)[0][:1], f[1:]]),
        np.concatenate([equalized(f, b, s)[1][:1], b[1:]]),
        np.concatenate([equalized(f, b, s)[2][:, :1], s[:, 1:]], 1),
    ),
    "dead_bias_0": lambda f, b, s: (
        equalized(f, b, s)[0],
        equalized(f, b, s)[1] * (np.abs(f).max((1, 2, 3)) > 0),
        equalized(f, b, s)[2],
    ),
}
BIAS: Answers = {
    "unchanged": lambda b, w, r, x: b.copy(),
    "twice": lambda b, w, r, x: 2 * corrected_bias(b, w, r, x) - b,
    "bias_subtracted": lambda b, w, r, x: corrected_bias(b, w, r, x) - 2 * b,
    "root_mean_square": lambda b, w, r, x: b - (r - w) @ np.sqrt((x**2).mean((0, 2, 3))),
    "largest": lambda b, w, r, x: b - (r - w) @ x.max((0, 2, 3)),
    "trained_output": lambda b, w, r, x: b + w @ x.mean((0, 2, 3)),
    "first_output": lambda b, w, r, x: np.concatenate([corrected_bias(b, w, r, x)[:1], b[1:]]),
    "batch_of_biases": lambda b, w, r, x: b - np.einsum("dc,nc->nd", r - w, x.mean((2, 3))),
    "per_image_sums": lambda b, w, r, x: b - (r - w) @ (x.sum(0).mean((1, 2))),
}


def coordinate_descent(weights, scale, x):
    """From nearest, one weight after the other, until nothing moves."""
    below = np.floor(weights / scale)
    up = np.rint(weights / scale) - below
    for _ in range(10):
        for i in range(len(weights)):
            costs = []
            for direction in (0, 1):
                up[i] = direction
                costs.append(np.mean((x @ (scale * (below + up) - weights)) ** 2))
            up[i] = int(np.argmin(costs))
    return (below + up).astype(np.int64)


ROUNDING: Answers = {
    "coordinate_descent": coordinate_descent,
    "first_row": lambda w, s, x: best_rounding(w, s, x[:1]),
    "scale_ignored": lambda w, s, x: best_rounding(w, 1.0, x),
    "truncated": lambda w, s, x: np.trunc(w / s).astype(np.int64),
    "away_from_0": lambda w, s, x: (np.sign(w) * np.ceil(np.abs(w / s))).astype(np.int64),
    "clipped_to_1": lambda w, s, x: best_rounding(w, s, x).clip(-1, 1),
    "absolute_x": lambda w, s, x: best_rounding(w, s, np.abs(x)),
    "absolute_codes": lambda w, s, x: np.abs(best_rounding(w, s, x)),
    "cost_too": lambda w, s, x: (best_rounding(w, s, x), 0.0),
}
BITS: Answers = {
    "half_the_budget": lambda n, s, b: best_bits(n, s, max(b // 2, int(s[:, 0].sum()))),
    "one_layer": lambda n, s, b: best_bits(n, s, b)[:1] + [0] * (len(n) - 1),
    "counted_from_1": lambda n, s, b: [column + 1 for column in best_bits(n, s, b)],
    "sizes_chosen": lambda n, s, b: [int(s[i, k]) for i, k in enumerate(best_bits(n, s, b))],
    "noise_alone": lambda n, s, b: float(sum(n[i, k] for i, k in enumerate(best_bits(n, s, b)))),
    "reversed": lambda n, s, b: best_bits(n, s, b)[::-1],
    "squares": lambda n, s, b: best_bits(n**2, s, b),
    "logarithms": lambda n, s, b: best_bits(np.log(n), s, b),
    "most_bits_first": lambda n, s, b: best_bits(n[:, ::-1], s[:, ::-1], b),
}
WRONG = {"12.1": GROWS, "12.2": DIVERGENCE, "12.3": EQUAL, "12.4": BIAS, "12.5": ROUNDING, "12.6": BITS}
