"""What the doctor's seeded faults share: a healthy pair, and a patient with the answer that is expected."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from torch import Tensor, nn

from course_lib.quantization.affine import Affine, min_max
from course_lib.quantization.calibrated import QuantizedNetwork, quantize_network
from course_lib.quantization.doctor import Report
from course_lib.quantization.graph import Convolution, Weighted


@dataclass(frozen=True, eq=False)
class Healthy:
    """A network and its quantized form, and where faults are put.

    Args:
        model: float32.
        network: quantized.
        calibration: (N, 3, H, W), that it was calibrated on.
        folder: for files.
        at: the name of the convolution, with a ReLU, that gets the fault; None: about the middle one.
    """

    model: nn.Module
    network: QuantizedNetwork
    calibration: Tensor
    folder: Path
    at: str | None = None

    @property
    def layer(self) -> Convolution:
        """The convolution that gets the fault. Raises: ValueError: ``at`` names none."""
        found = places(self.network)
        if self.at is None:
            return found[len(found) // 2]
        for layer in found:
            if layer.name == self.at:
                return layer
        raise ValueError(f"at must be one of {', '.join(layer.name for layer in found)}, got {self.at!r}")

    def changed(self, layer: Weighted) -> QuantizedNetwork:
        """The network with a layer replaced, its weights' scales taken anew."""
        affine = min_max(layer.weight, self.network.weights[layer.name].codes, symmetric=True, axis=0)
        weights = {**self.network.weights, layer.name: affine}
        return replace(self.network, graph=self.network.graph.changed({layer.name: layer}), weights=weights)

    def with_activation(self, affine: Affine) -> QuantizedNetwork:
        """The network with another scale and zero point for what the layer gives."""
        return replace(self.network, activations={**self.network.activations, self.layer.name: affine})

    @property
    def top(self) -> Tensor:
        """The largest value that the layer's codes stand for."""
        affine = self.network.activations[self.layer.name]
        return affine.scale * (affine.codes.high - affine.zero_point)


@dataclass(frozen=True, eq=False)
class Patient:
    """A pair of models with one fault.

    Args:
        kind: of the finding that must come first.
        layer: that it must name; "" where the whole is meant.
        suspect: what is wrong, a network or a file.
        reference: what is right.
        feed: what the suspect's pipeline makes of the images.
    """

    kind: str
    layer: str
    suspect: QuantizedNetwork | Path
    reference: nn.Module
    feed: Callable[[Tensor], Tensor] | None = None


def places(network: QuantizedNetwork) -> list[Convolution]:
    """Convolutions, with a ReLU, that can get a fault."""
    return [layer for layer in network.graph.layers if isinstance(layer, Convolution) and layer.relu]


def healthy(model: nn.Module, calibration: Tensor, folder: Path) -> Healthy:
    """A network with its quantized form, min-max, one weight scale a channel. Args: calibration: (N, 3, H, W)."""
    return Healthy(model, quantize_network(model, calibration), calibration, folder)


def named_first(patient: Patient, report: Report) -> bool:
    """Whether the report's first finding has the fault's kind and names its layer."""
    if not report.findings:
        return False
    first = report.findings[0]
    return first.kind == patient.kind and first.where in patient.layer.split(" or ")
