"""What chapter 17 asks first: what memory leaves of a board's peak, and what a file for another chip costs."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "17.p1",
        "Roofline time of the pruned network on one core of a Nano / on the GPU of an Orin Nano",
        {"a": (1000.0, inf), "b": (500.0, 1000.0), "c": (0.0, 500.0)},
        "×",
    ),
    Choice(
        "17.p2",
        "Time of the INT8 file made for the Orin's GPU / time of the FP32 file, both on this CPU, in turn",
        {"a": (0.0, 0.8), "b": (0.8, 1.25), "c": (1.25, inf)},
        "×",
    ),
)
