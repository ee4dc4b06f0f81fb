"""A convolution with what follows it in one kernel: activation(convolution(x) + other).

PyTorch's eager mode has no module for this. Its compiler has: on x86 it calls ``torch.ops.mkldnn`` operators, which
hand the whole to oneDNN. There the activation and the sum happen while a tile of the output is still in registers, so
the output is written once and never read again. Weights are *packed* first, into the blocked order that the kernel
reads. Given plain weights, the kernel packs them anew in every call, and so does an ordinary convolution of PyTorch
where oneDNN computes it: for a small picture that costs more than the convolution itself. (Not every convolution is
oneDNN's. For one image of at most 20,480 numbers eager PyTorch takes its own matrix product, which packs nothing,
unless there are groups or kernels larger than 3×3: ``use_mkldnn`` in ATen's Convolution.cpp.)

Which order the kernel reads depends on the shape of its input. Weights that were packed without it are in the order
that oneDNN guesses, and where the guess is wrong each call reorders them, by a routine that is not optimised: the
64 → 92 convolution of the course's pruned student then took 3.3 ms instead of 0.07 (one 4×4 picture, one thread of a
Xeon with AVX-512, busy; ONEDNN_VERBOSE=1 shows ``reorder,simple:any``). So they are packed when a shape is first seen.

What is given up:

* inference only: the kernels give no gradient;
* packed weights make the kernel write "channels last", so strides of inner tensors change, values do not;
* oneDNN's ReLU is max(x, 0) with nan → 0: a broken input that PyTorch's ReLU would pass on can be hidden;
* the packed weights are a second copy in memory, one for each shape of input, ``SHAPES`` at most. They are not saved: a
  copy or a pickle packs its own;
* a call of oneDNN costs more than one of the matrix product before it computes anything. Where convolutions are small,
  as the student's with one image, the network becomes slower: ``fastest`` measures that and chooses.

Where the kernel does not apply (another processor, oneDNN off, another type than float32, gradients wanted, while being
traced or compiled), the same module computes the convolution, then the rest in place.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# name → (oneDNN's name, its scalars, the same in place)
ACTIVATIONS: dict[str, tuple[str, list[float], Callable[[Tensor], Tensor]]] = {
    "relu": ("relu", [], torch.relu_),
    "relu6": ("hardtanh", [0.0, 6.0], lambda x: F.hardtanh(x, 0.0, 6.0, inplace=True)),
    "hardswish": ("hardswish", [], lambda x: F.hardswish(x, inplace=True)),
    "silu": ("swish", [], lambda x: F.silu(x, inplace=True)),
}
SUM_ACTIVATIONS = (None, "relu")  # what the kernel with a sum can do after it
SHAPES = 4
"""Shapes of input for which one convolution keeps packed weights; the oldest goes first."""


def why_no_kernel() -> str | None:
    """Why convolutions with an activation cannot be one kernel in this process; None if they can."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return f"the processor is {platform.machine()}, the kernels are for x86"
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return "this PyTorch has no oneDNN"
    if not torch.backends.mkldnn.enabled:
        return "oneDNN is switched off (torch.backends.mkldnn)"
    return None


class FusedConvolution(nn.Module):
    """activation(convolution(x) + other): (B, C_in, H, W) → (B, C_out, H′, W′), where it can in one kernel.

    Args:
        convolution: padded with zeros; its tensors are copied.
        activation: a key of ``ACTIVATIONS``, None for none.
        adds: whether ``other`` is added before the activation.
        packed: whether to pack the weights, once for each shape of ``x``; the output then is "channels last".
    Raises: ValueError: an unknown activation, one that the kernel does not have after a sum, or other padding.
    """

    def __init__(self, convolution: nn.Conv2d, *, activation: str | None, adds: bool, packed: bool):
        super().__init__()
        if activation is not None and activation not in ACTIVATIONS:
            raise ValueError(f"activation must be None or one of {', '.join(ACTIVATIONS)}, got {activation!r}")
        if adds and activation not in SUM_ACTIVATIONS:
            raise ValueError(f"after a sum the kernel knows ReLU or nothing, got {activation!r}")
        if convolution.padding_mode != "zeros" or isinstance(convolution.padding, str):
            raise ValueError(f"the convolution must be padded with a number of zeros, got {convolution}")
        with torch.inference_mode(False):
            self.weight = nn.Parameter(convolution.weight.detach().clone(), requires_grad=False)
            bias = convolution.bias
            self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.stride, self.padding = list(convolution.stride), list(convolution.padding)
        self.dilation, self.groups = list(convolution.dilation), convolution.groups
        self.activation, self.adds, self.packed = activation, adds, packed
        self.training = False
        self._available = why_no_kernel() is None
        self._packed: dict[torch.Size, Tensor] = {}  # shape of the input → the weights packed for it
        self._packed_from: tuple[int, int] | None = None  # address and version of the weights that were packed

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """See the class; ``other`` (B, C_out, H′, W′) if ``adds``."""
        return self._at_once(x, other) if self.runs_kernel(x, other) else self._one_by_one(x, other)

    def runs_kernel(self, x: Tensor, other: Tensor | None = None) -> bool:
        """Whether this call is one kernel."""
        return (
            self._available
            and x.dtype is torch.float32
            and self.weight.dtype is torch.float32
            and x.dim() == 4
            and x.device.type == "cpu"
            and (other is None or (other.dtype is torch.float32 and other.dim() == 4 and len(other) == len(x)))
            and torch.backends.mkldnn.enabled
            and not (torch.is_grad_enabled() and (x.requires_grad or (other is not None and other.requires_grad)))
            and not torch.is_autocast_enabled("cpu")
            and not torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
            and not torch.compiler.is_compiling()
        )

    def _at_once(self, x: Tensor, other: Tensor | None) -> Tensor:
        kernel: Any = torch.ops.mkldnn._convolution_pointwise
        weight = self._packed_weight(x.shape) if self.packed else self.weight
        name, scalars = ACTIVATIONS[self.activation][:2] if self.activation else (None, [])
        shape = (self.padding, self.stride, self.dilation, self.groups)
        if other is None:
            return kernel.default(x, weight, self.bias, *shape, name or "none", scalars, "")
        return kernel.binary(x, other, weight, self.bias, *shape, "add", None, name, scalars, "")

    def _packed_weight(self, shape: torch.Size) -> Tensor:
        """The weights as the kernel reads them for an input of this shape, packed anew when they moved or changed."""
        # An inference tensor (a network copied under inference_mode) counts no changes, and allows none elsewhere.
        now = self.weight.data_ptr(), 0 if self.weight.is_inference() else self.weight._version
        if self._packed_from != now:
            self._packed, self._packed_from = {}, now
        if shape not in self._packed:
            pack: Any = torch.ops.mkldnn._reorder_convolution_weight
            if len(self._packed) == SHAPES:
                del self._packed[next(iter(self._packed))]
            with torch.no_grad():
                self._packed[shape] = pack(
                    self.weight, self.padding, self.stride, self.dilation, self.groups, list(shape)
                )
        return self._packed[shape]

    def _one_by_one(self, x: Tensor, other: Tensor | None) -> Tensor:
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)  # pyright: ignore
        # Under autograd the sum must not overwrite what the convolution gave; nothing else reads it.
        y = y if other is None else y.add_(other) if not y.requires_grad else y + other
        return ACTIVATIONS[self.activation][2](y) if self.activation else y

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_packed": {}, "_packed_from": None}  # opaque: neither copied nor pickled

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._available = why_no_kernel() is None  # another process may run on another processor

    def extra_repr(self) -> str:
        shape = "×".join(map(str, self.weight.shape))
        return f"{shape}, activation={self.activation}, adds={self.adds}, packed={self.packed}"
