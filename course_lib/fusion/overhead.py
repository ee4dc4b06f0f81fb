"""What the call of an operator costs before it moves anything, timed where the operator stands in its network.

The same call in a loop of its own is cheaper: its code, and what Python and PyTorch look up on the way to it, then lie
in the nearest caches. Between two convolutions they do not, since a convolution's weights and pictures have pushed them
out. So the operators in question get a tensor with one number a channel instead of theirs, and hand on what they read.
Everything around them runs as always.

The network's results are wrong then, and nobody reads them. The clock stands in the graph's own code: an interpreter
that walks from node to node would do work of its own between them, and push out more than the network does.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Collection, Mapping
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
    inputs = example if isinstance(example, tuple) else (example,)
    us: dict[str, list[float]] = {}

    def note(name: str, start: float, end: float) -> None:
        us.setdefault(kind_of[name], []).append(1e6 * (end - start))

    with torch.inference_mode():
        watched = _Inputs(module, kinds)
        watched.run(*(x.clone() for x in inputs))
        kind_of = {node.name: watched.editor.kind(node) for node in module.graph.nodes}
        if missing := [kind for kind in kinds if kind not in {kind_of[name] for name in watched.small}]:
            raise ValueError(f"no operator of kind {', '.join(missing)} is called")
        changed = _on_next_to_nothing(module, watched.small, note)
        for number in range(warmup + passes):
            if number == warmup:
                us.clear()
            changed(*(x.clone() for x in inputs))
    nothing = _clock_us()
    return {kind: max(0.0, median(us[kind]) - nothing) for kind in kinds}


def _clock_us(calls: int = 1000) -> float:
    """Median µs between two looks at the clock."""
    now = time.perf_counter
    return median(1e6 * -(now() - now()) for _ in range(calls))


class _Inputs(Interpreter):
    """Runs a graph once and keeps, for operators of some kinds, their inputs cut down to one number a channel."""

    def __init__(self, module: GraphModule, kinds: Collection[str]):
        super().__init__(module)
        self.editor, self.kinds = Editor(module), frozenset(kinds)
        self.small: dict[str, tuple[Any, ...]] = {}

    def run_node(self, n: Node) -> Any:
        if (kind := self.editor.kind(n)) in self.kinds:
            args, kwargs = self.fetch_args_kwargs_from_env(n)
            small = tuple(_one_a_channel(x) if isinstance(x, Tensor) else x for x in args)
            result = getattr(self, n.op)(
                n.target, tuple(x.clone() if isinstance(x, Tensor) else x for x in small), kwargs
            )
            if not small or result.shape != small[0].shape:
                raise ValueError(f"{kind} ({n.name}) does not work number by number: its overhead cannot be told so")
            self.small[n.name] = small
        return super().run_node(n)


def _on_next_to_nothing(module: GraphModule, small: Mapping[str, tuple[Any, ...]], note: Callable) -> GraphModule:
    """A copy of the graph in which these operators work on next to nothing, between two looks at the clock.

    Args: small: node → its arguments; note: called with the node's name and the times before and behind it.
    """
    changed = GraphModule(module, copy.deepcopy(module.graph))
    for node in list(changed.graph.nodes):
        if node.name not in small:
            continue
        arguments = []
        with changed.graph.inserting_before(node):
            for number, value in enumerate(small[node.name]):
                if isinstance(value, Tensor):
                    changed.register_buffer(f"small_{node.name}_{number}", value, persistent=False)
                    value = changed.graph.get_attr(f"small_{node.name}_{number}")
                arguments.append(value)
            start = changed.graph.call_function(time.perf_counter)
            changed.graph.create_node(node.op, node.target, tuple(arguments), node.kwargs)
            end = changed.graph.call_function(time.perf_counter)
            changed.graph.call_function(note, (node.name, start, end))
        node.replace_all_uses_with(node.args[0])
        changed.graph.erase_node(node)
    changed.recompile()
    return changed


def _one_a_channel(x: Tensor) -> Tensor:
    """(B, C, …) → (1, C, 1, …), a copy: an operator in place must not touch the network's."""
    return x[tuple(slice(None) if axis == 1 else slice(1) for axis in range(x.dim()))].clone()
