"""``fastest`` gives the candidate that took the least time, whichever that is, and it computes the same."""

from __future__ import annotations

import time

import pytest
import torch
from torch import nn

from course_lib.fusion import CANDIDATES, FusedConvolution, fastest, fuse
from course_lib.models import sign_student

IMAGE = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
PAUSE_S = 0.02
"""Far above what the small network takes by itself, also on a busy machine."""


def network() -> nn.Module:
    torch.manual_seed(0)
    return sign_student(0.25).eval()


def slow(monkeypatch, *classes: type[nn.Module]) -> None:
    """Let every call of these layers take ``PAUSE_S`` more."""
    for layer in classes:
        own = layer.forward

        def forward(self, *inputs, own=own):
            time.sleep(PAUSE_S)
            return own(self, *inputs)

        monkeypatch.setattr(layer, "forward", forward)


@pytest.mark.parametrize(
    ("slowed", "winner"),
    [((FusedConvolution, nn.BatchNorm2d), "folded"), ((nn.BatchNorm2d, nn.Conv2d), "one kernel")],
    ids=["slow kernels", "slow operators"],
)
def test_what_is_slower_here_is_not_chosen(slowed, winner, monkeypatch):
    slow(monkeypatch, *slowed)
    found = fastest(network(), IMAGE, rounds=2)
    assert found.name == winner
    assert found.times_ms[winner] == min(found.times_ms.values())
    assert max(found.times_ms.values()) > 1e3 * PAUSE_S


def test_folding_that_costs_is_undone(monkeypatch):
    slow(monkeypatch, FusedConvolution)
    own = nn.Conv2d.forward

    def with_bias_slow(self, x):
        if self.bias is not None:  # only folding gives these convolutions one
            time.sleep(PAUSE_S)
        return own(self, x)

    monkeypatch.setattr(nn.Conv2d, "forward", with_bias_slow)
    assert all(layer.bias is None for layer in network().modules() if isinstance(layer, nn.Conv2d))
    found = fastest(network(), IMAGE, rounds=2)
    assert found.name == "untouched"
    assert found.fusion.done == ()


def test_the_winner_is_what_fuse_makes_and_the_network_stays_as_it_is():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    found = fastest(model, IMAGE, rounds=2)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert set(found.times_ms) == set(CANDIDATES)
    same = fuse(model, IMAGE, **CANDIDATES[found.name])
    with torch.inference_mode():
        assert torch.equal(found.fusion(IMAGE), same(IMAGE))
        assert torch.allclose(found.fusion(IMAGE), model.eval()(IMAGE), atol=1e-4)
    assert found.name in str(found)
    assert all(name in str(found) for name in CANDIDATES)


def test_a_network_that_overwrites_its_input_is_timed_on_copies():
    class Overwriting(nn.Module):
        def forward(self, x):
            return torch.relu_(x.sub_(0.5))

    image = IMAGE.clone()
    fastest(Overwriting(), image, rounds=2)
    assert torch.equal(image, IMAGE)


def test_too_few_rounds_are_refused():
    with pytest.raises(ValueError, match="repeats ≥ 2"):
        fastest(network(), IMAGE, rounds=1)
