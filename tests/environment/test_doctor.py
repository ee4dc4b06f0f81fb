"""The doctor notices each way in which an environment breaks, and names the command that mends it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace

import pytest

from course_lib.environment import doctor, packages
from course_lib.storage.cards import sealed
from course_lib.storage.files import CHECKPOINTS, ROOT, sha256


@pytest.fixture
def checkpoint(tmp_path):
    """A sound file with its card, in datasets/checkpoints of a temporary folder: (datasets, weights)."""
    folder = tmp_path / "datasets" / "checkpoints"
    folder.mkdir(parents=True)
    weights = folder / "teacher.safetensors"
    weights.write_bytes(b"weights" * 100)
    (folder / "teacher.json").write_text(json.dumps(sealed({"file": weights.name, "sha256": sha256(weights)})))
    return tmp_path / "datasets", weights


def broken(finding: doctor.Finding, detail: str, mend: str) -> bool:
    """Whether the finding is bad and says both."""
    return not finding.ok and detail in finding.detail and mend in finding.mend


def add_to_card(weights, **fields) -> None:
    card = weights.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **fields}))


def checkpoints_finding(datasets) -> doctor.Finding:
    return doctor.check_files(datasets, datasets / "checkpoints")[1]


def test_an_old_python_is_named_with_the_version_to_install():
    assert doctor.check_python((3, 11, 0)).ok
    assert broken(doctor.check_python((3, 10, 14)), "3.10.14", "install Python 3.13")


def test_the_packages_here_are_those_of_pyproject():
    assert [(finding.name, finding.ok) for finding in doctor.check_packages()] == [
        ("packages", True),
        ("test packages", True),
    ]


def test_another_version_and_a_missing_package_are_named():
    def installed(name):
        if name == "onnx":
            raise importlib.metadata.PackageNotFoundError(name)
        return "2.12.1" if name == "torch" else importlib.metadata.version(name)

    library, tests = doctor.check_packages(installed)
    assert broken(library, "torch is 2.12.1, not ==2.13.0; onnx is missing", 'pip install --editable ".[dev]"')
    assert tests.ok


def test_a_local_build_of_the_pinned_version_fits():
    assert packages.mismatches(["torch==2.13.0"], lambda name: "2.13.0+cpu") == []
    assert packages.mismatches(["torch==2.13.0"], lambda name: "2.13.1") == ["torch is 2.13.1, not ==2.13.0"]


def test_a_sound_checkpoint_passes(checkpoint):
    assert checkpoints_finding(checkpoint[0]).ok


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), "teacher.safetensors is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "altered or cut short (699 bytes"),
        (lambda path: path.write_bytes(b"W" + path.read_bytes()[1:]), "altered or cut short (700 bytes"),
        (lambda path: path.with_suffix(".json").write_text("{"), "teacher.json: not a JSON file"),
        (lambda path: path.with_suffix(".json").unlink(), "no file with a checksum was found"),
        (lambda path: add_to_card(path, validation_accuracy=0.999), "teacher.json: the card was altered"),
    ],
    ids=["missing", "cut short", "one byte altered", "broken card", "no card", "a score altered"],
)
def test_a_damaged_checkpoint_is_named(checkpoint, damage, words):
    datasets, weights = checkpoint
    damage(weights)
    assert broken(checkpoints_finding(datasets), words, "checkpoints")


def test_cards_of_many_files_are_checked_one_by_one(tmp_path):
    (tmp_path / "signs").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "signs" / name).write_bytes(name.encode())
    files = {name: {"sha256": sha256(tmp_path / "signs" / name)} for name in ("a.png", "b.png")}
    (tmp_path / "signs" / "card.json").write_text(json.dumps(sealed({"files": files})))
    assert doctor.check_files(tmp_path, tmp_path / "checkpoints")[0].detail == "2 files match their checksums"
    (tmp_path / "signs" / "b.png").write_bytes(b"other")
    assert doctor.check_files(tmp_path, tmp_path / "checkpoints")[0].detail.startswith("b.png is altered")


def test_the_shipped_data_files_are_sound():
    assert doctor.check_files()[0].ok


def test_a_cache_that_cannot_be_written_is_reported(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    assert broken(doctor.check_cache(), "cannot write here", "COURSE_CACHE")


def test_a_full_disk_is_reported(isolated_cache, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**9, 10**9, 5 * 10**6))
    assert broken(doctor.check_cache(), "0.0 GB free", "free some disk")


def test_a_check_that_fails_itself_becomes_a_finding(monkeypatch):
    def check_nothing():
        raise OSError("the unexpected\nand more")

    monkeypatch.setattr(doctor, "CHECKS", (check_nothing,))
    assert doctor.diagnose() == [
        doctor.Finding("nothing", False, "the check failed: OSError: the unexpected", packages.reinstall_command())
    ]


def test_the_table_shows_every_finding_and_ends_with_the_mends(monkeypatch, capsys):
    monkeypatch.setattr(doctor, "CHECKS", (lambda: doctor.Finding("one", True, "fine"),))
    assert doctor.main() == 0
    assert capsys.readouterr().out == "ok      one  fine\n\nEverything is in order.\n"
    monkeypatch.setattr(doctor, "CHECKS", (lambda: doctor.Finding("two", False, "bad", "do this"),))
    assert doctor.main() == 1
    assert capsys.readouterr().out == "BROKEN  two  bad\n\n1 of 1 checks found something broken:\n  two: do this\n"


def test_every_broken_finding_of_the_real_checks_names_a_mend():
    findings = doctor.diagnose()
    assert len({finding.name for finding in findings}) == len(findings) >= len(doctor.CHECKS)
    assert all(finding.mend for finding in findings if not finding.ok)
    assert not any("check failed" in finding.detail for finding in findings)


def test_the_doctor_works_where_nothing_else_imports(run_python):
    result = run_python(
        """
        import sys
        for name in "torch torchvision numpy onnxruntime psutil ipywidgets jupyter_client packaging".split():
            sys.modules[name] = None
        from course_lib.cli import main
        sys.exit(main(["doctor"]))
        """
    )
    assert result.returncode == 1, result.stderr
    assert result.stderr == ""
    for name in ("PyTorch", "torchvision", "ONNX Runtime", "JupyterLab", "memory"):
        assert f"BROKEN  {name}" in result.stdout
    assert "ok      Python" in result.stdout


def test_every_checkpoint_that_ships_is_known_to_the_doctor():
    assert sorted(doctor.SHIPPED) == sorted(path.stem for path in CHECKPOINTS.glob("*.safetensors"))


def test_a_shipped_network_that_was_deleted_with_its_card_is_missed(tmp_path, monkeypatch):
    folder = tmp_path / "checkpoints"
    shutil.copytree(CHECKPOINTS, folder)
    monkeypatch.setattr(doctor, "CHECKPOINTS", folder)
    assert doctor.check_files(tmp_path, folder)[1].ok
    for path in folder.glob("teacher_rendered.*"):
        path.unlink()
    assert broken(doctor.check_files(tmp_path, folder)[1], "teacher_rendered.json is missing", "checkpoints")


def installed_from(*urls: str | None):
    texts = [None if url is None else json.dumps({"url": url}) for url in urls]
    return lambda name: [SimpleNamespace(read_text=lambda file, text=text: text) for text in texts]


def test_the_course_of_another_checkout_is_reported(tmp_path):
    here, there = tmp_path / "a course", tmp_path / "another"
    assert doctor.check_checkout(installed_from(None, here.as_uri()), here).ok
    assert broken(
        doctor.check_checkout(installed_from(there.as_uri()), here), f"installed from {there}, not from {here}", "pip"
    )
    assert broken(doctor.check_checkout(installed_from(None), here), "course_lib is not installed", "pip install")


def test_a_check_that_may_not_write_names_the_folder_and_not_pip(monkeypatch):
    def check_home():
        raise PermissionError(13, "Permission denied", "/home/learner/.local")

    monkeypatch.setattr(doctor, "CHECKS", (check_home,))
    (finding,) = doctor.diagnose()
    assert broken(finding, "Permission denied", '"/home/learner/.local"')
    assert "pip" not in finding.mend


def test_findings_with_one_mend_are_mended_once(monkeypatch, capsys):
    checks = [lambda name=name: doctor.Finding(name, False, "bad", "do this") for name in ("one", "two")]
    monkeypatch.setattr(doctor, "CHECKS", checks)
    doctor.main()
    assert capsys.readouterr().out.endswith("2 of 2 checks found something broken:\n  one, two: do this\n")


def test_a_python_too_old_is_the_only_finding(run_python):
    result = run_python(
        """
        import sys
        sys.modules["tomllib"] = None  # came with Python 3.11
        sys.version_info = (3, 10, 14)
        from course_lib.cli import main
        sys.exit(main(["doctor"]))
        """
    )
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.startswith("BROKEN  Python  3.10.14")
    assert "1 of 1 checks found something broken:\n  Python: install Python 3.13" in result.stdout


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.10"])
def test_an_old_python_itself_says_so_without_a_traceback(version):
    pyenv = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    python = shutil.which(f"python{version}") if not pyenv else str(pyenv[-1])
    if python is None:
        pytest.skip(f"Python {version} is not here")
    command = [python, "-B", "-m", "course_lib.cli", "doctor"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYENV"))}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (1, "")
    assert "needs >=3.11" in result.stdout
