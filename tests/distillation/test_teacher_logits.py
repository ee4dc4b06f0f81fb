"""A table holds the teacher's logits of exactly these images and views, is kept, and is never trusted unseen."""

from __future__ import annotations

import copy
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.data import Augmentation, SignDataset
from course_lib.distillation import (
    Distiller,
    TeacherTable,
    open_table,
    soft_target_loss,
    soft_target_terms,
    tapped_table,
    teacher_table,
)
from course_lib.errors import CourseError
from course_lib.models import sign_student
from course_lib.training import Recipe, epoch_batches, fit

CLASSES = 3
RECIPE = Recipe(epochs=2, batch_size=8, views=2)


def network(width: float = 0.25, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return sign_student(width, CLASSES)


@pytest.fixture
def signs() -> SignDataset:
    rng = np.random.default_rng(0)
    return SignDataset(
        rng.integers(0, 256, (23, 3, 32, 32), dtype=np.uint8), rng.integers(0, CLASSES, 23), num_classes=CLASSES
    )


def entries(cache):
    return sorted((cache / "logits").iterdir())


class Mean(nn.Module):
    """Logits that are a fixed function of the pixels, and differ between train and eval mode."""

    def forward(self, images):
        means = 20 * images.mean((2, 3))
        return means + 100 if self.training else means


@pytest.mark.parametrize("augmentation", [None, Augmentation(seed=3)], ids=["plain", "augmented"])
def test_every_batch_gets_the_logits_of_its_own_images_and_view(signs, augmentation, tmp_path):
    recipe = Recipe(epochs=5, batch_size=7, augmentation=augmentation, views=2)
    teacher = Mean().train()
    table = teacher_table(teacher, signs, recipe, folder=tmp_path, progress=False)
    assert teacher.training, "the caller's mode must be restored"
    teacher.eval()
    table.require_views_of(signs, recipe)
    for epoch in range(5):
        for batch in epoch_batches(signs, recipe, epoch):
            torch.testing.assert_close(table.rows(batch), teacher(batch.images), rtol=1e-5, atol=1e-4)


def test_logits_of_another_view_do_not_fit(signs):
    recipe = Recipe(epochs=2, batch_size=23, views=2, augmentation=Augmentation(brightness=1.0))
    teacher = Mean().eval()
    own = tapped_table(teacher, signs, recipe, [], progress=False)
    other = TeacherTable(own.logits.flip(0), own.augmentation)
    batch = next(epoch_batches(signs, recipe, 0))
    assert soft_target_loss(teacher(batch.images), own.rows(batch), 1.0) < 1e-5
    assert soft_target_loss(teacher(batch.images), other.rows(batch), 1.0) > 1e-3


def test_a_table_is_kept_and_made_again_when_damaged_or_when_anything_that_decides_a_logit_changes(signs, tmp_path):
    class Counting(Mean):
        calls = 0

        def __init__(self):
            super().__init__()
            self.register_buffer("shift", torch.zeros(3))

        def forward(self, images):
            Counting.calls += 1
            return super().forward(images) + self.shift

    teacher = Counting().eval()

    def table(teacher=teacher, signs=signs, recipe=RECIPE):
        before = Counting.calls
        made = teacher_table(teacher, signs, recipe, folder=tmp_path, progress=False)
        return made.logits.clone(), Counting.calls > before

    first, computed = table()
    assert computed
    assert not table()[1]
    (entry,) = entries(tmp_path)
    path = entry / "logits.npy"
    content = path.read_bytes()
    for damage in (content[:100], b"", content[:200] + bytes([content[200] ^ 1]) + content[201:]):
        path.write_bytes(damage)
        again, computed = table()
        assert computed
        assert torch.equal(again, first)
    (entry / "manifest.json").write_text("{}")
    assert table()[1]
    shifted = copy.deepcopy(teacher)
    shifted.shift += 1
    one = signs.images.copy()
    one[17, 0, 0, 0] ^= 1
    changed = {
        "teacher": {"teacher": shifted},
        "one pixel": {"signs": SignDataset(one, signs.labels, num_classes=CLASSES)},
        "views": {"recipe": Recipe(epochs=2, views=3)},
        "augmentation": {"recipe": Recipe(epochs=2, views=2, augmentation=Augmentation(seed=1))},
    }
    for what, options in changed.items():
        assert table(**options)[1], what
    assert not table()[1], "the first table is still there"


def test_a_stale_or_broken_table_is_refused_with_what_differs(signs, tmp_path):
    teacher = Mean().eval()
    teacher_table(teacher, signs, RECIPE, folder=tmp_path, progress=False)
    (path,) = entries(tmp_path)
    with pytest.raises(CourseError, match=r"made with another views and augmentation.*teacher_table"):
        open_table(path, teacher, signs, Recipe(epochs=1, augmentation=None))
    with pytest.raises(CourseError, match="made with another teacher"):
        open_table(path, network(), signs, RECIPE)
    with pytest.raises(CourseError, match=r"nothing: incomplete"):
        open_table(tmp_path / "nothing", teacher, signs, RECIPE)
    (path / "logits.npy").write_bytes((path / "logits.npy").read_bytes()[:-4])
    with pytest.raises(CourseError, match="altered or cut short"):
        open_table(path, teacher, signs, RECIPE)


def test_an_interrupted_table_leaves_nothing_behind(signs, tmp_path):
    class Stops(Mean):
        def forward(self, images):
            if len(images) > 1:
                raise KeyboardInterrupt
            return super().forward(images)

    with pytest.raises(KeyboardInterrupt):
        teacher_table(Stops(), signs, RECIPE, folder=tmp_path, progress=False)
    assert entries(tmp_path) == []


def test_writing_into_a_table_does_not_reach_the_file(signs, tmp_path):
    first = teacher_table(Mean(), signs, RECIPE, folder=tmp_path, progress=False)
    first.logits.zero_()
    assert teacher_table(Mean(), signs, RECIPE, folder=tmp_path, progress=False).logits.abs().max() > 1


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (Recipe(epochs=4, views=3), "recipe.views must be at most that, got 3"),
        (Recipe(epochs=4), "recipe.views must be at most that, got None"),
        (Recipe(epochs=1, augmentation=None), "the recipe's by None"),
    ],
)
def test_training_by_another_recipe_than_the_tables_is_refused(signs, recipe, words):
    table = tapped_table(network(0.5, seed=1), signs, RECIPE, [], progress=False)
    student = network()
    distiller = Distiller(student, None, soft_target_terms(temperature=1.0, alpha=1.0), table=table)
    with pytest.raises(ValueError, match=words):
        fit(student, signs, signs, recipe, loss=distiller, progress=False)
    with pytest.raises(ValueError, match="23 images and the training set 10"):
        table.require_views_of(signs.subset(np.arange(10)), RECIPE)


def test_a_recipe_without_a_number_of_views_is_refused(signs, tmp_path):
    with pytest.raises(ValueError, match=r"recipe\.views must be a number"):
        teacher_table(Mean(), signs, Recipe(epochs=1), folder=tmp_path, progress=False)


def test_a_row_that_the_table_does_not_hold_is_refused(signs):
    table = tapped_table(Mean(), signs, RECIPE, [], progress=False)
    batch = next(epoch_batches(signs, RECIPE, 0))
    with pytest.raises(ValueError, match="2 views and the batch shows number 2"):
        table.rows(batch._replace(view=2))
    with pytest.raises(ValueError, match="23 images and the batch shows number 99"):
        table.rows(batch._replace(indices=torch.tensor([99])))


def test_the_manifest_names_everything_that_decides_a_logit(signs, tmp_path):
    teacher_table(Mean(), signs, RECIPE, folder=tmp_path, progress=False)
    manifest = json.loads((entries(tmp_path)[0] / "manifest.json").read_text())
    assert set(manifest["identity"]) == {"version", "teacher", "images", "views", "augmentation"}


def test_tables_lie_in_the_course_s_cache_unless_told_otherwise(signs, isolated_cache):
    teacher_table(Mean(), signs, RECIPE, progress=False)
    assert [path.name.rpartition("_")[0] for path in entries(isolated_cache)] == ["2_views"]


FULL_DISK = """
import resource, signal, sys
import numpy as np
import torch
from course_lib.data import SignDataset
from course_lib.distillation import teacher_table
from course_lib.errors import CourseError
from course_lib.models import sign_student
from course_lib.training import Recipe

signs = SignDataset(np.zeros((23, 3, 32, 32), np.uint8), np.zeros(23, int), num_classes=3)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
try:
    teacher_table(sign_student(0.25, 3), signs, Recipe(epochs=1, views=2), folder=sys.argv[1], progress=False)
except CourseError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files, which Windows does not have")
def test_a_disk_that_takes_no_more_is_one_line_and_no_bus_error(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{tmp_path / 'logits'}: cannot write here (File too large)" in done.stdout
    assert entries(tmp_path) == []
