"""Graphs as plain data, as exercise 15.3 gives them: one entry a node."""

from __future__ import annotations

import numpy as np

Node = tuple[str, str, str, tuple[str, ...]]  # name, kind, module, inputs
Nodes = tuple[Node, ...]
Question = tuple[Nodes, tuple[str, ...], frozenset[str]]
Pairs = list[tuple[str, str]]

X: Node = ("x", "input", "x", ())
EVAL: frozenset[str] = frozenset()


def chain(*kinds: str) -> Nodes:
    """x, then one node of each kind, each reading the one before."""
    nodes = [X]
    for number, kind in enumerate(kinds, 1):
        nodes.append((f"{kind}{number}", kind, f"m{number}", (nodes[-1][0],)))
    return tuple(nodes)


def random_graph(rng: np.random.Generator) -> Question:
    """Five to eight nodes, each of which reads some of the three before it; some modules are called twice."""
    nodes: list[Node] = [X]
    for number in range(1, int(rng.integers(5, 9))):
        kind = str(rng.choice(["conv", "conv", "norm", "norm", "relu", "sum"]))
        count = 2 if kind == "sum" else 1
        recent = [node[0] for node in nodes[-3:]]
        inputs = tuple(str(rng.choice(recent)) for _ in range(count))
        same = [node[2] for node in nodes if node[1] == kind and kind in ("conv", "norm")]
        module = str(rng.choice(same)) if same and rng.random() < 0.2 else f"m{number}"
        nodes.append((f"{kind}{number}", kind, module, inputs))
    norms = [node[2] for node in nodes if node[1] == "norm" and rng.random() < 0.2]
    return tuple(nodes), (nodes[-1][0],), frozenset(norms)
