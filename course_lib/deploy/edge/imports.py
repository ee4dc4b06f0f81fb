"""A board's results as a Ledger: what it is worth from the kit, what it took from the board.

Accuracy was measured where the kit was built, on all test images; on the board the outputs of the kit's few images were
compared with the reference. Where they agree, the accuracy is the board's too. Where some classes differ (FP16, another
rounding), it can differ by as much as the outputs may disagree, and its interval is widened by that (Wilson's limit).

Times come in as single calls, one round each. The networks ran one after the other, each in a process of its own, so
there is no A/A row and no ratio of times: the machine may have drifted between two rows, and nothing here could tell.
"""

from __future__ import annotations

import datetime
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from course_lib.deploy.edge.kit_files import Kit, read_kit
from course_lib.deploy.edge.manifest import KitModel, Scores
from course_lib.deploy.edge.results import Results, provider, read_results, row_name
from course_lib.errors import CourseError
from course_lib.evaluation import Estimate, wilson_interval
from course_lib.measure import BACK_TO_BACK, THIRTY_A_SECOND, Cadence, Ledger, Row, Times, Twin

_RUNTIMES = {"onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT", "c": "C"}
_ISA = ("asimd", "asimdhp", "asimddp", "i8mm", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni")
_CADENCES = {cadence.name: cadence for cadence in (BACK_TO_BACK, THIRTY_A_SECOND)}


def import_results(path: str | Path, kit: str | Path, *, require_speed: bool = False) -> Ledger:
    """The results of a board as a ledger; rows whose times mean nothing come in without them, marked with the reason.

    Args:
        path: of the results file.
        kit: the folder of the kit that was run.
        require_speed: refuse instead of leaving times out.
    Raises: CourseError: results or kit are broken, do not belong together, hold no row that ran or a row whose accuracy
        the kit does not know, or, with ``require_speed``, a row without times that mean something.
    """
    built, results = read_kit(kit), read_results(path)
    results.require_kit(built.sha256)
    if not results.rows:
        reasons = "; ".join(f"{name}: {error}" for name, error in results.failures.items())
        raise CourseError(
            f"no network ran ({reasons})", path=path, mend="mend on the board what it says, then run the kit again"
        )
    cadence, batch = _conditions(results)
    rows = tuple(
        _row(row, built, results, cadence, batch, first=not number)
        for number, row in enumerate(_ordered(results, built))
    )
    if require_speed and (without := [row for row in rows if row.refused]):
        said = "; ".join(f"{row.name}: {', '.join(row.refused)}" for row in without)
        raise CourseError(f"no claim about speed can be made ({said})", path=path, mend=_mend(without))
    return Ledger(
        title=f"{results.board}, kit of course {built.manifest.course}",
        data=built.manifest.data,
        rows=_sized(rows),
        input_shape=(batch, *built.manifest.shape),
        cadences=(cadence,),
        again=(),
        threads=int(results.content["arguments"].get("threads") or 1),
        warmup=int(results.content["arguments"].get("warmup") or 0),
        seed=0,
        date=_date(results, path),
        machine=_machine(results.content["device"]),
        versions={name: str(version) for name, version in results.content["versions"].items()},
    )


def _mend(rows: list[Row]) -> str:
    marks = {mark for row in rows for mark in row.refused}
    if marks & {"clocks changed", "throttled"}:
        return "fix the board's clocks (sudo jetson_clocks), let it cool, then course kit run user@board"
    if "emulated machine" in marks:
        return "measure on a real board"
    return "see what the rows say, then course kit run user@board"


def _conditions(results: Results) -> tuple[Cadence, int]:
    """The cadence and the batch that most rows were timed in; they are the ledger's."""
    pairs = [(row["cadence"], row["batch"]) for row in results.rows]
    name, batch = max(pairs, key=pairs.count)
    return replace(_CADENCES.get(name, Cadence(name)), calls=1, settle=0), batch


def _ordered(results: Results, kit: Kit) -> list[dict[str, Any]]:
    """Rows in the kit's order, its first network first: the others' differences are to it."""
    names = [model.name for model in kit.manifest.models]
    unknown = [row["name"] for row in results.rows if row["name"] not in names]
    if unknown:
        raise CourseError(
            f"a row of a network that the kit lacks ({unknown[0]})", path=results.path, mend="give the kit that was run"
        )
    return sorted(results.rows, key=lambda row: names.index(row["name"]))


def _row(row: dict[str, Any], kit: Kit, results: Results, cadence: Cadence, batch: int, *, first: bool) -> Row:
    model = kit.manifest.model(row["name"])
    scores, refused = _scores(model, kit, results), results.refusals(row)
    if (row["cadence"], row["batch"]) != (cadence.name, batch):
        refused = (*refused, "other conditions")
    first = first and model is kit.manifest.models[0]
    return Row(
        name=row_name(row),
        file=os.path.basename(row["file"]),
        accuracy=_accuracy(scores.accuracy, row),
        agreement=1.0 if first else scores.agreement,
        accuracy_change=None if first else scores.accuracy_change,
        size_bytes=row["bytes"],
        size_ratio=1.0,
        parameters=model.parameters,
        nonzeros=model.nonzeros,
        macs=model.macs,
        times=() if refused else (_times(row, cadence),),
        runtime=f"{_RUNTIMES.get(row['runtime'], row['runtime'])} {row.get('runtime_version') or ''}".strip(),
        provider=provider(row),
        requested_provider=row["provider_asked"],
        twin=_twin(row, model),
        refused=refused,
    )


def _scores(model: KitModel, kit: Kit, results: Results) -> Scores:
    if model.scores is None:
        raise CourseError(
            f"the kit does not say what {model.name} is worth",
            path=kit.path,
            mend="build one that does with course kit build, and run that",
        )
    return model.scores


def _accuracy(here: Estimate, row: dict[str, Any]) -> Estimate:
    """The accuracy on the board: as here, its interval widened by what the outputs may disagree."""
    same, images = row.get("top1_agreement"), row.get("images") or 0
    if same is None or same >= 1 or not images:
        return here
    wide = 1 - wilson_interval(round(same * images), images)[0]
    return replace(here, low=max(0.0, here.low - wide), high=min(1.0, here.high + wide))


def _twin(row: dict[str, Any], model: KitModel) -> Twin | None:
    """The kit's own outputs, which the board's should agree with."""
    if row.get("top1_agreement") is None:
        return None
    tolerance = model.fp16 if row["precision"] == "fp16" and model.fp16 else model.tolerance
    return Twin("the kit's reference", tolerance.top1_agreement, row["top1_agreement"])


def _times(row: dict[str, Any], cadence: Cadence) -> Times:
    """Each call a round of its own; the board does not tell how busy it was."""
    return Times(cadence.name, (tuple((float(call),) for call in row["times_ms"]),), None)


def _sized(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    return tuple(replace(row, size_ratio=rows[0].size_bytes / row.size_bytes) for row in rows)


def _date(results: Results, path: str | Path) -> str:
    told = results.content.get("date")
    changed = datetime.datetime.fromtimestamp(Path(path).stat().st_mtime, datetime.UTC)
    return told[:10] if isinstance(told, str) else changed.date().isoformat()


def _machine(device: dict[str, Any]) -> dict[str, Any]:
    """The board, in the fields of ``machine_summary``."""
    features = device.get("features") or []
    return {
        "cpu": " ".join(str(device.get(name)) for name in ("model", "cpu") if device.get(name)) or "unknown",
        "architecture": device.get("machine"),
        "cores": device.get("cores"),
        "isa": [name for name in _ISA if name in features],
        "emulated": bool(device.get("emulated")),
        "memory_gb": round((device.get("memory_kb") or 0) / 1e6, 1),
        "system": device.get("l4t") or device.get("system"),
        "power_mode": device.get("power_mode"),
    }
