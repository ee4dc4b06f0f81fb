"""A board's processor and its old software, emulated: does the kit compute there what it computes here?

QEMU translates a program of one processor for another. Here it plays a Cortex-A57, a Jetson Nano's, and runs an
aarch64 Python with ONNX Runtime 1.10, a Nano's last one. That shows whether files load and outputs agree. It shows
nothing about speed: an emulated second is no second, and ``edge_bench.py`` marks such results as emulated.

Nothing is booted, and nothing is installed into the system but two Debian packages, ``qemu-user-static`` and
``mmdebstrap``: the latter unpacks some 70 MB of Debian 11 for arm64 into the course's cache, and pip adds the packages
for that processor beside it. Which mirror to take is asked from apt.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.deploy.edge.manifest import KitModel
from course_lib.errors import CourseError
from course_lib.measure.compiler import run_tool
from course_lib.storage.files import cache_dir
from course_lib.storage.locks import take_waiting

EMULATOR, UNPACKER, CROSS = "qemu-aarch64-static", "mmdebstrap", "aarch64-linux-gnu-gcc"
PROCESSOR = "cortex-a57"
_PACKAGES = "python3-minimal,libpython3-stdlib,libstdc++6,libgomp1"
_TIMEOUT_S = 300


@dataclass(frozen=True)
class _Release:
    """Debian's release, its Python, and the packages for it."""

    name: str  # of the release
    python: str  # its version, such as "3.9"
    packages: tuple[str, ...]  # for pip


# The first has a Nano's ONNX Runtime; when its archive is closed one day, the second one is the oldest that goes.
_RELEASES = (
    _Release("bullseye", "3.9", ("onnxruntime==1.10.0", "numpy==1.19.5", "protobuf<3.20")),
    _Release("bookworm", "3.11", ("onnxruntime==1.14.1", "numpy==1.24.4")),
)


@dataclass(frozen=True)
class Board:
    """An unpacked userland.

    Args:
        root: its root folder.
        site: Python packages for it.
        python: its interpreter.
        packages: what was installed, for the record.
    """

    root: Path
    site: Path
    python: Path
    packages: tuple[str, ...]

    def command(self, arguments: Sequence[str]) -> list[str]:
        """What runs the emulated Python with these arguments; ``PYTHONPATH`` must be ``site``."""
        return [EMULATOR, "-cpu", PROCESSOR, "-L", str(self.root), str(self.python), *arguments]


def prepare_board() -> Board:
    """The emulated board, made on first use (half a minute, 150 MB in the course's cache).

    Raises: CourseError: this is no Debian system, tools are missing and may not be installed by this user, or packages
        could not be had; the reason is told.
    """
    folder = cache_dir() / "edge"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a") as lock:
        take_waiting(lock.fileno())
        _require_tools()
        reasons = []
        for release in _RELEASES:
            try:
                root = _made(folder / f"root_{release.name}", lambda part, r=release: _unpack(r, part))
                site = _made(folder / f"site_{release.name}", lambda part, r=release: _install(r, part))
            except CourseError as error:
                reasons.append(error.problem)
                continue
            return Board(root, site, root / "usr" / "bin" / f"python{release.python}", release.packages)
    raise CourseError("; ".join(reasons), mend="try again with a network")


def run_kit(kit: str | Path, board: Board, out: str | Path, *, images: int = 2) -> dict[str, Any]:
    """Run the kit's ONNX models on the emulated board; the result, as ``edge_bench.py`` writes it.

    Args:
        kit: its folder.
        out: the file for the result.
        images: to compare outputs on; the emulated teacher takes a second for each.
    Raises: CourseError: the script refused to run; its words are told.
    """
    script = Path(kit) / "edge_bench.py"
    arguments = [str(script), "--one-process", "--images", str(images), "--calls", "1", "--warmup", "1"]
    arguments += ["--power-seconds", "0", "--out", str(out)]
    done = _run(board.command(arguments), PYTHONPATH=str(board.site))
    if done.returncode not in (0, 1):
        raise CourseError(f"the kit's script ended with {done.returncode}: {_last(done)}", path=script)
    return json.loads(Path(out).read_text(encoding="utf-8"))


def run_c_network(kit: str | Path, model: KitModel, folder: str | Path) -> bool:
    """Whether the C network, cross-compiled, gives the reference's codes to the bit on the emulated processor.

    Args: model: the kit's C network. folder: for what is compiled.
    Raises: CourseError: no cross-compiler or no emulator, or one of them failed.
    """
    kit, program, logits = Path(kit), Path(folder) / "c_network", Path(folder) / "logits.u8"
    if missing := [name for name in (CROSS, EMULATOR) if shutil.which(name) is None]:
        mend = "apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static"
        raise CourseError(f"no {' and no '.join(missing)} here", mend=mend)
    sources = [str(kit / model.file), str(kit / str(model.main))]
    run_tool([CROSS, "-std=c99", "-O2", "-static", "-DWITH_FACTS", "-o", str(program), *sources], kit / model.file)
    given = [str(kit / str(model.images)), str(logits), "0", "1", "0"]
    run_tool([EMULATOR, "-cpu", PROCESSOR, str(program), *given], program)
    return logits.read_bytes() == (kit / model.reference).read_bytes()


def _require_tools() -> None:
    missing = {"qemu-user-static": EMULATOR, "mmdebstrap": UNPACKER}
    packages = [package for package, tool in missing.items() if shutil.which(tool) is None]
    if not shutil.which("apt-get"):
        raise CourseError("emulating a board needs Debian's apt, which is not here", mend="use a Debian system")
    if getattr(os, "geteuid", lambda: 1)() != 0:
        raise CourseError("emulating a board unpacks a foreign Debian, which only root may do", mend="run it as root")
    if not packages:
        return
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
    done = _run(install, DEBIAN_FRONTEND="noninteractive")
    if done.returncode:
        _run(["apt-get", "update", "-qq"])
        done = _run(install, DEBIAN_FRONTEND="noninteractive")
    if done.returncode:
        raise CourseError(f"apt could not install {' and '.join(packages)} ({_last(done)})", mend="try again later")


def _made(folder: Path, make) -> Path:
    """The folder; made in another one that gets its name when it is complete."""
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        try:
            make(part)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return folder


def _unpack(release: _Release, folder: Path) -> None:
    """A release's Python for arm64. Only its main archive: the security updates of an old one are gone."""
    archive = f"deb {_mirror()} {release.name} main"
    options = ["--quiet", "--variant=extract", "--architectures=arm64", f"--include={_PACKAGES}"]
    done = _run([UNPACKER, *options, release.name, str(folder), archive])
    if done.returncode or not (folder / "usr" / "bin" / f"python{release.python}").exists():
        raise CourseError(f"Debian {release.name} for arm64 could not be unpacked ({_last(done)})")


def _mirror() -> str:
    """Where apt gets Debian from here, the archive of security updates aside."""
    done = _run(["apt-get", "indextargets", "--format", "$(ORIGIN) $(REPO_URI)", "Created-By: Packages"])
    found = [line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith("Debian ")]
    found = [address for address in found if "security" not in address]
    if not found:
        raise CourseError("apt knows no Debian archive here", mend="apt-get update")
    return found[0]


def _install(release: _Release, folder: Path) -> None:
    """Wheels for the release's Python on aarch64."""
    number = release.python.replace(".", "")
    tags = [f"--platform=manylinux{tag}_aarch64" for tag in ("2014", "_2_17", "_2_27", "_2_28")]
    kinds = [f"--abi={abi}" for abi in (f"cp{number}", "abi3", "none")]
    options = ["--only-binary=:all:", *tags, "--implementation=cp", f"--python-version={number}", *kinds]
    done = _run([sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), *options, *release.packages])
    if done.returncode:
        raise CourseError(f"pip could not get {release.packages[0]} for aarch64 ({_last(done)})")


def _run(command: Sequence[str], **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    try:
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise CourseError(f"{command[0]} was stopped after {_TIMEOUT_S} s", mend="try again later") from error


def _last(done: subprocess.CompletedProcess[str]) -> str:
    """The last line that a program said."""
    lines = (done.stderr.strip() or done.stdout.strip() or "no words").splitlines()
    return lines[-1][:200]
