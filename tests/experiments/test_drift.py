"""One stream for every arm: no sign twice, equal steps, the same number of weights at all times."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset
from course_lib.data.rendered.scene import CLEAR, NIGHT, RAIN
from course_lib.experiments import drift
from course_lib.experiments.drift import Plan, Reservoir, Stream, run_arm
from course_lib.experiments.drift_rows import (
    ARMS,
    CONDITIONS,
    DENSE_FROZEN,
    Row,
    difference,
    lost_between,
    scores,
    with_dense_frozen,
)
from course_lib.models import sign_student
from course_lib.pruning import Masks, sparsity

PLAN = Plan(first_signs=43, windows=2, window_signs=4, held_signs=6, epochs=1, batch_size=8, buffer=16)


def part(count: int, seed: int) -> SignDataset:
    rng = np.random.default_rng(seed)
    return SignDataset(rng.integers(0, 256, (count, 3, 16, 16), dtype=np.uint8), np.arange(count) % 43)


PARTS = Stream(
    part(20, 0),
    tuple((c, part(16, 10 * i + k)) for i, c in enumerate(CONDITIONS, 1) for k in range(2)),
    {condition: part(9, 99) for condition in CONDITIONS},
)


@pytest.fixture(scope="module")
def starts():
    torch.manual_seed(0)
    student = sign_student(channels=(4, 6, 8), strides=(2, 2, 2))
    return drift.begin(PLAN, PARTS, student, seed=5)


@pytest.fixture
def steps(monkeypatch):
    """(images, steps) of each training."""
    counted, real = [], drift.train_window_

    def spied(model, images, plan, seed):
        counted.append((len(images), -(-len(images) // plan.batch_size)))
        real(model, images, plan, seed)

    monkeypatch.setattr(drift, "train_window_", spied)
    return counted


@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_sees_every_window_in_equally_many_steps_at_its_own_sparsity(arm, starts, steps):
    dense, pruned = starts
    start = dense if arm.startswith("dense") else pruned
    before = {name: value.clone() for name, value in start.state_dict().items()}
    model, rows = run_arm(arm, PLAN, PARTS, start, seed=5)
    assert [(row.window, row.condition) for row in rows] == [(0, "day"), *enumerate([c for c, _ in PARTS.windows], 1)]
    assert steps == ([] if arm == "frozen" else [(32, 4)] * 6)
    assert all(torch.equal(value, before[name]) for name, value in start.state_dict().items())
    at = 0.0 if arm.startswith("dense") else sparsity(pruned)[-1].fraction
    assert at == pytest.approx(0.0 if arm.startswith("dense") else 0.9, abs=0.01)
    masks = Masks.of(model)
    for row in rows:
        assert row.sparsity >= at - 1e-9  # a weight that came back may still be 0
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert kept == sum(int(mask.sum()) for mask in Masks.of(start).values())
    if arm.startswith("rechosen"):
        assert 0 < rows[1].moved < 0.08
    else:
        assert all(row.moved == 0 for row in rows)
        assert masks == Masks.of(start)


def test_the_same_seed_gives_the_same_rows_and_arms_begin_alike(starts):
    _, pruned = starts
    rows = [run_arm(arm, PLAN, PARTS, pruned, seed=5)[1] for arm in ("rechosen_replay", "rechosen_replay", "frozen")]
    assert rows[0] == rows[1]
    assert rows[0][0].accuracy == rows[2][0].accuracy == rows[2][-1].accuracy


def test_an_unknown_arm_is_refused(starts):
    with pytest.raises(ValueError, match="arm must be one of frozen"):
        run_arm("melted", PLAN, PARTS, starts[1], seed=0)


def test_no_sign_is_in_two_parts_and_all_weathers_are_what_they_are_called():
    found = drift.stream(PLAN, size=16)
    kinds = {"day": CLEAR, "night": NIGHT, "rain": RAIN}
    assert [c for c, _ in found.windows] == [c for c in CONDITIONS for _ in range(2)]
    parts = [("day", found.first), *found.windows]
    for condition, images in [*parts, *found.held.items()]:
        assert set(images.attributes["weather"]) == {kinds[condition]}
    assert {len(images) for _, images in found.windows} == {24}
    assert len(found.first) == 43 * 6
    pictures = [images.images[i].tobytes() for _, images in parts for i in range(len(images))]
    assert len(set(pictures)) == len(pictures)
    assert len({images.groups.tobytes() for images in found.held.values()}) == 1
    assert len(found.held["day"]) % 6 == 0
    assert 0 < len(found.held["day"]) <= 36


def test_nights_are_darker_than_days():
    found = drift.stream(PLAN, size=16).held
    light = {condition: images.images.mean() for condition, images in found.items()}
    assert light["night"] < 0.5 * light["day"]


def test_a_reservoir_holds_every_image_with_the_same_probability():
    held = np.zeros(60)
    for seed in range(400):
        reservoir = Reservoir(12, seed)
        for start in range(0, 60, 20):
            pixels = np.arange(start, start + 20, dtype=np.uint8).reshape(20, 1, 1, 1).repeat(3, 1)
            reservoir.see(SignDataset(pixels, np.zeros(20, int)))
        kept = reservoir.draw(12).images[:, 0, 0, 0]
        assert len(set(kept.tolist())) == 12
        held[kept] += 1
    assert held.sum() == 400 * 12
    expected, spread = 400 * 12 / 60, (400 * 0.2 * 0.8) ** 0.5
    assert np.abs(held - expected).max() < 4 * spread
    assert abs(held[:20].mean() - held[40:].mean()) < spread


def test_draws_use_every_kept_image_before_any_comes_twice():
    reservoir = Reservoir(5, 0)
    with pytest.raises(ValueError, match="seen no image"):
        reservoir.draw(1)
    reservoir.see(part(3, 1))
    drawn = reservoir.draw(7)
    counts = sorted(np.unique(drawn.images.reshape(7, -1), axis=0, return_counts=True)[1].tolist())
    assert counts == [2, 2, 3]


def test_gradients_are_those_of_the_mean_loss_also_of_removed_weights():
    torch.manual_seed(1)
    model = sign_student(channels=(4, 6, 8), strides=(2, 2, 2)).train()
    Masks.from_fraction(model, 0.5, scope="layer").apply_(model)
    found = drift.gradients(model, PARTS.first)
    assert model.training
    name = "features.1.0.weight"
    removed = ~Masks.of(model)[name]
    assert (found[name][removed] != 0).any()
    place = removed.nonzero()[found[name][removed].abs().argmax()].tolist()
    x, y = PARTS.first.batch(np.arange(len(PARTS.first)))
    model.double().eval()
    values = []
    for sign in (1, -1):
        twin = copy.deepcopy(model)
        with torch.no_grad():
            dict(twin.named_parameters())[name][tuple(place)] += sign * 1e-4
            values.append(torch.nn.functional.cross_entropy(twin(x.double()), y).item())
    assert (values[0] - values[1]) / 2e-4 == pytest.approx(found[name][tuple(place)].item(), rel=0.01)


def rows(arm: str, seed: int, shift: float) -> list[Row]:
    told = [(0, "day"), (1, "day"), (2, "night"), (3, "rain")]
    values = {"day": 0.5, "night": 0.25, "rain": 0.125}
    return [
        Row(
            arm,
            seed,
            window,
            condition,
            {c: v + shift + (0.1 if window == 3 else 0) for c, v in values.items()},
            0.9,
            0,
        )
        for window, condition in told
    ]


def test_scores_along_the_stream_and_at_its_end_and_differences_within_seeds():
    table = [row for seed in (1, 2) for row in (*rows("fixed", seed, 0.01 * seed), *rows("frozen", seed, 0.0))]
    along = scores(table, "frozen", CONDITIONS, along=True)
    assert along == pytest.approx({1: (0.5 + 0.25 + 0.225) / 3, 2: (0.5 + 0.25 + 0.225) / 3})
    assert scores(table, "frozen", ["day"], along=False) == pytest.approx({1: 0.6, 2: 0.6})
    found = difference(table, "fixed", "frozen", ["night"], along=False)
    assert (found.value, found.n, found.unit) == (pytest.approx(1.5), 2, "points")


def test_what_nobody_trains_stays_what_it_was_before_the_stream():
    table = [row for seed in (1, 2) for row in (*rows("dense", seed, 0.01 * seed), *rows("frozen", seed, 0.0))]
    whole = with_dense_frozen(table)
    assert whole[: len(table)] == table
    start = {row.seed: row.accuracy for row in table if (row.arm, row.window) == ("dense", 0)}
    added = [row for row in whole if row.arm == DENSE_FROZEN]
    assert [(r.seed, r.window, r.condition) for r in added] == [
        (r.seed, r.window, r.condition) for r in table if r.arm == "dense"
    ]
    assert all(row.accuracy == start[row.seed] for row in added)
    with pytest.raises(ValueError, match='no arm "dense" before the first window'):
        with_dense_frozen(rows("frozen", 1, 0.0))


def test_what_was_lost_between_two_windows_is_a_mean_over_seeds():
    table = [row for seed in (1, 2) for row in rows("dense", seed, 0.01 * seed)]
    assert lost_between(table, "dense", "day", 3, 2) == pytest.approx(10)
    assert lost_between(table, "dense", "day", 2, 3) == pytest.approx(-10)
    with pytest.raises(ValueError, match="no rows of 'dense' after the windows 2 and 9"):
        lost_between(table, "dense", "day", 2, 9)
