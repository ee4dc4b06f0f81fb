"""Ranges do not depend on how the data came, equal what PyTorch and ONNX Runtime define, and minimise what they say."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch

from course_lib.quantization.affine import Codes, dequantize, from_range, quantize
from course_lib.quantization.aware.preparing import Magnitudes
from course_lib.quantization.entropy import Entropy, shape_divergences
from course_lib.quantization.histogram import Histogram
from course_lib.quantization.observers import LeastSquares, MinMax, MovingAverage, Percentile


def draw(seed: int, count: int = 5000) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    values = rng.normal(rng.uniform(-1, 1), 1, count) * 10.0 ** rng.uniform(-3, 3)
    values[:3] *= 20
    return torch.tensor(rng.permutation(values), dtype=torch.float32)


KINDS = {
    "min-max": MinMax,
    "percentile": lambda: Percentile(99),
    "least squares": lambda: LeastSquares(Codes(4, signed=False)),
    "least squares, symmetric": lambda: LeastSquares(Codes(4), symmetric=True),
    "entropy": lambda: Entropy(32, 256),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("seed", range(4))
def test_batches_order_and_processes_do_not_change_the_range(kind, seed):
    x = draw(seed)
    whole, parts, first, second = kind(), kind(), kind(), kind()
    whole.update(x)
    for batch in x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))].split(613):
        parts.update(batch)
    first.update(x[:1234])
    second.update(x[1234:])
    second.merge(first)
    assert whole.ends() == parts.ends() == second.ends()


@pytest.mark.parametrize("seed", range(6))
def test_a_histogram_is_that_of_its_final_grid(seed):
    x = draw(seed).double() * 10.0 ** (3 * seed - 9)
    x = x.float()
    histogram = Histogram(64)
    for batch in x.split(7):
        histogram.update(batch)
    assert np.array_equal(histogram.counts, np.histogram(x.double().numpy(), histogram.edges)[0])
    assert histogram.total == len(x)
    reach = 32 * histogram.width
    assert reach / 2 <= x.abs().max() <= reach  # the width is the finest that holds all
    assert (histogram.low, histogram.high) == (x.min(), x.max())


@pytest.mark.parametrize("x", [[0.0], [1.0], [-1.0], [4.0, -4.0], [1e-38], [3e38, -1e-30], [-0.0]], ids=str)
def test_edges_are_counted_in_the_bin_that_they_begin(x):
    histogram = Histogram(8)
    histogram.update(torch.tensor(x))
    assert np.array_equal(histogram.counts, np.histogram(np.array(x, np.float32).astype(float), histogram.edges)[0])


def test_more_numbers_than_are_counted_at_once_are_all_counted():
    x = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    histogram = Histogram(256)
    histogram.update(x)
    assert np.array_equal(histogram.counts, np.histogram(x.double().numpy(), histogram.edges)[0])


def test_an_empty_batch_changes_nothing():
    for kind in (*KINDS.values(), MovingAverage):
        one, other = kind(), kind()
        for observer in (one, other):
            observer.update(draw(0))
        other.update(torch.zeros(0, 3))
        assert one.ends() == other.ends()


@pytest.mark.parametrize("seed", range(3))
def test_min_max_and_moving_average_are_pytorchs(seed):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ao = pytest.importorskip("torch.ao.quantization", reason="torch.ao is gone from this PyTorch")
        pairs = [(MinMax(), ao.MinMaxObserver()), (MovingAverage(0.05), ao.MovingAverageMinMaxObserver(0.05))]
        for ours, theirs in pairs:
            for batch in draw(seed).split(500):
                ours.update(batch)
                theirs(batch)
            assert ours.ends() == (theirs.min_val, theirs.max_val)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("percent", [60, 99, 99.9])
def test_a_percentile_is_the_quantile_to_a_bin(seed, percent):
    x = draw(seed)
    observer = Percentile(percent)
    observer.update(x)
    low, high = observer.ends()
    for beyond, end in (((x < low).sum(), low), ((x > high).sum(), high)):
        in_its_bin = ((x - end).abs() <= observer.histogram.width).sum()
        assert abs(beyond - (1 - percent / 100) / 2 * len(x)) <= in_its_bin + 1


def test_one_signed_values_are_clipped_at_one_end():
    x = torch.linspace(0, 1, 10_001)
    for sign in (1, -1):
        observer = Percentile(90)
        observer.update(sign * x)
        ends = [end.item() for end in observer.ends()]
        assert sorted(abs(end) for end in ends) == pytest.approx([0, 0.9], abs=observer.histogram.width)


def test_the_whole_range_is_the_hundredth_percentile():
    x = draw(1)
    observer = Percentile(100)
    observer.update(x)
    assert [end.item() for end in observer.ends()] == pytest.approx([x.min().item(), x.max().item()], rel=1e-3)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_least_squares_beats_every_range_of_its_grid_on_the_data_themselves(seed, symmetric):
    x, codes = draw(seed), Codes(4, signed=symmetric)
    observer = LeastSquares(codes, symmetric=symmetric)
    observer.update(x)

    def error(low: torch.Tensor, high: torch.Tensor) -> float:
        ends = MinMax()
        ends.update(torch.stack([low, high]))
        affine = ends.affine(codes, symmetric=symmetric)
        return float((dequantize(quantize(x, affine), affine) - x).double().square().mean())

    found = error(*observer.ends())
    assert found < error(x.min(), x.max())
    for fraction in torch.linspace(0.2, 1, 30):
        assert found <= 1.05 * error(fraction * x.min(), fraction * x.max())


def test_the_error_of_a_range_is_what_its_codes_do():
    x = draw(3)
    observer = LeastSquares(Codes(5, signed=False))
    observer.update(x)
    ends = MinMax()
    ends.update(x)
    affine = ends.affine(Codes(5, signed=False))
    measured = float((dequantize(quantize(x, affine), affine) - x).double().square().mean())
    assert observer.errors(float(x.min()), float(x.max())) == pytest.approx(measured, rel=0.05)


def test_few_bins_stand_for_their_middles():
    x = torch.linspace(0, 0.999, 20_000)
    observer = LeastSquares(Codes(8, signed=False), bins=64)
    observer.update(x)
    for end in (0.3, 0.6):  # clipping is nearly all of the error
        clipped = float((x - x.clamp(max=end)).square().mean())
        assert observer.errors(0.0, end) == pytest.approx(clipped, rel=0.02)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_least_squares_is_the_search_one_range_after_the_other(seed, symmetric):
    """All ranges at once choose what a loop over them chooses, each written out."""
    x, codes = draw(seed) if seed % 2 else draw(seed).relu(), Codes(4, signed=symmetric)
    observer = LeastSquares(codes, symmetric=symmetric)
    observer.update(x)
    counts, middles = observer.histogram.counts, observer.histogram.edges[:-1] + observer.histogram.width / 2

    def error(low: float, high: float) -> float:
        affine = from_range(torch.tensor(low).float(), torch.tensor(high).float(), codes, symmetric=symmetric)
        scale, zero = float(affine.scale), int(affine.zero_point)
        steps = np.clip(np.rint(middles / scale) + zero, codes.low, codes.high) - zero
        return float((counts * (steps * scale - middles) ** 2).sum() / counts.sum())

    fractions = np.linspace(1, 0.2, LeastSquares.STEPS)
    lowest, highest = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
    low, high = lowest, highest
    if symmetric:
        reach = max(-lowest, highest)
        high = reach * min(fractions, key=lambda f: error(-f * reach, f * reach))
        low = -high
    else:
        for _ in range(2):
            high = highest * min(fractions, key=lambda f: error(low, f * highest))
            low = lowest * min(fractions, key=lambda f: error(f * lowest, high))
    assert observer.ends() == (torch.tensor(low).float(), torch.tensor(high).float())
    assert observer.errors(low, high)[0] == pytest.approx(error(low, high), rel=1e-12)


def divergence(counts: np.ndarray, reach: int, levels: int) -> float:
    """KL(p ‖ q), bin by bin."""
    start, stop = len(counts) // 2 - reach, len(counts) - len(counts) // 2 + reach
    p = [float(count) for count in counts[start:stop]]
    p[0] += counts[:start].sum()
    p[-1] += counts[stop:].sum()
    size, q = len(p) // levels, [0.0] * len(p)
    for group in range(levels):
        bins = range(group * size, (group + 1) * size)
        end = len(p) if group == levels - 1 else bins.stop
        among = sum(p[k] > 0 for k in bins)
        for k in bins:
            q[k] = counts[start + bins.start : start + end].sum() / among if among else 0.0
    smooth = []
    for values in (p, q):
        empty = sum(value == 0 for value in values)
        if empty == len(values) or 1e-4 * empty / (len(values) - empty) >= 1:
            return float("inf")
        smooth.append([value - 1e-4 * empty / (len(values) - empty) if value else 1e-4 for value in values])
    p, q = (np.array(values) / sum(values) for values in smooth)
    return float((p * np.log(p / q)).sum())


@pytest.mark.parametrize(("bins", "levels"), [(64, 8), (96, 32), (65, 16)])
@pytest.mark.parametrize("seed", range(5))
def test_divergences_are_those_bin_by_bin(seed, bins, levels):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.choice([0.02, 0.3, 4, 1000]), bins) * rng.integers(0, 2, bins)
    if seed == 4:
        counts[: bins // 2] = 0
    expected = [divergence(counts, reach, levels) for reach in range(levels // 2, bins // 2 + 1)]
    assert shape_divergences(counts, levels) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_entropy_is_onnx_runtimes_on_the_same_counts(seed):
    from onnxruntime.quantization.calibrate import HistogramCollector

    rng = np.random.default_rng(seed)
    x = rng.standard_t(3, 400_000)
    counts, edges = np.histogram(x, 513, (-np.abs(x).max(), np.abs(x).max()))
    collector = HistogramCollector("entropy", True, 513, 64, 99.9, None)
    threshold = collector.get_entropy_threshold((counts, edges, np.float32(x.min()), np.float32(x.max())), 64)
    reach = int(np.argmin(shape_divergences(counts, 64))) + 32
    expected = np.argmin(np.abs(edges[257:] - float(threshold[1])))
    assert abs(reach - expected) <= 1  # theirs rounds shared counts down to whole numbers


@pytest.mark.parametrize("seed", range(4))
def test_entropys_range_is_that_of_the_least_divergence(seed):
    observer = Entropy()
    observer.update(draw(seed, 200_000))
    reach = (int(shape_divergences(observer.histogram.counts, 128).argmin()) + 64) * observer.histogram.width
    assert observer.ends()[1] == min(reach, max(observer.histogram.high, 0.0))


def test_entropy_keeps_a_uniform_range_and_cuts_an_outlier():
    uniform = torch.linspace(-1, 1, 200_001)
    for x, reach in ((uniform, 1.0), (torch.cat([uniform, torch.tensor([50.0])]), 7.0)):
        observer = Entropy()
        observer.update(x)
        low, high = observer.ends()
        assert -reach - 0.01 <= low <= -0.5
        assert 0.5 <= high <= reach + 0.01


@pytest.mark.parametrize("kind", [*KINDS.values(), MovingAverage], ids=[*KINDS, "moving average"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_values_that_no_range_holds_are_refused_and_not_counted(kind, bad):
    observer = kind()
    observer.update(draw(0))
    before = observer.ends()
    with pytest.raises(ValueError, match="NaN or infinite"):
        observer.update(torch.tensor([0.0, bad]))
    assert observer.ends() == before


@pytest.mark.parametrize("kind", [*KINDS.values(), MovingAverage], ids=[*KINDS, "moving average"])
def test_nothing_seen_is_no_range(kind):
    with pytest.raises(ValueError, match="no value was observed"):
        kind().ends()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_a_constant_has_a_range(kind):
    for value in (0.0, 3.0, -2.0):
        observer = kind()
        observer.update(torch.full((100,), value))
        affine = observer.affine(Codes(8, signed=False))
        assert dequantize(quantize(torch.tensor(value), affine), affine) == pytest.approx(value, rel=0.01)


MERGES = {
    "kinds": (MinMax(), Percentile(99), "MinMax cannot be merged with a Percentile"),
    "percentages": (Percentile(99), Percentile(90), "percent 99 and 90"),
    "codes": (LeastSquares(Codes(4)), LeastSquares(Codes(8)), "codes"),
    "bins": (Percentile(99, 64), Percentile(99, 128), "64 and 128 bins"),
    "symmetry": (LeastSquares(Codes(8)), LeastSquares(Codes(8), symmetric=True), "symmetric False and True"),
    "bins of the error": (LeastSquares(Codes(8), bins=64), LeastSquares(Codes(8), bins=128), "64 and 128 bins"),
    "more than a range": (MinMax(), Magnitudes(), "MinMax cannot be merged with a Magnitudes"),
    "levels": (Entropy(32, 256), Entropy(64, 256), "levels 32 and 64"),
    "moving averages": (MovingAverage(), MovingAverage(), "order of their batches"),
}


@pytest.mark.parametrize(("one", "other", "message"), MERGES.values(), ids=MERGES.keys())
def test_what_does_not_fit_together_is_not_merged(one, other, message):
    one, other = copy.deepcopy(one), copy.deepcopy(other)
    one.update(draw(0))
    other.update(10 * draw(0))
    before = one.ends()
    with pytest.raises(ValueError, match=message):
        one.merge(other)
    assert one.ends() == before


@pytest.mark.parametrize(
    "make",
    [
        lambda: Histogram(6),
        lambda: Histogram(0),
        lambda: Percentile(40),
        lambda: Percentile(101),
        lambda: MovingAverage(0),
        lambda: Entropy(31),
        lambda: Entropy(4096, 128),
    ],
)
def test_settings_outside_their_range_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()
