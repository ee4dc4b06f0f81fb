"""Static INT8 files hold 8-bit weights with one scale a channel, cannot saturate without VNNI, and stay close."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from course_lib.data import SignDataset
from course_lib.deploy.onnx import export_onnx, open_session, run_session
from course_lib.errors import CourseError
from course_lib.models import sign_student
from course_lib.quantization.post_training import calibration_images, calibration_places, quantize_static_int8


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    # Smooth pictures: white noise would average out in the pooling and leave nothing to tell apart.
    coarse = torch.rand(64, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear").numpy()


@pytest.fixture(scope="module")
def files(tmp_path_factory, images):
    folder = tmp_path_factory.mktemp("int8")
    torch.manual_seed(1)
    model = sign_student(0.5)
    with torch.no_grad():
        for _ in range(20):
            model(torch.from_numpy(images))
    fp32 = export_onnx(model.eval(), folder / "fp32.onnx")
    return fp32, quantize_static_int8(fp32, folder / "int8.onnx", images)


def weights(path) -> dict[str, np.ndarray]:
    return {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}


def test_every_kernel_is_signed_8_bit_with_one_scale_for_each_output_channel(files):
    graph, arrays = onnx.load(files[1]).graph, weights(files[1])
    kernels = {name: array for name, array in arrays.items() if array.dtype == np.int8 and array.ndim in (2, 4)}
    assert len(kernels) == 6
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in kernels:
            kernel, scale, zero = (arrays[name] for name in node.input)
            axis = next(a.i for a in node.attribute if a.name == "axis")
            assert scale.shape == (kernel.shape[axis],)
            assert not zero.any(), "weights are symmetric"


def test_weights_stay_within_7_bits_so_that_two_products_fit_in_16(files):
    kernels = [array for array in weights(files[1]).values() if array.dtype == np.int8 and array.ndim in (2, 4)]
    largest = max(int(np.abs(kernel.astype(int)).max()) for kernel in kernels)
    assert 2 * 255 * largest <= 32767
    assert largest >= 63


def test_the_full_range_is_used_when_asked_for(files, tmp_path, images):
    path = quantize_static_int8(files[0], tmp_path / "full.onnx", images, reduce_range=False)
    kernels = [array for array in weights(path).values() if array.dtype == np.int8 and array.ndim in (2, 4)]
    assert max(int(np.abs(kernel.astype(int)).max()) for kernel in kernels) == 127


def test_one_scale_a_layer_when_asked_for(files, tmp_path, images):
    path = quantize_static_int8(files[0], tmp_path / "tensor.onnx", images, per_channel=False)
    arrays = weights(path)
    for node in onnx.load(path).graph.node:
        if node.op_type == "DequantizeLinear" and arrays.get(node.input[0], np.zeros(0)).ndim in (2, 4):
            assert arrays[node.input[1]].size == 1


@pytest.mark.parametrize("count", [64, 51])  # histograms need batches of one size
def test_percentiles_clip_and_entropy_has_nothing_to_choose(files, tmp_path, images, count):
    ends = {}
    for method in ("MinMax", "Percentile", "Entropy"):
        path = quantize_static_int8(files[0], tmp_path / f"{method}.onnx", images[:count], method=method)
        graph, arrays = onnx.load(path).graph, weights(path)
        node = next(n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] != "images")
        ends[method] = arrays[node.input[1]].item()
    assert ends["Percentile"] < ends["MinMax"]
    assert ends["Entropy"] == ends["MinMax"]  # 128 histogram bins for 128 levels leave one range to choose


def test_int8_logits_are_close_to_fp32(files, images):
    full, small = (run_session(open_session(path), images) for path in files)
    noise = np.square(small - full).mean() / np.square(full - full.mean()).mean()
    assert noise < 0.02  # better than 17 dB; measured: about 30 dB
    assert (small.argmax(1) == full.argmax(1)).mean() > 0.8


def test_the_input_code_is_the_pixels_own_byte(files, images, tmp_path):
    extremes = images.copy()
    extremes[0, 0, 0, 0], extremes[0, 0, 0, 1] = 0.0, 1.0
    path = quantize_static_int8(files[0], tmp_path / "bytes.onnx", extremes)
    graph, arrays = onnx.load(path).graph, weights(path)
    node = next(n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == "images")
    assert arrays[node.input[1]].item() == pytest.approx(1 / 255, rel=1e-6)
    assert arrays[node.input[2]].item() == 0


def test_opset_and_ir_stay_readable_for_old_runtimes(files):
    model = onnx.load(files[1])
    assert (model.opset_import[0].version, model.ir_version) == (13, 7)
    assert all(entry.domain == "" for entry in model.opset_import)


def test_the_file_shrinks_by_more_than_three(files):
    sizes = [path.stat().st_size for path in files]
    assert sizes[0] > 2.5 * sizes[1]  # scales and graph stay: a student this small does not reach 4×


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (np.zeros((2, 3, 32, 32)), "float32"),
        (np.zeros((0, 3, 32, 32), np.float32), "N ≥ 1"),
        (np.full((2, 3, 32, 32), 255, np.float32), "divide bytes by 255"),
        (np.full((2, 3, 32, 32), np.nan, np.float32), "finite"),
        ([1, 2], "list"),
    ],
    ids=["float64", "empty", "bytes", "nan", "list"],
)
def test_calibration_images_of_another_kind_are_refused(files, tmp_path, bad, words):
    with pytest.raises(ValueError, match=words):
        quantize_static_int8(files[0], tmp_path / "x.onnx", bad)


def test_a_file_that_is_no_model_leaves_nothing_behind(tmp_path, images):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with pytest.raises(CourseError, match=r"broken\.onnx"):
        quantize_static_int8(broken, tmp_path / "int8.onnx", images)
    assert [p.name for p in tmp_path.iterdir()] == ["broken.onnx"]


def test_calibration_images_come_without_replacement_and_repeat_with_the_seed():
    pixels = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 8, 8), np.uint8)
    signs = SignDataset(pixels, np.zeros(40, int))
    first, again = calibration_images(signs, 30, seed=1), calibration_images(signs, 30, seed=1)
    assert np.array_equal(first, again)
    assert len(np.unique(first[:, 0, 0, 0])) == 30
    with pytest.raises(ValueError, match=r"count must be in 1\.\.40, got 41"):
        calibration_images(signs, 41)


@pytest.mark.parametrize("seed", range(4))
def test_the_places_of_the_images_ascend_and_are_those_that_are_drawn(seed):
    numbers = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1).repeat(3, 1)
    part = SignDataset(numbers, np.zeros(40, int))
    places = calibration_places(part, 12, seed=seed)
    assert (np.diff(places) > 0).all()
    assert (255 * calibration_images(part, 12, seed=seed)[:, 0, 0, 0]).round().astype(int).tolist() == places.tolist()
