"""What pyproject.toml asks for, and what is installed here: the pins are written once, there, and read by this module.

Only the standard library is imported at the top: the doctor must work where everything else is missing. Requirements
are parsed by ``packaging``, which comes with pytest and matplotlib; pip carries a copy of its own, for an environment
that lacks both.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from course_lib.storage.files import ROOT


def project(path: Path = ROOT / "pyproject.toml") -> dict[str, Any]:
    """The [project] table of pyproject.toml."""
    import tomllib  # new in Python 3.11: an older one must be told so, not stopped here

    return tomllib.loads(path.read_text(encoding="utf-8"))["project"]


def requirements(extra: str | None = None) -> list[str]:
    """The requirements of the library, or those of one of its extras ("dev", …).

    Raises: KeyError: no such extra.
    """
    table = project()
    return table["dependencies"] if extra is None else table["optional-dependencies"][extra]


def required_python(path: Path = ROOT / "pyproject.toml") -> str:
    """The versions of Python that the course runs on, such as ">=3.11"; works in any Python."""
    return re.findall(r'^requires-python = "(.+)"$', path.read_text(encoding="utf-8"), flags=re.MULTILINE)[0]


def python_fits(version: tuple[int, ...]) -> bool:
    """Whether a Python version, such as (3, 11, 7), is within requires-python."""
    wanted = _packaging("specifiers").SpecifierSet(required_python())
    return wanted.contains(".".join(map(str, version)), prereleases=True)


def parse(requirement: str) -> Any:
    """A requirement as ``packaging.requirements.Requirement`` (fields name, specifier)."""
    return _packaging("requirements").Requirement(requirement)


def mismatches(wanted: Iterable[str], installed: Callable[[str], str] = importlib.metadata.version) -> list[str]:
    """What is missing or has another version than asked for, one clause each; [] if all is as it should be.

    Args:
        installed: name -> version; raises PackageNotFoundError for what is missing.
    """
    problems = []
    for requirement in map(parse, wanted):
        try:
            version = installed(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            problems.append(f"{requirement.name} is missing")
            continue
        # 2.13.0+cpu is a build of 2.13.0, and "==2.13.0" accepts it.
        if not requirement.specifier.contains(version, prereleases=True):
            problems.append(f"{requirement.name} is {version}, not {requirement.specifier}")
    return problems


def installed_version(package: str) -> str | None:
    """The installed version, None if the package is missing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def python_command() -> str:
    """This interpreter as one would type it in the checkout."""
    executable = Path(sys.executable)
    return str(executable.relative_to(ROOT) if executable.is_relative_to(ROOT) else executable)


def reinstall_command(*broken: str) -> str:
    """The command that installs the pinned versions; packages named here are removed first."""
    remove = f"{python_command()} -m pip uninstall --yes {' '.join(broken)} && " if broken else ""
    # Double quotes: single ones mean nothing to Windows' command line.
    return f'{remove}{python_command()} -m pip install --editable ".[dev]"'


def _packaging(module: str) -> Any:
    try:
        return importlib.import_module(f"packaging.{module}")
    except ImportError:
        return importlib.import_module(f"pip._vendor.packaging.{module}")
