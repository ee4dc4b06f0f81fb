"""Exercises that check themselves: ``check``, ``hint``, ``solution``, ``progress``.

In a notebook
-------------
    from course_lib.exercises import check, hint, solution, progress

    check("01.1", conv_macs)   # the function itself, or a value where a value is asked for
    hint("01.1")               # one more hint at each call
    solution("01.1")           # the reference, with its explanation
    progress()                 # all chapters

A stub gets a quiet "not attempted". A wrong answer gets the reason. ``check`` never raises for a wrong answer, and
its result is true only when the answer passed.

How an answer is judged
-----------------------
The learner's function and the reference get the same inputs: first the exercise's ``examples``, then fresh random
ones at every call, so that a hard-coded answer fails. If the results differ, each *planted mistake* (a wrong
implementation with the message it deserves) is run on the same inputs: an answer that behaves like one of them on
all of them gets its message. Otherwise the learner sees the inputs, what was expected and what came back. The
explanation of a mistake thus stands beside the code that makes it, and nobody writes code that guesses at causes.
What industrial graders do differently: they isolate in a process or a container, because their learners are
adversaries. Ours are at their own machine, and want to reach the function they wrote in the cell above.

How to declare one, in ``chapter_NN.py``
----------------------------------------
Every ``Exercise`` at the top level of the module counts; nothing else needs to be registered.

    shannon = Exercise(
        id="04.1",
        title="Entropy in bits",
        points=2,
        reference=entropy_bits,                    # the library's function, or one defined above
        examples=[(np.array([0.5, 0.5]),)],        # small, readable, nasty: tried first, shown in messages
        inputs=lambda rng: (rng.dirichlet(np.ones(int(rng.integers(3, 9)))),),   # fresh arguments, a tuple or a dict
        hints=["One fair coin is one bit.", "H(p) = −Σ pᵢ·log₂ pᵢ"],
        explanation="H(p) = −Σ pᵢ log₂ pᵢ is the mean number of yes/no questions … (Markdown, with $maths$)",
        mistakes=[
            Mistake(lambda p: -(p * np.log(p)).sum(), "That is the entropy in nats: log₂ gives bits, ln gives nats."),
            Mistake(lambda p: (p * np.log2(p)).sum(), "The sign: a logarithm of a probability is negative …"),
            Mistake(lambda p: -np.log2(p).mean(), "Weigh each −log₂ pᵢ with pᵢ; you weighed all alike."),
        ],
        alternatives=[lambda p: scipy.stats.entropy(p, base=2)],   # a right answer, written differently
    )

* A **value** instead of a function (a number, a choice, a dict): leave out ``inputs``; ``reference`` takes no
  argument and computes the value; mistakes and alternatives hold values.
* A function meant to **change its argument** (a mask on a model): ``in_place=True``; arguments are compared as well.
* **What is compared** is ``outcome(fn, *arguments)``, by default what ``fn`` returns: a gradient, say, if you pass one.
* **How**: ``difference`` with a relative ``tolerance``; ``exactly`` for codes (bit for bit, dtype included); ``None``
  where several results are right, and ``properties`` decide alone.
* A stub with **given lines**, or a **class**, ends its open part with ``raise NotImplementedError``.
* A **property** is ``def zero_is_exact(fn, *arguments) -> str | None``: the complaint, or None.

Then ``python -m course_lib.exercises 04`` proves: the reference and the alternatives pass, the stub earns nothing,
each mistake gets its own message, a hard-coded answer fails, inputs stay as they were, loops and crashes are reported.
"""

from course_lib.exercises.engine.check import arguments, check, hint
from course_lib.exercises.engine.compare import difference, exactly, relatively
from course_lib.exercises.engine.exercise import Exercise, Mistake
from course_lib.exercises.engine.record import progress
from course_lib.exercises.engine.solution import solution

__all__ = [
    "Exercise",
    "Mistake",
    "arguments",
    "check",
    "difference",
    "exactly",
    "hint",
    "progress",
    "relatively",
    "solution",
]
