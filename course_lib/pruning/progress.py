"""The bar of what takes longer than a few seconds; off unless asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def shown(items: Iterable[T], total: int, unit: str, progress: bool) -> Iterator[T]:
    """The items, and a bar beside them that counts them.

    Args:
        items: passed on one by one.
        total: how many there are.
        unit: the word for one of them.
        progress: whether a bar is shown.

    >>> list(shown("abc", 3, "letter", False))
    ['a', 'b', 'c']
    """
    from tqdm.auto import tqdm  # loads widgets, which an import of the library must not

    yield from tqdm(items, total=total, unit=unit, disable=not progress, leave=False)
