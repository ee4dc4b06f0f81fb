"""The interactive part on channel pruning: choose a group and a ratio, and see what goes from which tensor."""

from __future__ import annotations

import ipywidgets

from course_lib.plots import CourseFigure, cut_figure
from course_lib.pruning import DependencyGraph, PredictedMacs
from course_lib.widgets.panel import figure_panel, slider


def channel_cut_explorer(graph: DependencyGraph, macs: PredictedMacs) -> ipywidgets.VBox:
    """Choose a group and the fraction of its channels that goes: every tensor it takes from, and the MACs left.

    Args:
        graph: ``dependency_graph(model, …)``.
        macs: ``predicted_macs(model, graph, ranking)``; its ranking says which channels go first.
    """
    ranking = macs.ranking

    def draw(name: str, pruning_ratio: float) -> CourseFigure:
        size = ranking.sizes[name]
        counts = {name: max(ranking.least[name], size - round(pruning_ratio * size))}
        return cut_figure(graph[name], ranking.keep(counts)[name], macs(counts), macs({}))

    style = {"description_width": "8em"}
    groups = ipywidgets.Dropdown(
        options=list(ranking.orders), description="group", style=style, layout={"width": "28em"}
    )
    return figure_panel(draw, name=groups, pruning_ratio=slider("fraction removed", 0.3, 0.0, 0.95, 0.05))
