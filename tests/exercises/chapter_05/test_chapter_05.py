"""Chapter 05's exercises ask for what the library has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_lib.data import Augmentation
from course_lib.distillation import TeacherTable, decoupled_loss
from course_lib.distillation import distillation_loss as library_loss
from course_lib.exercises.chapter_05.choose_temperature import choose_and_report
from course_lib.exercises.chapter_05.distillation_loss import loss_with_t_and_alpha
from course_lib.exercises.chapter_05.missing_labels import partly_labelled
from course_lib.exercises.chapter_05.other_classes import kl_of_the_others
from course_lib.exercises.chapter_05.pseudo_labels import pseudo_labels_of
from course_lib.training import Batch


def assert_equal_with_gradient(one, other, student_logits):
    """``one`` and ``other`` are functions of the student's logits."""
    found = []
    for loss in (one, other):
        leaf = student_logits.clone().requires_grad_()
        value = loss(leaf)
        found.append((value, *torch.autograd.grad(value, leaf)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("id", "reference"), [("05.1", loss_with_t_and_alpha), ("05.2", partly_labelled)])
def test_the_loss_is_the_librarys(sets, id, reference):
    for student, teacher, labels, temperature, alpha in sets(id):
        assert_equal_with_gradient(
            lambda s, rest=(teacher, labels, temperature, alpha): reference(s, *rest),
            lambda s, z=teacher, y=labels, t=temperature, a=alpha: library_loss(s, z, y, temperature=t, alpha=a),
            student,
        )


def test_the_part_about_the_others_is_the_librarys(sets):
    for student, teacher, labels, temperature in sets("05.5"):
        weights = {"temperature": temperature, "alpha": 0.0, "beta": 1.0 / temperature**2}
        assert_equal_with_gradient(
            lambda s, rest=(teacher, labels, temperature): kl_of_the_others(s, *rest),
            lambda s, z=teacher, y=labels, w=weights: decoupled_loss(s, z, y, **w),
            student,
        )


def test_pseudo_labels_are_those_of_the_librarys_table(sets):
    for logits, view, indices in sets("05.4"):
        batch = Batch(torch.zeros(len(indices), 3, 1, 1), torch.zeros(len(indices), dtype=torch.int64), indices, view)
        table = TeacherTable(logits, augmentation=Augmentation())  # without one, all views would be the first
        assert torch.equal(pseudo_labels_of(logits, view, indices), table.rows(batch).argmax(1))


def test_in_every_drawn_sweep_a_noisy_setting_has_the_best_mean_and_test_would_choose_another(sets):
    seeds = set()
    for validation, test in sets("05.3", draws=50)[-50:]:
        best, accuracy = choose_and_report(validation, test)
        spread = {setting: np.std(accuracies) for setting, accuracies in validation.items()}
        assert spread[best] > min(spread.values())
        assert max(test, key=lambda setting: np.mean(test[setting])) != best
        assert accuracy == pytest.approx(np.mean(test[best]))
        assert list(test) != list(validation)
        seeds.add(len(validation[best]))
    assert seeds == {3, 4, 5}
