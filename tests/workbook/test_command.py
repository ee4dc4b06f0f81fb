"""``course workbook`` and ``course lab``: one line a chapter, one line for an error, and JupyterLab at the workbook."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import partial

import pytest

from course_lib import cli, workbook
from course_lib.commands import workbook as command
from course_lib.exercises import check
from course_lib.exercises.engine import record
from course_lib.exercises.engine.registry import find
from course_lib.storage.files import ROOT

ANSWER = 'def price(p, q):\n    return mine\n\n\ncheck("04.1", price)'


@pytest.fixture
def place(bench, monkeypatch):
    """The commands work on the bench's folders."""
    monkeypatch.setenv("COURSE_WORKBOOK", str(bench.book.folder))
    for name in ("update", "status", "reset"):
        monkeypatch.setattr(command, name, partial(getattr(workbook, name), book=bench.book))
    return bench


def run(*arguments: str, capsys) -> tuple[int, str, str]:
    status = cli.main(list(arguments))
    out, err = capsys.readouterr()
    return status, out, err


def test_the_first_call_says_where_the_copies_are_and_the_second_nothing(place, capsys):
    shutil.rmtree(place.book.folder)
    status, out, _ = run("workbook", capsys=capsys)
    assert (status, out) == (0, f"Your copies of 1 chapters are in {place.book.folder}: work there.\n")
    assert run("workbook", capsys=capsys) == (0, "", "")


def test_an_update_is_one_line_a_chapter(place, capsys):
    place.type(place.sources()[4], ANSWER)
    place.author(place.sources()[5], f"{place.sources()[5]} Or not.")
    status, out, _ = run("workbook", capsys=capsys)
    line = "04_chapter: up to date again; the chapter's cells: 1 changed; 1 of your cells stand in their places\n"
    assert (status, out) == (0, line)


def test_status_and_reset(place, capsys):
    place.type(place.sources()[4], ANSWER)
    assert run("workbook", "status", capsys=capsys)[1] == "04_chapter: up to date, 1 cell of yours\n"
    status, out, _ = run("workbook", "reset", "04", capsys=capsys)
    assert status == 0
    assert out.startswith("04_chapter: new; the old copy is ")
    assert run("workbook", "status", capsys=capsys)[1] == "04_chapter: up to date, 0 cells of yours\n"


def test_a_chapter_that_is_not_there_is_one_line(place, capsys):
    status, _, err = run("workbook", "reset", "23", capsys=capsys)
    assert (status, err) == (2, "course: chapter must be one of 04_chapter, got '23'\n")


def test_a_full_disk_is_one_line_and_jupyterlab_is_not_started(place, capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(command, "open_lab", lambda _: pytest.fail("started"))
    place.author(place.sources()[5], "another")
    status, _, err = run("lab", capsys=capsys)
    assert status == 2
    assert err.startswith("course: ")
    assert "No space left on device" in err
    assert err.count("\n") == 1


def test_lab_brings_the_copies_up_to_date_and_passes_jupyterlabs_options_on(place, capsys, monkeypatch):
    started = []
    monkeypatch.setattr(command, "open_lab", lambda given: started.append(given) or 0)
    place.author(place.sources()[5], "another")
    status, out, _ = run("lab", "--no-browser", "--port=9999", capsys=capsys)
    assert (status, "04_chapter: up to date again" in out) == (0, True)
    assert started[0][:3] == [sys.executable, "-m", "jupyterlab"]
    assert started[0][-2:] == ["--no-browser", "--port=9999"]


def test_other_commands_take_no_options_that_they_do_not_know(capsys):
    with pytest.raises(SystemExit):
        cli.main(["workbook", "--no-browser"])
    assert "unrecognized arguments: --no-browser" in capsys.readouterr().err


def test_in_the_checkout_the_checkout_is_the_servers_root_and_elsewhere_the_workbook(tmp_path):
    inside = command.lab_command(ROOT / "workbook")
    assert f"--ServerApp.root_dir={ROOT}" in inside
    assert "--LabApp.default_url=/lab/tree/workbook/00_start_here.ipynb" in inside
    outside = command.lab_command(tmp_path / "my book")
    assert f"--ServerApp.root_dir={tmp_path / 'my book'}" in outside
    assert "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in outside
    assert "--LabApp.default_url=/lab/tree/my%20book/00_start_here.ipynb" in command.lab_command(ROOT / "my book")


@pytest.mark.parametrize("system", ["posix", "nt"])
def test_the_status_of_jupyterlab_is_the_commands(system):
    code = f"import sys; from course_lib.commands import workbook as command; command.os.name = {system!r}; "
    code += "sys.exit(command.open_lab([sys.executable, '-c', 'raise SystemExit(3)']))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 3


def test_the_record_of_what_was_passed_does_not_depend_on_the_notebooks_folder(bench, monkeypatch):
    monkeypatch.delenv("COURSE_PROGRESS", raising=False)
    here = record.path()
    monkeypatch.chdir(bench.book.folder)
    assert record.path() == here == ROOT / ".course_progress.json"


def test_an_answer_in_the_copy_is_checked_there_as_in_the_chapter(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    monkeypatch.chdir(tmp_path)
    assert check("00.2", find("00.2").reference_fn)
    assert check("00.2", lambda x, low, high: None).state == "not attempted"
