"""What SIGINT, SIGTERM and SIGHUP do to a command: one line, and the exit code that shells expect.

Nothing but the standard library's own is imported: a command that is stopped while it still loads
its libraries should say so too.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from insituml_pipelines.common.launcher import is_follower

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOPPED = 130
"""Exit code after Ctrl-C."""
_deaf = False
WORDS = "stopped; run the same command again to go on"


def end_at_once() -> None:
    """Let the signals end this process with a line: while it loads there is nothing to clean up.

    A signal that is ignored, as under nohup, stays so.
    """
    _set(_say_and_end)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let each signal raise KeyboardInterrupt in the block, so that it cleans up as on Ctrl-C.

    Its argument is the exit code. Where a library makes another error of it, such as one that is
    just being imported, it is raised all the same. A second signal ends the process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def interrupt(number: int, frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        came.append(128 + number)
        raise KeyboardInterrupt(came[0])

    before = _set(interrupt)
    try:
        yield
    except Exception as error:
        if came and not _deaf:
            raise KeyboardInterrupt(came[0]) from error
        raise
    finally:
        for number, earlier in before.items():
            signal.signal(number, signal.SIG_IGN if _deaf else earlier)


def go_deaf() -> None:
    """Let no signal end this process any more: it is about to end, with a line of its own."""
    global _deaf
    if threading.current_thread() is threading.main_thread():
        _deaf = True
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def handled_by(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Let ``handler(number, frame)`` hear the signals in the block, but for those that are ignored.

    In another thread than the main one nothing can, and nothing does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _set(handler)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def code_of(stop: KeyboardInterrupt) -> int:
    """Return the exit code that an interruption stands for."""
    return int(stop.args[0]) if stop.args else STOPPED


def _set(handler: Callable[[int, object], None]) -> dict[int, Any]:
    """Install a handler where the signal is not ignored; return those that were there."""
    before: dict[int, Any] = {number: signal.getsignal(number) for number in SIGNALS}
    heeded = {n: old for n, old in before.items() if old not in (signal.SIG_IGN, None)}
    for number in heeded:
        signal.signal(number, handler)
    return heeded


def _say_and_end(number: int, frame: object) -> NoReturn:
    if not is_follower():  # the first rank speaks for all
        os.write(2, f"error: {WORDS}\n".encode())
    os._exit(128 + number)
