"""A convolution or a linear layer in training whose *folded* weights are rounded, as those of the deployed one are.

At inference BatchNorm is one factor and one shift a channel, f = γ/√(σ² + ε), folded into weights and bias:

    y = Q(w·f) ∗ x + Q(b − μ·f + β)            w·f is what gets codes, not w

Rounding w in training and folding afterwards would round other numbers than training saw: f differs by channel, and
with a scale a layer most channels would lose their codes. So training folds as well. But with which statistics?

* **Batch statistics in the fold** (Jacob et al. 2018, fig. C.8): the codes then jump with every batch.
* **Running statistics in the fold, the batch's put right after the convolution** (Krishnamoorthi 2018, section 3.2.2):
  the sums are multiplied by √σ²_running/√σ²_batch. The weights' codes are those of inference, and what follows is
  normalized by its batch, as training wants. This is what is done here:

      z = Q(w·f) ∗ x            y = BatchNorm(z / f)

* **Frozen statistics**: once the codes have settled, batches stop moving them: the running ones are used for all, and
  training computes exactly what inference does. A frozen BatchNorm stands in eval mode in a network that trains, the
  rule of ``training.fit`` (``freeze_statistics_``, ``FrozenStatistics``).

Both papers take the statistics from a second convolution with float weights. Here, as in PyTorch's ``qat.ConvBn2d``,
they are those of the rounded one: half the time, and the running mean knows what rounding to 2 bits has done to the
sums, which would otherwise remain as an error of the bias.

The bias has the accumulator's scale, S_x·S_w, and is rounded to it wherever it is known: in eval mode and frozen.

Jacob et al. 2018, arXiv:1712.05877; Krishnamoorthi 2018, arXiv:1806.08342.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.quantization.affine import LEAST_SCALE, Affine, Codes, along, min_max
from course_lib.quantization.aware.learned_step import LearnedStep, starting_step
from course_lib.quantization.aware.quantizer import rounded
from course_lib.quantization.calibrated import LARGEST_BIAS
from course_lib.training import Constraint

LEAST_FACTOR = 1e-12
"""A channel that BatchNorm multiplies by less is 0; dividing by its factor would give no number."""


class QuantizedLayer(nn.Module):
    """Convolution or linear layer with its BatchNorm, weights rounded to codes: (B, C_in, …) → (B, C_out, …).

    Args:
        layer: nn.Conv2d or nn.Linear; copied.
        norm: the BatchNorm behind it, with running statistics; copied; or None.
        codes: signed, of the weights.
        per_channel: a step for each output channel, else one.
        relative: see ``LearnedStep``.
    Raises: ValueError: unsigned codes, or a BatchNorm without running statistics.
    """

    def __init__(
        self,
        layer: nn.Conv2d | nn.Linear,
        norm: nn.BatchNorm1d | nn.BatchNorm2d | None,
        codes: Codes,
        *,
        per_channel: bool = True,
        relative: bool = True,
    ):
        super().__init__()
        if not codes.signed:
            raise ValueError("the codes of weights must be signed: weights lie on both sides of 0")
        if norm is not None and (norm.running_mean is None or norm.running_var is None):
            raise ValueError("a BatchNorm without running statistics cannot be folded")
        self.layer, self.norm = copy.deepcopy(layer), copy.deepcopy(norm)
        affine = _starting_affine(self.folded()[0].detach(), codes, per_channel)
        self.quantizer = LearnedStep(affine, batched=False, relative=relative)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias (C_out,) with BatchNorm's running statistics folded in, before rounding, with gradient."""
        weight, bias = self.layer.weight, self.layer.bias
        if bias is None:
            bias = weight.new_zeros(len(weight))
        if self.norm is None:
            return weight, bias
        factor, mean = self._factor(), self.norm.running_mean
        assert mean is not None
        bias = (bias - mean) * factor
        return weight * along(factor, weight.ndim, 0), bias if self.norm.bias is None else bias + self.norm.bias

    def least_step(self, bias: Tensor, input_scale: Tensor) -> Tensor:
        """(C_out,) or (): the smallest weight step with which the bias still has a code that float32 holds exactly."""
        least = bias.detach().abs() / (input_scale.detach() * LARGEST_BIAS)
        return (least if self.quantizer.axis is not None else least.amax()).clamp(min=LEAST_SCALE)

    def forward(self, x: Tensor, input_scale: Tensor) -> Tensor:
        """Args: x: on codes. input_scale: S_x, ()."""
        weight, bias = self.folded()
        least = self.least_step(bias, input_scale)
        weight = self.quantizer(weight, least)
        if self.norm is not None and self.norm.training:
            return self._normalized(self._applied(x, weight, None))
        scale = (input_scale * self.quantizer.scale(least)).detach()
        codes = rounded(bias.double() / scale.double()).to(scale.dtype)
        return self._applied(x, weight, codes * scale)

    @torch.no_grad()
    def deployed(self, input_scale: Tensor) -> tuple[Tensor, Tensor, Affine, Tensor]:
        """Folded weight and bias, the weight's scales, and the weight's codes, int32, exactly as ``forward`` has them.

        Args: input_scale: S_x, ().
        """
        weight, bias = (part.detach().clone() for part in self.folded())
        quantizer, scale = self.quantizer, self.quantizer.scale(self.least_step(bias, input_scale))
        codes = (weight * along(scale, weight.ndim, quantizer.axis).reciprocal()).round().clamp(*quantizer.ends)
        affine = Affine(quantizer.codes, scale.clone(), quantizer.zero_point.clone(), quantizer.axis)
        return weight.contiguous(), bias, affine, codes.to(torch.int32).contiguous()

    def _factor(self) -> Tensor:
        """f, (C_out,), with γ's gradient."""
        assert self.norm is not None
        assert self.norm.running_var is not None
        spread = (self.norm.running_var + self.norm.eps).rsqrt()
        return spread if self.norm.weight is None else self.norm.weight * spread

    def _normalized(self, sums: Tensor) -> Tensor:
        """BatchNorm(z/f), by the batch's statistics; the running ones move."""
        assert self.norm is not None
        factor = self._factor()
        factor = torch.where(factor.abs() < LEAST_FACTOR, torch.full_like(factor, LEAST_FACTOR), factor)
        sums = sums / along(factor, sums.ndim, 1)
        # The running mean is that of the layer's own sums, its bias included.
        return self.norm(sums if self.layer.bias is None else sums + along(self.layer.bias, sums.ndim, 1))

    def _applied(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        layer = self.layer
        if isinstance(layer, nn.Linear):
            return F.linear(x, weight, bias)
        assert not isinstance(layer.padding, str)
        return F.conv2d(x, weight, bias, layer.stride, layer.padding, groups=layer.groups)


def _starting_affine(weight: Tensor, codes: Codes, per_channel: bool) -> Affine:
    """Scales of ``starting_step``; a channel of zeros gets the mean magnitude of the whole layer."""
    of_range = min_max(weight, codes, symmetric=True, axis=0 if per_channel else None)
    rows = weight.flatten(1).abs()
    mean, whole = (rows.mean(1), rows.mean()) if per_channel else (rows.mean(), rows.mean())
    step = starting_step(mean, of_range.scale, codes.low, codes.high)
    if per_channel and whole > 0:
        step = torch.where(mean > 0, step, starting_step(whole, rows.amax() / codes.high, codes.low, codes.high))
    return Affine(codes, step.float(), of_range.zero_point, of_range.axis)


def freeze_statistics_(network: nn.Module) -> None:
    """Train mode for the network, but for its BatchNorms, whose statistics stay: ``fit`` keeps it so.

    Args: network: any; a part of it that was in eval mode trains afterwards.
    """
    network.train()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()


class FrozenStatistics(Constraint):
    """BatchNorm's statistics stay from some epoch on: ``fit(…, constraint=FrozenStatistics(4))``.

    Args: epoch: the first, from 0, in which they are frozen.
    Raises: ValueError: an epoch below 0.
    """

    def __init__(self, epoch: int):
        if epoch < 0:
            raise ValueError(f"epoch must be ≥ 0, got {epoch}")
        self.epoch, self._first = epoch, 0

    def start(self, model: nn.Module, epochs: int, steps_per_epoch: int) -> None:
        """Count the steps before."""
        self._first = self.epoch * steps_per_epoch

    def before_step(self, model: nn.Module, step: int) -> None:
        """``fit`` puts every module into train mode when an epoch begins."""
        if step >= self._first:
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def identity(self) -> str:
        """The epoch."""
        return f"statistics frozen from epoch {self.epoch}"
