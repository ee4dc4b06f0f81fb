"""Hiding a processor's 8-bit dot products: the same processor, honest about what it does not show."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from course_lib.errors import CourseError
from course_lib.measure import cpu_features, has_dot_product, machine_summary, processor_key
from course_lib.measure import without_dot_products as module
from course_lib.measure.without_dot_products import HIDDEN, environment_without


@pytest.fixture(scope="module")
def hidden() -> dict[str, str]:
    """The environment, where this machine can make it."""
    try:
        return environment_without()
    except CourseError as error:
        pytest.skip(str(error))


def python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A fresh interpreter that runs ``code``."""
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)


TELL = "from course_lib.measure import machine_summary as m, processor_key as k; s = m(1); print(k(s), *s['isa'])"


def test_a_process_and_its_children_see_everything_but_the_dot_products(hidden):
    child = f"import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', {TELL!r}], text=True))"
    for code in (TELL, child):
        key, *isa = python(code, hidden).stdout.split()
        assert not has_dot_product(isa)
        assert set(isa) == {flag for flag in cpu_features()["isa"] if not has_dot_product([flag])}
        assert key.endswith("no_dot_product")
        if has_dot_product(cpu_features()["isa"]):
            assert "8_bit_dot_products_hidden" in key
            assert key != processor_key(machine_summary(1))


def test_libraries_that_ask_the_processor_get_the_same_answer_in_every_thread(hidden):
    code = """
import threading, torch
found = []
def ask(): found.append((torch.cpu._is_vnni_supported(), torch.backends.cpu.get_cpu_capability()))
ask(); thread = threading.Thread(target=ask); thread.start(); thread.join()
print(*{answer for answer, _ in found}, *{level for _, level in found})
"""
    here = python("import torch; print(torch.backends.cpu.get_cpu_capability())", dict(os.environ)).stdout.strip()
    assert python(code, hidden).stdout.split() == ["False", here]


def test_a_real_fault_ends_the_process_as_ever(hidden):
    for code in ("import ctypes; ctypes.string_at(8)", "import ctypes; ctypes.CFUNCTYPE(None)(8)()"):
        assert python(code, hidden).returncode == -signal.SIGSEGV


def test_integer_products_are_the_same_with_and_without(hidden, tmp_path):
    code = """
import numpy as np, onnxruntime as ort, onnx
from onnx import TensorProto as T, helper as h
node = h.make_node("MatMulInteger", ["a", "b"], ["c"])
io = lambda n, t, s: h.make_tensor_value_info(n, t, s)
graph = h.make_graph([node], "g", [io("a", T.UINT8, [64, 96]), io("b", T.INT8, [96, 32])], [io("c", T.INT32, [64, 32])])
model = h.make_model(graph, opset_imports=[h.make_opsetid("", 13)], ir_version=8)
random = np.random.default_rng(0)
a, b = random.integers(0, 256, (64, 96)).astype(np.uint8), random.integers(-64, 64, (96, 32)).astype(np.int8)
(c,) = ort.InferenceSession(model.SerializeToString()).run(None, {"a": a, "b": b})
print((c == a.astype(int) @ b.astype(int)).all())
"""
    assert [python(code, env).stdout.strip() for env in (dict(os.environ), hidden)] == ["True", "True"]


def test_a_record_says_how_it_was_made(hidden, tmp_path):
    code = f"""
from course_lib.measure import Measurement, load_result, record
path = record("x", "do it", {{"a": Measurement(1.0, "", 1, "one")}}, seeds=[], folder={str(tmp_path)!r})
print(load_result("x", {str(tmp_path)!r})["command"])
"""
    assert python(code, hidden).stdout.strip() == f"{module.COMMAND} do it"


def test_the_command_becomes_another_one(hidden):
    run = [sys.executable, "-m", "course_lib.measure.without_dot_products"]
    ask = [sys.executable, "-c", f"import os; print(os.environ[{HIDDEN!r}])"]
    done = subprocess.run([*run, *ask], capture_output=True, text=True, check=True)
    assert "avx512_vnni" in done.stdout
    missing = subprocess.run([*run, "no-such-command"], capture_output=True, text=True, check=False)
    assert (missing.returncode, "no-such-command" in missing.stderr) == (1, True)
    assert subprocess.run(run, capture_output=True, check=False).returncode == 1


def test_what_cannot_be_hidden_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(module.sys, "platform", "darwin")
        with pytest.raises(CourseError, match="on Linux with x86-64 only"):
            environment_without()
    if sys.platform != "linux" or module.platform.machine() != "x86_64":
        return
    with monkeypatch.context() as patch:
        patch.setattr("shutil.which", lambda name: None)
        with pytest.raises(CourseError, match="no C compiler"):
            environment_without()
    broken = tmp_path / "broken.c"
    broken.write_text("int main(", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(module, "_SOURCE", broken)
        patch.setattr("shutil.which", lambda name: "/bin/false")
        with pytest.raises(CourseError, match="the compiler failed"):
            environment_without()
    silent = tmp_path / "silent.so"  # a library that hides nothing: as on a processor that cannot
    silent.write_bytes(b"")
    monkeypatch.setattr(module, "_library", lambda: silent)
    with pytest.raises(CourseError, match="does not let CPUID fault"):
        environment_without()
