"""07.5: of every m neighbours in a row the n largest stay."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.compare import as_mask
from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, int, int]

ex = Exercise(
    "07.5",
    "n of every m",
    points=2,
    compare=as_mask,
    hints=[
        "Cut each row into groups of m neighbours: weights.abs().view(rows, -1, m).",
        "Rank within each group: argsort along the last axis, descending and stable, and take the first n.",
        "mask.scatter_(-1, best, True) sets the places that ``best`` names along the last axis.",
    ],
    explanation="""
        With 2 of 4, a row of a matrix has half of its weights and two bits a weight that say where they were: that is
        what sparse tensor cores read, and why the zeros of this pattern can save time where scattered zeros cannot. The
        price: the pattern may take a large weight out of a good group and keep a small one in a poor group. The
        library's `n_m_mask` also groups the input channels of a convolution.
    """,
)


@ex.reference
def n_m_mask_of(weights: Tensor, n: int, m: int) -> Tensor:
    """Boolean (rows, columns), True = kept; m divides columns; of equal magnitudes the earlier stays."""
    groups = weights.abs().view(len(weights), -1, m)
    best = groups.argsort(dim=-1, descending=True, stable=True)[..., :n]
    mask = torch.zeros(groups.shape, dtype=torch.bool)
    return mask.scatter_(-1, best, True).view(weights.shape)


@ex.case("one group, 2 of 4, by hand; the largest weight is negative")
def one_group() -> Question:
    return torch.tensor([[0.1, -0.9, 0.4, 0.3]]), 2, 4


@ex.case("two groups in a row: every one gives the same number, whatever its size")
def poor_and_rich() -> Question:
    return torch.tensor([[0.9, -0.8, 0.7, 0.6, 0.04, 0.01, -0.03, 0.02]]), 2, 4


@ex.case("zeros among the n: the earlier of equal zeros stays")
def zeros_kept() -> Question:
    return torch.tensor([[0.0, 0.0, 0.0, 0.5], [0.0, 0.0, 0.0, 0.0]]), 2, 4


@ex.case("two rows: groups lie within a row")
def two_rows() -> Question:
    return torch.tensor([[0.9, 0.1, -0.2, 0.8], [0.3, -0.7, 0.6, 0.5]]), 2, 4


@ex.case("1 of 4: n is not always 2")
def one_of_four() -> Question:
    return torch.tensor([[0.8, 0.2, -0.9, 0.3, 0.1, 0.6, -0.7, 0.5]]), 1, 4


@ex.case("3 of 4: n kept, not n removed")
def three_of_four() -> Question:
    return torch.tensor([[0.1, -0.5, 0.4, 0.3]]), 3, 4


@ex.case("1 of 2: m is not always 4")
def one_of_two() -> Question:
    return torch.tensor([[0.9, 0.8, 0.1, -0.2]]), 1, 2


@ex.case("equal magnitudes: exactly n stay, the earlier ones")
def ties() -> Question:
    return torch.tensor([[0.5, -0.5, 0.5, 0.5], [0.1, 0.6, -0.3, 0.3]]), 2, 4


@ex.case("four rows: a group lies along a row, not along a column")
def tall() -> Question:
    return (
        torch.tensor([[1.0, 9.0, -2.0, 3.0], [8.0, 7.0, 6.0, 5.0], [3.0, -1.0, 2.0, 9.0], [4.0, 5.0, 1.0, 2.0]]),
        2,
        4,
    )


@ex.inputs
def random_matrix(rng: np.random.Generator) -> Question:
    n, m = ((2, 4), (1, 4), (3, 4), (1, 2))[int(rng.integers(4))]
    shape = (4, m * int(rng.integers(2, 4)))
    sizes = rng.permutation(np.arange(1, shape[0] * shape[1] + 1)).reshape(shape) / 16  # no two alike
    return torch.tensor(sizes * rng.choice([-1, 1], shape), dtype=torch.float32), n, m


@ex.mistake("Your mask says True where a weight is removed. Asked is True where it is kept.")
def inverted(weights: Tensor, n: int, m: int) -> Tensor:
    return ~n_m_mask_of(weights, n, m)


@ex.mistake("You kept the smallest of each group. The largest magnitudes stay.")
def smallest(weights: Tensor, n: int, m: int) -> Tensor:
    best = weights.abs().view(len(weights), -1, m).argsort(dim=-1, stable=True)[..., :n]
    return (
        torch.zeros(len(weights), weights.shape[1] // m, m, dtype=torch.bool).scatter_(-1, best, True).view_as(weights)
    )


@ex.mistake("You ranked the weights with their sign: −0.9 is a large weight. Rank weights.abs().")
def signed(weights: Tensor, n: int, m: int) -> Tensor:
    return n_m_mask_of(weights - weights.min(), n, m)


@ex.mistake("You removed n of every m. n is how many stay.")
def n_removed(weights: Tensor, n: int, m: int) -> Tensor:
    return n_m_mask_of(weights, m - n, m)


@ex.mistake("You kept 2 of 4, whatever n and m are. 2:4 is one pattern among others: use n and m.")
def always_two_of_four(weights: Tensor, n: int, m: int) -> Tensor:
    return n_m_mask_of(weights, 2, 4) if weights.shape[1] % 4 == 0 else n_m_mask_of(weights, 1, 2)


@ex.mistake(
    "You ranked whole rows: the fraction is right, but a rich group keeps more than n and a poor one less. Every "
    "group of m keeps exactly n."
)
def row_by_row(weights: Tensor, n: int, m: int) -> Tensor:
    return n_m_mask_of(weights, n * weights.shape[1] // m, weights.shape[1])


@ex.mistake("You ranked all weights together: the fraction is right, the pattern is not. Every group keeps exactly n.")
def all_together(weights: Tensor, n: int, m: int) -> Tensor:
    return n_m_mask_of(weights.view(1, -1), n * weights.numel() // m, weights.numel()).view_as(weights)


@ex.mistake(
    "Your groups take every columns/m-th weight. A group is m neighbours: view(rows, -1, m), with m as the last axis."
)
def strided(weights: Tensor, n: int, m: int) -> Tensor:
    columns = weights.shape[1]
    apart = weights.view(len(weights), m, -1).transpose(1, 2).reshape(len(weights), columns)
    mask = n_m_mask_of(apart, n, m)
    return mask.view(len(weights), -1, m).transpose(1, 2).reshape(weights.shape)


@ex.mistake("Your groups lie along the columns of the matrix. m neighbours of one row are a group.")
def along_columns(weights: Tensor, n: int, m: int) -> Tensor:
    if len(weights) % m:
        return n_m_mask_of(weights, n, m)
    return n_m_mask_of(weights.T.contiguous(), n, m).T


@ex.mistake(
    "Where magnitudes are equal you keep more than n: a comparison with the n-th largest keeps all that equal it. Take "
    "n ranks."
)
def at_least_the_nth(weights: Tensor, n: int, m: int) -> Tensor:
    groups = weights.abs().view(len(weights), -1, m)
    return (groups >= groups.topk(n, dim=-1).values[..., -1:]).view(weights.shape)


@ex.mistake("Of equal magnitudes you keep the later ones. A stable descending sort keeps the earlier ones first.")
def later_stay(weights: Tensor, n: int, m: int) -> Tensor:
    return n_m_mask_of(weights.flip(1), n, m).flip(1)


@ex.mistake("The mask is right, but still cut into groups: give it the shape of the weights.")
def still_in_groups(weights: Tensor, n: int, m: int) -> Tensor:
    return n_m_mask_of(weights, n, m).view(len(weights), -1, m)


@ex.mistake(
    "The right places, but as numbers. A mask is Boolean, so that ~mask says which weights go: begin with "
    "torch.zeros(…, dtype=torch.bool), or end with .bool()."
)
def as_floats(weights: Tensor, n: int, m: int) -> Tensor:
    return n_m_mask_of(weights, n, m).float()


@ex.mistake("You returned the pruned weights. Asked is the mask.")
def pruned_weights(weights: Tensor, n: int, m: int) -> Tensor:
    return weights * n_m_mask_of(weights, n, m)


@ex.alternative
def with_loops(weights: Tensor, n: int, m: int) -> list[list[bool]]:
    mask = []
    for row in weights.abs().tolist():
        kept = [False] * len(row)
        for start in range(0, len(row), m):
            for i in sorted(range(start, start + m), key=lambda i, row=row: (-row[i], i))[:n]:
                kept[i] = True
        mask.append(kept)
    return mask


@ex.alternative
def with_numpy(weights: Tensor, n: int, m: int) -> np.ndarray:
    groups = np.abs(weights.numpy()).reshape(-1, m)
    mask = np.zeros(groups.shape, bool)
    np.put_along_axis(mask, np.argsort(-groups, axis=1, kind="stable")[:, :n], True, axis=1)
    return mask.reshape(tuple(weights.shape))


@ex.alternative
def by_counting_the_better_ones(weights: Tensor, n: int, m: int) -> Tensor:
    groups = weights.abs().view(len(weights), -1, m)
    larger = (groups.unsqueeze(-1) < groups.unsqueeze(-2)).sum(-1)
    equal = groups.unsqueeze(-1) == groups.unsqueeze(-2)
    earlier = (equal & torch.ones(m, m).tril(-1).bool()).sum(-1)
    return (larger + earlier < n).view(weights.shape)
