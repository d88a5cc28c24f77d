"""Train a model of one's own with A-GEM: in a loop of one's own, then with insituml.train."""

import argparse

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from insituml import ContinualLearner, metrics, train
from insituml.data.task import Batch, Task
from insituml.evaluation import loss_matrix
from insituml.memory import EpisodicMemory
from insituml.methods import AGEM, Method, Naive

POINTS, BATCH_SIZE = 24, 16
MEMORY_SIZE, REFERENCE_SIZE = 64, 32


def loss_of_values_and_slopes(reconstruction: Tensor, x: Tensor) -> Tensor:
    return mse_loss(reconstruction, x) + mse_loss(reconstruction.diff(dim=1), x.diff(dim=1))


class MyModel(ContinualLearner):
    """Any layers in ``encode`` and ``decode``; any loss of a batch in ``loss``."""

    def __init__(self, latent_size: int) -> None:
        super().__init__()
        self.narrowing = nn.Sequential(nn.Linear(POINTS, 32), nn.Tanh(), nn.Linear(32, latent_size))
        self.widening = nn.Sequential(nn.Linear(latent_size, 32), nn.Tanh(), nn.Linear(32, POINTS))

    def encode(self, x: Tensor) -> Tensor:
        return self.narrowing(x)

    def decode(self, latent: Tensor) -> Tensor:
        return self.widening(latent)

    def loss(self, batch: Batch) -> Tensor:
        x = batch[0]
        _, reconstruction, _ = self(x)
        return loss_of_values_and_slopes(reconstruction, x)


def waves(tasks: int, samples: int) -> list[Task]:
    """Waves of any phase, of a shorter wavelength in each task; a fifth is held out."""
    generator, held_out, stream = seeded(0), samples // 5, []
    place = torch.linspace(0, 1, POINTS)
    for k in range(tasks):
        phase = torch.rand(samples, 1, generator=generator)
        x = torch.sin(2 * torch.pi * ((k + 1) * place - phase))
        stream.append(Task(k, f"{k + 1} periods", train=(x[held_out:],), test=(x[:held_out],)))
    return stream


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new_model() -> tuple[MyModel, torch.optim.Optimizer]:
    torch.manual_seed(0)  # the same first weights each time
    model = MyModel(latent_size=4)
    return model, torch.optim.Adam(model.parameters(), lr=3e-3)


def train_by_hand(tasks: list[Task], epochs: int) -> tuple[MyModel, np.ndarray]:
    """A-GEM is the three lines after ``backward``, and ``store_task``."""
    model, optimizer = new_model()
    memory = EpisodicMemory(MEMORY_SIZE, len(tasks), REFERENCE_SIZE, generator=seeded(1))
    order, rows = seeded(2), []
    for task in tasks:
        x = task.train[0]
        for _ in range(epochs):
            for chosen in torch.randperm(len(x), generator=order).split(BATCH_SIZE):
                optimizer.zero_grad()
                model.loss((x[chosen],)).backward()
                if len(memory) > 0:
                    past = memory.reference()[0]
                    model.calculate_ref_gradients(past, loss_of_values_and_slopes)
                    model.overwrite_grad()
                optimizer.step()
        memory.store_task(task.train)
        rows.append(loss_matrix([model], tasks)["mse"][0])
    return model, np.array(rows)


def train_with(method: Method, tasks: list[Task], epochs: int) -> tuple[MyModel, np.ndarray]:
    """The same with the library's loop, which yields after each task."""
    model, optimizer = new_model()
    steps = train(
        model,
        method,
        tasks,
        optimizer,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        generator=seeded(2),
    )
    rows = [loss_matrix([model], tasks)["mse"][0] for _ in steps]
    return model, np.array(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=20, help="per task; default: %(default)s")
    args = parser.parse_args()
    torch.set_num_threads(1)

    tasks = waves(args.tasks, samples=250)
    agem = AGEM(MEMORY_SIZE, len(tasks), REFERENCE_SIZE, generator=seeded(1))
    models = {
        "naive": train_with(Naive(generator=seeded(1)), tasks, args.epochs),
        "A-GEM by hand": train_by_hand(tasks, args.epochs),
        "A-GEM by method": train_with(agem, tasks, args.epochs),
    }
    print(f"{'':<20}{'final error':>12}{'forgetting':>12}")
    for name, (_, matrix) in models.items():
        error, forgotten = metrics.final_average_error(matrix), metrics.forgetting(matrix)
        print(f"{name:<20}{error:>12.4f}{forgotten:>12.4f}")

    one, other = (models[f"A-GEM by {way}"][0].state_dict() for way in ("hand", "method"))
    same = all(torch.equal(one[name], other[name]) for name in one)
    print(f"both ways of A-GEM give the same weights, bit for bit: {same}")


if __name__ == "__main__":
    main()
