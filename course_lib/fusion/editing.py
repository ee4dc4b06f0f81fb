"""A traced graph while it is rewritten: who reads what, what may move, and notes of what was done and what was not."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.fx import GraphModule, Node
from torch.fx.passes.shape_prop import TensorMetadata
from torch.nn import functional as F

IN_PLACE_FUNCTIONS = {operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.setitem}


@dataclass(frozen=True)
class Rewrite:
    """One change, or one place that was left alone.

    Args:
        kind: of the pattern, such as "BatchNorm after a layer".
        layers: names of the layers or nodes concerned.
        reason: what became of them, or why they were left alone.
    """

    kind: str
    layers: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{self.kind}: {', '.join(self.layers)}: {self.reason}"


class Editor:
    """The graph and the notes.

    Args: module: the graph, of which nobody else holds a copy; its nodes carry shapes (``tensor_meta``).
    """

    def __init__(self, module: GraphModule):
        self.module, self.graph = module, module.graph
        self.done: list[Rewrite] = []
        self.left: list[Rewrite] = []
        self.took: dict[str, list[str]] = {}  # layer → what became part of it

    def finished(self) -> GraphModule:
        """The graph as it now is, without what nothing calls any more."""
        self.graph.lint()
        self.module.delete_all_unused_submodules()
        self.module.recompile()
        self.module.eval()
        return self.module

    def take(self, layer: Node, what: str) -> None:
        """Note that ``what`` became part of a layer."""
        self.took.setdefault(label(layer), []).append(what)

    def submodule(self, node: Any) -> nn.Module | None:
        """The module that a node calls; None for any other node."""
        if not isinstance(node, Node) or node.op != "call_module":
            return None
        return self.module.get_submodule(str(node.target))

    def kind(self, node: Node) -> str:
        """Of the module, function or method that a node calls."""
        module = self.submodule(node)
        return type(module).__name__ if module is not None else str(getattr(node.target, "__name__", node.target))

    def why_not(self, node: Node) -> str | None:
        """Why the module of this node must stay what it is; None if it may be replaced."""
        calls = sum(other.op == "call_module" and other.target == node.target for other in self.graph.nodes)
        if calls > 1:
            return f"{node.target} is called {calls} times: its other calls need it as it is"
        return self.why_not_removed(node)

    def why_not_removed(self, node: Node) -> str | None:
        """Why the call of this node must stay; None if it may go (its module may be called elsewhere, too)."""
        module = self.submodule(node)
        hooked = ("_forward_hooks", "_forward_pre_hooks")
        if module is not None and any(getattr(module, hooks) for hooks in hooked):
            return f"{node.target} has hooks, which would no longer be called"
        return None

    def replace(self, node: Node, module: nn.Module) -> None:
        """Put another module where the one of this node stood, under its name."""
        parent, _, name = str(node.target).rpartition(".")
        setattr(self.module.get_submodule(parent), name, module.eval())
        node.args, node.kwargs = tuple(node.all_input_nodes), {}  # layer(input=x) is layer(x)

    def bypass(self, node: Node, source: Node) -> None:
        """Let all readers of ``node`` read ``source`` instead, and remove it."""
        node.replace_all_uses_with(source)
        self.graph.erase_node(node)

    def sole_reader(self, node: Node) -> Node | None:
        """The only node that reads this one, and reads it once."""
        readers = list(node.users)
        if len(readers) != 1 or readers[0].op == "output":
            return None
        flat = [*readers[0].args, *readers[0].kwargs.values()]
        return readers[0] if sum(argument is node for argument in flat) == 1 else None

    def in_place(self, node: Node) -> bool:
        """Whether a node overwrites a tensor that it reads."""
        if node.op == "call_module":
            module = self.submodule(node)
            return bool(getattr(module, "inplace", False)) or _is_unknown(module)
        if node.op == "call_method":
            return str(node.target).endswith("_") and not str(node.target).endswith("__")
        name = getattr(node.target, "__name__", "")
        named = name.endswith("_") and not name.startswith("_")
        told = node.kwargs.get("inplace") is True or "out" in node.kwargs or _inplace_argument(node)
        return node.op == "call_function" and (node.target in IN_PLACE_FUNCTIONS or named or told)

    def overwritten_between(self, first: Node, last: Node) -> bool:
        """Whether some node strictly between the two overwrites a tensor: what is moved across could see it."""
        node = first.next
        while node is not last:
            if self.in_place(node):
                return True
            node = node.next
        return False

    def is_before(self, first: Node, second: Node) -> bool:
        """Whether ``first`` runs before ``second``."""
        for node in self.graph.nodes:
            if node is first or node is second:
                return node is first
        raise ValueError("neither node is part of the graph")


def label(node: Node) -> str:
    """How a note calls a node: the module's path, or the node's own name."""
    return str(node.target) if node.op == "call_module" else node.name


def source_of(node: Node) -> Node | None:
    """The one tensor that a node reads, if it reads just one."""
    return node.all_input_nodes[0] if len(node.all_input_nodes) == 1 else None


def shape_of(node: Node) -> tuple[int, ...] | None:
    """The shape of a node's tensor for the example; None where it gives no single tensor, or nothing was run yet.

    >>> graph = torch.fx.symbolic_trace(nn.Flatten())
    >>> _ = torch.fx.passes.shape_prop.ShapeProp(graph).propagate(torch.zeros(1, 2, 3))
    >>> [shape_of(node) for node in graph.graph.nodes]
    [(1, 2, 3), (1, 6), (1, 6)]
    """
    meta = node.meta.get("tensor_meta")
    return tuple(meta.shape) if isinstance(meta, TensorMetadata) else None


def _is_unknown(module: nn.Module | None) -> bool:
    """Whether a module may do anything: one that was not looked into."""
    return not type(module).__module__.startswith(("torch.nn", "course_lib.fusion"))


def _inplace_argument(node: Node) -> bool:
    """F.relu(x, True) and the like, whose last positional argument is ``inplace``."""
    activations = (F.relu, F.relu6, F.hardswish, F.silu, F.elu, F.leaky_relu, F.hardsigmoid, F.hardtanh, F.dropout)
    return node.target in activations and len(node.args) > 1 and node.args[-1] is True


def flat_tensors(value: Any) -> list[torch.Tensor]:
    """All tensors in nested tuples, lists and dictionaries, in order.

    >>> [len(tensor) for tensor in flat_tensors({"a": torch.zeros(2), "b": (torch.zeros(3), None)})]
    [2, 3]
    """
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [tensor for part in parts for tensor in flat_tensors(part)]
