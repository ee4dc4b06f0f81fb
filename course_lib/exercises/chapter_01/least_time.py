"""01.4: the roofline, read as a time."""

from __future__ import annotations

import numpy as np
import torch

from course_lib.exercises.engine.exercise import Exercise
from course_lib.measure.roofline import attainable_gflops, ridge_intensity

ex = Exercise(
    "01.4",
    "The least time of a layer",
    points=2,
    trials=6,  # the fixed cases alone show each mistake
    hints=[
        "Two things must be done: 2·MACs operations, and moving the bytes. How long does each take alone?",
        "The two overlap, so the slower one decides: the larger of the two times.",
        "1 GFLOP/s is 10⁹ operations per second, which is 10⁶ per millisecond; GB/s in the same way.",
    ],
    explanation="""
        $t \\ge \\max(2\\,\\mathrm{MACs}/P,\\ \\mathrm{bytes}/\\beta)$, which is the roofline
        $\\min(P, I \\cdot \\beta)$ read as a time. It is a bound, no forecast: no layer is faster if all of its bytes
        come from main memory (those that lie in a cache come faster), and small layers are far slower.
    """,
)


@ex.reference
def least_time_ms(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    """max(2·MACs/P, bytes/β) in ms: the roofline does not let this layer be faster.

    Args:
        macs, bytes_moved: of the layer.
        peak_gflops: P, in 10⁹ FLOP per second. bandwidth_gbs: β, in 10⁹ bytes per second.
    """
    compute_s = 2 * macs / (peak_gflops * 1e9)
    memory_s = bytes_moved / (bandwidth_gbs * 1e9)
    return 1000 * max(compute_s, memory_s)


@ex.case("many operations per byte: 0.02 ms to compute, 0.004 ms to move")
def bound_by_compute() -> tuple[int, int, float, float]:
    return 1_000_000, 40_000, 100.0, 10.0


@ex.case("few operations per byte: 0.02 ms to compute, 0.1 ms to move")
def bound_by_memory() -> tuple[int, int, float, float]:
    return 1_000_000, 1_000_000, 100.0, 10.0


@ex.case("a small layer: 0.00002 ms to compute, 0.00006 ms to move")
def small_layer() -> tuple[int, int, float, float]:
    return 1000, 600, 100.0, 10.0


@ex.case("a layer on the ridge: 0.05 ms to compute, 0.05 ms to move")
def on_the_ridge() -> tuple[int, int, float, float]:
    return 2_000_000, 1_000_000, 80.0, 20.0


@ex.case("a layer a little beyond the ridge: 7.5 FLOP a byte, where the ridge lies at 5")
def beyond_the_ridge() -> tuple[int, int, float, float]:
    return 1_500_000, 400_000, 100.0, 20.0


@ex.inputs
def random_layer(rng: np.random.Generator) -> tuple[int, int, float, float]:
    """On either side of the ridge, by at least a factor of 2.5: no two mistakes then agree."""
    peak, bandwidth = round(float(rng.uniform(20, 200)), 1), round(float(rng.uniform(5, 40)), 1)
    bytes_moved = int(rng.integers(10_000, 1_000_000))
    intensity = peak / bandwidth * float(rng.choice([rng.uniform(0.05, 0.4), rng.uniform(2.5, 20)]))
    return round(intensity * bytes_moved / 2), bytes_moved, peak, bandwidth


@ex.mistake("You divided MACs by FLOP/s. One MAC is a multiplication and an addition: 2 FLOP.")
def macs_for_flop(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return 1000 * max(macs / (peak_gflops * 1e9), bytes_moved / (bandwidth_gbs * 1e9))


@ex.mistake("Half of the time: the work is W = 2·MACs also where the speed is the roof's; you divided MACs by it.")
def macs_over_roof(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return least_time_ms(macs, bytes_moved, peak_gflops, bandwidth_gbs) / 2


@ex.mistake("Your intensity counts MACs per byte. It is FLOP per byte, I = 2·MACs / bytes.")
def intensity_in_macs(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return 2 * macs / min(peak_gflops, macs / bytes_moved * bandwidth_gbs) / 1e6


@ex.mistake("You compared MACs per byte with the ridge, which counts FLOP per byte: the intensity is 2·MACs / bytes.")
def ridge_in_macs(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    if macs / bytes_moved >= peak_gflops / bandwidth_gbs:
        return 2 * macs / peak_gflops / 1e6
    return bytes_moved / bandwidth_gbs / 1e6


@ex.mistake("Your intensity is upside down: it is operations per byte, 2·MACs / bytes.")
def intensity_upside_down(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return 2 * macs / min(peak_gflops, bytes_moved / (2 * macs) * bandwidth_gbs) / 1e6


@ex.mistake(
    "You added the two times. A processor fetches the next numbers while it computes, so at best the shorter time "
    "hides behind the longer one."
)
def sum_of_both(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return 1000 * (2 * macs / (peak_gflops * 1e9) + bytes_moved / (bandwidth_gbs * 1e9))


@ex.mistake(
    "You took the shorter time. Both jobs must be finished: speeds are limited by the smaller roof, so times by the "
    "larger."
)
def shorter_time(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return 1000 * min(2 * macs / (peak_gflops * 1e9), bytes_moved / (bandwidth_gbs * 1e9))


@ex.mistake("You counted operations only. A layer that moves many bytes for few operations waits for memory.")
def compute_only(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return 1000 * 2 * macs / (peak_gflops * 1e9)


@ex.mistake("You counted bytes only. A layer that does many operations per byte is limited by the arithmetic units.")
def memory_only(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return 1000 * bytes_moved / (bandwidth_gbs * 1e9)


@ex.mistake("The value is in seconds; milliseconds are asked for.")
def in_seconds(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return least_time_ms(macs, bytes_moved, peak_gflops, bandwidth_gbs) / 1000


@ex.mistake("The value is in microseconds; milliseconds are asked for.")
def in_microseconds(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return 1000 * least_time_ms(macs, bytes_moved, peak_gflops, bandwidth_gbs)


@ex.mistake(
    "The giga is missing, and the milliseconds: you divided by GFLOP/s and GB/s as if they were FLOP/s and B/s, which "
    "gives nanoseconds. 1 GFLOP/s is 10⁶ operations per ms."
)
def in_nanoseconds(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return max(2 * macs / peak_gflops, bytes_moved / bandwidth_gbs)


@ex.mistake("The giga is missing: 1 GFLOP/s is 10⁹ operations per second, and 1 GB/s is 10⁹ bytes per second.")
def giga_forgotten(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return 1000 * max(2 * macs / peak_gflops, bytes_moved / bandwidth_gbs)


@ex.mistake("You took giga for 2³⁰. In GFLOP/s and GB/s it is 10⁹ (2³⁰ bytes are a GiB).")
def giga_as_power_of_two(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return least_time_ms(macs, bytes_moved, peak_gflops, bandwidth_gbs) * 1e9 / 2**30


@ex.mistake("Bytes are counted already: bytes_moved is no number of FP32 values, so not times 4.")
def bytes_times_four(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return least_time_ms(macs, 4 * bytes_moved, peak_gflops, bandwidth_gbs)


@ex.mistake("GB/s counts bytes, and so does bytes_moved: no factor of 8 for bits.")
def bytes_as_bits(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return least_time_ms(macs, 8 * bytes_moved, peak_gflops, bandwidth_gbs)


@ex.mistake("Four FLOP a MAC: a MAC is one multiplication and one addition, 2 FLOP.")
def four_flop_a_mac(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return least_time_ms(2 * macs, bytes_moved, peak_gflops, bandwidth_gbs)


@ex.mistake("You exchanged the roofs: operations are divided by the peak in FLOP/s, bytes by the bandwidth.")
def roofs_exchanged(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return least_time_ms(macs, bytes_moved, bandwidth_gbs, peak_gflops)


@ex.mistake("You took the mean of both times. The two overlap: the longer one decides.")
def mean_of_both(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return sum_of_both(macs, bytes_moved, peak_gflops, bandwidth_gbs) / 2


@ex.mistake("You rounded to three decimals: a small layer takes less than a microsecond, and that is not 0.")
def rounded(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return round(least_time_ms(macs, bytes_moved, peak_gflops, bandwidth_gbs), 3)


@ex.mistake("That is the speed that the roof allows, in GFLOP/s. The time is the work over that speed.")
def speed_for_time(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    return min(peak_gflops, 2 * macs / bytes_moved * bandwidth_gbs)


@ex.mistake("You returned both times. One number is asked for: the longer of the two is the bound.")
def both_times(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> tuple[float, float]:
    return 1000 * 2 * macs / (peak_gflops * 1e9), 1000 * bytes_moved / (bandwidth_gbs * 1e9)


@ex.alternative
def under_the_roof(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    flop = 2 * macs
    return flop / attainable_gflops(flop / bytes_moved, peak_gflops, bandwidth_gbs) / 1e6


@ex.alternative
def by_the_ridge(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> float:
    if 2 * macs / bytes_moved >= ridge_intensity(peak_gflops, bandwidth_gbs):
        return 2e-6 * macs / peak_gflops
    return 1e-6 * bytes_moved / bandwidth_gbs


@ex.alternative
def in_numpy(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> np.floating:
    return (np.array([2 * macs, bytes_moved]) / np.array([peak_gflops, bandwidth_gbs])).max() / 1e6


@ex.alternative
def in_float32(macs: int, bytes_moved: int, peak_gflops: float, bandwidth_gbs: float) -> torch.Tensor:
    work, speed = torch.tensor([2.0 * macs, 1.0 * bytes_moved]), torch.tensor([peak_gflops, bandwidth_gbs])
    return (work / (speed * 1e6)).amax()
