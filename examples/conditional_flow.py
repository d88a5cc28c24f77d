"""Learn the density of drifting clusters given their label and time, and draw samples back.

Without a remedy, the samples of the first task drift after the stream; replay keeps them.
"""

import argparse

import numpy as np
import torch

from insituml import metrics, plots, train
from insituml.data.task import Task
from insituml.evaluation import draw_samples, loss_matrix
from insituml.methods import ExperienceReplay, Method, Naive
from insituml.models import ConditionalFlow
from insituml.toy_data.generate import generate_toy8, td_gen


def drifting_clusters(tasks: int, points: int) -> list[Task]:
    """Eight clusters that move on between tasks; a fifth of each task's points is held out.

    A batch is ``(x, label)``; the label is one-hot with the time added: cluster and time in one.
    """
    X, Y = generate_toy8("all", points, seed=0)
    mean, std = X.mean(dim=0), X.std(dim=0)  # of the first task: the future is not known
    times, held_out, stream = [2.0 * k for k in range(tasks)], points // 5, []
    for k, (X_t, Y_t) in enumerate(td_gen(X, Y, time=times)):
        x = (X_t - mean) / std
        stream.append(
            Task(
                k,
                f"t = {times[k]:.0f}",
                train=(x[held_out:], Y_t[held_out:]),
                test=(x[:held_out], Y_t[:held_out]),
            )
        )
    return stream


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def learn(method: Method, tasks: list[Task], epochs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the loss matrix, and the samples ``(K, K, n, 2)`` of all tasks after each task."""
    flow = ConditionalFlow(2, condition_size=8, condition_scale=5.0, generator=seeded(0))
    optimizer = torch.optim.Adam(flow.parameters(), lr=2e-3)
    rows, drawn = [], []
    steps = train(
        flow,
        method,
        tasks,
        optimizer,
        epochs=epochs,
        batch_size=64,
        max_gradient_norm=1.0,
        generator=seeded(0),
    )
    for _ in steps:  # train is a generator: it goes on when the next task is asked for
        rows.append(loss_matrix([flow], tasks)["nll"][0])
        of_all = [draw_samples(flow, task.test[1:], generator=seeded(2)) for task in tasks]
        drawn.append(torch.stack(of_all).numpy())
    return np.array(rows), np.array(drawn)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=20, help="per task; default: %(default)s")
    parser.add_argument(
        "--out", default="conditional_flow.png", help="image to write (default: %(default)s)"
    )
    args = parser.parse_args()
    torch.set_num_threads(1)  # small models: more threads are no faster, and change the numbers

    tasks = drifting_clusters(args.tasks, points=480)
    methods = {
        "naive": Naive(generator=seeded(1)),
        "experience_replay": ExperienceReplay(memory_size=100, replay_size=64, generator=seeded(1)),
    }
    samples = []
    for name, method in methods.items():
        matrix, drawn = learn(method, tasks, args.epochs)
        samples.append(drawn)
        print(f"{plots.method_label(name)}: negative log-likelihood in nats, lower is better")
        print(f"{'':<14}" + "".join(f"{'on ' + task.name:>11}" for task in tasks))
        for task, row in zip(tasks, matrix, strict=True):
            print(f"after {task.name:<8}" + "".join(f"{value:>11.4g}" for value in row))
        print(
            f"final average {metrics.final_average_error(matrix):.2f}, "
            f"forgetting {metrics.forgetting(matrix):.2f}\n"
        )

    shown = (0, len(tasks) - 1)  # the first task is what can be forgotten
    figure = plots.point_clouds(
        [tasks[j].test[0].numpy() for j in shown for _ in methods],
        np.array([drawn[:, j] for j in shown for drawn in samples]),
        row_labels=[f"{plots.method_label(m)}, {tasks[j].name}" for j in shown for m in methods],
        column_labels=[f"after {task.name}" for task in tasks],
        learned_at=[j for j in shown for _ in methods],
        title="Clusters at the first and last time, as the stream is learned",
        axis_labels=("$x_0$, normalised", "$x_1$, normalised"),
        beneath=True,
    )
    plots.save(figure, args.out)
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
