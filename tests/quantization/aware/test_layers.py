"""BatchNorm folded in training: what trains is what is deployed, with the batch's or with frozen statistics."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from course_lib.data import SignDataset
from course_lib.quantization.affine import Codes
from course_lib.quantization.aware import FrozenStatistics, QuantizedLayer, freeze_statistics_
from course_lib.quantization.fake import fake_quantize
from course_lib.training import Recipe, fit

SCALE = torch.tensor(1 / 255)
MANY = Codes(16)


def pair(kind: str, *, bias: bool = False, affine: bool = True) -> tuple[nn.Conv2d | nn.Linear, Any, Tensor]:
    """A layer, its BatchNorm off its start, and inputs on codes of 1/255."""
    torch.manual_seed(3)
    if kind == "linear":
        layer, norm, shape = nn.Linear(12, 8, bias=bias), nn.BatchNorm1d(8, affine=affine), (64, 12)
    elif kind == "depthwise":
        layer = nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=bias)
        norm, shape = nn.BatchNorm2d(8, affine=affine), (16, 8, 7, 9)
    else:
        layer, norm, shape = nn.Conv2d(5, 8, 3, 1, 1, bias=bias), nn.BatchNorm2d(8, affine=affine), (16, 5, 7, 9)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.uniform_(-0.5, 0.5)
    norm.running_var.uniform_(0.1, 2)
    if affine:
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.uniform_(norm.bias, -0.5, 0.5)
        with torch.no_grad():
            norm.weight[1] *= -1  # training may turn a sign
    return layer, norm, torch.randint(0, 256, shape) * SCALE


def norm_of(own: QuantizedLayer) -> Any:
    """Its BatchNorm."""
    return own.norm


KINDS = pytest.mark.parametrize("kind", ["convolution", "depthwise", "linear"])


@KINDS
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("affine", [False, True])
def test_with_many_codes_training_is_that_of_layer_and_batchnorm(kind, bias, affine):
    layer, norm, x = pair(kind, bias=bias, affine=affine)
    own = QuantizedLayer(layer, norm, MANY).train()
    own.quantizer.unit.mul_(1.01)  # LSQ passes nothing at the very end of the range, where the largest weight lies
    plain = nn.Sequential(copy.deepcopy(layer), copy.deepcopy(norm)).train()
    upstream = torch.randn(plain(x).shape)
    plain = nn.Sequential(copy.deepcopy(layer), copy.deepcopy(norm)).train()
    found, wanted = own(x, SCALE), plain(x)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=2e-3)  # 16 bits of weights
    (found * upstream).sum().backward()
    (wanted * upstream).sum().backward()
    torch.testing.assert_close(own.layer.weight.grad, plain[0].weight.grad, rtol=1e-2, atol=2e-2)
    if affine:
        torch.testing.assert_close(norm_of(own).bias.grad, plain[1].bias.grad)
    torch.testing.assert_close(norm_of(own).running_mean, plain[1].running_mean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(norm_of(own).running_var, plain[1].running_var, rtol=1e-3, atol=1e-3)
    assert norm_of(own).num_batches_tracked == 1


@KINDS
@pytest.mark.parametrize("codes", [Codes(2), Codes(4), Codes(7, restricted=True)], ids=str)
@pytest.mark.parametrize("per_channel", [False, True])
def test_in_eval_mode_it_is_the_folded_layer_with_rounded_weights(kind, codes, per_channel):
    layer, norm, x = pair(kind, bias=True)
    own = QuantizedLayer(layer, norm, codes, per_channel=per_channel).eval()
    spread = (norm.running_var + norm.eps).sqrt()
    factor = norm.weight / spread
    weight = layer.weight * factor.view(-1, *[1] * (layer.weight.ndim - 1))
    affine = own.quantizer.affine()
    assert affine.scale.shape == ((8,) if per_channel else ())
    plain = copy.deepcopy(layer)
    plain.weight.data = fake_quantize(weight, affine).detach()
    bias = (layer.bias - norm.running_mean) * factor + norm.bias
    step = SCALE * affine.scale
    plain.bias = nn.Parameter((bias / step).round() * step)
    torch.testing.assert_close(own(x, SCALE), plain(x), rtol=1e-5, atol=1e-5)


@KINDS
def test_with_frozen_statistics_training_gives_what_inference_gives(kind):
    layer, norm, x = pair(kind)
    own = QuantizedLayer(layer, norm, Codes(3))
    network = nn.Sequential(own)
    network.eval()
    wanted = own(x, SCALE)
    freeze_statistics_(network)
    assert own.training
    assert not norm_of(own).training
    before = copy.deepcopy(norm_of(own).state_dict())
    found = own(x, SCALE)
    assert torch.equal(found, wanted)
    assert all(torch.equal(value, before[name]) for name, value in norm_of(own).state_dict().items())
    network.train()
    assert not torch.allclose(own(x, SCALE), wanted, atol=1e-2)  # not frozen, it is normalized by its batch


@KINDS
def test_the_codes_do_not_depend_on_the_batch(kind):
    """Krishnamoorthi's correction: the batch changes what follows the sums, not the weights."""
    layer, norm, x = pair(kind)
    own = QuantizedLayer(layer, norm, Codes(3)).train()
    seen = []
    own.quantizer.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    norm_of(own).momentum = 0.0
    own(x, SCALE)
    own(x * 0.2, SCALE)
    assert torch.equal(*seen)
    weight, _, affine, codes = own.deployed(SCALE)
    assert torch.equal(seen[0], codes * affine.along(weight)[0])


@KINDS
def test_a_batch_that_has_the_running_statistics_gives_what_inference_gives(kind):
    layer, norm, x = pair(kind)
    own = QuantizedLayer(layer, norm, MANY)
    own.quantizer.unit.mul_(8)  # the statistics move far here: the folded weights grow with them
    norm_of(own).momentum = 1.0
    for _ in range(30):  # the fold moves with the statistics until both agree
        own.train()(x, SCALE)
    count = x.numel() // x.shape[1] if kind != "depthwise" else 16 * 4 * 5
    norm_of(own).running_var.mul_((count - 1) / count)  # BatchNorm keeps the unbiased one, and divides by the other
    found = own.train()(x, SCALE)
    norm_of(own).running_var.mul_((count - 1) / count)
    torch.testing.assert_close(own.eval()(x, SCALE), found, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["convolution", "linear"])
def test_without_batchnorm_training_and_inference_are_one(kind):
    layer, _, x = pair(kind, bias=True)
    own = QuantizedLayer(layer, None, Codes(4))
    assert torch.equal(own.train()(x, SCALE), own.eval()(x, SCALE))


def test_a_channel_that_batchnorm_switched_off_gives_its_shift_and_no_nan():
    layer, norm, x = pair("convolution")
    with torch.no_grad():
        norm.weight[2] = 0.0
    own = QuantizedLayer(layer, norm, Codes(2)).train()
    found = own(x, SCALE)
    found.square().sum().backward()
    assert torch.allclose(found[:, 2], norm.bias[2])
    assert all(torch.isfinite(p.grad).all() for p in own.parameters() if p.grad is not None)
    own.eval()
    assert torch.isfinite(own(x, SCALE)).all()


def test_a_bias_that_is_large_for_its_weights_gets_a_step_that_holds_it():
    layer = nn.Conv2d(2, 8, 1)
    layer.bias = nn.Parameter(torch.full((8,), 0.75))
    with torch.no_grad():
        layer.weight[0] = 1e-12
        layer.weight[1] = 0.0
    own, seen = QuantizedLayer(layer, None, Codes(4)).eval(), []
    own.quantizer.register_forward_hook(lambda module, args, output: seen.append(output.detach()))
    found = own(torch.zeros(1, 2, 1, 1), SCALE).flatten()
    assert (found - 0.75).abs().max() < 0.75 / 64
    weight, bias, affine, codes = own.deployed(SCALE)
    assert torch.equal(seen[0], codes * affine.along(weight)[0])
    assert ((bias / (SCALE * affine.scale)).abs() <= 2**24 * 1.001).all()
    assert codes[:2].eq(0).all()


def test_the_statistics_freeze_at_the_epoch_that_was_asked_for():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.own = QuantizedLayer(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), Codes(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.own(x, SCALE).mean((2, 3))

    data = SignDataset(np.random.default_rng(0).integers(0, 256, (24, 3, 8, 8), np.uint8), np.arange(24) % 8)
    net, counts = Net().eval(), []
    recipe = Recipe(epochs=3, batch_size=8, augmentation=None)

    def note(row: dict[str, float]) -> None:
        counts.append(int(norm_of(net.own).num_batches_tracked))

    fit(net, data, data, recipe, constraint=FrozenStatistics(2), progress=False, on_epoch=note)
    assert counts == [3, 6, 6]
    assert FrozenStatistics(2).identity() != FrozenStatistics(1).identity()


def test_what_cannot_be_folded_or_rounded_is_refused():
    with pytest.raises(ValueError, match="running statistics"):
        QuantizedLayer(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8, track_running_stats=False), Codes(4))
    with pytest.raises(ValueError, match="signed"):
        QuantizedLayer(nn.Conv2d(3, 8, 1), None, Codes(4, signed=False))
    with pytest.raises(ValueError, match="epoch must be ≥ 0"):
        FrozenStatistics(-1)
