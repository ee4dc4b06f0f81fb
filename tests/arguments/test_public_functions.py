"""Every public function that takes arrays: it leaves them as they are, and refuses what they cannot be, by name."""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from examples import EXAMPLES

TOPICS = ("distillation", "pruning", "quantization", "fusion", "evaluation", "measure")
ARRAYS = {"Tensor", "np.ndarray", "ArrayLike", "Tensor | None", "ArrayLike | None", "np.ndarray | None"}

# What a function does with such an argument on purpose.
ALLOWED = {
    ("nan", "distillation.attention_map"): "NaN stays NaN: the loss is NaN, and fit stops there",
    ("nan", "distillation.relative_distances"): "NaN stays NaN: the loss is NaN, and fit stops there",
    ("nan", "distillation.similarity_table"): "NaN stays NaN, as in the picture that is drawn of it",
    ("nan", "quantization.fake_quantize"): "NaN stays NaN, as in PyTorch's operator, to which it is equal",
    ("nan", "quantization.round_to"): "each of the formats has a NaN of its own",
    ("nan", "quantization.sqnr_db"): "noise that is no number has a ratio that is none",
    ("empty", "quantization.dynamic_affine"): "nothing has the range 0 … 0",
    ("empty", "quantization.min_max"): "nothing has the range 0 … 0",
    ("empty", "quantization.fake_quantize"): "no values become no values",
    ("empty", "quantization.quantize"): "no values become no codes",
    ("empty", "quantization.round_to"): "no values become no values",
    ("empty", "pruning.filter_scores"): "no filters have no scores",
    ("empty", "pruning.fraction_mask"): "no weights have an empty mask",
    ("empty", "pruning.n_m_mask"): "no weights have an empty mask",
    ("empty", "pruning.threshold_mask"): "no weights have an empty mask",
    ("none", "evaluation.accuracy"): "without groups each image is a sign of its own",
    ("none", "evaluation.accuracy_difference"): "without groups each image is a sign of its own",
}
# Their right calls are longer than a line, or of other kinds; their own tests spoil them.
WITHOUT_EXAMPLE = {
    "distillation.middle_share", "distillation.pushes", "distillation.same_group_share",
    "distillation.within_class_ratio", "distillation.wrong_answer_shares",
    "evaluation.accuracy_by_slice", "evaluation.confident_mistakes", "evaluation.coverage_curve",
    "evaluation.leak_fraction", "evaluation.quartile_names", "evaluation.seed_and_sign_interval",
    "evaluation.track_standard_error",
    "fusion.fold_after", "fusion.fold_before", "fusion.merge_linears",
    "measure.measure_ledger", "measure.predict_classes", "measure.ratio_of_rounds",
    "pruning.channel_sums", "pruning.hard_gate", "pruning.whole_filters",
    "quantization.dequantize", "quantization.from_range", "quantization.pack_int4",
    "quantization.quantize_static_int8", "quantization.round_to_power_of_two", "quantization.unpack_int4",
}  # fmt: skip


def function(name: str):
    room, own = name.split(".")
    return getattr(importlib.import_module(f"course_lib.{room}"), own)


def arguments(name: str) -> dict:
    return {key: value() if inspect.isfunction(value) else value for key, value in EXAMPLES[name].items()}


def arrays(name: str) -> list[str]:
    return [key for key, value in arguments(name).items() if isinstance(value, torch.Tensor | np.ndarray)]


def spoiled(kind: str, value):
    if kind == "nan":
        wrong = value.clone() if isinstance(value, torch.Tensor) else value.copy()
        wrong.reshape(-1)[0] = float("nan")
        return wrong
    return {"type": "word", "none": None}[kind] if kind in ("type", "none") else value[: 0 if kind == "empty" else -1]


def cases():
    for name in EXAMPLES:
        own = arrays(name)
        for argument in own:
            value = arguments(name)[argument]
            floats = value.is_floating_point() if isinstance(value, torch.Tensor) else value.dtype.kind == "f"
            kinds = ["type", "none", "empty", *(["nan"] if floats else []), *(["shape"] if len(own) > 1 else [])]
            yield from ((name, argument, kind) for kind in kinds)


def test_every_public_function_that_takes_arrays_has_an_example_or_is_known_to_have_none():
    found = set()
    for room in TOPICS:
        module = importlib.import_module(f"course_lib.{room}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) and ARRAYS & set(map(str, inspect.get_annotations(value).values())):
                takes = {k: str(v) for k, v in inspect.get_annotations(value).items() if k != "return"}
                found |= {f"{room}.{name}"} if ARRAYS & set(takes.values()) else set()
    assert found == set(EXAMPLES) | WITHOUT_EXAMPLE
    assert not set(EXAMPLES) & WITHOUT_EXAMPLE


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_right_call_works_and_leaves_its_arguments_as_they_were(name):
    given = arguments(name)
    before = {key: copy.deepcopy(given[key]) for key in arrays(name)}
    function(name)(**given)
    for key, value in before.items():
        assert (given[key] == value).all(), key


@pytest.mark.parametrize(("name", "argument", "kind"), cases())
def test_what_an_argument_cannot_be_is_refused_by_its_name(name, argument, kind):
    given = arguments(name)
    given[argument] = spoiled(kind, given[argument])
    if (kind, name) in ALLOWED and not (kind == "none" and argument != "groups"):
        function(name)(**given)
        return
    with pytest.raises((ValueError, TypeError)) as caught:
        function(name)(**given)
    # Of two arrays that do not fit each other either may be named.
    named = arrays(name) if kind in ("shape", "empty") else [argument]
    assert any(one in str(caught.value) for one in named), caught.value
