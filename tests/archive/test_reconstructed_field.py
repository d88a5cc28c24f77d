"""A series restored is a series like the original: grid, axes, time, unit, moving window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import insituml
from insituml.archive import ReconstructedField, Reconstruction, RelativeError
from insituml.data import Grid, Manifest, Normalisation, OpenPMDSeries, Step, TaskInfo, write_series
from insituml.models import MLP

CHUNK = (4, 5, 3)
SHAPE = (4, 12, 6)
SCALE = Normalisation(np.array([1e9, 0, 0]), np.array([2e9, 3e11, 7e8]))


class Moving:
    """Four iterations in a window that moves along y."""

    def __init__(self, components: tuple[str, ...] = ("Ex", "Ey", "Ez"), unit: str = "V/m") -> None:
        self.components = components
        self.unit = unit
        self.grid = Grid(SHAPE, (1e-6, 2e-7, 3e-6), (-2e-6, -2.5e-5, 7e-6))
        self.iteration_numbers = [0, 100, 200, 300]

    def __len__(self) -> int:
        return 4

    def __iter__(self) -> Iterator[Step]:
        return self.steps(range(4))

    def steps(self, places: Iterable[int]) -> Iterator[Step]:
        for place in places:
            values = np.random.default_rng(place).normal(size=(len(self.components), *SHAPE)) * 1e10
            origin = (-2e-6, -2.5e-5 + 4e-6 * place, 7e-6)
            number = self.iteration_numbers[place]
            meta = {"grid_origin": origin}
            yield Step(number, 1.3e-14 * place, values.astype(np.float32), meta)


@pytest.fixture
def learner() -> Any:
    model = MLP(input_shape=(3, *CHUNK), hidden_sizes=[8], latent_size=4)
    manifest = Manifest(
        name="moving",
        kind="field",
        in_transit=False,
        columns=("inputs",),
        sample_shape=(3, *CHUNK),
        condition_size=0,
        components=("Ex", "Ey", "Ez"),
        unit="V/m",
        grid=Moving().grid,
        chunk=CHUNK,
        permuted=False,
        tasks=(TaskInfo("all", 3, 1, SCALE, (0, 100, 200, 300), (200,)),),
        times={},
        origins={},
        fingerprint="",
    )
    model.metadata = {"manifest": manifest.to_plain(), "task": 0}
    return model


def test_it_is_a_source_like_the_original(learner: Any) -> None:
    source = Moving()
    restored = ReconstructedField(source, learner)
    assert (restored.components, restored.unit, restored.grid) == (
        source.components,
        source.unit,
        source.grid,
    )
    assert restored.iteration_numbers == source.iteration_numbers
    for before, after in zip(source, restored, strict=True):
        assert (after.iteration, after.time, after.origin) == (
            before.iteration,
            before.time,
            before.origin,
        )
        latents = insituml.encode_field(learner, before.values)
        np.testing.assert_array_equal(after.values, insituml.decode_field(learner, latents))
    (third,) = restored.steps([2])
    assert third.iteration == 200


@pytest.mark.parametrize("ending", ["h5", "bp"])
def test_openpmd_viewer_shows_it_beside_the_original(
    tmp_path: Path, learner: Any, ending: str
) -> None:
    viewer = pytest.importorskip("openpmd_viewer")
    for name in ("original", "restored"):
        (tmp_path / name).mkdir()
    original, copy = tmp_path / f"original/e.{ending}", tmp_path / f"restored/e.{ending}"
    write_series(original, Moving())
    heard: list[Reconstruction] = []
    write_series(copy, ReconstructedField(OpenPMDSeries(original), learner, report=heard.append))
    before, after = (
        viewer.OpenPMDTimeSeries(str(file.parent), check_all_files=True, backend="openpmd-api")
        for file in (original, copy)
    )
    assert after.iterations.tolist() == before.iterations.tolist() == [0, 100, 200, 300]
    assert after.t.tolist() == before.t.tolist()
    for k, number in enumerate(before.iterations):
        for c, axis in enumerate("xyz"):
            values, info = before.get_field("E", axis, iteration=number)
            restored, its = after.get_field("E", axis, iteration=number)
            assert (its.axes, restored.shape) == (info.axes, values.shape)
            for name in "xyz":
                np.testing.assert_array_equal(getattr(its, name), getattr(info, name))
            np.testing.assert_array_equal(values, heard[k].original.values[c])
            np.testing.assert_array_equal(restored, heard[k].restored.values[c])
    # Units are no part of what the viewer returns.
    assert OpenPMDSeries(copy).unit == "V/m"


@pytest.mark.parametrize(
    "components, unit, problem",
    [
        (("Ex", "Ey"), "V/m", "has Ex, Ey in V/m; .*trained on Ex, Ey, Ez in V/m"),
        (("Bx", "By", "Bz"), "T", "has Bx, By, Bz in T"),
    ],
)
def test_another_field_than_learned(
    learner: Any, components: tuple[str, ...], unit: str, problem: str
) -> None:
    with pytest.raises(ValueError, match=problem):
        ReconstructedField(Moving(components, unit), learner)


def test_a_bad_iteration_is_named(learner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Moving()

    def broken(places: Iterable[int]) -> Iterator[Step]:
        yield Step(100, 0.0, np.full((3, *SHAPE), np.nan, np.float32))

    monkeypatch.setattr(source, "steps", broken)
    with pytest.raises(ValueError, match="iteration 100: Ex is NaN"):
        list(ReconstructedField(source, learner))


def test_relative_error_is_that_of_all_iterations_together() -> None:
    rng = np.random.default_rng(1)
    fields = rng.normal(size=(3, 2, 4, 5, 6)).astype(np.float32) * np.float32(1e12)
    guesses = fields + rng.normal(size=fields.shape).astype(np.float32) * np.float32(1e11)
    error = RelativeError(2)
    for field, guess in zip(fields, guesses, strict=True):
        error.update(field, guess)
    norm = np.linalg.norm
    x, y = fields.astype(np.float64), guesses.astype(np.float64)
    expected = [norm((x - y)[:, c]) / norm(x[:, c]) for c in range(2)]
    np.testing.assert_allclose(error.by_component(), expected, rtol=1e-12)
    assert error.overall() == pytest.approx(norm(x - y) / norm(x), rel=1e-12)


def test_a_component_that_is_zero_has_no_relative_error() -> None:
    error = RelativeError(2)
    field = np.stack([np.zeros(4), np.ones(4)])
    error.update(field, field + 0.5)
    assert np.isnan(error.by_component()[0])
    assert error.by_component()[1] == pytest.approx(0.5)
