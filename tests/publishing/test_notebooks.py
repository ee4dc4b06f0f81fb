"""Every committed notebook equals its text twin and keeps the notebook contract; the pipeline that makes them works."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbconvert.exporters import HTMLExporter

from course_lib import exercises
from course_lib.publishing import notebooks as pipeline
from course_lib.publishing.contract import ALT, IMAGE, LEARNERS, contract_problems
from course_lib.publishing.execution import WIDGET_TEXT
from course_lib.storage.files import ROOT

TOY = """\
# %% [markdown]
# # A toy
# You will be able to test the pipeline. 1 min.

# %%
print(sum(range(5)))

# %% tags=["nbval-ignore-output"]
import sys, time, ipywidgets
from IPython.display import display
from tqdm.auto import tqdm
for _ in tqdm(range(3)):
    pass
print(time.perf_counter() > 0, file=sys.stderr)
display(ipywidgets.IntSlider())

# %%
png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGD4DwABBAEAX+XDSwAAAABJRU5ErkJggg=="
display({"text/html": f'<img alt="One black point." src="data:image/png;base64,{png}">'}, raw=True)

# %% [markdown]
# ## Pitfalls
#
# ## Recap
#
# ## References
"""


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> tuple[Path, Path]:
    """A toy twin and the notebook made of it."""
    folder = tmp_path_factory.mktemp("notebooks")
    (folder / "text").mkdir()
    (folder / "text" / "00_toy.py").write_text(TOY, encoding="utf-8")
    ((twin, path),) = pipeline.twins(["00"], folder)
    assert pipeline.make(twin, path) == []
    return twin, path


def edited(toy, old: str, new: str) -> list[str]:
    """The contract's problems after a change in the made notebook's JSON."""
    text = toy[1].read_text(encoding="utf-8")
    assert old in text
    return contract_problems(nbformat.reads(text.replace(old, new), as_version=4), len(text))


@pytest.mark.parametrize(("twin", "path"), pipeline.twins([]), ids=lambda value: value.stem)
def test_the_committed_notebook_is_its_twin_and_keeps_the_contract(twin, path):
    assert pipeline.check(twin, path) == []


def test_every_notebook_has_a_text_twin():
    made = {path.name for path in pipeline.NOTEBOOKS.glob("*.ipynb")}
    assert made <= {path.name for _, path in pipeline.twins([])}


def test_two_executions_give_the_same_bytes(toy):
    first = toy[1].read_bytes()
    assert pipeline.make(*toy) == []
    assert toy[1].read_bytes() == first


def test_outputs_hold_results_but_no_widget_state_progress_bar_or_stderr(toy):
    notebook = nbformat.read(toy[1], as_version=4)
    _, printed, widget, image, _ = notebook.cells
    assert printed.outputs[0].text == "10\n"
    assert [output.data for output in widget.outputs] == [{"text/plain": WIDGET_TEXT}]
    assert '<img alt="One black point." src="data:image' in image.outputs[0].data["text/html"]
    assert set(notebook.metadata) == {"course", "kernelspec", "language_info"}
    assert "model_id" not in toy[1].read_text(encoding="utf-8")


def test_changed_text_is_taken_over_without_executing(toy, tmp_path):
    twin, path = tmp_path / "00_toy.py", tmp_path / "00_toy.ipynb"
    path.write_bytes(toy[1].read_bytes())
    twin.write_text(TOY.replace("A toy", "Another toy"), encoding="utf-8")
    assert pipeline.take_over_text(twin, path) == []
    made, before = (nbformat.read(one, as_version=4).cells for one in (path, toy[1]))
    assert "Another toy" in made[0].source
    assert [cell.get("outputs") for cell in made] == [cell.get("outputs") for cell in before]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "sum(range(5))",
            "sum(range(6))",
            "not written: the code of cell 2 differs from the text twin; make notebooks",
        ),
        ("# %%\nprint", "# %%\nx = 1\n\n# %%\nprint", "not written: cells were added"),
    ],
)
def test_changed_code_is_not_taken_over(toy, tmp_path, old, new, problem):
    twin, path = tmp_path / "00_toy.py", tmp_path / "00_toy.ipynb"
    path.write_bytes(toy[1].read_bytes())
    assert old in TOY
    twin.write_text(TOY.replace(old, new), encoding="utf-8")
    (found,) = pipeline.take_over_text(twin, path)
    assert found.startswith(problem)
    assert path.read_bytes() == toy[1].read_bytes()


def test_a_new_cell_leaves_the_ids_of_all_others(toy, tmp_path):
    before = [cell.id for cell in pipeline.read_twin(toy[0]).cells]
    changed = tmp_path / "00_toy.py"
    changed.write_text(TOY.replace("# %%\nprint", "# %%\nx = 1\n\n# %%\nprint", 1), encoding="utf-8")
    after = [cell.id for cell in pipeline.read_twin(changed).cells]
    assert after[:1] + after[2:] == before


def test_equal_cells_get_different_ids(tmp_path):
    twin = tmp_path / "00_twice.py"
    twin.write_text("# %%\nx = 1\n\n# %%\nx = 1\n", encoding="utf-8")
    first, second = (cell.id for cell in pipeline.read_twin(twin).cells)
    assert first != second


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("sum(range(5))", "sum(range(6))", "cell 2 differs from the text twin"),
        ("nbval-ignore-output", "other-tag", "cell 3 differs from the text twin"),
        ("A toy", "A changed toy", "cell 1 differs from the text twin"),
    ],
)
def test_a_notebook_that_is_not_its_twin_is_named(toy, tmp_path, old, new, problem):
    path = tmp_path / "00_toy.ipynb"
    path.write_text(toy[1].read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert pipeline.check(toy[0], path)[0] == problem


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("nbval-ignore-output", "other", "cell 3 measures time but lacks the tag nbval-ignore-output"),
        ("nbval-ignore-output", "other", "cell 3 shows a widget but lacks the tag nbval-ignore-output"),
        ('<img alt=\\"One black point.\\"', '<img alt=\\" \\"', "cell 4 shows a picture without alt text"),
        ('<img alt=\\"One black point.\\"', "<img", "cell 4 shows a picture without alt text"),
        ('"text/html"', '"image/png"', "cell 4 shows an image/png, which JupyterLab shows without alt text"),
        ("print(sum(range(5)))", "claim(1)\\nprint(1)", "cell 2 never shows what line 1 returns"),
        ("print(sum(range(5)))", "print(1)  # noqa: E501", "cell 2 shows learners a mark for a program: # noqa"),
        ("print(sum(range(5)))", "x = 1" + " + 1" * 30, "cell 2 has more than 110 characters in line 1"),
        ("print(sum(range(5)))", "check(1)", "hint is not imported, and the boxes of its exercises name it"),
        ('"10\\n"', '"/root/secret\\n"', "cell 2 prints a path of this machine: /root/s…"),
        ("1 min.", "One day.", "the header does not state the minutes"),
        ('"widget": true', '"widget": false', "no cell shows a widget"),
        ("## Recap", "## Summary", "the last sections are ['Pitfalls', 'Summary', 'References']"),
        ("print(sum(range(5)))", "x = 1\\n" * 26, "cell 2 has 26 lines, more than 25"),
        ('"execution_count": 1,', '"execution_count": null,', "the code cells were not executed once each"),
        ('"name": "stdout"', '"name": "stderr"', "cell 2 has kept an output on stderr"),
    ],
)
def test_a_breach_of_the_contract_is_named(toy, old, new, problem):
    assert any(found.startswith(problem) for found in edited(toy, old, new))


def test_a_chapter_with_exercises_imports_what_their_boxes_name(toy):
    names = ", ".join(LEARNERS)
    assert set(LEARNERS) <= set(exercises.__all__)
    lines = f"from course_lib.exercises import {names}\\ncheck(1)"
    assert edited(toy, "print(sum(range(5)))", lines) == []


@pytest.mark.parametrize("path", sorted(pipeline.NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_the_exported_page_has_a_text_for_every_picture(path):
    notebook = nbformat.read(path, as_version=4)
    # Only what shows a picture: colouring the code of a chapter takes seconds.
    notebook.cells = [
        cell for cell in notebook.cells if "<img" in str(cell.get("outputs", "")) or "image/" in str(cell)
    ]
    pictures = IMAGE.findall(HTMLExporter(template_name="lab").from_notebook_node(notebook)[0])
    assert len(pictures) >= len(notebook.cells) > 0
    assert [picture[:200] for picture in pictures if not ALT.search(picture) or "No description" in picture] == []


@pytest.mark.parametrize("twin", [twin for twin, _ in pipeline.twins([])], ids=lambda twin: twin.stem)
def test_every_name_of_the_library_on_a_page_exists(twin):
    # An execution would say so too, after minutes.
    tree = ast.parse(twin.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "course_lib" in node.module]
    names = {alias.asname or alias.name: (node.module, alias.name) for node in imports for alias in node.names}
    assert names
    found = {name: member(module, original) for name, (module, original) in names.items()}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = found.get(node.value.id)
            if isinstance(module, ModuleType):
                assert member(module.__name__, node.attr) is not None, f"line {node.lineno}: {ast.unparse(node)}"


def member(module: str, name: str):
    """``from module import name``: an attribute or a submodule."""
    loaded = importlib.import_module(module)
    return getattr(loaded, name) if hasattr(loaded, name) else importlib.import_module(f"{module}.{name}")


def test_imports_that_no_cell_uses_are_those_for_the_learner():
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F401", "--output-format", "json"]
    found = subprocess.run([*command, "notebooks/text"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    names = {re.search(r"`([\w.]+)`", fault["message"])[1] for fault in json.loads(found)}
    assert names <= {f"course_lib.exercises.{name}" for name in LEARNERS}


def test_a_large_notebook_is_named(toy):
    notebook = nbformat.read(toy[1], as_version=4)
    assert contract_problems(notebook, 600_001) == ["the file has 600001 bytes, more than 600000"]


@pytest.mark.parametrize(
    ("code", "message"),
    [("1 / 0", "ZeroDivisionError"), ("import sys; print('oops', file=sys.stderr)", "writes to stderr: 'oops'")],
)
def test_a_failing_cell_writes_no_notebook(tmp_path, code, message):
    twin, path = tmp_path / "00_bad.py", tmp_path / "00_bad.ipynb"
    twin.write_text(f"# %%\n{code}\n", encoding="utf-8")
    (problem,) = pipeline.make(twin, path)
    assert problem.startswith("not written: ")
    assert message in problem
    assert not path.exists()


def test_a_notebook_that_was_never_made_is_named(toy, tmp_path):
    assert pipeline.check(toy[0], tmp_path / "00_toy.ipynb") == ["was never made"]


def test_a_name_that_fits_no_twin_is_refused():
    with pytest.raises(SystemExit, match="no text twin in notebooks/text starts with 99"):
        pipeline.main(["99"])
