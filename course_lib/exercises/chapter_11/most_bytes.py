"""11.6: how many bytes of tensors a network needs at once."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[list[int], list[list[int]]]

ex = Exercise(
    "11.6",
    "The bytes that are needed at once",
    points=2,
    hints=[
        "First find for each tensor the last step that reads it: walk through reads and write the step down, over what "
        "stood there.",
        "In step i there must be room for tensor i, which is being written, and for every earlier tensor that this "
        "step or a later one reads.",
        "The answer is the largest such sum over all steps.",
    ],
    explanation="""
        A chain needs its largest pair of neighbours; a residual block holds its input as well until the addition. No
        plan of fixed places can do with fewer bytes; whether one reaches it is a matter of packing. Where the fullest
        step lies early, at many pixels, a smaller input or an early stride saves more RAM than fewer weights do.
    """,
)


@ex.reference
def most_bytes(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    """The most bytes that are needed at once.

    Tensor 0 is the network's input; step i = 1, 2, … writes tensor i, of sizes[i] bytes, and reads the tensors
    reads[i − 1] meanwhile. A tensor is needed from the step that writes it to the last step that reads it; one that no
    step reads, such as the output, in the step that writes it and in no other.
    """
    last = dict.fromkeys(range(len(sizes)), 0)
    for step, inputs in enumerate(reads, start=1):
        last.update(dict.fromkeys(inputs, step))
    return max(
        sizes[step] + sum(sizes[tensor] for tensor in range(step) if last[tensor] >= step)
        for step in range(1, len(sizes))
    )


@ex.case("by hand, a chain: 3 + 8, 8 + 5, 5 + 1")
def chain() -> Question:
    return [3, 8, 5, 1], [[0], [1], [2]]


@ex.case("the input is the largest tensor")
def large_input() -> Question:
    return [20, 8, 9, 1], [[0], [1], [2]]


@ex.case("a residual block: tensor 1 is needed until step 4 adds it")
def residual() -> Question:
    return [3, 8, 8, 8, 8, 2], [[0], [1], [2], [1, 3], [4]]


@ex.case("a wide step inside a block: tensor 1 is held meanwhile")
def wide_step() -> Question:
    return [3, 8, 8, 20, 2, 2], [[0], [1], [2], [1, 3], [4]]


@ex.case("the largest tensors are far apart in time")
def far_apart() -> Question:
    return [2, 9, 3, 4, 9, 1], [[0], [1], [2], [3], [4]]


@ex.case("two blocks: the first one's input is not held in the second")
def two_blocks() -> Question:
    return [2, 6, 7, 6, 9, 10, 9, 1], [[0], [1], [1, 2], [3], [4], [4, 5], [6]]


@ex.case("a shortcut with a convolution of its own, 2, reads the input again")
def shortcut() -> Question:
    return [10, 4, 5, 6, 4], [[0], [0], [1], [2, 3]]


@ex.case("a tensor added to itself is there once")
def to_itself() -> Question:
    return [4, 7, 7, 2], [[0], [1, 1], [2]]


@ex.case("nobody reads tensor 1: its place is free after step 1")
def never_read() -> Question:
    return [3, 9, 4, 8, 1], [[0], [0], [2], [3]]


@ex.case("one step")
def one_step() -> Question:
    return [5, 12], [[0]]


@ex.inputs
def random_network(rng: np.random.Generator) -> Question:
    steps = int(rng.integers(4, 8))
    sizes = [int(size) for size in rng.integers(1, 30, steps + 1)]
    reads = [[step - 1] for step in range(1, steps + 1)]
    for _ in range(2):
        late = int(rng.integers(3, steps + 1))
        early = int(rng.integers(0, late - 1))
        if early not in reads[late - 1]:
            reads[late - 1].append(early)
    return sizes, reads


@ex.mistake("You added up all tensors. A tensor that no later step reads gives its place back.")
def all_of_them(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    return sum(sizes)


@ex.mistake("You took the largest tensor. While it is written, its input must be there, too.")
def largest(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    return max(sizes)


@ex.mistake("You took the two largest tensors. They may never be needed in the same step.")
def two_largest(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    return sum(sorted(sizes)[-2:])


@ex.mistake("You took the largest two neighbours. Across a residual block its input is needed as well.")
def neighbours(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    return max(a + b for a, b in itertools.pairwise(sizes))


@ex.mistake("You count what a step reads and writes. A tensor that only a *later* step reads must be held, too.")
def this_step_alone(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    return max(sizes[i] + sum(sizes[t] for t in set(inputs)) for i, inputs in enumerate(reads, start=1))


@ex.mistake("A step's inputs give their place back before it writes. It reads them until its output is complete.")
def freed_too_early(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    last = {tensor: step for step, inputs in enumerate(reads, start=1) for tensor in inputs}
    steps = range(len(sizes))
    return max(sizes[step] + sum(sizes[t] for t in range(step) if last.get(t, 0) > step) for step in steps)


@ex.mistake("What the step writes is not counted: its place must be there, too.")
def without_output(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    last = {tensor: step for step, inputs in enumerate(reads, start=1) for tensor in inputs}
    steps = range(1, len(sizes))
    return max(sum(sizes[t] for t in range(step) if last.get(t, 0) >= step) for step in steps)


@ex.mistake("A tensor is given back after the first step that reads it. Another one may still need it.")
def first_reader(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    first: dict[int, int] = {}
    for step, inputs in enumerate(reads, start=1):
        for tensor in inputs:
            first.setdefault(tensor, step)
    needed = [
        {step, *reads[step - 1], *(t for t in range(step) if first.get(t, 0) >= step)} for step in range(1, len(sizes))
    ]
    return max(sum(sizes[t] for t in tensors) for tensors in needed)


@ex.mistake("The network's input is not counted. It needs a place, too.")
def without_input(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    return most_bytes([0, *sizes[1:]], reads)


@ex.mistake("You hold a tensor that several steps read to the very end. After its last reader it is not needed.")
def never_freed(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    several = [t for t in range(len(sizes)) if sum(t in inputs for inputs in reads) > 1]
    return most_bytes(sizes, [*reads[:-1], [*reads[-1], *several]])


@ex.mistake("You hold a tensor that no step reads to the end. It is needed only in the step that writes it.")
def unread_held(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    unread = [t for t in range(len(sizes) - 1) if not any(t in inputs for inputs in reads)]
    return most_bytes(sizes, [*reads[:-1], [*reads[-1], *unread]])


@ex.mistake("You leave tensors that no step reads out. While they are written they need a place all the same.")
def unread_left_out(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    used = {t for inputs in reads for t in inputs}
    return most_bytes([size if t in used else 0 for t, size in enumerate(sizes)], reads)


@ex.mistake("You count a tensor once for every time that it is read in a step. It is there once.")
def counted_twice(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    twice = [sizes[i] + sum(sizes[t] for t in inputs) for i, inputs in enumerate(reads, start=1)]
    return max(
        most_bytes(sizes, reads),
        *(t for t, inputs in zip(twice, reads, strict=True) if len(set(inputs)) < len(inputs)),
        0,
    )


@ex.alternative
def forwards(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    held, most = {0}, 0
    for i, size in enumerate(sizes[1:]):
        most = max(most, size + sum(sizes[t] for t in held))
        held = {t for t in {*held, i + 1} if any(t in inputs for inputs in reads[i + 1 :])}
    return most


@ex.alternative
def backwards(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> int:
    needed: set[int] = set()
    most = 0
    for step in range(len(sizes) - 1, 0, -1):
        needed = (needed | set(reads[step - 1])) - {step}
        most = max(most, sizes[step] + sum(sizes[t] for t in needed))
    return most


@ex.alternative
def with_a_table(sizes: Sequence[int], reads: Sequence[Sequence[int]]) -> np.int64:
    alive = np.zeros((len(sizes), len(sizes)), bool)  # step × tensor
    for step, inputs in enumerate(reads, start=1):
        alive[step, step] = True
        for tensor in inputs:
            alive[max(tensor, 1) : step + 1, tensor] = True
    return (alive * np.array(sizes)).sum(1).max()
