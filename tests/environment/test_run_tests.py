"""``make test`` runs every stage, under variables of its own, and fails if one fails."""

from __future__ import annotations

import pytest


def test_a_failed_stage_fails_the_run_but_stops_no_other(run_python):
    result = run_python(
        """
        import sys
        sys.path.insert(0, "scripts")
        import run_tests
        fail, work = [sys.executable, "-c", "exit(3)"], [sys.executable, "-c", "print('worked')"]
        run_tests.STAGES = {"first": fail, "second": work}
        sys.argv = ["run_tests.py"]
        run_tests.main()
        """
    )
    assert result.returncode == 1
    assert "first: FAILED (exit 3)" in result.stdout
    assert "worked" in result.stdout
    assert result.stdout.rstrip().endswith("1 passed, 1 failed")


def test_an_unknown_stage_is_refused_with_the_names_of_all(run_tests, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["run_tests.py", "everything"])
    with pytest.raises(SystemExit):
        run_tests.main()
    assert "unknown stage 'everything': expected one of style, format, types" in capsys.readouterr().err


@pytest.mark.parametrize("stage", ["doctests", "tests", "exercises", "notebooks"])
def test_a_learners_record_and_data_reach_no_stage_that_executes_the_course(run_tests, monkeypatch, stage):
    monkeypatch.setenv("COURSE_PROGRESS", "/a/learner's/progress.json")
    monkeypatch.setenv("COURSE_DATA", "gtsrb")
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    variables = run_tests.environment(stage)
    assert variables["COURSE_PROGRESS"] == "off"
    assert not {"COURSE_DATA", "PYTHONPATH"} & variables.keys()


def test_the_notebooks_run_under_their_own_setting_and_choose_their_own_backend(run_tests, monkeypatch):
    monkeypatch.setattr(run_tests, "notebooks_setting", lambda: {"OMP_NUM_THREADS": "1", "SOME_KERNELS": "plain"})
    variables = run_tests.environment("notebooks")
    assert (variables["OMP_NUM_THREADS"], variables["SOME_KERNELS"]) == ("1", "plain")
    assert "MPLBACKEND" not in variables
    others = run_tests.environment("tests")
    assert (others["MPLBACKEND"], others["OMP_NUM_THREADS"]) == ("agg", "1")
    assert "SOME_KERNELS" not in others


def test_the_stage_of_types_finds_an_error_and_accepts_sound_code(run_tests, tmp_path):
    """The stage's command, on a project of its own with the same settings."""
    (tmp_path / "course_lib").mkdir()
    settings = (run_tests.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(settings[settings.index("[tool.basedpyright]") :])
    module = tmp_path / "course_lib" / "module.py"
    results = []
    for value in ('"text"', "3"):
        module.write_text(f"def count() -> int:\n    return {value}\n")
        results.append(
            run_tests.subprocess.run(run_tests.STAGES["types"], cwd=tmp_path, capture_output=True, text=True)
        )
    assert [result.returncode for result in results] == [1, 0]
    assert "reportReturnType" in results[0].stdout


def test_the_stage_of_doctests_finds_an_example_that_is_wrong(run_tests, tmp_path):
    (tmp_path / "course_lib").mkdir()
    example = tmp_path / "course_lib" / "example.py"
    codes = []
    for answer in (3, 2):
        example.write_text(f'"""An example.\n\n>>> 1 + 1\n{answer}\n"""\n')
        codes.append(
            run_tests.subprocess.run(run_tests.STAGES["doctests"], cwd=tmp_path, capture_output=True).returncode
        )
    assert codes == [1, 0]
