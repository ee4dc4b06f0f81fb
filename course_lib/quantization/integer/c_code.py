"""An integer network as one file of C99: no library, no float, no memory but what it declares.

The functions stand in ``network.c`` beside this module, as a learner reads them; a written file holds those that its
network needs, then ``classify`` with one call a layer, and the numbers: one constant struct a layer, and weights. The
arithmetic is the engine's (``layers.py``, ``sums.py``), code for code.

**Bytes.** All tensors are uint8 in C. Signed codes are stored with 128 added, and so are their zero points: a product
then always is unsigned times signed, for which processors have an instruction.

**Order.** Pixels lie row by row, the channels of a pixel side by side (H·W·C), as a camera gives them. For two output
positions the kernel's view is copied into a row of bytes; each row of weights is multiplied with both. That copy costs
little (each byte is used C_out times), makes any stride, padding and kernel alike, and gives the compiler one plain
loop to vectorize. Rows are filled up with zeros to a multiple of 32, a convolution's outputs to a multiple of 4.

Industry (CMSIS-NN, XNNPACK, MLAS) does the same steps with kernels written by hand for each processor.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_lib.quantization.graph import INPUT
from course_lib.quantization.integer.arena import Arena, plan_arena
from course_lib.quantization.integer.c_numbers import KNOWN, Parameters, Shape, offset_of, parameters_of
from course_lib.quantization.integer.engine import IntegerNetwork
from course_lib.quantization.integer.layers import CodeRange, IntegerFlatten, IntegerLayer

NUMBERS = "/* ---- Numbers"
"""Functions and calls of a written file stand before the line that begins like this, each layer's numbers behind it."""
_TEMPLATE = Path(__file__).with_name("network.c")
_FUNCTIONS = {"part": "copy_part"}  # where the function has another name than its struct
_NEEDS = {  # parts of the template by a call's kind, besides its own
    "convolution": {"steps", "clamp", "rounding", "rescale", "factors", "products", "window"},
    "depthwise": {"steps", "clamp", "rounding", "rescale", "factors", "window"},
    "linear": {"steps", "clamp", "rounding", "rescale", "factors"},
    "mean": {"steps", "clamp", "rounding", "rescale"},
    "sum": {"steps", "clamp", "rounding"},
    "part": set(),
    "flatten": set(),
}


@dataclass(frozen=True)
class MemoryPlan:
    """What a network's C file writes to, in bytes.

    Args:
        arena: the tensors' places; the image and the logits are the caller's.
        sums: accumulators for each of two positions, 4 bytes each.
        row: inputs of a product for each of two positions.
    """

    arena: Arena
    sums: int
    row: int

    def ram_bytes(self, lane_bytes: int = 1) -> int:
        """All static memory of the file: what the compiler reports as .bss.

        Args: lane_bytes: 1 where the processor multiplies bytes (see ``lane`` in the file), else 2.
        """
        return 8 * self.sums + 2 * lane_bytes * self.row + -(-self.arena.size // 4) * 4


def memory_plan(network: IntegerNetwork) -> MemoryPlan:
    """Static memory of a network's C file. Raises: ValueError: as ``c_source``."""
    return _Writer(network).plan


def c_source(network: IntegerNetwork, *, title: str = "A network") -> str:
    """The network as C99 that includes only stdint.h: ``classify`` and ``class_of``.

    ``void classify(const uint8_t *image, uint8_t *logits)`` takes codes of an image, H·W·C: the camera's bytes. It
    writes the codes of the logits. Of tensors with signed codes, 128 is added to each. One call at a time: its memory
    is static.

    Args: title: what the network is, in words, for the comment at the top.
    Raises: ValueError: a layer, a factor or a sum that has no C form here; a network whose last layer does not give
        one vector; an accumulator that does not hold unsigned codes.
    """
    return "\n".join(_Writer(network).lines(title)) + "\n"


def _comment(text: str) -> str:
    """Text that cannot end a comment, break its line or be anything but ASCII."""
    return re.sub(r"[^A-Za-z0-9 .,:;()+=_-]", "_", text)


def _rule(title: str) -> str:
    return f"/* ---- {title} ".ljust(115, "-") + " */"


def _template() -> dict[str, str]:
    """The parts of network.c by the name in the line above them, in order."""
    parts = re.split(r"^//: (.*)\n", _TEMPLATE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


class _Writer:
    """Plans a network's memory and calls, then writes them down."""

    def __init__(self, network: IntegerNetwork):
        self.network = network
        if unknown := [layer for layer in network.layers if not isinstance(layer, KNOWN | IntegerFlatten)]:
            named = ", ".join(f"{type(layer).__name__} ({layer.name})" for layer in unknown)
            raise ValueError(f"no C code is known for {named}")
        self.codes: dict[str, CodeRange] = {INPUT: network.input} | {
            layer.name: layer.output for layer in network.layers
        }
        self.shapes = self._shapes()
        self.same: dict[str, str] = {}  # a tensor that is another one under a second name
        self.calls: list[tuple[IntegerLayer, list[Parameters]]] = []
        for number, layer in enumerate(network.layers):
            self._add(layer, number)
        self.logits = self._tensor(network.layers[-1].name)
        if self.logits == INPUT or int(np.prod(self.shapes[self.logits])) != self.shapes[self.logits][0]:
            raise ValueError(f"the last layer, {network.layers[-1].name}, must give one vector of logits")
        self.plan = self._plan()

    def lines(self, title: str) -> list[str]:
        """The whole file."""
        parts = self._parts()
        lines = [*self._head(title), *self._facts()]
        template = _template()
        for name in template:
            if name in parts and name not in ("class_of", "main"):
                lines += [*([] if template[name].startswith(" ") else [""]), *template[name].splitlines()]
        numbers = [p for _, parameters in self.calls for p in parameters]
        lines += ["", _rule("This network"), "", *self._declarations(numbers), "", *self._classify()]
        lines += ["", *template["class_of"].splitlines(), "", *template["main"].splitlines()]
        lines += ["", _rule("Numbers: sizes, weights, biases, multipliers, shifts, tables"), ""]
        lines += [p.declaration() for p in numbers if p.arrays]
        for layer, parameters in self.calls:
            for p in parameters:
                lines += p.struct(_comment(layer.name))
        return [*lines, "", *(line for p in numbers for line in p.definitions())]

    @staticmethod
    def _declarations(numbers: list[Parameters]) -> list[str]:
        """The structs' names before they are used; what they hold stands among the numbers."""
        kinds = dict.fromkeys(p.kind for p in numbers)
        names = {kind: ", ".join(f"layer_{p.number}" for p in numbers if p.kind == kind) for kind in kinds}
        words = [f"static const struct {kind} {names[kind]};" for kind in kinds]
        lines = [line for text in words for line in textwrap.wrap(text, 115, subsequent_indent="    ")]
        return ["/* Each layer's numbers stand at the end. */", *lines]

    def _shapes(self) -> dict[str, Shape]:
        """(C, H, W) or (C,) by tensor, from a run on a blank image."""
        blank = np.full((1, *self.network.input_shape), self.network.input.zero, self.network.input.dtype)
        return {name: tensor.shape[1:] for name, tensor in self.network.tensors(blank).items()}

    def _tensor(self, name: str) -> str:
        return self.same.get(name, name)

    def _add(self, layer: IntegerLayer, number: int) -> None:
        if not isinstance(layer, IntegerFlatten):
            self.calls.append((layer, parameters_of(layer, number, self.shapes, self.codes)))
        elif self._flat(layer):
            self.same[layer.name] = self._tensor(layer.inputs[0])
        else:
            self.calls.append((layer, []))

    def _flat(self, layer: IntegerLayer) -> bool:
        """Whether a tensor lies in memory as the flattened one does: it has one position."""
        return int(np.prod(self.shapes[layer.inputs[0]][1:])) == 1

    def _plan(self) -> MemoryPlan:
        steps = [(layer.name, tuple(self._tensor(name) for name in layer.inputs)) for layer, _ in self.calls]
        sizes = {name: int(np.prod(self.shapes[name])) for name, _ in steps if name != self.logits}
        parameters = [p for _, some in self.calls for p in some]
        sums, row = (max([least, *(getattr(p, of) for p in parameters)]) for of, least in (("sums", 4), ("row", 32)))
        return MemoryPlan(plan_arena(steps, sizes), sums, row)

    def _parts(self) -> set[str]:
        """Names of the template's parts that this network needs, those of its rounding among them."""
        parameters = [p for _, some in self.calls for p in some]
        kinds = {p.kind for p in parameters} | {"flatten" for _, some in self.calls if not some}
        needed = {"requirements", "memory", *kinds}.union(*(_NEEDS[kind] for kind in kinds))
        if self.network.rounding == "runtime":
            tags = ("runtime", "64")
        else:
            needed |= {"rescale"} if "sum" in kinds else set()
            tags = ("fixed", "wide", "64") if any(p.wide for p in parameters) else ("fixed", "hardware")
        return needed | {f"{part} {tag}" for part in needed for tag in tags}

    def _head(self, title: str) -> list[str]:
        plan, (channels, height, width) = self.plan, self.network.input_shape
        arrays = [values for _, parameters in self.calls for p in parameters for values in p.arrays.values()]
        as_whom = "integer-only hardware (gemmlowp)" if self.network.rounding == "hardware" else "ONNX Runtime on x86"
        return [
            f"/* {_comment(title)}: {len(self.network.layers)} layers on 8-bit codes, in integers only.",
            " *",
            f" * Image: {height} x {width} x {channels} bytes. Rounding: as {as_whom}.",
            f" * Constants: {sum(values.nbytes for values in arrays):,} bytes. Tensors: {plan.arena.size:,} bytes at a "
            "time.",
            f" * Static memory: {plan.ram_bytes(2):,} bytes, or {plan.ram_bytes(1):,} where bytes are multiplied (see "
            "`lane`).",
            " *",
            " * Codes: a real number is scale * (code - zero). Weights have zero = 0, so that a layer needs the sum of",
            " * code * weight and one number a channel, -zero * (sum of weights) + bias, known beforehand. The sum has",
            " * 32 bits; a multiplication and a shift bring it to the next tensor's scale.",
            " *",
            " * Compile with  cc -O3 -march=native  for speed, with  cc -Os  for size. An int must have 32 bits or",
            " * more: on AVR and MSP430 compilation stops. Compilers may turn loops into calls of memset and memcpy: a",
            " * program without a C library must supply both, or forbid it (gcc: -fno-tree-loop-distribute-patterns).",
            " * One call at a time: the memory is static. */",
            "#include <stdint.h>",
        ]

    def _facts(self) -> list[str]:
        (channels, height, width), plan = self.network.input_shape, self.plan
        classes, arena = self.shapes[self.logits][0], max(plan.arena.size, 1)
        facts = (height, width, channels, classes, offset_of(self.network.input), offset_of(self.codes[self.logits]))
        return [
            "",
            f"enum {{ IMAGE_BYTES = {height * width * channels}, CLASSES = {classes}, ARENA = {arena}, "
            f"LARGEST_SUMS = {plan.sums}, LARGEST_ROW = {plan.row} }};",
            "",
            "/* Sets CLASSES logits from an image: rows from above, pixels from the left, channels side by side. */",
            "void classify(const uint8_t *image, uint8_t *logits);",
            "/* The class with the largest logit, the first one of equals. */",
            "int class_of(const uint8_t *image);",
            "#ifdef WITH_FACTS",
            "/* For a program that loads this as a library: height, width, channels, classes; what is added to image",
            " * and logits to make them unsigned. */",
            f"const int network_facts[6] = {{{', '.join(map(str, facts))}}};",
            "#endif",
        ]

    def _place(self, name: str) -> str:
        name = self._tensor(name)
        if name in (INPUT, self.logits):
            return "image" if name == INPUT else "logits"
        return f"arena + {self.plan.arena.blocks[name].offset}"

    def _classify(self) -> list[str]:
        written: list[tuple[str, str]] = []
        for layer, parameters in self.calls:
            inputs, output = [self._place(name) for name in layer.inputs], self._place(layer.name)
            shape = " x ".join(map(str, [*self.shapes[layer.name][1:], self.shapes[layer.name][0]]))
            note = f"/* {shape}  {_comment(layer.name)} */"
            if not parameters:
                channels, *sides = self.shapes[layer.inputs[0]]
                written.append((f"flatten({int(np.prod(sides))}, {channels}, {inputs[0]}, {output});", note))
            for place, p in enumerate(parameters):
                read = inputs[place : place + 1] if p.kind == "part" else inputs
                arguments = ", ".join([f"&layer_{p.number}", *read, output])
                written.append((f"{_FUNCTIONS.get(p.kind, p.kind)}({arguments});", note))
        width = max(len(call) for call, _ in written)
        needs_arena = any("arena" in call for call, _ in written)
        return [
            "void classify(const uint8_t *image, uint8_t *logits)",
            "{",
            *(["    uint8_t *arena = memory.arena;"] if needs_arena else []),
            *(f"    {call:{width}}  {note}" for call, note in written),
            "}",
        ]


def code_lines(source: str) -> list[str]:
    """The lines of a written file before its numbers: what a learner reads."""
    return source.partition(NUMBERS)[0].splitlines()
