"""Hears of runs and lets them be recorded on a thread of its own; keeps what cannot be."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.git_state import git_state
from insituml_pipelines.common.log import say
from insituml_pipelines.runs.identity import Identity, fingerprint
from insituml_pipelines.sweeps.trial import PrunedError
from insituml_pipelines.tracking import labels
from insituml_pipelines.tracking.address import address_of
from insituml_pipelines.tracking.base import SweepJob, Tracker
from insituml_pipelines.tracking.last_state import UNREADABLE, facts_of, last_state
from insituml_pipelines.tracking.pending import Kept, Pending
from insituml_pipelines.tracking.recorder import Recorder, now
from insituml_pipelines.tracking.store import StoreError
from insituml_pipelines.tracking.system_metrics import SystemMetrics

if TYPE_CHECKING:
    from insituml_pipelines.runs.run import Run


RETRY = 30.0
"""Seconds after which a server that was away is asked again."""


class MlflowTracker(Tracker):
    """Records in an MLflow store, on a thread of its own: training never waits for it.

    Parameters
    ----------
    database
        SQLite file, from the working folder; artifacts go to ``mlruns`` beside it.
    experiment
        Name of the MLflow experiment; what a stream taught goes to ``<experiment> in transit``.
    uri
        Address of a tracking server or a database, in place of the file; None: that of
        ``MLFLOW_TRACKING_URI``, if it is set.
    system_metrics
        Seconds between samples of CPU, memory, disk and network; None: none.
    register
        Name of a registered model, of which each finished run becomes a version; None: of none.

    What cannot be recorded is kept in ``<database>.pending``, and recorded by the next that opens
    the store. Each point of a curve is recorded once, however often a run was interrupted.

    Raises
    ------
    ValueError
        If ``database`` or ``uri`` names no store, or ``experiment`` nothing.
    """

    def __init__(
        self,
        database: str | Path,
        experiment: str,
        uri: str | None = None,
        system_metrics: float | None = None,
        register: str | None = None,
    ) -> None:
        self.address = address_of(database, uri)
        if not experiment.strip():
            raise ValueError("tracking.experiment is empty; give it a name")
        if register is not None and (not register.strip() or set(register) & set("/:'")):
            raise ValueError(
                f"tracking.register is {register!r}; expected a model's name, without / : and '"
            )
        if system_metrics is not None and not system_metrics > 0:
            raise ValueError(
                f"tracking.system_metrics is {system_metrics}; expected seconds above 0, or null"
            )
        self.database = self.address.beside
        self.experiment = experiment
        self._pending = Pending(self.address.beside)
        self._recorder = Recorder(self.address, experiment, register)
        self._system = SystemMetrics(self.address.uri, system_metrics) if system_metrics else None
        self._sweep: dict[str, Any] | None = None
        self._broken_off: set[str] = set()
        self._refused: set[Path] = set()  # kept records that the store does not take
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._failed = self._opened = False
        self._away_until = 0.0

    def in_sweep(self, job: SweepJob) -> None:
        self._sweep = _sweep_of(job)

    def swept(self, job: SweepJob, files: Sequence[Path]) -> None:
        with TemporaryDirectory(prefix="insituml-sweep-") as folder:
            for file in files:
                shutil.copy2(file, folder)
            self._submit(self._record, "sweep", {"sweep": _sweep_of(job)}, Path(folder))
            self.close()

    @contextmanager
    def training(self, runs: Sequence[Run]) -> Iterator[None]:
        # Now: other data may lie in data/tasks when the runs end.
        facts = [self._facts(run) for run in runs]
        for known in facts:
            self._later(self._start, known)
        status, pruned = "FAILED", ""
        try:
            yield
            status = "FINISHED"
        except PrunedError as end:
            # That is no failure, and MLflow marks what was killed as one that failed.
            status, pruned = "FINISHED", str(end)
            raise
        except KeyboardInterrupt:
            status = "KILLED"
            raise
        finally:
            if self._system is not None:
                self._submit(self._system.stop)
            for run, known in zip(runs, facts, strict=True):
                broken = run.recipe.name in self._broken_off
                known = {**known, "pruned": pruned}
                self._submit(self._end_run, run, known, "FAILED" if broken else status)
            self.close()

    def losses(self, run: Run, first_step: int, losses: Sequence[float]) -> None:
        self._later(self._recorder.losses, run.recipe.name, first_step, list(losses), now())

    def broke_off(self, run: Run) -> None:
        self._broken_off.add(run.recipe.name)

    def timed(self, run: Run, seconds_per_step: float) -> None:
        self.evaluated(run.recipe.identity(), {"seconds_per_step": [seconds_per_step]})

    def evaluated(self, identity: Identity, curves: Mapping[str, Sequence[float]]) -> None:
        plain = {name: [float(x) for x in values] for name, values in curves.items()}
        values = {"identity": asdict(identity), "curves": plain, "sweep": self._sweep}
        self._submit(self._record, "evaluation", values)

    def compared(self, identity: Identity, numbers: dict[str, float], folder: Path) -> None:
        plain = {name: float(x) for name, x in numbers.items()}
        values = {"identity": asdict(identity), "numbers": plain, "sweep": self._sweep}
        self._submit(self._record, "comparison", values, folder)

    def close(self) -> None:
        self._thread.submit(lambda: None).result()

    @cached_property
    def _code(self) -> dict[str, str]:
        """Which commit runs; it is asked for once."""
        return git_state(Path.cwd())

    def _facts(self, run: Run) -> dict[str, Any]:
        return {**facts_of(run), "code": self._code, "sweep": self._sweep}

    # Everything below runs on the one thread.

    def _record(self, kind: str, values: dict[str, Any], files: Path | None = None) -> None:
        """Record what stands for itself, or keep it for later."""
        if not self._attempt(self._recorder.write, kind, values, files):
            self._keep(kind, values, files)

    def _keep(self, kind: str, values: dict[str, Any], files: Path | None) -> None:
        self._opened = False  # what is kept comes before what follows it
        try:
            self._pending.keep(kind, values, files)
        except (OSError, UserError) as error:
            print(f"tracking: a record of {kind} is lost: {error}", file=sys.stderr)

    def _write_pending(self) -> None:
        """Record what earlier commands could not; what the store refuses stays where it is."""
        with self._recorder.lock:
            count = sum(self._write_kept(record) for record in self._pending.records())
        if count:
            say(f"tracking: {count} records that were kept are in {self.address.label} now")

    def _write_kept(self, record: Kept) -> bool:
        """Return whether a record was recorded, and is deleted; say once why not.

        Raises
        ------
        Exception
            If it is not the record: nothing is taken now.
        """
        from mlflow.exceptions import MlflowException

        if record.place in self._refused:
            return False
        try:
            self._recorder.write(record.kind, record.values, record.files, record.place.name)
        except (MlflowException, StoreError, AttributeError, *UNREADABLE) as error:
            self._recorder.check_answers()
            self._refused.add(record.place)
            print(
                f"tracking: the {record.kind} kept in {record.place} cannot be recorded "
                f"({self._reason(error)}) and stays there; delete that folder to give it up",
                file=sys.stderr,
            )
            return False
        self._pending.done(record)
        return True

    def _start(self, facts: dict[str, Any]) -> None:
        child = self._recorder.start(facts)
        if self._system is not None:
            self._system.watch(child)

    def _end_run(self, run: Run, facts: dict[str, Any], status: str) -> None:
        """Record the end of a run with all its losses, or keep both for later.

        That is done whatever becomes of its model.
        """
        values = {**facts, "status": status, "losses": []}
        with TemporaryDirectory(prefix="insituml-model-") as folder:
            model = None
            if status == "FINISHED" and not facts["pruned"]:
                values["losses"], model = last_state(run, Path(folder))
            self._record("run", values, model)

    def _later(self, call: Callable[..., None], *arguments: Any) -> None:
        """Do what the end of the run does again, where it fails."""
        self._submit(self._attempt, call, *arguments)

    def _submit(self, call: Callable[..., object], *arguments: Any) -> None:
        self._thread.submit(call, *arguments).add_done_callback(self._notice)

    def _attempt(self, call: Callable[..., None], *arguments: Any) -> bool:
        """Return whether it was recorded; say once why not."""
        if time.monotonic() < self._away_until:
            return False
        try:
            if not self._opened:
                # A file that is broken stays so; a server may come back.
                self._away_until = inf if self.address.is_file else time.monotonic() + RETRY
                self._recorder.open()
                self._write_pending()
                self._opened, self._away_until = True, 0.0
            call(*arguments)
        except Exception as error:  # whatever MLflow, SQLAlchemy and the disk may raise
            if not self.address.is_file:
                self._opened, self._away_until = False, time.monotonic() + RETRY
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
            print(
                f"tracking: {self.address.label} cannot be written ({self._reason(error)}); the "
                f"results on disk are complete, and what was to be recorded is kept in "
                f"{self.database.name}.pending until a later command can. tracking=none switches "
                "it off.",
                file=sys.stderr,
            )

    def _reason(self, error: BaseException) -> str:
        """Return in a line what an error says."""
        known = isinstance(error, StoreError)
        text = " ".join(str(error if known else f"{type(error).__name__}: {error}").split())
        return self.address.without_password(text)[:300]


def _sweep_of(job: SweepJob) -> dict[str, Any]:
    """Return a job and what tells its sweep from one of that name in another folder.

    Without the machine's name: jobs may run on several that share the folder.
    """
    return {**asdict(job), "place": fingerprint([labels.user(), str(Path.cwd())])}
