"""What the learner's code prints: kept up to a cap, whatever it does to the stream."""

from __future__ import annotations

import io

MOST_CHARACTERS = 2000


class Printed(io.TextIOBase):
    """A stream that keeps the first characters and counts the rest; closing it changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.room, self.dropped = MOST_CHARACTERS, 0

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """What a stream of text says."""
        return "utf-8"

    def writable(self) -> bool:
        """Yes, also after it was closed."""
        return True

    def write(self, text: str) -> int:
        """Keep what there is room for."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        kept = text[: self.room]
        if kept:
            self.parts.append(kept)
        self.room -= len(kept)
        self.dropped += len(text) - len(kept)
        return len(text)

    def flush(self) -> None:
        """Nothing is waiting."""

    def close(self) -> None:
        """Stay open: the next line must be kept as well."""

    def text(self) -> str:
        """All that was kept, and how much was not."""
        tail = f"\n… and {self.dropped} more characters" if self.dropped else ""
        return "".join(self.parts) + tail
