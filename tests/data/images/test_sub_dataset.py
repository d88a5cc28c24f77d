"""SubDataset: the items of some labels, however a data set tells its labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

import insituml.data
from insituml.data import SubDataset

LABELS = [4, 0, 2, 4, 7, 0, 2, 2]
INPUTS = torch.arange(16.0).reshape(8, 2)


class Items(Dataset[tuple[Any, ...]]):
    """Counts how often its items are read."""

    def __init__(self, labels: Any, transform: Callable[[Any], Any] | None = None) -> None:
        self.known = labels
        self.target_transform = transform
        self.reads = 0

    def __len__(self) -> int:
        return len(self.known)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        self.reads += 1
        label = self.known[index]
        transform = self.target_transform
        return INPUTS[index], label if transform is None else transform(label), f"item {index}"


def with_attribute(name: str, labels: Any, **options: Any) -> Items:
    dataset = Items(labels, **options)
    setattr(dataset, name, labels)
    return dataset


@pytest.mark.parametrize(
    "labels", [LABELS, tuple(LABELS), np.array(LABELS), torch.tensor(LABELS)], ids=type
)
@pytest.mark.parametrize("name", ["targets", "labels", None])
def test_items_of_some_labels_in_order(name: str | None, labels: Any) -> None:
    dataset = Items(labels) if name is None else with_attribute(name, labels)
    kept = SubDataset(dataset, torch.tensor([2, 4]))
    assert kept.indices == [0, 2, 3, 6, 7]
    assert kept.targets == [4, 2, 4, 2, 2]
    assert len(kept) == 5
    # Labels that are given are not found by reading, and others are read once.
    assert dataset.reads == (len(LABELS) if name is None else 0)
    for place, index in enumerate(kept.indices):
        inputs, label, note = kept[place]
        assert torch.equal(inputs, INPUTS[index])
        assert int(label) == LABELS[index]
        assert note == f"item {index}"
    assert int(kept[-1][1]) == 2
    with pytest.raises(IndexError):
        kept[5]


def test_targets_can_be_transformed() -> None:
    kept = SubDataset(Items(LABELS), {2, 4}, target_transform=lambda label: label // 2 - 1)
    assert [item[1] for item in kept] == [1, 0, 1, 0, 0]
    assert [item[2] for item in kept] == [f"item {index}" for index in kept.indices]


def test_labels_are_those_that_the_data_set_returns() -> None:
    dataset = with_attribute("targets", LABELS, transform=lambda label: label + 1)
    kept = SubDataset(dataset, [5, 1])
    assert [item[1] for item in kept] == [5, 1, 5, 1]


def test_parts_of_parts() -> None:
    first = SubDataset(Items(LABELS), [0, 2, 4], target_transform=lambda label: label // 2)
    second = SubDataset(first, [1, 2])
    assert [item[2] for item in second] == ["item 0", "item 2", "item 3", "item 6", "item 7"]
    assert [item[1] for item in second] == [2, 1, 2, 1, 1]


def test_tasks_of_tensors_through_a_loader() -> None:
    whole = TensorDataset(INPUTS, torch.tensor(LABELS))
    tasks = [SubDataset(whole, labels) for labels in ([0, 2], [4, 7])]
    assert sorted(index for task in tasks for index in task.indices) == list(range(8))
    inputs, labels = next(iter(DataLoader(tasks[1], batch_size=3)))
    assert torch.equal(inputs, INPUTS[[0, 3, 4]])
    assert labels.tolist() == [4, 4, 7]


def test_no_item_is_no_error() -> None:
    assert len(SubDataset(Items(LABELS), [])) == len(SubDataset(Items(LABELS), [99])) == 0


def test_what_is_no_label() -> None:
    one_hot = TensorDataset(INPUTS, torch.eye(8))
    with pytest.raises(ValueError, match="expected one whole number"):
        SubDataset(one_hot, [1])
    with pytest.raises(ValueError, match="expected one whole number"):
        SubDataset(Items(LABELS), ["2"])  # type: ignore[list-item]


@pytest.mark.parametrize("name", ["targets", "labels"])
@pytest.mark.parametrize(
    "value",
    [
        {"paper": 0, "glass": 2}, {k: k for k in range(8)}, ["a", "b"], list("abcdefgh"), [1, 2],
        torch.eye(8), np.eye(8), np.zeros(8), torch.zeros(3, dtype=torch.int64), lambda: LABELS,
        "abcdefgh", 8, {2, 4}, range(3), iter([1]), [[1]] * 8, [None] * 8, torch.tensor(2),
    ],
)  # fmt: skip
def test_what_is_no_list_of_labels_is_left_to_the_items(name: str, value) -> None:
    dataset = Items(LABELS)
    setattr(dataset, name, value)
    assert SubDataset(dataset, [2]).indices == SubDataset(Items(LABELS), [2]).indices
    nested = torch.utils.data.ConcatDataset([dataset, torch.utils.data.Subset(dataset, [0, 1])])
    assert len(SubDataset(nested, set(LABELS))) == 10


@pytest.mark.parametrize("make", [list, tuple, np.array, torch.tensor, lambda v: np.array(v, "u1")])
def test_a_list_of_labels_spares_the_items(make) -> None:
    class Unread(Items):
        def __getitem__(self, index: int):
            raise AssertionError("an item was read")

    dataset = Unread(LABELS)
    dataset.targets = make(LABELS)  # type: ignore[attr-defined]
    assert SubDataset(dataset, [2]).indices == SubDataset(Items(LABELS), [2]).indices


def test_other_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = insituml.data.Nothing
