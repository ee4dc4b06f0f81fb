"""ONNX and ONNX Runtime: export, sessions, counts and profiles of a file, and a file as a ledger's variant."""

from course_lib.deploy.onnx.counts import OnnxCounts, deployable_bytes, images_input, onnx_counts
from course_lib.deploy.onnx.export import IR_VERSION, OPSET, export_onnx, relative_error
from course_lib.deploy.onnx.fusions import (
    LEVELS,
    FusionTable,
    OptimizedGraph,
    OptimizedNode,
    fusion_table,
    optimized_graph,
)
from course_lib.deploy.onnx.layers import onnx_layers
from course_lib.deploy.onnx.names import shorten_names
from course_lib.deploy.onnx.profile import node_times_ms
from course_lib.deploy.onnx.reading import read_model
from course_lib.deploy.onnx.session import open_session, run_session
from course_lib.deploy.onnx.variant import onnx_variant, onnx_variants

__all__ = [
    "IR_VERSION",
    "LEVELS",
    "OPSET",
    "FusionTable",
    "OnnxCounts",
    "OptimizedGraph",
    "OptimizedNode",
    "deployable_bytes",
    "export_onnx",
    "fusion_table",
    "images_input",
    "node_times_ms",
    "onnx_counts",
    "onnx_layers",
    "onnx_variant",
    "onnx_variants",
    "open_session",
    "optimized_graph",
    "read_model",
    "relative_error",
    "run_session",
    "shorten_names",
]
