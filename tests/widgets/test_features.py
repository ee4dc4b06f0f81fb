"""Each control of the attention explorer changes the picture, and no hook stays behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib import widgets
from course_lib.models import SignStudent, SignTeacher

IMAGES = np.random.default_rng(0).integers(0, 255, (2, 3, 32, 32), dtype=np.uint8)


def picture(box) -> str:
    return box.children[0].value


def words(box) -> str:
    return box.children[1].value


def controls(box) -> dict:
    return {child.description: child for child in box.children if getattr(child, "description", "")}


def test_each_control_of_the_attention_explorer_changes_the_picture():
    torch.manual_seed(0)
    teacher, student = SignTeacher(4, (4, 8), (1, 1)).eval(), SignStudent(0.25).eval()
    pairs = [("features.0", "stages.1"), ("features.1", "stages.0")]
    box = widgets.attention_explorer(teacher, student, IMAGES, [14, 1], pairs)
    assert set(controls(box)) == {"sign", "layers", "power p", "over channels"}
    for name, value in {"sign": 1, "layers": pairs[1], "power p": 6.0, "over channels": "max"}.items():
        before = picture(box)
        controls(box)[name].value = value
        assert picture(box) != before, name
    assert "student, features.1 (8×8)" in words(box)
    assert not any(module._forward_hooks for model in (teacher, student) for module in model.modules())


@pytest.mark.parametrize(
    ("images", "labels", "pairs"), [(IMAGES[:0], [], [("a", "b")]), (IMAGES, [1], [("a", "b")]), (IMAGES, [1, 2], [])]
)
def test_an_attention_explorer_without_images_labels_or_layers_is_refused(images, labels, pairs):
    with pytest.raises(ValueError, match="at least one image"):
        widgets.attention_explorer(SignStudent(), SignStudent(), images, labels, pairs)
