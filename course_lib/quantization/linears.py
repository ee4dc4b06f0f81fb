"""Replace the linear layers of a copy of a network, and weigh what is stored."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection

from torch import Tensor, nn


def replace_linears(
    model: nn.Module, make: Callable[[nn.Linear], nn.Module], *, skip: Collection[str] = ()
) -> nn.Module:
    """A copy in which other modules stand for the linear layers; a layer that is called in two places stays one.

    Only modules whose type is exactly ``nn.Linear`` are replaced: a subclass is there because its owner reads its
    weight (``nn.MultiheadAttention``), or computes it (parametrizations).

    Args:
        model: unchanged; if it is a linear layer itself, what stands for it is returned.
        make: gives the new module; it gets the copy's layer, and its own mode is then that layer's.
        skip: names of linear layers that stay, as ``model.named_modules`` has them.
    Raises: ValueError: no linear layer is left, ``skip`` names something else, or ``make`` refuses a layer (named).
    """
    changed = copy.deepcopy(model)
    linears = {n: m for n, m in changed.named_modules(remove_duplicate=False) if type(m) is nn.Linear}
    unknown = sorted(set(skip) - set(linears))
    if unknown:
        raise ValueError(f"skip must name linear layers ({', '.join(linears) or 'there is none'}), got {unknown}")
    kept = {id(linears[name]) for name in skip}
    made: dict[int, nn.Module] = {}
    for name, layer in linears.items():
        if id(layer) not in kept and id(layer) not in made:
            try:
                made[id(layer)] = make(layer).train(layer.training)
            except ValueError as error:
                raise ValueError(f"{name or 'the layer'}: {error}") from error
    if not made:
        raise ValueError("there is no linear layer to replace")
    for name, layer in linears.items():
        if id(layer) in made and name:
            changed.set_submodule(name, made[id(layer)])
    return made.get(id(changed), changed)


def stored_bytes(module: nn.Module) -> int:
    """Bytes of the tensors in a module's state, as a file holds them; a tensor under two names counts once.

    A file has a header besides. Matches: the size of a safetensors file less its header.

    >>> stored_bytes(nn.Linear(256, 10))
    10280
    """
    state = module.state_dict(keep_vars=True)  # without it, each name gets a tensor object of its own
    tensors = {id(value): value for value in state.values() if isinstance(value, Tensor)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
