"""Jobs that were submitted run on without the command that waits for them: it cancels them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.log import note
from insituml_pipelines.common.stopping import code_of

if TYPE_CHECKING:
    from submitit import Job

PATIENCE = 5.0
"""Seconds for jobs on this machine to end by themselves."""


@contextmanager
def cancelled_where_stopped() -> Iterator[None]:
    """Cancel the jobs that submitit submits in the block, where somebody stops it.

    Those of other commands in the same folder are left alone; a terminal that is lost (SIGHUP) is
    nobody's wish.
    """
    try:
        import submitit
    except ModuleNotFoundError:  # then no launcher submits anything
        yield
        return
    jobs: list[Job[Any]] = []
    executor: Any = submitit.AutoExecutor
    submit = executor.map_array

    def noted(self: Any, *arguments: Any) -> list[Job[Any]]:
        found: list[Job[Any]] = submit(self, *arguments)
        jobs.extend(found)
        return found

    # Hydra's launcher makes its executor by itself, and hands out none of its jobs.
    executor.map_array = noted
    try:
        yield
    except KeyboardInterrupt as stop:
        if code_of(stop) != 128 + signal.SIGHUP:
            _cancel(jobs)
        raise
    finally:
        executor.map_array = submit


def _cancel(jobs: Sequence[Job[Any]]) -> None:
    watched = [getattr(job, "_process", None) for job in jobs]  # None: it runs on a cluster
    here = [process for process in watched if process is not None]
    working = [task for process in here for task in _tasks(process.pid)]
    for job in jobs:
        with suppress(OSError):  # Slurm has gone
            job.cancel(check=False)
    if jobs:
        note(f"{len(jobs)} submitted jobs are cancelled")
    _see_the_end(here, working)


def _see_the_end(watchers: Sequence[Any], working: Sequence[int]) -> None:
    """Wait for the processes that watch a job on this machine, and see that none works on.

    They are told by SIGINT, which is ignored in the background of a script, and which one that is
    just starting its job does not pass on.
    """
    until = time.monotonic() + PATIENCE
    while any(watcher.poll() is None for watcher in watchers) and time.monotonic() < until:
        time.sleep(0.05)
    for watcher in watchers:
        if watcher.poll() is None:
            working = [*working, *_tasks(watcher.pid)]
            watcher.kill()
            watcher.wait()
    for task in working:
        with suppress(ProcessLookupError):  # it has ended
            signal.pidfd_send_signal(task, signal.SIGKILL)
        os.close(task)


def _tasks(pid: int) -> list[int]:
    """Return descriptors of a process's children: a number may be another's by the time."""
    found = []
    for child in children(pid):
        with suppress(OSError):  # it has just ended
            found.append(os.pidfd_open(child))
    return found


def children(pid: int) -> list[int]:
    """Return the numbers of a process's children; none where it has ended, or without Linux."""
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
