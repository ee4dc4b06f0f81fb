"""What a runtime opens: an ONNX file that is there already, or one that a module is exported to on the way."""

from __future__ import annotations

import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import nn

from course_lib.deploy.onnx import export_onnx, relative_error
from course_lib.deploy.runtimes.loaded import Loaded, Predict, Request
from course_lib.deploy.runtimes.operators import named_operators
from course_lib.errors import CourseError
from course_lib.models import eval_mode
from course_lib.storage.files import atomic_path

TOLERANCE = 1e-4
"""Of |runtime − PyTorch|, relative to the largest logit, for a module in float32."""


@contextmanager
def onnx_file(model: nn.Module | str | Path, request: Request) -> Iterator[Path]:
    """The path of the network as an ONNX file; a module is exported, to a file that goes unless it is to be kept.

    Raises:
        ValueError: a path of another kind.
        CourseError: the file is missing, or the module holds an operator that ONNX has not.
    """
    if isinstance(model, nn.Module):
        with tempfile.TemporaryDirectory() as folder:
            path = request.keep or Path(folder) / "network.onnx"
            with named_operators("ONNX"):
                export_onnx(model, path, input_shape=request.input_shape)
            yield path
        return
    yield existing(model, (".onnx",), request.runtime)


def existing(path: str | Path, suffixes: tuple[str, ...], runtime: str) -> Path:
    """The path of a file of one of these kinds.

    Raises: ValueError: another kind. CourseError: it is missing.
    """
    path = Path(path)
    if path.suffix not in suffixes:
        raise ValueError(f"{runtime} takes an nn.Module or a {' or '.join(suffixes)} file, got {path}")
    if not path.is_file():
        raise CourseError("no such file", path=path, mend="export the network first")
    return path


def converted(content: bytes, request: Request) -> bytes:
    """The content of a converted network, written to the file where it is to be kept."""
    if request.keep is not None:
        with atomic_path(request.keep) as part:
            part.write_bytes(content)
    return content


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a converter's warnings and log lines off the screen; errors still come."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def weights_bytes(model: nn.Module) -> int:
    """Bytes of a network's weights and buffers as one file: what is deployed where PyTorch runs it.

    >>> weights_bytes(nn.Linear(100, 10)) > 4 * (100 * 10 + 10)
    True
    """
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return len(buffer.getvalue())


def require_same_answers(model: nn.Module, loaded: Loaded, *, tolerance: float = TOLERANCE) -> None:
    """Raise CourseError unless the runtime answers random images as the module does."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(loaded.input_shape, generator=generator)
    with eval_mode(model), torch.inference_mode():
        expected = model(images).numpy()
    error = relative_error(loaded(images.numpy()), expected)
    if not error <= tolerance:
        raise CourseError(
            f"{loaded.runtime} and PyTorch differ by {error:.2e} of the largest logit, more than {tolerance:.0e}",
            mend="report it to the runtime's authors, and use another runtime",
        )


def torch_predict(model: nn.Module, threads: int, memory_format: torch.memory_format) -> Predict:
    """A module as a function of arrays; it sets PyTorch's threads, one number for the process, where they differ."""
    get, put, read, mode = torch.get_num_threads, torch.set_num_threads, torch.from_numpy, torch.inference_mode
    require = np.require  # a tensor can neither run backwards over an array nor share one that is read-only

    def predict(images: np.ndarray) -> np.ndarray:
        if get() != threads:
            put(threads)
        with mode():
            return model(read(require(images, requirements=["C", "W"])).contiguous(memory_format=memory_format)).numpy()

    return predict
