"""One thing that was looked at, and what to do where it is not as it should be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    """How it stands with it; what is printed before it."""

    GOOD = "ok"
    OPTIONAL = "--"
    MISSING = "!!"


@dataclass(frozen=True)
class Finding:
    """What was found.

    Parameters
    ----------
    group, name
        What was looked at, and under which heading it stands.
    state
        ``OPTIONAL`` is missing for something that not everybody needs.
    found
        In words.
    remedy
        What it is missing for and how to get it; empty where nothing is.
    """

    group: str
    name: str
    state: State
    found: str
    remedy: str = ""
