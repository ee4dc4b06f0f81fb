"""LSQ: the step's gradient is the paper's, the value that of ``fake_quantize``, and the step finds the best one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from course_lib.quantization.affine import Affine, Codes
from course_lib.quantization.aware import LearnedStep, Quantizer, initial_step
from course_lib.quantization.aware.learned_step import starting_step
from course_lib.quantization.fake import fake_quantize

CODES = [Codes(2), Codes(3), Codes(4, signed=False), Codes(7, restricted=True), Codes(8, signed=False)]


def values(seed: int, shape: tuple[int, ...] = (6, 5, 3, 3)) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 2


def one(codes: Codes, step: float = 0.3, zero: int = 0) -> Affine:
    return Affine(codes, torch.tensor(step), torch.tensor(zero, dtype=torch.int32))


def by_channel(codes: Codes, axis: int, count: int) -> Affine:
    steps = torch.linspace(0.05, 0.9, count)
    return Affine(codes, steps, torch.zeros(count, dtype=torch.int32), axis)


def papers_gradients(x: np.ndarray, step: float, low: int, high: int, upstream: np.ndarray) -> tuple[np.ndarray, float]:
    """Equations 3 and 5, value by value, and the g of the text for one image or one layer."""
    by_x, by_step = np.zeros_like(x), 0.0
    for place, value in np.ndenumerate(x):
        v = value / step
        if v <= low:
            own = float(low)
        elif v >= high:
            own = float(high)
        else:
            own = float(np.rint(v) - v)
            by_x[place] = upstream[place]
        by_step += upstream[place] * own
    return by_x, float(by_step)


@pytest.mark.parametrize("codes", CODES, ids=str)
@pytest.mark.parametrize("batched", [False, True])
def test_the_gradients_are_the_papers(codes, batched):
    x, upstream = values(1).requires_grad_(), values(2)
    quantizer = LearnedStep(one(codes), batched=batched, relative=False)
    (quantizer(x) * upstream).sum().backward()
    wanted_x, wanted_step = papers_gradients(
        x.detach().double().numpy(), float(np.float32(0.3)), codes.low, codes.high, upstream.double().numpy()
    )
    count = 45 if batched else 270
    assert x.grad is not None
    assert quantizer.factor.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), wanted_x, rtol=1e-6)
    g = 1 / math.sqrt(count * codes.high)
    assert quantizer.factor.grad.item() == pytest.approx(wanted_step * g, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("codes", CODES, ids=str)
def test_the_gradients_are_those_of_autograd_through_a_detached_rounding(axis, codes):
    affine = one(codes) if axis is None else by_channel(codes, axis, (6, 5)[axis])
    quantizer = LearnedStep(affine, batched=False, relative=False)
    x, upstream = values(3).requires_grad_(), values(4)
    (quantizer(x) * upstream).sum().backward()

    other, step = x.detach().clone().requires_grad_(), affine.scale.clone().requires_grad_()
    shape = [1] * 4
    if axis is not None:
        shape[axis] = -1
    v = (other / step.view(shape if axis is not None else ())).clamp(codes.low, codes.high)
    ((v + (v.round() - v).detach()) * step.view(shape if axis is not None else ()) * upstream).sum().backward()
    assert x.grad is not None
    assert step.grad is not None
    assert quantizer.factor.grad is not None
    torch.testing.assert_close(x.grad, other.grad)
    torch.testing.assert_close(quantizer.factor.grad, step.grad * quantizer.gradient_scale(x), rtol=1e-4, atol=1e-4)


def test_nothing_passes_at_the_very_ends():
    x = torch.tensor([-2.0, -1.999, 0.0, 0.999, 1.0, 1.2], requires_grad=True)
    quantizer = LearnedStep(one(Codes(2), 1.0), batched=False, relative=False)
    quantizer(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 0, 0]
    assert quantizer.factor.grad is not None
    # −2, the two roundings −0.001 and 0.001, 0, then Q_P twice; g = 1/√(6·1)
    assert quantizer.factor.grad.item() == pytest.approx((-2 + 1 + 1) / math.sqrt(6), abs=1e-6)


@pytest.mark.parametrize("codes", CODES, ids=str)
@pytest.mark.parametrize("zero", [0, 1])
@pytest.mark.parametrize("relative", [False, True])
def test_the_value_is_that_of_fake_quantize_to_the_bit(codes, zero, relative):
    for affine in (one(codes, 0.37, zero), one(codes, 1e-3, zero), one(codes, 1 / 255, zero)):
        x = torch.cat([values(5).flatten(), torch.arange(-40, 40) * affine.scale / 2, torch.zeros(1)])
        quantizer = LearnedStep(affine, batched=False, relative=relative)
        assert torch.equal(quantizer(x), fake_quantize(x, quantizer.affine()))
        assert torch.equal(quantizer.affine().scale, affine.scale)


def test_the_value_by_channel_is_that_of_fake_quantize_to_the_bit():
    affine = by_channel(Codes(3), 0, 6)
    quantizer = LearnedStep(affine, batched=False)
    assert torch.equal(quantizer(values(6)), fake_quantize(values(6), affine))
    assert quantizer.factor.tolist() == [1.0] * 6


@pytest.mark.parametrize("relative", [False, True])
def test_the_parameter_is_the_step_or_its_ratio_to_the_first(relative):
    quantizer = LearnedStep(one(Codes(4), 0.25), batched=False, relative=relative)
    x, upstream = values(7), values(8)
    (quantizer(x) * upstream).sum().backward()
    assert quantizer.factor.grad is not None
    papers = papers_gradients(x.double().numpy(), 0.25, -8, 7, upstream.double().numpy())[1] / math.sqrt(270 * 7)
    assert quantizer.factor.item() == (1.0 if relative else 0.25)
    assert quantizer.factor.grad.item() == pytest.approx(papers * (0.25 if relative else 1.0), rel=1e-4)


@pytest.mark.parametrize("bits", [2, 4])
def test_learning_finds_the_step_of_the_least_error(bits):
    x = values(9, (4000,))
    quantizer = LearnedStep(one(Codes(bits), float(initial_step(x.abs().mean(), -(2 ** (bits - 1)), 1))), batched=False)
    optimizer = torch.optim.Adam(quantizer.parameters(), 0.01)
    for _ in range(400):
        optimizer.zero_grad()
        (quantizer(x) - x).square().mean().backward()
        optimizer.step()
    steps = torch.linspace(0.05, 4, 400)
    errors = [float((fake_quantize(x, one(Codes(bits), float(s))) - x).square().mean()) for s in steps]
    found = float((quantizer(x) - x).square().mean().detach())
    assert found <= 1.02 * min(errors)


def test_a_step_that_fell_below_zero_is_held_above_it_and_climbs_again():
    quantizer = LearnedStep(one(Codes(4), 0.1), batched=False, relative=False)
    with torch.no_grad():
        quantizer.factor.fill_(-0.2)
    x = values(10)
    found = quantizer(x, 0.01)
    assert torch.equal(found, fake_quantize(x, one(Codes(4), 0.01)))
    assert quantizer.affine().scale > 0
    (found - x).square().sum().backward()  # nearly all is clipped: a larger step is better
    assert quantizer.factor.grad is not None
    assert quantizer.factor.grad < 0


def test_the_first_step_is_the_papers_unless_the_range_is_narrower():
    magnitude = torch.tensor(0.8)
    assert initial_step(magnitude, -2, 1).item() == pytest.approx(1.6)
    assert initial_step(magnitude, -4, 0).item() == pytest.approx(0.8)  # no code above: the lower end counts
    assert starting_step(magnitude, torch.tensor(5.0), -2, 1).item() == pytest.approx(1.6)
    assert starting_step(magnitude, torch.tensor(0.02), -128, 127).item() == pytest.approx(0.02)
    assert starting_step(torch.tensor(0.0), torch.tensor(1.0), -2, 1).item() == 1


def test_steps_are_no_matrices_so_that_weight_decay_leaves_them_alone():
    for affine in (one(Codes(4)), by_channel(Codes(4), 0, 6)):
        assert all(p.ndim <= 1 for p in LearnedStep(affine, batched=False).parameters())


def test_zeros_and_empty_tensors_pass_and_nan_is_seen():
    quantizer = LearnedStep(one(Codes(4)), batched=False)
    assert quantizer(torch.zeros(3)).tolist() == [0, 0, 0]
    assert quantizer(torch.zeros(0)).shape == (0,)
    assert quantizer(torch.tensor([math.nan, math.inf])).isnan().tolist() == [True, False]


def test_different_zero_points_and_blocks_are_refused():
    with pytest.raises(ValueError, match="one zero point"):
        Quantizer(Affine(Codes(4), torch.ones(2), torch.tensor([0, 1], dtype=torch.int32), axis=0))
    with pytest.raises(ValueError, match="no blocks"):
        Quantizer(Affine(Codes(4), torch.ones(1, 2), torch.zeros(1, 2).int(), axis=1, block=2))


def test_ranges_and_bits_stand_in_the_text_that_a_resumed_training_compares():
    assert "4 bits, -3 … 12" in repr(LearnedStep(one(Codes(4, signed=False), zero=3), batched=True))
