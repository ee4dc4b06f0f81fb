"""What linear layers with 4- and 8-bit weights save and cost: weight_only.json.

    python benchmarks/weight_only.py            print the result
    python benchmarks/weight_only.py --record   also write benchmarks/results/weight_only.json

Layers of 256 → 1024 and 1024 → 4096, random weights (standard deviation 0.02), groups of 32 inputs, scales of 16 bits.
Bytes of the stored tensors, noise of the weights in dB, and the time of ``forward`` beside ``nn.Linear``'s with one
input: one thread, interleaved rounds, medians, bootstrap intervals of the ratios. Above 1, codes are slower.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.experiments.reporting import report
from course_lib.measure import Measurement, latency, torch_threads
from course_lib.quantization import WeightOnlyLinear, sqnr_db, stored_bytes

NAME, THREADS = "weight_only", 1
LAYERS, BITS, SIZE = ((256, 1024), (1024, 4096)), (8, 4), 32


def float_layer(inputs: int, outputs: int) -> nn.Linear:
    """Weights as they are in trained networks: around 0, without outliers."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=0.02, generator=torch.Generator().manual_seed(0))
    return layer


def call(layer: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """One forward pass, as when deployed."""

    def run() -> Tensor:
        with torch.inference_mode():
            return layer(x)

    return run


def figures_of(inputs: int, outputs: int, repeats: int) -> dict[str, Measurement]:
    """Bytes, noise and time of one layer in each width."""
    plain, x = float_layer(inputs, outputs), torch.randn(1, inputs, generator=torch.Generator().manual_seed(1))
    own = {bits: WeightOnlyLinear(plain, bits=bits, size=SIZE) for bits in BITS}
    calls = {"float": call(plain, x), **{str(bits): call(layer, x) for bits, layer in own.items()}}
    report = latency(calls, warmup=10, repeats=repeats, threads=THREADS, seed=0)
    where = f"{inputs} → {outputs}"
    found = {
        f"float_{inputs}_{outputs}_ms": Measurement(
            round(report.p50("float"), 4), "ms", repeats, f"nn.Linear {where}, float32, batch 1, median"
        )
    }
    for bits, layer in own.items():
        name, what = f"{bits}_bits_{inputs}_{outputs}", f"{where}, {bits} bits, groups of {SIZE}"
        found |= {
            f"bytes_ratio_{name}": Measurement(
                round(stored_bytes(plain) / stored_bytes(layer), 3), "×", 1, f"bytes, float32 / {what}, bias included"
            ),
            f"sqnr_{name}_db": Measurement(
                round(sqnr_db(plain.weight, layer.weight), 2), "dB", 1, f"signal / quantization noise, weights {what}"
            ),
            f"time_ratio_{name}": Measurement.of(
                report.ratio(str(bits), "float"), "×", f"forward of {what} / of nn.Linear, float32, batch 1"
            ),
        }
    return found


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Weigh and time linear layers with weights in few bits.")
    parser.add_argument("--record", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    parser.add_argument("--repeats", type=int, default=300, help="rounds")
    options = parser.parse_args()
    with torch_threads(THREADS):
        figures = {k: v for shape in LAYERS for k, v in figures_of(*shape, options.repeats).items()}
    command = f"python benchmarks/{NAME}.py --record"
    report(NAME, command, figures, recorded=options.record, seeds=[0], threads=THREADS)


if __name__ == "__main__":
    main()
