"""Numbers and the causes that they are taken for; each at both sides of its limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from course_lib.quantization.doctor.answers import compare_answers
from course_lib.quantization.doctor.causes import image_findings, layer_findings, range_cause
from course_lib.quantization.doctor.constants import Constant
from course_lib.quantization.doctor.finding import finding, in_order
from course_lib.quantization.doctor.layers import (
    LARGEST_DB,
    LARGEST_SHARE,
    LayerRow,
    bits_used,
    decibels,
    layer_row,
    noise_share,
)
from course_lib.quantization.doctor.parts import Part, Rounding
from course_lib.quantization.doctor.weights import bias_cause, weight_cause

RNG = np.random.default_rng(0)
WEIGHT = RNG.normal(size=(8, 4, 3, 3)).astype(np.float32)
OTHER = RNG.normal(size=WEIGHT.shape).astype(np.float32)


def layer(values: np.ndarray, bits: int = 7, *, shared: bool = False, bias: np.ndarray | None = None) -> Part:
    """A quantized convolution."""
    top = np.abs(values).max() if shared else np.abs(values).reshape(len(values), -1).max(1)
    scale = np.asarray(np.where(top > 0, top, 1) / (2 ** (bits - 1) - 1), np.float32)
    codes = np.rint(values / scale.reshape(-1, 1, 1, 1)).astype(np.int64)
    constant = Constant((codes * scale.reshape(-1, 1, 1, 1)).astype(np.float32), codes, scale)
    return Part("a", "a", "convolution", (0,), ("x",), "r", "o", constant, bias)


def plain(values: np.ndarray = WEIGHT, name: str = "a", bias: np.ndarray | None = None) -> Part:
    return Part(name, name, "convolution", (0,), ("x",), "r", "o", Constant(values), bias)


def cause(suspect: Part, *others: Part) -> str | None:
    found = weight_cause(0, [plain(), *others], [suspect, *others])
    return found[0] if found else None


@pytest.mark.parametrize(
    ("bits", "expected"), [(8, None), (7, None), (6, None), (4, "few weight bits"), (3, "few weight bits")]
)
def test_weights_of_few_bits(bits, expected):
    assert cause(layer(WEIGHT, bits)) == expected


def scaled(factors: np.ndarray) -> Part:
    part = layer(WEIGHT)
    assert part.weight is not None
    assert part.weight.scale is not None
    shape = (-1, 1, 1, 1)
    weight = replace(part.weight, values=part.weight.values * factors.reshape(shape), scale=part.weight.scale * factors)
    return replace(part, weight=weight)


def test_factors_of_channels_tell_scales_that_moved_from_a_norm_that_was_left_out():
    scale = layer(WEIGHT).weight.scale  # pyright: ignore[reportOptionalMemberAccess]
    spread = scaled(np.geomspace(0.2, 3, 8).astype(np.float32))
    assert cause(spread) == "BatchNorm not folded"
    assert scale is not None
    uneven = WEIGHT * np.geomspace(1, 5, 8).reshape(-1, 1, 1, 1).astype(np.float32)
    part = layer(uneven)
    assert part.weight is not None
    assert part.weight.scale is not None
    wrong = part.weight.scale[::-1].reshape(-1, 1, 1, 1)
    moved = replace(part, weight=replace(part.weight, values=part.weight.codes * wrong, scale=wrong.reshape(-1)))
    assert weight_cause(0, [plain(uneven)], [moved])[0] == "channel scales swapped"  # pyright: ignore


def test_one_factor_for_all_and_one_channel_alone():
    assert cause(scaled(np.full(8, 0.5, np.float32))) == "weights scaled"
    one = np.ones(8, np.float32)
    one[3] = 4
    assert cause(scaled(one)) == "weights scaled"


def test_channels_of_zeros_are_dead():
    part = layer(WEIGHT * (np.arange(8) > 1).reshape(-1, 1, 1, 1))
    assert cause(part) == "dead channels"
    found = weight_cause(0, [plain()], [part])
    assert found is not None
    assert "2 of 8" in found[1]


def test_another_layer_s_weights_are_named_with_it():
    other = plain(OTHER, "b")
    found = weight_cause(0, [plain(), other], [layer(OTHER), layer(WEIGHT)])
    assert found is not None
    assert found[0] == "weights exchanged"
    assert "those of b" in found[1]
    assert cause(layer(OTHER)) == "weights differ"


def test_one_scale_is_a_cause_only_where_channels_differ():
    assert cause(layer(WEIGHT, shared=True)) is None
    spread = WEIGHT * np.geomspace(0.02, 1, 8).reshape(-1, 1, 1, 1).astype(np.float32)
    found = weight_cause(0, [plain(spread)], [layer(spread, shared=True)])
    assert found is not None
    assert found[0] == "one scale for all channels"
    assert weight_cause(0, [plain(spread)], [layer(spread)]) is None


BIAS = RNG.normal(size=8).astype(np.float32)


@pytest.mark.parametrize(
    ("bias", "expected"),
    [
        (BIAS, None),
        (BIAS + 0.05, None),  # as bias correction leaves it
        (BIAS * 0, "bias missing"),
        (BIAS * 4, "bias scaled"),
        (BIAS * 0.25, "bias scaled"),
        (BIAS[::-1], "bias differs"),
        (None, None),
    ],
)
def test_a_bias(bias, expected):
    found = bias_cause(plain(bias=BIAS), plain(bias=bias))
    assert (found[0] if found else None) == expected


def test_a_layer_without_bias_misses_none():
    assert bias_cause(plain(bias=BIAS * 0), plain(bias=BIAS * 0)) is None


def row_of(expected: np.ndarray, rounding: Rounding | None) -> LayerRow:
    suspect = replace(plain(), rounding=rounding)
    out = rounding(expected) if rounding else expected
    return layer_row(plain(), suspect, expected, (expected, out), out, (expected.reshape(4, -1), out.reshape(4, -1)))


VALUES = np.abs(RNG.normal(size=(4, 2, 8, 8))).astype(np.float32)
TOP = float(VALUES.max())


@pytest.mark.parametrize(
    ("low", "high", "codes", "expected"),
    [
        (0.0, TOP, 255, None),
        (-TOP, TOP, 255, None),  # symmetric codes waste half, and break nothing
        (0.0, 1.5 * TOP, 255, None),
        (0.0, TOP / 3, 255, "range too small"),
        (-0.7 * TOP, 0.3 * TOP, 255, "wrong zero point"),
        (0.0, 12 * TOP, 255, "range too wide"),
        (0.0, TOP, 7, "few activation codes"),
    ],
)
def test_a_range(low, high, codes, expected):
    scale = (high - low) / codes
    found = range_cause(row_of(VALUES, Rounding(scale, round(-low / scale), 0, codes, False)))
    assert (found[0] if found else None) == expected


def test_a_tensor_in_float_has_no_range():
    row = row_of(VALUES, None)
    assert range_cause(row) is None
    assert (row.ends, row.codes, row.rounding_db, row.used) == (None, None, None, 1.0)
    assert not row.broken


def test_clipped_shares_of_both_ends_are_counted():
    x = np.linspace(-1, 1, 400, dtype=np.float32).reshape(4, 1, 10, 10)
    row = row_of(x, Rounding(0.005, 100, 0, 200, False))  # −0.5 … 0.5
    assert row.clipped_low == pytest.approx(0.25, abs=0.01)
    assert row.clipped_high == pytest.approx(0.25, abs=0.01)
    assert row.ends == pytest.approx((-0.5, 0.5))


def test_dead_channels_of_the_suspect_are_counted_only_where_the_reference_s_live():
    x = VALUES.copy()
    x[:, 0] *= 1e-4  # rests in the suspect
    assert row_of(x, Rounding(TOP / 255, 0, 0, 255, False)).dead == 1
    x[:, 0] = 0  # rests in both
    assert row_of(x, Rounding(TOP / 255, 0, 0, 255, False)).dead == 0


def test_images():
    x = RNG.uniform(size=(4, 3, 8, 8)).astype(np.float32) * np.array([1, 0.5, 0.2], np.float32).reshape(1, 3, 1, 1)
    kinds = [
        [found.kind for found in image_findings(x, seen)]
        for seen in (x, x * 255, x / 255, x[:, ::-1], x - 0.5, x[:, :, ::2])
    ]
    assert kinds == [[], ["images scaled"], ["images scaled"], ["channel order"], ["images differ"], ["images differ"]]


def test_noise_and_decibels_have_ends():
    one, zero = np.ones(3, np.float32), np.zeros(3, np.float32)
    assert decibels(one, one) == LARGEST_DB
    assert decibels(zero, zero) == LARGEST_DB
    assert decibels(zero, one) == -10 * np.log10(LARGEST_SHARE)
    assert noise_share(one, np.full(3, np.inf)) == noise_share(one, one[:2]) == LARGEST_SHARE
    assert decibels(one, one * 0.9) == pytest.approx(20, abs=1e-4)
    assert bits_used(np.zeros(3, int)) == 0


def test_findings_stand_in_the_order_of_gravity_and_harm():
    found = [
        finding("small layers", "note", "", "", 9),
        finding("operator in float", "slow", "a", "", 5),
        finding("bias missing", "wrong", "a", "", 0.1),
        finding("bias missing", "wrong", "b", "", 0.2),
        finding("bias missing", "wrong", "c", "", 0.2),
    ]
    assert [(one.severity, one.where) for one in in_order(found)] == [
        ("wrong", "b"),
        ("wrong", "c"),
        ("wrong", "a"),
        ("slow", "a"),
        ("note", ""),
    ]
    with pytest.raises(ValueError, match="kind must be one of"):
        finding("bad luck", "note", "", "")


def test_answers_without_labels_count_by_the_reference_s_answer():
    found = compare_answers(np.eye(3)[[0, 0, 1]], np.eye(3)[[0, 2, 2]])
    assert (found.all.flipped, found.all.to_right, found.reference_accuracy) == (2, None, None)
    assert {name: (part.images, part.flipped) for name, part in found.by_class.items()} == {"0": (2, 1), "1": (1, 1)}


def test_answers_with_labels_count_each_way():
    found = compare_answers(np.eye(3)[[0, 0, 1, 2]], np.eye(3)[[0, 2, 0, 1]], [0, 2, 1, 0], {"night": [1, 1, 0, 0]})
    assert (found.all.flipped, found.all.to_right, found.all.to_wrong) == (3, 1, 1)  # one from wrong to wrong
    assert (found.reference_accuracy, found.suspect_accuracy) == (0.5, 0.5)
    assert found.by_slice["night: 1"].flipped == 1
    assert found.all.agreement == 0.25


def notes(x: np.ndarray, rounding: Rounding) -> list[tuple[str, str]]:
    suspect = replace(plain(), rounding=rounding)
    out = rounding(x)
    same = np.eye(4, dtype=np.float32)
    row = layer_row(plain(), suspect, x, (x, out), out, (same, same))
    return [(one.kind, one.severity) for one in layer_findings(0, [plain()], [suspect], row, x, (x, out))]


def test_notes_are_made_only_where_there_is_something():
    assert notes(VALUES, Rounding(TOP / 255, 0, 0, 255, False)) == []
    few = np.quantile(VALUES, 0.99) / 255  # beyond: one in a hundred, and not by far
    assert notes(VALUES, Rounding(float(few), 0, 0, 255, False)) == [("values beyond the range", "note")]
    x = VALUES.copy()
    x[:, 0] *= 1e-4
    assert notes(x, Rounding(TOP / 255, 0, 0, 255, False)) == [("some channels rest", "note")]


def test_a_lost_relu_is_told_from_a_zero_point():
    raw = RNG.normal(size=(4, 2, 8, 8)).astype(np.float32)
    expected = np.maximum(raw, 0)
    reach = float(np.abs(raw).max())
    same = np.eye(4, dtype=np.float32)
    for ends, kind in (((-reach, reach), "ReLU missing"), ((-1.7 * reach, 0.3 * reach), "wrong zero point")):
        scale = (ends[1] - ends[0]) / 255
        rounding = Rounding(scale, round(-ends[0] / scale), 0, 255, False)
        suspect, out = replace(plain(), rounding=rounding), rounding(raw)
        row = layer_row(plain(), suspect, expected, (raw, out), out, (same, same))
        found = layer_findings(0, [plain()], [suspect], row, expected, (raw, out))
        assert [(one.kind, one.severity) for one in found] == [(kind, "wrong")]


def test_a_flip_to_a_wrong_answer_is_not_one_to_a_right_answer():
    found = compare_answers(np.eye(2), np.eye(2)[[0, 0]], [0, 1])
    assert (found.all.to_right, found.all.to_wrong) == (0, 1)
