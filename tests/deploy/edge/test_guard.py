"""A file that an old runtime cannot read is refused before it is copied, by name and with a mend."""

from __future__ import annotations

import onnx
import onnx.parser
import pytest
from onnx import helper

from course_lib.deploy.edge import require_portable
from course_lib.deploy.edge.guard import MENDS, TENSORRT
from course_lib.errors import CourseError

HEAD = '<ir_version: 7, opset_import: ["" : 13]>'
SCALES = "float s = {0.5}, int8 z = {0}"


def saved(tmp_path, text: str, head: str = HEAD):
    path = tmp_path / "model.onnx"
    onnx.save(onnx.parser.parse_model(head + text), path)
    return path


@pytest.mark.parametrize("name", ["plain", "symmetric"])
def test_what_the_course_exports_passes(name, built):
    require_portable(built / "models" / f"{name}.onnx", tensorrt=True)


@pytest.mark.parametrize(
    ("operator", "words"), [("NonZero", "Where"), ("Mod", "Floor"), ("Det", "replace it"), ("Reciprocal", "Div")]
)
def test_an_operator_that_tensorrt_cannot_parse_is_named_with_its_mend(operator, words, tmp_path):
    arguments = "x, x" if operator == "Mod" else "x"
    path = saved(tmp_path, f"g (float[2, 2] x) => (float[N, M] y) {{ [odd] y = {operator}({arguments}) }}")
    require_portable(path, tensorrt=False)
    with pytest.raises(CourseError, match=rf"{operator} \(odd\)") as caught:
        require_portable(path, tensorrt=True)
    assert words in caught.value.mend


@pytest.mark.parametrize(
    "head", ['<ir_version: 7, opset_import: ["" : 14]>', '<ir_version: 8, opset_import: ["" : 13]>']
)
def test_a_newer_opset_or_format_is_refused(head, tmp_path):
    path = saved(tmp_path, "g (float[2] x) => (float[2] y) { y = Relu(x) }", head)
    with pytest.raises(CourseError, match="newer than 13 and 7"):
        require_portable(path, tensorrt=False)


def test_another_domain_is_refused_also_inside_a_branch(tmp_path):
    def branch(node) -> onnx.GraphProto:
        return helper.make_graph([node], "b", [], [helper.make_tensor_value_info("y", 1, [2])])

    inner = helper.make_node("FusedConv", ["x"], ["y"], name="inside", domain="com.microsoft")
    other = helper.make_node("Identity", ["x"], ["y"])
    choice = helper.make_node("If", ["c"], ["z"], then_branch=branch(inner), else_branch=branch(other))
    values = [helper.make_tensor_value_info("x", 1, [2]), helper.make_tensor_value_info("c", 9, [1])]
    graph = helper.make_graph([choice], "g", values, [helper.make_tensor_value_info("z", 1, [2])])
    domains = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=domains, ir_version=7), tmp_path / "model.onnx")
    with pytest.raises(CourseError, match=r"FusedConv \(inside\) is of the domain com.microsoft"):
        require_portable(tmp_path / "model.onnx", tensorrt=False)


def test_weights_in_another_file_are_refused(built, tmp_path):
    model = onnx.load(built / "models" / "plain.onnx")
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(CourseError, match="lie in another file"):
        require_portable(path, tensorrt=False)


@pytest.mark.parametrize(
    ("constants", "body", "words"),
    [
        ("float s = {0.5}, uint8 z = {0}", "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", "uint8"),
        ("float s = {0.5}, int8 z = {3}", "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)", "other than 0"),
        ("float s = {0.5}", "q = QuantizeLinear(x, s) y = DequantizeLinear(q, s)", "unsigned"),
        (f"{SCALES}, int8[2] w = {{1, 2}}", "f = DequantizeLinear(w, s, z) y = Add(x, f)", "stored integers"),
        (
            "float s = {0.5}, int32 z = {0}, int32[2] b = {1, 2}",
            "f = DequantizeLinear(b, s, z) y = Add(x, f)",
            "int32",
        ),
    ],
    ids=["unsigned", "zero point", "no zero point", "integer weights", "integer bias"],
)
def test_codes_that_tensorrt_does_not_know_are_refused(constants, body, words, tmp_path):
    path = saved(tmp_path, f"g (float[2] x) => (float[2] y) <{constants}> {{ {body} }}")
    require_portable(path, tensorrt=False)
    with pytest.raises(CourseError, match=words) as caught:
        require_portable(path, tensorrt=True)
    assert "quantize_symmetric" in caught.value.mend


def test_every_mend_is_of_an_operator_that_needs_one():
    assert not set(MENDS) & TENSORRT
