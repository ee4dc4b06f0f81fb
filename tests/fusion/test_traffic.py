"""Bytes are those of the tensors that an operator touches, and a saving is calls and bytes that are gone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from course_lib.fusion import Operator, Traffic, fuse, predicted_saving_ms, traffic
from course_lib.models import sign_student


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.relu(self.norm(self.conv(x)))
        return torch.cat([y, y + x.repeat(1, 2, 1, 1)], 1).flatten(1).view(-1, 4)


def test_each_operator_moves_its_tensors_once():
    model, x = Mixed().eval(), torch.rand(3, 2, 5, 5)
    rows = {row.kind: row for row in traffic(model, x).rows}
    small, large = 3 * 2 * 25 * 4, 3 * 4 * 25 * 4
    assert (rows["Conv2d"].read, rows["Conv2d"].weights, rows["Conv2d"].written) == (small, 4 * (72 + 4), large)
    assert (rows["BatchNorm2d"].read, rows["BatchNorm2d"].weights, rows["BatchNorm2d"].written) == (large, 64, large)
    assert (rows["ReLU"].read, rows["ReLU"].written) == (large, large)  # in place, and moved all the same
    assert (rows["add"].read, rows["add"].written) == (2 * large, large)
    assert (rows["cat"].read, rows["cat"].written) == (2 * large, 2 * large)
    assert not {"flatten", "view"} & set(rows)  # they move nothing
    assert rows["ReLU"].bytes == 2 * large


def test_the_network_and_the_input_stay_as_they_are():
    model, x = Mixed().train(), torch.rand(1, 2, 5, 5)
    kept, state = x.clone(), {key: value.clone() for key, value in model.state_dict().items()}
    traffic(model, x)
    assert torch.equal(x, kept)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())
    assert all(module.training for module in model.modules())


@pytest.mark.parametrize("batch", [1, 4])
def test_fusion_saves_what_norm_and_relu_moved(batch):
    model, x = sign_student(0.5).eval(), torch.rand(batch, 3, 32, 32)
    before = traffic(fuse(model, x, folded=False, one_kernel=False).model, x)
    after = traffic(fuse(model, x).model, x)
    gone = [row for row in before.rows if row.kind in ("BatchNorm2d", "ReLU")]
    assert (len(gone), len(before.rows) - len(after.rows)) == (10, 10)
    biases = sum(4 * channels for channels in model.channels)  # which folding adds
    assert before.total - after.total == sum(row.bytes for row in gone) - biases
    assert "calls" in str(after)


def test_each_row_tells_the_shape_that_it_writes_and_the_largest_maps_are_found():
    model, x = Mixed().eval(), torch.rand(3, 2, 5, 6)
    found = traffic(model, x)
    assert [row.shape for row in found.rows if row.kind in ("Conv2d", "cat")] == [(3, 4, 5, 6), (3, 8, 5, 6)]
    assert found.largest_maps == (3, 8, 5, 6)
    assert all(row.written == 4 * torch.Size(row.shape).numel() for row in found.rows)
    assert traffic(sign_student(0.5), torch.rand(2, 3, 32, 32)).largest_maps == (2, 8, 16, 16)


def test_without_maps_there_is_no_largest():
    with pytest.raises(ValueError, match="no operator writes"):
        _ = traffic(nn.Linear(3, 2), torch.rand(1, 3)).largest_maps


def test_a_prediction_is_calls_and_bytes():
    relu, norm = Operator("r", "ReLU", 1000, 0, 1000), Operator("n", "BatchNorm2d", 500, 0, 500)
    before, after = Traffic((relu, norm, relu)), Traffic((relu,))
    both = predicted_saving_ms(before, after, bandwidth_gbs=1, overhead_us=7)
    assert both == pytest.approx((2 * 7 + 3) / 1e3)
    each = predicted_saving_ms(before, after, bandwidth_gbs=1, overhead_us={"ReLU": 1, "BatchNorm2d": 10})
    assert each == pytest.approx((1 + 10 + 3) / 1e3)
    own = predicted_saving_ms(before, after, bandwidth_gbs={"ReLU": 2, "BatchNorm2d": 0.5}, overhead_us=0)
    assert own == pytest.approx((2000 / 2 + 1000 / 0.5) / 1e6)
    assert predicted_saving_ms(after, before, bandwidth_gbs=1, overhead_us=7) == pytest.approx(-both)
    assert predicted_saving_ms(before, before, bandwidth_gbs=1, overhead_us={}) == 0


def test_numbers_that_are_missing_or_not_positive_are_refused():
    one, none = Traffic((Operator("r", "ReLU", 1, 0, 1),)), Traffic(())
    with pytest.raises(ValueError, match="overhead_us must name ReLU"):
        predicted_saving_ms(one, none, bandwidth_gbs=1, overhead_us={"Conv2d": 1})
    with pytest.raises(ValueError, match="bandwidth_gbs must name ReLU"):
        predicted_saving_ms(one, none, bandwidth_gbs={"Conv2d": 1}, overhead_us=1)
    with pytest.raises(ValueError, match="bandwidth_gbs must be positive"):
        predicted_saving_ms(one, none, bandwidth_gbs=0, overhead_us=1)
