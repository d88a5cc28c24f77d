"""Under which parent runs, evaluations and comparisons come, in sweeps and outside of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from insituml_pipelines.sweeps.job import job_of
from insituml_pipelines.sweeps.plan import sweep_of
from insituml_pipelines.tracking.base import SweepJob
from insituml_pipelines.tracking.mlflow import MlflowTracker

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

NOTE, PARENT = "mlflow.note.content", "mlflow.parentRunId"


def test_a_sweep_is_of_its_folder_and_data_and_takes_nothing_of_others(
    make_run, tools, tmp_path, monkeypatch
) -> None:
    """One store for all of it: making one takes seconds."""
    from mlflow import MlflowClient

    stream = tools.make_stream(tools.points_data(), tmp_path)
    run = make_run("naive", 0, stream, folder=tmp_path / "none/naive/seed_0")
    identity = run.recipe.identity()

    def record(call: Callable[[MlflowTracker], None], varied: dict | None = None) -> None:
        tracker = MlflowTracker(tmp_path / "mlflow.db", "tests")
        if varied is not None:
            folder = ",".join(f"{key}={value}" for key, value in varied.items())
            tracker.in_sweep(SweepJob("stream-memory-1", "memory", varied, folder))
        call(tracker)
        tracker.close()

    def train(tracker: MlflowTracker) -> None:
        with tracker.training([run]):
            pass

    def compare(text: str) -> Callable[[MlflowTracker], None]:
        folder = tmp_path / text / "results"
        folder.mkdir(parents=True)
        (folder / "leaderboard.md").write_text(text)
        return lambda tracker: tracker.compared(identity, {}, folder)

    monkeypatch.chdir(tmp_path)
    record(train)
    record(train, {})
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    place = client.get_experiment_by_name("tests").experiment_id

    def parents() -> dict[str, list]:
        runs = [r for r in client.search_runs([place]) if PARENT not in r.data.tags]
        swept = [r for r in runs if "insituml.sweep" in r.data.tags]
        return {"plain": [r for r in runs if r not in swept], "sweep": swept}

    (plain,), (sweep,) = parents().values()

    # An evaluation goes to the run outside the sweep, though that in it is newer; and the reverse.
    record(lambda tracker: tracker.evaluated(identity, {"forgetting": [0.5]}))
    record(lambda tracker: tracker.evaluated(identity, {"forgetting": [0.25]}), {})
    found = {
        r.data.tags[PARENT]: r.data.metrics["forgetting"]
        for r in client.search_runs([place])
        if PARENT in r.data.tags
    }
    assert found == {plain.info.run_id: 0.5, sweep.info.run_id: 0.25}

    # Comparisons of jobs lie side by side, and the sweep's description is not theirs.
    for memory in ("4", "8"):
        record(compare(f"with {memory}"), {"memory": memory})
    artifacts = tmp_path / "mlruns" / sweep.info.run_id / "artifacts"
    assert tools.contents(artifacts) == {
        f"jobs/memory={memory}/results/leaderboard.md": f"with {memory}".encode()
        for memory in ("4", "8")
    }
    assert NOTE not in client.get_run(sweep.info.run_id).data.tags

    # The same sweep of other data, or in another folder, is another parent.
    here = identity
    identity = replace(here, data="other")
    record(compare("other data"), {})
    identity = here
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    record(train, {})
    assert [len(runs) for runs in parents().values()] == [1, 3]

    # What came of a sweep is said of both of its folder.
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "sweep.md"
    table.write_text("| best |\n")
    record(lambda tracker: tracker.swept(SweepJob("stream-memory-1", "memory", {}), [table]))
    noted = [r.data.tags.get(NOTE) for r in parents()["sweep"]]
    assert noted.count("| best |\n") == 2
    assert noted.count(None) == 1


@pytest.mark.parametrize(
    "keys",
    [
        ["training.seeds=[0,2]", "training.seeds=[1,2]"],
        ["method=naive", "method=ewc"],
        [f"data.path={'x' * 400}{end}" for end in "12"],
        ["transit.folder=a/b", "transit.folder=a_b"],
    ],
)
def test_folders_of_jobs_have_names_of_their_own(keys) -> None:
    first, other = keys
    sweep = sweep_of("stream", [f"{first},{other.partition('=')[2]}"], "m")
    one, two = (job_of(sweep, [override]).folder for override in keys)
    assert one != two
    assert one == sweep.place([first]).name
    assert len(Path(one).parts) == 1
    assert len(one) < 200
