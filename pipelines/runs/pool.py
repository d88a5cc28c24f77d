"""Train several seeds side by side and hear from them while they run."""

from __future__ import annotations

import os
import queue
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context
from typing import Any

from pipelines.runs.checkpoints import RunReport
from pipelines.runs.run import Run
from pipelines.runs.worker import train_run

_records: Any = None


def train_all(runs: Sequence[Run], workers: int, threads: int, listen: RunReport) -> None:
    """Train all runs, at most ``workers`` at a time.

    Parameters
    ----------
    runs
        What to train.
    workers
        Processes; 0 trains one run after the other in this process.
    threads
        Threads of each process.
    listen
        Called in this process with every record of every run.

    Raises
    ------
    Exception
        The first error of a run, once the others have ended.
    """
    if workers == 0:
        for run in runs:
            train_run(run, listen)
        return
    # Numerical libraries read these when they are first imported, in the new processes.
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    context = get_context("spawn")
    records = context.Queue()
    with ProcessPoolExecutor(
        min(workers, len(runs)), context, initializer=_start, initargs=(records,)
    ) as pool:
        futures = [pool.submit(_train, index, run) for index, run in enumerate(runs)]
        unfinished = set(range(len(runs)))
        try:
            # A worker that was killed says no last word, and breaks the pool for all.
            while unfinished and not any(map(_broken, futures)):
                try:
                    index, record = records.get(timeout=0.2)
                except queue.Empty:
                    continue
                if record is None:
                    unfinished.remove(index)
                else:
                    listen(runs[index], record)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in active_children():  # they leave Ctrl-C to this process
                child.terminate()
            raise
    for future in futures:
        future.result()


def _broken(future: Future[None]) -> bool:
    return future.done() and isinstance(future.exception(), BrokenProcessPool)


def _start(records: Any) -> None:
    global _records
    from insituml.stream.child import end_with_parent

    _records = records
    end_with_parent()  # a second run must not write beside a first whose parent was killed


def _train(index: int, run: Run) -> None:
    try:
        train_run(run, lambda _, record: _records.put((index, record)))
    finally:
        _records.put((index, None))  # the last word: the parent has heard all before it
