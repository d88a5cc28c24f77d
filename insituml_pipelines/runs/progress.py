"""Bars of the optimizer's steps, over all runs of a command."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from insituml_pipelines.common.log import bar
from insituml_pipelines.runs.optimisation import amount_of
from insituml_pipelines.runs.run import Run

SHOW_SECONDS = 0.5
"""How often at most a bar is drawn again within an iteration."""


class StepBar:
    """Moves while tasks are learned; shows nothing where there is no terminal.

    How many steps there will be is known of a task once its first epoch is over (some methods train
    on earlier tasks too, some on all at once); until then it is taken to be trained on alone.

    Parameters
    ----------
    name
        Stands before the bar.
    runs
        What is trained.
    samples
        Training samples of each task.
    """

    def __init__(self, name: str, runs: Sequence[Run], samples: Sequence[int]) -> None:
        amount = amount_of(runs[0].recipe.training)
        expected = [amount.steps(count, amount.epochs) for count in samples]
        self._expected = {(r.recipe.seed, k): n for r in runs for k, n in enumerate(expected)}
        done = 0
        for run in runs:
            for task, noted in run.timings().items():
                self._expected[run.recipe.seed, int(task)] = int(noted["steps"])
                done += int(noted["steps"])
        total = sum(self._expected.values())
        self.bar = bar(total=total, initial=done, desc=name, unit="step")

    def hear(self, run: Run, record: Any) -> None:
        """Take note of a record: how long a task is or was, and where the run stands."""
        from insituml.records import TaskRecord

        task = (run.recipe.seed, record.task)
        if isinstance(record, TaskRecord):  # one may end before its last epoch
            self._expected[task] = record.steps
            self.bar.total = sum(self._expected.values())
            return
        self._expected[task] = record.planned
        self.bar.total = sum(self._expected.values())
        words = f"seed {run.recipe.seed} task {record.task} epoch {record.epoch + 1}"
        self.bar.set_postfix_str(words, refresh=False)

    def move(self, steps: int) -> None:
        """Go on by so many steps of any run."""
        self.bar.update(steps)


class StreamBar:
    """The iterations that have come, and the steps that were taken on them: these move within one.

    Parameters
    ----------
    iterations
        How many there will be.
    """

    def __init__(self, iterations: int) -> None:
        self.bar = bar(total=iterations, unit="iteration", desc="stream")
        self._steps = 0
        self._words = ""
        self._shown_at = time.monotonic()

    def come_to(self, count: int, words: str) -> None:
        """Stand at the end of so many iterations."""
        self._words = words
        self.bar.update(count - self.bar.n)
        self._show()

    def move(self, steps: int) -> None:
        """Go on by so many steps of any run."""
        self._steps += steps
        self._show()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self.bar.close()

    def _show(self) -> None:
        words = [self._words] if self._words else []
        self.bar.set_postfix_str(", ".join([*words, f"{self._steps} steps"]), refresh=False)
        if time.monotonic() - self._shown_at > SHOW_SECONDS:
            self._shown_at = time.monotonic()
            self.bar.refresh()
