"""The hooks before a commit and the workflow on GitHub run what ``make test`` and README say, with the same tools."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from course_lib.storage.files import ROOT

PYTHONS = ("3.11", "3.14")


@pytest.fixture
def hooks() -> dict[str, dict]:
    """{id: hook} of .pre-commit-config.yaml."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local"
    return {hook["id"]: hook for hook in repository["hooks"]}


@pytest.fixture
def workflow() -> dict:
    text = (ROOT / ".github" / "workflows" / "readme.yml").read_text(encoding="utf-8")
    # YAML 1.1 reads the key "on" as true.
    return yaml.safe_load(re.sub(r"^on:", "'on':", text, flags=re.MULTILINE))


def readme_block(first: str) -> list[str]:
    """The commands of README's code block that starts with this one, without comments."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"^ *```\n(.*?)^ *```", readme, flags=re.MULTILINE | re.DOTALL):
        commands = [line.split("#")[0].strip() for line in block.splitlines()]
        if commands[0] == first:
            return commands
    raise AssertionError(f"README has no block that starts with {first!r}")


def commands(job: dict) -> list[str]:
    """Every line that a job's steps run."""
    return [line for step in job["steps"] for line in step.get("run", "").splitlines()]


def test_the_hooks_run_the_first_stages_of_make_test(hooks, run_tests):
    assert list(hooks) == list(run_tests.STAGES)[:3] == ["style", "format", "types"]
    for name, hook in hooks.items():
        assert (hook["args"], hook["pass_filenames"]) == ([name], False)
        assert 'exec python scripts/run_tests.py "$0"' in hook["entry"]


def test_the_hooks_take_the_pinned_tools_of_the_environment_and_pin_none_themselves(hooks, run_tests, pins):
    for name, hook in hooks.items():
        assert hook["language"] == "system"
        assert not {"rev", "additional_dependencies"} & hook.keys()
        python, dash_m, tool, *_ = run_tests.STAGES[name]
        assert (python, dash_m) == (run_tests.PYTHON, "-m")
        version = subprocess.run([python, "-m", tool, "--version"], capture_output=True, text=True, check=True).stdout
        assert pins[tool] == f"=={re.findall(r'[0-9.]+', version)[0]}"


@pytest.mark.skipif(shutil.which("sh") is None, reason="no sh outside Git's own")
@pytest.mark.parametrize("where", ["COURSE_BIN", ".venv/bin", "PATH"])
def test_a_hook_finds_the_python_of_the_environment(hooks, where, tmp_path, monkeypatch):
    folders = {
        "COURSE_BIN": tmp_path / "conda",
        ".venv/bin": tmp_path / ".venv" / "bin",
        "PATH": tmp_path / "activated",
    }
    for name, folder in folders.items():
        folder.mkdir(parents=True)
        (folder / "python").write_text(f'#!/bin/sh\necho "{name} $*"\n')
        (folder / "python").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folders['PATH']}:/usr/bin:/bin")
    monkeypatch.delenv("COURSE_BIN", raising=False)
    if where == "COURSE_BIN":
        monkeypatch.setenv("COURSE_BIN", str(folders[where]))
    elif where == "PATH":
        shutil.rmtree(folders[".venv/bin"])
    command = f"{hooks['types']['entry']} types"
    result = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout == f"{where} scripts/run_tests.py types\n"


def test_pre_commit_accepts_its_configuration():
    pytest.importorskip("pre_commit", reason="pre-commit is not installed: it is no part of the environment")
    command = [sys.executable, "-m", "pre_commit", "validate-config"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_the_workflow_covers_three_systems_with_the_oldest_and_the_newest_python(workflow, pins):
    covered = set()
    for job in workflow["jobs"].values():
        matrix = job["strategy"]["matrix"]
        covered |= set(itertools.product(matrix["os"], matrix["python"]))
        assert job["runs-on"] == "${{ matrix.os }}"
        assert job["timeout-minutes"] <= 60
    assert covered == set(itertools.product(("ubuntu-latest", "macos-latest", "windows-latest"), PYTHONS))
    assert f"Python {PYTHONS[0]} to {PYTHONS[1]}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_workflow_runs_the_commands_of_readme_and_nothing_else_of_the_course(workflow):
    assert commands(workflow["jobs"]["make"]) == readme_block("make demo") == ["make demo", "make test"]
    windows = readme_block("conda env create -f environment.yml")
    choose_python, *others = commands(workflow["jobs"]["conda"])
    assert others == windows[:-1]
    assert windows[-1] == "course lab"  # it would wait for a browser
    wanted = re.findall(r"s/([^/]+)/python=\$\{\{ matrix.python \}\}/", choose_python)
    assert (ROOT / "environment.yml").read_text(encoding="utf-8").count(f"- {wanted[0]}\n") == 1


def test_the_workflow_starts_by_itself_and_checks_the_code_out_first(workflow):
    assert set(workflow["on"]) == {"push", "pull_request", "workflow_dispatch"}
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert job["steps"][0]["uses"].startswith("actions/checkout@")
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])


def test_all_pages_agree_whether_the_workflow_has_run():
    pages = ("README.md", "CONTRIBUTING.md", ".github/workflows/readme.yml")
    texts = {page: " ".join((ROOT / page).read_text(encoding="utf-8").lower().split()) for page in pages}
    says = {page: "has not run yet" in text.replace(" # ", " ") for page, text in texts.items()}
    assert len({says[page] for page in pages}) == 1, says
