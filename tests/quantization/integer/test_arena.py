"""Where tensors lie: never two that live together on one byte, and seldom more memory than needed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from course_lib.quantization.integer import Block, plan_arena


def random_graph(seed: int) -> tuple[list[tuple[str, tuple[str, ...]]], dict[str, int]]:
    rng = np.random.default_rng(seed)
    steps: list[tuple[str, tuple[str, ...]]] = []
    for number in range(int(rng.integers(1, 25))):
        known = ["images", *(name for name, _ in steps)]
        inputs = rng.choice(known, size=min(len(known), int(rng.integers(1, 4))), replace=False)
        steps.append((f"t{number}", tuple(map(str, inputs))))
    return steps, {name: int(rng.integers(1, 1000)) for name, _ in steps[:-1]}


def overlap(a: Block, b: Block) -> bool:
    return a.offset < b.offset + b.size and b.offset < a.offset + a.size


@pytest.mark.parametrize("seed", range(200))
def test_no_two_tensors_that_live_together_share_a_byte(seed):
    steps, sizes = random_graph(seed)
    plan = plan_arena(steps, sizes)
    made = {name: number for number, (name, _) in enumerate(steps)}
    # Lifetimes anew, by simulation: a tensor's bytes must still be its own whenever a step reads it or writes it.
    for number, (name, inputs) in enumerate(steps):
        needed = {n for n in sizes if made[n] <= number and any(n in read for _, read in steps[number:])} | {
            name,
            *inputs,
        }
        blocks = [plan.blocks[n] for n in needed if n in sizes]
        assert not any(overlap(a, b) for a, b in itertools.combinations(blocks, 2))
        assert sum(block.size for block in blocks) <= plan.most_alive <= plan.size
    assert plan.blocks.keys() == sizes.keys()
    assert all(plan.blocks[name].size == size for name, size in sizes.items())


def test_a_chain_needs_its_two_largest_neighbours():
    steps = [("a", ("images",)), ("b", ("a",)), ("c", ("b",)), ("d", ("c",))]
    plan = plan_arena(steps, {"a": 100, "b": 60, "c": 80})
    assert plan.size == plan.most_alive == 160


def test_greedy_plans_stay_near_the_bound():
    ratios = [plan.size / plan.most_alive for seed in range(200) if (plan := plan_arena(*random_graph(seed))).blocks]
    assert np.mean(ratios) < 1.05


def test_a_tensor_that_nobody_makes_or_without_bytes_is_named():
    with pytest.raises(ValueError, match=r"\['b'\]"):
        plan_arena([("a", ("images",))], {"a": 1, "b": 1})
    with pytest.raises(ValueError, match=r"\['a'\]"):
        plan_arena([("a", ("images",))], {"a": 0})


def test_no_tensor_no_memory():
    plan = plan_arena([("a", ("images",))], {})
    assert (plan.size, plan.most_alive) == (0, 0)
