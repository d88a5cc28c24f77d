"""What a tracker hears; the base class tracks nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from insituml_pipelines.runs.identity import Identity
    from insituml_pipelines.runs.run import Run


class Tracker:
    """Tracks nothing: what ``tracking=none`` asks for.

    A tracker of your own overrides what it wants to hear of. It is named by
    ``tracking._target_``, and its arguments stand beside that.
    """

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

    def close(self) -> None:
        """Wait until everything is recorded."""
