"""The networks have the shapes, sizes and habits that the course says they have."""

from __future__ import annotations

import itertools

import pytest
import torch

from course_lib.models import (
    STUDENT_CHANNELS,
    STUDENT_STRIDES,
    SignStudent,
    SignTeacher,
    sign_student,
    sign_teacher,
)

NETWORKS = {"teacher": sign_teacher, "student": sign_student}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS.keys())
def network(request):
    """An untrained network in eval mode whose BatchNorm statistics are not 0 and 1."""
    torch.manual_seed(0)
    model = request.param()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2.0)
    return model.eval()


def parameters(model):
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("side", [16, 32, 48, 64])
def test_logits_are_finite_with_one_a_class_at_any_side(network, side):
    with torch.inference_mode():
        logits = network(torch.rand(2, 3, side, side))
    assert logits.shape == (2, 43)
    assert logits.isfinite().all()


def test_the_grid_before_the_pool_is_four_by_four_at_32_pixels(network):
    body = network.features if isinstance(network, SignStudent) else lambda x: network.stages(network.stem(x))
    with torch.inference_mode():
        assert body(torch.rand(1, 3, 32, 32)).shape[2:] == (4, 4)


def test_a_traced_graph_computes_the_same(network):
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(torch.fx.symbolic_trace(network)(images), network(images))


def test_an_image_s_logits_do_not_depend_on_its_neighbours_in_eval_mode(network):
    images = torch.rand(5, 3, 32, 32)
    with torch.inference_mode():
        together, alone = network(images), torch.cat([network(image[None]) for image in images])
    # Kernels for other batch sizes add in another order: float32 rounding only.
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS.keys())
def test_the_seed_decides_the_first_weights(build):
    weights = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        weights.append(torch.cat([p.detach().flatten() for p in build().parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_teacher_has_one_and_a_half_million_parameters_at_most_and_the_student_a_tenth():
    assert 1_300_000 <= parameters(sign_teacher()) <= 1_600_000
    assert parameters(sign_student()) * 10 <= parameters(sign_teacher())


def test_a_student_s_parameters_equal_the_sum_written_out_by_hand():
    c = (3, 8, 12, 16, 20, 24)
    convolutions = sum(9 * c[i] * c[i + 1] for i in range(5))
    norms, head = sum(2 * n for n in c[1:]), 24 * 43 + 43
    assert parameters(sign_student(channels=c[1:])) == convolutions + norms + head


def test_wider_students_are_never_smaller_and_have_multiples_of_four_channels():
    widths = (0.01, 0.25, 0.33, 0.5, 0.75, 0.9, 1.0, 1.25, 2.0)
    channels = [sign_student(width).channels for width in widths]
    assert all(c % 4 == 0 and c > 0 for row in channels for c in row)
    assert all(a <= b for low, high in itertools.pairwise(channels) for a, b in zip(low, high, strict=True))
    assert sign_student(1.0).channels == STUDENT_CHANNELS
    assert sign_student(1.25).channels == (20, 40, 60, 80, 120)


def test_channels_given_one_by_one_are_the_layers_own_and_classes_the_head_s():
    student = sign_student(num_classes=5, channels=[5, 7, 1, 3, 9])
    assert [layer[0].out_channels for layer in student.features] == [5, 7, 1, 3, 9]
    assert student(torch.rand(2, 3, 32, 32)).shape == (2, 5)
    assert sign_teacher(7)(torch.rand(2, 3, 32, 32)).shape == (2, 7)


def test_a_convolution_before_a_norm_has_no_bias(network):
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    assert len(convolutions) >= 5
    assert all(m.bias is None for m in convolutions)


def test_a_residual_block_with_dead_convolutions_passes_its_input_through():
    block = SignTeacher(channels=(4,), blocks=(1,)).eval().stages[0]
    torch.nn.init.zeros_(block.second[1].weight)
    x = torch.randn(1, 4, 8, 8)
    assert torch.equal(block(x), torch.relu(x))


def test_a_chain_that_keeps_the_resolution_longer_has_44287_parameters_and_other_grids():
    strides = (1, 2, 1, 2, 2)
    student = sign_student(channels=(12, 24, 32, 40, 56), strides=strides)
    assert parameters(student) == 44_287
    assert student.strides == tuple(layer[0].stride[0] for layer in student.features) == strides
    x, sides = torch.rand(1, 3, 32, 32), []
    for layer in student.eval().features:
        x = layer(x)
        sides.append(x.shape[2])
    assert sides == [32, 16, 16, 8, 4]
    assert sign_student(0.5, strides=strides).channels == sign_student(0.5).channels
    assert sign_student().strides == STUDENT_STRIDES == (2, 2, 1, 2, 1)


def test_a_chain_may_have_as_many_layers_as_strides():
    student = sign_student(channels=(4, 8, 8), strides=(2, 2, 2))
    assert student(torch.rand(2, 3, 32, 32)).shape == (2, 43)


def test_dropout_acts_in_training_on_the_features_alone_and_is_no_part_of_the_network_otherwise():
    weights, networks = sign_teacher().state_dict(), [sign_teacher(), sign_teacher(dropout=0.2)]
    for model in networks:
        model.load_state_dict(weights)  # the same names: a checkpoint fits both
    plain, dropping = networks
    assert list(dropping.state_dict()) == list(plain.state_dict())
    assert repr(plain) == repr(sign_teacher(dropout=0.0))
    assert "Dropout" not in repr(plain)
    images = torch.rand(4, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(dropping.eval()(images), plain.eval()(images))
    caught = []
    for model in networks:
        model.eval()
        model.classifier.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    assert dropping.dropout is not None
    dropping.dropout.train()
    with torch.inference_mode():
        for model in networks:
            model(images.repeat(25, 1, 1, 1))
    expected, features = caught
    dropped = features == 0
    assert dropped[expected != 0].float().mean().item() == pytest.approx(0.2, abs=0.02)
    # The rest grows by 1/(1 − p), so that the mean is what it is without.
    torch.testing.assert_close(features[~dropped], expected[~dropped] / 0.8)


REFUSED = {
    "width 0": (lambda: sign_student(0), "width"),
    "width −1": (lambda: sign_student(-1), "width"),
    "width NaN": (lambda: sign_student(float("nan")), "width"),
    "width 17": (lambda: sign_student(17), "width"),
    "one class": (lambda: sign_student(num_classes=1), "num_classes"),
    "four layers": (lambda: sign_student(channels=(4, 4, 4, 4)), "channels"),
    "no layers": (lambda: sign_student(channels=()), "channels"),
    "an empty layer": (lambda: sign_student(channels=(4, 4, 0, 4, 4)), "channels"),
    "three strides": (lambda: sign_student(strides=(1, 2, 2)), "channels must be 3 positive counts"),
    "no strides": (lambda: sign_student(channels=(), strides=()), "strides"),
    "stride 3": (lambda: sign_student(strides=(1, 2, 1, 2, 3)), "strides must be 1 or 2"),
    "stride 0": (lambda: sign_student(strides=(0, 2, 1, 2, 2)), "strides must be 1 or 2"),
    "all dropped": (lambda: sign_teacher(dropout=1.0), "dropout"),
    "dropout NaN": (lambda: sign_teacher(dropout=float("nan")), "dropout"),
    "teacher of one class": (lambda: sign_teacher(1), "num_classes"),
    "teacher's stages": (lambda: SignTeacher(channels=(4, 8), blocks=(1,)), "one entry a stage"),
    "teacher without stages": (lambda: SignTeacher(channels=(), blocks=()), "one entry a stage"),
    "teacher with an empty stage": (lambda: SignTeacher(channels=(4, 8), blocks=(1, 0)), "positive"),
}


@pytest.mark.parametrize(("build", "word"), REFUSED.values(), ids=REFUSED.keys())
def test_impossible_networks_are_refused_by_name(build, word):
    with pytest.raises(ValueError, match=word):
        build()
