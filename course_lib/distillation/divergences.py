"""How much two distributions differ: entropy, cross-entropy, KL and Jensen–Shannon, with their gradients.

A code that is made for the distribution q spends −log₂ qᵢ bits on outcome i. If outcomes come from p, then

    H(p)     = −Σ pᵢ log pᵢ          is the mean price with the right code, and the lowest there is,
    CE(p, q) = −Σ pᵢ log qᵢ          is the mean price with the code of q,
    KL(p‖q)  = CE(p, q) − H(p) ≥ 0   is what is paid in excess,
    JS(p, q) = ½ KL(p‖m) + ½ KL(q‖m) with m = (p + q)/2 is symmetric and at most one bit.

**All gradients follow from one line.** Let p = softmax(z), so that log pᵢ = zᵢ − log Σⱼ exp zⱼ. With δᵢₖ = 1 if i = k
and 0 otherwise,

    ∂ log pᵢ/∂zₖ = δᵢₖ − pₖ,     ∂pᵢ/∂zₖ = pᵢ·(δᵢₖ − pₖ),

and for a function g of p with slopes fᵢ = ∂g/∂pᵢ, by the chain rule,

    ∂g/∂zₖ = Σᵢ fᵢ pᵢ (δᵢₖ − pₖ) = pₖ·(fₖ − Σᵢ pᵢ fᵢ):     the slope, less its mean, times the probability.   (*)

A constant added to all fᵢ drops out. Each function below names its fᵢ; autograd then computes what the docstring says.

**Conventions.** The distribution lies on the last axis, (…, C) → (…): nothing is averaged over a batch. 0·log 0 is 0;
an outcome with pᵢ > 0 and qᵢ = 0 costs +∞. The functions ``…_from_logits`` never leave log-space: log pᵢ comes from
``log_softmax``, which subtracts the largest logit, so logits of ±10⁴ give finite values and gradients, where
``softmax(z).log()`` gives −∞ and then NaN. float16 and bfloat16 are computed in float32; float64 stays. KL and JS of
nearly equal distributions are small differences: rounding leaves an error of about eps, which may be below 0. They are
not clamped at 0, because a clamp would erase the gradient too.

Sources: Shannon 1948, "A mathematical theory of communication"; Kullback & Leibler 1951, section 2; Lin 1991,
"Divergence measures based on the Shannon entropy", section IV. torch.nn.functional.kl_div takes the *logarithm* of the
second distribution first and averages as its ``reduction`` says; here arguments stand in the order of the formula.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Unit = Literal["nats", "bits"]
_NATS = {"nats": 1.0, "bits": math.log(2)}


def entropy(p: Tensor, *, unit: Unit = "nats") -> Tensor:
    """H(p) = −Σ pᵢ log pᵢ, in [0, log C].

    Args:
        p: (…, C), float, ≥ 0, each row summing to 1.
        unit: "nats" (natural logarithm) or "bits" (base 2).
    Returns: (…), float32 or float64.
    Raises: TypeError: p is no tensor; ValueError: p is no distribution, or the unit is unknown.
    Source: Shannon 1948, section 6. Matches: scipy.stats.entropy(p).

    >>> entropy(torch.tensor([0.5, 0.25, 0.25]), unit="bits").item()
    1.5
    """
    (p,) = _distributions(p=p)
    return -_weighted(p, _log(p, p == 0)) / _nats(unit)


def cross_entropy(p: Tensor, q: Tensor, *, unit: Unit = "nats") -> Tensor:
    """CE(p, q) = −Σ pᵢ log qᵢ = H(p) + KL(p‖q); +∞ if some pᵢ > 0 has qᵢ = 0.

    Args: p, q: (…, C), one shape, float, ≥ 0, rows summing to 1. unit: "nats" or "bits".
    Returns: (…), float32 or float64.
    Raises: TypeError, ValueError: as ``entropy``, or unequal shapes.
    Matches: torch.nn.functional.cross_entropy(log q, p), which takes q's logits and allows p that sum to anything.

    >>> cross_entropy(torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.5, 0.25]), unit="bits").item()
    1.75
    >>> cross_entropy(torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.0])).item()
    inf
    """
    p, q = _distributions(p=p, q=q)
    return -_weighted(p, _log(q, (p == 0) & (q == 0))) / _nats(unit)


def kl_divergence(p: Tensor, q: Tensor, *, unit: Unit = "nats") -> Tensor:
    """KL(p‖q) = Σ pᵢ (log pᵢ − log qᵢ) ≥ 0, 0 only for p = q; not symmetric; +∞ if some pᵢ > 0 has qᵢ = 0.

    Args: p, q: (…, C), one shape, float, ≥ 0, rows summing to 1. unit: "nats" or "bits".
    Returns: (…), float32 or float64.
    Raises: TypeError, ValueError: as ``entropy``, or unequal shapes.
    Source: Kullback & Leibler 1951, section 2. Matches: scipy.stats.entropy(p, q), torch.distributions.kl_divergence.

    >>> kl_divergence(torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.5, 0.25]), unit="bits").item()
    0.25
    """
    p, q = _distributions(p=p, q=q)
    return _weighted(p, _log(p, p == 0) - _log(q, (p == 0) & (q == 0))) / _nats(unit)


def js_divergence(p: Tensor, q: Tensor, *, unit: Unit = "nats") -> Tensor:
    """JS(p, q) = ½ KL(p‖m) + ½ KL(q‖m), m = (p + q)/2; symmetric, in [0, log 2], finite for all p and q.

    Args: p, q: (…, C), one shape, float, ≥ 0, rows summing to 1. unit: "nats" or "bits".
    Returns: (…), float32 or float64.
    Raises: TypeError, ValueError: as ``entropy``, or unequal shapes.
    Source: Lin 1991, section IV, with weights ½.
    Matches: scipy.spatial.distance.jensenshannon(p, q), which is its root, squared.

    >>> js_divergence(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), unit="bits").item()
    1.0
    """
    p, q = _distributions(p=p, q=q)
    m = (p + q) / 2
    log_m = _log(m, m == 0)
    total = _weighted(p, _log(p, p == 0) - log_m) + _weighted(q, _log(q, q == 0) - log_m)
    return total / (2 * _nats(unit))


def entropy_from_logits(logits: Tensor, *, unit: Unit = "nats") -> Tensor:
    """H(p) of p = softmax(z).

    Gradient: ∂H/∂pᵢ = −log pᵢ − 1. By (*), where the −1 drops out and Σ pᵢ(−log pᵢ) = H,

        ∂H/∂zₖ = pₖ·(−log pₖ − H):     raising a logit raises the entropy where the outcome is rarer than usual.

    Args: logits: z, (…, C), float, finite. unit: "nats" or "bits" (which divides value and gradient by ln 2).
    Returns: (…), float32 or float64.
    Raises: TypeError: logits are no tensor; ValueError: not floating point, not finite, no classes, unknown unit.
    Matches: torch.distributions.Categorical(logits=logits).entropy().

    >>> round(entropy_from_logits(torch.tensor([0.0, math.log(3)]), unit="bits").item(), 4)
    0.8113
    """
    (log_p,) = _log_softmax(logits=logits)
    return -(log_p.exp() * log_p).sum(-1) / _nats(unit)


def cross_entropy_from_logits(p_logits: Tensor, q_logits: Tensor, *, unit: Unit = "nats") -> Tensor:
    """CE(p, q) of p = softmax(z), q = softmax(w).

    Gradient with respect to w: only log qᵢ depends on it, and ∂ log qᵢ/∂wₖ = δᵢₖ − qₖ. With Σ pᵢ = 1,

        ∂CE/∂wₖ = −Σᵢ pᵢ (δᵢₖ − qₖ) = qₖ − pₖ.

    With respect to z: ∂CE/∂pᵢ = −log qᵢ, so by (*)

        ∂CE/∂zₖ = pₖ·(−log qₖ − CE).

    Args: p_logits, q_logits: z and w, (…, C), one shape, float, finite. unit: "nats" or "bits".
    Returns: (…), float32 or float64.
    Raises: TypeError, ValueError: as ``entropy_from_logits``, or unequal shapes.
    Matches: torch.nn.functional.cross_entropy(w, softmax(z), reduction="none").

    >>> round(cross_entropy_from_logits(torch.tensor([0.0, 0.0]), torch.tensor([1e4, 0.0])).item(), 4)
    5000.0
    """
    log_p, log_q = _log_softmax(p_logits=p_logits, q_logits=q_logits)
    return -(log_p.exp() * log_q).sum(-1) / _nats(unit)


def kl_from_logits(p_logits: Tensor, q_logits: Tensor, *, unit: Unit = "nats") -> Tensor:
    """KL(p‖q) of p = softmax(z), q = softmax(w).

    Gradient with respect to w: KL = CE − H, and H(p) does not contain w. With respect to z: the gradients of CE and H
    above, subtracted; H cancels into KL = CE − H.

        ∂KL/∂wₖ = qₖ − pₖ,     ∂KL/∂zₖ = pₖ·(log pₖ − log qₖ − KL).

    Args: p_logits, q_logits: z and w, (…, C), one shape, float, finite. unit: "nats" or "bits".
    Returns: (…), float32 or float64.
    Raises: TypeError, ValueError: as ``entropy_from_logits``, or unequal shapes.
    Matches: torch.nn.functional.kl_div(log q, log p, log_target=True, reduction="none").sum(-1).

    >>> round(kl_from_logits(torch.tensor([0.0, 0.0]), torch.tensor([0.0, math.log(3)]), unit="bits").item(), 4)
    0.2075
    """
    log_p, log_q = _log_softmax(p_logits=p_logits, q_logits=q_logits)
    return (log_p.exp() * (log_p - log_q)).sum(-1) / _nats(unit)


def js_from_logits(p_logits: Tensor, q_logits: Tensor, *, unit: Unit = "nats") -> Tensor:
    """JS(p, q) of p = softmax(z), q = softmax(w), with m = (p + q)/2.

    Gradient: JS = H(m) − ½H(p) − ½H(q) and ∂mᵢ/∂pᵢ = ½, so ∂JS/∂pᵢ = −½(log mᵢ + 1) + ½(log pᵢ + 1) = ½ log(pᵢ/mᵢ),
    whose mean under p is ½ KL(p‖m). By (*), and by symmetry for w,

        ∂JS/∂zₖ = ½ pₖ·(log pₖ − log mₖ − KL(p‖m)),     ∂JS/∂wₖ = ½ qₖ·(log qₖ − log mₖ − KL(q‖m)).

    Args: p_logits, q_logits: z and w, (…, C), one shape, float, finite. unit: "nats" or "bits".
    Returns: (…), float32 or float64.
    Raises: TypeError, ValueError: as ``entropy_from_logits``, or unequal shapes.

    >>> round(js_from_logits(torch.tensor([1e4, 0.0]), torch.tensor([0.0, 1e4]), unit="bits").item(), 4)
    1.0
    """
    log_p, log_q = _log_softmax(p_logits=p_logits, q_logits=q_logits)
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    total = (log_p.exp() * (log_p - log_m)).sum(-1) + (log_q.exp() * (log_q - log_m)).sum(-1)
    return total / (2 * _nats(unit))


def _log(p: Tensor, ignored: Tensor) -> Tensor:
    """log p, and 0 with gradient 0 where ``ignored``: 0·log 0 would be NaN forward, and p/0 backward."""
    return torch.where(ignored, 1.0, p).log()


def _weighted(p: Tensor, values: Tensor) -> Tensor:
    return (p * values).sum(-1)


def _nats(unit: str) -> float:
    """How many nats one ``unit`` has."""
    if unit not in _NATS:
        raise ValueError(f"unit must be 'nats' or 'bits', got {unit!r}")
    return _NATS[unit]


def _distributions(**named: Tensor) -> list[Tensor]:
    """The arguments in float32 or float64, after a check that each row is a distribution."""
    checked = _floats(named)
    for (name, given), p in zip(named.items(), checked, strict=True):
        if not p.isfinite().all():
            raise ValueError(f"{name} must be finite, got NaN or ±inf")
        if p.min() < 0:
            raise ValueError(f"{name} must be ≥ 0, got {p.min().item():.3g} (logits? use the function …_from_logits)")
        # A sum of rounded terms: half precision has eps 0.001 (float16) or 0.008 (bfloat16).
        error = (p.sum(-1) - 1).abs().max().item()
        if error > max(1e-5, 2 * torch.finfo(given.dtype).eps):
            raise ValueError(f"{name} must sum to 1 along the last axis, got a sum that is off by {error:.3g}")
    return checked


def _log_softmax(**named: Tensor) -> list[Tensor]:
    checked = _floats(named)
    for name, z in zip(named, checked, strict=True):
        if not z.isfinite().all():
            raise ValueError(f"{name} must be finite, got NaN or ±inf")
    return [F.log_softmax(z, dim=-1) for z in checked]


def _floats(named: dict[str, Tensor]) -> list[Tensor]:
    for name, x in named.items():
        if not isinstance(x, Tensor):
            raise TypeError(f"{name} must be a torch.Tensor, got {type(x).__name__}")
        if not x.is_floating_point():
            raise ValueError(f"{name} must be floating point, got {x.dtype}")
        if x.ndim == 0 or x.numel() == 0:
            raise ValueError(f"{name} must be (…, C) with at least one value, got shape {tuple(x.shape)}")
    if len(shapes := {tuple(x.shape) for x in named.values()}) > 1:
        raise ValueError(f"{' and '.join(named)} must have one shape, got {' and '.join(map(str, sorted(shapes)))}")
    return [x.float() if x.dtype in (torch.float16, torch.bfloat16) else x for x in named.values()]
