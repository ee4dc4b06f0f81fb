"""``load``: one way to open a network, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import nn

from course_lib.deploy.runtimes.availability import require
from course_lib.deploy.runtimes.loaded import Loaded, Request, require_same
from course_lib.errors import CourseError


def load(
    model: nn.Module | str | Path,
    runtime: str,
    *,
    threads: int = 1,
    input_shape: Sequence[int] = (1, 3, 32, 32),
    provider: str | None = None,
    fuse: Callable[[nn.Module], nn.Module] | None = None,
    channels_last: bool = False,
    spinning: bool = True,
    keep: str | Path | None = None,
) -> Loaded:
    """Open a network for one runtime; another one never steps in.

    Args:
        model: a module, which is left as it is; or a file: .onnx for "onnxruntime" and "openvino" (float32, or INT8 as
            QDQ), .tflite for "litert", .pte for "executorch".
        runtime: one of ``NAMES``; ``runtimes()`` says which can be used here. threads: for one call, ≥ 1.
        input_shape: (B, 3, H, W) of the images; a file's own sizes come first.
        provider: the backend that must run; None: the runtime's own for this processor.
        fuse: for "torch_fused": from a module to an equal one of fewer layers. channels_last: PyTorch's memory order.
        spinning: for "onnxruntime": see ``open_session``. keep: where a converted module's file goes.
    Raises:
        ValueError: an argument out of its domain, or a model that the runtime does not read.
        CourseError: the runtime is not here, lacks an operator, does something else than asked, or answers wrongly.

    >>> load(nn.Sequential(nn.Flatten(), nn.Linear(3072, 5)), "onnxruntime").provider
    'CPUExecutionProvider'
    """
    if threads < 1 or len(input_shape) != 4 or min(input_shape) < 1:
        raise ValueError(f"need threads ≥ 1 and input_shape (B, 3, H, W), got {threads} and {tuple(input_shape)}")
    here, shape, kept = require(runtime), tuple(input_shape), None if keep is None else Path(keep)
    request = Request(runtime, str(here.version), threads, shape, provider, fuse, channels_last, spinning, kept)
    try:
        loaded = _backend(runtime)(model, request)
    except (ImportError, OSError) as error:
        raise CourseError(f"the runtime {runtime} is installed and does not load ({error})", mend=here.mend) from error
    asked, mend = loaded.requested_provider, "name no provider"
    require_same("the provider", asked, loaded.provider, runtime=runtime, mend=mend)
    return loaded


def _backend(runtime: str) -> Callable[[nn.Module | str | Path, Request], Loaded]:
    """The module of a runtime, imported when it is used."""
    if runtime == "onnxruntime":
        from course_lib.deploy.runtimes.onnx_runtime import load_onnxruntime as backend
    elif runtime == "openvino":
        from course_lib.deploy.runtimes.openvino_runtime import load_openvino as backend
    elif runtime == "litert":
        from course_lib.deploy.runtimes.litert_runtime import load_litert as backend
    elif runtime == "executorch":
        from course_lib.deploy.runtimes.executorch_runtime import load_executorch as backend
    else:
        from course_lib.deploy.runtimes.torch_runtime import load_pytorch as backend
    return backend
