"""What all tests share.

Tests read the course's cache (rendered images take a while to make) and never write into a learner's files: a test that
changes, breaks or fills the cache asks for ``isolated_cache`` and gets an empty one of its own.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from course_lib.evaluation import Estimate
from course_lib.measure import IN_TURN, Ledger, Row, Times, torch_threads
from course_lib.storage.files import ROOT

# A learner's own choice of data must not change what the tests see.
os.environ.pop("COURSE_DATA", None)
os.environ["MPLBACKEND"] = "agg"
# For ``faults`` and for what benchmarks try. Last: modules there are called like topics.
sys.path += [str(ROOT / "tests"), str(ROOT / "benchmarks")]


@pytest.fixture
def isolated_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of this test's own; ``files.cache_dir()`` and subprocesses use it."""
    folder = tmp_path / "course_cache"
    folder.mkdir()
    monkeypatch.setenv("COURSE_CACHE", str(folder))
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """PyTorch works with one thread while this test runs."""
    with torch_threads(1):
        yield


@pytest.fixture(scope="session")
def run_python() -> Callable[..., subprocess.CompletedProcess]:
    """run_python(code, **environment): run code in a fresh interpreter in the checkout, output captured as text."""

    def run(code: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code)],
            cwd=ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture(scope="session")
def load_script() -> Callable[[str], ModuleType]:
    """load_script("benchmarks/drift.py"): that file of the checkout as a module, a fresh one at each call.

    No other test meets what is patched in it: it stays in ``sys.modules`` only while it is executed, since a dataclass
    looks there for its types.
    """

    def load(path: str) -> ModuleType:
        name = f"script_{Path(path).stem}"
        spec = importlib.util.spec_from_file_location(name, ROOT / path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules[name]
        return module

    return load


def ledger_times(ms: float) -> Times:
    """30 rounds of one call, of which three are twice as slow, so that p95 is 2·ms."""
    return Times(IN_TURN.name, (((ms,),) * 27 + ((2 * ms,),) * 3,), busy=1.0)


def ledger_row(name: str, *, ms: float, kb: float, right: float) -> Row:
    """A ledger's row with these three values; the rest is of no interest here."""
    accuracy = Estimate(right, right - 0.01, right + 0.005, 2000, clusters=300)
    common = {"runtime": "ONNX Runtime", "provider": "CPU", "requested_provider": "CPU", "file": f"{name}.onnx"}
    return Row(
        name=name, accuracy=accuracy, agreement=1.0, accuracy_change=None, size_bytes=round(1000 * kb), size_ratio=1.0,
        parameters=1, nonzeros=1, macs=1, times=(ledger_times(ms),), **common,
    )  # fmt: skip


@pytest.fixture
def ledger() -> Ledger:
    """Three rows: a large right one, a small one, a small wrong one."""
    rows = (
        ledger_row("teacher FP32", ms=2.0, kb=5700, right=0.98),
        ledger_row("student distilled FP32", ms=0.2, kb=400, right=0.97),
        ledger_row("student pruned INT8", ms=0.1, kb=90, right=0.93),
    )
    again = (ledger_times(2.0),)
    return Ledger("Test", "rendered", rows, (1, 3, 32, 32), (IN_TURN,), again, 1, 5, 0, "2026-01-01", {}, {})
