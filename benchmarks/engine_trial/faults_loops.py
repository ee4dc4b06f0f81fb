"""Endless code of every shape, in the answer itself."""

# ruff: noqa: B012, E722, SIM105 these handlers are the faults

from __future__ import annotations

import contextlib
import functools
import itertools

from engine_trial.fault import fault


@fault()
def while_true(student_logits, teacher_logits, temperature):
    while True:
        pass


@fault()
def while_catching_exceptions(student_logits, teacher_logits, temperature):
    while True:
        try:
            raise ValueError
        except Exception:
            continue


@fault()
def while_catching_everything(student_logits, teacher_logits, temperature):
    while True:
        try:
            for _ in range(10**9):
                pass
        except:
            pass


@fault()
def three_loops_catching_everything(student_logits, teacher_logits, temperature):
    while True:
        try:
            while True:
                try:
                    while True:
                        try:
                            len("a")
                        except:
                            pass
                except:
                    pass
        except:
            pass


@fault()
def loop_in_a_handler(student_logits, teacher_logits, temperature):
    try:
        1 / 0  # noqa: B018
    except ZeroDivisionError:
        while True:
            pass


@fault()
def loop_in_a_finally(student_logits, teacher_logits, temperature):
    try:
        return student_logits
    finally:
        while True:
            pass


@fault()
def loop_whose_finally_continues(student_logits, teacher_logits, temperature):
    while True:
        try:
            len("a")
        finally:
            continue


@fault()
def loop_in_an_else(student_logits, teacher_logits, temperature):
    for _ in range(2):
        pass
    else:
        while 1:
            len("a")


@fault()
def suppressing_everything(student_logits, teacher_logits, temperature):
    while True:
        with contextlib.suppress(BaseException):
            while True:
                pass


class Swallows:
    def __enter__(self):
        return self

    def __exit__(self, *error):
        return True


@fault()
def context_that_swallows(student_logits, teacher_logits, temperature):
    while True:
        with Swallows():
            while True:
                pass


@fault()
def endless_range_by_iter(student_logits, teacher_logits, temperature):
    return any(False for _ in iter(int, 1))


@fault()
def endless_count(student_logits, teacher_logits, temperature):
    for number in itertools.count():
        if number < 0:
            return number


@fault()
def endless_cycle(student_logits, teacher_logits, temperature):
    return max(x < 0 for x in itertools.cycle([1, 2]))


def numbers():
    while True:
        yield 1


def numbers_that_do_not_stop():
    while True:
        try:
            yield 1
        except BaseException:
            continue


@fault()
def sum_of_an_endless_generator(student_logits, teacher_logits, temperature):
    return sum(numbers())


@fault()
def generator_that_catches_its_end(student_logits, teacher_logits, temperature):
    for number in numbers_that_do_not_stop():
        if not number:
            return number


@fault()
def generator_that_never_yields(student_logits, teacher_logits, temperature):
    def silent():
        while True:
            pass
        yield

    return next(silent())


@fault()
def endless_map(student_logits, teacher_logits, temperature):
    return any(map(lambda number: number < 0, itertools.count()))


@fault()
def endless_reduce(student_logits, teacher_logits, temperature):
    return functools.reduce(lambda a, b: 0, itertools.count())


@fault()
def endless_sort_key(student_logits, teacher_logits, temperature):
    def key(number):
        while True:
            pass

    return sorted([2, 1], key=key)


@fault()
def endless_comparison_in_a_sort(student_logits, teacher_logits, temperature):
    class Item:
        def __lt__(self, other):
            while True:
                pass

    return sorted([Item(), Item()])


@fault()
def endless_join(student_logits, teacher_logits, temperature):
    return "".join("" for _ in iter(int, 1))


@fault()
def endless_dict_comprehension(student_logits, teacher_logits, temperature):
    return {0: number for number in itertools.count()}  # noqa: B035


@fault()
def loop_that_prints(student_logits, teacher_logits, temperature):
    while True:
        print("still here", "x" * 1000)
