"""Wrong answers to chapter 02."""

from __future__ import annotations

import math

import numpy as np

from course_lib.exercises.chapter_02.calibration_error import calibration_error
from course_lib.exercises.chapter_02.leak import leak
from course_lib.exercises.chapter_02.one_cycle import one_cycle_rate
from course_lib.exercises.chapter_02.recalls import recalls
from course_lib.exercises.chapter_02.track_error import track_error
from engine_trial.answers import Answers


def test_sorted(train, test):
    test.sort()
    return leak(train, test)


def neighbours(train, test):
    known = np.sort(train)
    return (known[np.minimum(np.searchsorted(known, test), len(known) - 1)] >= test).mean()


LEAK: Answers = {
    "test_sorted_in_place": test_sorted,
    "by_neighbours": neighbours,
    "within_the_range": lambda train, test: ((test >= train.min()) & (test <= train.max())).mean(),
    "ids_without_gaps": lambda train, test: (test <= len(np.unique(train))).mean(),
    "largest_id": lambda train, test: (test <= train.max()).mean(),
    "zero_is_no_id": lambda train, test: np.isin(test[test > 0], train).mean(),
    "rounded": lambda train, test: round(leak(train, test), 1),
    "rounded_to_three": lambda train, test: round(leak(train, test), 3),
    "never_all": lambda train, test: min(leak(train, test), 0.99),
    "one_minus_signs": lambda train, test: 1 - np.isin(np.unique(test), train).mean(),
    "repeated_images_once": lambda train, test: (
        len(set(train.tolist()) & set(test.tolist())) / len(set(train.tolist()))
    ),
    "mean_of_both_directions": lambda train, test: (leak(train, test) + leak(test, train)) / 2,
    "share_of_the_most_frequent": lambda train, test: (
        np.bincount(test[np.isin(test, train)], minlength=1).max() / len(test)
    ),
    "odds": lambda train, test: leak(train, test) / (1 - leak(train, test) + 1e-12),
    "first_case": lambda train, test: 4 / 7,
}


def _cycle(step, total, most, top=None, start=1 / 25, end=1 / 250_000, shape=None):
    top = 0.2 * total - 1 if top is None else top
    shape = shape or (lambda s: (1 - math.cos(math.pi * s)) / 2)
    if step <= top:
        return most * (start + (1 - start) * shape(step / top))
    return most * (end + (1 - end) * shape(1 - (step - top) / (total - 1 - top)))


CYCLE: Answers = {
    "smooth_step": lambda step, total, most: _cycle(step, total, most, shape=lambda s: s * s * (3 - 2 * s)),
    "squared_legs": lambda step, total, most: _cycle(step, total, most, shape=lambda s: s * s),
    "exponential_legs": lambda step, total, most: most * (1 / 25) ** (1 - min(step / (0.2 * total - 1), 1)),
    "start_at_a_tenth": lambda step, total, most: _cycle(step, total, most, start=1 / 10),
    "start_at_a_hundredth": lambda step, total, most: _cycle(step, total, most, start=1 / 100),
    "end_at_a_thousandth": lambda step, total, most: _cycle(step, total, most, end=1e-3),
    "end_at_two_hundred_thousandth": lambda step, total, most: _cycle(step, total, most, end=1 / 200_000),
    "end_at_a_millionth": lambda step, total, most: _cycle(step, total, most, end=1e-6),
    "peak_at_a_quarter": lambda step, total, most: _cycle(step, total, most, top=0.25 * total - 1),
    "peak_one_step_early": lambda step, total, most: _cycle(step, total, most, top=0.2 * total - 2),
    "peak_rounded_up": lambda step, total, most: _cycle(step, total, most, top=math.ceil(0.2 * total) - 1),
    "peak_in_the_middle": lambda step, total, most: _cycle(step, total, most, top=0.5 * total - 1),
    "rounded": lambda step, total, most: round(one_cycle_rate(step, total, most), 6),
    "at_least_a_hundred_thousandth": lambda step, total, most: max(1e-5, one_cycle_rate(step, total, most)),
    "peak_forgotten_at_the_top": lambda step, total, most: (
        most / 25 if step == 0.2 * total - 1 else one_cycle_rate(step, total, most)
    ),
    "last_step_is_zero": lambda step, total, most: 0.0 if step == total - 1 else one_cycle_rate(step, total, most),
    "maximum_of_one": lambda step, total, most: min(1.0, one_cycle_rate(step, total, most)),
    "for_a_peak_of_one": lambda step, total, most: one_cycle_rate(step, total, 1.0),
    "share_of_the_peak": lambda step, total, most: one_cycle_rate(step, total, most) / most,
    "degrees": lambda step, total, most: _cycle(step, total, most, shape=lambda s: (1 - math.cos(180 * s)) / 2),
    "first_case": lambda step, total, most: most / 25,
}


def _surplus(right, groups):
    _, member = np.unique(groups, return_inverse=True)
    images = np.bincount(member)
    return np.bincount(member, weights=right) - np.mean(right) * images, images


def misses_in_place(right, groups):
    found = track_error(right, groups)
    right[:] = 1 - right
    return found


def groups_sorted(right, groups):
    groups.sort()
    return track_error(right, groups)


def two_tracks_more(right, groups):
    surplus, _ = _surplus(right, groups)
    count = len(surplus)
    return math.sqrt(count / max(count - 2, 1) * float((surplus**2).sum())) / len(right)


TRACKS: Answers = {
    "answers_changed": misses_in_place,
    "groups_sorted_in_place": groups_sorted,
    "two_degrees_of_freedom": two_tracks_more,
    "groups_sorted_apart_from_answers": lambda right, groups: track_error(right, np.sort(groups)),
    "median_for_p": lambda right, groups: float(
        np.sqrt(
            len(np.unique(groups))
            / (len(np.unique(groups)) - 1)
            * sum((right[groups == g].sum() - np.median(right) * (groups == g).sum()) ** 2 for g in np.unique(groups))
        )
        / len(right)
    ),
    "largest_track_alone": lambda right, groups: float(np.abs(_surplus(right, groups)[0]).max() / len(right)),
    "squares_of_frames": lambda right, groups: float(np.sqrt(((right - np.mean(right)) ** 2).sum()) / len(right)),
    "weighted_by_length": lambda right, groups: float(
        np.sqrt((_surplus(right, groups)[0] ** 2 / _surplus(right, groups)[1]).sum()) / len(right)
    ),
    "percent": lambda right, groups: 100 * track_error(right, groups),
    "rounded": lambda right, groups: round(track_error(right, groups), 2),
    "rounded_to_four": lambda right, groups: round(track_error(right, groups), 3),
    "whole_interval": lambda right, groups: 2 * 1.96 * track_error(right, groups),
    "never_zero": lambda right, groups: max(0.01, track_error(right, groups)),
    "last_frame_left_out": lambda right, groups: (
        track_error(right[:-1], groups[:-1]) if len(np.unique(groups[:-1])) > 1 else 0.0
    ),
    "tracks_of_one_frame_left_out": lambda right, groups: float(
        np.sqrt((_surplus(right, groups)[0][_surplus(right, groups)[1] > 1] ** 2).sum()) / len(right)
    ),
    "misses_counted_once": lambda right, groups: track_error(right, groups) * math.sqrt(float(np.mean(right))),
    "first_case": lambda right, groups: 1 / 3,
}


def _table(labels, predictions, classes):
    counts = np.zeros((classes, classes))
    np.add.at(counts, (labels, predictions), 1)
    return counts


def labels_sorted(labels, predictions, classes):
    found = recalls(labels, predictions, classes)
    labels.sort()
    return found


def no_diagonal(labels, predictions, classes):
    counts = _table(labels, predictions, classes) * (1 - np.eye(classes))
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


RECALLS: Answers = {
    "labels_sorted_in_place": labels_sorted,
    "errors_alone": no_diagonal,
    "no_diagonal_over_all": lambda y, p, k: recalls(y, p, k) * (1 - np.eye(k)),
    "from_one": lambda y, p, k: np.pad(recalls(y, p, k), ((1, 0), (1, 0))),
    "one_more_class": lambda y, p, k: np.pad(recalls(y, p, k), ((0, 1), (0, 1))),
    "smoothed": lambda y, p, k: (_table(y, p, k) + 1) / (_table(y, p, k) + 1).sum(1, keepdims=True),
    "a_small_number_added": lambda y, p, k: _table(y, p, k) / (_table(y, p, k).sum(1, keepdims=True) + 1e-2),
    "over_the_largest_of_a_row": lambda y, p, k: _table(y, p, k) / np.maximum(_table(y, p, k).max(1, keepdims=True), 1),
    "over_the_largest_class": lambda y, p, k: _table(y, p, k) / _table(y, p, k).sum(1).max(),
    "euclidean_rows": lambda y, p, k: (
        _table(y, p, k) / np.maximum(np.linalg.norm(_table(y, p, k), axis=1, keepdims=True), 1)
    ),
    "softmax_of_counts": lambda y, p, k: np.exp(_table(y, p, k)) / np.exp(_table(y, p, k)).sum(1, keepdims=True),
    "symmetric": lambda y, p, k: (recalls(y, p, k) + recalls(y, p, k).T) / 2,
    "f1": lambda y, p, k: 2 * _table(y, p, k) / np.maximum(_table(y, p, k).sum(1)[:, None] + _table(y, p, k).sum(0), 1),
    "rounded": lambda y, p, k: recalls(y, p, k).round(1),
    "rounded_to_two": lambda y, p, k: recalls(y, p, k).round(2),
    "empty_row_called_itself_nan": lambda y, p, k: np.where(
        _table(y, p, k).sum(1, keepdims=True) > 0, recalls(y, p, k), -1
    ),
    "without_empty_rows": lambda y, p, k: recalls(y, p, k)[np.unique(y)],
    "macro_mean": lambda y, p, k: recalls(y, p, k).diagonal()[np.unique(y)].mean(),
    "flat": lambda y, p, k: recalls(y, p, k).ravel(),
    "as_a_dict": lambda y, p, k: dict(enumerate(recalls(y, p, k).tolist())),
    "cumulative": lambda y, p, k: recalls(y, p, k).cumsum(1),
}


def _binned(p, y, index):
    confidence, right = p.max(1), p.argmax(1) == y
    return sum(abs((right[index == m] - confidence[index == m]).sum()) for m in set(index.tolist())) / len(y)


def probabilities_changed(p, y, bins):
    found = calibration_error(p, y, bins)
    p[p < 0.5] = 0
    return found


CALIBRATION: Answers = {
    "probabilities_changed": probabilities_changed,
    "one_bin_more": lambda p, y, bins: calibration_error(p, y, bins + 1),
    "one_bin_fewer": lambda p, y, bins: calibration_error(p, y, max(bins - 1, 1)),
    "always_ten_bins": lambda p, y, bins: calibration_error(p, y, 10),
    "always_fifteen_bins": lambda p, y, bins: calibration_error(p, y, 15),
    "bins_rounded_to_the_nearest": lambda p, y, bins: _binned(p, y, np.rint(p.max(1) * bins)),
    "bins_above_a_half": lambda p, y, bins: _binned(p, y, np.ceil((p.max(1) - 0.5) * 2 * bins)),
    "bins_above_chance": lambda p, y, bins: _binned(
        p, y, np.ceil((p.max(1) - 1 / p.shape[1]) / (1 - 1 / p.shape[1]) * bins)
    ),
    "smallest_probability": lambda p, y, bins: calibration_error(1 - p, y, bins),
    "second_largest": lambda p, y, bins: _binned(p, y, np.ceil(np.sort(p, 1)[:, -2] * bins)),
    "squared_gaps": lambda p, y, bins: calibration_error(p, y, bins) ** 2,
    "halved": lambda p, y, bins: calibration_error(p, y, bins) / 2,
    "rounded": lambda p, y, bins: round(calibration_error(p, y, bins), 2),
    "rounded_to_three": lambda p, y, bins: round(calibration_error(p, y, bins), 3),
    "brier": lambda p, y, bins: float(((p - np.eye(p.shape[1])[y]) ** 2).sum(1).mean()),
    "errors_for_accuracy": lambda p, y, bins: float(np.abs((p.argmax(1) != y).mean() - p.max(1).mean())),
    "too_sure_bins_alone": lambda p, y, bins: (
        sum(max(0, (p.max(1) - (p.argmax(1) == y))[np.ceil(p.max(1) * bins) == m].sum()) for m in range(1, bins + 1))
        / len(y)
    ),
    "divided_by_filled_images": lambda p, y, bins: calibration_error(p, y, bins) * len(y) / (len(y) - 1),
    "confidence_of_a_class": lambda p, y, bins: _binned(p, y, p.argmax(1)),
    "pair": lambda p, y, bins: (calibration_error(p, y, bins), bins),
    "first_case": lambda p, y, bins: 0.375,
}

WRONG = {"02.1": LEAK, "02.2": CYCLE, "02.3": TRACKS, "02.4": RECALLS, "02.5": CALIBRATION}
