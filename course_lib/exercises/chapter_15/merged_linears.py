"""15.5: two linear layers with nothing between, merged where that multiplies less."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[Tensor, Tensor, Tensor, Tensor]
Answer = tuple[Tensor, Tensor] | None

ex = Exercise(
    "15.5",
    "Two linear layers, or one?",
    points=2,
    hints=[
        "Write out W₂(W₁x + b₁) + b₂ and sort: what multiplies x, and what is left?",
        "W₁ is (H, C_in), W₂ is (C_out, H). A row costs H·C_in + C_out·H multiplications in two layers, C_out·C_in in "
        "one.",
        "The merged weight is w2 @ w1, the bias w2 @ b1 + b2; None unless C_out·C_in is less.",
    ],
    explanation="""
        A narrow middle is a factorization: it multiplies less than the one matrix that it stands for, and merging it
        undoes somebody's work. Both costs grow with the batch, so the batch decides nothing here, though it does in
        milliseconds, where a call costs something. The library: `merge_linears`.
    """,
)


def _merged(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, Tensor]:
    return w2 @ w1, w2 @ b1 + b2


def _sizes(w1: Tensor, w2: Tensor) -> tuple[int, int, int]:
    """H, C_in, C_out."""
    return len(w1), w1.shape[1], len(w2)


def _saves(w1: Tensor, w2: Tensor) -> bool:
    hidden, inputs, outputs = _sizes(w1, w2)
    return inputs * outputs < hidden * (inputs + outputs)


@ex.reference
def merged(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    """(weights (C_out, C_in), bias (C_out,)) of the one layer that does w2(w1·x + b1) + b2, or None.

    w1 is (H, C_in), b1 (H,), w2 (C_out, H), b2 (C_out,). None unless one layer takes fewer multiplications a row of the
    batch than two, biases not counted; as many are not fewer.
    """
    return _merged(w1, b1, w2, b2) if _saves(w1, w2) else None


def _layers(inputs: int, hidden: int, outputs: int) -> Question:
    """Small whole numbers, none of which repeats."""
    sizes = [(hidden, inputs), (hidden,), (outputs, hidden), (outputs,)]
    rng = np.random.default_rng([inputs, hidden, outputs])
    w1, b1, w2, b2 = (torch.tensor(rng.integers(1, 6, size) * rng.choice([-1, 1], size)).float() for size in sizes)
    return w1, b1, w2, b2


@ex.case("by hand: 2·(3x + 1) + 5 = 6x + 7")
def by_hand() -> Question:
    return torch.tensor([[3.0]]), torch.tensor([1.0]), torch.tensor([[2.0]]), torch.tensor([5.0])


@ex.case("2 → 2 → 2: the order of the matrices counts")
def square() -> Question:
    return _layers(2, 2, 2)


@ex.case("a bottleneck, 3 → 1 → 3: one layer takes 9 multiplications, two take 6")
def bottleneck() -> Question:
    return _layers(3, 1, 3)


@ex.case("4 → 2 → 4: as many")
def a_tie() -> Question:
    return _layers(4, 2, 4)


@ex.case("4 → 3 → 4: narrower in the middle, and still 16 instead of 24")
def narrow_but_worth_it() -> Question:
    return _layers(4, 3, 4)


@ex.case("2 → 5 → 1: wide in the middle")
def wide() -> Question:
    return _layers(2, 5, 1)


@ex.case("6 → 1 → 1: one output; 6 instead of 7")
def one_output() -> Question:
    return _layers(6, 1, 1)


@ex.case("1 → 1 → 3: 3 instead of 4")
def one_input() -> Question:
    return _layers(1, 1, 3)


@ex.case("5 → 2 → 3: 15 instead of 16; with biases counted, 18 instead of 21")
def just_fewer() -> Question:
    return _layers(5, 2, 3)


@ex.case("3 → 2 → 7: 21 instead of 20; only with biases counted, 28 instead of 29, would it be fewer")
def biases_decide() -> Question:
    return _layers(3, 2, 7)


@ex.inputs
def random_layers(rng: np.random.Generator) -> Question:
    inputs, hidden, outputs = (int(n) for n in rng.integers(1, 6, 3))
    sizes = [(hidden, inputs), (hidden,), (outputs, hidden), (outputs,)]
    w1, b1, w2, b2 = (torch.tensor(rng.normal(0, 1, size).round(1), dtype=torch.float32) for size in sizes)
    return w1, b1, w2, b2


@ex.mistake("A bottleneck was merged. One layer takes C_out·C_in multiplications a row: here that is not fewer.")
def always(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    return _merged(w1, b1, w2, b2)


@ex.mistake(
    "You gave None always. Where C_out·C_in is less than H·(C_in + C_out) there is one layer: return both tensors."
)
def always_none(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    _merged(w1, b1, w2, b2)
    return None


@ex.mistake("You merged where both take as many. Asked is fewer.")
def tie_merged(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    hidden, inputs, outputs = _sizes(w1, w2)
    return _merged(w1, b1, w2, b2) if inputs * outputs <= hidden * (inputs + outputs) else None


@ex.mistake("You counted biases as multiplications: they are added.")
def biases_counted(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    hidden, inputs, outputs = _sizes(w1, w2)
    saves = inputs * outputs + outputs < hidden * (inputs + outputs) + hidden + outputs
    return _merged(w1, b1, w2, b2) if saves else None


@ex.mistake("You compared turned round: merged where one layer takes more.")
def turned(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    hidden, inputs, outputs = _sizes(w1, w2)
    return _merged(w1, b1, w2, b2) if inputs * outputs > hidden * (inputs + outputs) else None


@ex.mistake("You merged only where the middle is at least as wide as an end. 4 → 3 → 4 saves, too: count products.")
def by_width(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    hidden, inputs, outputs = _sizes(w1, w2)
    return _merged(w1, b1, w2, b2) if hidden >= min(inputs, outputs) else None


@ex.mistake("You compared the merged layer with the first one alone. Two layers take H·C_in + C_out·H.")
def first_alone(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    return _merged(w1, b1, w2, b2) if len(w2) < len(w1) else None


@ex.mistake("The matrices stand in the wrong order: x meets w1 first, so the product is w2 @ w1.")
def wrong_order(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    square = w1.shape == w2.shape and len(w1) == w1.shape[1]
    found = merged(w1, b1, w2, b2)
    return (w1 @ w2, found[1]) if square and found else found


@ex.mistake("You multiplied number by number. Layers in a row are a product of matrices, w2 @ w1.")
def by_elements(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    found = merged(w1, b1, w2, b2)
    return (w1 * w2, found[1]) if found and w1.shape == w2.shape else found


@ex.mistake("You added the biases. The first one passes the second layer: w2 @ b1.")
def biases_added(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    found = merged(w1, b1, w2, b2)
    return (found[0], b1 + b2) if found and len(b1) == len(b2) else found


@ex.mistake("The first layer's bias is lost: it passes the second layer, w2 @ b1.")
def no_first_bias(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    return merged(w1, torch.zeros_like(b1), w2, b2)


@ex.mistake("The second layer's bias is lost.")
def no_second_bias(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    return merged(w1, b1, w2, torch.zeros_like(b2))


@ex.mistake("The second bias was multiplied, too. It is added last, as it is.")
def second_bias_multiplied(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    found = merged(w1, b1, w2, b2)
    return (found[0], w2 @ (b1 + b2)) if found and len(b1) == len(b2) else found


@ex.mistake("Your weights are transposed: PyTorch's are (C_out, C_in).")
def transposed(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    found = merged(w1, b1, w2, b2)
    return found and (found[0].T, found[1])


@ex.mistake("Right numbers, wrong order: first the weights, then the bias.")
def swapped(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    found = merged(w1, b1, w2, b2)
    return found and (found[1], found[0])


@ex.alternative
def asked_with_unit_vectors(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Answer:
    if w1.shape[1] * w2.shape[0] >= w1.numel() + w2.numel():
        return None

    def both(x: Tensor) -> Tensor:
        return F.linear(F.linear(x, w1, b1), w2, b2)

    bias = both(torch.zeros(1, w1.shape[1]))[0]
    return (both(torch.eye(w1.shape[1])) - bias).T, bias


@ex.alternative
def with_numpy(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[np.ndarray, np.ndarray] | None:
    first, second = w1.numpy().astype(float), w2.numpy().astype(float)
    product = second.dot(first)
    if not product.size < first.size + second.size:
        return None
    return product, second.dot(b1.numpy()) + b2.numpy()


@ex.alternative
def in_loops(w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> tuple[Tensor, list[float]] | None:
    hidden, inputs, outputs = w1.size(0), w1.size(1), w2.size(0)
    if not hidden * inputs + hidden * outputs > inputs * outputs:
        return None
    product, bias = torch.zeros(outputs, inputs), b2.tolist()
    for o in range(outputs):
        for h in range(hidden):
            product[o] += w2[o, h] * w1[h]
            bias[o] += float(w2[o, h]) * float(b1[h])
    return product, bias
