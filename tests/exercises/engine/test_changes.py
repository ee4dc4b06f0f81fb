"""Arguments as they were found: also what no value shows."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from course_lib.exercises import Exercise
from course_lib.exercises.engine.changes import trait_change, traits
from course_lib.exercises.engine.judge import judge


def model() -> nn.Module:
    parts = OrderedDict(stem=nn.Linear(2, 2), norm=nn.BatchNorm1d(2), head=nn.Linear(2, 1))
    net = nn.Sequential(parts)
    net.get_submodule("norm").eval()
    return net.requires_grad_(False)


@pytest.fixture
def look() -> Exercise:
    ex = Exercise("99.7", "Look at a model", points=1, hints=["a", "b"], trials=2)

    @ex.reference
    def weights(net, x, options):
        return sum(p.numel() for p in net.parameters())

    @ex.inputs
    def draw(rng):
        return model(), torch.randn(3, 2), {"b": 1, "a": 2}

    return ex


def replace_forward(net, x, options):
    net.stem.forward = lambda value: value


def swap_keys(net, x, options):
    options["b"] = options.pop("b")


LEFT = {
    "a forward hook": (lambda net, x, o: net.stem.register_forward_hook(print), "forward hooks of stem"),
    "a pre-hook": (lambda net, x, o: net.head.register_forward_pre_hook(print), "forward pre hooks of head"),
    "a backward hook": (lambda net, x, o: net.stem.register_full_backward_hook(print), "backward hooks of stem"),
    "a state-dict hook": (lambda net, x, o: net.register_state_dict_pre_hook(print), "state dict pre hooks"),
    "a replaced forward": (replace_forward, "attribute forward of stem"),
    "evaluation mode": (lambda net, x, o: net.eval(), "its mode was training, and is evaluation"),
    "a thawed layer": (lambda net, x, o: net.train(), "its mode of norm was evaluation, and is training"),
    "requires_grad": (lambda net, x, o: net.requires_grad_(), "requires_grad of stem.weight was False, and is True"),
    "a filled gradient": (lambda net, x, o: setattr(net.stem.weight, "grad", torch.ones(2, 2)), ".grad of stem.weight"),
    "an attribute": (lambda net, x, o: setattr(net, "caught", x), "attribute caught"),
    "a submodule": (lambda net, x, o: net.add_module("extra", nn.ReLU()), "extra"),
    "a weight": (lambda net, x, o: net.stem.weight.data.add_(1), "stem.weight"),
    "a tensor's gradient": (lambda net, x, o: x.requires_grad_(), "its requires_grad was False, and is True"),
    "the order of keys": (swap_keys, "order of keys was ['b', 'a'], and is ['a', 'b']"),
    "a new key": (lambda net, x, o: o.update(c=3), "options"),
}


@pytest.mark.parametrize(("change", "text"), LEFT.values(), ids=LEFT)
def test_what_is_left_on_an_argument_is_told(look, change, text):
    def answer(net, x, options):
        change(net, x, options)
        return sum(p.numel() for p in net.parameters()) - (2 if "never" in options else 0)

    verdict = judge(look, answer)
    assert verdict.state == "wrong"
    assert "your function changes its argument" in verdict.message
    assert text in verdict.message


def test_what_is_put_back_is_no_change(look):
    def careful(net, x, options):
        handle = net.stem.register_forward_hook(print)
        modes = [module.training for module in net.modules()]
        net.eval()
        for module, mode in zip(net.modules(), modes, strict=True):
            module.training = mode
        handle.remove()
        return sum(p.numel() for p in net.parameters())

    assert judge(look, careful)


def test_another_hook_in_the_place_of_one_is_a_change():
    net = nn.ReLU()
    handle = net.register_forward_hook(print)
    before = traits(net)
    handle.remove()
    net.register_forward_hook(len)
    assert trait_change(before, traits(net)) == "its forward hooks is another one"


def test_no_answer_meets_what_another_one_changed():
    shared = torch.tensor([1.0, 2.0])
    ex = Exercise("99.8", "Sum", points=1, hints=["a", "b"], trials=2)
    ex.reference(lambda x: x.sum())
    ex.case("kept by its module")(lambda: (shared,))
    ex.inputs(lambda rng: (shared,))

    @ex.rule
    def twice(fn, x):
        return None if fn(x) == 3 else "the sum is 3"

    assert judge(ex, lambda x: x.sum())
    assert not judge(ex, lambda x: x.zero_().sum())
    assert shared.tolist() == [1.0, 2.0]
    assert judge(ex, lambda x: x.sum())


def test_arguments_that_cannot_be_copied_are_made_anew():
    ex = Exercise("99.8", "Sum", points=1, hints=["a", "b"], trials=2)
    ex.reference(lambda numbers: sum(numbers))
    ex.inputs(lambda rng: ((int(i) for i in range(4)),))
    assert judge(ex, lambda numbers: sum(numbers))
    assert not judge(ex, lambda numbers: sum(numbers) + 1)


def test_leaves_no_trace_asks_for_what_belongs_to_no_argument():
    ex = Exercise("99.8", "Sum", points=1, hints=["a", "b"], trials=2, leaves_no_trace=True)
    ex.reference(lambda x: x.sum())
    ex.inputs(lambda rng: (torch.randn(3),))

    def hooking(x):
        nn.modules.module.register_module_forward_hook(print)
        return x.sum()

    def quiet(x):
        torch.set_printoptions(precision=2)
        torch.set_printoptions(precision=4)
        torch.manual_seed(3)
        return x.sum()

    assert "your function changes torch's hooks on all modules" in judge(ex, hooking).message
    assert (
        "your function changes NumPy's error settings"
        in judge(ex, lambda x: [np.seterr(all="ignore"), x.sum()][1]).message
    )
    assert judge(ex, quiet)
    ex.leaves_no_trace = False
    assert judge(ex, hooking)


def test_in_place_exercises_compare_modes_and_hooks_with_the_references():
    ex = Exercise("99.9", "Freeze", points=1, hints=["a", "b"], trials=2, in_place=True)

    @ex.reference
    def freeze_(net):
        net.get_submodule("stem").eval()

    ex.inputs(lambda rng: (model(),))
    assert judge(ex, lambda net: net.stem.train(False) and None)
    message = judge(ex, lambda net: net.eval() and None).message
    assert "the argument net after the call: its mode should be training, and is evaluation" in message
