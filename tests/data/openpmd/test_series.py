"""Files written from a source give it back, and equal sources give equal files."""

import os
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openpmd_api as io
import pytest

from insituml.data.openpmd import writer as openpmd_writer
from insituml.data.openpmd.series import OpenPMDSeries
from insituml.data.openpmd.writer import MODIFIED, write_series
from insituml.data.step import Grid, Step


class Source:
    """Three steps of random numbers on a grid with all axes different."""

    def __init__(
        self,
        components: tuple[str, ...] = ("Ex", "Ey", "Ez"),
        unit: str = "V/m",
        shape: tuple[int, ...] = (4, 6, 5),
        steps: int = 3,
    ) -> None:
        labels = ("x", "y", "z")[: len(shape)]
        spacing = (1e-6, 2e-7, 3e-6)[: len(shape)]
        origin = (-2e-6, -2.5e-5, 7e-6)[: len(shape)]
        self.components = components
        self.unit = unit
        self.grid = Grid(shape, spacing, origin, labels)
        self.steps = steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Step]:
        rng = np.random.default_rng(0)
        for i in range(self.steps):
            values = rng.normal(size=(len(self.components), *self.grid.shape))
            yield Step(100 * i, 1e-13 * i, values.astype(np.float32))


def assert_same_steps(one, other) -> None:
    for a, b in zip(one, other, strict=True):
        assert (a.iteration, a.time) == (b.iteration, b.time)
        assert b.values.dtype == np.float32
        np.testing.assert_array_equal(a.values, b.values)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_series(tmp_path / "e.h5", Source())
    return tmp_path / "e.h5"


@pytest.mark.parametrize(
    "source, record",
    [
        (Source(), "E"),
        (Source(("Ey",)), "E"),
        (Source(("Bx", "By"), unit="T", shape=(4, 6)), "B"),
        (Source(("Jz",), unit="A/m^2", steps=1), "J"),
    ],
)
def test_round_trip(tmp_path: Path, source: Source, record: str) -> None:
    write_series(tmp_path / "f.h5", source)
    back = OpenPMDSeries(tmp_path / "f.h5", record=record)
    assert (back.components, back.unit, back.grid) == (source.components, source.unit, source.grid)
    assert len(back) == len(source)
    assert_same_steps(source, back)
    assert_same_steps(source, back)  # and once more


@pytest.mark.parametrize("index, name", list(enumerate(["Ex", "Ey", "Ez"])))
def test_one_component(file: Path, index: int, name: str) -> None:
    back = OpenPMDSeries(file, component=name)
    assert back.components == (name,)
    for a, b in zip(Source(), back, strict=True):
        np.testing.assert_array_equal(a.values[index : index + 1], b.values)


def test_chosen_steps_in_any_order(file: Path) -> None:
    run, back = list(Source()), OpenPMDSeries(file)
    assert back.iteration_numbers == [0, 100, 200]
    assert_same_steps([run[place] for place in (2, 0, 2, 2)], back.steps([2, 0, 2, 2]))


def test_attributes_follow_the_standard(file: Path) -> None:
    series = io.Series(str(file), io.Access.read_only)
    assert series.openPMD.startswith("1.")
    assert series.author == "insituml"
    assert series.software == "insituml"
    iteration = series.iterations[200]
    assert (iteration.time, iteration.time_unit_SI) == (2e-13, 1.0)
    assert iteration.dt == pytest.approx(1e-15)
    mesh = iteration.meshes["E"]
    assert mesh.geometry == io.Geometry.cartesian
    assert mesh.axis_labels == ["x", "y", "z"]
    assert mesh.grid_spacing == [1e-6, 2e-7, 3e-6]
    assert mesh.grid_global_offset == [-2e-6, -2.5e-5, 7e-6]
    assert mesh.unit_dimension == [1, 1, -3, -1, 0, 0, 0]
    assert mesh["x"].unit_SI == 1.0
    series.close()


def test_equal_sources_give_equal_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    write_series(first, Source())
    time.sleep(1.1)  # HDF5 notes the second
    write_series(second, Source())
    assert first.read_bytes() == second.read_bytes()
    write_series(second, Source(steps=2))
    assert first.read_bytes() != second.read_bytes()


@pytest.mark.parametrize("filler", ["85", "170"])
def test_bytes_do_not_depend_on_the_process(tmp_path: Path, file: Path, filler: str) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from test_series import *; "
        "write_series(sys.argv[2], Source())"
    )
    out = tmp_path / "elsewhere.h5"
    # Fill what malloc returns, so that bytes never written would show.
    environment = {**os.environ, "MALLOC_PERTURB_": filler, "PYTHONPATH": os.pathsep.join(sys.path)}
    here = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", script, here, str(out)], check=True, env=environment)
    assert out.read_bytes() == file.read_bytes()


def test_no_attribute_has_padding(file: Path) -> None:
    series = io.Series(str(file), io.Access.read_only)
    iteration = series.iterations[0]
    mesh = iteration.meshes["E"]
    assert [mesh[axis].position for axis in "xyz"] == [[0.0, 0.0, 0.0]] * 3
    for part in (series, iteration, mesh, mesh["x"]):
        assert not {"float128", "complex256"} & {str(t) for t in part.attribute_dtypes.values()}
    series.close()


def test_only_times_are_forgotten(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(openpmd_writer, "_forget_times", lambda file, expected: None)
        start = int(time.time())
        write_series(tmp_path / "raw.h5", Source())
        end = int(time.time())
    write_series(tmp_path / "clean.h5", Source())
    raw = bytearray((tmp_path / "raw.h5").read_bytes())
    count, at = 0, raw.find(MODIFIED)
    while at >= 0:
        stamp = slice(at + len(MODIFIED), at + len(MODIFIED) + 4)
        assert start <= struct.unpack("<I", raw[stamp])[0] <= end
        raw[stamp] = bytes(4)
        count, at = count + 1, raw.find(MODIFIED, at + 1)
    assert count == 9
    assert bytes(raw) == (tmp_path / "clean.h5").read_bytes()


def test_time_stamps_are_found_across_blocks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: Path
) -> None:
    monkeypatch.setattr(openpmd_writer, "BLOCK", 8)
    write_series(tmp_path / "small.h5", Source())
    assert (tmp_path / "small.h5").read_bytes() == file.read_bytes()


def test_data_that_look_like_a_time_stamp_are_refused(tmp_path: Path) -> None:
    class Trap(Source):
        def __iter__(self) -> Iterator[Step]:
            for step in super().__iter__():
                pattern = np.frombuffer(MODIFIED + bytes(4), dtype=np.float32)
                step.values[0, 0, 0, :4] = pattern
                step.values[0, 0, 1, :4] = pattern
                yield step

    with pytest.raises(RuntimeError, match="expected 9"):
        write_series(tmp_path / "trap.h5", Trap())
    assert list(tmp_path.iterdir()) == []


def test_data_between_the_places_of_time_stamps_are_kept(tmp_path: Path) -> None:
    class Lookalike(Source):
        def __iter__(self) -> Iterator[Step]:
            for step in super().__iter__():
                step.values[0, 0, 0, 1:5] = np.frombuffer(MODIFIED + b"abcd", dtype=np.float32)
                yield step

    write_series(tmp_path / "f.h5", Lookalike())
    assert_same_steps(Lookalike(), OpenPMDSeries(tmp_path / "f.h5"))


def test_one_step_is_asked_for_at_a_time(tmp_path: Path) -> None:
    events: list[str] = []

    class Watched(Source):
        def __iter__(self) -> Iterator[Step]:
            for step in super().__iter__():
                events.append(f"make {step.iteration}")
                yield step

    write_series(
        tmp_path / "f.h5", Watched(), progress=lambda done, total: events.append(f"{done}/{total}")
    )
    assert events == ["make 0", "1/3", "make 100", "2/3", "make 200", "3/3"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, file: Path) -> None:
    class Failing(Source):
        def __iter__(self) -> Iterator[Step]:
            yield next(super().__iter__())
            raise ArithmeticError("out of plasma")

    before = file.read_bytes()
    with pytest.raises(ArithmeticError, match="out of plasma"):
        write_series(file, Failing())
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def foreign_series(path: Path) -> None:
    """Write what another code might: other units, a staggered grid, a scalar, axes z and r."""
    series = io.Series(str(path), io.Access.create)
    for number in (10, 2):
        iteration = series.iterations[number]
        iteration.time, iteration.time_unit_SI = float(number), 1e-15
        mesh, density = iteration.meshes["E"], iteration.meshes["rho"]
        for each in (mesh, density):
            each.axis_labels = ["z", "r"]
            each.grid_spacing = [2.0, 4.0]
            each.grid_global_offset = [10.0, 20.0]
            each.grid_unit_SI = 1e-6
        unit = io.Unit_Dimension
        mesh.unit_dimension = {unit.L: 2}
        density.unit_dimension = {unit.L: -3, unit.T: 1, unit.I: 1}
        parts = [(mesh["z"], 1e3), (density[io.Mesh_Record_Component.SCALAR], 1.0)]
        for component, factor in parts:
            component.position = [0.5, 0.25]
            component.unit_SI = factor
            values = np.full((3, 2), number, dtype=np.float64)
            component.reset_dataset(io.Dataset(values.dtype, list(values.shape)))
            component.store_chunk(values)
            series.flush()
        iteration.close()
    series.close()


@pytest.mark.parametrize("name", ["all.h5", "one_%T.h5"])
def test_series_of_other_codes(tmp_path: Path, name: str) -> None:
    foreign_series(tmp_path / name)
    source = OpenPMDSeries(tmp_path / name)
    assert source.components == ("Ez",)
    assert source.unit == "m^2"
    assert source.grid.axis_labels == ("z", "r")
    assert source.grid.spacing == pytest.approx((2e-6, 4e-6))
    assert source.grid.origin == pytest.approx((11e-6, 21e-6))
    steps = list(source)
    assert [step.iteration for step in steps] == [2, 10]
    assert [step.time for step in steps] == pytest.approx([2e-15, 1e-14])
    assert np.unique(steps[1].values).tolist() == [1e4]
    density = OpenPMDSeries(tmp_path / name, record="rho")
    assert (density.components, density.unit) == (("rho",), "C/m^3")
    assert next(iter(density)).values.shape == (1, 3, 2)


def test_reading_can_stop_early(file: Path) -> None:
    steps = iter(OpenPMDSeries(file))
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    write_series(file, Source(steps=1))
    assert len(OpenPMDSeries(file)) == 1


def test_what_is_missing_is_named_with_what_is_there(file: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no openPMD file nowhere\.h5"):
        OpenPMDSeries("nowhere.h5")
    with pytest.raises(KeyError, match=r"no record 'B' in .*; available: E"):
        OpenPMDSeries(file, record="B")
    with pytest.raises(KeyError, match=r"no component 'Er' of record 'E'.*available: Ex, Ey, Ez"):
        OpenPMDSeries(file, component="Er")


@pytest.mark.parametrize(
    "source, message",
    [
        (Source(unit="furlong"), "unit 'furlong' cannot be written to openPMD; spell it with"),
        (Source(("Ex", "Ex")), "do not name different components"),
        (Source(("E", "Ex")), "do not name different components"),
        (Source(("a b",)), "'a b' cannot name an openPMD record"),
        (Source(steps=0), "has no steps"),
    ],
)
def test_sources_that_cannot_be_written(tmp_path: Path, source: Source, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_series(tmp_path / "f.h5", source)
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.h5 .* or \.bp"):
        write_series(tmp_path / "f.json", Source())
    with pytest.raises(FileNotFoundError, match="no folder"):
        write_series(tmp_path / "no" / "f.h5", Source())


def test_values_of_another_shape_are_refused(tmp_path: Path) -> None:
    source = Source()
    source.grid = Grid((4, 6, 4), (1, 1, 1), (0, 0, 0))
    broken = Source()
    broken.grid = source.grid
    broken.__class__ = type("Broken", (Source,), {"__iter__": lambda self: iter(Source())})
    with pytest.raises(ValueError, match=r"iteration 0 has values of shape \(3, 4, 6, 5\)"):
        write_series(tmp_path / "f.h5", broken)
    assert list(tmp_path.iterdir()) == []
