"""The losses on features equal their papers' equations, ignore what they promise to ignore, and refuse nonsense."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from course_lib.distillation import (
    Hint,
    attention_map,
    attention_transfer_loss,
    relational_angle_loss,
    relational_distance_loss,
    similarity_preserving_loss,
)


def draw(*shape: int, seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def huber(x: float) -> float:
    return 0.5 * x * x if abs(x) <= 1 else abs(x) - 0.5


def dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def norm(a: list[float]) -> float:
    return math.sqrt(dot(a, a))


MAPS = draw(4, 3, 4, 4), draw(4, 5, 4, 4, seed=1)
ROWS = draw(5, 3), draw(5, 6, seed=1)
LOSSES = {
    "hint": (Hint(3, 5).double(), MAPS),
    "attention": (attention_transfer_loss, MAPS),
    "distance": (relational_distance_loss, ROWS),
    "angle": (relational_angle_loss, ROWS),
    "similarity": (similarity_preserving_loss, MAPS),
}
LOSS = pytest.mark.parametrize(("loss", "pair"), LOSSES.values(), ids=LOSSES.keys())
WITHOUT_HINT = pytest.mark.parametrize(("loss", "pair"), list(LOSSES.values())[1:], ids=list(LOSSES)[1:])


# Each equation, written out in loops


def test_the_hint_is_fitnets_equation_3_times_2_over_the_number_of_elements_of_an_image():
    hint, (student, teacher) = Hint(3, 5).double(), MAPS
    weight = hint.projection.weight[:, :, 0, 0].tolist()
    total = 0.0
    for v, u in zip(student.tolist(), teacher.tolist(), strict=True):
        for out in range(5):
            for y in range(4):
                for x in range(4):
                    r = sum(weight[out][c] * v[c][y][x] for c in range(3))
                    total += 0.5 * (u[out][y][x] - r) ** 2
    equation_3 = total / 4  # mean over the images
    assert hint(student, teacher).item() == pytest.approx(equation_3 * 2 / (5 * 4 * 4), rel=1e-12)


def attention_by_hand(image: list, power: float, form: str) -> list[float]:
    pick = sum if form == "sum" else max
    flat = [pick(abs(c[y][x]) ** power for c in image) for y in range(len(image[0])) for x in range(len(image[0][0]))]
    return [value / norm(flat) for value in flat]


@pytest.mark.parametrize(("power", "form"), [(1, "sum"), (2, "sum"), (4, "sum"), (2, "max"), (1, "max")])
def test_attention_is_the_papers_map_and_both_distances_are_as_written(power, form):
    student, teacher = MAPS
    maps = [[attention_by_hand(image, power, form) for image in side.tolist()] for side in (student, teacher)]
    torch.testing.assert_close(attention_map(student, power=power, form=form).tolist(), maps[0])
    gaps = [norm([a - b for a, b in zip(s, t, strict=True)]) for s, t in zip(*maps, strict=True)]
    options = {"power": power, "form": form}
    paper = attention_transfer_loss(student, teacher, distance="norm", **options)
    assert paper.item() == pytest.approx(sum(gaps) / 4, rel=1e-12)
    code = attention_transfer_loss(student, teacher, **options)
    assert code.item() == pytest.approx(sum(g * g for g in gaps) / (4 * 16), rel=1e-12)


def relative_distances(rows: list) -> dict[tuple[int, int], float]:
    pairs = {(i, j): math.dist(rows[i], rows[j]) for i in range(len(rows)) for j in range(len(rows))}
    mu = sum(pairs.values()) / (len(rows) * (len(rows) - 1))
    return {pair: d / mu for pair, d in pairs.items()}


def test_the_relational_distance_is_hubers_loss_of_distances_in_units_of_their_mean():
    s, t = (relative_distances(side.tolist()) for side in ROWS)
    expected = sum(huber(s[pair] - t[pair]) for pair in s) / 25
    assert relational_distance_loss(*ROWS).item() == pytest.approx(expected, rel=1e-12)


def cosine(rows: list, i: int, j: int, k: int) -> float:
    if j in (i, k):
        return 0.0
    a, b = ([x - y for x, y in zip(rows[end], rows[j], strict=True)] for end in (i, k))
    return dot(a, b) / (norm(a) * norm(b))


def test_the_relational_angle_is_hubers_loss_of_the_cosines_at_the_middle_embedding():
    s, t = (side.tolist() for side in ROWS)
    places = [(i, j, k) for i in range(5) for j in range(5) for k in range(5)]
    expected = sum(huber(cosine(s, *ijk) - cosine(t, *ijk)) for ijk in places) / 125
    assert relational_angle_loss(*ROWS).item() == pytest.approx(expected, rel=1e-12)


def test_similarity_preserving_is_the_distance_of_the_row_normalised_tables():
    tables = []
    for side in MAPS:
        a = side.flatten(1).tolist()
        g = [[dot(x, y) for y in a] for x in a]
        tables.append([[value / norm(row) for value in row] for row in g])
    expected = sum((tables[0][i][j] - tables[1][i][j]) ** 2 for i in range(4) for j in range(4)) / 16
    assert similarity_preserving_loss(*MAPS).item() == pytest.approx(expected, rel=1e-12)


# Published implementations' definitions


def test_relational_losses_equal_the_authors_definition():
    student, teacher = (side.float() for side in ROWS)

    def by_authors(e):
        square = e.pow(2).sum(1)
        d = (square[:, None] + square[None] - 2 * e @ e.T).clamp(min=1e-12).sqrt() * (1 - torch.eye(len(e)))
        towards = F.normalize(e[None] - e[:, None], dim=2)
        return d / d[d > 0].mean(), torch.bmm(towards, towards.transpose(1, 2))

    (d_s, a_s), (d_t, a_t) = by_authors(student), by_authors(teacher)
    torch.testing.assert_close(
        relational_distance_loss(student, teacher), F.smooth_l1_loss(d_s, d_t), rtol=1e-4, atol=0
    )
    torch.testing.assert_close(relational_angle_loss(student, teacher), F.smooth_l1_loss(a_s, a_t), rtol=1e-4, atol=0)


def test_attention_and_similarity_equal_the_published_codes_definition():
    student, teacher = MAPS
    s, t = (F.normalize(side.pow(2).mean(1).flatten(1)) for side in MAPS)
    torch.testing.assert_close(attention_transfer_loss(student, teacher), (s - t).pow(2).mean())
    s, t = (F.normalize(side.flatten(1) @ side.flatten(1).T) for side in MAPS)
    torch.testing.assert_close(similarity_preserving_loss(student, teacher), (s - t).pow(2).sum() / 16)


# Four numbers by hand


def test_four_pixels_by_hand():
    image = torch.tensor([[[[1.0, 0.0], [0.0, 2.0]], [[-2.0, 0.0], [1.0, 0.0]]]])
    expected = torch.tensor([[5.0, 0.0, 1.0, 4.0]]) / math.sqrt(42)
    torch.testing.assert_close(attention_map(image), expected)


def test_four_points_by_hand():
    # A square of side 1, and the same points on a line: see the chapter.
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]).double()
    line = torch.tensor([[0.0], [1], [2], [3]]).double()
    mu_square, mu_line = (4 + 2 * math.sqrt(2)) / 6, 10 / 6
    pairs = [(1, 1), (math.sqrt(2), 2), (1, 3), (1, 1), (math.sqrt(2), 2), (1, 1)]
    expected = 2 * sum(huber(a / mu_square - b / mu_line) for a, b in pairs) / 16
    assert relational_distance_loss(line, square).item() == pytest.approx(expected)


# What each method promises not to see


@LOSS
def test_equal_features_cost_nothing_and_different_ones_something(loss, pair):
    student, _ = pair
    if isinstance(loss, Hint):
        assert loss(student, loss.projection(student)).item() == pytest.approx(0, abs=1e-20)
    else:
        assert loss(student, student).item() == pytest.approx(0, abs=1e-20)
    assert loss(*pair).item() > 1e-4


@WITHOUT_HINT
@pytest.mark.parametrize("factor", [1e-30, 1e-3, 7.0, 1e30])
def test_scale_means_nothing_even_where_squares_would_overflow(loss, pair, factor):
    student, teacher = (side.float() for side in pair)
    plain = loss(student, teacher)
    torch.testing.assert_close(loss(factor * student, teacher), plain, rtol=1e-5, atol=0)
    torch.testing.assert_close(loss(student, factor * teacher), plain, rtol=1e-5, atol=0)


def test_attention_ignores_the_order_of_channels_and_their_signs():
    student, teacher = MAPS
    changed = student[:, [2, 0, 1]] * torch.tensor([1, -1, 1])[None, :, None, None]
    for power, form in ((1, "sum"), (2, "sum"), (3, "max")):
        options = {"power": power, "form": form}
        expected = attention_transfer_loss(student, teacher, **options)
        torch.testing.assert_close(attention_transfer_loss(changed, teacher, **options), expected)


def test_attention_maps_have_unit_norm_and_a_large_power_finds_the_peak():
    for power in (1, 2, 8):
        torch.testing.assert_close(attention_map(MAPS[0], power=power).norm(dim=1), torch.ones(4).double())
    peak = attention_map(MAPS[0], power=500, form="max").argmax(1)
    assert torch.equal(peak, MAPS[0].abs().amax(1).flatten(1).argmax(1))


@pytest.mark.parametrize("loss", [relational_distance_loss, relational_angle_loss])
def test_relations_ignore_rotation_mirror_shift_and_scale_of_either_side(loss):
    student, teacher = ROWS
    for side in (student, teacher):
        turn, _ = torch.linalg.qr(draw(side.shape[1], side.shape[1], seed=5))
        assert torch.allclose(turn @ turn.T, torch.eye(side.shape[1]).double())
    turns = [torch.linalg.qr(draw(side.shape[1], side.shape[1], seed=5))[0] for side in ROWS]
    moved = [3 * side @ turn + draw(side.shape[1], seed=6) for side, turn in zip(ROWS, turns, strict=True)]
    torch.testing.assert_close(loss(moved[0], teacher), loss(student, teacher))
    torch.testing.assert_close(loss(student, moved[1]), loss(student, teacher))
    stretched = student * torch.tensor([1.0, 5.0, 1.0])
    assert abs(loss(stretched, teacher) - loss(student, teacher)) > 1e-3


def test_similarity_ignores_orthogonal_maps_but_not_a_shift():
    student, teacher = ROWS
    turn, _ = torch.linalg.qr(draw(3, 3, seed=7))
    plain = similarity_preserving_loss(student, teacher)
    torch.testing.assert_close(similarity_preserving_loss(student @ turn, teacher), plain)
    assert abs(similarity_preserving_loss(student + 3, teacher) - plain) > 1e-3


@WITHOUT_HINT
def test_the_order_of_the_batch_means_nothing_but_a_mixed_up_teacher_costs(loss, pair):
    student, teacher = pair
    order = torch.randperm(len(student), generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(loss(student[order], teacher[order]), loss(student, teacher))
    assert abs(loss(student, teacher[order]) - loss(student, teacher)) > 1e-4


# Gradients


@LOSS
def test_gradients_agree_with_finite_differences(loss, pair):
    student, teacher = pair
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher), (student.clone().requires_grad_(),))


@pytest.mark.parametrize("options", [{"distance": "norm"}, {"power": 1}, {"power": 3, "form": "max"}])
def test_gradients_of_each_form_of_attention_agree_with_finite_differences(options):
    student, teacher = MAPS
    loss = lambda s: attention_transfer_loss(s, teacher, **options)  # noqa: E731
    assert torch.autograd.gradcheck(loss, (student.clone().requires_grad_(),))


def test_the_hints_projection_gets_the_gradient_of_its_mean_square():
    hint, (student, teacher) = Hint(3, 5).double(), MAPS
    hint(student, teacher).backward()
    gap = (hint.projection(student) - teacher).detach()
    expected = 2 * torch.einsum("bohw,bchw->oc", gap, student) / gap.numel()
    torch.testing.assert_close(hint.projection.weight.grad[:, :, 0, 0], expected)
    assert [name for name, _ in hint.named_parameters()] == ["projection.weight"]


@LOSS
def test_the_teacher_never_gets_a_gradient(loss, pair):
    student, teacher = (side.clone().requires_grad_() for side in pair)
    loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("loss", [relational_distance_loss, relational_angle_loss, similarity_preserving_loss])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_coinciding_embeddings_and_empty_rows_have_a_moderate_gradient(loss, dtype):
    student, teacher = (side.to(dtype).clone() for side in ROWS)
    for rows in (torch.stack([student[0], student[0], *student[2:]]), torch.cat([student[:4], 0 * student[:1]])):
        rows.requires_grad_()
        value = loss(rows, teacher)
        value.backward()
        assert value.isfinite()
        assert rows.grad.isfinite().all()
        assert rows.grad.abs().max() < 10


def test_a_difference_that_is_only_rounding_is_no_direction():
    student = torch.stack([*ROWS[0][:4], ROWS[0][0]]).float()
    student[4, 0] = torch.nextafter(student[0, 0], torch.tensor(9.0))
    student.requires_grad_()
    relational_angle_loss(student, ROWS[1].float()).backward()
    assert student.grad.abs().max() < 10


@pytest.mark.parametrize("loss", [relational_distance_loss, relational_angle_loss, similarity_preserving_loss])
def test_a_collapsed_student_costs_something_and_breaks_nothing(loss):
    student = torch.zeros(5, 3).requires_grad_()
    value = loss(student, ROWS[1].float())
    value.backward()
    assert value > 0
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("power", [1, 2])
def test_a_dead_map_gives_zeros_and_no_gradient(power):
    student, teacher = (side.clone() for side in MAPS)
    student[1] = 0
    student.requires_grad_()
    assert not attention_map(student, power=power)[1].any()
    attention_transfer_loss(student, teacher, power=power).backward()
    assert student.grad.isfinite().all()
    assert not student.grad[1].any()


# Shapes


def test_a_larger_teacher_is_averaged_over_blocks_for_the_hint():
    hint, student, teacher = Hint(3, 5).double(), draw(2, 3, 4, 4), draw(2, 5, 8, 12, seed=1)
    blocks = teacher.reshape(2, 5, 4, 2, 4, 3).mean((3, 5))
    torch.testing.assert_close(hint(student, teacher), hint(student, blocks))


def test_the_larger_attention_is_averaged_whichever_side_it_is():
    small, large = draw(2, 3, 4, 4), draw(2, 5, 8, 8, seed=1)
    blocks = large.square().sum(1).reshape(2, 4, 2, 4, 2).mean((2, 4)).flatten(1)
    expected = (F.normalize(blocks) - attention_map(small)).square().mean()
    torch.testing.assert_close(attention_transfer_loss(small, large), expected)
    torch.testing.assert_close(attention_transfer_loss(large, small), expected)


def test_similarity_compares_layers_of_any_shape():
    assert similarity_preserving_loss(draw(4, 3, 5, 2), draw(4, 7)) > 0


# Number formats


@LOSS
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_and_float64_stays(loss, pair, dtype):
    loss = Hint(3, 5) if isinstance(loss, Hint) else loss
    student, teacher = (side.to(dtype) for side in pair)
    value = loss(student, teacher)
    assert value.dtype == torch.float32
    assert torch.equal(value, loss(student.float(), teacher.float()))
    assert loss(*pair).dtype == torch.float64


@LOSS
def test_autocast_does_not_lower_the_precision(loss, pair):
    loss = Hint(3, 5) if isinstance(loss, Hint) else loss
    student, teacher = (side.float() for side in pair)
    plain = loss(student, teacher)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(student, teacher), plain)


# Refusals


@LOSS
def test_batches_of_different_images_are_refused(loss, pair):
    with pytest.raises(ValueError, match="same batch, got 3 and"):
        loss(pair[0][:3], pair[1])


@LOSS
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_result_that_is_not_finite_names_its_cause(loss, pair, value):
    for side, name in enumerate(("student", "teacher")):
        broken = [features.clone() for features in pair]
        broken[side][1].view(-1)[0] = value
        with pytest.raises(ValueError, match=rf"{name} must be finite, got NaN or ±inf in 1 of \d rows"):
            loss(*broken)


def test_a_hint_that_overflows_says_how_large_the_features_are():
    with pytest.raises(ValueError, match=r"overflowed: student up to .*, teacher up to 1e\+30"):
        Hint(3, 5)(draw(2, 3, 4, 4, dtype=torch.float32), torch.full((2, 5, 4, 4), 1e30))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Hint(0, 5), "channels must be ≥ 1, got 0 and 5"),
        (lambda: Hint(4, 5)(*MAPS), "student must have 4 channels, got 3"),
        (lambda: Hint(3, 4)(*MAPS), "teacher must have 4 channels, got 5"),
        (lambda: Hint(3, 5)(MAPS[0], draw(4, 5, 2, 2)), "map of 2×2 must be a whole multiple of the other's 4×4"),
        (lambda: Hint(3, 5)(MAPS[0], draw(4, 5, 6, 6)), "map of 6×6 must be a whole multiple"),
        (lambda: Hint(3, 5)(ROWS[0], ROWS[1]), r"student must be \(B, C, H, W\) and not empty, got \(5, 3\)"),
        (lambda: attention_map(ROWS[0]), r"features must be \(B, C, H, W\)"),
        (lambda: attention_map(MAPS[0], power=0.5), "power must be finite and ≥ 1, got 0.5"),
        (lambda: attention_map(MAPS[0], power=math.nan), "power must be finite"),
        (lambda: attention_map(MAPS[0], form="mean"), '"sum" or "max", got \'mean\''),
        (lambda: attention_map((9 * MAPS[0]).long()), "features must be floating point, got torch.int64"),
        (lambda: attention_transfer_loss(MAPS[0], draw(4, 5, 6, 6)), "teacher's map of 6×6"),
        (lambda: attention_transfer_loss(draw(4, 3, 6, 6), MAPS[1]), "student's map of 6×6"),
        (lambda: attention_transfer_loss(*MAPS, distance="l2"), "distance must be"),
        (lambda: relational_distance_loss(*MAPS), r"student must be \(B, D\)"),
        (lambda: relational_distance_loss(ROWS[0][:1], ROWS[1][:1]), "at least 2 images are needed .* got 1"),
        (lambda: relational_angle_loss(ROWS[0][:2], ROWS[1][:2]), "at least 3 images are needed .* got 2"),
        (lambda: similarity_preserving_loss(MAPS[0][:1], MAPS[1][:1]), "at least 2 images are needed .* got 1"),
        (lambda: similarity_preserving_loss(draw(4), draw(4)), r"student must be \(B, …\)"),
        (lambda: relational_angle_loss(torch.empty(0, 3), torch.empty(0, 3)), "not empty"),
    ],
)
def test_wrong_arguments_are_refused_with_what_was_seen(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_something_else_than_a_tensor_is_refused():
    with pytest.raises(TypeError, match="must be tensors"):
        relational_distance_loss([[0.0, 1.0]], ROWS[1])
