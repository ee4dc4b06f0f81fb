"""What the doctor finds, and the words for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["wrong", "slow", "note"]
SEVERITIES: tuple[Severity, ...] = ("wrong", "slow", "note")

MENDS = {
    "images scaled": "divide the bytes by 255 once, on the device as in training",
    "channel order": "give the channels in the order of training (RGB); cv2.imread gives BGR",
    "images differ": "prepare the images as the reference's are prepared: size, range, mean and deviation",
    "range too small": "calibrate this tensor's range again, on images like those it will see",
    "range too wide": "leave outliers out of the range: a percentile or least-squares observer",
    "wrong zero point": "compute the zero point anew: low code − min / scale, rounded",
    "few activation codes": "give this tensor 8 bits",
    "channel scales swapped": "bring the weights' scales into the order of the output channels again",
    "BatchNorm not folded": "fold BatchNorm with its running statistics and its eps before quantizing",
    "weights scaled": "compute the weights' scale from their own largest value",
    "few weight bits": "give this layer 8 bits, or choose its roundings (AdaRound)",
    "one scale for all channels": "one weight scale for each output channel, or cross-layer equalization",
    "weights exchanged": "load each layer's weights into the layer of that name",
    "weights differ": "export the file again from the reference's weights",
    "bias missing": "export the bias; BatchNorm's shift becomes a bias when it is folded",
    "bias scaled": "give the bias the accumulator's scale, that of the input times that of the weights",
    "bias differs": "export the file again from the reference's bias",
    "ReLU missing": "keep the ReLU, or begin the range at 0, where the quantizer clamps",
    "padding": "pad with the input's zero point, which is the code of 0",
    "dead channels": "look for weights or ranges of these channels that became 0",
    "operator differs": "compare stride, padding and attributes of this operator with the reference's",
    "answers differ": "give both models as files with the same layers to see which one breaks",
    "runtime differs": "keep weights to 7 bits: without 8-bit dot products x86 adds two products in 16 bits",
    "signed activations": "quantize activations to uint8; ONNX Runtime has few int8 × int8 kernels for x86",
    "operator in float": "round all that it reads, its weights and what it gives: the runtime then merges it",
    "pairs not merged": "put a QuantizeLinear/DequantizeLinear pair around every operator in between, or around none",
    "no 8-bit dot product": "measure on the target; here INT8 saves bytes more than time",
    "small layers": "run several images at once, or accept that calls cost more than the sums",
    "reordering": "keep neighbours in one layout: leave no float operator between integer ones",
    "some channels rest": "nothing, if accuracy is as wanted: their values are below half a step",
    "values beyond the range": "nothing, if accuracy is as wanted; else calibrate on more images",
}
"""Kinds of findings, and what mends each."""


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Args:
        kind: one of ``MENDS``.
        severity: wrong: it changes answers; slow: it costs time; note: good to know.
        where: the layer or operator; "" for the whole.
        evidence: what was measured, as a clause with numbers.
        explains: the error that it alone makes in the logits, noise / signal; for what is slow the share of operators;
            findings of one severity are sorted by it.
        mend: what to do.
    """

    kind: str
    severity: Severity
    where: str
    evidence: str
    explains: float
    mend: str

    def __str__(self) -> str:
        place = f" in {self.where}" if self.where else ""
        return f"{self.severity}: {self.kind}{place}: {self.evidence}. Mend: {self.mend}"


def finding(kind: str, severity: Severity, where: str, evidence: str, explains: float = 0.0) -> Finding:
    """A finding with its kind's mend.

    Raises: ValueError: an unknown kind.
    """
    if kind not in MENDS:
        raise ValueError(f"kind must be one of {', '.join(MENDS)}, got {kind!r}")
    return Finding(kind, severity, where, evidence, float(explains), MENDS[kind])


def in_order(findings: list[Finding]) -> tuple[Finding, ...]:
    """The gravest first; among equals the one that explains most, and then the one that comes first in the network."""
    return tuple(sorted(findings, key=lambda one: (SEVERITIES.index(one.severity), -one.explains)))
