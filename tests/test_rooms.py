"""The library's house: imports go down through its rooms, none runs in a circle, no module or function is too long."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from course_lib.storage.files import ROOT

LIBRARY = ROOT / "course_lib"
# The lowest first; rooms in one line are neighbours, which use each other's public names only, and in no circle.
FLOORS = (
    ("errors",),
    ("arguments",),
    ("storage",),
    ("data",),
    ("models",),
    ("evaluation",),
    ("measure",),
    ("training",),
    ("deploy", "distillation", "fusion", "pruning", "quantization"),
    ("experiments",),
    ("plots",),
    ("widgets",),
    ("exercises",),
    ("environment",),
    ("workbook",),
    ("publishing",),
    ("commands",),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
TOPICS = next(rooms for rooms in FLOORS if "pruning" in rooms)
RUNTIMES = {"onnxruntime", "onnx", "openvino", "tensorrt", "executorch", "ai_edge_litert"}
LINES, FUNCTION_LINES, TOP_MODULES = 300, 40, 3
ONE_FILE = {"course_lib.deploy.edge.device.edge_bench"}  # is copied to a board and run there: it can import nothing


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(module, names) of every import, also inside functions and under TYPE_CHECKING."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, tuple(alias.name for alias in node.names)


def arrows(root: Path) -> dict[str, set[str]]:
    """Module -> the library's modules that it imports, a package for what its __init__ gives."""
    files = {module_name(path, root): path for path in sorted(root.rglob("*.py"))}
    found: dict[str, set[str]] = {}
    for name, path in files.items():
        found[name] = set()
        for module, names in imported(ast.parse(path.read_text(encoding="utf-8"))):
            if module.split(".")[0] == root.name:
                deeper = {f"{module}.{n}" for n in names if f"{module}.{n}" in files}
                found[name] |= deeper or {module}
                if len(deeper) < len(names):
                    found[name].add(module)
    return found


def room(module: str) -> str:
    return [*module.split("."), ""][1]


def upward(found: dict[str, set[str]]) -> list[str]:
    """Arrows to a higher room, and those into another topic's inner modules."""
    wrong = []
    for module, targets in found.items():
        for target in sorted(targets):
            here, there = room(module), room(target)
            if not here or not there or here == there:  # the package itself; within a room
                continue
            if FLOOR[there] > FLOOR[here]:
                wrong.append(f"{module} → {target} runs upwards")
            elif here in TOPICS and there in TOPICS and target.count(".") > (2 if there == "deploy" else 1):
                wrong.append(f"{module} → {target} reaches into another topic")
    return wrong


def circles(found: dict[str, set[str]]) -> list[list[str]]:
    """Every group of modules that import one another in a ring (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    rings: list[list[str]] = []

    def visit(module: str) -> None:
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in found.get(module, ()):
            if target == module or target not in found:
                continue
            if target not in index:
                visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], index[target])
        if low[module] == index[module]:
            ring = list(itertools.takewhile(lambda m: m != module, reversed(stack)))
            del stack[len(stack) - len(ring) - 1 :]
            if ring:
                rings.append(sorted([module, *ring]))

    for module in found:
        if module not in index:
            visit(module)
    return rings


def too_long(root: Path) -> list[str]:
    wrong = []
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        count = len(text.splitlines())
        if count > LINES and module_name(path, root) not in ONE_FILE:
            wrong.append(f"{module_name(path, root)} has {count} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    wrong.append(f"{module_name(path, root)}.{node.name} has {length} lines")
    return wrong


FOUND = arrows(LIBRARY)


def test_every_room_has_its_floor():
    assert {room(module) for module in FOUND} - {""} == set(FLOOR)


def test_at_most_three_modules_stand_at_the_top():
    assert len(list(LIBRARY.glob("*.py"))) <= TOP_MODULES


def test_no_arrow_runs_upwards():
    assert upward(FOUND) == []


def test_no_imports_run_in_a_circle():
    assert circles(FOUND) == []


def test_no_module_and_no_function_is_too_long():
    assert too_long(LIBRARY) == []


@pytest.mark.parametrize("path", sorted((LIBRARY / "measure").rglob("*.py")), ids=lambda path: path.stem)
def test_measure_knows_no_runtime(path):
    modules = {module.split(".")[0] for module, _ in imported(ast.parse(path.read_text(encoding="utf-8")))}
    assert not modules & RUNTIMES


def test_tests_mirror_the_rooms():
    rooms = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.rglob("test_*.py"))}
    assert rooms <= {path.name for path in LIBRARY.iterdir() if path.is_dir()} | {"benchmarks"}


@pytest.fixture
def house(tmp_path):
    """A small library: write(module, text) adds a module."""
    root = tmp_path / "course_lib"

    def write(module: str, text: str) -> Path:
        path = root.joinpath(*module.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return root

    return write


def test_an_arrow_upwards_is_named_also_inside_a_function_and_for_types_only(house):
    house("data.dataset", "def load():\n    from course_lib.training.loop import fit\n    return fit\n")
    house("training.loop", "from course_lib.data.dataset import load\n")
    root = house("models.signs", "if TYPE_CHECKING:\n    from course_lib import plots\n")
    house("plots.style", "x = 1\n")
    root.joinpath("plots", "__init__.py").write_text("")
    assert upward(arrows(root)) == [
        "course_lib.data.dataset → course_lib.training.loop runs upwards",
        "course_lib.models.signs → course_lib.plots runs upwards",
    ]
    assert circles(arrows(root)) == [["course_lib.data.dataset", "course_lib.training.loop"]]


def test_a_topic_uses_another_only_through_its_public_names(house):
    house("pruning.channels", "from course_lib.distillation.losses import label_loss\n")
    root = house("quantization.aware", "from course_lib.distillation import label_loss\n")
    house("distillation.losses", "def label_loss(): ...\n")
    root.joinpath("distillation", "__init__.py").write_text("from course_lib.distillation.losses import label_loss\n")
    (problem,) = upward(arrows(root))
    assert problem == "course_lib.pruning.channels → course_lib.distillation.losses reaches into another topic"


def test_a_long_function_and_a_long_module_are_named(house):
    root = house("data.long", "def f():\n" + "    x = 1\n" * 40 + "y = 1\n" * 260)
    assert too_long(root) == ["course_lib.data.long has 301 lines", "course_lib.data.long.f has 41 lines"]
