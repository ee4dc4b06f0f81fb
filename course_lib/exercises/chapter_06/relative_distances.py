"""06.4: the distances within a batch, in units of their mean, with a gradient that is finite."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "06.4",
    "Distances in units of their mean",
    points=3,
    trials=8,
    gradient_of=("embeddings",),
    hints=[
        "torch.cdist(e, e) is the table of all distances, with zeros on its diagonal.",
        "The diagonal compares an image with itself and does not count: the mean is over B·(B − 1) entries, not B².",
        "If the gradient is the trouble: the slope of √x at 0 is infinite. torch.cdist and .norm() give 0 there.",
    ],
    explanation="""
        $\\psi_D(i, j) = \\lVert e_i - e_j \\rVert / \\mu$ with $\\mu$ the mean over $i \\ne j$. The loss then compares
        the two tables with Huber's function: `course_lib.distillation.relational_distance_loss`.
    """,
)


@ex.reference
def relative_distances(embeddings: Tensor) -> Tensor:
    """ψ_D, (B, D) → (B, B): distances in units of their mean over the pairs i ≠ j."""
    distances = torch.cdist(embeddings, embeddings)  # (B, B); its gradient is 0, not NaN, on the diagonal
    count = len(embeddings)
    mean = distances.sum() / (count * (count - 1))  # the diagonal adds zeros
    return distances / mean


@ex.case("a triangle with the sides 3, 4, 5, whose mean is 4")
def triangle() -> tuple[Tensor]:
    return (torch.tensor([[0.0, 0], [3, 0], [3, 4]]),)


@ex.case("the page's four points on a line, where μ is 1.667")
def line() -> tuple[Tensor]:
    return (torch.tensor([[0.0], [1], [2], [3]]),)


@ex.case("two points, whose distance is the mean")
def pair() -> tuple[Tensor]:
    return (torch.tensor([[0.0, 0], [3, 4]]),)


@ex.case("features that differ by little, 1/32 and more")
def small_cloud() -> tuple[Tensor]:
    return (1 + torch.tensor([[0.0, 1], [2, 0], [0, 3], [1, 5]]) / 32,)


@ex.case("two images with the same embedding: their distance is 0, and counts in the mean")
def two_alike() -> tuple[Tensor]:
    return (torch.tensor([[0.0, 0], [3, 4], [3, 4], [6, 0]]),)


@ex.inputs
def random_cloud(rng: np.random.Generator) -> tuple[Tensor]:
    """Whole coordinates, so that squares are exact; no two points coincide, no two rows of the table sum alike."""
    count, dimensions = [(3, 2), (4, 3), (5, 3), (6, 2)][rng.integers(4)]
    while True:
        points = rng.integers(-9, 10, (count, dimensions))
        distances = np.linalg.norm(points[:, None] - points[None], axis=2)
        sums = np.sort(distances.sum(1))
        if np.diff(sums).min() > 0.02 * sums.mean() and (distances + np.eye(count)).min() > 0.5:
            return (torch.from_numpy(points).float(),)


def _off_diagonal(table: Tensor) -> Tensor:
    return table[~torch.eye(len(table), dtype=torch.bool)]


@ex.mistake(
    "The mean is missing. The student's features have another scale than the teacher's; in units of its own mean "
    "distance each network can be compared."
)
def not_divided(embeddings: Tensor) -> Tensor:
    return torch.cdist(embeddings, embeddings)


@ex.mistake(
    "Your mean counts the zeros on the diagonal: an image's distance to itself. The smaller the batch, the larger the "
    "error. Divide the sum by B·(B − 1)."
)
def diagonal_counted(embeddings: Tensor) -> Tensor:
    distances = torch.cdist(embeddings, embeddings)
    return distances / distances.mean()


@ex.mistake("You divided by the sum of all distances. Divide by their mean.")
def divided_by_sum(embeddings: Tensor) -> Tensor:
    distances = torch.cdist(embeddings, embeddings)
    return distances / distances.sum()


@ex.mistake("You divided by the largest distance: one far outlier would shrink all others. Divide by the mean.")
def divided_by_largest(embeddings: Tensor) -> Tensor:
    distances = torch.cdist(embeddings, embeddings)
    return distances / distances.max()


@ex.mistake("You divided by the median. The paper divides by the mean over the pairs i ≠ j.")
def divided_by_median(embeddings: Tensor) -> Tensor:
    distances = torch.cdist(embeddings, embeddings)
    return distances / _off_diagonal(distances).median()


@ex.mistake(
    "You summed over all i ≠ j, where each pair stands twice, and divided by the number of pairs, B·(B − 1)/2: your "
    "mean is twice too large."
)
def pairs_counted_once(embeddings: Tensor) -> Tensor:
    distances = torch.cdist(embeddings, embeddings)
    return distances / (distances.sum() / (len(embeddings) * (len(embeddings) - 1) / 2))


@ex.mistake(
    "You summed each pair once, and divided by B·(B − 1), in which each stands twice: your mean is half of the mean."
)
def half_a_table(embeddings: Tensor) -> Tensor:
    distances = torch.cdist(embeddings, embeddings)
    return distances / (distances.triu().sum() / (len(embeddings) * (len(embeddings) - 1)))


@ex.mistake("These are squared distances: far pairs would outvote all others. Take the distance itself.")
def squared(embeddings: Tensor) -> Tensor:
    squares = torch.cdist(embeddings, embeddings) ** 2
    return squares / _off_diagonal(squares).mean()


@ex.mistake("You divided by the root of the mean square. μ is the mean of the distances themselves.")
def root_mean_square(embeddings: Tensor) -> Tensor:
    distances = torch.cdist(embeddings, embeddings)
    return distances / _off_diagonal(distances).square().mean().sqrt()


@ex.mistake("These are sums of absolute differences; the paper takes Euclidean distances.")
def absolute(embeddings: Tensor) -> Tensor:
    distances = torch.cdist(embeddings, embeddings, p=1)
    return distances / _off_diagonal(distances).mean()


@ex.mistake(
    "You divided each row by its own mean: an outlier then looks as near as anyone. One mean for the whole batch."
)
def each_row_its_own(embeddings: Tensor) -> Tensor:
    distances = torch.cdist(embeddings, embeddings)
    return distances / (distances.sum(1, keepdim=True) / (len(embeddings) - 1))


@ex.mistake(
    "You divided each row by a mean of its own that also counts its zero. One mean for the whole batch, over B·(B − 1) "
    "distances."
)
def each_row_with_its_zero(embeddings: Tensor) -> Tensor:
    distances = torch.cdist(embeddings, embeddings)
    return distances / distances.mean(1, keepdim=True)


@ex.mistake(
    "You gave each embedding length 1 first: then only directions count, and ψ_D compares where the points lie."
)
def directions_only(embeddings: Tensor) -> Tensor:
    return relative_distances(F.normalize(embeddings))


@ex.mistake("That is a list of pairs. Asked for is the table (B, B), with zeros on its diagonal.")
def list_of_pairs(embeddings: Tensor) -> Tensor:
    distances = F.pdist(embeddings)
    return distances / distances.mean()


@ex.mistake(
    "The distances are right, but their gradient is NaN: on the diagonal you take the square root of 0, whose slope is "
    "infinite, times 0. Use torch.cdist or .norm(), or leave every 0 out of the root."
)
def root_of_zero(embeddings: Tensor) -> Tensor:
    distances = (embeddings[:, None] - embeddings[None]).square().sum(-1).sqrt()
    return distances / _off_diagonal(distances).mean()


@ex.mistake(
    "The 1e-8 under the root makes the gradient finite and the distances wrong: small features lie 1e-2 apart, and "
    "your diagonal says 1e-4. Use torch.cdist or .norm(), or leave every 0 out of the root."
)
def tiny_number_under_the_root(embeddings: Tensor) -> Tensor:
    distances = ((embeddings[:, None] - embeddings[None]).square().sum(-1) + 1e-8).sqrt()
    return distances / (distances.sum() / (len(embeddings) * (len(embeddings) - 1)))


@ex.mistake(
    "You kept the diagonal's zeros from the root, and two images with the same embedding bring it another 0: the "
    "gradient is NaN. Use torch.cdist or .norm(), or leave every 0 out of the root."
)
def only_the_diagonal_is_safe(embeddings: Tensor) -> Tensor:
    own = torch.eye(len(embeddings), dtype=embeddings.dtype)
    distances = ((embeddings[:, None] - embeddings[None]).square().sum(-1) + own).sqrt() - own
    return distances / _off_diagonal(distances).mean()


@ex.mistake(
    "Your mean leaves out the distances that are 0. Two images may have the same embedding: their distance counts, and "
    "only the diagonal does not."
)
def zeros_left_out(embeddings: Tensor) -> Tensor:
    distances = torch.cdist(embeddings, embeddings)
    return distances / distances[distances > 0].mean()


@ex.mistake(
    "The values are right, but μ is detached: the gradient then believes that the mean stays when a point moves, and "
    "would blow the whole cloud up or down without any effect on the loss."
)
def mean_detached(embeddings: Tensor) -> Tensor:
    distances = torch.cdist(embeddings, embeddings)
    return distances / _off_diagonal(distances).mean().detach()


@ex.mistake(
    "The table is right, but it carries no gradient: with detach(), NumPy or no_grad it cannot stand in a loss that "
    "trains a student."
)
def no_gradient(embeddings: Tensor) -> Tensor:
    return relative_distances(embeddings.detach())


@ex.alternative
def in_loops(embeddings: Tensor) -> Tensor:
    count, zero = len(embeddings), embeddings.new_zeros(())
    table = [[(embeddings[i] - embeddings[j]).norm() if i != j else zero for j in range(count)] for i in range(count)]
    mean = torch.stack([table[i][j] for i in range(count) for j in range(i)]).mean()
    return torch.stack([torch.stack(row) for row in table]) / mean


@ex.alternative
def each_pair_once_in_double(embeddings: Tensor) -> Tensor:
    pairs = F.pdist(embeddings.double())
    i, j = torch.triu_indices(len(embeddings), len(embeddings), offset=1)
    upper = torch.zeros(len(embeddings), len(embeddings), dtype=torch.double).index_put((i, j), pairs / pairs.mean())
    return upper + upper.T


@ex.alternative
def root_of_what_is_not_zero(embeddings: Tensor) -> Tensor:
    squares = (embeddings[:, None] - embeddings[None]).pow(2).sum(2)
    apart = squares > 0
    distances = torch.where(apart, torch.where(apart, squares, 1.0).sqrt(), 0.0)
    return distances / _off_diagonal(distances).mean()


@ex.alternative
def tinier_number_under_the_root(embeddings: Tensor) -> Tensor:
    distances = torch.sqrt((embeddings[:, None] - embeddings[None]).square().sum(-1) + 1e-12)
    return distances / (distances.sum() / (len(embeddings) * (len(embeddings) - 1)))
