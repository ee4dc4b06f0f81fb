"""What the runtime executes, and why that is slow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from course_lib.deploy.onnx import export_onnx
from course_lib.models import sign_student
from course_lib.quantization.affine import Codes
from course_lib.quantization.calibrated import quantize_network
from course_lib.quantization.doctor import speed
from course_lib.quantization.doctor.speed import executed, speed_findings
from course_lib.quantization.doctor.walk import Walk
from course_lib.quantization.qdq import export_qdq

IMAGE = np.zeros((1, 3, 9, 7), np.float32)


@pytest.fixture
def file(small, tmp_path):
    def write(**settings):
        images = small.as_images(small.image_bytes(8))
        network = quantize_network(small.Branches(), images, **settings)
        return export_qdq(network, tmp_path / "x.onnx", input_shape=(1, 3, 9, 7), short_names=False)

    return write


def kinds(path) -> dict[str, str]:
    return {found.kind: found.severity for found in speed_findings(path, Walk(path).parts, IMAGE)}


def test_a_network_of_integer_kernels_leaves_nothing_in_float(file):
    path = file()
    found = executed(path, Walk(path).parts)
    assert (found.float_layers, found.pairs) == ((), 0)
    assert found.operators > 4
    assert "slow" not in kinds(path).values()


def test_activations_of_four_bits_stay_in_float_and_are_named(file):
    path = file(activation_codes=Codes(4, signed=False))  # its Clip keeps the runtime from merging
    found = executed(path, Walk(path).parts)
    assert {"first", "left", "right"} <= set(found.float_layers)
    assert found.pairs > 4
    assert kinds(path)["operator in float"] == "slow"


def test_a_float_file_is_not_slow_for_being_float(tmp_path):
    path = export_onnx(sign_student(0.25).eval(), tmp_path / "float.onnx")
    assert speed_findings(path, Walk(path).parts, np.zeros((1, 3, 32, 32), np.float32)) == []


def features(architecture: str, *isa: str):
    return lambda: {
        "model": "a processor",
        "architecture": architecture,
        "cores": 1,
        "isa": list(isa),
        "emulated": False,
    }


def test_a_processor_without_dot_products_is_a_note(file, monkeypatch):
    path = file()
    monkeypatch.setattr(speed, "cpu_features", features("x86_64", "avx2"))
    assert kinds(path)["no 8-bit dot product"] == "note"
    monkeypatch.setattr(speed, "cpu_features", features("x86_64", "avx2", "avx_vnni"))
    assert "no 8-bit dot product" not in kinds(path)


@pytest.mark.parametrize(("architecture", "named"), [("x86_64", True), ("amd64", True), ("aarch64", False)])
def test_signed_activations_are_named_on_x86_only(architecture, named, file, monkeypatch):
    path = file(activation_codes=Codes(8))
    monkeypatch.setattr(speed, "cpu_features", features(architecture, "avx_vnni"))
    assert ("signed activations" in kinds(path)) == named


def test_notes_come_from_the_profile(file, monkeypatch):
    path = file()
    times = {"a": ("Conv", 0.1), "b": ("Transpose", 0.1), "c": ("Add", 0.001), "d": ("Add", 0.001), "e": ("Add", 0.001)}
    monkeypatch.setattr(speed, "node_times_ms", lambda *_, **__: times)
    found = {one.kind: one.evidence for one in speed_findings(path, Walk(path).parts, IMAGE)}
    assert found["reordering"].startswith("49% of")
    assert found["small layers"] == "3 of 5 operators take less than 5 µs"
    monkeypatch.setattr(speed, "node_times_ms", lambda *_, **__: {"a": ("Conv", 0.1), "b": ("Transpose", 0.001)})
    assert not {"reordering", "small layers"} & kinds(path).keys()


def test_a_layer_that_misses_a_rounding_is_named_beside_signed_activations(file, monkeypatch):
    path = file(activation_codes=Codes(8))
    parts = Walk(path).parts
    monkeypatch.setattr(speed, "cpu_features", features("x86_64", "avx_vnni"))
    left = speed.Executed(("left", "right"), 4, 0, 9)
    monkeypatch.setattr(speed, "executed", lambda *_: left)
    alone = [one.kind for one in speed_findings(path, parts, IMAGE) if one.severity == "slow"]
    assert alone == ["signed activations"]  # explains both
    stripped = [replace(part, rounding=None) if part.name == "left" else part for part in parts]
    found = [one for one in speed_findings(path, stripped, IMAGE) if one.kind == "operator in float"]
    assert [one.where for one in found] == ["left"]
    assert "not rounded to codes: its result" in found[0].evidence
    monkeypatch.setattr(speed, "cpu_features", features("aarch64"))
    named = [one.where for one in speed_findings(path, parts, IMAGE) if one.kind == "operator in float"]
    assert named == ["left", "right"]  # nothing else is to blame there
