"""A recorded figure in words; without a record, nothing, and no error."""

from __future__ import annotations

import pytest

from course_lib.errors import CourseError
from course_lib.measure import Measurement, record
from course_lib.measure.reference import nearest_result, reference


def test_a_recorded_figure_is_told_with_interval_unit_and_machine(tmp_path):
    figures = {"speedup": Measurement(23.19, "×", 100, "a / b", 22.0, 25.9), "share": Measurement(0.5, "", 1, "of all")}
    record("measuring", "run", figures, seeds=[0], threads=1, folder=tmp_path)
    assert reference("measuring", "speedup", folder=tmp_path).startswith("23.2 [22.0, 25.9] × (")
    assert reference("measuring", "speedup", folder=tmp_path).endswith(", 1 thread)")
    assert reference("measuring", "share", folder=tmp_path).startswith("0.500 (")


@pytest.mark.parametrize("content", [None, "not JSON", "{}", '{"figures": {}}'])
def test_a_record_that_is_missing_or_broken_stops_no_chapter(tmp_path, content):
    if content is not None:
        (tmp_path / "measuring.json").write_text(content, encoding="utf-8")
    assert reference("measuring", "speedup", folder=tmp_path) is None


def test_of_several_processors_the_one_of_this_machines_kind_is_taken(tmp_path, monkeypatch):
    for cpu, isa in (("A", ["avx2"]), ("B", ["avx2", "avx_vnni"])):
        machine = {"cpu": cpu, "isa": isa, "threads": 1}
        monkeypatch.setattr("course_lib.measure.records.machine_summary", lambda threads, m=machine: m)
        record("x", "run", {"a": Measurement(1, "", 1, "one")}, seeds=[], folder=tmp_path, by_processor=True)
    for isa, cpu in ((["avx2", "amx_int8"], "B"), (["avx2"], "A")):
        monkeypatch.setattr("course_lib.measure.reference.cpu_features", lambda isa=isa: {"isa": isa})
        assert nearest_result("x", folder=tmp_path)["machine"]["cpu"] == cpu
    with pytest.raises(CourseError, match="nothing recorded as y"):
        nearest_result("y", folder=tmp_path)
