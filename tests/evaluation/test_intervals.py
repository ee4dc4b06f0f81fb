"""Intervals: equal to SciPy where SciPy has them, and honest about tracks, pairs and small samples."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from course_lib import evaluation
from course_lib.evaluation import (
    accuracy,
    accuracy_difference,
    bootstrap_ratio,
    expected_calibration_error,
    seed_interval,
    wilson_interval,
)


def tracks(accuracy_per_track: list[float], frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions, labels (all 0) and groups with the stated fraction of right frames in each track."""
    right = [np.arange(frames) < round(a * frames) for a in accuracy_per_track]
    predictions = np.where(np.concatenate(right), 0, 1)
    return predictions, np.zeros_like(predictions), np.repeat(np.arange(len(right)), frames)


@pytest.mark.parametrize("n", [1, 2, 7, 100, 12630])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.98, 1.0])
@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_wilson_equals_scipy(n, fraction, level):
    k = round(fraction * n)
    expected = scipy.stats.binomtest(k, n).proportion_ci(level, method="wilson")
    assert wilson_interval(k, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_covers_the_true_accuracy_in_about_95_percent_of_samples_near_1():
    rng = np.random.default_rng(0)
    intervals = [wilson_interval(int(k), 300) for k in rng.binomial(300, 0.985, 4000)]
    covered = np.mean([low <= 0.985 <= high for low, high in intervals])
    assert 0.93 < covered < 0.98  # binomial noise of 4000 samples: ± 0.7 points; Wilson itself is off by up to 2


@pytest.mark.parametrize(("k", "n", "level"), [(0, 0, 0.95), (3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0), (1, 2, 0.0)])
def test_wilson_refuses_impossible_counts_and_levels(k, n, level):
    with pytest.raises(ValueError, match=r"successes|level"):
        wilson_interval(k, n, level)


def test_accuracy_without_groups_is_wilsons():
    found = accuracy([1, 1, 0, 2], [1, 1, 1, 2])
    assert (found.value, found.n, found.independent) == (0.75, 4, 4)
    assert (found.low, found.high) == wilson_interval(3, 4)


def test_copying_every_frame_30_times_moves_the_track_interval_not_at_all_but_shrinks_wilsons():
    predictions, labels, groups = tracks([1.0] * 30 + [0.5] * 6 + [0.0] * 4, frames=2)
    once = accuracy(predictions, labels, groups)
    copies = [np.repeat(a, 30) for a in (predictions, labels, groups)]
    many = accuracy(*copies)
    assert (many.low, many.high, many.clusters) == pytest.approx((once.low, once.high, once.clusters), abs=1e-12)
    naive_once, naive_many = accuracy(predictions, labels), accuracy(*copies[:2])
    assert naive_many.high - naive_many.low < 0.25 * (naive_once.high - naive_once.low)


def test_the_track_interval_covers_the_true_accuracy_where_wilsons_over_frames_does_not():
    rng, covered, naive_covered = np.random.default_rng(1), [], []
    for trial in range(60):  # 60 tracks, each all right (p = 0.8) or all wrong: 30 frames carry one frame's evidence
        right = rng.random(60) < 0.8
        p, y, g = tracks(right.astype(float).tolist(), frames=30)
        clustered, naive = accuracy(p, y, g, seed=trial), accuracy(p, y)
        covered.append(clustered.low <= 0.8 <= clustered.high)
        naive_covered.append(naive.low <= 0.8 <= naive.high)
    assert np.mean(covered) > 0.88
    assert np.mean(naive_covered) < 0.5


def test_with_one_frame_a_track_the_bootstrap_agrees_with_wilson():
    rng = np.random.default_rng(2)
    predictions = (rng.random(2000) > 0.9).astype(int)
    grouped = accuracy(predictions, np.zeros(2000, int), np.arange(2000))
    plain = accuracy(predictions, np.zeros(2000, int))
    # Both have standard error 0.0067; a bootstrap of 2000 draws knows its ends to about a tenth of that.
    assert (grouped.low, grouped.high) == pytest.approx((plain.low, plain.high), abs=0.002)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_or_all_wrong_is_not_certainty(value):
    predictions, labels, groups = tracks([value] * 12, frames=30)
    found = accuracy(predictions, labels, groups)
    width = wilson_interval(0, 12)[1]
    assert found.high - found.low == pytest.approx(width)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_the_same_seed_gives_the_same_interval_and_group_names_do_not_matter():
    predictions, labels, groups = tracks([1.0, 0.5, 0.0, 1.0, 0.9], frames=10)
    named = np.array(["a", "b", "c", "d", "e"])[groups]
    assert accuracy(predictions, labels, groups, seed=3) == accuracy(predictions, labels, named, seed=3)


@pytest.mark.parametrize(
    ("predictions", "labels", "groups"),
    [([], [], None), ([1, 2], [1], None), ([[0.1, 0.9]], [1], None), ([1, 2], [1, 2], [0])],
    ids=["empty", "lengths", "logits", "groups"],
)
def test_accuracy_refuses_arrays_that_do_not_fit(predictions, labels, groups):
    with pytest.raises(ValueError, match="got"):
        accuracy(predictions, labels, groups)


def test_the_difference_has_the_sign_of_the_change_and_is_in_points():
    labels = np.zeros(200, int)
    reference, worse = labels.copy(), labels.copy()
    reference[:10], worse[:14] = 1, 1
    found = accuracy_difference(worse, reference, labels)
    assert found.value == pytest.approx(-2.0)
    assert found.low < -2.0 < found.high
    assert accuracy_difference(reference, worse, labels).value == pytest.approx(2.0)


def test_pairing_finds_a_difference_that_two_separate_intervals_hide():
    rng = np.random.default_rng(4)
    labels = np.zeros(2000, int)
    reference = (rng.random(2000) > 0.9).astype(int)
    worse = reference.copy()
    worse[np.flatnonzero(reference == 0)[:16]] = 1  # 16 images lost, none gained
    paired = accuracy_difference(worse, reference, labels)
    assert paired.high < 0
    assert accuracy(worse, labels).high > accuracy(reference, labels).low


def test_frames_of_one_track_do_not_make_a_difference_significant():
    p, y, g = tracks([1.0] * 40, frames=30)
    worse = p.copy()
    worse[g == 7] = 1  # one sign of 40 is lost: 30 images, one event
    assert accuracy_difference(worse, p, y, g).high == pytest.approx(0.0)
    assert accuracy_difference(worse, p, y).high < 0


def test_identical_predictions_on_few_images_do_not_prove_equality():
    labels = np.arange(10)
    found = accuracy_difference(labels, labels, labels)
    assert found.value == 0
    assert found.high == -found.low == pytest.approx(100 * wilson_interval(0, 10)[1])


def test_the_ratio_is_the_median_of_the_rounds_and_its_inverse_is_exact():
    a, b = np.array([4.0, 9.0, 8.0, 40.0]), np.array([2.0, 3.0, 4.0, 10.0])
    forward, backward = bootstrap_ratio(a, b, seed=0), bootstrap_ratio(b, a, seed=0)
    assert forward.value == pytest.approx(np.sqrt(2 * 3))  # the middle two of 2, 2, 3, 4, averaged in logarithms
    assert backward.value == pytest.approx(1 / forward.value)
    assert (backward.low, backward.high) == pytest.approx((1 / forward.high, 1 / forward.low))


def test_drift_that_both_share_cancels_in_the_paired_ratio():
    rng = np.random.default_rng(5)
    drift = np.linspace(1, 3, 60)
    a, b = drift * rng.normal(2, 0.02, 60), drift * rng.normal(1, 0.01, 60)
    paired = bootstrap_ratio(a, b, seed=0)
    assert paired.low <= 2 <= paired.high
    assert paired.high - paired.low < 0.04
    shuffled = bootstrap_ratio(rng.permutation(a), b, seed=0)  # the same times with the pairing destroyed
    assert shuffled.high - shuffled.low > 5 * (paired.high - paired.low)


def test_the_ratio_interval_covers_the_truth_in_about_95_percent_of_runs():
    rng, covered = np.random.default_rng(6), []
    for trial in range(80):
        noise = rng.lognormal(0, 0.1, (2, 40))
        found = bootstrap_ratio(1.1 * noise[0], noise[1], seed=trial)
        covered.append(found.low <= 1.1 <= found.high)
    assert 0.88 < np.mean(covered) <= 1.0


def test_a_ratio_of_equal_variants_includes_one_and_a_clear_one_does_not():
    noise = np.random.default_rng(7).normal(1, 0.05, (2, 50))
    assert bootstrap_ratio(noise[0], noise[1], seed=0).includes(1)
    assert not bootstrap_ratio(2 * noise[0], noise[1], seed=0).includes(1)


@pytest.mark.parametrize(
    ("a", "b"), [([1.0], [1.0]), ([1, 2], [1, 2, 3]), ([1, 0.0], [1, 1]), ([1, np.nan], [1, 1]), ([1, -1], [1, 1])]
)
def test_a_ratio_refuses_one_round_unequal_lengths_and_impossible_times(a, b):
    with pytest.raises(ValueError, match="reference and other"):
        bootstrap_ratio(a, b, seed=0)


def test_the_seed_interval_equals_scipys():
    scores = [0.973, 0.981, 0.969]
    found = seed_interval(scores)
    expected = scipy.stats.t.interval(0.95, 2, loc=np.mean(scores), scale=scipy.stats.sem(scores))
    assert (found.low, found.high) == pytest.approx(expected)
    assert (found.value, found.spread, found.n) == pytest.approx((np.mean(scores), np.std(scores, ddof=1), 3))


@pytest.mark.parametrize("scores", [[], [0.9], [0.9, np.nan], [[0.9, 0.8]]])
def test_one_run_has_no_spread(scores):
    with pytest.raises(ValueError, match="one per seed"):
        seed_interval(scores)


def crossed(rng, seeds=5, signs=40, frames=6, *, between_seeds=1.0, between_signs=1.0):
    """Made-up differences whose true mean is 0: an effect of the seed, one of the sign, and noise of each image."""
    by_seed, by_sign = between_seeds * rng.normal(size=(seeds, 1)), between_signs * rng.normal(size=signs)
    noise = 0.5 * rng.normal(size=(seeds, signs * frames))
    return by_seed + np.repeat(by_sign, frames) + noise, np.repeat(np.arange(signs), frames)


def test_seeds_are_paired_and_those_that_only_one_side_has_are_left_out():
    few, many = {1: 0.5, 2: 0.75}, {1: 0.25, 2: 0.625, 3: 0.1}
    for of, control, sign in ((few, many, 1), (many, few, -1)):
        found = evaluation.paired_seed_interval(of, control)
        expected = evaluation.seed_interval([sign * 25.0, sign * 12.5], unit="points")
        assert found == expected
    narrow = evaluation.paired_seed_interval(few, many, 0.5)
    assert narrow.low > evaluation.paired_seed_interval(few, many).low
    with pytest.raises(ValueError, match="at least two"):
        evaluation.paired_seed_interval({1: 0.5, 4: 0.5}, few)


@pytest.mark.parametrize(("between_seeds", "between_signs"), [(1, 0), (0.1, 1), (0.2, 3)])
def test_the_interval_over_seeds_and_signs_covers_the_truth_where_the_one_over_seeds_does_not(
    between_seeds, between_signs
):
    rng, both, seeds = np.random.default_rng(0), 0, 0
    for _ in range(400):
        differences, groups = crossed(rng, between_seeds=between_seeds, between_signs=between_signs)
        both += evaluation.seed_and_sign_interval(differences, groups).includes(0)
        seeds += seed_interval(100 * differences.mean(1)).includes(0)
    assert both >= 0.93 * 400
    assert (seeds < 0.8 * 400) == (between_signs > between_seeds)


def test_with_equal_signs_it_is_the_interval_over_seeds_and_with_equal_seeds_the_one_over_signs():
    by_seed = np.repeat([[0.1], [0.3], [-0.2]], 12, axis=1)
    groups = np.repeat(np.arange(4), 3)
    found, expected = evaluation.seed_and_sign_interval(by_seed, groups), seed_interval(100 * by_seed[:, 0])
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    by_sign = np.repeat([[1, 0, -1, 1]], 5, axis=0)
    found, rates = evaluation.seed_and_sign_interval(by_sign, np.arange(4)), 100 * by_sign[0]
    expected = scipy.stats.t.interval(0.95, 3, rates.mean(), scipy.stats.sem(rates))
    assert (found.low, found.high) == pytest.approx(expected)


def test_copies_of_frames_do_not_make_it_narrower():
    differences, groups = crossed(np.random.default_rng(1), frames=1)
    once = evaluation.seed_and_sign_interval(differences, groups)
    copied = evaluation.seed_and_sign_interval(np.repeat(differences, 30, axis=1), np.repeat(groups, 30))
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_nothing_that_varies_is_not_certainty():
    few, many = (evaluation.seed_and_sign_interval(np.zeros((3, n)), np.arange(n)) for n in (4, 400))
    assert few.value == many.value == 0
    assert few.low < -40 < 40 < few.high
    assert -1 < many.low < 0 < many.high < 1


@pytest.mark.parametrize(
    ("differences", "groups"),
    [
        (np.zeros(4), np.arange(4)),
        (np.zeros((1, 4)), np.arange(4)),
        (np.zeros((2, 4)), np.arange(3)),
        (np.zeros((2, 4)), np.zeros(4)),
    ],
)
def test_one_seed_one_sign_or_another_shape_is_refused(differences, groups):
    with pytest.raises(ValueError, match="differences must be"):
        evaluation.seed_and_sign_interval(differences, groups)


def test_ece_equals_the_hand_written_case():
    p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.45, 0.55]])
    found = expected_calibration_error(p, [0, 1, 1, 0], bins=2)
    # All confidences are in (0.5, 1]: accuracy 2/4, mean confidence (0.9 + 0.8 + 0.7 + 0.55) / 4 = 0.7375.
    assert found.ece == pytest.approx(0.2375)
    assert [b.count for b in found.bins] == [0, 4]
    five = expected_calibration_error(p, [0, 1, 1, 0], bins=5)
    # (0.4, 0.6]: 0.55 wrong; (0.6, 0.8]: 0.8 wrong and 0.7 right; (0.8, 1]: 0.9 right.
    assert [b.count for b in five.bins] == [0, 0, 1, 2, 1]
    assert five.ece == pytest.approx((0.55 + 2 * abs(0.5 - 0.75) + 0.1) / 4)
    assert five.bins[3].confidence == pytest.approx(0.75)


def test_ece_is_zero_for_a_calibrated_oracle_and_large_for_a_confident_fool():
    certain = np.eye(3)[[0, 1, 2]]
    assert expected_calibration_error(certain, [0, 1, 2], bins=15).ece == 0
    assert expected_calibration_error(certain, [1, 2, 0], bins=15).ece == 1


def test_ece_does_not_depend_on_the_order_of_images():
    rng = np.random.default_rng(8)
    p, y = rng.dirichlet(np.ones(5), 300), rng.integers(0, 5, 300)
    order = rng.permutation(300)
    shuffled = expected_calibration_error(p[order], y[order], bins=15).ece
    assert shuffled == pytest.approx(expected_calibration_error(p, y, bins=15).ece)


@pytest.mark.parametrize(
    ("p", "y", "bins"),
    [([[2.0, -1.0]], [0], 15), ([[3.0, 4.0]], [0], 15), ([[0.5, 0.5]], [0, 1], 15), ([[0.5, 0.5]], [0], 0)],
    ids=["negative", "logits", "lengths", "no bins"],
)
def test_ece_refuses_logits_and_misfits(p, y, bins):
    with pytest.raises(ValueError, match=r"probabilities|bins"):
        expected_calibration_error(p, y, bins)
