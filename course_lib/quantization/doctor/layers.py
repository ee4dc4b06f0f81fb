"""Layer by layer: how far the suspect's tensors are from the reference's, alone and together.

*Together*: in its own network, behind all that went wrong before. *Alone*: fed with what the reference's layer reads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from course_lib.quantization.doctor.parts import Part

BREAKS_DB = 24.0
"""A layer alone with less signal to noise is broken; 8 bits give 30 dB and more."""
LOGITS_SHARE = 1e-3
"""Noise / signal that one layer alone may make in the logits (30 dB)."""
LARGEST_SHARE = 1e9
"""Noise / signal of what has nothing in common; infinity has no place in JSON."""
LARGEST_DB = 150.0
"""Of two tensors that do not differ."""


@dataclass(frozen=True)
class LayerRow:
    """One layer of both models.

    Args:
        name: of the layer.
        kind: convolution, linear, sum, …
        alone_db: signal to noise when it reads what the reference's layer reads, in dB.
        together_db: signal to noise in its own network, in dB.
        operator_db: of its result before it is rounded to codes, within their range, alone, in dB.
        rounding_db: of the reference's own tensor sent through the suspect's codes, in dB; None if it stays in float.
        weight_db: of its weights, in dB; None without weights.
        weight_bits: that its weights use; None if they are floats.
        low: the reference's smallest value here.
        high: the reference's largest.
        ends: smallest and largest number that the suspect's codes stand for; None if it stays in float.
        codes: how many these are; None if it stays in float.
        clipped_low: share of the reference's values below the range.
        clipped_high: share above it.
        dead: channels that are 0 throughout in the suspect alone, and not in the reference.
        channels: that there are.
        alone_in_logits: noise / signal in the logits when only this layer is the suspect's.
        flips_alone: answers that change then.
    """

    name: str
    kind: str
    alone_db: float
    together_db: float
    operator_db: float
    rounding_db: float | None
    weight_db: float | None
    weight_bits: float | None
    low: float
    high: float
    ends: tuple[float, float] | None
    codes: int | None
    clipped_low: float
    clipped_high: float
    dead: int
    channels: int
    alone_in_logits: float
    flips_alone: int

    @property
    def broken(self) -> bool:
        """Whether it is wrong although what it reads is right."""
        return self.alone_db < BREAKS_DB or self.alone_in_logits > LOGITS_SHARE

    @property
    def used(self) -> float:
        """Which part of the suspect's range the reference's values take up, in 0..1; 1 if it stays in float."""
        if self.ends is None or self.ends[1] <= self.ends[0]:
            return 1.0
        inside = min(self.high, self.ends[1]) - max(min(self.low, 0.0), self.ends[0])
        return max(0.0, inside) / (self.ends[1] - self.ends[0])


def noise_share(signal: np.ndarray, found: np.ndarray) -> float:
    """Σ(x − x̂)² / Σx²; 0 for equal tensors.

    >>> noise_share(np.array([3.0, 4.0]), np.array([3.0, 3.5]))
    0.01
    """
    if signal.shape != found.shape:
        return LARGEST_SHARE
    noise = float(np.square(signal.astype(np.float64) - found).sum())
    power = float(np.square(signal, dtype=np.float64).sum())
    if not np.isfinite(noise):
        return LARGEST_SHARE
    if noise == 0:
        return 0.0
    return min(noise / power, LARGEST_SHARE) if power else LARGEST_SHARE


def decibels(signal: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise in dB, within ±``LARGEST_DB``.

    >>> round(decibels(np.array([3.0, 4.0]), np.array([3.0, 3.5])), 2), decibels(np.ones(2), np.ones(2))
    (20.0, 150.0)
    """
    share = noise_share(signal, found)
    if share == 0:
        return LARGEST_DB
    return float(np.clip(-10 * np.log10(share), -LARGEST_DB, LARGEST_DB))


def bits_used(codes: np.ndarray) -> float:
    """log₂ of the number of codes between the largest weight and its negative.

    >>> round(bits_used(np.array([-63, 5])), 2), round(bits_used(np.array([7, -3])), 2)
    (6.99, 3.91)
    """
    return float(np.log2(2 * np.abs(codes).max(initial=0) + 1))


def layer_row(
    reference: Part,
    suspect: Part,
    expected: np.ndarray,
    alone: tuple[np.ndarray, np.ndarray],
    together: np.ndarray,
    logits: tuple[np.ndarray, np.ndarray],
) -> LayerRow:
    """Measure one layer.

    Args: reference, suspect: the layer in both files. expected (N, C, …): what the reference gives. alone: what the
        suspect gives of the reference's inputs, before and after its codes. together: in its own network.
        logits: the reference's own, and with only this layer the suspect's.
    """
    rounding = suspect.rounding
    ends = rounding.ends if rounding else None
    raw, wanted = (np.clip(x, *ends) if ends else x for x in (alone[0], expected))
    weight, other = reference.weight, suspect.weight
    axes = tuple(axis for axis in range(expected.ndim) if axis != 1)
    dead = (np.ptp(alone[1], axes) == 0) & (np.ptp(expected, axes) > 0)
    return LayerRow(
        name=reference.name,
        kind=reference.kind,
        alone_db=decibels(expected, alone[1]),
        together_db=decibels(expected, together),
        operator_db=decibels(wanted, raw),
        rounding_db=decibels(expected, rounding(expected)) if rounding else None,
        weight_db=decibels(weight.values, other.values) if weight and other else None,
        weight_bits=bits_used(other.codes) if other is not None and other.codes is not None else None,
        low=float(expected.min()),
        high=float(expected.max()),
        ends=ends,
        codes=rounding.high - rounding.low + 1 if rounding else None,
        clipped_low=float((expected < ends[0] - rounding.scale / 2).mean()) if rounding and ends else 0.0,
        clipped_high=float((expected > ends[1] + rounding.scale / 2).mean()) if rounding and ends else 0.0,
        dead=int(dead.sum()),
        channels=len(dead),
        alone_in_logits=noise_share(*logits),
        flips_alone=int((logits[0].argmax(1) != logits[1].argmax(1)).sum()),
    )
