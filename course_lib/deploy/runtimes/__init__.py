"""Runtimes behind one interface: ``load`` a network, call it, and see who ran it.

PyTorch (eager, fused, compiled) and ONNX Runtime come with the course; OpenVINO, LiteRT and ExecuTorch are extras of
pyproject.toml. ``runtimes()`` lists them all, the absent ones with the command that brings them.
"""

from course_lib.deploy.runtimes.availability import NAMES, Availability, runtimes
from course_lib.deploy.runtimes.loaded import Loaded
from course_lib.deploy.runtimes.loading import load
from course_lib.deploy.runtimes.operators import unknown_operator
from course_lib.deploy.runtimes.variant import runtime_variant

__all__ = ["NAMES", "Availability", "Loaded", "load", "runtime_variant", "runtimes", "unknown_operator"]
