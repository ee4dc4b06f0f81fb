"""The script for the board: what it writes, what it refuses, and that nothing that dies takes the rest along."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from course_lib.deploy.edge import read_manifest
from course_lib.deploy.edge.device import edge_bench
from course_lib.measure.cadence import BACK_TO_BACK, THIRTY_A_SECOND
from course_lib.quantization.integer import find_compiler
from course_lib.storage.files import sha256

DEVICE = Path(edge_bench.__file__).parent

needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here (cc, gcc or clang)")
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
ROW = set(
    "name file sha256 bytes precision runtime runtime_version provider_asked providers threads batch cadence load_ms "
    "ms times_ms max_abs_error top1_agreement images outputs_agree peak_memory_kb power_mw error state".split()
)


@needs_compiler
def test_a_run_measures_every_network_and_finds_the_reference_outputs(bench, kit, result):
    done = bench("--runtime", "c", "onnxruntime")
    assert done.returncode == 0, done.stderr
    found, manifest = result(), read_manifest(kit)
    assert [(row["name"], row["runtime"]) for row in found["rows"]] == [
        ("in_c", "c"),
        ("plain", "onnxruntime"),
        ("symmetric", "onnxruntime"),
    ]
    for row in found["rows"]:
        assert set(row) >= ROW
        assert row["error"] is None
        assert row["outputs_agree"] is True
        assert row["images"] == 6
        assert row["sha256"] == manifest.files[row["file"]]["sha256"]
        assert row["ms"]["n"] == len(row["times_ms"]) == 5
        assert row["ms"]["p10"] <= row["ms"]["median"] <= row["ms"]["p90"] <= row["ms"]["p95"]
        assert row["ms"]["median"] == pytest.approx(np.median(row["times_ms"]))
    assert found["rows"][0]["max_abs_error"] == 0
    assert found["kit"] == {"course": manifest.course, "format": 1, "manifest_sha256": manifest.sha256}
    assert found["finished"] is True
    assert found["device"]["emulated"] is False


@needs_compiler
def test_the_results_sum_tells_any_change(bench, result):
    bench("--runtime", "c")
    found = result()
    assert found["sha256"] == edge_bench.canonical_sha256(found)
    found["rows"][0]["ms"]["median"] /= 2
    assert found["sha256"] != edge_bench.canonical_sha256(found)


@needs_compiler
def test_progress_is_told_line_by_line(bench):
    lines = [line for line in bench("--runtime", "c", "onnxruntime").stdout.splitlines() if line.startswith("PROGRESS")]
    assert lines == [
        "PROGRESS 0 3 in_c c int8",
        "PROGRESS 1 3 plain onnxruntime fp32",
        "PROGRESS 2 3 symmetric onnxruntime int8",
        "PROGRESS 3 3 done",
    ]


@pytest.mark.parametrize("name", ["models/plain.onnx", "c/in_c.c", "edge_bench.py", "inputs/inputs.npz"])
def test_a_file_that_was_altered_is_named_before_anything_runs(name, bench, kit):
    with (kit / name).open("a") as stream:
        stream.write("\n")
    done = bench()
    assert done.returncode == 3
    assert name in done.stderr
    assert "altered" in done.stderr
    assert not (kit / "result.json").exists()


def test_a_missing_file_another_format_and_a_broken_manifest_are_refused(bench, kit):
    (kit / "models" / "plain.onnx").rename(kit / "models" / "other.onnx")
    assert (bench().returncode, "models/plain.onnx is missing" in bench().stderr) == (3, True)
    manifest = json.loads((kit / "manifest.json").read_text())
    (kit / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))
    assert (bench().returncode, "format 2" in bench().stderr) == (3, True)
    (kit / "manifest.json").write_text("{")
    assert (bench().returncode, "manifest" in bench().stderr) == (3, True)


def test_a_broken_model_costs_its_own_row_only(bench, kit, resum, result):
    (kit / "models" / "plain.onnx").write_bytes(b"no model")
    resum("models/plain.onnx")
    assert bench().returncode == 1
    broken, well = result()["rows"]
    assert broken["error"]
    assert broken["ms"] is None
    assert well["error"] is None
    assert well["outputs_agree"] is True


def test_outputs_that_differ_from_the_reference_are_told(bench, kit, resum, result):
    arrays = dict(np.load(kit / "inputs" / "inputs.npz"))
    arrays["plain"] = arrays["plain"] + 1
    np.savez(kit / "inputs" / "inputs.npz", **arrays)
    resum("inputs/inputs.npz")
    done = bench("--models", "plain")
    (row,) = result()["rows"]
    assert done.returncode == 1
    assert "DIFFER" in done.stdout
    assert row["outputs_agree"] is False
    assert row["max_abs_error"] == pytest.approx(1, abs=1e-3)
    assert row["top1_agreement"] == 1


@needs_compiler
def test_one_wrong_code_of_the_c_network_is_found(bench, kit, resum, result):
    codes = bytearray((kit / "c" / "in_c.logits.u8").read_bytes())
    codes[-1] ^= 1
    (kit / "c" / "in_c.logits.u8").write_bytes(codes)
    resum("c/in_c.logits.u8")
    assert bench("--runtime", "c").returncode == 1
    assert result()["rows"][0]["max_abs_error"] == 1


@needs_fork
def test_a_process_that_dies_gives_a_row_with_the_reason(run_python):
    code = """
        import os, signal, sys
        sys.path.insert(0, "course_lib/deploy/edge/device")  # the file alone, without the library around it
        from edge_bench import isolated
        for number in (signal.SIGKILL, signal.SIGILL, signal.SIGSEGV):
            print(isolated(lambda: os.kill(os.getpid(), number), False)["error"])
        print(isolated(lambda: {"ms": 1}, False), isolated(lambda: 1 / 0, False)["error"])
    """
    lines = run_python(code).stdout.splitlines()
    assert "memory" in lines[0]
    assert "1.19.4" in lines[1]
    assert "signal 11" in lines[2]
    assert lines[3] == "{'ms': 1} ZeroDivisionError: division by zero"


def start(kit, *arguments) -> subprocess.Popen:
    """The script, slow: each network takes half a second."""
    slow = ["--calls", "45", "--warmup", "1", "--cadence", "90", "--power-seconds", "0", *arguments]
    command = [sys.executable, str(kit / "edge_bench.py"), *slow]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(process, word) -> None:
    for line in process.stdout:
        if word in line:
            return
    raise AssertionError(f"{word} was never printed: {process.stderr.read()}")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "terminated"])
def test_a_run_that_was_stopped_goes_on_where_it_was(number, kit, result):
    process = start(kit)
    wait_for(process, "PROGRESS 1 2")
    process.send_signal(number)
    assert process.wait() == (-9 if number == signal.SIGKILL else 143)
    process.communicate()
    assert not (kit / "result.json").exists()
    rows = (kit / "result.json.rows").read_text().splitlines()
    assert len(rows) == 2
    with (kit / "result.json.rows").open("a") as stream:
        stream.write('{"name": "torn')
    again = start(kit, "--resume")
    again.communicate()
    assert again.returncode == 0
    assert result()["rows"][0] == json.loads(rows[1])
    assert [row["name"] for row in result()["rows"]] == ["plain", "symmetric"]


def test_rows_with_an_error_are_tried_again(bench, kit, result):
    assert bench("--provider", "NoSuchProvider").returncode == 1
    rows = (kit / "result.json.rows").read_text().replace("NoSuchProvider", "CPUExecutionProvider")
    (kit / "result.json.rows").write_text(rows)
    assert bench("--resume").returncode == 0
    assert all(row["error"] is None for row in result()["rows"])


def test_rows_of_other_arguments_are_kept_aside_and_not_mixed_in(bench, kit, result):
    bench("--models", "plain")
    first = (kit / "result.json.rows").read_text()
    done = bench("--models", "plain", "--resume", "--threads", "2")
    assert "NOTE" in done.stdout
    assert (kit / "result.json.rows.old").read_text() == first
    assert [row["threads"] for row in result()["rows"]] == [2]


def test_a_listener_that_goes_away_does_not_stop_the_run(kit, result):
    process = start(kit)
    wait_for(process, "PROGRESS 0")
    process.stdout.close()
    process.wait()
    process.stderr.close()
    assert [row["error"] for row in result()["rows"]] == [None, None]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--models", "nothing"], 2, "the kit has plain, symmetric, in_c"),
        (["--models", "plain", "--runtime", "c"], 2, "none of these models"),
        (["--cadence", "often"], 2, "calls a second"),
        (["--threads", "0"], 2, "at least 1"),
        (["--threads", "9999"], 2, "this device has "),
        (["--runtime", "tensorrt"], 4, "trtexec"),
        (["--out", "/no/such/folder/result.json"], 5, "cannot write"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_what_cannot_be_done_is_said_with_a_status_of_its_own(arguments, status, words, bench):
    done = bench(*arguments, PATH="/nothing/here")
    assert done.returncode == status
    assert words in done.stderr


def test_c_without_a_compiler_and_onnx_models_without_packages_are_refused_with_the_mend(bench, kit):
    assert "apt-get install gcc" in bench("--runtime", "c", PATH="/nothing/here").stderr
    bare = [sys.executable, "-I", "-S", str(kit / "edge_bench.py")]  # without any installed package
    done = subprocess.run(bare, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "sh setup.sh" in done.stderr


def test_a_provider_that_is_not_there_is_an_error_not_a_fallback(bench, result):
    assert bench("--provider", "CUDAExecutionProvider", "--models", "plain").returncode == 1
    (row,) = result()["rows"]
    assert "CUDAExecutionProvider" in row["error"]
    assert "CPUExecutionProvider" in row["error"]
    assert row["ms"] is None


def test_a_batch_is_taken_from_the_kits_images_and_not_from_more(bench, result):
    assert bench("--models", "plain", "--batch", "6").returncode == 0
    assert result()["rows"][0]["batch"] == 6
    bench("--models", "plain", "--batch", "7")
    assert "too few" in result()["rows"][0]["error"]


@needs_compiler
def test_power_comes_from_tegrastats_where_it_is(bench, kit, result, tmp_path, fixture_text):
    tool = tmp_path / "bin" / "tegrastats"
    tool.parent.mkdir()
    lines = fixture_text("tegrastats_nano").splitlines()[-1]
    tool.write_text(f"#!/bin/sh\nwhile true; do echo '{lines}'; sleep 0.01; done\n")
    tool.chmod(0o755)
    bench("--runtime", "c", "--power-seconds", "0.2", PATH=f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    found = result()
    for power in (found["rows"][0]["power_mw"], found["state"]["before"]["power_mw"]):
        assert (power["mean"], power["max"], power["rail"]) == (4870, 4870, "POM_5V_IN")
        assert power["n"] >= 1


@pytest.fixture
def fixture_text(request):
    return lambda name: (request.path.parent / "fixtures" / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("tegrastats_nano", ("POM_5V_IN", [2532, 4870])), ("tegrastats_orin", ("VDD_IN", [4984, 9120]))],
)
def test_the_whole_boards_power_is_read_from_tegrastats(name, expected, fixture_text):
    assert edge_bench.parse_power(fixture_text(name)) == expected


def test_percentiles_are_numpys():
    values = sorted(np.random.default_rng(0).exponential(size=37).tolist())
    for fraction in (0, 0.1, 0.5, 0.9, 0.95, 1):
        assert edge_bench.percentile(values, fraction) == pytest.approx(np.percentile(values, 100 * fraction))


def test_outputs_of_another_shape_or_not_finite_are_no_outputs():
    loose = {"max_abs_error": 1e9, "top1_agreement": 0.0}
    for wrong in ([[1.0]], [[1.0, 2.0], [1.0, 2.0]], [[math.nan, 0.0]], [[math.inf, 0.0]]):
        with pytest.raises(ValueError, match=r"shape|finite"):
            edge_bench.compare(wrong, [[1.0, 2.0]], loose)


def test_calls_come_in_the_cadence_asked_for(monkeypatch):
    now, starts = [0.0], []
    monkeypatch.setattr(edge_bench.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(edge_bench.time, "sleep", lambda s: now.__setitem__(0, now[0] + s))

    def call() -> None:
        starts.append(now[0])
        now[0] += 0.1 if len(starts) == 3 else 0.002  # the third call is late for the next two

    options = edge_bench.parser().parse_args(["--calls", "6", "--warmup", "2", "--cadence", "30"])
    times = edge_bench.call_times(call, options)
    assert times == pytest.approx([100, 2, 2, 2, 2, 2])
    gaps = np.diff(starts)
    assert gaps[:2] == pytest.approx([1 / 30, 1 / 30])
    assert gaps[2] == pytest.approx(0.1)
    assert gaps[-1] == pytest.approx(1 / 30)
    assert edge_bench.cadence_words("30") == THIRTY_A_SECOND.name
    assert edge_bench.cadence_words("back_to_back") == BACK_TO_BACK.name


def test_a_board_is_told_from_an_emulated_one():
    arm = "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd07"
    assert not edge_bench.is_emulated("aarch64", arm, "NVIDIA Jetson Nano Developer Kit")
    assert edge_bench.is_emulated("aarch64", "vendor_id : AuthenticAMD", None)
    assert edge_bench.is_emulated("x86_64", "model name : QEMU Virtual CPU version 2.5+", None)
    assert not edge_bench.is_emulated("x86_64", "vendor_id : GenuineIntel", None)
    assert not edge_bench.is_emulated("arm64", None, None)


ON_THE_BOARD = sorted(path.name for path in DEVICE.glob("*.py") if path.name != "__init__.py")


def test_two_scripts_run_on_the_board():
    assert ON_THE_BOARD == ["board_agent.py", "edge_bench.py"]


@pytest.mark.parametrize("name", ON_THE_BOARD)
def test_what_runs_on_the_board_needs_nothing_newer_than_python_3_6(name):
    vermin = pytest.importorskip("vermin", reason="vermin is not installed (extra dev)")
    code = f"from vermin.main import main; main()  # {vermin.__name__}"
    command = [sys.executable, "-c", code, "-t=3.6-", "--no-tips", str(DEVICE / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_kits_script_is_the_tested_one(kit):
    assert (kit / "edge_bench.py").read_bytes() == open(edge_bench.__file__, "rb").read()  # noqa: SIM115
    assert sha256(kit / "edge_bench.py") == read_manifest(kit).files["edge_bench.py"]["sha256"]
