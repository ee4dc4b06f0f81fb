"""The explorer of boards: network, place and an assumption change the picture and its words."""

from __future__ import annotations

import pytest

from course_lib import plots, widgets
from course_lib.deploy.edge import BOARDS, predict
from course_lib.measure import LayerCount
from course_lib.widgets.boards import PLACES

LAYERS = {
    name: LayerCount(name, "Conv", weights, macs, (), 4 * weights, 4000)
    for name, weights, macs in (("conv 1", 400, 100_000), ("classifier", 4000, 4000))
}
NETWORKS = {"pruned": LAYERS, "small": {"classifier": LAYERS["classifier"]}}


def test_every_place_is_one_that_its_board_can_compute_on():
    for board, runtime, precision, threads in PLACES.values():
        assert predict(LAYERS, BOARDS[board], runtime, precision=precision, threads=threads).ms > 0


def test_the_title_tells_the_prediction():
    figure = widgets.board_prediction_figure("pruned", LAYERS, "Orin Nano, GPU, INT8", 5.0)
    expected = predict(LAYERS, BOARDS["orin_nano"], "tensorrt", precision="int8", overhead_us=5.0).ms
    assert f"pruned, Orin Nano, GPU, INT8: {expected:.4f} ms predicted" in plots.alt_text(figure)


def test_each_control_redraws_the_picture_and_its_description():
    picture, words, network, place, overhead = widgets.board_explorer(NETWORKS).children
    for control, value in ((network, "small"), (place, "Orin Nano, GPU, INT8"), (overhead, 7.0)):
        before = picture.value, words.value
        control.value = value
        assert picture.value != before[0]
        assert words.value != before[1]


@pytest.mark.parametrize("networks", [{}, {"empty": {}}], ids=["none", "one without layers"])
def test_networks_without_layers_are_refused(networks):
    with pytest.raises(ValueError, match="networks must hold at least one"):
        widgets.board_explorer(networks)


def test_an_unknown_place_is_refused():
    with pytest.raises(ValueError, match="place must be one of Nano, one core, FP32"):
        widgets.board_prediction_figure("pruned", LAYERS, "the moon", 0.0)
