"""Learn from a simulation in another process while it runs; print what each method forgot."""

import argparse
from copy import deepcopy
from functools import partial

import numpy as np
import torch

from insituml import metrics
from insituml.data import LwfaField, TaskWindows
from insituml.evaluation import loss_matrix
from insituml.in_transit import Arrivals, Cutter, HeldOut, InTransitTrainer, learn
from insituml.methods import ExperienceReplay, Method, Naive
from insituml.models import MLP
from insituml.stream import FieldStream, RingSource


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def loss_matrix_of(method: Method, iterations: int) -> np.ndarray:
    """Follow one run of the simulation to its end; return the loss matrix."""
    field = LwfaField(shape=(8, 256, 8), iterations=iterations)
    with RingSource(partial(FieldStream, field), slots=4) as stream:
        cutter = Cutter(stream.describe(), chunk=(8, 32, 8))
        windows = TaskWindows.in_time(range(iterations), tasks=5, holdout=0.2)
        arrivals = Arrivals(cutter, windows, HeldOut(5, 10**8, 10**5), normalise_by=1)
        learner = MLP(cutter.sample_shape, (64,), 8, generator=seeded(0))
        trainer = InTransitTrainer(
            learner,
            method,
            torch.optim.Adam(learner.parameters(), lr=1e-3),
            now_samples=24,  # three iterations of eight chunks
            task_samples=24,
            batches_per_arrival=20,
            batch_size=8,
            generator=seeded(1),
        )
        learners = [deepcopy(learner) for _ in learn(stream.events(), arrivals, trainer)]
    return loss_matrix(learners, arrivals.held_out_tasks())["mse"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=40, help="default: %(default)s")
    iterations = parser.parse_args().iterations
    torch.set_num_threads(1)
    methods = {
        "naive": Naive(generator=seeded(2)),
        "experience_replay": ExperienceReplay(64, 8, generator=seeded(2)),
    }
    print(f"{'method':<20}{'final error':>12}{'forgetting':>12}")
    for name, method in methods.items():
        matrix = loss_matrix_of(method, iterations)
        error, forgetting = metrics.final_average_error(matrix), metrics.forgetting(matrix)
        print(f"{name:<20}{error:>12.4f}{forgetting:>12.4f}")


if __name__ == "__main__":
    main()
