# %% [markdown]
# # 06 · Distilling features: can the student learn how the teacher sees?
#
# Chapter 05 compared answers: 43 logits. But between the picture and its answer the teacher computes a hundred
# thousand other numbers. Can they teach, too?
#
# **You will be able to**
#
# - compare layers of two networks whose shapes differ, in four ways, and say what each way ignores;
# - choose which layer of the student looks at which layer of the teacher;
# - read any layer with a hook, and leave none behind;
# - read a comparison of many methods without believing more than its intervals say.
#
# **Before:** chapters [04](04_kl_and_cross_entropy.ipynb) and [05](05_distilling_logits.ipynb) (KL, soft targets);
# [01](01_measuring.ipynb) for intervals.
# **Time:** 95 min to work through; the cells take about 1 min on 2 cores.
#
# Symbols and terms, also in Chinese: [notation](../docs/notation.md).

# %%
import copy

import numpy as np
import torch
from IPython.display import Markdown, display
from torch.nn import functional as F

from course_lib import distillation, plots, widgets
from course_lib.data import load
from course_lib.data.classes import SHORT_NAMES
from course_lib.distillation import Taps
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.measure import claim, load_result
from course_lib.measure.tables import text_table
from course_lib.models import checkpoints, sign_student, sign_teacher
from course_lib.training import Recipe, fit

splits = load("rendered")
teacher, _ = checkpoints.load("teacher_rendered")
alone, _ = checkpoints.load("alone_rendered")  # trained on labels
distilled, _ = checkpoints.load("student_rendered")  # the same network, trained on the teacher's logits
images, labels = splits.validation.batch(np.arange(0, len(splits.validation), 19))
print(f"{len(images)} validation images; the student has channels {distilled.channels}")

# %% [markdown]
# ## Predict first
#
# Nine ways to train the same small student, with equal epochs and augmentation: soft targets, label smoothing,
# pseudo-labels, decoupled distillation (chapter 05); hint, attention, relational, similarity-preserving (this chapter); and
# "born again", where the teacher is another student. Each is compared with the student alone. Which gains most? How many
# of them can be told from no difference, better or worse, with a few seeds?

# %% tags=["nbval-ignore-output"]
best_guess, shown_guess = None, None  # a name such as "hint", and a number of methods
display(predict("06.p1", best_guess, sure=None), predict("06.p2", shown_guess, sure=None))

# %% [markdown]
# ## Where to tap
#
# A feature map has the shape $(B, C, H, W)$: $C$ channels at $H \times W$ places, for $B$ images. To compare two maps place by
# place, look for equal $H \times W$ first. Then ask what each place can know: only what lies in its **receptive field**, the
# square of pixels that its value depends on.
#
# Let $r$ be the side of that square and $j$ the step in pixels between neighbouring outputs (both 1 at the
# picture). A convolution with kernel $k$ and stride $s$ reads $k$ neighbours, so
#
# $$r' = r + (k - 1)\,j, \qquad j' = s\,j .$$
#
# **By hand.** The student's first four convolutions have $k = 3$ and strides 2, 2, 1, 2:
# $r = 1 + 2 \cdot 1 = 3$, then $3 + 2 \cdot 2 = 7$, $7 + 2 \cdot 4 = 15$, $15 + 2 \cdot 4 = 23$.


# %%
def receptive_field(convolutions):
    """Side in pixels, from (kernel, stride) of each convolution in order."""
    field, step = 1, 1
    for kernel, stride in convolutions:
        field, step = field + (kernel - 1) * step, step * stride
    return field


blocks = {"stages.0": 1, "stages.1": 2, "stages.2": 1, "stages.3": 2, "stages.4": 1, "stages.5": 2}  # strides
fields, path = {}, [(3, 1)]
for name, stride in blocks.items():
    path += [(3, stride), (3, 1)]  # two convolutions a block; the shortcut sees less
    fields[name] = receptive_field(path)
path = []
for i, stride in enumerate((2, 2, 1, 2, 1)):
    path.append((3, stride))
    fields[f"features.{i}"] = receptive_field(path)

# %% [markdown]
# Does the code agree with the formula? Make all weights positive, so that nothing cancels, and see for which pixels the
# gradient of one output is not zero.


# %%
def seen(model, name):
    """Of the rows of a large picture that change place 6 of a layer: how many, and the middle one."""
    model = copy.deepcopy(model).eval().double()
    for parameter in model.parameters():
        parameter.data.abs_()
    picture = torch.ones(1, 3, 97, 97, dtype=torch.double, requires_grad=True)
    with Taps(model, [name]) as taps:
        model(picture)
        (gradient,) = torch.autograd.grad(taps[name][0, :, 6, 6].sum(), picture)
    rows = gradient[0].abs().sum((0, 2)).nonzero()[:, 0]
    return len(rows), rows.double().mean().item()


fresh = {"features": sign_student(), "stages": sign_teacher()}
steps = {"features.2": 4, "features.4": 8, "stages.5": 8}  # deep enough that place 6 sees no border
found = {name: seen(fresh[name.split(".")[0]], name) for name in steps}
claim("Each layer sees as many pixels as the formula says, and place i is centred on pixel i·j.",
      all(found[name] == (fields[name], 6 * steps[name]) for name in steps))

# %% [markdown]
# The second fact is easily overlooked: with kernel 3, padding 1 and stride 2, place $i$ is centred on pixel $2i$, not in the
# middle of a block of two. The figures below draw maps where they belong. Teacher and student make their steps alike, so
# their places correspond.

# %%
rows = []
for who, model in (("teacher", teacher), ("student", distilled)):
    names = [name for name in fields if name in dict(model.named_modules())]
    with torch.no_grad(), Taps(model, names) as taps:
        model(images[:1])
        rows += [[who, n, *map(str, taps[n].shape[1:3]), f"{fields[n]} × {fields[n]}"] for n in taps]
print(text_table(["network", "layer", "channels", "pixels a side", "receptive field"], rows))

# %%
# Layers of equal resolution, (student, teacher).
pairs = [("features.0", "stages.2"), ("features.2", "stages.4"), ("features.4", "stages.5")]
for s, t in pairs:
    print(f"{s} and {t}: the teacher's place could see {fields[t] / fields[s]:.1f} times as far")

# %% [markdown]
# (Fields wider than the picture's 32 pixels end at its edge.) What the teacher takes from farther away, the
# student's layer cannot see; at best it can guess it from what is near. FitNets chose the middle of
# both networks; later methods also use the last layer before the pool.
#
# ## Hooks
#
# `register_forward_hook` calls your function after a module ran, so you can read an inner layer without changing the network.

# %%
caught, handles = [], []
for _ in range(3):  # you run your cell, change something, run it again, and again
    handle = distilled.features[2].register_forward_hook(lambda module, inputs, output: caught.append(output))
    handles.append(handle)
with torch.no_grad():
    distilled(images[:10])
print(f"one forward pass, {len(caught)} catches")

# %% [markdown]
# Nothing fails. The program gets slower, the memory fuller, and `copy.deepcopy` copies the hooks, too. So a hook belongs in a
# `with`, which removes it also when an error ends the block:

# %%
inherited = copy.deepcopy(distilled)
for handle in handles:
    handle.remove()  # each takes its own hook away, and nobody else's
with torch.no_grad(), Taps(distilled, ["features.2", "pool"]) as taps:
    distilled(images[:10])
    print({name: tuple(output.shape) for name, output in taps.items()})

# %%
catches = {}
for name, model in (("copy", inherited), ("network", distilled)):
    caught.clear()
    with torch.no_grad():
        model(images[:10])
    catches[name] = len(caught)
claim("The copy inherited all three hooks; the network has none left.", catches == {"copy": 3, "network": 0})

# %%
try:
    Taps(teacher, ["stage.4"])
except ValueError as error:
    print(error)

# %% [markdown]
# **Exercise 06.1.** Write such a tap with `try … finally`. `model.get_submodule(name)` finds the module, also inside another one. Only your own hook goes; modes and parameters stay as they are; the output keeps its gradient; an error of the model reaches the caller.


# %%
def tap(model, name, images):
    """The output of the module called ``name``; no hook stays, whatever happens."""
    ...


check("06.1", tap)

# %% [markdown]
# ## Hints: be like the teacher, channel by channel
#
# The most direct way: the student's map $v$ is trained to equal the teacher's map $u$. Two things stand against it. The shapes
# differ: 60 channels are not 128. And **channels have no names**: swap two channels of a layer, and swap what the next layer
# reads, and you have the same function.

# %%
order = torch.randperm(distilled.channels[0], generator=torch.Generator().manual_seed(0))
swapped = copy.deepcopy(distilled)
(conv, norm, _), following = swapped.features[0], swapped.features[1][0]
with torch.no_grad():
    for tensor in (conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var):
        tensor.copy_(tensor[order])
    following.weight.copy_(following.weight[:, order])
    twin_gap = (swapped(images) - distilled(images)).abs().max().item()
    v, u = distilled.features[0](images), swapped.features[0](images)
    relative = (F.mse_loss(v, u) / u.var()).item()
print("the logits differ by less than 1e-4:", twin_gap < 1e-4)
print(f"the features differ: mean square over variance {relative:.2f}")

# %%
claim(
    "Two networks give the same answers and have altogether different channels.",
    twin_gap < 1e-4 and relative > 0.5,
)

# %% [markdown]
# To compare channels, learn a dictionary between them. FitNets (Romero et al. 2015) train one along with the student: a 1×1
# convolution, that is a matrix $R$ $(C_t \times C_s)$ applied at each place. Their equation 3 for one image, and the mean that
# most code takes, are
#
# $$L = \tfrac12 \lVert u - R\,v \rVert^2, \qquad
# L_\text{hint} = \frac{1}{B\,C_t\,H\,W} \sum (u - R\,v)^2 = \frac{2}{C_t H W}\,\overline{L} ,$$
#
# with $\overline L$ the mean over the batch. They differ by a factor, and so do the weights that fit them. (Some libraries put
# BatchNorm and ReLU after the convolution: yet another scale.)
#
# **Four numbers by hand.** One place, $v = (1, 2)$, $u = (2, 3)$, $R = \begin{pmatrix}1&0\\1&1\end{pmatrix}$. $R v = (1, 3)$,
# $u - R v = (1, 0)$, $L = ½$ and $L_\text{hint} = ½$, too, since $2 / (C_t H W) = 2/2 = 1$.


# %%
def naive_hint(student, teacher, weight):
    projected = torch.einsum("ts,bshw->bthw", weight, student)
    return ((teacher - projected) ** 2).mean()


two = distillation.Hint(2, 2)
two.projection.weight.data = torch.tensor([[1.0, 0], [1, 1]])[:, :, None, None]
v, u = torch.tensor([1.0, 2]).view(1, 2, 1, 1), torch.tensor([2.0, 3]).view(1, 2, 1, 1)
by_hand = naive_hint(v, u, two.projection.weight[:, :, 0, 0])
claim("Hand, naive code and library agree: ½.", by_hand.item() == two(v, u).item() == 0.5)

# %%
swap = distillation.Hint(distilled.channels[0], distilled.channels[0])
swap.projection.weight.data = torch.eye(len(order))[order][:, :, None, None]
with torch.no_grad():
    undone = swap(distilled.features[0](images), swapped.features[0](images)).item()
claim("A dictionary undoes the swapped channels: the hint is 0.", undone < 1e-8)

# %% [markdown]
# How much of the teacher's layer is in the student's, up to a linear dictionary? Fit the best one by least squares on half of
# the images. On the other half, measure the share of the teacher's variance that it explains. This tells, before any
# training, which pairs fit.


# %%
def explained(student, teacher):
    """1 − Σ(u − fit)² / Σ(u − mean)² on the second half of the images; fitted on the first half."""
    v, u = (x.movedim(1, -1).flatten(0, 2).double() for x in (student, teacher))
    v, half = torch.cat([v, torch.ones(len(v), 1)], 1), len(v) // 2
    best = torch.linalg.lstsq(v[:half], u[:half], driver="gelsd").solution
    left, spread = u[half:] - v[half:] @ best, u[half:] - u[:half].mean(0)
    return 1 - (left.square().sum() / spread.square().sum()).item()


torch.manual_seed(0)
students = {
    "untrained": sign_student(channels=distilled.channels).eval(),
    "alone": alone,
    "distilled": distilled,
}
maps = {}
for name, model in {"teacher": teacher, **students}.items():
    layers = [*(t for _, t in pairs), "pool"] if model is teacher else [*(s for s, _ in pairs), "pool"]
    with torch.no_grad(), Taps(model, layers) as taps:
        model(images)
        maps[name] = {layer: taps[layer] for layer in layers}

# %%
shares = {name: [explained(maps[name][s], maps["teacher"][t]) for s, t in pairs] for name in students}
rows = [[name, *(f"{share:.2f}" for share in found)] for name, found in shares.items()]
print(text_table(["explained of the teacher", *(t for _, t in pairs)], rows))

# %% [markdown]
# Nobody told the student trained alone to be like this teacher. It became alike at the deepest pair, because the task is the
# same; early layers go their own ways.
#
# **Exercise 06.2.** Write the hint, for a teacher whose map is $k$ times as large. Mind where the gradient goes.


# %%
def hint_loss(student, teacher, weight):
    """mean (u − R·v)²: student v (B, C_s, H, W), weight R (C_t, C_s).

    The teacher's u (B, C_t, kH, kW) is averaged over k×k.
    Gradients reach the student and R, never the teacher.
    """
    ...


check("06.2", hint_loss)

# %% [markdown]
# ## Attention: be active where the teacher is
#
# Channels have no names, but places do. So sum over the channels and keep *where* (Zagoruyko & Komodakis 2017):
#
# $$Q = \sum_{c=1}^{C} |A_c|^p \quad\text{or}\quad Q = \max_c |A_c|^p, \qquad
# L_\text{att} = \left\lVert \frac{Q_S}{\lVert Q_S \rVert_2} - \frac{Q_T}{\lVert Q_T \rVert_2} \right\rVert_2 ,$$
#
# where $A_c$ is channel $c$ of a layer and $Q$ a map of $H \cdot W$ numbers. No dictionary is needed and $C$ may differ. The paper's
# equation 2 has this norm; its authors' code has the mean of the squared differences. The library offers both. (For maps of
# unequal size it pools $Q$; others pool the features first, which gives another loss.)
#
# **Four pixels by hand.** Two channels, $A_1 = \begin{pmatrix}1&0\\0&2\end{pmatrix}$, $A_2 = \begin{pmatrix}-2&0\\1&0\end{pmatrix}$,
# $p = 2$: $Q = (1+4,\ 0,\ 1,\ 4)$, $\lVert Q \rVert = \sqrt{25+1+16} = \sqrt{42}$. Without the absolute value and with $p = 1$ the
# first place would count $-1$: two active channels would nearly cancel.


# %%
def naive_attention(features, power):
    maps = []
    for image in features:
        q = sum(channel.abs() ** power for channel in image).flatten()
        maps.append(q / (q @ q).sqrt())
    return torch.stack(maps)


four = torch.tensor([[[[1.0, 0], [0, 2]], [[-2, 0], [1, 0]]]])
print((naive_attention(four, 2) * 42**0.5).round(decimals=4), "/ √42")

# %%
u = maps["teacher"]["stages.4"][:32]
claim(
    "Naive code and library agree for p = 1, 2 and 3.",
    all(
        torch.allclose(naive_attention(u, p), distillation.attention_map(u, power=p), atol=1e-6)
        for p in (1, 2, 3)
    ),
)

# %% [markdown]
# Where do the two networks look?

# %% tags=["nbval-ignore-output"]
known = {k: torch.from_numpy(v[::19]) for k, v in splits.validation.attributes.items()}
clear = known["native_size"] * (known["weather"] == 0) * (abs(known["gain"] - 1) < 0.4)
chosen = [int(torch.where(labels == c, clear, -1).argmax()) for c in (14, 1, 38, 25, 11)]
shown = {}
for s, t in pairs:
    for who, layer in (("distilled", s), ("teacher", t)):
        q = distillation.attention_map(maps[who][layer][chosen])
        name = f"{who.replace('distilled', 'student')}\n{layer}"
        shown[name] = q.view(-1, *maps[who][layer].shape[2:]).numpy()
plots.attention_figure(images[chosen].numpy(), shown, [SHORT_NAMES[labels[i]] for i in chosen])

# %% [markdown]
# The teacher's middle and last layers are active inside the plate, where classes differ. The student's middle layer sees 15
# pixels where the teacher's sees 49: hardly enough to tell plate from background. And look at the student's first map: its
# top and left rims are bright.


# %%
def share(who, layer, part):
    """Mean share of the attention that lies in a part of the map: a pair of slices."""
    q = distillation.attention_map(maps[who][layer]).view(-1, *maps[who][layer].shape[2:])
    return (q[:, *part].sum((1, 2)) / q.sum((1, 2))).mean().item()


everything, middle = slice(None), (slice(2, 6), slice(2, 6))
centre = {
    who: share(who, layer, middle) for who, layer in (("distilled", "features.2"), ("teacher", "stages.4"))
}
shown = {name: f"{100 * value:.0f} %" for name, value in centre.items()}
print(f"at 8×8, in the middle quarter: teacher {shown['teacher']}, student {shown['distilled']}, even 25 %")

# %%
rim = {
    side: share("distilled", "features.0", (row, everything))
    for side, row in (("top", slice(0, 1)), ("bottom", slice(15, 16)))
}
claim(
    "The student's top row takes more than twice the share of its bottom row.",
    rim["top"] > 2 * rim["bottom"],
)

# %% [markdown]
# The rim comes from the padding: zeros beside bright pixels are a sharp edge, and with stride 2 and 32 pixels they are read at
# the top and at the left only. Attention transfer asks the student to copy the teacher's rims, too.
#
# Choose the sign, the layers and the power yourself; ‖Δ‖ is $L_\text{att}$ of this image. A large $p$ keeps the peaks only.

# %% tags=["nbval-ignore-output"]
one = chosen[0]
spot = {"pair": ("features.2", "stages.4"), "power": 4, "form": "sum"}
widgets.attention_pair_figure(teacher, distilled, (255 * images[one]).byte(), int(labels[one]), **spot)

# %% tags=["nbval-ignore-output"]
widgets.attention_explorer(
    teacher, distilled, (255 * images[chosen]).byte().numpy(), labels[chosen].numpy(), pairs
)


# %% [markdown]
# **Exercise 06.3.** Write the map, for any power, also odd or not whole. It must carry a gradient.


# %%
def attention(features, power):
    """Σ_c |A_c|^p, (B, C, H, W) → (B, H·W), each image's map of Euclidean length 1."""
    ...


check("06.3", attention)

# %% [markdown]
# ## Relations: keep the distances
#
# A batch becomes a cloud of points, one embedding $e_i$ an image (here the pooled features). The
# classifier works with the cloud's *shape*: which signs lie near each other. Relational distillation (Park et al. 2019)
# compares distances and angles,
#
# $$\psi_D(i,j) = \frac{\lVert e_i - e_j \rVert}{\mu},\quad \mu = \frac{1}{B(B-1)} \sum_{i \ne j} \lVert e_i - e_j \rVert, \qquad
# \psi_A(i,j,k) = \cos \angle e_i e_j e_k = \left\langle \frac{e_i - e_j}{\lVert e_i - e_j \rVert},
# \frac{e_k - e_j}{\lVert e_k - e_j \rVert} \right\rangle ,$$
#
# with Huber's loss between teacher's and student's $\psi$: $\tfrac12 x^2$ for $|x| \le 1$, else $|x| - \tfrac12$, so that one far
# outlier does not decide for the whole batch.
#
# **Four points by hand.** The teacher's form a square of side 1: four distances 1, two diagonals $\sqrt2$, $\mu = (4 + 2\sqrt2)/6 =
# 1.138$. The student's lie on a line at 0, 1, 2, 3: $\mu = (1+1+1+2+2+3)/6 = 1.667$. Points 1 and 3: the teacher says $1.414/1.138 =
# 1.243$, the student $2/1.667 = 1.200$, nearly right. Points 1 and 4: $0.879$ against $1.800$: neighbours have become the ends.


# %%
def naive_distance_loss(student, teacher):
    tables = []
    for e in (student, teacher):
        d = torch.stack([torch.stack([(a - b).norm() for b in e]) for a in e])
        tables.append(d / (d.sum() / (len(e) * (len(e) - 1))))
    return F.smooth_l1_loss(*tables)  # Huber with δ = 1, mean over B²


square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
line = torch.tensor([[0.0], [1], [2], [3]])
value = distillation.relational_distance_loss(line, square)
claim("Naive code and library agree on the four points.",
      torch.isclose(naive_distance_loss(line, square), value))

# %%
e_student, e_teacher = (maps[name]["pool"].flatten(1) for name in ("distilled", "teacher"))
size = e_student.shape[1]
turn, _ = torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(0)))
moved = 3 * e_student @ turn + 1
for loss in (distillation.relational_distance_loss, distillation.relational_angle_loss):
    before, after = (loss(e[:64], e_teacher[:64]) for e in (e_student, moved))
    print(f"{loss.__name__:26} {before:.5f}, turned, scaled and shifted {after:.5f}")

# %% [markdown]
# The same cloud, turned, scaled and shifted, costs the same: no dictionary is needed, and the numbers of features may differ.
# Now move one point of four:

# %%
widgets.relations_figure(x=2.0, y=0.5, turn_deg=30, scale=1.5)

# %% tags=["nbval-ignore-output"]
widgets.relations_explorer()

# %% [markdown]
# **A trap.** Write the distance as $\sqrt{\sum (a-b)^2}$ and take the gradient:

# %%
points = square.clone().requires_grad_()
table = (points[:, None] - points[None]).square().sum(-1).sqrt()
table.sum().backward()
print(points.grad)

# %%
safe = square.clone().requires_grad_()
distillation.relational_distance_loss(safe, square[[0, 2, 1, 3]]).backward()
claim(
    "The square root at 0 makes every gradient NaN; the library's are finite.",
    bool(points.grad.isnan().all() and safe.grad.isfinite().all()),
)

# %% [markdown]
# On the diagonal the slope of $\sqrt x$ at 0 is infinite, times 0: NaN. The values are right, so no test of values finds it.
#
# **Exercise 06.4.** Write the table of relative distances, with a finite gradient: `torch.cdist` and `.norm()` give 0 where the
# root's slope is infinite. The mean $\mu$ moves with the points, so it carries a gradient, too. Two images may have the same
# embedding: their distance is 0, and counts.


# %%
def relative_distances(embeddings):
    """ψ_D, (B, D) → (B, B): distances in units of their mean over the pairs i ≠ j."""
    ...


check("06.4", relative_distances)

# %% [markdown]
# ## Similarity: which images excite a layer alike
#
# Flatten a layer's output to one row an image, $A$ $(B \times CHW)$. All inner products of rows make a table whose size no longer
# depends on the layer (Tung & Mori 2019):
#
# $$G = A A^\top, \quad \tilde G_i = G_i / \lVert G_i \rVert_2 \ \text{(each row)}, \qquad
# L_\text{sim} = \frac{1}{B^2} \lVert \tilde G_T - \tilde G_S \rVert_F^2 .$$
#
# **Two images by hand.** $A = \begin{pmatrix}1&0\\1&1\end{pmatrix}$: $G = \begin{pmatrix}1&1\\1&2\end{pmatrix}$, rows of length
# $\sqrt2$ and $\sqrt5$: $\tilde G = \begin{pmatrix}0.707&0.707\\0.447&0.894\end{pmatrix}$. Row $i$ says how
# alike to image $i$ the others are, and how strong.
#
# Each of the four ways is blind to something else:
#
# | way | does not see |
# |---|---|
# | hint | what a linear map of the channels can undo |
# | attention | which channel it was, and the strength of the whole map |
# | distances and angles | a shift, a rotation, a common scale of all images' features |
# | similarity | a rotation and a common scale, but a shift it sees |


# %%
def naive_similarity(student, teacher):
    gaps = []
    for features in (student, teacher):
        rows = features.flatten(1)
        table = torch.stack([torch.stack([a @ b for b in rows]) for a in rows])
        gaps.append(table / table.norm(dim=1, keepdim=True))
    return ((gaps[0] - gaps[1]) ** 2).sum() / len(student) ** 2


v, u = maps["distilled"]["features.4"][:16], maps["teacher"]["stages.5"][:16]
claim(
    "Naive code and library agree on 16 images.",
    torch.isclose(naive_similarity(v, u), distillation.similarity_preserving_loss(v, u), rtol=1e-3),
)

# %%
eight = [c for c in (1, 2, 7, 12, 13, 14, 25, 38) if (labels == c).sum() >= 3]
batch = torch.cat([(labels == c).nonzero()[:5, 0] for c in eight])
starts = np.flatnonzero(np.diff(labels[batch].numpy())) + 1
deep = {
    name: maps[name]["stages.5" if name == "teacher" else "features.4"][batch]
    for name in ("teacher", *students)
}
plots.similarity_figure(deep, starts)

# %% [markdown]
# Images are sorted by class; white lines separate the classes. The teacher's blocks on the diagonal are the task itself. The
# untrained network finds all images alike: its rows are all the same.
#
# **Exercise 06.5.** Write the loss.


# %%
def similarity_loss(student, teacher):
    """‖G̃_T − G̃_S‖²_F / B² for features (B, …); no gradient into the teacher."""
    ...


check("06.5", similarity_loss)

# %% [markdown]
# ## Who sees like the teacher?
#
# Four measures, three students: one trained on the teacher's *logits* (with none of these losses), one trained alone, one
# untrained. Which is nearest to the teacher? Guess, then read.


# %%
def distances(name):
    """How far a network's deepest layer is from the teacher's, by each measure."""
    v, u = maps[name]["features.4"], maps["teacher"]["stages.5"]
    e, f = maps[name]["pool"].flatten(1), maps["teacher"]["pool"].flatten(1)
    return {
        "not explained (hint)": 1 - explained(v, u),
        "attention": distillation.attention_transfer_loss(v, u, distance="norm").item(),
        "distance": distillation.relational_distance_loss(e, f).item(),
        "similarity": distillation.similarity_preserving_loss(v, u).item(),
    }


apart = {name: distances(name) for name in students}
measures = list(apart["alone"])
plots.agreement_figure({m: {name: apart[name][m] for name in apart} for m in measures})

# %% tags=["nbval-ignore-output"]
nearer = [m for m in measures if apart["distilled"][m] < apart["alone"][m]]
closest = min(apart, key=lambda name: apart[name]["attention"])
Markdown(
    f"Trained on logits only, the distilled student is nearer to the teacher than the one trained alone by "
    f"{len(nearer)} of 4 measures ({', '.join(nearer) or 'none'}). "
    f"By attention the nearest of the three is the **{closest}** one."
)

# %% [markdown]
# Logits carry relations: the last layer is linear, so whoever answers like the teacher tends to place the signs like it (it
# need not: what that layer maps to 0 is free). But compare the untrained student by attention. How much of such a map is the
# sign at all? Controls that see no sign: one map for all images (the teacher's mean, or a flat one), and a plain grey picture.

# %%
def attention_gap(q, of="stages.5"):
    """Mean distance of normalised maps from the teacher's: 0 alike, √2 nothing in common."""
    return (q - distillation.attention_map(maps["teacher"][of])).norm(dim=1).mean().item()


own = distillation.attention_map(maps["teacher"]["stages.5"])  # (N, H·W), each of length 1
grey = torch.full_like(images[:1], 0.5)
controls = {
    "teacher's mean map": F.normalize(own.mean(0, keepdim=True)),
    "flat map": F.normalize(torch.ones_like(own[:1])),
}
for name, layer in (("teacher", "stages.5"), ("untrained", "features.4")):
    model = teacher if name == "teacher" else students[name]
    with torch.no_grad(), Taps(model, [layer]) as taps:
        model(grey)
        controls[f"{name}, grey picture"] = distillation.attention_map(taps[layer])
rows = [[name, f"{apart[name]['attention']:.3f}"] for name in apart]
rows += [[name, f"{attention_gap(q):.3f}"] for name, q in controls.items()]
print(text_table(["map", "distance from the teacher's"], rows))

# %%
claim("One constant map is nearer to the teacher than each of the three students.",
      attention_gap(controls["teacher's mean map"]) < min(gaps["attention"] for gaps in apart.values()))

# %% [markdown]
# So most of this map is place and padding, the same for every picture. A student can come near it without looking at a sign: a
# loss that falls is not yet a student that learns.
#
# ## Training with terms
#
# Chapter 05's `Distiller` adds such terms to the loss, each with a weight. Which weights? The terms have different units. The
# norms of their *gradients* tell how strongly each one pulls, here at the weights of the student's third convolution:

# %%
torch.manual_seed(0)
small = sign_student(0.5)
dictionary = distillation.Hint(small.channels[2], 128)
# Weights seen in the literature.
authors = {"labels": 1, "hint": 100, "attention": 1000, "distance": 25, "similarity": 3000}


def pooled(o):
    return o.student["pool"].flatten(1), o.teacher["pool"].flatten(1)


losses = {
    "labels": lambda o: distillation.label_loss(o.student_logits, o.labels),
    "hint": lambda o: dictionary(o.student["features.2"], o.teacher["stages.4"]),
    "attention": lambda o: distillation.attention_transfer_loss(
        o.student["features.2"], o.teacher["stages.4"]
    ),
    "distance": lambda o: distillation.relational_distance_loss(*pooled(o)),
    "similarity": lambda o: distillation.similarity_preserving_loss(
        o.student["features.4"], o.teacher["stages.5"]
    ),
}

# %% tags=["nbval-ignore-output"]
with Taps(small, ["features.2", "features.4", "pool"]) as taps:
    student_logits, of_student = small(images[:64]), dict(taps)
with torch.no_grad(), Taps(teacher, ["stages.4", "stages.5", "pool"]) as taps:
    teacher_logits, of_teacher = teacher(images[:64]), dict(taps)
outputs = distillation.Outputs(student_logits, teacher_logits, labels[:64], of_student, of_teacher)


def strength(loss):
    """Norm of the gradient at the weights of the student's third convolution."""
    (gradient,) = torch.autograd.grad(loss, small.features[2][0].weight, retain_graph=True)
    return gradient.norm().item()


pull = {name: strength(loss(outputs)) for name, loss in losses.items()}
rows = [
    [n, f"{pull[n]:.2g}", f"{authors[n]}", f"{authors[n] * pull[n] / pull['labels']:.1f} ×"] for n in losses
]
print(text_table(["term", "gradient's norm", "weight", "pull, in units of the labels'"], rows))

# %%
claim(
    "Unweighted, the strongest term pulls more than 30 times as hard as the weakest.",
    max(pull.values()) > 30 * min(pull.values()),
)

# %% [markdown]
# Now the same short training twice. First only the labels teach the student; the terms are watched (and the dictionary
# learns). Then each term pulls about as hard as the labels at the start.

# %%
few = np.concatenate([np.flatnonzero(splits.train.labels == c)[::7][:12] for c in range(43)])
few, some = splits.train.subset(few), splits.validation.subset(np.arange(0, len(splits.validation), 6))
recipe = Recipe(epochs=3, max_lr=6e-3, batch_size=43, augmentation=None)
balanced = {name: pull["labels"] / value for name, value in pull.items()}


def terms(weights):
    """All terms; where the hint has no weight, only its dictionary learns: the layer is detached."""

    def watched(o):
        return dictionary(o.student["features.2"].detach(), o.teacher["stages.4"])

    found = {n: distillation.Term(n, weights[n], f) for n, f in losses.items()}
    weight, loss = (weights["hint"], losses["hint"]) if weights["hint"] else (1.0, watched)
    found["hint"] = distillation.Term("hint", weight, loss, dictionary)
    return list(found.values())


# %%
runs = {}
for run, weights in {"labels only": {n: float(n == "labels") for n in losses}, "all terms": balanced}.items():
    student = copy.deepcopy(small)
    taps = {
        "student_taps": ("features.2", "features.4", "pool"),
        "teacher_taps": ("stages.4", "stages.5", "pool"),
    }
    with distillation.Distiller(student, teacher, terms(weights), **taps) as distiller:
        fit(student, few, some, recipe, loss=distiller, progress=False)
    runs[run] = distiller.history

# %% tags=["nbval-ignore-output"]
plots.terms_figure(runs, list(losses))

# %%
last = {run: epochs[-1] for run, epochs in runs.items()}
asked = [n for n in losses if n != "labels"]
claim(
    "Each term with a weight ends lower than where it is only watched.",
    all(last["all terms"][n] < last["labels only"][n] for n in asked),
)

# %% [markdown]
# The terms do what they say. Whether the *student* gains is another question, which three epochs on 516 images cannot answer.
#
# ## Born again: a teacher as small as the student
#
# Give a network its own twin as teacher: same architecture, trained on the labels, then frozen. A second network learns from
# the first one's soft targets, a third from the second's. Furlanello et al. (2018) found that later generations can be better.
# There is no larger network and no new data. Where does the gain come from?
#
# For ridge regression it can be derived (Mobahi et al. 2020, who choose $c$ anew each round): with a kernel matrix $K$ and penalty
# $c$ the fitted values are $\hat y = K (K + cI)^{-1} y$. In the basis of $K$'s eigenvectors, direction $i$ with eigenvalue $d_i$ is
# multiplied by $\frac{d_i}{d_i + c}$. Train again on $\hat y$: it is multiplied again. After $t$ rounds of self-distillation
#
# $$\hat y^{(t)}_i = \left( \frac{d_i}{d_i + c} \right)^{t+1} y_i .$$
#
# **By hand.** $c = 1$, eigenvalues 9 and 1: factors 0.9 and 0.5. After one more round 0.81 and 0.25; after two 0.73 and 0.125. The strong direction
# hardly changes; the weak one, where mostly noise lives, fades. Self-distillation regularises, and too many rounds remove the
# signal as well.

# %%
rng = np.random.default_rng(0)
x = np.sort(rng.uniform(-3, 3, 60))
truth = np.sin(2 * x)
y, kernel = truth + rng.normal(0, 0.8, 60), np.exp(-((x[:, None] - x[None]) ** 2) / 0.5)
errors, fitted = {}, {}
for c in (0.1, 0.5):
    target, curve = y, []
    for _ in range(25):
        target = kernel @ np.linalg.solve(
            kernel + c * np.eye(60), target
        )  # the next student learns the last one's values
        curve.append(np.mean((target - truth) ** 2))
    errors[f"penalty c = {c:g}"], fitted[c] = curve, target
plots.shrinkage_figure(np.arange(25), errors)

# %%
d, basis = np.linalg.eigh(kernel)
formula = basis @ ((d / (d + 0.1)) ** 25 * (basis.T @ y))
claim("25 fits one after the other equal the formula's power.", np.allclose(formula, fitted[0.1], atol=1e-6))

# %%
weak, strong = (np.array(curve) for curve in errors.values())
claim("Both curves fall, then rise; the smaller penalty needs more rounds to reach the same error.",
      0 < strong.argmin() < weak.argmin() < 24 and abs(strong.min() / weak.min() - 1) < 0.05)

# %% [markdown]
# ## All methods in one table
#
# Your guess, measured: every method with the same seeds, student, epochs, batches and augmentation, and the student alone
# as control. A difference is taken within a seed. The students saw the labels of 1000 signs; the teacher had seen all 4,816.

# %%
from course_lib.evaluation import seed_interval
from course_lib.exercises.chapter_06.predictions import METHODS as ASKED
from course_lib.experiments.distillation_arms import ARMS, METHODS
from course_lib.experiments.distillation_study import Score
from course_lib.experiments.distillation_study import gains as paired
from course_lib.experiments.method_comparison import method_gains, verdict_sentence

recorded = load_result("distillation_methods")
gains = method_gains(recorded["figures"])
print(recorded["command"])
best = next(iter(gains))
print(recorded["figures"][f"{best}_gain_points"].meaning)
rows = [[METHODS[name], f"{g.value:+.2f}", f"{g.low:+.2f} to {g.high:+.2f}", str(g.n), g.verdict]
        for name, g in gains.items()]
print(text_table(["method", "gain, points", "95 % interval", "seeds", "verdict"], rows))

# %%
shown = {METHODS[name]: gain for name, gain in gains.items() if "larger weight" not in METHODS[name]}
plots.gains_figure(shown)  # arms with a larger weight stand in the table only

# %%
Markdown(verdict_sentence(gains))

# %%
on_features = next(name for name in gains if ARMS[name].group == "features")
told = sum(g.verdict != "not shown" for g in gains.values())
width = np.median([g.high - g.low for g in gains.values()])
Markdown(
    f"Largest mean: **{METHODS[best]}**, {gains[best].value:+.2f} points. Of the methods on features: "
    f"**{METHODS[on_features]}**, {gains[on_features].value:+.2f}. {told} of {len(gains)} can be told from "
    f"no difference; the median interval is {width:.1f} points wide."
)

# %% tags=["nbval-ignore-output"]
nine = {METHODS[name]: g for name, g in gains.items() if METHODS[name] in ASKED}  # the largest first
told_of_nine = sum(g.verdict != "not shown" for g in nine.values())
display(reveal("06.p1", next(iter(nine))), reveal("06.p2", told_of_nine))

# %% [markdown]
# With many intervals, some exclude 0 by luck. Divide the 5 % by the number of methods, which widens every interval:

# %%
from scipy.stats import t as student_t

left = []
for name, g in gains.items():
    wider = student_t.ppf(1 - 0.025 / len(gains), g.n - 1) / student_t.ppf(0.975, g.n - 1)  # n: seeds
    if abs(g.value) > wider * (g.high - g.low) / 2:
        left.append(f"{METHODS[name]} ({g.value:+.1f})")
print(f"each interval {wider:.1f} times as wide; still told from no difference: {', '.join(left) or 'none'}")

# %% [markdown]
# And how hard did the terms pull at the student's weights, before the first step and after the last? (The labels' pull is 1;
# means over seeds. *Balanced*: the weights were chosen by this pull, not taken from a paper.)

# %%
rows = []
for name in [name for name in gains if ARMS[name].group == "features"]:
    trained = [score for score in recorded["scores"] if score["arm"] == name]
    for term in [term for term in trained[0]["weights"] if term not in ("labels", "soft targets")]:
        weight, before, after = (np.mean([score[what][term] for score in trained])
                                 for what in ("weights", "pulls", "pulls_at_end"))
        rows.append([METHODS[name], term, f"{weight:.3g}", f"{before:.2g}", f"{after:.2g}"])
print(text_table(["method", "term", "weight", "pull at first", "at the end"], rows))

# %% [markdown]
# How to read it:
#
# - **With few seeds an interval is wide.** Student's $t$ multiplies the standard error by 4.3 for three seeds, by 2.8 for
#   five. "Not shown" means that this study cannot tell. It does not mean "no effect".
# - **The order is no ranking.** Compare two methods seed by seed, as chapter 05 does.
# - **Unequal tuning.** Soft targets were tried with four temperatures and three α, a method on features with two or three
#   weights. Where the pull is far above 1, the labels hardly count.
# - **Not the papers' recipes.** FitNets trains in two stages, and this study for 16 epochs.
# - **One student, one budget, one data set.**
#
# Soft targets need no tap and no dictionary, and logits can be cached. What does a loss on features add to them? The
# difference, seed by seed:

# %%
for name in ("soft_similarity_balanced", "soft_hint_balanced"):
    g = seed_interval(paired([Score(**s) for s in recorded["scores"]], name, "soft_targets", "validation"))
    print(f"{METHODS[name]:36} {g.value:+.2f} points [{g.low:+.2f}, {g.high:+.2f}]")

# %% [markdown]
# ## Pitfalls
#
# - **A hook that stays.** Every run of the cell adds one. Use `with Taps(...)`.
# - **The teacher learns, too.** Without `detach` (or `no_grad`) it moves towards the student; in train mode its BatchNorm moves.
# - **Nobody trains the dictionary.** A projection that the optimiser does not know stays random.
# - **Equal resolution taken for equal knowledge.** Compare receptive fields as well.
# - **No absolute value** with an odd power; **no norm**; one norm for the whole batch.
# - **$\sqrt{0}$ in a distance:** right values, NaN gradients.
# - **Weights copied from code with another reduction.** Sum and mean differ by factors of thousands.
# - **A falling feature loss taken for a gain.** Only accuracy against a control that trained as long is one.
#
# ## Recap

# %% tags=["nbval-ignore-output"]
Markdown(f"""
1. At equal resolution the teacher's layers see {min(fields[t] / fields[s] for s, t in pairs):.1f} to
   {max(fields[t] / fields[s] for s, t in pairs):.0f} times as far as the student's. A linear dictionary
   explains {100 * shares["distilled"][2]:.0f} % of the teacher's deepest layer from the distilled
   student's, {100 * shares["distilled"][0]:.0f} % of the earliest pair.
2. Four ways to compare unequal layers: hint (channels, through a dictionary), attention (where), relations
   (the shape of the cloud), similarity (which images are alike). Each is blind to something else.
3. Trained on logits only, the distilled student is nearer to the teacher's features than the one trained
   alone by {len(nearer)} of 4 measures; by attention one constant map is nearer than any student.
4. Unweighted, the terms' gradients differ by a factor of {max(pull.values()) / min(pull.values()):.0f}: a
   weight means nothing without the reduction that it belongs to.
5. Of {len(gains)} methods, {told} could be told from no difference with {gains[best].n} seeds, {len(left)}
   after dividing the 5 % by {len(gains)}; the largest mean gain is {gains[best].value:+.1f} points
   ({METHODS[best]}).
""")

# %% [markdown]
# Next: chapter [07](07_magnitude_pruning.ipynb) takes weights out of a trained network, and asks what that is worth.
#
# ## References
#
# - A. Romero et al. (2015). *FitNets: hints for thin deep nets.* [arXiv:1412.6550](https://arxiv.org/abs/1412.6550), eq. 3.
# - S. Zagoruyko, N. Komodakis (2017). *Paying more attention to attention.* [arXiv:1612.03928](https://arxiv.org/abs/1612.03928), section 3.1, eqs. 1 and 2.
# - W. Park, D. Kim, Y. Lu, M. Cho (2019). *Relational knowledge distillation.* [arXiv:1904.05068](https://arxiv.org/abs/1904.05068), sections 3.2.1 and 3.2.2.
# - F. Tung, G. Mori (2019). *Similarity-preserving knowledge distillation.* [arXiv:1907.09682](https://arxiv.org/abs/1907.09682), eqs. 1 to 4.
# - T. Furlanello et al. (2018). *Born-again neural networks.* [arXiv:1805.04770](https://arxiv.org/abs/1805.04770).
# - H. Mobahi, M. Farajtabar, P. Bartlett (2020). *Self-distillation amplifies regularization in Hilbert space.* [arXiv:2002.05715](https://arxiv.org/abs/2002.05715).
# - A. Araujo, W. Norris, J. Sim (2019). *Computing receptive fields of convolutional neural networks.* Distill, doi:10.23915/distill.00021.
