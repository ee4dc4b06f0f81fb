"""Every loss answers the loop's questions, and a function is known by what it does, not by where it stands."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.training import Batch, CrossEntropy, Loss
from course_lib.training.loss import as_loss

BATCH = Batch(torch.zeros(3, 3, 2, 2), torch.tensor([0, 2, 1]), torch.arange(3), view=0)
LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 0.0], [1.0, -2.0, 3.0]])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_default_is_pytorch_s_cross_entropy(smoothing):
    expected = F.cross_entropy(LOGITS, BATCH.labels, label_smoothing=smoothing)
    assert torch.equal(as_loss(None, smoothing)(LOGITS, BATCH), expected)


def test_a_loss_needs_nothing_but_its_value():
    class Sum(Loss):
        def forward(self, logits, batch):
            return logits.sum()

    loss = Sum()
    assert as_loss(loss, 0.0) is loss
    assert loss.start(None, None, None) is None
    assert loss.end_epoch() is None
    assert loss.identity() == "test_a_loss_needs_nothing_but_its_value.<locals>.Sum"


def scaled(factor):
    return lambda logits, batch: factor * logits.sum()


def halved(logits, batch, factor=0.5):
    return factor * logits.sum()


def identity(function):
    return as_loss(function, 0.0).identity()


def test_equal_functions_have_one_identity_and_different_ones_two():
    assert identity(scaled(2.0)) == identity(scaled(2.0))
    assert identity(scaled(2.0)) != identity(scaled(3.0))
    assert identity(lambda logits, batch: logits.sum()) != identity(lambda logits, batch: logits.mean())
    assert identity(partial(halved, factor=2.0)) != identity(partial(halved, factor=3.0))
    assert identity(partial(halved, factor=2.0)) == identity(partial(halved, factor=2.0))
    assert identity(halved) != identity(None)
    assert identity(None) != as_loss(None, 0.1).identity()


def test_an_identity_holds_no_address():
    class Weighted:
        def __init__(self, weight):
            self.weight, self.table = weight, object()

        def __call__(self, logits, batch):
            return self.weight * logits.sum()

    assert "0x" not in identity(Weighted(1.0)) + identity(scaled(torch.ones(1)))
    assert identity(Weighted(1.0)) == identity(Weighted(1.0)) != identity(Weighted(2.0))


def test_a_module_that_is_no_loss_is_trained_too():
    class Bias(nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.zeros(1))

        def forward(self, logits, batch):
            return logits.sum() + self.bias

    assert len(list(as_loss(Bias(), 0.0).parameters())) == 1


def test_identity_of_the_cross_entropy_names_its_smoothing():
    assert CrossEntropy(0.1).identity() == "cross-entropy, label smoothing 0.1"
