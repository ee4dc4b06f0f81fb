"""02.2: the learning rate of one cycle, whose length is counted in batches."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch.optim.lr_scheduler import OneCycleLR

from course_lib.exercises.engine.compare import relatively
from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "02.2",
    "The learning rate of one cycle, at any step",
    points=3,
    trials=16,  # half of them on the short leg; the fixed cases alone reject every planted mistake
    compare=relatively,
    hints=[
        "Two legs. Up: from max_lr/25 at step 0 to max_lr at step 0.2·total_steps − 1, which need not be whole. Down: "
        "to max_lr/250,000 at the last step, total_steps − 1.",
        "A cosine leg from a to b, at progress s from 0 to 1: b + (a − b)·(1 + cos(π·s))/2.",
        "Up: s = step / (0.2·total_steps − 1). Down: s = (step − top) / (total_steps − 1 − top).",
    ],
    explanation="""
        A leg from $a$ to $b$ is $b + (a-b)\\,\\tfrac{1+\\cos \\pi s}{2}$, $s \\in [0, 1]$. Its length is counted in the
        same unit in which `scheduler.step()` is called: here in batches, so `total_steps = epochs × batches`. It is
        `torch.optim.lr_scheduler.OneCycleLR(…, pct_start=0.2)`.
    """,
)


@ex.reference
def one_cycle_rate(step: int, total_steps: int, max_lr: float) -> float:
    """Up from max_lr/25 to max_lr at step 0.2·total_steps − 1, then down to max_lr/250,000 at the last step."""
    top = 0.2 * total_steps - 1  # steps count from 0; the peak may lie between two of them
    if step <= top:
        a, b, s = max_lr / 25, max_lr, step / top
    else:
        a, b, s = max_lr, max_lr / 250_000, (step - top) / (total_steps - 1 - top)
    return b + (a - b) * (1 + math.cos(math.pi * s)) / 2


@ex.case("step 0: max_lr/25")
def start() -> tuple[int, int, float]:
    return 0, 100, 0.5


@ex.case("the peak: max_lr at step 0.2·total_steps − 1")
def peak() -> tuple[int, int, float]:
    return 19, 100, 0.5


@ex.case("the last step, total_steps − 1: max_lr/250,000")
def end() -> tuple[int, int, float]:
    return 99, 100, 2.0


@ex.case("the way up, a quarter of it: half a cosine is still slow there")
def going_up() -> tuple[int, int, float]:
    return 5, 105, 1.0


@ex.case("the way down, three quarters of it")
def going_down() -> tuple[int, int, float]:
    return 79, 100, 1.0


@ex.case("a peak that lies between two steps, at 5.6: the step before it")
def before_a_peak_between_steps() -> tuple[int, int, float]:
    return 5, 33, 1.0


@ex.case("a peak that lies between two steps, at 5.6: the step after it")
def after_a_peak_between_steps() -> tuple[int, int, float]:
    return 6, 33, 1.0


@ex.case("the last step but one")
def nearly_done() -> tuple[int, int, float]:
    return 31, 33, 1.0


@ex.inputs
def random_step(rng: np.random.Generator) -> tuple[int, int, float]:
    total = int(rng.integers(30, 200))
    leg_up = rng.random() < 0.5  # as often on the short way up as on the long way down
    step = int(rng.integers(1, total // 5 - 1) if leg_up else rng.integers(total // 5 + 1, total - 1))
    return step, total, float(rng.integers(2, 20)) / 10


def _half_cosine(a: float, b: float, s: float) -> float:
    return b + (a - b) * (1 + math.cos(math.pi * s)) / 2


def _straight(a: float, b: float, s: float) -> float:
    return a + (b - a) * s


def _quarter_sine(a: float, b: float, s: float) -> float:
    return a + (b - a) * math.sin(math.pi / 2 * s)


def _quarter_cosine(a: float, b: float, s: float) -> float:
    return b + (a - b) * math.cos(math.pi / 2 * s)


def _cycle(
    step: float,
    total: float,
    *,
    top: float | None = None,
    last: float | None = None,
    start: float = 1 / 25,
    end: float = 1 / 250_000,
    up: Callable[[float, float, float], float] = _half_cosine,
    down: Callable[[float, float, float], float] = _half_cosine,
) -> float:
    """The reference for max_lr = 1, in parts of which one is exchanged: how a mistake differs stands in its line."""
    top, last = 0.2 * total - 1 if top is None else top, total - 1 if last is None else last
    return up(start, 1.0, step / top) if step <= top else down(1.0, end, (step - top) / (last - top))


@ex.mistake("Your legs are straight: the course's cycle goes up and down along half a cosine, gently at both ends.")
def straight_legs(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, up=_straight, down=_straight)


@ex.mistake("Your way up is straight. Both legs are half a cosine: with s = step/top, b + (a − b)·(1 + cos πs)/2.")
def straight_up(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, up=_straight)


@ex.mistake("Your way down is straight. Both legs are half a cosine, gentle at the peak and at the end.")
def straight_down(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, down=_straight)


@ex.mistake("Your legs are a quarter of a wave: steep at one end. Half a wave, (1 + cos πs)/2, is gentle at both.")
def quarter_wave(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, up=_quarter_sine, down=_quarter_cosine)


@ex.mistake("You added the whole peak to the lowest rate, and end too high: a leg from a to b has the height a − b.")
def height_of_the_peak(step: int, total_steps: int, max_lr: float) -> float:
    top = 0.2 * total_steps - 1
    s, low = (step / top, 1 / 25) if step <= top else (1 + (step - top) / (total_steps - 1 - top), 1 / 250_000)
    return max_lr * (low + (1 - math.cos(math.pi * s)) / 2)


@ex.mistake("You count steps from 1: the first one is step 0, where the rate is max_lr/25.")
def counted_from_one(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step + 1, total_steps, top=0.2 * total_steps, last=total_steps)


@ex.mistake("You start at 0, so that the first batches teach nothing. The cycle starts at max_lr / 25.")
def from_zero(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, start=0)


@ex.mistake("You start at max_lr/250,000, where the cycle ends. It starts higher: at max_lr/25.")
def from_the_end(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, start=1 / 250_000)


@ex.mistake("You end at 0. The cycle ends at max_lr/250,000: little, and not nothing.")
def to_zero(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, end=0)


@ex.mistake("You divided by 25 twice: the end is max_lr/250,000, which is start/10,000 and not start/250,000.")
def end_divided_twice(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, end=1 / 25 / 250_000)


@ex.mistake("You go down to max_lr/25, where you started. The last steps must settle: the end is max_lr/250,000.")
def back_to_the_start(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, end=1 / 25)


@ex.mistake(
    "You end at max_lr/10,000: that is a ten-thousandth of the peak; the end is one of the start, max_lr/250,000."
)
def end_from_the_peak(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, end=1e-4)


@ex.mistake("One step late: steps count from 0, so the peak is at 0.2·total_steps − 1 and the end at total_steps − 1.")
def both_late(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, top=0.2 * total_steps, last=total_steps)


@ex.mistake("Your peak comes one step late: steps count from 0, so it is at step 0.2·total_steps − 1.")
def peak_late(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, top=0.2 * total_steps)


@ex.mistake("Your end comes one step late: steps count from 0, so the last one is total_steps − 1.")
def end_late(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, last=total_steps)


@ex.mistake("Your peak is at a fifth of the last step, 0.2·(total_steps − 1). The task puts it at 0.2·total_steps − 1.")
def peak_at_a_fifth_of_the_last(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, top=0.2 * (total_steps - 1))


@ex.mistake("You cut 0.2·total_steps down to a whole number: the peak may lie between two steps, as 5.6 does.")
def peak_cut_to_whole(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, top=int(0.2 * total_steps) - 1)


@ex.mistake("You rounded the step of the peak to a whole number: it may lie between two steps, as 5.6 does.")
def peak_rounded(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, top=round(0.2 * total_steps) - 1)


@ex.mistake("Your peak comes after 30 % of the steps, the default of PyTorch's OneCycleLR. Here it is a fifth.")
def thirty_percent_up(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step, total_steps, top=0.3 * total_steps - 1)


@ex.mistake("Backwards in time: a fifth of the steps goes up, and four fifths go down, not the other way round.")
def backwards(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(total_steps - 1 - step, total_steps)


@ex.mistake("That is a cosine without warm-up: it starts at its peak, when the weights are still random.")
def no_warm_up(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * (1 + math.cos(math.pi * step / (total_steps - 1))) / 2


@ex.mistake(
    "Your cycle ends early and starts again: its length is the whole training, counted in steps. This is the bug of a "
    "per-epoch period that is stepped once a batch."
)
def a_cycle_an_epoch(step: int, total_steps: int, max_lr: float) -> float:
    return max_lr * _cycle(step % (total_steps / 10), total_steps / 10)


@ex.mistake(
    "On the way down you count from step 0. Its progress starts at the peak: (step − top)/(total_steps − 1 − top)."
)
def down_from_step_zero(step: int, total_steps: int, max_lr: float) -> float:
    top = 0.2 * total_steps - 1
    return max_lr * (
        _cycle(step, total_steps) if step <= top else _half_cosine(1, 1 / 250_000, step / (total_steps - 1))
    )


@ex.alternative
def one_turn_of_a_circle(step: int, total_steps: int, max_lr: float) -> float:
    knots = [0, 0.2 * total_steps - 1, total_steps - 1]
    angle = np.interp(step, knots, [0, np.pi, 2 * np.pi])  # one turn: up in its first half, down in its second
    floor = max_lr / 25 if step <= knots[1] else max_lr / 250_000
    return floor + (max_lr - floor) * (1 - np.cos(angle)) / 2


@ex.alternative
def sine_squared(step: int, total_steps: int, max_lr: float) -> float:
    top = 0.2 * total_steps - 1
    low, s = (max_lr / 25, step / top) if step < top else (max_lr / 250_000, 1 - (step - top) / (0.8 * total_steps))
    return low + (max_lr - low) * math.sin(math.pi * s / 2) ** 2


@ex.alternative
def in_torch(step: int, total_steps: int, max_lr: float) -> torch.Tensor:
    t, top = torch.tensor(float(step)), 0.2 * total_steps - 1
    s = torch.where(t <= top, t / top, 1 + (t - top) / (total_steps - 1 - top))
    low = torch.where(t <= top, max_lr / 25, max_lr / 250_000)
    return low + (max_lr - low) * torch.sin(s * torch.pi / 2) ** 2


@ex.alternative
def the_scheduler(step: int, total_steps: int, max_lr: float) -> float:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = OneCycleLR(optimizer, max_lr, total_steps=total_steps, pct_start=0.2, cycle_momentum=False)
    for _ in range(step):
        optimizer.step()
        scheduler.step()
    return optimizer.param_groups[0]["lr"]
