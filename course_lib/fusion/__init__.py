"""Operator fusion: BatchNorm into weights, activations and sums into convolutions, and the memory traffic it saves."""

from course_lib.fusion.choosing import CANDIDATES, Fastest, fastest
from course_lib.fusion.editing import Rewrite
from course_lib.fusion.folding import (
    ChannelNorm,
    MergedLinears,
    fold_after,
    fold_before,
    merge_linears,
    norm_of,
)
from course_lib.fusion.kernels import FusedConvolution, why_no_kernel
from course_lib.fusion.overhead import call_overhead_us
from course_lib.fusion.rewriting import Fusion, fuse
from course_lib.fusion.traffic import Operator, Traffic, predicted_saving_ms, traffic

__all__ = [
    "CANDIDATES",
    "ChannelNorm",
    "Fastest",
    "FusedConvolution",
    "Fusion",
    "MergedLinears",
    "Operator",
    "Rewrite",
    "Traffic",
    "call_overhead_us",
    "fastest",
    "fold_after",
    "fold_before",
    "fuse",
    "merge_linears",
    "norm_of",
    "predicted_saving_ms",
    "traffic",
    "why_no_kernel",
]
