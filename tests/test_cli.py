"""Every mistake at the terminal ends as one line that names the file and the mend, without a traceback."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from course_lib import cli
from course_lib.errors import CourseError
from course_lib.quantization.integer import find_compiler
from course_lib.storage.files import CHECKPOINTS


def lines(capsys) -> list[str]:
    return capsys.readouterr().err.strip().splitlines()


def test_an_unknown_data_name_is_one_line_with_the_known_ones(capsys):
    assert cli.main(["data", "cifar"]) == 2
    (line,) = lines(capsys)
    assert "unknown data 'cifar': expected 'rendered', 'gtsrb' or the path of an .npz file" in line


def test_a_missing_npz_is_one_line_naming_the_file(capsys, tmp_path):
    assert cli.main(["demo", "--quick", "--data", str(tmp_path / "signs.npz")]) == 2
    (line,) = lines(capsys)
    assert "signs.npz: no such file. Mend:" in line


def test_an_npz_with_wrong_keys_is_one_line_naming_them(capsys, tmp_path):
    np.savez(tmp_path / "signs.npz", images=np.zeros(3))
    assert cli.main(["data", str(tmp_path / "signs.npz")]) == 2
    (line,) = lines(capsys)
    assert "lacks ['track', 'x', 'y']; it has ['images']" in line


def test_course_data_is_the_default(capsys, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", "nowhere.npz")
    assert cli.main(["data"]) == 2
    assert "nowhere.npz" in lines(capsys)[0]


def test_ctrl_c_is_one_line_and_status_130(capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt("training stopped after 2 of 5 epochs; the same call continues from x.pt")

    monkeypatch.setattr("course_lib.data.load", interrupted)
    assert cli.main(["data", "rendered"]) == 130
    assert lines(capsys) == ["course: stopped. training stopped after 2 of 5 epochs; the same call continues from x.pt"]


def test_an_error_with_line_breaks_still_is_one_line(capsys, monkeypatch):
    def broken(*_, **__):
        raise CourseError("two\nlines", path="a/file", mend="git checkout -- a/file")

    monkeypatch.setattr("course_lib.data.load", broken)
    assert cli.main(["data", "rendered"]) == 2
    assert lines(capsys) == ["course: a/file: two lines. Mend: git checkout -- a/file"]


def test_traceback_shows_where_an_error_came_from():
    with pytest.raises(ValueError, match="unknown data"):
        cli.main(["data", "cifar", "--traceback"])


def test_data_shows_the_parts(capsys, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(43), 6)
    tracks = np.tile(np.repeat(np.arange(3), 2), 43).astype("U5")
    images = rng.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "signs.npz", x=images, y=labels.astype(np.uint8), track=tracks)
    assert cli.main(["data", str(tmp_path / "signs.npz")]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in shown] == [
        f"SignDataset(gtsrb/{part}" for part in ("train", "validation", "test")
    ]


@pytest.mark.parametrize(
    "command",
    ["demo", "doctor", "data", "train", "bench", "export-c", "diff", "kit", "kit run", "kit import", "kit predict"],
)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*command.split(), "--help"])
    assert stop.value.code == 0
    assert f"course {command}" in capsys.readouterr().out


def test_signs_without_a_teacher_name_the_command_that_trains_it(tmp_path, capsys):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(43), 3)
    images = rng.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "signs.npz", x=images, y=labels, track=np.tile(np.arange(3), 43).astype("U5"))
    assert cli.main(["demo", "--data", str(tmp_path / "signs.npz")]) == 2
    (line,) = lines(capsys)
    assert "the checkpoint teacher_gtsrb was trained on another split" in line
    assert "course train teacher --data" in line


def test_demo_prints_the_ledger_and_draws_it_beside_its_file(capsys, monkeypatch, tmp_path, ledger):
    def ran(data, **options):
        assert (data, options["quick"], options["out"]) == ("rendered", True, tmp_path)
        return ledger

    monkeypatch.setattr("course_lib.experiments.main_job.run", ran)
    assert cli.main(["demo", "--data", "rendered", "--quick", "--out", str(tmp_path)]) == 0
    assert str(ledger) in capsys.readouterr().out
    assert (tmp_path / "ledger.png").read_bytes().startswith(b"\x89PNG")


def test_export_c_writes_the_file_and_says_what_it_needs(capsys, tmp_path):
    out = tmp_path / "student.c"
    assert cli.main(["export-c", "student_rendered", str(out), "--check", "5"]) == 0
    shown = capsys.readouterr().out
    assert "layers: 5 Convolution, 1 GlobalAverage, 1 Flatten, 1 Linear" in shown
    assert "hardware rounding" in shown
    assert "RAM:    11,584 bytes, or 10,112 where the processor multiplies bytes" in shown
    assert ", of them tensors 7,680" in shown
    if find_compiler() and shutil.which("size"):
        speed, size = (int(n.replace(",", "")) for n in re.findall(r"flash:  ([\d,]+) bytes \(", shown))
        assert 150_000 < size < speed
        assert "-Os, " in shown
    assert (
        "0 logits differ from the engine's on 5 images" in shown
        or "not compared with the engine: no C compiler" in shown
    )
    assert out.read_text(encoding="ascii").startswith(
        "/* student_rendered, calibrated on 512 training images: 8 layers"
    )


def test_export_c_without_a_compiler_writes_the_file_and_says_that_it_was_not_compared(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("course_lib.quantization.integer.c_program.shutil.which", lambda name: None)
    out = tmp_path / "student.c"
    assert cli.main(["export-c", str(CHECKPOINTS / "student_rendered.json"), str(out), "--rounding", "runtime"]) == 0
    shown = capsys.readouterr().out
    assert "not compared with the engine: no C compiler here (cc, gcc, clang)" in shown
    assert "check:" not in shown
    assert "Rounding: as ONNX Runtime on x86" in out.read_text(encoding="ascii")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nobody", "x.c"], "no network nobody is here. Mend: name one of alone_gtsrb, "),
        (["here/nobody.json", "x.c"], "no network here/nobody.json is here. Mend: name one of alone_gtsrb, "),
        (["student_rendered", "x.c", "--check", "0"], "check must be at least 1 image, got 0"),
        (["student_rendered", "x.c", "--data", "cifar"], "unknown data 'cifar'"),
        (["student_rendered", "student.py/x.c"], "cannot write here"),
        (["student_rendered", "missing/x.c"], "missing: cannot write here (no such folder)"),
        (["student_rendered", "."], "cannot write here (it is a folder)"),
    ],
    ids=["no network", "no card", "no images", "no data", "no folder", "missing folder", "folder"],
)
def test_a_mistake_of_export_c_is_one_line(arguments, words, capsys, monkeypatch, tmp_path):
    (tmp_path / "student.py").touch()
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export-c", *arguments]) == 2
    (line,) = lines(capsys)
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["student.py"]


def test_a_kit_is_not_built_over_other_things(capsys, tmp_path):
    (tmp_path / "thesis.txt").touch()
    assert cli.main(["kit", "build", str(tmp_path)]) == 2
    (line,) = lines(capsys)
    assert "holds other things than a kit. Mend: give another folder" in line
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
