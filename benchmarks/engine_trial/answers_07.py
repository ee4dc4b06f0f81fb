"""Wrong answers to chapter 07."""

from __future__ import annotations

import torch

from course_lib.exercises.chapter_07.csr_saving import bytes_saved_by_csr
from course_lib.exercises.chapter_07.cubic_schedule import cubic_fraction
from course_lib.exercises.chapter_07.fraction_mask import mask_of_fraction
from course_lib.exercises.chapter_07.masked_step import masked_sgd_step
from course_lib.exercises.chapter_07.n_of_m import n_m_mask_of
from engine_trial.answers import Answers


def weights_sorted_in_place(weights, pruning_ratio):
    found = mask_of_fraction(weights, pruning_ratio)
    weights.copy_(weights.flatten().sort().values.view(weights.shape))
    return found


def weights_pruned_in_place(weights, pruning_ratio):
    found = mask_of_fraction(weights, pruning_ratio)
    weights.mul_(found)
    return found


FRACTION: Answers = {
    "weights_sorted_in_place": weights_sorted_in_place,
    "weights_pruned_in_place": weights_pruned_in_place,
    "always_half": lambda w, p: mask_of_fraction(w, 0.5),
    "fraction_kept": lambda w, p: mask_of_fraction(w, 1 - p),
    "share_of_the_largest": lambda w, p: w.abs() > p * w.abs().max(),
    "below_the_mean": lambda w, p: w.abs() >= w.abs().mean(),
    "squared_and_signed": lambda w, p: mask_of_fraction(w * w.clamp(min=0), p),
    "uint8": lambda w, p: mask_of_fraction(w, p).to(torch.uint8),
    "all_kept": lambda w, p: torch.ones_like(w, dtype=torch.bool),
    "places": lambda w, p: mask_of_fraction(w, p).nonzero(),
}


def weights_changed(weights, gradient, velocity, mask, lr, momentum, weight_decay):
    found = masked_sgd_step(weights, gradient, velocity, mask, lr, momentum, weight_decay)
    weights.copy_(found[0])
    return found


def velocity_changed(weights, gradient, velocity, mask, lr, momentum, weight_decay):
    found = masked_sgd_step(weights, gradient, velocity, mask, lr, momentum, weight_decay)
    velocity.copy_(found[1])
    return found


def dampened(weights, gradient, velocity, mask, lr, momentum, weight_decay):
    return masked_sgd_step(weights, (1 - momentum) * gradient, velocity, mask, lr, momentum, weight_decay)


def no_momentum(weights, gradient, velocity, mask, lr, momentum, weight_decay):
    return masked_sgd_step(weights, gradient, 0 * velocity, mask, lr, momentum, weight_decay)


def decay_of_the_masked(weights, gradient, velocity, mask, lr, momentum, weight_decay):
    return masked_sgd_step(weights * mask, gradient, velocity, mask, lr, momentum, weight_decay)


STEP: Answers = {
    "weights_changed": weights_changed,
    "velocity_changed": velocity_changed,
    "dampened": dampened,
    "no_momentum": no_momentum,
    "decay_of_the_masked": decay_of_the_masked,
    "rate_in_the_velocity": lambda w, g, v, m, lr, mo, wd: masked_sgd_step(w, lr * g, v, m, 1.0, mo, lr * wd),
    "decay_half": lambda w, g, v, m, lr, mo, wd: masked_sgd_step(w, g, v, m, lr, mo, wd / 2),
    "dictionary": lambda *a: dict(zip(("weights", "velocity"), masked_sgd_step(*a), strict=True)),
}
CUBIC: Answers = {
    "to_the_fourth": lambda s, i, t, f, e, r: t + (i - t) * (1 - min(max((s - f) // e, 0), r) / r) ** 4,
    "rounded_changes": lambda s, i, t, f, e, r: t + (i - t) * (1 - min(max(round((s - f) / e), 0), r) / r) ** 3,
    "one_round_more": lambda s, i, t, f, e, r: cubic_fraction(s, i, t, f, e, r + 1),
    "one_step_late": lambda s, i, t, f, e, r: cubic_fraction(s - 1, i, t, f, e, r),
    "always_target": lambda s, i, t, f, e, r: t,
    "jump_at_the_end": lambda s, i, t, f, e, r: i if s < f + e * r else t,
    "of_what_is_left": lambda s, i, t, f, e, r: 1 - (1 - cubic_fraction(s, i, t, f, e, r)) ** 2,
}
CSR: Answers = {
    "bits": lambda r, c, k: 8 * bytes_saved_by_csr(r, c, k),
    "values_of_two_bytes": lambda r, c, k: bytes_saved_by_csr(r, c, k) + 2 * k,
    "never_negative": lambda r, c, k: max(0, bytes_saved_by_csr(r, c, k)),
    "two_byte_columns": lambda r, c, k: 4 * r * c - k * 6 - (r + 1) * (1 if k <= 255 else 2 if k <= 65_535 else 4),
    "signed_bytes": lambda r, c, k: 4 * r * c - k * (5 if c - 1 <= 127 else 6) - (r + 1) * (1 if k <= 127 else 2),
    "transposed": lambda r, c, k: bytes_saved_by_csr(c, r, k),
    "in_kilobytes": lambda r, c, k: bytes_saved_by_csr(r, c, k) / 1000,
}


def pattern_in_place(weights, n, m):
    found = n_m_mask_of(weights, n, m)
    weights.masked_fill_(~found, 0.0)
    return found


PATTERN: Answers = {
    "weights_changed": pattern_in_place,
    "the_first_n": lambda w, n, m: (torch.arange(w.shape[1]) % m < n).expand(w.shape),
    "largest_sum": lambda w, n, m: n_m_mask_of(w.cumsum(1), n, m),
    "n_and_m_swapped_kept": lambda w, n, m: torch.ones_like(w, dtype=torch.bool),
    "one_more": lambda w, n, m: n_m_mask_of(w, min(n + 1, m), m),
    "half_of_the_row": lambda w, n, m: torch.stack([mask_of_fraction(row, 0.5) for row in w]),
    "uint8": lambda w, n, m: n_m_mask_of(w, n, m).to(torch.uint8),
}
WRONG = {"07.1": FRACTION, "07.2": STEP, "07.3": CUBIC, "07.4": CSR, "07.5": PATTERN}
