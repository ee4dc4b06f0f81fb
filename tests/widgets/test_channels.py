"""The explorer of channel cuts: group and fraction change the picture, its words and the MACs."""

from __future__ import annotations

import torch
from torch import nn

from course_lib import widgets
from course_lib.pruning import dependency_graph, norms, predicted_macs, rank_channels

NET = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 10, 1), nn.Flatten(), nn.Linear(40, 2))


def panel():
    graph = dependency_graph(NET, torch.zeros(1, 3, 2, 2))
    ranking = rank_channels(NET, graph, norms(2))
    return widgets.channel_cut_explorer(graph, predicted_macs(NET, graph, ranking)), ranking


def test_the_controls_redraw_the_picture_and_its_words():
    box, ranking = panel()
    picture, words, group, _ = box.children
    assert group.options == ("0", "2")
    assert "Group 0: 3 of 4 channels stay" in words.value
    before = picture.value
    group.value = "2"
    assert picture.value != before
    assert "Group 2: 7 of 10 channels stay" in words.value
    gone = sorted(ranking.orders["2"][7:])
    assert f"channels {', '.join(map(str, gone))} go" in words.value


def test_the_macs_are_those_of_the_cut_network():
    words = panel()[0].children[1]
    whole, left = 4 * (3 * 4 + 4 * 10) + 40 * 2, 4 * (3 * 3 + 3 * 10) + 40 * 2
    assert f"{100 * left / whole:.1f} % of the MACs left" in words.value


def test_a_group_keeps_one_channel_at_least():
    box, _ = panel()
    words, fraction = box.children[1], box.children[3]
    fraction.value = 0.95
    assert "Group 0: 1 of 4 channels stay" in words.value
    fraction.value = 0.0
    assert "Group 0: 4 of 4 channels stay, nothing goes" in words.value
