"""Reconstructions or samples by every checkpoint, in physical units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from insituml.data.chunks import assemble
from insituml.data.normalisation import Normalisation
from insituml.evaluation import draw_samples, reconstruct
from insituml.learner import ContinualLearner
from pipelines.common.task_files import Stream
from pipelines.results.plane import plane_of

POINTS = 400
IMAGES = 4


def examples(learners: Sequence[ContinualLearner], stream: Stream) -> dict[str, np.ndarray]:
    """Show what each of K learners makes of one held-out example of each task.

    A generative learner draws samples under the example's conditions, each learner from the same
    random numbers; another one reconstructs the example.

    Returns
    -------
    dict
        ``originals`` ``(K, ...)`` and ``examples`` ``(K tasks, K learners, ...)``: for a
        field the plane through the middle, :func:`~pipelines.results.plane.plane_of`, as
        ``(components, up,
        right)``, of the middle held-out step; for images, side by side, a held-out image of each
        of up to four labels, as many as every task has, permuted pixels put back, channels last if
        they are three; for points up to 400, as many as every task has.
    """
    shown_rows = _chosen_alike(stream)
    originals, rows = [], []
    for k, task in enumerate(stream.tasks()):
        normalisation = Normalisation(
            *(np.array(stream.info["tasks"][k]["normalisation"][key]) for key in ("mean", "std"))
        )
        chosen = shown_rows[k]
        inputs, *conditions = (column[chosen] for column in task.test)
        shown = [inputs.numpy(), *(_of(learner, inputs, conditions) for learner in learners)]
        first, *others = [_shape(normalisation.invert(x), stream, k, chosen) for x in shown]
        originals.append(first)
        rows.append(others)
    return {"originals": np.array(originals), "examples": np.array(rows)}


def _of(learner: ContinualLearner, inputs: Tensor, conditions: Sequence[Tensor]) -> np.ndarray:
    if not learner.generative:
        return reconstruct(learner, inputs).numpy()
    generator = torch.Generator().manual_seed(0)
    return draw_samples(learner, tuple(conditions), generator=generator).numpy()


def _chosen_alike(stream: Stream) -> list[np.ndarray]:
    """Return the rows shown of each task: as many of each, so that they stack to one array."""
    chosen = [_chosen(stream, k) for k in range(len(stream.task_names))]
    count = min(map(len, chosen))
    return chosen if stream.info["kind"] == "field" else [rows[:count] for rows in chosen]


def _chosen(stream: Stream, task: int) -> np.ndarray:
    """Return the rows of a task's held-out samples that are shown."""
    if stream.info["kind"] == "field":
        steps = stream.array(task, "test_places")[:, 0]
        held_out = np.unique(steps)
        return np.flatnonzero(steps == held_out[len(held_out) // 2])
    labels = stream.array(task, "test_labels")
    if stream.info["kind"] == "images":
        shown = np.unique(labels)[:IMAGES]
        return np.array([np.flatnonzero(labels == label)[0] for label in shown])
    return np.arange(min(POINTS, len(labels)))


def _shape(samples: np.ndarray, stream: Stream, task: int, chosen: np.ndarray) -> np.ndarray:
    if stream.info["kind"] == "field":
        places = stream.array(task, "test_places")[chosen, 1:]
        shape = tuple(stream.info["grid"]["shape"])
        volume = assemble(samples, places, shape)
        *kept, cut = plane_of(shape)
        middle = np.take(volume, shape[cut] // 2, axis=-3 + cut)
        return middle if kept == sorted(kept) else np.swapaxes(middle, -1, -2)
    if stream.info["kind"] == "images":
        if stream.info["permuted"]:  # nobody recognises a digit whose pixels are shuffled
            places = np.argsort(stream.array(task, "pixel_order"))
            flat = samples.reshape(*samples.shape[:2], len(places))
            samples = flat[:, :, places].reshape(samples.shape)
        return _side_by_side(samples)
    return samples


def _side_by_side(images: np.ndarray) -> np.ndarray:
    """Join ``(n, channels, h, w)`` to one, NaN in between; four as 2×2, as panels are small."""
    images = np.moveaxis(images, 1, -1) if images.shape[1] == 3 else images[:, 0]
    count, height, width = images.shape[:3]
    columns = 2 if count == 4 else count
    gap = max(1, height // 14)
    down, right = height + gap, width + gap
    shape = (count // columns * down - gap, columns * right - gap, *images.shape[3:])
    joined = np.full(shape, np.nan, dtype=images.dtype)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        joined[row * down :, column * right :][:height, :width] = image
    return joined
