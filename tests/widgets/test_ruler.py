"""The ruler: each control changes the codes, and the words below say what they cost."""

from __future__ import annotations

import pytest
import torch

from course_lib import widgets

TENSORS = {"weights": torch.linspace(-1, 3, 41), "activations": torch.linspace(0, 2, 21)}


def test_each_control_redraws_the_picture_and_its_description():
    panel = widgets.ruler_explorer(TENSORS, bits=2)
    picture, words, tensor, bits, lower, upper, codes = panel.children
    assert "2 bits, codes 0 … 3: S = 1.333, Z = 1" in words.value
    for control, value, told in (
        (bits, 3, "3 bits, codes 0 … 7: S = 0.5714, Z = 2"),
        (codes, "signed, symmetric", "codes -4 … 3: S = 1, Z = 0"),
        (upper, 0.5, "codes -4 … 3: S = 0.5, Z = 0"),
        (codes, "signed, asymmetric", "codes -4 … 3: S = 0.3571, Z = -1"),
        (lower, 0.0, "codes -4 … 3: S = 0.2143, Z = -4"),
        (tensor, "activations", "S = 0.1429, Z = -4"),
    ):
        before = picture.value
        control.value = value
        assert picture.value != before
        assert told in words.value


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "at least one"),
        ({"a": torch.zeros(3)}, "a must hold finite values that are not all 0"),
        ({"a": torch.tensor([1.0, torch.nan])}, "a must hold finite"),
        ({"a": torch.zeros(0)}, "a must hold finite"),
    ],
)
def test_tensors_without_a_signal_are_refused(tensors, message):
    with pytest.raises(ValueError, match=message):
        widgets.ruler_explorer(tensors)
