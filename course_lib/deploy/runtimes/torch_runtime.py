"""PyTorch as a runtime: eager, eager with a network of fewer layers, and compiled.

Eager PyTorch runs one operator after the other, as the module's Python says; it is the reference of every comparison.
``torch_fused`` runs what a function makes of the module, such as one that folds BatchNorm into the convolutions.
``torch_compile`` traces the module and builds C++ for this processor, which takes from seconds to a minute, once.

The threads are one number for the whole process: each call sets it to its own where it differs, and leaves it so.
``channels_last`` stores images as (B, H, W, C), which some convolutions read faster and others slower: measure it.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import torch
from torch import nn

from course_lib.deploy.runtimes.files import require_same_answers, torch_predict, weights_bytes
from course_lib.deploy.runtimes.loaded import Loaded, Predict, Request, opened
from course_lib.deploy.runtimes.operators import named_operators
from course_lib.models import eval_mode


def load_pytorch(model: nn.Module | str | Path, request: Request) -> Loaded:
    """Open a module; see ``course_lib.deploy.runtimes.load``."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"{request.runtime} takes an nn.Module, got {model!r}")
    if request.runtime == "torch_fused" and request.fuse is None:
        raise ValueError("torch_fused needs fuse=, a function from a module to an equal module of fewer layers")
    own = _own_copy(model, request)
    layout = torch.channels_last if request.channels_last else torch.contiguous_format
    own = own.to(memory_format=layout)  # pyright: ignore[reportCallIssue]

    def start() -> tuple[None, Predict]:
        network = torch.compile(own) if request.runtime == "torch_compile" else own
        return None, torch_predict(network, request.threads, layout)  # pyright: ignore[reportArgumentType]

    with named_operators(request.runtime), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the compiler, on itself
        _, predict, ms = opened(start, request.input_shape)
    loaded = Loaded(
        predict=predict,
        runtime=request.runtime,
        version=request.version,
        provider="cpu",
        requested_provider=request.provider or "cpu",
        instruction_set=f"{torch.backends.cpu.get_cpu_capability()} (PyTorch's; oneDNN's kernels choose their own)",
        precision="float32",
        threads=torch.get_num_threads(),
        load_ms=ms,
        bytes=weights_bytes(own),
        input_shape=request.input_shape,
        notes=("PyTorch's threads are one number for the whole process",),
    )
    require_same_answers(model, loaded)
    return loaded


def _own_copy(model: nn.Module, request: Request) -> nn.Module:
    """What runs: a copy in eval mode, so that neither later training nor the memory order touches the caller's."""
    with eval_mode(model):
        found = request.fuse(model) if request.runtime == "torch_fused" and request.fuse else model
        return copy.deepcopy(found).eval()
