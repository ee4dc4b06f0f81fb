"""Every round times the forward passes and each observer, and the share leaves out the two seconds that are allowed."""

from __future__ import annotations

import pytest
import torch

from course_lib.models import sign_student
from course_lib.quantization.graph import layer_graph


@pytest.fixture
def benchmark(load_script):
    return load_script("benchmarks/calibration.py")


def test_calls_take_turns_in_an_order_that_moves_on_and_the_first_round_warms_up(benchmark, monkeypatch):
    clock, made = [0.0], []
    monkeypatch.setattr(benchmark.time, "process_time", lambda: clock[0])

    def call(name: str, seconds: float):
        def run() -> None:
            made.append(name)
            clock[0] += seconds

        return run

    found = benchmark.seconds_by_round({"a": call("a", 1), "b": call("b", 2), "c": call("c", 4)}, 3)
    assert found == {"a": [1, 1, 1], "b": [2, 2, 2], "c": [4, 4, 4]}
    assert "".join(made) == "abc" + "bca" + "cab" + "abc"


def test_a_share_is_of_its_own_round(benchmark):
    seconds = {"forward": [1.0, 2.0], "min_max": [3.0, 4.0], "entropy": [4.0, 6.0]}
    found = benchmark.figures_of("teacher", seconds)
    assert found["teacher_min_max_share"].value == 1.0
    assert found["teacher_entropy_share"].value == 2.0
    assert found["teacher_entropy_share"].met is False
    assert found["teacher_forward_seconds"].value == 1.5
    assert len(found) == 5


def test_all_observers_calibrate(benchmark):
    graph, images = layer_graph(sign_student(0.5)), torch.rand(3, 3, 32, 32)
    calls, first = benchmark.calls(graph, images), graph.layers[0].name
    assert list(calls) == ["forward", *benchmark.OBSERVERS]
    assert len(benchmark.OBSERVERS) == 5
    seen = graph.tensors(images)[first]
    for name, make in benchmark.OBSERVERS.items():
        observer = make()
        observer.update(seen)
        assert calls[name]().activations[first].scale == observer.affine(benchmark.ACTIVATION_CODES).scale
