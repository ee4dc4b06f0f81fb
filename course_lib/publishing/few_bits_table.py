"""README's tables of few bits: what is lost without training and with it, and what the doctor finds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from course_lib.measure import Measurement, load_result
from course_lib.measure.tables import markdown_table
from course_lib.publishing.numbers import DATA, capital, number_and_target
from course_lib.storage.files import RESULTS

WAYS = {
    "nearest": "nearest codes",
    "bias": "biases corrected",
    "adaround": "AdaRound",
    "adaround_bias": "AdaRound, biases corrected",
}
BITS = (8, 4, 3, 2)
Figures = Mapping[str, Measurement]


def post_training_table(folder: str | Path = RESULTS) -> str:
    """Points lost without training: one row a data set, network and bits of weights, one column a way to round.

    Raises: CourseError: a recorded file is missing or broken.
    """
    rows = []
    for key, words in DATA.items():
        figures = load_result(f"post_training_{key}", folder)["figures"]
        for role in ("teacher", "student"):
            for bits in BITS:
                names = [f"{role}_w{bits}a8_{way}_drop_points" for way in WAYS]
                if all(name in figures for name in names):
                    rows.append([words, role, f"{bits}", *(number_and_target(figures[name]) for name in names)])
    return markdown_table(["", "network", "bits of weights", *WAYS.values()], rows)


def training_table(folder: str | Path = RESULTS) -> str:
    """Points lost with training: one row a number of bits, two columns a data set.

    Raises: CourseError: a recorded file is missing or broken.
    """
    recorded = {key: load_result(f"quantization_training_{key}", folder) for key in DATA}
    header = ["bits of weights and activations"]
    rows = [[f"{bits}"] for bits in BITS]
    for key, words in DATA.items():
        header += [f"{words}: accuracy, %", "points lost"]
        figures: Figures = recorded[key]["figures"]
        for bits, row in zip(BITS, rows, strict=True):
            names = [f"w{bits}a{bits}_lsq_{what}" for what in ("accuracy", "drop_points")]
            row += [number_and_target(figures[name]) if name in figures else "–" for name in names]
    notes = [_control(words, recorded[key]) for key, words in DATA.items()]
    return "\n".join([markdown_table(header, rows), "", " ".join(notes)])


def doctor_line(folder: str | Path = RESULTS) -> str:
    """One sentence: faults seeded, named first, false alarms, seconds.

    Raises: CourseError: the recorded file is missing or broken.
    """
    figures: Figures = load_result("doctor", folder)["figures"]
    count = {name: round(figure.value) for name, figure in figures.items()}
    everywhere = f"{count['faults_named_first_everywhere']} of {count['faults_seeded_everywhere']}"
    return (
        f"The doctor (`course diff A B`) named {count['faults_named_first']} of {count['faults_seeded']} seeded faults "
        f"first, and {everywhere} faults of one layer put into each convolution of two networks; false alarms on "
        f"healthy pairs: {count['false_alarms']}. A report on the teacher took {figures['report_seconds'].value:.0f} s."
    )


def _control(words: str, result: Mapping[str, Any]) -> str:
    """How long all arms trained, and what the network in float32 reached."""
    figures: Figures = result["figures"]
    shipped, control = figures["shipped_accuracy"].value, number_and_target(figures["fp32_accuracy"])
    count, epochs = len(result["seeds"]), result["plan"]["epochs"]
    trained = f"{capital(words)}: {count} seeds, {epochs} epochs"
    return f"{trained}; student as shipped {shipped:.2f} %, FP32 so long {control} %."
