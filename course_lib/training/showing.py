"""What a training shows while it runs: a bar, and curves for TensorBoard."""

from __future__ import annotations

import contextlib
from pathlib import Path

from course_lib.errors import CourseError


@contextlib.contextmanager
def bar_of(total: int, visible: bool):
    from tqdm.auto import tqdm

    with tqdm(total=total, unit="batch", disable=not visible, leave=False) as bar:
        yield bar


@contextlib.contextmanager
def curve_writer(log_dir: str | Path | None):
    if log_dir is None:
        yield lambda row: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise CourseError("TensorBoard is not installed", mend='pip install -e ".[tensorboard]"') from error
    with SummaryWriter(str(log_dir)) as writer:
        yield lambda row: [writer.add_scalar(k, v, int(row["epoch"])) for k, v in row.items() if k != "epoch"]
