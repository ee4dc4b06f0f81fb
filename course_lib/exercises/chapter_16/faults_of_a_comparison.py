"""16.5: what forbids to say "B is x times faster than A", from what was written down beside the times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from course_lib.exercises.engine.exercise import Exercise

Timing = Mapping[str, Any]
Interval = tuple[float, float]
Question = tuple[dict[str, Any], dict[str, Any], Interval, Interval]
NAMES = ("warm-up", "autograd", "train mode", "few calls", "statistic")
NAMES += ("batch", "threads", "cadence", "no effect", "A/A")
EACH = dict(zip(NAMES, ("warmup", "gradients", "mode", "calls", "statistic"), strict=False))

ex = Exercise(
    "16.5",
    "What forbids this comparison?",
    points=4,
    hints=[
        "Ten questions in the order of the list, one ``if`` each: append the fault's name where the answer is bad. "
        "Five of them are asked of both timings, so ``or``.",
        '"batch", "threads" and "cadence" are faults where a and b *differ*: neither value is wrong by itself.',
        "An interval holds 1 if low ≤ 1 ≤ high. For the ratio that is the fault; for A/A it is what must be.",
    ],
    explanation="""
        Nothing here looks at the times. What makes a number a measurement is written beside it, and if it is not
        written, it cannot be checked: a record without its conditions is a rumour. The last two read the intervals in
        opposite ways: a ratio must exclude 1 to be a difference, an A/A test must hold 1 to be believed.
    """,
)


@ex.reference
def faults(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    """Names of all that forbids to say "b is faster or slower than a"; [] if nothing does. In this order:

    "warm-up"    a or b has ``warmup`` 0 (calls that were dropped)
    "autograd"   a or b has ``gradients`` True
    "train mode" a or b has a ``mode`` other than "eval"
    "few calls"  a or b has fewer than 30 ``calls`` (those after the warm-up)
    "statistic"  a or b has a ``statistic`` other than "median"
    "batch"      their ``batch`` differs
    "threads"    their ``threads`` differ
    "cadence"    their ``cadence`` differs
    "no effect"  ratio = (low, high), the 95 % interval of a's time over b's, holds 1, ends included
    "A/A"        aa = (low, high), the interval of a file against itself, does not hold 1, ends included
    """
    both = [a, b]
    bad = {
        "warm-up": any(timing["warmup"] == 0 for timing in both),
        "autograd": any(timing["gradients"] for timing in both),
        "train mode": any(timing["mode"] != "eval" for timing in both),
        "few calls": any(timing["calls"] < 30 for timing in both),
        "statistic": any(timing["statistic"] != "median" for timing in both),
        "batch": a["batch"] != b["batch"],
        "threads": a["threads"] != b["threads"],
        "cadence": a["cadence"] != b["cadence"],
        "no effect": ratio[0] <= 1 <= ratio[1],
        "A/A": not aa[0] <= 1 <= aa[1],
    }
    return [name for name, found in bad.items() if found]


KEYS = (*EACH.values(), "batch", "threads", "cadence")
GOOD = dict(zip(KEYS, (20, False, "eval", 300, "median", 1, 1, "back to back"), strict=True))
CLEAR, FAIR = (1.8, 2.2), (0.98, 1.02)


def _timing(**changed: Any) -> dict[str, Any]:
    return {**GOOD, "cadence": " ".join(("back", "to", "back")), **changed}  # its own string: ``is`` compares no texts


@ex.case("nothing is wrong")
def sound() -> Question:
    return _timing(), _timing(calls=30, warmup=1), CLEAR, FAIR


@ex.case("everything is wrong")
def all_wrong() -> Question:
    careless = _timing(warmup=0, gradients=True, mode="train", calls=1, statistic="mean", batch=32, threads=8)
    return careless, _timing(cadence="30 a second"), (0.9, 1.4), (1.05, 1.2)


@ex.case("all five in b alone")
def b_alone() -> Question:
    return _timing(), _timing(warmup=0, gradients=True, mode="train", calls=29, statistic="mean"), CLEAR, FAIR


@ex.case("all five in a alone")
def a_alone() -> Question:
    return _timing(warmup=0, gradients=True, mode="train", calls=29, statistic="minimum"), _timing(), CLEAR, FAIR


@ex.case("a batch of 32 in both, four threads in both, 30 a second in both: all fine")
def equal_conditions() -> Question:
    same = {"batch": 32, "threads": 4, "cadence": "30 a second"}
    return _timing(**same), _timing(**same), CLEAR, FAIR


@ex.case("40 calls after 20 that warm up are enough; a network half of which is in eval mode is not in eval mode")
def partly() -> Question:
    return _timing(calls=40), _timing(mode="eval in part"), CLEAR, FAIR


@ex.case("another batch, other threads and another cadence; b is slower, and clearly so: that alone might be said")
def other_threads() -> Question:
    return _timing(batch=8, threads=2), _timing(cadence="in turn"), (0.4, 0.6), FAIR


@ex.case("an interval that ends at 1 holds it: the ratio's low end, and the A/A test's high end")
def ends() -> Question:
    return _timing(), _timing(), (1.0, 1.5), (0.96, 1.0)


@ex.case("the same at the other ends")
def other_ends() -> Question:
    return _timing(), _timing(), (0.6, 1.0), (1.0, 1.04)


@ex.case("an A/A test that finds a file faster than itself")
def broken_aa() -> Question:
    return _timing(), _timing(), CLEAR, (1.01, 1.03)


@ex.case("and one that finds it slower")
def broken_below() -> Question:
    return _timing(), _timing(), (0.3, 0.5), (0.97, 0.99)


@ex.case("the same carelessness in both: equal, and wrong all the same")
def both_careless() -> Question:
    same = {"statistic": "mean", "warmup": 0, "mode": "train", "gradients": True, "calls": 5}
    return _timing(**same), _timing(**same), CLEAR, FAIR


@ex.inputs
def random_records(rng: np.random.Generator) -> Question:
    options: list[list[Any]] = [[0, 5, 20], [False, False, True], ["eval", "eval", "eval", "train", "eval in part"]]
    options += [[1, 29, 30, 400], ["median", "median", "mean", "minimum"], [1, 1, 8], [1, 1, 2]]
    options += [["back to back", "back to back", "in turn", "30 a second"]]
    a, b = ({str(k): of[rng.integers(len(of))] for k, of in zip(KEYS, options, strict=True)} for _ in range(2))
    ratio = sorted(round(float(x), 2) for x in rng.uniform(0.6, 1.8, 2))
    aa = sorted(round(float(x), 2) for x in rng.uniform(0.95, 1.05, 2))
    return a, b, (ratio[0], ratio[1]), (aa[0], aa[1])


def _with(a: Timing, b: Timing, ratio: Interval, aa: Interval, answers: Mapping[str, bool]) -> list[str]:
    """The faults, with other answers to some of the questions."""
    right = faults(a, b, ratio, aa)
    return [name for name in NAMES if answers.get(name, name in right)]


def _holds_one(interval: Interval) -> bool:
    return interval[0] <= 1 <= interval[1]


@ex.mistake("You looked at a alone. A careless b spoils the comparison as well.")
def a_only(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {name: name in faults(a, a, ratio, aa) for name in EACH})


@ex.mistake("You looked at b alone. A careless a spoils the comparison as well.")
def b_only(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {name: name in faults(b, b, ratio, aa) for name in EACH})


@ex.mistake("You ask both timings to be careless (and). One is enough (or).")
def both_needed(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    alone = faults(a, a, ratio, aa), faults(b, b, ratio, aa)
    return _with(a, b, ratio, aa, {name: name in alone[0] and name in alone[1] for name in EACH})


@ex.mistake("Equal carelessness is no excuse: you report the first five faults only where a and b differ.")
def only_differences(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return [name for name in faults(a, b, ratio, aa) if name not in EACH or a[EACH[name]] != b[EACH[name]]]


@ex.mistake("You want batch 1 and one thread. A batch of 32 is another question, not a fault, while both have it.")
def must_be_one(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {name: max(a[name], b[name]) > 1 for name in ("batch", "threads")})


@ex.mistake("Exactly 30 calls are enough: fewer than 30 are too few.")
def thirty_too_few(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {"few calls": min(a["calls"], b["calls"]) <= 30})


@ex.mistake("You subtracted ``warmup`` from ``calls``. ``calls`` are those after the warm-up.")
def warmup_subtracted(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {"few calls": min(t["calls"] - t["warmup"] for t in (a, b)) < 30})


@ex.mistake(
    'You look for "train" alone. Whatever is not "eval" is a fault, such as a network with some layers in train.'
)
def train_alone(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {"train mode": "train" in (a["mode"], b["mode"])})


@ex.mistake("You look for the mean alone. The fastest call is no median, either.")
def mean_alone(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {"statistic": "mean" in (a["statistic"], b["statistic"])})


@ex.mistake("You read the A/A test like the ratio. An A/A test must hold 1: it is the same file twice.")
def aa_turned_round(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {"A/A": _holds_one(aa)})


@ex.mistake("You read the ratio like the A/A test. A ratio that holds 1 shows no difference: that is the fault.")
def ratio_turned_round(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {"no effect": not _holds_one(ratio)})


@ex.mistake("You forbid b to be slower. A ratio below 1 is an effect, too, if its interval does not hold 1.")
def slower_forbidden(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {"no effect": ratio[0] <= 1})


@ex.mistake("Your A/A test looks at one end. An interval wholly below 1 does not hold it, nor does one wholly above.")
def aa_one_end(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {"A/A": aa[0] > 1})


@ex.mistake("An interval that ends exactly at 1 holds it: ≤, not <.")
def open_ends(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {"no effect": ratio[0] < 1 < ratio[1], "A/A": not aa[0] < 1 < aa[1]})


@ex.mistake("A ratio's interval that ends exactly at 1 holds it: ≤, not <.")
def open_ratio(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {"no effect": ratio[0] < 1 < ratio[1]})


@ex.mistake("An A/A interval that ends exactly at 1 holds it: ≤, not <.")
def open_aa(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {"A/A": not aa[0] < 1 < aa[1]})


@ex.mistake("You stop at the first fault. All of them are asked for.")
def first_alone(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return faults(a, b, ratio, aa)[:1]


@ex.mistake("A fault that a and b share stands twice in your list. Each name stands once.")
def named_twice(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    found = [name for timing in (a, b) for name in faults(timing, timing, (2, 2), (1, 1))]
    return found + [name for name in faults(a, b, ratio, aa) if name not in EACH]


@ex.mistake("The cadence is missing: a call after a sleep finds other caches and another clock.")
def no_cadence(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    return _with(a, b, ratio, aa, {"cadence": False})


@ex.alternative
def with_ifs(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    found = []
    if not (a["warmup"] and b["warmup"]):
        found.append("warm-up")
    if a["gradients"] or b["gradients"]:
        found.append("autograd")
    if {a["mode"], b["mode"]} != {"eval"}:
        found.append("train mode")
    if min(a["calls"], b["calls"]) < 30:
        found.append("few calls")
    if {a["statistic"], b["statistic"]} != {"median"}:
        found.append("statistic")
    found += [key for key in ("batch", "threads", "cadence") if a[key] != b[key]]
    if not (ratio[0] > 1 or ratio[1] < 1):
        found.append("no effect")
    if aa[0] > 1 or aa[1] < 1:
        found.append("A/A")
    return found


@ex.alternative
def as_tuple(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> tuple[str, ...]:
    careless = {name for name in EACH for timing in (a, b) if name in faults(timing, timing, ratio, aa)}
    return tuple(name for name in faults(a, b, ratio, aa) if name in careless or name not in EACH)


@ex.alternative
def by_products(a: Timing, b: Timing, ratio: Interval, aa: Interval) -> list[str]:
    checks = [
        ("warm-up", a["warmup"] * b["warmup"] == 0),
        ("autograd", max(a["gradients"], b["gradients"])),
        ("train mode", not a["mode"] == b["mode"] == "eval"),
        ("few calls", any(np.less([a["calls"], b["calls"]], 30))),
        ("statistic", not a["statistic"] == b["statistic"] == "median"),
        *((key, a[key] != b[key]) for key in ("batch", "threads", "cadence")),
        ("no effect", (ratio[0] - 1) * (ratio[1] - 1) <= 0),
        ("A/A", (aa[0] - 1) * (aa[1] - 1) > 0),
    ]
    return [name for name, bad in checks if bad]
