"""All that code can change for the whole process is put back, and named."""

from __future__ import annotations

import builtins
import decimal
import gc
import os
import random
import signal
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from torch.nn.modules import module as torch_module

from course_lib.exercises.engine import state
from course_lib.exercises.engine.sandbox import run

VANDALS = {
    "the recursion limit": lambda: sys.setrecursionlimit(333),
    "torch's gradient mode": lambda: torch.set_grad_enabled(False),
    "torch's default dtype": lambda: torch.set_default_dtype(torch.float64),
    "torch's default device": lambda: torch.set_default_device("meta"),
    "torch's number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "torch's deterministic mode": lambda: torch.use_deterministic_algorithms(True),
    "torch's anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
    "torch's precision of products": lambda: torch.set_float32_matmul_precision("medium"),
    "torch's flushing of small numbers": lambda: torch.set_flush_denormal(True),
    "torch's print options": lambda: torch.set_printoptions(precision=1),
    "torch's hooks on all modules": lambda: torch_module.register_module_forward_hook(print),
    "NumPy's error settings": lambda: np.seterr(all="raise"),
    "NumPy's error function": lambda: np.seterrcall(print),
    "NumPy's print options": lambda: np.set_printoptions(precision=1),
    "the warning filters": lambda: warnings.simplefilter("error"),
    "the display of warnings": lambda: setattr(warnings, "showwarning", print),
    "the working directory": lambda: os.chdir("/"),
    "the environment variables": lambda: os.environ.update(COURSE_TEST="1"),
    "the trace function": lambda: sys.settrace(lambda *a: None),
    "the profile function": lambda: sys.setprofile(lambda *a: None),
    "the threads' trace function": lambda: threading.settrace(lambda *a: None),
    "the threads' profile function": lambda: threading.setprofile(print),
    "the switch interval": lambda: sys.setswitchinterval(0.5),
    "the digits of whole numbers": lambda: sys.set_int_max_str_digits(100_000),
    "garbage collection": gc.disable,
    "the thresholds of garbage collection": lambda: gc.set_threshold(5, 5, 5),
    "the decimal context": lambda: decimal.setcontext(decimal.Context(prec=3)),
    "the search path": lambda: sys.path.append("elsewhere"),
    "sys.stdin": lambda: setattr(sys, "stdin", None),
    "sys.stdout": lambda: setattr(sys, "stdout", None),
    "sys.stderr": lambda: setattr(sys, "stderr", None),
    "sys.displayhook": lambda: setattr(sys, "displayhook", print),
    "sys.excepthook": lambda: setattr(sys, "excepthook", print),
    "sys.unraisablehook": lambda: setattr(sys, "unraisablehook", print),
    "the built-in names": lambda: setattr(builtins, "sum", max),
    "the alarm clock": lambda: signal.setitimer(signal.ITIMER_REAL, 60),
    "the signal handlers": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "the blocked signals": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1}),
}


def test_every_setting_has_a_vandal():
    assert list(VANDALS) == [name for name, _, _ in state.SETTINGS]


@pytest.mark.parametrize("name", VANDALS)
def test_a_setting_is_put_back_and_named(name, monkeypatch, tmp_path):
    if name in ("the alarm clock", "the blocked signals") and not hasattr(signal, "pthread_sigmask"):
        pytest.skip("this system has none")
    monkeypatch.chdir(tmp_path)
    read = next(read for setting, read, _ in state.SETTINGS if setting == name)
    before = read()
    with state.kept() as changed:
        VANDALS[name]()
    assert state._same(read(), before)
    assert name in changed  # the first use of the deterministic mode imports what sets variables of its own


def test_a_device_that_was_entered_and_never_left_is_left():
    with state.kept() as changed:
        torch.device("meta").__enter__()
    assert torch.ones(1).device.type == "cpu"
    assert changed == ["torch's default device"]


def test_code_that_changes_nothing_is_not_blamed():
    with state.kept() as changed:
        torch.randn(3)
        np.random.rand()  # noqa: NPY002
        random.random()
    assert changed == []


def test_random_states_are_put_back_silently():
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    with state.kept():
        torch.manual_seed(0)
        np.random.seed(0)  # noqa: NPY002
        random.seed(0)
    after = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]


def test_a_verdict_does_not_depend_on_the_notebooks_settings():
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    try:
        outcome = run(lambda: (torch.ones(1, requires_grad=True) * 1).sum(), None, 5)
        assert outcome.value.dtype == torch.float32
        assert outcome.value.requires_grad
        assert torch.get_default_dtype() == torch.float64
        assert not torch.is_grad_enabled()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)


def test_a_verdict_does_not_depend_on_the_notebooks_device():
    torch.set_default_device("meta")
    try:
        assert run(lambda: torch.ones(1), None, 5).value.device.type == "cpu"
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)


def test_a_folder_that_is_gone_costs_nothing(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)

    def removing():
        os.chdir("/")
        gone.rmdir()

    assert run(removing, removing, 5).error is None


def test_the_first_check_of_a_chapter_leaves_torchs_generator_alone():
    code = (
        "import torch; from course_lib.exercises import check, hint; torch.manual_seed(1); a = torch.get_rng_state()\n"
        "hint('05.1'); check('06.1', None); check('05.1', lambda *a: 0); assert torch.equal(a, torch.get_rng_state())"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "COURSE_PROGRESS": "off"})
