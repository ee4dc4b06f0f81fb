"""What the call of an operator costs before it moves anything, timed where the operator stands in its network.

The same call in a loop of its own is cheaper, two to four times where it was measured: its code, and what Python and
PyTorch look up on the way to it, then lie in the nearest caches. Between two convolutions they do not, since a
convolution's weights and pictures have pushed them out. So the network runs operator by operator; the operators in
question get a tensor with one number a channel instead of theirs, and hand on what they read. Everything around them
runs as always.

The network's results are wrong then, and nobody reads them. Two looks at the clock, which each call is timed with, are
timed as well and taken off.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from course_lib.fusion.editing import Editor
from course_lib.fusion.rewriting import Example
from course_lib.fusion.tracing import traced


def call_overhead_us(
    model: nn.Module, example: Example, kinds: Collection[str], *, passes: int = 60, warmup: int = 15
) -> dict[str, float]:
    """Kind → microseconds of one call on next to nothing, the median over all its calls and passes.

    Args:
        model: a network that torch.fx traces, or a graph such as ``Fusion.model``; it stays as it is.
        example: its input.
        kinds: as ``traffic`` names them, of operators that work number by number (BatchNorm, ReLU, sums).
        passes: ≥ 1, timed; warmup: passes before them, not timed.
    Raises:
        ValueError: no operator of a kind is called, or its result has another shape than its first input.
        CourseError: torch.fx cannot trace the network.

    >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    >>> list(call_overhead_us(network, torch.zeros(1, 3, 8, 8), {"ReLU"}, passes=2))
    ['ReLU']
    """
    if passes < 1:
        raise ValueError(f"passes must be at least 1, got {passes}")
    module = model if isinstance(model, GraphModule) else traced(model)[0]
    clock = _OnNextToNothing(module, kinds)
    inputs = example if isinstance(example, tuple) else (example,)
    with torch.inference_mode():
        for number in range(warmup + passes):
            if number == warmup:
                clock.us.clear()
            clock.run(*(x.clone() for x in inputs))
    if missing := [kind for kind in kinds if kind not in clock.us]:
        raise ValueError(f"no operator of kind {', '.join(missing)} is called")
    return {kind: max(0.0, median(clock.us[kind])) for kind in kinds}


class _OnNextToNothing(Interpreter):
    """Runs a graph; operators of some kinds get one number a channel, are timed, and hand on their first input."""

    def __init__(self, module: GraphModule, kinds: Collection[str]):
        super().__init__(module)
        self.editor, self.kinds = Editor(module), frozenset(kinds)
        self.us: dict[str, list[float]] = {}

    def run_node(self, n: Node) -> Any:
        kind = self.editor.kind(n)
        if kind not in self.kinds:
            return super().run_node(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        small = tuple(_one_a_channel(x) if isinstance(x, Tensor) else x for x in args)
        run, now = getattr(self, n.op), time.perf_counter
        start = now()
        result = run(n.target, small, kwargs)
        end = now()
        nothing = now() - end
        if not small or result.shape != small[0].shape:
            raise ValueError(f"{kind} ({n.name}) does not work number by number: its overhead cannot be told so")
        self.us.setdefault(kind, []).append(1e6 * (end - start - nothing))
        return args[0]


def _one_a_channel(x: Tensor) -> Tensor:
    """(B, C, …) → (1, C, 1, …), a copy: an operator in place must not touch the network's."""
    return x[tuple(slice(None) if axis == 1 else slice(1) for axis in range(x.dim()))].clone()
