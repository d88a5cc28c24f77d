"""From the size of a field to tasks, chunks, a model and training that suit it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node

TASKS = 5
TASK_ITERATIONS = 5
"""Of a task at least, where there are enough."""
HOLDOUT = 0.2
VALIDATION = 0.1
FEWEST_TO_VALIDATE = 5
"""Iterations of a task that has a validation part, where nobody says so."""
SAMPLE_POINTS = {1: 256, 2: 4096, 3: 8192}
"""Points of a chunk at most, by the number of axes."""
FEWEST_POINTS = 4
"""Along an axis of a chunk that is cut."""
LEVELS = 3
"""Of the network that refines principal components, at most."""
NARROW_POINTS = 2048
"""Of a sample, up to which a network of half the width does."""
NUMBERS_A_LATENT = 400
STEPS = 150
"""Of the optimizer in a task at least."""
FEWEST_EPOCHS = 3


@dataclass(frozen=True)
class Proposal:
    """How a field is cut and learned.

    Parameters
    ----------
    tasks
        Number of tasks.
    chunk
        Points of a sample along each axis.
    model
        File in ``conf/model``.
    model_values
        What of it differs from that file.
    epochs
        Passes over each task.
    samples
        Samples to train on of the smallest task.
    all_samples
        Samples to train on of all tasks.
    validation
        Part of each task to select by; None: none.
    """

    tasks: int
    chunk: tuple[int, ...]
    model: str
    model_values: Node
    epochs: int
    samples: int
    all_samples: int
    validation: float | None

    def steps(self, batch_size: int) -> int:
        """Return the optimizer's steps in the smallest task."""
        return self.epochs * math.ceil(self.samples / batch_size)


def propose(
    iterations: Sequence[int],
    components: int,
    shape: Sequence[int],
    batch_size: int,
    *,
    tasks: int | None = None,
    chunk: Sequence[int] | None = None,
    given: Mapping[str, Any] = MappingProxyType({}),
) -> Proposal:
    """Propose how to learn a field.

    Parameters
    ----------
    iterations
        Numbers of all that there are.
    components
        Number of components.
    shape
        Points of the grid.
    batch_size
        Samples of a step.
    tasks, chunk
        As given; None: what suits the data.
    given
        Values of section ``data`` by dotted name; ``split.validation`` may be among them.

    Raises
    ------
    UserError
        If there are fewer than two iterations, or too few for the tasks, or a chunk does not
        divide the grid.
    """
    from insituml.data.chunks import chunk_places
    from insituml.data.windows import TaskWindows

    if len(iterations) < 2:
        raise UserError(
            f"there is {len(iterations)} iteration; at least two are needed, one to train on and "
            "one to hold out"
        )
    tasks = tasks_of(len(iterations)) if tasks is None else tasks
    chunk = tuple(chunk_of(shape) if chunk is None else chunk)
    try:
        fewest = len(iterations) // tasks if tasks > 0 else 0
        room = VALIDATION if fewest >= FEWEST_TO_VALIDATE else None
        validation = given.get("split.validation", room)
        windows = TaskWindows.in_time(iterations, tasks, HOLDOUT, validation)
        places = chunk_places(tuple(shape), chunk)
    except ValueError as error:
        raise UserError(str(error)) from error
    samples = len(places) * min(len(windows.trained(task)) for task in range(tasks))
    learned = len(places) * sum(len(windows.trained(task)) for task in range(tasks))
    model, values = model_of((components, *chunk))
    epochs = max(FEWEST_EPOCHS, math.ceil(STEPS / math.ceil(samples / batch_size)))
    return Proposal(tasks, chunk, model, values, epochs, samples, learned, validation)


def tasks_of(iterations: int) -> int:
    """Return into how many tasks this many iterations are cut; each needs two at least."""
    if iterations >= 2 * TASK_ITERATIONS:
        return min(TASKS, iterations // TASK_ITERATIONS)
    return min(2, iterations // 2)


def chunk_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Return a chunk that divides a grid: the whole, its longest axes divided by small primes.

    It has no more points than :data:`SAMPLE_POINTS`, unless the numbers of points have no
    divisor that would do.
    """
    chunk = list(shape)
    limit = SAMPLE_POINTS.get(len(chunk), max(SAMPLE_POINTS.values()))
    while math.prod(chunk) > limit:
        for axis in sorted(range(len(chunk)), key=lambda a: -chunk[a]):
            prime = smallest_prime(chunk[axis])
            if chunk[axis] // prime >= FEWEST_POINTS:
                chunk[axis] //= prime
                break
        else:
            break
    return tuple(chunk)


def smallest_prime(number: int) -> int:
    """Return the smallest prime that divides a number; of 1, 1 itself."""
    return next((p for p in range(2, math.isqrt(number) + 1) if number % p == 0), number)


def model_of(sample_shape: Sequence[int]) -> tuple[str, Node]:
    """Return the file in ``conf/model`` for samples of a shape, and the values of a size for it."""
    numbers, grid = math.prod(sample_shape), sample_shape[1:]
    latent_size = latents_of(numbers)
    if not 1 <= len(grid) <= 3 or max(grid) < 2 or numbers < latent_size:
        return "mlp", {"hidden_sizes": [64], "latent_size": latent_size}
    # A level halves the grid; what an axis is too short for would be padding.
    levels = min(LEVELS, max(1, round(math.log2(min(n for n in grid if n > 1))) - 1))
    width = 16 if math.prod(grid) > NARROW_POINTS else 8
    channels = [width * 2**level for level in range(levels)]
    return "hybrid", {"channels": channels, "latent_size": latent_size}


def latents_of(numbers: int) -> int:
    """Return a power of two, some hundred times smaller than a sample; between 8 and 64."""
    return min(64, max(8, 2 ** round(math.log2(max(1, numbers / NUMBERS_A_LATENT)))))
