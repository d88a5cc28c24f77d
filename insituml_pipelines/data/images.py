"""Images with labels, one of each label shown side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from insituml_pipelines.data.kind import FigureLabels
from insituml_pipelines.data.samples import LabelledSamples

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.data.task_files import TaskFiles
    from insituml.plots import Figure

SHOWN = 4
COLOURS = {1: ("brightness",), 3: ("red", "green", "blue")}


class Images(LabelledSamples):
    """Images with labels."""

    def components(self, manifest: Manifest) -> tuple[str, ...]:
        return COLOURS.get(manifest.sample_shape[0], ())

    def shown(self, files: TaskFiles, task: int) -> np.ndarray:
        labels = files.array(task, "test_labels")
        return np.array([np.flatnonzero(labels == label)[0] for label in np.unique(labels)[:SHOWN]])

    def picture(
        self, samples: np.ndarray, files: TaskFiles, task: int, rows: np.ndarray
    ) -> np.ndarray:
        if files.manifest.permuted:  # nobody recognises a digit whose pixels are shuffled
            places = np.argsort(files.array(task, "pixel_order"))
            flat = samples.reshape(*samples.shape[:2], len(places))
            samples = flat[:, :, places].reshape(samples.shape)
        return _side_by_side(samples)

    def draw(
        self,
        originals: np.ndarray,
        guesses: np.ndarray,
        manifest: Manifest,
        *,
        generative: bool,
        labels: FigureLabels,
    ) -> dict[str, Figure]:
        from insituml import plots

        if manifest.permuted:
            labels = replace(labels, title=f"{labels.title}, pixels put back")
        return {"": plots.image_grid(originals, guesses, **vars(labels))}


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
