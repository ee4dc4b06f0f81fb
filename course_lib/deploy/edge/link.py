"""A connection to a board through the user's own OpenSSH client: their keys, their agent, their ~/.ssh/config.

No second implementation of SSH, and none of its questions: ``BatchMode`` makes ``ssh`` fail where it would ask, and
what it says when it fails is told again with the command that mends it.

One process (the *master*) holds the connection, and each command goes through it (``ControlMaster``), which saves the
handshake of a second that a board needs for each. The master runs ``cat`` on the board with a pipe of ours as its
input: should this process be killed, the pipe ends, and so do ``cat`` and the connection. Where a control socket cannot
be had (Windows, a temporary folder with a long name) each command connects by itself.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from course_lib.errors import CourseError

CONNECT_S = 10
ALIVE_S, ALIVE_TIMES = 5, 3  # a silent link is given up after 15 s
COMMAND_S = 300.0
_SOCKET_BYTES = 80  # of a control socket's path; systems allow about 100, and ssh appends 17 while it makes one
_FAILED = 255  # ssh's own exit status; every other one is the remote command's

# What OpenSSH says -> what it means and the mend; the first match counts. {host} is filled in.
_REASONS = (
    (
        ("remote host identification has changed", "host key for", "host identification has changed"),
        "its host key is not the one that was known: it was installed anew, or this is another machine",
        "if you know why, forget the old key with ssh-keygen -R {name}, then connect once with ssh {host}",
    ),
    (
        ("host key verification failed", "host key is known", "host key is not cached"),
        "its host key is not known here",
        "connect once with ssh {host}, compare the fingerprint and answer yes",
    ),
    (
        ("permission denied", "too many authentication failures", "no supported authentication methods"),
        "it does not let you in with a key",
        "ssh-copy-id {host} once, or load your key with ssh-add",
    ),
    (
        ("bad configuration option", "usage: ssh", "unknown option", "bad port", "terminating, ", "illegal option"),
        "ssh does not understand its options",
        "correct the options, or your ~/.ssh/config",
    ),
    (
        ("unable to negotiate", "no matching"),
        "its SSH server and this client share no method",
        "see that ssh {host} works; an old board may need an option of its own in ~/.ssh/config",
    ),
)
_UNREACHABLE = (
    "could not resolve hostname",
    "connection refused",
    "timed out",
    "no route to host",
    "network is unreachable",
    "host is down",
)


class LinkLost(Exception):
    """The connection broke, or could not be made again; the board may well go on."""


@dataclass(frozen=True)
class Done:
    """A command that ran on the board to its end.

    Args:
        returncode: its exit status.
        stdout: what it printed.
        stderr: what it complained.
    """

    returncode: int
    stdout: str
    stderr: str


def check_host(host: str) -> str:
    """The host, if it can be one: ``user@board``, ``board`` or a name of ~/.ssh/config.

    Raises: ValueError: empty, with spaces or control characters, or beginning with "-", which ssh takes for an option.
    """
    if not host or host.startswith("-") or not host.isprintable() or any(letter.isspace() for letter in host):
        raise ValueError(f"host must be like user@board and not begin with '-', got {host!r}")
    return host


class Link:
    """A connection that commands go through; a context manager.

    Args:
        host: as ``check_host`` takes it.
        options: more arguments for ssh, such as ("-p", "2222").
    Raises: ValueError: the host. CourseError: there is no ``ssh`` here.
    """

    def __init__(self, host: str, options: Sequence[str] = ()):
        self.host = check_host(host)
        found = shutil.which("ssh")
        if found is None:
            raise CourseError("there is no ssh here", mend="install the OpenSSH client (Debian: openssh-client)")
        fixed = {
            "BatchMode": "yes",
            "ConnectTimeout": str(CONNECT_S),
            "ServerAliveInterval": str(ALIVE_S),
            "ServerAliveCountMax": str(ALIVE_TIMES),
            "ForwardX11": "no",
            "ForwardAgent": "no",
            "LogLevel": "ERROR",
        }
        # The user's options come first: ssh takes the first value that it meets.
        self._ssh = [found, "-T", *options, *(part for key in fixed for part in ("-o", f"{key}={fixed[key]}"))]
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._master: subprocess.Popen[bytes] | None = None
        self._socket: Path | None = None

    def __enter__(self) -> Link:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def connect(self) -> None:
        """Connect, or connect again; returns when commands can be run.

        Raises: CourseError: what no patience mends (host key, permission, options). LinkLost: not reachable now.
        """
        self.close()
        socket = self._control_socket()
        if socket is None:
            self.run("exit 0")
            return
        command = [*self._ssh, "-o", "ControlMaster=yes", "-o", f"ControlPath={socket}", "-o", "ControlPersist=no"]
        until = time.monotonic() + 2 * CONNECT_S + ALIVE_S * ALIVE_TIMES
        with tempfile.TemporaryFile() as complaints:
            master = self._popen([*command, "--", self.host, "/bin/cat"], complaints, stdout=subprocess.DEVNULL)
            self._master = master
            while not socket.exists():
                if master.poll() is not None or time.monotonic() > until:
                    raise self._failure(_text(complaints) or "timed out")
                time.sleep(0.02)
        self._socket = socket

    def run(self, command: str, feed: Iterable[bytes] = (), *, timeout_s: float = COMMAND_S) -> Done:
        """Run a command line in the board's login shell.

        Args: command: of plain words; feed: its standard input; timeout_s: without feed, when to give it up.
        Raises: LinkLost: the connection broke, or time is up. CourseError: as ``connect``.
        """
        if self._master is not None and self._master.poll() is not None:
            raise LinkLost("the connection was closed")
        through = [] if self._socket is None else ["-o", "ControlMaster=no", "-o", f"ControlPath={self._socket}"]
        with tempfile.TemporaryFile() as complaints:
            process = self._popen([*self._ssh, *through, "--", self.host, command], complaints, stdout=subprocess.PIPE)
            try:
                _write(process, feed)
                output, _ = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired as error:
                raise LinkLost(f"no answer for {timeout_s:g} s") from error
            finally:
                _end(process)
            said = _text(complaints)
        if process.returncode == _FAILED or process.returncode < 0:
            raise self._failure(said)
        return Done(process.returncode, output.decode("utf-8", "replace"), said)

    def close(self) -> None:
        """End the connection; what was started detached on the board goes on."""
        if self._master is not None:
            _end(self._master)
        if self._folder is not None:
            self._folder.cleanup()
        self._master = self._socket = self._folder = None

    def _control_socket(self) -> Path | None:
        if os.name == "nt":
            return None
        for parent in (None, "/tmp"):
            if parent is not None and not os.access(parent, os.W_OK):
                continue
            folder = tempfile.TemporaryDirectory(prefix="kit", dir=parent, ignore_cleanup_errors=True)
            path = Path(folder.name, "s")
            if len(os.fsencode(path)) <= _SOCKET_BYTES and not {"%", '"', " "} & set(str(path)):
                self._folder = folder
                return path
            folder.cleanup()
        return None

    def _popen(self, arguments: list[str], complaints: IO[bytes], stdout: int) -> subprocess.Popen[bytes]:
        # In a session of its own: Ctrl-C is for us, and no request is broken off in its middle by it.
        return subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=complaints,
            env=os.environ | {"LC_ALL": "C"},
            start_new_session=os.name != "nt",
        )

    def _failure(self, said: str) -> CourseError | LinkLost:
        """What ssh's complaint means."""
        lower, last = said.lower(), (said.strip().splitlines() or ["the connection was closed"])[-1]
        for words, problem, mend in _REASONS:
            if any(word in lower for word in words):
                name = self.host.rpartition("@")[2]
                return CourseError(f"{self.host}: {problem} ({last})", mend=mend.format(host=self.host, name=name))
        return LinkLost(last)


def unreachable(host: str, reason: str) -> CourseError:
    """The error for a board that did not answer at all."""
    known = any(word in reason.lower() for word in _UNREACHABLE)
    return CourseError(
        f"{host} cannot be reached ({reason})",
        mend=f"see that the board is on and in this network, and that ssh {host} works"
        + ("" if known else " without asking for anything"),
    )


def _write(process: subprocess.Popen[bytes], feed: Iterable[bytes]) -> None:
    """Write all of ``feed``; a reader that stopped early says why on its own."""
    stream = process.stdin
    if stream is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for block in feed:
            stream.write(block)
        stream.close()
    process.stdin = None  # or communicate() would flush it


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process of ours, gently first."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    try:
        process.wait(timeout=0.5 if process.poll() is None else 0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")
