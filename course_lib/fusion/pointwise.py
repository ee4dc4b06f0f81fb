"""The patterns that become one kernel: convolution and activation; convolution, sum and ReLU.

An activation is recognised in each of its forms (nn.ReLU, F.relu, torch.relu, x.relu()), in place or not. A sum
(x + y, x += y, torch.add, x.add(y)) takes the convolution that runs last among its two operands, so that the other one
is there when it is needed; the kernel then stands where the sum stood. Nothing in between may overwrite a tensor.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from torch import nn
from torch.fx import Node
from torch.nn import functional as F

from course_lib.fusion.editing import Editor, Rewrite, label, shape_of
from course_lib.fusion.folds import CONVOLUTIONS, TRANSPOSED
from course_lib.fusion.kernels import FusedConvolution

_ACTIVATIONS: dict[Any, str] = {
    **dict.fromkeys((nn.ReLU, F.relu, torch.relu, torch.relu_, "relu", "relu_"), "relu"),
    **dict.fromkeys((nn.ReLU6, F.relu6), "relu6"),
    **dict.fromkeys((nn.Hardswish, F.hardswish), "hardswish"),
    **dict.fromkeys((nn.SiLU, F.silu), "silu"),
}
_SUMS_IN_PLACE = (operator.iadd, "add_")
_SUMS = (operator.add, torch.add, "add", *_SUMS_IN_PLACE)


def use_kernels(editor: Editor, *, one_kernel: bool, packed: bool) -> None:
    """Let convolutions take in what follows, pack their weights, or both."""
    if one_kernel:
        fuse_activations(editor, packed=packed)
        fuse_sums(editor, packed=packed)
        note_convolutions(editor)
    if packed:
        pack_rest(editor)
        views_to_reshapes(editor)


def fuse_activations(editor: Editor, *, packed: bool) -> None:
    """Convolution → activation becomes one module."""
    for node in list(editor.graph.nodes):
        reader = editor.sole_reader(node)
        name = _activation(editor, reader)
        if reader is not None and name and _is_plain(editor, node):
            fused = FusedConvolution(_convolution(editor, node), activation=name, adds=False, packed=packed)
            editor.replace(node, fused)
            layers = (label(node), label(reader))
            editor.done.append(Rewrite("convolution and activation", layers, f"{name} inside the convolution"))
            editor.take(node, name)
            editor.bypass(reader, node)


def fuse_sums(editor: Editor, *, packed: bool) -> None:
    """Convolution → sum (→ ReLU) becomes one module at the place of the sum."""
    for node in list(editor.graph.nodes):
        if not _is_sum(node):
            continue
        chosen = _operands(editor, node)
        if isinstance(chosen, str):
            editor.left.append(Rewrite("sum", (label(node),), chosen))
            continue
        convolution, other = chosen
        reader = editor.sole_reader(node)
        ends_in_relu = _activation(editor, reader) == "relu"
        activation = "relu" if ends_in_relu else None
        fused = FusedConvolution(_convolution(editor, convolution), activation=activation, adds=True, packed=packed)
        editor.replace(convolution, fused)
        last = reader if ends_in_relu and reader is not None else node
        with editor.graph.inserting_before(node):
            call = editor.graph.call_module(str(convolution.target), (_input(convolution), other))
        call.meta = dict(last.meta)
        layers = tuple(label(n) for n in dict.fromkeys((convolution, node, last)))
        words = "sum and ReLU" if ends_in_relu else "sum"
        editor.done.append(Rewrite("convolution and sum", layers, f"{words} inside the convolution"))
        for what in ("sum", "relu") if ends_in_relu else ("sum",):
            editor.take(convolution, what)
        last.replace_all_uses_with(call)
        for old in dict.fromkeys((last, node, convolution)):
            editor.graph.erase_node(old)


def pack_rest(editor: Editor) -> None:
    """Convolutions with nothing to take in: their weights, too, are packed ahead."""
    found = [node for node in editor.graph.nodes if _is_plain(editor, node)]
    for node in found:
        fused = FusedConvolution(_convolution(editor, node), activation=None, adds=False, packed=True)
        editor.replace(node, fused)
    if found:
        editor.done.append(
            Rewrite("packed weights", tuple(map(label, found)), "for oneDNN, once for each shape of input")
        )


def views_to_reshapes(editor: Editor) -> None:
    """``view`` asks for adjacent axes, which "channels last" separates; ``reshape`` copies where it must."""
    for node in editor.graph.nodes:
        if node.op == "call_method" and node.target == "view" and not isinstance((*node.args, 0)[1], torch.dtype):
            node.target = "reshape"


def note_convolutions(editor: Editor) -> None:
    """Say of each convolution before an activation why the two were not fused."""
    for node in editor.graph.nodes:
        module = editor.submodule(node)
        if type(module) not in (*CONVOLUTIONS, *TRANSPOSED):
            continue
        readers = [reader for reader in node.users if _activation(editor, reader)]
        if readers:
            reason = _why_not_plain(editor, node) or f"the output of {label(node)} is also read elsewhere"
            layers = (label(node), *map(label, readers))
            editor.left.append(Rewrite("convolution and activation", layers, reason))


def _activation(editor: Editor, node: Node | None) -> str | None:
    """The name of the activation that a node computes, if it is one."""
    if node is None or len(node.all_input_nodes) != 1:
        return None
    module = editor.submodule(node)
    if module is not None:
        return _ACTIVATIONS.get(type(module)) if editor.why_not_removed(node) is None else None
    return _ACTIVATIONS.get(node.target) if node.op in ("call_function", "call_method") else None


def _is_plain(editor: Editor, node: Node) -> bool:
    return type(editor.submodule(node)) is nn.Conv2d and _why_not_plain(editor, node) is None


def _why_not_plain(editor: Editor, node: Node) -> str | None:
    """Why a convolution cannot be given to the kernel."""
    module: Any = editor.submodule(node)
    if type(module) is not nn.Conv2d:
        return f"there is no such kernel for {type(module).__name__}"
    if module.padding_mode != "zeros" or isinstance(module.padding, str):
        return f"{label(node)} is padded otherwise than with a number of zeros"
    return editor.why_not(node)


def _convolution(editor: Editor, node: Node) -> nn.Conv2d:
    module = editor.submodule(node)
    assert isinstance(module, nn.Conv2d)
    return module


def _input(node: Node) -> Node:
    return node.all_input_nodes[0]


def _is_sum(node: Node) -> bool:
    """A sum of two tensors, without a factor (torch.add's alpha) and without ``out``."""
    if node.op not in ("call_function", "call_method") or node.target not in _SUMS:
        return False
    return len(node.args) == 2 and not node.kwargs and all(isinstance(argument, Node) for argument in node.args)


def _operands(editor: Editor, node: Node) -> tuple[Node, Node] | str:
    """The convolution that can take in the sum, and the other operand; or why there is none."""
    left, right = node.args
    assert isinstance(left, Node)
    assert isinstance(right, Node)
    free = [n for n in (left, right) if _is_plain(editor, n) and editor.sole_reader(n) is node]
    if not free:
        return f"neither {label(left)} nor {label(right)} is a convolution that only the sum reads"
    convolution = free[0] if len(free) == 1 or editor.is_before(free[1], free[0]) else free[1]
    other = right if convolution is left else left
    if shape_of(other) is None or shape_of(other) != shape_of(convolution):
        return f"{label(other)} and {label(convolution)} have other shapes: one of them is repeated"
    if not _depends_on_input(other):
        return f"{label(other)} depends on no input: it may be repeated along the batch"
    if node.target in _SUMS_IN_PLACE and convolution is not left and other not in free:
        return f"the sum overwrites {label(other)}, which others may see"
    if editor.overwritten_between(convolution, node):
        return f"something between {label(convolution)} and the sum overwrites a tensor"
    return convolution, other


def _depends_on_input(node: Node) -> bool:
    seen, waiting = set(), [node]
    while waiting:
        one = waiting.pop()
        if one.op == "placeholder":
            return True
        if one not in seen:
            seen.add(one)
            waiting.extend(one.all_input_nodes)
    return False
