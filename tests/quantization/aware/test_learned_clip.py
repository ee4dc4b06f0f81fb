"""PACT: the clip's gradient is 1 where it clips, the value that of ``fake_quantize``."""

from __future__ import annotations

import pytest
import torch

from course_lib.quantization.affine import Affine, Codes
from course_lib.quantization.aware import FixedScale, LearnedClip
from course_lib.quantization.fake import fake_quantize


def unsigned(bits: int, step: float) -> Affine:
    return Affine(Codes(bits, signed=False), torch.tensor(step), torch.tensor(0).int())


def test_the_gradients_are_the_papers():
    quantizer = LearnedClip(unsigned(2, 0.5))  # α = 1.5
    x = torch.tensor([-1.0, 0.0, 0.7, 1.4, 1.5, 9.0], requires_grad=True)
    upstream = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
    (quantizer(x) * upstream).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [0, 2, 4, 8, 0, 0]
    assert quantizer.clip.grad is not None
    assert quantizer.clip.grad.item() == 48


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("step", [0.5, 0.0371, 1e-3])
def test_the_value_is_that_of_fake_quantize_to_the_bit(bits, step):
    quantizer = LearnedClip(unsigned(bits, step))
    x = torch.cat([torch.randn(500, generator=torch.Generator().manual_seed(bits)), torch.arange(-9, 600) * step / 2])
    assert torch.equal(quantizer(x), fake_quantize(x, quantizer.affine()))
    assert quantizer.affine().scale.item() == pytest.approx(step, rel=1e-6)


def test_the_clip_rises_where_clipping_hurts_and_stays_where_it_does_not():
    for top, rises in ((3.0, True), (0.9, False)):
        quantizer = LearnedClip(unsigned(4, 1 / 15))
        x = torch.linspace(0, top, 200)
        optimizer = torch.optim.SGD(quantizer.parameters(), 0.05)
        for _ in range(300):
            optimizer.zero_grad()
            (quantizer(x) - x).square().mean().backward()
            optimizer.step()
        assert (quantizer.clip.item() > 2) == rises
        assert quantizer.clip.item() >= 1 - 1e-6


def test_a_clip_below_zero_still_gives_a_scale():
    quantizer = LearnedClip(unsigned(4, 0.1))
    torch.nn.init.constant_(quantizer.clip, -1.0)
    assert quantizer.affine().scale > 0
    assert torch.isfinite(quantizer(torch.randn(5))).all()


@pytest.mark.parametrize(
    "affine",
    [
        Affine(Codes(4), torch.tensor(0.1), torch.tensor(0).int()),
        Affine(Codes(4, signed=False), torch.tensor(0.1), torch.tensor(2).int()),
        Affine(Codes(4, signed=False), torch.ones(2), torch.zeros(2).int(), axis=1),
    ],
    ids=["signed", "zero point", "channels"],
)
def test_what_is_no_output_of_a_relu_is_refused(affine):
    with pytest.raises(ValueError, match="unsigned codes with zero point 0 and one scale"):
        LearnedClip(affine)


def test_a_fixed_scale_has_nothing_to_learn_and_passes_gradients():
    quantizer = FixedScale(unsigned(8, 1 / 255))
    x = torch.rand(50, requires_grad=True)
    found = quantizer(x)
    found.sum().backward()
    assert list(quantizer.parameters()) == []
    assert torch.equal(found, fake_quantize(x, unsigned(8, 1 / 255)))
    assert x.grad is not None
    assert x.grad.eq(1).all()
