"""A network that nobody here trained: torchvision's MobileNetV2, with weights that its makers trained on ImageNet.

Weights from elsewhere are checked before they are opened. A ``.pth`` file is a pickle, which can run code while it is
read; so its SHA-256 must be the known one first, and ``torch.load`` is told to read tensors only. Without a path,
torchvision downloads the same file to its own folder.

The network has 3,504,872 parameters in 53 layers: a convolution, 17 inverted residuals (1×1 wider, 3×3 for each channel
on its own, 1×1 narrower) and a linear layer, ReLU6 between them. It wants images of 224 × 224 pixels, each colour
shifted and scaled by ImageNet's mean and standard deviation. Here that is the network's first layer, a 1×1 convolution
for each colour: so it takes images in [0, 1] as every network of the course, and no runtime can be given others. It
cannot be folded into the next convolution, whose padding is black *after* it.

Sandler et al. 2018, arXiv:1801.04381. Weights: torchvision, "IMAGENET1K_V1", 71.878 % of ImageNet's validation images.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import torch
from torch import nn

from course_lib.data import torchvision_compat  # noqa: F401  # before torchvision, for its effect
from course_lib.errors import CourseError
from course_lib.storage.files import sha256

SIZE = 224
"""Pixels of its images, each way."""
FILE = "mobilenet_v2-b0353104.pth"
SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue."""


def mobilenet_v2(weights: str | Path | None = None) -> nn.Sequential:
    """torchvision's pretrained MobileNetV2 behind its normalization, in eval mode.

    Args: weights: the file ``mobilenet_v2-b0353104.pth``; None: torchvision downloads it, once.
    Returns: from images (B, 3, 224, 224), float32 in [0, 1], to logits (B, 1000).
    Raises: CourseError: the file is missing, is another one, or cannot be downloaded.
    """
    from torchvision.models import MobileNet_V2_Weights
    from torchvision.models import mobilenet_v2 as build

    if weights is None:
        try:
            network = build(weights=MobileNet_V2_Weights.IMAGENET1K_V1)
        except (OSError, RuntimeError) as error:  # no network, or what came has another checksum
            mend = f"bring {FILE} here and name its path"
            raise CourseError(f"torchvision could not download {FILE} ({error})", mend=mend) from error
    else:
        path = verified(weights)
        network = build(weights=None)
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return with_normalization(network).eval()


def verified(path: str | Path, expected: str = SHA256) -> Path:
    """The path, once the file's checksum is the known one; nothing of the file has been interpreted.

    Raises: CourseError: the file is missing, or another one; both sums are named.
    """
    path = Path(path)
    if not path.is_file():
        raise CourseError("no such file of weights", path=path, mend=f"name the path of {FILE}")
    found = sha256(path)
    if found != expected:
        raise CourseError(
            f"not the weights that are known here: SHA-256 {found} instead of {expected}",
            path=path,
            mend=f"bring torchvision's {FILE}; the file was not opened",
        )
    return path


def with_normalization(network: nn.Module) -> nn.Sequential:
    """The network behind (x − mean) / deviation for each colour, as a 1×1 convolution.

    >>> model = with_normalization(nn.Identity()).eval()
    >>> model(torch.tensor(MEAN).view(1, 3, 1, 1)).abs().max() < 1e-6
    tensor(True)
    """
    normalize = nn.Conv2d(3, 3, 1, groups=3)
    deviation = torch.tensor(DEVIATION)
    with torch.no_grad():
        normalize.weight.copy_((1 / deviation).view(3, 1, 1, 1))
        assert normalize.bias is not None
        normalize.bias.copy_(-torch.tensor(MEAN) / deviation)
    return nn.Sequential(OrderedDict(normalize=normalize, network=network)).requires_grad_(False)
