"""10.6: the bytes that a quantized layer really takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[list[int], int, int, int, bool]

ex = Exercise(
    "10.6",
    "The bytes of a quantized layer",
    points=3,
    hints=[
        "Three or four parts, each rounded up to whole bytes: the codes, the scales, the zero points, and the bias.",
        "A row holds everything that one output multiplies: all axes but the first. It has ⌈row / block⌉ blocks, and "
        "there is a scale for each block of each row.",
        "Zero points are codes of b bits, one for each scale, and are stored only if the codes are asymmetric.",
    ],
    explanation="""
        8-bit codes are a quarter of FP32, not a half, and never quite a quarter: scales, bias and the file around them
        come on top. In blocks of 32, a scale of 16 bits adds half a bit to every weight, an eighth of a 4-bit code.
        "4 bits" is a name; bits for each weight are what a table should give.
    """,
)


@ex.reference
def layer_bytes(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    """Bytes of a layer with weights (C_out, …) in packed b-bit codes, and a bias of 4 bytes for each output.

    Each row, the weights of one output, is cut into blocks of ``block`` weights, the last one perhaps shorter. A block
    has a scale of ``scale_bits`` and, unless the codes are symmetric, a zero point of b bits. Codes, scales and zero
    points are packed one behind the other, each of the three filled up to whole bytes.
    """
    return sum(_parts(shape, bits, block, scale_bits, symmetric))


def _parts(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> tuple[int, int, int, int]:
    outputs, row = shape[0], math.prod(shape[1:])
    blocks = outputs * math.ceil(row / block)
    codes, scales = math.ceil(outputs * row * bits / 8), math.ceil(blocks * scale_bits / 8)
    return codes, scales, 0 if symmetric else math.ceil(blocks * bits / 8), 4 * outputs


@ex.solution
def in_full(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    """Bytes of a layer with weights (C_out, …) in packed b-bit codes, and a bias of 4 bytes for each output."""
    outputs, row = shape[0], math.prod(shape[1:])
    blocks = outputs * math.ceil(row / block)
    codes = math.ceil(outputs * row * bits / 8)
    scales = math.ceil(blocks * scale_bits / 8)
    zero_points = 0 if symmetric else math.ceil(blocks * bits / 8)
    return codes + scales + zero_points + 4 * outputs


@ex.case("by hand: 2 rows of 8 weights in 4 bits are 8 bytes; 4 blocks, 16 bits each, 8 more; bias 8")
def by_hand() -> Question:
    return [2, 8], 4, 4, 16, True


@ex.case("the same, asymmetric: four zero points of 4 bits")
def asymmetric() -> Question:
    return [2, 8], 4, 4, 16, False


@ex.case("one scale for each output of a convolution, 8 bits")
def by_channel() -> Question:
    return [32, 16, 3, 3], 8, 144, 32, True


@ex.case("rows that no block divides: each begins anew")
def odd_rows() -> Question:
    return [5, 3, 3, 3], 4, 8, 16, True


@ex.case("three bits: parts that end within a byte")
def three_bits() -> Question:
    return [3, 7], 3, 7, 8, False


@ex.case("scales of 5 bits, as nested formats have them, and asymmetric codes of 2 bits")
def nested() -> Question:
    return [3, 25], 2, 5, 5, False


@ex.case("a block longer than the row: one for each row")
def long_block() -> Question:
    return [10, 12], 8, 64, 32, False


@ex.inputs
def random_layer(rng: np.random.Generator) -> Question:
    shape = [int(n) for n in rng.integers(3, 20, 2)] + [[], [3, 3], [1, 5]][int(rng.integers(3))]
    return shape, int(rng.integers(2, 9)), int(rng.integers(4, 40)), int(rng.choice([8, 16, 32])), bool(rng.integers(2))


@ex.mistake("You counted bits, not bytes: divide by 8.")
def in_bits(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return 8 * layer_bytes(shape, bits, block, scale_bits, symmetric)


@ex.mistake("You gave each code a whole byte. Codes of fewer bits are packed: n · b bits, then rounded up to bytes.")
def byte_each(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return math.prod(shape) + sum(_parts(shape, bits, block, scale_bits, symmetric)[1:])


@ex.mistake("You counted the codes alone. Without their scales they are no numbers; and the bias stays.")
def codes_alone(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return _parts(shape, bits, block, scale_bits, symmetric)[0]


@ex.mistake("The bias is missing: 4 bytes for each output. It is not in b bits.")
def no_bias(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return sum(_parts(shape, bits, block, scale_bits, symmetric)[:3])


@ex.mistake("Your bias has b bits for each output. It keeps 4 bytes: it is added to sums of many products.")
def small_bias(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return sum(_parts(shape, bits, block, scale_bits, symmetric)[:3]) + math.ceil(shape[0] * bits / 8)


@ex.mistake("The zero points are missing: asymmetric codes have one for each scale.")
def no_zero_points(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return layer_bytes(shape, bits, block, scale_bits, True)


@ex.mistake("You counted zero points of symmetric codes. They are all the middle code and need not be stored.")
def always_zero_points(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return layer_bytes(shape, bits, block, scale_bits, False)


@ex.mistake(
    "You counted zero points where they are not stored, and left them out where they are: look at ``symmetric``."
)
def turned_round(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return layer_bytes(shape, bits, block, scale_bits, not symmetric)


@ex.mistake("Your zero points are as large as scales. A zero point is one of the codes: b bits.")
def large_zero_points(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    codes, scales, _, bias = _parts(shape, bits, block, scale_bits, symmetric)
    return codes + scales + (0 if symmetric else scales) + bias


@ex.mistake("Your zero points have a byte each. A zero point is one of the codes: b bits, packed.")
def zero_points_of_a_byte(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    codes, scales, _, bias = _parts(shape, bits, block, scale_bits, symmetric)
    blocks = shape[0] * math.ceil(math.prod(shape[1:]) / block)
    return codes + scales + (0 if symmetric else blocks) + bias


@ex.mistake("You counted one scale for the whole layer. There is one for each block of each row.")
def one_scale(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return layer_bytes([1, math.prod(shape)], bits, math.prod(shape), scale_bits, symmetric) - 4 + 4 * shape[0]


@ex.mistake("You counted one scale for each output. A row has ⌈row / block⌉ blocks, each with its own.")
def scale_a_row(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return layer_bytes(shape, bits, math.prod(shape[1:]), scale_bits, symmetric)


@ex.mistake("Your blocks run from one row into the next. Each row begins a new block: outputs · ⌈row / block⌉.")
def across_rows(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return layer_bytes([1, math.prod(shape)], bits, block, scale_bits, symmetric) - 4 + 4 * shape[0]


@ex.mistake("You left out the shorter block at the end of a row: round the number of blocks up.")
def whole_blocks(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    outputs, row = shape[0], math.prod(shape[1:])
    blocks = outputs * (row // block)
    points = 0 if symmetric else math.ceil(blocks * bits / 8)
    return math.ceil(outputs * row * bits / 8) + math.ceil(blocks * scale_bits / 8) + points + 4 * outputs


@ex.mistake("You rounded bytes down. Half a byte needs a byte.")
def rounded_down(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    outputs, row = shape[0], math.prod(shape[1:])
    blocks = outputs * math.ceil(row / block)
    return outputs * row * bits // 8 + blocks * scale_bits // 8 + (0 if symmetric else blocks * bits // 8) + 4 * outputs


@ex.mistake("You did not round up to whole bytes: each of the three parts ends with one.")
def with_fractions(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> float:
    outputs, row = shape[0], math.prod(shape[1:])
    blocks = outputs * math.ceil(row / block)
    return (outputs * row * bits + blocks * (scale_bits + (0 if symmetric else bits))) / 8 + 4 * outputs


@ex.mistake("You rounded up once, at the end. Codes, scales and zero points are each filled up to whole bytes.")
def rounded_once(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return math.ceil(with_fractions(shape, bits, block, scale_bits, symmetric))


@ex.mistake("You halved FP32. From 32 bits to b it is a factor 32 / b; and scales and bias come on top.")
def half_of_fp32(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    return 2 * math.prod(shape)


@ex.alternative
def packed_for_real(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    rows = np.zeros(shape).reshape(shape[0], -1)
    blocks = sum(len(range(0, len(row), block)) for row in rows)
    parts = [rows.size * bits, blocks * scale_bits, *([] if symmetric else [blocks * bits])]
    return sum(len(np.packbits(np.zeros(n, np.uint8))) for n in parts) + np.zeros(shape[0], np.float32).nbytes


@ex.alternative
def with_whole_numbers(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    outputs, *rest = shape
    row = 1
    for n in rest:
        row *= n
    blocks = outputs * -(-row // block)
    total = -(-outputs * row * bits // 8) - (-blocks * scale_bits // 8) + outputs * 4
    return total if symmetric else total - (-blocks * bits // 8)


@ex.alternative
def with_fractions_of_torch(shape: Sequence[int], bits: int, block: int, scale_bits: int, symmetric: bool) -> int:
    row = torch.empty(list(shape), device="meta")[0].numel()
    blocks = shape[0] * math.ceil(Fraction(row, block))
    total = math.ceil(Fraction(bits * shape[0] * row, 8)) + math.ceil(Fraction(blocks * scale_bits, 8))
    return total + (not symmetric) * math.ceil(Fraction(blocks * bits, 8)) + shape[0] * 4
