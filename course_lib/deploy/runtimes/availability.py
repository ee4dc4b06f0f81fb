"""Which runtimes are installed here, in which version; and for one that is not, why and the command that installs it.

Nothing is imported to find out: a runtime's import takes seconds. A package that is installed and does not load says so
when it is used.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from course_lib.errors import CourseError


@dataclass(frozen=True)
class Availability:
    """Whether a runtime can be used here.

    Args:
        name: as ``load`` takes it.
        version: of its package; None where it cannot be used.
        reason: what is missing; None where it can be used.
        mend: the command that brings what is missing.
    """

    name: str
    version: str | None
    reason: str | None
    mend: str

    @property
    def available(self) -> bool:
        """Whether it can be used."""
        return self.reason is None


@dataclass(frozen=True)
class _Needs:
    package: str  # whose version is the runtime's
    modules: tuple[str, ...]  # that must be there to load a module of PyTorch
    extra: str | None  # of pyproject.toml; None: one of the course's own requirements
    compiler: bool = False  # whether it compiles C++ where it runs


_NEEDS = {
    "torch": _Needs("torch", ("torch",), None),
    "torch_fused": _Needs("torch", ("torch",), None),
    "torch_compile": _Needs("torch", ("torch",), None, compiler=True),
    "onnxruntime": _Needs("onnxruntime", ("onnxruntime", "onnx"), None),
    "openvino": _Needs("openvino", ("openvino",), "openvino"),
    "litert": _Needs("ai-edge-litert", ("ai_edge_litert", "litert_torch"), "litert"),
    "executorch": _Needs("executorch", ("executorch",), "executorch"),
}
NAMES = tuple(_NEEDS)
"""What ``load`` takes."""


def runtimes() -> dict[str, Availability]:
    """Every runtime by name, whether it can be used here or not.

    >>> found = runtimes()
    >>> list(found)
    ['torch', 'torch_fused', 'torch_compile', 'onnxruntime', 'openvino', 'litert', 'executorch']
    >>> found["torch"].available, found["openvino"].mend
    (True, "python -m pip install -e '.[openvino]'")
    """
    return {name: _availability(name, needs) for name, needs in _NEEDS.items()}


def require(name: str) -> Availability:
    """The runtime of that name, or a CourseError that says what is missing and which command brings it.

    Raises:
        ValueError: there is no runtime of that name.
        CourseError: it cannot be used here.
    """
    if name not in _NEEDS:
        raise ValueError(f"runtime must be one of {', '.join(NAMES)}, got {name!r}")
    found = _availability(name, _NEEDS[name])
    if not found.available:
        raise CourseError(f"the runtime {name} cannot be used here: {found.reason}", mend=found.mend)
    return found


def _availability(name: str, needs: _Needs) -> Availability:
    mend = f"python -m pip install -e '.[{needs.extra}]'" if needs.extra else "make setup"
    missing = [module for module in needs.modules if importlib.util.find_spec(module) is None]
    reason = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not installed" if missing else None
    if reason is None and needs.compiler and (problem := _compiler_problem()):
        reason, mend = problem, "sudo apt install g++ python3-dev (Debian, Ubuntu), xcode-select --install (macOS)"
    version = importlib.metadata.version(needs.package) if reason is None else None
    return Availability(name, version, reason, mend)


def _compiler_problem(compilers: Sequence[str] = ("g++", "clang++", "c++", "cl")) -> str | None:
    """What PyTorch's compiler lacks to build its C++: a compiler, or Python's header files."""
    own = os.environ.get("CXX")
    if not any(map(shutil.which, [own] if own else compilers)):
        return f"no C++ compiler is found ({own or ', '.join(compilers)})"
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        return "Python's header files (Python.h) are missing"
    return None
