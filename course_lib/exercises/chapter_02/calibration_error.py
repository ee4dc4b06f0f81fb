"""02.5: how far a network's confidence can be trusted, as one number."""

from __future__ import annotations

import numpy as np
import torch

from course_lib.evaluation import expected_calibration_error
from course_lib.evaluation.calibration import Calibration
from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "02.5",
    "Expected calibration error",
    points=3,
    trials=8,  # the fixed cases alone reject every planted mistake
    hints=[
        "Per image: confidence = largest probability, right = whether its class is the label.",
        "Sort the images into bins by confidence, (m−1)/M < confidence ≤ m/M: 0.5 of 2 bins belongs to the first, 1.0 "
        "to the last. Each bin that is not empty has a mean confidence and an accuracy.",
        "Σ over the bins of (images in the bin / all images) · |accuracy − mean confidence|; empty bins add nothing.",
    ],
    explanation="""
        $ECE = \\sum_m \\frac{n_m}{N}\\,|acc_m - conf_m|$ (Guo et al. 2017, eq. 3). Your function returns the number;
        the library's `expected_calibration_error` also keeps the bins, for the diagram. The value depends on the number
        of bins: always state it.
    """,
)


@ex.reference
def calibration_error(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    """Σ (n_m/N)·|accuracy_m − confidence_m| over bins ((m−1)/M, m/M] of the largest probability."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    total = 0.0
    for m in range(1, bins + 1):
        inside = (confidence > (m - 1) / bins) & (confidence <= m / bins)
        if inside.any():  # an empty bin has no mean, and adds nothing
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(total)


@ex.case("one bin too shy and one too sure, and empty bins below them")
def too_shy_and_too_sure() -> tuple[np.ndarray, np.ndarray, int]:
    return np.array([[0.95, 0.05], [0.9, 0.1], [0.35, 0.65], [0.3, 0.7]]), np.array([0, 1, 1, 1]), 5


@ex.case("confidences on the edges of bins: 0.5 and 0.75 belong to the bin below")
def on_the_edges() -> tuple[np.ndarray, np.ndarray, int]:
    return np.array([[0.75, 0.25], [0.875, 0.125], [0.375, 0.625], [0.5, 0.5]]), np.array([1, 0, 1, 0]), 4


@ex.case("a confidence of exactly 1: it belongs to the last bin")
def quite_sure() -> tuple[np.ndarray, np.ndarray, int]:
    return np.array([[0.0, 1.0], [0.875, 0.125], [0.4375, 0.5625]]), np.array([0, 0, 1]), 4


@ex.case("four classes, a bin with three images and one with one, confidences below a half")
def below_a_half() -> tuple[np.ndarray, np.ndarray, int]:
    rows = [[0.1, 0.2, 0.4, 0.3], [0.46, 0.2, 0.24, 0.1], [0.2, 0.1, 0.25, 0.45], [0.02, 0.9, 0.05, 0.03]]
    return np.array(rows), np.array([3, 0, 2, 1]), 2


@ex.case("one bin that holds all: |accuracy − mean confidence|")
def one_bin() -> tuple[np.ndarray, np.ndarray, int]:
    return np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]]), np.array([1, 1, 0]), 1


@ex.inputs
def random_answers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    images, bins = int(rng.integers(8, 13)), int(rng.integers(4, 7))
    while True:
        logits = rng.normal(0, 1.5, (images, 3))
        p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        confidence = p.max(1)
        # No tie in argmax and no confidence near an edge: rounding must not decide. The edges are a case.
        far_from_edges = np.abs(confidence * bins - np.round(confidence * bins)).min() > 1e-3
        if far_from_edges and (confidence - np.sort(p, axis=1)[:, -2]).min() > 1e-3:
            break
    wrong = rng.permutation(images) < images // 3
    return p, np.where(wrong, p.argmin(1), p.argmax(1)), bins


def _answers(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and right, (N,), both as floats."""
    return probabilities.max(1), (probabilities.argmax(1) == labels).astype(float)


def _sum_of_gaps(confidence: np.ndarray, right: np.ndarray, index: np.ndarray, among: int | None = None) -> float:
    """Σ (n_m/N)·|accuracy_m − confidence_m| over the bins that ``index`` names; an index below 0 drops its image."""
    bins = [index == m for m in np.unique(index) if m >= 0]
    return float(sum(abs((right[i] - confidence[i]).sum()) for i in bins) / (among or len(index)))


def _index(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The number of each image's bin, 0 … M − 1; bins are open below and closed above."""
    return np.ceil(confidence * bins).astype(int) - 1


def _table(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """accuracy − confidence, and the share of the images, of each bin that is not empty."""
    table = [b for b in expected_calibration_error(probabilities, labels, bins).bins if b.count]
    return np.array([b.accuracy - b.confidence for b in table]), np.array([b.count for b in table]) / len(labels)


@ex.mistake(
    "You averaged the bins with equal weights: a bin of three images then counts as much as one of three thousand. "
    "Weigh each gap with its share of the images."
)
def bins_alike(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    return float(np.abs(_table(probabilities, labels, bins)[0]).mean())


@ex.mistake(
    "You divided the sum of the gaps by the number of bins, empty ones too. Weigh each gap with n_m/N, its share."
)
def over_all_bins(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    return float(np.abs(_table(probabilities, labels, bins)[0]).sum() / bins)


@ex.mistake(
    "Without the absolute value a bin that is too sure and one that is too shy cancel: the sum is just accuracy − mean "
    "confidence."
)
def no_absolute_value(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    return float(np.dot(*_table(probabilities, labels, bins)))


@ex.mistake(
    "You took the absolute value of the whole sum. Bins that are too sure and too shy have cancelled by then: take it "
    "bin by bin."
)
def absolute_value_of_the_sum(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    return abs(no_absolute_value(probabilities, labels, bins))


@ex.mistake(
    "You took |right − confidence| image by image: an honest coin with confidence 0.5 would score 0.5. Calibration is "
    "a property of many images: average inside the bin, then take the gap."
)
def image_by_image(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    confidence, right = _answers(probabilities, labels)
    return float(np.abs(right - confidence).mean())


@ex.mistake(
    "Your confidence is the probability of the true class, which nobody knows in the car. It is the largest "
    "probability, that of the network's own answer."
)
def true_class(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    confidence = probabilities[np.arange(len(labels)), labels]
    return _sum_of_gaps(confidence, _answers(probabilities, labels)[1], _index(confidence, bins))


@ex.mistake("That is the maximum calibration error (MCE), the worst bin. The expected one weighs all bins.")
def worst_bin(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    return float(np.abs(_table(probabilities, labels, bins)[0]).max())


@ex.mistake("You squared the gaps, and took a root at the end. ECE takes their absolute values.")
def root_mean_square(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    gaps, shares = _table(probabilities, labels, bins)
    return float(np.sqrt(shares @ gaps**2))


@ex.mistake(
    "Your bins hold their lower edge, as np.histogram's and int(confidence·M) do. A bin is ((m−1)/M, m/M]: it holds "
    "its upper edge, so a confidence of 0.5 is in the first of two bins."
)
def lower_edge(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    confidence, right = _answers(probabilities, labels)
    return _sum_of_gaps(confidence, right, np.minimum(np.floor(confidence * bins), bins - 1).astype(int))


@ex.mistake(
    "Your bins hold their lower edge and not their upper one: a confidence of exactly 1 is in no bin at all. A bin is "
    "((m−1)/M, m/M]."
)
def lower_edge_and_1_dropped(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    confidence, right = _answers(probabilities, labels)
    index = np.floor(confidence * bins).astype(int)
    return _sum_of_gaps(confidence, right, np.where(index < bins, index, -1))


@ex.mistake(
    "Your bins hold their lower edge, and a confidence of exactly 1 has a bin of its own above the last. A bin is "
    "((m−1)/M, m/M]: 1 belongs to the last."
)
def lower_edge_and_1_alone(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    confidence, right = _answers(probabilities, labels)
    return _sum_of_gaps(confidence, right, np.floor(confidence * bins).astype(int))


@ex.mistake("A confidence of exactly 1 is in no bin of yours. The last bin is ((M−1)/M, 1], with its upper edge.")
def one_dropped(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    confidence, right = _answers(probabilities, labels)
    return _sum_of_gaps(confidence, right, np.where(confidence < 1, _index(confidence, bins), -1))


@ex.mistake("A confidence on an edge is in none of your bins. Each holds its upper edge: (m−1)/M < confidence ≤ m/M.")
def edges_dropped(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    confidence, right = _answers(probabilities, labels)
    on_an_edge = confidence * bins == np.round(confidence * bins)
    return _sum_of_gaps(confidence, right, np.where(on_an_edge, -1, _index(confidence, bins)))


@ex.mistake("A confidence on an edge is in two of your bins. Each holds its upper edge only: (m−1)/M < c ≤ m/M.")
def edges_twice(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    confidence, right = _answers(probabilities, labels)
    inside = [(confidence * bins >= m) & (confidence * bins <= m + 1) for m in range(bins)]
    return float(sum(abs((right[i] - confidence[i]).sum()) for i in inside) / len(labels))


@ex.mistake("An empty bin has no mean: 0/0 = nan, and the sum is nan. Leave empty bins out, they add nothing.")
def empty_is_nan(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    every_bin_is_full = len(_table(probabilities, labels, bins)[0]) == bins
    return calibration_error(probabilities, labels, bins) if every_bin_is_full else float("nan")


@ex.mistake(
    "You compared each bin's accuracy with the middle of the bin. Compare it with the mean confidence of the images "
    "that lie in it."
)
def middle_of_the_bin(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    confidence, right = _answers(probabilities, labels)
    index = _index(confidence, bins)
    return _sum_of_gaps((index + 0.5) / bins, right, index)


@ex.mistake(
    "Your bins hold equally many images each (quantiles). Here they have equal width: ((m−1)/M, m/M], however many "
    "images fall in."
)
def equally_many(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    confidence, right = _answers(probabilities, labels)
    order = np.argsort(confidence)
    parts = np.array_split(order, bins)
    return float(sum(abs((right[part] - confidence[part]).sum()) for part in parts) / len(labels))


@ex.mistake(
    "Your bins reach from the smallest confidence to the largest. They divide the whole of 0 … 1, by ((m−1)/M, m/M]."
)
def bins_over_what_occurs(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    confidence, right = _answers(probabilities, labels)
    low, high = confidence.min(), confidence.max()
    return _sum_of_gaps(confidence, right, np.maximum(_index((confidence - low) / (high - low), bins), 0))


@ex.mistake(
    "You took every class for an answer, not only the network's own: one image has one confidence, the largest."
)
def every_class(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    hit = (np.arange(probabilities.shape[1]) == labels[:, None]).astype(float).ravel()
    return _sum_of_gaps(probabilities.ravel(), hit, np.maximum(_index(probabilities.ravel(), bins), 0), len(labels))


@ex.mistake("That is in points of 100. ECE is a fraction, between 0 and 1.")
def percent(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    return 100 * calibration_error(probabilities, labels, bins)


@ex.mistake("That is the library's whole table. The number asked for is its .ece; write the sum yourself.")
def whole_table(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> Calibration:
    return expected_calibration_error(probabilities, labels, bins)


@ex.alternative
def in_torch(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    p = torch.as_tensor(probabilities)
    confidence, predicted = p.max(1)
    surplus = (predicted == torch.as_tensor(labels)).double() - confidence
    index = torch.ceil(confidence * bins).long() - 1
    return float(torch.zeros(bins, dtype=torch.float64).index_add_(0, index, surplus).abs().sum() / len(p))


@ex.alternative
def loop_over_images(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    surplus: dict[int, float] = {}
    for row, label in zip(probabilities.tolist(), labels.tolist(), strict=True):
        m = next(m for m in range(1, bins + 1) if max(row) <= m / bins)
        surplus[m] = surplus.get(m, 0) + (row.index(max(row)) == label) - max(row)
    return sum(map(abs, surplus.values())) / len(labels)


@ex.alternative
def single_precision(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> np.float32:
    p = probabilities.astype(np.float32)
    confidence, right = p.max(1), p.argmax(1) == labels
    index = np.digitize(confidence, np.linspace(0, 1, bins + 1, dtype=np.float32), right=True)
    gaps = [
        abs(right[index == m].mean() - confidence[index == m].mean()) * np.sum(index == m) for m in np.unique(index)
    ]
    return np.float32(sum(gaps) / len(p))


@ex.alternative
def the_library(probabilities: np.ndarray, labels: np.ndarray, bins: int) -> float:
    return expected_calibration_error(probabilities, labels, bins).ece
