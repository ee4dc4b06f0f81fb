"""Follow channels through a traced network: every activation gets a tensor of ids, of its own shape.

The id of a value says which channel it belongs to. A function that only moves values (flatten, permute, chunk, view,
concatenation) moves their ids in the same way: the function itself is applied to the ids. A function of several
tensors, value by value, unites the ids that it brings together. A layer reads the ids on its channel axis and gives its
outputs ids of their own (``layers.py``). Nothing has to know what a residual block or a channel shuffle is.

Sizes are the trap. ``x.view(B, 2, C // 2, H, W)`` still works when C has become smaller, as long as both halves lost
the same number; ``x.view(B, 64)`` and ``x[:, :32]`` do not. So a size that stands in the code as a number along the
channels unites or protects them, while one computed from ``x.size()`` follows by itself.

The values themselves are tensors without memory (device "meta"): only shapes are computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from course_lib.pruning.functions import FUNCTIONS, TAKES_SIZES, Ids, Step, kind_of
from course_lib.pruning.groups import Consumer, UnsupportedOperator
from course_lib.pruning.identities import Identities
from course_lib.pruning.layers import KEEP_SHAPE, LAYERS, Call


class Propagation(fx.Interpreter):
    """Runs a traced network on shapes, and states in ``identities`` which channels its operators tie together.

    Args:
        network: its tensors on the device "meta", in eval mode.
        traced: its graph.
        names: a tensor's id() → its full name, one for tensors that are shared.
        identities: what other traces of the same network found; filled further.
    """

    def __init__(self, network: nn.Module, traced: fx.Graph, names: Mapping[int, str], identities: Identities):
        super().__init__(network, graph=traced)
        self.extra_traceback = False  # errors name their node themselves
        self.names, self.identities = dict(names), identities
        self.consumers: dict[str, Consumer] = {}
        self.ids: dict[fx.Node, Ids] = {}
        self.counted: dict[fx.Node, tuple[Tensor, ...]] = {}  # node that gives sizes → for each the ids it counts

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        """A tensor kept by name; one that is neither parameter nor buffer has memory still, and loses it here."""
        value = super().get_attr(target, args, kwargs)
        return value.to("meta") if isinstance(value, Tensor) else value

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        """A layer's output; where only its shape can matter, the input, which has it: half of the time is saved."""
        if args and not kwargs and type(self.module.get_submodule(str(target))) in KEEP_SHAPE:
            return args[0]
        return super().call_module(target, args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        """Compute the node's shape and its ids.

        Raises: UnsupportedOperator: its channels cannot be followed.
        """
        try:
            value = super().run_node(n)
        except UnsupportedOperator:
            raise
        except Exception as error:  # whatever the operator raises
            raise UnsupportedOperator(f"{describe(n, self.module)} fails: {error}") from error
        if n.op == "output":
            self._protect_outputs(n)
        elif not _holds_tensors(value):
            self.counted[n] = self._counts(n, value)
        elif not _belongs_to_a_layer(n):
            self.ids[n] = self._follow(n, value)
        return value

    def _follow(self, n: fx.Node, value: Any) -> Ids:
        if n.op == "placeholder":
            return self._input(n, value)
        if n.op == "get_attr":
            return self._parameter(n, value)
        ids = self._layer(n, value) if n.op == "call_module" else self._function(n, value)
        if isinstance(ids, Tensor) and ids.shape != value.shape:
            raise self._unsupported(n, f"gives {list(value.shape)} where {list(ids.shape)} was expected")
        return ids

    def _input(self, n: fx.Node, value: Any) -> Ids:
        if not isinstance(value, Tensor):
            raise self._unsupported(n, "is an input that is no tensor")
        channels = value.shape[1] if value.ndim > 1 else 1
        ids = self.identities.source(f"input:{n.target}", channels)
        self.identities.protect(ids, f"the network's input {n.target}")
        return ids.view([1, -1] + [1] * (value.ndim - 2) if value.ndim > 1 else [1] * value.ndim).expand(value.shape)

    def _parameter(self, n: fx.Node, value: Any) -> Ids:
        """A tensor used by name, such as a layer scale: each of its values may be a channel."""
        if not isinstance(value, Tensor):
            raise self._unsupported(n, "is no tensor")
        known = id(value) in self.names
        ids = self.identities.source(self.names[id(value)] if known else f"constant:{n.target}", value.numel())
        if not known:
            self.identities.protect(ids, f"the constant {n.target}")
        return ids.view(value.shape)

    def _layer(self, n: fx.Node, value: Any) -> Tensor:
        module = self.module.get_submodule(str(n.target))
        rule = LAYERS.get(type(module))
        source = self.ids.get(n.args[0]) if n.args and isinstance(n.args[0], fx.Node) else None
        if rule is None or not isinstance(source, Tensor) or not isinstance(value, Tensor):
            raise self._unsupported(n, "has no rule")
        try:
            return rule(self._call(n, str(n.target), value.shape), source)
        except UnsupportedOperator as error:
            raise self._unsupported(n, f"cannot be cut: {error}") from error

    def _call(self, n: fx.Node, name: str, shape: torch.Size) -> Call:
        return Call(n, name, self.module.get_submodule(name), shape, self.identities, self.names, self.consumers)

    def _function(self, n: fx.Node, value: Any) -> Ids:
        if isinstance(n.target, type) and issubclass(n.target, tuple):
            return self._record(n)
        rule = FUNCTIONS.get(kind_of(n))
        if rule is None or not any(source in self.ids for source in n.all_input_nodes):
            raise self._unsupported(n, "has no rule")
        self._protect_counts(n)
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        try:
            return rule(Step(n, value, args, kwargs, self.ids, self.identities, self._owner_call))
        except UnsupportedOperator as error:
            raise self._unsupported(n, str(error)) from error

    def _record(self, n: fx.Node) -> Ids:
        """A named tuple of tensors."""
        parts = [self.ids.get(part) if isinstance(part, fx.Node) else None for part in (*n.args, *n.kwargs.values())]
        tensors = tuple(part for part in parts if isinstance(part, Tensor))
        if len(tensors) < len(parts):
            raise self._unsupported(n, "holds more than tensors")
        return tensors

    def _counts(self, n: fx.Node, value: Any) -> tuple[Tensor, ...]:
        """Which channels a number, or each entry of a tuple of sizes, counts."""
        source = n.args[0] if n.args else None
        ids = self.ids.get(source) if isinstance(source, fx.Node) else None
        if isinstance(ids, Tensor):
            lines = tuple(self._counted_along(ids, dim) for dim in range(ids.ndim))
            if isinstance(value, torch.Size):
                return lines
            if kind_of(n) == "size":
                return (lines[self.fetch_args_kwargs_from_env(n)[0][1]],)
            return (torch.cat(lines),) if kind_of(n) == "numel" else ()
        if kind_of(n) == "getitem" and isinstance(source, fx.Node) and isinstance(n.args[1], int | slice):
            picked = self.counted[source][n.args[1]]
            return (picked,) if isinstance(picked, Tensor) else picked
        lines = [line for number in n.all_input_nodes for line in self.counted.get(number, ())]
        whole = torch.cat([torch.empty(0, dtype=torch.int64), *lines])
        return (whole,) * (len(value) if isinstance(value, tuple) else 1)

    def _counted_along(self, ids: Tensor, dim: int) -> Tensor:
        return torch.unique(ids) if self.identities.varies(ids, dim) else ids.new_empty(0)

    def _protect_counts(self, n: fx.Node) -> None:
        """A number of channels may be a size of the tensor that holds them; as anything else it changes values."""
        counts = [line for number in n.all_input_nodes for line in self.counted.get(number, ())]
        if not counts:
            return
        counted = torch.cat(counts)
        ids = self.ids.get(n.all_input_nodes[0])
        if kind_of(n) in TAKES_SIZES and isinstance(ids, Tensor):
            own = self.identities.roots(torch.unique(ids))
            if torch.isin(self.identities.roots(counted), own).all():
                return
            self.identities.protect(ids, f"{n.name} shapes them by the number of other channels")
        self.identities.protect(counted, f"{n.name} computes with their number")

    def _owner_call(self, n: fx.Node, parameter: object, kind: type[nn.Module], shape: torch.Size) -> Call:
        """The call of the layer of type ``kind`` that owns ``parameter``, which its forward hands to a function."""
        name = str(parameter.target).rpartition(".")[0] if isinstance(parameter, fx.Node) else None
        if name is None or not isinstance(self.module.get_submodule(name), kind):
            raise UnsupportedOperator(f"needs a weight that belongs to an nn.{kind.__name__}")
        return self._call(n, name, shape)

    def _protect_outputs(self, n: fx.Node) -> None:
        for source in n.all_input_nodes:
            ids = self.ids.get(source, ())
            for part in (ids,) if isinstance(ids, Tensor) else ids:
                maker = source.name if source.op == "call_function" else source.target
                self.identities.protect(part, f"the network's output, from {maker}")

    def _unsupported(self, n: fx.Node, problem: str) -> UnsupportedOperator:
        return UnsupportedOperator(f"{describe(n, self.module)} {problem}: its channels cannot be followed")


def describe(n: fx.Node, root: nn.Module) -> str:
    """The operator, the node, and the line of source that called it: "unfold (node unfold, net.py:12)"."""
    operator = kind_of(n)
    if n.op == "call_module":
        operator = f"{type(root.get_submodule(str(n.target))).__name__} {n.target}"
    lines = [line.strip() for line in (n.stack_trace or "").splitlines() if line.strip().startswith("File")]
    own = [line for line in lines if "/torch/" not in line] or lines
    where = f", {own[-1]}" if own else ""
    return f"{operator} (node {n.name}{where})"


def _belongs_to_a_layer(n: fx.Node) -> bool:
    """A layer's own weight, which its forward hands to a function: its rule says what the axes are."""
    return n.op == "get_attr" and bool(n.users) and all(kind_of(user) == "layer_norm" for user in n.users)


def _holds_tensors(value: Any) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, tuple | list) and any(map(_holds_tensors, value)))
