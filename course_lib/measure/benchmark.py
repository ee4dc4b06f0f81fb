"""From variants and test images to a ledger: the one place where accuracy and latency are measured together.

A variant is what can be shipped and called, whatever runs it: a name, a callable from a batch to logits, the file and
its counts. All variants see the same images in the same order, so that their accuracies can be compared image by image,
and all are timed in the same interleaved rounds on the first test image, batch 1. The first variant is timed twice,
under two names: a benchmark that finds the same file faster than itself (A/A test) has measured something else.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from course_lib.evaluation import accuracy, accuracy_difference
from course_lib.measure.cadence import IN_TURN, Cadence
from course_lib.measure.latency import LatencyReport, latency_by_cadence
from course_lib.measure.ledger import Ledger
from course_lib.measure.machine import machine_summary, versions
from course_lib.measure.row import Row, Twin
from course_lib.measure.times import Times
from course_lib.measure.variant import Variant, predict_classes

AGAIN = "A/A"
"""The name under which the first variant is timed a second time; no variant may have it."""


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
    cadences: Mapping[Cadence, int] | None = None,
    again: Variant | None = None,
    seed: int = 0,
    batch: int = 64,
    twins: Mapping[str, tuple[str, float]] | None = None,
) -> Ledger:
    """Accuracy on all images and interleaved latency of single calls of every variant; the first is the reference.

    Args:
        variants: with different names, the reference first; ``deploy`` makes them (``onnx_variants`` for ONNX files).
        images: (N, 3, H, W) float32 in [0, 1]. labels: (N,) class ids. batch: for accuracy only.
        groups: (N,) track of each image, or None if the images are independent.
        title, data: what the table is about, and the name of the data ("rendered", "gtsrb").
        threads: that every variant was opened with: recorded, not set. warmup, repeats, seed: as in ``latency``.
        cadences: how calls follow one another -> rounds; None: single calls in turn, ``repeats`` rounds.
        again: the first variant, opened a second time, for the A/A row; None: its own callable.
        twins: name -> (other variant, least fraction of equal classes), for those that compute the same function.
    Raises: ValueError: arguments that do not fit together. RuntimeError: a variant raised while it was timed.
    """
    x, y, ready = _checked(variants, images, labels, twins or {})
    predictions = {v.name: predict_classes(v, x, batch) for v in ready}
    single = _timed_images(x, ready)
    second, paces = replace(again or ready[0], name=AGAIN), cadences or {IN_TURN: repeats}
    reports = _timed([*ready, second], single, paces, warmup=warmup, threads=threads, seed=seed)
    rows = tuple(_row(v, ready[0], predictions, y, groups, reports) for v in ready)
    twice = tuple(_times(report, AGAIN, ready[0].name) for report in reports)
    about = (title, data, rows, single.shape, tuple(paces), twice, threads, warmup, seed)
    return Ledger(*about, _today(), machine_summary(threads), versions())


def _timed(
    variants: Sequence[Variant], images: np.ndarray, paces: Mapping[Cadence, int], **options: int
) -> list[LatencyReport]:
    """One report for each cadence; paces: cadence -> rounds."""
    calls = {v.name: lambda v=v: v.predict(images) for v in variants}
    return latency_by_cadence(calls, paces, **options)


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def _checked(
    variants: Sequence[Variant], images: np.ndarray, labels: np.ndarray, twins: Mapping[str, tuple[str, float]]
) -> tuple[np.ndarray, np.ndarray, list[Variant]]:
    x, y = np.asarray(images), np.asarray(labels)
    if not variants:
        raise ValueError("variants must hold at least one entry, got none")
    names = [v.name for v in variants]
    if len(set(names)) < len(names) or AGAIN in names:
        raise ValueError(f"variants must have different names, none of them {AGAIN!r}, got {names}")
    if x.ndim != 4 or x.dtype != np.float32 or y.shape != x.shape[:1] or len(x) == 0:
        raise ValueError(f"images must be (N, 3, H, W) float32 and labels (N,), got {x.dtype} {x.shape} and {y.shape}")
    if x.min() < 0 or x.max() > 1:
        raise ValueError(f"images must lie in [0, 1], got [{x.min():g}, {x.max():g}]; divide stored bytes by 255")
    ready = [_with_twin(v, twins.get(v.name)) for v in variants]
    _require_known_twins(ready, twins)
    return x, y, ready


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


def _timed_images(images: np.ndarray, variants: Sequence[Variant]) -> np.ndarray:
    """The first image, or as many as the variants with a fixed batch take."""
    free = all(v.batch in (None, 1) for v in variants)
    return np.ascontiguousarray(images[:1] if free else images[: _common_batch(variants)])


def _common_batch(variants: Sequence[Variant]) -> int:
    sizes = {v.batch for v in variants if v.batch}
    if len(sizes) > 1:
        raise ValueError(f"variants with different fixed batches cannot be timed together: {sorted(sizes)}")
    return sizes.pop()


def _row(
    v: Variant,
    first: Variant,
    predictions: dict[str, np.ndarray],
    y: np.ndarray,
    groups,
    reports: Sequence[LatencyReport],
) -> Row:
    own, reference = predictions[v.name], predictions[first.name]
    change = None if v is first else accuracy_difference(own, reference, y, groups, seed=reports[0].seed)
    twin = None
    if v.twin is not None and v.twin_agreement is not None:
        twin = Twin(v.twin, v.twin_agreement, float((own == predictions[v.twin]).mean()))
    return Row(
        name=v.name,
        file=os.path.basename(v.file),
        accuracy=accuracy(own, y, groups, seed=reports[0].seed),
        agreement=float((own == reference).mean()),
        accuracy_change=change,
        size_bytes=v.size_bytes,
        size_ratio=first.size_bytes / v.size_bytes,
        parameters=v.parameters,
        nonzeros=v.nonzeros,
        macs=v.macs,
        times=tuple(_times(report, v.name, None if v is first else first.name) for report in reports),
        runtime=v.runtime,
        provider=v.provider,
        requested_provider=v.requested_provider,
        twin=twin,
    )


def _times(report: LatencyReport, name: str, reference: str | None) -> Times:
    """The times of one variant in one session; reference: whose latency the ratio is over."""
    sessions = (tuple(map(tuple, report.samples(name).tolist())),)
    speedup = None if reference is None else report.ratio(reference, name)
    return Times(report.cadence.name, sessions, report.busy[name], speedup)
