"""Re-estimated statistics are those of all values seen, however divided; nothing else of the network moves."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from course_lib.data import SignDataset
from course_lib.models import SignStudent, SignTeacher
from course_lib.pruning.recovery import reestimate_batch_norm_


def images(count: int = 24, seed: int = 0) -> Tensor:
    x = torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return x * torch.linspace(0.2, 1, count).view(-1, 1, 1, 1)  # batches differ in their means


def student() -> SignStudent:
    """With statistics of another life."""
    torch.manual_seed(0)
    model = SignStudent(num_classes=5, channels=(8, 12, 16), strides=(2, 2, 2))
    with torch.no_grad():
        for norm in norms(model):
            norm.get_buffer("running_mean").uniform_(-3, 3)
            norm.get_buffer("running_var").uniform_(5, 9)
            norm.get_buffer("num_batches_tracked").fill_(77)
    return model.eval()


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(model: nn.Module, before: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("make", [student, lambda: SignTeacher(5, (4, 8), (1, 2)).eval()], ids=["chain", "residual"])
def test_one_batch_gives_what_pytorch_gives_with_cumulative_averages(make):
    model = make()
    reference = copy.deepcopy(model).train()
    for norm in norms(reference):
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        reference(images())
    reestimate_batch_norm_(model, [images()])
    for found, expected in zip(norms(model), norms(reference), strict=True):
        torch.testing.assert_close(found.running_mean, expected.running_mean, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(found.running_var, expected.running_var, rtol=1e-5, atol=1e-7)
        assert found.num_batches_tracked == 1


def test_uneven_batches_give_the_first_layer_the_statistics_of_all_values():
    model = student()
    reestimate_batch_norm_(model, [images()[:15], images()[15:22], images()[22:]])
    with torch.no_grad():
        seen = model.get_submodule("features.0.0")(images()).transpose(0, 1).flatten(1)
    norm = norms(model)[0]
    torch.testing.assert_close(norm.running_mean, seen.mean(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var, seen.var(1), rtol=1e-5, atol=1e-7)
    assert norm.num_batches_tracked == 3


def test_two_calls_of_one_layer_are_joined():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.norm(x[:, :4]) + self.norm(x[:, 4:])

    model, x = Twice().eval(), torch.rand(6, 8)
    reestimate_batch_norm_(model, [x])
    both = torch.cat([x[:, :4], x[:, 4:]])
    torch.testing.assert_close(model.norm.running_mean, both.mean(0))
    torch.testing.assert_close(model.norm.running_var, both.var(0))


def test_a_set_is_divided_evenly_and_equals_its_batches():
    rng = np.random.default_rng(0)
    signs = SignDataset(rng.integers(0, 256, (21, 3, 32, 32), dtype=np.uint8), rng.integers(0, 5, 21), num_classes=5)
    x = signs.batch(np.arange(21))[0]
    one, other = student(), student()
    reestimate_batch_norm_(one, signs, batch_size=10)  # 7 + 7 + 7, not 10 + 10 + 1
    reestimate_batch_norm_(other, [x[:7], x[7:14], x[14:]])
    assert same(one, state(other))
    assert norms(one)[0].num_batches_tracked == 3


def test_only_statistics_move_and_modes_stay():
    model = nn.Sequential(student().features, nn.Dropout(0.5), nn.Flatten(), nn.Linear(16 * 16, 2)).train()
    model[1].eval()
    modes = [module.training for module in model.modules()]
    before, momenta = state(model), [norm.momentum for norm in norms(model)]
    reestimate_batch_norm_(model, [images()])
    assert modes == [module.training for module in model.modules()]
    assert momenta == [norm.momentum for norm in norms(model)]
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    endings = ("running_mean", "running_var", "num_batches_tracked")
    assert moved == {name for name in before if name.endswith(endings)}
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_dropout_does_not_drop_meanwhile():
    model = nn.Sequential(nn.Dropout(0.9), nn.BatchNorm1d(3)).train()
    x = torch.rand(50, 3)
    reestimate_batch_norm_(model, [x])
    torch.testing.assert_close(model[1].running_mean, x.mean(0))


def test_a_frozen_layer_stays_in_a_network_that_trains_but_not_in_one_in_eval_mode():
    model = student().train()
    norms(model)[1].eval()
    before = state(norms(model)[1])
    reestimate_batch_norm_(model, [images()])
    assert same(norms(model)[1], before)
    assert norms(model)[0].num_batches_tracked == norms(model)[2].num_batches_tracked == 1
    model.eval()
    reestimate_batch_norm_(model, [images()])
    assert norms(model)[1].num_batches_tracked == 1


def test_a_frozen_layer_normalizes_by_what_it_keeps():
    model = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2)).train()
    model[0].eval()
    model.get_buffer("0.running_mean").fill_(5.0)
    x = torch.rand(9, 2)
    reestimate_batch_norm_(model, [x])
    torch.testing.assert_close(model[1].running_mean, x.mean(0) - 5, rtol=1e-4, atol=1e-4)


def test_it_brings_back_outputs_that_wrong_statistics_spoiled():
    model = student()
    reestimate_batch_norm_(model, [images()])
    good = model(images())
    with torch.no_grad():
        norms(model)[0].get_buffer("running_mean").add_(2.0)
    assert (model(images()) - good).abs().max() > 0.1
    reestimate_batch_norm_(model, [images()])
    torch.testing.assert_close(model(images()), good, rtol=1e-4, atol=1e-5)


def test_layers_without_statistics_and_those_not_called_stay():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.never = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
            self.without = nn.BatchNorm1d(2, track_running_stats=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.without(self.used(x))

    model = Partly().eval()
    before = state(model.never)
    reestimate_batch_norm_(model, [torch.rand(5, 2)])
    assert model.used.num_batches_tracked == 1
    assert same(model.never, before)
    assert model.without.running_mean is None


def broken(kind: str):
    """Batches of which the first is good."""
    yield images()
    if kind == "not finite":
        yield images() * torch.inf
    elif kind == "interrupted":
        raise KeyboardInterrupt
    else:
        yield torch.zeros(2, 5, 8, 8)


@pytest.mark.parametrize(
    ("kind", "error"), [("not finite", ValueError), ("interrupted", KeyboardInterrupt), ("channels", RuntimeError)]
)
def test_what_fails_on_the_way_leaves_the_network_as_it_was(kind, error):
    model = student().train()
    before = state(model)
    with pytest.raises(error):
        reestimate_batch_norm_(model, broken(kind))
    assert same(model, before)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_nothing_to_do_is_refused():
    model = student()
    before = state(model)
    with pytest.raises(ValueError, match="at least one image, got none"):
        reestimate_batch_norm_(model, [])
    empty = SignDataset(np.zeros((0, 3, 32, 32), np.uint8), np.zeros(0, int), num_classes=5)
    with pytest.raises(ValueError, match="at least one image, got none"):
        reestimate_batch_norm_(model, empty)
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        reestimate_batch_norm_(model, empty, batch_size=0)
    assert same(model, before)
    with pytest.raises(ValueError, match="no BatchNorm"):
        reestimate_batch_norm_(nn.Linear(2, 2), [torch.rand(2, 2)])
    norm = nn.BatchNorm1d(2)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        reestimate_batch_norm_(norm, [torch.rand(1, 2)])
    assert norm.num_batches_tracked == 0
