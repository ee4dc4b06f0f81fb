"""What a loss is to the training loop: one interface, whose methods do nothing unless a loss needs them.

Most losses are a function of the logits and the batch. A few learn parameters of their own (a hint's projection), must
refuse what does not fit before the first step, or sum something up over an epoch. ``fit`` asks every loss the same
four questions; ``Loss`` answers three of them with nothing, and ``as_loss`` wraps a plain function.

``identity`` guards a resumed training: two epochs of cross-entropy followed by two of something else are a third
training, which nobody asked for, and its checkpoint would not tell. A plain function is known by its byte code, its
constants, defaults and the values that it closes over or reads from its module: numbers and texts, tensors and networks
by their content (a teacher among them), other functions in the same way.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models.digest import weights_sha256

if TYPE_CHECKING:
    from course_lib.data import SignDataset
    from course_lib.training.recipe import Batch, Recipe

LossFunction = Callable[[Tensor, "Batch"], Tensor]
"""(logits (B, C), batch) → scalar: what ``fit`` takes as a loss; a ``Loss`` is one too."""


_LIBRARIES = {"course_lib", "torch", "numpy"}  # their functions are known by name: the state holds no versions


class Loss(nn.Module):
    """A loss with parameters of its own, or with something to do before, between or after epochs.

    Override ``forward(logits, batch)``, and of the others what is needed. Its parameters are trained along with the
    model, saved with the training's state, and shared among processes.
    """

    def start(self, train: SignDataset, recipe: Recipe, optimizer: torch.optim.Optimizer) -> None:
        """Called once, before the first step; the place to refuse what does not fit."""

    def identity(self) -> str:
        """What a resumed training's loss must have in common with the interrupted one's."""
        return type(self).__qualname__

    def end_epoch(self) -> None:
        """Called after the last step of each epoch, before validation."""


class CrossEntropy(Loss):
    """Cross-entropy with the labels, mean over the batch, in nats.

    Args: label_smoothing: the share in [0, 1) that is spread evenly over all classes.

    >>> from course_lib.training import Batch
    >>> batch = Batch(torch.zeros(1, 3, 1, 1), torch.tensor([0]), torch.tensor([0]), view=0)
    >>> round(CrossEntropy()(torch.zeros(1, 4), batch).item(), 4)  # ln 4
    1.3863
    """

    def __init__(self, label_smoothing: float = 0.0):
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(logits, batch.labels, label_smoothing=self.label_smoothing)

    def identity(self) -> str:
        """The class and its smoothing."""
        return f"cross-entropy, label smoothing {self.label_smoothing:g}"


class _Function(Loss):
    """A plain function, or a module that is no ``Loss``, behind the interface."""

    def __init__(self, function: LossFunction):
        super().__init__()
        self.function = function  # a module is registered: its parameters are trained

    def forward(self, logits: Tensor, batch: Batch) -> Tensor:
        return self.function(logits, batch)

    def identity(self) -> str:
        return function_identity(self.function)


def as_loss(loss: LossFunction | None, label_smoothing: float) -> Loss:
    """The loss behind the interface: itself, a wrapped function, or for None the cross-entropy with the labels."""
    if loss is None:
        return CrossEntropy(label_smoothing)
    return loss if isinstance(loss, Loss) else _Function(loss)


def function_identity(function: Any) -> str:
    """Name and digest of a function: its code, and the values that it closes over or reads from its own module.

    An object with ``__call__`` is known by its class and attributes. Tensors and networks count by their content.
    """
    return _function(function, ())


def _function(function: Any, within: tuple[int, ...]) -> str:
    if isinstance(function, functools.partial):
        kept = sorted((function.keywords or {}).items())
        return f"partial({_function(function.func, within)}, {_plain(function.args, within)}, {_plain(kept, within)})"
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        kind = type(function)
        kept = sorted(getattr(function, "__dict__", {}).items())
        return f"{kind.__module__}.{kind.__qualname__}({_plain(kept, within)})"
    name = f"{function.__module__}.{function.__qualname__}"
    if id(function) in within:  # it calls itself
        return name
    within = (*within, id(function))
    cells = [_plain(cell.cell_contents, within) for cell in function.__closure__ or ()]
    read = {name: _plain(function.__globals__[name], within) for name in _names(code) if name in function.__globals__}
    defaults = _plain(function.__defaults__, within), _plain(function.__kwdefaults__, within)
    return f"{name} {_digest(repr((_code(code), defaults, cells, sorted(read.items()))))}"


def _names(code: CodeType) -> set[str]:
    """Every global name that a function or one inside it reads."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*inner)


def _code(code: CodeType) -> tuple:
    """What a function does, without file names and line numbers."""
    constants = [_code(c) if isinstance(c, CodeType) else _plain(c, ()) for c in code.co_consts]
    return code.co_code.hex(), code.co_names, constants


def _plain(value: Any, within: tuple[int, ...]) -> str:
    """A value as text: by its content where that is known, else by its class, for it may print an address."""
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_plain(one, within) for one in value)}]"
    if isinstance(value, set | frozenset):
        return f"{{{', '.join(sorted(_plain(one, within) for one in value))}}}"
    if isinstance(value, dict):
        items = sorted(value.items(), key=repr)
        return f"{{{', '.join(f'{_plain(k, within)}: {_plain(v, within)}' for k, v in items)}}}"
    if isinstance(value, nn.Module):
        return f"network {weights_sha256(value)}"
    if isinstance(value, Tensor | np.ndarray):
        array = np.ascontiguousarray(value.detach().cpu().numpy() if isinstance(value, Tensor) else value)
        return f"{array.dtype} {array.shape} {_digest(repr(array.tolist()) if array.dtype.hasobject else array)}"
    own = getattr(value, "__module__", None) or ""
    if callable(value) and hasattr(value, "__code__") and own.partition(".")[0] not in _LIBRARIES:
        return _function(value, within)
    return f"{own}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _digest(content: str | np.ndarray) -> str:
    data = content.encode() if isinstance(content, str) else content.tobytes()
    return hashlib.sha256(data).hexdigest()[:16]
