"""How long-running commands tell what they do: a line with the seconds since the start."""

from __future__ import annotations

import time
from collections.abc import Callable


def speaker() -> Callable[[str], None]:
    """say(line): prints it behind the seconds since now, at once."""
    started = time.perf_counter()

    def say(line: str) -> None:
        print(f"[{time.perf_counter() - started:6.1f} s] {line}", flush=True)

    return say
