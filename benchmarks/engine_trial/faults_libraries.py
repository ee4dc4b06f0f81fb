"""Endless code inside calls of torch, NumPy and the standard library, in classes, modules and decorators."""

# ruff: noqa: E722 these handlers are the faults

from __future__ import annotations

import contextlib
import functools
import signal
import sys
import types
from fractions import Fraction

import numpy as np
import torch
from torch import nn

from engine_trial.fault import TRAINED, fault, right_loss


@fault()
def loop_of_torch(student_logits, teacher_logits, temperature):
    total = torch.zeros(64, 64)
    while True:
        total = total @ total


@fault()
def loop_of_numpy(student_logits, teacher_logits, temperature):
    total = np.zeros((64, 64))
    while True:
        total = total @ total


@fault()
def loop_of_backward(student_logits, teacher_logits, temperature):
    weight = torch.ones(3, requires_grad=True)
    while True:
        with torch.enable_grad():
            (weight**2).sum().backward()


@fault(exercise=TRAINED)
def loop_in_a_backward_hook(student_logits, teacher_logits, temperature):
    def hook(gradient):
        while True:
            pass

    loss = right_loss(student_logits, teacher_logits, temperature)
    loss.register_hook(hook)
    return loss


@fault()
def loop_in_a_forward_hook(student_logits, teacher_logits, temperature):
    def hook(module, inputs, output):
        while True:
            pass

    layer = nn.Identity()
    layer.register_forward_hook(hook)
    return layer(student_logits)


@fault()
def loop_in_an_autograd_function(student_logits, teacher_logits, temperature):
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(context, x):
            while True:
                pass

    return Own.apply(student_logits)


@fault()
def loop_with_the_alarm_ignored(student_logits, teacher_logits, temperature):
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    while True:
        pass


@fault()
def loop_with_the_alarm_blocked(student_logits, teacher_logits, temperature):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    while True:
        pass


@fault()
def loop_that_takes_the_tracer_away(student_logits, teacher_logits, temperature):
    while True:
        try:
            sys.settrace(None)
            sys.setprofile(None)
        except:
            pass


@fault()
def loop_in_a_class_body(student_logits, teacher_logits, temperature):
    class Own:
        while True:
            pass

    return Own


@fault()
def loop_in_a_metaclass(student_logits, teacher_logits, temperature):
    class Meta(type):
        def __call__(cls):
            while True:
                pass

    class Own(metaclass=Meta):
        pass

    return Own()


@fault()
def loop_in_exec(student_logits, teacher_logits, temperature):
    exec("while True:\n    pass")


@fault()
def loop_in_eval(student_logits, teacher_logits, temperature):
    return eval("all(True for _ in iter(int, 1))")


@fault()
def loop_in_a_module_of_the_learner(student_logits, teacher_logits, temperature):
    module = types.ModuleType("own")
    exec(compile("while True:\n    pass", "own.py", "exec"), vars(module))


@fault()
def loop_in_an_exit_stack(student_logits, teacher_logits, temperature):
    def callback():
        while True:
            pass

    with contextlib.ExitStack() as stack:
        stack.callback(callback)


@fault()
def fractions_without_an_end(student_logits, teacher_logits, temperature):
    total, step = Fraction(0), Fraction(1, 3)
    while total < 1:
        total, step = total + step, step / 3


@fault()
def decorated_loop(student_logits, teacher_logits, temperature):
    def again(function):
        @functools.wraps(function)
        def wrapped(*arguments):
            while True:
                function(*arguments)

        return wrapped

    return again(len)([])
