"""Right answers that change a setting of the whole process: every one that ``state`` knows, some in a second way."""

from __future__ import annotations

import builtins
import decimal
import gc
import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as torch_module

from engine_trial.fault import add, fault, right_gradient

VANDALS: dict[str, Callable[[], Any]] = {
    "recursion limit of 200": lambda: sys.setrecursionlimit(200),
    "recursion limit of a million": lambda: sys.setrecursionlimit(10**6),
    "gradient mode off": lambda: torch.set_grad_enabled(False),
    "inference mode entered": lambda: torch.inference_mode().__enter__(),
    "default dtype float64": lambda: torch.set_default_dtype(torch.float64),
    "default dtype float16": lambda: torch.set_default_dtype(torch.float16),
    "default device meta": lambda: torch.set_default_device("meta"),
    "device context entered": lambda: torch.device("meta").__enter__(),
    "one thread more": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "deterministic algorithms": lambda: torch.use_deterministic_algorithms(True),
    "deterministic algorithms, warnings only": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "anomaly mode": lambda: torch.autograd.set_detect_anomaly(True),
    "coarse products": lambda: torch.set_float32_matmul_precision("medium"),
    "small numbers flushed": lambda: torch.set_flush_denormal(True),
    "torch prints one digit": lambda: torch.set_printoptions(precision=1),
    "torch prints no items": lambda: torch.set_printoptions(threshold=0, edgeitems=0),
    "forward hook on all modules": lambda: torch_module.register_module_forward_hook(lambda *a: None),
    "pre-hook on all modules": lambda: torch_module.register_module_forward_pre_hook(lambda *a: None),
    "hook on all parameters": lambda: torch_module.register_module_parameter_registration_hook(lambda *a: None),
    "NumPy raises": lambda: np.seterr(all="raise"),
    "NumPy calls": lambda: (np.seterrcall(print), np.seterr(all="call")),
    "NumPy prints one digit": lambda: np.set_printoptions(precision=1),
    "NumPy prints by a function": lambda: np.set_printoptions(formatter={"all": lambda value: 1 / 0}),
    "warnings are errors": lambda: warnings.simplefilter("error"),
    "warnings forgotten": warnings.resetwarnings,
    "warnings printed otherwise": lambda: setattr(warnings, "showwarning", lambda *a, **k: 1 / 0),
    "another folder": lambda: os.chdir("/"),
    "a folder that is gone": lambda: (os.mkdir("gone"), os.chdir("gone"), os.rmdir("../gone")),
    "a variable more": lambda: os.environ.update(COURSE_PROGRESS="off"),
    "no variables": os.environ.clear,
    "trace function": lambda: sys.settrace(lambda *a: None),
    "trace function that raises": lambda: sys.settrace(lambda *a: 1 / 0),
    "profile function": lambda: sys.setprofile(lambda *a: None),
    "threads' trace function": lambda: threading.settrace(lambda *a: None),
    "threads' profile function": lambda: threading.setprofile(lambda *a: None),
    "garbage collection off": gc.disable,
    "garbage collection at every object": lambda: gc.set_threshold(1, 1, 1),
    "decimals of three digits": lambda: decimal.setcontext(decimal.Context(prec=3)),
    "decimals round down": lambda: setattr(decimal.getcontext(), "rounding", decimal.ROUND_DOWN),
    "a folder to import from": lambda: sys.path.insert(0, "elsewhere"),
    "nothing to import from": sys.path.clear,
    "no stdin": lambda: setattr(sys, "stdin", None),
    "closed stdin": lambda: sys.stdin.close(),
    "no stdout": lambda: setattr(sys, "stdout", None),
    "stdout that raises": lambda: setattr(sys, "stdout", object()),
    "closed stdout": lambda: sys.stdout.close(),
    "closed real stdout object": lambda: sys.stdout.buffer.close() if hasattr(sys.stdout, "buffer") else None,
    "no stderr": lambda: setattr(sys, "stderr", None),
    "closed stderr": lambda: sys.stderr.close(),
    "display hook": lambda: setattr(sys, "displayhook", lambda value: 1 / 0),
    "except hook": lambda: setattr(sys, "excepthook", lambda *a: 1 / 0),
    "unraisable hook": lambda: setattr(sys, "unraisablehook", lambda *a: 1 / 0),
    "sum is max": lambda: setattr(builtins, "sum", max),
    "len is gone": lambda: delattr(builtins, "len"),
    "print is silent": lambda: setattr(builtins, "print", lambda *a, **k: None),
    "a built-in name more": lambda: setattr(builtins, "answer", 42),
    "interrupts ignored": lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    "terminations handled": lambda: signal.signal(signal.SIGTERM, lambda *a: None),
    "alarm's handler replaced": lambda: signal.signal(signal.SIGALRM, lambda *a: None),
    "alarm clock set": lambda: signal.alarm(1),
    "switch interval": lambda: sys.setswitchinterval(5.0),
    "random seeded": lambda: (random.seed(0), np.random.seed(0), torch.manual_seed(0)),  # noqa: NPY002
    "random numbers drawn": lambda: (random.random(), np.random.random(), torch.rand(9)),  # noqa: NPY002
    "file permissions mask": lambda: os.umask(0o777),
    "numbers of more digits": lambda: sys.set_int_max_str_digits(0),
}


def changing(change: Callable[[], Any]) -> Callable:
    """The right answer, computed before the change."""

    def answer(student_logits, teacher_logits, temperature):
        found = right_gradient(student_logits, teacher_logits, temperature)
        change()
        return found

    return answer


AT_ONCE = {"len is gone", "trace function that raises"}
"""These fail before the answer has returned: any verdict is fine, as long as they are put back."""
for name, change in VANDALS.items():
    add(name, "settings", changing(change), right=None if name in AT_ONCE else True)


@fault(right=None)
def learners_print_of_a_closed_stream(student_logits, teacher_logits, temperature):
    sys.stdout.close()
    print("after it was closed")
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def warns_a_thousand_times(student_logits, teacher_logits, temperature):
    for number in range(1000):
        warnings.warn(f"number {number}", stacklevel=1)
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def prints_ten_megabytes(student_logits, teacher_logits, temperature):
    print("x" * 10**7)
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def prints_bytes_that_are_no_text(student_logits, teacher_logits, temperature):
    print("\ud800", "\x00", "\x1b[2J")
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def writes_to_the_stream_itself(student_logits, teacher_logits, temperature):
    os.write(2, b"straight to the file descriptor\n")
    return right_gradient(student_logits, teacher_logits, temperature)
