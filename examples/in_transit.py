"""Learn from a simulation in another process while it runs; print what each method forgot."""

import argparse
from functools import partial

import numpy as np
import torch

from insituml import metrics
from insituml.data.chunks import chunk_volume
from insituml.data.lwfa import LwfaField
from insituml.data.normalisation import Normalisation, RunningMoments
from insituml.data.step import Step
from insituml.data.task import Batch, Task
from insituml.evaluation import loss_matrix
from insituml.in_transit.trainer import InTransitTrainer
from insituml.in_transit.windows import TaskWindows
from insituml.methods import ExperienceReplay, Method, Naive
from insituml.models import MLP
from insituml.stream import FieldStream, Finished, RingSource

CHUNK = (8, 32, 8)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learn(method: Method, iterations: int) -> np.ndarray:
    """Follow one run of the simulation to its end; return the loss matrix."""
    learner = MLP((3, *CHUNK), (64,), 8, generator=seeded(0))
    trainer = InTransitTrainer(
        learner,
        method,
        torch.optim.Adam(learner.parameters(), lr=1e-3),
        now_samples=24,  # three steps of eight chunks
        task_samples=24,
        batches_per_step=20,
        batch_size=8,
        generator=seeded(1),
    )
    windows = TaskWindows(range(iterations), tasks=5, holdout=0.2)
    held_out: list[list[torch.Tensor]] = [[] for _ in range(len(windows))]
    weights: list[dict[str, torch.Tensor]] = []
    normalisation: Normalisation | None = None

    def end_task() -> None:
        trainer.end_task()
        weights.append({name: value.clone() for name, value in learner.state_dict().items()})

    field = LwfaField(shape=(8, 256, 8), iterations=iterations)
    with RingSource(partial(FieldStream, field), slots=4, policy="block") as stream:
        for event in stream.events():
            if not isinstance(event, Step):
                assert isinstance(event, Finished), event  # gaps and faults would come here
                break
            chunks = chunk_volume(event.values, CHUNK)
            if normalisation is None:  # of the first step: the future is not known
                moments = RunningMoments(len(event.values))
                moments.update(chunks)
                normalisation = moments.normalisation()
            samples: Batch = (torch.from_numpy(normalisation.apply(chunks)),)
            task = windows.task_of(event.iteration)
            if trainer.task is not None and trainer.task != task:
                end_task()
            if trainer.task is None:
                trainer.begin_task(task, windows.name(task), samples)
            if event.iteration in windows.held_out:
                held_out[task].append(samples[0])
            else:
                trainer.learn(samples)
        end_task()

    tasks = [Task(k, windows.name(k), (), (torch.cat(h),)) for k, h in enumerate(held_out)]
    rows = []
    for state in weights:
        learner.load_state_dict(state)
        rows.append(loss_matrix([learner], tasks)["mse"][0])
    return np.stack(rows)


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
        matrix = learn(method, iterations)
        error, forgetting = metrics.final_average_error(matrix), metrics.forgetting(matrix)
        print(f"{name:<20}{error:>12.4f}{forgetting:>12.4f}")


if __name__ == "__main__":
    main()
