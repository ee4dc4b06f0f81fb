"""Dynamic pruning: each image says which channels it needs, and the others are not computed.

Cutting removes a channel for all images. A *gated* layer asks anew for each: a small linear layer looks at the mean of
each of its input channels and decides, for each output channel, whether it is on.

    z = V·BatchNorm(mean(x)) + c  (C_out,)     g = 1 where z > 0, else 0     y = g ⊙ ReLU(BatchNorm(convolution(x)))

A channel that is off is 0 behind its ReLU. Its filter need not be computed, and the next layer need not multiply by it:
of a layer with C_in → C_out channels of which n_in and n_out are on, an image needs

    MACs = positions · k² · n_in · n_out  +  n_in · C_out            (the second term is the gate itself)

* **Straight through.** A decision has no gradient. Backwards it is taken for the sigmoid of z, which it rounds (Bengio
  et al. 2013, arXiv:1308.3432): ∂g/∂z = σ(z)·(1 − σ(z)).
* **A budget.** ``gating_loss`` adds weight · (mean executed fraction of the batch − target)²; an image may take more
  if others take less. Without it nothing would ever be switched off.
* **One scale.** Means of activations differ in size from channel to channel, and with the light. A BatchNorm without
  parameters puts them on one scale; in eval mode it is folded into V and c, and costs nothing.
* **Never nothing.** The channel of the largest z is on whatever its sign, so that no layer is empty.
* **A quiet start.** V = 0 and c = 1: all channels are on, and the gated network computes what the plain one does.

Sources, and what is simplified. Gao et al. 2019 (Feature Boosting and Suppression, arXiv:1810.05331): the same small
layer on pooled inputs; there exactly k channels win and their z scales them, so that every image takes the same work.
Bejnordi et al. 2020 (Batch-shaping, arXiv:1907.06627): on-off gates and a loss on the work, with noise while training
and a prior on how often each gate is on; neither is here. Hua et al. 2019 (Channel gating, arXiv:1805.12549) decide for
every position from a part of the channels; here one decision holds for the whole image.

The network computes all channels and multiplies by 0 or 1: that is for training, batch by batch. ``chosen_executor``
takes one image and computes the chosen channels alone. It is the proof that the count is honest, and no fast kernel.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.data import SignDataset
from course_lib.measure.counting import macs_by_layer
from course_lib.models import SignStudent, eval_mode
from course_lib.training import Batch, Constraint
from course_lib.training.loss import LossFunction

Decisions = Sequence[Tensor]
"""For each layer which channels are on: (B, C_l) of 0 and 1, or boolean."""


class Gate(nn.Module):
    """z = V·BatchNorm(mean(x)) + c: activations (B, C_in, H, W) → (B, C_out), positive for a channel that is on.

    >>> Gate(3, 2)(torch.rand(4, 3, 5, 5)).tolist()
    [[1.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(in_channels, affine=False)
        self.linear = nn.Linear(in_channels, out_channels)
        nn.init.zeros_(self.linear.weight)
        nn.init.ones_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x.mean((2, 3))))

    def folded(self) -> tuple[Tensor, Tensor]:
        """(weight (C_out, C_in), bias (C_out,)) of one linear layer that gives z from mean(x), in eval mode.

        >>> gate = Gate(2, 1).eval()
        >>> _ = gate.linear.weight.data.copy_(torch.tensor([[3.0, 1.0]]))
        >>> _ = gate.norm.running_mean.copy_(torch.tensor([0.5, 0.0]))
        >>> weight, bias = gate.folded()
        >>> [round(v, 2) for v in (*weight[0].tolist(), bias.item())]
        [3.0, 1.0, -0.5]
        """
        mean, variance = cast(Tensor, self.norm.running_mean), cast(Tensor, self.norm.running_var)
        weight = self.linear.weight / (variance + self.norm.eps).sqrt()
        return weight, self.linear.bias - weight @ mean


class GatedStudent(nn.Module):
    """A student whose layers are gated: (B, 3, H, W) in [0, 1] → logits (B, C).

    ``decisions`` holds what the last forward pass decided, with gradients in training; copies begin without.

    Args: student: a chain convolution → BatchNorm → ReLU; it is copied.

    >>> from course_lib.models import sign_student
    >>> student = sign_student(0.5).eval()
    >>> gated, image = GatedStudent(student).eval(), torch.rand(1, 3, 32, 32)
    >>> torch.equal(gated(image), student(image)), [int(on.sum()) for on in gated.decisions]
    (True, [8, 16, 24, 32, 48])
    """

    def __init__(self, student: SignStudent):
        super().__init__()
        self.student = copy.deepcopy(student)
        self.gates = nn.ModuleList(Gate(c.in_channels, c.out_channels) for c, _ in chain(self.student))
        self.decisions: tuple[Tensor, ...] = ()
        self.train(student.training)

    def forward(self, images: Tensor, decisions: Decisions | None = None) -> Tensor:
        """Logits; ``decisions`` of one's own, such as another image's, take the place of the gates'."""
        if decisions is not None:
            require_fitting(self, decisions, len(images))
        x, made = images, []
        for number, (layer, gate) in enumerate(zip(self.student.features, self.gates, strict=True)):
            on = hard_gate(gate(x)) if decisions is None else decisions[number].to(x.dtype)  # (B, C_l)
            x = layer(x) * on[:, :, None, None]
            made.append(on)
        self.decisions = tuple(made)
        return self.student.classifier(self.student.pool(x).flatten(1))

    def __getstate__(self) -> dict[str, object]:
        # A tensor with a history can be neither copied nor pickled.
        return {**self.__dict__, "decisions": ()}


def hard_gate(z: Tensor) -> Tensor:
    """1 where z > 0 or z is the largest of its row, else 0; backwards the sigmoid's gradient: the shape of z.

    Args: z: (B, C).
    Source: Bengio et al. 2013, arXiv:1308.3432, section 4 (straight-through estimator).

    >>> z = torch.tensor([[2.0, 0.0, -1.0], [-3.0, -1.0, -2.0]], requires_grad=True)
    >>> on = hard_gate(z)
    >>> on.tolist(), [round(g, 3) for g in torch.autograd.grad(on.sum(), z)[0][0].tolist()]
    ([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [0.105, 0.25, 0.197])
    """
    largest = F.one_hot(z.argmax(1), z.shape[1]).bool()
    soft = torch.sigmoid(z)
    # The bracket is exactly 0, so that the value is exactly 0 or 1.
    return ((z > 0) | largest).to(z.dtype) + (soft - soft.detach())


@dataclass(frozen=True)
class ChainCost:
    """What a gated chain costs, for any decisions.

    Args:
        channels: of the image and of each layer, C_0, C_1 … C_L.
        pair_macs: of each layer: the MACs of one input channel and one output channel, positions · k².
        classes: outputs of the classifier, which is never gated.

    >>> cost = ChainCost((3, 4, 2), (10, 5), classes=6)
    >>> cost.dense, cost.gates  # 10·3·4 + 5·4·2 + 2·6, and 3·4 + 4·2
    (172, 20)
    >>> cost.executed([torch.tensor([[1, 0, 1, 0]]), torch.tensor([[1, 0]])])  # 10·3·2 + 3·4 + 5·2·1 + 2·2 + 1·6
    tensor([92.], dtype=torch.float64)
    """

    channels: tuple[int, ...]
    pair_macs: tuple[int, ...]
    classes: int

    @property
    def dense(self) -> int:
        """MACs of the plain network, without gates."""
        pairs = itertools.pairwise(self.channels)
        layers = sum(macs * before * after for macs, (before, after) in zip(self.pair_macs, pairs, strict=True))
        return layers + self.channels[-1] * self.classes

    @property
    def gates(self) -> int:
        """MACs of all gates, if every channel is on."""
        return sum(before * after for before, after in itertools.pairwise(self.channels))

    def executed(self, decisions: Decisions) -> Tensor:
        """MACs that each image needs, its gates' included: (B,), float64, with the decisions' gradient."""
        before = decisions[0].new_full((len(decisions[0]),), self.channels[0], dtype=torch.float64)
        total = torch.zeros_like(before)
        for macs, size, on in zip(self.pair_macs, self.channels[1:], decisions, strict=True):
            after = on.sum(1).double()
            total = total + macs * before * after + before * size
            before = after
        return total + before * self.classes


def gating_cost(model: GatedStudent, input_shape: Sequence[int] = (1, 3, 32, 32)) -> ChainCost:
    """The cost of a gated student for images of this shape, by the conventions of ``measure.counting``.

    >>> from course_lib.models import sign_student
    >>> gating_cost(GatedStudent(sign_student(0.5))).channels
    (3, 8, 16, 24, 32, 48)
    """
    found = macs_by_layer(model.student, (1, *input_shape[1:]))
    convolutions = [conv for conv, _ in chain(model.student)]
    pair_macs = [found[f"features.{i}.0"] // (c.in_channels * c.out_channels) for i, c in enumerate(convolutions)]
    channels = (convolutions[0].in_channels, *(c.out_channels for c in convolutions))
    return ChainCost(channels, tuple(pair_macs), model.student.classifier.out_features)


def gating_loss(model: GatedStudent, cost: ChainCost, target: float, weight: float) -> LossFunction:
    """Cross-entropy + weight · (mean executed fraction − target)², for ``fit(model, …, loss=…)``.

    Args:
        model: that is trained: its last decisions are looked at.
        target: executed MACs / MACs of the plain network, in (0, 1].
        weight: ≥ 0, in nats.
    Raises: ValueError: target or weight is out of range.
    """
    if not 0 < target <= 1 or not weight >= 0:
        raise ValueError(f"target must be in (0, 1] and weight ≥ 0, got {target} and {weight}")

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        fraction = cost.executed(model.decisions).mean() / cost.dense
        return F.cross_entropy(logits, batch.labels) + weight * (fraction.float() - target).square()

    return loss


def gate_decisions(model: GatedStudent, images: SignDataset, *, batch_size: int = 500) -> tuple[Tensor, ...]:
    """What every image's gates decide: for each layer (N, C_l), boolean.

    >>> from course_lib.models import sign_student
    >>> signs = SignDataset(np.zeros((2, 3, 8, 8), np.uint8), np.array([0, 1]))
    >>> [tuple(on.shape) for on in gate_decisions(GatedStudent(sign_student(channels=(4, 5), strides=(2, 1))), signs)]
    [(2, 4), (2, 5)]
    """
    parts: list[tuple[Tensor, ...]] = []
    with eval_mode(model), torch.inference_mode():
        for start in range(0, len(images), batch_size):
            model(images.batch(np.arange(start, min(start + batch_size, len(images))))[0])
            parts.append(tuple(on > 0 for on in model.decisions))
    return tuple(torch.cat(layer) for layer in zip(*parts, strict=True))


def chosen_executor(model: GatedStudent) -> Callable[[Tensor], Tensor]:
    """A function from one image (1, 3, H, W) to its logits (1, C) that computes the chosen channels alone.

    It slices the weights anew for each image; BatchNorm works as in eval mode. Sums of fewer terms round differently:
    where a z is 0 to seven digits, a decision may differ from the network's.

    Args: model: read now; what it learns afterwards is not seen in the gates.
    Raises: ValueError: when called with another number of images.

    >>> from course_lib.models import sign_student
    >>> gated, image = GatedStudent(sign_student(0.5)).eval(), torch.rand(1, 3, 32, 32)
    >>> torch.allclose(chosen_executor(gated)(image), gated(image), atol=1e-5)
    True
    """
    folded = [tuple(t.detach() for t in cast(Gate, gate).folded()) for gate in model.gates]

    @torch.no_grad()
    def execute(image: Tensor) -> Tensor:
        if len(image) != 1:
            raise ValueError(f"image must be one image (1, 3, H, W), got {list(image.shape)}")
        x, there = image, torch.arange(image.shape[1], device=image.device)
        for layer, (weight, bias) in zip(chain(model.student), folded, strict=True):
            z = F.linear(x.mean((2, 3)), weight[:, there], bias)
            on = hard_gate(z)[0].nonzero().flatten()
            x, there = _sliced(*layer, x, on, there), on
        classifier = model.student.classifier
        return F.linear(x.mean((2, 3)), classifier.weight[:, there], classifier.bias)

    return execute


def _sliced(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor, on: Tensor, there: Tensor) -> Tensor:
    """ReLU(BatchNorm(convolution)) of the channels ``on``, from an input that holds the channels ``there``."""
    y = F.conv2d(x, conv.weight[on][:, there], None, conv.stride, conv.padding)
    statistics = cast(Tensor, norm.running_mean)[on], cast(Tensor, norm.running_var)[on]
    return F.relu(F.batch_norm(y, *statistics, norm.weight[on], norm.bias[on], eps=norm.eps))


class LastEpoch(Constraint):
    """Only the last epoch may be chosen: ``fit(model, …, constraint=LastEpoch())``.

    While the executed fraction falls to its target, the most accurate epoch is an early one that still executes much.
    """

    _last = -1

    def start(self, model: nn.Module, epochs: int, steps_per_epoch: int) -> None:
        """Note which step is the last."""
        self._last = epochs * steps_per_epoch - 1

    def may_be_chosen(self, step: int) -> bool:
        """Whether it is the last one."""
        return step == self._last


def chain(student: SignStudent) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """The chain's convolutions with their BatchNorms, in order."""
    layers = [cast(nn.Sequential, layer) for layer in student.features]
    return [(cast(nn.Conv2d, layer[0]), cast(nn.BatchNorm2d, layer[1])) for layer in layers]


def require_fitting(model: GatedStudent, decisions: Decisions, count: int) -> None:
    """Refuse decisions of another shape. Raises: ValueError naming the layer."""
    wanted = [(count, c.out_channels) for c, _ in chain(model.student)]
    found = [tuple(on.shape) for on in decisions]
    if found != wanted:
        raise ValueError(f"decisions must be of the shapes {wanted}, got {found}")
