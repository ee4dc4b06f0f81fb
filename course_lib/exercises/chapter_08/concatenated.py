"""08.4: where the kept channels of several branches stand behind their concatenation."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from course_lib.exercises.engine.compare import as_indices
from course_lib.exercises.engine.exercise import Exercise

Question = tuple[list[int], list[list[int]]]

ex = Exercise(
    "08.4",
    "Channels behind a concatenation",
    points=2,
    compare=as_indices,
    hints=[
        "Branch 0 stands first, then branch 1, …: where does each begin on the axis before anything is cut?",
        "Branch b begins at sizes[0] + … + sizes[b − 1], the sizes before the cut.",
        "Keep a running offset; for each branch append offset + c for c in its kept channels, then add its size.",
    ],
    explanation="""
        The layer behind the concatenation has its inputs at the old places, so the offsets are those of the whole
        branches. Forgotten, or counted in kept channels, they raise no error: the shapes fit, and the layer reads other
        channels than it was trained for. The library carries a number for each channel through the network instead.
    """,
)


@ex.reference
def concatenated_inputs(sizes: list[int], keeps: list[list[int]]) -> list[int]:
    """The inputs of the layer behind ``torch.cat(branches, 1)`` that stay, ascending."""
    offsets = [0, *itertools.accumulate(sizes)]
    return [offset + c for offset, keep in zip(offsets, keeps, strict=False) for c in keep]


@ex.case("two branches by hand, 4 and 3 channels: 0, 2 and 4 + 1")
def by_hand() -> Question:
    return [4, 3], [[0, 2], [1]]


@ex.case("three branches of different sizes")
def three_branches() -> Question:
    return [2, 5, 3], [[1], [0, 4], [0, 2]]


@ex.case("a branch that loses nothing in front of one that loses")
def whole_first() -> Question:
    return [3, 4], [[0, 1, 2], [1, 3]]


@ex.case("a branch of which nothing is left still has had its place")
def empty_branch() -> Question:
    return [3, 2, 4], [[0, 2], [], [1, 3]]


@ex.case("one branch alone")
def one_branch() -> Question:
    return [5], [[1, 2, 4]]


@ex.inputs
def random_branches(rng: np.random.Generator) -> Question:
    sizes = [int(n) for n in rng.integers(2, 7, int(rng.integers(2, 5)))]
    keeps = [sorted(rng.choice(n, int(rng.integers(1, n)), replace=False).tolist()) for n in sizes]
    return sizes, keeps


def _shifted(offsets: list[int], keeps: list[list[int]]) -> list[int]:
    return [offset + c for offset, keep in zip(offsets, keeps, strict=False) for c in keep]


@ex.mistake(
    "The offset is missing: each branch counts from 0, and the layer reads the first branch's channels twice. No shape "
    "tells you."
)
def no_offset(sizes: list[int], keeps: list[list[int]]) -> list[int]:
    return [c for keep in keeps for c in keep]


@ex.mistake(
    "Your offset counts the kept channels of the branches before. The layer's inputs stand at their old places: count "
    "the whole branches."
)
def kept_offset(sizes: list[int], keeps: list[list[int]]) -> list[int]:
    return _shifted([0, *itertools.accumulate(map(len, keeps))], keeps)


@ex.mistake("Your offset holds the branch's own size, too: the first branch begins at 0.")
def own_size(sizes: list[int], keeps: list[list[int]]) -> list[int]:
    return _shifted(list(itertools.accumulate(sizes)), keeps)


@ex.mistake("You shift branch b by b times the first branch's size. Branches differ: add up their sizes.")
def first_size_only(sizes: list[int], keeps: list[list[int]]) -> list[int]:
    return _shifted([b * sizes[0] for b in range(len(sizes))], keeps)


@ex.mistake("You shift by the size of the branch just before. All branches before count.")
def last_size_only(sizes: list[int], keeps: list[list[int]]) -> list[int]:
    return _shifted([0, *sizes[:-1]], keeps)


@ex.mistake("You skipped the place of a branch of which nothing is left. Its inputs go, and those behind stay put.")
def empty_skipped(sizes: list[int], keeps: list[list[int]]) -> list[int]:
    kept = [(n, keep) for n, keep in zip(sizes, keeps, strict=True) if keep]
    return _shifted([0, *itertools.accumulate(n for n, _ in kept)], [keep for _, keep in kept])


@ex.mistake("You returned the inputs that go. Asked are those that stay.")
def those_that_go(sizes: list[int], keeps: list[list[int]]) -> list[int]:
    kept = set(concatenated_inputs(sizes, keeps))
    return [position for position in range(sum(sizes)) if position not in kept]


@ex.mistake("The last branch came first. torch.cat writes the branches in the order of the list.")
def turned_round(sizes: list[int], keeps: list[list[int]]) -> list[int]:
    return concatenated_inputs(sizes[::-1], keeps[::-1])


@ex.mistake("You returned a list for each branch. Asked is one list of inputs: weight[:, inputs].")
def nested(sizes: list[int], keeps: list[list[int]]) -> list[list[int]]:
    offsets = [0, *itertools.accumulate(sizes)]
    return [[offset + c for c in keep] for offset, keep in zip(offsets, keeps, strict=False)]


@ex.mistake("You counted the kept channels anew, from 0. That is where they stand after the cut, not before.")
def counted_anew(sizes: list[int], keeps: list[list[int]]) -> list[int]:
    return list(range(sum(map(len, keeps))))


@ex.mistake("Inputs count from 0: branch 0 begins there.")
def from_one(sizes: list[int], keeps: list[list[int]]) -> list[int]:
    return [position + 1 for position in concatenated_inputs(sizes, keeps)]


@ex.alternative
def with_torch(sizes: list[int], keeps: list[list[int]]) -> torch.Tensor:
    branches = torch.arange(sum(sizes)).split(sizes)
    return torch.cat([branch[keep] for branch, keep in zip(branches, keeps, strict=True)])


@ex.alternative
def with_a_mask(sizes: list[int], keeps: list[list[int]]) -> np.ndarray:
    masks = [np.isin(np.arange(size), keep) for size, keep in zip(sizes, keeps, strict=True)]
    return np.flatnonzero(np.concatenate(masks))


@ex.alternative
def with_a_running_offset(sizes: list[int], keeps: list[list[int]]) -> list[int]:
    found, offset = [], 0
    for size, keep in zip(sizes, keeps, strict=True):
        for c in keep:
            found.append(c + offset)
        offset += size
    return found
