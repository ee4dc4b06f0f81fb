"""Chapter 08's exercises ask for what the library has."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from course_lib.exercises.chapter_08.chain_cut import cut_chain
from course_lib.exercises.chapter_08.chain_cut import written_out as chain_written_out
from course_lib.exercises.chapter_08.chain_macs import chain_macs
from course_lib.exercises.chapter_08.chain_macs import written_out as macs_written_out
from course_lib.exercises.chapter_08.concatenated import concatenated_inputs
from course_lib.exercises.chapter_08.flat_inputs import inputs_of_channels
from course_lib.exercises.chapter_08.taylor_scores import taylor_scores
from course_lib.measure import total_macs
from course_lib.pruning import cut, dependency_graph


def test_the_macs_of_a_chain_are_those_that_are_counted_in_a_network_really_cut(sets):
    for channels, _, kernel_size, pruning_ratio in sets("08.1", draws=6):
        layers = [nn.Conv2d(i, o, kernel_size, padding=kernel_size // 2) for i, o in itertools.pairwise(channels)]
        net, example = nn.Sequential(*layers), torch.zeros(1, channels[0], 4, 4)
        graph = dependency_graph(net, example)
        sizes = {group.name: group.size for group in graph.groups if group.prunable}
        keep = {name: range(max(1, c - round(pruning_ratio * c))) for name, c in sizes.items()}
        expected = total_macs(cut(net, graph, keep), tuple(example.shape))
        assert chain_macs(channels, (16,) * len(layers), kernel_size, pruning_ratio) == expected


def test_the_solution_of_the_macs_is_the_reference(sets):
    for question in sets("08.1"):
        assert macs_written_out(*question) == chain_macs(*question)


def chain(state) -> nn.Sequential:
    """The chain that has these tensors, in eval mode."""
    first, second = state["first.weight"], state["second.weight"]
    layers = {
        "first": nn.Conv2d(first.shape[1], first.shape[0], first.shape[2], bias=False),
        "norm": nn.BatchNorm2d(first.shape[0]),
        "act": nn.ReLU(),
        "second": nn.Conv2d(second.shape[1], second.shape[0], second.shape[2]),
    }
    net = nn.Sequential()
    for name, layer in layers.items():
        net.add_module(name, layer)
    net.load_state_dict(state)
    return net.eval()


def test_the_cut_chain_is_the_librarys(sets):
    for state, keep in sets("08.2"):
        net = chain(state)
        side = 2 * state["first.weight"].shape[-1]
        graph = dependency_graph(net, torch.zeros(1, state["first.weight"].shape[1], side, side))
        expected = cut(net, graph, {"first": keep}).state_dict()
        for answer in (cut_chain(state, keep), chain_written_out(state, keep)):
            assert answer.keys() == expected.keys()
            assert all(torch.equal(answer[name], expected[name]) for name in expected)
            chain(answer)  # the tensors fit a smaller network


def test_the_inputs_behind_flatten_are_those_of_the_group(sets):
    for keep, channels, height, width in sets("08.3"):
        net = nn.Sequential(nn.Conv2d(1, channels, 1), nn.Flatten(), nn.Linear(channels * height * width, 2))
        group = dependency_graph(net, torch.zeros(1, 1, height, width))["0"]
        (reader,) = [m for m in group.members if m.role == "consumes"]
        assert inputs_of_channels(keep, channels, height, width) == [p for c in keep for p in reader.indices[c]]


class Branches(nn.Module):
    """Convolutions side by side, concatenated, and one that reads them all."""

    def __init__(self, sizes: list[int]):
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(1, size, 1) for size in sizes)
        self.last = nn.Conv2d(sum(sizes), 1, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.cat([branch(x) for branch in self.branches], 1))


def test_the_inputs_behind_a_concatenation_are_those_that_the_librarys_cut_keeps(sets):
    for sizes, keeps in sets("08.4"):
        if not all(keeps):
            continue  # the library leaves no layer empty
        net = Branches(sizes)
        net.last.weight.data.copy_(torch.arange(sum(sizes)).view(1, -1, 1, 1))
        graph = dependency_graph(net, torch.zeros(1, 1, 1, 1))
        small = cut(net, graph, {graph.group_of(f"branches.{b}").name: keep for b, keep in enumerate(keeps)})
        assert concatenated_inputs(sizes, keeps) == small.last.weight.flatten().tolist()


def test_taylor_scores_are_the_gradient_of_a_gate_before_the_channel(sets):
    for activations, gradients in sets("08.5"):
        gates = torch.ones(activations.shape[:2], requires_grad=True)  # one an image and a channel
        loss = (gates[:, :, None, None] * activations * gradients).sum()  # to first order
        (found,) = torch.autograd.grad(loss, gates)
        torch.testing.assert_close(taylor_scores(activations, gradients), found.abs().mean(0))
