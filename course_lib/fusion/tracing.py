"""A network as a graph, also where parts of it branch on data: those stay whole.

torch.fx runs ``forward`` once with placeholders for tensors. Where Python asks such a placeholder for a value ("if
x.mean() > 0"), there is none, and tracing fails. A module inside which that happens is made a leaf of the graph: called
as it is, not looked into. Only where it is the network itself that branches can nothing be done.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.fx import GraphModule, Tracer

from course_lib.errors import CourseError
from course_lib.fusion.kernels import FusedConvolution
from course_lib.models.modes import eval_mode


class _LeafTracer(Tracer):
    """Looks into every module but PyTorch's own and those named."""

    def __init__(self, leaves: dict[str, str]):
        super().__init__()
        self.leaves = leaves
        self.failed: tuple[str, str] | None = None  # the innermost module that could not be traced, and why

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        ours = isinstance(m, FusedConvolution) or module_qualified_name in self.leaves
        return ours or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception as error:
            self.failed = self.failed or (self.path_of_module(m), f"{error}".splitlines()[0])
            raise


def traced(model: nn.Module) -> tuple[GraphModule, dict[str, str]]:
    """A copy of the network in eval mode as a graph, and the modules that stayed whole with the reason.

    Raises: CourseError: the network itself cannot be traced.

    >>> graph, whole = traced(nn.Sequential(nn.Linear(2, 3), nn.ReLU()))
    >>> [node.op for node in graph.graph.nodes], whole
    (['placeholder', 'call_module', 'call_module', 'output'], {})
    """
    own = copy.deepcopy(model).requires_grad_(False)
    leaves: dict[str, str] = {}
    with eval_mode(own):
        while True:
            tracer = _LeafTracer(leaves)
            try:
                graph = tracer.trace(own)
            except Exception as error:
                if tracer.failed is None or tracer.failed[0] in leaves:
                    raise CourseError(
                        f"torch.fx cannot trace {type(model).__name__} ({f'{error}'.splitlines()[0]})",
                        mend="move what branches on values into a module of its own: it then stays as it is",
                    ) from error
                leaves[tracer.failed[0]] = tracer.failed[1]
                continue
            break
    own.eval()
    return GraphModule(own, graph, type(model).__name__), leaves
