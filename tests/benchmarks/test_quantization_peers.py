"""The best recipe is chosen by other training images, differences are ours − theirs, a miss says how many images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset, load
from course_lib.deploy.onnx import export_onnx, open_session, run_session
from course_lib.evaluation import Estimate
from course_lib.measure import BACK_TO_BACK, Measurement
from course_lib.models import checkpoints
from course_lib.quantization import calibration_images
from course_lib.quantization.affine import Codes
from course_lib.quantization.calibrated import quantize_network, simulated_logits
from course_lib.quantization.graph import layer_graph
from course_lib.quantization.qdq import export_qdq


@pytest.fixture
def peers(load_script):
    return load_script("benchmarks/quantization_peers.py")


def test_each_decision_is_taken_with_the_ones_before_it(peers):
    worth = {"min_max": 4, "percentile": 3, "least_squares": 2, "entropy": 9, "nearest": 0, "bias_correction": -1}
    asked = []

    def divergence(recipe):
        asked.append(recipe)
        return worth[recipe.observer] + 0.5 * recipe.equalized + worth.get(recipe.finish, 1)

    recipe, tried = peers.chosen_recipe(divergence)
    assert recipe == peers.Recipe("least_squares", False, "bias_correction")
    assert len(asked) == len(set(asked)) == len(tried) == 4 + 1 + 2
    assert tried[str(recipe)] == min(tried.values()) == 1
    assert str(peers.Recipe("entropy", True)) == "entropy, equalized, nearest"


def test_the_divergence_is_that_of_the_answers(peers):
    logits = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    other = logits + np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    assert peers.answer_divergence(logits, logits + 3) == pytest.approx(0, abs=1e-6)
    p, q = (torch.distributions.Categorical(logits=torch.tensor(x)) for x in (logits, other))
    expected = float(torch.distributions.kl_divergence(p, q).mean())
    assert peers.answer_divergence(logits, other) == pytest.approx(expected, rel=1e-5)


def test_images_that_choose_are_no_calibration_images(peers):
    pixels = np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 4), np.uint8)
    train = SignDataset(pixels, np.zeros(60, int))
    calibration = calibration_images(train, 20, seed=peers.SEED)[:, 0, 0, 0]
    choosing = peers.choosing_images(train, 20, 40)[:, 0, 0, 0].numpy()
    assert sorted(np.rint(255 * np.concatenate([calibration, choosing])).astype(int)) == list(range(60))


@pytest.fixture(scope="module")
def student():
    model, _ = checkpoints.load("student_rendered")
    validation = load("rendered").validation
    every = len(validation) // 60
    groups = np.arange(60) // 2
    return model, SignDataset(validation.images[::every][:60], validation.labels[::every][:60], groups=groups)


def test_recipes_change_what_they_name(peers, student):
    graph, images = layer_graph(student[0]), student[1].batch(np.arange(8))[0]
    first = graph.layers[0].name
    plain = peers.Recipe().network(graph, images, per_channel=True)
    assert plain.weights[first].axis == 0
    assert peers.Recipe().network(graph, images, per_channel=False).weights[first].axis is None
    equalized = peers.Recipe(equalized=True).network(graph, images, per_channel=True)
    assert not torch.equal(equalized.graph.layers[0].weight, plain.graph.layers[0].weight)
    corrected = peers.Recipe(finish="bias_correction").network(graph, images, per_channel=True)
    assert not torch.equal(corrected.graph.layers[0].bias, plain.graph.layers[0].bias)
    narrower = peers.Recipe("percentile").network(graph, images, per_channel=True)
    assert narrower.activations[first].scale < plain.activations[first].scale


def test_figures_are_ours_minus_theirs_within_a_setting(peers, student, tmp_path):
    model, part = student
    images = part.batch(np.arange(len(part)))[0]
    fp32 = export_onnx(model, tmp_path / "fp32.onnx")
    whole = run_session(open_session(fp32), images.numpy()).argmax(1)
    part = SignDataset(part.images, whole, groups=part.groups)  # FP32 is right everywhere
    good, poor = quantize_network(model, images), quantize_network(model, images, weight_codes=Codes(2))
    right = float((simulated_logits(poor, images).argmax(1).numpy() == whole).mean())
    fine, bad = export_qdq(good, tmp_path / "good.onnx"), export_qdq(poor, tmp_path / "poor.onnx")
    files = {name: fine for name in ("ours_best", "ours_min_max", "nncf_default", "ort_min_max_per_tensor")}
    files |= {name: bad for name in ("ort_min_max", "ours_best_per_tensor", "ours_min_max_per_tensor")}
    found = peers.answer_figures("student", fp32, files, part)
    assert found["student_fp32_accuracy"].value == 100
    assert found["student_ort_min_max_accuracy"].value == pytest.approx(100 * right, abs=0.001)
    assert found["student_ort_min_max_agreement"].value == pytest.approx(100 * right, abs=0.001)
    gain = found["student_ours_best_over_ort_min_max_points"]
    assert gain.value > 0
    assert gain.target == "≥ 0"
    assert gain.value == pytest.approx(found["student_ours_best_accuracy"].value - 100 * right, abs=0.001)
    assert found["student_ours_best_over_nncf_default_points"].target is None
    lost = found["student_ours_best_per_tensor_over_ort_min_max_per_tensor_points"]
    assert lost.value == pytest.approx(-gain.value)
    assert f"{round(0.6 * gain.value)} of 60 images fewer" in (lost.note or "")
    assert found["student_ours_best_bytes"].value == fine.stat().st_size


def test_a_miss_says_whether_its_interval_holds_zero(peers):
    for high, words in ((0.5, "the interval holds 0"), (-0.5, "the whole interval lies below 0")):
        figure = Measurement(-1.0, "points", 200, "ours − theirs", low=-2.0, high=high, target="≥ 0")
        assert peers._explained(figure).note == f"2 of 200 images fewer are right; {words}"
    assert peers._explained(Measurement(0.0, "points", 200, "ours − theirs", target="≥ 0")).note is None


def test_times_stand_beside_our_best_ones(peers, student, monkeypatch, tmp_path):
    def time_ratios(paths, reference, image, paces, sessions):
        assert (reference, list(paces), sessions) == ("ours_best", [BACK_TO_BACK], 3)
        return {(name, BACK_TO_BACK.name): Estimate(2.0, 1.9, 2.1, 3) for name in paths if name != reference}

    monkeypatch.setattr(peers, "time_ratios", time_ratios)
    path = export_onnx(student[0], tmp_path / "fp32.onnx")
    image = np.zeros((1, 3, 32, 32), np.float32)
    found = peers.time_figures("student", {"ours_best": path, "fp32": path}, image, 3)
    assert set(found) == {"student_ours_best_ms", "student_fp32_ms", "student_fp32_time_ratio"}
    assert found["student_fp32_time_ratio"].value == 2
    assert found["student_fp32_ms"].value > 0


def test_nncf_keeps_weights_to_seven_bits_where_asked(peers, student, tmp_path):
    pytest.importorskip("nncf", reason='pip install ".[peers]"')
    import onnx
    from onnx import numpy_helper

    fp32 = export_onnx(student[0], tmp_path / "fp32.onnx")
    images = student[1].batch(np.arange(4))[0].numpy()
    largest = {}
    for seven in (True, False):
        path = peers.nncf_file(fp32, tmp_path / "nncf.onnx", images, seven=seven, min_max=seven, per_channel=seven)
        arrays = [numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer]
        codes = [array for array in arrays if array.dtype == np.int8 and array.ndim > 1]
        largest[seven] = max(int(np.abs(array.astype(int)).max()) for array in codes)
        scales = max(array.size for array in arrays if array.dtype == np.float32 and array.ndim <= 1)
        assert (scales > 1) or not seven
    assert largest[True] == 64 < largest[False] <= 128
