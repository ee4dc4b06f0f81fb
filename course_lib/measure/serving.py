"""From the time of one call to what a user waits: batches, deadlines and queues.

A call with B images takes about t(B) = a + b·B: ``a`` once for the call, ``b`` for each image. A second image in the
same call saves ``a``, and costs the first image the wait for the second to arrive. Calls that come faster than they are
answered queue up; with arrivals by chance they queue long before that.

The model is a line and the queue has one server that takes images in the order in which they come. Real caches bend
the line, and real servers have several workers; both keep the shape.

Source: Lindley 1952, "The theory of queues with a single server" (the recursion); Pollaczek 1930 and Khinchine 1932
(the mean wait).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, inf

import numpy as np
from numpy.typing import ArrayLike


def batch_line(batches: Sequence[int], times_ms: Sequence[float]) -> tuple[float, float]:
    """(a, b) of t(B) = a + b·B with the least sum of squared errors, in ms.

    Args: batches: images of a call, at least two different ones; times_ms: of such a call.
    Raises: ValueError: of different lengths, or fewer than two different batches.

    >>> a, b = batch_line([1, 9], [3.0, 11.0])
    >>> round(a, 6), round(b, 6)
    (2.0, 1.0)
    """
    if len(batches) != len(times_ms) or len(set(batches)) < 2:
        raise ValueError(f"need a time for each of two batches or more, got {batches} and {times_ms}")
    images, ms = np.asarray(batches, float), np.asarray(times_ms, float)
    apart = images - images.mean()
    per_image = float((apart * (ms - ms.mean())).sum() / (apart**2).sum())
    return float(ms.mean() - per_image * images.mean()), per_image


def oldest_wait_ms(batch: int, a_ms: float, b_ms: float, rate: float = inf) -> float:
    """(B − 1)/rate + a + b·B: from the arrival of a batch's first image to its answer, in ms.

    Args: batch: images, ≥ 1; a_ms, b_ms: of ``batch_line``; rate: images that arrive in a second; inf: all are there.

    >>> oldest_wait_ms(4, 2.0, 1.0), oldest_wait_ms(4, 2.0, 1.0, rate=30)
    (6.0, 106.0)
    """
    if batch < 1 or not rate > 0:
        raise ValueError(f"need batch ≥ 1 and rate > 0, got {batch} and {rate}")
    return 1000 * (batch - 1) / rate + a_ms + b_ms * batch


def keeps_up(batch: int, a_ms: float, b_ms: float, rate: float) -> bool:
    """Whether a + b·B ≤ B/rate: each batch is done before the next one is there; true where all images are there.

    If a batch does not keep up, no smaller one does.

    Args: as in ``oldest_wait_ms``.

    >>> keeps_up(2, 2.0, 1.0, rate=500), keeps_up(1, 2.0, 1.0, rate=500), keeps_up(1, 2.0, 1.0, rate=inf)
    (True, False, True)
    """
    return rate == inf or a_ms + b_ms * batch <= 1000 * batch / rate


def largest_batch(a_ms: float, b_ms: float, deadline_ms: float, rate: float = inf) -> int:
    """The largest batch whose first image is answered within the deadline; 0 if none is.

    Args: a_ms, b_ms, rate: as in ``oldest_wait_ms``, b_ms > 0; deadline_ms: from arrival to answer.

    >>> largest_batch(2.0, 1.0, deadline_ms=10), largest_batch(2.0, 1.0, deadline_ms=100, rate=30)
    (8, 3)
    """
    if not b_ms > 0:
        raise ValueError(f"an image must take time, got b_ms = {b_ms}")
    each = b_ms + 1000 / rate
    # A hair more, so that a batch that meets the deadline exactly is not lost to rounding.
    return max(0, floor((deadline_ms - a_ms + 1000 / rate) / each + 1e-9))


def waiting_times(arrivals: ArrayLike, services: ArrayLike) -> np.ndarray:
    """How long each image waits before its own computation begins, one server, first come first served.

    Args: arrivals: moments, ascending, (N,); services: how long each computation takes, ≥ 0, (N,), in the same unit.
    Returns: (N,), ≥ 0, in that unit.
    Raises: ValueError: other shapes, arrivals that do not ascend, or a negative service.

    >>> waiting_times([0, 1, 2, 9], [3, 3, 3, 3]).tolist()
    [0.0, 2.0, 4.0, 0.0]
    """
    moments, takes = np.asarray(arrivals, float), np.asarray(services, float)
    if moments.ndim != 1 or moments.shape != takes.shape or (np.diff(moments) < 0).any() or (takes < 0).any():
        raise ValueError("need arrivals (N,) that ascend and as many services ≥ 0")
    waits, free = np.zeros(len(moments)), -inf
    for number, (arrival, service) in enumerate(zip(moments, takes, strict=True)):
        begin = max(arrival, free)
        waits[number], free = begin - arrival, begin + service
    return waits


def expected_wait(rate: float, services: ArrayLike) -> float:
    """λ·E[S²] / (2·(1 − λ·E[S])): the mean wait where arrivals come by chance (Poisson); inf at λ·E[S] ≥ 1.

    Args: rate: λ, arrivals in one unit of time, ≥ 0; services: times that computations take, in that unit.

    >>> expected_wait(0.5, [1.0]), expected_wait(0.9, [1.0]), expected_wait(1.0, [1.0])
    (0.5, 4.500000000000001, inf)
    """
    takes = np.asarray(services, float)
    load = rate * float(takes.mean())
    return inf if load >= 1 else rate * float((takes**2).mean()) / (2 * (1 - load))
