"""After a cut the BatchNorms remember the old network: measure their statistics anew, from images, without training.

A BatchNorm keeps each channel's mean and variance, and divides by them at inference. Once channels in front of it are
gone, its inputs are sums of fewer terms, with another mean and variance; the stored ones then shift and scale every
channel wrongly, layer after layer. Much of the accuracy that pruning seems to cost is this alone. One pass over some
hundred unlabelled *training* images puts it right, and changes no weight.

**Exact averages.** PyTorch's own cumulative mode (``momentum=None``) averages the batches' means and variances. The
mean of the variances of parts is not the variance of the whole: what the parts' means differ by is missing, and a small
last batch counts as much as a full one. Here counts, means and squared deviations of all values are joined (Chan, Golub
& LeVeque 1983), so that a BatchNorm gets the mean and the unbiased variance of all values it has seen, however the
images were divided:

    n = n₁ + n₂,   δ = μ₂ − μ₁,   μ = μ₁ + δ·n₂/n,   S = S₁ + S₂ + δ²·n₁·n₂/n,   variance = S / (n − 1)

That holds for what each BatchNorm *sees*. What a deep one sees has passed others, which normalize by their own batch
while the statistics are unknown; with one batch this is PyTorch's result in all layers, with several in those that
stand behind no other. Take batches of hundreds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.data import SignDataset
from course_lib.models.modes import modes, restore_modes_

_BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


@dataclass
class Moments:
    """Count, mean and sum of squared deviations of each channel's values, in double precision.

    Args:
        count: values a channel.
        mean: (C,).
        squares: (C,), Σ (x − mean)².
    """

    count: int
    mean: Tensor
    squares: Tensor

    def add_(self, x: Tensor) -> None:
        """Join the values of x, channels on axis 1.

        >>> moments = Moments(0, torch.zeros(1), torch.zeros(1))
        >>> moments.add_(torch.tensor([[1.0], [2.0]]))
        >>> moments.add_(torch.tensor([[6.0]]))
        >>> moments.count, moments.mean.item(), moments.variance().item()
        (3, 3.0, 7.0)
        """
        values = x.detach().transpose(0, 1).flatten(1).double()  # (C, values)
        count, mean = values.shape[1], values.mean(1)
        squares = (values - mean[:, None]).square().sum(1)
        delta, total = mean - self.mean, self.count + count
        self.squares = self.squares + squares + delta.square() * (self.count * count / total)
        self.mean = self.mean + delta * (count / total)
        self.count = total

    def variance(self) -> Tensor:
        """(C,), with n − 1 in the denominator, as BatchNorm keeps it."""
        return self.squares / (self.count - 1)


def reestimate_batch_norm_(model: nn.Module, images: SignDataset | Iterable[Tensor], *, batch_size: int = 500) -> None:
    """Put the mean and variance of these images into every BatchNorm of ``model``, in place of what it remembers.

    The rest of the network is in eval mode meanwhile (no dropout), and all modes, weights and other buffers are as
    before afterwards. A BatchNorm that is frozen stays as it is, by the rule of ``training.fit``: it is in eval mode in
    a network in train mode; a network in eval mode, as loaded and trained ones are, is re-estimated wholly. So are left
    alone a BatchNorm without running statistics and one that the network does not call in eval mode.

    Args:
        images: a set, best a few hundred images of the training part, plain; or batches (B, …) of inputs.
        batch_size: the largest number of a set's images in one pass; a set is divided evenly.
    Raises: ValueError: the model has no BatchNorm to re-estimate, there are no images, batch_size is below 1, a batch
        holds a single value a channel, or a statistic is not finite. The model is then as it was.
    """
    layers = _thawed(model)
    kept_modes = modes(model)
    kept = [(buffer, buffer.clone()) for layer in layers for buffer in layer.buffers(recurse=False)]
    try:
        model.eval()
        for layer in layers:
            layer.training = True  # normalizes by its batch
        moments, batches = _seen(model, layers, _batches(images, batch_size))
    finally:
        # A pass in train mode has moved them; whatever stopped it, Ctrl-C too, half of the statistics are none.
        for buffer, value in kept:
            buffer.copy_(value)
        restore_modes_(kept_modes)
    _require_finite(model, moments)
    for layer, found in moments.items():
        _store_(layer, found, batches)


def _seen(model: nn.Module, layers: list[nn.Module], batches: Iterable[Tensor]) -> tuple[dict[nn.Module, Moments], int]:
    """What each layer gets as its input over all batches, and how many batches there are."""
    device = next(model.parameters(), torch.empty(0)).device
    moments: dict[nn.Module, Moments] = {}
    handles = [layer.register_forward_pre_hook(_collector(moments)) for layer in layers]
    count = 0
    try:
        with torch.no_grad():
            for batch in batches:
                model(batch.to(device))
                count += 1
    finally:
        for handle in handles:
            handle.remove()
    if not count:
        raise ValueError("images must hold at least one image, got none")
    return moments, count


def _store_(layer: nn.Module, found: Moments, batches: int) -> None:
    assert isinstance(layer, _BatchNorm)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    layer.running_mean.copy_(found.mean)
    layer.running_var.copy_(found.variance())
    if layer.num_batches_tracked is not None:
        layer.num_batches_tracked.fill_(batches)


def _thawed(model: nn.Module) -> list[nn.Module]:
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    found: list[nn.Module] = [norm for norm in norms if norm.training or not model.training]
    if not found:
        raise ValueError("the model has no BatchNorm with running statistics that is not frozen")
    return found


def _collector(moments: dict[nn.Module, Moments]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def collect(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        channels = inputs[0].shape[1]
        zero = torch.zeros(channels, dtype=torch.float64, device=inputs[0].device)
        moments.setdefault(layer, Moments(0, zero, zero)).add_(inputs[0])

    return collect


def _batches(images: SignDataset | Iterable[Tensor], batch_size: int) -> Iterator[Tensor]:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if not isinstance(images, SignDataset):
        yield from images
    elif len(images):
        for indices in np.array_split(np.arange(len(images)), -(-len(images) // batch_size)):
            yield images.batch(indices)[0]


def _require_finite(model: nn.Module, moments: dict[nn.Module, Moments]) -> None:
    for name, module in model.named_modules():
        found = moments.get(module)
        if found is not None and not (torch.isfinite(found.mean).all() and torch.isfinite(found.variance()).all()):
            raise ValueError(f"the statistics of {name!r} are not finite on these images")
