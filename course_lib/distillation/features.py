"""What a student can be told about its teacher's inner layers: four ways to compare things of unequal shape.

A feature map is (B, C, H, W); teacher and student seldom agree on C, H or W. Each method removes what differs:

* **Hint** (FitNets, Romero et al. 2015): a learned 1×1 convolution r lifts the student's channels to the teacher's,
  then ‖u_teacher − r(v_student)‖². Asks for the most: each channel at each place.
* **Attention transfer** (Zagoruyko & Komodakis 2017): sums over the channels, so that a map (H, W) of *where* remains:
  F = Σ_c |A_c|^p or max_c |A_c|^p, divided by its norm. No parameters; says nothing about *what* is there.
* **Relational distillation** (Park et al. 2019): forgets images, keeps pairs and triples: how far apart two
  embeddings lie, in units of the mean distance, and the angle under which one sees two others.
* **Similarity-preserving distillation** (Tung & Mori 2019): the B×B table of inner products of a batch, row by row of
  unit length. Layers of any shape can be compared; only B must agree.

Where papers and code differ, this is the choice:

| | paper | here |
|---|---|---|
| hint | eq. 3: ½·‖u − r(v)‖² per image | mean over B·C·H·W: 2/(C·H·W) times it (as mdistiller, torchdistill) |
| attention | eq. 2: ‖Q_S/‖Q_S‖ − Q_T/‖Q_T‖‖₂ | ``distance="mean_square"`` as the authors' code; ``"norm"``: eq. 2 |
| relational | sum over pairs, triples | mean over B², B³, index repeats included (lenscloth/RKD) |
| similarity | eq. 4: ‖G_T − G_S‖²_F / b² | the same |

No factor such as β/2 or γ is inside: weights belong to the caller. Huber's δ is 1.

**Numbers.** All but the hint do not change when a network's features are all multiplied by one number. Each map (or
batch) is therefore first divided by its largest absolute value, as a constant: the loss and its gradient stay exactly
the same, and squares of large or tiny features neither overflow nor vanish. A direction is x/‖x‖; where x is zero (a
dead map, two embeddings that coincide) there is none, and it is 0 with gradient 0. The widespread x/max(‖x‖, 10⁻¹²)
has the gradient 10¹² there, which one pair of equal images turns into a broken network. Half precision is computed in
float32 (also under autocast), float64 stays. The teacher's side never gets a gradient. A loss that is not finite is
refused with its cause.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _full_precision(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Runs a loss outside autocast, which would hand its matrix products to half precision."""

    @wraps(loss)
    def run(student: Tensor, teacher: Tensor, **options: object) -> Tensor:
        if not isinstance(student, Tensor) or not isinstance(teacher, Tensor):
            raise TypeError(f"student and teacher must be tensors, got {type(student)} and {type(teacher)}")
        with torch.autocast(student.device.type, enabled=False):
            return loss(student, teacher, **options)

    return run


class Hint(nn.Module):
    """mean (u − r(v))² over images, channels and pixels: FitNets' hint with its 1×1 projection r.

    r has no bias: an intercept could match the teacher's channel means by itself, and would tell the student nothing.
    Its weights are trained with the student and thrown away afterwards: give the module to the optimiser.

    Args: student_channels, teacher_channels: ≥ 1.
    Raises: ValueError for a count below 1.
    Source: Romero et al. 2015, arXiv:1412.6550, eq. 3, with a convolutional regressor of one pixel.
    Matches: nn.MSELoss()(regressor(student), teacher), as in mdistiller and torchdistill.
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
            student, teacher = _pair(student_features, teacher_features, ndim=4)
            for name, features, wanted in zip(
                ("student", "teacher"), (student, teacher), weight.shape[1::-1], strict=True
            ):
                if features.shape[1] != wanted:
                    raise ValueError(f"{name} must have {wanted} channels, got {features.shape[1]}")
            teacher = _pooled("teacher", teacher, student.shape[2:])
            value = F.mse_loss(F.conv2d(student, weight.to(student.dtype)), teacher)
        return _finite(value, student=student, teacher=teacher, projection=weight)


def attention_map(features: Tensor, *, power: float = 2, form: str = "sum") -> Tensor:
    """Q/‖Q‖₂, Q = Σ_c |A_c|^p or max_c |A_c|^p: where a layer is active, (B, C, H, W) → (B, H·W).

    Args:
        features: float.
        power: p ≥ 1, finite. 1 with "sum" is the paper's F_sum, others F^p_sum: a larger p looks at the peaks only.
        form: "sum" or "max" over the channels.
    Returns: unit norm and ≥ 0 for each image; all zeros for an image without any activation.
    Raises: ValueError for other dimensions, p < 1 or an unknown form.
    Source: Zagoruyko & Komodakis 2017, arXiv:1612.03928, section 3.1.
    """
    return _direction(_activity(_wide("features", features, 4), power, form).flatten(1))


@_full_precision
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
    """
    if distance not in ("mean_square", "norm"):
        raise ValueError(f'distance must be "mean_square" or "norm", got {distance!r}')
    student, teacher = _pair(student, teacher, ndim=4)
    maps = [_activity(features, power, form) for features in (student, teacher)]
    if maps[0].shape[1] * maps[0].shape[2] > maps[1].shape[1] * maps[1].shape[2]:
        maps[0] = _pooled("student", maps[0], maps[1].shape[1:])
    else:
        maps[1] = _pooled("teacher", maps[1], maps[0].shape[1:])
    q_student, q_teacher = (_direction(q.flatten(1)) for q in maps)  # (B, H·W)
    gap = q_student - q_teacher
    value = gap.square().mean() if distance == "mean_square" else torch.linalg.vector_norm(gap, dim=1).mean()
    return _finite(value, student=student, teacher=teacher)


@_full_precision
def relational_distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Σ_ij Huber(d_ij/μ) / B²: the distances within a batch, each network's in units of their mean μ.

    Args: student, teacher: (B, D_s), (B, D_t), float, B ≥ 2; pooled features or logits.
    Returns: scalar ≥ 0; unchanged when either network's embeddings are rotated, mirrored, shifted or scaled.
    Raises: ValueError for unequal batches, B < 2, other dimensions, or a result that is not finite.
    Source: Park et al. 2019, arXiv:1904.05068, section 3.2.1.
    Matches: RkdDistance of the authors' code. There μ is the mean over d > 0, here over all i ≠ j, as in the paper:
        the same unless two embeddings coincide, and there their code sees a distance of 10⁻⁶.
    """
    student, teacher = _pair(student, teacher, ndim=2, least=2)
    ratios = []
    for embedding in (student, teacher):
        distances = F.pdist(_rescaled(embedding, dim=None))  # (B·(B−1)/2,), each pair once; gradient 0 where 0
        mean = distances.mean()
        ratios.append(distances / torch.where(mean > 0, mean, 1))
    value = 2 * F.smooth_l1_loss(*ratios, reduction="sum") / len(student) ** 2
    return _finite(value, student=student, teacher=teacher)


@_full_precision
def relational_angle_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Σ_ijk Huber(cos ∠ijk) / B³: under which angle embedding j sees i and k.

    Takes B²·D + B³ numbers of memory.

    Args: student, teacher: (B, D_s), (B, D_t), float, B ≥ 3; pooled features or logits.
    Returns: scalar ≥ 0; unchanged when either network's embeddings are rotated, mirrored, shifted or scaled.
    Raises: ValueError for unequal batches, B < 3, other dimensions, or a result that is not finite.
    Source: Park et al. 2019, arXiv:1904.05068, section 3.2.2.
    Matches: RKdAngle of the authors' code.
    """
    student, teacher = _pair(student, teacher, ndim=2, least=3)
    cosines = []
    for embedding in (student, teacher):
        embedding = _rescaled(embedding, dim=None)
        # (B, B, D): from j (first) to i (second). Entries are at most 1: what is below eps is rounding, no direction.
        towards = _direction(embedding[None] - embedding[:, None], least=torch.finfo(embedding.dtype).eps)
        cosines.append(towards @ towards.transpose(1, 2))  # (B, B, B): at j, between i and k
    return _finite(F.smooth_l1_loss(*cosines), student=student, teacher=teacher)


@_full_precision
def similarity_preserving_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """‖G_T − G_S‖²_F / B², G = A·Aᵀ with rows of unit length: which images of a batch excite a layer alike.

    Args: student, teacher: (B, …), float, B ≥ 2; everything after B is flattened to a row of A, shapes may differ.
    Returns: scalar in [0, 4/B]; unchanged under an orthogonal map of either network's rows and under scaling.
    Raises: ValueError for unequal batches, B < 2, fewer than two dimensions, or a result that is not finite.
    Source: Tung & Mori 2019, arXiv:1907.09682, eqs. 1 to 4.
    Matches: torchdistill's SPKDLoss with reduction "batchmean".
    """
    student, teacher = _pair(student, teacher, ndim=None, least=2)
    tables = []
    for features in (student, teacher):
        rows = _rescaled(features.flatten(1), dim=None)  # (B, ·)
        tables.append(_direction(rows @ rows.T))  # (B, B)
    value = (tables[1] - tables[0]).square().sum() / len(student) ** 2
    return _finite(value, student=student, teacher=teacher)


def _activity(features: Tensor, power: float, form: str) -> Tensor:
    """Q before it is normalised, (B, C, H, W) → (B, H, W), up to a positive factor of each image."""
    if not (power >= 1 and math.isfinite(power)):
        raise ValueError(f"power must be finite and ≥ 1, got {power}")
    if form not in ("sum", "max"):
        raise ValueError(f'form must be "sum" or "max", got {form!r}')
    strength = _rescaled(features, dim=(1, 2, 3)).abs().pow(power)
    return strength.sum(1) if form == "sum" else strength.amax(1)


def _rescaled(x: Tensor, dim: tuple[int, ...] | None) -> Tensor:
    """x divided by its largest absolute value over ``dim`` (None: all), a constant to autograd; zeros stay zeros."""
    size = x.detach().abs()
    size = size.amax(dim, keepdim=True) if dim else size.max()
    return x / torch.where(size == 0, 1, size)


def _direction(x: Tensor, least: float = 0.0) -> Tensor:
    """x/‖x‖ along the last axis; 0, with gradient 0, where the length is at most ``least``."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    nothing = length <= least  # NaN is not ≤, and stays to be found
    return torch.where(nothing, 0, x / torch.where(nothing, 1, length))


def _pooled(name: str, features: Tensor, size: tuple[int, ...]) -> Tensor:
    """Means over blocks, so that the last two axes become ``size``, which must divide them."""
    (height, width), (h, w) = features.shape[-2:], size
    if height % h or width % w:
        raise ValueError(f"{name}'s map of {height}×{width} must be a whole multiple of the other's {h}×{w}")
    return F.avg_pool2d(features, (height // h, width // w))


def _wide(name: str, features: Tensor, ndim: int | None) -> Tensor:
    """Checked, and at least float32."""
    if not features.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {features.dtype}")
    wanted = {4: "(B, C, H, W)", 2: "(B, D)", None: "(B, …)"}[ndim]
    if (features.ndim != ndim if ndim else features.ndim < 2) or features.numel() == 0:
        raise ValueError(f"{name} must be {wanted} and not empty, got {tuple(features.shape)}")
    return features.float() if features.dtype in (torch.float16, torch.bfloat16) else features


def _pair(student: Tensor, teacher: Tensor, *, ndim: int | None, least: int = 1) -> tuple[Tensor, Tensor]:
    student, teacher = _wide("student", student, ndim), _wide("teacher", teacher, ndim).detach()
    if len(student) != len(teacher):
        raise ValueError(f"student and teacher must see the same batch, got {len(student)} and {len(teacher)} images")
    if len(student) < least:
        raise ValueError(f"at least {least} images are needed to compare their relations, got {len(student)}")
    return student, teacher.to(student.dtype)


def _finite(value: Tensor, **inputs: Tensor) -> Tensor:
    """The loss as it is; if it is NaN or infinite, the reason why."""
    if not value.isfinite():
        for name, x in inputs.items():
            if broken := int((~x.isfinite()).flatten(1).any(1).sum()):
                raise ValueError(f"{name} must be finite, got NaN or ±inf in {broken} of {len(x)} rows")
        sizes = ", ".join(f"{name} up to {x.detach().abs().max():.3g}" for name, x in inputs.items())
        raise ValueError(f"the loss overflowed: {sizes}")
    return value
