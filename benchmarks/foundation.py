"""The figures of the course's ground: renderer, import, demo, tests. Writes benchmarks/results/foundation.json.

    python benchmarks/foundation.py             measure all (about ten minutes, then the whole test suite)
    python benchmarks/foundation.py --no-tests  take the tests' minutes from benchmarks/results/tests.json
    python benchmarks/foundation.py --no-demo   take the demo's figures from the last recording

The demo runs live (students trained, not loaded) in a fresh process with an empty cache, so that its minutes hold the
rendering of the images; its memory is the largest resident size of that process, read by the operating system.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from course_lib.errors import CourseError
from course_lib.measure import Measurement, load_result, record
from course_lib.storage.files import ROOT

COMMAND = "python benchmarks/foundation.py"


def load_benchmark(name: str):
    """The module benchmarks/<name>.py."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def demo_figures() -> dict[str, Measurement]:
    """Wall time and peak memory of ``course demo`` with an empty cache."""
    import os

    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COURSE_CACHE": str(Path(folder) / "cache"), "COURSE_DATA": "rendered"}
        started = time.perf_counter()
        command = [sys.executable, "-m", "course_lib.cli", "demo", "--out", str(Path(folder) / "demo")]
        subprocess.run(command, env=environment, check=True)
        minutes = (time.perf_counter() - started) / 60
        ledger = json.loads((Path(folder) / "demo" / "ledger.json").read_text(encoding="utf-8"))
    # Linux counts KiB, macOS bytes; the demo is the largest child that this process has waited for.
    scale = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * scale / 1e9
    final, first = ledger["rows"][-1], ledger["rows"][0]
    drop = 100 * (first["accuracy"]["value"] - final["accuracy"]["value"])
    slow, large = "another load ran on the machine", "see the demo's steps for which one grew"
    return {
        "demo_minutes": Measurement(
            round(minutes, 2),
            "min",
            1,
            "wall time of the live demo after set-up, rendering included, 2 cores",
            target="≤ 6",
            note=slow if minutes > 6 else None,
        ),
        "demo_peak_gb": Measurement(
            round(peak, 2),
            "GB",
            1,
            "largest resident size of the demo's process",
            target="≤ 3",
            note=large if peak > 3 else None,
        ),
        "demo_live_drop_points": Measurement(
            round(drop, 2),
            "points",
            first["accuracy"]["n"],
            "teacher FP32 − final INT8 in that live demo, rendered test part; the shipped students train longer",
        ),
    }


def test_figures(run: bool) -> dict[str, Measurement]:
    """Minutes of ``make test`` without its set-up, as that command records them."""
    if run:
        subprocess.run([sys.executable, str(ROOT / "scripts" / "run_tests.py"), "--record"], check=True, cwd=ROOT)
    return {"tests_minutes": load_result("tests")["figures"]["tests_minutes"]}


def main() -> int:
    """Measure, print and record."""
    parser = argparse.ArgumentParser(description="Measure the figures of the course's ground.")
    parser.add_argument(
        "--no-tests", action="store_true", help="take the tests' minutes from benchmarks/results/tests.json"
    )
    parser.add_argument("--no-demo", action="store_true", help="take the demo's figures from the last recording")
    options = parser.parse_args()
    if options.no_demo:
        figures = {name: f for name, f in load_result("foundation")["figures"].items() if name.startswith("demo_")}
    else:
        figures = demo_figures()  # first: later children must not count for its memory
    figures |= load_benchmark("renderer").measure()
    figures |= load_benchmark("import_time").measure()
    try:
        figures |= test_figures(not options.no_tests)
    except CourseError as error:
        print(f"foundation: recorded without tests_minutes ({error})", file=sys.stderr)
    for name, figure in figures.items():
        print(f"{name}: {figure.value} {figure.unit} ({figure.target or 'no target'})")
    print(f"Written: {record('foundation', COMMAND, figures, seeds=[0], threads=2)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
