"""Code by code: the integer engine beside ONNX Runtime, which executes the same network from a QDQ file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from course_lib.deploy.onnx import open_session
from course_lib.quantization.calibrated import QuantizedNetwork
from course_lib.quantization.graph import INPUT, Flatten
from course_lib.quantization.integer.engine import Rounding, integer_network
from course_lib.quantization.qdq import export_qdq


@dataclass(frozen=True)
class LayerComparison:
    """How one layer's codes differ from ONNX Runtime's.

    Args:
        layer: its name.
        codes: compared.
        alone: that differ when the layer reads ONNX Runtime's own codes.
        alone_largest: by how many steps.
        together: that differ when it reads what the layers before it gave.
        together_largest: by how many steps.
    """

    layer: str
    codes: int
    alone: int
    alone_largest: int
    together: int
    together_largest: int


def runtime_codes(
    network: QuantizedNetwork, codes: np.ndarray, *, batch_size: int = 64, threads: int = 1
) -> Iterator[dict[str, np.ndarray]]:
    """Batch by batch, the codes of every tensor by name, as ONNX Runtime computes them from the exported file.

    Args: codes: (N, C, H, W), uint8, the images' bytes. threads: of the session.

    >>> import torch
    >>> from course_lib.quantization.calibrated import quantize_network
    >>> halved = torch.nn.Conv2d(1, 1, 1, bias=False)
    >>> _ = torch.nn.init.constant_(halved.weight, 0.5)
    >>> network = quantize_network(torch.nn.Sequential(halved), torch.tensor([[[[0.0, 1.0]]]]))
    >>> next(runtime_codes(network, np.array([[[[0, 51, 255]]]], np.uint8)))["0"].tolist()
    [[[[0, 51, 255]]]]
    """
    with tempfile.TemporaryDirectory() as folder:
        path = export_qdq(network, Path(folder) / "codes.onnx", input_shape=(1, *codes.shape[1:]), show_codes=True)
        session = open_session(path, threads=threads)
        names = [value.name for value in session.get_outputs() if value.name.endswith(":codes")]
        for start in range(0, len(codes), batch_size):
            images = codes[start : start + batch_size].astype(np.float32) / np.float32(255)
            found = session.run(names, {INPUT: images})
            yield {name.removesuffix(":codes"): np.asarray(value) for name, value in zip(names, found, strict=True)}


def compare_with_runtime(
    network: QuantizedNetwork, codes: np.ndarray, *, rounding: Rounding = "runtime", batch_size: int = 16
) -> list[LayerComparison]:
    """Every layer's codes on all images, the engine's beside ONNX Runtime's.

    Args: codes: (N, C, H, W), uint8, the images' bytes.
    """
    channels, height, width = codes.shape[1:]
    engine = integer_network(network, rounding=rounding, input_shape=(channels, height, width))
    flat = {layer.name: layer.inputs[0] for layer in network.graph.layers if isinstance(layer, Flatten)}
    counts = {layer.name: np.zeros(5, np.int64) for layer in engine.layers if layer.name not in flat}
    for theirs in runtime_codes(network, codes, batch_size=batch_size):
        for name, source in flat.items():
            theirs[name] = theirs[source].reshape(len(theirs[source]), -1)
        ours = engine.tensors(theirs[INPUT])
        for layer in engine.layers:
            if layer.name not in flat:
                inputs = [_channels_last(theirs[name]) for name in layer.inputs]
                alone = np.abs(_channels_last(theirs[layer.name]).astype(int) - layer(*inputs))
                together = np.abs(theirs[layer.name].astype(int) - ours[layer.name])
                _add(counts[layer.name], alone, together)
    return [LayerComparison(name, *(int(value) for value in found)) for name, found in counts.items()]


def _channels_last(codes: np.ndarray) -> np.ndarray:
    return np.moveaxis(codes, 1, -1) if codes.ndim == 4 else codes


def _add(counts: np.ndarray, alone: np.ndarray, together: np.ndarray) -> None:
    counts[0] += alone.size
    for place, differences in ((1, alone), (3, together)):
        counts[place] += np.count_nonzero(differences)
        counts[place + 1] = max(counts[place + 1], differences.max(initial=0))
