"""The fusion study takes its bandwidth at the largest activation that the network in question has."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from course_lib.experiments import fusion_study

LARGEST = {"teacher": (32, 32, 32), "student": (20, 16, 16), "resnet18": (64, 32, 32)}
"""Channels, height and width: at 32 pixels a side, of ResNet-18 at 64."""


def largest(name: str, batch: int) -> torch.Size:
    """The largest output that a hook on some layer sees."""
    model, seen = fusion_study.network(name), []
    for layer in model.modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda _, __, y: seen.append(y.shape))
    side = fusion_study.NETWORKS[name]
    with torch.inference_mode():
        model(torch.rand(batch, 3, side, side))
    return max((shape for shape in seen if len(shape) == 4), key=lambda shape: shape.numel())


@pytest.mark.parametrize("name", LARGEST)
def test_the_bandwidth_is_taken_at_the_networks_own_largest_activation(name, monkeypatch):
    widths, sizes, placed = [], [], []

    def in_a_loop(channels):
        widths.append(channels)
        return dict.fromkeys(("BatchNorm2d", "ReLU", "relu", "add", "iadd"), 1.0)

    def in_place(model, x, kinds):
        placed.append(sorted(kinds))
        return dict.fromkeys(kinds, 3.0)

    def bandwidth(threads, seconds, array_mib):
        sizes.append(array_mib)
        return SimpleNamespace(value=10.0)

    monkeypatch.setattr(fusion_study, "_overhead_in_a_loop_us", in_a_loop)
    monkeypatch.setattr(fusion_study, "call_overhead_us", in_place)
    monkeypatch.setattr(fusion_study, "peak_bandwidth_gbs", bandwidth)
    monkeypatch.setattr(fusion_study, "BACK_TO_BACK", fusion_study.Cadence("once"))
    monkeypatch.setattr(fusion_study, "_LARGE_BATCH", fusion_study.Cadence("once"))
    found = fusion_study.session(name, 2, 2, 0).saving
    channels, height, width = LARGEST[name]
    assert tuple(largest(name, 2)) == (2, channels, height, width)
    assert widths == [channels]
    assert "BatchNorm2d" in placed[0]
    assert set(placed[0]) <= {"BatchNorm2d", "ReLU", "relu", "add"}
    assert sizes == [max(2 * channels * height * width * 4 / 2**20, 1 / 64)]
    assert found.calls > 0
    assert found.megabytes > 0
    assert found.by_traffic - found.by_loop == pytest.approx(found.calls * 2.0 / 1e3)  # 3 µs a call beside 1


def test_times_are_told_for_every_kind_of_operator_that_fusion_removes():
    found = fusion_study._overhead_in_a_loop_us(4)
    assert set(found) == {"BatchNorm2d", "ReLU", "relu", "add", "iadd"}
    assert all(us > 0 for us in found.values())


def test_an_unknown_network_is_refused():
    with pytest.raises(ValueError, match="name must be one of teacher, student, resnet18, got 'vgg'"):
        fusion_study.network("vgg")


def test_every_step_gives_what_the_network_gives():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()).eval()
    x = torch.rand(2, 3, 6, 6)
    with torch.inference_mode():
        for run in fusion_study.variants(model, x).values():
            assert torch.allclose(run(x), model(x), atol=1e-5)
