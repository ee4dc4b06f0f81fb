"""Wrong answers to chapter 09."""

from __future__ import annotations

from itertools import pairwise

import torch

from course_lib.exercises.chapter_09.executed_macs import executed_macs
from course_lib.exercises.chapter_09.greedy_step import greedy_step
from course_lib.exercises.chapter_09.sensitivity_curve import sensitivity_curve
from course_lib.exercises.chapter_09.straight_through import gate
from course_lib.exercises.chapter_09.table_ms import table_ms
from engine_trial.answers import Answers


def weights_zeroed_in_place(w1, w2, inputs, labels, ratios):
    found = sensitivity_curve(w1, w2, inputs, labels, ratios)
    w1.mul_(0.5)
    return found


CURVE: Answers = {
    "weights_changed": weights_zeroed_in_place,
    "drops": lambda a, b, x, y, r: sensitivity_curve(a, b, x, y, [0.0]) - sensitivity_curve(a, b, x, y, r),
    "per_mille": lambda a, b, x, y, r: 1000 * sensitivity_curve(a, b, x, y, r),
    "both_layers": lambda a, b, x, y, r: sensitivity_curve(a, b * (b.abs() > b.abs().median()), x, y, r),
    "falling": lambda a, b, x, y, r: sensitivity_curve(a, b, x, y, r).sort(descending=True).values,
    "one_number": lambda a, b, x, y, r: sensitivity_curve(a, b, x, y, r).mean(),
    "first_half_of_the_images": lambda a, b, x, y, r: sensitivity_curve(a, b, x[: len(x) // 2], y[: len(y) // 2], r),
}


def never_rising(curve):
    return [sum(max(0.0, a - b) for a, b in pairwise(curve[k:])) for k in range(len(curve))]


STEP: Answers = {
    "always_the_first": lambda w, i, c, p, losses: 0,
    "always_the_last": lambda w, i, c, p, losses: len(w) - 1,
    "widest": lambda w, i, c, p, losses: max(range(len(w)), key=lambda layer: w[layer]),
    "without_positions": lambda w, i, c, p, losses: greedy_step(w, i, c, [1] * len(w), losses),
    "price_of_saving": lambda w, i, c, p, losses: len(w) - 1 - greedy_step(w, i, c, p, losses),
    "name": lambda w, i, c, p, losses: f"layer {greedy_step(w, i, c, p, losses)}",
    "gifts_for_nothing": lambda w, i, c, p, losses: greedy_step(w, i, c, p, [never_rising(x) for x in losses]),
    "from_one": lambda w, i, c, p, losses: greedy_step(w, i, c, p, losses) + 1,
}
TABLE: Answers = {
    "smallest": lambda o, i, og, ig, ms: float(ms.min()),
    "next_smaller": lambda o, i, og, ig, ms: float(ms[sum(g <= o for g in og) - 1, sum(g <= i for g in ig) - 1]),
    "squared_shares": lambda o, i, og, ig, ms: table_ms(o, i, og, ig, ms.square()) ** 0.5,
    "microseconds": lambda o, i, og, ig, ms: 1000 * table_ms(o, i, og, ig, ms),
    "through_the_origin": lambda o, i, og, ig, ms: float(ms[-1, -1]) * o * i / (og[-1] * ig[-1]),
    "axes_swapped": lambda o, i, og, ig, ms: table_ms(
        min(max(i, og[0]), og[-1]), min(max(o, ig[0]), ig[-1]), og, ig, ms
    ),
}


def gates_changed(gates, pair_macs, inputs, classes):
    found = executed_macs(gates, pair_macs, inputs, classes)
    gates[0].fill_(True)
    return found


EXECUTED: Answers = {
    "gates_changed": gates_changed,
    "first_image": lambda g, p, i, c: executed_macs(g, p, i, c)[:1],
    "gates_once": lambda g, p, i, c: executed_macs(g, p, i, c) + i,
    "flop": lambda g, p, i, c: 2 * executed_macs(g, p, i, c),
    "sorted": lambda g, p, i, c: executed_macs(g, p, i, c).sort().values + 1,
    "last_layer_open": lambda g, p, i, c: executed_macs([*g[:-1], torch.ones_like(g[-1])], p, i, c),
    "one_class": lambda g, p, i, c: executed_macs(g, p, i, 1),
}
GATE: Answers = {
    "sharp_sigmoid": lambda z: torch.sigmoid(1000 * z),
    "clamped": lambda z: z.clamp(0, 1),
    "relu": lambda z: torch.relu(z),
    "rounded": lambda z: torch.sigmoid(z).round(),
    "half_gradient": lambda z: 0.5 * gate(z) + 0.5 * gate(z).detach(),
    "steep_sigmoid": lambda z: (z > 0).to(z.dtype) + torch.sigmoid(3 * z) - torch.sigmoid(3 * z).detach(),
}
WRONG = {"09.1": CURVE, "09.2": STEP, "09.3": TABLE, "09.4": EXECUTED, "09.5": GATE}
