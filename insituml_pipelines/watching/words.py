"""A running stream in one line, for files and pipes."""

from __future__ import annotations

from insituml_pipelines.transit.live import RUNNING
from insituml_pipelines.watching.reading import Seen, clock


def state_of(seen: Seen) -> str:
    """Return the state in words."""
    live = seen.live
    if seen.gone:
        return f"process {live.process} is gone: it was killed; the same command goes on"
    return f"{live.state}: {live.words}" if live.words else live.state


def rate_of(seen: Seen) -> str:
    """Return the rate as it is written."""
    return "–" if seen.rate is None else f"{seen.rate:.3g} iterations/s"


def lag_of(seen: Seen) -> str:
    """Return how far learning is behind the producer."""
    lag = seen.live.lag
    if lag is None:
        return "–"
    return f"{lag:.2g} s, {'the next one is there' if seen.live.ready else 'it waits'}"


def waiting_share(seen: Seen) -> str:
    """Return the share of time spent waiting for the producer."""
    live = seen.live
    return f"{100 * live.waited / live.seconds:.0f} %" if live.seconds else "–"


def line_of(seen: Seen | None) -> str:
    """Return one line."""
    if seen is None:
        return "watch: no stream has begun"
    live = seen.live
    parts = [f"{live.data}, {state_of(seen)}", f"{live.passed}/{live.planned} iterations"]
    if live.state == RUNNING and not seen.gone:
        parts += [rate_of(seen), f"lag {lag_of(seen)}"]
    parts.append(f"waiting {waiting_share(seen)}")
    parts += [f"{s.get('name')} {s.get('state')} at {s.get('iteration')}" for s in live.simulations]
    parts += [f"{method} {loss:.4g}" for method, loss in live.losses.items()]
    parts += [f"{live.lost} lost", f"{live.rejected_count} rejected"]
    if seen.left is not None:
        parts.append(f"{clock(seen.left)} left")
    return f"watch: {', '.join(parts)}"
