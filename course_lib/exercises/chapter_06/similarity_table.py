"""06.5: which images of a batch excite a layer alike, compared between two layers of any shape."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "06.5",
    "Which images excite a layer alike",
    points=3,
    trials=8,
    gradient_of=("student",),
    no_gradient_of=("teacher",),
    hints=[
        "Flatten everything but the batch: A is (B, ·). A @ A.T is (B, B), whatever the layer's shape was.",
        "Divide each row of the table (not of A) by its Euclidean norm: F.normalize(G, dim=1).",
        "The sum of the squared differences, divided by B². The teacher's side is detached.",
    ],
    explanation="""
        $\\lVert \\tilde G_T - \\tilde G_S \\rVert_F^2 / B^2$. Columns instead of rows give the same, since $G$ is
        symmetric. Inputs of different widths, of different networks, even of different kinds can be compared: only the
        images must be the same.
    """,
)


@ex.reference
def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """‖G̃_T − G̃_S‖²_F / B² for features (B, …); no gradient into the teacher."""
    tables = []
    for features in (student, teacher.detach()):
        rows = features.flatten(1)  # (B, ·)
        table = rows @ rows.T  # (B, B)
        tables.append(table / table.norm(dim=1, keepdim=True))
    return (tables[1] - tables[0]).square().sum() / len(student) ** 2


@ex.case("the page's two images for the student, and three features for the teacher")
def two_images() -> tuple[Tensor, Tensor]:
    return torch.tensor([[1.0, 0], [1, 1]]), torch.tensor([[2.0, 0, 0], [0, 1, 1]])


@ex.case("layers of different shapes, where all but the batch is flattened")
def other_shapes() -> tuple[Tensor, Tensor]:
    student = torch.tensor([[1.0, 0, 2, -1], [0, 1, 1, 3], [2, -1, 0, 1]]).view(3, 2, 1, 2)
    return student, torch.tensor([[2.0, 1, 0], [0, -1, 4], [1, 1, 1]]).view(3, 3, 1)


@ex.case("an image that excites the layer a hundred times as strongly as the others")
def strong_image() -> tuple[Tensor, Tensor]:
    return torch.tensor([[100.0, 20], [1, -2], [0.5, 1]]), torch.tensor([[1.0, 0.5], [2, 1], [-50, 80]])


@ex.inputs
def random_features(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Another shape for each network; numbers with one decimal."""
    batch = int(rng.integers(3, 6))

    def numbers(*shape: int) -> Tensor:
        return torch.from_numpy(rng.choice(np.arange(-40, 41), shape, replace=False) / 10).float()

    return numbers(batch, 2, 2, 1), numbers(batch, 3, 1, 2)


def _table(features: Tensor) -> Tensor:
    return features.flatten(1) @ features.flatten(1).T


def _rows(features: Tensor) -> Tensor:
    """The right table."""
    return F.normalize(_table(features))


@ex.mistake("The rows are not normalised: inner products of features that are twice as large are four times as large.")
def not_normalised(student: Tensor, teacher: Tensor) -> Tensor:
    return (_table(teacher.detach()) - _table(student)).square().mean()


@ex.mistake(
    "You divided the whole table by one norm. Images with strong features then outweigh the others: each row has its "
    "own norm."
)
def one_norm(student: Tensor, teacher: Tensor) -> Tensor:
    tables = [_table(features) / _table(features).norm() for features in (student, teacher.detach())]
    return (tables[0] - tables[1]).square().mean()


@ex.mistake("You normalised the features, so that the table holds cosines. The paper normalises the rows of the table.")
def cosines(student: Tensor, teacher: Tensor) -> Tensor:
    tables = [_table(F.normalize(features.flatten(1))) for features in (student, teacher.detach())]
    return (tables[0] - tables[1]).square().mean()


@ex.mistake("You normalised twice, the features and the rows of the table. The paper normalises the rows of the table.")
def cosines_with_rows_of_one(student: Tensor, teacher: Tensor) -> Tensor:
    tables = [_rows(F.normalize(features.flatten(1))) for features in (student, teacher.detach())]
    return (tables[0] - tables[1]).square().mean()


@ex.mistake("You divided each row by its squared norm. Its length is then not 1: divide by the norm.")
def squared_norms(student: Tensor, teacher: Tensor) -> Tensor:
    tables = [_table(f) / _table(f).square().sum(1, keepdim=True) for f in (student, teacher.detach())]
    return (tables[0] - tables[1]).square().mean()


@ex.mistake("You averaged over the pixels first. Flatten them: A has a column for each number of an image's output.")
def pixels_averaged(student: Tensor, teacher: Tensor) -> Tensor:
    a, b = (f.flatten(2).mean(2) if f.ndim > 2 else f for f in (student, teacher.detach()))
    return (_rows(a) - _rows(b)).square().mean()


@ex.mistake("Your rows sum to 1 in absolute value; the paper gives them Euclidean length 1.")
def rows_sum_to_one(student: Tensor, teacher: Tensor) -> Tensor:
    tables = [F.normalize(_table(features), p=1) for features in (student, teacher.detach())]
    return (tables[0] - tables[1]).square().mean()


@ex.mistake("Your rows are softmaxes. The paper divides each row by its Euclidean norm.")
def softmax_of_rows(student: Tensor, teacher: Tensor) -> Tensor:
    return (_table(teacher.detach()).softmax(1) - _table(student).softmax(1)).square().mean()


@ex.mistake("The division by B² is missing: the table has B² entries.")
def summed(student: Tensor, teacher: Tensor) -> Tensor:
    return (_rows(teacher.detach()) - _rows(student)).square().sum()


@ex.mistake("You divided by B; the table has B² entries.")
def divided_once(student: Tensor, teacher: Tensor) -> Tensor:
    return (_rows(teacher.detach()) - _rows(student)).square().sum() / len(student)


@ex.mistake("You left the diagonal out. Each image's product with itself is an entry of G̃ like the others.")
def without_diagonal(student: Tensor, teacher: Tensor) -> Tensor:
    gap = (_rows(teacher.detach()) - _rows(student)) * (1 - torch.eye(len(student)))
    return gap.square().mean()


@ex.mistake("The square is missing: ‖·‖²_F is the sum of the squares, without a root.")
def norm_not_squared(student: Tensor, teacher: Tensor) -> Tensor:
    return (_rows(teacher.detach()) - _rows(student)).norm() / len(student) ** 2


@ex.mistake("These are absolute differences; ‖·‖²_F sums their squares.")
def absolute(student: Tensor, teacher: Tensor) -> Tensor:
    return (_rows(teacher.detach()) - _rows(student)).abs().mean()


@ex.mistake(
    "The value is right, but a gradient flows into the teacher: it would learn to be as simple as the student. Detach "
    "its features."
)
def teacher_learns(student: Tensor, teacher: Tensor) -> Tensor:
    return (_rows(teacher) - _rows(student)).square().mean()


@ex.mistake(
    "The value is right, but the student gets the wrong gradient: the norms of its rows are constants in your loss. "
    "They move with the features, too."
)
def norms_detached(student: Tensor, teacher: Tensor) -> Tensor:
    table = _table(student)
    return (_rows(teacher.detach()) - table / table.norm(dim=1, keepdim=True).detach()).square().mean()


@ex.mistake(
    "The value is right, but no gradient reaches the student: with item(), float(), detach(), NumPy or no_grad the "
    "loss is only a number, and nothing can be trained with it."
)
def no_gradient(student: Tensor, teacher: Tensor) -> float:
    return similarity_loss(student, teacher).item()


@ex.alternative
def columns_and_mean(student: Tensor, teacher: Tensor) -> Tensor:
    tables = []
    for features in (student, teacher.detach()):
        a = features.reshape(len(features), -1)
        tables.append(F.normalize(torch.einsum("bi,ki->bk", a, a), dim=0))
    return F.mse_loss(*tables)


@ex.alternative
def in_loops(student: Tensor, teacher: Tensor) -> Tensor:
    total, count = student.new_zeros(()), len(student)
    for i in range(count):
        s = torch.stack([(student[i] * student[j]).sum() for j in range(count)])
        with torch.no_grad():
            t = torch.stack([(teacher[i] * teacher[j]).sum() for j in range(count)])
        total = total + ((s / (s @ s).sqrt() - t / (t @ t).sqrt()) ** 2).sum()
    return total / count / count


@ex.alternative
def in_double(student: Tensor, teacher: Tensor) -> Tensor:
    s, t = student.double().flatten(1), teacher.detach().double().flatten(1)
    g_s, g_t = s.matmul(s.t()), t.matmul(t.t())
    gap = g_t / torch.linalg.norm(g_t, dim=1, keepdim=True) - g_s / torch.linalg.norm(g_s, dim=1, keepdim=True)
    return torch.linalg.norm(gap, "fro") ** 2 / len(s) ** 2
