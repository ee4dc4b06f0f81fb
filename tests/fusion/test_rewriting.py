"""Fused networks compute the same, nothing is fused where it would be wrong, and each exception is named."""

from __future__ import annotations

import copy
import operator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.data.torchvision_compat import ensure_importable
from course_lib.errors import CourseError
from course_lib.fusion import FusedConvolution, fuse
from course_lib.models import ConvBNReLU, checkpoints, sign_student, sign_teacher

X = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(3))


def lively(model: nn.Module) -> nn.Module:
    """Eval mode, every BatchNorm with statistics of its own."""
    generator = torch.Generator().manual_seed(1)
    ranges = {"running_mean": (-0.3, 0.3), "running_var": (0.5, 1.5), "weight": (0.5, 1.5), "bias": (-0.3, 0.3)}
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)):
        for name, (low, high) in ranges.items():
            if getattr(norm, name) is not None:
                getattr(norm, name).data.uniform_(low, high, generator=generator)
    return model.eval()


def build(forward, **modules: nn.Module) -> nn.Module:
    """A network of these modules; ``forward(self, x)``."""
    network = type("Network", (nn.Module,), {"forward": forward})()
    for name, module in modules.items():
        network.add_module(name, module)
    return lively(network)


def same(model, fusion, *inputs) -> bool:
    with torch.no_grad():
        expected, found = model(*(x.clone() for x in inputs)), fusion(*(x.clone() for x in inputs))
    return bool((found - expected).abs().max() <= 1e-5 * expected.abs().max())


def reasons(fusion, kind: str) -> str:
    return "; ".join(rewrite.reason for rewrite in fusion.left if rewrite.kind == kind)


def conv(inputs=3, outputs=4, **options) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, **{"padding": 1, **options})


SIGNS = ("teacher_rendered", "student_rendered", "final_rendered", "small_gtsrb", "final_gtsrb")


@pytest.mark.parametrize("name", SIGNS)
def test_the_courses_networks_lose_every_norm_and_compute_the_same(name):
    model = checkpoints.load(name)[0]
    example = torch.rand(1, 3, 32, 32)
    for options in ({}, {"packed": False}, {"one_kernel": False, "packed": False}):
        fusion = fuse(model, example, **options)
        assert fusion.norms_left == 0
        assert fusion.left == ()
        assert same(model, fusion, torch.rand(5, 3, 32, 32))  # another batch than the example's


TORCHVISION = {
    "resnet18": 0, "mobilenet_v2": 0, "mobilenet_v3_small": 0, "vgg11_bn": 0, "densenet121": 62, "efficientnet_b0": 0,
    "regnet_y_400mf": 0, "shufflenet_v2_x1_0": 0, "googlenet": 0, "squeezenet1_1": 0, "convnext_tiny": 0,
}  # fmt: skip


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_networks_keep_only_norms_that_follow_no_convolution(name):
    ensure_importable()
    from torchvision import models

    torch.manual_seed(0)
    options = {"googlenet": {"aux_logits": False, "init_weights": False}}.get(name, {})
    model = lively(getattr(models, name)(**options))
    fusion = fuse(model, torch.rand(1, 3, 64, 64))  # refuses an error above 1e-5 itself
    assert fusion.norms_left == TORCHVISION[name]
    assert all("cat" in rewrite.reason for rewrite in fusion.left if rewrite.kind == "BatchNorm")


def test_the_given_network_stays_as_it_is():
    model = sign_teacher(dropout=0.5).train()
    model.stem[1].eval()
    modes = [module.training for module in model.modules()]
    state = copy.deepcopy(model.state_dict())
    fusion = fuse(model, torch.rand(2, 3, 32, 32))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    ours = {p.data_ptr() for p in model.parameters()}
    assert not ours & {p.data_ptr() for p in fusion.model.parameters()}
    assert not any(module.training for module in fusion.model.modules())


RELUS = {
    "module": lambda s, x: s.act(x),
    "F.relu": lambda s, x: F.relu(x),
    "F.relu in place": lambda s, x: F.relu(x, True),
    "method": lambda s, x: x.relu(),
    "method in place": lambda s, x: x.relu_(),
    "torch.relu": lambda s, x: torch.relu(x),
    "F.relu6": lambda s, x: F.relu6(x),
    "hardswish": lambda s, x: F.hardswish(x),
    "silu": lambda s, x: F.silu(x, inplace=True),
}


@pytest.mark.parametrize("form", RELUS)
def test_every_form_of_an_activation_moves_into_the_convolution(form):
    apply = RELUS[form]
    model = build(
        lambda self, x: apply(self, self.norm(self.conv(x))), conv=conv(), norm=nn.BatchNorm2d(4), act=nn.ReLU(True)
    )
    fusion = fuse(model, X)
    assert [node.op for node in fusion.model.graph.nodes] == ["placeholder", "call_module", "output"]
    assert isinstance(fusion.model.conv, FusedConvolution)
    assert same(model, fusion, X)


SUMS = {
    "x + y": lambda a, b: a + b, "y + x": lambda a, b: b + a, "torch.add": torch.add, "method": lambda a, b: a.add(b),
    "in place": lambda a, b: a.add_(b), "+=": operator.iadd,
}  # fmt: skip


@pytest.mark.parametrize("form", SUMS)
def test_every_form_of_a_sum_moves_into_the_convolution(form):
    def forward(self, x):
        y = self.one(x)
        return torch.relu(SUMS[form](self.norm(self.two(y)), y))

    model = build(forward, one=conv(), two=conv(4), norm=nn.BatchNorm2d(4))
    fusion = fuse(model, X)
    assert fusion.took["two"] == ("BatchNorm", "sum", "relu")
    assert [node.op for node in fusion.model.graph.nodes].count("call_function") == 0
    assert same(model, fusion, X)


def test_a_projected_sum_takes_the_convolution_that_runs_last():
    model = build(lambda self, x: (self.a(x) + self.b(x)).relu(), a=conv(), b=conv())
    fusion = fuse(model, X)
    assert fusion.took == {"b": ("sum", "relu")}
    assert same(model, fusion, X)


LEFT_SUMS = {
    "a factor": (lambda s, x: torch.add(s.a(x), x, alpha=2), None),
    "a number": (lambda s, x: s.a(x) + 1, None),
    "repeated along pixels": (lambda s, x: s.a(x) + s.a.bias.reshape(1, -1, 1, 1), "other shapes"),
    "read twice": (lambda s, x: (lambda y: y + y)(s.a(x)), "only the sum reads"),
    "also read elsewhere": (lambda s, x: (lambda y: torch.cat([y + x, y]))(s.a(x)), "only the sum reads"),
    "overwrites the other": (lambda s, x: (lambda y: torch.cat([y.mul(2).add_(s.a(x)), y]))(x * 3), "overwrites"),
    "another axis": (lambda s, x: s.a(x) + x.mean((2, 3), keepdim=True), "other shapes"),
}


@pytest.mark.parametrize("name", LEFT_SUMS)
def test_a_sum_that_would_be_wrong_is_left_alone_and_named(name):
    forward, reason = LEFT_SUMS[name]
    model = build(forward, a=conv(3, 3))
    fusion = fuse(model, X)
    assert "sum" not in fusion.took.get("a", ())
    assert reason is None or reason in reasons(fusion, "sum")
    assert same(model, fusion, X)


def test_a_sum_with_a_constant_of_the_examples_batch_works_for_any_batch():
    network = build(lambda self, x: self.a(x) + self.offset, a=conv(3, 3))
    network.register_parameter("offset", nn.Parameter(torch.rand(1, 3, 8, 8)))
    fusion = fuse(network, X[:1])
    assert "depends on no input" in reasons(fusion, "sum")
    assert same(network, fusion, X)


def test_nothing_moves_across_an_operator_that_overwrites():
    def forward(self, x):
        x = x * 1.0
        y = self.a(x)  # reads x before it is overwritten
        x.mul_(3.0)
        return y + x

    model = build(forward, a=conv(3, 3))
    fusion = fuse(model, X)
    assert "overwrites a tensor" in reasons(fusion, "sum")
    assert same(model, fusion, X)


NORMS_LEFT = {
    "read elsewhere": (
        lambda s, x: (lambda y: s.norm(y) + y)(s.a(x)), {"a": conv(3, 3), "norm": nn.BatchNorm2d(3)}, "also read"
    ),
    "called twice": (
        lambda s, x: s.norm(s.a(s.a(x))), {"a": conv(3, 3), "norm": nn.BatchNorm2d(3)}, "called 2 times"
    ),
    "norm called twice": (
        lambda s, x: s.norm(s.b(s.norm(s.a(x)))), {"a": conv(3, 3), "b": conv(3, 3), "norm": nn.BatchNorm2d(3)},
        "norm is called 2 times",
    ),
    "before padding": (
        lambda s, x: s.a(s.norm(x)), {"norm": nn.BatchNorm2d(3), "a": conv(3, 3)}, "pads with zeros"
    ),
    "no statistics": (
        lambda s, x: s.norm(s.a(x)), {"a": conv(3, 3), "norm": nn.BatchNorm2d(3, track_running_stats=False)},
        "no running statistics",
    ),
    "along another axis": (
        lambda s, x: s.norm(s.a(x.flatten(2))), {"a": nn.Linear(64, 3), "norm": nn.BatchNorm1d(3)}, "gives 3 axes"
    ),
    "transposed after": (
        lambda s, x: s.a(s.norm(x)), {"norm": nn.BatchNorm2d(3), "a": nn.ConvTranspose2d(3, 3, 3)},
        "no convolution or linear layer is the only one",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NORMS_LEFT)
def test_a_norm_that_cannot_be_folded_is_left_alone_and_named(name):
    forward, modules, reason = NORMS_LEFT[name]
    model = build(forward, **modules)
    fusion = fuse(model, X)
    assert fusion.norms_left >= 1
    assert reason in reasons(fusion, "BatchNorm")
    if name != "no statistics":
        assert same(model, fusion, X)


def test_a_module_with_hooks_is_left_alone():
    model = build(lambda s, x: s.norm(s.a(x)), a=conv(3, 3), norm=nn.BatchNorm2d(3))
    seen = []
    model.a.register_forward_hook(lambda *_: seen.append(1))
    fusion = fuse(model, X)
    assert "hooks" in reasons(fusion, "BatchNorm")
    seen.clear()
    fusion(X)
    assert seen


FOLDED = {
    "before, unpadded": (lambda s, x: s.a(s.norm(x)), {"norm": nn.BatchNorm2d(3), "a": conv(padding=0)}),
    "before and after": (
        lambda s, x: s.two(s.a(s.one(x))),
        {"one": nn.BatchNorm2d(3), "a": conv(padding=0), "two": nn.BatchNorm2d(4)},
    ),
    "two after": (lambda s, x: s.b(s.c(s.a(x))), {"a": conv(), "c": nn.BatchNorm2d(4), "b": nn.BatchNorm2d(4)}),
    "through dropout": (
        lambda s, x: s.norm(F.dropout(s.drop(s.a(x)), 0.3, s.training)),
        {"a": conv(), "drop": nn.Dropout2d(), "norm": nn.BatchNorm2d(4)},
    ),
    "linear": (lambda s, x: s.norm(s.a(x.flatten(1))), {"a": nn.Linear(192, 5), "norm": nn.BatchNorm1d(5)}),
    "transposed": (
        lambda s, x: s.norm(s.a(x)), {"a": nn.ConvTranspose2d(3, 6, 3, groups=3), "norm": nn.BatchNorm2d(6)}
    ),
    "keyword": (lambda s, x: s.norm(input=s.a(input=x)), {"a": conv(), "norm": nn.BatchNorm2d(4)}),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDED)
def test_norms_beside_a_layer_disappear(name):
    forward, modules = FOLDED[name]
    model = build(forward, **modules)
    fusion = fuse(model, X)
    assert fusion.norms_left == 0
    assert len([node for node in fusion.model.graph.nodes if node.op == "call_module"]) == 1
    assert same(model, fusion, X)


def test_linear_layers_are_merged_where_that_multiplies_less():
    flat = torch.rand(4, 20)
    wide = nn.Sequential(nn.Linear(20, 50), nn.Identity(), nn.Linear(50, 50), nn.Dropout(), nn.Linear(50, 3)).eval()
    fusion = fuse(wide, flat)
    assert len(list(fusion.model.graph.nodes)) == 3
    assert any("multiplications a row became" in rewrite.reason for rewrite in fusion.done)
    assert same(wide, fusion, flat)
    narrow = nn.Sequential(nn.Linear(20, 2), nn.Linear(2, 20)).eval()
    assert "400 multiplications a row instead of 80" in reasons(fuse(narrow, flat), "consecutive linear layers")


def test_what_depends_on_no_input_is_computed_once_and_noise_is_not():
    def forward(self, x):
        noise = 0.0 * torch.rand_like(self.a.bias)
        return self.a(x) * (self.a.bias.exp() + 1).reshape(-1, 1, 1) + noise.reshape(-1, 1, 1)

    model = build(forward, a=conv())
    fusion = fuse(model, X)
    names = {node.name for node in fusion.model.graph.nodes}
    assert "exp" not in names
    assert "rand_like" in names
    assert same(model, fusion, X)


def test_a_part_that_branches_on_values_stays_whole_and_is_named():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.mean() > 0 else -x

    model = build(lambda s, x: s.branch(s.block(x)), block=ConvBNReLU(3, 4), branch=Branching())
    fusion = fuse(model, X)
    assert fusion.norms_left == 0
    assert [rewrite.layers for rewrite in fusion.left if rewrite.kind == "not looked into"] == [("branch",)]
    assert same(model, fusion, X)
    with pytest.raises(CourseError, match=r"cannot trace Branching.*Mend: move what branches"):
        fuse(Branching(), X)


def test_views_of_packed_outputs_and_several_inputs_work():
    model = build(lambda s, x, y: s.a(x).view(x.shape[0], -1) + s.a.bias.sum() + y, a=conv())
    fusion = fuse(model, (X, torch.rand(2, 256)))
    assert same(model, fusion, X, torch.rand(2, 256))


def test_without_one_kernel_only_ordinary_layers_are_left():
    fusion = fuse(sign_student(0.25), torch.rand(1, 3, 32, 32), one_kernel=False, packed=False)
    assert not any(isinstance(module, FusedConvolution) for module in fusion.model.modules())
    assert fusion.kernel is None
    assert "left alone" in str(fusion)
    assert "oneDNN" in str(fuse(sign_student(0.25), torch.rand(1, 3, 32, 32)).kernel)


def test_without_the_kernel_the_report_says_so(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    model = lively(sign_student(0.25))
    fusion = fuse(model, torch.rand(1, 3, 32, 32))
    assert "aarch64" in str(fusion.kernel)
    assert same(model, fusion, torch.rand(2, 3, 32, 32))


def test_a_disagreement_is_refused_also_when_it_is_nan():
    model = lively(sign_student(0.25))
    with pytest.raises(ValueError, match=r"differs by .* of the largest output"):
        fuse(model, torch.rand(1, 3, 32, 32), tolerance=0.0)
    with torch.no_grad():
        model.classifier.bias[0] = torch.nan
    with pytest.raises(ValueError, match="differs by inf"):
        fuse(model, torch.rand(1, 3, 32, 32))


class Normalizes(nn.Module):
    """Divides each image by its spread, as the networks for real signs do."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.norm.running_mean.uniform_(-1, 1)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, x):
        x = self.norm(self.conv(x))
        return (x - x.mean((2, 3), keepdim=True)) / (x.std((2, 3), keepdim=True) + 1e-12)


def test_an_input_that_enlarges_rounding_is_named_and_a_picture_is_not_refused():
    model = Normalizes().eval()
    with pytest.raises(ValueError, match="of the largest output on the example, more than"):
        fuse(model, 0.3 + 1e-6 * torch.rand(1, 3, 8, 8), one_kernel=False, packed=False)
    assert fuse(model, torch.rand(1, 3, 8, 8), one_kernel=False, packed=False).error < 1e-5
