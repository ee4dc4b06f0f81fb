"""Static INT8 after training: weights in signed, activations in unsigned 8 bits, ranges from a calibration set.

The result is a QDQ file: the FP32 graph with QuantizeLinear/DequantizeLinear pairs, which ONNX Runtime fuses into
integer kernels. Weights get one scale for each output channel, symmetric (S8); activations one scale and zero point for
each tensor (U8), from the smallest and largest value seen on the calibration images. Calibration images come from the
training part: ranges taken from the test part would be a (small) leak.

**Seven bits in eight.** x86 without VNNI multiplies U8×S8 with VPMADDUBSW, which adds two products in 16 bits and
*saturates*: 2·255·127 = 64,770 > 32,767. ``reduce_range`` keeps weights in −64..63, so that 2·255·64 = 32,640 fits.
The file then computes the same on every CPU, at the price of one bit of the weights. Both versions are measured in
the course; the default is the one that is right everywhere.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from course_lib.data import SignDataset
from course_lib.deploy.onnx import open_session, shorten_names
from course_lib.quantization.image_range import require_images
from course_lib.storage.files import atomic_path

if TYPE_CHECKING:
    from onnxruntime.quantization import CalibrationDataReader


def quantize_static_int8(
    fp32_path: str | Path,
    int8_path: str | Path,
    calibration_images: np.ndarray,
    *,
    reduce_range: bool = True,
    per_channel: bool = True,
    method: Literal["MinMax", "Entropy", "Percentile"] = "MinMax",
) -> Path:
    """Write the INT8 (U8S8, QDQ) version of an FP32 ONNX file.

    Args:
        fp32_path, int8_path: what is read, and what is written.
        calibration_images: (N, 3, H, W), float32 in [0, 1], from the training part; some hundreds are enough.
        reduce_range: keep weights to 7 bits, so that CPUs without VNNI cannot saturate.
        per_channel: one weight scale an output channel, else one a layer.
        method: how ONNX Runtime chooses the activations' ranges. Its "Entropy" counts in 128 bins for 128 levels, which
            leaves it one range to choose on most tensors: all that was seen.
    Returns: ``int8_path``.
    Raises:
        ValueError: images of another type, shape or range.
        CourseError: the FP32 file is missing or is no ONNX model.
    Warns: ImageRangeWarning: images that can hardly be what the network sees.
    Matches: onnxruntime.quantization.quantize_static.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    _check_images(calibration_images)
    session = open_session(fp32_path)  # a missing or broken file is reported here, in one line
    reader = _Reader(calibration_images, session.get_inputs()[0].name)
    with tempfile.TemporaryDirectory() as folder, atomic_path(int8_path) as part, _quiet():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(fp32_path), str(prepared))
        _quantize(prepared, part, reader, reduce_range=reduce_range, per_channel=per_channel, method=method)
        shorten_names(part, private=True)
        open_session(part)
    return Path(int8_path)


def _quantize(
    prepared: Path, part: Path, reader: _Reader, *, reduce_range: bool, per_channel: bool, method: str
) -> None:
    """ONNX Runtime's call, with the course's types."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    quantize_static(
        str(prepared),
        str(part),
        # A class of our own, so that onnxruntime.quantization is not imported before it is needed.
        cast("CalibrationDataReader", reader),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
        reduce_range=reduce_range,
        calibrate_method=CalibrationMethod[method],
    )


def calibration_images(dataset: SignDataset, count: int, *, seed: int = 0) -> np.ndarray:
    """``count`` images of a set, drawn without replacement: (count, 3, H, W), float32 in [0, 1].

    Args:
        dataset: the training part.
        count: in 1..N.
        seed: of the draw; the images stand in the order of the set.
    Raises: ValueError: count is out of range.

    >>> images = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1).repeat(3, axis=1)
    >>> tiny = SignDataset(images, np.zeros(4, int))
    >>> (255 * calibration_images(tiny, 2)[:, 0, 0, 0]).round().tolist()
    [2.0, 3.0]
    """
    return dataset.batch(calibration_places(dataset, count, seed=seed))[0].numpy()


def calibration_places(dataset: SignDataset, count: int, *, seed: int = 0) -> np.ndarray:
    """Where ``calibration_images`` finds its images: (count,), ascending. Args and Raises: as there.

    >>> calibration_places(SignDataset(np.zeros((4, 3, 1, 1), np.uint8), np.zeros(4, int)), 2)
    array([2, 3])
    """
    if not 1 <= count <= len(dataset):
        raise ValueError(f"count must be in 1..{len(dataset)}, got {count}")
    return np.sort(np.random.default_rng(seed).choice(len(dataset), count, replace=False))


class _Reader:
    """Feeds the calibration images to onnxruntime.quantization in batches of one size, as its histograms need them."""

    def __init__(self, images: np.ndarray, input_name: str):
        size = max(size for size in range(1, 65) if len(images) % size == 0)
        self._batches: Iterator[dict[str, np.ndarray]] = iter(
            [{input_name: images[start : start + size]} for start in range(0, len(images), size)]
        )

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._batches, None)


class _quiet:
    """Silences the advice that onnxruntime.quantization logs at WARNING on every call."""

    def __enter__(self) -> None:
        self._level = logging.root.manager.disable
        logging.disable(logging.WARNING)

    def __exit__(self, *exc: object) -> None:
        logging.disable(self._level)


def _check_images(images: np.ndarray) -> None:
    if not isinstance(images, np.ndarray) or images.dtype != np.float32 or images.ndim != 4 or len(images) == 0:
        kind = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise ValueError(f"calibration_images must be a float32 array (N, 3, H, W), N ≥ 1, got {kind}")
    require_images(images)
