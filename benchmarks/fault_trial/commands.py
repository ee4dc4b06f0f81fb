"""The table of faults in front of the command line: arguments, files, streams, packages, limits, signals, processes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from course_lib.storage.cards import sealed
from course_lib.storage.files import CHECKPOINTS
from fault_trial.command import Case

ARGUMENT = r"usage: .*error: argument {}: "
NO_HOME = "the home folder of nosuchuser is not known"


def signs(count: int = 3, **changes: np.ndarray):
    """Writes signs.npz: ``count`` tracks of each class, with some arrays replaced."""

    def write(here: Path) -> None:
        labels = np.repeat(np.arange(43), count)
        images = np.random.default_rng(0).integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
        arrays = {"x": images, "y": labels, "track": np.tile(np.arange(count), 43).astype("U5"), **changes}
        np.savez(here / "signs.npz", **{name: value for name, value in arrays.items() if value is not None})

    return write


def file(name: str, content: bytes | str):
    """Writes a file of this content."""

    def write(here: Path) -> None:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return write


def package(name: str, content: str):
    """Puts a broken package before the real one."""
    return file(f"site-packages/{name}/__init__.py", content)


def card(**changes):
    """Copies a shipped network, with fields of its card replaced (None: removed), and sealed again."""

    def write(here: Path) -> None:
        told = json.loads((CHECKPOINTS / "final_rendered.json").read_text(encoding="utf-8")) | changes
        told = {name: value for name, value in told.items() if value is not None}
        (here / "net.json").write_text(json.dumps(sealed(told)), encoding="utf-8")
        (here / told.get("file", "x")).write_bytes((CHECKPOINTS / "final_rendered.safetensors").read_bytes())

    return write


def kit(**changes):
    """Writes a kit's manifest with fields replaced."""
    return file("kit/manifest.json", json.dumps({"format": 1, "course": "x", "data": "rendered", **changes}))


def arguments() -> Iterator[Case]:
    """What is typed wrongly is refused before anything is loaded."""
    for number in ("-3", "0", "100000", "1.5", "two", "", "١"):
        words = ARGUMENT.format("--threads")
        yield Case(
            f"threads {number!r}", f"{{course}} train teacher --threads '{number}'", words, quick=number in "-3 100000"
        )
    for number in ("0", "-1", "x", "1e3"):
        yield Case(f"sessions {number}", f"{{course}} bench --sessions '{number}'", ARGUMENT.format("--sessions"))
    for command in ("demo", "train", "bench", "kit build x"):
        yield Case(f"an empty --data of {command}", f"{{course}} {command} --data ''", ARGUMENT.format("--data"))
    yield Case("an empty data set", "{course} data ''", ARGUMENT.format("name"), quick=True)
    yield Case("an empty --out", "{course} demo --out ''", ARGUMENT.format("--out"))
    yield Case("no command", "{course}", "the following arguments are required")
    yield Case("an unknown command", "{course} nosuch", "invalid choice: 'nosuch'", quick=True)
    yield Case("an unknown option", "{course} data --nosuch", "unrecognized arguments")
    yield Case("an unknown network to train", "{course} train nobody", "invalid choice")
    yield Case(
        "a download of another set", "{course} data x.npz --download", "only gtsrb can be downloaded", quick=True
    )
    yield Case("a download of the default", "{course} data --download", "only gtsrb can be downloaded")
    yield Case("a download without a network", "{course} data gtsrb --download", "check the network and try again",
               variables={"COURSE_GTSRB_ROOT": "{here}/g", "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"})  # fmt: skip
    for command in ("data cifar", "demo --quick --data cifar", "train --data cifar", "bench --data cifar"):
        yield Case(
            f"unknown data: {command}", f"{{course}} {command}", "unknown data 'cifar'", quick=command == "data cifar"
        )
    yield Case("all tracks of rendered signs", "{course} train --all-tracks", "all_tracks is for real signs")
    yield Case(
        "no images to diff", "{course} diff student_rendered student_rendered --images 0", "images must be at least 1"
    )
    yield Case(
        "no images to check", "{course} export-c student_rendered x.c --check 0", "check must be at least 1", quick=True
    )
    for model in ("nobody", "here/nobody.json", "x.safetensors"):
        yield Case(
            f"export of {model}", f"{{course}} export-c {model} x.c", "no network .* is here|the file is missing"
        )
        yield Case(
            f"diff of {model}", f"{{course}} diff {model} student_rendered", "no network .* is here|the file is missing"
        )
    yield Case("a missing ONNX file", "{course} diff student_rendered x.onnx", "x.onnx: no such ONNX file")
    yield Case(
        "a broken ONNX file", "{course} diff student_rendered x.onnx", "x.onnx: not a", prepare=file("x.onnx", b"junk")
    )
    yield Case(
        "an empty ONNX file", "{course} diff student_rendered x.onnx", "x.onnx: not an? ", prepare=file("x.onnx", b"")
    )


def data_files() -> Iterator[Case]:
    """A data file that is none, or breaks its contract."""
    load = "{course} data signs.npz"
    wrong = {
        "none": (None, "signs.npz: no such file"),
        "empty": (file("signs.npz", b""), "signs.npz: not a readable .npz"),
        "text": (file("signs.npz", "text"), "signs.npz: not a readable .npz"),
        "cut short": (file("signs.npz", b"PK\x03\x04" + bytes(50)), "signs.npz: not a readable .npz"),
        "without tracks": (signs(track=None), "lacks .*track"),
        "with floats": (signs(x=np.zeros((129, 32, 32, 3))), "x is float64"),
        "channels first": (signs(x=np.zeros((129, 3, 32, 32), np.uint8)), "x is uint8"),
        "with class 43": (signs(y=np.full(129, 43)), "y has labels"),
        "with negative classes": (signs(y=np.full(129, -1)), "y has labels"),
        "with classes as text": (signs(y=np.full(129, "a")), "y is "),
        "with too few labels": (signs(y=np.arange(5)), "y is "),
        "of one track a class": (signs(1), "three tracks"),
        "of objects": (signs(track=np.array([None] * 129)), "not a readable .npz|track is"),
    }
    for name, (prepare, says) in wrong.items():
        yield Case(
            f"an .npz: {name}",
            load,
            says,
            prepare=prepare,
            quick=name in ("none", "text", "with class 43", "of objects"),
        )
    yield Case(
        "an .npz that is a folder", load, "signs.npz: no such file", prepare=lambda here: (here / "signs.npz").mkdir()
    )
    yield Case("an unknown user's .npz", "{course} data '~nosuchuser/x.npz'", NO_HOME, quick=True)
    for variable in ("COURSE_CACHE", "COURSE_GTSRB_ROOT"):
        yield Case(
            f"an unknown user's {variable}", "{course} data gtsrb", NO_HOME, variables={variable: "~nosuchuser/x"}
        )
    yield Case("a name that is no text", "{course} data $'\\xff.npz'", "no such file")
    yield Case(
        "COURSE_DATA names nothing",
        "{course} data",
        "nowhere.npz: no such file",
        variables={"COURSE_DATA": "nowhere.npz"},
    )
    yield Case("no GTSRB", "{course} data gtsrb", "not complete here", variables={"COURSE_GTSRB_ROOT": "{here}/none"})
    own = "trained on another split of the data.*course train teacher"
    for command in ("demo --quick", "demo", "bench", "train student", "kit build k"):
        says = "the file is missing|" + own
        yield Case(
            f"signs of one's own: {command}",
            f"{{course}} {command} --data signs.npz",
            says,
            prepare=signs(),
            quick=command == "demo",
        )


def cards() -> Iterator[Case]:
    """A card or its weights that are not what they should be."""
    export = "{course} export-c net.json x.c --check 1"
    shape = {"kind": "SignStudent", "num_classes": 43}
    wrong = {
        "no JSON": (file("net.json", "{"), "net.json: not a JSON file"),
        "a list": (file("net.json", "[]"), "net.json: not a card"),
        "without a seal": (file("net.json", "{}"), "lacks card_sha256"),
        "with NaN": (file("net.json", '{"card_sha256": "x", "a": NaN}'), "net.json: not a card"),
        "100,000 brackets": (file("net.json", "[" * 100_000), "net.json: not a JSON file"),
        "not UTF-8": (file("net.json", b"\xff\xfe{}"), "net.json: not a JSON file"),
        "without an architecture": (card(architecture=None), "it lacks 'architecture'"),
        "without a file": (card(file=None), "it lacks 'file'"),
        "of another kind": (card(architecture={**shape, "kind": "Other"}), "architecture must be one of"),
        "of 20,000 channels": (card(architecture={**shape, "channels": [20_000] * 5}), "do not fit the card"),
        "of a word": (card(architecture={**shape, "channels": "wide"}), "channels must be counts"),
        "of a thousand layers": (card(architecture={**shape, "channels": [1] * 1000}), "at most 100 entries"),
        "with a path as file": (card(file="../x"), "must be plain"),
        "with a wrong sum": (card(sha256="0" * 64), "the checksum differs"),
        "with no sum": (card(sha256=7), "64 hexadecimal digits"),
        "with a score as text": (card(validation_accuracy="high"), "validation_accuracy must be"),
        "with a score of 1.5": (card(validation_accuracy=1.5), "validation_accuracy must be"),
        "with a recipe as text": (card(recipe="x"), "recipe must be"),
        "with data as a number": (card(data=3), "data must be"),
        "with a fingerprint as a number": (card(data_fingerprint=3), "data_fingerprint must be"),
    }
    for name, (prepare, says) in wrong.items():
        quick = name in ("no JSON", "with NaN", "of 20,000 channels", "with a score of 1.5", "with a wrong sum")
        yield Case(f"a card: {name}", export, says, prepare=prepare, quick=quick)


def places() -> Iterator[Case]:
    """Where nothing can be written, it is said before the work."""
    blocked = file("blocked", "a file")
    for command in (
        "demo --quick --out blocked/x",
        "kit build blocked/x",
        "export-c student_rendered blocked/x.c --check 1",
    ):
        says = "blocked.*cannot write here|blocked.*a file is in the way"
        yield Case(
            f"a file in the way: {command}",
            f"{{course}} {command}",
            says,
            prepare=blocked,
            untouched=("blocked",),
            quick="export" in command,
        )
    yield Case(
        "a report over a folder",
        "{course} diff student_rendered student_rendered --images 8 --out .",
        "cannot write here|Is a directory",
        prepare=None,
    )
    yield Case("a missing folder for C", "{course} export-c student_rendered missing/x.c", "no such folder")
    yield Case(
        "a cache that is a file",
        "{course} train teacher",
        "cannot write here",
        prepare=blocked,
        variables={"COURSE_CACHE": "{here}/blocked"},
        quick=True,
    )
    yield Case(
        "a cache in /proc", "{course} train teacher", "cannot write here", variables={"COURSE_CACHE": "/proc/nowhere"}
    )
    limited = "ulimit -f 100; {course} "
    yield Case(
        "C code over the limit of a file",
        limited + "export-c student_rendered x.c --check 1",
        "cannot write here .File too large.",
    )
    yield Case(
        "exports over the limit of a file",
        limited + "demo --quick --out d",
        "cannot write here .File too large.",
        quick=True,
    )
    yield Case(
        "rendering over the limit of a file",
        limited + "data",
        "cannot write here .File too large.",
        variables={"COURSE_CACHE": "{here}/cache"},
    )
    yield Case(
        "a kit over other things",
        "{course} kit build kit",
        "holds other things than a kit",
        prepare=file("kit/thesis.txt", "mine"),
        untouched=("kit/thesis.txt",),
        quick=True,
    )


def kits() -> Iterator[Case]:
    """A kit or results that are none."""
    wrong = {
        "missing": (None, "manifest.json: the file is missing"),
        "no JSON": (file("kit/manifest.json", "{"), "not a JSON file"),
        "another format": (kit(format=9), "format 9"),
        "incomplete": (kit(), "not a kit's manifest"),
        "of text": (kit(models="x", inputs="y", files="z"), "not a kit's manifest"),
        "of a list": (file("kit/manifest.json", "[]"), "format None"),
    }
    for name, (prepare, says) in wrong.items():
        for command in ("predict nano", "run nobody@localhost", "import r.json"):
            yield Case(
                f"a kit {name}: {command}",
                f"{{course}} kit {command}",
                says,
                prepare=prepare,
                quick=(name, command) == ("of text", "predict nano"),
            )
    yield Case("an unknown board", "{course} kit predict x", "board must be one of")
    yield Case(
        "a kit's options cut short",
        "{course} kit run a@b --ssh '-o \"x'",
        "--ssh must be words as a shell reads them",
        quick=True,
    )


def streams() -> Iterator[Case]:
    """Where output cannot go, or not in these letters."""
    full = "the output cannot be written .No space left on device."
    for buffered in ("", "1"):
        variables = {"PYTHONUNBUFFERED": buffered}
        how = "unbuffered" if buffered else "buffered"
        yield Case(
            f"a full disk for the output, {how}",
            "{course} data >/dev/full",
            full,
            variables=variables,
            quick=not buffered,
        )
        yield Case(f"a full disk for the help, {how}", "{course} demo --help >/dev/full", full, variables=variables)
        for command in ("data", "demo --help", "doctor"):
            closed = f"{{course}} {command} | true; exit ${{{{PIPESTATUS[0]}}}}"
            yield Case(
                f"a closed pipe: {command}, {how}", closed, "^$", 141, variables=variables, quick=command == "data"
            )
    for encoding in ("ascii", "cp1252", "latin-1", "utf-8", "cp437", "koi8-r"):
        variables = {"PYTHONIOENCODING": encoding}
        yield Case(
            f"output in {encoding}", "{course} data", "28,896 images", 0, variables=variables, quick=encoding == "ascii"
        )
        yield Case(
            f"help in {encoding}", "{course} demo --help", "usage", 0, variables=variables, quick=encoding == "cp1252"
        )
    yield Case(
        "the C locale",
        "{course} data 標識.npz",
        "no such file",
        variables={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        quick=True,
    )
    yield Case("no stdout", "{course} data >&-", "^$", 0)
    yield Case("no stderr", "{course} data x.npz 2>&-", "^$")
    yield Case("a full disk for the error", "{course} data x.npz 2>/dev/full", "^$", quick=True)
    yield Case("no streams at all", "{course} data x.npz <&- >&- 2>&-", "^$")


def packages() -> Iterator[Case]:
    """A package that is missing or broken is named, with the doctor."""
    broken = {
        "raises": "raise RuntimeError('half an installation')",
        "is cut short": "x = (",
        "lacks all": "",
        "lacks a library": "raise OSError('libx.so: cannot open shared object file')",
        "needs another": "import no_such_package",
    }
    uses = {
        "numpy": "data",
        "torch": "data",
        "onnx": "demo --quick",
        "safetensors": "demo --quick",
        "matplotlib": "demo --quick",
        "onnxruntime": "demo --quick",
    }
    for (name, command), (how, content) in itertools.product(uses.items(), broken.items()):
        says = f"({'no_such_package' if how == 'needs another' else name}) is missing or broken here .*make doctor"
        quick = (name, how) in {
            ("numpy", "raises"),
            ("torch", "is cut short"),
            ("matplotlib", "lacks all"),
            ("onnx", "needs another"),
        }
        variables = {"PYTHONPATH": "{here}/site-packages:{root}"}
        yield Case(
            f"{name} {how}",
            f"{{course}} {command}",
            says,
            prepare=package(name, content),
            variables=variables,
            quick=quick,
        )
    for name in ("numpy", "torch"):
        variables = {"PYTHONPATH": "{here}/site-packages:{root}"}
        yield Case(
            f"the doctor where {name} raises",
            "{course} doctor",
            f"uninstall --yes {name}",
            1,
            prepare=package(name, broken["raises"]),
            variables=variables,
            quick=name == "numpy",
        )


def limits() -> Iterator[Case]:
    """Too little memory, too few files."""
    for megabytes in (150, 300, 450, 600, 800):
        says = "not enough memory|missing or broken here|no more threads|could not be found out"
        yield Case(
            f"{megabytes} MB of memory", f"ulimit -v {megabytes}000; {{course}} data", says, quick=megabytes == 600
        )
    yield Case(
        "three open files", "ulimit -n 4; {course} data x.npz", "Too many open files|no such file|missing or broken"
    )
    yield Case(
        "an error of the course's own",
        _PATCHED.format("raise KeyError(3)"),
        "fault of the course.*KeyError.*last_traceback.txt",
        70,
        variables={"COURSE_CACHE": "{here}/c"},
        quick=True,
    )
    yield Case(
        "an endless recursion",
        _PATCHED.format("f()"),
        "fault of the course.*RecursionError",
        70,
        variables={"COURSE_CACHE": "{here}/c"},
    )
    yield Case("no memory in the middle", _PATCHED.format("raise MemoryError"), "not enough memory")
    yield Case(
        "PyTorch without memory",
        _PATCHED.format('raise RuntimeError("DefaultCPUAllocator: not enough memory")'),
        "not enough memory",
    )
    yield Case(
        "no more threads",
        _PATCHED.format('raise RuntimeError("can\'t start new thread")'),
        "no more threads or processes",
    )
    yield Case(
        "a broken pipe to a program", _PATCHED.format('raise BrokenPipeError(32, "Broken pipe")'), "Broken pipe. Mend: "
    )
    yield Case(
        "Ctrl-C in the middle",
        _PATCHED.format('raise KeyboardInterrupt("after 1 of 2 epochs")'),
        "stopped. after 1 of 2 epochs",
        130,
    )
    for seconds in (0.02, 0.1, 0.3, 0.6, 1.0, 1.5, 2.5):
        yield Case(
            f"Ctrl-C after {seconds} s",
            f"timeout -s INT {seconds} {{course}} demo --out d; exit 9",
            "^$|stopped",
            9,
            quick=seconds in (0.3, 1.0),
        )


_PATCHED = (
    "{{python}} -c '\nfrom course_lib import cli, data\ndef f(*a, **k): return f(*a, **k)\n"
    'def broken(*a, **k):\n    {}\ndata.load = broken\nimport sys\nsys.exit(cli.main(["data"]))\''
)


def processes() -> Iterator[Case]:
    """torchrun's variables without torchrun, and peers that do not come."""
    for number in ("abc", "-2", "1.5", "٢"):
        yield Case(
            f"WORLD_SIZE={number}",
            "{course} train teacher",
            "WORLD_SIZE must be a number",
            variables={"WORLD_SIZE": number},
            quick=number == "abc",
        )
    yield Case(
        "WORLD_SIZE alone",
        "{course} train teacher",
        "cannot be joined.*unset WORLD_SIZE",
        variables={"WORLD_SIZE": "2"},
        quick=True,
    )
    alone = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29871"}
    waits = '{python} -c \'from course_lib.training import distributed; distributed.JOIN_S = 2.0; from course_lib import cli; import sys; sys.exit(cli.main(["train", "teacher"]))\''
    yield Case("peers that do not come", waits, "1 of 2 processes came|cannot be joined", variables=alone, quick=True)
    yield Case(
        "a main process that is not there",
        waits,
        "cannot be joined",
        variables={**alone, "RANK": "1", "MASTER_PORT": "29872"},
    )


CASES = tuple(
    itertools.chain(arguments(), data_files(), cards(), places(), kits(), streams(), packages(), limits(), processes())
)
