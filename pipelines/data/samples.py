"""Streams of labelled samples: points and images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Samples:
    """A stream of samples held in memory.

    Parameters
    ----------
    inputs
        ``(n, components, ...)`` float32.
    labels
        ``(n, ...)``, one row a sample.
    steps
        ``(n,)`` int64: the step of the stream at which each sample is seen.
    held_out
        ``(n,)`` bool: the samples that were published to test with; None: there are none.
    pixel_orders
        ``(number of steps, pixels)``: the order in which each step shows an image's pixels, so that
        a step must be a task of its own; None: all as they are.
    """

    inputs: np.ndarray
    labels: np.ndarray
    steps: np.ndarray
    held_out: np.ndarray | None = None
    pixel_orders: np.ndarray | None = None


def toy8(
    points: int, steps: int, duration: float, label_kind: str = "all", seed: int = 0
) -> Samples:
    """Eight Gaussian clusters that move while time goes on.

    Parameters
    ----------
    points
        Points at each step, a multiple of 8.
    steps
        Steps from time 0 to ``duration``.
    duration
        Time at the last step; by default data shift by one unit in each direction a unit of time.
    label_kind
        ``"all"``, ``"some"`` or ``"none"``.
    seed
        Of the points.
    """
    from insituml.toy_data.generate import generate_toy8, td_arrays

    x, y = generate_toy8(label_kind, points, seed=seed)
    time = np.linspace(0.0, duration, steps)
    inputs, labels = (np.asarray(a) for a in td_arrays(x, y, time_func_mode="abs", time=time))
    return Samples(
        inputs.reshape(-1, *inputs.shape[2:]).astype(np.float32),
        labels.reshape(-1, *labels.shape[2:]).astype(np.float32),
        np.repeat(np.arange(steps), points),
    )


def digits() -> Samples:
    """The 1,797 handwritten digits of 8×8 pixels that ship with scikit-learn, values in [0, 1]."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    return Samples(
        (images / 16.0).astype(np.float32).reshape(-1, 1, 8, 8),
        labels.astype(np.int64),
        np.zeros(len(labels), dtype=np.int64),
    )
