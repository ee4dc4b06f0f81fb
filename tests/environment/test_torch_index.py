"""Where PyTorch comes from, with the real setup.sh, venv and pip, toy wheels, and indexes on this machine alone."""

from __future__ import annotations

import contextlib
import functools
import http.server
import inspect
import os
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from course_lib.storage.files import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="setup.sh is for Linux and macOS")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
NOBODY = "http://127.0.0.1:9"  # the port named "discard": nobody listens, so the connection is refused
FAKES = {
    "uname": '#!/bin/sh\n[ "$1" = -sm ] && echo Linux x86_64 || echo Linux\n',
    "nvidia-smi": "#!/bin/sh\nexit 9\n",
}


def write_wheel(folder, name, version, *requires):
    """A wheel with nothing in it but one empty module; returns its file's name."""
    info = f"{name}-{version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", "Provides-Extra: dev"]
    metadata += [f"Requires-Dist: {requirement}" for requirement in requires]
    file = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder, file), "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", "\n".join(metadata))
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: toy\nRoot-Is-Purelib: true\nTag: py3-none-any")
        wheel.writestr(f"{info}/RECORD", "")
    return file


# Builds the toy course without setuptools, which pip would have to fetch.
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = f"""
import zipfile
from pathlib import Path

{inspect.getsource(write_wheel)}

def build_editable(folder, config_settings=None, metadata_directory=None):
    return write_wheel(folder, "toy_course", "0.1", "torch==2.13.0")
"""


def make_index(folder: Path, torch: str) -> Path:
    """A simple package index with one wheel of torch, of this version."""
    (folder / "torch").mkdir(parents=True)
    file = write_wheel(folder / "torch", "torch", torch)
    (folder / "torch" / "index.html").write_text(f'<a href="{file}">{file}</a>')
    return folder


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a server for the folder, on this machine alone."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def set_up(tmp_path_factory) -> Callable[..., tuple[str, str]]:
    """set_up(cpu_index, **variables) runs setup.sh anew, PyTorch's index being ``cpu_index``: (torch, what was said).

    The ordinary index has torch 2.13.0. The environment is made once: only torch is removed between the calls.
    """
    base = tmp_path_factory.mktemp("set up")
    ordinary = make_index(base / "ordinary", "2.13.0")
    course, programs = base / "course", base / "bin"
    (course / "scripts").mkdir(parents=True)
    programs.mkdir()
    for name, text in FAKES.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    (course / "pyproject.toml").write_text(PYPROJECT)
    (course / "backend.py").write_text(BACKEND)
    script = (ROOT / "scripts" / "setup.sh").read_text(encoding="utf-8")
    assert script.count(CPU_INDEX) == 1
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "TORCH_INDEX"))}
    inherited |= {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": ordinary.as_uri(),
        "no_proxy": "127.0.0.1",
    }

    def run(cpu_index: str, **variables: str) -> tuple[str, str]:
        (course / "scripts" / "setup.sh").write_text(
            script.replace(CPU_INDEX, cpu_index).replace("timeout=5", "timeout=1")
        )
        for path in course.glob(".venv/lib/python*/site-packages/torch*"):
            subprocess.run(["rm", "-r", path], check=True)
        result = subprocess.run(
            ["sh", "scripts/setup.sh"],
            cwd=course,
            env=inherited | variables,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        log = course / ".venv" / "setup.log"
        assert result.returncode == 0, result.stderr + (log.read_text() if log.exists() else "")
        # pip was not sent to an index that the probe had given up: it would try for minutes.
        assert "does not answer" not in result.stdout or cpu_index not in log.read_text()
        (torch,) = course.glob(".venv/lib/python*/site-packages/torch-*.dist-info")
        return torch.name.removeprefix("torch-").removesuffix(".dist-info"), result.stdout

    return run


@pytest.fixture(scope="module")
def cpu_builds(tmp_path_factory) -> Path:
    """PyTorch's own index in small: a CPU build of the pinned version."""
    return make_index(tmp_path_factory.mktemp("cpu"), "2.13.0+cpu")


def test_the_cpu_build_is_taken_from_the_default_index(set_up, cpu_builds):
    with served(cpu_builds) as address:
        torch, said = set_up(address)
    assert torch == "2.13.0+cpu"
    assert f"PyTorch from {address}" in said


def test_an_index_in_a_folder_overrides_the_default(set_up, cpu_builds):
    torch, said = set_up(NOBODY, TORCH_INDEX=cpu_builds.as_uri())
    assert torch == "2.13.0+cpu"
    assert "does not answer" not in said


@pytest.mark.parametrize("choice", ["", "none"])
def test_no_other_index_is_asked_where_the_learner_said_so(set_up, cpu_builds, choice):
    with served(cpu_builds) as address:
        torch, said = set_up(address, TORCH_INDEX=choice)
    assert torch == "2.13.0"
    assert address not in said


def test_an_index_that_refuses_is_left_out_in_one_line(set_up):
    torch, said = set_up(NOBODY)
    assert torch == "2.13.0"
    assert f"{NOBODY} does not answer: PyTorch comes from the ordinary package index." in said.splitlines()[0]


def test_an_index_without_pytorch_is_left_out(set_up, tmp_path):
    with served(tmp_path) as address:
        for index in (tmp_path.as_uri(), address):
            torch, said = set_up(index)
            assert torch == "2.13.0"
            assert f"{index} does not answer" in said


def test_an_index_that_accepts_and_never_answers_is_given_up(set_up):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        torch, said = set_up(address)
    assert torch == "2.13.0"
    assert f"{address} does not answer" in said
