"""Which of torch's functions does an answer call? For tasks that say "without …".

A ``TorchFunctionMode`` sees every call of a torch function, under whatever name it was imported: ``F.log_softmax``,
``z.log_softmax(-1)``, ``loss.backward()``, ``torch.autograd.grad``. It sees no NumPy and no SciPy. This tells an honest
learner that the task was to write the thing; it is no lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.overrides import TorchFunctionMode


def torch_calls(fn: Callable, *arguments: Any) -> set[str]:
    """Names of the torch functions that ``fn(*arguments)`` calls, without their modules: {"sum", "log_softmax", …}."""
    with _Recorder() as recorder:
        fn(*arguments)
    return recorder.names


class _Recorder(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))
