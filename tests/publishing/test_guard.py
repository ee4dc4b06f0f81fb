"""A page is written only if other processors print the same: the guard catches what nbval would, and names the cell."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from course_lib.publishing import notebooks as pipeline
from course_lib.publishing.execution import differences, execute
from course_lib.publishing.settings import AUTHOR, TEST
from course_lib.storage.files import ROOT

HEAD = "# %% [markdown]\n# # A toy\n# 1 min.\n"
# Stands for a processor: what it prints depends on the setting on every machine, also where all kernels round alike.
KERNELS = 'import os\nkernels = os.environ.get("ATEN_CPU_CAPABILITY", "best")'
ROUNDING = """
import torch
torch.manual_seed(0)
a, b = torch.rand(200, 333), torch.rand(333, 150)
error = ((a @ b).double() - a.double() @ b.double()).abs().max().item()
"""
# One cell each: (code, does nbval compare what differs in it?).
CELLS = {
    "stdout": ("print('same')\nprint(kernels)", True),
    "result": ("kernels", True),
    "html": ("display({'text/html': f'<b>{kernels}</b>'}, raw=True)", True),
    "a figure's bytes": (
        "import base64\n"
        "picture = base64.b64encode(kernels.encode()).decode()\n"
        "display({'text/html': f'<img alt=\"same\" src=\"data:image/png;base64,{picture}\">'}, raw=True)",
        False,
    ),
    "a figure's alt text": (
        "display({'text/html': f'<img alt=\"{kernels}\" src=\"data:image/png;base64,UE5H\">'}, raw=True)",
        True,
    ),
    "svg": ("display({'image/svg+xml': f'<svg><text>{kernels}</text></svg>'}, raw=True)", True),
    "png": ("import base64\ndisplay({'image/png': base64.b64encode(kernels.encode()).decode()}, raw=True)", False),
    "metadata": ("display({'text/plain': 'same'}, raw=True, metadata={'text/plain': {'alt': kernels}})", False),
    "number of outputs": (
        "for name in (kernels if kernels == 'best' else 'x'):\n    display({'text/plain': 'same'}, raw=True)",
        True,
    ),
    "first piece of a stream": ("print(kernels)\ndisplay({'text/plain': 'same'}, raw=True)\nprint('b')", True),
    "last piece of a stream": ("print('a')\ndisplay({'text/plain': 'same'}, raw=True)\nprint(kernels)", True),
    "nothing": ("print('same')\ndisplay({'text/plain': 'same'}, raw=True)", False),
}


@pytest.fixture
def toy(tmp_path):
    """toy(code, …): a twin of these cells (with the tag, if a code begins so), and the notebook's path."""

    def write(*codes: str):
        (tmp_path / "text").mkdir(exist_ok=True)
        twin = tmp_path / "text" / "00_toy.py"
        cells = [code if code.startswith(" tags=") else f"\n{code}" for code in codes]
        twin.write_text(HEAD + "".join(f"\n# %%{cell}\n" for cell in cells), encoding="utf-8")
        return twin, tmp_path / "00_toy.ipynb"

    return write


def test_a_digit_that_depends_on_the_processor_keeps_the_page_from_being_written(toy):
    twin, path = toy(ROUNDING, 'print(f"largest error {error:.1e}")', KERNELS, "print('fine')\nprint(kernels)")
    path.write_text("as it was", encoding="utf-8")
    problems = pipeline.make(twin, path)
    assert path.read_text(encoding="utf-8") == "as it was"
    planted = (
        "not written: cell 5 (\"print('fine')\" …) depends on the processor: its stdout is 'best' under best-1 and "
    )
    assert planted + "'default' under plainest-1" in problems
    assert all(problem.startswith("not written: cell ") for problem in problems)
    # The rounding error itself: MKL's plainest products round differently on every x86-64 processor.
    if not any("cell 3" in problem for problem in problems):
        pytest.skip("matrix products round alike under all settings of this machine")
    assert any(re.search(r"cell 3 .* is 'largest error \d\.\de-05' under best-1 and 'largest", p) for p in problems)


def test_a_bound_and_a_tagged_cell_pass_and_the_page_says_under_which_settings(toy):
    twin, path = toy(KERNELS, "print('below 10:', len(kernels) < 10)", ' tags=["nbval-ignore-output"]\nprint(kernels)')
    problems = pipeline.make(twin, path)
    assert not any("not written" in problem or "compared" in problem for problem in problems)
    notebook = nbformat.read(path, as_version=4)
    assert notebook.metadata.course.printed_alike_under == ["best-1", "avx2-2", "plainest-1"]
    assert pipeline.not_compared(notebook) == []


def test_a_page_made_under_one_setting_is_no_page(toy):
    twin, path = toy("print(1)")
    problems = pipeline.make(twin, path, settings=[AUTHOR])
    assert "its outputs were never compared under avx2-2, plainest-1: make notebooks" in problems


def test_a_draft_leaves_the_notebook_unwritten(toy, tmp_path):
    twin, path = toy("print(1)")
    pipeline.draft(twin, path, tmp_path / "drafts")
    assert not path.exists()
    assert (tmp_path / "drafts" / path.name).exists()


def test_a_claim_that_fails_on_another_processor_writes_no_page_and_names_the_setting(toy):
    twin, path = toy(KERNELS, "assert kernels != 'default'")
    (problem,) = pipeline.make(twin, path)
    assert problem.startswith("not written: under plainest-1: ")
    assert "AssertionError" in problem
    assert not path.exists()


def test_the_learners_own_data_and_progress_do_not_reach_the_page(toy, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", "gtsrb")
    monkeypatch.delenv("COURSE_PROGRESS", raising=False)
    code = "import os\nprint(os.environ.get('COURSE_DATA'), os.environ.get('COURSE_PROGRESS'))"
    notebook = execute(pipeline.read_twin(toy(code)[0]), toy(code)[1].parent)
    assert notebook.cells[1].outputs[0].text == "None off\n"


def test_the_guard_stumbles_where_nbval_does_and_nowhere_else(toy):
    twin, path = toy(KERNELS, *(code for code, _ in CELLS.values()), ' tags=["nbval-ignore-output"]\nprint(kernels)')
    page, other = (execute(pipeline.read_twin(twin), path.parent, setting) for setting in (AUTHOR, TEST))
    found = {int(re.match(r"cell (\d+)", text)[1]) for text in differences(page, other, AUTHOR, TEST)}
    # The head and the cell with KERNELS stand before them.
    assert {name for number, name in enumerate(CELLS, 3) if number in found} == {
        n for n, (_, seen) in CELLS.items() if seen
    }
    pipeline.write(page, path)
    shutil.copy(ROOT / "conftest.py", path.parent)
    (path.parent / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "nbval_sanitize.cfg", path.parent / "tests")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--nbval", "--nbval-current-env", "-rf", "-q"]
    environment = TEST.environment(os.environ) | {"NO_COLOR": "1"}
    report = subprocess.run(
        [*command, f"--rootdir={path.parent}", str(path)],
        env=environment,
        cwd=path.parent,
        capture_output=True,
        text=True,
    ).stdout
    # nbval counts code cells from 0, and the head is none.
    assert {int(number) + 2 for number in re.findall(r"^FAILED .*::Cell (\d+)", report, re.MULTILINE)} == found


def test_two_executions_under_one_setting_do_not_differ(toy):
    twin, path = toy(KERNELS, "print(kernels)")
    first, second = (execute(pipeline.read_twin(twin), path.parent, TEST) for _ in range(2))
    assert differences(first, second, TEST, TEST) == []
