"""Eight Gaussian clusters that move in time, as a stream of points."""

from __future__ import annotations

import numpy as np

from insituml.data.samples import Samples


def toy8(
    points: int, iterations: int, duration: float, label_kind: str = "all", seed: int = 0
) -> Samples:
    """Return the points of all iterations.

    Parameters
    ----------
    points
        Points at each iteration, a multiple of 8.
    iterations
        How many there are, from time 0 to ``duration``.
    duration
        Time at the last one; the data shift by one unit in each direction a unit of time.
    label_kind
        ``"all"``, ``"some"`` or ``"none"``.
    seed
        Of the points.
    """
    from insituml.toy_data.generate import generate_toy8, td_arrays

    x, y = generate_toy8(label_kind, points, seed=seed)
    time = np.linspace(0.0, duration, iterations)
    inputs, labels = (np.asarray(a) for a in td_arrays(x, y, time_func_mode="abs", time=time))
    return Samples(
        inputs.reshape(-1, *inputs.shape[2:]).astype(np.float32),
        labels.reshape(-1, *labels.shape[2:]).astype(np.float32),
        np.repeat(np.arange(iterations), points),
    )
