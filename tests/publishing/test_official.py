"""What README says of real signs beside published networks: recorded numbers, or that nobody measured them."""

from __future__ import annotations

import json

import pytest

from course_lib.experiments.main_job import FINAL, SMALL, TEACHER
from course_lib.publishing.official import PUBLISHED, official_table


def record(folder, key, names):
    def row(place, name):
        right = 100 - place
        change = None if place == 0 else {"value": -float(place), "low": -place - 0.5, "high": -place + 0.5}
        accuracy = {"value": right / 200, "low": right / 200 - 0.01, "high": right / 200 + 0.01, "n": 200}
        return {"name": name, "size_bytes": 5_000_000 >> place, "accuracy": accuracy, "accuracy_change": change}

    rows = [row(i, name) for i, name in enumerate(names)]
    content = {"command": "c", "date": "2026-01-02", "machine": {"isa": []}, "figures": {}, "ledger": {"rows": rows}}
    (folder / f"journey_{key}__a_cpu.json").write_text(json.dumps(content), encoding="utf-8")


def line(table, name):
    return next(text for text in table.splitlines() if text.startswith(f"| {name} |"))


def test_without_the_official_files_the_column_says_that_nobody_measured_it(tmp_path):
    record(tmp_path, "gtsrb", (TEACHER, FINAL, SMALL))
    table = official_table(tmp_path)
    assert line(table, TEACHER) == f"| {TEACHER} | 5.00 MB | 50.00 [49.00, 51.00] | not measured here | – | – |"
    assert table.count("not measured here") == 3


def test_with_them_it_shows_k_of_n_and_the_difference_to_the_teacher_on_the_same_images(tmp_path):
    record(tmp_path, "gtsrb_official", (TEACHER, FINAL))
    table = official_table(tmp_path)
    assert line(table, TEACHER).endswith("| not measured here | 50.00 [49.00, 51.00] | 100 of 200 | – |")
    assert line(table, FINAL).endswith("| 49.50 [48.50, 50.50] | 99 of 200 | −1.00 [−1.50, −0.50] |")
    assert line(table, SMALL) == f"| {SMALL} | not measured here | not measured here | not measured here | – | – |"


@pytest.mark.parametrize("network", PUBLISHED, ids=lambda network: network.name)
def test_a_published_number_stands_with_its_source_and_in_the_official_column_only(tmp_path, network):
    table = official_table(tmp_path)
    assert line(table, network.name).split(" | ")[2:4] == ["–", network.accuracy]
    assert f"{network.name}: {network.source}" in table
