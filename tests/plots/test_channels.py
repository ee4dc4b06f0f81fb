"""The figures on channel pruning show what they are given: groups, cuts, criteria, MACs and times."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib import plots
from course_lib.evaluation import Estimate
from course_lib.models.blocks import ResidualBlock
from course_lib.pruning import dependency_graph

NET = nn.Sequential(nn.Conv2d(3, 4, 1), ResidualBlock(4, 4), nn.Flatten(), nn.Linear(16, 2))
GRAPH = dependency_graph(NET, torch.zeros(1, 3, 2, 2))
ACCURACIES = {"random": {0.8: [0.7, 0.9], 0.5: [0.2, 0.4]}, "|γ|": {0.8: [0.95], 0.5: [0.5]}}
SCORES = {"|γ|": [1.0, 2.0, 4.0], "random": [0.5, 0.1, 0.2]}
POINTS = {"teacher": {0.5: Estimate(0.7, 0.6, 0.8, 15, "×"), 0.1: Estimate(0.25, 0.2, 0.3, 15, "×")}}
FIGURES = {
    "groups": lambda: plots.groups_figure(GRAPH.groups),
    "cut": lambda: plots.cut_figure(GRAPH["0"], [0, 3], macs=60, whole_macs=120),
    "importance": lambda: plots.importance_figure([0.1, 0.0, 0.3], SCORES, {"|γ|": 0.5, "random": -0.5}),
    "criteria": lambda: plots.criteria_figure(ACCURACIES),
    "macs and time": lambda: plots.macs_and_time_figure(POINTS),
    "widths": lambda: plots.widths_figure([6, 7, 8], [30.0, 45.0, 32.0], 33.0, multiple=4),
}


@pytest.mark.parametrize("make", FIGURES.values(), ids=FIGURES.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, check_drawn):
    check_drawn(make(), most_bytes=90_000)


def test_a_line_joins_each_layer_to_the_group_that_it_makes_or_reads():
    figure = FIGURES["groups"]()
    made = "group 0 of 4 channels: made by 0, 1.second.0; read by 1.first.0, 3"
    assert made in plots.alt_text(figure)
    roles = [
        m.role for g in GRAPH.groups for m in g.members if m.role in ("produces", "consumes") and m.tensor != "bias"
    ]
    assert len(figure.axes[0].get_lines()) == len(roles)
    texts = {text.get_text() for text in figure.axes[0].texts}
    assert {"0\n4 channels", "1.first.0\n4 channels", "input:input\n3 channels, fixed"} <= texts


def test_one_colour_and_one_kind_of_line_belong_to_one_group():
    lines = FIGURES["groups"]().axes[0].get_lines()
    assert len({line.get_color() for line in lines}) == len({(e.get_color(), e.get_linestyle()) for e in lines})
    assert len({line.get_color() for line in lines}) == len(GRAPH.groups)


def test_each_tensor_of_the_group_has_a_strip_that_is_white_where_it_is_cut():
    axes = FIGURES["cut"]().axes[0]
    members = GRAPH["0"].members
    strips = dict(zip([m.name for m in members], [image.get_array().tolist()[0] for image in axes.images], strict=True))
    assert strips["0.weight"] == [1, 0, 0, 1]
    assert strips["3.weight"] == [1] * 4 + [0] * 8 + [1] * 4
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"{m.name}, axis {m.axis}" for m in members]
    assert "4 → 2 channels, 50.0 % of the MACs left" in axes.get_title(loc="left")
    assert {text.get_text() for text in axes.texts} == {"4 → 2", "16 → 8"}


def test_the_cut_is_told_in_words():
    alt = plots.alt_text(FIGURES["cut"]())
    assert alt.startswith("Group 0: 2 of 4 channels stay, channels 1, 2 go, in 0.weight axis 0, 0.bias axis 0")
    whole = plots.cut_figure(GRAPH["0"], range(4), macs=120, whole_macs=120)
    assert "nothing goes" in plots.alt_text(whole)


def test_scores_are_shown_in_per_cent_of_the_largest():
    gamma, random = FIGURES["importance"]().axes
    (points,) = gamma.get_lines()
    assert points.get_xdata().tolist() == [25, 50, 100]
    assert points.get_ydata().tolist() == [0.1, 0.0, 0.3]
    assert "rank correlation -0.50" in random.get_title(loc="left")


def test_a_criterion_has_one_colour_and_marker_in_both_figures():
    drawn = {c.get_label(): c.lines[0] for c in FIGURES["criteria"]().axes[0].containers}
    for axes, name in zip(FIGURES["importance"]().axes, SCORES, strict=True):
        (points,) = axes.get_lines()
        assert (points.get_color(), points.get_marker()) == (drawn[name].get_color(), drawn[name].get_marker())


def test_criteria_are_drawn_as_means_with_the_range_of_their_draws():
    random, gamma = FIGURES["criteria"]().axes[0].containers
    assert random.lines[0].get_ydata() == pytest.approx([80, 30])
    assert random.lines[2][0].get_segments()[0][:, 1] == pytest.approx([70, 90])
    assert gamma.lines[2][0].get_segments()[1][:, 1] == pytest.approx([50, 50])


def test_time_is_drawn_over_macs_with_its_interval_and_the_line_of_equality():
    axes = FIGURES["macs and time"]().axes[0]
    (teacher,) = axes.containers
    assert teacher.lines[0].get_xdata() == pytest.approx([50, 10])
    assert teacher.lines[2][0].get_segments()[0][:, 1] == pytest.approx([60, 80])
    assert axes.get_lines()[0].get_label() == "time = MACs"
    assert "50 % of the MACs take 70 % of the time" in plots.alt_text(FIGURES["macs and time"]())


def test_widths_stand_beside_what_their_macs_promise():
    promised, measured, multiples, again = FIGURES["widths"]().axes[0].get_lines()
    assert promised.get_ydata() == pytest.approx([32 * (6 / 8) ** 2, 32 * (7 / 8) ** 2, 32])
    assert measured.get_ydata().tolist() == [30, 45, 32]
    assert multiples.get_xdata().tolist() == [8]
    assert list(again.get_ydata()) == [33]
