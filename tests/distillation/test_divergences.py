"""Entropy, cross-entropy, KL and JS equal SciPy's and loops by hand; gradients equal their closed forms."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

from course_lib import distillation
from course_lib.distillation import (
    cross_entropy,
    cross_entropy_from_logits,
    divergences,
    entropy,
    entropy_from_logits,
    js_divergence,
    js_from_logits,
    kl_divergence,
    kl_from_logits,
)

FROM_LOGITS = {entropy: entropy_from_logits, cross_entropy: cross_entropy_from_logits}
FROM_LOGITS |= {kl_divergence: kl_from_logits, js_divergence: js_from_logits}
PAIRS = [cross_entropy, kl_divergence, js_divergence]
BY_NAME = {"ids": lambda function: function.__name__}


def logits(shape=(7, 5), seed: int = 0, dtype=torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(3 * torch.randn(shape, generator=generator, dtype=dtype) for _ in range(2))


def distributions(**options) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(F.softmax(z, -1) for z in logits(**options))


def arguments(function, *pair):
    return pair[: sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in inspect.signature(function).parameters.values())]


def by_hand(name: str, p: list[float], q: list[float]) -> float:
    """Loops over plain floats; 0·log 0 = 0."""
    h = -sum(a * math.log(a) for a in p if a > 0)
    ce = sum((-a * math.log(b) if b > 0 else math.inf) for a, b in zip(p, q, strict=True) if a > 0)
    m = [(a + b) / 2 for a, b in zip(p, q, strict=True)]
    js = sum(
        0.5 * a * math.log(a / c)
        for one in (p, q)
        for a, c in zip(one, m, strict=True)
        if a > 0
    )  # fmt: skip
    return {"entropy": h, "cross_entropy": ce, "kl_divergence": ce - h, "js_divergence": js}[name]


@pytest.mark.parametrize("function", FROM_LOGITS, **BY_NAME)
def test_each_function_equals_the_loop_by_hand_on_distributions_and_on_logits(function):
    z, w = logits()
    expected = torch.tensor(
        [
            by_hand(function.__name__, *pair)
            for pair in zip(z.softmax(-1).tolist(), w.softmax(-1).tolist(), strict=True)
        ],
        dtype=torch.float64,
    )
    torch.testing.assert_close(function(*arguments(function, z.softmax(-1), w.softmax(-1))), expected)
    torch.testing.assert_close(FROM_LOGITS[function](*arguments(function, z, w)), expected)


def test_each_function_equals_scipy():
    p, q = distributions()
    rows = list(zip(p.numpy(), q.numpy(), strict=True))
    close = torch.testing.assert_close
    close(entropy(p), torch.tensor([scipy.stats.entropy(a) for a, _ in rows]))
    close(entropy(p, unit="bits"), torch.tensor([scipy.stats.entropy(a, base=2) for a, _ in rows]))
    close(kl_divergence(p, q), torch.tensor([scipy.stats.entropy(a, b) for a, b in rows]))
    close(js_divergence(p, q), torch.tensor([scipy.spatial.distance.jensenshannon(a, b) ** 2 for a, b in rows]))


def test_each_function_equals_torch():
    z, w = logits()
    p, q = (torch.distributions.Categorical(logits=x) for x in (z, w))
    close = torch.testing.assert_close
    close(entropy_from_logits(z), p.entropy())
    close(kl_from_logits(z, w), torch.distributions.kl_divergence(p, q))
    close(cross_entropy_from_logits(z, w), F.cross_entropy(w, z.softmax(-1), reduction="none"))
    log_p, log_q = z.log_softmax(-1), w.log_softmax(-1)
    close(kl_from_logits(z, w), F.kl_div(log_q, log_p, log_target=True, reduction="none").sum(-1))


def closed_forms(z, w):
    """(gradient with respect to z, to w) of each function of logits, as its docstring states them."""
    p, q = z.softmax(-1), w.softmax(-1)
    m = (p + q) / 2
    h = -(p * p.log()).sum(-1, keepdim=True)
    ce = -(p * q.log()).sum(-1, keepdim=True)
    kl_pm, kl_qm = ((a * (a / m).log()).sum(-1, keepdim=True) for a in (p, q))
    return {
        entropy_from_logits: (p * (-p.log() - h),),
        cross_entropy_from_logits: (p * (-q.log() - ce), q - p),
        kl_from_logits: (p * (p.log() - q.log() - (ce - h)), q - p),
        js_from_logits: (p * ((p / m).log() - kl_pm) / 2, q * ((q / m).log() - kl_qm) / 2),
    }


@pytest.mark.parametrize("unit", ["nats", "bits"])
@pytest.mark.parametrize("function", FROM_LOGITS.values(), **BY_NAME)
def test_autograd_finds_the_gradient_that_the_docstring_derives(function, unit):
    pair = [x.requires_grad_() for x in arguments(function, *logits())]
    function(*pair, unit=unit).sum().backward()
    scale = math.log(2) if unit == "bits" else 1.0
    for x, expected in zip(pair, closed_forms(*(x.detach() for x in logits()))[function], strict=True):
        torch.testing.assert_close(x.grad, expected / scale, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("function", FROM_LOGITS.values(), **BY_NAME)
def test_the_gradient_with_respect_to_logits_agrees_with_finite_differences(function):
    assert gradcheck(function, [x.requires_grad_() for x in arguments(function, *logits((3, 4)))], atol=1e-7)


@pytest.mark.parametrize("function", FROM_LOGITS, **BY_NAME)
def test_the_gradient_with_respect_to_distributions_passes_through_a_softmax(function):
    # Only together with a softmax does a finite step stay on distributions.
    def composed(*pair):
        return function(*(x.softmax(-1) for x in pair))

    assert gradcheck(composed, [x.requires_grad_() for x in arguments(function, *logits((3, 4)))], atol=1e-7)


@pytest.mark.parametrize("function", FROM_LOGITS.values(), **BY_NAME)
def test_gradients_with_respect_to_logits_sum_to_zero_since_a_shift_changes_nothing(function):
    pair = [x.requires_grad_() for x in arguments(function, *logits())]
    value = function(*pair)
    value.sum().backward()
    assert max(x.grad.sum(-1).abs().max().item() for x in pair) < 1e-12
    torch.testing.assert_close(value, function(*(x + 50 for x in pair)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("function", FROM_LOGITS.values(), **BY_NAME)
def test_logits_of_ten_thousand_give_finite_values_and_gradients(function, dtype):
    rows = ([[1e4, -1e4, 0.0], [1e4, 1e4, 1e4]], [[-1e4, 1e4, 0.0], [-1e4, -1e4, 1e4]])
    pair = [x.requires_grad_() for x in arguments(function, *(torch.tensor(r, dtype=dtype) for r in rows))]
    value = function(*pair)
    value.sum().backward()
    assert value.isfinite().all()
    assert all(x.grad.isfinite().all() for x in pair)


def test_the_price_of_a_sure_wrong_answer_is_the_distance_of_the_logits():
    z, w = torch.tensor([1e4, -1e4]), torch.tensor([-1e4, 1e4])
    assert kl_from_logits(z, w).item() == 20_000
    assert cross_entropy_from_logits(z, w).item() == 20_000
    assert js_from_logits(z, w).item() == pytest.approx(math.log(2))
    assert entropy_from_logits(z).item() == 0


ZEROS = torch.tensor([[0.5, 0.5, 0.0, 0.0], [1.0, 0, 0, 0]], dtype=torch.float64)
OTHER = torch.tensor([[0.25, 0.75, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]], dtype=torch.float64)


def test_exact_zeros_count_nothing_and_leave_finite_gradients():
    p, q = ZEROS.clone().requires_grad_(), OTHER.clone().requires_grad_()
    for function in FROM_LOGITS:
        value = function(*arguments(function, p, q))
        expected = [by_hand(function.__name__, *pair) for pair in zip(ZEROS.tolist(), OTHER.tolist(), strict=True)]
        assert value.tolist() == pytest.approx(expected)
        value.sum().backward()
    assert p.grad.isfinite().all()
    assert q.grad.isfinite().all()


def test_what_q_calls_impossible_and_p_does_not_costs_infinitely_much_and_only_there():
    p, q = torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert cross_entropy(p, q).tolist() == [math.inf, 0]
    assert kl_divergence(p, q).tolist() == [math.inf, 0]
    assert js_divergence(p, q).isfinite().all()


def test_the_slope_at_a_probability_of_zero_is_the_code_length():
    p, q = torch.tensor([1.0, 0.0], requires_grad=True), torch.tensor([0.25, 0.75])
    cross_entropy(p, q).backward()
    torch.testing.assert_close(p.grad, -q.log())


def test_distributions_of_known_entropy():
    assert entropy(torch.full((8,), 1 / 8), unit="bits").item() == pytest.approx(3)
    assert entropy(torch.tensor([0.5, 0.25, 0.125, 0.125]), unit="bits").item() == pytest.approx(1.75)
    assert entropy(torch.tensor([1.0])).item() == 0
    assert entropy_from_logits(torch.zeros(43)).item() == pytest.approx(math.log(43))


def test_cross_entropy_is_entropy_plus_kl_and_never_less_than_entropy():
    p, q = distributions(shape=(50, 6))
    torch.testing.assert_close(cross_entropy(p, q), entropy(p) + kl_divergence(p, q))
    assert (kl_divergence(p, q) > 0).all()
    torch.testing.assert_close(kl_divergence(p, p), torch.zeros(50, dtype=p.dtype))


def test_js_is_symmetric_and_at_most_one_bit_and_kl_is_neither():
    p, q = distributions(shape=(50, 6))
    torch.testing.assert_close(js_divergence(p, q), js_divergence(q, p))
    assert js_divergence(p, q, unit="bits").max() < 1
    apart = js_divergence(torch.tensor([1.0, 0]), torch.tensor([0, 1.0]), unit="bits")
    assert apart.item() == pytest.approx(1)
    assert not torch.allclose(kl_divergence(p, q), kl_divergence(q, p), rtol=0.1)


@pytest.mark.parametrize("function", FROM_LOGITS, **BY_NAME)
def test_a_bit_is_ln_2_nats(function):
    z, w = logits()
    for f, pair in ((function, (z.softmax(-1), w.softmax(-1))), (FROM_LOGITS[function], (z, w))):
        pair = arguments(f, *pair)
        torch.testing.assert_close(f(*pair, unit="bits") * math.log(2), f(*pair))
        assert torch.equal(f(*pair, unit="nats"), f(*pair))


@pytest.mark.parametrize("shape", [(5,), (2, 3, 5), (4, 1)])
@pytest.mark.parametrize("function", FROM_LOGITS, **BY_NAME)
def test_the_last_axis_is_summed_and_all_others_stay(function, shape):
    z, w = logits(shape)
    assert FROM_LOGITS[function](*arguments(function, z, w)).shape == shape[:-1]
    found = function(*arguments(function, z.softmax(-1), w.softmax(-1)))
    rows = zip(z.softmax(-1).view(-1, shape[-1]).tolist(), w.softmax(-1).view(-1, shape[-1]).tolist(), strict=True)
    np.testing.assert_allclose(found.flatten(), [by_hand(function.__name__, p, q) for p, q in rows], atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "returned", "tolerance"),
    [
        (torch.float64, torch.float64, 1e-12),
        (torch.float32, torch.float32, 1e-5),
        (torch.float16, torch.float32, 2e-2),  # eps 0.001 in each of 43 probabilities
        (torch.bfloat16, torch.float32, 0.1),  # eps 0.008
    ],
)
@pytest.mark.parametrize("function", FROM_LOGITS, **BY_NAME)
def test_every_float_type_is_taken_and_half_precision_is_computed_in_float32(function, dtype, returned, tolerance):
    z, w = logits((6, 43))
    exact = function(*arguments(function, z.softmax(-1), w.softmax(-1)))
    for f, pair in ((function, (z.softmax(-1), w.softmax(-1))), (FROM_LOGITS[function], (z, w))):
        found = f(*arguments(f, *(x.to(dtype) for x in pair)))
        assert found.dtype == returned
        np.testing.assert_allclose(found.double(), exact, rtol=tolerance, atol=tolerance)


GOOD = torch.tensor([[0.5, 0.5], [0.1, 0.9]])
BAD = {
    "negative": (torch.tensor([[0.5, 0.5], [-0.1, 1.1]]), r"must be ≥ 0, got -0\.1 .*from_logits"),
    "sum": (torch.tensor([[0.5, 0.5], [0.1, 0.8]]), r"must sum to 1 along the last axis, .* off by 0\.1"),
    "nan": (torch.tensor([[0.5, 0.5], [math.nan, 1.0]]), "must be finite"),
    "inf": (torch.tensor([[0.5, 0.5], [math.inf, 1.0]]), "must be finite"),
    "integers": (torch.tensor([[1, 0], [0, 1]]), "must be floating point, got torch.int64"),
    "empty": (torch.zeros(2, 0), r"at least one value, got shape \(2, 0\)"),
    "scalar": (torch.tensor(1.0), "at least one value"),
    "shape": (torch.tensor([0.5, 0.5]), r"must have one shape, got \(2,\) and \(2, 2\)"),
}


@pytest.mark.parametrize(("bad", "words"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("function", PAIRS, **BY_NAME)
def test_what_is_no_distribution_is_refused_whichever_argument_it_is(function, bad, words):
    for name, pair in {"p": (bad, GOOD), "q": (GOOD, bad)}.items():
        with pytest.raises(ValueError, match=words) as refusal:
            function(*pair)
        assert name in str(refusal.value).split(" must ")[0]


@pytest.mark.parametrize("kind", ["nan", "inf", "integers", "empty", "shape"])
@pytest.mark.parametrize("function", PAIRS, **BY_NAME)
def test_broken_logits_are_refused_by_name(function, kind):
    bad, words = BAD[kind]
    for name, pair in {"p_logits": (bad, GOOD), "q_logits": (GOOD, bad)}.items():
        with pytest.raises(ValueError, match=words) as refusal:
            FROM_LOGITS[function](*pair)
        assert name in str(refusal.value).split(" must ")[0]


def test_a_list_and_an_unknown_unit_are_refused():
    with pytest.raises(TypeError, match=r"p must be a torch.Tensor, got list"):
        entropy([0.5, 0.5])
    with pytest.raises(TypeError, match=r"logits must be a torch.Tensor, got list"):
        entropy_from_logits([0.5, 0.5])
    for function in (*FROM_LOGITS, *FROM_LOGITS.values()):
        with pytest.raises(ValueError, match=r"unit must be 'nats' or 'bits', got 'shannon'"):
            function(*arguments(function, GOOD, GOOD), unit="shannon")


def test_the_package_exports_all_of_them():
    for function in (*FROM_LOGITS, *FROM_LOGITS.values()):
        assert getattr(distillation, function.__name__) is function is getattr(divergences, function.__name__)
