"""15.2: a factor and a shift in front of a convolution become part of it, where that is right."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, Tensor | None, Tensor, Tensor, int, int]
Answer = tuple[Tensor, Tensor] | None

ex = Exercise(
    "15.2",
    "BatchNorm in front",
    points=3,
    hints=[
        "Weight w[o, i] meets factor·x + shift of *its* input channel: the factor goes to w's second axis, the shift, "
        "times the sum of a kernel's taps, to the bias.",
        "With groups, output o belongs to group o // (C_out // groups), and reads the channels from group · (C_in // "
        "groups) on. Write the loop over o and i first.",
        "When is the border wrong? padding > 0 and (shift != 0).any(): there the answer is None.",
    ],
    explanation="""
        The factor may be folded always: 0 · factor = 0, so padded zeros stay what they are. The shift may not: a padded
        zero was never shifted, and near the border fewer taps meet it than the one bias assumes. The library:
        `fold_before`.
    """,
)


def _channels(w: Tensor, groups: int) -> Tensor:
    """(C_out, C_in/groups): the input channel that each weight meets."""
    group = torch.arange(len(w)) // (len(w) // groups)
    return group[:, None] * w.shape[1] + torch.arange(w.shape[1])


def _taps(w: Tensor) -> Tensor:
    return w.flatten(2).sum(2)


def _folded(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, read: Tensor) -> tuple[Tensor, Tensor]:
    bias = torch.zeros(len(w)) if b is None else b
    return w * factor[read][:, :, None, None], bias + (_taps(w) * shift[read]).sum(1)


@ex.reference
def fold_in_front(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    """(weights of the shape of w, bias (C_out,)) of one convolution that does conv(factor·x + shift), or None.

    w is (C_out, C_in/groups, k_h, k_w), b is (C_out,) or None for 0; factor and shift are (C_in,), one number for each
    input channel. The convolution pads factor·x + shift with ``padding`` rows and columns of zeros on each side. None
    if padding is above 0 and a shift is not 0, whatever the weights; −0.0 is 0. Otherwise there is always an answer.
    """
    if padding > 0 and bool((shift != 0).any()):
        return None
    return _folded(w, b, factor, shift, _channels(w, groups))


def _row(*numbers: float) -> Tensor:
    return torch.tensor(numbers)


@ex.case("by hand: w = 10, factor = 2, shift = 3: 10 · (2x + 3) + 0.5 = 20x + 30.5")
def by_hand() -> Question:
    return _row(10.0).view(1, 1, 1, 1), _row(0.5), _row(2.0), _row(3.0), 1, 0


@ex.case("two taps: the shift meets both")
def two_taps() -> Question:
    return torch.tensor([[[[1.0, 4.0]]]]), _row(1.0), _row(3.0), _row(0.5), 1, 0


@ex.case("two inputs, two outputs that differ: the factor belongs to the input")
def square() -> Question:
    w = torch.tensor([[1.0, -2.0], [0.5, 4.0]]).view(2, 2, 1, 1)
    return w, _row(0.25, -1.0), _row(2.0, -3.0), _row(1.0, 0.5), 1, 0


@ex.case("no bias: b is None")
def no_bias_given() -> Question:
    return torch.tensor([[1.0, 2.0, 3.0]]).view(1, 3, 1, 1), None, _row(2.0, 1.0, 0.5), _row(1.0, -1.0, 2.0), 1, 0


@ex.case("two groups: the second pair of outputs reads the second pair of inputs")
def two_groups() -> Question:
    w = torch.tensor([[1.0, 2.0], [3.0, -1.0], [0.5, 1.5], [2.0, 4.0]]).view(4, 2, 1, 1)
    return w, _row(0.0, 1.0, 2.0, 3.0), _row(1.0, 2.0, 4.0, -1.0), _row(0.5, 0.0, -1.0, 2.0), 2, 0


@ex.case("depthwise, three channels of two outputs each")
def depthwise() -> Question:
    w = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).view(6, 1, 1, 1)
    return w, _row(1.0, 0.0, 1.0, 0.0, 1.0, 0.0), _row(2.0, 3.0, 5.0), _row(1.0, -1.0, 0.5), 3, 0


@ex.case("padded, and a shift: None")
def padded_and_shifted() -> Question:
    return _row(1.0, 2.0, 4.0).view(1, 1, 1, 3), _row(0.5), _row(2.0), _row(1.0), 1, 1


@ex.case("padded, and only the second of two shifts is not 0: None")
def one_shift() -> Question:
    return _row(1.0, 2.0).view(1, 2, 1, 1), _row(0.5), _row(2.0, 3.0), _row(0.0, -0.001), 1, 2


@ex.case("padded by two, and a shift below 0: None")
def padded_by_two() -> Question:
    return _row(2.0, 1.0).view(1, 1, 2, 1), None, _row(2.0), _row(-1.0), 1, 2


@ex.case("padded, and shifts that cancel in the sum: None")
def shifts_cancel() -> Question:
    return _row(1.0, 1.0).view(1, 2, 1, 1), _row(0.5), _row(2.0, 3.0), _row(1.0, -1.0), 1, 1


@ex.case("padded, all shifts 0: a factor alone is right everywhere")
def padded_without_shift() -> Question:
    return _row(1.0, 2.0, 4.0).view(1, 1, 1, 3), _row(0.5), _row(2.0), _row(-0.0), 1, 1


@ex.case("a factor of 0: the shift alone is left")
def factor_0() -> Question:
    return _row(1.0, 2.0).view(1, 2, 1, 1), _row(0.5), _row(0.0, 3.0), _row(1.0, -1.0), 1, 0


@ex.case("padded and shifted, with weights of 0: None, whatever the weights")
def weights_0() -> Question:
    return torch.zeros(1, 1, 1, 3), _row(0.5), _row(2.0), _row(1.0), 1, 1


@ex.case("padded, and a shift of a ten-millionth: not 0")
def smallest_shift() -> Question:
    return _row(1.0, 2.0, 4.0).view(1, 1, 1, 3), _row(0.5), _row(2.0), _row(1e-7), 1, 1


@ex.case("rectangular kernels of three rows and two columns, two inputs")
def rectangular() -> Question:
    w = torch.arange(1.0, 13.0).view(1, 2, 3, 2)
    return w, _row(-2.0), _row(0.5, 2.0), _row(1.0, -0.5), 1, 0


@ex.inputs
def random_layer(rng: np.random.Generator) -> Question:
    groups = int(rng.integers(1, 3))
    inputs, outputs = groups * int(rng.integers(1, 3)), groups * int(rng.integers(1, 3))
    kernel = (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
    padding = int(rng.choice([0, 0, 0, 1]))
    w = torch.tensor(rng.normal(0, 1, (outputs, inputs // groups, *kernel)).round(1), dtype=torch.float32)
    b = torch.tensor(rng.normal(0, 1, outputs).round(1), dtype=torch.float32) if rng.random() < 0.7 else None
    factor, shift = (torch.tensor(rng.normal(0, 1, inputs).round(1) + 0.05, dtype=torch.float32) for _ in range(2))
    return w, b, factor, shift * 0 if padding and rng.random() < 0.5 else shift, groups, padding


@ex.mistake("Padded and shifted, you folded all the same. Zeros of the padding were not shifted: the border is wrong.")
def never_refused(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    return _folded(w, b, factor, shift, _channels(w, groups))


@ex.mistake("You refused every padded convolution. Where all shifts are 0, its border is right as well.")
def padding_refused(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    return None if padding else _folded(w, b, factor, shift, _channels(w, groups))


@ex.mistake("You refused a shift without padding. There every weight meets it: the bias takes it up.")
def shift_refused(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    return None if bool((shift != 0).any()) else _folded(w, b, factor, shift, _channels(w, groups))


@ex.mistake("You looked at the sum of the shifts: shifts that cancel there do not cancel at the border.")
def sum_of_shifts(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    return None if padding and shift.sum() != 0 else _folded(w, b, factor, shift, _channels(w, groups))


@ex.mistake("You looked for shifts above 0. One below 0 makes the border wrong as well: ask whether it is not 0.")
def shifts_above_0(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    return None if padding and bool((shift > 0).any()) else _folded(w, b, factor, shift, _channels(w, groups))


@ex.mistake(
    "You gave None always. Without padding, or where all shifts are 0, there is an answer: return both tensors."
)
def always_none(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    _folded(w, b, factor, shift, _channels(w, groups))
    return None


@ex.mistake("You refused only where every shift differs from 0. One is enough to make the border wrong.")
def all_shifts(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    return None if padding and bool((shift != 0).all()) else _folded(w, b, factor, shift, _channels(w, groups))


@ex.mistake("Your factors lie along w's first axis, the outputs. A BatchNorm in front scales inputs: axis 1.")
def factor_on_outputs(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    found = fold_in_front(w, b, factor, shift, groups, padding)
    if found is None or len(factor) != len(w):
        return found
    return w * factor.view(-1, 1, 1, 1), found[1]


@ex.mistake("Every output uses the first group's factors and shifts. Group g reads channels g · C_in/groups and up.")
def first_group(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    refused = fold_in_front(w, b, factor, shift, groups, padding) is None
    read = torch.arange(w.shape[1]).expand(len(w), -1)
    return None if refused else _folded(w, b, factor, shift, read)


@ex.mistake("Output o takes group o % groups. Outputs of a group stand together: it is o // (C_out // groups).")
def groups_in_turn(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    refused = fold_in_front(w, b, factor, shift, groups, padding) is None
    group = torch.arange(len(w)) % groups
    return None if refused else _folded(w, b, factor, shift, group[:, None] * w.shape[1] + torch.arange(w.shape[1]))


@ex.mistake("The bias sums w·factor·shift: the shift was scaled twice. In w·(factor·x + shift) it meets w alone.")
def scaled_shift(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    found = fold_in_front(w, b, factor, shift, groups, padding)
    return found and _folded(w, b, factor, factor * shift, _channels(w, groups))


@ex.mistake("You took the mean of a kernel's taps. Each of them meets the shift: take their sum.")
def mean_of_taps(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    found, bias = fold_in_front(w, b, factor, shift, groups, padding), torch.zeros(len(w)) if b is None else b
    return found and (found[0], bias + (w.flatten(2).mean(2) * shift[_channels(w, groups)]).sum(1))


@ex.mistake("The layer's own bias is lost.")
def no_bias(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    return fold_in_front(w, None, factor, shift, groups, padding)


@ex.mistake("The shift is lost: it belongs into the bias, times the weights that meet it.")
def no_shift(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    found = fold_in_front(w, b, factor, shift, groups, padding)
    return found and (found[0], torch.zeros(len(w)) if b is None else b.clone())


@ex.mistake("You subtracted the shift. BatchNorm as factor·x + shift adds it.")
def shift_subtracted(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    found = fold_in_front(w, b, factor, shift, groups, padding)
    return found and _folded(w, b, factor, -shift, _channels(w, groups))


@ex.mistake("The weights are as they were: they take the factor of the channel that they read.")
def weights_as_they_were(
    w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int
) -> Answer:
    found = fold_in_front(w, b, factor, shift, groups, padding)
    return found and (w.clone(), found[1])


@ex.mistake("You divided by the factor: factor is what BatchNorm multiplies by.")
def divided(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    found = fold_in_front(w, b, factor, shift, groups, padding)
    return found and (_folded(w, b, 1 / factor, shift, _channels(w, groups))[0], found[1])


@ex.mistake("Right numbers, wrong order: first the weights, then the bias.")
def swapped(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    found = fold_in_front(w, b, factor, shift, groups, padding)
    return found and (found[1], found[0])


@ex.alternative
def in_loops(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    if padding and any(shift.tolist()):
        return None
    folded, bias = w.clone(), [0.0] * len(w) if b is None else b.tolist()
    for o in range(len(w)):
        first = o // (len(w) // groups) * w.shape[1]
        for i in range(w.shape[1]):
            folded[o, i] *= factor[first + i]
            bias[o] += float(w[o, i].sum() * shift[first + i])
    return folded, torch.tensor(bias)


@ex.alternative
def with_numpy(
    w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int
) -> tuple[np.ndarray, np.ndarray] | None:
    if padding > 0 and np.any(shift.numpy()):
        return None
    parts = w.numpy().reshape(groups, -1, *w.shape[1:])  # (G, C_out/G, C_in/G, k_h, k_w)
    factors, shifts = (part.numpy().reshape(groups, 1, -1, 1, 1) for part in (factor, shift))
    bias = (parts * shifts).sum((2, 3, 4)).ravel()
    return (parts * factors).reshape(w.shape), bias + (0 if b is None else b.numpy())


@ex.alternative
def from_what_it_does(w: Tensor, b: Tensor | None, factor: Tensor, shift: Tensor, groups: int, padding: int) -> Answer:
    """The bias is what the layer answers to an image of zeros: convolve the shift."""
    if padding and not torch.equal(shift, torch.zeros_like(shift)):
        return None
    image = shift.view(1, -1, 1, 1).expand(1, -1, *w.shape[2:])
    bias = F.conv2d(image, w, b, groups=groups).flatten()
    return w * torch.cat([factor.view(groups, 1, -1)] * (len(w) // groups), 1).view(len(w), -1, 1, 1), bias
