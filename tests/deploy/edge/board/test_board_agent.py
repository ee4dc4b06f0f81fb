"""What is sent to the board: it runs on its oldest Python, answers in one line, and leaves nothing half-written."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from course_lib.deploy.edge.board import AGENT, REPLY, Board, _command
from course_lib.deploy.edge.link import Done, Link, LinkLost, check_host
from course_lib.errors import CourseError


def old_python() -> str | None:
    """A Python 3.6, if there is one: its own name, or one of pyenv's."""
    pyenv = sorted(Path.home().glob(".pyenv/versions/3.6.*/bin/python3.6"))
    return shutil.which("python3.6", path="/usr/bin:/usr/local/bin") or next(map(str, pyenv), None)


def ask(folder: Path, action: str, *, python: str = sys.executable, feed: bytes = b"", **request) -> dict:
    body = json.dumps({"action": action, "folder": str(folder), **request}).encode()
    command = [python, str(AGENT), base64.b64encode(body).decode()]
    done = subprocess.run(command, input=feed, capture_output=True, check=True, timeout=60)
    return json.loads(done.stdout.decode().splitlines()[-1].removeprefix(REPLY))


def file(name: str, content: bytes, offset: int = 0) -> dict:
    return {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "offset": offset}


def test_a_python_3_6_runs_it(tmp_path):
    python = old_python()
    if python is None:
        pytest.skip("no Python 3.6 here (python3.6, or pyenv's)")
    content = b"x" * 100_000
    assert ask(tmp_path, "put", python=python, feed=content, files=[file("a/b", content)]) == {
        "whole": True,
        "wrong": [],
    }
    found = ask(tmp_path, "look", python=python, names=["a/b"])
    assert found["files"] == {"a/b": [100_000, hashlib.sha256(content).hexdigest()]}
    assert found["python"].startswith("3.6")


def test_files_follow_one_another_and_a_part_is_continued(tmp_path):
    first, second = b"first", b"the second file"
    files = [file("one", first), file("two", second)]
    assert not ask(tmp_path, "put", feed=first + second[:5], files=files)["whole"]
    assert (tmp_path / "one").read_bytes() == first
    assert (tmp_path / "two.part").read_bytes() == second[:5]
    assert not (tmp_path / "two").exists()
    assert ask(tmp_path, "put", feed=second[5:], files=[file("two", second, offset=5)])["whole"]
    assert (tmp_path / "two").read_bytes() == second
    assert not (tmp_path / "two.part").exists()


def test_a_file_that_arrives_altered_is_named_and_never_gets_its_name(tmp_path):
    wrong = {**file("one", b"right"), "sha256": "0" * 64}
    assert ask(tmp_path, "put", feed=b"right" + b"two", files=[wrong, file("two", b"two")])["wrong"] == ["one"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".course", "two"]


def test_a_folder_that_refuses_is_told_and_not_raised(tmp_path):
    (tmp_path / "kit").write_text("a file")
    reply = ask(tmp_path / "kit", "look", names=[])
    assert reply["error"] == "refused"
    board = Board(Link("board"), "kit", print, patience_s=0, again="course kit run board")
    assert "choose a folder" in str(board._refused(reply))
    assert "disk is full" in str(board._refused({"error": "full", "text": "No space left on device"}))


def test_the_line_for_the_shell_holds_no_names(tmp_path):
    body = json.dumps({"action": "look", "folder": str(tmp_path / "a b'; touch $HOME"), "names": ["$(x)"]}).encode()
    line = _command(body)
    assert "touch" not in line
    assert "$(x)" not in line
    for shell in ("sh", "bash"):
        done = subprocess.run([shell, "-c", line], capture_output=True, text=True, check=True, timeout=60)
        assert REPLY in done.stdout
    assert (tmp_path / "a b'; touch $HOME" / ".course").is_dir()


def test_what_a_login_script_prints_is_no_reply():
    board = Board(Link("board"), "kit", print, patience_s=0, again="")
    noise = f'Welcome!\n{REPLY}{{"a": 1}}\nGoodbye'
    board.link.run = lambda command, feed: Done(0, noise, "")  # type: ignore[method-assign]
    assert board.ask_once("look") == {"a": 1}
    board.link.run = lambda command, feed: Done(0, "Welcome!\n", "")  # type: ignore[method-assign]
    with pytest.raises(LinkLost):
        board.ask_once("look")
    board.link.run = lambda command, feed: Done(1, "", "Traceback: broken")  # type: ignore[method-assign]
    with pytest.raises(CourseError, match="Traceback: broken"):
        board.ask_once("look")


def test_a_host_is_what_ssh_takes_for_one():
    assert check_host("user@board.local") == "user@board.local"


def test_without_ssh_the_mend_is_told(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CourseError, match="install the OpenSSH client"):
        Link("board")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.", "ssh-keygen -R board"),
        ("No ED25519 host key is known for board and you have requested strict checking.", "compare the fingerprint"),
        ("user@board: Permission denied (publickey,password).", "ssh-copy-id user@board"),
        ("Unable to negotiate with board port 22: no matching key exchange method found.", "share no method"),
        ("command-line: line 0: Bad configuration option: nonsense", "correct the options"),
    ],
)
def test_what_ssh_says_is_told_with_its_mend(said, words):
    error = Link("user@board")._failure(said)
    assert isinstance(error, CourseError)
    assert words in str(error)


@pytest.mark.parametrize("said", ["", "ssh: connect to host board port 22: Connection refused", "Broken pipe"])
def test_what_may_pass_is_a_lost_link(said):
    assert isinstance(Link("user@board")._failure(said), LinkLost)
