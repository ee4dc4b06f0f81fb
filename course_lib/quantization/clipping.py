"""Where should the codes end? A wide range rounds coarsely, a narrow one clips: the error of each, and the best clip.

b-bit codes, symmetric and restricted, lie evenly on −α … α. They are 2^b − 1 values, 2^b − 2 steps, of

    S = α / (2^(b−1) − 1).

A value x of density f gets one of two errors. Inside, it is *rounded*: the error is taken to be spread evenly over
−S/2 … S/2, and its mean square is ∫e²/S de = S²/12. Outside, it is *clipped* to α:

    E(α) = S²/12 · P(|x| ≤ α)  +  2·∫_α^∞ f(x)·(x − α)² dx                 mean squared error

           rounding, grows as α²     clipping, falls as fast as the tail

In units of the density's own scale, the standard deviation of a Gaussian and the b of a Laplacian exp(−|x|/b)/(2b):

    Gaussian     P = erf(α/√2)        clipping = (1 + α²)·erfc(α/√2) − α·√(2/π)·exp(−α²/2)
    Laplacian    P = 1 − exp(−α)      clipping = 2·exp(−α)

The clipping part is exact. The rounding part holds f constant within a step: at the best clip the sum is within 1 %
from four bits on, within 6 % at three and 25 % at two.

Banner et al. 2019, arXiv:1810.05723, section 3 (ACIQ) take 2^b steps, S = 2α/2^b, and P = 1: the difference matters for
few bits only. Bennett 1948, Bell System Technical Journal 27, for S²/12.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from course_lib.quantization.affine import Codes

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

DISTRIBUTIONS = ("gaussian", "laplacian")


@dataclass(frozen=True)
class ClipError:
    """Mean squared error of codes on −α … α, in squared units of the density's scale.

    Args:
        rounding: of what lies inside.
        clipping: of what lies outside.
    """

    rounding: float
    clipping: float

    @property
    def total(self) -> float:
        """Both."""
        return self.rounding + self.clipping


def clip_error(distribution: str, bits: int, alpha: float) -> ClipError:
    """The two errors of symmetric, restricted b-bit codes on −α … α, for a density of unit scale.

    Args:
        distribution: "gaussian" (standard deviation 1) or "laplacian" (b = 1: standard deviation √2).
        bits: 2 … 16.
        alpha: > 0 and finite.
    Raises: ValueError: one of them is out of range.
    Source: Banner et al. 2019, arXiv:1810.05723, section 3, there with 2^b steps.

    >>> found = clip_error("laplacian", 4, 5.0)
    >>> round(found.rounding, 5), round(found.clipping, 5)
    (0.04223, 0.01348)
    """
    if distribution not in DISTRIBUTIONS:
        raise ValueError(f"distribution must be one of {', '.join(DISTRIBUTIONS)}, got {distribution!r}")
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be > 0 and finite, got {alpha}")
    step = alpha / Codes(bits, restricted=True).high
    if distribution == "laplacian":
        outside, clipping = math.exp(-alpha), 2 * math.exp(-alpha)
    else:
        outside = math.erfc(alpha / math.sqrt(2))
        clipping = (1 + alpha**2) * outside - alpha * math.sqrt(2 / math.pi) * math.exp(-(alpha**2) / 2)
    return ClipError(step**2 / 12 * (1 - outside), max(clipping, 0.0))


def optimal_clip(distribution: str, bits: int) -> float:
    """The α of least ``clip_error``, in units of the density's scale.

    Args: as for ``clip_error``.
    Raises: ValueError: one of them is out of range.

    >>> [round(optimal_clip("laplacian", bits), 2) for bits in (4, 8)]
    [4.8, 9.88]
    """
    from scipy.optimize import minimize_scalar  # costs import time that most callers need not pay

    # Below α = 1 both densities clip more than any step could save; at α = 2b + 10 next to nothing is clipped.
    bounds = (1.0, 2.0 * Codes(bits).bits + 10)
    result = minimize_scalar(
        lambda alpha: clip_error(distribution, bits, alpha).total,
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-9},
    )
    return float(cast("OptimizeResult", result).x)


def sqnr_law_db(bits: int, crest: float = math.sqrt(3)) -> float:
    """What b bits can give: 20·log₁₀(2^b − 1) + 10·log₁₀(3) − 20·log₁₀(crest) ≈ 6.02·b + const, in dB.

    The 2^b − 1 steps of the range −R … R are S = 2R/(2^b − 1) wide, the noise is S²/12, and the signal's power is
    (R/crest)²: so signal over noise is 3·(2^b − 1)²/crest².

    Args:
        bits: 2 … 16.
        crest: R over the root mean square of the values, ≥ 1; √3 for values that are uniform on −R … R.
    Raises: ValueError: one of them is out of range.
    Source: Bennett 1948, Bell System Technical Journal 27, 446–472.

    >>> round(sqnr_law_db(8), 2), round(sqnr_law_db(8) - sqnr_law_db(7), 2)
    (48.13, 6.05)
    """
    if not 1 <= crest < math.inf:
        raise ValueError(f"crest must be ≥ 1 and finite, got {crest}")
    steps = Codes(bits, signed=False).high
    return 20 * math.log10(steps) + 10 * math.log10(3) - 20 * math.log10(crest)
