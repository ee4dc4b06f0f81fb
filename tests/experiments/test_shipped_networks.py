"""``course train`` makes the networks it promises, resumes where it was stopped and leaves nothing unfinished."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from course_lib.data import Augmentation, SignDataset, Splits
from course_lib.distillation import TeacherTable
from course_lib.errors import CourseError
from course_lib.experiments import shipped_networks
from course_lib.experiments.plans import (
    FULL,
    LIVE,
    PLANS,
    ROLES,
    SMALL_PLANS,
    TEACHER_PLANS,
    TEACHER_RECIPE,
    Plan,
    TeacherPlan,
    data_key,
)
from course_lib.experiments.shipped_networks import (
    resume_path,
    student_of,
    train_student,
    train_students,
    train_teacher,
)
from course_lib.models import STUDENT_STRIDES, SignTeacher, checkpoints
from course_lib.storage.files import sha256
from course_lib.training import History, Recipe

RECIPE = Recipe(epochs=2, batch_size=16, average=0.9)
TEACHER = TeacherPlan(RECIPE, dropout=0.3)
PLAN = Plan(width=0.5, pruning_ratio=0.5, views=2, epochs=2, finetune_epochs=1)
QUIET = {"progress": False}


@pytest.fixture(autouse=True)
def _small(monkeypatch, isolated_cache, one_thread):
    """One thread, a cache of its own, and a tiny teacher: what is tested is the path, not the network."""
    small = {"channels": (8, 8, 8, 8), "blocks": (1, 1, 1, 1)}
    monkeypatch.setattr(shipped_networks, "sign_teacher", lambda **options: SignTeacher(**small, **options))


def make_splits(shift=0):
    rng, parts = np.random.default_rng(0), []
    for k, (split, count) in enumerate(zip(Splits._fields, (24, 12, 12), strict=True)):
        images = rng.integers(0, 256, (count, 3, 16, 16)).astype(np.uint8)
        labels = (np.arange(count) + shift) % 43
        parts.append(SignDataset(images, labels, groups=100 * k + np.arange(count), name="rendered", split=split))
    return Splits(*parts)


SPLITS = make_splits()


def unfinished():
    return sorted(path.name for path in resume_path("x", "y").parent.glob("*"))


def teacher(folder, **options):
    return train_teacher(SPLITS, "rendered", "course train teacher", plan=TEACHER, folder=folder, **QUIET, **options)


def students(folder, **options):
    train_students(SPLITS, "rendered", "course train student", plan=PLAN, folder=folder, **QUIET, **options)


def test_a_trained_teacher_is_saved_with_a_card_that_tells_how_and_leaves_nothing_unfinished(tmp_path):
    model, history = teacher(tmp_path)
    loaded, card = checkpoints.load("teacher_rendered", folder=tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True)
    )
    assert sorted(path.name for path in tmp_path.glob("teacher*")) == [
        "teacher_rendered.json",
        "teacher_rendered.safetensors",
    ]
    assert unfinished() == []
    assert card["command"] == "course train teacher"
    assert card["recipe"] == json.loads(json.dumps(asdict(RECIPE)))
    assert card["dropout"] == 0.3
    assert card["data_fingerprint"] == checkpoints.fingerprint(SPLITS)
    assert card["validation_accuracy"] == round(history.best_accuracy, 6)
    assert card["best_epoch"] == history.best_epoch + 1
    assert card["versions"]["torch"] == torch.__version__
    assert card["machine"]
    assert not any("test" in key for key in card)  # the test part is read once, elsewhere


def stop_after(calls, monkeypatch):
    """Ctrl-C when validation is asked for the ``calls``-th time."""
    from course_lib.training import loop

    real, left = loop.model_accuracy, [calls]

    def accuracy(model, dataset):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return real(model, dataset)

    monkeypatch.setattr(loop, "model_accuracy", accuracy)


def test_a_teacher_that_was_stopped_is_continued_to_the_same_weights(tmp_path, monkeypatch):
    expected, _ = teacher(tmp_path / "whole")
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(KeyboardInterrupt, match="after 1 of 2 epochs"):
            teacher(tmp_path / "stopped")
    assert unfinished() == ["teacher_rendered.pt"]
    assert not checkpoints.exists("teacher_rendered", folder=tmp_path / "stopped")
    found, history = teacher(tmp_path / "stopped")
    assert len(history.epochs) == 2
    assert all(
        torch.equal(a, b) for a, b in zip(expected.state_dict().values(), found.state_dict().values(), strict=True)
    )
    assert unfinished() == []


def test_a_line_is_said_for_every_epoch_of_the_teacher_once_and_not_again_after_a_stop(tmp_path, monkeypatch):
    said = []
    with monkeypatch.context() as patch:
        stop_after(1, patch)
        with pytest.raises(KeyboardInterrupt):
            teacher(tmp_path, say=said.append)
    assert len(said) == 1
    _, history = teacher(tmp_path, say=said.append)
    assert len(said) == 2
    for number, (line, row) in enumerate(zip(said, history.epochs, strict=True), 1):
        assert line.startswith(f"epoch {number} of 2: loss {row['loss']:.4f}, validation ")
        assert f"{row['validation_accuracy']:.2%}" in line
        assert line.endswith(f"{row['seconds']:.0f} s")


def test_the_rendered_teacher_s_plan_is_the_one_that_made_the_shipped_one():
    _, card = checkpoints.load("teacher_rendered")
    told = {**card["recipe"], "augmentation": Augmentation(**card["recipe"]["augmentation"])}
    assert TEACHER_PLANS["rendered"] == TeacherPlan(Recipe(**told), dropout=0.0)
    assert TEACHER_PLANS["rendered"].recipe == TEACHER_RECIPE


@pytest.mark.parametrize("key", TEACHER_PLANS)
def test_a_teacher_is_trained_by_the_plan_of_its_data_and_no_other(tmp_path, monkeypatch, key):
    seen = []

    def fit(model, train, validation, recipe, **options):
        seen.append((recipe, model.dropout.p if model.dropout else 0.0, options["checkpoint"].name))
        return History()

    monkeypatch.setattr(shipped_networks, "fit", fit)
    train_teacher(SPLITS, key, "course train teacher", folder=tmp_path)
    plan = TEACHER_PLANS[key]
    assert seen == [(plan.recipe, plan.dropout, f"teacher_{key}.pt")]
    _, card = checkpoints.load(f"teacher_{key}", folder=tmp_path)
    assert (card["recipe"], card["dropout"]) == (asdict(plan.recipe), plan.dropout)


def test_another_precision_than_the_plan_s_is_what_trains_and_stands_on_the_card(tmp_path):
    train_teacher(
        SPLITS,
        "gtsrb",
        "c",
        plan=replace(TEACHER, recipe=replace(RECIPE, precision="bfloat16")),
        precision="float32",
        folder=tmp_path,
        **QUIET,
    )
    given, _ = checkpoints.load("teacher_gtsrb", folder=tmp_path)
    assert checkpoints.load("teacher_gtsrb", folder=tmp_path)[1]["recipe"]["precision"] == "float32"
    train_teacher(SPLITS, "gtsrb", "c", plan=TEACHER, folder=tmp_path, **QUIET)
    same, _ = checkpoints.load("teacher_gtsrb", folder=tmp_path)
    assert all(map(torch.equal, given.state_dict().values(), same.state_dict().values()))


def test_real_signs_get_stronger_views_an_average_and_dropout():
    plan = TEACHER_PLANS["gtsrb"]
    assert plan == replace(TEACHER_PLANS["gtsrb_official"], recipe=plan.recipe)
    assert plan.recipe == replace(TEACHER_PLANS["gtsrb_official"].recipe, epochs=30)
    views, usual = plan.recipe.augmentation, Augmentation()
    assert views is not None
    for amount in ("rotation_deg", "zoom", "shift", "shear", "brightness", "contrast_log", "noise", "blur", "erase"):
        assert getattr(views, amount) > getattr(usual, amount)
    assert (plan.dropout, plan.recipe.average, plan.recipe.label_smoothing) == (0.2, 0.999, 0.05)
    assert (plan.recipe.views, plan.recipe.epochs) == (None, 30)  # new views in every epoch


def test_a_plan_may_set_the_student_s_layers_and_its_views(tmp_path):
    views = Augmentation(noise=0.05, erase=0.5, padding="reflection")
    chain = {"channels": (8, 8, 12), "strides": (1, 2, 2)}
    plan = replace(PLAN, **chain, augmentation=views, average=0.9)
    for recipe in (plan.recipe(), plan.finetune_recipe()):
        assert (recipe.augmentation, recipe.average) == (views, 0.9)
    teacher(tmp_path)
    train_students(SPLITS, "rendered", "course train student", plan=plan, folder=tmp_path, **QUIET)
    for role, channels in (("student", (8, 8, 12)), ("alone", (8, 8, 12)), ("final", (4, 4, 8))):
        model, card = checkpoints.load(f"{role}_rendered", folder=tmp_path)
        assert (model.channels, model.strides) == (channels, (1, 2, 2))
        assert card["plan"] == json.loads(json.dumps(asdict(plan)))
    assert student_of(PLAN).strides == STUDENT_STRIDES
    assert student_of(PLAN).channels == (8, 16, 24, 32, 48)


def test_the_students_are_three_their_cards_name_plan_and_teacher_and_nothing_is_left(tmp_path):
    teacher(tmp_path)
    said = []
    students(tmp_path, say=said.append)
    assert len(said) == 4
    assert unfinished() == []
    cards = {role: checkpoints.load(f"{role}_rendered", folder=tmp_path) for role in ("student", "final", "alone")}
    channels = {role: model.channels for role, (model, _) in cards.items()}
    assert channels["student"] == channels["alone"] == (8, 16, 24, 32, 48)
    assert channels["final"] == (4, 8, 12, 16, 24)
    for role, (_, card) in cards.items():
        assert card["plan"] == json.loads(json.dumps(asdict(PLAN)))
        assert card["data_fingerprint"] == checkpoints.fingerprint(SPLITS)
        told = card["teacher_sha256"]
        assert told == (None if role == "alone" else sha256(tmp_path / "teacher_rendered.safetensors"))
    assert cards["student"][1]["recipe"] == cards["alone"][1]["recipe"] != cards["final"][1]["recipe"]
    first, other = (cards[role][0].classifier.weight for role in ("student", "alone"))
    assert not torch.equal(first, other)  # the teacher made a difference


def test_students_that_were_stopped_while_pruning_are_continued_to_the_same_files(tmp_path, monkeypatch):
    teacher(tmp_path)
    students(tmp_path)
    roles = ("student", "final", "alone")
    expected = {role: sha256(tmp_path / f"{role}_rendered.safetensors") for role in roles}
    for role in roles:
        (tmp_path / f"{role}_rendered.safetensors").unlink()
    with monkeypatch.context() as patch:
        stop_after(2, patch)  # the student's two epochs
        with pytest.raises(KeyboardInterrupt):
            students(tmp_path)
    assert unfinished() == ["student_rendered.pt"]
    students(tmp_path)
    assert {role: sha256(tmp_path / f"{role}_rendered.safetensors") for role in roles} == expected
    assert unfinished() == []


def test_a_student_alone_learns_from_labels_and_a_distilled_one_from_the_teacher_only_where_alpha_is_one(monkeypatch):
    plan = Plan(width=0.25, views=1, epochs=1, alpha=1.0)
    table = TeacherTable(torch.zeros(1, 24, 43), plan.recipe().augmentation)
    table.logits[0, :, 7] = 20.0  # a teacher that says class 7 to everything
    losses = {}
    for name, given in (("alone", None), ("distilled", table)):
        losses[name] = train_student(SPLITS, plan, given, **QUIET)[1].epochs[0]["loss"]
    # Untrained logits are nearly uniform: cross-entropy ln 43 = 3.76; T²·KL = 16·(KL of the softened one-hot).
    softened = torch.softmax(table.logits[0, 0] / 4, 0)
    expected = 16 * float(torch.log(torch.tensor(43.0)) + (softened * softened.log()).sum())
    assert losses["alone"] == pytest.approx(float(np.log(43)), rel=0.1)
    assert losses["distilled"] == pytest.approx(expected, rel=0.25)
    assert abs(losses["distilled"] - losses["alone"]) > 3


def test_students_of_a_missing_teacher_name_the_file_and_the_command(tmp_path):
    words = r"teacher_rendered was trained on another split.*course train teacher --data rendered"
    with pytest.raises(CourseError, match=words):
        students(tmp_path)
    assert unfinished() == []


def test_a_teacher_of_another_split_is_refused_before_anything_is_trained(tmp_path):
    teacher(tmp_path)
    with pytest.raises(CourseError, match="teacher_rendered was trained on another split"):
        train_students(
            make_splits(shift=1),
            "rendered",
            "course train student",
            plan=PLAN,
            folder=tmp_path,
            say=lambda line: pytest.fail(line),
        )
    assert not checkpoints.exists("student_rendered", folder=tmp_path)


def test_the_control_gets_the_student_s_recipe_and_fine_tuning_the_teacher_s_views():
    for plan in (FULL, LIVE):
        student, finetune = plan.recipe(), plan.finetune_recipe()
        assert student.views == finetune.views == plan.views
        assert student.augmentation == finetune.augmentation
        assert student.seed != finetune.seed  # another order of the images
        assert (student.epochs, finetune.epochs) == (plan.epochs, plan.finetune_epochs)
        assert (student.max_lr, finetune.max_lr) == (plan.max_lr, plan.finetune_lr)


def test_the_live_plan_differs_from_the_full_one_in_time_and_has_no_time_for_an_average():
    short = {"views", "epochs", "finetune_epochs"}
    assert {key for key, value in asdict(FULL).items() if asdict(LIVE)[key] != value} == {*short, "average"}
    assert all(asdict(LIVE)[key] < asdict(FULL)[key] for key in short)


def test_names_of_data_become_names_of_checkpoints():
    names = ("rendered", "gtsrb", "some/where.npz")
    assert [data_key(name) for name in names] == ["rendered", "gtsrb_official", "gtsrb"]
    assert data_key("some/where.npz", all_tracks=True) == "gtsrb_official"
    assert ROLES.keys() == TEACHER_PLANS.keys() == PLANS.keys()
    assert SMALL_PLANS.keys() == {key for key, roles in ROLES.items() if "small" in roles}


def test_the_official_teacher_and_small_student_take_as_many_steps_as_those_by_track():
    """25,529 images by track, 33,359 with all tracks but validation's."""
    ratio = 33_359 / 25_529
    pairs = [(TEACHER_PLANS[key].recipe.epochs, SMALL_PLANS[key].epochs) for key in ("gtsrb", "gtsrb_official")]
    for by_track, official in zip(*pairs, strict=True):
        assert official * ratio == pytest.approx(by_track, rel=0.05)


def test_which_students_are_made_depends_on_the_data(tmp_path, monkeypatch):
    """Real signs get the small student; the one for the official test part no control."""
    monkeypatch.setitem(shipped_networks.PLANS, "gtsrb", PLAN)
    monkeypatch.setitem(shipped_networks.PLANS, "gtsrb_official", PLAN)
    small = replace(PLAN, channels=(8, 12), strides=(1, 2))
    for key in ("gtsrb", "gtsrb_official"):
        monkeypatch.setitem(shipped_networks.SMALL_PLANS, key, small)
        monkeypatch.setitem(shipped_networks.TEACHER_PLANS, key, TEACHER)
        train_teacher(SPLITS, key, "course train teacher", folder=tmp_path, **QUIET)
        train_students(SPLITS, key, "course train student", folder=tmp_path, **QUIET)
        made = {path.stem.partition("_")[0] for path in tmp_path.glob(f"*_{key}.json")}
        assert made == {"teacher", *ROLES[key]}
        model, card = checkpoints.load(f"small_{key}", folder=tmp_path)
        assert (model.channels, model.strides) == ((8, 12), (1, 2))
        assert card["plan"] == json.loads(json.dumps(asdict(small)))
    assert unfinished() == []


@pytest.mark.parametrize("key", ["../x", "a b", "Ü", "a/b", "A"])
def test_a_name_that_could_leave_the_cache_is_refused(key):
    with pytest.raises(CourseError, match="not a name for a checkpoint"):
        resume_path("teacher", key)
    assert resume_path("teacher", "gtsrb").name == "teacher_gtsrb.pt"


@pytest.mark.parametrize(("key", "role"), [(key, role) for key, roles in ROLES.items() for role in roles])
def test_a_shipped_students_card_holds_the_plan_that_would_make_it_again(key, role):
    plan = SMALL_PLANS[key] if role == "small" else PLANS[key]
    _, card = checkpoints.load(f"{role}_{key}")
    assert card["plan"] == json.loads(json.dumps(asdict(plan)))
