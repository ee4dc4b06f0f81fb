"""05.4: a pseudo-label belongs to an image and to the view that the teacher saw."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "05.4",
    "Pseudo-labels for a shuffled batch",
    points=2,
    trials=8,
    hints=[
        "The table is in the order of the data set. The batch is not: indices[i] says which image its row i shows.",
        "table[view] is (N, C): take its rows at indices, then the largest logit of each row.",
    ],
    explanation="""
        A target belongs to an image *and* to the view it was computed from. `course_lib.training.Batch` therefore
        carries `indices` and `view`, and `TeacherTable.rows(batch)` uses both. No error is raised if you do not: the
        loss falls all the same, since a student can learn how often each class occurs.
    """,
)


@ex.reference
def pseudo_labels_of(table: Tensor, view: int, indices: Tensor) -> Tensor:
    """(B,) the teacher's first choice for the images at ``indices``, in this view; table: logits (views, N, C)."""
    return table[view, indices].argmax(1)


@ex.case("three views that disagree, images in no order, and a view that is neither the first nor the last")
def three_views() -> tuple[Tensor, int, Tensor]:
    first = [[3.0, 1, 2], [1, 4, 0], [0, 2, 5]]  # class 0, 1, 2
    second = [[1.0, 6, 0], [0, 2, 3], [4, 1, 2]]  # class 1, 2, 0
    third = [[1.0, 0, 9], [7, 2, 1], [0, 8, 3]]  # class 2, 0, 1
    return torch.tensor([first, second, third]), 1, torch.tensor([2, 0])


@ex.case("two views, and a batch that is the whole data set, shuffled")
def whole_table() -> tuple[Tensor, int, Tensor]:
    first = [[3.0, 1], [1, 4], [0, 2], [5, 2]]
    second = [[1.0, 6], [0, 2], [4, 1], [1, 3]]
    return torch.tensor([first, second]), 0, torch.tensor([3, 0, 2, 1])


@ex.inputs
def random_batch(rng: np.random.Generator) -> tuple[Tensor, int, Tensor]:
    """No two logits are equal; the view is neither the first nor the last."""
    images = int(rng.integers(20, 40))
    order = torch.from_numpy(rng.permutation(images)[:12])
    table = rng.permutation(4 * images * 9).reshape(4, images, 9) / 100
    return torch.from_numpy(table).float(), int(rng.integers(1, 3)), order


@ex.mistake(
    "You took the table's first rows. The loader shuffles: row i of the batch is image indices[i], and your target "
    "belongs to another image."
)
def first_rows(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return table[view, : len(indices)].argmax(1)


@ex.mistake(
    "You labelled the whole data set, in its own order. The batch shows the images at indices: take these rows."
)
def whole_data_set(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return table[view].argmax(1)


@ex.mistake(
    "You averaged over the views. That may be a steadier label, but it is not the teacher's answer to the picture that "
    "the student sees: take the batch's view alone."
)
def mean_over_views(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return table.mean(0)[indices].argmax(1)


@ex.mistake("Right images, wrong view: these logits were computed from other pixels. Use the batch's view.")
def first_view(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return table[0, indices].argmax(1)


@ex.mistake("You took the last view, whatever the batch shows. Use the batch's view.")
def last_view(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return table[-1, indices].argmax(1)


@ex.mistake("Views count from 0: table[view] is the batch's view.")
def view_before(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return table[view - 1, indices].argmax(1)


@ex.mistake("You sorted the indices, and the batch stays in its own order: rows and targets no longer match.")
def sorted_indices(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return table[view, indices.sort().values].argmax(1)


@ex.mistake("argmax(0) looks for an image for each class. A class for each image is argmax(1).")
def over_images(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return table[view, indices].argmax(0)


@ex.mistake("You returned positions in the data set, not classes.")
def positions(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return indices[table[view, indices].argmax(1) % len(indices)]


@ex.mistake("These are the largest logits. Asked for is where they stand: argmax, the class.")
def largest_logits(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return table[view, indices].max(1).values


@ex.mistake("These are whole rows. A pseudo-label is the teacher's first choice alone: argmax(1) of each row.")
def whole_rows(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return table[view, indices]


@ex.mistake("One class for each image is a vector (B,); yours has a second axis of length 1. Leave out keepdim.")
def second_axis_kept(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return table[view, indices].argmax(1, keepdim=True)


@ex.alternative
def loop_over_images(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return torch.stack([table[view, int(i)].max(0).indices for i in indices])


@ex.alternative
def all_choices_first(table: Tensor, view: int, indices: Tensor) -> Tensor:
    return table.argmax(2)[view].gather(0, indices)


@ex.alternative
def in_numpy(table: Tensor, view: int, indices: Tensor) -> np.ndarray:
    return table[view].numpy()[indices.numpy()].argmax(axis=1)
