"""06.1: tap a layer with a hook, and leave no trace, whatever happens."""

from __future__ import annotations

import contextlib
import copy

import numpy as np
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from course_lib.distillation import Taps
from course_lib.exercises.chapter_06.traces import Caught, hooked, network, output_and_traces, pictures
from course_lib.exercises.engine.exercise import Exercise

Question = tuple[nn.Module, str, Tensor]

ex = Exercise(
    "06.1",
    "Tap a layer and leave no trace",
    points=2,
    gradient_of=("images",),
    trials=4,
    hints=[
        "model.get_submodule(name).register_forward_hook(function) calls function(module, inputs, output) after the "
        "module ran, and returns a handle.",
        "The function can append the output to a list of yours. handle.remove() takes the hook away.",
        "Something may raise between the two: try: model(images) … finally: handle.remove().",
    ],
    explanation="""
        A hook is global state in someone else's model: like an open file, it belongs in a `try … finally`, or in a
        context manager such as `course_lib.distillation.Taps`. Only one's own hook is removed, by its handle: the
        model may carry others.
    """,
)


@ex.reference
def tap(model: nn.Module, name: str, images: Tensor) -> Tensor:
    """The output of the module called ``name``; no hook stays, whatever happens."""
    caught = []

    def catch(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        caught.append(output)

    handle = model.get_submodule(name).register_forward_hook(catch)
    try:
        model(images)
    finally:
        handle.remove()
    return caught[-1]


@ex.case("a layer inside a stage")
def inner_layer() -> Question:
    return network(2, 3), "stages.1", pictures(2)


@ex.case("a whole stage")
def whole_stage() -> Question:
    return network(2, 2), "stages", pictures(1)


@ex.case("a name that begins another name")
def short_name() -> Question:
    return network(2, 3), "stem", pictures(2)


@ex.case("a name that ends another name")
def last_part() -> Question:
    return network(2, 2), "flat", pictures(2)


@ex.inputs
def random_question(rng: np.random.Generator) -> Question:
    stem, middle = (int(n) for n in rng.integers(2, 5, 2))
    name = str(rng.choice(["stages.0", "stages.1"]))
    return network(stem, middle), name, pictures(int(rng.integers(1, 4)), int(rng.integers(17)))


ex.outcome(output_and_traces)


@ex.mistake(
    "Your hook stays on the model. It runs in every later forward pass and keeps what it caught alive. Keep the handle "
    "that register_forward_hook returns, and call its remove()."
)
def hook_stays(model: nn.Module, name: str, images: Tensor) -> Tensor:
    caught = Caught()
    model.get_submodule(name).register_forward_hook(caught)
    model(images)
    return caught[-1]


@ex.mistake(
    "If the model raises (here: images of the wrong width), your hook stays. Put remove() in a finally block, or use a "
    "with statement."
)
def no_finally(model: nn.Module, name: str, images: Tensor) -> Tensor:
    caught = Caught()
    handle = model.get_submodule(name).register_forward_hook(caught)
    model(images)
    handle.remove()
    return caught[-1]


@ex.mistake(
    "You removed every hook of the layer, also those that are not yours: somebody's Taps would go blind. "
    "handle.remove() takes your own away."
)
def all_hooks_cleared(model: nn.Module, name: str, images: Tensor) -> Tensor:
    caught, module = Caught(), model.get_submodule(name)
    module.register_forward_hook(caught)
    try:
        model(images)
    finally:
        module._forward_hooks.clear()
    return caught[-1]


@ex.mistake(
    "You swallow the model's error: who calls tap with wrong images gets another error, or none. finally without "
    "except removes the hook and lets the error through."
)
def error_swallowed(model: nn.Module, name: str, images: Tensor) -> Tensor:
    caught = Caught()
    with hooked(model.get_submodule(name), caught), contextlib.suppress(Exception):
        model(images)
    return caught[-1]


@ex.mistake(
    "The model's error vanishes in your except, and None comes back. finally without except removes the hook and lets "
    "the error through."
)
def none_after_an_error(model: nn.Module, name: str, images: Tensor) -> Tensor | None:
    try:
        return tap(model, name, images)
    except Exception:
        return None


@ex.mistake(
    "You caught the module's input. A forward hook is called as hook(module, inputs, output): the third one is what "
    "the layer gave."
)
def input_caught(model: nn.Module, name: str, images: Tensor) -> Tensor:
    caught = Caught()
    handle = model.get_submodule(name).register_forward_pre_hook(caught.inputs)
    try:
        model(images)
    finally:
        handle.remove()
    return caught[-1]


@ex.mistake("You returned the model's output. The hook must store the layer's output, in a list for instance.")
def model_output(model: nn.Module, name: str, images: Tensor) -> Tensor:
    return model(images)


@ex.mistake("You returned the list that your hook fills. Asked for is the output in it: caught[-1].")
def whole_list(model: nn.Module, name: str, images: Tensor) -> list[Tensor]:
    return [tap(model, name, images)]


@ex.mistake(
    "You gave the images to the layer itself. It is used to what the layers before it make of them: run the whole "
    "model, and let a hook catch the output."
)
def layer_alone(model: nn.Module, name: str, images: Tensor) -> Tensor:
    return model.get_submodule(name)(images)


@ex.mistake("getattr knows no dots: stages.0 is an attribute of an attribute. model.get_submodule(name) finds it.")
def getattr_only(model: nn.Module, name: str, images: Tensor) -> Tensor:
    getattr(model, name)
    return tap(model, name, images)


@ex.mistake(
    "Your search takes every module whose name holds the text, so that stem also finds stem_tanh and stages.stem. "
    "Compare whole names, or use model.get_submodule(name)."
)
def part_of_a_name(model: nn.Module, name: str, images: Tensor) -> Tensor:
    found = [full for full, module in model.named_modules() if name in full]
    return tap(model, found[-1], images)


@ex.mistake(
    "Your search takes the first module whose name ends with the text, so that flat finds stages.flat. Compare whole "
    "names, or use model.get_submodule(name)."
)
def end_of_a_name(model: nn.Module, name: str, images: Tensor) -> Tensor:
    return tap(model, next(full for full, module in model.named_modules() if full.endswith(name)), images)


@ex.mistake(
    "The output is right, but it carries no gradient: with no_grad() or detach() no loss on this layer could train the "
    "network before it. Whoever wants none says so outside."
)
def no_gradient(model: nn.Module, name: str, images: Tensor) -> Tensor:
    return tap(model, name, images).detach()


@ex.mistake(
    "You tapped a copy. It leaves no trace, and no gradient either: a loss on its output trains the copy alone."
)
def on_a_copy(model: nn.Module, name: str, images: Tensor) -> Tensor:
    twin, caught = copy.deepcopy(model), Caught()
    dict(twin.named_modules())[name].register_forward_hook(caught)
    twin(images)
    return caught.pop()


@ex.mistake("You leave the model in evaluation mode. A tap only looks: each module keeps the mode that it was in.")
def eval_left(model: nn.Module, name: str, images: Tensor) -> Tensor:
    return tap(model.eval(), name, images)


@ex.mistake(
    "model.train() afterwards is not what was before: it also sets the modules that were in evaluation mode. Leave "
    "modes alone."
)
def mode_put_back_at_the_root(model: nn.Module, name: str, images: Tensor) -> Tensor:
    was = model.training
    try:
        return tap(model.eval(), name, images)
    finally:
        model.train(was)


@ex.mistake("You leave the parameters with requires_grad: a frozen model would begin to learn. Leave them as they are.")
def unfrozen(model: nn.Module, name: str, images: Tensor) -> Tensor:
    return tap(model.requires_grad_(True), name, images)


@ex.mistake(
    "You replaced the layer's forward, and it stays replaced: every later call, and every copy, runs your function. A "
    "hook with a handle can be taken away."
)
def forward_replaced(model: nn.Module, name: str, images: Tensor) -> Tensor:
    caught, module = [], model.get_submodule(name)
    own = type(module).forward

    def forward(*inputs: Tensor) -> Tensor:
        caught.append(own(module, *inputs))
        return caught[-1]

    module.forward = forward
    model(images)
    return caught[-1]


@ex.mistake("Your hook hangs on all modules of the process, and stays: remove its handle, too, or hook the one layer.")
def global_hook_stays(model: nn.Module, name: str, images: Tensor) -> Tensor:
    register_module_forward_hook(Caught())
    return tap(model, name, images)


@ex.mistake(
    "Your hook returns something, which PyTorch then takes for the layer's output: the rest of the model sees other "
    "numbers. A hook that only looks returns None."
)
def hook_returns(model: nn.Module, name: str, images: Tensor) -> Tensor:
    caught = Caught()
    with hooked(model.get_submodule(name), caught.replacing):
        model(images)
    return caught[-1]


@ex.alternative
def with_taps(model: nn.Module, name: str, images: Tensor) -> Tensor:
    with Taps(model, [name]) as taps:
        model(images)
        return taps[name]


@ex.alternative
def from_a_dictionary(model: nn.Module, name: str, images: Tensor) -> Tensor:
    caught = Caught()
    with hooked(dict(model.named_modules())[name], caught):
        model(images)
    return caught.pop()


@ex.alternative
def stopped_at_the_layer(model: nn.Module, name: str, images: Tensor) -> Tensor:
    caught = Caught()

    def hook(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        caught.append(output)
        raise StopIteration

    with contextlib.ExitStack() as stack, contextlib.suppress(StopIteration):
        stack.callback(model.get_submodule(name).register_forward_hook(hook).remove)
        model(images)
    return caught[0]
