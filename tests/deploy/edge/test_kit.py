"""The kit's folder: the same each time, complete, small, and never in the place of something else."""

from __future__ import annotations

import dataclasses
import json
import subprocess

import numpy as np
import pytest

from course_lib.deploy.edge import OnnxNetwork, build_kit, read_manifest
from course_lib.deploy.edge import kit as kit_module
from course_lib.deploy.edge.device import edge_bench
from course_lib.deploy.edge.kit_files import read_kit
from course_lib.deploy.edge.manifest import FORMAT, Tolerance
from course_lib.deploy.onnx import open_session, run_session
from course_lib.errors import CourseError

FILES = {
    "README.md",
    "edge_bench.py",
    "setup.sh",
    "c/bench_main.c",
    "c/in_c.c",
    "c/in_c.logits.u8",
    "inputs/images.u8",
    "inputs/inputs.npz",
    "models/plain.onnx",
    "models/symmetric.onnx",
}


def test_a_kit_built_twice_has_the_same_sums(parts, built, tmp_path):
    again = build_kit(tmp_path / "again", *parts, data="noise")
    assert again.sha256 == read_manifest(built).sha256
    assert set(again.files) == FILES
    assert {p.relative_to(built).as_posix() for p in built.rglob("*") if p.is_file()} == {*FILES, "manifest.json"}


def test_the_manifest_tells_what_is_in_the_kit(parts, built):
    manifest = read_manifest(built)
    assert [model.name for model in manifest.models] == ["plain", "symmetric", "in_c"]
    assert (manifest.shape, manifest.images, manifest.data) == ((3, 32, 32), 6, "noise")
    assert manifest.model("plain").fp16 is not None
    assert manifest.model("symmetric").fp16 is None
    assert manifest.model("in_c").tolerance == Tolerance(0.0, 1.0)
    assert manifest.model("in_c").runtimes == ("c",)
    assert manifest.total_bytes == sum((built / name).stat().st_size for name in FILES)
    with pytest.raises(CourseError, match="name one of plain, symmetric, in_c"):
        manifest.model("nothing")
    assert edge_bench.FORMAT == FORMAT


def test_reference_outputs_are_onnx_runtimes_and_images_are_the_given_ones(parts, built):
    arrays = np.load(built / "inputs" / "inputs.npz")
    images = parts[2]
    np.testing.assert_array_equal(arrays["images"], images)
    for name in ("plain", "symmetric"):
        found = run_session(
            open_session(built / "models" / f"{name}.onnx"), images.astype(np.float32) / np.float32(255)
        )
        np.testing.assert_array_equal(arrays[name], found)
    stored = np.frombuffer((built / "inputs" / "images.u8").read_bytes(), np.uint8).reshape(6, 32, 32, 3)
    np.testing.assert_array_equal(np.moveaxis(stored, -1, 1), images)


def test_an_altered_and_a_missing_file_are_told_when_the_kit_is_read(kit):
    (kit / "README.md").write_text("other")
    assert "README.md" in read_manifest(kit).files
    with pytest.raises(CourseError, match=r"README\.md: a file of the kit was altered"):
        read_kit(kit)
    (kit / "README.md").unlink()
    with pytest.raises(CourseError, match=r"README\.md: a file of the kit is missing"):
        read_kit(kit)


@pytest.mark.parametrize("content", ["[]", '{"format": 2}', '{"format": 1}', '{"format": 1, "files": 3}', "{"])
def test_a_broken_manifest_is_one_line(content, kit):
    (kit / "manifest.json").write_text(content)
    with pytest.raises(CourseError, match="course kit build"):
        read_manifest(kit)


def test_an_earlier_kit_is_replaced_and_anything_else_is_not(parts, kit, tmp_path):
    networks, c_network, images = parts
    (kit / "work").mkdir()
    (kit / "work" / "in_c").touch()
    build_kit(kit, networks[:1], None, images, data="noise")
    assert not (kit / "c" / "in_c.c").exists()
    (kit / "result.json").write_text("{}")
    with pytest.raises(CourseError, match=r"holds result\.json, which would be lost"):
        build_kit(kit, *parts, data="noise")
    assert (kit / "result.json").exists()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("")
    with pytest.raises(CourseError, match="other things"):
        build_kit(mine, networks, c_network, images, data="noise")
    with pytest.raises(CourseError, match="in the way"):
        build_kit(mine / "thesis.txt", networks, c_network, images, data="noise")


def test_a_kit_that_grows_too_large_is_refused_and_leaves_nothing(parts, tmp_path, monkeypatch):
    monkeypatch.setattr(kit_module, "LARGEST_MB", 0.1)
    with pytest.raises(CourseError, match=r"more than 0.1"):
        build_kit(tmp_path / "kit", *parts, data="noise")
    assert list(tmp_path.iterdir()) == []


def test_wrong_arguments_are_named(parts, tmp_path):
    networks, c_network, images = parts
    out = tmp_path / "kit"
    with pytest.raises(ValueError, match="at least one"):
        build_kit(out, [], c_network, images, data="noise")
    with pytest.raises(ValueError, match="must differ"):
        build_kit(out, [networks[0], networks[0]], None, images, data="noise")
    with pytest.raises(ValueError, match="uint8"):
        build_kit(out, networks, None, images.astype(np.float32), data="noise")
    for name in ("images", "../plain", "Plain", ""):
        with pytest.raises(ValueError, match="lower case"):
            build_kit(out, [dataclasses.replace(networks[0], name=name)], None, images, data="noise")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_a_board_cannot_read_is_not_packed(parts, tmp_path):
    import onnx

    networks, _, images = parts
    model = onnx.load(networks[0].path)
    model.opset_import[0].version = 17
    path = tmp_path / "new.onnx"
    onnx.save(model, path)
    with pytest.raises(CourseError, match=r"new.onnx: opset 17"):
        build_kit(tmp_path / "kit", [OnnxNetwork("new", "new", path, "fp32", ("onnxruntime",))], None, images, data="x")


PYTHON = """#!/bin/sh
# Answers as a Python {version} that has no packages until pip puts them somewhere.
case "$*" in
    *version_info*) echo {version} ;;
    *"import numpy"*) [ -d site ] && echo "numpy 1 and ONNX Runtime 1" ;;
    *"pip --version"*) {pip} ;;
    *"pip install"*) echo "$*" >> log; while [ "$1" != --target ]; do shift; done; mkdir -p "$2" ;;
esac
"""


@pytest.fixture
def setup(kit, tmp_path):
    """setup("3.6"): run setup.sh with a Python that says this version; (status, output, pip's calls)."""

    def run(version: str, pip: str = "true") -> tuple[int, str, list[str]]:
        python = tmp_path / "python3"
        python.write_text(PYTHON.format(version=version, pip=pip))
        python.chmod(0o755)
        command = ["sh", str(kit / "setup.sh")]
        done = subprocess.run(
            command, env={"PATH": "/usr/bin:/bin", "PYTHON": str(python)}, capture_output=True, text=True, check=False
        )
        log = kit / "log"
        return done.returncode, done.stdout + done.stderr, log.read_text().splitlines() if log.exists() else []

    return run


def test_set_up_on_a_nano_takes_an_old_pip_first_and_the_numpy_that_lives_there(setup, kit):
    status, text, calls = setup("3.6")
    assert status == 0, text
    assert "pip<22" in calls[0]
    assert "numpy==1.19.4 onnxruntime==1.10.0" in calls[1]
    assert "--no-index" not in calls[1]
    assert (kit / "site").is_dir()
    assert not list(kit.glob("*.part"))
    again, text, calls = setup("3.6")
    assert (again, "nothing to do" in text, len(calls)) == (0, True, 2)


def test_set_up_takes_wheels_from_a_folder_where_there_is_one(setup, kit):
    (kit / "wheels").mkdir()
    _, _, calls = setup("3.10")
    assert len(calls) == 1
    assert "--no-index --find-links wheels" in calls[0]
    assert "onnxruntime==1.23.2" in calls[0]


def test_set_up_says_what_is_missing(setup):
    status, text, calls = setup("3.6", pip="false")
    assert (status, calls) == (3, [])
    assert "apt-get install python3-pip" in text


def test_the_kits_own_words_name_its_options_and_files(built):
    text = (built / "README.md").read_text(encoding="utf-8")
    script = (built / "edge_bench.py").read_text(encoding="utf-8")
    for option in set(json.dumps(text).replace("`", " ").split()):
        if option.startswith("--"):
            assert f'"{option.rstrip(".,")}"' in script, option
