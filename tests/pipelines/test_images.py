"""Published image sets through the stages: the right images in the right task and part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from insituml.data import TaskFiles
from insituml.data.images.permuted_pixels import PermutedPixels
from insituml.data.images.streams import cifar100, mnist, permuted_mnist
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.schema import Data
from insituml_pipelines.evaluate import evaluate_method
from insituml_pipelines.generate import generate
from insituml_pipelines.plot import compare
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.train import train_method

RNG = np.random.default_rng(5)
FINE = np.repeat(np.arange(100), 2)
PIXELS = {part: RNG.integers(0, 256, (200, 3072)).astype(np.uint8) for part in ("train", "test")}
MODEL = {"_target_": "insituml.models.AutoEncoder2D", "channels": [4], "latent_size": 3}


@pytest.fixture(scope="module")
def mnist_folder(published, tmp_path_factory) -> Path:
    """Handwritten digits of 8×8 pixels in MNIST's format: 400 to train on, 200 to test with."""
    folder = tmp_path_factory.mktemp("mnist")
    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels.reshape(-1, 8, 8) / 16 * 255)
    train, test = slice(400), slice(400, 600)
    published.write_mnist(folder, (images[train], labels[train]), (images[test], labels[test]))
    return folder


@pytest.fixture(scope="module")
def cifar_folder(published, tmp_path_factory) -> Path:
    files = {
        f"{part}.bin": published.cifar_binary(PIXELS[part], FINE // 5, FINE) for part in PIXELS
    }
    return published.write_files(tmp_path_factory.mktemp("cifar"), files)


def described(source: str, path: Path, options: dict[str, Any], **split: Any) -> Data:
    common = {"holdout": None, "normalisation": "first_task", "seed": 0}
    target = {"_target_": f"insituml.data.images.streams.{source}", "path": str(path), **options}
    return Data.model_validate(
        {
            "name": source,
            "kind": "images",
            "path": str(path),
            "source": target,
            "split": {**common, **split},
        }
    )


def by_label(source: str, path: Path, groups: list[list[int]], **changes: Any) -> Data:
    options = {k: changes.pop(k) for k in ("labels", "limit") if k in changes}
    return described(source, path, options, **{"by": "label", "groups": groups, **changes})


def pixels_of(stream: TaskFiles, task: int, part: str) -> np.ndarray:
    """Return a task's images as bytes again, normalisation undone."""
    scale = stream.manifest.tasks[task].normalisation
    mean, std = scale.mean[:, None, None], scale.std[:, None, None]
    return np.round((stream.array(task, f"{part}_inputs") * std + mean) * 255).astype(int)


def test_the_published_test_files_are_held_out(mnist_folder, tools, tmp_path) -> None:
    groups = [[0, 3], [7, 8, 9]]
    stream = tools.make_stream(by_label("mnist", mnist_folder, groups), tmp_path)
    assert stream.manifest.task_names == ["labels 0, 3", "labels 7–9"]
    assert stream.manifest.sample_shape == (1, 8, 8)
    pixels, labels = load_digits(return_X_y=True)
    pixels = np.round(pixels.reshape(-1, 1, 8, 8) / 16 * 255)
    for k, group in enumerate(groups):
        for part, rows in (("train", slice(400)), ("test", slice(400, 600))):
            chosen = np.isin(labels[rows], group)
            np.testing.assert_array_equal(stream.array(k, f"{part}_labels"), labels[rows][chosen])
            np.testing.assert_array_equal(pixels_of(stream, k, part), pixels[rows][chosen])


def test_a_number_pools_both_parts(mnist_folder, tools, tmp_path) -> None:
    data = by_label("mnist", mnist_folder, [[0, 3]], holdout=0.1, limit=9)
    stream = tools.make_stream(data, tmp_path)
    assert (stream.manifest.tasks[0].train, stream.manifest.tasks[0].test) == (32, 4)
    assert sorted(mnist(str(mnist_folder), limit=9).labels) == sorted([*range(10)] * 18)


def test_each_permutation_is_a_task(mnist_folder, tools, tmp_path) -> None:
    options = {"permutations": 3, "limit": 4, "seed": 11}
    data = described("permuted_mnist", mnist_folder, options, by="time", tasks=3)
    stream = tools.make_stream(data, tmp_path)
    assert stream.manifest.task_names == ["permutation 0", "permutation 1", "permutation 2"]
    order = PermutedPixels((8, 8), 3, generator=np.random.default_rng(11))
    once = mnist(str(mnist_folder), limit=4)
    for k in range(3):
        for part, rows in (("train", ~once.held_out), ("test", once.held_out)):
            expected = np.round(order.apply(once.inputs[rows], k) * 255)
            np.testing.assert_array_equal(pixels_of(stream, k, part), expected)
            np.testing.assert_array_equal(stream.array(k, f"{part}_labels"), once.labels[rows])
    again = permuted_mnist(str(mnist_folder), 3, limit=4, seed=11)
    np.testing.assert_array_equal(again.inputs, np.load(tmp_path / "data/raw/inputs.npy"))


@pytest.mark.parametrize(
    "tasks, expected", [(2, "set data.split.tasks to their number, 3"), (4, "4 tasks of 3")]
)
def test_permutations_are_not_mixed(tasks, expected, mnist_folder, tools, tmp_path) -> None:
    options = {"permutations": 3, "limit": 2}
    data = described("permuted_mnist", mnist_folder, options, by="time", tasks=tasks)
    with pytest.raises(UserError, match=expected):
        tools.make_stream(data, tmp_path)


def test_super_classes_group_fine_classes(cifar_folder, tools, tmp_path) -> None:
    groups = [list(range(k, k + 4)) for k in range(0, 20, 4)]
    stream = tools.make_stream(by_label("cifar100", cifar_folder, groups), tmp_path)
    assert stream.manifest.task_names[0] == "labels 0–3"
    assert stream.manifest.sample_shape == (3, 32, 32)
    for k in range(5):
        rows = k == FINE // 20
        for part in ("train", "test"):
            expected = PIXELS[part][rows].reshape(-1, 3, 32, 32)
            np.testing.assert_array_equal(pixels_of(stream, k, part), expected)
            np.testing.assert_array_equal(stream.array(k, f"{part}_labels"), FINE[rows] // 5)
    fine = cifar100(str(cifar_folder), "fine", limit=1)
    np.testing.assert_array_equal(fine.labels, np.tile(np.arange(100), 2))


def run(data: Data, tools, make_run, root: Path) -> np.ndarray:
    """Take a stream through every stage; return the originals that are shown."""
    stream = tools.make_stream(data, root)
    for method in ("naive", "joint"):
        model = {**MODEL, "input_shape": list(stream.manifest.sample_shape)}
        folder = root / ".partial/x/seed_0"
        runs = [make_run(method, 0, stream, folder=folder, model=model)]
        train_method(runs, 0, 1, root, Tracker())
        evaluate_method(method, stream, root, Tracker())
    assert "| joint |" in compare(("naive", "joint"), root, root, Tracker())
    names = {file.stem for file in (root / "figures").iterdir()}
    assert {"leaderboard", "loss_matrices", "reconstructions_naive"} <= names
    return np.load(root / "evaluations/naive/originals.npy")


def test_the_whole_way_in_grey(mnist_folder, tools, make_run, tmp_path) -> None:
    groups = [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    data = by_label("mnist", mnist_folder, groups, limit=5)
    originals = run(data, tools, make_run, tmp_path)
    # Four labels of five, two by two: each the first of the test files with its label.
    images, labels = load_digits(return_X_y=True)
    assert originals.shape == (2, 17, 17)
    for k, group in enumerate(groups):
        shown = [images[400 + np.flatnonzero(labels[400:] == n)[0]] for n in group[:4]]
        squares = [image.reshape(8, 8) / 16 for image in shown]
        gap = np.isnan(originals[k])
        assert gap[8].all()
        assert gap[:, 8].all()
        assert gap.sum() == 33
        expected = np.block([squares[:2], squares[2:]])
        found = np.delete(np.delete(originals[k], 8, axis=0), 8, axis=1)
        np.testing.assert_allclose(found, expected, atol=0.5 / 255 + 1e-6)


def test_the_whole_way_in_colour(cifar_folder, tools, make_run, tmp_path) -> None:
    data = by_label("cifar100", cifar_folder, [[0, 1], [2, 3]], limit=2)
    originals = run(data, tools, make_run, tmp_path)
    assert originals.shape == (2, 32, 66, 3)
    assert np.isnan(originals[:, :, 32:34]).all()
    first = PIXELS["test"][[0, 10]].reshape(2, 3, 32, 32)
    expected = np.concatenate(list(first), axis=-1).transpose(1, 2, 0) / 255
    found = np.delete(originals[0], [32, 33], axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_the_whole_way_with_permutations(mnist_folder, tools, make_run, tmp_path) -> None:
    options = {"permutations": 3, "limit": 3}
    data = described("permuted_mnist", mnist_folder, options, by="time", tasks=3)
    originals = run(data, tools, make_run, tmp_path)
    # Shown with their pixels put back, the images of all permutations are the same.
    assert np.nanstd(originals[0]) > 0.1
    for task in (1, 2):
        np.testing.assert_allclose(originals[task], originals[0], atol=1e-6)
    guesses = np.load(tmp_path / "evaluations/naive/examples.npy")
    assert not np.allclose(guesses[1], guesses[0], equal_nan=True)  # the model sees them shuffled


def test_data_without_test_files_need_a_part_to_hold_out(tools, tmp_path) -> None:
    for data in (tools.images_data(holdout=None), tools.points_data(holdout=None)):
        with pytest.raises(UserError, match=r"no test data of their own; set data\.split\.holdout"):
            tools.make_stream(data, tmp_path)
    tools.write_fields(tmp_path / "fields")
    with pytest.raises(UserError, match=r"data=fields has no test data of its own"):
        tools.make_stream(tools.field_data(tmp_path / "fields", holdout=None), tmp_path)


def test_what_cannot_be_read_is_one_line(published, tools, tmp_path) -> None:
    data = by_label("mnist", tmp_path / "nowhere", [[0]])
    with pytest.raises(UserError, match=r"^data=mnist: no folder .*nowhere"):
        generate(data, tmp_path / "raw")
    data = by_label("cifar100", tmp_path, [[0]], labels="rough")
    with pytest.raises(UserError, match=r"data\.source\.labels is 'rough': .*'fine' or 'coarse'"):
        generate(data, tmp_path / "raw")
    images = np.zeros((2, 4, 4))
    published.write_mnist(tmp_path, (images, np.array([0, 1])), (images, np.array([1, 1])))
    with pytest.raises(UserError, match=r"labels 0 has 1 samples to train on and 0 to test with"):
        tools.make_stream(by_label("mnist", tmp_path, [[0], [1]]), tmp_path)
