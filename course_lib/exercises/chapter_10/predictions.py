"""What chapter 10 asks before it measures: what one outlier costs, and what a scale for each channel saves."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "10.p1",
        "Decibels that all other values lose when one value ten times as large joins them in an 8-bit code",
        {"a": (-inf, 3.0), "b": (3.0, 12.0), "c": (12.0, inf)},
        "dB",
    ),
    Choice(
        "10.p2",
        "Points of accuracy that 3-bit weights gain from one scale for each channel instead of one for each layer",
        {"a": (-inf, 5.0), "b": (5.0, 30.0), "c": (30.0, inf)},
        "points",
    ),
)
