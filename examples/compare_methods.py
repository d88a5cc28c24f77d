"""Train three methods on drifting clusters, one task after the other; print what each forgot."""

import argparse

import numpy as np
import torch

from insituml import metrics, plots, train
from insituml.data.task import Task
from insituml.evaluation import loss_matrix
from insituml.methods import EWC, ExperienceReplay, Naive
from insituml.models import MLP
from insituml.toy_data.generate import generate_toy8, td_gen


def drifting_clusters(tasks: int, points: int) -> list[Task]:
    """Eight clusters that move on between tasks; a fifth of each task's points is held out."""
    X, Y = generate_toy8("all", points, seed=0)
    mean, std = X.mean(dim=0), X.std(dim=0)  # of the first task: the future is not known
    stream, held_out = [], points // 5
    order = torch.randperm(points, generator=torch.Generator().manual_seed(0))
    for k, (X_t, _) in enumerate(td_gen(X, Y, time=[2.0 * k for k in range(tasks)])):
        x = (X_t[order] - mean) / std
        stream.append(Task(k, f"t = {2 * k}", train=(x[held_out:],), test=(x[:held_out],)))
    return stream


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=20, help="per task; default: %(default)s")
    parser.add_argument(
        "--out", default="compare_methods.png", help="image to write (default: %(default)s)"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)  # small models: more threads are no faster, and change the numbers

    tasks = drifting_clusters(args.tasks, points=400)
    methods = {
        "naive": Naive(generator=seeded(1)),
        "ewc": EWC(strength=100.0, generator=seeded(1)),
        "experience_replay": ExperienceReplay(memory_size=64, generator=seeded(1)),
    }
    matrices = {}
    print(f"{'method':<20}{'final error':>12}{'forgetting':>12}{'backward':>12}{'forward':>12}")
    for name, method in methods.items():
        # Every method starts from the same weights and sees the same order of samples.
        learner = MLP(2, hidden_sizes=(64, 64), latent_size=1, generator=seeded(0))
        optimizer = torch.optim.Adam(learner.parameters(), lr=1e-3)
        # One row a learner: the untrained one, then as it is after each task.
        rows = [loss_matrix([learner], tasks)["mse"][0]]
        steps = train(
            learner,
            method,
            tasks,
            optimizer,
            epochs=args.epochs,
            batch_size=32,
            max_gradient_norm=1.0,
            generator=seeded(0),
        )
        for _ in steps:  # train is a generator: it goes on when the next task is asked for
            rows.append(loss_matrix([learner], tasks)["mse"][0])
        untrained, *trained = rows
        matrix = np.array(trained)
        matrices[name] = matrix
        print(
            f"{plots.method_label(name):<20}"
            f"{metrics.final_average_error(matrix):>12.4f}"
            f"{metrics.forgetting(matrix):>12.4f}"
            f"{metrics.backward_transfer(matrix):>12.4f}"
            f"{metrics.forward_transfer(matrix, untrained):>12.4f}"
        )

    figure = plots.loss_matrix_grid(
        matrices,
        task_names=[task.name for task in tasks],
        metric_label="mean squared error of normalised data",
        title="drifting clusters",
        log=True,
    )
    plots.save(figure, args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
