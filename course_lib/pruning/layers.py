"""How the layers of ``torch.nn`` treat channels: one rule for each kind.

A rule gets the ids of the layer's input, a tensor of the input's shape, states which axes of which of the layer's
tensors they stand on, and gives the ids of the output.

A convolution with groups > 1 loses *whole groups*: the inputs and the outputs of one group are one channel, so that
the width of a group stays and only ``groups`` falls. A depthwise convolution is the case of width 1. (The other
possible rule, the same filters out of every group, would leave a depthwise convolution uncut.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from course_lib.pruning.groups import Consumer, Role, UnsupportedOperator
from course_lib.pruning.identities import Identities, spread


@dataclass(frozen=True)
class Call:
    """One call of a layer.

    Args:
        node: the call in the traced graph.
        name: the layer's name, as in ``named_modules``.
        module: the layer.
        shape: of its output.
        identities: where the rule states what it knows.
        names: a tensor's id() → its full name, one for tensors that are shared.
        consumers: the nodes that mix channels, filled by the rules.
    """

    node: fx.Node
    name: str
    module: nn.Module
    shape: torch.Size
    identities: Identities
    names: dict[int, str]
    consumers: dict[str, Consumer]

    def attach(self, tensor: str, axis: int, role: Role, ids: Tensor) -> None:
        """State which channels stand on an axis of one of the layer's tensors; nothing where it has none."""
        value = getattr(self.module, tensor)
        if value is None:
            return
        if id(value) not in self.names:
            raise UnsupportedOperator(f"{self.name}.{tensor} is computed from others: remove the parametrization")
        self.identities.attach(self.names[id(value)], axis, role, ids)

    def count(self, attribute: str, ids: Tensor) -> None:
        """State which channels one of the layer's attributes counts."""
        self.identities.count(self.name, attribute, ids)

    def produce(self, attribute: str) -> Tensor:
        """The ids of the channels that the layer makes, as many as ``attribute`` says."""
        ids = self.identities.source(self.name, cast(int, getattr(self.module, attribute)))
        self.count(attribute, ids)
        return ids

    def normalize(self, attribute: str, ids: Tensor, *tensors: str) -> None:
        """State which channels ``attribute`` counts, and that each of ``tensors`` holds one number for each of them."""
        self.count(attribute, ids)
        for tensor in tensors:
            self.attach(tensor, 0, "normalizes", ids)

    def consume(self, dim: int, ids: Tensor) -> None:
        """State that the layer mixes the channels that stand on ``dim`` of its input."""
        self.consumers[self.node.name] = Consumer(dim, ids)


def _convolution(call: Call, ids: Tensor) -> Tensor:
    layer = cast(_ConvNd, call.module)
    dim = 1 - layer.weight.ndim  # counted from the end: a batch may be missing
    inputs, outputs = call.identities.along(ids, dim), call.produce("out_channels")
    transposed = isinstance(layer, _ConvTransposeNd)
    call.count("in_channels", inputs)
    if layer.groups == 1:
        call.attach("weight", 1 if transposed else 0, "produces", outputs)
        call.attach("weight", 0 if transposed else 1, "consumes", inputs)
        call.consume(dim, inputs)
    else:
        blocks = inputs.view(layer.groups, -1)  # (groups, channels of one group)
        call.identities.unite(blocks, blocks[:, :1])
        call.identities.unite(outputs.view(layer.groups, -1), blocks[:, :1])
        call.attach("weight", 0, "produces", inputs if transposed else outputs)
        call.count("groups", blocks[:, 0])
    call.attach("bias", 0, "produces", outputs)
    return spread(outputs, dim, call.shape)


def _linear(call: Call, ids: Tensor) -> Tensor:
    inputs, outputs = call.identities.along(ids, -1), call.produce("out_features")
    call.count("in_features", inputs)
    call.attach("weight", 0, "produces", outputs)
    call.attach("bias", 0, "produces", outputs)
    call.attach("weight", 1, "consumes", inputs)
    call.consume(-1, inputs)
    return spread(outputs, -1, call.shape)


def _channel_norm(call: Call, ids: Tensor) -> Tensor:
    """BatchNorm and InstanceNorm: each channel by itself."""
    channels = call.identities.along(ids, 1)
    call.normalize("num_features", channels, "weight", "bias", "running_mean", "running_var")
    return spread(channels, 1, call.shape)


def _layer_norm(call: Call, ids: Tensor) -> Tensor:
    """LayerNorm over the last axis, whose mean and variance mix the channels; over several axes they stay."""
    if len(cast(nn.LayerNorm, call.module).normalized_shape) > 1:
        call.identities.protect(ids, f"{call.name} normalizes over several axes at once")
        return ids
    channels = call.identities.along(ids, -1)
    call.normalize("normalized_shape", channels, "weight", "bias")
    call.consume(-1, channels)
    return spread(channels, -1, call.shape)


def _group_norm(call: Call, ids: Tensor) -> Tensor:
    """GroupNorm: the number of groups stays, so every group loses the channels at equal places."""
    channels = call.identities.along(ids, 1)
    blocks = channels.view(cast(nn.GroupNorm, call.module).num_groups, -1)
    call.identities.unite(blocks, blocks[:1])
    call.normalize("num_channels", channels, "weight", "bias")
    call.consume(1, channels)
    return spread(channels, 1, call.shape)


def _prelu(call: Call, ids: Tensor) -> Tensor:
    if cast(nn.PReLU, call.module).num_parameters == 1:
        return ids
    channels = call.identities.along(ids, 1)
    call.count("num_parameters", channels)
    call.attach("weight", 0, "scales", channels)
    return spread(channels, 1, call.shape)


def _softmax(call: Call, ids: Tensor) -> Tensor:
    dim = cast(nn.Softmax, call.module).dim
    if dim is None or call.identities.varies(ids, dim):
        call.identities.protect(ids, f"{call.name} is a softmax over them")
    return ids


def _flatten(call: Call, ids: Tensor) -> Tensor:
    layer = cast(nn.Flatten, call.module)
    return ids.flatten(layer.start_dim, layer.end_dim)


def _pixel_shuffle(call: Call, ids: Tensor) -> Tensor:
    shuffled = nn.functional.pixel_shuffle(ids, cast(nn.PixelShuffle, call.module).upscale_factor)
    # The r² channels that become one must go together.
    return spread(call.identities.along(shuffled, -3), -3, call.shape)


def _channel_shuffle(call: Call, ids: Tensor) -> Tensor:
    blocks = ids.unflatten(1, (cast(nn.ChannelShuffle, call.module).groups, -1))
    # As many must go from every group: those at equal places go together.
    call.identities.unite(blocks, blocks.narrow(1, 0, 1))
    return blocks.transpose(1, 2).flatten(1, 2)


def _same(call: Call, ids: Tensor) -> Tensor:
    """A function of each value by itself."""
    return ids


def _spatial(call: Call, ids: Tensor) -> Tensor:
    """Pooling, resizing, padding: each channel by itself, to another height and width."""
    return spread(call.identities.along(ids, 1), 1, call.shape)


Rule = Callable[[Call, Tensor], Tensor]

_RULES: dict[Rule, str] = {
    _convolution: "Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d",
    _linear: "Linear",
    _channel_norm: "BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm InstanceNorm1d InstanceNorm2d InstanceNorm3d",
    _layer_norm: "LayerNorm",
    _group_norm: "GroupNorm",
    _prelu: "PReLU",
    _softmax: "Softmax LogSoftmax Softmin",
    _flatten: "Flatten",
    _pixel_shuffle: "PixelShuffle",
    _channel_shuffle: "ChannelShuffle",
    _same: "Identity Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout ReLU ReLU6 LeakyReLU ELU "
    "SELU CELU GELU SiLU Mish Sigmoid LogSigmoid Tanh Hardtanh Hardswish Hardsigmoid Softplus Softsign Softshrink "
    "Hardshrink Tanhshrink Threshold RReLU",
    _spatial: "MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d LPPool1d LPPool2d AdaptiveAvgPool1d "
    "AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d FractionalMaxPool2d "
    "Upsample UpsamplingNearest2d UpsamplingBilinear2d ZeroPad1d ZeroPad2d ZeroPad3d ConstantPad1d ConstantPad2d "
    "ConstantPad3d ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d "
    "ReplicationPad3d CircularPad1d CircularPad2d CircularPad3d",
}
LAYERS: dict[type[nn.Module], Rule] = {
    getattr(nn, kind): rule for rule, kinds in _RULES.items() for kind in kinds.split()
}
"""Kind of layer → its rule; a subclass may compute something else, so only the kind itself counts."""
KEEP_SHAPE = frozenset(kind for kind, rule in LAYERS.items() if rule in (_same, _channel_norm, _layer_norm, _prelu))
"""Layers whose output has their input's shape, whatever it is: nothing need be computed to know it."""
