"""What a network's inner layers put out, caught by hooks that are always removed.

PyTorch calls a forward hook after the module it hangs on. A hook that stays behind after an experiment keeps every
later output alive and runs in every later forward pass, also in the exported copy of the network. ``Taps`` is
therefore a context manager: whatever ends the block, an error included, takes the hooks away.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from torch import Tensor, nn


class Taps(Mapping[str, Tensor]):
    """The latest outputs of some modules: name → tensor, in the order of ``names``.

        with Taps(teacher, ["stages.0", "stages.5"]) as taps:
            logits = teacher(images)
            taps["stages.0"]  # (B, 32, 32, 32)

    Args:
        model: any module; it is not changed but for its hooks.
        names: as ``model.named_modules()`` gives them.
    Raises:
        ValueError: a name that does not exist (with the nearest that do), or one given twice.
        KeyError: reading a tap whose module has not run since the last ``clear``.
        TypeError: a tapped module put out something else than a tensor.

    >>> import torch
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    >>> with Taps(model, ["0"]) as taps:
    ...     logits = model(torch.ones(1, 2, 2))
    ...     taps["0"].shape
    torch.Size([1, 4])
    """

    def __init__(self, model: nn.Module, names: Sequence[str] = ()):
        if isinstance(names, str):
            raise TypeError(f"names must be a sequence of module names, got the string {names!r}")
        modules = {name: module for name, module in model.named_modules() if name}
        for name in names:
            if name not in modules:
                raise ValueError(f"{type(model).__name__} has no module {name!r}; {_near(name, list(modules))}")
        if len(set(names)) != len(names):
            raise ValueError(f"names must be different, got {list(names)}")
        self.names = tuple(names)
        self._outputs: dict[str, Tensor] = {}
        self._handles = [modules[name].register_forward_hook(self._catch(name)) for name in names]

    def _catch(self, name: str):
        def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
            if not isinstance(output, Tensor):
                raise TypeError(f"module {name!r} puts out {type(output).__name__}; only tensors can be tapped")
            self._outputs[name] = output

        return hook

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.names:
            raise KeyError(f"{name!r} is not tapped; tapped are {list(self.names)}")
        if name not in self._outputs:
            raise KeyError(f"module {name!r} has not run yet")
        return self._outputs[name]

    def __iter__(self):
        return (name for name in self.names if name in self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def clear(self) -> None:
        """Forget the outputs, so that their memory can be freed and a stale one cannot be read."""
        self._outputs.clear()

    def close(self) -> None:
        """Remove the hooks and forget the outputs; harmless when repeated."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()
        self.clear()

    def __enter__(self) -> Taps:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _near(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or [k for k in known if "." not in k][:5]
    return f"near names: {', '.join(near)}"
