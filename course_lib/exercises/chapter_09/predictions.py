"""What chapter 09 asks before it measures: what two cuts cost together, and what skipped work is worth on a clock."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "09.p1",
        "Points lost when all layers lose a quarter of their channels together / the sum of what each loses alone",
        {"a": (-inf, 0.8), "b": (0.8, 1.25), "c": (1.25, inf)},
        "×",
    ),
    Choice(
        "09.p2",
        "How many times faster PyTorch answers, one image at a time, when it computes the chosen channels alone",
        {"a": (0.0, 0.8), "b": (0.8, 1.2), "c": (1.2, inf)},
        "×",
    ),
)
