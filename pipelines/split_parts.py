"""What the split stage cuts: tasks of fields or of labelled samples, read step by step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
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
from pipelines.errors import UserError
from pipelines.schema import Data, LabelSplit

Columns = dict[str, np.ndarray]


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
    """A task before normalisation; ``facts`` go to ``stream.json``."""

    name: str
    train: Part
    test: Part
    facts: dict[str, Any]


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
        names = ("inputs", "labels", "steps")
        arrays = {name: np.load(raw / f"{name}.npy", mmap_mode="r") for name in names}
        return _sample_stream(data, **arrays)
    except (ValueError, OSError) as error:
        raise UserError(f"data={data.name}: {error}") from error


def _field_stream(data: Data, source: FieldSource) -> RawStream:
    split = data.split
    if isinstance(split, LabelSplit):
        raise UserError("data.split.by is label, but a field has no labels; use data.split.by=time")
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
        "components": list(source.components),
        "unit": source.unit,
        "grid": asdict(grid),
        "iterations": iterations,
    }
    return RawStream(tasks, facts)


def _sample_stream(
    data: Data, inputs: np.ndarray, labels: np.ndarray, steps: np.ndarray
) -> RawStream:
    split = data.split
    generator = np.random.default_rng(split.seed)
    if isinstance(split, LabelSplit):
        groups = split_by_label(labels, split.groups)
        names = ["labels " + ", ".join(map(str, group)) for group in split.groups]
    else:
        windows = split_by_time(int(steps.max()) + 1, split.tasks)
        groups = [np.flatnonzero(np.isin(steps, window)) for window in windows]
        names = [f"steps {window[0]}–{window[-1]}" for window in windows]

    def part(rows: np.ndarray) -> Part:
        def read() -> Iterator[Columns]:
            yield {"inputs": inputs[rows], "labels": labels[rows]}

        return Part(len(rows), read)

    tasks = [
        RawTask(name, *map(part, hold_out_randomly(rows, split.holdout, generator)), facts={})
        for name, rows in zip(names, groups, strict=True)
    ]
    facts = {
        "columns": ["inputs", "labels"],
        "sample_shape": list(inputs.shape[1:]),
        "components": [],
        "unit": "",
    }
    return RawStream(tasks, facts)


def _check_finite(step: Step) -> None:
    bad = int(np.count_nonzero(~np.isfinite(step.values)))
    if bad:
        raise UserError(
            f"iteration {step.iteration} holds {bad} values that are NaN or infinite; "
            "leave it out or repair it before training"
        )
