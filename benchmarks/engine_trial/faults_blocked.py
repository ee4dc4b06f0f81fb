"""Code that waits for ever, and threads that go on."""

# ruff: noqa: E722, SIM105 these handlers are the faults

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import queue
import select
import socket
import subprocess
import sys
import threading
import time

from engine_trial.fault import fault, right_gradient


@fault()
def sleep_for_an_hour(student_logits, teacher_logits, temperature):
    time.sleep(3600)


@fault()
def sleeps_catching_everything(student_logits, teacher_logits, temperature):
    while True:
        try:
            time.sleep(0.5)
        except:
            pass


@fault()
def sleeps_in_a_finally(student_logits, teacher_logits, temperature):
    try:
        time.sleep(3600)
    finally:
        time.sleep(3600)


@fault()
def input_without_anybody(student_logits, teacher_logits, temperature):
    return float(input("T? "))


@fault()
def reads_all_of_stdin(student_logits, teacher_logits, temperature):
    return sys.stdin.read()


@fault()
def event_that_nobody_sets(student_logits, teacher_logits, temperature):
    threading.Event().wait()


@fault()
def lock_taken_twice(student_logits, teacher_logits, temperature):
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


@fault()
def empty_queue(student_logits, teacher_logits, temperature):
    return queue.Queue().get()


@fault()
def empty_simple_queue(student_logits, teacher_logits, temperature):
    return queue.SimpleQueue().get()


@fault()
def condition_that_never_holds(student_logits, teacher_logits, temperature):
    condition = threading.Condition()
    with condition:
        condition.wait_for(lambda: False)


@fault()
def barrier_for_two(student_logits, teacher_logits, temperature):
    threading.Barrier(2).wait()


@fault()
def pipe_that_nobody_writes(student_logits, teacher_logits, temperature):
    return os.read(os.pipe()[0], 1)


@fault()
def select_on_nothing(student_logits, teacher_logits, temperature):
    select.select([os.pipe()[0]], [], [])


@fault()
def socket_that_nobody_calls(student_logits, teacher_logits, temperature):
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.accept()


@fault()
def program_that_sleeps(student_logits, teacher_logits, temperature):
    with contextlib.ExitStack() as stack:
        program = subprocess.Popen(["sleep", "3600"])
        stack.callback(program.kill)
        program.wait()


@fault()
def event_loop_that_runs_for_ever(student_logits, teacher_logits, temperature):
    loop = asyncio.new_event_loop()
    try:
        loop.run_forever()
    finally:
        loop.close()


@fault()
def coroutine_that_never_awaits(student_logits, teacher_logits, temperature):
    async def busy():
        while True:
            pass

    asyncio.run(busy())


@fault()
def waits_for_an_endless_thread(student_logits, teacher_logits, temperature):
    def busy():
        while True:
            pass

    thread = threading.Thread(target=busy, daemon=True)
    thread.start()
    thread.join()


def started(target, daemon):
    threading.Thread(target=target, daemon=daemon).start()


@fault(right=True)
def thread_that_goes_on(student_logits, teacher_logits, temperature):
    def busy():
        while True:
            pass

    started(busy, True)
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def thread_that_keeps_the_process(student_logits, teacher_logits, temperature):
    def busy():
        while True:
            len("a")

    started(busy, False)
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def thread_that_sleeps_in_short_turns(student_logits, teacher_logits, temperature):
    def busy():
        while True:
            time.sleep(0.01)

    started(busy, False)
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def thread_that_catches_everything(student_logits, teacher_logits, temperature):
    def busy():
        while True:
            try:
                time.sleep(0.001)
            except:
                pass

    started(busy, True)
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def thread_that_dies(student_logits, teacher_logits, temperature):
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def thread_that_exits(student_logits, teacher_logits, temperature):
    thread = threading.Thread(target=sys.exit)
    thread.start()
    thread.join()
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def thread_that_prints(student_logits, teacher_logits, temperature):
    thread = threading.Thread(target=lambda: print("from a thread"))
    thread.start()
    thread.join()
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def thread_that_takes_stdout(student_logits, teacher_logits, temperature):
    def take():
        sys.stdout = None

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def timer_that_rings_later(student_logits, teacher_logits, temperature):
    threading.Timer(0.05, lambda: 1 / 0).start()
    return right_gradient(student_logits, teacher_logits, temperature)


@fault(right=True)
def pool_that_is_not_closed(student_logits, teacher_logits, temperature):
    pool = concurrent.futures.ThreadPoolExecutor(2)
    pool.submit(len, [])
    return right_gradient(student_logits, teacher_logits, temperature)


@fault()
def pool_with_an_endless_task(student_logits, teacher_logits, temperature):
    def busy():
        while True:
            time.sleep(0.01)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(busy).result()


@fault(right=True)
def fifty_threads(student_logits, teacher_logits, temperature):
    threads = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return right_gradient(student_logits, teacher_logits, temperature)
