"""Chapter 13's exercises ask for what the library has."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib.exercises.chapter_13.clip_gradient import clip_gradient
from course_lib.exercises.chapter_13.folded_layer import fold
from course_lib.exercises.chapter_13.gradient_scale import gradient_scale
from course_lib.exercises.chapter_13.step_gradient import step_gradient
from course_lib.exercises.chapter_13.straight_through import round_straight_through
from course_lib.exercises.chapter_13.training_step import training_step
from course_lib.quantization import Affine, Codes, fake_quantize
from course_lib.quantization.aware import LearnedClip, LearnedStep, QuantizedLayer

NONE = torch.tensor(0, dtype=torch.int32)


def codes_of(low: int, high: int) -> Codes:
    """The codes low … high, which must be those of some bits."""
    bits = (high - low + 1).bit_length() - 1
    found = Codes(bits, signed=low < 0)
    assert (found.low, found.high) == (low, high)
    return found


def test_rounding_and_its_gradient_are_the_librarys(sets):
    compared = 0
    for x, scale, low, high in sets("13.1", draws=30):
        if high - low + 1 not in (4, 8) or low > 0:
            continue
        theirs, mine = (x.clone().requires_grad_() for _ in range(2))
        affine = Affine(codes_of(low, high), torch.tensor(scale), NONE)
        weights = torch.linspace(1, 2, x.numel()).view(x.shape)
        found, wanted = round_straight_through(mine, scale, low, high), fake_quantize(theirs, affine)
        torch.testing.assert_close(found, wanted)
        (found * weights).sum().backward()
        (wanted * weights).sum().backward()
        torch.testing.assert_close(mine.grad, theirs.grad)
        compared += 1
    assert compared >= 30


def test_the_step_is_that_of_fake_quantize_and_autograd(sets):
    for w, x, y, scale, rate in sets("13.2", draws=20):
        leaf = w.clone().requires_grad_()
        used = fake_quantize(leaf, Affine(Codes(16), torch.tensor(scale), NONE))
        (x @ used - y).square().mean().backward()
        torch.testing.assert_close(training_step(w, x, y, scale, rate), w - rate * leaf.grad)


def test_the_folded_layer_is_the_librarys(sets):
    for w, b, gamma, beta, mean, variance, epsilon in sets("13.3", draws=20):
        layer = nn.Linear(w.shape[1], len(w)) if w.ndim == 2 else nn.Conv2d(w.shape[1], len(w), w.shape[2:])
        norm = (nn.BatchNorm1d if w.ndim == 2 else nn.BatchNorm2d)(len(w), eps=epsilon)
        layer.load_state_dict({"weight": w, "bias": b})
        norm.load_state_dict({"weight": gamma, "bias": beta}, strict=False)
        norm.running_mean, norm.running_var = mean.clone(), variance.clone()
        torch.testing.assert_close(
            fold(w, b, gamma, beta, mean, variance, epsilon), QuantizedLayer(layer, norm, Codes(8)).folded()
        )


@pytest.mark.parametrize("id", ["13.4"])
def test_the_steps_gradient_is_the_librarys(sets, id):
    compared = 0
    for x, step, low, high, gradient in sets(id, draws=30):
        if (high - low + 1).bit_count() != 1:
            continue
        affine = Affine(codes_of(low, high), torch.tensor(step), NONE)
        quantizer = LearnedStep(affine, batched=False, relative=False)
        (quantizer(x) * gradient).sum().backward()
        assert quantizer.factor.grad is not None
        wanted = quantizer.factor.grad / quantizer.gradient_scale(x)
        torch.testing.assert_close(step_gradient(x, step, low, high, gradient), wanted, rtol=1e-4, atol=1e-5)
        compared += 1
    assert compared >= 30


def test_the_gradients_scale_is_the_librarys(sets):
    for shape, kind, bits in sets("13.5", draws=30):
        batched, channel = kind == "activations", kind == "channel"
        steps = torch.ones(shape[0]) if channel else torch.tensor(1.0)
        codes = Codes(bits, signed=not batched)
        affine = Affine(codes, steps, torch.zeros_like(steps).int(), 0 if channel else None)
        theirs = LearnedStep(affine, batched=batched).gradient_scale(torch.zeros(*shape))
        assert gradient_scale(shape, kind, bits) == pytest.approx(theirs)


def test_the_clips_gradient_is_the_librarys(sets):
    for x, alpha, gradient, decay in sets("13.6", draws=20):
        quantizer = LearnedClip(Affine(Codes(2, signed=False), torch.tensor(alpha / 3), NONE))
        quantizer.clip.data = torch.tensor(alpha)
        ((quantizer(x) * gradient).sum() + decay * quantizer.clip**2).backward()
        torch.testing.assert_close(clip_gradient(x, alpha, gradient, decay), quantizer.clip.grad)
