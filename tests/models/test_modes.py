"""Train and eval mode are kept submodule by submodule: whoever runs a network leaves a frozen layer frozen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.data import SignDataset
from course_lib.deploy.onnx import export_onnx
from course_lib.distillation import Distiller, soft_target_terms, tapped_table, teacher_table
from course_lib.evaluation.predictions import model_accuracy, predict_logits
from course_lib.measure.counting import count_layers
from course_lib.models import eval_mode, sign_student
from course_lib.models.modes import modes, restore_modes_
from course_lib.training import Recipe, epoch_batches

SIGNS = SignDataset(
    np.random.default_rng(0).integers(0, 256, (8, 3, 32, 32), dtype=np.uint8), np.arange(8) % 3, num_classes=3
)
RECIPE = Recipe(epochs=1, batch_size=4, augmentation=None)


def mixed_network() -> nn.Module:
    """A network in train mode with one frozen BatchNorm: the state that restoring the root's flag destroys."""
    torch.manual_seed(0)
    model = sign_student(0.25, 3).train()
    model.features[1][1].training = False
    return model


def flags(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def states(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


USERS = {
    "predict_logits": lambda model, folder: predict_logits(model, SIGNS),
    "model_accuracy": lambda model, folder: model_accuracy(model, SIGNS),
    "export_onnx": lambda model, folder: export_onnx(model, folder / "x.onnx"),
    "count_layers": lambda model, folder: count_layers(model, (1, 3, 32, 32)),
    "teacher_table": lambda model, folder: teacher_table(model, SIGNS, RECIPE, folder=folder, progress=False),
    "tapped_table": lambda model, folder: tapped_table(model, SIGNS, RECIPE, ["features.0"], progress=False),
}


@pytest.mark.parametrize("use", USERS.values(), ids=USERS.keys())
def test_every_user_gives_each_layer_its_own_mode_back_and_moves_no_statistic(tmp_path, use):
    model = mixed_network()
    before, values = flags(model), states(model)
    assert before[""] is True
    assert before["features.1.1"] is False
    use(model, tmp_path)
    assert flags(model) == before
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("use", USERS.values(), ids=USERS.keys())
def test_every_user_runs_the_network_in_eval_mode(tmp_path, use):
    model, seen = mixed_network(), []
    for module in model.modules():
        module.register_forward_pre_hook(lambda module, inputs: seen.append(module.training))
    use(model, tmp_path)
    assert seen
    assert not any(seen)


@pytest.mark.parametrize("use", USERS.values(), ids=USERS.keys())
def test_every_user_gives_the_modes_back_after_an_error(tmp_path, use):
    model = mixed_network()
    before = flags(model)

    def fail(*_):
        raise ZeroDivisionError

    model.classifier.register_forward_hook(fail)
    with pytest.raises(ZeroDivisionError):
        use(model, tmp_path)
    assert flags(model) == before


def test_a_distiller_keeps_its_teacher_in_eval_mode_and_does_not_touch_the_student_s_modes():
    """The one user that gives nothing back: a teacher teaches from then on, batch after batch, whoever trains what."""
    student, teacher = mixed_network(), sign_student(0.25, 3).train()
    before, values = flags(student), states(teacher)
    distiller = Distiller(student, teacher, soft_target_terms(temperature=2.0, alpha=0.5))
    for batch in epoch_batches(SIGNS, RECIPE, 0):
        with torch.no_grad():
            distiller(student(batch.images), batch)
        assert not any(flags(teacher).values())
        teacher.train()  # a caller who loops over all networks
    assert flags(student) == before
    assert all(torch.equal(value, values[name]) for name, value in teacher.state_dict().items())


def test_modes_are_read_and_put_back_one_by_one():
    model = mixed_network()
    kept, before = modes(model), flags(model)
    assert kept[0] == (model, True)
    assert len(kept) == len(list(model.modules()))
    for change in (model.eval, model.train):
        change()
        assert flags(model) != before
        restore_modes_(kept)
        assert flags(model) == before


def test_the_way_that_most_code_takes_would_unfreeze_the_layer():
    """The control: with ``model.train(was_training)`` the tests above would fail."""
    model = mixed_network()
    was_training = model.training
    model.eval()
    model.train(was_training)
    assert flags(model)["features.1.1"] is True


def test_blocks_may_be_nested_and_a_network_without_layers_has_a_mode():
    model = mixed_network()
    before = flags(model)
    with eval_mode(model), eval_mode(model.features):
        assert not any(flags(model).values())
    assert flags(model) == before
    with eval_mode(nn.Identity()):
        pass


def test_a_layer_that_two_parents_share_keeps_its_mode():
    shared = nn.BatchNorm1d(2).eval()
    model = nn.Sequential(shared, nn.Linear(2, 2), shared).train()
    shared.training = False
    with eval_mode(model):
        pass
    assert (model.training, model[1].training, shared.training) == (True, True, False)
