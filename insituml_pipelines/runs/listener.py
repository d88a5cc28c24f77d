"""What people and the tracker hear of runs while they train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.log import say
from insituml_pipelines.runs.run import Run

if TYPE_CHECKING:
    from insituml_pipelines.tracking.base import Tracker


class Listener:
    """Passes losses to the tracker, and says a line after each task.

    Parameters
    ----------
    stage
        Begins each line.
    tracker
        Hears of every loss.
    """

    def __init__(self, stage: str, tracker: Tracker) -> None:
        self.stage = stage
        self.tracker = tracker
        self.loss = float("nan")
        """The newest one of any run."""
        self.means: dict[str, dict[int, float]] = {}
        """Mean of each run's newest losses, by method and seed."""

    def __call__(self, run: Run, record: Any) -> None:
        from insituml.training import EpochRecord

        if isinstance(record, EpochRecord):
            self.tracker.losses(run, record.first_step, record.losses)
            self.loss = record.losses[-1]
            of_method = self.means.setdefault(run.recipe.method_name, {})
            of_method[run.recipe.seed] = sum(record.losses) / len(record.losses)
        else:
            where = f"{run.recipe.name} task {record.task} ({record.name})"
            if not record.steps:  # such as a part of joint's few epochs
                self.say(f"{where}: no step in this part")
                return
            milliseconds = 1e3 * record.seconds / record.steps
            what = "steps" if record.by_gradient else "batches observed, no steps"
            self.say(
                f"{where}: loss {record.loss:.4f}, {record.steps} {what}, "
                f"{milliseconds:.1f} ms each"
            )
            if record.note:
                self.say(f"{where}: {record.note}")

    def say(self, line: str) -> None:
        """Print without breaking the progress bar."""
        say(f"{self.stage}: {line}")
