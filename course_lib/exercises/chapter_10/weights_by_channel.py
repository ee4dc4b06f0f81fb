"""10.5: weights in symmetric codes, one scale for each output channel."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, int]
Answer = tuple[Tensor, Tensor]

ex = Exercise(
    "10.5",
    "Weights by channel",
    points=3,
    hints=[
        "Axis 0 is the output channel. w.flatten(1).abs().amax(1) is how far each of them reaches.",
        "Both signs reach equally far: the scale is reach / (2^(b−1) − 1). Where the reach is 0, put 1.",
        "To divide, a scale must stand beside its channel: scale.view(-1, 1, 1, 1) for a convolution; for any number "
        "of axes scale.view(-1, *[1] * (w.ndim − 1)).",
    ],
    explanation="""
        With one scale for each output channel, S leaves the sum that this channel computes as a factor, so it costs the
        integer kernel nothing. A scale for each *input* channel would not: products of different scales would have to
        be added. The library: `min_max(w, Codes(bits, restricted=True), symmetric=True, axis=0)`.
    """,
)


@ex.reference
def quantize_weights(w: Tensor, bits: int) -> Answer:
    """(codes, scale): symmetric, restricted codes of the shape of w; scales (C_out,), one for each channel.

    w has two axes or more, the output channel first. The largest |w| of a channel, however small, gets the code
    ±(2^(bits−1) − 1). A channel of zeros has the scale 1. Codes are whole numbers; integer or float, any dtype will do.
    """
    return _symmetric(w, w.flatten(1).abs().amax(1), 2 ** (bits - 1) - 1)


def _symmetric(w: Tensor, reach: Tensor, most: float) -> Answer:
    scale = torch.where(reach > 0, reach / most, torch.ones_like(reach))
    codes = (w / scale.view(-1, *[1] * (w.ndim - 1))).round().clamp(-most, most).int()
    return codes, scale


@ex.case("by hand, four bits: reaches 7 and 0.7, so scales 1 and 0.1")
def by_hand() -> Question:
    return torch.tensor([[7.0, -2.2, 0.4], [0.11, -0.7, 0.28]]), 4


@ex.case("a small convolution (3, 2, 1, 2), whose channels differ widely")
def convolution() -> Question:
    w = torch.tensor([[1.0, -2.0, 0.3, 1.4], [0.01, 0.02, -0.05, 0.03], [9.0, 4.4, -2.1, 30.0]])
    return w.view(3, 2, 1, 2), 8


@ex.case("as many inputs as outputs: the scale must stand beside the right axis")
def square() -> Question:
    return torch.tensor([[4.0, 0.2, -1.1], [0.3, -0.6, 0.15], [-8.0, 2.5, 0.9]]), 5


@ex.case("a channel of zeros: scale 1, codes 0, no NaN")
def zeros() -> Question:
    return torch.tensor([[0.0, 0.0, 0.0], [0.5, -1.5, 1.0]]), 8


@ex.case("a channel of tiny weights is no channel of zeros: its largest gets the outermost code as well")
def tiny() -> Question:
    return torch.tensor([[0.4, -0.9, 0.2], [1e-12, -4e-13, 2.5e-13]]), 8


@ex.case("a channel whose largest weight is negative, and one without negative weights")
def one_sided() -> Question:
    return torch.tensor([[0.2, -3.0, 0.7, 0.1], [0.4, 1.2, 0.1, 0.9]]), 6


@ex.case("two bits: −1, 0 and 1")
def two_bits() -> Question:
    return torch.tensor([[1.0, -0.4, 0.6, -0.9], [0.2, 0.01, -0.07, -0.13]]), 2


@ex.inputs
def random_weights(rng: np.random.Generator) -> Question:
    shape = [(4, 3, 2, 2), (3, 5), (5, 2, 1, 3)][int(rng.integers(3))]
    size = rng.choice([0.05, 0.4, 3.0], (shape[0], *[1] * (len(shape) - 1)))
    return torch.tensor(rng.normal(0, 1, shape) * size, dtype=torch.float32), int(rng.integers(3, 9))


@ex.mistake("One scale for the whole tensor: the channel that reaches farthest makes the steps of all others coarse.")
def whole_tensor(w: Tensor, bits: int) -> Answer:
    return _symmetric(w, w.abs().max().expand(len(w)), 2 ** (bits - 1) - 1)


@ex.mistake("One number for the scale. Asked is one for each output channel, (C_out,).")
def single_scale(w: Tensor, bits: int) -> Answer:
    codes, scale = whole_tensor(w, bits)
    return codes, scale[0]


@ex.mistake("Your scales lie along axis 1, the inputs. Output channels are axis 0.")
def other_axis(w: Tensor, bits: int) -> Answer:
    codes, scale = quantize_weights(w.transpose(0, 1), bits)
    return codes.transpose(0, 1), scale


@ex.mistake("Your scales met the last axis, not the channels: give them the shape (−1, 1, 1, 1) before dividing.")
def wrong_broadcast(w: Tensor, bits: int) -> Answer:
    most = 2 ** (bits - 1) - 1
    _, scale = quantize_weights(w, bits)
    if w.shape[-1] != len(scale):
        return quantize_weights(w, bits)
    return (w / scale).round().clamp(-most, most).int(), scale


@ex.mistake("You took the largest value without its absolute: a channel's largest weight may be negative.")
def no_absolute(w: Tensor, bits: int) -> Answer:
    return _symmetric(w, w.flatten(1).amax(1).clamp(min=0), 2 ** (bits - 1) - 1)


@ex.mistake(
    "You divided the reach by 2^(b−1). That code does not exist: the largest is 2^(b−1) − 1, as 127 is for 8 bits."
)
def power_of_two(w: Tensor, bits: int) -> Answer:
    most = 2 ** (bits - 1)
    codes, scale = _symmetric(w, w.flatten(1).abs().amax(1), most)
    return codes.clamp(1 - most, most - 1), scale


@ex.mistake("You divided by 2^(b−1), and your largest code is that too: 128 is no int8. It is 2^(b−1) − 1.")
def code_too_large(w: Tensor, bits: int) -> Answer:
    return _symmetric(w, w.flatten(1).abs().amax(1), 2 ** (bits - 1))


@ex.mistake("You divided by 2^b − 1, the codes of both signs together. One side has 2^(b−1) − 1.")
def both_sides(w: Tensor, bits: int) -> Answer:
    codes, scale = _symmetric(w, w.flatten(1).abs().amax(1), 2**bits - 1)
    most = 2 ** (bits - 1) - 1
    return codes.clamp(-most, most), scale


@ex.mistake("You always used 127. That is 8 bits; with b bits the largest code is 2^(b−1) − 1.")
def always_127(w: Tensor, bits: int) -> Answer:
    return _symmetric(w, w.flatten(1).abs().amax(1), 127)


@ex.mistake(
    "Your scale is (max − min) / (2^b − 1), that of asymmetric codes. Symmetric: the larger |w| over 2^(b−1) − 1."
)
def asymmetric_scale(w: Tensor, bits: int) -> Answer:
    rows, most = w.flatten(1), 2 ** (bits - 1) - 1
    width = rows.amax(1).clamp(min=0) - rows.amin(1).clamp(max=0)
    scale = torch.where(width > 0, width / (2**bits - 1), torch.ones_like(width))
    return (w / scale.view(-1, *[1] * (w.ndim - 1))).round().clamp(-most, most).int(), scale


@ex.mistake(
    "Your scale comes from the mean of |w|: most large weights are clipped. Asked: the largest gets ±(2^(b−1) − 1)."
)
def mean_absolute(w: Tensor, bits: int) -> Answer:
    return _symmetric(w, w.flatten(1).abs().mean(1), 2 ** (bits - 1) - 1)


@ex.mistake("You returned restored weights, S·q. Asked are the codes, integers.")
def restored(w: Tensor, bits: int) -> Answer:
    codes, scale = quantize_weights(w, bits)
    return codes * scale.view(-1, *[1] * (w.ndim - 1)), scale


@ex.mistake("You did not round: codes are integers.")
def not_rounded(w: Tensor, bits: int) -> Answer:
    _, scale = quantize_weights(w, bits)
    return w / scale.view(-1, *[1] * (w.ndim - 1)), scale


@ex.mistake("You cut off instead of rounding: 2.8 steps are code 3.")
def cut_off(w: Tensor, bits: int) -> Answer:
    _, scale = quantize_weights(w, bits)
    return (w / scale.view(-1, *[1] * (w.ndim - 1)) * (1 + 1e-6)).int(), scale


@ex.mistake(
    "A channel of zeros has the scale 0 in your answer, or nearly: dividing by it gives NaN or luck. Put 1 there."
)
def zero_scale(w: Tensor, bits: int) -> Answer:
    scale = w.flatten(1).abs().amax(1) / (2 ** (bits - 1) - 1)
    codes = (w / scale.view(-1, *[1] * (w.ndim - 1))).round()
    return codes.nan_to_num(0).int(), scale


@ex.mistake(
    "A channel of small weights is a channel of zeros in your answer: its codes are 0. Only a reach of exactly 0 has "
    "the scale 1."
)
def small_is_zero(w: Tensor, bits: int) -> Answer:
    reach = w.flatten(1).abs().amax(1)
    return _symmetric(w, torch.where(reach < 1e-6, torch.zeros_like(reach), reach), 2 ** (bits - 1) - 1)


@ex.mistake(
    "You raise every scale to a least value, against division by 0: a channel of tiny weights loses its codes. Test "
    "for 0 and put 1 there."
)
def least_scale(w: Tensor, bits: int) -> Answer:
    return _with_least_scale(w, bits, 0.0)


@ex.mistake(
    "A channel of zeros has the scale 1 in your answer, as asked; but others are raised to a least value, and tiny "
    "weights lose their codes."
)
def least_scale_but_for_zeros(w: Tensor, bits: int) -> Answer:
    return _with_least_scale(w, bits, 1.0)


def _with_least_scale(w: Tensor, bits: int, of_zeros: float) -> Answer:
    reach = w.flatten(1).abs().amax(1)
    scale = (reach / (2 ** (bits - 1) - 1)).clamp(min=1e-8)
    codes = (w / scale.view(-1, *[1] * (w.ndim - 1))).round().int()
    return codes, torch.where(reach > 0, scale, scale.clamp(min=of_zeros))


@ex.mistake("Right numbers, but the scales keep axes of length 1. Asked is the shape (C_out,).")
def axes_kept(w: Tensor, bits: int) -> Answer:
    codes, scale = quantize_weights(w, bits)
    return codes, scale.view(-1, *[1] * (w.ndim - 1))


@ex.mistake("Right numbers, wrong order: first the codes, then the scales.")
def swapped(w: Tensor, bits: int) -> Answer:
    codes, scale = quantize_weights(w, bits)
    return scale, codes


@ex.mistake("You returned codes from 0 up. Symmetric codes have both signs: 0 stands for 0.")
def unsigned(w: Tensor, bits: int) -> Answer:
    codes, scale = quantize_weights(w, bits)
    return codes + 2 ** (bits - 1), scale


@ex.mistake("Your scale is (max − min) / (2^b − 1) without a zero point, and codes leave the b bits: divide max|w|.")
def width_without_zero_point(w: Tensor, bits: int) -> Answer:
    rows = w.flatten(1)
    scale = (rows.amax(1) - rows.amin(1)) / (2**bits - 1)
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (w / scale.view(-1, *[1] * (w.ndim - 1))).round().int(), scale


@ex.alternative
def with_numpy(w: Tensor, bits: int) -> tuple[np.ndarray, np.ndarray]:
    rows, most = w.numpy().reshape(len(w), -1), 2 ** (bits - 1) - 1
    reach = np.abs(rows).max(1)
    scale = np.where(reach > 0, reach / np.float32(most), np.float32(1))
    return np.rint(rows / scale[:, None]).astype(np.int8).reshape(w.shape), scale


@ex.alternative
def channel_by_channel(w: Tensor, bits: int) -> tuple[Tensor, list[float]]:
    codes, scales = [], []
    for channel in w:
        scale = float(channel.abs().max()) / (2 ** (bits - 1) - 1) or 1.0
        codes.append(torch.round(channel / scale).to(torch.int8))
        scales.append(scale)
    return torch.stack(codes), scales


@ex.alternative
def with_the_last_axis_first(w: Tensor, bits: int) -> Answer:
    reach = torch.maximum(w.flatten(1).amax(1), -w.flatten(1).amin(1))
    scale = reach.div(2 ** (bits - 1) - 1).masked_fill(reach == 0, 1.0)
    return torch.round(w.movedim(0, -1) / scale).movedim(-1, 0).long(), scale
