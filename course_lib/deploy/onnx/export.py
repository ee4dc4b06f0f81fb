"""PyTorch → one ONNX file at opset 13 and IR 7 → ONNX Runtime, each step checked.

Opset 13 and IR 7 are old on purpose: TensorRT 8.2 and ONNX Runtime 1.10, the last ones for a Jetson Nano, read them,
and so does everything newer. PyTorch's new exporter cannot go below opset 18; asked for 13 it warns and writes 18. So
the tracing exporter is used, and ``export_onnx`` reads the file back and refuses anything but what it promised.

In eval mode the exporter folds each BatchNorm into its convolution; the exported network is compared with PyTorch's
on random images before the file gets its name. The batch is the one dynamic axis.

Names count: a small network's INT8 file is one tenth names such as "/features/features.0/features.0.2/Relu_output_0".
``shorten_names`` replaces them; the graph computes the same.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from course_lib.deploy.onnx.session import open_session, run_session
from course_lib.models.modes import eval_mode
from course_lib.storage.files import atomic_path

OPSET, IR_VERSION = 13, 7


def export_onnx(
    model: nn.Module,
    path: str | Path,
    *,
    input_shape: Sequence[int] = (1, 3, 32, 32),
    tolerance: float = 1e-4,
    folded: bool = True,
) -> Path:
    """Write ``model`` as one ONNX file (input "images", output "logits", opset 13, IR 7) that computes the same.

    Args:
        input_shape: (B, 3, H, W); B is dynamic in the file, the rest is fixed.
        tolerance: largest allowed |ONNX Runtime − PyTorch|, relative to the largest logit. Single precision and
            another order of summation give about 1e-6.
        folded: let the exporter fold BatchNorm and compute constants; False leaves both to the runtime.
    Returns: the path written. Every submodule's train/eval mode is as before afterwards.
    Raises:
        ValueError: the two disagree by more than ``tolerance``.
        CourseError: the folder cannot be written.
    """
    path = Path(path)
    with eval_mode(model), atomic_path(path) as part:
        with warnings.catch_warnings(), _without_log():
            warnings.simplefilter("ignore", DeprecationWarning)  # dynamo=False is deprecated, and needed
            torch.onnx.export(
                model,
                (torch.zeros(*input_shape),),
                str(part),
                opset_version=OPSET,
                dynamo=False,
                **_folding(folded),
                input_names=["images"],
                output_names=["logits"],
                dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}},
            )
        _require_sound(part)
        error = _disagreement(model, part, input_shape)
        if not error <= tolerance:
            raise ValueError(f"ONNX Runtime and PyTorch differ by {error:.2e}, more than {tolerance:.2e}")
    return path


@contextlib.contextmanager
def _without_log() -> Iterator[None]:
    """Where the exporter fails it prints the whole graph, beside raising, and has no working switch for it."""
    log = torch._C._jit_onnx_log
    torch._C._jit_onnx_log = lambda *parts: None
    try:
        yield
    finally:
        torch._C._jit_onnx_log = log


def _folding(folded: bool) -> dict[str, Any]:
    """The exporter's options that fold BatchNorm and constants, or keep every operator of the network."""
    mode = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
    return {"do_constant_folding": folded, "training": mode}


def _require_sound(path: Path) -> None:
    """Raise ValueError unless the file holds a valid graph of the promised opset and IR version."""
    import onnx

    graph = onnx.load(path)
    written = graph.opset_import[0].version, graph.ir_version
    if written != (OPSET, IR_VERSION):
        raise ValueError(f"the exporter wrote opset and IR {written} instead of {(OPSET, IR_VERSION)}")
    onnx.checker.check_model(graph)


def _disagreement(model: nn.Module, path: Path, input_shape: Sequence[int]) -> float:
    """Largest |difference| on random images, relative to the largest |output|."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(4, *input_shape[1:], generator=generator)
    with torch.inference_mode():
        expected = model(images).numpy()
    return relative_error(run_session(open_session(path), images.numpy()), expected)


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest |found − expected|, relative to the largest |expected|.

    >>> relative_error(np.array([[1.0, 2.2]]), np.array([[1.0, 2.0]]))
    0.10000000000000009
    """
    return float(np.abs(found - expected).max() / max(1e-12, float(np.abs(expected).max())))
