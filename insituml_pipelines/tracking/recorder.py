"""Writes runs, curves and comparisons to an MLflow store, each once, however often it is asked.

One parent run holds everything trained on the same data with the same model, optimizer and
training settings; below it stands one child run for each method and seed. Results on disk carry no
run ids: runs are found again by tags made of fingerprints.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.runs.identity import Identity
from insituml_pipelines.tracking.store import StoreError, open_store
from insituml_pipelines.tracking.values import flat

if TYPE_CHECKING:
    from filelock import FileLock
    from mlflow import MlflowClient

BATCH = 1000  # metrics in one request, the most that MLflow takes
SETUP, RUN, KEPT = "insituml.setup", "insituml.run", "insituml.kept"
PARENT = "mlflow.parentRunId"


class Recorder:
    """Records in one experiment of a store.

    Parameters
    ----------
    database
        SQLite file; artifacts go to ``mlruns`` beside it.
    experiment
        Name of the MLflow experiment.
    """

    def __init__(self, database: Path, experiment: str) -> None:
        self.database = database
        self.experiment = experiment
        self._children: dict[str, str] = {}
        self._recorded: dict[str, set[int]] = {}  # steps of each child's losses

    @cached_property
    def lock(self) -> FileLock:
        """Held by who makes what must be there once."""
        from filelock import FileLock

        return FileLock(self.database.with_name(".mlflow.lock"))

    @cached_property
    def client(self) -> MlflowClient:
        """Of the store, which is opened, or made, when it is first asked for."""
        self.database.parent.mkdir(parents=True, exist_ok=True)
        # Two processes that open a new store at once would both make it.
        with self.lock:
            client = open_store(self.database)
            found = client.get_experiment_by_name(self.experiment)
            if found is None:
                artifacts = (self.database.parent / "mlruns").as_uri()
                client.create_experiment(self.experiment, artifact_location=artifacts)
            elif found.lifecycle_stage == "deleted":
                raise StoreError(
                    f"experiment {self.experiment} was deleted there; bring it back (`mlflow "
                    f"experiments restore -x {found.experiment_id}`) or name another: "
                    "tracking.experiment=NAME"
                )
        return client

    @cached_property
    def experiment_id(self) -> str:
        """Of the experiment."""
        found = self.client.get_experiment_by_name(self.experiment)
        assert found is not None
        return found.experiment_id

    def write(self, kind: str, values: dict[str, Any], files: Path | None, kept: str = "") -> None:
        """Record what stands for itself; ``kept`` names the record that was kept of it."""
        if kind == "run":
            self._write_run(values, files, kept)
        elif kind == "evaluation":
            self._log_evaluation(Identity(**values["identity"]), values["curves"])
        elif kind == "comparison" and files is not None:
            self._log_comparison(Identity(**values["identity"]), values["numbers"], files)

    def start(self, facts: dict[str, Any]) -> None:
        """Begin to record a run."""
        child = self._child(facts)
        self._children[facts["name"]] = child
        history = self.client.get_metric_history(child, "train_loss")
        self._recorded[child] = {point.step for point in history}

    def _child(self, facts: dict[str, Any], kept: str = "") -> str:
        """Find the run that goes on, or make one; ``kept`` names the record it is made from."""
        identity = Identity(**facts["identity"])
        parent = self._parent(identity, facts["data"]["name"])
        tags = {RUN: identity.fingerprint, PARENT: parent}
        # A run that was stopped or killed goes on under its own id.
        found = kept and self._find({**tags, KEPT: kept})
        found = found or self._find(tags, "attributes.status != 'FINISHED'")
        if found:
            self.client.update_run(found, status="RUNNING")
        labels = {
            "method": identity.method_name,
            "seed": str(identity.seed),
            "code": identity.code[:16],
            **({KEPT: kept} if kept else {}),
        }
        child = (
            found
            or self.client.create_run(
                self.experiment_id, run_name=facts["name"], tags={**tags, **labels}
            ).info.run_id
        )
        if kept and found:
            self.client.set_tag(child, KEPT, kept)
        # Also of a run that was found: it may have been killed before they were written.
        params = {"seed": identity.seed, "method_name": identity.method_name}
        for section in ("method", "model", "optimizer", "training"):
            params |= flat(getattr(identity, section), section)
        self._log_params(child, params)
        inputs = self.client.get_run(child).inputs
        if inputs is None or not inputs.dataset_inputs:
            self._log_dataset(child, facts["data"])
        return child

    def _write_run(self, values: dict[str, Any], artifact: Path | None, kept: str) -> None:
        child = None if kept else self._children.get(values["name"])
        if child is None:
            child = self._child(values, kept)
        self._log_metrics(child, {"train_loss": values["losses"]})
        if artifact is not None:
            self.client.log_artifact(child, str(artifact), "checkpoints")
        self.client.set_terminated(child, values["status"])

    def losses(self, name: str, first_step: int, losses: list[float], when: int) -> None:
        """Record the losses of a run from a step on, those that are not recorded yet."""
        child = self._children[name]
        recorded = self._recorded[child]
        new = {first_step + k: x for k, x in enumerate(losses) if first_step + k not in recorded}
        self._log_points(child, [("train_loss", x, when, step) for step, x in new.items()])
        recorded.update(new)

    def _log_metrics(self, run_id: str, curves: Mapping[str, Sequence[float]]) -> None:
        """Record what is not recorded yet: a point that is there with this value is left out."""
        there = self.client.get_run(run_id).data.metrics
        when, points = now(), []
        for name, values in curves.items():
            history = self.client.get_metric_history(run_id, name) if name in there else []
            known = {(point.step, point.value) for point in history}
            points += [
                (name, float(value), when, step)
                for step, value in enumerate(values)
                if value == value and (step, float(value)) not in known
            ]
        self._log_points(run_id, points)

    def _log_points(self, run_id: str, points: Sequence[tuple[str, float, int, int]]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(*point) for point in points]
        for start in range(0, len(metrics), BATCH):
            self.client.log_batch(run_id, metrics[start : start + BATCH])

    def _log_evaluation(self, identity: Identity, curves: Mapping[str, Sequence[float]]) -> None:
        child = self._find({RUN: identity.fingerprint})
        if child is None:
            print(
                f"tracking: no run of {identity.method_name} seed {identity.seed} in "
                f"{self.database.name}: its evaluation is in evaluations/ only",
                file=sys.stderr,
            )
            return
        self._log_metrics(child, curves)

    def _log_comparison(self, identity: Identity, numbers: dict[str, float], folder: Path) -> None:
        parent = self._parent(identity, None)
        self._log_metrics(parent, {name: [value] for name, value in numbers.items()})
        self.client.log_artifacts(parent, str(folder), folder.name)
        self.client.set_terminated(parent)

    def _parent(self, identity: Identity, name: str | None) -> str:
        """Find or make the parent run of comparable runs."""
        setup = identity.setup
        experiment = self.experiment_id
        with self.lock:
            found = self._find({SETUP: setup})
            if found:
                return found
            title = f"{name or 'pipeline'} {time.strftime('%Y-%m-%d %H:%M')}"
            parent = self.client.create_run(
                experiment, run_name=title, tags={SETUP: setup}
            ).info.run_id
        for section in ("model", "optimizer", "training"):
            self._log_params(parent, flat(getattr(identity, section), section))
        return parent

    def _find(self, tags: dict[str, str], condition: str = "") -> str | None:
        """Return the id of the newest run with these tags."""
        clauses = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
        query = " and ".join([*clauses, *([condition] if condition else [])])
        runs = self.client.search_runs(
            [self.experiment_id], query, max_results=1, order_by=["attributes.start_time DESC"]
        )
        return runs[0].info.run_id if runs else None

    def _log_params(self, run_id: str, params: dict[str, Any]) -> None:
        from mlflow.entities import Param

        self.client.log_batch(run_id, params=[Param(k, str(v)) for k, v in params.items()])

    def _log_dataset(self, run_id: str, data: dict[str, Any]) -> None:
        from mlflow.entities import Dataset, DatasetInput

        dataset = Dataset(
            name=data["name"],
            digest=data["digest"],
            source_type="local",
            source=json.dumps({"uri": data["folder"]}),
            profile=json.dumps(data["profile"]),
        )
        self.client.log_inputs(run_id, datasets=[DatasetInput(dataset=dataset)])


def now() -> int:
    """Return the time as MLflow takes it, in milliseconds."""
    return int(time.time() * 1000)
