"""The split stage: every sample in one place, statistics as declared, the same bytes each time."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import openpmd_api as io
import pytest
import torch

from insituml.data.chunks import assemble
from insituml.data.images.digits import digits
from insituml.data.toy8 import toy8
from insituml_pipelines.common.composition import composed
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.invocation import asked_data
from insituml_pipelines.common.task_files import read_tasks
from insituml_pipelines.generate import generate
from insituml_pipelines.split import split


@pytest.fixture
def fields(tools, tmp_path) -> np.ndarray:
    return tools.write_fields(tmp_path / "fields")


def normalisations(stream) -> list[dict[str, np.ndarray]]:
    return [
        {"mean": task.normalisation.mean, "std": task.normalisation.std}
        for task in stream.manifest.tasks
    ]


def raw(stream, task: int, part: str) -> np.ndarray:
    """Return a task's samples in physical units."""
    statistics = normalisations(stream)[task]
    inputs = stream.array(task, f"{part}_inputs")
    beside = (-1, *(1,) * (inputs.ndim - 2))
    return inputs * statistics["std"].reshape(beside) + statistics["mean"].reshape(beside)


def test_field_tasks_hold_every_step_once(fields, tools, tmp_path) -> None:
    stream = tools.make_stream(tools.field_data(tmp_path / "fields"), tmp_path)
    tasks = stream.manifest.tasks
    expected = [(0, 100, 200), (300, 400), (500, 600)]  # uneven remainder
    assert [task.iterations for task in tasks] == expected
    assert stream.manifest.task_names == [
        "iterations 0–200",
        "iterations 300–400",
        "iterations 500–600",
    ]
    chunks = 2 * 2 * 1
    for k, task in enumerate(tasks):
        held_out = {*stream.array(k, "test_places")[:, 0].tolist()}
        trained = {*stream.array(k, "train_places")[:, 0].tolist()}
        assert held_out == set(task.held_out)
        assert held_out.isdisjoint(trained)
        assert tuple(sorted(held_out | trained)) == task.iterations
        assert task.train == len(trained) * chunks == len(stream.array(k, "train_inputs"))
        assert task.test == len(held_out) * chunks == len(stream.array(k, "test_inputs"))
    manifest = stream.manifest
    assert manifest.sample_shape == (3, 1, 4, 2)
    assert manifest.chunk == (1, 4, 2)
    assert manifest.unit == "V/m"
    assert manifest.components == ("Ex", "Ey", "Ez")
    assert manifest.grid is not None
    assert manifest.grid.spacing == (2e-6, 1e-6, 2e-6)
    assert sorted(manifest.times) == list(range(0, 700, 100))


@pytest.mark.parametrize("normalisation", ["first_task", "running", "global"])
def test_places_put_the_original_fields_together(normalisation, fields, tools, tmp_path) -> None:
    data = tools.field_data(tmp_path / "fields", normalisation=normalisation)
    stream = tools.make_stream(data, tmp_path)
    seen = []
    for k in range(3):
        for part in ("train", "test"):
            values, places = raw(stream, k, part), stream.array(k, f"{part}_places")
            for step in np.unique(places[:, 0]):
                rows = places[:, 0] == step
                volume = assemble(values[rows], places[rows, 1:], tools.FIELD_SHAPE)
                field = fields[step // 100]
                scale = np.abs(field).max(axis=(1, 2, 3), keepdims=True)
                np.testing.assert_allclose(volume / scale, field / scale, atol=1e-6)
                seen.append(int(step))
    assert sorted(seen) == list(range(0, 700, 100))


@pytest.mark.parametrize("normalisation", ["first_task", "running", "global"])
def test_statistics_equal_those_of_numpy_over_training_data(
    normalisation, fields, tools, tmp_path
) -> None:
    data = tools.field_data(tmp_path / "fields", normalisation=normalisation)
    stream = tools.make_stream(data, tmp_path)
    trained = [
        [n // 100 for n in task.iterations if n not in task.held_out]
        for task in stream.manifest.tasks
    ]
    for k, found in enumerate(normalisations(stream)):
        through = {"first_task": 1, "running": k + 1, "global": 3}[normalisation]
        steps = [step for task in trained[:through] for step in task]
        values = fields[steps].astype(np.float64)
        mean = values.mean(axis=(0, 2, 3, 4))
        std = np.sqrt(((values - mean[:, None, None, None]) ** 2).mean(axis=(0, 2, 3, 4)))
        np.testing.assert_allclose(found["mean"], mean, rtol=1e-5)
        np.testing.assert_allclose(found["std"], std, rtol=1e-5)
        assert std[1] > 10 * std[0]  # one number for all components would be seen


@pytest.mark.parametrize("component", ["Ex", "Ez"])
def test_one_component_by_name(component, fields, tools, tmp_path) -> None:
    data = tools.field_data(tmp_path / "fields")
    data.source["component"] = component
    stream = tools.make_stream(data, tmp_path)
    assert stream.manifest.sample_shape == (1, 1, 4, 2)
    index = "xyz".index(component[1])
    steps = stream.array(0, "train_places")[:, 0]
    volume = assemble(
        raw(stream, 0, "train")[steps == steps[0]],
        stream.array(0, "train_places")[steps == steps[0], 1:],
        tools.FIELD_SHAPE,
    )
    np.testing.assert_allclose(volume[0], fields[steps[0] // 100, index], rtol=1e-4, atol=1e-3)


def test_points_are_split_by_time_and_held_out_at_random(points) -> None:
    source = toy8(points=16, iterations=7, duration=6.0)
    windows = [[0, 1, 2], [3, 4], [5, 6]]
    assert points.manifest.task_names == ["iterations 0–2", "iterations 3–4", "iterations 5–6"]
    for k, window in enumerate(windows):
        expected = source.inputs[np.isin(source.iterations, window)]
        found = np.concatenate([raw(points, k, "train"), raw(points, k, "test")])
        order_a, order_b = (np.lexsort(np.round(v, 3).T) for v in (expected, found))
        np.testing.assert_allclose(found[order_b], expected[order_a], atol=1e-5)
        assert points.manifest.tasks[k].test == round(0.25 * len(expected))
        assert points.array(k, "train_labels").shape[1:] == (8,)
    first = points.array(0, "train_inputs")
    np.testing.assert_allclose(first.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(first.std(axis=0), 1, atol=1e-5)


def test_labels_go_to_their_group_with_their_images(tools, tmp_path) -> None:
    stream = tools.make_stream(tools.images_data(), tmp_path)
    source = digits()
    assert stream.manifest.task_names == ["labels 0, 3", "labels 7"]
    for k, group in enumerate([[0, 3], [7]]):
        labels = np.concatenate([stream.array(k, f"{p}_labels") for p in ("train", "test")])
        images = np.concatenate([raw(stream, k, "train"), raw(stream, k, "test")])
        rows = np.isin(source.labels, group)
        assert sorted(labels) == sorted(source.labels[rows])
        for label in group:
            of_label = images[labels == label].reshape(-1, 64)
            expected = source.inputs[source.labels == label].reshape(-1, 64)
            order_a, order_b = (np.lexsort(np.round(16 * v).T) for v in (expected, of_label))
            np.testing.assert_allclose(of_label[order_b], expected[order_a], atol=1e-5)


def test_tensors_are_mapped_with_their_columns(points) -> None:
    tasks = points.tasks()
    assert [task.index for task in tasks] == [0, 1, 2]
    for k, task in enumerate(tasks):
        inputs, labels = task.train
        assert torch.equal(inputs, torch.from_numpy(np.array(points.array(k, "train_inputs"))))
        assert len(inputs) == len(labels)
        assert len(task.test) == 2
    before = points.array(0, "train_inputs").copy()
    tasks[0].train[0].zero_()  # a copy-on-write map: the file is safe
    assert np.array_equal(points.array(0, "train_inputs"), before)


def damaged(volumes: np.ndarray, folder, iteration: int) -> None:
    broken = volumes[iteration].copy()
    broken[1, 0, 3, 1] = np.nan
    broken[2, 1, 0, 0] = np.inf
    np.save(folder / f"data_{100 * iteration}.npy", broken)


@pytest.mark.parametrize("iteration", [0, 6])
def test_values_that_are_no_numbers_are_traced_to_their_iteration(
    iteration, fields, tools, tmp_path
) -> None:
    damaged(fields, tmp_path / "fields", iteration)
    with pytest.raises(UserError, match=f"iteration {100 * iteration} cannot .* 1 NaN and 1 inf"):
        tools.make_stream(tools.field_data(tmp_path / "fields"), tmp_path)


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"tasks": 8}, "8 tasks of 7 iterations"),
        ({"tasks": 7}, "use fewer tasks or more data"),
        ({"chunk": [1, 3, 2]}, "axis 1 has 8 points, not a multiple of 3"),
        ({"chunk": [4, 2]}, "2 axes"),
    ],
)
def test_splits_that_do_not_fit(changes: dict[str, Any], expected, fields, tools, tmp_path) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        tools.make_stream(tools.field_data(tmp_path / "fields", **changes), tmp_path)
    assert "data=fields: " in str(caught.value)


def test_fields_have_no_labels(fields, tools, tmp_path) -> None:
    data = tools.field_data(tmp_path / "fields")
    by_label = tools.images_data().split
    with pytest.raises(UserError, match=r"use data\.split\.by=time"):
        tools.make_stream(data.model_copy(update={"split": by_label}), tmp_path)


def test_unknown_labels(tools, tmp_path) -> None:
    with pytest.raises(UserError, match=r"no sample has a label of the group \[12\]"):
        tools.make_stream(tools.images_data(groups=[[0], [12]]), tmp_path)


def test_without_data(points, tools, tmp_path) -> None:
    with pytest.raises(UserError, match=r"run `insituml generate` first"):
        split(tools.points_data(), tmp_path / "raw", tmp_path / "tasks")
    with pytest.raises(UserError, match=r"run `insituml split` first"):
        read_tasks(tmp_path / "tasks")


@pytest.mark.parametrize("kind", ["field", "points", "images"])
def test_the_same_bytes_each_time(kind, tools, tmp_path) -> None:
    if kind == "field":
        tools.write_fields(tmp_path / "fields")
    data = {
        "field": lambda: tools.field_data(tmp_path / "fields"),
        "points": tools.points_data,
        "images": tools.images_data,
    }[kind]()
    first = tools.make_stream(data, tmp_path / "a")
    # A folder that is there already is replaced as a whole.
    (tmp_path / "b/data/tasks/task_09").mkdir(parents=True)
    (tmp_path / "b/data/tasks/task_09/old.npy").write_bytes(b"old")
    again = tools.make_stream(data, tmp_path / "b")
    assert tools.contents(first.folder) == tools.contents(again.folder)
    assert first.manifest.fingerprint == again.manifest.fingerprint
    assert tools.contents(tmp_path / "a/data/raw") == tools.contents(tmp_path / "b/data/raw")


def test_the_fingerprint_notices_data_and_split(fields, tools, tmp_path) -> None:
    def fingerprint(name: str, **changes: Any) -> str:
        data = tools.field_data(tmp_path / "fields", **changes)
        return tools.make_stream(data, tmp_path / name).manifest.fingerprint

    found = [
        fingerprint("a"),
        fingerprint("b", tasks=2),
        fingerprint("c", chunk=[2, 4, 2]),
        fingerprint("d", normalisation="running"),
        fingerprint("e", holdout=0.5),
    ]
    volume = fields[3].copy()
    volume[0, 0, 0, 0] += 0.001
    np.save(tmp_path / "fields/data_300.npy", volume)
    found.append(fingerprint("f"))
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("ending", ["h5", "bp"])
def test_the_closed_form_wakefield_goes_through_an_openpmd_series(ending, tools, tmp_path) -> None:
    from insituml.data.lwfa import LwfaField

    options = {"shape": [2, 128, 2], "iterations": 4}
    data = tools.field_data(tmp_path, tasks=2, chunk=None).model_copy(
        update={
            "path": None,
            "format": ending,
            "source": {"_target_": "insituml.data.lwfa.LwfaField", **options},
        }
    )
    stream = tools.make_stream(data, tmp_path)
    source = LwfaField(shape=(2, 128, 2), iterations=4)
    assert stream.manifest.sample_shape == (3, 2, 128, 2)
    assert stream.manifest.grid is not None
    assert stream.manifest.grid.spacing == pytest.approx(source.grid.spacing)
    for step in source:
        assert stream.manifest.times[step.iteration] == pytest.approx(step.time)
        assert stream.manifest.origins[step.iteration] == pytest.approx(step.origin)
    for k in range(2):
        for part in ("train", "test"):
            for row, (step, *_) in enumerate(stream.array(k, f"{part}_places")):
                expected = source.field(int(step))
                scale = np.abs(expected).max()
                found = raw(stream, k, part)[row]
                np.testing.assert_allclose(found / scale, expected / scale, atol=1e-6)


def test_outside_files_are_not_copied_but_their_change_is_noticed(fields, tools, tmp_path) -> None:
    data = tools.field_data(tmp_path / "fields")
    before = generate(data, tmp_path / "raw")
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["source.json"]
    assert json.loads((tmp_path / "raw/source.json").read_text()) == asdict(before)
    assert before.reader is not None
    assert before.reader["path"] == str(tmp_path / "fields")
    np.save(tmp_path / "fields/data_0.npy", fields[0] + 1)
    assert generate(data, tmp_path / "raw").digest != before.digest


@pytest.mark.parametrize("changed", ["e_1.h5", "e_1.bp/data.0"])
def test_each_file_of_an_openpmd_pattern_is_noticed(changed, tools, tmp_path) -> None:
    pattern = tmp_path / f"e_%T{Path(changed.split('/')[0]).suffix}"
    series = io.Series(str(pattern), io.Access.create_linear)
    values = np.ones((2, 4, 2), np.float32)
    for number in (0, 1):
        mesh = series.snapshots()[number].meshes["E"]
        mesh.axis_labels, mesh.grid_spacing = ["x", "y", "z"], [1.0] * 3
        mesh.grid_global_offset, mesh["x"].position = [0.0] * 3, [0.0] * 3
        mesh["x"].reset_dataset(io.Dataset(values.dtype, values.shape))
        mesh["x"].store_chunk(values)
        series.snapshots()[number].close()
    series.close()
    reader = {"_target_": "insituml.data.openpmd.series.OpenPMDSeries", "path": str(pattern)}
    data = tools.field_data(tmp_path).model_copy(update={"path": str(pattern), "source": reader})
    before = generate(data, tmp_path / "raw")
    assert before.reader is not None
    assert before.reader["path"] == str(pattern)
    with (tmp_path / changed).open("ab") as file:
        file.write(b"more")
    assert generate(data, tmp_path / "raw").digest != before.digest


@pytest.mark.parametrize(
    "source, expected",
    [
        ({"path": "no/folder"}, r"data=fields: no folder no/folder"),
        ({"component": "Bx"}, r"choose one of Ex, Ey, Ez"),
        ({"spacing": [1.0, 2.0]}, r"data\.source\.spacing"),
    ],
)
def test_sources_that_cannot_be_read(source, expected, fields, tools, tmp_path) -> None:
    data = tools.field_data(tmp_path / "fields")
    data.source.update(source)
    with pytest.raises(UserError, match=expected):
        generate(data, tmp_path / "raw")
    assert not (tmp_path / "raw").exists()  # an old data/raw stays until a new one can be made


def test_tasks_of_an_earlier_version_are_told_from_todays(tmp_path) -> None:
    (tmp_path / "stream.json").write_text('{"tasks": [], "sample_shape": [2]}')
    with pytest.raises(UserError, match=r"no format number, .*`insituml split` again"):
        read_tasks(tmp_path)


def test_bad_iterations_may_be_left_out(fields, tools, tmp_path, capsys) -> None:
    damaged(fields, tmp_path / "fields", 0)
    data = tools.field_data(tmp_path / "fields", on_bad_iteration="skip")
    stream = tools.make_stream(data, tmp_path)
    said = capsys.readouterr().out
    assert said.count("iteration 0 is left out: 1 NaN and 1 infinite among its 96 values") == 1
    assert np.unique(stream.array(0, "train_places")[:, 0]).tolist() == [200]
    assert stream.manifest.tasks[0].train == 4


def test_a_task_without_anything_to_hold_out_is_refused(fields, tools, tmp_path) -> None:
    damaged(fields, tmp_path / "fields", 4)  # the one that is held out of iterations 300 and 400
    data = tools.field_data(tmp_path / "fields", on_bad_iteration="skip")
    with pytest.raises(UserError, match=r"of iterations 300–400, 4 .* and 0 to hold out are left"):
        tools.make_stream(data, tmp_path)


def test_samples_have_no_iterations_nor_times_of_their_own(points) -> None:
    assert points.manifest.iterations == ()
    assert points.manifest.times == {}
    assert all(task.held_out == () for task in points.manifest.tasks)


def test_results_stay_until_new_ones_are_whole(fields, tools, tmp_path) -> None:
    stream = tools.make_stream(tools.field_data(tmp_path / "fields"), tmp_path)
    before = tools.contents(stream.folder)
    damaged(fields, tmp_path / "fields", 5)
    with pytest.raises(UserError, match="iteration 500 cannot be learned from"):
        tools.make_stream(tools.field_data(tmp_path / "fields"), tmp_path)
    assert tools.contents(stream.folder) == before


@pytest.mark.parametrize(
    "asked, difference",
    [
        ({"name": "other"}, "data.name is 'toy8' there, 'other' here"),
        ({"name": "toy8", "split.tasks": 2}, "data.split.tasks is 3 there, 2 here"),
        ({"source.points": 8}, "data.source.points is 16 there, 8 here"),
        ({"path": "elsewhere"}, "data.path is None there, 'elsewhere' here"),
        ({"source.unheard_of": 1}, "data.source.unheard_of is None there, 1 here"),
        ({"name": "toy8", "kind": "points", "split.tasks": 3, "source.points": 16}, None),
    ],
)
def test_tasks_of_other_data_than_asked_for_are_refused(asked, difference, points) -> None:
    if difference is None:
        assert read_tasks(points.folder, asked).folder == points.folder
    else:
        with pytest.raises(UserError, match=f"holds other data .*: {difference}"):
            read_tasks(points.folder, asked)


@pytest.mark.parametrize(
    "overrides, asked",
    [
        ([], {}),
        (["method=ewc", "training.epochs=3"], {}),
        (["experiment=toy8"], {"name": "toy8", "kind": "points"}),
        (["data=digits"], {"name": "digits", "kind": "images"}),
        (["data.split.tasks=4", "+data.source.seed=3"], {"split.tasks": 4, "source.seed": 3}),
        (["data=pic", "data.path=x"], {"path": "x", "name": "pic", "kind": "field"}),
        (["data.format=bp"], {}),
    ],
)
def test_what_a_command_asks_of_the_data(overrides, asked) -> None:
    assert asked_data(composed(overrides), overrides) == asked


def test_three_parts_share_nothing_and_the_test_part_stays_what_it_was(tools, tmp_path) -> None:
    kinds = {"points": tools.points_data, "images": tools.images_data}
    for name, make in kinds.items():
        # Statistics of the training data alone differ, and so do normalised values: not labels.
        before = tools.make_stream(make(holdout=0.3), tmp_path / name / "without")
        after = tools.make_stream(make(holdout=0.3, validation=0.2), tmp_path / name / "with")
        for k, (old, new) in enumerate(
            zip(before.manifest.tasks, after.manifest.tasks, strict=True)
        ):
            assert (old.validation, old.test) == (0, new.test)
            assert new.validation == round(0.2 * (old.train + old.test))
            assert new.train == old.train - new.validation
            np.testing.assert_array_equal(
                before.array(k, "test_labels"), after.array(k, "test_labels")
            )
            parts = [raw(after, k, part) for part in ("train", "validation", "test")]
            together = np.concatenate(parts).reshape(old.train + old.test, -1)
            whole = np.concatenate([raw(before, k, part) for part in ("train", "test")])
            whole = whole.reshape(old.train + old.test, -1)
            for rows in (together, whole):
                rows[:] = rows[np.lexsort(rows.T.round(4))]
            np.testing.assert_allclose(together, whole, atol=1e-4)
        first, second = before.tasks()[0], after.tasks(("train",))[0]
        assert (first.validation, second.validation, second.test) == ((), (), ())


def test_iterations_to_validate_with_lie_in_files_of_their_own(fields, tools, tmp_path) -> None:
    data = tools.field_data(tmp_path / "fields", tasks=1, holdout=0.3, validation=0.2)
    stream = tools.make_stream(data, tmp_path)
    (task,) = stream.manifest.tasks
    seen = {
        part: set(stream.array(0, f"{part}_places")[:, 0].tolist())
        for part in ("train", "validation", "test")
    }
    assert seen["validation"] == set(task.validation_iterations)
    assert seen["test"] == set(task.held_out)
    assert set.union(*seen.values()) == set(task.iterations)
    assert sum(map(len, seen.values())) == len(task.iterations) == 7
    # An array of the part that is not asked for may be gone.
    (stream.folder / "task_00/test_inputs.npy").unlink()
    stream.check(("train", "validation"))
    with pytest.raises(FileNotFoundError):
        stream.check(("test",))


def test_a_bad_iteration_may_have_been_all_there_was_to_validate_with(
    fields, tools, tmp_path, capsys
) -> None:
    changes = {"tasks": 1, "validation": 0.1, "on_bad_iteration": "skip"}
    data = tools.field_data(tmp_path / "fields", **changes)
    (number,) = tools.make_stream(data, tmp_path).manifest.tasks[0].validation_iterations
    poisoned = tmp_path / f"fields/data_{number}.npy"
    np.save(poisoned, np.full((3, *tools.FIELD_SHAPE), np.nan, dtype=np.float32))
    stream = tools.make_stream(data, tmp_path)
    assert stream.manifest.tasks[0].validation == 0
    assert stream.tasks()[0].validation == ()
    stream.check()
    assert "+ 0 to validate with +" in capsys.readouterr().out


def test_no_room_for_a_validation_part_names_the_key(fields, tools, tmp_path) -> None:
    data = tools.field_data(tmp_path / "fields", validation=0.1)  # tasks of 3, 2 and 2 iterations
    with pytest.raises(
        UserError, match=r"2 items, of which 1 are not held out.*validation to null"
    ):
        tools.make_stream(data, tmp_path)
