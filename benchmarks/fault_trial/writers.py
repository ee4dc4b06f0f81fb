"""The table of the course's writers: each with a way to read back what it wrote.

``SWEPT`` names, for every function of the library that writes, the writer here whose sweep breaks it; ``ELSEWHERE``
those that no sweep can reach, with the reason. A test compares both with what the library's source holds.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import dataclasses
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from course_lib.data import SignDataset
from course_lib.distillation import open_table, teacher_table
from course_lib.errors import CourseError
from course_lib.measure import Measurement, load_result, record
from course_lib.models import SignStudent, checkpoints
from course_lib.storage.arrays import write_npy, write_npz
from course_lib.storage.cache import cached, problem
from course_lib.storage.files import ROOT, atomic_path, read_json, write_json
from course_lib.training import CrossEntropy, Recipe, make_optimizer
from course_lib.training.optimizer import make_scheduler
from course_lib.training.state import Run
from fault_trial.sweep import Writer

SIGNS = SignDataset(np.arange(2 * 3 * 16 * 16, dtype=np.uint8).reshape(2, 3, 16, 16), np.array([0, 1]), num_classes=3)
RECIPE = Recipe(epochs=1, augmentation=None)


def student(which: int) -> SignStudent:
    """A network of three classes whose last layer tells which one it is."""
    torch.manual_seed(which)
    return SignStudent(num_classes=3, channels=(4, 4, 4, 4, 4 * which)).eval()


def write_file(folder, which):
    write_json(folder / "x.json", {"which": which})


def read_file(folder):
    return read_json(folder / "x.json", mend="")["which"] if (folder / "x.json").exists() else None


def write_entry(folder, which):
    def build(part):
        write_npy(part / "a.npy", np.full((50, 10), which))
        write_npz(part / "b.npz", {"which": np.array(which)})

    cached("kind", "x", {"v": 1}, ("a.npy", "b.npz"), build, needed_bytes=1, root=folder, afresh=which == 2)


def read_entry(folder):
    entries = list((folder / "kind").glob("x_*"))
    if not entries or problem(entries[0], {"v": 1}, ("a.npy", "b.npz")) is not None:
        return None
    values = set(np.load(entries[0] / "a.npy").ravel().tolist()) | {int(np.load(entries[0] / "b.npz")["which"])}
    return values.pop() if len(values) == 1 else "a mixture"


def write_checkpoint(folder, which):
    checkpoints.save(student(which), "x", {"which": which}, folder=folder)


def read_checkpoint(folder):
    if not checkpoints.exists("x", folder=folder):
        return None
    model, card = checkpoints.load("x", folder=folder)
    return card["which"] if model.channels[-1] == 4 * card["which"] else "a mixture"


def write_table(folder, which):
    teacher_table(student(1), SIGNS, RECIPE, folder=folder, progress=False)
    if which == 1:  # one teacher has one table, so what is replaced is a broken one
        (path,) = (folder / "logits").glob("*/logits.npy")
        path.write_bytes(b"broken")


def read_table(folder):
    for entry in (folder / "logits").glob("1_views_*"):
        with contextlib.suppress(CourseError):
            open_table(entry, student(1), SIGNS, RECIPE)
            return 2
    return None


def _run(which):
    model = student(which)
    optimizer = make_optimizer(model, RECIPE)
    return Run(model, SIGNS, SIGNS, RECIPE, CrossEntropy(), optimizer, make_scheduler(optimizer, RECIPE, 1), modes=[])


def write_state(folder, which):
    run = _run(which)
    run.save(folder / "x.pt", run.identity())


def read_state(folder):
    if not (folder / "x.pt").exists():
        return None
    for which in (1, 2):
        with contextlib.suppress(CourseError):
            run = _run(which)
            run.resume_(folder / "x.pt", run.identity())
            return which
    return "a mixture"


def write_record(folder, which):
    figure = Measurement(which, "×", 1, "one number")
    record("x", "a command", {"which": figure}, seeds=[0], folder=folder)


def read_record(folder):
    return int(load_result("x", folder)["figures"]["which"].value) if (folder / "x.json").exists() else None


def write_progress(folder, which):
    """The learner's record: a note says what could not be kept."""
    from course_lib.exercises.engine import record as progress

    with _variable("COURSE_PROGRESS", str(folder / "progress.json")):
        return progress.change(lambda content: content.update(which=which, passed={}), "not kept")


def read_progress(folder):
    from course_lib.exercises.engine import record as progress

    with _variable("COURSE_PROGRESS", str(folder / "progress.json")):
        return progress.read()[0].get("which")


@contextlib.contextmanager
def _variable(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def write_early(folder, which):
    from course_lib.pruning import EarlyWeights

    EarlyWeights(student(which), 1, folder / "early.pt")({"epoch": 0})


def read_early(folder):
    from course_lib.pruning import EarlyWeights

    if not (folder / "early.pt").exists():
        return None
    return len(EarlyWeights(student(1), 1, folder / "early.pt").state()["classifier.weight"][0]) // 4


def write_traceback(folder, which):
    from course_lib.commands.failures import keep_traceback

    with _variable("COURSE_CACHE", str(folder)):
        return "" if keep_traceback(ValueError(f"number {which}")) else "not kept"


def read_traceback(folder):
    path = folder / "last_traceback.txt"
    return int(path.read_text().split()[-1]) if path.exists() else None


def write_picture(folder, which):
    from matplotlib.figure import Figure

    with atomic_path(folder / "x.png") as part:
        Figure(figsize=(which, 1)).savefig(part, format="png", dpi=10)


def read_picture(folder):
    from PIL import Image

    if not (folder / "x.png").exists():
        return None
    with Image.open(folder / "x.png") as picture:
        picture.load()
        return picture.size[0] // 10


def write_notebook(folder, which):
    import nbformat

    from course_lib.publishing.notebooks import write

    page = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(f"{which}", id="x")])
    write(page, folder / "x.ipynb")


def read_notebook(folder):
    import nbformat

    path = folder / "x.ipynb"
    return int(nbformat.read(path, as_version=4).cells[0].source) if path.exists() else None


def write_converted(folder, which):
    from course_lib.deploy.runtimes.files import converted
    from course_lib.deploy.runtimes.loaded import Request

    converted(b"%d" % which, dataclasses.replace(_request(Request), keep=folder / "x.bin"))


def _request(kind):
    fields = {field.name: None for field in dataclasses.fields(kind)}
    return kind(**fields)


def read_converted(folder):
    return int((folder / "x.bin").read_bytes()) if (folder / "x.bin").exists() else None


@functools.cache
def _exported_file(which: int) -> Path:
    """Made once, before any fault: what is quantized or packed is not what is written."""
    from course_lib.deploy.onnx import export_onnx

    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return export_onnx(student(which), folder / "x.onnx", input_shape=(1, 3, 16, 16))


def _exported(which: int) -> bytes:
    return _exported_file(which).read_bytes()


def write_onnx(folder, which):
    from course_lib.deploy.onnx import export_onnx

    export_onnx(student(which), folder / "x.onnx", input_shape=(1, 3, 16, 16))


def write_short_names(folder, which):
    from course_lib.deploy.onnx.names import shorten_names

    with atomic_path(folder / "x.onnx") as part:
        part.write_bytes(_exported(which))
    shorten_names(folder / "x.onnx")


def write_model(folder, which):
    import onnx

    from course_lib.quantization.qdq_nodes import save

    save(onnx.load_from_string(_exported(which)), folder / "x.onnx")


def write_quantized(folder, which):
    from course_lib.quantization.post_training import quantize_static_int8

    images = np.random.default_rng(0).random((8, 3, 16, 16), np.float32)
    quantize_static_int8(_exported_file(which), folder / "x.onnx", images)


def read_onnx(folder):
    """Which network's last layer the file holds."""
    from course_lib.deploy.onnx.reading import read_model

    if not (folder / "x.onnx").exists():
        return None
    model = read_model(folder / "x.onnx")
    sizes = {4: 1, 8: 2}
    return next((sizes[size] for t in model.graph.initializer if list(t.dims)[:1] == [3] for size in t.dims[1:2]), None)


def write_kit(folder, which):
    from course_lib.deploy.edge.kit import OnnxNetwork, build_kit

    network = OnnxNetwork("teacher", "the teacher", _exported_file(which), "fp32", ("onnxruntime",))
    build_kit(folder / "kit", [network], None, np.full((which, 3, 16, 16), which, np.uint8), data="rendered")


def read_kit(folder):
    from course_lib.deploy.edge.kit_files import read_kit as read

    return read(folder / "kit").manifest.images if (folder / "kit").exists() else None


NOTHING = frozenset({None, 1, 2})  # removed, and not yet replaced
WRITERS = (
    Writer("a file", write_file, read_file),
    Writer("an entry of the cache", write_entry, read_entry, NOTHING),
    Writer("a checkpoint", write_checkpoint, read_checkpoint),
    Writer("a teacher's table", write_table, read_table, frozenset({None, 2})),
    Writer("a training's state", write_state, read_state),
    Writer("a record of figures", write_record, read_record),
    Writer("the learner's progress", write_progress, read_progress, notes=True),
    Writer("early weights", write_early, read_early),
    Writer("a traceback", write_traceback, read_traceback, notes=True),
    Writer("a picture", write_picture, read_picture),
    Writer("a notebook", write_notebook, read_notebook),
    Writer("a converted network", write_converted, read_converted),
    Writer("an ONNX file", write_onnx, read_onnx, slow=True),
    Writer("short names", write_short_names, read_onnx),
    Writer("a QDQ file", write_model, read_onnx),
    Writer("an INT8 file", write_quantized, read_onnx, slow=True),
    Writer("a kit", write_kit, read_kit, NOTHING, slow=True),
)

SWEPT = {
    "storage.files:atomic_path": "a file",
    "storage.files:write_json": "a file",
    "storage.cards:main": "a file",
    "measure.ledger:Ledger.save": "a file",
    "measure.records:record": "a record of figures",
    "measure.records:add_figures": "a record of figures",
    "experiments.main_job_record:measure_sessions": "a file",
    "experiments.c_export:export_c": "a file",
    "quantization.doctor.report:Report.save": "a file",
    "deploy.edge.remote:_work": "a converted network",
    "storage.arrays:write_npy": "an entry of the cache",
    "storage.arrays:write_npz": "an entry of the cache",
    "storage.cache:_build": "an entry of the cache",
    "storage.cache:_renamed": "an entry of the cache",
    "storage.cache:_move_away": "an entry of the cache",
    "data.gtsrb:_decoded": "an entry of the cache",
    "data.rendered.renderer:_load_split": "an entry of the cache",
    "measure.without_dot_products:_library": "an entry of the cache",
    "pruning.sensitivities:cached_sensitivity": "an entry of the cache",
    "pruning.sensitivities:cached_sensitivity.build": "an entry of the cache",
    "storage.cards:replace_pair": "a checkpoint",
    "storage.cards:_finish": "a checkpoint",
    "models.checkpoints:save": "a checkpoint",
    "distillation.teacher_logits:teacher_table": "a teacher's table",
    "models.saving:save_state": "a training's state",
    "exercises.engine.record:change": "the learner's progress",
    "exercises.engine.record:_content": "the learner's progress",
    "storage.locks:held": "the learner's progress",
    "commands.failures:keep_traceback": "a traceback",
    "commands.main_job:demo": "a picture",
    "publishing.readme:write": "a picture",
    "publishing.notebooks:write": "a notebook",
    "deploy.runtimes.files:converted": "a converted network",
    "deploy.onnx.export:export_onnx": "an ONNX file",
    "deploy.onnx.names:shorten_names": "short names",
    "quantization.qdq_nodes:save": "a QDQ file",
    "quantization.post_training:quantize_static_int8": "an INT8 file",
    "deploy.edge.kit:_copy_text": "a kit",
    "deploy.edge.kit:_fill": "a kit",
    "deploy.edge.kit:_replace": "a kit",
    "deploy.edge.manifest:write_manifest": "a kit",
}
_WORKBOOK = "broken at each event by tests/workbook/test_faults.py"
_TEMPORARY, _BOARD = "into a temporary folder, or memory", "runs on a board, and has tests of its own there"
ELSEWHERE = {
    "workbook.base:save": _WORKBOOK,
    "workbook.places:Workbook.keep": _WORKBOOK,
    "workbook.places:write": _WORKBOOK,
    "deploy.edge.kit:_c_files": "as a kit's other files; compiled networks take a compiler",
    "deploy.edge.emulation:prepare_board": "a lock of the tests' own",
    "deploy.edge.old_python:prepare_python36": "a lock of the tests' own",
    "measure.claim:_log": "appends a line for whoever makes the pages",
    "deploy.runtimes.files:weights_bytes": _TEMPORARY,
    "experiments.file_times:time_ratios": _TEMPORARY,
    "experiments.quantization_faults:operator_in_float": _TEMPORARY,
    "experiments.quantization_faults:padding_with_code_0": _TEMPORARY,
    "plots.style:CourseFigure.png": _TEMPORARY,
    "quantization.integer.c_program:_compiled": _TEMPORARY,
    **dict.fromkeys((f"deploy.edge.device.board_agent:{name}" for name in ("put", "start", "run", "write")), _BOARD),
    **dict.fromkeys(
        (f"deploy.edge.device.edge_bench:{name}" for name in ("say", "Rows.__init__", "Rows.add", "save")), _BOARD
    ),
}
_COURSE = {"atomic_path", "write_json", "cached", "replace_pair", "write_text", "write_bytes", "savefig"}
_OTHERS = {"os.replace", "os.rename", "torch.save", "np.save", "np.savez", "onnx.save"}
_OTHERS |= {f"shutil.{name}" for name in ("copy", "copy2", "copyfile", "copytree", "move")}


def writing_functions(library: Path = ROOT / "course_lib") -> set[str]:
    """Every function of the library whose source writes a file, as "module:function"; exercises' answers left out."""
    found: set[str] = set()
    for path in sorted(library.rglob("*.py")):
        if not any(part.startswith("chapter_") for part in path.parts):
            module = ".".join(path.relative_to(library).with_suffix("").parts)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= {f"{module}:{name}" for name in _writers_in(tree, ())}
    return found


def _writers_in(node: ast.AST, within: tuple[str, ...]) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.FunctionDef | ast.ClassDef)
        if isinstance(child, ast.Call) and _writes(child):
            yield ".".join(within)
        yield from _writers_in(child, (*within, child.name) if named else within)


def _writes(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    if last == "open":
        modes = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        return any(len(mode) <= 3 and set(mode) & set("wax") for mode in modes)
    return last in _COURSE or name in _OTHERS
