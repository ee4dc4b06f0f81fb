"""Exported files are one file at opset 13 and IR 7 that computes what PyTorch computes; broken files are refused."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from course_lib.deploy.onnx import export_onnx, open_session, run_session, shorten_names
from course_lib.errors import CourseError
from course_lib.models import SignTeacher, sign_student


@pytest.fixture(scope="module")
def student():
    torch.manual_seed(0)
    model = sign_student(0.5)
    model.train()
    with torch.no_grad():  # BatchNorm statistics that are not the initial ones
        for _ in range(3):
            model(torch.rand(16, 3, 32, 32))
    return model.eval()


@pytest.fixture(scope="module")
def exported(student, tmp_path_factory):
    return export_onnx(student, tmp_path_factory.mktemp("onnx") / "student.onnx")


def test_the_file_is_opset_13_and_ir_7_with_a_dynamic_batch(exported):
    graph = onnx.load(exported)
    assert (graph.opset_import[0].version, graph.ir_version) == (13, 7)
    assert [entry.name for entry in graph.graph.input] == ["images"]
    assert graph.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert graph.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 43


def test_the_file_stands_alone_and_batchnorm_is_folded_away(exported):
    assert [path.name for path in exported.parent.iterdir()] == ["student.onnx"]
    assert "BatchNormalization" not in {node.op_type for node in onnx.load(exported).graph.node}


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_onnx_runtime_computes_what_pytorch_computes(student, exported, batch):
    images = torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(batch))
    with torch.inference_mode():
        expected = student(images).numpy()
    found = run_session(open_session(exported), images.numpy(), batch_size=2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_teacher_with_its_residual_sums_exports_too(tmp_path):
    path = export_onnx(SignTeacher(channels=(8, 8, 16, 16), blocks=(1, 1, 1, 1)), tmp_path / "teacher.onnx")
    assert "Add" in {node.op_type for node in onnx.load(path).graph.node}


def test_a_teacher_trained_with_dropout_exports_the_very_file_of_one_without(tmp_path):
    files = []
    for name, dropout in (("without", 0.0), ("with", 0.5)):
        torch.manual_seed(0)
        model = SignTeacher(channels=(8, 8), blocks=(1, 1), dropout=dropout)
        files.append(export_onnx(model, tmp_path / f"{name}.onnx").read_bytes())
    assert files[0] == files[1]


def test_the_models_mode_is_restored(student, tmp_path):
    student.train()
    export_onnx(student, tmp_path / "s.onnx")
    assert student.training
    student.eval()


class Noisy(nn.Module):
    """Not a function of its input: the exported copy cannot agree."""

    def forward(self, images):
        return images.mean((2, 3)) + torch.rand(1)


def test_a_network_that_the_file_does_not_reproduce_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(ValueError, match="differ by"):
        export_onnx(Noisy(), tmp_path / "noisy.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x07\x12"], ids=["empty", "text", "cut"])
def test_a_file_that_is_no_model_is_one_line_naming_it(tmp_path, content):
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(CourseError, match=r"broken\.onnx: not a loadable ONNX model.*Mend: export it again") as error:
        open_session(path)
    assert "\n" not in str(error.value)


def test_a_truncated_model_is_refused(exported, tmp_path):
    path = tmp_path / "short.onnx"
    path.write_bytes(exported.read_bytes()[:-5000])
    with pytest.raises(CourseError, match=r"short\.onnx"):
        open_session(path)


def test_a_missing_file_and_no_threads_are_refused(tmp_path, exported):
    with pytest.raises(CourseError, match="no such ONNX file"):
        open_session(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        open_session(exported, threads=0)


def test_the_number_of_threads_is_the_one_that_was_asked_for(exported):
    assert open_session(exported, threads=2).get_session_options().intra_op_num_threads == 2


def test_short_names_compute_the_same_from_fewer_bytes(student, exported, tmp_path):
    path = tmp_path / "short.onnx"
    path.write_bytes(exported.read_bytes())
    shorten_names(path)
    images = np.random.default_rng(0).random((4, 3, 32, 32), dtype=np.float32)
    assert np.array_equal(run_session(open_session(path), images), run_session(open_session(exported), images))
    assert path.stat().st_size < exported.stat().st_size
    assert onnx.load(path).graph.input[0].name == "images"
    onnx.checker.check_model(onnx.load(path), full_check=True)


def test_a_graph_with_branches_is_not_renamed(tmp_path):
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])],
        "branch",
        [],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])],
    )
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch)],
        "g",
        [
            onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1]),
            onnx.helper.make_tensor_value_info("c", onnx.TensorProto.BOOL, []),
        ],
        [onnx.helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, [1])],
    )
    path = tmp_path / "if.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=7), path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="subgraphs"):
        shorten_names(path)
    assert path.read_bytes() == before


def test_the_default_provider_is_the_cpu(exported):
    assert open_session(exported).get_providers() == ["CPUExecutionProvider"]
    assert "CPUExecutionProvider" in onnxruntime.get_available_providers()


def test_an_operator_that_cannot_be_exported_raises_and_prints_no_graph(tmp_path, capfd):
    class Inverted(torch.nn.Module):
        def forward(self, images):
            return torch.linalg.svdvals(images.flatten(2)).flatten(1)

    log = torch._C._jit_onnx_log
    with pytest.raises(torch.onnx.errors.UnsupportedOperatorError, match="svd"):
        export_onnx(Inverted(), tmp_path / "inverted.onnx")
    assert capfd.readouterr().out == ""
    assert torch._C._jit_onnx_log is log
