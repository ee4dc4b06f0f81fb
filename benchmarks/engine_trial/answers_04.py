"""Wrong answers to chapter 04."""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from course_lib.exercises.chapter_04.effective_alpha import effective_alpha
from course_lib.exercises.chapter_04.log_softmax import stable_log_softmax
from course_lib.exercises.chapter_04.price import price_bits
from course_lib.exercises.chapter_04.soft_gradient import soft_gradient
from course_lib.exercises.chapter_04.soft_loss import soft_loss
from engine_trial.answers import Answers


def zeros_replaced(p, q):
    found = price_bits(p, q)
    q[q == 0] = 1e-12
    return found


def order_changed(p, q):
    found = price_bits(p, q)
    p.copy_(p.sort().values)
    return found


def infinite_without_any_zero(p, q):
    return (math.inf, math.inf) if (q == 0).any() else price_bits(p, q)


PRICE: Answers = {
    "zeros_replaced_in_place": zeros_replaced,
    "order_changed": order_changed,
    "infinite_without_any_zero": infinite_without_any_zero,
    "zeros_of_both_left_out_of_the_price": lambda p, q: (price_bits(p[p > 0], q[p > 0] + 1e-9)[0], price_bits(p, q)[1]),
    "log10": lambda p, q: tuple(x * math.log10(2) for x in price_bits(p, q)),
    "whole_bits": lambda p, q: (float(-(p[p > 0] * q[p > 0].log2().floor()).sum()), price_bits(p, q)[1]),
    "rounded": lambda p, q: tuple(round(x, 2) if math.isfinite(x) else x for x in price_bits(p, q)),
    "rounded_to_three": lambda p, q: tuple(round(x, 3) if math.isfinite(x) else x for x in price_bits(p, q)),
    "excess_without_its_sign": lambda p, q: (price_bits(p, q)[0], -price_bits(p, q)[1]),
    "relative_excess": lambda p, q: (price_bits(p, q)[0], price_bits(p, q)[1] / max(price_bits(p, q)[0], 1e-9)),
    "total_variation": lambda p, q: (price_bits(p, q)[0], float((p - q).abs().sum() / 2)),
    "symmetric_excess": lambda p, q: (price_bits(p, q)[0], (price_bits(p, q)[1] + price_bits(q, p)[1]) / 2),
    "none_for_infinity": lambda p, q: tuple(x if math.isfinite(x) else None for x in price_bits(p, q)),
    "minus_infinity": lambda p, q: tuple(x if math.isfinite(x) else -math.inf for x in price_bits(p, q)),
    "excess_finite": lambda p, q: (price_bits(p, q)[0], min(price_bits(p, q)[1], 1e6)),
    "price_finite": lambda p, q: (min(price_bits(p, q)[0], 1e6), price_bits(p, q)[1]),
    "half_precision": lambda p, q: price_bits(p.half().float(), q.half().float()),
    "one_number": lambda p, q: sum(price_bits(p, q)),
    "image_by_image": lambda p, q: (-(p * q.log2()), price_bits(p, q)[1]),
    "first_case": lambda p, q: (2.375, 0.625),
}


def shifted_in_place(logits, temperature):
    z = logits / temperature
    logits -= logits.amax(-1, keepdim=True)
    return z - z.logsumexp(-1, keepdim=True)


def divided_in_place(logits, temperature):
    logits /= temperature
    return logits - logits.logsumexp(-1, keepdim=True)


def rows_one_by_one_with_the_first_maximum(logits, temperature):
    z = logits / temperature
    z = z - z[0].max()
    return z - z.exp().sum(-1, keepdim=True).log()


LOG_SOFTMAX: Answers = {
    "shifted_in_place": shifted_in_place,
    "divided_in_place": divided_in_place,
    "first_row_s_maximum": rows_one_by_one_with_the_first_maximum,
    "special_function": lambda z, t: torch.special.log_softmax(z / t, -1),
    "method_of_the_tensor": lambda z, t: (z / t).log_softmax(-1),
    "by_a_layer": lambda z, t: torch.nn.LogSoftmax(dim=-1)(z / t),
    "by_cross_entropy": lambda z, t: (
        -torch.stack([F.cross_entropy(z / t, torch.full((len(z),), k), reduction="none") for k in range(z.shape[1])], 1)
    ),
    "clamped_logits": lambda z, t: stable_log_softmax(z.clamp(-80, 80), t),
    "clamped_below": lambda z, t: stable_log_softmax(z, t).clamp(min=-100),
    "small_number_in_the_sum": lambda z, t: (
        (z / t - (z / t).amax(-1, keepdim=True))
        - ((z / t - (z / t).amax(-1, keepdim=True)).exp().sum(-1, keepdim=True) + 1e-2).log()
    ),
    "nan_to_num": lambda z, t: (z / t - (z / t).exp().sum(-1, keepdim=True).log()).nan_to_num(),
    "log1p": lambda z, t: (
        (z / t - (z / t).amax(-1, keepdim=True))
        - (z / t - (z / t).amax(-1, keepdim=True)).exp().sum(-1, keepdim=True).log1p()
    ),
    "base_two": lambda z, t: stable_log_softmax(z, t) / math.log(2),
    "half_precision": lambda z, t: stable_log_softmax(z.half().float(), t),
    "float16": lambda z, t: stable_log_softmax(z, t).half(),
    "rounded": lambda z, t: stable_log_softmax(z, t).round(decimals=2),
    "squared_temperature": lambda z, t: stable_log_softmax(z, t**2),
    "sorted": lambda z, t: stable_log_softmax(z, t).sort(-1).values,
    "own_class_alone": lambda z, t: stable_log_softmax(z, t).amax(-1),
    "mean_over_images": lambda z, t: stable_log_softmax(z, t).mean(0),
    "logsumexp_of_all": lambda z, t: z / t - (z / t).flatten().logsumexp(0),
    "maximum_of_sizes": lambda z, t: (
        (z / t - (z / t).abs().amax(-1, keepdim=True))
        - (z / t - (z / t).abs().amax(-1, keepdim=True)).exp().sum(-1, keepdim=True).log()
    ),
}


def student_divided_in_place(student, teacher, temperature):
    student /= temperature
    return soft_loss(student, teacher / temperature, 1.0) * temperature**2


def teacher_shifted_in_place(student, teacher, temperature):
    teacher -= teacher.mean(-1, keepdim=True)
    return soft_loss(student, teacher, temperature)


def without_gradient(student, teacher, temperature):
    with torch.no_grad():
        return soft_loss(student, teacher, temperature)


def gradient_of_the_teacher_alone(student, teacher, temperature):
    return soft_loss(student.detach(), teacher.requires_grad_(), temperature)


def sure_images_cut_off(student, teacher, temperature):
    log_q = F.log_softmax(student / temperature, -1)
    log_p = F.log_softmax(teacher / temperature, -1)
    return temperature**2 * (log_p.exp() * (log_p - log_q.clamp(min=-50))).sum(-1).mean()


def _weighted(student, teacher, temperature, weight):
    log_q, log_p = (F.log_softmax(z / temperature, -1) for z in (student, teacher))
    return temperature**2 * (weight(log_p, log_q) * (log_p - log_q)).sum(-1).mean()


LOSS: Answers = {
    "student_divided_in_place": student_divided_in_place,
    "teacher_shifted_in_place": teacher_shifted_in_place,
    "no_grad": without_gradient,
    "item": lambda s, z, t: soft_loss(s, z, t).item(),
    "float": lambda s, z, t: float(soft_loss(s, z, t).detach()),
    "new_tensor": lambda s, z, t: torch.tensor(soft_loss(s, z, t).item(), requires_grad=True),
    "numpy": lambda s, z, t: soft_loss(s, z, t).detach().numpy(),
    "gradient_of_the_teacher_alone": gradient_of_the_teacher_alone,
    "gradient_doubled": lambda s, z, t: 2 * soft_loss(s, z, t) - soft_loss(s, z, t).detach(),
    "gradient_of_one_image": lambda s, z, t: soft_loss(torch.cat([s[:1], s[1:].detach()]), z, t),
    "gradient_of_one_class": lambda s, z, t: soft_loss(torch.cat([s[:, :1], s[:, 1:].detach()], 1), z, t),
    "gradient_reversed": lambda s, z, t: 2 * soft_loss(s, z, t).detach() - soft_loss(s, z, t),
    "clamped_logarithm": sure_images_cut_off,
    "half_of_both_directions": lambda s, z, t: (soft_loss(s, z, t) + soft_loss(z, s, t)) / 2,
    "weighed_by_both": lambda s, z, t: _weighted(s, z, t, lambda p, q: (p.exp() + q.exp()) / 2),
    "weighed_evenly": lambda s, z, t: _weighted(s, z, t, lambda p, q: torch.full_like(p, 1 / p.shape[-1])),
    "absolute": lambda s, z, t: (
        t**2 * (z.div(t).softmax(-1) * (z.div(t).log_softmax(-1) - s.div(t).log_softmax(-1)).abs()).sum(-1).mean()
    ),
    "median_over_images": lambda s, z, t: torch.stack(
        [soft_loss(a[None], b[None], t) for a, b in zip(s, z, strict=True)]
    ).median(),
    "largest_image": lambda s, z, t: torch.stack(
        [soft_loss(a[None], b[None], t) for a, b in zip(s, z, strict=True)]
    ).max(),
    "over_one_image_fewer": lambda s, z, t: soft_loss(s, z, t) * len(s) / max(len(s) - 1, 1),
    "t_to_the_third": lambda s, z, t: t * soft_loss(s, z, t),
    "in_a_list": lambda s, z, t: [soft_loss(s, z, t), t],
    "without_the_last_class": lambda s, z, t: soft_loss(s[:, :-1], z[:, :-1], t),
}


def gradient_filled(student, teacher, temperature):
    student.grad = soft_gradient(student, teacher, temperature)
    return student.grad


def by_backward(student, teacher, temperature):
    z = student.clone().requires_grad_()
    with torch.enable_grad():
        soft_loss(z, teacher, temperature).backward()
    return z.grad


def by_functorch(student, teacher, temperature):
    return torch.func.grad(lambda z: soft_loss(z, teacher, temperature))(student)


def by_jacobian(student, teacher, temperature):
    return torch.autograd.functional.jacobian(lambda z: soft_loss(z, teacher, temperature), student)


def softmax_in_place(student, teacher, temperature):
    found = soft_gradient(student, teacher, temperature)
    student.copy_((student / temperature).softmax(-1))
    return found


GRADIENT: Answers = {
    "gradient_filled": gradient_filled,
    "by_backward": by_backward,
    "by_functorch": by_functorch,
    "by_jacobian": by_jacobian,
    "softmax_in_place": softmax_in_place,
    "not_stable": lambda s, z, t: (
        t
        * ((s / t).exp() / (s / t).exp().sum(-1, keepdim=True) - (z / t).exp() / (z / t).exp().sum(-1, keepdim=True))
        / len(s)
    ),
    "centred_again": lambda s, z, t: soft_gradient(s, z, t) - soft_gradient(s, z, t)[:, :1],
    "mean_over_classes_taken_off": lambda s, z, t: soft_gradient(s, z, t) * (z.softmax(-1) > 0.05),
    "weighed_by_the_teacher": lambda s, z, t: soft_gradient(s, z, t) * (z / t).softmax(-1),
    "over_root_of_images": lambda s, z, t: soft_gradient(s, z, t) * len(s) ** 0.5,
    "over_one_image_fewer": lambda s, z, t: soft_gradient(s, z, t) * len(s) / max(len(s) - 1, 1),
    "t_squared_over_images": lambda s, z, t: t**2 * soft_gradient(s, z, t),
    "of_the_teacher": lambda s, z, t: soft_gradient(z, s, t),
    "sign_alone": lambda s, z, t: soft_gradient(s, z, t).sign(),
    "clipped": lambda s, z, t: soft_gradient(s, z, t).clamp(-0.1, 0.1),
    "normalised": lambda s, z, t: F.normalize(soft_gradient(s, z, t)),
    "rounded": lambda s, z, t: soft_gradient(s, z, t).round(decimals=2),
    "half_precision": lambda s, z, t: soft_gradient(s.half().float(), z.half().float(), t).half(),
    "transposed": lambda s, z, t: soft_gradient(s, z, t).T,
    "first_image": lambda s, z, t: soft_gradient(s, z, t)[:1],
    "flat": lambda s, z, t: soft_gradient(s, z, t).flatten(),
    "zero_where_the_choice_agrees": lambda s, z, t: soft_gradient(s, z, t) * (s.argmax(-1) != z.argmax(-1))[:, None],
}

ALPHA: Answers = {
    "t_squared_over_c": lambda a, c, t: effective_alpha(a, 1, t / c**0.5),
    "c_minus_one": lambda a, c, t: effective_alpha(a, max(c - 1, 1), t),
    "one_over_t": lambda a, c, t: a / (a + (1 - a) * c / t),
    "alpha_squared": lambda a, c, t: a**2 / (a**2 + (1 - a) * c * t**2),
    "always_43_classes": lambda a, c, t: effective_alpha(a, 43, t),
    "always_at_four": lambda a, c, t: effective_alpha(a, c, 4.0),
    "t_cubed": lambda a, c, t: effective_alpha(a, c, t**1.5),
    "hard_divided_too_but_by_c": lambda a, c, t: (a / (c * t**2)) / (a / (c * t**2) + (1 - a) / c),
    "hard_divided_too_but_by_t": lambda a, c, t: (a / (c * t**2)) / (a / (c * t**2) + (1 - a) / t**2),
    "soft_times_t_squared": lambda a, c, t: (a * t**2 / c) / (a * t**2 / c + 1 - a),
    "rounded": lambda a, c, t: round(effective_alpha(a, c, t), 2),
    "rounded_to_four": lambda a, c, t: round(effective_alpha(a, c, t), 4),
    "at_least_a_hundredth": lambda a, c, t: max(0.01, effective_alpha(a, c, t)),
    "nan_at_one": lambda a, c, t: math.nan if a == 1 else effective_alpha(a, c, t),
    "logarithm": lambda a, c, t: math.log(max(effective_alpha(a, c, t), 1e-9)),
    "both_shares": lambda a, c, t: (effective_alpha(a, c, t), 1 - effective_alpha(a, c, t)),
    "by_which_factor": lambda a, c, t: effective_alpha(a, c, t) / a if a else 0.0,
    "whole_division": lambda a, c, t: a / (a + (1 - a) * (c * t**2 // 1)),
    "first_case": lambda a, c, t: 0.9 / (0.9 + 0.1 * 43 * 16),
}

WRONG = {"04.1": PRICE, "04.2": LOG_SOFTMAX, "04.3": LOSS, "04.4": GRADIENT, "04.5": ALPHA}
