"""A running stream as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from insituml_pipelines.transit.live import BROKEN, ENDED, Live
from insituml_pipelines.watching.reading import Seen, ago, clock
from insituml_pipelines.watching.words import lag_of, rate_of, state_of, waiting_share

SHOWN = 6
"""Gaps and rejected iterations that are listed."""


def view_of(seen: Seen | None, folder: str) -> RenderableType:
    """Return what a terminal shows of a stream; of none that it is waited for."""
    if seen is None:
        return Panel(
            f"no stream has begun in {folder}; this shows it as soon as one does", title="watch"
        )
    parts: list[RenderableType] = [_facts(seen)]
    if seen.live.planned:
        done = min(seen.live.passed, seen.live.planned)
        bar = Table.grid(expand=True)  # a bar alone would not end its line
        bar.add_row(ProgressBar(total=seen.live.planned, completed=done))
        parts.insert(0, bar)
    if seen.live.simulations:
        parts.append(_simulations(seen.live))
    if seen.live.losses or seen.live.memory:
        parts.append(_methods(seen.live))
    parts += _named("gaps", seen.live.gaps, seen.live.gap_count)
    parts += _named("rejected", seen.live.rejected, seen.live.rejected_count)
    colour = "red" if seen.gone or seen.live.state == BROKEN else "cyan"
    colour = "green" if seen.live.state == ENDED else colour
    title = Text(f"{seen.live.data} · {state_of(seen)}", style="bold")
    return Panel(Group(*parts), title=title, border_style=colour)


def _facts(seen: Seen) -> Table:
    live = seen.live
    left = "" if seen.left is None else f", {clock(seen.left)} left"
    rows = [
        ("iterations", f"{live.passed} of {live.planned}, the last is {live.iteration}{left}"),
        ("rate", rate_of(seen)),
        ("behind the producer", lag_of(seen)),
        ("waiting for it", f"{waiting_share(seen)} of {clock(live.seconds)}"),
        ("shared memory", _bytes(live.shared)),
        ("lost", f"{live.lost} in {live.gap_count} gaps; {live.rejected_count} rejected"),
        ("last word", ago(live.written)),
    ]
    table = Table.grid(padding=(0, 2))
    for name, value in rows:
        table.add_row(Text(name, style="dim"), Text(value))
    return table


def _simulations(live: Live) -> Table:
    """Return one row a simulation: how far it is, and how long its last iteration waited."""
    table = Table(expand=True)
    for name in ("simulation", "state", "iteration", "learned", "lag"):
        table.add_column(name, justify="left" if name in ("simulation", "state") else "right")
    for one in live.simulations:
        lag = "–" if one.get("lag") is None else f"{one['lag']:.2g} s"
        cells = [str(one.get(key, "–")) for key in ("name", "state", "iteration", "learned")]
        table.add_row(*map(Text, [*cells, lag]))
    return table


def _methods(live: Live) -> Table:
    """Return one row a method: loss, memory against its bound, what the method stores."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("method")
    for head in ("loss", "data held", "at most", "stored by the method"):
        table.add_column(head, justify="right")
    for method in dict.fromkeys([*live.losses, *live.memory]):
        loss, memory = live.losses.get(method), live.memory.get(method)
        table.add_row(
            Text(method),
            "–" if loss is None else f"{loss:.4g}",
            *(_sizes(memory) if memory else ("–", "–", "–")),
        )
    for run, reason in live.diverged.items():
        table.add_row(Text(run, style="red"), Text(f"diverged: {reason}"))
    return table


def _sizes(memory: Mapping[str, int]) -> tuple[str, str, str]:
    bound = _bytes(memory["bound"]) if memory["bound"] else "no bound"
    return _bytes(memory["held"]), bound, _bytes(memory["stored"])


def _named(what: str, entries: Sequence[Sequence[Any]], count: int) -> list[RenderableType]:
    """Return the newest gaps or rejected iterations with their reasons."""
    shown = [
        Text(f"{what}: {'–'.join(str(part) for part in entry[:-1])}, {entry[-1]}", style="yellow")
        for entry in entries[-SHOWN:]
    ]
    more = count - len(shown)
    return [*([Text(f"{what}: {more} earlier ones", style="dim")] if more > 0 else []), *shown]


def _bytes(count: int) -> str:
    return f"{1e-6 * count:.3g} MB"
