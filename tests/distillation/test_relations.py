"""Tables of relations within a batch: what the losses and the figures both read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.distillation import (
    middle_share,
    relational_distance_loss,
    relative_distances,
    similarity_preserving_loss,
    similarity_table,
    within_class_ratio,
)

EMBEDDINGS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
OTHERS = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_relative_distances_are_distances_over_their_mean_between_different_embeddings():
    table = torch.cdist(EMBEDDINGS, EMBEDDINGS, compute_mode="donot_use_mm_for_euclid_dist")
    expected = table / (table.sum() / (5 * 4))
    torch.testing.assert_close(relative_distances(EMBEDDINGS), expected)
    torch.testing.assert_close(relative_distances(1e30 * EMBEDDINGS), expected)


def test_the_distance_loss_is_hubers_loss_of_the_two_tables():
    expected = F.smooth_l1_loss(relative_distances(EMBEDDINGS), relative_distances(OTHERS))
    torch.testing.assert_close(relational_distance_loss(EMBEDDINGS, OTHERS), expected)


def test_coinciding_embeddings_have_a_table_of_zeros_and_a_finite_gradient():
    same = torch.ones(4, 3, requires_grad=True)
    table = relative_distances(same)
    assert not table.any()
    (slope,) = torch.autograd.grad(table.sum(), same)
    assert slope.isfinite().all()


def test_the_gradient_of_the_table_agrees_with_finite_differences():
    assert torch.autograd.gradcheck(relative_distances, EMBEDDINGS.clone().requires_grad_())


@pytest.mark.parametrize(("shape", "message"), [((1, 3), "at least 2 embeddings"), ((3,), r"\(B, D\) and not empty")])
def test_what_has_no_distances_is_refused(shape, message):
    with pytest.raises(ValueError, match=message):
        relative_distances(torch.ones(shape))


def test_the_similarity_table_has_rows_of_unit_length_and_makes_the_loss():
    table = similarity_table(EMBEDDINGS)
    products = EMBEDDINGS @ EMBEDDINGS.T
    torch.testing.assert_close(table, products / products.norm(dim=1, keepdim=True))
    expected = (table - similarity_table(OTHERS)).square().mean()
    torch.testing.assert_close(similarity_preserving_loss(EMBEDDINGS, OTHERS), expected)


def test_a_table_that_sees_the_classes_has_a_ratio_above_one_and_its_diagonal_does_not_count():
    table = np.array([[9.0, 2, 1, 0], [4, 9, 0, 1], [1, 1, 9, 3], [1, 1, 3, 9]])
    assert within_class_ratio(table, [0, 0, 1, 1]) == pytest.approx(3 / (6 / 8))
    assert within_class_ratio(np.ones((4, 4)), [0, 0, 1, 1]) == 1
    assert within_class_ratio(table, [0, 0, 0, 0]) == pytest.approx((table.sum() - 36) / 12)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (4, 12), (5, 6)])
def test_the_middle_quarter_leaves_a_quarter_out_on_each_side(height, width):
    maps = np.zeros((2, height, width))
    maps[:, height // 4 : height - height // 4, width // 4 : width - width // 4] = 1
    assert middle_share(maps) == 1
    assert middle_share(1 - maps) == 0
    assert middle_share(np.zeros((1, height, width))) == 0
