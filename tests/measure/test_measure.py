"""Counting, machine, recorded figures and claims."""

from __future__ import annotations

import importlib
import json

import numpy as np
import onnx
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

from course_lib.data import torchvision_compat  # noqa: F401  (before torchvision)
from course_lib.deploy.onnx import deployable_bytes, export_onnx, onnx_counts
from course_lib.errors import CourseError
from course_lib.evaluation import Estimate
from course_lib.measure import (
    Measurement,
    claim,
    count_layers,
    count_nonzeros,
    count_parameters,
    cpu_features,
    load_result,
    machine,
    machine_summary,
    macs_by_layer,
    peak_bandwidth_gbs,
    peak_compute_gflops,
    peak_memory_bytes,
    process_memory_bytes,
    quantity,
    record,
    three_digits,
    torch_threads,
    total_macs,
    versions,
)
from course_lib.measure.tables import html_table, markdown_table, text_table

# The package gives the function's name to the function, so the module is looked up by its path.


def torchvision_model(name: str) -> nn.Module:
    return importlib.import_module("torchvision.models").get_model(name, weights=None)


NETS = {
    "plain": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 5)),
        (2, 3, 8, 8),
    ),
    "strided, dilated, no bias": (
        lambda: nn.Conv2d(4, 6, (3, 5), stride=(2, 1), dilation=2, bias=False),
        (1, 4, 17, 23),
    ),
    "grouped": (lambda: nn.Conv2d(12, 24, 3, groups=3), (3, 12, 9, 7)),
    "depthwise separable": (
        lambda: nn.Sequential(nn.Conv2d(16, 16, 3, groups=16), nn.Conv2d(16, 32, 1)),
        (1, 16, 11, 11),
    ),
    "one-dimensional": (lambda: nn.Conv1d(5, 10, 4, stride=3, groups=5), (2, 5, 31)),
    "transposed": (lambda: nn.ConvTranspose2d(6, 4, 3, stride=2, padding=1, output_padding=1), (2, 6, 5, 7)),
    "transposed, grouped": (lambda: nn.ConvTranspose2d(6, 9, 3, stride=2, groups=3), (1, 6, 5, 5)),
    "linear on a sequence": (lambda: nn.Linear(10, 20), (2, 7, 10)),
    "resnet18": (lambda: torchvision_model("resnet18"), (1, 3, 64, 64)),
    "mobilenet_v2": (lambda: torchvision_model("mobilenet_v2"), (2, 3, 64, 64)),
}


@pytest.mark.parametrize(("make", "shape"), NETS.values(), ids=NETS.keys())
def test_macs_are_half_of_the_flops_of_an_independent_counter(make, shape):
    model = make().eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(shape))
    assert 2 * total_macs(model, shape) == counter.get_total_flops()


def test_macs_of_small_layers_equal_the_numbers_worked_by_hand():
    conv = nn.Conv2d(3, 8, 3, stride=2, padding=1)  # 32×32 → 16×16 outputs, 8 filters of 3·3·3
    assert macs_by_layer(conv, (1, 3, 32, 32)) == {"": 16 * 16 * 8 * 27}
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    assert total_macs(depthwise, (1, 8, 4, 4)) == 4 * 4 * 8 * 9
    assert total_macs(nn.Linear(7, 5), (1, 7)) == 35
    assert total_macs(nn.ConvTranspose2d(2, 3, 2, stride=2), (1, 2, 4, 4)) == 4 * 4 * 2 * 3 * 4


def test_a_layer_knows_its_shape_its_bytes_and_its_arithmetic_intensity():
    row = count_layers(nn.Conv2d(3, 8, 3, padding=1), (1, 3, 10, 10))[""]
    assert (row.parameters, row.output_shape, row.kind) == (224, (1, 8, 10, 10), "Conv2d")
    assert row.weight_bytes == 4 * 224
    assert row.activation_bytes == 4 * (3 + 8) * 100
    assert row.arithmetic_intensity == pytest.approx(2 * 21600 / (896 + 4400))
    depthwise = count_layers(nn.Conv2d(64, 64, 3, padding=1, groups=64), (1, 64, 32, 32))[""]
    dense = count_layers(nn.Conv2d(64, 64, 3, padding=1), (1, 64, 32, 32))[""]
    assert depthwise.arithmetic_intensity < 3 < 60 < dense.arithmetic_intensity


def test_half_precision_halves_the_bytes_and_not_the_macs():
    conv = nn.Conv2d(3, 8, 3)
    full = count_layers(conv, (1, 3, 8, 8))[""]
    half = count_layers(conv.to(torch.bfloat16), (1, 3, 8, 8))[""]
    assert (half.macs, 2 * half.bytes_moved) == (full.macs, full.bytes_moved)


class CallsTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.second, self.first = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.second(self.first(self.first(x)))


def test_a_layer_called_twice_is_one_row_with_the_sum_and_rows_come_in_order_of_execution():
    rows = count_layers(CallsTwice(), (1, 4))
    assert list(rows) == ["first", "second"]
    assert (rows["first"].macs, rows["first"].parameters, rows["second"].macs) == (32, 20, 16)
    assert rows["first"].bytes_moved == 2 * rows["second"].bytes_moved


def test_counting_leaves_hooks_modes_statistics_and_gradients_as_they_were():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.ReLU())
    model.train()
    model[1].eval()  # a frozen BatchNorm inside a model in training
    before = {k: v.clone() for k, v in model.state_dict().items()}
    total_macs(model, (2, 3, 8, 8))
    assert [m.training for m in model.modules()] == [True, True, False, True, True]
    assert all(not m._forward_hooks for m in model.modules())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_hooks_and_modes_are_restored_when_the_forward_pass_fails():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(99, 2)).train()
    with pytest.raises(RuntimeError):
        total_macs(model, (1, 3, 8, 8))
    assert all(not m._forward_hooks and m.training for m in model.modules())


@pytest.mark.parametrize("layer", [nn.MultiheadAttention(8, 2), nn.LSTM(4, 4), nn.Conv3d(1, 1, 3)])
def test_a_layer_whose_products_are_not_seen_is_refused_by_name_instead_of_counted_as_0(layer):
    with pytest.raises(ValueError, match=rf"inner\.0: {type(layer).__name__}"):
        total_macs(nn.ModuleDict({"inner": nn.Sequential(layer)}), (1, 8))


@pytest.mark.parametrize("shape", [(), (0, 3, 8, 8), (1, 3, -8, 8), (1.0, 3)])
def test_an_impossible_input_shape_is_refused(shape):
    with pytest.raises(ValueError, match="input_shape"):
        total_macs(nn.Linear(3, 3), shape)


def test_parameters_count_shared_tensors_once_and_nonzeros_see_masks():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    assert count_parameters(model) == 16
    layer = nn.Linear(4, 5)
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
    assert (count_parameters(layer), count_nonzeros(layer)) == (25, 20)
    prune.l1_unstructured(layer, "weight", amount=0.5)
    assert count_nonzeros(layer) == 10


@pytest.fixture(scope="module")
def small_net() -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, groups=8),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip
    return net.eval()


@pytest.fixture(scope="module")
def onnx_file(small_net, tmp_path_factory):
    return export_onnx(small_net, tmp_path_factory.mktemp("onnx") / "net.onnx", input_shape=(1, 3, 16, 16))


def test_an_onnx_file_counts_like_the_model_with_batchnorm_folded(small_net, onnx_file):
    found = onnx_counts(onnx_file)
    assert found.macs == total_macs(small_net, (1, 3, 16, 16))
    assert found.parameters == count_parameters(small_net) - 8  # γ and β became one bias of 8
    assert found.deployable_bytes == onnx_file.stat().st_size == deployable_bytes(onnx_file)


def test_macs_of_an_onnx_file_are_those_of_one_image_whatever_its_fixed_batch(small_net, onnx_file, tmp_path):
    model = onnx.load(onnx_file)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, tmp_path / "batch4.onnx")
    assert onnx_counts(tmp_path / "batch4.onnx").macs == total_macs(small_net, (1, 3, 16, 16))


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_a_quantized_file_has_as_many_parameters_and_macs_as_its_float_original(onnx_file, tmp_path, form):
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Images(CalibrationDataReader):
        def __init__(self):
            self.left = iter(np.random.default_rng(0).random((8, 1, 3, 16, 16), dtype=np.float32))

        def get_next(self):
            image = next(self.left, None)
            return None if image is None else {"images": image}

    path = tmp_path / "int8.onnx"
    quantize_static(
        onnx_file, path, Images(), quant_format=QuantFormat[form], per_channel=True, weight_type=QuantType.QInt8
    )
    found, original = onnx_counts(path), onnx_counts(onnx_file)
    assert found.parameters == original.parameters
    assert found.nonzeros <= original.nonzeros
    # ONNX's shape inference does not know ONNX Runtime's own QGemm: unknown is said, not a smaller number.
    assert found.macs == (original.macs if form == "QDQ" else None)


def test_an_integer_weight_is_zero_where_its_code_equals_its_zero_point(tmp_path):
    weight = np.array([[128, 7], [9, 128], [50, 128]], np.uint8)
    tensors = [onnx.numpy_helper.from_array(a, n) for a, n in [
        (weight, "w"), (np.float32(0.1), "s"), (np.uint8(128), "z"),
    ]]  # fmt: skip
    nodes = [
        onnx.helper.make_node("DequantizeLinear", ["w", "s", "z"], ["wf"]),
        onnx.helper.make_node("MatMul", ["x", "wf"], ["y"]),
    ]
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, ["b", c]) for n, c in (("x", 3), ("y", 2)))
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y], tensors)), tmp_path / "m.onnx")
    found = onnx_counts(tmp_path / "m.onnx")
    assert (found.parameters, found.nonzeros, found.macs) == (6, 3, 6)


def test_external_data_counts_as_part_of_what_is_shipped_and_its_loss_is_named(onnx_file, tmp_path):
    path = tmp_path / "split.onnx"
    onnx.save(onnx.load(onnx_file), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    data = tmp_path / "weights.bin"
    assert deployable_bytes(path) == path.stat().st_size + data.stat().st_size
    assert onnx_counts(path).parameters == onnx_counts(onnx_file).parameters
    data.unlink()
    with pytest.raises(CourseError, match=r"split\.onnx: its external data file weights\.bin is missing"):
        onnx_counts(path)


@pytest.mark.parametrize(
    "content", [b"", b"not a model at all", b"\x00" * 64, None], ids=["empty", "text", "zeros", "missing"]
)
def test_a_file_that_is_not_onnx_is_one_line_with_its_name_and_a_mend(content, tmp_path):
    path = tmp_path / "broken.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CourseError, match=r"broken\.onnx: .*Mend: ") as caught:
        onnx_counts(path)
    assert "\n" not in str(caught.value)


X86 = (
    "processor : 0\nvendor_id : GenuineIntel\nmodel name : Xeon\nflags : fpu avx2 fma avx512f avx512_vnni amx_int8 ht\n"
)
ARM = "processor : 0\nFeatures : fp asimd asimddp crc32\nCPU part : 0xd42\n"


def test_cpuinfo_gives_the_model_and_the_instruction_sets():
    model, flags, emulated = machine._from_cpuinfo(X86, "x86_64")
    assert (model, emulated) == ("Xeon", False)
    assert {"avx2", "fma", "avx512_vnni", "amx_int8"} <= flags
    model, flags, emulated = machine._from_cpuinfo(ARM, "aarch64")
    assert (model, emulated) == ("0xd42", False)
    assert "asimddp" in flags


@pytest.mark.parametrize(
    ("text", "architecture"),
    [(X86, "aarch64"), (X86.replace("GenuineIntel", "AuthenticAMD"), "armv7l"),
     (X86.replace("GenuineIntel", "VirtualApple"), "x86_64"), (X86.replace("Xeon", "QEMU TCG CPU"), "x86_64")],
)  # fmt: skip
def test_an_emulated_processor_is_recognized(text, architecture):
    assert machine._from_cpuinfo(text, architecture)[2] is True


def test_sysctl_output_is_read_for_both_kinds_of_mac():
    arm = "hw.optional.neon: 1\nhw.optional.arm.FEAT_DotProd: 1\nhw.optional.arm.FEAT_BF16: 0"
    apple = f"machdep.cpu.brand_string: Apple M2\n{arm}"
    assert machine._from_sysctl(apple) == ("Apple M2", {"asimd", "asimddp"}, False)
    intel = (
        "machdep.cpu.brand_string: Core i7\nmachdep.cpu.features: SSE4.2 FMA AVX1.0\nmachdep.cpu.leaf7_features: AVX2"
    )
    assert machine._from_sysctl(intel)[1] >= {"sse4_2", "fma", "avx", "avx2"}
    assert machine._from_sysctl("sysctl.proc_translated: 1")[2] is True


@pytest.mark.parametrize("text", ["", "garbage", ":::\n:", "flags\nflags :"])
def test_features_never_raise_whatever_cpuinfo_says(text, monkeypatch):
    monkeypatch.setattr(machine.Path, "read_text", lambda *_, **__: text)
    assert cpu_features()["isa"] == []

    def unreadable(*_, **__):
        raise PermissionError("no /proc")

    monkeypatch.setattr(machine.Path, "read_text", unreadable)
    found = cpu_features()
    assert found["model"]
    assert found["emulated"] is False


def test_the_summary_and_the_versions_are_json_and_name_what_matters():
    summary = json.loads(json.dumps({**machine_summary(3), **{"versions": versions()}}))
    assert summary["threads"] == 3
    assert {"cpu", "isa", "cores", "emulated", "memory_gb"} <= summary.keys()
    assert {"python", "torch", "onnxruntime"} <= summary["versions"].keys()


def test_torch_threads_are_set_inside_and_restored_after_an_error():
    before = torch.get_num_threads()

    def failing():
        with torch_threads(before + 1):
            raise KeyError(torch.get_num_threads())

    with pytest.raises(KeyError, match=str(before + 1)):
        failing()
    assert torch.get_num_threads() == before
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"), torch_threads(0):
        pass


def test_peaks_count_the_work_that_they_say(monkeypatch):
    monkeypatch.setattr(machine, "_sample", lambda function, _: (function(), np.array([0.5, 1.0, 2.0]))[1])
    compute = peak_compute_gflops(1, 0.1, size=100)
    assert (compute.value, compute.low, compute.high) == pytest.approx((2e-3, 1e-3, 4e-3))
    bandwidth = peak_bandwidth_gbs(1, 0.1, array_mib=1)
    assert bandwidth.value == pytest.approx(3 * 2**20 / 1e9)
    assert "3 × 1 MiB" in bandwidth.method
    small = peak_bandwidth_gbs(1, 0.1, array_mib=1 / 8)
    assert small.value == pytest.approx(3 * 2**17 / 1e9)
    assert "3 × 128 KiB" in small.method


def test_peaks_measured_for_real_are_positive_ordered_and_from_at_least_5_samples():
    for peak in (peak_compute_gflops(1, 0.02, size=128), peak_bandwidth_gbs(1, 0.02, array_mib=8)):
        assert 0 < peak.low <= peak.value <= peak.high
        assert peak.samples >= 5


@pytest.mark.parametrize("call", [lambda: peak_compute_gflops(1, 0), lambda: peak_bandwidth_gbs(1, 1.0, array_mib=0),
                                  lambda: peak_compute_gflops(0, 0.1)])  # fmt: skip
def test_peaks_refuse_no_time_no_array_and_no_threads(call):
    with pytest.raises(ValueError, match=r"must be|got"):
        call()


def test_peak_memory_is_at_least_what_the_process_holds_and_sees_a_large_array():
    before = peak_memory_bytes()
    block = np.ones(before + 2**26, np.uint8)
    assert peak_memory_bytes() >= before + 2**26 > 0
    assert process_memory_bytes() >= len(block)


GOOD = Measurement(17.2, "×", 5, "teacher FP32 / final INT8", low=16.4, high=18.1, target="≥ 15")


def test_a_figure_of_an_estimate_is_rounded_and_keeps_interval_count_and_target():
    estimate = Estimate(0.93456, 0.51234, 1.30009, 7, "points")
    figure = Measurement.of(estimate, "points", "accuracy lost", target="≤ 1.0")
    assert figure == Measurement(0.935, "points", 7, "accuracy lost", low=0.512, high=1.3, target="≤ 1.0")
    assert (figure.met, figure.established) == (True, False)
    assert Measurement.of(estimate, "points", "accuracy lost", digits=1).value == 0.9


def test_a_recorded_figure_loads_back_equal_with_machine_versions_and_command(tmp_path):
    other = Measurement(0.4, "points", 100, "accuracy lost", target="≤ 0.3", note="two epochs were too few")
    path = record("journey_rendered", "course bench", {"ratio": GOOD, "drop": other}, seeds=[0, 1],
                  extra={"rungs": [1, 2]}, folder=tmp_path)  # fmt: skip
    found = load_result("journey_rendered", tmp_path)
    assert found["figures"] == {"ratio": GOOD, "drop": other}
    assert (found["seeds"], found["rungs"], found["command"]) == ([0, 1], [1, 2], "course bench")
    raw = json.loads(path.read_text())
    assert raw.keys() >= {"command", "date", "machine", "versions", "seeds", "figures"}
    assert raw["machine"].keys() >= {"cpu", "threads", "isa"}
    assert raw["figures"]["ratio"]["met"] is True
    assert raw["figures"]["drop"]["met"] is False
    assert "note" not in raw["figures"]["ratio"]


@pytest.mark.parametrize(("target", "met"), [("≥ 17.2", True), ("> 17.2", False), ("≤ 17.2", True), ("< 17.2", False),
                                             ("≥ 50", False), (None, None)])  # fmt: skip
def test_a_figure_knows_whether_it_met_its_target(target, met):
    assert Measurement(17.2, "×", 1, "m", target=target).met is met


def test_a_missed_target_is_not_recorded_without_a_reason(tmp_path):
    with pytest.raises(ValueError, match="misses its target ≥ 50: give a note"):
        record("x", "c", {"r": Measurement(17.0, "×", 1, "m", target="≥ 50")}, seeds=[0], folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "wrong",
    [{"value": float("nan")}, {"low": 1.0}, {"low": 3.0, "high": 2.0}, {"n": 0}, {"meaning": " "}, {"target": "fast"}],
)
def test_a_figure_refuses_what_cannot_be_a_measurement(wrong):
    with pytest.raises(ValueError, match=r"figure|low and high|target"):
        Measurement(**({"value": 1.0, "unit": "×", "n": 1, "meaning": "m"} | wrong))


@pytest.mark.parametrize("wrong", [{"name": "../x"}, {"name": "A"}, {"figures": {}}, {"extra": {"date": 1}}])
def test_record_refuses_bad_names_no_figures_and_taken_keys(wrong, tmp_path):
    with pytest.raises(ValueError, match=r"name|figures|extra"):
        record(**({"name": "x", "command": "c", "figures": {"r": GOOD}, "seeds": [0], "folder": tmp_path} | wrong))


@pytest.mark.parametrize("text", ["{", "[]", '{"figures": {"a": {"value": 1}}}', '{"figures": 3}', None])
def test_a_broken_or_missing_result_names_the_file_and_the_mend(text, tmp_path):
    if text is not None:
        (tmp_path / "x.json").write_text(text)
    with pytest.raises(CourseError, match=r"x\.json: .*Mend: "):
        load_result("x", tmp_path)


@pytest.mark.parametrize("true", [True, np.bool_(True), torch.tensor(True), np.array(True)])
def test_a_claim_that_holds_shows_its_text_and_nothing_that_varies(true):
    made = claim("the files differ in size", true)
    assert repr(made) == made._repr_markdown_() == "✓ the files differ in size"
    assert "the files differ in size" in made._repr_html_()


@pytest.mark.parametrize("false", [False, np.bool_(False), torch.tensor(False)])
def test_a_claim_that_fails_raises_with_its_text(false):
    with pytest.raises(AssertionError, match=r"^INT8 is smaller$"):
        claim("INT8 is smaller", false)


def test_a_hardware_claim_never_raises_and_shows_both_machines_and_why():
    made = claim("INT8 is faster", False, hardware=True, measured="0.9×", reference="2.5× (AVX-512 VNNI)")
    text = repr(made)
    assert text.startswith("✗ not on this machine: INT8 is faster.")
    assert "Here: 0.9×." in text
    assert "Reference machine: 2.5× (AVX-512 VNNI)." in text
    assert "Both can be right" in text
    held = repr(claim("INT8 is faster", True, hardware=True, measured="2×", reference="2.5×"))
    assert held == "✓ INT8 is faster. Here: 2×. Reference machine: 2.5×."


@pytest.mark.parametrize("condition", [None, 1, "yes", np.array([True, True]), torch.ones(2) > 0, np.float64(1)])
def test_a_claim_needs_one_truth_value(condition):
    with pytest.raises(TypeError, match="condition must be True or False"):
        claim("x", condition, hardware=True)


def test_a_claim_needs_words_and_keeps_machine_numbers_for_hardware():
    with pytest.raises(ValueError, match="text must say"):
        claim(" ", True)
    with pytest.raises(ValueError, match="hardware=True"):
        claim("x", True, reference="2×")


def test_html_in_a_claim_is_escaped():
    assert "a &lt; b &amp; c" in claim("a < b & c", True)._repr_html_()


def test_every_claim_is_logged_also_one_that_fails_when_a_log_is_named(tmp_path, monkeypatch):
    log = tmp_path / "claims.jsonl"
    monkeypatch.setenv("COURSE_CLAIMS_LOG", str(log))
    claim("holds", True)
    claim("slower here", False, hardware=True, measured="0.9×")
    with pytest.raises(AssertionError):
        claim("fails", False)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(line["text"], line["holds"], line["hardware"]) for line in lines] == [
        ("holds", True, False), ("slower here", False, True), ("fails", False, False),
    ]  # fmt: skip
    assert lines[1]["measured"] == "0.9×"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (999, "999"), (1000, "1.00 k"), (98_600, "98.6 k"), (6_290_000, "6.29 M"),
     (123_456, "123 k"),
     (999_999, "1.00 M"), (5 * 10**12, "5000 G")],
)  # fmt: skip
def test_quantities_have_three_digits_and_a_prefix(value, text):
    assert quantity(value) == text


def test_three_digits_keep_their_zeros():
    assert [three_digits(v) for v in (5.7, 0.1, 123.4, 0.0573)] == ["5.70", "0.100", "123", "0.0573"]


def test_tables_align_and_escape():
    header, rows = ["name", "n"], [["a|b", "1"], ["<c>", "22"]]
    assert text_table(header, rows).splitlines() == ["name   n", "────  ──", "a|b    1", "<c>   22"]
    assert markdown_table(header, rows).splitlines()[2] == "| a\\|b | 1 |"
    assert "&lt;c&gt;" in html_table(header, rows)
