"""Which layer hurts, and how many bits shall each have? One layer at a time in few bits, all others left in float32.

Two measures of the hurt. The *signal-to-noise ratio* of the logits needs no labels and no luck: noise of independent
layers adds up, so it can be summed. *Accuracy* is what counts, and says nothing until a sign flips. The first decides,
the second judges (``sensitivity`` gives both).

**Mixed precision.** Given the noise that each layer makes at each number of bits, choose the bits so that the sum of
the noises is least while the weights fit a budget of bytes. Every layer starts at the fewest bits; again and again that
layer gets more bits which takes most noise away for a byte (``bits_for_budget``). Steps that skip a number of bits are
weighed, too: a layer that gains nothing from 3 bits may gain much from 4. The sum is a model: layers disturb one
another, so the chosen network must be measured as a whole.

Dong et al. 2019, arXiv:1905.03696 (bits by sensitivity); Nagel et al. 2021, arXiv:2106.08295, section 3.7 (one layer at
a time).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from course_lib.errors import CourseError
from course_lib.quantization.affine import Codes, dequantize, min_max, quantize, sqnr_db
from course_lib.quantization.graph import LayerGraph, Weighted


@dataclass(frozen=True)
class Sensitivity:
    """What one layer's weights in few bits do to the network.

    Args:
        layer: its name.
        bits: of its weights.
        noise: mean square of the logits' change.
        sqnr_db: of the logits, in dB; inf where nothing changed.
        accuracy: fraction right; None without labels.
        bytes: of its weights' codes and scales (float32, one a channel).
    """

    layer: str
    bits: int
    noise: float
    sqnr_db: float
    accuracy: float | None
    bytes: int


def weight_bytes(layer: Weighted, bits: int) -> int:
    """Bytes of codes of so many bits, packed, and of one float32 scale for each output channel.

    >>> from course_lib.models import sign_student
    >>> from course_lib.quantization.graph import layer_graph
    >>> first = layer_graph(sign_student(0.5)).layers[0]  # 8 channels of 27 weights
    >>> assert isinstance(first, Weighted)
    >>> weight_bytes(first, 8), weight_bytes(first, 4)
    (248, 140)
    """
    return -(-layer.weight.numel() * bits // 8) + 4 * len(layer.bias)


def sensitivity(
    graph: LayerGraph, images: Tensor, bits: Sequence[int], labels: Tensor | None = None
) -> list[Sensitivity]:
    """One row a layer and number of bits, in the order of execution.

    Args:
        images: (N, C, H, W), float32 in [0, 1], N ≥ 1; with labels, from the part that chooses.
        bits: each 2 … 16, symmetric and restricted, one scale an output channel.
        labels: (N,) or None.
    Raises: ValueError: no image, or bits out of range.

    >>> import torch
    >>> from course_lib.models import sign_student
    >>> from course_lib.quantization.graph import layer_graph
    >>> rows = sensitivity(layer_graph(sign_student(0.5)), torch.rand(4, 3, 32, 32), [3, 8])
    >>> len(rows), rows[0].noise > rows[1].noise
    (12, True)
    """
    if len(images) == 0:
        raise ValueError("there must be at least one image")
    whole, found = graph(images), []
    for layer in graph.layers:
        if isinstance(layer, Weighted):
            for number in bits:
                logits = graph.changed({layer.name: in_bits(layer, number)})(images)
                noise = float((logits - whole).double().square().mean())
                right = None if labels is None else float((logits.argmax(1) == labels).double().mean())
                size = weight_bytes(layer, number)
                found.append(Sensitivity(layer.name, number, noise, sqnr_db(whole, logits), right, size))
    return found


def in_bits(layer: Weighted, bits: int) -> Weighted:
    """The layer with weights that codes of so many bits stand for."""
    affine = min_max(layer.weight, Codes(bits, restricted=True), symmetric=True, axis=0)
    return replace(layer, weight=dequantize(quantize(layer.weight, affine), affine))


def bits_for_budget(rows: Sequence[Sensitivity], budget_bytes: int) -> dict[str, int]:
    """Bits of each layer's weights: the least sum of noises found whose bytes are within the budget.

    Args: rows: as ``sensitivity`` gives them: every layer with the same numbers of bits.
    Raises:
        ValueError: no rows, or layers with different numbers of bits.
        CourseError: even the fewest bits do not fit; it says what would.

    >>> told = [("a", 2, 9.0), ("a", 4, 1.0), ("b", 2, 3.0), ("b", 4, 2.0)]
    >>> rows = [Sensitivity(name, bits, noise, 0.0, None, bits) for name, bits, noise in told]
    >>> bits_for_budget(rows, 6)
    {'a': 4, 'b': 2}
    """
    table = _table(rows)
    chosen = {layer: min(options) for layer, options in table.items()}
    spent = sum(table[layer][bits].bytes for layer, bits in chosen.items())
    if spent > budget_bytes:
        raise CourseError(
            f"with the fewest bits the weights take {spent:,} bytes, more than {budget_bytes:,}",
            mend=f"allow {spent:,} bytes, or fewer bits",
        )
    while True:
        steps = [
            ((now.noise - option.noise) / max(1, option.bytes - now.bytes), layer, option)
            for layer, options in table.items()
            for now in [options[chosen[layer]]]
            for option in options.values()
            if option.bytes > now.bytes
            and option.noise < now.noise
            and spent + option.bytes - now.bytes <= budget_bytes
        ]
        if not steps:
            return chosen
        _, layer, option = max(steps, key=lambda step: step[0])
        spent += option.bytes - table[layer][chosen[layer]].bytes
        chosen[layer] = option.bits


def _table(rows: Sequence[Sensitivity]) -> Mapping[str, Mapping[int, Sensitivity]]:
    table: dict[str, dict[int, Sensitivity]] = {}
    for row in rows:
        table.setdefault(row.layer, {})[row.bits] = row
    if not table or len({tuple(sorted(options)) for options in table.values()}) != 1:
        raise ValueError("rows must hold every layer with the same numbers of bits")
    return table
