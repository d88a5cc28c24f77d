"""The checkpoints of one run, as it is trained: from files or from a stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.node import Node
from insituml_pipelines.common.output import remove
from insituml_pipelines.runs.identity import Identity
from insituml_pipelines.runs.metadata import RunMetadata
from insituml_pipelines.runs.optimisation import average_of
from insituml_pipelines.runs.run import Run

if TYPE_CHECKING:
    from insituml.training import EpochRecord, TaskRecord


class UnusableCheckpointError(ValueError):
    """A run cannot go on from a file: it is missing, damaged, or not what it should be."""


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
        averaged = not self.method.converges  # else it chooses the weights itself
        self.average = average_of(run.recipe.training) if averaged else None
        self.metadata = RunMetadata.of(run.recipe, self.method, manifest)

    def shard(self) -> None:
        """Leave each rank a part of the learner, and an optimizer of that; all call it."""
        from insituml.sharding import shard

        shard(self.learner)
        self.optimizer = self.run.recipe.optimizer_of(self.learner)

    def hear(self, record: EpochRecord | TaskRecord) -> None:
        """Take note of what the trainer reports, and pass it on."""
        from insituml.training import EpochRecord

        if isinstance(record, EpochRecord):
            self.metadata.loss_history.extend(record.losses)
        else:
            self.metadata.samples_seen += record.samples_seen
            self.metadata.samples_replayed += record.samples_replayed
            self.metadata.flops += record.flops
        self._report(self.run, record)

    def after_task(self, number: int, record: TaskRecord, steps: int) -> None:
        """Write the checkpoint after a task, ``steps`` of the optimizer in all behind it."""
        from insituml import ranks

        self.metadata.task, self.metadata.task_name = number, record.name
        self.metadata.steps = steps
        self.metadata.ranks = ranks.size()
        self.metadata.memory_bytes = self.method.memory_bytes()  # of all ranks
        self.metadata.note = self.method.note
        # Timings first: a checkpoint without its timing would be resumed, and the timing lost.
        if ranks.rank() == 0:
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
            average=self.average,
            metadata={**self.metadata.to_plain(), **more},
        )

    def ensure_initial(self) -> None:
        """Write the checkpoint of the untrained model, unless it lies there whole.

        To be called before :meth:`resume`, while there is an untrained model.
        """
        try:
            check(self.run, self.run.initial, task=-1)
        except UnusableCheckpointError:
            remove(self.run.initial)
            self.save(self.run.initial)

    def resume(self, path: Path) -> Node:
        """Go on from a file; return what is known of it alone."""
        from insituml.checkpoint import resume

        plain = resume(
            path,
            self.learner,
            method=self.method,
            optimizer=self.optimizer,
            generator=self.order,
            average=self.average,
        )
        known = self.metadata.to_plain().keys()
        more = {key: plain.pop(key) for key in plain.keys() - known}
        self.metadata = RunMetadata.from_plain(plain)
        return more


def check(run: Run, path: Path, *, goes_on: bool = True, **facts: Any) -> None:
    """Check that a file is a whole checkpoint of this run, and what it says of itself.

    Parameters
    ----------
    run
        What must have written it.
    path
        The file.
    goes_on
        Whether it must hold the state from which training goes on.
    facts
        What its metadata must hold, such as ``task=3``.

    Raises
    ------
    UnusableCheckpointError
        Naming the file and what is wrong with it.
    """
    from insituml.checkpoint_file import CheckpointFormatError, read_checkpoint_file
    from insituml.verified_file import DamagedFileError

    try:
        content = read_checkpoint_file(path)
        metadata = content.metadata
        known = Identity.of_metadata(metadata)
    except FileNotFoundError as error:
        raise UnusableCheckpointError(f"{path} is missing") from error
    except OSError as error:
        raise UnusableCheckpointError(f"{path} cannot be read ({error.strerror})") from error
    except (DamagedFileError, CheckpointFormatError, KeyError, TypeError) as error:
        raise UnusableCheckpointError(f"{path} is damaged") from error
    if known.fingerprint != run.recipe.identity().fingerprint:
        other = f"{known.method_name} seed {known.seed}"
        same = " trained otherwise" if other == run.recipe.name else ""
        raise UnusableCheckpointError(f"{path} is of another run ({other}{same})")
    if goes_on and content.training is None:
        raise UnusableCheckpointError(f"{path} holds no state from which training goes on")
    for name, value in facts.items():
        if metadata.get(name) != value:
            found = metadata.get(name)
            raise UnusableCheckpointError(f"{path} is of {name} {found}, not {value}")
