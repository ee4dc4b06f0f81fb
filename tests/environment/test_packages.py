"""The two ways to set up agree, the pins are what is installed, and the commands set up once and say what fails."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import course_lib
from course_lib.environment import packages
from course_lib.storage.files import ROOT

TARGETS = ("demo", "test", "lab", "notebooks", "teacher", "bench", "doctor", "clean")
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed (Windows)")

# Stands for an interpreter: logs what it is asked, makes a .venv of copies of itself, "installs" or fails on demand.
FAKE_PYTHON = """#!/bin/sh
echo "$*" >>"$FAKE_LOG"
case "$1 $2" in
*ensurepip*) exit "${FAKE_NO_VENV:-0}" ;;
*print*) echo 3.12 ;;
-c*) exit "${FAKE_OLD:-0}" ;;
"-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip") echo "Collecting torch" && if [ "${FAKE_PIP:-0}" = 1 ]; then echo "ERROR: no network"; exit 1; fi ;;
esac
"""


def pinned(requirements: list[str]) -> dict[str, str]:
    """{name: sorted specifiers} of requirement lines."""
    parsed = [packages.parse(text) for text in requirements]
    return {requirement.name.lower(): ",".join(sorted(str(requirement.specifier).split(","))) for requirement in parsed}


@pytest.fixture
def conda() -> list:
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with what the set-up reads, and fake interpreters first in PATH; returns (folder, run)."""
    folder, programs = tmp_path / "a checkout", tmp_path / "bin"
    programs.mkdir()
    (folder / "scripts").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "scripts/setup.sh"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("python3", *(f"python3.{minor}" for minor in range(11, 15))):
        (programs / name).write_text(FAKE_PYTHON)
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    for name in ("PYTHON", "TORCH_INDEX", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
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
        return result, [line for line in log.read_text().splitlines() if line.startswith("-m")]

    return folder, run


def test_environment_yml_names_the_same_packages_and_versions_as_pyproject(conda):
    pip = next(entry["pip"] for entry in conda if isinstance(entry, dict))
    wanted = pinned(packages.requirements() + packages.requirements("dev"))
    assert pinned([text for text in pip if not text.startswith("-")]) == wanted
    assert [text for text in pip if text.startswith("-")] == ["--editable ."]


def test_environment_yml_asks_for_a_python_that_pyproject_allows(conda):
    (python,) = [
        packages.parse(text).specifier for text in conda if isinstance(text, str) and text.startswith("python")
    ]
    allowed = SpecifierSet(packages.project()["requires-python"])
    fits = [f"3.{minor}" for minor in range(6, 20) if python.contains(f"3.{minor}")]
    assert fits == ["3.11", "3.12", "3.13", "3.14"]
    assert all(allowed.contains(version) for version in fits)


def test_the_packages_installed_here_are_the_pinned_ones():
    assert packages.mismatches(packages.requirements() + packages.requirements("dev")) == []


def test_torch_and_torchvision_are_pinned_exactly():
    exact = {name: spec for name, spec in pinned(packages.requirements()).items() if name in ("torch", "torchvision")}
    assert exact == {"torch": "==2.13.0", "torchvision": "==0.28.0"}


def test_versions_of_package_and_changelog_agree():
    assert packages.project()["version"] == course_lib.__version__
    assert f"## {course_lib.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_make_command_that_a_page_names_exists():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    assert set(TARGETS) <= targets
    for page in [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md") if path.exists()]:
        named = set(re.findall(r"(?:^|`)make ([a-z]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE))
        assert named <= targets, page.name


@pytest.mark.parametrize("command", ["demo", "train", "bench", "doctor"])
def test_every_course_command_that_the_makefile_calls_exists(command):
    result = subprocess.run([sys.executable, "-m", "course_lib.cli", command, "--help"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_ci_calls_the_test_command_and_can_be_executed():
    path = ROOT / ".ci" / "run"
    assert path.stat().st_mode & stat.S_IXUSR
    assert path.read_text(encoding="utf-8").rstrip().endswith("exec make test")


@needs_make
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["demo"], '"bin/course" demo'),
        (["demo", "DATA=a b.npz", "QUICK=1"], '"bin/course" demo --data "a b.npz" --quick'),
        (["demo", "QUICK="], '"bin/course" demo'),
        (["teacher", "DATA=gtsrb"], '"bin/course" train --data "gtsrb"'),
        (["bench", "NAME=journey", "DATA=x.npz"], '"bin/course" bench journey --data "x.npz"'),
        (["notebooks", "ONLY=01"], '"bin/python" -m course_lib.publishing.notebooks 01'),
        (["test", "ARGS=style"], '"bin/python" scripts/run_tests.py style'),
    ],
)
def test_make_passes_its_arguments_on(arguments, expected, monkeypatch):
    # Exported variables of the same names are somebody else's.
    for name in ("DATA", "QUICK", "ONLY", "ARGS", "NAME"):
        monkeypatch.setenv(name, "exported")
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        monkeypatch.delenv(name, raising=False)
    command = ["make", "-n", "COURSE_BIN=bin", *arguments]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert " ".join(result.stdout.splitlines()[-1].split()) == expected


@needs_make
class TestSetUp:
    def test_a_second_call_sets_nothing_up_again(self, checkout):
        _, run = checkout
        first, calls = run()
        assert first.returncode == 0, first.stderr
        assert [call.split()[1] for call in calls] == ["venv", "pip"]
        second, calls = run()
        assert (second.returncode, second.stdout, second.stderr, calls) == (0, "", "", [])

    def test_changed_pins_install_again_into_the_same_environment(self, checkout):
        folder, run = checkout
        run()
        with open(folder / "pyproject.toml", "a") as stream:
            stream.write("\n# changed\n")
        result, calls = run()
        assert result.returncode == 0
        assert [call.split()[1] for call in calls] == ["pip"]

    def test_a_moved_folder_gets_a_new_environment(self, checkout, tmp_path):
        folder, run = checkout
        run()
        moved = folder.rename(tmp_path / "elsewhere")
        result, calls = run(moved)
        assert result.returncode == 0
        assert [call.split()[1] for call in calls] == ["venv", "pip"]

    def test_a_failed_installation_says_why_leaves_no_stamp_and_is_tried_again(self, checkout):
        folder, run = checkout
        failed, _ = run(FAKE_PIP="1")
        assert failed.returncode != 0
        assert "ERROR: no network" in failed.stderr
        assert "pip failed; all it said stands in .venv/setup.log. Mend: " in failed.stderr
        assert not (folder / ".venv" / "stamp").exists()
        again, calls = run()
        assert again.returncode == 0
        assert [call.split()[1] for call in calls] == ["pip"]

    def test_pins_that_fail_to_install_leave_no_stamp_of_the_old_ones(self, checkout):
        folder, run = checkout
        run()
        old = (folder / "pyproject.toml").read_text()
        (folder / "pyproject.toml").write_text(old + "\n# changed\n")
        run(FAKE_PIP="1")
        (folder / "pyproject.toml").write_text(old)
        _, calls = run()
        assert [call.split()[1] for call in calls] == ["pip"]

    def test_without_a_suitable_python_one_line_names_the_mend(self, checkout):
        folder, run = checkout
        result, calls = run(FAKE_OLD="1")
        assert result.returncode != 0
        assert "set-up: Python 3.11 to 3.14 is needed" in result.stderr
        assert "Mend: " in result.stderr
        assert calls == []
        assert not (folder / ".venv").exists()

    def test_without_the_venv_module_one_line_names_the_package(self, checkout):
        _, run = checkout
        result, calls = run(FAKE_NO_VENV="1")
        assert result.returncode != 0
        assert "Mend: sudo apt install python3-venv" in result.stderr
        assert calls == []

    def test_a_chosen_interpreter_that_is_not_one_is_refused(self, checkout):
        _, run = checkout
        result, calls = run(PYTHON="no-such-python")
        assert result.returncode != 0
        assert "PYTHON=no-such-python is not a Python 3.11 to 3.14" in result.stderr
        assert calls == []

    def test_another_package_index_reaches_pip(self, checkout):
        _, run = checkout
        _, calls = run(TORCH_INDEX="https://example.org/cpu")
        assert "--extra-index-url https://example.org/cpu --editable .[dev]" in calls[-1]

    def test_an_environment_of_ones_own_is_never_set_up(self, checkout):
        folder, _ = checkout
        result = subprocess.run(
            ["make", "setup", "COURSE_BIN=bin"], cwd=folder, capture_output=True, text=True, check=True
        )
        assert (result.stdout, (folder / ".venv").exists()) == ("", False)


def test_a_failed_stage_fails_the_run_but_stops_no_other(tmp_path, run_python):
    result = run_python(
        """
        import sys
        sys.path.insert(0, "scripts")
        import run_tests
        fail, work = [sys.executable, "-c", "exit(3)"], [sys.executable, "-c", "print('worked')"]
        run_tests.STAGES = {"first": fail, "second": work}
        sys.argv = ["run_tests.py"]
        run_tests.main()
        """
    )
    assert result.returncode == 1
    assert "first: FAILED (exit 3)" in result.stdout
    assert "worked" in result.stdout
    assert result.stdout.rstrip().endswith("1 passed, 1 failed")
