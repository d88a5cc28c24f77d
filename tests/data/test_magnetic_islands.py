"""The islands are the equilibrium that they are named after, and the same whenever asked for."""

import math
from pathlib import Path

import numpy as np
import pytest

from insituml.data.magnetic_islands import MagneticIslands
from insituml.data.openpmd import OpenPMDSeries, write_series

MU0 = 4e-7 * math.pi
SHEET = {"windows": (1, 1), "wavelength": (0.3, 0.3), "offset": 0.02}  # ten times resolved


def one_sheet(points: int = 512, **more) -> MagneticIslands:
    return MagneticIslands(points=points, **{**SHEET, **more})


def derivatives(source: MagneticIslands, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central differences along x and y, without the outermost points."""
    gradients = (np.gradient(values, d, axis=a) for a, d in enumerate(source.grid.spacing))
    return tuple(gradient[1:-1, 1:-1] for gradient in gradients)


def potential(source: MagneticIslands, iteration: int, x: float, y: float) -> tuple[float, float]:
    """Vector potential (T m) and pressure (Pa) of the only sheet, at a point of its window."""
    field, length, epsilon, angle, offset, phase = (
        float(values[0]) for values in source.sheets(iteration)
    )
    u = x * math.cos(angle) + y * math.sin(angle) - offset
    v = y * math.cos(angle) - x * math.sin(angle)
    d = math.cosh(u / length) + epsilon * math.cos(v / length + phase)
    pressure = field**2 * (1 - epsilon**2) / (2 * MU0 * d**2)
    return -field * length * math.log(d), pressure


def tabulated(source: MagneticIslands, iteration: int) -> tuple[np.ndarray, np.ndarray]:
    """The potential and the pressure at all points, from the window's middle."""
    middle = source.width / 2
    rows = np.array(
        [
            [
                potential(source, iteration, source.grid.origin[0] + d * i - middle, y - middle)
                for y in source.grid.origin[1] + d * np.arange(source.points)
            ]
            for d in source.grid.spacing[:1]
            for i in range(source.points)
        ]
    )
    return rows[..., 0], rows[..., 1]


@pytest.mark.parametrize("iteration", [0, 30, 49])
def test_the_field_has_no_divergence_and_the_current_is_its_curl(iteration: int) -> None:
    source = one_sheet()
    bx, by, jz = source.mosaic(iteration).astype(np.float64)
    bx_x, bx_y = derivatives(source, bx)
    by_x, by_y = derivatives(source, by)
    scale = np.abs(bx_y - by_x).max()
    assert np.abs(bx_x + by_y).max() < 2e-3 * scale
    assert np.abs((by_x - bx_y) / MU0 - jz[1:-1, 1:-1]).max() < 2e-3 * scale / MU0


@pytest.mark.parametrize("iteration", [0, 49])
def test_the_field_is_the_curl_of_fadeevs_potential_and_in_balance(iteration: int) -> None:
    source = one_sheet(points=160)
    bx, by, jz = source.mosaic(iteration).astype(np.float64)[:, 1:-1, 1:-1]
    a, pressure = tabulated(source, iteration)
    a_x, a_y = derivatives(source, a)
    assert np.abs(bx - a_y).max() < 5e-3 * source.field
    assert np.abs(by + a_x).max() < 5e-3 * source.field
    p_x, p_y = derivatives(source, pressure)
    scale = np.hypot(p_x, p_y).max()
    assert np.abs(-jz * by - p_x).max() < 1e-2 * scale  # j × B = ∇p
    assert np.abs(jz * bx - p_y).max() < 1e-2 * scale


def test_without_islands_it_is_harris_sheet() -> None:
    source = one_sheet(epsilon=(0.0, 0.0), epsilon_spread=0.0)
    bx, by, jz = source.mosaic(7).astype(np.float64)
    field, length, _, angle, offset, _ = (float(values[0]) for values in source.sheets(7))
    places = source.grid.origin[0] + source.grid.spacing[0] * np.arange(512) - source.width / 2
    u = places[:, None] * math.cos(angle) + places * math.sin(angle) - offset
    along = by * math.cos(angle) - bx * math.sin(angle)
    assert np.abs(along - field * np.tanh(u / length)).max() < 1e-6 * field
    peak = field / (MU0 * length)
    assert np.abs(jz - peak / np.cosh(u / length) ** 2).max() < 1e-5 * peak


@pytest.mark.parametrize("iteration", [0, 49])
def test_islands_lie_a_wavelength_apart_and_grow_to_arccosh(iteration: int) -> None:
    source = one_sheet(width=1.2, wavelength_spread=0.0, offset=0.0)
    _, length, epsilon, angle, _, phase = (float(values[0]) for values in source.sheets(iteration))
    assert 2 * math.pi * length == pytest.approx(0.3)

    def at(u: float, v: float) -> float:
        x = u * math.cos(angle) - v * math.sin(angle)
        y = u * math.sin(angle) + v * math.cos(angle)
        return potential(source, iteration, x, y)[0]

    crossing = -phase * length  # an X point; the O point lies half a wavelength on
    assert at(0, crossing + 0.3) == pytest.approx(at(0, crossing))
    reach = length * math.acosh(1 + 2 * epsilon)
    assert at(reach, crossing + 0.15) == pytest.approx(at(0, crossing))  # the separatrix


def test_what_drifts_and_what_scatters() -> None:
    source = MagneticIslands(windows=(40, 40))
    first, last = source.sheets(0), source.sheets(49)
    for sheets, wavelength, epsilon in ((first, 0.07, 0.3), (last, 0.1, 0.8)):
        lengths = 2 * math.pi * sheets.length / wavelength
        assert (lengths.min(), lengths.max()) == pytest.approx((0.9, 1.1), abs=1e-3)
        assert sheets.epsilon.min() == pytest.approx(epsilon - 0.1, abs=1e-3)
        assert sheets.epsilon.max() == pytest.approx(epsilon + 0.1, abs=1e-3)
        assert sheets.field.mean() == pytest.approx(0.02, rel=0.02)
        for angle in (sheets.angle, sheets.phase):  # no direction is preferred
            assert abs(np.exp(1j * angle).mean()) < 4 / 40
            assert np.abs(angle).max() > 0.99 * math.pi
        assert np.abs(sheets.offset).max() == pytest.approx(0.06, rel=0.01)
    assert np.abs(np.corrcoef(first)[np.triu_indices(6, 1)]).max() < 4 / 40


def test_windows_stand_side_by_side_each_with_its_own_sheet() -> None:
    source = MagneticIslands(windows=(2, 3))
    assert source.grid.shape == (128, 192)
    assert source.grid.spacing == pytest.approx((0.24 / 64, 0.24 / 64))
    assert source.grid.origin == pytest.approx((0.12 / 64, 0.12 / 64))
    jz = source.mosaic(5)[2]
    sheets = source.sheets(5)
    for i in range(2):
        for j in range(3):
            one = jz[64 * i : 64 * (i + 1), 64 * j : 64 * (j + 1)]
            k = 3 * i + j
            epsilon, length = sheets.epsilon[k], sheets.length[k]
            peak = sheets.field[k] * (1 + epsilon) / (1 - epsilon) / (MU0 * length)
            # An O point is somewhere in the window, if perhaps between the grid's points.
            assert 0.6 * peak < one.max() <= peak * (1 + 1e-5)


def test_the_seed_decides_whatever_is_asked_for() -> None:
    source = MagneticIslands(windows=(2, 1), iterations=4)
    run = list(source)
    assert [step.iteration for step in run] == source.iteration_numbers == [0, 1, 2, 3]
    assert [step.time for step in run] == pytest.approx([0, 2e-7, 4e-7, 6e-7])
    for place, step in zip([3, 0, 3], source.steps([3, 0, 3]), strict=True):
        assert step.values.dtype == np.float32
        assert step.values.tobytes() == run[place].values.tobytes()
    again = MagneticIslands(windows=(2, 1), iterations=4).mosaic(2)
    other = MagneticIslands(windows=(2, 1), iterations=4, seed=1).mosaic(2)
    assert again.tobytes() == run[2].values.tobytes()
    assert not np.array_equal(other, again)
    assert not np.array_equal(run[0].values, run[1].values)


def test_far_from_the_sheet_nothing_overflows() -> None:
    source = one_sheet(points=16, offset=1e4)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        bx, by, jz = source.mosaic(0)
    assert np.hypot(bx, by) == pytest.approx(source.sheets(0).field[0], rel=1e-6)
    assert not jz.any()


def test_an_openpmd_series_gives_back_values_and_units(tmp_path: Path) -> None:
    source = MagneticIslands(windows=(2, 1), iterations=2)
    write_series(tmp_path / "islands.h5", source)
    series = OpenPMDSeries(tmp_path / "islands.h5", record=["B", "j"])
    assert series.components == source.components == ("Bx", "By", "jz")
    assert series.units == source.units == ("T", "T", "A/m^2")
    assert series.unit == source.unit
    assert series.grid.axis_labels == ("x", "y")
    assert series.grid.spacing == pytest.approx(source.grid.spacing)
    for read, made in zip(series, source, strict=True):
        assert np.array_equal(read.values, made.values)
        assert read.time == pytest.approx(made.time)


def test_few_principal_components_hold_little() -> None:
    """What the stream is for: a slowly falling n-width, in each task and over all of them."""
    source = MagneticIslands(windows=(4, 4))
    chunks = np.stack([step.values for step in source.steps(range(0, 50, 2))])
    samples = chunks.reshape(25, 3, 4, 64, 4, 64).transpose(0, 2, 4, 1, 3, 5).reshape(400, 3, -1)
    samples = (samples / samples.std(axis=(0, 2), keepdims=True)).reshape(400, -1)
    train, test = samples[::2], samples[1::2]
    _, _, basis = np.linalg.svd(train, full_matrices=False)
    left = test - (test @ basis[:32].T) @ basis[:32]
    assert (left**2).mean() > 0.2 * (test**2).mean()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"points": 1}, "points=1"),
        ({"windows": (6,)}, "two numbers of windows"),
        ({"iterations": 0}, "iterations=0"),
        ({"width": -0.24}, r"width=-0.24 must be finite and above 0"),
        ({"field": math.nan}, "field=nan"),
        ({"field_spread": 1.0}, "field_spread=1.0 must be from 0 to less than 1"),
        ({"offset": -1.0}, "offset=-1.0"),
        ({"wavelength": (0.07,)}, r"two numbers: at the first iteration"),
        ({"wavelength": (0.07, -0.1)}, "must be above 0"),
        ({"wavelength": (0.01, 0.1)}, r"give at least 336, or longer wavelengths"),
        ({"epsilon": (0.3, 0.95)}, "within epsilon_spread=0.1"),
        ({"epsilon": (0.05, 0.8)}, "within epsilon_spread=0.1"),
    ],
)
def test_wrong_parameters_are_named(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MagneticIslands(**wrong)


@pytest.mark.parametrize("iteration", [-1, 50])
def test_iteration_out_of_range(iteration: int) -> None:
    with pytest.raises(IndexError, match="not among 0 to 49"):
        MagneticIslands().mosaic(iteration)
