"""torchvision imports and works, with its own operators or without them."""

from __future__ import annotations

import pytest


def test_torchvision_models_and_transforms_work_after_the_import(run_python):
    result = run_python(
        """
        from course_lib.data import torchvision_compat
        import torch, torchvision
        from torchvision.transforms import v2
        logits = torchvision.models.resnet18(weights=None).eval()(torch.zeros(1, 3, 32, 32))
        assert logits.shape == (1, 1000)
        shrink = v2.Compose([v2.Resize(16), v2.ToDtype(torch.float32, scale=True)])
        small = shrink(torch.zeros(3, 32, 32, dtype=torch.uint8))
        assert small.shape == (3, 16, 16) and small.dtype == torch.float32
        from torchvision import datasets, tv_tensors
        """
    )
    assert result.returncode == 0, result.stderr


def test_an_extension_that_cannot_load_is_replaced_by_declarations(tmp_path, run_python):
    broken = tmp_path / "_C.so"
    broken.write_bytes(b"not a shared library")
    result = run_python(
        f"""
        import pathlib, torch
        import course_lib.data.torchvision_compat as compat
        if compat.HAS_COMPILED_OPS:  # in this process they are loaded for good
            raise SystemExit(77)
        assert not compat._load(pathlib.Path({str(broken)!r}))
        import torchvision
        try:
            torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
        except NotImplementedError as error:
            assert "torchvision::nms" in str(error), error
        else:
            raise AssertionError("an operator without an implementation answered")
        """
    )
    if result.returncode == 77:
        pytest.skip("torchvision's compiled operators load here")
    assert result.returncode == 0, result.stderr


def test_nothing_is_declared_where_the_extension_loads(run_python):
    result = run_python(
        """
        import torch
        # Stands for torchvision's own _C.so: loading it registers the operators.
        own = torch.library.Library("torchvision", "DEF")
        loaded = []
        def load_library(path):
            loaded.append(path)
            for name in ("nms", "qnms"):
                own.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torch.ops.load_library = load_library
        import course_lib.data.torchvision_compat as compat
        assert compat.HAS_COMPILED_OPS and compat._declarations is None
        assert len(loaded) == 1 and loaded[0].name.startswith("_C")
        assert compat.ensure_importable() and compat._declarations is None
        """
    )
    assert result.returncode == 0, result.stderr


def test_it_also_does_nothing_after_torchvision_was_imported_with_it(run_python):
    result = run_python(
        """
        from course_lib.data import torchvision_compat
        import torchvision
        first = torchvision_compat._declarations
        assert torchvision_compat.ensure_importable() == torchvision_compat.HAS_COMPILED_OPS
        assert torchvision_compat._declarations is first
        """
    )
    assert result.returncode == 0, result.stderr


def test_a_missing_torchvision_is_named(run_python):
    result = run_python(
        """
        import importlib.util
        importlib.util.find_spec = lambda name: None
        from course_lib.data import torchvision_compat
        """
    )
    assert result.returncode == 1
    assert "ModuleNotFoundError: torchvision is not installed" in result.stderr
