"""ONNX Runtime sessions with a stated number of threads, and logits of many images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from course_lib.arguments import non_empty, shaped, whole
from course_lib.errors import CourseError

if TYPE_CHECKING:
    import onnxruntime


def open_session(
    path: str | Path,
    *,
    threads: int = 1,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    spinning: bool = True,
) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session with a stated number of threads and all graph optimizations on.

    Args:
        spinning: whether threads that wait keep their cores busy: faster where calls follow one another at once; with
            pauses between them it takes the cores from others. One thread never spins.
    Raises:
        ValueError: threads < 1.
        CourseError: the file is missing or is no model that ONNX Runtime can load.
    """
    import onnxruntime

    path = Path(path)
    if threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    if not path.is_file():
        raise CourseError("no such ONNX file", path=path, mend="export it first (course_lib.deploy.onnx.export_onnx)")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spinning)))
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=list(providers))
    except Exception as error:  # onnxruntime's own exception types are not public
        reason = str(error).splitlines()[0][:160]
        raise CourseError(f"not a loadable ONNX model ({reason})", path=path, mend="export it again") from error


def run_session(session: onnxruntime.InferenceSession, images: np.ndarray, *, batch_size: int = 256) -> np.ndarray:
    """Logits (N, C), float32, of images (N, 3, H, W), float32 in [0, 1], in batches.

    Args:
        session: its first input takes the images, its first output is the logits.
        images: (N, 3, H, W), N ≥ 1, of the type and shape that the file states.
        batch_size: images of one call, ≥ 1, unless the file has a fixed batch: its own then, the last one filled up.
    Raises: ValueError: no images, or of another type or shape than the file's input (channels last, for example).

    >>> import tempfile, onnx.parser
    >>> text = '''<ir_version: 7, opset_import: ["" : 13]>
    ...     g (float[B, 1] images) => (float[B, 1] logits) { logits = Add(images, images) }'''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     onnx.save(onnx.parser.parse_model(text), Path(folder, "tiny.onnx"))
    ...     session = open_session(Path(folder, "tiny.onnx"))
    >>> run_session(session, np.array([[1.0], [2.0], [4.0]], np.float32), batch_size=2).tolist()
    [[2.0], [4.0], [8.0]]
    """
    value = session.get_inputs()[0]
    _require_input(value, images)
    whole("batch_size", batch_size, least=1)
    fixed = value.shape[0] if isinstance(value.shape[0], int) else None
    if len(images) == fixed or (fixed is None and len(images) <= batch_size):  # one call, and nothing around it
        return np.asarray(session.run(None, {value.name: np.ascontiguousarray(images)})[0])
    size, parts = fixed or batch_size, []
    for start in range(0, len(images), size):
        some = np.ascontiguousarray(images[start : start + size])
        if fixed and len(some) < fixed:
            some = np.concatenate([some, np.repeat(some[-1:], fixed - len(some), 0)])
        parts.append(np.asarray(session.run(None, {value.name: some})[0]))
    return np.concatenate(parts)[: len(images)]


def _require_input(value: onnxruntime.NodeArg, images: np.ndarray) -> None:
    """Raise ValueError unless the images are what a file's input states; ONNX Runtime's own words name no argument."""
    if not isinstance(images, np.ndarray):
        raise TypeError(f"images must be a NumPy array, got {type(images).__name__}")
    wanted = value.type.removeprefix("tensor(").removesuffix(")")
    found = {"float32": "float", "float64": "double"}.get(str(images.dtype), str(images.dtype))
    if found != wanted and wanted in ("float", "double", "float16", "uint8", "int8"):
        raise ValueError(f"images must be {wanted}, as the file's input is, got {images.dtype}")
    axes = [axis if isinstance(axis, int) else "N" for axis in value.shape]
    shaped("images", non_empty("images", images), "N", *axes[1:])
