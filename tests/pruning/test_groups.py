"""Groups as data: names, what they print, and what may be kept."""

from __future__ import annotations

import torch
from torch import nn

from course_lib.pruning import Group, Member, dependency_graph
from course_lib.pruning.identities import Identities


def test_a_members_name_is_that_of_the_state_dict():
    assert Member("layer1.0", "weight", 0, ((0,),), "produces").name == "layer1.0.weight"
    assert Member("", "scale", 0, ((0,),), "scales").name == "scale"


def test_a_group_prints_its_tensors_axes_and_positions():
    blocks, scattered = Member("b", "weight", 1, ((0, 1, 2), (3, 4, 5)), "consumes"), ((0, 5, 7), ())
    group = Group("a", 2, (blocks, Member("long.name", "bias", 0, scattered, "produces")), "why not")
    assert str(group).splitlines() == [
        "a: 2 channels, fixed: why not",
        "  consumes    b.weight       axis 1: 0-2, 3-5",
        "  produces    long.name.bias axis 0: 0+…+7, none",
    ]
    assert not group.prunable


def test_kept_numbers_the_channels_through_all_groups():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1), nn.Conv2d(5, 2, 1))
    graph = dependency_graph(net, torch.zeros(1, 3, 2, 2))
    assert graph.starts == {"input:input": 0, "0": 3, "1": 7, "2": 12}
    kept = graph.kept({"0": [1, 3], "1": [0]})
    assert kept.nonzero().flatten().tolist() == [0, 1, 2, 4, 6, 7, 12, 13]


def test_united_ids_have_one_root_and_one_reason():
    identities = Identities()
    a, b = identities.fresh(3), identities.fresh(3)
    identities.unite(a, b)
    assert identities.roots(b).tolist() == [0, 1, 2]
    identities.unite(a[:1], b[1:])
    assert identities.roots(torch.stack([a, b])).tolist() == [[0, 0, 0]] * 2
    identities.protect(b, "second")
    identities.protect(a, "later")
    assert identities.reasons() == {0: "second"}


def test_uniting_broadcasts_and_along_unites_what_stands_side_by_side():
    identities = Identities()
    ids = identities.fresh(6).view(2, 3)
    assert identities.varies(ids, 0)
    assert identities.along(ids, 1).tolist() == [0, 1, 2]
    assert identities.roots(ids).tolist() == [[0, 1, 2], [0, 1, 2]]
    assert not identities.varies(ids, 0)
    assert identities.varies(ids, 1)
