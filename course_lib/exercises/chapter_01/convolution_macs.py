"""01.1: outputs times the length of the dot product behind each."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_lib.exercises.engine.exercise import Exercise
from course_lib.measure import total_macs

ex = Exercise(
    "01.1",
    "MACs of a convolution",
    points=2,
    trials=6,  # the fixed cases alone show each mistake
    hints=[
        "Each number of the output is one dot product. How long is it, and how many outputs are there?",
        "One output reads k_h · k_w pixels of C_in / groups channels; there are C_out · H_out · W_out outputs.",
        "H_out = (H + 2·padding − k_h) // stride + 1; conv.kernel_size, conv.stride and conv.padding are pairs.",
    ],
    explanation="""
        $H_{out} W_{out} C_{out} \\cdot \\frac{C_{in}}{groups} \\cdot k_h k_w$: the number of outputs times the length
        of the dot product behind each. The bias is an addition per output and is not counted. The library counts a
        whole model with `course_lib.measure.total_macs`, layer by layer, while it runs.
    """,
)


@ex.reference
def conv_macs(conv: nn.Conv2d, height: int, width: int) -> int:
    """MACs = H_out · W_out · C_out · (C_in / groups) · k_h · k_w, for one image of height × width."""
    (k_h, k_w), (s_h, s_w) = conv.kernel_size, conv.stride
    p_h, p_w = map(int, conv.padding)  # a pair of numbers, unless it was given as a word, such as "same"
    h_out = (height + 2 * p_h - k_h) // s_h + 1
    w_out = (width + 2 * p_w - k_w) // s_w + 1
    return h_out * w_out * conv.out_channels * (conv.in_channels // conv.groups) * k_h * k_w


@ex.case("the page's four outputs of four MACs")
def by_hand() -> tuple[nn.Conv2d, int, int]:
    return nn.Conv2d(1, 1, 2, bias=False), 3, 3


@ex.case("a rectangular kernel on a rectangular image")
def rectangular_kernel() -> tuple[nn.Conv2d, int, int]:
    return nn.Conv2d(2, 3, (1, 3), bias=False), 4, 6


@ex.case("a padding that differs along the axes")
def padded() -> tuple[nn.Conv2d, int, int]:
    return nn.Conv2d(2, 3, 3, padding=(1, 2)), 4, 6


@ex.case("a stride that differs along the axes, and leaves a rest at the edges")
def strided() -> tuple[nn.Conv2d, int, int]:
    return nn.Conv2d(2, 3, 2, stride=(2, 3)), 7, 10


@ex.case("groups: each filter sees a half of the channels")
def grouped() -> tuple[nn.Conv2d, int, int]:
    return nn.Conv2d(4, 6, 3, groups=2), 5, 7


@ex.case("a depthwise convolution: one channel a filter")
def depthwise() -> tuple[nn.Conv2d, int, int]:
    return nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8, bias=False), 32, 24


@ex.inputs
def random_convolution(rng: np.random.Generator) -> tuple[nn.Conv2d, int, int]:
    """Everything differs along the two axes, and the strides do not divide the way of the filter."""
    groups = int(rng.integers(2, 4))
    c_in, c_out = groups * rng.permutation(np.arange(2, 7))[:2]
    k_h, k_w = (int(k) for k in rng.permutation([2, 3, 5])[:2])
    s_h, s_w = (int(s) for s in rng.permutation([2, 3]))
    p_h, p_w = (int(p) for p in rng.permutation([0, 1, 2])[:2])
    conv = nn.Conv2d(int(c_in), int(c_out), (k_h, k_w), (s_h, s_w), (p_h, p_w), groups=groups)
    height = s_h * int(rng.integers(4, 12)) + int(rng.integers(1, s_h)) + k_h - 2 * p_h
    width = s_w * int(rng.integers(13, 20)) + int(rng.integers(1, s_w)) + k_w - 2 * p_w
    return conv, height, width


def _pairs(conv: nn.Conv2d) -> list[tuple[int, int]]:
    """Kernel size, stride and padding, each (rows, columns)."""
    return [(int(rows), int(columns)) for rows, columns in (conv.kernel_size, conv.stride, conv.padding)]


def _macs(conv: nn.Conv2d, h_out: int, w_out: int) -> int:
    """What the reference counts, for an output whose size was found otherwise."""
    return h_out * w_out * conv.weight.numel()


def _output(size: int, kernel: int, stride: int, padding: int) -> int:
    return (size + 2 * padding - kernel) // stride + 1


@ex.mistake("You forgot the groups: with groups, a filter sees only C_in / groups of the input channels.")
def groups_forgotten(conv: nn.Conv2d, height: int, width: int) -> int:
    return conv_macs(conv, height, width) * conv.groups


@ex.mistake(
    "You divided by the groups twice: all C_out filters stay; each of them sees C_in / groups of the input channels."
)
def groups_twice(conv: nn.Conv2d, height: int, width: int) -> int:
    return conv_macs(conv, height, width) // conv.groups


@ex.mistake(
    "You used the size of the input: the dot products are counted where they end, in H_out × W_out, which stride and "
    "padding make different from H × W."
)
def input_size(conv: nn.Conv2d, height: int, width: int) -> int:
    return _macs(conv, height, width)


@ex.mistake(
    "Twice too much: you counted FLOPs. One multiply-accumulate (MAC) is a multiplication and an addition, so 2 FLOPs."
)
def flop(conv: nn.Conv2d, height: int, width: int) -> int:
    return 2 * conv_macs(conv, height, width)


@ex.mistake("The bias is one addition per output and no MAC: the page counts without it.")
def bias_counted(conv: nn.Conv2d, height: int, width: int) -> int:
    bias = 0 if conv.bias is None else conv_macs(conv, height, width) // conv.weight[0].numel()
    return conv_macs(conv, height, width) + bias


@ex.mistake(
    "You counted a bias whether there is one or not, and it would be no MAC: one addition per output. Leave it out."
)
def bias_always_counted(conv: nn.Conv2d, height: int, width: int) -> int:
    macs = conv_macs(conv, height, width)
    return macs + macs // conv.weight[0].numel()


@ex.mistake("You added the bias' parameters once: it is one addition per output, and no MAC. Leave it out.")
def bias_parameters_counted(conv: nn.Conv2d, height: int, width: int) -> int:
    return conv_macs(conv, height, width) + (0 if conv.bias is None else conv.bias.numel())


@ex.mistake("You forgot the kernel: each output reads k_h · k_w pixels of every channel, not one.")
def kernel_forgotten(conv: nn.Conv2d, height: int, width: int) -> int:
    return conv_macs(conv, height, width) // (conv.kernel_size[0] * conv.kernel_size[1])


@ex.mistake("You squared the kernel's height: kernels may be rectangular, k_h · k_w.")
def kernel_height_squared(conv: nn.Conv2d, height: int, width: int) -> int:
    return conv_macs(conv, height, width) // conv.kernel_size[1] * conv.kernel_size[0]


@ex.mistake("You took the kernel's height for both axes: the output's width follows from k_w.")
def kernel_height_everywhere(conv: nn.Conv2d, height: int, width: int) -> int:
    (k_h, k_w), (s_h, s_w), (p_h, p_w) = _pairs(conv)
    h_out, w_out = _output(height, k_h, s_h, p_h), _output(width, k_h, s_w, p_w)
    return _macs(conv, h_out, w_out) // k_w * k_h


@ex.mistake("You took the kernel's height for both axes in the output's size: the width follows from k_w.")
def kernel_height_in_output(conv: nn.Conv2d, height: int, width: int) -> int:
    (k_h, _), (s_h, s_w), (p_h, p_w) = _pairs(conv)
    return _macs(conv, _output(height, k_h, s_h, p_h), _output(width, k_h, s_w, p_w))


@ex.mistake("You forgot the input channels: a filter has C_in / groups of them, and multiplies in each.")
def input_channels_forgotten(conv: nn.Conv2d, height: int, width: int) -> int:
    return conv_macs(conv, height, width) // (conv.in_channels // conv.groups)


@ex.mistake("You counted one filter: there are C_out of them, and each makes a channel of the output.")
def one_filter(conv: nn.Conv2d, height: int, width: int) -> int:
    return conv_macs(conv, height, width) // conv.out_channels


@ex.mistake("That is the number of weights: each of them is used once for every one of the H_out · W_out positions.")
def weights_only(conv: nn.Conv2d, height: int, width: int) -> int:
    return conv.weight.numel()


@ex.mistake("The “+ 1” is missing: a filter as large as its image has one place, and (H − k_h) / stride is 0.")
def plus_one_forgotten(conv: nn.Conv2d, height: int, width: int) -> int:
    (k_h, k_w), (s_h, s_w), (p_h, p_w) = _pairs(conv)
    return _macs(conv, _output(height, k_h, s_h, p_h) - 1, _output(width, k_w, s_w, p_w) - 1)


@ex.mistake("You padded once. Padding stands on both sides: H + 2·padding.")
def padded_once(conv: nn.Conv2d, height: int, width: int) -> int:
    _, _, (p_h, p_w) = _pairs(conv)
    return conv_macs(conv, height - p_h, width - p_w)


@ex.mistake("You forgot the padding: it makes the image larger, H + 2·padding.")
def padding_forgotten(conv: nn.Conv2d, height: int, width: int) -> int:
    _, _, (p_h, p_w) = _pairs(conv)
    return conv_macs(conv, height - 2 * p_h, width - 2 * p_w)


@ex.mistake("You took half of the kernel for the padding. Ask the layer: conv.padding.")
def padded_by_half_of_the_kernel(conv: nn.Conv2d, height: int, width: int) -> int:
    (k_h, k_w), (s_h, s_w), _ = _pairs(conv)
    return _macs(conv, _output(height, k_h, s_h, k_h // 2), _output(width, k_w, s_w, k_w // 2))


@ex.mistake("You took padding[0] for both axes: padding is a pair, (rows, columns).")
def first_padding_twice(conv: nn.Conv2d, height: int, width: int) -> int:
    (k_h, k_w), (s_h, s_w), (p_h, _) = _pairs(conv)
    return _macs(conv, _output(height, k_h, s_h, p_h), _output(width, k_w, s_w, p_h))


@ex.mistake("You forgot the stride: the filter stops at every s-th place only.")
def stride_forgotten(conv: nn.Conv2d, height: int, width: int) -> int:
    (k_h, k_w), _, (p_h, p_w) = _pairs(conv)
    return _macs(conv, _output(height, k_h, 1, p_h), _output(width, k_w, 1, p_w))


@ex.mistake("You took stride[0] for both axes: a stride is a pair, (rows, columns).")
def first_stride_twice(conv: nn.Conv2d, height: int, width: int) -> int:
    (k_h, k_w), (s_h, _), (p_h, p_w) = _pairs(conv)
    return _macs(conv, _output(height, k_h, s_h, p_h), _output(width, k_w, s_h, p_w))


@ex.mistake("You swapped the strides: conv.stride is (rows, columns), so stride[0] belongs to the height.")
def strides_swapped(conv: nn.Conv2d, height: int, width: int) -> int:
    (k_h, k_w), (s_h, s_w), (p_h, p_w) = _pairs(conv)
    return _macs(conv, _output(height, k_h, s_w, p_h), _output(width, k_w, s_h, p_w))


@ex.mistake("You took both padding[0] and stride[0] for both axes: each is a pair, (rows, columns).")
def square_convolution(conv: nn.Conv2d, height: int, width: int) -> int:
    (k_h, k_w), (s_h, _), (p_h, _) = _pairs(conv)
    return _macs(conv, _output(height, k_h, s_h, p_h), _output(width, k_w, s_h, p_h))


@ex.mistake("You took kernel, stride and padding of the rows for the columns, too: each is a pair, (rows, columns).")
def all_of_the_rows(conv: nn.Conv2d, height: int, width: int) -> int:
    (k_h, k_w), (s_h, _), (p_h, _) = _pairs(conv)
    return _macs(conv, _output(height, k_h, s_h, p_h), _output(width, k_h, s_h, p_h)) // k_w * k_h


@ex.mistake("You rounded up: a filter that does not fit any more has no place. // rounds down.")
def rounded_up(conv: nn.Conv2d, height: int, width: int) -> int:
    s_h, s_w = conv.stride
    return conv_macs(conv, height + s_h - 1, width + s_w - 1)


@ex.mistake("You rounded to the nearest: a filter that fits by two thirds has no place. // rounds down.")
def rounded_to_nearest(conv: nn.Conv2d, height: int, width: int) -> int:
    (k_h, k_w), (s_h, s_w), (p_h, p_w) = _pairs(conv)
    return _macs(conv, round((height + 2 * p_h - k_h) / s_h + 1), round((width + 2 * p_w - k_w) / s_w + 1))


@ex.mistake("You divided H and W by the stride. Also the kernel takes places: (H + 2·padding − k_h) // stride + 1.")
def size_over_stride(conv: nn.Conv2d, height: int, width: int) -> int:
    _, (s_h, s_w), _ = _pairs(conv)
    return _macs(conv, height // s_h, width // s_w)


@ex.mistake("A filter stands at whole places: (H + 2·padding − k_h) / stride is rounded down. Use //.")
def not_rounded_down(conv: nn.Conv2d, height: int, width: int) -> float:
    (k_h, k_w), (s_h, s_w), (p_h, p_w) = _pairs(conv)
    h_out, w_out = (height + 2 * p_h - k_h) / s_h + 1, (width + 2 * p_w - k_w) / s_w + 1
    return h_out * w_out * conv.weight.numel()


@ex.mistake("Height and width are exchanged: an image is (rows, columns), as kernel_size, stride and padding are.")
def axes_exchanged(conv: nn.Conv2d, height: int, width: int) -> int:
    return conv_macs(conv, width, height)


@ex.alternative
def from_the_output(conv: nn.Conv2d, height: int, width: int) -> int:
    y = conv(torch.zeros(1, conv.in_channels, height, width))
    return y.numel() * conv.weight[0].numel()


@ex.alternative
def loop_over_places(conv: nn.Conv2d, height: int, width: int) -> int:
    (k_h, k_w), (s_h, s_w), (p_h, p_w) = _pairs(conv)
    places = 0
    for _ in range(0, height + 2 * p_h - k_h + 1, s_h):
        for _ in range(0, width + 2 * p_w - k_w + 1, s_w):
            places += 1
    return places * int(np.prod(conv.weight.shape))


@ex.alternative
def library_counts(conv: nn.Conv2d, height: int, width: int) -> int:
    return total_macs(conv, (1, conv.in_channels, height, width))


@ex.alternative
def half_of_pytorch_s_flop(conv: nn.Conv2d, height: int, width: int) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        conv(torch.zeros(1, conv.in_channels, height, width))
    return counter.get_total_flops() / 2
