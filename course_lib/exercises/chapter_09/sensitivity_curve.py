"""09.1: one layer loses units, the rest stays whole: accuracy at each ratio."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, Tensor, Tensor, Tensor, list[float]]

ex = Exercise(
    "09.1",
    "The sensitivity curve of one layer",
    points=2,
    hints=[
        "The units of the layer are the rows of w1: rank them by their L2 norm, w1.norm(dim=1), the largest first.",
        "For each ratio count = max(1, round((1 − ratio) · H)) units stay: rows of w1, and the same columns of w2.",
        "The answers are (relu(inputs @ w1[kept].T) @ w2[:, kept].T).argmax(1); the score is how many equal labels.",
    ],
    explanation="""
        Each point of the curve starts from the whole layer, and nothing is trained in between: the curve says what is
        lost at once. It is measured on validation images, because the choice that follows must not have seen the test
        part. The library's `sensitivity` does the same for every group of channels, by cutting the network.
    """,
)


@ex.reference
def sensitivity_curve(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    """Accuracy (len(ratios),) of relu(inputs @ w1.T) @ w2.T when the layer w1 alone loses each ratio of its units."""
    order = w1.norm(dim=1).argsort(descending=True, stable=True)
    scores = []
    for ratio in ratios:
        kept = order[: max(1, round((1 - ratio) * len(w1)))]
        logits = torch.relu(inputs @ w1[kept].T) @ w2[:, kept].T  # (N, C)
        scores.append((logits.argmax(1) == labels).double().mean())
    return torch.stack(scores)


def _layers(seed: int, units: int, inputs: int, classes: int, images: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Random layers whose units differ much in norm, images, and the whole network's answers, some of them spoilt."""
    rng = np.random.default_rng(seed)
    sizes = rng.permutation(np.geomspace(0.25, 4.0, units))[:, None]
    w1 = rng.normal(size=(units, inputs))
    w1 = sizes * w1 / np.linalg.norm(w1, axis=1, keepdims=True)
    w2 = rng.normal(size=(classes, units)) * rng.permutation(np.geomspace(0.5, 2.0, units))
    x = rng.normal(size=(images, inputs))
    answers = (np.maximum(x @ w1.T, 0) @ w2.T).argmax(1)
    labels = np.where(rng.random(images) < 0.15, (answers + 1) % classes, answers)
    floats = [torch.tensor(values, dtype=torch.float32) for values in (w1, w2, x)]
    return floats[0], floats[1], floats[2], torch.tensor(labels, dtype=torch.int64)


@ex.case("three units by hand: norms 3, 1 and 2; half of three is 1.5, and round(1.5) = 2 stay")
def by_hand() -> Question:
    w1 = torch.tensor([[3.0, 0.0], [0.0, 1.0], [-2.0, 0.0]])
    w2 = torch.tensor([[1.0, 0.0, 0.0], [0.0, 4.0, 0.0], [0.0, 0.0, 1.0]])
    inputs = torch.tensor([[1.0, 0.2], [-1.0, 0.1], [0.1, 1.0], [0.5, 2.0]])
    return w1, w2, inputs, torch.tensor([0, 2, 1, 1]), [0.0, 0.5]


@ex.case("two units: L2 norms √8 and √9.25, so the second stays; by L1 and by the sum of weights the first would")
def norms_part() -> Question:
    w1 = torch.tensor([[2.0, 2.0], [3.0, 0.5]])
    return w1, torch.eye(2), torch.tensor([[1.0, 0.1], [0.9, 0.2], [0.1, 1.0]]), torch.tensor([1, 1, 1]), [0.0, 0.5]


@ex.case("two units: L2 norms 4.1 and 3, so the first stays; the second has the largest single weight")
def largest_weight() -> Question:
    w1 = torch.tensor([[2.9, 2.9], [3.0, 0.0]])
    return w1, torch.eye(2), torch.tensor([[1.0, 0.1], [0.9, 0.2], [0.1, 1.0]]), torch.tensor([0, 0, 0]), [0.0, 0.5]


@ex.case("half of five units is 2.5, and Python's round takes a half to the even neighbour: two stay")
def half_to_even() -> Question:
    return (*_layers(20, 5, 4, 4, 48), [0.5])


@ex.case("a ratio that would leave no unit: one stays")
def one_stays() -> Question:
    return (*_layers(3, 4, 3, 3, 24), [0.5, 0.95])


@ex.case("eight units, rising ratios: each point starts from the whole layer")
def rising() -> Question:
    return (*_layers(5, 8, 5, 4, 40), [0.0, 0.25, 0.5, 0.75])


@ex.case("falling ratios: the order of the ratios is the order of the scores")
def falling() -> Question:
    return (*_layers(8, 8, 5, 4, 40), [0.8, 0.4, 0.1])


@ex.case("as many inputs as units: the units are the rows of w1")
def square() -> Question:
    return (*_layers(11, 6, 6, 5, 48), [0.3, 0.5])


@ex.case("as many classes as units: w2 loses columns")
def square_answers() -> Question:
    return (*_layers(13, 6, 4, 6, 48), [0.35, 0.5, 0.7])


@ex.inputs
def random_layers(rng: np.random.Generator) -> Question:
    units = int(rng.integers(6, 12))
    layers = _layers(int(rng.integers(1 << 30)), units, int(rng.integers(3, 7)), int(rng.integers(3, 6)), 60)
    return (*layers, [0.1, 0.4, 0.6, 0.85])


def _scores(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, order: Tensor, counts: Sequence[int]) -> Tensor:
    found = []
    for count in counts:
        kept = order[:count]
        logits = torch.relu(inputs @ w1[kept].T) @ w2[:, kept].T
        found.append((logits.argmax(1) == labels).double().mean())
    return torch.stack(found)


def _counts(w1: Tensor, ratios: Sequence[float]) -> list[int]:
    return [max(1, round((1 - ratio) * len(w1))) for ratio in ratios]


def _order(w1: Tensor) -> Tensor:
    return w1.norm(dim=1).argsort(descending=True, stable=True)


@ex.mistake("You keep the units of the smallest norm. They go first.")
def smallest(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    return _scores(w1, w2, inputs, labels, w1.norm(dim=1).argsort(stable=True), _counts(w1, ratios))


@ex.mistake("You read the ratio as what stays. A pruning ratio is the fraction removed: (1 − ratio) · H units stay.")
def ratio_kept(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    return _scores(w1, w2, inputs, labels, _order(w1), [max(1, round(ratio * len(w1))) for ratio in ratios])


@ex.mistake("You round the number of units down. Round to the nearest: round((1 − ratio) · H).")
def rounded_down(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    return _scores(w1, w2, inputs, labels, _order(w1), [max(1, int((1 - ratio) * len(w1))) for ratio in ratios])


@ex.mistake("At a high ratio no unit is left, and the network gives one answer to everything. Keep at least one.")
def none_left(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    return _scores(w1, w2, inputs, labels, _order(w1), [round((1 - ratio) * len(w1)) for ratio in ratios])


@ex.mistake(
    "Each of your points starts from the layer that the point before left: the ratios multiply. A point of the curve "
    "starts from the whole layer."
)
def one_after_the_other(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    counts, left = [], len(w1)
    for ratio in ratios:
        left = max(1, round((1 - ratio) * left))
        counts.append(left)
    return _scores(w1, w2, inputs, labels, _order(w1), counts)


@ex.mistake("You ranked the units by the weights that read them, the columns of w2. Rank the layer's own: rows of w1.")
def by_the_next_layer(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    return _scores(w1, w2, inputs, labels, _order(w2.T), _counts(w1, ratios))


@ex.mistake("You ranked the units by the sum of their weights: −2 and 2 cancel out. A norm squares first.")
def signed_sums(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    return _scores(w1, w2, inputs, labels, w1.sum(1).argsort(descending=True, stable=True), _counts(w1, ratios))


@ex.mistake("You ranked the units by their L1 norm, the sum of absolute weights. The L2 norm squares first.")
def l1(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    order = w1.abs().sum(1).argsort(descending=True, stable=True)
    return _scores(w1, w2, inputs, labels, order, _counts(w1, ratios))


@ex.mistake("You ranked the units by their largest weight. The L2 norm takes all weights, squared.")
def largest(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    order = w1.abs().amax(1).argsort(descending=True, stable=True)
    return _scores(w1, w2, inputs, labels, order, _counts(w1, ratios))


@ex.mistake("You round a half up. Python's round takes it to the even neighbour: round(2.5) is 2.")
def half_up(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    return _scores(w1, w2, inputs, labels, _order(w1), [max(1, int((1 - r) * len(w1) + 0.5)) for r in ratios])


@ex.mistake("You did not rank the units: the first rows stay, whatever their norms.")
def not_ranked(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    return _scores(w1, w2, inputs, labels, torch.arange(len(w1)), _counts(w1, ratios))


@ex.mistake("Between the two layers a ReLU is missing.")
def no_relu(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    order, found = _order(w1), []
    for count in _counts(w1, ratios):
        kept = order[:count]
        found.append(((inputs @ w1[kept].T @ w2[:, kept].T).argmax(1) == labels).double().mean())
    return torch.stack(found)


@ex.mistake("You returned the points lost. Asked is the accuracy that is left.")
def losses(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    left = _scores(w1, w2, inputs, labels, _order(w1), [len(w1), *_counts(w1, ratios)])
    return left[0] - left[1:]


@ex.mistake("You returned the fraction of wrong answers. Asked is the accuracy.")
def errors(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    return 1 - _scores(w1, w2, inputs, labels, _order(w1), _counts(w1, ratios))


@ex.mistake("You returned per cent. Asked is a fraction, from 0 to 1.")
def per_cent(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    return 100 * _scores(w1, w2, inputs, labels, _order(w1), _counts(w1, ratios))


@ex.mistake("You counted the right answers. Divide by the number of images.")
def counted(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> Tensor:
    return len(labels) * _scores(w1, w2, inputs, labels, _order(w1), _counts(w1, ratios))


@ex.alternative
def by_zeroing(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> list[float]:
    ranks = _order(w1).argsort()
    found = []
    for ratio in ratios:
        mask = ranks < max(1, round((1 - ratio) * len(w1)))
        hidden = torch.relu(inputs @ w1.T) * mask
        found.append(((hidden @ w2.T).argmax(1) == labels).float().mean().item())
    return found


@ex.alternative
def with_numpy(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> np.ndarray:
    a, b, x = w1.numpy(), w2.numpy(), inputs.numpy()
    order = np.argsort(-np.square(a).sum(1), kind="stable")
    found = []
    for ratio in ratios:
        kept = np.sort(order[: max(1, round((1 - ratio) * len(a)))])
        found.append(np.mean((np.maximum(x @ a[kept].T, 0) @ b[:, kept].T).argmax(1) == labels.numpy()))
    return np.array(found)


@ex.alternative
def image_by_image(w1: Tensor, w2: Tensor, inputs: Tensor, labels: Tensor, ratios: Sequence[float]) -> list[float]:
    units = sorted(range(len(w1)), key=lambda unit: (-w1[unit].norm().item(), unit))
    found = []
    for ratio in ratios:
        kept = units[: max(round((1 - ratio) * len(units)), 1)]
        right = 0
        for x, label in zip(inputs, labels.tolist(), strict=True):
            hidden = {unit: max(0.0, float(w1[unit] @ x)) for unit in kept}
            logits = [sum(float(row[unit]) * value for unit, value in hidden.items()) for row in w2]
            right += logits.index(max(logits)) == label
        found.append(right / len(labels))
    return found
