"""--jobs: several pictures at once, in processes of their own, with the report of one after the other. Imports torch.

The network's start is drawn from PyTorch's global generator, and its thread pool is one a process: hence no threads.
"""

from __future__ import annotations

import multiprocessing
import signal
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Event
from typing import Any

from doprestore import machine
from doprestore.cli.interrupt import Interrupt
from doprestore.cli.pictures.batch import Report, attempt
from doprestore.cli.pictures.jobs import Choices, Job, Plan
from doprestore.cli.streams import guarded
from doprestore.image.settings import ImageSettings

# Not fork: CUDA does not survive it, nor do PyTorch's threads.
_PROCESSES = multiprocessing.get_context("spawn")
# Seconds between two looks at whether to stop.
_POLL = 0.3


class StopEvent(Interrupt):
    """The workers' side of an :class:`Interrupt`: the command line tells them to stop, signals do not."""

    def __init__(self, event: Event):
        super().__init__()
        self._event = event

    def received(self) -> bool:
        return self._event.is_set()


class Worker:
    """A process that restores the jobs sent to it, one at a time."""

    def __init__(self, *args: object):
        self.pipe, theirs = _PROCESSES.Pipe()
        self.process = _PROCESSES.Process(target=work, args=(theirs, *args), daemon=True)
        self.process.start()
        theirs.close()  # so that its death is the end of the pipe

    def begin(self, job: Job) -> None:
        self.job = job
        with suppress(OSError):  # of a process that has just died: the outcome says so
            self.pipe.send(job)

    def outcome(self) -> tuple[str, str]:
        """What became of the job, as :func:`attempt` says it; a process that died has failed."""
        try:
            outcome: tuple[str, str] = self.pipe.recv()
            return outcome
        except (EOFError, OSError):
            self.process.join()
            return "failed", f"its process died with {_exit(self.process.exitcode)}; too little memory for --jobs?"


def work(pipe: Connection, stop: Event, settings: ImageSettings, choices: Choices, threads: int) -> None:
    """The life of a worker: until the command line closes the pipe, or dies."""
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C and Slurm reach every process of the group
        signal.signal(number, signal.SIG_IGN)
    machine.use_threads(threads)
    with guarded(), suppress(BrokenPipeError, EOFError, ConnectionResetError):
        while True:
            pipe.send(attempt(pipe.recv(), settings, choices, StopEvent(stop)))


def restore_at_once(plan: Plan, settings: ImageSettings, choices: Choices, interrupt: Interrupt) -> Report:
    """As :func:`restore_many`, ``choices.jobs`` pictures at a time; on a CPU they share its threads out."""
    machine.choose_device(settings.device)
    report = Report(plan, choices)
    stop = _PROCESSES.Event()
    threads = max(1, machine.threads() // choices.jobs)
    waiting = list(reversed(plan.jobs))
    busy: dict[Any, Worker] = {}
    idle: list[Worker] = []

    def start(job: Job) -> None:
        worker = idle.pop() if idle else Worker(stop, settings, choices, threads)
        worker.begin(job)
        busy[worker.pipe] = worker

    try:
        with report.meter() as meter:
            while busy or (waiting and not stop.is_set()):
                if interrupt.received():
                    stop.set()
                while waiting and len(busy) < choices.jobs and not stop.is_set():
                    start(waiting.pop())
                for pipe in wait(list(busy), timeout=_POLL):
                    worker = busy.pop(pipe)
                    what, text = worker.outcome()
                    report.count(worker.job, what, text)
                    if what == "skipped":
                        meter.skip()
                    if worker.process.is_alive():
                        idle.append(worker)
                    if not interrupt.received():
                        meter.show(report.counts.total())
    finally:
        for worker in busy.values():  # after a second Ctrl-C
            worker.process.kill()
        for worker in [*idle, *busy.values()]:
            worker.pipe.close()
            worker.process.join()
    report.close()
    return report


def _exit(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
