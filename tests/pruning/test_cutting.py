"""A cut network computes exactly what the full one computes when no removed channel reaches another."""

from __future__ import annotations

import copy
import random

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
    masked,
    prune_channels,
    pruned_widths,
)
from course_lib.pruning.cutting import norm_of, only_channels

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
    torch.stack(list(heads)).sum().backward()
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
    for seed in range(220):
        torch.manual_seed(seed)
        model = with_statistics(Drawn(seed)).double()
        images = torch.randn(2, 3, 5, 5, dtype=torch.float64)
        graph, _ = proven(model, images, seed=seed, fully=False)
        cuts += any(group.prunable for group in graph.groups)
    assert cuts >= 200


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_can_be_cut_again_and_train(seed, proven, with_statistics):
    torch.manual_seed(seed)
    proven(with_statistics(Drawn(seed + 1000)).double(), torch.randn(2, 3, 5, 5, dtype=torch.float64), seed=seed)


class Tokens(nn.Module):
    """Patches as tokens, a class token, positions, and a block of linear layers behind a LayerNorm."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 2, stride=2)
        self.token, self.position = nn.Parameter(torch.randn(1, 1, 8)), nn.Parameter(torch.randn(1, 17, 8))
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 20), nn.Linear(20, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1) + self.position
        x = x + self.down(F.gelu(self.up(self.norm(x))))
        return self.head(self.norm(x)[:, 0])


class Several(nn.Module):
    """Two inputs, one layer called twice, and a dictionary of outputs."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.twice = nn.Conv2d(3, 6, 1), nn.Conv2d(2, 6, 1), nn.Conv2d(6, 7, 3, padding=1)
        self.norm, self.head, self.other = nn.BatchNorm2d(7), nn.Conv2d(7, 2, 1), nn.ConvTranspose2d(7, 3, 2)

    def forward(self, first: Tensor, second: Tensor) -> dict[str, Tensor]:
        x, y = self.norm(self.twice(self.left(first))), self.norm(self.twice(self.right(second)))
        return {"head": self.head(x * y.mean((2, 3), keepdim=True)), "other": self.other(F.pad(y, (1, 0, 2, 0)))}


class Buffers(nn.Module):
    """Tensors used by name: a buffer that shifts the input, a scale, and a constant that is no parameter."""

    mean: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.rand(1, 3, 1, 1))
        self.stem, self.body, self.head = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 6, 1), nn.Linear(6, 2)
        self.scale, self.gain, self.constant = nn.Parameter(torch.rand(6, 1, 1)), nn.Parameter(torch.rand(1)), 2.0

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x - self.mean)
        x = x + self.scale * self.body(self.gain * x.relu()) / self.constant
        return self.head(F.max_pool2d(x, x.shape[2:]).flatten(1))


SMALL = {
    "tokens": (Tokens, (2, 3, 8, 8)),
    "buffers": (Buffers, (2, 3, 8, 8)),
    "linear": (
        lambda: nn.Sequential(nn.Linear(5, 9), nn.BatchNorm1d(9), nn.PReLU(9), nn.Linear(9, 7), nn.Linear(7, 2)),
        (4, 5),
    ),
    "one dimension": (
        lambda: nn.Sequential(nn.Conv1d(2, 6, 3), nn.BatchNorm1d(6), nn.ELU(), nn.Flatten(), nn.Linear(36, 2)),
        (2, 2, 8),
    ),
    "three dimensions": (
        lambda: nn.Sequential(nn.Conv3d(2, 6, 2), nn.MaxPool3d(2), nn.ConvTranspose3d(6, 4, 2), nn.Conv3d(4, 2, 1)),
        (1, 2, 5, 5, 5),
    ),
    "norms": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 12, 1), nn.GroupNorm(3, 12), nn.Conv2d(12, 8, 1), nn.GroupNorm(1, 8, affine=False), nn.ReLU(),
            nn.Conv2d(8, 6, 1), nn.InstanceNorm2d(6, affine=True), nn.Conv2d(6, 4, 1),
            nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4, track_running_stats=False), nn.Conv2d(4, 2, 1),
        ),
        (2, 3, 6, 6),
    ),
    "shuffles": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 12, 1), nn.ChannelShuffle(2), nn.Conv2d(12, 16, 1), nn.PixelShuffle(2), nn.Conv2d(4, 8, 1),
            nn.ReflectionPad2d(1), nn.Upsample(scale_factor=2), nn.ConvTranspose2d(8, 9, 2), nn.Conv2d(9, 2, 1),
        ),
        (1, 3, 6, 6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_of_many_kinds_are_cut_exactly(name, proven, with_statistics):
    torch.manual_seed(0)
    make, shape = SMALL[name]
    graph, _ = proven(with_statistics(make()).double(), torch.randn(*shape, dtype=torch.float64))
    assert sum(group.prunable for group in graph.groups) >= (1 if name in ("buffers", "one dimension") else 2)


def test_two_inputs_a_layer_called_twice_and_a_dictionary_of_outputs(proven, with_statistics):
    torch.manual_seed(0)
    inputs = torch.randn(2, 3, 6, 6).double(), torch.randn(2, 2, 6, 6).double()
    _, small = proven(with_statistics(Several()).double(), *inputs, keep={"twice": [0, 2, 6], "left": [1, 5]})
    assert small.norm.num_features == small.head.in_channels == small.other.in_channels == 3
    assert small.left.out_channels == small.right.out_channels == 2


def test_a_layer_norm_counts_the_kept_channels_alone():
    """Zeros in a LayerNorm change its statistics: the twin computes what a LayerNorm of fewer channels computes."""
    x, weight, bias = torch.randn(3, 5, 6), torch.randn(6), torch.randn(6)
    kept = torch.tensor([0, 2, 3])
    expected = F.layer_norm(x[..., kept], (3,), weight[kept], bias[kept])
    found = norm_of(x, -1, 1, weight, bias, 1e-5, kept)
    assert torch.equal(found[..., kept], expected)
    assert found[..., [1, 4, 5]].abs().max() == 0
    assert only_channels(x, kept, 2)[..., [1, 4, 5]].abs().max() == 0


def test_the_twin_hides_removed_channels_even_if_they_are_not_finite():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    graph = dependency_graph(net, torch.zeros(1, 3, 2, 2))
    net.get_parameter("0.bias").data[1] = torch.inf
    images = torch.randn(1, 3, 2, 2)
    twin, small = masked(net, graph, {"0": [0, 2, 3]}), cut(net, graph, {"0": [0, 2, 3]})
    torch.testing.assert_close(twin(images), small(images), rtol=1e-5, atol=1e-6)
    assert sum(p.numel() for p in twin.parameters()) == sum(p.numel() for p in net.parameters())


def test_a_cut_network_is_an_ordinary_module(tmp_path, with_statistics, random_keep):
    from course_lib.deploy.onnx import export_onnx

    torch.manual_seed(0)
    model = with_statistics(sign_teacher()).train()
    model.stem[1].eval()
    model.stem[0].weight.requires_grad_(False)
    graph = dependency_graph(model, torch.zeros(1, 3, 32, 32))
    small = cut(model, graph, random_keep(graph))
    assert type(small) is type(model)
    assert [m.training for m in small.modules()] == [m.training for m in model.modules()]
    assert [p.requires_grad for p in small.parameters()] == [p.requires_grad for p in model.parameters()]
    assert not {p.data_ptr() for p in small.parameters()} & {p.data_ptr() for p in model.parameters()}
    again = copy.deepcopy(small)
    again.load_state_dict(small.state_dict())
    assert all(parameter.is_leaf and parameter.is_contiguous() for parameter in small.parameters())
    export_onnx(small, tmp_path / "small.onnx", tolerance=1e-5)  # compares ONNX Runtime with PyTorch


def test_keeping_everything_changes_nothing(with_statistics):
    model = with_statistics(sign_teacher())
    graph = dependency_graph(model, torch.zeros(1, 3, 32, 32))
    for keep in ({}, {group.name: range(group.size) for group in graph.groups}):
        small = cut(model, graph, keep)
        assert all(
            torch.equal(a, b) for a, b in zip(small.state_dict().values(), model.state_dict().values(), strict=True)
        )


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"0": []}, "'0' must keep 1 to 4 of its channels, ascending, got"),
        ({"0": [0, 4]}, "'0' must keep 1 to 4"),
        ({"0": [-1, 2]}, "'0' must keep 1 to 4"),
        ({"0": [2, 1]}, "'0' must keep 1 to 4"),
        ({"0": [1, 1]}, "'0' must keep 1 to 4"),
        ({"1": [0]}, "'1' cannot be cut: the network's output"),
        ({"input:input": [0]}, "'input:input' cannot be cut: the network's input"),
        ({"2": [0]}, "no group '2'"),
    ],
)
def test_what_cannot_be_kept_is_refused_and_leaves_the_model_alone(keep, message):
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    before = copy.deepcopy(net.state_dict())
    graph = dependency_graph(net, torch.zeros(1, 3, 2, 2))
    for function in (cut, masked):
        with pytest.raises(ValueError, match=message):
            function(net, graph, keep)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


class Joined(nn.Module):
    """c is as wide as a and b together, and added to both."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.head = (nn.Conv2d(i, o, 1) for i, o in ((3, 2), (3, 4), (3, 6), (6, 2)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cat([self.a(x), self.b(x)], 1) + self.c(x))


def test_a_group_may_not_empty_one_of_its_layers():
    net = Joined()
    graph = dependency_graph(net, torch.zeros(1, 3, 2, 2))
    with pytest.raises(ValueError, match=r"'a' keeps \[2, 4\]: no channel is left on a.weight"):
        cut(net, graph, {"a": [2, 4]})


def test_a_graph_of_another_network_is_refused():
    graph = dependency_graph(sign_student(), torch.zeros(1, 3, 32, 32))
    with pytest.raises(ValueError, match="belongs to another network"):
        cut(sign_student(0.5), graph, {})
    with pytest.raises(ValueError, match="belongs to another network: this one has no"):
        cut(nn.Sequential(nn.Conv2d(3, 4, 1)), graph, {})


class Squeezed(nn.Module):
    """squeeze() without an axis also drops a single channel."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.adaptive_avg_pool2d(self.stem(x), 1).squeeze())


def test_code_that_does_not_follow_the_cut_is_told():
    net = Squeezed()
    graph = dependency_graph(net, torch.zeros(2, 3, 4, 4))
    assert cut(net, graph, {"stem": [0, 3]})(torch.zeros(2, 3, 4, 4)).shape == (2, 2)
    with pytest.raises(ValueError, match="code does not follow the cut: "):
        cut(net, graph, {"stem": [0]})
