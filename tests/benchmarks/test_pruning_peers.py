"""The benchmark against Torch-Pruning: what it calls a difference is one, and what it prepares leaves outputs alone."""

from __future__ import annotations

import copy

import pytest
import torch

from course_lib.pruning import dependency_graph


@pytest.fixture
def peers(load_script):
    return load_script("benchmarks/pruning_peers.py")


@torch.no_grad()
def test_a_cut_of_zero_channels_moves_nothing_and_a_wrong_one_is_told(peers):
    def careless(model, image):
        """A cut that takes the first channels, zero or not."""
        graph = dependency_graph(model, image)
        return peers.cut(model, graph, {g.name: range(g.size // 3, g.size) for g in graph.groups if g.prunable})

    def broken(model, image):
        raise RuntimeError("no\nsecond line")

    found = peers.row("resnet18", {"ours": peers.ours, "careless": careless, "broken": broken})
    assert found["ours"]["status"] == "ok"
    assert found["ours"]["difference"] < 1e-5 < 1e-3 < found["careless"]["difference"]
    assert 0 < found["ours"]["parameters_left"] < 0.6
    assert found["ours"]["seconds"] > 0
    assert found["broken"] == {"status": "refused: RuntimeError: no"}


@torch.no_grad()
def test_half_of_every_group_is_zero(peers):
    model, image = peers.network("squeezenet1_1")
    before = copy.deepcopy(model.state_dict())
    graph = dependency_graph(model, image)
    peers.zero_(model, graph)
    zeros = sum(int((model.state_dict()[key] == 0).sum() - (value == 0).sum()) for key, value in before.items())
    assert zeros > 0.5 * sum(p.numel() for p in model.parameters())
    for group in graph.groups:
        for member in group.members:
            if group.prunable and member.tensor == "weight" and member.role == "produces":
                rows = model.get_parameter(member.name).movedim(member.axis, 0).flatten(1)
                assert abs(int((rows == 0).all(1).sum()) - group.size / 2) <= 1
