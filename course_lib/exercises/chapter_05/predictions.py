"""What chapter 05 asks before it measures: what a teacher is worth without labels."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "05.p",
        "No label against one labelled sign a class",
        {"a": (-inf, 0.0), "b": (0.0, 10.0), "c": (10.0, inf)},
        "points",
    ),
)
