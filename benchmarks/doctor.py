"""Does the doctor name what is wrong, and first? Seeded faults in student and teacher: benchmarks/results/doctor.json.

    python benchmarks/doctor.py             print the result
    python benchmarks/doctor.py --record    also write benchmarks/results/doctor.json
    python benchmarks/doctor.py --quick     the student alone; is not recorded

Every fault of ``course_lib.experiments.quantization_faults`` is made in a healthy pair (a network for rendered signs,
calibrated on 256 training images, one scale a channel), and the doctor sees 256 validation images with their labels. It
is right only if its *first* finding has the fault's kind and names its layer. The healthy pairs are the control: more
than a note in one is a false alarm. Then the faults of a single layer are seeded in every convolution of student and
pruned student: limits that were set looking at one layer must hold in the others. The seconds are those of a whole
report on the healthy teacher.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_lib.data import load
from course_lib.experiments.quantization_faults import FAULTS
from course_lib.experiments.quantization_patients import Healthy, healthy, named_first, places
from course_lib.measure import Measurement, record
from course_lib.models import checkpoints
from course_lib.quantization import calibration_images
from course_lib.quantization.doctor import diagnose

NETWORKS = ("student_rendered", "teacher_rendered")
ELSEWHERE = ("student_rendered", "final_rendered")
CALIBRATION, IMAGES, FEW = 256, 256, 64
OF_THE_WHOLE = {"images_not_divided", "images_divided_twice", "blue_first", "weights_exchanged", "signed_activations"}
OF_A_LAYER = [fault for fault in FAULTS if fault.__name__ not in OF_THE_WHOLE | {"padding_with_code_0"}]


def diagnoses(name: str, well: Healthy, images: Tensor, labels: np.ndarray, faults=FAULTS) -> tuple[int, list[str]]:
    """How many faults could be seeded, and those that were not named first; prints a line for each."""
    seeded, missed = 0, []
    for fault in faults:
        patient = fault(well)
        if patient is None:
            print(f"{name:18} {fault.__name__:28} cannot be made in this network")
            continue
        seeded += 1
        fed = patient.feed(images) if patient.feed else None
        report = diagnose(patient.reference, patient.suspect, images, labels, suspect_images=fed)
        first = report.findings[0] if report.findings else None
        right = named_first(patient, report)
        missed += [] if right else [f"{name}: {fault.__name__}"]
        told = f"{first.severity}: {first.kind} in {first.where or 'the whole'}" if first else "nothing"
        flipped = report.answers.all.flipped
        print(
            f"{name:18} {fault.__name__:28} {'first' if right else 'MISSED':6} {flipped:4} flipped  {told}", flush=True
        )
    return seeded, missed


def everywhere(calibration: Tensor, folder: Path, images: Tensor, labels: np.ndarray) -> tuple[int, list[str]]:
    """As ``diagnoses``, with the faults of a single layer in each convolution of two chains."""
    seeded, missed = 0, []
    for name in ELSEWHERE:
        well = healthy(checkpoints.load(name)[0], calibration, folder)
        for layer in places(well.network):
            count, wrong = diagnoses(f"{name} {layer.name}", replace(well, at=layer.name), images, labels, OF_A_LAYER)
            seeded, missed = seeded + count, missed + wrong
    return seeded, missed


def figures_of(
    here: tuple[int, list[str]], there: tuple[int, list[str]], alarms: int, seconds: float
) -> dict[str, Measurement]:
    """Args: here: faults seeded and those missed, one layer a network; there: the same, every layer of two chains."""
    (seeded, missed), (others, unseen) = here, there
    figures = {
        "faults_seeded": Measurement(seeded, "faults", seeded, "in student and teacher", target="≥ 12"),
        "faults_named_first": Measurement(
            seeded - len(missed), "faults", seeded, "kind and layer of the first finding right", target=f"≥ {seeded}"
        ),
        "faults_seeded_everywhere": Measurement(
            others, "faults", others, "of one layer, in each convolution of two chains"
        ),
        "faults_named_first_everywhere": Measurement(
            others - len(unseen), "faults", max(1, others), f"of these; missed: {', '.join(unseen) or 'none'}"
        ),
        "false_alarms": Measurement(alarms, "pairs", len(NETWORKS), "healthy pairs with more than notes", target="≤ 0"),
        "report_seconds": Measurement(
            seconds, "s", 1, f"a whole report on the teacher, {IMAGES} images, one thread", target="≤ 60"
        ),
    }
    if missed:
        figures["faults_named_first"] = replace(figures["faults_named_first"], note=f"missed: {', '.join(missed)}")
    return figures


def main() -> None:
    """Seed, diagnose, print, and record if asked."""
    parser = argparse.ArgumentParser(description="The quantization doctor on seeded faults.")
    parser.add_argument("--quick", action="store_true", help="the student alone; is not recorded")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/doctor.json")
    options = parser.parse_args()
    if options.quick and options.record:
        parser.error("what --quick measures is not recorded")
    torch.set_num_threads(1)
    splits = load("rendered")
    calibration = torch.from_numpy(calibration_images(splits.train, CALIBRATION))
    chosen = np.linspace(0, len(splits.validation) - 1, IMAGES).astype(int)
    images, labels = splits.validation.batch(chosen)[0], splits.validation.labels[chosen]
    seeded, missed, alarms, seconds = 0, [], 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for name in NETWORKS[: 1 if options.quick else None]:
            well = healthy(checkpoints.load(name)[0], calibration, Path(folder))
            started = time.perf_counter()
            report = diagnose(well.model, well.network, images, labels)
            seconds = time.perf_counter() - started  # the last network's: the teacher's
            alarms += not report.healthy
            print(f"{name:18} {'healthy':28} {'clean' if report.healthy else 'ALARM':6} {seconds:.1f} s", flush=True)
            count, wrong = diagnoses(name, well, images, labels)
            seeded, missed = seeded + count, missed + wrong
        others, unseen = (0, []) if options.quick else everywhere(calibration, Path(folder), images[:FEW], labels[:FEW])
    figures = figures_of((seeded, missed), (others, unseen), alarms, seconds)
    for name, figure in figures.items():
        print(f"{name}: {figure.value:g} {figure.unit}, target {figure.target} {figure.note or ''}")
    if options.record:
        print(f"Written: {record('doctor', 'python benchmarks/doctor.py --record', figures, seeds=[0], threads=1)}")


if __name__ == "__main__":
    main()
