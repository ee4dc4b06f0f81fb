"""Which channels of a network go together: ``dependency_graph(model, example)``, for any network torch.fx can trace.

The method. Every activation carries, beside its shape, an id for each value that says to which channel it belongs
(``propagation.py``). Operators unite ids, in a union-find forest (``identities.py``); layers tie them to the axes of
their tensors (``layers.py``). What is united at the end is one channel. A *group* is all channels that share a layer
which produces them, so that one ranking can choose among them; the channels that two groups feed into one
concatenation stay independent.

The network is traced twice, in eval and in train mode, because a network may compute more while it trains (GoogLeNet's
auxiliary heads): a cut must fit both. Neither the network's tensors nor its modes are touched: what runs is a copy
without memory, on the device "meta".

What is refused, rather than guessed: an operator without a rule (``UnsupportedOperator``). What is never cut: channels
that reach the network's output or come from its input, and channels whose number the code states.

Fang et al. 2023 (DepGraph, arXiv:2301.12900) follow gradients instead of a trace, and pairs of layers instead of ids;
Torch-Pruning is their library. It must be told which layers are outputs, and gives its answer as index lists with
closures; here the output is found, and a group is data that can be printed.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from torch import Tensor, fx, nn

from course_lib.pruning.copies import copy_with
from course_lib.pruning.functions import ELEMENTWISE, kind_of
from course_lib.pruning.groups import DependencyGraph, UnsupportedOperator
from course_lib.pruning.identities import Identities
from course_lib.pruning.numbering import numbered_graph, settle_parameters
from course_lib.pruning.propagation import Propagation


def dependency_graph(model: nn.Module, example_inputs: Tensor | Sequence[Tensor]) -> DependencyGraph:
    """The groups of channels of ``model`` that must be kept or removed together.

    Args:
        model: any network that torch.fx traces in eval and in train mode. It stays as it is, also its modes.
        example_inputs: the arguments of its forward; only shapes and types count, and they must do for both modes.
            Channels stand on axis 1.
    Raises:
        ValueError: the network cannot be traced; the message names the reason and the line.
        UnsupportedOperator: channels cannot be followed through an operator, or it fails on the example.

    >>> import torch
    >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    >>> print(dependency_graph(net, torch.zeros(1, 3, 4, 4))["0"])
    0: 4 channels
      produces    0.weight       axis 0: 0, 1, 2, …
      produces    0.bias         axis 0: 0, 1, 2, …
      normalizes  1.weight       axis 0: 0, 1, 2, …
      normalizes  1.bias         axis 0: 0, 1, 2, …
      normalizes  1.running_mean axis 0: 0, 1, 2, …
      normalizes  1.running_var  axis 0: 0, 1, 2, …
      consumes    3.weight       axis 1: 0-3, 4-7, 8-11, …
    """
    example = (example_inputs,) if isinstance(example_inputs, Tensor) else tuple(example_inputs)
    try:
        return _followed(model, example, lines=False)
    except UnsupportedOperator:
        return _followed(model, example, lines=True)  # raises again, with the line: recording lines takes a second


def trace(model: nn.Module, *, lines: bool = False) -> fx.Graph:
    """The network as a graph of operators, in the mode in which it is.

    Args: lines: whether each node records the lines of source that called it.
    Raises: ValueError: it cannot be traced; the message names the reason and the line.
    """
    tracer = fx.Tracer()
    tracer.record_stack_traces = lines
    try:
        return tracer.trace(model)
    except Exception as error:  # whatever the network's own code raises when it meets a tracer
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/torch/" not in frame.filename and frame.filename != __file__]
        where = f" at {own[-1].filename}:{own[-1].lineno}" if own else ""
        raise ValueError(f"{type(model).__name__} cannot be traced{where}: {error}") from error


def _followed(model: nn.Module, example: tuple[Tensor, ...], lines: bool) -> DependencyGraph:
    skeleton, names = _skeleton(model)
    shapes = [tensor.detach().to("meta") for tensor in example]
    identities = Identities()
    evaluation, training = trace(skeleton.eval(), lines=lines), trace(skeleton.train(), lines=lines)
    skeleton.eval()  # the values are computed in eval mode: a BatchNorm that trains refuses a single value a channel
    walk = Propagation(skeleton, evaluation, names, identities)
    walk.run(*shapes)
    if _steps(training) != _steps(evaluation):
        Propagation(skeleton, training, names, identities).run(*shapes)
    settle_parameters(identities, {names[id(tensor)]: tensor.shape for tensor in _tensors(skeleton)})
    return numbered_graph(identities, walk.consumers, example)


def _steps(traced: fx.Graph) -> list[tuple[str, str]]:
    """What each node computes from which others: traces equal in it tie the same channels."""
    steps = []
    for node in traced.nodes:  # of a dropout not its train flag
        given = node.all_input_nodes if kind_of(node) in ELEMENTWISE else (node.args, node.kwargs)
        steps.append((node.name, f"{node.op} {node.target} {given}"))
    return steps


def _skeleton(model: nn.Module) -> tuple[nn.Module, dict[int, str]]:
    """A copy whose tensors have shapes and no memory, and id() → name of each; a shared tensor has its first name."""
    bare: dict[int, Tensor] = {}
    for tensor in _tensors(model):
        shape = tensor.detach().to("meta")
        bare[id(tensor)] = nn.Parameter(shape, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else shape
    skeleton = copy_with(model, bare)
    named = [*skeleton.named_parameters(), *skeleton.named_buffers()]
    return skeleton, {id(tensor): name for name, tensor in named}


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
