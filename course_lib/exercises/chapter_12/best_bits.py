"""12.6: bits for a budget."""

from __future__ import annotations

import itertools

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[np.ndarray, np.ndarray, int]

ex = Exercise(
    "12.6",
    "The best bits for a budget",
    points=3,
    hints=[
        "itertools.product(range(K), repeat=L) gives all choices, each with a column for every layer.",
        "A choice takes sum(sizes[i, column] for i, column in enumerate(choice)) bytes. Keep those with at most "
        "budget.",
        "min(those, key=the sum of their noises), as a list.",
    ],
    explanation="""
        Giving bits step by step to the layer that gains most for a byte needs far fewer sums, and can get
        stuck: small layers have spent what a large one needs. `bits_for_budget` is exact for many layers, too: layer by
        layer it keeps only choices that no other one beats in bytes and noise.
    """,
)


@ex.reference
def best_bits(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    """For each layer the column of its choice, a list of L integers: the least sum of noise that fits.

    noise: (L, K), float64, and sizes: (L, K), int64, of each layer at each of K numbers of bits; L ≤ 5, K ≤ 4. Sizes
    need not grow along a row. The sum of the chosen sizes must be ≤ budget; at least one choice fits, and no other one
    has the least sum, too.
    """
    return _least(noise, sizes, budget, sum)


def _values(table: np.ndarray, choice) -> list:
    return [row[column] for row, column in zip(table.tolist(), choice, strict=True)]


def _choices(table: np.ndarray) -> list[tuple[int, ...]]:
    return list(itertools.product(range(table.shape[1]), repeat=len(table)))


def _least(noise: np.ndarray, sizes: np.ndarray, budget: float, cost) -> list[int]:
    """The choice within the budget whose noises cost least; if none fits, the fewest bits."""
    fitting = [choice for choice in _choices(noise) if sum(_values(sizes, choice)) <= budget]
    return list(min(fitting, key=lambda choice: cost(_values(noise, choice)), default=(0,) * len(noise)))


def _of(noise: list, sizes: list, budget: int) -> Question:
    return np.array(noise, float), np.array(sizes, np.int64), budget


@ex.case("by hand: 6 bytes for two layers; the noisier one gets the bits")
def by_hand() -> Question:
    return _of([[9, 1], [3, 2]], [[2, 4], [2, 4]], 6)


@ex.case("exactly the budget is allowed")
def just_fits() -> Question:
    return _of([[9, 4, 1], [8, 3, 2.5]], [[2, 3, 4], [4, 6, 8]], 10)


@ex.case("one byte less")
def just_not() -> Question:
    return _of([[9, 4, 1], [8, 3, 2.5]], [[2, 3, 4], [4, 6, 8]], 9)


@ex.case("small layers must not spend what the large one needs for its step")
def stuck() -> Question:
    return _of([[30, 0.3, 0.05], [9, 0.5, 0.2]], [[200, 300, 400], [20, 30, 40]], 330)


@ex.case("room for all")
def room() -> Question:
    return _of([[5, 2, 1], [4, 3, 0.5]], [[2, 3, 4], [2, 3, 4]], 100)


@ex.case("room for the fewest bits alone")
def no_room() -> Question:
    return _of([[5, 2], [4, 3], [7, 1]], [[3, 5], [2, 6], [4, 8]], 9)


@ex.case("a step that gains nothing, and then one that gains much")
def late_gain() -> Question:
    return _of([[6, 5.9, 0.5], [4, 2, 1.8]], [[10, 15, 20], [10, 15, 20]], 30)


@ex.case("more bits may make more noise: three layers")
def not_monotone() -> Question:
    return _of([[5, 1, 2.2], [4, 3.5, 0.7], [8, 6, 2.9]], [[2, 3, 4], [4, 6, 8], [6, 9, 12]], 19)


@ex.case("the sum counts, not the noisiest layer: that layer gains little")
def sum_not_largest() -> Question:
    return _of([[10, 9], [4, 1], [5, 2.5]], [[10, 25], [10, 20], [10, 25]], 55)


@ex.case("nor is the noisiest layer the one to begin with: 10 + 1 is less than 9 + 6")
def not_the_noisiest() -> Question:
    return _of([[10, 9], [6, 1]], [[2, 4], [2, 4]], 6)


@ex.case("not the squares: 7 + 1 is less than 5 + 4")
def not_squares() -> Question:
    return _of([[7, 5], [4, 1]], [[2, 4], [2, 4]], 6)


@ex.case("not the roots: 5 + 4 is less than 9 + 1")
def not_roots() -> Question:
    return _of([[9, 5], [4, 1]], [[2, 4], [2, 4]], 6)


@ex.case("five layers and four columns: the last of each matters")
def five_layers() -> Question:
    noise = [[9, 5, 3, 2.5], [8, 4, 3.5, 3], [6, 5, 4, 0.5], [7, 3, 2, 1.5], [20, 12, 6, 0.25]]
    return _of(noise, [[2, 3, 4, 8], [4, 6, 8, 16], [2, 3, 4, 8], [6, 9, 12, 24], [2, 3, 4, 8]], 31)


@ex.case("sizes that do not grow along a row: behind a column that does not fit comes one that does")
def falling_sizes() -> Question:
    return _of([[9, 1, 4], [3, 5, 0.5]], [[2, 9, 3], [4, 2, 3]], 6)


@ex.inputs
def random_table(rng: np.random.Generator) -> Question:
    layers, columns = int(rng.integers(2, 6)), int(rng.integers(2, 5))
    noise = np.sort(rng.uniform(0.1, 20, (layers, columns)), 1)[:, ::-1].round(3)
    sizes = rng.integers(5, 40, (layers, 1)) * np.arange(2, 2 + columns)
    least, most = int(sizes[:, 0].sum()), int(sizes[:, -1].sum())
    return noise, sizes, int(rng.integers(least, most))


@ex.mistake("Your bytes exceed the budget: each layer got its least noise, whatever it takes.")
def no_budget(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    return noise.argmin(1).tolist()


@ex.mistake("You gave every layer the fewest bits. Spend the budget where it takes noise away.")
def fewest(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    return [0] * len(noise)


@ex.mistake("You gave all layers the same bits. Each may have its own.")
def uniform(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    fitting = [k for k in range(noise.shape[1]) if sizes[:, k].sum() <= budget]
    return [min(fitting, key=lambda k: noise[:, k].sum())] * len(noise)


@ex.mistake(
    "You give bits step by step to the layer that gains most for a byte. That can get stuck: small layers spend what a "
    "large one needs. Compare all choices."
)
def greedy(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    chosen = [0] * len(noise)
    while True:
        spent, steps = sum(_values(sizes, chosen)), []
        for i in range(len(noise)):
            for k in range(noise.shape[1]):
                more, gain = sizes[i, k] - sizes[i, chosen[i]], noise[i, chosen[i]] - noise[i, k]
                if more > 0 and gain > 0 and spent + more <= budget:
                    steps.append((gain / more, i, k))
        if not steps:
            return chosen
        _, i, k = max(steps)
        chosen[i] = k


@ex.mistake("You give bits one column at a time and stop where a step gains little. A later step may gain much.")
def next_column(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    chosen = [0] * len(noise)
    while True:
        spent, steps = sum(_values(sizes, chosen)), []
        for i, k in enumerate(chosen):
            if k + 1 < noise.shape[1] and noise[i, k + 1] < noise[i, k]:
                more = sizes[i, k + 1] - sizes[i, k]
                if spent + more <= budget:
                    steps.append(((noise[i, k] - noise[i, k + 1]) / more, i))
        if not steps:
            return chosen
        chosen[max(steps)[1]] += 1


@ex.mistake("A choice of exactly the budget fits: ≤, not <.")
def strictly_below(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    return _least(noise, sizes, budget - 1, sum)


@ex.mistake("You made the sum of the squares least. Noises, which are squares already, are added as they are.")
def squares(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    return _least(noise, sizes, budget, lambda values: sum(value**2 for value in values))


@ex.mistake("You made the sum of the square roots least. Noises add up, their roots do not.")
def roots(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    return _least(noise, sizes, budget, lambda values: sum(value**0.5 for value in values))


@ex.mistake("You try the first three columns alone. There may be four: range(K), with K = noise.shape[1].")
def three_columns(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    return best_bits(noise[:, :3], sizes[:, :3], budget)


@ex.mistake("You choose for the first four layers alone. There may be five: repeat=L, with L = len(noise).")
def four_layers(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    return best_bits(noise[:4], sizes[:4], budget)


@ex.mistake("You leave a row off at its first column over the budget. Sizes need not grow: a later one may fit.")
def left_off(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    def rest(i: int, left: int) -> tuple[float, list[int]]:
        if i == len(noise):
            return 0.0, []
        found = [(float("inf"), [0] * (len(noise) - i))]
        for k in range(noise.shape[1]):
            if sizes[i, k] > left:
                break
            cost, columns = rest(i + 1, left - int(sizes[i, k]))
            found.append((cost + float(noise[i, k]), [k, *columns]))
        return min(found)

    return rest(0, budget)[1]


@ex.mistake("Your columns are counted from 1. Asked are places in a row, which begin at 0.")
def from_1(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    return [column + 1 for column in best_bits(noise, sizes, budget)]


@ex.mistake("You returned numbers of bits. Asked is each layer's column, counted from 0.")
def bits_returned(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    return [column + 2 for column in best_bits(noise, sizes, budget)]


@ex.mistake("You returned the chosen sizes. Asked is each layer's column, counted from 0.")
def sizes_returned(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    return _values(sizes, best_bits(noise, sizes, budget))


@ex.mistake("You made the noisiest layer's noise least. Asked is the least sum.")
def least_largest(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    return _least(noise, sizes, budget, max)


@ex.mistake("Your noises are multiplied (or added as decibels). Noises of independent layers add up.")
def product(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    return _least(noise, sizes, budget, np.prod)


@ex.mistake(
    "You shared the budget out evenly, and each layer chose within its share. What one leaves another one may use."
)
def shared_out(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    chosen = []
    for losses, bytes_of in zip(noise.tolist(), sizes.tolist(), strict=True):
        fitting = [k for k in range(len(losses)) if bytes_of[k] <= budget / len(noise)]
        chosen.append(min(fitting, key=lambda k: losses[k], default=0))
    return chosen


@ex.mistake(
    "You went through the layers in order, and each took the best that was left for it. The first ones take too much."
)
def in_order(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    chosen = [0] * len(noise)
    for i in range(len(noise)):
        left = budget - sum(_values(sizes, chosen)) + sizes[i, 0]
        fitting = [k for k in range(noise.shape[1]) if sizes[i, k] <= left]
        chosen[i] = min(fitting, key=lambda k: noise[i, k])
    return chosen


@ex.mistake("You spent as many bytes as you could. More bytes are not less noise.")
def most_bytes(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    fitting = [choice for choice in _choices(noise) if sum(_values(sizes, choice)) <= budget]
    return list(max(fitting, key=lambda choice: sum(_values(sizes, choice))))


@ex.alternative
def recursively(noise: np.ndarray, sizes: np.ndarray, budget: int) -> list[int]:
    def rest(i: int, left: int) -> tuple[float, list[int]]:
        if left < 0:
            return float("inf"), []
        if i == len(noise):
            return 0.0, []
        found = []
        for k in range(noise.shape[1]):
            cost, columns = rest(i + 1, left - int(sizes[i, k]))
            found.append((cost + float(noise[i, k]), [k, *columns]))
        return min(found)

    return rest(0, budget)[1]


@ex.alternative
def with_numpy(noise: np.ndarray, sizes: np.ndarray, budget: int) -> np.ndarray:
    layers, columns = noise.shape
    choices = np.stack(np.meshgrid(*[np.arange(columns)] * layers, indexing="ij"), -1).reshape(-1, layers)
    rows = np.arange(layers)
    costs = np.where(sizes[rows, choices].sum(1) <= budget, noise[rows, choices].sum(1), np.inf)
    return choices[costs.argmin()]


@ex.alternative
def by_dynamic_programming(noise: np.ndarray, sizes: np.ndarray, budget: int) -> tuple[int, ...]:
    best: dict[int, tuple[float, tuple[int, ...]]] = {0: (0.0, ())}
    for losses, bytes_of in zip(noise.tolist(), sizes.tolist(), strict=True):
        longer: dict[int, tuple[float, tuple[int, ...]]] = {}
        for spent, (cost, columns) in best.items():
            for k, (loss, more) in enumerate(zip(losses, bytes_of, strict=True)):
                option = (cost + loss, (*columns, k))
                if spent + more <= budget and option < longer.get(spent + more, (float("inf"), ())):
                    longer[spent + more] = option
        best = longer
    return min(best.values())[1]
