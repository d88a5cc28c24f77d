"""What whole held-out volumes of a field say of their reconstructions: spectra and energies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from insituml.data.chunks import assemble
from insituml.data.task_files import TaskFiles
from insituml.evaluation import reconstruct
from insituml.field_energy import field_energy, has_energy
from insituml.learner import ContinualLearner
from insituml.power_spectrum import power_spectrum, wave_numbers
from insituml_pipelines.data.plane import plane_of
from insituml_pipelines.results.volume_tables import EnergyRow, SpectrumRow, VolumeTables


def volume_tables(learner: ContinualLearner, files: TaskFiles) -> VolumeTables:
    """Compare a learner's reconstructions with the held-out volumes, one in memory at a time.

    Spectra go along the longest axis, that of propagation.
    """
    manifest = files.manifest
    grid = manifest.grid
    assert grid is not None
    axis = plane_of(grid.shape)[1]
    numbers = wave_numbers(grid.shape[axis], grid.spacing[axis])
    spectra: list[SpectrumRow] = []
    energies: list[EnergyRow] = []
    for task in range(len(manifest.tasks)):
        found = []
        for iteration, original, restored in _volumes(learner, files, task):
            found.append([power_spectrum(v, axis) for v in (original, restored - original)])
            if has_energy(manifest.units):
                both = [field_energy(v, manifest.units, grid.spacing) for v in (original, restored)]
                energies.append(EnergyRow(task, iteration, *both))
        field, error = np.mean(found, axis=0)
        spectra += [
            SpectrumRow(task, component, *map(float, values))
            for c, component in enumerate(manifest.components)
            for values in zip(numbers, field[c], error[c], strict=True)
        ]
    return VolumeTables(spectra, energies)


def _volumes(
    learner: ContinualLearner, files: TaskFiles, task: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield each held-out iteration of a task, its field and its reconstruction, in their unit."""
    manifest = files.manifest
    assert manifest.grid is not None
    scale = manifest.tasks[task].normalisation
    places, inputs = files.array(task, "test_places"), files.array(task, "test_inputs")
    for iteration in np.unique(places[:, 0]):
        rows = np.flatnonzero(places[:, 0] == iteration)
        samples = torch.from_numpy(inputs[rows])
        original, restored = (
            assemble(scale.invert(values), places[rows, 1:], manifest.grid.shape)
            for values in (samples.numpy(), reconstruct(learner, samples).numpy())
        )
        yield int(iteration), original, restored
