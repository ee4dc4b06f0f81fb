"""Where the tensors of a network lie in one small piece of memory.

A tensor is alive from the layer that makes it to the last layer that reads it. Two tensors may share bytes if they are
never alive together. A chain needs two tensors at a time, a residual block three: its input waits for the sum.

Finding the smallest arena is a packing problem (NP-hard). Greedy by size, as TensorFlow Lite's planner does it: the
largest tensor first, each at the lowest place where no tensor that lives at the same time lies. What is found is
compared with the bound that no plan can beat: the most bytes alive at one moment.

Pisarchyk and Lee 2020, arXiv:2001.03288, section 5.2 (offset calculation, greedy by size).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Step = tuple[str, tuple[str, ...]]
"""What a layer makes, and what it reads."""


@dataclass(frozen=True)
class Block:
    """One tensor's place and time.

    Args:
        offset: of its first byte.
        size: bytes, ≥ 1.
        first: number of the step that makes it.
        last: number of the last step that reads it.
    """

    offset: int
    size: int
    first: int
    last: int

    def lives_with(self, other: Block) -> bool:
        """Whether there is a step at which both are needed."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Arena:
    """The places of all tensors.

    Args:
        blocks: by the name of their tensor.

    >>> steps = [("a", ("images",)), ("b", ("a",)), ("c", ("b",)), ("d", ("a", "c"))]
    >>> plan = plan_arena(steps, dict.fromkeys("abcd", 8))
    >>> {name: block.offset for name, block in plan.blocks.items()}, plan.size, plan.most_alive
    ({'a': 0, 'b': 8, 'c': 16, 'd': 8}, 24, 24)
    """

    blocks: Mapping[str, Block]

    @property
    def size(self) -> int:
        """Bytes of the whole arena."""
        return max((block.offset + block.size for block in self.blocks.values()), default=0)

    @property
    def most_alive(self) -> int:
        """The most bytes that are needed at one step: no arena is smaller."""
        steps = {block.first for block in self.blocks.values()}
        return max((_alive(self.blocks.values(), step) for step in steps), default=0)


def plan_arena(steps: Sequence[Step], sizes: Mapping[str, int]) -> Arena:
    """A place for each tensor with a size; others (the network's own input and output) are left to their owner.

    Args:
        steps: in the order in which they run.
        sizes: bytes by tensor, each ≥ 1 and made by one step.
    Raises: ValueError: a size below 1, or a tensor that no step makes.
    """
    made = {name: number for number, (name, _) in enumerate(steps)}
    wrong = [name for name, size in sizes.items() if size < 1 or name not in made]
    if wrong:
        raise ValueError(f"each tensor must have at least one byte and a step that makes it, not so: {wrong}")
    read = made | {name: number for number, (_, inputs) in enumerate(steps) for name in inputs}
    placed: dict[str, Block] = {}
    for name in sorted(sizes, key=lambda name: (-sizes[name], made[name])):
        wanted = Block(0, sizes[name], made[name], read[name])
        placed[name] = _lowest(wanted, [block for block in placed.values() if block.lives_with(wanted)])
    return Arena({name: placed[name] for name, _ in steps if name in placed})


def _lowest(wanted: Block, taken: list[Block]) -> Block:
    """The block at the lowest offset that overlaps none of those."""
    offset = 0
    for block in sorted(taken, key=lambda block: block.offset):
        if offset + wanted.size <= block.offset:
            break
        offset = max(offset, block.offset + block.size)
    return Block(offset, wanted.size, wanted.first, wanted.last)


def _alive(blocks: Iterable[Block], step: int) -> int:
    return sum(block.size for block in blocks if block.first <= step <= block.last)
