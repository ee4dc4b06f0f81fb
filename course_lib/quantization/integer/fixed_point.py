"""Real factors without real numbers: an integer multiplier and a rounding shift.

Between two layers stands a factor M = S_x·S_w / S_y, a real number below 1 as a rule. Integer hardware writes it as

    M = m · 2^(−s),      m an integer of 31 bits, 2^30 ≤ m < 2^31

and computes round(acc · M) as one wide multiplication and one shift to the right that rounds. Here are two ways of
rounding, because two kinds of machine are in use:

* **Hardware** (``HardwareFactor``): as gemmlowp and TensorFlow Lite's reference kernels do it. The high half of the
  doubled product, halves upwards; then a shift, halves away from 0. Two roundings.
* **Runtime** (``RuntimeFactor``): as ONNX Runtime does it on x86. It converts the accumulator to float32, multiplies by
  M in float32, and rounds to the nearest integer, halves to even. A float32 is itself an integer of 24 bits and a
  shift, so the same three roundings are done here with integers: acc to 24 significant bits, the product to 24
  significant bits, the product to an integer.

Jacob et al. 2018, arXiv:1712.05877, section 2.2 and appendix B; IEEE 754-2019, section 4.3.1 (halves to even).
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

FLOAT_BITS = 24
"""Significant bits of a float32."""
MULTIPLIER_BITS = 31


def shift_half_even(x: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """round(x · 2^(−shift)), a half to the even neighbour, int64.

    Args: x: integers. shift: 0 … 62, one or broadcasting.

    >>> shift_half_even(np.array([1, 3, 5, -1, -3, 7]), 1).tolist()
    [0, 2, 2, 0, -2, 4]
    """
    x, shift = np.asanyarray(x, np.int64), np.asanyarray(shift, np.int64)
    whole = x >> shift  # towards −∞
    rest = x - (whole << shift)  # 0 ≤ rest < 2^shift
    half = (np.int64(1) << shift) >> 1
    up = (rest > half) | ((rest == half) & (whole & 1 == 1) & (shift > 0))
    return whole + up


def shift_half_away(x: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """round(x · 2^(−shift)), a half away from 0, int64: gemmlowp's RoundingDivideByPOT.

    Args: x: integers. shift: 0 … 62, one or broadcasting.

    >>> shift_half_away(np.array([1, 3, 5, -1, -3, 7]), 1).tolist()
    [1, 2, 3, -1, -2, 4]
    """
    x, shift = np.asanyarray(x, np.int64), np.asanyarray(shift, np.int64)
    whole = x >> shift
    rest = x - (whole << shift)
    half = (np.int64(1) << shift) >> 1
    return whole + ((rest > half) | ((rest == half) & (x >= 0) & (shift > 0)))


def doubling_high_multiply(x: np.ndarray, multiplier: np.ndarray | int) -> np.ndarray:
    """round(x · multiplier / 2^31), a half upwards, int64: gemmlowp's SaturatingRoundingDoublingHighMul.

    Args: x, multiplier: in int32's range. −2^31 · −2^31, the one product that saturates, gives 2^31 − 1.

    >>> doubling_high_multiply(np.array([2, 3, -3]), 2**30).tolist()  # times a half
    [1, 2, -1]
    """
    product = np.asanyarray(x, np.int64) * np.asanyarray(multiplier, np.int64)
    return np.minimum((product + (1 << 30)) >> 31, 2**31 - 1)


def significant(x: np.ndarray, bits: int = FLOAT_BITS) -> np.ndarray:
    """x to so many significant bits, a half to even, int64: what converting to a float of that precision does.

    Args: x: integers, |x| < 2^62. bits: ≥ 1.

    >>> significant(np.array([2**24 + 1, 2**24 + 3, -(2**24) - 1])).tolist(), 2**24
    ([16777216, 16777220, -16777216], 16777216)
    """
    x = np.asanyarray(x, np.int64)
    drop = np.maximum(_bit_length(np.abs(x)) - bits, 0)
    return shift_half_even(x, drop) << drop


def _bit_length(x: np.ndarray) -> np.ndarray:
    """Bits of x ≥ 0, by halving; 0 has none."""
    length = np.zeros(x.shape, np.int64)
    for step in (32, 16, 8, 4, 2, 1):
        large = x >> step > 0
        length += step * large
        x = np.where(large, x >> step, x)
    return length + (x > 0)


@dataclass(frozen=True, eq=False)
class HardwareFactor:
    """M ≈ multiplier · 2^(−31 − shift), as integer-only hardware has it.

    Args:
        multiplier: int64, 2^30 … 2^31 − 1, one or one a channel.
        shift: int64, the same shape, to the right; −30 … 31, below 0 to the left and before the multiplication.

    >>> factor = HardwareFactor.of(np.float32(0.0072))
    >>> factor.multiplier.item(), factor.shift.item()
    (1979120896, 7)
    >>> factor(np.array([1000, -1000, 70])).tolist()  # 7.2, −7.2, 0.504
    [7, -7, 1]
    """

    multiplier: np.ndarray
    shift: np.ndarray

    @classmethod
    def of(cls, factor: np.ndarray | np.floating) -> HardwareFactor:
        """The nearest 31 bits to a real factor.

        Raises: ValueError: a factor that is not finite, not > 0, or outside 2^−32 … 2^30.
        """
        multiplier, exponent = _parts(np.asanyarray(factor, np.float64), MULTIPLIER_BITS, -32, 30)
        return cls(multiplier, -exponent - MULTIPLIER_BITS)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """round(x · M), int64, of x in int32's range; a factor a channel belongs to x's last axis."""
        left, right = np.maximum(-self.shift, 0), np.maximum(self.shift, 0)
        # Saturated: a product beyond 63 bits would wrap around, and what is beyond 32 bits is far outside all codes.
        wide = np.clip(np.asanyarray(x, np.int64) << left, -(2**31), 2**31 - 1)
        return shift_half_away(doubling_high_multiply(wide, self.multiplier), right)


@dataclass(frozen=True, eq=False)
class RuntimeFactor:
    """M = multiplier · 2^(−shift) exactly, a float32 taken apart.

    Args:
        multiplier: int64, 2^23 … 2^24 − 1, one or one a channel.
        shift: int64, the same shape, 16 … 62.

    >>> factor = RuntimeFactor.of(np.float32(0.0072))
    >>> factor.multiplier.item(), factor.shift.item()
    (15461882, 31)
    >>> factor(np.array([1000, -1000, 70])).tolist(), RuntimeFactor.of(np.float32(0.5))(np.array([1, 3])).tolist()
    ([7, -7, 1], [0, 2])
    """

    multiplier: np.ndarray
    shift: np.ndarray

    @classmethod
    def of(cls, factor: np.ndarray | np.floating) -> RuntimeFactor:
        """A float32 factor, taken apart without loss.

        Raises: ValueError: a factor that is not finite, not > 0, or outside 2^−39 … 2^7.
        """
        multiplier, exponent = _parts(np.asanyarray(factor, np.float32), FLOAT_BITS, -39, 7)
        return cls(multiplier, -exponent)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """What round(float32(x) · M) gives in float32, int64, wherever the result lies in −512 … 512.

        Farther away the result is right to 24 bits, and any clamp to 8 bits hides the rest. A factor a channel belongs
        to x's last axis.
        """
        x = np.asanyarray(x, np.int64)
        if bool((np.abs(x) >= 1 << FLOAT_BITS).any()):
            x = significant(x)
        product = x * self.multiplier
        found = shift_half_even(product, self.shift)
        # Rounding the product to 24 bits first moves it by at most 2^(shift − 16) where |result| < 512. That changes
        # the outcome only this near to a half: these few are done in full.
        distance = np.abs(product - (product >> self.shift << self.shift) - (np.int64(1) << self.shift >> 1))
        near = distance <= np.int64(1) << (self.shift - 16)
        if bool(near.any()):
            shift = np.broadcast_to(self.shift, product.shape)[near]
            found[near] = shift_half_even(significant(product[near]), shift)
        return found


def _parts(factor: np.ndarray, bits: int, least: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """m, e of the factor's shape, int64: factor ≈ m · 2^e with 2^(bits − 1) ≤ m < 2^bits."""
    if not bool(np.isfinite(factor).all() and (factor > 0).all()):
        raise ValueError(f"a factor between two scales must be finite and > 0, got {_shown(factor)}")
    if not bool((factor >= 2.0**least).all() and (factor < 2.0**most).all()):
        raise ValueError(f"a factor must lie in 2^{least} … 2^{most} to have {bits} bits, got {_shown(factor)}")
    pairs = [_mantissa(Fraction(float(value)), bits) for value in factor.flat]
    mantissa, exponent = np.array(pairs, np.int64).reshape(-1, 2).T
    return mantissa.reshape(factor.shape), exponent.reshape(factor.shape)


def _shown(factor: np.ndarray) -> str:
    return f"{factor}" if factor.ndim == 0 else f"{factor.min()} … {factor.max()}"


def _mantissa(value: Fraction, bits: int) -> tuple[int, int]:
    """m, e of one value > 0, m rounded half to even."""
    exponent = value.numerator.bit_length() - value.denominator.bit_length() - bits
    while value >= Fraction(2) ** (exponent + bits):
        exponent += 1
    mantissa = round(value / Fraction(2) ** exponent)
    if mantissa == 1 << bits:
        mantissa, exponent = mantissa >> 1, exponent + 1
    return mantissa, exponent
