"""What chapter 11 asks before it measures: how often integers and their simulation part, and what C saves."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "11.p1",
        "Of 1,000 images, how many get another answer from the integer network than from its simulation in floats",
        {"a": (-inf, 1e-9), "b": (1e-9, 10.0), "c": (10.0, inf)},
        "images",
    ),
    Choice(
        "11.p2",
        "Time of the C file / time of ONNX Runtime's INT8, one image back to back on one thread",
        {"a": (0.0, 1.0), "b": (1.0, 3.0), "c": (3.0, inf)},
        "×",
    ),
)
