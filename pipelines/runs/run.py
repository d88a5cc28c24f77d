"""Where a run lies: its tasks, its checkpoints, its timings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.runs.recipe import Recipe

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
    """

    recipe: Recipe
    tasks: Path
    folder: Path

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
        from insituml.atomic_file import write_json

        timings = self._timings()
        timings[str(task)] = {"steps": record.steps, "seconds": record.seconds}
        write_json(self.folder / TIMINGS, timings)

    def timing(self) -> dict[str, float]:
        """Return seconds and steps of all tasks."""
        tasks = self._timings().values()
        seconds, steps = (sum(task[key] for task in tasks) for key in ("seconds", "steps"))
        return {"seconds": seconds, "steps": steps, "seconds_per_step": seconds / max(1, steps)}

    def _timings(self) -> dict[str, dict[str, float]]:
        """Read what is known; a damaged file costs the times of earlier tasks, not the run."""
        from insituml.safe_reading import DamagedFileError, read_json

        file = self.folder / TIMINGS
        try:
            found = read_json(file)
            for entry in found.values():
                if not {type(entry["steps"]), type(entry["seconds"])} <= {int, float}:
                    raise ValueError(f"{file} holds no times")
        except FileNotFoundError:
            return {}
        except (DamagedFileError, AttributeError, KeyError, TypeError, ValueError):
            print(f"note: {file} is damaged: how long earlier tasks took is lost")
            if file.is_dir():
                file.rmdir()
            return {}
        return dict(found)


def checkpoint_path(folder: Path, task: int) -> Path:
    """Return the file of the checkpoint after a task."""
    return folder / f"task_{task}.pt"


def finished_tasks(folder: Path) -> int:
    """Return how many tasks have a checkpoint."""
    done = 0
    while checkpoint_path(folder, done).exists():
        done += 1
    return done
