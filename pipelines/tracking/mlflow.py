"""What goes to MLflow, and how; the only file that imports it.

One parent run holds everything trained on the same data with the same model, optimizer and
training settings; below it stands one child run for each method and seed. Results on disk carry no
run ids: runs are found again by tags made of fingerprints.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.tracking.base import Tracker
from pipelines.tracking.values import check_writable, flat

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from insituml.data import TaskFiles
    from pipelines.runs.identity import Identity
    from pipelines.runs.run import Run

BATCH = 1000  # metrics in one request, the most that MLflow takes
SETUP, RUN = "insituml.setup", "insituml.run"
PARENT = "mlflow.parentRunId"


class MlflowTracker(Tracker):
    """Records in an SQLite store, on a thread of its own: training never waits for it.

    Parameters
    ----------
    database
        SQLite file, from the working folder; artifacts go to ``mlruns`` beside it.
    experiment
        Name of the MLflow experiment.
    """

    def __init__(self, database: str | Path, experiment: str) -> None:
        self.database = Path(database).absolute()
        self.experiment = experiment
        self._children: dict[str, str] = {}
        self._broken_off: set[str] = set()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._failed = False
        self._broken = False

    @contextmanager
    def training(self, runs: Sequence[Run]) -> Iterator[None]:
        for run in runs:
            self._later(self._start_child, run)
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
                self._later(self._end_child, run, "FAILED" if broken else status)
            self.close()

    def losses(self, run: Run, first_step: int, losses: Sequence[float]) -> None:
        self._later(self._log_losses, run, first_step, list(losses), _now())

    def broke_off(self, run: Run) -> None:
        self._broken_off.add(run.recipe.name)

    def timed(self, run: Run, seconds_per_step: float) -> None:
        self._later(self._log_time, run, seconds_per_step)

    def evaluated(self, identity: Identity, curves: Mapping[str, Sequence[float]]) -> None:
        self._later(self._log_evaluation, identity, curves)

    def compared(self, identity: Identity, numbers: dict[str, float], folder: Path) -> None:
        self._later(self._log_comparison, identity, numbers, folder)

    def close(self) -> None:
        self._thread.submit(lambda: None).result()

    # Everything below runs on the one thread.

    @cached_property
    def _client(self) -> MlflowClient:
        from filelock import FileLock
        from mlflow import MlflowClient

        # Two processes that open a new store at once would both migrate it, and break it.
        with FileLock(self.database.with_name(".mlflow.lock")):
            check_writable(self.database)
            client = MlflowClient(f"sqlite:///{self.database}")
            if client.get_experiment_by_name(self.experiment) is None:
                artifacts = (self.database.parent / "mlruns").as_uri()
                client.create_experiment(self.experiment, artifact_location=artifacts)
        return client

    @cached_property
    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self.experiment)
        assert found is not None
        return found.experiment_id

    def _start_child(self, run: Run) -> None:
        from pipelines.common.task_files import read_tasks

        recipe, identity = run.recipe, run.recipe.identity()
        files = read_tasks(run.tasks)
        parent = self._parent(identity, files.manifest.title)
        tags = {RUN: identity.fingerprint, PARENT: parent}
        # A run that was stopped or killed goes on under its own id.
        found = self._find(tags, "attributes.status != 'FINISHED'")
        if found:
            self._client.update_run(found, status="RUNNING")
            self._children[run.recipe.name] = found
            return
        code = identity.code[:16]
        labels = {"method": recipe.method_name, "seed": str(recipe.seed), "code": code}
        child = self._client.create_run(
            self._experiment_id, run_name=recipe.name, tags={**tags, **labels}
        ).info.run_id
        self._children[run.recipe.name] = child
        self._log_params(child, {"seed": recipe.seed, "method_name": recipe.method_name})
        for section in ("method", "model", "optimizer", "training"):
            self._log_params(child, flat(getattr(identity, section), section))
        self._log_dataset(child, files)

    def _end_child(self, run: Run, status: str) -> None:
        child = self._children[run.recipe.name]
        artifact = _artifact(run)
        if status == "FINISHED" and artifact is not None:
            self._client.log_artifact(child, str(artifact), "checkpoints")
        self._client.set_terminated(child, status)

    def _log_time(self, run: Run, seconds_per_step: float) -> None:
        child = self._children[run.recipe.name]
        self._client.log_metric(child, "seconds_per_step", seconds_per_step)

    def _log_losses(self, run: Run, first_step: int, losses: list[float], when: int) -> None:
        from mlflow.entities import Metric

        metrics = [Metric("train_loss", x, when, first_step + k) for k, x in enumerate(losses)]
        for start in range(0, len(metrics), BATCH):
            self._client.log_batch(self._children[run.recipe.name], metrics[start : start + BATCH])

    def _log_evaluation(self, identity: Identity, curves: Mapping[str, Sequence[float]]) -> None:
        from mlflow.entities import Metric

        child = self._find({RUN: identity.fingerprint})
        if child is None:
            print(
                f"tracking: no run of {identity.method_name} seed {identity.seed} in "
                f"{self.database.name}: its evaluation is in evaluations/ only",
                file=sys.stderr,
            )
            return
        now = _now()
        metrics = [
            Metric(name, float(value), now, step)
            for name, values in curves.items()
            for step, value in enumerate(values)
            if value == value
        ]
        for start in range(0, len(metrics), BATCH):
            self._client.log_batch(child, metrics[start : start + BATCH])

    def _log_comparison(self, identity: Identity, numbers: dict[str, float], folder: Path) -> None:
        from mlflow.entities import Metric

        parent = self._parent(identity, None)
        now = _now()
        metrics = [Metric(k, v, now, 0) for k, v in numbers.items() if v == v]
        self._client.log_batch(parent, metrics)
        self._client.log_artifacts(parent, str(folder), folder.name)
        self._client.set_terminated(parent)

    def _parent(self, identity: Identity, name: str | None) -> str:
        """Find or make the parent run of comparable runs."""
        from filelock import FileLock

        setup = identity.setup
        experiment = self._experiment_id
        with FileLock(self.database.with_name(".mlflow.lock")):
            found = self._find({SETUP: setup})
            if found:
                return found
            title = f"{name or 'pipeline'} {time.strftime('%Y-%m-%d %H:%M')}"
            parent = self._client.create_run(
                experiment, run_name=title, tags={SETUP: setup}
            ).info.run_id
        for section in ("model", "optimizer", "training"):
            self._log_params(parent, flat(getattr(identity, section), section))
        return parent

    def _find(self, tags: dict[str, str], condition: str = "") -> str | None:
        """Return the id of the newest run with these tags."""
        clauses = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
        query = " and ".join([*clauses, *([condition] if condition else [])])
        runs = self._client.search_runs(
            [self._experiment_id], query, max_results=1, order_by=["attributes.start_time DESC"]
        )
        return runs[0].info.run_id if runs else None

    def _log_params(self, run_id: str, params: dict[str, Any]) -> None:
        from mlflow.entities import Param

        self._client.log_batch(run_id, params=[Param(k, str(v)) for k, v in params.items()])

    def _log_dataset(self, run_id: str, files: TaskFiles) -> None:
        from mlflow.entities import Dataset, DatasetInput

        manifest = files.manifest
        profile = {task.name: {"train": task.train, "test": task.test} for task in manifest.tasks}
        dataset = Dataset(
            name=manifest.title,
            digest=manifest.fingerprint[:16],
            source_type="local",
            source=json.dumps({"uri": files.folder.name}),
            profile=json.dumps(profile),
        )
        self._client.log_inputs(run_id, datasets=[DatasetInput(dataset=dataset)])

    def _later(self, call: Callable[..., None], *arguments: Any) -> None:
        self._thread.submit(self._attempt, call, *arguments).add_done_callback(self._notice)

    def _attempt(self, call: Callable[..., None], *arguments: Any) -> None:
        if self._broken:
            return
        try:
            self._client  # noqa: B018 - opens the store
        except Exception:
            self._broken = True
            raise
        call(*arguments)

    def _notice(self, future: Future[None]) -> None:
        """Say once why tracking fails; results on disk do not depend on it."""
        error = future.exception()
        if error is not None and not self._failed:
            self._failed = True
            reason = traceback.format_exception_only(error)[-1].strip()
            print(
                f"tracking: {self.database.name} cannot be written ({reason}); the results on "
                "disk are complete. tracking=none switches it off.",
                file=sys.stderr,
            )


def _artifact(run: Run) -> Path | None:
    """Return what is kept of a run beside its numbers: its last checkpoint, which holds all."""
    done = run.finished_tasks()
    return run.checkpoint(done - 1) if done else None


def _now() -> int:
    return int(time.time() * 1000)
