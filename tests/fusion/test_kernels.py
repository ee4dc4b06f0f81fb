"""A convolution with activation and sum in one kernel gives what the three give one by one, whoever computes it."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from course_lib.fusion import FusedConvolution, why_no_kernel
from course_lib.fusion.kernels import SHAPES

REFERENCE = {None: lambda x: x, "relu": F.relu, "relu6": F.relu6, "hardswish": F.hardswish, "silu": F.silu}
kernel_only = pytest.mark.skipif(why_no_kernel() is not None, reason=f"no kernel: {why_no_kernel()}")


def layer(**options) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(4, 8, 3, **{"padding": 1, **options})


def close(found, expected):
    return found.shape == expected.shape and (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "not packed"])
@pytest.mark.parametrize("activation", REFERENCE)
@pytest.mark.parametrize("options", [{}, {"stride": 2, "groups": 4}, {"bias": False, "dilation": 2}], ids=str)
def test_one_kernel_equals_the_operators(options, activation, packed):
    conv = layer(**options)
    fused = FusedConvolution(conv, activation=activation, adds=False, packed=packed)
    for x in (6 * torch.randn(2, 4, 9, 7), torch.randn(5, 4, 8, 8).to(memory_format=torch.channels_last)):
        with torch.no_grad():
            assert close(fused(x), REFERENCE[activation](conv(x)))


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "not packed"])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_a_sum_is_added_before_the_activation_and_stays_as_it_is(activation, packed):
    conv = layer()
    fused = FusedConvolution(conv, activation=activation, adds=True, packed=packed)
    x = torch.randn(3, 4, 6, 5)
    wide = torch.randn(3, 8, 12, 10)
    for other in (
        torch.randn(3, 8, 6, 5),
        wide[:, :, ::2, ::2],
        wide[..., :6, :5].to(memory_format=torch.channels_last),
    ):
        kept = other.clone()
        with torch.no_grad():
            assert close(fused(x, other), REFERENCE[activation](conv(x) + other))
        assert torch.equal(other, kept)


@kernel_only
def test_the_kernel_runs_for_float32_and_nothing_else():
    fused = FusedConvolution(layer(), activation="relu", adds=False, packed=True)
    x = torch.randn(1, 4, 6, 6)
    assert fused.runs_kernel(x)
    assert not fused.runs_kernel(x.double())
    assert not fused.runs_kernel(x[0])
    assert not fused.runs_kernel(x.clone().requires_grad_())
    with torch.backends.mkldnn.flags(enabled=False):
        assert "switched off" in why_no_kernel()
        assert not fused.runs_kernel(x)
    with torch.autocast("cpu"):
        assert not fused.runs_kernel(x)
    assert not fused.runs_kernel(x, torch.randn(2, 8, 6, 6))  # one that is repeated along the batch


def test_without_the_kernel_the_same_comes_out(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert "aarch64" in why_no_kernel()
    conv, x, other = layer(), torch.randn(2, 4, 6, 6), torch.randn(2, 8, 6, 6)
    fused = FusedConvolution(conv, activation="relu", adds=True, packed=True)
    assert not fused.runs_kernel(x, other)
    with torch.no_grad():
        assert torch.equal(fused(x, other), F.relu(conv(x) + other))


def test_float64_unbatched_and_gradients_of_the_input_go_through_the_operators():
    conv = layer().double()
    fused = FusedConvolution(conv, activation="relu", adds=True, packed=True)
    x = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    other = torch.randn(1, 8, 2, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(fused, (x, other))
    single = FusedConvolution(layer(), activation="relu", adds=False, packed=True)
    picture = torch.randn(4, 6, 6)
    assert close(single(picture), F.relu(layer()(picture)))


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "pickle"])
def test_copies_and_pickles_pack_their_own(duplicate):
    fused, x = FusedConvolution(layer(), activation="relu", adds=False, packed=True), torch.randn(1, 4, 6, 6)
    expected = fused(x)
    again = duplicate(fused)
    assert torch.equal(again(x), expected)


@kernel_only
@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize(("inputs", "outputs", "side"), [(32, 48, 8), (64, 92, 4), (60, 80, 8), (7, 13, 5)], ids=str)
def test_packed_weights_are_in_the_kernels_own_order_and_no_call_reorders_them(inputs, outputs, side, batch, capfd):
    fused = FusedConvolution(nn.Conv2d(inputs, outputs, 3, padding=1), activation="relu", adds=False, packed=True)
    x = torch.randn(batch, inputs, side, side).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        fused(x)
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            fused(x)
    ran = [line for line in capfd.readouterr().out.splitlines() if ",exec," in line]
    assert sum(",convolution," in line for line in ran) == 1, ran
    assert not [line for line in ran if ",reorder," in line]


@kernel_only
@pytest.mark.parametrize(
    ("shape", "options", "product"),
    [
        ((1, 20, 32, 32), {}, True),
        ((1, 20, 32, 33), {}, False),
        ((2, 20, 8, 8), {}, False),
        ((1, 20, 8, 8), {"groups": 4}, False),
        ((1, 20, 8, 8), {"kernel_size": 5}, False),
    ],
    ids=str,
)
def test_eager_pytorch_takes_a_matrix_product_for_one_small_image_and_onednn_otherwise(shape, options, product):
    conv = nn.Conv2d(20, 32, **{"kernel_size": 3, **options})
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as seen:
        conv(torch.rand(shape))
    ran = {event.key for event in seen.key_averages()}
    assert ("aten::_slow_conv2d_forward" in ran, "aten::mkldnn_convolution" in ran) == (product, not product)


def test_many_shapes_of_input_are_right_and_their_packed_weights_are_bounded():
    fused, conv = FusedConvolution(layer(), activation=None, adds=False, packed=True), layer()
    for side in (5, 6, 7, 8, 9, 5, 9, 6):
        x = torch.randn(2, 4, side, side)
        with torch.no_grad():
            assert close(fused(x), conv(x))
        assert len(fused._packed) <= SHAPES


def test_new_weights_are_packed_anew():
    fused, x = FusedConvolution(layer(), activation=None, adds=False, packed=True), torch.randn(1, 4, 6, 6)
    fused(x)
    fused.load_state_dict({key: 2 * value for key, value in fused.state_dict().items()})
    assert close(fused(x), 2 * layer()(x))
    assert close(fused.double()(x.double()), 2 * layer().double()(x.double()))


@kernel_only
def test_the_kernels_relu_hides_a_nan():
    x = torch.randn(1, 4, 6, 6)
    x[0, 0, 0, 0] = torch.nan
    fused = FusedConvolution(layer(), activation="relu", adds=False, packed=True)
    assert F.relu(layer()(x)).isnan().any()
    assert not fused(x).isnan().any()


@pytest.mark.parametrize(
    ("conv", "options", "message"),
    [
        (layer(), {"activation": "elu", "adds": False}, "got 'elu'"),
        (layer(), {"activation": "silu", "adds": True}, "after a sum"),
        (layer(padding="same"), {"activation": None, "adds": False}, "number of zeros"),
        (layer(padding_mode="reflect"), {"activation": None, "adds": False}, "number of zeros"),
    ],
)
def test_what_the_kernel_does_not_know_is_refused(conv, options, message):
    with pytest.raises(ValueError, match=message):
        FusedConvolution(conv, packed=True, **options)
