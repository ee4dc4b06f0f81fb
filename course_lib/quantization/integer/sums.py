"""The sum of two tensors with different scales, in integers: a residual network's meeting point.

    S_c·(q_c − Z_c) = S_a·(q_a − Z_a) + S_b·(q_b − Z_b)     ⇒     q_c = round(r_a·(q_a − Z_a) + r_b·(q_b − Z_b)) + Z_c

with r_a = S_a / S_c and r_b = S_b / S_c. Codes cannot be added as they are: a step of a and a step of b differ.

* **Hardware** (``HardwareSum``), as TensorFlow Lite's reference kernel: both inputs are shifted 20 bits to the left and
  multiplied by r / (2·max r), so that neither can overflow; the sum is multiplied by what is missing.
* **Runtime** (``RuntimeSum``), as ONNX Runtime on x86: r_b·q_b + F, then r_a·q_a + that, each a fused multiply-add in
  float32, with F = Z_c − (r_a·Z_a + r_b·Z_b) computed once. Its float32 numbers are integers on one common grid here.
  (On ARM the same runtime uses another kernel, with 22-bit integers: its own answers differ by processor.)

Jacob et al. 2018, arXiv:1712.05877, appendix A.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from course_lib.quantization.integer.fixed_point import (
    FLOAT_BITS,
    HardwareFactor,
    shift_half_even,
    significant,
)

Scale = np.ndarray | np.floating
LEFT_SHIFT = 20
"""Bits that the hardware's sum gains before its inputs are scaled."""


@dataclass(frozen=True, eq=False)
class HardwareSum:
    """q_c − Z_c from q_a and q_b, with three factors of 31 bits.

    Args:
        zero_a: zero point of a.
        zero_b: zero point of b.
        factor_a: r_a / (2·max r), at most a half.
        factor_b: r_b / (2·max r), at most a half.
        factor_c: 2·max r / 2^20.

    >>> total = HardwareSum.of(np.float32(0.5), 0, np.float32(0.25), 10, np.float32(1.0))
    >>> total(np.array([3, 3]), np.array([10, 20])).tolist()  # 1.5 + 0, a half away from 0; 1.5 + 2.5
    [2, 4]
    """

    zero_a: int
    zero_b: int
    factor_a: HardwareFactor
    factor_b: HardwareFactor
    factor_c: HardwareFactor

    @classmethod
    def of(cls, scale_a: Scale, zero_a: int, scale_b: Scale, zero_b: int, scale_c: Scale) -> HardwareSum:
        """From the three scales, float32."""
        a, b, c = (Fraction(float(scale)) for scale in (scale_a, scale_b, scale_c))
        twice = 2 * max(a, b)
        factors = (HardwareFactor.of(np.array(float(m))) for m in (a / twice, b / twice, twice / (c * 2**LEFT_SHIFT)))
        return cls(zero_a, zero_b, *factors)

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """q_c − Z_c, int64, of codes of one shape."""
        left = self.factor_a((a.astype(np.int64) - self.zero_a) << LEFT_SHIFT)
        right = self.factor_b((b.astype(np.int64) - self.zero_b) << LEFT_SHIFT)
        return self.factor_c(left + right)


@dataclass(frozen=True, eq=False)
class RuntimeSum:
    """q_c − Z_c from q_a and q_b, as float32 computes it, on a grid of 2^(−shift).

    Args:
        ratio_a: r_a · 2^shift, exactly.
        ratio_b: r_b · 2^shift, exactly.
        fixed: F · 2^shift, exactly.
        zero_c: the output's zero point, which F holds and the result does not.
        shift: 0 … 44.

    >>> total = RuntimeSum.of(np.float32(0.5), 0, np.float32(0.25), 10, np.float32(1.0), 7)
    >>> total(np.array([3, 3]), np.array([10, 20])).tolist()  # 1.5 + 7, a half to even, − 7; 1.5 + 2.5
    [1, 4]
    """

    ratio_a: int
    ratio_b: int
    fixed: int
    zero_c: int
    shift: int

    @classmethod
    def of(cls, scale_a: Scale, zero_a: int, scale_b: Scale, zero_b: int, scale_c: Scale, zero_c: int) -> RuntimeSum:
        """From three scales, float32, and zero points.

        Raises: ValueError: scales so far apart that the grid does not fit 64 bits.
        """
        ratio_a, ratio_b = (np.float32(scale) / np.float32(scale_c) for scale in (scale_a, scale_b))
        fixed = _fixed_part(ratio_a, zero_a, ratio_b, zero_b, zero_c)
        exact = [Fraction(float(value)) for value in (ratio_a, ratio_b, fixed)]
        shift = max(value.denominator.bit_length() - 1 for value in exact)
        a, b, offset = (int(value * 2**shift) for value in exact)
        if 256 * (a + b) + abs(offset) >= 1 << 62 or shift > 62:
            raise ValueError(f"the scales of a sum lie too far apart: {scale_a} and {scale_b} to {scale_c}")
        return cls(a, b, offset, zero_c, shift)

    def __call__(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """q_c − Z_c, int64, of codes of one shape."""
        first = b.astype(np.int64) * self.ratio_b + self.fixed
        found = shift_half_even(a.astype(np.int64) * self.ratio_a + first, self.shift)
        # Two roundings to 24 bits move the sum by at most this. They change the outcome only so near to a half: these
        # few are done in full.
        largest = 256 * (self.ratio_a + self.ratio_b) + abs(self.fixed)
        reach = 1 << max(largest.bit_length() - FLOAT_BITS, 0)
        exact = a.astype(np.int64) * self.ratio_a + first
        half = np.int64(1) << self.shift >> 1
        near = np.abs(exact - (exact >> self.shift << self.shift) - half) <= reach
        if bool(near.any()):
            total = significant(a[near].astype(np.int64) * self.ratio_a + significant(first[near]))
            found[near] = shift_half_even(total, self.shift)
        return found - self.zero_c


def _fixed_part(ratio_a: np.float32, zero_a: int, ratio_b: np.float32, zero_b: int, zero_c: int) -> np.float32:
    """Z_c − (r_a·Z_a + r_b·Z_b) in float32, the sum in brackets as one fused multiply-add."""
    product = np.float32(ratio_b * np.float32(zero_b))
    inner = Fraction(float(ratio_a)) * zero_a + Fraction(float(product))
    return np.float32(np.float32(zero_c) - _to_float32(inner))


def _to_float32(value: Fraction) -> np.float32:
    """The nearest float32, a half to even, rounded once."""
    if value == 0:
        return np.float32(0)
    exponent = value.numerator.bit_length() - value.denominator.bit_length() - FLOAT_BITS + 1
    if abs(value) < Fraction(2) ** (exponent + FLOAT_BITS - 1):
        exponent -= 1
    return np.float32(float(round(value / Fraction(2) ** exponent) * Fraction(2) ** exponent))
