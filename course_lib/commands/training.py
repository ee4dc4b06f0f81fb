"""``course train``: a teacher and students of one's own, or the shipped ones anew."""

from __future__ import annotations

import argparse

import torch

from course_lib import data as sets
from course_lib.commands.speaking import speaker
from course_lib.experiments import shipped_networks
from course_lib.experiments.plans import data_key, shown_data
from course_lib.models.trained import own_folder
from course_lib.storage.files import CHECKPOINTS
from course_lib.training import process_group


def train(options: argparse.Namespace) -> None:
    """Train what was asked for; one process, or all that torchrun started."""
    with process_group() as (rank, _):  # first: whoever waits for the others in vain should not render images before
        _train(options, rank)


def _train(options: argparse.Namespace, rank: int) -> None:
    data, every = sets.chosen(options.data), options.all_tracks
    key, what = data_key(data, all_tracks=every), options.what or ["teacher", "student"]
    torch.set_num_threads(options.threads or torch.get_num_threads())
    splits = sets.load(data, all_tracks=every)
    shown = shown_data(data) + (" --all-tracks" if every else "")
    shown += f" --precision {options.precision}" if options.precision else ""
    shown += " --shipped" * options.shipped
    say = speaker() if rank == 0 else lambda line: None
    folder = CHECKPOINTS if options.shipped else own_folder(key, splits)
    given = {"precision": options.precision, "folder": folder, "say": say}
    if "teacher" in what:
        say(f"the teacher, on {splits.train}")
        shipped_networks.train_teacher(splits, key, f"course train teacher --data {shown}", **given)
    if "student" in what:
        shipped_networks.train_students(splits, key, f"course train student --data {shown}", **given)
    say(f"done: {folder}")
