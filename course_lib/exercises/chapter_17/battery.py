"""17.2: what a picture costs, and how many a battery lasts for."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from course_lib.exercises.engine.compare import relatively
from course_lib.exercises.engine.exercise import Exercise

Question = tuple[list[int], list[int], float, float, float]

ex = Exercise(
    "17.2",
    "Energy for a picture, and pictures from a battery",
    points=2,
    compare=relatively,
    tolerance=1e-5,
    hints=[
        "Power times time is energy: mW times ms is µJ, and 1,000 µJ are one mJ. What a picture costs *more* than "
        "idling uses the difference of the two mean powers.",
        "While the board runs it draws its idle power all the time, and for each picture the extra energy on top: mean "
        "power in mW = idle + pictures a second · extra mJ.",
        "A watt-hour is 3,600 J. Seconds that the battery lasts = its joules over the mean power in watts; pictures = "
        "seconds · pictures a second.",
    ],
    explanation="""
        At few pictures a second the idle power decides: a network that needs half of the energy then hardly
        lengthens the battery's life. Which number is meant, with idle power or without it, must stand beside every
        energy for a picture.
    """,
)


@ex.reference
def battery(
    idle_mw: Sequence[int], busy_mw: Sequence[int], ms: float, per_second: float, watt_hours: float
) -> tuple[float, float]:
    """(extra energy of a picture in mJ, pictures from one charge, not rounded).

    idle_mw, busy_mw: samples of all the power that is drawn from the battery, taken at equal intervals: while the
    board idles, and while it runs the network back to back, ``ms`` a picture. The extra energy is what a picture
    costs beyond idling; where noise in the samples makes it negative, give it so. On the battery the board is
    never switched off: it takes per_second pictures a second (per_second · ms ≤ 1,000), and idles between them.
    """
    idle, busy = fmean(idle_mw), fmean(busy_mw)
    extra = (busy - idle) * ms / 1000
    return extra, watt_hours * 3600 * 1000 / (idle + per_second * extra) * per_second


@ex.solution
def in_full(
    idle_mw: Sequence[int], busy_mw: Sequence[int], ms: float, per_second: float, watt_hours: float
) -> tuple[float, float]:
    """(extra energy of a picture in mJ, pictures from one charge)."""
    idle, busy = sum(idle_mw) / len(idle_mw), sum(busy_mw) / len(busy_mw)  # mW
    extra = (busy - idle) * ms / 1000  # mW · ms = µJ
    mean_power = (idle + per_second * extra) / 1000  # W
    seconds = 3600 * watt_hours / mean_power
    return extra, seconds * per_second


@ex.case("by hand: 2 W idle, 5 W busy, 4 ms: 12 mJ extra; 30 a second: 2.36 W")
def by_hand() -> Question:
    return [2000, 2000], [5000, 5000], 4.0, 30.0, 20.0


@ex.case("samples that scatter; their mean is not their median, and there are fewer of one kind")
def scattered() -> Question:
    return [1900, 2000, 2400], [4000, 4800, 5000, 6600, 4700], 4.0, 30.0, 20.0


@ex.case("one picture in ten seconds: nearly all is idle power")
def rarely() -> Question:
    return [1500], [6000], 12.5, 0.1, 37.0


@ex.case("the board is busy all the time: 8 ms, 125 a second")
def all_the_time() -> Question:
    return [2500, 2600], [7000, 9000], 8.0, 125.0, 10.0


@ex.case("a small network: a fraction of a mJ")
def small_network() -> Question:
    return [4984, 5010], [9120, 9260], 0.05, 60.0, 50.0


@ex.case("a network so small that noise hides it: the busy mean lies below the idle one")
def below_the_noise() -> Question:
    return [3000, 3100], [2990, 3060], 0.05, 30.0, 20.0


@ex.inputs
def random_board(rng: np.random.Generator) -> Question:
    idle = [int(n) for n in rng.integers(1500, 3000, int(rng.integers(2, 6)))]
    busy = [int(n) for n in rng.integers(4000, 9000, int(rng.integers(2, 6)))]
    ms = round(float(rng.uniform(0.5, 20)), 2)
    return idle, busy, ms, round(float(rng.uniform(1, 900 / ms)), 1), float(rng.integers(5, 80))


@ex.mistake("Your energy holds the idle power. The extra energy is beyond idling: (busy − idle) · time.")
def idle_inside(idle_mw, busy_mw, ms, per_second, watt_hours):
    return fmean(busy_mw) * ms / 1000, battery(idle_mw, busy_mw, ms, per_second, watt_hours)[1]


@ex.mistake(
    "You counted the idle power twice while a picture is computed: the busy power has it in it. Mean power = idle + "
    "pictures a second · extra energy."
)
def idle_twice(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra = battery(idle_mw, busy_mw, ms, per_second, watt_hours)[0]
    mean = fmean(idle_mw) + per_second * fmean(busy_mw) * ms / 1000
    return extra, watt_hours * 3.6e6 / mean * per_second


@ex.mistake("You added the idle power to the busy one. The samples hold all that is drawn: busy has idle in it.")
def idle_added(idle_mw, busy_mw, ms, per_second, watt_hours):
    return battery(idle_mw, [fmean(busy_mw) + 2 * fmean(idle_mw)], ms, per_second, watt_hours)


@ex.mistake("Your battery pays for the extra energy alone. Between the pictures the board idles, and that costs, too.")
def idle_for_free(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra = battery(idle_mw, busy_mw, ms, per_second, watt_hours)[0]
    return extra, watt_hours * 3.6e6 / extra


@ex.mistake("Your battery pays for busy time alone, as if the board were switched off between pictures. It idles.")
def switched_off(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra = battery(idle_mw, busy_mw, ms, per_second, watt_hours)[0]
    return extra, watt_hours * 3.6e6 / (fmean(busy_mw) * ms / 1000)


@ex.mistake("You let the board draw its busy power all the time. It is busy for per_second · ms of each 1,000 ms.")
def always_busy(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra = battery(idle_mw, busy_mw, ms, per_second, watt_hours)[0]
    return extra, watt_hours * 3.6e6 / fmean(busy_mw) * per_second


@ex.mistake("Your energy is in µJ: mW times ms. Divide by 1,000 for mJ.")
def in_microjoules(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra, pictures = battery(idle_mw, busy_mw, ms, per_second, watt_hours)
    return 1000 * extra, pictures


@ex.mistake("Your energy is in J: mW times seconds is mJ already.")
def in_joules(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra, pictures = battery(idle_mw, busy_mw, ms, per_second, watt_hours)
    return extra / 1000, pictures


@ex.mistake("You took ms for seconds in the mean power as well: the energy is 1,000 times too large everywhere.")
def milliseconds_for_seconds(idle_mw, busy_mw, ms, per_second, watt_hours):
    return battery(idle_mw, busy_mw, 1000 * ms, per_second, watt_hours)


@ex.mistake("You took watt-hours for watt-seconds: 1 Wh is 3,600 J.")
def hours_for_seconds(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra, pictures = battery(idle_mw, busy_mw, ms, per_second, watt_hours)
    return extra, pictures / 3600


@ex.mistake("That is how many seconds the battery lasts. Pictures = seconds · pictures a second.")
def seconds(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra, pictures = battery(idle_mw, busy_mw, ms, per_second, watt_hours)
    return extra, pictures / per_second


@ex.mistake("That is how many hours the battery lasts. Pictures = seconds · pictures a second.")
def hours(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra, pictures = battery(idle_mw, busy_mw, ms, per_second, watt_hours)
    return extra, pictures / per_second / 3600


@ex.mistake("You took the samples' median. Energy is the sum of power over time: that asks for the mean.")
def medians(idle_mw, busy_mw, ms, per_second, watt_hours):
    return battery([np.median(idle_mw)], [np.median(busy_mw)], ms, per_second, watt_hours)


@ex.mistake("You took the largest sample. Energy is the sum of power over time: that asks for the mean.")
def peaks(idle_mw, busy_mw, ms, per_second, watt_hours):
    return battery([max(idle_mw)], [max(busy_mw)], ms, per_second, watt_hours)


@ex.mistake("You took the first sample alone. Energy is the sum of power over time: that asks for the mean.")
def first_sample(idle_mw, busy_mw, ms, per_second, watt_hours):
    return battery(idle_mw[:1], busy_mw[:1], ms, per_second, watt_hours)


@ex.mistake("You took the lowest idle sample and the highest busy one. Energy asks for the mean of each.")
def largest_difference(idle_mw, busy_mw, ms, per_second, watt_hours):
    return battery([min(idle_mw)], [max(busy_mw)], ms, per_second, watt_hours)


@ex.mistake("You paired the samples. They were taken at different times, and there may be more of one kind.")
def paired(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra = fmean(b - i for i, b in zip(idle_mw, busy_mw, strict=False)) * ms / 1000
    return extra, watt_hours * 3.6e6 / (fmean(idle_mw) + per_second * extra) * per_second


@ex.mistake(
    "You made the extra energy positive. A negative one tells that the samples' noise is larger than the network."
)
def made_positive(idle_mw, busy_mw, ms, per_second, watt_hours):
    idle, busy = fmean(idle_mw), fmean(busy_mw)
    return battery([idle], [idle + abs(busy - idle)], ms, per_second, watt_hours)


@ex.mistake(
    "You cut the extra energy off at 0. A negative one tells that the samples' noise is larger than the network."
)
def cut_off_at_zero(idle_mw, busy_mw, ms, per_second, watt_hours):
    idle, busy = fmean(idle_mw), fmean(busy_mw)
    return battery([idle], [max(idle, busy)], ms, per_second, watt_hours)


@ex.mistake("You took the last sample alone. Energy is the sum of power over time: that asks for the mean.")
def last_sample(idle_mw, busy_mw, ms, per_second, watt_hours):
    return battery(idle_mw[-1:], busy_mw[-1:], ms, per_second, watt_hours)


@ex.mistake("You subtracted sample from sample, or sum from sum. There may be more of one kind: subtract the means.")
def sums_subtracted(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra = (sum(busy_mw) - sum(idle_mw)) / len(busy_mw) * ms / 1000
    return extra, watt_hours * 3.6e6 / (fmean(idle_mw) + per_second * extra) * per_second


@ex.mistake("You rounded the pictures. They are asked for as they come out.")
def whole_pictures(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra, pictures = battery(idle_mw, busy_mw, ms, per_second, watt_hours)
    return extra, float(f"{pictures:.3g}")


@ex.mistake("You rounded the pictures to whole ones. They are asked for as they come out.")
def nearest_picture(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra, pictures = battery(idle_mw, busy_mw, ms, per_second, watt_hours)
    return extra, round(pictures)


@ex.mistake("You cut the pictures down to whole ones. They are asked for as they come out.")
def finished_pictures(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra, pictures = battery(idle_mw, busy_mw, ms, per_second, watt_hours)
    return extra, int(pictures)


@ex.mistake("You added the samples up. They are power at single moments: the energy needs their mean.")
def sums_for_means(idle_mw, busy_mw, ms, per_second, watt_hours):
    return battery([sum(idle_mw)], [sum(busy_mw)], ms, per_second, watt_hours)


@ex.mistake("You exchanged the answers: first the energy of a picture, then the pictures.")
def exchanged(idle_mw, busy_mw, ms, per_second, watt_hours):
    return battery(idle_mw, busy_mw, ms, per_second, watt_hours)[::-1]


@ex.mistake("You rounded the energy. A small network's is a fraction of a mJ.")
def rounded_energy(idle_mw, busy_mw, ms, per_second, watt_hours):
    extra, pictures = battery(idle_mw, busy_mw, ms, per_second, watt_hours)
    return round(extra, 2), pictures


@ex.alternative
def by_shares_of_time(idle_mw, busy_mw, ms, per_second, watt_hours):
    idle, busy = np.mean(idle_mw), np.mean(busy_mw)
    share = per_second * ms / 1000
    mean_w = (share * busy + (1 - share) * idle) / 1000
    return (busy - idle) * ms * 1e-3, watt_hours / mean_w * 3600 * per_second


@ex.alternative
def energy_of_a_period(idle_mw, busy_mw, ms, per_second, watt_hours):
    period_ms = 1000 / per_second
    busy = np.average(busy_mw)
    whole_uj = busy * ms + np.average(idle_mw) * (period_ms - ms)
    return [(busy - np.average(idle_mw)) * ms / 1e3, watt_hours * 3.6e9 / whole_uj]


@ex.alternative
def in_si_units(idle_mw, busy_mw, ms, per_second, watt_hours):
    idle_w, busy_w, s = fmean(idle_mw) / 1e3, fmean(busy_mw) / 1e3, ms / 1e3
    extra_j = (busy_w - idle_w) * s
    return 1e3 * extra_j, watt_hours * 3600 / (idle_w / per_second + extra_j)
