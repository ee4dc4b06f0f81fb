"""Distillation: a large network's knowledge becomes a small network's training signal.

``divergences`` measures distributions, ``losses`` compares answers, ``features`` compares what lies inside,
``Distiller`` puts them together as a loss for ``training.fit``, ``tables`` keeps the teacher's logits on disk.
"""

from course_lib.distillation.losses import (
    UNLABELLED,
    decoupled_loss,
    distillation_loss,
    label_loss,
    pseudo_label_loss,
    soft_target_loss,
)
from course_lib.distillation.tables import distillation_training_loss, teacher_logits

__all__ = [
    "UNLABELLED",
    "decoupled_loss",
    "distillation_loss",
    "distillation_training_loss",
    "label_loss",
    "pseudo_label_loss",
    "soft_target_loss",
    "teacher_logits",
]
