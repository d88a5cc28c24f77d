"""The original format: ordering, selection, grids, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from insituml.data.npy_folder import NpyFolder
from insituml.data.step import Grid

SHAPE = (3, 2, 4, 5)


def field(number: int) -> np.ndarray:
    return np.random.default_rng(number).normal(size=SHAPE).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1000, 0, 200, 100):
        np.save(tmp_path / f"data_{number}.npy", field(number))
    (tmp_path / "README.md").write_text("not a field")
    np.save(tmp_path / "mean.npy", np.zeros(3))
    return tmp_path


def test_files_are_ordered_by_number(folder: Path) -> None:
    source = NpyFolder(folder)
    steps = list(source)
    assert len(source) == 4
    assert [step.iteration for step in steps] == [0, 100, 200, 1000]
    assert source.components == ("Ex", "Ey", "Ez")
    assert source.unit == "V/m"
    for step in steps:
        assert step.time == step.iteration
        assert step.values.dtype == np.float32
        assert type(step.values) is np.ndarray
        np.testing.assert_array_equal(step.values, field(step.iteration))


@pytest.mark.parametrize("index, name", list(enumerate(["Ex", "Ey", "Ez"])))
def test_one_component(folder: Path, index: int, name: str) -> None:
    source = NpyFolder(folder, component=name)
    assert source.components == (name,)
    for step in source:
        np.testing.assert_array_equal(step.values, field(step.iteration)[index : index + 1])


def test_grid_is_in_points_unless_given(folder: Path) -> None:
    assert NpyFolder(folder).grid == Grid((2, 4, 5), (1, 1, 1), (0, 0, 0), ("x", "y", "z"))
    source = NpyFolder(
        str(folder), spacing=(1e-6, 2e-6, 3e-6), origin=(-1e-6, 0.0, 5e-6), time_step=1e-15
    )
    assert source.grid == Grid((2, 4, 5), (1e-6, 2e-6, 3e-6), (-1e-6, 0.0, 5e-6))
    assert [step.time for step in source] == pytest.approx([0, 1e-13, 2e-13, 1e-12])


def test_a_moving_window_is_where_its_velocity_has_brought_it(folder: Path) -> None:
    fixed = {"spacing": (1e-6, 2e-6, 3e-6), "origin": (-1e-6, 0.0, 5e-6), "time_step": 1e-15}
    assert [step.origin for step in NpyFolder(folder, **fixed)] == [None] * 4
    moving = NpyFolder(folder, **fixed, window_velocity=(0.0, 3e8, -1e8))
    origins = [step.origin for step in moving]
    assert moving.grid.origin == origins[0]
    expected = [(-1e-6, 3e8 * t, 5e-6 - 1e8 * t) for t in (0, 1e-13, 2e-13, 1e-12)]
    np.testing.assert_allclose(origins, expected, rtol=1e-12)
    # The origin is that of the first file, whatever its number.
    (folder / "data_0.npy").unlink()
    later = NpyFolder(folder, **fixed, window_velocity=(0.0, 3e8, 0.0))
    assert [step.origin for step in later.steps([0])] == [later.grid.origin]
    assert next(iter(later.steps([2]))).origin == pytest.approx((-1e-6, 2.7e-4, 5e-6))


def test_a_window_cannot_move_in_metres_over_points(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"window_velocity=\(0.0, 1.0, 0.0\).*give spacing"):
        NpyFolder(folder, window_velocity=(0.0, 1.0, 0.0))


def test_a_step_is_the_readers_own(folder: Path) -> None:
    next(iter(NpyFolder(folder))).values[:] = 0
    np.testing.assert_array_equal(next(iter(NpyFolder(folder))).values, field(0))


def test_files_are_read_when_asked_for(folder: Path) -> None:
    steps = iter(NpyFolder(folder))
    next(steps)
    np.save(folder / "data_100.npy", np.zeros(SHAPE, np.float32))
    assert not next(steps).values.any()


def test_chosen_steps_read_nothing_else(folder: Path) -> None:
    source = NpyFolder(folder)
    assert source.iteration_numbers == [0, 100, 200, 1000]
    (folder / "data_0.npy").unlink()
    chosen = list(source.steps([3, 1, 3]))
    assert [step.iteration for step in chosen] == [1000, 100, 1000]
    for step in chosen:
        np.testing.assert_array_equal(step.values, field(step.iteration))


def test_doubles_become_single(folder: Path) -> None:
    np.save(folder / "data_0.npy", field(0).astype(np.float64))
    assert next(iter(NpyFolder(folder))).values.dtype == np.float32


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere"):
        NpyFolder(tmp_path / "nowhere")


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="it holds nothing"):
        NpyFolder(tmp_path)
    (tmp_path / "field0.npy").touch()
    with pytest.raises(FileNotFoundError, match=r"it holds \['field0.npy'\]"):
        NpyFolder(tmp_path)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


ODD = {
    "holds float64 of shape (2, 4, 5); expected floats of shape": np.zeros((2, 4, 5)),
    "holds float64 of shape (2, 2, 4, 5); expected": np.zeros((2, 2, 4, 5)),
    "holds float64 of shape (3, 0, 4, 5); expected": np.zeros((3, 0, 4, 5)),
    "holds int64 of shape": np.zeros(SHAPE, np.int64),
    "holds complex128 of shape": np.zeros(SHAPE, complex),
    "has shape (3, 2, 4, 6), but the first one (3, 2, 4, 5)": np.zeros((3, 2, 4, 6)),
    "it holds Python objects": np.array([{}] * 120, dtype=object).reshape(SHAPE),
    "its header promises": cut,
    "it is empty": lambda file: file.write_bytes(b""),
    "it is no .npy file": lambda file: file.write_text("0.1 0.2"),
    "a link to a file that is not there": lambda file: (file.unlink(), file.symlink_to("gone")),
    "is a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("reason", ODD)
def test_an_odd_file_is_named_where_it_is_read(folder: Path, reason: str) -> None:
    file = folder / "data_200.npy"
    if callable(ODD[reason]):
        ODD[reason](file)
    else:
        np.save(file, ODD[reason], allow_pickle=True)
    source = NpyFolder(folder)
    assert list(source.faults) == [200]
    assert reason in source.faults[200]
    assert [step.iteration for step in source.steps([0, 1, 3])] == [0, 100, 1000]
    with pytest.raises(ValueError, match=r"data_200\.npy"):
        list(source.steps([2]))


def test_a_folder_of_odd_files_alone(tmp_path: Path) -> None:
    (tmp_path / "data_0.npy").write_text("nothing")
    with pytest.raises(ValueError, match=r"data_0.npy is damaged: it is no .npy file"):
        NpyFolder(tmp_path)


@pytest.mark.parametrize("dtype", [np.float16, ">f4", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_floats_of_any_kind_are_read_as_written(tmp_path: Path, dtype: str, order: str) -> None:
    values = np.arange(120).reshape(SHAPE)
    np.save(tmp_path / "data_0.npy", np.asarray(values, dtype, order=order))  # type: ignore
    (step,) = NpyFolder(tmp_path)
    assert step.values.dtype == np.float32
    np.testing.assert_array_equal(step.values, values)


def test_a_range_of_iterations(folder: Path) -> None:
    chosen = NpyFolder(folder, iterations=[100, 1000, 100])
    assert chosen.iteration_numbers == [100, 200, 1000]
    with pytest.raises(ValueError, match=r"chooses none of the 4 .*0, 100, 200, 1000"):
        NpyFolder(folder, iterations=[1, 99, 1])


def test_same_number_twice(folder: Path) -> None:
    np.save(folder / "data_0100.npy", field(100))
    with pytest.raises(ValueError, match="both iteration 100"):
        NpyFolder(folder)


def test_unknown_component(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"'Bx'.*Ex, Ey, Ez"):
        NpyFolder(folder, component="Bx")


def test_wrong_spacing(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"spacing=.*three numbers"):
        NpyFolder(folder, spacing=(1e-6, 1e-6))  # type: ignore[arg-type]
