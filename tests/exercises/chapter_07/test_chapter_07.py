"""Chapter 07's exercises ask for what the library has."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib.exercises.chapter_07.csr_saving import bytes_saved_by_csr, written_out
from course_lib.exercises.chapter_07.cubic_schedule import cubic_fraction
from course_lib.exercises.chapter_07.fraction_mask import mask_of_fraction
from course_lib.exercises.chapter_07.masked_step import masked_sgd_step
from course_lib.exercises.chapter_07.n_of_m import n_m_mask_of
from course_lib.pruning import Masks, csr_break_even, csr_bytes, cubic, fraction_mask, hold_, n_m_mask


def test_the_mask_of_a_fraction_is_the_librarys(sets):
    for weights, pruning_ratio in sets("07.1"):
        assert torch.equal(mask_of_fraction(weights, pruning_ratio), fraction_mask(weights.abs(), pruning_ratio))


def test_some_drawn_weights_are_equal_across_the_cut(sets):
    cut = 0
    for weights, pruning_ratio in sets("07.1")[-20:]:
        mask, sizes = mask_of_fraction(weights, pruning_ratio), weights.abs()
        cut += bool(sizes[~mask].max() == sizes[mask].min())
    assert 5 <= cut <= 19


def test_the_masked_step_is_torch_optim_sgd_with_the_librarys_hook(sets):
    for weights, gradient, velocity, mask, lr, momentum, decay in sets("07.2"):
        model = nn.Linear(1, 1, bias=False)
        model.weight = nn.Parameter(weights.clone())
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=decay)
        Masks({"weight": mask}).apply_(model)
        hold_(model, optimizer)
        with torch.no_grad():
            model.weight.copy_(weights)  # a removed weight need not be 0 before the step
        model.weight.grad = gradient.clone()
        optimizer.state[model.weight]["momentum_buffer"] = velocity.clone()
        optimizer.step()
        found, moved = masked_sgd_step(weights, gradient, velocity, mask, lr, momentum, decay)
        torch.testing.assert_close(found, model.weight.detach())
        assert (found[~mask] == 0).all()
        if momentum:
            torch.testing.assert_close(moved, optimizer.state[model.weight]["momentum_buffer"])


def test_the_cubic_fraction_is_the_librarys_schedule_at_every_step(sets):
    for _, initial, target, first, every, rounds in sets("07.3"):
        schedule = cubic(target, rounds=rounds, first=first, every=every, initial=initial)
        for step in range(first + rounds * every + 5):
            assert cubic_fraction(step, initial, target, first, every, rounds) == pytest.approx(schedule(step))


def test_the_bytes_saved_are_the_librarys_and_change_sign_at_its_break_even(sets):
    for rows, columns, nonzeros in sets("07.4"):
        expected = 4 * rows * columns - csr_bytes(rows, columns, nonzeros)
        assert bytes_saved_by_csr(rows, columns, nonzeros) == written_out(rows, columns, nonzeros) == expected
        last = csr_break_even(rows, columns)
        assert bytes_saved_by_csr(rows, columns, last) > 0 >= bytes_saved_by_csr(rows, columns, last + 1)


def test_the_pattern_is_the_librarys(sets):
    for weights, n, m in sets("07.5"):
        assert torch.equal(n_m_mask_of(weights, n, m), n_m_mask(weights.abs(), n, m))
