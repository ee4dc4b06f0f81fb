"""Which layer hurts, and how many bits shall each have? One layer at a time in few bits, all others left in float32.

Two measures of the hurt. The *signal-to-noise ratio* of the logits needs no labels and no luck: noise of independent
layers adds up, so it can be summed. *Accuracy* is what counts, and says nothing until a sign flips. The first decides,
the second judges (``sensitivity`` gives both).

**Mixed precision.** Given the noise that each layer makes at each number of bits, choose the bits so that the sum of
the noises is least while the weights fit a budget of bytes (``bits_for_budget``). Layer by layer, every choice so far
that no other one beats in bytes and noise is kept: the best of the last layer's list is the least sum there is. (Giving
bits step by step to the layer with the most noise for a byte is shorter, and fails where the small layers have spent
what a large one needs for its next step.) The sum is a model: layers disturb one another, so the chosen network must be
measured as a whole.

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

CHOICES = 10_000
"""So many choices of bits for the layers so far are kept, at most."""


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
    """Bits of each layer's weights: the least sum of noises whose bytes are within the budget.

    The sum is the least there is as long as no more than ``CHOICES`` choices must be kept at a layer; from there on it
    is the least up to noise for a ``CHOICES``-th of the budget a layer.

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
    needed = sum(min(option.bytes for option in options.values()) for options in table.values())
    if needed > budget_bytes:
        raise CourseError(
            f"with the fewest bits the weights take {needed:,} bytes, more than {budget_bytes:,}",
            mend=f"allow {needed:,} bytes, or fewer bits",
        )
    kept: list[_Choice] = [(0, 0.0, ())]
    for options in table.values():
        needed -= min(option.bytes for option in options.values())  # by the layers still to come
        longer = [
            (size + option.bytes, noise + option.noise, (*bits, option.bits))
            for size, noise, bits in kept
            for option in options.values()
            if size + option.bytes + needed <= budget_bytes
        ]
        kept = _unbeaten(longer, budget_bytes)
    return dict(zip(table, kept[-1][2], strict=True))


_Choice = tuple[int, float, tuple[int, ...]]
"""Bytes, sum of noises, and the bits of the layers so far."""


def _unbeaten(choices: list[_Choice], budget_bytes: int) -> list[_Choice]:
    """Those with less noise than all that take no more bytes; if too many, the best of each slice of the budget."""
    found: list[_Choice] = []
    for choice in sorted(choices):
        if not found or choice[1] < found[-1][1]:
            found.append(choice)
    if len(found) > CHOICES:
        found = list({CHOICES * choice[0] // max(1, budget_bytes): choice for choice in found}.values())
    return found


def _table(rows: Sequence[Sensitivity]) -> Mapping[str, Mapping[int, Sensitivity]]:
    table: dict[str, dict[int, Sensitivity]] = {}
    for row in rows:
        table.setdefault(row.layer, {})[row.bits] = row
    if not table or len({tuple(sorted(options)) for options in table.values()}) != 1:
        raise ValueError("rows must hold every layer with the same numbers of bits")
    return table
