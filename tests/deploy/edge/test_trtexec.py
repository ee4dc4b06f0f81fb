"""TensorRT through its tool: the flags of each version, what it prints and writes, and what it dies of.

There is no TensorRT here. The texts are written from its documentation, and the tool is a small program that answers as
the documentation says; whether a real one does, only a board can tell.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from course_lib.deploy.edge.device import edge_bench

TOOL = """#!{python}
import json, os, signal, sys
given = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
print("&&&& RUNNING TensorRT.trtexec [TensorRT {version}] # trtexec")
if "help" in given:
    sys.exit(0)
with open({log!r}, "a") as stream:
    stream.write(json.dumps(sys.argv[1:]) + "\\n")
{trouble}
if "saveEngine" in given:
    open(given["saveEngine"], "w").write("engine")
if "exportTimes" in given:
    times = [0.5, 0.25, 0.75, 1.0]
    json.dump([{{"computeMs": t, "latencyMs": 9}} for t in times], open(given["exportTimes"], "w"))
    print("[I] Engine deserialized in 0.0124 sec.")
    print("[I] GPU Compute Time: min = 0.25 ms, max = 1 ms, mean = 0.625 ms, median = 0.625 ms, percentile(99%) = 1 ms")
if "exportOutput" in given:
    assert os.path.exists(given["loadEngine"])
    name, _, path = given["loadInputs"].partition(":")
    images = os.path.getsize(path) // (4 * 3 * 32 * 32)
    answer = json.load(open({answer!r}))[:images]
    values = [value for row in answer for value in row]
    dimensions = "%dx%d" % (len(answer), len(answer[0]))
    json.dump([{{"name": "logits", "dimensions": dimensions, "values": values}}], open(given["exportOutput"], "w"))
"""


@pytest.fixture
def tool(kit, tmp_path):
    """tool("v8201", trouble="…", shift=0.5): a trtexec of that version; its answers are "plain"'s, shifted."""

    def make(version: str, *, trouble: str = "", shift: float = 0.0) -> str:
        answer, path, log = tmp_path / "answer.json", tmp_path / "trtexec", tmp_path / "log"
        answer.write_text(json.dumps((np.load(kit / "inputs" / "inputs.npz")["plain"] + shift).tolist()))
        text = TOOL.format(python=sys.executable, version=version, trouble=trouble, answer=str(answer), log=str(log))
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    return make


@pytest.fixture
def calls(tmp_path):
    """calls(): the arguments of each call of the tool."""
    return lambda: [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]


@pytest.mark.parametrize(
    ("banner", "version", "workspace"),
    [("v8201", (8, 2, 1), "--workspace=512"), ("v100300", (10, 3, 0), "--memPoolSize=workspace:512")],
)
def test_float_networks_run_in_fp32_and_fp16_with_the_flags_of_the_version(
    banner, version, workspace, tool, bench, calls, result
):
    done = bench("--runtime", "tensorrt", "--models", "plain", "--trtexec", tool(banner))
    assert done.returncode == 0, done.stdout
    full, half = result()["rows"]
    assert (full["precision"], half["precision"]) == ("fp32", "fp16")
    for row in (full, half):
        assert row["error"] is None
        assert row["ms"] == {"median": 0.625, "p10": 0.325, "p90": 0.925, "p95": 0.9625, "n": 4}
        assert row["times_ms"] == [0.5, 0.25, 0.75, 1.0]
        assert row["load_ms"] == 12.4
        assert row["runtime_version"] == ".".join(map(str, version))
        assert (row["provider_asked"], row["providers"], row["threads"]) == ("tensorrt", ["tensorrt"], None)
        assert row["outputs_agree"] is True
        assert row["images"] == 6
    timed = [words for words in calls() if any(word.startswith("--onnx=") for word in words)]
    assert all(workspace in words for words in timed)
    assert ["--fp16" in words for words in timed] == [False, True]


def test_symmetric_int8_asks_for_integers_and_other_outputs_are_found(tool, bench, calls, result):
    bench("--runtime", "tensorrt", "--trtexec", tool("v100300", shift=5.0))
    rows = {(row["name"], row["precision"]): row for row in result()["rows"]}
    assert set(rows) == {("plain", "fp32"), ("plain", "fp16"), ("symmetric", "int8")}
    assert rows["plain", "fp16"]["outputs_agree"] is False
    assert rows["plain", "fp16"]["max_abs_error"] == pytest.approx(5, abs=1e-3)
    (words,) = [words for words in calls() if any("symmetric.onnx" in word for word in words)]
    assert "--int8" in words


def test_version_11_computes_in_the_files_own_types(tool, bench, calls, result):
    assert bench("--runtime", "tensorrt", "--models", "plain", "--trtexec", tool("v110000")).returncode == 1
    full, half = result()["rows"]
    assert full["error"] is None
    assert "--fp16" in half["error"]
    assert not any("--fp16" in words or "--int8" in words for words in calls())


@pytest.mark.parametrize(
    "trouble",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "print('[E] [TRT] Error Code 2: OutOfMemory (no further information)')\nsys.exit(1)",
    ],
    ids=["killed", "told"],
)
def test_an_engine_build_that_memory_killed_is_named_with_its_mend(trouble, tool, bench, result):
    assert bench("--runtime", "tensorrt", "--trtexec", tool("v8201", trouble=trouble)).returncode == 1
    for row in result()["rows"]:
        assert "out of memory" in row["error"]
        assert "--workspace 256" in row["error"]
        assert row["ms"] is None


def test_what_else_trtexec_dies_of_is_told_in_its_own_words(tool, bench, result):
    trouble = "print('[E] INT8 is not supported on this platform')\nsys.exit(1)"
    bench("--runtime", "tensorrt", "--models", "symmetric", "--trtexec", tool("v8201", trouble=trouble))
    assert "[E] INT8 is not supported" in result()["rows"][0]["error"]


def test_times_without_outputs_are_kept_as_not_compared(tool, bench, result):
    bench(
        "--runtime", "tensorrt", "--models", "plain", "--trtexec", tool("v8201", trouble="given.pop('exportOutput', 0)")
    )
    assert result()["rows"][0]["outputs_agree"] is None
    assert "not compared" in result()["rows"][0]["note"]
    assert result()["rows"][0]["ms"]["median"] == 0.625


@pytest.mark.parametrize(
    ("name", "version", "median", "ready"),
    [("trtexec_8_2", (8, 2, 1), 0.742, None), ("trtexec_10_3", (10, 3, 0), 0.0975, "0.0124")],
)
def test_documented_output_is_read(name, version, median, ready, request):
    text = (request.path.parent / "fixtures" / f"{name}.txt").read_text()
    assert edge_bench.trtexec_version(text) == version
    found = edge_bench.parse_trtexec(text)
    assert (found["median"], found["p99"] > found["median"]) == (median, True)
    match = edge_bench.ENGINE_READY.search(text)
    assert (match and match.group(1)) == ready


def test_versions_are_read_in_all_their_spellings():
    spelled = {
        "v8201": (8, 2, 1),
        "v8602": (8, 6, 2),
        "v100300": (10, 3, 0),
        "v110300": (11, 3, 0),
        "v8.6.1": (8, 6, 1),
    }
    for text, version in spelled.items():
        assert edge_bench.trtexec_version(f"&&&& RUNNING TensorRT.trtexec [TensorRT {text}] # trtexec") == version
    assert edge_bench.trtexec_version("no such line") is None


def test_the_workspace_flag_changed_its_name_in_8_4():
    assert edge_bench.trtexec_flags((8, 3, 9), "fp32", 64) == ["--workspace=64"]
    assert edge_bench.trtexec_flags((8, 4, 0), "fp32", 64) == ["--memPoolSize=workspace:64"]
