"""11.1: the sums of a matrix product, from codes that have zero points."""

from __future__ import annotations

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Question = tuple[np.ndarray, np.ndarray, int, int]
Answer = tuple[np.ndarray, np.ndarray]

ex = Exercise(
    "11.1",
    "The sums of a matrix product, from codes",
    points=3,
    hints=[
        "Multiply out: (q_x − Z_x)(q_w − Z_w) = q_x·q_w − Z_w·q_x − Z_x·q_w + Z_x·Z_w, and sum each term over K.",
        "Two terms hold no q_x: −Z_x·Σq_w, one number for each row of q_w, and K·Z_x·Z_w. They are the constant.",
        "Before all else widen the codes: q_x.astype(np.int64). In 8 bits 200 + 100 is 44, and uint8 times int8 is "
        "kept in 16 bits.",
    ],
    explanation="""
        Of the four terms only Σq_x·q_w costs K multiplications for each of the B·N sums. Σq_x is one number for each
        row of the input, and it is not needed where Z_w = 0: that is why weights are quantized symmetrically. The
        constant joins the bias before the network is shipped.
    """,
)


@ex.reference
def zero_point_sums(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    """(constant (N,), sums (B, N)) of the codes q_x (B, K), uint8, and q_w (N, K), int8.

    sums[b, n] = Σ_k (q_x[b, k] − z_x)·(q_w[n, k] − z_w); constant[n] is the part of it that holds no q_x.
    """
    x, w = q_x.astype(np.int64), q_w.astype(np.int64)
    constant = -z_x * w.sum(1) + x.shape[1] * z_x * z_w  # (N,)
    return constant, x @ w.T - z_w * x.sum(1, keepdims=True) + constant


def _codes(x: list, w: list, z_x: int, z_w: int) -> Question:
    return np.array(x, np.uint8), np.array(w, np.int8), z_x, z_w


@ex.case("by hand: (3 − 2)(5 − 1) + (7 − 2)(−2 − 1) = −11")
def by_hand() -> Question:
    return _codes([[3, 7]], [[5, -2]], 2, 1)


@ex.case("two inputs, three outputs, K = 2")
def asymmetric() -> Question:
    return _codes([[3, 7], [1, 9]], [[5, -2], [0, 4], [-3, -6]], 2, 1)


@ex.case("K = 3, with a zero point of the weights below 0")
def negative_zero_point() -> Question:
    return _codes([[10, 0, 4], [6, 3, 8]], [[7, -5, 2], [1, 1, -9]], 4, -3)


@ex.case("symmetric weights, Z_w = 0")
def symmetric() -> Question:
    return _codes([[10, 0, 4], [6, 3, 8]], [[7, -5, 2], [1, 1, -9]], 4, 0)


@ex.case("Z_x = 0: nothing is constant, and Z_w still counts")
def no_input_zero_point() -> Question:
    return _codes([[2, 5]], [[3, -4], [6, 1]], 0, 2)


@ex.case("large codes: no sum of these fits in 8 bits, and the products' sum not in 16")
def large() -> Question:
    return _codes([[255, 250, 240], [3, 200, 251]], [[127, 120, 125], [-128, -100, 90]], 131, -7)


@ex.case("large codes, and a zero point of the weights above 0")
def large_above_zero() -> Question:
    return _codes([[255, 250, 240]], [[127, 120, 125]], 131, 3)


@ex.case("small codes on both sides of a large zero point: 3 − 200 is no uint8")
def below_the_zero_point() -> Question:
    return _codes([[3, 210]], [[1, 2]], 200, 0)


@ex.inputs
def random_codes(rng: np.random.Generator) -> Question:
    batch, outputs, depth = (int(size) for size in rng.permutation([2, 3, 4]))
    x = rng.integers(0, 256, (batch, depth)).astype(np.uint8)
    w = rng.integers(-128, 128, (outputs, depth)).astype(np.int8)
    return x, w, int(rng.integers(1, 256)), int(rng.choice([-9, -2, 3, 17]))


def _terms(
    q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int, *, inputs: int = -1, weights: int = -1, both: int = 1
) -> Answer:
    """The reference, each term with a factor."""
    x, w = q_x.astype(np.int64), q_w.astype(np.int64)
    constant = weights * z_x * w.sum(1) + both * x.shape[1] * z_x * z_w
    return constant, x @ w.T + inputs * z_w * x.sum(1, keepdims=True) + constant


@ex.mistake("The term K·Z_x·Z_w is missing: minus times minus is plus, once for each of the K products.")
def no_last_term(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    return _terms(q_x, q_w, z_x, z_w, both=0)


@ex.mistake("The term K·Z_x·Z_w has the wrong sign: (−Z_x)·(−Z_w) is positive.")
def last_term_negative(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    return _terms(q_x, q_w, z_x, z_w, both=-1)


@ex.mistake("The term Z_x·Z_w is there once. It stands in each of the K products: K·Z_x·Z_w.")
def last_term_once(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    constant, sums = _terms(q_x, q_w, z_x, z_w)
    extra = (q_x.shape[1] - 1) * z_x * z_w
    return constant - extra, sums - extra


@ex.mistake("The term −Z_w·Σq_x is missing from the sums. It vanishes only where the weights are symmetric, Z_w = 0.")
def no_input_term(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    return _terms(q_x, q_w, z_x, z_w, inputs=0)


@ex.mistake("The term −Z_x·Σq_w is missing: it is the largest part of the constant.")
def no_weight_term(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    return _terms(q_x, q_w, z_x, z_w, weights=0)


@ex.mistake("Both mixed terms have the wrong sign: −Z_x·Σq_w and −Z_w·Σq_x.")
def signs_turned(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    return _terms(q_x, q_w, z_x, z_w, inputs=1, weights=1)


@ex.mistake("Each zero point goes with the *other* tensor's sum: Z_x·Σq_w and Z_w·Σq_x. Yours are swapped.")
def zero_points_swapped(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    x, w = q_x.astype(np.int64), q_w.astype(np.int64)
    constant = -z_w * w.sum(1) + x.shape[1] * z_x * z_w
    return constant, x @ w.T - z_x * x.sum(1, keepdims=True) + constant


@ex.mistake("You took one sum of all weights. Each output has its own row of q_w: sum over its axis 1.")
def one_sum_for_all(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    x, w = q_x.astype(np.int64), q_w.astype(np.int64)
    constant = np.full(len(w), -z_x * w.sum() + x.shape[1] * z_x * z_w)
    return constant, x @ w.T - z_w * x.sum(1, keepdims=True) + constant


@ex.mistake("The zero points are not subtracted at all: this is Σq_x·q_w.")
def no_zero_points(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    return np.zeros(len(q_w), np.int64), q_x.astype(np.int64) @ q_w.astype(np.int64).T


@ex.mistake("You subtract Z_x in uint8, where 3 − 200 is 59: widen the codes before you subtract.")
def subtracted_in_8_bits(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    shifted = (q_x - np.uint8(z_x)).astype(np.int64)
    return _terms(q_x, q_w, z_x, z_w)[0], shifted @ (q_w.astype(np.int64) - z_w).T


@ex.mistake(
    "Nothing is widened. NumPy subtracts Z_x in uint8, where 3 − 200 is 59, subtracts Z_w in int8, and sums products "
    "in 16 bits. First of all: q_x.astype(np.int64), q_w.astype(np.int64)."
)
def shifted_narrow(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    return _terms(q_x, q_w, z_x, z_w)[0], (q_x - z_x) @ (q_w - z_w).T


@ex.mistake(
    "The codes are not widened. q_x.sum() of uint8 is uint64, which has no number below 0: a negative Z_w times it is "
    "an error; and q_x @ q_w.T wraps in 16 bits. Widen first: q_x.astype(np.int64), q_w.astype(np.int64)."
)
def terms_narrow(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    constant = -z_x * q_w.sum(1) + q_x.shape[1] * z_x * z_w
    return constant, q_x @ q_w.T - z_w * q_x.sum(1, keepdims=True) + constant


@ex.mistake(
    "Σq_x is not widened: the sum of uint8 codes is uint64, which has no number below 0, and a negative Z_w times it "
    "is an error. Take the widened codes there, too: q_x.astype(np.int64).sum(1, keepdims=True)."
)
def sum_unsigned(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    constant, _ = _terms(q_x, q_w, z_x, z_w)
    return constant, q_x.astype(np.int64) @ q_w.astype(np.int64).T - z_w * q_x.sum(1, keepdims=True) + constant


@ex.mistake(
    "Your products are summed in 16 bits: NumPy keeps uint8 times int8 as int16, which wraps at 32,767. Widen both."
)
def summed_in_16_bits(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    constant, sums = _terms(q_x, q_w, z_x, z_w)
    products = q_x.astype(np.int64) @ q_w.astype(np.int64).T
    return constant, sums - products + (q_x @ q_w.T).astype(np.int64)


@ex.mistake("Your constant holds −Z_w·Σq_x as well. That needs the input: it is not known before one comes.")
def constant_with_inputs(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    _, sums = _terms(q_x, q_w, z_x, z_w)
    return sums - q_x.astype(np.int64) @ q_w.astype(np.int64).T, sums


@ex.mistake("The sums are right; the constant has K·Z_x·Z_w left out. It holds no q_x, so it belongs there as well.")
def constant_without_last(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    constant, sums = _terms(q_x, q_w, z_x, z_w)
    return constant - q_x.shape[1] * z_x * z_w, sums


@ex.mistake("The sums lack the constant: add it to what the inputs contribute.")
def constant_not_added(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    constant, sums = _terms(q_x, q_w, z_x, z_w)
    return constant, sums - constant


@ex.mistake("Your sums are turned round: asked is (B, N), one row for each input.")
def turned(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    constant, sums = _terms(q_x, q_w, z_x, z_w)
    return constant, sums.T


@ex.alternative
def subtracted_first(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    x, w = q_x.astype(np.int32) - z_x, q_w.astype(np.int32) - z_w
    return -z_x * w.sum(1), x @ w.T


@ex.alternative
def with_loops(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> tuple[list, list]:
    def product(row: list[int], w: list[int]) -> int:
        return sum((a - z_x) * (b - z_w) for a, b in zip(row, w, strict=True))

    sums = [[product(row, w) for w in q_w.tolist()] for row in q_x.tolist()]
    return [product([0] * len(w), w) for w in q_w.tolist()], sums


@ex.alternative
def with_einsum(q_x: np.ndarray, q_w: np.ndarray, z_x: int, z_w: int) -> Answer:
    x, w = q_x.astype(float), q_w.astype(float)
    constant = x.shape[1] * z_x * z_w - z_x * np.einsum("nk->n", w)
    return constant, np.einsum("bk,nk->bn", x, w) - z_w * np.einsum("bk->b", x)[:, None] + constant[None]
