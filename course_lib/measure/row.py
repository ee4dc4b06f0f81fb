"""One measured variant: what it is worth, what it takes, and how long its calls took."""

from __future__ import annotations

from dataclasses import dataclass

from course_lib.evaluation import Estimate
from course_lib.measure.times import Times


@dataclass(frozen=True)
class Twin:
    """Another row that this variant should agree with.

    Args:
        name: of the other row.
        expected_agreement: the least fraction of equal predictions.
        agreement: the fraction that was found.
    """

    name: str
    expected_agreement: float
    agreement: float


@dataclass(frozen=True)
class Row:
    """One measured variant; the first row is the reference of all.

    Args:
        name: the variant's.
        file: its file's name.
        accuracy: fraction right on the test images.
        agreement: fraction of test images with the same predicted class as the first row; 1.0 in the first.
        accuracy_change: accuracy minus the first row's, in points, paired; None in the first.
        size_bytes: all files that must be shipped.
        size_ratio: the first row's bytes over these.
        parameters: None where the file does not tell, as for the next two.
        nonzeros: parameters that are not 0.
        macs: multiply-accumulates for one image.
        times: one for each cadence of the ledger, in its order; none where they were refused.
        runtime: name and version.
        provider: the backend that ran.
        requested_provider: the backend that was asked for.
        twin: the row that it should agree with, or None.
        refused: marks for which its times are not shown; its accuracy and bytes stand.
    """

    name: str
    file: str
    accuracy: Estimate
    agreement: float
    accuracy_change: Estimate | None
    size_bytes: int
    size_ratio: float
    parameters: int | None
    nonzeros: int | None
    macs: int | None
    times: tuple[Times, ...]
    runtime: str
    provider: str
    requested_provider: str
    twin: Twin | None = None
    refused: tuple[str, ...] = ()

    @property
    def latency_ms_p50(self) -> float:
        """Median in the ledger's first cadence, ms. Raises: ValueError: its times were refused."""
        return self._first().p50

    @property
    def latency_ms_p95(self) -> float:
        """What 5 % of the calls exceed in the ledger's first cadence, ms. Raises: ValueError: as above."""
        return self._first().p95

    @property
    def speedup(self) -> Estimate | None:
        """The first row's latency over this one's in the ledger's first cadence, ×; None in the first row."""
        return self.times[0].speedup if self.times else None

    def _first(self) -> Times:
        if not self.times:
            raise ValueError(f"{self.name} has no times that mean anything: {', '.join(self.refused)}")
        return self.times[0]
