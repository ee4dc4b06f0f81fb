# %% [markdown]
# # 05 · Distilling logits: how does a student learn from a teacher?
#
# A label says "30". A teacher says "30, perhaps 20, hardly a stop sign". What is the second answer worth?
#
# **You will be able to**
#
# * write the distillation loss and the training loop around it;
# * train on images without labels;
# * split KL into what it says about the label and about the other classes;
# * judge a distillation result by control, equal steps, seeds and interval;
# * find ten mistakes that raise no error.
#
# **Before:** chapter [02](02_the_teacher.ipynb) (seeds, intervals), chapter [04](04_kl_and_cross_entropy.ipynb) (KL, temperature, the factor $T^2$, `reduction`). **Time:** 100 min to work through; the cells take about 2 min on 2 cores. Symbols: [notation](../docs/notation.md).

# %% tags=["nbval-ignore-output"]
import copy
import math
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
from course_lib.distillation import distillation_loss, label_loss, soft_target_loss, teacher_table
from course_lib.experiments.distillation_study import Study
from course_lib.models import sign_student
from course_lib.training import Recipe, epoch_batches, fit

# %% [markdown]
# Trainings that take hours are read from recorded files. What runs here uses 344 signs, about six frames of each. A `Study` fixes the signs and the budget of all students; with `views=1` each image has one augmented *view*, the same for everybody. So the teacher is asked once, and a `teacher_table` keeps its logits.

# %% tags=["nbval-ignore-output"]
frames_a_sign = len(splits.train) / len(np.unique(splits.train.groups))
every = max(1, round(frames_a_sign / 6))
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
# One small student trains on **one labelled sign of each class** alone. Another gets **no label at all**, only the teacher's logits on all the images above. Both make the same number of steps. On new signs, is the second
#
# (a) worse, (b) better by less than 10 points, or (c) better by more?

# %% tags=["nbval-ignore-output"]
guess = None  # "a", "b" or "c"; the chapter comes back to it
predict("05.p", guess, sure=None)  # sure: in per cent, such as 70

# %% [markdown]
# ## What the teacher's wrong answers tell
#
# Let $p_k(x)$ be the teacher's probability of class $k$ for image $x$. Average $p_k$ over all images of class $c$, leave out $k=c$, and divide by the sum. That says where the *wrong* probability goes:
#
# $$\mathrm{share}(c, k) = \frac{\overline{p_k}}{\sum_{j \ne c} \overline{p_j}}, \qquad k \ne c.$$
#
# Four numbers: if images of "30" get on average $0.90$ for 30, $0.06$ for 20, $0.03$ for 80 and $0.01$ for stop, the shares are $0.6,\ 0.3,\ 0.1$.

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
# The whole table, classes sorted by group (speed limits, danger signs …). A teacher that knew nothing would keep within a group what its size gives: chance.

# %% tags=["nbval-ignore-output"]
plots.likeness_figure({"teacher, T = 1": at[1], "teacher, T = 4": at[4]}, groups)

# %% tags=["nbval-ignore-output"]
no_knowledge = (np.ones((43, 43)) - np.eye(43)) / 42
chance = same_group_share(no_knowledge, groups)
within = {t: same_group_share(shares, groups) for t, shares in at.items()}
print(f"stays in the group: T = 1 {within[1]:.2f}, T = 4 {within[4]:.2f}, by chance {chance:.2f}")
eighty, keep_right = at[1][1, 5], at[1][1, 38]
print(f"of the wrong probability of a 30: 80 {100 * eighty:.2f} %, keep right {100 * keep_right:.4f} %")

# %%
claim("Wrong probability stays in the true class's group "
      "at least 1.5 times as often as chance would keep it.",
      within[1] > 1.5 * chance)

# %%
claim(
    "At T = 4 a smaller share of the wrong probability stays in the group than at T = 1.",
    within[4] < within[1],
)

# %% [markdown]
# A higher $T$ reveals more and ranks it less sharply.
#
# ### But the numbers are small
#
# How small, on the images that the student will be trained on? (`said` is $1-p_y$: all that is not given to the label $y$.)

# %% tags=["nbval-ignore-output"]
own = torch.arange(len(labels)), labels
said = {t: 1 - (logits / t).softmax(1)[own] for t in (1, 2, 4, 8, 16)}  # (N,) each
for t, rest in said.items():
    median, mean = 100 * rest.median(), 100 * rest.mean()
    print(f"T = {t:2}: not on the label: median {median:8.4f} %, mean {mean:5.2f} %")
unsure = said[1].sort(descending=True).values[: len(labels) // 100]
print(f"The least sure 1 % of the images hold {100 * unsure.sum() / said[1].sum():.0f} % of it at T = 1.")
agreement = (logits.argmax(1) == labels).double().mean()
print(f"The teacher's first choice is the label for {100 * agreement:.2f} % of the images.")

# %%
claim("At T = 1 the median image tells less than 1 % about the other classes; at T = 4 more than 10 %.",
      said[1].median() < 0.01 and said[4].median() > 0.1)

# %% [markdown]
# Without a temperature, the median soft target is a label with a rounding error. And a *pseudo-label*, the teacher's first choice alone, only repeats the label, where that is known.
#
# ## From pseudo-labels to soft targets
#
# With the student's logits $s$, the teacher's $z$, $p_T = \mathrm{softmax}(z/T)$ and $q_T = \mathrm{softmax}(s/T)$, there are three targets for a student:
#
# | | loss | gradient with respect to $s_k$ |
# |---|---|---|
# | the label $y$ | $-\ln q_1(y)$ | $q_{1,k} - [k = y]$ |
# | the pseudo-label $\hat y = \arg\max z$ | $-\ln q_1(\hat y)$ | $q_{1,k} - [k = \hat y]$ |
# | the soft target | $T^2\,\mathrm{KL}(p_T \Vert q_T)$ | $T\,(q_{T,k} - p_{T,k})$ |
#
# ($[k = y]$ is 1 if $k = y$, else 0.) The first two push every other class down. Only the third can push another class *up*. Hinton, Vinyals and Dean mix the first and the third:
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
# The naive version breaks for logits that are far apart (chapter 04). Yours must not.
#
# **Exercise 05.1.** Write the loss, with both terms, for logits of any size. It must carry a gradient: no `.item()`, no NumPy.


# %%
def loss_with_t_and_alpha(student_logits, teacher_logits, labels, temperature, alpha):
    """α·T²·KL(teacher ‖ student) + (1 − α)·CE(label, student), mean over the batch. About 4 lines."""
    ...


check("05.1", loss_with_t_and_alpha)

# %% [markdown]
# ## The training loop with a teacher
#
# Distillation as a whole, on a tiny problem: a few images, four passes. Three things are new since chapter 02's loop: the teacher is in eval mode, it answers without gradients, and the loss reads its answer.

# %%
tiny = train.subset(np.arange(0, len(train), 24))
plan = Recipe(epochs=4, batch_size=22, max_lr=0.01, optimizer="sgd", schedule="cosine",
              weight_decay=0, augmentation=None)
steps = plan.epochs * math.ceil(len(tiny) / plan.batch_size)
torch.manual_seed(0)
student = sign_student(0.5)
optimizer = torch.optim.SGD(student.parameters(), lr=plan.max_lr, momentum=0.9, nesterov=True)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)

# %%
teacher.eval()  # BatchNorm must not look at the other images of the batch
losses_by_hand = []
for epoch in range(plan.epochs):
    losses = []
    for batch in epoch_batches(tiny, plan, epoch):  # the images in a new order each epoch
        with torch.no_grad():  # the teacher teaches, it does not learn
            teacher_logits = teacher(batch.images)  # (B, C)
        student_logits = student(batch.images)  # (B, C)
        loss = distillation_loss(student_logits, teacher_logits, batch.labels, temperature=4.0, alpha=0.9)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses += [loss.item()] * len(batch.labels)
    losses_by_hand.append(np.mean(losses))

# %% [markdown]
# The course's `fit` is chapter 02's loop and takes any loss. The `Distiller` is a loss that knows a teacher: it asks the teacher, or reads its table, and adds up weighted *terms*. `soft_target_terms` are the two terms of $L$. Same student, same images, same steps:

# %% tags=["nbval-ignore-output"]
from course_lib.distillation import Distiller, soft_target_terms

torch.manual_seed(0)
student = sign_student(0.5)
with Distiller(student, teacher, soft_target_terms(temperature=4.0, alpha=0.9)) as distiller:
    history = fit(student, tiny, validation, plan, loss=distiller, progress=False)
losses_by_fit = [row["loss"] for row in history.epochs]
for epoch in range(plan.epochs):
    print(f"epoch {epoch + 1}: loss by hand {losses_by_hand[epoch]:.2f}, by fit {losses_by_fit[epoch]:.2f}")

# %%
claim("The loop on this page and the library's training have the same loss in every epoch, within 0.1 %.",
      np.allclose(losses_by_hand, losses_by_fit, rtol=1e-3))

# %% [markdown]
# ### What each loss pushes
#
# A sign, the teacher's answer, and a student that was trained alone. Bars to the right: the loss lifts this class; to the left: it lowers it.

# %% tags=["nbval-ignore-output"]
alone_model, _ = checkpoints.load(f"alone_{splits.train.name}")
chosen = []
for c in (1, 5, 12, 31, 38):  # of each class an image whose teacher is not too sure
    members = np.flatnonzero(train.labels == c)
    chosen.append(int(members[said[1][members].argsort()[-3]]))
view = recipe.augmentation.table(len(train), 0)[chosen]
with torch.no_grad():
    pictures = recipe.augmentation.apply(train.batch(chosen)[0], view)  # as the teacher saw them
    answers = alone_model(pictures)
rows = pictures.numpy(), logits[chosen], answers, train.labels[chosen]
plots.push_figure(*(row[0] for row in rows), SHORT_NAMES, temperature=4, alpha=0.9)

# %% tags=["nbval-ignore-output"]
widgets.push_explorer(*rows, SHORT_NAMES)

# %% [markdown]
# Move $T$ to 1 and look at the entropy. Then move $\alpha$ to 0: only the label is left. Find a sign where the mix *lowers* the right class: there the student is surer than its teacher. (The axis is logarithmic outside a strip around 0.)

# %%
from course_lib.distillation import pushes

push = pushes(answers[0], logits[chosen[0]], 1, 4.0, 1.0)
others = torch.arange(43) != 1
claim("The label's loss lifts one class and lowers all others; the soft target lifts some others too.",
      bool((push["label"][others] <= 0).all()) and bool((push["soft targets and label"][others] > 0).any()))

# %% [markdown]
# ## Few labels, many images
#
# Labels cost money; images are free. The soft term needs no label, so unlabelled images can stay in the batch. Let $K$ be the labelled images of a batch of $B$:
#
# $$L = \frac{\alpha\,T^2}{B} \sum_{i=1}^{B} \mathrm{KL}(p^{(i)}_T \Vert q^{(i)}_T) + \frac{1-\alpha}{\max(1, |K|)} \sum_{i \in K} -\ln q^{(i)}_1(y_i).$$
#
# In the library a label of `UNLABELLED` $= -1$ marks an image without one.

# %%
from course_lib.distillation import UNLABELLED

half = torch.where(torch.arange(64) % 2 == 0, labels[:64], UNLABELLED)
on_known = F.cross_entropy(some[0][::2], labels[:64:2])
by_formula = 0.9 * soft_target_loss(some[0], some[1], 4.0) + 0.1 * on_known
in_library = distillation_loss(some[0], some[1], half, temperature=4.0, alpha=0.9)
print("every second label hidden, formula and library agree:", torch.allclose(by_formula, in_library))

# %% [markdown]
# **Exercise 05.2.** Write it, also for a batch without any label (then the label's term is 0) and for logits that are far apart.


# %%
def partly_labelled(student_logits, teacher_logits, labels, temperature, alpha):
    """The same loss, where a label of −1 means: not known."""
    ...


check("05.2", partly_labelled)

# %% [markdown]
# ### Live: one sign a class, or none
#
# Now your prediction. All students have the same first weights and number of steps. The control with few images sees a new view in each of its many epochs, the best use it can make of them.

# %%
first_signs = [train.groups[train.labels == c].min() for c in range(43)]
labelled = np.isin(train.groups, first_signs)
steps = recipe.epochs * math.ceil(len(train) / recipe.batch_size)
few = train.subset(labelled)
few_epochs = round(steps / math.ceil(len(few) / recipe.batch_size))
print(f"{len(few)} of {len(train)} images are labelled")
print(f"{steps} steps: {recipe.epochs} epochs of all images or {few_epochs} of the labelled ones")


# %% tags=["nbval-ignore-output"]
def train_student(images, recipe, loss=None):
    torch.manual_seed(0)
    student = sign_student(0.5)
    loss = loss(student) if loss else None
    history = fit(student, images, validation, recipe, loss=loss, progress=False)
    return student, history, loss


def without_labels(student):
    """α = 1: the label's term has weight 0; it is logged and pushes nothing."""
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
# The `Distiller` logs each term before weighting. Here the label's term is only watched. It falls all the same, because the teacher's answers imply the labels.

# %% tags=["nbval-ignore-output"]
history = runs["distilled, no label"][2].history
plots.terms_figure({"distilled, no label": history}, ["soft targets", "labels"])

# %%
claim("Both terms fall by at least a fifth, also the one that has no weight.",
      all(history[-1][name] < 0.8 * history[0][name] for name in ("soft targets", "labels")))

# %% [markdown]
# One seed is a demonstration, not a result; and validation labels chose the best epoch, also of the student "without labels". Where all labels are known, labels alone do well. Does distillation add anything *there*?
#
# ## Recorded: with all labels, and with a tenth
#
# All training images, several seeds. Within a seed only the loss differs: first weights, steps, batch size and augmentation are the same. The table shows the mean of the differences within seeds, and its 95 % interval. The seeds were fixed beforehand, and nothing was chosen on test. In the second regime the labels of a tenth of the *signs* are known (a tenth of the frames would show nearly every sign).

# %%
from course_lib.experiments.distillation_study import Score, gain_over_signs, gains
from course_lib.measure.tables import text_table


def compare(scores, arm, control):
    """Arm − control in points: the differences within each seed, their mean and its 95 % interval."""
    return seed_interval(gains(scores, arm, control, "validation"), unit="points")


recorded = {data: load_result(f"distillation_{data}") for data in ("rendered", "gtsrb")}
runs_of = {data: [Score(**row) for row in result["scores"]] for data, result in recorded.items()}
gain, rows = {}, []
for data in recorded:
    for words, part in {"all": "", "a tenth": "_tenth"}.items():
        arms, frames = (f"soft_targets{part}", f"alone{part}"), recorded[data]["images_per_sign"]
        g = gain[data, words] = gain_over_signs(runs_of[data], *arms, frames)
        pair = [recorded[data]["figures"][f"{arm}{part}_accuracy"].value for arm in ("alone", "soft_targets")]
        rows.append([data, words, *(f"{value:.1f} %" for value in pair),
                     f"{g.value:+.2f} [{g.low:+.2f}, {g.high:+.2f}]",
                     str(len(recorded[data]["seeds"])), g.verdict])
print(text_table(["signs", "labels", "alone", "distilled", "gain, points", "seeds", "distilling"], rows))

# %%
plots.regimes_figure({data: result["figures"] for data, result in recorded.items()})

# %%
steps_of = {}
for data, scores in runs_of.items():
    for score in scores:
        steps_of.setdefault((data, score.seed), []).append(score.steps)
claim("Within a seed no arm had more than 5 % more steps than another.",
      all(max(steps) <= 1.05 * min(steps) for steps in steps_of.values()))

# %% [markdown]
# "Helped" means that the interval lies above 0. It covers two accidents, another training and other test signs; an interval over seeds alone would be narrower and say nothing about the next town. (Whoever adds seeds until an interval clears 0 gets there too often: fix their number first.)
#
# With few labels the teacher's logits bring the missing labels. With all labels they only bring the finer shape of its answers. How far do logits replace nine tenths of the labels?

# %%
for data, scores in runs_of.items():
    for control, words in (("alone", "alone, all labels"), ("soft_targets", "distilled, all labels")):
        g = gain_over_signs(scores, "soft_targets_tenth", control, recorded[data]["images_per_sign"])
        print(f"{data}: distilled, a tenth − {words}: {g.value:+.2f} [{g.low:+.2f}, {g.high:+.2f}]")

# %% [markdown]
# A second line below 0 says what the labels are still worth. Should one lie above 0, do not conclude that deleting labels helps: few seeds can make an interval say much.
#
# And the teacher was trained on all labels: the gain is what it passes on *without labels*, not what could be reached had they never existed.
#
# ## Choosing T and α
#
# From here on: a smaller study with validation scores. Validation also chose each student's best epoch, so all scores are a little too good. A winner here need not win at full size.

# %%
methods = load_result("distillation_methods")
scores = [Score(**row) for row in methods["scores"]]
budget = {key: methods["study"][key] for key in ("signs", "epochs", "views", "width")}
print(budget, "seeds", methods["seeds"])
print("steps of each training:", sorted({score.steps for score in scores}))

# %%
temperature_arms = {1: "temperature_1", 2: "temperature_2", 4: "soft_targets", 8: "temperature_8"}
alpha_arms = {0.5: "alpha_50", 0.9: "soft_targets", 1.0: "alpha_100"}
by_temperature = {t: compare(scores, arm, "alone") for t, arm in temperature_arms.items()}  # α = 0.9
by_alpha = {a: compare(scores, arm, "alone") for a, arm in alpha_arms.items()}  # T = 4
plots.sweep_figure(by_temperature, by_alpha)

# %%
for name, arms, found in (("T", temperature_arms, by_temperature), ("α", alpha_arms, by_alpha)):
    best, worst = max(found, key=lambda x: found[x].value), min(found, key=lambda x: found[x].value)
    g = compare(scores, arms[best], arms[worst])
    print(f"{name} = {best:g} (best) − {name} = {worst:g} (worst): "
          f"{g.value:+.1f} points [{g.low:+.1f}, {g.high:+.1f}]")

# %% [markdown]
# Where this interval holds 0, these seeds cannot tell even the best from the worst.
#
# One would expect a price at both ends. At $T = 1$ the soft target is nearly the label. At large $T$ the loss becomes logit matching (chapter 04), noise included. At $\alpha = 1$ nothing corrects the teacher's errors; at small $\alpha$ the teacher has little weight. Compare with the figure.
#
# **Exercise 05.3.** From the validation scores of a sweep, choose the setting with the best mean over seeds, and report its mean on test.


# %%
def choose_and_report(validation, test):
    """(setting, accuracy) from two dicts setting → accuracies, one a seed.

    The two may have their keys in different orders.
    """
    ...


check("05.3", choose_and_report)

# %% [markdown]
# ## Two controls: smooth labels and hard labels
#
# Is it the teacher's *knowledge* that helps, or only that targets are soft? Label smoothing gives every image the soft target $(1-\varepsilon)[k=y] + \varepsilon/C$, which knows nothing about classes. Pseudo-labels are the teacher's choice without its doubt.

# %%
def show_gains(names):
    """The arms' gains over the student alone, the largest first; names: arm → what the figure calls it."""
    found = {words: compare(scores, arm, "alone") for arm, words in names.items()}
    return plots.gains_figure(dict(sorted(found.items(), key=lambda item: -item[1].value)))


def print_difference(arm, control):
    g = compare(scores, arm, control)
    verdict = {"helped": "the first is better", "hurt": "the second is better", "not shown": "not told apart"}
    print(f"{arm} − {control}: {g.value:+.1f} points [{g.low:+.1f}, {g.high:+.1f}]: {verdict[g.verdict]}")


show_gains({"soft_targets": "soft targets, T = 4, α = 0.9", "pseudo_labels": "label + pseudo-label",
            "label_smoothing": "label smoothing 0.1", "decoupled": "label + decoupled, T = 4",
            "decoupled_authors": "the same, β = 8, warm-up"})

# %%
for other in ("label_smoothing", "pseudo_labels", "decoupled"):
    print_difference("soft_targets", other)

# %% [markdown]
# **Exercise 05.4.** Read pseudo-labels from a table, for the batch of a shuffled loader. A batch knows its `view` and its `indices`.


# %%
def pseudo_labels_of(table, view, indices):
    """(B,) classes; table: logits (views, N, C). One line."""
    ...


check("05.4", pseudo_labels_of)

# %% [markdown]
# ## Decoupled: two messages in one number
#
# KL mixes "how sure of the label" with "which of the others". Split the sum at the label $y$. Let $\hat p_k = p_k/(1-p_y)$ for $k \ne y$: the teacher's answer among the others, summing to 1; likewise $\hat q_k$. Since $p_k = (1-p_y)\,\hat p_k$,
#
# $$\mathrm{KL}(p \Vert q) = p_y \ln\frac{p_y}{q_y} + \sum_{k\ne y} (1-p_y)\,\hat p_k \Bigl(\ln\frac{1-p_y}{1-q_y} + \ln \frac{\hat p_k}{\hat q_k}\Bigr).$$
#
# The $\hat p_k$ sum to 1, so the first logarithm in the bracket leaves the sum, and
#
# $$\mathrm{KL}(p \Vert q) = \underbrace{p_y \ln\frac{p_y}{q_y} + (1-p_y)\ln\frac{1-p_y}{1-q_y}}_{\mathrm{KL}_{target}} + (1-p_y)\,\underbrace{\sum_{k\ne y}\hat p_k \ln\frac{\hat p_k}{\hat q_k}}_{\mathrm{KL}_{others}}.$$
#
# So what the teacher says about the *other* classes is weighted by $1-p_y$: the surer the teacher, the less it counts. Zhao et al. give both parts weights of their own (DKD):
#
# $$L_{DKD} = T^2\,(\alpha\,\mathrm{KL}_{target} + \beta\,\mathrm{KL}_{others}).$$
#
# Plain KL is $\alpha = 1$, $\beta = 1-p_y$.
#
# **By hand,** with four classes, $y$ the first: $p = (0.90, 0.06, 0.03, 0.01)$, $q = (0.70, 0.10, 0.10, 0.10)$. Then $\hat p = (0.6, 0.3, 0.1)$ and $\hat q = (\frac13,\frac13,\frac13)$.
# $\mathrm{KL}_{target} = 0.9\ln\frac{0.9}{0.7} + 0.1\ln\frac{0.1}{0.3} = 0.2262 - 0.1099 = 0.1163$.
# $\mathrm{KL}_{others} = 0.6\ln 1.8 + 0.3 \ln 0.9 + 0.1\ln 0.3 = 0.3527 - 0.0316 - 0.1204 = 0.2007$.
# Together $0.1163 + 0.1\cdot 0.2007 = 0.1364$. The part about the others is the larger one, and it counts a tenth.

# %%
p, q, y = torch.tensor([0.90, 0.06, 0.03, 0.01]), torch.tensor([0.70, 0.10, 0.10, 0.10]), torch.tensor([0])


def kl(a, b):
    return (a * (a / b).log()).sum().item()


target = kl(torch.stack([p[0], 1 - p[0]]), torch.stack([q[0], 1 - q[0]]))
rest = kl(p[1:] / p[1:].sum(), q[1:] / q[1:].sum())
print(f"target {target:.4f}, others {rest:.4f}, together {target + (1 - p[0]) * rest:.4f}, KL {kl(p, q):.4f}")

# %%
from course_lib.distillation import decoupled_loss


def part(a, b):
    return decoupled_loss(q.log()[None], p.log()[None], y, temperature=1.0, alpha=a, beta=b).item()


claim("The library has the same two parts, and together they are KL.",
      np.allclose([part(1, 0), part(0, 1), part(1, 1 - p[0].item())], [target, rest, kl(p, q)], atol=1e-5))

# %% [markdown]
# On real images `said` holds $1-p_y$: almost nothing at $T = 1$. So a temperature does two things at once: it softens the answer *and* turns this weight up. Decoupling can do the second alone. Whether that pays stands in the figure above (label + decoupled, $\alpha = 1$, $\beta = 2$; the authors' code has $\beta = 8$ and 20 epochs of warm-up).
#
# **Exercise 05.5.** Write $\mathrm{KL}_{others}$ for a batch. Each row drops another class: `z[~F.one_hot(y, C).bool()].view(B, C - 1)` keeps the other logits, and a softmax over them sums to 1. The teacher may be so sure that the others' probabilities round to 0.


# %%
def kl_of_the_others(student_logits, teacher_logits, labels, temperature):
    """Mean over the batch of Σ_{k≠y} p̂_k ln(p̂_k / q̂_k), both at temperature T."""
    ...


check("05.5", kl_of_the_others)

# %% [markdown]
# ## Which teacher?
#
# ### Is the strongest teacher the best?
#
# A strong teacher's answers may be so sharp, or rest on features so far beyond the student that a weaker network in between teaches better (Cho and Hariharan 2019; Mirzadeh et al. 2020 call it an *assistant*). The candidates:

# %% tags=["nbval-ignore-output"]
from course_lib.measure import count_parameters

assistant, assistant_card = checkpoints.load(f"student_{splits.train.name}")
for name, model, its in (("teacher", teacher, card), ("assistant", assistant, assistant_card)):
    score = 100 * its["validation_accuracy"]
    print(f"{name:9} {count_parameters(model):9,} parameters, validation {score:.1f} %")
print(f"student   {count_parameters(sign_student(0.5)):9,} parameters")

# %%
show_gains({"soft_targets": "the teacher", "assistant": "the assistant",
            "born_again": "itself, trained alone",
            "plain_teacher": "4 × as wide, plain labels",
            "smoothed_teacher": "4 × as wide, smoothed labels"})

# %%
for other in ("assistant", "plain_teacher", "born_again"):
    print_difference(other, "soft_targets")

# %% [markdown]
# Strength is not their only difference: the shipped teacher and the assistant saw all training signs, the others only the small study's (their own accuracy was not recorded). "Itself" is a born-again network (chapter 06).
#
# ### A teacher whose labels were smoothed
#
# Label smoothing often makes a teacher better, and its students worse (Müller, Kornblith and Hinton 2019). Where the network reaches the smoothed target exactly, $p_y = 1-\varepsilon+\varepsilon/C$ and every other $p_k = \varepsilon/C$, so
#
# $$z_y - z_k = \ln \frac{1-\varepsilon+\varepsilon/C}{\varepsilon/C} \quad\text{for every } k \ne y.$$
#
# *One* number for all wrong classes: a 30 is exactly as far from an 80 as from a stop sign. With $\varepsilon = 0.1$ and $C = 43$ it is $\ln\frac{0.9023}{0.002326} = 5.96$. The perfect smoothed teacher says nothing about the others. And a real one? Measure the spread of the wrong classes' logits, $\mathrm{std}_{k \ne y}\, z_k$.

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

# %% [markdown]
# And the *student*? Recorded with teachers four times as wide, trained with the same seeds:

# %%
print_difference("smoothed_teacher", "plain_teacher")

# %% [markdown]
# The derivation suggests a minus. An interval below 0 would agree, one above would contradict it, one that holds 0 decides nothing. What holds for a *perfect* smoothed teacher need not hold for a real one, whose logits still tell wrong classes apart.
#
# ## Ten mistakes that raise no error
#
# ### 1 to 3: no T², `reduction="mean"`, α the other way round
#
# All three are one mistake. Dividing the soft term by a factor $f$ and leaving the label's term alone is, up to a constant, the right loss with another weight:
#
# $$\frac{\alpha}{f}\,S + (1-\alpha)\,H = c\,\bigl(\alpha' S + (1-\alpha')\,H\bigr), \qquad \alpha' = \frac{\alpha/f}{\alpha/f + 1 - \alpha},\quad c = \alpha/f + 1 - \alpha.$$
#
# The constant $c$ scales all gradients alike, which AdamW nearly ignores. So the faulty loss is a sound one with another weight.

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
# ### 4 and 5: KL the wrong way round, and `softmax(z).log()`
#
# Chapter 04 derived why the direction matters. How far does the gradient turn on real targets? And how many rows does `softmax().log()` destroy in half precision?

# %% tags=["nbval-ignore-output"]
s = predict_logits(runs["distilled, no label"][0], train)[:512].clone().requires_grad_()
turned = F.kl_div(F.log_softmax(logits[:512] / T, 1), F.softmax(s / T, 1), reduction="batchmean") * T**2
gradients = [torch.autograd.grad(value, s)[0] for value in (soft_target_loss(s, logits[:512], T), turned)]
cosine = F.cosine_similarity(*gradients, dim=1)
print(f"cosine between the two gradients: median {cosine.median():.2f}, smallest {cosine.min():.2f}")
for t in (T, 1.0):
    lost = F.softmax(logits.half() / t, 1).log().isinf().any(1).double().mean().item()
    kept = F.log_softmax(logits.half() / t, 1).isinf().any(1).double().mean().item()
    print(f"rows with −∞ in half precision at T = {t:g}: "
          f"softmax().log() {100 * lost:.1f} %, log_softmax {100 * kept:.1f} %")

# %%
claim("At T = 1 half precision destroys some real rows with softmax().log(), and none with log_softmax.",
      lost > 0 and not bool(F.log_softmax(logits.half(), 1).isinf().any()))

# %% [markdown]
# ### 6 and 7: a teacher in train mode, a teacher with gradients
#
# In train mode BatchNorm uses the batch's own statistics: the answer to an image depends on its neighbours, and the running statistics move with each call. Data sorted by class is the worst case.

# %% tags=["nbval-ignore-output"]
careless = copy.deepcopy(teacher).train()
mixed = np.random.default_rng(0).permutation(len(train))[:128]
batches = {"mixed": mixed, "one class": np.flatnonzero(train.labels == 1)[:48]}
modes = {}
with torch.no_grad():
    for name, indices in batches.items():
        pictures, y = train.batch(indices)
        hits = [model(pictures).argmax(1) == y for model in (teacher, careless)]
        modes[name] = [hit.double().mean().item() for hit in hits]
        in_eval, in_train = (100 * right for right in modes[name])
        print(f"{name:9} batch: eval {in_eval:5.1f} %, train mode {in_train:5.1f} % right")

# %%
claim("In a batch of one class, train mode costs the teacher at least 20 points.",
      modes["one class"][0] - modes["one class"][1] > 0.2)

# %% [markdown]
# And without `torch.no_grad()` the loss sends gradients into the teacher; an optimiser that holds its parameters moves it towards the student. The `Distiller` prevents both.

# %%
from course_lib.training import Batch

pictures, y = train.batch(mixed[:16])
student = sign_student(0.5)
q, p = F.log_softmax(student(pictures), 1), F.softmax(careless(pictures), 1)
F.kl_div(q, p, reduction="batchmean").backward()
reached_teacher = sum(p.grad is not None for p in careless.parameters())
careless.zero_grad(set_to_none=True)
with Distiller(student, careless, soft_target_terms(temperature=4.0, alpha=0.9)) as distiller:
    distiller(student(pictures), Batch(pictures, y, torch.from_numpy(mixed[:16]), 0)).backward()
claim("By hand every parameter of the teacher got a gradient; "
      "through the Distiller none, and it is in eval mode.",
      reached_teacher == len(list(careless.parameters()))
      and all(p.grad is None for p in careless.parameters()) and not careless.training)

# %% [markdown]
# ### 8: bytes for a network that expects [0, 1]
#
# The data set stores bytes, 0 to 255; the teacher was trained on floats from 0 to 1. `images.float()` gets an answer, too.

# %% tags=["nbval-ignore-output"]
pictures, y = train.batch(mixed)
raw = torch.from_numpy(train.images[mixed]).float()
with torch.no_grad():
    right = [(teacher(x).argmax(1) == y).double().mean().item() for x in (pictures, raw)]
print(f"right: prepared {100 * right[0]:.1f} %, raw bytes {100 * right[1]:.1f} %")

# %% [markdown]
# ### 9 and 10: targets of another image, or of another view
#
# The classic: pseudo-labels are computed once, in dataset order, then zipped with a loader that shuffles. The quieter one: the right image, but logits from another augmented view.

# %% tags=["nbval-ignore-output"]
batch = next(epoch_batches(train, replace(recipe, batch_size=256), epoch=0))
in_order = logits[: len(batch.labels)].argmax(1)  # what zip(loader, targets) would give
by_index = table.rows(batch).argmax(1)
hits = [(choice == batch.labels).double().mean().item() for choice in (in_order, by_index)]
print("pseudo-labels that are the image's label:")
print(f"in dataset order {100 * hits[0]:.1f} % (by chance {100 / C:.1f} %), by index {100 * hits[1]:.1f} %")
with torch.no_grad():
    plain = teacher(train.batch(batch.indices)[0])
moved = (plain.argmax(1) != by_index).double().mean().item()
apart = soft_target_loss(plain, table.rows(batch), 4.0).item()
print("another view of the same image:")
print(f"{100 * moved:.1f} % other first choices, T²·KL = {apart:.2f} nats at T = 4")

# %% [markdown]
# What do they cost in the end? Recorded, against the right targets:

# %%
for arm in ("shuffled_targets", "other_view"):
    print_difference(arm, "soft_targets")
left = [f"{100 * score.validation:.1f}" for score in scores if score.arm == "shuffled_targets"]
print(f"right with shuffled targets: {', '.join(left)} %; chance is {100 / 43:.1f} %")

# %% [markdown]
# With other images' targets the student learns next to nothing, although a tenth of the loss still is the right label: that bug betrays itself. With another view's targets it still learns; only a comparison like this one shows the price. `TeacherTable.rows` looks up indices and view; `fit` refuses a table of other images or views.
#
# ### A second opinion on our own loss
#
# torchdistill's `KDLoss` (whose $\alpha$ is the *label's* weight) on the same student, data, seeds and budget:

# %%
print_difference("torchdistill", "soft_targets")

# %% [markdown]
# ## Pitfalls
#
# * **"Distillation gives +2 points."** With how many labels, steps and seeds, against which control?
# * **The student alone with fewer steps.** Count steps, not epochs.
# * **No label-smoothing control.** Softness alone may explain the gain.
# * **A T from a paper.** It belongs to that teacher's logits; yours may be twice as large.
# * **The best of twenty arms.** It is partly luck. Confirm it with new seeds.
# * **Targets of other images or views.** The loss falls all the same.
#
# ## Recap

# %% tags=["nbval-ignore-output"]
def interval(g):
    return f"{g.value:+.2f} [{g.low:+.2f}, {g.high:+.2f}]"


live = 100 * (reached["distilled, no label"] - reached["alone, one sign a class"])
cost = {arm: compare(scores, arm, "soft_targets") for arm in ("shuffled_targets", "other_view")}
display(Markdown(f"""
1. The teacher's wrong answers have structure: {100 * within[1]:.0f} % of its wrong probability stays in the
   group of the true class; chance would keep {100 * chance:.0f} %.
2. At T = 1 the median training image gives all other classes {100 * said[1].median():.3f} %, at T = 4
   {100 * said[4].median():.0f} %.
3. A tenth of the signs labelled: distilling changes test accuracy by {interval(gain["rendered", "a tenth"])}
   points on rendered signs, {interval(gain["gtsrb", "a tenth"])} on real ones.
4. All labels: {interval(gain["rendered", "all"])} rendered, {interval(gain["gtsrb", "all"])} real.
5. Without T² the loss is a right one with α = {effective["no T²"]:.2f} instead of {alpha}. Targets of other
   images change accuracy by {interval(cost["shuffled_targets"])} points, targets of another view by
   {interval(cost["other_view"])}.
6. Live: without a label, {live:.0f} points better than with a labelled sign a class.
"""))

# %% [markdown]
# Next: chapter [06](06_distilling_features.ipynb) compares the layers of teacher and student, not only their answers.
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
