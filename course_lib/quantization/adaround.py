"""AdaRound: to which neighbour shall a weight be rounded? Not always to the nearest.

A layer's output is a sum: two weights that are rounded in the same direction add their errors, and two in opposite
directions cancel them. So the direction of each weight is *learned*, layer by layer, from what the layer really reads:

    W̃ = S·clip(floor(W / S) + h(V), low, high)        h(V) = clip(1.2·σ(V) − 0.1, 0, 1)

    loss = mean over outputs of (f(W·x + b) − f(W̃·x̂ + b))²  +  λ·Σ (1 − |2·h(V) − 1|^β)

x is what the layer reads in float32, x̂ what it reads once all layers before it are in codes, f its ReLU. h is soft at
first; the second term pulls it to 0 or 1, weakly while β is large, and strongly as β falls from 20 to 2. At the end
each weight has gone down or up: nothing but the codes changes, and they fit the same kernels.

Nagel et al. 2020, arXiv:2004.10568, eq. 21 to 25. The layer is fitted on patches drawn at random from its input, as a
matrix product, which costs the same for every image size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.quantization.affine import dequantize, quantize
from course_lib.quantization.calibrated import QuantizedNetwork
from course_lib.quantization.graph import INPUT, Convolution, Weighted
from course_lib.quantization.layers import activated

STRETCH = 1.1, -0.1
"""ζ and γ: σ is stretched beyond 0 … 1 and clipped, so that both ends are reached."""


@dataclass(frozen=True)
class Rounding:
    """How the directions are learned.

    Args:
        steps: of Adam, a layer.
        rate: learning rate of V.
        patches: rows of the matrix product that a layer is fitted on, in all.
        batch: rows of a step.
        pull: λ, for a sum over the layer's weights divided by their number.
        warm: part of the steps without the pull, in [0, 1).
        seed: of patches and batches.
    Raises: ValueError: a number outside its range.
    """

    steps: int = 1000
    rate: float = 0.02
    patches: int = 16_384
    batch: int = 512
    pull: float = 0.1
    warm: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.patches, self.batch) < 1 or not 0 <= self.warm < 1 or not self.rate > 0:
            raise ValueError(f"steps, patches, batch must be ≥ 1, warm in [0, 1), rate > 0, got {self}")


@dataclass(frozen=True)
class Fit:
    """What learning the directions of one layer brought.

    Args:
        layer: its name.
        nearest: mean squared error of its outputs, rounded to nearest.
        learned: with the learned directions.
        flipped: part of the weights that went away from the nearest code.
    """

    layer: str
    nearest: float
    learned: float
    flipped: float


def adaround(
    network: QuantizedNetwork,
    images: Tensor,
    settings: Rounding | None = None,
    *,
    say: Callable[[Fit], object] = lambda fit: None,
) -> QuantizedNetwork:
    """The network with learned directions of rounding, layer by layer.

    Args:
        images: (N, C, H, W), float32 in [0, 1], N ≥ 1, from the training part; no labels are needed.
        settings: default: ``Rounding()``.
        say: is told what each layer's fit brought. A layer that learning would make worse keeps its nearest codes.
    Raises: ValueError: no image.
    """
    if len(images) == 0:
        raise ValueError("there must be at least one image")
    settings = settings or Rounding()
    wanted = network.graph.tensors(images)
    codes = {INPUT: quantize(images, network.activations[INPUT])}
    generator = torch.Generator().manual_seed(settings.seed)
    for layer in network.graph.layers:
        if isinstance(layer, Weighted):
            source = layer.inputs[0]
            x = dequantize(codes[source], network.activations[source])
            places = _places(layer, x, settings.patches, generator)
            target = _outputs(layer, _patches(layer, wanted[source], places), layer.weight, layer.bias)
            found, fit = _learn(network, layer, _patches(layer, x, places), target, settings, generator)
            network = replace(network, rounded={**network.rounded, layer.name: found})
            say(fit)
        with torch.inference_mode():
            inputs = [dequantize(codes[name], network.activations[name]) for name in layer.inputs]
            codes[layer.name] = quantize(network.on_codes(layer)(*inputs), network.activations[layer.name])
    return network


def _learn(
    network: QuantizedNetwork,
    layer: Weighted,
    x: Tensor,
    target: Tensor,
    settings: Rounding,
    generator: torch.Generator,
) -> tuple[Tensor, Fit]:
    """Codes of the layer's weights, and what they brought."""
    affine = network.weights[layer.name]
    scale, _ = affine.along(layer.weight)
    below = (layer.weight / scale).floor()
    bias = network.bias_codes(layer) * network.bias_scale(layer)

    def error(codes: Tensor) -> float:
        return float((_outputs(layer, x, codes * scale, bias) - target).square().mean())

    def hard(direction: Tensor) -> Tensor:
        return (below + direction).clamp(affine.codes.low, affine.codes.high)

    v = _inverse(layer.weight / scale - below).requires_grad_()
    power = target.square().mean().clamp(min=1e-12)
    optimizer = torch.optim.Adam([v], lr=settings.rate)
    for step in range(settings.steps):
        rows = torch.randint(len(x), (min(settings.batch, len(x)),), generator=generator)
        h = _soft(v)
        weight = scale * (below + h).clamp(affine.codes.low, affine.codes.high)
        loss = (_outputs(layer, x[rows], weight, bias) - target[rows]).square().mean()
        loss = loss / power + _pull(h, step, settings)  # scaled, so that one λ serves all layers
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    nearest = network.weight_codes(layer).float()
    learned = hard((_soft(v.detach()) >= 0.5).float())
    errors = error(nearest), error(learned)
    if errors[1] >= errors[0]:
        return nearest.int(), Fit(layer.name, errors[0], errors[0], 0.0)
    return learned.int(), Fit(layer.name, *errors, float((learned != nearest).float().mean()))


def _pull(h: Tensor, step: int, settings: Rounding) -> Tensor | float:
    """λ times the second term, its mean over the weights; 0 while warm."""
    progress = (step / settings.steps - settings.warm) / (1 - settings.warm)
    if progress < 0:
        return 0.0
    return settings.pull * (1 - (2 * h - 1).abs().pow(20 - 18 * progress)).mean()


def _soft(v: Tensor) -> Tensor:
    high, low = STRETCH
    return (torch.sigmoid(v) * (high - low) + low).clamp(0, 1)


def _inverse(h: Tensor) -> Tensor:
    """V with h(V) = h: learning starts at the weight itself."""
    high, low = STRETCH
    return torch.logit(((h - low) / (high - low)).clamp(1e-4, 1 - 1e-4))


def _places(layer: Weighted, x: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Which rows of the matrix of all patches are fitted, without replacement."""
    total = len(x)
    if isinstance(layer, Convolution):
        (k_h, k_w), (s_h, s_w), (p_h, p_w) = layer.weight.shape[2:], layer.stride, layer.padding
        total *= ((x.shape[2] + 2 * p_h - k_h) // s_h + 1) * ((x.shape[3] + 2 * p_w - k_w) // s_w + 1)
    return torch.randperm(total, generator=generator)[:count]


def _patches(layer: Weighted, x: Tensor, places: Tensor) -> Tensor:
    """(rows, groups, K) of what the layer sees at some places, image by image to spare memory."""
    if not isinstance(layer, Convolution):
        return x[places].unsqueeze(1)
    kernel = (int(layer.weight.shape[2]), int(layer.weight.shape[3]))
    options = {"padding": layer.padding, "stride": layer.stride}
    per_image = F.unfold(x[:1], kernel, **options).shape[2]
    image, position = places // per_image, places % per_image
    rows = torch.empty(len(places), x.shape[1] * kernel[0] * kernel[1])
    for number in image.unique().tolist():
        chosen = image == number
        columns = F.unfold(x[number : number + 1], kernel, **options)[0]  # (C_in·k·k, positions)
        rows[chosen] = columns[:, position[chosen]].T
    return rows.view(len(places), layer.groups, -1)


def _outputs(layer: Weighted, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(rows, C_out) of patches, ReLU included."""
    groups = x.shape[1]
    found = torch.einsum("rgk,gok->rgo", x, weight.reshape(groups, len(weight) // groups, -1)).flatten(1) + bias
    return activated(layer, found)
