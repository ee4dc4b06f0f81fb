"""What ends, blocks or fills a process by its nature: tried and named, not counted. Only another process would help."""

from __future__ import annotations

import ctypes
import faulthandler
import itertools
import os
import re
import signal
import sys

import numpy as np

from engine_trial.fault import fault, right_gradient


@fault(alone=True)
def exit_of_the_system(student_logits, teacher_logits, temperature):
    os._exit(3)


@fault(alone=True)
def abort(student_logits, teacher_logits, temperature):
    os.abort()


@fault(alone=True)
def kills_itself(student_logits, teacher_logits, temperature):
    os.kill(os.getpid(), signal.SIGKILL)


@fault(alone=True)
def terminates_itself(student_logits, teacher_logits, temperature):
    os.kill(os.getpid(), signal.SIGTERM)


@fault(alone=True)
def null_pointer(student_logits, teacher_logits, temperature):
    ctypes.string_at(0)


@fault(alone=True)
def segmentation_fault(student_logits, teacher_logits, temperature):
    faulthandler._sigsegv()


@fault(alone=True)
def recursion_in_c_without_a_limit(student_logits, teacher_logits, temperature):
    sys.setrecursionlimit(10**9)

    class Own:
        def __repr__(self):
            return repr(self)

    repr(Own())


@fault(alone=True)
def sum_in_c_without_an_end(student_logits, teacher_logits, temperature):
    return sum(itertools.repeat(1))


@fault(alone=True)
def pattern_that_backtracks_for_ever(student_logits, teacher_logits, temperature):
    return re.match("(a|aa)+$", "a" * 200 + "b")


@fault(alone=True)
def power_without_an_end(student_logits, teacher_logits, temperature):
    return 7 ** (10**9)


@fault(alone=True)
def all_memory(student_logits, teacher_logits, temperature):
    kept = []
    while True:
        kept.append(np.ones(10**7))


@fault(alone=True)
def list_without_an_end(student_logits, teacher_logits, temperature):
    return list(itertools.repeat(1))


@fault(alone=True, right=True)
def forks(student_logits, teacher_logits, temperature):
    if not os.fork():
        os._exit(0)
    os.wait()
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(alone=True, right=True)
def closes_all_files(student_logits, teacher_logits, temperature):
    os.closerange(0, 3)
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(alone=True, right=True)
def replaces_a_function_of_torch(student_logits, teacher_logits, temperature):
    found = right_gradient(student_logits, teacher_logits, temperature)
    np.isclose = np.allclose = lambda *a, **k: np.True_
    return found
