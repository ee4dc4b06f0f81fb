"""What ONNX Runtime fused is read from its own graph, and every claim rests on a trace that it left."""

from __future__ import annotations

from collections import Counter

import onnx
import onnx.parser
import pytest
import torch
from torch import nn

from course_lib.deploy.onnx import export_onnx, fusion_table, open_session, optimized_graph, run_session
from course_lib.errors import CourseError
from course_lib.fusion import fuse
from course_lib.models import checkpoints, sign_student


@pytest.fixture(scope="module")
def teacher():
    return checkpoints.load("teacher_rendered")[0].eval()


@pytest.fixture(scope="module")
def unfolded(teacher, tmp_path_factory):
    return export_onnx(teacher, tmp_path_factory.mktemp("onnx") / "teacher.onnx", folded=False)


def test_an_unfolded_export_keeps_every_norm_and_computes_the_same(teacher, unfolded):
    kinds = Counter(node.op_type for node in onnx.load(unfolded).graph.node)
    assert kinds["BatchNormalization"] == sum(isinstance(m, nn.BatchNorm2d) for m in teacher.modules()) == 16
    images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = teacher(images).numpy()
    assert abs(run_session(open_session(unfolded), images.numpy()) - expected).max() < 1e-4 * abs(expected).max()


def test_an_unfolded_export_of_a_training_network_is_in_eval_mode(tmp_path):
    model = sign_student(0.25).train()
    path = export_onnx(model, tmp_path / "s.onnx", folded=False)
    (norm, *_) = [node for node in onnx.load(path).graph.node if node.op_type == "BatchNormalization"]
    assert len(norm.output) == 1
    assert all(module.training for module in model.modules())


def test_disabled_means_that_nothing_changed(unfolded):
    graph = optimized_graph(unfolded, "disabled")
    assert graph.kinds == Counter(node.op_type for node in onnx.load(unfolded).graph.node)
    assert all(len(node.made_of) == 1 for node in graph.nodes)
    assert graph.not_found == ()


def test_basic_folds_every_norm_and_extended_takes_the_activations(unfolded):
    basic, extended = (optimized_graph(unfolded, level) for level in ("basic", "extended"))
    assert basic.kinds["BatchNormalization"] == 0 < basic.kinds["Relu"]
    for node in basic.nodes:
        if node.kind == "Conv":
            assert node.kinds == ("Conv", "BatchNormalization")
    fused = [node for node in extended.nodes if node.kind.endswith("FusedConv")]
    assert len(fused) >= 7
    assert {node.kinds for node in fused} <= {
        ("Conv", "BatchNormalization", "Relu"),
        ("Conv", "BatchNormalization", "Add", "Relu"),
    }


@pytest.mark.parametrize("level", ["disabled", "basic", "extended", "all"])
def test_no_operator_is_claimed_twice_and_what_is_missing_did_nothing(unfolded, level):
    graph = optimized_graph(unfolded, level)
    claimed = [name for node in graph.nodes for name in node.made_of]
    assert len(claimed) == len(set(claimed))
    assert all(name.startswith("Identity") for name in graph.not_found)


def test_two_readers_of_a_convolution_keep_its_activation_apart(tmp_path):
    text = """<ir_version: 7, opset_import: ["" : 13]>
        g (float[1, 2, 4, 4] x) => (float[1, 2, 4, 4] y) <float[2, 2, 1, 1] w = {1, 2, 3, 4}>
        { [conv] a = Conv(x, w)
          [relu] b = Relu(a)
          [add] y = Add(a, b) }"""
    path = tmp_path / "two.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    graph = optimized_graph(path, "extended")
    assert {node.made_of for node in graph.nodes} == {("conv",), ("relu",), ("add",)}


def test_the_table_shows_a_row_for_each_layer_and_what_both_took_in(teacher, unfolded):
    table = fusion_table(fuse(teacher, torch.zeros(1, 3, 32, 32)), unfolded)
    rows = {name: (ours, theirs) for name, ours, theirs in table.rows}
    assert len(rows) == 17
    ours, (basic, extended, _) = rows["stem.0"]
    assert (ours, basic, extended) == (("BatchNorm", "relu"), ("BatchNorm",), ("BatchNorm", "relu"))
    assert rows["stages.0.second.0"][0] == ("BatchNorm", "sum", "relu")
    assert rows["classifier"][0] == ()
    assert table.agree >= 8
    assert "ONNX Runtime, basic" in str(table)
    assert "<table" in table._repr_html_()


def test_a_wrong_level_and_a_broken_file_are_told(unfolded, tmp_path):
    with pytest.raises(ValueError, match="level must be one of disabled, basic, extended, all, got 'most'"):
        optimized_graph(unfolded, "most")
    with pytest.raises(CourseError, match="missing"):
        optimized_graph(tmp_path / "none.onnx", "basic")
    broken = tmp_path / "broken.onnx"
    text = '<ir_version: 7, opset_import: ["" : 13]> g (float[1] x) => (float[1] y) { y = Nonsense(x) }'
    onnx.save(onnx.parser.parse_model(text), broken)
    with pytest.raises(CourseError, match="not a loadable ONNX model"):
        optimized_graph(broken, "basic")
