"""How much does the network lose with a channel? Five answers and a control, each a callable on a group.

Channels that must go together have one score (``Group``): an importance takes the group and the model and returns one
number a channel, (size,); large means keep. A learner's own criterion is any function of that signature.

* ``norms``: the size of the weights that make the channel (Li et al. 2017, arXiv:1608.08710, section 3.1). Cheap, blind
  to data, and blind to a BatchNorm that follows.
* ``batch_norm_scales``: |γ| (Liu et al. 2017, arXiv:1708.06519). It says something only if training pushed useless γ
  towards 0: ``scale_penalty`` is the term that does.
* ``taylor``: the change of the loss, to first order, if the channel were 0. With a gate g = 1 before the channel's
  values, ∂L/∂g = Σ a · ∂L/∂a, a sum that one backward pass brings. Over weights it is Σ w · ∂L/∂w (Molchanov et al.
  2019, arXiv:1906.10771, eq. 8), squared and averaged over batches; over BatchNorm's output γ ∂L/∂γ + β ∂L/∂β.
* ``curvature``: the second-order diagonal, ½ Σ w² · ∂²L/∂w² (LeCun, Denker & Solla 1990, eq. 4) where the first order
  vanishes because training has converged. The second derivative is the mean of squared gradients, one image each: the
  diagonal of the empirical Fisher matrix (Theis et al. 2018, arXiv:1801.05787, eq. 7).
* ``noise``: numbers that know nothing. A criterion must beat them.

**A gate before a BatchNorm in train mode has no gradient**: the layer divides by the batch's own deviation, so scaling
its input changes nothing (but for ε). Gradients are taken in eval mode, where statistics are constants.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.models import eval_mode
from course_lib.pruning.groups import Group, Member

Importance = Callable[[Group, nn.Module], Tensor]
"""(group, model) → one score a channel, (size,), float; the largest are kept."""
Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits (B, C), labels (B,)) → scalar, a mean over the batch."""
Batches = Iterable[tuple[Tensor, Tensor]]
"""Images (B, 3, H, W) and labels (B,)."""

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def channel_sums(values: Tensor, member: Member) -> Tensor:
    """A tensor's numbers added up channel by channel: (size,); 0 for a channel that the tensor does not hold.

    Args:
        values: of the member's tensor's shape: the weights' squares, their products with gradients, …
        member: says which positions of which axis belong to which channel.

    >>> member = Member("fc", "weight", 1, ((0, 1), (2, 3)), "consumes")
    >>> channel_sums(torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 5.0]]), member).tolist()
    [3.0, 12.0]
    """
    at = values.movedim(member.axis, 0).flatten(1).sum(1) if values.ndim > 1 else values
    counts = torch.tensor([len(positions) for positions in member.indices])
    owners = torch.repeat_interleave(torch.arange(len(counts)), counts)
    places = torch.tensor([position for positions in member.indices for position in positions], dtype=torch.long)
    return at.new_zeros(len(counts)).index_add_(0, owners.to(at.device), at[places.to(at.device)])


def norms(order: float = 2, *, roles: Sequence[str] = ("produces",)) -> Importance:
    """‖w‖_p of all weights that a channel owns, over all members of these roles together: (size,), ≥ 0.

    Args:
        order: p > 0; 1 and 2 are usual.
        roles: "produces" (the filters), "consumes" (what the next layers read it with).
    Raises: ValueError: order is not positive; when called: no member of the group has such a role.

    >>> norms(0)
    Traceback (most recent call last):
    ...
    ValueError: order must be > 0, got 0
    """
    if not order > 0:
        raise ValueError(f"order must be > 0, got {order}")

    def importance(group: Group, model: nn.Module) -> Tensor:
        members = [m for m in group.members if m.role in roles and m.tensor == "weight"]
        if not members:
            raise ValueError(f"{group.name} has no weight that {' or '.join(roles)} its channels")
        powers = [channel_sums(model.get_parameter(m.name).detach().abs().pow_(order), m) for m in members]
        return torch.stack(powers).sum(0).pow(1 / order)

    return importance


def batch_norm_scales(group: Group, model: nn.Module) -> Tensor:
    """|γ| of each channel, the mean over the BatchNorms of the group: (size,), ≥ 0.

    Raises: ValueError: no BatchNorm with a scale normalizes the group's channels.
    Source: Liu et al. 2017, arXiv:1708.06519, section 3.

    >>> layer = nn.BatchNorm2d(2)
    >>> _ = layer.weight.data.copy_(torch.tensor([-0.5, 2.0]))
    >>> group = Group("conv", 2, (Member("0", "weight", 0, ((0,), (1,)), "normalizes"),), "")
    >>> batch_norm_scales(group, nn.Sequential(layer)).tolist()
    [0.5, 2.0]
    """
    members = _scales(group, model)
    if not members:
        raise ValueError(f"{group.name} has no BatchNorm with a scale; take another importance")
    total = sum((channel_sums(model.get_parameter(m.name).detach().abs(), m) for m in members), torch.zeros(group.size))
    counts = torch.tensor([[len(positions) for positions in m.indices] for m in members]).sum(0)
    return total / counts.clamp(min=1)


def scale_penalty(model: nn.Module) -> Tensor:
    """Σ|γ| over all BatchNorms, a scalar with gradient: what network slimming adds to the loss, times some 1e-4.

    Raises: ValueError: there is no BatchNorm with a scale.
    Source: Liu et al. 2017, arXiv:1708.06519, eq. 1.

    >>> scale_penalty(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).item()
    4.0
    """
    scales: list[Tensor] = [m.weight for m in model.modules() if isinstance(m, _BATCH_NORMS) and m.affine]
    if not scales:
        raise ValueError("the model has no BatchNorm with a scale: there is nothing to push towards 0")
    return torch.cat(scales).abs().sum()


class Scores:
    """Scores that were computed beforehand, for all groups at once; called like any importance."""

    def __init__(self, values: dict[str, Tensor]):
        self.values = values

    def __call__(self, group: Group, model: nn.Module) -> Tensor:
        """Raises: ValueError: the group was not among those scored."""
        if group.name not in self.values:
            raise ValueError(f"no score for {group.name}; scored are {', '.join(self.values)}")
        return self.values[group.name]


def taylor(
    groups: Sequence[Group],
    model: nn.Module,
    batches: Batches,
    *,
    loss: Loss = F.cross_entropy,
    gate: str = "weights",
) -> Scores:
    """(∂L/∂gate)² of every channel, mean over batches; the model stays as it is, gradients included.

    Args:
        groups: that are scored.
        batches: images and labels, of the training part.
        gate: "weights": Σ w · ∂L/∂w over the filters that make the channel (their biases too); "activations":
            γ ∂L/∂γ + β ∂L/∂β over the BatchNorms that pass it on, the gate on BatchNorm's output.
    Raises: ValueError: an unknown gate, no batch, or a group without such a parameter.
    Source: Molchanov et al. 2019, arXiv:1906.10771, eqs. 8 and 9.
    """
    if gate not in ("weights", "activations"):
        raise ValueError(f"gate must be 'weights' or 'activations', got {gate!r}")
    owners = {g.name: _gated(g, model, gate) for g in groups}
    moves = _gradients(model, batches, loss)
    return _averaged(model, owners, moves, lambda sums: sums.square(), lambda moved: moved, "batch")


def curvature(groups: Sequence[Group], model: nn.Module, batches: Batches, *, loss: Loss = F.cross_entropy) -> Scores:
    """½ Σ w² · F of every channel, where F is the diagonal of the empirical Fisher matrix; the model stays as it is.

    Args:
        groups: that are scored.
        batches: images and labels, of the training part; each image is a backward pass of its own.
    Raises: ValueError: no batch, or a group without weights that make it.
    Source: LeCun, Denker & Solla 1990, eq. 4; Theis et al. 2018, arXiv:1801.05787, eq. 7.
    """
    owners = {g.name: _gated(g, model, "weights") for g in groups}
    singles = ((x[i : i + 1], y[i : i + 1]) for x, y in batches for i in range(len(y)))
    moves = _gradients(model, singles, loss)
    return _averaged(model, owners, moves, lambda sums: sums / 2, lambda moved: moved.square(), "image")


def noise(seed: int) -> Importance:
    """The control: uniform numbers, a function of the seed and the group's name alone: (size,).

    >>> a, b = Group("a", 3, (), ""), Group("b", 3, (), "")
    >>> score = noise(0)
    >>> torch.equal(score(a, nn.Identity()), score(a, nn.Identity()))
    True
    >>> torch.equal(score(a, nn.Identity()), score(b, nn.Identity()))
    False
    """

    def importance(group: Group, model: nn.Module) -> Tensor:
        # torch's generator takes 32 bits of a seed; a checksum fills them from both.
        generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {group.name}".encode()))
        return torch.rand(group.size, generator=generator)

    return importance


def _scales(group: Group, model: nn.Module) -> list[Member]:
    return [
        m for m in group.members if m.tensor == "weight" and isinstance(model.get_submodule(m.module), _BATCH_NORMS)
    ]


def _gated(group: Group, model: nn.Module, gate: str) -> list[Member]:
    """The parameters that a gate on the group's channels multiplies."""
    norms_ = {m.module for m in _scales(group, model)}
    if gate == "activations":
        found = [m for m in group.members if m.module in norms_ and m.tensor in ("weight", "bias")]
    else:
        found = [m for m in group.members if m.role == "produces" and m.tensor in ("weight", "bias")]
    if not found:
        raise ValueError(f"{group.name} has no parameter for a gate on its {gate}")
    return found


def _averaged(
    model: nn.Module,
    owners: dict[str, list[Member]],
    steps: Iterable[dict[str, Tensor]],
    of_channel: Callable[[Tensor], Tensor],
    of_weight: Callable[[Tensor], Tensor],
    unit: str,
) -> Scores:
    """Mean over steps of of_channel(Σ over the channel's weights of of_weight(w · ∂L/∂w)), group by group."""
    found: dict[str, Tensor] = {}
    count = 0
    for gradients in steps:
        count += 1
        for name, members in owners.items():
            moved = [(of_weight(model.get_parameter(m.name).detach() * gradients[m.name]), m) for m in members]
            score = of_channel(torch.stack([channel_sums(values, m) for values, m in moved]).sum(0))
            found[name] = found[name] + score if name in found else score
    if not count:
        raise ValueError(f"batches must hold at least one {unit}, got none")
    return Scores({name: total / count for name, total in found.items()})


def _gradients(model: nn.Module, batches: Batches, loss: Loss) -> Iterable[dict[str, Tensor]]:
    """Each batch's gradient of the mean loss, by parameter name; eval mode, and no .grad is touched."""
    named = dict(model.named_parameters())
    for images, labels in batches:
        with eval_mode(model), torch.enable_grad():
            values = {name: value.detach().requires_grad_() for name, value in named.items()}
            found = torch.autograd.grad(
                loss(torch.func.functional_call(model, values, (images,)), labels),
                list(values.values()),
                materialize_grads=True,
                allow_unused=True,
            )
        yield dict(zip(values, found, strict=True))
