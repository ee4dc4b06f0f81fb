"""A network opened by a runtime: a callable from images to logits that says who runs it, in which version, and how.

What is said is asked back from the runtime wherever it tells: the provider, the threads, the precision that it computes
in, the instruction sets of its kernels. Where it does not, the machine's instruction sets stand in, marked as such, or
a note says what is not known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from course_lib.errors import CourseError
from course_lib.measure import cpu_features, has_dot_product

Predict = Callable[[np.ndarray], np.ndarray]
Session = TypeVar("Session")
_FLOAT = np.dtype(np.float32)


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network that a runtime has opened; called with (B, 3, H, W) float32 images it gives (B, classes) logits.

    Args:
        predict: the same without a word on wrong images.
        runtime: as ``load`` names it.
        version: of the runtime's package.
        provider: the backend that runs, as the runtime tells.
        requested_provider: the one that was asked for.
        instruction_set: of the runtime's kernels where it tells, else the machine's, and then marked so.
        precision: "float32" or "int8", and how many of the layers with weights where not all are.
        threads: that compute one call, as the runtime tells; as asked where it does not.
        load_ms: from the file (for PyTorch: the module) to the first answer, without conversion.
        bytes: of the file that is deployed; for PyTorch, of the weights alone.
        input_shape: (B, 3, H, W) of the first call.
        batch: the only B that it takes; None for any.
        file: the ONNX file that was opened, if one was named.
        notes: what a reader of its times must know.
    """

    predict: Predict
    runtime: str
    version: str
    provider: str
    requested_provider: str
    instruction_set: str
    precision: str
    threads: int
    load_ms: float
    bytes: int
    input_shape: tuple[int, ...]
    batch: int | None = None
    file: Path | None = None
    notes: tuple[str, ...] = ()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Logits (B, classes) float32 of images (B, 3, H, W) float32; the array belongs to the caller.

        Raises: ValueError: images that the network does not take.
        """
        try:
            if images.dtype == _FLOAT:  # some runtimes convert silently, which takes time
                return self.predict(images)
            raise TypeError("wrong type of numbers")
        except Exception as error:
            raise ValueError(self._wrong(images, error)) from error

    def _wrong(self, images: np.ndarray, error: Exception) -> str:
        wanted = f"float32 ({self.batch or 'B'}, {', '.join(map(str, self.input_shape[1:]))})"
        given = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        return f"{self.runtime} takes images {wanted}, got {given} ({reason})"


@dataclass(frozen=True)
class Request:
    """What ``load`` was asked for.

    Args:
        runtime: its name.
        version: of its package.
        threads: for one call.
        input_shape: (B, 3, H, W).
        provider: None for the runtime's own for this processor.
        fuse: makes a network of fewer layers of a network; None for none.
        channels_last: PyTorch's memory order (B, H, W, C).
        spinning: whether waiting threads keep a core busy.
        keep: where a converted network's file goes; None: nowhere.
    """

    runtime: str
    version: str
    threads: int
    input_shape: tuple[int, ...]
    provider: str | None
    fuse: Callable | None
    channels_last: bool
    spinning: bool
    keep: Path | None


def opened(start: Callable[[], tuple[Session, Predict]], shape: Sequence[int]) -> tuple[Session, Predict, float]:
    """Start a session and let it answer once: the session, its function, and the ms that both took.

    >>> session, predict, ms = opened(lambda: ("session", lambda images: images.mean((2, 3))), (1, 3, 4, 4))
    >>> session, predict(np.ones((1, 3, 4, 4), np.float32)).tolist(), ms > 0
    ('session', [[1.0, 1.0, 1.0]], True)
    """
    images = np.zeros(tuple(shape), np.float32)
    begun = time.perf_counter()
    session, predict = start()
    predict(images)
    return session, predict, 1e3 * (time.perf_counter() - begun)


def require_same(what: str, asked: object, found: object, *, runtime: str, mend: str) -> None:
    """Raise CourseError where a runtime does something else than it was asked for."""
    if asked != found:
        raise CourseError(f"{runtime} was asked for {what} {asked} and uses {found}", mend=mend)


def machines_instructions() -> str:
    """The instruction sets that decide here, for runtimes that do not tell theirs.

    >>> machines_instructions().endswith("(the machine's; the runtime does not tell)")
    True
    """
    isa = cpu_features()["isa"]
    widest = next((flag for flag in ("avx512f", "avx2", "avx", "sse4_2", "sve2", "sve", "asimd") if flag in isa), "")
    dots = [flag for flag in isa if has_dot_product([flag])]
    return f"{', '.join(filter(None, [widest, *dots])) or 'unknown'} (the machine's; the runtime does not tell)"
