"""What the tests of set-up and make share: a checkout of its own, with interpreters that only pretend."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from course_lib.environment import packages
from course_lib.storage.files import ROOT

# Stands for an interpreter: logs what it is asked, makes a .venv of copies of itself, "installs" or fails on demand.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >>"$FAKE_LOG"
case "$1 $2" in
*ensurepip*) exit "${FAKE_NO_VENV:-0}" ;;
*print*) echo 3.12 ;;
"- "*) exit "${FAKE_NO_INDEX:-0}" ;;
-c*) exit "${FAKE_OLD:-0}" ;;
"-m venv") mkdir -p "$3/bin" "$3/lib/python3.12/site-packages/pip" && cp "$0" "$3/bin/python" ;;
"-m pip")
    lib="${0%/bin/*}/lib/python3.12/site-packages"
    [ -d "$lib/pip" ] || exit 1
    [ "$3" = --version ] && exit 0
    if [ "${FAKE_PIP:-0}" = 1 ]; then echo "ERROR: no network"; exit 1; fi
    echo "Collecting torch" && mkdir -p "$lib/torch" "$lib/numpy"
    ;;
esac
"""
MAKE_VARIABLES = ("PYTHON", "TORCH_INDEX", "COURSE_BIN", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")


def program(folder: Path, name: str, text: str) -> None:
    """An executable file."""
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> tuple[Path, Callable]:
    """A folder with what the set-up reads, and fake programs first in PATH; returns (folder, run).

    The machine is a Linux x86-64 one without an NVIDIA card, whatever this one is. ``run(folder, **variables)`` calls
    ``make setup`` and returns (result, calls of pip and venv).
    """
    folder, programs = tmp_path / "a checkout", tmp_path / "bin"
    programs.mkdir()
    (folder / "scripts").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "scripts/setup.sh"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "course_lib").mkdir()
    (folder / "course_lib" / "cli.py").touch()
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 15))):
        program(programs, name, FAKE_PYTHON)
    program(programs, "uname", '#!/bin/sh\n[ "$1" = -sm ] && echo "${FAKE_UNAME:-Linux x86_64}" || echo Linux\n')
    program(programs, "nvidia-smi", '#!/bin/sh\nexit "${FAKE_NVIDIA:-9}"\n')
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    for name in MAKE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    log = tmp_path / "log"
    monkeypatch.setenv("FAKE_LOG", str(log))

    def run(folder: Path = folder, **variables: str) -> tuple[subprocess.CompletedProcess, list[str]]:
        log.write_text("")
        result = subprocess.run(
            ["make", "setup"],
            cwd=folder,
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        calls = [line for line in log.read_text().splitlines() if line.startswith(("-m venv", "-m pip install"))]
        return result, calls

    return folder, run


@pytest.fixture(scope="session")
def run_tests(load_script) -> ModuleType:
    """The module scripts/run_tests.py."""
    return load_script("scripts/run_tests.py")


@pytest.fixture(scope="session")
def pins() -> dict[str, str]:
    """{name: specifiers} of everything that pyproject.toml asks for in the course's environment."""
    requirements = map(packages.parse, packages.requirements() + packages.requirements("dev"))
    return {requirement.name.lower(): str(requirement.specifier) for requirement in requirements}
