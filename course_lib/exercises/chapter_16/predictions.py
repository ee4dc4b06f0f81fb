"""What chapter 16 asks before it measures: what a second thread buys a small network, and 8 bits at a camera's pace."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "16.p1",
        "How many times faster two threads are than one, for the pruned network on one image, back to back",
        {"a": (-inf, 1.1), "b": (1.1, 1.5), "c": (1.5, inf)},
        "×",
    ),
    Choice(
        "16.p2",
        "How many times faster the pruned network's INT8 file is than its float32 file, at 30 calls a second",
        {"a": (-inf, 1.1), "b": (1.1, 1.5), "c": (1.5, inf)},
        "×",
    ),
)
