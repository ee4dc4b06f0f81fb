"""How much does the network suffer when one group alone loses channels? A curve for each group, measured.

For every group and every ratio the network is cut in that group only and scored, on *validation* images: what is chosen
by these curves must not have seen the test part. Nothing is trained in between. So a curve says what is lost at once;
what fine-tuning brings back it does not say, and groups differ in that too. And it says nothing about two groups that
are cut together: the losses of both add up only while they are small.

What is measured is plain data: counts and scores. ``Sensitivity.losses`` turns it into losses at every count, straight
lines between the measured ones, for ``greedy_allocation``.

Source: Li et al. 2017, arXiv:1608.08710, section 3.2 and figure 2b.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from course_lib.models.digest import weights_sha256
from course_lib.pruning.costs import example_shape
from course_lib.pruning.cutting import cut
from course_lib.pruning.groups import DependencyGraph
from course_lib.pruning.progress import shown
from course_lib.pruning.ranking import Ranking
from course_lib.storage.cache import cached, reading
from course_lib.storage.files import read_json, write_json

Score = Callable[[nn.Module], float]
"""A network → how good it is: an accuracy, or anything finite of which more is better."""

VERSION = 1  # of the way curves are measured: raise it when the same inputs give other numbers
CURVES = "curves.json"


@dataclass(frozen=True)
class SensitivityCurve:
    """One group's scores while all others stay whole.

    Args:
        group: its name.
        size: its number of channels.
        ratios: the fractions asked to be removed, ascending.
        counts: how many channels were kept at each ratio: rounded, and no fewer than the group needs.
        scores: of the network cut to each count.
    """

    group: str
    size: int
    ratios: tuple[float, ...]
    counts: tuple[int, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True)
class Sensitivity:
    """The curves of a network's groups.

    Args:
        whole: the score of the network before any cut.
        curves: one a ranked group, in the order of execution.
    """

    whole: float
    curves: tuple[SensitivityCurve, ...]

    def losses(self) -> dict[str, Tensor]:
        """A group's name → ``whole`` − score when it keeps k channels, (size + 1,), at k; for ``greedy_allocation``.

        Straight lines between what was measured; below the smallest count measured, its loss.

        >>> curve = SensitivityCurve("a", 4, (0.5,), (2,), (0.5,))
        >>> Sensitivity(0.9, (curve,)).losses()["a"].tolist()
        [0.4, 0.4, 0.4, 0.2, 0.0]
        """
        losses = {}
        for curve in self.curves:
            known = {**dict(zip(curve.counts, curve.scores, strict=True)), curve.size: self.whole}
            counts = sorted(known)
            drops = [self.whole - known[count] for count in counts]
            losses[curve.group] = torch.from_numpy(np.interp(np.arange(curve.size + 1), counts, drops))
        return losses


def sensitivity(
    model: nn.Module,
    graph: DependencyGraph,
    ranking: Ranking,
    ratios: Sequence[float],
    score: Score,
    *,
    progress: bool = False,
) -> Sensitivity:
    """Cut each ranked group alone at each ratio, and score what is left.

    Args:
        model, graph, ranking: the network, which stays as it is, its graph and ``rank_channels(model, graph, …)``.
        ratios: the fractions removed, in [0, 1), ascending. Ratios that leave a group the same count share a score.
        score: of a network, on validation. It gets cut copies, in the model's modes, which it may change.
        progress: show a bar.
    Raises: ValueError: ratios are empty, out of range or not ascending, or a score is not finite.

    >>> from course_lib.pruning import dependency_graph, norms, rank_channels
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(4, 2))
    >>> graph = dependency_graph(net, torch.zeros(1, 1, 1, 1))
    >>> width = lambda network: network[0].out_channels
    >>> sensitivity(net, graph, rank_channels(net, graph, norms(2)), [0.25, 0.5], width).curves[0].scores
    (3.0, 2.0)
    """
    asked = _ratios(ratios)
    whole = _finite(score(cut(model, graph, {})), "the whole network")
    curves = []
    for name, size in shown(ranking.sizes.items(), len(ranking.orders), "group", progress):
        counts = [max(ranking.least[name], round(round(1 - ratio, 12) * size)) for ratio in asked]
        scores = {size: whole}
        for count in counts:
            if count not in scores:
                small = cut(model, graph, ranking.keep({name: count}))
                scores[count] = _finite(score(small), f"{name!r} with {count} of {size} channels")
        curves.append(SensitivityCurve(name, size, asked, tuple(counts), tuple(scores[c] for c in counts)))
    return Sensitivity(whole, tuple(curves))


def cached_sensitivity(
    model: nn.Module,
    graph: DependencyGraph,
    ranking: Ranking,
    ratios: Sequence[float],
    score: Score,
    *,
    measured: str,
    root: str | Path | None = None,
    progress: bool = False,
) -> Sensitivity:
    """``sensitivity`` from the course's cache, or measured and kept there.

    An entry belongs to the network (its weights and its printed form), the channels' order, the ratios and
    ``measured``. The order stands for the importance: it is all that an importance contributes.

    Args:
        model, graph, ranking, ratios, score, progress: as for ``sensitivity``.
        measured: what ``score`` computes on which data, since a function cannot tell:
            ``f"accuracy {validation.digest()}"``.
        root: the folder of the cache; by default the course's.
    Raises: ValueError: as ``sensitivity``. CourseError: the cache cannot be written or its entry cannot be read.
    """
    identity = {
        "version": VERSION,
        "network": weights_sha256(model),
        "input": list(example_shape(graph)),
        "orders": hashlib.sha256(json.dumps([dict(ranking.orders), dict(ranking.least)]).encode()).hexdigest(),
        "ratios": list(_ratios(ratios)),
        "measured": measured,
    }

    def build(folder: Path) -> None:
        found = sensitivity(model, graph, ranking, ratios, score, progress=progress)
        write_json(folder / CURVES, asdict(found))

    label = type(model).__name__.lower()
    folder = cached("sensitivity", label, identity, [CURVES], build, needed_bytes=1 << 20, root=root)
    with reading(folder):
        return _sensitivity(read_json(folder / CURVES, mend=f"delete {folder}: it is made again"))


def _sensitivity(stored: dict) -> Sensitivity:
    """What ``asdict`` made of it, and JSON of that."""
    curves = [
        SensitivityCurve(c["group"], c["size"], tuple(c["ratios"]), tuple(c["counts"]), tuple(c["scores"]))
        for c in stored["curves"]
    ]
    return Sensitivity(stored["whole"], tuple(curves))


def _ratios(ratios: Sequence[float]) -> tuple[float, ...]:
    asked = tuple(float(ratio) for ratio in ratios)
    if not asked or not all(0 <= ratio < 1 for ratio in asked):
        raise ValueError(f"ratios must be at least one number in [0, 1), got {list(asked)}")
    if any(a >= b for a, b in itertools.pairwise(asked)):
        raise ValueError(f"ratios must be ascending, got {list(asked)}")
    return asked


def _finite(score: float, what: str) -> float:
    if not math.isfinite(score):
        raise ValueError(f"the score must be finite, got {score} for {what}")
    return float(score)
