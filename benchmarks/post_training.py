"""Weights in few bits without training: benchmarks/results/post_training_<data>.json.

    python benchmarks/post_training.py --record                        rendered signs
    python benchmarks/post_training.py --data PATH.npz --record        real ones

Student and teacher as shipped, calibrated on 512 training images by min-max, one weight scale an output channel, all
layers alike, activations in 8 bits. Weights have 4 bits (the student's also 3 and 2), and their codes are chosen in
four ways: the nearest; the nearest, and biases corrected on the calibration images; by AdaRound on them; by AdaRound,
and biases corrected.
Seeds 430 … 432, fixed before the first run, draw the calibration images and AdaRound's patches.

What is scored is the *file*: written as QDQ, run by ONNX Runtime, on the whole validation part, on which nothing is
chosen; the test part is not read. Points lost are paired with FP32 by image; intervals over seeds and signs. Labels are
used by the score alone. ``w4a8_adaround_drop_points``, the student's, is also added to quantization_<data>.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib.data import SignDataset, load
from course_lib.deploy.onnx import open_session, run_session
from course_lib.evaluation import seed_interval
from course_lib.experiments.plans import data_key
from course_lib.experiments.reporting import command_for, report
from course_lib.experiments.teacher_pruning import gain, right_on
from course_lib.measure import Measurement, add_figures
from course_lib.models import checkpoints
from course_lib.quantization import Codes, calibration_images
from course_lib.quantization.adaround import Rounding, adaround
from course_lib.quantization.bias_correction import correct_biases
from course_lib.quantization.calibrated import QuantizedNetwork, quantize_network, simulated_logits
from course_lib.quantization.qdq import export_qdq

BITS = {"student": (4, 3, 2), "teacher": (4,)}
"""Of the weights, by network."""
FIRST_SEED, SEEDS, CALIBRATION, THREADS = 430, 3, 512, 1
WORDS = {
    "nearest": "nearest codes",
    "bias": "nearest codes, biases corrected",
    "adaround": "AdaRound",
    "adaround_bias": "AdaRound, biases corrected",
}
"""How the codes of the weights are chosen, by name."""
ASKED = "w4a8_adaround_drop_points"
Rights = dict[str, list[list[int]]]
"""Arm → a row a seed: which images are right."""


def variants(model: nn.Module, images: Tensor, bits: int, seed: int) -> Iterator[tuple[str, QuantizedNetwork, float]]:
    """Name, network and seconds of every way to choose the codes; the seconds are those of all steps of that way."""
    start = quantize_network(model, images, weight_codes=Codes(bits, restricted=True))
    for name in ("nearest", "adaround"):
        began = time.perf_counter()
        network = start if name == "nearest" else adaround(start, images, Rounding(seed=seed))
        seconds = time.perf_counter() - began
        yield name, network, seconds
        began = time.perf_counter()
        corrected = correct_biases(network, images)
        yield "bias" if name == "nearest" else "adaround_bias", corrected, seconds + time.perf_counter() - began


def score(network: QuantizedNetwork, part: SignDataset) -> tuple[list[int], float]:
    """Which images the file has right, and the fraction of its answers that are the simulation's."""
    images = part.batch(np.arange(len(part)))[0]
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(export_qdq(network, Path(folder) / "network.onnx"))
        answers = run_session(session, images.numpy()).argmax(1)
    same = answers == simulated_logits(network, images).argmax(1).numpy()
    return (answers == part.labels).astype(int).tolist(), float(same.mean())


def run(role: str, model: nn.Module, train: SignDataset, part: SignDataset) -> tuple[Rights, list[dict[str, Any]]]:
    """Quantize and score one network in every way, with every seed."""
    rights: Rights = {}
    told = []
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS):
        images = torch.tensor(calibration_images(train, min(CALIBRATION, len(train)), seed=seed))
        for bits in tqdm(BITS[role], unit="bits", desc=f"{role}, seed {seed}"):
            for method, network, seconds in variants(model, images, bits, seed):
                right, agreement = score(network, part)
                arm = f"{role}_w{bits}a8_{method}"
                rights.setdefault(arm, []).append(right)
                row = {"arm": arm, "seed": seed, "accuracy": float(np.mean(right)), "agreement": agreement}
                told.append({**row, "seconds": round(seconds, 1)})
    return rights, told


def figures_of(rights: Rights, whole: dict[str, list[int]], part: SignDataset) -> dict[str, Measurement]:
    """Accuracy and points lost of every arm.

    Args:
        whole: which images each network has right in float32, by role.
        part: that was scored.
    """
    figures = {
        f"{role}_fp32_accuracy": Measurement(round(100 * float(np.mean(right)), 3), "%", len(right), f"{role}, {part}")
        for role, right in whole.items()
    }
    for arm, rows in rights.items():
        role, bits, method = arm.split("_", 2)
        words = f"{role}, weights in {bits[1]} bits, {WORDS[method]}, {part}"
        mean = seed_interval([100 * float(np.mean(right)) for right in rows])
        figures[f"{arm}_accuracy"] = Measurement.of(mean, "%", f"{words}; mean over seeds; t-interval over seeds")
        lost = gain([whole[role]] * len(rows), rows, part.groups)
        target = "≤ 0.5" if arm == "student_w4a8_adaround" else None
        name = f"{arm}_drop_points"
        figures[name] = Measurement.of(lost, "points", f"FP32 − {words}, paired; over seeds and signs", target=target)
    return figures


def main() -> None:
    """Quantize, score, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Weights in 4, 3 and 2 bits without training.")
    parser.add_argument("--data", default="rendered", help='"rendered" or the path of an .npz')
    parser.add_argument("--record", action="store_true", help="write benchmarks/results")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    key, splits = data_key(options.data), load(options.data)
    rights: Rights = {}
    whole, told = {}, []
    for role in (role for role in BITS if checkpoints.exists(f"{role}_{key}")):
        model, _ = checkpoints.load_for_split(f"{role}_{key}", splits)
        whole[role] = right_on(model, splits.validation)
        found, rows = run(role, model, splits.train, splits.validation)
        rights, told = rights | found, told + rows
    figures = figures_of(rights, whole, splits.validation)
    print(f"least agreement of file and simulation: {min(row['agreement'] for row in told):.2%}")
    command, seeds = command_for("post_training", key), list(range(FIRST_SEED, FIRST_SEED + SEEDS))
    extra, name = {"rows": told}, f"post_training_{key}"
    report(name, command, figures, recorded=options.record, seeds=seeds, threads=THREADS, extra=extra)
    if options.record:
        asked = {ASKED: figures[f"student_{ASKED}"]}
        add_figures(f"quantization_{key}", command, asked, seeds=seeds, threads=THREADS)


if __name__ == "__main__":
    main()
