"""Reconstructions or samples by every checkpoint, in physical units."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from insituml.data.task_files import TaskFiles
from insituml.evaluation import draw_samples, reconstruct
from insituml.learner import ContinualLearner
from insituml_pipelines.data.kinds import KINDS


def examples(learners: Sequence[ContinualLearner], files: TaskFiles) -> dict[str, np.ndarray]:
    """Show what each of K learners makes of one held-out example of each task.

    A generative learner draws samples under the example's conditions, each learner from the same
    random numbers; another one reconstructs the example.

    Returns
    -------
    dict
        ``originals`` ``(K, ...)`` and ``examples`` ``(K tasks, K learners, ...)``, of what the
        data's kind shows: :meth:`insituml_pipelines.data.kind.Kind.picture`.
    """
    kind = KINDS[files.manifest.kind]
    rows = [kind.shown(files, k) for k in range(len(files.manifest.tasks))]
    # As many of each task, so that they stack to one array.
    fewest = min(map(len, rows))
    originals, made = [], []
    for k, task in enumerate(files.tasks()):
        scale = files.manifest.tasks[k].normalisation
        chosen = rows[k][:fewest]
        inputs, *conditions = (column[chosen] for column in task.test)
        shown = [inputs.numpy(), *(_of(learner, inputs, conditions) for learner in learners)]
        first, *others = [kind.picture(scale.invert(x), files, k, chosen) for x in shown]
        originals.append(first)
        made.append(others)
    return {"originals": np.array(originals), "examples": np.array(made)}


def _of(learner: ContinualLearner, inputs: Tensor, conditions: Sequence[Tensor]) -> np.ndarray:
    if not learner.generative:
        return reconstruct(learner, inputs).numpy()
    generator = torch.Generator().manual_seed(0)
    return draw_samples(learner, tuple(conditions), generator=generator).numpy()
