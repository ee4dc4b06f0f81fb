"""What code can change for the whole process, and how it is put back after the learner's code has run.

Every setting is a pair: read it, write it. All are read before the call and compared after it; what differs is
written back and reported, so that an exercise that must leave no trace can ask for it. Before the call, the settings
on which results depend (gradient mode, default dtype and device) are set to PyTorch's defaults: a verdict must not
depend on what the notebook did before.
"""

from __future__ import annotations

import builtins
import contextlib
import decimal
import gc
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch._tensor_str import PRINT_OPTS
from torch.nn.modules import module as torch_module
from torch.overrides import _get_current_function_mode_stack, _pop_mode, _push_mode
from torch.utils._device import DeviceContext

from course_lib.exercises.engine import insist

Setting = tuple[str, Callable[[], Any], Callable[[Any], Any]]
_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM")
    if hasattr(signal, name)
)
_GLOBAL_HOOKS = tuple(
    name for name, value in vars(torch_module).items() if name.startswith("_global_") and isinstance(value, dict)
)


@contextlib.contextmanager
def kept() -> Iterator[list[str]]:
    """Put back what the code inside changes; the list names it afterwards. Random states are put back silently."""
    before = [(setting, _read(setting)) for setting in SETTINGS]
    states = _random_states()
    changed: list[str] = []
    try:
        torch.set_grad_enabled(True)
        torch.set_default_dtype(torch.float32)
        _set_device(torch.device("cpu"))
        yield changed
    finally:
        for setting, value in before:
            name, _, write = setting
            now = _read(setting)
            if not _same(now, value):
                changed.append(name)
                with contextlib.suppress(Exception):  # the folder is gone, the stream refuses: nothing to put back
                    write(value)
        _set_random_states(states)


@contextlib.contextmanager
def random_kept() -> Iterator[None]:
    """Put back the random states only: for the course's own imports."""
    states = _random_states()
    try:
        yield
    finally:
        _set_random_states(states)


def _read(setting: Setting) -> Any:
    try:
        return setting[1]()
    except (OSError, RuntimeError, ValueError, AttributeError):
        return None


def _same(one: Any, other: Any) -> bool:
    try:
        return one is other or bool(one == other)
    except Exception:  # a stream or a hook with an equality of its own
        return False


def _random_states() -> tuple:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    return random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda  # noqa: NPY002 the learner's


def _set_random_states(states: tuple) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])
    if states[3] is not None:
        torch.cuda.set_rng_state_all(states[3])


def _set_device(device: torch.device) -> None:
    if torch.get_default_device() != device:
        torch.set_default_device(None if device == torch.device("cpu") else device)


def _put_back_device(device: torch.device) -> None:
    torch.set_default_device(None)
    modes = [_pop_mode() for _ in _get_current_function_mode_stack()]
    for mode in reversed(modes):
        if not isinstance(mode, DeviceContext):  # entered, and never left
            _push_mode(mode)
    _set_device(device)


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_filters(filters: list) -> None:
    warnings.filters[:] = filters  # type: ignore[index]
    for name in ("_filters_mutated", "_filters_mutated_lock_held"):
        if hasattr(warnings, name):
            getattr(warnings, name)()
            return


def _set_signals(handlers: list) -> None:
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _clock_runs() -> bool:
    return hasattr(signal, "getitimer") and signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _stop_clock(runs: bool) -> None:
    if not runs:  # one of the notebook's that was stopped cannot be wound up again
        signal.setitimer(signal.ITIMER_REAL, 0)


def _blocked() -> set[int] | None:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ()) if hasattr(signal, "pthread_sigmask") else None


def _set_blocked(numbers: set[int]) -> None:
    handler = signal.getsignal(signal.SIGALRM)
    if handler is not None and signal.SIGALRM in signal.sigpending():
        signal.signal(signal.SIGALRM, signal.SIG_IGN)  # forgets the one that waits: by default it ends the process
        signal.signal(signal.SIGALRM, handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, numbers)


def _set_environment(variables: dict[str, str]) -> None:
    for name in set(os.environ) - set(variables):
        del os.environ[name]
    os.environ.update(variables)


def _set_builtins(names: dict[str, Any]) -> None:
    for name in set(vars(builtins)) - set(names):
        delattr(builtins, name)
    for name, value in names.items():
        setattr(builtins, name, value)


def _shown_numbers() -> dict[str, Any]:
    return dict(vars(PRINT_OPTS))


def _global_hooks() -> list[dict]:
    return [dict(getattr(torch_module, name)) for name in _GLOBAL_HOOKS]


def _set_global_hooks(hooks: list[dict]) -> None:
    for name, entries in zip(_GLOBAL_HOOKS, hooks, strict=True):
        getattr(torch_module, name).clear()
        getattr(torch_module, name).update(entries)


def _flushed() -> bool:
    """True if numbers below the smallest normal one become 0."""
    return not bool((torch.tensor(1e-39, device="cpu") * 1.0).item())


def _decimal() -> dict[str, Any]:
    names = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp", "traps")
    options = {name: getattr(decimal.getcontext(), name) for name in names}
    return {**options, "traps": [trap for trap, on in options["traps"].items() if on]}


def _attribute(owner: Any, name: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


SETTINGS: tuple[Setting, ...] = (
    ("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    ("torch's gradient mode", torch.is_grad_enabled, torch.set_grad_enabled),
    ("torch's default dtype", torch.get_default_dtype, torch.set_default_dtype),
    ("torch's default device", torch.get_default_device, _put_back_device),
    ("torch's number of threads", torch.get_num_threads, torch.set_num_threads),
    (
        "torch's deterministic mode",
        _deterministic,
        lambda mode: torch.use_deterministic_algorithms(mode[0], warn_only=mode[1]),
    ),
    ("torch's anomaly mode", torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    ("torch's precision of products", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    ("torch's flushing of small numbers", _flushed, torch.set_flush_denormal),
    ("torch's print options", _shown_numbers, lambda options: vars(PRINT_OPTS).update(options)),
    ("torch's hooks on all modules", _global_hooks, _set_global_hooks),
    ("NumPy's error settings", np.geterr, lambda settings: np.seterr(**settings)),
    ("NumPy's error function", np.geterrcall, np.seterrcall),
    ("NumPy's print options", np.get_printoptions, lambda options: np.set_printoptions(**options)),
    ("the warning filters", lambda: list(warnings.filters), _set_filters),
    ("the display of warnings", *_attribute(warnings, "showwarning")),
    ("the working directory", os.getcwd, os.chdir),
    ("the environment variables", lambda: dict(os.environ), _set_environment),
    ("the trace function", sys.gettrace, sys.settrace),
    ("the profile function", sys.getprofile, insist.set_profiler),
    ("the threads' trace function", threading.gettrace, threading.settrace),
    ("the threads' profile function", threading.getprofile, threading.setprofile),
    ("the switch interval", sys.getswitchinterval, sys.setswitchinterval),
    ("the digits of whole numbers", sys.get_int_max_str_digits, sys.set_int_max_str_digits),
    ("garbage collection", gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    ("the thresholds of garbage collection", gc.get_threshold, lambda counts: gc.set_threshold(*counts)),
    ("the decimal context", _decimal, lambda options: decimal.setcontext(decimal.Context(**options))),
    ("the search path", lambda: list(sys.path), lambda entries: sys.path.__setitem__(slice(None), entries)),
    ("sys.stdin", *_attribute(sys, "stdin")),
    ("sys.stdout", *_attribute(sys, "stdout")),
    ("sys.stderr", *_attribute(sys, "stderr")),
    ("sys.displayhook", *_attribute(sys, "displayhook")),
    ("sys.excepthook", *_attribute(sys, "excepthook")),
    ("sys.unraisablehook", *_attribute(sys, "unraisablehook")),
    ("the built-in names", lambda: dict(vars(builtins)), _set_builtins),
    ("the alarm clock", _clock_runs, _stop_clock),
    ("the signal handlers", lambda: [signal.getsignal(number) for number in _SIGNALS], _set_signals),
    ("the blocked signals", _blocked, _set_blocked),
)
