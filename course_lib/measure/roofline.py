"""The roofline: how fast could this layer run here at best?

A layer does W floating-point operations (FLOP, two per MAC) and moves Q bytes. A processor that computes P FLOP/s and
moves B bytes/s needs at least W/P seconds to compute and at least Q/B seconds to move. If the two overlap perfectly,
the slower one decides:

    time ≥ max(W/P, Q/B)      ⇔      W/time ≤ min(P, I·B),   I = W/Q

I is the arithmetic intensity, in FLOP per byte. Below the *ridge* I = P/B a layer is bound by memory, above it by
compute. The choice made here is the classic one: Q is the least traffic possible (each tensor once), B is that of main
memory. Weights that stay in a cache arrive faster than B, so a small layer in a hot loop may lie above the slanted
roof; that is the cache, no error. Vendors' tools (Intel Advisor, Nsight Compute) draw one slanted roof per cache level
and read Q from hardware counters.

Source: Williams, Waterman and Patterson 2009, "Roofline", CACM 52(4), equation in section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from course_lib.measure.counting import LayerCount, count_layers


@dataclass(frozen=True)
class RooflinePoint:
    """One layer under the roof.

    Args:
        name: the layer's.
        intensity: FLOP per byte.
        gflops: achieved speed, GFLOP/s.
    """

    name: str
    intensity: float
    gflops: float


def attainable_gflops(intensity: float, peak_gflops: float, bandwidth_gbs: float) -> float:
    """min(P, I·B): the highest speed, in GFLOP/s, that the roofline allows.

    Args: intensity: I in FLOP/byte; peak_gflops: P in GFLOP/s; bandwidth_gbs: B in GB/s (10⁹ bytes).
    Raises: ValueError: one of them is not positive.

    >>> attainable_gflops(0.5, peak_gflops=100, bandwidth_gbs=20), attainable_gflops(50, 100, 20)
    (10.0, 100)
    """
    _positive(intensity=intensity, peak_gflops=peak_gflops, bandwidth_gbs=bandwidth_gbs)
    return min(peak_gflops, intensity * bandwidth_gbs)


def ridge_intensity(peak_gflops: float, bandwidth_gbs: float) -> float:
    """P/B: the intensity, in FLOP/byte, from which on compute and not memory is the limit.

    >>> ridge_intensity(peak_gflops=100, bandwidth_gbs=20)
    5.0
    """
    _positive(peak_gflops=peak_gflops, bandwidth_gbs=bandwidth_gbs)
    return peak_gflops / bandwidth_gbs


def achieved_gflops(macs: float, time_ms: float) -> float:
    """2·MACs / time, in GFLOP/s. Raises: ValueError: macs or time_ms is not positive.

    >>> achieved_gflops(macs=1e6, time_ms=0.1)
    20.0
    """
    _positive(macs=macs, time_ms=time_ms)
    return 2 * macs / (time_ms * 1e6)


def convolution_intensity(channels: int, size: int, kernel: int, groups: int, batch: int) -> float:
    """FLOP per byte of a same-size convolution without bias: channels → channels, size × size pixels, stride 1.

    Raises: ValueError: groups does not divide channels.

    >>> round(convolution_intensity(channels=8, size=4, kernel=3, groups=1, batch=1), 2)
    5.54
    >>> round(convolution_intensity(channels=8, size=4, kernel=3, groups=8, batch=1), 2)  # depthwise
    1.76
    """
    # On the "meta" device a layer has shapes and no numbers: nothing is computed.
    conv = nn.Conv2d(
        channels, channels, kernel, padding=kernel // 2, groups=groups, bias=False, device=torch.device("meta")
    )
    (row,) = count_layers(conv, (batch, channels, size, size)).values()
    return row.arithmetic_intensity


def roofline_points(counts: Mapping[str, LayerCount], times_ms: Mapping[str, float]) -> list[RooflinePoint]:
    """A point for every layer that was both counted and timed, in the order of ``counts``.

    Raises: ValueError: no layer stands in both.

    >>> row = LayerCount("fc", "Linear", 10, 8, (1, 2), weight_bytes=40, activation_bytes=24)
    >>> roofline_points({"fc": row}, {"fc": 0.001})
    [RooflinePoint(name='fc', intensity=0.25, gflops=0.016)]
    """
    points = [
        RooflinePoint(name, row.arithmetic_intensity, achieved_gflops(row.macs, times_ms[name]))
        for name, row in counts.items()
        if name in times_ms
    ]
    if not points:
        raise ValueError(f"counts and times_ms share no layer: {list(counts)[:3]} … and {list(times_ms)[:3]} …")
    return points


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
