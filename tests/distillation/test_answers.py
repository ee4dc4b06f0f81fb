"""Shares of wrong probability are what their definition says, and pushes are gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.distillation import pushes, same_group_share, wrong_answer_shares

NAMES, GROUPS = [f"c{i}" for i in range(8)], ["a", "a", "a", "b", "b", "b", "c", "c"]
P = np.random.default_rng(0).dirichlet(np.ones(8), 80)
LABELS = np.arange(80) % 8
SHARES = wrong_answer_shares(P, LABELS, 8)
TEACHER, STUDENT = torch.tensor([4.0, 2, 1, 0, 0, -1, -1, -2]), torch.zeros(8)


def test_shares_are_those_of_the_hand_computed_example():
    p = [[0.90, 0.06, 0.03, 0.01], [0.1, 0.8, 0.1, 0.0], [0.0, 0.0, 0.5, 0.5], [0.2, 0.2, 0.2, 0.4]]
    shares = wrong_answer_shares(p, [0, 1, 2, 3], 4)
    assert np.allclose(shares[:3], [[0, 0.6, 0.3, 0.1], [0.5, 0, 0.5, 0], [0, 0, 0, 1]])


def test_shares_of_a_class_are_taken_from_mean_probabilities_and_sum_to_one():
    p = [[0.9, 0.1, 0.0], [0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.1, 0.8]]
    shares = wrong_answer_shares(p, [0, 0, 1, 2], 3)
    assert np.allclose(shares[0], [0, 2 / 3, 1 / 3])  # the rows' own shares would give 0.8, their maxima 0.6
    assert np.allclose(SHARES.sum(1), 1)
    assert np.diag(SHARES).tolist() == [0] * 8


def test_a_class_without_images_is_refused():
    with pytest.raises(ValueError, match=r"every class, got none of \[2\]"):
        wrong_answer_shares(np.ones((2, 3)) / 3, [0, 1], 3)


def test_the_share_within_a_group_counts_other_classes_of_the_same_group_only():
    shares = [[0, 0.7, 0.3], [0.2, 0, 0.8], [0.5, 0.5, 0]]
    assert same_group_share(shares, ["a", "a", "b"]) == pytest.approx((0.7 + 0.2 + 0) / 3)


def test_pushes_are_the_gradients_that_the_chapter_derives():
    found = pushes(STUDENT, TEACHER, 1, 4.0, 0.75)
    p, q = (TEACHER / 4).softmax(0), STUDENT.softmax(0)
    label, first = torch.eye(8)[1], torch.eye(8)[0]
    assert torch.allclose(found["label"], label - q)
    assert torch.allclose(found["pseudo-label"], first - q)
    soft = 4 * (p - (STUDENT / 4).softmax(0))
    assert torch.allclose(found["soft targets and label"], 0.75 * soft + 0.25 * (label - q), atol=1e-6)


def test_pushes_leave_the_logits_as_they_were():
    student = STUDENT.clone().requires_grad_()
    pushes(student, TEACHER, 1, 4.0, 0.5)
    assert student.grad is None
