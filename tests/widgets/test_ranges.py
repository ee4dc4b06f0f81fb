"""The explorer of ranges: its words tell what a range clips and costs."""

from __future__ import annotations

import pytest
import torch

from course_lib import plots, widgets
from course_lib.quantization import Codes, fake_quantize, from_range, sqnr_db

X = torch.cat([torch.linspace(-1, 2, 31), torch.tensor([6.0])])


def test_the_words_are_share_step_and_sqnr_of_the_range():
    affine = from_range(torch.tensor(-1.0), torch.tensor(2.0), Codes(4, signed=False))
    noise = sqnr_db(X, fake_quantize(X, affine))
    told = plots.alt_text(widgets.range_figure(X, -1.0, 2.0, 4))
    assert f"-1.00 … 2.00 in 4 bits: 3.125 % clipped, step 0.2000, SQNR {noise:.1f} dB" in told


def test_dragging_an_end_clips_more_and_shortens_the_step():
    picture, words, _, bits, lower, upper = widgets.range_explorer({"x": X}).children
    assert "0.000 % clipped, step 0.4667" in words.value
    before = picture.value
    upper.value = 0.25
    assert picture.value != before
    assert "-1.00 … 1.50 in 4 bits: 18.750 % clipped" in words.value
    lower.value = 0.5
    assert "-0.50 … 1.50" in words.value
    bits.value = 8
    assert "in 8 bits" in words.value


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.tensor([]), torch.tensor([1.0, float("nan")])])
def test_a_tensor_without_values_is_refused(bad):
    with pytest.raises(ValueError, match="finite values that are not all 0"):
        widgets.range_explorer({"x": bad})


def test_ends_that_do_not_enclose_0_and_no_tensors_are_refused():
    with pytest.raises(ValueError, match="enclose 0"):
        widgets.range_figure(X, 0.5, 2.0, 4)
    with pytest.raises(ValueError, match="at least one"):
        widgets.range_explorer({})
