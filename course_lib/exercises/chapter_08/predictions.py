"""What chapter 08 asks before it measures: what a share of the channels is in MACs, and what MACs are in time."""

from math import inf

from course_lib.exercises.engine.predict import Choice

PREDICTIONS = (
    Choice(
        "08.p1",
        "Per cent of the MACs left after 30 % of the channels of each layer are removed",
        {"a": (60.0, inf), "b": (40.0, 60.0), "c": (-inf, 40.0)},
        "%",
    ),
    Choice(
        "08.p2",
        "How many times faster ONNX Runtime is with half of the MACs",
        {"a": (0.0, 1.3), "b": (1.3, 1.8), "c": (1.8, inf)},
        "×",
    ),
)
