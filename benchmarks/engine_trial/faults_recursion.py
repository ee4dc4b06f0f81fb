"""Code that calls itself without end."""

# ruff: noqa: E722, SIM105 these handlers are the faults

from __future__ import annotations

import functools
import sys

from engine_trial.fault import fault


@fault()
def endless_recursion(student_logits, teacher_logits, temperature):
    return endless_recursion(student_logits, teacher_logits, temperature)


@fault()
def two_functions_that_call_each_other(student_logits, teacher_logits, temperature):
    def one():
        return other()

    def other():
        return one()

    return one()


@fault()
def recursion_catching_everything(student_logits, teacher_logits, temperature):
    def step():
        try:
            step()
        except:
            step()

    return step()


@fault()
def recursion_in_a_loop_catching_everything(student_logits, teacher_logits, temperature):
    def step():
        try:
            step()
        except:
            pass
        step()

    while True:
        try:
            step()
        except:
            pass


@fault()
def recursion_without_a_limit(student_logits, teacher_logits, temperature):
    sys.setrecursionlimit(10**6)

    def step():
        return step()

    return step()


@fault()
def recursion_through_a_property(student_logits, teacher_logits, temperature):
    class Own:
        @property
        def value(self):
            return self.value

    return Own().value


@fault()
def recursion_through_a_cache(student_logits, teacher_logits, temperature):
    @functools.cache
    def step(number):
        return step(number + 1)

    return step(0)


@fault()
def recursion_through_getattr(student_logits, teacher_logits, temperature):
    class Own:
        def __getattr__(self, name):
            return getattr(self, name + "x")

    return Own().value


@fault()
def recursion_through_a_generator(student_logits, teacher_logits, temperature):
    def step():
        yield from step()

    return list(step())


@fault()
def fibonacci_without_an_end(student_logits, teacher_logits, temperature):
    def fibonacci(n):
        return fibonacci(n - 1) + fibonacci(n - 2) if n > 1 else n

    return fibonacci(80)
