"""Other ways to spend few bits: floats of 16 and 8 bits, and powers of two, beside the evenly spaced affine codes.

A float with E exponent and M mantissa bits has 2^M evenly spaced values in every octave: its step grows with the
number, and the *relative* error stays. Below the least normal exponent the step stays (subnormal numbers), so that it
comes down to 0 evenly. ``round_to`` computes what a cast does: the nearest value, a half to the even mantissa.

IEEE 754-2019 (FP16); Micikevicius et al. 2022, arXiv:2209.05433, table 1 (FP8); Miyashita et al. 2016,
arXiv:1603.01025, section 3 (powers of two).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from course_lib.arguments import tensors


@dataclass(frozen=True)
class FloatFormat:
    """A binary float with a sign, E exponent and M mantissa bits.

    Args:
        name: as the field writes it.
        mantissa_bits: M, without the leading 1.
        least_exponent: of a normal number, 1 − bias.
        largest: finite value.
        infinity: whether there is one; without it what is too large becomes the largest value.

    >>> E4M3.largest, E5M2.largest, FP16.tiniest
    (448.0, 57344.0, 5.960464477539063e-08)
    """

    name: str
    mantissa_bits: int
    least_exponent: int
    largest: float
    infinity: bool = True

    @property
    def tiniest(self) -> float:
        """The smallest value above 0, which is subnormal."""
        return 2.0 ** (self.least_exponent - self.mantissa_bits)


FP16 = FloatFormat("FP16", 10, -14, 65504.0)
BF16 = FloatFormat("BF16", 7, -126, (2 - 2**-7) * 2.0**127)
E5M2 = FloatFormat("E5M2", 2, -14, 57344.0)
E4M3 = FloatFormat("E4M3", 3, -6, 448.0, infinity=False)
"""Its exponent field of ones holds numbers, too; only one code of each sign is NaN (``float8_e4m3fn``)."""


def round_to(x: Tensor, form: FloatFormat, *, saturate: bool = False) -> Tensor:
    """The nearest values of a float format, as float32; a half goes to the even mantissa.

    Args:
        x: float32, any shape; NaN stays NaN.
        saturate: what is too large becomes the largest finite value, as inference hardware does it; else ±inf where
            the format has it, as PyTorch's casts do it.
    Matches: x.to(torch.float16 | bfloat16 | float8_e5m2 | float8_e4m3fn).float().

    >>> round_to(torch.tensor([1.06, 17.0, 500.0]), E4M3)
    tensor([  1.,  16., 448.])
    >>> round_to(torch.tensor([1e6, -torch.inf]), E5M2), round_to(torch.tensor([1e6]), E5M2, saturate=True)
    (tensor([inf, -inf]), tensor([57344.]))
    """
    tensors(x=x)
    wide = x.double()
    exponent = torch.frexp(wide).exponent - 1  # x = ±1.… · 2^exponent
    step = torch.exp2((exponent.clamp(min=form.least_exponent) - form.mantissa_bits).double())
    found = (wide / step).round() * step
    over = found.abs() > form.largest
    beyond = found.sign() * (torch.inf if form.infinity and not saturate else form.largest)
    return torch.where(over, beyond, found).float()


def round_to_power_of_two(x: Tensor, bits: int) -> Tensor:
    """0 or ±2^k, with the 2^(b−1) − 1 exponents up to that of the largest value; a multiplication becomes a shift.

    The exponent is that of the nearest power on the logarithmic scale; what lies below half of the least power is 0.

    Args: x: floats, any shape, finite. bits: 2 … 8, with the sign.
    Raises: ValueError: bits are out of range, or x is not finite.

    >>> round_to_power_of_two(torch.tensor([1.0, -0.6, 0.3, 0.01]), 3)
    tensor([ 1.0000, -0.5000,  0.2500,  0.0000])
    """
    if isinstance(bits, bool) or not isinstance(bits, int) or not 2 <= bits <= 8:
        raise ValueError(f"bits must be an integer in 2 … 8, got {bits!r}")
    if not bool(x.isfinite().all()):
        raise ValueError("x holds NaN or infinite values")
    if not bool(x.any()):
        return torch.zeros_like(x)
    exponents = x.double().abs().log2().round()
    top = exponents.max()
    least = top - (2 ** (bits - 1) - 2)
    kept = torch.exp2(exponents.clamp(min=least))
    kept = torch.where(x.double().abs() < torch.exp2(least - 1), torch.zeros_like(kept), kept)
    return (x.sign().double() * kept).to(x.dtype)
