"""The edge kit: one folder for a board, what is in it, and how it is proven here on an emulated processor."""

from course_lib.deploy.edge.guard import require_portable
from course_lib.deploy.edge.kit import LARGEST_MB, CNetworkFile, OnnxNetwork, build_kit, require_place
from course_lib.deploy.edge.manifest import FORMAT, KitModel, Manifest, Scores, Tolerance, read_manifest

__all__ = [
    "FORMAT",
    "LARGEST_MB",
    "CNetworkFile",
    "KitModel",
    "Manifest",
    "OnnxNetwork",
    "Scores",
    "Tolerance",
    "build_kit",
    "read_manifest",
    "require_place",
    "require_portable",
]
