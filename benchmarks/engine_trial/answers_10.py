"""Wrong answers to chapter 10."""

from __future__ import annotations

import math

import torch

from course_lib.exercises.chapter_10.best_clip import best_clip
from course_lib.exercises.chapter_10.bytes_of_a_layer import layer_bytes
from course_lib.exercises.chapter_10.codes_of_values import quantize
from course_lib.exercises.chapter_10.noise_in_decibels import sqnr
from course_lib.exercises.chapter_10.scale_and_zero_point import scale_and_zero_point
from course_lib.exercises.chapter_10.weights_by_channel import quantize_weights
from engine_trial.answers import Answers

RANGE: Answers = {
    "rounded_down_always": lambda low, high, bits: (
        scale_and_zero_point(low, high, bits)[0],
        math.floor(-min(low, 0.0) / scale_and_zero_point(low, high, bits)[0]) if low or high else 0,
    ),
    "one_above_the_floor": lambda low, high, bits: (
        scale_and_zero_point(low, high, bits)[0],
        int(-min(low, 0.0) / scale_and_zero_point(low, high, bits)[0] + 1) if low or high else 0,
    ),
    "scale_alone": lambda low, high, bits: scale_and_zero_point(low, high, bits)[0],
    "upper_end_alone": lambda low, high, bits: scale_and_zero_point(0.0, high, bits),
    "from_above": lambda low, high, bits: (
        scale_and_zero_point(low, high, bits)[0],
        round(max(high, 0.0) / scale_and_zero_point(low, high, bits)[0]),
    ),
    "one_bit_less": lambda low, high, bits: scale_and_zero_point(low, high, bits - 1),
    "rounded_scale": lambda low, high, bits: (
        round(scale_and_zero_point(low, high, bits)[0], 3),
        scale_and_zero_point(low, high, bits)[1],
    ),
    "zero_point_from_one": lambda low, high, bits: (
        scale_and_zero_point(low, high, bits)[0],
        scale_and_zero_point(low, high, bits)[1] + 1,
    ),
    "two_steps_less": lambda low, high, bits: (
        scale_and_zero_point(low, high, bits)[0] * (2**bits - 1) / max(2**bits - 2, 1),
        scale_and_zero_point(low, high, bits)[1],
    ),
    "power_of_two": lambda low, high, bits: (
        2.0 ** math.ceil(math.log2(scale_and_zero_point(low, high, bits)[0])),
        scale_and_zero_point(low, high, bits)[1],
    ),
}


def in_place(x, scale, zero_point, bits):
    found = quantize(x, scale, zero_point, bits)
    x.div_(scale)
    return found


CODES: Answers = {
    "x_divided_in_place": in_place,
    "int16": lambda x, s, z, b: quantize(x, s, z, b).to(torch.int16),
    "list": lambda x, s, z, b: quantize(x, s, z, b).tolist(),
    "flattened": lambda x, s, z, b: quantize(x, s, z, b).flatten(),
    "rounded_up": lambda x, s, z, b: quantize(torch.ceil(x / s) * s, s, z, b),
    "wraps_in_b_bits": lambda x, s, z, b: (((x / s).round() + z + 2 ** (b - 1)) % 2**b - 2 ** (b - 1)).to(torch.int8),
    "saturates_at_six_bits": lambda x, s, z, b: quantize(x, s, z, min(b, 6)),
    "absolute": lambda x, s, z, b: quantize(x.abs(), s, z, b),
    "halves_down": lambda x, s, z, b: quantize((torch.ceil(x / s - 0.5)) * s, s, z, b),
}
NOISE: Answers = {
    "negative": lambda x, r: -sqnr(x, r) if not torch.equal(x, r) else math.inf,
    "bels": lambda x, r: sqnr(x, r) / 10,
    "base_two": lambda x, r: sqnr(x, r) * math.log2(10),
    "first_row": lambda x, r: sqnr(x[:1], r[:1]),
    "rounded": lambda x, r: round(sqnr(x, r)) if not torch.equal(x, r) else math.inf,
    "infinite_without_signal_alone": lambda x, r: (
        math.inf if not x.any() else float(10 * (x.square().sum() / (x - r).square().sum().clamp(min=1e-6)).log10())
    ),
    "zero_where_nothing_is": lambda x, r: sqnr(x, r) if x.any() else 0.0,
    "zero_where_same": lambda x, r: 0.0 if torch.equal(x, r) else sqnr(x, r),
    "relative_errors": lambda x, r: math.inf if torch.equal(x, r) else -float(20 * (x / r - 1).abs().mean().log10()),
}
CLIP: Answers = {
    "not_clamped_below": lambda x, clips, bits: min(
        clips,
        key=lambda a: float(
            (x - (x * (2 ** (bits - 1) - 1) / a).round().clamp(max=2 ** (bits - 1) - 1) * a / (2 ** (bits - 1) - 1))
            .square()
            .mean()
        ),
    ),
    "median_of_the_clips": lambda x, clips, bits: sorted(clips)[len(clips) // 2],
    "three_sigma": lambda x, clips, bits: min(clips, key=lambda a: abs(a - 3 * float(x.std()))),
    "percentile": lambda x, clips, bits: min(clips, key=lambda a: abs(a - float(x.abs().quantile(0.95)))),
    "clamped_as_eight_bits": lambda x, clips, bits: min(
        clips,
        key=lambda a: float(
            (x - a / (2 ** (bits - 1) - 1) * (x * (2 ** (bits - 1) - 1) / a).round().clamp(-127, 127)).square().mean()
        ),
    ),
    "a_bit_less": lambda x, clips, bits: best_clip(x, clips, max(bits - 1, 2)),
    "positive_values": lambda x, clips, bits: best_clip(x[x > 0], clips, bits),
    "first": lambda x, clips, bits: clips[0],
    "without_the_far_value": lambda x, clips, bits: best_clip(x[:-1], clips, bits),
    "of_absolute_values_unsigned": lambda x, clips, bits: best_clip(x.abs() / 2, clips, bits),
}


def weights_changed(w, bits):
    found = quantize_weights(w, bits)
    w.div_(found[1].view(-1, *[1] * (w.ndim - 1)))
    return found


def with_epsilon(w, bits):
    scale = (w.flatten(1).abs().amax(1) + 1e-8) / (2 ** (bits - 1) - 1)
    return (w / scale.view(-1, *[1] * (w.ndim - 1))).round(), scale


def reach_of_at_least(least):
    def answer(w, bits):
        reach = w.flatten(1).abs().amax(1)
        scale = torch.where(reach < least, torch.ones_like(reach), reach / (2 ** (bits - 1) - 1))
        return (w / scale.view(-1, *[1] * (w.ndim - 1))).round(), scale

    return answer


WEIGHTS: Answers = {
    "epsilon_added": with_epsilon,
    "reach_below_a_hundredth_is_zero": reach_of_at_least(0.01),
    "reach_below_a_billionth_is_zero": reach_of_at_least(1e-9),
    "weights_changed": weights_changed,
    "codes_alone": lambda w, bits: quantize_weights(w, bits)[0],
    "inverse_scale": lambda w, bits: (quantize_weights(w, bits)[0], 1 / quantize_weights(w, bits)[1]),
    "magnitudes": lambda w, bits: (quantize_weights(w, bits)[0].abs(), quantize_weights(w, bits)[1]),
    "rows_of_codes": lambda w, bits: (quantize_weights(w, bits)[0].flatten(), quantize_weights(w, bits)[1]),
    "norm": lambda w, bits: (quantize_weights(w, bits)[0], w.flatten(1).norm(dim=1) / (2 ** (bits - 1) - 1)),
    "one_bit_less": lambda w, bits: quantize_weights(w, bits - 1) if bits > 2 else quantize_weights(w, 3),
    "sorted_scales": lambda w, bits: (quantize_weights(w, bits)[0], quantize_weights(w, bits)[1].sort().values + 1),
}
BYTES: Answers = {
    "fp32": lambda shape, bits, block, scale_bits, symmetric: 4 * (math.prod(shape) + shape[0]),
    "kilobytes": lambda *question: layer_bytes(*question) / 1024,
    "bias_for_each_input": lambda *q: layer_bytes(*q) + 4 * (q[0][1] - q[0][0]) + (q[0][1] == q[0][0]),
    "scales_in_fp32": lambda shape, bits, block, scale_bits, symmetric: layer_bytes(shape, bits, block, 32, symmetric),
    "no_kernel": lambda shape, *rest: layer_bytes(shape[:2], *rest) + (len(shape) == 2),
    "eight_bits": lambda shape, bits, block, scale_bits, symmetric: layer_bytes(shape, 8, block, scale_bits, symmetric),
    "ratio": lambda *q: 4 * math.prod(q[0]) / layer_bytes(*q),
}
WRONG = {"10.1": RANGE, "10.2": CODES, "10.3": NOISE, "10.4": CLIP, "10.5": WEIGHTS, "10.6": BYTES}
