"""What chapter 13 asks before it measures: what training on codes brings back, and what a long tail takes away."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "13.p1",
        "Points of accuracy that a short training on codes of 2 bits brings back to the student",
        {"a": (-inf, 20.0), "b": (20.0, 50.0), "c": (50.0, inf)},
        "points",
    ),
    Choice(
        "13.p2",
        "Points of accuracy that a forest of decision trees loses when its log-normal features get uniform 8-bit codes",
        {"a": (-inf, 2.0), "b": (2.0, 10.0), "c": (10.0, inf)},
        "points",
    ),
)
