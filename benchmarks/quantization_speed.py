"""What fake quantization costs beside PyTorch's fused operators: quantization_speed.json.

    python benchmarks/quantization_speed.py            print the result
    python benchmarks/quantization_speed.py --record   also write benchmarks/results/quantization_speed.json

``fake_quantize``, forward and backward, its checks included, against ``torch.fake_quantize_per_tensor_affine`` and
``torch.fake_quantize_per_channel_affine`` on the same tensors, which it equals to the bit. 10⁴, 10⁵ and 10⁶ values, one
thread, interleaved rounds, medians, bootstrap intervals of the ratios. The figure is the worst of the six ratios.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from course_lib.experiments.reporting import report
from course_lib.measure import Measurement, latency, torch_threads
from course_lib.quantization import Affine, Codes, fake_quantize, min_max

NAME, THREADS, TARGET = "quantization_speed", 1, 1.5
CHANNELS, SIZES = 50, (10_000, 100_000, 1_000_000)


def question(size: int, axis: int | None) -> tuple[Tensor, Affine]:
    """Values (50, size / 50) and a range that clips some of them, for all or for each of the 50 channels."""
    x = torch.randn(CHANNELS, size // CHANNELS, generator=torch.Generator().manual_seed(size))
    return x.requires_grad_(), min_max(0.8 * x, Codes(8), axis=axis)


def fused(x: Tensor, affine: Affine) -> Tensor:
    """PyTorch's operator for the same."""
    low, high = affine.codes.low, affine.codes.high
    if affine.axis is None:
        return torch.fake_quantize_per_tensor_affine(x, affine.scale, affine.zero_point, low, high)
    return torch.fake_quantize_per_channel_affine(x, affine.scale, affine.zero_point, affine.axis, low, high)


def step(function: Callable[[Tensor, Affine], Tensor], x: Tensor, affine: Affine) -> Callable[[], None]:
    """One forward and backward pass."""
    gradient = torch.ones_like(x)

    def run() -> None:
        x.grad = None
        function(x, affine).backward(gradient)

    return run


def ratios(repeats: int) -> dict[str, Measurement]:
    """Time of ours / time of the fused operator, for each size and granularity."""
    found = {}
    for words, axis in (("per_tensor", None), ("per_channel", 0)):
        for size in SIZES:
            x, affine = question(size, axis)
            pair = {"ours": step(fake_quantize, x, affine), "fused": step(fused, x, affine)}
            report = latency(pair, warmup=30, repeats=repeats, threads=THREADS, seed=0)
            ratio = report.ratio("ours", "fused")
            found[f"{words}_{size}"] = Measurement(
                round(ratio.value, 3),
                "×",
                repeats,
                f"fake_quantize / fused operator, {words.replace('_', ' ')}, {size} values, forward and backward",
                round(ratio.low, 3),
                round(ratio.high, 3),
            )
    return found


def worst(found: dict[str, Measurement]) -> Measurement:
    """The largest of the ratios, as the figure that is asked for."""
    where, most = max(found.items(), key=lambda item: item[1].value)
    return Measurement(
        most.value,
        "×",
        most.n,
        f"fake_quantize / torch's fused operator, forward and backward, {THREADS} thread: the worst of "
        f"{len(found)}, {where.replace('_', ' ')} values",
        most.low,
        most.high,
        target=f"≤ {TARGET}",
        note=None if most.value <= TARGET else "several passes over the values where the fused operator makes one",
    )


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Time fake quantization beside PyTorch's fused operators.")
    parser.add_argument("--record", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    parser.add_argument("--repeats", type=int, default=300, help="rounds")
    options = parser.parse_args()
    with torch_threads(THREADS):
        found = ratios(options.repeats)
    figures = {"fake_quantize_ratio_to_torch": worst(found), **found}
    command = f"python benchmarks/{NAME}.py --record"
    report(NAME, command, figures, recorded=options.record, seeds=[0], threads=THREADS)


if __name__ == "__main__":
    main()
