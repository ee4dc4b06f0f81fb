"""Wrong answers to chapter 08."""

from __future__ import annotations

import math

import torch

from course_lib.exercises.chapter_08.chain_cut import cut_chain
from course_lib.exercises.chapter_08.chain_macs import chain_macs
from course_lib.exercises.chapter_08.concatenated import concatenated_inputs
from course_lib.exercises.chapter_08.flat_inputs import inputs_of_channels
from course_lib.exercises.chapter_08.taylor_scores import taylor_scores
from engine_trial.answers import Answers


def _floored(channels, pruning_ratio):
    return [channels[0], *(max(1, math.floor((1 - pruning_ratio) * c)) for c in channels[1:-1]), channels[-1]]


MACS: Answers = {
    "floored": lambda c, p, k, r: chain_macs(tuple(_floored(c, r)), p, k, 0.0),
    "input_pixels": lambda c, p, k, r: chain_macs(c, (4 * p[0], *p[:-1]), k, r),
    "first_layer_whole": lambda c, p, k, r: chain_macs(c, p, k, r) + p[0] * c[0] * k * k,
    "with_biases": lambda c, p, k, r: chain_macs(c, p, k, r) + sum(p),
    "in_millions": lambda c, p, k, r: chain_macs(c, p, k, r) / 1e6,
    "last_layer_only": lambda c, p, k, r: chain_macs(c[-2:], p[-1:], k, r),
    "list_by_layer": lambda c, p, k, r: [chain_macs(c, p, k, r)],
}


def state_changed(state, keep):
    found = cut_chain(state, keep)
    state["first.weight"] = found["first.weight"]
    return found


def eyes_closed(state, keep):
    return {**cut_chain(state, keep), "norm.bias": torch.zeros(len(keep))}


def variance_of_one(state, keep):
    return {**cut_chain(state, keep), "norm.running_var": torch.ones(len(keep))}


def norm_folded(state, keep):
    found = cut_chain(state, keep)
    return {**found, "norm.weight": torch.ones(len(keep))}


def without_counter(state, keep):
    found = cut_chain(state, keep)
    found.pop("second.bias")
    return found


CUT: Answers = {
    "state_changed": state_changed,
    "no_shift": eyes_closed,
    "variance_of_one": variance_of_one,
    "scale_of_one": norm_folded,
    "bias_lost": without_counter,
    "last_ones": lambda s, keep: cut_chain(s, list(range(len(s["norm.bias"]) - len(keep), len(s["norm.bias"])))),
    "weights_alone": lambda s, keep: {n: t for n, t in cut_chain(s, keep).items() if n.endswith("weight")},
}
FLAT: Answers = {
    "one_too_few": lambda keep, c, h, w: inputs_of_channels(keep, c, h, w)[:-1],
    "perimeter": lambda keep, c, h, w: [k * 2 * (h + w) + i for k in keep for i in range(2 * (h + w))],
    "sorted_by_pixel": lambda keep, c, h, w: sorted(inputs_of_channels(keep, c, h, w), key=lambda i: i % (h * w)),
    "all": lambda keep, c, h, w: list(range(c * h * w)),
    "mask": lambda keep, c, h, w: [i // (h * w) in keep for i in range(c * h * w)],
    "count": lambda keep, c, h, w: len(keep) * h * w,
    "backwards": lambda keep, c, h, w: inputs_of_channels(keep, c, h, w)[::-1],
}
CONCATENATED: Answers = {
    "keeps_changed": lambda sizes, keeps: [concatenated_inputs(sizes, keeps), keeps.clear()][0],
    "one_more": lambda sizes, keeps: [i + 1 for i in concatenated_inputs(sizes, keeps)],
    "all": lambda sizes, keeps: list(range(sum(sizes))),
    "interleaved": lambda sizes, keeps: [c * len(sizes) + b for b, keep in enumerate(keeps) for c in keep],
    "offsets": lambda sizes, keeps: [sum(sizes[:b]) for b in range(len(sizes))],
    "from_behind": lambda sizes, keeps: [sum(sizes[b + 1 :]) + c for b, keep in enumerate(keeps) for c in keep],
}


def activations_changed(activations, gradients):
    found = taylor_scores(activations, gradients)
    activations.mul_(gradients)
    return found


TAYLOR: Answers = {
    "activations_changed": activations_changed,
    "sum_over_everything": lambda a, g: (a * g).sum().abs().expand(a.shape[1]),
    "positive_alone": lambda a, g: (a * g).sum((2, 3)).clamp(min=0).mean(0),
    "largest_image": lambda a, g: (a * g).sum((2, 3)).abs().amax(0),
    "root_mean_square": lambda a, g: (a * g).sum((2, 3)).square().mean(0).sqrt(),
    "normalized": lambda a, g: taylor_scores(a, g) / taylor_scores(a, g).sum(),
    "first_image": lambda a, g: taylor_scores(a[:1], g[:1]),
    "quotient": lambda a, g: (a + g).sum((2, 3)).abs().mean(0),
}
WRONG = {"08.1": MACS, "08.2": CUT, "08.3": FLAT, "08.4": CONCATENATED, "08.5": TAYLOR}
