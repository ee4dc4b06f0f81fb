"""What chapter 00 asks before it measures: the main job's three numbers."""

from course_lib.exercises.engine.predict import Number

PREDICTIONS = (
    Number("00.p1", "How many times smaller is the final file", "×", factor=1.5),
    Number("00.p2", "How many times faster is the final network", "×", factor=1.5),
    Number("00.p3", "How many points of accuracy are lost", "points", distance=0.5),
)
