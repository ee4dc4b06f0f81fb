"""A board's results are read whole or not at all, and a row whose times mean nothing comes in without them."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from course_lib.deploy.edge import Results, import_results, read_results
from course_lib.deploy.edge.results import parse_results, results_sha256
from course_lib.errors import CourseError
from course_lib.measure import Ledger, pool_sessions

ACCURACY = {"value": 0.9, "low": 0.89, "high": 0.91, "n": 2000, "unit": "", "clusters": 300, "spread": None}
CHANGE = {"value": -1.0, "low": -2.0, "high": 0.0, "n": 2000, "unit": "points", "clusters": 300, "spread": None}
FIXED = {
    "cpu_khz": [1_000_000] * 2,
    "cpu_limits_khz": [[1_000_000, 1_000_000]] * 2,
    "gpu_khz": [900_000],
    "governors": ["performance"],
    "temperatures": {},
}


@pytest.fixture(scope="module")
def measured(built, tmp_path_factory) -> tuple[Path, dict]:
    """A kit that says what its networks are worth, and its results from edge_bench.py on this machine."""
    kit = Path(shutil.copytree(built, tmp_path_factory.mktemp("measured") / "kit"))
    manifest = json.loads((kit / "manifest.json").read_text())
    for number, model in enumerate(manifest["models"]):
        change = CHANGE if number else None
        model["scores"] = {"accuracy": ACCURACY, "agreement": 0.95 if number else 1.0, "accuracy_change": change}
    (kit / "manifest.json").write_text(json.dumps(manifest))
    command = [sys.executable, str(kit / "edge_bench.py"), "--calls", "30", "--warmup", "1", "--power-seconds", "0"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return kit, json.loads((kit / "result.json").read_text())


@pytest.fixture
def results(measured, tmp_path) -> Callable[..., Path]:
    """results(change): the file of the results on a board with fixed clocks after change(content), sealed again."""

    def write(change: Callable[[dict], object] = lambda content: None, *, seal: bool = True) -> Path:
        content = copy.deepcopy(measured[1])
        content["device"] |= {"model": "A board", "emulated": False}
        for row in content["rows"]:
            row["state"] = {"before": copy.deepcopy(FIXED), "after": copy.deepcopy(FIXED)}
        change(content)
        if seal:
            content["sha256"] = results_sha256(content)
        path = tmp_path / "result.json"
        path.write_text(json.dumps(content))
        return path

    return write


def after(name: str, value: object) -> Callable[[dict], object]:
    """Change one field of the first row's state after its run."""
    return lambda content: content["rows"][0]["state"]["after"].update({name: value})


def first(**fields: object) -> Callable[[dict], object]:
    """Change fields of the first row."""
    return lambda content: content["rows"][0].update(fields)


def test_what_the_script_wrote_is_read_as_it_stands(measured):
    kit, content = measured
    found = read_results(kit / "result.json")
    assert found.content == content
    assert [row["name"] for row in found.rows] == ["plain", "symmetric"]
    assert found.failures == {}


def test_times_come_from_the_board_and_worth_from_the_kit(measured, results, tmp_path):
    ledger = import_results(results(), measured[0])
    plain, symmetric = ledger
    assert (plain.name, symmetric.name) == ("plain, onnxruntime fp32", "symmetric, onnxruntime int8")
    assert plain.times[0].ms.tolist() == measured[1]["rows"][0]["times_ms"]
    assert plain.latency_ms_p50 == pytest.approx(measured[1]["rows"][0]["ms"]["median"], abs=1e-5)
    assert symmetric.accuracy.value == ACCURACY["value"]
    assert (plain.accuracy_change, symmetric.accuracy_change.value) == (None, CHANGE["value"])
    assert symmetric.size_ratio == plain.size_bytes / symmetric.size_bytes
    ledger.save(tmp_path / "ledger.json")
    assert Ledger.load(tmp_path / "ledger.json") == ledger


def test_no_ratio_of_times_is_made_of_networks_that_ran_one_after_the_other(measured, results):
    ledger = import_results(results(), measured[0])
    assert all(row.speedup is None for row in ledger)
    with pytest.raises(ValueError, match="one after the other"):
        ledger.speedup(*[row.name for row in ledger])
    with pytest.raises(ValueError, match="one after the other"):
        pool_sessions([ledger, ledger])
    for text in (str(ledger), ledger.to_markdown(), ledger._repr_html_()):
        assert "one after the other" in text
        assert "A/A" not in text


@pytest.mark.parametrize(
    ("change", "mark"),
    [
        (first(outputs_agree=False), "outputs disagree"),
        (first(provider_asked="CUDAExecutionProvider"), "provider fell back"),
        (first(providers=[]), "provider fell back"),
        (after("cpu_khz", [1_000_000, 950_000]), "clocks changed"),
        (after("cpu_khz", [1_000_000]), "clocks changed"),
        (after("gpu_khz", [300_000]), "clocks changed"),
        (after("governors", ["schedutil"]), "clocks changed"),
        (after("cpu_limits_khz", [[500_000, 500_000]] * 2), "clocks changed"),
        (after("cpu_khz", [900_000] * 2), "throttled"),
    ],
)
def test_a_row_that_is_no_measurement_of_speed_has_no_times_and_says_why(measured, results, change, mark):
    path = results(change)
    ledger = import_results(path, measured[0])
    row = ledger.rows[0]
    assert mark in row.refused
    assert row.times == ()
    assert mark in ledger.marks(row)
    assert any(mark in note for note in ledger.notes())
    with pytest.raises(ValueError, match=f"no times that mean anything: .*{mark}"):
        _ = row.latency_ms_p50
    assert ledger.rows[1].times
    for text in (str(ledger), ledger.to_markdown(), ledger._repr_html_()):
        assert mark in text
    with pytest.raises(CourseError, match=f"no claim about speed.*{mark}"):
        import_results(path, measured[0], require_speed=True)


@pytest.mark.parametrize("fields", [{"cadence": "30 a second"}, {"batch": 8}])
def test_a_row_timed_in_other_conditions_than_most_has_no_times_in_their_table(measured, results, fields):
    def change(content: dict) -> None:
        content["rows"].append(copy.deepcopy(content["rows"][1]))
        content["rows"][0].update(fields)

    ledger = import_results(results(change), measured[0])
    assert [row.refused for row in ledger] == [("other conditions",), (), ()]


def test_throttling_before_and_after_is_no_steady_state(measured, results):
    def slow(content: dict) -> None:
        for at in ("before", "after"):
            content["rows"][0]["state"][at]["cpu_khz"] = [900_000] * 2

    (row, _) = import_results(results(slow), measured[0])
    assert row.refused == ("throttled",)


def test_an_emulated_board_gives_no_times_at_all(measured, results, tmp_path):
    ledger = import_results(results(lambda content: content["device"].update(emulated=True)), measured[0])
    assert [row.refused for row in ledger] == [("emulated machine",)] * 2
    assert ledger.sessions == 0
    assert "emulated" in str(ledger)
    ledger.save(tmp_path / "ledger.json")
    assert Ledger.load(tmp_path / "ledger.json") == ledger


def test_clocks_that_a_system_does_not_tell_are_believed(measured, results):
    nothing = {name: [] for name in FIXED} | {"temperatures": {}}
    ledger = import_results(
        results(first(state={"before": nothing, "after": nothing})), measured[0], require_speed=True
    )
    assert ledger.rows[0].times


def test_classes_that_differ_widen_the_accuracys_interval(measured, results):
    (same, _) = import_results(results(first(top1_agreement=1.0, images=64)), measured[0])
    (other, _) = import_results(results(first(top1_agreement=63 / 64, images=64)), measured[0])
    (fewer, _) = import_results(results(first(top1_agreement=5 / 6, images=6)), measured[0])
    assert (same.accuracy.low, same.accuracy.high) == (ACCURACY["low"], ACCURACY["high"])
    assert fewer.accuracy.low < other.accuracy.low < same.accuracy.low - 1 / 64
    assert other.accuracy.value == same.accuracy.value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.update(finished=False), "not finished"),
        (lambda c: c.update(format=2), "format 2, and this course reads format 1"),
        (lambda c: c["kit"].update(manifest_sha256="0" * 64), "another kit's"),
        (lambda c: c.pop("kit"), "no kit"),
        (lambda c: c.update(rows=[]), "no rows"),
        (lambda c: c["rows"][0].pop("times_ms"), "row 1"),
        (lambda c: c["rows"][1].update(times_ms=[]), "row 2"),
        (lambda c: c["rows"][1].update(times_ms=[-1.0]), "row 2"),
        (lambda c: c["rows"][0].pop("state"), "row 1"),
        (lambda c: c["rows"][0].update(name="unknown"), "a network that the kit lacks"),
        (lambda c: [row.update(error="no memory") for row in c["rows"]], "no network ran .*no memory"),
    ],
)
def test_results_that_cannot_be_used_are_refused(measured, results, change, said):
    with pytest.raises(CourseError, match=said):
        import_results(results(change), measured[0])


def test_a_number_that_was_changed_is_seen(measured, results):
    path = results(lambda content: content["rows"][0]["times_ms"].__setitem__(0, 0.001), seal=False)
    with pytest.raises(CourseError, match="altered"):
        import_results(path, measured[0])


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"format": NaN}'])
def test_what_is_no_results_file_is_one_line(content):
    with pytest.raises(CourseError):
        parse_results(content, path="x", mend="y")


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(CourseError, match=r"missing. Mend: fetch it again: course kit run"):
        read_results(tmp_path / "no")


def test_a_row_that_failed_is_told_and_the_others_come_in(measured, results):
    path = results(first(error="killed (signal 9)"))
    assert read_results(path).failures == {"plain, onnxruntime fp32": "killed (signal 9)"}
    assert [row.name for row in import_results(path, measured[0])] == ["symmetric, onnxruntime int8"]


def test_a_kit_that_does_not_say_what_its_networks_are_worth_is_refused(built, tmp_path):
    kit = Path(shutil.copytree(built, tmp_path / "kit"))
    command = [sys.executable, str(kit / "edge_bench.py"), "--calls", "2", "--warmup", "1", "--power-seconds", "0"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    with pytest.raises(CourseError, match="does not say what plain is worth"):
        import_results(kit / "result.json", kit)


def test_results_name_the_board():
    assert Results("", {"device": {"model": None, "cpu": "ARM"}}).board == "ARM"
    assert Results("", {"device": {}}).board == "an unknown board"
