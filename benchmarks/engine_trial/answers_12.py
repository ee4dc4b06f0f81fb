"""Wrong answers to chapter 12."""

from __future__ import annotations

import itertools
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
    "largest_alone": lambda c, w, v: add_to_histogram(c, w, np.sort(v)[-1:]),
    "fewer_bins": lambda c, w, v: (add_to_histogram(c, w, v)[0][: len(c) // 2], add_to_histogram(c, w, v)[1]),
}


def largest_term(counts, reach, levels):
    """The largest difference of the distributions in place of the divergence."""
    return abs(shape_divergence(counts, reach, levels)) ** 0.5


def counts_filled(counts, reach, levels):
    """Right, but what lies beyond stays in the caller's last bin."""
    found = shape_divergence(counts, reach, levels)
    counts[reach - 1] += counts[reach:].sum()
    return found


DIVERGENCE: Answers = {
    "counts_filled": counts_filled,
    "decimal_logarithm": lambda c, r, n: shape_divergence(c, r, n) / math.log(10),
    "one_beyond_lost": lambda c, r, n: shape_divergence(np.delete(c, r) if len(c) > r else c, r, n),
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


def scaled(first, bias, second, s):
    return first / s[:, None, None, None], bias / s, second * s[None, :, None, None]


def norms(first, bias, second):
    """Euclidean lengths of the channels in place of their ranges."""
    r1, r2 = np.sqrt((first**2).sum((1, 2, 3))), np.sqrt((second**2).sum((0, 2, 3)))
    alive = (r1 > 0) & (r2 > 0)
    return scaled(first, bias, second, np.where(alive, np.sqrt(r1 / np.where(alive, r2, 1)), 1))


def small_number_added(first, bias, second):
    r1, r2 = np.abs(first).max((1, 2, 3)), np.abs(second).max((0, 2, 3))
    return scaled(first, bias, second, np.sqrt((r1 + 1e-8) / (r2 + 1e-8)))


def outputs_of_second(first, bias, second):
    """The ranges of the second layer's outputs."""
    r1, r2 = np.abs(first).max((1, 2, 3)), np.resize(np.abs(second).max((1, 2, 3)), len(first))
    alive = (r1 > 0) & (r2 > 0)
    return scaled(first, bias, second, np.where(alive, np.sqrt(r1 / np.where(alive, r2, 1)), 1))


EQUAL: Answers = {
    "norms": norms,
    "small_number_added": small_number_added,
    "outputs_of_second": outputs_of_second,
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


def bias_changed(bias, weight, restored, x):
    bias -= (restored - weight) @ x.mean((0, 2, 3))
    return bias


def restored_changed(bias, weight, restored, x):
    restored -= weight
    return bias - restored @ x.mean((0, 2, 3))


BIAS: Answers = {
    "bias_changed": bias_changed,
    "restored_changed": restored_changed,
    "column": lambda b, w, r, x: corrected_bias(b, w, r, x)[:, None],
    "axes_0_2": lambda b, w, r, x: b - (r - w) @ x.mean((0, 2))[:, 0],
    "axes_2_3": lambda b, w, r, x: b - (r - w) @ x.mean((2, 3)).T,
    "rescaled": lambda b, w, r, x: b * (w @ x.mean((0, 2, 3))) / (r @ x.mean((0, 2, 3)) + 1e-9),
    "unchanged": lambda b, w, r, x: b.copy(),
    "twice": lambda b, w, r, x: 2 * corrected_bias(b, w, r, x) - b,
    "bias_subtracted": lambda b, w, r, x: corrected_bias(b, w, r, x) - 2 * b,
    "root_mean_square": lambda b, w, r, x: b - (r - w) @ np.sqrt((x**2).mean((0, 2, 3))),
    "largest": lambda b, w, r, x: b - (r - w) @ x.max((0, 2, 3)),
    "trained_output": lambda b, w, r, x: b + w @ x.mean((0, 2, 3)),
    "first_output": lambda b, w, r, x: np.concatenate([corrected_bias(b, w, r, x)[:1], b[1:]]),
    "batch_of_biases": lambda b, w, r, x: b - np.einsum("dc,nc->nd", r - w, x.mean((2, 3))),
    "positions_of_first_row": lambda b, w, r, x: b - (r - w) @ x[:, :, 0].mean((0, 2)),
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


def cheapest(weights, scale, cost, offsets=(0, 1)):
    """The codes whose errors cost least."""
    below = np.floor(weights / scale)
    every = [below + np.array(up) for up in itertools.product(offsets, repeat=len(weights))]
    return min(every, key=lambda codes: cost(scale * codes - weights)).astype(np.int64)


def one_flip(weights, scale, x):
    """The best of nearest and of what differs from it in one weight."""
    nearest, below = np.rint(weights / scale), np.floor(weights / scale)
    every = [nearest]
    for i in range(len(weights)):
        every.append(nearest.copy())
        every[-1][i] = 2 * below[i] + 1 - nearest[i]
    return min(every, key=lambda codes: np.mean((x @ (scale * codes - weights)) ** 2)).astype(np.int64)


def drawn_200(weights, scale, x):
    """The best of 200 ways by chance."""
    rng, below = np.random.default_rng(0), np.floor(weights / scale)
    every = [below + rng.integers(0, 2, len(weights)) for _ in range(200)]
    return min(every, key=lambda codes: np.mean((x @ (scale * codes - weights)) ** 2)).astype(np.int64)


ROUNDING: Answers = {
    "one_flip": one_flip,
    "drawn_200": drawn_200,
    "each_product_squared": lambda w, s, x: cheapest(w, s, lambda e: np.mean((x * e) ** 2)),
    "four_codes": lambda w, s, x: cheapest(w, s, lambda e: np.mean((x @ e) ** 2), (-1, 0, 1, 2)),
    "variance": lambda w, s, x: cheapest(w, s, lambda e: np.var(x @ e)),
    "behind_the_relu": lambda w, s, x: cheapest(
        w, s, lambda e: np.mean((np.maximum(x @ (w + e), 0) - np.maximum(x @ w, 0)) ** 2)
    ),
    "relative": lambda w, s, x: cheapest(w, s, lambda e: np.mean((x @ e / (np.abs(x @ w) + 1e-9)) ** 2)),
    "coordinate_descent": coordinate_descent,
    "first_row": lambda w, s, x: best_rounding(w, s, x[:1]),
    "scale_ignored": lambda w, s, x: best_rounding(w, 1.0, x),
    "away_from_0": lambda w, s, x: (np.sign(w) * np.ceil(np.abs(w / s))).astype(np.int64),
    "clipped_to_1": lambda w, s, x: best_rounding(w, s, x).clip(-1, 1),
    "absolute_x": lambda w, s, x: best_rounding(w, s, np.abs(x)),
    "absolute_codes": lambda w, s, x: np.abs(best_rounding(w, s, x)),
    "cost_too": lambda w, s, x: (best_rounding(w, s, x), 0.0),
}


def from_the_top(noise, sizes, budget):
    """From the most bits down, the step that costs least for a byte, until it fits."""
    chosen = [noise.shape[1] - 1] * len(noise)
    while sum(sizes[i, k] for i, k in enumerate(chosen)) > budget:
        steps = [
            ((noise[i, k - 1] - noise[i, k]) / (sizes[i, k] - sizes[i, k - 1]), i) for i, k in enumerate(chosen) if k
        ]
        chosen[min(steps)[1]] -= 1
    return chosen


def by_one_price(noise, sizes, budget):
    """A price for a byte, the same for all layers: reaches only the convex hull of the choices."""
    best = (math.inf, [0] * len(noise))
    for price in np.geomspace(1e-6, 1e6, 400):
        chosen = (noise + price * sizes).argmin(1).tolist()
        if sum(sizes[i, k] for i, k in enumerate(chosen)) <= budget:
            best = min(best, (float(sum(noise[i, k] for i, k in enumerate(chosen))), chosen))
    return best[1]


def noise_changed(noise, sizes, budget):
    found = best_bits(noise, sizes, budget)
    noise *= 2
    return found


def noise_sorted(noise, sizes, budget):
    """Each layer's noises in order, in the caller's array: they no longer belong to the sizes."""
    noise.sort(1)
    return best_bits(noise, sizes, budget)


BITS: Answers = {
    "from_the_top": from_the_top,
    "by_one_price": by_one_price,
    "noise_changed": noise_changed,
    "noise_times_bytes": lambda n, s, b: best_bits(n * s, s, b),
    "half_the_budget": lambda n, s, b: best_bits(n, s, max(b // 2, int(s[:, 0].sum()))),
    "one_layer": lambda n, s, b: best_bits(n, s, b)[:1] + [0] * (len(n) - 1),
    "counted_from_the_end": lambda n, s, b: [column - n.shape[1] for column in best_bits(n, s, b)][::-1],
    "noises_chosen": lambda n, s, b: [float(n[i, k]) for i, k in enumerate(best_bits(n, s, b))],
    "noise_sorted": noise_sorted,
    "three_columns_four_layers": lambda n, s, b: best_bits(n[:4, :3], s[:4, :3], b),
    "noise_alone": lambda n, s, b: float(sum(n[i, k] for i, k in enumerate(best_bits(n, s, b)))),
    "reversed": lambda n, s, b: best_bits(n, s, b)[::-1],
    "logarithms": lambda n, s, b: best_bits(np.log(n), s, b),
    "most_bits_first": lambda n, s, b: best_bits(n[:, ::-1], s[:, ::-1], b),
}
WRONG = {"12.1": GROWS, "12.2": DIVERGENCE, "12.3": EQUAL, "12.4": BIAS, "12.5": ROUNDING, "12.6": BITS}
