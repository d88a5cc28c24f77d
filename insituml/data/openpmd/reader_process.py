"""The process of its own in which openPMD-api reads, from the side of who asks.

One serves all series of a process; it starts when it is first needed and is killed and started
anew where a library in it hangs or ends it.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from insituml.data.openpmd.library_words import last_words

KINDS = {"KeyError": KeyError, "ValueError": ValueError, "OSError": OSError}
CODE = "import json, sys; sys.path[:] = json.loads(sys.argv[3]); from {module} import main; main"
MODULE = "insituml.data.openpmd.server"
CHUNK = 1 << 20
START = 120
"""Seconds that the child's imports may take; requests bound what comes after."""


class ReaderProcess:
    """A child that reads; :func:`ask` is how to reach the one of this process."""

    def __init__(self) -> None:
        self._workplace = Path(tempfile.mkdtemp(prefix="insituml-openpmd-"))
        self._log = self._workplace / "log"
        paths = json.dumps([str(Path(p).absolute()) for p in sys.path])
        code = f"{CODE.format(module=MODULE)}(*sys.argv[1:3])"
        arguments = [sys.executable, "-P", "-c", code, str(self._workplace), str(self._log), paths]
        self._child = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._tells, self._hears = self._child.stdin, self._child.stdout.fileno()
        os.set_blocking(self._hears, False)
        self._heard = bytearray()
        self.pid = os.getpid()
        try:
            self._line(time.monotonic() + START)
        except (TimeoutError, EOFError):
            self.end()
            raise OSError("the process that reads openPMD files did not start") from None
        except BaseException:
            self.end()
            raise

    def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray | None]:
        """Send a request and return the answer, and the numbers that follow it.

        Raises
        ------
        TimeoutError
            If nothing comes for ``request["seconds"]``.
        EOFError
            If the child has ended.
        """
        try:
            self._tells.write(json.dumps(request).encode() + b"\n")
            self._tells.flush()
        except BrokenPipeError:
            raise EOFError from None
        while True:
            deadline = time.monotonic() + request["seconds"]
            answer = json.loads(self._line(deadline))
            if "progress" not in answer:
                break
        if "shape" not in answer:
            return answer, None
        values = np.empty(answer["shape"], dtype=np.float32)
        self._fill(values.data.cast("B"), request["seconds"])
        return answer, values

    def how_it_ended(self) -> str:
        """Say what a child that has ended died of, and what a library said before."""
        code = self._child.wait()
        name = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        told = last_words(self._log.read_text(errors="replace")) if self._log.exists() else ""
        return f"{told} ({name})" if told else name

    def end(self) -> None:
        """Leave neither a process nor files behind."""
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # what it has not heard it need not hear any more
        shutil.rmtree(self._workplace, ignore_errors=True)

    def _line(self, deadline: float) -> bytes:
        while b"\n" not in self._heard:
            self._heard += self._more(deadline)
        line, _, rest = bytes(self._heard).partition(b"\n")
        self._heard = bytearray(rest)
        return line

    def _fill(self, target: memoryview, seconds: float) -> None:
        """Read as many bytes as the target holds."""
        done = min(len(self._heard), len(target))
        target[:done] = self._heard[:done]
        del self._heard[:done]
        while done < len(target):
            piece = self._more(time.monotonic() + seconds, len(target) - done)
            target[done : done + len(piece)] = piece
            done += len(piece)

    def _more(self, deadline: float, most: int = CHUNK) -> bytes:
        with selectors.DefaultSelector() as selector:
            selector.register(self._hears, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise TimeoutError
        piece = os.read(self._hears, min(most, CHUNK))
        if not piece:
            raise EOFError
        return piece


_lock = threading.RLock()
_here: list[ReaderProcess] = []


def ask(request: dict[str, Any]) -> tuple[dict[str, Any], np.ndarray | None]:
    """Ask this process's child, which starts if there is none.

    Parameters
    ----------
    request
        As :mod:`insituml.data.openpmd.server` answers it; ``"seconds"`` bounds how long it may take
        to say anything, ``"shown"`` is what errors call the file.

    Raises
    ------
    KeyError, ValueError, OSError
        What went wrong there; that it took too long or ended the child is an OSError.
    """
    with _lock:
        if _here and _here[0].pid != os.getpid():  # a fork: that child is the parent's
            _here.clear()
        if not _here and request["what"] == "close":  # it ended, and its series with it
            return {}, None
        if not _here:
            _here.append(ReaderProcess())
        process = _here[0]
        where = f"iteration {request['number']} of " if "number" in request else ""
        try:
            answer, values = process.ask(request)
        except TimeoutError:
            end()
            raise OSError(
                f"{where}{request['shown']} cannot be read: openPMD-api gave nothing for "
                f"{request['seconds']:g} s; is it being written, or was its writer interrupted? "
                "open_timeout bounds the wait"
            ) from None
        except EOFError:
            how = process.how_it_ended()
            end()
            raise OSError(
                f"{where}{request['shown']} cannot be read: the library ended with {how}"
            ) from None
        except BaseException:  # the answer would be taken for that of the next request
            end()
            raise
    if "error" in answer:
        raise KINDS[answer["kind"]](answer["error"])
    return answer, values


def end() -> None:
    """End the child of this process, if there is one."""
    while _here:
        process = _here.pop()
        if process.pid == os.getpid():
            process.end()


atexit.register(end)
