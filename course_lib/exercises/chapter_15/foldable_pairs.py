"""15.3: which pairs of a graph may be folded, the graph given as plain data."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from course_lib.exercises.chapter_15.graphs import EVAL, Nodes, Pairs, Question, X, chain, random_graph
from course_lib.exercises.engine.exercise import Exercise

ex = Exercise(
    "15.3",
    "Pairs that may be folded",
    points=3,
    hints=[
        "Make a dictionary name → node. For each norm look up the node that it reads: is its kind conv?",
        "Then four questions. Who reads the convolution's name? Does the network return it? How often is each of the "
        "two modules called? Is the norm's in training?",
        "reads = Counter(name for *_, inputs in nodes for name in inputs); calls = Counter(module for _, _, module, _ "
        "in nodes). A pair needs reads 1, calls 1 and 1.",
    ],
    explanation="""
        Folding changes what the convolution gives. So nobody else may see it: no other reader, and not the caller. It
        changes the module, so no other call may need it as it was. And a BatchNorm in training has no constants. Order
        in the list means nothing: what counts is who reads what. The library asks the same before it folds.
    """,
)


def _pairs(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str], *unasked: str) -> Pairs:
    """The pairs that may be folded if these questions are not asked."""
    by_name = {node[0]: node for node in nodes}
    reads = Counter(name for node in nodes for name in node[3])
    calls = Counter(node[2] for node in nodes)
    found = []
    for name, kind, module, inputs in nodes:
        source = by_name[inputs[0]] if kind == "norm" else None
        if source is None or source[1] != "conv":
            continue
        stays = {"readers": reads[source[0]] > 1, "outputs": source[0] in outputs, "mode": module in training}
        stays |= {"conv calls": calls[source[2]] > 1, "norm calls": calls[module] > 1}
        if not any(reason for question, reason in stays.items() if question not in unasked):
            found.append((source[0], name))
    return found


@ex.reference
def foldable(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    """[(name of a convolution, name of the norm that reads it), …], in the order of the norms in ``nodes``.

    Each node is (name, kind, module, inputs): its kind is "conv", "norm" or something else; ``inputs`` are names of
    nodes before it, of a norm exactly one. Two nodes with the same module call it twice. A pair may be folded if no
    node but the norm reads the convolution's result, the network does not return it (``outputs`` are the names that it
    returns), neither module is called twice, and the norm's module is not in ``training``, the set of modules in train
    mode.
    """
    return _pairs(nodes, outputs, training)


@ex.solution
def written_out(
    nodes: tuple[tuple[str, str, str, tuple[str, ...]], ...], outputs: tuple[str, ...], training: frozenset[str]
) -> list[tuple[str, str]]:
    """[(name of a convolution, name of the norm that reads it), …], in the order of the norms in ``nodes``."""
    by_name = {name: (kind, module) for name, kind, module, _ in nodes}
    reads = Counter(name for *_, inputs in nodes for name in inputs)
    calls = Counter(module for _, _, module, _ in nodes)
    pairs = []
    for name, kind, module, inputs in nodes:
        if kind != "norm" or by_name[inputs[0]][0] != "conv":
            continue
        conv, conv_module = inputs[0], by_name[inputs[0]][1]
        seen = reads[conv] > 1 or conv in outputs
        shared = calls[conv_module] > 1 or calls[module] > 1
        if not seen and not shared and module not in training:
            pairs.append((conv, name))
    return pairs


@ex.case("by hand: a convolution and the norm that reads it")
def by_hand() -> Question:
    return chain("conv", "norm", "relu"), ("relu3",), EVAL


@ex.case("a ReLU between them: the norm does not read the convolution")
def relu_between() -> Question:
    return chain("conv", "relu", "norm"), ("norm3",), EVAL


@ex.case("a sum reads the convolution, too")
def read_twice() -> Question:
    nodes = (*chain("conv", "norm"), ("sum", "sum", "s", ("norm2", "conv1")))
    return nodes, ("sum",), EVAL


@ex.case("two norms read one convolution")
def two_norms() -> Question:
    nodes = (*chain("conv", "norm"), ("other", "norm", "n", ("conv1",)), ("sum", "sum", "s", ("norm2", "other")))
    return nodes, ("sum",), EVAL


@ex.case("the network returns the convolution's result as well")
def returned_too() -> Question:
    return chain("conv", "norm"), ("norm2", "conv1"), EVAL


@ex.case("one convolution module is called twice, with a norm behind each call")
def shared_conv() -> Question:
    first = chain("conv", "norm")
    return (*first, ("again", "conv", "m1", ("norm2",)), ("last", "norm", "m4", ("again",))), ("last",), EVAL


@ex.case("one norm module is called twice, behind two convolutions")
def shared_norm() -> Question:
    first = chain("conv", "norm")
    return (*first, ("next", "conv", "m3", ("norm2",)), ("last", "norm", "m2", ("next",))), ("last",), EVAL


@ex.case("the second of two norms is in train mode")
def in_training() -> Question:
    return chain("conv", "norm", "conv", "norm"), ("norm4",), frozenset({"m4"})


@ex.case("a convolution in train mode computes what it computes in eval mode: the pair may be folded")
def conv_in_training() -> Question:
    return chain("conv", "norm"), ("norm2",), frozenset({"m1"})


@ex.case("two norms, each node named as the other one's module: training holds modules, not names")
def named_as_modules() -> Question:
    nodes = (X, ("a", "conv", "c1", ("x",)), ("p", "norm", "q", ("a",)))
    nodes = (*nodes, ("b", "conv", "c2", ("p",)), ("q", "norm", "p", ("b",)))
    return nodes, ("q",), frozenset({"p"})


@ex.case("two branches whose nodes alternate: what counts is who reads what, not who stands beside whom")
def alternating() -> Question:
    nodes = (X, ("a", "conv", "m1", ("x",)), ("b", "conv", "m2", ("x",)), ("q", "norm", "m4", ("b",)))
    nodes = (*nodes, ("p", "norm", "m3", ("a",)), ("sum", "sum", "s", ("p", "q")))
    return nodes, ("sum",), EVAL


@ex.case("the first of two results that the network returns is the convolution's; a linear layer is no convolution")
def returned_first() -> Question:
    nodes = (*chain("conv", "norm"), ("lin", "linear", "l", ("norm2",)), ("last", "norm", "n", ("lin",)))
    return nodes, ("conv1", "last"), EVAL


@ex.case("a norm of the image, and one behind another norm: neither reads a convolution")
def norms_alone() -> Question:
    return chain("norm", "norm", "conv", "norm", "norm"), ("norm5",), EVAL


@ex.case("the norm's result may be read by many, and returned")
def norm_read_often() -> Question:
    nodes = (*chain("conv", "norm", "relu"), ("sum", "sum", "s", ("relu3", "norm2")))
    return nodes, ("sum", "norm2"), EVAL


ex.inputs(random_graph)


@ex.mistake("Somebody else reads that convolution. Folded, it would give them another result: look at all readers.")
def readers_ignored(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    return _pairs(nodes, outputs, training, "readers")


@ex.mistake("The network returns that convolution's result: its caller would get another one. Look at outputs.")
def outputs_ignored(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    return _pairs(nodes, outputs, training, "outputs")


@ex.mistake("That convolution's module is called twice: its other call needs the weights as they are.")
def shared_conv_folded(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    return _pairs(nodes, outputs, training, "conv calls")


@ex.mistake("That norm's module is called twice. Here neither module of a pair may be.")
def shared_norm_folded(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    return _pairs(nodes, outputs, training, "norm calls")


@ex.mistake("You looked at names. Two nodes with two names call a module twice if their third entries are equal.")
def modules_ignored(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    return _pairs(nodes, outputs, training, "conv calls", "norm calls")


@ex.mistake("A norm in train mode takes its statistics from the batch: there is no constant to fold.")
def training_ignored(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    return _pairs(nodes, outputs, training, "mode")


@ex.mistake("You looked for the norm's name in training. That holds modules: a node's third entry.")
def name_in_training(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    return [pair for pair in _pairs(nodes, outputs, training, "mode") if pair[1] not in training]


@ex.mistake("You refused a convolution in train mode. It computes the same in both modes; the norm does not.")
def conv_mode_asked(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    modules = {node[0]: node[2] for node in nodes}
    return [pair for pair in _pairs(nodes, outputs, training) if modules[pair[0]] not in training]


@ex.mistake("You folded nothing as soon as one module is in train mode. Each pair is asked by itself.")
def all_or_nothing(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    return [] if training else _pairs(nodes, outputs, training)


@ex.mistake("You paired neighbours in the list. Who reads what stands in the inputs.")
def neighbours(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    wanted = _pairs(nodes, outputs, training)
    beside = {(one[0], other[0]) for one, other in pairwise(nodes)}
    return [pair for pair in wanted if pair in beside]


@ex.mistake("Your pairs are turned round: first the convolution, then the norm.")
def turned(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    return [(norm, conv) for conv, norm in _pairs(nodes, outputs, training)]


@ex.mistake("Right pairs in another order: asked is that of the norms in nodes.")
def alphabetical(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    return sorted(_pairs(nodes, outputs, training))


@ex.mistake("You returned a set. It has no order; asked is a list of pairs, in the order of the norms in nodes.")
def as_set(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> set[tuple[str, str]]:
    return set(_pairs(nodes, outputs, training))


@ex.mistake("You returned a dict. Asked is a list of pairs: list(found.items()) makes one of {convolution: norm}.")
def as_dict(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> dict[str, str]:
    return dict(_pairs(nodes, outputs, training))


@ex.mistake("You returned a dict from norms to convolutions. Asked is a list of pairs, the convolution first.")
def as_turned_dict(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> dict[str, str]:
    return {norm: conv for conv, norm in _pairs(nodes, outputs, training)}


@ex.mistake("You returned one flat list of names. Asked is a list of pairs, (convolution, norm).")
def flat(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> list[str]:
    return [name for pair in _pairs(nodes, outputs, training) for name in pair]


@ex.mistake("You also paired a norm with a convolution that reads it. That is another fold, exercise 15.2's.")
def norms_in_front(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    kinds = {node[0]: node[1] for node in nodes}
    front = [(n[0], n[3][0]) for n in nodes if n[1] == "conv" and kinds.get(n[3][0]) == "norm"]
    return _pairs(nodes, outputs, training) + front


@ex.mistake("You asked that only one node reads the norm's result. That one stays the same: any number may.")
def norm_read_once(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    reads = Counter(name for node in nodes for name in node[3])
    return [pair for pair in _pairs(nodes, outputs, training) if reads[pair[1]] <= 1]


@ex.mistake("You returned modules. Asked are the nodes' names.")
def modules_returned(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    modules = {node[0]: node[2] for node in nodes}
    return [(modules[conv], modules[norm]) for conv, norm in _pairs(nodes, outputs, training)]


@ex.alternative
def from_convolutions(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> Pairs:
    position = {node[0]: number for number, node in enumerate(nodes)}
    found = []
    for conv, kind, module, _ in nodes:
        readers = [node for node in nodes if conv in node[3]]
        if kind != "conv" or conv in outputs or [node[1] for node in readers] != ["norm"]:
            continue
        norm, _, norm_module, _ = readers[0]
        if [n[2] for n in nodes].count(module) == 1 == [n[2] for n in nodes].count(norm_module):
            found += [(conv, norm)] if norm_module not in training else []
    return sorted(found, key=lambda pair: position[pair[1]])


@ex.alternative
def as_tuples(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> tuple[tuple[str, str], ...]:
    return tuple(written_out(nodes, outputs, training))


@ex.alternative
def as_lists(nodes: Nodes, outputs: tuple[str, ...], training: frozenset[str]) -> list[list[str]]:
    wanted = []
    for norm in [node for node in nodes if node[1] == "norm" and node[2] not in training]:
        (read,) = norm[3]
        source = next(node for node in nodes if node[0] == read)
        everyone = [name for node in nodes for name in node[3]] + list(outputs)
        calls = [node[2] for node in nodes]
        if source[1] == "conv" and everyone.count(read) == 1 and calls.count(source[2]) == calls.count(norm[2]) == 1:
            wanted.append([read, norm[0]])
    return wanted
