"""Any model as an ONNX file: a module or a quantized network is exported, a file taken as it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from course_lib.deploy.onnx import export_onnx, open_session, run_session
from course_lib.quantization.calibrated import QuantizedNetwork
from course_lib.quantization.qdq import export_qdq

if TYPE_CHECKING:
    import onnxruntime

Model = nn.Module | QuantizedNetwork | str | Path
"""What can be diagnosed."""
BATCH = 64


@dataclass(frozen=True, eq=False)
class Opened:
    """A model that can be run.

    Args:
        path: of its ONNX file.
        title: what to call it.
        session: with all optimizations, as it is deployed.
    """

    path: Path
    title: str
    session: onnxruntime.InferenceSession

    def logits(self, images: np.ndarray) -> np.ndarray:
        """(N, classes), float32, as the runtime computes them with all optimizations, in batches that the file allows.

        Raises: ValueError: the model does not give one row of logits an image.
        """
        logits = run_session(self.session, images, batch_size=BATCH)
        if logits.ndim != 2:
            raise ValueError(f"{self.title} must give logits (N, classes), got {list(logits.shape)}")
        return logits


def open_model(model: Model, images: np.ndarray, folder: Path, role: str) -> Opened:
    """Write the model into the folder, unless it is a file already, and load it.

    Args: images: (N, C, H, W), that it will get. role: "reference" or "suspect", for names and messages.
    Raises:
        TypeError: neither module, network nor path.
        ValueError: the model takes images of another shape.
        CourseError: a file that is missing or is no ONNX model.
    """
    shape = (1, *images.shape[1:])
    target = folder / f"{role}.onnx"
    if isinstance(model, QuantizedNetwork):
        path, title = _written(export_qdq, model, target, shape, role, short_names=False), "quantized network"
    elif isinstance(model, nn.Module):
        path, title = _written(export_onnx, model, target, shape, role), type(model).__name__
    elif isinstance(model, str | Path):
        path, title = Path(model), Path(model).name
    else:
        raise TypeError(f"{role} must be a module, a QuantizedNetwork or a path, got {type(model).__name__}")
    session = open_session(path)
    require_shape(session, images, role)
    return Opened(path, title, session)


def _written(export, model: nn.Module | QuantizedNetwork, target: Path, shape: tuple[int, ...], role: str, **given):
    try:
        return export(model, target, input_shape=shape, **given)
    except RuntimeError as error:  # of a layer that does not take images of this shape
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"the {role} cannot take images of shape {list(shape[1:])}: {reason}") from error


def require_shape(session: onnxruntime.InferenceSession, images: np.ndarray, role: str) -> None:
    """Raise ValueError unless the model has one input, of floats, that images of this shape fit."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or inputs[0].type != "tensor(float)":
        told = ", ".join(f"{value.name} {value.type}" for value in inputs)
        raise ValueError(f"the {role} must have one input, of float images, got {told}")
    wanted = inputs[0].shape[1:]
    fits = len(wanted) == images.ndim - 1 and all(
        not isinstance(want, int) or want == size for want, size in zip(wanted, images.shape[1:], strict=True)
    )
    if not fits:
        raise ValueError(f"the {role} takes images of shape {wanted}, got {list(images.shape[1:])}")
