"""The rows that exercise 17.4 judges: one that may claim speed, and changes that each ask for one sentence."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def board_row(**changes: Any) -> Row:
    """A row that may claim speed, but for what is changed."""
    row = {
        "error": None,
        "asked": "CPU",
        "providers": ["CPU"],
        "outputs_agree": True,
        "before": [1_000_000, 1_000_000],
        "after": [1_000_000, 1_000_000],
    }
    return row | changes


CASES: dict[str, tuple[Row, bool]] = {
    "a row that may claim speed": (board_row(), False),
    "the provider asked for ran, another one stands behind it": (
        board_row(asked="CUDA", providers=["CUDA", "CPU"]),
        False,
    ),
    "another provider ran first, the one asked for is among them": (
        board_row(asked="CUDA", providers=["CPU", "CUDA"]),
        False,
    ),
    "a third provider ran first, neither the CPU nor the one asked for": (
        board_row(asked="CUDA", providers=["TensorRT", "CUDA", "CPU"]),
        False,
    ),
    "no provider at all": (board_row(providers=[]), False),
    "outputs that disagree": (board_row(outputs_agree=False), False),
    "outputs that nobody compared": (board_row(outputs_agree=None), False),
    "an emulated machine": (board_row(), True),
    "an error, even one without words; nothing ran": (
        board_row(error="", providers=[], outputs_agree=None, before=[], after=[]),
        False,
    ),
    "the second core became slower": (board_row(after=[1_000_000, 900_000]), False),
    "the first core became faster": (board_row(after=[1_100_000, 1_000_000]), False),
    "one core up, one down: their mean is the same": (board_row(after=[1_100_000, 900_000]), False),
    "two cores that exchanged their clocks: each of them changed": (
        board_row(before=[1_000_000, 1_400_000], after=[1_400_000, 1_000_000]),
        False,
    ),
    "clocks within 2 %: 1.9 % lower and 1.9 % higher": (board_row(after=[981_000, 1_019_000]), False),
    "2.1 % lower": (board_row(after=[1_000_000, 979_000]), False),
    "1.99 % of the clock before, more than 2 % of the one after": (board_row(after=[1_000_000, 980_100]), False),
    "2.02 % of the clock before, less than 2 % of the one after": (board_row(after=[1_000_000, 1_020_200]), False),
    "a low clock that moved by 2.9 %, 3,000 kHz": (board_row(before=[102_000], after=[105_000]), False),
    "a high clock that moved by 1.6 %, 30,000 kHz": (board_row(before=[1_900_000], after=[1_930_000]), False),
    "a core that was switched off": (board_row(after=[1_000_000]), False),
    "a core that was switched on": (board_row(after=[1_000_000, 1_000_000, 1_000_000]), False),
    "clocks that the system does not tell, and one that it tells only afterwards": (
        board_row(before=[None, None], after=[None, 1_200_000]),
        False,
    ),
    "no clock known before, the second core's changed": (
        board_row(before=[None, 1_000_000], after=[None, 1_200_000]),
        False,
    ),
    "a system without any clocks": (board_row(before=[], after=[]), False),
    "an emulator, and outputs that disagree; no error": (board_row(outputs_agree=False), True),
    "all five": (board_row(error="killed", asked="CUDA", outputs_agree=False, after=[500_000, 500_000]), True),
}
"""What a case asks -> the row, and whether the machine is emulated."""
