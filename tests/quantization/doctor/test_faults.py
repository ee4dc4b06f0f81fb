"""Each seeded fault must be the doctor's first finding, and a healthy pair must get none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.data import load
from course_lib.deploy.onnx import export_onnx
from course_lib.experiments import quantization_faults
from course_lib.experiments.quantization_faults import FAULTS, weights_exchanged
from course_lib.experiments.quantization_patients import healthy, named_first
from course_lib.models import checkpoints, sign_student
from course_lib.quantization import calibration_images, quantize_static_int8
from course_lib.quantization.affine import Codes
from course_lib.quantization.calibrated import quantize_network
from course_lib.quantization.doctor import diagnose
from course_lib.quantization.observers import Percentile
from course_lib.quantization.qdq import export_qdq

SLOW = ("operator in float", "signed activations")


@pytest.fixture(scope="module")
def well(tmp_path_factory):
    calibration = torch.from_numpy(calibration_images(load("rendered").train, 128))
    return healthy(checkpoints.load("student_rendered")[0], calibration, tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def shown():
    part = load("rendered").validation
    chosen = np.linspace(0, len(part) - 1, 48).astype(int)
    return part.batch(chosen)[0], part.labels[chosen]


@pytest.mark.parametrize("fault", [f for f in FAULTS if f is not weights_exchanged], ids=lambda fault: fault.__name__)
def test_a_seeded_fault_is_named_first_with_its_layer(fault, well, shown):
    patient = fault(well)
    images, labels = shown
    fed = patient.feed(images) if patient.feed else None
    report = diagnose(
        patient.reference, patient.suspect, images, labels, suspect_images=fed, speed=patient.kind in SLOW
    )
    assert named_first(patient, report), str(report)
    if patient.kind in SLOW:
        assert report.first_broken is None
    else:
        assert not report.healthy
        assert report.first_broken == (None if patient.layer == "images" else patient.layer)


def test_exchanged_weights_are_named_with_their_owner(shown, tmp_path):
    torch.manual_seed(0)
    model = sign_student(channels=(8, 16, 16, 16, 16)).eval()
    well = healthy(model, shown[0], tmp_path)
    patient = weights_exchanged(well)
    assert patient is not None
    report = diagnose(model, patient.suspect, shown[0], speed=False)
    found = {finding.where: finding for finding in report.findings if finding.kind == "weights exchanged"}
    assert set(found) == set(patient.layer.split(" or "))
    assert "features.3.0" in found["features.2.0"].evidence
    assert named_first(patient, report)


def test_layers_of_different_shapes_cannot_exchange_weights(well):
    assert weights_exchanged(well) is None


def test_faults_leave_the_healthy_pair_as_it_was(well, shown):
    before = [tensor.clone() for tensor in well.model.state_dict().values()]
    codes = [well.network.weight_codes(layer) for layer in well.network.graph.layers if hasattr(layer, "weight")]
    for fault in FAULTS:
        fault(well)
    assert all(map(torch.equal, before, well.model.state_dict().values()))
    after = [well.network.weight_codes(layer) for layer in well.network.graph.layers if hasattr(layer, "weight")]
    assert all(map(torch.equal, codes, after))


def test_there_are_at_least_fourteen_faults_with_names_of_their_own():
    assert len(set(FAULTS)) == len(FAULTS) >= 14
    assert all(getattr(quantization_faults, fault.__name__) is fault and fault.__doc__ for fault in FAULTS)


@pytest.mark.parametrize(
    "how", ["ours", "short names", "quantize_static", "percentile", "8 bits", "itself", "float file"]
)
def test_a_healthy_pair_gets_a_clean_bill(how, well, shown, tmp_path):
    path, calibration = tmp_path / "suspect.onnx", well.calibration
    suspect = {
        "ours": lambda: well.network,
        "short names": lambda: export_qdq(well.network, path),
        "quantize_static": lambda: quantize_static_int8(
            export_onnx(well.model, tmp_path / "float.onnx"), path, calibration.numpy()
        ),
        "percentile": lambda: quantize_network(well.model, calibration, observer=lambda: Percentile(99.99)),
        "8 bits": lambda: quantize_network(well.model, calibration, weight_codes=Codes(8, restricted=True)),
        "itself": lambda: well.model,
        "float file": lambda: export_onnx(well.model, path),
    }[how]()
    report = diagnose(well.model, suspect, *shown)
    assert report.healthy, str(report)
    assert report.unmatched == ""
    assert report.first_broken is None
    assert [row.name for row in report.layers[:2]] == ["images", "features.0.0"]
    if how == "itself":
        assert report.answers.all.flipped == 0
        assert {row.alone_db for row in report.layers} == {150.0}


def test_a_healthy_teacher_gets_a_clean_bill(shown):
    model = checkpoints.load("teacher_rendered")[0]
    calibration = torch.from_numpy(calibration_images(load("rendered").train, 64))
    report = diagnose(model, quantize_network(model, calibration), shown[0][:16], shown[1][:16])
    assert report.healthy, str(report)
    assert len(report.layers) == 25
