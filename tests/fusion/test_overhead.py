"""The overhead of a call is timed at its place, on next to nothing, and the network stays as it was."""

from __future__ import annotations

import time

import pytest
import torch
from torch import Tensor, nn

from course_lib.fusion import call_overhead_us, fuse, traffic
from course_lib.fusion.overhead import _one_a_channel
from course_lib.models import sign_student


class SlowAtFirst(nn.Module):
    """Number by number; the first call of its life sleeps."""

    def __init__(self):
        super().__init__()
        self.seconds = 0.2

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(self.seconds if x.numel() else 0.0)
        self.seconds = 0.0
        return x + 1


class Slow(nn.Module):
    """Number by number: sleeps for a time, and once more for what it gets beyond one number a channel."""

    def forward(self, x: Tensor) -> Tensor:
        time.sleep(0.004 if x.numel() == x.shape[1] else 0.1)
        return x + 1


def images() -> Tensor:
    return torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_the_time_of_a_call_is_that_on_one_number_a_channel():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Slow(), nn.ReLU(inplace=True)).eval()
    found = call_overhead_us(model, images(), ["Slow", "ReLU"], passes=3, warmup=1)
    assert list(found) == ["Slow", "ReLU"]
    assert 4_000 <= found["Slow"] < 100_000
    assert 0 <= found["ReLU"] < found["Slow"]


def test_passes_of_the_warm_up_are_not_counted():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), SlowAtFirst()).eval()
    assert call_overhead_us(model, images(), ["SlowAtFirst"], passes=1, warmup=1)["SlowAtFirst"] < 50_000


def test_layers_behind_get_what_they_would_read_and_nothing_is_changed():
    seen = []
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 5, 3)).eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    graph = fuse(model, images(), folded=False, one_kernel=False, packed=False).model
    graph.get_submodule("3").register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    x = images()
    call_overhead_us(graph, x, {"BatchNorm2d", "ReLU"}, passes=1, warmup=0)
    assert seen == [(2, 4, 6, 6)] * 2  # once to look, once for the pass
    assert torch.equal(x, images())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())


def test_every_kind_that_fusion_removes_can_be_timed():
    model, x = sign_student(0.5).eval(), torch.rand(1, 3, 32, 32)
    before = fuse(model, x, folded=False, one_kernel=False).model
    gone = traffic(before, x).kinds - traffic(fuse(model, x).model, x).kinds
    assert set(call_overhead_us(before, x, gone, passes=2, warmup=0)) == {"BatchNorm2d", "ReLU"}


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4), (2, 3, 4, 5)])
def test_one_number_a_channel_is_a_copy(shape):
    x = torch.rand(shape)
    small = _one_a_channel(x)
    assert small.shape == tuple(size if axis == 1 else 1 for axis, size in enumerate(shape))
    small += 1
    assert x.max() < 1


@pytest.mark.parametrize(
    ("kinds", "words"),
    [({"Conv3d"}, "no operator of kind Conv3d is called"), ({"Flatten"}, "Flatten .* does not work number by number")],
)
def test_what_cannot_be_timed_so_is_refused(kinds, words):
    with pytest.raises(ValueError, match=words):
        call_overhead_us(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval(), images(), kinds, passes=1)


def test_no_pass_is_refused():
    with pytest.raises(ValueError, match="passes must be at least 1, got 0"):
        call_overhead_us(nn.ReLU(), images(), {"ReLU"}, passes=0)
