"""How hard the rendered signs are: every constant of the renderer that decides it, in one place.

A quantity that varies is given by its quantiles: the values at 0, 25, 50, 75 and 100 % of the signs (or frames), with
straight lines between. Two reasons. The tables read as a specification ("a quarter of the signs get less than half of
the light"), and mapping a uniform random number through straight lines needs only + − × ÷, which IEEE 754 defines to
the last bit: the drawn parameters are the same on every machine, while a Gaussian from ``exp`` and ``log`` would
not be.

What makes these images hard is what makes photographs hard: few pixels, blur, darkness, weather, things in front.
Labels stay legible, but for a few frames: the constants below were chosen by looking at contact sheets beside real ones
and at the mistakes of a small network; a first, harder set left frames that were black or all fog. What the shipped
networks reach stands in their cards.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Quantiles = tuple[float, float, float, float, float]


def quantile(u: np.ndarray, knots: Quantiles) -> np.ndarray:
    """Value at fraction ``u`` ∈ [0, 1) of a distribution given by its 0, 25, 50, 75 and 100 % quantiles.

    >>> quantile(np.array([0.0, 0.25, 0.5, 0.625]), (0.0, 1.0, 4.0, 6.0, 10.0)).tolist()
    [0.0, 1.0, 4.0, 5.0]
    """
    position = u * (len(knots) - 1)
    left = np.minimum(position.astype(np.int64), len(knots) - 2)
    table = np.asarray(knots, dtype=np.float64)
    return table[left] + (position - left) * (table[left + 1] - table[left])


@dataclass(frozen=True)
class Difficulty:
    """Distributions of what varies; lengths in native pixels, angles in degrees, probabilities in [0, 1]."""

    # One physical sign -------------------------------------------------------------------------------------
    first_size: Quantiles = (16, 18, 22, 27, 36)  # px, native side of the crop in the first, farthest frame
    last_size: Quantiles = (26, 34, 44, 56, 64)  # px, in the last, nearest frame
    gain: Quantiles = (0.35, 0.56, 0.84, 1.10, 1.60)  # exposure; 1 is right, above 1.5 whites clip
    backlight: float = 0.18  # probability that the sign stands against bright light
    backlight_ratio: Quantiles = (0.38, 0.48, 0.58, 0.68, 0.80)  # light on a backlit sign / light behind it
    gamma: Quantiles = (0.75, 0.90, 1.00, 1.10, 1.35)  # exponent of the camera's tone curve; 1 is a straight line
    fading: Quantiles = (0.0, 0.05, 0.12, 0.22, 0.42)  # share of the paint's colour that is gone
    dirt: Quantiles = (0.0, 0.05, 0.12, 0.22, 0.45)  # light lost in the dirtiest spots
    rotation: Quantiles = (-15, -3.5, 0, 3.5, 15)  # degrees, roll of the sign
    yaw: Quantiles = (-38, -12, 0, 12, 38)  # degrees, camera left or right of the sign
    pitch: Quantiles = (-20, -6, 0, 6, 20)  # degrees, camera below or above the sign
    foliage: float = 0.12  # probability of leaves in front
    foliage_cover: Quantiles = (0.03, 0.06, 0.10, 0.14, 0.20)  # share of the sign
    sticker: float = 0.12  # probability of a sticker on the plate
    sticker_cover: Quantiles = (0.01, 0.02, 0.04, 0.06, 0.10)  # share of the sign
    shadow: float = 0.35  # probability that something casts a shadow on the sign
    shadow_depth: Quantiles = (0.15, 0.24, 0.34, 0.44, 0.55)  # share of the light that a shadow takes
    rain: float = 0.10  # probability; the three kinds of weather exclude one another
    fog: float = 0.10  # probability
    night: float = 0.10  # probability
    fog_density: Quantiles = (0.12, 0.20, 0.28, 0.37, 0.46)  # share of grey in the first frame
    night_gain: Quantiles = (0.26, 0.34, 0.44, 0.57, 0.80)  # exposure at night, in place of ``gain``
    # One frame ---------------------------------------------------------------------------------------------
    blur: Quantiles = (0.20, 0.34, 0.48, 0.66, 1.00)  # px, standard deviation of the defocus
    motion: float = 0.35  # probability of motion blur
    motion_length: Quantiles = (0.5, 0.9, 1.3, 1.8, 3.0)  # px
    noise: Quantiles = (0.002, 0.004, 0.008, 0.012, 0.022)  # standard deviation at mid grey, 1 is white
    shift: float = 0.07  # largest shift of the sign, in half crops
    half_size: Quantiles = (0.66, 0.74, 0.78, 0.82, 0.90)  # sign's half side / crop's half side

    def without(self, *effects: str) -> Difficulty:
        """The same difficulty with some probabilities set to 0: everything else of each image stays as it was."""
        values = dict(self.__dict__)
        for effect in effects:
            if effect not in PROBABILITIES:
                raise ValueError(f"effects must be among {PROBABILITIES}, got {effect!r}")
            values[effect] = 0.0
        return Difficulty(**values)


PROBABILITIES = ("backlight", "foliage", "sticker", "shadow", "rain", "fog", "night", "motion")
DEFAULT = Difficulty()
