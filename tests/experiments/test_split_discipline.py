"""A leaking split is found, set-aside signs stay unseen, and the measured optimism is what it says."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.data import SignDataset, split_by_group, split_by_image
from course_lib.evaluation import leak_fraction
from course_lib.experiments.split_discipline import SplitScore, score_split, set_signs_aside
from course_lib.training import Recipe


def signs(classes: int = 3, tracks: int = 12, frames: int = 5, seed: int = 0) -> SignDataset:
    """Tracks whose frames are one random image with a little noise: nothing to learn but the track itself."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(classes * tracks), frames)
    base = rng.integers(0, 256, (classes * tracks, 3, 32, 32))
    images = np.clip(base[group] + rng.normal(0, 4, (len(group), 3, 32, 32)), 0, 255).astype(np.uint8)
    return SignDataset(images, group % classes, groups=group, num_classes=classes)


def test_the_leak_is_the_share_of_test_images_not_of_signs():
    assert leak_fraction([1, 1, 2], [1, 1, 1, 3]) == 0.75
    assert leak_fraction([2, 3], [1, 1]) == 0
    assert leak_fraction([], [1]) == 0


def test_a_leak_without_test_images_is_refused():
    with pytest.raises(ValueError, match="test_groups must hold at least one image"):
        leak_fraction([1], [])


def test_a_split_by_group_leaks_nothing_and_one_by_image_as_the_formula_says():
    data = signs(tracks=200, frames=3)
    by_group, by_image = split_by_group(data), split_by_image(data)
    assert leak_fraction(by_group.train.groups, by_group.test.groups) == 0
    # Two siblings, each in train with probability 0.65; n = 360 test images, standard error 0.02.
    assert leak_fraction(by_image.train.groups, by_image.test.groups) == pytest.approx(1 - 0.35**2, abs=0.05)


@pytest.mark.parametrize("per_class", [3, 4, 20])
def test_signs_set_aside_are_in_neither_hand_and_every_class_is_in_both(per_class):
    data = signs(tracks=9)
    pool, unseen = set_signs_aside(data, per_class, seed=1)
    assert leak_fraction(pool.groups, unseen.groups) == 0
    assert set(pool.labels) == set(unseen.labels) == {0, 1, 2}
    assert len(np.unique(pool.groups)) == 3 * min(per_class, 5)
    assert (pool.split, unseen.split) == ("pool", "unseen")


def test_setting_aside_is_a_function_of_the_seed():
    data = signs()
    first, again, other = (set_signs_aside(data, 4, seed=s)[0].groups for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("tracks", "per_class", "message"),
    [(12, 2, "signs_per_class must be at least 3"), (3, 3, "class 0 has 3 signs")],
)
def test_too_few_signs_are_refused(tracks, per_class, message):
    with pytest.raises(ValueError, match=message):
        set_signs_aside(signs(tracks=tracks), per_class, seed=0)


def test_where_only_memory_helps_the_split_by_image_invents_skill_and_the_split_by_track_does_not():
    # The images are noise: no student can know the class of a new sign, so 1/3 is the truth everywhere.
    pool, unseen = set_signs_aside(signs(tracks=24), 12, seed=0)
    recipe = Recipe(epochs=12, max_lr=5e-3, batch_size=16, augmentation=None)
    image, track = (
        score_split(kind, pool, unseen, recipe, width=0.5, seed=0, progress=False) for kind in ("by image", "by track")
    )
    assert image.leaked > 0.9
    assert track.leaked == 0
    assert image.optimism_points > 25
    assert image.test > track.test + 0.25


def test_optimism_is_in_points_and_positive_when_the_test_promised_more():
    assert SplitScore("by image", 0, 1.0, test=0.9, unseen=0.7).optimism_points == pytest.approx(20)


def test_an_unknown_split_and_a_leaking_truth_are_refused():
    pool, unseen = set_signs_aside(signs(), 4, seed=0)
    with pytest.raises(ValueError, match=r"name must be one of \['by image', 'by track'\], got 'random'"):
        score_split("random", pool, unseen, Recipe(epochs=1), width=0.5, seed=0)
    with pytest.raises(ValueError, match="unseen must share no sign with pool"):
        score_split("by track", pool, pool, Recipe(epochs=1), width=0.5, seed=0)
