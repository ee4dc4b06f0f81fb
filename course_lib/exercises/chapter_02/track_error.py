"""02.3: thirty frames of one sign are not thirty trials."""

from __future__ import annotations

import math

import numpy as np
import torch

from course_lib.evaluation import track_standard_error
from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "02.3",
    "Thirty frames are not thirty trials",
    points=3,
    trials=8,  # the fixed cases alone reject every planted mistake
    hints=[
        "Per track you need two numbers: its images n_g and its hits h_g. The ids are names: they come in any order "
        "and with gaps. np.unique(groups, return_inverse=True) renumbers them 0 … G−1.",
        "An average track of n_g images would have p·n_g hits, with p the accuracy over all images. Square what each "
        "track has more or less than that.",
        "With member the inverse, np.bincount(member) and np.bincount(member, weights=right) are n_g and h_g. Then "
        "√(G/(G−1) · Σ(h_g − p·n_g)²) / N, with G tracks and N images.",
    ],
    explanation="""
        With $h_g$ hits among the $n_g$ images of track $g$, the accuracy is the ratio $p = \\sum h_g / \\sum n_g$, and
        $SE = \\frac1N \\sqrt{\\frac{G}{G-1}\\sum_g (h_g - p\\,n_g)^2}$. The square of SE over $\\sqrt{p(1-p)/N}$ is the
        *design effect*: by how much the frames overstate the evidence. `course_lib.evaluation.accuracy` draws whole
        tracks instead, which gives the same width and needs no normal distribution; the formula is the library's
        `track_standard_error`.
    """,
)


@ex.reference
def track_error(right: np.ndarray, groups: np.ndarray) -> float:
    """SE = √(G/(G−1) · Σ(h_g − p·n_g)²) / N."""
    right = np.asarray(right, float)
    # Ids are names, in no order and with gaps: number the tracks 0 … G−1 before counting.
    tracks, member = np.unique(groups, return_inverse=True)
    images, hits = np.bincount(member), np.bincount(member, weights=right)  # n_g and h_g, (G,)
    surplus = hits - right.mean() * images  # how many more hits than an average track of this length
    count = len(tracks)
    return float(np.sqrt(count / (count - 1) * (surplus**2).sum()) / len(right))


@ex.case("the page's two tracks of three frames: 0.333")
def by_hand() -> tuple[np.ndarray, np.ndarray]:
    return np.array([1, 1, 1, 1, 0, 0]), np.array([0, 0, 0, 1, 1, 1])


@ex.case("tracks of unequal length, their frames mixed, and ids in no order with gaps between them")
def mixed_frames() -> tuple[np.ndarray, np.ndarray]:
    return np.array([1, 0, 1, 1, 0, 1, 1, 1]), np.array([31, 6, 31, 9, 6, 31, 9, 6])


@ex.case("answers given as the page has them, true and false (predictions == labels)")
def true_and_false() -> tuple[np.ndarray, np.ndarray]:
    return np.array([True, False, True, True, False]), np.array([4, 2, 4, 2, 2])


@ex.case("tracks of one frame each")
def one_frame_a_track() -> tuple[np.ndarray, np.ndarray]:
    return np.array([1, 1, 0, 1, 1, 1, 0]), np.array([12, 5, 8, 3, 40, 9, 0])


@ex.case("tracks that are alike: less than √(p(1−p)/N) comes out, and may")
def tracks_alike() -> tuple[np.ndarray, np.ndarray]:
    return np.array([1, 1, 0, 0, 1, 0, 1, 0, 1]), np.array([5, 5, 5, 2, 2, 2, 7, 7, 7])


@ex.case("answers that are all right: 0")
def all_right() -> tuple[np.ndarray, np.ndarray]:
    return np.array([1, 1, 1, 1, 1]), np.array([8, 3, 8, 8, 5])


@ex.inputs
def random_tracks(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    tracks = int(rng.integers(4, 8))
    lengths = rng.permutation(np.arange(2, 2 + tracks))  # no two alike
    # A track is mostly right or mostly wrong: this is what makes its frames one piece of evidence.
    misses = rng.permutation(np.arange(tracks) % 3) * (lengths - 1) // 2
    right = np.concatenate([np.arange(n) >= miss for n, miss in zip(lengths, misses, strict=True)]).astype(int)
    groups = np.repeat(rng.permutation(100)[:tracks], lengths)
    order = rng.permutation(len(groups))
    return right[order], groups[order]


def _tracks(right: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images and hits of each track: n_g and h_g, (G,)."""
    _, member = np.unique(groups, return_inverse=True)
    return np.bincount(member), np.bincount(member, weights=right)


def _binomial(right: np.ndarray, trials: int) -> float:
    p = float(np.mean(right))
    return math.sqrt(p * (1 - p) / trials)


def _from_surplus(surplus: np.ndarray, images: int) -> float:
    count = len(surplus)
    return math.sqrt(count / (count - 1) * float((surplus**2).sum())) / images


@ex.mistake(
    "√(p(1−p)/N) takes every frame for a trial of its own. Frames of one sign are right or wrong together: film the "
    "same signs twice as long, and your error shrinks though nothing new was seen."
)
def every_frame_a_trial(right: np.ndarray, groups: np.ndarray) -> float:
    return _binomial(right, len(right))


@ex.mistake(
    "You never go below √(p(1−p)/N). Where the tracks are alike, they differ by less than chance, and SE says so."
)
def at_least_every_frame_a_trial(right: np.ndarray, groups: np.ndarray) -> float:
    return max(_binomial(right, len(right)), track_standard_error(right, groups))


@ex.mistake(
    "√(p(1−p)/G) takes every track for one coin. That is the worst case, all frames alike; the data tell how alike "
    "they really are: use each track's own hits."
)
def every_track_a_coin(right: np.ndarray, groups: np.ndarray) -> float:
    return _binomial(right, len(np.unique(groups)))


@ex.mistake(
    "You took the spread of the tracks' accuracies: a track of 3 frames then weighs as much as one of 30, and the "
    "number belongs to another mean than the accuracy over images."
)
def mean_of_tracks(right: np.ndarray, groups: np.ndarray) -> float:
    images, hits = _tracks(right, groups)
    return float((hits / images).std(ddof=1) / math.sqrt(len(images)))


@ex.mistake(
    "Your p is the mean of the tracks' accuracies. It is the accuracy over all images, Σh_g / N: a long track counts "
    "for more."
)
def p_of_tracks(right: np.ndarray, groups: np.ndarray) -> float:
    images, hits = _tracks(right, groups)
    return _from_surplus(hits - (hits / images).mean() * images, len(right))


@ex.mistake(
    "You compared hits with the average hits: a long track then counts as good because it is long. Compare with p·n_g, "
    "what an average track of that length would have."
)
def lengths_forgotten(right: np.ndarray, groups: np.ndarray) -> float:
    _, hits = _tracks(right, groups)
    return _from_surplus(hits - hits.mean(), len(right))


@ex.mistake(
    "The factor G/(G−1) is missing: p was estimated from the same tracks, which hides a part of their spread. With two "
    "tracks that is a factor of √2."
)
def no_correction(right: np.ndarray, groups: np.ndarray) -> float:
    images, hits = _tracks(right, groups)
    return float(np.sqrt(((hits - np.mean(right) * images) ** 2).sum()) / len(right))


@ex.mistake("The factor is N/(N−1) in yours. The trials are the tracks: it is G/(G−1).")
def corrected_by_images(right: np.ndarray, groups: np.ndarray) -> float:
    return no_correction(right, groups) * math.sqrt(len(right) / (len(right) - 1))


@ex.mistake("The factor is turned round: G/(G−1) makes the error larger, (G−1)/G makes it smaller.")
def correction_turned_round(right: np.ndarray, groups: np.ndarray) -> float:
    count = len(np.unique(groups))
    return no_correction(right, groups) * math.sqrt((count - 1) / count)


@ex.mistake("G/(G−1) stands under the root, with the squares that it corrects.")
def correction_outside(right: np.ndarray, groups: np.ndarray) -> float:
    count = len(np.unique(groups))
    return no_correction(right, groups) * count / (count - 1)


@ex.mistake(
    "You took the largest id plus one for the number of tracks, as np.bincount(groups) does. Ids have gaps: the number "
    "of tracks is len(np.unique(groups))."
)
def tracks_by_largest_id(right: np.ndarray, groups: np.ndarray) -> float:
    images, hits = np.bincount(groups), np.bincount(groups, weights=right)
    return _from_surplus(hits - np.mean(right) * images, len(right))


@ex.mistake(
    "You took a new track to begin wherever the id changes from one image to the next. The frames of a track need not "
    "lie side by side: collect them by id."
)
def tracks_as_blocks(right: np.ndarray, groups: np.ndarray) -> float:
    block = np.concatenate([[0], np.cumsum(groups[1:] != groups[:-1])])
    images, hits = np.bincount(block), np.bincount(block, weights=right)
    return _from_surplus(hits - np.mean(right) * images, len(right))


@ex.mistake(
    "You compared each track's accuracy with p, and a short track counts as a long one does. Compare hits: h_g − p·n_g."
)
def accuracies_against_p(right: np.ndarray, groups: np.ndarray) -> float:
    images, hits = _tracks(right, groups)
    return _from_surplus(hits / images - np.mean(right), len(images))


@ex.mistake("You summed before you squared: what some tracks have too much, others have too little, and the sum is 0.")
def sum_before_square(right: np.ndarray, groups: np.ndarray) -> float:
    images, hits = _tracks(right, groups)
    return abs(float((hits - np.mean(right) * images).sum())) / len(right)


@ex.mistake("You took absolute values. Squares are summed, and the root is taken of their sum.")
def absolute_values(right: np.ndarray, groups: np.ndarray) -> float:
    images, hits = _tracks(right, groups)
    count = len(images)
    return math.sqrt(count / (count - 1)) * float(np.abs(hits - np.mean(right) * images).sum()) / len(right)


@ex.mistake("G/G − 1·Σ is 1 − Σ: Python divides and multiplies before it subtracts. Write G/(G − 1)·Σ.")
def no_brackets(right: np.ndarray, groups: np.ndarray) -> float:
    images, hits = _tracks(right, groups)
    count = len(images)
    with np.errstate(invalid="ignore"):
        return float(np.sqrt(count / count - 1 * ((hits - np.mean(right) * images) ** 2).sum()) / len(right))


@ex.mistake("You divided by the number of tracks. The hits were counted in images: divide by N.")
def over_tracks(right: np.ndarray, groups: np.ndarray) -> float:
    return track_standard_error(right, groups) * len(right) / len(np.unique(groups))


@ex.mistake("You divided by √N, or took N under the root. The sum holds squares of whole tracks: SE = √(…)/N.")
def over_root_n(right: np.ndarray, groups: np.ndarray) -> float:
    return track_standard_error(right, groups) * math.sqrt(len(right))


@ex.mistake("You did not divide by N: this is the error of the number of hits, not of the accuracy.")
def of_the_hits(right: np.ndarray, groups: np.ndarray) -> float:
    return track_standard_error(right, groups) * len(right)


@ex.mistake("This is the variance: take the square root for a standard error.")
def no_root(right: np.ndarray, groups: np.ndarray) -> float:
    return track_standard_error(right, groups) ** 2


@ex.mistake("This is 1.96 standard errors, half of a 95 % interval. Asked for is one.")
def half_of_an_interval(right: np.ndarray, groups: np.ndarray) -> float:
    return 1.96 * track_standard_error(right, groups)


@ex.mistake("This is the design effect. Asked for is the standard error itself.")
def design_effect(right: np.ndarray, groups: np.ndarray) -> float:
    binomial = _binomial(right, len(right))
    return (track_standard_error(right, groups) / binomial) ** 2 if binomial else 0.0


@ex.alternative
def loop_over_images(right: np.ndarray, groups: np.ndarray) -> float:
    tracks: dict[int, list[int]] = {}
    for hit, group in zip(right.tolist(), groups.tolist(), strict=True):
        tracks.setdefault(group, []).append(hit)
    p = sum(map(sum, tracks.values())) / len(right)
    total = sum(sum(hit - p for hit in track) ** 2 for track in tracks.values())
    return math.sqrt(total * len(tracks) / (len(tracks) - 1)) / len(right)


@ex.alternative
def loop_over_tracks(right: np.ndarray, groups: np.ndarray) -> np.floating:
    p, ids = right.mean(), set(groups)
    squares = [(right[groups == g].sum() - p * (groups == g).sum()) ** 2 for g in ids]
    return np.sqrt(len(ids) / (len(ids) - 1) * np.sum(squares)) / right.size


@ex.alternative
def deviations_as_a_spread(right: np.ndarray, groups: np.ndarray) -> float:
    # The surpluses have mean 0, so their standard deviation with ddof=1 holds G/(G−1) already.
    images, hits = _tracks(right, groups)
    return float((hits - hits.sum() / images.sum() * images).std(ddof=1) * math.sqrt(len(images)) / images.sum())


@ex.alternative
def in_torch(right: np.ndarray, groups: np.ndarray) -> torch.Tensor:
    hit = torch.from_numpy(right).float()
    ids, member = torch.from_numpy(groups).unique(return_inverse=True)
    surplus = torch.zeros(len(ids)).index_add_(0, member, hit - hit.mean())
    return (surplus.square().sum() * len(ids) / (len(ids) - 1)).sqrt() / len(hit)


@ex.alternative
def the_library(right: np.ndarray, groups: np.ndarray) -> float:
    return track_standard_error(right, groups)
