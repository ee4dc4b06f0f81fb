"""OpenVINO: reads the same ONNX files, float32 and QDQ, and runs them on the processor.

It computes in bfloat16 by default where the processor can: ``INFERENCE_PRECISION_HINT`` is pinned to f32, so that
float32 means float32. It binds its threads to cores by default, and a bound thread waits for its core while another
program has it: that is switched off. One stream, so that a call has all its threads. The file is read by
``Core.read_model``; the package's converters, which report their use to Intel where a user has agreed, are not called.

The executed graph tells for each layer in which precision and by which kernel it runs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from course_lib.deploy.onnx import deployable_bytes
from course_lib.deploy.runtimes.files import onnx_file, require_same_answers
from course_lib.deploy.runtimes.loaded import Loaded, Predict, Request, machines_instructions, opened, require_same
from course_lib.deploy.runtimes.onnx_runtime import input_shape, precision_words
from course_lib.deploy.runtimes.operators import named_operators

_WITH_WEIGHTS = {"Convolution", "FullyConnected", "MatMul"}


def load_openvino(model: nn.Module | str | Path, request: Request) -> Loaded:
    """Open a network; see ``course_lib.deploy.runtimes.load``."""
    provider = request.provider or "CPU"
    with onnx_file(model, request) as path:
        shape, size = input_shape(path, request.input_shape), deployable_bytes(path)
        with named_operators("OpenVINO"):
            compiled, predict, ms = opened(lambda: _start(path, provider, request.threads), shape)
    threads = compiled.get_property("INFERENCE_NUM_THREADS")
    require_same("threads", request.threads, threads, runtime="openvino", mend="ask for another number")
    layers = executed_layers(compiled)
    loaded = Loaded(
        predict=predict,
        runtime=request.runtime,
        version=request.version,
        provider=compiled.get_property("EXECUTION_DEVICES")[0],
        requested_provider=provider,
        instruction_set=kernel_instructions([kernel for _, kernel in layers]) or machines_instructions(),
        precision=_precision([precision for precision, _ in layers]),
        threads=threads,
        load_ms=ms,
        bytes=size,
        input_shape=shape,
        batch=None if compiled.inputs[0].partial_shape[0].is_dynamic else shape[0],
        file=path if request.keep is not None or not isinstance(model, nn.Module) else None,
    )
    if isinstance(model, nn.Module):
        require_same_answers(model, loaded)
    return loaded


def _start(path: Path, device: str, threads: int) -> tuple[Any, Predict]:
    import openvino  # pyright: ignore[reportMissingImports]

    core = openvino.Core()
    found = device if device in core.available_devices else f"only {', '.join(core.available_devices)}"
    require_same("the device", device, found, runtime="openvino", mend="ask for a device that is there")
    core.set_property({"ENABLE_MMAP": False})  # a file that is read may go
    options = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
    options |= {"PERFORMANCE_HINT": "LATENCY", "ENABLE_CPU_PINNING": False}
    compiled = core.compile_model(core.read_model(path), device, options)
    return compiled, _predict(compiled)


def _predict(compiled: Any) -> Predict:
    request, output = compiled.create_infer_request(), compiled.outputs[0]
    infer = request.infer

    def predict(images: np.ndarray) -> np.ndarray:
        # The input is read in place; the answer is copied, since the next call would overwrite it.
        return infer({0: images}, share_inputs=True)[output]

    return predict


def executed_layers(compiled: Any) -> list[tuple[str, str]]:
    """(precision, kernel) of the layers with weights of a compiled model, in the order of execution."""
    facts = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ordered_ops()]
    told = [tuple(_text(info[key]) for key in ("layerType", "runtimePrecision", "primitiveType")) for info in facts]
    return [(precision, kernel) for kind, precision, kernel in told if kind in _WITH_WEIGHTS]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(getattr(value, "value", value))


def _precision(found: Sequence[str]) -> str:
    integer = sum(precision in ("i8", "u8") for precision in found)
    floating = sum(precision == "f32" for precision in found)
    other = sorted(set(found) - {"i8", "u8", "f32"})
    return ", ".join([precision_words(integer, floating), *other])


def kernel_instructions(kernels: Sequence[str]) -> str:
    """The instruction sets in the names of OpenVINO's kernels, "" where they name none.

    >>> kernel_instructions(["brgconv_avx512_1x1_f32", "brgconv_avx512_amx_i8", "gemm_mlas_f32"])
    'avx512, avx512_amx'
    """
    pattern = re.compile(r"(?:avx512|avx2|avx|sse4\d|sve|neon|asimd)(?:_(?:core|vnni|amx|bf16|fp16|\d{3}))*")
    return ", ".join(sorted({match[0] for kernel in kernels if (match := pattern.search(kernel))}))
