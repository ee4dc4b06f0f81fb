"""What a loss is to the training loop: one interface, whose methods do nothing unless a loss needs them.

Most losses are a function of the logits and the batch. A few learn parameters of their own (a hint's projection), must
refuse what does not fit before the first step, or sum something up over an epoch. ``fit`` asks every loss the same
four questions; ``Loss`` answers three of them with nothing, and ``as_loss`` wraps a plain function.

``identity`` guards a resumed training: two epochs of cross-entropy followed by two of something else are a third
training, which nobody asked for, and its checkpoint would not tell. A plain function is known by its byte code, its
constants, defaults and the plain values that it closes over.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from types import CodeType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from course_lib.data import SignDataset
    from course_lib.training.recipe import Batch, Recipe

LossFunction = Callable[[Tensor, "Batch"], Tensor]
"""(logits (B, C), batch) → scalar: what ``fit`` takes as a loss; a ``Loss`` is one too."""


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
        return _function_identity(self.function)


def as_loss(loss: LossFunction | None, label_smoothing: float) -> Loss:
    """The loss behind the interface: itself, a wrapped function, or for None the cross-entropy with the labels."""
    if loss is None:
        return CrossEntropy(label_smoothing)
    return loss if isinstance(loss, Loss) else _Function(loss)


def _function_identity(function: Any) -> str:
    """Name and digest of a function; of an object with ``__call__``, its class and plain attributes."""
    if isinstance(function, functools.partial):
        kept = sorted((function.keywords or {}).items())
        return f"partial({_function_identity(function.func)}, {_plain(function.args)}, {_plain(kept)})"
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if not isinstance(code, CodeType):
        kind = type(function)
        return f"{kind.__module__}.{kind.__qualname__}({_plain(sorted(getattr(function, '__dict__', {}).items()))})"
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    parts = (_code(code), _plain(function.__defaults__), _plain(function.__kwdefaults__), _plain(cells))
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    return f"{function.__module__}.{function.__qualname__} {digest}"


def _code(code: CodeType) -> tuple:
    """What a function does, without file names and line numbers."""
    constants = [_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts]
    return code.co_code.hex(), code.co_names, constants


def _plain(value: Any) -> str:
    """Numbers, strings and their containers as text; anything else by its class: it may print an address."""
    if isinstance(value, bool | int | float | str | bytes | None):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_plain(k)}: {_plain(v)}' for k, v in sorted(value.items(), key=repr))}}}"
    return type(value).__qualname__
