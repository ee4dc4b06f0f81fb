"""A runtime that is absent, broken, or does something else than asked is named with its mend; none steps in for it."""

from __future__ import annotations

import dataclasses
import logging
import sys
import warnings

import numpy as np
import onnx.helper
import onnx.parser
import pytest
import torch
from torch import nn

from course_lib.deploy.onnx import open_session
from course_lib.deploy.runtimes import NAMES, Loaded, availability, load, onnx_runtime, runtimes, unknown_operator
from course_lib.deploy.runtimes import loading as loading_module
from course_lib.deploy.runtimes.files import quiet, require_same_answers
from course_lib.deploy.runtimes.loaded import opened
from course_lib.deploy.runtimes.openvino_runtime import kernel_instructions
from course_lib.environment import packages
from course_lib.errors import CourseError

SHAPE = (1, 3, 8, 8)
OPTIONAL = {"openvino": "openvino", "litert": "ai_edge_litert", "executorch": "executorch"}


def tiny() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 4))


@pytest.mark.parametrize(("name", "module"), OPTIONAL.items())
def test_an_absent_runtime_is_refused_with_the_command_that_brings_it(name, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # as if it had never been installed
    found = runtimes()[name]
    assert not found.available
    assert found.version is None
    assert module in str(found.reason)
    with pytest.raises(CourseError, match=rf"{module}.* not installed.*pip install -e '\.\[{name}\]'"):
        load(tiny(), name, input_shape=SHAPE)


@pytest.mark.parametrize("name", OPTIONAL)
def test_the_extras_pin_what_the_commands_bring(name):
    pins = {packages.parse(text).name for text in packages.requirements(name)}
    assert availability._NEEDS[name].package in pins
    assert set(packages.requirements(name)) <= set(packages.requirements("runtimes"))
    assert all("==" in text for text in packages.requirements("runtimes"))


def test_litert_without_its_converter_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    assert "litert_torch" in str(runtimes()["litert"].reason)


def test_torch_compile_without_a_compiler_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert runtimes()["torch"].available
    with pytest.raises(CourseError, match=r"no C\+\+ compiler is found.*apt install g\+\+"):
        load(tiny(), "torch_compile", input_shape=SHAPE)


def test_a_compiler_named_by_the_environment_counts(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "no-such-compiler" in str(availability._compiler_problem())


def test_pythons_missing_header_files_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setattr(availability.sysconfig, "get_paths", lambda: {"include": str(tmp_path)})
    assert "Python.h" in str(availability._compiler_problem())


def test_a_package_that_does_not_load_is_said_to_be_broken(monkeypatch):
    def broken(*_: object) -> Loaded:
        raise ImportError("libtbb.so.12: cannot open shared object file")

    monkeypatch.setattr(loading_module, "_backend", lambda name: broken)
    with pytest.raises(CourseError, match=r"onnxruntime is installed and does not load \(libtbb"):
        load(tiny(), "onnxruntime", input_shape=SHAPE)


def test_a_provider_that_fell_back_is_refused():
    with pytest.raises(CourseError, match="asked for the provider CUDAExecutionProvider and uses CPUExecutionProvider"):
        load(tiny(), "onnxruntime", input_shape=SHAPE, provider="CUDAExecutionProvider")
    with pytest.raises(CourseError, match="asked for the provider cuda and uses cpu"):
        load(tiny(), "torch", input_shape=SHAPE, provider="cuda")


@pytest.mark.skipif(not runtimes()["openvino"].available, reason="OpenVINO is not installed")
def test_openvino_refuses_a_device_that_is_not_there():
    with pytest.raises(CourseError, match=r"asked for the device NPU\.9 and uses only CPU"):
        load(tiny(), "openvino", input_shape=SHAPE, provider="NPU.9")


@pytest.mark.parametrize("name", ["litert", "executorch"])
def test_another_provider_than_xnnpack_is_refused(name):
    if not runtimes()[name].available:
        pytest.skip(str(runtimes()[name].reason))
    with pytest.raises(CourseError, match="asked for the provider GPU and uses X"):
        load(tiny(), name, input_shape=SHAPE, provider="GPU")


ARGUMENTS = {
    "an unknown runtime": ("runtime must be one of torch, ", "tensorrt", {}),
    "no threads": ("need threads ≥ 1", "torch", {"threads": 0}),
    "no image": ("input_shape", "torch", {"input_shape": (1, 3, 8)}),
    "an empty image": ("input_shape", "torch", {"input_shape": (1, 3, 0, 8)}),
    "nothing to fuse with": ("needs fuse=", "torch_fused", {}),
}


@pytest.mark.parametrize(("named", "runtime", "options"), ARGUMENTS.values(), ids=ARGUMENTS)
def test_wrong_arguments_are_named(named, runtime, options):
    with pytest.raises(ValueError, match=named):
        load(tiny(), runtime, **{"input_shape": SHAPE, **options})


def test_a_file_of_the_wrong_kind_or_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"onnxruntime takes an nn.Module or a .onnx file, got .*net.pte"):
        load(tmp_path / "net.pte", "onnxruntime")
    with pytest.raises(ValueError, match=r"torch takes an nn.Module, got"):
        load("net.onnx", "torch")
    with pytest.raises(CourseError, match=r"net.onnx: no such file"):
        load(tmp_path / "net.onnx", "onnxruntime")
    (tmp_path / "broken.onnx").write_bytes(b"no graph")
    with pytest.raises(CourseError, match=r"broken.onnx: not "):
        load(tmp_path / "broken.onnx", "onnxruntime")


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("domain", ["", "somewhere.else"])
def test_an_operator_that_a_runtime_does_not_know_is_named(name, domain, tmp_path):
    if not runtimes()[name].available:
        pytest.skip(str(runtimes()[name].reason))
    text = '<ir_version: 7, opset_import: ["" : 13]> g (float[B, 3, 8, 8] x) => (float[B, 3, 8, 8] y) { y = Relu(x) }'
    model = onnx.parser.parse_model(text)
    model.graph.node[0].op_type, model.graph.node[0].domain = "Wobble", domain
    if domain:
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(CourseError, match=r"does not know the operator [\w.:]*Wobble. Mend: replace [\w.:]*Wobble in"):
        load(tmp_path / "odd.onnx", name)


class Odd(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.svdvals(x.flatten(2)).flatten(1)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "litert", "executorch"])
def test_an_operator_that_cannot_be_converted_is_named(name, tmp_path):
    if not runtimes()[name].available:
        pytest.skip(str(runtimes()[name].reason))
    with pytest.raises(CourseError, match=r"(?i)operator \S*svd\S*. Mend: replace"):
        load(Odd(), name, input_shape=SHAPE, keep=tmp_path / "kept.onnx")
    assert list(tmp_path.iterdir()) == []


MESSAGES = {
    "Exporting the operator 'aten::linalg_svd' to ONNX opset version 13 is not supported. Please": "aten::linalg_svd",
    "Fatal error: my.domain:Wobble(-1) is not a registered function/op": "my.domain:Wobble",
    "Error No Op registered for Wobble with domain_version of 13": "Wobble",
    "NOT_IMPLEMENTED : Could not find an implementation for ConvInteger(10) node with name 'n4'": "ConvInteger",
    "OpenVINO does not support the following ONNX operations: my.Wobble\n": "my.Wobble",
    "RuntimeError: Missing out variants: {'aten::_fft_r2c'}": "aten::_fft_r2c",
    "Lowering not found: aten.linalg_svd.default": "aten.linalg_svd.default",
    "CUDA out of memory": None,
}


@pytest.mark.parametrize(("message", "operator"), MESSAGES.items())
def test_the_operator_is_found_in_each_tools_words(message, operator):
    assert unknown_operator(message) == operator


def test_load_time_holds_the_first_answer():
    seen = []

    def start():
        seen.append("start")
        return "session", lambda images: seen.append(images.shape) or images.mean((2, 3))

    session, _, ms = opened(start, (2, 3, 4, 4))
    assert session == "session"
    assert seen == ["start", (2, 3, 4, 4)]
    assert ms > 0


def test_kernels_names_give_their_instruction_sets():
    names = ["brgconv_avx512_1x1_f32", "brgconv_avx512_amx_i8", "brgemm_avx512_vnni_i8", "jit_avx2_f32", "acl_neon"]
    assert kernel_instructions(names) == "avx2, avx512, avx512_amx, avx512_vnni, neon"
    assert kernel_instructions(["gemm_mlas_f32"]) == ""


def test_every_name_has_an_entry():
    assert tuple(runtimes()) == NAMES
    assert all(found.mend for found in runtimes().values())


def test_a_bare_call_is_the_runtimes_own(monkeypatch):
    found = load(tiny(), "onnxruntime", input_shape=SHAPE)
    x = np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    assert np.array_equal(found(x), found.predict(x))


@pytest.mark.parametrize("spinning", [True, False])
def test_whether_waiting_threads_keep_a_core_busy_is_told_to_onnx_runtime(monkeypatch, spinning):
    sessions = []

    def keep(*arguments, **options):
        sessions.append(open_session(*arguments, **options))
        return sessions[-1]

    monkeypatch.setattr(onnx_runtime, "open_session", keep)
    load(tiny(), "onnxruntime", threads=2, spinning=spinning, input_shape=SHAPE)
    told = sessions[0].get_session_options().get_session_config_entry("session.intra_op.allow_spinning")
    assert told == str(int(spinning))


def test_a_session_with_other_threads_than_asked_is_refused(monkeypatch):
    monkeypatch.setattr(onnx_runtime, "open_session", lambda path, **options: open_session(path, threads=1))
    with pytest.raises(CourseError, match="onnxruntime was asked for threads 2 and uses 1"):
        load(tiny(), "onnxruntime", threads=2, input_shape=SHAPE)


def test_answers_that_are_no_numbers_are_refused():
    loaded = load(tiny(), "torch", input_shape=SHAPE)
    broken = dataclasses.replace(loaded, predict=lambda images: np.full((1, 4), np.nan, np.float32))
    with pytest.raises(CourseError, match="torch and PyTorch differ by nan"):
        require_same_answers(tiny(), broken)


def test_a_converter_is_quiet_only_while_it_converts(caplog):
    before = logging.root.manager.disable

    def convert() -> None:
        logging.getLogger("converter").warning("remark")
        warnings.warn("remark", stacklevel=1)
        raise OSError("full")

    with pytest.raises(OSError, match="full"), quiet():
        convert()
    assert logging.root.manager.disable == before
    assert not caplog.records
    with pytest.warns(UserWarning, match="remark"):
        warnings.warn("remark", stacklevel=1)
