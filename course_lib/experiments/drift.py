"""Pruning that continues while the data drift: day, then night, then rain, and a sparse network that trains along.

**The stream.** Rendered signs in three conditions. ``Difficulty`` has a probability for each kind of weather, and all
else about a sign is the same whatever they are; so one sign can be filmed by day (clear), at night and in rain, but for
a fifth of them whose draw never becomes night. Three disjoint sets of signs:

* *first*: by day; the pruned network is tuned on them before the stream begins;
* *windows*: ``Plan.windows`` a condition, day, then night, then rain, each of new signs, seen once and then gone;
* *held out* (no other part of the course has them): the same signs in all three conditions, without those that never
  become night; only they are scored.

Nights are darker here than the course's own (``NIGHT_GAIN``), so that there is something to lose.

**The arms.** All begin with the shipped student, pruned globally by magnitude and tuned by day. (Its own training, long
ago, showed it all weathers, a tenth night and a tenth rain.)

* ``frozen`` stays as it is: what the drift costs.
* ``fixed`` trains on every window, under the mask of the first day.
* ``rechosen`` also moves ``Plan.moved`` of its weights to new places at the start of each window (``regrown``).
* ``fixed_replay`` and ``rechosen_replay``: half of the images of each step come from a buffer of earlier ones
  (reservoir sampling, Vitter 1985: every image seen so far is in it with the same probability).
* ``dense`` and ``dense_replay``: the network without pruning, tuned and trained in the same way: the reference.

Every arm that trains makes the same number of steps of the same number of images: with replay a window is seen once
beside as many old images, without it twice. The learning rate is constant, and the last weights count: a stream has no
validation part that could choose an epoch. Accuracies before and after every window; the test part is not read.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import SignDataset
from course_lib.data.rendered.difficulty import DEFAULT, Difficulty
from course_lib.data.rendered.renderer import FRAMES, render_split
from course_lib.data.rendered.scene import CLEAR, NIGHT, RAIN
from course_lib.evaluation import model_accuracy
from course_lib.experiments.drift_rows import ARMS, CONDITIONS, Row
from course_lib.models import SignStudent, eval_mode
from course_lib.pruning import Masks, MasksHeld, enforce_, moved_share, regrown, sparsity
from course_lib.training import Recipe, epoch_batches, fit
from course_lib.training.loop import make_optimizer

NIGHT_GAIN = (0.08, 0.11, 0.15, 0.20, 0.30)
"""Quantiles of the exposure at night; 1 is right."""
FIRST_SEED = 900
"""Of the renderer, for the first day; those of the three parts of the stream follow."""


@dataclass(frozen=True)
class Plan:
    """Sizes and rates, the same for every arm.

    Args:
        first_signs: of the first day.
        windows: of each condition.
        window_signs: of each window.
        held_signs: rendered to be scored, before those that never become night are left out.
        pruning_ratio: the fraction of weights removed, in [0, 1).
        moved: the fraction of what is left that moves at the start of a window, in [0, 1).
        epochs: of the first day.
        batch_size: images a step.
        max_lr: where the cosine of the first day begins.
        stream_lr: constant, along the stream.
        buffer: images that are kept for replay.
    """

    first_signs: int = 430
    windows: int = 3
    window_signs: int = 86
    held_signs: int = 108
    pruning_ratio: float = 0.9
    moved: float = 0.05
    epochs: int = 6
    batch_size: int = 64
    max_lr: float = 3e-3
    stream_lr: float = 3e-3
    buffer: int = 512


@dataclass(frozen=True)
class Stream:
    """The images.

    Args:
        first: of the first day.
        windows: (condition, its images), in the order of time.
        held: condition → images of the held-out signs.
    """

    first: SignDataset
    windows: tuple[tuple[str, SignDataset], ...]
    held: Mapping[str, SignDataset]


def weather(condition: str) -> Difficulty:
    """The renderer's constants under which every sign that can is filmed in this condition.

    >>> weather("rain").rain, weather("rain").night, weather("day").rain
    (1.0, 0.0, 0.0)
    """
    clear = DEFAULT.without("rain", "fog", "night")
    return clear if condition == "day" else replace(clear, **{condition: 1.0}, night_gain=NIGHT_GAIN)


def stream(plan: Plan, *, size: int = 32) -> Stream:
    """Render all images: each part of the stream with a seed of its own, so that no sign is in two of them."""
    first = _filmed("day", plan.first_signs, FIRST_SEED, size)
    windows: list[tuple[str, SignDataset]] = []
    for number, condition in enumerate(CONDITIONS, FIRST_SEED + 1):
        filmed = _filmed(condition, plan.windows * plan.window_signs, number, size)
        windows += [(condition, filmed.subset(part)) for part in np.split(np.arange(len(filmed)), plan.windows)]
    shot = {
        c: render_split("validation", size=size, seed=FIRST_SEED, tracks=plan.held_signs, difficulty=weather(c))
        for c in CONDITIONS
    }
    able = shot["night"].attributes["weather"] == NIGHT
    return Stream(first, tuple(windows), {condition: images.subset(able) for condition, images in shot.items()})


def begin(plan: Plan, parts: Stream, student: SignStudent, seed: int) -> tuple[SignStudent, SignStudent]:
    """(dense, pruned): two copies of the student, the second pruned; both tuned equally long on the first day."""
    dense, pruned = copy.deepcopy(student), copy.deepcopy(student)
    Masks.from_fraction(pruned, plan.pruning_ratio, scope="global").apply_(pruned)
    recipe = Recipe(plan.epochs, plan.max_lr, plan.batch_size, schedule="cosine", seed=seed)
    for model, constraint in ((dense, None), (pruned, MasksHeld())):
        # The first day's own images choose the epoch: held-out ones are for scores alone.
        fit(model, parts.first, parts.first, recipe, constraint=constraint, progress=False)
    return dense, pruned


def run_arm(arm: str, plan: Plan, parts: Stream, start: SignStudent, seed: int) -> tuple[SignStudent, list[Row]]:
    """Let the stream pass.

    Args: arm: one of ``ARMS``. start: the dense network for "dense…", else the pruned one; it stays as it is.
    Returns: the network at the end, and a row before the first and after each window.
    Raises: ValueError: another arm.
    """
    if arm not in ARMS:
        raise ValueError(f"arm must be one of {', '.join(ARMS)}, got {arm!r}")
    model, first_mask = copy.deepcopy(start), Masks({k: m.clone() for k, m in Masks.of(start).items()})
    buffer = Reservoir(plan.buffer, seed)
    buffer.see(parts.first)
    rows = [_row(arm, seed, 0, "day", model, parts, first_mask)]
    for number, (condition, window) in enumerate(parts.windows, 1):
        if arm.startswith("rechosen"):
            regrown(model, gradients(model, window), plan.moved).apply_(model)
        if arm != "frozen":
            old = buffer.draw(len(window)) if arm.endswith("replay") else window
            train_window_(model, joined(window, old), plan, seed * 1000 + number)
        buffer.see(window)
        rows.append(_row(arm, seed, number, condition, model, parts, first_mask))
    return model, rows


def train_window_(model: nn.Module, images: SignDataset, plan: Plan, seed: int) -> None:
    """One pass at a constant rate; removed weights stay 0."""
    recipe = Recipe(1, plan.stream_lr, plan.batch_size, seed=seed)
    optimizer = make_optimizer(model, recipe)
    model.train()
    for batch in epoch_batches(images, recipe, epoch=0):
        optimizer.zero_grad()
        F.cross_entropy(model(batch.images), batch.labels).backward()
        optimizer.step()
        enforce_(model)
    model.eval()


def gradients(model: nn.Module, images: SignDataset) -> dict[str, Tensor]:
    """Of the mean cross-entropy on all these images, in eval mode, by every parameter, removed weights too."""
    pixels, labels = images.batch(np.arange(len(images)))
    with eval_mode(model), torch.enable_grad():
        found = torch.autograd.grad(F.cross_entropy(model(pixels), labels), list(model.parameters()))
    return dict(zip((name for name, _ in model.named_parameters()), found, strict=True))


class Reservoir:
    """A sample of fixed size of all images seen, each with the same probability (Vitter 1985, algorithm R).

    Args: size: images at most, ≥ 1. seed: of what is kept and drawn.
    """

    def __init__(self, size: int, seed: int):
        self.size, self.seen, self.rng = size, 0, np.random.default_rng((seed, 77))
        self.kept: SignDataset | None = None

    def see(self, images: SignDataset) -> None:
        """Let each image take the place of a kept one with probability size / images seen so far."""
        places: dict[int, int] = {}
        for index in range(len(images)):
            place = self.seen if self.seen < self.size else int(self.rng.integers(self.seen + 1))
            if place < self.size:
                places[place] = index
            self.seen += 1
        before = 0 if self.kept is None else len(self.kept)
        both = images if self.kept is None else joined(self.kept, images)
        rows = range(min(self.size, self.seen))
        self.kept = both.subset(np.array([before + places[row] if row in places else row for row in rows], np.int64))

    def draw(self, count: int) -> SignDataset:
        """``count`` of the kept images, each once before any comes again. Raises: ValueError: nothing is kept."""
        if self.kept is None or not len(self.kept):
            raise ValueError("the buffer has seen no image")
        rounds = [self.rng.permutation(len(self.kept)) for _ in range(-(-count // len(self.kept)))]
        return self.kept.subset(np.concatenate(rounds)[:count])


def joined(first: SignDataset, second: SignDataset) -> SignDataset:
    """The images of both, without groups and attributes: to train on."""
    images, labels = (
        np.concatenate([getattr(part, name) for part in (first, second)]) for name in ("images", "labels")
    )
    return SignDataset(images, labels, name=first.name, split=first.split, num_classes=first.num_classes)


def _row(arm: str, seed: int, window: int, condition: str, model: nn.Module, parts: Stream, first_mask: Masks) -> Row:
    right = {name: model_accuracy(model, images) for name, images in parts.held.items()}
    moved = moved_share(first_mask, Masks.of(model)) if first_mask else 0.0
    return Row(arm, seed, window, condition, right, sparsity(model)[-1].fraction, moved)


def _filmed(condition: str, signs: int, seed: int, size: int) -> SignDataset:
    """The first so many signs that can be filmed in this condition, all frames of each."""
    rendered = render_split(
        "train",
        size=size,
        seed=seed,
        tracks=2 * signs if condition == "night" else signs,
        difficulty=weather(condition),
    )
    kind = {"day": CLEAR, "night": NIGHT, "rain": RAIN}[condition]
    return rendered.subset(np.flatnonzero(rendered.attributes["weather"] == kind)[: signs * FRAMES])
