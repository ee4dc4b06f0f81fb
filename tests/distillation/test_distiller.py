"""A distiller trains the student by its terms, never the teacher; tables belong to their views; hooks go away."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.data import SignDataset
from course_lib.distillation import (
    UNLABELLED,
    Distiller,
    Taps,
    Term,
    distillation_loss,
    label_loss,
    soft_target_loss,
    soft_target_terms,
    tapped_table,
    teacher_table,
)
from course_lib.errors import CourseError
from course_lib.models import sign_student
from course_lib.training import Recipe, epoch_batches, fit

CLASSES = 3
RECIPE = Recipe(epochs=2, batch_size=8, views=2)


def network(width: float = 0.25, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return sign_student(width, CLASSES)


@pytest.fixture
def signs() -> SignDataset:
    rng = np.random.default_rng(0)
    return SignDataset(
        rng.integers(0, 256, (23, 3, 32, 32), dtype=np.uint8), rng.integers(0, CLASSES, 23), num_classes=CLASSES
    )


def states(model: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in model.modules())


def train(student, signs, distiller, **options):
    return fit(student, signs, signs, RECIPE, loss=distiller, progress=False, **options)


# ---- the distiller ----


def test_the_sum_of_its_terms_is_the_distillation_loss(signs):
    student, teacher = network(), network(0.5, seed=1).eval()
    distiller = Distiller(student, teacher, soft_target_terms(temperature=4.0, alpha=0.7))
    for batch in epoch_batches(signs, RECIPE, 0):
        logits = student(batch.images)
        with torch.no_grad():
            answers = teacher(batch.images)
        expected = distillation_loss(logits, answers, batch.labels, temperature=4.0, alpha=0.7)
        torch.testing.assert_close(distiller(logits, batch), expected)


def test_training_changes_the_student_and_nothing_of_the_teacher_even_if_it_was_left_in_train_mode(signs):
    student, teacher = network(), network(0.5, seed=1).train()
    before, first = states(teacher), states(student)
    train(student, signs, Distiller(student, teacher, soft_target_terms(temperature=2.0, alpha=0.5)))
    assert all(torch.equal(a, b) for a, b in zip(before, states(teacher), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(first, states(student), strict=True))
    assert all(p.grad is None for p in teacher.parameters())
    assert not teacher.training


def test_a_teacher_set_to_train_mode_between_two_batches_gives_the_same_targets(signs):
    student, teacher = network(), network(0.5, seed=1)
    distiller = Distiller(student, teacher, soft_target_terms(temperature=2.0, alpha=1.0))
    batch = next(epoch_batches(signs, RECIPE, 0))
    logits = student(batch.images).detach()
    first = distiller(logits, batch)
    teacher.train()
    assert torch.equal(distiller(logits, batch), first)


def test_a_cached_table_trains_to_the_same_weights_as_the_running_teacher(signs, tmp_path):
    teacher, results = network(0.5, seed=1), []
    table = teacher_table(teacher, signs, RECIPE, folder=tmp_path, progress=False)
    for given in ({"teacher": teacher}, {"teacher": None, "table": table}):
        student = network()
        train(student, signs, Distiller(student, terms=soft_target_terms(temperature=4.0, alpha=0.9), **given))
        results.append(states(student))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)  # the teacher saw batches of another size


def test_tapped_layers_reach_the_terms_and_a_projection_is_trained_and_resumed(signs, tmp_path):
    def made(stop: int | None = None):
        student, teacher, calls = network(), network(0.5, seed=1), []
        wanted = SimpleNamespace(stop=stop)  # an object is known by its class: this loss is the other one
        torch.manual_seed(5)
        project = nn.Conv2d(8, 16, 1)

        def hint(o):
            calls.append(1)
            if len(calls) == wanted.stop:
                raise KeyboardInterrupt
            return (project(o.student["features.1"]) - o.teacher["features.1"]).square().mean()

        labels = Term("labels", 1.0, lambda o: label_loss(o.student_logits, o.labels))
        taps = {"student_taps": ["features.1"], "teacher_taps": ["features.1"]}
        return student, project, Distiller(student, teacher, [labels, Term("hint", 2.0, hint, project)], **taps)

    student, project, distiller = made()
    first = project.weight.clone()
    with distiller:
        train(student, signs, distiller)
    assert not torch.equal(project.weight, first)
    assert [set(row) for row in distiller.history] == [{"labels", "hint", "total"}] * 2
    row = distiller.history[0]
    assert row["total"] == pytest.approx(row["labels"] + 2 * row["hint"], rel=1e-5)

    student, _, broken = made(stop=5)  # in the second epoch of three steps each
    with broken, pytest.raises(KeyboardInterrupt):
        train(student, signs, broken, checkpoint=tmp_path / "state.pt")
    student, project_again, resumed = made()
    with resumed:
        train(student, signs, resumed, checkpoint=tmp_path / "state.pt")
    assert torch.equal(project_again.weight, project.weight)


def test_features_kept_in_a_table_equal_those_of_the_running_teacher(signs):
    student, teacher = network(), network(0.5, seed=1)
    table = tapped_table(teacher, signs, RECIPE, ["features.1"], progress=False)
    seen = []
    term = Term("look", 1.0, lambda o: seen.append(o.teacher["features.1"]) or o.student_logits.sum() * 0)
    for given in (table, None):
        with Distiller(student, teacher, [term], teacher_taps=["features.1"], table=given) as distiller:
            for batch in epoch_batches(signs, RECIPE, 1):
                distiller(student(batch.images), batch)
    half = len(seen) // 2
    for a, b in zip(seen[:half], seen[half:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_images_outside_the_mask_have_no_label_and_keep_the_teacher(signs):
    student, teacher = network(), network(0.5, seed=1)
    mask = torch.zeros(23, dtype=torch.bool)
    mask[3] = True
    seen = []
    term = Term("look", 1.0, lambda o: seen.append(o.labels) or o.student_logits.sum() * 0)
    distiller = Distiller(student, teacher, [term], labelled=mask)
    for batch in epoch_batches(signs, RECIPE, 0):
        distiller(student(batch.images), batch)
        expected = torch.where(batch.indices == 3, batch.labels, UNLABELLED)
        assert torch.equal(seen[-1], expected)


def test_logits_of_pixels_are_distilled_the_same_way(signs):
    torch.manual_seed(0)
    student, teacher = nn.Conv2d(3, 5, 1), nn.Conv2d(3, 5, 1)
    distiller = Distiller(student, teacher, soft_target_terms(temperature=2.0, alpha=1.0)[:1])
    batch = next(epoch_batches(signs, RECIPE, 0))
    expected = soft_target_loss(student(batch.images), teacher(batch.images), 2.0)
    torch.testing.assert_close(distiller(student(batch.images), batch), expected)


def test_no_hook_is_left_after_the_block_or_after_an_error(signs):
    student, teacher = network(), network(0.5, seed=1)
    taps = {"student_taps": ["features.0", "pool"], "teacher_taps": ["features.2"]}
    term = Term("zero", 1.0, lambda o: o.student_logits.sum() * 0)
    counts = []

    def fails():
        with Distiller(student, teacher, [term], **taps):
            counts.extend([hooks(student), hooks(teacher)])
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fails()
    assert counts == [2, 1]
    assert hooks(student) == hooks(teacher) == 0
    with pytest.raises(ValueError, match="no module"):
        Distiller(student, teacher, [term], student_taps=["features.0"], teacher_taps=["nowhere"])
    assert hooks(student) == 0, "hooks must not be left when the second network's taps are refused"


def test_an_optimiser_that_holds_the_teacher_is_refused_before_the_first_step(signs):
    student, teacher = network(), network(0.5, seed=1)
    distiller = Distiller(student, teacher, soft_target_terms(temperature=2.0, alpha=0.5))
    both = torch.optim.SGD([*student.parameters(), *teacher.parameters()], lr=0.1)
    with pytest.raises(ValueError, match=r"the optimiser holds 17 parameters of the teacher, first 'features\.0\.0"):
        distiller.start(signs, RECIPE, both)
    with pytest.raises(ValueError, match="share parameters"):
        Distiller(student, student, soft_target_terms(temperature=2.0, alpha=0.5))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"terms": []}, "at least one"),
        ({"terms": [Term("a", 1, sum), Term("a", 1, sum)]}, r"different names, got \['a', 'a'\]"),
        ({"teacher": None}, "teacher must be given"),
        ({"student_taps": ["features.9"]}, r"SignStudent has no module 'features\.9'; near names: features\.4"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, words):
    student = network()
    given = {"teacher": network(0.5, seed=1), "terms": soft_target_terms(temperature=2.0, alpha=0.5), **options}
    with pytest.raises(ValueError, match=words):
        Distiller(student, **given)


def test_a_term_must_have_a_weight_and_give_one_number(signs):
    for weight in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="weight of 'x' must be finite and ≥ 0"):
            Term("x", weight, sum)
    student = network()
    distiller = Distiller(student, network(0.5, seed=1), [Term("x", 1.0, lambda o: o.student_logits)])
    with pytest.raises(ValueError, match=r"term 'x' must give one number, got shape \(8, 3\)"):
        train(student, signs, distiller)
    with pytest.raises(ValueError, match="alpha must be in"):
        soft_target_terms(temperature=1.0, alpha=1.5)


@pytest.mark.parametrize("changed", [{"temperature": 3.0}, {"alpha": 0.8}], ids=lambda d: next(iter(d)))
def test_an_unfinished_training_does_not_continue_with_another_temperature_or_weight(signs, tmp_path, changed):
    settings, state = {"temperature": 2.0, "alpha": 0.9}, tmp_path / "state.pt"
    teacher = network(0.5, seed=1)
    student = network()
    train(student, signs, Distiller(student, teacher, soft_target_terms(**settings)), checkpoint=state)
    student = network()
    other = Distiller(student, teacher, soft_target_terms(**{**settings, **changed}))
    with pytest.raises(CourseError, match=r"belongs to a run with another loss\."):
        train(student, signs, other, checkpoint=state)


def resumed_with(signs, state, **changed):
    """Two epochs' state is continued by a distiller of which one part is another."""
    made = {"teacher": network(0.5, seed=1), "table": None, "labelled": None, "loss": soft(2.0), **changed}
    term = Term("soft", 1.0, made["loss"])
    student = network()
    distiller = Distiller(student, made["teacher"], [term], table=made["table"], labelled=made["labelled"])
    return train(student, signs, distiller, checkpoint=state)


def soft(temperature):
    return lambda outputs: soft_target_loss(outputs.student_logits, outputs.teacher_logits, temperature)


def test_an_unfinished_training_does_not_continue_with_another_teacher_table_labels_or_loss(signs, tmp_path):
    state = tmp_path / "state.pt"
    resumed_with(signs, state)
    kept = state.read_bytes()
    tables = [tapped_table(network(0.5, seed=seed), signs, RECIPE, [], progress=False) for seed in (1, 2)]
    others = {
        "teacher": network(0.5, seed=2),
        "table": tables[0],
        "labelled": torch.arange(len(signs)) > 0,
        "loss": soft(3.0),
    }
    for name, value in others.items():
        with pytest.raises(CourseError, match=r"belongs to a run with another loss\."):
            resumed_with(signs, state, **{name: value})
    assert state.read_bytes() == kept
    assert len(resumed_with(signs, state).epochs) == RECIPE.epochs  # the very same one is taken up again
    assert tables[0].digest() != tables[1].digest()


# ---- taps ----


def test_taps_give_what_the_modules_put_out_and_leave_the_network_as_it_was():
    model = network()
    images = torch.rand(2, 3, 32, 32)
    with Taps(model, ["features.0", "classifier"]) as taps:
        logits = model(images)
        assert taps["classifier"] is logits
        torch.testing.assert_close(taps["features.0"], model.features[0](images))
        assert list(taps) == ["features.0", "classifier"]
        taps.clear()
        with pytest.raises(KeyError, match="has not run yet"):
            taps["classifier"]
        with pytest.raises(KeyError, match="not tapped"):
            taps["pool"]
    assert hooks(model) == 0
    taps.close()


def test_names_that_do_not_exist_are_answered_with_near_ones():
    with pytest.raises(ValueError, match=r"SignStudent has no module 'featurs\.1'; near names: features\.1"):
        Taps(network(), ["featurs.1"])
    with pytest.raises(ValueError, match="near names: features, pool, classifier"):
        Taps(network(), ["zzz"])
    with pytest.raises(TypeError, match="sequence of module names"):
        Taps(network(), "pool")
    with pytest.raises(ValueError, match="different"):
        Taps(network(), ["pool", "pool"])


def test_a_module_that_puts_out_no_tensor_cannot_be_tapped():
    model = nn.Sequential(nn.LSTM(4, 4))
    with Taps(model, ["0"]), pytest.raises(TypeError, match="module '0' puts out tuple"):
        model(torch.zeros(1, 1, 4))
