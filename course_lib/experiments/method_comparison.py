"""Reading a comparison of methods honestly: what each interval allows to say, and what many of them do together.

A recorded gain is a mean over seeds with a 95 % interval (Student's t). Three statements are possible about one method
(``Estimate.verdict``): the interval lies above 0 ("helped"), below 0 ("hurt"), or holds 0: then nothing was shown,
which is not the same as "no effect". With k methods that all do nothing, and independent intervals, at least one would
exclude 0 with probability 1 − 0.95^k. They share the control, so they are not independent; the number still says how
careful to be.
"""

from __future__ import annotations

from collections.abc import Mapping

from course_lib.evaluation import Estimate
from course_lib.experiments.distillation_arms import METHODS
from course_lib.measure import Measurement


def method_gains(figures: Mapping[str, Measurement]) -> dict[str, Estimate]:
    """The recorded gains of the methods in ``METHODS``, in points, the largest first; other figures are left out.

    Args: figures: name → Measurement, as ``measure.load_result`` gives them.
    Returns: method's name → gain over the student alone; ``METHODS`` has its label.
    Raises: ValueError: none of the methods is recorded, or one has no interval.

    >>> hint = Measurement(1.5, "points", 3, "validation accuracy, hint − alone", low=0.5, high=2.5)
    >>> {METHODS[name]: gain.verdict for name, gain in method_gains({"hint_gain_points": hint}).items()}
    {'hint': 'helped'}
    """
    found: dict[str, Estimate] = {}
    for method in METHODS:
        figure = figures.get(f"{method}_gain_points")
        if figure is None:
            continue
        if figure.low is None or figure.high is None:
            raise ValueError(f"{method}_gain_points must have an interval, got the value {figure.value:g} alone")
        found[method] = Estimate(figure.value, figure.low, figure.high, figure.n, "points")
    if not found:
        raise ValueError(f"figures must hold <method>_gain_points of {', '.join(METHODS)}, got {sorted(figures)}")
    return dict(sorted(found.items(), key=lambda item: -item[1].value))


def verdict_sentence(gains: Mapping[str, Estimate]) -> str:
    """What the intervals say and do not say, in one Markdown paragraph that is true whatever won.

    Args: gains: method's name → gain, as ``method_gains`` gives them.
    """
    names = {
        verdict: "; ".join(METHODS[name] for name, gain in gains.items() if gain.verdict == verdict)
        for verdict in ("helped", "hurt", "not shown")
    }
    luck = 100 * (1 - 0.95 ** len(gains))
    return " ".join(
        [
            f"**The interval lies above 0** for {names['helped']}." if names["helped"] else "No interval lies above 0.",
            f"**Below 0**: {names['hurt']}." if names["hurt"] else "None lies below 0.",
            f"**It holds 0, so nothing was shown**, for {names['not shown']}." if names["not shown"] else "",
            f"Had all {len(gains)} methods done nothing, at least one interval would still exclude 0 in about "
            f"{luck:.0f} of 100 such studies (if they were independent).",
        ]
    ).replace("  ", " ")
