"""A child process that is heard through a pipe, and cannot outlast or block its parent."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import pickle
import signal
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any

PATIENCE = 5.0
"""Seconds that a child has to end by itself, and to follow a request to end."""
LENGTH = struct.Struct("!Q")
"""Precedes each message of a child: the number of bytes of its pickle."""
READ_BYTES = 1 << 16
PR_SET_PDEATHSIG = 1
"""Of Linux's ``prctl``: the signal that a process gets when its parent ends."""


class Child:
    """Run ``target(told, tells, *arguments)`` in a spawned process, which ends with its parent.

    Two one-way pipes rather than queues: a process that is killed inside a queue's ``put`` leaves
    a lock held; the end of a pipe closes with its process.

    Parameters
    ----------
    target
        A function that a spawned process can import. It receives from the connection ``told`` and
        speaks with :func:`say` through ``tells``. Ctrl-C is left to the parent.
    arguments
        Whatever pickles.
    """

    def __init__(self, target: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        told, self._tell = context.Pipe(duplex=False)
        self._hear, tells = context.Pipe(duplex=False)
        in_main = threading.current_thread() is threading.main_thread()
        everything = (in_main, target, told, tells, *arguments)
        self.process = context.Process(target=_run, args=everything, daemon=True)
        try:
            with _interrupts_held_back():
                self.process.start()
        finally:  # with a copy of the child's ends open here, its death would go unnoticed
            told.close()
            tells.close()
        self.ended = False
        self._heard = bytearray()

    def tell(self, message: Any) -> None:
        """Send to the child; if it is gone, :meth:`hear` will say so."""
        with suppress(OSError):
            self._tell.send(message)

    def hear(self, timeout: float) -> Any:
        """Return the next message, or None if nothing comes for ``timeout`` seconds.

        Raises
        ------
        EOFError
            If the child has ended and all that it said has been heard.
        """
        # Connection.recv would wait for ever for the rest of a message whose sender is stopped.
        while (message := self._whole_message()) is None:
            ready = wait([self._hear, self.process.sentinel], timeout)
            if self._hear in ready or self._hear.poll():  # its last words come before its death
                piece = os.read(self._hear.fileno(), READ_BYTES)
                if not piece:
                    raise EOFError
                self._heard += piece
            elif ready or self.process.exitcode is not None:
                raise EOFError
            else:
                return None
        return pickle.loads(message)

    def has_spoken(self) -> bool:
        """Return whether :meth:`hear` would find something, be it the child's end."""
        return bool(self._heard) or bool(wait([self._hear, self.process.sentinel], 0.0))

    def _whole_message(self) -> bytes | None:
        if len(self._heard) < LENGTH.size:
            return None
        end = LENGTH.size + LENGTH.unpack_from(self._heard)[0]
        if len(self._heard) < end:
            return None
        message = bytes(self._heard[LENGTH.size : end])
        del self._heard[:end]
        return message

    def how_it_ended(self) -> str:
        """Name the exit code or the signal."""
        self.process.join(PATIENCE)
        code = self.process.exitcode
        if code is None:
            return "closed its pipe without a word"
        if code < 0:
            return f"was killed by signal {signal.Signals(-code).name}"
        return f"ended with exit code {code} without saying that it is done"

    def end(self, *, grace: float = 0.0, force: bool = False) -> None:
        """Leave no process behind: wait ``grace`` seconds, ask, wait, kill (at once by force)."""
        if self.ended:
            return
        self.ended = True
        self._tell.close()
        if grace:
            self.process.join(grace)
        if not force and self.process.is_alive():
            self.process.terminate()
            self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        self.process.close()
        self._hear.close()


def say(tells: Connection, message: Any) -> None:
    """In a child: send to the parent; OSError if it does not listen any more."""
    content = pickle.dumps(message)
    rest = memoryview(LENGTH.pack(len(content)) + content)
    while rest:
        rest = rest[os.write(tells.fileno(), rest) :]


def those_heard_of(children: Iterable[Child], timeout: float) -> list[Child]:
    """Return the children of which :meth:`Child.hear` has news, waiting for some until then."""
    ends = {end: c for c in children for end in (c._hear, c.process.sentinel)}
    return list(dict.fromkeys(ends[end] for end in wait(list(ends), timeout)))  # type: ignore[index]


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Start what inherits a blocked SIGINT: a child that Ctrl-C hits while it imports says so."""
    resource_tracker.ensure_running()  # it would be started within, and lift the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run(
    started_in_main_thread: bool,
    target: Callable[..., None],
    told: Any,
    tells: Any,
    *arguments: Any,
) -> None:
    _end_with_parent(started_in_main_thread)
    target(told, tells, *arguments)


def _end_with_parent(by_kernel: bool) -> None:
    """In a child: end when the parent does, however busy; leave Ctrl-C to the parent.

    ``by_kernel``: at once, whatever the child is doing. Linux takes the end of the *thread* that
    started a child for its parent's end: only of the main thread is that right.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    if by_kernel and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:  # it died before that
            os._exit(1)
    sentinel = parent.sentinel

    def watch() -> None:
        wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
