"""The doctor reads memory, threads, cores and instruction sets right, and says what they mean."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from course_lib.environment import machine
from course_lib.environment.finding import Finding


def broken(finding: Finding, detail: str, mend: str) -> bool:
    """Whether the finding is bad and says both."""
    return not finding.ok and detail in finding.detail and mend in finding.mend


def test_little_memory_is_reported(monkeypatch):
    memory = SimpleNamespace(available=1e9, total=2e9)
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(virtual_memory=lambda: memory))
    assert broken(machine.check_memory(), "1.0 of 2.0 GB", "close other programs")


@pytest.mark.parametrize("value", ["two", "0", "100000", "-1"])
def test_a_senseless_number_of_threads_is_reported(monkeypatch, value):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert broken(machine.check_threads(), f"OMP_NUM_THREADS={value}", "unset OMP_NUM_THREADS")


def test_a_container_that_grants_fewer_cores_than_it_shows_is_reported(monkeypatch, tmp_path):
    for name in machine.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    quota = tmp_path / "cpu.max"
    quota.write_text("150000 100000\n")
    monkeypatch.setattr(machine, "_visible_cores", lambda: 64)
    assert machine.granted_cores(quota) == 1.5
    quota.write_text("max 100000\n")
    assert machine.granted_cores(quota) == machine.granted_cores(tmp_path / "absent") == 64
    monkeypatch.setattr(machine, "granted_cores", lambda: 1.5)
    assert broken(machine.check_threads(), "1.5 cores granted", "export OMP_NUM_THREADS=1")


@pytest.mark.parametrize(
    ("isa", "words"),
    [
        (["avx2", "avx512f", "avx512_vnni"], "in hardware (avx512_vnni)"),
        (["avx2", "avx_vnni"], "in hardware (avx_vnni)"),
        (["asimd", "asimddp"], "in hardware (asimddp)"),
        (["avx2", "avx512f"], "no VNNI"),
        (["asimd"], "no INT8 dot product"),
        ([], "expect no gain"),
    ],
)
def test_the_advice_on_int8_follows_the_instruction_sets(isa, words):
    assert words in machine.int8_advice(isa)


def test_an_emulated_processor_is_said_to_be_one(monkeypatch):
    features = {"model": "Board", "isa": ["asimd"], "emulated": True}
    monkeypatch.setitem(sys.modules, "course_lib.measure.machine", SimpleNamespace(cpu_features=lambda: features))
    assert "no time measured here may be quoted" in machine.check_processor().detail
