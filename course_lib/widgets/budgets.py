"""The interactive part on budgets: drag the MACs, and watch what each rule takes from which layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ipywidgets

from course_lib.plots import CourseFigure, allocation_figure
from course_lib.widgets.panel import figure_panel


def allocation_explorer(
    budgets: Sequence[float],
    kept: Mapping[str, Sequence[Mapping[str, float]]],
    accuracies: Mapping[str, Sequence[float]],
) -> ipywidgets.VBox:
    """Choose a budget: the share of each layer that the rules keep, and the accuracy that is left before training.

    Args:
        budgets: (K,), fractions of the whole network's MACs.
        kept: rule → for each budget layer → fraction of its channels kept.
        accuracies: rule → (K,), fractions.
    Raises: ValueError: not one allocation and one accuracy of each rule for every budget.
    """
    lengths = {
        f"{what} of {rule}": len(v)
        for what, of in (("kept", kept), ("accuracies", accuracies))
        for rule, v in of.items()
    }
    if wrong := [name for name, length in lengths.items() if length != len(budgets)]:
        raise ValueError(f"{wrong[0]} must have one value a budget, got {lengths[wrong[0]]} and {len(budgets)} budgets")

    def draw(budget: int) -> CourseFigure:
        said = ", ".join(f"{rule} {100 * right[budget]:.1f} %" for rule, right in accuracies.items())
        title = f"{100 * budgets[budget]:.0f} % of the MACs; right before training: {said}"
        return allocation_figure({rule: allocations[budget] for rule, allocations in kept.items()}, title)

    options = [(f"{100 * budget:.0f} %", i) for i, budget in enumerate(budgets)]
    chosen = ipywidgets.SelectionSlider(
        options=options, value=len(budgets) // 2, description="MACs", continuous_update=False, layout={"width": "28em"}
    )
    return figure_panel(draw, budget=chosen)
