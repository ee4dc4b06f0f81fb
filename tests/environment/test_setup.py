"""scripts/setup.sh sets up once, takes PyTorch from the right place, and says in one line what fails."""

from __future__ import annotations

import shutil
import subprocess

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed (Windows)")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"


class TestSetUp:
    def test_a_second_call_sets_nothing_up_again(self, checkout):
        _, run = checkout
        first, calls = run()
        assert first.returncode == 0, first.stderr
        assert [call.split()[1] for call in calls] == ["venv", "pip"]
        second, calls = run()
        assert (second.returncode, second.stdout, second.stderr, calls) == (0, "", "", [])

    def test_changed_pins_install_again_into_the_same_environment(self, checkout):
        folder, run = checkout
        run()
        with open(folder / "pyproject.toml", "a") as stream:
            stream.write("\n# changed\n")
        result, calls = run()
        assert result.returncode == 0
        assert [call.split()[1] for call in calls] == ["pip"]

    def test_a_moved_folder_gets_a_new_environment(self, checkout, tmp_path):
        folder, run = checkout
        run()
        moved = folder.rename(tmp_path / "elsewhere")
        result, calls = run(moved)
        assert result.returncode == 0
        assert [call.split()[1] for call in calls] == ["venv", "pip"]

    def test_a_failed_installation_says_why_leaves_no_stamp_and_is_tried_again(self, checkout):
        folder, run = checkout
        failed, _ = run(FAKE_PIP="1")
        assert failed.returncode != 0
        assert "ERROR: no network" in failed.stderr
        assert "pip failed; all it said stands in .venv/setup.log. Mend: " in failed.stderr
        assert not (folder / ".venv" / "stamp").exists()
        again, calls = run()
        assert again.returncode == 0
        assert [call.split()[1] for call in calls] == ["pip"]

    def test_pins_that_fail_to_install_leave_no_stamp_of_the_old_ones(self, checkout):
        folder, run = checkout
        run()
        old = (folder / "pyproject.toml").read_text()
        (folder / "pyproject.toml").write_text(old + "\n# changed\n")
        run(FAKE_PIP="1")
        (folder / "pyproject.toml").write_text(old)
        _, calls = run()
        assert [call.split()[1] for call in calls] == ["pip"]

    def test_without_a_suitable_python_one_line_names_the_mend(self, checkout):
        folder, run = checkout
        result, calls = run(FAKE_OLD="1")
        assert result.returncode != 0
        assert "set-up: Python 3.11 to 3.14 is needed" in result.stderr
        assert "Mend: " in result.stderr
        assert calls == []
        assert not (folder / ".venv").exists()

    def test_without_the_venv_module_one_line_names_the_package(self, checkout):
        _, run = checkout
        result, calls = run(FAKE_NO_VENV="1")
        assert result.returncode != 0
        assert "Mend: sudo apt install python3-venv" in result.stderr
        assert calls == []

    def test_a_chosen_interpreter_that_is_not_one_is_refused(self, checkout):
        _, run = checkout
        result, calls = run(PYTHON="no-such-python")
        assert result.returncode != 0
        assert "PYTHON=no-such-python is not a Python 3.11 to 3.14" in result.stderr
        assert calls == []

    def test_another_package_index_reaches_pip(self, checkout):
        _, run = checkout
        _, calls = run(TORCH_INDEX="https://example.org/cpu")
        assert "--extra-index-url https://example.org/cpu --editable .[dev]" in calls[-1]

    def test_linux_without_an_nvidia_card_takes_the_cpu_builds(self, checkout):
        _, run = checkout
        result, calls = run()
        assert f"--extra-index-url {CPU_INDEX} --editable" in calls[-1]
        assert f"2 GB, 2 to 5 minutes. PyTorch from {CPU_INDEX}" in result.stdout

    @pytest.mark.parametrize(
        "variables",
        [
            {"FAKE_NVIDIA": "0"},
            {"FAKE_UNAME": "Darwin arm64"},
            {"FAKE_UNAME": "Linux aarch64"},
            {"TORCH_INDEX": ""},
            {"TORCH_INDEX": "none"},
        ],
        ids=lambda variables: "=".join(*variables.items()),
    )
    def test_other_machines_and_learners_who_said_so_take_the_ordinary_index(self, checkout, variables):
        _, run = checkout
        result, calls = run(**variables)
        assert result.returncode == 0, result.stderr
        assert "index-url" not in calls[-1]

    def test_an_index_that_does_not_answer_is_left_out_in_one_line(self, checkout):
        _, run = checkout
        result, calls = run(FAKE_NO_INDEX="1")
        assert result.returncode == 0, result.stderr
        assert "index-url" not in calls[-1]
        assert result.stdout.count(f"{CPU_INDEX} does not answer: PyTorch comes from the ordinary package index") == 1
        assert "8 GB where the package index serves PyTorch's CUDA build" in result.stdout

    @pytest.mark.parametrize("emptied", ["lib/python3.12/site-packages", ".", "lib/python3.12/site-packages/numpy"])
    def test_an_environment_that_lost_packages_is_set_up_again(self, checkout, emptied):
        folder, run = checkout
        run()
        lost = folder / ".venv" / emptied
        shutil.rmtree(lost)
        lost.mkdir(exist_ok=True) if "numpy" not in emptied else None
        result, calls = run()
        assert result.returncode == 0, result.stderr
        assert [call.split()[1] for call in calls] == (["pip"] if "numpy" in emptied else ["venv", "pip"])
        assert run()[1] == []

    def test_an_environment_of_ones_own_is_never_set_up(self, checkout):
        folder, _ = checkout
        result = subprocess.run(
            ["make", "setup", "COURSE_BIN=bin"], cwd=folder, capture_output=True, text=True, check=True
        )
        assert (result.stdout, (folder / ".venv").exists()) == ("", False)
