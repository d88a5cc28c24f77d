"""Writes runs, curves and comparisons to an MLflow store, each once, however often it is asked.

One parent run holds everything trained on the same data with the same model, optimizer and
training settings, or all jobs of a sweep; below it stands one child run for each method and seed.
Runs are found again by tags made of fingerprints.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.runs.identity import Identity
from insituml_pipelines.tracking import keys, labels
from insituml_pipelines.tracking.address import Address
from insituml_pipelines.tracking.comparison_files import log_files
from insituml_pipelines.tracking.keys import KEPT, PARENT, RUN
from insituml_pipelines.tracking.model_folder import FOLDER
from insituml_pipelines.tracking.registry import register
from insituml_pipelines.tracking.store import StoreError, check_store, open_remote, open_store
from insituml_pipelines.tracking.values import dataset_of, flat

if TYPE_CHECKING:
    from filelock import FileLock
    from mlflow import MlflowClient

BATCH, PARAMS = 1000, 100  # metrics and parameters in one request, the most that MLflow takes
NOTE = "mlflow.note.content"
"""What MLflow shows of a run as its description, in Markdown."""
LEADERBOARD = "leaderboard.md"
LONGEST = 5000
"""Characters of a parameter or a description that every store takes."""


class Recorder:
    """Records in one experiment of a store, and what streams taught in another beside it.

    Parameters
    ----------
    address
        Of the store; artifacts go to ``mlruns`` beside a file, and where a server says.
    experiment
        Name of the MLflow experiment.
    register
        Name of the registered model that finished runs become versions of; None: of none.
    """

    def __init__(self, address: Address, experiment: str, register: str | None = None) -> None:
        self.address = address
        self.experiment = experiment
        self.register = register
        self._experiments: dict[str, str] = {}
        self._children: dict[str, str] = {}
        self._recorded: dict[str, set[int]] = {}  # steps of each child's losses

    @cached_property
    def lock(self) -> FileLock:
        """Held by who makes what must be there once."""
        from filelock import FileLock

        return FileLock(self.address.beside.with_name(".mlflow.lock"))

    @cached_property
    def client(self) -> MlflowClient:
        """Of the store, which is opened, or made, when it is first asked for."""
        beside = self.address.beside
        beside.parent.mkdir(parents=True, exist_ok=True)
        if not self.address.is_file:
            return open_remote(self.address.uri)
        with self.lock:  # two processes that open a new store at once would both make it
            return open_store(beside)

    def open(self) -> None:
        """See that the store can be used.

        Raises
        ------
        StoreError
            Saying why not, and what to do.
        """
        self.address.check_reachable()
        self.experiment_id()

    def check_answers(self) -> None:
        """See whether the store takes anything now; what is raised says why not."""
        self.address.check_reachable()
        if self.address.is_file:
            check_store(self.address.beside)
        self.client.search_experiments(max_results=1)

    def experiment_id(self, name: str | None = None) -> str:
        """Return the id of an experiment, which is made where there is none."""
        name = name or self.experiment
        if name not in self._experiments:
            client = self.client
            with self.lock:
                self._experiments[name] = self._experiment(client, name)
        return self._experiments[name]

    def _experiment(self, client: MlflowClient, name: str) -> str:
        found = client.get_experiment_by_name(name)
        if found is None:
            # A server decides itself where artifacts lie; a database has nobody who would.
            place = (self.address.beside.parent / "mlruns").as_uri()
            served = self.address.uri.startswith("http")
            return client.create_experiment(name, None if served else place, tags=labels.KIND)
        if found.lifecycle_stage == "deleted":
            raise StoreError(
                f"experiment {name} was deleted there; bring it back (`mlflow experiments restore "
                f"-x {found.experiment_id}`) or name another: tracking.experiment=NAME"
            )
        for key, value in labels.KIND.items():
            if key not in found.tags:  # made before these were
                client.set_experiment_tag(found.experiment_id, key, value)
        return found.experiment_id

    def _place(self, identity: Identity) -> str:
        return self.experiment_id(labels.experiment_of(identity, self.experiment))

    def write(self, kind: str, values: dict[str, Any], files: Path | None, kept: str = "") -> None:
        """Record what stands for itself; ``kept`` names the record that was kept of it."""
        if kind == "run":
            self._write_run(values, files, kept)
        elif kind == "evaluation":
            self._log_evaluation(values)
        elif kind == "comparison" and files is not None:
            self._log_comparison(values, files)
        elif kind == "sweep" and files is not None:
            self._log_sweep(values["sweep"], files)

    def start(self, facts: dict[str, Any]) -> str:
        """Begin to record a run; return its id."""
        child = self._child(facts)
        self._children[facts["name"]] = child
        history = self.client.get_metric_history(child, "train_loss")
        self._recorded[child] = {point.step for point in history}
        return child

    def _child(self, facts: dict[str, Any], kept: str = "") -> str:
        """Find the run that goes on, or make one; ``kept`` names the record it is made from."""
        identity = Identity(**facts["identity"])
        place, parent = self._place(identity), self._parent(identity, facts)
        key = {RUN: identity.fingerprint, PARENT: parent}
        # A run that was stopped or killed goes on under its own id.
        found = kept and self._find(place, {**key, KEPT: kept})
        found = found or self._find(place, key, "attributes.status != 'FINISHED'")
        if found:
            self.client.update_run(found, status="RUNNING")
        name = labels.child_name(identity, facts)
        tags = {**labels.child_tags(identity, facts), **key, **({KEPT: kept} if kept else {})}
        child = found or self.client.create_run(place, run_name=name, tags=tags).info.run_id
        if kept and found:
            self.client.set_tag(child, KEPT, kept)
        # Also of a run that was found: it may have been killed before they were written.
        params = {"seed": identity.seed, "method_name": identity.method_name}
        for section in ("method", "model", "optimizer", "training"):
            params |= flat(getattr(identity, section), section)
        self._log_params(child, params)
        self._log_dataset(child, facts["data"])
        return child

    def _write_run(self, values: dict[str, Any], artifact: Path | None, kept: str) -> None:
        child = None if kept else self._children.get(values["name"])
        if child is None:
            child = self._child(values, kept)
        self._log_metrics(child, {"train_loss": values["losses"]})
        if artifact is not None:
            self.client.log_artifacts(child, str(artifact), FOLDER)
            if self.register is not None:
                register(self.client, self.register, child, FOLDER)
        if pruned := values.get("pruned"):
            self.client.set_tag(child, "pruned", pruned)
        self.client.set_terminated(child, values["status"])
        # Others may train below it yet; it lasts as long as the last of them.
        self.client.set_terminated(self.client.get_run(child).data.tags[PARENT])

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

    def _log_evaluation(self, values: dict[str, Any]) -> None:
        identity = Identity(**values["identity"])
        place, key = self._place(identity), {RUN: identity.fingerprint}
        sweep = values.get("sweep")
        parent = self._find(place, keys.of_parent(identity, sweep))
        child = self._find(place, {**key, PARENT: parent}) if parent else None
        if child is None and not (sweep and parent):
            child = self._find(place, key)
        if child is None:
            print(
                f"tracking: no run of {identity.method_name} seed {identity.seed} in "
                f"{self.address.label}: its evaluation is in evaluations/ only",
                file=sys.stderr,
            )
            return
        named = {labels.metric_name(key): curve for key, curve in values["curves"].items()}
        self._log_metrics(child, named)

    def _log_comparison(self, values: dict[str, Any], folder: Path) -> None:
        identity, sweep = Identity(**values["identity"]), values.get("sweep")
        parent = self._parent(identity, values)
        below = Path("jobs", sweep["folder"]) if sweep else Path()
        methods = {name.rpartition(".")[2] for name in values["numbers"]}
        log_files(self.client, parent, folder, below / folder.name, methods)
        if (folder / LEADERBOARD).is_file() and not sweep:  # its note is the table of all jobs
            self.client.set_tag(parent, NOTE, (folder / LEADERBOARD).read_text()[:LONGEST])
        self.client.set_terminated(parent)

    def _log_sweep(self, sweep: dict[str, Any], folder: Path) -> None:
        names = (self.experiment, f"{self.experiment} in transit")
        there = [found for name in names if (found := self.client.get_experiment_by_name(name))]
        for experiment in there:
            for parent in self._find_all(experiment.experiment_id, keys.of_sweep(sweep)):
                self.client.log_artifacts(parent, str(folder), "sweep")
                for table in folder.glob("*.md"):
                    self.client.set_tag(parent, NOTE, table.read_text()[:LONGEST])
                self.client.set_terminated(parent)

    def _parent(self, identity: Identity, facts: Mapping[str, Any]) -> str:
        """Find or make the parent run of comparable runs, or of a sweep."""
        sweep = facts.get("sweep")
        key, place = keys.of_parent(identity, sweep), self._place(identity)
        tags = {**labels.shared_tags(identity, facts), **key}
        with self.lock:
            parent = self._find(place, key)
            if parent is None:
                name = labels.parent_name(identity, facts)
                parent = self.client.create_run(place, run_name=name, tags=tags).info.run_id
                if not sweep:
                    for section in ("model", "optimizer", "training"):
                        self._log_params(parent, flat(getattr(identity, section), section))
        if "data" in facts:
            self._log_dataset(parent, facts["data"])
        return parent

    def _find(self, experiment: str, tags: dict[str, str], condition: str = "") -> str | None:
        """Return the id of the newest run with these tags."""
        return next(iter(self._find_all(experiment, tags, condition, at_most=1)), None)

    def _find_all(
        self, experiment: str, tags: dict[str, str], condition: str = "", at_most: int = 1000
    ) -> list[str]:
        """Return the ids of the runs with these tags, the newest first."""
        clauses = [f"tags.`{key}` = '{value}'" for key, value in tags.items()]
        query = " and ".join([*clauses, *([condition] if condition else [])])
        runs = self.client.search_runs(
            [experiment], query, max_results=at_most, order_by=["attributes.start_time DESC"]
        )
        return [run.info.run_id for run in runs]

    def _log_params(self, run_id: str, params: dict[str, Any]) -> None:
        from mlflow.entities import Param

        given = [Param(key, str(value)[:LONGEST]) for key, value in params.items()]
        for start in range(0, len(given), PARAMS):
            self.client.log_batch(run_id, params=given[start : start + PARAMS])

    def _log_dataset(self, run_id: str, data: dict[str, Any]) -> None:
        """Note what a run learned from, once."""
        from mlflow.entities import DatasetInput, InputTag

        if (there := self.client.get_run(run_id).inputs) is not None and there.dataset_inputs:
            return
        tags = [InputTag("mlflow.data.context", "training")]
        given = [DatasetInput(dataset=dataset_of(data), tags=tags)]
        self.client.log_inputs(run_id, datasets=given)


def now() -> int:
    """Return the time as MLflow takes it, in milliseconds."""
    return int(time.time() * 1000)
