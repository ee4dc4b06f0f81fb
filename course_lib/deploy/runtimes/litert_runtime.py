"""LiteRT (TensorFlow Lite's successor): a module is converted to one .tflite file, which XNNPACK's kernels run.

The converted network has the shape of one example: another batch needs another conversion. The interpreter takes the
number of threads and does not tell how many it uses.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from course_lib.deploy.runtimes.files import converted, existing, quiet, require_same_answers
from course_lib.deploy.runtimes.loaded import Loaded, Predict, Request, machines_instructions, opened
from course_lib.deploy.runtimes.onnx_runtime import precision_words
from course_lib.deploy.runtimes.operators import named_operators
from course_lib.models import eval_mode

XNNPACK = "XNNPACK"
_WITH_WEIGHTS = {"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"}


def load_litert(model: nn.Module | str | Path, request: Request) -> Loaded:
    """Open a network; see ``course_lib.deploy.runtimes.load``."""
    if isinstance(model, nn.Module):
        content = converted(_convert(model, request.input_shape), request)
    else:
        content = existing(model, (".tflite",), "litert").read_bytes()

    def start() -> tuple[Any, Predict]:
        from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]

        interpreter = Interpreter(model_content=content, num_threads=request.threads)
        interpreter.allocate_tensors()
        return interpreter, _predict(interpreter)

    with named_operators("LiteRT"):
        shape = _input_shape(content)
        interpreter, predict, ms = opened(start, shape)
    operators = interpreter._get_ops_details()
    delegated = any(operator["op_name"] == "DELEGATE" for operator in operators)
    loaded = Loaded(
        predict=predict,
        runtime=request.runtime,
        version=request.version,
        provider=XNNPACK if delegated else "reference kernels",
        requested_provider=request.provider or XNNPACK,
        instruction_set=machines_instructions(),
        precision=_precision(operators),
        threads=request.threads,
        load_ms=ms,
        bytes=len(content),
        input_shape=shape,
        batch=shape[0],
        notes=("LiteRT does not tell how many threads it uses",),
    )
    if isinstance(model, nn.Module):
        require_same_answers(model, loaded)
    return loaded


def _convert(model: nn.Module, shape: tuple[int, ...]) -> bytes:
    """The content of the .tflite file; the converter's progress is kept off the screen."""
    with tempfile.TemporaryDirectory() as folder, _silence(), eval_mode(model), named_operators("LiteRT"):
        import litert_torch  # pyright: ignore[reportMissingImports]

        path = Path(folder) / "network.tflite"
        litert_torch.convert(model, (torch.zeros(shape),)).export(str(path))
        return path.read_bytes()


@contextlib.contextmanager
def _silence():
    with quiet(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _input_shape(content: bytes) -> tuple[int, ...]:
    from ai_edge_litert.interpreter import Interpreter  # pyright: ignore[reportMissingImports]

    return tuple(map(int, Interpreter(model_content=content).get_input_details()[0]["shape"]))


def _predict(interpreter: Any) -> Predict:
    put, get, invoke = interpreter.set_tensor, interpreter.get_tensor, interpreter.invoke
    read, written = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def predict(images: np.ndarray) -> np.ndarray:
        put(read, images)
        invoke()
        return get(written)

    return predict


def _precision(operators: list[dict[str, Any]]) -> str:
    """From the types that the layers with weights read."""
    layers = [operator for operator in operators if operator["op_name"] in _WITH_WEIGHTS]
    integer = sum(np.dtype(layer["operand_types"][0]).itemsize == 1 for layer in layers)
    return precision_words(integer, len(layers) - integer)
