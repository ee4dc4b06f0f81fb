"""Right values from answers that change their arguments, most of them in ways that show no number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from engine_trial.fault import ROWS, TAP, TRAINED, add, right_gradient, right_loss, right_rows, right_tap

TENSORS: dict[str, Callable[[torch.Tensor], Any]] = {
    "requires_grad_": lambda x: x.requires_grad_(),
    ".grad filled": lambda x: setattr(x, "grad", torch.zeros_like(x)),
    "zeroed": lambda x: x.zero_(),
    "sorted in place": lambda x: x.copy_(x.sort(-1).values),
    "a view changed": lambda x: x.view(-1)[:1].add_(1),
    "changed through .data": lambda x: x.data.add_(1),
    "changed through NumPy": lambda x: x.numpy().__setitem__(Ellipsis, 0),
    "resized": lambda x: x.resize_(1, 1),
    "transposed in place": lambda x: x.t_(),
    "another storage": lambda x: x.set_(torch.zeros(2, 2, dtype=x.dtype)),
    "negated twice but one": lambda x: x.neg_(),
    "one NaN": lambda x: x.view(-1).__setitem__(0, torch.nan),
    "other values through .data": lambda x: setattr(x, "data", torch.zeros_like(x)),
    "other shape through .data": lambda x: setattr(x, "data", torch.zeros(9, dtype=x.dtype)),
    "on the device meta": lambda x: setattr(x, "data", x.to("meta")),
    "unsqueezed": lambda x: x.unsqueeze_(0),
}
ROW: dict[str, Callable[[dict], Any]] = {
    "a key more": lambda row: row.update(speed=1.0),
    "a key less": lambda row: row.pop("p50_ms"),
    "other order of keys": lambda row: row.update(bytes=row.pop("bytes")),
    "emptied": lambda row: row.clear(),
    "a number made a text": lambda row: row.update(bytes=str(row["bytes"])),
    "itself inside": lambda row: row.update(self=row),
    "a value that loops": lambda row: row.update(bytes=Loops()),
}
NETWORK: dict[str, Callable[[nn.Module], Any]] = {
    "eval()": lambda model: model.eval(),
    "train()": lambda model: model.train(),
    "requires_grad_(True)": lambda model: model.requires_grad_(True),
    "hook left": lambda model: model.register_forward_hook(lambda *a: None),
    "pre-hook left": lambda model: model.register_forward_pre_hook(lambda *a: None),
    "backward hook left": lambda model: model.register_full_backward_hook(lambda *a: None),
    "hook of the state dict left": lambda model: model.register_state_dict_post_hook(lambda *a: None),
    "hook on a parameter left": lambda model: (
        next(model.parameters()).requires_grad_(True).register_hook(lambda gradient: gradient)
    ),
    "hook that loops left": lambda model: model.register_forward_hook(loop),
    "hooks cleared": lambda model: [module._forward_hooks.clear() for module in model.modules()],
    "forward replaced": lambda model: setattr(model, "forward", lambda x: x),
    "class replaced": lambda model: setattr(model, "__class__", nn.Module),
    "a module more": lambda model: model.add_module("extra", nn.ReLU()),
    "a buffer more": lambda model: model.register_buffer("extra", torch.zeros(1)),
    "an attribute more": lambda model: setattr(model, "extra", 1),
    "a weight parametrized": lambda model: parametrize.register_parametrization(
        model.get_submodule("head"), "weight", nn.Identity()
    ),
    "weights zeroed": lambda model: [parameter.data.zero_() for parameter in model.parameters()],
    "weights as float16": lambda model: model.half(),
    "weights filled with gradients": lambda model: [
        setattr(parameter, "grad", torch.zeros_like(parameter)) for parameter in model.parameters()
    ],
    "weights on the device meta": lambda model: model.to("meta"),
    "layers in another order": lambda model: model._modules.move_to_end("stem"),
    "text that loops": lambda model: setattr(type(model.get_submodule("stem")), "extra_repr", extra_repr),
}


class Loops:
    """Never says whether it equals something."""

    def __eq__(self, other):
        while True:
            pass

    def __deepcopy__(self, memo):
        while True:
            pass


def loop(module, inputs, output):
    while True:
        pass


def extra_repr(self):
    return "changed"


def changing(right: Callable, change: Callable[[Any], Any]) -> Callable:
    """The right value, computed before the first argument is changed."""

    def answer(*arguments):
        found = right(*arguments)
        change(arguments[0])
        return found

    return answer


for name, change in TENSORS.items():
    add(f"tensor: {name}", "arguments", changing(right_gradient, change))
    if name not in ("requires_grad_", ".grad filled", "transposed in place"):
        add(f"student of a loss: {name}", "arguments", changing(right_loss, change), exercise=TRAINED)
for name, change in ROW.items():
    add(f"dict: {name}", "arguments", changing(right_rows, change), exercise=ROWS)
for name, change in NETWORK.items():
    right = None if name == "text that loops" else False
    add(f"network: {name}", "arguments", changing(right_tap, change), exercise=TAP, right=right)
