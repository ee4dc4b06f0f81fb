"""What chapter 01 asks before it measures: how much faster the student really is."""

from course_lib.exercises.engine.predict import Number

PREDICTIONS = (Number("01.p", "How many times faster is the student, one image, one thread", "×", factor=1.25),)
