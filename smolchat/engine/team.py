"""Threads that run one step together: OpenMP's where it is there, otherwise Python's.

OpenMP's are awake a little longer than a step lasts, so the next one begins at once; a thread of
Python has to be woken and to wait for the interpreter.
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np

from smolchat.engine.layout import ABORTED, COUNT, TICKETS, Buffers, Job, Weights
from smolchat.engine.machine_code import Step


class Team:
    """The caller's thread is the first of them."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._job: Job | None = None
        self._openmp = OpenMPThreads(threads) if threads > 1 and openmp() else None
        self._own: OwnThreads | None = None

    def run(self, step: Step, weights: Weights, buffers: Buffers, *asked: Any) -> None:
        """One step; `asked` is what `Job.ask` takes after the first."""
        job = self._job
        if job is None or job.weights is not weights or job.buffers is not buffers:
            job = self._job = Job(self.threads, weights, buffers)
        job.ask(int(buffers.sync[COUNT]), *asked)
        buffers.sync[TICKETS:] = 0
        if self._openmp is not None and not self._openmp.run(step, job):
            self._openmp = None
        if self._openmp is None:
            self._run_alone(step, job)

    def _run_alone(self, step: Step, job: Job) -> None:
        self._own = self._own or OwnThreads(self.threads - 1)
        try:
            self._own.run(step, job)
        except BaseException:
            job.buffers.sync[ABORTED] = 1
            self._own.dismiss(is_awaited=True)
            job.buffers.sync[ABORTED] = job.buffers.sync[COUNT] = 0
            self._own = None
            raise

    def dismiss(self) -> None:
        """Lets the threads end."""
        if self._own is not None:
            self._own.dismiss()


SPINS = 1500
"""How often a thread of OpenMP looks for work before it sleeps, unless the user says otherwise:
about as long as it is from one step to the next. Its own 300,000 take the processor from other
threads, and where those are of this step, it waits for them."""


@cache
def openmp() -> Any:
    """GNU's library of OpenMP, or None: other ones are not tried."""
    is_ours = not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ)
    try:
        if is_ours:
            os.environ["GOMP_SPINCOUNT"] = str(SPINS)  # which it reads when it is loaded
        library = ctypes.CDLL("libgomp.so.1")
        library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p] + [ctypes.c_uint] * 2
        end_threads = library.omp_pause_resource_all
    except (OSError, AttributeError):
        return None
    finally:
        if is_ours:
            del os.environ["GOMP_SPINCOUNT"]
    # A forked process has none of these threads and would wait for them.
    os.register_at_fork(before=lambda: end_threads(PAUSE_HARD))
    return library


PAUSE_HARD = 2
"""OpenMP's omp_pause_hard."""


class OpenMPThreads:
    """Threads that OpenMP keeps for whoever calls it."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        library = openmp()
        asked = (library.omp_get_thread_num, library.omp_get_num_threads)
        places = [ctypes.cast(function, ctypes.c_void_p).value for function in asked]
        self._run = library.GOMP_parallel
        self._words = np.array([*places, threads, 0, 0], np.int64)
        self._address = self._words.ctypes.data

    def run(self, step: Step, job: Job) -> bool:
        """False, and nothing is done, if it does not give as many threads as were asked for."""
        self._words[-2:] = job.address, 0
        self._run(step.team_address, self._address, self._threads, 0)
        return bool(self._words[-1] == 0)


class OwnThreads:
    """Threads of Python that wait to be woken."""

    def __init__(self, count: int) -> None:
        self._task: tuple[Step, Job] | None = None
        self._wakes = [threading.Semaphore(0) for _ in range(count)]
        self._members = [
            threading.Thread(target=self._serve, args=(thread, wake), daemon=True)
            for thread, wake in enumerate(self._wakes, start=1)
        ]
        for member in self._members:
            member.start()

    def run(self, step: Step, job: Job) -> None:
        """After an interrupt, which may come between the two, nobody meets those that are awake."""
        self._task = step, job
        for wake in self._wakes:
            wake.release()
        step.run(0, job.address)

    def dismiss(self, is_awaited: bool = False) -> None:
        self._task = None
        for wake in self._wakes:
            wake.release()
        for member in self._members if is_awaited else ():
            member.join()

    def _serve(self, thread: int, wake: threading.Semaphore) -> None:
        while True:
            wake.acquire()
            if (task := self._task) is None:
                return
            step, job = task
            with suppress(RuntimeError):  # the step was given up
                step.run(thread, job.address)
            del task, step, job
