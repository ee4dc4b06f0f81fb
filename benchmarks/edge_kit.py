"""The kit for a board: its size, how long it takes to build, and who computes what it says: edge_kit.json.

    python benchmarks/edge_kit.py            print the result
    python benchmarks/edge_kit.py --record   also write benchmarks/results/edge_kit.json

The kit is built anew from the shipped networks. Each of its networks is then run on an emulated Cortex-A57 with a
Jetson Nano's ONNX Runtime, the C network after cross-compiling, and counts as right where its outputs are the
reference's within the manifest's tolerance (the C network's: to the bit). ``python36`` says whether the whole kit runs
under Python 3.6 with a Nano's packages. What cannot be had here is told with its reason and not counted. No time of an
emulated run is recorded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

from course_lib.deploy.edge import LARGEST_MB, Manifest
from course_lib.deploy.edge.emulation import prepare_board, run_c_network, run_kit
from course_lib.deploy.edge.old_python import prepare_python36
from course_lib.errors import CourseError
from course_lib.experiments import edge_kit
from course_lib.experiments.reporting import report
from course_lib.measure import Measurement

NAME, FOLDER, SECONDS = "edge_kit", Path("build") / "edge_kit", 60


def build() -> tuple[Manifest, float]:
    """The kit and the seconds that it took, imports and data aside."""
    for made in ("result.json", "result.json.rows"):
        (FOLDER / made).unlink(missing_ok=True)
    start = time.perf_counter()
    manifest = edge_kit.build(FOLDER)
    return manifest, time.perf_counter() - start


def emulated(manifest: Manifest, folder: Path) -> tuple[dict[str, bool], dict[str, str]]:
    """Name -> whether the emulated board computes it right; and why others could not be asked."""
    right: dict[str, bool] = {}
    reasons: dict[str, str] = {}
    try:
        result = run_kit(FOLDER, prepare_board(), folder / "emulated.json")
        right |= {row["name"]: row["outputs_agree"] is True for row in result["rows"]}
    except CourseError as error:
        reasons["onnxruntime"] = str(error)
    for model in manifest.models:
        if "c" in model.runtimes:
            try:
                right[model.name] = run_c_network(FOLDER, model, folder)
            except CourseError as error:
                reasons["c"] = str(error)
    return right, reasons


def python36(folder: Path) -> str:
    """ "passed", or why not."""
    try:
        python = prepare_python36()
    except CourseError as error:
        return f"skipped: {error}"
    out = folder / "python36.json"
    command = [str(python), str(FOLDER / "edge_bench.py"), "--calls", "3", "--power-seconds", "0", "--out", str(out)]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, env=bare, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"failed with {done.returncode}: {(done.stderr or done.stdout).splitlines()[-1]}"
    version = json.loads(out.read_text(encoding="utf-8"))["versions"]["python"]
    return "passed" if version.startswith("3.6.") else f"failed: it ran under Python {version}"


def figures(manifest: Manifest, seconds: float, right: dict[str, bool]) -> dict[str, Measurement]:
    """What is recorded."""
    total, size = len(manifest.models), round(manifest.total_bytes / 1e6, 2)
    agree = sum(right.values())
    meaning = "networks whose outputs on an emulated Cortex-A57 are the reference's; ONNX Runtime 1.10, C to the bit"
    correct = Measurement(agree, "", max(1, len(right)), meaning, target=f"≥ {total}")
    return {
        "kit_mb": Measurement(size, "MB", 1, "bytes of all files of the kit / 10⁶", target=f"≤ {LARGEST_MB}"),
        "build_seconds": Measurement(
            round(seconds, 1), "s", 1, "from shipped checkpoints to the written kit", target=f"≤ {SECONDS}"
        ).explained("the machine did other work meanwhile"),
        "models_correct_emulated": correct.explained("see skipped, or the rows that disagree"),
        "models_total": Measurement(total, "", 1, "networks in the kit"),
    }


def main() -> None:
    """Build, run, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Build the kit and run it on an emulated board.")
    parser.add_argument("--record", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    options = parser.parse_args()
    manifest, seconds = build()
    folder = FOLDER.with_name("edge_kit_runs")
    folder.mkdir(parents=True, exist_ok=True)
    old = python36(folder)
    right, reasons = emulated(manifest, folder)
    print(f"python36: {old}")
    extra: dict[str, Any] = {"python36": old, "correct": right, "skipped": reasons}
    command = f"python benchmarks/{NAME}.py --record"
    found = figures(manifest, seconds, right)
    report(NAME, command, found, recorded=options.record, seeds=[0], threads=1, extra=extra)


if __name__ == "__main__":
    main()
