"""What chapter 15 asks before it measures: what fusion buys in eager mode, and what a runtime has left of it."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "15.p1",
        "How many times faster the teacher is in eager mode, one image a call, without BatchNorm, ReLU and sums",
        {"a": (0.0, 1.15), "b": (1.15, 1.6), "c": (1.6, inf)},
        "×",
    ),
    Choice(
        "15.p2",
        "How many times faster ONNX Runtime runs the teacher's file when BatchNorm was folded before the export",
        {"a": (0.0, 1.1), "b": (1.1, 1.5), "c": (1.5, inf)},
        "×",
    ),
)
