"""Distillation: a large network's knowledge becomes a small network's training signal.

``divergences`` measures distributions, ``losses`` compares answers, ``features`` and ``relations`` compare what lies
inside, ``answers`` shows what a teacher's answers know, ``Distiller`` puts the losses together as one for
``training.fit``, ``teacher_logits`` keeps the teacher's logits on disk.
"""

from course_lib.distillation.answers import pushes, same_group_share, wrong_answer_shares
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
from course_lib.distillation.features import Hint, attention_map, attention_transfer_loss, middle_share
from course_lib.distillation.hooks import Taps
from course_lib.distillation.losses import (
    UNLABELLED,
    decoupled_loss,
    distillation_loss,
    label_loss,
    pseudo_label_loss,
    soft_target_loss,
)
from course_lib.distillation.pulls import balanced, term_pulls
from course_lib.distillation.relations import (
    relational_angle_loss,
    relational_distance_loss,
    relative_distances,
    similarity_preserving_loss,
    similarity_table,
    within_class_ratio,
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
    "balanced",
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
    "middle_share",
    "open_table",
    "pseudo_label_loss",
    "pushes",
    "relational_angle_loss",
    "relational_distance_loss",
    "relative_distances",
    "same_group_share",
    "similarity_preserving_loss",
    "similarity_table",
    "soft_target_loss",
    "soft_target_terms",
    "table_identity",
    "tapped_table",
    "teacher_table",
    "term_pulls",
    "within_class_ratio",
    "wrong_answer_shares",
]
