"""Every runtime answers what PyTorch answers, says truly who ran, takes nothing wrong, and hands out its own memory."""

from __future__ import annotations

import gc

import numpy as np
import onnx.parser
import pytest
import torch
from torch import Tensor, nn

from course_lib.deploy.onnx import export_onnx
from course_lib.deploy.runtimes import NAMES, Loaded, load, runtime_variant, runtimes
from course_lib.errors import CourseError
from course_lib.measure import THIRTY_A_SECOND, Cadence, measure_ledger
from course_lib.models import sign_student
from course_lib.quantization.calibrated import quantize_network
from course_lib.quantization.qdq import export_qdq

HERE = runtimes()
FIXED = ("litert", "executorch")
SUFFIX = {"onnxruntime": ".onnx", "openvino": ".onnx", "litert": ".tflite", "executorch": ".pte"}


class Small(nn.Module):
    """Padding on one side only, odd sizes, a residual, a ReLU6, and BatchNorms off their start."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.last = nn.Linear(8, 5)
        norm = self.first[1]
        assert isinstance(norm, nn.BatchNorm2d)
        norm.running_mean.uniform_(-0.5, 0.5)  # pyright: ignore[reportOptionalMemberAccess]
        norm.running_var.uniform_(0.5, 2)  # pyright: ignore[reportOptionalMemberAccess]

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last((torch.relu(self.second(x)) + x).mean((2, 3)))


SHAPE = (1, 3, 15, 17)


def images(batch: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((batch, *SHAPE[1:]), dtype=np.float32)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return Small().train()  # load must do what eval mode does, and leave it so


@pytest.fixture(scope="module", params=NAMES)
def loaded(request, model) -> Loaded:
    found = HERE[request.param]
    if not found.available:
        pytest.skip(f"{found.reason}; {found.mend}")
    fuse = (lambda module: module) if request.param == "torch_fused" else None
    return load(model, request.param, input_shape=SHAPE, fuse=fuse)


def expected(model: nn.Module, x: np.ndarray) -> np.ndarray:
    model.eval()
    with torch.inference_mode():
        found = model(torch.from_numpy(x)).numpy()
    model.train()
    return found


def test_it_answers_what_pytorch_answers(loaded, model):
    for seed in range(4):
        x = images(seed=seed)
        wanted = expected(model, x)
        found = loaded(x)
        assert found.dtype == np.float32
        assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert model.training


def test_it_says_who_ran(loaded):
    assert loaded.version == HERE[loaded.runtime].version
    assert loaded.provider == loaded.requested_provider != ""
    assert loaded.precision == "float32"
    assert loaded.threads == 1
    assert loaded.load_ms > 0
    assert loaded.bytes > 4 * (8 * 27 + 8 * 9 + 8 * 5)
    assert loaded.instruction_set
    assert loaded.batch == (1 if loaded.runtime in FIXED else None)
    assert loaded.file is None


def test_an_answer_belongs_to_the_caller(loaded):
    first = loaded(images(seed=1))
    kept = first.copy()
    loaded(images(seed=2))
    assert np.array_equal(first, kept)
    first += 1  # writable, and no later answer changes with it
    assert np.array_equal(loaded(images(seed=1)), kept)


def test_images_that_do_not_lie_in_order_are_read_in_order(loaded):
    x = images(seed=3)
    strided = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert not strided.flags.c_contiguous
    mirrored = np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    for view in (strided, mirrored):
        np.testing.assert_allclose(loaded(view), loaded(x), rtol=1e-4, atol=1e-5)


def test_read_only_images_are_taken(loaded):
    x = images()
    x.flags.writeable = False
    assert loaded(x).shape == (1, 5)


WRONG = {"float64": images().astype(np.float64), "bytes": (255 * images()).astype(np.uint8), "a list": [1.0]}
WRONG |= {"a tensor": torch.zeros(SHAPE), "two channels": images()[:, :2].copy(), "no batch": images()[0]}


@pytest.mark.parametrize("wrong", [value for key, value in WRONG.items()], ids=list(WRONG))
def test_wrong_images_are_refused_with_what_is_right(loaded, wrong):
    batch = loaded.batch or "B"
    if isinstance(wrong, np.ndarray) and wrong.ndim == 3 and loaded.runtime.startswith("torch"):
        pytest.skip("PyTorch takes one image without a batch")
    with pytest.raises(ValueError, match=rf"{loaded.runtime} takes images float32 \({batch}, 3, 15, 17\), got"):
        loaded(wrong)


def test_a_batch_is_taken_or_refused(loaded, model):
    x = images(3)
    if loaded.batch is None:
        np.testing.assert_allclose(loaded(x), expected(model, x), rtol=1e-3, atol=1e-4)
    else:
        with pytest.raises(ValueError, match=r"\(1, 3, 15, 17\), got float32 \(3, 3, 15, 17\)"):
            loaded(x)


@pytest.mark.parametrize("name", SUFFIX)
def test_a_kept_file_opens_again_and_answers_the_same(name, model, tmp_path):
    if not HERE[name].available:
        pytest.skip(HERE[name].reason)
    path = tmp_path / f"kept{SUFFIX[name]}"
    first = load(model, name, input_shape=SHAPE, keep=path)
    again = load(path, name)
    assert path.stat().st_size == again.bytes == first.bytes
    assert again.input_shape == first.input_shape == SHAPE
    np.testing.assert_array_equal(first(images()), again(images()))


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_qdq_file_runs_in_integers_and_says_so(name, tmp_path):
    if not HERE[name].available:
        pytest.skip(HERE[name].reason)
    student = sign_student(0.5).eval()
    x = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    path = export_qdq(quantize_network(student, x), tmp_path / "int8.onnx")
    found = load(path, name)
    assert found.precision == "int8"
    assert found.file == path
    wanted = student(x).detach().numpy()
    assert np.abs(found(x.numpy()) - wanted).max() <= 0.1 * np.abs(wanted).max()
    half = tmp_path / "half.onnx"
    export_onnx(student, half)
    assert load(half, name).precision == "float32"


@pytest.mark.parametrize("name", ["torch", "onnxruntime", "openvino", "executorch"])
def test_two_threads_are_asked_back(name, model):
    if not HERE[name].available:
        pytest.skip(HERE[name].reason)
    before = torch.get_num_threads()
    try:
        found = load(model, name, threads=2, input_shape=SHAPE)
        assert found.threads == 2
        torch.set_num_threads(1)
        found(images())
        assert torch.get_num_threads() == (2 if name == "torch" else 1)
    finally:
        torch.set_num_threads(before)


def test_a_torch_runtime_keeps_a_copy_of_its_own(model):
    mine = Small().eval()
    for last in (False, True):
        found = load(mine, "torch", input_shape=SHAPE, channels_last=last)
        before = found(images())
        with torch.no_grad():
            mine.last.bias += 1
        assert np.array_equal(found(images()), before)
    assert mine.second.weight.is_contiguous()


def test_all_runtimes_stand_in_one_ledger_with_its_second_time(model):
    names = [name for name in ("torch", "onnxruntime", "openvino", "litert", "executorch") if HERE[name].available]
    variants = [runtime_variant(load(model, name, input_shape=SHAPE), name) for name in names]
    paces = {Cadence("twice", calls=2): 2, Cadence(THIRTY_A_SECOND.name, calls=1, period_s=1 / 30): 2}
    ledger = measure_ledger(
        variants, images(4), np.arange(4), title="t", data="d", threads=1, warmup=1, repeats=2, seed=0, batch=1,
        cadences=paces, groups=None,
    )  # fmt: skip
    assert [row.name for row in ledger.rows] == names
    assert [row.agreement for row in ledger.rows] == [1.0] * len(names)
    assert ledger.rows[1].runtime == f"ONNX Runtime {HERE['onnxruntime'].version}"
    assert [row.provider == row.requested_provider for row in ledger.rows] == [True] * len(names)


def test_a_files_counts_reach_the_variant(model, tmp_path):
    path = tmp_path / "counted.onnx"
    found = runtime_variant(load(model, "onnxruntime", input_shape=SHAPE, keep=path), "row", twin="x", twin_agreement=1)
    assert found.parameters == 8 * 27 + 8 + 8 * 9 + 8 + 8 * 5 + 5 + 2  # the two ends of ReLU6 are constants of the file
    assert (found.size_bytes, found.file, found.twin) == (path.stat().st_size, str(path), "x")
    unknown = runtime_variant(load(model, "torch", input_shape=SHAPE), "row")
    assert (unknown.parameters, unknown.nonzeros, unknown.macs) == (None, None, None)


def test_a_file_of_a_fixed_batch_says_so(tmp_path):
    text = '<ir_version: 7, opset_import: ["" : 13]> g (float[2, 3, 4, 4] x) => (float[2, 48] y) { y = Flatten(x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "two.onnx")
    for name in ("onnxruntime", "openvino"):
        if HERE[name].available:
            found = load(tmp_path / "two.onnx", name)
            assert (found.batch, found.input_shape) == (2, (2, 3, 4, 4))
            assert runtime_variant(found, "row").batch == 2


def test_a_network_that_answers_otherwise_is_refused(model):
    def other(module: nn.Module) -> nn.Module:
        changed = Small()
        changed.load_state_dict(module.state_dict())
        changed.last.bias.data += 0.01
        return changed

    with pytest.raises(CourseError, match="torch_fused and PyTorch differ by"):
        load(model, "torch_fused", input_shape=SHAPE, fuse=other)


@pytest.mark.parametrize("name", NAMES)
def test_a_network_lives_on_when_everything_else_of_its_opening_has_gone(name, model):
    if name in ("torch_fused", "torch_compile") or not HERE[name].available:
        pytest.skip(HERE[name].reason or "as torch")
    found = load(model, name, input_shape=SHAPE)
    before = found(images())
    gc.collect()
    filled = [bytes([number]) * found.bytes for number in range(100)]  # writes over what was freed
    assert np.array_equal(found(images()), before)
    assert len(filled) == 100
