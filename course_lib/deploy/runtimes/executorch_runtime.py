"""ExecuTorch: PyTorch's own runtime for devices; a module is exported to one .pte file, whose layers XNNPACK runs.

The exported network has the shape of one example. Images are made contiguous here: the runtime reads an array's memory
in order whatever its strides say, and would answer wrongly without an error. Its threads are one number for the whole
process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from course_lib.deploy.runtimes.files import converted, existing, quiet, require_same_answers
from course_lib.deploy.runtimes.loaded import Loaded, Predict, Request, machines_instructions, opened, require_same
from course_lib.deploy.runtimes.operators import named_operators
from course_lib.models import eval_mode

XNNPACK = "XnnpackBackend"


def load_executorch(model: nn.Module | str | Path, request: Request) -> Loaded:
    """Open a network; see ``course_lib.deploy.runtimes.load``."""
    if isinstance(model, nn.Module):
        content = converted(_convert(model, request.input_shape), request)
    else:
        content = existing(model, (".pte",), "executorch").read_bytes()
    _set_threads(request.threads)
    with named_operators("ExecuTorch"):
        shape = tuple(_start(content)[0].metadata.input_tensor_meta(0).sizes())
        _, predict, ms = opened(lambda: _start(content), shape)
    loaded = Loaded(
        predict=predict,
        runtime=request.runtime,
        version=request.version,
        provider=XNNPACK if XNNPACK.encode() in content else "portable kernels",
        requested_provider=request.provider or XNNPACK,
        instruction_set=machines_instructions(),
        precision="float32",
        threads=request.threads,
        load_ms=ms,
        bytes=len(content),
        input_shape=shape,
        batch=shape[0],
        notes=("ExecuTorch's threads are one number for the whole process",),
    )
    if isinstance(model, nn.Module):
        require_same_answers(model, loaded)
    return loaded


def _convert(model: nn.Module, shape: tuple[int, ...]) -> bytes:
    """The content of the .pte file."""
    with quiet(), eval_mode(model), named_operators("ExecuTorch"):
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner  # pyright: ignore[reportMissingImports]
        from executorch.exir import to_edge_transform_and_lower  # pyright: ignore[reportMissingImports]

        program = torch.export.export(model, (torch.zeros(shape),))
        return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch().buffer


def _set_threads(threads: int) -> None:
    from executorch.extension.pybindings import portable_lib  # pyright: ignore[reportMissingImports]

    if portable_lib._threadpool_get_thread_count() != threads:
        portable_lib._unsafe_reset_threadpool(threads)
    found = portable_lib._threadpool_get_thread_count()
    require_same("threads", threads, found, runtime="executorch", mend="ask for another number")


def _start(content: bytes) -> tuple[Any, Predict]:
    from executorch.runtime import Runtime  # pyright: ignore[reportMissingImports]

    program = Runtime.get().load_program(content)
    method = program.load_method("forward")
    return method, _predict(program, method)


def _predict(program: Any, method: Any) -> Predict:
    execute, read, contiguous = method.execute, torch.from_numpy, np.ascontiguousarray

    def predict(images: np.ndarray, _owner: Any = program) -> np.ndarray:
        # A method reads the memory of its program, which must live as long: else it reads what was freed.
        return execute([read(contiguous(images))])[0].numpy()

    return predict
