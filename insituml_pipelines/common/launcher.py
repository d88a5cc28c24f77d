"""What a launcher such as torchrun has said to this process: how many there are, and which it is.

Nothing but the standard library's own is imported: see :mod:`insituml_pipelines.common.stopping`.
"""

from __future__ import annotations

import os


def launched() -> int:
    """Return how many ranks the launcher has started; 1 without one."""
    given = [os.environ.get(name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR")]
    return int(os.environ["WORLD_SIZE"]) if all(given) else 1


def is_follower() -> bool:
    """Whether this process is not the first of several."""
    return launched() > 1 and int(os.environ["RANK"]) > 0


def by_torchrun() -> bool:
    """Whether torchrun started it: others give such variables to whatever runs in a container."""
    return "TORCHELASTIC_RUN_ID" in os.environ
