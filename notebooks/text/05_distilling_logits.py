# %% [markdown]
# # 05 · Distilling logits: how does a student learn from a teacher?
#
# A label says "30". A teacher says "30, perhaps 20, hardly a stop sign". This chapter measures what the second answer is worth: with all labels, with few, with none; at which temperature; from which teacher. Some answers are not what most tutorials promise, and the tables say so.
#
# **You will be able to**
#
# * write the distillation loss with temperature $T$ and weight $\alpha$, and read what it asks of the student;
# * use images without labels, and keep each target with its own image and view;
# * split KL into what it says of the label and what it says of the other classes (DKD), and weigh the parts;
# * judge a distillation result: control, equal steps, several seeds, an interval;
# * find ten mistakes that raise no error, by what they do to numbers.
#
# **Before:** chapter [02](02_the_teacher.ipynb) (seeds, intervals), chapter [04](04_kl_and_cross_entropy.ipynb) (KL, temperature, the factor $T^2$, `reduction`). **Time:** 100 min to work through; the cells take about 2 min on 2 cores. Symbols: [notation](../docs/notation.md).

# %% tags=["nbval-ignore-output"]
import copy
import os
from dataclasses import replace

import numpy as np
import torch
from IPython.display import Markdown, display
from torch.nn import functional as F

from course_lib import plots, widgets
from course_lib.data import load
from course_lib.data.classes import CLASS_GROUPS, SHORT_NAMES
from course_lib.evaluation import seed_interval
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.measure import claim, load_result
from course_lib.models import checkpoints

splits = load(size=32)
splits.train

# %%
from course_lib.distillation import (
    UNLABELLED,
    Distiller,
    decoupled_loss,
    distillation_loss,
    label_loss,
    soft_target_loss,
    soft_target_terms,
    teacher_table,
)
from course_lib.experiments.distillation_study import Study

# %% [markdown]
# The pages of this chapter that need hours of training are read from recorded files. What runs here, runs on 344 signs, six frames of each, one augmented view. For them the teacher is asked once: a `teacher_table` holds its logits.

# %% tags=["nbval-ignore-output"]
frames_a_sign = len(splits.train) / len(np.unique(splits.train.groups))
every = max(1, round(frames_a_sign / 6))  # six frames of a sign are enough
study = Study("live", signs=344, epochs=10, views=1)
train = study.train_part(splits.train.subset(np.arange(0, len(splits.train), every)))
validation = splits.validation.subset(np.arange(0, len(splits.validation), 6 * every))
recipe = replace(study.recipe(seed=0), batch_size=32)
teacher, card = checkpoints.load(f"teacher_{splits.train.name}")
table = teacher_table(teacher, train, recipe, progress=os.environ.get("COURSE_PROGRESS") != "off")
logits, labels = table.logits[0].clone(), torch.from_numpy(train.labels)  # (N, C), (N,)
train

# %% [markdown]
# ## Predict first
#
# A small student is to learn these 43 classes. One copy gets **one labelled sign of each class** (six frames each) and trains on them alone. Another gets **no label at all**, only the teacher's logits on all the images above. As many steps for both. On new signs, will the second be
#
# (a) worse, (b) better by less than 10 points, or (c) better by more?

# %% tags=["nbval-ignore-output"]
guess = None  # "a", "b" or "c"; the chapter comes back to it
predict("05.p", guess, sure=None)  # sure: in per cent, such as 70

# %% [markdown]
# ## What the teacher's wrong answers know
#
# Let $p_k(x)$ be the teacher's probability of class $k$ for image $x$. For a true class $c$, average $p_k$ over all images of $c$, leave out $k=c$, and divide by the sum. What remains says where the *wrong* probability goes:
#
# $$\mathrm{share}(c, k) = \frac{\overline{p_k}}{\sum_{j \ne c} \overline{p_j}}, \qquad k \ne c.$$
#
# Four numbers: if images of "30" get on average $0.90$ for 30, $0.06$ for 20, $0.03$ for 80 and $0.01$ for stop, the shares are $0.6,\ 0.3,\ 0.1$. The teacher was never told that a 30 looks more like an 80 than like a stop sign. It was told "30" each time.

# %%
from course_lib.distillation import same_group_share, wrong_answer_shares

by_hand = np.array([[0.90, 0.06, 0.03, 0.01]] + [[0.25] * 4] * 3)
print(wrong_answer_shares(by_hand, [0, 1, 2, 3], 4)[0].round(3))

# %% tags=["nbval-ignore-output"]
groups = [CLASS_GROUPS[c] for c in range(43)]
at = {t: wrong_answer_shares((logits / t).softmax(1), labels, 43) for t in (1, 4)}
shown = [1, 5, 14, 33]
contrast = train.images.std((1, 2, 3))
clearest = [train.images[np.where(train.labels == c, contrast, 0).argmax()] for c in shown]
plots.wrong_answers_figure(clearest, at[1], shown, SHORT_NAMES, groups)

# %% [markdown]
# Is that true of all classes, or did we pick four? Here is the whole table, classes sorted by group: speed limits, danger signs, mandatory signs and so on. If the teacher knew nothing, the share that stays within a group would be what the group's size gives.

# %% tags=["nbval-ignore-output"]
plots.likeness_figure({"teacher, T = 1": at[1], "teacher, T = 4": at[4]}, groups)

# %% tags=["nbval-ignore-output"]
blind = np.ones((43, 43)) - np.eye(43)
chance = same_group_share(blind / 42, groups)
within = {t: same_group_share(shares, groups) for t, shares in at.items()}
print(f"stays in the group: T = 1 {within[1]:.2f}, T = 4 {within[4]:.2f}, by chance {chance:.2f}")
eighty, keep_right = at[1][1, 5], at[1][1, 38]
print(f"of the wrong probability of a 30: {100 * eighty:.2f} % for 80,")
print(f"{100 * keep_right:.4f} % for keep right")

# %%
claim("Wrong probability stays in the true class's group "
      "at least 1.5 times as often as chance would keep it.",
      within[1] > 1.5 * chance)

# %%
claim("A 30 looks at least 5 times more like an 80 than like a 'keep right'.", eighty > 5 * keep_right)

# %%
claim(
    "At T = 4 a smaller share of the wrong probability stays in the group than at T = 1.",
    within[4] < within[1],
)

# %% [markdown]
# ### But it whispers
#
# All of this is in the small numbers. How small, on the images that the student will be trained on?

# %% tags=["nbval-ignore-output"]
own = torch.arange(len(labels)), labels
said = {t: 1 - (logits / t).softmax(1)[own] for t in (1, 2, 4, 8, 16)}
for t, rest in said.items():
    median, mean = 100 * rest.median(), 100 * rest.mean()
    print(f"T = {t:2}: not on the label: median {median:8.4f} %, mean {mean:5.2f} %")
agreement = (logits.argmax(1) == labels).double().mean().item()
print(f"The teacher's first choice is the label for {100 * agreement:.2f} % of these images.")

# %%
claim("At T = 1 the median image tells less than 1 % about the other classes; at T = 4 more than 10 %.",
      said[1].median() < 0.01 and said[4].median() > 0.1)

# %%
claim("On its training images the teacher's first choice is nearly always the label.", agreement > 0.95)

# %% [markdown]
# Two consequences. Without a temperature, a soft target on such an image is a label with a rounding error. And a *pseudo-label*, the teacher's first choice alone, tells almost nothing that the label did not say already. Pseudo-labels are for images whose label is unknown.
#
# ## From pseudo-labels to soft targets
#
# With the student's logits $s$, the teacher's $z$, $p_T = \mathrm{softmax}(z/T)$ and $q_T = \mathrm{softmax}(s/T)$, there are three things to ask of a student:
#
# | | loss | gradient with respect to $s_k$ |
# |---|---|---|
# | the label $y$ | $-\ln q_1(y)$ | $q_{1,k} - [k = y]$ |
# | the pseudo-label $\hat y = \arg\max z$ | $-\ln q_1(\hat y)$ | $q_{1,k} - [k = \hat y]$ |
# | the soft target | $T^2\,\mathrm{KL}(p_T \Vert q_T)$ | $T\,(q_{T,k} - p_{T,k})$ |
#
# The first two push every other class down, each by what the student gives it. Only the third can push another class *up*. The mix of Hinton, Vinyals and Dean is
#
# $$L = \alpha\, T^2\, \mathrm{KL}(p_T \Vert q_T) + (1-\alpha)\,\mathrm{CE}(y, q_1).$$
#
# **By hand,** four numbers: $z = (2, 0)$, $s = (0, 0)$, $y$ the first class, $T = 2$, $\alpha = \frac12$. Then $z/T = (1, 0)$, $p_T = (0.731, 0.269)$, $q_T = (0.5, 0.5)$. $\mathrm{KL} = 0.7311 \ln 1.4621 + 0.2689 \ln 0.5379 = 0.2777 - 0.1668 = 0.1109$, times $T^2 = 4$: $0.4438$. The label costs $\ln 2 = 0.6931$. $L = 0.2219 + 0.3466 = 0.5685$.


# %%
def naive_loss(s, z, y, T, alpha):
    p, q_T, q = (z / T).softmax(1), (s / T).softmax(1), s.softmax(1)
    soft = T**2 * (p * (p / q_T).log()).sum(1)  # (B,)
    hard = -q[torch.arange(len(y)), y].log()  # (B,)
    return (alpha * soft + (1 - alpha) * hard).mean()


tiny = torch.tensor([[0.0, 0.0]]), torch.tensor([[2.0, 0.0]]), torch.tensor([0])
print(f"{naive_loss(*tiny, 2.0, 0.5):.4f}")

# %%
some = torch.randn(64, 43, generator=torch.Generator().manual_seed(0)), logits[:64], labels[:64]
claim("On 64 real targets the naive loss and the library's are equal.",
      torch.allclose(naive_loss(*some, 4.0, 0.9),
                     distillation_loss(*some, temperature=4.0, alpha=0.9), rtol=1e-5))

# %% [markdown]
# The naive version divides two softmaxes and takes a logarithm, which chapter 04 showed to break for logits that are far apart. Yours must not.
#
# **Exercise 05.1.** The loss, with both terms, for logits of any size. A student is to be trained with it, so it must carry a gradient: no `.item()`, no NumPy.


# %%
def loss_with_t_and_alpha(student_logits, teacher_logits, labels, temperature, alpha):
    """α·T²·KL(teacher ‖ student) + (1 − α)·CE(label, student), mean over the batch. About 4 lines."""
    ...


check("05.1", loss_with_t_and_alpha)

# %% [markdown]
# ### What each loss pushes
#
# A sign, the teacher's answer, and the shipped student that was trained alone. Bars to the right: the loss lifts this class. Bars to the left: it lowers it.

# %% tags=["nbval-ignore-output"]
alone_model, _ = checkpoints.load(f"alone_{splits.train.name}")
second = logits.softmax(1).masked_fill(F.one_hot(labels, 43).bool(), 0).sum(1)
talkative = [
    int(np.flatnonzero(train.labels == c)[second[labels == c].argsort()[-3]])
    for c in (1, 5, 12, 31, 38)
]
with torch.no_grad():
    images = recipe.augmentation.apply(
        train.batch(talkative)[0], recipe.augmentation.table(len(train), 0)[talkative]
    )
    answers = alone_model(images)
rows = images.numpy(), logits[talkative], answers, train.labels[talkative]
plots.push_figure(*(row[0] for row in rows), SHORT_NAMES, temperature=4, alpha=0.9)

# %% tags=["nbval-ignore-output"]
widgets.push_explorer(*rows, SHORT_NAMES)

# %% [markdown]
# Move $T$ to 1 and look at the entropy. Then move $\alpha$ to 0: the mix becomes the label. Find a sign where the mix *lowers* the right class: there the student is surer than its teacher, and is told so. (The axis is logarithmic but for a strip around 0, so that small pushes can be seen.)

# %%
from course_lib.distillation import pushes

push = pushes(answers[0], logits[talkative[0]], 1, 4.0, 1.0)
others = torch.arange(43) != 1
claim("The label lifts the label and lowers all else; the soft target lifts other classes too.",
      bool((push["label"][others] <= 0).all()) and bool((push["soft targets and label"][others] > 0).any()))

# %% [markdown]
# ## Few labels, many images
#
# A label must be paid for; an image is filmed in passing. The soft term needs no label, so unlabelled images can stay in the batch. Let $K$ be the labelled images of a batch of $B$:
#
# $$L = \frac{\alpha\,T^2}{B} \sum_{i=1}^{B} \mathrm{KL}(p^{(i)}_T \Vert q^{(i)}_T) + \frac{1-\alpha}{\max(1, |K|)} \sum_{i \in K} -\ln q^{(i)}_1(y_i).$$
#
# Two means over two sets. In the library a label of `UNLABELLED` $= -1$ marks an image without one.

# %%
half = torch.where(torch.arange(64) % 2 == 0, labels[:64], UNLABELLED)
on_known = F.cross_entropy(some[0][::2], labels[:64:2])
by_formula = 0.9 * soft_target_loss(some[0], some[1], 4.0) + 0.1 * on_known
claim("Half of the labels hidden: the library takes the label's mean over the known half.",
      torch.allclose(distillation_loss(some[0], some[1], half, temperature=4.0, alpha=0.9), by_formula))

# %% [markdown]
# **Exercise 05.2.** Write it, so that it also survives a batch without any label (its label's term is 0), and logits that are far apart.


# %%
def partly_labelled(student_logits, teacher_logits, labels, temperature, alpha):
    """The same loss, where a label of −1 means: not known."""
    ...


check("05.2", partly_labelled)

# %% [markdown]
# ### Live: one sign a class, or none
#
# Now the experiment of the prediction. All students have the same first weights and the same number of steps. The control that has few images sees a new augmented view in each of its many epochs, which is the best use it can make of them.

# %%
from course_lib.models import sign_student
from course_lib.training import fit

first_signs = [train.groups[train.labels == c].min() for c in range(43)]
labelled = np.isin(train.groups, first_signs)
steps = recipe.epochs * -(-len(train) // recipe.batch_size)
few = train.subset(labelled)
few_epochs = round(steps / -(-len(few) // recipe.batch_size))
print(f"{len(few)} of {len(train)} images are labelled")
print(f"{steps} steps: {recipe.epochs} or {few_epochs} epochs")


# %% tags=["nbval-ignore-output"]
def train_student(images, recipe, loss=None):
    torch.manual_seed(0)
    student = sign_student(0.5)
    loss = loss(student) if loss else None
    history = fit(student, images, validation, recipe, loss=loss, progress=False)
    return student, history, loss


def without_labels(student):
    """α = 1: the label's term has weight 0. It is computed and logged, and pushes nothing."""
    return Distiller(student, None, soft_target_terms(temperature=4.0, alpha=1.0), table=table)


runs = {
    "alone, one sign a class": train_student(few, replace(recipe, epochs=few_epochs, views=None)),
    "distilled, no label": train_student(train, recipe, without_labels),
    "alone, all labels": train_student(train, recipe),
}
reached = {name: history.best_accuracy for name, (_, history, _) in runs.items()}
for name, value in reached.items():
    print(f"{name:24} {100 * value:5.1f} % on {len(validation)} validation images")
reveal("05.p", 100 * (reached["distilled, no label"] - reached["alone, one sign a class"]))

# %%
claim("The student without any label is at least 1.5 times as often right "
      "as the one with a labelled sign a class.",
      reached["distilled, no label"] > 1.5 * reached["alone, one sign a class"])

# %% [markdown]
# The `Distiller` logs each term before weighting. With $\alpha = 1$ the label's term has weight 0: it is watched, and pushes nothing. It falls all the same. What the labels would have said, the teacher said.

# %% tags=["nbval-ignore-output"]
history = runs["distilled, no label"][2].history
plots.terms_figure({"distilled, no label": history}, ["soft targets", "labels"])

# %%
claim("Both terms fall, also the one that has no weight.",
      all(history[-1][name] < 0.8 * history[0][name] for name in ("soft targets", "labels")))

# %% [markdown]
# One seed and a few seconds of training are a demonstration, not a result. Also note the third row: with all labels at hand, the labels alone do well. Whether distillation adds anything *there* is the next question.
#
# ## Recorded: with all labels, and with a tenth
#
# Now the real thing: all training images, several seeds (the last column), test read once for these four arms. The rules of the comparison stand in `course_lib/experiments/distillation_study.py`: same student, same first weights within a seed, same number of steps, same batch size and augmentation; only the loss differs. The gain is taken **within a seed** and averaged over seeds, with Student's $t$ interval. In the second regime the labels of a tenth of the *signs* are known (a tenth of the frames would show nearly every sign).

# %%
from course_lib.experiments.distillation_study import Score, gains

recorded = {data: load_result(f"distillation_{data}") for data in ("rendered", "gtsrb")}
for data, result in recorded.items():
    for name, figure in result["figures"].items():
        interval = f"[{figure.low:6.2f}, {figure.high:6.2f}]"
        print(f"{data:8} {name:30} {figure.value:6.2f} {interval} {figure.unit}, n = {figure.n}")

# %%
plots.regimes_figure({data: result["figures"] for data, result in recorded.items()})

# %%
REGIMES = {"gain_points_full": "", "gain_points_ten_percent": "_tenth"}
again = {}
for data, result in recorded.items():
    scores = [Score(**row) for row in result["scores"]]
    for name, part in REGIMES.items():
        again[data, name] = seed_interval(gains(scores, f"soft_targets{part}", f"alone{part}"))
claim("Recomputed from the single runs, every recorded gain and its interval come out again.",
      all(np.allclose([m.value, m.low, m.high], [f.value, f.low, f.high], atol=0.002)
          for (data, name), m in again.items() for f in [recorded[data]["figures"][name]]))

# %% [markdown]
# One row has five seeds, the real signs with all labels. Two of them were added after the first three had been looked at, which chapter 02 warns of: whoever goes on until the interval clears 0 gets there too often. So here is what the first three said, and the row is a hint until fresh seeds, as many as were fixed beforehand, repeat it:

# %%
early = [Score(**row) for row in recorded["gtsrb"]["scores"] if row["seed"] < 3]
first_look = seed_interval(gains(early, "soft_targets", "alone"))
print(f"real signs, all labels, three seeds: {first_look.value:+.2f} "
      f"[{first_look.low:+.2f}, {first_look.high:+.2f}]")

# %%
steps_of = {}
for data, result in recorded.items():
    for row in result["scores"]:
        steps_of.setdefault((data, row["seed"]), []).append(row["steps"])
claim("Within a seed no arm had more than 5 % more steps than another.",
      all(max(s) <= 1.05 * min(s) for s in steps_of.values()))

# %%
from course_lib.evaluation import Estimate

SAYS = {"helped": "helped: over seeds the interval lies above 0",
        "hurt": "**hurt**: over seeds the interval lies below 0",
        "not shown": "is **not shown** to help: over seeds the interval holds 0"}


def as_gain(figure):
    return Estimate(figure.value, figure.low, figure.high, figure.n, figure.unit)


lines = []
for data, result in recorded.items():
    for name, words in (
        ("gain_points_full", "all labels"),
        ("gain_points_ten_percent", "a tenth of the signs labelled"),
    ):
        g = as_gain(result["figures"][name])
        points = f"{g.value:+.2f} points [{g.low:+.2f}, {g.high:+.2f}]"
        lines.append(f"* {data}, {words}: {points}. Distilling {SAYS[g.verdict]}.")
Markdown("\n".join(lines))

# %% [markdown]
# "Over seeds" is part of each sentence: would another training on *these* images come out alike? Other signs are another question, which the intervals over signs of chapters 00 and 02 ask of one training. A claim about distillation in general needs both.
#
# Read the two regimes as two different questions. With few labels the teacher brings *information*: it saw all labels, and its logits carry them to images whose label the student may not use. With all labels it can only bring the finer shape of its answers. A result without its regime says little.

# %%
lines = []
for data, result in recorded.items():
    some_labels, all_labels = (
        result["figures"][f"{arm}_accuracy"].value for arm in ("soft_targets_tenth", "alone")
    )
    lines.append(
        f"* {data}: distilled with a tenth of the labels {some_labels:.1f} %, "
        f"alone with all of them {all_labels:.1f} %: "
        + ("the teacher's logits stand in for the missing nine tenths." if some_labels >= all_labels - 1
           else "the logits carry much of the missing labels, not all.")
    )
Markdown("\n".join(lines))

# %% [markdown]
# In the second regime, mind what the teacher knows: it was trained on all labels. The gain is what a good teacher can pass on *without labels*, not what could be reached had those labels never existed.
#
# ## How hot, how much: sweeps over T and α
#
# The next figures come from a smaller study: fewer signs and steps, validation scores, so that many arms could be compared with three seeds each. A winner here need not win at full size.

# %%
methods = load_result("distillation_methods")
figures, scores = methods["figures"], [Score(**row) for row in methods["scores"]]
print(
    {key: methods["study"][key] for key in ("signs", "epochs", "views", "width")}, "seeds", methods["seeds"]
)
counts = {name: sum(s.arm == name for s in scores) for name in {s.arm for s in scores}}
claim("Every arm was trained with at least 3 seeds and with the same number of steps.",
      min(counts.values()) >= 3 and len({s.steps for s in scores}) == 1)

# %%
middle = figures["soft_targets_gain_points"]  # T = 4, α = 0.9
by_temperature = {4: middle} | {t: figures[f"temperature_{t}_gain_points"] for t in (1, 2, 8)}
by_alpha = {0.9: middle} | {a: figures[f"alpha_{round(100 * a)}_gain_points"] for a in (0.5, 1.0)}
plots.sweep_figure(by_temperature, by_alpha)

# %%
arms = {("T", 4): "soft_targets", ("α", 0.9): "soft_targets"}
arms |= {("T", t): f"temperature_{t}" for t in (1, 2, 8)}
arms |= {("α", a): f"alpha_{round(100 * a)}" for a in (0.5, 1.0)}
lines = []
for name, rows in (("T", by_temperature), ("α", by_alpha)):
    best, worst = (pick(rows, key=lambda x, rows=rows: rows[x].value) for pick in (max, min))
    d = seed_interval(gains(scores, arms[name, best], arms[name, worst], "validation"))
    lines.append(
        f"* {name}: best mean at {best:g} ({rows[best].value:+.1f} points), "
        f"worst at {worst:g} ({rows[worst].value:+.1f}). Within a seed they differ by {d.value:+.1f} points "
        f"[{d.low:+.1f}, {d.high:+.1f}]"
        + (": three seeds cannot tell even these two apart." if d.includes(0) else ".")
    )
Markdown("\n".join(lines))

# %% [markdown]
# One would expect a price at both ends; compare with the figure. At $T = 1$ the soft target is nearly the label, as you measured above. At large $T$ the loss becomes logit matching (chapter 04): the student must reproduce all 43 logits, also the noise in the small ones, and a student with little capacity or few steps may pay for that. At $\alpha = 1$ nothing corrects the teacher's errors; at small $\alpha$ little of it is heard.
#
# A sweep is a choice, and validation makes it. **Exercise 05.3:** from the scores of a sweep, choose the setting with the best mean over seeds, and report its mean on test.


# %%
def choose_and_report(validation, test):
    """(setting, accuracy) from two dicts setting → accuracies, one a seed.

    The two may have their keys in different orders.
    """
    ...


check("05.3", choose_and_report)

# %% [markdown]
# ## Hard, soft, smooth
#
# Is it the teacher's *knowledge* that helps, or only that targets are soft? Label smoothing gives every image the same soft target, $(1-\varepsilon)[k=y] + \varepsilon/C$, and knows nothing. It is the control that many papers forget. Pseudo-labels are the other one: the teacher's choice without its doubt.

# %%
LABELS = {"soft_targets": "soft targets, T = 4, α = 0.9", "pseudo_labels": "label + pseudo-label",
          "label_smoothing": "label smoothing 0.1", "decoupled": "label + decoupled, T = 4"}
found = {words: as_gain(figures[f"{arm}_gain_points"]) for arm, words in LABELS.items()}
plots.gains_figure(dict(sorted(found.items(), key=lambda item: -item[1].value)))


# %%
def compare(arm, control):
    """Gain of one arm over another, in points, paired by seed."""
    return seed_interval(gains(scores, arm, control, "validation"), unit="points")


def says(arm, control):
    words = {"helped": "the first is better", "hurt": "the second is better", "not shown": "not told apart"}
    g, pair = compare(arm, control), f"{arm} − {control}".replace("_", " ")
    return f"* {pair}: {g.value:+.1f} points [{g.low:+.1f}, {g.high:+.1f}], n = {g.n}: {words[g.verdict]}."


others = ("label_smoothing", "pseudo_labels", "decoupled")
Markdown("\n".join(says("soft_targets", other) for other in others))

# %% [markdown]
# **Exercise 05.4.** Pseudo-labels from a table, for the batch of a shuffled loader. A batch knows its `view` and its `indices`.


# %%
def pseudo_labels_of(table, view, indices):
    """(B,) classes; table: logits (views, N, C). One line."""
    ...


check("05.4", pseudo_labels_of)

# %% [markdown]
# ## Decoupled: two messages in one number
#
# KL mixes "how sure of the label" with "what among the others". Split the sum at the label $y$. Let $\hat p_k = p_k/(1-p_y)$ for $k \ne y$: the teacher's answer among the others, summing to 1; likewise $\hat q_k$. Since $p_k = (1-p_y)\,\hat p_k$,
#
# $$\mathrm{KL}(p \Vert q) = p_y \ln\frac{p_y}{q_y} + \sum_{k\ne y} (1-p_y)\,\hat p_k \Bigl(\ln\frac{1-p_y}{1-q_y} + \ln \frac{\hat p_k}{\hat q_k}\Bigr).$$
#
# The $\hat p_k$ sum to 1, so the first logarithm in the bracket leaves the sum, and
#
# $$\mathrm{KL}(p \Vert q) = \underbrace{p_y \ln\frac{p_y}{q_y} + (1-p_y)\ln\frac{1-p_y}{1-q_y}}_{\mathrm{KL}_{target}} + (1-p_y)\,\underbrace{\sum_{k\ne y}\hat p_k \ln\frac{\hat p_k}{\hat q_k}}_{\mathrm{KL}_{others}}.$$
#
# There it stands: what the teacher knows of the *other* classes is weighted by $1-p_y$. The surer the teacher, the less of it is heard. Zhao et al. give both parts weights of their own:
#
# $$L_{DKD} = T^2\,(\alpha\,\mathrm{KL}_{target} + \beta\,\mathrm{KL}_{others}).$$
#
# Here $\alpha$ and $\beta$ are free weights, not a mix; plain KL is $\alpha = 1$, $\beta = 1-p_y$.
#
# **By hand,** with four classes, $y$ the first: $p = (0.90, 0.06, 0.03, 0.01)$, $q = (0.70, 0.10, 0.10, 0.10)$. Then $\hat p = (0.6, 0.3, 0.1)$ and $\hat q = (\frac13,\frac13,\frac13)$.
# $\mathrm{KL}_{target} = 0.9\ln\frac{0.9}{0.7} + 0.1\ln\frac{0.1}{0.3} = 0.2262 - 0.1099 = 0.1163$.
# $\mathrm{KL}_{others} = 0.6\ln 1.8 + 0.3 \ln 0.9 + 0.1\ln 0.3 = 0.3527 - 0.0316 - 0.1204 = 0.2007$.
# Together $0.1163 + 0.1\cdot 0.2007 = 0.1364$. The part about the others is the larger one, and counts a tenth.

# %%
p, q, y = torch.tensor([0.90, 0.06, 0.03, 0.01]), torch.tensor([0.70, 0.10, 0.10, 0.10]), torch.tensor([0])


def kl(a, b):
    return (a * (a / b).log()).sum().item()


target = kl(torch.stack([p[0], 1 - p[0]]), torch.stack([q[0], 1 - q[0]]))
rest = kl(p[1:] / p[1:].sum(), q[1:] / q[1:].sum())
print(f"target {target:.4f}, others {rest:.4f}, together {target + (1 - p[0]) * rest:.4f}, KL {kl(p, q):.4f}")

# %%
def part(a, b):
    return decoupled_loss(q.log()[None], p.log()[None], y, temperature=1.0, alpha=a, beta=b).item()


claim("The library has the same two parts, and together they are KL.",
      np.allclose([part(1, 0), part(0, 1), part(1, 1 - p[0].item())], [target, rest, kl(p, q)], atol=1e-5))

# %% [markdown]
# How much is heard on real images? `said` holds $1-p_y$ at each temperature.

# %%
claim("At T = 1 plain KL gives the part about the others less than 1 % of its weight on the median image.",
      said[1].median() < 0.01)

# %% [markdown]
# So a temperature does two things at once: it softens the answer *and* turns this weight up. Decoupling can do the second without the first. Whether that pays on this task stands in the figure above (`decoupled`: $\alpha = 1$, $\beta = 2$, $T = 4$, plus the label).
#
# **Exercise 05.5.** $\mathrm{KL}_{others}$ for a batch. Each row drops another class: `z[~F.one_hot(y, C).bool()].view(B, C - 1)` keeps the other logits, and a softmax over them sums to 1. Mind a teacher so sure that the others' probabilities round to 0.


# %%
def kl_of_the_others(student_logits, teacher_logits, labels, temperature):
    """Mean over the batch of Σ_{k≠y} p̂_k ln(p̂_k / q̂_k), both at temperature T."""
    ...


check("05.5", kl_of_the_others)

# %% [markdown]
# ## Which teacher?
#
# ### Too strong
#
# Is a better teacher a better teacher? Its answers may be so sharp, or shaped by features so far beyond the student, that a weaker network in between teaches better (Cho and Hariharan 2019; Mirzadeh et al. 2020 call it an *assistant*). Here the candidates differ widely in size:

# %% tags=["nbval-ignore-output"]
from course_lib.measure import count_parameters

assistant, assistant_card = checkpoints.load(f"student_{splits.train.name}")
for name, model, its in (("teacher", teacher, card), ("assistant", assistant, assistant_card)):
    score = 100 * its["validation_accuracy"]
    print(f"{name:9} {count_parameters(model):9,} parameters, validation {score:.1f} %")
print(f"student   {count_parameters(sign_student(0.5)):9,} parameters")

# %%
TEACHERS = {"soft_targets": "the teacher", "assistant": "the assistant",
            "born_again": "itself, trained alone",
            "plain_teacher": "4 × as wide, plain labels", "smoothed_teacher": "4 × as wide, smoothed labels"}
found = {words: as_gain(figures[f"{arm}_gain_points"]) for arm, words in TEACHERS.items()}
plots.gains_figure(dict(sorted(found.items(), key=lambda item: -item[1].value)))

# %%
Markdown("\n".join(says(*pair) for pair in (
    ("assistant", "soft_targets"), ("plain_teacher", "soft_targets"), ("born_again", "soft_targets"))))

# %% [markdown]
# The teachers differ from row to row in more than strength: the shipped teacher and the assistant saw all signs of the training part, the last three saw only the small study's. "Itself" is a born-again network: chapter 06 comes back to it.
#
# ### A teacher whose labels were smoothed
#
# Label smoothing often makes a teacher better, and its students worse (Müller, Kornblith and Hinton 2019). The derivation is short. Where the network reaches the smoothed target exactly, $p_y = 1-\varepsilon+\varepsilon/C$ and every other $p_k = \varepsilon/C$, so
#
# $$z_y - z_k = \ln \frac{1-\varepsilon+\varepsilon/C}{\varepsilon/C} \quad\text{for every } k \ne y.$$
#
# *One* number for all wrong classes: a 30 is exactly as far from an 80 as from a stop sign. With $\varepsilon = 0.1$ and $C = 43$ it is $\ln\frac{0.9023}{0.002326} = 5.96$. The perfect smoothed teacher has nothing left to say about the others. How far does a real one go? Measure the spread of the logits of wrong classes, $\mathrm{std}_{k \ne y}\, z_k$, on the images that the network was trained on.

# %% tags=["nbval-ignore-output"]
from course_lib.evaluation import predict_logits

smoothed = train_student(train, replace(recipe, label_smoothing=0.1))
spread = {}
for name, model in {"plain": runs["alone, all labels"][0], "smoothed": smoothed[0]}.items():
    z = predict_logits(model, train)
    wrong = z[~F.one_hot(labels, 43).bool()].view(len(z), 42)
    spread[name] = wrong.std(1).median().item()
print({name: round(value, 2) for name, value in spread.items()}, "(median over images)")

# %%
claim(
    "Trained on smoothed labels, a network tells the wrong classes apart less.",
    spread["smoothed"] < spread["plain"],
)

# %%
Markdown("What that costs the *student* was recorded with teachers four times as wide, "
         "trained with the same seeds:\n\n"
         + says("smoothed_teacher", "plain_teacher"))

# %% [markdown]
# This sign is not the one that the derivation suggests: here the smoothed teacher's students are not worse, and on average better. With three seeds and an interval over 0 that refutes nothing, but it confirms nothing either. What the derivation says of a *perfect* smoothed teacher need not hold for one that was trained for 16 epochs: the logits above still tell wrong classes apart, only less.
#
# ## Ten mistakes that raise no error
#
# Each of these trains. Each gives a number. None gives a message.
#
# ### 1 to 3: no T², `reduction="mean"`, α the other way round
#
# The three are one mistake. Dividing the soft term by a factor $f$ and leaving the label's term alone is, up to a constant, the right loss with another weight:
#
# $$\frac{\alpha}{f}\,S + (1-\alpha)\,H = c\,\bigl(\alpha' S + (1-\alpha')\,H\bigr), \qquad \alpha' = \frac{\alpha/f}{\alpha/f + 1 - \alpha},\quad c = \alpha/f + 1 - \alpha.$$
#
# The constant $c$ scales all gradients alike, which AdamW nearly ignores. So the faulty loss is a sound one with a weight that you did not choose.

# %%
T, alpha, C = 4.0, 0.9, 43
effective = {}
for name, f in {"right": 1, "no T²": T**2, 'reduction="mean"': C, "both": C * T**2}.items():
    effective[name] = (alpha / f) / (alpha / f + 1 - alpha)
effective["α for 1 − α"] = 1 - alpha
print("\n".join(f"{name:18} behaves like α = {value:.3f}" for name, value in effective.items()))

# %%
s = some[0].clone().requires_grad_()
no_square = alpha * soft_target_loss(s, some[1], T) / T**2 + (1 - alpha) * label_loss(s, some[2])
(wrong_gradient,) = torch.autograd.grad(no_square, s)
right = distillation_loss(s, some[1], some[2], temperature=T, alpha=effective["no T²"])
(other_gradient,) = torch.autograd.grad(right, s)
claim("Without T² the gradient is that of the right loss with α = 0.36, times one constant.",
      torch.allclose(wrong_gradient, (alpha / T**2 + 1 - alpha) * other_gradient, atol=1e-7))

# %% [markdown]
# What such a weight costs, or happens to win, is what the sweep over $\alpha$ shows. That is why these faults live long: the loss still works, only the $T$ and $\alpha$ in the paper's table are not the ones that ran.
#
# ### 4 and 5: KL the wrong way round, and `softmax(z).log()`
#
# Chapter 04 derived why the direction matters. On real targets: how far does the gradient turn? And in half precision, as used in mixed-precision training, how many of these real rows does `softmax().log()` destroy?

# %% tags=["nbval-ignore-output"]
s = predict_logits(runs["distilled, no label"][0], train)[:512].clone().requires_grad_()
turned = F.kl_div(F.log_softmax(logits[:512] / T, 1), F.softmax(s / T, 1), reduction="batchmean") * T**2
gradients = [torch.autograd.grad(value, s)[0] for value in (soft_target_loss(s, logits[:512], T), turned)]
cosine = F.cosine_similarity(*gradients, dim=1)
print(f"cosine between the two gradients: median {cosine.median():.2f}, smallest {cosine.min():.2f}")
lost = F.softmax(logits.half(), 1).log().isinf().any(1).double().mean().item()
kept = F.log_softmax(logits.half(), 1).isinf().any(1).double().mean().item()
print(f"rows with −∞ in half precision: softmax().log() {100 * lost:.1f} %, log_softmax {100 * kept:.1f} %")

# %%
claim("Half precision destroys some real rows with softmax().log(), and none with log_softmax.",
      lost > 0 and not bool(F.log_softmax(logits.half(), 1).isinf().any()))

# %% [markdown]
# ### 6 and 7: a teacher in train mode, a teacher with gradients
#
# In train mode BatchNorm uses the batch's own statistics: the answer to an image depends on its neighbours, and the running statistics move with each call. A table in dataset order is the worst case, because neighbours are then of one class.

# %% tags=["nbval-ignore-output"]
careless = copy.deepcopy(teacher).train()
mixed = np.random.default_rng(0).permutation(len(train))[:128]
batches = {"mixed": mixed, "one class": np.flatnonzero(train.labels == 1)[:48]}
modes = {}
with torch.no_grad():
    for name, rows_ in batches.items():
        pictures, y = train.batch(rows_)
        modes[name] = [
            (model(pictures).argmax(1) == y).double().mean().item()
            for model in (teacher, careless)
        ]
        in_eval, in_train = (100 * right for right in modes[name])
        print(f"{name:9} batch: eval {in_eval:5.1f} %, train mode {in_train:5.1f} % right")

# %%
claim("In a batch of one class, train mode costs the teacher at least 20 points.",
      modes["one class"][0] - modes["one class"][1] > 0.2)

# %% [markdown]
# And without `torch.no_grad()` the loss sends gradients into the teacher. If an optimiser holds its parameters, the teacher moves towards the student, which is the easiest way to make the two agree. The `Distiller` takes care of both, whatever mode the caller left.

# %%
pictures, y = train.batch(mixed[:16])
student = sign_student(0.5)
q, p = F.log_softmax(student(pictures), 1), F.softmax(careless(pictures), 1)
F.kl_div(q, p, reduction="batchmean").backward()
kept = sum(p.grad is not None for p in careless.parameters())
careless.zero_grad(set_to_none=True)
from course_lib.training import Batch

with Distiller(student, careless, soft_target_terms(temperature=4.0, alpha=0.9)) as distiller:
    distiller(student(pictures), Batch(pictures, y, torch.from_numpy(mixed[:16]), 0)).backward()
claim("By hand every parameter of the teacher got a gradient; "
      "through the Distiller none, and it is in eval mode.",
      kept == len(list(careless.parameters())) and all(p.grad is None for p in careless.parameters())
      and not careless.training)

# %% [markdown]
# ### 8: bytes for a network that expects [0, 1]
#
# The data set stores bytes, 0 to 255. The teacher was trained on floats from 0 to 1. Whoever feeds it `images.float()` gets an answer, too.

# %% tags=["nbval-ignore-output"]
pictures, y = train.batch(mixed)
raw = torch.from_numpy(train.images[mixed]).float()
with torch.no_grad():
    prepared, bytes_ = ((teacher(x).argmax(1) == y).double().mean().item() for x in (pictures, raw))
print(f"right: prepared {100 * prepared:.1f} %, raw bytes {100 * bytes_:.1f} %")

# %%
claim("Raw bytes cost the teacher at least 20 points, without a message.", prepared - bytes_ > 0.2)

# %% [markdown]
# ### 9 and 10: targets of another image, or of another view
#
# The classic: pseudo-labels are computed once, in dataset order, then zipped with a loader that shuffles. And its quiet relative: right image, but the logits were computed from another augmented view.

# %% tags=["nbval-ignore-output"]
from course_lib.training import epoch_batches

batch = next(epoch_batches(train, replace(recipe, batch_size=256), epoch=0))
in_order = logits[: len(batch.labels)].argmax(1)  # what zip(loader, targets) would give
by_index = table.rows(batch).argmax(1)
hits = [(choice == batch.labels).double().mean().item() for choice in (in_order, by_index)]
print("pseudo-labels that are the image's label:")
print(f"in dataset order {100 * hits[0]:.1f} %, by index {100 * hits[1]:.1f} %")
with torch.no_grad():
    plain = teacher(train.batch(batch.indices)[0])
moved = (plain.argmax(1) != by_index).double().mean().item()
apart = soft_target_loss(plain, table.rows(batch), 4.0).item()
print("another view of the same image:")
print(f"{100 * moved:.1f} % other first choices, T²·KL = {apart:.2f} nats at T = 4")

# %%
claim("In dataset order nine of ten pseudo-labels belong to another class; by index nearly none.",
      hits[0] < 0.1 and hits[1] > 0.95)

# %% [markdown]
# What do they cost in the end? Recorded, with three seeds each, against the right targets:

# %%
cost = {arm: compare(arm, "soft_targets") for arm in ("shuffled_targets", "other_view")}
left = [f"{100 * score.validation:.1f}" for score in scores if score.arm == "shuffled_targets"]
Markdown("\n".join(says(arm, "soft_targets") for arm in cost)
         + f"\n\nWith shuffled targets the three students are right in {', '.join(left)} %; "
         f"chance is {100 / 43:.1f} %.")

# %% [markdown]
# Targets of other images leave next to nothing, although a tenth of the loss still is the right label ($\alpha = 0.9$): that bug betrays itself. Targets of another view are the ones that survive: the student learns, only less, and nobody sees what it could have learnt. `TeacherTable.rows(batch)` uses `batch.indices` and `batch.view`, and `fit` refuses a table that was made for other images or views.
#
# ### A second opinion on our own loss
#
# Is our loss the one that others use? torchdistill's `KDLoss` on the same student, data, seeds and budget:

# %%
Markdown(says("torchdistill", "soft_targets"))

# %% [markdown]
# ## Pitfalls
#
# * **"Distillation gives +2 points."** With how many labels, at how many steps, against which control, over how many seeds? Each of the four can change the answer.
# * **The student alone with fewer steps.** Extra passes for the distilled student are the commonest gift. Count steps.
# * **No label-smoothing control.** Softness alone may explain the gain.
# * **A T from a paper.** It belongs to that teacher's logits; ours may be twice as large.
# * **Choosing among twenty arms with three seeds.** The best mean of many is partly luck (chapter 02). Confirm the winner with new seeds.
# * **Pseudo-labels on labelled training images.** They repeat the label.
# * **Targets zipped with a shuffled loader**, or cached for one view and used for another. The loss falls all the same.
# * **A smoothed, then distilled teacher.** Ask how a downloaded teacher was trained.
#
# ## Recap

# %% tags=["nbval-ignore-output"]
full, tenth = (as_gain(recorded["rendered"]["figures"][name]) for name in REGIMES)
real_full, real_tenth = (as_gain(recorded["gtsrb"]["figures"][name]) for name in REGIMES)
live = 100 * (reached["distilled, no label"] - reached["alone, one sign a class"])
display(Markdown(f"""
1. The teacher's wrong answers have structure: {100 * within[1]:.0f} % of its wrong probability stays in the
   group of the true class; chance would keep {100 * chance:.0f} %.
2. It speaks softly: at T = 1 the median training image gives all other classes {100 * said[1].median():.3f}
   %, at T = 4 {100 * said[4].median():.0f} %.
3. A tenth of the signs labelled: distilling changes test accuracy by {tenth.value:+.1f} points
   [{tenth.low:+.1f}, {tenth.high:+.1f}] on rendered signs, {real_tenth.value:+.1f} [{real_tenth.low:+.1f},
   {real_tenth.high:+.1f}] on real ones.
4. All labels: {full.value:+.2f} [{full.low:+.2f}, {full.high:+.2f}] rendered ({full.verdict}),
   {real_full.value:+.2f} [{real_full.low:+.2f}, {real_full.high:+.2f}] real ({real_full.verdict}).
5. Without T² the loss is a right one with α = {effective["no T²"]:.2f} instead of {alpha}; targets of other
   images change accuracy by {cost["shuffled_targets"].value:+.1f} points, targets of another view by
   {cost["other_view"].value:+.1f}.
6. Live: without a label, {live:.0f} points better than with a labelled sign a class.
"""))

# %% [markdown]
# Next: [06 · distilling features](06_distilling_features.ipynb) looks inside. Can the student learn *how* the teacher sees?
#
# ## References
#
# * G. Hinton, O. Vinyals, J. Dean (2015). *Distilling the knowledge in a neural network.* [arXiv:1503.02531](https://arxiv.org/abs/1503.02531), section 2: soft targets, $T$, $T^2$, the mix.
# * D.-H. Lee (2013). *Pseudo-Label.* ICML workshop, eq. 15.
# * C. Szegedy et al. (2016). *Rethinking the Inception architecture.* [arXiv:1512.00567](https://arxiv.org/abs/1512.00567), section 7: label smoothing.
# * R. Müller, S. Kornblith, G. Hinton (2019). *When does label smoothing help?* [arXiv:1906.02629](https://arxiv.org/abs/1906.02629), section 4.
# * J. H. Cho, B. Hariharan (2019). *On the efficacy of knowledge distillation.* [arXiv:1910.01348](https://arxiv.org/abs/1910.01348), section 4.
# * S. I. Mirzadeh et al. (2020). *Improved knowledge distillation via teacher assistant.* [arXiv:1902.03393](https://arxiv.org/abs/1902.03393).
# * B. Zhao et al. (2022). *Decoupled knowledge distillation.* [arXiv:2203.08679](https://arxiv.org/abs/2203.08679), eqs. 6 and 7.
# * L. Beyer et al. (2022). *Knowledge distillation: a good teacher is patient and consistent.* [arXiv:2106.05237](https://arxiv.org/abs/2106.05237), section 3: the same view for both.
# * T. Furlanello et al. (2018). *Born-again neural networks.* [arXiv:1805.04770](https://arxiv.org/abs/1805.04770).
# * Y. Matsubara (2021). *torchdistill.* [arXiv:2011.12913](https://arxiv.org/abs/2011.12913).
