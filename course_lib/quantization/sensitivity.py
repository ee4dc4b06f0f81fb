"""Which layer hurts, and how many bits shall each have? One layer at a time in few bits, all others left in float32.

Two measures of the hurt. The *signal-to-noise ratio* of the logits needs no labels and no luck: noise of independent
layers adds up, so it can be summed. *Accuracy* is what counts, and says nothing until a sign flips. The first decides,
the second judges (``sensitivity`` gives both).

**Mixed precision.** Given the noise that each layer makes at each number of bits, choose the bits so that the sum of
the noises is least while the weights fit a budget, of bytes or of time (``bits_for_budget``). Layer by layer, every
choice so far that no other one beats in cost and noise is kept: the best of the last layer's list is the least sum
there is. (Giving bits step by step to the layer with the most noise for a byte is shorter, and fails where the small
layers have spent what a large one needs for its next step.) The sum is a model: layers disturb one another, so the
chosen network must be measured as a whole.

Dong et al. 2019, arXiv:1905.03696 (bits by sensitivity); Nagel et al. 2021, arXiv:2106.08295, section 3.7 (one layer at
a time).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from course_lib.errors import CourseError
from course_lib.quantization.affine import Codes, dequantize, min_max, quantize, sqnr_db
from course_lib.quantization.granularity import PerChannel
from course_lib.quantization.graph import LayerGraph, Weighted

CHOICES = 10_000
"""So many choices of bits for the layers so far are kept, at most."""
SLACK = 1e-9
"""A sum of costs in floats may exceed the budget by this part of it: 0.1 + 0.1 + 0.1 is more than 0.3."""


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
    return -(-layer.weight.numel() * bits // 8) + PerChannel(0).scale_bytes(layer.weight.shape)


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


def bits_for_budget(
    rows: Sequence[Sensitivity], budget: float, costs: Mapping[tuple[str, int], float] | None = None
) -> dict[str, int]:
    """Bits of each layer's weights: the least sum of noises whose cost is within the budget.

    The sum is the least there is as long as no more than ``CHOICES`` choices must be kept at a layer; from there on it
    is the least up to noise for a ``CHOICES``-th of the budget a layer.

    Args:
        rows: as ``sensitivity`` gives them: every layer with the same numbers of bits.
        budget: in bytes, or in the unit of ``costs``.
        costs: of each layer at each number of bits, ≥ 0, as milliseconds measured on the device; None: the rows' bytes.
            A sum of layers' times is a model, too: measure the whole.
    Raises:
        ValueError: no rows, layers with different numbers of bits, or a cost that is missing, negative or not finite.
        CourseError: even the cheapest bits do not fit; it says what would.

    >>> told = [("a", 2, 9.0), ("a", 4, 1.0), ("b", 2, 3.0), ("b", 4, 2.0)]
    >>> rows = [Sensitivity(name, bits, noise, 0.0, None, bits) for name, bits, noise in told]
    >>> bits_for_budget(rows, 6)
    {'a': 4, 'b': 2}
    >>> bits_for_budget(rows, 0.3, {("a", 2): 0.1, ("a", 4): 0.3, ("b", 2): 0.1, ("b", 4): 0.1})  # milliseconds
    {'a': 2, 'b': 4}
    """
    table, cost = _table(rows), _costs(rows, costs)
    limit = budget if costs is None else budget * (1 + SLACK)
    least = [min(cost[layer, bits] for bits in options) for layer, options in table.items()]
    needed = math.fsum(least)
    if needed > limit:
        amount = f"{needed:,.0f} bytes" if costs is None else f"{needed:g}"
        raise CourseError(
            f"with the cheapest bits the weights take {amount}, more than {budget:,}",
            mend=f"allow {amount}, or fewer bits",
        )
    return _least_noise(table, cost, least, limit)


def _least_noise(
    table: Mapping[str, Mapping[int, Sensitivity]],
    cost: Mapping[tuple[str, int], float],
    least: Sequence[float],
    limit: float,
) -> dict[str, int]:
    """Bits of each layer. Args: least: cost of the cheapest bits, layer by layer."""
    kept: list[_Choice] = [(0.0, 0.0, ())]
    for place, (layer, options) in enumerate(table.items()):
        later = math.fsum(least[place + 1 :])  # the layers still to come take as much
        longer = [
            (spent + cost[layer, bits], noise + option.noise, (*chosen, bits))
            for spent, noise, chosen in kept
            for bits, option in options.items()
            if spent + cost[layer, bits] + later <= limit
        ]
        kept = _unbeaten(longer, limit)
    return dict(zip(table, kept[-1][2], strict=True))


_Choice = tuple[float, float, tuple[int, ...]]
"""Cost, sum of noises, and the bits of the layers so far."""


def _costs(
    rows: Sequence[Sensitivity], costs: Mapping[tuple[str, int], float] | None
) -> Mapping[tuple[str, int], float]:
    if costs is None:
        return {(row.layer, row.bits): row.bytes for row in rows}
    for row in rows:
        found = costs.get((row.layer, row.bits))
        if found is None or not 0 <= found < math.inf:
            raise ValueError(f"costs must hold a number ≥ 0 for {row.layer} in {row.bits} bits, got {found}")
    return costs


def _unbeaten(choices: list[_Choice], limit: float) -> list[_Choice]:
    """Those with less noise than all that cost no more; if too many, the best of each slice of the budget."""
    found: list[_Choice] = []
    for choice in sorted(choices):
        if not found or choice[1] < found[-1][1]:
            found.append(choice)
    if len(found) > CHOICES:
        found = list({int(CHOICES * choice[0] / limit): choice for choice in found}.values())
    return found


def _table(rows: Sequence[Sensitivity]) -> Mapping[str, Mapping[int, Sensitivity]]:
    table: dict[str, dict[int, Sensitivity]] = {}
    for row in rows:
        table.setdefault(row.layer, {})[row.bits] = row
    if not table or len({tuple(sorted(options)) for options in table.values()}) != 1:
        raise ValueError("rows must hold every layer with the same numbers of bits")
    return table
