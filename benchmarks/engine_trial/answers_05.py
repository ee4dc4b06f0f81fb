"""Wrong answers to chapter 05."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from course_lib.exercises.chapter_05.distillation_loss import loss_with_t_and_alpha
from course_lib.exercises.chapter_05.missing_labels import partly_labelled
from course_lib.exercises.chapter_05.other_classes import kl_of_the_others
from engine_trial.answers import Answers


def _soft(s, z, t):
    return t**2 * F.kl_div(F.log_softmax(s / t, 1), F.softmax(z / t, 1), reduction="batchmean")


def student_divided_in_place(s, z, y, t, a):
    hard = F.cross_entropy(s.clone(), y)
    s /= t
    return a * t**2 * F.kl_div(F.log_softmax(s, 1), F.softmax(z / t, 1), reduction="batchmean") + (1 - a) * hard


def teacher_divided_in_place(s, z, y, t, a):
    z /= t
    return loss_with_t_and_alpha(s, z * t, y, t, a)


def without_gradient(s, z, y, t, a):
    with torch.no_grad():
        return loss_with_t_and_alpha(s, z, y, t, a)


def nothing_at_alpha_one(s, z, y, t, a):
    return 0 * s.sum() if a == 1 else loss_with_t_and_alpha(s, z, y, t, a)


def capped(s, z, y, t, a):
    return loss_with_t_and_alpha(s, z, y, t, a).clamp(max=100)


LOSS: Answers = {
    "student_divided_in_place": student_divided_in_place,
    "teacher_divided_in_place": teacher_divided_in_place,
    "no_grad": without_gradient,
    "student_detached": lambda s, z, y, t, a: loss_with_t_and_alpha(s.detach(), z, y, t, a),
    "float": lambda s, z, y, t, a: float(loss_with_t_and_alpha(s, z, y, t, a).detach()),
    "fresh_leaf": lambda s, z, y, t, a: torch.tensor(loss_with_t_and_alpha(s, z, y, t, a).item(), requires_grad=True),
    "gradient_into_the_teacher_alone": lambda s, z, y, t, a: loss_with_t_and_alpha(
        s.detach(), z.clone().requires_grad_(), y, t, a
    ),
    "last_image_cut_off": lambda s, z, y, t, a: loss_with_t_and_alpha(torch.cat([s[:-1], s[-1:].detach()]), z, y, t, a),
    "nothing_at_alpha_one": nothing_at_alpha_one,
    "capped": capped,
    "clamped_logits": lambda s, z, y, t, a: loss_with_t_and_alpha(s.clamp(-50, 50), z.clamp(-50, 50), y, t, a),
    "nan_to_num": lambda s, z, y, t, a: (
        a * t**2 * (F.softmax(z / t, 1) * (F.softmax(z / t, 1) / F.softmax(s / t, 1)).log()).sum(1).mean()
        + (1 - a) * F.cross_entropy(s, y)
    ).nan_to_num(),
    "label_smoothing": lambda s, z, y, t, a: a * _soft(s, z, t) + (1 - a) * F.cross_entropy(s, y, label_smoothing=0.1),
    "alpha_half": lambda s, z, y, t, a: loss_with_t_and_alpha(s, z, y, t, 0.5),
    "alpha_over_t_squared": lambda s, z, y, t, a: loss_with_t_and_alpha(s, z, y, t, a / t**2),
    "mean_of_both_directions": lambda s, z, y, t, a: (
        a * (_soft(s, z, t) + _soft(z, s, t)) / 2 + (1 - a) * F.cross_entropy(s, y)
    ),
    "label_of_the_teacher": lambda s, z, y, t, a: loss_with_t_and_alpha(s, z, z.argmax(1), t, a),
    "cross_entropy_of_the_teacher": lambda s, z, y, t, a: a * _soft(s, z, t) + (1 - a) * F.cross_entropy(z, y),
    "label_s_term_summed": lambda s, z, y, t, a: a * _soft(s, z, t) + (1 - a) * F.cross_entropy(s, y, reduction="sum"),
    "squared_logits": lambda s, z, y, t, a: a * F.mse_loss(s, z) + (1 - a) * F.cross_entropy(s, y),
    "per_image": lambda s, z, y, t, a: loss_with_t_and_alpha(s, z, y, t, a).expand(len(s)),
    "both_terms": lambda s, z, y, t, a: (a * _soft(s, z, t), (1 - a) * F.cross_entropy(s, y)),
    "half_precision": lambda s, z, y, t, a: loss_with_t_and_alpha(s.half().float(), z, y, t, a).half(),
    "first_case": lambda s, z, y, t, a: 0.5685 + 0 * s.sum(),
}


def labels_filled_in_place(s, z, y, t, a):
    found = partly_labelled(s, z, y, t, a)
    y[y < 0] = 0
    return found


def one_known_left_out(s, z, y, t, a):
    known = (y >= 0).sum()
    return a * _soft(s, z, t) + (1 - a) * (F.cross_entropy(s[y >= 0], y[y >= 0]) if known > 1 else 0)


def nan_to_num(s, z, y, t, a):
    return (a * _soft(s, z, t) + (1 - a) * F.cross_entropy(s, y, ignore_index=-1)).nan_to_num()


def known_first(s, z, y, t, a):
    count = int((y >= 0).sum())
    return a * _soft(s, z, t) + (1 - a) * (F.cross_entropy(s[:count], y[:count].clamp(min=0)) if count else 0)


def _known(s, y):
    known = y >= 0
    return F.cross_entropy(s[known], y[known], reduction="sum") / known.sum().clamp(min=1)


PARTLY: Answers = {
    "labels_filled_in_place": labels_filled_in_place,
    "one_known_left_out": one_known_left_out,
    "nan_to_num": nan_to_num,
    "known_first": known_first,
    "student_detached": lambda s, z, y, t, a: partly_labelled(s.detach(), z, y, t, a),
    "soft_detached": lambda s, z, y, t, a: a * _soft(s.detach(), z, t) + (1 - a) * _known(s, y),
    "number": lambda s, z, y, t, a: float(partly_labelled(s, z, y, t, a).detach()),
    "soft_over_unlabelled_alone": lambda s, z, y, t, a: (
        a * (_soft(s[y < 0], z[y < 0], t) if (y < 0).any() else 0 * s.sum()) + (1 - a) * _known(s, y)
    ),
    "hard_over_images_plus_one": lambda s, z, y, t, a: (
        a * _soft(s, z, t) + (1 - a) * _known(s, y) * (y >= 0).sum() / ((y >= 0).sum() + 1)
    ),
    "hard_weighed_by_the_share": lambda s, z, y, t, a: (
        a * _soft(s, z, t) + (1 - a) * (y >= 0).float().mean() * _known(s, y)
    ),
    "soft_weighed_by_the_share": lambda s, z, y, t, a: (
        a * (y < 0).float().mean() * _soft(s, z, t) + (1 - a) * _known(s, y)
    ),
    "last_class_for_unknown": lambda s, z, y, t, a: a * _soft(s, z, t) + (1 - a) * F.cross_entropy(s, y % s.shape[1]),
    "even_target_for_unknown": lambda s, z, y, t, a: (
        a * _soft(s, z, t)
        + (1 - a)
        * torch.where(y >= 0, F.cross_entropy(s, y.clamp(min=0), reduction="none"), -F.log_softmax(s, 1).mean(1)).mean()
    ),
    "ignored_at_100": lambda s, z, y, t, a: (
        a * _soft(s, z, t) + (1 - a) * F.cross_entropy(s, torch.where(y < 0, -100, y))
    ),
    "hard_at_t": lambda s, z, y, t, a: a * _soft(s, z, t) + (1 - a) * _known(s / t, y),
    "t_for_t_squared": lambda s, z, y, t, a: a * _soft(s, z, t) / t + (1 - a) * _known(s, y),
    "turned_round": lambda s, z, y, t, a: a * _soft(z, s, t) + (1 - a) * _known(s, y),
    "hard_without_weight": lambda s, z, y, t, a: a * _soft(s, z, t) + _known(s, y),
    "soft_without_weight": lambda s, z, y, t, a: _soft(s, z, t) + (1 - a) * _known(s, y),
    "clamped_logits": lambda s, z, y, t, a: partly_labelled(s.clamp(-50, 50), z.clamp(-50, 50), y, t, a),
    "nan_without_labels": lambda s, z, y, t, a: (
        a * _soft(s, z, t) + (1 - a) * _known(s, y) * (y >= 0).sum() / (y >= 0).sum()
    ),
    "small_number_below": lambda s, z, y, t, a: (
        a * _soft(s, z, t) + (1 - a) * F.cross_entropy(s, y, ignore_index=-1, reduction="sum") / ((y >= 0).sum() + 1e-2)
    ),
}


def _rest(z, y):
    return z[~F.one_hot(y, z.shape[1]).bool()].view(len(z), -1)


def _kl(s, z):
    return F.kl_div(F.log_softmax(s, 1), F.log_softmax(z, 1), reduction="none", log_target=True).sum(1)


def label_filled_in_place(s, z, y, t):
    own = F.one_hot(y, z.shape[1]).bool()
    z.masked_fill_(own, -1e4)
    return _kl(s.masked_fill(own, -1e4) / t, z / t).mean()


def student_filled_in_place(s, z, y, t):
    own = F.one_hot(y, z.shape[1]).bool()
    s.masked_fill_(own, -1e4)
    return _kl(s / t, z.masked_fill(own, -1e4) / t).mean()


def _filled(number):
    def answer(s, z, y, t):
        own = F.one_hot(y, z.shape[1]).bool()
        return _kl(s.masked_fill(own, number) / t, z.masked_fill(own, number) / t).mean()

    return answer


def _probabilities(s, z, y, t):
    p, q = (_rest((x / t).softmax(1), y) for x in (z, s))
    return p / p.sum(1, keepdim=True), q / q.sum(1, keepdim=True)


OTHERS: Answers = {
    "label_filled_in_place": label_filled_in_place,
    "student_filled_in_place": student_filled_in_place,
    "filled_with_minus_ten": _filled(-10.0),
    "filled_with_minus_one": _filled(-1.0),
    "filled_with_a_small_number": _filled(1e-8),
    "student_detached": lambda s, z, y, t: kl_of_the_others(s.detach(), z, y, t),
    "number": lambda s, z, y, t: float(kl_of_the_others(s, z, y, t).detach()),
    "first_image_trains": lambda s, z, y, t: kl_of_the_others(torch.cat([s[:1], s[1:].detach()]), z, y, t),
    "last_class_left_out": lambda s, z, y, t: _kl(s[:, :-1] / t, z[:, :-1] / t).mean(),
    "next_class_left_out": lambda s, z, y, t: kl_of_the_others(s, z, (y + 1) % z.shape[1], t),
    "labels_of_the_batch_turned_round": lambda s, z, y, t: kl_of_the_others(s, z, y.flip(0), t),
    "small_number_in_the_quotient": lambda s, z, y, t: (
        lambda p, q: (p * ((p + 1e-8) / (q + 1e-8)).log()).sum(1).mean()
    )(*_probabilities(s, z, y, t)),
    "nan_to_num": lambda s, z, y, t: (lambda p, q: (p * (p / q).log()).nan_to_num().sum(1).mean())(
        *_probabilities(s, z, y, t)
    ),
    "clamped_logits": lambda s, z, y, t: kl_of_the_others(s.clamp(-50, 50), z.clamp(-50, 50), y, t),
    "student_at_one": lambda s, z, y, t: _kl(_rest(s, y), _rest(z, y) / t).mean(),
    "student_alone_at_t": lambda s, z, y, t: _kl(_rest(s, y) / t, _rest(z, y)).mean(),
    "times_t": lambda s, z, y, t: t * kl_of_the_others(s, z, y, t),
    "over_classes": lambda s, z, y, t: kl_of_the_others(s, z, y, t) / z.shape[1],
    "mean_of_both_directions": lambda s, z, y, t: (kl_of_the_others(s, z, y, t) + kl_of_the_others(z, s, y, t)) / 2,
    "squared_difference": lambda s, z, y, t: F.mse_loss(*_probabilities(s, z, y, t)),
    "teacher_s_choice_and_label_left_out": lambda s, z, y, t: _kl(
        s.scatter(1, z.argmax(1)[:, None], -1e4).scatter(1, y[:, None], -1e4) / t,
        z.scatter(1, z.argmax(1)[:, None], -1e4).scatter(1, y[:, None], -1e4) / t,
    ).mean(),
    "zero_where_two_classes": lambda s, z, y, t: (
        kl_of_the_others(s, z, y, t) if z.shape[1] > 2 else torch.nan * s.sum()
    ),
    "largest_image": lambda s, z, y, t: _kl(_rest(s, y) / t, _rest(z, y) / t).max(),
    "first_case": lambda s, z, y, t: 0.2007 + 0 * s.sum(),
}

WRONG = {"05.1": LOSS, "05.2": PARTLY, "05.5": OTHERS}
