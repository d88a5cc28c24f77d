"""The tables of whole held-out volumes that an evaluation leaves: spectra and energies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from insituml_pipelines.common.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from insituml.data.manifest import Manifest

SPECTRA, ENERGIES = "spectra.csv", "energies.csv"


class SpectrumRow(NamedTuple):
    """Mean squares at one angular wave number (1/m), over a task's held-out iterations."""

    task: int
    component: str
    wave_number: float
    field: float
    error: float


class EnergyRow(NamedTuple):
    """Field energy of one held-out iteration, and of its reconstruction."""

    task: int
    iteration: int
    field: float
    reconstruction: float


@dataclass(frozen=True)
class VolumeTables:
    """Rows of both tables; no energies of what is neither an electric nor a magnetic field."""

    spectra: list[SpectrumRow]
    energies: list[EnergyRow]

    def write(self, folder: Path) -> None:
        """Write those that have rows as CSV."""
        import pandas as pd

        for name, rows, kind in (
            (SPECTRA, self.spectra, SpectrumRow),
            (ENERGIES, self.energies, EnergyRow),
        ):
            if rows:
                pd.DataFrame(rows, columns=list(kind._fields)).to_csv(folder / name, index=False)


def read_volume_table(root: Path, method: str, name: str) -> pd.DataFrame | None:
    """Return a table of a method's evaluation; None where its data or its learner have none.

    Raises
    ------
    UserError
        If it is damaged.
    """
    import pandas as pd

    path = root / "evaluations" / method / name
    if not path.exists():
        return None
    kind = SpectrumRow if name == SPECTRA else EnergyRow
    try:
        return pd.read_csv(path)[list(kind._fields)]
    except (ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{path} is damaged ({reason}); run `insituml evaluate method={method}` again"
        ) from error


def spectra_of(
    table: pd.DataFrame, manifest: Manifest, tasks: list[int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return wave numbers ``(n,)``, and of field and error ``(tasks, components, n)``."""
    sorted_ = table.set_index(["task", "component"])
    parts = [[sorted_.loc[(k, c)] for c in manifest.components] for k in tasks]
    numbers = parts[0][0]["wave_number"].to_numpy(float)
    field, error = (
        np.array([[part[name].to_numpy(float) for part in row] for row in parts])
        for name in ("field", "error")
    )
    return numbers, field, error
