"""Randomness that nobody passes on: seeded for a stretch of code, and put back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ambient_seed(seed: int) -> Iterator[None]:
    """Seed the global generators of torch, NumPy and Python; afterwards they are as before.

    Parameters
    ----------
    seed
        Equal ones give equal draws, from 0 to 2³² − 1.
    """
    import numpy as np
    import torch

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (a user's code draws)
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
