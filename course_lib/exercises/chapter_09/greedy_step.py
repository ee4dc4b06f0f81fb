"""09.2: which layer gives the next channel: the least loss for each MAC that is saved."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Counts = Sequence[int]
Curves = Sequence[Sequence[float]]
Question = tuple[list[int], int, int, list[int], list[list[float]]]

ex = Exercise(
    "09.2",
    "The greedy rule's next step",
    points=3,
    hints=[
        "A channel of layer l is an output of layer l and an input of the next one. Without it both get cheaper.",
        "Layer l saves positions[l] · (its inputs now); the next one positions[l + 1] · (its outputs now), and behind "
        "the last layer the classifier saves ``classes``. The first layer's inputs are ``inputs``.",
        "The price is (losses[l][widths[l] − 1] − losses[l][widths[l]]) / saved. Layers of one channel are out.",
    ],
    explanation="""
        The loss is a difference: what the *next* channel costs, not what all of them have cost. And what it saves
        depends on how wide the neighbours are now: it must be counted anew after each step. The library's
        `greedy_allocation` does so for any network, and adds that a later channel is never read as cheaper than an
        earlier one of its layer.
    """,
)


@ex.reference
def greedy_step(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    """The layer whose next channel costs the least loss for each MAC saved; each keeps at least 1 channel.

    Layer l does positions[l] · (its inputs) · widths[l] MACs; losses[l][k] is the loss when it alone keeps k channels.
    """
    return _cheapest(
        {i: _step(losses, widths, i) / _saved(widths, inputs, classes, positions, i) for i in _wide(widths)}
    )


def _saved(widths: Sequence[int], inputs: int, classes: int, positions: Sequence[int], layer: int) -> int:
    """MACs of one output channel of the layer, and of one input channel of what follows."""
    before = inputs if layer == 0 else widths[layer - 1]
    last = layer == len(widths) - 1
    return positions[layer] * before + (classes if last else positions[layer + 1] * widths[layer + 1])


@ex.solution
def in_full(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    """The layer whose next channel costs the least loss for each MAC saved; each keeps at least 1 channel."""
    chain = [inputs, *widths, classes]  # channels in front of layer 0 … behind the last
    per_channel = [*positions, 1]  # the classifier has one position
    prices = {}
    for layer, width in enumerate(widths):
        if width > 1:
            saved = per_channel[layer] * chain[layer] + per_channel[layer + 1] * chain[layer + 2]
            prices[layer] = (losses[layer][width - 1] - losses[layer][width]) / saved
    return min(prices, key=lambda layer: prices[layer])


def _curves(*drops: Sequence[float] | np.ndarray) -> list[list[float]]:
    """losses[l][k] at k = 0 … size, from what the 1st, 2nd … channel removed costs."""
    return [np.concatenate([np.cumsum(drop)[::-1], [0.0]]).round(6).tolist() for drop in drops]


@ex.case("two layers by hand: 0.10 for 10·3 + 5·2 MACs, or 0.05 for 5·4 + 1·6")
def by_hand() -> Question:
    return [4, 2], 3, 6, [10, 5], _curves([0.10, 0.2, 0.3, 0.4], [0.05, 0.5])


@ex.case("the cheapest loss is not the cheapest price")
def loss_alone() -> Question:
    return [4, 4, 4], 3, 10, [100, 40, 10], _curves([0.06, 0.1, 0.2, 0.4], [0.03, 0.1, 0.2, 0.4], [0.02, 0.1, 0.2, 0.4])


@ex.case("the largest saving is not the cheapest price")
def saving_alone() -> Question:
    return [4, 4, 4], 3, 10, [100, 40, 10], _curves([0.6, 0.7, 0.8, 0.9], [0.3, 0.4, 0.5, 0.6], [0.01, 0.1, 0.2, 0.4])


@ex.case("the next layer's saving decides: layer 0 has few inputs, but layer 1 is wide")
def next_layer() -> Question:
    return [6, 40, 6], 1, 10, [20, 20, 4], _curves([0.02] * 6, [0.02] * 40, [0.02] * 6)


@ex.case("the layer's own saving decides: layer 2 has many inputs, and few classes follow")
def own_layer() -> Question:
    return [3, 40, 6], 3, 2, [10, 8, 20], _curves([0.5] * 3, [0.05] * 40, [0.06] * 6)


@ex.case("the classifier behind the last layer is saved, too")
def classifier() -> Question:
    return [5, 5], 3, 200, [9, 9], _curves([0.02] * 5, [0.04] * 5)


@ex.case("layers that were cut before: the loss of the next channel, not of the first one nor of all so far")
def cut_before() -> Question:
    return (
        [4, 4, 4],
        4,
        40,
        [10, 10, 10],
        _curves([0.3, 0.02, 0.4, 0.5, 0.6], [0.01, 0.2, 0.3, 0.4, 0.5], [0.05, 0.1, 0.2, 0.3]),
    )


@ex.case("a neighbour that was cut before: layer 0 saves less than it did in the whole network")
def cut_neighbour() -> Question:
    return [6, 2, 6], 3, 10, [20, 20, 4], _curves([0.1] * 6, [0.1] * 40, [0.1] * 6)


@ex.case("a layer of one channel is out, whatever it would save")
def one_channel() -> Question:
    return [1, 4, 3], 3, 5, [500, 20, 10], _curves([0.0001], [0.2, 0.3, 0.4, 0.5], [0.1, 0.2, 0.3])


@ex.case("a channel that is worth less than nothing: without it the network is better")
def below_zero() -> Question:
    return [4, 4], 3, 6, [10, 12], _curves([0.02, 0.1, 0.2, 0.3], [-0.08, 0.1, 0.2, 0.3])


@ex.case("a channel that costs something and two gifts: the gift that gives more for each MAC comes first")
def two_gifts() -> Question:
    return [4, 4, 4], 3, 6, [10, 12, 12], _curves([0.05, 0.1, 0.2, 0.3], [-0.01, 0.1, 0.2, 0.3], [-0.06, 0.1, 0.2, 0.3])


@ex.case("many positions, then one: the next layer counts its own")
def own_positions() -> Question:
    return [4, 4], 1, 6, [100, 1], _curves([0.1, 0.2, 0.3, 0.4], [0.005, 0.1, 0.2, 0.3])


@ex.inputs
def random_chain(rng: np.random.Generator) -> Question:
    count = int(rng.integers(3, 5))
    sizes = rng.integers(4, 9, count)
    widths = [int(rng.integers(2, size + 1)) for size in sizes]
    losses = _curves(*[np.sort(rng.choice(np.arange(1, 60), size, replace=False)) / 100 for size in sizes])
    return (
        widths,
        3,
        int(rng.integers(5, 20)),
        [int(p) for p in rng.choice(np.arange(2, 60), count, replace=False)],
        losses,
    )


def _cheapest(prices: dict[int, float]) -> int:
    return min(prices, key=lambda layer: prices[layer])


def _step(losses: Sequence[Sequence[float]], widths: Sequence[int], layer: int) -> float:
    return losses[layer][widths[layer] - 1] - losses[layer][widths[layer]]


def _wide(widths: Sequence[int]) -> list[int]:
    return [layer for layer, width in enumerate(widths) if width > 1]


@ex.mistake("You took the channel of the least loss. Divide by the MACs that it saves: a cheap one may save nothing.")
def least_loss(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    return _cheapest({layer: _step(losses, widths, layer) for layer in _wide(widths)})


@ex.mistake("You took the channel that saves most. Weigh its loss against it.")
def most_saved(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    return _cheapest({layer: -_saved(widths, inputs, classes, positions, layer) for layer in _wide(widths)})


@ex.mistake("Your saving stops at the layer itself. The next layer, too, reads one channel less.")
def next_forgotten(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    chain = [inputs, *widths]
    return _cheapest({i: _step(losses, widths, i) / (positions[i] * chain[i]) for i in _wide(widths)})


@ex.mistake("Behind the last layer the classifier gets cheaper, too: by ``classes`` MACs a channel.")
def classifier_forgotten(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    return _cheapest({i: _step(losses, widths, i) / _saved(widths, inputs, 0, positions, i) for i in _wide(widths)})


@ex.mistake("You divide the loss so far by the saving. The price is of the next channel: a difference of two losses.")
def loss_so_far(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    saved = {i: _saved(widths, inputs, classes, positions, i) for i in _wide(widths)}
    return _cheapest({i: losses[i][widths[i] - 1] / saved[i] for i in saved})


@ex.mistake(
    "You count what is saved in the whole network. Layers have been cut since: take the widths as they are now."
)
def widths_at_first(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    whole = [len(curve) - 1 for curve in losses]
    return _cheapest(
        {i: _step(losses, widths, i) / _saved(whole, inputs, classes, positions, i) for i in _wide(widths)}
    )


@ex.mistake("Your losses are those of the first channel removed. Layers have been cut since: look at widths[l].")
def loss_at_first(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    whole = [len(curve) - 1 for curve in losses]
    return _cheapest(
        {i: _step(losses, whole, i) / _saved(widths, inputs, classes, positions, i) for i in _wide(widths)}
    )


@ex.mistake("You took the most expensive channel: the smallest loss for each MAC is wanted.")
def dearest(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    return _cheapest(
        {i: -_step(losses, widths, i) / _saved(widths, inputs, classes, positions, i) for i in _wide(widths)}
    )


@ex.mistake("You would take a layer's last channel. Nothing would pass it: layers of width 1 are out.")
def empties_a_layer(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    return _cheapest(
        {i: _step(losses, widths, i) / _saved(widths, inputs, classes, positions, i) for i in range(len(widths))}
    )


@ex.mistake("You took the absolute value of the loss. A negative one is a gift: it comes first.")
def without_sign(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    return _cheapest(
        {i: abs(_step(losses, widths, i)) / _saved(widths, inputs, classes, positions, i) for i in _wide(widths)}
    )


@ex.mistake(
    "You took the largest of MACs / loss. A channel that costs less than nothing comes out last there, not first."
)
def largest_quotient(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    saved = {i: _saved(widths, inputs, classes, positions, i) for i in _wide(widths)}
    return _cheapest({i: -saved[i] / _step(losses, widths, i) for i in saved})


@ex.mistake("The next layer saves positions[l + 1] · its outputs: it has its own positions, not those of layer l.")
def own_positions_twice(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    chain, found = [inputs, *widths], {}
    for i in _wide(widths):
        behind = classes if i == len(widths) - 1 else positions[i] * widths[i + 1]
        found[i] = _step(losses, widths, i) / (positions[i] * chain[i] + behind)
    return _cheapest(found)


@ex.mistake(
    "The classifier has one position: a channel of the last layer saves ``classes`` there, not positions times."
)
def classifier_everywhere(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    outputs = classes * positions[-1]
    return _cheapest(
        {i: _step(losses, widths, i) / _saved(widths, inputs, outputs, positions, i) for i in _wide(widths)}
    )


@ex.mistake("You returned the new widths. Asked is the number of the layer.")
def new_widths(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> list[int]:
    chosen = greedy_step(widths, inputs, classes, positions, losses)
    return [width - (layer == chosen) for layer, width in enumerate(widths)]


def _total(widths: Sequence[int], inputs: int, classes: int, positions: Sequence[int]) -> int:
    chain = [inputs, *widths]
    return sum(p * a * b for p, a, b in zip(positions, chain, widths, strict=False)) + widths[-1] * classes


@ex.alternative
def by_counting_twice(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> int:
    best, chosen = float("inf"), -1
    for layer in range(len(widths)):
        if widths[layer] == 1:
            continue
        smaller = list(widths)
        smaller[layer] -= 1
        saved = _total(widths, inputs, classes, positions) - _total(smaller, inputs, classes, positions)
        price = (losses[layer][smaller[layer]] - losses[layer][widths[layer]]) / saved
        if price < best:
            best, chosen = price, layer
    return chosen


@ex.alternative
def with_numpy(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> np.int64:
    before, after = np.array([inputs, *widths[:-1]]), np.array([*widths[1:], classes])
    saved = np.array(positions) * before + np.array([*positions[1:], 1]) * after
    step = np.array([curve[w - 1] - curve[w] if w > 1 else np.inf for curve, w in zip(losses, widths, strict=True)])
    return np.argmin(step / saved)


@ex.alternative
def with_torch(widths: Counts, inputs: int, classes: int, positions: Counts, losses: Curves) -> Tensor:
    channels = torch.tensor([inputs, *widths, classes])
    per_channel = torch.tensor([*positions, 1])
    saved = per_channel[:-1] * channels[:-2] + per_channel[1:] * channels[2:]
    step = torch.tensor([c[w - 1] - c[w] for c, w in zip(losses, widths, strict=True)], dtype=torch.float64)
    return (step / saved).masked_fill(torch.tensor(widths) == 1, torch.inf).argmin()
