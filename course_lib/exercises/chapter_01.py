"""Measuring.

The exercises of chapter 01: what a layer costs in operations and in bytes, what a list of times says, and how fast a
layer could be at best.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

from course_lib.exercises.engine.exercise import Exercise, Mistake
from course_lib.measure import total_macs
from course_lib.measure.roofline import attainable_gflops


def conv_macs(conv: nn.Conv2d, height: int, width: int) -> int:
    """MACs = H_out · W_out · C_out · (C_in / groups) · k_h · k_w, for one image of height × width."""
    k_h, k_w = conv.kernel_size
    h_out = (height + 2 * conv.padding[0] - k_h) // conv.stride[0] + 1
    w_out = (width + 2 * conv.padding[1] - k_w) // conv.stride[1] + 1
    return h_out * w_out * conv.out_channels * (conv.in_channels // conv.groups) * k_h * k_w


def _conv_inputs(rng: np.random.Generator) -> tuple[nn.Conv2d, int, int]:
    groups = int(rng.integers(2, 5))
    c_in, c_out = (groups * int(n) for n in rng.permutation(np.arange(2, 7))[:2])
    kernel = tuple(int(k) for k in rng.permutation([1, 3, 5])[:2])
    conv = nn.Conv2d(c_in, c_out, kernel, stride=2, padding=int(rng.integers(0, 3)), groups=groups)
    return conv, int(rng.integers(12, 40)), int(rng.integers(41, 65))


macs = Exercise(
    id="01.1",
    title="MACs of a convolution",
    points=2,
    reference=conv_macs,
    examples=[
        (nn.Conv2d(3, 8, 3, padding=1), 4, 4),
        (nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8), 32, 32),
    ],
    inputs=_conv_inputs,
    hints=[
        "Each number of the output is one dot product. How long is it, and how many outputs are there?",
        "One output reads k_h · k_w pixels of C_in / groups channels; there are C_out · H_out · W_out outputs.",
        "H_out = (H + 2·padding − k_h) // stride + 1; conv.kernel_size, conv.stride and conv.padding are pairs.",
    ],
    mistakes=[
        Mistake(
            lambda conv, height, width: conv_macs(conv, height, width) * conv.groups,
            "You forgot the groups: with groups, a filter sees only C_in / groups of the input channels.",
        ),
        Mistake(
            lambda conv, height, width: height * width * conv.weight.numel(),
            "You used the size of the input: the dot products are counted where they end, in H_out × W_out, which "
            "stride and padding make different from H × W.",
        ),
        Mistake(
            lambda conv, height, width: 2 * conv_macs(conv, height, width),
            "Twice too much: you counted FLOPs. One multiply-accumulate (MAC) is a multiplication and an addition, "
            "so 2 FLOPs.",
        ),
        Mistake(
            lambda conv, height, width: conv_macs(conv, height, width) // (conv.kernel_size[0] * conv.kernel_size[1]),
            "You forgot the kernel: each output reads k_h · k_w pixels of every channel, not one.",
        ),
        Mistake(
            lambda conv, height, width: conv_macs(conv, height, width) // conv.kernel_size[1] * conv.kernel_size[0],
            "You squared the kernel's height: kernels may be rectangular, k_h · k_w.",
        ),
        Mistake(
            lambda conv, height, width: conv.weight.numel(),
            "That is the number of weights: each of them is used once for every one of the H_out · W_out positions.",
        ),
    ],
    alternatives=[
        lambda conv, height, width: total_macs(conv, (1, conv.in_channels, height, width)),
        lambda conv, height, width: (
            conv.weight.numel() * conv(conv.weight.new_zeros(conv.in_channels, height, width))[0].numel()
        ),
    ],
    explanation="""
        $H_{out} W_{out} C_{out} \\cdot \\frac{C_{in}}{groups} \\cdot k_h k_w$: the number of outputs times the length
        of the dot product behind each. The bias is an addition per output and is not counted. The library counts a
        whole model with `course_lib.measure.total_macs`, layer by layer, while it runs.
    """,
)


def compare_times(baseline_ms: Any, variant_ms: Any) -> tuple[float, float, float]:
    """(p50, p95, ratio): the variant's median and 95th percentile in ms, and baseline / variant, paired by round."""
    baseline_ms, variant_ms = np.asarray(baseline_ms), np.asarray(variant_ms)
    p50, p95 = np.percentile(variant_ms, [50, 95])
    # Both times of a round meet the same clock and the same neighbours: what they share cancels in their ratio.
    return float(p50), float(p95), float(np.median(baseline_ms / variant_ms))


def _time_inputs(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    # Odd, and (n − 1)·0.95 whole: all definitions of median and p95 agree, so none is a mistake.
    rounds = int(rng.choice([21, 41, 61]))
    drift = 1 + np.cumsum(rng.gamma(2.0, 0.02, rounds))
    baseline, variant = (mean * drift * rng.lognormal(0, 0.15, rounds) for mean in rng.uniform([3, 1], [5, 2]))
    return baseline, variant


def _plain_times(baseline_ms: Any, variant_ms: Any) -> tuple[float, float, float]:
    times = sorted(float(t) for t in variant_ms)
    ratios = [float(a) / float(b) for a, b in zip(baseline_ms, variant_ms, strict=True)]
    return statistics.median(times), times[int(0.95 * len(times))], statistics.median(ratios)


def _with(change: Any) -> Any:
    """compare_times with one of its three results replaced by ``change(baseline, variant) -> (index, value)``."""

    def wrong(baseline_ms: Any, variant_ms: Any) -> tuple[float, ...]:
        results = list(compare_times(baseline_ms, variant_ms))
        index, value = change(np.asarray(baseline_ms), np.asarray(variant_ms))
        results[index] = float(value)
        return tuple(results)

    return wrong


times = Exercise(
    id="01.2",
    title="Median, p95 and the ratio of interleaved runs",
    points=3,
    reference=compare_times,
    inputs=_time_inputs,
    hints=[
        "One slow run, when something else woke up, must not move the result much: which average ignores it?",
        "p95: 95 % of the runs are at most this slow. np.percentile(times, 95).",
        "Round i gives one pair (aᵢ, bᵢ) timed within milliseconds: first divide, then take the median.",
    ],
    mistakes=[
        Mistake(
            _with(lambda a, b: (0, b.mean())),
            "The first result is a mean: a single interrupted run moves it. The median (p50) does not care how late "
            "the latest run was.",
        ),
        Mistake(
            _with(lambda a, b: (1, b.max())),
            "The second result is the maximum, one unlucky run. p95 is the time that 95 % of the runs keep.",
        ),
        Mistake(
            _with(lambda a, b: (1, np.percentile(b, 5))),
            "The second result is the fast end: p95 is the time that 95 % of the runs stay below, so a slow one.",
        ),
        Mistake(
            _with(lambda a, b: (2, np.median(b / a))),
            "The ratio is upside down: baseline / variant, so that above 1 means that the variant is faster.",
        ),
        Mistake(
            _with(lambda a, b: (2, np.median(a) / np.median(b))),
            "The ratio of two medians throws the pairing away: the machine's drift stays in it. Divide round by "
            "round, then take the median of the ratios.",
        ),
        Mistake(
            _with(lambda a, b: (2, a.mean() / b.mean())),
            "The ratio of two means throws the pairing away and lets one interrupted run move it. Divide round by "
            "round, then take the median of the ratios.",
        ),
        Mistake(
            _with(lambda a, b: (2, (a / b).mean())),
            "The ratio is a mean over rounds: one interrupted run moves it. Take the median of the ratios.",
        ),
    ],
    alternatives=[_plain_times],
    explanation="""
        Latency has a long right tail: the median says what is usual, p95 what a deadline must allow for. In an
        interleaved run round $i$ times both variants one after the other, so that a slower clock multiplies both and
        cancels in $a_i / b_i$. The library adds an interval by drawing rounds with replacement:
        `course_lib.measure.bootstrap_ratio`.
    """,
)


def least_time_ms(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    """The time in ms below which the roofline does not let this layer go: 2·MACs / min(P, I·B)."""
    flop = 2 * macs
    return flop / attainable_gflops(flop / bytes_moved, peak_gflops, bandwidth_gbs) / 1e6


def _layer_inputs(rng: np.random.Generator) -> tuple[int, int, float, float]:
    peak, bandwidth = float(rng.uniform(20, 200)), float(rng.uniform(5, 40))
    bytes_moved = int(rng.integers(10_000, 1_000_000))
    # On either side of the ridge P/B, by at least a factor of 2: no two mistakes then agree.
    intensity = peak / bandwidth * float(rng.choice([rng.uniform(0.05, 0.5), rng.uniform(2.5, 20)]))
    return round(intensity * bytes_moved / 2), bytes_moved, peak, bandwidth


def _compute_ms(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return 2 * macs / (peak_gflops * 1e6)


def _memory_ms(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return bytes_moved / (bandwidth_gbs * 1e6)


roofline = Exercise(
    id="01.3",
    title="The least time of a layer",
    points=2,
    reference=least_time_ms,
    examples=[(1_000_000, 40_000, 100.0, 10.0), (1_000_000, 1_000_000, 100.0, 10.0)],
    inputs=_layer_inputs,
    hints=[
        "Two things must be done: 2·MACs operations, and moving the bytes. How long does each take alone?",
        "The two overlap, so the slower one decides: the larger of the two times.",
        "1 GFLOP/s is 10⁹ operations per second, which is 10⁶ per millisecond; GB/s in the same way.",
    ],
    mistakes=[
        Mistake(
            lambda *layer: max(_compute_ms(*layer) / 2, _memory_ms(*layer)),
            "You divided MACs by FLOP/s. One MAC is a multiplication and an addition: 2 FLOP.",
        ),
        Mistake(
            lambda *layer: _compute_ms(*layer) + _memory_ms(*layer),
            "You added the two times. A processor fetches the next numbers while it computes, so at best the shorter "
            "time hides behind the longer one.",
        ),
        Mistake(
            lambda *layer: min(_compute_ms(*layer), _memory_ms(*layer)),
            "You took the shorter time. Both jobs must be finished: speeds are limited by the smaller roof, "
            "so times by the larger.",
        ),
        Mistake(lambda *layer: least_time_ms(*layer) / 1000, "The value is in seconds; milliseconds are asked for."),
        Mistake(
            lambda *layer: least_time_ms(*layer) * 1e9 / 2**30,
            "You took giga for 2³⁰. In GFLOP/s and GB/s it is 10⁹ (2³⁰ bytes are a GiB).",
        ),
        Mistake(
            _compute_ms,
            "You counted operations only. A layer that moves many bytes for few operations waits for memory.",
        ),
        Mistake(
            _memory_ms,
            "You counted bytes only. A layer that does many operations per byte is limited by the arithmetic units.",
        ),
        Mistake(
            lambda macs, bytes_moved, peak_gflops, bandwidth_gbs: (
                2 * macs / min(peak_gflops, bytes_moved / (2 * macs) * bandwidth_gbs) / 1e6
            ),
            "Your intensity is upside down: it is operations per byte, 2·MACs / bytes.",
        ),
    ],
    alternatives=[lambda *layer: max(_compute_ms(*layer), _memory_ms(*layer))],
    explanation="""
        $t \\ge \\max(2\\,\\mathrm{MACs}/P,\\ \\mathrm{bytes}/B)$, which is the roofline
        $\\min(P, I \\cdot B)$ read as a time. It is a bound, no forecast: no layer is faster (unless its numbers lie
        in a cache), and small layers are far slower.
    """,
)


def weight_bytes(shape: Sequence[int], bits: int) -> int:
    """⌈elements · bits / 8⌉ bytes of packed codes, and 4 bytes for the FP32 scale of each output channel."""
    codes = math.ceil(math.prod(shape) * bits / 8)
    return codes + 4 * shape[0]


def _weight_inputs(rng: np.random.Generator) -> tuple[tuple[int, ...], int]:
    c_out, c_in, k_h, k_w = (int(rng.choice(sizes)) for sizes in ((5, 17, 33), (3, 7, 11), (1, 3), (3, 5)))
    return (c_out, c_in, k_h, k_w), int(rng.choice([2, 4, 8]))


size = Exercise(
    id="01.4",
    title="Bytes of a quantized weight",
    points=2,
    reference=weight_bytes,
    examples=[((2, 1, 3, 3), 8), ((1, 1, 3, 3), 4)],
    inputs=_weight_inputs,
    hints=[
        "Two things are stored: the codes, `bits` each, and the scales that turn codes back into numbers.",
        "A byte has 8 bits; what does not fill the last byte still takes a whole one: math.ceil.",
        "The output channels are shape[0]; each has one scale of 4 bytes.",
    ],
    mistakes=[
        Mistake(
            lambda shape, bits: math.ceil(math.prod(shape) * bits / 8),
            "You forgot the scales: without them nobody can turn the codes back into weights. One FP32 scale for each "
            "output channel is 4 bytes each.",
        ),
        Mistake(
            lambda shape, bits: math.ceil(math.prod(shape) * bits / 8) + 4,
            "You stored one scale for the whole tensor; here each of the shape[0] output channels has its own.",
        ),
        Mistake(
            lambda shape, bits: math.ceil(math.prod(shape) * bits / 8) + 4 * shape[1],
            "You counted the input channels, shape[1]. A PyTorch convolution stores its weight as (C_out, C_in, k_h, "
            "k_w), and the scales belong to the outputs.",
        ),
        Mistake(
            lambda shape, bits: math.prod(shape) * bits // 8 + 4 * shape[0],
            "You rounded down: the last codes need a byte too, even if they do not fill it.",
        ),
        Mistake(
            lambda shape, bits: math.prod(shape) + 4 * shape[0],
            "You gave each code a whole byte. Packed, two 4-bit codes or four 2-bit codes share one.",
        ),
        Mistake(
            lambda shape, bits: math.prod(shape) * bits / 8 + 4 * shape[0],
            "A file has no half bytes: round the codes up to whole bytes (math.ceil).",
        ),
        Mistake(
            lambda shape, bits: math.ceil(math.prod(shape) * bits / 8) + 8 * shape[0],
            "8 bytes for each channel: a scale and a zero point? These codes are symmetric, 0 stands for 0.0, and no "
            "zero point is stored.",
        ),
        Mistake(lambda shape, bits: math.prod(shape) * bits + 32 * shape[0], "These are bits; a byte has 8 of them."),
    ],
    alternatives=[
        lambda shape, bits: (math.prod(shape) * bits + 7) // 8 + 4 * shape[0],
        lambda shape, bits: -(-math.prod(shape) * bits // 8) + np.zeros(shape[0], np.float32).nbytes,
    ],
    explanation="""
        $\\lceil n \\cdot b / 8 \\rceil + 4\\,C_{out}$ bytes. FP32 → 8 bits is 4 times smaller only where the scales do
        not count: a filter of nine weights takes 36 bytes in FP32 and 9 + 4 = 13 in INT8, 2.8 times less. The file
        adds the graph, and whatever stays in FP32.
    """,
)
