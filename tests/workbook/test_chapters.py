"""The workbook as a folder: first use, update, status, reset, broken and renamed files, others who write meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from workbook_trial import edits

from course_lib.errors import CourseError
from course_lib.publishing.links import dead_links
from course_lib.storage.files import ROOT
from course_lib.workbook import Workbook, chapters, place, places, reset, status, update
from course_lib.workbook.notebook import dump, parse

STUB, END = 4, 5
ANSWER = 'def price(p, q):\n    return mine\n\n\ncheck("04.1", price)'
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_a_second_update_changes_no_byte_and_no_time(bench):
    files = [path for path in bench.book.folder.rglob("*.*") if path.is_file()]
    before = [(path, path.stat().st_mtime_ns, path.read_bytes()) for path in files]
    assert update(book=bench.book) == []
    assert [(path, path.stat().st_mtime_ns, path.read_bytes()) for path in files] == before


def test_status_says_how_each_copy_stands_and_changes_nothing(bench):
    def stands() -> tuple[str, str]:
        (found,) = status(book=bench.book)
        return found.what, str(found)

    assert stands() == ("current", "04_chapter: up to date, 0 cells of yours")
    bench.type(bench.sources()[STUB], ANSWER)
    assert stands() == ("current", "04_chapter: up to date, 1 cell of yours")
    bench.author(bench.sources()[END], "another")
    content = bench.path.read_bytes()
    assert stands()[0] == "behind"
    assert stands()[1].startswith("04_chapter: the chapter has changed, 1 cell of yours; course workbook brings")
    bench.path.write_bytes(b"{")
    assert stands()[1].startswith("04_chapter: your copy is not JSON")
    bench.path.unlink()
    assert stands() == ("missing", "04_chapter: no copy yet; course workbook makes it")
    bench.path.write_bytes(content)
    (bench.book.notebooks / "04_chapter.ipynb").write_bytes(b"<<<<<<< HEAD")
    assert stands()[0] == "unread"


def test_a_broken_chapter_leaves_the_copy_alone_and_does_not_stop_the_others(bench):
    other = {**bench.chapter, "cells": [{**bench.chapter["cells"][0], "source": "# 05"}]}
    (bench.book.notebooks / "05_other.ipynb").write_bytes(dump(edits.published(other)))
    (bench.book.notebooks / "04_chapter.ipynb").write_bytes(b"<<<<<<< HEAD")
    content = bench.path.read_bytes()
    broken, made = update(book=bench.book)
    assert (broken.what, made.what) == ("unread", "made")
    assert "the chapter is not JSON" in str(broken)
    assert "git checkout -- " in str(broken)
    assert bench.path.read_bytes() == content


def test_a_reset_keeps_the_old_copy_each_time_under_another_name(bench):
    bench.type(bench.sources()[STUB], ANSWER)
    mine = bench.path.read_bytes()
    assert "the old copy is" in str(reset("4", book=bench.book))
    assert bench.copy()["cells"] == parse(dump(bench.chapter))["cells"]
    bench.type(bench.sources()[STUB], ANSWER + "  # again")
    reset("04", book=bench.book)
    first, second = sorted(bench.book.kept.glob("04_chapter.reset-*.ipynb"), key=lambda path: len(path.name))
    assert first.read_bytes() == mine
    assert "# again" in second.read_text(encoding="utf-8")


@pytest.mark.parametrize("how", ["reset", "renamed"])
def test_a_link_is_followed_and_never_the_file_behind_it_removed(bench, tmp_path, how):
    bench.type(bench.sources()[STUB], ANSWER)
    elsewhere = bench.path.rename(tmp_path / "elsewhere.ipynb")
    bench.path.symlink_to(elsewhere)
    mine = elsewhere.read_bytes()
    if how == "reset":
        reset("04", book=bench.book)
        assert bench.path.is_symlink()
        assert parse(elsewhere.read_bytes())["cells"] == parse(dump(bench.chapter))["cells"]
    else:
        (bench.book.notebooks / "04_chapter.ipynb").rename(bench.book.notebooks / "04_new_name.ipynb")
        update(book=bench.book)
        assert not bench.path.is_symlink()
        assert elsewhere.read_bytes() == mine
    (kept,) = bench.book.kept.iterdir()
    assert kept.name.startswith(f"04_chapter.{how}-")
    assert kept.read_bytes() == mine


def test_the_same_bytes_are_kept_once_and_others_beside_them(bench):
    first = bench.book.keep("04_chapter", "broken", b"one")
    assert bench.book.keep("04_chapter", "broken", b"one") == first
    assert bench.book.keep("04_chapter", "broken", b"two") != first
    assert len(list(bench.book.kept.iterdir())) == 2


def test_without_base_and_ids_an_answer_still_takes_its_exercises_place(bench):
    expected = [*bench.sources()[:STUB], ANSWER, bench.sources()[END]]
    bench.type(bench.sources()[STUB], ANSWER)
    notebook = bench.copy()
    notebook["metadata"].pop("course")
    for cell in notebook["cells"]:
        del cell["id"]
    bench.path.write_text(json.dumps(notebook), encoding="utf-8")
    shutil.rmtree(bench.book.bases)
    bench.update()
    assert bench.sources() == expected


def test_a_reset_names_one_chapter_or_the_ones_there_are(bench):
    with pytest.raises(ValueError, match=r"chapter must be one of 04_chapter, got '07'"):
        reset("07", book=bench.book)
    shutil.copy(bench.book.notebooks / "04_chapter.ipynb", bench.book.notebooks / "04_chapters.ipynb")
    with pytest.raises(ValueError, match="one chapter, got '04', which names 04_chapter, 04_chapters"):
        reset("04", book=bench.book)


def test_a_copy_put_back_from_the_kept_ones_is_brought_up_to_date_from_its_own_base(bench):
    bench.type(bench.sources()[STUB], ANSWER)
    reset("04", book=bench.book)
    old = bench.sources()[END]
    bench.author(old, "## Recap\n\nAnother.")
    update(book=bench.book)
    (kept,) = bench.book.kept.iterdir()
    shutil.copy(kept, bench.path)
    assert bench.update().what == "updated"
    assert bench.sources()[STUB:] == [ANSWER, "## Recap\n\nAnother."]


def test_the_copy_before_the_last_update_is_kept_with_its_outputs(bench):
    bench.type(bench.sources()[2], "numbers = [7]")
    mine = bench.path.read_bytes()
    bench.author(bench.chapter["cells"][2]["source"], "numbers = [8]")
    bench.update()
    assert bench.book.before("04_chapter").read_bytes() == mine


def test_only_the_newest_bases_stay_and_a_copy_of_an_older_one_is_updated_without(bench):
    bench.type(bench.sources()[STUB], ANSWER)
    oldest = bench.path.read_bytes()
    for number in range(6):
        bench.author(bench.chapter["cells"][END]["source"], f"## Recap {number}")
        bench.update()
    assert len(list(bench.book.bases.iterdir())) == 4
    bench.path.write_bytes(oldest)
    bench.update()
    assert bench.sources()[STUB:] == [ANSWER, "## Recap 5"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"\0" * 5000, "not JSON"),
        (b"[1, 2]", "no list of cells"),
        (b'{"cells": [], "nbformat": 3, "nbformat_minor": 0}', "a notebook of format 3"),
        (b'{"cells": [{"cell_type": "code"}], "nbformat": 4}', "cell 1 lacks a kind or a source"),
        (b'{"cells": [{"cell_type": "code", "source": ""}], "nbformat": 4}', "a notebook with nothing in it"),
        (b'{"cells": [], "nbformat": 4, "metadata": []}', "metadata are no dict"),
        (b"[" * 100_000, "not JSON"),
    ],
    ids=["empty", "zeros", "a list", "nbformat 3", "half a cell", "blank", "metadata", "deep"],
)
def test_a_file_that_is_no_notebook_is_kept_and_a_new_copy_made(bench, content, reason):
    bench.path.write_bytes(content)
    change = bench.update()
    assert (change.what, reason in str(change)) == ("rescued", True)
    (kept,) = bench.book.kept.glob("04_chapter.broken-*.ipynb")
    assert kept.read_bytes() == content
    assert bench.sources() == bench.sources(bench.chapter)


def test_a_program_saved_over_the_copy_gives_its_answers_back(bench):
    bench.path.write_text(f"import torch\n\n{ANSWER}\n\ndef own():\n    pass\n", encoding="utf-8")
    assert "1 cells were read from it" in str(bench.update())
    assert bench.sources()[-1].endswith("def price(p, q):\n    return mine")


def test_a_copy_that_cannot_be_read_is_left_alone(bench):
    bench.path.unlink()
    bench.path.mkdir()
    (change,) = update(book=bench.book)
    assert (change.what, "it cannot be read (Is a directory)" in str(change)) == ("unread", True)
    assert bench.path.is_dir()
    with pytest.raises(CourseError, match=r"cannot be read or written \(Is a directory\)"):
        reset("04", book=bench.book)


def test_a_chapter_with_another_name_takes_the_cells_over_and_the_old_copy_aside(bench):
    bench.type(bench.sources()[STUB], ANSWER)
    (bench.book.notebooks / "04_chapter.ipynb").rename(bench.book.notebooks / "04_new_name.ipynb")
    (change,) = update(book=bench.book)
    assert change.what == "renamed"
    assert ANSWER in bench.sources(parse(bench.book.copy("04_new_name").read_bytes()))
    assert not bench.path.exists()
    (kept,) = bench.book.kept.glob("04_chapter.renamed-*.ipynb")
    assert ANSWER in bench.sources(parse(kept.read_bytes()))


def test_a_copy_without_a_chapter_stays_and_status_names_it(bench):
    bench.type(bench.sources()[STUB], ANSWER)
    mine = bench.path.read_bytes()
    (bench.book.notebooks / "04_chapter.ipynb").rename(bench.book.notebooks / "07_other.ipynb")
    update(book=bench.book)
    assert bench.path.read_bytes() == mine
    assert [(one.chapter, one.what) for one in status(book=bench.book)] == [
        ("07_other", "current"),
        ("04_chapter", "orphan"),
    ]


def test_a_broken_copy_under_the_old_name_stays_and_the_new_one_is_made(bench):
    bench.path.write_bytes(b"{")
    (bench.book.notebooks / "04_chapter.ipynb").rename(bench.book.notebooks / "04_new_name.ipynb")
    (change,) = update(book=bench.book)
    assert (change.what, bench.path.read_bytes()) == ("made", b"{")


def test_other_files_in_the_folders_are_nobodys_chapters(bench):
    for folder in (bench.book.folder, bench.book.notebooks):
        for name in ("Untitled.ipynb", "04_chapter-Copy1.ipynb", "notes.md"):
            (folder / name).write_text("mine", encoding="utf-8")
    assert update(book=bench.book) == []
    assert [one.chapter for one in status(book=bench.book)] == ["04_chapter"]
    assert (bench.book.folder / "04_chapter-Copy1.ipynb").read_text(encoding="utf-8") == "mine"


def test_an_answer_typed_into_the_chapter_itself_comes_into_an_untouched_copy_and_stays(bench):
    path = bench.book.notebooks / "04_chapter.ipynb"
    typed = parse(path.read_bytes())
    typed["cells"][STUB]["source"] = ANSWER
    typed["cells"].append(edits.new_cell("markdown", "my note"))
    path.write_bytes(dump(typed))
    update(book=bench.book)
    assert bench.sources()[STUB:] == [ANSWER, bench.chapter["cells"][END]["source"], "my note"]
    bench.publish()  # git checkout -- notebooks
    end = bench.chapter["cells"][END]["source"]
    bench.author(end, f"{end} Or not.")
    update(book=bench.book)
    assert bench.sources()[STUB:] == [ANSWER, f"{end} Or not.", "my note"]


def test_an_answer_in_the_copy_is_not_touched_by_one_in_the_chapter_itself(bench):
    bench.type(bench.sources()[STUB], ANSWER)
    path = bench.book.notebooks / "04_chapter.ipynb"
    typed = parse(path.read_bytes())
    typed["cells"][STUB]["source"] = "something else"
    path.write_bytes(dump(typed))
    update(book=bench.book)
    assert bench.sources()[STUB] == ANSWER
    assert bench.sources(parse(path.read_bytes()))[STUB] == "something else"


def test_a_save_during_the_update_is_carried_over_too(bench, monkeypatch):
    bench.author(bench.sources()[END], "another")
    merge, saved = chapters.merge, []

    def slow_merge(*arguments):
        if len(saved) < 2:
            saved.append(f"{ANSWER}  # {len(saved)}")
            bench.type(bench.sources()[STUB], saved[-1])
        return merge(*arguments)

    monkeypatch.setattr(chapters, "merge", slow_merge)
    assert bench.update().what == "updated"
    assert bench.sources()[STUB:] == [saved[1], "another"]


def test_a_copy_that_is_saved_all_the_time_is_left_alone(bench, monkeypatch):
    bench.author(bench.sources()[END], "another")
    merge, saved = chapters.merge, []

    def slow_merge(*arguments):
        saved.append(f"{ANSWER}  # {len(saved)}")
        bench.type(bench.sources()[STUB], saved[-1])
        return merge(*arguments)

    monkeypatch.setattr(chapters, "merge", slow_merge)
    change = bench.update()
    assert (change.what, "close it and run course workbook again" in str(change)) == ("unread", True)
    assert bench.sources()[STUB] == saved[-1]


def test_what_jupyterlab_saves_over_the_new_copy_is_carried_over_by_the_next_update(bench):
    bench.type(bench.sources()[STUB], ANSWER)
    held = bench.path.read_bytes()
    bench.chapter["cells"].insert(1, {"cell_type": "markdown", "metadata": {}, "source": "A new idea."})
    bench.author(bench.sources()[END], "## Recap\n\nAnother.")
    bench.update()
    bench.path.write_bytes(held)
    assert bench.update().what == "updated"
    assert [bench.sources()[1], *bench.sources()[STUB + 1 :]] == ["A new idea.", ANSWER, "## Recap\n\nAnother."]


WORKER = """
import sys
from pathlib import Path
from course_lib.workbook import Workbook, update
for change in update(book=Workbook(Path(sys.argv[1]), Path(sys.argv[2]))):
    print(change.what)
"""


def test_of_two_updates_at_once_one_does_the_work_and_the_other_finds_it_done(bench):
    bench.type(bench.sources()[STUB], ANSWER)
    bench.author(bench.sources()[END], "another")
    command = [sys.executable, "-c", WORKER, str(bench.book.folder), str(bench.book.notebooks)]
    with places.locks.held(bench.book.folder / ".course" / "lock", 1, "busy"):
        both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        time.sleep(0.5)
        assert [process.poll() for process in both] == [None, None]
    assert sorted(process.communicate()[0] for process in both) == ["", "updated\n"]
    assert bench.sources()[STUB:] == [ANSWER, "another"]


def test_a_command_that_waits_too_long_says_what_to_do(bench, monkeypatch):
    monkeypatch.setattr(places, "PATIENCE_S", 0.05)
    bench.author(bench.sources()[END], "another")
    with (
        places.locks.held(bench.book.folder / ".course" / "lock", 1, "busy"),
        pytest.raises(CourseError, match=r"another command has been changing .* Mend: run the command again when"),
    ):
        update(book=bench.book)


def test_where_nobody_may_write_current_copies_are_enough_and_others_name_the_setting(bench, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert update(book=bench.book) == []
    bench.author(bench.sources()[END], "another")
    with pytest.raises(CourseError, match=r"cannot write here .* another folder: export COURSE_WORKBOOK="):
        update(book=bench.book)


def test_the_setting_moves_the_workbook(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_WORKBOOK", raising=False)
    assert place() == ROOT / "workbook"
    monkeypatch.setenv("COURSE_WORKBOOK", "~/mine")
    assert place() == Path.home() / "mine"
    monkeypatch.setenv("COURSE_WORKBOOK", str(tmp_path))
    assert [change.what for change in update(["00"])] == ["made"]
    assert (tmp_path / "00_start_here.ipynb").exists()


def test_git_ignores_the_workbook_and_every_link_of_a_copy_works_there(tmp_path):
    assert "/workbook/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    root = tmp_path / "course"
    root.mkdir()
    for name in ("docs", "benchmarks", "notebooks", "README.md", "CONTRIBUTING.md", "datasets", "course_lib"):
        (root / name).symlink_to(ROOT / name)
    book = Workbook(root / "workbook")
    assert len(update(book=book)) == len(CHAPTERS)
    for name in book.names():
        copy = book.copy(name)
        links = [problem for problem in dead_links(copy, root) if "leads out of the course" not in problem]
        assert links == [], name
