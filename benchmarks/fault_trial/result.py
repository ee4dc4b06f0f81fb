"""One fault and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

ANSWERED, UNCLEAR, WRONG, TRACEBACK = "answered well", "unclear", "silently wrong", "traceback"


@dataclass(frozen=True)
class Result:
    """What came of one fault.

    Args:
        group: the table it stands in.
        fault: what was done.
        outcome: ANSWERED (one clear line, or healed, or right all the same), UNCLEAR (another line or status than was
            expected), WRONG (nothing was said, and what is there is not right) or TRACEBACK.
        found: what was seen where the outcome is not ANSWERED.
    """

    group: str
    fault: str
    outcome: str
    found: str = ""
