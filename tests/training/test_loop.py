"""The loop trains, a run that was killed ends in the same weights, and validation alone chooses."""

from __future__ import annotations

import io
import math
import os
import pickle
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.data import Augmentation, SignDataset
from course_lib.errors import CourseError
from course_lib.evaluation import model_accuracy, predict_logits
from course_lib.models import SignStudent
from course_lib.training import CrossEntropy, Recipe, epoch_batches, fit, loop, make_optimizer

RECIPE = Recipe(epochs=4, max_lr=0.01, batch_size=20)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", autouse=True)
def _ctrl_c_arrives():
    # A shell starts background jobs with SIGINT ignored, and Python then leaves it so.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def colours(count=48, seed=0):
    """Noise with one bright channel, which is the label: three classes that any network learns."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 3)
    images = rng.integers(0, 90, (count, 3, 8, 8)).astype(np.uint8)
    images[np.arange(count), labels] += 150
    return SignDataset(images, labels, name="colours", num_classes=3)


TRAIN, VALIDATION = colours(), colours(30, seed=1)


def network(seed=0, dropout=0.0):
    torch.manual_seed(seed)
    model = SignStudent(num_classes=3, channels=(4, 4, 4, 4, 8))
    if dropout:
        model.pool = nn.Sequential(model.pool, nn.Dropout(dropout))
    return model


class Stopping(CrossEntropy):
    """The default loss, which does ``act`` when it is asked for the value of batch ``call``, counted from 0."""

    def __init__(self, call, act):
        super().__init__()
        self.left, self.act = call, act

    def forward(self, logits, batch):
        if self.left == 0:
            self.act()
        self.left -= 1
        return super().forward(logits, batch)


def interrupt():
    signal.raise_signal(signal.SIGINT)


def run(model, recipe=RECIPE, **options):
    return fit(model, TRAIN, VALIDATION, recipe, progress=False, **options)


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def without_seconds(history):
    return [{key: value for key, value in row.items() if key != "seconds"} for row in history.epochs]


# Learning.


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_the_default_loss_learns_three_colours(optimizer, schedule):
    recipe = Recipe(10, max_lr=0.03, batch_size=8, optimizer=optimizer, schedule=schedule, augmentation=None)
    model = network()
    history = run(model, recipe)
    assert model_accuracy(model, colours(60, seed=2)) > 0.9
    assert history.epochs[-1]["loss"] < 0.5 * history.epochs[0]["loss"]
    assert [row["epoch"] for row in history.epochs] == list(range(10))
    assert history.seconds > 0
    assert not model.training


def test_a_given_loss_sees_images_labels_positions_and_view_of_its_batch():
    seen = []

    def loss(logits, batch):
        images, labels = TRAIN.batch(batch.indices)
        assert torch.equal(batch.images, images)
        assert torch.equal(batch.labels, labels)
        seen.append((batch.view, len(batch.indices)))
        return F.cross_entropy(logits, batch.labels)

    run(network(), replace(RECIPE, augmentation=None, views=2, epochs=3), loss=loss)
    assert seen == [(view, size) for view in (0, 1, 0) for size in (20, 20, 8)]


def test_the_loss_of_an_epoch_is_the_mean_over_images_not_over_batches():
    history = run(network(), replace(RECIPE, epochs=1), loss=lambda logits, b: 0 * logits.sum() + len(b.labels))
    assert history.epochs[0]["loss"] == (20 * 20 + 20 * 20 + 8 * 8) / 48


# Order and views.


def test_every_image_comes_once_an_epoch_in_another_order_each_epoch():
    epochs = [[batch.indices for batch in epoch_batches(TRAIN, RECIPE, epoch)] for epoch in (0, 0, 1)]
    for batches in epochs:
        assert [len(indices) for indices in batches] == [20, 20, 8]
        assert sorted(torch.cat(batches).tolist()) == list(range(48))
    assert torch.equal(torch.cat(epochs[0]), torch.cat(epochs[1]))
    assert set(epochs[0][0].tolist()) != set(epochs[2][0].tolist())
    other = next(epoch_batches(TRAIN, replace(RECIPE, seed=1), 0)).indices
    assert set(epochs[0][0].tolist()) != set(other.tolist())


def test_an_epoch_shows_the_view_of_its_number_or_cycles_through_the_recipe_s():
    view = Augmentation(seed=5)
    for views, epoch, expected in ((None, 7, 7), (3, 7, 1), (1, 7, 0)):
        batch = next(epoch_batches(TRAIN, replace(RECIPE, augmentation=view, views=views), epoch))
        images = view.apply(TRAIN.batch(batch.indices)[0], view.table(48, expected)[batch.indices])
        assert batch.view == expected
        assert torch.equal(batch.images, images)


# Learning rate and weight decay.


def rates(monkeypatch, recipe):
    """The learning rate of every step of a real training, read when the loss is computed."""
    made, seen = [], []
    monkeypatch.setattr(loop, "make_optimizer", lambda *a: made.append(make_optimizer(*a)) or made[0])

    def loss(logits, batch):
        seen.append([group["lr"] for group in made[0].param_groups])
        return F.cross_entropy(logits, batch.labels)

    run(network(), recipe, loss=loss)
    assert all(decayed == other for decayed, other in seen)
    return [rate for rate, _ in seen]


def test_onecycle_equals_torch_s_over_all_steps_of_all_epochs(monkeypatch):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=12, pct_start=0.2, cycle_momentum=False)
    expected = []
    for _ in range(12):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    found = rates(monkeypatch, RECIPE)
    assert found == expected
    assert found[0] == pytest.approx(0.01 / 25)
    assert found[-1] < 1e-6
    assert 1 <= int(np.argmax(found)) <= 3  # a fifth of 12 steps


def test_cosine_equals_the_formula_and_ends_near_zero(monkeypatch):
    found = rates(monkeypatch, replace(RECIPE, schedule="cosine"))
    np.testing.assert_allclose(found, [0.005 * (1 + math.cos(math.pi * k / 12)) for k in range(12)], rtol=1e-6)
    assert found[-1] < 0.02 * RECIPE.max_lr


@pytest.mark.parametrize("total", range(1, 12))
@pytest.mark.parametrize("schedule", ["onecycle", "cosine"])
def test_a_training_of_any_number_of_steps_has_a_schedule(total, schedule):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = loop.make_scheduler(optimizer, replace(RECIPE, schedule=schedule), total)
    for _ in range(total):
        assert 0 <= optimizer.param_groups[0]["lr"] <= RECIPE.max_lr + 0.1 * (schedule == "cosine")
        optimizer.step()
        scheduler.step()


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_only_kernels_and_matrices_decay_and_frozen_parameters_are_left_out(optimizer):
    model = network()
    model.features[0][0].weight.requires_grad_(False)
    decayed, others = make_optimizer(model, replace(RECIPE, optimizer=optimizer, weight_decay=0.3)).param_groups
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.3, 0.0)
    names = {id(p): name for name, p in model.named_parameters()}
    convolutions = {f"features.{i}.0.weight" for i in range(1, 5)}
    assert {names[id(p)] for p in decayed["params"]} == convolutions | {"classifier.weight"}
    norms = {f"features.{i}.1.{kind}" for i in range(5) for kind in ("weight", "bias")}
    assert {names[id(p)] for p in others["params"]} == norms | {"classifier.bias"}
    assert len(decayed["params"]) + len(others["params"]) == len(names) - 1
    if optimizer == "sgd":
        assert (decayed["momentum"], decayed["nesterov"]) == (0.9, True)


# Validation chooses.


def prescribed(monkeypatch, scores):
    """Validation gives these scores, and the list that comes back collects the weights that were scored."""
    scored, left = [], iter(scores)

    def score(model, dataset):
        assert dataset is VALIDATION
        scored.append({key: value.clone() for key, value in model.state_dict().items()})
        return next(left)

    monkeypatch.setattr(loop, "model_accuracy", score)
    return scored


@pytest.mark.parametrize(("scores", "best"), [((0.5, 0.9, 0.7, 0.9), 1), ((0.1, 0.2, 0.3, 0.4), 3), ((0.0,) * 4, 0)])
def test_the_best_epoch_s_weights_are_returned_and_the_first_of_equals(monkeypatch, scores, best):
    scored, model = prescribed(monkeypatch, scores), network()
    history = run(model)
    assert (history.best_epoch, history.best_accuracy) == (best, scores[best])
    assert all(torch.equal(value, scored[best][key]) for key, value in model.state_dict().items())
    assert not torch.equal(model.classifier.weight, scored[(best + 1) % 4]["classifier.weight"])


def test_the_best_epoch_is_remembered_over_an_interruption(monkeypatch, tmp_path):
    scored = prescribed(monkeypatch, (0.5, 0.9, 0.7, 0.6))
    with pytest.raises(KeyboardInterrupt):
        run(network(), loss=Stopping(7, interrupt), checkpoint=tmp_path / "x.pt")
    model = network()
    history = run(model, checkpoint=tmp_path / "x.pt")
    assert (history.best_epoch, len(history.epochs)) == (1, 4)
    assert all(torch.equal(value, scored[1][key]) for key, value in model.state_dict().items())


# Interruption.


@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, optimizer="sgd", schedule="cosine", views=2),
        replace(RECIPE, average=0.9, augmentation=Augmentation(noise=0.1, blur=0.5, erase=0.5)),
    ],
    ids=["usual", "sgd and cosine", "average and noisy views"],
)
@pytest.mark.parametrize("call", [4, 6, 11], ids=["in epoch 2", "at the start of epoch 3", "at the last batch"])
def test_an_interrupted_run_ends_in_the_weights_of_one_that_was_not(tmp_path, recipe, call):
    whole = network(dropout=0.3)
    expected = run(whole, recipe)
    with pytest.raises(
        KeyboardInterrupt, match=rf"after {call // 3} of 4 epochs; the same call continues from .*x\.pt"
    ):
        run(network(dropout=0.3), recipe, loss=Stopping(call, interrupt), checkpoint=tmp_path / "x.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]
    resumed = network(dropout=0.3)
    history = run(resumed, recipe, checkpoint=tmp_path / "x.pt")
    assert same_weights(resumed, whole)
    assert without_seconds(history) == without_seconds(expected)


def killed_run(checkpoint):
    """What the killed process does: SIGKILL in the middle of the third epoch."""
    torch.set_num_threads(1)
    run(network(), loss=Stopping(7, lambda: os.kill(os.getpid(), signal.SIGKILL)), checkpoint=checkpoint)


def test_a_process_killed_with_sigkill_resumes_to_the_same_weights(tmp_path):
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_loop; test_loop.killed_run(sys.argv[2])"
    here, checkpoint = str(Path(__file__).parent), tmp_path / "x.pt"
    done = subprocess.run([sys.executable, "-c", code, here, str(checkpoint)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]
    assert len(torch.load(checkpoint, weights_only=True)["history"]["epochs"]) == 2
    whole, resumed = network(), network()
    expected, history = run(whole), run(resumed, checkpoint=checkpoint)
    assert same_weights(resumed, whole)
    assert without_seconds(history) == without_seconds(expected)


def test_a_finished_run_is_not_trained_again(tmp_path):
    model, again = network(), network()
    history = run(model, checkpoint=tmp_path / "x.pt")
    loss = Stopping(0, lambda: pytest.fail("trained again"))
    repeated = run(again, loss=loss, checkpoint=tmp_path / "x.pt")
    assert same_weights(model, again)
    assert repeated == history


def test_without_a_checkpoint_ctrl_c_says_that_nothing_was_kept():
    model = network()
    with pytest.raises(KeyboardInterrupt, match=r"after 1 of 4 epochs; nothing was kept: give checkpoint="):
        run(model, loss=Stopping(4, interrupt))
    assert model.features[1][0].weight.is_contiguous()


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()], ids=["disk full", "Ctrl-C"])
def test_a_save_that_fails_keeps_the_checkpoint_before_it_and_leaves_no_part(monkeypatch, tmp_path, failure):
    real, calls = torch.save, []

    def save(state, buffer):
        calls.append(buffer)
        real(state, buffer)
        if len(calls) == 2:
            raise failure

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(type(failure)):
        run(network(), checkpoint=tmp_path / "x.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]
    whole, resumed = network(), network()
    run(whole)
    run(resumed, checkpoint=tmp_path / "x.pt")
    assert same_weights(resumed, whole)


# Checkpoints that must not be continued.


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    """The bytes of a checkpoint after the first of four epochs."""
    path = tmp_path_factory.mktemp("state") / "x.pt"
    with pytest.raises(KeyboardInterrupt):
        run(network(), loss=Stopping(3, interrupt), checkpoint=path)
    return path.read_bytes()


def other_data(**changes):
    arrays = {"images": TRAIN.images, "labels": TRAIN.labels, "groups": TRAIN.groups, "name": "colours", **changes}
    return SignDataset(arrays.pop("images"), arrays.pop("labels"), num_classes=3, **arrays)


OTHERS = {
    "another seed": (lambda: network(), TRAIN, replace(RECIPE, seed=1)),
    "another augmentation": (lambda: network(), TRAIN, replace(RECIPE, augmentation=Augmentation(seed=1))),
    "noisier views": (lambda: network(), TRAIN, replace(RECIPE, augmentation=Augmentation(noise=0.1))),
    "another width": (lambda: SignStudent(num_classes=3, channels=(4, 4, 4, 4, 9)), TRAIN, RECIPE),
    "another set's name": (lambda: network(), other_data(name="signs"), RECIPE),
    "fewer images": (lambda: network(), TRAIN.subset(np.arange(47)), RECIPE),
    "other labels": (lambda: network(), other_data(labels=TRAIN.labels[::-1].copy()), RECIPE),
    "other signs": (lambda: network(), other_data(groups=TRAIN.groups[::-1]), RECIPE),
    "other pixels": (lambda: network(), other_data(images=255 - TRAIN.images), RECIPE),
}


@pytest.mark.parametrize(("build", "train", "recipe"), OTHERS.values(), ids=OTHERS.keys())
def test_a_checkpoint_of_another_run_is_refused_and_kept(tmp_path, state, build, train, recipe):
    path = tmp_path / "x.pt"
    path.write_bytes(state)
    with pytest.raises(CourseError, match=r"x\.pt: belongs to a run with another .*Mend: .*delete .*x\.pt"):
        fit(build(), train, VALIDATION, recipe, checkpoint=path, progress=False)
    assert path.read_bytes() == state


@pytest.mark.parametrize(
    "other", [Recipe(epochs=4, max_lr=0.01, batch_size=20, label_smoothing=0.1), "a function", "other validation"]
)
def test_a_checkpoint_of_another_loss_or_another_validation_set_is_refused(tmp_path, state, other):
    path, recipe, loss, validation = tmp_path / "x.pt", RECIPE, None, VALIDATION
    path.write_bytes(state)
    if other == "a function":
        loss = lambda logits, batch: F.mse_loss(logits.softmax(1), F.one_hot(batch.labels, 3).float())  # noqa: E731
    elif other == "other validation":
        validation = colours(30, seed=2)
    else:
        recipe = other
    with pytest.raises(CourseError, match="belongs to a run with another "):
        fit(network(), TRAIN, validation, recipe, loss=loss, checkpoint=path, progress=False)
    assert path.read_bytes() == state


def test_a_state_of_other_initial_weights_or_threads_is_refused_and_says_so(tmp_path, state):
    path = tmp_path / "x.pt"
    path.write_bytes(state)
    with pytest.raises(CourseError, match=r"another initial weights\. Mend: make that run's call again, or delete"):
        run(network(seed=9), checkpoint=path)
    torch.set_num_threads(2)  # the fixture's one comes back at the end
    with pytest.raises(CourseError, match=r"another number of threads \(1, here 2\)"):
        run(network(), checkpoint=path)
    torch.set_num_threads(1)
    assert path.read_bytes() == state


def test_one_other_pixel_is_another_training_set(tmp_path, state):
    path, images = tmp_path / "x.pt", TRAIN.images.copy()
    path.write_bytes(state)
    images[7, 1, 3, 3] ^= 1
    with pytest.raises(CourseError, match=r"another training set\."):
        fit(network(), other_data(images=images), VALIDATION, RECIPE, checkpoint=path, progress=False)


def test_a_state_of_an_earlier_format_is_told(tmp_path, state):
    content = torch.load(io.BytesIO(state), weights_only=True)
    (tmp_path / "x.pt").write_bytes(saved({**content, "identity": {**content["identity"], "format": "1"}}))
    with pytest.raises(CourseError, match=r"another format \(1, here 2\)"):
        run(network(), checkpoint=tmp_path / "x.pt")


def test_the_same_network_goes_on_after_ctrl_c_and_may_be_asked_again_when_it_is_done(tmp_path):
    model, whole = network(), network()
    with pytest.raises(KeyboardInterrupt):
        run(model, loss=Stopping(7, interrupt), checkpoint=tmp_path / "x.pt")
    expected, history = run(whole), run(model, checkpoint=tmp_path / "x.pt")
    assert same_weights(model, whole)
    assert without_seconds(run(model, checkpoint=tmp_path / "x.pt")) == without_seconds(history)
    assert without_seconds(history) == without_seconds(expected)


def test_ctrl_c_in_the_first_epoch_promises_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt, match="after 0 of 4 epochs; no epoch was finished: begin again"):
        run(network(), loss=Stopping(1, interrupt), checkpoint=tmp_path / "x.pt")


def test_a_folder_that_cannot_be_written_is_told_before_the_first_step(tmp_path):
    (tmp_path / "file").touch()
    loss = Stopping(0, lambda: pytest.fail("trained"))
    with pytest.raises(CourseError, match="cannot write here"):
        run(network(), loss=loss, checkpoint=tmp_path / "file" / "x.pt")


@pytest.mark.parametrize("key", ["model", "optimizer", "best", "average", "torch_rng"])
def test_a_checkpoint_that_lacks_a_part_is_named(tmp_path, state, key):
    path, content = tmp_path / "x.pt", torch.load(io.BytesIO(state), weights_only=True)
    del content[key]
    path.write_bytes(saved(content))
    with pytest.raises(CourseError, match=rf"not a readable training checkpoint \(it lacks {key}\)"):
        run(network(), checkpoint=path)


class Bomb:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


def saved(value):
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


BROKEN = {
    "empty": lambda content, _: b"",
    "garbage": lambda content, _: b"not a checkpoint\n" * 50,
    "half": lambda content, _: content[: len(content) // 2],
    "without its last byte": lambda content, _: content[:-1],
    "a list": lambda content, _: saved([1, 2]),
    "another dict": lambda content, _: saved({"model": {}}),
    "a pickle": lambda content, marker: pickle.dumps(Bomb(marker)),
    "a pickle as torch writes it": lambda content, marker: saved({"fingerprint": Bomb(marker)}),
}


@pytest.mark.parametrize("spoil", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_checkpoint_is_named_and_no_pickle_is_run(tmp_path, state, spoil):
    path = tmp_path / "x.pt"
    path.write_bytes(spoil(state, tmp_path / "exploded"))
    with pytest.raises(CourseError) as caught:
        run(network(), checkpoint=path)
    assert f"{path}: not a readable training checkpoint" in str(caught.value)
    assert f"Mend: delete {path}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_one_altered_byte_of_any_weight_is_noticed(tmp_path, state):
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(io.BytesIO(state)) as archive:
        members = [info for info in archive.infolist() if "/data/" in info.filename]
    assert len(members) > 10
    for info in members[::7]:
        content = bytearray(state)
        # 30 bytes of header, the name, and the extra field, whose length stands at byte 28.
        extra = int.from_bytes(state[info.header_offset + 28 : info.header_offset + 30], "little")
        content[info.header_offset + 30 + len(info.filename) + extra] ^= 0x40
        path.write_bytes(content)
        with pytest.raises(CourseError, match=r"the checksum of .* differs|Bad CRC-32"):
            run(network(), checkpoint=path)


# Refusals.


def test_a_loss_that_is_not_finite_stops_with_epoch_and_step_and_keeps_the_last_good_state(tmp_path):
    calls = []

    def loss(logits, batch):
        calls.append(1)
        return logits.sum() * (float("nan") if len(calls) == 5 else 0.0)

    model = network()
    with pytest.raises(FloatingPointError, match="the loss is nan in epoch 2, step 2: lower max_lr"):
        run(model, loss=loss, checkpoint=tmp_path / "x.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]
    assert all(p.isfinite().all() for p in model.parameters())
    with pytest.raises(FloatingPointError, match="the loss is inf in epoch 1, step 1"):
        run(network(), loss=lambda logits, _: logits.sum() + float("inf"))


REFUSED = {
    "epochs": 0,
    "batch_size": 0,
    "max_lr": 0.0,
    "schedule": "linear",
    "optimizer": "adam",
    "views": 0,
    "weight_decay": -0.1,
    "label_smoothing": 1.0,
    "seed": -1,
    "average": 1.0,
}


@pytest.mark.parametrize(("name", "value"), REFUSED.items())
def test_a_recipe_out_of_range_is_refused_by_name_and_value(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
        Recipe(**{"epochs": 1, name: value})
    with pytest.raises(ValueError, match="max_lr"):
        Recipe(1, max_lr=float("nan"))


def test_an_empty_part_is_refused_before_anything_is_trained():
    nothing = TRAIN.subset(np.arange(0))
    with pytest.raises(ValueError, match="train must hold at least one image"):
        fit(network(), nothing, VALIDATION, RECIPE, progress=False)
    with pytest.raises(ValueError, match="validation must hold at least one image"):
        fit(network(), TRAIN, nothing, RECIPE, progress=False)


# Predictions.


@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_predictions_are_those_of_eval_mode_and_the_mode_comes_back(mode):
    model = network(dropout=0.5).train(mode)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    logits = predict_logits(model, TRAIN, batch_size=11)
    assert model.training is mode
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    with torch.no_grad():
        expected = model.eval()(TRAIN.batch(np.arange(48))[0])
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
    assert logits.shape == (48, 3)
    assert not logits.requires_grad
    assert not logits.is_inference()  # such tensors could not be targets of a loss


def test_the_mode_comes_back_after_an_error():
    model = network().train()
    model.classifier = nn.Linear(7, 3)
    with pytest.raises(RuntimeError):
        predict_logits(model, TRAIN)
    assert model.training


def test_accuracy_is_the_fraction_of_right_labels():
    class Constant(nn.Module):
        def forward(self, images):
            return torch.tensor([0.0, 1.0, 0.0]).expand(len(images), 3)

    assert model_accuracy(Constant(), colours(31)) == 10 / 31


# Layers that the caller froze.


def frozen_network():
    """In train mode, but for the second layer's BatchNorm, whose statistics must not move."""
    model = network().train()
    model.features[1][1].eval()
    return model


def test_a_frozen_batchnorm_keeps_its_statistics_and_the_others_move():
    model, before = frozen_network(), frozen_network()
    run(model, replace(RECIPE, epochs=2))
    assert torch.equal(model.features[1][1].running_mean, before.features[1][1].running_mean)
    assert not torch.equal(model.features[0][1].running_mean, before.features[0][1].running_mean)
    assert not model.training  # as documented: eval mode afterwards, all of it
    assert not any(module.training for module in model.modules())


def test_a_frozen_layer_is_frozen_in_every_epoch_and_after_a_resume(tmp_path):
    seen = []

    class Watching(CrossEntropy):
        def forward(self, logits, batch):
            seen.append([module.training for module in model.modules()].count(False))
            return super().forward(logits, batch)

    model = frozen_network()
    run(model, replace(RECIPE, epochs=2), loss=Watching(), checkpoint=tmp_path / "x.pt")
    assert seen == [1] * 6
    (tmp_path / "x.pt").unlink()
    with pytest.raises(KeyboardInterrupt):
        run(frozen_network(), loss=Stopping(4, interrupt), checkpoint=tmp_path / "x.pt")
    resumed, whole = frozen_network(), frozen_network()
    run(resumed, checkpoint=tmp_path / "x.pt")
    run(whole)
    assert same_weights(resumed, whole)


def test_a_network_in_eval_mode_is_trained_wholly():
    model, before = network().eval(), network()
    run(model, replace(RECIPE, epochs=1))
    assert not torch.equal(model.features[1][1].running_mean, before.features[1][1].running_mean)


# What the outside sees.


def test_the_loop_prints_nothing_without_progress(capfd):
    run(network(), replace(RECIPE, epochs=1))
    assert capfd.readouterr() == ("", "")


def test_curves_are_written_for_tensorboard(tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    run(network(), replace(RECIPE, epochs=2), log_dir=tmp_path / "log")
    (events,) = (tmp_path / "log").iterdir()
    assert events.name.startswith("events.out.tfevents")
    content = events.read_bytes()
    assert all(name in content for name in (b"validation_accuracy", b"loss", b"lr"))


def test_without_tensorboard_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(CourseError, match=r"TensorBoard is not installed\. Mend: pip install -e .*tensorboard"):
        run(network(), log_dir=tmp_path, loss=lambda *_: pytest.fail("training began"))
