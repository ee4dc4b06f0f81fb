"""The course's networks in every runtime that is installed here: runtimes.json.

    python benchmarks/runtimes.py                                        print the result
    python benchmarks/runtimes.py --mobilenet WEIGHTS --images FOLDER    with torchvision's pretrained MobileNetV2, too
    python benchmarks/runtimes.py … --record                             also write benchmarks/results/runtimes.json

For each network one ledger: PyTorch eager in float32 first, then each runtime in float32, and ONNX Runtime and OpenVINO
on the same QDQ file, too; interleaved, one thread, batch 1, single calls back to back and 30 a second, with an A/A row.
The images are those that the network classifies: the drawn test signs, or the photographs of FOLDER with their mirror
images and corners. Figures: the fastest runtime beside eager PyTorch among those that agree with it, what our callable
adds to the runtime's own call, and by how much the order of the rows differs between the two cadences. ``curves`` holds
calls of 1, 8 and 32 images on 1 and 2 threads.

``torch_fused`` is chapter 15's fusion, the fastest of its candidates: which one, and all their times, is in its notes.

Runtimes that are not installed are listed under ``absent`` with the command that brings them, and so is what a runtime
refused. ``--without`` leaves some out.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from course_lib.data import load as load_data
from course_lib.data.folder import image_folder
from course_lib.deploy.onnx import onnx_counts, open_session, run_session
from course_lib.deploy.runtimes import Loaded, load, runtime_variant, runtimes
from course_lib.errors import CourseError
from course_lib.evaluation import Estimate, accuracy
from course_lib.experiments.reporting import report
from course_lib.fusion import fastest
from course_lib.measure import (
    BACK_TO_BACK,
    THIRTY_A_SECOND,
    Cadence,
    Ledger,
    Measurement,
    latency,
    measure_ledger,
    torch_threads,
)
from course_lib.measure.variant import predict_classes
from course_lib.models import checkpoints
from course_lib.models.pretrained import SIZE, mobilenet_v2
from course_lib.quantization import Codes
from course_lib.quantization.bias_correction import correct_biases
from course_lib.quantization.calibrated import QuantizedNetwork, quantize_network
from course_lib.quantization.post_training import calibration_images
from course_lib.quantization.qdq import export_qdq

NAME, THREADS, SEED = "runtimes", 1, 0
NETWORKS = {"teacher": "teacher_rendered", "student": "student_rendered", "pruned": "final_rendered"}
REFERENCE = "torch float32"
FLOAT = ("torch", "torch_fused", "torch_compile", "onnxruntime", "openvino", "litert", "executorch")
INTEGER = ("onnxruntime", "openvino")
AGREEMENT, FASTER, OVERHEAD = 0.995, 3.0, 3.0
BATCHES, CURVE_THREADS, CURVE_RUNTIMES = (1, 8, 32), (1, 2), ("torch", "onnxruntime", "openvino")


@dataclass(frozen=True)
class Subject:
    """A network and what it is measured on.

    Args:
        name: of its rows.
        model: in float32.
        images: (N, 3, H, W), float32 in [0, 1].
        labels: (N,).
        groups: (N,) of images that are views of one, or of one sign; None if they are independent.
        calibration: (M, 3, H, W), for the INT8 scales, none of them among ``images``.
        about: what the images are, in words.
    """

    name: str
    model: nn.Module
    images: np.ndarray
    labels: np.ndarray
    groups: np.ndarray | None
    calibration: np.ndarray
    about: str
    careful: bool = False  # 8 bits for the weights in place of 7, and corrected biases

    def quantized(self) -> QuantizedNetwork:
        """In 8 bits, with a scale for each channel of the weights and min-max for the activations."""
        images = torch.tensor(self.calibration)
        if not self.careful:
            return quantize_network(self.model, images)
        network = quantize_network(self.model, images, weight_codes=Codes(8, restricted=True))
        return correct_biases(network, images)

    @property
    def shape(self) -> tuple[int, ...]:
        """(1, 3, H, W)."""
        return (1, *self.images.shape[1:])


def signs(count: int) -> Iterator[Subject]:
    """The course's shipped networks on drawn signs of the test part."""
    splits = load_data("rendered")
    places = np.linspace(0, len(splits.test) - 1, min(count, len(splits.test))).astype(int)
    images, labels = splits.test.batch(places)
    calibration = calibration_images(splits.train, 128)
    for name, file in NETWORKS.items():
        model, _ = checkpoints.load(file)
        about = f"{len(places)} drawn signs of the test part"
        yield Subject(name, model, images.numpy(), labels.numpy(), splits.test.groups[places], calibration, about)


def photographs(weights: Path, folder: Path) -> Subject:
    """MobileNetV2 on the photographs of a folder: each as it is scored, mirrored, and four corners of it.

    Its depthwise layers lose much with the course's default, 7 bits for the weights; so it gets 8 and corrected biases.
    On a processor without 8-bit dot products ONNX Runtime's sums of such weights can overflow. The scales come from
    mirrored corners: other views of the same photographs, since there are no others.
    """
    middle, labels = image_folder(folder, SIZE)
    large, _ = image_folder(folder, SIZE * 8 // 7)
    far = large.shape[-1] - SIZE
    corners = [large[:, :, y : y + SIZE, x : x + SIZE] for y in (0, far) for x in (0, far)]
    views = [middle, middle[..., ::-1], *corners]
    images = np.ascontiguousarray(np.concatenate(views))
    calibration = np.ascontiguousarray(np.concatenate([corner[..., ::-1] for corner in corners[::3]]))
    groups = np.tile(np.arange(len(labels)), len(views))
    about = f"{len(labels)} photographs in {len(views)} views each (middle, mirrored, four corners)"
    tiled = np.tile(labels, len(views))
    return Subject("mobilenet_v2", mobilenet_v2(weights), images, tiled, groups, calibration, about, careful=True)


def opened(subject: Subject, int8: Path, absent: dict[str, str]) -> dict[str, Loaded]:
    """Row's name -> loaded network, the reference first; what cannot be opened goes to ``absent`` with the reason."""
    found: dict[str, Loaded] = {}
    plan = [(name, "float32", subject.model) for name in FLOAT] + [(name, "int8", int8) for name in INTEGER]
    plan = [one for one in plan if one[0] not in absent]
    plan.insert(1, ("torch", "float32, channels last", subject.model))
    for runtime, words, model in plan:
        try:
            last, chosen = "channels" in words, None
            if runtime == "torch_fused":
                chosen = fastest(subject.model, torch.tensor(subject.images[:1]))
            rewrite = None if chosen is None else lambda _, made=chosen.fusion.model: made
            one = load(model, runtime, threads=THREADS, input_shape=subject.shape, channels_last=last, fuse=rewrite)
            found[f"{runtime} {words}"] = one if chosen is None else replace(one, notes=(*one.notes, str(chosen)))
        except CourseError as error:
            absent[f"{subject.name}: {runtime} {words}"] = str(error)
    return found


def rows(subject: Subject, paces: dict[Cadence, int], absent: dict[str, str]) -> tuple[Ledger, list[dict[str, Any]]]:
    """The ledger of one network in all runtimes, and a record of each row."""
    with tempfile.TemporaryDirectory() as folder:
        int8, plain = Path(folder) / "int8.onnx", Path(folder) / "float.onnx"
        export_qdq(subject.quantized(), int8, input_shape=subject.shape)
        load(subject.model, "onnxruntime", input_shape=subject.shape, keep=plain)
        counts = {"float32": onnx_counts(plain), "int8": onnx_counts(int8)}
        networks = opened(subject, int8, absent)
        variants = [
            runtime_variant(one, name, counts=counts["int8" if name.endswith("int8") else "float32"])
            for name, one in networks.items()
        ]
        again = load(subject.model, "torch", threads=THREADS, input_shape=subject.shape)
        ledger = measure_ledger(
            variants,
            subject.images,
            subject.labels,
            groups=subject.groups,
            title=f"{subject.name} in every runtime",
            data=subject.about,
            threads=THREADS,
            warmup=10,
            repeats=2,
            seed=SEED,
            batch=1,
            cadences=paces,
            again=runtime_variant(again, "again"),
        )
        classes = {v.name: predict_classes(v, subject.images, batch=1) for v in variants}
    found = []
    for row in ledger.rows:
        same = accuracy(classes[row.name], classes[REFERENCE], subject.groups, seed=SEED)
        found.append({**_row(subject, row, networks[row.name], ledger), "agreement": asdict(same)})
    return ledger, found


def _row(subject: Subject, row: Any, one: Loaded, ledger: Ledger) -> dict[str, Any]:
    times = {}
    for own, pace in zip(row.times, ledger.cadences, strict=True):
        speedup = None if own.speedup is None else asdict(own.speedup)
        times[pace.name] = {"ms": round(own.p50, 4), "p95_ms": round(own.p95, 4), "faster_than_eager": speedup}
    facts = ("runtime", "version", "provider", "instruction_set", "precision", "threads", "load_ms", "bytes", "notes")
    return {
        "network": subject.name,
        "row": row.name,
        **{fact: getattr(one, fact) for fact in facts},
        "images": subject.about,
        "accuracy": asdict(row.accuracy),
        "times": times,
    }


def best(found: list[dict[str, Any]], network: str) -> Measurement | None:
    """The fastest row back to back of those that agree with eager PyTorch, as times faster than it."""
    mine = [row for row in found if row["network"] == network and row["row"] != REFERENCE]
    fit = [row for row in mine if row["agreement"]["value"] >= AGREEMENT]
    if not fit:
        return None
    ratios = {row["row"]: Estimate(**row["times"][BACK_TO_BACK.name]["faster_than_eager"]) for row in fit}
    name = max(ratios, key=lambda row: ratios[row].value)
    meaning = f"{network}: PyTorch eager float32 / {name}, which gives at least {AGREEMENT:.1%} equal classes; batch 1"
    figure = Measurement.of(ratios[name], "×", f"{meaning}, {THREADS} thread, back to back", target=f"≥ {FASTER:g}")
    return figure.explained("no runtime here is three times as fast and agrees")


def moved(found: list[dict[str, Any]], network: str) -> Measurement:
    """How many pairs of rows are in another order at 30 calls a second than back to back, their intervals apart."""
    mine = [row for row in found if row["network"] == network and row["row"] != REFERENCE]
    turned = 0
    for i, one in enumerate(mine):
        for other in mine[i + 1 :]:
            signs_ = [_order(one, other, pace.name) for pace in (BACK_TO_BACK, THIRTY_A_SECOND)]
            turned += signs_[0] * signs_[1] < 0
    pairs = len(mine) * (len(mine) - 1) // 2
    meaning = f"{network}: pairs of rows whose order turns round between back to back and 30 a second, of {pairs}"
    return Measurement(turned, "pairs", max(1, pairs), meaning)


def _order(one: dict[str, Any], other: dict[str, Any], pace: str) -> int:
    """1 if ``one`` is faster, −1 if slower, 0 if the intervals overlap."""
    a, b = (row["times"][pace]["faster_than_eager"] for row in (one, other))
    return int(a["low"] > b["high"]) - int(b["low"] > a["high"])


def session_overhead(model: nn.Module, image: np.ndarray, repeats: int) -> dict[str, Measurement]:
    """What our callable and ``run_session`` add to ONNX Runtime's bare call, in % of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        ours = load(model, "onnxruntime", input_shape=image.shape, keep=path)
        session = open_session(path)
    run, feed, wanted = session.run, {"images": image}, ["logits"]
    again = load(model, "onnxruntime", input_shape=image.shape)
    calls: dict[str, Callable[[], Any]] = {
        "bare": lambda: run(wanted, feed),
        "loaded": lambda: ours(image),
        "run_session": lambda: run_session(session, image),
        "loaded again": lambda: again(image),
    }
    timed = latency(calls, warmup=50, repeats=repeats, threads=1, seed=SEED, cadence=BACK_TO_BACK)
    found = {}
    for key, name in (("session_overhead", "loaded"), ("run_session_overhead", "run_session")):
        ratio = timed.ratio(name, "bare")
        value, low, high = (round(100 * (x - 1), 2) for x in (ratio.value, ratio.low, ratio.high))
        target = f"≤ {OVERHEAD:g}" if key == "session_overhead" else None
        meaning = f"time that {name} adds to session.run of the smallest network ({timed.p50('bare'):.3f} ms)"
        figure = Measurement(value, "%", repeats, meaning, low, high, target)
        found[key] = figure.explained("a call of some tens of microseconds: Python's own calls show")
    return found


def curves(subject: Subject, repeats: int, absent: dict[str, str]) -> list[dict[str, Any]]:
    """ms of a call and images a second, by runtime, batch and threads, interleaved within a batch and thread count.

    A runtime that does not give the threads that it is asked for goes to ``absent``, with the reason.
    """
    found = []
    for threads in CURVE_THREADS:
        for batch in BATCHES:
            images = np.ascontiguousarray(np.resize(subject.images, (batch, *subject.images.shape[1:])))
            networks = {}
            for runtime in [name for name in CURVE_RUNTIMES if runtimes()[name].available]:
                try:
                    networks[runtime] = load(subject.model, runtime, threads=threads, input_shape=images.shape)
                except CourseError as error:
                    absent[f"{subject.name}: {runtime}, batch {batch}, {threads} threads"] = str(error)
            calls = {name: lambda one=one, images=images: one(images) for name, one in networks.items()}
            if not calls:
                continue
            with torch_threads(threads):
                timed = latency(calls, warmup=5, repeats=repeats, threads=threads, seed=SEED)
            for name in calls:
                ms = timed.p50(name)
                row = {"network": subject.name, "runtime": name, "batch": batch, "threads": threads}
                found.append({**row, "ms": round(ms, 4), "images_a_second": round(1000 * batch / ms, 1)})
    return found


def figures(subjects: list[Subject], found: list[dict[str, Any]]) -> dict[str, Measurement]:
    """What is quoted: for each network the best row, the pairs that turn round, and the accuracy on photographs."""
    quoted: dict[str, Measurement] = {}
    for subject in subjects:
        fastest = best(found, subject.name)
        if fastest is not None:
            quoted[f"best_over_eager_{subject.name}"] = fastest
        quoted[f"turned_pairs_{subject.name}"] = moved(found, subject.name)
        for row in (row for row in found if row["network"] == subject.name and row["row"].endswith("int8")):
            key = f"agreement_{subject.name}_{row['runtime']}_int8"
            meaning = f"{subject.name}: same class as eager float32, {row['row']}, {subject.about}"
            quoted[key] = Measurement.of(Estimate(**row["agreement"]), "", meaning, digits=4)
    return quoted


def main() -> None:
    """Measure, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Time the course's networks in every runtime.")
    parser.add_argument("--record", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    parser.add_argument("--mobilenet", type=Path, help="torchvision's mobilenet_v2-b0353104.pth")
    parser.add_argument("--images", type=Path, help="folder of photographs with ImageNet's labels")
    parser.add_argument("--rounds", type=int, default=60, help="of 20 calls back to back; half as many 30 a second")
    parser.add_argument("--without", nargs="*", default=[], choices=FLOAT, help="runtimes that are left out")
    parser.add_argument("--count", type=int, default=1000, help="signs that are classified")
    options = parser.parse_args()
    if (options.mobilenet is None) != (options.images is None):
        parser.error("--mobilenet and --images belong together")
    subjects = list(signs(options.count))
    if options.mobilenet is not None:
        subjects.append(photographs(options.mobilenet, options.images))
    absent = {one.name: f"{one.reason}; {one.mend}" for one in runtimes().values() if not one.available}
    absent |= dict.fromkeys(options.without, "left out with --without")
    paces = {BACK_TO_BACK: options.rounds, THIRTY_A_SECOND: max(2, options.rounds // 2)}
    found, curve = [], []
    with torch_threads(THREADS):
        for subject in subjects:
            ledger, some = rows(subject, paces, absent)
            print(ledger)
            found += some
        quoted = session_overhead(subjects[2].model, subjects[2].images[:1], 5 * options.rounds)
        for subject in (subjects[0], subjects[-1]):
            curve += curves(subject, options.rounds, absent)
    quoted = {**figures(subjects, found), **quoted}
    command = f"python benchmarks/{NAME}.py --mobilenet WEIGHTS --images FOLDER --record"
    extra = {"rows": found, "curves": curve, "absent": absent}
    report(NAME, command, quoted, recorded=options.record, seeds=[SEED], threads=THREADS, extra=extra)


if __name__ == "__main__":
    main()
