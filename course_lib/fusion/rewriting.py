"""Operator fusion on torch.fx: a network in, a graph with fewer passes over memory out, checked to compute the same.

Between two layers of a network the whole picture is written to memory and read again. BatchNorm does one multiplication
and one addition for each number that it fetches and puts back, ReLU one comparison: they wait for memory, not for
arithmetic. ``fuse`` moves them into the layer that has the numbers at hand:

1. what does nothing in eval mode (Identity, Dropout) is removed, what depends on no input is computed once;
2. BatchNorm becomes weights of the layer before it, or after it (``folds``, formulas in ``folding``);
3. activations and residual sums move into the convolution's kernel, whose weights are packed ahead (``pointwise``,
   ``kernels``).

Steps 1 and 2 leave ordinary layers, which every exporter knows. Step 3 is for PyTorch's eager mode on x86. The result
is for inference: it is in eval mode, and gives no gradient for weights. What was not changed is listed with its reason.

Compilers (torch.compile, TensorRT, ONNX Runtime) do these three steps and more: they also fuse chains of operators
without a convolution and generate code for them. Here each pattern is seen at work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.passes.shape_prop import ShapeProp

from course_lib.fusion import folds, pointwise
from course_lib.fusion.editing import Editor, Rewrite, flat_tensors, label
from course_lib.fusion.folding import NORMS
from course_lib.fusion.kernels import FusedConvolution, why_no_kernel
from course_lib.fusion.tracing import traced
from course_lib.models.modes import eval_mode

Example = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True, eq=False)
class Fusion:
    """A fused network and what was done.

    Args:
        model: the new network, in eval mode; it shares nothing with the one that was given.
        done: the changes, in their order.
        left: what could have been fused and was not, each with its reason.
        error: largest |new − old| on the example and on random inputs, relative to the largest |old|.
        took: layer → what became part of it: "BatchNorm", "Linear", "sum" or an activation's name, as it happened.
        kernel: how convolutions with an activation are computed, in words; None if there are none.
    """

    model: GraphModule
    done: tuple[Rewrite, ...]
    left: tuple[Rewrite, ...]
    error: float
    took: dict[str, tuple[str, ...]]
    kernel: str | None

    @property
    def norms_left(self) -> int:
        """BatchNorms that are still called."""
        editor = Editor(self.model)
        return sum(type(editor.submodule(node)) in NORMS for node in self.model.graph.nodes)

    def __call__(self, *inputs: Tensor) -> Any:
        """What the fused network gives."""
        return self.model(*inputs)

    def __str__(self) -> str:
        lines = [f"{len(self.done)} changes, largest error {self.error:.1e} of the largest output"]
        lines += [f"  {rewrite}" for rewrite in self.done]
        lines += [f"{len(self.left)} left alone"] + [f"  {rewrite}" for rewrite in self.left]
        return "\n".join(lines + ([f"Kernel: {self.kernel}"] if self.kernel else []))


def fuse(
    model: nn.Module,
    example: Example,
    *,
    folded: bool = True,
    one_kernel: bool = True,
    packed: bool = True,
    tolerance: float = 1e-5,
) -> Fusion:
    """The network in eval mode with fewer, larger operators; ``model`` itself is left as it is, its modes included.

    Args:
        example: one input (B, …), or a tuple of them; its shapes decide what can be fused, any batch runs afterwards.
        folded: fold BatchNorm, merge linear layers, compute constants, drop what does nothing.
        one_kernel: let convolutions take in the activation and the residual sum that follow.
        packed: give all 2-D convolutions to oneDNN, their weights packed once for each shape of input. For one small
            image that may be slower than eager PyTorch; ``fastest`` measures and chooses.
        tolerance: largest error allowed, relative to the largest |output|, on the example and on random inputs. A
            network that normalizes each image divides by its spread, and enlarges its rounding on one of a single grey:
            give a picture, not zeros.
    Raises:
        CourseError: torch.fx cannot trace the network.
        ValueError: the fused network differs by more than ``tolerance``.

    >>> from course_lib.models import sign_student
    >>> fusion = fuse(sign_student(0.5), torch.zeros(1, 3, 32, 32), one_kernel=False, packed=False)
    >>> len(fusion.done), fusion.norms_left, fusion.error < 1e-5
    (5, 0, True)
    >>> print(fusion.done[0])
    BatchNorm after a layer: features.0.0, features.0.1: one factor an output channel
    """
    inputs = example if isinstance(example, tuple) else (example,)
    editor = _traced_editor(model, inputs)
    if folded:
        _fold(editor)
    pointwise.use_kernels(editor, one_kernel=one_kernel, packed=packed)
    module = editor.finished()
    error = _require_small(_errors(model, module, inputs), tolerance)
    took = {layer: tuple(what) for layer, what in editor.took.items()}
    return Fusion(module, tuple(editor.done), tuple(editor.left), error, took, _kernel(module, packed))


def _traced_editor(model: nn.Module, inputs: tuple[Tensor, ...]) -> Editor:
    module, whole = traced(model)
    with torch.no_grad():
        ShapeProp(module).propagate(*(x.clone() for x in inputs))
    editor = Editor(module)
    editor.left += [Rewrite("not looked into", (name,), reason) for name, reason in whole.items()]
    return editor


def _fold(editor: Editor) -> None:
    folds.remove_nothings(editor)
    folds.fold_constants(editor)
    steps = (folds.fold_norms_after, folds.merge_linear_pairs, folds.fold_norms_before)
    while any([step(editor) for step in steps]):
        pass
    for node in editor.graph.nodes:
        if type(editor.submodule(node)) in NORMS:
            editor.left.append(Rewrite("BatchNorm", (label(node),), folds.why_norm_stays(editor, node)))
    folds.note_linear_pairs(editor)


def _kernel(module: GraphModule, packed: bool) -> str | None:
    if not any(isinstance(layer, FusedConvolution) for layer in module.modules()):
        return None
    if reason := why_no_kernel():
        return f"convolution, then the rest in place: {reason}"
    return f"oneDNN's, {'weights packed once' if packed else 'weights packed in each call'}"


def _require_small(errors: dict[str, float], tolerance: float) -> float:
    """The largest of the errors. Raises: ValueError: it is above the tolerance."""
    where = max(errors, key=errors.__getitem__)
    if not errors[where] <= tolerance:
        found, most = f"{errors[where]:.1e}", f"{tolerance:.1e}"
        raise ValueError(f"the fused network differs by {found} of the largest output on {where}, more than {most}")
    return errors[where]


def _errors(model: nn.Module, fused: GraphModule, inputs: tuple[Tensor, ...]) -> dict[str, float]:
    """Largest relative |difference|, for the example and for random inputs of its batch and of one more."""
    more = tuple(torch.cat([x, x[:1]]) if x.dim() else x for x in inputs)
    judged = {"the example": inputs, "random inputs": _random(inputs), "a larger random batch": _random(more)}
    errors = {}
    for name, some in judged.items():
        with eval_mode(model), torch.no_grad():
            try:
                expected = flat_tensors(model(*(x.clone() for x in some)))
            except (RuntimeError, ValueError):
                if some is judged["a larger random batch"]:  # a network for one batch size only
                    continue
                raise
            found = flat_tensors(fused(*(x.clone() for x in some)))
        if [x.shape for x in expected] != [x.shape for x in found]:
            raise ValueError("the fused network gives other shapes")
        errors[name] = max((_relative(a, b) for a, b in zip(found, expected, strict=True)), default=0.0)
    return errors


def _relative(found: Tensor, expected: Tensor) -> float:
    if not expected.numel():
        return 0.0
    a, b = found.double(), expected.double()
    error = float((a - b).abs().max() / b.abs().max().clamp(min=1e-12))
    return math.inf if math.isnan(error) else error  # max() would pass over a nan


def _random(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Uniform in [0, 1) where the example holds floats; other inputs (indices, masks) as they are."""
    generator = torch.Generator().manual_seed(0)
    return tuple(
        torch.rand(x.shape, generator=generator, dtype=x.dtype) if x.is_floating_point() else x for x in inputs
    )
