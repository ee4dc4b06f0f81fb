"""Why a layer's weights or bias are not the reference's: told from the numbers in both files, no image is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from course_lib.quantization.doctor.layers import bits_used, decibels
from course_lib.quantization.doctor.parts import Part

GOOD_DB = 26.0
"""Weights of 6 bits and more are nearer to the reference's; those of 4 bits are not."""
SPREAD = 8.0
"""So many times the range of a layer's narrow channels fits into one scale before they lose three bits."""
Cause = tuple[str, str]
"""A kind of finding, and its evidence."""


def weight_cause(place: int, references: Sequence[Part], suspects: Sequence[Part]) -> Cause | None:
    """What is wrong with the weights of the layer at a place; None if nothing is."""
    one, other = references[place].weight, suspects[place].weight
    if one is None or other is None or one.values.shape != other.values.shape:
        return None
    db = decibels(one.values, other.values)
    shared = _one_scale(one.values, suspects[place])
    if db >= GOOD_DB:
        return shared
    for distant, part in enumerate(references):
        if distant != place and part.weight is not None and part.weight.values.shape == one.values.shape:
            found = decibels(part.weight.values, other.values)
            if found > max(15.0, db + 10):
                return "weights exchanged", f"they are those of {part.name} ({found:.0f} dB; its own {db:.0f} dB)"
    return _by_channel(place, references, suspects, db) or shared or _coarse(suspects[place], db)


def _coarse(suspect: Part, db: float) -> Cause:
    codes = suspect.weight.codes if suspect.weight else None
    if codes is not None and bits_used(codes) < 5.5:
        return "few weight bits", f"its weights use {bits_used(codes):.1f} bits, signal to noise {db:.0f} dB"
    return "weights differ", f"signal to noise of its weights {db:.0f} dB"


def _one_scale(weight: np.ndarray, suspect: Part) -> Cause | None:
    """One scale for channels of very different ranges."""
    constant = suspect.weight
    if constant is None or constant.codes is None or constant.scale is None or constant.scale.size > 1:
        return None
    ranges = np.abs(weight).reshape(len(weight), -1).max(1)
    ranges = ranges[ranges > 0]
    if len(ranges) < 2 or ranges.max() < SPREAD * np.quantile(ranges, 0.1):
        return None
    narrow = np.quantile(ranges, 0.1)
    return (
        "one scale for all channels",
        f"the widest channel's range is {ranges.max() / narrow:.0f} times that of the narrowest tenth, which have "
        f"{2 * narrow / float(constant.scale.reshape(-1)[0]) + 1:.0f} codes or fewer",
    )


def _by_channel(place: int, references: Sequence[Part], suspects: Sequence[Part], db: float) -> Cause | None:
    """Each channel's weights are the reference's times a factor of its own."""
    one, other = references[place].weight, suspects[place].weight
    assert one is not None
    assert other is not None
    rows, found = (x.values.reshape(len(x.values), -1).astype(np.float64) for x in (one, other))
    power = np.square(rows).sum(1)
    factors = np.where(power > 0, (rows * found).sum(1) / np.where(power > 0, power, 1), 1.0)
    explained = decibels(found, rows * factors[:, None])
    if explained < db + 6 or explained < 10:
        return None
    moved = np.flatnonzero(np.abs(factors - 1) > 0.04)
    if len(moved) == 0:
        return None
    silent = moved[np.abs(factors[moved]) < 1e-3]
    told = f"{len(moved)} of {len(factors)} channels are the reference's times {_span(factors[moved])}"
    if len(silent) == len(moved):
        return "dead channels", f"the weights of {len(silent)} of {len(factors)} channels are 0"
    scale = other.scale
    if scale is not None and scale.size == len(factors):
        own = np.sort(scale[moved] / factors[moved])
        if np.all(factors[moved] > 0) and np.allclose(own, np.sort(scale[moved]), rtol=0.1):
            return "channel scales swapped", f"{told}: each has another one's scale"
    if len(moved) == len(factors) and np.ptp(factors) < 0.05 * abs(factors.mean()):
        return "weights scaled", told
    both = len(moved) >= len(factors) / 4 and bias_cause(references[place], suspects[place])
    if len(moved) >= len(factors) / 2 or both:
        return "BatchNorm not folded", f"{told}, as if BatchNorm's factors were left out or of other statistics"
    return "weights scaled", told


def bias_cause(reference: Part, suspect: Part) -> Cause | None:
    """What is wrong with a layer's bias; None if nothing is."""
    one, other = reference.bias, suspect.bias
    if one is None or other is None or one.shape != other.shape or not one.any():
        return None
    db = decibels(one, other)
    if db >= 12:
        return None
    if np.abs(other).max() < 0.01 * np.abs(one).max():
        return "bias missing", f"it is 0; the reference's reaches {np.abs(one).max():.3g}"
    factor = float((one.astype(np.float64) * other).sum() / np.square(one, dtype=np.float64).sum())
    if decibels(other, one * factor) > 20:
        return "bias scaled", f"it is the reference's times {factor:.3g}"
    return "bias differs", f"signal to noise {db:.0f} dB"


def _span(factors: np.ndarray) -> str:
    low, high = float(factors.min()), float(factors.max())
    return f"{low:.2g}" if high - low < 0.01 * abs(high) else f"{low:.2g} … {high:.2g}"
