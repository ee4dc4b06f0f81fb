"""Other networks and files than the course's, faults in two layers, and everything that cannot be diagnosed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import onnx.parser
import pytest
import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.models import sign_student
from course_lib.quantization.affine import Codes, from_range
from course_lib.quantization.calibrated import quantize_network
from course_lib.quantization.doctor import Report, diagnose
from course_lib.quantization.doctor.diagnosis import _runtime_findings
from course_lib.quantization.doctor.finding import Finding
from course_lib.quantization.qdq import export_qdq


def parsed(text: str, path):
    onnx.save(onnx.parser.parse_model(text), path)
    return path


@pytest.mark.parametrize("name", ["Branches", "Residual"])
def test_concatenations_sums_and_depthwise_layers_are_matched(name, small):
    model = getattr(small, name)()
    images = small.as_images(small.image_bytes(16))
    report = diagnose(model, quantize_network(model, images), images)
    assert report.unmatched == ""
    assert not [found for found in report.findings if found.severity == "wrong"], str(report)


def test_two_broken_layers_are_both_named_and_the_first_is_the_first(small):
    model = small.Residual()
    images = small.as_images(small.image_bytes(16))
    network = quantize_network(model, images)
    bad = {
        name: from_range(torch.tensor(0.0), torch.tensor(0.01), Codes(8, signed=False)) for name in ("first.0", "last")
    }
    report = diagnose(model, replace(network, activations={**network.activations, **bad}), images, speed=False)
    assert [found.kind for found in report.findings if found.severity == "wrong"] == ["range too small"] * 2
    assert {found.where for found in report.findings[:2]} == {"first.0", "last"}
    assert report.first_broken == "first.0"
    behind = next(row for row in report.layers if row.name == "again")
    assert behind.together_db < 10 < 24 < behind.alone_db  # damaged, not a cause


def test_two_bits_fewer_everywhere_is_said_of_every_layer(small):
    model = small.Branches()
    images = small.as_images(small.image_bytes(16))
    report = diagnose(model, quantize_network(model, images, weight_codes=Codes(3)), images, speed=False)
    named = {found.where for found in report.findings if found.kind == "few weight bits"}
    assert named == {"first", "left", "right", "hidden", "last"}


def test_fewer_activation_codes_are_named(small):
    model = small.Branches()
    images = small.as_images(small.image_bytes(16))
    network = quantize_network(model, images)
    low = quantize_network(model, images, activation_codes=Codes(3, signed=False))
    patient = replace(network, activations={**network.activations, "hidden": low.activations["hidden"]})
    report = diagnose(model, patient, images, speed=False)
    assert (report.findings[0].kind, report.findings[0].where) == ("few activation codes", "hidden")


def test_a_quantized_network_can_be_the_reference(small):
    model = small.Branches()
    images = small.as_images(small.image_bytes(16))
    network = quantize_network(model, images)
    report = diagnose(network, network, images)
    assert report.answers.all.agreement == 1
    assert not [found for found in report.findings if found.severity == "wrong"]


def test_other_layers_are_compared_by_their_answers_only():
    torch.manual_seed(0)
    one, other = sign_student(0.25).eval(), sign_student(0.5).eval()
    report = diagnose(one, other, torch.rand(8, 3, 32, 32))
    assert report.layers == ()
    assert report.unmatched.startswith("features.0.0 (4 × 3 × 3 × 3 convolution) reads")
    assert [found.kind for found in report.findings] == ["answers differ"]
    assert "Layers were not compared" in report.findings[0].evidence
    assert "not compared" in str(report)


def test_another_number_of_layers_is_told():
    one = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(8, 3)).eval()
    other = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 2, 1), nn.Flatten(), nn.Linear(8, 3)).eval()
    report = diagnose(one, other, torch.rand(4, 1, 2, 2))
    assert report.unmatched == "the reference has 3 layers, the suspect 4"


def test_another_stride_is_found_by_the_shape_of_the_layer_s_tensor():
    torch.manual_seed(0)
    convolution = nn.Conv2d(1, 2, 3, padding=1)
    changed = nn.Conv2d(1, 2, 3, padding=1, stride=2)
    changed.load_state_dict(convolution.state_dict())
    pool, last = nn.AdaptiveAvgPool2d(1), nn.Linear(2, 3)
    one = nn.Sequential(convolution, pool, nn.Flatten(), last).eval()
    other = nn.Sequential(changed, pool, nn.Flatten(), last).eval()
    first = diagnose(one, other, torch.rand(4, 1, 6, 6)).findings[0]
    assert (first.kind, first.where) == ("operator differs", "0")
    assert "[2, 3, 3], not [2, 6, 6]" in first.evidence


def test_a_layer_that_cannot_be_told_apart_leaves_the_answers(tmp_path):
    path = parsed(
        """<ir_version: 7, opset_import: ["" : 13]> g (float[B, 1, 2, 2] images) => (float[B, 4] logits)
        <float[4, 4] w = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}>
        { x = Flatten <axis = 1> (images)
          t = Transpose <perm = [1, 0]> (x)
          m = MatMul (x, w)
          p = MatMul (t, m)
          logits = MatMul (m, p) }""",
        tmp_path / "attention.onnx",
    )
    report = diagnose(path, path, torch.rand(3, 1, 2, 2))
    assert "multiplies two activations" in report.unmatched
    assert report.answers.all.flipped == 0
    assert report.healthy


def test_an_image_range_and_mean_of_its_own_is_named(small):
    model = small.Branches()
    images = small.as_images(small.image_bytes(16))
    report = diagnose(model, model, images, suspect_images=(images - 0.5) / 0.25)
    assert report.findings[0].kind == "images differ"
    assert "-2 … 2 instead of 0 … 1" in report.findings[0].evidence


def test_scaling_inside_the_file_is_seen_like_scaling_outside(tmp_path):
    scaled, plain = (
        parsed(
            f"""<ir_version: 7, opset_import: ["" : 13]> g (float[B, 3, 1, 1] images) => (float[B, 2] logits)
            <float f = {{{factor}}}, float[2, 3] w = {{1, 0, 0, 2, 0, 1}}>
            {{ x = Mul(images, f)
               y = Flatten <axis = 1> (x)
               logits = Gemm <transB = 1> (y, w) }}""",
            tmp_path / f"{factor}.onnx",
        )
        for factor in ("255.0", "1.0")
    )
    first = diagnose(plain, scaled, torch.rand(8, 3, 1, 1)).findings[0]
    assert (first.kind, first.where) == ("images scaled", "images")
    assert "times 255" in first.evidence


def test_kernels_that_do_not_compute_what_the_file_says_are_named():
    logits = np.eye(4, dtype=np.float32)
    (found,) = _runtime_findings(logits, logits[::-1])
    assert found.kind == "runtime differs"
    assert "4 of 4 answers" in found.evidence
    assert _runtime_findings(logits, logits * 1.01) == []


IMAGES = torch.rand(2, 3, 9, 7)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.rand(0, 3, 9, 7), "N ≥ 1"),
        (torch.rand(3, 9, 7), "N, C, H, W"),
        ((IMAGES * 255).to(torch.uint8), "must be float32"),
        (torch.full((1, 3, 9, 7), torch.nan), "must be finite"),
        (torch.rand(2, 4, 9, 7), r"cannot take images of shape \[4, 9, 7\]"),
    ],
)
def test_images_that_cannot_be_used_are_refused(images, words, small):
    with pytest.raises(ValueError, match=words):
        diagnose(small.Branches(), small.Branches(), images)


def test_models_without_a_common_input_shape_are_refused(small, tmp_path):
    network = quantize_network(small.Residual(), small.as_images(small.image_bytes(4)))
    path = export_qdq(network, tmp_path / "small.onnx", input_shape=(1, 3, 9, 7))
    with pytest.raises(ValueError, match=r"the suspect takes images of shape \[3, 9, 7\], got \[3, 32, 32\]"):
        diagnose(small.Residual(), path, torch.rand(2, 3, 32, 32))


def test_other_images_for_the_suspect_must_be_as_many(small):
    with pytest.raises(ValueError, match="the same 2 images, got 1"):
        diagnose(small.Branches(), small.Branches(), IMAGES, suspect_images=IMAGES[:1])


def test_another_number_of_classes_is_refused(small):
    other = small.Branches()
    other.last = nn.Linear(10, 5)
    with pytest.raises(ValueError, match="logits of one shape"):
        diagnose(small.Branches(), other, IMAGES)


@pytest.mark.parametrize("labels", [[0], [[0, 1]]])
def test_labels_of_another_length_are_refused(labels, small):
    with pytest.raises(ValueError, match=r"labels must be \(2,\)"):
        diagnose(small.Branches(), small.Branches(), IMAGES, labels)


def test_what_is_no_model_is_refused(small):
    with pytest.raises(TypeError, match="suspect must be a module, a QuantizedNetwork or a path, got int"):
        diagnose(small.Branches(), 3, IMAGES)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("content", [None, b"", b"no model"])
def test_a_missing_or_broken_file_names_itself(content, small, tmp_path):
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CourseError, match=r"broken\.onnx"):
        diagnose(small.Branches(), path, IMAGES)


def test_a_file_with_two_inputs_is_refused(small, tmp_path):
    text = """<ir_version: 7, opset_import: ["" : 13]> g (float[B, 3] a, float[B, 3] b) => (float[B, 3] logits)
        { logits = Add(a, b) }"""
    with pytest.raises(ValueError, match="the suspect must have one input"):
        diagnose(small.Branches(), parsed(text, tmp_path / "two.onnx"), IMAGES)


@pytest.fixture
def report(small) -> Report:
    images = small.as_images(small.image_bytes(16))
    model = small.Branches()
    network = quantize_network(model, images, weight_codes=Codes(3))
    weather = ["<sun>"] * 8 + ["rain"] * 8
    return diagnose(model, network, images, np.arange(16) % 7, {"weather": weather})


def test_a_report_comes_back_from_its_file(report, tmp_path):
    assert Report.load(report.save(tmp_path / "report.json")) == report


def test_a_report_holds_no_infinity(report, small, tmp_path):
    images = small.as_images(small.image_bytes(4))
    same = diagnose(small.Branches(), small.Branches(), images, suspect_images=images * 255)
    for number, one in enumerate((report, same)):
        text = one.save(tmp_path / f"{number}.json").read_text()
        assert "Infinity" not in text
        assert "NaN" not in text


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 9}', '{"format": 1, "answers": {}}'])
def test_what_is_no_report_is_refused(text, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(CourseError, match="no report of the doctor"):
        Report.load(path)
    with pytest.raises(CourseError, match="no report"):
        Report.load(tmp_path / "nowhere.json")


def test_the_text_says_what_was_found_and_html_is_escaped(report):
    text, page = str(report), report._repr_html_()
    assert "first layer that breaks, alone: first" in text
    assert "few weight bits" in text
    assert "Mend: give this layer 8 bits" in text
    assert "<sun>" not in page
    assert page.count("<li>") == len(report.findings)
    wild = Finding("weights <b>", "wrong", "<img>", "1 < 2 & 3", 1.0, "</pre>")
    page = replace(report, findings=(wild,), suspect="<script>")._repr_html_()
    assert "weights &lt;b&gt;" in page
    assert "&lt;img&gt;" in page
    assert "1 &lt; 2 &amp; 3" in page
    assert "&lt;script&gt;" in page
    assert page.count("</pre>") == 1


def test_slices_and_classes_add_up(report):
    whole = report.answers.all
    for parts in (report.answers.by_class, report.answers.by_slice):
        assert sum(part.images for part in parts.values()) == whole.images == 16
        assert sum(part.flipped for part in parts.values()) == whole.flipped
    assert set(report.answers.by_slice) == {"weather: <sun>", "weather: rain"}
