"""What chapter 06 asks before it shows the recorded comparison: which method wins, and how many can be told apart."""

from course_lib.exercises.engine.predict import Choice, Number

METHODS = (
    "soft targets",
    "label smoothing",
    "pseudo-labels",
    "decoupled",
    "hint",
    "attention",
    "relational",
    "similarity-preserving",
    "born again",
)
PREDICTIONS = (
    Choice("06.p1", "The largest mean gain", dict(zip("abcdefghi", METHODS, strict=True))),
    Number("06.p2", "Methods of nine that can be told from no difference", distance=1.0),
)
