"""The doctor notices each way in which an environment breaks, and names the command that mends it."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import sys
from collections import namedtuple
from types import SimpleNamespace

import pytest

from course_lib.environment import doctor, packages
from course_lib.storage.cards import sealed
from course_lib.storage.files import sha256


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


def test_a_torch_that_does_not_import_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert broken(doctor.check_torch(), "does not import", "pip uninstall --yes torch &&")


def test_torchvision_is_good_with_its_own_operators_and_with_declared_ones(monkeypatch):
    for compiled, words in ((True, "its compiled operators load"), (False, "built for another PyTorch")):
        monkeypatch.setitem(
            sys.modules, "course_lib.data.torchvision_compat", SimpleNamespace(HAS_COMPILED_OPS=compiled)
        )
        monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(__version__="0.28.0"))
        finding = doctor.check_torchvision()
        assert finding.ok
        assert words in finding.detail


def test_a_torchvision_that_does_not_import_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert broken(doctor.check_torchvision(), "does not import", "pip uninstall --yes torch torchvision")


def test_a_missing_onnxruntime_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert broken(doctor.check_onnxruntime(), "does not import", "pip uninstall --yes onnxruntime")


def test_two_onnxruntimes_at_once_are_reported(monkeypatch):
    present = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
    monkeypatch.setattr(doctor, "installed_version", present.get)
    finding = doctor.check_onnxruntime()
    assert broken(finding, "overwrite each other", "pip uninstall --yes onnxruntime onnxruntime-gpu &&")


def test_an_onnxruntime_without_the_cpu_is_reported(monkeypatch):
    fake = SimpleNamespace(__version__="1.31.1", get_available_providers=lambda: ["AzureExecutionProvider"])
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    assert broken(doctor.check_onnxruntime(), "providers: Azure", "pip install")


def fake_jupyter(monkeypatch, kernel: str, extensions: list[str]) -> None:
    spec = SimpleNamespace(argv=[kernel])
    manager = SimpleNamespace(KernelSpecManager=lambda: SimpleNamespace(get_kernel_spec=lambda name: spec))
    monkeypatch.setitem(sys.modules, "jupyter_client.kernelspec", manager)
    monkeypatch.setitem(sys.modules, "jupyter_core.paths", SimpleNamespace(jupyter_path=lambda name: extensions))


def test_a_kernel_of_another_python_is_reported(monkeypatch):
    fake_jupyter(monkeypatch, "/somewhere/else/bin/python", [])
    assert broken(doctor.check_jupyter(), "/somewhere/else/bin/python", "kernelspec remove python3")


def test_widgets_without_their_browser_part_are_reported(monkeypatch, tmp_path):
    fake_jupyter(monkeypatch, sys.executable, [str(tmp_path)])
    assert broken(doctor.check_jupyter(), "browser part", "jupyterlab_widgets")


def test_missing_widgets_are_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert broken(doctor.check_jupyter(), "ipywidgets", "pip install")


def test_jupyter_is_complete_here():
    assert doctor.check_jupyter().ok


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


def test_little_memory_is_reported(monkeypatch):
    memory = SimpleNamespace(available=1e9, total=2e9)
    monkeypatch.setitem(sys.modules, "psutil", SimpleNamespace(virtual_memory=lambda: memory))
    assert broken(doctor.check_memory(), "1.0 of 2.0 GB", "close other programs")


@pytest.mark.parametrize("value", ["two", "0", "100000", "-1"])
def test_a_senseless_number_of_threads_is_reported(monkeypatch, value):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert broken(doctor.check_threads(), f"OMP_NUM_THREADS={value}", "unset OMP_NUM_THREADS")


def test_a_container_that_grants_fewer_cores_than_it_shows_is_reported(monkeypatch, tmp_path):
    for name in doctor.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    quota = tmp_path / "cpu.max"
    quota.write_text("150000 100000\n")
    monkeypatch.setattr(doctor, "_visible_cores", lambda: 64)
    assert doctor.granted_cores(quota) == 1.5
    quota.write_text("max 100000\n")
    assert doctor.granted_cores(quota) == doctor.granted_cores(tmp_path / "absent") == 64
    monkeypatch.setattr(doctor, "granted_cores", lambda: 1.5)
    assert broken(doctor.check_threads(), "1.5 cores granted", "export OMP_NUM_THREADS=1")


@pytest.mark.parametrize(
    ("isa", "words"),
    [
        (["avx2", "avx512f", "avx512_vnni"], "in hardware (avx512_vnni)"),
        (["avx2", "avx_vnni"], "in hardware (avx_vnni)"),
        (["asimd", "asimddp"], "in hardware (asimddp)"),
        (["avx2", "avx512f"], "no VNNI"),
        (["asimd"], "no INT8 dot product"),
        ([], "expect no gain"),
    ],
)
def test_the_advice_on_int8_follows_the_instruction_sets(isa, words):
    assert words in doctor.int8_advice(isa)


def test_an_emulated_processor_is_said_to_be_one(monkeypatch):
    features = {"model": "Board", "isa": ["asimd"], "emulated": True}
    monkeypatch.setitem(sys.modules, "course_lib.measure.machine", SimpleNamespace(cpu_features=lambda: features))
    assert "no time measured here may be quoted" in doctor.check_processor().detail


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
