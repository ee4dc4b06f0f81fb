"""How much faster PyTorch's eager mode is after fusion, step by step, and how well the traffic model predicts it.

Fusing the operators of a network also packs its convolutions' weights and hands them to oneDNN. That alone makes a
network faster or slower: for one small image eager PyTorch computes convolutions as matrix products of its own, which
pack nothing. So the steps are timed one by one, each beside the untouched network in the same interleaved rounds:
fusion itself is "fused" over "packed", which run the same convolutions on the same weights. ``channels last`` is what a
user gets without fusion by one call; ``one kernel, not packed`` packs in each call, which may cost more than it saves.

    python -m course_lib.experiments.fusion_study NETWORK BATCH ROUNDS SEED     one session, as ``sessions`` starts it
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from course_lib.data.torchvision_compat import ensure_importable
from course_lib.evaluation import Estimate, ratio_over_sessions
from course_lib.experiments.processes import run_fresh
from course_lib.fusion import call_overhead_us, fuse, predicted_saving_ms, traffic
from course_lib.measure import BACK_TO_BACK, Cadence, LatencyReport, latency, peak_bandwidth_gbs, torch_threads
from course_lib.models import checkpoints

MODULE = "course_lib.experiments.fusion_study"
EAGER, AGAIN, CHANNELS_LAST, PACKED, FUSED = "eager", "A/A", "channels last", "packed", "fused"
STEPS: dict[str, dict[str, bool]] = {
    "folded": {"one_kernel": False, "packed": False},
    "one kernel, not packed": {"packed": False},
    PACKED: {"folded": False, "one_kernel": False},
    "packed, folded": {"one_kernel": False},
    FUSED: {},
}
NETWORKS = {"teacher": 32, "student": 32, "resnet18": 64}
"""Network → pixels a side."""
_LARGE_BATCH = Cadence("back to back, large batches", calls=3, settle=1, finds="its own last call's data in the caches")


@dataclass(frozen=True)
class Saving:
    """What removing BatchNorm, ReLU and sums saves: two predictions and the measurement, ms.

    Args:
        measured: packed − fused, medians of calls.
        by_traffic: calls × overhead + bytes / bandwidth of a triad; the overhead timed at the operators' places.
        by_loop: the same with the overhead of each operator in a loop of its own.
        megabytes: that are no longer moved.
        calls: that are no longer made.
        bandwidth_gbs: of the triad, at the size of the largest activation.
    """

    measured: float
    by_traffic: float
    by_loop: float
    megabytes: float
    calls: int
    bandwidth_gbs: float


@dataclass(frozen=True)
class Session:
    """One process: variant → times faster than eager, fused over packed, and the saving."""

    speedups: dict[str, Estimate]  # variant → eager's time / its own
    fusion_alone: Estimate  # packed / fused
    saving: Saving  # of packed → fused


def network(name: str) -> nn.Module:
    """The course's trained teacher or student, or ResNet-18 with random weights, in eval mode.

    Raises: ValueError: another name. CourseError: the checkpoint is missing.
    """
    if name not in NETWORKS:
        raise ValueError(f"name must be one of {', '.join(NETWORKS)}, got {name!r}")
    if name != "resnet18":
        return checkpoints.load(f"{name}_rendered")[0].eval()
    ensure_importable()
    from torchvision.models import resnet18

    torch.manual_seed(0)
    return resnet18().eval()


def variants(model: nn.Module, x: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """Every step by name, the network itself first and once more as A/A.

    Args: x: the input, whose shape decides what is fused.
    """
    last = fuse(model, x, folded=False, one_kernel=False, packed=False).model.to(memory_format=torch.channels_last)  # pyright: ignore
    found: dict[str, Callable[[Tensor], Tensor]] = {EAGER: model, AGAIN: model, CHANNELS_LAST: last}
    return found | {name: fuse(model, x, **options).model for name, options in STEPS.items()}


def session(name: str, batch: int, rounds: int, seed: int) -> Session:
    """Time all steps in this process, one thread, interleaved.

    Args: name: a key of ``NETWORKS``; batch: images a call; rounds: ≥ 2; seed: of the order and the bootstrap.
    """
    model, side = network(name), NETWORKS[name]
    x = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    steps, last = variants(model, x), x.to(memory_format=torch.channels_last)
    calls = {step: lambda run=run, x=last if step == CHANNELS_LAST else x: run(x) for step, run in steps.items()}
    pace = BACK_TO_BACK if batch == 1 else _LARGE_BATCH
    with torch_threads(1), torch.inference_mode():
        report = latency(calls, warmup=10, repeats=rounds, threads=1, seed=seed, cadence=pace)
        saving = _saving(report, steps[PACKED], steps[FUSED], x)  # pyright: ignore[reportArgumentType]
    return Session(
        {step: report.ratio(EAGER, step) for step in steps if step != EAGER}, report.ratio(PACKED, FUSED), saving
    )


def _saving(report: LatencyReport, packed: nn.Module, fused: nn.Module, x: Tensor) -> Saving:
    """Args: packed, fused: the two graphs. The bandwidth is taken at the largest activation."""
    before, after = traffic(packed, x), traffic(fused, x)
    shape = before.largest_maps
    bandwidth = peak_bandwidth_gbs(1, seconds=0.3, array_mib=max(4 * math.prod(shape) / 2**20, 1 / 64)).value
    gone = {kind for kind in before.kinds if before.kinds[kind] > after.kinds[kind]}
    in_place, in_a_loop = call_overhead_us(packed, x, gone), _overhead_in_a_loop_us(shape[1])
    return Saving(
        report.p50(PACKED) - report.p50(FUSED),
        predicted_saving_ms(before, after, bandwidth_gbs=bandwidth, overhead_us=in_place),
        predicted_saving_ms(before, after, bandwidth_gbs=bandwidth, overhead_us=in_a_loop),
        (before.total - after.total) / 1e6,
        len(before.rows) - len(after.rows),
        bandwidth,
    )


def _overhead_in_a_loop_us(channels: int) -> dict[str, float]:
    """Median µs of the operators that fusion removes, each in a loop of its own on one number a channel."""
    norm, relu, x = nn.BatchNorm2d(channels).eval(), nn.ReLU(inplace=True), torch.rand(1, channels, 1, 1)
    calls: dict[str, Callable[[], Tensor]] = {
        "BatchNorm2d": lambda: norm(x),
        "ReLU": lambda: relu(x),
        "relu": lambda: torch.relu(x),
        "add": lambda: x + x,
        "iadd": lambda: x.add_(x, alpha=0),
    }
    pace = Cadence("alone", calls=10, settle=5)
    found = latency(calls, warmup=20, repeats=20, threads=1, seed=0, cadence=pace)
    return {kind: 1e3 * found.p50(kind) for kind in calls}


def sessions(name: str, batch: int, rounds: int, processes: int) -> list[Session]:
    """``session`` in fresh processes, one after another.

    Args: as ``session``; processes: ≥ 1; three or more for a record.
    Raises: CourseError: one failed.
    """
    found = []
    for seed in range(processes):
        arguments = [name, str(batch), str(rounds), str(seed)]
        found.append(from_json(json.loads(run_fresh(MODULE, arguments, f"session {seed} of {name}"))))
    return found


def from_json(raw: Mapping[str, dict]) -> Session:
    """A session as ``main`` prints it."""
    speedups = {step: Estimate(**ratio) for step, ratio in raw["speedups"].items()}
    return Session(speedups, Estimate(**raw["fusion_alone"]), Saving(**raw["saving"]))


def pooled(found: list[Session]) -> dict[str, Estimate]:
    """Variant → times faster than eager over all sessions, and "fusion alone": packed / fused."""
    ratios = {step: ratio_over_sessions([one.speedups[step] for one in found]) for step in found[0].speedups}
    return ratios | {"fusion alone": ratio_over_sessions([one.fusion_alone for one in found])}


def main(name: str, batch: str, rounds: str, seed: str) -> None:
    """Print one session as JSON."""
    print(json.dumps(dataclasses.asdict(session(name, int(batch), int(rounds), int(seed)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
