"""bfloat16 is what the layers compute in; weights, updates, loss and what is validated stay float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.data import SignDataset
from course_lib.distillation import teacher_table
from course_lib.training import PRECISIONS, Recipe, compute_in, epoch_batches, fit, make_optimizer

pytestmark = pytest.mark.usefixtures("one_thread")


def signs(count: int, seed: int) -> SignDataset:
    rng = np.random.default_rng(seed)
    return SignDataset(rng.integers(0, 256, (count, 3, 8, 8), dtype=np.uint8), rng.integers(0, 3, count), num_classes=3)


TRAIN, VALIDATION = signs(40, 0), signs(20, 1)


class Spy(nn.Module):
    """A small network that remembers the types of what it computed."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.classifier = nn.Conv2d(3, 8, 3), nn.Linear(8, 3)
        self.seen: list[tuple[bool, torch.dtype]] = []

    def forward(self, images):
        features = self.convolution(images)
        self.seen.append((torch.is_grad_enabled(), features.dtype))
        return self.classifier(features.mean((2, 3)))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_layers_compute_in_the_recipe_s_precision_and_everything_else_in_float32(precision):
    model, types = Spy(), set()

    def loss(logits, batch):
        types.add(logits.dtype)
        return F.cross_entropy(logits, batch.labels)

    recipe = Recipe(epochs=1, batch_size=16, augmentation=None, precision=precision)
    fit(model, TRAIN, VALIDATION, recipe, loss=loss, progress=False)
    trained = {kind for gradient, kind in model.seen if gradient}
    assert trained == {getattr(torch, precision)}
    assert {kind for gradient, kind in model.seen if not gradient} == {torch.float32}  # validation
    assert types == {torch.float32}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_bfloat16_equals_pytorch_s_autocast_written_out():
    recipe = Recipe(epochs=1, batch_size=16, augmentation=None, schedule="cosine", precision="bfloat16")
    found, model = Spy(), Spy().to(memory_format=torch.channels_last)
    fit(found, TRAIN, VALIDATION, recipe, progress=False)
    optimizer = make_optimizer(model, recipe)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 3)
    for batch in epoch_batches(TRAIN, recipe, 0):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch.images.contiguous(memory_format=torch.channels_last))
        F.cross_entropy(logits.float(), batch.labels).backward()
        optimizer.step()
        scheduler.step()
    for a, b in zip(found.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_network_in_float64_stays_there():
    model, types = Spy().double(), []

    def loss(logits, batch):
        types.append(logits.dtype)
        return F.cross_entropy(logits, batch.labels)

    class Double(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, images):
            return self.model(images.double())

    fit(Double(), TRAIN, VALIDATION, Recipe(epochs=1, augmentation=None), loss=loss, progress=False)
    assert set(types) == {torch.float64}


def test_a_teacher_s_table_may_be_computed_in_bfloat16_and_is_kept_apart_from_the_exact_one(tmp_path):
    teacher, recipe = Spy(), Recipe(epochs=1, augmentation=None, views=1)
    tables = {
        p: teacher_table(teacher, TRAIN, recipe, folder=tmp_path, progress=False, precision=p) for p in PRECISIONS
    }
    exact, rough = (tables[p].logits for p in PRECISIONS)
    assert exact.dtype == rough.dtype == torch.float32
    assert not torch.equal(exact, rough)
    torch.testing.assert_close(exact, rough, rtol=0.05, atol=0.02)
    again = teacher_table(teacher, TRAIN, recipe, folder=tmp_path, progress=False)
    assert torch.equal(again.logits, exact)


def test_another_precision_is_refused():
    for use in (lambda: Recipe(epochs=1, precision="int8"), lambda: compute_in("float16")):
        with pytest.raises(ValueError, match="precision must be one of 'float32', 'bfloat16', got"):
            use()
