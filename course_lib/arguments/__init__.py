"""What public functions ask of their arguments, each question once: numbers, arrays, and the words that refuse them.

A message names the argument, what was seen and what was expected. A value of the wrong kind is a TypeError, one that is
out of range a ValueError: NaN is in no range. Nothing is converted in silence, so that 1.5 images or a seed of "3" are
refused where they are given and not where they end in another number.
"""

from course_lib.arguments.arrays import finite, matching, non_empty, numeric, shaped, tensor, tensors
from course_lib.arguments.numbers import number, one_of, whole

__all__ = ["finite", "matching", "non_empty", "number", "numeric", "one_of", "shaped", "tensor", "tensors", "whole"]
