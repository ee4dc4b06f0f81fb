"""One board and its agent: requests that survive a broken link.

A request names an action of ``device/board_agent.py`` and is answered by one line. All actions but ``put`` can be asked
twice without harm, so a request whose connection broke is asked again, after waits that double, until ``patience_s``
seconds have passed without a connection; then the error names the command that continues.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from course_lib.deploy.edge.link import Done, Link, LinkLost, unreachable
from course_lib.errors import CourseError

AGENT = Path(__file__).with_name("device") / "board_agent.py"
REPLY = "COURSE-REPLY "
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0
_NO_PYTHON, _OLD_PYTHON = 41, 42
_LOADER = (
    "import sys;sys.version_info>=(3,6)or sys.exit(42);import base64,zlib;"
    "exec(zlib.decompress(base64.b64decode(sys.argv.pop(1))))"
)


@dataclass(frozen=True)
class Progress:
    """What a run on a board is doing.

    Args:
        stage: "connect", "copy", "run" or "fetch".
        text: a file's name, a model's name, or a line.
        done: of ``total``: bytes in "copy", models in "run".
        total: 0 where there is nothing to count.
    """

    stage: str
    text: str
    done: int = 0
    total: int = 0

    @property
    def percent(self) -> float | None:
        """100·done/total; None where there is nothing to count.

        >>> Progress("copy", "models/fp32.onnx", done=30, total=120).percent
        25.0
        """
        return 100 * self.done / self.total if self.total else None


Say = Callable[[Progress], None]


class Board:
    """Requests to one folder on one board.

    Args:
        link: to the board; not yet connected.
        folder: of the kit, below the home folder unless it is absolute.
        say: is told when the link breaks and is there again.
        patience_s: how long to try again before giving up.
        again: the command that continues, for messages.
    """

    def __init__(self, link: Link, folder: str, say: Say, *, patience_s: float, again: str):
        self.link, self.folder, self.say, self.patience_s, self.again = link, folder, say, patience_s, again

    def connect(self) -> None:
        """The first connection: a board that is not there now will not be there in a minute.

        Raises: CourseError: unreachable, or what ``Link.connect`` refuses.
        """
        self.say(Progress("connect", self.link.host))
        try:
            self.link.connect()
        except LinkLost as error:
            raise unreachable(self.link.host, str(error)) from error

    def reconnect(self, lost: LinkLost) -> None:
        """Connect again, with waits that double. Raises: CourseError: no connection for ``patience_s`` seconds."""
        until, wait = time.monotonic() + self.patience_s, FIRST_WAIT_S
        self.say(Progress("connect", f"the link broke ({lost}), trying again"))
        while True:
            try:
                self.link.connect()
                break
            except LinkLost as error:
                if time.monotonic() + wait > until:
                    raise CourseError(
                        f"the link to {self.link.host} broke and did not come back for {self.patience_s:g} s "
                        f"({error}); what was started on the board goes on",
                        mend=f"when it is there again, the same command continues: {self.again}",
                    ) from error
                time.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT_S)
        self.say(Progress("connect", f"{self.link.host} is there again"))

    def ask(self, action: str, **request: Any) -> dict[str, Any]:
        """The agent's answer, asked again after a broken link.

        Raises: CourseError: as ``ask_once`` and ``reconnect``.
        """
        while True:
            try:
                return self.ask_once(action, **request)
            except LinkLost as error:
                self.reconnect(error)

    def ask_once(self, action: str, feed: Iterable[bytes] = (), **request: Any) -> dict[str, Any]:
        """The agent's answer to one request.

        Args: action: of the agent; feed: a file's bytes for ``put``; request: the action's own fields.
        Raises: LinkLost: the connection broke. CourseError: no Python 3.6, a full disk, a folder that refuses.
        """
        body = json.dumps({"action": action, "folder": self.folder, **request}).encode()
        done = self.link.run(_command(body), feed)
        found = [line for line in done.stdout.splitlines() if line.startswith(REPLY)]
        if not found:
            raise self._no_answer(done)
        reply = json.loads(found[-1].removeprefix(REPLY))
        if "error" in reply:
            raise self._refused(reply)
        return reply

    def _no_answer(self, done: Done) -> Exception:
        host = self.link.host
        if done.returncode == _NO_PYTHON:
            return CourseError(f"{host} has no python3", mend="sudo apt-get install python3 on the board")
        if done.returncode == _OLD_PYTHON:
            return CourseError(
                f"{host}: its python3 is older than 3.6", mend="install Python 3.6 or newer on the board as python3"
            )
        said = " ".join(done.stderr.split()[-40:]) or f"exit status {done.returncode}, and no reply"
        if done.returncode == 0:  # cut short between the agent's end and its reply
            return LinkLost(said)
        return CourseError(f"{host}: the request failed ({said})", mend=f"see what ssh {host} python3 --version says")

    def _refused(self, reply: dict[str, Any]) -> CourseError:
        where = f"{self.link.host}:{self.folder}"
        if reply["error"] == "full":
            problem, mend = f"the board's disk is full ({reply['text']})", "free some space on it, or choose --folder"
        else:
            about = f" ({reply['at']}: {reply['text']})" if reply.get("at") else f" ({reply['text']})"
            problem, mend = f"the board refuses to write{about}", "choose a folder you may write with --folder"
        return CourseError(problem, path=where, mend=f"{mend}; then {self.again}")


def _command(body: bytes) -> str:
    """A line that means the same to every login shell: letters, digits and signs inside single quotes, no names."""
    agent = base64.b64encode(zlib.compress(AGENT.read_bytes(), 9)).decode("ascii")
    request = base64.b64encode(body).decode("ascii")
    script = f'command -v python3 >/dev/null || exit {_NO_PYTHON}; exec python3 -E -S -c "$0" "$1" "$2"'
    return f"/bin/sh -c '{script}' '{_LOADER}' {agent} {request}"
