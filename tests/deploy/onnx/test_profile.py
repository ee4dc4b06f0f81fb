"""Times per layer from ONNX Runtime's profile: each layer found under its module's name, nothing lost."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.deploy.onnx import export_onnx
from course_lib.deploy.onnx.profile import OTHER, _owner, layer_times_ms, module_of, node_times_ms
from course_lib.errors import CourseError
from course_lib.measure import count_layers
from course_lib.models import SignStudent, SignTeacher

IMAGE = np.zeros((1, 3, 32, 32), np.float32)
ONCE = {"threads": 1, "warmup": 1, "repeats": 3}
MODELS = {
    "student": SignStudent(channels=[4] * 5),
    "teacher": SignTeacher(channels=(4, 8), blocks=(1, 2)),  # with and without a projection in the shortcut
}


@pytest.fixture(scope="module", params=MODELS)
def exported(request, tmp_path_factory):
    model = MODELS[request.param].eval()
    return model, export_onnx(model, tmp_path_factory.mktemp("profile") / "model.onnx")


def test_every_convolution_and_linear_layer_is_found(exported):
    model, path = exported
    counts = count_layers(model, IMAGE.shape)
    kinds = [kind for kind, _ in node_times_ms(path, IMAGE, **ONCE).values()]
    assert sum(kind in ("Conv", "Gemm", "FusedConv") for kind in kinds) == len(counts)
    # A time of less than half a microsecond is written as 0; such a layer is absent.
    assert set(layer_times_ms(path, IMAGE, counts, **ONCE)) <= {*counts, OTHER}


def test_the_exporters_names_lead_back_to_the_modules(exported):
    model, path = exported
    counts = count_layers(model, IMAGE.shape)
    nodes = {node: kind for node, (kind, _) in node_times_ms(path, IMAGE, **ONCE).items()}
    owners = [_owner(module_of(n), list(counts)) for n, kind in nodes.items() if kind in ("Conv", "Gemm", "FusedConv")]
    assert sorted(owners) == sorted(counts)


def test_layer_times_add_up_to_the_operators_times(exported, monkeypatch):
    model, path = exported
    nodes = {name: (kind, 1.0) for name, (kind, _) in node_times_ms(path, IMAGE, **ONCE).items()}
    monkeypatch.setattr("course_lib.deploy.onnx.profile.node_times_ms", lambda *_, **__: nodes)
    times = layer_times_ms(path, IMAGE, count_layers(model, IMAGE.shape), **ONCE)
    assert sum(times.values()) == len(nodes)
    assert all(ms == 1.0 for layer, ms in times.items() if layer != OTHER)


def test_warm_up_calls_are_dropped(monkeypatch):
    def profile(*_):
        return [
            {"cat": "Node", "name": "/a/Conv_kernel_time", "dur": us, "args": {"op_name": "Conv"}}
            for us in (900, 800, 2, 3, 4)
        ]

    monkeypatch.setattr("course_lib.deploy.onnx.profile._profile", profile)
    assert node_times_ms("model.onnx", IMAGE, threads=1, warmup=2, repeats=3) == {"/a/Conv": ("Conv", 0.003)}


def test_a_file_that_is_missing_or_no_model_is_named(tmp_path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    for path in (broken, tmp_path / "absent.onnx"):
        with pytest.raises(CourseError, match=path.name):
            node_times_ms(path, IMAGE, **ONCE)


def test_no_repeats_are_refused(tmp_path):
    with pytest.raises(ValueError, match="at least 1, got 1, 1, 0"):
        node_times_ms(tmp_path / "x.onnx", IMAGE, threads=1, warmup=1, repeats=0)
