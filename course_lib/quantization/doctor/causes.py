"""From a layer's numbers to the cause: its weights, its bias, its operator or its range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from course_lib.quantization.doctor.finding import Finding, finding
from course_lib.quantization.doctor.layers import BREAKS_DB, LARGEST_SHARE, LayerRow, decibels
from course_lib.quantization.doctor.parts import Part
from course_lib.quantization.doctor.weights import Cause, bias_cause, weight_cause

CLIPPED = 1e-3
"""Share of values beyond a range that is worth a note."""


def layer_findings(
    place: int,
    references: Sequence[Part],
    suspects: Sequence[Part],
    row: LayerRow,
    expected: np.ndarray,
    alone: tuple[np.ndarray, np.ndarray],
) -> list[Finding]:
    """Findings of one layer, the likeliest cause first.

    Args: place: of the layer in both lists. row: its numbers. expected, alone: as in ``layer_row``.
    """
    causes: list[Cause] = []
    weights = weight_cause(place, references, suspects)
    if weights:
        causes.append(weights)
    if not weights or weights[0] not in ("BatchNorm not folded", "weights exchanged", "dead channels"):
        causes += [cause] if (cause := bias_cause(references[place], suspects[place])) else []
    relu = _relu_cause(row, alone[1])
    causes += [cause] if (cause := relu or range_cause(row)) else []
    if not causes and row.operator_db < BREAKS_DB:
        causes.append(_operator_cause(row, references[place], expected, alone))
    if not causes and row.alone_db < BREAKS_DB:
        causes.append(("operator differs", f"signal to noise alone {row.alone_db:.0f} dB"))
    harm = f"; alone {row.alone_db:.0f} dB, flips {row.flips_alone} of {len(expected)} answers"
    found = [
        finding(kind, "wrong" if row.broken else "note", row.name, evidence + harm, row.alone_in_logits / (1 + number))
        for number, (kind, evidence) in enumerate(causes)
    ]
    return found or _notes(row)


def _notes(row: LayerRow) -> list[Finding]:
    found = []
    if row.clipped_low + row.clipped_high > CLIPPED:
        share = f"{row.clipped_low + row.clipped_high:.2%} of the values"
        found.append(finding("values beyond the range", "note", row.name, share, row.alone_in_logits))
    if row.dead:
        count = f"{row.dead} of {row.channels} channels are 0 on these images, the reference's are not"
        found.append(finding("some channels rest", "note", row.name, count, row.alone_in_logits))
    return found


def range_cause(row: LayerRow) -> Cause | None:
    """What is wrong with the codes' range of a layer's tensor; None if nothing is."""
    if row.ends is None or row.rounding_db is None:
        return None
    (low, high), bottom = row.ends, min(row.low, 0.0)
    width, needed = high - low, row.high - bottom
    clipped = row.clipped_low + row.clipped_high
    share = f"{clipped:.1%} of the values lie beyond {low:.3g} … {high:.3g}, they reach {row.low:.3g} … {row.high:.3g}"
    above, below = row.high - high, bottom - low  # how far both ends lie too low
    shifted = min(above, below) > 0.04 * needed or max(above, below) < -0.04 * needed
    if shifted and 0.6 < width / max(needed, 1e-30) < 2.5:
        return "wrong zero point", f"{share}: the range has the right width and the wrong place"
    if row.rounding_db < BREAKS_DB and clipped > 0 and row.used > 0.8 and (row.codes or 0) > 100:
        ends = [end for end, part in (("lower", row.clipped_low), ("upper", row.clipped_high)) if part > 0]
        return "range too small", f"{share} ({' and '.join(ends)} end, {needed / width:.1f} times the range)"
    if row.used < 0.2:
        return "range too wide", f"the values take up {row.used:.1%} of {low:.3g} … {high:.3g}"
    if row.rounding_db < BREAKS_DB:
        return "few activation codes", f"rounding to codes alone leaves {row.rounding_db:.0f} dB"
    return None


def _relu_cause(row: LayerRow, found: np.ndarray) -> Cause | None:
    """Negative values where the reference has none, in a range that was made for them: its upper end still fits."""
    negative = float((found < 0).mean())
    if row.low < 0 or negative < 0.01 or row.clipped_high > CLIPPED:
        return None
    return "ReLU missing", f"{negative:.0%} of its values are negative, none of the reference's is"


def _operator_cause(
    row: LayerRow, reference: Part, expected: np.ndarray, alone: tuple[np.ndarray, np.ndarray]
) -> Cause:
    """The weights are right, and the result is not."""
    found = alone[1]
    if found.shape != expected.shape:
        return "operator differs", f"its tensor is {list(found.shape[1:])}, not {list(expected.shape[1:])}"
    if row.dead:
        return "dead channels", f"{row.dead} of {row.channels} channels are 0 throughout"
    if reference.kind == "convolution" and expected.ndim == 4 and min(expected.shape[2:]) > 2:
        inside = np.s_[:, :, 1:-1, 1:-1]
        if decibels(expected[inside], found[inside]) > decibels(expected, found) + 8:
            noise = np.square(expected - found, dtype=np.float64)
            share = 1 - noise[inside].sum() / noise.sum()
            return "padding", f"{share:.0%} of the error lies on the outermost pixels, where zeros are padded"
    return "operator differs", f"the weights are right and its result is not ({row.operator_db:.0f} dB)"


def image_findings(expected: np.ndarray, found: np.ndarray) -> list[Finding]:
    """Whether both networks see the same images.

    Args: expected, found: (N, C, H, W), what arrives in the reference and in the suspect, before codes.
    """
    share = decibels(expected, found)
    if share > BREAKS_DB:
        return []
    if expected.shape != found.shape:
        text = f"{list(expected.shape[1:])} arrive in the reference, {list(found.shape[1:])} in the suspect"
        return [finding("images differ", "wrong", "images", text, LARGEST_SHARE)]
    one, other = expected.astype(np.float64), found.astype(np.float64)
    factor = float((one * other).sum() / max(1e-30, np.square(one).sum()))
    if decibels(other, one * factor) > 30:
        near = ", as bytes that were not divided by 255" if 250 < factor < 260 else ""
        near = ", as if divided by 255 once too often" if 0.0038 < factor < 0.004 else near
        text = f"the suspect's images are the reference's times {factor:.4g}{near}"
        return [finding("images scaled", "wrong", "images", text, LARGEST_SHARE)]
    if one.shape[1] == 3 and decibels(one, other[:, ::-1]) > BREAKS_DB:
        text = f"with red and blue exchanged the images agree ({share:.0f} dB as they are)"
        return [finding("channel order", "wrong", "images", text, LARGEST_SHARE)]
    text = f"signal to noise {share:.0f} dB, range {other.min():.3g} … {other.max():.3g}"
    text += f" instead of {one.min():.3g} … {one.max():.3g}"
    return [finding("images differ", "wrong", "images", text, LARGEST_SHARE)]
