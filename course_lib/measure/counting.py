"""What a network costs on paper: parameters, non-zeros, multiply-accumulates (MACs) and bytes moved, layer by layer.

Conventions, since half of the disagreement between published numbers is convention:

* 1 MAC = one multiplication and one addition = 2 FLOP. A "GFLOPs" column in a paper often counts MACs.
* Counted: convolutions, transposed convolutions, linear layers. Not counted: bias, BatchNorm, activations, pooling,
  residual adds. They are few operations, which does not make them fast: they move memory.
* Zero padding is counted as if it were data, and zero weights as if they were not zero: dense kernels compute both.
* ``input_shape`` includes the batch; the MACs of a batch of 8 are 8 times those of one image.

For a convolution with C_out filters of shape (C_in/groups, k_h, k_w) and an output of H×W:

    MACs = batch · C_out · H · W · (C_in/groups) · k_h · k_w        (dilation and stride act through H and W only)

A transposed convolution is the same with input and output exchanged: each *input* element is multiplied by
(C_out/groups)·k_h·k_w weights. A linear layer costs (rows of x) · in · out.

Bytes moved are the least possible: weights, bias, input and output once each. MACs and bytes together give the
arithmetic intensity, FLOP per byte, which places a layer under the roofline: depthwise convolutions have few MACs and
an intensity near 1, and that is why they are slower than their MACs promise.

Layers are seen through forward hooks, so a product written as ``x @ w`` or ``F.linear`` inside a forward method is not
seen; layers known to multiply in that way (attention, recurrent layers) are refused instead of being counted as 0.
Industry counts on the traced graph (torch.utils.flop_counter, fvcore, ptflops); the tests compare with the first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from course_lib.models.modes import eval_mode

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d)
COUNTED = (nn.Conv1d, nn.Conv2d, *_TRANSPOSED, nn.Linear)
REFUSED = (nn.Conv3d, nn.ConvTranspose3d, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


@dataclass(frozen=True)
class LayerCount:
    """One layer's cost in one forward pass (a layer that is called twice is one row with the sums).

    Args:
        name: as in ``model.named_modules()``.
        kind: the class, such as "Conv2d".
        parameters: elements of weight and bias.
        macs: multiply-accumulates of the whole batch.
        output_shape: batch first.
        weight_bytes: of weight and bias, once a call.
        activation_bytes: of input and output, once a call.

    >>> row = LayerCount("fc", "Linear", 10, 8, (1, 2), weight_bytes=40, activation_bytes=24)
    >>> row.bytes_moved, row.arithmetic_intensity
    (64, 0.25)
    """

    name: str
    kind: str
    parameters: int
    macs: int
    output_shape: tuple[int, ...]
    weight_bytes: int
    activation_bytes: int

    @property
    def bytes_moved(self) -> int:
        """Weights and bias, input and output, once each."""
        return self.weight_bytes + self.activation_bytes

    @property
    def arithmetic_intensity(self) -> float:
        """FLOP per byte moved: 2·MACs / bytes."""
        return 2 * self.macs / self.bytes_moved


def count_parameters(model: nn.Module) -> int:
    """Number of trainable and frozen parameters; a shared tensor counts once, BatchNorm's running statistics never.

    >>> count_parameters(nn.Conv2d(3, 8, 3))
    224
    """
    return sum(p.numel() for p in model.parameters())


def count_nonzeros(model: nn.Module) -> int:
    """Number of parameters that are not exactly 0. With torch.nn.utils.prune the mask is applied first.

    >>> count_nonzeros(nn.BatchNorm2d(8))  # weights 1, biases 0
    8
    """
    buffers = dict(model.named_buffers())
    total = 0
    for name, p in model.named_parameters():
        mask = buffers.get(f"{name.removesuffix('_orig')}_mask") if name.endswith("_orig") else None
        total += int(torch.count_nonzero(p.detach() if mask is None else p.detach() * mask))
    return total


def count_layers(model: nn.Module, input_shape: Sequence[int]) -> dict[str, LayerCount]:
    """Every convolution and linear layer with its cost, in the order of execution.

    Args:
        model: runs in eval mode without gradients on zeros; its modes, hooks and statistics are as before afterwards.
        input_shape: (B, …) with the batch, such as (1, 3, 32, 32).
    Returns: layer name (as in ``model.named_modules()``) -> LayerCount. Layers that are never called are absent.
    Raises:
        ValueError: input_shape holds a size below 1, or the model has a layer whose products hooks do not see.

    >>> count_layers(nn.Sequential(nn.Linear(4, 2)), (1, 4))["0"].macs
    8
    """
    shape = tuple(input_shape)
    if not shape or any(not isinstance(s, int) or s < 1 for s in shape):
        raise ValueError(f"input_shape must be positive integers with the batch first, got {input_shape!r}")
    for name, module in model.named_modules():
        if isinstance(module, REFUSED):
            raise ValueError(f"model has {name or 'itself'}: {type(module).__name__}, whose products are not counted")
    rows: dict[str, LayerCount] = {}
    like = next(model.parameters(), torch.empty(0))
    with _recording(model, rows), eval_mode(model), torch.no_grad():
        model(torch.zeros(shape, dtype=like.dtype, device=like.device))
    return rows


def macs_by_layer(model: nn.Module, input_shape: Sequence[int]) -> dict[str, int]:
    """Layer name -> MACs for the whole batch of ``input_shape``, in the order of execution (see ``count_layers``).

    Matches: torch.utils.flop_counter.FlopCounterMode, which reports 2 FLOP per MAC.

    >>> macs_by_layer(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), (1, 3, 4, 4))
    {'0': 3456}
    """
    return {name: row.macs for name, row in count_layers(model, input_shape).items()}


def total_macs(model: nn.Module, input_shape: Sequence[int]) -> int:
    """MACs of all layers for the whole batch of ``input_shape`` (see ``count_layers``).

    >>> total_macs(nn.Linear(4, 2), (3, 4))
    24
    """
    return sum(macs_by_layer(model, input_shape).values())


def _layer_macs(module: nn.Module, x: Tensor, y: Tensor) -> int:
    if isinstance(module, nn.Linear):
        return y.numel() * module.in_features
    # weight is (C_out, C_in/groups, k…) or, transposed, (C_in, C_out/groups, k…): each element of the output, or of
    # the input if transposed, meets all weights behind the first axis.
    elements = x.numel() if isinstance(module, _TRANSPOSED) else y.numel()
    weight = module.weight
    if not isinstance(weight, Tensor):
        raise TypeError(f"{type(module).__name__}.weight must be a tensor, got {type(weight).__name__}")
    return elements * weight[0].numel()


@contextlib.contextmanager
def _recording(model: nn.Module, rows: dict[str, LayerCount]) -> Iterator[None]:
    """Hooks that add to ``rows``; they are removed whatever happens."""
    handles = []

    def record(name: str, module: nn.Module, inputs: tuple[Tensor, ...], y: Any) -> None:
        x, own = inputs[0], list(module.parameters(recurse=False))
        seen = rows.get(name)
        rows[name] = LayerCount(
            name=name,
            kind=type(module).__name__,
            parameters=sum(p.numel() for p in own),
            macs=_layer_macs(module, x, y) + (seen.macs if seen else 0),
            output_shape=tuple(y.shape),
            weight_bytes=sum(p.numel() * p.element_size() for p in own) + (seen.weight_bytes if seen else 0),
            activation_bytes=(x.numel() + y.numel()) * x.element_size() + (seen.activation_bytes if seen else 0),
        )

    try:
        for name, module in model.named_modules():
            if isinstance(module, COUNTED):
                handles.append(module.register_forward_hook(partial(record, name)))
        yield
    finally:
        for handle in handles:
            handle.remove()
