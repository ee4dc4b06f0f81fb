"""17.1: the least time of a whole network, by a board's peaks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from course_lib.exercises.engine.compare import relatively
from course_lib.exercises.engine.exercise import Exercise
from course_lib.measure.roofline import attainable_gflops

Layer = tuple[int, int, int]
Question = tuple[list[Layer], int, float, float, float]

ex = Exercise(
    "17.1",
    "The least time of a network on a board",
    points=2,
    compare=relatively,
    tolerance=1e-5,
    hints=[
        "For each layer two times: 2·MACs over the peak, and bytes over the bandwidth. An element has bits / 8 bytes, "
        "and weights and activations both move.",
        "The first answer adds up the times to compute. The second adds up the larger one of each layer's two times: "
        "one layer begins when the one before has ended, so the maximum stands inside the sum.",
        "1 GOP/s is 10⁶ operations a millisecond, 1 GB/s is 10⁶ bytes a millisecond, and 1 µs is 10⁻³ ms.",
    ],
    explanation="""
        No call computes faster than the first number says. The second one is no strict bound (what stays in a cache
        need not come from main memory), but mostly the better guess. Both leave out what nobody documents: how long
        starting a layer takes, and how far kernels stay below the peak.
    """,
)


@ex.reference
def network_ms(layers: Sequence[Layer], bits: int, gops: float, gbs: float, start_us: float) -> tuple[float, float]:
    """(to compute, by the roofline): two times in ms of a network whose layers run one after the other.

    layers: (MACs, weights, activations) of each, the last two as counts of elements; an element has ``bits`` bits.
    gops: 10⁹ operations a second; gbs: 10⁹ bytes a second; start_us: µs for starting each layer, in the second
    time only.
    """
    pairs = _times(layers, bits, gops, gbs)
    return sum(c for c, _ in pairs), sum(max(pair) for pair in pairs) + len(layers) * start_us / 1000


def _times(layers: Sequence[Layer], bits: int, gops: float, gbs: float) -> list[tuple[float, float]]:
    """(to compute, to move) of each layer, ms."""
    return [(2 * m / (gops * 1e6), (w + a) * bits / 8 / (gbs * 1e6)) for m, w, a in layers]


@ex.solution
def in_full(
    layers: Sequence[tuple[int, int, int]], bits: int, gops: float, gbs: float, start_us: float
) -> tuple[float, float]:
    """(to compute, by the roofline): two times in ms of a network whose layers run one after the other."""
    compute, roofline = 0.0, 0.0
    for macs, weights, activations in layers:
        to_compute = 2 * macs / (gops * 1e6)
        to_move = (weights + activations) * bits / 8 / (gbs * 1e6)
        compute += to_compute
        roofline += max(to_compute, to_move) + start_us / 1000
    return compute, roofline


@ex.case("by hand: 0.1 and 0.01 ms to compute, 0.04 and 0.0204 ms to move")
def by_hand() -> Question:
    return [(500_000, 60_000, 40_000), (50_000, 50_000, 1_000)], 32, 10.0, 10.0, 0.0


@ex.case("the same layers in 16 bits: half of the bytes, the same peak")
def halved() -> Question:
    return [(500_000, 60_000, 40_000), (50_000, 50_000, 1_000)], 16, 10.0, 10.0, 0.0


@ex.case("the same with 5 µs for starting each of the two layers")
def started() -> Question:
    return [(500_000, 60_000, 40_000), (50_000, 50_000, 1_000)], 32, 10.0, 10.0, 5.0


@ex.case("a GPU with a high peak, 8 bits: every layer waits for memory, and starting one takes longer than both")
def on_a_gpu() -> Question:
    return [(442_368, 27_712, 4_096), (847_872, 53_084, 2_496), (3_956, 3_999, 135)], 8, 20_000.0, 68.0, 2.0


@ex.case("the same without starting: times far below a microsecond")
def tiny_times() -> Question:
    return [(442_368, 27_712, 4_096), (3_956, 3_999, 135)], 8, 20_000.0, 68.0, 0.0


@ex.case("one layer, four microseconds to start it")
def one_layer() -> Question:
    return [(1_000_000, 9_000, 16_000)], 32, 50.0, 20.0, 4.0


@ex.case("six equal layers in FP32")
def equal_layers() -> Question:
    return [(200_000, 2_000, 30_000)] * 6, 32, 100.0, 12.0, 1.5


@ex.case("4 bits: half a byte an element, and the second layer waits for memory")
def four_bits() -> Question:
    return [(500_000, 60_000, 40_000), (50_000, 500_000, 1_000)], 4, 10.0, 10.0, 1.0


@ex.inputs
def random_network(rng: np.random.Generator) -> Question:
    counts = rng.integers(1_000, 90_000, (int(rng.integers(2, 6)), 3))
    layers = [(20 * int(m), int(w), int(a)) for m, w, a in counts]
    bits, gops, gbs = int(rng.choice([8, 16, 32])), float(rng.integers(5, 400)), float(rng.integers(5, 70))
    return layers, bits, gops, gbs, float(rng.integers(0, 9))


@ex.mistake("You divided MACs by operations a second. A MAC is two operations.")
def macs_for_operations(layers, bits, gops, gbs, start_us):
    return network_ms(layers, bits, 2 * gops, gbs, start_us)


@ex.mistake(
    "You took the larger one of the two *sums*. Layers run one after the other: one layer's bytes do not hide behind "
    "another one's operations, so take the larger time of each layer, then add up."
)
def largest_sum(layers, bits, gops, gbs, start_us):
    pairs = _times(layers, bits, gops, gbs)
    compute, memory = (sum(column) for column in zip(*pairs, strict=True))
    return compute, max(compute, memory) + len(layers) * start_us / 1000


@ex.mistake("You added the two times of a layer. At best they overlap: the longer one decides.")
def both_added(layers, bits, gops, gbs, start_us):
    pairs = _times(layers, bits, gops, gbs)
    return sum(c for c, _ in pairs), sum(c + m for c, m in pairs) + len(layers) * start_us / 1000


@ex.mistake("You counted 4 bytes an element whatever ``bits`` says: it has bits / 8 bytes.")
def always_four(layers, bits, gops, gbs, start_us):
    return network_ms(layers, 32, gops, gbs, start_us)


@ex.mistake("You counted bits as bytes: an element of 8 bits is one byte.")
def bits_for_bytes(layers, bits, gops, gbs, start_us):
    return network_ms(layers, 8 * bits, gops, gbs, start_us)


@ex.mistake("You counted one byte an element: it has bits / 8 bytes.")
def one_byte(layers, bits, gops, gbs, start_us):
    return network_ms(layers, 8, gops, gbs, start_us)


@ex.mistake("You cut bits / 8 down to whole bytes: an element of 4 bits has half a byte.")
def whole_bytes(layers, bits, gops, gbs, start_us):
    return network_ms(layers, bits // 8 * 8, gops, gbs, start_us)


@ex.mistake("You gave each element one byte at least. An element of 4 bits has half a byte: two are packed into one.")
def at_least_a_byte(layers, bits, gops, gbs, start_us):
    return network_ms(layers, max(8, bits), gops, gbs, start_us)


@ex.mistake("You narrowed the weights alone: ``bits`` is the width of every element, also of an activation.")
def wide_activations(layers, bits, gops, gbs, start_us):
    return network_ms([(m, w, a * 32 / bits) for m, w, a in layers], bits, gops, gbs, start_us)


@ex.mistake("You changed the peak with the width. ``gops`` is the peak of this precision already.")
def peak_of_the_width(layers, bits, gops, gbs, start_us):
    return network_ms(layers, bits, gops * 32 / bits, gbs, start_us)


@ex.mistake("Your second answer counts the bytes alone. In a layer that takes longer to compute, that time decides.")
def bytes_decide(layers, bits, gops, gbs, start_us):
    pairs = _times(layers, bits, gops, gbs)
    return sum(c for c, _ in pairs), sum(m for _, m in pairs) + len(layers) * start_us / 1000


@ex.mistake("You moved the weights alone. What a layer reads and writes, its activations, moves as well.")
def weights_alone(layers, bits, gops, gbs, start_us):
    return network_ms([(m, w, 0) for m, w, _ in layers], bits, gops, gbs, start_us)


@ex.mistake("You moved the activations alone. The weights come from memory as well.")
def activations_alone(layers, bits, gops, gbs, start_us):
    return network_ms([(m, 0, a) for m, _, a in layers], bits, gops, gbs, start_us)


@ex.mistake("The time for starting is counted once. Each layer is started.")
def started_once(layers, bits, gops, gbs, start_us):
    compute, roofline = network_ms(layers, bits, gops, gbs, 0.0)
    return compute, roofline + start_us / 1000


@ex.mistake("The time for starting is missing in the second answer: start_us for each layer.")
def never_started(layers, bits, gops, gbs, start_us):
    return network_ms(layers, bits, gops, gbs, 0.0)


@ex.mistake("You added microseconds to milliseconds: 1 µs is 0.001 ms.")
def microseconds_added(layers, bits, gops, gbs, start_us):
    return network_ms(layers, bits, gops, gbs, 1000 * start_us)


@ex.mistake("You took a microsecond for 10⁻⁶ of a millisecond: 1 µs is 0.001 ms.")
def start_in_seconds(layers, bits, gops, gbs, start_us):
    return network_ms(layers, bits, gops, gbs, start_us / 1000)


@ex.mistake("The first answer is the time to compute and nothing else: no time for starting.")
def started_in_both(layers, bits, gops, gbs, start_us):
    compute, roofline = network_ms(layers, bits, gops, gbs, start_us)
    return compute + len(layers) * start_us / 1000, roofline


@ex.mistake("You hid starting behind the longer time. It comes before the layer runs: add it.")
def start_hidden(layers, bits, gops, gbs, start_us):
    pairs = _times(layers, bits, gops, gbs)
    return sum(c for c, _ in pairs), sum(max(*pair, start_us / 1000) for pair in pairs)


@ex.mistake("Your times are in seconds; milliseconds are asked for.")
def in_seconds(layers, bits, gops, gbs, start_us):
    return tuple(ms / 1000 for ms in network_ms(layers, bits, gops, gbs, start_us))


@ex.mistake("Your times are in microseconds; milliseconds are asked for.")
def in_microseconds(layers, bits, gops, gbs, start_us):
    return tuple(1000 * ms for ms in network_ms(layers, bits, gops, gbs, start_us))


@ex.mistake("You took giga for 2³⁰. In GOP/s and GB/s it is 10⁹.")
def binary_giga(layers, bits, gops, gbs, start_us):
    return network_ms(layers, bits, gops * 2**30 / 1e9, gbs * 2**30 / 1e9, start_us)


@ex.mistake("You exchanged the answers: first the time to compute, then the roofline's.")
def exchanged(layers, bits, gops, gbs, start_us):
    return network_ms(layers, bits, gops, gbs, start_us)[::-1]


@ex.mistake("You took the shorter time of each layer. Both jobs must be done: the longer one decides.")
def shorter(layers, bits, gops, gbs, start_us):
    pairs = _times(layers, bits, gops, gbs)
    return sum(c for c, _ in pairs), sum(min(pair) for pair in pairs) + len(layers) * start_us / 1000


@ex.mistake("Your second answer is the slowest layer's time. The layers run one after the other: add up.")
def slowest_layer(layers, bits, gops, gbs, start_us):
    pairs = _times(layers, bits, gops, gbs)
    return sum(c for c, _ in pairs), max(max(pair) for pair in pairs) + start_us / 1000


@ex.mistake("You rounded to three decimals: a layer may take less than a microsecond.")
def rounded(layers, bits, gops, gbs, start_us):
    return tuple(round(ms, 3) for ms in network_ms(layers, bits, gops, gbs, start_us))


@ex.alternative
def with_arrays(layers, bits, gops, gbs, start_us):
    macs, weights, activations = np.array(layers, dtype=float).T
    compute = 2 * macs / gops / 1e6
    moved = (weights + activations) * (bits / 8) / gbs / 1e6
    return compute.sum(), np.maximum(compute, moved).sum() + start_us * 1e-3 * len(layers)


@ex.alternative
def under_the_roof(layers, bits, gops, gbs, start_us):
    compute, total = 0.0, 0.0
    for macs, weights, activations in layers:
        work, moved = 2 * macs, (weights + activations) * bits // 8
        compute += work / gops * 1e-6
        total += work / attainable_gflops(work / moved, gops, gbs) * 1e-6 + start_us * 1e-3
    return [compute, total]


@ex.alternative
def in_seconds_first(layers, bits, gops, gbs, start_us):
    peak, bandwidth, width = gops * 10**9, gbs * 10**9, bits / 8
    seconds = [max(2 * m / peak, width * (w + a) / bandwidth) for m, w, a in layers]
    return 1e3 * sum(2 * m for m, _, _ in layers) / peak, 1e3 * sum(seconds) + len(seconds) * start_us / 1e3
