"""What must not be left out or mixed up in silence: files, iterations, components and grids."""

from pathlib import Path

import h5py
import numpy as np
import openpmd_api as io
import pytest

from insituml.data.openpmd.native_types import native
from insituml.data.openpmd.series import OpenPMDSeries

SHAPE = (4, 6)


def write(path: Path, numbers=(0, 1, 2), spacings=(("E", 1.0),), labels=(("E", "zx"),)) -> Path:
    """Write vectors of x and z, full of the iteration's number."""
    series = io.Series(str(path), io.Access.create_linear)
    for number in numbers:
        iteration = series.snapshots()[number]
        iteration.time, iteration.dt = float(number), 1.0
        kept = []
        for name, spacing in spacings:
            mesh = iteration.meshes[name]
            mesh.axis_labels = list(dict(labels).get(name, "zx"))
            mesh.grid_spacing, mesh.grid_global_offset = [spacing] * 2, [0.0] * 2
            for axis in "xz":
                kept.append(np.full(SHAPE, float(number)))
                mesh[axis].position, mesh[axis].unit_SI = [0.0] * 2, 1.0
                mesh[axis].reset_dataset(io.Dataset(kept[-1].dtype, SHAPE))
                mesh[axis].store_chunk(kept[-1], [0, 0], SHAPE)
        iteration.close()
    series.close()
    return path


@pytest.mark.parametrize("name", ["openpmd1.h5", "run_0002.bp"])
def test_a_folder_with_one_numbered_file_is_all_its_iterations(tmp_path, name):
    write(tmp_path / name)
    source = OpenPMDSeries(tmp_path)
    assert {step.iteration: np.unique(step.values).tolist() for step in source} == {
        0: [0.0],
        1: [1.0],
        2: [2.0],
    }


def test_iterations_that_a_file_does_not_have_in_its_name_are_told(tmp_path):
    for number in (0, 3):
        write(tmp_path / f"f_{number}.h5", numbers=range(number, number + 3))
    source = OpenPMDSeries(tmp_path / "f_%T.h5")
    assert source.iteration_numbers == [0, 3]
    assert "f_3.h5 holds the iterations 3, 4, 5; only 3, its name's, is read" in source.notes[1]


@pytest.mark.parametrize("attribute", ["unitSI", "position"])
@pytest.mark.parametrize("damaged", [(0,), (0, 1, 2)])
def test_a_component_that_the_library_skips_is_missed(tmp_path, attribute, damaged):
    path = write(tmp_path / "s.h5")
    with h5py.File(path, "r+") as file:
        for number in damaged:
            del file[f"data/{number}/meshes/E/x"].attrs[attribute]
    if len(damaged) == 3:
        with pytest.raises(ValueError, match=f"cannot read its component 'x' .*{attribute}"):
            OpenPMDSeries(path)
    else:
        source = OpenPMDSeries(path)
        assert source.components == ("Ex", "Ez")
        assert "cannot read its component 'x' (" in source.faults[0]
        assert list(source.faults) == [0]
    assert OpenPMDSeries(path, component="Ez").faults == {}


@pytest.mark.parametrize(
    "written, told",
    [
        ({"spacings": (("E", 1.0), ("B", 2.0))}, r"Bx of spacing \(m\) \(2, 2\), but Ex"),
        (
            {"spacings": (("E", 1.0), ("B", 1.0)), "labels": (("B", "xz"),)},
            r"Bx of axes \(x, z\), but Ex of \(z, x\)",
        ),
    ],
)
def test_records_of_different_grids_are_not_read_as_one(tmp_path, written, told):
    path = write(tmp_path / "s.h5", **written)
    with pytest.raises(ValueError, match=told):
        OpenPMDSeries(path, record=["E", "B"])
    assert len(OpenPMDSeries(path, record=["E", "B"], component="Bz")) == 3


def test_foreign_numbers_in_one_later_iteration_are_read(tmp_path):
    path = write(tmp_path / "s.h5")
    with h5py.File(path, "r+") as file:
        mesh = file["data/1/meshes/E"]
        for axis, dtype in (("x", ">f2"), ("z", ">f8")):
            attributes = dict(mesh[axis].attrs)
            del mesh[axis]
            mesh.create_dataset(axis, data=np.full(SHAPE, 7.0), dtype=dtype)
            mesh[axis].attrs.update(attributes)
    source = OpenPMDSeries(path)
    assert source.faults == {}
    assert [np.unique(step.values).tolist() for step in source] == [[0.0], [7.0], [2.0]]


@pytest.mark.parametrize("dtype", ["<f2", ">f2"])
def test_half_precision_is_read_in_single(dtype):
    assert native(np.dtype(dtype)) == np.float32


def test_a_bp_folder_may_be_named_without_an_ending(tmp_path):
    write(tmp_path / "s.bp")
    (tmp_path / "latest").symlink_to(tmp_path / "s.bp")
    assert OpenPMDSeries(tmp_path / "latest").iteration_numbers == [0, 1, 2]


@pytest.mark.parametrize(
    "pattern, error, told",
    [
        ("a_%T_b_%T.h5", ValueError, "has %T and %T; one place"),
        ("a_%T/b_%T.h5", FileNotFoundError, "not in a folder's"),
    ],
)
def test_a_pattern_has_one_place_in_its_name(tmp_path, pattern, error, told):
    with pytest.raises(error, match=told):
        OpenPMDSeries(tmp_path / pattern)
