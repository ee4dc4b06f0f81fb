"""How long ``import course_lib`` takes, beside ``import torch``: the recorded figure import_ratio_to_torch.

    python benchmarks/import_time.py            print the result
    python benchmarks/import_time.py --record   also write benchmarks/results/import_time.json

Each import is timed in a fresh interpreter, from the first statement to the last (starting Python itself is not
counted). The two are run in turn, so that a machine that slows down slows both; each pair gives one ratio. The first
pair fills the file cache and is dropped. Reported: the median ratio and a 95 % bootstrap interval of that median.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

import numpy as np

from course_lib.evaluation import bootstrap_ratio
from course_lib.measure import Measurement, record

LIBRARY = "import course_lib; from course_lib import data, models, training, measure, distillation, exercises"
TIMED = "import time; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
PAIRS = 15
SEED = 0
SLOWER = "the machine was busy or its disk cold, or an import was added that should wait until it is used"


def seconds(code: str) -> float:
    """Wall time in s of a statement in a fresh interpreter."""
    result = subprocess.run([sys.executable, "-c", TIMED.format(code=code)], capture_output=True, text=True, check=True)
    return float(result.stdout)


def measure(pairs: int = PAIRS) -> dict[str, Measurement]:
    """Time ``pairs`` ≥ 2 pairs of imports: import_ratio_to_torch and import_seconds."""
    times = np.array([(seconds("import torch"), seconds(LIBRARY)) for _ in range(pairs + 1)])[1:]  # (pairs, 2)
    ratio = bootstrap_ratio(times[:, 1], times[:, 0], seed=SEED)
    interval = {"low": round(ratio.low, 3), "high": round(ratio.high, 3)}
    meaning = f"{LIBRARY!r} / 'import torch', each in a fresh interpreter, in turn; median over pairs"
    median = round(float(np.median(times[:, 1])), 3)
    return {
        "import_ratio_to_torch": Measurement(
            round(ratio.value, 3),
            "×",
            ratio.n,
            meaning,
            **interval,
            target="≤ 1.2",
            note=SLOWER if ratio.value > 1.2 else None,
        ),
        "import_seconds": Measurement(
            median,
            "s",
            ratio.n,
            "the same library import, torch included",
            target="≤ 2.5",
            note=SLOWER if median > 2.5 else None,
        ),
    }


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Time the library's import against torch's.")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/import_time.json")
    options = parser.parse_args()
    figures = measure()
    for name, figure in figures.items():
        print(f"{name}: {figure}, target {figure.target}")
    if options.record:
        print(f"Written: {record('import_time', 'python benchmarks/import_time.py --record', figures, seeds=[SEED])}")


if __name__ == "__main__":
    main()
