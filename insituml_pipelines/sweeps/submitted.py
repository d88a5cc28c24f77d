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
    for job in jobs:
        with suppress(OSError):  # Slurm has gone, or the process
            job.cancel(check=False)
    if jobs:
        note(f"{len(jobs)} submitted jobs are cancelled")
    here = [getattr(job, "_process", None) for job in jobs]  # none of a cluster's
    _see_the_end([process for process in here if process is not None])


def _see_the_end(processes: Sequence[Any]) -> None:
    """Wait for those that watch jobs on this machine; kill what does not hear a signal.

    In the background of a script, SIGINT, by which they are cancelled, is ignored.
    """
    until = time.monotonic() + PATIENCE
    while any(process.poll() is None for process in processes) and time.monotonic() < until:
        time.sleep(0.05)
    for process in processes:
        if process.poll() is None:
            for child in _children(process.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            process.kill()
            process.wait()


def _children(pid: int) -> list[int]:
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # it has just ended, or this system has no such file
        return []
