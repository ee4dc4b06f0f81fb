"""``course diff``: which models and data it takes, and what its status says."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib import cli
from course_lib.data import SignDataset, load
from course_lib.deploy.onnx import export_onnx
from course_lib.experiments.model_diff import diff, slices
from course_lib.models import checkpoints
from course_lib.quantization import calibration_images, quantize_static_int8
from course_lib.quantization.doctor import Report
from course_lib.storage.files import CHECKPOINTS


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The student as a float file, healthy INT8, and ill: its images are scaled in the file's calibration."""
    folder = tmp_path_factory.mktemp("diff")
    images = calibration_images(load("rendered").train, 64)
    plain = export_onnx(checkpoints.load("student_rendered")[0], folder / "float.onnx")
    well = quantize_static_int8(plain, folder / "well.onnx", images)
    ill = quantize_static_int8(plain, folder / "ill.onnx", images / 20)
    return plain, well, ill


def test_a_healthy_file_ends_with_status_0_and_a_report(files, capsys, tmp_path):
    out = tmp_path / "report.json"
    arguments = ["diff", "student_rendered", str(files[1]), "--images", "40", "--out", str(out)]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert "well.onnx beside SignStudent, 40 images" in text
    assert "first layer that breaks, alone: none" in text
    assert Report.load(out).images == 40


def test_a_file_calibrated_on_other_images_ends_with_status_1(files, capsys):
    assert cli.main(["diff", str(files[0]), str(files[2]), "--images", "40"]) == 1
    text = capsys.readouterr().out
    assert "1. wrong: range too small in " in text


def test_a_card_s_path_and_a_name_are_the_same_network():
    report = diff("student_rendered", str(CHECKPOINTS / "student_rendered.json"), images=10)
    assert (report.answers.all.flipped, report.healthy) == (0, True)


def test_images_are_the_validation_part_s(monkeypatch):
    seen = {}

    def diagnose(reference, suspect, images, labels, attributes):
        seen.update(images=images, labels=labels, attributes=attributes)

    monkeypatch.setattr("course_lib.experiments.model_diff.diagnose", diagnose)
    diff("student_rendered", "final_rendered", images=3)
    part = load("rendered").validation
    chosen = [0, (len(part) - 1) // 2, len(part) - 1]
    assert np.array_equal(seen["labels"], part.labels[chosen])
    assert np.array_equal(seen["images"], part.batch(np.array(chosen))[0])
    assert set(seen["attributes"]) <= set(part.attributes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody", "student_rendered"], "no network nobody is here. Mend: name one of alone_gtsrb, "),
        (["student_rendered", "nowhere.onnx"], "nowhere.onnx: no such ONNX file"),
        (["student_rendered", "student_rendered", "--images", "0"], "images must be at least 1"),
        (["student_rendered", "student_rendered", "--data", "cifar"], "unknown data 'cifar'"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(arguments, words, capsys):
    assert cli.main(["diff", *arguments]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert words in line


def test_numbers_become_quarters_and_words_stay():
    known = {"px": np.arange(12.0), "night": np.arange(12) % 2, "sky": np.array(["sun", "rain"] * 6)}
    known["blur"] = np.full(12, np.nan)
    known["blur"][:10] = np.arange(10)
    part = SignDataset(np.zeros((12, 3, 8, 8), np.uint8), np.zeros(12, int), attributes=known)
    found = slices(part)
    assert {name: len(set(values)) for name, values in found.items()} == {"px": 4, "night": 2, "sky": 2}
