"""The streams that both sides learn, as the experiments of the same names have them."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.peers_run import Setting
from insituml.data.images.digits import digits as digits_samples
from insituml.data.normalisation import RunningMoments
from insituml.data.split import hold_out_randomly, split_by_label, split_by_time
from insituml.data.toy8 import toy8 as toy8_samples


def toy8() -> Setting:
    """Eight clusters that drift, and an MLP with a latent of one number."""
    stream = toy8_samples(points=400, iterations=10, duration=9.0)
    windows = split_by_time(10, 5)
    groups = [np.flatnonzero(np.isin(stream.iterations, window)) for window in windows]
    return Setting(
        tasks=tasks_of(stream.inputs, groups),
        model="MLP",
        model_arguments={"input_shape": 2, "hidden_sizes": [128, 128], "latent_size": 1},
        epochs=20,
        batch_size=64,
        lr=2e-3,
        memory=100,
        reference=64,
    )


def digits() -> Setting:
    """Handwritten digits, two a task, and a convolutional autoencoder."""
    stream = digits_samples()
    groups = split_by_label(stream.labels, [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]])
    return Setting(
        tasks=tasks_of(stream.inputs, groups),
        model="AutoEncoder2D",
        model_arguments={"input_shape": [1, 8, 8], "channels": [16, 32], "latent_size": 12},
        epochs=10,
        batch_size=16,
        lr=1e-3,
        memory=100,
        reference=16,
    )


def tasks_of(
    inputs: np.ndarray, groups: list[np.ndarray]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Hold out a fifth of each task; normalise by the first one."""
    generator = np.random.default_rng(0)
    parts = [hold_out_randomly(rows, 0.2, generator) for rows in groups]
    moments = RunningMoments(inputs.shape[1])
    moments.update(inputs[parts[0][0]])
    normalise = moments.normalisation().apply
    return [
        tuple(torch.from_numpy(normalise(inputs[rows])) for rows in part)  # type: ignore[misc]
        for part in parts
    ]
