"""The settings that imitate other processors take effect in a process that is started with them."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys

import pytest

from course_lib.publishing import settings
from course_lib.publishing.settings import ALL, AUTHOR, COMPARED, TEST, Setting

X86 = platform.machine().lower() in ("x86_64", "amd64")
ASK = """
import json, numpy, torch
torch.manual_seed(0)
a, b = torch.rand(200, 333), torch.rand(333, 150)
print(json.dumps({
    "capability": torch.backends.cpu.get_cpu_capability(),
    "threads": torch.get_num_threads(),
    "numpy": numpy.show_config(mode="dicts")["SIMD Extensions"].get("found", []),
    "product": (a @ b).double().sum().item(),
}))
"""


def answers(setting: Setting) -> dict:
    """What a process under ``setting`` says of itself; this process's own variables would say something else."""
    strange = {"ATEN_CPU_CAPABILITY": "avx512", "OMP_NUM_THREADS": "7", "MKL_NUM_THREADS": "7"}
    environment = setting.environment(os.environ | strange)
    found = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    return json.loads(found.stdout)


@pytest.fixture(scope="module")
def asked() -> dict[str, dict]:
    return {setting.name: answers(setting) for setting in (AUTHOR, Setting("avx2", 2), Setting("plainest", 1))}


def test_plainest_kernels_are_the_plainest_of_pytorch(asked):
    assert asked["plainest-1"]["capability"] == "DEFAULT"


def test_plainest_kernels_take_numpys_optional_instructions_away(asked):
    assert asked["plainest-1"]["numpy"] == []


@pytest.mark.skipif(not X86, reason="AVX2 is an instruction set of x86")
def test_avx2_allows_no_avx512(asked):
    assert asked["avx2-2"]["capability"] in ("AVX2", "DEFAULT")
    assert not [name for name in asked["avx2-2"]["numpy"] if "V4" in name or "AVX512" in name]


def test_each_setting_has_its_number_of_threads_whatever_was_exported(asked):
    assert {name: found["threads"] for name, found in asked.items()} == {"best-1": 1, "avx2-2": 2, "plainest-1": 1}


@pytest.mark.skipif(not X86, reason="MKL's switch exists on x86 only")
def test_a_matrix_product_rounds_differently_with_the_plainest_kernels(asked):
    # Without this the comparison would compare one processor with itself.
    assert asked["best-1"]["product"] != asked["plainest-1"]["product"]


def test_a_page_is_compared_under_three_settings_with_one_thread_and_two_and_tested_under_none_of_the_authors():
    assert COMPARED[0] == AUTHOR
    assert len(set(COMPARED)) >= 3
    assert {setting.threads for setting in COMPARED} == {1, 2}
    assert {setting.kernels for setting in COMPARED} == set(settings.KERNELS)
    assert TEST != AUTHOR
    assert len({setting.name for setting in ALL}) == 6


def test_make_test_gets_these_settings_and_leaves_the_learners_progress_alone():
    variables = settings.make_test_variables()
    assert variables.items() >= TEST.variables().items()
    assert variables["COURSE_PROGRESS"] == "off"


def test_the_environment_keeps_what_is_no_setting():
    environment = Setting("best", 1).environment({"HOME": "somewhere", "MKL_CBWR": "COMPATIBLE"})
    assert environment["HOME"] == "somewhere"
    assert "MKL_CBWR" not in environment


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fastest", 1), "kernels must be one of best, avx2, plainest, got 'fastest'"),
        (("best", 0), "at least 1, got 0"),
    ],
)
def test_a_setting_that_does_not_exist_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Setting(*arguments)
