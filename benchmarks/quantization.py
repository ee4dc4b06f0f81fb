"""INT8 on the shipped networks: benchmarks/results/quantization_<data>.json.

    python benchmarks/quantization.py --record                        rendered signs
    python benchmarks/quantization.py --data PATH.npz --record        real ones

Every network is calibrated by min-max on 512 training images, written as QDQ with the course's own scales
(``quantize_network``, ``export_qdq``) and run by ONNX Runtime. It is scored on the whole validation part; the test part
is not read. Differences are paired by image, intervals drawn over signs.

Time: ONNX Runtime, batch 1, one thread, three cadences, the INT8 file twice (A/A), in five processes of their own; the
same again with the processor's 8-bit dot products hidden.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch

from course_lib.data import SignDataset, load
from course_lib.deploy.onnx import deployable_bytes, export_onnx, open_session, run_session
from course_lib.evaluation import accuracy, accuracy_difference
from course_lib.experiments.file_times import time_ratios
from course_lib.experiments.plans import data_key
from course_lib.experiments.reporting import command_for, report
from course_lib.measure import BACK_TO_BACK, IN_TURN, THIRTY_A_SECOND, Measurement
from course_lib.measure.machine import cpu_features, has_dot_product
from course_lib.models import checkpoints
from course_lib.quantization import calibration_images
from course_lib.quantization.calibrated import QuantizedNetwork, quantize_network, simulated_logits
from course_lib.quantization.qdq import export_qdq

ROLES = ("teacher", "student", "final", "small")
"""Of the shipped networks; the asked values are the first two's."""
ASKED = ROLES[:2]
CALIBRATION, SEED, SESSIONS = 512, 0, 5
PACES = {BACK_TO_BACK: 40, IN_TURN: 200, THIRTY_A_SECOND: 20}
SUFFIX = {BACK_TO_BACK.name: "", IN_TURN.name: "_in_turn", THIRTY_A_SECOND.name: "_30_a_second"}
Figures = dict[str, Measurement]


def accuracy_figures(role: str, network: QuantizedNetwork, fp32: Path, int8: Path, part: SignDataset) -> Figures:
    """Accuracy of both files, what INT8 loses, and how far the deployed answers are those of the simulation."""
    images = part.batch(np.arange(len(part)))[0]
    whole = run_session(open_session(fp32, threads=2), images.numpy())
    deployed = run_session(open_session(int8, threads=2), images.numpy())
    simulated = simulated_logits(network, images).numpy()
    drop = accuracy_difference(whole.argmax(1), deployed.argmax(1), part.labels, part.groups)
    steps = np.abs(deployed - simulated) / float(network.activations[network.graph.output].scale)
    same = simulated.argmax(1) == deployed.argmax(1)
    words, count = f"{role}, {part}", len(part)
    fp32_right, int8_right = (accuracy(logits.argmax(1), part.labels, part.groups) for logits in (whole, deployed))
    return {
        f"{role}_fp32_accuracy": Measurement.of(fp32_right.percent, "%", f"FP32, {words}", digits=2),
        f"{role}_int8_accuracy": Measurement.of(int8_right.percent, "%", f"INT8, {words}", digits=2),
        f"{role}_int8_drop_points": Measurement.of(
            drop, "points", f"FP32 − INT8, {words}, paired", target="≤ 0.2" if role in ASKED else None
        ),
        f"{role}_agreement": Measurement(
            round(100 * float(same.mean()), 3),
            "%",
            count,
            f"same class deployed and simulated, {words}",
            target="≥ 99.5",
        ),
        f"{role}_logits_differing": Measurement(
            round(100 * float((steps > 0.5).mean()), 3),
            "%",
            steps.size,
            f"logits whose code differs, deployed and simulated, {words}: a layer's sum near a half falls on the other "
            "side in float32",
        ),
        f"{role}_logits_largest_difference": Measurement(
            round(float(steps.max())), "codes", steps.size, f"deployed and simulated, {words}"
        ),
        f"{role}_int8_size_ratio": Measurement(
            round(deployable_bytes(fp32) / deployable_bytes(int8), 3),
            "×",
            1,
            f"bytes of the FP32 file / of the INT8 file, {role}",
            target="≥ 3.7" if role in ASKED else None,
        ),
        f"{role}_int8_bytes": Measurement(deployable_bytes(int8), "bytes", 1, f"the INT8 file, {role}"),
    }


def time_figures(role: str, fp32: Path, int8: Path, image: np.ndarray, sessions: int) -> Figures:
    """How many times faster INT8 answers, with and without the processor's 8-bit dot products."""
    figures: Figures = {}
    paths = {"int8": int8, "fp32": fp32, "again": int8}
    there = has_dot_product(cpu_features()["isa"])
    for dot_products in (True, False) if there else (False,):
        # Where there is nothing to hide, nothing is hidden.
        ratios = time_ratios(paths, "int8", image, PACES, sessions, dot_products=dot_products or not there)
        hidden = "" if dot_products else "_without_dot_products"
        for (name, cadence), ratio in ratios.items():
            label = f"{role}_aa" if name == "again" else f"{role}_int8_latency_ratio"
            what = "the INT8 file / itself" if name == "again" else "FP32 / INT8"
            isa = "with" if dot_products else "without"
            words = f"{what}, {role}, ONNX Runtime, batch 1, one thread, {cadence}, {isa} 8-bit dot products"
            figures[f"{label}{SUFFIX[cadence]}{hidden}"] = Measurement.of(ratio, "×", words)
    return figures


def common_figures(figures: Figures) -> Figures:
    """The worst of the asked networks, under the names that README quotes."""

    def worst(name: str, choose: Callable[..., Measurement]) -> Measurement:
        rows: Iterable[Measurement] = (figures[f"{role}_{name}"] for role in ASKED)
        return choose(rows, key=lambda figure: figure.value)

    found = {"int8_drop_points": worst("int8_drop_points", max), "int8_size_ratio": worst("int8_size_ratio", min)}
    for hidden in ("", "_without_dot_products"):
        if f"{ASKED[0]}_int8_latency_ratio{hidden}" in figures:
            found[f"int8_latency_ratio{hidden}"] = worst(f"int8_latency_ratio{hidden}", min)
    return found


def main() -> None:
    """Quantize, score, time, print, and record if asked."""
    parser = argparse.ArgumentParser(description="INT8 with our own scales, on the shipped networks.")
    parser.add_argument("--data", default="rendered", help='"rendered" or the path of an .npz')
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="fresh processes to time in; 0: no times")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results")
    options = parser.parse_args()
    key, splits = data_key(options.data), load(options.data)
    images = torch.tensor(calibration_images(splits.train, CALIBRATION, seed=SEED))
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for role in (role for role in ROLES if checkpoints.exists(f"{role}_{key}")):
            model, _ = checkpoints.load_for_split(f"{role}_{key}", splits)
            network = quantize_network(model, images)
            fp32 = export_onnx(model, Path(folder) / f"{role}_fp32.onnx")
            int8 = export_qdq(network, Path(folder) / f"{role}_int8.onnx")
            figures |= accuracy_figures(role, network, fp32, int8, splits.validation)
            if options.sessions:
                figures |= time_figures(role, fp32, int8, images[:1].numpy(), options.sessions)
            print(f"{role} done", flush=True)
    figures |= common_figures(figures)
    command = command_for("quantization", key)
    report(f"quantization_{key}", command, figures, recorded=options.record, seeds=[SEED], threads=1)


if __name__ == "__main__":
    main()
