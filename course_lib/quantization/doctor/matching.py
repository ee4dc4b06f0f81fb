"""Which part of one file is which part of another: by kind, shape of the weights, and what it reads.

Names do not help in general: exporters invent them, and shortened files have none. Order helps only along a chain: two
branches may be written in either order. So each part is looked for among those that read the same parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from course_lib.quantization.doctor.parts import Part


class Unmatched(ValueError):
    """Two files have other layers; the message says where."""


def aligned(reference: Sequence[Part], suspect: Sequence[Part]) -> list[Part]:
    """The suspect's parts in the reference's order, their sources counted in it.

    Where several would do (branches of one shape that read one tensor), the one of the same name is taken, else the one
    whose weights are most like the reference's.

    Raises: Unmatched: the files have other parts; it says where.
    """
    if len(reference) != len(suspect):
        raise Unmatched(f"the reference has {len(reference)} layers, the suspect {len(suspect)}")
    place: dict[int, int] = {}  # of the suspect's part, by its own place
    found: list[Part] = []
    for wanted in reference:
        rest = [i for i in range(len(suspect)) if i not in place]
        fitting = [i for i in rest if _same(wanted, suspect[i], place)]
        if not fitting:
            other = suspect[rest[0]]
            raise Unmatched(f"{_described(wanted)} reads other layers or is another one than {_described(other)}")
        best = max(fitting, key=lambda i: (suspect[i].name == wanted.name, _likeness(wanted, suspect[i])))
        part = suspect[best]
        place[best] = len(found)
        found.append(replace(part, sources=tuple(place[source] for source in part.sources)))
    return found


def _same(one: Part, other: Part, place: dict[int, int]) -> bool:
    if one.kind != other.kind or _shape(one) != _shape(other):
        return False
    return {place.get(source) for source in other.sources} == set(one.sources)


def _shape(part: Part) -> tuple[int, ...]:
    return () if part.weight is None else part.weight.values.shape


def _likeness(one: Part, other: Part) -> float:
    """Cosine of both weights."""
    if one.weight is None or other.weight is None:
        return 0.0
    a, b = one.weight.values.astype(np.float64), other.weight.values.astype(np.float64)
    return float((a * b).sum() / max(1e-30, np.sqrt((a * a).sum() * (b * b).sum())))


def _described(part: Part) -> str:
    return f"{part.name} ({' × '.join(map(str, _shape(part)))} {part.kind})".replace("( ", "(")
