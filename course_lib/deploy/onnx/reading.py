"""Read an ONNX file's graph, or say in one line why it cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from course_lib.errors import CourseError

if TYPE_CHECKING:
    from onnx import ModelProto

MEND = "export the model again"


def read_model(path: str | Path, *, external: bool = True) -> ModelProto:
    """The model of a file.

    Args: external: read the weights of external data files, too.
    Raises: CourseError: the file is missing, is not ONNX, or its external data is missing.
    """
    import onnx
    from google.protobuf.message import DecodeError

    path = Path(path)
    try:
        model = onnx.load(path, load_external_data=external)
    except (DecodeError, ValueError, OSError, onnx.checker.ValidationError) as error:
        if not path.is_file():
            raise CourseError("the file is missing", path=path, mend=MEND) from error
        raise CourseError(f"not a readable ONNX file ({error})", path=path, mend=MEND) from error
    if not model.graph.node:
        raise CourseError("not an ONNX model: it holds no graph", path=path, mend=MEND)
    return model
