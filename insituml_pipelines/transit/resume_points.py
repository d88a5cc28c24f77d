"""From where a stream can go on: the last two iterations after which all of it was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from insituml.atomic_file import write_atomically, write_json
from insituml.in_transit import HeldOut
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.output import remove
from insituml_pipelines.runs.checkpoints import UnusableCheckpointError
from insituml_pipelines.runs.planning import TASKS
from insituml_pipelines.transit.run import TransitRun

RESUME = "resume.json"
PREVIOUS = "resume.previous.json"
"""Taken where the last one is damaged, or something that it names."""


class ResumePoints:
    """Reads and writes the resume points of one stream.

    Parameters
    ----------
    folder
        Gets ``resume.json`` and ``resume.previous.json``; the states of the runs lie in theirs.
    runs
        What is trained.
    """

    def __init__(self, folder: Path, runs: Sequence[TransitRun]) -> None:
        self.folder = folder
        self.runs = runs

    def write(self, iteration: int, content: Node, diverged: Sequence[str]) -> None:
        """Write the state of all runs after an iteration: what names it is written last."""
        for run in self._learning(diverged):
            run.save(iteration)
        file, before = self.folder / RESUME, self._number(RESUME)
        if before not in (None, iteration):
            write_atomically(self.folder / PREVIOUS, file.read_bytes())
        plain = {
            "stream": self.folder.name,
            "iteration": iteration,
            **content,
            "timings": {run.name: run.run.timings() for run in self.runs},
        }
        write_json(file, {**plain, "sha256": _digest(plain)})
        kept = {self._number(RESUME), self._number(PREVIOUS)}
        for run in self.runs:
            run.forget_others(kept)

    def last_whole(self, stores: Mapping[str, HeldOut], say: Callable[[str], None]) -> Node | None:
        """Return the last point of which nothing is missing or damaged, or None; say what is.

        Without any, all that an earlier call left is deleted, in the stores of what was set aside
        too.
        """
        for name in (RESUME, PREVIOUS):
            file = self.folder / name
            if not file.exists():
                continue
            try:
                content = self._checked(file, stores)
            except UnusableCheckpointError as error:
                say(f"{file} cannot be gone on from: {error}")
                continue
            if name != RESUME:  # the damaged one must not become the previous one
                remove(self.folder / RESUME)
                write_atomically(self.folder / RESUME, file.read_bytes())
                for run in self.runs:
                    run.forget_others([content["iteration"]])
            return content
        if (self.folder / RESUME).exists() or (self.folder / PREVIOUS).exists():
            say("no resume point is whole: the stream is learned anew, from its first iteration")
        self._clear(stores)
        return None

    def _checked(self, file: Path, stores: Mapping[str, HeldOut]) -> Node:
        try:
            content = json.loads(file.read_text())
            told = content.pop("sha256")
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise UnusableCheckpointError("it is damaged") from error
        if told != _digest(content):
            raise UnusableCheckpointError("it is damaged")
        if content["stream"] != self.folder.name:
            raise UnusableCheckpointError(f"it is of another stream ({content['stream']})")
        for run in self._learning(content["log"]["diverged"]):
            run.check(content["iteration"])
        for name, store in stores.items():
            if fault := store.fault(content["arrivals"][name]):
                raise UnusableCheckpointError(fault)
        return content

    def _number(self, name: str) -> int | None:
        """Return the iteration of a point that was written here; None: there is none."""
        try:
            return int(json.loads((self.folder / name).read_text())["iteration"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _learning(self, diverged: Sequence[str]) -> list[TransitRun]:
        return [run for run in self.runs if run.name not in diverged]

    def _clear(self, stores: Mapping[str, HeldOut]) -> None:
        for store in stores.values():
            store.clear()
        for entry in self.folder.iterdir():
            if entry.name != TASKS:
                remove(entry)


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
