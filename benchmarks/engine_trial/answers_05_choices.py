"""Wrong answers to chapter 05: a choice and a look-up."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional as F

from course_lib.exercises.chapter_05.choose_temperature import choose_and_report
from course_lib.exercises.chapter_05.pseudo_labels import pseudo_labels_of
from engine_trial.answers import Answers


def test_sorted(validation, test):
    found = choose_and_report(validation, test)
    for accuracies in test.values():
        accuracies.sort()
    return found


def validation_emptied(validation, test):
    found = choose_and_report(validation, test)
    validation.pop(found[0])
    return found


def _chosen(rule):
    def answer(validation, test):
        best = max(validation, key=lambda name: rule(validation[name]))
        return best, float(np.mean(test[best]))

    return answer


def _reported(rule):
    return lambda validation, test: (
        choose_and_report(validation, test)[0],
        rule(test[choose_and_report(validation, test)[0]]),
    )


CHOICE: Answers = {
    "test_sorted_in_place": test_sorted,
    "validation_emptied": validation_emptied,
    "mean_of_both_parts": lambda v, t: (lambda best: (best, float(np.mean(t[best]))))(
        max(v, key=lambda name: np.mean(v[name]) + np.mean(t[name]))
    ),
    "mean_plus_deviation": _chosen(lambda a: np.mean(a) + np.std(a)),
    "mean_of_the_first_two": _chosen(lambda a: np.mean(a[:2])),
    "mean_without_the_worst": _chosen(lambda a: np.mean(sorted(a)[1:]) if len(a) > 1 else a[0]),
    "second_best_run": _chosen(lambda a: sorted(a)[-2] if len(a) > 1 else a[0]),
    "geometric_mean_of_errors": _chosen(lambda a: -np.exp(np.log([1 - x + 1e-9 for x in a]).mean())),
    "first_setting": lambda v, t: (next(iter(v)), float(np.mean(t[next(iter(v))]))),
    "last_setting": lambda v, t: (list(v)[-1], float(np.mean(t[list(v)[-1]]))),
    "largest_name": lambda v, t: (max(v), float(np.mean(t[max(v)]))),
    "least_spread": _chosen(lambda a: -np.std(a)),
    "largest_ratio_of_mean_and_spread": _chosen(lambda a: np.mean(a) / (np.std(a) + 1e-9)),
    "first_seed_reported": _reported(lambda a: a[0]),
    "last_seed_reported": _reported(lambda a: a[-1]),
    "worst_seed_reported": _reported(min),
    "sum_reported": _reported(sum),
    "error_reported": _reported(lambda a: 1 - float(np.mean(a))),
    "to_two_digits": _reported(lambda a: round(float(np.mean(a)), 2)),
    "all_seeds_reported": _reported(list),
    "temperature_alone": lambda v, t: (
        int(choose_and_report(v, t)[0].split("=")[1]),
        choose_and_report(v, t)[1],
    ),
    "setting_alone": lambda v, t: choose_and_report(v, t)[0],
    "position": lambda v, t: (list(v).index(choose_and_report(v, t)[0]), choose_and_report(v, t)[1]),
    "validation_too": lambda v, t: (*choose_and_report(v, t), float(np.mean(v[choose_and_report(v, t)[0]]))),
}


def indices_sorted_in_place(table, view, indices):
    found = pseudo_labels_of(table, view, indices)
    indices.copy_(indices.sort().values)
    return found


def table_masked(table, view, indices):
    found = pseudo_labels_of(table, view, indices)
    table[view, indices] = 0
    return found


LABELS: Answers = {
    "indices_sorted_in_place": indices_sorted_in_place,
    "table_masked_in_place": table_masked,
    "smallest_logit": lambda table, view, i: table[view, i].argmin(1),
    "second_choice": lambda table, view, i: table[view, i].topk(2).indices[:, 1],
    "counted_from_one": lambda table, view, i: table[view, i].argmax(1) + 1,
    "largest_in_size": lambda table, view, i: (table[view, i] - table[view, i].mean(1, keepdim=True)).abs().argmax(1),
    "view_after": lambda table, view, i: table[(view + 1) % len(table), i].argmax(1),
    "view_from_the_end": lambda table, view, i: table[-view, i].argmax(1),
    "vote_of_the_views": lambda table, view, i: table.argmax(2)[:, i].mode(0).values,
    "largest_of_all_views": lambda table, view, i: table.amax(0)[i].argmax(1),
    "indices_reversed": lambda table, view, i: table[view, i.flip(0)].argmax(1),
    "inverse_of_the_order": lambda table, view, i: table[view, i.argsort()].argmax(1),
    "one_image_further": lambda table, view, i: table[view, (i + 1) % table.shape[1]].argmax(1),
    "one_for_all": lambda table, view, i: table[view, i].mean(0).argmax().expand(len(i)),
    "one_hot": lambda table, view, i: F.one_hot(table[view, i].argmax(1), table.shape[2]),
    "softmax": lambda table, view, i: table[view, i].softmax(1),
    "over_everything": lambda table, view, i: table[view, i].argmax(),
    "column_first": lambda table, view, i: table[view][:, i % table.shape[2]].argmax(0),
    "flat_table": lambda table, view, i: table.reshape(-1, table.shape[2])[i].argmax(1),
    "ranks": lambda table, view, i: table[view, i].argsort(1)[:, 0],
    "only_sure_ones": lambda table, view, i: torch.where(
        table[view, i].softmax(1).amax(1) > 0.9, table[view, i].argmax(1), -1
    ),
    "first_case": lambda table, view, i: torch.tensor([0, 1]),
}


WRONG = {"05.3": CHOICE, "05.4": LABELS}
