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
The learner's function and the reference get the same inputs: first the exercise's cases, then random ones, the same in
every check, so that a verdict can be repeated and a hard-coded answer fails. If the results differ, each *planted
mistake* (a wrong implementation with the message it deserves) is run on the same inputs: an answer that behaves like
one of them on all of them gets its message. Otherwise the learner sees the inputs, what was expected and what came
back. The explanation of a mistake thus stands beside the code that makes it, and nobody writes code that guesses at
causes.
What industrial graders do differently: they isolate in a process or a container, because their learners are
adversaries. Ours are at their own machine, and want to reach the function they wrote in the cell above.

How to declare one: ``chapter_NN/topic.py``
-------------------------------------------
One file an exercise, functions with names; nothing else needs to be registered.

    ex = Exercise("04.1", "Entropy in bits", points=2, hints=["One fair coin is one bit.", "…"], explanation="…")

    @ex.reference                  # under the stub's own name, with its parameters; solution() prints it
    def entropy_bits(p): ...

    @ex.case("a fair coin")        # fixed arguments: small, readable, nasty; each stated edge; tried first
    def coin(): return (np.array([0.5, 0.5]),)

    @ex.inputs                     # random arguments; the same ones in every check
    def distribution(rng): return (rng.dirichlet(np.ones(int(rng.integers(3, 9)))),)

    @ex.mistake("That is the entropy in nats: log₂ gives bits, ln gives nats.")
    def nats(p): return -(p * np.log(p)).sum()

    @ex.alternative                # a right answer, written differently
    def with_scipy(p): return scipy.stats.entropy(p, base=2)

* A **loss** names the arguments that must get a gradient (``gradient_of``) and those that must not.
* A **value** instead of a function: leave out ``inputs``; reference, mistakes and alternatives take no arguments.
* ``in_place=True`` for a function meant to change its argument; ``leaves_no_trace=True`` for one that must not leave
  hooks, modes or settings behind.
* ``@ex.outcome`` says what is compared, where that is not what the function returns; ``compare`` says how:
  ``difference`` with a relative ``tolerance``, ``relatively``, ``exactly`` (bit for bit, dtype included), or None where
  several results are right and ``@ex.rule`` functions decide alone.
* ``@ex.solution`` writes the answer out where the reference is a call of the library.
* A stub with **given lines**, or a **class**, ends its open part with ``raise NotImplementedError``.

Then ``python -m course_lib.exercises 04`` proves: the reference and the alternatives pass, the stub earns nothing,
each mistake gets its own message, a hard-coded answer fails, inputs stay as they were, loops and crashes are reported.

Predictions
-----------
``predict("04.p", guess, sure=70)`` locks a guess, ``reveal("04.p", measured)`` answers it. They are declared in
``chapter_NN/predictions.py``.
"""

from course_lib.exercises.engine.check import arguments, check, hint
from course_lib.exercises.engine.compare import difference, exactly, relatively
from course_lib.exercises.engine.exercise import Exercise, Mistake
from course_lib.exercises.engine.predict import predict, reveal
from course_lib.exercises.engine.progress import progress
from course_lib.exercises.engine.solution import solution

__all__ = [
    "Exercise",
    "Mistake",
    "arguments",
    "check",
    "difference",
    "exactly",
    "hint",
    "predict",
    "progress",
    "relatively",
    "reveal",
    "solution",
]
