"""08.2: remove channels from a convolution, its BatchNorm and the convolution that reads them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from course_lib.exercises.engine.exercise import Exercise

State = dict[str, Tensor]
Question = tuple[State, list[int]]

ex = Exercise(
    "08.2",
    "Cut a chain: convolution, BatchNorm, convolution",
    points=3,
    hints=[
        "A kernel has the axes (outputs, inputs, height, width). Which axis of first.weight counts the removed "
        "channels, and which of second.weight?",
        "BatchNorm keeps four vectors with one number a channel. num_batches_tracked counts batches, and second.bias "
        "belongs to the outputs of the second convolution: both stay.",
        'state["first.weight"][keep] and state["second.weight"][:, keep]; the four vectors of norm with [keep].',
    ],
    explanation="""
        One channel is a filter of the first convolution, an entry of BatchNorm's four vectors and an input slice of the
        second convolution. Indexing with a list makes new tensors: the whole network stays as it was. The library finds
        these tensors by itself, also through sums and concatenations, and cuts them with `cut`.
    """,
)
VECTORS = ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var")


@ex.reference
def cut_chain(state: Mapping[str, Tensor], keep: list[int]) -> State:
    """The state dict of the chain with only the channels ``keep`` between its two convolutions."""
    small = {name: tensor.clone() for name, tensor in state.items()}
    small["first.weight"] = state["first.weight"][keep]
    for name in VECTORS:
        small[name] = state[name][keep]
    small["second.weight"] = state["second.weight"][:, keep]
    return small


@ex.solution
def written_out(state: Mapping[str, Tensor], keep: list[int]) -> State:
    """The state dict of the chain with only the channels ``keep`` between its two convolutions."""
    small = dict(state)
    small["first.weight"] = state["first.weight"][keep]
    for name in ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"):
        small[name] = state[name][keep]
    small["second.weight"] = state["second.weight"][:, keep]
    return small


def chain_state(inputs: int, channels: int, outputs: int, kernel_size: int, seed: int) -> State:
    """A chain's tensors, no two numbers alike."""
    shapes = {
        "first.weight": (channels, inputs, kernel_size, kernel_size),
        **dict.fromkeys(VECTORS, (channels,)),
        "second.weight": (outputs, channels, kernel_size, kernel_size),
        "second.bias": (outputs,),
    }
    count = sum(int(np.prod(shape)) for shape in shapes.values())
    numbers = iter(np.random.default_rng(seed).permutation(count) + 1)
    state = {
        name: torch.tensor([next(numbers) for _ in range(int(np.prod(shape)))], dtype=torch.float32).view(shape) / 8
        for name, shape in shapes.items()
    }
    return {**state, "norm.num_batches_tracked": torch.tensor(7)}


@ex.case("three channels by hand, kernels of one pixel; the middle one goes")
def by_hand() -> Question:
    return chain_state(1, 3, 3, 1, seed=1), [0, 2]


@ex.case("as many inputs, channels and outputs: a wrong axis raises no error")
def square() -> Question:
    return chain_state(4, 4, 4, 1, seed=2), [1, 3]


@ex.case("one channel stays")
def one_channel() -> Question:
    return chain_state(5, 4, 6, 1, seed=3), [2]


@ex.case("kernels of 3 × 3")
def large_kernels() -> Question:
    return chain_state(5, 4, 5, 3, seed=4), [0, 1, 3]


@ex.case("all channels stay")
def whole() -> Question:
    return chain_state(2, 2, 3, 1, seed=5), [0, 1]


@ex.inputs
def random_chain(rng: np.random.Generator) -> Question:
    channels = int(rng.integers(3, 6))
    keep = sorted(rng.choice(channels, int(rng.integers(1, channels)), replace=False).tolist())
    inputs, outputs = (channels + int(n) for n in rng.integers(0, 3, 2))
    return chain_state(inputs, channels, outputs, int(rng.choice([1, 2])), seed=int(rng.integers(100))), keep


def _with(state: Mapping[str, Tensor], keep: list[int], **changed: Tensor) -> State:
    """The right answer with some tensors changed; ``_`` stands for the dot of a name."""
    return {**cut_chain(state, keep), **{name.replace("__", "."): value for name, value in changed.items()}}


@ex.mistake("Nothing was cut: these are the tensors of the whole chain.")
def uncut(state: Mapping[str, Tensor], keep: list[int]) -> State:
    return {name: tensor.clone() for name, tensor in state.items()}


@ex.mistake("The second convolution still has inputs for the removed channels: cut its axis 1.")
def second_left(state: Mapping[str, Tensor], keep: list[int]) -> State:
    return _with(state, keep, second__weight=state["second.weight"].clone())


@ex.mistake("BatchNorm was left whole. Its four vectors have a number for each channel.")
def norm_left(state: Mapping[str, Tensor], keep: list[int]) -> State:
    return {**cut_chain(state, keep), **{name: state[name].clone() for name in VECTORS}}


@ex.mistake("γ and β were cut, but the running mean and variance were not: they belong to the same channels.")
def statistics_left(state: Mapping[str, Tensor], keep: list[int]) -> State:
    return {**cut_chain(state, keep), **{name: state[name].clone() for name in VECTORS[2:]}}


@ex.mistake(
    "You cut the outputs of the second convolution. The removed channels are its inputs: second.weight[:, keep]."
)
def second_outputs(state: Mapping[str, Tensor], keep: list[int]) -> State:
    return _with(state, keep, second__weight=state["second.weight"][keep])


@ex.mistake("You cut the inputs of the first convolution, the image's. Its filters stand on axis 0.")
def first_inputs(state: Mapping[str, Tensor], keep: list[int]) -> State:
    return _with(state, keep, first__weight=state["first.weight"][:, keep])


@ex.mistake("You cut second.bias. It has a number for each output of the second convolution, and those all stay.")
def bias_cut(state: Mapping[str, Tensor], keep: list[int]) -> State:
    return _with(state, keep, second__bias=state["second.bias"][keep])


@ex.mistake("You removed the channels in ``keep``. They are the ones that stay.")
def turned_round(state: Mapping[str, Tensor], keep: list[int]) -> State:
    channels = len(state["norm.weight"])
    others = [c for c in range(channels) if c not in keep] or list(range(channels))
    return cut_chain(state, others)


@ex.mistake("You kept the first len(keep) channels. Which channels stay is in ``keep``: index with it.")
def first_ones(state: Mapping[str, Tensor], keep: list[int]) -> State:
    return cut_chain(state, list(range(len(keep))))


@ex.mistake(
    "The convolutions lose the channels in ``keep`` in step, but BatchNorm keeps its first numbers: every channel is "
    "then normalized as another one."
)
def norm_of_others(state: Mapping[str, Tensor], keep: list[int]) -> State:
    return {**cut_chain(state, keep), **{name: state[name][: len(keep)].clone() for name in VECTORS}}


@ex.mistake("The removed channels are 0, and still there: same shapes, same work. Take them out.")
def zeroed(state: Mapping[str, Tensor], keep: list[int]) -> State:
    full = {name: tensor.clone() for name, tensor in state.items()}
    removed = [c for c in range(len(state["norm.weight"])) if c not in keep]
    for name in ("first.weight", *VECTORS):
        full[name][removed] = 0
    full["second.weight"][:, removed] = 0
    return full


@ex.mistake("You began BatchNorm's statistics anew (mean 0, variance 1). Keep the numbers of the channels that stay.")
def fresh_statistics(state: Mapping[str, Tensor], keep: list[int]) -> State:
    count = len(keep)
    return {**cut_chain(state, keep), "norm.running_mean": torch.zeros(count), "norm.running_var": torch.ones(count)}


@ex.mistake("num_batches_tracked is missing: a state dict without it does not load. It counts batches, and stays.")
def counter_lost(state: Mapping[str, Tensor], keep: list[int]) -> State:
    return {name: tensor for name, tensor in cut_chain(state, keep).items() if name != "norm.num_batches_tracked"}


@ex.alternative
def with_index_select(state: Mapping[str, Tensor], keep: list[int]) -> State:
    axes = {"first.weight": 0, "second.weight": 1, **dict.fromkeys(VECTORS, 0)}
    positions = torch.tensor(keep)
    return {
        name: tensor.index_select(axes[name], positions) if name in axes else tensor for name, tensor in state.items()
    }


@ex.alternative
def with_numpy(state: Mapping[str, Tensor], keep: list[int]) -> dict[str, np.ndarray]:
    small = {name: tensor.numpy().copy() for name, tensor in state.items()}
    for name in small:
        if name.startswith("norm.") and small[name].ndim:
            small[name] = small[name].take(keep)
    small["first.weight"], small["second.weight"] = small["first.weight"][keep], small["second.weight"][:, keep]
    return small


@ex.alternative
def with_a_mask(state: Mapping[str, Tensor], keep: list[int]) -> State:
    kept = torch.zeros(len(state["norm.bias"]), dtype=torch.bool)
    kept[keep] = True
    small = {name: t[kept] if name == "first.weight" or name in VECTORS else t.clone() for name, t in state.items()}
    small["second.weight"] = torch.stack([kernel[kept] for kernel in state["second.weight"]])
    return small
