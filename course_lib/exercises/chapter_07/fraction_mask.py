"""07.1: a mask that removes an exact fraction, also where weights are equal."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.compare import as_mask
from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, float]

ex = Exercise(
    "07.1",
    "A mask that removes an exact fraction",
    points=2,
    compare=as_mask,
    hints=[
        "Count first: n = weights.numel(), and round(pruning_ratio * n) of them go. Round the number that goes, not "
        "the number that stays.",
        "Rank all magnitudes in one list: weights.abs().flatten().argsort(descending=True, stable=True). A stable sort "
        "leaves equal ones in their order, so the earlier ones rank higher.",
        "Begin with a mask of False, set the first n − removed places of the ranking to True, and give it the shape of "
        "the weights.",
    ],
    explanation="""
        A rank is exact where a threshold is not: of equal magnitudes a threshold takes all or none. What is rounded is
        the number removed; `1 - 0.9` is `0.09999999999999998` in binary, and a count taken from it may be off by one.
        The library's `fraction_mask` does the same for any scores.
    """,
)


@ex.reference
def mask_of_fraction(weights: Tensor, pruning_ratio: float) -> Tensor:
    """Boolean, the weights' shape, True = kept; of equal magnitudes the earlier stays."""
    count = weights.numel()
    kept = count - round(pruning_ratio * count)
    order = weights.abs().flatten().argsort(descending=True, stable=True)
    mask = torch.zeros(count, dtype=torch.bool)
    mask[order[:kept]] = True
    return mask.view(weights.shape)


@ex.case("four weights by hand, the largest of them negative")
def by_hand() -> Question:
    return torch.tensor([0.1, -0.8, 0.4, -0.2]), 0.5


@ex.case("five weights, of which round(0.9 · 5) = round(4.5) = 4 go")
def one_of_five() -> Question:
    return torch.tensor([0.3, -0.5, 0.2, 0.7, -0.1]), 0.9


@ex.case("seven weights, of which round(0.5 · 7) = round(3.5) = 4 go")
def half_of_seven() -> Question:
    return torch.tensor([0.7, -0.6, 0.5, -0.4, 0.3, -0.2, 0.1]), 0.5


@ex.case("equal magnitudes across the cut: the earlier ones stay")
def ties() -> Question:
    return torch.tensor([0.9, -0.3, 0.3, 0.3, -0.3, 0.1]), 0.5


@ex.case("all magnitudes equal")
def all_equal() -> Question:
    return torch.tensor([0.2, -0.2, 0.2, 0.2, -0.2]), 0.4


@ex.case("one ranking for the whole matrix, not one for each row or column")
def unequal_rows() -> Question:
    return torch.tensor([[0.9, 0.8, -0.7, 0.6], [0.5, -0.05, 0.02, 0.01]]), 0.5


@ex.case("equal magnitudes in two rows: earlier means row by row, as flatten() goes")
def ties_in_two_rows() -> Question:
    return torch.tensor([[0.9, 0.2, 0.2], [-0.2, 0.1, 0.8]]), 0.5


@ex.case("nothing is removed, not even a weight that is 0")
def nothing() -> Question:
    return torch.tensor([[0.0, 0.4], [-0.1, 0.0]]), 0.0


@ex.inputs
def random_weights(rng: np.random.Generator) -> Question:
    """Magnitudes from a small grid, so that some are equal; the cut falls within ties or not."""
    shape = tuple(int(n) for n in rng.permutation([2, 3, 4])[:2])
    weights = rng.integers(1, 7, shape) * rng.choice([-0.125, 0.125], shape)
    return torch.tensor(weights, dtype=torch.float32), float(rng.choice([0.25, 0.4, 0.6, 0.75]))


@ex.mistake("Your mask says True where a weight is removed. Asked is True where it is kept.")
def inverted(weights: Tensor, pruning_ratio: float) -> Tensor:
    return ~mask_of_fraction(weights, pruning_ratio)


@ex.mistake("You removed the largest magnitudes. The smallest go.")
def wrong_side(weights: Tensor, pruning_ratio: float) -> Tensor:
    order = weights.abs().flatten().argsort(stable=True)
    mask = torch.zeros(weights.numel(), dtype=torch.bool)
    mask[order[: weights.numel() - round(pruning_ratio * weights.numel())]] = True
    return mask.view(weights.shape)


@ex.mistake("You ranked the weights with their sign: −0.8 is a large weight. Rank weights.abs().")
def signed(weights: Tensor, pruning_ratio: float) -> Tensor:
    return mask_of_fraction(weights - weights.min(), pruning_ratio)


@ex.mistake(
    "Your threshold removes every weight that equals it: of equal magnitudes all fall, and more than the fraction goes "
    "(with a ratio of 0 even the zeros). Keep a number of ranks, not what lies above a value."
)
def above_the_quantile(weights: Tensor, pruning_ratio: float) -> Tensor:
    return weights.abs() > _last_removed(weights, pruning_ratio)


@ex.mistake(
    "Your threshold keeps every weight that equals it: of equal magnitudes all stay, and less than the fraction goes. "
    "Keep a number of ranks, not what lies above a value."
)
def from_the_quantile(weights: Tensor, pruning_ratio: float) -> Tensor:
    kept = weights.numel() - round(pruning_ratio * weights.numel())
    return weights.abs() >= weights.abs().flatten().sort(descending=True).values[kept - 1]


@ex.mistake(
    "torch.quantile interpolates between two magnitudes: where the fraction falls between two weights, and where some "
    "are equal, it removes another number than round(pruning_ratio · n)."
)
def torch_quantile(weights: Tensor, pruning_ratio: float) -> Tensor:
    return weights.abs() >= weights.abs().quantile(pruning_ratio)


@ex.mistake("Of equal magnitudes you keep the later ones. A stable descending sort keeps the earlier ones first.")
def later_stay(weights: Tensor, pruning_ratio: float) -> Tensor:
    order = weights.abs().flatten().argsort(stable=True)
    mask = torch.ones(weights.numel(), dtype=torch.bool)
    mask[order[: round(pruning_ratio * weights.numel())]] = False
    return mask.view(weights.shape)


@ex.mistake("int() cuts off: of 3.5 weights it removes 3. round(pruning_ratio * n) weights go.")
def cut_off(weights: Tensor, pruning_ratio: float) -> Tensor:
    return _keeping(weights, weights.numel() - int(pruning_ratio * weights.numel()))


@ex.mistake(
    "You rounded up the number that goes. round(4.5) is 4: Python rounds a half to the even number, and so does the "
    "library."
)
def rounded_up(weights: Tensor, pruning_ratio: float) -> Tensor:
    return _keeping(weights, weights.numel() - int(np.ceil(pruning_ratio * weights.numel())))


@ex.mistake(
    "You rounded the number that is kept: (1 − 0.9) · 5 is 0.4999999999999999 in binary and becomes 0, so that all "
    "five weights go. Round the number that goes."
)
def kept_rounded(weights: Tensor, pruning_ratio: float) -> Tensor:
    return _keeping(weights, round((1 - pruning_ratio) * weights.numel()))


@ex.mistake("You ranked each row by itself. The fraction is one of the whole tensor: flatten it first.")
def row_by_row(weights: Tensor, pruning_ratio: float) -> Tensor:
    if weights.ndim < 2:
        return mask_of_fraction(weights, pruning_ratio)
    return torch.stack([mask_of_fraction(row, pruning_ratio) for row in weights])


@ex.mistake(
    "You counted column by column: of equal magnitudes the earlier one is the one that comes first in flatten(), row "
    "after row."
)
def column_by_column(weights: Tensor, pruning_ratio: float) -> Tensor:
    if weights.ndim < 2:
        return mask_of_fraction(weights, pruning_ratio)
    return mask_of_fraction(weights.T.contiguous(), pruning_ratio).T


@ex.mistake("The mask is right, but flat: give it the shape of the weights, with .view(weights.shape).")
def flat(weights: Tensor, pruning_ratio: float) -> Tensor:
    return mask_of_fraction(weights, pruning_ratio).flatten()


@ex.mistake(
    "The right places, but as numbers. A mask is Boolean, so that ~mask says which weights go: begin with "
    "torch.zeros(…, dtype=torch.bool), or end with .bool()."
)
def as_floats(weights: Tensor, pruning_ratio: float) -> Tensor:
    return mask_of_fraction(weights, pruning_ratio).float()


@ex.mistake("You returned the pruned weights. Asked is the mask: the network keeps it, to prune again after each step.")
def pruned_weights(weights: Tensor, pruning_ratio: float) -> Tensor:
    return weights * mask_of_fraction(weights, pruning_ratio)


def _last_removed(weights: Tensor, pruning_ratio: float) -> Tensor:
    """The largest magnitude that must go; 0 where none must."""
    removed = round(pruning_ratio * weights.numel())
    return weights.abs().flatten().sort().values[removed - 1] if removed else torch.tensor(0.0)


def _keeping(weights: Tensor, kept: int) -> Tensor:
    order = weights.abs().flatten().argsort(descending=True, stable=True)
    mask = torch.zeros(weights.numel(), dtype=torch.bool)
    mask[order[:kept]] = True
    return mask.view(weights.shape)


@ex.alternative
def with_numpy(weights: Tensor, pruning_ratio: float) -> np.ndarray:
    magnitudes = np.abs(weights.numpy()).ravel()
    removed = round(pruning_ratio * magnitudes.size)
    mask = np.ones(magnitudes.size, bool)
    mask[np.argsort(-magnitudes, kind="stable")[magnitudes.size - removed :]] = False
    return mask.reshape(tuple(weights.shape))


@ex.alternative
def with_lists(weights: Tensor, pruning_ratio: float) -> Tensor:
    values = weights.abs().flatten().tolist()
    ranked = sorted(range(len(values)), key=lambda i: (-values[i], i))
    kept = set(ranked[: len(values) - round(pruning_ratio * len(values))])
    return torch.tensor([i in kept for i in range(len(values))]).reshape(weights.shape)


@ex.alternative
def from_the_back(weights: Tensor, pruning_ratio: float) -> Tensor:
    backwards = weights.abs().flatten().flip(0)
    mask = torch.ones_like(backwards, dtype=torch.bool)
    mask[backwards.argsort(stable=True)[: round(pruning_ratio * len(backwards))]] = False
    return mask.flip(0).reshape(weights.shape)
