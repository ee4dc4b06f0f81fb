"""The figures on divergences show what they were given, and say it in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib import plots

P, Q, NAMES = (0.5, 0.25, 0.125, 0.125), (0.25, 0.5, 0.125, 0.125), ("30", "50", "80", "stop")
X = np.linspace(-1, 1, 5)
FIGURES = {
    "prices": lambda: plots.code_price_figure(P, Q, NAMES),
    "two fits": lambda: plots.two_fits_figure(X, [0, 1, 0, 1, 0], {"wide": [0, 1, 2, 1, 0], "narrow": [0, 3, 0, 0, 0]}),
    "underflow": lambda: plots.underflow_figure([0, 50, 100], {"right": [0, 50, 100], "naive": [0, 50, np.inf]}),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=90_000)


def test_the_bars_of_entropy_and_excess_end_at_the_cross_entropy():
    right = FIGURES["prices"]().axes[1]
    ends = [patch.get_x() + patch.get_width() for patch in right.patches]
    assert ends == pytest.approx([1.75, 2.0, 1.75, 2.0])
    assert "1.750 + 0.250 = 2.000" in [text.get_text() for text in right.texts]


def test_swapping_p_and_q_swaps_the_prices():
    words = plots.alt_text(plots.code_price_figure((0.9, 0.1), (0.5, 0.5), ("a", "b")))
    assert "outcomes from p, code for q: entropy 0.469 + KL 0.531 = 1.000 bits" in words
    assert "outcomes from q, code for p: entropy 1.000 + KL 0.737 = 1.737 bits" in words


def test_an_impossible_outcome_is_said_to_cost_infinitely_much_and_the_bar_stays_in_the_picture():
    right = plots.code_price_figure((0.5, 0.5), (1, 0), ("a", "b")).axes[1]
    assert any("∞" in text.get_text() for text in right.texts)
    assert all(patch.get_x() + patch.get_width() <= 7 for patch in right.patches)


def test_a_loss_that_becomes_infinite_is_drawn_up_to_its_last_finite_value():
    axes = FIGURES["underflow"]().axes[0]
    right, naive, cross = axes.get_lines()
    assert right.get_xdata().tolist() == [0, 50, 100]
    assert naive.get_xdata().tolist() == [0, 50]
    assert cross.get_xdata() == [50]
    assert "naive: infinite beyond 50" in plots.alt_text(FIGURES["underflow"]())


def test_fits_are_drawn_over_the_target_and_tensors_are_taken():
    x = torch.linspace(-1, 1, 5)
    fit = torch.tensor([0.0, 1, 2, 1, 0])
    axes = plots.two_fits_figure(x, fit / 2, {"wide": fit}).axes[0]
    assert axes.get_lines()[0].get_ydata().tolist() == fit.tolist()
    assert max(path.vertices[:, 1].max() for path in axes.collections[0].get_paths()) == 1


def test_names_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="3 names and 4 probabilities"):
        plots.code_price_figure(P, Q, NAMES[:3])
    with pytest.raises(ValueError, match="q must sum to 1"):
        plots.code_price_figure(P, (0.5, 0.5, 0.5, 0), NAMES)
