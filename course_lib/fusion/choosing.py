"""Which rewriting is the fastest here: the candidates of ``fuse``, timed beside one another on the caller's input.

Fewer operators and fewer bytes need not be less time. A call of oneDNN costs tens of microseconds before it computes
anything, more than PyTorch's own matrix product, and a network of small convolutions with one image a call pays that
for each of them. Which weighs more depends on shapes, batch, threads and processor, so no rule is written down here;
``fastest`` measures whole networks, since a convolution timed alone does not show what its memory order costs the next.

Eager PyTorch's time / the candidate's, medians with 95 % intervals; 32×32 pixels, one thread of a Xeon with AVX-512,
PyTorch 2.13, a busy machine (where the network itself, timed twice, differed by up to 5 %):

    network           images   folded              one kernel
    teacher                1   1.09 [1.07, 1.11]   1.22 [1.21, 1.25]
    student                1   1.20 [1.18, 1.21]   0.83 [0.81, 0.85]
    student, pruned        1   1.23 [1.21, 1.24]   0.74 [0.72, 0.75]
    teacher               32   1.09 [1.03, 1.31]   1.27 [0.97, 1.52]
    student               32   1.08 [1.08, 1.09]   1.27 [1.21, 1.29]
    student, pruned       32   1.09 [1.08, 1.10]   1.12 [1.06, 1.15]

``fastest`` chose "folded" in rows 2 and 3 and "one kernel" in the others, both times that it was asked.

What industry does differently: TensorRT times the kernels of each layer when it builds an engine, and PyTorch's
compiler does so with ``max_autotune``: the choice is made layer by layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from course_lib.fusion.rewriting import Example, Fusion, fuse
from course_lib.measure.cadence import Cadence
from course_lib.measure.latency import latency

CANDIDATES: dict[str, dict[str, bool]] = {
    "untouched": {"folded": False, "one_kernel": False, "packed": False},
    "folded": {"one_kernel": False, "packed": False},
    "one kernel": {},
}
"""Name → options of ``fuse``: the network's own operators; ordinary layers, fewer of them; oneDNN's kernels."""
_PACE = Cadence("back to back", calls=5, settle=2)


@dataclass(frozen=True, eq=False)
class Fastest:
    """The candidate that took the least time, and what all of them took.

    Args:
        fusion: of the fastest.
        name: of the fastest, a key of ``CANDIDATES``.
        times_ms: candidate → median of its calls, ms.
    """

    fusion: Fusion
    name: str
    times_ms: dict[str, float]

    def __str__(self) -> str:
        times = ", ".join(f"{name} {ms:.3g} ms" for name, ms in self.times_ms.items())
        return f"{self.name}; medians of a call: {times}"


def fastest(model: nn.Module, example: Example, *, rounds: int = 20, seed: int = 0, tolerance: float = 1e-5) -> Fastest:
    """The fastest of ``CANDIDATES`` for inputs like ``example``, with the threads that PyTorch has now.

    The candidates are timed in this process, interleaved, back to back. Two that differ by less than the machine's
    noise may win in turn; one that is several times slower does not.

    Args:
        model: a network that torch.fx traces; it is left as it is.
        example: one input (B, …), or a tuple of them; another batch or size may have another winner.
        rounds: ≥ 2, of 5 timed calls of each candidate.
        seed: of the order within rounds.
        tolerance: as in ``fuse``.
    Raises: CourseError, ValueError: as ``fuse``.
    """
    inputs = example if isinstance(example, tuple) else (example,)
    found = {name: fuse(model, example, **options, tolerance=tolerance) for name, options in CANDIDATES.items()}
    calls: dict[str, Callable[[], Any]] = {
        name: lambda run=fusion.model: run(*(x.clone() for x in inputs)) for name, fusion in found.items()
    }
    with torch.inference_mode():
        report = latency(calls, warmup=3, repeats=rounds, threads=torch.get_num_threads(), seed=seed, cadence=_PACE)
    times_ms = {name: report.p50(name) for name in calls}
    best = min(times_ms, key=times_ms.__getitem__)
    return Fastest(found[best], best, times_ms)
