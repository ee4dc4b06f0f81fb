"""What a student can be told about its teacher's inner layers: each channel at each place, or only where it is active.

A feature map is (B, C, H, W); teacher and student seldom agree on C, H or W. Each method removes what differs (two
more compare images with one another: ``relations``):

* **Hint** (FitNets, Romero et al. 2015): a learned 1×1 convolution r lifts the student's channels to the teacher's,
  then ‖u_teacher − r(v_student)‖². Asks for the most: each channel at each place.
* **Attention transfer** (Zagoruyko & Komodakis 2017): sums over the channels, so that a map (H, W) of *where* remains:
  F = Σ_c |A_c|^p or max_c |A_c|^p, divided by its norm. No parameters; says nothing about *what* is there.

Where papers and code differ, this is the choice:

| | paper | here |
|---|---|---|
| hint | eq. 3: ½·‖u − r(v)‖² per image | mean over B·C·H·W: 2/(C·H·W) times it (as mdistiller, torchdistill) |
| attention | eq. 2: ‖Q_S/‖Q_S‖ − Q_T/‖Q_T‖‖₂ | ``distance="mean_square"`` as the authors' code; ``"norm"``: eq. 2 |

No factor such as β/2 is inside: weights belong to the caller. Precision, gradients and scale: ``checks``, ``scaling``.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.arguments import tensors
from course_lib.distillation.checks import finite, full_precision, pair, wide
from course_lib.distillation.scaling import direction, rescaled


class Hint(nn.Module):
    """mean (u − r(v))² over images, channels and pixels: FitNets' hint with its 1×1 projection r.

    r has no bias: an intercept could match the teacher's channel means by itself, and would tell the student nothing.
    Its weights are trained with the student and thrown away afterwards: give the module to the optimiser.

    Args: student_channels, teacher_channels: ≥ 1.
    Raises: ValueError for a count below 1.
    Source: Romero et al. 2015, arXiv:1412.6550, eq. 3, with a convolutional regressor of one pixel.
    Matches: nn.MSELoss()(regressor(student), teacher), as in mdistiller and torchdistill.

    >>> hint = Hint(1, 1)
    >>> _ = hint.projection.weight.data.fill_(2.0)
    >>> hint(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 4, 4)).item()
    4.0
    """

    def __init__(self, student_channels: int, teacher_channels: int):
        super().__init__()
        if min(student_channels, teacher_channels) < 1:
            raise ValueError(f"channels must be ≥ 1, got {student_channels} and {teacher_channels}")
        self.projection = nn.Conv2d(student_channels, teacher_channels, 1, bias=False)

    def forward(self, student_features: Tensor, teacher_features: Tensor) -> Tensor:
        """(B, C_s, H, W), (B, C_t, kH, k′W) → scalar ≥ 0; the teacher's map is averaged over k×k′ pixels.

        Raises: ValueError: other channels than announced, a teacher's map that is smaller or no whole multiple, or a
            result that is not finite.
        """
        weight = self.projection.weight
        with torch.autocast(student_features.device.type, enabled=False):
            student, teacher = pair(student_features, teacher_features, ndim=4)
            for name, features, wanted in zip(
                ("student", "teacher"), (student, teacher), weight.shape[1::-1], strict=True
            ):
                if features.shape[1] != wanted:
                    raise ValueError(f"{name} must have {wanted} channels, got {features.shape[1]}")
            teacher = _pooled("teacher", teacher, student.shape[2:])
            value = F.mse_loss(F.conv2d(student, weight.to(student.dtype)), teacher)
        return finite(value, student=student, teacher=teacher, projection=weight)


def attention_map(features: Tensor, *, power: float = 2, form: str = "sum") -> Tensor:
    """Q/‖Q‖₂, Q = Σ_c |A_c|^p or max_c |A_c|^p: where a layer is active, (B, C, H, W) → (B, H·W).

    Args:
        features: float.
        power: p ≥ 1, finite. 1 with "sum" is the paper's F_sum, others F^p_sum: a larger p looks at the peaks only.
        form: "sum" or "max" over the channels.
    Returns: unit norm and ≥ 0 for each image; all zeros for an image without any activation.
    Raises: ValueError for other dimensions, p < 1 or an unknown form.
    Source: Zagoruyko & Komodakis 2017, arXiv:1612.03928, section 3.1.

    >>> features = torch.tensor([[[[3.0, 0.0]], [[0.0, -2.0]]]])  # one image, two channels, two places
    >>> [[round(x, 4) for x in row] for row in attention_map(features, power=1).tolist()]
    [[0.8321, 0.5547]]
    """
    tensors(features=features)
    return direction(_activity(wide("features", features, 4), power, form).flatten(1))


def middle_share(maps: ArrayLike) -> float:
    """The share of the maps' sum that lies in the middle quarter of the picture.

    Args:
        maps: (N, H, W), ≥ 0, such as attention maps; the middle is rows H/4 to 3H/4, and columns likewise.
    Returns: a fraction in [0, 1]; 0.25 for flat maps whose sides are multiples of 4.

    >>> middle_share(np.ones((1, 8, 8)))
    0.25
    >>> middle_share(np.eye(4)[None])
    0.5
    """
    maps = np.asarray(maps, float)
    height, width = maps.shape[1:]
    middle = maps[:, height // 4 : height - height // 4, width // 4 : width - width // 4]
    return float(middle.sum() / max(maps.sum(), 1e-30))


@full_precision
def attention_transfer_loss(
    student: Tensor, teacher: Tensor, *, power: float = 2, form: str = "sum", distance: str = "mean_square"
) -> Tensor:
    """How differently two layers distribute their attention over the picture, mean over the batch.

    Args:
        student, teacher: (B, C_s, H, W), (B, C_t, H′, W′), float; any channels. The larger map Q is averaged down to
            the smaller one (before it is normalised), which must divide it.
        power, form: as in ``attention_map``.
        distance: "mean_square": Σ (q_S − q_T)² / (H·W), as the authors' code has it, at most
            2/(H·W); "norm": ‖q_S − q_T‖₂.
    Raises: ValueError for unequal batches, sizes that do not divide, an unknown option, or a result not finite.
    Source: Zagoruyko & Komodakis 2017, arXiv:1612.03928, eqs. 1 and 2 (without β/2).
    Matches: torchdistill's ATLoss, mode "code"; mode "paper" divided by B.

    >>> left, right = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 5.0]]]])
    >>> attention_transfer_loss(left, right).item()
    1.0
    >>> round(attention_transfer_loss(left, right, distance="norm").item(), 4)
    1.4142
    """
    if distance not in ("mean_square", "norm"):
        raise ValueError(f'distance must be "mean_square" or "norm", got {distance!r}')
    student, teacher = pair(student, teacher, ndim=4)
    maps = [_activity(features, power, form) for features in (student, teacher)]
    if maps[0].shape[1] * maps[0].shape[2] > maps[1].shape[1] * maps[1].shape[2]:
        maps[0] = _pooled("student", maps[0], maps[1].shape[1:])
    else:
        maps[1] = _pooled("teacher", maps[1], maps[0].shape[1:])
    q_student, q_teacher = (direction(q.flatten(1)) for q in maps)  # (B, H·W)
    gap = q_student - q_teacher
    value = gap.square().mean() if distance == "mean_square" else torch.linalg.vector_norm(gap, dim=1).mean()
    return finite(value, student=student, teacher=teacher)


def _activity(features: Tensor, power: float, form: str) -> Tensor:
    """Q before it is normalised, (B, C, H, W) → (B, H, W), up to a positive factor of each image."""
    if not (power >= 1 and math.isfinite(power)):
        raise ValueError(f"power must be finite and ≥ 1, got {power}")
    if form not in ("sum", "max"):
        raise ValueError(f'form must be "sum" or "max", got {form!r}')
    strength = rescaled(features, dim=(1, 2, 3)).abs().pow(power)
    return strength.sum(1) if form == "sum" else strength.amax(1)


def _pooled(name: str, features: Tensor, size: tuple[int, ...]) -> Tensor:
    """Means over blocks, so that the last two axes become ``size``, which must divide them."""
    (height, width), (h, w) = features.shape[-2:], size
    if height % h or width % w:
        raise ValueError(f"{name}'s map of {height}×{width} must be a whole multiple of the other's {h}×{w}")
    return F.avg_pool2d(features, (height // h, width // w))
