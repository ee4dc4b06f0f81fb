"""The progress of ``course kit run`` on a terminal: a bar for the bytes that travel and for the networks that ran."""

from __future__ import annotations

import sys
from types import TracebackType

from tqdm import tqdm

from course_lib.deploy.edge import Progress


class ProgressBar:
    """Draws each ``Progress`` on standard error; a context manager whose value is called with them."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None
        self._stage = ""

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def __call__(self, progress: Progress) -> None:
        """Show where the run is."""
        if not progress.total:
            tqdm.write(f"{progress.stage}: {progress.text}", file=sys.stderr)
            return
        if self._bar is None or self._stage != progress.stage or self._bar.total != progress.total:
            self._close()
            bytes_ = progress.stage == "copy"
            unit = "B" if bytes_ else " networks"
            self._bar = tqdm(total=progress.total, file=sys.stderr, desc=progress.stage, unit=unit, unit_scale=bytes_)
            self._stage = progress.stage
        self._bar.set_postfix_str(progress.text, refresh=False)
        self._bar.update(progress.done - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None
