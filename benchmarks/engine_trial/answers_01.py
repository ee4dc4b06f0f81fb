"""Wrong answers to chapter 01."""

from __future__ import annotations

import math
import statistics

import numpy as np

from course_lib.exercises.chapter_01.convolution_macs import conv_macs
from course_lib.exercises.chapter_01.interleaved_times import compare_times
from course_lib.exercises.chapter_01.least_time import least_time_ms
from course_lib.exercises.chapter_01.weight_bytes import weight_bytes
from engine_trial.answers import Answers


def _out(size, kernel, stride, padding):
    return (size + 2 * padding - kernel) // stride + 1


def _macs(conv, h_out, w_out):
    return h_out * w_out * conv.weight.numel()


def padding_of_columns_for_rows(conv, height, width):
    (k_h, k_w), (s_h, s_w), (_, p_w) = conv.kernel_size, conv.stride, conv.padding
    return _macs(conv, _out(height, k_h, s_h, p_w), _out(width, k_w, s_w, p_w))


def stride_of_columns_for_rows(conv, height, width):
    (k_h, k_w), (_, s_w), (p_h, p_w) = conv.kernel_size, conv.stride, conv.padding
    return _macs(conv, _out(height, k_h, s_w, p_h), _out(width, k_w, s_w, p_w))


def kernel_exchanged(conv, height, width):
    (k_h, k_w), (s_h, s_w), (p_h, p_w) = conv.kernel_size, conv.stride, conv.padding
    return _macs(conv, _out(height, k_w, s_h, p_h), _out(width, k_h, s_w, p_w))


def one_added_before_the_stride(conv, height, width):
    (k_h, k_w), (s_h, s_w), (p_h, p_w) = conv.kernel_size, conv.stride, conv.padding
    return _macs(conv, (height + 2 * p_h - k_h + 1) // s_h, (width + 2 * p_w - k_w + 1) // s_w)


def output_of_a_large_image(conv, height, width):
    (s_h, s_w), (p_h, p_w) = conv.stride, conv.padding
    return _macs(conv, math.ceil((height + 2 * p_h) / s_h), math.ceil((width + 2 * p_w) / s_w))


def input_channels_for_all(conv, height, width):
    macs = conv_macs(conv, height, width)
    return macs // conv.out_channels * conv.in_channels


def groups_only_where_depthwise(conv, height, width):
    macs = conv_macs(conv, height, width)
    return macs if conv.groups in (1, conv.in_channels) else macs * conv.groups


def layer_changed(conv, height, width):
    macs = conv_macs(conv, height, width)
    conv.eval()
    return macs


def layer_thawed(conv, height, width):
    conv.zero_grad()
    macs = conv_macs(conv, height, width)
    conv.requires_grad_(False)
    return macs


CONVOLUTION: Answers = {
    "padding_of_columns_for_rows": padding_of_columns_for_rows,
    "stride_of_columns_for_rows": stride_of_columns_for_rows,
    "kernel_exchanged": kernel_exchanged,
    "one_added_before_the_stride": one_added_before_the_stride,
    "output_of_a_large_image": output_of_a_large_image,
    "input_channels_for_all": input_channels_for_all,
    "groups_only_where_depthwise": groups_only_where_depthwise,
    "layer_changed": layer_changed,
    "layer_frozen": layer_thawed,
    "in_millions": lambda conv, height, width: conv_macs(conv, height, width) / 1e6,
    "in_float16": lambda conv, height, width: np.float16(conv_macs(conv, height, width)),
    "at_least_a_million": lambda conv, height, width: max(10**4, conv_macs(conv, height, width)),
    "outputs_alone": lambda conv, height, width: conv_macs(conv, height, width) // conv.weight[0].numel(),
    "square_image": lambda conv, height, width: conv_macs(conv, height, height),
    "parameters_times_places": lambda conv, height, width: (
        conv_macs(conv, height, width) // conv.weight.numel() * sum(p.numel() for p in conv.parameters())
    ),
    "first_case": lambda conv, height, width: 16,
}


def _times(part, change):
    """The right summary with one of its numbers exchanged."""

    def answer(a, b):
        found = list(compare_times(a, b))
        found[part] = change(a, b)
        return tuple(found)

    return answer


def baseline_sorted(a, b):
    found = compare_times(a, b)
    a.sort()
    return found


TIMES: Answers = {
    "median_of_both": _times(0, lambda a, b: np.median(np.concatenate([a, b]))),
    "p50_rounded": _times(0, lambda a, b: round(float(np.median(b)), 1)),
    "trimmed_mean": _times(0, lambda a, b: np.sort(b)[1:-1].mean()),
    "most_frequent": _times(0, lambda a, b: statistics.mode(b.tolist())),
    "geometric_mean_for_p50": _times(0, lambda a, b: np.exp(np.log(b).mean())),
    "p95_of_the_baseline": _times(1, lambda a, b: np.percentile(a, 95)),
    "p95_of_both": _times(1, lambda a, b: np.percentile(np.concatenate([a, b]), 95)),
    "p99": _times(1, lambda a, b: np.percentile(b, 99)),
    "p97": _times(1, lambda a, b: np.percentile(b, 97.5)),
    "second_slowest": _times(1, lambda a, b: np.sort(b)[-2]),
    "fifth_slowest": _times(1, lambda a, b: np.sort(b)[-5:][0]),
    "ratio_of_logarithms": _times(2, lambda a, b: np.median(np.log(1 + a) / np.log(1 + b))),
    "median_difference": _times(2, lambda a, b: np.median(a - b)),
    "ratio_never_above_one": _times(2, lambda a, b: min(1.0, compare_times(a, b)[2])),
    "ratio_rounded": _times(2, lambda a, b: round(compare_times(a, b)[2], 1)),
    "first_round_left_out": _times(2, lambda a, b: compare_times(a[1:], b[1:])[2]),
    "one_round_later": _times(2, lambda a, b: compare_times(a, np.roll(b, 1))[2]),
    "exp2_of_the_natural_logarithm": _times(2, lambda a, b: np.exp2(np.median(np.log(a / b)))),
    "upper_middle_ratio": _times(2, lambda a, b: np.sort(a / b)[len(a) // 2]),
    "percentage": _times(2, lambda a, b: 100 * compare_times(a, b)[2]),
    "in_seconds": lambda a, b: (compare_times(a, b)[0] / 1000, compare_times(a, b)[1] / 1000, compare_times(a, b)[2]),
    "baseline_sorted_in_place": baseline_sorted,
}

LEAST: Answers = {
    "mac_is_one_flop_where_bound_by_compute": lambda m, n, p, b: max(m / p, n / b) / 1e6,
    "harmonic_sum": lambda m, n, p, b: 1e-6 / (p / (2 * m) + b / n),
    "product_of_roofs": lambda m, n, p, b: (2 * m + n) / (p + b) / 1e6,
    "roofs_by_the_ridge_turned_round": lambda m, n, p, b: (2 * m / p if 2 * m / n < p / b else n / b) / 1e6,
    "bits_a_second": lambda m, n, p, b: max(2 * m / p, n / (8 * b)) / 1e6,
    "rounded_up": lambda m, n, p, b: math.ceil(1e3 * least_time_ms(m, n, p, b)) / 1e3,
    "at_least_a_microsecond": lambda m, n, p, b: max(0.001, least_time_ms(m, n, p, b)),
    "rounded_to_six_decimals": lambda m, n, p, b: round(least_time_ms(m, n, p, b), 4),
    "text": lambda m, n, p, b: f"{least_time_ms(m, n, p, b)} ms",
    "list_of_one_and_its_bound": lambda m, n, p, b: (least_time_ms(m, n, p, b), "compute"),
    "root_of_both": lambda m, n, p, b: math.hypot(2 * m / p, n / b) / 1e6,
    "bytes_read_and_written": lambda m, n, p, b: least_time_ms(m, 2 * n, p, b),
    "compute_in_binary_giga": lambda m, n, p, b: 1e3 * max(2 * m / (p * 2**30), n / (b * 1e9)),
    "memory_in_binary_giga": lambda m, n, p, b: 1e3 * max(2 * m / (p * 1e9), n / (b * 2**30)),
    "whole_operations_per_byte": lambda m, n, p, b: 2 * m / max(min(p, (2 * m // n) * b), 1e-9) / 1e6,
    "first_case": lambda m, n, p, b: 0.02,
}


def _per_channel(shape, bits):
    return weight_bytes(shape, bits) - 4 * shape[0]


WEIGHTS: Answers = {
    "scales_over_input": lambda shape, bits: math.ceil(math.prod(shape) * bits / 8) + 4 * shape[0] // shape[1],
    "rounded_up_with_the_scales_in_bits": lambda shape, bits: (math.prod(shape) * bits + 32 * shape[0]) // 8,
    "even_bytes": lambda shape, bits: _per_channel(shape, bits) + _per_channel(shape, bits) % 2 + 4 * shape[0],
    "bits_rounded_to_a_power_of_two": lambda shape, bits: weight_bytes(shape, 2 ** math.ceil(math.log2(bits))),
    "never_less_than_a_byte_a_code": lambda shape, bits: weight_bytes(shape, max(8, bits)),
    "never_more_than_a_byte_a_code": lambda shape, bits: weight_bytes(shape, min(8, bits)),
    "half_a_byte_for_less_than_eight": lambda shape, bits: weight_bytes(shape, 4 if bits < 8 else bits),
    "one_scale_for_one_filter_more": lambda shape, bits: weight_bytes(shape, bits) + 4,
    "bias_too": lambda shape, bits: weight_bytes(shape, bits) + 4 * shape[0],
    "square_kernels": lambda shape, bits: weight_bytes((shape[0], shape[1], shape[2], shape[2]), bits),
    "kernel_alone": lambda shape, bits: weight_bytes((shape[0], 1, *shape[2:]), bits),
    "rounded_up_per_input_channel": lambda shape, bits: (
        shape[1] * math.ceil(shape[0] * shape[2] * shape[3] * bits / 8) + 4 * shape[0]
    ),
    "scales_of_bits_bytes": lambda shape, bits: _per_channel(shape, bits) + bits * shape[0],
    "scales_and_shape": lambda shape, bits: weight_bytes(shape, bits) + 16,
    "floor_for_odd_bits": lambda shape, bits: (
        math.prod(shape) * bits // 8 + 4 * shape[0] if bits % 2 else weight_bytes(shape, bits)
    ),
    "kibibytes": lambda shape, bits: weight_bytes(shape, bits) / 1024,
    "a_code_never_crosses_a_word": lambda shape, bits: 4 * math.ceil(math.prod(shape) / (32 // bits)) + 4 * shape[0],
    "first_case": lambda shape, bits: 13,
}

WRONG = {"01.1": CONVOLUTION, "01.3": TIMES, "01.4": LEAST, "01.2": WEIGHTS}
