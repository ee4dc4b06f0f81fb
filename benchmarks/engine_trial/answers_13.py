"""Wrong answers to chapter 13."""

from __future__ import annotations

import math

import torch

from course_lib.exercises.chapter_13.clip_gradient import clip_gradient
from course_lib.exercises.chapter_13.folded_layer import fold
from course_lib.exercises.chapter_13.gradient_scale import gradient_scale
from course_lib.exercises.chapter_13.step_gradient import step_gradient
from course_lib.exercises.chapter_13.straight_through import round_straight_through
from course_lib.exercises.chapter_13.training_step import training_step
from engine_trial.answers import Answers


def carried(y, value):
    return y + (value - y).detach()


def changes_x(x, scale, low, high):
    found = round_straight_through(x, scale, low, high)
    x.data.div_(scale)
    return found


THROUGH: Answers = {
    "x_divided_in_place": changes_x,
    "tanh_gradient": lambda x, s, low, high: carried(torch.tanh(x), round_straight_through(x, s, low, high)),
    "twice_the_gradient": lambda x, s, low, high: carried(2 * x, round_straight_through(x, s, low, high)),
    "gradient_turned_round": lambda x, s, low, high: carried(-x, round_straight_through(x, s, low, high)),
    "one_code_more": lambda x, s, low, high: round_straight_through(x, s, low, high + 1),
    "one_code_less": lambda x, s, low, high: round_straight_through(x, s, low + 1, high),
    "symmetric_ends": lambda x, s, low, high: round_straight_through(x, s, -high, high),
    "rounded_up": lambda x, s, low, high: carried(
        round_straight_through(x, s, low, high), (x / s).ceil().clamp(low, high) * s
    ),
    "mask_of_magnitudes": lambda x, s, low, high: carried(
        x * ((x / s).round().abs() <= high), round_straight_through(x, s, low, high)
    ),
    "flattened": lambda x, s, low, high: round_straight_through(x, s, low, high).flatten()[:, None],
    "mask_a_step_wider": lambda x, s, low, high: carried(
        x * ((x / s >= low - 1) & (x / s <= high + 1)), round_straight_through(x, s, low, high)
    ),
}


def moved_in_place(w, x, y, scale, rate):
    w.copy_(training_step(w, x, y, scale, rate))
    return w


STEP: Answers = {
    "moved_in_place": moved_in_place,
    "rounded_gradient": lambda w, x, y, s, r: w - r * (s * torch.round((w - training_step(w, x, y, s, r)) / r / s)),
    "halves_of_the_step": lambda w, x, y, s, r: (w + training_step(w, x, y, s, r)) / 2,
    "mean_over_weights_too": lambda w, x, y, s, r: w + (training_step(w, x, y, s, r) - w) / len(w),
    "sign_alone": lambda w, x, y, s, r: w + r * torch.sign(training_step(w, x, y, s, r) - w),
    "inputs_rounded": lambda w, x, y, s, r: training_step(w, torch.round(x), y, s, r),
    "outputs_rounded": lambda w, x, y, s, r: w - r * 2 / len(y) * x.T @ (torch.round(x @ (s * torch.round(w / s))) - y),
    "first_image": lambda w, x, y, s, r: training_step(w, x[:1], y[:1], s, r) if len(y) > 1 else w,
    "absolute_errors": lambda w, x, y, s, r: w - r / len(y) * x.T @ torch.sign(x @ (s * torch.round(w / s)) - y),
}


def weights_changed(w, b, gamma, beta, mean, variance, epsilon):
    found = fold(w, b, gamma, beta, mean, variance, epsilon)
    w.copy_(found[0])
    return found


FOLD: Answers = {
    "weights_changed": weights_changed,
    "bias_alone": lambda *q: fold(*q)[1],
    "factor_inverse": lambda w, b, g, beta, m, v, e: (
        w * ((v + e).sqrt() / g).view(-1, *[1] * (w.ndim - 1)),
        fold(w, b, g, beta, m, v, e)[1],
    ),
    "square_root_of_gamma_too": lambda w, b, g, beta, m, v, e: fold(w, b, g.abs().sqrt(), beta, m, v, e),
    "magnitude_of_gamma": lambda w, b, g, beta, m, v, e: fold(w, b, g.abs(), beta, m, v, e),
    "beta_and_mean_swapped": lambda w, b, g, beta, m, v, e: fold(w, b, g, m, beta, v, e),
    "first_channels_factor": lambda w, b, g, beta, m, v, e: fold(w, b, g[:1].expand_as(g), beta, m, v[:1], e),
    "epsilon_ten_times": lambda w, b, g, beta, m, v, e: fold(w, b, g, beta, m, v, 10 * e + 1e-3),
    "rounded": lambda *q: tuple(part.round() for part in fold(*q)),
}
LSQ: Answers = {
    "half_the_sum": lambda x, s, low, high, g: step_gradient(x, s, low, high, g) / 2,
    "rounded_result": lambda x, s, low, high, g: round(step_gradient(x, s, low, high, g).item()),
    "magnitudes_of_gradients": lambda x, s, low, high, g: step_gradient(x, s, low, high, g.abs()),
    "symmetric_codes": lambda x, s, low, high, g: step_gradient(x, s, -high, high, g),
    "over_the_step": lambda x, s, low, high, g: step_gradient(x, s, low, high, g) / s,
    "upper_end_for_both": lambda x, s, low, high, g: step_gradient(x.abs(), s, -high, high, g),
    "rounded_down": lambda x, s, low, high, g: (
        g * torch.where(x / s <= low, low, torch.where(x / s >= high, high, (x / s).floor() - x / s))
    ).sum(),
    "clipped_before": lambda x, s, low, high, g: step_gradient(x.clamp(s * low, s * high) * 0.999, s, low, high, g),
    "first_row": lambda x, s, low, high, g: step_gradient(x[:1], s, low, high, g[:1]),
    "zero": lambda x, s, low, high, g: torch.tensor(0.0),
}
SCALE: Answers = {
    "rounded": lambda shape, kind, bits: round(gradient_scale(shape, kind, bits), 3),
    "one_bit_more": lambda shape, kind, bits: gradient_scale(shape, kind, bits + 1),
    "cube_root": lambda shape, kind, bits: gradient_scale(shape, kind, bits) ** (2 / 3),
    "outputs_alone": lambda shape, kind, bits: 1 / math.sqrt(shape[0] * (2**bits - 1)),
    "sum_of_axes": lambda shape, kind, bits: 1 / math.sqrt(sum(shape[1:]) * (2**bits - 1)),
    "channel_as_layer_over_images": lambda shape, kind, bits: gradient_scale(shape, "channel", bits),
    "always_a_layer": lambda shape, kind, bits: gradient_scale(shape, "layer", bits),
    "constant": lambda shape, kind, bits: 1 / 6,
}
CLIP: Answers = {
    "rounded_to_two_digits": lambda x, a, g, d: round(float(clip_gradient(x, a, g, d)), 2),
    "clipped_below": lambda x, a, g, d: (g * (x <= 0)).sum() + 2 * d * a,
    "both_masks": lambda x, a, g, d: (g * ((x >= a) | (x <= 0))).sum() + 2 * d * a,
    "magnitudes": lambda x, a, g, d: clip_gradient(x, a, g.abs(), d),
    "decay_of_each_clipped": lambda x, a, g, d: ((g + 2 * d * a) * (x >= a)).sum(),
    "decay_of_x": lambda x, a, g, d: (g * (x >= a)).sum() + 2 * d * x.sum(),
    "first_row": lambda x, a, g, d: clip_gradient(x[:1], a, g[:1], d),
    "a_hundredth_earlier": lambda x, a, g, d: (g * (x >= a - 0.01)).sum() + 2 * d * a,
    "a_little_earlier": lambda x, a, g, d: (g * (x >= a - 1e-4)).sum() + 2 * d * a,
    "half_a_step_earlier": lambda x, a, g, d: clip_gradient(x, 0.9 * a, g, d) + 0.2 * d * a,
    "zero": lambda x, a, g, d: torch.tensor(0.0),
}
WRONG = {"13.1": THROUGH, "13.2": STEP, "13.3": FOLD, "13.4": LSQ, "13.5": SCALE, "13.6": CLIP}
