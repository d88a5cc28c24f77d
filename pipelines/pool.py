"""Train several seeds side by side and hear from them while they run."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import connection, get_context, parent_process
from typing import Any

from pipelines.worker import Run, train_run

Listener = Callable[[Run, Any], None]
_records: Any = None


def train_all(runs: Sequence[Run], workers: int, threads: int, listen: Listener) -> None:
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
            train_run(run, lambda record, run=run: listen(run, record))
        return
    # Numerical libraries read these when they are first imported, in the new processes.
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(threads)
    context = get_context("spawn")
    records = context.Queue()
    with ProcessPoolExecutor(
        min(workers, len(runs)), context, initializer=_start, initargs=(records,)
    ) as pool:
        futures = {pool.submit(_train, index, run): run for index, run in enumerate(runs)}
        pending = set(futures)
        while pending:
            _drain(records, runs, listen)
            pending -= {future for future in pending if future.done()}
        _drain(records, runs, listen)
    for future in as_completed(futures):
        future.result()


def _drain(records: Any, runs: Sequence[Run], listen: Listener) -> None:
    """Pass on what has come in; wait a moment for the first."""
    timeout = 0.2
    while True:
        try:
            index, record = records.get(timeout=timeout)
        except queue.Empty:
            return
        timeout = 0.0
        listen(runs[index], record)


def _start(records: Any) -> None:
    global _records
    _records = records
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    """Leave when the parent is gone, killed perhaps: a second run must not write beside a first."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _train(index: int, run: Run) -> None:
    train_run(run, lambda record: _records.put((index, record)))
