"""From variants and test images to a ledger: the one place where accuracy and latency are measured together.

A variant is what can be shipped and called, whatever runs it: a name, a callable from a batch to logits, the file and
its counts. All variants see the same images in the same order, so that their accuracies can be compared image by image,
and all are timed in the same interleaved rounds on the first test image, batch 1.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_lib.measure.latency import LatencyReport, latency
from course_lib.measure.ledger import Ledger, Row, Twin
from course_lib.measure.machine import machine_summary, versions
from course_lib.measure.statistics import accuracy, accuracy_difference


@dataclass(frozen=True)
class Variant:
    """Something that classifies images and can be shipped.

    predict: (B, 3, H, W) float32 in [0, 1] -> (B, classes) logits. batch: the only batch size it takes, None for any.
    size_bytes: all files to ship. parameters, nonzeros, macs: None where unknown. runtime: name and version.
    provider: the backend that runs; requested_provider: the one that was asked for.
    twin: name of a variant that must give the same classes for at least ``twin_agreement`` (a fraction) of the images.
    """

    name: str
    predict: Callable[[np.ndarray], np.ndarray]
    file: str
    size_bytes: int
    parameters: int | None
    nonzeros: int | None
    macs: int | None
    runtime: str
    provider: str
    requested_provider: str
    batch: int | None = None
    twin: str | None = None
    twin_agreement: float | None = None


def measure(
    variants: Mapping[str, str | Path | Variant],
    images: np.ndarray,
    labels: np.ndarray,
    groups: np.ndarray | None,
    *,
    title: str,
    data: str,
    threads: int = 1,
    warmup: int = 20,
    repeats: int = 100,
    seed: int = 0,
    batch: int = 64,
    twins: Mapping[str, tuple[str, float]] | None = None,
) -> Ledger:
    """Accuracy on all images and interleaved batch-1 latency of every variant; the first one is the reference.

    Args:
        variants: name -> path of an ONNX file (opened in ONNX Runtime with ``threads``), or a ready Variant.
        images: (N, 3, H, W) float32 in [0, 1]. labels: (N,) class ids.
        groups: (N,) track of each image, or None if the images are independent.
        title, data: what the table is about, and the name of the data ("rendered", "gtsrb").
        threads: of every variant. warmup, repeats, seed: as in ``measure.latency``. batch: for accuracy only.
        twins: name -> (other variant, least fraction of images with the same class), for variants that should
            compute the same function.
    Raises:
        ValueError: arguments that do not fit together. CourseError: a file is missing or is not ONNX.
        RuntimeError: a variant raised while it was timed.
    """
    x, y = _checked(variants, images, labels)
    ready = [_ready(name, v, threads, (twins or {}).get(name)) for name, v in variants.items()]
    unknown = {v.twin for v in ready if v.twin} | set(twins or {})
    if unknown - set(variants):
        raise ValueError(f"twins names {sorted(unknown - set(variants))}, which are not among the variants")
    predictions = {v.name: predict_classes(v, x, batch) for v in ready}
    single = np.ascontiguousarray(x[:1] if all(v.batch in (None, 1) for v in ready) else x[: _common_batch(ready)])
    calls = {v.name: lambda v=v: v.predict(single) for v in ready}
    report = latency(calls, warmup=warmup, repeats=repeats, threads=threads, seed=seed)
    rows = tuple(_row(v, ready[0], predictions, y, groups, report) for v in ready)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = machine_summary(threads)
    return Ledger(title, data, rows, single.shape, threads, warmup, repeats, seed, date, machine, versions())


def predict_classes(variant: Variant, images: np.ndarray, batch: int) -> np.ndarray:
    """(N,) predicted class ids, computed in batches; a variant with a fixed batch gets its last one padded.

    Raises: ValueError: the logits are not (B, classes) or hold nan.
    """
    size = variant.batch or batch
    parts = []
    for start in range(0, len(images), size):
        part = np.ascontiguousarray(images[start : start + size])
        short = size - len(part) if variant.batch else 0
        padded = np.concatenate([part, np.zeros((short, *part.shape[1:]), part.dtype)]) if short else part
        logits = np.asarray(variant.predict(padded))[: len(part)]
        if logits.ndim != 2 or len(logits) != len(part) or np.isnan(logits).any():
            raise ValueError(f"variant {variant.name!r} must give (B, classes) logits without nan, got {logits.shape}")
        parts.append(logits.argmax(1))
    return np.concatenate(parts)


def _checked(variants: Mapping, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(images), np.asarray(labels)
    if not variants:
        raise ValueError("variants must hold at least one entry, got none")
    if x.ndim != 4 or x.dtype != np.float32 or y.shape != x.shape[:1] or len(x) == 0:
        raise ValueError(f"images must be (N, 3, H, W) float32 and labels (N,), got {x.dtype} {x.shape} and {y.shape}")
    if x.min() < 0 or x.max() > 1:
        raise ValueError(f"images must lie in [0, 1], got [{x.min():g}, {x.max():g}]; divide stored bytes by 255")
    return x, y


def _ready(name: str, variant: str | Path | Variant, threads: int, twin: tuple[str, float] | None) -> Variant:
    if not isinstance(variant, Variant):
        from course_lib.measure.onnx_variants import onnx_variant

        variant = onnx_variant(name, variant, threads=threads)
    if variant.name != name:
        raise ValueError(f"variant under {name!r} calls itself {variant.name!r}")
    if twin:
        from dataclasses import replace

        variant = replace(variant, twin=twin[0], twin_agreement=twin[1])
    if (variant.twin is None) != (variant.twin_agreement is None):
        raise ValueError(f"variant {name!r} needs both twin and twin_agreement, or neither")
    return variant


def _common_batch(variants: list[Variant]) -> int:
    sizes = {v.batch for v in variants if v.batch}
    if len(sizes) > 1:
        raise ValueError(f"variants with different fixed batches cannot be timed together: {sorted(sizes)}")
    return sizes.pop()


def _row(
    v: Variant, first: Variant, predictions: dict[str, np.ndarray], y: np.ndarray, groups, report: LatencyReport
) -> Row:
    own, reference = predictions[v.name], predictions[first.name]
    change = None if v is first else accuracy_difference(own, reference, y, groups, seed=report.seed)
    agreement = float((own == predictions[v.twin]).mean()) if v.twin else None
    return Row(
        name=v.name,
        file=os.path.basename(v.file),
        accuracy=accuracy(own, y, groups, seed=report.seed),
        agreement=float((own == reference).mean()),
        accuracy_change=change,
        size_bytes=v.size_bytes,
        size_ratio=first.size_bytes / v.size_bytes,
        parameters=v.parameters,
        nonzeros=v.nonzeros,
        macs=v.macs,
        latency_ms_p50=report.p50(v.name),
        latency_ms_p95=report.p95(v.name),
        latency_samples_ms=tuple(report.samples_ms[v.name].tolist()),
        calls_per_sample=report.calls[v.name],
        speedup=None if v is first else report.ratio(first.name, v.name),
        runtime=v.runtime,
        provider=v.provider,
        requested_provider=v.requested_provider,
        twin=Twin(v.twin, v.twin_agreement, agreement) if v.twin else None,
    )
