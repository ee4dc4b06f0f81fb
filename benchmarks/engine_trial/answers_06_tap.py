"""Wrong answers to 06.1."""

from __future__ import annotations

import torch
from torch.nn.modules import module as torch_module

from course_lib.exercises.chapter_06.tap import tap
from engine_trial.answers import Answers


def hook_that_stays_on_the_root(model, name, images):
    model.register_forward_hook(lambda *rest: None)
    return tap(model, name, images)


def pre_hook_that_stays(model, name, images):
    model.get_submodule(name).register_forward_pre_hook(lambda *rest: None)
    return tap(model, name, images)


def backward_hook_that_stays(model, name, images):
    model.get_submodule(name).register_full_backward_hook(lambda *rest: None)
    return tap(model, name, images)


def global_pre_hook_that_stays(model, name, images):
    torch_module.register_module_forward_pre_hook(lambda *rest: None)
    return tap(model, name, images)


def one_module_in_eval(model, name, images):
    model.get_submodule(name).eval()
    return tap(model, name, images)


def attribute_that_stays(model, name, images):
    model.caught = tap(model, name, images)
    return model.caught


def removed_twice_and_one_more(model, name, images):
    found = tap(model, name, images)
    model.get_submodule(name)._forward_hooks.popitem()
    return found


def last_hook_removed_after_an_error(model, name, images):
    try:
        return tap(model, name, images)
    except Exception:
        model.get_submodule(name)._forward_hooks.clear()
        raise


def another_error(model, name, images):
    try:
        return tap(model, name, images)
    except Exception as error:
        raise KeyError(name) from error


def removed_only_after_an_error(model, name, images):
    caught = []
    handle = model.get_submodule(name).register_forward_hook(lambda module, inputs, output: caught.append(output))
    try:
        model(images)
    except Exception:
        handle.remove()
        raise
    return caught[-1]


def hook_after_the_call(model, name, images):
    model(images)
    caught = [images]
    handle = model.get_submodule(name).register_forward_hook(lambda module, inputs, output: caught.append(output))
    handle.remove()
    return caught[-1]


def data_of_the_output(model, name, images):
    return tap(model, name, images).data


def without_gradient(model, name, images):
    with torch.no_grad():
        return tap(model, name, images)


def modules_by_hand(model, name, images):
    for child_name, child in model.named_children():
        images = child(images)
        if child_name == name.split(".")[0]:
            return images
    return images


def weights_thawed_and_frozen(model, name, images):
    model.requires_grad_(True)
    found = tap(model, name, images)
    model.requires_grad_(False)
    return found


def images_that_require(model, name, images):
    return tap(model, name, images.detach().requires_grad_())


TAP: Answers = {
    "hook_that_stays_on_the_root": hook_that_stays_on_the_root,
    "pre_hook_that_stays": pre_hook_that_stays,
    "backward_hook_that_stays": backward_hook_that_stays,
    "global_pre_hook_that_stays": global_pre_hook_that_stays,
    "one_module_in_eval": one_module_in_eval,
    "attribute_that_stays": attribute_that_stays,
    "removed_twice_and_one_more": removed_twice_and_one_more,
    "last_hook_removed_after_an_error": last_hook_removed_after_an_error,
    "another_error": another_error,
    "removed_only_after_an_error": removed_only_after_an_error,
    "hook_after_the_call": hook_after_the_call,
    "data_of_the_output": data_of_the_output,
    "no_grad": without_gradient,
    "children_by_hand": modules_by_hand,
    "images_that_require": images_that_require,
    "first_image": lambda model, name, images: tap(model, name, images)[:1],
    "flat": lambda model, name, images: tap(model, name, images).flatten(1),
    "rounded": lambda model, name, images: tap(model, name, images).round(decimals=1),
    "last_module": lambda model, name, images: tap(model, list(dict(model.named_modules()))[-1], images),
    "parent": lambda model, name, images: tap(model, name.split(".")[0], images),
}


WRONG = {"06.1": TAP}
