"""Break the engine in one place, run its own tests, and see them fail: are the tests worth anything?

Each mutant is applied in a copy of the library and its tests. The old text must occur exactly once, so that a mutant of
an engine that has changed is noticed and not silently dropped. The tests of the mutated module run first, then the
others, with ``-x``; a run that reaches a limit counts as killed: the mutant made something endless. The limit is one of
processor time, so that a busy machine kills no mutant.
"""

from __future__ import annotations

import os
import queue
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from course_lib.measure import Measurement
from course_lib.storage.files import ROOT

CPU_LIMIT_S, LIMIT_S = 180, 1200.0
"""Processor time and wall time of one run of pytest: all of the engine's tests take one minute on an idle core."""
_PYTEST = (
    "import resource, sys, pytest; resource.setrlimit(resource.RLIMIT_CPU, ({0}, {0})); "
    "sys.exit(pytest.main(sys.argv[1:]))"
)
AT_ONCE = 2
ENGINE, TESTS = Path("course_lib/exercises/engine"), Path("tests/exercises/engine")
TABLE = Path(__file__).with_name("mutants.txt")
TESTED_IN = {
    **dict.fromkeys(("attempt", "cases", "exercise", "proof", "display"), "judge"),
    **dict.fromkeys(("predict", "progress"), "record"),
    "insist": "alarm",
    "printed": "sandbox",
    "registry": "solution",
}
"""Modules without a test module of their own, and the one that runs first for them."""
COPIED = ("course_lib", "tests", "conftest.py", "pyproject.toml", "notebooks/text")


@dataclass(frozen=True)
class Mutant:
    """One change of one place.

    Args:
        name: what the engine then does, unique.
        file: of the engine, "compare.py".
        old: text that occurs once in it.
        new: text that takes its place.
    """

    name: str
    file: str
    old: str
    new: str


def apply(mutant: Mutant, root: Path) -> Callable[[], None]:
    """Change the file under ``root``; returns what puts it back. Raises: ValueError: the old text is not there once."""
    file = root / ENGINE / mutant.file
    text = file.read_text(encoding="utf-8")
    if (count := text.count(mutant.old)) != 1 or mutant.old == mutant.new:
        raise ValueError(f"mutant {mutant.name!r}: {mutant.old!r} occurs {count} times in {mutant.file}")
    file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    return lambda: file.write_text(text, encoding="utf-8") and None


def load(text: str | None = None) -> list[Mutant]:
    """The mutants of mutants.txt, or of a text in its form. Raises: ValueError: a block cannot be read."""
    text = TABLE.read_text(encoding="utf-8") if text is None else text
    found = []
    for block in text.split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith("#")]
        if not lines:
            continue
        file, _, name = lines[0].partition(": ")
        old, new = ("\n".join(line[2:] for line in lines[1:] if line.startswith(sign)) for sign in ("- ", "+ "))
        if not name or not old or any(line[:2] not in ("- ", "+ ") for line in lines[1:]):
            raise ValueError(f"this is no mutant: {block!r}")
        found.append(Mutant(name, file, old, new))
    return found


def check_table(mutants: Sequence[Mutant]) -> None:
    """Raises: ValueError: a name is taken twice, or an old text does not occur exactly once."""
    names = [mutant.name for mutant in mutants]
    if len(set(names)) < len(names):
        raise ValueError(f"two mutants share a name: {sorted(name for name in names if names.count(name) > 1)}")
    for mutant in mutants:
        text = (ROOT / ENGINE / mutant.file).read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            raise ValueError(f"mutant {mutant.name!r}: {mutant.old!r} occurs {text.count(mutant.old)} times")


def copy(root: Path) -> Path:
    """What the engine's tests need, copied into ``root``."""
    for name in COPIED:
        source, target = ROOT / name, root / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return root


def run_tests(root: Path, first: str, tests: Sequence[str] | None = None) -> tuple[bool, str]:
    """(killed, by what): the tests of the module ``first`` and then the others, in the copy ``root``."""
    own = TESTS / f"test_{TESTED_IN.get(Path(first).stem, Path(first).stem)}.py"
    others = sorted(path.relative_to(root) for path in (root / TESTS).glob("test_*.py") if path.name != own.name)
    own_ones = [own] if (root / own).exists() else []
    command = [
        sys.executable,
        "-c",
        _PYTEST.format(CPU_LIMIT_S),
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "--no-header",
        "--tb=no",
    ]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["COURSE_PROGRESS"] = "off"
    named = list(tests or [str(path) for path in [*own_ones, *others] if path.name != "test_benchmark.py"])
    process = subprocess.Popen(
        [*command, *named],
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.communicate()
        return True, "no end within the limit"
    failed = [line.removeprefix("FAILED ") for line in output.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return process.returncode != 0, (failed or [output.strip()[-200:]])[0]


def try_all(
    mutants: Sequence[Mutant], said: Callable[[str], None] = print, tests: Sequence[str] | None = None
) -> dict[str, bool]:
    """Whether each mutant was killed, by its name.

    Raises: ValueError: an old text does not occur exactly once, or the tests fail on the engine as it is.
    """
    roots = queue.SimpleQueue[Path]()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for number in range(AT_ONCE):
            roots.put(copy(Path(folder, str(number))))

        def one(mutant: Mutant | None) -> bool:
            root = roots.get()
            put_back = apply(mutant, root) if mutant else lambda: None
            try:
                killed, why = run_tests(root, mutant.file if mutant else "judge.py", tests)
            finally:
                put_back()
                roots.put(root)
            if mutant:
                said(f"{'killed' if killed else 'SURVIVED'}: {mutant.file}: {mutant.name}: {why[:120]}")
            elif killed:
                raise ValueError(f"the engine's tests fail without any mutant: {why}")
            return killed

        one(None)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            killed = list(pool.map(one, mutants))
    return {mutant.name: found for mutant, found in zip(mutants, killed, strict=True)}


def figures(killed: dict[str, bool]) -> dict[str, Measurement]:
    """mutants and mutants_killed; the survivors are named."""
    survivors = [name for name, found in killed.items() if not found]
    note = f"survived: {', '.join(survivors)}" if survivors else None
    meaning = "changes of one place in the engine after which a test of tests/exercises/engine fails or never ends"
    tried = "changes of one place in the engine's modules that were tried"
    count = len(killed)
    return {
        "mutants": Measurement(count, "", count, tried, target="≥ 40"),
        "mutants_killed": Measurement(count - len(survivors), "", count, meaning, target=f"≥ {count}", note=note),
    }
