"""An ONNX file as a ledger's variant, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from course_lib.deploy.onnx.counts import onnx_counts
from course_lib.deploy.onnx.session import open_session
from course_lib.measure import Variant

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def onnx_variant(
    name: str,
    path: str | Path,
    *,
    threads: int,
    session: InferenceSession | None = None,
    requested_provider: str = "CPUExecutionProvider",
    twin: str | None = None,
    twin_agreement: float | None = None,
) -> Variant:
    """Read the file's counts and wrap its session.

    Args:
        name: of the row.
        path: ONNX file with one image input (B, 3, H, W) and logits (B, classes) as its first output.
        threads: intra-operator threads of the session that is opened here.
        session: an opened session to use instead, for another provider or options.
        requested_provider: the provider that was asked for; the row is marked if another one runs.
        twin, twin_agreement: see ``Variant``.
    Raises: CourseError: the file is missing or is not ONNX.
    """
    import onnxruntime

    counts = onnx_counts(path)
    session = session or open_session(path, threads=threads)
    return Variant(
        name=name,
        predict=_predict(session),
        file=str(path),
        size_bytes=counts.deployable_bytes,
        parameters=counts.parameters,
        nonzeros=counts.nonzeros,
        macs=counts.macs,
        runtime=f"ONNX Runtime {onnxruntime.__version__}",
        provider=session.get_providers()[0],
        requested_provider=requested_provider,
        batch=_fixed_batch(session),
        twin=twin,
        twin_agreement=twin_agreement,
    )


def _predict(session: InferenceSession) -> Callable[[np.ndarray], np.ndarray]:
    """The session as a function from a batch to logits, with nothing in it that would be timed along."""
    run, key, wanted = session.run, session.get_inputs()[0].name, [session.get_outputs()[0].name]

    def predict(batch: np.ndarray) -> np.ndarray:
        return run(wanted, {key: batch})[0]  # pyright: ignore[reportReturnType]  # logits are a dense tensor

    return predict


def _fixed_batch(session: InferenceSession) -> int | None:
    """How many images the file wants in each call; None if any number is right."""
    size = session.get_inputs()[0].shape[0]
    return size if isinstance(size, int) else None


def onnx_variants(files: Mapping[str, str | Path], *, threads: int) -> list[Variant]:
    """One variant a file (name -> path), in this order, each opened with ``threads``, for ``measure.measure_ledger``.

    Raises: CourseError: a file is missing or is not ONNX.
    """
    return [onnx_variant(name, path, threads=threads) for name, path in files.items()]
