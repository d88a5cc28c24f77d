"""The checkpoints of one run, as it is trained: from files or from a stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.common.node import Node
from pipelines.runs.metadata import RunMetadata
from pipelines.runs.run import Run

if TYPE_CHECKING:
    from insituml.training import EpochRecord, TaskRecord

RunReport = Callable[[Run, Any], None]
"""Called with a run and each record of its trainer."""


class RunCheckpoints:
    """Builds what a recipe says, and writes and reads its checkpoints.

    Parameters
    ----------
    run
        The recipe and where its files lie.
    manifest
        Of its stream, plain values.
    report
        Called with ``run`` and each record of the trainer.
    """

    def __init__(self, run: Run, manifest: Node, report: RunReport) -> None:
        self.run = run
        self._report = report
        self.learner, self.method, self.optimizer, self.order = run.recipe.build()
        self.metadata = RunMetadata.of(run.recipe, self.method, manifest)

    def hear(self, record: EpochRecord | TaskRecord) -> None:
        """Take note of what the trainer reports, and pass it on."""
        from insituml.training import EpochRecord

        if isinstance(record, EpochRecord):
            self.metadata.loss_history.extend(record.losses)
        self._report(self.run, record)

    def after_task(self, number: int, record: TaskRecord, steps: int) -> None:
        """Write the checkpoint after a task, ``steps`` of the optimizer in all behind it."""
        self.metadata.task, self.metadata.task_name = number, record.name
        self.metadata.steps = steps
        self.metadata.memory_bytes = self.method.memory_bytes()
        # Timings first: a checkpoint without its timing would be resumed, and the timing lost.
        self.run.add_timing(number, record)
        self.save(self.run.checkpoint(number))

    def save(self, path: Path, **more: Any) -> None:
        """Write everything; ``more`` is known of this file alone."""
        from insituml.checkpoint import save_checkpoint

        save_checkpoint(
            path,
            self.learner,
            method=self.method,
            optimizer=self.optimizer,
            generator=self.order,
            metadata={**self.metadata.to_plain(), **more},
        )

    def resume(self, path: Path) -> Node:
        """Go on from a file; return what is known of it alone."""
        from insituml.checkpoint import resume

        plain = resume(
            path,
            self.learner,
            method=self.method,
            optimizer=self.optimizer,
            generator=self.order,
        )
        known = self.metadata.to_plain().keys()
        more = {key: plain.pop(key) for key in plain.keys() - known}
        self.metadata = RunMetadata.from_plain(plain)
        return more
