"""Two processes under torchrun train like one: the same losses and weights where BatchNorm does not come between."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib.errors import CourseError
from course_lib.training import process_group, world
from course_lib.training.distributed import total

SCRIPT = """
import json, sys
import numpy as np, torch
from torch import nn
from course_lib.data import SignDataset
from course_lib.distillation import Distiller, Term, label_loss, soft_target_terms
from course_lib.training.distributed import process_group
from course_lib.training import Recipe, fit

torch.set_num_threads(1)
kind, out = sys.argv[1:]
rng = np.random.default_rng(0)
signs = SignDataset(rng.integers(0, 256, (53, 3, 8, 8), dtype=np.uint8), rng.integers(0, 3, 53), num_classes=3)


def network(width):
    norm = nn.BatchNorm2d(width) if "batchnorm" in kind else nn.Identity()
    return nn.Sequential(nn.Conv2d(3, width, 3, 2), norm, nn.ReLU(), nn.Flatten(), nn.Linear(9 * width, 3))


torch.manual_seed(7)
# Not fewer than eight channels: oneDNN's backward pass of few channels, channels last, has corrupted the heap.
teacher, project = network(16), nn.Conv2d(8, 16, 1)
student = network(8)
with process_group() as (rank, processes):
    torch.manual_seed(100 + rank)  # each process starts from other weights, unless they are shared
    if rank:
        for module in (student, project):
            for value in module.parameters():
                nn.init.normal_(value)
    hint = Term("hint", 0.5, lambda o: (project(o.student["0"]) - o.teacher["0"]).square().mean(), project)
    terms = [*soft_target_terms(temperature=4.0, alpha=0.5), hint]
    average = 0.9 if "averaged" in kind else 0.0
    recipe = Recipe(3, 0.02, 13, views=2, schedule="cosine", optimizer="sgd", average=average)
    with Distiller(student, teacher, terms, student_taps=["0"], teacher_taps=["0"]) as loss:
        history = fit(student, signs, signs, recipe, loss=loss, progress=False, checkpoint=f"{out}.state")
    result = {
        "processes": processes,
        "losses": [row["loss"] for row in history.epochs],
        "accuracy": [row["validation_accuracy"] for row in history.epochs],
        "weights": torch.cat([p.flatten() for m in (student, project) for p in m.parameters()]).tolist(),
        "buffers": [float(b.float().sum()) for b in student.buffers()],
    }
    with open(f"{out}.{rank}", "w") as stream:
        json.dump(result, stream)
"""


def run(folder: Path, kind: str, processes: int) -> list[dict]:
    """The results of every process."""
    script, out = folder / "script.py", folder / f"{kind.replace(' ', '_')}{processes}"
    script.write_text(SCRIPT)
    start = [sys.executable]
    if processes > 1:
        start += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    quiet = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    done = subprocess.run(
        [*start, str(script), kind, str(out)], env={**quiet, "OMP_NUM_THREADS": "1"}, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return [json.loads(Path(f"{out}.{rank}").read_text()) for rank in range(processes)]


def test_two_processes_get_the_single_process_losses_and_weights(tmp_path):
    (one,), two = run(tmp_path, "plain", 1), run(tmp_path, "plain", 2)
    assert (one["processes"], two[0]["processes"]) == (1, 2)
    assert two[0] == two[1], "both processes must end with the same weights"
    # Only the order of additions differs. 53 images in batches of 13 leave one image for the last batch: one process
    # then has none, and unequal parts must not weigh alike.
    np.testing.assert_allclose(two[0]["losses"], one["losses"], rtol=1e-5)
    np.testing.assert_allclose(two[0]["weights"], one["weights"], rtol=1e-3, atol=1e-5)
    assert two[0]["accuracy"] == one["accuracy"]


@pytest.mark.parametrize("kind", ["batchnorm", "averaged batchnorm"])
def test_with_batchnorm_both_processes_agree_and_the_first_loss_is_within_a_tenth_of_the_single_process(tmp_path, kind):
    (one,), two = run(tmp_path, kind, 1), run(tmp_path, kind, 2)
    assert two[0]["weights"] == two[1]["weights"]
    assert two[0]["buffers"] == two[1]["buffers"], "one process's statistics count"
    assert two[0]["losses"][0] == pytest.approx(one["losses"][0], rel=0.1)


def test_a_process_on_its_own_needs_no_group():
    with process_group() as (rank, processes):
        assert (rank, processes) == world() == (0, 1)
    assert total(2.5) == 2.5
    assert not torch.distributed.is_initialized()


def test_variables_of_torchrun_without_torchrun_are_explained(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CourseError, match=r"cannot be joined.*torchrun --nproc-per-node"), process_group():
        pass
