"""15.1: the bytes that a chain of kernels moves, apart and fused."""

from __future__ import annotations

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Kernels = tuple[tuple[str, ...], ...]
Question = tuple[Kernels, int, int, int, int]

ex = Exercise(
    "15.1",
    "The bytes of a chain",
    points=2,
    hints=[
        "First count numbers, kernel by kernel, then multiply by itemsize. A picture has batch · channels · pixels.",
        "2 pictures for each kernel, and one more for each sum in it: the kernel's own are read once and written once, "
        "however many steps it computes.",
        'Then what belongs to channels, not to pictures: channels² for "conv", 4 · channels for "norm", or channels '
        'where the kernel has both. ("view",) is 0.',
    ],
    explanation="""
        A kernel touches memory at its ends. So fusing saves one write and one read of a whole picture for each step
        that joins another, while weights, read once a call, hardly count for large pictures or batches. `traffic`
        counts the same along a real network's graph.
    """,
)


def _numbers(kernel: tuple[str, ...], picture: int, channels: int) -> int:
    if kernel == ("view",):
        return 0
    return (2 + kernel.count("sum")) * picture + _constants(kernel, channels)


def _constants(kernel: tuple[str, ...], channels: int) -> int:
    if "conv" in kernel:
        return channels**2 + channels * ("norm" in kernel)
    return 4 * channels * ("norm" in kernel)


@ex.reference
def bytes_moved(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    """Bytes that the kernels, which run one after another, read and write; a whole number.

    Each kernel is a tuple of the steps that it computes at once, also where it is one: ("conv",), with its comma;
    without it ("conv") is a text of four letters. All pictures hold batch · channels · pixels numbers of
    ``itemsize`` bytes. A kernel reads one picture and writes one, and reads one more for each "sum" in it. "conv"
    reads channels² weights once a call; "norm" reads four numbers a channel, or, beside a "conv" in its kernel,
    one: the folded bias. "relu" reads nothing more; it, too, may be a kernel alone. The kernel ("view",) moves
    nothing.
    """
    picture = batch * channels * pixels
    return itemsize * sum(_numbers(kernel, picture, channels) for kernel in kernels)


@ex.solution
def written_out(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    """Bytes that the kernels, which run one after another, read and write; a whole number."""
    picture, numbers = batch * channels * pixels, 0
    for kernel in kernels:
        if kernel == ("view",):
            continue
        numbers += (2 + kernel.count("sum")) * picture
        if "conv" in kernel:
            numbers += channels**2
        if "norm" in kernel:
            numbers += channels if "conv" in kernel else 4 * channels
    return itemsize * numbers


APART: Kernels = (("conv",), ("norm",), ("relu",))


@ex.case("by hand: one channel of four pixels in float32, 36 + 48 + 32 bytes")
def by_hand() -> Question:
    return APART, 1, 1, 4, 4


@ex.case("the same at once: one picture in, one out, a weight and a bias")
def at_once() -> Question:
    return (("conv", "norm", "relu"),), 1, 1, 4, 4


@ex.case("ReLU alone, two images of three channels: it reads and writes all, in place or not")
def relu_alone() -> Question:
    return (("relu",),), 2, 3, 10, 4


@ex.case("BatchNorm alone: four numbers a channel beside the picture")
def norm_alone() -> Question:
    return (("norm",),), 2, 5, 10, 4


@ex.case("a convolution alone, a batch of 7: weights are read once a call")
def conv_alone() -> Question:
    return (("conv",),), 7, 5, 10, 4


@ex.case("a sum reads two pictures")
def a_sum() -> Question:
    return (("sum",),), 1, 2, 9, 4


@ex.case("two sums in one kernel")
def two_sums() -> Question:
    return (("conv", "norm", "sum", "sum", "relu"),), 3, 2, 9, 4


@ex.case("BatchNorm and ReLU at once, without a convolution: nothing to fold it into")
def no_convolution() -> Question:
    return (("norm", "relu"),), 2, 3, 8, 4


@ex.case("a view moves nothing, and the end of a residual block is two kernels of two bytes a number")
def half_precision() -> Question:
    return (("conv", "norm", "relu"), ("conv", "norm", "sum", "relu"), ("view",)), 4, 6, 25, 2


@ex.case("the convolution stands behind BatchNorm in its kernel: they are folded in whatever order")
def in_any_order() -> Question:
    return (("norm", "conv"), ("relu", "norm", "conv")), 1, 3, 6, 4


@ex.case("no kernel: no byte")
def nothing() -> Question:
    return (), 1, 2, 3, 4


@ex.inputs
def random_chain(rng: np.random.Generator) -> Question:
    known: Kernels = (("conv",), ("norm",), ("relu",), ("sum",), ("view",), ("conv", "norm"), ("conv", "norm", "relu"))
    known = (*known, ("sum", "relu"), ("conv", "norm", "sum", "relu"), ("norm", "relu"))
    picked = tuple(known[i] for i in rng.integers(0, len(known), int(rng.integers(2, 6))))
    batch, channels, pixels = int(rng.integers(2, 9)), int(rng.integers(2, 9)), int(rng.integers(5, 60))
    return (("conv",), *picked), batch, channels, pixels, int(rng.choice([1, 2, 4, 8]))


@ex.mistake("The weights are multiplied by the batch. A call reads them once, for all images.")
def weights_each_image(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    more = sum(_constants(kernel, channels) for kernel in kernels) * (batch - 1)
    return bytes_moved(kernels, batch, channels, pixels, itemsize) + itemsize * more


@ex.mistake("The batch is missing: a picture here holds batch · channels · pixels numbers.")
def one_image(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    return bytes_moved(kernels, 1, channels, pixels, itemsize)


@ex.mistake("The channels are missing: each of them has its pixels.")
def one_plane(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    return itemsize * sum(
        _numbers(kernel, batch * pixels, channels) if kernel != ("view",) else 0 for kernel in kernels
    )


@ex.mistake("You took 4 bytes a number. How many there are says itemsize.")
def always_float32(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    return bytes_moved(kernels, batch, channels, pixels, 4)


@ex.mistake("You counted numbers. A number takes itemsize bytes.")
def numbers_only(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    return bytes_moved(kernels, batch, channels, pixels, 1)


@ex.mistake("You counted bits: eight times too many.")
def bits(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    return 8 * bytes_moved(kernels, batch, channels, pixels, itemsize)


@ex.mistake("You counted what is read. What is written moves, too.")
def reads_only(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    written = sum(kernel != ("view",) for kernel in kernels) * batch * channels * pixels
    return bytes_moved(kernels, batch, channels, pixels, itemsize) - itemsize * written


@ex.mistake("You counted what is written, and weights. What a kernel reads moves, too.")
def writes_only(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    picture = batch * channels * pixels
    return itemsize * sum(picture + _constants(kernel, channels) for kernel in kernels if kernel != ("view",))


@ex.mistake("You counted one picture for a kernel with a sum too few: it reads both of the pictures that it adds.")
def sum_reads_one(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    sums = sum(kernel.count("sum") for kernel in kernels) * batch * channels * pixels
    return bytes_moved(kernels, batch, channels, pixels, itemsize) - itemsize * sums


@ex.mistake("You counted at most one sum a kernel: each one reads a picture more.")
def one_sum_at_most(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    extra = sum(max(0, kernel.count("sum") - 1) for kernel in kernels) * batch * channels * pixels
    return bytes_moved(kernels, batch, channels, pixels, itemsize) - itemsize * extra


@ex.mistake("A ReLU alone costs nothing in your count. Even in place it reads every number and writes it back.")
def relu_for_free(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    rest = tuple(kernel for kernel in kernels if kernel != ("relu",))
    return bytes_moved(rest, batch, channels, pixels, itemsize)


@ex.mistake('You compared a kernel with a text. It is a tuple, and ("conv",) == "conv" is False: ask "conv" in kernel.')
def compared_with_texts(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    return itemsize * 2 * len(kernels) * batch * channels * pixels


@ex.mistake('You looked at a kernel\'s first step alone. The others count as well: ask "norm" in kernel.')
def first_step_alone(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    return bytes_moved(tuple(kernel[:1] for kernel in kernels), batch, channels, pixels, itemsize)


@ex.mistake('You knew only kernels of one step: kernel == ("conv",) misses ("conv", "relu"). Ask "conv" in kernel.')
def whole_kernels_compared(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    known = tuple(kernel if len(kernel) == 1 else ("relu",) for kernel in kernels)
    return bytes_moved(known, batch, channels, pixels, itemsize)


@ex.mistake("BatchNorm's own numbers are missing: alone it reads γ, β, μ and σ² of each channel.")
def norm_without_numbers(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    alone = sum("norm" in kernel and "conv" not in kernel for kernel in kernels)
    return bytes_moved(kernels, batch, channels, pixels, itemsize) - itemsize * 4 * channels * alone


@ex.mistake("You gave BatchNorm two numbers a channel, γ and β. Alone it also reads μ and σ².")
def two_numbers(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    alone = sum("norm" in kernel and "conv" not in kernel for kernel in kernels)
    return bytes_moved(kernels, batch, channels, pixels, itemsize) - itemsize * 2 * channels * alone


@ex.mistake("A folded BatchNorm leaves a bias, one number a channel, and your count leaves it out.")
def folded_bias_missing(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    folded = sum({"conv", "norm"} <= {*kernel} for kernel in kernels)
    return bytes_moved(kernels, batch, channels, pixels, itemsize) - itemsize * channels * folded


@ex.mistake("A folded BatchNorm reads four numbers a channel in your count. Folded, one is left: the bias.")
def folded_reads_four(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    folded = sum({"conv", "norm"} <= {*kernel} for kernel in kernels)
    return bytes_moved(kernels, batch, channels, pixels, itemsize) + itemsize * 3 * channels * folded


@ex.mistake("You counted step by step. Within a kernel a step hands its numbers on without memory.")
def step_by_step(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    inner = sum(len(kernel) - 1 for kernel in kernels)
    return bytes_moved(kernels, batch, channels, pixels, itemsize) + itemsize * 2 * inner * batch * channels * pixels


@ex.mistake("You counted each step as a kernel of its own. Within one, numbers are handed on, and BatchNorm is folded.")
def steps_apart(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    apart = tuple((step,) for kernel in kernels for step in kernel)
    return bytes_moved(apart, batch, channels, pixels, itemsize)


@ex.mistake("You counted the weights as channels. A 1×1 convolution has one for each pair: channels².")
def weights_not_squared(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    more = sum("conv" in kernel for kernel in kernels) * (channels - channels**2)
    return bytes_moved(kernels, batch, channels, pixels, itemsize) + itemsize * more


@ex.mistake("The convolution's weights are missing.")
def no_weights(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    weights = sum("conv" in kernel for kernel in kernels) * channels**2
    return bytes_moved(kernels, batch, channels, pixels, itemsize) - itemsize * weights


@ex.mistake('You counted the kernel ("view",), a tuple, like any other one. It is another name for the same memory.')
def view_moves(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    views = sum(kernel == ("view",) for kernel in kernels)
    return bytes_moved(kernels, batch, channels, pixels, itemsize) + itemsize * 2 * views * batch * channels * pixels


@ex.mistake("That is in kB. Asked is the number of bytes.")
def kilobytes(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> float:
    return bytes_moved(kernels, batch, channels, pixels, itemsize) / 1000


@ex.alternative
def pictures_first(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> int:
    moving = [kernel for kernel in kernels if "view" not in kernel]
    pictures = 2 * len(moving) + sum(kernel.count("sum") for kernel in moving)
    constants = sum(_constants(kernel, channels) for kernel in moving)
    return (pictures * batch * channels * pixels + constants) * itemsize


@ex.alternative
def with_numpy(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> np.integer:
    steps = [len(k) > 0 and k != ("view",) for k in kernels]
    sums = [k.count("sum") for k in kernels]
    pictures = np.sum(2 * np.array(steps, int)) + np.sum(np.array(sums, int))
    return np.int64(itemsize) * (
        pictures * batch * channels * pixels + sum(_constants(kernel, channels) for kernel in kernels)
    )


@ex.alternative
def in_float(kernels: Kernels, batch: int, channels: int, pixels: int, itemsize: int) -> float:
    return float(written_out(kernels, batch, channels, pixels, itemsize))
