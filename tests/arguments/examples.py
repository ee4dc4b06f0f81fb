"""One right call for every public function that takes arrays, by "room.function": what the common tests spoil."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from course_lib.quantization import E4M3, Codes, min_max

G = torch.Generator().manual_seed(0)


def rand(*shape: int) -> torch.Tensor:
    """Different numbers at each call, the same in each run."""
    return torch.randn(*shape, generator=G)


def shares(*shape: int) -> torch.Tensor:
    """Probabilities along the last axis."""
    return rand(*shape).softmax(-1)


def labels(count: int = 6, classes: int = 4) -> torch.Tensor:
    """Every class at least once."""
    return torch.arange(count) % classes


AFFINE = min_max(rand(3, 4), Codes(8), symmetric=False)
PAIR = {"student": lambda: rand(6, 5), "teacher": lambda: rand(6, 5)}
LOGITS = {"student_logits": lambda: rand(6, 4), "teacher_logits": lambda: rand(6, 4)}
GROUPS = {"groups": lambda: np.arange(6) // 2}
RIGHT = {"predictions": lambda: np.arange(6) % 3, "labels": lambda: np.arange(6) % 2}

Call = dict[str, Callable[[], Any] | Any]
EXAMPLES: dict[str, Call] = {
    "distillation.attention_map": {"features": lambda: rand(2, 3, 4, 4)},
    "distillation.attention_transfer_loss": {k: lambda: rand(2, 3, 4, 4) for k in ("student", "teacher")},
    "distillation.cross_entropy": {"p": lambda: shares(6, 4), "q": lambda: shares(6, 4)},
    "distillation.cross_entropy_from_logits": {"p_logits": lambda: rand(6, 4), "q_logits": lambda: rand(6, 4)},
    "distillation.decoupled_loss": {**LOGITS, "labels": labels, "temperature": 4.0, "alpha": 1.0, "beta": 8.0},
    "distillation.distillation_loss": {**LOGITS, "labels": labels, "temperature": 4.0, "alpha": 0.5},
    "distillation.entropy": {"p": lambda: shares(6, 4)},
    "distillation.entropy_from_logits": {"logits": lambda: rand(6, 4)},
    "distillation.js_divergence": {"p": lambda: shares(6, 4), "q": lambda: shares(6, 4)},
    "distillation.js_from_logits": {"p_logits": lambda: rand(6, 4), "q_logits": lambda: rand(6, 4)},
    "distillation.kl_divergence": {"p": lambda: shares(6, 4), "q": lambda: shares(6, 4)},
    "distillation.kl_from_logits": {"p_logits": lambda: rand(6, 4), "q_logits": lambda: rand(6, 4)},
    "distillation.label_loss": {"student_logits": lambda: rand(6, 4), "labels": labels},
    "distillation.pseudo_label_loss": LOGITS,
    "distillation.relational_angle_loss": PAIR,
    "distillation.relational_distance_loss": PAIR,
    "distillation.relative_distances": {"embeddings": lambda: rand(6, 5)},
    "distillation.similarity_preserving_loss": PAIR,
    "distillation.similarity_table": {"features": lambda: rand(6, 5)},
    "distillation.soft_target_loss": {**LOGITS, "temperature": 4.0},
    "pruning.filter_scores": {"scores": lambda: rand(4, 3, 3, 3).abs(), "norm": 1.0},
    "pruning.fraction_mask": {"scores": lambda: rand(4, 3).abs(), "pruning_ratio": 0.5},
    "pruning.n_m_mask": {"scores": lambda: rand(4, 4).abs(), "n": 2, "m": 4},
    "pruning.threshold_mask": {"scores": lambda: rand(4, 3).abs(), "threshold": 0.5},
    "quantization.dynamic_affine": {"x": lambda: rand(3, 4)},
    "quantization.fake_quantize": {"x": lambda: rand(3, 4), "affine": AFFINE},
    "quantization.min_max": {"x": lambda: rand(3, 4), "codes": Codes(8), "symmetric": False},
    "quantization.quantize": {"x": lambda: rand(3, 4), "affine": AFFINE},
    "quantization.round_to": {"x": lambda: rand(3, 4), "form": E4M3, "saturate": True},
    "quantization.sqnr_db": {"x": lambda: rand(3, 4), "restored": lambda: rand(3, 4)},
    "evaluation.accuracy": {**RIGHT, **GROUPS},
    "evaluation.accuracy_difference": {**RIGHT, "reference": lambda: np.arange(6) % 2, **GROUPS},
    "evaluation.confusion_matrix": {**RIGHT, "num_classes": 3},
    "evaluation.recall_matrix": {**RIGHT, "num_classes": 3},
    "evaluation.expected_calibration_error": {
        "probabilities": lambda: shares(6, 4).numpy(),
        "labels": lambda: labels().numpy(),
        "bins": 5,
    },
    "evaluation.fit_temperature": {"logits": lambda: rand(6, 4), "labels": lambda: labels().numpy()},
    "evaluation.bootstrap_ratio": {**{k: lambda: np.arange(1.0, 9.0) for k in ("reference", "other")}, "seed": 0},
    "evaluation.seed_interval": {"scores": lambda: np.arange(5.0)},
}
