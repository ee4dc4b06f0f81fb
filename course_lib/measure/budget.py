"""A budget for deployment: this many milliseconds, this many bytes, at least this accuracy; who keeps all three?

Compression is a question of what is allowed, not of what is best: a variant that breaks one limit is of no use,
however well it does on the other two. Limits are included: a file of exactly the size allowed fits.
"""

from __future__ import annotations

from course_lib.measure.row import Row


def require_budget(latency_ms: float, size_kb: float, accuracy: float) -> None:
    """Raise ValueError unless latency (ms) and size (kB) are positive and the accuracy is a fraction in [0, 1]."""
    if not (latency_ms > 0 and size_kb > 0 and 0 <= accuracy <= 1):
        raise ValueError(
            "latency_ms and size_kb must be positive and accuracy in [0, 1], "
            f"got {latency_ms}, {size_kb} and {accuracy}"
        )


def keeps_budget(row: Row, *, latency_ms: float, size_kb: float, accuracy: float) -> bool:
    """Whether a ledger's row is fast, small and right enough, each limit included.

    Args:
        row: one variant of a ledger.
        latency_ms: the largest median latency allowed, in ms per call.
        size_kb: the largest size allowed, in kB of 1000 bytes.
        accuracy: the least accuracy allowed, in [0, 1].

    >>> from types import SimpleNamespace
    >>> row = SimpleNamespace(latency_ms_p50=0.2, size_bytes=90_000, accuracy=SimpleNamespace(value=0.97))
    >>> keeps_budget(row, latency_ms=0.2, size_kb=90, accuracy=0.97)
    True
    >>> keeps_budget(row, latency_ms=0.2, size_kb=89.9, accuracy=0.97)
    False
    """
    return row.latency_ms_p50 <= latency_ms and row.size_bytes <= 1000 * size_kb and row.accuracy.value >= accuracy
