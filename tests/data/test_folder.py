"""A folder of images in three layouts; what has no label or is no image is named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from course_lib.data.folder import image_folder
from course_lib.errors import CourseError


def save(path, colour=(255, 0, 0), size=(40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def test_three_layouts_give_the_same(tmp_path):
    for number, name in enumerate(["a/x_03.png", "a/y_7.png"]):
        save(tmp_path / name, (number * 255, 0, 0))
    for number, name in enumerate(["b/3/x.png", "b/007/y.png"]):
        save(tmp_path / name, (number * 255, 0, 0))
    for number, name in enumerate(["c/x.png", "c/y.png"]):
        save(tmp_path / name, (number * 255, 0, 0))
    (tmp_path / "c" / "labels.csv").write_text("y.png, 7\nx.png,3\n\n", encoding="utf-8")
    found = {name: image_folder(tmp_path / name, 8) for name in "abc"}
    assert found["a"][1].tolist() == found["c"][1].tolist() == [3, 7]
    assert found["b"][1].tolist() == [7, 3]  # in the order of the paths
    assert np.array_equal(found["a"][0], found["c"][0])
    assert np.array_equal(found["a"][0], found["b"][0][::-1])


@pytest.mark.parametrize("size", [(64, 64), (90, 64), (64, 300), (1, 1)])
def test_the_middle_is_cut_out_at_the_scale_of_the_shorter_side(tmp_path, size):
    image = Image.new("RGB", size, (0, 0, 255))
    middle = Image.new("RGB", (max(1, size[0] // 4), max(1, size[1] // 4)), (0, 255, 0))
    image.paste(middle, ((size[0] - middle.width) // 2, (size[1] - middle.height) // 2))
    image.save(tmp_path / "m_1.png")
    images, _ = image_folder(tmp_path, 56)
    assert images.shape == (1, 3, 56, 56)
    assert images.dtype == np.float32
    assert 0 <= images.min() <= images.max() <= 1
    assert images[0, 1, 28, 28] == 1
    if size != (1, 1):
        assert images[0, 2, 0, 0] == 1


def test_it_cuts_what_torchvisions_transform_cuts(tmp_path):
    from torchvision.transforms import v2

    from course_lib.data import torchvision_compat  # noqa: F401  (before torchvision)

    noise = np.random.default_rng(0).integers(0, 256, (120, 170, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "n_0.png")
    images, _ = image_folder(tmp_path, 56)
    picture = v2.functional.center_crop(v2.functional.resize(Image.fromarray(noise), [64]), [56, 56])
    wanted = np.asarray(picture, np.float32).transpose(2, 0, 1) / 255
    assert np.array_equal(images[0], wanted.astype(np.float32))


def test_grey_and_transparent_images_become_colours(tmp_path):
    Image.new("L", (9, 9), 255).save(tmp_path / "g_1.png")
    Image.new("RGBA", (9, 9), (255, 255, 255, 0)).save(tmp_path / "t_2.png")
    assert image_folder(tmp_path, 8)[0].shape == (2, 3, 8, 8)


def refused(tmp_path, match: str, path: str = ".") -> None:
    with pytest.raises(CourseError, match=match):
        image_folder(tmp_path / path, 8)


def test_what_is_wrong_is_named(tmp_path):
    refused(tmp_path, "no such folder", "nowhere")
    refused(tmp_path, "holds no image")
    save(tmp_path / "cat.png")
    refused(tmp_path, r"cat.png: no label is known for this image \(''")
    (tmp_path / "cat.png").unlink()
    save(tmp_path / "cats" / "1.png")
    refused(tmp_path, r"1.png: no label .*'cats'")
    (tmp_path / "labels.csv").write_text("gone_1.png,1\n", encoding="utf-8")
    refused(tmp_path, r"gone_1.png: not a readable image")
    (tmp_path / "gone_1.png").write_bytes(b"no picture")
    refused(tmp_path, r"gone_1.png: not a readable image")
    with pytest.raises(ValueError, match="size must be at least 1"):
        image_folder(tmp_path, 0)
