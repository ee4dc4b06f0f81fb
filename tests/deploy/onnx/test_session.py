"""Logits come in the images' order and number, whatever batch the file has."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest

from course_lib.deploy.onnx import open_session, run_session


@pytest.mark.parametrize("batch", ["B", "4"])
@pytest.mark.parametrize("count", [1, 4, 10])
def test_a_fixed_batch_is_filled_up_and_what_filled_it_is_dropped(tmp_path, batch, count):
    text = f"""<ir_version: 7, opset_import: ["" : 13]>
    g (float[{batch}, 2] images) => (float[{batch}, 2] logits) {{ logits = Add(images, images) }}"""
    onnx.save(onnx.parser.parse_model(text), tmp_path / "doubles.onnx")
    images = np.arange(2 * count, dtype=np.float32).reshape(count, 2)
    found = run_session(open_session(tmp_path / "doubles.onnx"), images, batch_size=3)
    assert np.array_equal(found, 2 * images)
