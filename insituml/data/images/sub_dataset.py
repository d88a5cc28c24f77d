"""Those items of a data set that have certain labels, as one task of a class-incremental stream."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset


class SubDataset(Dataset[tuple[Any, ...]]):
    """The items of a data set whose label is among those given, in their order.

    Parameters
    ----------
    dataset
        Map-style: has ``len`` and returns ``(input, label, ...)`` by index. Labels are taken from
        its ``targets`` or ``labels`` where that is a list, an array or a tensor of one whole number
        for each item, passed through its ``target_transform`` if it has one; otherwise (names of
        classes, a mapping, a method) every item is read once, here.
    labels
        The labels to keep, as the data set returns them.
    target_transform
        Applied to the label of each item returned, such as ``lambda label: label % 2``; None
        leaves it.

    Raises
    ------
    ValueError
        If a label is no single number.

    Examples
    --------
    >>> whole = TensorDataset(images, labels)
    >>> tasks = [SubDataset(whole, pair) for pair in ([0, 1], [2, 3], [4, 5])]
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        labels: Iterable[int],
        target_transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.dataset = dataset
        self.target_transform = target_transform
        kept = {_number(label) for label in labels}
        found = _labels_of(dataset)
        self.indices = [index for index, label in enumerate(found) if label in kept]
        """Places of the items in ``dataset``."""
        self.targets = [found[index] for index in self.indices]
        """Label of each item before this object's ``target_transform``, as torchvision has it."""

    def __len__(self) -> int:
        """Return the number of items kept."""
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        """Return an item of the data set, its label transformed."""
        item = self.dataset[self.indices[index]]
        if self.target_transform is None:
            return item
        return (item[0], self.target_transform(item[1]), *item[2:])


def _labels_of(dataset: Any) -> list[int]:
    for name in ("targets", "labels"):
        labels = _one_each(getattr(dataset, name, None), len(dataset))
        if labels is None:
            continue
        transform = getattr(dataset, "target_transform", None)
        return [_number(label if transform is None else transform(label)) for label in labels]
    return [_number(dataset[index][1]) for index in range(len(dataset))]


def _one_each(given: Any, count: int) -> list[Any] | None:
    """Return a list of one whole number for each item; None for anything else of that name."""
    plain = given.tolist() if isinstance(given, Tensor | np.ndarray) else given
    if not isinstance(plain, list | tuple) or len(plain) != count:
        return None
    try:
        return [operator.index(label) for label in plain]
    except TypeError:  # names, one-hot rows: what the items say may still be a number
        return None


def _number(label: Any) -> int:
    """Return a label as a plain number: tensors compare as numbers do, but are no keys of a set."""
    try:
        return operator.index(label)
    except TypeError as error:
        raise ValueError(
            f"a label is {label!r}; expected one whole number (of a one-hot label take the argmax)"
        ) from error
