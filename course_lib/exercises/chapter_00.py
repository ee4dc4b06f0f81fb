"""Start here.

The exercises of chapter 00: read a ledger, and send four weights through eight bits and back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from course_lib.exercises.engine.exercise import Exercise, Mistake

Row = dict[str, float]


def compare_rows(first: Row, other: Row) -> tuple[float, float, float]:
    """(times smaller, times faster, points lost): bytes and p50 of ``first`` over ``other``, and 100·(accuracy lost).

    Args:
        first, other: rows with "accuracy" (a fraction), "bytes", "parameters", "macs", "p50_ms" and "p95_ms".
    """
    smaller = first["bytes"] / other["bytes"]
    faster = first["p50_ms"] / other["p50_ms"]
    return smaller, faster, 100 * (first["accuracy"] - other["accuracy"])


def _rows(rng: np.random.Generator) -> tuple[Row, Row]:
    accuracy, lost = rng.uniform(0.93, 0.99), rng.uniform(0.002, 0.03)
    parameters, macs, p50 = rng.uniform(1e6, 5e6), rng.uniform(30e6, 300e6), rng.uniform(0.8, 4.0)
    fewer, p50_ratio = rng.uniform(8, 30), rng.uniform(4, 30)
    first = {"accuracy": accuracy, "bytes": 4 * parameters + 20e3, "parameters": parameters, "macs": macs}
    other = {"accuracy": accuracy - lost, "bytes": parameters / fewer + 8e3, "parameters": parameters / fewer}
    first |= {"p50_ms": p50, "p95_ms": p50 * rng.uniform(1.1, 1.4)}
    other |= {"macs": macs / rng.uniform(35, 60), "p50_ms": p50 / p50_ratio}
    other["p95_ms"] = other["p50_ms"] * rng.uniform(1.5, 2.5)
    return tuple({key: round(float(value), 4) for key, value in row.items()} for row in (first, other))


def _with(index: int, change: Any) -> Any:
    """compare_rows with one of its three results replaced by ``change(first, other)``."""

    def wrong(first: Row, other: Row) -> tuple[float, ...]:
        results = list(compare_rows(first, other))
        results[index] = change(first, other)
        return tuple(results)

    return wrong


read_ledger = Exercise(
    id="00.1",
    title="Read two rows of a ledger",
    points=2,
    reference=compare_rows,
    examples=[
        (
            {"accuracy": 0.98, "bytes": 4000, "parameters": 1000, "macs": 60000, "p50_ms": 2.0, "p95_ms": 2.4},
            {"accuracy": 0.97, "bytes": 500, "parameters": 250, "macs": 6000, "p50_ms": 0.5, "p95_ms": 0.8},
        ),
    ],
    inputs=_rows,
    hints=[
        "“× smaller” and “× faster” are above 1 when the second row is better: what must stand on top?",
        "A file is weighed in bytes and a network timed in ms. Which columns are neither?",
        "Points are differences of percentages: from 98 % to 97 % is 1 point.",
    ],
    mistakes=[
        Mistake(
            _with(0, lambda first, other: other["bytes"] / first["bytes"]),
            "“Times smaller” is upside down: the first row's bytes over the other's, so that 8 means an eighth.",
        ),
        Mistake(
            _with(0, lambda first, other: first["parameters"] / other["parameters"]),
            "You compared parameters, not bytes: a parameter may take four bytes or one, and a file holds more than "
            "parameters.",
        ),
        Mistake(
            _with(1, lambda first, other: other["p50_ms"] / first["p50_ms"]),
            "“Times faster” is upside down: the first row's time over the other's, so that 4 means a fourth of the "
            "time.",
        ),
        Mistake(
            _with(1, lambda first, other: first["macs"] / other["macs"]),
            "That is a ratio of MACs, not of times: a multiplication saved is not always time saved. Divide ms by ms.",
        ),
        Mistake(
            _with(1, lambda first, other: first["p95_ms"] / other["p95_ms"]),
            "You divided p95, the slow tail. The usual time, which “× faster” is about, is the median: p50.",
        ),
        Mistake(
            _with(2, lambda first, other: 100 * (1 - other["accuracy"] / first["accuracy"])),
            "You gave per cent of the accuracy, not points: points are a plain difference of two percentages.",
        ),
        Mistake(
            _with(2, lambda first, other: first["accuracy"] - other["accuracy"]),
            "The accuracies are fractions: a difference of 0.01 is 1 point. Multiply by 100.",
        ),
        Mistake(
            _with(2, lambda first, other: 100 * (other["accuracy"] - first["accuracy"])),
            "The sign: points *lost* are positive when the second row is less accurate.",
        ),
    ],
    alternatives=[
        lambda a, b: tuple([a[k] / b[k] for k in ("bytes", "p50_ms")] + [1e2 * a["accuracy"] - 1e2 * b["accuracy"]])
    ],
    explanation="""
        Smaller is about bytes, faster is about time, lost is about points; each has one column. The ledger's own
        “× faster” is a little better than p50 over p50: it divides the two times of each round before it takes the
        median, so that a clock that slows down cancels out. Chapter 01 shows the difference.
    """,
)


def round_trip(x: Any, low: float, high: float) -> tuple[float, int, np.ndarray, np.ndarray]:
    """(S, Z, q, x̂): scale, zero point, codes in 0..255 (uint8) and S·(q − Z), for the range [low, high].

    Args:
        x: (N,), numbers to store; some may lie outside the range.
        low, high: the range seen in calibration, low < high.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    zero_point = round(-low / scale)
    codes = np.clip(np.round(np.asarray(x) / scale) + zero_point, 0, 255).astype(np.uint8)
    return scale, zero_point, codes, scale * (codes.astype(np.float64) - zero_point)


def _ranges(rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
    low, high = (0.5, 3.0) if rng.random() < 0.3 else (float(-rng.uniform(0.3, 2)), float(rng.uniform(0.3, 3)))
    x = rng.uniform(low, high, 6)
    # One number beyond each end, as happens when a range was calibrated on other data.
    return np.round([*x, high + 0.4 * (high - low), low - 0.6 * (high - low)], 3), round(low, 3), round(high, 3)


def _quantizer(
    *, with_zero: bool = True, steps: int = 255, offset: bool = True, clamp: bool = True, rounding: Any = np.round
) -> Any:
    """``round_trip`` with one of its decisions made otherwise."""

    def wrong(x: Any, low: float, high: float) -> tuple[float, int, np.ndarray, np.ndarray]:
        low, high = (min(low, 0.0), max(high, 0.0)) if with_zero else (low, high)
        scale = (high - low) / steps
        zero_point = round(-low / scale)
        q = rounding(np.asarray(x) / scale) + zero_point
        codes = (np.clip(q, 0, 255) if clamp else q.astype(np.int64)).astype(np.uint8)
        return scale, zero_point, codes, scale * (codes.astype(np.float64) - (zero_point if offset else 0))

    return wrong


def _multiples(x: Any, low: float, high: float) -> tuple[float, int, np.ndarray, np.ndarray]:
    codes = np.clip(np.round(np.asarray(x) / 2**8), 0, 255).astype(np.uint8)
    return 2.0**8, 0, codes, codes * 2.0**8


def _with_torch(x: Any, low: float, high: float) -> tuple[float, int, torch.Tensor, torch.Tensor]:
    low, high = min(0.0, low), max(0.0, high)
    scale = (high - low) / 255
    z = int(np.rint(-low / scale))
    q = (torch.as_tensor(x, dtype=torch.float64) / scale).round().add(z).clamp(0, 255).to(torch.uint8)
    return scale, z, q, (q.double() - z) * scale


affine = Exercise(
    id="00.2",
    title="Eight bits and back",
    points=3,
    reference=round_trip,
    examples=[
        (np.array([-0.5, 0.0, 0.25, 1.0]), -0.5, 1.0),
        (np.array([0.0, 5.0, 5.5, 6.0]), 5.0, 6.0),
        (np.array([-1.0, 0.3, 2.0, 9.0]), -1.0, 2.0),
    ],
    inputs=_ranges,
    hints=[
        "First stretch the range until it holds 0: padding and ReLU produce zeros, and a zero must survive exactly.",
        "From 0 to 255 there are 255 steps: S = (high − low) / 255. Z is the code of 0: round(−low / S).",
        "q = clip(round(x / S) + Z, 0, 255), and only then .astype(np.uint8). Back: S · (q − Z).",
        "uint8 cannot be negative: turn the codes into floats before you subtract Z.",
    ],
    mistakes=[
        Mistake(
            _multiples,
            "2⁸ is the number of codes, not the size of a step: you rounded to multiples of 256, which turns every "
            "small weight into 0. The step comes from the range: S = (high − low) / 255.",
        ),
        Mistake(
            _quantizer(with_zero=False),
            "The range must hold 0: with low = 5 no code stands for 0. Take min(low, 0) and max(high, 0) first.",
        ),
        Mistake(
            _quantizer(clamp=False),
            "Numbers beyond the range wrap around: a cast to uint8 makes 256 a 0. Clip to 0..255 first, then cast.",
        ),
        Mistake(
            _quantizer(offset=False),
            "The way back forgets the zero point: x̂ = S · (q − Z), or everything is shifted by S · Z.",
        ),
        Mistake(
            _quantizer(steps=256),
            "256 codes have 255 steps between them: S = (high − low) / 255.",
        ),
        Mistake(
            _quantizer(rounding=np.trunc),
            "You cut the fraction off instead of rounding: the error then reaches a whole step, not half a step.",
        ),
    ],
    alternatives=[_with_torch],
    explanation="""
        $q = \\mathrm{clip}(\\mathrm{round}(x/S) + Z,\\ 0,\\ 255)$ and back $\\hat x = S\\,(q - Z)$. Inside the range
        the error is at most $S/2$, a half step; outside it is whatever was clipped. Chapter 10 derives $S$ and $Z$, and
        asks which range is best.
    """,
)
