"""The learner's own copies of the chapters, brought up to date cell by cell without losing a line of theirs."""

from course_lib.workbook.chapters import Change, reset, status, update
from course_lib.workbook.places import Workbook, place

__all__ = ["Change", "Workbook", "place", "reset", "status", "update"]
