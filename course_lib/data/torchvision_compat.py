"""Make ``import torchvision`` work beside a CPU build of PyTorch.

The fault. A torchvision wheel carries compiled operators in ``_C.so``. The wheel that the package index serves for
Linux x86-64 is a CUDA build: its ``_C.so`` is linked to ``libtorch_cuda.so``, which a CPU build of PyTorch does not
have. torchvision swallows the loader's error; a moment later its ``_meta_registrations.py`` registers shape functions
for the operators ``nms`` and ``qnms``, finds that nobody declared them, and the import dies with
"operator torchvision::nms does not exist", a message that names neither cause nor cure.

The mend. Transforms, models, datasets and tv_tensors are pure Python: they need the operators' names only while
torchvision is being imported. So, before that import, we try to load the extension ourselves. Where it loads, nothing
else happens. Where it does not, we declare the two schemas, without an implementation, and the import succeeds.

What does not come back. Detection models, ``torchvision.ops.nms`` and ``torchvision.io.read_image`` call compiled
code: they still raise, with PyTorch's own message that the operator has no implementation. The course reads images
with Pillow. The lasting mend, for whoever needs those, is a matching pair of wheels from one index.

Import this module before torchvision: ``from course_lib import torchvision_compat`` (for its effect).
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import torch

SCHEMAS = tuple(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor" for name in ("nms", "qnms"))

# The declarations live as long as this object.
_declarations: torch.library.Library | None = None


def extension_path() -> Path | None:
    """The file of torchvision's compiled operators, or None where the wheel has none; torchvision is not imported.

    Raises: ModuleNotFoundError if torchvision is not installed.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("torchvision is not installed", name="torchvision")
    folder = Path(spec.submodule_search_locations[0])
    suffixes = (".so", *importlib.machinery.EXTENSION_SUFFIXES)
    return next((path for suffix in suffixes if (path := folder / f"_C{suffix}").exists()), None)


def ensure_importable() -> bool:
    """Declare torchvision's operators if its own cannot be loaded; call it before the first ``import torchvision``.

    Returns:
        True if torchvision's compiled operators are in use, False if only their names are declared.
    Raises: ModuleNotFoundError if torchvision is not installed.
    """
    global _declarations
    if _declarations is not None:
        return False
    if _declared() or _load(extension_path()):
        return True
    _declarations = torch.library.Library("torchvision", "FRAGMENT")
    for schema in SCHEMAS:
        _declarations.define(schema)
    return False


def _declared() -> bool:
    return hasattr(torch.ops.torchvision, "nms")


def _load(path: Path | None) -> bool:
    if path is None:
        return False
    try:
        torch.ops.load_library(path)
    except OSError:
        return False
    # A library built for another PyTorch can load and register nothing.
    return _declared()


HAS_COMPILED_OPS = ensure_importable()
