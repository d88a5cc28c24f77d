"""The loss matrices of one part of the tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from insituml_pipelines.common.parts import TEST

if TYPE_CHECKING:
    from insituml.data import Task, TaskFiles
    from insituml.learner import ContinualLearner
    from insituml.physical_errors import PhysicalScale


def judged(files: TaskFiles, part: str) -> list[Task]:
    """Return the tasks with one part as what they are judged by; no file of others is opened."""
    tasks = files.tasks((part,))
    return tasks if part == TEST else [replace(task, test=task.validation) for task in tasks]


def loss_matrices(
    learners: list[ContinualLearner],
    files: TaskFiles,
    part: str,
    progress: Callable[[], object] = lambda: None,
) -> dict[str, np.ndarray]:
    """Return the loss matrix of each error, in physical units where samples have them.

    ``progress`` is called after each learner.
    """
    from insituml.evaluation import (
        is_judged_by_reconstruction,
        loss_matrix,
        physical_loss_matrix,
    )

    tasks = judged(files, part)
    scales = _scales(files, tasks)
    if not scales or not is_judged_by_reconstruction(learners[-1]):
        return loss_matrix(learners, tasks, progress=progress)
    # Of shuffled pixels it says nothing which ones lie in one window.
    similarity = not files.manifest.permuted
    return physical_loss_matrix(learners, tasks, scales, similarity=similarity, progress=progress)


def _scales(files: TaskFiles, tasks: list[Task]) -> list[PhysicalScale]:
    """Return what the samples of each task mean; none where they have no norm of their own."""
    from insituml.physical_errors import PhysicalScale
    from insituml_pipelines.data.kinds import KINDS

    manifest = files.manifest
    components = KINDS[manifest.kind].components(manifest)
    if not components:
        return []
    units = manifest.units or ("",) * len(components)
    return [
        PhysicalScale.of(task.test[0], components, units, info.normalisation)
        for task, info in zip(tasks, manifest.tasks, strict=True)
    ]
