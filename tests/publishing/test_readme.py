"""README's generated parts and the notation page agree with the files, chapters and code that they speak of."""

from __future__ import annotations

import importlib
import json
import re
import shutil

import pytest

from course_lib.errors import CourseError
from course_lib.publishing import readme
from course_lib.publishing.curriculum import CHAPTERS, PARTS, written
from course_lib.publishing.pruning_table import pruning_table
from course_lib.publishing.quantization_table import integer_table, quantization_table
from course_lib.storage.files import RESULTS, ROOT

CHANGE = {"value": -0.5, "low": -0.8, "high": -0.2, "n": 900, "clusters": 200}
NAMES = ("teacher FP32", "student pruned INT8")


def row_of(name: str, index: int) -> dict:
    """One row as ``main_job_record.record_main_job`` writes it, as far as README reads it."""
    faster = [{"value": v, "low": v - 0.4, "high": v + 0.4, "n": 500} if index else None for v in (20.5, 12.5, 6.25)]
    return {
        "name": name,
        "accuracy": {"value": 0.985 - 0.005 * index, "low": 0.97, "high": 0.99, "n": 900, "clusters": 200},
        "accuracy_change": CHANGE if index else None,
        "size_bytes": 5_700_000 // 60**index,
        "size_ratio": 60.0**index,
        "times": [
            {"cadence": name, "p50_ms": 1.5 / 20**index, "speedup": speedup}
            for name, speedup in zip(("back to back", "in turn", "30 a second"), faster, strict=True)
        ],
    }


def figure(value: float, unit: str, **more) -> dict:
    """One recorded figure."""
    return {"value": value, "unit": unit, "n": 900, "meaning": "m", **more}


def quantized(key: str) -> dict:
    """What ``benchmarks/quantization.py`` records, of two networks; times without dot products only for one set."""
    figures = {}
    for role, drop in (("teacher", 0.1), ("final", 0.3)):
        figures[f"{role}_int8_drop_points"] = figure(drop, "points", low=drop - 0.2, high=drop + 0.2, target="≤ 0.2")
        figures[f"{role}_int8_size_ratio"] = figure(3.9, "×")
        figures[f"{role}_int8_bytes"] = figure(1000, "bytes")
        for hidden in ("", "_without_dot_products")[: 2 if key == "rendered" else 1]:
            for pace, value in (("", 2.5), ("_in_turn", 2.0), ("_30_a_second", 0.9)):
                name = f"{role}_int8_latency_ratio{pace}{hidden}"
                figures[name] = figure(value, "×", low=value - 0.1, high=value + 0.1)
    return figures


def in_integers() -> dict:
    """What ``benchmarks/integer_engine.py`` records, without hidden dot products."""
    figures = {
        "layers_total": figure(31, ""),
        "layers_bit_exact": figure(31, ""),
        "images": figure(7224, ""),
        "codes_differing": figure(0, "") | {"n": 2_000_000},
        "c_codes_differing": figure(0, "") | {"n": 1_000},
    }
    for end, value in (("", 0.85), ("_teacher", 2.0)):
        figures |= {f"c_{what}_bytes{end}": figure(10_112, "bytes") for what in ("flash", "ram")}
        for pace in ("", "_30_a_second"):
            ends = {"low": value - 0.1, "high": value + 0.1}
            figures[f"c_time_ratio_to_onnxruntime{pace}{end}"] = figure(value, "×", **ends)
    return figures


@pytest.fixture
def place(tmp_path, few_bits, peers, deployment):
    """README with empty marks, no picture, and two recorded main jobs; the keyword arguments of ``readme.write``."""
    for key in ("rendered", "gtsrb"):
        content = {
            "command": f"course bench journey --data {key}",
            "date": "2026-01-02",
            "machine": {"cpu": "Some CPU", "isa": ["avx2"]},
            "figures": {
                "teacher_accuracy": figure(0.985, "", low=0.97, high=0.99),
                "final_accuracy": figure(0.98, "", low=0.965, high=0.988),
                "accuracy_drop_points": figure(0.5, "points", low=-0.1, high=0.8, target="≤ 1.0"),
                "size_ratio": figure(48.0, "×", target="≥ 50", note="why"),
                "latency_ratio": figure(20.5, "×", low=20.1, high=20.9, target="≥ 25", note="why"),
                "latency_ratio_single": figure(12.5, "×", low=12.1, high=12.9),
                "latency_ratio_30_hz": figure(6.25, "×", low=6.0, high=6.5),
                **{f"{name}_aa": figure(1.0, "×", low=0.99, high=1.01) for name in readme.SPEEDS},
            },
            "ledger": {
                "title": "t",
                "sessions": 5,
                "caption": f"{key}: how it was measured.",
                "rows": [row_of(n, i) for i, n in enumerate(NAMES)],
            },
        }
        (tmp_path / f"journey_{key}__some_cpu_no_dot_product.json").write_text(json.dumps(content), encoding="utf-8")
        gain = {"value": 1.5, "low": -0.25, "high": 3.25, "unit": "points", "n": 3, "meaning": "m", "target": "≥ 2"}
        arms = [f"{arm}{part}_accuracy" for arm in ("alone", "soft_targets") for part in ("", "_tenth")]
        distilled = {name: {"value": 90.0 + i, "unit": "%", "n": 3, "meaning": "m"} for i, name in enumerate(arms)}
        distilled |= {f"gain_points_{regime}": gain for regime in ("full", "ten_percent")}
        recorded = {"command": "c", "date": "2026-01-02", "figures": distilled}
        (tmp_path / f"distillation_{key}.json").write_text(json.dumps(recorded), encoding="utf-8")
        pruned = {}
        for share, drop, time in (("half", 0.1, 0.5), ("quarter", 0.6, 0.3), ("tenth", 2.0, 0.1)):
            target = None if share == "tenth" else "≤ 0.5"
            ends = {"low": drop - 0.5, "high": drop + 0.5, "target": target}
            pruned[f"drop_points_at_{share}_macs"] = {"value": drop, "unit": "points", "n": 3, "meaning": "m", **ends}
            for what, value in (("latency", time), ("macs", time - 0.02), ("parameter", 0.25)):
                pruned[f"{what}_ratio_at_{share}_macs"] = {"value": value, "unit": "×", "n": 3, "meaning": "m"}
        recorded = {"command": "c", "date": "2026-01-02", "figures": pruned}
        (tmp_path / f"pruning_{key}.json").write_text(json.dumps(recorded), encoding="utf-8")
        recorded = {"command": "c", "date": "2026-01-02", "figures": quantized(key)}
        (tmp_path / f"quantization_{key}.json").write_text(json.dumps(recorded), encoding="utf-8")
    recorded = {"command": "c", "date": "2026-01-02", "figures": in_integers()}
    (tmp_path / "integer_engine.json").write_text(json.dumps(recorded), encoding="utf-8")
    few_bits(tmp_path)
    peers(tmp_path)
    deployment(tmp_path)
    names = ("figures", "speeds", "picture", "ledger", "official", "distillation", "pruning", "chapters")
    names += ("quantization", "integers", "peers", "calibration", "post_training", "aware_training", "doctor")
    names += ("fusion", "runtimes", "kit")
    marks = "\n\nprose\n\n".join(f"<!-- {n} -->\n\n<!-- /{n} -->" for n in names)
    (tmp_path / "README.md").write_text(f"# Title\n\n{marks}\n\nend\n", encoding="utf-8")
    return {"readme": tmp_path / "README.md", "picture": tmp_path / "docs" / "journey.png", "results": tmp_path}


def change_result(place, key: str, change) -> None:
    """Apply ``change`` to a recorded file's content."""
    path = place["results"] / f"journey_{key}__some_cpu_no_dot_product.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.skipif(not list(RESULTS.glob("journey_*.json")), reason="the main job was not recorded yet")
def test_readme_is_what_the_recorded_files_say():
    assert readme.problems() == []


def test_written_parts_agree_and_a_second_writing_changes_nothing(place):
    readme.write(**place)
    assert readme.problems(**place) == []
    before = place["readme"].read_text(encoding="utf-8")
    readme.write(**place)
    assert place["readme"].read_text(encoding="utf-8") == before
    assert before.startswith("# Title")
    assert before.count("\nprose\n") == 17
    assert before.endswith("\nend\n")


def test_the_figures_stand_side_by_side_with_interval_target_and_a_miss_that_is_told(place):
    lines = readme.figures_table(readme.recorded_journeys(place["results"])).splitlines()
    assert lines[0] == "|  | rendered signs | real signs (GTSRB) | target |"
    assert "| teacher, accuracy | 98.50 % [97.00, 99.00] | 98.50 % [97.00, 99.00] |  |" in lines
    assert "| points lost | 0.50 [−0.10, 0.80] | 0.50 [−0.10, 0.80] | ≤ 1.0 |" in lines
    assert "| times smaller | 48.0 × (missed) | 48.0 × (missed) | ≥ 50 |" in lines
    assert "900 test images; `course bench journey --data gtsrb`, 2026-01-02, Some CPU." in lines[-1]


def test_speeds_stand_by_cadence_and_kind_of_processor_and_what_nobody_measured_is_said(place):
    lines = readme.speeds_table(place["results"]).splitlines()
    assert lines[0].count("no 8-bit dot products") == 2
    row = next(line for line in lines if line.startswith("| 30 a second"))
    assert row.endswith(2 * "| 6.25 × [6.00, 6.50] | not measured here " + "|")
    assert sum(line.startswith("| A/A") for line in lines) == 3
    assert "(target" not in row
    assert next(line for line in lines if line.startswith("| back to back")).count("(target ≥ ") == 2
    assert "5 sessions" in lines[-1]
    file = place["results"] / "journey_gtsrb__some_cpu_no_dot_product.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["machine"]["isa"] = ["avx2", "avx512_vnni"]
    content["figures"]["latency_ratio_30_hz"] |= {"value": 7.7, "low": 7.5, "high": 7.9}
    (place["results"] / "journey_gtsrb__a_cpu_avx512_vnni.json").write_text(json.dumps(content), encoding="utf-8")
    row = next(line for line in readme.speeds_table(place["results"]).splitlines() if line.startswith("| 30 a second"))
    assert row.endswith("| 6.25 × [6.00, 6.50] | 7.70 × [7.50, 7.90] |")
    assert not readme._kind(readme.recorded_journeys(place["results"])["gtsrb"])


def test_the_sets_stand_side_by_side_on_one_kind_of_processor(place):
    for key in ("gtsrb", "rendered"):
        file = place["results"] / f"journey_{key}__some_cpu_no_dot_product.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        content["machine"]["isa"] = ["avx2", "avx512_vnni"]
        (place["results"] / f"journey_{key}__a_cpu_avx512_vnni.json").write_text(json.dumps(content), encoding="utf-8")
    (place["results"] / "journey_gtsrb__some_cpu_no_dot_product.json").unlink()
    chosen = readme.recorded_journeys(place["results"])
    assert [readme._kind(result) for result in chosen.values()] == [True, True]


def test_hidden_dot_products_are_a_column_of_the_speeds_and_head_nothing(place):
    for key in ("gtsrb", "rendered"):
        file = place["results"] / f"journey_{key}__some_cpu_no_dot_product.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        hidden = {**content, "machine": {**content["machine"], "cpu": "Some CPU, 8-bit dot products hidden"}}
        file.write_text(json.dumps(hidden), encoding="utf-8")
        assert readme.recorded_journeys(place["results"])[key]["machine"] == hidden["machine"]  # there is no other
        content["machine"]["isa"] = ["avx2", "avx512_vnni"]
        (place["results"] / f"journey_{key}__a_cpu_avx512_vnni.json").write_text(json.dumps(content), encoding="utf-8")
    chosen = readme.recorded_journeys(place["results"])
    assert [result["machine"]["cpu"] for result in chosen.values()] == ["Some CPU", "Some CPU"]
    assert "not measured here" not in readme.speeds_table(place["results"])


def test_a_target_that_only_the_value_reaches_is_not_called_established(place):
    file = place["results"] / "journey_gtsrb__some_cpu_no_dot_product.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    content["figures"]["accuracy_drop_points"]["high"] = 1.3
    file.write_text(json.dumps(content), encoding="utf-8")
    table = readme.figures_table(readme.recorded_journeys(place["results"]))
    assert "| points lost | 0.50 [−0.10, 0.80] | 0.50 [−0.10, 1.30] (not established) | ≤ 1.0 |" in table


def test_what_pruning_costs_stands_with_intervals_and_what_is_missed_or_not_sure_is_told(place):
    lines = pruning_table(place["results"]).splitlines()
    assert len(lines) == 2 + 6
    assert lines[2] == "| rendered signs | 48 % | 25 % | 0.10 [−0.40, 0.60] (target ≤ 0.5: not established) | 0.50 |"
    assert "| 0.60 [0.10, 1.10] (target ≤ 0.5: missed) |" in lines[3]
    assert lines[7] == "| real signs (GTSRB) | 8 % | 25 % | 2.00 [1.50, 2.50] | 0.10 |"
    (place["results"] / "pruning_gtsrb.json").unlink()
    with pytest.raises(CourseError, match=r"pruning_gtsrb\.json"):
        pruning_table(place["results"])


def test_what_int8_costs_and_buys_stands_with_both_kinds_of_processor(place):
    lines = quantization_table(place["results"]).splitlines()
    assert len(lines) == 2 + 4
    assert lines[2].startswith(
        "| rendered signs | teacher | 0.10 [−0.10, 0.30] (target ≤ 0.2: not established) | 3.90 | 2.50 [2.40, 2.60] |"
    )
    assert "| student pruned | 0.30 [0.10, 0.50] (target ≤ 0.2: missed) |" in lines[3]
    assert lines[2].endswith("| 2.50 [2.40, 2.60] | 2.00 [1.90, 2.10] | 0.90 [0.80, 1.00] |")
    assert lines[4].endswith("| 0.90 [0.80, 1.00] | not measured here | not measured here | not measured here |")
    (place["results"] / "quantization_gtsrb.json").unlink()
    with pytest.raises(CourseError, match=r"quantization_gtsrb\.json"):
        quantization_table(place["results"])


def test_the_c_file_stands_with_its_bytes_and_what_was_compared(place):
    table = integer_table(place["results"])
    times = "| 0.85 [0.75, 0.95] | 0.85 [0.75, 0.95] | not measured here | not measured here |"
    assert f"| student | 10.1 kB | 10.1 kB {times}" in table
    assert "31 of 31 layers" in table
    assert "7,224 rendered test images; codes that differ: 0 of 2,000,000." in table


def test_gains_of_distillation_stand_with_their_interval_and_a_miss_that_is_told(place):
    lines = readme.distillation_table(place["results"]).splitlines()
    row = "| rendered signs | of a tenth of the signs | 91.00 % | 93.00 % | 1.50 [−0.25, 3.25] (missed) | 2 × 3 |"
    assert lines[3] == row
    (place["results"] / "distillation_gtsrb.json").unlink()
    with pytest.raises(CourseError, match=r"distillation_gtsrb\.json"):
        readme.distillation_table(place["results"])


def test_the_ledger_shows_every_network_on_both_sets(place):
    change_result(place, "gtsrb", lambda content: content["ledger"]["rows"].pop())
    lines = readme.ledger_table(readme.recorded_journeys(place["results"])).splitlines()
    assert lines[0].count("× faster, 30 a second") == 2
    assert lines[2] == "| teacher FP32" + 2 * " | 98.50 | – | 5.70 MB | – | 1.50 | – | – | –" + " |"
    ours = "98.00 | −0.50 | 95.0 kB | 60.0 | 0.0750 | 20.50 | 12.50 | 6.25"
    last = f"| student pruned INT8 | {ours}{8 * ' | –'} |"
    assert lines[3] == last
    assert "- Real signs (GTSRB): how it was measured." in lines


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda c: c["figures"]["size_ratio"].update(value=55.0), ["block figures differs"]),
        (
            lambda c: c["ledger"]["rows"][1]["times"][0].update(p50_ms=0.08),
            ["block picture differs", "block ledger differs", "journey.png was drawn from other figures"],
        ),
        (lambda c: c["ledger"].update(caption="Otherwise."), ["block ledger differs"]),
    ],
)
def test_a_changed_recording_is_found(place, change, found):
    readme.write(**place)
    change_result(place, "gtsrb", change)
    assert readme.problems(**place) == found


def test_an_edited_number_and_a_missing_picture_are_found(place):
    readme.write(**place)
    text = place["readme"].read_text(encoding="utf-8")
    place["readme"].write_text(text.replace("48.0 ×", "58.0 ×", 1), encoding="utf-8")
    place["picture"].unlink()
    assert readme.problems(**place) == ["block figures differs", "journey.png was never drawn"]


def test_one_recorded_set_is_enough_and_none_is_refused(place):
    (place["results"] / "journey_gtsrb__some_cpu_no_dot_product.json").unlink()
    assert list(readme.recorded_journeys(place["results"])) == ["rendered"]
    (place["results"] / "journey_rendered__some_cpu_no_dot_product.json").unlink()
    with pytest.raises(CourseError, match=r"no recorded main job here\. Mend: make bench NAME=journey"):
        readme.recorded_journeys(place["results"])


@pytest.mark.parametrize("text", ["", "<!-- a -->\n", "<!-- a -->\n1\n<!-- /a -->\n<!-- a -->\n2\n<!-- /a -->\n"])
def test_a_text_without_its_pair_of_marks_is_refused(text):
    with pytest.raises(ValueError, match="must hold the marks <!-- a -->"):
        readme.filled(text, {"a": "new"})


def test_a_content_with_backslashes_is_taken_as_it_is():
    assert readme.filled("<!-- a -->\nold\n<!-- /a -->", {"a": r"\1 \g<0>"}) == "<!-- a -->\n\\1 \\g<0>\n<!-- /a -->"


def test_the_chapter_table_links_what_is_written_and_names_what_is_planned():
    pages = written()
    table = readme.chapter_table(pages)
    for page in pages:
        assert f"(notebooks/{page.chapter.name}.ipynb) | {page.chapter.question} | {page.promise} | " in table
    assert table.splitlines()[1] == "| --- | --- | --- | ---: | ---: |"
    there = {page.chapter.number for page in pages}
    planned = table.split("Planned. ")[1] if len(there) < len(CHAPTERS) else ""
    assert re.findall(r"\d\d", planned) == [c.number for c in CHAPTERS if c.number not in there]


def test_there_are_26_chapters_in_order_each_in_one_part():
    assert [chapter.number for chapter in CHAPTERS] == [f"{number:02d}" for number in range(26)]
    assert len(PARTS) == 6


def test_a_written_chapter_tells_title_promise_and_minutes(tmp_path):
    text = "# %% [markdown]\n# # 01 · Measuring\n#\n# You will be able to\n#\n# - time two networks;\n#\n# 12 min\n"
    (tmp_path / "01_measuring.py").write_text(text, encoding="utf-8")
    (page,) = written(tmp_path)
    assert (page.title, page.promise, page.minutes) == ("Measuring", "time two networks", 12)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("01_measuring.py", "# %% [markdown]\n# # 01 · Measuring\n", "the header lacks a title"),
        ("01_other.py", "", "belongs to no planned chapter"),
    ],
)
def test_a_chapter_that_does_not_introduce_itself_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(CourseError, match=message):
        written(tmp_path)


def test_every_code_name_on_the_notation_page_exists():
    names = re.findall(r"`(course_lib(?:\.\w+)+)`", (ROOT / "docs" / "notation.md").read_text(encoding="utf-8"))
    assert len(names) > 20
    for name in names:
        module, attribute = name.rsplit(".", 1)
        assert hasattr(importlib.import_module(module), attribute), name


def test_every_term_of_the_glossary_has_a_chinese_name_and_a_meaning():
    page = (ROOT / "docs" / "notation.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.split("## Terms")[1].splitlines() if line.startswith("| ")][
        1:
    ]
    assert len(rows) > 30
    for cells in rows:
        assert len(cells) == 3, cells
        assert re.search(r"[\u4e00-\u9fff]", cells[1]), cells
    terms = [cells[0].casefold() for cells in rows]
    assert len(set(terms)) == len(terms)


def test_the_script_says_what_differs_and_leaves_status_1(place, monkeypatch, capsys):
    import runpy

    script = runpy.run_path(str(ROOT / "scripts" / "readme.py"))
    monkeypatch.setattr(readme.problems, "__defaults__", tuple(place.values()))
    monkeypatch.setattr(readme.write, "__defaults__", tuple(place.values()))
    shutil.copy(place["readme"], place["results"] / "before")
    assert script["main"](["--check"]) == 1
    assert "README: block figures differs; write it again: python scripts/readme.py" in capsys.readouterr().err
    assert place["readme"].read_bytes() == (place["results"] / "before").read_bytes()
    assert script["main"]([]) == 0
    assert script["main"](["--check"]) == 0
