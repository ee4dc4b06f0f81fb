"""The benchmark's figures say what its rows say; absent runtimes are listed; nothing is written unless asked."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image

from course_lib.errors import CourseError
from course_lib.measure import BACK_TO_BACK, THIRTY_A_SECOND, Cadence, torch_threads


@pytest.fixture(scope="module")
def benchmark(load_script):
    return load_script("benchmarks/runtimes.py")


def row(name: str, agreement: float, fast: tuple[float, float, float], slow: tuple[float, float, float]) -> dict:
    ratios = {BACK_TO_BACK.name: fast, THIRTY_A_SECOND.name: slow}
    times = {
        pace: {"faster_than_eager": dict(zip(("value", "low", "high", "n", "unit"), (*three, 9, "×"), strict=True))}
        for pace, three in ratios.items()
    }
    same = {"value": agreement, "low": agreement, "high": agreement, "n": 100, "unit": ""}
    return {"network": "net", "row": name, "runtime": name.split()[0], "agreement": same, "times": times}


ROWS = [
    row("torch float32", 1.0, (9, 9, 9), (9, 9, 9)),
    row("onnxruntime float32", 1.0, (3.0, 2.9, 3.1), (2.0, 1.9, 2.1)),
    row("openvino float32", 0.996, (4.0, 3.9, 4.1), (1.5, 1.4, 1.6)),
    row("openvino int8", 0.98, (8.0, 7.9, 8.1), (1.55, 1.4, 1.9)),
]


def test_the_best_row_is_the_fastest_that_agrees(benchmark):
    found = benchmark.best(ROWS, "net")
    assert (found.value, found.low, found.high) == (4.0, 3.9, 4.1)
    assert "openvino float32" in found.meaning
    assert found.met
    assert benchmark.best(ROWS[3:], "net") is None


def test_a_slow_best_row_carries_its_reason(benchmark):
    found = benchmark.best([row("onnxruntime float32", 1.0, (2.0, 1.9, 2.1), (1, 1, 1))], "net")
    assert found.met is False
    assert found.note


def test_pairs_that_turn_round_are_counted_only_where_intervals_are_apart(benchmark):
    found = benchmark.moved(ROWS, "net")
    assert found.value == 1  # onnxruntime float32 and openvino float32; int8's slow interval overlaps both
    assert "of 3" in found.meaning


def test_every_runtime_of_a_network_stands_in_its_ledger(benchmark, monkeypatch):
    for module in ("openvino", "ai_edge_litert", "executorch"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(benchmark, "FLOAT", ("torch", "onnxruntime", "openvino"))
    absent: dict[str, str] = {}
    subject = list(benchmark.signs(30))[2]
    with torch_threads(1):
        ledger, rows = benchmark.rows(subject, {Cadence(BACK_TO_BACK.name, calls=2): 2}, absent)
    names = ["torch float32", "torch float32, channels last", "onnxruntime float32", "onnxruntime int8"]
    assert [row["row"] for row in rows] == names
    assert [row["precision"] for row in rows] == ["float32"] * 3 + ["int8"]
    assert rows[2]["agreement"]["value"] == 1
    assert rows[3]["agreement"]["value"] > 0.9
    assert len(ledger.again) == 1
    assert sorted(absent) == ["pruned: openvino float32", "pruned: openvino int8"]
    assert all("pip install" in reason for reason in absent.values())
    assert json.loads(json.dumps(rows)) is not None


def test_curves_cover_batches_and_threads(benchmark, monkeypatch):
    monkeypatch.setattr(benchmark, "CURVE_RUNTIMES", ("onnxruntime",))
    subject = list(benchmark.signs(4))[2]
    found = benchmark.curves(subject, 2, {})
    assert [(row["batch"], row["threads"]) for row in found] == [(b, t) for t in (1, 2) for b in (1, 8, 32)]
    assert all(row["images_a_second"] > 0 for row in found)


def test_a_runtime_that_gives_other_threads_than_asked_is_told_and_left_out_of_the_curves(benchmark, monkeypatch):
    def load(model, runtime, *, threads, input_shape):
        if threads > 1:
            raise CourseError(f"{runtime} was asked for threads {threads} and uses 1")
        return lambda images: images

    monkeypatch.setattr(benchmark, "CURVE_RUNTIMES", ("onnxruntime",))
    monkeypatch.setattr(benchmark, "load", load)
    absent: dict[str, str] = {}
    found = benchmark.curves(list(benchmark.signs(4))[2], 2, absent)
    assert {row["threads"] for row in found} == {1}
    assert sorted(absent) == [f"pruned: onnxruntime, batch {batch}, 2 threads" for batch in (1, 32, 8)]


def test_overhead_is_given_in_percent_of_the_bare_call(benchmark):
    subject = list(benchmark.signs(1))[2]
    found = benchmark.session_overhead(subject.model, subject.images, 3)
    assert set(found) == {"session_overhead", "run_session_overhead"}
    assert found["session_overhead"].unit == "%"
    assert found["session_overhead"].target == "≤ 3"


def test_views_of_a_photograph_share_a_group_and_none_is_calibrated_on(benchmark, monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    for label in (4, 9):
        noise = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"p_{label}.png")
    monkeypatch.setattr(benchmark, "mobilenet_v2", lambda weights: None)
    monkeypatch.setattr(benchmark, "SIZE", 28)
    found = benchmark.photographs(tmp_path, tmp_path)
    assert found.images.shape == (12, 3, 28, 28)
    assert found.labels.tolist() == [4, 9] * 6
    assert found.groups.tolist() == [0, 1] * 6
    for one in found.calibration:
        assert not any(np.array_equal(one, other) for other in found.images)
    assert "2 photographs in 6 views" in found.about
