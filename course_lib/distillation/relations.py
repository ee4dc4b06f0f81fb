"""What a student can be told about how its teacher's inner layers relate the images of a batch to one another.

Where ``features`` compares layers place by place, these forget places and channels: layers of any shape will do.

* **Relational distillation** (Park et al. 2019): forgets images, keeps pairs and triples: how far apart two
  embeddings lie, in units of the mean distance, and the angle under which one sees two others.
* **Similarity-preserving distillation** (Tung & Mori 2019): the B×B table of inner products of a batch, row by row of
  unit length. Only B must agree.

Where papers and code differ, this is the choice:

| | paper | here |
|---|---|---|
| relational | sum over pairs, triples | mean over B², B³, index repeats included (lenscloth/RKD) |
| similarity | eq. 4: ‖G_T − G_S‖²_F / b² | the same |

No factor such as γ is inside: weights belong to the caller. Huber's δ is 1. Precision, gradients and scale: ``checks``,
``scaling``.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor
from torch.nn import functional as F

from course_lib.arguments import tensors
from course_lib.distillation.checks import finite, full_precision, pair, wide
from course_lib.distillation.scaling import direction, rescaled


@full_precision
def relational_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Σ_ij Huber(d_ij/μ) / B²: the distances within a batch, each network's in units of their mean μ.

    Args: student, teacher: (B, D_s), (B, D_t), float, B ≥ 2; pooled features or logits.
    Returns: scalar ≥ 0; unchanged when either network's embeddings are rotated, mirrored, shifted or scaled.
    Raises: ValueError for unequal batches, B < 2, other dimensions, or a result that is not finite.
    Source: Park et al. 2019, arXiv:1904.05068, section 3.2.1.
    Matches: RkdDistance of the authors' code. There μ is the mean over d > 0, here over all i ≠ j, as in the paper:
        the same unless two embeddings coincide, and there their code sees a distance of 10⁻⁶.

    >>> triangle = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    >>> line = torch.tensor([[0.0], [1.0], [3.0]])
    >>> round(relational_distance_loss(line, triangle).item(), 4)
    0.0417
    >>> relational_distance_loss(2 * triangle, triangle).item()
    0.0
    """
    student, teacher = pair(student, teacher, ndim=2, least=2)
    ratios = _pair_ratios(student), _pair_ratios(teacher)
    value = 2 * F.smooth_l1_loss(*ratios, reduction="sum") / len(student) ** 2
    return finite(value, student=student, teacher=teacher)


@full_precision
def relational_angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Σ_ijk Huber(cos ∠ijk) / B³: under which angle embedding j sees i and k.

    Takes B²·D + B³ numbers of memory.

    Args: student, teacher: (B, D_s), (B, D_t), float, B ≥ 3; pooled features or logits.
    Returns: scalar ≥ 0; unchanged when either network's embeddings are rotated, mirrored, shifted or scaled.
    Raises: ValueError for unequal batches, B < 3, other dimensions, or a result that is not finite.
    Source: Park et al. 2019, arXiv:1904.05068, section 3.2.2.
    Matches: RKdAngle of the authors' code.

    >>> corner = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    >>> line = torch.tensor([[0.0], [1.0], [3.0]])
    >>> round(relational_angle_loss(line, corner).item(), 4)
    0.0434
    """
    student, teacher = pair(student, teacher, ndim=2, least=3)
    cosines = []
    for embedding in (student, teacher):
        embedding = rescaled(embedding, dim=None)
        # (B, B, D): from j (first) to i (second). Entries are at most 1: what is below eps is rounding, no direction.
        towards = direction(embedding[None] - embedding[:, None], least=torch.finfo(embedding.dtype).eps)
        cosines.append(towards @ towards.transpose(1, 2))  # (B, B, B): at j, between i and k
    return finite(F.smooth_l1_loss(*cosines), student=student, teacher=teacher)


@full_precision
def similarity_preserving_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """‖G_T − G_S‖²_F / B², G = A·Aᵀ with rows of unit length: which images of a batch excite a layer alike.

    Args: student, teacher: (B, …), float, B ≥ 2; everything after B is flattened to a row of A, shapes may differ.
    Returns: scalar in [0, 4/B]; unchanged under an orthogonal map of either network's rows and under scaling.
    Raises: ValueError for unequal batches, B < 2, fewer than two dimensions, or a result that is not finite.
    Source: Tung & Mori 2019, arXiv:1907.09682, eqs. 1 to 4.
    Matches: torchdistill's SPKDLoss with reduction "batchmean".

    >>> alike, apart = torch.ones(2, 3), torch.eye(2)
    >>> round(similarity_preserving_loss(alike, apart).item(), 4)
    0.2929
    """
    student, teacher = pair(student, teacher, ndim=None, least=2)
    gap = similarity_table(teacher) - similarity_table(student)
    value = gap.square().sum() / len(student) ** 2
    return finite(value, student=student, teacher=teacher)


def relative_distances(embeddings: Tensor) -> Tensor:
    """ψ_D: the distances within a batch in units of their mean over the pairs i ≠ j, (B, D) → (B, B).

    Args:
        embeddings: (B, D), float, B ≥ 2.
    Returns: symmetric, 0 on the diagonal; all 0 where all embeddings coincide, with a finite gradient.
    Raises: ValueError for other dimensions or B < 2.
    Source: Park et al. 2019, arXiv:1904.05068, eq. 7.

    >>> table = relative_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 8.0]]))
    >>> [[round(x, 4) for x in row] for row in table.tolist()]
    [[0.0, 0.8333, 1.3333], [0.8333, 0.0, 0.8333], [1.3333, 0.8333, 0.0]]
    """
    tensors(embeddings=embeddings)
    embeddings = wide("embeddings", embeddings, 2)
    if len(embeddings) < 2:
        raise ValueError(f"at least 2 embeddings are needed for a distance, got {len(embeddings)}")
    first, second = torch.triu_indices(len(embeddings), len(embeddings), 1)  # the order of pdist
    table = embeddings.new_zeros(len(embeddings), len(embeddings))
    table[first, second] = _pair_ratios(embeddings)
    return table + table.T


def similarity_table(features: Tensor) -> Tensor:
    """G̃: inner products of a batch's rows, each row of the table of unit length, (B, …) → (B, B).

    Args:
        features: (B, …), float; everything after B is flattened.
    Returns: row i says how image i sees the others, not symmetric; a row of zeros for an image that excites nothing.
    Raises: ValueError for fewer than two dimensions.
    Source: Tung & Mori 2019, arXiv:1907.09682, eqs. 1 and 2.

    >>> [[round(x, 3) for x in row] for row in similarity_table(torch.tensor([[1.0, 0.0], [1.0, 1.0]])).tolist()]
    [[0.707, 0.707], [0.447, 0.894]]
    """
    tensors(features=features)
    with torch.autocast(features.device.type, enabled=False):
        rows = rescaled(wide("features", features, None).flatten(1), dim=None)  # (B, ·)
        return direction(rows @ rows.T)


def within_class_ratio(table: ArrayLike, classes: ArrayLike) -> float:
    """How much more alike images of one class are: mean of the table within the classes over that between them.

    Args:
        table: (B, B), ≥ 0 as a rule, such as ``similarity_table``; its diagonal is left out.
        classes: (B,), the class of each image; at least one class has two.
    Returns: 1 for a table that does not see the classes; over 1 where they attract. With one class alone, its own mean.

    >>> within_class_ratio([[1.0, 0.8, 0.2], [0.8, 1.0, 0.2], [0.2, 0.2, 1.0]], ["stop", "stop", "yield"])
    4.0
    """
    table, classes = np.asarray(table, float), np.asarray(classes)
    same = classes[:, None] == classes[None]
    other = table[~same].mean() if (~same).any() else 1.0
    return float(table[same & ~np.eye(len(table), dtype=bool)].mean() / max(other, 1e-12))


def _pair_ratios(embeddings: Tensor) -> Tensor:
    """Each pair's distance once, in units of their mean: (B, D) → (B·(B−1)/2,); the gradient is 0 where it is 0."""
    distances = F.pdist(rescaled(embeddings, dim=None))
    mean = distances.mean()
    return distances / torch.where(mean > 0, mean, 1)
