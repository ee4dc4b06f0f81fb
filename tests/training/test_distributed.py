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
from course_lib.training import distributed, process_group, world
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


TEACHERS = """
import sys
from pathlib import Path
import numpy as np, torch
from course_lib.data import SignDataset, Splits
from course_lib.errors import CourseError
from course_lib.experiments import shipped_networks
from course_lib.experiments.plans import Plan, TeacherPlan
from course_lib.models import SignTeacher, checkpoints
from course_lib.training import Recipe, process_group, require_agreement

torch.set_num_threads(1)
out = Path(sys.argv[2])
shipped_networks.sign_teacher = lambda **options: SignTeacher(channels=(8, 8, 8, 8), blocks=(1, 1, 1, 1), **options)
rng = np.random.default_rng(0)
parts = [SignDataset(rng.integers(0, 256, (n, 3, 16, 16), dtype=np.uint8), np.arange(n) % 43) for n in (24, 12, 12)]
splits = Splits(*parts)
plan = Plan(width=0.5, pruning_ratio=0.5, views=1, epochs=1, finetune_epochs=1)
with process_group() as (rank, processes):
    for seed in (0, 1):  # the second teacher replaces the first, and the students must be the second one's
        teacher = TeacherPlan(Recipe(epochs=1, batch_size=16, seed=seed))
        shipped_networks.train_teacher(splits, "rendered", "c", plan=teacher, folder=out, progress=False)
        read = checkpoints.load("teacher_rendered", folder=out)[1]["sha256"]
        require_agreement("teacher", read)
    shipped_networks.train_students(splits, "rendered", "c", plan=plan, folder=out, progress=False)
    assert checkpoints.load("student_rendered", folder=out)[1]["teacher_sha256"] == read
    try:
        require_agreement("number", str(rank))
    except CourseError as error:
        print(f"{rank}: {error}")
"""


def test_two_processes_read_the_teacher_that_was_written_and_stop_where_they_would_differ(tmp_path):
    (tmp_path / "script.py").write_text(TEACHERS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    quiet = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    done = subprocess.run(
        [*command, str(tmp_path / "script.py"), "teachers", str(tmp_path / "out")],
        env={**quiet, "OMP_NUM_THREADS": "1", "COURSE_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for rank in range(2):
        assert f"{rank}: the processes do not have the same number" in done.stdout
    assert sorted(path.name for path in (tmp_path / "cache" / "unfinished").iterdir()) == []
    assert sorted(path.stem for path in (tmp_path / "out").glob("*.json")) == [
        f"{role}_rendered" for role in ("alone", "final", "student", "teacher")
    ]


def test_a_process_on_its_own_needs_no_group():
    with process_group() as (rank, processes):
        assert (rank, processes) == world() == (0, 1)
    assert total(2.5) == 2.5
    assert not torch.distributed.is_initialized()


def test_peers_that_do_not_come_are_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(distributed, "JOIN_S", 1.0)
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CourseError, match=r"1 of 2 processes came within 1 s|cannot be joined"), process_group():
        pass


@pytest.mark.parametrize("number", ["two", "-1", "1.5", ""])
def test_a_number_of_processes_that_is_none_is_refused(monkeypatch, number):
    monkeypatch.setenv("WORLD_SIZE", number)
    with pytest.raises(CourseError, match="WORLD_SIZE must be a number of processes"), process_group():
        pass


def test_variables_of_torchrun_without_torchrun_are_explained(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(CourseError, match=r"cannot be joined.*torchrun --nproc-per-node"), process_group():
        pass
