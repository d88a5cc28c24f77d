"""Waiting for several producers at once."""

from __future__ import annotations

import time
from collections.abc import Iterable

from insituml.stream.member import OPENING, RUNNING, Member
from insituml.stream.ring import heard_of

WAIT_SECONDS = 0.1
"""How long producers are listened to before new ones are looked for."""
REPEAT_SECONDS = 1e-4
"""Rest where one has begun to say something, and does not go on."""


def rest(members: Iterable[Member]) -> None:
    """Wait a moment for those that something is expected from."""
    awaited = [
        member.ring
        for member in members
        if member.ring is not None and member.state in (OPENING, RUNNING) and not member.pending
    ]
    if not awaited:
        time.sleep(WAIT_SECONDS)
    elif any(ring.ready() for ring in awaited):  # it has begun to speak, and says no more
        time.sleep(REPEAT_SECONDS)
    else:
        heard_of(awaited, WAIT_SECONDS)
