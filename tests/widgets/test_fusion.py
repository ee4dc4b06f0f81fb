"""The saving explorer: each slider moves the prediction, and the words below say how."""

from __future__ import annotations

import pytest

from course_lib import widgets


def test_each_control_redraws_the_picture_and_its_description():
    panel = widgets.saving_explorer(10, 2.0, 0.3, overhead_us=5.0, bandwidth_gbs=20.0)
    picture, words, overhead, bandwidth = panel.children
    assert "together 0.15 ms" in words.value
    for control, value, told in ((overhead, 10.0, "together 0.2 ms"), (bandwidth, 10.0, "together 0.3 ms")):
        before = picture.value
        control.value = value
        assert picture.value != before
        assert told in words.value


def test_it_begins_inside_the_sliders():
    _, words, overhead, bandwidth = widgets.saving_explorer(1, 1.0, 1.0, overhead_us=99.0, bandwidth_gbs=999.0).children
    assert (overhead.value, bandwidth.value) == (40.0, 200.0)
    assert "1 calls × 40 µs" in words.value


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan")])
def test_a_bandwidth_that_is_none_is_refused(bandwidth):
    with pytest.raises(ValueError, match="bandwidth_gbs must be positive"):
        widgets.saving_explorer(1, 1.0, 1.0, overhead_us=1.0, bandwidth_gbs=bandwidth)
