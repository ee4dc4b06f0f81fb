"""README's table of INT8 by three tools, and the line on the time of calibration."""

from __future__ import annotations

from pathlib import Path

from course_lib.measure import load_result
from course_lib.measure.tables import markdown_table
from course_lib.publishing.numbers import number_and_target, number_text
from course_lib.storage.files import RESULTS

TOOLS = {
    "ours_best": "ours, chosen on training images",
    "ours_min_max": "ours, min-max",
    "ort_min_max": "ONNX Runtime, min-max",
    "ort_percentile": "ONNX Runtime, percentile",
    "nncf": "NNCF, its default ranges",
    "nncf_min_max": "NNCF, min-max",
}
ROLES = ("teacher", "student")
OBSERVERS = ("min_max", "moving_average", "percentile", "least_squares", "entropy")


def peers_table(folder: str | Path = RESULTS) -> str:
    """One row a tool: accuracy, what our best recipe has over it, and its time, for teacher and student.

    Raises: CourseError: the recorded file is missing or broken.
    """
    figures = load_result("quantization_peers", folder)["figures"]
    header = ["INT8 by"]
    for role in ROLES:
        header += [f"{role}: right, %", "ours, chosen − it, points", "its time / ours, chosen"]
    rows = []
    for tool, words in TOOLS.items():
        row = [words]
        for role in ROLES:
            row.append(number_text(figures[f"{role}_{tool}_accuracy"], 2, unit=False))
            if tool == "ours_best":
                row += ["–", "–"]
            else:
                over = f"{role}_ours_best_over_{tool}_points"
                row.append(number_and_target(figures[over]) if over in figures else "–")
                row.append(number_text(figures[f"{role}_{tool}_time_ratio"], 2, unit=False))
        rows.append(row)
    return markdown_table(header, rows)


def calibration_line(folder: str | Path = RESULTS) -> str:
    """One sentence: seconds of 512 images' forward passes, and of calibrating with each observer.

    Raises: CourseError: the recorded file is missing or broken.
    """
    figures = load_result("calibration", folder)["figures"]
    told = []
    for role in ROLES:
        names = [f"{name.replace('_', ' ')} {figures[f'{role}_{name}_seconds'].value:.1f}" for name in OBSERVERS]
        plain = figures[f"{role}_forward_seconds"].value
        told.append(f"{role}: forward passes alone {plain:.1f}, {', '.join(names)}")
    shares = [figures[f"{role}_{name}_share"] for role in ROLES for name in OBSERVERS]
    missed = sum(share.established is False for share in shares)
    asked = f"Asked: 1.2 times the forward passes and 2 s; {len(shares) - missed} of {len(shares)} keep to it"
    return f"Seconds to calibrate on 512 images, one thread: {'; '.join(told)}. {asked}, interval included."
