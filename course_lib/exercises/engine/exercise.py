"""What an exercise is: a task, its reference, its inputs, the mistakes it knows, and right answers written differently.

One file an exercise, functions with names, put together by decorators (``course_lib/exercises/chapter_NN/topic.py``):

    ex = Exercise("05.1", "The distillation loss with T and α", points=3, gradient_of=("student_logits",),
                  hints=["…", "…"], explanation="…")

    @ex.reference
    def distillation_loss(student_logits, teacher_logits, labels, temperature, alpha): ...

    @ex.case("four numbers by hand")
    def by_hand(): return torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]]), torch.tensor([0]), 2.0, 0.5

    @ex.inputs
    def random_batch(rng): ...

    @ex.mistake("The factor T² is missing: the soft term's gradient shrinks as 1/T² …")
    def no_t_squared(student_logits, teacher_logits, labels, temperature, alpha): ...

    @ex.alternative
    def written_out(student_logits, teacher_logits, labels, temperature, alpha): ...

The reference bears the stub's own name and parameters. ``registry`` finds exercises, ``judge`` asks them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

from course_lib.exercises.engine.compare import difference
from course_lib.exercises.engine.describe import FULL, describe

LEAST_MISTAKES, LEAST_ALTERNATIVES = 6, 3
Arguments = tuple | dict[str, Any]


@dataclass(frozen=True)
class Mistake:
    """A plausible wrong implementation (of a value exercise: a function without arguments) and what to tell its author.

    Args:
        wrong: behaves as the learner's answer would.
        message: what a learner who made this mistake must read.
        name: the function's; of the test, such as "05.1-no_t_squared".
    """

    wrong: Any
    message: str
    name: str = ""

    @property
    def value(self) -> Any:
        """The wrong value of a value exercise."""
        return self.wrong() if callable(self.wrong) else self.wrong


@dataclass(frozen=True)
class Case:
    """Fixed arguments that every answer meets, in every check.

    Args:
        asks: which sentence of the task, or which edge, this case is there for.
        make: gives the arguments, a tuple, or a dict to pass by name; fresh ones at each call.
    """

    asks: str
    make: Callable[[], Arguments]


def returned(fn: Callable, *args: Any, **kwargs: Any) -> Any:
    """The default outcome: what the function returns."""
    return fn(*args, **kwargs)


class Exercise:
    """One task with everything needed to judge an answer to it.

    Args:
        id: chapter and number, "04.2".
        title: a few words.
        points: ≥ 1.
        hints: ≥ 2, from a nudge to nearly the answer.
        explanation: Markdown shown with the solution.
        gradient_of: arguments (float tensors) whose gradient the result must carry, equal to the reference's: a loss
            that cannot train is wrong.
        no_gradient_of: arguments that must get no gradient, such as a teacher's features.
        trials: number of draws, the same ones in every check, so that the verdict is. Enough that no mistake is lucky.
        compare: (expected, got, tolerance) -> complaint or None; None: only the properties decide.
        tolerance: relative error allowed to floats.
        in_place: the function is meant to change its arguments: they are compared as part of the outcome.
        leaves_no_trace: what the function changes for the whole process (hooks on all modules, modes, print options,
            see ``state``) must be put back by the function. Its arguments must be left as found in any case: hooks,
            modes, gradients, order.
        time_limit_s: seconds of the learner's code allowed in one check.
    """

    def __init__(
        self,
        id: str,
        title: str,
        *,
        points: int,
        hints: Sequence[str] = (),
        explanation: str = "",
        gradient_of: Sequence[str] = (),
        no_gradient_of: Sequence[str] = (),
        trials: int = 8,
        compare: Callable[[Any, Any, float], str | None] | None = difference,
        tolerance: float = 1e-4,
        in_place: bool = False,
        leaves_no_trace: bool = False,
        time_limit_s: float = 5.0,
    ):
        self.id, self.title, self.points = id, title, points
        self.hints, self.explanation = list(hints), explanation
        self.gradient_of, self.no_gradient_of = tuple(gradient_of), tuple(no_gradient_of)
        self.trials, self.compare, self.tolerance = trials, compare, tolerance
        self.in_place, self.leaves_no_trace, self.time_limit_s = in_place, leaves_no_trace, time_limit_s
        self.solution_fn: Callable | None = None
        self.reference_fn: Callable = _undeclared
        self.parameters: tuple[str, ...] = ()  # the reference's, used in messages and for stubs
        self.inputs_fn: Callable[[Any], Arguments] | None = None
        self.outcome_fn: Callable = returned
        self.rules: list[Callable[..., str | None]] = []
        self.alternatives: list[Any] = []
        self.cases: list[Case] = []
        self.mistakes: list[Mistake] = []
        if not re.fullmatch(r"\d\d\.[1-9]\d*", id):
            raise ValueError(f"exercise {id!r}: id must look like '04.2'")

    def reference(self, fn: Callable) -> Callable:
        """Decorator: the right function, under the stub's name and parameters; a value exercise's takes no argument."""
        self.reference_fn, self.parameters = fn, tuple(signature(fn).parameters)
        return fn

    def solution(self, fn: Callable) -> Callable:
        """Decorator: what ``solution()`` prints, where the reference is a call of the library and teaches nothing."""
        self.solution_fn = fn
        return fn

    def inputs(self, fn: Callable[[Any], Arguments]) -> Callable[[Any], Arguments]:
        """Decorator: rng -> arguments, a tuple or a dict (torch's seed is set too). Without it: a value exercise."""
        self.inputs_fn = fn
        return fn

    def outcome(self, fn: Callable) -> Callable:
        """Decorator: (fn, *arguments) -> what is compared, where that is not what ``fn`` returns."""
        self.outcome_fn = fn
        return fn

    def case(self, asks: str) -> Callable[[Callable[[], Arguments]], Callable[[], Arguments]]:
        """Decorator: fixed arguments, tried first and shown in messages: small numbers, stated edges, far values."""

        def add(fn: Callable[[], Arguments]) -> Callable[[], Arguments]:
            self.cases.append(Case(asks, fn))
            return fn

        return add

    def mistake(self, message: str) -> Callable[[Callable], Callable]:
        """Decorator: a plausible wrong answer and its message; the order of the file is the order of precedence."""

        def add(fn: Callable) -> Callable:
            self.mistakes.append(Mistake(fn, message, fn.__name__))
            return fn

        return add

    def alternative(self, fn: Callable) -> Callable:
        """Decorator: a right answer written differently."""
        self.alternatives.append(fn)
        return fn

    def rule(self, fn: Callable[..., str | None]) -> Callable[..., str | None]:
        """Decorator: (fn, *arguments) -> complaint or None, asked of every set of arguments after the comparison."""
        self.rules.append(fn)
        return fn

    def problems(self) -> list[str]:
        """What this exercise lacks of the contract; [] if nothing. Asked when it is first found."""
        rules = {
            "title must not be empty": self.title.strip(),
            "points must be an int ≥ 1": isinstance(self.points, int) and self.points >= 1,
            "a reference must be declared": self.reference_fn is not _undeclared,
            "hints must be at least 2 texts": not isinstance(self.hints, str) and len(self.hints) >= 2,
            f"mistakes must be at least {LEAST_MISTAKES}": len(self.mistakes) >= LEAST_MISTAKES,
            "each mistake needs a message of its own": len({m.message for m in self.mistakes}) == len(self.mistakes),
            "each mistake needs a name of its own": len({m.name for m in self.mistakes}) == len(self.mistakes),
            f"alternatives must be at least {LEAST_ALTERNATIVES}": len(self.alternatives) >= LEAST_ALTERNATIVES,
            "a function needs a fixed case": self.is_value or bool(self.cases),
            "gradient_of must name parameters": {*self.gradient_of, *self.no_gradient_of} <= {*self.parameters},
            "trials must be ≥ 2": self.trials >= 2,
            "compare=None needs rules": self.compare is not None or self.rules,
            "cases must give tuples or dicts": all(isinstance(e, tuple | dict) for e in self.examples),
        }
        return [f"exercise {self.id!r}: {rule}" for rule, holds in rules.items() if not holds]

    @property
    def examples(self) -> list[Arguments]:
        """The arguments of the fixed cases, made anew."""
        return [case.make() for case in self.cases]

    @property
    def is_value(self) -> bool:
        """True if the answer is a value, not a function."""
        return self.inputs_fn is None

    def named(self, arguments: Arguments) -> dict[str, Any]:
        """The arguments under the reference's parameter names."""
        if isinstance(arguments, dict):
            return arguments
        names = [*self.parameters, *(f"argument {i + 1}" for i in range(len(self.parameters), len(arguments)))]
        return dict(zip(names, arguments, strict=False))

    def call_text(self, arguments: Arguments) -> str:
        """The arguments as a learner would read them: ``x=[1, 2], bits=8``."""
        shown = {name: describe(value, digits=None, elements=FULL) for name, value in self.named(arguments).items()}
        return ", ".join(f"{name}={text}" for name, text in shown.items())


def apply(fn: Callable, arguments: Arguments) -> Any:
    """Call ``fn`` with a tuple by position, or with a dict by name."""
    return fn(**arguments) if isinstance(arguments, dict) else fn(*arguments)


def _undeclared(*args: Any, **kwargs: Any) -> Any:
    raise ValueError("no reference was declared")
