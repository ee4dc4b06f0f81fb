"""Bytes that each operator of a network reads and writes, and what fewer of them should save.

An operator in eager mode is a loop over memory: it reads its inputs and its weights, and writes its output, once each.
``traffic`` counts these bytes along a traced graph. Fusion removes rows: BatchNorm between two convolutions reads and
writes a whole activation, ReLU in place another time. What that should save is

    time saved = Σ calls removed × overhead of a call + bytes saved / bandwidth

Both constants are measured, on this machine: the overhead by ``call_overhead_us``, with the operators at their places
in the network but on a tensor of a few numbers (nothing to move), the bandwidth at the size that is moved. A 32×32×48
activation of 200 kB lies in the second cache and comes several times faster than main memory; a batch of 32 of them
does not.

What the model leaves out: caches between operators (the next one may find its input close by, at another bandwidth
than the one assumed), arithmetic that does not hide behind the loads, copies that a library makes inside (packed
weights, padded edges), and allocation of outputs, which costs page faults for large ones. It is meant for differences
between two graphs with the same convolutions; the whole time of a network is the convolutions' arithmetic.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from course_lib.fusion.editing import Editor, flat_tensors, label
from course_lib.fusion.rewriting import Example
from course_lib.fusion.tracing import traced


@dataclass(frozen=True)
class Operator:
    """What one operator moves.

    Args:
        name: of the layer or node.
        kind: of the module, function or method.
        read: bytes of activations that it reads.
        weights: bytes of parameters and statistics that it reads.
        written: bytes that it writes; 0 for a view of its input.
        shape: of the tensor that it writes; () if there are several.
    """

    name: str
    kind: str
    read: int
    weights: int
    written: int
    shape: tuple[int, ...] = ()

    @property
    def bytes(self) -> int:
        """All that it moves."""
        return self.read + self.weights + self.written


@dataclass(frozen=True)
class Traffic:
    """The operators of a network in the order in which they run; views, which move nothing, are left out.

    Args:
        rows: one for each call.
    """

    rows: tuple[Operator, ...]

    @property
    def total(self) -> int:
        """Bytes of all."""
        return sum(row.bytes for row in self.rows)

    @property
    def kinds(self) -> Counter[str]:
        """How many calls there are of each kind."""
        return Counter(row.kind for row in self.rows)

    @property
    def largest_maps(self) -> tuple[int, int, int, int]:
        """(B, C, H, W) of the largest activation that an operator writes.

        Raises: ValueError: none of them has four axes.
        """
        maps = [row.shape for row in self.rows if len(row.shape) == 4]
        if not maps:
            raise ValueError("no operator writes an activation of shape (B, C, H, W)")
        batch, channels, height, width = max(maps, key=math.prod)
        return batch, channels, height, width

    def bytes_of(self, kind: str) -> int:
        """Bytes of all calls of one kind."""
        return sum(row.bytes for row in self.rows if row.kind == kind)

    def __str__(self) -> str:
        lines = [f"{'operator':40} {'kind':20} {'read, kB':>10} {'weights, kB':>12} {'written, kB':>12}"]
        for r in self.rows:
            sizes = f"{r.read / 1e3:10.1f} {r.weights / 1e3:12.1f} {r.written / 1e3:12.1f}"
            lines.append(f"{r.name:40} {r.kind:20} {sizes}")
        return "\n".join([*lines, f"{len(self.rows)} calls, {self.total / 1e6:.3f} MB"])


def traffic(model: nn.Module, example: Example) -> Traffic:
    """Count the bytes of every operator at this input; the network is as in eval mode and stays as it is.

    Args: model: a network that torch.fx traces, or a graph such as ``Fusion.model``.
    Raises: CourseError: torch.fx cannot trace it.

    >>> rows = traffic(nn.Sequential(nn.Conv2d(3, 2, 1, bias=False), nn.ReLU()), torch.zeros(1, 3, 10, 10)).rows
    >>> [(row.kind, row.read, row.weights, row.written) for row in rows]
    [('Conv2d', 1200, 24, 800), ('ReLU', 800, 0, 800)]
    """
    module = model if isinstance(model, GraphModule) else traced(model)[0]
    counting = _Counting(module)
    inputs = example if isinstance(example, tuple) else (example,)
    with torch.no_grad():
        counting.run(*(x.clone() for x in inputs))
    return Traffic(tuple(counting.rows))


class _Counting(Interpreter):
    """Runs a graph and notes what each node moved."""

    def __init__(self, module: GraphModule):
        super().__init__(module)
        self.editor = Editor(module)
        self.rows: list[Operator] = []

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if n.op.startswith("call"):
            inputs = flat_tensors([self.env[source] for source in n.all_input_nodes if source in self.env])
            outputs = flat_tensors(result)
            addresses = {_address(x) for x in inputs}
            fresh = [y for y in outputs if self.editor.in_place(n) or _address(y) not in addresses]
            if fresh:
                sizes = _bytes(inputs), _weights(self.editor.submodule(n)), _bytes(fresh)
                shape = tuple(fresh[0].shape) if len(fresh) == 1 else ()
                self.rows.append(Operator(label(n), self.editor.kind(n), *sizes, shape))
        return result


def _address(x: Tensor) -> int:
    return x.untyped_storage().data_ptr()


def _bytes(tensors: list[Tensor]) -> int:
    return sum(x.numel() * x.element_size() for x in tensors)


def _weights(module: nn.Module | None) -> int:
    """Bytes of parameters and floating-point buffers; a counter of batches is not read."""
    if module is None:
        return 0
    return _bytes([*module.parameters(), *(b for b in module.buffers() if b.is_floating_point())])


def predicted_saving_ms(
    before: Traffic,
    after: Traffic,
    *,
    bandwidth_gbs: float | Mapping[str, float],
    overhead_us: float | Mapping[str, float],
) -> float:
    """Σ over kinds: calls removed × overhead + bytes saved / bandwidth, in ms; negative if ``after`` costs more.

    Args:
        before, after: of two graphs with the same input.
        bandwidth_gbs: 10⁹ bytes/s, measured at the size of the tensors that are no longer moved; one number, or one for
            each kind whose bytes changed: an operator that computes more than it moves does not reach memory's.
        overhead_us: of one call on a tensor with next to nothing in it; one number, or one for each kind whose calls
            changed.
    Raises: ValueError: bandwidth_gbs is not positive, or a kind that changed is not named.

    >>> relu = Operator("relu", "ReLU", 500_000, 0, 500_000)
    >>> round(predicted_saving_ms(Traffic((relu, relu)), Traffic((relu,)), bandwidth_gbs=10, overhead_us=5), 6)
    0.105
    """
    saved = 0.0
    for kind in dict.fromkeys((*before.kinds, *after.kinds)):
        calls = before.kinds[kind] - after.kinds[kind]
        moved = before.bytes_of(kind) - after.bytes_of(kind)
        saved += calls * _of_kind("overhead_us", overhead_us, kind) / 1e3 if calls else 0.0
        if moved:
            rate = _of_kind("bandwidth_gbs", bandwidth_gbs, kind)
            if not rate > 0:
                raise ValueError(f"bandwidth_gbs must be positive, got {rate}")
            saved += moved / (rate * 1e6)
    return saved


def _of_kind(name: str, given: float | Mapping[str, float], kind: str) -> float:
    if not isinstance(given, Mapping):
        return given
    if kind not in given:
        raise ValueError(f"{name} must name {kind}, it names {', '.join(given) or 'nothing'}")
    return given[kind]
