"""Wrong answers to chapter 06."""

from __future__ import annotations

import contextlib

import torch
from torch import nn
from torch.nn import functional as F

from course_lib.exercises.chapter_06.attention_map import attention
from course_lib.exercises.chapter_06.hint_projection import hint_loss
from course_lib.exercises.chapter_06.relative_distances import relative_distances
from course_lib.exercises.chapter_06.similarity_table import similarity_loss
from engine_trial.answers import Answers


def student_changed(student, teacher, weight):
    found = hint_loss(student, teacher, weight)
    student.clamp_(min=0)
    return found


def teacher_pooled_in_place(student, teacher, weight):
    found = hint_loss(student, teacher, weight)
    teacher.mul_(0.5)
    return found


def _pooled(student, teacher):
    return F.avg_pool2d(teacher.detach(), teacher.shape[2] // student.shape[2])


def _lifted(student, weight):
    return torch.einsum("ts,bshw->bthw", weight, student)


def no_gradient_at_all(student, teacher, weight):
    with torch.no_grad():
        return hint_loss(student, teacher, weight)


HINT: Answers = {
    "student_changed": student_changed,
    "teacher_changed": teacher_pooled_in_place,
    "no_grad": no_gradient_at_all,
    "everything_detached": lambda v, u, w: hint_loss(v, u, w).detach(),
    "only_the_first_image_trains": lambda v, u, w: hint_loss(torch.cat([v[:1], v[1:].detach()]), u, w),
    "gradient_halved": lambda v, u, w: 0.5 * hint_loss(v, u, w) + 0.5 * hint_loss(v, u, w).detach(),
    "only_the_first_channel_of_r_trains": lambda v, u, w: hint_loss(v, u, torch.cat([w[:1], w[1:].detach()])),
    "weight_transposed": lambda v, u, w: (
        (_pooled(v, u) - torch.einsum("st,bshw->bthw", w.reshape(w.shape[1], w.shape[0]), v)).square().mean()
    ),
    "over_student_channels": lambda v, u, w: (_pooled(v, u) - _lifted(v, w)).square().sum() / v.numel(),
    "over_the_teacher_s_pixels": lambda v, u, w: (_pooled(v, u) - _lifted(v, w)).square().sum() / u.numel(),
    "mean_over_channels_first": lambda v, u, w: (_pooled(v, u).mean(1) - _lifted(v, w).mean(1)).square().mean(),
    "mean_over_pixels_first": lambda v, u, w: (_pooled(v, u).mean((2, 3)) - _lifted(v, w).mean((2, 3))).square().mean(),
    "k_of_the_width_and_channels": lambda v, u, w: hint_loss(v, u, w) * u.shape[1] / v.shape[1],
    "k_capped_at_two": lambda v, u, w: (
        (F.interpolate(u.detach(), v.shape[2:], mode="bilinear") - _lifted(v, w)).square().mean()
    ),
    "nearest_pixel": lambda v, u, w: (F.interpolate(u.detach(), v.shape[2:]) - _lifted(v, w)).square().mean(),
    "central_pixel": lambda v, u, w: (
        (
            u.detach()[
                :,
                :,
                u.shape[2] // v.shape[2] // 2 :: u.shape[2] // v.shape[2],
                u.shape[2] // v.shape[2] // 2 :: u.shape[2] // v.shape[2],
            ]
            - _lifted(v, w)
        )
        .square()
        .mean()
    ),
    "sum_added": lambda v, u, w: (_pooled(v, u) + _lifted(v, w)).square().mean(),
    "smooth_l1": lambda v, u, w: F.smooth_l1_loss(_lifted(v, w), _pooled(v, u)),
    "huber_far_away": lambda v, u, w: F.huber_loss(_lifted(v, w), _pooled(v, u), delta=5.0),
    "relu_of_the_projection": lambda v, u, w: (_pooled(v, u) - _lifted(v, w).relu()).square().mean(),
    "normalised": lambda v, u, w: (F.normalize(_pooled(v, u)) - F.normalize(_lifted(v, w))).square().mean(),
    "rounded": lambda v, u, w: hint_loss(v, u, w).round(decimals=1),
    "weight_decay_added": lambda v, u, w: hint_loss(v, u, w) + 1e-2 * w.square().sum(),
    "per_image": lambda v, u, w: (_pooled(v, u) - _lifted(v, w)).square().mean((1, 2, 3)),
}


def features_in_place(features, power):
    found = attention(features, power)
    features.abs_()
    return found


def _unit(q):
    return q / q.norm(dim=1, keepdim=True)


def no_gradient(features, power):
    with torch.no_grad():
        return attention(features, power)


ATTENTION: Answers = {
    "features_in_place": features_in_place,
    "no_grad": no_gradient,
    "numpy": lambda a, p: attention(a.detach(), p).numpy(),
    "first_channel_trains": lambda a, p: attention(torch.cat([a[:, :1], a[:, 1:].detach()], 1), p),
    "whole_power": lambda a, p: attention(a, int(p)),
    "power_plus_one": lambda a, p: attention(a, p + 1),
    "at_least_two": lambda a, p: attention(a, max(p, 2)),
    "at_most_three": lambda a, p: attention(a, min(p, 1.5)),
    "sign_kept": lambda a, p: _unit((a.sign() * a.abs().pow(p)).sum(1).flatten(1)),
    "root_of_the_map": lambda a, p: _unit(attention(a, p).sqrt()),
    "squared_map": lambda a, p: attention(a, p).square(),
    "p_norm_of_the_map": lambda a, p: F.normalize(a.abs().pow(p).sum(1).flatten(1), p=p),
    "norm_of_the_features": lambda a, p: a.abs().pow(p).sum(1).flatten(1) / a.flatten(1).norm(dim=1, keepdim=True),
    "product_of_channels": lambda a, p: _unit(a.abs().pow(p).prod(1).flatten(1)),
    "small_number_below": lambda a, p: (lambda q: q / (q.norm(dim=1, keepdim=True) + 1e-2))(
        a.abs().pow(p).sum(1).flatten(1)
    ),
    "softmax": lambda a, p: a.abs().pow(p).sum(1).flatten(1).softmax(1),
    "mean_taken_off": lambda a, p: attention(a - a.mean(1, keepdim=True), p),
    "rows_normalised": lambda a, p: F.normalize(a.abs().pow(p).sum(1), dim=2).flatten(1),
    "channels_normalised_first": lambda a, p: attention(F.normalize(a, dim=1), p),
    "flat_batch": lambda a, p: attention(a, p).flatten(),
    "one_image": lambda a, p: attention(a, p)[:1],
    "rounded": lambda a, p: attention(a, p).round(decimals=2),
    "pixels_reversed": lambda a, p: attention(a, p).flip(1),
    "half_precision": lambda a, p: attention(a.half().float(), p).half(),
}


def embeddings_centred(embeddings):
    embeddings -= embeddings.mean(0)
    return relative_distances(embeddings)


def not_trained(embeddings):
    with torch.no_grad():
        return relative_distances(embeddings)


def _difference(e):
    return e[:, None] - e[None]


def _mean(d):
    return d.sum() / (len(d) * (len(d) - 1))


def root_with_nan_made_zero(embeddings):
    d = _difference(embeddings).square().sum(-1).sqrt()
    return d / _mean(d) + 0 * d.sum()


DISTANCES: Answers = {
    "centred_in_place": embeddings_centred,
    "no_grad": not_trained,
    "numpy": lambda e: relative_distances(e.detach()).numpy(),
    "root_of_zero_again": root_with_nan_made_zero,
    "first_point_trains": lambda e: relative_distances(torch.cat([e[:1], e[1:].detach()])),
    "gradient_doubled": lambda e: 2 * relative_distances(e) - relative_distances(e).detach(),
    "small_number_under_the_root": lambda e: (lambda d: d / _mean(d))((_difference(e).square().sum(-1) + 1e-4).sqrt()),
    "distance_clamped": lambda e: (lambda d: d / _mean(d))(torch.cdist(e, e).clamp(min=0.1)),
    "largest_coordinate": lambda e: (lambda d: d / _mean(d))(torch.cdist(e, e, p=float("inf"))),
    "cosine": lambda e: (lambda d: d / _mean(d))(1 - F.normalize(e) @ F.normalize(e).T),
    "over_dimensions": lambda e: relative_distances(e) / e.shape[1],
    "over_root_of_dimensions": lambda e: relative_distances(e) / e.shape[1] ** 0.5,
    "geometric_mean": lambda e: (lambda d: d / (d + torch.eye(len(d))).log().sum().div(len(d) * (len(d) - 1)).exp())(
        torch.cdist(e, e)
    ),
    "smallest_distance": lambda e: (lambda d: d / (d + 1e9 * torch.eye(len(d))).min())(torch.cdist(e, e)),
    "deviation": lambda e: (lambda d: d / d.std())(torch.cdist(e, e)),
    "ones_on_the_diagonal": lambda e: relative_distances(e) + torch.eye(len(e)),
    "upper_half": lambda e: relative_distances(e).triu(),
    "neighbours_only": lambda e: (lambda d: d / d.diagonal(1).mean())(torch.cdist(e, e)),
    "to_the_centre": lambda e: (lambda d: d / d.mean())((e - e.mean(0)).norm(dim=1)),
    "inverse": lambda e: 1 / (relative_distances(e) + torch.eye(len(e))),
    "squared_table": lambda e: relative_distances(e).square(),
    "rounded": lambda e: relative_distances(e).round(decimals=2),
    "mean_of_rows_and_columns": lambda e: (lambda d: d / (d.sum(1, keepdim=True) + d.sum(0)) * (len(d) - 1) * 2)(
        torch.cdist(e, e)
    ),
    "flat": lambda e: relative_distances(e).flatten(),
}


def student_normalised_in_place(student, teacher):
    found = similarity_loss(student, teacher)
    student /= student.norm()
    return found


def not_trained_pair(student, teacher):
    with torch.no_grad():
        return similarity_loss(student, teacher)


def _rows(features):
    a = features.flatten(1)
    return F.normalize(a @ a.T)


def eyes_left_in(student, teacher):
    with contextlib.suppress(RuntimeError):
        return (_rows(teacher.detach()) - _rows(student)).triu().square().sum() / len(student) ** 2
    return student.sum()


SIMILARITY: Answers = {
    "student_normalised_in_place": student_normalised_in_place,
    "no_grad": not_trained_pair,
    "upper_half": eyes_left_in,
    "detached": lambda s, t: similarity_loss(s, t).detach(),
    "student_detached_teacher_trains": lambda s, t: similarity_loss(t, s),
    "first_image_trains": lambda s, t: similarity_loss(torch.cat([s[:1], s[1:].detach()]), t),
    "gradient_halved": lambda s, t: 0.5 * similarity_loss(s, t) + 0.5 * similarity_loss(s, t).detach(),
    "over_pairs": lambda s, t: similarity_loss(s, t) * len(s) / (len(s) - 1),
    "half": lambda s, t: similarity_loss(s, t) / 2,
    "over_b_cubed": lambda s, t: similarity_loss(s, t) / len(s),
    "root": lambda s, t: similarity_loss(s, t).sqrt(),
    "products_of_channels": lambda s, t: (lambda a, b: (F.normalize(a @ a.T) - F.normalize(b @ b.T)).square().mean())(
        s.flatten(1)[:, : min(s[0].numel(), t[0].numel())], t.detach().flatten(1)[:, : min(s[0].numel(), t[0].numel())]
    ),
    "centred_features": lambda s, t: similarity_loss(
        s.flatten(1) - s.flatten(1).mean(0), t.flatten(1) - t.flatten(1).mean(0)
    ),
    "absolute_products": lambda s, t: (_rows(t.detach()).abs() - _rows(s).abs()).square().mean(),
    "relu_of_products": lambda s, t: (_rows(t.detach()).relu() - _rows(s).relu()).square().mean(),
    "distances_for_products": lambda s, t: (
        (
            F.normalize(torch.cdist(t.detach().flatten(1), t.detach().flatten(1)))
            - F.normalize(torch.cdist(s.flatten(1), s.flatten(1)))
        )
        .square()
        .mean()
    ),
    "largest_of_a_row": lambda s, t: (
        lambda a, b: (a / a.amax(1, keepdim=True) - b / b.amax(1, keepdim=True)).square().mean()
    )(t.detach().flatten(1) @ t.detach().flatten(1).T, s.flatten(1) @ s.flatten(1).T),
    "small_number_below": lambda s, t: (
        lambda a, b: (a / (a.norm(dim=1, keepdim=True) + 1) - b / (b.norm(dim=1, keepdim=True) + 1)).square().mean()
    )(t.detach().flatten(1) @ t.detach().flatten(1).T, s.flatten(1) @ s.flatten(1).T),
    "rounded": lambda s, t: similarity_loss(s, t).round(decimals=3),
    "largest_difference": lambda s, t: (_rows(t.detach()) - _rows(s)).square().max(),
    "one_minus_cosine": lambda s, t: 1 - F.cosine_similarity(_rows(s), _rows(t.detach())).mean(),
    "image_by_image": lambda s, t: (_rows(t.detach()) - _rows(s)).square().mean(1),
    "layer_as_given": lambda s, t: nn.functional.mse_loss(s.flatten(1).mean(1), t.detach().flatten(1).mean(1)),
}

WRONG = {"06.2": HINT, "06.3": ATTENTION, "06.4": DISTANCES, "06.5": SIMILARITY}
