"""What people's series have: parts never written, odd iterations, files cut short, odd numbers."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import openpmd_api as io
import pytest

from insituml.data.openpmd import reader_process
from insituml.data.openpmd.series import OpenPMDSeries
from insituml.data.task_files import digest_of_files

SHAPE = (4, 6)
GROUPS, STEPS = io.Iteration_Encoding.group_based, io.Iteration_Encoding.variable_based
KINDS = {"g.h5": GROUPS, "f_%T.h5": None, "v.bp": STEPS, "g.bp4": GROUPS, "f_%T.bp": None}


def mesh(iteration, name="E", labels=("z", "x"), spacing=5e-8):
    found = iteration.meshes[name]
    found.axis_labels, found.grid_spacing = list(labels), [spacing] * len(labels)
    found.grid_global_offset, found.grid_unit_SI = [0.0] * len(labels), 1.0
    return found


def store(component, values, offset=None, shape=None) -> np.ndarray:
    component.unit_SI, component.position = 1.0, [0.0] * values.ndim
    component.reset_dataset(io.Dataset(values.dtype, list(shape or values.shape)))
    if values.size:
        component.store_chunk(values, offset or [0] * values.ndim, list(values.shape))
    return values


def write(path: Path, fill=None, numbers=(0, 10, 20), encoding=None) -> Path:
    """Write a vector E of x and z, by default full of the iteration's number."""
    series = io.Series(str(path), io.Access.create_linear)
    if encoding or KINDS.get(path.name):
        series.iteration_encoding = encoding or KINDS[path.name]
    for number in numbers:
        iteration = series.snapshots()[number]
        iteration.time, iteration.dt = float(number), 1.0
        kept = (fill or plain)(iteration, number)
        iteration.close()
        del kept
    series.close()
    return path


def plain(iteration, number):
    field = mesh(iteration)
    return [store(field[axis], np.full(SHAPE, float(number))) for axis in "xz"]


def numbers_of(source: OpenPMDSeries) -> dict[int, list[float]]:
    return {step.iteration: np.unique(step.values).tolist() for step in source}


@pytest.mark.parametrize("name", ["v.bp", "g.bp4", "f_%T.bp"])
@pytest.mark.parametrize("axes", ["xz", "x"])
def test_nan_stands_where_nothing_was_written(tmp_path: Path, name: str, axes: str) -> None:
    def half(iteration, number):
        field = mesh(iteration)
        return [store(field[a], np.ones((2, 6) if a in axes else SHAPE), shape=SHAPE) for a in "xz"]

    for step in OpenPMDSeries(write(tmp_path / name, half)):
        assert (step.values[:, :2] == 1).all()
        empty = np.isnan(step.values[:, 2:]).all(axis=(1, 2))
        assert empty.tolist() == [True, "z" in axes]


def test_nan_stands_for_whole_numbers_never_written_too(tmp_path: Path) -> None:
    def half(iteration, number):
        return [store(mesh(iteration)["x"], np.ones((2, 6), np.int32), shape=SHAPE)]

    (step, *_) = OpenPMDSeries(write(tmp_path / "v.bp", half))
    assert (step.values[0, :2] == 1).all()
    assert np.isnan(step.values[0, 2:]).all()


@pytest.mark.parametrize("name", KINDS)
def test_iterations_without_the_record_are_left_out_and_named(tmp_path: Path, name: str) -> None:
    def some(iteration, number):
        other = store(mesh(iteration, "rho")[io.Mesh_Record_Component.SCALAR], np.ones(SHAPE))
        return [other, *(plain(iteration, number) if number != 10 else [])]

    source = OpenPMDSeries(write(tmp_path / name, some))
    assert numbers_of(source) == {0: [0], 20: [20]}
    assert list(source.left_out) == [10]
    assert "iteration 10" in source.notes[-1]
    assert "'E'" in source.notes[-1]


DEVIATIONS = {
    "spacing": lambda it: [store(mesh(it, spacing=6e-8)[a], np.ones(SHAPE)) for a in "xz"],
    "of shape (4, 5)": lambda it: [store(mesh(it)[a], np.ones((4, 5))) for a in "xz"],
    "axes": lambda it: [store(mesh(it, labels="xz")[a], np.ones(SHAPE)) for a in "xz"],
    "no component 'Ez'": lambda it: [store(mesh(it)["x"], np.ones(SHAPE))],
    "complex": lambda it: [store(mesh(it)[a], np.ones(SHAPE, complex)) for a in "xz"],
}


@pytest.mark.parametrize("name", ["g.h5", "f_%T.h5", "v.bp"])
@pytest.mark.parametrize("what", DEVIATIONS)
def test_each_iteration_is_checked(tmp_path: Path, name: str, what: str) -> None:
    def odd(iteration, number):
        return DEVIATIONS[what](iteration) if number == 10 else plain(iteration, number)

    if (name, what) == ("v.bp", "complex"):
        pytest.skip("a variable has one type in all steps")
    source = OpenPMDSeries(write(tmp_path / name, odd))
    found = {**source.faults, **source.left_out}
    assert list(found) == [10]
    assert what in found[10]
    assert "iteration 10" in found[10]
    good = [n for n, number in enumerate(source.iteration_numbers) if number != 10]
    assert [step.iteration for step in source.steps(good)] == [0, 20]


DAMAGE = {
    "empty": lambda file: file.write_bytes(b""),
    "no HDF5 file": lambda file: file.write_text("iteration 10"),
    "HDF5": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "is a link to": lambda file: (file.unlink(), file.symlink_to("gone.h5")),
    "is a folder": lambda file: (file.unlink(), file.mkdir()),
}


@pytest.mark.parametrize("reason", DAMAGE)
def test_one_damaged_file_is_named(tmp_path: Path, reason: str, capfd) -> None:
    write(tmp_path / "f_%T.h5")
    DAMAGE[reason](tmp_path / "f_10.h5")
    capfd.readouterr()
    source = OpenPMDSeries(tmp_path / "f_%T.h5")
    assert list(source.faults) == [10]
    assert "f_10.h5" in source.faults[10]
    assert reason in source.faults[10]
    assert "\n" not in source.faults[10]
    assert capfd.readouterr() == ("", "")  # what the libraries print stays away


@pytest.mark.parametrize("lost", ["md.idx", "md.0", "data.0"])
def test_one_damaged_bp_folder_is_named(tmp_path: Path, lost: str, capfd) -> None:
    write(tmp_path / "f_%T.bp")
    (tmp_path / "f_10.bp" / lost).unlink()
    capfd.readouterr()
    source = OpenPMDSeries(tmp_path / "f_%T.bp")
    assert list(source.faults) == [10]
    assert f"f_10.bp lacks {lost}" in source.faults[10]
    assert capfd.readouterr() == ("", "")


KILLED = """
import os, sys
sys.path.insert(0, {tests!r})
from test_odd_series import *
def last(iteration, number):
    if number == 30:
        os.kill(os.getpid(), 9)
    return plain(iteration, number)
write(Path({path!r}), last, (0, 10, 20, 30))
"""


@pytest.mark.parametrize("name", ["v.bp", "v.bp4"])
def test_what_a_killed_writer_closed_is_read(tmp_path: Path, name: str) -> None:
    code = KILLED.format(tests=str(Path(__file__).parent), path=str(tmp_path / name))
    code = code.replace("(0, 10, 20, 30))", "(0, 10, 20, 30), encoding=STEPS)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = digest_of_files(sorted(f for f in (tmp_path / name).iterdir() if f.is_file()))
    began = time.monotonic()
    source = OpenPMDSeries(tmp_path / name)
    assert numbers_of(source) == {0: [0], 10: [10], 20: [20]}
    assert any("not closed by its writer" in note for note in source.notes)
    assert time.monotonic() - began < 15
    after = digest_of_files(sorted(f for f in (tmp_path / name).iterdir() if f.is_file()))
    assert before == after


def test_a_file_that_gives_nothing_is_refused_in_time(tmp_path: Path) -> None:
    write(tmp_path / "f_%T.bp")
    data = tmp_path / "f_10.bp" / "data.0"
    data.write_bytes(data.read_bytes()[:10])
    source = OpenPMDSeries(tmp_path / "f_%T.bp", open_timeout=1)
    began = time.monotonic()
    with pytest.raises(OSError, match=r"10.*cannot be read"):
        list(source.steps([source.iteration_numbers.index(10)]))
    assert time.monotonic() - began < 10
    assert [step.iteration for step in source.steps([0, 2])] == [0, 20]


def test_the_reading_process_may_die(tmp_path: Path) -> None:
    source = OpenPMDSeries(write(tmp_path / "g.h5"))
    steps = iter(source)
    next(steps)
    os.kill(reader_process._here[0]._child.pid, signal.SIGKILL)
    with pytest.raises(OSError, match="SIGKILL"):
        next(steps)
    assert numbers_of(source) == {0: [0], 10: [10], 20: [20]}


@pytest.mark.parametrize("part, value", [("abs", 5), ("real", 3), ("imag", 4)])
def test_complex_numbers_are_read_as_chosen(tmp_path: Path, part: str, value: float) -> None:
    def envelope(iteration, number):
        scalar = mesh(iteration, "laserEnvelope")[io.Mesh_Record_Component.SCALAR]
        return [store(scalar, np.full(SHAPE, 3 + 4j))]

    path = write(tmp_path / "g.h5", envelope)
    with pytest.raises(ValueError, match="complex=abs"):
        OpenPMDSeries(path, record="laserEnvelope")
    source = OpenPMDSeries(path, record="laserEnvelope", complex=part)
    assert numbers_of(source) == {n: [value] for n in (0, 10, 20)}


def several(iteration, number):
    kept = plain(iteration, number)
    magnetic = mesh(iteration, "B")
    magnetic.unit_dimension = {
        io.Unit_Dimension.M: 1,
        io.Unit_Dimension.T: -2,
        io.Unit_Dimension.I: -1,
    }
    return [*kept, store(magnetic["y"], np.full(SHAPE, -float(number)))]


def test_several_records_at_once(tmp_path: Path) -> None:
    source = OpenPMDSeries(write(tmp_path / "v.bp", several), record=["E", "B"])
    assert source.components == ("Ex", "Ez", "By")
    assert source.units[2] == "T"
    for step in source:
        n = step.iteration
        assert [np.unique(c).tolist() for c in step.values] == [[n], [n], [-n]]


def test_scalar_meshes_are_a_vector(tmp_path: Path) -> None:
    def scalars(iteration, number):
        scalar = io.Mesh_Record_Component.SCALAR
        return [
            store(mesh(iteration, f"E{a}")[scalar], np.full(SHAPE, k + 1.0))
            for k, a in enumerate("xyz")
        ]

    path = write(tmp_path / "g.h5", scalars)
    for record in ("E", ["Ex", "Ey", "Ez"]):
        source = OpenPMDSeries(path, record=record)
        assert source.components == ("Ex", "Ey", "Ez")
        assert [np.unique(c).tolist() for c in next(iter(source)).values] == [[1], [2], [3]]
    assert OpenPMDSeries(path, record="Ey").components == ("Ey",)
    assert OpenPMDSeries(path, component="Ez").components == ("Ez",)


@pytest.mark.parametrize(
    "pattern, read, noted",
    [("e_%T.h5", 4, 0), ("e_%05T.h5", 4, 0), ("e_%06T.h5", 2, 1), ("e_%04T.h5", 3, 1)],
)
def test_files_that_a_pattern_leaves_out_are_named(
    tmp_path: Path, pattern: str, read: int, noted: int
) -> None:
    write(tmp_path / "e_%05T.h5", numbers=(0, 50000, 100000, 150000))
    source = OpenPMDSeries(tmp_path / pattern)
    assert len(source) == len(numbers_of(source)) == len(source.files) == read
    assert len(source.notes) == noted
    assert all("e_00000.h5" in note for note in source.notes)


def test_a_folder_is_the_series_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "diags" / "hdf5"
    folder.mkdir(parents=True)
    write(folder / "data%08T.h5")
    for path in (folder, folder.parent):
        assert numbers_of(OpenPMDSeries(path)) == {0: [0], 10: [10], 20: [20]}
    write(folder / "other.h5", encoding=GROUPS)
    with pytest.raises(ValueError, match="holds 2 series"):
        OpenPMDSeries(folder)


def test_a_range_of_iterations(tmp_path: Path) -> None:
    for name in KINDS:
        path = write(tmp_path / name, numbers=range(0, 60, 10))
        assert OpenPMDSeries(path, iterations=[10, 50, 20]).iteration_numbers == [10, 30, 50]
    with pytest.raises(ValueError, match=r"chooses none of the 6 iterations"):
        OpenPMDSeries(path, iterations=[1, 9, 1])


@pytest.mark.parametrize("dtype", [">f4", ">f8", "<f2", ">i2"])
def test_numbers_that_openpmd_api_does_not_take(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "g.h5")
    with h5py.File(path, "r+") as file:
        for number in (0, 10, 20):
            for axis in "xz":
                group = file[f"data/{number}/meshes/E"]
                attributes = dict(group[axis].attrs)
                del group[axis]
                group[axis] = np.full(SHAPE, number, dtype)
                group[axis].attrs.update(attributes)
    stored = path.read_bytes()
    assert numbers_of(OpenPMDSeries(path)) == {0: [0], 10: [10], 20: [20]}
    assert path.read_bytes() == stored


def test_an_iteration_appended_twice_is_read_once_or_refused(tmp_path: Path) -> None:
    def again(iteration, number):
        return plain(iteration, number + 1000)

    write(tmp_path / "v.bp", numbers=(0, 10, 20))
    series = io.Series(str(tmp_path / "v.bp"), io.Access.append_linear)
    series.iteration_encoding = STEPS
    for number in (10, 20, 30):
        iteration = series.snapshots()[number]
        kept = again(iteration, number)
        iteration.close()
        del kept
    series.close()
    source = OpenPMDSeries(tmp_path / "v.bp")
    assert numbers_of(source) == {0: [0], 10: [1010], 20: [1020], 30: [1030]}


def test_a_template_holds_no_numbers(tmp_path: Path) -> None:
    options = '{"json": {"dataset": {"mode": "template"}}}'
    series = io.Series(str(tmp_path / "t.json"), io.Access.create, options)
    iteration = series.iterations[0]
    field = mesh(iteration)["x"]
    field.unit_SI, field.position = 1.0, [0.0] * 2
    field.reset_dataset(io.Dataset(np.dtype("float64"), list(SHAPE)))
    series.close()
    source = OpenPMDSeries(tmp_path / "t.json")
    with pytest.raises(ValueError, match="template"):
        list(source)


def test_files_beside_a_series_belong_to_it(tmp_path: Path) -> None:
    """ADIOS2's older formats keep the numbers in a folder beside the file that is named."""
    source = OpenPMDSeries(write(tmp_path / "g.h5"))
    assert [file.name for file in source.files] == ["g.h5"]
    beside = tmp_path / "g.h5.dir"
    beside.mkdir()
    (beside / "g.h5.0").write_text("numbers")
    assert [f.name for f in OpenPMDSeries(tmp_path / "g.h5").files] == ["g.h5", "g.h5.0"]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    path = write(tmp_path / "v.bp")
    code = (
        "import tempfile, sys; tempfile.tempdir = sys.argv[2]\n"
        "from insituml.data.openpmd import OpenPMDSeries; s = OpenPMDSeries(sys.argv[1])\n"
        "import os; [*s]; sys.stdout.flush(); os.kill(os.getpid(), 9)"
    )
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    subprocess.run([sys.executable, "-c", code, str(path), str(scratch)], check=False)
    for _ in range(100):
        if not list(scratch.iterdir()):
            break
        time.sleep(0.1)
    assert list(scratch.iterdir()) == []
    shutil.rmtree(scratch)
