"""What the stages ask of a kind of data: all that differs between fields, points and images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pipelines.common.schema import Data, Transit

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.data.step import Step
    from insituml.data.task_files import TaskFiles
    from insituml.data.windows import TaskWindows
    from insituml.stream import Description, Source


SAVED = "source.json"
"""What :meth:`Kind.open` needs to know, beside the data."""


class StoredStream(Protocol):
    """A stream whose steps can be read again, in any choice of iterations."""

    def describe(self) -> Description: ...
    def steps(self, iterations: Sequence[int]) -> Iterator[Step]: ...


class Kind(ABC):
    """A kind of data: one subclass each, without state."""

    @abstractmethod
    def save(self, data: Data, source: Any, folder: Path) -> dict[str, Any]:
        """Write what a source holds below a folder; return what :meth:`open` needs to know."""

    @abstractmethod
    def open(self, data: Data, raw: Path, saved: dict[str, Any]) -> StoredStream:
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
        order: dict[str, Any],
    ) -> dict[str, Any]:
        """Return the figures of examples by the ending of their names, such as ``"_Ex"``.

        Parameters
        ----------
        originals, guesses
            ``(K, ...)`` and ``(K tasks, K learners, ...)``, as :meth:`picture` made them.
        manifest
            Of the stream.
        generative
            Whether the guesses are samples drawn, not reconstructions.
        order
            ``row_labels``, ``learned_at`` and ``title``, for the plotting function.
        """
