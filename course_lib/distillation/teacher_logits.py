"""The teacher's logits, computed once and kept on disk: training on them costs no teacher.

A logit belongs to the exact picture it was computed from. A table therefore holds one row for each training image and
each augmented view that the student's recipe will show; views are pure functions of (seed, view, image), so the
student sees again the pixels that the teacher saw. Rows of another view are logits of another picture: the loss still
falls, and the student learns less.

Four views of 28,896 images and 43 classes are 20 MB. The file is memory-mapped: a batch reads its rows, not the file.
The table lies in the course's cache (``course_lib.storage.cache``) under all that decides a logit
(``table_identity``): other weights, pixels, augmentation or views are another entry, never a stale one; an entry that
was altered or cut short is made again.

Industrial pipelines store only the largest logits of each row (ImageNet's 1000 classes, a language model's 100,000
tokens), as half floats; what that truncation costs is a question of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.data import Augmentation, SignDataset
from course_lib.distillation.hooks import Taps
from course_lib.errors import CourseError
from course_lib.models import eval_mode
from course_lib.models.digest import weights_sha256
from course_lib.storage.arrays import write_npy
from course_lib.storage.cache import cached, problem, reading
from course_lib.training import Batch, Recipe, compute_in

VERSION = 1  # of the way logits are computed: raise it when the same inputs give other numbers
LOGITS = "logits.npy"
_BATCH = 256


@dataclass(frozen=True)
class TeacherTable:
    """Logits (views, N, C), float32, of N training images, and how to find a batch's rows.

    Args:
        logits: (views, N, C), float32.
        augmentation: that the views were made with; None: the plain images, which are the same in every view.
        features: name of a teacher's module → its outputs (views, N, …), from ``tapped_table``.
    Raises: ValueError for another number of dimensions.
    """

    logits: Tensor
    augmentation: Augmentation | None
    features: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.logits.ndim != 3:
            raise ValueError(f"logits must be (views, N, C), got {tuple(self.logits.shape)}")

    def digest(self) -> str:
        """SHA-256 over the views' augmentation, the logits and the features: other answers, another digest."""
        digest = hashlib.sha256(repr(self.augmentation).encode())
        for name, values in [("logits", self.logits), *sorted(self.features.items())]:
            digest.update(f"{name} {list(values.shape)}".encode())
            for view in values:
                digest.update(np.ascontiguousarray(view.detach().cpu().numpy()).tobytes())
        return digest.hexdigest()

    def rows(self, batch: Batch) -> Tensor:
        """The teacher's logits (B, C) for exactly these images in exactly this view.

        Raises: ValueError if the table has no such view or image.
        """
        return self.logits[self._view(batch), batch.indices]

    def feature_rows(self, batch: Batch) -> dict[str, Tensor]:
        """The tapped outputs (B, …) for exactly these images in exactly this view, by module name."""
        view = self._view(batch)
        return {name: values[view, batch.indices] for name, values in self.features.items()}

    def _view(self, batch: Batch) -> int:
        views, count, _ = self.logits.shape
        view = 0 if self.augmentation is None else batch.view
        if view >= views:
            raise ValueError(f"the table holds {views} views and the batch shows number {view}: set recipe.views")
        if len(batch.indices) and int(batch.indices.max()) >= count:
            raise ValueError(f"the table holds {count} images and the batch shows number {int(batch.indices.max())}")
        return view

    def require_views_of(self, train: SignDataset, recipe: Recipe) -> None:
        """Raises: ValueError if training by ``recipe`` would show other images or views than the table's."""
        views, count, _ = self.logits.shape
        if count != len(train):
            raise ValueError(f"the table holds {count} images and the training set {len(train)}")
        if recipe.augmentation != self.augmentation:
            raise ValueError(
                f"the table's views were made by {self.augmentation}, the recipe's by {recipe.augmentation}"
            )
        if self.augmentation is not None and (recipe.views or recipe.epochs) > views:
            raise ValueError(f"the table holds {views} views; recipe.views must be at most that, got {recipe.views}")


def teacher_table(
    teacher: nn.Module,
    train: SignDataset,
    recipe: Recipe,
    *,
    folder: str | Path | None = None,
    progress: bool = True,
    precision: str = "float32",
) -> TeacherTable:
    """The table from the cache, or computed and kept there.

    Args:
        recipe: one with ``views`` set (without augmentation, one view is enough).
        folder: of the cache; default: the course's own.
        precision: that the teacher computes in, "float32" or "bfloat16" (``torch.autocast``: faster where the
            processor has matrix units for it; logits move by some hundredths). The table holds float32.
    Raises:
        ValueError: ``recipe`` shows a new view every epoch, so that nothing could be reused.
        CourseError: the table must be made and cannot be written.
    """
    identity = table_identity(teacher, train, recipe)
    if precision != "float32":
        identity["precision"] = precision
    views = _views(recipe)

    def build(entry: Path) -> None:
        # In memory first: writing through a sparse memory map would meet a full disk as a "Bus error".
        logits = np.empty((views, len(train), _classes(teacher, train)), np.float32)
        with compute_in(precision, next(teacher.parameters(), torch.empty(0)).device.type):
            _fill(logits, teacher, train, recipe, progress)
        write_npy(entry / LOGITS, logits)

    size = 4 * views * len(train) * train.num_classes
    entry = cached("logits", f"{views}_views", identity, [LOGITS], build, needed_bytes=size, root=folder)
    return _open(entry, recipe)


def open_table(entry: str | Path, teacher: nn.Module, train: SignDataset, recipe: Recipe) -> TeacherTable:
    """The table in the cache's folder ``entry``, if it is whole and of this teacher, these images and these views.

    Raises: CourseError: not there, altered, or made from something else (says what differs).
    """
    reason = problem(Path(entry), table_identity(teacher, train, recipe), [LOGITS])
    if reason is not None:
        raise CourseError(reason, path=entry, mend="delete it; teacher_table(…) makes it again")
    return _open(Path(entry), recipe)


def _open(entry: Path, recipe: Recipe) -> TeacherTable:
    with reading(entry):
        # "c": pages are shared with the file until written to, and nothing written reaches it.
        logits = np.load(entry / LOGITS, mmap_mode="c", allow_pickle=False)
    return TeacherTable(torch.from_numpy(logits), recipe.augmentation)


def table_identity(teacher: nn.Module, train: SignDataset, recipe: Recipe) -> dict[str, Any]:
    """Everything that decides a logit: teacher, images, views, preprocessing."""
    images = hashlib.sha256(str(train.images.shape).encode())
    for start in range(0, len(train), 4096):
        images.update(np.ascontiguousarray(train.images[start : start + 4096]).tobytes())
    return {
        "version": VERSION,
        "teacher": weights_sha256(teacher),
        "images": images.hexdigest(),
        "views": _views(recipe),
        "augmentation": asdict(recipe.augmentation) if recipe.augmentation else None,
    }


def tapped_table(
    teacher: nn.Module, train: SignDataset, recipe: Recipe, taps: Sequence[str], *, progress: bool = True
) -> TeacherTable:
    """A table with the outputs of inner modules as well, in memory: for small sets, since features are large.

    Args:
        taps: module names; 3,000 images × 2 views of SignTeacher's ``stages.4`` (128×8×8) are 200 MB.
    Raises: ValueError as ``teacher_table``, or for a name that does not exist.
    """
    logits = torch.empty(_views(recipe), len(train), _classes(teacher, train))
    features: dict[str, Tensor] = {}
    with Taps(teacher, taps) as caught:

        def keep(view: int, indices: np.ndarray) -> None:
            for name in taps:
                value = caught[name]
                if name not in features:
                    features[name] = torch.empty(len(logits), len(train), *value.shape[1:])
                features[name][view, indices] = value

        _fill(logits.numpy(), teacher, train, recipe, progress, keep)
    return TeacherTable(logits, recipe.augmentation, features)


def _fill(
    out: np.ndarray,
    teacher: nn.Module,
    train: SignDataset,
    recipe: Recipe,
    progress: bool,
    keep: Callable[[int, np.ndarray], None] = lambda view, indices: None,
) -> None:
    """The teacher's answers in eval mode and without gradients; the caller's mode is restored."""
    from tqdm.auto import tqdm

    starts = range(0, len(train), _BATCH)
    with (
        eval_mode(teacher),
        torch.no_grad(),
        tqdm(total=len(out) * len(starts), disable=not progress, leave=False) as bar,
    ):
        for view in range(len(out)):
            table = recipe.augmentation.table(len(train), view) if recipe.augmentation else None
            for start in starts:
                indices = np.arange(start, min(start + _BATCH, len(train)))
                images, _ = train.batch(indices)
                if recipe.augmentation is not None and table is not None:
                    images = recipe.augmentation.apply(images, table[indices])
                out[view, indices] = teacher(images.contiguous(memory_format=torch.channels_last)).float().numpy()
                keep(view, indices)
                bar.update()


def _views(recipe: Recipe) -> int:
    if recipe.augmentation is not None and recipe.views is None:
        raise ValueError("recipe.views must be a number: a new view every epoch leaves nothing to reuse")
    return 1 if recipe.augmentation is None else recipe.views or 1


def _classes(teacher: nn.Module, train: SignDataset) -> int:
    if len(train) == 0:
        raise ValueError("the training set is empty")
    with eval_mode(teacher), torch.inference_mode():
        return teacher(train.batch(np.arange(1))[0]).shape[1]
