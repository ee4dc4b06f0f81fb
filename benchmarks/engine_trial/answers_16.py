"""Wrong answers to chapter 16."""

from __future__ import annotations

import math

import numpy as np

from course_lib.exercises.chapter_16.agreement import agreement
from course_lib.exercises.chapter_16.faults_of_a_comparison import faults
from course_lib.exercises.chapter_16.latency_and_throughput import latency_and_throughput
from course_lib.exercises.chapter_16.line_and_batch import largest_batch
from course_lib.exercises.chapter_16.waiting_in_line import waits_at_servers
from engine_trial.answers import Answers

LINE: Answers = {
    "batch_alone": lambda batches, times, deadline: largest_batch(batches, times, deadline)[2],
    "strictly_below": lambda batches, times, deadline: (
        *largest_batch(batches, times, deadline)[:2],
        max(0, largest_batch(batches, times, deadline)[2] - 1),
    ),
    "fitted_to_sorted_times": lambda batches, times, deadline: largest_batch(batches, sorted(times), deadline),
    "weighted_by_batch": lambda batches, times, deadline: (
        *(line := np.polyfit(batches, times, 1, w=batches)[::-1]),
        max(0, math.floor((deadline - line[0]) / line[1])),
    ),
    "rounded_to_two_digits": lambda batches, times, deadline: (
        *(round(x, 2) for x in largest_batch(batches, times, deadline)[:2]),
        largest_batch(batches, times, deadline)[2],
    ),
    "each_batch_once": lambda batches, times, deadline: largest_batch(
        list(dict(zip(batches, times, strict=True))), list(dict(zip(batches, times, strict=True)).values()), deadline
    ),
    "power_of_two": lambda batches, times, deadline: (
        *largest_batch(batches, times, deadline)[:2],
        2 ** int(math.log2(max(1, largest_batch(batches, times, deadline)[2]))),
    ),
    "not_floored": lambda batches, times, deadline: (
        *(line := largest_batch(batches, times, deadline)[:2]),
        max(0, (deadline - line[0]) / line[1]),
    ),
}


def warmup_deleted(times_ms, batch, warmup):
    del times_ms[:warmup]
    return latency_and_throughput(times_ms, batch, 0)


TIMES: Answers = {
    "warmup_deleted_from_the_list": warmup_deleted,
    "one_more_dropped": lambda times, batch, warmup: latency_and_throughput(times, batch, warmup + 1),
    "p99": lambda times, batch, warmup: (
        latency_and_throughput(times, batch, warmup)[0],
        float(np.percentile(times[warmup:], 99)),
        latency_and_throughput(times, batch, warmup)[2],
    ),
    "upper_middle": lambda times, batch, warmup: (
        sorted(times[warmup:])[len(times[warmup:]) // 2],
        *latency_and_throughput(times, batch, warmup)[1:],
    ),
    "in_seconds": lambda times, batch, warmup: (
        *(ms / 1000 for ms in latency_and_throughput(times, batch, warmup)[:2]),
        latency_and_throughput(times, batch, warmup)[2],
    ),
    "rounded": lambda times, batch, warmup: tuple(round(x, 1) for x in latency_and_throughput(times, batch, warmup)),
    "throughput_of_the_fastest": lambda times, batch, warmup: (
        *latency_and_throughput(times, batch, warmup)[:2],
        1000 * batch / min(times[warmup:]),
    ),
    "throughput_of_p95": lambda times, batch, warmup: (
        *latency_and_throughput(times, batch, warmup)[:2],
        1000 * batch / latency_and_throughput(times, batch, warmup)[1],
    ),
    "an_image_counts_once": lambda times, batch, warmup: (
        *latency_and_throughput(times, batch, warmup)[:2],
        1000 * len(times[warmup:]) / sum(times[warmup:]),
    ),
}
AGREEMENT: Answers = {
    "share_alone": lambda found, expected: agreement(found, expected)[0],
    "turned_round": lambda found, expected: agreement(expected, found),
    "error_of_the_classes": lambda found, expected: (
        agreement(found, expected)[0],
        1 - agreement(found, expected)[0],
    ),
    "top_two": lambda found, expected: (
        float(np.mean([e in np.argsort(-f)[:2] for f, e in zip(found, expected.argmax(1), strict=True)])),
        agreement(found, expected)[1],
    ),
    "each_image_by_its_largest": lambda found, expected: (
        agreement(found, expected)[0],
        agreement(found, expected)[1]
        if math.isinf(agreement(found, expected)[1])
        else float((np.abs(found - expected).max(1) / np.abs(expected).max(1)).max()),
    ),
    "range_for_size": lambda found, expected: (
        agreement(found, expected)[0],
        agreement(found, expected)[1]
        if math.isinf(agreement(found, expected)[1])
        else float(np.abs(found - expected).max() / np.ptp(expected)),
    ),
    "nan_as_zero": lambda found, expected: agreement(np.nan_to_num(found), np.nan_to_num(expected)),
    "no_agreement_at_all_with_a_nan": lambda found, expected: (
        (0.0, math.inf) if np.isnan(found).any() or np.isnan(expected).any() else agreement(found, expected)
    ),
    "root_mean_square": lambda found, expected: (
        agreement(found, expected)[0],
        agreement(found, expected)[1]
        if math.isinf(agreement(found, expected)[1])
        else float(np.sqrt(((found - expected) ** 2).mean() / (expected**2).mean())),
    ),
}


def two_lines(arrivals, services, servers):
    waits = [0.0] * len(arrivals)
    for first in range(servers):
        own = waits_at_servers(arrivals[first::servers], services[first::servers], 1)
        waits[first::servers] = own
    return waits


WAITS: Answers = {
    "a_line_for_each_server": two_lines,
    "one_server_too_many": lambda arrivals, services, servers: waits_at_servers(arrivals, services, servers + 1),
    "at_most_two_servers": lambda arrivals, services, servers: waits_at_servers(arrivals, services, min(servers, 2)),
    "shortest_first": lambda arrivals, services, servers: waits_at_servers(arrivals, sorted(services), servers),
    "divided_by_servers": lambda arrivals, services, servers: [
        wait / servers for wait in waits_at_servers(arrivals, services, 1)
    ],
    "whole_units": lambda arrivals, services, servers: [
        round(wait) for wait in waits_at_servers(arrivals, services, servers)
    ],
    "counted_from_the_first_arrival": lambda arrivals, services, servers: waits_at_servers(
        [arrival - 2 * arrivals[0] for arrival in arrivals][:1] + arrivals[1:], services, servers
    ),
    "waits_add_up": lambda arrivals, services, servers: np.cumsum(
        waits_at_servers(arrivals, services, servers)
    ).tolist(),
    "no_services_of_zero": lambda arrivals, services, servers: waits_at_servers(
        arrivals, [max(service, 0.1) for service in services], servers
    ),
}


def popped(a, b, ratio, aa):
    found = faults(a, b, ratio, aa)
    a.pop("cadence")
    return found


FAULTS: Answers = {
    "a_set": lambda a, b, ratio, aa: set(faults(a, b, ratio, aa)),
    "a_record_changed": popped,
    "text": lambda a, b, ratio, aa: ", ".join(faults(a, b, ratio, aa)),
    "warmup_of_at_least_ten": lambda a, b, ratio, aa: [
        name
        for name in ("warm-up", *faults(a, b, ratio, aa))
        if name != "warm-up" or min(a["warmup"], b["warmup"]) < 10
    ],
    "only_train_is_wrong_in_both": lambda a, b, ratio, aa: [
        name for name in faults(a, b, ratio, aa) if name != "train mode" or a["mode"] == b["mode"]
    ],
    "no_batch": lambda a, b, ratio, aa: [name for name in faults(a, b, ratio, aa) if name != "batch"],
    "no_threads": lambda a, b, ratio, aa: [name for name in faults(a, b, ratio, aa) if name != "threads"],
    "no_autograd": lambda a, b, ratio, aa: [name for name in faults(a, b, ratio, aa) if name != "autograd"],
    "aa_within_five_per_cent": lambda a, b, ratio, aa: [
        *(name for name in faults(a, b, ratio, aa) if name != "A/A"),
        *(["A/A"] if aa[0] < 0.95 or aa[1] > 1.05 else []),
    ],
    "minimum_is_fine": lambda a, b, ratio, aa: [
        name
        for name in faults(a, b, ratio, aa)
        if name != "statistic" or not {a["statistic"], b["statistic"]} <= {"median", "minimum"}
    ],
    "calls_added_up": lambda a, b, ratio, aa: [
        name for name in faults(a, b, ratio, aa) if name != "few calls" or a["calls"] + b["calls"] < 30
    ],
}
WRONG = {"16.1": LINE, "16.2": TIMES, "16.3": AGREEMENT, "16.4": WAITS, "16.5": FAULTS}
