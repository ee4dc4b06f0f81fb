"""The written C file computes what the NumPy engine computes, to the bit, and is clean C99 that needs nothing."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from course_lib.data.rendered import render_split
from course_lib.errors import CourseError
from course_lib.models import checkpoints
from course_lib.models.signs import SignTeacher
from course_lib.quantization import Affine, Codes
from course_lib.quantization.calibrated import ACTIVATION_CODES, quantize_network
from course_lib.quantization.integer import (
    HardwareFactor,
    IntegerNetwork,
    RuntimeFactor,
    c_program,
    c_source,
    code_lines,
    compile_c,
    find_compiler,
    footprint,
    integer_network,
    load_c,
    memory_plan,
    run_program,
    shift_half_even,
    significant,
)
from course_lib.quantization.integer.layers import (
    CodeRange,
    IntegerAdd,
    IntegerConcat,
    IntegerConvolution,
    IntegerFlatten,
    IntegerLayer,
)
from course_lib.quantization.integer.sums import RuntimeSum

ROUNDINGS = ("hardware", "runtime")
STRICT = ("-O1", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")
FAST = ("-O2", "-ftree-vectorize")
needs_compiler = pytest.mark.skipif(find_compiler() is None, reason="no C compiler here (cc, gcc or clang)")
CROSS, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64-static"


class Mixed(nn.Module):
    """Everything at once: odd sizes, strides, groups, depthwise, a sum, a concatenation, a flattening of positions."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, (2, 1), (1, 0)), nn.BatchNorm2d(6), nn.ReLU())
        self.depthwise = nn.Sequential(nn.Conv2d(6, 6, (3, 5), 1, (1, 2), groups=6, bias=False), nn.BatchNorm2d(6))
        self.grouped = nn.Conv2d(6, 10, (1, 3), 1, (0, 1), groups=2)
        self.wide = nn.Sequential(nn.Conv2d(16, 7, 2, 2), nn.ReLU())
        self.head = nn.Linear(7 * 3 * 2, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = (x + self.depthwise(x)).relu()
        return self.head(self.wide(torch.cat([self.grouped(x), x], 1)).flatten(1))


class Small(nn.Module):
    """A chain that ends in the global mean; ``dead``: a channel without weights, and one with a constant."""

    def __init__(self, dead: bool = False):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 3, 2, 1), nn.Conv2d(5, 8, 1)
        self.relu, self.pool, self.head = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)
        if dead:
            with torch.no_grad():
                self.first.weight[:2], self.first.bias[0], self.first.bias[1] = 0, 0, 0.5  # pyright: ignore

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.pool(self.second(self.relu(self.first(x))).relu()).flatten(1))


class ConvolutionLast(nn.Module):
    """The logits come from a convolution; the image goes around it into a sum."""

    def __init__(self):
        super().__init__()
        self.around, self.head = nn.Conv2d(3, 3, 3, 1, 1), nn.Conv2d(3, 4, (9, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.around(x)).flatten(1)


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "mixed": Mixed,
    "small": Small,
    "dead channels": lambda: Small(dead=True),
    "convolution last": ConvolutionLast,
}
SHAPE = (3, 9, 8)


def images(count: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


@cache
def small_network(name: str, rounding: str, codes: Codes = ACTIVATION_CODES) -> IntegerNetwork:
    torch.manual_seed(len(name))
    model = NETWORKS[name]().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2.0)
            nn.init.uniform_(module.running_var, 0.2, 2.0)  # pyright: ignore[reportArgumentType]
    calibration = torch.from_numpy(images(16, seed=1)).float() / 255
    return integer_network(
        quantize_network(model, calibration, activation_codes=codes),
        rounding=rounding,  # pyright: ignore[reportArgumentType]
        input_shape=SHAPE,
    )


def as_codes(network: IntegerNetwork, pictures: np.ndarray) -> np.ndarray:
    """Codes of the images' type and range."""
    low, high = network.input.low, network.input.high
    return (pictures.astype(int) * (high - low) // 255 + low).astype(network.input.dtype)


@cache
def shipped(name: str, rounding: str) -> IntegerNetwork:
    model, _ = checkpoints.load(name)
    calibration = torch.from_numpy(render_split("train", tracks=43, frames=1).images).float() / 255
    return integer_network(quantize_network(model, calibration), rounding=rounding)  # pyright: ignore


@cache
def shipped_source(name: str, rounding: str) -> str:
    return c_source(shipped(name, rounding))


@pytest.fixture(scope="module")
def signs() -> np.ndarray:
    return render_split("test", tracks=43, frames=1).images


def c_codes(network: IntegerNetwork, codes: np.ndarray, folder: Path, flags: tuple[str, ...] = FAST) -> np.ndarray:
    return load_c(compile_c(c_source(network), folder, flags=flags))(codes)


CODES = {"uint8": ACTIVATION_CODES, "int8": Codes(8), "int5": Codes(5), "uint3": Codes(3, signed=False)}


@needs_compiler
@pytest.mark.parametrize("codes", CODES.values(), ids=CODES.keys())
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_c_gives_the_engines_codes(name, rounding, codes, tmp_path):
    network = small_network(name, rounding, codes)
    pictures = as_codes(network, images(50))
    expected = network.logit_codes(pictures)
    found = c_codes(network, pictures, tmp_path, FAST if codes.bits == 8 else ("-O0",))  # of others only numbers differ
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found, expected)
    assert len(np.unique(expected)) > 2  # not all the same


@needs_compiler
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("name", ["student_rendered", "teacher_rendered"])
def test_c_gives_the_shipped_networks_codes(name, rounding, signs, tmp_path):
    network = shipped(name, rounding)
    some = signs if name.startswith("student") else signs[:8]
    library = load_c(compile_c(shipped_source(name, rounding), tmp_path, flags=FAST))
    expected = network.logit_codes(some)
    np.testing.assert_array_equal(library(some), expected)
    assert library.class_of(some) == expected.argmax(1).tolist()


@needs_compiler
@pytest.mark.parametrize("flags", [("-O0",), ("-O3", "-march=native"), ("-Os",)], ids=" ".join)
def test_the_codes_do_not_depend_on_the_compilers_flags(flags, tmp_path):
    for rounding in ROUNDINGS:
        network = small_network("mixed", rounding)
        np.testing.assert_array_equal(c_codes(network, images(10), tmp_path, flags), network.logit_codes(images(10)))


def test_a_file_holds_no_float_no_allocation_and_one_header():
    for name, rounding in [("mixed", "hardware"), ("mixed", "runtime"), ("dead channels", "hardware")]:
        source = c_source(small_network(name, rounding))
        bare = re.sub(r"/\*.*?\*/", "", source, flags=re.DOTALL)
        assert re.findall(r"#\s*include.*", bare) == ["#include <stdint.h>"]
        assert not re.search(r"\b(float|double|malloc|calloc|alloca|long|f?printf)\b|\d\.\d|//|\bgoto\b", bare)
        assert source.isascii()
        assert "\t" not in source


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("name", ["student_rendered", "teacher_rendered"])
def test_at_most_400_lines_stand_before_the_numbers(name, rounding):
    lines = code_lines(shipped_source(name, rounding))
    assert len(lines) <= 400
    assert max(map(len, lines)) <= 125
    text = "\n".join(lines)
    assert text.count("{") == text.count("}")
    assert "classify(const uint8_t *image, uint8_t *logits)\n{" in text


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_twice_as_many_layers_as_the_teachers_still_stay_within_400_lines(rounding):
    torch.manual_seed(0)
    model = SignTeacher(channels=(4, 6, 8), blocks=(6, 6, 6)).eval()
    calibration = torch.from_numpy(images(2, (3, 32, 32))).float() / 255
    deep = integer_network(quantize_network(model, calibration), rounding=rounding)  # pyright: ignore
    assert len(deep.layers) >= 2 * len(shipped("teacher_rendered", rounding).layers)
    lines = code_lines(c_source(deep))
    assert len(lines) <= 400
    assert max(map(len, lines)) <= 125


def only_linear(rounding: str) -> IntegerNetwork:
    """The small network's classifier on images of 8 channels and one pixel."""
    network = small_network("small", rounding)
    codes = network.layers[-2].output
    flat = IntegerFlatten("flat", ("images",), codes)
    head = dataclasses.replace(network.layers[-1], inputs=("flat",))
    return dataclasses.replace(network, input=codes, input_shape=(8, 1, 1), layers=(flat, head))


@needs_compiler
def test_a_linear_layer_multiplies_one_patch(tmp_path):
    """The classifier is the only layer: nothing that computes two positions is in its file."""
    network = only_linear("hardware")
    assert "products(" not in c_source(network)
    pictures = as_codes(network, images(50, (8, 1, 1)))
    np.testing.assert_array_equal(c_codes(network, pictures, tmp_path), network.logit_codes(pictures))


@needs_compiler
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_strictest_warnings_find_nothing(name, rounding, tmp_path):
    """Bytes are multiplied with -march=native (where this processor does it), 16 bits without."""
    for codes, flags in ((ACTIVATION_CODES, ()), (Codes(8), ("-march=native",))):
        source = c_source(small_network(name, rounding, codes))
        compile_c(source, tmp_path, flags=(*STRICT, *flags, "-DWITH_FACTS", "-c"), program=True)


@needs_compiler
def test_an_int_of_16_bits_stops_the_compilation(tmp_path):
    source, include = c_source(small_network("small", "hardware")), "#include <stdint.h>\n"
    compile_c(source, tmp_path, flags=("-O0",))
    with pytest.raises(CourseError, match=r"error.*int_has_32_bits"):
        compile_c(source.replace(include, f"{include}#define int short\n"), tmp_path, flags=("-O0", "-w"))


@needs_compiler
@pytest.mark.skipif(not (shutil.which("nm") and shutil.which("size")), reason="binutils are not here")
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_nothing_is_linked_but_what_the_head_comment_names(rounding, tmp_path):
    source = c_source(small_network("mixed", rounding))
    for level in ("-O2", "-Os"):
        footprint(source, tmp_path, flags=(level,))
    objects = list(tmp_path.glob("*.o"))
    assert len(objects) == 2
    for path in objects:
        told = subprocess.run(["nm", path], check=True, capture_output=True, text=True, timeout=60).stdout
        found = {line.split()[-2:][0] + " " + line.split()[-1].lstrip("_") for line in told.splitlines()}
        assert {symbol for symbol in found if symbol[0] == "U"} <= {"U memset", "U memcpy"}
        assert {symbol[2:] for symbol in found if symbol[0].isupper() and symbol[0] != "U"} == {"classify", "class_of"}


def sanitized(folder: Path) -> tuple[str, ...]:
    """Flags of the sanitizers, or a skip where the compiler's libraries for them are missing."""
    flags = ("-O0", "-g", "-fsanitize=undefined,address", "-fno-sanitize-recover=all")
    try:
        run = compile_c("int main(void) { return 0; }\n", folder, flags=flags, program=True)
        subprocess.run([run], check=True, timeout=60)
    except (CourseError, OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no sanitizers here ({error})")
    return flags


@needs_compiler
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_the_sanitizers_find_nothing_and_the_codes_are_the_engines(rounding, signs, tmp_path):
    flags = sanitized(tmp_path)
    pictures = np.concatenate([images(6), np.zeros((1, *SHAPE), np.uint8), np.full((1, *SHAPE), 255, np.uint8)])
    # Each network has signed codes in one rounding, unsigned ones in the other; that with all layers both in both.
    signed = [(name, (place + ROUNDINGS.index(rounding)) % 2 == 0) for place, name in enumerate(NETWORKS)]
    for name, is_signed in {*signed, ("mixed", True), ("mixed", False)}:
        network = small_network(name, rounding, Codes(8) if is_signed else ACTIVATION_CODES)
        given, offset = as_codes(network, pictures), 128 if is_signed else 0
        path = compile_c(c_source(network), tmp_path, flags=flags, program=True)
        found = run_program(path, given, offsets=(offset, offset))
        np.testing.assert_array_equal(found, network.logit_codes(given))
    network, given = only_linear(rounding), images(3, (8, 1, 1))  # reads the image to its end, and no byte more
    path = compile_c(c_source(network), tmp_path, flags=flags, program=True)
    np.testing.assert_array_equal(run_program(path, given), network.logit_codes(given))
    network = shipped("student_rendered", rounding)
    path = compile_c(shipped_source("student_rendered", rounding), tmp_path, flags=flags, program=True)
    np.testing.assert_array_equal(run_program(path, signs[:5]), network.logit_codes(signs[:5]))


@pytest.mark.skipif(not (shutil.which(CROSS) and shutil.which(EMULATOR)), reason=f"no {CROSS} or no {EMULATOR} here")
@pytest.mark.parametrize(("march", "rounding"), [("armv8-a", "runtime"), ("armv8.2-a+dotprod+i8mm", "hardware")])
def test_an_emulated_aarch64_gives_the_same_codes(march, rounding, signs, tmp_path):
    flags = (*FAST, f"-march={march}", "-static")
    cases = [(small_network("mixed", r), images(20)) for r in ROUNDINGS]
    cases += [(shipped("student_rendered", rounding), signs[:5])]
    for network, pictures in cases:
        path = compile_c(c_source(network), tmp_path, flags=flags, compiler=CROSS, program=True)
        found = run_program(path, pictures, runner=(EMULATOR, "-cpu", "max"))
        np.testing.assert_array_equal(found, network.logit_codes(pictures))


def one_layer(shifts: Sequence[int], *, bias: int = 0, rounding: str = "hardware") -> IntegerNetwork:
    """A convolution, 4 channels a shift with the factor 0.75 · 2^(−shift); accumulators from −9,000 to 9,000 + bias."""
    shift = np.repeat(np.array(shifts, np.int64), 4)
    weight = np.random.default_rng(0).integers(-12, 13, (len(shift), 1, 1, 3)).astype(np.int8)
    factor = HardwareFactor(np.full(len(shift), 3 << 29, np.int64), shift)
    read, made = CodeRange(0, 0, 255), CodeRange(100, 0, 255)
    layer = IntegerConvolution(
        "only", ("images",), made, weight, np.full(len(shift), bias, np.int32), read, factor, (1, 1), (0, 0), 1
    )
    flat = IntegerFlatten("flat", ("only",), made)
    logits = small_network("small", rounding).logits
    return IntegerNetwork(read, (3, 1, 1), (layer, flat), logits, rounding)  # pyright: ignore[reportArgumentType]


SHIFTS = (-30, -20, -7, -1, 0, 1, 2, 8, 15, 31)


@needs_compiler
@pytest.mark.parametrize("shifts", [SHIFTS, SHIFTS[4:-1]], ids=["all", "to the right"])
@pytest.mark.parametrize("bias", [3, -(2**30), 2**31 - 10_000])
def test_factors_above_one_and_far_below_are_exact_too(bias, shifts, tmp_path):
    network, pictures = one_layer(shifts, bias=bias), images(300, (3, 1, 1))
    np.testing.assert_array_equal(c_codes(network, pictures, tmp_path), network.logit_codes(pictures))
    narrow = bias < 2**30 and min(shifts) >= 0
    assert ("typedef int32_t steps" in c_source(network)) == narrow


def one_by_one(
    weight: list[list[int]], bias: np.ndarray, factor: RuntimeFactor, name: str = "only"
) -> IntegerConvolution:
    """A convolution of one pixel on the images, codes as they are."""
    codes, window = CodeRange(0, 0, 255), ((1, 1), (0, 0), 1)
    weights = np.array(weight, np.int8)[:, None, None, :]
    return IntegerConvolution(name, ("images",), CodeRange(100, 0, 255), weights, bias, codes, factor, *window)


def runtime_network(factor: RuntimeFactor, sums: np.ndarray, codes: CodeRange) -> IntegerNetwork:
    """These accumulators, whatever the image: each in a group alone, so that no neighbour asks for the exact way."""
    weight = np.zeros((len(sums), 1, 1, 2), np.int8)
    read, window = CodeRange(0, 0, 255), ((1, 1), (0, 0), len(sums))
    layer = IntegerConvolution("only", ("images",), codes, weight, sums.astype(np.int32), read, factor, *window)
    layers = (layer, IntegerFlatten("flat", ("only",), codes))
    return IntegerNetwork(read, (2 * len(sums), 1, 1), layers, some_logits(), "runtime")


def hard_accumulators(bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sums beyond 24 bits (``bits`` = 25) or not (24), multipliers and shifts, results in 128 … 255, near a half.

    Of 25 bits: the sum's own rounding and the product's go the same way, and move the product by more than 2^(shift −
    16), the most that one of them can.
    """
    base, half, aside = np.meshgrid(np.arange(1, 400), np.arange(128, 255) + 0.5, [-1, 0, 1])
    sums, shift = (1 << (bits - 1)) + base.ravel(), np.full(base.size, bits + 15)
    multiplier = np.round(half.ravel() * 2.0**shift / sums).astype(np.int64) + aside.astype(np.int64).ravel()
    product = sums * multiplier
    alone, exact = shift_half_even(product, shift), shift_half_even(significant(significant(sums) * multiplier), shift)
    apart = np.abs((product & ((1 << shift) - 1)) - (1 << (shift - 1)))
    some = (alone != exact) & ((apart > 1 << (shift - 16)) if bits > 24 else True) & (np.maximum(alone, exact) <= 255)
    return sums[some][:60], multiplier[some][:60], shift[some][:60]


@needs_compiler
def test_the_runtimes_roundings_are_all_made_where_one_alone_gives_another_code(tmp_path):
    halves, parts = np.arange(1, 51, 2), [hard_accumulators(25), hard_accumulators(24)]  # halves: times a half
    assert min(len(sums) for sums, _, _ in parts) >= 3
    parts.append((halves, np.full(len(halves), 1 << 23), np.full(len(halves), 24)))
    sums, multiplier, shift = (np.concatenate(each) for each in zip(*parts, strict=True))
    for sign, zero in ((1, 0), (-1, 255)):
        network = runtime_network(RuntimeFactor(multiplier, shift), sign * sums, CodeRange(zero, 0, 255))
        blank = np.zeros((1, *network.input_shape), np.uint8)
        np.testing.assert_array_equal(c_codes(network, blank, tmp_path, ("-O0",)), network.logit_codes(blank))


@needs_compiler
def test_the_runtimes_sum_is_exact_on_all_pairs_of_codes(tmp_path):
    """Half of them are halves; with other pairs of scales, 24 bits are too few for some sums."""
    same = RuntimeFactor(np.full(1, 1 << 23, np.int64), np.full(1, 23, np.int64))
    pairs = np.stack(np.meshgrid(np.arange(256), np.arange(256)))[None].astype(np.uint8)  # (1, 2, 256, 256)
    rng, zero = np.random.default_rng(1), np.zeros(1, np.int32)
    scales = np.vstack([[0.5, 0.25, 1], rng.uniform(0.01, 1, (11, 3))]).astype(np.float32)
    totals = [RuntimeSum.of(a, 3, b, 10, c, 7) for a, b, c in scales]
    sides = [dataclasses.replace(one_by_one([w], zero, same, n), output=CodeRange(0, 0, 255)) for w, n in SIDES]
    codes, names = CodeRange(7, 0, 255), tuple(f"sum {i}" for i in range(len(totals)))
    sums = [IntegerAdd(name, ("a", "b"), codes, total) for name, total in zip(names, totals, strict=True)]
    together = IntegerConcat("all", names, codes, tuple(np.arange(256, dtype=np.uint8) for _ in names))
    layers = (*sides, *sums, together, IntegerFlatten("flat", ("all",), codes))
    network = IntegerNetwork(CodeRange(0, 0, 255), (2, 256, 256), layers, some_logits(), "runtime")
    expected = network.logit_codes(pairs)
    np.testing.assert_array_equal(c_codes(network, pairs, tmp_path), expected)
    a, b = pairs[0].astype(np.int64).reshape(2, -1)
    alone = [shift_half_even(a * t.ratio_a + b * t.ratio_b + t.fixed, t.shift) for t in totals]
    assert np.count_nonzero(np.clip(np.concatenate(alone), 0, 255) != expected[0]) > 0


@needs_compiler
def test_the_first_of_equal_logits_is_the_class(tmp_path):
    network = one_layer([1], bias=2**30)  # all at the upper end
    library = load_c(compile_c(c_source(network), tmp_path, flags=FAST))
    assert library.class_of(images(3, (3, 1, 1))) == [0, 0, 0]


SIDES = [([1, 0], "a"), ([0, 1], "b")]


def some_logits() -> Affine:
    """Scale and zero point of logits, which no code needs."""
    return small_network("small", "runtime").logits


NAMES = ["*/ int broken; /*", 'quote " \\', "line\nbreak", "// ??/", "Straße", "%s%n", "a*//b"]


@needs_compiler
@pytest.mark.parametrize("name", NAMES)
def test_a_layers_name_or_a_title_cannot_leave_its_comment(name, tmp_path):
    network = small_network("small", "hardware")
    last = dataclasses.replace(network.layers[-1], name=name)
    named = dataclasses.replace(network, layers=(*network.layers[:-1], last))
    source = c_source(named, title=name)
    library = load_c(compile_c(source, tmp_path, flags=("-O0", *STRICT[1:])))
    np.testing.assert_array_equal(library(images(5)), network.logit_codes(images(5)))
    assert source.count("*/") == c_source(network).count("*/")


def test_a_layer_without_c_code_is_named():
    class Swish(IntegerLayer):
        pass

    network = small_network("small", "hardware")
    strange = Swish("features.3", (network.layers[-1].name,), CodeRange(0, 0, 255))
    with pytest.raises(ValueError, match=r"no C code is known for Swish \(features\.3\)"):
        c_source(dataclasses.replace(network, layers=(*network.layers, strange)))


def test_a_strange_factor_is_named():
    network = small_network("small", "hardware")
    first = dataclasses.replace(network.layers[0], rescale=lambda sums: sums)  # pyright: ignore[reportCallIssue]
    with pytest.raises(ValueError, match="factor function of first"):
        c_source(dataclasses.replace(network, layers=(first, *network.layers[1:])))


def test_logits_must_be_one_vector():
    network = small_network("small", "hardware")
    with pytest.raises(ValueError, match="second, must give one vector"):
        c_source(dataclasses.replace(network, layers=network.layers[:2]))


def test_an_accumulator_that_unsigned_codes_overflow_is_refused():
    """Signed codes reach 128 and unsigned ones 255: a bound that holds for the one may not hold for the other."""
    network = small_network("small", "hardware", Codes(8))
    first = network.layers[0]
    assert isinstance(first, IntegerConvolution)
    rows = np.abs(first.weight.astype(np.int64)).reshape(5, -1).sum(1)
    sums = first.weight.reshape(5, -1).astype(np.int64).sum(1)
    bias = 2**31 - 1 - 128 * rows + first.input.zero * sums  # as large as the engine allows
    at_limit = dataclasses.replace(first, bias=bias.astype(np.int32))
    with pytest.raises(ValueError, match="with unsigned codes the accumulator of first can reach"):
        c_source(dataclasses.replace(network, layers=(at_limit, *network.layers[1:])))


@needs_compiler
@pytest.mark.skipif(shutil.which("size") is None, reason="binutils' size is not here")
@pytest.mark.parametrize("name", ["small", "mixed"])
def test_the_planned_memory_is_what_the_compiler_reports(name, tmp_path):
    network = small_network(name, "hardware")
    needs = footprint(c_source(network), tmp_path, flags=("-O2",))
    assert needs.ram_bytes in {memory_plan(network).ram_bytes(lane) for lane in (1, 2)}
    weights = sum(layer.weight.nbytes for layer in network.layers if isinstance(layer, IntegerConvolution))
    assert weights < needs.flash_bytes < 100_000


def test_the_teachers_memory_is_one_residual_block():
    plan = memory_plan(shipped("teacher_rendered", "hardware"))
    assert plan.arena.size == plan.arena.most_alive == 3 * 32 * 32 * 32  # input, middle, branch


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_the_head_comment_tells_the_memory_with_and_without_products_of_bytes(rounding):
    network = small_network("mixed", rounding)
    wide, narrow = (memory_plan(network).ram_bytes(lane) for lane in (2, 1))
    told = c_source(network).partition("*/")[0]
    assert narrow < wide
    assert f"Static memory: {wide:,} bytes, or {narrow:,} where bytes are multiplied" in told


def test_no_compiler_is_one_line_with_the_mend(monkeypatch, tmp_path):
    monkeypatch.setattr(c_program.shutil, "which", lambda name: None)
    assert find_compiler() is None
    for act in (lambda: compile_c("", tmp_path), lambda: footprint("", tmp_path)):
        with pytest.raises(CourseError, match=r"no C compiler here.*Mend: .*apt install gcc"):
            act()


@needs_compiler
def test_a_compilers_complaint_is_told(tmp_path):
    with pytest.raises(CourseError, match=r"network_\w+\.c: .* failed with 1: .*error"):
        compile_c("int broken(;\n", tmp_path)


@needs_compiler
def test_a_compiler_that_hangs_is_stopped(monkeypatch, tmp_path):
    monkeypatch.setattr("course_lib.measure.compiler.TIMEOUT_S", 0.001)
    with pytest.raises(CourseError, match="stopped after"):
        compile_c(c_source(small_network("mixed", "hardware")), tmp_path)


def test_what_is_no_compiled_network_is_refused(tmp_path):
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(CourseError, match="not a compiled network"):
        load_c(tmp_path / "text.so")
    with pytest.raises(CourseError, match="not a compiled network"):
        load_c(tmp_path / "missing.so")


@needs_compiler
def test_a_library_without_a_network_is_refused(tmp_path):
    with pytest.raises(CourseError, match="not a compiled network"):
        load_c(compile_c("int x;\n", tmp_path))


@pytest.fixture
def library(tmp_path) -> c_program.CNetwork:
    return load_c(compile_c(c_source(small_network("small", "hardware")), tmp_path, flags=FAST))


@needs_compiler
def test_images_of_another_type_or_shape_are_refused(library):
    for wrong in (images(2).astype(np.float32), images(2).astype(np.int8), images(2, (3, 8, 9)), images(2)[0]):
        for call in (library, library.one, library.class_of):
            with pytest.raises(ValueError, match=r"codes must be uint8 \(N, 3, 9, 8\), got"):
                call(wrong)


@needs_compiler
def test_no_image_gives_no_logits_and_strides_do_not_matter(library):
    assert library(images(0)).shape == (0, 4)
    pictures = images(4)
    np.testing.assert_array_equal(library(pictures[::-1, :, ::-1]), library(pictures[::-1, :, ::-1].copy()))


@needs_compiler
def test_a_timed_call_computes_and_its_arrays_stay_alive(library):
    call = library.one(images(1))
    call()
    logits = call.__defaults__[0][1]  # pyright: ignore
    np.testing.assert_array_equal(logits, library(images(1))[0])
