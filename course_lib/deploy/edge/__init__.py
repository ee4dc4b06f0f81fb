"""The edge kit: one folder for a board, what is in it, and how it is proven here on an emulated processor.

``kit`` builds it, ``remote`` runs it on a board over SSH, ``imports`` makes a ledger of what came back, ``prediction``
says before that what the board's documented peaks allow.
"""

from course_lib.deploy.edge.board import Progress
from course_lib.deploy.edge.boards import BOARDS, Board, Documented, find_board
from course_lib.deploy.edge.guard import require_portable
from course_lib.deploy.edge.imports import import_results
from course_lib.deploy.edge.kit import LARGEST_MB, CNetworkFile, OnnxNetwork, build_kit, require_place
from course_lib.deploy.edge.manifest import FORMAT, KitModel, Manifest, Scores, Tolerance, read_manifest
from course_lib.deploy.edge.prediction import LayerPrediction, Prediction, compare, predict, predict_kit, sources
from course_lib.deploy.edge.remote import run_kit
from course_lib.deploy.edge.results import Results, read_results

__all__ = [
    "BOARDS",
    "FORMAT",
    "LARGEST_MB",
    "Board",
    "CNetworkFile",
    "Documented",
    "KitModel",
    "LayerPrediction",
    "Manifest",
    "OnnxNetwork",
    "Prediction",
    "Progress",
    "Results",
    "Scores",
    "Tolerance",
    "build_kit",
    "compare",
    "find_board",
    "import_results",
    "predict",
    "predict_kit",
    "read_manifest",
    "read_results",
    "require_place",
    "require_portable",
    "run_kit",
    "sources",
]
