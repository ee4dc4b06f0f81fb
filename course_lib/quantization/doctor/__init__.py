"""The quantization doctor: two models in; out come the first layer that breaks, the answers that flipped, and why
INT8 is not faster here."""

from course_lib.quantization.doctor.answers import Answers, Flips, compare_answers
from course_lib.quantization.doctor.diagnosis import diagnose
from course_lib.quantization.doctor.finding import MENDS, Finding
from course_lib.quantization.doctor.layers import LayerRow
from course_lib.quantization.doctor.report import Report

__all__ = ["MENDS", "Answers", "Finding", "Flips", "LayerRow", "Report", "compare_answers", "diagnose"]
