"""A prepared network computes what is deployed: simulated, in integers and by ONNX Runtime; and it learns."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from course_lib.data import SignDataset
from course_lib.deploy.onnx import open_session, run_session
from course_lib.distillation import Distiller, soft_target_terms
from course_lib.evaluation import model_accuracy, predict_logits
from course_lib.models import SignStudent, SignTeacher
from course_lib.quantization.affine import Codes, quantize
from course_lib.quantization.aware import (
    AwareNetwork,
    BitWidths,
    FrozenStatistics,
    LearnedClip,
    LearnedStep,
    QuantizedLayer,
    freeze_statistics_,
    prepare,
)
from course_lib.quantization.calibrated import QuantizedNetwork, quantize_network, simulated_logits
from course_lib.quantization.graph import Weighted
from course_lib.quantization.integer import integer_network
from course_lib.quantization.qdq import export_qdq
from course_lib.training import Recipe, fit

CLASSES = 8


def signs(count: int, seed: int) -> SignDataset:
    """A square somewhere on noise; the label's three bits say in which of the three colours it is brighter."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % CLASSES
    images = rng.integers(0, 150, (count, 3, 16, 16))
    for image, label in zip(images, labels, strict=True):
        row, column = rng.integers(0, 9, 2)
        bright = np.array([label >> colour & 1 for colour in range(3)])
        image[:, row : row + 7, column : column + 7] += 100 * bright[:, None, None]
    return SignDataset(images.astype(np.uint8), labels, num_classes=CLASSES)


def student() -> SignStudent:
    torch.manual_seed(0)
    return SignStudent(num_classes=CLASSES, channels=(8, 16, 16), strides=(2, 1, 1))


@pytest.fixture(scope="module")
def task() -> SimpleNamespace:
    """Images, and a student that was trained on them in float32."""
    train, validation = signs(480, 0), signs(400, 1)
    model = student()
    fit(model, train, validation, Recipe(8, 1e-2, batch_size=48, augmentation=None), progress=False)
    calibration = train.batch(np.arange(128))[0]
    return SimpleNamespace(
        train=train,
        validation=validation,
        model=model,
        calibration=calibration,
        images=validation.batch(np.arange(400))[0],
        accuracy=model_accuracy(model, validation),
    )


def tuned(task: SimpleNamespace, bits: int, epochs: int = 4, **options: Any) -> AwareNetwork:
    network = prepare(task.model, task.calibration, BitWidths(bits, bits), **options)
    recipe = Recipe(epochs, 5e-3, batch_size=64, augmentation=None, weight_decay=0.0)
    fit(network, task.train, task.validation, recipe, constraint=FrozenStatistics(epochs - 1), progress=False)
    return network


def steps_apart(found: Tensor, wanted: Tensor, network: QuantizedNetwork) -> Tensor:
    """How many codes of the logits lie between."""
    return (found - wanted).abs() / network.activations[network.graph.output].scale


def assert_deployed_alike(network: AwareNetwork, images: Tensor) -> QuantizedNetwork:
    """At most 1 % of the logits have another code than simulated, none is more than 3 away: a sum near a half."""
    converted = network.converted()
    with torch.no_grad():
        found = network(images)
    apart = steps_apart(found, simulated_logits(converted, images), converted)
    assert (apart > 0.5).float().mean() <= 0.01
    assert apart.max() <= 3.01
    return converted


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("name", ["Branches", "Residual"])
@pytest.mark.parametrize("options", [{}, {"activations": "clip"}, {"per_channel": False, "relative": False}], ids=str)
def test_what_is_prepared_computes_what_is_converted(small, bits, name, options):
    images = small.as_images(small.image_bytes(40))
    network = prepare(getattr(small, name)(), images[:20], BitWidths(bits, bits), **options)
    converted = assert_deployed_alike(network, images)
    inputs = small.image_bytes(40)
    engine = integer_network(converted, input_shape=small.SHAPE)
    simulated = simulated_logits(converted, images)
    logits = converted.activations[converted.graph.output]
    codes = torch.from_numpy(engine.logit_codes(inputs).astype(np.int64))
    apart = (codes - quantize(simulated, logits)).abs()
    assert (apart > 0).float().mean() <= 0.02
    assert apart.max() <= 3


@pytest.mark.parametrize("bits", [4, 8])
def test_the_courses_networks_are_prepared_and_converted(bits):
    torch.manual_seed(1)
    images = torch.randint(0, 256, (12, 3, 32, 32)) / 255
    for model in (
        SignTeacher(5, channels=(8, 16), blocks=(1, 1), dropout=0.2).eval(),
        SignStudent(num_classes=5, channels=(8, 12, 16), strides=(2, 1, 2)).eval(),
    ):
        before = copy.deepcopy(model.state_dict())
        network = prepare(model, images, BitWidths(bits, bits))
        assert_deployed_alike(network, images)
        assert not network.training
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert len(network.layers) == sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules())


def test_with_eight_bits_it_starts_where_calibration_does(small):
    """W8A8 is min-max quantization until it is trained: the first steps are the range's, here never wider."""
    images = small.as_images(small.image_bytes(40))
    model = small.Residual()
    network = prepare(model, images, BitWidths(8, 8)).converted()
    calibrated = quantize_network(model, images)
    for name, affine in calibrated.activations.items():
        assert network.activations[name].zero_point == affine.zero_point
        assert 0.3 * affine.scale <= network.activations[name].scale <= affine.scale
    for name, affine in calibrated.weights.items():
        assert (network.weights[name].scale <= 1.0001 * affine.scale).all()
        assert network.weights[name].codes == affine.codes
    wanted = model(images).detach()
    noise = [float((simulated_logits(one, images) - wanted).square().mean()) for one in (network, calibrated)]
    assert noise[0] <= 1.5 * noise[1]


def test_ends_and_sums_keep_their_bits(small):
    images = small.as_images(small.image_bytes(20))
    network = prepare(small.Residual(), images, BitWidths(3, 2, ends=7, sums=6)).converted()
    bits = {name: affine.codes.bits for name, affine in network.activations.items()}
    # Named by their layers: only sums read grouped, wide and again; the last layer reads the mean, then flattened.
    assert bits == {
        "images": 8, "first.0": 2, "depthwise": 2, "grouped": 6, "wide": 6, "add": 2, "again": 6, "add_1": 2,
        "pool": 7, "flatten": 7, "last": 7,
    }  # fmt: skip
    weights = {name: affine.codes.bits for name, affine in network.weights.items()}
    assert weights == {"first.0": 7, "depthwise": 3, "grouped": 3, "wide": 3, "again": 3, "last": 7}
    same = prepare(small.Residual(), images, BitWidths(3, 3, ends=3, sums=3)).converted()
    assert {affine.codes.bits for name, affine in same.activations.items() if name != "images"} == {3}
    assert network.activations["images"].scale == np.float32(1 / 255)


def test_what_a_relu_gives_has_the_zero_point_0_and_all_else_where_its_range_puts_it(small):
    images = small.as_images(small.image_bytes(20))
    network = prepare(small.Residual(), images, BitWidths(4, 4))
    for name in ("first.0", "depthwise", "add", "pool"):
        zero = network.quantizer(name).zero_point
        assert zero == 0 or name == "pool", name
        assert not network.quantizer(name).codes.signed
    assert network.quantizer("last").ends[0] < 0 < network.quantizer("last").ends[1]
    assert network.quantizer("flatten") is network.quantizer("pool")


def test_clips_are_learned_of_what_a_relu_gives_and_steps_of_the_rest(small):
    images = small.as_images(small.image_bytes(20))
    network = prepare(small.Residual(), images, BitWidths(4, 4), activations="clip")
    kinds = {name: type(network.quantizer(name)) for name in ("first.0", "depthwise", "add", "grouped", "last")}
    assert kinds == {
        "first.0": LearnedClip, "depthwise": LearnedClip, "add": LearnedClip, "grouped": LearnedStep,
        "last": LearnedStep,
    }  # fmt: skip


@pytest.mark.parametrize("activations", ["step", "clip"])
def test_every_parameter_gets_a_gradient(small, activations):
    images = small.as_images(small.image_bytes(30))
    for model in (small.Residual(), small.Branches()):
        network = prepare(model, images[:5] * 0.5, BitWidths(3, 3), activations=activations).train()
        network(images).square().sum().backward()
        missing = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
        assert missing == []
        steps = [p.grad for name, p in network.named_parameters() if "factor" in name and "quantizers" in name]
        assert all(gradient is not None and gradient.any() for gradient in steps)


def test_frozen_it_trains_on_exactly_what_is_deployed(task):
    network = prepare(task.model, task.calibration, BitWidths(2, 2))
    wanted = network(task.images)
    freeze_statistics_(network)
    assert torch.equal(network(task.images), wanted)


def test_two_bits_are_learned_and_deployed(task, tmp_path):
    untrained = prepare(task.model, task.calibration, BitWidths(2, 2))
    before = model_accuracy(untrained, task.validation)
    network = tuned(task, 2)
    after = model_accuracy(network, task.validation)
    assert task.accuracy > 0.95
    assert after > before + 0.05
    assert after > task.accuracy - 0.03
    converted = assert_deployed_alike(network, task.images)
    path = export_qdq(converted, tmp_path / "w2a2.onnx", input_shape=(1, 3, 16, 16))
    deployed = run_session(open_session(path), task.images.numpy())
    answers = predict_logits(network, task.validation).numpy()
    assert (deployed.argmax(1) == answers.argmax(1)).mean() >= 0.995
    inputs = (task.images * 255).round().to(torch.uint8).numpy()
    engine = integer_network(converted, input_shape=(3, 16, 16))
    assert (engine.logit_codes(inputs).argmax(1) == answers.argmax(1)).mean() >= 0.995
    middle = converted.graph.layers[1]
    assert isinstance(middle, Weighted)
    codes = converted.weight_codes(middle)
    assert set(codes.unique().tolist()) <= {-2, -1, 0, 1}


def test_a_distiller_trains_it_like_any_other_and_the_teacher_stays(task):
    network = prepare(task.model, task.calibration, BitWidths(2, 2), activations="clip")
    before = model_accuracy(network, task.validation)
    kept = copy.deepcopy(task.model.state_dict())
    recipe = Recipe(3, 5e-3, batch_size=64, augmentation=None, average=0.9)
    with Distiller(network, task.model, soft_target_terms(temperature=1, alpha=0.9)) as loss:
        fit(network, task.train, task.validation, recipe, loss=loss, progress=False)
    assert model_accuracy(network, task.validation) > before + 0.05
    assert all(torch.equal(value, kept[name]) for name, value in task.model.state_dict().items())
    assert_deployed_alike(network, task.images)


def test_a_state_goes_into_a_network_that_was_prepared_from_other_images(task):
    one = prepare(task.model, task.calibration, BitWidths(4, 4))
    other = prepare(task.model, task.calibration[:3] * 0.3, BitWidths(4, 4))
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(task.images), one(task.images))


def test_what_does_not_fit_is_refused_and_the_model_unchanged(task):
    model, images, bits = task.model, task.calibration, BitWidths(4, 4)
    for wrong in ({"weights": 1}, {"activations": 9}, {"ends": 0}, {"sums": 4.0}, {"weights": True}):
        with pytest.raises(ValueError, match="must be an integer in 2 … 8"):
            BitWidths(**{"weights": 4, "activations": 4, **wrong})
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        prepare(model, images * 255, bits)
    with pytest.raises(ValueError, match="at least one calibration image"):
        prepare(model, images[:0], bits)
    with pytest.raises(ValueError, match="'step' or 'clip'"):
        prepare(model, images, bits, activations="lsq")  # pyright: ignore[reportArgumentType]
    twice = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.BatchNorm2d(8)).eval()
    with pytest.raises(ValueError, match="second BatchNorm"):
        prepare(twice, images, bits)
    with pytest.raises(ValueError, match="no integer form is known for Sigmoid"):
        prepare(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Sigmoid()), images, bits)


def test_a_layer_is_found_by_its_name_in_the_model(task):
    network = prepare(task.model, task.calibration, BitWidths(4, 4))
    assert isinstance(network.layer("features.1.0"), QuantizedLayer)
    assert network.layer("features.1.0").quantizer.codes == Codes(4)
    with pytest.raises(KeyError):
        network.layer("features.9")
