"""What the library says of itself: a line for each field of a dataclass, an example for each function that counts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from course_lib.storage.files import ROOT

LIBRARY = ROOT / "course_lib"
# Rooms whose functions compute. The others draw, judge, print, or read and write files.
COMPUTING = (
    "data",
    "models",
    "evaluation",
    "measure",
    "training",
    "distillation",
    "pruning",
    "quantization",
    "fusion",
    "deploy",
)
NUMBERS = re.compile(r"\b(int|float|complex|Tensor|ndarray|Estimate|Calibration|LayerCount|RooflinePoint)\b")
# Functions that give numbers and cannot show one: they time or weigh this machine, read files, or take minutes.
WITHOUT = {
    "measure.machine": {"process_memory_bytes", "peak_memory_bytes"},
    "deploy.onnx.counts": {"deployable_bytes"},
    "deploy.onnx.profile": {"layer_times_ms", "node_times_ms"},
    "deploy.onnx.session": {"run_session"},
    "quantization.integer.c_program": {"run_program"},
    "deploy.edge.device.edge_bench": {"peak_memory_kb", "children_memory_kb"},
}
# Steps of the renderer: they hand pictures to one another, and ``render_split`` stands for them all.
STEPS = {"data.rendered.scene", "data.rendered.camera", "data.rendered.templates"}


def modules(rooms: tuple[str, ...] | None = None) -> list[Path]:
    paths = sorted(LIBRARY.rglob("*.py"))
    return [path for path in paths if rooms is None or path.relative_to(LIBRARY).parts[0] in rooms]


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(LIBRARY).with_suffix("").parts)


def is_record(node: ast.ClassDef) -> bool:
    """A dataclass or a NamedTuple."""
    decorated = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    return decorated or "NamedTuple" in map(ast.unparse, node.bases)


def undocumented_fields(text: str) -> Iterator[str]:
    """Class.field of each field without a line "field: …" in the docstring or a comment on its own line."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.ClassDef) or not is_record(node):
            continue
        told = ast.get_docstring(node) or ""
        for part in node.body:
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                field = part.target.id
                line = lines[part.lineno - 1] + lines[(part.end_lineno or part.lineno) - 1]
                if not (field.startswith("_") or re.search(rf"^\s*{field}: \S", told, re.MULTILINE) or "  # " in line):
                    yield f"{node.name}.{field}"


def without_example(text: str) -> Iterator[str]:
    """Public functions that return numbers and show none."""
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.returns is not None:
            returns = ast.unparse(node.returns)
            if NUMBERS.search(returns) and ">>>" not in (ast.get_docstring(node) or ""):
                yield node.name


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_every_field_of_a_dataclass_has_its_line(path):
    assert list(undocumented_fields(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize("path", [p for p in modules(COMPUTING) if name_of(p) not in STEPS], ids=name_of)
def test_every_function_that_gives_numbers_shows_an_example(path):
    found = set(without_example(path.read_text(encoding="utf-8")))
    assert found - WITHOUT.get(name_of(path), set()) == set()


def test_an_undocumented_field_and_a_function_without_example_are_named():
    text = '''
@dataclass
class Point:
    """A point.

    Args:
        x: to the right, m.
    """

    x: float
    y: float
    z: float = 0.0  # up, m

def doubled(x: float) -> float:
    """2·x"""
'''
    assert list(undocumented_fields(text)) == ["Point.y"]
    assert list(without_example(text)) == ["doubled"]
