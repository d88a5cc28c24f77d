"""The figures of whole held-out volumes: spectra of the errors, and errors of the field energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from insituml import plots
from insituml.data.manifest import Manifest
from insituml_pipelines.data.plane import plane_of
from insituml_pipelines.results.summary import Summary
from insituml_pipelines.results.volume_tables import (
    ENERGIES,
    SPECTRA,
    read_volume_table,
    spectra_of,
)

_LAST = "Of the last checkpoint"


def volume_figures(
    summaries: Mapping[str, Summary], manifest: Manifest, root: Path, title: str
) -> dict[str, plots.Figure]:
    """Return those that the evaluations have tables for; none of points and images.

    The methods are in the order of ``summaries``.
    """
    made = {"error_spectra": _spectra, "energy_errors": _energies}
    figures = {}
    for name, draw in made.items():
        figure = draw(list(summaries), manifest, root, title, _of_seed(summaries))
        if figure is not None:
            figures[name] = figure
    return figures


def _of_seed(summaries: Mapping[str, Summary]) -> str:
    return f"{_LAST} of seed {min(next(iter(summaries.values())).seeds, key=int)}."


def _spectra(
    methods: Sequence[str], manifest: Manifest, root: Path, title: str, of: str
) -> plots.Figure | None:
    tables = {m: read_volume_table(root, m, SPECTRA) for m in methods}
    # Of the first task it shows what was kept, of the last one what was learned.
    tasks = sorted({0, len(manifest.tasks) - 1})
    found = {m: spectra_of(t, manifest, tasks) for m, t in tables.items() if t is not None}
    if not found:
        return None
    assert manifest.grid is not None
    numbers, fields, _ = next(iter(found.values()))
    if len(numbers) < 2:
        return None
    return plots.error_spectra(
        numbers,
        fields,
        {method: error for method, (_, _, error) in found.items()},
        components=manifest.components,
        units=manifest.units,
        task_names=[f"held out of {manifest.task_names[k]}" for k in tasks],
        axis=manifest.grid.axis_labels[plane_of(manifest.grid.shape)[1]],
        in_metres=set(manifest.grid.spacing) != {1.0},
        title=title,
        notes=[of, "The sum over wave numbers is the mean square.", "k = 0 is left out."],
    )


def _energies(
    methods: Sequence[str], manifest: Manifest, root: Path, title: str, of: str
) -> plots.Figure | None:
    tables = {m: t for m in methods if (t := read_volume_table(root, m, ENERGIES)) is not None}
    if not tables:
        return None
    first = next(iter(tables.values()))
    parts = {"V/m": "ε₀E²/2", "T": "B²/2μ₀"}
    there = [text for unit, text in parts.items() if unit in manifest.units]
    names = [
        c for c, unit in zip(manifest.components, manifest.units, strict=True) if unit in parts
    ]
    density = f"∫ {' + '.join(there)} dV of {', '.join(names)}"
    return plots.energy_errors(
        first["iteration"].to_numpy(),
        first["field"].to_numpy(),
        {method: np.asarray(table["reconstruction"]) for method, table in tables.items()},
        tasks=first["task"].tolist(),
        task_names=manifest.task_names,
        title=title,
        notes=[of, f"Energy: {density}.", "Below 0: energy is lost."],
    )
