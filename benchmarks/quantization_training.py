"""Training with rounding, 8 to 2 bits: benchmarks/results/quantization_training_<data>.json.

    python benchmarks/quantization_training.py --record                        rendered signs
    python benchmarks/quantization_training.py --data PATH.npz --record        real ones

The shipped student is prepared for codes of 8, 4, 3 and 2 bits (``quantization.aware``; LSQ; the first and the last
layer keep 8 bits) and trained on; the control, in float32, is the same student trained as long, on the same views, in
the same order, with the same loss: labels, and the shipped student's own answers. Seeds 420 … 422, fixed before the
first of these trainings, decide order and views' order. Half of the validation signs choose the epoch, the other half
is the score; the test part is not read. (Epochs, rate and the weight of the soft targets were chosen for W2A2 in
trainings with seed 400, looking at the same signs: the seeds are new, the signs are not. The control has the same
recipe, tuned for it by nobody.) What is scored of a network on codes is its *file*: written as QDQ, run by ONNX
Runtime. Differences are paired by seed and image, intervals drawn over seeds and signs.

Fine-tuning may also cost accuracy, and a control that lost some would flatter the codes: every drop is given from the
shipped weights as well. The asked drops are also added to quantization_<data>.json.

Every finished training is kept in the course's cache, named by what decided it, so that an interrupted run continues
(``--train-only`` stops after the trainings); ``--afresh`` ignores what is kept. Training allocates and frees tensors of
megabytes at every step: with glibc, MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000 in the
environment keep them from going back to the system each time, which took most of the time on a busy virtual machine.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from course_lib.data import Augmentation, SignDataset, load
from course_lib.deploy.onnx import open_session, run_session
from course_lib.distillation import Distiller, soft_target_terms
from course_lib.evaluation import predict_logits, seed_interval
from course_lib.experiments.plans import PLANS, data_key
from course_lib.experiments.pruning_study import Parts
from course_lib.experiments.reporting import command_for, report
from course_lib.experiments.teacher_pruning import gain, right_on
from course_lib.measure import Measurement, add_figures
from course_lib.models import checkpoints
from course_lib.quantization import calibration_images
from course_lib.quantization.aware import AwareNetwork, BitWidths, FrozenStatistics, prepare
from course_lib.quantization.qdq import export_qdq
from course_lib.storage.cache import cached
from course_lib.storage.files import read_json, write_json
from course_lib.training import Recipe, fit

VERSION = 2  # of the arms: a change of any of them is a new version, and kept scores no longer count
FIRST_SEED, SEEDS, THREADS, CALIBRATION = 420, 3, 1, 512
CONTROL = "fp32"
ARMS: dict[str, BitWidths | None] = {CONTROL: None} | {f"w{b}a{b}_lsq": BitWidths(b, b) for b in (8, 4, 3, 2)}
"""Every arm's name and its bits; the control has none."""
_figure = partial(Measurement.of, digits=4)
ARMS_ON = {"rendered": tuple(ARMS), "gtsrb": (CONTROL, "w4a4_lsq", "w2a2_lsq")}
"""Which of them are trained, by data: on real signs the asked ones."""
TARGETS = {"w4a4_lsq_drop_points": "≤ 0.5", "w2a2_lsq_drop_points": "≤ 2.5"}
Rights = dict[tuple[str, int], list[int]]
"""(arm, seed) → which images of the scoring part are right."""


@dataclass(frozen=True)
class Plan:
    """What all arms on one set of signs share.

    Args:
        epochs: of each arm, ≥ 1; as many views of each image.
        augmentation: of the views.
        max_lr: peak of the one-cycle schedule.
        temperature: T of the soft targets, > 0.
        alpha: their weight, in [0, 1].
        frozen: last epochs in which BatchNorm's statistics stay.
    """

    epochs: int
    augmentation: Augmentation
    max_lr: float = 1e-2
    temperature: float = 2.0
    alpha: float = 0.5
    frozen: int = 1

    def recipe(self, seed: int) -> Recipe:
        """The training."""
        return Recipe(
            self.epochs,
            self.max_lr,
            weight_decay=0.0,
            augmentation=self.augmentation,
            views=self.epochs,
            seed=seed,
        )


STUDY = {"rendered": Plan(10, PLANS["rendered"].augmentation), "gtsrb": Plan(12, PLANS["gtsrb"].augmentation)}
"""The plans by data. One epoch of an arm takes about 20 seconds on an idle core."""


def run_arm(bits: BitWidths | None, plan: Plan, parts: Parts, shipped: nn.Module, seed: int) -> tuple[nn.Module, float]:
    """Train one arm.

    Args:
        bits: of weights and activations; None: the control.
        shipped: the student, which stays as it is.
    Returns: the network with the weights of its best epoch, and the seconds of training.
    """
    torch.manual_seed(seed)
    network = copy.deepcopy(shipped)
    if bits is not None:
        images = calibration_images(parts.train, min(CALIBRATION, len(parts.train)))
        network = prepare(shipped, torch.tensor(images), bits)
    terms = soft_target_terms(temperature=plan.temperature, alpha=plan.alpha)
    held = FrozenStatistics(plan.epochs - plan.frozen)
    with Distiller(network, shipped, terms) as loss:
        history = fit(
            network, parts.train, parts.choosing, plan.recipe(seed), loss=loss, constraint=held, progress=False
        )
    return network, history.seconds


def score(network: nn.Module, part: SignDataset) -> dict[str, Any]:
    """Which images are right, and for a network on codes, in its file, how many answers are those of the training's."""
    if not isinstance(network, AwareNetwork):
        return {"right": right_on(network, part), "agreement": 1.0}
    images = part.batch(np.arange(len(part)))[0].numpy()
    with tempfile.TemporaryDirectory() as folder:
        path = export_qdq(network.converted(), Path(folder) / "network.onnx")
        answers = run_session(open_session(path), images).argmax(1)
    same = answers == predict_logits(network, part).argmax(1).numpy()
    return {"right": (answers == part.labels).astype(int).tolist(), "agreement": float(same.mean())}


def trainings(
    key: str, parts: Parts, shipped: nn.Module, identity: Mapping[str, Any], *, afresh: bool
) -> tuple[Rights, list[dict[str, Any]]]:
    """Train every arm with every seed, or read what an earlier run kept."""
    plan, rights, told = STUDY[key], {}, []
    todo = [(FIRST_SEED + offset, arm) for offset in range(SEEDS) for arm in ARMS_ON[key]]
    for seed, arm in tqdm(todo, unit="run"):

        def train(folder: Path, arm: str = arm, seed: int = seed) -> None:
            network, seconds = run_arm(ARMS[arm], plan, parts, shipped, seed)
            write_json(folder / "score.json", {**score(network, parts.scoring), "seconds": seconds})

        bits = ARMS[arm]
        decided = {**identity, "arm": arm, "bits": None if bits is None else asdict(bits), "seed": seed}
        label = f"{key}_{arm}_seed{seed}"
        entry = cached("aware", label, decided, ["score.json"], train, needed_bytes=1_000_000, afresh=afresh)
        kept = read_json(entry / "score.json", mend=f"delete {entry}")
        rights[arm, seed] = kept["right"]
        accuracy = float(np.mean(kept["right"]))
        tqdm.write(f"{label}: {accuracy:.2%}, agreement {kept['agreement']:.2%}, {kept['seconds']:.0f} s")
        row = {"arm": arm, "seed": seed, "accuracy": accuracy}
        told.append(row | {"agreement": kept["agreement"], "seconds": kept["seconds"]})
    return rights, told


def figures_of(
    rights: Rights, shipped: list[int], groups: np.ndarray, agreements: Mapping[str, float]
) -> dict[str, Measurement]:
    """Every arm's accuracy, its drops from the control and from the shipped weights, and its file's agreement.

    Args:
        rights: of every arm that was trained, with all seeds.
        shipped: which images the shipped weights have right.
        groups: (N,): the sign that each image shows.
        agreements: the smallest of an arm's seeds, fractions.
    """
    trained = [arm for arm in ARMS if (arm, FIRST_SEED) in rights]
    rows = {arm: [rights[arm, FIRST_SEED + offset] for offset in range(SEEDS)] for arm in trained}
    words = "validation signs that did not choose the epoch; intervals over seeds and signs"
    start = round(100 * float(np.mean(shipped)), 4)
    figures = {"shipped_accuracy": Measurement(start, "%", len(shipped), f"the student; {words}")}
    for arm, found in rows.items():
        mean = seed_interval([100 * np.mean(right) for right in found])
        figures[f"{arm}_accuracy"] = Measurement.of(
            mean, "%", f"{arm}; mean over seeds; t-interval over seeds", digits=4
        )
        drop = gain([shipped] * SEEDS, found, groups)
        figures[f"{arm}_drop_from_shipped_points"] = Measurement.of(
            drop, "points", f"shipped weights − {arm}; {words}", digits=4
        )
        if arm != CONTROL:
            name = f"{arm}_drop_points"
            drop = gain(rows[CONTROL], found, groups)
            what = f"FP32 trained as long − {arm}; {words}"
            figures[name] = _noted(_figure(drop, "points", what, target=TARGETS.get(name)))
            figures[f"{arm}_agreement"] = Measurement(
                round(100 * agreements[arm], 4),
                "%",
                SEEDS,
                f"same class, {arm} in ONNX Runtime and as it trained; the least of the seeds",
                target="≥ 99.5",
            )
    return figures


def _noted(figure: Measurement) -> Measurement:
    """The figure, and a note if it misses its target."""
    within = "the interval holds the target" if figure.possible else "the whole interval misses it"
    return figure.explained(f"this student loses so much in so many epochs; {within}")


def main() -> None:
    """Train, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Train the shipped student on codes of 8 to 2 bits.")
    parser.add_argument("--data", default="rendered", help='"rendered" or the path of an .npz')
    parser.add_argument("--afresh", action="store_true", help="train again what an earlier run kept")
    parser.add_argument("--train-only", action="store_true", help="stop after the trainings")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    key = data_key(options.data)
    splits = load(options.data)
    shipped, card = checkpoints.load_for_split(f"student_{key}", splits)
    parts = Parts.of(splits, train=splits.train)
    identity = {
        "version": VERSION,
        "data": checkpoints.fingerprint(splits),
        "plan": asdict(STUDY[key]),
        "student": card["sha256"],
        "calibration": CALIBRATION,
    }
    rights, told = trainings(key, parts, shipped, identity, afresh=options.afresh)
    if options.train_only:
        return
    agreements = {arm: min(row["agreement"] for row in told if row["arm"] == arm) for arm in ARMS_ON[key]}
    figures = figures_of(rights, right_on(shipped, parts.scoring), parts.scoring.groups, agreements)
    command, seeds = command_for("quantization_training", key), list(range(FIRST_SEED, FIRST_SEED + SEEDS))
    extra = {"plan": asdict(STUDY[key]), "scores": told}
    name = f"quantization_training_{key}"
    report(name, command, figures, recorded=options.record, seeds=seeds, threads=THREADS, extra=extra)
    if options.record:
        asked = {name: figures[name] for name in TARGETS}
        add_figures(f"quantization_{key}", command, asked, seeds=seeds, threads=THREADS)


if __name__ == "__main__":
    main()
