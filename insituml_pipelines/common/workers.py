"""Jobs done side by side in processes of their own, which say what they find on the way.

Nothing of it has a name that a killed process could leave behind, and no worker outlives its
parent: a second command must not write beside a worker of the first.
"""

from __future__ import annotations

import pickle
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from insituml.stream.child import Child, say, those_heard_of
from insituml_pipelines.common.errors import UserError

LISTEN_SECONDS = 1.0
SAID, DONE, FAILED = "said", "done", "failed"


class WorkerDiedError(UserError):
    """A worker ended before its job was done."""


def do_side_by_side(
    function: Callable[..., None],
    jobs: Sequence[tuple[Any, ...]],
    workers: int,
    hear: Callable[[int, Any], None] = lambda index, message: None,
) -> None:
    """Call ``function(tell, *job)`` for each job, at most ``workers`` at a time.

    Parameters
    ----------
    function
        Can be imported by a spawned process; what it hands to ``tell`` comes to ``hear``.
    jobs
        Arguments of each, whatever pickles.
    workers
        Processes, 1 or more.
    hear
        Called in this process with the number of a job and what it told, in order.

    Raises
    ------
    WorkerDiedError
        At once, if a worker was killed; the others are ended.
    Exception
        The error of the first job that failed, once the others are done.
    """
    waiting = deque(enumerate(jobs))
    errors: dict[int, Exception] = {}
    busy: list[Child] = []
    idle: list[Child] = []
    try:
        for _ in range(min(workers, len(jobs))):
            busy.append(Child(_work, function))
            busy[-1].tell(waiting.popleft())
        while busy:
            for child in those_heard_of(busy, LISTEN_SECONDS):
                while child in busy and (message := _next(child)) is not None:
                    kind, index, content = message
                    if kind == SAID:
                        hear(index, content)
                        continue
                    if kind == FAILED:
                        errors[index] = content
                    if waiting:
                        child.tell(waiting.popleft())
                    else:
                        busy.remove(child)
                        idle.append(child)
    finally:
        for child in (*busy, *idle):
            child.end(force=True)
    if errors:
        raise errors[min(errors)]


def _next(child: Child) -> Any:
    try:
        return child.hear(0.0)
    except EOFError:
        raise WorkerDiedError(
            f"a worker {child.how_it_ended()}, perhaps for want of memory; run the same command "
            "again"
        ) from None


def _work(told: Connection, tells: Connection, function: Callable[..., None]) -> None:
    """Run in a worker: do what is told, one job after the other."""
    while True:
        try:
            index, job = told.recv()
        except EOFError:
            return
        try:
            function(lambda message, index=index: say(tells, (SAID, index, message)), *job)
        except Exception as error:  # raised again by the parent
            say(tells, (FAILED, index, _portable(error)))
        else:
            say(tells, (DONE, index, None))


def _portable(error: Exception) -> Exception:
    """Return an error that another process can raise; where it was raised goes with it."""
    error.add_note("".join(traceback.format_exception(error)))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of a class with a constructor of its own, of any kind
        other = RuntimeError(f"{type(error).__name__}: {error}")
        other.add_note(error.__notes__[-1])
        return other
    return error
