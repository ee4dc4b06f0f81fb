"""Wrong answers to chapter 15."""

from __future__ import annotations

import torch

from course_lib.exercises.chapter_15.bytes_of_a_chain import bytes_moved
from course_lib.exercises.chapter_15.foldable_pairs import foldable
from course_lib.exercises.chapter_15.merged_linears import merged
from course_lib.exercises.chapter_15.norm_before import fold_in_front
from course_lib.exercises.chapter_15.saved_time import saved_ms
from engine_trial.answers import Answers


def pictures_alone(kernels, batch, channels, pixels, itemsize):
    picture = batch * channels * pixels
    return itemsize * sum((2 + k.count("sum")) * picture for k in kernels if k != ("view",))


def norm_as_conv(kernels, batch, channels, pixels, itemsize):
    renamed = tuple(tuple("conv" if step == "norm" else step for step in kernel) for kernel in kernels)
    return bytes_moved(renamed, batch, channels, pixels, itemsize)


BYTES: Answers = {
    "pictures_alone": pictures_alone,
    "norm_as_conv": norm_as_conv,
    "pixels_squared": lambda k, b, c, p, i: bytes_moved(k, b, c, p * p, i),
    "channels_squared_pictures": lambda k, b, c, p, i: bytes_moved(k, b * c, c, p, i),
    "first_kernel": lambda k, b, c, p, i: bytes_moved(k[:1], b, c, p, i),
    "last_kernel": lambda k, b, c, p, i: bytes_moved(k[-1:], b, c, p, i),
    "each_kind_once": lambda k, b, c, p, i: bytes_moved(tuple(dict.fromkeys(k)), b, c, p, i),
    "kibibytes": lambda k, b, c, p, i: bytes_moved(k, b, c, p, i) / 1024,
    "sums_dropped": lambda k, b, c, p, i: bytes_moved(
        tuple(tuple(s for s in kernel if s != "sum") or ("relu",) for kernel in k), b, c, p, i
    ),
    "one_byte_more": lambda k, b, c, p, i: bytes_moved(k, b, c, p, i) + 1,
}


def changed_in_place(w, b, factor, shift, groups, padding):
    found = fold_in_front(w, b, factor, shift, groups, padding)
    if found is not None:
        w.copy_(found[0])
    return found


def refuses_with_an_error(w, b, factor, shift, groups, padding):
    found = fold_in_front(w, b, factor, shift, groups, padding)
    if found is None:
        raise ValueError("padded")
    return found


def zeros_for_none(w, b, factor, shift, groups, padding):
    found = fold_in_front(w, b, factor, shift, groups, padding)
    return found or (torch.zeros_like(w), torch.zeros(len(w)))


FRONT: Answers = {
    "changed_in_place": changed_in_place,
    "refuses_with_an_error": refuses_with_an_error,
    "zeros_for_none": zeros_for_none,
    "none_with_groups": lambda w, b, f, t, g, p: None if g > 1 else fold_in_front(w, b, f, t, g, p),
    "factor_and_shift_swapped": lambda w, b, f, t, g, p: fold_in_front(w, b, t, f, g, p),
    "bias_twice": lambda w, b, f, t, g, p: fold_in_front(w, None if b is None else 2 * b, f, t, g, p),
    "groups_ignored": lambda w, b, f, t, g, p: fold_in_front(w, b, f[: w.shape[1]], t[: w.shape[1]], 1, p),
    "padding_of_one_alone": lambda w, b, f, t, g, p: fold_in_front(w, b, f, t, g, p == 1),
    "positive_shifts_alone": lambda w, b, f, t, g, p: fold_in_front(w, b, f, t.clamp(min=0), g, p),
    "small_shifts_forgiven": lambda w, b, f, t, g, p: fold_in_front(w, b, f, t * (t.abs() > 0.01), g, p),
    "rounded": lambda *q: (found := fold_in_front(*q)) and tuple(part.round() for part in found),
}


def chains_alone(nodes, outputs, training):
    straight = {n[0] for n, m in zip(nodes[1:], nodes, strict=False) if n[3] == (m[0],)}
    return [pair for pair in foldable(nodes, outputs, training) if {*pair} <= straight]


PAIRS: Answers = {
    "chains_alone": chains_alone,
    "nothing": lambda nodes, outputs, training: [] if nodes else [("", "")],
    "last_alone": lambda nodes, outputs, training: foldable(nodes, outputs, training)[-1:],
    "first_alone": lambda nodes, outputs, training: foldable(nodes, outputs, training)[:1],
    "reversed": lambda nodes, outputs, training: foldable(nodes, outputs, training)[::-1],
    "as_a_set": lambda nodes, outputs, training: set(foldable(nodes, outputs, training)),
    "norms_alone": lambda nodes, outputs, training: [norm for _, norm in foldable(nodes, outputs, training)],
    "convs_alone": lambda nodes, outputs, training: [conv for conv, _ in foldable(nodes, outputs, training)],
    "first_output_alone": lambda nodes, outputs, training: foldable(nodes, outputs[:1], training),
    "training_turned_round": lambda nodes, outputs, training: foldable(
        nodes, outputs, frozenset(node[2] for node in nodes) - training
    ),
    "returned_norms_refused": lambda nodes, outputs, training: [
        pair for pair in foldable(nodes, outputs, training) if pair[1] not in outputs
    ],
}
SAVED: Answers = {
    "half": lambda before, after, gbs, us: saved_ms(before, after, gbs, us) / 2,
    "overhead_of_before": lambda before, after, gbs, us: saved_ms(before, after, gbs, us) + len(after) * us / 1e3,
    "gigabits": lambda before, after, gbs, us: saved_ms(before, after, gbs / 8, us),
    "mebibytes": lambda before, after, gbs, us: saved_ms(before, after, gbs * 2**20 / 1e6, us),
    "calls_that_shrank": lambda before, after, gbs, us: sum(
        us / 1e3 + (a - b) / gbs / 1e6 for a, b in zip(before, after, strict=False) if b < a
    ),
    "set_of_bytes": lambda before, after, gbs, us: saved_ms(tuple({*before}), tuple({*after}), gbs, us),
    "largest_call": lambda before, after, gbs, us: saved_ms((max(before),), (max(after, default=0),), gbs, us),
    "in_nanoseconds": lambda before, after, gbs, us: 1e6 * saved_ms(before, after, gbs, us),
    "overhead_per_byte": lambda before, after, gbs, us: (sum(before) - sum(after)) * (us / 1e3 + 1 / gbs / 1e6),
    "less_a_percent": lambda before, after, gbs, us: 0.99 * saved_ms(before, after, gbs, us),
}


def merged_in_place(w1, b1, w2, b2):
    found = merged(w1, b1, w2, b2)
    b2.add_(w2 @ b1)
    return found


MERGED: Answers = {
    "merged_in_place": merged_in_place,
    "weights_alone": lambda *q: (found := merged(*q)) and found[0],
    "false_for_none": lambda *q: merged(*q) or False,
    "first_layer_back": lambda w1, b1, w2, b2: merged(w1, b1, w2, b2) and (w1, b1),
    "minus_the_first_bias": lambda w1, b1, w2, b2: merged(w1, -b1, w2, b2),
    "both_biases_and_the_product": lambda w1, b1, w2, b2: merged(w1, b1, w2, 2 * b2),
    "integers": lambda w1, b1, w2, b2: merged(w1.int().float() + 1, b1, w2, b2),
    "inputs_against_hidden": lambda w1, b1, w2, b2: (
        (w2 @ w1, w2 @ b1 + b2) if len(w1) * 2 > max(len(w2), w1.shape[1]) else None
    ),
    "bias_as_a_column": lambda *q: (found := merged(*q)) and (found[0], found[1][:, None]),
}
WRONG = {"15.1": BYTES, "15.2": FRONT, "15.3": PAIRS, "15.4": SAVED, "15.5": MERGED}
