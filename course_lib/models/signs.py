"""The networks of the course: one residual teacher, one family of small students, for 32×32 signs.

Both take images (B, 3, 32, 32), float in [0, 1], and return logits (B, C). There is no normalisation layer in front:
the first convolution and its BatchNorm learn the shift and the scale, so the deployed network eats the camera's bytes
divided by 255, which an 8-bit code with scale 1/255 and zero point 0 represents without any error.

The teacher is a residual network (He et al. 2016, arXiv:1512.03385, basic blocks): four stages at 32, 16, 8 and 4
pixels. The students are plain chains convolution → BatchNorm → ReLU: nothing but what an integer runtime fuses into
one kernel a layer. ``width`` scales every layer's channels; ``channels`` sets them one by one, which is how a pruned
student is described. ``strides`` says where the resolution is given up: 2 halves height and width. A stride costs no
parameter and saves multiplications, so it is the cheapest thing to change about a student, in both directions.

All modules are plain ``nn.Module`` trees without data-dependent control flow, so torch.fx traces them, ONNX exports
them, and a channel can be removed by cutting tensors. Industrial students use depthwise convolutions, squeeze and
excitation and searched widths (MobileNetV3, EfficientNet): a later chapter measures what those buy.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from course_lib.models.blocks import ConvBNReLU, ResidualBlock

NUM_CLASSES = 43
TEACHER_CHANNELS, TEACHER_BLOCKS = (32, 64, 128, 224), (1, 2, 2, 1)
STUDENT_CHANNELS, STUDENT_STRIDES = (16, 32, 48, 64, 96), (2, 2, 1, 2, 1)


class SignTeacher(nn.Module):
    """Residual network, 1.4 M parameters: (B, 3, 32, 32) in [0, 1] → logits (B, C).

    Args:
        num_classes: C ≥ 2.
        channels, blocks: one entry a stage; each stage after the first halves height and width.
        dropout: the fraction in [0, 1) of the features that training sets to 0 before the classifier. It belongs to
            training, not to the network: nothing of it is saved, exported or, in eval mode, computed.
    Raises: ValueError for fewer than two classes, stages of unequal length, a count below one, or dropout outside
        [0, 1).
    Source: He et al. 2016, arXiv:1512.03385, basic block.
    """

    def __init__(
        self,
        num_classes: int = NUM_CLASSES,
        channels: Sequence[int] = TEACHER_CHANNELS,
        blocks: Sequence[int] = TEACHER_BLOCKS,
        dropout: float = 0.0,
    ):
        super().__init__()
        _check_classes(num_classes)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        if not channels or len(channels) != len(blocks):
            raise ValueError(f"channels and blocks must have one entry a stage, got {len(channels)} and {len(blocks)}")
        if min(*channels, *blocks) < 1:
            raise ValueError(f"channels and blocks must be positive, got {list(channels)} and {list(blocks)}")
        self.channels, self.blocks = tuple(channels), tuple(blocks)
        self.stem = ConvBNReLU(3, channels[0])
        layers, width = [], channels[0]
        for stage, (out, count) in enumerate(zip(channels, blocks, strict=True)):
            for block in range(count):
                layers.append(ResidualBlock(width, out, stride=2 if stage > 0 and block == 0 else 1))
                width = out
        self.stages = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        # No module at all without it: a graph, or the text that names a network in a cache, is the one it was.
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.pool(self.stages(self.stem(images))).flatten(1)  # (B, C₄)
        if self.dropout is not None:
            features = self.dropout(features)
        return self.classifier(features)  # (B, C)


class SignStudent(nn.Module):
    """Plain convolution chain: (B, 3, 32, 32) in [0, 1] → logits (B, C).

    Five convolutions 3×3 with strides 2, 2, 1, 2, 1 leave 16, 8, 8, 4 and 4 pixels a side; then the mean over the
    remaining 4×4 grid and one linear layer. With other strides another grid remains.

    Args:
        width: factor on STUDENT_CHANNELS, rounded to multiples of 4 (8-bit kernels work on groups of channels).
        num_classes: C ≥ 2.
        channels: the layers' channels themselves; excludes ``width``.
        strides: one entry a layer, 1 or 2.
    Raises: ValueError for a width ≤ 0, channels that are not as many positive counts as there are strides, a stride
        other than 1 and 2, or fewer than two classes.
    """

    def __init__(
        self,
        width: float = 1.0,
        num_classes: int = NUM_CLASSES,
        *,
        channels: Sequence[int] | None = None,
        strides: Sequence[int] = STUDENT_STRIDES,
    ):
        super().__init__()
        _check_classes(num_classes)
        if not strides or not set(strides) <= {1, 2}:
            raise ValueError(f"strides must be 1 or 2, one a layer, got {list(strides)}")
        if channels is None:
            if not 0 < width <= 16:
                raise ValueError(f"width must be in (0, 16], got {width}")
            channels = [max(4, 4 * round(width * c / 4)) for c in STUDENT_CHANNELS]
        if len(channels) != len(strides) or min(channels) < 1:
            raise ValueError(f"channels must be {len(strides)} positive counts, got {list(channels)}")
        self.channels, self.strides = tuple(int(c) for c in channels), tuple(int(s) for s in strides)
        inputs = (3, *self.channels[:-1])
        self.features = nn.Sequential(
            *(ConvBNReLU(i, o, stride=s) for i, o, s in zip(inputs, self.channels, self.strides, strict=True))
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(self.channels[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(images)).flatten(1))  # (B, C)


def sign_teacher(num_classes: int = NUM_CLASSES, *, dropout: float = 0.0) -> SignTeacher:
    """The course's teacher, untrained; ``course_lib.models.checkpoints.load`` gives the trained one.

    >>> sum(p.numel() for p in sign_teacher().parameters())
    1426091
    """
    return SignTeacher(num_classes, dropout=dropout)


def sign_student(
    width: float = 1.0,
    num_classes: int = NUM_CLASSES,
    *,
    channels: Sequence[int] | None = None,
    strides: Sequence[int] = STUDENT_STRIDES,
) -> SignStudent:
    """A student, untrained, with its layers scaled by ``width`` or given by ``channels``.

    >>> sign_student(0.5).channels, sign_student(channels=(1, 2, 3, 4, 5)).channels
    ((8, 16, 24, 32, 48), (1, 2, 3, 4, 5))
    >>> small = sign_student(channels=(12, 24, 32, 40, 56), strides=(1, 2, 1, 2, 2))  # keeps 32 and 16 pixels longer
    >>> sum(p.numel() for p in small.parameters())
    44287
    """
    return SignStudent(width, num_classes, channels=channels, strides=strides)


def _check_classes(num_classes: int) -> None:
    if num_classes < 2:
        raise ValueError(f"num_classes must be at least 2, got {num_classes}")
