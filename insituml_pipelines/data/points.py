"""Points in the plane, shown as clouds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from insituml_pipelines.data.kind import FigureLabels
from insituml_pipelines.data.samples import LabelledSamples

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.data.task_files import TaskFiles
    from insituml.plots import Figure

SHOWN = 400


class Points(LabelledSamples):
    """Points with labels."""

    def shown(self, files: TaskFiles, task: int) -> np.ndarray:
        return np.arange(min(SHOWN, files.manifest.tasks[task].test))

    def picture(
        self, samples: np.ndarray, files: TaskFiles, task: int, rows: np.ndarray
    ) -> np.ndarray:
        return samples

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

        return {"": plots.point_clouds(originals, guesses, beneath=generative, **vars(labels))}
