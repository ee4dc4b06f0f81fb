"""What all tests share.

Tests read the course's cache (rendered images take a while to make) and never write into a learner's files: a test that
changes, breaks or fills the cache asks for ``isolated_cache`` and gets an empty one of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from course_lib.storage.files import ROOT

# A learner's own choice of data must not change what the tests see.
os.environ.pop("COURSE_DATA", None)
os.environ["MPLBACKEND"] = "agg"


@pytest.fixture
def isolated_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of this test's own; ``files.cache_dir()`` and subprocesses use it."""
    folder = tmp_path / "course_cache"
    folder.mkdir()
    monkeypatch.setenv("COURSE_CACHE", str(folder))
    return folder


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
