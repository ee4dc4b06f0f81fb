"""A copy with other tensors: deep, but for the tensors that are given."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from course_lib.pruning.copies import copy_with


def test_the_copy_holds_the_given_tensors_and_copies_the_others():
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    net[1].weight = net[0].bias  # a shared tensor stays shared
    bias = nn.Parameter(torch.ones(3))
    twin = copy_with(net, {id(net[0].bias): bias})
    assert twin[0].bias is twin[1].weight is bias
    assert twin[0].weight is not net[0].weight
    assert torch.equal(twin[0].weight, net[0].weight)


def test_hooks_registered_on_the_copy_or_on_the_network_stay_there():
    net, calls = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), []
    net[0].register_forward_hook(lambda *_: calls.append("both"))
    twin = copy_with(net, {})
    for module, name in ((net[0], "net"), (twin[0], "twin"), (net[1], "net"), (twin[1], "twin")):
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    net(torch.zeros(1, 2))
    assert calls == ["both", "net", "net"]
    twin(torch.zeros(1, 2))
    assert calls[3:] == ["both", "twin", "twin"]


def test_ordered_dictionaries_of_the_networks_own_are_copied():
    class Noted(OrderedDict):
        note = ""

    net = nn.Identity()
    net.empty, net.full, net.noted = OrderedDict(), OrderedDict(a=[1]), Noted()
    net.shared, net.noted.note = net.empty, "kept"
    twin = copy_with(net, {})
    assert twin.empty is twin.shared
    assert twin.empty is not net.empty
    assert twin.full == net.full
    assert twin.full["a"] is not net.full["a"]
    assert type(twin.noted) is Noted
    assert twin.noted.note == "kept"
