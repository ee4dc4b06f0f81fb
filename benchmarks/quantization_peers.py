"""INT8 by three tools: ours, ONNX Runtime's own, and NNCF's: benchmarks/results/quantization_peers.json.

    pip install ".[peers]"
    python benchmarks/quantization_peers.py --record                        rendered signs
    python benchmarks/quantization_peers.py --data PATH.npz --record        real ones: quantization_peers_gtsrb.json

The shipped teacher and student, the same 512 calibration images for all, no training. Every tool writes a QDQ file, and
ONNX Runtime runs them all in one process. They are scored on the whole validation part; the test part is not read.
Differences are paired by image, intervals drawn over signs.

Two settings, both with weights in 7 bits, so that the same kernels compute the same on every CPU: one weight scale for
each output channel, and one for each layer (``per_tensor``), which is harder. NNCF by itself keeps the first layer's
weights to 7 bits and others in 8 (``nncf_default``); ``OverflowFix.ENABLE`` keeps all of them to 7. NNCF's ONNX files
hold 8-bit codes only, so there is no setting with fewer bits that all three have. NNCF leaves the logits in float.

* **ours**: ``min_max``, the default of ``quantize_network``; and ``best``: observer, then equalization, then how
  weights and biases are corrected, each chosen by the least KL divergence from FP32's answers on 1,024 other *training*
  images. The scored images choose nothing.
* **ONNX Runtime**: ``quantize_static`` with min-max, and with percentiles. Its entropy calibration is left out: with as
  many bins as levels, its default, it has one range to choose, min-max's.
* **NNCF**: ``nncf.quantize`` for the CPU, with its default preset and fast bias correction; one image at a time, as its
  documentation has it. By itself its ranges end at the *mean* of the images' smallest and largest values, so that the
  brightest images are clipped; ``nncf_min_max`` has ranges that clip nothing, as the others' min-max.

Times: batch 1, one thread, back to back, files in turn; the ratios over five fresh processes.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.special import log_softmax
from torch import Tensor

from course_lib.data import SignDataset, load
from course_lib.deploy.onnx import deployable_bytes, export_onnx, open_session, run_session
from course_lib.evaluation import accuracy, accuracy_difference
from course_lib.experiments.file_times import time_ratios
from course_lib.experiments.plans import data_key
from course_lib.experiments.reporting import command_for
from course_lib.measure import BACK_TO_BACK, Measurement, latency, record
from course_lib.models import checkpoints
from course_lib.quantization import calibration_images, quantize_static_int8
from course_lib.quantization.adaround import Rounding, adaround
from course_lib.quantization.bias_correction import correct_biases
from course_lib.quantization.calibrated import ACTIVATION_CODES, QuantizedNetwork, quantize_network
from course_lib.quantization.entropy import Entropy
from course_lib.quantization.equalization import equalize
from course_lib.quantization.graph import LayerGraph, layer_graph
from course_lib.quantization.observers import LeastSquares, MinMax, Observer, Percentile
from course_lib.quantization.post_training import calibration_places
from course_lib.quantization.qdq import export_qdq

NAME, ROLES = "quantization_peers", ("teacher", "student")
CALIBRATION, CHOOSING, SEED, THREADS, SESSIONS = 512, 1024, 0, 1, 5
ROUNDING = Rounding(steps=300, batch=256)
"""A sixth of the default's work: with 7 bits there is little to learn."""
OBSERVERS: Mapping[str, Callable[[], Observer]] = {
    "min_max": MinMax,
    "percentile": Percentile,
    "least_squares": lambda: LeastSquares(ACTIVATION_CODES),
    "entropy": Entropy,
}
FINISHES: Mapping[str, Callable[[QuantizedNetwork, Tensor], QuantizedNetwork]] = {
    "nearest": lambda network, images: network,
    "bias_correction": correct_biases,
    "adaround": lambda network, images: adaround(network, images, ROUNDING),
}
PEERS = ("ort_min_max", "nncf", "nncf_min_max")
"""What our best file is to be at least equal to, in each setting."""
PER_TENSOR = "_per_tensor"
Figures = dict[str, Measurement]


@dataclass(frozen=True)
class Recipe:
    """How ranges are chosen, whether layers are equalized first, and how weights or biases are corrected."""

    observer: str = "min_max"
    equalized: bool = False
    finish: str = "nearest"

    def network(self, graph: LayerGraph, images: Tensor, *, per_channel: bool) -> QuantizedNetwork:
        """The network on codes, from calibration images."""
        graph = equalize(graph) if self.equalized else graph
        network = quantize_network(graph, images, per_channel=per_channel, observer=OBSERVERS[self.observer])
        return FINISHES[self.finish](network, images)

    def __str__(self) -> str:
        return ", ".join([self.observer, *["equalized"] * self.equalized, self.finish])


def answer_divergence(reference: np.ndarray, logits: np.ndarray) -> float:
    """Mean KL divergence of the answers from a reference's, in nats; logits (N, classes)."""
    p, q = log_softmax(reference.astype(float), 1), log_softmax(logits.astype(float), 1)
    return float((np.exp(p) * (p - q)).sum(1).mean())


def chosen_recipe(divergence: Callable[[Recipe], float]) -> tuple[Recipe, dict[str, float]]:
    """The recipe with the least divergence, one decision after the other, and what every one tried had."""
    tried: dict[Recipe, float] = {}

    def best(candidates: Iterable[Recipe]) -> Recipe:
        candidates = list(candidates)
        tried.update({one: divergence(one) for one in candidates if one not in tried})
        return min(candidates, key=tried.__getitem__)

    recipe = best(Recipe(observer) for observer in OBSERVERS)
    recipe = best(replace(recipe, equalized=flag) for flag in (False, True))
    recipe = best(replace(recipe, finish=finish) for finish in FINISHES)
    return recipe, {str(one): round(value, 6) for one, value in tried.items()}


def choosing_images(train: SignDataset, calibration: int, count: int) -> Tensor:
    """``count`` training images that are not among the calibration images, float32 in [0, 1]."""
    drawn = calibration_places(train, calibration, seed=SEED)
    others = train.subset(~np.isin(np.arange(len(train)), drawn))
    return torch.tensor(calibration_images(others, count, seed=SEED + 1))


def ours(
    graph: LayerGraph, fp32: Path, folder: Path, images: Tensor, choosing: Tensor, *, per_channel: bool
) -> tuple[dict[str, Path], dict[str, object]]:
    """Our two files, and which recipe is the best one's."""
    wanted = run_session(open_session(fp32), choosing.numpy())
    made: dict[Recipe, Path] = {}

    def divergence(recipe: Recipe) -> float:
        name = f"ours_{len(made)}{'' if per_channel else PER_TENSOR}.onnx"
        made[recipe] = export_qdq(recipe.network(graph, images, per_channel=per_channel), folder / name)
        return answer_divergence(wanted, run_session(open_session(made[recipe]), choosing.numpy()))

    recipe, tried = chosen_recipe(divergence)
    return {"ours_min_max": made[Recipe()], "ours_best": made[recipe]}, {"recipe": str(recipe), "divergences": tried}


def nncf_file(
    fp32: Path, path: Path, images: np.ndarray, *, per_channel: bool = True, seven: bool = True, min_max: bool = False
) -> Path:
    """NNCF's INT8.

    Args: seven: all weights in 7 bits, not those of the first layer alone. min_max: ranges hold every value seen.
    """
    os.environ.setdefault("NNCF_CI", "1")  # nothing is reported to its makers
    import nncf
    import onnx
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, QuantizationParameters
    from nncf.quantization.range_estimator import RangeEstimatorParameters, RangeEstimatorParametersSet

    ranges = RangeEstimatorParametersSet.MINMAX if min_max else RangeEstimatorParameters()
    advanced = AdvancedQuantizationParameters(
        overflow_fix=nncf.OverflowFix.ENABLE if seven else nncf.OverflowFix.FIRST_LAYER,
        weights_quantization_params=QuantizationParameters(per_channel=None if per_channel else False),
        activations_range_estimator_params=ranges,
    )
    model = onnx.load(fp32)
    data = nncf.Dataset([{model.graph.input[0].name: images[k : k + 1]} for k in range(len(images))])
    device = nncf.TargetDevice.CPU
    found = nncf.quantize(model, data, target_device=device, subset_size=len(images), advanced_parameters=advanced)
    onnx.save(found, path)
    return path


def peer_files(fp32: Path, folder: Path, images: np.ndarray) -> dict[str, Path]:
    """What the other two tools make."""
    ort, nncf = partial(quantize_static_int8, fp32, calibration_images=images), partial(nncf_file, fp32, images=images)
    return {
        "ort_min_max": ort(int8_path=folder / "ort_min_max.onnx"),
        "ort_percentile": ort(int8_path=folder / "ort_percentile.onnx", method="Percentile"),
        "nncf": nncf(path=folder / "nncf.onnx"),
        "nncf_default": nncf(path=folder / "nncf_default.onnx", seven=False),
        "nncf_min_max": nncf(path=folder / "nncf_min_max.onnx", min_max=True),
        f"ort_min_max{PER_TENSOR}": ort(int8_path=folder / "ort_per_tensor.onnx", per_channel=False),
        f"nncf_min_max{PER_TENSOR}": nncf(path=folder / "nncf_per_tensor.onnx", per_channel=False, min_max=True),
    }


def answer_figures(role: str, fp32: Path, files: Mapping[str, Path], part: SignDataset) -> Figures:
    """Accuracy, agreement with FP32 and bytes of each file, and what our best one gains on the others."""
    images = part.batch(np.arange(len(part)))[0].numpy()
    answers = {name: run_session(open_session(path), images).argmax(1) for name, path in files.items()}
    whole, words, count, found = run_session(open_session(fp32), images).argmax(1), f"{role}, {part}", len(part), {}
    for name, own in ({"fp32": whole} | answers).items():
        right = accuracy(own, part.labels, part.groups)
        found[f"{role}_{name}_accuracy"] = Measurement.of(right.percent, "%", f"{name}, {words}")
        same = round(100 * float((own == whole).mean()), 3)
        found[f"{role}_{name}_agreement"] = Measurement(same, "%", count, f"same class as FP32, {name}, {words}")
    for name, path in files.items():
        found[f"{role}_{name}_bytes"] = Measurement(deployable_bytes(path), "bytes", 1, f"the file, {name}, {role}")
        if name.startswith("ours"):
            continue
        for which in ("ours_best", "ours_min_max"):
            mine = which + PER_TENSOR * name.endswith(PER_TENSOR)
            gain = accuracy_difference(answers[mine], answers[name], part.labels, part.groups)
            target = "≥ 0" if which == "ours_best" and name.removesuffix(PER_TENSOR) in PEERS else None
            figure = Measurement.of(gain, "points", f"{mine} − {name}, paired, {words}", digits=4, target=target)
            found[f"{role}_{mine}_over_{name}_points"] = _explained(figure)
    return found


def _explained(figure: Measurement) -> Measurement:
    """A miss, with how many images it is."""
    images = round(-figure.value * figure.n / 100)
    sure = "the interval holds 0" if figure.possible else "the whole interval lies below 0"
    return figure.explained(f"{images} of {figure.n} images fewer are right; {sure}")


def time_figures(role: str, files: Mapping[str, Path], image: np.ndarray, sessions: int) -> Figures:
    """Milliseconds an image, and each file's time beside our best one's."""
    opened = {name: open_session(path, threads=THREADS) for name, path in files.items()}
    calls = {name: partial(run_session, session, image) for name, session in opened.items()}
    report = latency(calls, warmup=50, repeats=40, threads=THREADS, seed=SEED, cadence=BACK_TO_BACK)
    words = f"{role}, ONNX Runtime, batch 1, one thread, back to back"
    found = {}
    for name in files:
        ms, count = round(report.p50(name), 4), len(report.samples(name))
        found[f"{role}_{name}_ms"] = Measurement(ms, "ms", count, f"{name}, {words}")
    ratios = time_ratios(files, "ours_best", image, {BACK_TO_BACK: 40}, sessions)
    for (name, _), ratio in ratios.items():
        found[f"{role}_{name}_time_ratio"] = Measurement.of(ratio, "×", f"{name} / ours_best, {words}")
    return found


def files_of(
    graph: LayerGraph, fp32: Path, folder: Path, images: Tensor, choosing: Tensor
) -> tuple[dict[str, Path], dict[str, object]]:
    """All files by name, and our recipes."""
    files, recipes = {}, {}
    for setting in ("", PER_TENSOR):
        own, recipes[f"best{setting}"] = ours(graph, fp32, folder, images, choosing, per_channel=not setting)
        files |= {f"{name}{setting}": path for name, path in own.items()}
    return files | peer_files(fp32, folder, images.numpy()), recipes


def main() -> None:
    """Quantize, score, time, print, and record if asked."""
    parser = argparse.ArgumentParser(description="INT8 by ours, ONNX Runtime and NNCF, from the same images.")
    parser.add_argument("--data", default="rendered", help='"rendered" or the path of an .npz')
    parser.add_argument("--sessions", type=int, default=SESSIONS, help="fresh processes to time in; 0: no times")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results")
    options = parser.parse_args()
    key, splits = data_key(options.data), load(options.data)
    torch.set_num_threads(THREADS)
    images = torch.tensor(calibration_images(splits.train, CALIBRATION, seed=SEED))
    choosing = choosing_images(splits.train, CALIBRATION, CHOOSING)
    figures, recipes = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for role in ROLES:
            model, _ = checkpoints.load_for_split(f"{role}_{key}", splits)
            own = Path(folder) / role
            own.mkdir()
            fp32 = export_onnx(model, own / "fp32.onnx")
            files, recipes[role] = files_of(layer_graph(model), fp32, own, images, choosing)
            figures |= answer_figures(role, fp32, files, splits.validation)
            if options.sessions:
                figures |= time_figures(role, files | {"fp32": fp32}, images[:1].numpy(), options.sessions)
            lines = [f"{name}: {figure}" for name, figure in figures.items() if name.startswith(role)]
            print(f"{role}: {recipes[role]}", *lines, sep="\n", flush=True)
    if options.record:
        name, command = NAME if key == "rendered" else f"{NAME}_{key}", command_for(NAME, key)
        where = record(name, command, figures, seeds=[SEED], threads=THREADS, extra={"recipes": recipes})
        print(f"Written: {where}")


if __name__ == "__main__":
    main()
