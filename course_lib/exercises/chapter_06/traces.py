"""What 06.1 needs to see a trace: a network that shows each one, and a look at what belongs to no module."""

from __future__ import annotations

import contextlib
import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from course_lib.exercises.engine.changes import trait_change, traits


def _somebody_elses_hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
    """Was there before, and must be there afterwards."""


class Network(nn.Sequential):
    """Says in one line what it is: a message shows it."""

    def __repr__(self) -> str:
        return f"Network({', '.join(name for name, _ in self.named_modules() if name)})"


def network(stem: int, middle: int) -> nn.Module:
    """Frozen, in train mode but for its stem, with a hook on each module: what a careless answer would change."""
    convolutions = {"0": nn.Conv2d(stem, middle, 1), "1": nn.Conv2d(middle, 2, 1)}
    stages = nn.Sequential(OrderedDict(convolutions, stem=nn.Tanh(), flat=nn.Tanh()))  # names that end like others
    parts = {"stem": nn.Conv2d(1, stem, 1), "stem_tanh": nn.Tanh(), "stages": stages, "flat": nn.Flatten()}
    model = Network(OrderedDict(parts, head=nn.Linear(2 * 6, 3))).requires_grad_(False)
    model.get_submodule("stem").eval()
    for number, parameter in enumerate(model.parameters()):
        parameter.copy_((torch.arange(parameter.numel()) * (number + 3) % 7 - 3).view_as(parameter) / 4)
    for module in model.modules():
        module.register_forward_hook(_somebody_elses_hook)
    return model


def pictures(count: int, shift: int = 0) -> Tensor:
    """(count, 1, 2, 3): pixels that all differ."""
    return ((torch.arange(6 * count) * 5 + shift) % 17 / 10).view(count, 1, 2, 3)


class Caught(list[Tensor]):
    """A list that is a hook: it takes what a module puts out (or, as a pre-hook, what it is given)."""

    def __call__(self, module: nn.Module, inputs: tuple, output: Tensor) -> None:
        self.append(output)

    def inputs(self, module: nn.Module, inputs: tuple) -> None:
        self.append(inputs[0])

    def replacing(self, module: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        self.append(output)
        return 0 * output


@contextlib.contextmanager
def hooked(module: nn.Module, hook: Callable) -> Iterator[None]:
    """A forward hook that stays as long as the block."""
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def answers_of(model: nn.Module) -> Iterator[list[Tensor]]:
    """What the model itself puts out meanwhile: nothing, if the answer stops it halfway."""
    seen: list[Tensor] = []

    def look(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        seen.append(output.detach())

    handle = model.register_forward_hook(look)
    try:
        yield seen
    finally:
        handle.remove()


@contextlib.contextmanager
def global_hooks_kept() -> Iterator[Callable[[], str]]:
    """Gives a function that says which hooks on all modules came or went; puts them back."""
    kinds = {name: hooks for name, hooks in vars(torch_module).items() if name.startswith("_global_")}
    kinds = {name: hooks for name, hooks in kinds.items() if isinstance(hooks, dict)}
    kept = {name: dict(hooks) for name, hooks in kinds.items()}

    def changed() -> str:
        names = [name for name, hooks in kinds.items() if dict(hooks) != kept[name]]
        return f"hooks on all modules of the process: {', '.join(names)}" if names else ""

    try:
        yield changed
    finally:
        for name, hooks in kinds.items():
            hooks.clear()
            hooks.update(kept[name])


def _trains(answer: Callable, model: nn.Module, name: str, images: Tensor) -> bool:
    """Could a loss on what is caught train the model? Asked for its first weight, which is frozen otherwise."""
    weight = model.get_parameter("stem.weight").requires_grad_(True)
    try:
        with torch.enable_grad():
            caught = answer(model, name, images)
            return torch.autograd.grad(caught.sum(), weight, allow_unused=True)[0] is not None
    except (AttributeError, RuntimeError):  # no tensor, or none that carries a gradient
        return False
    finally:
        weight.requires_grad_(False)


def output_and_traces(answer: Callable, model: nn.Module, name: str, images: Tensor) -> dict[str, Any]:
    """What is caught, and what is left behind: after a call, after an error behind the layer, after one before it."""
    before = traits(model)
    reply: dict[str, Any] = {}

    def left_behind() -> str:
        return trait_change(before, traits(model)) or global_hooks()

    with global_hooks_kept() as global_hooks:
        with answers_of(model) as answers:
            reply["output"] = answer(model, name, images)
        reply["left behind"] = left_behind()
        reply["gradient reaches the model's weights"] = _trains(answer, copy.deepcopy(model), name, images)
        reply["the model's own answer"] = all(torch.equal(seen, model(images)) for seen in answers)
        with contextlib.suppress(Exception):
            answer(model, name, images[..., :1])  # too narrow for the last layer
        reply["left behind after an error"] = left_behind()
        try:
            answer(model, name, images.repeat(1, 2, 1, 1))  # too many channels for the first layer
            reply["error of the model"] = "none"
        except Exception as error:
            reply["error of the model"] = type(error).__name__
    return reply
