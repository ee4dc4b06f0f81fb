"""How long ONNX files and compiled C networks take beside a reference, over several processes of their own.

One process tells little about the next: memory lies elsewhere, other code is in the caches. So every session is a fresh
process, the files take turns within it, and the interval covers the sessions.

    python -m course_lib.experiments.file_times SESSION.json     one session, as ``time_ratios`` starts it
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from course_lib.deploy.onnx import open_session, run_session
from course_lib.evaluation import Estimate, ratio_over_sessions
from course_lib.experiments.processes import run_fresh
from course_lib.measure import Cadence, latency_by_cadence
from course_lib.measure.without_dot_products import environment_without
from course_lib.quantization.integer import load_c
from course_lib.storage.files import ROOT

MODULE = "course_lib.experiments.file_times"


def time_ratios(
    paths: Mapping[str, Path],
    reference: str,
    image: np.ndarray,
    paces: Mapping[Cadence, int],
    processes: int,
    *,
    dot_products: bool = True,
) -> dict[tuple[str, str], Estimate]:
    """(file, cadence) → its time / the reference's, over several processes, one after the other.

    Args:
        paths: name → ONNX file, or a library that ``compile_c`` made (.so).
        reference: one of the names.
        image: (1, 3, H, W), float32.
        paces: cadence → rounds in each process.
        processes: ≥ 1; three or more for an interval that covers them.
        dot_products: False hides the processor's 8-bit dot products from the runtime.
    Raises: CourseError: a session failed, or the dot products cannot be hidden here.
    """
    environment = dict(os.environ) if dot_products else environment_without()
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH", "")]))
    found = []
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "image.npy", image)
        what = {
            "paths": {name: str(Path(path).resolve()) for name, path in paths.items()},
            "reference": reference,
            "paces": [[dataclasses.asdict(cadence), rounds] for cadence, rounds in paces.items()],
        }
        for number in range(processes):
            session = Path(folder) / f"session_{number}.json"
            session.write_text(json.dumps({**what, "seed": number}), encoding="utf-8")
            told = run_fresh(MODULE, [str(session)], f"session {number}", environment=environment)
            found.append({(name, pace): Estimate(**ratio) for name, pace, ratio in json.loads(told)})
    return {key: ratio_over_sessions([one[key] for one in found]) for key in found[0]}


def main(session: str) -> None:
    """Measure what ``session`` names; print (file, cadence, ratio) as JSON."""
    path = Path(session)
    what = json.loads(path.read_text(encoding="utf-8"))
    image = np.load(path.parent / "image.npy", allow_pickle=False)
    calls = {name: _call(Path(file), image) for name, file in what["paths"].items()}
    paces = {Cadence(**cadence): rounds for cadence, rounds in what["paces"]}
    reports = latency_by_cadence(calls, paces, warmup=50, threads=1, seed=what["seed"])
    ratios = [
        (name, report.cadence.name, dataclasses.asdict(report.ratio(name, what["reference"])))
        for report in reports
        for name in calls
        if name != what["reference"]
    ]
    print(json.dumps(ratios))


def _call(path: Path, image: np.ndarray) -> Callable[[], object]:
    """A function that classifies the image once. A C network reads bytes: the rounding is not part of its time."""
    if path.suffix == ".so":
        return load_c(path).one((255 * image).round().astype(np.uint8))
    session = open_session(path, threads=1)
    return lambda: run_session(session, image)


if __name__ == "__main__":
    main(sys.argv[1])
