"""Hears of runs and lets them be recorded on a thread of its own; keeps what cannot be."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.runs.identity import Identity
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.tracking.pending import Pending
from insituml_pipelines.tracking.recorder import Recorder, now
from insituml_pipelines.tracking.store import StoreError, check_name

if TYPE_CHECKING:
    from insituml_pipelines.runs.run import Run


class MlflowTracker(Tracker):
    """Records in an SQLite store, on a thread of its own: training never waits for it.

    Parameters
    ----------
    database
        SQLite file, from the working folder; artifacts go to ``mlruns`` beside it.
    experiment
        Name of the MLflow experiment.

    What cannot be recorded is kept in ``<database>.pending``, and recorded by the next that opens
    the store. Each point of a curve is recorded once, however often a run was interrupted.

    Raises
    ------
    ValueError
        If ``database`` names no file, or ``experiment`` nothing.
    """

    def __init__(self, database: str | Path, experiment: str) -> None:
        check_name(str(database))
        if not experiment.strip():
            raise ValueError("tracking.experiment is empty; give it a name")
        self.database = Path(database).absolute()
        self.experiment = experiment
        self._pending = Pending(self.database)
        self._recorder = Recorder(self.database, experiment)
        self._broken_off: set[str] = set()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._failed = False
        self._broken = self._opened = False

    @contextmanager
    def training(self, runs: Sequence[Run]) -> Iterator[None]:
        for run in runs:
            self._later(self._recorder.start, _facts(run))
        status = "FAILED"
        try:
            yield
            status = "FINISHED"
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            for run in runs:
                broken = run.recipe.name in self._broken_off
                self._submit(self._end_run, run, "FAILED" if broken else status)
            self.close()

    def losses(self, run: Run, first_step: int, losses: Sequence[float]) -> None:
        self._later(self._recorder.losses, run.recipe.name, first_step, list(losses), now())

    def broke_off(self, run: Run) -> None:
        self._broken_off.add(run.recipe.name)

    def timed(self, run: Run, seconds_per_step: float) -> None:
        values = {"identity": asdict(run.recipe.identity()), "curves": {}}
        values["curves"] = {"seconds_per_step": [seconds_per_step]}
        self._submit(self._record, "evaluation", values)

    def evaluated(self, identity: Identity, curves: Mapping[str, Sequence[float]]) -> None:
        plain = {name: [float(x) for x in values] for name, values in curves.items()}
        values = {"identity": asdict(identity), "curves": plain}
        self._submit(self._record, "evaluation", values)

    def compared(self, identity: Identity, numbers: dict[str, float], folder: Path) -> None:
        plain = {name: float(x) for name, x in numbers.items()}
        values = {"identity": asdict(identity), "numbers": plain}
        self._submit(self._record, "comparison", values, folder)

    def close(self) -> None:
        self._thread.submit(lambda: None).result()

    # Everything below runs on the one thread.

    def _record(self, kind: str, values: dict[str, Any], files: Path | None = None) -> None:
        """Record what stands for itself, or keep it for later."""
        if not self._attempt(self._recorder.write, kind, values, files):
            self._keep(kind, values, files)

    def _keep(self, kind: str, values: dict[str, Any], files: Path | None) -> None:
        try:
            self._pending.keep(kind, values, files)
        except (OSError, UserError) as error:
            print(f"tracking: a record of {kind} is lost: {error}", file=sys.stderr)

    def _write_pending(self) -> None:
        """Record what earlier commands could not."""
        with self._recorder.lock:
            count = 0
            for name, kind, values, files in self._pending.records():
                self._recorder.write(kind, values, files, name)
                count += 1
        if count:
            print(f"tracking: {count} records that were kept are in {self.database.name} now")

    def _end_run(self, run: Run, status: str) -> None:
        """Record the end of a run with all its losses, or keep both for later."""
        from insituml.checkpoint_file import read_checkpoint_file

        artifact = _artifact(run) if status == "FINISHED" else None
        losses: list[float] = []
        if artifact is not None:
            losses = read_checkpoint_file(artifact).metadata["loss_history"]
        values = {**_facts(run), "status": status, "losses": losses}
        self._record("run", values, artifact)

    def _later(self, call: Callable[..., None], *arguments: Any) -> None:
        """Do what the end of the run does again, where it fails."""
        self._submit(self._attempt, call, *arguments)

    def _submit(self, call: Callable[..., object], *arguments: Any) -> None:
        self._thread.submit(call, *arguments).add_done_callback(self._notice)

    def _attempt(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Return whether it was recorded; say once why not."""
        if self._broken:
            return False
        try:
            if not self._opened:
                self._broken = True  # unless all of this goes well
                self._recorder.client  # noqa: B018 - opens the store
                self._write_pending()
                self._broken, self._opened = False, True
            call(*arguments)
        except Exception as error:  # whatever MLflow, SQLAlchemy and the disk may raise
            self._say(error)
            return False
        return True

    def _notice(self, future: Future[object]) -> None:
        if (error := future.exception()) is not None:
            self._say(error)

    def _say(self, error: BaseException) -> None:
        """Say once why tracking fails; results on disk do not depend on it."""
        if not self._failed:
            self._failed = True
            known = isinstance(error, StoreError)
            reason = " ".join(str(error if known else f"{type(error).__name__}: {error}").split())
            print(
                f"tracking: {self.database.name} cannot be written ({reason[:300]}); the results "
                f"on disk are complete, and what was to be recorded is kept in "
                f"{self.database.name}.pending until a later command can. tracking=none switches "
                "it off.",
                file=sys.stderr,
            )


def _facts(run: Run) -> dict[str, Any]:
    """Return what is recorded of a run before it begins, plain values."""
    from insituml_pipelines.common.task_files import read_tasks

    files = read_tasks(run.tasks)
    manifest = files.manifest
    return {
        "name": run.recipe.name,
        "identity": asdict(run.recipe.identity()),
        "data": {
            "name": manifest.title,
            "digest": manifest.fingerprint[:16],
            "folder": files.folder.name,
            "profile": {
                t.name: {"train": t.train, "test": t.test, "validation": t.validation}
                for t in manifest.tasks
            },
        },
    }


def _artifact(run: Run) -> Path | None:
    """Return what is kept of a run beside its numbers: its last checkpoint, which holds all."""
    done = run.finished_tasks()
    return run.checkpoint(done - 1) if done else None
