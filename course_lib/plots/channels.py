"""Channel pruning: which layers share channels, what a cut takes from each tensor, and MACs beside milliseconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from numpy.typing import ArrayLike

from course_lib.evaluation import Estimate
from course_lib.plots.arrays import floats
from course_lib.plots.style import COLOURS, MARKERS, CourseFigure, finish, new_figure, styled
from course_lib.pruning import Group

_LINES = ("-", "--", "-.", ":")
_KEPT, _REMOVED = COLOURS[0], "#FFFFFF"
_CRITERIA = ("random", "L2 norm", "|γ|", "Taylor", "second order")  # each keeps its colour and marker in all figures


@styled
def groups_figure(groups: Sequence[Group]) -> CourseFigure:
    """Who is tied to whom: on the left the layers that make a group's channels, on the right those that read them.

    Args: groups: in the order of execution; each has its own colour and kind of line.
    """
    makers, readers = _layers(groups, "produces"), _layers(groups, "consumes")
    rows = max(len(makers), len(readers), len(groups))
    figure, axes = new_figure(9.0, 0.5 * rows + 0.8)
    places = [_spread(names, rows) for names in (makers, [g.name for g in groups], readers)]
    told = []
    for i, group in enumerate(groups):
        colour, middle = COLOURS[i % 7], places[1][group.name]
        for x, role, column in ((0.0, "produces", places[0]), (2.0, "consumes", places[2])):
            for layer in _layers([group], role):
                ends = ([x, 1.0], [column[layer], middle])
                axes.plot(*ends, color=colour, linestyle=_LINES[i % 4], linewidth=2, zorder=1)
        text = f"{group.name}\n{group.size} channels" + ("" if group.prunable else ", fixed")
        _box(axes, 1.0, middle, text, colour)
        made, read = (", ".join(_layers([group], role)) or "none" for role in ("produces", "consumes"))
        told.append(f"group {group.name} of {group.size} channels: made by {made}; read by {read}")
    for x, column in ((0.0, places[0]), (2.0, places[2])):
        for layer, y in column.items():
            _box(axes, x, y, layer, "#666666")
    for x, title in enumerate(("layers that make the channels", "group", "layers that read them")):
        axes.text(x, rows - 0.3, title, ha="center", va="bottom", fontsize=10, fontweight="bold")
    axes.set(xlim=(-0.45, 2.45), ylim=(-0.6, rows + 0.1))
    axes.set_axis_off()
    return finish(figure, alt=f"Groups of channels. {'; '.join(told)}.")


@styled
def cut_figure(group: Group, keep: Sequence[int], macs: int, whole_macs: int) -> CourseFigure:
    """What a cut takes from every tensor of a group: one strip a tensor's axis, white where it is removed.

    Args:
        group: the channels that go together.
        keep: those that stay, ascending.
        macs, whole_macs: multiply-accumulates of the network after the cut, and before.
    """
    kept = set(keep)
    members = group.members
    figure, axes = new_figure(9.0, 0.25 * len(members) + 1.3)
    for y, member in enumerate(members):
        at = {p: c in kept for c, positions in enumerate(member.indices) for p in positions}
        strip = np.array([[at[p] for p in sorted(at)]], float)
        shades = ListedColormap([_REMOVED, _KEPT])
        extent = (0.0, 100.0, y + 0.36, y - 0.36)
        axes.imshow(strip, cmap=shades, vmin=0, vmax=1, extent=extent, aspect="auto", interpolation="nearest")
        axes.plot([0, 100, 100, 0, 0], [y - 0.36, y - 0.36, y + 0.36, y + 0.36, y - 0.36], color="#000000", lw=0.6)
        axes.text(101, y, f"{strip.size} → {int(strip.sum())}", va="center", fontsize=9)
    gone = [c for c in range(group.size) if c not in kept]
    shown = ", ".join(map(str, gone[:8])) + (", …" if len(gone) > 8 else "")
    axes.set_yticks(range(len(members)), [f"{m.name}, axis {m.axis}" for m in members], fontsize=9)
    axes.set(xlim=(0, 100), ylim=(len(members) - 0.4, -0.6))
    axes.set(xlabel="position on the axis, % (white: removed)", ylabel="tensor")
    axes.grid(visible=False)
    share = f"{100 * macs / whole_macs:.1f} % of the MACs left"
    axes.set_title(f"{group.name}: {group.size} → {len(kept)} channels, {share}")
    tensors = ", ".join(f"{m.name} axis {m.axis}" for m in members)
    removed = f"channels {shown} go" if gone else "nothing goes"
    alt = f"Group {group.name}: {len(kept)} of {group.size} channels stay, {removed}, in {tensors}; {share}."
    return finish(figure, alt=alt)


@styled
def importance_figure(
    losses: ArrayLike, scores: Mapping[str, ArrayLike], agreements: Mapping[str, float]
) -> CourseFigure:
    """Channel by channel: the measured rise of the loss without it, over the score that a criterion gives it.

    Args:
        losses: (C,), nats.
        scores: criterion → (C,), ≥ 0; each is shown in per cent of its largest.
        agreements: criterion → rank correlation of its scores with the losses, in [−1, 1].
    """
    rises = floats(losses)
    figure, panels = new_figure(2.75 * len(scores), 3.0, columns=len(scores))
    told = []
    for i, (axes, (criterion, values)) in enumerate(zip(np.ravel(panels), scores.items(), strict=True)):
        percents = 100 * floats(values) / floats(values).max()
        place = _place(criterion)
        axes.plot(percents, rises, color=COLOURS[place], marker=MARKERS[place], linestyle="", markersize=4)
        axes.set(xlabel="score, % of the largest", xlim=(-5, 105))
        axes.set_ylabel("loss without it − with it, nats" if i == 0 else "loss rise, nats")
        axes.set_title(f"{criterion}\nrank correlation {agreements[criterion]:.2f}")
        told.append(f"{criterion} {agreements[criterion]:.2f}")
    alt = f"The loss's rise without each of {len(rises)} channels over its score. Rank correlations: {', '.join(told)}."
    return finish(figure, alt=alt)


@styled
def criteria_figure(accuracies: Mapping[str, Mapping[float, Sequence[float]]]) -> CourseFigure:
    """Accuracy (%) over the share of MACs left (%), one line a criterion: the mean of the draws, the bar their range.

    Args: accuracies: criterion → share of MACs, a fraction → accuracy of each draw, fractions.
    """
    figure, axes = new_figure(8.0, 3.8)
    told = []
    for i, (criterion, by_share) in enumerate(accuracies.items()):
        shift, place = 0.5 * (i - (len(accuracies) - 1) / 2), _place(criterion)
        means, lows, highs = (
            np.array([100 * float(f(draws)) for draws in by_share.values()]) for f in (np.mean, np.min, np.max)
        )
        reach = np.maximum(0, [means - lows, highs - means])
        axes.errorbar(
            100 * floats(list(by_share)) + shift, means, yerr=reach, color=COLOURS[place], marker=MARKERS[place],
            linestyle=_LINES[place % 4], markersize=5, capsize=3, label=criterion,
        )  # fmt: skip
        told.append(f"{criterion} " + ", ".join(f"{m:.0f}" for m in means))
    axes.set(xlabel="MACs left, %", ylabel="accuracy, %", ylim=(0, 100))
    figure.legend(loc="outside right center")
    shares = ", ".join(f"{100 * share:.0f} %" for share in next(iter(accuracies.values())))
    return finish(figure, alt=f"Accuracy in per cent at {shares} of the MACs. {'; '.join(told)}.")


@styled
def macs_and_time_figure(points: Mapping[str, Mapping[float, Estimate]]) -> CourseFigure:
    """Time left (%, 95 % interval) over MACs left (%), and the line on which both are equal.

    Args: points: network → share of its MACs, a fraction → latency as a fraction of the whole network's.
    """
    figure, axes = new_figure(6.5, 3.8)
    axes.plot([0, 100], [0, 100], color="#000000", linewidth=1, linestyle=":", label="time = MACs")
    told = []
    for i, (network, by_share) in enumerate(points.items()):
        values, lows, highs = (
            100 * floats([getattr(e, part) for e in by_share.values()]) for part in ("value", "low", "high")
        )
        axes.errorbar(
            100 * floats(list(by_share)), values, yerr=np.maximum(0, [values - lows, highs - values]),
            color=COLOURS[i], marker=MARKERS[i], linestyle=_LINES[i % 4], capsize=3, label=network,
        )  # fmt: skip
        rows = zip(by_share, values, strict=True)
        told.append(
            f"{network}: " + ", ".join(f"{100 * s:.0f} % of the MACs take {v:.0f} % of the time" for s, v in rows)
        )
    axes.set(xlabel="MACs left, %", ylabel="time left, %", xlim=(0, 104), ylim=(0, None))
    axes.legend(loc="upper left")
    return finish(figure, alt=f"Time over MACs. {'; '.join(told)}.")


@styled
def widths_figure(widths: ArrayLike, times_us: ArrayLike, again_us: float, multiple: int) -> CourseFigure:
    """Time (µs) of one convolution at each width, beside what its MACs promise from the largest width.

    Args:
        widths: (N,), channels in and out, rising.
        times_us: (N,), the median call.
        again_us: the largest width measured a second time: how far two equal things lie apart.
        multiple: widths that are multiples of it are marked.
    """
    counts, times = floats(widths), floats(times_us)
    figure, axes = new_figure(7.5, 3.6)
    axes.plot(counts, times[-1] * (counts / counts[-1]) ** 2, color="#000000", linestyle=":", label="as the MACs say")
    axes.plot(counts, times, color=COLOURS[1], linestyle="-", linewidth=1, marker=".", label="measured")
    whole = counts % multiple == 0
    axes.plot(
        counts[whole], times[whole], color=COLOURS[0], linestyle="", marker="o", markersize=8,
        label=f"multiple of {multiple}",
    )  # fmt: skip
    axes.plot(counts[-1], again_us, color="#000000", linestyle="", marker="x", markersize=8, label="the last one again")
    axes.set(xlabel="channels in and out", ylabel="time of a call, µs", ylim=(0, None))
    axes.set_xticks(counts[::2])
    axes.legend(loc="lower right")
    rows = ", ".join(f"{c:.0f}: {t:.0f}" for c, t in zip(counts, times, strict=True))
    return finish(figure, alt=f"Microseconds of a convolution by its channels. {rows}; the last again {again_us:.0f}.")


def _place(criterion: str) -> int:
    """The criterion's number, which gives colour and marker; one that has none comes after them."""
    return _CRITERIA.index(criterion) if criterion in _CRITERIA else len(_CRITERIA)


def _layers(groups: Sequence[Group], role: str) -> list[str]:
    """The layers with that role, each once, in order."""
    return list(dict.fromkeys(m.module for group in groups for m in group.members if m.role == role))


def _spread(names: Sequence[str], rows: int) -> dict[str, float]:
    """Names → heights, the first one on top, spread over all rows."""
    step = rows / max(1, len(names))
    return {name: rows - 0.5 - step * (i + 0.5) for i, name in enumerate(names)}


def _box(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    frame = {"boxstyle": "round", "facecolor": "#FFFFFF", "edgecolor": colour, "linewidth": 1.5}
    axes.text(x, y, text, ha="center", va="center", fontsize=9, bbox=frame, zorder=2)
