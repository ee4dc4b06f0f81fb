"""The kit of a set's shipped networks: what ``course kit build`` puts together.

| name | network | arithmetic |
|---|---|---|
| fp32 | the student, distilled | floats |
| pruned | the student with fewer channels | floats |
| int8_cpu | the pruned student | unsigned activations, signed weights: ONNX Runtime on a CPU |
| int8_trt | the pruned student | signed, symmetric: TensorRT |
| integer_c | the pruned student | integers only, one C file |
| teacher, teacher_int8 | the teacher | floats; as int8_cpu |

The teacher stands first, since all are compared with it. Images to compare outputs on are of the validation part; what
each network is worth is measured on the test part here, where the images are, and written into the manifest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from course_lib.data import SignDataset, Splits, load
from course_lib.deploy.edge import CNetworkFile, Manifest, OnnxNetwork, Scores, build_kit, require_place
from course_lib.deploy.onnx import export_onnx, onnx_counts, open_session, run_session
from course_lib.evaluation import accuracy, accuracy_difference
from course_lib.experiments.plans import PLANS, data_key
from course_lib.models.trained import load_trained
from course_lib.quantization import calibration_images, quantize_static_int8
from course_lib.quantization.calibrated import quantize_network
from course_lib.quantization.integer import c_source, compile_c, find_compiler, integer_network, load_c
from course_lib.quantization.tensorrt import export_tensorrt, quantize_symmetric

IMAGES = 64
"""Validation images with reference outputs."""
TEST_IMAGES = 2000
"""Test images, spread over the part, on which the networks are scored."""
Say = Callable[[str], None]


@dataclass
class _Judge:
    """Scores networks on test images; the first one that comes is what the others are compared with.

    Args:
        part: the images.
        first: the first network's classes, once they are known.
    """

    part: SignDataset
    first: np.ndarray | None = None

    def scores(self, classes: np.ndarray) -> Scores:
        labels, groups = self.part.labels, self.part.groups
        right = accuracy(classes, labels, groups)
        if self.first is None:
            self.first = classes
            return Scores(right, 1.0, None)
        change = accuracy_difference(classes, self.first, labels, groups)
        return Scores(right, float((classes == self.first).mean()), change)

    def onnx(self, path: Path) -> Scores:
        images = self.part.batch(np.arange(len(self.part)))[0].numpy()
        return self.scores(run_session(open_session(path), images).argmax(1))


def build(
    out: str | Path, *, data: str = "rendered", test_images: int = TEST_IMAGES, say: Say = lambda line: None
) -> Manifest:
    """Export, quantize, score and pack the shipped networks.

    Args:
        out: the kit's folder.
        data: as ``data.load`` takes it.
        test_images: on which the networks are scored, spread over the test part, ≥ 1.
        say: is told what begins.
    Raises: CourseError: as ``build_kit``; a checkpoint or the data are missing or broken, or of another split.
    """
    require_place(out)
    key = data_key(data)
    splits = load(data)
    models = {role: load_trained(f"{role}_{key}", splits)[0] for role in ("teacher", "student", "final")}
    images = splits.validation.images[_spread(len(splits.validation), IMAGES)]
    judge = _Judge(splits.test.subset(_spread(len(splits.test), test_images)))
    with tempfile.TemporaryDirectory() as folder:
        networks = onnx_networks(models, splits, Path(folder), PLANS[key].calibration, judge, say)
        say("the integer network in C")
        c_network = c_file(models["final"], splits, images, PLANS[key].calibration, judge, Path(folder))
        say("packing")
        return build_kit(out, networks, c_network, images, data=splits.train.name)


def _spread(available: int, wanted: int) -> np.ndarray:
    return np.unique(np.linspace(0, available - 1, min(wanted, available)).astype(int))


def onnx_networks(
    models: dict[str, nn.Module], splits: Splits, folder: Path, calibration: int, judge: _Judge, say: Say
) -> list[OnnxNetwork]:
    """The kit's ONNX files, the teacher first.

    Args:
        models: "teacher", "student" and "final".
        splits: the training part calibrates.
        folder: for the files. calibration: images. judge: scores them. say: is told what begins.
    """
    ranges = calibration_images(splits.train, calibration)
    found: list[OnnxNetwork] = []

    def add(name: str, title: str, path: Path, precision, *runtimes) -> Path:
        found.append(OnnxNetwork(name, title, path, precision, ("onnxruntime", *runtimes), judge.onnx(path)))
        return path

    say("networks of floats")
    teacher = add("teacher", "teacher FP32", export_onnx(models["teacher"], folder / "t.onnx"), "fp32", "tensorrt")
    add("fp32", "student distilled FP32", export_onnx(models["student"], folder / "s.onnx"), "fp32", "tensorrt")
    pruned = add("pruned", "student pruned FP32", export_onnx(models["final"], folder / "p.onnx"), "fp32", "tensorrt")
    say("networks of 8 bits")
    add("teacher_int8", "teacher INT8", quantize_static_int8(teacher, folder / "ti.onnx", ranges), "int8")
    add("int8_cpu", "student pruned INT8", quantize_static_int8(pruned, folder / "pi.onnx", ranges), "int8")
    symmetric = quantize_symmetric(models["final"], torch.from_numpy(ranges))
    path = export_tensorrt(symmetric, folder / "pt.onnx")
    add("int8_trt", "student pruned INT8, symmetric", path, "int8", "tensorrt")
    return found


def c_file(
    model: nn.Module, splits: Splits, images: np.ndarray, calibration: int, judge: _Judge, folder: Path
) -> CNetworkFile:
    """The network in integers as C, with the codes that the NumPy engine gives; scored where there is a compiler.

    Args:
        model: of the kit's pruned student. splits: the training part calibrates.
        images: (N, 3, H, W), uint8, for the reference.
        calibration: images. judge: scores it. folder: for the compiled library.
    """
    quantized = quantize_network(model, torch.from_numpy(calibration_images(splits.train, calibration)))
    network = integer_network(quantized, rounding="hardware", input_shape=images.shape[1:])
    source = c_source(network, title="the pruned student")
    counted = onnx_counts(export_onnx(model, folder / "counted.onnx"))
    counts = (counted.parameters, counted.nonzeros, counted.macs)
    scores = None
    if find_compiler() is not None:
        scores = judge.scores(load_c(compile_c(source, folder))(judge.part.images).argmax(1))
    title = "student pruned, integers in C"
    return CNetworkFile("integer_c", title, source, network.logit_codes(images), counts, scores)
