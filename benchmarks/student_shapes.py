"""Which layers of a small chain should keep the resolution, and how many there should be: results/student_shapes.json.

    python benchmarks/student_shapes.py --data PATH.npz --record

Every shape is trained alone (labels only) on real signs with the same views, steps and seeds, and scored on the
validation part: it chose the shape of the shipped students, so it is no estimate of anything else. Beside accuracy
stand parameters, multiply-accumulates, the INT8 file's bytes and, against the first shape, the time of one call (ONNX
Runtime, one thread, back to back, rounds of all shapes interleaved). Finished trainings are kept in the course's cache.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from course_lib.data import Splits, load
from course_lib.deploy.onnx import deployable_bytes, export_onnx, open_session, run_session
from course_lib.evaluation import seed_interval
from course_lib.experiments.plans import STRONG_VIEWS
from course_lib.measure import BACK_TO_BACK, LatencyReport, Measurement, count_parameters, latency, total_macs
from course_lib.models import SignStudent, checkpoints
from course_lib.quantization.post_training import calibration_images, quantize_static_int8
from course_lib.storage.cache import cached
from course_lib.storage.files import read_json, write_json
from course_lib.training import Recipe, fit

SHAPES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "five": ((16, 32, 48, 64, 92), (2, 2, 1, 2, 1)),  # the earlier final network
    "four": ((16, 32, 64, 96), (2, 1, 2, 2)),
    "five_at_16": ((16, 24, 40, 64, 96), (2, 1, 2, 2, 1)),
    "six": ((16, 32, 32, 48, 56, 64), (2, 2, 1, 1, 2, 1)),  # the final network for a while
    "six_at_4": ((16, 32, 40, 48, 64, 64), (2, 2, 1, 2, 1, 1)),
    "six_at_16": ((16, 16, 32, 48, 56, 80), (2, 1, 2, 1, 1, 2)),  # the final network
    "seven": ((16, 24, 32, 32, 48, 48, 64), (2, 2, 1, 1, 2, 1, 1)),
    "seven_at_16": ((16, 16, 32, 32, 48, 56, 64), (2, 1, 2, 1, 1, 2, 1)),
    "small_five": ((12, 24, 32, 40, 56), (1, 2, 1, 2, 2)),
    "small_eight": ((12, 16, 20, 24, 24, 32, 32, 48), (1, 2, 1, 1, 2, 1, 1, 2)),  # the small network
}
FIRST_SEED, SEEDS, ROUNDS = 200, 3, 60
NAME = "student_shapes"


def network(name: str, seed: int = 0) -> SignStudent:
    """An untrained chain of that shape."""
    torch.manual_seed(seed)
    channels, strides = SHAPES[name]
    return SignStudent(channels=channels, strides=strides)


def recipe(seed: int) -> Recipe:
    """The same for every shape; the last epoch counts, so that validation chooses nothing."""
    return Recipe(16, 4e-3, augmentation=STRONG_VIEWS, average=0.995, weight_decay=0.01, seed=seed)


def accuracies(splits: Splits, seeds: range) -> dict[str, list[float]]:
    """Shape → validation accuracy in %, one a seed, of the last epoch."""
    found: dict[str, list[float]] = {name: [] for name in SHAPES}
    for seed in seeds:
        for name, shape in SHAPES.items():

            def train(folder: Path, name: str = name, seed: int = seed) -> None:
                history = fit(network(name, seed), splits.train, splits.validation, recipe(seed), progress=False)
                write_json(folder / "score.json", {"accuracy": history.epochs[-1]["validation_accuracy"]})

            decided = {"shape": shape, "recipe": asdict(recipe(seed)), "data": checkpoints.fingerprint(splits)}
            entry = cached("shapes", f"{name}_{seed}", decided, ["score.json"], train, needed_bytes=10_000)
            accuracy = read_json(entry / "score.json", mend=f"delete {entry}")["accuracy"]
            print(f"{name}, seed {seed}: {accuracy:.2%}", flush=True)
            found[name].append(100 * accuracy)
    return found


def files(splits: Splits, folder: Path) -> dict[str, Path]:
    """Shape → INT8 file; its time and bytes do not depend on what the weights have learned."""
    ranges, found = calibration_images(splits.train, 128), {}
    for name in SHAPES:
        plain = export_onnx(network(name).eval(), folder / f"{name}.onnx")
        found[name] = quantize_static_int8(plain, folder / f"{name}_int8.onnx", ranges)
    return found


def times(paths: dict[str, Path], image: np.ndarray) -> LatencyReport:
    """All shapes in turn, round by round, one thread."""
    sessions = {name: open_session(path, threads=1) for name, path in paths.items()}
    calls = {name: lambda s=session: run_session(s, image) for name, session in sessions.items()}
    return latency(calls, warmup=50, repeats=ROUNDS, threads=1, seed=0, cadence=BACK_TO_BACK)


def main() -> None:
    """Train, time, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Compare shapes of small chains on real signs.")
    parser.add_argument("--data", required=True, help="path of an .npz with x, y, track")
    parser.add_argument("--record", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    splits, seeds = load(options.data), range(FIRST_SEED, FIRST_SEED + SEEDS)
    found, figures = accuracies(splits, seeds), {}
    with tempfile.TemporaryDirectory() as folder:
        paths = files(splits, Path(folder))
        report = times(paths, splits.validation.batch(np.arange(1))[0].numpy())
        sizes = {name: deployable_bytes(path) for name, path in paths.items()}
    first = next(iter(SHAPES))
    for name in SHAPES:
        score, model = seed_interval(found[name]), network(name)
        words = f"validation accuracy, {model.channels}, strides {model.strides}; alone, 16 epochs; mean over seeds"
        figures[f"{name}_accuracy"] = Measurement.of(score, "%", words)
        figures[f"{name}_parameters"] = Measurement(count_parameters(model), "", 1, "parameters")
        figures[f"{name}_macs"] = Measurement(total_macs(model, (1, 3, 32, 32)), "", 1, "multiply-accumulates")
        figures[f"{name}_bytes"] = Measurement(sizes[name], "B", 1, "the INT8 file")
        if name != first:
            ratio, how = report.ratio(first, name), f"one call of {first} / of {name}, INT8, back to back, one thread"
            figures[f"{name}_speedup"] = Measurement(ratio.value, "×", ratio.n, how, ratio.low, ratio.high)
    command = "python benchmarks/student_shapes.py --data PATH.npz --record"
    report(NAME, command, figures, recorded=options.record, seeds=list(seeds), threads=1)


if __name__ == "__main__":
    main()
