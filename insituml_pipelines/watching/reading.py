"""What a stream last said of itself, and what follows from several such words."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.records import read_record
from insituml_pipelines.transit.live import BROKEN, ENDED, FILE, Live

WINDOW = 30.0
"""Seconds over which the rate goes."""


@dataclass(frozen=True)
class Seen:
    """What is shown: a state and the rate.

    Parameters
    ----------
    live
        What the stream said last.
    rate
        Iterations a second, lately; None where two words are not there yet.
    gone
        Whether the process ended without a word.
    """

    live: Live
    rate: float | None
    gone: bool

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return self.gone or self.live.state in (ENDED, BROKEN)

    @property
    def left(self) -> float | None:
        """Seconds until the last iteration, at this rate; None where that is not known."""
        if self.over or not self.rate:
            return None
        return (self.live.planned - self.live.passed) / self.rate


class Watched:
    """Reads the file of one stream again and again.

    Parameters
    ----------
    folder
        Of the stream's results, such as ``transit``; it need not be there yet.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        self._points: deque[tuple[float, int]] = deque()
        self._process = 0

    def look(self) -> Seen | None:
        """Return what there is to show; None while no stream has begun.

        Raises
        ------
        UserError
            If the file is damaged, or another version wrote it.
        """
        try:
            live = read_record(Live, self.file, "wait for the next stream, or delete it")
        except FileNotFoundError:
            return None
        if live.process != self._process:
            self._points.clear()
            self._process = live.process
        if not self._points or live.written > self._points[-1][0]:
            self._points.append((live.written, live.passed))
        while live.written - self._points[0][0] > WINDOW and len(self._points) > 2:
            self._points.popleft()
        return Seen(live, self._rate(live), gone=self._is_gone(live))

    def _rate(self, live: Live) -> float | None:
        (begun, first), (now, last) = self._points[0], self._points[-1]
        if now > begun and last > first:
            return (last - first) / (now - begun)
        return live.learned / live.seconds if live.seconds and live.learned else None

    def _is_gone(self, live: Live) -> bool:
        """Return whether the process of a stream that has not ended is there no more."""
        if live.state in (ENDED, BROKEN) or live.host != socket.gethostname():
            return False
        try:
            os.kill(live.process, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False  # it is another user's
        return False


def check_folder(folder: Path) -> None:
    """Refuse what can never be a stream's folder.

    Raises
    ------
    UserError
        If it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(
            f"{folder} is a file; give the folder of a stream's results, such as transit"
        )


def clock(seconds: float) -> str:
    """Return seconds as ``1:02`` or ``1:00:02``."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def ago(when: float) -> str:
    """Return how long ago that was."""
    return f"{clock(max(0.0, time.time() - when))} ago"
