"""A package that does not import is found, and the mend names the package that is really broken."""

from __future__ import annotations

import errno
import os
import sys
from types import SimpleNamespace

import pytest

from course_lib.environment import imports, packages
from course_lib.environment.finding import Finding
from course_lib.storage.files import ROOT


def broken(finding: Finding, detail: str, mend: str) -> bool:
    """Whether the finding is bad and says both."""
    return not finding.ok and detail in finding.detail and mend in finding.mend


def test_a_torch_that_does_not_import_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert broken(imports.check_torch(), "does not import", "pip uninstall --yes torch &&")


def test_torchvision_is_good_with_its_own_operators_and_with_declared_ones(monkeypatch):
    for compiled, words in ((True, "its compiled operators load"), (False, "built for another PyTorch")):
        monkeypatch.setitem(
            sys.modules, "course_lib.data.torchvision_compat", SimpleNamespace(HAS_COMPILED_OPS=compiled)
        )
        monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace(__version__="0.28.0"))
        finding = imports.check_torchvision()
        assert finding.ok
        assert words in finding.detail


def test_a_torchvision_that_does_not_import_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert broken(imports.check_torchvision(), "does not import", "pip uninstall --yes torch torchvision")


def test_a_missing_onnxruntime_is_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert broken(imports.check_onnxruntime(), "does not import", "pip uninstall --yes onnxruntime")


def test_two_onnxruntimes_at_once_are_reported(monkeypatch):
    present = {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"}
    monkeypatch.setattr(imports, "installed_version", present.get)
    finding = imports.check_onnxruntime()
    assert broken(finding, "overwrite each other", "pip uninstall --yes onnxruntime onnxruntime-gpu &&")


def test_an_onnxruntime_without_the_cpu_is_reported(monkeypatch):
    fake = SimpleNamespace(__version__="1.31.1", get_available_providers=lambda: ["AzureExecutionProvider"])
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    assert broken(imports.check_onnxruntime(), "providers: Azure", "pip install")


def fake_jupyter(monkeypatch, kernel: str, extensions: list[str]) -> None:
    spec = SimpleNamespace(argv=[kernel])
    manager = SimpleNamespace(KernelSpecManager=lambda: SimpleNamespace(get_kernel_spec=lambda name: spec))
    monkeypatch.setitem(sys.modules, "jupyter_client.kernelspec", manager)
    monkeypatch.setitem(sys.modules, "jupyter_core.paths", SimpleNamespace(jupyter_path=lambda name: extensions))


def test_a_kernel_of_another_python_is_reported(monkeypatch):
    fake_jupyter(monkeypatch, "/somewhere/else/bin/python", [])
    assert broken(imports.check_jupyter(), "/somewhere/else/bin/python", "kernelspec remove python3")


def test_widgets_without_their_browser_part_are_reported(monkeypatch, tmp_path):
    fake_jupyter(monkeypatch, sys.executable, [str(tmp_path)])
    assert broken(imports.check_jupyter(), "browser part", "jupyterlab_widgets")


def test_missing_widgets_are_reported(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert broken(imports.check_jupyter(), "ipywidgets", "pip install")


def test_jupyter_is_complete_here():
    assert imports.check_jupyter().ok


def test_every_package_that_pyproject_asks_for_is_imported_by_some_check():
    own_checks = {"torch", "torchvision", "onnxruntime", "psutil", "jupyterlab", "ipywidgets"}
    assert {*imports.LIBRARIES, *own_checks} == {packages.parse(text).name for text in packages.requirements()}


@pytest.mark.parametrize("package", imports.LIBRARIES)
def test_a_library_that_does_not_import_is_reported_alone(monkeypatch, package):
    monkeypatch.setitem(sys.modules, imports.LIBRARIES[package].split(".")[0], None)
    monkeypatch.setitem(sys.modules, imports.LIBRARIES[package], None)
    findings = imports.check_libraries()
    assert [finding.name for finding in findings if finding.name == package] == [package]
    assert broken(findings[0], "does not import", f"pip uninstall --yes {package} &&")


def test_sound_libraries_are_one_finding():
    (finding,) = imports.check_libraries()
    assert finding.ok


@pytest.fixture
def installed(tmp_path):
    """installed(name, text) puts a package of this text before all others; returns the path for PYTHONPATH."""

    def install(**modules: str) -> str:
        for name, text in modules.items():
            (tmp_path / "site-packages" / name).mkdir(parents=True)
            (tmp_path / "site-packages" / name / "__init__.py").write_text(text)
        return f"{tmp_path / 'site-packages'}{os.pathsep}{ROOT}"

    return install


@pytest.mark.parametrize(
    ("modules", "mended"),
    [
        ({"numpy": "raise RuntimeError('half an installation')", "torch": "import numpy"}, "numpy"),
        ({"numpy": "from numpy import _core", "torch": "import numpy"}, "numpy"),
        ({"numpy": "x = (", "torch": "import numpy"}, "numpy"),
        ({"torch": "import no_such_package"}, "no_such_package"),
        ({"torch": "raise OSError('libtorch_cpu.so: cannot open shared object file')"}, "torch"),
        ({"torch": "import _no_such_part_of_torch_itself"}, "_no_such_part_of_torch_itself"),
    ],
    ids=["raises", "lacks a part", "cut short", "needs another", "lacks a library", "needs an unknown one"],
)
def test_the_package_that_is_really_broken_is_mended(run_python, installed, modules, mended):
    code = "from course_lib.environment.imports import check_torch; print(check_torch().mend)"
    result = run_python(code, PYTHONPATH=installed(**modules))
    assert f"pip uninstall --yes {mended} && " in result.stdout, result.stderr


def test_a_package_that_may_not_be_read_is_not_reinstalled(monkeypatch):
    def refuse(name):
        raise PermissionError(errno.EACCES, "Permission denied", "/home/learner/.config/matplotlib")

    monkeypatch.setattr(imports.importlib, "import_module", refuse)
    finding = imports.check_torch()
    assert broken(finding, "Permission denied", '"/home/learner/.config/matplotlib"')
    assert "pip" not in finding.mend
