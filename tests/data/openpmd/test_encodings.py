"""Series as other codes write them: each encoding and backend, staggered, in either order."""

from pathlib import Path

import numpy as np
import openpmd_api as io
import pytest

from insituml.data.openpmd.paths import series_files
from insituml.data.openpmd.series import OpenPMDSeries

ENCODINGS = {
    "all.h5": io.Iteration_Encoding.group_based,
    "all.bp": io.Iteration_Encoding.group_based,
    "all.bp4": io.Iteration_Encoding.group_based,
    "steps.bp": io.Iteration_Encoding.variable_based,
    "steps.bp5": io.Iteration_Encoding.variable_based,
    "one_%T.h5": io.Iteration_Encoding.file_based,
    "one_%06T.h5": io.Iteration_Encoding.file_based,
    "one_%T.bp": io.Iteration_Encoding.file_based,
    "one_%06T.bp": io.Iteration_Encoding.file_based,
}
NUMBERS = (5, 20, 100)
SHAPE = (3, 4, 2)


def field(number: int, axis: str) -> np.ndarray:
    """Return a component's values as stored."""
    return np.random.default_rng([number, ord(axis)]).normal(size=SHAPE)


def write(path: Path, encoding: io.Iteration_Encoding = None, **mesh: object) -> None:
    """Write a staggered vector B in gauss and micrometres, whose window moves along y."""
    series = io.Series(str(path), io.Access.create_linear)
    if encoding is not None:
        series.iteration_encoding = encoding
    for number in NUMBERS:
        iteration = series.snapshots()[number]
        iteration.time, iteration.time_unit_SI = float(number), 1e-15
        record = iteration.meshes["B"]
        record.axis_labels = ["x", "y", "z"]
        record.grid_spacing = [1.0, 2.0, 4.0]
        record.grid_global_offset = [10.0, 20.0 + number, 30.0]
        record.grid_unit_SI = 1e-6
        base = io.Unit_Dimension
        record.unit_dimension = {base.M: 1, base.T: -2, base.I: -1}
        for name, value in mesh.items():
            setattr(record, name, value)
        kept = []  # until the flush
        for k, axis in enumerate("xyz"):
            kept.append(field(number, axis))
            if mesh.get("data_order") == "F":
                kept[-1] = np.ascontiguousarray(kept[-1].T)
            component = record[axis]
            component.unit_SI = 1e-4
            component.position = [0.5 * (k == j) for j in range(3)]
            component.reset_dataset(io.Dataset(kept[-1].dtype, list(kept[-1].shape)))
            component.store_chunk(kept[-1])
        iteration.close()
    series.close()


def assert_is_written(source: OpenPMDSeries, places: list[int]) -> None:
    for place, step in zip(places, source.steps(places), strict=True):
        number = NUMBERS[place]
        assert step.iteration == number
        assert step.time == pytest.approx(number * 1e-15)
        expected = [field(number, name[-1]) * 1e-4 for name in source.components]
        np.testing.assert_array_equal(step.values, np.array(expected, dtype=np.float32))


@pytest.mark.parametrize("name", ENCODINGS)
def test_each_encoding_of_each_backend(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, ENCODINGS[name])
    source = OpenPMDSeries(tmp_path / name, record="B")
    assert source.iteration_numbers == list(NUMBERS)
    assert (source.components, source.unit) == (("Bx", "By", "Bz"), "T")
    assert source.grid.shape == SHAPE
    assert_is_written(source, [0, 1, 2])
    assert_is_written(source, [2, 0, 0])
    assert_is_written(OpenPMDSeries(tmp_path / name, record="B", component="By"), [1])


@pytest.mark.parametrize("name", ["all.h5", "steps.bp", "one_%06T.h5"])
def test_a_moving_window_is_told_step_by_step(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, ENCODINGS[name])
    source = OpenPMDSeries(tmp_path / name, record="B", component="Bz")
    assert source.grid.origin == pytest.approx((10e-6, 25e-6, 32e-6))
    origins = [step.metadata["grid_origin"] for step in source]
    assert origins == [pytest.approx((10e-6, (20 + n) * 1e-6, 32e-6)) for n in NUMBERS]


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ["all.h5", "steps.bp"])
def test_values_follow_the_labels_in_either_order(tmp_path: Path, name: str, order: str) -> None:
    write(tmp_path / name, ENCODINGS[name], data_order=order)
    source = OpenPMDSeries(tmp_path / name, record="B")
    assert source.grid.axis_labels == ("x", "y", "z")
    assert source.grid.shape == SHAPE
    assert source.grid.spacing == pytest.approx((1e-6, 2e-6, 4e-6))
    assert_is_written(source, [0, 1, 2])


def test_a_staggered_grid_keeps_each_components_place(tmp_path: Path) -> None:
    write(tmp_path / "all.h5")
    source = OpenPMDSeries(tmp_path / "all.h5", record="B")
    assert source.origins == (
        pytest.approx((10.5e-6, 25e-6, 30e-6)),
        pytest.approx((10e-6, 26e-6, 30e-6)),
        pytest.approx((10e-6, 25e-6, 32e-6)),
    )
    assert source.grid.origin == source.origins[0]


def test_files_of_a_pattern(tmp_path: Path) -> None:
    for name in ("e_1.h5", "e_20.h5", "e_x.h5", "e_1.h5.old", "f_1.h5"):
        (tmp_path / name).touch()
    assert [f.name for f in series_files(tmp_path / "e_%T.h5")] == ["e_1.h5", "e_20.h5"]
    assert series_files(tmp_path / "e_1.h5") == [tmp_path / "e_1.h5"]
    assert series_files(tmp_path / "g_%06T.h5") == []
    with pytest.raises(FileNotFoundError, match="no openPMD file"):
        OpenPMDSeries(tmp_path / "g_%06T.h5")


@pytest.mark.parametrize(
    "mesh, message",
    [
        ({"geometry": io.Geometry.spherical}, "geometry spherical"),
        ({"axis_labels": ["x", "y"]}, "its axisLabels 2"),
        ({"grid_spacing": [1.0]}, "gridSpacing has 1 numbers"),
    ],
)
def test_meshes_that_cannot_be_read(tmp_path: Path, mesh: dict, message: str) -> None:
    write(tmp_path / "all.h5", **mesh)
    with pytest.raises(ValueError, match=message):
        OpenPMDSeries(tmp_path / "all.h5", record="B")
