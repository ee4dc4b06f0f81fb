"""What chapter 07 asks before it measures: what most of the weights are worth, and what their absence is worth."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "07.p1",
        "Points lost by removing half of the weights, without a step of training",
        {"a": (-inf, 3.0), "b": (3.0, 20.0), "c": (20.0, inf)},
        "points",
    ),
    Choice(
        "07.p2",
        "How many times faster ONNX Runtime is with 90 % zeros",
        {"a": (0.0, 1.2), "b": (1.2, 3.0), "c": (3.0, inf)},
        "×",
    ),
)
