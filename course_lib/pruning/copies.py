"""A copy of a network that has other tensors in the place of its own: ``copy_with(model, tensors)``.

``copy.deepcopy`` takes what its memo names as already copied; so no tensor is copied only to be thrown away. It also
spends most of its time on hooks that nobody registered: every module keeps eight empty ordered dictionaries, each of
which it takes apart and puts together. Those are made anew here.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def copy_with(model: Network, tensors: Mapping[int, Tensor]) -> Network:
    """A deep copy of ``model`` that holds ``tensors``.

    Args:
        model: stays as it is, and shares nothing that can change with the copy.
        tensors: a tensor's id() → what stands for it in the copy; a tensor that is not named is copied.

    >>> net = nn.Linear(2, 1, bias=False)
    >>> weight = nn.Parameter(net.weight.detach()[:, :1])
    >>> copy_with(net, {id(net.weight): weight}).weight is weight
    True
    """
    memo: dict[int, object] = dict(tensors)
    for module in model.modules():
        memo.update((id(value), OrderedDict()) for value in vars(module).values() if _is_bare(value))
    return copy.deepcopy(model, memo)


def _is_bare(value: object) -> bool:
    """Whether it is an ordered dictionary without entries or attributes of its own."""
    return type(value) is OrderedDict and not value and not vars(value)
