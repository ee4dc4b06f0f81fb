"""Try every fault in a process of its own, two at a time, and count those that the process survives.

A fault is survived if all of this holds: ``check`` returned a verdict within the limit; a wrong answer was not called
right; every setting of the process is as before; afterwards, in the same process, the right answer passes and a known
wrong one gets the very text that it gets in a clean process; a line printed reaches stdout; a traced, a profiled and a
threaded call work; and the process ends by itself with status 0.

Memory: the parent looks at the child's resident size every 0.1 s and ends a child above 6 GB. A limit of the operating
system on the address space would stop torch itself, which maps far more than it uses.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from course_lib.measure import Measurement
from engine_trial.fault import FAULTS, Fault

LIMIT_S = 60.0
"""Wall time of one process, from its start to its end."""
MOST_BYTES = 6 * 2**30
AT_ONCE = 2
MARK = "this line must reach the notebook"


def load() -> dict[str, Fault]:
    """All tables' faults, by name."""
    package = importlib.import_module("engine_trial")
    for module in pkgutil.iter_modules(package.__path__):
        if module.name.startswith("faults_"):
            importlib.import_module(f"engine_trial.{module.name}")
    return FAULTS


class Server:
    """A process that forks for each fault."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(Path(__file__).with_name("fault_child.py"))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=environment
        )

    def run(self, name: str, folder: Path) -> dict[str, Any]:
        """Try one fault; the child's result with ``ended``, its way to end, and whether it ``printed``."""
        folder.mkdir()
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{name}\t{folder}\n")
        with _watched(int(self.process.stdout.readline())) as reason:
            ended = self.process.stdout.readline().strip()
        found = json.loads(_text(folder / "result.json") or "{}")
        told = [*reason, *([] if found else [_text(folder / "stderr")[-300:].strip()])]
        return {**found, "ended": "; ".join([ended, *told]), "printed": MARK in _text(folder / "stdout")}

    def close(self) -> None:
        """Let it end."""
        self.process.communicate()


def problems(found: dict[str, Any]) -> list[str]:
    """Why the fault was not survived, [] if it was."""
    told = list(found.get("problems", ["no verdict"]))
    if found["ended"] != "0":
        told.append(f"the process ended with {found['ended']}")
    elif not found["printed"]:
        told.append("what was printed afterwards did not arrive")
    return told


def try_all(faults: Sequence[Fault], said: Callable[[str], None] = print) -> dict[str, list[str]]:
    """What is wrong after each fault, [] where it was survived, by name."""
    servers = queue.SimpleQueue[Server]()
    for _ in range(AT_ONCE):
        servers.put(Server())
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:

        def one(number: int, name: str) -> dict[str, Any]:
            server = servers.get()
            try:
                return server.run(name, Path(folder, f"fault{number}"))
            finally:
                servers.put(server)

        def told(item: tuple[int, Fault]) -> list[str]:
            found = problems(one(item[0], item[1].name))
            said(f"{'survived' if not found else 'NOT SURVIVED'}: {item[1].group}: {item[1].name} {' | '.join(found)}")
            return found

        texts = {key: text for key, text in one(0, "").items() if key[:1].isdigit()}
        Path(folder, "clean.json").write_text(json.dumps(texts), encoding="utf-8")
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(told, enumerate(faults, start=1)))
    for _ in range(AT_ONCE):
        servers.get().close()
    return {fault.name: text for fault, text in zip(faults, found, strict=True)}


def figures(told: dict[str, list[str]]) -> dict[str, Measurement]:
    """faults_tried and faults_survived; faults that need a process of their own are named, and not counted."""
    counted = {name: text for name, text in told.items() if not FAULTS[name].alone}
    alone = [name for name in told if FAULTS[name].alone]
    failed = [name for name, text in counted.items() if text]
    note = f"not counted, since they need a process of their own: {', '.join(alone)}" if alone else None
    if failed:
        note = "; ".join(filter(None, (f"not survived: {', '.join(failed)}", note)))
    meaning = (
        "faults after which the same process gives the right and a known wrong answer their usual verdicts, has every "
        "setting as before, prints, can be traced and ends with status 0; each tried in a process of its own, "
        f"{LIMIT_S:.0f} s of wall time"
    )
    tried = "different faults tried: endless code, crashes, exits, settings, hostile objects, arguments, progress files"
    return {
        "faults_tried": Measurement(len(counted), "", len(counted), tried, target="≥ 147"),
        "faults_survived": Measurement(
            len(counted) - len(failed), "", len(counted), meaning, target=f"≥ {len(counted)}", note=note
        ),
    }


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""


@contextlib.contextmanager
def _watched(child: int) -> Iterator[list[str]]:
    """End the child, and all in its group, once it takes too long or too much memory: the list then says so."""
    reason, over = list[str](), threading.Event()

    def watch() -> None:
        deadline = time.monotonic() + LIMIT_S
        while not over.wait(0.1):
            try:
                if psutil.Process(child).memory_info().rss > MOST_BYTES:
                    reason.append("too much memory")
                elif time.monotonic() > deadline:
                    reason.append("no end within the limit")
                if reason:
                    os.kill(child, signal.SIGKILL)
                    return
            except (psutil.Error, ProcessLookupError):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield reason
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)  # what the fault started
