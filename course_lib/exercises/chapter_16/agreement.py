"""16.3: do two runtimes agree? The share of equal classes, and the largest error."""

from __future__ import annotations

from math import inf, isclose, isnan

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[np.ndarray, np.ndarray]
Answer = tuple[float, float]

ex = Exercise(
    "16.3",
    "Do two runtimes agree?",
    points=3,
    hints=[
        "argmax(1) gives each image's class, and of equal largest logits the first: the tie is settled for both alike.",
        "argmax takes a NaN for the largest. So ask np.isnan first: an image with a NaN on either side does not agree, "
        "and one NaN anywhere makes the error inf.",
        "One number for the error: the largest |found − expected| of all logits over the largest |expected| of all.",
    ],
    explanation="""
        Equal classes are what a user sees, and they hide faults: an export may be wrong by per cents of the largest
        logit and change no class of four hundred. The relative error finds it. It is taken relative to the *largest*
        logit: relative to each logit, one that happens to lie near 0 would decide alone. NaN needs a rule because
        every comparison with it is false, so that ``error > tolerance`` lets it pass.
    """,
)


@ex.reference
def agreement(found: np.ndarray, expected: np.ndarray) -> Answer:
    """(share, error) for logits (N, C) of two runtimes, float32, N ≥ 1; ``expected`` is the reference, not all 0.

    share: of the images whose largest logit has the same place in both, in 0 … 1; of equal largest logits the first
    one counts. An image with a NaN on either side does not agree.
    error: the largest |found − expected| over the largest |expected|, each of all logits together; inf with a NaN
    anywhere. No logit is infinite.
    """
    nan = np.isnan(found) | np.isnan(expected)
    same = (found.argmax(1) == expected.argmax(1)) & ~nan.any(1)
    if nan.any():
        return float(same.mean()), inf
    apart = np.abs(found.astype(np.float64) - expected)
    return float(same.mean()), float(apart.max() / np.abs(expected).max())


def _array(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, np.float32)


NAN = float("nan")


@ex.case("by hand: the second image's classes differ; 0.5 is the largest difference, −4 the largest logit")
def by_hand() -> Question:
    return _array([[1.0, 3.0, -4.0], [2.0, 1.5, 0.0]]), _array([[1.25, 3.0, -4.0], [1.75, 2.0, 0.0]])


@ex.case("all classes agree, and the error is large all the same")
def same_classes() -> Question:
    return _array([[0.0, 2.0], [5.0, 1.0], [3.0, 1.0]]), _array([[0.0, 4.0], [5.0, 1.0], [2.0, 1.0]])


@ex.case("ties: the first of the largest counts, on both sides; and the last would give another share")
def ties() -> Question:
    return (
        _array([[2.0, 2.0, 1.0], [1.0, 3.0, 3.0], [4.0, 0.0, 4.0]]),
        _array([[2.0, 1.0, 1.0], [1.0, 2.0, 3.0], [4.0, 0.0, 3.0]]),
    )


@ex.case("a NaN in what was found: its image does not agree, and the error is inf")
def nan_found() -> Question:
    return _array([[1.0, NAN, 0.0], [0.0, 2.0, 1.0]]), _array([[1.0, 2.0, 0.0], [0.0, 2.0, 1.0]])


@ex.case("a NaN in both, at the same place: it does not agree either")
def nan_in_both() -> Question:
    both = [[NAN, 1.0], [0.0, 2.0], [3.0, 1.0], [1.0, 2.0]]
    return _array(both), _array(both)


@ex.case("a NaN in the reference alone, where the classes would be equal")
def nan_expected() -> Question:
    return _array([[3.0, 1.0, 0.0], [1.0, 0.0, 2.0]]), _array([[3.0, NAN, 0.0], [1.0, 0.0, 2.0]])


@ex.case("the same numbers: 1 and 0")
def equal() -> Question:
    same = [[1.0, -2.0, 0.5], [0.0, 0.25, -1.0]]
    return _array(same), _array(same)


@ex.case("negative logits alone: sizes are absolute values")
def negative() -> Question:
    return _array([[-8.0, -2.0], [-1.0, -3.0]]), _array([[-8.5, -2.5], [-1.25, -3.0]])


@ex.case("a large negative logit is no class: the largest one counts, with its sign")
def large_negative() -> Question:
    return _array([[-5.0, 1.0, 2.0], [3.0, -1.0, 0.0]]), _array([[-5.0, 2.0, 1.0], [3.0, -1.0, 0.0]])


@ex.case("one image")
def one_image() -> Question:
    return _array([[0.5, 0.25, 0.0]]), _array([[0.5, 0.0, 1.0]])


@ex.inputs
def random_logits(rng: np.random.Generator) -> Question:
    """Some classes differ, and every second time one logit is NaN."""
    images, classes = int(rng.integers(3, 6)), int(rng.integers(2, 5))
    expected = rng.normal(0, 3, (images, classes)).round(1).astype(np.float32) + 0
    found = expected + rng.normal(0, 1, (images, classes)).round(1).astype(np.float32) + 0
    if rng.random() < 0.5:
        which = found if rng.random() < 0.5 else expected
        which[int(rng.integers(images)), int(rng.integers(classes))] = NAN
    return found.astype(np.float32), expected


def _clean(found: np.ndarray, expected: np.ndarray) -> bool:
    return not (np.isnan(found).any() or np.isnan(expected).any())


@ex.mistake("Your error is in logits: divide by the largest |expected|.")
def absolute(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    return share, error if error == inf else float(np.abs(found - expected).max())


@ex.mistake("Your error is relative to each logit by itself. One that lies near 0 then decides alone.")
def each_by_itself(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    with np.errstate(all="ignore"):
        ratio = np.abs(found - expected) / np.maximum(np.abs(expected), 1e-12)
    return share, error if error == inf else float(ratio.max())


@ex.mistake("Your error is relative to the largest logit *found*. The reference is the measure.")
def of_found(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    return share, error if error == inf else float(np.abs(found - expected).max() / np.abs(found).max())


@ex.mistake("Your error is relative to each image's own largest logit. Both are the largest of all logits together.")
def each_image(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    largest = np.maximum(np.abs(expected).max(1), 1e-12)
    return share, error if error == inf else float((np.abs(found - expected).max(1) / largest).max())


@ex.mistake("Your error is a norm of all differences over one of all logits. One wrong logit of many is lost in it.")
def norms(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    return share, error if error == inf else float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@ex.mistake("You took the largest logit, not the largest absolute value: logits can be negative.")
def not_absolute(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    return share, error if error == inf else float(np.abs(found - expected).max() / expected.max())


@ex.mistake("You took the largest difference with its sign: where the runtime's logits are too small it is missed.")
def signed(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    return share, error if error == inf else float((found - expected).max() / np.abs(expected).max())


@ex.mistake("Your error is the mean of the differences. One wrong logit among many disappears in it: take the largest.")
def mean_error(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    return share, error if error == inf else float(np.abs(found - expected).mean() / np.abs(expected).max())


@ex.mistake("NaN passes: your error is NaN, and NaN > tolerance is false. With a NaN anywhere it is inf.")
def nan_error(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    return share, NAN if error == inf else error


@ex.mistake("You left NaNs out of the error. A runtime that gives NaN is as wrong as can be: inf.")
def nan_left_out(found: np.ndarray, expected: np.ndarray) -> Answer:
    share = agreement(found, expected)[0]
    return share, float(np.nanmax(np.abs(found - expected)) / np.nanmax(np.abs(expected)))


@ex.mistake("An image with a NaN can agree in your count: argmax takes a NaN for the largest. Ask both sides first.")
def nan_agrees(found: np.ndarray, expected: np.ndarray) -> Answer:
    return float((found.argmax(1) == expected.argmax(1)).mean()), agreement(found, expected)[1]


@ex.mistake("You looked for NaN in what was found alone. The reference may hold one, too.")
def nan_found_alone(found: np.ndarray, expected: np.ndarray) -> Answer:
    if np.isnan(found).any() or _clean(found, expected):
        return agreement(found, expected)
    share = float((found.argmax(1) == np.nanargmax(expected, 1)).mean())
    return share, float(np.nanmax(np.abs(found - expected)) / np.nanmax(np.abs(expected)))


@ex.mistake("You looked for NaN in what was found alone. The reference may hold one, too: then the error is inf.")
def nan_of_reference_passes(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    return share, NAN if _clean(found, found) and error == inf else error


@ex.mistake("One NaN makes your share 0. It spoils its own image; the others agree or not as before.")
def nan_spoils_all(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    return (0.0 if error == inf else share), error


@ex.mistake("Images with a NaN are gone from your count. They belong to it, as images that do not agree.")
def nan_images_gone(found: np.ndarray, expected: np.ndarray) -> Answer:
    keep = ~(np.isnan(found) | np.isnan(expected)).any(1)
    share = float((found[keep].argmax(1) == expected[keep].argmax(1)).mean()) if keep.any() else 0.0
    return share, agreement(found, expected)[1]


@ex.mistake("Of equal largest logits you took the last one. The first counts.")
def last_of_ties(found: np.ndarray, expected: np.ndarray) -> Answer:
    nan = (np.isnan(found) | np.isnan(expected)).any(1)
    same = found[:, ::-1].argmax(1) == expected[:, ::-1].argmax(1)
    return float((same & ~nan).mean()), agreement(found, expected)[1]


@ex.mistake("A tie counts as agreement in your answer if any of the equal logits fits. The first one counts.")
def any_of_ties(found: np.ndarray, expected: np.ndarray) -> Answer:
    nan = (np.isnan(found) | np.isnan(expected)).any(1)
    largest = [logits == logits.max(1, keepdims=True) for logits in (found, expected)]
    same = (largest[0] & largest[1]).any(1)
    return float((same & ~nan).mean()), agreement(found, expected)[1]


@ex.mistake("You took the largest logit of each class over the images (axis 0). Each image has its class: axis 1.")
def wrong_axis(found: np.ndarray, expected: np.ndarray) -> Answer:
    nan = (np.isnan(found) | np.isnan(expected)).any(0)
    return float(((found.argmax(0) == expected.argmax(0)) & ~nan).mean()), agreement(found, expected)[1]


@ex.mistake("Your class is the largest |logit|. The class is the largest logit, with its sign.")
def class_of_size(found: np.ndarray, expected: np.ndarray) -> Answer:
    nan = (np.isnan(found) | np.isnan(expected)).any(1)
    same = np.abs(found).argmax(1) == np.abs(expected).argmax(1)
    return float((same & ~nan).mean()), agreement(found, expected)[1]


@ex.mistake("Your share is in per cent. Asked is a fraction, 0 … 1.")
def percent(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    return 100 * share, error


@ex.mistake("Your share counts the images that differ.")
def share_that_differs(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    return 1 - share, error


@ex.mistake("You gave the number of images that agree. Asked is their share.")
def count(found: np.ndarray, expected: np.ndarray) -> Answer:
    share, error = agreement(found, expected)
    return share * len(found), error


@ex.alternative
def with_torch(found: np.ndarray, expected: np.ndarray) -> Answer:
    import torch

    one, other = torch.tensor(found).double(), torch.tensor(expected).double()
    bad = (one + other).isnan()
    same = (one.argmax(1) == other.argmax(1)) & ~bad.any(1)
    error = inf if bad.any() else ((one - other).abs().max() / other.abs().max()).item()
    return same.double().mean().item(), error


@ex.alternative
def in_loops(found: np.ndarray, expected: np.ndarray) -> Answer:
    same, worst, largest = 0, 0.0, 0.0
    for one, other in zip(found.tolist(), expected.tolist(), strict=True):
        if any(isnan(logit) for logit in one + other):
            worst = inf
            continue
        same += one.index(max(one)) == other.index(max(other))
        worst = max(worst, *(abs(a - b) for a, b in zip(one, other, strict=True)))
        largest = max(largest, *(abs(b) for b in other))
    return same / len(found), inf if worst == inf else worst / largest


@ex.alternative
def nan_to_infinity(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    apart = np.nan_to_num(np.abs(found - expected), nan=inf)
    worst = apart.max()
    same = (np.argmax(found, -1) == np.argmax(expected, -1)) & np.isfinite(apart).all(-1)
    error = worst if isclose(worst, 0) or worst == inf else worst / np.abs(expected).max()
    return np.array([same.sum() / len(found), error])
