"""02.4: from labels and predictions to recalls, class by class."""

from __future__ import annotations

import numpy as np
import torch

from course_lib.evaluation import confusion_matrix, recall_matrix
from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "02.4",
    "Which class is taken for which",
    points=2,
    trials=8,  # the fixed cases alone reject every planted mistake
    hints=[
        "Row: what the sign is. Column: what the network says. Count first, divide afterwards.",
        "np.add.at(counts, (labels, predictions), 1) counts; counts.sum(1, keepdims=True) are the images a class.",
        "A class without images has a row sum of 0: divide by np.maximum(sum, 1).",
    ],
    explanation="""
        $R_{ij} = C_{ij} / \\sum_k C_{ik}$. The diagonal holds each class's recall; its mean over the classes that occur
        is the *balanced* (macro) accuracy, in which a rare class weighs as much as a frequent one. The library's own is
        `course_lib.evaluation.recall_matrix`.
    """,
)


@ex.reference
def recalls(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """R[i, j] = of the images of true class i, the fraction called j; a class without images gives zeros."""
    counts = np.zeros((num_classes, num_classes))
    np.add.at(counts, (labels, predictions), 1)  # counts[labels, predictions] += 1 would add once to each place
    images = counts.sum(axis=1, keepdims=True)  # (num_classes, 1): one sum a row
    return counts / np.maximum(images, 1)


@ex.case("two classes that are not equally frequent, and a last one without images: its row is 0")
def last_class_is_empty() -> tuple[np.ndarray, np.ndarray, int]:
    return np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), 3


@ex.case("a class 0 that neither occurs nor is called, and images in no order")
def first_class_is_empty() -> tuple[np.ndarray, np.ndarray, int]:
    return np.array([2, 1, 3, 2, 1, 2, 2]), np.array([2, 2, 1, 1, 3, 2, 2]), 4


@ex.case("two classes, all of one called the other")
def two_classes() -> tuple[np.ndarray, np.ndarray, int]:
    return np.array([1, 0, 1, 1, 0, 1, 1]), np.array([0, 0, 0, 0, 1, 0, 0]), 2


@ex.inputs
def random_answers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    k = int(rng.integers(4, 7))
    # No two classes are equally frequent, and one of them, any one, has no images.
    labels = rng.permutation(np.repeat(rng.permutation(k)[: k - 1], np.arange(2, 2 * k, 2)))
    wrong = rng.permutation(len(labels)) < len(labels) // 3
    return labels, np.where(wrong, (labels + rng.integers(1, 3, len(labels))) % k, labels), k


def _over(
    labels: np.ndarray, predictions: np.ndarray, num_classes: int, axis: int | None, keepdims: bool
) -> np.ndarray:
    """Counts over their sums along an axis, 0 where a sum is 0."""
    counts = confusion_matrix(labels, predictions, num_classes).astype(float)
    return counts / np.maximum(counts.sum(axis, keepdims=keepdims), 1)


@ex.mistake("Rows and columns are swapped: row i belongs to the true class i.")
def swapped(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    return recall_matrix(labels, predictions, num_classes).T


@ex.mistake(
    "You divided by the column sums: that is precision (of the images called j, how many are j). Asked for is recall: "
    "of the images that are i, how many are called j."
)
def precision(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    return _over(labels, predictions, num_classes, 0, True)


@ex.mistake(
    "You counted with the predictions as rows and divided by the row sums: of the images called i, how many are j. "
    "Rows are the truth."
)
def precision_by_rows(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    return recall_matrix(predictions, labels, num_classes)


@ex.mistake(
    "You divided by counts.sum(1) without keepdims=True: NumPy lines the sums up with the columns, so each row is "
    "divided by the sums of other rows."
)
def no_keepdims(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    return _over(labels, predictions, num_classes, 1, False)


@ex.mistake("You divided by all images: a frequent class then looks important and a rare one harmless.")
def over_all_images(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    return _over(labels, predictions, num_classes, None, False)


@ex.mistake(
    "You wrote counts[labels, predictions] += 1: with index arrays NumPy adds once to each place, however often it is "
    "named. np.add.at(counts, (labels, predictions), 1) adds every time."
)
def each_pair_once(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    counts = np.zeros((num_classes, num_classes))
    counts[labels, predictions] += 1
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


@ex.mistake("These are the counts. Divide each row by its sum, so that classes of different size can be compared.")
def counts_alone(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    return confusion_matrix(labels, predictions, num_classes)


@ex.mistake("You divided with //, which cuts every fraction down to a whole number. Write /.")
def whole_division(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    counts = confusion_matrix(labels, predictions, num_classes)
    return counts // np.maximum(counts.sum(1, keepdims=True), 1)


@ex.mistake("A class without test images gives 0/0 = nan, which spreads into every mean taken later. Its row is 0.")
def empty_is_nan(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    counts = confusion_matrix(labels, predictions, num_classes)
    with np.errstate(invalid="ignore"):
        return counts / counts.sum(1, keepdims=True)


@ex.mistake(
    "You added 1 to every row's sum to avoid 0/0: all recalls come out too small. Change only the sums that are 0."
)
def sum_plus_one(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    counts = confusion_matrix(labels, predictions, num_classes)
    return counts / (counts.sum(1, keepdims=True) + 1)


@ex.mistake("You gave a class without images the recall 1. Nothing was seen of it: its row is 0.")
def empty_is_perfect(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    table = recall_matrix(labels, predictions, num_classes)
    return np.where(table.any(1, keepdims=True), table, np.eye(num_classes))


@ex.mistake("You spread a class without images evenly over its row. Nothing was seen of it: its row is 0.")
def empty_is_even(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    table = recall_matrix(labels, predictions, num_classes)
    return np.where(table.any(1, keepdims=True), table, 1 / num_classes)


@ex.mistake("That is the diagonal, the recall of each class. Asked for is the whole table: what else was it called?")
def diagonal_alone(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    return recall_matrix(labels, predictions, num_classes).diagonal().copy()


@ex.mistake("The table has a row only for the classes that occur. All num_classes need one, those without images too.")
def only_classes_that_occur(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    found = np.unique(np.concatenate([labels, predictions]))
    return recall_matrix(labels, predictions, num_classes)[np.ix_(found, found)]


@ex.mistake("The table ends at the largest id that occurs. Its size is num_classes, whatever occurs.")
def up_to_the_largest(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    largest = int(max(labels.max(), predictions.max())) + 1
    return recall_matrix(labels, predictions, num_classes)[:largest, :largest]


@ex.mistake("These are percentages. A fraction lies between 0 and 1.")
def percent(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    return 100 * recall_matrix(labels, predictions, num_classes)


@ex.alternative
def loop_over_images(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> list[list[float]]:
    table = [[0.0] * num_classes for _ in range(num_classes)]
    for label, called in zip(labels.tolist(), predictions.tolist(), strict=True):
        table[label][called] += 1 / labels.tolist().count(label)
    return table


@ex.alternative
def mean_of_one_hot(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    called = np.eye(num_classes, dtype=np.float32)[predictions]  # (N, K)
    rows = [called[labels == i].mean(0) if (labels == i).any() else np.zeros(num_classes) for i in range(num_classes)]
    return np.stack(rows)


@ex.alternative
def numbered_pairs(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    counts = np.bincount(labels * num_classes + predictions, minlength=num_classes**2).reshape(num_classes, -1)
    images = counts.sum(1)[:, None]
    return np.divide(counts, images, out=np.zeros(counts.shape), where=images > 0)


@ex.alternative
def in_torch(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> torch.Tensor:
    y, called = (torch.nn.functional.one_hot(torch.from_numpy(v), num_classes).double() for v in (labels, predictions))
    return y.T @ called / y.sum(0).clamp(min=1)[:, None]


@ex.alternative
def nan_made_zero(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    return np.nan_to_num(empty_is_nan(labels, predictions, num_classes))


@ex.alternative
def the_library(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    return recall_matrix(labels, predictions, num_classes)
