"""``course doctor``: what is wrong with this environment, and the command that mends it.

Most hours lost at the start of a course are lost here: a package of another version, a torchvision built for another
PyTorch, a notebook that runs in another Python, a file cut short by a download, a container that grants two cores of
sixty-four. Each check looks at one such thing, and says what it found in words. A finding that stops the course is not
``ok`` and names a command; a fact that only explains a number (no VNNI, no GPU) is ``ok`` and says what it means.

The checks must run where everything else is broken. So this module imports the standard library alone, tries every
other import inside its check, and turns a check that itself fails into a finding. No check takes more than the
import of the package it looks at: the whole takes a few seconds.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

from course_lib.environment.finding import Finding, one_line, permission_mend
from course_lib.environment.imports import (
    check_jupyter,
    check_libraries,
    check_onnxruntime,
    check_torch,
    check_torchvision,
)
from course_lib.environment.machine import check_memory, check_processor, check_threads
from course_lib.environment.packages import (
    mismatches,
    python_fits,
    reinstall_command,
    required_python,
    requirements,
)
from course_lib.errors import CourseError
from course_lib.storage.cards import check_cards, restore_command
from course_lib.storage.files import CHECKPOINTS, DATASETS, ROOT, cache_dir

DISK_GB = 1.0  # rendered images, exported models
# A deleted card takes its file out of sight: what ships is written here as well.
SHIPPED = tuple(
    f"{role}_{data}"
    for data, roles in {
        "rendered": ("teacher", "student", "final", "alone"),
        "gtsrb": ("teacher", "student", "final", "alone", "small"),
        "gtsrb_official": ("teacher", "student", "final", "small"),
    }.items()
    for role in roles
)


def diagnose() -> list[Finding]:
    """Every check's finding, in the order in which they should be mended. Never raises; takes a few seconds."""
    python = check_python()
    if not python.ok:
        return [python]  # what another Python lacks is no fault of this environment
    findings: list[Finding] = []
    for check in CHECKS:
        try:
            with _no_words_on_stderr():  # a compiled package prints the traceback of what it cannot import
                found = check()
        except Exception as error:  # a broken environment breaks checks in ways nobody foresaw
            name = check.__name__.removeprefix("check_").replace("_", " ")
            allowed = not isinstance(error, PermissionError)
            mend = reinstall_command() if allowed else permission_mend(str(error.filename or ROOT))
            found = Finding(name, False, f"the check failed: {one_line(error)}", mend)
        findings.extend([found] if isinstance(found, Finding) else found)
    return findings


@contextlib.contextmanager
def _no_words_on_stderr() -> Iterator[None]:
    """Within the block nothing written to the process's stderr is seen, by compiled code neither."""
    try:
        sys.stderr.flush()
        number = sys.stderr.fileno()
        kept = os.dup(number)
    except (AttributeError, OSError, ValueError):  # no stderr, or one without a descriptor, as in a notebook
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, number)
        yield
    finally:
        os.dup2(kept, number)
        os.close(kept)
        os.close(nowhere)


def main() -> int:
    """Print the findings as a table, then the mends; returns 1 if something is broken, else 0."""
    findings = diagnose()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{'ok    ' if finding.ok else 'BROKEN'}  {finding.name:<{width}}  {finding.detail}")
    broken = [finding for finding in findings if not finding.ok]
    summary = (
        f"{len(broken)} of {len(findings)} checks found something broken:" if broken else "Everything is in order."
    )
    print(f"\n{summary}")
    for mend in dict.fromkeys(finding.mend for finding in broken):
        print(f"  {', '.join(finding.name for finding in broken if finding.mend == mend)}: {mend}")
    return 1 if broken else 0


def check_python(version: tuple[int, ...] = tuple(sys.version_info[:3])) -> Finding:
    """Python is within ``requires-python`` of pyproject.toml."""
    detail = f"{'.'.join(map(str, version))} ({platform.machine()}), needs {required_python()}"
    ok = python_fits(version)
    return Finding("Python", ok, detail, "" if ok else "install Python 3.13, then: rm -rf .venv && make setup")


def check_packages(installed: Callable[[str], str] = importlib.metadata.version) -> list[Finding]:
    """The versions installed are those that pyproject.toml names."""
    findings = []
    for name, wanted in (("packages", requirements()), ("test packages", requirements("dev"))):
        problems = mismatches(wanted, installed)
        detail = "; ".join(problems) or f"{len(wanted)} at the versions of pyproject.toml"
        findings.append(Finding(name, not problems, detail, reinstall_command() if problems else ""))
    return findings


def check_checkout(distributions: Callable = importlib.metadata.distributions, root: Path = ROOT) -> Finding:
    """The course that is installed here is this checkout: notebooks and the command ``course`` run what is installed.

    Args:
        distributions: called with ``name="course_lib"``; gives what is installed under that name.
    """
    sources = []
    for installed in distributions(name="course_lib"):
        # Only an installation knows where it came from; a folder's own .egg-info is found as well.
        if text := installed.read_text("direct_url.json"):
            url = urllib.parse.urlsplit(json.loads(text)["url"])
            sources.append(Path(urllib.request.url2pathname(url.path)))
    if root.resolve() in [source.resolve() for source in sources]:
        return Finding("course", True, f"{root} is what is installed")
    found = f"installed from {sources[0]}, not from {root}" if sources else "course_lib is not installed"
    return Finding("course", False, found, reinstall_command())


def check_files(datasets: Path = DATASETS, checkpoints: Path = CHECKPOINTS) -> list[Finding]:
    """Every file that a card (a .json with "file" and "sha256") describes is there and unaltered."""
    findings = []
    for name, folder in (("data files", datasets), ("checkpoints", checkpoints)):
        pattern = "*.json" if folder == checkpoints else "**/*.json"
        cards = [
            path for path in sorted(folder.glob(pattern)) if name == "checkpoints" or checkpoints not in path.parents
        ]
        count, problems = check_cards(cards)
        if folder == CHECKPOINTS:
            present = {card.stem for card in cards}
            problems += [f"{shipped}.json is missing" for shipped in SHIPPED if shipped not in present]
        if not count and not problems:
            problems = ["no file with a checksum was found"]
        mend = restore_command(folder) if problems else ""
        findings.append(
            Finding(name, not problems, "; ".join(problems) or f"{count} files match their checksums", mend)
        )
    return findings


def check_cache() -> Finding:
    """The cache can be written and has room."""
    try:
        folder = cache_dir()
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"course")
    except CourseError as error:
        return Finding("cache", False, f"{error.path}: {error.problem}", error.mend or "")
    except OSError as error:
        return Finding("cache", False, one_line(error), "export COURSE_CACHE=/path/to/a/folder/you/may/write")
    free = shutil.disk_usage(folder).free / 1e9
    mend = f"free some disk ({DISK_GB:.0f} GB), or export COURSE_CACHE=/path/on/another/disk"
    detail = f"{folder} can be written, {free:.1f} GB free"
    return Finding("cache", free >= DISK_GB, detail, "" if free >= DISK_GB else mend)


CHECKS: tuple[Callable[[], Finding | list[Finding]], ...] = (
    check_python,
    check_packages,
    check_checkout,
    check_libraries,
    check_torch,
    check_torchvision,
    check_onnxruntime,
    check_jupyter,
    check_files,
    check_cache,
    check_memory,
    check_threads,
    check_processor,
)


if __name__ == "__main__":
    sys.exit(main())
