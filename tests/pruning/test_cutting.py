"""A cut network computes exactly what the full one computes when no removed channel reaches another."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from course_lib.data import torchvision_compat  # noqa: F401  (before torchvision)
from course_lib.models import sign_student, sign_teacher
from course_lib.pruning import (
    choose,
    cut,
    dependency_graph,
    folded_filter_norms,
    group_l2,
    masked,
    prune_channels,
    pruned_widths,
)
from course_lib.pruning.cutting import layer_norm_of, only_channels

ARCHITECTURES = (
    "resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_small", "squeezenet1_1", "densenet121", "googlenet",
    "shufflenet_v2_x1_0", "efficientnet_b0", "regnet_y_400mf", "convnext_tiny",
)  # fmt: skip


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_torchvisions_networks_are_cut_exactly(name, proven, with_statistics):
    from torchvision import models

    torch.manual_seed(0)
    options = {"init_weights": False} if name == "googlenet" else {}
    model = with_statistics(getattr(models, name)(weights=None, num_classes=10, **options)).float()
    # Single precision, through up to 121 layers: 1e-5 of the largest output.
    graph, small = proven(model, torch.randn(2, 3, 64, 64), relative=1e-5, fully=False)
    assert sum(group.prunable for group in graph.groups) >= 10
    assert sum(p.numel() for p in small.parameters()) < 0.7 * sum(p.numel() for p in model.parameters())


def test_a_vgg_with_a_small_classifier_is_cut_exactly(proven, with_statistics):
    from torchvision import models

    model = models.vgg11_bn(weights=None)
    model.avgpool = nn.AdaptiveAvgPool2d(2)
    model.classifier = nn.Sequential(nn.Linear(512 * 4, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 10))
    graph, small = proven(with_statistics(model), torch.randn(2, 3, 32, 32), relative=1e-5)
    assert small.classifier[0].in_features == 4 * small.features[25].out_channels
    assert graph.group_of("features.25").members[-1].indices[3] == (12, 13, 14, 15)


def test_auxiliary_heads_that_exist_only_in_training_are_cut_too(with_statistics, random_keep):
    from torchvision import models

    model = with_statistics(models.googlenet(weights=None, num_classes=5, init_weights=False))
    graph = dependency_graph(model, torch.zeros(1, 3, 64, 64))
    small = cut(model, graph, random_keep(graph)).train()
    heads = small(torch.randn(2, 3, 64, 64))
    assert [tuple(head.shape) for head in heads] == [(2, 5)] * 3
    sum(head.sum() for head in heads).backward()
    assert small.aux1.conv.conv.weight.grad is not None


def test_the_teacher_is_cut_exactly(proven, with_statistics):
    torch.manual_seed(0)
    proven(with_statistics(sign_teacher()).double(), torch.rand(2, 3, 32, 32, dtype=torch.float64))


def test_the_student_becomes_what_prune_channels_makes(with_statistics):
    torch.manual_seed(0)
    student = with_statistics(sign_student())
    graph = dependency_graph(student, torch.zeros(1, 3, 32, 32))
    expected, kept = prune_channels(student, pruned_widths(student, 0.3))
    keep = {f"features.{number}.0": positions.tolist() for number, positions in enumerate(kept)}
    small = cut(student, graph, keep)
    for (name, found), tensor in zip(small.state_dict().items(), expected.state_dict().values(), strict=True):
        assert torch.equal(found, tensor), name


def test_choosing_by_the_folded_norms_gives_the_channels_of_prune_channels(with_statistics):
    student = with_statistics(sign_student())
    graph = dependency_graph(student, torch.zeros(1, 3, 32, 32))

    def folded(group, model):
        return folded_filter_norms(model.get_submodule(group.name.removesuffix(".0")))

    keep = choose(graph, student, folded, 0.3, scope="layer", multiple=4)
    _, kept = prune_channels(student, pruned_widths(student, 0.3))
    assert [list(channels) for channels in keep.values()] == [positions.tolist() for positions in kept]


ACTIVATIONS = (torch.relu, torch.sigmoid, F.hardswish, F.silu, torch.tanh)


class Drawn(nn.Module):
    """A random network on maps of one size: each step takes maps made so far and makes another one."""

    def __init__(self, seed: int):
        super().__init__()
        self.draw, self.layers = random.Random(seed), nn.ModuleList()
        self.program: list[tuple[str, list[int], int]] = []
        self.widths = [3]
        self.scales = nn.ParameterList()
        self._convolution(0)
        for _ in range(self.draw.randint(5, 12)):
            kinds = "convolution grouped depthwise norm activation add concatenate shared gate scale chunk transposed"
            getattr(self, f"_{self.draw.choice(kinds.split())}")(self.draw.randrange(1, len(self.widths)))
        self.program.append(("activation", [len(self.widths) - 1], 0))
        last = self.widths[-1]
        self.flat = self.draw.random() < 0.5
        self.head = nn.Linear(4 * last if self.flat else last, 5)
        del self.draw

    def _push(self, kind: str, sources: list[int], width: int, *layers: nn.Module) -> int:
        self.program.append((kind, sources, len(self.layers)))
        self.layers.extend(layers)
        self.widths.append(width)
        return len(self.widths) - 1

    def _convolution(self, source: int, width: int | None = None, groups: int = 1) -> int:
        width, size = width or self.draw.choice((4, 6, 8, 12)), self.draw.choice((1, 3))
        bias = self.draw.random() < 0.5
        layer = nn.Conv2d(self.widths[source], width, size, padding=size // 2, groups=groups, bias=bias)
        return self._push("layer", [source], width, layer)

    def _grouped(self, source: int) -> None:
        groups = self.draw.choice([g for g in (1, 2, 3, 4) if self.widths[source] % g == 0])
        self._convolution(source, groups * self.draw.randint(1, 3), groups)

    def _depthwise(self, source: int) -> None:
        self._convolution(source, self.widths[source] * self.draw.randint(1, 2), self.widths[source])

    def _transposed(self, source: int) -> None:
        groups = self.draw.choice([g for g in (1, 2, 3) if self.widths[source] % g == 0])
        width = 2 * groups
        layer = nn.ConvTranspose2d(self.widths[source], width, 3, padding=1, groups=groups)
        self._push("layer", [source], width, layer)

    def _norm(self, source: int) -> None:
        width = self.widths[source]
        layer = self.draw.choice((nn.BatchNorm2d(width), nn.PReLU(width), nn.PReLU(), nn.InstanceNorm2d(width)))
        self._push("layer", [source], width, layer)

    def _activation(self, source: int) -> None:
        self.program.append(("activation", [source], self.draw.randrange(len(ACTIVATIONS))))
        self.widths.append(self.widths[source])

    def _add(self, source: int) -> None:
        equal = [k for k, width in enumerate(self.widths) if k > 0 and width == self.widths[source]]
        other = self.draw.choice(equal)
        if other == source:
            other = self._convolution(self.draw.randrange(len(self.widths)), self.widths[source])
        self._push("add", [source, other], self.widths[source])

    def _concatenate(self, source: int) -> None:
        other = self.draw.randrange(1, len(self.widths))
        if self.widths[source] + self.widths[other] <= 30:
            self._push("concatenate", [source, other], self.widths[source] + self.widths[other])

    def _shared(self, source: int) -> None:
        width = self.widths[source]
        layer = nn.Conv2d(width, width, 1)
        self._push("layer", [self._push("layer", [source], width, layer)], width, layer)

    def _gate(self, source: int) -> None:
        width = self.widths[source]
        self._push("gate", [source], width, nn.Conv2d(width, 3, 1), nn.Conv2d(3, width, 1))

    def _scale(self, source: int) -> None:
        width = self.widths[source]
        self.scales.append(nn.Parameter(torch.rand(width, 1, 1)))
        self.program.append(("scale", [source], len(self.scales) - 1))
        self.widths.append(width)

    def _chunk(self, source: int) -> None:
        if self.widths[source] % 2 == 0:
            self._push("chunk", [source], self.widths[source])

    def forward(self, images: Tensor) -> Tensor:
        maps = [images]
        for kind, sources, number in self.program:
            x = maps[sources[0]]
            if kind == "layer":
                x = self.layers[number](x)
            elif kind == "activation":
                x = ACTIVATIONS[number](x)
            elif kind == "add":
                x = x + maps[sources[1]]
            elif kind == "concatenate":
                x = torch.cat([x, maps[sources[1]]], 1)
            elif kind == "gate":
                squeezed = x.mean((2, 3), keepdim=True)
                x = x * torch.sigmoid(self.layers[number + 1](torch.relu(self.layers[number](squeezed))))
            elif kind == "scale":
                x = self.scales[number] * x
            else:
                first, second = x.chunk(2, dim=1)
                x = torch.cat([second, first * second], dim=1)
            maps.append(x)
        x = F.adaptive_avg_pool2d(maps[-1], 2).flatten(1) if self.flat else maps[-1].mean((2, 3))
        return self.head(x)


def test_random_networks_are_cut_exactly(proven, with_statistics):
    cuts = 0
    for seed in range(240):
        torch.manual_seed(seed)
        model = with_statistics(Drawn(seed)).double()
        images = torch.randn(2, 3, 5, 5, dtype=torch.float64)
        if any(group.prunable for group in dependency_graph(model, images).groups):
            proven(model, images, seed=seed, fully=False)
            cuts += 1
    assert cuts >= 200


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_can_be_cut_again_and_train(seed, proven, with_statistics):
    torch.manual_seed(seed)
    proven(with_statistics(Drawn(seed + 1000)).double(), torch.randn(2, 3, 5, 5, dtype=torch.float64), seed=seed)
