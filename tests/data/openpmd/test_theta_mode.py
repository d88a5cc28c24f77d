"""Modes around an axis in openPMD files, read as Cartesian fields of closed form."""

from pathlib import Path

import numpy as np
import openpmd_api as io
import pytest

from insituml.data.openpmd.series import OpenPMDSeries

RADII, ALONG, WIDTH = 8, 5, 2e-6


def write(
    path: Path,
    labels: tuple[str, str] = ("r", "z"),
    keys: str = "rtz",
    position_t: float = 0.5,
    order: str = "C",
) -> None:
    """Write a field whose Cartesian components are (1 + y / r_1, 2, 3 x / r_1) f(z), and rho = y.

    Here r_1 is the width of a cell along r, and f counts the points along z from 1.
    """
    r = (np.arange(RADII) + 0.5)[:, None]
    f = np.arange(1.0, ALONG + 1)
    # Ex = 1 + y, Ey = 2; y = r sin, cos sin = sin(2 theta) / 2, sin sin = (1 - cos(2 theta)) / 2.
    one = np.ones_like(r)
    stored = {
        "r": [0 * r, one, 2 * one, 0 * r, r / 2],
        "t": [-r / 2, 2 * one, -one, r / 2, 0 * r],
        "z": [0 * r, 3 * r, 0 * r, 0 * r, 0 * r],
    }
    rho = [0 * r, 0 * r, r, 0 * r, 0 * r]
    series = io.Series(str(path), io.Access.create_linear)
    series.iteration_encoding = (
        io.Iteration_Encoding.variable_based
        if path.suffix == ".bp"
        else io.Iteration_Encoding.group_based
    )
    for number in (0, 10):
        iteration = series.snapshots()[number]
        kept = []

        def store(component, modes, number=number, kept=kept) -> None:
            values = (1 + number) * np.array(modes) * f
            values = values if labels == ("r", "z") else values.swapaxes(1, 2)
            kept.append(np.ascontiguousarray(values if order == "C" else values.T))
            component.unit_SI = 10.0
            component.reset_dataset(io.Dataset(values.dtype, list(kept[-1].shape)))
            component.store_chunk(kept[-1])

        for name in ("E", "rho"):
            mesh = iteration.meshes[name]
            mesh.geometry = io.Geometry.thetaMode
            mesh.geometry_parameters = "m=3;imag=+"
            mesh.axis_labels = list(labels)
            mesh.data_order = order
            mesh.grid_spacing = [WIDTH * 1e6 if axis == "r" else 0.5 for axis in labels]
            mesh.grid_global_offset = [0.0 if axis == "r" else 7.0 + number for axis in labels]
            mesh.grid_unit_SI = 1e-6
        for key, modes in zip(keys, stored.values(), strict=False):
            at_r = position_t if key == "t" else 0.5
            iteration.meshes["E"][key].position = [at_r if axis == "r" else 0.5 for axis in labels]
            store(iteration.meshes["E"][key], modes)
        density = iteration.meshes["rho"][io.Mesh_Record_Component.SCALAR]
        density.position = [0.5, 0.5]
        store(density, rho)
        iteration.close()
    series.close()


def expected(grid, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return E and rho in closed form, and zeros where the radius is beyond the last one."""
    x = (grid.origin[0] + grid.spacing[0] * np.arange(grid.shape[0]))[:, None] / WIDTH
    y = (grid.origin[1] + grid.spacing[1] * np.arange(grid.shape[1])) / WIDTH
    inside = np.hypot(x, y) <= RADII - 0.5 + 1e-6
    plane = np.stack(np.broadcast_arrays(1 + y, 2 + 0 * x, 3 * x, y + 0 * x)) * inside
    values = 10.0 * (1 + number) * plane[..., None] * np.arange(1.0, ALONG + 1)
    return values[:3], values[3:]


@pytest.mark.parametrize("points", [None, 9])
@pytest.mark.parametrize("name", ["e.h5", "e.bp"])
@pytest.mark.parametrize("labels, order", [(("r", "z"), "C"), (("z", "r"), "C"), (("r", "z"), "F")])
def test_modes_become_cartesian(tmp_path: Path, name, labels, order, points) -> None:
    write(tmp_path / name, labels, order=order)
    source = OpenPMDSeries(tmp_path / name, cartesian_points=points)
    assert source.components == ("Ex", "Ey", "Ez")
    count = 2 * RADII if points is None else points
    assert source.grid.shape == (count, count, ALONG)
    assert source.grid.axis_labels == ("x", "y", "z")
    edge = (RADII - 0.5) * WIDTH
    assert source.grid.origin == pytest.approx((-edge, -edge, 7.25e-6))
    assert source.grid.spacing == pytest.approx((2 * edge / (count - 1),) * 2 + (0.5e-6,))
    for step in source:
        field, density = expected(source.grid, step.iteration)
        np.testing.assert_allclose(step.values, field, rtol=1e-5, atol=1e-3)
        assert step.metadata["grid_origin"][2] == pytest.approx((7.25 + step.iteration) * 1e-6)
    assert np.abs(field).max() > 0
    rho = OpenPMDSeries(tmp_path / name, record="rho", cartesian_points=points)
    assert rho.components == ("rho",)
    np.testing.assert_allclose(list(rho)[1].values, density, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("index, name", list(enumerate(["Ex", "Ey", "Ez"])))
def test_one_component(tmp_path: Path, index: int, name: str) -> None:
    write(tmp_path / "e.h5")
    source = OpenPMDSeries(tmp_path / "e.h5", component=name)
    (step,) = source.steps([1])
    field, _ = expected(source.grid, 10)
    np.testing.assert_allclose(step.values[0], field[index], rtol=1e-5, atol=1e-3)


def test_the_plane_y_0_is_that_of_openpmd_viewer(tmp_path: Path) -> None:
    viewer = pytest.importorskip("openpmd_viewer")
    write(tmp_path / "e.h5")
    source = OpenPMDSeries(tmp_path / "e.h5", cartesian_points=2 * RADII)
    (step,) = source.steps([1])
    series = viewer.OpenPMDTimeSeries(str(tmp_path), backend="h5py")
    middle = step.values[:, :, RADII - 1 : RADII + 1].mean(axis=2)  # half a cell to either side
    for k, axis in enumerate("xyz"):
        plane, _ = series.get_field("E", axis, iteration=10, theta=0.0)
        np.testing.assert_allclose(middle[k, 1:-1], plane[1:-1], rtol=1e-5)


@pytest.mark.parametrize(
    "options, points, message",
    [
        ({"keys": "xyz"}, None, "expected r, t, z"),
        ({"labels": ("x", "z")}, None, "expected r, z"),
        ({"position_t": 0.0}, None, "staggered along r"),
        ({}, 1, "cartesian_points is 1"),
    ],
)
def test_modes_that_cannot_be_read(tmp_path: Path, options, points, message) -> None:
    write(tmp_path / "e.h5", **options)
    with pytest.raises(ValueError, match=message):
        OpenPMDSeries(tmp_path / "e.h5", cartesian_points=points)
