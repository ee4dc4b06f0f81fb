"""Predictions are bounds from documented peaks: each number names its source, and what a board cannot do is refused."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from course_lib.deploy.edge import BOARDS, Prediction, compare, find_board, predict, predict_kit, sources
from course_lib.deploy.edge.results import Results, results_sha256
from course_lib.deploy.onnx import export_onnx, onnx_counts, onnx_layers
from course_lib.errors import CourseError
from course_lib.measure import LayerCount, count_layers
from course_lib.models import sign_student


def layer(macs: int, bytes_moved: int) -> dict[str, LayerCount]:
    return {"x": LayerCount("x", "Conv2d", 0, macs, (1,), bytes_moved, 0)}


def test_a_layer_takes_what_the_slower_of_arithmetic_and_memory_takes():
    nano = BOARDS["nano"]  # 472 GFLOP/s in FP16 and 25.6 GB/s
    heavy = predict(layer(236_000_000, 2), nano, "tensorrt", precision="fp16")
    assert heavy.ms == pytest.approx(1.0)
    light = predict(layer(1, 51_200_000), nano, "tensorrt", precision="fp16")  # 2 of 4 bytes move
    assert light.ms == pytest.approx(1.0)
    assert (heavy.memory_bound, light.memory_bound) == (0, 1)
    both = predict(layer(236_000_000, 25_600_000), nano, "tensorrt", precision="fp16")
    assert (both.layers[0].memory_ms, both.ms) == (pytest.approx(0.5), pytest.approx(1.0))
    assert light.compute_ms < 1e-5


def test_layers_add_up_and_overhead_is_an_assumption_for_each():
    counts = {name: layer(10**6, 10**5)["x"] for name in "abc"}
    plain = predict(counts, BOARDS["pi5"], "onnxruntime")
    assert plain.ms == pytest.approx(3 * plain.layers[0].ms)
    assert predict(counts, BOARDS["pi5"], "onnxruntime", overhead_us=10).ms == pytest.approx(plain.ms + 0.03)
    assert "10 µs a layer assumed" in str(predict(counts, BOARDS["pi5"], "onnxruntime", overhead_us=10))
    assert "nothing assumed" in str(plain)


def test_threads_multiply_the_cpus_peak_and_not_the_gpus():
    for board in BOARDS.values():
        one, all_ = (board.peak("c", "fp32", threads=n).value for n in (1, board.cores))
        assert all_ == pytest.approx(board.cores * one)
    orin = BOARDS["orin_nano"]
    assert orin.peak("tensorrt", "fp16", 1) == orin.peak("tensorrt", "fp16", 6)


def test_every_number_names_its_source():
    for board in BOARDS.values():
        for documented in (board.bandwidth, board.cache, *board.peaks.values()):
            assert documented.value > 0
            assert len(documented.source) > 20
            assert documented.unit in ("GB/s", "MB", "GFLOP/s", "GOP/s")


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [("tensorrt", "Maxwell GPU .* has no INT8 in TensorRT"), ("onnxruntime", "no dot-product instructions")],
)
def test_int8_on_a_nano_is_refused_with_the_reason_and_what_to_predict_instead(runtime, reason):
    with pytest.raises(CourseError, match=f"{reason}.*Mend: predict fp32"):
        predict(layer(1, 1), BOARDS["nano"], runtime, precision="int8")


def test_a_pi_has_no_tensorrt():
    with pytest.raises(CourseError, match="needs an NVIDIA GPU"):
        predict(layer(1, 1), BOARDS["pi5"], "tensorrt")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"runtime": "openvino"}, "runtime must be"),
        ({"precision": "int4"}, "precision must be"),
        ({"threads": 5}, r"threads must be in 1..4"),
        ({"threads": 0}, r"threads must be in 1..4"),
        ({"overhead_us": -1}, "overhead_us"),
        ({"overhead_us": float("nan")}, "overhead_us"),
        ({"counts": {}}, "at least one layer"),
    ],
)
def test_arguments_outside_their_ranges_are_refused(options, said):
    given = {"counts": layer(1, 1), "board": BOARDS["nano"], "runtime": "c", **options}
    with pytest.raises(ValueError, match=said):
        predict(given.pop("counts"), given.pop("board"), given.pop("runtime"), **given)


def test_a_board_that_nobody_knows_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="nano, orin_nano, orin_nano_super, pi5"):
        find_board("xavier")


def test_a_prediction_says_that_it_is_one():
    text = str(predict(layer(10**6, 10**6), BOARDS["orin_nano"], "tensorrt", precision="int8"))
    assert text.startswith("predicted, not measured: Jetson Orin Nano 8GB (15 W), tensorrt int8")
    assert "at least" in text
    assert "data sheet" in text


def test_an_onnx_files_layers_are_the_models(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.Flatten(),
        nn.Linear(1568, 5),
    ).eval()
    found = list(onnx_layers(export_onnx(model, tmp_path / "m.onnx")).values())
    expected = list(count_layers(model, (1, 3, 32, 32)).values())
    for name in ("macs", "parameters", "weight_bytes", "activation_bytes"):
        assert [getattr(row, name) for row in found] == [getattr(row, name) for row in expected]


def test_an_onnx_files_layers_sum_to_its_counts(tmp_path):
    path = export_onnx(sign_student(0.25).eval(), tmp_path / "s.onnx")
    assert sum(row.macs for row in onnx_layers(path).values()) == onnx_counts(path).macs


def test_a_kits_networks_are_predicted_and_those_that_a_board_cannot_run_say_why(kit):
    found = predict_kit(kit, BOARDS["nano"], "tensorrt")
    assert list(found) == ["plain, tensorrt fp32", "plain, tensorrt fp16", "symmetric, tensorrt int8"]
    fp32, fp16, int8 = found.values()
    assert isinstance(fp32, Prediction)
    assert isinstance(fp16, Prediction)
    assert fp16.compute_ms == pytest.approx(fp32.compute_ms / 2)
    assert "no INT8" in int8
    in_c = predict_kit(kit, BOARDS["orin_nano"], "c", threads=4)["in_c, c int8"]
    assert isinstance(in_c, Prediction)
    assert in_c.threads == 1
    quantized = predict_kit(kit, BOARDS["orin_nano"], "tensorrt")["symmetric, tensorrt int8"]
    assert isinstance(quantized, Prediction)  # Q/DQ nodes stand between the layers
    assert len(quantized.layers) == len(fp32.layers)


def test_the_table_shows_what_was_measured_beside_what_was_predicted(kit, bench, result):
    found = predict_kit(kit, BOARDS["pi5"], "onnxruntime")
    before = compare(found)
    assert "these are predictions" in before
    assert before.count("–") >= 2 * len(found)
    bench()
    content = result()
    content["rows"][0]["times_ms"] = [1000 * found["plain, onnxruntime fp32"].ms]
    content["rows"][0]["state"] = {at: {"governors": []} for at in ("before", "after")}
    content["rows"][1]["outputs_agree"] = False
    content["device"].update(emulated=False, model="Raspberry Pi 5 Model B Rev 1.0")
    content["sha256"] = results_sha256(content)
    table = compare(found, Results("x", content)).splitlines()
    assert next(line for line in table if line.startswith("plain")).split()[-1] == "1000"
    assert next(line for line in table if line.startswith("symmetric")).split()[-1] == "–"
    assert any("not compared: outputs disagree" in line for line in table)


@pytest.mark.parametrize("model", [None, "NVIDIA Jetson Nano Developer Kit", 5])
def test_times_of_another_machine_get_no_ratio_to_a_boards_bound(kit, bench, result, model):
    bench()
    content = result()
    content["rows"][0]["state"] = {at: {"governors": []} for at in ("before", "after")}
    content["device"].update(emulated=False, model=model)
    found = predict_kit(kit, BOARDS["orin_nano"], "onnxruntime")
    table = compare(found, Results("x", content))
    line = next(line for line in table.splitlines() if line.startswith("plain"))
    assert line.split()[-1] == "–"
    assert line.split()[-2] != "–"
    assert "That machine does not name itself Orin Nano: no ratio to what is predicted" in table


def test_a_time_below_the_bound_is_told(kit, bench, result):
    bench()
    content = result()
    found = predict_kit(kit, BOARDS["nano"], "onnxruntime")
    content["rows"][0]["state"] = {at: {"governors": []} for at in ("before", "after")}
    content["device"].update(emulated=False, model="NVIDIA Jetson Nano Developer Kit")
    bound = found["plain, onnxruntime fp32"].compute_ms
    for times, told in (([0.9 * bound], True), ([0.98 * bound], False), ([2 * bound], False)):
        content["rows"][0]["times_ms"] = times
        assert (
            "plain, onnxruntime fp32: faster than the board's peak" in compare(found, Results("x", content))
        ) is told


def test_a_runtime_that_nobody_knows_is_refused(kit):
    with pytest.raises(ValueError, match="runtime must be one of onnxruntime, c, tensorrt, got 'foo'"):
        predict_kit(kit, BOARDS["nano"], "foo")


def test_a_kit_without_a_network_for_the_runtime_is_refused(kit):
    manifest = json.loads((kit / "manifest.json").read_text())
    manifest["models"] = [model for model in manifest["models"] if "c" not in model["runtimes"]]
    (kit / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CourseError, match="the kit has no network for c"):
        predict_kit(kit, BOARDS["nano"], "c")


def test_a_nanos_core_is_bounded_by_the_larger_of_two_documented_clocks():
    peak = BOARDS["nano"].peak("onnxruntime", "fp32")
    assert peak.value == pytest.approx(8 * 1.479)
    assert "Power Management for Jetson Nano" in peak.source


def test_peaks_and_bandwidths_are_cores_times_clock_up_to_a_data_sheets_rounding():
    nano, orin, fast = (BOARDS[name] for name in ("nano", "orin_nano", "orin_nano_super"))
    assert nano.peak("tensorrt", "fp16").value == pytest.approx(128 * 2 * 2 * 0.9216, rel=0.001)
    assert nano.bandwidth.value == pytest.approx(1.6 * 2 * 8)
    for board, gpu_ghz, memory_ghz in ((orin, 0.625, 2.133), (fast, 1.02, 3.199)):
        assert board.peak("tensorrt", "int8").value == pytest.approx(32 * 1024 * gpu_ghz, rel=0.03)
        assert board.bandwidth.value == pytest.approx(memory_ghz * 2 * 16, rel=0.03)


def test_a_gpus_sources_name_no_cache_of_the_cpu(kit):
    assert "cache" in sources(predict_kit(kit, BOARDS["nano"], "onnxruntime"))
    assert "cache" not in sources(predict_kit(kit, BOARDS["nano"], "tensorrt"))


def test_sources_are_listed_once(kit):
    lines = sources(predict_kit(kit, BOARDS["orin_nano"], "onnxruntime")).splitlines()
    assert len(lines) == len(set(lines))
    assert any("68 GB/s" in line for line in lines)
