"""What the stages ask of a kind of data: all that differs between fields, points and images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from insituml_pipelines.common.node import Node
from insituml_pipelines.common.schema import Data, Transit

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.data.step import Step
    from insituml.data.task_files import TaskFiles
    from insituml.data.windows import TaskWindows
    from insituml.plots import Figure
    from insituml.stream import Description, Rejected, Source


SAVED = "source.json"
"""File of a :class:`SavedSource`, beside the data."""


@dataclass(frozen=True)
class SavedSource:
    """What the generate stage leaves for the split stage.

    Parameters
    ----------
    reader
        ``_target_`` of a field's source; its path is relative where the data lie beside.
    digest
        Of outside data, so that a change is noticed.
    arrays
        Names of the arrays of samples.
    source
        What the data are made by or read from, as configured: it identifies them, with the split.
    files
        SHA-256 of each file beside ``source.json``, by its path.
    """

    reader: Node | None = None
    digest: str | None = None
    arrays: list[str] = field(default_factory=list)
    source: Node = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


class StoredStream(Protocol):
    """A stream whose steps can be read again, in any choice of iterations."""

    def describe(self) -> Description: ...
    def steps(self, iterations: Sequence[int]) -> Iterator[Step | Rejected]: ...


@dataclass(frozen=True)
class FigureLabels:
    """What stands around the panels of examples: one row a task, one column a checkpoint.

    Parameters
    ----------
    title
        Above the figure.
    row_labels
        Names of the tasks.
    learned_at
        For each row, the column from which on its task was learned; None: there is no order.
    column_labels
        One a column; None: "after task 0", ...
    """

    title: str
    row_labels: Sequence[str]
    learned_at: Sequence[int] | None = None
    column_labels: Sequence[str] | None = None


class Kind(ABC):
    """A kind of data: one subclass each, without state."""

    @abstractmethod
    def save(self, data: Data, source: Any, folder: Path) -> SavedSource:
        """Write what a source holds below a folder; return what :meth:`open` needs to know."""

    @abstractmethod
    def open(self, data: Data, raw: Path, saved: SavedSource) -> StoredStream:
        """Open what :meth:`save` wrote."""

    @abstractmethod
    def stream(self, data: Data, source: Any, transit: Transit) -> Source:
        """Make a source one that streams, in the process that produces."""

    @abstractmethod
    def windows(
        self, data: Data, description: Description, iterations: Sequence[int] | None = None
    ) -> TaskWindows:
        """Return the tasks of a stream; ``iterations`` are given where it does not announce them.

        Raises
        ------
        UserError
            If the data cannot be split as configured.
        """

    def components(self, manifest: Manifest) -> tuple[str, ...]:
        """Name what a sample's first axis holds; none where a sample has no norm of its own.

        Points have none: how far they lie from the origin is no measure of an error.
        """
        return ()

    @abstractmethod
    def shown(self, files: TaskFiles, task: int) -> np.ndarray:
        """Return the rows of a task's held-out samples that its figure shows."""

    @abstractmethod
    def picture(
        self, samples: np.ndarray, files: TaskFiles, task: int, rows: np.ndarray
    ) -> np.ndarray:
        """Make of these samples, in physical units, the array that the figure shows."""

    @abstractmethod
    def draw(
        self,
        originals: np.ndarray,
        guesses: np.ndarray,
        manifest: Manifest,
        *,
        generative: bool,
        labels: FigureLabels,
    ) -> dict[str, Figure]:
        """Return the figures of examples by the ending of their names, such as ``"_Ex"``.

        Parameters
        ----------
        originals, guesses
            ``(K, ...)`` and ``(K tasks, K learners, ...)``, as :meth:`picture` made them.
        manifest
            Of the stream.
        generative
            Whether the guesses are samples drawn, not reconstructions.
        labels
            What stands around the panels.
        """
