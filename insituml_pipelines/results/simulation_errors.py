"""The errors that methods end with on each simulation of an ensemble."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from insituml.data.task_files import TaskFiles
from insituml.evaluation import is_judged_by_reconstruction, reconstruct
from insituml.learner import ContinualLearner
from insituml.mean_errors import mean_errors
from insituml.relative_error import RelativeError
from insituml_pipelines.results.simulation_rows import FILE, MAIN, SimulationRow


def simulation_errors(
    learner: ContinualLearner, files: TaskFiles, method: str, seed: int
) -> list[SimulationRow]:
    """Return the errors on what each simulation held out, all tasks together.

    Relative L2, ‖x − x̂‖ / ‖x‖ in physical units, of learners that are judged by their
    reconstructions; then the learner's own errors, means over samples.
    """
    ensemble = files.manifest.ensemble
    assert ensemble is not None
    names = ensemble.titles()
    rebuilt = is_judged_by_reconstruction(learner)
    relative = [RelativeError(files.manifest.sample_shape[0]) for _ in names]
    sums: list[dict[str, float]] = [{} for _ in names]
    counts = [0] * len(names)
    for task, info in zip(files.tasks(("test",)), files.manifest.tasks, strict=True):
        numbers = files.array(task.index, "test_places")[:, 0].tolist()
        whose = np.array([ensemble.place(number)[0] for number in numbers])
        for simulation in np.unique(whose).tolist():
            rows = torch.from_numpy(np.flatnonzero(whose == simulation))
            samples = tuple(column[rows] for column in task.test)
            counts[simulation] += len(rows)
            for metric, mean in mean_errors(learner, samples).items():
                total = sums[simulation].get(metric, 0.0) + mean * len(rows)
                sums[simulation][metric] = total
            if rebuilt:
                decoded = reconstruct(learner, samples[0])
                both = (info.normalisation.invert(x.numpy()) for x in (samples[0], decoded))
                relative[simulation].update(*(np.moveaxis(x, 1, 0) for x in both))
    units = files.manifest.units
    rows_made = []
    for k, name in enumerate(names):
        if not counts[k]:
            continue
        errors = {metric: total / counts[k] for metric, total in sums[k].items()}
        if rebuilt:
            errors = {MAIN: relative[k].overall(units), **errors}
        rows_made += [SimulationRow(method, seed, name, counts[k], *e) for e in errors.items()]
    return rows_made


def write_simulation_errors(rows: Sequence[SimulationRow], folder: Path) -> None:
    """Write the table of one method."""
    pd.DataFrame(rows, columns=list(SimulationRow._fields)).to_csv(folder / FILE, index=False)
