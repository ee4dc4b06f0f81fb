"""What chapter 02 asks before it measures: what a careless split promises."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "02.p",
        "The random split's optimism",
        {"a": (-inf, 2.0), "b": (2.0, 10.0), "c": (10.0, inf)},
        "points",
    ),
)
