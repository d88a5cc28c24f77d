"""Whatever components a source has, openPMD finds them in their records, with their units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openpmd_api as io
import pytest

from insituml.data.openpmd.mesh_writer import MeshWriter, places_of, record_to_read
from insituml.data.openpmd.series import OpenPMDSeries
from insituml.data.openpmd.units import UNITS, unit_name, unit_powers
from insituml.data.openpmd.writer import write_series
from insituml.data.step import Grid, Step

SCALAR = io.Mesh_Record_Component.SCALAR


class Several:
    """Two steps of components that count up, on a 1-D grid."""

    unit = "V/m"
    grid = Grid((5,), (1e-6,), (2e-6,), ("z",))
    iteration_numbers = (0, 7)

    def __init__(self, components: tuple[str, ...], units: tuple[str, ...]) -> None:
        self.components = components
        self.units = units

    def __len__(self) -> int:
        return len(self.iteration_numbers)

    def __iter__(self):
        return map(self.step, self.iteration_numbers)

    def step(self, number: int) -> Step:
        values = np.arange(5 * len(self.components), dtype=np.float32) + number
        return Step(number, 1e-15 * number, values.reshape(-1, 5))


@pytest.mark.parametrize(
    "components, places",
    [
        (("Ex", "Bz"), [("E", "x"), ("B", "z")]),
        (("rho",), [("rho", SCALAR)]),
        (("density", "energy"), [("density", SCALAR), ("energy", SCALAR)]),
        (("velx", "vely"), [("vel", "x"), ("vel", "y")]),
        (("EnvEx", "J_x", "A2z"), [("EnvE", "x"), ("J_", "x"), ("A2", "z")]),
        (("x",), [("x", SCALAR)]),
        (("Er",), [("Er", SCALAR)]),
    ],
)
def test_where_components_belong(components, places) -> None:
    assert places_of(components) == places


@pytest.mark.parametrize(
    "components, record",
    [
        (("Ex", "Ey", "Ez"), "E"),
        (("Bz",), "B"),
        (("rho",), "rho"),
        (("Ex", "Ez", "Bz", "rho"), ["E", "B", "rho"]),
        (("Ez", "Ex"), ["Ez", "Ex"]),
        (("Ex", "Bz", "Ey"), ["Ex", "Bz", "Ey"]),
    ],
)
def test_what_to_ask_a_reader_for(components, record) -> None:
    assert record_to_read(components) == record


@pytest.mark.parametrize("ending", [".h5", ".bp"])
def test_each_record_has_its_own_unit(tmp_path: Path, ending: str) -> None:
    source = Several(("Ex", "Bz", "Ez", "rho", "n"), ("V/m", "T", "V/m", "C/m^3", "m^-3"))
    path = tmp_path / f"all{ending}"
    write_series(path, source)
    for record, names, unit in (
        ("E", ("Ex", "Ez"), "V/m"),
        ("B", ("Bz",), "T"),
        ("rho", ("rho",), "C/m^3"),
        ("n", ("n",), "m^-3"),
    ):
        read = OpenPMDSeries(path, record=record)
        assert (read.components, read.unit, read.grid) == (names, unit, source.grid)
        rows = [source.components.index(name) for name in names]
        for found, expected in zip(read, source, strict=True):
            np.testing.assert_array_equal(found.values, expected.values[rows])


def test_components_of_one_record_share_their_unit() -> None:
    with pytest.raises(ValueError, match="record 'E' have the units 'V/m' and 'T'"):
        MeshWriter(("Ex", "Ey"), ("V/m", "T"), Several.grid)


@pytest.mark.parametrize(
    "unit, powers",
    [
        *UNITS.items(),
        ("m^-3", (-3, 0, 0, 0, 0, 0, 0)),
        ("1/m^3", (-3, 0, 0, 0, 0, 0, 0)),
        ("V", (2, 1, -3, -1, 0, 0, 0)),
        ("V·s/m^2", UNITS["T"]),
        ("kg m s^-2 / m^2", unit_powers("Pa")),
        ("W/m2", (0, 1, -3, 0, 0, 0, 0)),
        ("", UNITS["1"]),
    ],
)
def test_units_are_spelled_with_powers(unit: str, powers) -> None:
    assert unit_powers(unit) == powers
    assert unit_powers(unit_name(powers)) == powers


@pytest.mark.parametrize("unit", ["GV/m", "V/", "arb. u.", "%", "V^^2"])
def test_other_spellings_are_refused(unit: str) -> None:
    with pytest.raises(ValueError, match="spell it with powers of m, kg, s"):
        unit_powers(unit)
