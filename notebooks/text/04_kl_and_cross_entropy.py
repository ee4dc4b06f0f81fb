# %% [markdown]
# # 04 · KL and cross-entropy
#
# **What does a distribution know that a label does not?**
#
# You will be able to
#
# - say in bits what a wrong expectation costs, and split the bill: cross-entropy = entropy + KL;
# - choose between $\mathrm{KL}(p\,\Vert\,q)$ and $\mathrm{KL}(q\,\Vert\,p)$, in PyTorch's order of arguments;
# - derive every gradient that distillation needs, and check it;
# - compute log-probabilities that never become $-\infty$;
# - derive the factor $T^2$, and say where it holds and what forgetting it costs.
#
# **Before:** softmax and derivatives; chapter [02](02_the_teacher.ipynb) introduces the teacher.
# **Time:** 90 min to work through; the cells take less than 1 min on 2 cores.
#
# Symbols and terms, also in Chinese: [notation](../docs/notation.md).

# %% tags=["nbval-ignore-output"]
import math

import numpy as np
import torch
from IPython.display import Markdown, display
from torch.nn import functional as F

from course_lib import distillation, plots, widgets
from course_lib.data import load
from course_lib.data.classes import SHORT_NAMES, SPEED_LIMITS
from course_lib.evaluation import predict_logits
from course_lib.exercises import check, hint, predict, progress, reveal, solution
from course_lib.measure import claim
from course_lib.measure.tables import text_table
from course_lib.models import checkpoints, sign_student

splits = load(size=32)  # "rendered", unless COURSE_DATA says otherwise
splits.validation

# %% [markdown]
# This chapter trains no network. It takes the logits of the shipped teacher and student, and of a fresh student, on every tenth validation image.

# %% tags=["nbval-ignore-output"]
data, validation = splits.train.name, splits.validation
sample = validation.subset(np.arange(0, len(validation), 10))
places = np.flatnonzero(np.isin(validation.labels, (1, 5)))  # GTSRB's numbers for 30 and 80
limits = validation.subset(places[:: max(1, len(places) // 160)])
torch.manual_seed(0)
networks = {role: checkpoints.load(f"{role}_{data}")[0] for role in ("teacher", "student")}
networks["fresh"] = sign_student()
logits = {role: predict_logits(network, sample).clone() for role, network in networks.items()}  # (N, C)
limit_logits = predict_logits(networks["teacher"], limits).double()
torch.set_default_dtype(torch.float64)  # from here on: derivations are checked to many digits
print(f"{len(sample)} images; of 30 and 80: {len(limits)} images of {len(np.unique(limits.groups))} signs")

# %% [markdown]
# ## Predict first
#
# A student learns from a teacher by the gradient of KL, which this chapter builds. Both divide their logits
# by a temperature $T$ before softmax. You raise $T$ from 50 to 100 and change nothing else. The gradient
# that the student's logits receive
#
# (a) stays the same, (b) halves, (c) falls to a quarter?

# %% tags=["nbval-ignore-output"]
guess = None  # "a", "b" or "c"; the chapter comes back to it
predict("04.p", guess, sure=None)  # sure: in per cent, such as 70

# %% [markdown]
# ## Entropy: the price of a message
#
# A car tells the car behind it which sign it passed, over a radio where every bit costs. On this road $C = 4$ signs occur,
# sign $i$ with probability $p_i$. Two bits a sign would do. Cheaper: short words for frequent signs.
#
# | sign | $p_i$ | word | bits $\ell_i$ | $p_i\,\ell_i$ |
# |---|---|---|---|---|
# | 30 | ½ | `0` | 1 | 0.5 |
# | 50 | ¼ | `10` | 2 | 0.5 |
# | 80 | ⅛ | `110` | 3 | 0.375 |
# | stop | ⅛ | `111` | 3 | 0.375 |
#
# On average 1.75 bits a sign. No word begins another one, so no commas are needed: `100110` can only be
# 50, 30, 80. Each length is $\ell_i = -\log_2 p_i$, and their mean is called **entropy**: $H(p) = -\sum_{i=1}^{C} p_i \log_2 p_i$ bits.
# Outcomes with $p_i = 0$ add nothing. Huffman (1952) found the best words for *any* probabilities: join the two rarest
# outcomes and give both one more bit; repeat until one is left.


# %%
def huffman_lengths(p):
    """The number of bits of each outcome's word in the best code."""
    groups, lengths = [(weight, [i]) for i, weight in enumerate(p)], [0] * len(p)
    while len(groups) > 1:
        (a, left), (b, right), *groups = sorted(groups)
        for i in left + right:
            lengths[i] += 1
        groups.append((a + b, left + right))
    return lengths


p = torch.tensor([1 / 2, 1 / 4, 1 / 8, 1 / 8])
lengths = huffman_lengths(p.tolist())
print(lengths, "bits; mean", sum(a * n for a, n in zip(p.tolist(), lengths, strict=True)))
print(f"entropy by the library: {distillation.entropy(p, unit='bits').item():.2f} bits")

# %% [markdown]
# ### Why no code is cheaper
#
# A word of $\ell$ bits uses up the fraction $2^{-\ell}$ of all long bit strings: those that begin with it. No word begins
# another one, so these fractions do not overlap, and $K = \sum_i 2^{-\ell_i} \le 1$ (Kraft 1949).
# Then $r_i = 2^{-\ell_i}/K$ is a distribution, $\ell_i = -\log_2 r_i - \log_2 K$, and the mean length is
#
# $$\sum_i p_i \ell_i \;=\; -\sum_i p_i \log_2 r_i - \log_2 K \;\ge\; -\sum_i p_i \log_2 r_i .$$
#
# This is at least $H(p)$, whatever distribution $r$ is. For $x > 0$, $\ln x \le x - 1$: the
# curve lies below its tangent at 1, and touches it only there. With $x = r_i/p_i$, where $p_i > 0$,
#
# $$\sum_i p_i \ln \frac{r_i}{p_i} \;\le\; \sum_i p_i \left(\frac{r_i}{p_i} - 1\right) \;=\; \sum_i r_i - \sum_i p_i \;\le\; 0 .
# \tag{1}$$
#
# So $-\sum p_i \ln r_i \ge -\sum p_i \ln p_i$, with equality only for $r = p$: no such code is cheaper than the entropy
# (nor any other that can be read without doubt: McMillan 1956). $\blacksquare$
#
# How near does the best code come? The lengths $\lceil -\log_2 p_i \rceil$ fulfil $K \le 1$, and then a code has
# them (Kraft's other half). Each exceeds $-\log_2 p_i$ by less than 1, so it costs less than $H + 1$, and the best no more. A *block* of $n$ independent signs has the entropy $nH$: with words for blocks a sign costs less than $H + 1/n$.

# %%
uneven, joint, per_sign = np.array([0.6, 0.2, 0.1, 0.1]), np.ones(1), {}
for n in range(1, 6):
    joint = np.outer(joint, uneven).ravel()  # probabilities of all blocks of n signs
    per_sign[n] = np.dot(joint, huffman_lengths(joint.tolist())) / n
h = distillation.entropy(torch.from_numpy(uneven), unit="bits").item()
print(f"entropy H = {h:.4f} bits")
for n, bits in per_sign.items():
    print(f"blocks of {n}: {bits:.4f} bits a sign; H + 1/{n} = {h + 1 / n:.4f}")

# %% [markdown]
# **Nats.** With the natural logarithm, as networks use it, the unit is the nat; 1 bit is $\ln 2 = 0.693$ nats. From here on $\log$ is the natural one.
#
# ## The wrong code book: cross-entropy and KL
#
# Now the code was made for another road, where the probabilities are $q = (⅛, ⅛, ¼, ½)$: the words have 3, 3, 2 and 1 bits. On
# *our* road, where signs come from $p$, it costs $3\cdot\tfrac12 + 3\cdot\tfrac14 + 2\cdot\tfrac18 + 1\cdot\tfrac18 = 2.625$ bits.
#
# That is 0.875 bits too much. In general outcome $i$ costs $-\log q_i$ and comes with probability $p_i$.
# The mean price is the **cross-entropy**, its excess over the entropy the **Kullback–Leibler divergence**:
#
# $$\mathrm{CE}(p, q) = -\sum_i p_i \log q_i, \qquad
# \mathrm{KL}(p\,\Vert\,q) = \mathrm{CE}(p, q) - H(p) = \sum_i p_i \log\frac{p_i}{q_i} \ge 0 .$$
#
# The inequality is (1) with $r = q$, and KL is 0 only if $q = p$. Now send ten thousand signs and count the bits.

# %%
q = torch.tensor([1 / 8, 1 / 8, 1 / 4, 1 / 2])
right_code, wrong_code = ["0", "10", "110", "111"], ["110", "111", "10", "0"]
signs = torch.multinomial(p, 10_000, replacement=True, generator=torch.Generator().manual_seed(0)).tolist()
sent = {
    name: len("".join(code[i] for i in signs))
    for name, code in (("right", right_code), ("wrong", wrong_code))
}
ce, kl = (f(p, q, unit="bits").item() for f in (distillation.cross_entropy, distillation.kl_divergence))
print(f"by formula: {ce:.3f} bits = entropy 1.75 + KL {kl:.3f}")

# %%
claim("The bits that were really sent are within 2 % of 1.75 and 2.625 a sign",
      abs(sent["right"] / 17_500 - 1) < 0.02 and abs(sent["wrong"] / 26_250 - 1) < 0.02)

# %%
by_loop = sum(a * math.log2(a / b) for a, b in zip(p.tolist(), q.tolist(), strict=True))
claim("The library's KL is the loop's, and CE = H + KL", np.allclose([by_loop, kl, ce - 1.75], 0.875))

# %%
widgets.weights_figure((4, 2, 1, 1), (1, 1, 2, 4), ("30", "50", "80", "stop"))

# %% [markdown]
# In the right panel the first part of a bar cannot be saved, the second is the price of believing $q$. (Both cost the same
# here: $q$ is $p$ read backwards.) Drag the weights: find $q$ with no excess, make one of $q$'s weights 0, then one of $p$'s.

# %% tags=["nbval-ignore-output"]
widgets.divergence_explorer()

# %% [markdown]
# **What this has to do with training.** A label is a distribution too: $p = (0, …, 1, …, 0)$. Its entropy is 0, so
# $\mathrm{KL} = \mathrm{CE} = -\log q_{\text{label}}$, the usual loss. A teacher's answer $p$ has an
# entropy above 0, which does not depend on the student, so CE and KL have the *same gradient* in $q$. Only KL is 0 when the student is done; CE is then $H(p)$.
#
# **Your turn.** The bill for any $p$ and $q$ (tensors). Some $p_i$ are 0. Where $p_i > 0$ and $q_i = 0$ the code has no word for what comes: then both numbers are ∞.


# %%
def price_bits(p, q):
    """(mean bits a message, bits of it in excess): outcomes from p, code made for q. About 3 lines."""
    ...


check("04.1", price_bits)

# %% [markdown]
# ## Forward and reverse: KL is not symmetric
#
# Swap the roles and another number comes out. Which one should a student minimize? Take one too simple for its teacher: the
# target $p$ has two peaks, the student $q$ is one Gaussian with mean $\mu$ and width $\sigma$.
#
# - **Forward**, $\mathrm{KL}(p\,\Vert\,q) = \sum p_i \log (p_i/q_i)$, grows without limit where $p_i > 0$ and $q_i \to 0$: the
#   student must *cover* whatever the target holds possible.
# - **Reverse**, $\mathrm{KL}(q\,\Vert\,p) = \sum q_i \log (q_i/p_i)$, grows without limit where $q_i > 0$ and $p_i \to 0$: the student must *avoid*
#   whatever the target excludes, and may ignore the rest.
#
# The forward fit can be derived. With $-\log q(x) = \frac{(x-\mu)^2}{2\sigma^2} + \log\sigma + \text{const}$,
#
# - $\frac{\partial}{\partial\mu}\,\mathrm{KL} = -\frac{1}{\sigma^2}\sum_i p_i (x_i - \mu) = 0$ gives $\mu = \sum_i p_i x_i$;
# - $\frac{\partial}{\partial\sigma}\,\mathrm{KL} = \frac1\sigma - \frac{1}{\sigma^3}\sum_i p_i (x_i-\mu)^2 = 0$ gives $\sigma^2 = \sum_i p_i (x_i - \mu)^2$:
#
# mean and variance of the target. The reverse fit has no such formula; descent finds both on a grid of places $x_i$.

# %%
x = torch.linspace(-12, 12, 601)


def gaussian_logits(mean, sigma):
    return -((x - mean) ** 2) / (2 * sigma**2)


target = 0.6 * gaussian_logits(-3, 0.8).softmax(0) + 0.4 * gaussian_logits(3, 0.8).softmax(0)


def reverse_kl(p_logits, q_logits):
    return distillation.kl_from_logits(q_logits, p_logits)


def fit(divergence, start):
    """Mean and width of the Gaussian that makes divergence(target's logits, Gaussian's logits) small."""
    parameters = torch.tensor([start, 0.0], requires_grad=True)  # the mean, and the logarithm of the width
    optimizer = torch.optim.Adam([parameters], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        divergence(target.log(), gaussian_logits(parameters[0], parameters[1].exp())).backward()
        optimizer.step()
    return parameters[0].item(), parameters[1].exp().item()


# %%
forward, left, right = fit(distillation.kl_from_logits, -1.0), fit(reverse_kl, -1.0), fit(reverse_kl, 1.0)
step = x[1] - x[0]
titles = ("forward KL(p‖q)", "reverse KL(q‖p), started at −1", "reverse KL(q‖p), started at +1")
fits = {f"{title}: μ = {mean:.1f}, σ = {width:.1f}": gaussian_logits(mean, width).softmax(0) / step
        for title, (mean, width) in zip(titles, (forward, left, right), strict=True)}
plots.two_fits_figure(x, target / step, fits)

# %%
mean = (target * x).sum().item()
width = (target * (x - mean) ** 2).sum().sqrt().item()
claim(
    "The forward fit has the target's mean and width, as derived; "
    "the reverse fits are its two peaks, with means −3 and 3 and width 0.8",
    np.allclose(forward, (mean, width), rtol=0.01)
    and np.allclose([left, right], [(-3, 0.8), (3, 0.8)], atol=0.01),
)

# %% [markdown]
# Which peak the reverse fit takes depends on its start. On one peak the target is that peak times its weight $w$, $p = w\,q$, so $\mathrm{KL}(q\,\Vert\,p) = \sum q \log\frac1w
# = -\log w$: the price of ignoring everything else.

# %%
for w, best in ((0.6, left), (0.4, right)):
    price = reverse_kl(target.log(), gaussian_logits(*map(torch.tensor, best))).item()
    print(f"weight {w}: reverse KL {price:.3f}, −ln w = {-math.log(w):.3f}")

# %% [markdown]
# Distillation takes the forward one, teacher first: a student that cannot tell 30 from 80 must keep
# both. In text generation, where one good sentence is enough, reverse is used too (Gu et al. 2024).
# **Jensen–Shannon** stands between: $\mathrm{JS} = \frac12\mathrm{KL}(p\,\Vert\,m) + \frac12\mathrm{KL}(q\,\Vert\,m)$ with $m = (p+q)/2$. It is
# symmetric, and never above one bit: $p_i \le 2 m_i$, so each logarithm in it is at most $\log_2 2$.

# %%
far_p, far_q = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
print("no common outcome: KL =", distillation.kl_divergence(far_p, far_q).item(), "nats,",
      "JS =", distillation.js_divergence(far_p, far_q, unit="bits").item(), "bit")

# %% [markdown]
# ### PyTorch's order of arguments
#
# `F.kl_div(input, target)` computes $\mathrm{KL}(\texttt{target}\,\Vert\,\texttt{input})$, and `input` must be a *logarithm*. Four ways to call it; none complains.

# %%
a, b = torch.tensor([0.7, 0.1, 0.1, 0.1]), torch.tensor([0.4, 0.4, 0.1, 0.1])
rows = [
    ["F.kl_div(b.log(), a)", F.kl_div(b.log(), a, reduction="sum"), "KL(a‖b)"],
    ["F.kl_div(a.log(), b)", F.kl_div(a.log(), b, reduction="sum"), "KL(b‖a): swapped"],
    ["F.kl_div(a, b)", F.kl_div(a, b, reduction="sum"), "nonsense: no logarithm"],
    ["F.kl_div(a.log(), b.log())", F.kl_div(a.log(), b.log(), reduction="sum"), "NaN: no log_target=True"],
]
shown = [[call, f"{value.item():.4f}", words] for call, value, words in rows]
print(text_table(["call, reduction='sum'", "nats", "what it is"], shown))
by_library = [distillation.kl_divergence(a, b).item(), distillation.kl_divergence(b, a).item()]
print("the library's KL(a‖b), KL(b‖a):", [round(value, 4) for value in by_library])

# %% [markdown]
# ## The gradient, by hand
#
# A network gives logits $z_1 … z_C$, and $q_i = e^{z_i} / \sum_j e^{z_j}$. Take the logarithm first:
# $\log q_i = z_i - \log \sum_j e^{z_j}$. The derivative of the first term is $\delta_{ik}$ (1 if $i = k$, else 0), that of the second $e^{z_k}/\sum_j e^{z_j} = q_k$:
#
# $$\frac{\partial \log q_i}{\partial z_k} = \delta_{ik} - q_k . \tag{2}$$
#
# Insert it into $\mathrm{CE}(p, q) = -\sum_i p_i \log q_i$, with any $p$ that does not depend on $z$:
#
# $$\frac{\partial\,\mathrm{CE}}{\partial z_k}
# = -\sum_i p_i (\delta_{ik} - q_k)
# = -p_k + q_k \sum_i p_i
# = q_k - p_k . \tag{3}$$
#
# KL differs from CE by $H(p)$, which holds no $z$, so its gradient is $q - p$ as well. It sums to 0: what one logit gains, others lose.
#
# **Four numbers by hand.** Let $z = (\ln 4, \ln 2, 0, 0)$. Then $e^z = (4, 2, 1, 1)$, the sum is 8, and $q = (½, ¼, ⅛, ⅛)$.
#
# - The label is class 2: $p = (0, 1, 0, 0)$, gradient $(½, -¾, ⅛, ⅛)$. A label pushes all other classes down.
# - A teacher says $p = (¼, ½, ⅛, ⅛)$: gradient $(¼, -¼, 0, 0)$. A distribution says of each class whether it has too much or too little; the last two are *left alone*.

# %%
z = torch.tensor([math.log(4), math.log(2), 0, 0], requires_grad=True)
label, teacher_says = torch.tensor([0.0, 1, 0, 0]), torch.tensor([0.25, 0.5, 0.125, 0.125])
gradients = {}
for name, says in {"label": label, "teacher": teacher_says}.items():
    (gradients[name],) = torch.autograd.grad(-(says * F.log_softmax(z, 0)).sum(), z)
    print(name, [round(value, 6) + 0.0 for value in gradients[name].tolist()])

# %% [markdown]
# How does the entropy depend on the logits of $p$? By (2), with $p$ for $q$, $\partial p_i/\partial z_k = p_i(\delta_{ik} - p_k)$; in $H = -\sum_i p_i \log p_i$ the slope in $p_i$ is $f_i = -\log p_i - 1$; so by the chain rule $\partial H/\partial z_k = \sum_i f_i\,p_i(\delta_{ik} - p_k) = p_k\,(f_k - \sum_i p_i f_i)$. The 1 cancels:
#
# $$\frac{\partial H}{\partial z_k} = p_k\,(-\log p_k - H) . \tag{4}$$
#
# By hand for $p = (½, ¼, ⅛, ⅛)$ in bits, $H = 1.75$: $½(1 - 1.75) = -0.375$, then $¼(2 - 1.75) = 0.0625$, and twice $⅛(3 - 1.75) = 0.15625$. They sum to 0.

# %%
(slope,) = torch.autograd.grad(distillation.entropy_from_logits(z, unit="bits"), z)
print("autograd:", [round(value, 5) for value in slope.tolist()])

# %% [markdown]
# ## Numbers break: softmax first, logarithm after
#
# Many programs say `softmax(z).log()`. Give it the logits $(1000, 0)$, with the second class as the label.

# %%
broken = torch.tensor([1000.0, 0.0], requires_grad=True)
loss = -broken.softmax(0).log()[1]
loss.backward()
print("naive:", loss.item(), broken.grad.tolist())

# %%
whole = torch.tensor([1000.0, 0.0], requires_grad=True)
right_loss = -F.log_softmax(whole, 0)[1]
right_loss.backward()
print("right:", right_loss.item(), whole.grad.tolist())

# %% [markdown]
# PyTorch's softmax does not overflow. It returns $(1, 0)$: the second probability, $e^{-1000}$, has no float and *rounds to 0*. Its logarithm
# is $-\infty$, and the backward pass multiplies 0 by ∞. A repair
# (`+ 1e-8`, `clamp`) only hides the $-\infty$ behind a constant with gradient 0:

# %%
patched = torch.tensor([1000.0, 0.0], requires_grad=True)
patched_loss = -(patched.softmax(0) + 1e-8).log()[1]
patched_loss.backward()
print(f"patched: {patched_loss.item():.1f}", patched.grad.tolist())
claim(
    "softmax, then log: the gradient is NaN, and exactly 0 with + 1e-8; log_softmax finds q − p = (1, −1)",
    broken.grad.isnan().any() and not patched.grad.any() and whole.grad.tolist() == [1.0, -1.0],
)

# %% [markdown]
# The smallest positive number is about $10^{-45}$ in float32 and $6\cdot10^{-8}$ in float16, which a network computes in after
# `.half()` (autocast takes softmax and its logarithm in float32).

# %%
distance = torch.arange(0, 130.5, 0.5)
pair = torch.stack([distance, torch.zeros_like(distance)], 1)  # the label is the second class
losses = {"log_softmax, float32": -F.log_softmax(pair.float(), 1)[:, 1]}
for name, kind in {
    "softmax().log(), float32": torch.float32,
    "softmax().log(), float16": torch.float16,
}.items():
    losses[name] = -pair.to(kind).softmax(1).log()[:, 1].float()
plots.underflow_figure(distance, losses)

# %%
ends = {name: distance[values.isfinite()].max().item() for name, values in losses.items()}
claim(
    "The last finite loss is near 104 in float32 and near 17 in float16",
    np.allclose(list(ends.values())[1:], [104, 17], atol=1),
)

# %% [markdown]
# Seventeen logits apart: is that much? Ask the shipped teacher.

# %% tags=["nbval-ignore-output"]
shares = {kind: logits["teacher"].to(kind).softmax(1).log().isinf().any(1).double().mean().item()
          for kind in (torch.float32, torch.float16)}
for kind, share in shares.items():
    print(f"{kind}: −∞ in the answer to {100 * share:.0f} % of {len(sample)} images")

# %%
claim("In float16 more than a quarter of the teacher's answers contain a −∞; all logits lie within ±100",
      shares[torch.float16] > 0.25 and logits["teacher"].abs().max() < 100)

# %% [markdown]
# ### Log-sum-exp
#
# Keep the logarithm whole, as before (2): $\log q_k = z_k - \mathrm{LSE}(z)$ with $\mathrm{LSE}(z) = \log\sum_j e^{z_j}$. But $e^{1000}$
# overflows. Pull any number $m$ out of the sum, $\mathrm{LSE}(z) = \log \sum_j e^{m}\,e^{z_j - m} = m + \log \sum_j e^{z_j - m}$, and
# choose $m = \max_j z_j$. Then no term exceeds 1: no overflow. One term is 1: no
# $\log 0$, and terms that round to 0 would not be seen beside it. The $C$ terms sum to at most $C$, so
# $\max_j z_j \le \mathrm{LSE}(z) \le \max_j z_j + \log C$: a soft maximum. Its gradient is softmax, as found before (2).
#
# **Four numbers by hand.** $z = (1000 + \ln 4,\ 1000 + \ln 2,\ 1000,\ 1000)$. $m = 1000 + \ln 4$; the differences $0, -\ln 2, -\ln 4, -\ln 4$; their
# exponentials $1, ½, ¼, ¼$, sum 2. $\mathrm{LSE} = 1000 + \ln 4 + \ln 2 = 1000 + \ln 8$.


# %%
def log_sum_exp(z):
    m = z.amax(-1, keepdim=True)
    return (m + (z - m).exp().sum(-1, keepdim=True).log()).squeeze(-1)


large = 1000 + torch.tensor([math.log(4), math.log(2), 0, 0])
print(f"naive {large.exp().sum().log().item()}, shifted {log_sum_exp(large).item():.4f}")

# %%
wild = 1e4 * torch.randn(100, 43, generator=torch.Generator().manual_seed(0))
lse, best = log_sum_exp(wild), wild.amax(1)
claim(
    "It gives 1000 + ln 8, equals torch.logsumexp on logits of ±10⁴, and lies between max and max + ln C",
    torch.isclose(log_sum_exp(large), torch.tensor(1000 + math.log(8)))
    and torch.equal(lse, torch.logsumexp(wild, 1))
    and ((best <= lse) & (lse <= best + math.log(43))).all(),
)

# %% [markdown]
# **Your turn.**


# %%
def stable_log_softmax(logits, temperature):
    """log softmax(z/T) along the last axis of (B, C), finite for logits of ±10⁴.

    About 3 lines of torch, without F.log_softmax; the gradient must flow.
    """
    ...


check("04.2", stable_log_softmax)

# %% [markdown]
# ## Temperature: asking the teacher to speak up
#
# A well-trained teacher is sure. How many bits do its answers hold? A blind guess holds $\log_2 43 = 5.4$.

# %% tags=["nbval-ignore-output"]
zt, zs = logits["teacher"].double(), logits["student"].double()  # (N, C): the teacher's z, the student's
bits = distillation.entropy_from_logits(zt, unit="bits")
low, high = bits.quantile(0.05), bits.quantile(0.95)
print(f"median {bits.median():.4f} bits, middle 90 % from {low:.4f} to {high:.2f}")

# %% [markdown]
# What it thinks of the other classes stands in the logits, but softmax squeezes it into the last decimals. Hinton et al. (2015)
# divide the logits by a **temperature** $T > 0$ first: $p_i(T) = e^{z_i/T} / \sum_j e^{z_j/T}$.
#
# **Four numbers by hand.** $z = (\ln 16, \ln 4, 0, 0)$. $T = 1$: $(16, 4, 1, 1)/22 = (0.73, 0.18, 0.05, 0.05)$. $T = 2$ halves the logits, which takes the root of
# each exponential: $(4, 2, 1, 1)/8 = (½, ¼, ⅛, ⅛)$. $T \to \infty$: all ¼. $T \to 0$: $(1, 0, 0, 0)$, a label ($1/m$ each for $m$ equal largest logits). The order never changes.
#
# **A higher temperature never lowers the entropy.** Write $\theta = 1/T$ and $\mathbb{E}[z] = \sum_i p_i z_i$. Then $-\log p_k = \mathrm{LSE}(\theta z) - \theta z_k$, whose mean over $p$ is $H$, so $-\log p_k - H = -\theta\,(z_k - \mathbb{E}[z])$. The logits $\theta z_k$ change by $z_k$ for each unit of $\theta$; by the chain rule and (4)
#
# $$\frac{dH}{d\theta} = \sum_k \frac{\partial H}{\partial(\theta z_k)}\,z_k = -\theta \sum_k p_k\,(z_k - \mathbb{E}[z])\,z_k = -\theta\,\mathrm{Var}[z] .$$
#
# With $d\theta/dT = -1/T^2$ that is $\frac{dH}{dT} = \frac{\mathrm{Var}[z]}{T^3} \ge 0$ (5), and 0 only if all logits are equal.

# %%
temperature = torch.tensor(3.0, requires_grad=True)
h = distillation.entropy_from_logits(zt / temperature).sum()
h.backward()
at_three = (zt / 3).softmax(1)
variance = (at_three * zt**2).sum(1) - (at_three * zt).sum(1) ** 2
claim(
    "Autograd finds Var[z]/T³ on the teacher's real logits",
    torch.isclose(temperature.grad, variance.sum() / 27),
)

# %% tags=["nbval-ignore-output"]
temperatures = np.array([0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 20, 40, 100])
curves = [distillation.entropy_from_logits(zt / t, unit="bits").numpy() for t in temperatures]
plots.entropy_figure(temperatures, curves, 43, name="teacher's answers")

# %% [markdown]
# ### 30 or 80?
#
# Of the images of 30, and of 80, that the teacher reads right: the median one by what it gives the other limit at $T = 4$.

# %% tags=["nbval-ignore-output"]
truth = torch.from_numpy(limits.labels)
right = limit_logits.argmax(1) == truth
rival = (limit_logits / 4).softmax(1)[torch.arange(len(truth)), 6 - truth]  # 1 and 5 change places
ordered = {c: sorted(np.flatnonzero((right & (truth == c)).numpy()), key=rival.__getitem__) for c in (1, 5)}
shown = [int(found[len(found) // 2]) for found in ordered.values()]
plots.soft_answers_figure(limits.images[shown], limit_logits[shown], [1, 5], SHORT_NAMES, temperatures=(1, 4))

# %% [markdown]
# On the right is what a student is told: which mistakes would be understandable (and some that would not). Now on all of them: of the probability of wrong classes, which share goes to the seven other speed limits? A
# teacher that knew nothing about likeness would give them 7 of 42.


# %% tags=["nbval-ignore-output"]
def share_of_speed_limits(t):
    """Of the probability of all wrong classes, the part of the other speed limits: mean over the images."""
    p = (limit_logits / t).softmax(1).scatter(1, truth[:, None], 0.0)[right]
    return (p[:, list(SPEED_LIMITS)].sum(1) / p.sum(1)).mean().item()


kinship = {t: share_of_speed_limits(t) for t in (1, 4, 20)}
rows = [[f"T = {t}", f"{100 * share:.0f} %", f"{(limit_logits / t).softmax(1)[right].amax(1).mean():.3f}"]
        for t, share in kinship.items()]
print(text_table(["", "wrong mass on speed limits", "mean probability of the right class"], rows))
print(f"blind: {100 * 7 / 42:.0f} %")

# %%
claim("At T = 4 the other speed limits get at least twice a blind guess's share; at T = 20 they get less",
      kinship[4] > 2 * 7 / 42 and kinship[4] > kinship[20])

# %% [markdown]
# That answers this chapter's question. A label says *30*. The distribution adds: *and rather 80 than stop*. A higher $T$ leaves more probability for the wrong classes, and ranks them less sharply. Chapter 05 searches for the best in between.

# %% tags=["nbval-ignore-output"]
some = np.concatenate([np.flatnonzero(right.numpy() & (limits.labels == c))[::12][:5] for c in (1, 5)])
widgets.temperature_explorer(limits.images[some], limit_logits[some], limits.labels[some], SHORT_NAMES)

# %% [markdown]
# ## The 1/T² law
#
# Now $s$ are the student's logits (called $z$ in (2) and (3)), $z$ the teacher's. The student answers $q(T) = \mathrm{softmax}(s/T)$, the teacher $p(T) = \mathrm{softmax}(z/T)$. The gradient that the student's logits receive is (3) for $s/T$, times the chain rule's $1/T$:
#
# $$g_k(T) = \frac{\partial\,\mathrm{KL}(p(T)\,\Vert\,q(T))}{\partial s_k} = \frac1T\,\bigl(q_k(T) - p_k(T)\bigr) . \tag{6}$$
#
# The difference shrinks too. For large $T$, expand $e^{u} = 1 + u + O(u^2)$ with $u = z_k/T$. With
# the mean logit $\bar z = \frac1C\sum_j z_j$,
#
# $$p_k(T) = \frac{1 + z_k/T + O(T^{-2})}{C\,(1 + \bar z/T) + O(T^{-2})}
# = \frac1C\Bigl(1 + \frac{z_k}{T}\Bigr)\Bigl(1 - \frac{\bar z}{T}\Bigr) + O(T^{-2})
# = \frac1C + \frac{z_k - \bar z}{C\,T} + O(T^{-2}).$$
#
# The same holds for $q(T)$ with $s$. In the difference $1/C$ cancels, and (6) becomes
#
# $$T^2\,g_k(T) \;=\; \frac{(s_k - \bar s) - (z_k - \bar z)}{C} \;+\; O(T^{-1}) . \tag{7}$$
#
# The gradient of KL alone falls as $1/T^2$, so a loss that mixes it with a label's term needs the factor $T^2$. With that factor, the limit is
# the gradient of $\frac{1}{2C}\sum_k \bigl((s_k - \bar s) - (z_k - \bar z)\bigr)^2$: **at high temperature distillation is matching centred logits**. The error
# falls as $1/T$ only.
#
# **Four numbers by hand.** Teacher $z = (3, 1, 0, 0)$, mean 1, centred $(2, 0, -1, -1)$. Student $s = (1, 1, 1, 1)$, centred 0. The limit is
# $(0 - (2, 0, -1, -1))/4 = (-½, 0, ¼, ¼)$.


# %%
def kl_gradient(s, z, t):
    """∂KL/∂s at temperature t, by (6): (…, C)."""
    return ((s / t).softmax(-1) - (z / t).softmax(-1)) / t


def limit(s, z):
    """What T²·gradient tends to, by (7)."""
    return ((s - s.mean(-1, keepdim=True)) - (z - z.mean(-1, keepdim=True))) / s.shape[-1]


z, s = torch.tensor([3.0, 1, 0, 0]), torch.ones(4)
for t in (1, 4, 16, 64, 1024):
    print(f"T = {t:5}:  T²·gradient =", [round(value, 3) for value in (t**2 * kl_gradient(s, z, t)).tolist()])
print("the limit: ", limit(s, z).tolist())

# %%
student_logits = zs.clone().requires_grad_()
(by_autograd,) = torch.autograd.grad(distillation.soft_target_loss(student_logits, zt, 4.0), student_logits)
by_hand = 4.0**2 * kl_gradient(zs, zt, 4.0) / len(zs)
claim(
    "The library's soft_target_loss has this gradient (times T², mean over images)",
    torch.allclose(by_autograd, by_hand),
)

# %% [markdown]
# Now the shipped teacher and student. How far does the law carry?

# %% tags=["nbval-ignore-output"]
temperatures = np.geomspace(1, 1000, 16)
norms = np.stack([kl_gradient(zs, zt, t).norm(dim=1).numpy() for t in temperatures])  # (K, N)
limits_norm = limit(zs, zt).norm(dim=1).numpy()
ratios = temperatures[:, None] ** 2 * norms / limits_norm
distances = [
    (t**2 * kl_gradient(zs, zt, t) - limit(zs, zt)).norm(dim=1).numpy() / limits_norm for t in temperatures
]
plots.square_law_figure(temperatures, norms, ratios, distances)

# %% tags=["nbval-ignore-output"]
fall = {t: (kl_gradient(zs, zt, 2 * t).norm() / kl_gradient(zs, zt, t).norm()).item() for t in (1, 4, 50)}
for t, ratio in fall.items():
    print(f"T = {t} → {2 * t}: the gradient of KL becomes {ratio:.3f} of what it was")
print(f"median image, T²·gradient over its limit: at T = 1 {np.median(ratios[0]):.4f}, "
      f"at most {np.median(ratios, axis=1).max():.2f}")
reveal("04.p", fall[50])

# %%
claim(
    "At T = 1 the law says nothing: "
    "for the median image T² times the gradient is less than half of the limit; at T = 1000 it is within 5 %",
    np.median(ratios[0]) < 0.5 and np.median(distances[-1]) < 0.05,
)

# %% [markdown]
# "T² keeps the gradient's size" holds for *large* $T$, beyond the spread of the logits. At $T = 1$
# a sure teacher and a sure student nearly agree, and hardly any gradient is left to scale. In between it can exceed the limit (middle panel). $T^2$ corrects the trend, not the value: after a change of $T$ look at the soft term's size again.
#
# ### Logit matching
#
# The losses have the same limit. Write $q_k = p_k + \varepsilon_k$; then $\sum_k \varepsilon_k = 0$, and with $\log(1+u) = u - \frac{u^2}{2} + O(u^3)$
#
# $$\mathrm{KL}(p\,\Vert\,q) = -\sum_k p_k \log(1 + \varepsilon_k/p_k)
# = -\sum_k \varepsilon_k + \frac12 \sum_k \frac{\varepsilon_k^2}{p_k} + O(\varepsilon^3)
# = \frac12 \sum_k \frac{\varepsilon_k^2}{p_k} + O(\varepsilon^3) .$$
#
# For large $T$, $p_k \to \frac1C$, and by (7) $\varepsilon_k = T g_k \approx \frac{d_k}{C\,T}$ with $d_k = (s_k - \bar s) - (z_k - \bar z)$, which sum to 0 as the $\varepsilon_k$ must. So
#
# $$T^2\,\mathrm{KL}(p(T)\,\Vert\,q(T)) \;\to\; \frac{T^2}{2} \sum_k C \cdot \frac{d_k^2}{C^2 T^2} = \frac{1}{2C}\sum_k d_k^2 \qquad (T \to \infty).$$
#
# Four numbers by hand, as above: $d = (-2, 0, 1, 1)$, so the limit is $(4 + 0 + 1 + 1)/8 = 0.75$.

# %% tags=["nbval-ignore-output"]
matching = (zs.shape[1] * limit(zs, zt).square().sum(1) / 2).mean().item()
soft = {t: distillation.soft_target_loss(zs, zt, float(t)).item() for t in (1, 4, 20, 100, 1000)}
rows = [[f"T = {t}", f"{value:.4f}", f"{value / matching:.3f}"] for t, value in soft.items()]
print(text_table(["", "T²·KL, nats", "÷ logit matching"], rows))
four = distillation.soft_target_loss(torch.ones(1, 4), torch.tensor([[3.0, 1, 0, 0]]), 1000.0).item()

# %%
claim("At T = 1000 the soft-target loss is the limit within 1 %: "
      "0.75 for the four numbers, and for the real logits",
      abs(four / 0.75 - 1) < 0.01 and abs(soft[1000] / matching - 1) < 0.01)

# %% [markdown]
# *Centred* matters. A constant added to all logits does not change softmax, so KL cannot see it; a mean-squared error on
# raw logits punishes it.

# %%
perfect = zt + 5.0  # the teacher's logits, and 5 more on each
claim(
    "For a student whose logits are the teacher's plus 5, "
    "T²·KL is 0 and a mean-squared error on raw logits is 25",
    abs(distillation.soft_target_loss(perfect, zt, 4.0).item()) < 1e-9
    and np.isclose(F.mse_loss(perfect, zt).item(), 25),
)

# %% [markdown]
# Why not train at $T = \infty$? There an error on a class that the teacher finds absurd costs as much as one on the
# runner-up, though very negative logits, which the teacher's training hardly constrains, may be noise (Hinton et al. 2015, section 2.1).
#
# **Your turn:** the loss, and then its gradient without autograd.


# %%
def soft_loss(student_logits, teacher_logits, temperature):
    """T²·KL(teacher ‖ student) at temperature T, mean over the batch (B, C), in nats.

    The student is trained with it. About 3 lines.
    """
    ...


check("04.3", soft_loss)


# %%
def soft_gradient(student_logits, teacher_logits, temperature):
    """The gradient of soft_loss with respect to the student's logits, (B, C).

    Without autograd, about 3 lines.
    """
    ...


check("04.4", soft_gradient)

# %% [markdown]
# ## The reduction trap
#
# `F.kl_div`'s default, `reduction="mean"`, divides by $B \cdot C$. A KL is a *sum* over classes, averaged over images: divide by
# $B$, which is called `"batchmean"`. With the default the loss is $C$ times too small. For a fresh student:

# %% tags=["nbval-ignore-output"]
fresh = logits["fresh"].double()


def gradient_norm(loss):
    """Norm of the gradient of loss(student's logits) at the fresh student."""
    s = fresh.clone().requires_grad_()
    return torch.autograd.grad(loss(s), s)[0].norm().item()


def kl_by_torch(s, t, reduction):
    return F.kl_div(F.log_softmax(s / t, 1), F.log_softmax(zt / t, 1), reduction=reduction, log_target=True)


soft_norm = {r: gradient_norm(lambda s, r=r: 16 * kl_by_torch(s, 4, r)) for r in ("batchmean", "mean")}
print({name: float(f"{value:.4g}") for name, value in soft_norm.items()})

# %%
claim(
    "The gradient is exactly 43 times smaller: the number of classes",
    np.isclose(soft_norm["batchmean"] / soft_norm["mean"], 43),
)

# %% [markdown]
# For plain SGD that is a learning rate 43 times smaller; Adam divides by the gradient's size and hides it. In a mix, $L = \alpha\,T^2\,\mathrm{KL} + (1-\alpha)\,\mathrm{CE}$, it matters: if the soft term is divided by $D$, its weight is $\alpha/D$, and the share that it has left is
#
# $$\alpha' = \frac{\alpha/D}{\alpha/D + 1 - \alpha}, \qquad D = C \text{ ("mean")},\quad T^2 \text{ (no } T^2),\quad C\,T^2 \text{ (both)} .$$
#
# Four numbers by hand, $\alpha = 0.9$, $C = 43$, $T = 4$: $D = 1$ leaves 0.9; $D = 43$ gives $0.0209/(0.0209 + 0.1) = 0.17$; $D = 16$ gives $0.0563/0.1563 = 0.36$;
# $D = 688$ gives $0.0013/0.1013 = 0.013$. And measured, as shares of the gradient's size:

# %% tags=["nbval-ignore-output"]
labels = torch.from_numpy(sample.labels)
hard = 0.1 * gradient_norm(lambda s: F.cross_entropy(s, labels))
rows, alphas = [], {}
for name, divisor in {"right": 1, "reduction='mean'": 43, "no T²": 16, "both": 43 * 16}.items():
    soft_part = 0.9 * soft_norm["batchmean"] / divisor
    alphas[name] = 0.9 / divisor / (0.9 / divisor + 0.1)
    rows.append([name, f"{alphas[name]:.3f}", f"{100 * soft_part / (soft_part + hard):.0f} %"])
print(text_table(["loss", "α you get", "soft term's share of the gradient"], rows))

# %% [markdown]
# Nothing crashes (PyTorch warns, once); the report says "distillation did not help". With per-pixel logits $(B, C, H, W)$ even `"batchmean"` divides by $B$ only
# and *sums* over pixels; the library averages over $B \cdot H \cdot W$.
#
# **Your turn.** A colleague's α as it really was.


# %%
def effective_alpha(alpha, classes, temperature):
    """The soft term's share if reduction="mean" was used and T² forgotten. About 2 lines."""
    ...


check("04.5", effective_alpha)

# %% [markdown]
# ## Pitfalls
#
# | what is done | what goes wrong | instead |
# |---|---|---|
# | `softmax(z).log()` | $-\infty$, then NaN gradients | `F.log_softmax` |
# | `log(p + 1e-8)` | no gradient where the student is most wrong | `F.log_softmax` |
# | `F.kl_div(log_p, q)` | KL(q‖p): the student may ignore what the teacher holds possible | student's logarithm first |
# | `F.kl_div(q, p)` | a number without meaning, even negative | the first argument is a logarithm |
# | `reduction="mean"` | the soft term shrinks $C$-fold | `"batchmean"` |
# | no $T^2$ | the temperature is a hidden weight | multiply by $T^2$ |
# | only the teacher softened | the student learns a flat answer | one $T$ for both |
#
# ## Recap

# %% tags=["nbval-ignore-output"]
display(Markdown(f"""
1. **A distribution is a price list**: outcome $i$ costs $-\\log q_i$. Ten thousand signs cost
   {sent["right"] / 1e4:.2f} bits each with the right code and {sent["wrong"] / 1e4:.2f} with the wrong one:
   CE = H + KL = 1.75 + 0.875.
2. **The gradient is $q - p$.** A label says one thing, a teacher {zt.shape[1]} numbers. Of what it gives to
   wrong classes, the other speed limits get {100 * kinship[4]:.0f} % at T = 4, a blind guess
   {100 * 7 / 42:.0f} %.
3. **Take the logarithm of softmax in one step.** In float16 the two-step version returns −∞ on
   {100 * shares[torch.float16]:.0f} % of the images.
4. **The gradient of KL falls as 1/T²**: from T = 50 to 100 to {fall[50]:.3f} of its size. T² times it tends
   to the difference of centred logits over C: at T = 1000 within {100 * np.median(distances[-1]):.1f} %, at
   T = 1 not at all.
5. **`reduction="mean"` costs a factor 43**, a forgotten T² one of 16 at T = 4: of α = 0.9 they leave
   {alphas["both"]:.3f}.
"""))

# %% [markdown]
# Next: [05 · distilling logits](05_distilling_logits.ipynb). What is this loss worth, with many labels, with
# few and with none?
#
# ## References
#
# - C. Shannon 1948, Bell System Technical Journal 27: section 6, theorem 9.
# - L. Kraft 1949, MSc thesis, MIT. D. Huffman 1952, Proc. IRE 40(9). B. McMillan 1956, IRE Trans. Information Theory 2(4).
# - S. Kullback, R. Leibler 1951, Ann. Math. Statistics 22(1), section 2. J. Lin 1991, IEEE Trans. Information Theory 37(1), section IV (Jensen–Shannon).
# - T. Cover, J. Thomas 2006, *Elements of Information Theory*, theorems 2.6.3 and 5.4.1.
# - Y. Gu et al. 2024, MiniLLM, [arXiv:2306.08543](https://arxiv.org/abs/2306.08543).
# - G. Hinton, O. Vinyals, J. Dean 2015, [arXiv:1503.02531](https://arxiv.org/abs/1503.02531): eqs. 1–4 (limit for logits of mean 0), section 2 ($T^2$).
# - J. Ba, R. Caruana 2014, [arXiv:1312.6184](https://arxiv.org/abs/1312.6184): regression on logits. T. Kim et al. 2021, [arXiv:2105.08919](https://arxiv.org/abs/2105.08919): the limit for any mean.
# - P. Blanchard, D. Higham, N. Higham 2021, IMA J. Numerical Analysis 41(4): log-sum-exp.
