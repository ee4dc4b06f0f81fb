"""The patterns whose result is an ordinary layer with other weights: what they match, and what they leave alone.

Each function walks the graph once and returns whether it changed anything; ``rewriting`` repeats them until none does,
because one fold makes room for the next. Layers are replaced by new ones, never written to: in this graph the weights
may be shared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import Node
from torch.nn import functional as F

from course_lib.fusion.editing import Editor, Rewrite, label, shape_of, source_of
from course_lib.fusion.folding import NORMS, fold_after, fold_before, merge_linears, norm_of

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
LAYERS: tuple[type, ...] = (*CONVOLUTIONS, *TRANSPOSED, nn.Linear)
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
_DROPOUTS = (F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, torch.dropout)


def remove_nothings(editor: Editor) -> bool:
    """Identity, and in eval mode Dropout and stochastic depth, hand on what they read."""
    removed = []
    for node in list(editor.graph.nodes):
        source = source_of(node)
        if source is not None and _does_nothing(editor, node):
            removed.append(label(node))
            editor.bypass(node, source)
    if removed:
        editor.done.append(Rewrite("does nothing", tuple(removed), "removed: in eval mode it hands on what it reads"))
    return bool(removed)


def _does_nothing(editor: Editor, node: Node) -> bool:
    module = editor.submodule(node)
    if module is not None:
        return type(module) in _NOTHING and editor.why_not_removed(node) is None
    if node.op != "call_function":
        return False
    if node.target in _DROPOUTS:
        return node.kwargs.get("training", (*node.args, None, True)[2]) is False
    if getattr(node.target, "__name__", "") == "stochastic_depth":  # torchvision's, which tracing does not look into
        return node.kwargs.get("training", (*node.args, None, None, None)[3]) is False
    return False


def fold_constants(editor: Editor) -> bool:
    """What depends on parameters, buffers and constants alone is computed now and stored as one tensor."""
    constant: dict[Node, Any] = {}
    for node in editor.graph.nodes:
        if any(editor.in_place(reader) for reader in node.users) or editor.in_place(node):
            continue
        if node.op == "get_attr":
            constant[node] = _attribute(editor, str(node.target))
        elif node.op.startswith("call") and node.all_input_nodes and constant.keys() >= set(node.all_input_nodes):
            _try_constant(editor, node, constant)
    ends = [
        node
        for node, value in constant.items()
        if node.op != "get_attr" and isinstance(value, Tensor) and any(reader not in constant for reader in node.users)
    ]
    for number, node in enumerate(ends):
        name = f"_constant_{number}_{node.name}"
        editor.module.register_buffer(name, constant[node].detach().clone())
        with editor.graph.inserting_before(node):
            stored = editor.graph.get_attr(name)
        stored.meta = dict(node.meta)
        editor.done.append(Rewrite("constant", (label(node),), "computed once: it depends on no input"))
        node.replace_all_uses_with(stored)
    # Not eliminate_dead_code: it also drops x.mul_(2), whose result nobody reads and whose effect everybody sees.
    for node in reversed(constant):
        if not node.users:
            editor.graph.erase_node(node)
    return bool(ends)


def _attribute(editor: Editor, path: str) -> Any:
    value: Any = editor.module
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _try_constant(editor: Editor, node: Node, constant: dict[Node, Any]) -> None:
    """Add the node's value, unless two calls with other random states differ."""
    values = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            args = torch.fx.map_arg(node.args, lambda n: constant[n])
            kwargs = torch.fx.map_arg(node.kwargs, lambda n: constant[n])
            values.append(_call(editor, node, args, kwargs))
    same = all(isinstance(v, Tensor) for v in values) and torch.equal(values[0], values[1])
    if same or not any(isinstance(v, Tensor) for v in values):
        constant[node] = values[0]


def _call(editor: Editor, node: Node, args: Any, kwargs: Any) -> Any:
    module = editor.submodule(node)
    if module is not None:
        return module(*args, **kwargs)
    function: Any = node.target if node.op == "call_function" else getattr(args[0], str(node.target))
    return function(*(args if node.op == "call_function" else args[1:]), **kwargs)


def fold_norms_after(editor: Editor) -> bool:
    """Convolution or linear layer, then BatchNorm."""
    return _each_norm(editor, _fold_after_at)


def fold_norms_before(editor: Editor) -> bool:
    """BatchNorm, then convolution or linear layer."""
    return _each_norm(editor, _fold_before_at)


def _each_norm(editor: Editor, fold: Callable[[Editor, Node], bool]) -> bool:
    norms = [node for node in editor.graph.nodes if type(editor.submodule(node)) in NORMS]
    return any([fold(editor, node) for node in norms])


def why_norm_stays(editor: Editor, node: Node) -> str:
    """Why the BatchNorm of this node is part of no layer."""
    norm, layer, reader = editor.submodule(node), source_of(node), editor.sole_reader(node)
    assert norm is not None
    return _why_unusable(editor, node, norm) or _why_not_after(editor, node, layer) + (
        f"; {before}" if (before := _why_not_before(editor, node, reader, norm)) else ""
    )


def _why_unusable(editor: Editor, node: Node, norm: nn.Module) -> str | None:
    try:
        norm_of(norm)
    except ValueError as error:
        return str(error)
    return editor.why_not(node)


def _why_not_after(editor: Editor, node: Node, layer: Node | None) -> str:
    """Why it cannot become part of the layer that it reads; "" if it can."""
    module = editor.submodule(layer)
    if layer is None or type(module) not in LAYERS:
        what = "several tensors" if layer is None else label(layer)
        return f"it reads {what}, which is no convolution or linear layer"
    if reason := editor.why_not(layer):
        return reason
    if editor.sole_reader(layer) is not node:
        return f"the output of {label(layer)} is also read elsewhere"
    if len(shape_of(layer) or ()) != _axes(module):
        return f"{label(layer)} gives {len(shape_of(layer) or ())} axes: the BatchNorm's are not the layer's outputs"
    return ""


def _why_not_before(editor: Editor, node: Node, layer: Node | None, norm: nn.Module) -> str:
    """Why it cannot become part of the layer that reads it; "" if it can."""
    module = editor.submodule(layer)
    if layer is None or type(module) not in (*CONVOLUTIONS, nn.Linear):
        return "no convolution or linear layer is the only one that reads it"
    if reason := editor.why_not(layer):
        return reason
    if len(shape_of(node) or ()) != _axes(module):
        return f"{label(layer)} reads {len(shape_of(node) or ())} axes: the BatchNorm's are not the layer's inputs"
    if editor.overwritten_between(node, layer):
        return f"something between it and {label(layer)} overwrites a tensor"
    if _zero_padded(module) and norm_of(norm).shift.any():
        return f"{label(layer)} pads with zeros, which the BatchNorm has not shifted"
    return ""


def _axes(module: nn.Module | None) -> int:
    """Axes of a layer's batch: the channels are its second one."""
    return 2 if isinstance(module, nn.Linear) else 2 + len(module.kernel_size)  # pyright: ignore


def _zero_padded(module: nn.Module | None) -> bool:
    if isinstance(module, nn.Linear):
        return False
    padding: Any = module.padding  # pyright: ignore
    padded = padding == "same" if isinstance(padding, str) else any(padding)
    return module.padding_mode == "zeros" and padded  # pyright: ignore


def _fold_after_at(editor: Editor, node: Node) -> bool:
    norm, layer = editor.submodule(node), source_of(node)
    if norm is None or layer is None or _why_unusable(editor, node, norm) or _why_not_after(editor, node, layer):
        return False
    module: Any = editor.submodule(layer)
    groups = getattr(module, "groups", 1)
    transposed = isinstance(module, TRANSPOSED)
    weight, bias = fold_after(module.weight, module.bias, norm_of(norm), transposed=transposed, groups=groups)
    editor.replace(layer, _with_weights(module, weight, bias))
    editor.done.append(Rewrite("BatchNorm after a layer", (label(layer), label(node)), "one factor an output channel"))
    editor.take(layer, "BatchNorm")
    editor.bypass(node, layer)
    return True


def _fold_before_at(editor: Editor, node: Node) -> bool:
    norm, layer = editor.submodule(node), editor.sole_reader(node)
    if norm is None or layer is None or _why_unusable(editor, node, norm):
        return False
    source = source_of(node)
    if source is None or _why_not_before(editor, node, layer, norm):
        return False
    module: Any = editor.submodule(layer)
    groups, padded = getattr(module, "groups", 1), _zero_padded(module)
    weight, bias = fold_before(norm_of(norm), module.weight, module.bias, groups=groups, zero_padded=padded)
    editor.replace(layer, _with_weights(module, weight, bias))
    editor.done.append(Rewrite("BatchNorm before a layer", (label(node), label(layer)), "one factor an input channel"))
    editor.take(layer, "BatchNorm")
    editor.bypass(node, source)
    return True


def merge_linear_pairs(editor: Editor) -> bool:
    """Two linear layers with nothing between, where one takes fewer multiplications."""
    changed = False
    for node in list(editor.graph.nodes):
        first: Any = editor.submodule(node)
        reader = editor.sole_reader(node)
        second: Any = editor.submodule(reader)
        if type(first) is not nn.Linear or type(second) is not nn.Linear or reader is None:
            continue
        merged = merge_linears(first.weight, first.bias, second.weight, second.bias)
        counts = f"{merged.macs_before:,} multiplications a row became {merged.macs_after:,}"
        source = source_of(node)
        if source is None or editor.why_not(node) or editor.why_not(reader) or not merged.saves:
            continue
        if editor.overwritten_between(node, reader):
            continue
        editor.replace(reader, _with_weights(second, merged.weight, merged.bias))
        editor.done.append(Rewrite("consecutive linear layers", (label(node), label(reader)), counts))
        editor.take(reader, "Linear")
        editor.bypass(node, source)
        changed = True
    return changed


def note_linear_pairs(editor: Editor) -> None:
    """Say why linear layers that follow one another were not merged."""
    for node in editor.graph.nodes:
        first, reader = editor.submodule(node), editor.sole_reader(node)
        second = editor.submodule(reader)
        if type(first) is nn.Linear and type(second) is nn.Linear and reader is not None:
            assert isinstance(first, nn.Linear)
            assert isinstance(second, nn.Linear)
            merged = merge_linears(first.weight, first.bias, second.weight, second.bias)
            more = f"one layer would take {merged.macs_after:,} multiplications a row instead of {merged.macs_before:,}"
            reason = editor.why_not(node) or editor.why_not(reader)
            reason = reason or (more if not merged.saves else "something between them overwrites a tensor")
            editor.left.append(Rewrite("consecutive linear layers", (label(node), label(reader)), reason))


def _with_weights(layer: Any, weight: Tensor, bias: Tensor) -> nn.Module:
    """A layer of the same shape parameters with these tensors; the given one is left as it is."""
    if isinstance(layer, nn.Linear):
        made: nn.Module = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    else:
        shape = (layer.in_channels, layer.out_channels, layer.kernel_size)
        options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        if isinstance(layer, TRANSPOSED):
            options["output_padding"] = layer.output_padding
        made = type(layer)(*shape, **options, groups=layer.groups, padding_mode=layer.padding_mode, device="meta")
    with torch.inference_mode(False):
        made.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        made.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return made
