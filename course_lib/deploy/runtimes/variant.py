"""A loaded network as a ledger's variant, so that all runtimes stand in one interleaved table."""

from __future__ import annotations

from course_lib.deploy.onnx import OnnxCounts, onnx_counts
from course_lib.deploy.runtimes.loaded import Loaded
from course_lib.measure import Variant

_WORDS = {
    "torch": "PyTorch",
    "torch_fused": "PyTorch, fused",
    "torch_compile": "PyTorch, compiled",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "litert": "LiteRT",
    "executorch": "ExecuTorch",
}


def runtime_variant(
    loaded: Loaded,
    name: str,
    *,
    counts: OnnxCounts | None = None,
    twin: str | None = None,
    twin_agreement: float | None = None,
) -> Variant:
    """The row of a loaded network.

    Args:
        name: of the row.
        counts: parameters, non-zeros and MACs of the network; None: read from its ONNX file, unknown without one.
        twin, twin_agreement: see ``Variant``.
    Raises: CourseError: its file has gone.
    """
    if counts is None and loaded.file is not None:
        counts = onnx_counts(loaded.file)
    return Variant(
        name=name,
        predict=loaded.predict,
        file=str(loaded.file or loaded.runtime),
        size_bytes=loaded.bytes,
        parameters=counts.parameters if counts else None,
        nonzeros=counts.nonzeros if counts else None,
        macs=counts.macs if counts else None,
        runtime=f"{_WORDS[loaded.runtime]} {loaded.version}",
        provider=loaded.provider,
        requested_provider=loaded.requested_provider,
        batch=loaded.batch,
        twin=twin,
        twin_agreement=twin_agreement,
    )
