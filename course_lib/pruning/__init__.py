"""Removing what a network does not need."""

from course_lib.pruning.allocation import (
    first_within,
    greedy_allocation,
    greedy_path,
    proportional_path,
    uniform_allocation,
)
from course_lib.pruning.channels import folded_filter_norms, masked_student, prune_channels, pruned_widths
from course_lib.pruning.costs import Cost, LayerWeight, PredictedMacs, layer_weights, predicted_macs
from course_lib.pruning.cutting import cut, masked
from course_lib.pruning.dependency import dependency_graph
from course_lib.pruning.groups import DependencyGraph, Group, Member, UnsupportedOperator
from course_lib.pruning.latency_budget import LatencyAllocation, latency_allocation
from course_lib.pruning.latency_table import LatencyTable, LayerTimes, Measure, latency_table
from course_lib.pruning.ranking import Allocation, Ranking, importance_losses, rank_channels
from course_lib.pruning.recovery import reestimate_batch_norm_
from course_lib.pruning.search import SearchResult, SearchTrial, search_allocation
from course_lib.pruning.selection import Importance, choose, group_l2
from course_lib.pruning.sensitivity import Score, Sensitivity, SensitivityCurve, cached_sensitivity, sensitivity

__all__ = [
    "Allocation",
    "Cost",
    "DependencyGraph",
    "Group",
    "Importance",
    "LatencyAllocation",
    "LatencyTable",
    "LayerTimes",
    "LayerWeight",
    "Measure",
    "Member",
    "PredictedMacs",
    "Ranking",
    "Score",
    "SearchResult",
    "SearchTrial",
    "Sensitivity",
    "SensitivityCurve",
    "UnsupportedOperator",
    "cached_sensitivity",
    "choose",
    "cut",
    "dependency_graph",
    "first_within",
    "folded_filter_norms",
    "greedy_allocation",
    "greedy_path",
    "group_l2",
    "importance_losses",
    "latency_allocation",
    "latency_table",
    "layer_weights",
    "masked",
    "masked_student",
    "predicted_macs",
    "proportional_path",
    "prune_channels",
    "pruned_widths",
    "rank_channels",
    "reestimate_batch_norm_",
    "search_allocation",
    "sensitivity",
    "uniform_allocation",
]
