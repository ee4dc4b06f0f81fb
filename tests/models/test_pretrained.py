"""Weights from elsewhere are checked before they are opened; the normalization is the network's own first layer."""

from __future__ import annotations

import hashlib
import pickle

import pytest
import torch
from torch import nn

from course_lib.errors import CourseError
from course_lib.models import pretrained
from course_lib.models.pretrained import DEVIATION, MEAN, mobilenet_v2, verified, with_normalization


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file of random weights of the right architecture, known by its sum."""
    from torchvision.models import mobilenet_v2 as build

    torch.manual_seed(0)
    path = tmp_path / pretrained.FILE
    torch.save(build(weights=None).state_dict(), path)
    monkeypatch.setattr(pretrained, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(pretrained.verified, "__defaults__", (pretrained.SHA256,))
    return path


def test_the_network_is_torchvisions_behind_its_normalization(weights):
    from torchvision.models import mobilenet_v2 as build
    from torchvision.transforms.v2.functional import normalize

    theirs = build(weights=None)
    theirs.load_state_dict(torch.load(weights, weights_only=True))
    model = mobilenet_v2(weights)
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = theirs.eval()(normalize(images, list(MEAN), list(DEVIATION)))
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
    assert not model.training
    assert sum(p.numel() for p in model.network.parameters()) == 3_504_872


def test_it_is_read_layer_by_layer_with_its_ceilings(weights):
    from course_lib.quantization.graph import Weighted, layer_graph

    graph = layer_graph(mobilenet_v2(weights))
    weighted = [layer for layer in graph.layers if isinstance(layer, Weighted)]
    assert len(weighted) == 1 + 52 + 1
    assert sum(layer.ceiling == 6 for layer in weighted) == 35
    assert sum(type(layer).__name__ == "Add" for layer in graph.layers) == 10


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('opened')",))


def test_a_wrong_file_is_refused_with_both_sums_before_it_is_opened(tmp_path):
    path = tmp_path / pretrained.FILE
    path.write_bytes(pickle.dumps(Bomb()))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(CourseError, match=rf"SHA-256 {found} instead of {pretrained.SHA256}.*was not opened"):
        mobilenet_v2(path)


def test_a_known_sum_does_not_let_code_run(tmp_path, monkeypatch):
    path = tmp_path / pretrained.FILE
    path.write_bytes(pickle.dumps(Bomb()))
    monkeypatch.setattr(pretrained, "verified", lambda given: given)
    with pytest.raises(pickle.UnpicklingError):
        mobilenet_v2(path)


def test_one_changed_byte_is_found(weights):
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CourseError, match="not the weights that are known here"):
        verified(weights)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CourseError, match=r"nothing.pth: no such file of weights"):
        mobilenet_v2(tmp_path / "nothing.pth")


def test_a_download_that_fails_names_the_file_to_bring(monkeypatch):
    import torchvision.models

    def offline(*, weights: object) -> nn.Module:
        raise OSError("no route to host")

    monkeypatch.setattr(torchvision.models, "mobilenet_v2", offline)
    with pytest.raises(CourseError, match=r"could not download mobilenet_v2-b0353104.pth \(no route to host\).*Mend"):
        mobilenet_v2()


def test_the_pinned_sum_begins_as_the_files_name_says():
    assert pretrained.SHA256.startswith(pretrained.FILE.removesuffix(".pth").rpartition("-")[2])
    assert len(pretrained.SHA256) == 64


def test_padding_stays_the_mean_colour():
    # Folding the normalization into a padded convolution would make the border black instead.
    convolution = nn.Conv2d(3, 1, 3, padding=1, bias=False)
    model = with_normalization(convolution)
    images = torch.tensor(MEAN).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert model(images).abs().max() < 1e-5
