"""What the split stage cuts: tasks of fields or of labelled samples, read step by step."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from insituml.data.chunks import chunk_places, chunk_volume
from insituml.data.split import (
    hold_out_evenly,
    hold_out_randomly,
    split_by_label,
    split_by_time,
)
from insituml.data.step import FieldSource, Step
from pipelines.common.errors import UserError
from pipelines.common.schema import Data, LabelSplit

Columns = dict[str, np.ndarray]

NO_TEST_SET = (
    "data={0} has no test data of its own; set data.split.holdout to the part to hold out, "
    "such as 0.2"
)


@dataclass(frozen=True)
class Part:
    """The training or held-out samples of a task; iterating reads them, a step at a time.

    Parameters
    ----------
    samples
        How many there are.
    read
        Returns an iterator of ``{column: rows}``, always with a column ``inputs``
        ``(rows, components, ...)``.
    """

    samples: int
    read: Callable[[], Iterator[Columns]]

    def __iter__(self) -> Iterator[Columns]:
        return self.read()


@dataclass(frozen=True)
class RawTask:
    """A task before normalisation; ``facts`` go to ``stream.json``, ``arrays`` to files beside."""

    name: str
    train: Part
    test: Part
    facts: dict[str, Any]
    arrays: Columns = field(default_factory=dict)


@dataclass(frozen=True)
class RawStream:
    """All tasks; ``facts`` go to ``stream.json``."""

    tasks: list[RawTask]
    facts: dict[str, Any]


def open_stream(data: Data, raw: Path) -> RawStream:
    """Lay out the tasks of what the generate stage left in ``raw``.

    Raises
    ------
    UserError
        If there is nothing, or it cannot be split as configured.
    """
    from hydra.utils import instantiate

    try:
        manifest = json.loads((raw / "source.json").read_text())
    except FileNotFoundError as error:
        raise UserError(
            f"there are no data in {raw}; run `python -m pipelines.generate` first"
        ) from error
    try:
        if "reader" in manifest:
            return _field_stream(data, instantiate(manifest["reader"], _convert_="all"))
        arrays = {n: np.load(raw / f"{n}.npy", mmap_mode="r") for n in manifest["arrays"]}
        return _sample_stream(data, **arrays)
    except (ValueError, OSError) as error:
        raise UserError(f"data={data.name}: {error}") from error


def _field_stream(data: Data, source: FieldSource) -> RawStream:
    split = data.split
    if isinstance(split, LabelSplit):
        raise UserError("data.split.by is label, but a field has no labels; use data.split.by=time")
    if split.holdout is None:
        raise UserError(NO_TEST_SET.format(data.name))
    grid = source.grid
    chunk = tuple(split.chunk or grid.shape)
    places = chunk_places(grid.shape, chunk)
    iterations = source.iteration_numbers

    def part(steps: np.ndarray) -> Part:
        def read() -> Iterator[Columns]:
            for k, step in zip(steps.tolist(), source.steps(steps.tolist()), strict=True):
                _check_finite(step)
                yield {
                    "inputs": chunk_volume(step.values, chunk),
                    "places": np.column_stack([np.full(len(places), k), places]),
                }

        return Part(len(steps) * len(places), read)

    tasks = []
    for steps in split_by_time(len(source), split.tasks):
        train, test = hold_out_evenly(steps, split.holdout)
        first, last = iterations[steps[0]], iterations[steps[-1]]
        facts = {"steps": steps.tolist(), "held_out_steps": test.tolist()}
        tasks.append(RawTask(f"iterations {first}–{last}", part(train), part(test), facts))
    facts = {
        "columns": ["inputs"],
        "sample_shape": [len(source.components), *chunk],
        "condition_size": 0,
        "components": list(source.components),
        "unit": source.unit,
        "grid": asdict(grid),
        "iterations": iterations,
    }
    return RawStream(tasks, facts)


def _sample_stream(
    data: Data,
    inputs: np.ndarray,
    labels: np.ndarray,
    steps: np.ndarray,
    held_out: np.ndarray | None = None,
    pixel_orders: np.ndarray | None = None,
) -> RawStream:
    split = data.split
    if isinstance(split, LabelSplit):
        groups = split_by_label(labels, split.groups)
        names = [_label_name(group) for group in split.groups]
    else:
        windows = split_by_time(int(steps.max()) + 1, split.tasks)
        groups = [np.flatnonzero(np.isin(steps, window)) for window in windows]
        names = [f"steps {window[0]}–{window[-1]}" for window in windows]
        if pixel_orders is not None:
            if len(windows) < len(pixel_orders):
                raise UserError(
                    f"data.split.tasks is {split.tasks}, so that a task would mix permutations; "
                    f"set it to their number, {len(pixel_orders)}"
                )
            names = [f"permutation {k}" for k in range(len(windows))]

    def part(rows: np.ndarray) -> Part:
        def read() -> Iterator[Columns]:
            yield {"inputs": inputs[rows], "labels": labels[rows]}

        return Part(len(rows), read)

    generator = np.random.default_rng(split.seed)

    def parts(name: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if split.holdout is not None:
            return hold_out_randomly(rows, split.holdout, generator)
        if held_out is None:
            raise UserError(NO_TEST_SET.format(data.name))
        published = held_out[rows]
        if published.all() or not published.any():
            raise UserError(
                f"data={data.name}: {name} has {np.count_nonzero(~published)} samples to train on "
                f"and {np.count_nonzero(published)} to test with; a task needs both"
            )
        return rows[~published], rows[published]

    tasks = [
        RawTask(
            name,
            *map(part, parts(name, rows)),
            facts={},
            arrays={} if pixel_orders is None else {"pixel_order": pixel_orders[k]},
        )
        for k, (name, rows) in enumerate(zip(names, groups, strict=True))
    ]
    facts = {
        "columns": ["inputs", "labels"],
        "sample_shape": list(inputs.shape[1:]),
        "condition_size": math.prod(labels.shape[1:]),  # numbers in the label of one sample
        "components": [],
        "unit": "",
        "permuted": pixel_orders is not None,
    }
    return RawStream(tasks, facts)


def _label_name(group: Sequence[int]) -> str:
    """Name a group of labels; figures have no room for a long list."""
    first, last = min(group), max(group)
    if len(group) > 2 and sorted(group) == list(range(first, last + 1)):
        return f"labels {first}–{last}"
    return "labels " + ", ".join(map(str, group))


def _check_finite(step: Step) -> None:
    bad = int(np.count_nonzero(~np.isfinite(step.values)))
    if bad:
        raise UserError(
            f"iteration {step.iteration} holds {bad} values that are NaN or infinite; "
            "leave it out or repair it before training"
        )
