"""Wrong answers to chapter 00."""

from __future__ import annotations

import math

import numpy as np

from course_lib.exercises.chapter_00.eight_bits import round_trip
from course_lib.exercises.chapter_00.ledger_rows import compare_rows
from engine_trial.answers import Answers


def _with(first, other, **parts):
    """The right row with some of its three numbers exchanged."""
    smaller, faster, lost = compare_rows(first, other)
    return parts.get("smaller", smaller), parts.get("faster", faster), parts.get("lost", lost)


def rows_changed(first, other):
    found = compare_rows(first, other)
    first.pop("bytes")
    return found


def order_of_rows_changed(first, other):
    found = compare_rows(first, other)
    first["macs"] = first.pop("macs")
    return found


ROWS: Answers = {
    "mean_of_both_times": lambda a, b: _with(a, b, faster=(a["p50_ms"] + a["p95_ms"]) / (b["p50_ms"] + b["p95_ms"])),
    "p50_over_p95": lambda a, b: _with(a, b, faster=a["p50_ms"] / b["p95_ms"]),
    "p95_over_p50": lambda a, b: _with(a, b, faster=a["p95_ms"] / b["p50_ms"]),
    "bytes_over_parameters": lambda a, b: _with(a, b, smaller=a["bytes"] / b["parameters"]),
    "only_bytes_cut": lambda a, b: _with(a, b, smaller=a["bytes"] // b["bytes"]),
    "only_points_rounded": lambda a, b: _with(a, b, lost=round(100 * (a["accuracy"] - b["accuracy"]))),
    "only_points_to_one_decimal": lambda a, b: _with(a, b, lost=round(100 * (a["accuracy"] - b["accuracy"]), 1)),
    "only_times_rounded": lambda a, b: _with(a, b, faster=round(a["p50_ms"] / b["p50_ms"], 2)),
    "points_without_brackets": lambda a, b: _with(a, b, lost=100 * a["accuracy"] - b["accuracy"]),
    "per_cent_of_the_other": lambda a, b: _with(a, b, lost=100 * (a["accuracy"] / b["accuracy"] - 1)),
    "points_of_accuracies_rounded": lambda a, b: _with(
        a, b, lost=100 * (round(a["accuracy"], 3) - round(b["accuracy"], 3))
    ),
    "kibibytes_cut": lambda a, b: _with(a, b, smaller=(a["bytes"] // 1024) / max(b["bytes"] // 1024, 1)),
    "logarithms": lambda a, b: _with(a, b, smaller=math.log(a["bytes"] / b["bytes"])),
    "negative_where_larger": lambda a, b: _with(
        a, b, smaller=a["bytes"] / b["bytes"] if a["bytes"] > b["bytes"] else -b["bytes"] / a["bytes"]
    ),
    "only_slower_stops_at_one": lambda a, b: _with(a, b, faster=max(1.0, a["p50_ms"] / b["p50_ms"])),
    "only_larger_stops_at_one": lambda a, b: _with(a, b, smaller=max(1.0, a["bytes"] / b["bytes"])),
    "texts": lambda a, b: tuple(f"{number:.2f}" for number in compare_rows(a, b)),
    "first_two_alone": lambda a, b: compare_rows(a, b)[:2],
    "first_case": lambda a, b: (8.0, 4.0, 1.0),
    "rows_changed": rows_changed,
    "order_of_rows_changed": order_of_rows_changed,
}


def _stored(x, scale, zero_point, low=0, high=255):
    codes = np.clip(np.round(x / scale) + zero_point, low, high).astype(np.uint8)
    return scale, zero_point, codes, scale * (codes.astype(float) - zero_point)


def _range(low, high):
    return min(low, 0.0), max(high, 0.0)


def scale_rounded(x, low, high):
    low, high = _range(low, high)
    scale = round((high - low) / 255, 4)
    return _stored(x, scale, round(-low / scale))


def zero_point_rounded_up(x, low, high):
    low, high = _range(low, high)
    scale = (high - low) / 255
    return _stored(x, scale, math.ceil(-low / scale))


def steps_of_254(x, low, high):
    low, high = _range(low, high)
    scale = (high - low) / 254
    return _stored(x, scale, round(-low / scale))


def mirrored_range(x, low, high):
    most = max(abs(low), abs(high))
    return round_trip(x, -most, most)


def absolute_ends(x, low, high):
    return round_trip(x, -abs(low), abs(high))


def zero_only_where_above(x, low, high):
    return round_trip(x, low, high) if low <= 0 <= high else _stored(x, (high - low) / 255, 0)


def widened_by_x(x, low, high):
    return round_trip(x, min(low, float(x.min())), max(high, float(x.max())))


def without_those_outside(x, low, high):
    low, high = _range(low, high)
    return round_trip(x[(x >= low) & (x <= high)], low, high)


def clipped_in_place(x, low, high):
    found = round_trip(x, low, high)
    np.clip(x, *_range(low, high), out=x)
    return found


def sorted_in_place(x, low, high):
    x.sort()
    return round_trip(x, low, high)


def half_away_and_not_clipped(x, low, high):
    scale, zero_point, _, _ = round_trip(x, low, high)
    codes = np.floor(x / scale + zero_point + 0.5).astype(np.int64).astype(np.uint8)
    return scale, zero_point, codes, scale * (codes.astype(float) - zero_point)


def back_in_float16(x, low, high):
    scale, zero_point, codes, restored = round_trip(x, low, high)
    return scale, zero_point, codes, restored.astype(np.float16)


def _last(change):
    def answer(x, low, high):
        scale, zero_point, codes, restored = round_trip(x, low, high)
        return scale, zero_point, codes, change(x, low, high, scale, zero_point, codes, restored)

    return answer


def _codes(change):
    def answer(x, low, high):
        scale, zero_point, codes, restored = round_trip(x, low, high)
        return scale, zero_point, change(codes), restored

    return answer


CODES: Answers = {
    "scale_rounded": scale_rounded,
    "zero_point_rounded_up": zero_point_rounded_up,
    "steps_of_254": steps_of_254,
    "mirrored_range": mirrored_range,
    "absolute_ends": absolute_ends,
    "zero_only_where_above": zero_only_where_above,
    "widened_by_x": widened_by_x,
    "without_those_outside": without_those_outside,
    "clipped_in_place": clipped_in_place,
    "sorted_in_place": sorted_in_place,
    "half_away_and_not_clipped": half_away_and_not_clipped,
    "back_in_float16": back_in_float16,
    "codes_up_to_254": lambda x, low, high: _stored(x, *round_trip(x, low, high)[:2], high=254),
    "codes_from_one": lambda x, low, high: _stored(x, *round_trip(x, low, high)[:2], low=1),
    "numbers_themselves_back": _last(lambda x, *rest: x),
    "clipped_numbers_back": _last(lambda x, low, high, *rest: np.clip(x, min(low, 0), max(high, 0))),
    "back_without_brackets": _last(lambda x, low, high, s, z, q, back: s * q.astype(float) - z),
    "back_rounded": _last(lambda x, low, high, s, z, q, back: back.round(2)),
    "back_to_the_given_range": _last(lambda x, low, high, s, z, q, back: np.clip(back, low, high)),
    "codes_of_two_bytes": _codes(lambda codes: codes.astype(np.int16)),
    "codes_as_signed_bytes": _codes(lambda codes: codes.astype(np.int8)),
    "codes_of_a_list": _codes(lambda codes: codes.tolist()),
    "codes_in_a_row": _codes(lambda codes: codes[None]),
    "scale_last": lambda x, low, high: tuple(round_trip(x, low, high)[i] for i in (1, 0, 2, 3)),
}

WRONG = {"00.1": ROWS, "00.2": CODES}
