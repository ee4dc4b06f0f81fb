"""What chapter 12 asks before it measures: what one wrong image costs, and what is left of nearest's noise."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "12.p1",
        "Accuracy that one image of 512, not divided by 255, costs ranges from the smallest and largest value",
        {"a": (-inf, 1.0), "b": (1.0, 20.0), "c": (20.0, inf)},
        "points",
    ),
    Choice(
        "12.p2",
        "Noise in the logits with learned roundings / with plain nearest, weights in 4 bits",
        {"a": (1.0, inf), "b": (0.5, 1.0), "c": (0.0, 0.5)},
        "×",
    ),
)
