"""Are the arguments as they were found? Values, and all that a value does not show.

A hook that stays, a submodule left in eval mode, a filled ``.grad`` or a replaced ``forward`` change no number in this
call, and every number in the next. So each argument is looked at before and after: bits, ``requires_grad``, ``.grad``,
hooks of every kind, training flags of every submodule, attributes that came or went, and the order of keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from course_lib.exercises.engine.compare import clone, exactly
from course_lib.exercises.engine.describe import describe, describe_two
from course_lib.exercises.engine.exercise import Arguments, Exercise

Traits = dict[str, Any]
_PARTS = {"_parameters", "_buffers", "_modules", "training"}


class Before:
    """What the arguments of one call were before it."""

    def __init__(self, exercise: Exercise, arguments: Arguments):
        self.exercise = exercise
        self.values = exercise.named(clone(arguments))
        self.traits = {name: traits(value) for name, value in exercise.named(arguments).items()}

    def change(self, arguments: Arguments) -> str:
        """What the call changed, in words; "" if nothing."""
        for name, value in self.exercise.named(arguments).items():
            found = _value_change(self.values[name], value) or trait_change(self.traits[name], traits(value))
            if found:
                return (
                    f"your function changes its argument {name}: {found} after the call. "
                    "The caller still needs it as it was: work on a copy, or put it back"
                )
        return ""


def traits(value: Any) -> Traits:
    """What there is to a value beside its numbers, by a name that a message can use."""
    found: Traits = {}
    _collect(value, "", found)
    return found


def trait_change(before: Traits, after: Traits) -> str:
    """The first trait that is not what it was, in words; "" if all are.

    >>> layer = nn.ReLU(); found = traits(layer); _ = layer.eval(); trait_change(found, traits(layer))
    'its mode was training, and is evaluation'
    """
    for name in [*before, *(name for name in after if name not in before)]:
        one, other = before.get(name), after.get(name)
        if name not in before or name not in after or not _same(one, other):
            was, now = (_say(name, value) for value in (one, other))
            return f"its {name} was {was}, and is {now}" if was != now else f"its {name} is another one"
    return ""


def in_words(found: Traits) -> dict[str, str]:
    """Traits of two objects made apart can only be compared in words: how many hooks, not which."""
    return {name: _say(name, value) for name, value in found.items()}


def _collect(value: Any, path: str, found: Traits) -> None:
    where = f" of {path}" if path else ""
    if isinstance(value, Tensor):
        found[f"requires_grad{where}"] = value.requires_grad
        if value.is_leaf:
            found[f".grad{where}"] = clone(value.grad)
    elif isinstance(value, nn.Module):
        _collect_module(value, path, found)
    elif isinstance(value, Mapping):
        found[f"order of keys{where}"] = list(value)
        for key, item in value.items():
            _collect(item, f"{path}[{key!r}]", found)
    elif isinstance(value, list | tuple) and len(value) <= 1000:
        for index, item in enumerate(value):
            _collect(item, f"{path}[{index}]", found)


def _collect_module(root: nn.Module, path: str, found: Traits) -> None:
    for name, module in root.named_modules(remove_duplicate=False):
        full = ".".join(part for part in (path, name) if part)
        where = f" of {full}" if full else ""
        found[f"mode{where}"] = module.training
        found[f"class{where}"] = type(module)
        found[f"submodules{where}"] = list(module._modules)
        for attribute, value in vars(module).items():
            if attribute.endswith("_hooks") and isinstance(value, Mapping):
                found[f"{attribute.strip('_').replace('_', ' ')}{where}"] = list(value.values())
            elif attribute not in _PARTS and not attribute.startswith("_"):
                found[f"attribute {attribute}{where}"] = value if callable(value) else describe(value)
    for name, tensor in [*root.named_parameters(), *root.named_buffers()]:
        _collect(tensor, ".".join(part for part in (path, name) if part), found)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return exactly(one, other) is None
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(a is b or _equal(a, b) for a, b in zip(one, other, strict=True))
    return one is other or _equal(one, other)


def _equal(one: Any, other: Any) -> bool:
    return isinstance(one, str | bool | int | float) and type(one) is type(other) and one == other


def _say(name: str, value: Any) -> str:
    if name.split(" of ")[0] == "mode":
        return {True: "training", False: "evaluation", None: "not there"}[value]
    if name.split(" of ")[0].endswith("hooks") and isinstance(value, list):
        return f"{len(value)} hook" + ("" if len(value) == 1 else "s")
    if name.split(" of ")[0] == ".grad" and value is None:
        return "empty"
    return describe(value)


def _value_change(before: Any, after: Any) -> str:
    found = exactly(before, after)
    if not found:
        return ""
    one, other = describe_two(before, after)
    if isinstance(before, nn.Module) or "of shape" in one or "…" in one:
        return f"{found.replace('expected', 'it was', 1).replace(', got ', ', and is ', 1)}"
    return f"it was {one}, and is {other}"
