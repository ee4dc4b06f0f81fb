"""The networks of the course, their building blocks, the guard of train and eval mode, and the shipped checkpoints."""

from course_lib.models.blocks import ConvBNReLU, ResidualBlock
from course_lib.models.modes import eval_mode
from course_lib.models.signs import (
    NUM_CLASSES,
    STUDENT_CHANNELS,
    STUDENT_STRIDES,
    TEACHER_BLOCKS,
    TEACHER_CHANNELS,
    SignStudent,
    SignTeacher,
    sign_student,
    sign_teacher,
)

__all__ = [
    "NUM_CLASSES",
    "STUDENT_CHANNELS",
    "STUDENT_STRIDES",
    "TEACHER_BLOCKS",
    "TEACHER_CHANNELS",
    "ConvBNReLU",
    "ResidualBlock",
    "SignStudent",
    "SignTeacher",
    "eval_mode",
    "sign_student",
    "sign_teacher",
]
