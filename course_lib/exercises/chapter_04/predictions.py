"""What chapter 04 asks before it measures: how the gradient falls with the temperature."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "04.p",
        "From T = 50 to 100 the gradient of KL changes by the factor",
        {"a": (0.75, inf), "b": (0.375, 0.75), "c": (0.0, 0.375)},
    ),
)
