"""What is written as an ADIOS2 BP folder reads back, repeats, and appears only when complete."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from insituml.data.openpmd.series import OpenPMDSeries
from insituml.data.openpmd.writer import write_series
from insituml.data.step import Grid, Step


class Source:
    """Steps of random numbers on a grid with all axes different."""

    components = ("Ex", "Ey", "Ez")
    unit = "V/m"
    grid = Grid((4, 6, 5), (1e-6, 2e-7, 3e-6), (-2e-6, -2.5e-5, 7e-6))

    def __init__(self, steps: int = 3) -> None:
        self.iteration_numbers = [100 * k for k in range(steps)]

    def __len__(self) -> int:
        return len(self.iteration_numbers)

    def __iter__(self) -> Iterator[Step]:
        return self.steps(range(len(self)))

    def steps(self, places) -> Iterator[Step]:
        for k in places:
            values = np.random.default_rng(k).normal(size=(3, *self.grid.shape))
            yield Step(100 * k, 1e-13 * k, values.astype(np.float32))


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def assert_is(source: Source, path: Path) -> None:
    back = OpenPMDSeries(path)
    assert (back.components, back.unit, back.grid) == (source.components, source.unit, source.grid)
    for a, b in zip(source, back, strict=True):
        assert (a.iteration, a.time) == (b.iteration, b.time)
        assert b.metadata["grid_origin"] == source.grid.origin
        np.testing.assert_array_equal(a.values, b.values)


def test_round_trip_and_replacement(tmp_path: Path) -> None:
    write_series(tmp_path / "e.bp", Source())
    assert_is(Source(), tmp_path / "e.bp")
    write_series(tmp_path / "e.bp", Source(steps=2))
    assert_is(Source(steps=2), tmp_path / "e.bp")
    assert list(tmp_path.iterdir()) == [tmp_path / "e.bp"]


@pytest.mark.parametrize("name", ["e.h5", "e.bp"])
def test_a_moving_window_is_written_step_by_step(tmp_path: Path, name: str) -> None:
    class Moving(Source):
        def steps(self, places) -> Iterator[Step]:
            for step in super().steps(places):
                origin = (-2e-6, -2.5e-5, 7e-6 + 1e-8 * step.iteration)
                yield replace(step, metadata={"grid_origin": origin})

    write_series(tmp_path / name, Moving())
    expected = [(-2e-6, -2.5e-5, 7e-6 + 1e-8 * n) for n in (0, 100, 200)]
    assert [s.metadata["grid_origin"] for s in OpenPMDSeries(tmp_path / name)] == expected


def test_equal_sources_give_equal_bytes(tmp_path: Path) -> None:
    write_series(tmp_path / "one.bp", Source())
    time.sleep(1.1)
    write_series(tmp_path / "two.bp", Source())
    one = contents(tmp_path / "one.bp")
    assert one == contents(tmp_path / "two.bp")
    assert "data.0" in one


def test_a_failed_write_leaves_the_old_folder(tmp_path: Path) -> None:
    class Failing(Source):
        def __iter__(self) -> Iterator[Step]:
            yield from self.steps([0])
            raise ArithmeticError("out of plasma")

    write_series(tmp_path / "e.bp", Source())
    before = contents(tmp_path / "e.bp")
    with pytest.raises(ArithmeticError, match="out of plasma"):
        write_series(tmp_path / "e.bp", Failing())
    assert contents(tmp_path / "e.bp") == before
    assert list(tmp_path.iterdir()) == [tmp_path / "e.bp"]


@pytest.mark.parametrize("name", ["e.h5", "e.bp"])
def test_it_opens_in_openpmd_viewer(tmp_path: Path, name: str) -> None:
    viewer = pytest.importorskip("openpmd_viewer")
    source = Source()
    write_series(tmp_path / name, source)
    series = viewer.OpenPMDTimeSeries(str(tmp_path), check_all_files=True, backend="openpmd-api")
    assert series.iterations.tolist() == source.iteration_numbers
    assert series.t.tolist() == [step.time for step in source]
    for step in source:
        for k, axis in enumerate("xyz"):
            values, info = series.get_field("E", axis, iteration=step.iteration)
            np.testing.assert_array_equal(values, step.values[k])
            assert info.axes == {0: "x", 1: "y", 2: "z"}
            start, width = source.grid.origin[k], source.grid.spacing[k]
            expected = start + width * np.arange(source.grid.shape[k])
            np.testing.assert_allclose(getattr(info, axis), expected, rtol=1e-12, atol=1e-18)
