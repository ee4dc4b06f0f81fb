"""02.1: the share of the test images whose sign was seen in training."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from course_lib.evaluation import leak_fraction
from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "02.1",
    "How much of a test set leaks",
    points=2,
    trials=8,  # the fixed cases alone reject every planted mistake
    hints=[
        "Ask each test image one question: does its sign stand among the signs of train, at whatever place?",
        "np.isin(a, b) answers it for every element of a. Mind which of the two arrays is asked.",
        "A fraction of images is the mean of a Boolean array with one entry an image.",
    ],
    explanation="""
        The audit costs one line and should precede every score that you are shown. `course_lib.data.split_by_group`
        gives 0 by construction; a random split of film frames gives nearly 1. The library's own is
        `course_lib.evaluation.leak_fraction`.
    """,
)


@ex.reference
def leak(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    """Fraction of test images whose sign stands in train."""
    return float(np.isin(test_groups, train_groups).mean())


@ex.case("a sign of train with several test images, another with one, two signs that are new")
def one_sign_with_three_images() -> tuple[np.ndarray, np.ndarray]:
    return np.array([7, 3, 9, 12, 3]), np.array([3, 5, 3, 0, 3, 9, 5])


@ex.case("a split in which nothing leaks: 0")
def nothing_leaks() -> tuple[np.ndarray, np.ndarray]:
    return np.array([5, 6, 0]), np.array([7, 8, 8])


@ex.case("a split in which every test image leaks, though train holds a sign more: 1")
def everything_leaks() -> tuple[np.ndarray, np.ndarray]:
    return np.array([40, 2, 2, 17]), np.array([17, 2, 17, 17, 2])


@ex.case("two parts in nearly the same order: it is not the position that counts")
def same_places() -> tuple[np.ndarray, np.ndarray]:
    return np.array([1, 0, 2, 2, 8]), np.array([1, 0, 2, 8, 5])


@ex.inputs
def random_split(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    signs = rng.permutation(40)[:12]
    # Tracks of unequal length: then a share of the images is another number than a share of the signs.
    train = np.repeat(signs[:8], rng.permutation(8) % 3 + 1)
    test = np.repeat(signs[5:], [5, 2, 1, 4, 3, 3, 1])
    return rng.permutation(train), rng.permutation(test)


@ex.mistake("You counted signs, not images: a leaked sign with 30 frames spoils 30 test images.")
def signs_not_images(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return float(np.isin(np.unique(test_groups), train_groups).mean())


@ex.mistake(
    "You asked the training images. What is spoilt is the test score: which test images have their sign in train?"
)
def asked_train(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return float(np.isin(train_groups, test_groups).mean())


@ex.mistake("You asked the signs of train. What is spoilt is the test score: count test images, one by one.")
def signs_of_train(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return float(np.isin(np.unique(train_groups), test_groups).mean())


@ex.mistake("That only says whether anything leaks (0 or 1). How much decides by how much the score flatters.")
def whether_any(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return float(np.isin(test_groups, train_groups).any())


@ex.mistake("That only says whether everything leaks (0 or 1). A part of the test images is enough to flatter a score.")
def whether_all(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return float(np.isin(test_groups, train_groups).all())


@ex.mistake("That is the clean share: the images whose sign is new. Asked for is the share that leaks.")
def clean_share(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return float(1 - np.isin(test_groups, train_groups).mean())


@ex.mistake("You divided a number of signs by a number of images. Count images above the line as well.")
def signs_over_images(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return len(np.intersect1d(train_groups, test_groups)) / len(test_groups)


@ex.mistake("That is how many test images leak. Asked for is a fraction: divide by the number of test images.")
def a_count(train_groups: np.ndarray, test_groups: np.ndarray) -> int:
    return int(np.isin(test_groups, train_groups).sum())


@ex.mistake("You divided by the number of training images. The fraction is one of the test images.")
def over_train(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return float(np.isin(test_groups, train_groups).sum() / len(train_groups))


@ex.mistake("You counted training images and divided by the number of test images. Count the test images that leak.")
def train_over_test(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return float(np.isin(train_groups, test_groups).sum() / len(test_groups))


@ex.mistake("You divided a number of images by a number of signs. The fraction is one of the test images.")
def images_over_signs(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return float(np.isin(test_groups, train_groups).sum() / len(np.unique(test_groups)))


@ex.mistake("That is a yes or no for each test image. The fraction that says yes is its mean.")
def image_by_image(train_groups: np.ndarray, test_groups: np.ndarray) -> np.ndarray:
    return np.isin(test_groups, train_groups)


@ex.mistake("You divided by all images, train and test. The fraction is one of the test images alone.")
def over_both(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return float(np.isin(test_groups, train_groups).sum() / (len(train_groups) + len(test_groups)))


@ex.mistake("You divided the common signs by the signs of both parts. Count test images instead of signs.")
def signs_in_common(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return len(np.intersect1d(train_groups, test_groups)) / len(np.union1d(train_groups, test_groups))


@ex.mistake("You compared the two parts position by position. A test image leaks if its sign stands anywhere in train.")
def position_by_position(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return sum(a == b for a, b in zip(train_groups, test_groups, strict=False)) / len(test_groups)


@ex.mistake("That is a percentage. A fraction lies between 0 and 1.")
def percent(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return float(100 * np.isin(test_groups, train_groups).mean())


@ex.alternative
def with_a_set(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    seen = set(train_groups.tolist())
    return sum(sign in seen for sign in test_groups.tolist()) / len(test_groups)


@ex.alternative
def as_a_fraction(train_groups: np.ndarray, test_groups: np.ndarray) -> Fraction:
    return Fraction(int(np.isin(test_groups, train_groups).sum()), len(test_groups))


@ex.alternative
def every_pair(train_groups: np.ndarray, test_groups: np.ndarray) -> np.floating:
    return (test_groups[:, None] == train_groups[None]).any(1).mean()


@ex.alternative
def sorted_search(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    known = np.sort(train_groups)
    left, right = (np.searchsorted(known, test_groups, side=side) for side in ("left", "right"))
    return np.count_nonzero(left < right) / test_groups.size


@ex.alternative
def counted_by_sign(train_groups: np.ndarray, test_groups: np.ndarray) -> np.float32:
    signs, images = np.unique(test_groups, return_counts=True)
    return np.float32(images[np.isin(signs, train_groups)].sum() / images.sum())


@ex.alternative
def the_library(train_groups: np.ndarray, test_groups: np.ndarray) -> float:
    return leak_fraction(train_groups, test_groups)
