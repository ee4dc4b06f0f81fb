"""Wrong answers to chapter 17."""

from __future__ import annotations

import hashlib

import numpy as np

from course_lib.exercises.chapter_17.battery import battery
from course_lib.exercises.chapter_17.network_ms import network_ms
from course_lib.exercises.chapter_17.reasons import reasons
from course_lib.exercises.chapter_17.signed_codes import signed_codes
from course_lib.exercises.chapter_17.to_send import to_send
from engine_trial.answers import Answers


def layers_emptied(layers, bits, gops, gbs, start_us):
    found = network_ms(layers, bits, gops, gbs, start_us)
    layers.clear()
    return found


TIME: Answers = {
    "layers_emptied": layers_emptied,
    "four_operations": lambda n, b, p, m, s: network_ms(n, b, p / 2, m, s),
    "peak_scaled_by_width": lambda n, b, p, m, s: network_ms(n, b, p * 32 / b, m, s),
    "bits_over_four": lambda n, b, p, m, s: network_ms(n, 2 * b, p, m, s),
    "roofs_exchanged": lambda n, b, p, m, s: network_ms(n, b, m, p, s),
    "memory_first": lambda n, b, p, m, s: (
        sum((w + a) * b / 8 / (m * 1e6) for _, w, a in n),
        network_ms(n, b, p, m, s)[1],
    ),
    "roofline_alone": lambda n, b, p, m, s: network_ms(n, b, p, m, s)[1],
    "first_layer": lambda n, b, p, m, s: network_ms(n[:1], b, p, m, s),
    "mean": lambda n, b, p, m, s: tuple(ms / len(n) for ms in network_ms(n, b, p, m, s)),
    "bits_halved_in_integers": lambda n, b, p, m, s: network_ms(n, 8 * (b // 16), p, m, s),
    "started_between": lambda n, b, p, m, s: (
        network_ms(n, b, p, m, s)[0],
        network_ms(n, b, p, m, s)[1] - s / 1000,
    ),
    "four_digits": lambda n, b, p, m, s: tuple(round(ms, 4) for ms in network_ms(n, b, p, m, s)),
}


def samples_sorted(idle_mw, busy_mw, ms, per_second, watt_hours):
    found = battery(idle_mw, busy_mw, ms, per_second, watt_hours)
    busy_mw.sort(reverse=True)
    return found


ENERGY: Answers = {
    "samples_sorted": samples_sorted,
    "no_difference": lambda i, b, ms, r, wh: battery([0], b, ms, r, wh),
    "negative": lambda i, b, ms, r, wh: (-battery(i, b, ms, r, wh)[0], battery(i, b, ms, r, wh)[1]),
    "order_swapped": lambda i, b, ms, r, wh: battery(i, b, ms, r, wh)[::-1],
    "milliwatt_hours": lambda i, b, ms, r, wh: battery(i, b, ms, r, wh / 1000),
    "whole_number": lambda i, b, ms, r, wh: (battery(i, b, ms, r, wh)[0], int(battery(i, b, ms, r, wh)[1])),
    "smallest_idle": lambda i, b, ms, r, wh: battery([min(i)], b, ms, r, wh),
    "rms": lambda i, b, ms, r, wh: battery(
        [np.sqrt(np.mean(np.square(i)))], [np.sqrt(np.mean(np.square(b)))], ms, r, wh
    ),
    "whole_idle_ms": lambda i, b, ms, r, wh: battery([sum(i) // len(i)], [sum(b) // len(b)], ms, r, wh),
    "minutes": lambda i, b, ms, r, wh: battery(i, b, ms, r, wh / 60),
}
CODES: Answers = {
    "scale_alone": lambda s, z: signed_codes(s, z)[0],
    "bits": lambda s, z: (signed_codes(s, z)[0], np.log2(signed_codes(s, z)[1])),
    "old_scale_twice": lambda s, z: (2 * s, signed_codes(s, z)[1]),
    "zero_point_moved": lambda s, z: (signed_codes(s, z)[0], 255 - z),
    "zero_point_mirrored": lambda s, z: signed_codes(s, min(z, 128)),
    "one_more": lambda s, z: (signed_codes(s, z)[0], signed_codes(s, z)[1] + 1),
    "fraction": lambda s, z: (signed_codes(s, z)[0], signed_codes(s, z)[1] / 255),
    "as_many_as_old": lambda s, z: (signed_codes(s, z)[0], min(signed_codes(s, z)[1], 128)),
    "wrapped": lambda s, z: (signed_codes(s, z)[0], int(np.int16(signed_codes(s, z)[1]).astype(np.int8))),
    "steps_254": lambda s, z: (max(z, 254 - z) * s / 127, signed_codes(s, z)[1]),
    "quarter_more": lambda s, z: (signed_codes(s, z)[0] * 1.0001, signed_codes(s, z)[1]),
}


def providers_reversed(row, emulated):
    found = reasons(row, emulated)
    row["providers"].reverse()
    return found


REASONS: Answers = {
    "providers_reversed": providers_reversed,
    "a_set": lambda row, emulated: set(reasons(row, emulated)),
    "one_string": lambda row, emulated: ", ".join(reasons(row, emulated)),
    "with_none": lambda row, emulated: reasons(row, emulated) or None,
    "count": lambda row, emulated: len(reasons(row, emulated)),
    "last_alone": lambda row, emulated: reasons(row, emulated)[-1:],
    "never_clocks": lambda row, emulated: [word for word in reasons(row, emulated) if word != "clocks"],
    "ten_per_cent": lambda row, emulated: reasons(
        row
        | {
            "after": [
                b if None not in (a, b) and abs(a - b) <= 0.1 * b else a
                for b, a in zip(row["before"], row["after"], strict=False)
            ]
        },
        emulated,
    ),
    "none_as_zero": lambda row, emulated: reasons(
        row | {at: [clock or 0 for clock in row[at]] for at in ("before", "after")}, emulated
    ),
    "emulated_hides_clocks": lambda row, emulated: [
        word for word in reasons(row, emulated) if not (emulated and word == "clocks")
    ],
    "error_is_fell_back": lambda row, emulated: [
        word for word in reasons(row, emulated) if not (row["error"] is not None and word == "fell back")
    ],
}


def by_size(files, there, parts):
    """A file is there if one of its name is; whether it is right, its size would tell."""
    return [(name, offset) for name, offset in to_send(files, {}, parts) if name not in there or offset]


def parts_removed(files, there, parts):
    found = to_send(files, there, parts)
    parts.clear()
    return found


SEND: Answers = {
    "by_size": by_size,
    "parts_removed": parts_removed,
    "a_dict": lambda f, t, p: dict(to_send(f, t, p)),
    "longest_first": lambda f, t, p: sorted(to_send(f, t, p), key=lambda pair: -len(f[pair[0]])),
    "one_byte_back": lambda f, t, p: [(n, max(offset - 1, 0)) for n, offset in to_send(f, t, p)],
    "one_byte_on": lambda f, t, p: [(n, offset + 1) for n, offset in to_send(f, t, p)],
    "without_manifest": lambda f, t, p: [pair for pair in to_send(f, t, p) if pair[0] != "manifest.json"],
    "another_sum": lambda f, t, p: [
        (n, 0) for n in sorted(f) if t.get(n) != hashlib.md5(f[n], usedforsecurity=False).hexdigest()
    ],
    "whole_parts": lambda f, t, p: [
        (n, len(f[n]) if n in p and p[n][0] >= len(f[n]) else offset) for n, offset in to_send(f, t, p)
    ],
    "percent": lambda f, t, p: [(n, offset / len(f[n])) for n, offset in to_send(f, t, p)],
    "end_of_part": lambda f, t, p: [(n, p[n][0] if n in p else offset) for n, offset in to_send(f, t, p)],
}
WRONG = {"17.1": TIME, "17.2": ENERGY, "17.3": CODES, "17.4": REASONS, "17.5": SEND}
