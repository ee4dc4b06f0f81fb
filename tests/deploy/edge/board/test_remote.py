"""A run on a board over a real SSH server: whatever breaks on the way is named, and the same command goes on."""

from __future__ import annotations

import json
import multiprocessing
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from course_lib.deploy.edge.board import Progress
from course_lib.deploy.edge.remote import run_kit
from course_lib.errors import CourseError

QUICK = {"poll_s": 0.05, "patience_s": 20.0}


class Board:
    """A folder on the test's board, and ``run`` that goes there."""

    def __init__(self, server, folder: Path, out: Path):
        self.server, self.folder, self.out, self.seen = server, folder, out, []

    def run(self, kit: Path, *, say: Callable[[Progress], None] | None = None, **options) -> dict:
        def both(progress: Progress) -> None:
            self.seen.append(progress)
            if say:
                say(progress)

        given = {"folder": str(self.folder), "out": self.out, "ssh_options": self.server.options, "say": both}
        path = run_kit(kit, self.server.host, **{**QUICK, **given, **options})
        return json.loads(path.read_text())

    def texts(self, stage: str) -> str:
        return "\n".join(progress.text for progress in self.seen if progress.stage == stage)

    def starts(self) -> list[str]:
        """Arguments of each start of the benchmark."""
        return (self.folder / "started").read_text().splitlines()

    def wait_for(self, name: str, text: str) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            path = self.folder / name
            if path.exists() and text in path.read_text():
                return
            time.sleep(0.02)
        raise AssertionError(f"{name} never held {text!r}")

    def hold(self, name: str) -> Callable[[], None]:
        """Let the benchmark wait at this model until the returned function is called."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"hold {name}"
        path.touch()
        return path.unlink

    def kill(self) -> None:
        os.kill(int((self.folder / ".course" / "pid").read_text()), signal.SIGKILL)


@pytest.fixture
def board(server, tmp_path) -> Board:
    return Board(server, tmp_path / 'board\'s folder; $HOME `x` "é"', tmp_path / "home" / "result.json")


def test_files_travel_the_kit_is_set_up_run_and_its_results_come_home(board, make_kit):
    kit = make_kit()
    result = board.run(kit)
    assert [row["name"] for row in result["rows"]] == ["fp32", "pruned", "int8"]
    assert (board.folder / "models" / "fp 32.onnx").read_bytes() == (kit / "models" / "fp 32.onnx").read_bytes()
    assert (board.folder / "empty").read_bytes() == b""
    assert (board.folder / "set_up_count").read_text() == "x\n"
    runs = [(p.text, p.done, p.total) for p in board.seen if p.stage == "run" and p.total]
    assert runs == [("fp32 c int8", 0, 3), ("pruned c int8", 1, 3), ("int8 c int8", 2, 3), ("done", 3, 3)]
    sizes = [progress.done for progress in board.seen if progress.stage == "copy" and progress.total]
    assert sizes == sorted(sizes)
    assert not list(board.folder.rglob("*.part"))


def test_a_second_run_sends_what_differs_and_is_set_up_anew_only_for_another_manifest(board, make_kit):
    board.run(make_kit())
    board.seen.clear()
    board.run(make_kit())
    assert "0 of 5 files sent" in board.texts("copy")
    assert (board.folder / "set_up_count").read_text() == "x\n"
    board.run(make_kit(**{"models/fp 32.onnx": "another model"}))
    assert "2 of 5 files sent" in board.texts("copy")  # and the manifest
    assert (board.folder / "set_up_count").read_text() == "x\nx\n"
    assert board.starts() == ["--out result.json"] * 3  # a finished run is not resumed


def test_a_folder_that_is_not_absolute_lies_in_the_home_folder(server, tmp_path, make_kit):
    board = Board(server, Path("a kit"), tmp_path / "result.json")
    board.run(make_kit())
    assert (server.folder / "home" / "a kit" / "result.json").is_file()


def test_a_link_cut_in_the_middle_of_a_file_is_made_again_and_the_file_continued(board, make_kit):
    size, part, arrived = 3_000_000, board.folder / "models" / "large.part", []

    def say(progress: Progress) -> None:
        if progress.text == "models/large" and progress.done > size / 2 and not arrived:
            until = time.monotonic() + 60
            while not (part.exists() and part.stat().st_size > size / 4) and time.monotonic() < until:
                time.sleep(0.02)
            arrived.append(part.stat().st_size)
            board.server.cut()

    kit = make_kit(**{"models/large": os.urandom(size)})
    board.run(kit, say=say)
    assert "is there again" in board.texts("connect")
    assert (board.folder / "models" / "large").read_bytes() == (kit / "models" / "large").read_bytes()
    broke = next(i for i, progress in enumerate(board.seen) if "is there again" in progress.text)
    again = next(p for p in board.seen[broke:] if p.text == "models/large")
    assert again.done >= arrived[0]  # not begun anew
    assert again.total < size + 1000  # of the files before it none was sent again


def test_a_part_that_is_no_beginning_of_the_file_is_sent_anew(board, make_kit):
    kit = make_kit(**{"models/large": os.urandom(200_000)})
    (board.folder / "models").mkdir(parents=True)
    (board.folder / "models" / "large.part").write_bytes(b"something else")
    board.run(kit)
    assert (board.folder / "models" / "large").read_bytes() == (kit / "models" / "large").read_bytes()
    sizes = [progress.done for progress in board.seen if progress.stage == "copy" and progress.total]
    assert sizes == sorted(sizes)  # known before it was sent, not after it arrived altered


def test_a_link_cut_during_the_run_does_not_end_the_run(board, make_kit):
    cut, release = [], board.hold("pruned")

    def say(progress: Progress) -> None:
        if progress.text.startswith("pruned") and not cut:
            cut.append(1)
            board.server.cut()
        if "is there again" in progress.text:
            release()

    result = board.run(make_kit(), say=say)
    assert cut
    assert len({row["session"] for row in result["rows"]}) == 1
    assert len(board.starts()) == 1
    lines = [progress.text for progress in board.seen if progress.stage == "run" and progress.total]
    assert lines == ["fp32 c int8", "pruned c int8", "int8 c int8", "done"]  # none twice


def test_without_a_link_for_too_long_the_message_says_how_to_go_on_and_the_same_command_does(
    board, make_kit, monkeypatch
):
    from course_lib.deploy.edge.link import Link, LinkLost

    connect, kit, release = Link.connect, make_kit(), board.hold("fp32")

    def gone(link: Link) -> None:
        raise LinkLost("no route to host")

    def say(progress: Progress) -> None:
        if progress.text.startswith("fp32") and progress.total:
            monkeypatch.setattr(Link, "connect", gone)
            board.server.cut()

    with pytest.raises(CourseError, match=r"did not come back for 0.5 s.*the same command continues: course kit run"):
        board.run(kit, say=say, patience_s=0.5)
    monkeypatch.setattr(Link, "connect", connect)
    release()
    board.wait_for(".course/status.json", "returncode")
    board.run(kit)  # it ended meanwhile
    assert len(board.starts()) == 1
    assert "ended meanwhile" in board.texts("run")
    board.run(kit)  # fetched: now a new one
    assert len(board.starts()) == 2


def test_a_killed_run_is_named_and_the_same_command_continues_it(board, make_kit):
    kit, release = make_kit(), board.hold("pruned")

    def say(progress: Progress) -> None:
        if progress.text.startswith("pruned") and progress.total:
            board.kill()

    with pytest.raises(
        CourseError, match=r"run was killed by signal SIGKILL at pruned c int8.*the same command continues"
    ):
        board.run(kit, say=say)
    release()
    result = board.run(kit)
    assert [row["name"] for row in result["rows"]] == ["fp32", "pruned", "int8"]
    first, second = board.starts()
    assert ("--resume" in first, "--resume" in second) == (False, True)
    assert len({row["session"] for row in result["rows"]}) == 2  # fp32 was kept


def test_a_run_killed_with_its_keeper_is_seen_and_continued(board, make_kit):
    kit, release = make_kit(), board.hold("pruned")

    def say(progress: Progress) -> None:
        if progress.text.startswith("pruned") and progress.total:
            import psutil

            bench = psutil.Process(int((board.folder / ".course" / "pid").read_text()))
            keeper = bench.parent()
            assert keeper is not None
            keeper.kill()
            bench.kill()

    with pytest.raises(CourseError, match=r"killed at pruned c int8, together with its keeper"):
        board.run(kit, say=say)
    release()
    assert len(board.run(kit)["rows"]) == 3


def test_other_arguments_begin_a_new_run_instead_of_continuing(board, make_kit):
    kit = make_kit()
    with pytest.raises(CourseError, match=r"edge_bench.py failed with status 4 at int8 c int8: .*no runtime here"):
        board.run(kit, arguments=["--exit", "4"])
    board.run(kit)
    assert "--resume" not in board.starts()[1]


def test_a_run_in_which_a_model_failed_brings_its_results_home(board, make_kit):
    assert len(board.run(make_kit(), arguments=["--exit", "1"])["rows"]) == 3


def test_a_second_client_attaches_to_the_run_of_the_first(server, board, make_kit, tmp_path):
    kit, arguments, results, release = make_kit(), ["--runtime", "c"], [], board.hold("pruned")
    first = threading.Thread(target=lambda: results.append(board.run(kit, arguments=arguments)))
    first.start()
    board.wait_for("started", "--out")
    second = Board(server, board.folder, tmp_path / "second.json")
    results.append(second.run(kit, say=lambda progress: release() if "under way" in progress.text else None))
    first.join()
    assert results[0] == results[1]
    assert "with other arguments (--runtime c) is under way" in second.texts("run")
    assert len(board.starts()) == 1


def test_a_run_of_another_kit_that_is_under_way_is_not_touched(server, board, make_kit, tmp_path):
    kit, other, release = make_kit(), make_kit("other", **{"models/other": "x"}), board.hold("pruned")
    first = threading.Thread(target=lambda: board.run(kit))
    first.start()
    board.wait_for("started", "--out")
    try:
        with pytest.raises(CourseError, match=r"a run of another kit is under way"):
            Board(server, board.folder, tmp_path / "second.json").run(other)
    finally:
        release()
        first.join()
    assert not (board.folder / "models" / "other").exists()


def run_apart(board: Board, kit: Path) -> tuple[multiprocessing.Process, Path]:
    """A client in a process group of its own, as a terminal starts it; and the file of what stopped it."""
    said = board.out.with_name("said")

    def client() -> None:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job may have inherited "ignore"
        try:
            board.run(kit)
        except KeyboardInterrupt as error:
            said.write_text(str(error))

    process = multiprocessing.get_context("fork").Process(target=client)
    process.start()
    assert process.pid is not None
    return process, said


def test_ctrl_c_leaves_the_run_alive_and_says_so(board, make_kit):
    kit, release = make_kit(), board.hold("fp32")
    board.out.parent.mkdir()
    client, said = run_apart(board, kit)
    board.wait_for("started", "--out")
    os.killpg(client.pid, signal.SIGINT)
    client.join(60)
    assert said.read_text().startswith("What was started on the board goes on; course kit run")
    assert not (board.folder / ".course" / "status.json").exists()
    release()
    assert len(board.run(kit)["rows"]) == 3
    assert len(board.starts()) == 1


def test_no_process_of_ours_outlives_a_client_that_is_killed_and_the_run_goes_on(board, make_kit):
    kit, release = make_kit(), board.hold("fp32")
    board.out.parent.mkdir()
    client, _ = run_apart(board, kit)
    board.wait_for("started", "--out")
    client.kill()
    client.join()
    until = time.monotonic() + 60
    while board.server.sessions() and time.monotonic() < until:
        time.sleep(0.05)
    assert board.server.sessions() == []
    release()
    board.wait_for(".course/status.json", '"returncode": 0')


@pytest.mark.parametrize(("spoil", "said"), [("rows", "were altered"), ("kit", "are another kit's")])
def test_results_that_are_altered_or_another_kits_are_refused(board, make_kit, spoil, said):
    with pytest.raises(CourseError, match=said):
        board.run(make_kit(), arguments=["--spoil", spoil])
    assert not board.out.exists()


def test_results_here_are_replaced_only_by_good_ones(board, make_kit):
    board.out.parent.mkdir()
    board.out.write_text("mine")
    with pytest.raises(CourseError):
        board.run(make_kit(), arguments=["--spoil", "rows"])
    assert board.out.read_text() == "mine"


def test_the_c_network_alone_needs_no_set_up(board, make_kit):
    board.run(make_kit(), arguments=["--runtime", "c"])
    assert not (board.folder / "set_up_count").exists()
    board.run(make_kit(), arguments=["--runtime", "c", "onnxruntime"])
    assert (board.folder / "set_up_count").exists()


def test_a_set_up_that_fails_is_shown_with_its_last_lines(board, make_kit):
    with pytest.raises(CourseError, match=r"setup.sh failed with status 3: no wheel for cp36.*then course kit run"):
        board.run(make_kit(**{"setup.sh": "echo no wheel for cp36 >&2\nexit 3\n"}))
    assert not (board.folder / "started").exists()
    board.run(make_kit())


def test_a_full_disk_is_told_before_anything_is_sent(server, make_kit, tmp_path, small_disk):
    board = Board(server, small_disk / "kit", tmp_path / "result.json")
    with pytest.raises(CourseError, match=r"needs 9.2 MB more on the board's disk, and .* MB are free"):
        board.run(make_kit(**{"models/large": os.urandom(5_000_000)}))
    assert not (small_disk / "kit" / "edge_bench.py").exists()


def test_a_disk_that_fills_up_meanwhile_is_named_and_the_same_command_continues(
    server, make_kit, tmp_path, small_disk, monkeypatch
):
    board, kit = Board(server, small_disk / "kit", tmp_path / "result.json"), make_kit(large=os.urandom(2_500_000))
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4_000_000))
    monkeypatch.setattr("course_lib.deploy.edge.copying.SPARE_BYTES", -(10**7))
    with pytest.raises(CourseError, match=r"the board's disk is full"):
        board.run(kit)
    assert not (small_disk / "kit" / "large").exists()
    ballast.unlink()
    assert len(board.run(kit)["rows"]) == 3


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and shutil.which("mount")
    if not mounted or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "none", folder], check=False).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_board_without_python_is_named(start_server, make_kit, tmp_path):
    board = Board(start_server("PATH=/nowhere", "bare"), tmp_path / "board", tmp_path / "result.json")
    with pytest.raises(CourseError, match=r"has no python3.*apt-get install python3"):
        board.run(make_kit())


def test_a_python_that_is_too_old_is_named(start_server, make_kit, tmp_path):
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 42\n")
    (tmp_path / "python3").chmod(0o755)
    board = Board(start_server(f"PATH={tmp_path}", "old"), tmp_path / "board", tmp_path / "result.json")
    with pytest.raises(CourseError, match=r"older than 3.6"):
        board.run(make_kit())


def test_a_host_key_that_is_unknown_and_one_that_changed_are_told_apart(server, make_kit, tmp_path):
    def run(known: Path) -> None:
        options = [*server.options, "-o", f"UserKnownHostsFile={known}"]
        options = [o if not o.startswith("UserKnownHostsFile") else f"UserKnownHostsFile={known}" for o in options]
        run_kit(make_kit(), server.host, folder=str(tmp_path / "board"), out=tmp_path / "r", ssh_options=options)

    with pytest.raises(CourseError, match=r"not known here.*compare the fingerprint"):
        run(tmp_path / "nothing")
    port = server.options[server.options.index("-p") + 1]
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    (tmp_path / "wrong").write_text(f"[127.0.0.1]:{port} {(tmp_path / 'other.pub').read_text()}")
    with pytest.raises(CourseError, match=r"not the one that was known.*ssh-keygen -R"):
        run(tmp_path / "wrong")
    assert not (tmp_path / "board").exists()


def test_a_key_that_is_not_let_in_and_a_host_that_is_not_there_are_told_apart(server, make_kit, tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    options = [str(tmp_path / "other") if o.endswith("/key") else o for o in server.options]
    with pytest.raises(CourseError, match=r"does not let you in.*ssh-copy-id"):
        run_kit(make_kit(), server.host, out=tmp_path / "r", ssh_options=options)
    options = ["1" if o.isdigit() else o for o in server.options]
    with pytest.raises(CourseError, match=r"cannot be reached \(.*refused"):
        run_kit(make_kit(), server.host, out=tmp_path / "r", ssh_options=options)
    with pytest.raises(CourseError, match=r"ssh does not understand its options"):
        run_kit(make_kit(), server.host, out=tmp_path / "r", ssh_options=["-o", "Nonsense=yes"])


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "", "a b", "a\nb"])
def test_a_host_that_ssh_could_take_for_something_else_is_refused(make_kit, tmp_path, host):
    with pytest.raises(ValueError, match=r"host must be"):
        run_kit(make_kit(), host, out=tmp_path / "r")


def test_a_kit_that_was_altered_here_is_refused_before_connecting(make_kit, tmp_path):
    kit = make_kit()
    (kit / "setup.sh").write_text("rm -rf ~\n")
    with pytest.raises(CourseError, match=r"setup.sh: a file of the kit was altered.*course kit build"):
        run_kit(kit, "nobody@nowhere.invalid", out=tmp_path / "r")
    (kit / "setup.sh").unlink()
    with pytest.raises(CourseError, match=r"missing"):
        run_kit(kit, "nobody@nowhere.invalid", out=tmp_path / "r")


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "a\\b", "./a"])
def test_a_manifest_that_names_a_file_outside_the_kit_is_refused(make_kit, tmp_path, name):
    kit = make_kit()
    manifest = json.loads((kit / "manifest.json").read_text())
    manifest["files"] = {name: {"sha256": "0" * 64, "bytes": 1}}
    (kit / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CourseError, match=r"outside the kit"):
        run_kit(kit, "nobody@nowhere.invalid", out=tmp_path / "r")


def test_arguments_that_kit_run_sets_itself_are_refused(make_kit, tmp_path):
    with pytest.raises(ValueError, match=r"--out"):
        run_kit(make_kit(), "nobody@nowhere.invalid", out=tmp_path / "r", arguments=shlex.split("--out=x"))
