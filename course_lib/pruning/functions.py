"""How functions and tensor methods treat channels: one rule for each kind, by the name under which torch has it.

A rule gets a ``Step``: the node, its value and arguments, and the ids of the tensors among them; it gives the ids of
the value. Most rules are short, because a function that only moves values can be applied to their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from course_lib.pruning.groups import UnsupportedOperator
from course_lib.pruning.identities import Identities, joined, spread
from course_lib.pruning.layers import LAYERS, Call

Ids = Tensor | tuple[Tensor, ...]
"""Of a tensor: int64, in its shape. Of a function that gives several tensors: one for each."""


@dataclass(frozen=True)
class Step:
    """One call of a function.

    Args:
        node: the call in the traced graph; its arguments are numbers that the code states, and nodes.
        value: what it gives, on the device "meta".
        args: the values of the arguments given by position.
        kwargs: and of those given by name.
        known: the ids of every node so far.
        identities: where the rule states what it knows.
        owner_call: (node, parameter, kind, shape) → the call of the layer that owns the parameter.
    """

    node: fx.Node
    value: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    known: dict[fx.Node, Ids]
    identities: Identities
    owner_call: Callable[[fx.Node, object, type[nn.Module], torch.Size], Call]

    @property
    def ids(self) -> Tensor:
        """The ids of the first argument.

        Raises: UnsupportedOperator: it is no tensor.
        """
        return self.of(self.node.args[0] if self.node.args else self.node.kwargs.get("input"))

    def of(self, argument: object) -> Tensor:
        """The ids of one argument.

        Raises: UnsupportedOperator: it is no tensor.
        """
        ids = self.known.get(argument) if isinstance(argument, fx.Node) else None
        if not isinstance(ids, Tensor):
            raise UnsupportedOperator("has no tensor where one was expected")
        return ids

    def stated(self, position: int, name: str, default: object = None) -> Any:
        """An argument as the code states it: a number, or the node that computes it."""
        return self.node.args[position] if len(self.node.args) > position else self.node.kwargs.get(name, default)

    def given(self, position: int, name: str, default: object = None) -> Any:
        """An argument's value."""
        return self.args[position] if len(self.args) > position else self.kwargs.get(name, default)

    def fix(self, ids: Tensor, why: str) -> None:
        """No channel of ``ids`` can be removed, because of this step."""
        self.identities.protect(ids, f"{why} ({self.node.name})")

    def fixed(self, what: str) -> Tensor:
        """The id of a channel that this step makes and that cannot be removed: (1,)."""
        ids = self.identities.source(f"fixed:{self.node.name}", 1)
        self.fix(ids, what)
        return ids


def kind_of(node: fx.Node) -> str:
    """The function's or method's name, without the underscore of those that work in place.

    A function from elsewhere than torch and Python gets its package's name in front, so that no rule fits it.
    """
    if node.op != "call_function":
        return str(node.target).rstrip("_") if node.op == "call_method" else node.op
    target: Any = node.target
    home = (getattr(target, "__module__", None) or "torch").partition(".")[0]
    foreign = home not in ("torch", "_operator", "builtins", "torchvision", "math")
    return f"{home}.{target.__name__}" if foreign else target.__name__.rstrip("_")


def _elementwise(step: Step) -> Tensor:
    """Value by value: channels that meet are one."""
    tensors = [step.of(n) for n in step.node.all_input_nodes if n in step.known]
    ids = tensors[0]
    for other in tensors[1:]:
        ids = _met(step, ids, other)
    return ids


def _met(step: Step, first: Tensor, second: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(first.shape, second.shape)
    first, second = (ids.view((1,) * (len(shape) - ids.ndim) + ids.shape) for ids in (first, second))
    # One value that meets many channels is no channel of theirs: it stays, whichever of them go.
    for one, many in ((first, second), (second, first)):
        if _serves_many(step, one, many):
            step.fix(one, "one value acts on many channels")
            if not any(step.identities.varies(one, dim) for dim in range(one.ndim)):
                return many.expand(shape)
            step.fix(many, "an outer product")
            return step.fixed("an outer product").expand(shape)
    step.identities.unite(first, second)
    return first.expand(shape)


def _serves_many(step: Step, one: Tensor, many: Tensor) -> bool:
    """Whether ``one`` is repeated along an axis on which ``many`` has different channels."""
    grown = [dim for dim in range(one.ndim) if one.shape[dim] == 1 < many.shape[dim]]
    return any(step.identities.varies(many, dim) for dim in grown)


def _first(step: Step) -> Tensor:
    """Another memory format or type of the first argument's values."""
    return step.ids


def _moved(step: Step) -> Tensor:
    """The function itself, applied to the ids."""
    ids = step.ids
    if step.node.op == "call_method":
        return getattr(ids, str(step.node.target))(*step.args[1:], **step.kwargs)
    function: Any = step.node.target
    rest = {name: value for name, value in step.kwargs.items() if name != "input"}
    return function(ids, *step.args[1:], **rest)


def _reshaped(step: Step) -> Tensor:
    """view, reshape: a size that the code states as a number along the channels must stay what it is."""
    ids, stated = step.ids.reshape(step.value.shape), _stated_sizes(step)
    if len(stated) == 1 and isinstance(stated[0], fx.Node) and isinstance(step.args[1], tuple):
        # All of a tensor's sizes follow; a tuple put together from some of them may hold numbers.
        numbers = [] if kind_of(stated[0]) in ("size", "getattr") else list(range(ids.ndim))
    else:
        numbers = [dim for dim, size in enumerate(stated) if isinstance(size, int) and size != -1]
    return _with_fixed_sizes(step, ids, numbers)


def _unflattened(step: Step) -> Tensor:
    ids = step.ids.reshape(step.value.shape)
    sizes, dim = step.stated(2, "sizes"), step.given(1, "dim") % step.ids.ndim
    return _with_fixed_sizes(step, ids, [dim + k for k, size in enumerate(sizes) if isinstance(size, int) and size > 0])


def _expanded(step: Step) -> Tensor:
    ids, stated = step.ids.expand(step.value.shape), _stated_sizes(step)
    first = ids.ndim - len(stated)
    numbers = [first + k for k, size in enumerate(stated) if isinstance(size, int) and size != -1]
    return _with_fixed_sizes(step, ids, numbers)


def _stated_sizes(step: Step) -> list[Any]:
    """The sizes in x.view(2, 3), x.view((2, 3)), torch.reshape(x, shape=(2, 3)), as the code states them."""
    stated = list(step.node.args[1:]) or [step.node.kwargs.get("shape", step.node.kwargs.get("size"))]
    return list(stated[0]) if len(stated) == 1 and isinstance(stated[0], tuple | list) else stated


def _with_fixed_sizes(step: Step, ids: Tensor, dims: list[int]) -> Tensor:
    held = [dim for dim in dims if step.identities.varies(ids, dim)]
    if held and not any(step.identities.varies(ids, dim) for dim in range(ids.ndim) if dim not in held):
        step.fix(ids, "their number stands in the code")
        return ids
    for dim in held:
        step.identities.unite(ids, ids.narrow(dim, 0, 1))
    return ids


def _concatenated(step: Step) -> Tensor:
    parts = step.stated(0, "tensors")
    whole = step.known.get(parts, ()) if isinstance(parts, fx.Node) else ()  # all that another function gave
    tensors = list(whole) if isinstance(parts, fx.Node) else [step.of(part) for part in parts]
    dim = step.given(1, "dim", 0) % tensors[0].ndim
    others = [d for d in range(tensors[0].ndim) if d != dim]
    if any(step.identities.varies(ids, d) for ids in tensors for d in others):
        # The channels lie on another axis: what stands side by side there must have the same size, so is one.
        line = tensors[0].narrow(dim, 0, 1)
        for ids in tensors:
            step.identities.unite(ids, line)
    return joined(tensors, dim, step.value.shape)


def _divided(step: Step) -> tuple[Tensor, ...]:
    """chunk, split: pieces of one size lose the channels at equal places together; stated sizes hold them."""
    ids, dim = step.ids, step.given(2, "dim", 0)
    sizes = [piece.shape[dim] for piece in step.value]
    pieces = ids.split(sizes, dim)
    if step.identities.varies(ids, dim):
        follows = kind_of(step.node) == "chunk" or isinstance(step.stated(1, "split_size"), fx.Node)
        if len(set(sizes)) > 1 or not follows:
            step.fix(ids, "the sizes of the pieces stand in the code")
        else:
            for piece in pieces[1:]:
                step.identities.unite(piece, pieces[0])
    return pieces


def _picked(step: Step) -> Ids:
    """x[…]: of channels, only all of them can be picked."""
    source, index = step.node.args[0], step.args[1]
    ids = step.known[source] if isinstance(source, fx.Node) else ()
    if isinstance(ids, tuple):
        return ids[index]
    items = index if isinstance(index, tuple) else (index,)
    if any(not (item is None or item is Ellipsis or isinstance(item, int | slice)) for item in items):
        raise UnsupportedOperator("picks by a tensor or a list")
    if any(step.identities.varies(ids, dim) for dim in _picked_axes(items, ids.ndim)):
        step.fix(ids, "the code picks some of them by number")
    return ids[index]


def _picked_axes(items: tuple[Any, ...], ndim: int) -> Iterator[int]:
    dim = 0
    for item in items:
        if item is Ellipsis:
            dim += ndim - sum(other is not None and other is not Ellipsis for other in items)
        elif item is not None:
            if item != slice(None):
                yield dim
            dim += 1


def _reduced(step: Step) -> Tensor:
    """mean, sum, …: along height and width; over channels, what is left depends on all of them."""
    ids, dims = step.ids, step.given(1, "dim")
    dims = range(ids.ndim) if dims is None else [dims] if isinstance(dims, int) else list(dims)
    if any(step.identities.varies(ids, dim) for dim in dims):
        step.fix(ids, "a reduction runs over them")
        ids = step.fixed("the result of a reduction").expand(ids.shape)
    keep = step.value.ndim == ids.ndim
    return ids.amax(tuple(dims), keepdim=keep)


def _softmax(step: Step) -> Tensor:
    dim = step.given(1, "dim")
    if dim is None or step.identities.varies(step.ids, dim):
        step.fix(step.ids, "a softmax runs over them")
    return step.ids


def _spatial(step: Step) -> Tensor:
    """Pooling, resizing: each channel by itself, to another height and width."""
    return spread(step.identities.along(step.ids, 1), 1, step.value.shape)


def _padded(step: Step) -> Tensor:
    ids, sizes = step.ids, step.given(1, "pad")
    if len(sizes) // 2 <= ids.ndim - 2:
        return _spatial(step)
    step.fix(ids, "the code pads them by a number of channels")
    return nn.functional.pad(ids, sizes, value=int(step.fixed("padding")))


def _layer_norm(step: Step) -> Tensor:
    call = step.owner_call(step.node, step.stated(2, "weight"), nn.LayerNorm, step.value.shape)
    return LAYERS[nn.LayerNorm](call, step.ids)


_KINDS: dict[Callable[[Step], Ids], str] = {
    _elementwise: "add sub mul div truediv neg pow abs exp log sqrt rsqrt square clamp maximum minimum iadd isub imul "
    "itruediv relu relu6 leaky_relu elu selu celu gelu silu mish sigmoid logsigmoid tanh hardtanh hardswish "
    "hardsigmoid softplus softsign dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout "
    "stochastic_depth",
    _first: "contiguous clone detach to type_as float double half bfloat16",
    _moved: "flatten permute transpose swapaxes movedim unsqueeze squeeze flip t",
    _expanded: "expand",
    _reshaped: "view reshape",
    _unflattened: "unflatten",
    _concatenated: "cat concat concatenate",
    _divided: "chunk split",
    _picked: "getitem",
    _reduced: "mean sum amax amin var std",
    _softmax: "softmax log_softmax",
    _spatial: "interpolate max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d",
    _padded: "pad",
    _layer_norm: "layer_norm",
}
FUNCTIONS: dict[str, Callable[[Step], Ids]] = {kind: rule for rule, kinds in _KINDS.items() for kind in kinds.split()}
"""Name of a function or method → its rule."""


ELEMENTWISE = frozenset(_KINDS[_elementwise].split())
"""Functions that tie the channels of their tensors, whatever their other arguments are."""

TAKES_SIZES = frozenset({"view", "reshape", "expand", "unflatten", "chunk", "split"})
"""Functions in which a number computed from a tensor's sizes is a size again."""
