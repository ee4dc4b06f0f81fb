"""ONNX Runtime: an ONNX file in float32, or a QDQ file in 8 bits, on a stated number of threads.

What a session executes is not the file but an optimised graph. It is written out once more to look: a QDQ file whose
layers were merged into QLinearConv, QGemm, … runs in 8 bits, and one whose pairs were left standing does not.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from torch import nn

from course_lib.deploy.onnx import deployable_bytes, images_input, open_session, optimized_graph, read_model
from course_lib.deploy.runtimes.files import onnx_file
from course_lib.deploy.runtimes.loaded import Loaded, Predict, Request, machines_instructions, opened, require_same
from course_lib.deploy.runtimes.operators import named_operators

CPU = "CPUExecutionProvider"
_INTEGER = {"QLinearConv", "QGemm", "QLinearMatMul", "MatMulInteger", "ConvInteger", "MatMulIntegerToFloat"}
_FLOAT = {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"}


def load_onnxruntime(model: nn.Module | str | Path, request: Request) -> Loaded:
    """Open a network; see ``course_lib.deploy.runtimes.load``."""
    provider = request.provider or CPU
    with onnx_file(model, request) as path:
        shape = input_shape(path, request.input_shape)

        def start():
            session = open_session(path, threads=request.threads, providers=[provider], spinning=request.spinning)
            require_same(
                "the provider", provider, session.get_providers()[0], runtime="onnxruntime", mend=_provider_mend()
            )
            return session, _predict(session)

        with named_operators("ONNX Runtime"):
            session, predict, ms = opened(start, shape)
        threads = session.get_session_options().intra_op_num_threads
        require_same("threads", request.threads, threads, runtime="onnxruntime", mend="ask for another number")
        return Loaded(
            predict=predict,
            runtime=request.runtime,
            version=request.version,
            provider=session.get_providers()[0],
            requested_provider=provider,
            instruction_set=machines_instructions(),
            precision=executed_precision(path),
            threads=threads,
            load_ms=ms,
            bytes=deployable_bytes(path),
            input_shape=shape,
            batch=_fixed_batch(session),
            file=None if isinstance(model, nn.Module) and request.keep is None else path,
        )


def _predict(session) -> Predict:
    run, key, wanted = session.run, session.get_inputs()[0].name, [session.get_outputs()[0].name]

    def predict(images: np.ndarray) -> np.ndarray:
        return run(wanted, {key: images})[0]

    return predict


def _fixed_batch(session) -> int | None:
    size = session.get_inputs()[0].shape[0]
    return size if isinstance(size, int) else None


def _provider_mend() -> str:
    import onnxruntime

    return f"ask for one of {', '.join(onnxruntime.get_available_providers())}, or install the package that has it"


def input_shape(path: Path, default: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a file's images; where the file leaves a size open, the default's.

    Raises: CourseError: no readable ONNX file.

    >>> import tempfile, onnx.parser
    >>> text = '<ir_version: 7, opset_import: ["" : 13]> g (float[B, 3, 9, W] x) => (float[] y) { y = Relu(x) }'
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx.save(onnx.parser.parse_model(text), Path(folder, "tiny.onnx"))
    ...     input_shape(Path(folder, "tiny.onnx"), (1, 3, 32, 32))
    (1, 3, 9, 32)
    """
    images = images_input(read_model(path, external=False).graph)
    sizes = [dim.dim_value for dim in images.type.tensor_type.shape.dim]
    return tuple(own or given for own, given in zip(sizes, default, strict=False)) if sizes else default


def executed_precision(path: Path) -> str:
    """In what ONNX Runtime executes a file's layers with weights: "int8", "float32", or how many of them in "int8"."""
    kinds: Counter[str] = Counter()
    for kind, count in optimized_graph(path, "all").kinds.items():
        kinds[kind.rpartition(":")[2]] += count  # without the domain
    return precision_words(sum(kinds[k] for k in _INTEGER), sum(kinds[k] for k in _FLOAT))


def precision_words(integer: int, floating: int) -> str:
    """The precision of a network with so many layers in 8 bits and so many in float32.

    >>> precision_words(8, 0), precision_words(0, 8), precision_words(7, 1)
    ('int8', 'float32', 'int8 in 7 of 8 layers')
    """
    if not integer or not floating:
        return "int8" if integer else "float32"
    return f"int8 in {integer} of {integer + floating} layers"
