"""Searches by Optuna: their space, their trials, and what ends one early."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

optuna = pytest.importorskip("optuna", reason="the extra sweep")

from optuna.distributions import (  # noqa: E402
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState  # noqa: E402

from insituml_pipelines import train  # noqa: E402
from insituml_pipelines.common.cli import run_stage  # noqa: E402
from insituml_pipelines.common.composition import composed, plain  # noqa: E402
from insituml_pipelines.common.errors import UserError  # noqa: E402
from insituml_pipelines.sweeps.plan import Sweep, sweep_of  # noqa: E402
from insituml_pipelines.sweeps.records import JobRecord, leave  # noqa: E402
from insituml_pipelines.sweeps.sameness import digest_of_search  # noqa: E402
from insituml_pipelines.sweeps.space import job_overrides, space_of  # noqa: E402
from insituml_pipelines.sweeps.study import check_search, in_groups, open_study  # noqa: E402
from insituml_pipelines.sweeps.sweeper import OptunaSweeper, register  # noqa: E402
from insituml_pipelines.sweeps.trial import JobTrial, PrunedError  # noqa: E402

GIVEN = ["method=ewc", "method.strength=interval(-4,4)", "hydra/sweeper=optuna", "tracking=none"]


@pytest.mark.parametrize(
    "given, expected",
    [
        ("interval(1,10)", FloatDistribution(1.0, 10.0)),
        ("tag(log,interval(1,1e4))", FloatDistribution(1.0, 1e4, log=True)),
        ("int(interval(1,10))", IntDistribution(1, 10)),
        ("range(1,10,3)", IntDistribution(1, 7, step=3)),
        ("tag(log,range(1,9))", IntDistribution(1, 8, log=True)),
        ("range(0.5,2.5,0.5)", FloatDistribution(0.5, 2.0, step=0.5)),
        ("choice(a,b)", CategoricalDistribution(["a", "b"])),
        ("[0],[1]", CategoricalDistribution(["[0]", "[1]"])),
    ],
)
def test_the_space_is_written_as_hydra_writes_values(given: str, expected: Any) -> None:
    assert space_of(["x=5", f"++key={given}"]) == {"++key": expected}
    assert job_overrides(["x=5", f"++key={given}"], {"++key": 7}) == ["x=5", "++key=7"]


@pytest.mark.parametrize("wrong", ["interval(3,1)", "tag(log,interval(0,1))", "range(4,5)"])
def test_spaces_that_cannot_be(wrong: str) -> None:
    with pytest.raises(UserError, match=r"key=.*(comes first|above 0)"):
        space_of([f"key={wrong}"])


@cache
def sweeper_node(*overrides: str) -> dict[str, Any]:
    config = composed(["hydra/sweeper=optuna", *overrides], for_hydra=True)
    return plain(config.hydra.sweeper)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"n_trials": 0}, "n_trials is 0; expected a whole number"),
        ({"pruner": None}, "choose one by hydra/sweeper/pruner"),
        ({"sampler": {"_target_": "optuna.samplers.TPESampler", "sed": 1}}, "sampler.sed is not"),
    ],
)
def test_a_search_is_checked_before_it_begins(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        check_search({**sweeper_node(), **wrong})


class Launcher:
    """Leaves what jobs leave whose error is (strength - 1)²; some fail, and one kills all."""

    def __init__(self, sweep: Sweep, killed: int = -1) -> None:
        self.sweep, self.killed = sweep, killed
        self.batches: list[list[int]] = []

    def launch(self, jobs: Sequence[Sequence[str]], initial_job_idx: int) -> None:
        self.batches.append([initial_job_idx + k for k in range(len(jobs))])
        for number, job in enumerate(jobs, initial_job_idx):
            if number == self.killed:
                raise RuntimeError("killed")
            strength = float(dict(o.split("=") for o in job)["method.strength"])
            failed = strength < -3
            value = None if failed else (strength - 1) ** 2
            leave(self.sweep, JobRecord(number, list(job), {}, "", value, code=2 * failed))


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Return a function that goes on with the search in a folder, and returns its trials."""
    monkeypatch.chdir(tmp_path)

    def run(
        folder: str,
        *options: str,
        killed: int = -1,
        given: Sequence[str] = GIVEN,
        common: str = "",
    ) -> Any:
        sweep = replace(sweep_of("train", given, folder), common=common)
        register(sweep)
        launcher = Launcher(sweep, killed)
        monkeypatch.setattr(
            "hydra.core.plugins.Plugins.instantiate_launcher", lambda *a, **k: launcher
        )
        options = ("hydra.sweeper.sampler.n_startup_trials=3", *options)
        if "hydra/sweeper/sampler=grid" in options:
            options = options[1:]
        node = sweeper_node(*options)
        sweeper = OptunaSweeper(**node)
        nothing: Any = SimpleNamespace()
        sweeper.setup(hydra_context=nothing, task_function=nothing, config=nothing)
        try:
            sweeper.sweep([o for o in given if not o.startswith("hydra")])
        finally:
            trials = open_study(sweep, node).get_trials()
        return [(t.params, t.value, t.state) for t in trials], launcher.batches

    return run


def test_a_study_goes_on_as_if_nothing_had_happened(search) -> None:
    whole, batches = search("whole", "hydra.sweeper.n_trials=9")
    assert batches == [[k] for k in range(9)]
    states = [state for _, _, state in whole]
    assert TrialState.FAIL in states  # which stops nothing
    assert all(v == (p["method.strength"] - 1) ** 2 for p, v, _ in whole if v is not None)
    assert len({p["method.strength"] for p, _, _ in whole}) == 9

    with pytest.raises(RuntimeError, match="killed"):
        search("broken", "hydra.sweeper.n_trials=9", killed=4)
    trials, batches = search("broken", "hydra.sweeper.n_trials=9")
    assert trials == whole
    assert batches[0] == [4]
    assert search("broken", "hydra.sweeper.n_trials=9") == (whole, [])
    assert (
        search("other_seed", "hydra.sweeper.n_trials=2", "hydra.sweeper.sampler.seed=1")[0]
        != (whole[:2])
    )


def test_trials_go_to_the_launcher_together(search) -> None:
    with pytest.raises(RuntimeError, match="killed"):
        search("m", "hydra.sweeper.n_trials=7", "hydra.sweeper.n_jobs=3", killed=4)
    _, batches = search("m", "hydra.sweeper.n_trials=7", "hydra.sweeper.n_jobs=3")
    assert batches == [[3, 4, 5], [6]]  # none of the second batch had been told
    assert in_groups([7, 3, 4, 9, 8]) == [[3, 4], [7, 8, 9]]


def test_equal_trials_are_one_job(search) -> None:
    given = ["method=naive,ewc", "method.strength=interval(-3,3)", "hydra/sweeper=optuna"]
    trials, batches = search("m", "hydra.sweeper.n_trials=5", "hydra.sweeper.n_jobs=5", given=given)
    naive = [k for k, (params, _, _) in enumerate(trials) if params["method"] == "naive"]
    assert len(naive) > 1
    first = trials[naive[0]][0]["method.strength"]  # of which that method knows nothing
    assert {trials[k][1] for k in naive} == {(first - 1) ** 2}
    assert batches == in_groups(sorted({0, 1, 2, 3, 4} - set(naive[1:])))
    for k in {0, 1, 2, 3, 4} - set(naive):
        assert trials[k][1] == (trials[k][0]["method.strength"] - 1) ** 2


def test_trials_of_another_configuration_are_another_study(search, capsys) -> None:
    assert search("m", "hydra.sweeper.n_trials=1", common="a")[1] == [[0]]
    assert "another begins" not in capsys.readouterr().err
    assert search("m", "hydra.sweeper.n_trials=1", common="b")[1] == [[0]]
    assert "configuration, data or code are not those of the study" in capsys.readouterr().err
    assert search("m", "hydra.sweeper.n_trials=1", common="a")[1] == []


def test_what_may_change_a_value_is_known(tmp_path, monkeypatch) -> None:
    own = tmp_path / "own_model_of_a_search.py"
    own.write_text("class Mine: pass")
    monkeypatch.syspath_prepend(tmp_path)

    given = ["model._target_=own_model_of_a_search.Mine"]
    usual, unlike, aside = (
        composed([*given, *more])
        for more in ([], ["training.epochs=7"], ["tracking=none", "transit.slots=7"])
    )

    def digest(*configs: Any) -> str:
        return digest_of_search(configs, train.SECTIONS)

    known = digest(usual)
    assert digest(aside) == known  # nothing that values depend on
    assert digest(unlike) != known
    assert digest(usual, unlike) not in (known, digest(unlike))
    own.write_text("class Mine: there = 1")
    assert digest(usual) != known


def test_a_grid_ends_by_itself(search) -> None:
    given = ["method.strength=range(-4,3)", "hydra/sweeper=optuna"]
    trials, _ = search("grid", "hydra/sweeper/sampler=grid", given=given)
    assert sorted(params["method.strength"] for params, _, _ in trials) == list(range(-4, 3))


def test_a_trial_ends_that_is_worse_than_the_median(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = sweep_of("train", GIVEN, str(tmp_path))
    node = sweeper_node("hydra/sweeper/pruner=median", "hydra.sweeper.pruner.n_startup_trials=3")
    study = open_study(sweep, node)
    for error in (1.0, 3.0, 2.0):
        study.ask()
        trial = JobTrial(sweep, node, len(study.trials) - 1)
        trial.report(0, error)
        trial.report(0, error)  # of a run that resumes
        study.tell(len(study.trials) - 1, error)
    for error in (1.9, 2.1):
        study.ask()
        trial = JobTrial(sweep, node, len(study.trials) - 1)
        if error > 2:
            with pytest.raises(PrunedError, match=r"after task 0, with an average error of 2\.1"):
                trial.report(0, error)
        else:
            trial.report(0, error)


def test_trials_are_jobs(tools, tmp_path, monkeypatch, capsys) -> None:
    tools.make_stream(tools.points_data(validation=0.25), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("insituml_pipelines.sweeps.results.draw", lambda s, r, f: f.touch())
    tiny = ["experiment=toy8", "model.hidden_sizes=[4]", "training.epochs=1", "training.workers=0"]
    space = ["training.seeds=[0]", "hydra/sweeper=ewc_strength", "tracking=none"]

    def run(*options: str) -> None:
        monkeypatch.setattr(sys, "argv", ["insituml", "-m", *tiny, *space, *options])
        run_stage(train.main, train.SECTIONS, "")

    run("hydra.sweeper.n_trials=2", "hydra/sweeper/pruner=median")
    assert len(OptunaSweeper.jobs.common) == 64
    (file,) = tmp_path.glob("multirun/*/sweep.csv")
    table = pd.read_csv(file)
    assert list(table.columns) == ["job", "method.strength", "value", "status"]
    assert table["value"].notna().tolist() == [True, True]
    journal = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(file.with_name("study.journal")))
    )
    (summary,) = optuna.get_all_study_summaries(journal)
    trials = optuna.load_study(study_name=summary.study_name, storage=journal).trials
    for trial, job in zip(trials, table["job"], strict=True):
        losses = pd.read_csv(file.parent / job / "validation/ewc/loss_matrix.csv")
        for task in (0, 1):  # of three
            seen = losses.query("trained_through == @task and evaluated_on <= @task")
            expected = seen[seen["metric"] == "mse"]["value"].mean()
            assert math.isclose(trial.intermediate_values[task], expected, rel_tol=1e-6)
        assert trial.value == table["value"][trial.number]

    # Given again, it trains nothing and shows the same table.
    shown = capsys.readouterr().out.partition("| method.strength")[2]
    before = file.read_bytes()
    run("hydra.sweeper.n_trials=2", "hydra/sweeper/pruner=median")
    captured = capsys.readouterr()
    assert "this study has its 2 trials; hydra.sweeper.n_trials=4 goes on" in captured.err
    assert captured.out.partition("| method.strength")[2] == shown != ""
    assert file.read_bytes() == before

    # All of the next study are pruned, but for those that earlier jobs have trained already.
    capsys.readouterr()
    never = ["hydra.sweeper.pruner._target_=optuna.pruners.ThresholdPruner"]
    run("hydra.sweeper.n_trials=1", *never, "+hydra.sweeper.pruner.upper=0", "training.seeds=[1]")
    assert "note: job 0: pruned after task 0, with an average error of" in capsys.readouterr().err
    assert not list(Path("data").rglob("*.pt"))
    assert not list(tmp_path.rglob("seed_1"))

    with pytest.raises(SystemExit):
        run("method.strengh=interval(1,2)")
    assert "method.strengh does not exist; method accepts: strength" in capsys.readouterr().err
