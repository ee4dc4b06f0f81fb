"""The two ways to set up agree, the pins are what is installed, and the package carries what it promises."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
import yaml
from packaging.specifiers import SpecifierSet

import course_lib
from course_lib.environment import packages
from course_lib.storage.files import ROOT


def pinned(requirements: list[str]) -> dict[str, str]:
    """{name: sorted specifiers} of requirement lines."""
    parsed = [packages.parse(text) for text in requirements]
    return {requirement.name.lower(): ",".join(sorted(str(requirement.specifier).split(","))) for requirement in parsed}


@pytest.fixture
def conda() -> list:
    return yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]


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


def test_a_built_package_says_that_it_is_typed_and_carries_no_tests(tmp_path):
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "course_lib", tmp_path / "course_lib", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    command = [sys.executable, "-c", "from setuptools import setup; setup()", "-q", "build_py", "--build-lib", "built"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=60)
    built = tmp_path / "built"
    assert (built / "course_lib" / "py.typed").is_file()
    assert (built / "course_lib" / "environment" / "doctor.py").is_file()
    assert [path.name for path in built.iterdir()] == ["course_lib"]


def test_readme_gives_one_line_to_each_room_of_the_library():
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("## The library")[1].split("\n## ")[0]
    rooms = {
        path.stem for path in (ROOT / "course_lib").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert sorted(re.findall(r"^\| `(\w+)` \| \S", table, flags=re.MULTILINE)) == sorted(rooms - {"__init__"})
