"""09.4: the MACs that each image executes, when gates say which channels are on."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[list[Tensor], list[int], int, int]

ex = Exercise(
    "09.4",
    "MACs executed under gates",
    points=3,
    hints=[
        "Per image: on.sum(1) is how many of a layer's channels are on, (B,). Walk through the layers and remember how "
        "many came in.",
        "A layer does pair_macs[l] MACs for each pair of an input that is on and an output that is on: n_in · n_out.",
        "Its gate reads n_in means and decides for all C_l channels: n_in · C_l more. At the end n_last · classes.",
    ],
    explanation="""
        A channel that is off saves twice: its own filter, and the next layer's products with it. So the MACs fall with
        the *product* of two fractions, and their mean over images is not the product of the means. The gates' own work
        belongs to the bill. The library has this as `ChainCost.executed`.
    """,
)


@ex.reference
def executed_macs(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    """MACs of each image (B,): layers, their gates, and the classifier.

    gates[l] (B, C_l), boolean: which channels of layer l are on. All ``inputs`` channels of the image are on. Layer l
    does pair_macs[l] MACs for each pair of input and output channel that are both on. Its gate does one MAC for each
    input that is on and each of its C_l outputs, on or off; the classifier one for each input that is on and class.
    """
    before = torch.full((len(gates[0]),), inputs)
    total = torch.zeros_like(before)
    for on, macs in zip(gates, pair_macs, strict=True):
        after = on.sum(1)
        total += macs * before * after + before * on.shape[1]
        before = after
    return total + before * classes


def _on(*rows: str) -> Tensor:
    """Rows such as "1010"."""
    return torch.tensor([[mark == "1" for mark in row] for row in rows])


@ex.case("one image by hand: 10·3·2 + 3·4, then 5·2·1 + 2·2, then 1·6")
def by_hand() -> Question:
    return [_on("1010"), _on("10")], [10, 5], 3, 6


@ex.case("two images that differ: one bill each")
def two_images() -> Question:
    return [_on("111000", "100000"), _on("11110", "00001"), _on("101", "111")], [9, 4, 2], 3, 7


@ex.case("all channels on: the plain network and its gates")
def all_on() -> Question:
    return [_on("11111"), _on("111")], [8, 3], 2, 4


@ex.case("one layer alone")
def one_layer() -> Question:
    return [_on("0110", "0001", "1111")], [25], 3, 5


@ex.case("grey images: one input channel")
def grey() -> Question:
    return [_on("10110", "00100"), _on("1001", "1100")], [16, 9], 1, 3


@ex.case("no channel of a layer on: what follows costs nothing")
def nothing_on() -> Question:
    return [_on("0000", "1100"), _on("110", "011")], [10, 5], 3, 6


@ex.inputs
def random_gates(rng: np.random.Generator) -> Question:
    images, layers = int(rng.integers(2, 6)), int(rng.integers(2, 5))
    sizes = rng.permutation(np.arange(3, 10))[:layers]
    gates = [torch.tensor(rng.random((images, int(size))) < rng.uniform(0.3, 0.8, (images, 1))) for size in sizes]
    return gates, [int(m) for m in rng.integers(2, 30, layers)], 3, int(rng.integers(2, 12))


def _bill(
    gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int, *, gated: int = 1, answered: int = 1
) -> Tensor:
    before = torch.full((len(gates[0]),), inputs)
    total = torch.zeros_like(before)
    for on, macs in zip(gates, pair_macs, strict=True):
        after = on.sum(1)
        total += macs * before * after + gated * before * on.shape[1]
        before = after
    return total + answered * before * classes


@ex.mistake("The gates' own MACs are missing: a decision is work, too.")
def no_gates(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    return _bill(gates, pair_macs, inputs, classes, gated=0)


@ex.mistake("The classifier is missing: it multiplies every channel of the last layer that is on.")
def no_classifier(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    return _bill(gates, pair_macs, inputs, classes, answered=0)


@ex.mistake(
    "You count all input channels of a layer. Those that are off are 0, and need not be multiplied: a channel that is "
    "off saves in its own layer and in the next."
)
def all_inputs(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    sizes = [inputs, *(on.shape[1] for on in gates)]
    total = torch.zeros(len(gates[0]), dtype=torch.int64)
    for on, macs, before in zip(gates, pair_macs, sizes, strict=False):
        total += macs * before * on.sum(1) + before * on.shape[1]
    return total + gates[-1].sum(1) * classes


@ex.mistake("You count all output channels of a layer. Those that are off are not computed.")
def all_outputs(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    before = torch.full((len(gates[0]),), inputs)
    total = torch.zeros_like(before)
    for on, macs in zip(gates, pair_macs, strict=True):
        total += macs * before * on.shape[1] + before * on.shape[1]
        before = on.sum(1)
    return total + before * classes


@ex.mistake("Your gates decide only for the channels that are on. A gate must compute all C_l decisions.")
def gates_of_the_chosen(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    return _bill(gates, [macs + 1 for macs in pair_macs], inputs, classes, gated=0)


@ex.mistake("Your gates read all inputs of their layer. The mean of a channel that is off is 0: only n_in are read.")
def gates_read_all(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    sizes = [inputs, *(on.shape[1] for on in gates)]
    reading = sum(a * b for a, b in itertools.pairwise(sizes))
    return _bill(gates, pair_macs, inputs, classes, gated=0) + reading


@ex.mistake("Your gates decide anew at every position. A gate reads means: it does n_in · C_l MACs once an image.")
def gates_everywhere(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    before, total = torch.full((len(gates[0]),), inputs), _bill(gates, pair_macs, inputs, classes, gated=0)
    for on, macs in zip(gates, pair_macs, strict=True):
        total = total + macs * before * on.shape[1]
        before = on.sum(1)
    return total


@ex.mistake("Your classifier reads all channels of the last layer. Those that are off are 0: it reads only the others.")
def classifier_reads_all(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    return _bill(gates, pair_macs, inputs, classes, answered=0) + gates[-1].shape[1] * classes


@ex.mistake("You gave the whole network's MACs to every image. What is off is not executed.")
def plain_network(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    return _bill([torch.ones_like(on) for on in gates], pair_macs, inputs, classes)


@ex.mistake("You returned the mean over the images. Asked is one number for each.")
def mean(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    return _bill(gates, pair_macs, inputs, classes).double().mean()


@ex.mistake(
    "You multiplied the mean numbers of channels. Images that need much in one layer need much in the next: the mean "
    "of products is not the product of means. Count image by image."
)
def product_of_means(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    before, total = torch.tensor(float(inputs)), torch.tensor(0.0)
    for on, macs in zip(gates, pair_macs, strict=True):
        after = on.sum(1).float().mean()
        total = total + macs * before * after + before * on.shape[1]
        before = after
    return (total + before * classes).expand(len(gates[0]))


@ex.mistake("You returned the fraction of the channels that are on. Asked are MACs.")
def fraction_on(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    return torch.cat(list(gates), 1).double().mean(1)


@ex.mistake("You counted the layers' filters that are on, but not the inputs that each of them reads.")
def filters_alone(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    return torch.stack([macs * on.sum(1) for on, macs in zip(gates, pair_macs, strict=True)]).sum(0)


@ex.alternative
def with_loops(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> list[int]:
    bills = []
    for image in range(len(gates[0])):
        there, count = [True] * inputs, 0
        for on, macs in zip(gates, pair_macs, strict=True):
            chosen = on[image].tolist()
            for is_there in there:
                if is_there:
                    count += len(chosen) + macs * sum(chosen)
            there = chosen
        bills.append(count + classes * sum(there))
    return bills


@ex.alternative
def with_numpy(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> np.ndarray:
    counts = np.stack([np.full(len(gates[0]), inputs), *(on.numpy().sum(1) for on in gates)])  # (L + 1, B)
    sizes = np.array([on.shape[1] for on in gates])[:, None]
    layers = counts[:-1] * (np.array(pair_macs)[:, None] * counts[1:] + sizes)
    return layers.sum(0) + classes * counts[-1]


@ex.alternative
def with_outer_products(gates: Sequence[Tensor], pair_macs: Sequence[int], inputs: int, classes: int) -> Tensor:
    there = torch.ones(len(gates[0]), inputs)
    total = torch.zeros(len(there))
    for on, macs in zip(gates, pair_macs, strict=True):
        pairs = there[:, :, None] * (macs * on[:, None, :].float() + 1)  # (B, C_in, C_out)
        total = total + pairs.sum((1, 2))
        there = on.float()
    return total + (there[:, :, None] * torch.ones(classes)).sum((1, 2))
