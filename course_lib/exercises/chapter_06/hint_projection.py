"""06.2: a hint through a projection: the student's channels lifted to the teacher's, the teacher's pixels averaged."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.engine.exercise import Exercise

Features = tuple[Tensor, Tensor, Tensor]

ex = Exercise(
    "06.2",
    "A hint through a projection",
    points=3,
    trials=8,
    gradient_of=("student", "weight"),
    no_gradient_of=("teacher",),
    hints=[
        "A 1×1 convolution is a matrix product at each pixel: torch.einsum('oc,bchw->bohw', weight, student).",
        "The teacher's map is k times as large: F.avg_pool2d(teacher, k), k = teacher.shape[2] // student.shape[2].",
        "mean over everything: F.mse_loss. And the teacher is a target, not a pupil: teacher.detach().",
    ],
    explanation="""
        $\\frac{1}{B\\,C_t\\,H\\,W}\\sum (u - R v)^2$, with the teacher's $u$ averaged over blocks of $k \\times k$
        pixels. FitNets' equation 3 is $\\frac12 \\lVert u - r(v) \\rVert^2$ per image: the same up to the factor
        $2 / (C_t H W)$, which belongs to the weight of the term.
    """,
)


@ex.reference
def hint_loss(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    """mean (u − R·v)², the teacher averaged down to the student's pixels; no gradient into the teacher."""
    k = teacher.shape[2] // student.shape[2]
    target = F.avg_pool2d(teacher.detach(), k)  # (B, C_t, H, W)
    projected = torch.einsum("ts,bshw->bthw", weight, student)  # (B, C_t, H, W)
    return (target - projected).square().mean()


@ex.case("the page's four numbers, which give ½")
def by_hand() -> Features:
    student, teacher = torch.tensor([1.0, 2]).view(1, 2, 1, 1), torch.tensor([2.0, 3]).view(1, 2, 1, 1)
    return student, teacher, torch.tensor([[1.0, 0], [1, 1]])


@ex.case("k = 1, two images, and one channel of the student for two of the teacher")
def equal_sizes() -> Features:
    student, teacher = torch.tensor([[1.0, 2], [-1, 3]]), torch.tensor([[4.0, 1, 0, 2], [3, -2, 1, 5]])
    return student.view(2, 1, 1, 2), teacher.view(2, 2, 1, 2), torch.tensor([[1.0], [-2]])


@ex.case("k = 2, where each of the teacher's blocks of four pixels is averaged")
def twice_as_large() -> Features:
    teacher = torch.tensor([[0.0, 4, 1, 3], [2, 6, -5, 9]]).view(1, 1, 2, 4)
    return torch.tensor([1.0, 2, -1, 4]).view(1, 2, 1, 2), teacher, torch.tensor([[1.0, 0.5]])


@ex.case("k = 3")
def three_times_as_large() -> Features:
    teacher = torch.tensor([[0.0, 4, 1], [2, 7, -5], [9, 0, 9]]).view(1, 1, 3, 3)
    return torch.tensor([2.0, -1]).view(1, 2, 1, 1), teacher, torch.tensor([[1.0, 3]])


@ex.inputs
def random_features(rng: np.random.Generator) -> Features:
    """Height and width, the channels and the batch all differ; k is 2 or 3; numbers with one decimal."""
    batch, height, width = [int(n) for n in rng.permutation([1, 2, 3])]
    k, c_student, c_teacher = int(rng.integers(2, 4)), *((2, 3) if rng.integers(2) else (3, 2))

    def numbers(*shape: int) -> Tensor:
        return torch.from_numpy(rng.choice(np.arange(-400, 401), shape, replace=False) / 100).float()

    return (
        numbers(batch, c_student, height, width),
        numbers(batch, c_teacher, k * height, k * width),
        numbers(c_teacher, c_student),
    )


def _pooled(teacher: Tensor, student: Tensor) -> Tensor:
    """The right target."""
    return F.avg_pool2d(teacher.detach(), teacher.shape[2] // student.shape[2])


def _projected(student: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(student, weight[:, :, None, None])


@ex.mistake(
    "The value is right, but a gradient flows into the teacher: it would learn to be as simple as the student. Take "
    "teacher.detach()."
)
def teacher_learns(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return F.mse_loss(_projected(student, weight), F.avg_pool2d(teacher, teacher.shape[2] // student.shape[2]))


@ex.mistake(
    "The value is right, but the student gets no gradient: only the projection would learn, and it is thrown away. "
    "Detach the teacher, not the student."
)
def student_frozen(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return F.mse_loss(_projected(student.detach(), weight), _pooled(teacher, student))


@ex.mistake(
    "The value is right, but the projection gets no gradient: it stays as random as it was made, and the hint teaches "
    "noise. Detach the teacher alone."
)
def projection_frozen(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return F.mse_loss(_projected(student, weight.detach()), _pooled(teacher, student))


@ex.mistake(
    "The value is right, but it carries no gradient at all: with item(), float(), NumPy or no_grad the loss is only a "
    "number, and nothing can be trained with it."
)
def no_gradient(student: Tensor, teacher: Tensor, weight: Tensor) -> float:
    return hint_loss(student, teacher, weight).item()


@ex.mistake(
    "That is the sum over everything: the loss, and with it the learning rate that you need, would grow with the batch "
    "and with the map. Take the mean."
)
def summed(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return F.mse_loss(_projected(student, weight), _pooled(teacher, student), reduction="sum")


@ex.mistake(
    "You divided by the number of images only (that is 2 × the paper's equation). Here the mean is over images, "
    "channels and pixels."
)
def mean_over_images(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return (_projected(student, weight) - _pooled(teacher, student)).square().sum((1, 2, 3)).mean()


@ex.mistake("You summed over the channels. The mean is over images, channels and pixels: all B·C_t·H·W numbers.")
def summed_over_channels(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return (_projected(student, weight) - _pooled(teacher, student)).square().sum(1).mean()


@ex.mistake(
    "That is the paper's ½‖u − R v‖², averaged over the images. Here the mean is over images, channels and pixels, "
    "without the ½."
)
def as_the_paper(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return 0.5 * (_projected(student, weight) - _pooled(teacher, student)).square().sum((1, 2, 3)).mean()


@ex.mistake(
    "There is a ½ before your mean. The paper has it before its sum; here it belongs to the weight of the term."
)
def half_the_mean(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return 0.5 * F.mse_loss(_projected(student, weight), _pooled(teacher, student))


@ex.mistake("You took a square root of the mean. The loss is the mean square itself.")
def root_of_the_mean(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return F.mse_loss(_projected(student, weight), _pooled(teacher, student)).sqrt()


@ex.mistake("These are absolute differences; the equation squares them.")
def absolute(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return F.l1_loss(_projected(student, weight), _pooled(teacher, student))


@ex.mistake("Your blocks are 2×2, whatever the maps' sizes are: k = teacher.shape[2] // student.shape[2].")
def always_two(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return (_projected(student, weight) - F.avg_pool2d(teacher.detach(), 2)).square().mean()


@ex.mistake("You took every k-th pixel of the teacher and dropped the others: average the k×k block.")
def every_kth_pixel(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    k = teacher.shape[2] // student.shape[2]
    return F.mse_loss(_projected(student, weight), teacher.detach()[:, :, ::k, ::k])


@ex.mistake("You took the maximum of each block. The projection is linear, and a linear map can follow a mean.")
def maximum_of_blocks(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    target = F.max_pool2d(teacher.detach(), teacher.shape[2] // student.shape[2])
    return F.mse_loss(_projected(student, weight), target)


@ex.mistake("You summed each block of the teacher. Averaged over k×k means: divided by k².")
def sum_of_blocks(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    k = teacher.shape[2] // student.shape[2]
    return F.mse_loss(_projected(student, weight), k**2 * _pooled(teacher, student))


@ex.mistake(
    "You cut a corner of the student's size out of the teacher's map. The whole map counts: average k×k blocks."
)
def corner(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    return F.mse_loss(_projected(student, weight), teacher.detach()[:, :, : student.shape[2], : student.shape[3]])


@ex.mistake(
    "You enlarged the student's map to the teacher's pixels. The task averages the teacher down: within a block the "
    "student is not asked for what it cannot show."
)
def student_enlarged(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    k = teacher.shape[2] // student.shape[2]
    return F.mse_loss(F.interpolate(_projected(student, weight), scale_factor=k), teacher.detach())


@ex.alternative
def matrix_product(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    height, width = student.shape[2:]
    lifted = (weight @ student.flatten(2)).view(len(student), -1, height, width)
    target = F.adaptive_avg_pool2d(teacher, (height, width)).detach()
    return F.mse_loss(lifted, target)


@ex.alternative
def blocks_by_reshape_in_double(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    b, _, h, w = student.shape
    with torch.no_grad():
        blocks = teacher.double().view(b, teacher.shape[1], h, teacher.shape[2] // h, w, teacher.shape[3] // w)
        target = blocks.mean((3, 5))
    lifted = torch.einsum("ts,bshw->bthw", weight.double(), student.double())
    return ((lifted - target) ** 2).sum() / target.numel()


@ex.alternative
def pixel_by_pixel(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    k, costs = teacher.shape[3] // student.shape[3], []
    for b in range(len(student)):
        for y in range(student.shape[2]):
            for x in range(student.shape[3]):
                u = teacher[b, :, k * y : k * (y + 1), k * x : k * (x + 1)].detach().mean((1, 2))
                costs.append((u - weight @ student[b, :, y, x]).pow(2).mean())
    return torch.stack(costs).mean()
