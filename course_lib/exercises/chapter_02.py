"""The teacher.

The exercises of chapter 02: honest splits, the schedule's length, evidence in tracks, confusion and calibration.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from course_lib.evaluation import (
    confusion_matrix,
    expected_calibration_error,
    leak_fraction,
    recall_matrix,
    track_standard_error,
)
from course_lib.exercises.engine.exercise import Exercise, Mistake


def _split_inputs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    signs = rng.permutation(40)[:24]
    # Tracks of unequal length: then a share of the images is another number than a share of the signs.
    train = np.repeat(signs[:16], rng.integers(1, 9, 16))
    test = np.repeat(signs[10:], rng.integers(1, 9, 14))
    return rng.permutation(train), rng.permutation(test)


leak = Exercise(
    id="02.1",
    title="How much of a test set leaks",
    points=2,
    reference=leak_fraction,
    examples=[(np.array([1, 1, 2, 3]), np.array([1, 1, 1, 4])), (np.array([5, 6]), np.array([7, 8, 8]))],
    inputs=_split_inputs,
    hints=[
        "Ask each test image one question: does its sign stand among the signs of train, at whatever place?",
        "np.isin(a, b) answers it for every element of a. Mind which of the two arrays is asked.",
        "A fraction of images is the mean of a Boolean array with one entry an image.",
    ],
    mistakes=[
        Mistake(
            lambda train_groups, test_groups: np.isin(np.unique(test_groups), train_groups).mean(),
            "You counted signs, not images: a leaked sign with 30 frames spoils 30 test images.",
        ),
        Mistake(
            lambda train_groups, test_groups: np.isin(train_groups, test_groups).mean(),
            "You asked the training images. What is spoilt is the test score: which test images have one in train?",
        ),
        Mistake(
            lambda train_groups, test_groups: float(np.isin(test_groups, train_groups).any()),
            "That only says whether anything leaks (0 or 1). How much decides by how much the score flatters.",
        ),
        Mistake(
            lambda train_groups, test_groups: 1 - np.isin(test_groups, train_groups).mean(),
            "That is the clean share: the images whose sign is new. Asked for is the share that leaks.",
        ),
        Mistake(
            lambda train_groups, test_groups: len(np.intersect1d(train_groups, test_groups)) / len(test_groups),
            "You divided a number of signs by a number of images. Count images above the line as well.",
        ),
    ],
    alternatives=[
        lambda train_groups, test_groups: (
            sum(int(g) in set(np.asarray(train_groups).tolist()) for g in test_groups) / len(test_groups)
        )
    ],
    explanation="""
        The audit costs one line and should precede every score that you are shown. `course_lib.data.split_by_group`
        gives 0 by construction; a random split of film frames gives nearly 1.
    """,
)


def one_cycle_rate(step: int, total_steps: int, max_lr: float) -> float:
    """Learning rate of one cycle: up from max_lr/25 to max_lr over a fifth of the steps, then down to max_lr/250,000.

    Args: step: 0 ≤ step < total_steps, counted in batches. total_steps: epochs × batches in an epoch.
    Source: Smith and Topin 2019, arXiv:1708.07120; cosine legs. Matches: torch.optim.lr_scheduler.OneCycleLR.
    """
    start, end = max_lr / 25, max_lr / 25 / 1e4
    top = 0.2 * total_steps - 1  # the step at which the peak is reached
    if step <= top:
        return max_lr + (start - max_lr) * (1 + math.cos(math.pi * step / top)) / 2
    progress = (step - top) / (total_steps - 1 - top)
    return end + (max_lr - end) * (1 + math.cos(math.pi * progress)) / 2


def _rate_by_angle(step: int, total_steps: int, max_lr: float) -> float:
    knots = [0, 0.2 * total_steps - 1, total_steps - 1]
    angle = np.interp(step, knots, [0, np.pi, 2 * np.pi])  # one turn: up in the first half, down in the second
    floor = max_lr / 25 if step <= knots[1] else max_lr / 250_000
    return floor + (max_lr - floor) * (1 - np.cos(angle)) / 2


def _linear_rate(step: int, total_steps: int, max_lr: float) -> float:
    top = 0.2 * total_steps - 1
    return float(np.interp(step, [0, top, total_steps - 1], [max_lr / 25, max_lr, max_lr / 25 / 1e4]))


def _peak_late(step: int, total_steps: int, max_lr: float) -> float:
    top = 0.2 * total_steps
    angle = np.pi * step / top if step <= top else np.pi * (1 + (step - top) / (total_steps - top))
    floor = max_lr / 25 if step <= top else max_lr / 250_000
    return floor + (max_lr - floor) * (1 - np.cos(angle)) / 2


def _from_zero(step: int, total_steps: int, max_lr: float) -> float:
    top = 0.2 * total_steps - 1
    if step <= top:
        return max_lr * (1 - math.cos(math.pi * step / top)) / 2
    return one_cycle_rate(step, total_steps, max_lr)


schedule = Exercise(
    id="02.2",
    title="The learning rate of one cycle, at any step",
    points=3,
    reference=one_cycle_rate,
    examples=[(0, 100, 0.01), (19, 100, 0.01), (99, 100, 0.01)],
    inputs=lambda rng: (int(rng.integers(1, 400)), int(rng.integers(40, 90)) * 10, float(rng.uniform(1e-3, 1e-2))),
    trials=8,
    hints=[
        "Two legs. Up: from max_lr/25 at step 0 to max_lr at step 0.2·total_steps − 1. Down: to max_lr/250,000 at the "
        "last step, total_steps − 1.",
        "A cosine leg from a to b, at progress s from 0 to 1: b + (a − b)·(1 + cos(π·s))/2.",
        "Up: s = step / (0.2·total_steps − 1). Down: s = (step − top) / (total_steps − 1 − top).",
    ],
    mistakes=[
        Mistake(
            _linear_rate,
            "Your legs are straight: the course's cycle goes up and down along half a cosine, gently at both ends.",
        ),
        Mistake(
            _from_zero,
            "You start at 0, so that the first batches teach nothing. The cycle starts at max_lr / 25.",
        ),
        Mistake(
            _peak_late,
            "One step late: steps count from 0, so the peak is at 0.2·total_steps − 1 and the end at total_steps − 1.",
        ),
        Mistake(
            lambda step, total_steps, max_lr: one_cycle_rate(total_steps - 1 - step, total_steps, max_lr),
            "Backwards in time: a fifth of the steps goes up, and four fifths go down, not the other way round.",
        ),
        Mistake(
            lambda step, total_steps, max_lr: max_lr * (1 + math.cos(math.pi * step / (total_steps - 1))) / 2,
            "That is a cosine without warm-up: it starts at its peak, when the weights are still random.",
        ),
        Mistake(
            lambda step, total_steps, max_lr: one_cycle_rate(step % (total_steps // 10), total_steps // 10, max_lr),
            "Your cycle ends early and starts again: its length is the whole training, counted in steps. This is the "
            "bug of a per-epoch period that is stepped once a batch.",
        ),
    ],
    alternatives=[_rate_by_angle],
    explanation="""
        A leg from $a$ to $b$ is $b + (a-b)\\,\\tfrac{1+\\cos \\pi s}{2}$, $s \\in [0, 1]$. Its length is counted in the
        same unit in which `scheduler.step()` is called: here in batches, so `total_steps = epochs × batches`.
    """,
)


def _loop_standard_error(right: Any, groups: Any) -> float:
    tracks: dict[int, list[float]] = {}
    for hit, group in zip(right, groups, strict=True):
        tracks.setdefault(int(group), []).append(float(hit))
    p = sum(map(sum, tracks.values())) / len(right)
    total = sum(sum(hit - p for hit in track) ** 2 for track in tracks.values())
    return math.sqrt(total * len(tracks) / (len(tracks) - 1)) / len(right)


def _binomial(right: Any, n: int) -> float:
    p = float(np.mean(right))
    return math.sqrt(p * (1 - p) / n)


def _mean_of_tracks(right: Any, groups: Any) -> float:
    right, groups = np.asarray(right, float), np.asarray(groups)
    means = np.array([right[groups == g].mean() for g in np.unique(groups)])
    return float(means.std(ddof=1) / math.sqrt(len(means)))


def _without_lengths(right: Any, groups: Any) -> float:
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    hits = np.bincount(member, weights=np.asarray(right, float))
    return float(hits.std(ddof=1) * math.sqrt(len(hits)) / len(right))


def _track_inputs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    tracks = int(rng.integers(7, 12))
    groups = np.repeat(rng.permutation(100)[:tracks], rng.integers(2, 16, tracks))
    # A track is mostly right or mostly wrong: this is what makes its frames one piece of evidence.
    skill = dict(zip(np.unique(groups).tolist(), rng.choice([0.15, 0.9, 0.95], tracks), strict=True))
    right = (rng.random(len(groups)) < [skill[int(g)] for g in groups]).astype(np.int64)
    right[:2] = 1, 0
    return right, groups


evidence = Exercise(
    id="02.3",
    title="Thirty frames are not thirty trials",
    points=3,
    reference=track_standard_error,
    examples=[(np.array([1, 1, 1, 1, 0, 0]), np.array([0, 0, 0, 1, 1, 1]))],
    inputs=_track_inputs,
    hints=[
        "Per track you need two numbers: its images n_g and its hits h_g. np.bincount gives both.",
        "An average track of n_g images would have p·n_g hits. Square what each track has more or less than that.",
        "√(G/(G−1) · Σ(h_g − p·n_g)²) / N, with G tracks and N images.",
    ],
    mistakes=[
        Mistake(
            lambda right, groups: _binomial(right, len(right)),
            "√(p(1−p)/N) takes every frame for a trial of its own. Frames of one sign are right or wrong together: "
            "film the same signs twice as long, and your error shrinks though nothing new was seen.",
        ),
        Mistake(
            lambda right, groups: _binomial(right, len(np.unique(groups))),
            "√(p(1−p)/G) takes every track for one coin. That is the worst case, all frames alike; the data tell how "
            "alike they really are: use each track's own hits.",
        ),
        Mistake(
            _mean_of_tracks,
            "You took the mean of the tracks' accuracies: a track of 3 frames then weighs as much as one of 30, and "
            "the number belongs to another mean than the accuracy over images.",
        ),
        Mistake(
            _without_lengths,
            "You compared hits with the average hits: a long track then counts as good because it is long. Compare "
            "with p·n_g, what an average track of that length would have.",
        ),
        Mistake(
            lambda right, groups: (
                track_standard_error(right, groups) * math.sqrt(1 - 1 / len(np.unique(np.asarray(groups))))
            ),
            "The factor G/(G−1) is missing: p was estimated from the same tracks, which hides a part of their spread.",
        ),
    ],
    alternatives=[_loop_standard_error],
    explanation="""
        With $h_g$ hits among the $n_g$ images of track $g$, the accuracy is the ratio $p = \\sum h_g / \\sum n_g$, and
        $SE = \\frac1N \\sqrt{\\frac{G}{G-1}\\sum_g (h_g - p\\,n_g)^2}$. The square of SE over $\\sqrt{p(1-p)/N}$ is the
        *design effect*: by how much the frames overstate the evidence. `course_lib.measure.accuracy` draws whole tracks
        instead, which gives the same width and needs no normal distribution.
    """,
)


def _divided(labels: Any, predictions: Any, num_classes: int, by: Any) -> np.ndarray:
    counts = confusion_matrix(labels, predictions, num_classes).astype(float)
    return counts / np.maximum(by(counts), 1)


def _confusion_loop(labels: Any, predictions: Any, num_classes: int) -> list[list[float]]:
    table = [[0.0] * num_classes for _ in range(num_classes)]
    for label, called in zip(labels, predictions, strict=True):
        table[label][called] += 1 / int((np.asarray(labels) == label).sum())
    return table


def _confusion_inputs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    k = int(rng.integers(4, 7))
    labels = rng.choice(k - 1, size=60, p=rng.dirichlet(np.full(k - 1, 2.0)))  # class k − 1 has no images
    predictions = np.where(rng.random(60) < 0.6, labels, (labels + rng.integers(1, 3, 60)) % k)
    return labels, predictions, k


def _each_pair_once(labels: Any, predictions: Any, num_classes: int) -> np.ndarray:
    counts = np.zeros((num_classes, num_classes))
    counts[labels, predictions] += 1
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def _empty_is_nan(labels: Any, predictions: Any, num_classes: int) -> np.ndarray:
    counts = confusion_matrix(labels, predictions, num_classes)
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(1, keepdims=True)


confusion = Exercise(
    id="02.4",
    title="Which class is taken for which",
    points=2,
    reference=recall_matrix,
    examples=[(np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), 3)],
    inputs=_confusion_inputs,
    hints=[
        "Row: what the sign is. Column: what the network says. Count first, divide afterwards.",
        "np.add.at(counts, (labels, predictions), 1) counts; counts.sum(1, keepdims=True) are the images a class.",
        "A class without images has a row sum of 0: divide by np.maximum(sum, 1).",
    ],
    mistakes=[
        Mistake(
            lambda labels, predictions, num_classes: recall_matrix(labels, predictions, num_classes).T,
            "Rows and columns are swapped: row i belongs to the true class i.",
        ),
        Mistake(
            lambda labels, predictions, num_classes: _divided(
                labels, predictions, num_classes, lambda c: c.sum(0, keepdims=True)
            ),
            "You divided by the column sums: that is precision (of the images called j, how many are j). Asked for is "
            "recall: of the images that are i, how many are called j.",
        ),
        Mistake(
            lambda labels, predictions, num_classes: _divided(labels, predictions, num_classes, lambda c: c.sum(1)),
            "You divided by counts.sum(1) without keepdims=True: NumPy lines the sums up with the columns, so each "
            "row is divided by the sums of other rows.",
        ),
        Mistake(
            lambda labels, predictions, num_classes: _divided(labels, predictions, num_classes, lambda c: c.sum()),
            "You divided by all images: a frequent class then looks important and a rare one harmless.",
        ),
        Mistake(
            _each_pair_once,
            "You wrote counts[labels, predictions] += 1: with index arrays NumPy adds once to each place, however "
            "often it is named. np.add.at(counts, (labels, predictions), 1) adds every time.",
        ),
        Mistake(
            lambda labels, predictions, num_classes: confusion_matrix(labels, predictions, num_classes),
            "These are the counts. Divide each row by its sum, so that classes of different size can be compared.",
        ),
        Mistake(
            _empty_is_nan,
            "A class without test images gives 0/0 = nan, which spreads into every mean taken later. Its row is 0.",
        ),
    ],
    alternatives=[_confusion_loop],
    explanation="""
        $R_{ij} = C_{ij} / \\sum_k C_{ik}$. The diagonal holds each class's recall; its mean over the classes that occur
        is the *balanced* (macro) accuracy, in which a rare class weighs as much as a frequent one.
    """,
)


def _gaps(probabilities: Any, labels: Any, bins: int) -> tuple[np.ndarray, np.ndarray]:
    table = [b for b in expected_calibration_error(probabilities, labels, bins).bins if b.count]
    return np.array([b.accuracy - b.confidence for b in table]), np.array([b.count for b in table]) / len(labels)


def _per_image(probabilities: Any, labels: Any, bins: int) -> float:
    p, labels = np.asarray(probabilities), np.asarray(labels)
    return float(np.abs((p.argmax(1) == labels) - p.max(1)).mean())


def _true_class(probabilities: Any, labels: Any, bins: int) -> float:
    p, labels = np.asarray(probabilities), np.asarray(labels)
    confidence, right = p[np.arange(len(p)), labels], p.argmax(1) == labels
    index = np.clip(np.ceil(confidence * bins) - 1, 0, bins - 1).astype(int)
    return sum(abs((right[index == m] - confidence[index == m]).sum()) for m in range(bins)) / len(p)


def _own_ece(probabilities: Any, labels: Any, bins: int) -> float:
    p = torch.as_tensor(np.asarray(probabilities))
    confidence, predicted = p.max(1)
    surplus = (predicted == torch.as_tensor(np.asarray(labels))).double() - confidence
    index = (torch.ceil(confidence * bins).long() - 1).clamp(0, bins - 1)
    return float(torch.zeros(bins, dtype=torch.float64).index_add_(0, index, surplus).abs().sum() / len(p))


def _ece_inputs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    logits = rng.normal(0, 2.0, (120, 4))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = np.where(rng.random(120) < 0.7, p.argmax(1), rng.integers(0, 4, 120))
    return p, labels, int(rng.integers(4, 9))


ece = Exercise(
    id="02.5",
    title="Expected calibration error",
    points=3,
    reference=expected_calibration_error,
    outcome=lambda fn, *arguments: getattr(fn(*arguments), "ece", None) or fn(*arguments),
    examples=[(np.array([[0.95, 0.05], [0.9, 0.1], [0.35, 0.65], [0.4, 0.6]]), np.array([0, 1, 1, 1]), 2)],
    inputs=_ece_inputs,
    hints=[
        "Per image: confidence = largest probability, right = whether its class is the label.",
        "Sort the images into bins by confidence, (m−1)/M < confidence ≤ m/M; each bin has a mean confidence and an "
        "accuracy.",
        "Σ over the bins of (images in the bin / all images) · |accuracy − mean confidence|; empty bins add nothing.",
    ],
    mistakes=[
        Mistake(
            lambda probabilities, labels, bins: float(np.abs(_gaps(probabilities, labels, bins)[0]).mean()),
            "You averaged the bins with equal weights: a bin of three images then counts as much as one of three "
            "thousand. Weigh each gap with its share of the images.",
        ),
        Mistake(
            lambda probabilities, labels, bins: float(np.dot(*_gaps(probabilities, labels, bins))),
            "Without the absolute value a bin that is too sure and one that is too shy cancel: the sum is just "
            "accuracy − mean confidence.",
        ),
        Mistake(
            _per_image,
            "You took |right − confidence| image by image: an honest coin with confidence 0.5 would score 0.5. "
            "Calibration is a property of many images: average inside the bin, then take the gap.",
        ),
        Mistake(
            _true_class,
            "Your confidence is the probability of the true class, which nobody knows in the car. It is the largest "
            "probability, that of the network's own answer.",
        ),
        Mistake(
            lambda probabilities, labels, bins: float(np.abs(_gaps(probabilities, labels, bins)[0]).max()),
            "That is the maximum calibration error (MCE), the worst bin. The expected one weighs all bins.",
        ),
    ],
    alternatives=[_own_ece],
    explanation="""
        $ECE = \\sum_m \\frac{n_m}{N}\\,|acc_m - conf_m|$ (Guo et al. 2017, eq. 3). Your function returns the
        number; the library's also keeps the bins, for the diagram. The value depends on the
        number of bins: always state it.
    """,
)
