"""Distilling features.

Five answers: a hook that leaves no trace, a hint with its projection, an attention map, distances within a batch, and a
table of similarities. Where a method has a gradient that can go wrong (into the teacher, into NaN), the gradient is
part of what is compared: see the ``outcome`` functions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.distillation import Taps, attention_map
from course_lib.exercises.engine.exercise import Exercise, Mistake


def tap(model: nn.Module, name: str, images: Tensor) -> Tensor:
    """The output of the module called ``name`` when the model sees the images; no hook stays, whatever happens."""
    caught = []
    hook = model.get_submodule(name).register_forward_hook(lambda module, inputs, output: caught.append(output))
    try:
        model(images)
    finally:
        hook.remove()
    return caught[-1]


def _hooks(model: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules())


def _tap_outcome(fn: Callable, model: nn.Module, name: str, images: Tensor) -> dict[str, Any]:
    output = fn(model, name, images)
    left = _hooks(model)
    for module in model.modules():
        module._forward_hooks.clear()
    with contextlib.suppress(RuntimeError):
        fn(model, name, images[:, :, :1])  # too few pixels for the last layer: it raises after the tapped one ran
    return {"output": output, "hooks left": left, "hooks left after an error": _hooks(model)}


def _tap_inputs(rng: np.random.Generator) -> tuple[nn.Module, str, Tensor]:
    first, second = (int(rng.integers(3, 6)) for _ in range(2))
    model = nn.Sequential(nn.Conv2d(2, first, 1), nn.Tanh(), nn.Conv2d(first, second, 1), nn.Flatten(), nn.Tanh())
    model.append(nn.Linear(second * 6, 3))
    return model.requires_grad_(False), str(rng.choice(["0", "2"])), torch.randn(4, 2, 2, 3)


def _tap_without_removing(model: nn.Module, name: str, images: Tensor) -> Tensor:
    caught = []
    model.get_submodule(name).register_forward_hook(lambda module, inputs, output: caught.append(output))
    model(images)
    return caught[-1]


def _tap_without_finally(model: nn.Module, name: str, images: Tensor) -> Tensor:
    caught = []
    hook = model.get_submodule(name).register_forward_hook(lambda module, inputs, output: caught.append(output))
    model(images)
    hook.remove()
    return caught[-1]


def _tap_input(model: nn.Module, name: str, images: Tensor) -> Tensor:
    caught = []
    hook = model.get_submodule(name).register_forward_hook(lambda module, inputs, output: caught.append(inputs[0]))
    try:
        model(images)
    finally:
        hook.remove()
    return caught[-1]


def _tap_with_taps(model: nn.Module, name: str, images: Tensor) -> Tensor:
    with Taps(model, [name]) as taps:
        model(images)
        return taps[name]


tapping = Exercise(
    id="06.1",
    title="Tap a layer and leave no trace",
    points=2,
    reference=tap,
    inputs=_tap_inputs,
    outcome=_tap_outcome,
    hints=[
        "model.get_submodule(name).register_forward_hook(function) calls function(module, inputs, output) after the "
        "module ran, and returns a handle.",
        "The function can append the output to a list of yours. handle.remove() takes the hook away.",
        "Something may raise between the two: try: model(images) … finally: handle.remove().",
    ],
    mistakes=[
        Mistake(
            _tap_without_removing,
            "Your hook stays on the model. It runs in every later forward pass and keeps what it caught alive. Keep "
            "the handle that register_forward_hook returns, and call its remove().",
        ),
        Mistake(
            _tap_without_finally,
            "If the model raises (here: images of the wrong width), your hook stays. Put remove() in a finally block, "
            "or use a with statement.",
        ),
        Mistake(
            _tap_input,
            "You caught the module's input. A forward hook is called as hook(module, inputs, output): the third one is "
            "what the layer gave.",
        ),
        Mistake(
            lambda model, name, images: model(images),
            "You returned the model's output. The hook must store the layer's output, in a list for instance.",
        ),
    ],
    alternatives=[_tap_with_taps],
    explanation="""
        A hook is global state in someone else's model: like an open file, it belongs in a `try … finally`, or in a
        context manager such as `course_lib.distillation.Taps`.
    """,
)


def hint_loss(student: Tensor, teacher: Tensor, weight: Tensor) -> Tensor:
    """mean (u − W·v)², the teacher averaged down to the student's pixels, and no gradient into the teacher."""
    factor = teacher.shape[2] // student.shape[2]
    projected = torch.einsum("oc,bchw->bohw", weight, student)
    return F.mse_loss(projected, F.avg_pool2d(teacher.detach(), factor))


def _with_gradients(fn: Callable, *tensors: Tensor) -> dict[str, Tensor] | Tensor:
    """The value, and the gradient of its sum (of a table: of its first row) for each tensor, 0 where there is none."""
    leaves = [t.detach().clone().requires_grad_() for t in tensors]
    given = [leaf.clone() for leaf in leaves]
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        value = fn(*given)
        for tensor, after in zip(tensors, given, strict=True):
            tensor.copy_(after.detach())  # whoever changes an argument shall be told
        if not isinstance(value, Tensor) or not value.requires_grad:
            return value
        target = value[0].sum() if value.ndim else value
        found = torch.autograd.grad(target, leaves, allow_unused=True)
    gradients = [torch.zeros_like(t) if g is None else g for t, g in zip(tensors, found, strict=True)]
    return {"value": value.detach(), **{f"gradient {i + 1}": g for i, g in enumerate(gradients)}}


def _hint(student: Tensor, teacher: Tensor, weight: Tensor, change: str = "") -> Tensor:
    factor = teacher.shape[2] // student.shape[2]
    target = teacher if change == "learn" else teacher.detach()
    if change == "every":
        target = target[:, :, ::factor, ::factor]
    else:
        target = (F.max_pool2d if change == "max" else F.avg_pool2d)(target, factor)
    gap = F.conv2d(student.detach() if change == "frozen" else student, weight[:, :, None, None]) - target
    if change in ("sum", "batch"):
        return gap.square().sum() / (len(gap) if change == "batch" else 1)
    return gap.abs().mean() if change == "abs" else gap.square().mean()


def _hint_inputs(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    batch, c_s, c_t, side, factor = (int(rng.integers(*bounds)) for bounds in ((2, 4), (2, 4), (4, 6), (2, 4), (2, 4)))
    return (
        torch.randn(batch, c_s, side, side),
        torch.randn(batch, c_t, factor * side, factor * side),
        torch.randn(c_t, c_s),
    )


_WEIGHT = torch.tensor([[1.0, 0.0], [1.0, 1.0]])

hints = Exercise(
    id="06.2",
    title="A hint through a projection",
    points=3,
    reference=hint_loss,
    examples=[(torch.tensor([1.0, 2]).view(1, 2, 1, 1), torch.tensor([2.0, 3]).view(1, 2, 1, 1), _WEIGHT)],
    inputs=_hint_inputs,
    outcome=_with_gradients,
    hints=[
        "A 1×1 convolution is a matrix product at each pixel: torch.einsum('oc,bchw->bohw', weight, student).",
        "The teacher's map is k times as large: F.avg_pool2d(teacher, k), k = teacher.shape[2] // student.shape[2].",
        "mean over everything: F.mse_loss. And the teacher is a target, not a pupil: teacher.detach().",
    ],
    mistakes=[
        Mistake(
            lambda s, t, w: _hint(s, t, w, "learn"),
            "The value is right, but a gradient flows into the teacher: it would learn to be as simple as the student. "
            "Take teacher.detach().",
        ),
        Mistake(
            lambda s, t, w: _hint(s, t, w, "frozen"),
            "The value is right, but the student gets no gradient: only the projection would learn, and it is thrown "
            "away. Detach the teacher, not the student.",
        ),
        Mistake(
            lambda s, t, w: _hint(s, t, w, "sum"),
            "That is the sum over everything: the loss, and with it the learning rate that you need, would grow with "
            "the batch and with the map. Take the mean.",
        ),
        Mistake(
            lambda s, t, w: _hint(s, t, w, "batch"),
            "You divided by the number of images only (that is 2 × the paper's equation). Here the mean is over "
            "images, channels and pixels.",
        ),
        Mistake(
            lambda s, t, w: _hint(s, t, w, "every"),
            "You took every k-th pixel of the teacher and dropped the others: average the k×k block.",
        ),
        Mistake(
            lambda s, t, w: _hint(s, t, w, "max"),
            "You took the maximum of each block. The projection is linear, and a linear map can follow a mean.",
        ),
        Mistake(lambda s, t, w: _hint(s, t, w, "abs"), "These are absolute differences; the equation squares them."),
    ],
    alternatives=[_hint],
    explanation="""
        $\\frac{1}{B\\,C_t\\,H\\,W}\\sum (u - W v)^2$, with the teacher's $u$ averaged over blocks of $k \\times k$
        pixels. FitNets' equation 3 is $\\frac12 \\lVert u - r(v) \\rVert^2$ per image: the same up to the factor
        $2 / (C_t H W)$, which belongs to the weight of the term.
    """,
)  # fmt: skip


def _attention(features: Tensor, power: float, change: str = "") -> Tensor:
    """attention_map written in steps, with one of them changed."""
    q = (features if change == "signed" else features.abs()) ** power
    if change == "pixels":
        return F.normalize(q.flatten(2).sum(2))
    q = (features.sum(1).abs() ** power if change == "late" else q.sum(1)).flatten(1)  # (B, H·W)
    lengths = {"none": 1.0, "batch": q.norm(), "sum": q.sum(1, keepdim=True)}
    return q / lengths.get(change, q.norm(dim=1, keepdim=True))


def _map_inputs(rng: np.random.Generator) -> tuple[Tensor, int]:
    batch, channels, height, width = (int(rng.integers(*bounds)) for bounds in ((2, 5), (3, 6), (2, 5), (2, 5)))
    return torch.randn(batch, channels, height, width), int(rng.choice([1, 2, 3]))


attention = Exercise(
    id="06.3",
    title="An attention map",
    points=2,
    reference=lambda features, power: attention_map(features, power=power),
    examples=[(torch.tensor([[[[1.0, 0.0], [0.0, 2.0]], [[-2.0, 0.0], [1.0, 0.0]]]]), 2), (-torch.ones(2, 3, 1, 2), 3)],
    inputs=_map_inputs,
    hints=[
        "Three steps: strength of each number, |A|^p; sum over the channels, axis 1; length 1 for each image.",
        "flatten(1) makes (B, H·W); its norm per image is q.norm(dim=1, keepdim=True).",
    ],
    mistakes=[
        Mistake(
            lambda features, power: _attention(features, power, "none"),
            "The maps are not normalised. A layer whose features are all twice as large would then seem to look "
            "elsewhere: divide each image's map by its norm.",
        ),
        Mistake(
            lambda features, power: _attention(features, power, "batch"),
            "You divided by the norm over the whole batch: each image's map then depends on the other images. One "
            "norm for each image.",
        ),
        Mistake(
            lambda features, power: _attention(features, power, "signed"),
            "The absolute value is missing: with an odd power, channels of opposite sign cancel, though both are "
            "active.",
        ),
        Mistake(
            lambda features, power: _attention(features, power, "pixels"),
            "You summed over the pixels, which leaves (B, C): how strong each channel is. Attention asks where: sum "
            "over the channels, axis 1.",
        ),
        Mistake(
            lambda features, power: _attention(features, power, "late"),
            "You took the power of the sum. Channels of opposite sign cancel before they are counted: first |A|^p, "
            "then the sum.",
        ),
        Mistake(
            lambda features, power: _attention(features, power, "sum"),
            "Your maps sum to 1. The paper divides by the Euclidean norm: the squares sum to 1.",
        ),
    ],
    alternatives=[lambda features, power: F.normalize(features.abs().pow(power).mean(1).flatten(1))],
    explanation="""
        $Q = \\sum_c |A_c|^p$, then $Q / \\lVert Q \\rVert_2$ per image. A mean over the channels instead of the sum
        gives the same map, since the norm takes any factor away. The library returns zeros for a map without any
        activation, and rescales first, so that powers neither overflow nor vanish.
    """,
)


def relative_distances(embeddings: Tensor) -> Tensor:
    """d_ij/μ, (B, D) → (B, B): μ is the mean over the pairs i ≠ j."""
    distances = torch.cdist(embeddings, embeddings)
    count = len(embeddings)
    return distances * (count * (count - 1)) / distances.sum()


def _spread(embeddings: Tensor) -> Tensor:
    return torch.cdist(embeddings, embeddings)


def _off_diagonal(distances: Tensor) -> Tensor:
    return distances[~torch.eye(len(distances), dtype=torch.bool)]


def _distances_in_loops(embeddings: Tensor) -> Tensor:
    count = len(embeddings)
    zero = 0 * embeddings.sum()
    rows = [
        torch.stack([(embeddings[i] - embeddings[j]).norm() if i != j else zero for j in range(count)])
        for i in range(count)
    ]
    table = torch.stack(rows)
    return table / _off_diagonal(table).mean()


relations = Exercise(
    id="06.4",
    title="Distances in units of their mean",
    points=3,
    reference=relative_distances,
    examples=[(torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]),), (torch.tensor([[0.0, 0], [3, 4]]),)],
    inputs=lambda rng: (torch.randn(int(rng.integers(3, 7)), int(rng.integers(2, 5))) * float(rng.uniform(2, 9)),),
    outcome=_with_gradients,
    hints=[
        "torch.cdist(e, e) is the table of all distances, with zeros on its diagonal.",
        "The diagonal compares an image with itself and does not count: the mean is over B·(B − 1) entries, not B².",
        "If the gradient is the trouble: the slope of √x at 0 is infinite. torch.cdist and .norm() give 0 there.",
    ],
    mistakes=[
        Mistake(
            _spread,
            "The mean is missing. The student's features have another scale than the teacher's; in units of its own "
            "mean distance each network can be compared.",
        ),
        Mistake(
            lambda e: _spread(e) / _spread(e).mean(),
            "Your mean counts the zeros on the diagonal: an image's distance to itself. The smaller the batch, the "
            "larger the error. Divide the sum by B·(B − 1).",
        ),
        Mistake(
            lambda e: _spread(e) ** 2 / _off_diagonal(_spread(e) ** 2).mean(),
            "These are squared distances: far pairs would outvote all others. Take the distance itself.",
        ),
        Mistake(
            lambda e: _spread(e) / (_spread(e).sum(1, keepdim=True) / (len(e) - 1)),
            "You divided each row by its own mean: an outlier then looks as near as anyone. One mean for the whole "
            "batch.",
        ),
        Mistake(
            lambda e: (d := (e[:, None] - e[None]).square().sum(-1).sqrt()) * (len(e) * (len(e) - 1)) / d.sum(),
            "The distances are right, but their gradient is NaN: on the diagonal you take the square root of 0, whose "
            "slope is infinite, times 0. Use torch.cdist or .norm(), or leave the diagonal out.",
        ),
        Mistake(
            lambda e: (d := torch.cdist(e, e, p=1)) * (len(e) * (len(e) - 1)) / d.sum(),
            "These are sums of absolute differences; the paper takes Euclidean distances.",
        ),
        Mistake(
            lambda e: _spread(e) / _spread(e).detach().sum() * (len(e) * (len(e) - 1)),
            "The values are right, but μ is detached: the gradient then believes that the mean stays when a point "
            "moves, and would blow the whole cloud up or down without any effect on the loss.",
        ),
    ],
    alternatives=[_distances_in_loops],
    explanation="""
        $\\psi_D(i, j) = \\lVert e_i - e_j \\rVert / \\mu$ with $\\mu$ the mean over $i \\ne j$. The loss then compares
        the two tables with Huber's function: `course_lib.distillation.relational_distance_loss`.
    """,
)


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """‖G̃_T − G̃_S‖²_F / B², G = A·Aᵀ, each row divided by its norm."""
    tables = []
    for features in (student, teacher.detach()):
        a = features.flatten(1)  # (B, ·)
        tables.append(F.normalize(a @ a.T, dim=1))
    return (tables[0] - tables[1]).square().sum() / len(student) ** 2


def _similarity(student: Tensor, teacher: Tensor, change: str = "") -> Tensor:
    tables = []
    for features in (student, teacher if change == "learn" else teacher.detach()):
        a = features.flatten(1)
        if change == "cosine":
            a = F.normalize(a)
        g = a @ a.T
        raw = {"none": g, "whole": g / g.norm(), "cosine": g, "sums": g / g.abs().sum(1, keepdim=True)}
        tables.append(raw.get(change, F.normalize(g)))
    total = (tables[0] - tables[1]).square().sum()
    return total / {"sum": 1, "once": len(student)}.get(change, len(student) ** 2)


def _similarity_inputs(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    batch = int(rng.integers(3, 6))
    return torch.randn(batch, 2, 3, 3), torch.randn(batch, int(rng.integers(3, 5)), 2, 2) * float(rng.uniform(0.5, 2))


similarity = Exercise(
    id="06.5",
    title="Which images excite a layer alike",
    points=3,
    reference=similarity_loss,
    examples=[(torch.tensor([[1.0, 0], [1, 1]]), torch.tensor([[2.0, 0, 0], [0, 1, 1]]))],
    inputs=_similarity_inputs,
    outcome=_with_gradients,
    hints=[
        "Flatten everything but the batch: A is (B, ·). A @ A.T is (B, B), whatever the layer's shape was.",
        "Divide each row of the table (not of A) by its Euclidean norm: F.normalize(G, dim=1).",
        "The sum of the squared differences, divided by B². The teacher's side is detached.",
    ],
    mistakes=[
        Mistake(
            lambda s, t: _similarity(s, t, "none"),
            "The rows are not normalised: inner products of features that are twice as large are four times as large.",
        ),
        Mistake(
            lambda s, t: _similarity(s, t, "whole"),
            "You divided the whole table by one norm. Images with strong features then outweigh the others: each row "
            "has its own norm.",
        ),
        Mistake(
            lambda s, t: _similarity(s, t, "cosine"),
            "You normalised the features, so that the table holds cosines. The paper normalises the rows of the table.",
        ),
        Mistake(
            lambda s, t: _similarity(s, t, "sums"),
            "Your rows sum to 1 in absolute value; the paper gives them Euclidean length 1.",
        ),
        Mistake(lambda s, t: _similarity(s, t, "sum"), "The division by B² is missing: the table has B² entries."),
        Mistake(lambda s, t: _similarity(s, t, "once"), "You divided by B; the table has B² entries."),
        Mistake(
            lambda s, t: _similarity(s, t, "learn"),
            "The value is right, but a gradient flows into the teacher: detach its features.",
        ),
    ],
    alternatives=[
        _similarity,
        lambda s, t: (
            F.normalize(torch.einsum("bi,ki->bk", s.flatten(1), s.flatten(1)), dim=0)
            - F.normalize(torch.einsum("bi,ki->bk", t.detach().flatten(1), t.detach().flatten(1)), dim=0)
        ).square().mean(),
    ],
    explanation="""
        $\\lVert \\tilde G_T - \\tilde G_S \\rVert_F^2 / B^2$. Columns instead of rows give the same, since $G$ is
        symmetric. Inputs of different widths, of different networks, even of different kinds can be compared: only the
        images must be the same.
    """,
)  # fmt: skip
