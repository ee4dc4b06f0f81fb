"""01.2: packed codes in whole bytes, and a scale for each output channel."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "01.2",
    "Bytes of a quantized weight",
    points=2,
    trials=6,  # the fixed cases alone show each mistake
    hints=[
        "Two things are stored: the codes, `bits` each, and the scales that turn codes back into numbers.",
        "A byte has 8 bits; what does not fill the last byte still takes a whole one: math.ceil.",
        "The output channels are shape[0]; each has one scale of 4 bytes.",
    ],
    explanation="""
        $\\lceil n \\cdot b / 8 \\rceil + 4\\,C_{out}$ bytes. FP32 → 8 bits is 4 times smaller only where the scales do
        not count: a filter of nine weights takes 36 bytes in FP32 and 9 + 4 = 13 in INT8, 2.8 times less. The file
        adds the graph, and whatever stays in FP32.
    """,
)


@ex.reference
def weight_bytes(shape: Sequence[int], bits: int) -> int:
    """⌈elements · bits / 8⌉ bytes of packed codes, and 4 bytes for the FP32 scale of each output channel.

    Args:
        shape: (C_out, C_in, k_h, k_w). bits: of one code, ≥ 1.
    """
    codes = math.ceil(math.prod(shape) * bits / 8)
    scales = 4 * shape[0]
    return codes + scales


@ex.case("one filter of nine weights: 9 bytes of codes and one scale")
def nine_weights() -> tuple[tuple[int, ...], int]:
    return (1, 1, 3, 3), 8


@ex.case("two filters of three channels: 6 codes of 4 bits, which fill 3 bytes")
def whole_bytes() -> tuple[tuple[int, ...], int]:
    return (2, 3, 1, 1), 4


@ex.case("half a byte at the end: 15 codes of 4 bits take 7.5 bytes, so 8")
def half_a_byte() -> tuple[tuple[int, ...], int]:
    return (3, 5, 1, 1), 4


@ex.case("a quarter of a byte at the end: 9 codes of 2 bits take 2.25 bytes, so 3")
def quarter_of_a_byte() -> tuple[tuple[int, ...], int]:
    return (1, 1, 3, 3), 2


@ex.case("codes of 3 bits, which lie across bytes: packed without gaps, also between the filters")
def three_bits() -> tuple[tuple[int, ...], int]:
    return (4, 5, 2, 3), 3


@ex.case("codes that are wider than a byte")
def sixteen_bits() -> tuple[tuple[int, ...], int]:
    return (2, 3, 3, 1), 16


@ex.inputs
def random_shape(rng: np.random.Generator) -> tuple[tuple[int, ...], int]:
    """Odd sizes, so that codes of less than 8 bits do not fill the last byte."""
    c_out, c_in, k_h, k_w = (int(rng.choice(sizes)) for sizes in ((5, 17, 33), (3, 7, 11), (1, 3), (3, 5)))
    return (c_out, c_in, k_h, k_w), int(rng.choice([2, 3, 4, 5, 6, 8]))


@ex.mistake(
    "You forgot the scales: without them nobody can turn the codes back into weights. One FP32 scale for each output "
    "channel is 4 bytes each."
)
def scales_forgotten(shape: Sequence[int], bits: int) -> int:
    return math.ceil(math.prod(shape) * bits / 8)


@ex.mistake("You stored one scale for the whole tensor; here each of the shape[0] output channels has its own.")
def one_scale(shape: Sequence[int], bits: int) -> int:
    return math.ceil(math.prod(shape) * bits / 8) + 4


@ex.mistake(
    "You counted the input channels, shape[1]. A PyTorch convolution stores its weight as (C_out, C_in, k_h, k_w), "
    "and the scales belong to the outputs."
)
def input_channels(shape: Sequence[int], bits: int) -> int:
    return math.ceil(math.prod(shape) * bits / 8) + 4 * shape[1]


@ex.mistake("You counted shape[-1], the kernel's width: the output channels come first, shape[0].")
def kernel_width(shape: Sequence[int], bits: int) -> int:
    return math.ceil(math.prod(shape) * bits / 8) + 4 * shape[-1]


@ex.mistake("You stored a scale for each C_out · C_in slice; all that a filter holds shares one.")
def scale_per_slice(shape: Sequence[int], bits: int) -> int:
    return math.ceil(math.prod(shape) * bits / 8) + 4 * shape[0] * shape[1]


@ex.mistake("A scale in FP32 takes 4 bytes, not 1.")
def scales_of_one_byte(shape: Sequence[int], bits: int) -> int:
    return math.ceil(math.prod(shape) * bits / 8) + shape[0]


@ex.mistake("A scale in FP32 takes 4 bytes; 2 would be FP16.")
def scales_in_fp16(shape: Sequence[int], bits: int) -> int:
    return math.ceil(math.prod(shape) * bits / 8) + 2 * shape[0]


@ex.mistake("You stored the scales as codes of `bits` bits: they stay in FP32, 4 bytes each.")
def scales_as_codes(shape: Sequence[int], bits: int) -> int:
    return math.ceil((math.prod(shape) + shape[0]) * bits / 8)


@ex.mistake(
    "8 bytes for each channel: a scale and a zero point? These codes are symmetric, 0 stands for 0.0, and no zero "
    "point is stored."
)
def zero_points_too(shape: Sequence[int], bits: int) -> int:
    return math.ceil(math.prod(shape) * bits / 8) + 8 * shape[0]


@ex.mistake("5 bytes for each channel: a scale and a zero point of one byte? Symmetric codes need no zero point.")
def zero_points_of_one_byte(shape: Sequence[int], bits: int) -> int:
    return math.ceil(math.prod(shape) * bits / 8) + 5 * shape[0]


@ex.mistake("A scale has 32 bits, and that is 4 bytes, not 32.")
def scales_of_32_bytes(shape: Sequence[int], bits: int) -> int:
    return math.ceil(math.prod(shape) * bits / 8) + 32 * shape[0]


@ex.mistake("You rounded down: the last codes need a byte too, even if they do not fill it.")
def rounded_down(shape: Sequence[int], bits: int) -> int:
    return math.prod(shape) * bits // 8 + 4 * shape[0]


@ex.mistake("You rounded to the nearest: a quarter of a byte still takes a whole one. Round up (math.ceil).")
def rounded_to_nearest(shape: Sequence[int], bits: int) -> int:
    return round(math.prod(shape) * bits / 8) + 4 * shape[0]


@ex.mistake("A byte too many: where the codes fill their bytes exactly, nothing is left over. math.ceil, not // + 1.")
def always_one_more(shape: Sequence[int], bits: int) -> int:
    return math.prod(shape) * bits // 8 + 1 + 4 * shape[0]


@ex.mistake("A file has no half bytes: round the codes up to whole bytes (math.ceil).")
def fractions_of_bytes(shape: Sequence[int], bits: int) -> float:
    return math.prod(shape) * bits / 8 + 4 * shape[0]


@ex.mistake("You gave each code a whole byte. Packed, two 4-bit codes or four 2-bit codes share one.")
def a_byte_per_code(shape: Sequence[int], bits: int) -> int:
    return math.prod(shape) + 4 * shape[0]


@ex.mistake("You gave each code whole bytes of its own: packed without gaps, two 4-bit codes share one.")
def whole_bytes_per_code(shape: Sequence[int], bits: int) -> int:
    return math.prod(shape) * math.ceil(bits / 8) + 4 * shape[0]


@ex.mistake(
    "You put 8 // bits whole codes into a byte. Packed without gaps, a 3-bit code may begin in one byte and end in "
    "the next: 8 of them fill 3 bytes."
)
def no_code_across_bytes(shape: Sequence[int], bits: int) -> int:
    whole = math.ceil(math.prod(shape) / (8 // bits)) if bits <= 8 else math.prod(shape) * math.ceil(bits / 8)
    return whole + 4 * shape[0]


@ex.mistake("You rounded up in every filter: packed without gaps, the next filter begins in the same byte.")
def rounded_up_per_filter(shape: Sequence[int], bits: int) -> int:
    return shape[0] * (math.ceil(math.prod(shape[1:]) * bits / 8) + 4)


@ex.mistake("You rounded up in every k_h × k_w slice: packed without gaps, the next slice begins in the same byte.")
def rounded_up_per_slice(shape: Sequence[int], bits: int) -> int:
    c_out, c_in, k_h, k_w = shape
    return c_out * c_in * math.ceil(k_h * k_w * bits / 8) + 4 * c_out


@ex.mistake("You rounded up in every row of a kernel: packed without gaps, the next row begins in the same byte.")
def rounded_up_per_row(shape: Sequence[int], bits: int) -> int:
    return math.prod(shape[:3]) * math.ceil(shape[3] * bits / 8) + 4 * shape[0]


@ex.mistake("A byte has 8 bits, not 16: INT8 does not halve 32 bits, it leaves a fourth.")
def sixteen_bits_a_byte(shape: Sequence[int], bits: int) -> int:
    return math.ceil(math.prod(shape) * bits / 16) + 4 * shape[0]


@ex.mistake(
    "You rounded up to a multiple of 4 bytes: a runtime may align like that, packed codes end with their last byte."
)
def aligned_to_four_bytes(shape: Sequence[int], bits: int) -> int:
    return 4 * math.ceil(math.prod(shape) * bits / 32) + 4 * shape[0]


@ex.mistake("These are bits; a byte has 8 of them.")
def in_bits(shape: Sequence[int], bits: int) -> int:
    return math.prod(shape) * bits + 32 * shape[0]


@ex.mistake("Your codes are counted in bits, your scales in bytes: divide the codes' bits by 8.")
def codes_in_bits(shape: Sequence[int], bits: int) -> int:
    return math.prod(shape) * bits + 4 * shape[0]


@ex.mistake("Parameters × 4 are the bytes in FP32: at `bits` bits a code takes bits / 8 bytes.")
def fp32_bytes(shape: Sequence[int], bits: int) -> int:
    return 4 * math.prod(shape) + 4 * shape[0]


@ex.alternative
def in_whole_numbers(shape: Sequence[int], bits: int) -> int:
    return (math.prod(shape) * bits + 7) // 8 + 4 * shape[0]


@ex.alternative
def in_numpy(shape: Sequence[int], bits: int) -> np.floating:
    return np.ceil(np.prod(shape) * bits / 8) + np.zeros(shape[0], np.float32).nbytes


@ex.alternative
def really_packed(shape: Sequence[int], bits: int) -> int:
    ones = np.ones(math.prod(shape) * bits, np.uint8)
    return len(np.packbits(ones).tobytes()) + len(struct.pack(f"{shape[0]}f", *[1.0] * shape[0]))


@ex.alternative
def loop_over_filters(shape: Sequence[int], bits: int) -> int:
    c_out, *rest = shape
    total_bits, scales = 0, 0
    for _ in range(c_out):
        total_bits += bits * math.prod(rest)
        scales += 4
    whole, left = divmod(total_bits, 8)
    return whole + (left > 0) + scales
