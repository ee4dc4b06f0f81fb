"""Removing what a network does not need."""

from course_lib.pruning.channels import folded_filter_norms, masked_student, prune_channels, pruned_widths

__all__ = ["folded_filter_norms", "masked_student", "prune_channels", "pruned_widths"]
