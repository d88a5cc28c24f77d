"""Watch a stream while it is learned from: rate, lag, losses, memory, gaps."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from insituml_pipelines.common.ending import failing_in_one_line
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.watching.reading import Seen, Watched, check_folder

DESCRIPTION = """\
Watch a running `insituml stream` from another terminal: iterations per second, how far it is
behind the producer, the share of time it waits, loss and memory of each method, gaps and rejected
iterations by name. It waits for a stream that has not begun, and ends with it.\
"""
GONE = 1
"""Exit code where the stream did not come to its end."""


def watch(
    watched: Watched, show: Callable[[Seen | None], None], every: float, *, following: bool
) -> int:
    """Show a stream until it is over.

    Parameters
    ----------
    watched
        Where it says how it goes.
    show
        Called with what is seen, again and again.
    every
        Seconds between two looks.
    following
        Leave a stream that is over already aside and wait for the next.

    Returns
    -------
    int
        0 where it came to its end, or :data:`GONE`.
    """
    before = watched.look() if following else None
    old = before.live.process if before is not None and before.over else None
    while True:
        seen = watched.look()
        if seen is not None and seen.live.process == old:
            seen = None
        show(seen)
        if seen is not None and seen.over:
            return GONE if seen.gone or seen.live.state != "ended" else 0
        time.sleep(every)


def _watch_here(folder: Path, every: float, *, following: bool) -> int:
    """Watch in a terminal, or line by line where there is none."""
    watched = Watched(folder)
    if not sys.stdout.isatty():
        from insituml_pipelines.watching.words import line_of

        return watch(
            watched, lambda seen: print(line_of(seen), flush=True), every, following=following
        )
    from rich.live import Live

    from insituml_pipelines.watching.view import view_of

    with Live(view_of(None, str(folder)), auto_refresh=False) as screen:
        return watch(
            watched,
            lambda seen: screen.update(view_of(seen, str(folder)), refresh=True),
            every,
            following=following,
        )


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; --help shows what can be given")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="insituml watch",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("transit"),
        help="folder of the stream's results (transit.folder; default: transit)",
    )
    parser.add_argument(
        "--every", type=float, default=1.0, metavar="S", help="seconds between two looks (1)"
    )
    parser.add_argument(
        "--next", action="store_true", help="wait for the next stream, if the last one is over"
    )
    return parser


def command() -> None:
    """Run from the command line."""
    with failing_in_one_line():
        given = _parser().parse_args()
        if not 0.05 <= given.every <= 3600:
            raise UserError(f"--every is {given.every:g}; expected seconds from 0.05 to 3600")
        check_folder(given.folder)
        try:
            code = _watch_here(given.folder, given.every, following=given.next)
        except KeyboardInterrupt:  # how one stops to watch
            code = 0
    raise SystemExit(code)


if __name__ == "__main__":
    command()
