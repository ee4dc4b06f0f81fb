"""The Ledger: measured together, marked where a claim would overreach, saved and loaded without loss."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from html import escape, unescape
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.deploy.onnx import export_onnx, onnx_counts, onnx_variant, onnx_variants, open_session
from course_lib.errors import CourseError
from course_lib.evaluation import Estimate, accuracy, accuracy_difference, bootstrap_ratio
from course_lib.measure import (
    BACK_TO_BACK,
    IN_TURN,
    MARKS,
    THIRTY_A_SECOND,
    Cadence,
    Ledger,
    Times,
    Twin,
    Variant,
    measure_ledger,
    predict_classes,
    ratio_of,
    three_digits,
)
from course_lib.plots import alt_text, ledger_figure

RNG = np.random.default_rng(0)
IMAGES = RNG.random((1200, 3, 4, 4), dtype=np.float32)
WEIGHTS = RNG.normal(size=(48, 5)).astype(np.float32)
TRACKS = np.arange(1200) // 6


def logits(x: np.ndarray, noise: float = 0.0) -> np.ndarray:
    z = x.reshape(len(x), -1) @ WEIGHTS
    return z + noise * np.sin(1e4 * z)


LABELS = logits(IMAGES, 0.3).argmax(1)


def fake(name: str, noise: float = 0.0, *, work: int = 1, **changes) -> Variant:
    """A variant in plain NumPy; ``work`` repeats the product, so that latencies differ."""

    def predict(x: np.ndarray) -> np.ndarray:
        for _ in range(work - 1):
            logits(x, noise)
        return logits(x, noise)

    fields = {
        "name": name, "predict": predict, "file": f"models/{name}.onnx", "size_bytes": 1000 // work, "parameters": 240,
        "nonzeros": 120, "macs": 240, "runtime": "NumPy", "provider": "CPU", "requested_provider": "CPU",
    }  # fmt: skip
    return Variant(**(fields | changes))


def measured(variants: list[Variant], **options) -> Ledger:
    options = {"title": "t", "data": "noise", "warmup": 1, "repeats": 24, **options}
    return measure_ledger(variants, IMAGES, LABELS, TRACKS, **options)


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return measured([fake("teacher", 0.3, work=40), fake("student"), fake("copy", 0.3, work=40)])


def test_every_column_of_a_row_equals_what_its_own_function_says(ledger):
    teacher, student, _ = ledger
    own, reference = logits(IMAGES).argmax(1), logits(IMAGES, 0.3).argmax(1)
    assert student.accuracy == accuracy(own, LABELS, TRACKS)
    assert student.accuracy_change == accuracy_difference(own, reference, LABELS, TRACKS)
    assert student.agreement == (own == reference).mean()
    times = student.times[0].ms
    assert (student.latency_ms_p50, student.latency_ms_p95) == tuple(np.percentile(times, [50, 95]))
    assert student.speedup == bootstrap_ratio(teacher.times[0].ms, times, seed=ledger.seed)
    assert student.size_ratio == teacher.size_bytes / student.size_bytes
    assert (student.file, len(times)) == ("student.onnx", 24)


def test_the_first_row_is_timed_a_second_time_and_is_about_as_fast_as_itself(ledger):
    (again,) = ledger.again
    assert again.speedup == bootstrap_ratio(ledger["teacher"].times[0].ms, again.ms, seed=ledger.seed)
    assert again.rounds == 24
    assert 0.5 < again.speedup.value < 2


def test_another_opening_of_the_first_file_serves_the_second_time():
    seen = []

    def counting(x: np.ndarray) -> np.ndarray:
        seen.append(len(x))
        return logits(x)

    found = measured([fake("a")], again=fake("a", predict=counting))
    assert len(seen) == 24 + 1  # rounds and a warm-up call
    assert found["a"].times[0].rounds == found.again[0].rounds == 24


def test_the_first_row_is_the_reference_and_has_no_ratio_to_itself(ledger):
    first = ledger["teacher"]
    assert (first.speedup, first.accuracy_change, first.agreement, first.size_ratio) == (None, None, 1.0, 1.0)
    assert ledger["student"].speedup.low > 1  # 40 products against one


def test_any_two_rows_can_be_compared_from_the_same_rounds(ledger):
    assert ledger.speedup("teacher", "student") == ledger["student"].speedup
    backward = ledger.speedup("student", "teacher")
    assert backward.value == pytest.approx(1 / ledger["student"].speedup.value)


def test_an_unknown_row_is_refused_with_the_names_that_exist(ledger):
    with pytest.raises(ValueError, match="no row 'x'; there are 'teacher', 'student', 'copy'"):
        ledger["x"]


def test_the_conditions_of_the_run_are_recorded(ledger):
    assert (ledger.threads, ledger.warmup, ledger.input_shape) == (1, 1, (1, 3, 4, 4))
    assert (ledger.cadences, ledger.sessions) == ((IN_TURN,), 1)
    assert ledger.machine["threads"] == 1
    assert "torch" in ledger.versions
    assert "1,200 test images of 200 tracks" in ledger.caption()


def changed(ledger: Ledger, name: str, again: dict | None = None, machine: dict | None = None, **changes) -> Ledger:
    """The ledger with one row changed; fields of ``Times`` go to the row's times."""
    row, timed = ledger[name], {field.name for field in dataclasses.fields(Times)}
    of_times = {key: value for key, value in changes.items() if key in timed}
    times = tuple(dataclasses.replace(t, **of_times) for t in row.times)
    row = dataclasses.replace(row, times=times, **{k: v for k, v in changes.items() if k not in timed})
    rows = tuple(row if r.name == name else r for r in ledger.rows)
    second = tuple(dataclasses.replace(t, **(again or {})) for t in ledger.again)
    return dataclasses.replace(ledger, rows=rows, again=second, machine={**ledger.machine, **(machine or {})})


def marks_after(ledger: Ledger, name: str, **changes) -> tuple[str, ...]:
    found = changed(ledger, name, **changes)
    return found.marks(found[name])


@pytest.fixture(scope="module")
def quiet(ledger) -> Ledger:
    """The measured ledger as a quiet machine would have given it."""
    again = {"speedup": Estimate(1.0, 0.99, 1.01, 24, "×"), "busy": 1.0}
    sure = {"busy": 1.0, "speedup": Estimate(2.0, 1.9, 2.1, 24, "×")}
    found = changed(ledger, "student", again=again, **sure)
    return changed(changed(found, "copy", **sure), "teacher", busy=1.0)


def test_a_sound_row_carries_no_mark(quiet):
    assert marks_after(quiet, "student") == ()


CASES = {
    "interval includes 1": {"speedup": Estimate(1.1, 0.9, 1.3, 24, "×")},
    "A/A misses 1": {"again": {"speedup": Estimate(1.02, 1.01, 1.03, 24, "×")}},
    "starved": {"busy": 0.899},
    "outputs disagree": {"twin": Twin("teacher", 0.99, 0.98)},
    "provider fell back": {"requested_provider": "CUDAExecutionProvider"},
    "emulated machine": {"machine": {"emulated": True}},
    "few images": {"accuracy": Estimate(0.9, 0.8, 1.0, 999, clusters=999)},
    "few rounds": {"sessions": (((1.0,),) * 19,)},
    "clocks changed": {"refused": ("clocks changed",)},
    "throttled": {"refused": ("throttled",)},
    "other conditions": {"refused": ("other conditions",)},
}


@pytest.mark.parametrize(("mark", "change"), CASES.items())
def test_each_overreach_sets_its_own_mark_and_no_other(quiet, mark, change):
    assert marks_after(quiet, "student", **change) == (mark,)


def test_there_is_a_case_for_every_mark():
    assert CASES.keys() == MARKS.keys()


@pytest.mark.parametrize(
    "change",
    [
        {"speedup": Estimate(1.1, 1.01, 1.3, 24, "×")},
        {"speedup": Estimate(0.5, 0.4, 0.6, 24, "×")},
        {"again": {"speedup": Estimate(1.01, 1.0, 1.02, 24, "×")}},
        {"busy": 0.9},
        {"twin": Twin("teacher", 0.99, 0.99)},
        {"accuracy": Estimate(0.9, 0.8, 1.0, 1000, clusters=100)},
        {"sessions": (((1.0,),) * 10,) * 2},
    ],
)
def test_at_the_boundary_no_mark_is_set(quiet, change):
    assert marks_after(quiet, "student", **change) == ()


@pytest.fixture(scope="module")
def hurried(quiet) -> Ledger:
    """The quiet ledger with a second cadence of ten rounds."""
    rushed = Times("30 a second", (((1.0,),) * 10,), busy=1.0)
    rows = tuple(dataclasses.replace(row, times=(*row.times, rushed)) for row in quiet)
    return dataclasses.replace(
        quiet, rows=rows, cadences=(*quiet.cadences, THIRTY_A_SECOND), again=(*quiet.again, rushed)
    )


def test_a_column_of_marks_stands_only_where_there_are_some(hurried):
    worth, times = (table.splitlines()[0] for table in hurried.to_markdown().split("\n\n")[:2])
    assert "marks" not in worth
    assert "30 a second: marks" in times
    assert "in turn: marks" not in times


def test_marks_can_be_asked_for_one_cadence_alone(hurried):
    assert hurried.marks(hurried["student"]) == ("few rounds",)
    assert hurried.marks(hurried["student"], "in turn") == ()
    assert hurried.marks(hurried["student"], "30 a second") == ("few rounds",)


def test_many_frames_of_few_tracks_are_few_images(quiet):
    assert marks_after(quiet, "student", accuracy=Estimate(0.9, 0.8, 1.0, 30_000, clusters=99)) == ("few images",)


def test_a_twin_that_computes_something_else_is_found_by_measuring():
    twins = {"same": ("a", 1.0), "other": ("a", 0.99)}
    found = measured([fake("a", 0.3), fake("same", 0.3), fake("other", 2.0)], twins=twins)
    assert found["same"].twin == Twin("a", 1.0, 1.0)
    assert "outputs disagree" not in found.marks(found["same"])
    assert found["other"].twin.agreement < 0.99
    assert "outputs disagree" in found.marks(found["other"])


def test_saving_and_loading_gives_an_equal_ledger_with_equal_marks_and_renderings(ledger, tmp_path):
    with_twin = dataclasses.replace(ledger["copy"], twin=Twin("teacher", 1.0, 0.5), macs=None)
    ledger = dataclasses.replace(ledger, rows=(*ledger.rows[:2], with_twin))
    ledger.save(tmp_path / "l.json")
    loaded = Ledger.load(tmp_path / "l.json")
    assert loaded == ledger
    assert [loaded.marks(row) for row in loaded] == [ledger.marks(row) for row in ledger]
    assert str(loaded) == str(ledger)


def _drop(key: str):
    return lambda raw: raw["rows"][1].pop(key)


BREAKS = {
    "another schema": lambda raw: raw.update(schema=2),
    "no schema": lambda raw: raw.pop("schema"),
    "no rows": lambda raw: raw.update(rows=[]),
    "rows are numbers": lambda raw: raw.update(rows=[1]),
    "row without accuracy": _drop("accuracy"),
    "row without times": _drop("times"),
    "no timed calls": lambda raw: raw["rows"][1]["times"][0].update(sessions=[]),
    "a cadence without times": lambda raw: raw["rows"][1].update(times=[]),
    "no cadence": lambda raw: raw.update(cadences=[]),
    "no A/A row": lambda raw: raw.pop("again"),
    "an unknown field": lambda raw: raw.update(surprise=1),
    "half an interval": lambda raw: raw["rows"][1]["times"][0]["speedup"].pop("low"),
    "an accuracy of 1.5": lambda raw: raw["rows"][1]["accuracy"].update(value=1.5),
    "an accuracy that is no number": lambda raw: raw["rows"][1]["accuracy"].update(low=float("nan")),
    "an accuracy outside its interval": lambda raw: raw["rows"][1]["accuracy"].update(high=0.01, low=0.0),
    "an agreement as text": lambda raw: raw["rows"][1].update(agreement="high"),
    "no bytes": lambda raw: raw["rows"][1].update(size_bytes=0),
    "a time below zero": lambda raw: raw["rows"][1]["times"][0]["sessions"][0][0].__setitem__(0, -1.0),
    "no machine": lambda raw: raw.pop("machine"),
}


@pytest.mark.parametrize("break_it", BREAKS.values(), ids=BREAKS.keys())
def test_a_damaged_ledger_is_one_line_with_the_file_and_the_mend(ledger, tmp_path, break_it):
    path = tmp_path / "l.json"
    ledger.save(path)
    raw = json.loads(path.read_text())
    break_it(raw)
    path.write_text(json.dumps(raw))
    with pytest.raises(CourseError, match=r"l\.json: .*ledger.*Mend: ") as caught:
        Ledger.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", None])
def test_a_missing_or_cut_file_is_a_course_error(tmp_path, text):
    path = tmp_path / "l.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CourseError, match=r"l\.json"):
        Ledger.load(path)


def test_the_text_table_fits_a_terminal_and_shows_each_row_in_both_halves(ledger):
    text = str(ledger)
    tables = text.split("\n\n")[1:3]
    assert all(len(line) <= 100 for table in tables for line in table.splitlines())
    assert all(sum(line.startswith(row.name) for line in text.splitlines()) == 2 for row in ledger)
    assert "(50 % ≠ 0)" in text


def test_a_mark_is_a_letter_in_the_row_and_a_sentence_below_in_every_rendering(quiet):
    marked = changed(quiet, "student", speedup=Estimate(1.0, 0.9, 1.1, 24, "×"))
    marked = dataclasses.replace(marked, rows=marked.rows[:2])
    note = f"a: interval includes 1. {MARKS['interval includes 1']}"
    assert marked.notes() == [note]
    for rendering in (str(marked), marked.to_markdown(), marked._repr_html_()):
        assert note in rendering
    assert next(line for line in marked.to_markdown().splitlines() if line.startswith("| student")).endswith("| a |")
    assert next(line for line in marked.to_markdown().splitlines() if line.startswith("| teacher")).endswith("|  |")


def test_an_a_a_row_stands_below_the_others_with_its_mark_in_every_rendering(quiet):
    missed = changed(quiet, "student", again={"speedup": Estimate(1.02, 1.01, 1.03, 24, "×")})
    for rendering in (str(missed), missed.to_markdown()):
        (line,) = (line for line in rendering.splitlines() if line.startswith(("A/A: teacher", "| A/A: teacher")))
        assert "1.02 [1.01, 1.03]" in line
        assert line.rstrip(" |").endswith(" a")
    assert "1.02 [1.01, 1.03]" in missed._repr_html_()


PACES = {
    BACK_TO_BACK: 20,
    IN_TURN: 24,
    Cadence("slow", calls=2, settle=1, period_s=0.001, finds="a core that slept"): 20,
}


@pytest.fixture(scope="module")
def paced() -> Ledger:
    return measured([fake("teacher", 0.3, work=40), fake("student")], cadences=PACES)


def test_every_cadence_gives_times_of_its_own_and_the_first_is_meant_where_none_is_named(paced):
    student = paced["student"]
    assert paced.cadences == tuple(PACES)
    assert [t.cadence for t in student.times] == ["back to back", "in turn", "slow"]
    assert [t.rounds for t in student.times] == list(PACES.values())
    assert [len(t.ms) for t in student.times] == [20 * 20, 24, 20 * 2]
    assert student.speedup == student.times[0].speedup == paced.speedup("teacher", "student")
    assert paced.speedup("teacher", "student", "slow") == student.times[2].speedup
    with pytest.raises(ValueError, match="no cadence 'fast'; there are 'back to back', 'in turn', 'slow'"):
        paced.speedup("teacher", "student", "fast")


def test_every_rendering_of_several_cadences_names_each_and_what_a_call_finds(paced):
    for rendering in (str(paced), paced.to_markdown(), paced._repr_html_()):
        for cadence in PACES:
            assert cadence.name in rendering
            assert cadence.finds in unescape(rendering)
    text = str(paced)
    tables = text.split("\n\n")[1:-1]
    assert all(len(line) <= 100 for table in tables for line in table.splitlines())
    assert sum(line.startswith("A/A: teacher") for line in text.splitlines()) == 3
    found = Ledger.load(_saved(paced))
    assert found == paced


def _saved(ledger: Ledger) -> Path:
    path = Path(tempfile.mkdtemp()) / "l.json"
    ledger.save(path)
    return path


def test_the_far_tail_is_told_from_a_thousand_calls_on_and_the_slowest_call_always():
    few = Times("in turn", (tuple((float(ms),) for ms in range(1, 1000)),), busy=1.0)
    many = Times("in turn", (tuple((float(ms),) for ms in range(1, 1001)),), busy=1.0)
    assert (few.p999, few.worst, many.worst) == (None, 999.0, 1000.0)
    assert many.p999 == pytest.approx(np.percentile(np.arange(1, 1001), 99.9))


def test_the_tails_show_every_row_in_every_cadence(paced):
    lines = paced.tails().splitlines()
    assert len(lines) == 2 + 2 * 3
    assert three_digits(paced["student"].times[0].worst) in lines[5]


def test_times_of_two_cadences_are_not_compared(paced):
    teacher, student = paced
    with pytest.raises(ValueError, match="'in turn' in 1 and 'slow' in 1 sessions"):
        ratio_of(teacher.times[1], student.times[2], 0)


def test_a_row_name_cannot_break_the_page(ledger):
    evil = dataclasses.replace(ledger, rows=(dataclasses.replace(ledger.rows[0], name="<b>|x"),))
    assert "<b>" not in evil._repr_html_()
    assert "<b>\\|x" in evil.to_markdown()


def test_a_fixed_batch_variant_predicts_like_a_free_one_also_for_the_padded_rest():
    seen = []

    def strict(x: np.ndarray) -> np.ndarray:
        seen.append(len(x))
        return logits(x, 0.3)

    found = predict_classes(fake("fixed", batch=7, predict=strict), IMAGES[:100], batch=64)
    assert np.array_equal(found, logits(IMAGES[:100], 0.3).argmax(1))
    assert set(seen) == {7}


def test_variants_with_a_fixed_batch_are_all_timed_with_that_batch():
    found = measured([fake("free"), fake("fixed", batch=4)])
    assert found.input_shape == (4, 3, 4, 4)
    with pytest.raises(ValueError, match=r"different fixed batches .*\[4, 8\]"):
        measured([fake("four", batch=4), fake("eight", batch=8)])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES.astype(np.float64), LABELS, "float32"),
        (IMAGES * 255, LABELS, "divide stored bytes by 255"),
        (IMAGES[:5], LABELS, r"got float32 \(5, 3, 4, 4\) and \(1200,\)"),
        (IMAGES[:0], LABELS[:0], "images must be"),
        (np.where(IMAGES > 0.99, np.float32(np.nan), IMAGES), LABELS, "nan"),
    ],
    ids=["double", "bytes", "lengths", "empty", "nan"],
)
def test_images_that_the_variants_would_misread_are_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        measure_ledger([fake("a")], images, labels, None, title="t", data="d", repeats=2)


def test_logits_that_are_not_logits_are_refused_with_the_variants_name():
    with pytest.raises(ValueError, match="variant 'a' must give"):
        measured([fake("a", predict=lambda x: np.full((len(x), 5), np.nan))])
    with pytest.raises(ValueError, match="variant 'a' must give"):
        measured([fake("a", predict=lambda x: np.zeros(len(x)))])


@pytest.mark.parametrize("twins", [{"a": ("nobody", 1.0)}, {"nobody": ("a", 1.0)}])
def test_a_twin_that_does_not_exist_is_refused(twins):
    with pytest.raises(ValueError, match="nobody"):
        measured([fake("a")], twins=twins)


def test_inconsistent_variants_are_refused():
    with pytest.raises(ValueError, match="different names"):
        measure_ledger([fake("a"), fake("a")], IMAGES, LABELS, None, title="t", data="d")
    with pytest.raises(ValueError, match="none of them 'A/A'"):
        measured([fake("A/A")])
    with pytest.raises(ValueError, match="both twin and twin_agreement"):
        measured([fake("a", twin="a")])
    with pytest.raises(ValueError, match="at least one"):
        measured([])


@pytest.fixture(scope="module")
def onnx_files(tmp_path_factory) -> dict[str, Path]:
    torch.manual_seed(0)
    folder, files = tmp_path_factory.mktemp("rungs"), {}
    for name, channels in (("large", 32), ("small", 4)):
        net = nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * channels, 5))
        files[name] = export_onnx(net, folder / f"{name}.onnx", input_shape=(1, 3, 4, 4))
    return files


def test_onnx_files_become_rows_with_the_counts_of_the_file_and_the_predictions_of_the_session(onnx_files):
    session = open_session(onnx_files["large"])
    labels = session.run(None, {"images": IMAGES})[0].argmax(1)
    variants = onnx_variants(onnx_files, threads=1)
    found = measure_ledger(variants, IMAGES, labels, None, title="t", data="noise", warmup=1, repeats=20)
    large, small = found
    counts = onnx_counts(onnx_files["large"])
    assert (large.parameters, large.nonzeros, large.macs) == (counts.parameters, counts.nonzeros, counts.macs)
    assert large.size_bytes == counts.deployable_bytes == onnx_files["large"].stat().st_size
    assert (large.accuracy.value, large.accuracy.n, large.accuracy.independent) == (1.0, 1200, 1200)
    assert small.accuracy.value == small.agreement < 1
    assert large.runtime.startswith("ONNX Runtime 1.")
    assert (large.provider, found.input_shape) == ("CPUExecutionProvider", (1, 3, 4, 4))


def test_a_session_on_another_provider_than_asked_for_is_marked(onnx_files):
    session = open_session(onnx_files["small"])
    wanted = "CUDAExecutionProvider"
    variant = onnx_variant("small", onnx_files["small"], threads=1, session=session, requested_provider=wanted)
    found = measured([variant])
    assert "provider fell back" in found.marks(found["small"])


def test_a_file_that_is_not_onnx_is_refused(onnx_files, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"not a model")
    with pytest.raises(CourseError, match=r"x\.onnx"):
        onnx_variants({**onnx_files, "x": tmp_path / "x.onnx"}, threads=1)


def test_the_figure_is_labelled_with_units_on_a_logarithmic_axis_and_described_in_words(ledger):
    figure = ledger_figure(ledger)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    assert "ms" in axes.get_xlabel()
    assert "%" in axes.get_ylabel()
    text = alt_text(figure)
    for row in ledger:
        assert f"{row.name}: {100 * row.accuracy.value:.1f} %" in text
    assert escape(text) in figure._repr_mimebundle_()["text/html"]


def test_each_point_of_the_figure_stands_at_its_row_and_is_hollow_if_marked(quiet):
    row = dataclasses.replace(quiet["student"], requested_provider="CUDA")
    (axes,) = ledger_figure(dataclasses.replace(quiet, rows=(quiet.rows[0], row))).axes
    points = [c for c in axes.collections if c.get_label().startswith(("teacher", "student"))]
    where = [tuple(p.get_offsets()[0]) for p in points]
    rows = (quiet.rows[0], row)
    assert where == [(r.latency_ms_p50, pytest.approx(100 * r.accuracy.value)) for r in rows]
    hollow = [bool((p.get_facecolor()[0][:3] == 1).all()) for p in points]
    assert hollow == [False, True]


@pytest.mark.parametrize("spread", [1.0, 1.3, 50.0])
def test_the_time_axis_has_readable_ticks_however_close_the_variants_are(ledger, spread):
    rows = tuple(
        dataclasses.replace(row, times=(Times(IN_TURN.name, (((p50,),) * 30,), busy=1.0),))
        for row, p50 in zip(ledger.rows, (0.131, 0.131 * spread, 0.14), strict=True)
    )
    (axes,) = ledger_figure(dataclasses.replace(ledger, rows=rows)).axes
    low, high = axes.get_xlim()
    assert sum(low <= tick <= high for tick in axes.get_xticks()) >= 1
