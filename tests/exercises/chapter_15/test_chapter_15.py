"""Chapter 15's exercises ask for what the library does."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib.exercises.chapter_15.bytes_of_a_chain import bytes_moved
from course_lib.exercises.chapter_15.foldable_pairs import foldable
from course_lib.exercises.chapter_15.merged_linears import merged
from course_lib.exercises.chapter_15.norm_before import fold_in_front
from course_lib.exercises.chapter_15.saved_time import saved_ms
from course_lib.fusion import (
    ChannelNorm,
    Operator,
    Traffic,
    fold_before,
    fuse,
    merge_linears,
    predicted_saving_ms,
    traffic,
)

LAYERS = {"conv": lambda c: nn.Conv2d(c, c, 1, bias=False), "norm": nn.BatchNorm2d, "relu": lambda c: nn.ReLU()}


def test_the_bytes_of_a_plain_chain_are_those_that_traffic_counts(sets):
    compared = 0
    for kernels, batch, channels, pixels, itemsize in sets("15.1", draws=60):
        if itemsize != 4 or not kernels or not all(kernel in (("conv",), ("norm",), ("relu",)) for kernel in kernels):
            continue
        network = nn.Sequential(*(LAYERS[step](channels) for (step,) in kernels)).eval()
        found = traffic(network, torch.rand(batch, channels, pixels, 1)).total
        assert bytes_moved(kernels, batch, channels, pixels, itemsize) == found
        compared += 1
    assert compared >= 4


def test_the_bytes_of_one_kernel_are_those_that_traffic_counts_after_fusion():
    network = nn.Sequential(nn.Conv2d(5, 5, 1, bias=False), nn.BatchNorm2d(5), nn.ReLU()).eval()
    x = torch.rand(3, 5, 4, 6)
    assert traffic(fuse(network, x).model, x).total == bytes_moved((("conv", "norm", "relu"),), 3, 5, 24, 4)


def test_a_factor_and_a_shift_in_front_are_the_librarys(sets):
    refused = 0
    for w, b, s, t, groups, padding in sets("15.2", draws=40):
        norm = ChannelNorm(torch.zeros_like(s), torch.ones_like(s), 0.0, s, t)  # γ = s, β = t
        if fold_in_front(w, b, s, t, groups, padding) is None:
            refused += 1
            with pytest.raises(ValueError, match="padding"):
                fold_before(norm, w, b, groups=groups, zero_padded=padding > 0)
            continue
        wanted = fold_before(norm, w, b, groups=groups, zero_padded=padding > 0)
        torch.testing.assert_close(fold_in_front(w, b, s, t, groups, padding), wanted)
    assert refused >= 3


class Drawn(nn.Module):
    """A network that runs a graph given as the exercise gives it, one channel."""

    def __init__(self, nodes, outputs, training):
        super().__init__()
        self.nodes, self.outputs = nodes, outputs
        kinds = {module: kind for _, kind, module, _ in nodes if kind in ("conv", "norm", "relu", "linear")}
        make = {"conv": lambda: nn.Conv2d(1, 1, 1), "norm": lambda: nn.BatchNorm2d(1), "relu": nn.ReLU}
        make["linear"] = lambda: nn.Linear(3, 3)
        self.parts = nn.ModuleDict({name: make[kind]() for name, kind in kinds.items()})

    def forward(self, x):
        values = {"x": x}
        for name, kind, module, inputs in self.nodes[1:]:
            read = [values[one] for one in inputs]
            values[name] = read[0] + read[1] if kind == "sum" else self.parts[module](*read)
        return tuple(values[name] for name in self.outputs)


def test_the_pairs_are_those_that_the_library_folds(sets):
    folded = 0
    for nodes, outputs, training in sets("15.3", draws=25):
        if training:
            continue  # the library fuses networks in eval mode
        # What nobody reads is not traced as a reader; the exercise's graphs hold such nodes.
        used = {name for *_, inputs in nodes for name in inputs} | {*outputs}
        fusion = fuse(Drawn(nodes, outputs, training), torch.rand(2, 1, 3, 3), one_kernel=False, packed=False)
        done = {r.layers for r in fusion.done if r.kind == "BatchNorm after a layer"}
        modules = {name: f"parts.{module}" for name, _, module, _ in nodes}
        wanted = foldable(nodes, outputs, training)
        assert {(modules[c], modules[n]) for c, n in wanted if n in used} <= done
        if {node[0] for node in nodes} == used | {"x"} and not _chained(nodes, wanted):
            assert {(modules[c], modules[n]) for c, n in wanted} == done
        folded += len(wanted)
    assert folded >= 8


def _chained(nodes, pairs):
    """Whether a norm reads a folded norm: the library goes on and folds that, too."""
    kinds, folded = {node[0]: node[1] for node in nodes}, {norm for _, norm in pairs}
    return any(kinds[name] == "norm" and set(inputs) & folded for name, _, _, inputs in nodes)


def test_the_saved_time_is_the_librarys(sets):
    for before, after, bandwidth, overhead in sets("15.4"):
        graphs = [Traffic(tuple(Operator("", "one", moved, 0, 0) for moved in calls)) for calls in (before, after)]
        wanted = predicted_saving_ms(*graphs, bandwidth_gbs=bandwidth, overhead_us=overhead)
        assert saved_ms(before, after, bandwidth, overhead) == pytest.approx(wanted)


def test_merged_layers_are_the_librarys(sets):
    for w1, b1, w2, b2 in sets("15.5", draws=40):
        found, wanted = merged(w1, b1, w2, b2), merge_linears(w1, b1, w2, b2)
        assert (found is not None) == wanted.saves
        if found is not None:
            torch.testing.assert_close(found, (wanted.weight, wanted.bias))
