"""Distillation: a large network's knowledge becomes a small network's training signal.

``divergences`` measures distributions, ``losses`` compares answers, ``features`` compares what lies inside,
``Distiller`` puts them together as a loss for ``training.fit``, ``tables`` keeps the teacher's logits on disk.
"""

from course_lib.distillation.distiller import Distiller, Outputs, Term, soft_target_terms
from course_lib.distillation.divergences import (
    cross_entropy,
    cross_entropy_from_logits,
    entropy,
    entropy_from_logits,
    js_divergence,
    js_from_logits,
    kl_divergence,
    kl_from_logits,
)
from course_lib.distillation.features import (
    Hint,
    attention_map,
    attention_transfer_loss,
    relational_angle_loss,
    relational_distance_loss,
    similarity_preserving_loss,
)
from course_lib.distillation.hooks import Taps
from course_lib.distillation.losses import (
    UNLABELLED,
    decoupled_loss,
    distillation_loss,
    label_loss,
    pseudo_label_loss,
    soft_target_loss,
)
from course_lib.distillation.teacher_logits import TeacherTable, open_table, table_identity, tapped_table, teacher_table

__all__ = [
    "UNLABELLED",
    "Distiller",
    "Hint",
    "Outputs",
    "Taps",
    "TeacherTable",
    "Term",
    "attention_map",
    "attention_transfer_loss",
    "cross_entropy",
    "cross_entropy_from_logits",
    "decoupled_loss",
    "distillation_loss",
    "entropy",
    "entropy_from_logits",
    "js_divergence",
    "js_from_logits",
    "kl_divergence",
    "kl_from_logits",
    "label_loss",
    "open_table",
    "pseudo_label_loss",
    "relational_angle_loss",
    "relational_distance_loss",
    "similarity_preserving_loss",
    "soft_target_loss",
    "soft_target_terms",
    "table_identity",
    "tapped_table",
    "teacher_table",
]
