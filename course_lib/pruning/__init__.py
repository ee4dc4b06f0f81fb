"""Removing what a network does not need."""

from course_lib.pruning.channels import folded_filter_norms, masked_student, prune_channels, pruned_widths
from course_lib.pruning.cutting import cut, masked
from course_lib.pruning.dependency import dependency_graph
from course_lib.pruning.groups import DependencyGraph, Group, Member, UnsupportedOperator
from course_lib.pruning.selection import Importance, choose, group_l2

__all__ = [
    "DependencyGraph",
    "Group",
    "Importance",
    "Member",
    "UnsupportedOperator",
    "choose",
    "cut",
    "dependency_graph",
    "folded_filter_norms",
    "group_l2",
    "masked",
    "masked_student",
    "prune_channels",
    "pruned_widths",
]
