"""Wrong ranges are named, with what they look like; no set of real, rendered or dark images is doubted."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

from course_lib.data import load
from course_lib.quantization import quantize_static_int8
from course_lib.quantization.aware import BitWidths, prepare
from course_lib.quantization.calibrated import observe, quantize_network
from course_lib.quantization.graph import layer_graph
from course_lib.quantization.image_range import ImageRangeWarning, require_images
from course_lib.quantization.observers import MinMax

ENDS = {
    "bytes": (0, 255, r"got 0 … 255: divide bytes by 255"),
    "dark bytes": (3, 19, r"got 3 … 19: divide bytes by 255"),
    "normalized": (-2.1179, 2.64, r"got -2\.118 … 2\.64: they look normalized by mean and deviation"),
    "normalized, one side": (-1.5, 0.9, "normalized"),
    "scaled to −1 … 1": (-1, 1, "got -1 … 1: they look scaled"),
    "overshot": (-0.02, 1.01, r"got -0\.02 … 1\.01: clip them"),
    "just above": (0, 1.0001, "clip them"),
    "sixteen bits": (0, 65_535, r"got 0 … 6\.55\de\+04: divide them by the largest"),
    "negative bytes": (-128, 127, "got -128 … 127: divide them by the largest"),
    "NaN": (0, float("nan"), "got NaN or infinite"),
    "infinite": (0, float("inf"), "got NaN or infinite"),
}


def spread(low: float, high: float, count: int = 8) -> torch.Tensor:
    """(count, 3, 9, 7) whose smallest and largest value are these."""
    images = torch.full((count, 3, 9, 7), low + (high - low) / 2)
    images[0, 0, 0, 0], images[-1, -1, -1, -1] = low, high
    return images


@pytest.mark.parametrize(("low", "high", "message"), ENDS.values(), ids=ENDS.keys())
def test_a_range_outside_is_named_with_what_it_looks_like(low, high, message):
    for images in (spread(low, high), spread(low, high).numpy()):
        with pytest.raises(ValueError, match=message):
            require_images(images)


DOUBTED = {
    "divided twice": (spread(0, 1 / 255, 1), r"lie in 0 … 0\.003922: were they divided by 255 twice\?"),
    "black": (spread(0, 0, 2), "lie in 0 … 0: every pixel has the same value"),
    "white": (spread(1, 1, 1), "same value"),
    "eight with little contrast": (spread(0.4, 0.45, 8), r"lie in 0\.4 … 0\.45: 8 images together span less than 1/16"),
}


@pytest.mark.parametrize(("images", "message"), DOUBTED.values(), ids=DOUBTED.keys())
def test_what_can_hardly_be_meant_is_a_warning(images, message):
    with pytest.warns(ImageRangeWarning, match=message):
        require_images(images)


@pytest.mark.parametrize("images", [spread(0.4, 0.45, 7), spread(0, 0.07, 8), spread(0, 1.1 / 255, 7), spread(0, 1)])
def test_what_dark_images_may_span_is_no_warning(images):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        require_images(images)


def test_neither_the_darkest_nor_the_flattest_rendered_signs_are_doubted():
    images = load("rendered").train.images
    pixels = images.reshape(len(images), -1)
    darkest, contrast = np.argsort(pixels.max(1)), np.argsort(pixels.max(1).astype(int) - pixels.min(1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for count in (1, 7, 8, 64, 512):
            for order in (darkest, contrast):
                require_images(images[order[:count]] / np.float32(255))


def test_images_divided_twice_are_told_of_in_every_way_to_calibrate(small, tmp_path):
    model = small.Residual()
    dark, byte = spread(0, 1 / 255), spread(0, 255)
    ways = {
        "observe": lambda images: observe(layer_graph(model), images, MinMax),
        "quantize_network": lambda images: quantize_network(model, images),
        "prepare": lambda images: prepare(model, images, BitWidths(8, 8)),
    }
    for calibrate in ways.values():
        with pytest.warns(ImageRangeWarning, match="divided by 255 twice"):
            calibrate(dark)
        with pytest.raises(ValueError, match="0 … 255: divide bytes"):
            calibrate(byte)
        with pytest.raises(ValueError, match="at least one calibration image"):
            calibrate(dark[:0])
    for images, error in ((byte, "divide bytes"), (dark * torch.nan, "NaN")):
        with pytest.raises(ValueError, match=error):
            quantize_static_int8(tmp_path / "none.onnx", tmp_path / "int8.onnx", images.numpy())
