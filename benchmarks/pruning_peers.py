"""Cutting torchvision's networks beside Torch-Pruning: results/pruning_peers.json.

    pip install ".[peers]"
    python benchmarks/pruning_peers.py            print the table
    python benchmarks/pruning_peers.py --record   also write the record

Twelve networks with random weights, 64×64 images (VGG 224×224: its classifier asks for them), L2 norms, a third of the
channels. Beforehand half of the channels of every group of ours is set to zero, what makes them and what reads them: no
tool finds a smaller norm, so one that follows the network rightly removes nothing else, and no output moves. The
difference is the largest of any output, relative to the largest output.

Seconds are those of the whole step (follow the network, choose, cut), the best of three runs, tools in turn, one
thread: seconds of the processor, which other programs lengthen less than those of the clock, and after a collection of
garbage, so that no tool clears away what another left. Torch-Pruning must be told which layers make the output; ours
finds out. A LayerNorm over channels changes with their number, whatever was removed, so ConvNeXt's difference says
nothing about the cut (``masked`` in tests does).

Accuracy: the shipped teacher of rendered signs loses a third of the channels of each group by either tool, and both get
the same recovery, three epochs on a quarter of the training signs, in the same order (three seeds). Torch-Pruning's
``GroupMagnitudeImportance`` also looks at the weights that read a channel, so ours is given both roles as well.
"""

from __future__ import annotations

import argparse
import copy
import gc
import math
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

from course_lib.data import (
    load,
    torchvision_compat,  # noqa: F401  (before torchvision)
)
from course_lib.evaluation import Estimate, model_accuracy, seed_interval
from course_lib.measure import Measurement, record
from course_lib.models import checkpoints
from course_lib.pruning import DependencyGraph, choose, cut, dependency_graph, norms
from course_lib.training import Recipe, fit

NAME, ZEROED, RATIO, RUNS, THREADS, SEED = "pruning_peers", 1 / 2, 1 / 3, 3, 1, 0
FIRST_SEED, SEEDS = 340, 3
SIZES = {"vgg11_bn": 224}
NETWORKS = (
    "resnet18",
    "resnet50",
    "vgg11_bn",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "squeezenet1_1",
    "densenet121",
    "googlenet",
    "shufflenet_v2_x1_0",
    "efficientnet_b0",
    "regnet_y_400mf",
    "convnext_tiny",
)
Tool = Callable[[nn.Module, Tensor], nn.Module]


def network(name: str) -> tuple[nn.Module, Tensor]:
    """The network, in eval mode and without heads that only training has, and an image."""
    from torchvision import models

    torch.manual_seed(SEED)
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    model = models.get_model(name, weights=None, **options).eval()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    size = SIZES.get(name, 64)
    return model, torch.rand(1, 3, size, size)


@torch.no_grad()
def zero_(model: nn.Module, graph: DependencyGraph) -> None:
    """Set half of the channels of each group to zero, those with the smallest norms."""
    keep = choose(graph, model, norms(2), ZEROED, scope="layer")
    tensors = dict(model.named_parameters())
    for name, channels in keep.items():
        group = graph[name]
        gone = sorted(set(range(group.size)) - set(channels))
        for member in group.members:
            if member.name in tensors:
                places = [position for channel in gone for position in member.indices[channel]]
                tensors[member.name].index_fill_(member.axis, torch.tensor(places, dtype=torch.long), 0.0)


def ours(model: nn.Module, image: Tensor) -> nn.Module:
    """Follow, choose, cut."""
    graph = dependency_graph(model, image)
    return cut(model, graph, choose(graph, model, norms(2), RATIO, scope="layer"))


def torch_pruning(model: nn.Module, image: Tensor) -> nn.Module:
    """The same by Torch-Pruning, which works in place; the copy is not timed."""
    import torch_pruning as tp

    importance = tp.importance.GroupMagnitudeImportance(p=2, group_reduction="sum", normalizer=None)
    last = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)][-1]
    pruner = tp.pruner.BasePruner(model, image, importance, pruning_ratio=RATIO, ignored_layers=[last])
    pruner.step()
    return model


def best_seconds(tools: dict[str, Tool], model: nn.Module, image: Tensor) -> dict[str, float]:
    """The fastest of the runs of each tool, in turn, each on a fresh copy."""
    found = dict.fromkeys(tools, math.inf)
    for _ in range(RUNS):
        for name, tool in tools.items():
            fresh = copy.deepcopy(model)
            gc.collect()
            started = time.process_time()
            tool(fresh, image)
            found[name] = min(found[name], time.process_time() - started)
    return found


def row(name: str, tools: dict[str, Tool]) -> dict[str, dict[str, float | str]]:
    """For each tool: ok or the reason why not, seconds, relative difference, fraction of parameters left."""
    model, image = network(name)
    zero_(model, dependency_graph(model, image))
    expected, size = model(image), sum(p.numel() for p in model.parameters())
    found: dict[str, dict[str, float | str]] = {}
    for tool, prune in tools.items():
        try:
            small = prune(copy.deepcopy(model), image).eval()
            difference = (small(image) - expected).abs().max() / expected.abs().max()
        except Exception as error:  # whatever the tool raises is its answer
            found[tool] = {"status": f"refused: {type(error).__name__}: {str(error).splitlines()[0][:120]}"}
            continue
        left, apart = sum(p.numel() for p in small.parameters()) / size, float(f"{difference.item():.2g}")
        found[tool] = {"status": "ok", "difference": apart, "parameters_left": round(left, 3)}
    fine = {tool: prune for tool, prune in tools.items() if found[tool]["status"] == "ok"}
    for tool, seconds in best_seconds(fine, model, image).items():
        found[tool]["seconds"] = round(seconds, 3)
    return found


def ours_by_both(model: nn.Module, image: Tensor) -> nn.Module:
    """Follow, choose by what makes a channel and what reads it, cut."""
    graph = dependency_graph(model, image)
    importance = norms(2, roles=("produces", "consumes"))
    return cut(model, graph, choose(graph, model, importance, RATIO, scope="layer"))


def accuracy_difference(tools: dict[str, Tool]) -> tuple[Estimate, dict[str, list[float]]]:
    """Points ours − Torch-Pruning after equal recovery, paired by seed, and each tool's accuracies, in %."""
    splits = load("rendered")
    teacher, _ = checkpoints.load("teacher_rendered")
    train = splits.train.subset(splits.train.groups % 4 == 0)
    found: dict[str, list[float]] = {tool: [] for tool in tools}
    for seed in range(FIRST_SEED, FIRST_SEED + SEEDS):
        for tool, prune in tools.items():
            torch.manual_seed(seed)
            small = prune(copy.deepcopy(teacher), torch.zeros(1, 3, 32, 32))
            recipe = Recipe(epochs=3, max_lr=2e-3, weight_decay=0.05, seed=seed, precision="bfloat16")
            fit(small, train, splits.validation, recipe, progress=False)
            found[tool].append(100 * model_accuracy(small, splits.validation))
    pairs = zip(found["ours"], found["torch_pruning"], strict=True)
    return seed_interval([one - other for one, other in pairs], unit="points"), found


def main() -> None:
    """Cut, print, and record if asked."""
    parser = argparse.ArgumentParser(description="Cut torchvision's networks beside Torch-Pruning.")
    parser.add_argument("--record", action="store_true", help=f"write benchmarks/results/{NAME}.json")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(THREADS)
    tools: dict[str, Tool] = {"ours": ours, "torch_pruning": torch_pruning}
    rows = {}
    with torch.no_grad():
        for name in NETWORKS:
            with torch.enable_grad():
                rows[name] = row(name, tools)
            print(name, rows[name], flush=True)
    both = [r for r in rows.values() if all("seconds" in cell for cell in r.values())]
    ratio = max(float(r["ours"]["seconds"]) / float(r["torch_pruning"]["seconds"]) for r in both)
    followed = {tool: sum(r[tool]["status"] == "ok" for r in rows.values()) for tool in tools}
    figures = {
        f"{tool}_networks": Measurement(count, "", len(NETWORKS), f"networks cut without an error by {tool}")
        for tool, count in followed.items()
    }
    what = "ours / Torch-Pruning, seconds of the whole step; the worst network"
    why = "two traces and a check of the cut cost more than small networks' index lists" if ratio > 1.2 else None
    figures["slowest_time_ratio"] = Measurement(round(ratio, 3), "×", RUNS, what, target="≤ 1.2", note=why)
    apart, accuracies = accuracy_difference({"ours": ours_by_both, "torch_pruning": torch_pruning})
    meaning = "ours − Torch-Pruning, validation accuracy of the teacher after equal cut and recovery; mean over seeds"
    figures["accuracy_difference_points"] = Measurement.of(apart, "points", meaning)
    print({name: figure.value for name, figure in figures.items()}, accuracies)
    if options.record:
        command, extra = "python benchmarks/pruning_peers.py --record", {"rows": rows, "accuracies": accuracies}
        seeds = [SEED, *range(FIRST_SEED, FIRST_SEED + SEEDS)]
        print(f"Written: {record(NAME, command, figures, seeds=seeds, threads=THREADS, extra=extra)}")


if __name__ == "__main__":
    main()
