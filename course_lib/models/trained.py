"""Where a learner's own networks lie, and which network is meant: theirs, or the one that the course ships.

``course train`` writes into ``trained/<set>_<8 digits of the split's fingerprint>``. So it overwrites nothing that
ships, signs of another file get another folder, and ``git checkout`` of what ships discards nobody's work. Whoever
needs the network of a split asks ``load_trained``: the learner's own comes first, since they trained it to be used.
The chapters load what ships (``checkpoints.load``): their numbers are its numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from course_lib.data import Splits
from course_lib.data.gtsrb import OFFICIAL_TEST
from course_lib.errors import CourseError
from course_lib.models import checkpoints
from course_lib.storage.files import CHECKPOINTS, TRAINED


def own_folder(key: str, splits: Splits) -> Path:
    """The folder of the learner's own networks for this split; whether it is there or not.

    Args: key: of the set, such as "rendered".
    """
    return TRAINED / f"{key}_{checkpoints.fingerprint(splits)[:8]}"


def folder_of(name: str, splits: Splits) -> Path:
    """The folder of the network ``<role>_<set>`` for this split: the learner's own, or what ships.

    GTSRB's official test part judges networks that were trained without it at hand, by ``--all-tracks``: the folder of
    another split counts, too, if its networks cannot have seen that test part.
    """
    key = name.partition("_")[2]
    others = sorted(TRAINED.glob(f"{key}_????????")) if splits.test.split == OFFICIAL_TEST else []
    for folder in (own_folder(key, splits), *others):
        if checkpoints.exists(name, folder=folder) and (folder not in others or _unseen(name, splits, folder)):
            return folder
    return CHECKPOINTS


def _unseen(name: str, splits: Splits, folder: Path) -> bool:
    try:
        checkpoints.load_for_split(name, splits, folder=folder)
    except CourseError:
        return False
    return True


def whose(folder: Path) -> str:
    """Whose networks lie in a folder that ``folder_of`` gave: "your own" or "shipped"."""
    return "your own" if folder.parent == TRAINED else "shipped"


def load_trained(name: str, splits: Splits) -> tuple[nn.Module, dict[str, Any], Path]:
    """The network ``<role>_<set>`` for this split, its card, and the folder that it comes from.

    Raises: CourseError: as ``checkpoints.load_for_split``.
    """
    folder = folder_of(name, splits)
    return *checkpoints.load_for_split(name, splits, folder=folder), folder
