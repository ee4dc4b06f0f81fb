"""What an error that ends a command means: one line with its mend, and the status that make and scripts look at."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
import torch

from course_lib import cli
from course_lib.commands.failures import explain
from course_lib.errors import CourseError
from course_lib.training import Recipe


def raised(work) -> BaseException:
    try:
        work()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def fail(error: BaseException):
    def work():
        raise error

    return work


OUT_OF_MEMORY = "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"
LACKING = AttributeError("module 'torch' has no attribute 'x'", name="x", obj=torch)


@pytest.mark.parametrize(
    ("error", "words", "status"),
    [
        (fail(CourseError("gone", path="x", mend="do this")), "x: gone. Mend: do this", 2),
        (lambda: Recipe(epochs=0), "epochs must be at least 1, got 0", 2),
        (lambda: Recipe(epochs="3"), "epochs must be a whole number, got '3'", 2),
        (fail(OSError(errno.ENOSPC, "No space left", "a/x")), "a/x: No space left. Mend: free some space", 2),
        (fail(OSError(errno.EACCES, "Permission denied", "a")), "Mend: use a place that you may", 2),
        (fail(OSError(errno.EMFILE, "Too many open files")), "ulimit -n", 2),
        (fail(ConnectionRefusedError(errno.ECONNREFUSED, "refused")), "Mend: check the network", 2),
        (fail(MemoryError()), "there is not enough memory", 2),
        (fail(RuntimeError(OUT_OF_MEMORY)), "there is not enough memory", 2),
        (fail(OSError(errno.ENOMEM, "Cannot allocate memory")), "there is not enough memory", 2),
        (lambda: np.empty(10**15), "there is not enough memory", 2),
        (fail(RuntimeError("can't start new thread")), "no more threads", 2),
        (fail(ModuleNotFoundError("No module named 'optuna'", name="optuna")), "optuna is missing or broken", 2),
        (fail(ModuleNotFoundError("no x", name="course_lib.x")), "own files are not complete", 2),
        (fail(LACKING), "torch is missing or broken", 2),
        (lambda: "\udcff".encode(), "cannot be written as utf-8", 2),
        (lambda: b"\xff".decode(), "a file is not utf-8 text", 2),
        (fail(KeyboardInterrupt("after 1 epoch")), "stopped. after 1 epoch", 130),
        (fail(KeyError("x")), "fault of the course, not yours (KeyError: 'x')", 70),
        (lambda: np.zeros(2) + np.zeros(3), "fault of the course, not yours (ValueError", 70),
        (fail(RecursionError("maximum recursion depth")), "fault of the course, not yours (RecursionError", 70),
    ],
)
def test_an_error_is_one_line_with_its_status(error, words, status, isolated_cache):
    failure = explain(raised(error))
    assert words in failure.line
    assert failure.status == status


def test_a_fault_of_the_course_keeps_its_traceback(isolated_cache):
    line = explain(raised(fail(KeyError("x")))).line
    assert "last_traceback.txt" in line
    assert "KeyError: 'x'" in (isolated_cache / "last_traceback.txt").read_text()


def test_where_no_traceback_can_be_kept_the_option_is_named(monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", "/proc/nowhere")
    line = explain(raised(fail(KeyError("x")))).line
    assert "last_traceback" not in line
    assert "--traceback" in line


def test_ctrl_c_that_a_compiled_module_turned_into_another_error_still_is_ctrl_c():
    def work():
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as stop:
            raise ImportError("initialization failed") from stop

    assert explain(raised(work)).status == 130


def test_a_library_that_says_what_it_lacks_in_its_own_words_is_traced_to_the_package():
    def work():
        try:
            raise ModuleNotFoundError("No module named 'onnx'", name="onnx")
        except ModuleNotFoundError as error:
            raise RuntimeError("Module onnx is not installed!") from error

    assert "onnx is missing or broken" in explain(raised(work)).line


def test_an_error_while_a_package_is_imported_names_it_whatever_its_type(tmp_path, monkeypatch):
    folder = tmp_path / "site-packages"
    (folder / "halfway").mkdir(parents=True)
    (folder / "halfway" / "__init__.py").write_text("raise ZeroDivisionError")
    monkeypatch.syspath_prepend(str(folder))
    assert "halfway is missing or broken" in explain(raised(lambda: __import__("halfway"))).line


def test_an_old_python_is_told_so(monkeypatch, capsys):
    monkeypatch.setattr(cli.sys, "version_info", (3, 9, 1))
    assert cli.main(["data"]) == 2
    assert "this is Python 3.9 and the course needs 3.11 or newer" in capsys.readouterr().err


def test_the_python_that_is_needed_is_pyprojects():
    from course_lib.environment.packages import required_python

    assert required_python() == ">=" + ".".join(map(str, cli.NEEDS_PYTHON))


def test_a_broken_pipe_that_is_not_the_output_s_is_told():
    failure = explain(raised(fail(BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)))))
    assert failure.line.startswith("Broken pipe. Mend: ")
