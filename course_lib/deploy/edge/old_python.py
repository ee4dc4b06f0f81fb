"""A Python 3.6 as on a Jetson Nano, where one is installed here: the kit's script is run with it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.storage.files import cache_dir
from course_lib.storage.locks import take_waiting

PACKAGES = ("onnxruntime==1.10.0", "numpy==1.19.5")
"""A Nano's; there numpy must be 1.19.4, which dies of nothing else than 1.19.5's instructions on its processor."""
_TIMEOUT_S = 300


def find_python36() -> Path | None:
    """An interpreter of Python 3.6, on the path or among pyenv's; None if there is none that runs."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    places = [*sorted(pyenv.glob("3.6.*/bin/python3.6"), reverse=True)]
    if found := shutil.which("python3.6"):
        places.append(Path(found))
    return next((place for place in places if _answers(place, "print(1)")), None)


def prepare_python36() -> Path:
    """An interpreter of Python 3.6 with a Nano's packages, in an environment in the course's cache.

    Raises: CourseError: there is none here, or the packages could not be had.
    """
    python = find_python36()
    if python is None:
        raise CourseError("no Python 3.6 here (looked for python3.6 and among pyenv's)", mend="pyenv install 3.6.15")
    folder = cache_dir() / "edge"
    folder.mkdir(exist_ok=True)
    own = folder / "python36" / "bin" / "python"
    with (folder / "lock36").open("a") as lock:
        take_waiting(lock.fileno())
        if not _answers(own, "import numpy, onnxruntime"):
            shutil.rmtree(own.parents[1], ignore_errors=True)
            _require([str(python), "-m", "venv", str(own.parents[1])])
            _require([str(own), "-m", "pip", "install", "-q", "-U", "pip<22"])  # 3.6's own knows no such wheels
            _require([str(own), "-m", "pip", "install", "-q", "--only-binary=:all:", *PACKAGES])
    return own


def _answers(python: Path, code: str) -> bool:
    if not python.exists():
        return False
    done = subprocess.run([str(python), "-c", code], capture_output=True, env=_environment(), check=False)
    return done.returncode == 0


def _require(command: list[str]) -> None:
    try:
        subprocess.run(command, capture_output=True, env=_environment(), timeout=_TIMEOUT_S, check=True, text=True)
    except subprocess.CalledProcessError as error:
        said = (error.stderr.strip() or "no words").splitlines()[-1][:200]
        raise CourseError(f"Python 3.6's packages could not be installed ({said})", mend="try again later") from error
    except subprocess.TimeoutExpired as error:
        raise CourseError(f"pip was stopped after {_TIMEOUT_S} s", mend="try again later") from error


def _environment() -> dict[str, str]:
    """Without what would lead an old Python to this one's packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
