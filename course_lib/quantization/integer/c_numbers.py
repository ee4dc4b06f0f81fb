"""The numbers of each layer as C wants them: weights packed in rows, unsigned codes, one struct a layer.

What a struct's fields mean stands in ``network.c``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from course_lib.quantization.integer.fixed_point import FLOAT_BITS, HardwareFactor, RuntimeFactor
from course_lib.quantization.integer.layers import (
    LARGEST,
    CodeRange,
    IntegerAdd,
    IntegerConcat,
    IntegerConvolution,
    IntegerGlobalAverage,
    IntegerLayer,
    IntegerLinear,
    IntegerWeighted,
)
from course_lib.quantization.integer.sums import LEFT_SHIFT, HardwareSum, RuntimeSum

ROW, ROWS = 32, 4
"""A row of weights is filled up to a multiple of ROW bytes, the rows of a convolution's group to a multiple of ROWS."""
_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "int32": "int32_t"}
Shape = tuple[int, ...]
KNOWN = IntegerConvolution | IntegerLinear | IntegerAdd | IntegerConcat | IntegerGlobalAverage


@dataclass(frozen=True)
class Parameters:
    """One constant struct.

    Args:
        kind: of the struct, and the function that reads it.
        number: of the layer, for the names of its arrays.
        fields: lines of the initializer.
        arrays: by the part of their name before the number.
        row: bytes of a patch that the function fills.
        sums: accumulators that it fills.
        wide: hardware's rounding needs 64 bits here: a factor above 1, or a sum near 32 bits.
    """

    kind: str
    number: str
    fields: Sequence[str]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    row: int = 0
    sums: int = 0
    wide: bool = False

    def declaration(self) -> str:
        """The arrays' types and names in C, one line; their numbers stand at the end of the file."""
        kinds: dict[str, list[str]] = {}
        for name, values in self.arrays.items():
            kinds.setdefault(_TYPES[str(values.dtype)], []).append(f"{name}_{self.number}[{values.size}]")
        return " ".join(f"static const {kind} {', '.join(names)};" for kind, names in kinds.items())

    def definitions(self) -> list[str]:
        """The arrays with their numbers, some in a line."""
        lines = []
        for name, values in self.arrays.items():
            lines.append(f"static const {_TYPES[str(values.dtype)]} {name}_{self.number}[{values.size}] = {{")
            flat, width = values.ravel().tolist(), {1: 20, 4: 8}[values.itemsize]
            lines += [",".join(map(str, flat[i : i + width])) + "," for i in range(0, len(flat), width)]
            lines.append("};")
        return lines

    def struct(self, comment: str) -> list[str]:
        """The initialized struct. Args: comment: for its first line."""
        *others, last = (f"    {line}," for line in self.fields)
        head = f"static const struct {self.kind} layer_{self.number} = {{ /* {comment} */"
        return [head, *others, f"{last[:-1]}}};"]


def offset_of(codes: CodeRange) -> int:
    """What C adds to signed codes, so that all are unsigned.

    >>> offset_of(CodeRange(0, -128, 127, signed=True)), offset_of(CodeRange(7, 0, 255))
    (128, 0)
    """
    return 128 if codes.signed else 0


def parameters_of(
    layer: IntegerLayer, number: int, shapes: Mapping[str, Shape], codes: Mapping[str, CodeRange]
) -> list[Parameters]:
    """The structs of a layer, in the order in which their functions are called; a concatenation has one an input.

    Args:
        number: of the layer.
        shapes: (C, H, W) or (C,) by tensor.
        codes: by tensor.
    Raises: ValueError: a layer or factor that has no C form here, or whose accumulator does not hold unsigned codes.
    """
    if isinstance(layer, IntegerConvolution):
        return [_convolution(layer, str(number), shapes, codes)]
    if isinstance(layer, IntegerLinear):
        return [_linear(layer, str(number), codes)]
    if isinstance(layer, IntegerAdd):
        return [_sum(layer, str(number), shapes, codes)]
    if isinstance(layer, IntegerConcat):
        return _concat(layer, str(number), shapes)
    if isinstance(layer, IntegerGlobalAverage):
        return [_mean(layer, str(number), shapes, codes)]
    raise ValueError(f"no C code is known for {type(layer).__name__} ({layer.name})")


def _initializer(**values: int | str) -> str:
    return ", ".join(f".{name} = {value}" for name, value in values.items())


def _pair(values: Sequence[int]) -> str:
    return f"{{{values[0]}, {values[1]}}}"


def _range(codes: CodeRange) -> str:
    shift = offset_of(codes)
    return f".codes = {{{codes.zero + shift}, {codes.low + shift}, {codes.high + shift}}}"


def _multipliers(layer: IntegerLayer, rescale: object) -> tuple[np.ndarray, np.ndarray]:
    """int32 multipliers and int8 shifts."""
    if not isinstance(rescale, HardwareFactor | RuntimeFactor):
        raise ValueError(f"no C code is known for the factor {type(rescale).__name__} of {layer.name}")
    return rescale.multiplier.astype(np.int32), rescale.shift.astype(np.int8)


def _wide(bound: np.ndarray | int, shift: np.ndarray) -> bool:
    """Whether a rounding shift of sums up to ``bound`` leaves 32 bits, or the shift is one to the left."""
    shift = shift.astype(np.int64)
    return bool((shift < 0).any() or (bound + (1 << np.maximum(shift, 0)) + 255 > LARGEST).any())


def _factors(layer: IntegerWeighted, number: str, codes: CodeRange) -> tuple[str, dict[str, np.ndarray], bool]:
    """Initializer and arrays of a layer's factors, the bias folded with the unsigned zero point; whether it is wide."""
    rows = layer.weight.reshape(len(layer.weight), -1).astype(np.int64)
    bias = layer.bias.astype(np.int64) - (codes.zero + offset_of(codes)) * rows.sum(1)
    bound = (codes.high + offset_of(codes)) * np.abs(rows).sum(1) + np.abs(bias)
    if (worst := int(bound.max())) > LARGEST:
        raise ValueError(f"with unsigned codes the accumulator of {layer.name} can reach {worst:,}, beyond 32 bits")
    multiplier, shift = (np.broadcast_to(part, bias.shape) for part in _multipliers(layer, layer.rescale))
    arrays = {"bias": bias.astype(np.int32), "multiplier": multiplier, "shift": shift}
    text = f".factors = {{bias_{number}, multiplier_{number}, shift_{number}}}, {_range(layer.output)}"
    return text, arrays, _wide(bound, shift)


def _packed(weight: np.ndarray) -> np.ndarray:
    """Weights (…, outputs, taps), each row filled up with zeros."""
    return np.pad(weight, [(0, 0)] * (weight.ndim - 1) + [(0, -weight.shape[-1] % ROW)])


def _convolution(
    layer: IntegerConvolution, number: str, shapes: Mapping[str, Shape], codes: Mapping[str, CodeRange]
) -> Parameters:
    (channels, height, width), (outputs, out_height, out_width) = shapes[layer.inputs[0]], shapes[layer.name]
    read = codes[layer.inputs[0]]
    factors, arrays, wide = _factors(layer, number, read)
    window = (
        f".window = {{{{{height}, {width}, {channels}}}, {_pair(layer.weight.shape[1:3])}, {_pair(layer.stride)}, "
        f"{_pair(layer.padding)}, {{{out_height}, {out_width}, {outputs}}}, .zero = {read.zero + offset_of(read)}}}"
    )
    if layer.groups == channels == outputs > 1:
        weight = np.moveaxis(layer.weight, 0, -1).reshape(-1, channels)  # (taps, C)
        fields = [window, f".weight = weight_{number}, {factors}"]
        return Parameters("depthwise", number, fields, {"weight": weight, **arrays}, 0, channels, wide)
    weight = _packed(layer.weight.reshape(layer.groups, outputs // layer.groups, -1))
    weight = np.pad(weight, ((0, 0), (0, -weight.shape[1] % ROWS), (0, 0)))
    _, rows, row = weight.shape
    sizes = _initializer(rows=rows, row=row, weight=f"weight_{number}")
    fields = [f"{window}, .groups = {layer.groups}", f"{sizes}, {factors}"]
    return Parameters("convolution", number, fields, {"weight": weight, **arrays}, row, rows, wide)


def _linear(layer: IntegerLinear, number: str, codes: Mapping[str, CodeRange]) -> Parameters:
    factors, arrays, wide = _factors(layer, number, codes[layer.inputs[0]])
    (outputs, inputs), weight = layer.weight.shape, _packed(layer.weight)
    row = weight.shape[1]
    sizes = _initializer(inputs=inputs, outputs=outputs, row=row, weight=f"weight_{number}")
    return Parameters("linear", number, [sizes, factors], {"weight": weight, **arrays}, row, outputs, wide)


def _sum(layer: IntegerAdd, number: str, shapes: Mapping[str, Shape], codes: Mapping[str, CodeRange]) -> Parameters:
    total, size = layer.total, int(np.prod(shapes[layer.name]))
    offset_a, offset_b = (offset_of(codes[name]) for name in layer.inputs)
    if isinstance(total, HardwareSum):
        pairs = {"_a": total.factor_a, "_b": total.factor_b, "": total.factor_c}
        factors = {name: _multipliers(layer, factor) for name, factor in pairs.items()}
        sizes = _initializer(size=size, zero_a=total.zero_a + offset_a, zero_b=total.zero_b + offset_b)
        multipliers = _initializer(**{f"multiplier{name}": int(found) for name, (found, _) in factors.items()})
        shifts = _initializer(**{f"shift{name}": int(shift) for name, (_, shift) in factors.items()})
        # Two inputs of at most 255 * 2^20, each times at most a half.
        wide = any(_wide(255 << LEFT_SHIFT, shift) for _, shift in factors.values())
        fields = [sizes, multipliers, f"{shifts}, {_range(layer.output)}"]
        return Parameters("sum", number, fields, wide=wide)
    if isinstance(total, RuntimeSum):
        largest = 256 * (total.ratio_a + total.ratio_b) + abs(total.fixed)
        reach = 1 << max(largest.bit_length() - FLOAT_BITS, 0)
        grid = {"ratio_a": total.ratio_a, "ratio_b": total.ratio_b, "fixed": total.fixed, "reach": reach}
        # `fixed` holds the engine's zero point already: what is left to add is how far C's codes are shifted.
        shifted = offset_of(layer.output)
        low, high = layer.output.low + shifted, layer.output.high + shifted
        fields = [
            _initializer(size=size, offset_a=offset_a, offset_b=offset_b, shift=total.shift),
            f"{_initializer(**grid)}, .codes = {{{shifted - total.zero_c + layer.output.zero}, {low}, {high}}}",
        ]
        return Parameters("sum", number, fields)
    raise ValueError(f"no C code is known for the sum {type(total).__name__} of {layer.name}")


def _concat(layer: IntegerConcat, number: str, shapes: Mapping[str, Shape]) -> list[Parameters]:
    out_channels, first, parts = shapes[layer.name][0], 0, []
    for place, (name, table) in enumerate(zip(layer.inputs, layer.tables, strict=True)):
        channels, positions = shapes[name][0], int(np.prod(shapes[name][1:]))
        own = f"{number}_{place}"
        sizes = _initializer(positions=positions, channels=channels, first=first, out_channels=out_channels)
        codes = (table.astype(np.int64) + offset_of(layer.output)).astype(np.uint8)
        parts.append(Parameters("part", own, [f"{sizes}, .table = table_{own}"], {"table": codes}))
        first += channels
    return parts


def _mean(
    layer: IntegerGlobalAverage, number: str, shapes: Mapping[str, Shape], codes: Mapping[str, CodeRange]
) -> Parameters:
    multiplier, shift = _multipliers(layer, layer.rescale)
    zero = layer.input_zero + offset_of(codes[layer.inputs[0]])
    sizes = _initializer(positions=layer.positions, channels=shapes[layer.name][0], zero=zero)
    factor = _initializer(multiplier=int(multiplier), shift=int(shift))
    fields = [f"{sizes}, {factor}, {_range(layer.output)}"]
    return Parameters("mean", number, fields, wide=_wide(255 * layer.positions, shift))
