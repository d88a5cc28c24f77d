"""FBPIC runs in this process, and what it computed arrives as it was."""

import inspect
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from insituml.data.constants import SPEED_OF_LIGHT
from insituml.data.fbpic import FBPICSimulation, _Run
from insituml.data.openpmd.series import OpenPMDSeries
from insituml.data.openpmd.writer import write_series
from insituml.data.step import Step
from insituml.stream import FieldStream, Finished, RingSource

CONF = Path(__file__).parents[2] / "conf"
FIELD_UNIT = 4.013e12  # V/m: the field of a0 = 1 at 0.8 µm
DZ = 12e-6 / 64


def tiny(**changes) -> FBPICSimulation:
    """A pulse that is already in the plasma when the simulation begins."""
    settings = {"nz": 64, "nr": 16, "snapshots": 3, "steps_per_snapshot": 4, "seed": 3}
    settings |= {"window_behind": 8e-6, "window_ahead": 4e-6, "ramp_start": -6e-6}
    settings |= {"ramp_length": 3e-6, "duration": 5e-15, "focus": 0.0, "z_points": 48}
    settings |= {"half_width": 10e-6, "cartesian_points": 16}
    return FBPICSimulation(**(settings | {"particles_per_cell": (1, 1, 4)} | changes))


def assert_same(values: np.ndarray, expected: np.ndarray) -> None:
    """Rounding differs with where arrays lie in memory; nothing else may differ."""
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-7 * np.abs(expected).max())


@pytest.fixture(scope="module")
def simulated():
    pytest.importorskip("fbpic")
    return tiny(), list(tiny())


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"density": 0.0}, "density must be positive, not 0.0"),
        ({"z_points": 401}, "z_points is 401, but nz is only 400"),
        ({"half_width": 15e-6}, "beyond the last one simulated, at 1.98e-05 m"),
        ({"particles_per_cell": (2, 2)}, "three positive numbers"),
    ],
)
def test_wrong_arguments_are_named(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        FBPICSimulation(**changes)


def test_a_missing_fbpic_is_named_with_its_remedy(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "fbpic.main", None)
    with pytest.raises(ImportError, match=r"pip install 'insituml\[fbpic\]'"):
        next(iter(tiny()))


def test_steps_lie_where_and_when_the_simulation_had_them(simulated) -> None:
    source, steps = simulated
    assert [step.iteration for step in steps] == source.iteration_numbers == [0, 4, 8]
    assert len(source) == 3
    for step in steps:
        assert step.values.shape == (3, *source.grid.shape) == (3, 16, 16, 48)
        assert step.values.dtype == np.float32
        assert np.isfinite(step.values).all()
        assert step.time == pytest.approx(step.iteration * DZ / SPEED_OF_LIGHT, rel=1e-12)
        moved = np.subtract(step.metadata["grid_origin"], source.grid.origin)
        np.testing.assert_allclose(moved, [0, 0, step.iteration * DZ], atol=1e-12)
    # The pulse begins at z = 0, as strong as a0 says; four points a wavelength miss its crest.
    line = np.abs(steps[0].values[0, 7:9, 7:9]).max((0, 1))
    assert source.grid.origin[2] + DZ * line.argmax() == pytest.approx(0, abs=0.5e-6)
    assert 0.65 < line.max() / (source.a0 * FIELD_UNIT) < 1.05
    # It runs with the window, so that what changes is the plasma's answer: a longitudinal field.
    axis = [np.abs(step.values[2, 7:9, 7:9].mean((0, 1))).max() for step in steps]
    assert axis[0] < 1e6 < axis[1] < axis[2]


def test_the_same_arguments_give_the_same_field_and_leave_random_numbers_alone(simulated) -> None:
    _, steps = simulated
    np.random.seed(1)  # noqa: NPY002
    expected = np.random.RandomState(1).uniform(size=3)
    drawn = []
    for again, step in zip(tiny(), steps, strict=True):
        drawn.append(np.random.uniform())  # noqa: NPY002
        assert_same(again.values, step.values)
    assert np.array_equal(drawn, expected)
    *_, other = tiny(seed=4)
    with pytest.raises(AssertionError):
        assert_same(other.values, steps[-1].values)


def test_chosen_places_are_those_of_the_whole_run(simulated) -> None:
    """In order they share one run; a place that is past needs another one."""
    source, steps = simulated
    for places in ([2], [1, 2], [2, 0]):
        for place, step in zip(places, source.steps(places), strict=True):
            assert step.iteration == steps[place].iteration
            assert_same(step.values, steps[place].values)


def test_a_file_holds_what_the_running_simulation_yields(simulated, tmp_path) -> None:
    source, steps = simulated
    write_series(tmp_path / "series.h5", source)
    read = OpenPMDSeries(tmp_path / "series.h5")
    assert read.iteration_numbers == source.iteration_numbers
    assert (read.components, read.unit) == (source.components, source.unit)
    assert read.grid.axis_labels == source.grid.axis_labels == ("x", "y", "z")
    for ours, step in zip(read, steps, strict=True):
        assert_same(ours.values, step.values)
        assert ours.time == pytest.approx(step.time)


def test_a_child_process_simulates_the_same_field(simulated) -> None:
    _, steps = simulated
    with RingSource(partial(FieldStream, tiny()), slots=2, stall_timeout=120) as source:
        assert source.describe().shape == (3, 16, 16, 48)
        events = iter(source.events())
        for step in steps:
            live = next(events)
            assert isinstance(live, Step), live
            assert_same(live.values, step.values)
            assert (live.iteration, live.time) == (step.iteration, step.time)
        assert next(events) == Finished()


@pytest.mark.filterwarnings("ignore")  # of openpmd-viewer's own packages
def test_values_are_those_that_openpmd_viewer_reads(simulated, tmp_path) -> None:
    """FBPIC writes the file itself, with its own signs and factors."""
    pytest.importorskip("openpmd_viewer")
    from fbpic.openpmd_diag import FieldDiagnostic
    from openpmd_viewer import OpenPMDTimeSeries

    source, steps = simulated
    run = _Run(source)
    run.advance(4)
    fields, communicator = run.simulation.fld, run.simulation.comm
    FieldDiagnostic(
        period=1, fldobject=fields, comm=communicator, write_dir=str(tmp_path), fieldtypes=["E"]
    ).write(4)
    series = OpenPMDTimeSeries(str(tmp_path / "hdf5"), check_all_files=False)
    step, origin, spacing = steps[1], steps[1].metadata["grid_origin"], source.grid.spacing
    scale = np.abs(step.values).max((1, 2, 3))
    for i, j in [(0, 0), (7, 7), (8, 3), (15, 4), (2, 12), (11, 9)]:
        x, y = origin[0] + i * spacing[0], origin[1] + j * spacing[1]
        for component, name in enumerate("xyz"):
            # A plane through the axis: the viewer sums the modes, and nothing is interpolated.
            plane, info = series.get_field("E", name, iteration=4, theta=np.arctan2(y, x))
            outer = info.r > 0
            np.testing.assert_allclose(info.z[-48:], origin[2] + DZ * np.arange(48), atol=1e-12)
            expected = [np.interp(np.hypot(x, y), info.r[outer], at[outer]) for at in plane.T[-48:]]
            np.testing.assert_allclose(
                step.values[component, i, j], expected, atol=1e-6 * scale[component]
            )


def test_the_configuration_says_the_defaults() -> None:
    source = yaml.safe_load((CONF / "data/fbpic.yaml").read_text())["source"]
    source.pop("_target_")
    assert set(source) == set(inspect.signature(FBPICSimulation).parameters)
    source["particles_per_cell"] = tuple(source["particles_per_cell"])
    assert asdict(FBPICSimulation(**source)) == asdict(FBPICSimulation())
