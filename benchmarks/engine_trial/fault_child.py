"""Try one fault in a process of its own, and say what became of it.

    python fault_child.py        reads lines "name of the fault, tab, folder"

This process imports the library, checks nothing, and forks for each line: importing PyTorch takes longer than most
faults, and a copy of a process that has done nothing is as fresh as a new one. The child writes FOLDER/result.json;
nothing is told through stdout, which a fault may have closed.
"""

from __future__ import annotations

import builtins
import cProfile
import gc
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch
import torch._dynamo  # a first check imports it; it adds a filter for warnings

from course_lib.exercises import check
from course_lib.exercises.engine import state
from course_lib.exercises.engine.registry import find
from engine_trial.fault import FAULTS, RIGHT, WRONG, Fault
from engine_trial.faults import MARK, load

LIMIT_S = 2.0
"""Seconds of learner's code in a check: the exercises' own limit is 5 s, and a fault uses it up."""
MORE: dict[str, Callable[[], Any]] = {
    "the switch interval": sys.getswitchinterval,
    "the mask of permissions": lambda: os.umask(os.umask(0o022)),
    "inference mode": torch.is_inference_mode_enabled,
    "the threads' profile function": threading.getprofile,
    "NumPy's error function": np.geterrcall,
    "the alarm clock": lambda: signal.getitimer(signal.ITIMER_REAL),
    "the alarm's handler": lambda: signal.getsignal(signal.SIGALRM),
    "the blocked signals": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, ()),
    "the digits of whole numbers": sys.get_int_max_str_digits,
}
"""Settings that ``state`` does not name."""


def known_texts(exercise: str) -> dict[str, str]:
    """The verdicts on the right and the known wrong answer of an exercise, without what was printed."""
    verdicts = {"right": check(exercise, RIGHT[exercise]), "wrong": check(exercise, WRONG[exercise])}
    return {kind: f"{v.state}, {v.points} points: {v.message}" for kind, v in verdicts.items()}


def settings() -> dict[str, str]:
    """All that ``state`` looks after, and the random states, as texts that can be compared."""
    found = {setting[0]: repr(state._read(setting)) for setting in state.SETTINGS}
    found |= {name: repr(read()) for name, read in MORE.items()}
    found["the built-in names"] = repr(sorted((name, id(value)) for name, value in vars(builtins).items()))
    found["random"] = str(hash(random.getstate()))
    found["numpy"] = str(hash(np.random.get_state()[1].tobytes()))  # noqa: NPY002 the global one is meant
    found["torch"] = str(hash(torch.get_rng_state().numpy().tobytes()))
    return found


def traced_and_profiled() -> str:
    """A traced and a profiled call, here and in a thread; a complaint, or ""."""
    events: list[str] = []

    def follow(frame: Any, event: str, argument: Any) -> Callable:
        events.append(event)
        return follow

    def work() -> int:
        return sum(number for number in range(20))

    sys.settrace(follow)
    work()
    sys.settrace(None)
    profiler, found = cProfile.Profile(), []
    profiler.runcall(work)
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join(5)
    lines, calls = events.count("line"), len(profiler.getstats())
    return "" if lines >= 20 and calls >= 2 and found == [190] else f"{lines} lines, {calls} calls, thread {found}"


def trial(fault: Fault, progress: Path, clean: dict[str, str]) -> dict[str, Any]:
    """Check the fault, then the known answers: what went wrong, [] if nothing did."""
    find(fault.exercise).time_limit_s = LIMIT_S
    if fault.before:
        fault.before(progress)
    before, start = settings(), time.monotonic()
    verdict = check(fault.exercise, fault.answer)
    seconds, problems = time.monotonic() - start, []
    text = repr(verdict)
    if verdict.state not in ("right", "wrong", "not attempted") or (
        fault.right is not None and bool(verdict) != fault.right
    ):
        problems.append(f"the verdict is {text[:300]}")
    if changed := [name for name, value in settings().items() if value != before[name]]:
        problems.append(f"not put back: {', '.join(changed)}")
    if fault.after and (complaint := fault.after(progress)):
        problems.append(complaint)
    for kind, now in known_texts(fault.exercise).items() if clean and not fault.before else ():
        if now != clean[kind]:
            problems.append(f"afterwards the {kind} answer gets {now[:300]}")
    if complaint := traced_and_profiled():
        problems.append(f"a traced or profiled call: {complaint}")
    print(MARK, flush=True)
    return {"verdict": text, "seconds": round(seconds, 2), "problems": problems}


def main(name: str, folder: Path) -> None:
    """Try the fault of this name (an empty one: nothing but the known answers); write result.json."""
    progress = folder / "progress.json"
    os.environ["COURSE_PROGRESS"] = str(progress)
    if name:
        clean = json.loads(Path(folder.parent, "clean.json").read_text(encoding="utf-8"))
        result = trial(FAULTS[name], progress, clean[FAULTS[name].exercise])
    else:
        result = {exercise: known_texts(exercise) for exercise in RIGHT}
    with open(folder / "result.part", "w", encoding="utf-8") as file:
        file.write(json.dumps(result))
    os.replace(folder / "result.part", folder / "result.json")


def apart(folder: Path) -> None:
    """Streams, a folder and a group of processes of this process's own; nobody ever writes to its stdin."""
    os.setsid()
    os.chdir(folder)
    os.dup2(os.pipe()[0], 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 they end with the process


def serve() -> None:
    """For each line "name, tab, folder": fork, say the child's number, wait for it, say its status."""
    load()
    gc.freeze()  # the copies need not look through what is here for garbage: it takes a second
    while line := sys.stdin.readline():
        name, folder = line.rstrip("\n").split("\t")
        child = os.fork()
        if not child:
            apart(Path(folder))
            main(name, Path(folder))
            return  # ends as any process does: threads are waited for, atexit is called
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
