"""``course kit run user@board``: copy → set up → run → fetch, and whatever breaks on the way, the same command goes on.

The benchmark takes minutes, a link through a workshop does not always. So nothing on the board depends on this process:
set-up and benchmark run detached there, with a lock that says that they live, and this side only looks on:

* the link breaks: it is made again, and the log is read on from where it stopped;
* this side is stopped (Ctrl-C, a closed lid): the same command finds the run and attaches, or fetches its results;
* the run is killed: the same command starts it again with ``--resume``, which keeps the rows that were finished;
* two people start it: the second one attaches to the first one's run.

Results come home as a file of the kit's format, whose own checksum and kit are verified before it gets its name.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import secrets
import shlex
import signal
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from course_lib.deploy.edge.board import Board, Progress, Say
from course_lib.deploy.edge.copying import copy_files
from course_lib.deploy.edge.kit_files import Kit, read_kit
from course_lib.deploy.edge.link import Link, check_host
from course_lib.deploy.edge.results import parse_results
from course_lib.errors import CourseError
from course_lib.storage.files import atomic_path, require_writable, user_path

FOLDER = "course_kit"
RESULT = "result.json"
ROWS = f"{RESULT}.rows"
SETUP_MARKER = "set_up"
BENCH = ("python3", "edge_bench.py", "--out", RESULT)
_PROGRESS = re.compile(r"PROGRESS (\d+) (\d+) (.+)")
_MEASURED = (0, 1)  # of edge_bench.py: with 1 a row has an error or other outputs, which the row says itself
_KILLED = 137  # what a shell says of SIGKILL


def run_kit(
    kit: str | Path,
    host: str,
    *,
    folder: str = FOLDER,
    out: str | Path = RESULT,
    arguments: Sequence[str] = (),
    ssh_options: Sequence[str] = (),
    say: Say = lambda progress: None,
    patience_s: float = 300.0,
    poll_s: float = 1.0,
) -> Path:
    """Run a kit on a board and bring its results home; call it again to continue what was broken off.

    Args:
        kit: the folder that ``course kit build`` made.
        host: "user@board", or a name of ~/.ssh/config.
        folder: on the board, below the home folder unless it is absolute.
        out: the file for the results here.
        arguments: for the benchmark, such as ("--threads", "2"); ``--out`` and ``--resume`` are set here.
        ssh_options: more arguments for ssh, such as ("-p", "2222").
        say: is called with each ``Progress``.
        patience_s, poll_s: seconds without a link before giving up, and between two looks at the log.
    Returns: ``out``.
    Raises: ValueError: host, folder or arguments that cannot be meant. CourseError: whatever is to be mended.
        KeyboardInterrupt: says that the run goes on.
    """
    check_host(host)
    _check(folder, arguments)
    out, own = user_path(out), read_kit(kit)
    require_writable(out.parent)
    with Link(host, ssh_options) as link:
        board = Board(link, folder, say, patience_s=patience_s, again=_command(kit, host, folder))
        try:
            _work(board, own, list(arguments), out, poll_s)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"What was started on the board goes on; {board.again} shows it again") from None
    return out


def _work(board: Board, kit: Kit, arguments: list[str], out: Path, poll_s: float) -> None:
    """Connect, copy, run, fetch; the results count as fetched once they lie here."""
    board.connect()
    _start_or_attach(board, kit, arguments)
    job, said = _watch(board, kit, poll_s)
    content = _fetch(board, kit, said)
    with atomic_path(out) as part:
        part.write_bytes(content)
    board.ask("fetched", id=job["id"])


def _check(folder: str, arguments: Sequence[str]) -> None:
    if not folder or not folder.isprintable():
        raise ValueError(f"folder must be a printable path, got {folder!r}")
    if wrong := {"--out", "--resume"} & {argument.partition("=")[0] for argument in arguments}:
        raise ValueError(f"arguments must not hold {', '.join(sorted(wrong))}, which kit run sets")


def _command(kit: str | Path, host: str, folder: str) -> str:
    """The command that continues, for messages."""
    elsewhere = "" if folder == FOLDER else f" --folder {shlex.quote(folder)}"
    return f"course kit run {shlex.quote(host)} --kit {shlex.quote(str(kit))}{elsewhere}"


def _start_or_attach(board: Board, kit: Kit, arguments: list[str]) -> None:
    """See that a run of this kit is under way, or has ended and was not fetched."""
    here = board.ask("look", names=[file.name for file in kit.files])
    job = here["job"]
    same = job is not None and job["kit"] == kit.sha256
    if job is not None and job["alive"]:
        _attach(board, job, same, arguments)
        return
    same = job is not None and same and job["arguments"] == arguments
    if job is not None and same and _ended_well(job) and not job["fetched"]:
        board.say(Progress("run", "a run that ended meanwhile: its results are fetched"))
        return
    sent = copy_files(kit.files, board, here)
    board.say(Progress("copy", f"{sent} of {len(kit.files)} files sent, the others were there"))
    resume = bool(same and not _ended_well(job))
    if resume:
        board.say(Progress("run", "an earlier run was broken off: it is continued"))
    request = {
        "id": secrets.token_hex(8),
        "kit": kit.sha256,
        "arguments": arguments,
        "resume": resume,
        "results": [RESULT, ROWS],
        "steps": _steps(arguments, resume),
    }
    reply = board.ask("start", **request)
    if not reply["started"] and reply["job"] is not None and reply["job"]["id"] != request["id"]:
        _attach(board, reply["job"], reply["job"]["kit"] == kit.sha256, arguments)


def _steps(arguments: list[str], resume: bool) -> list[dict[str, Any]]:
    """What the board runs one after the other; the set-up once for a kit, and not for the C network alone."""
    setup = {"name": "setup", "command": ["sh", "setup.sh"], "marker": SETUP_MARKER}
    bench = {"name": "run", "command": [*BENCH, *(["--resume"] if resume else []), *arguments], "marker": ""}
    return [bench] if _runtimes(arguments) == {"c"} else [setup, bench]


def _runtimes(arguments: list[str]) -> set[str]:
    """Those named behind the last ``--runtime``."""
    found: set[str] = set()
    listing = False
    for argument in arguments:
        if argument.startswith("-"):
            name, _, value = argument.partition("=")
            listing = name == "--runtime"
            found = ({value} if value else set()) if listing else found
        elif listing:
            found.add(argument)
    return found


def _attach(board: Board, job: dict[str, Any], same_kit: bool, arguments: list[str]) -> None:
    if not same_kit:
        raise CourseError(
            "a run of another kit is under way there",
            path=f"{board.link.host}:{board.folder}",
            mend="wait for it, or choose another --folder",
        )
    other = "" if job["arguments"] == arguments else f" with other arguments ({shlex.join(job['arguments']) or 'none'})"
    board.say(Progress("run", f"a run{other} is under way: this is its progress"))


def _ended_well(job: dict[str, Any] | None) -> bool:
    status = job["status"] if job is not None else None
    return status is not None and status["step"] == "run" and status["returncode"] in _MEASURED


def _watch(board: Board, kit: Kit, poll_s: float) -> tuple[dict[str, Any], list[str]]:
    """Tell the run's progress until it ends; how it ended, and its last lines.

    Raises: CourseError: it ended badly, or another kit's took its place.
    """
    offset, lines, doing = 0, deque[str](maxlen=12), ""
    while True:
        reply = board.ask("follow", offset=offset)
        job = reply["job"]
        if job is None or job["kit"] != kit.sha256:
            raise CourseError(
                "the run is gone: its folder was emptied or used by another kit",
                path=f"{board.link.host}:{board.folder}",
                mend=board.again,
            )
        for line in reply["text"].splitlines():
            lines.append(line)
            if found := _PROGRESS.fullmatch(line):
                doing = found[3]
                board.say(Progress("run", doing, int(found[1]), int(found[2])))
            else:
                board.say(Progress("run", line.removeprefix("STEP ")))
        moved, offset = reply["offset"] > offset, reply["offset"]
        if not job["alive"] and not moved:
            break
        if not moved:
            time.sleep(poll_s)
    said = [line for line in lines if not line.startswith(("STEP ", "PROGRESS "))]
    if not _ended_well(job):
        raise _failed(board, job["status"], doing, said)
    return job, said


def _failed(board: Board, status: dict[str, Any] | None, doing: str, lines: Sequence[str]) -> CourseError:
    """Why the run on the board ended badly, with the last lines that it said."""
    at, where = f" at {doing}" if doing else "", f"{board.link.host}:{board.folder}"
    said = f": {' | '.join(lines)}" if lines else ""
    code = None if status is None else status["returncode"]
    if status is None or code is None:
        problem = f"the run was killed{at}, together with its keeper: was the board switched off or its memory full?"
        return CourseError(problem, path=where, mend=f"the same command continues: {board.again}")
    if code < 0 or code == _KILLED:
        number = -code if code < 0 else code - 128
        with contextlib.suppress(ValueError):
            number = signal.Signals(number).name
        memory = ", for the board's memory was full" if status.get("out_of_memory") else ""
        problem = f"the {status['step']} was killed by signal {number}{at}{memory}"
        mend = f"the same command continues: {board.again}. If memory is short: close the desktop, add swap"
        return CourseError(problem, path=where, mend=mend)
    said = said or f": {status['text']}"
    if status["step"] == "setup":
        return CourseError(
            f"setup.sh failed with status {code}{said}", path=where, mend=f"mend that, then {board.again}"
        )
    return CourseError(
        f"edge_bench.py failed with status {code}{at}{said}", path=where, mend=f"mend that, then {board.again}"
    )


def _fetch(board: Board, kit: Kit, said: Sequence[str]) -> bytes:
    """The results' bytes, verified: whole, unaltered, finished, this kit's."""
    where = f"{board.link.host}:{board.folder}/{RESULT}"
    board.say(Progress("fetch", RESULT))
    reply = board.ask("fetch", name=RESULT)
    if not reply:
        problem = f"the run ended and left no results: {' | '.join(said) or 'it said nothing'}"
        raise CourseError(problem, path=where, mend=f"mend that, then {board.again}")
    content = base64.b64decode(reply["content"])
    if hashlib.sha256(content).hexdigest() != reply["sha256"]:
        raise CourseError("the results were altered on their way", path=where, mend=board.again)
    parse_results(content, path=where, mend=f"delete it there, then {board.again}").require_kit(kit.sha256)
    return content
