"""make's commands exist, pass on what the learner typed as it stands, and say what to do when something breaks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from course_lib.storage.files import ROOT

TARGETS = ("demo", "test", "lab", "notebooks", "teacher", "bench", "doctor", "clean")
CHAPTER = "00_start_here.ipynb"
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed (Windows)")


@pytest.fixture(autouse=True)
def no_make_above(monkeypatch):
    """``make test`` runs these tests: its own variables must not reach the make that is tested."""
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "COURSE_BIN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def programs(tmp_path) -> Path:
    """A COURSE_BIN whose python prints its arguments, one a line, and ends with $FAKE_STATUS."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit "${FAKE_STATUS:-0}"\n')
    (folder / "python").chmod(0o755)
    return folder


def make(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess:
    """Call make in the checkout."""
    return subprocess.run(
        ["make", *arguments],
        cwd=cwd,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def received(result: subprocess.CompletedProcess) -> list[str]:
    """What the program got."""
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_every_make_command_that_a_page_names_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    assert set(TARGETS) <= targets
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md"):
        named = set(re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE))
        assert named, page.name
        assert named <= targets, page.name


@pytest.mark.parametrize("command", ["demo", "lab", "train", "bench", "doctor"])
def test_every_course_command_that_the_makefile_calls_exists(command):
    result = subprocess.run([sys.executable, "-m", "course_lib.cli", command, "--help"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_ci_calls_the_test_command_and_can_be_executed():
    path = ROOT / ".ci" / "run"
    assert path.stat().st_mode & stat.S_IXUSR
    assert path.read_text(encoding="utf-8").rstrip().endswith("exec make test")


DEMO = ["-m", "course_lib.cli", "demo"]
NASTY = """it's `touch hit` $(touch hit) $HOME "x" \\ ;&|.npz"""


@needs_make
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["demo"], DEMO),
        (["demo", "DATA=a b.npz", "QUICK=1"], [*DEMO, "--data", "a b.npz", "--quick"]),
        (["demo", "QUICK="], DEMO),
        (["demo", "QUICK=0"], DEMO),
        (["demo", "QUICK=no"], DEMO),
        (["demo", "QUICK=yes"], [*DEMO, "--quick"]),
        (["demo", f"DATA={NASTY.replace('$', '$$')}"], [*DEMO, "--data", NASTY.replace("$", "$$")]),
        (["demo", "DATA=$HOME.npz"], [*DEMO, "--data", "$HOME.npz"]),
        (["demo", "DATA=標識.npz"], [*DEMO, "--data", "標識.npz"]),
        (["teacher", "DATA=gtsrb"], ["-m", "course_lib.cli", "train", "--data", "gtsrb"]),
        (["bench", "NAME=journey", "DATA=x.npz"], ["-m", "course_lib.cli", "bench", "journey", "--data", "x.npz"]),
        (["notebooks", "ONLY=01"], ["-m", "course_lib.publishing.notebooks", "01"]),
        (["notebooks", "ONLY=01 `x`"], ["-m", "course_lib.publishing.notebooks", "01", "`x`"]),
        (["lab"], ["-m", "course_lib.cli", "lab"]),
        (["lab", "ARGS=--no-browser --port=9"], ["-m", "course_lib.cli", "lab", "--no-browser", "--port=9"]),
        (["test", "ARGS=style types"], ["scripts/run_tests.py", "style", "types"]),
    ],
)
def test_make_passes_its_arguments_on_as_they_were_typed(programs, arguments, expected):
    # Exported variables of the same names are somebody else's.
    exported = dict.fromkeys(("DATA", "QUICK", "ONLY", "ARGS", "NAME"), "exported")
    hit = ROOT / "hit"
    try:
        assert received(make(f"COURSE_BIN={programs}", *arguments, **exported)) == expected
        assert not hit.exists()
    finally:
        hit.unlink(missing_ok=True)


@needs_make
@pytest.mark.parametrize(("status", "hinted"), [(0, False), (1, True), (2, False), (130, False), (139, True)])
def test_after_a_traceback_or_a_crash_make_names_the_doctor(programs, status, hinted):
    result = make(f"COURSE_BIN={programs}", "demo", FAKE_STATUS=str(status))
    assert (result.returncode == 0) == (status == 0)
    assert ("make doctor says what is wrong" in result.stderr) == hinted


@needs_make
def test_a_missing_environment_is_answered_with_the_doctor(tmp_path):
    result = make(f"COURSE_BIN={tmp_path / 'nowhere'}", "demo")
    assert result.returncode != 0
    assert "make doctor says what is wrong" in result.stderr


@needs_make
def test_make_from_another_folder_says_where_to_call_it(tmp_path):
    result = make("-f", str(ROOT / "Makefile"), "demo", cwd=tmp_path)
    assert result.returncode != 0
    assert "Run make in the course's own folder: cd there first, or make -C FOLDER" in result.stderr
    assert list(tmp_path.iterdir()) == []


@needs_make
def test_the_code_of_this_folder_runs_whatever_the_environment_has_installed(tmp_path):
    other = tmp_path / "other" / "course_lib"
    other.mkdir(parents=True)
    (other / "__init__.py").touch()
    (other / "cli.py").write_text("print('the other checkout')")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python").write_text(f'#!/bin/sh\nPYTHONPATH="{other.parent}" exec "{sys.executable}" "$@"\n')
    (folder / "python").chmod(0o755)
    result = make(f"COURSE_BIN={folder}", "demo", "ARGS=--help")
    assert "the other checkout" not in result.stdout
    assert "usage: course demo" in result.stdout


@pytest.fixture
def own_copies() -> Iterator[Path]:
    """A folder in the checkout for copies of the chapters that are no learner's."""
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as folder:
        yield Path(folder)


@pytest.fixture
def lab(own_copies) -> Iterator[str]:
    """The address of a server that ``make lab`` started, without a browser; it is stopped at the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = ["make", "lab", f"COURSE_BIN={Path(sys.executable).parent}"]
    command += [f"ARGS=--no-browser --ip=127.0.0.1 --port={port} --IdentityProvider.token=secret"]
    own = os.environ | {"COURSE_WORKBOOK": str(own_copies)}
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, cwd=ROOT, env=own, start_new_session=True, **silent)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(900):
            try:
                fetch(f"{address}/api/status")
                break
            except OSError:
                assert process.poll() is None, "make lab ended"
                time.sleep(0.2)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def fetch(address: str) -> tuple[str, bytes]:
    """(where a request ended, what came)."""
    request = urllib.request.Request(address, headers={"Authorization": "token secret"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as answer:
        return answer.url, answer.read()


@needs_make
def test_lab_opens_the_copy_of_chapter_00_and_serves_the_pages_that_chapters_link_to(lab, own_copies):
    where, page = fetch(lab)
    copy = (own_copies / CHAPTER).relative_to(ROOT).as_posix()
    assert where == f"{lab}/lab/tree/{copy}"
    assert b"JupyterLab" in page
    for path in (copy, "docs/notation.md", "README.md"):
        assert json.loads(fetch(f"{lab}/api/contents/{path}?content=0")[1])["path"] == path


def test_readme_gives_windows_the_same_jupyterlab():
    makefile, readme = ((ROOT / name).read_text(encoding="utf-8") for name in ("Makefile", "README.md"))
    assert "$(course) lab" in makefile
    assert "\n  course lab\n" in readme
