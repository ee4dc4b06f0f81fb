"""From variants and test images to a ledger: the one place where accuracy and latency are measured together.

A variant is what can be shipped and called, whatever runs it: a name, a callable from a batch to logits, the file and
its counts. All variants see the same images in the same order, so that their accuracies can be compared image by image,
and all are timed in the same interleaved rounds on the first test image, batch 1.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from course_lib.evaluation import accuracy, accuracy_difference
from course_lib.measure.latency import LatencyReport, latency
from course_lib.measure.ledger import Ledger, Row, Twin
from course_lib.measure.machine import machine_summary, versions
from course_lib.measure.variant import Variant, predict_classes


def measure_ledger(
    variants: Sequence[Variant],
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
        variants: with different names, the reference first; ``deploy`` makes them (``onnx_variants`` for ONNX files).
        images: (N, 3, H, W) float32 in [0, 1]. labels: (N,) class ids.
        groups: (N,) track of each image, or None if the images are independent. batch: for accuracy only.
        title, data: what the table is about, and the name of the data ("rendered", "gtsrb").
        threads: that every variant was opened with: recorded, not set. warmup, repeats, seed: as in ``latency``.
        twins: name -> (other variant, least fraction of images with the same class), for variants that should
            compute the same function.
    Raises:
        ValueError: arguments that do not fit together.
        RuntimeError: a variant raised while it was timed.
    """
    x, y = _checked(variants, images, labels)
    ready = [_with_twin(v, (twins or {}).get(v.name)) for v in variants]
    _require_known_twins(ready, twins or {})
    predictions = {v.name: predict_classes(v, x, batch) for v in ready}
    single = np.ascontiguousarray(x[:1] if all(v.batch in (None, 1) for v in ready) else x[: _common_batch(ready)])
    calls = {v.name: lambda v=v: v.predict(single) for v in ready}
    report = latency(calls, warmup=warmup, repeats=repeats, threads=threads, seed=seed)
    rows = tuple(_row(v, ready[0], predictions, y, groups, report) for v in ready)
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = machine_summary(threads)
    return Ledger(title, data, rows, single.shape, threads, warmup, repeats, seed, date, machine, versions())


def _checked(variants: Sequence[Variant], images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(images), np.asarray(labels)
    if not variants:
        raise ValueError("variants must hold at least one entry, got none")
    names = [v.name for v in variants]
    if len(set(names)) < len(names):
        raise ValueError(f"variants must have different names, got {names}")
    if x.ndim != 4 or x.dtype != np.float32 or y.shape != x.shape[:1] or len(x) == 0:
        raise ValueError(f"images must be (N, 3, H, W) float32 and labels (N,), got {x.dtype} {x.shape} and {y.shape}")
    if x.min() < 0 or x.max() > 1:
        raise ValueError(f"images must lie in [0, 1], got [{x.min():g}, {x.max():g}]; divide stored bytes by 255")
    return x, y


def _with_twin(variant: Variant, twin: tuple[str, float] | None) -> Variant:
    if twin:
        variant = replace(variant, twin=twin[0], twin_agreement=twin[1])
    if (variant.twin is None) != (variant.twin_agreement is None):
        raise ValueError(f"variant {variant.name!r} needs both twin and twin_agreement, or neither")
    return variant


def _require_known_twins(variants: Sequence[Variant], twins: Mapping[str, tuple[str, float]]) -> None:
    unknown = ({v.twin for v in variants if v.twin} | set(twins)) - {v.name for v in variants}
    if unknown:
        raise ValueError(f"twins names {sorted(unknown)}, which are not among the variants")


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
    twin = None
    if v.twin is not None and v.twin_agreement is not None:
        twin = Twin(v.twin, v.twin_agreement, float((own == predictions[v.twin]).mean()))
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
        twin=twin,
    )
