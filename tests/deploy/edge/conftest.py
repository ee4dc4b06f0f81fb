"""A small kit for the tests, built once: an untrained student as ONNX and as C, 6 images."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib.deploy.edge import CNetworkFile, OnnxNetwork, build_kit
from course_lib.deploy.onnx import export_onnx
from course_lib.models import sign_student
from course_lib.quantization.calibrated import quantize_network
from course_lib.quantization.integer import c_source, integer_network
from course_lib.quantization.tensorrt import export_tensorrt, quantize_symmetric

IMAGES = 6


@pytest.fixture(scope="session")
def parts(tmp_path_factory) -> tuple[list[OnnxNetwork], CNetworkFile, np.ndarray]:
    """What ``build_kit`` takes: two ONNX networks, one in C, and images."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    model = sign_student(0.25).eval()
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 3, 32, 32), np.uint8)
    given = torch.from_numpy(images).float() / 255
    network = integer_network(quantize_network(model, given), rounding="hardware")
    path = export_tensorrt(quantize_symmetric(model, given), folder / "symmetric.onnx")
    networks = [
        OnnxNetwork("plain", "plain", export_onnx(model, folder / "p.onnx"), "fp32", ("onnxruntime", "tensorrt")),
        OnnxNetwork("symmetric", "symmetric", path, "int8", ("onnxruntime", "tensorrt")),
    ]
    return networks, CNetworkFile("in_c", "in C", c_source(network), network.logit_codes(images), (1, 1, 1)), images


@pytest.fixture(scope="session")
def built(parts, tmp_path_factory) -> Path:
    """A kit's folder that no test writes to."""
    out = tmp_path_factory.mktemp("built") / "kit"
    build_kit(out, *parts, data="noise")
    return out


@pytest.fixture
def kit(built, tmp_path) -> Path:
    """A copy of the kit, for this test alone."""
    return Path(shutil.copytree(built, tmp_path / "kit"))


@pytest.fixture
def bench(kit) -> Callable[..., subprocess.CompletedProcess]:
    """bench("--runtime", "c", PATH="…"): run the kit's script as on a board; few calls, no pauses for power."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess:
        command = [sys.executable, str(kit / "edge_bench.py"), "--calls", "5", "--warmup", "1", "--power-seconds", "0"]
        return subprocess.run(
            [*command, *arguments],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def result(kit) -> Callable[[], dict]:
    """result(): what the script has written."""
    return lambda: json.loads((kit / "result.json").read_text(encoding="utf-8"))


@pytest.fixture
def resum(kit) -> Callable[[str], None]:
    """resum("models/plain.onnx"): make the manifest agree with a file that the test has changed."""

    def change(name: str) -> None:
        manifest = json.loads((kit / "manifest.json").read_text(encoding="utf-8"))
        manifest["files"][name]["sha256"] = hashlib.sha256((kit / name).read_bytes()).hexdigest()
        (kit / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")

    return change
