"""Where a figure's planes lie: co-moving or in the laboratory, and labelled as such."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from insituml.data import Grid, LwfaField, Manifest, Normalisation, TaskInfo
from insituml.data.constants import SPEED_OF_LIGHT
from insituml_pipelines.data.kind import FigureLabels
from insituml_pipelines.data.kinds import KINDS
from insituml_pipelines.data.plane import plane_of, shown_iteration
from insituml_pipelines.data.plane_view import PlaneView

SCALE = Normalisation(np.zeros(3), np.ones(3))
GRID = Grid((4, 40, 6), (1e-6, 0.5e-6, 2e-6), (-1.5e-6, -8e-6, -5e-6))
DT = 1e-14
NUMBERS = range(0, 60, 10)


def manifest(velocity: float, axis: int = 1, **changes: Any) -> Manifest:
    """Describe two tasks of three iterations each, in a window that moves along one axis."""
    origins = {}
    for n in NUMBERS:
        origin = list(GRID.origin)
        origin[axis] += velocity * n * DT
        origins[n] = tuple(origin)
    tasks = tuple(
        TaskInfo(f"iterations {n}–{n + 20}", 2, 1, SCALE, (n, n + 10, n + 20), (n + 10,))
        for n in (0, 30)
    )
    values: dict[str, Any] = {
        "name": "moving",
        "kind": "field",
        "in_transit": False,
        "columns": ("inputs",),
        "sample_shape": (3, *GRID.shape),
        "condition_size": 0,
        "components": ("Ex", "Ey", "Ez"),
        "unit": "V/m",
        "grid": GRID,
        "chunk": GRID.shape,
        "permuted": False,
        "tasks": tasks,
        "times": {n: n * DT for n in NUMBERS},
        "origins": origins,
        "fingerprint": "",
    }
    return Manifest(**{**values, **changes})


def test_a_window_at_the_speed_of_light_stands_still_in_the_co_moving_coordinate() -> None:
    view = PlaneView.of(manifest(SPEED_OF_LIGHT))
    assert view.axis_labels == ("ξ = y − ct", "x")
    np.testing.assert_allclose(view.extents, [[-8.25e-6, 11.75e-6, -2e-6, 2e-6]] * 2, rtol=1e-9)
    assert view.rows == (
        "held-out iteration 10, t = 100 fs",
        "held-out iteration 40, t = 400 fs",
    )
    assert view.place == "plane z = 1 µm"  # point 3 of 6


def test_a_slower_window_falls_behind_by_what_light_is_ahead() -> None:
    view = PlaneView.of(manifest(0.9 * SPEED_OF_LIGHT))
    behind = 0.1 * SPEED_OF_LIGHT * np.array([1e-13, 4e-13])
    assert view.extents is not None
    np.testing.assert_allclose(view.extents[:, 0], -8.25e-6 - behind, rtol=1e-9)
    np.testing.assert_allclose(view.extents[:, 1], 11.75e-6 - behind, rtol=1e-9)


def test_a_window_that_moves_backwards() -> None:
    view = PlaneView.of(manifest(-SPEED_OF_LIGHT))
    assert view.axis_labels == ("ξ = y + ct", "x")
    np.testing.assert_allclose(view.extents, [[-8.25e-6, 11.75e-6, -2e-6, 2e-6]] * 2, rtol=1e-9)


def test_a_fixed_window_is_in_the_laboratory() -> None:
    for one in (manifest(0.0), manifest(0.0, origins={})):
        view = PlaneView.of(one)
        assert view.axis_labels == ("y", "x")
        np.testing.assert_allclose(view.extents, [[-8.25e-6, 11.75e-6, -2e-6, 2e-6]] * 2, rtol=1e-9)


def test_without_times_a_moving_window_is_in_the_laboratory() -> None:
    view = PlaneView.of(manifest(1e8, times={n: float(n) for n in NUMBERS}))
    assert view.axis_labels == ("y", "x")
    assert view.rows == ("held-out iteration 10", "held-out iteration 40")
    assert view.extents is not None
    np.testing.assert_allclose(view.extents[:, 0], [1.75e-6, 31.75e-6], rtol=1e-9)


@pytest.mark.parametrize("time_of", [lambda n: 0.0, lambda n: -1e-15 * n])
def test_times_that_do_not_ascend_are_no_times(time_of: Any) -> None:
    view = PlaneView.of(manifest(SPEED_OF_LIGHT, times={n: time_of(n) for n in NUMBERS}))
    assert view.axis_labels == ("y", "x")
    assert not any("t =" in row for row in view.rows)


def test_a_plane_that_moves_across_itself_says_between_where() -> None:
    view = PlaneView.of(manifest(1e8, axis=2))
    assert view.place == "plane z = 11 to 41 µm"
    assert view.axis_labels == ("y", "x")


def test_without_distances_axes_count_points() -> None:
    grid = Grid(GRID.shape, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    view = PlaneView.of(manifest(0.0, grid=grid, origins={}))
    assert view.extents is None
    assert view.place == "plane z = point 3"


def test_short_times_keep_their_digits() -> None:
    view = PlaneView.of(manifest(0.0, times={n: n * 1.234e-16 for n in NUMBERS}))
    assert view.rows == (
        "held-out iteration 10, t = 1.23 fs",
        "held-out iteration 40, t = 4.94 fs",
    )


def test_the_closed_form_wakefield_stays_in_place() -> None:
    source = LwfaField(shape=(2, 128, 4), iterations=6)
    steps = list(source)
    info = (TaskInfo("all", 5, 1, SCALE, tuple(range(6)), (3,)),)
    origins = {step.iteration: step.origin for step in steps}
    times = {step.iteration: step.time for step in steps}
    view = PlaneView.of(manifest(0.0, grid=source.grid, tasks=info, origins=origins, times=times))
    assert view.axis_labels == ("ξ = y − ct", "x")
    assert view.extents is not None
    np.testing.assert_allclose(view.extents[0, :2], source.window)


def test_the_iteration_named_is_the_one_that_is_shown(tmp_path: Path, tools: Any) -> None:
    tools.write_fields(tmp_path / "fields")
    # Of each task of seven in two, two are held out; one of the first task's is lost.
    values = np.full((3, *tools.FIELD_SHAPE), np.nan, np.float32)
    data = tools.field_data(
        tmp_path / "fields", tasks=1, holdout=0.4, on_bad_iteration="skip", normalisation="global"
    )
    whole = tools.make_stream(data, tmp_path / "whole")
    held_out = whole.manifest.tasks[0].held_out
    np.save(tmp_path / f"fields/data_{held_out[1]}.npy", values)
    files = tools.make_stream(data, tmp_path / "lost")
    for stream in (whole, files):
        rows = KINDS["field"].shown(stream, 0)
        places = stream.array(0, "test_places")[rows]
        assert set(places[:, 0]) == {shown_iteration(stream.manifest, 0)}
        assert len(rows) == 4  # all chunks of one volume
    assert shown_iteration(whole.manifest, 0) == held_out[1]
    assert shown_iteration(files.manifest, 0) == held_out[2]


def test_figures_say_all_this() -> None:
    originals = np.random.default_rng(0).normal(size=(2, 3, 4, 40))
    guesses = np.stack([originals, originals], axis=1)
    labels = FigureLabels("naive on moving", ["iterations 0–20", "iterations 30–50"])
    figures = KINDS["field"].draw(
        originals, guesses, manifest(SPEED_OF_LIGHT), generative=False, labels=labels
    )
    assert list(figures) == ["_Ex", "_Ey", "_Ez"]
    figure = figures["_Ez"]
    assert figure.get_suptitle() == "naive on moving, plane z = 1 µm"
    assert figure.get_supxlabel() == "ξ = y − ct [µm]"
    found = [text.get_text() for text in figure.texts if text.get_text().startswith("iterations")]
    assert found == [
        "iterations 0–20 · held-out iteration 10, t = 100 fs",
        "iterations 30–50 · held-out iteration 40, t = 400 fs",
    ]


@pytest.mark.parametrize("shape", [(6,), (4, 6), (6, 4), (2, 6, 4), (6, 4, 2)])
def test_fields_of_any_dimension_are_shown_along_their_longest_axis(shape) -> None:
    """One value a point: where it lies in the figure says which way round the axes are."""
    grid = Grid(shape, (1e-6,) * len(shape), (0.0,) * len(shape), ("x", "y", "z")[: len(shape)])
    one = manifest(
        0.0,
        grid=grid,
        components=("rho",),
        unit="C/m^3",
        origins={},
        chunk=shape,
        sample_shape=(1, *shape),
        tasks=(TaskInfo("all", 5, 1, SCALE, tuple(NUMBERS), (20,)),),
    )
    volume = np.arange(np.prod(shape), dtype=float).reshape(shape)

    class Files:
        manifest = one

        def array(self, task: int, name: str) -> np.ndarray:
            return np.array([[20, *[0] * len(shape)]])

    picture = KINDS["field"].picture(volume[None, None], Files(), 0, np.array([0]))
    longest, *others = sorted(range(len(shape)), key=lambda axis: -shape[axis])
    expected = volume
    if len(shape) == 3:
        kept = min(others)
        cut = max(others)
        expected = np.take(volume, shape[cut] // 2, axis=cut)
        others = [kept]
    if others and others[0] > longest:
        expected = expected.T
    np.testing.assert_array_equal(picture, expected[None])

    labels = FigureLabels("naive", ["all"])
    figures = KINDS["field"].draw(
        picture[None], picture[None, None], one, generative=False, labels=labels
    )
    (figure,) = figures.values()
    assert list(figures) == ["_rho"]
    names = grid.axis_labels
    assert figure.get_supxlabel() == f"{names[longest]} [µm]"
    beside = f"{names[others[0]]} [µm]" if others else "rho [C/m³]"
    assert figure.get_supylabel() == beside
    assert ("plane" in figure.get_suptitle()) == (len(shape) == 3)


@pytest.mark.parametrize(
    "shape, axes", [((12, 256, 12), (0, 1, 2)), ((32, 32, 320), (0, 2, 1)), ((8, 8, 8), (0, 1, 2))]
)
def test_the_longest_axis_lies_to_the_right(shape, axes) -> None:
    assert plane_of(shape) == axes
