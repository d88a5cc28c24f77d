"""Where a run lies: its tasks, its checkpoints, its timings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from insituml_pipelines.common.log import note
from insituml_pipelines.common.output import remove
from insituml_pipelines.runs.recipe import Recipe

if TYPE_CHECKING:
    from insituml.training import TaskRecord

INITIAL = "initial.pt"
TIMINGS = "timings.json"


@dataclass(frozen=True)
class Run:
    """A recipe and its place.

    Parameters
    ----------
    recipe
        What is learned.
    tasks
        Folder of the split stream.
    folder
        Where its checkpoints go.
    side_by_side
        How many runs train at once, in processes of their own: what timings depend on, and no
        result.
    sharded
        Whether each of several ranks holds a part of the learner; no result depends on it.
    """

    recipe: Recipe
    tasks: Path
    folder: Path
    side_by_side: int = 1
    sharded: bool = False

    @property
    def initial(self) -> Path:
        """The checkpoint of the untrained model."""
        return self.folder / INITIAL

    def checkpoint(self, task: int) -> Path:
        """Return the checkpoint after a task."""
        return checkpoint_path(self.folder, task)

    def finished_tasks(self) -> int:
        """Return how many tasks have a checkpoint."""
        return finished_tasks(self.folder)

    def add_timing(self, task: int, record: TaskRecord) -> None:
        """Note how long a task took."""
        noted = {
            "steps": record.steps,
            "seconds": record.seconds,
            "side_by_side": self.side_by_side,
        }
        self.write_timings({**self.timings(), str(task): noted})

    def timings(self) -> dict[str, dict[str, float]]:
        """Return steps, seconds and the number of runs at once by task, as far as they are known.

        They are no result: a damaged file counts as none.
        """
        try:
            tasks = json.loads((self.folder / TIMINGS).read_text())
            return {
                str(int(task)): {
                    "steps": int(noted["steps"]),
                    "seconds": float(noted["seconds"]),
                    "side_by_side": int(noted["side_by_side"]),
                }
                for task, noted in tasks.items()
            }
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            note(f"{self.folder / TIMINGS} is damaged: how long earlier tasks took is lost")
            remove(self.folder / TIMINGS)
            return {}

    def write_timings(self, timings: dict[str, dict[str, float]]) -> None:
        """Replace what is known of how long tasks took."""
        from insituml.atomic_file import write_json

        if (self.folder / TIMINGS).is_dir():
            remove(self.folder / TIMINGS)
        write_json(self.folder / TIMINGS, timings)

    def timing(self) -> dict[str, float | None]:
        """Return seconds and steps of all tasks of which they are known.

        Where none is, ``seconds_per_step`` and ``side_by_side`` are None; this is the largest
        number of runs that trained at once.
        """
        tasks = self.timings().values()
        seconds, steps = (sum(task[key] for task in tasks) for key in ("seconds", "steps"))
        per_step = seconds / max(1, steps) if tasks else None
        return {
            "seconds": seconds,
            "steps": int(steps),
            "seconds_per_step": per_step,
            "side_by_side": max((task["side_by_side"] for task in tasks), default=None),
        }


def checkpoint_path(folder: Path, task: int) -> Path:
    """Return the file of the checkpoint after a task."""
    return folder / f"task_{task}.pt"


def finished_tasks(folder: Path) -> int:
    """Return how many tasks have a checkpoint."""
    done = 0
    while checkpoint_path(folder, done).exists():
        done += 1
    return done
