"""README's generated parts: the recorded figures, the main job's ledger and picture, and the chapter table.

A number in README must be one that a run has measured, so nobody types it. README holds pairs of marks,

    <!-- figures -->
    …
    <!-- /figures -->

and everything between them is written by ``scripts/readme.py`` from ``benchmarks/results``, from the
text twins of the notebooks and from the exercises. ``problems`` says where README differs from those files; a test asks
it. The picture carries the digest of the figures it was drawn from, since two versions of matplotlib draw two
different files of the same numbers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from course_lib.errors import CourseError
from course_lib.exercises.engine.registry import chapter as exercises_of
from course_lib.exercises.engine.registry import chapters as chapters_with_exercises
from course_lib.measure import Measurement, has_dot_product, load_result, load_results, quantity, three_digits
from course_lib.measure.tables import markdown_table
from course_lib.measure.without_dot_products import HIDDEN_WORDS
from course_lib.publishing.curriculum import PARTS, Page, written
from course_lib.publishing.deployment_table import fusion_table, kit_line, runtimes_table
from course_lib.publishing.few_bits_table import doctor_line, post_training_table, training_table
from course_lib.publishing.numbers import DATA, capital, number_text, shortfall
from course_lib.publishing.official import official_table
from course_lib.publishing.peers_table import calibration_line, peers_table
from course_lib.publishing.pruning_table import pruning_table
from course_lib.publishing.quantization_table import integer_table, quantization_table
from course_lib.storage.files import RESULTS, ROOT, atomic_path

README, PICTURE = ROOT / "README.md", ROOT / "docs" / "figures" / "journey.png"
ROWS = {
    "teacher_accuracy": "teacher, accuracy",
    "final_accuracy": "final network, accuracy",
    "accuracy_drop_points": "points lost",
    "size_ratio": "times smaller",
}
SPEEDS = {
    "latency_ratio": "back to back: the network alone, call after call",
    "latency_ratio_single": "in turn: single calls, other networks between",
    "latency_ratio_30_hz": "30 a second: a camera, asleep between",
}
KINDS = {False: "no 8-bit dot products", True: "8-bit dot products (VNNI and the like)"}
Results = Mapping[str, Mapping[str, Any]]


def recorded_journeys(folder: str | Path = RESULTS) -> dict[str, dict[str, Any]]:
    """Data key → the recorded main job of one processor; of one kind for all sets if there is such a kind.

    Times of two kinds of processor (with and without 8-bit dot products) must not stand side by side. Of two kinds that
    every set has, the one without; otherwise the one that more sets have. A processor whose dot products were hidden
    stands for another one in ``speeds_table``, and is taken here only where a set has nothing else.

    Raises: CourseError: there is none, or one is broken.
    """
    journeys = {
        key: [r for r in results if HIDDEN_WORDS not in r["machine"]["cpu"]] or results
        for key, results in _all_journeys(folder).items()
    }
    having = {kind: sum(any(_kind(r) is kind for r in results) for results in journeys.values()) for kind in KINDS}
    usual = max(KINDS, key=lambda kind: having[kind])  # of equals the first: without
    return {key: min(results, key=lambda r: _kind(r) is not usual) for key, results in journeys.items()}


def _all_journeys(folder: str | Path) -> dict[str, list[dict[str, Any]]]:
    """Data key → what each processor recorded. Raises: CourseError: nothing was."""
    found = {key: load_results(f"journey_{key}", folder) for key in DATA}
    if not any(found.values()):
        raise CourseError("no recorded main job here", path=folder, mend="make bench NAME=journey")
    return {key: results for key, results in found.items() if results}


def _kind(result: Mapping[str, Any]) -> bool:
    """Whether the processor that recorded this has 8-bit dot products."""
    return has_dot_product(result["machine"].get("isa", ()))


def speeds_table(folder: str | Path = RESULTS) -> str:
    """How many times faster the final network is, by cadence, data set and kind of processor, as Markdown."""
    columns = {
        (key, kind): next((r for r in results if _kind(r) is kind), None)
        for key, results in _all_journeys(folder).items()
        for kind in KINDS
    }
    header = ["times faster, teacher FP32 / final INT8", *(f"{DATA[key]}, {KINDS[kind]}" for key, kind in columns)]
    rows = []
    for name, words in SPEEDS.items():
        pairs = [(words, name), (f"A/A {words.partition(':')[0]}: the teacher over itself", f"{name}_aa")]
        for label, figure in pairs:
            cells = ["not measured here" if r is None else _speed(r["figures"][figure]) for r in columns.values()]
            rows.append([label, *cells])
    ran = dict.fromkeys(
        f"{r['machine'].get('cpu', 'unknown CPU')}, {r['date']}, {r['ledger']['sessions']} sessions"
        for r in columns.values()
        if r
    )
    note = (
        "Batch 1, one thread, ONNX Runtime, one call a sample; brackets: 95 % intervals over sessions (fresh "
        f"processes). {'; '.join(ran)}."
    )
    return "\n".join([markdown_table(header, rows), "", note])


def figures_table(results: Results) -> str:
    """The figures of the main job but the speeds, one column a data set, with intervals and targets, as Markdown."""
    header = ["", *(DATA[key] for key in results), "target"]
    rows = []
    for name, words in ROWS.items():
        figures = [result["figures"][name] for result in results.values()]
        rows.append([words, *map(_value, figures), figures[0].target or ""])
    notes = [
        f"{capital(DATA[key])}: {r['figures']['final_accuracy'].n:,} test images; `{r['command']}`, {r['date']}, "
        f"{r['machine'].get('cpu', 'unknown CPU')}."
        for key, r in results.items()
    ]
    return "\n".join(
        [
            markdown_table(header, rows),
            "",
            "Brackets: 95 % intervals. Missed: the value does not reach the target; not established: its interval does "
            "not. " + " ".join(notes),
        ]
    )


def ledger_table(results: Results) -> str:
    """Every network with its size, and accuracy, change and speed on each data set side by side, as Markdown."""
    header = ["network"]
    for key in results:
        short = key if key == "rendered" else "real"
        first, *_ = paces = _paces(results[key])
        header += [f"{short}: accuracy, %", "points", "size", "× smaller", f"ms, {first}"]
        header += [f"× faster, {pace}" for pace in paces]
    ledgers = {key: {row["name"]: row for row in result["ledger"]["rows"]} for key, result in results.items()}
    names = list(dict.fromkeys(name for rows in ledgers.values() for name in rows))
    cells = [
        [name, *(c for key, rows in ledgers.items() for c in _cells(rows.get(name), len(_paces(results[key]))))]
        for name in names
    ]
    captions = [
        f"- {capital(DATA[key])}: {result['ledger']['caption'].removeprefix(f'{key}: ')}"
        for key, result in results.items()
    ]
    return "\n".join([markdown_table(header, cells), "", *captions])


def distillation_table(folder: str | Path = RESULTS) -> str:
    """What distillation adds to the student alone, one row a data set and regime, as Markdown.

    Raises: CourseError: a recorded file is missing or broken.
    """
    header = ["", "labels", "student alone", "distilled", "gain, points", "trainings"]
    rows = []
    for key, words in DATA.items():
        figures = load_result(f"distillation_{key}", folder)["figures"]
        for regime, suffix, labels in (("full", "", "all"), ("ten_percent", "_tenth", "of a tenth of the signs")):
            gain = figures[f"gain_points_{regime}"]
            accuracies = [f"{figures[f'{arm}{suffix}_accuracy'].value:.2f} %" for arm in ("alone", "soft_targets")]
            rows.append([words, labels, *accuracies, _value(gain), f"2 × {gain.n}"])
    return markdown_table(header, rows)


def chapter_table(pages: tuple[Page, ...]) -> str:
    """The written chapters with question, promise, minutes and exercises; then what is planned, as Markdown."""
    header = ["chapter", "question", "you can then …", "minutes", "exercises"]
    counts = {number: len(exercises_of(number)[1]) for number in chapters_with_exercises()}
    rows = []
    for page in pages:
        link = f"[{page.chapter.number} {page.title}](notebooks/{page.chapter.name}.ipynb)"
        count = str(counts.get(page.chapter.number, 0))
        rows.append([link, page.chapter.question, page.promise, str(page.minutes), count])
    there, planned = {page.chapter.number for page in pages}, []
    for part, chapters in PARTS.items():
        missing = [f"{c.number} {c.topic.replace('_', ' ')}" for c in chapters if c.number not in there]
        planned += [f"{part}: {', '.join(missing)}"] if missing else []
    # Words to the left, the two counts to the right.
    table = markdown_table(header, rows).replace("| --- | ---: | ---: |", "| --- | --- | --- |", 1)
    return table + (f"\n\nPlanned. {'. '.join(planned)}." if planned else "")


def picture_block(results: Results) -> str:
    """The picture's link with its alt text, as Markdown."""
    from course_lib.plots import recorded_figure

    alt = recorded_figure(results).alt_text.replace("[", "(").replace("]", ")")
    return f"![{alt}](docs/figures/{PICTURE.name})"


def blocks(results: Results, folder: str | Path = RESULTS) -> dict[str, str]:
    """Mark → what README must hold there."""
    return {
        "distillation": distillation_table(folder),
        "pruning": pruning_table(folder),
        "quantization": quantization_table(folder),
        "integers": integer_table(folder),
        "peers": peers_table(folder),
        "fusion": fusion_table(folder),
        "runtimes": runtimes_table(folder),
        "kit": kit_line(folder),
        "calibration": calibration_line(folder),
        "post_training": post_training_table(folder),
        "aware_training": training_table(folder),
        "doctor": doctor_line(folder),
        "figures": figures_table(results),
        "speeds": speeds_table(folder),
        "picture": picture_block(results),
        "ledger": ledger_table(results),
        "official": official_table(folder),
        "chapters": chapter_table(written()),
    }


def filled(text: str, contents: Mapping[str, str]) -> str:
    """``text`` with the contents between their marks.

    Raises: ValueError: a mark is missing, or is there twice, or is never closed.
    """
    for name, content in contents.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- /{name} -->)", re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"the text must hold the marks <!-- {name} --> and <!-- /{name} --> once, in this order")
        text = pattern.sub(lambda match, content=content: f"{match[1]}{content}{match[2]}", text)
    return text


def digest(results: Results) -> str:
    """SHA-256 of the rows that the picture shows."""
    rows = {key: result["ledger"]["rows"] for key, result in results.items()}
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()


def problems(readme: Path = README, picture: Path = PICTURE, results: Path = RESULTS) -> list[str]:
    """Where README or its picture differs from the recorded files; [] if nowhere."""
    from PIL import Image

    journeys, text = recorded_journeys(results), readme.read_text(encoding="utf-8")
    wanted = blocks(journeys, results)
    found = [f"block {name} differs" for name, content in wanted.items() if filled(text, {name: content}) != text]
    if not picture.is_file():
        return [*found, f"{picture.name} was never drawn"]
    with Image.open(picture) as image:
        if image.info.get("Source") != digest(journeys):
            found.append(f"{picture.name} was drawn from other figures")
    return found


def write(readme: Path = README, picture: Path = PICTURE, results: Path = RESULTS) -> None:
    """Bring README's blocks and the picture up to date with the recorded files."""
    from course_lib.plots import recorded_figure

    journeys = recorded_journeys(results)
    text = filled(readme.read_text(encoding="utf-8"), blocks(journeys, results))
    with atomic_path(readme) as part:
        part.write_text(text, encoding="utf-8")
    with atomic_path(picture) as part:
        metadata = {"Software": None, "Source": digest(journeys)}
        recorded_figure(journeys).savefig(part, format="png", dpi=120, metadata=metadata)


def _speed(figure: Measurement) -> str:
    """A ratio with its interval, and the target where there is one: it differs from column to column."""
    target = "" if figure.target is None else f" (target {figure.target}: {shortfall(figure) or 'met'})"
    return number_text(figure, 2) + target


def _value(figure: Measurement) -> str:
    """A number; a target that is missed, or that the interval goes beyond, is marked."""
    return number_text(figure) + (f" ({shortfall(figure)})" if shortfall(figure) else "")


def _paces(result: Mapping[str, Any]) -> list[str]:
    """Names of the cadences in which a result was measured."""
    return [times["cadence"] for times in result["ledger"]["rows"][0]["times"]]


def _cells(row: Mapping[str, Any] | None, paces: int) -> list[str]:
    if row is None:
        return ["–"] * (5 + paces)
    change, speeds = row["accuracy_change"], [times["speedup"] for times in row["times"]]
    return [
        f"{100 * row['accuracy']['value']:.2f}",
        "–" if change is None else f"{change['value']:+.2f}".replace("-", "−"),
        quantity(row["size_bytes"], "B"),
        "–" if change is None else f"{row['size_ratio']:.1f}",
        three_digits(row["times"][0]["p50_ms"]),
        *("–" if speed is None else f"{speed['value']:.2f}" for speed in speeds),
    ]
