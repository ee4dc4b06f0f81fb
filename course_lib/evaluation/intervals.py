"""How sure may one be of a measured number? Intervals for accuracies, differences, ratios and seeds.

A number without an interval invites a story about noise. Four cases occur in this course, and each has its own trap.

**One accuracy.** k of n images are right: p = k/n. If the images are independent, Wilson's interval holds 95 % also
near p = 1, where the textbook p ± 1.96·√(p(1−p)/n) collapses to zero width:

    (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n),   z = 1.96

Traffic signs are filmed: 30 frames of one sign are one sign seen 30 times. A model that misreads the sign misreads
most of its frames, so 30 frames do not carry 30 images' worth of evidence. The *cluster bootstrap* draws whole signs
("tracks") with replacement and looks at how the accuracy moves. Copying every image 30 times leaves its interval where
it was; Wilson's would shrink by √30 and call noise a discovery.

**Two accuracies on the same images.** Compare them image by image: dᵢ = right₂ᵢ − right₁ᵢ ∈ {−1, 0, 1}. Images that
both models get right or wrong cancel, so the interval of the mean of d is far narrower than two separate intervals
suggest. Two overlapping intervals do not prove that two models are equally good.

**A ratio of latencies.** In each round both variants run within milliseconds of one another, so a clock that slows
down or a neighbour that wakes up multiplies both times and cancels in the round's ratio. The estimate is the median
of those ratios, taken in logarithms so that ratio(a, b) = 1/ratio(b, a) exactly; rounds are what the bootstrap draws.
The ratio of the two medians would throw the pairing away.

**A score over seeds.** Three to five trainings: mean ± t·s/√n with Student's t, because s itself is uncertain
(with n = 3, t = 4.3 and not 1.96).

Where nothing in the sample varies (every track right), a bootstrap reports zero width. That is a limit of the method,
not knowledge: the half-width is then Wilson's for 0 of as many trials as there are clusters.

Sources: Wilson 1927, JASA 22; Efron and Tibshirani 1993, ch. 8 and 13; Guo et al. 2017, arXiv:1706.04599, eq. 3.
What industry does differently: evaluation suites mostly print the bare number, or Wilson's interval over frames.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from course_lib.arguments import numeric
from course_lib.evaluation.estimate import Estimate

LEVEL = 0.95
RESAMPLES = 2000


def wilson_interval(successes: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval for k successes in n independent trials, as (low, high) in [0, 1].

    Raises: ValueError: n < 1, successes outside 0..n, or level outside (0, 1).
    Source: Wilson 1927. Matches: scipy.stats.binomtest(k, n).proportion_ci(method="wilson").

    >>> low, high = wilson_interval(98, 100)
    >>> round(low, 4), round(high, 4)
    (0.93, 0.9945)
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"successes must be in 0..n and n ≥ 1, got successes={successes}, n={n}")
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    z = NormalDist().inv_cdf(0.5 + level / 2)
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    # Exact at the ends, where rounding would leave 1e-17 or 0.9999….
    return (0.0 if successes == 0 else low), (1.0 if successes == n else high)


def accuracy(predictions: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None, *, seed: int = 0) -> Estimate:
    """Fraction of predictions equal to labels, with a 95 % interval that respects tracks.

    Args:
        predictions: (N,) class ids. Logits must be reduced with argmax first.
        labels: (N,) class ids.
        groups: (N,) id of the physical sign each image shows; None states that the images are independent.
        seed: of the bootstrap (used with groups only).
    Returns: Wilson's interval without groups and where each image shows a sign of its own, otherwise the cluster
        bootstrap's.
    Raises: ValueError: empty, not one-dimensional, or of different lengths.

    >>> found = accuracy([0, 1, 1, 2], [0, 1, 1, 1])
    >>> found.value, found.n, round(found.low, 3)
    (0.75, 4, 0.301)
    """
    right = _right(predictions, labels, "predictions")
    if groups is None or (np.shape(groups) == right.shape and len(np.unique(np.asarray(groups))) == len(right)):
        low, high = wilson_interval(int(right.sum()), len(right))
        return Estimate(float(right.mean()), low, high, len(right))
    low, high, clusters = _cluster_interval(right, groups, seed, floor=0.0)
    return Estimate(float(right.mean()), low, high, len(right), clusters=clusters)


def accuracy_difference(
    predictions: ArrayLike, reference: ArrayLike, labels: ArrayLike, groups: ArrayLike | None = None, *, seed: int = 0
) -> Estimate:
    """100·(accuracy(predictions) − accuracy(reference)) in points, paired image by image; negative: worse.

    Args: as in ``accuracy``; ``reference`` (N,) are the other model's predictions for the same images, same order.
    Returns: the difference with its cluster-bootstrap interval (without groups each image is its own cluster).
    Raises: ValueError: empty, not one-dimensional, or of different lengths.

    >>> accuracy_difference([0, 1, 2, 2], [0, 1, 2, 0], [0, 1, 2, 2]).value
    25.0
    """
    gain = _right(predictions, labels, "predictions") - _right(reference, labels, "reference")  # in {−1, 0, 1}
    low, high, clusters = _cluster_interval(gain, np.arange(len(gain)) if groups is None else groups, seed, floor=-1.0)
    return Estimate(100 * float(gain.mean()), 100 * low, 100 * high, len(gain), "points", clusters)


def bootstrap_ratio(reference: ArrayLike, other: ArrayLike, *, seed: int, level: float = LEVEL) -> Estimate:
    """exp(median(log(referenceᵢ / otherᵢ))) over paired rounds i, with its bootstrap interval over rounds.

    Args: reference, other: (n,) positive times of the same rounds, in the same unit.
    Raises: ValueError: lengths differ, fewer than 2 rounds, or a time that is not positive and finite.

    >>> found = bootstrap_ratio([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], seed=0)
    >>> round(found.value, 6), found.includes(1)
    (2.0, False)
    """
    a, b = numeric("reference", reference).astype(float), numeric("other", other).astype(float)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(f"reference and other must be (n,) with the same n ≥ 2, got {a.shape} and {b.shape}")
    if not (np.isfinite(a) & np.isfinite(b) & (a > 0) & (b > 0)).all():
        raise ValueError("reference and other must hold positive, finite times")
    log_ratio = np.log(a / b)
    draws = np.random.default_rng(seed).integers(0, len(a), size=(RESAMPLES, len(a)))
    tail = (1 - level) / 2
    low, high = np.quantile(np.median(log_ratio[draws], axis=1), [tail, 1 - tail])
    value, low, high = (float(np.exp(v)) for v in (np.median(log_ratio), low, high))
    return Estimate(value, low, high, len(a), "×")


def ratio_over_sessions(ratios: Sequence[Estimate], level: float = LEVEL) -> Estimate:
    """One ratio from several sessions (fresh processes), with an interval that covers sessions.

    Memory lies elsewhere in each process, and neighbours change between them, so two sessions differ by more than their
    rounds do: exp(mean ± t·s/√k) over the k sessions' log ratios, Student's t with k − 1 degrees of freedom. One
    session has no spread between sessions: its own estimate is given back.

    Args: ratios: the sessions' own, as ``bootstrap_ratio`` gives them.
    Returns: n: all rounds; clusters: the sessions, where there are several.
    Raises: ValueError: no session.

    >>> sessions = [Estimate(value, value, value, 50, "×") for value in (1.9, 2.0, 2.1)]
    >>> found = ratio_over_sessions(sessions)
    >>> round(found.value, 2), round(found.low, 2), round(found.high, 2), found.n, found.clusters
    (2.0, 1.76, 2.26, 150, 3)
    """
    if not ratios:
        raise ValueError("ratios must hold at least one session, got none")
    if len(ratios) == 1:
        return ratios[0]
    logs = seed_interval([math.log(ratio.value) for ratio in ratios], level)
    value, low, high = (math.exp(v) for v in (logs.value, logs.low, logs.high))
    return Estimate(value, low, high, sum(ratio.n for ratio in ratios), "×", clusters=len(ratios))


def seed_interval(scores: ArrayLike, level: float = LEVEL, *, unit: str = "") -> Estimate:
    """mean ± t·s/√n over the scores of n independent trainings (Student's t with n − 1 degrees of freedom).

    Args: scores (n,), in any unit; unit: of the scores, for the record ("points").
    Returns: the mean with its interval, and in ``spread`` the standard deviation s.
    Raises: ValueError: fewer than two scores, or one that is not finite: one run has no spread.
    Matches: scipy.stats.t.interval.

    >>> found = seed_interval([1.0, 2.0, 3.0])
    >>> round(found.value, 3), round(found.low, 3), round(found.spread, 3)
    (2.0, -0.484, 1.0)
    """
    values = numeric("scores", scores).astype(float)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"scores must be at least two finite numbers, one per seed, got {scores!r}")
    from scipy.special import stdtrit  # SciPy costs import time that most callers need not pay

    std = float(values.std(ddof=1))
    half = float(stdtrit(len(values) - 1, 0.5 + level / 2)) * std / math.sqrt(len(values))
    mean = float(values.mean())
    return Estimate(mean, mean - half, mean + half, len(values), unit, spread=std)


def paired_seed_interval(of: Mapping[int, float], control: Mapping[int, float], level: float = LEVEL) -> Estimate:
    """Points of − control, paired by seed, with ``seed_interval`` over the seeds that both have.

    Args:
        of: seed → accuracy, a fraction.
        control: the same of what it is compared with.
    Raises: ValueError: fewer than two common seeds.

    >>> found = paired_seed_interval({1: 0.5, 2: 0.75}, {1: 0.25, 2: 0.5, 3: 0.9})
    >>> found.value, found.n, found.unit
    (25.0, 2, 'points')
    """
    common = sorted(of.keys() & control.keys())
    return seed_interval([100 * (of[seed] - control[seed]) for seed in common], level, unit="points")


def seed_and_sign_interval(differences: ArrayLike, groups: ArrayLike, level: float = LEVEL) -> Estimate:
    """Mean gain in points over trainings *and* test signs: would another seed, and other signs, say the same?

        SE² = s²/n + SE²_signs

    where s is the spread over the n seeds, and SE_signs that of the mean over seeds when whole signs are the trials
    (``track_standard_error``'s formula). Both parts hold the noise that a seed and a sign have in common, so the
    interval is a little too wide rather than too narrow. Student's t; the degrees of freedom are Welch's and
    Satterthwaite's for a sum of two variances, with n − 1 and G − 1.

    Args:
        differences: (n, N): per seed and test image, right − right of the control, in {−1, 0, 1}.
        groups: (N,): the sign that each image shows, G ≥ 2 of them.
    Returns: in points; n: seeds; spread: s.
    Raises: ValueError: another shape, fewer than two seeds or signs.
    Source: Satterthwaite 1946, Biometrics Bulletin 2; for crossed samples Owen 2007, Annals of Applied Statistics 1.

    >>> found = seed_and_sign_interval([[1, 0, 1, 0], [0, 0, 1, 1]], groups=[0, 0, 1, 2])
    >>> round(found.value, 1), found.n, found.low < 0 < found.high
    (50.0, 2, True)
    """
    values, ids = np.asarray(differences, float), np.asarray(groups)
    if values.ndim != 2 or ids.shape != values.shape[1:] or len(values) < 2 or len(np.unique(ids)) < 2:
        raise ValueError(
            f"differences must be (seeds ≥ 2, images), groups (images,) of 2 signs or more, got {values.shape} and "
            f"{ids.shape} with {len(np.unique(ids))} signs"
        )
    from scipy.special import stdtrit

    seeds, signs = seed_interval(100 * values.mean(1), level), len(np.unique(ids))
    by_seed = (seeds.spread or 0.0) ** 2 / len(values)
    by_sign = (100 * track_standard_error(values.mean(0), ids)) ** 2
    variance = by_seed + by_sign
    if variance < 1e-18:  # nothing varied: zero width would claim certainty
        half = 100 * wilson_interval(0, signs, level)[1]
    else:
        freedom = variance**2 / (by_seed**2 / (len(values) - 1) + by_sign**2 / (signs - 1))
        half = float(stdtrit(freedom, 0.5 + level / 2)) * math.sqrt(variance)
    return Estimate(seeds.value, seeds.value - half, seeds.value + half, len(values), "points", spread=seeds.spread)


def track_standard_error(right: ArrayLike, groups: ArrayLike) -> float:
    """Standard error of the accuracy p when whole tracks are the independent trials, as a fraction.

        SE = √( G/(G−1) · Σ_g (h_g − p·n_g)² ) / N

    Args: right (N,): 1 where the answer is right, else 0. groups (N,): the track each image belongs to, G ≥ 2 of them.
    Source: Cochran 1977, Sampling Techniques, eq. 2.46 (ratio estimator); Field and Welsh 2007 (cluster bootstrap).

    >>> round(track_standard_error([1, 1, 0, 0], [7, 7, 8, 8]), 4)
    0.5
    """
    right = np.asarray(right, float)
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    images, hits = np.bincount(member), np.bincount(member, weights=right)  # n_g and h_g, (G,)
    surplus = hits - right.mean() * images  # how many more hits than the average track of this length
    count = len(images)
    return float(np.sqrt(count / (count - 1) * (surplus**2).sum()) / len(right))


def _right(predictions: ArrayLike, labels: ArrayLike, name: str) -> np.ndarray:
    """(N,) 1.0 where the prediction equals the label, else 0.0."""
    p, y = np.asarray(predictions), np.asarray(labels)
    if p.ndim != 1 or p.shape != y.shape or len(p) == 0:
        raise ValueError(f"{name} and labels must be class ids (N,) with the same N ≥ 1, got {p.shape} and {y.shape}")
    return (p == y).astype(float)


def _cluster_interval(values: np.ndarray, groups: ArrayLike, seed: int, *, floor: float) -> tuple[float, float, int]:
    """95 % interval of the mean of ``values`` (in [floor, 1]) when whole groups are drawn, and the number of groups."""
    ids = np.asarray(groups)
    if ids.shape != values.shape:
        raise ValueError(f"groups must be (N,) like labels {values.shape}, got {ids.shape}")
    _, member = np.unique(ids, return_inverse=True)
    total, size = np.bincount(member, weights=values), np.bincount(member)
    rng, clusters = np.random.default_rng(seed), len(size)
    means, step = [], max(1, 500_000 // clusters)  # at most 4 MB of draws at a time
    for start in range(0, RESAMPLES, step):
        drawn = rng.integers(0, clusters, (min(step, RESAMPLES - start), clusters))
        means.append(total[drawn].sum(1) / size[drawn].sum(1))
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if high - low < 1e-12:  # nothing varied: zero width would claim certainty
        half = wilson_interval(0, clusters)[1]
        low, high = low - half, high + half
    return float(np.clip(low, floor, 1.0)), float(np.clip(high, floor, 1.0)), clusters
