"""Which cell of one version is which cell of another: by id, by exercise, by source, by words.

``match`` runs rounds from sure to likely; what one round has paired is out of the next.

1. *id*: JupyterLab keeps it when a cell is edited or moved, publishing keeps it as long as the text stays.
2. *exercise and function*, then *function*, then *exercise*: an exercise that got another number is found by its
   function, one whose function was renamed by its number.
3. *source*, for files whose ids were lost.
4. *words*: a text that was rewritten shares most of its words with the old one. Dice's coefficient over the words of
   both, 2·|A ∩ B| / (|A| + |B|), at least ``SIMILAR``; the most similar pair first.
"""

from __future__ import annotations

import bisect
import itertools
import re
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence

from course_lib.workbook.cells import Cell

SIMILAR = 0.5
_WORD = re.compile(r"\w+")


def match(old: Sequence[Cell], new: Sequence[Cell]) -> dict[int, int]:
    """Position in ``old`` -> position in ``new`` of the same cell; each position at most once."""
    pairs: dict[int, int] = {}
    for key in (_id, _exercise_and_name, _name, _exercise, _source):
        _pair_equal(old, new, key, pairs)
    _pair_similar(old, new, pairs)
    return pairs


def _id(cell: Cell) -> Hashable:
    return cell.id or None


def _exercise_and_name(cell: Cell) -> Hashable:
    return (cell.exercise, cell.name) if cell.exercise and cell.name else None


def _name(cell: Cell) -> Hashable:
    return cell.name or None


def _exercise(cell: Cell) -> Hashable:
    return cell.exercise or None


def _source(cell: Cell) -> Hashable:
    return (cell.kind, cell.source.rstrip("\n")) if cell.source and cell.source.strip() else None


def _pair_equal(
    old: Sequence[Cell], new: Sequence[Cell], key: Callable[[Cell], Hashable], pairs: dict[int, int]
) -> None:
    """Pair what has equal keys, in order; a key of None pairs with nothing."""
    taken = set(pairs.values())
    free: dict[Hashable, list[int]] = {}
    for number, cell in enumerate(new):
        if number not in taken and key(cell) is not None:
            free.setdefault(key(cell), []).append(number)
    for number, cell in enumerate(old):
        if number not in pairs and free.get(key(cell)):
            pairs[number] = free[key(cell)].pop(0)


def _pair_similar(old: Sequence[Cell], new: Sequence[Cell], pairs: dict[int, int]) -> None:
    taken = set(pairs.values())
    left = {i: _words(cell) for i, cell in enumerate(old) if i not in pairs and cell.source}
    right = {j: _words(cell) for j, cell in enumerate(new) if j not in taken and cell.source}
    found = []
    for (i, a), (j, b) in itertools.product(left.items(), right.items()):
        if old[i].kind == new[j].kind and (alike := similarity(a, b)) >= SIMILAR:
            found.append((-alike, abs(i / len(old) - j / len(new)), i, j))
    for _, _, i, j in sorted(found):
        if i not in pairs and j not in taken:
            pairs[i] = j
            taken.add(j)


def _words(cell: Cell) -> Counter[str]:
    return Counter(_WORD.findall(cell.source or ""))


def similarity(a: Mapping[str, int], b: Mapping[str, int]) -> float:
    """Dice's coefficient of two bags of words, in [0, 1]; 0 if both are empty.

    >>> similarity(Counter("abcd"), Counter("abce"))
    0.75
    """
    total = sum(a.values()) + sum(b.values())
    return 2 * sum((Counter(a) & Counter(b)).values()) / total if total else 0.0


def unmoved(positions: Sequence[int]) -> set[int]:
    """The values of a longest rising subsequence: of cells in a new order the most that kept their old one.

    >>> sorted(unmoved([0, 3, 1, 2, 4]))
    [0, 1, 2, 4]
    """
    ends: list[int] = []  # the smallest end of a rising subsequence of each length
    before: dict[int, int | None] = {}
    for position in positions:
        place = bisect.bisect_left(ends, position)
        before[position] = ends[place - 1] if place else None
        ends[place : place + 1] = [position]
    kept: set[int] = set()
    last = ends[-1] if ends else None
    while last is not None:
        kept.add(last)
        last = before[last]
    return kept
