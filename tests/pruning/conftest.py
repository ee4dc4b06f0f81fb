"""Networks that the tests of channel groups share, and what a cut must satisfy on each of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from course_lib.pruning import DependencyGraph, cut, dependency_graph, masked

Keep = dict[str, list[int]]
Prove = Callable[..., tuple[DependencyGraph, nn.Module]]


def with_statistics(model: nn.Module) -> nn.Module:
    """BatchNorms that are not at their initial values, eval mode."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.affine:
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                for statistic, low, high in ((module.running_mean, -0.3, 0.3), (module.running_var, 0.5, 2.0)):
                    if statistic is not None:
                        statistic.uniform_(low, high)
    return model.eval()


def random_keep(graph: DependencyGraph, seed: int = 0, ratio: float = 0.3) -> Keep:
    """Of each prunable group a random 1 − ratio of the channels, and at least one on every tensor."""
    generator, keep = torch.Generator().manual_seed(seed), {}
    for group in graph.groups:
        if group.prunable:
            order = torch.randperm(group.size, generator=generator).tolist()
            count = max(1, min(group.size - 1, round((1 - ratio) * group.size)))
            chosen = set(order[:count])
            for member in group.members:
                held = [channel for channel in order if member.indices[channel]]
                chosen |= set() if chosen & set(held) else {held[0]}
            keep[group.name] = sorted(chosen)
    return keep


def outputs(model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Tensor]:
    """The network's outputs as a list, whatever holds them."""
    with torch.no_grad():
        found = model(*inputs)
    found = found.values() if isinstance(found, dict) else found
    return [found] if isinstance(found, Tensor) else list(found)


def assert_same_function(small: nn.Module, twin: nn.Module, inputs: tuple[Tensor, ...], relative: float) -> None:
    for found, expected in zip(outputs(small, inputs), outputs(twin, inputs), strict=True):
        assert found.shape == expected.shape
        assert torch.isfinite(expected).all()
        assert (found - expected).abs().max() <= relative * expected.abs().max() + 1e-12


def trains(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """In train mode a forward and a backward pass give a finite gradient to the parameters they use."""
    model.train()
    found = model(*inputs)
    found = found.values() if isinstance(found, dict) else [found] if isinstance(found, Tensor) else found
    torch.stack([output.square().sum() for output in found]).sum().backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    model.eval()


def proven(
    model: nn.Module,
    *inputs: Tensor,
    keep: Keep | None = None,
    seed: int = 0,
    relative: float = 1e-9,
    fully: bool = True,
) -> tuple[DependencyGraph, nn.Module]:
    """Cut a network and prove all that a cut promises; its graph and the small network."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    expected = outputs(model, inputs)
    graph = dependency_graph(model, inputs)
    keep = random_keep(graph, seed) if keep is None else keep
    small = cut(model, graph, keep)
    assert_same_function(small, masked(model, graph, keep), inputs, relative)
    if any(group.prunable for group in graph.groups):
        assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    assert list(small.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(map(torch.equal, outputs(model, inputs), expected))
    if fully:
        again = dependency_graph(small, inputs)
        second = random_keep(again, seed + 1)
        assert_same_function(cut(small, again, second), masked(small, again, second), inputs, relative)
        trains(small, inputs)
    return graph, small


@pytest.fixture(name="proven")
def proven_fixture() -> Prove:
    return proven


@pytest.fixture(name="with_statistics")
def with_statistics_fixture() -> Callable[[nn.Module], nn.Module]:
    return with_statistics


@pytest.fixture(name="random_keep")
def random_keep_fixture() -> Callable[..., Keep]:
    return random_keep
