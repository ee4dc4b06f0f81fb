"""``make test``: every stage, each with its duration, whatever the others said; a failed stage fails the whole.

    python scripts/run_tests.py                   all stages
    python scripts/run_tests.py style tests       these only
    python scripts/run_tests.py --record          also write tests_minutes into benchmarks/results/tests.json

A learner who sees one failure wants to know whether there are others, so no stage stops the next. Stages that run two
processes side by side give each of them one thread: two times two threads on two cores would only wait for each other.
The data are rendered once, before the stages that read them in parallel. The hooks of .pre-commit-config.yaml run the
first three stages, so that both check the same with the same tools.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
RENDER = "from course_lib.data import load; print(f'{sum(map(len, load()))} images are ready')"
PROOF = "tests/exercises/test_exercises.py"  # a stage of its own: it asks every exercise for every claim
NBVAL = ("--nbval", "--nbval-current-env", "--nbval-cell-timeout=600", "notebooks", "-n", "2", "--dist", "loadfile")
STAGES: dict[str, list[str]] = {
    "style": [PYTHON, "-m", "ruff", "check", "."],
    "format": [PYTHON, "-m", "ruff", "format", "--check", "."],
    "types": [PYTHON, "-m", "basedpyright", "--pythonpath", PYTHON],
    "environment": [PYTHON, "-m", "course_lib.cli", "doctor"],
    "data": [PYTHON, "-c", RENDER],
    "doctests": [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", "--doctest-modules", "course_lib"],
    "tests": [PYTHON, "-m", "pytest", "-n", "2", "tests", f"--ignore={PROOF}"],
    "exercises": [PYTHON, "-m", "pytest", "-n", "2", PROOF],
    "notebooks": [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", *NBVAL],
}
EXECUTES_THE_COURSE = ("doctests", "tests", "exercises", "notebooks")


def notebooks_setting() -> dict[str, str]:
    """The threads and instruction set of the notebooks' stage: outputs must not depend on those that wrote them."""
    from course_lib.publishing.settings import make_test_variables

    return make_test_variables()


def environment(stage: str) -> dict[str, str]:
    """The variables of a stage: the learner's own, less those that would change what the tests see."""
    variables = {name: value for name, value in os.environ.items() if name not in ("COURSE_DATA", "PYTHONPATH")}
    variables["MPLBACKEND"] = "agg"
    if stage in ("tests", "exercises"):
        variables["OMP_NUM_THREADS"] = "1"
    if stage in EXECUTES_THE_COURSE:
        # What this learner has solved must not change an output, nor a test this learner's record.
        variables["COURSE_PROGRESS"] = "off"
    if stage == "notebooks":
        # A notebook chooses its own backend.
        del variables["MPLBACKEND"]
        variables |= notebooks_setting()
    return variables


def run(stage: str) -> tuple[bool, float]:
    """Run a stage, its output on this terminal; (passed, seconds)."""
    print(f"\n=== {stage}", flush=True)
    if stage == "notebooks" and not any((ROOT / "notebooks").glob("*.ipynb")):
        print("There are no notebooks.")  # pytest would call that a failure
        return True, 0.0
    start = time.monotonic()
    code = subprocess.run(STAGES[stage], cwd=ROOT, env=environment(stage), check=False).returncode
    seconds = time.monotonic() - start
    print(f"=== {stage}: {'passed' if code == 0 else f'FAILED (exit {code})'} after {seconds:.0f} s", flush=True)
    return code == 0, seconds


def record(results: dict[str, tuple[bool, float]]) -> None:
    """Write the duration of a complete, passed run, with the machine it was measured on."""
    from course_lib.measure import Measurement
    from course_lib.measure import record as write_record

    minutes = sum(seconds for _, seconds in results.values()) / 60
    stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, (_, seconds) in results.items())
    meaning = f"wall time of `make test` after set-up: {stages}"
    note = "see the stages for the one that grew" if round(minutes, 2) > 12 else None
    figure = Measurement(round(minutes, 2), "min", 1, meaning, target="≤ 12", note=note)
    write_record("tests", "make test ARGS=--record", {"tests_minutes": figure}, seeds=[])


def main() -> None:
    """Run the stages asked for. Raises: SystemExit(1) if one failed."""
    parser = argparse.ArgumentParser(description="Run the course's tests.")
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"of {', '.join(STAGES)}; all without")
    parser.add_argument("--record", action="store_true", help="record the duration if all stages ran and passed")
    options = parser.parse_args()
    if unknown := [stage for stage in options.stages if stage not in STAGES]:
        parser.error(f"unknown stage {unknown[0]!r}: expected one of {', '.join(STAGES)}")
    results = {stage: run(stage) for stage in STAGES if not options.stages or stage in options.stages}
    passed = sum(ok for ok, _ in results.values())
    print(
        "\n" + "\n".join(f"{'passed' if ok else 'FAILED'}  {s:6.0f} s  {stage}" for stage, (ok, s) in results.items())
    )
    print(f"Stages, {sum(seconds for _, seconds in results.values()) / 60:.1f} minutes in all:")
    print(f"{passed} passed, {len(results) - passed} failed")
    if passed < len(results):
        raise SystemExit(1)
    if options.record and len(results) == len(STAGES):
        record(results)


if __name__ == "__main__":
    main()
