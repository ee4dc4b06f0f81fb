"""Chapter 17's exercises ask for what the library does."""

from __future__ import annotations

import numpy as np
import pytest

from course_lib.deploy.edge import BOARDS, predict
from course_lib.deploy.edge.copying import KitFile, _continued, _missing
from course_lib.deploy.edge.results import Results
from course_lib.exercises.chapter_17 import battery, network_ms, reasons, signed_codes, to_send
from course_lib.exercises.chapter_17.sendings import sha256_of
from course_lib.measure import LayerCount
from course_lib.quantization.tensorrt import SIGNED

MARKS = {
    "emulated": "emulated machine",
    "fell back": "provider fell back",
    "disagree": "outputs disagree",
    "clocks": "clocks changed",
}


PLACES = [("nano", "onnxruntime", "fp32"), ("nano", "tensorrt", "fp16"), ("orin_nano", "tensorrt", "int8")]


@pytest.mark.parametrize(("board", "runtime", "precision"), PLACES)
def test_times_are_those_that_the_library_predicts(sets, board, runtime, precision):
    bits = {"fp32": 32, "fp16": 16, "int8": 8}[precision]
    peak, bandwidth = BOARDS[board].peak(runtime, precision).value, BOARDS[board].bandwidth.value
    for layers, _, _, _, start_us in sets("17.1"):
        counts = {str(i): LayerCount(str(i), "Conv", w, m, (), 4 * w, 4 * a) for i, (m, w, a) in enumerate(layers)}
        found = predict(counts, BOARDS[board], runtime, precision=precision, overhead_us=start_us)
        for answer in (network_ms.network_ms, network_ms.in_full):
            assert answer(layers, bits, peak, bandwidth, start_us) == pytest.approx((found.compute_ms, found.ms))


def test_a_battery_s_energy_is_that_of_its_busy_and_its_idle_time(sets):
    for idle_mw, busy_mw, ms, per_second, watt_hours in sets("17.2"):
        extra, pictures = battery.battery(idle_mw, busy_mw, ms, per_second, watt_hours)
        assert battery.in_full(idle_mw, busy_mw, ms, per_second, watt_hours) == pytest.approx((extra, pictures))
        seconds = pictures / per_second
        busy_s = pictures * ms / 1000
        assert busy_s <= seconds * (1 + 1e-9)
        joules = (busy_s * np.mean(busy_mw) + (seconds - busy_s) * np.mean(idle_mw)) / 1000
        assert joules == pytest.approx(3600 * watt_hours)
        assert extra == pytest.approx(np.mean(busy_mw) * ms / 1000 - np.mean(idle_mw) * ms / 1000)


def test_the_codes_in_use_are_those_that_rounding_reaches(sets):
    for scale, zero_point in sets("17.3", draws=100):
        new, used = signed_codes.signed_codes(scale, zero_point)
        values = scale * (np.linspace(0, 255, 25_501) - zero_point)
        codes = np.rint(values / new)
        assert (np.abs(codes).max(), len(np.unique(codes))) == (SIGNED.high, used)
        assert SIGNED.low == -SIGNED.high


def test_no_end_lies_halfway_between_two_codes(sets):
    for scale, zero_point in sets("17.3", draws=100):
        new, _ = signed_codes.signed_codes(scale, zero_point)
        ends = scale * np.array([-zero_point, 255 - zero_point]) / new
        assert np.abs(ends % 1 - 0.5).min() > 1e-3


def test_reasons_are_the_marks_that_the_library_gives(sets):
    for row, emulated in sets("17.4", draws=100):
        words = reasons.reasons(row, emulated)
        assert reasons.in_full(row, emulated) == words
        states = {at: {"cpu_khz": row[at], "cpu_limits_khz": [], "governors": []} for at in ("before", "after")}
        full = {**row, "state": states, "runtime": "onnxruntime", "provider_asked": row["asked"]}
        marks = Results("", {"device": {"emulated": emulated}}).refusals(full)
        assert {MARKS[word] for word in words if word != "unfinished"} == set(marks)
        assert ("unfinished" in words) == (row["error"] is not None)


def test_what_travels_is_what_the_library_sends(sets, tmp_path):
    for number, (files, there, parts) in enumerate(sets("17.5", draws=60)):
        folder = tmp_path / str(number)
        folder.mkdir()
        kit = []
        for name in sorted(files, key=lambda name: (name == "manifest.json", name)):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(files[name])
            kit.append(KitFile(name, folder / name, len(files[name]), sha256_of(files[name])))
        known = {name: digest for name, digest in there.items() if name in files}
        lengths = {name: len(files[name]) if sha256_of(files[name]) == digest else 0 for name, digest in known.items()}
        here = {"files": {name: [lengths[name], digest] for name, digest in known.items()}}
        expected = [
            (file.name, _continued(file, list(parts.get(file.name, ())) or None)) for file in _missing(kit, here)
        ]
        assert to_send.to_send(files, there, parts) == expected
        assert to_send.in_full(files, there, parts) == expected
