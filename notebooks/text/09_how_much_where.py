# %% [markdown]
# # 09 · How much, where: how much can each layer give?
#
# Half of the work must go. Taken evenly from all layers, or more from some? And must it be the same for every image, and on every day?
#
# **You will be able to**
#
# * measure how much one layer alone can give, and say why such curves do not add up;
# * divide a budget of MACs, or of measured milliseconds, among the layers;
# * judge whether a search was worth its trials;
# * say what 2:4 costs, and where it saves time;
# * let each image choose its channels, and count the work that is really done;
# * keep a sparse network alive while the data change.
#
# **Before:** chapter [07](07_magnitude_pruning.ipynb) (masks), chapter [08](08_channel_pruning.ipynb) (cutting channels). **Time:** 110 min to work through; the cells take about 1 min on 2 quiet cores. Symbols: [notation](../docs/notation.md).

# %% tags=["nbval-ignore-output"]
import copy
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown, display

from course_lib import measure, plots, widgets
from course_lib.data import load
from course_lib.deploy.onnx import export_onnx, open_session
from course_lib.evaluation import accuracy_difference, model_accuracy, paired_seed_interval, predict_logits
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.measure import claim, load_result
from course_lib.measure.tables import text_table
from course_lib.models import checkpoints
from course_lib.training import Recipe, fit

splits = load(size=32)

# %% [markdown]
# The network is the shipped student, a chain of convolutions and a classifier. This chapter tries many settings, so half of the validation signs *choose*, and the other half gives the *scores*. The test part is not read.

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import cut, dependency_graph, norms, predicted_macs, rank_channels

student, card = checkpoints.load(f"student_{splits.train.name}")


def part(dataset, count):
    """About ``count`` images, evenly spread."""
    return dataset.subset(np.arange(0, len(dataset), max(1, len(dataset) // count)))


first_half = np.isin(splits.validation.groups, np.unique(splits.validation.groups)[::2])
choosing = part(splits.validation.subset(first_half), 500)
scoring = part(splits.validation.subset(~first_half), 900)
train, some = part(splits.train, 2400), part(splits.train, 300)

# %% [markdown]
# Within a group, the channels of largest L2 norm stay (chapter 08). *Which* channels is settled; the question here is *how many* of each.

# %% tags=["nbval-ignore-output"]
graph = dependency_graph(student, torch.zeros(1, 3, 32, 32))
ranking = rank_channels(student, graph, norms(2))
macs = predicted_macs(student, graph, ranking)
names = {group: f"conv {i + 1}" for i, group in enumerate(ranking.orders)}
for layer, group in zip(macs.layers, [*ranking.orders, None], strict=True):
    width = f"{ranking.sizes[group]:3} channels" if group else "never cut"
    share = 100 * layer.macs({}) / macs({})
    print(f"{names.get(group, 'classifier'):10} {width:12} {share:5.1f} % of the MACs")

# %% [markdown]
# ## Predict first
#
# 1. Every convolution loses a quarter of its channels, all at once. The points of accuracy lost, divided by the sum of what each convolution loses when it alone is cut: (a) below 0.8, (b) 0.8 to 1.25, (c) more?
# 2. Each image computes only the channels that it needs, about half of the MACs. How many times faster does PyTorch answer: (a) below 0.8, so slower; (b) 0.8 to 1.2; (c) more?

# %% tags=["nbval-ignore-output"]
sum_guess = None  # "a", "b" or "c"; the chapter comes back to both
speed_guess = None
display(predict("09.p1", sum_guess, sure=None), predict("09.p2", speed_guess, sure=None))

# %% [markdown]
# ## One layer at a time
#
# A *sensitivity curve*: cut one layer to a fraction of its channels, leave all others whole, score, and begin anew from the whole network. After a cut BatchNorm's statistics are wrong (chapter 08); the score below puts them right first, with a few hundred training images, so that the curve shows what the missing channels cost, and not what stale statistics cost.

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import cached_sensitivity, reestimate_batch_norm_


def repaired(model):
    reestimate_batch_norm_(model, some)
    return model


def score(model):
    return model_accuracy(repaired(model), choosing)


ratios = [0.125, 0.25, 0.375, 0.5, 0.75]
measured = f"accuracy, statistics anew: {choosing.digest()} {some.digest()}"
scan = cached_sensitivity(student, graph, ranking, ratios, score, measured=measured, progress=True)
plots.sensitivity_figure({names[c.group]: ((0, *c.ratios), (scan.whole, *c.scores)) for c in scan.curves})

# %% tags=["nbval-ignore-output"]
claim("At half of their channels the most and the least sensitive layer differ by more than 10 points.",
      np.ptp([curve.scores[3] for curve in scan.curves]) > 0.1)

# %% [markdown]
# The curves come from *validation* images. Choosing by them is choosing, like any other: a layer that seems to bear a cut well may have had luck with these few hundred images.
#
# **Exercise 09.1.** The curve of one layer in a network of two.


# %%
def sensitivity_curve(w1, w2, inputs, labels, ratios):
    """Accuracy (len(ratios),) of relu(inputs @ w1.T) @ w2.T when w1 alone loses each ratio of its units.

    Of H units max(1, round((1 − ratio) · H)) stay, those of largest L2 norm. About 6 lines.
    """
    ...


check("09.1", sensitivity_curve)

# %% [markdown]
# ### They do not add up
#
# Suppose each layer's cut disturbs the logits a little. *Small* independent disturbances add in their squares, and accuracy does not follow squares: a sign is lost when the disturbance exceeds its margin. One cut may stay below the margin of nearly all signs, and five together above it. At the other end the sum is impossible: nobody loses more than everything.
#
# **By hand.** Each of five cuts disturbs the logits by 1; together, by $\sqrt{5 \cdot 1^2} \approx 2.24$. A sign with margin 2 survives each cut alone, and not all five: sum of the losses 0, joint loss 1. A sign with margin 0.5 is lost to each cut alone, sum 5; together it is lost once.

# %% tags=["nbval-ignore-output"]
curves, together, alone = scan.losses(), [], {name: [] for name in names.values()}
for ratio in ratios[:4]:
    counts = {group: round((1 - ratio) * size) for group, size in ranking.sizes.items()}
    together.append(100 * (scan.whole - score(cut(student, graph, ranking.keep(counts)))))
    for group, count in counts.items():
        alone[names[group]].append(100 * curves[group][count].item())
sums = np.sum(list(alone.values()), axis=0)
plots.together_figure(ratios[:4], alone, together)

# %% tags=["nbval-ignore-output"]
reveal("09.p1", together[1] / sums[1])

# %%
claim("A quarter cut from every layer costs more than the single losses added up.",
      together[1] > sums[1])

# %% [markdown]
# So a curve ranks layers. It does not predict a network. What was allotted by curves must be measured as a whole.
#
# ## A budget in MACs
#
# The *uniform* rule takes the same fraction from every layer: the control. The *greedy* rule takes, again and again, the channel that costs least for what it saves,
#
# $$\text{price} = \frac{\Delta\,\text{loss}}{\Delta\,\text{MACs}},$$
#
# with losses from the curves. What a channel saves depends on its neighbours: layer $l$ does $p_l\,n_{l-1}\,n_l$ MACs, with $n_l$ channels and $p_l$ = positions · $k^2$, so one channel less saves $p_l\,n_{l-1} + p_{l+1}\,n_{l+1}$, at *today's* widths.
#
# **Four numbers.** $n = (4, 2)$, $p = (10, 5)$, 3 inputs, 6 classes: a channel of layer 1 saves $10 \cdot 3 + 5 \cdot 2 = 40$, one of layer 2 saves $5 \cdot 4 + 6 = 26$. If they cost 0.10 and 0.05, the prices are 0.0025 and 0.0019: take the second.

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import greedy_allocation, uniform_allocation

budgets = [0.3, 0.4, 0.5, 0.6, 0.75]
allocations = {
    "uniform": [uniform_allocation(ranking, macs, budget) for budget in budgets],
    "greedy": [greedy_allocation(ranking, macs, curves, budget) for budget in budgets],
}


def small(counts):
    return repaired(cut(student, graph, ranking.keep(counts)))


def kept(counts):
    return {names[group]: counts[group] / size for group, size in ranking.sizes.items()}


right = {rule: [model_accuracy(small(a), scoring) for a in found] for rule, found in allocations.items()}
plots.allocation_figure({rule: kept(found[2]) for rule, found in allocations.items()}, "50 % of the MACs")

# %% [markdown]
# Drag the budget. Which layer gives first under the greedy rule, and at which budget is its lead largest?

# %% tags=["nbval-ignore-output"]
shares = {rule: [kept(counts) for counts in found] for rule, found in allocations.items()}
widgets.allocation_explorer(budgets, shares, right)

# %% tags=["nbval-ignore-output"]
rows = [[f"{100 * budget:.0f} %", *(f"{100 * right[rule][i]:.1f} %" for rule in right)]
        for i, budget in enumerate(budgets)]
print(text_table(["MACs", *(f"{rule}, right" for rule in right)], rows))

# %% [markdown]
# **Exercise 09.2.** One step of the greedy rule, in a chain.


# %%
def greedy_step(widths, inputs, classes, positions, losses):
    """The layer whose next channel costs the least loss for each MAC saved; each keeps at least 1 channel.

    Layer l does positions[l] · (its inputs) · widths[l] MACs; losses[l][k]: it alone keeps k channels.
    The classifier behind the last layer has 1 position and ``classes`` outputs.
    """
    ...


check("09.2", greedy_step)

# %% [markdown]
# ### After training
#
# What is lost at once is not what counts. Both at half of the MACs, with equal short training:

# %% tags=["nbval-ignore-output"]
short = Recipe(epochs=2, batch_size=64, max_lr=2e-3, schedule="cosine")
trained = {}
for rule, found in allocations.items():
    network = small(found[2])
    fit(network, train, choosing, short, progress=False)
    trained[rule] = model_accuracy(network, scoring)
    print(f"{rule:8} {100 * right[rule][2]:.1f} % right at once, {100 * trained[rule]:.1f} % after training")

# %%
claim("At half of the MACs both rules gain more from two short epochs than they differ by afterwards.",
      all(trained[r] - right[r][2] > abs(trained["greedy"] - trained["uniform"]) for r in trained))

# %% [markdown]
# ## A budget in milliseconds
#
# MACs are counted, milliseconds measured, and chapter 08 saw them part. So measure *every layer alone*, in the runtime that will run it, at a few widths, here multiples of 16; between them draw straight lines; add up. That is a *latency table* (Yang et al. 2018).

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import latency_table

folder = tempfile.TemporaryDirectory()
inputs = np.random.default_rng(0).random(120 * 1024, dtype=np.float32)


def onnx_call(module, shape):
    """A function that runs the module once in ONNX Runtime, with one thread."""
    file = export_onnx(module, Path(folder.name) / f"{time.monotonic_ns()}.onnx", input_shape=shape)
    session, x = open_session(file, threads=1), inputs[: np.prod(shape)].reshape(shape)
    return lambda: session.run(None, {"images": x})


def onnx_ms(module, shape):
    """Median milliseconds of single calls."""
    call, times = onnx_call(module, shape), []
    for _ in range(80):
        start = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - start))
    return float(np.median(times[20:]))



# %% tags=["nbval-ignore-output"]
table = latency_table(student, graph, ranking, onnx_ms, multiple=16)
for layer, name in zip(table.layers, [*names.values(), "classifier"], strict=True):
    outputs, read = layer.ms.shape[:2]
    print(f"{name:10} timed at {outputs} widths of its outputs, {read} of its inputs: "
          f"{layer.ms.min():.3f} to {layer.ms.max():.3f} ms")

# %% [markdown]
# **Exercise 09.3.** A layer's time between measured widths.


# %%
def table_ms(outputs, inputs, output_grid, input_grid, ms):
    """Milliseconds of a layer, by straight lines between the measured ms (len(output_grid), len(input_grid)).

    Both grids rise, with at least two widths; outputs and inputs lie within them.
    """
    ...


check("09.3", table_ms)

# %% [markdown]
# Does the sum predict the clock? Forty networks with widths drawn by chance, half of them in multiples of 16, really cut, exported, timed:

# %% tags=["nbval-ignore-output"]
rng = np.random.default_rng(0)
drawn = {"any width": [], "multiples of 16": []}
for _ in range(20):
    drawn["any width"].append({group: int(rng.integers(8, size + 1))
                               for group, size in ranking.sizes.items()})
    drawn["multiples of 16"].append({group: int(rng.choice([*range(16, size, 16), size]))
                                     for group, size in ranking.sizes.items()})
pace = {"warmup": 20, "threads": 1, "cadence": measure.BACK_TO_BACK}  # as the table was measured


def times_of(networks):
    """Median ms of each, all timed in turn in the same rounds."""
    calls = {str(i): onnx_call(cut(student, graph, ranking.keep(counts)), (1, 3, 32, 32))
             for i, counts in enumerate(networks)}
    report = measure.latency(calls, repeats=50, seed=0, **pace)
    return [report.p50(name) for name in calls]


times = times_of([counts for found in drawn.values() for counts in found])
real = {"any width": times[:20], "multiples of 16": times[20:]}
plots.predicted_times_figure({widths: ([table(counts) for counts in found], real[widths])
                              for widths, found in drawn.items()})

# %% tags=["nbval-ignore-output"]
from scipy.stats import spearmanr

agreement, part_of_sum = {}, {}
for widths, found in drawn.items():
    for words, cost in {"table": table, "MACs": macs}.items():
        agreement[widths, words] = spearmanr([cost(counts) for counts in found], real[widths]).statistic
    part_of_sum[widths] = np.array(real[widths]) / [table(counts) for counts in found]
    print(f"{widths}: rank correlation with the clock: table {agreement[widths, 'table']:.2f}, "
          f"MACs {agreement[widths, 'MACs']:.2f}; the network takes {part_of_sum[widths].min():.2f} to "
          f"{part_of_sum[widths].max():.2f} of the sum")

# %% tags=["nbval-ignore-output"]
share = np.concatenate(list(part_of_sum.values()))
claim("Some network takes at least 10 % more or less than the sum of its layers' times",
      np.abs(share - 1).max() > 0.1, hardware=True, measured=f"{share.min():.2f} to {share.max():.2f} of it")

# %% tags=["nbval-ignore-output"]
claim("In multiples of 16 the table orders the networks better than among any widths",
      agreement["multiples of 16", "table"] > agreement["any width", "table"], hardware=True)

# %% [markdown]
# Alone, each layer pays for a call, and reads its input from far; in the network a runtime fuses it with its neighbours. That shifts the sum. What spoils the *order* are widths. Between 32 and 48 channels the table draws a line, and the clock has steps: a kernel computes whole blocks of channels, and takes another, slower path where none fits; odd widths suffer most (chapter 08). So a table ranks what lies on its own grid. There, compare the two numbers of a line: counting MACs may rank as well. What the table adds is milliseconds.
#
# So allot in multiples, and let the clock have the last word. The greedy rule can divide by *these* milliseconds instead of MACs, and walk in steps of 16; a layer that loses nothing keeps the width it has. Against it: the uniform rule in multiples of 16 (rounded down, so 50 % asked may be 41 %), and both rules from above at any widths. What is right at once, over measured time:

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import greedy_path

in_steps = [uniform_allocation(ranking, macs, budget, multiple=16) for budget in budgets]
families = {
    "any width: uniform": allocations["uniform"],
    "any width: greedy, MACs": allocations["greedy"],
    "multiples of 16: uniform": [c for i, c in enumerate(in_steps) if c not in in_steps[:i]],
    "multiples of 16: greedy, ms": list(greedy_path(ranking, table, curves, multiple=16))[1:],
}
*times, whole_ms = times_of([*(counts for found in families.values() for counts in found), ranking.sizes])
ms = {family: [times.pop(0) for _ in found] for family, found in families.items()}
lost = sum(time > whole_ms for family in families for time in ms[family] if family.startswith("any"))
print(f"of the networks of any width, {lost} are cut and take longer than the whole one")

# %% tags=["nbval-ignore-output"]
right_at = {family: [model_accuracy(small(counts), scoring) for counts in found]
            for family, found in families.items()}
plots.accuracy_and_time_figure({family: (ms[family], right_at[family]) for family in families},
                               whole=(whole_ms, model_accuracy(student, scoring)))

# %% tags=["nbval-ignore-output"]
even, by_table = (family for family in families if family.startswith("multiples"))
goal = min(ms[even], key=lambda time: abs(time - 0.6 * whole_ms))  # of the uniform networks' times
rivals = {family: families[family][int(np.abs(np.array(ms[family]) - goal).argmin())]
          for family in (even, by_table)}
calls = {family: onnx_call(cut(student, graph, ranking.keep(counts)), (1, 3, 32, 32))
         for family, counts in rivals.items()}
anew = measure.latency(calls, repeats=100, seed=1, **pace)
for family, counts in rivals.items():
    network = small(counts)
    before = 100 * model_accuracy(network, scoring)
    fit(network, train, choosing, short, progress=False)
    after = 100 * model_accuracy(network, scoring)
    print(f"{family}: {100 * macs(counts) / macs({}):.0f} % of the MACs, anew {anew.p50(family):.3f} ms, "
          f"{before:.1f} % right at once, {after:.1f} % after training")

# %% [markdown]
# Where a network is large and its path long, nobody times every step. `latency_allocation` looks for the target on the path as in a sorted list, and times a few networks only. Recorded for the teacher, timed by a clock that did not choose; every column is a share of the whole teacher:

# %%
budget = load_result("pruning_budget")["figures"]
rows = []
for name in budget:
    if name.startswith("latency_ratio_at_"):
        place = name.removeprefix("latency_ratio_")  # "at_75_percent"
        shares = [budget[f"{what}_ratio_{place}"].value for what in ("latency", "table", "macs")]
        rows.append([place.split("_")[1] + " %", *(f"{100 * share:.0f} %" for share in shares),
                     f"{budget[f'networks_timed_{place}'].value:.0f}"])
print(text_table(["time asked", "time measured", "time by the table", "MACs", "networks timed"], rows))

# %%
claim("Recorded: three targets of time are met within 10 %.",
      budget["latency_target_error"].value <= 10)

# %% [markdown]
# (Yang et al. do more: they tune each proposal briefly and keep the most accurate at equal saving. The curves stand for that here.)
#
# %% [markdown]
# ## Search
#
# Instead of a rule, try allocations. [Optuna](https://optuna.org) proposes for each layer an *appetite*, the budget fixes the total, the choosing half judges, and the first trial is the uniform rule. The best of many trials looks better than it is: it won partly by luck on the images that chose it. So compare on the *other* half.

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import search_allocation

live = search_allocation(student, graph, ranking, macs, 0.5, [score], trials=12, seed=0)
print(f"12 trials: best {100 * live.best.score:.1f} % on the choosing half, "
      f"{100 * model_accuracy(small(live.best.counts), scoring):.1f} % on the other")

# %% [markdown]
# Recorded: more trials at half of the MACs, three seeds of search and training; then every rule's network is trained, equally long.

# %%
found = load_result("pruning_allocation")
searched, plan = found["figures"], found["plan"]
scored = len(plan["ratios"]) * len(names)  # networks scored for the curves
print(f"seeds {found['seeds']}; {plan['epochs']} epochs")
print(f"networks scored: search {plan['trials']}, greedy {scored}")
rows = [[rule, *(f"{searched[f'{rule}_{when}'].value:.1f} %" for when in ("chosen", "at_once", "trained"))]
        for rule in ("uniform", "greedy", "search")]
print(text_table(["rule", "choosing half", "other half", "other half, trained"], rows))


def interval(e):
    return f"{e.value:+.1f} [{e.low:+.1f}, {e.high:+.1f}]"


for rule in ("greedy", "search"):
    print(f"{rule} − uniform after training: {interval(searched[f'{rule}_gain_points'])} points")
by_seed = {rule: {row["seed"]: row["trained"] for row in found["scores"] if row["rule"] == rule}
           for rule in ("search", "greedy")}
search_greedy = paired_seed_interval(by_seed["search"], by_seed["greedy"])
print(f"search − greedy after training: {interval(search_greedy)} points")

# %% [markdown]
# Read the table by columns. The first is where the search looked, and there it leads most. On other signs a good part of the lead is gone. After training the greedy rule is ahead; how sure that is with three seeds, the last interval says.

# %%
lead = {when: searched[f"search_{when}"].value - searched[f"greedy_{when}"].value
        for when in ("chosen", "at_once")}
claim("Recorded: the search's lead over the greedy rule is smaller on the signs that did not choose.",
      0 < lead["at_once"] < lead["chosen"])

# %%
claim("Recorded: after training both beat uniform, and three seeds do not tell search and greedy apart.",
      searched["greedy_gain_points"].low > 0 and searched["search_gain_points"].low > 0
      and search_greedy.includes(0))

# %% [markdown]
# Was the search worth its trials? It did what it was asked: it found the network that is best *before* training. Nobody had asked it for the best *after* training, and with more networks scored it found none that is better there than the greedy rule's. A trial with training in it would ask the right question, at many times the price.
#
# ## 2 of 4
#
# Another way to say where: of every 4 neighbouring weights along the input axis 2 stay, in every filter and at every position of its kernel. No channel goes; half of the weights are gone, and no layer's share can be chosen. In return each kept weight needs two bits of place, rows are of one length, and *sparse tensor cores* (NVIDIA since Ampere, Jetson Orin among them) skip the zeros (Mishra et al. 2021). A CPU has no such thing. Against half of the weights of the same layers, freely chosen, with equal training:

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import Masks, MasksHeld, make_permanent_, prunable

grouped = [name for name, w in prunable(student).items() if w.shape[1] % 4 == 0]
patterns = {"2 of 4": Masks.from_n_m(student, 2, 4, names=grouped),
            "half of each layer": Masks.from_fraction(student, 0.5, scope="layer", names=grouped),
            "half of all": Masks.from_fraction(student, 0.5, scope="global", names=grouped)}
sparse, at_once, later = {}, {}, {}
for words, masks in patterns.items():
    sparse[words] = copy.deepcopy(student)
    masks.apply_(sparse[words])
    at_once[words] = model_accuracy(sparse[words], scoring)
    fit(sparse[words], part(train, 1200), choosing, short, constraint=MasksHeld(), progress=False)
    make_permanent_(sparse[words])
    later[words] = model_accuracy(sparse[words], scoring)
    print(f"{words:18} {100 * at_once[words]:.1f} % right at once, {100 * later[words]:.1f} % after training")

# %% tags=["nbval-ignore-output"]
files = {name: export_onnx(net, Path(folder.name) / f"{len(name)}{name[:2].strip()}.onnx")
         for name, net in {"dense": student, "dense again": student, "2 of 4": sparse["2 of 4"]}.items()}
sessions = {name: open_session(file, threads=1) for name, file in files.items()}
image = inputs[: 3 * 1024].reshape(1, 3, 32, 32)
calls = {name: lambda s=session: s.run(None, {"images": image}) for name, session in sessions.items()}
report = measure.latency(calls, repeats=100, seed=0, **pace)
pattern_speed = report.ratio("dense", "2 of 4")
print(report)

# %% tags=["nbval-ignore-output"]
claim("On this CPU 2:4 changes the time by less than 10 %",
      pattern_speed.low > 0.9 and pattern_speed.high < 1.1, hardware=True,
      measured=f"{pattern_speed.value:.2f} × [{pattern_speed.low:.2f}, {pattern_speed.high:.2f}]")

# %% [markdown]
# The zeros are there; the kernel multiplies by them. And the price of the pattern stands above: as many zeros, freely placed, lose less at once. Training gives most of the difference back.
#
# ## Each image for itself
#
# What a stop sign needs a speed limit may not. *Dynamic* pruning lets each image choose (Gao et al. 2019; Bejnordi et al. 2020). In front of each layer a *gate*, one small linear layer, reads the mean of every input channel and gives a score $z$ for every output channel:
#
# $$z = V\,\text{BatchNorm}(\text{mean}(x)) + c, \qquad g = [z > 0], \qquad y = g \odot \text{ReLU}(\text{BatchNorm}(\text{conv}(x))).$$
#
# This is the plainest form of the idea. In Gao et al. exactly $k$ channels win, the same number for every image, and their scores scale the output; Bejnordi et al. decide as here, with noise while training and a prior on how often each gate is on.
#
# A channel with $g = 0$ is 0: its filter need not be computed, and the next layer need not read it. (The gate's own BatchNorm, folded into $V$ and $c$, costs nothing, and a 0 stays a 0 in the product.) An image with $n_{\text{in}}$ and $n_{\text{out}}$ channels on does
#
# $$p\,n_{\text{in}}\,n_{\text{out}} + n_{\text{in}}\,C_{\text{out}}$$
#
# MACs in a layer; the second term is its gate. **By hand,** $p = 10$, 3 inputs, 2 of 4 outputs on: $60 + 12 = 72$, instead of 120. Then 1 of 2 with $p = 5$: $10 + 4 = 14$, instead of 40.
#
# **Exercise 09.4.** The bill, image by image.


# %%
def executed_macs(gates, pair_macs, inputs, classes):
    """MACs of each image (B,): layers, their gates, and the classifier.

    gates[l] (B, C_l), boolean: which channels of layer l are on; all ``inputs`` channels of the image are.
    Layer l does pair_macs[l] MACs for each pair of input and output that are both on; its gate one for each
    input that is on and each of its C_l outputs; the classifier one for each input that is on and class.
    """
    ...


check("09.4", executed_macs)

# %% [markdown]
# How does a gate learn? $[z > 0]$ is flat: its gradient is 0. A *straight-through* gradient pretends that it is not: Bengio et al. (2013) copy the gradient of the output to $z$ as it is. The variant used here decides by the step and takes the slope of a sigmoid, $\sigma(z)(1 - \sigma(z))$, so that a score far from 0 moves little.
#
# **Exercise 09.5.** Two lines.


# %%
def gate(scores):
    """1.0 where a score is above 0, else 0.0; the gradient is that of the sigmoid of the scores."""
    ...


check("09.5", gate)

# %% [markdown]
# Left alone, every gate stays open: that is best for the loss. So the loss gets $\lambda\,(\bar f - f^*)^2$, with $\bar f$ the batch's mean executed fraction and $f^*$ the one wanted. It pulls and does not force: see in the figure where the mean ends. `LastEpoch`: while the gates close, the most accurate epoch is an early one that still executes much.

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import GatedStudent, LastEpoch, gate_decisions, gating_cost, gating_loss

gated = GatedStudent(student)
cost = gating_cost(gated)
slow = Recipe(epochs=4, batch_size=64, max_lr=3e-3, schedule="cosine")
fit(gated, train, choosing, slow, loss=gating_loss(gated, cost, target=0.5, weight=30),
    constraint=LastEpoch(), progress=False)
decisions = gate_decisions(gated, scoring)
executed = cost.executed(decisions) / cost.dense  # (N,)
shares = {f"conv {i + 1}": on.double().mean(0) for i, on in enumerate(decisions)}
plots.gates_figure(shares, executed)

# %% [markdown]
# Is it the image that decides, and does that pay? Three controls. Every image gets the decisions of *another* image. All images get the *same* channels, those most often on, as many as on average. And, trained equally long, a network that is simply *cut* to the same MACs.

# %% tags=["nbval-ignore-output"]
pixels, labels = scoring.batch(np.arange(len(scoring)))
other = torch.randperm(len(scoring), generator=torch.Generator().manual_seed(0))
same = []
for on in decisions:
    often = torch.zeros(on.shape[1], dtype=torch.bool)
    often[on.double().mean(0).argsort(descending=True)[: round(on.sum(1).double().mean().item())]] = True
    same.append(often.expand(len(scoring), -1))
choices = {"its own gates": decisions, "another image's": [on[other] for on in decisions],
           "the same for all": same}
answers, work = {}, {}
with torch.no_grad():
    for words, chosen in choices.items():
        answers[words] = gated(pixels, chosen).argmax(1).numpy()
        work[words] = (cost.executed(chosen).mean() / cost.dense).item()

# %% tags=["nbval-ignore-output"]
static = small(uniform_allocation(ranking, macs, executed.mean().item()))
fit(static, train, choosing, slow, progress=False)
answers["cut, trained as long"] = predict_logits(static, scoring).argmax(1).numpy()
work["cut, trained as long"] = measure.counting.total_macs(static, (1, 3, 32, 32)) / cost.dense
dynamic = {words: float(np.mean(found == labels.numpy())) for words, found in answers.items()}
for words in answers:
    print(f"{words:22} {100 * work[words]:5.1f} % of the MACs, {100 * dynamic[words]:.1f} % right")
print()
for words in [*answers][1:]:
    gain = accuracy_difference(answers["its own gates"], answers[words], labels, scoring.groups)
    print(f"its own gates − {words}: {gain.value:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}] points")

# %%
claim("With another image's decisions the gated network is right at least 5 points less often.",
      dynamic["its own gates"] - dynamic["another image's"] > 0.05)

# %% [markdown]
# So the gates do look at the image. But that alone is no gain: the *same* channels for all is the control that a gate must beat, and its line and interval say by how much it does, at how many MACs.

# %%
claim("A network cut to no more MACs and trained as long is right more often than the gated one.",
      work["cut, trained as long"] <= work["its own gates"]
      and dynamic["cut, trained as long"] > dynamic["its own gates"])

# %% [markdown]
# Here dynamic pruning loses to a plain cut, at this size and with so short a training; the papers report gains with larger networks and longer ones. And the clock? One image, computed for real with sliced weights, equal to the gated network:

# %% tags=["nbval-ignore-output"]
from course_lib.pruning import chosen_executor

execute, one = chosen_executor(gated), pixels[:1]
gap = max((execute(pixels[i : i + 1]) - gated(pixels[i : i + 1])).abs().max().item() for i in range(50))
runs = {"dense": lambda: student(one), "dense again": lambda: student(one), "cut": lambda: static(one),
        "chosen channels": lambda: execute(one)}
with measure.torch_threads(1), torch.inference_mode():
    dynamic_report = measure.latency(runs, warmup=10, repeats=60, threads=1, seed=0)
dynamic_speed = dynamic_report.ratio("dense", "chosen channels")
print(dynamic_report)
reveal("09.p2", dynamic_speed.value)

# %%
claim("Computing the chosen channels alone gives the gated network's logits, within 0.001.", gap < 1e-3)

# %% tags=["nbval-ignore-output"]
claim("Executing the chosen channels is slower than the dense network, one image at a time in PyTorch",
      dynamic_speed.high < 1, hardware=True, measured=f"{dynamic_speed.value:.2f} × its speed")

# %% [markdown]
# Fewer MACs, more time. Slicing copies the weights of every layer for every image; each decision waits for the layer before it; a batch of images cannot share a slice. Dynamic pruning needs a kernel that reads a list of channels, or decisions so coarse (whole blocks) that skipping is cheap. A cut network needs none of that; whether it is faster, at this size, the table above says.
#
# ## When the data change
#
# A mask was chosen on yesterday's images. Then night falls. A recorded study lets a stream pass: day, night, rain, new signs in each window, seen once. The student has lost most of its weights and was tuned by day. *Frozen* it stays so; *fixed* it trains on under its mask; *re-chosen*, at each window its smallest weights go, and as many removed ones come back, those with the steepest gradient (Evci et al. 2020). Two controls: with *replay* half of each batch is earlier images, which tells forgetting from learning too little; and the *dense* network, with the same stream, tells what the zeros have to do with it.

# %%
from course_lib.experiments.drift_rows import (
    ARMS,
    CONDITIONS,
    DENSE_FROZEN,
    Row,
    difference,
    lost_between,
    with_dense_frozen,
)

drift = load_result("pruning_drift")
rows = with_dense_frozen([Row(**row) for row in drift["rows"]])
plan = drift["plan"]
print(f"seeds {drift['seeds']}; windows of each condition: {plan['windows']}; images kept: {plan['buffer']}")
print(f"zeros: {100 * plan['pruning_ratio']:.0f} %; moved each time: {100 * plan['moved']:.0f} % of the rest")
plots.stream_figure(rows, [*ARMS, DENSE_FROZEN])

# %% [markdown]
# Differences in points, paired within seeds, 95 % over three seeds; *along*: each window scored in its own condition; the others after the last window:

# %%
pairs = {"fixed − frozen": ("fixed", "frozen"), "re-chosen − fixed": ("rechosen", "fixed"),
         "the same, with replay": ("rechosen_replay", "fixed_replay"),
         "replay − none, mask fixed": ("fixed_replay", "fixed"),
         "replay − none, re-chosen": ("rechosen_replay", "rechosen"),
         "replay − none, dense": ("dense_replay", "dense"),
         "sparse − dense, frozen": ("frozen", DENSE_FROZEN),
         "sparse − dense, with replay": ("fixed_replay", "dense_replay"),
         "dense: trained − frozen": ("dense", DENSE_FROZEN)}
whens = {"along": (CONDITIONS, True), **{condition: ([condition], False) for condition in CONDITIONS}}


def gain(words, when, level=0.95):
    conditions, along = whens[when]
    return difference(rows, *pairs[words], conditions, along=along, level=level)


gains = {(words, when): gain(words, when) for words in pairs for when in whens}
cells = [[words, *(interval(gains[words, when]) for when in whens)] for words in pairs]
print(text_table(["difference", *whens], cells))

# %%
strict = 1 - 0.05 / len(gains)
sure = [key for key, e in gains.items() if not e.includes(0)]
left = [key for key in sure if not gain(*key, level=strict).includes(0)]
print(f"{len(sure)} of {len(gains)} intervals exclude 0; {len(left)} after dividing the 5 % by {len(gains)}:")
print("\n".join(f"  {words}, {when}" for words, when in left))

# %% [markdown]
# * **Moving masks** (second and third row): no gain that these seeds could show. The next cell says why.
# * **Forgetting.** After the nights have passed, what is no longer shown fades. Is that the fault of the zeros? Compare with the dense network, below.
# * **Sparse − dense.** The distance was there before the stream began: the cut had cost it. Training on the stream makes it smaller.
# * **Who learns from the stream?** The sparse network, which had been tuned for a few epochs only, gains along it. The dense one, trained without replay, ends below where it would be had it been left alone, by day and in rain.
#
# What is left after counting all comparisons is named above; the other intervals, replay at night among them, are good guesses.

# %%
night, rain = (plan["windows"] * passed for passed in (2, 3))
lost = {arm: lost_between(rows, arm, "night", night, rain)
        for arm in ("fixed", "dense", "fixed_replay", "dense_replay")}
print("points lost at night while it rained:", {ARMS[arm]: round(points, 1) for arm, points in lost.items()})
for window in (1, night, rain):
    travelled = np.mean([row.moved for row in rows if (row.arm, row.window) == ("rechosen", window)])
    print(f"after window {window}: {100 * travelled:.1f} % of the weights stand where the first day had none")

# %%
claim("Recorded: the dense network forgets the night as much as the sparse one, within 3 points.",
      abs(lost["fixed"] - lost["dense"]) < 3)

# %% [markdown]
# Forgetting is not the zeros' fault. And the masks hardly travel: nine times a twentieth of the weights moved, and yet after nine windows only about a twentieth stand in new places. A weight that comes back starts at 0, has few steps to grow, is still among the smallest at the next window, and goes again. Evci et al. move about a third of the weights at first, fewer and fewer with time, and leave many more steps between: this study is no test of their method.
#
# ## Pitfalls
#
# * **Curves of single layers added up.** Measure the whole.
# * **Sensitivity on test images,** or with BatchNorm's statistics of the old network.
# * **A ratio the same for all layers and no control** for the clever rule; or the clever rule without the uniform one beside it.
# * **The best of many trials, scored where it was chosen.**
# * **MACs executed, reported as a speed-up.** The gates' own MACs left out. The product of the layers' mean shares, instead of the mean over images of the product.
# * **A latency table believed,** or asked about widths that its grid has not seen. Time the network.
# * **2:4 timed on hardware that does not read it.**
# * **The most accurate epoch while gates close or weights go.**
# * **A stream scored on its last condition alone.**
#
# ## Recap

# %% tags=["nbval-ignore-output"]
def percent(fraction):
    return f"{100 * fraction:.1f} %"


halves = [100 * (scan.whole - curve.scores[3]) for curve in scan.curves]
evenly, greedy = right["uniform"][2], right["greedy"][2]
moved, replayed = gains["re-chosen − fixed", "along"], gains["replay − none, mask fixed", "night"]
display(Markdown(f"""
1. Half of its channels costs a layer {min(halves):.1f} to {max(halves):.1f} points. A quarter from every
   layer costs {together[1]:.1f}; the single losses add up to {sums[1]:.1f}.
2. At half of the MACs uniform leaves {percent(evenly)} right, greedy {percent(greedy)}; after short
   training {percent(trained["uniform"])} and {percent(trained["greedy"])}. Recorded, after training:
   search − uniform {interval(searched["search_gain_points"])} points.
3. Networks take {share.min():.2f} to {share.max():.2f} of the sum of their layers' times. The sums rank them
   as the clock does by {agreement["any width", "table"]:.2f} at any widths (MACs:
   {agreement["any width", "MACs"]:.2f}), by {agreement["multiples of 16", "table"]:.2f} in multiples of 16.
4. 2:4 leaves {percent(later["2 of 4"])} right, a free half of each layer
   {percent(later["half of each layer"])}; this CPU runs 2:4 at {pattern_speed.value:.2f} × the dense speed.
5. Gates execute {percent(work["its own gates"])} of the MACs, leave {percent(dynamic["its own gates"])}
   right and run at {dynamic_speed.value:.2f} × the dense speed. Cut to no more MACs:
   {percent(dynamic["cut, trained as long"])}; the same channels for every image:
   {percent(dynamic["the same for all"])}.
6. In the stream, re-chosen − fixed mask: {interval(moved)} points; replay, at night at the end:
   {interval(replayed)}.
"""))

# %% [markdown]
# Next: fewer weights are one half of the story; the other is fewer bits for each: [10 · affine quantization](10_affine_quantization.ipynb).
#
# ## References
#
# * H. Li et al. (2017). *Pruning filters for efficient ConvNets.* [arXiv:1608.08710](https://arxiv.org/abs/1608.08710), section 3.2: sensitivity.
# * T.-J. Yang et al. (2018). *NetAdapt.* [arXiv:1804.03230](https://arxiv.org/abs/1804.03230), section 3: greedy with a measured table.
# * T. Akiba et al. (2019). *Optuna.* [arXiv:1907.10902](https://arxiv.org/abs/1907.10902).
# * A. Mishra et al. (2021). *Accelerating sparse deep neural networks.* [arXiv:2104.08378](https://arxiv.org/abs/2104.08378), section 3.
# * Y. Bengio, N. Léonard, A. Courville (2013). *Estimating or propagating gradients through stochastic neurons.* [arXiv:1308.3432](https://arxiv.org/abs/1308.3432), section 4.
# * X. Gao et al. (2019). *Dynamic channel pruning: feature boosting and suppression.* [arXiv:1810.05331](https://arxiv.org/abs/1810.05331).
# * B. Ehteshami Bejnordi, T. Blankevoort, M. Welling (2020). *Batch-shaping for learning conditional channel gated networks.* [arXiv:1907.06627](https://arxiv.org/abs/1907.06627).
# * U. Evci et al. (2020). *Rigging the lottery.* [arXiv:1911.11134](https://arxiv.org/abs/1911.11134), section 3.
