"""What a tracker hears; the base class tracks nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insituml_pipelines.runs.identity import Identity
    from insituml_pipelines.runs.run import Run


@dataclass(frozen=True)
class SweepJob:
    """A job of a sweep.

    Parameters
    ----------
    name
        The same for all jobs of a sweep, however often it is repeated.
    title
        What was varied, in words.
    varied
        Values of this job by their keys, but for method and seeds, which its runs say themselves.
    folder
        Name of this job's folder, which is of all that is varied.
    """

    name: str
    title: str
    varied: dict[str, str]
    folder: str = ""


class Tracker:
    """Tracks nothing: what ``tracking=none`` asks for.

    A tracker of your own overrides what it wants to hear of. It is named by
    ``tracking._target_``, and its arguments stand beside that.
    """

    def in_sweep(self, job: SweepJob) -> None:
        """Take what follows for that of a job of a sweep."""

    @contextmanager
    def training(self, runs: Sequence[Run]) -> Iterator[None]:
        """Record runs from their start to their end."""
        yield

    def losses(self, run: Run, first_step: int, losses: Sequence[float]) -> None:
        """Record the training loss of consecutive steps."""

    def broke_off(self, run: Run) -> None:
        """Note that a run in training will not come to its end: it failed, though others go on."""

    def timed(self, run: Run, seconds_per_step: float) -> None:
        """Record how long the steps of a run took, on average; it has come to its end."""

    def evaluated(self, identity: Identity, curves: Mapping[str, Sequence[float]]) -> None:
        """Record metrics of a finished run, each by the task it was trained through."""

    def compared(self, identity: Identity, numbers: dict[str, float], folder: Path) -> None:
        """Record what compares methods, and the files of a folder, with the parent run."""

    def swept(self, job: SweepJob, files: Sequence[Path]) -> None:
        """Record what came of a sweep, of which ``job`` is any."""

    def close(self) -> None:
        """Wait until everything is recorded."""
