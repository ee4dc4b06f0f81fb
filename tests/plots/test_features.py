"""The figures and widgets on features show what they were given, and the comparison says only what intervals allow."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from matplotlib.image import AxesImage

from course_lib import plots
from course_lib.experiments.distillation_arms import METHODS
from course_lib.experiments.method_comparison import method_gains, verdict_sentence
from course_lib.measure import Measurement, load_result, record
from course_lib.models import SignStudent, SignTeacher
from course_lib.plots import features as shown
from course_lib.widgets import features as moved

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 255, (2, 3, 32, 32), dtype=np.uint8)
MAPS = {"teacher": np.eye(8)[None].repeat(2, 0), "student": np.ones((2, 4, 4))}
HISTORY = [{"attention": 0.4, "hint": 2.0}, {"attention": 0.1, "hint": 1.5}]


def recorded(**gains: tuple[float, float, float]) -> dict[str, Measurement]:
    return {
        f"{name}_gain_points": Measurement(value, "points", 3, "validation accuracy, distilled − alone", low, high)
        for name, (value, low, high) in gains.items()
    }


FIGURES = recorded(hint=(0.5, -0.4, 1.2), soft_targets=(2.0, 1.0, 3.0), similarity=(-1.5, -2.5, -0.5))
DRAWN = {
    "attention": lambda: shown.attention_figure(IMAGES, MAPS, ["stop", "30"]),
    "points": lambda: shown.points_figure(moved.SQUARE, 2 * moved.SQUARE, {"distance loss": 0.0}),
    "similarity": lambda: shown.similarity_figure({"teacher": RNG.random((6, 4)), "student": RNG.random((6, 9))}, [3]),
    "agreement": lambda: shown.agreement_figure({m: {"alone": 0.1, "distilled": 0.2} for m in ("angle ↓", "hint ↓")}),
    "terms": lambda: shown.terms_figure({"labels only": HISTORY, "all": HISTORY}, ["attention", "hint"]),
    "gains": lambda: shown.gains_figure(method_gains(FIGURES)),
    "shrinkage": lambda: shown.shrinkage_figure(range(3), {"test": [3.0, 1.0, 2.0]}),
}  # fmt: skip


@pytest.mark.parametrize("make", DRAWN.values(), ids=DRAWN.keys())
def test_each_figure_draws_with_labels_and_alt_text(make, tmp_path):
    figure = make()
    assert len(plots.alt_text(figure)) > 40
    assert all(not axes.axison or (axes.get_xlabel() and axes.get_ylabel()) for axes in figure.axes)
    figure.savefig(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size < 90_000


def test_each_place_of_a_map_lies_on_the_pixels_it_is_centred_on():
    figure = shown.attention_figure(IMAGES, MAPS, ["stop", "30"])
    pictures = [[a for a in axes.get_children() if isinstance(a, AxesImage)] for axes in figure.axes]
    assert [len(p) for p in pictures] == [1, 2, 2] * 2
    assert [p[1].get_array().shape for p in pictures if len(p) == 2] == [(8, 8), (4, 4)] * 2
    assert [tuple(p[1].get_extent()) for p in pictures if len(p) == 2] == [(-2, 30, 30, -2), (-4, 28, 28, -4)] * 2
    assert all(axes.get_xlim() == (-0.5, 31.5) for axes in figure.axes)
    assert "teacher (8×8): 50 %" in plots.alt_text(figure)
    assert "student (4×4): 25 % in the middle quarter" in plots.alt_text(figure)


@pytest.mark.parametrize(
    ("captions", "maps"), [(["one"], MAPS), (["a", "b"], {}), (["a", "b"], {"x": np.ones((1, 4, 4))})]
)
def test_an_attention_figure_without_a_map_or_caption_for_each_image_is_refused(captions, maps):
    with pytest.raises(ValueError, match="one caption and one map a layer"):
        shown.attention_figure(IMAGES, maps, captions)


def test_points_are_labelled_with_distances_over_their_mean():
    teacher, student = shown.points_figure(moved.SQUARE, 3 * moved.SQUARE, {}).axes
    mean = (4 + 2 * 2**0.5) / 6
    labels = [sorted(t.get_text() for t in axes.texts if "." in t.get_text()) for axes in (teacher, student)]
    assert labels[0] == labels[1] == sorted([f"{1 / mean:.2f}"] * 4 + [f"{2**0.5 / mean:.2f}"] * 2)


def test_the_similarity_table_tells_how_much_alike_the_images_of_a_class_are():
    rows = np.array([[1.0, 0, 0], [1, 1, 0], [0, 0, 1], [0.5, 0, 1]])  # two images of each class
    table = [[1, 1, 0, 0.5], [1, 2, 0, 0.5], [0, 0, 1, 1], [0.5, 0.5, 1, 1.25]]
    table = [np.divide(row, np.linalg.norm(row)) for row in table]
    same = np.mean([table[i][j] for i, j in ((0, 1), (1, 0), (2, 3), (3, 2))])
    other = np.mean([table[i][j] for i in range(4) for j in range(4) if (i < 2) != (j < 2)])
    assert f"teacher: {same / other:.1f}." in plots.alt_text(shown.similarity_figure({"teacher": rows}, [2]))


def test_terms_run_from_the_first_epoch_to_the_last():
    left, right = shown.terms_figure({"all": HISTORY}, ["attention", "hint"]).axes
    assert left.get_lines()[0].get_xydata().tolist() == [[1, 0.4], [2, 0.1]]
    assert right.get_lines()[0].get_ydata().tolist() == [2.0, 1.5]


def test_gains_stand_from_low_to_high_in_the_colour_of_their_verdict():
    axes = shown.gains_figure(method_gains(FIGURES)).axes[0]
    bars = [container.lines[2][0].get_segments()[0][:, 0].tolist() for container in axes.containers]
    assert np.allclose(bars, [[1.0, 3.0], [-0.4, 1.2], [-2.5, -0.5]])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["soft targets", "hint", "similarity-preserving"]
    assert len({container.lines[0].get_color() for container in axes.containers}) == 3


# The comparison


def test_gains_are_sorted_and_judged_by_their_intervals():
    assert [(g.method, g.verdict) for g in method_gains(FIGURES)] == [
        ("soft_targets", "helped"),
        ("hint", "not shown"),
        ("similarity", "hurt"),
    ]


def test_the_table_reads_a_recorded_file_and_leaves_other_figures_out(tmp_path):
    figures = recorded(**{name: (0.1 * i, -1.0, 1.0) for i, name in enumerate(METHODS)}, temperature_2=(9.0, 8.0, 10.0))
    figures["alone_accuracy"] = Measurement(90.0, "%", 3, "alone", 89.0, 91.0)
    record("distillation_methods", "a command", figures, seeds=(0, 1, 2), folder=tmp_path)
    gains = method_gains(load_result("distillation_methods", tmp_path)["figures"])
    assert [g.method for g in gains] == list(METHODS)[::-1]
    assert json.loads((tmp_path / "distillation_methods.json").read_text())["seeds"] == [0, 1, 2]


def test_the_sentence_names_each_verdict_and_the_luck_of_many_comparisons():
    text = verdict_sentence(method_gains(FIGURES))
    assert "above 0** for soft targets." in text
    assert "Below 0**: similarity-preserving." in text
    assert "nothing was shown**, for hint." in text
    assert "about 14 of 100" in text
    text = verdict_sentence(method_gains(recorded(hint=(0.5, -0.2, 1.2))))
    assert text.startswith("No interval lies above 0. None lies below 0.")


def test_figures_without_methods_or_intervals_are_refused():
    with pytest.raises(ValueError, match=r"<method>_gain_points of soft_targets.*got \['other'\]"):
        method_gains({"other": Measurement(1.0, "", 1, "x")})
    with pytest.raises(ValueError, match="hint_gain_points must have an interval"):
        method_gains({"hint_gain_points": Measurement(1.0, "points", 3, "x")})


# The widgets


def picture(box) -> str:
    return box.children[0].value


def words(box) -> str:
    return box.children[1].value


def controls(box) -> dict:
    return {child.description: child for child in box.children if getattr(child, "description", "")}


def test_each_control_of_the_attention_explorer_changes_the_picture():
    torch.manual_seed(0)
    teacher, student = SignTeacher(4, (4, 8), (1, 1)).eval(), SignStudent(0.25).eval()
    pairs = [("features.0", "stages.1"), ("features.1", "stages.0")]
    box = moved.attention_explorer(teacher, student, IMAGES, [14, 1], pairs)
    assert set(controls(box)) == {"sign", "layers", "power p", "over channels"}
    for name, value in {"sign": 1, "layers": pairs[1], "power p": 6.0, "over channels": "max"}.items():
        before = picture(box)
        controls(box)[name].value = value
        assert picture(box) != before, name
    assert "student, features.1 (8×8)" in words(box)
    assert not any(module._forward_hooks for model in (teacher, student) for module in model.modules())


@pytest.mark.parametrize(
    ("images", "labels", "pairs"), [(IMAGES[:0], [], [("a", "b")]), (IMAGES, [1], [("a", "b")]), (IMAGES, [1, 2], [])]
)
def test_an_attention_explorer_without_images_labels_or_layers_is_refused(images, labels, pairs):
    with pytest.raises(ValueError, match="at least one image"):
        moved.attention_explorer(SignStudent(), SignStudent(), images, labels, pairs)


def test_turning_and_scaling_cost_nothing_and_moving_a_point_does():
    box = moved.relations_explorer()
    for name, value in (("turn, °", 40.0), ("scale ×", 3.0)):
        before = picture(box)
        controls(box)[name].value = value
        assert picture(box) != before, name
    assert "distance loss 0.0000, angle loss 0.0000" in words(box)
    before = picture(box)
    controls(box)["point 3: x"].value = 2.0
    assert "distance loss 0.0000" not in words(box)
    assert picture(box) != before
