"""The main job: every variant becomes a file that computes what its network computes; figures come from the ledger."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import numpy as np
import pytest
import torch

from course_lib.data import SignDataset, Splits
from course_lib.deploy.onnx import onnx_variants, open_session, run_session
from course_lib.errors import CourseError
from course_lib.experiments import main_job, main_job_record
from course_lib.experiments.plans import Plan
from course_lib.measure import (
    BACK_TO_BACK,
    IN_TURN,
    THIRTY_A_SECOND,
    Ledger,
    measure_ledger,
    processor_key,
    records,
)
from course_lib.models import SignTeacher, checkpoints, sign_student, trained

PACES = ["back to back", "in turn", "30 a second"]


def part(split: str, first_group: int) -> SignDataset:
    rng = np.random.default_rng(first_group)
    coarse = torch.from_numpy(rng.random((43, 3, 4, 4), dtype=np.float32))
    images = (torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear") * 255).byte().numpy()
    return SignDataset(images, np.arange(43), groups=np.arange(43) + first_group, name="toy", split=split)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return Splits(part("train", 0), part("validation", 100), part("test", 200))


@pytest.fixture(scope="module")
def networks() -> tuple[SignTeacher, main_job.Students]:
    torch.manual_seed(0)
    teacher = SignTeacher(channels=(8, 8, 16, 16), blocks=(1, 1, 1, 1)).eval()
    students = [sign_student(width).eval() for width in (0.5, 0.25, 0.5)]
    return teacher, main_job.Students(*students, origin="untrained")


@pytest.fixture(scope="module")
def files(networks, splits, tmp_path_factory):
    return main_job.export_files(*networks, splits, tmp_path_factory.mktemp("rungs"), calibration=20)


@pytest.fixture(scope="module")
def ledger(files, splits) -> Ledger:
    images, labels = splits.test.batch(range(43))
    return measure_ledger(
        onnx_variants(files, threads=1),
        images.numpy(),
        labels.numpy(),
        splits.test.groups,
        title="toy",
        data="toy",
        warmup=1,
        cadences={BACK_TO_BACK: 5, IN_TURN: 5, THIRTY_A_SECOND: 2},
    )


def test_every_variant_has_its_file_and_the_teacher_comes_first(files):
    assert next(iter(files)) == main_job.TEACHER
    assert list(files)[-1] == main_job.FINAL
    assert len(files) == 7
    assert all(path.is_file() for path in files.values())


def test_a_live_run_has_no_control_row(networks, splits, tmp_path):
    teacher, students = networks
    live = main_job.Students(students.distilled, students.pruned, None, "live")
    assert "student alone FP32" not in main_job.export_files(teacher, live, splits, tmp_path, calibration=20)


def test_the_small_student_stands_last_where_there_is_one(networks, splits, tmp_path):
    teacher, students = networks
    given = dataclasses.replace(students, small=sign_student(channels=(4, 8), strides=(1, 2)).eval())
    files = main_job.export_files(teacher, given, splits, tmp_path, calibration=20)
    assert list(files)[-3:] == [main_job.FINAL, "small student FP32", main_job.SMALL]
    assert tuple(files) == main_job.ROWS
    assert files[main_job.SMALL].stat().st_size < files["small student FP32"].stat().st_size


def test_the_pruned_file_computes_what_the_pruned_network_computes(files, networks, splits):
    images, _ = splits.test.batch(range(43))
    with torch.inference_mode():
        expected = networks[1].pruned(images).numpy()
    found = run_session(open_session(files["student pruned FP32"]), images.numpy())
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_half_of_the_weights_are_zero_and_the_file_is_as_large_as_before(files, networks):
    twin = main_job.half_zeros(networks[1].distilled)
    weights = torch.cat([layer[0].weight.flatten() for layer in twin.features])
    assert (weights == 0).float().mean().item() == pytest.approx(0.5, abs=0.01)
    sizes = [files[name].stat().st_size for name in ("student distilled FP32", "… with 50 % zeros")]
    assert sizes[0] == sizes[1]
    before = torch.cat([layer[0].weight.flatten() for layer in networks[1].distilled.features])
    assert (before != 0).all(), "the original must stay as it was"


def test_recorded_figures_are_the_ledgers_own(ledger, tmp_path, monkeypatch):
    monkeypatch.setattr(records.record, "__kwdefaults__", {**records.record.__kwdefaults__, "folder": tmp_path})
    path = main_job_record.record_main_job(ledger, "toy", "a command")
    assert path.name == f"journey_toy__{processor_key(ledger.machine)}.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    first, last = ledger[main_job.TEACHER], ledger[main_job.FINAL]
    figures = content["figures"]
    speeds = {"latency_ratio", "latency_ratio_single", "latency_ratio_30_hz"}
    worth = {"teacher_accuracy", "final_accuracy", "accuracy_drop_points", "size_ratio"}
    assert set(figures) == worth | speeds | {f"{name}_aa" for name in speeds} | {"aa_furthest_percent"}
    furthest = max(max(t.speedup.value, 1 / t.speedup.value) for t in ledger.again)  # of one session
    assert figures["aa_furthest_percent"]["value"] == pytest.approx(100 * (furthest - 1))
    assert figures["teacher_accuracy"]["value"] == first.accuracy.value
    drop = 100 * (first.accuracy.value - last.accuracy.value)
    assert figures["accuracy_drop_points"]["value"] == pytest.approx(drop)
    assert figures["accuracy_drop_points"]["low"] <= drop <= figures["accuracy_drop_points"]["high"]
    assert figures["size_ratio"]["value"] == first.size_bytes / last.size_bytes
    for name, cadence in zip(("latency_ratio", "latency_ratio_single", "latency_ratio_30_hz"), PACES, strict=True):
        assert figures[name]["value"] == ledger.speedup(main_job.TEACHER, main_job.FINAL, cadence).value
    assert [figures[f"{name}_aa"]["value"] for name in ("latency_ratio",)] == [ledger.again[0].speedup.value]
    assert all(figure.get("met") is not False or figure["note"] for figure in figures.values())
    rows = content["ledger"]["rows"]
    assert len(rows) == len(ledger)
    assert [times["cadence"] for times in rows[-1]["times"]] == PACES
    assert rows[-1]["times"][2]["slowest_ms"] == last.times[2].worst
    assert "sessions" not in rows[0]["times"][0]  # single calls are not kept in git


@pytest.mark.parametrize(("clusters", "how"), [(43, "by bootstrap over signs"), (None, "Wilson's")])
def test_a_recorded_accuracy_says_what_its_interval_is(ledger, clusters, how):
    accuracy = dataclasses.replace(ledger[main_job.TEACHER].accuracy, clusters=clusters)
    assert f"teacher; interval {how}" in main_job_record._accuracy(accuracy, "teacher").meaning


def test_the_small_student_has_figures_of_its_own_where_it_stands_in_the_ledger(ledger, monkeypatch):
    assert "small_size_ratio" not in main_job_record._worth_figures(ledger)
    monkeypatch.setattr(main_job_record, "SMALL", "student pruned FP32")
    row, figures = ledger["student pruned FP32"], main_job_record._worth_figures(ledger)
    assert figures["small_size_ratio"].value == row.size_ratio != figures["size_ratio"].value
    assert figures["small_accuracy"].value == row.accuracy.value
    assert figures["small_accuracy_drop_points"].value == -row.accuracy_change.value
    assert figures["small_size_ratio"].target == "≥ 95"


@pytest.mark.parametrize(("isa", "target"), [(["avx2"], "≥ 25"), (["avx2", "avx512_vnni"], "≥ 50")])
def test_the_speed_that_is_asked_for_depends_on_the_processor_s_8_bit_products(ledger, isa, target):
    other = dataclasses.replace(ledger, machine={**ledger.machine, "isa": isa})
    figures = main_job_record._time_figures(other)
    assert figures["latency_ratio"].target == target
    assert figures["latency_ratio_30_hz"].target is None


def test_sessions_run_in_processes_of_their_own_and_are_pooled(files, tmp_path, monkeypatch, ledger):
    started = []

    def pretend(command, **options):
        started.append(command)
        ledger.save(tmp_path / f"session_{command[-1]}.json")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("subprocess.run", pretend)
    found = main_job_record.measure_sessions("toy.npz", files, "title", tmp_path, sessions=3)
    assert found.sessions == 3
    assert [command[3:] for command in started] == [["toy.npz", str(tmp_path), str(n)] for n in (1, 2, 3)]
    what = json.loads((tmp_path / "sessions.json").read_text(encoding="utf-8"))
    assert list(what["files"]) == list(files)
    with pytest.raises(ValueError, match="sessions must be at least 1"):
        main_job_record.measure_sessions("toy.npz", files, "title", tmp_path, sessions=0)


def test_a_session_measures_the_files_that_are_named_and_saves_its_ledger(files, splits, tmp_path, monkeypatch):
    two = {name: str(files[name]) for name in (main_job.TEACHER, main_job.FINAL)}
    (tmp_path / "sessions.json").write_text(json.dumps({"title": "t", "files": two}), encoding="utf-8")
    monkeypatch.setattr(main_job_record, "load", lambda data: splits)
    monkeypatch.setattr(main_job_record, "PACES", {BACK_TO_BACK: 2, IN_TURN: 3})
    main_job_record.main(["toy", str(tmp_path), "4"])
    found = Ledger.load(tmp_path / "session_4.json")
    assert [row.name for row in found] == list(two)
    assert [times.rounds for times in found.rows[0].times] == [2, 3]


def test_a_session_that_fails_says_its_last_words(files, tmp_path):
    with pytest.raises(CourseError, match=r"session 1 failed: .*nowhere"):
        main_job_record.measure_sessions(str(tmp_path / "nowhere.npz"), files, "title", tmp_path, sessions=1)


def shipped(folder, networks, splits, key="rendered"):
    card = {"data_fingerprint": checkpoints.fingerprint(splits), "validation_accuracy": 0.5}
    _, students = networks
    checkpoints.save(SignTeacher(), f"teacher_{key}", card, folder=folder)
    for role, model in (("student", students.distilled), ("final", students.pruned), ("alone", students.alone)):
        checkpoints.save(model, f"{role}_{key}", card, folder=folder)


@pytest.fixture
def shop(tmp_path, monkeypatch, networks, splits):
    """Shipped networks in a folder of the test's own, and toy data under the name "rendered"."""
    for function in (checkpoints.load, checkpoints.load_for_split):
        monkeypatch.setattr(function, "__kwdefaults__", {"folder": tmp_path / "shop"})
    monkeypatch.setattr(trained, "CHECKPOINTS", tmp_path / "shop")
    monkeypatch.setattr(trained, "TRAINED", tmp_path / "trained")
    monkeypatch.setattr(main_job, "load", lambda data: splits)
    shipped(tmp_path / "shop", networks, splits)
    return tmp_path


@pytest.mark.parametrize("quick", [True, False], ids=["quick", "live"])
def test_the_main_job_runs_both_ways_and_says_which(shop, quick, monkeypatch):
    monkeypatch.setattr(
        main_job, "LIVE", Plan(width=0.5, pruning_ratio=0.5, views=1, epochs=1, finetune_epochs=1, calibration=20)
    )
    monkeypatch.setitem(main_job.PLANS, "rendered", Plan(calibration=20))
    said = []
    ledger = main_job.run(
        "rendered", quick=quick, out=shop / "out", paces={IN_TURN: 3}, progress=False, say=said.append
    )
    assert ("shipped" if quick else "trained live") in ledger.title
    assert ("student alone FP32" in [row.name for row in ledger]) == quick
    assert any(("shipped (" if quick else "trained live") in line for line in said)
    assert Ledger.load(shop / "out" / "ledger.json") == ledger
    assert not list((shop / "out").rglob("*.part"))


def test_a_teacher_of_another_split_is_refused(shop, networks, splits, monkeypatch):
    other = Splits(splits.test, splits.validation, splits.train)
    monkeypatch.setattr(main_job, "load", lambda data: other)
    with pytest.raises(CourseError, match="may have seen these test images"):
        main_job.run("rendered", quick=True, out=shop / "out", progress=False)
    assert not (shop / "out").exists()
