"""Learning from several simulations: the same weights as one loop, whatever happens to them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import openpmd_api as io
import pandas as pd
import pytest
import torch

from insituml import load_checkpoint
from insituml.in_transit import Arrivals, EnsembleTrainer, HeldOut
from insituml.memory import SimulationMemory
from insituml.relative_error import RelativeError
from insituml.stream import EnsembleStream, ProducerDied, Rejected
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.fitting import data_of
from insituml_pipelines.common.schema import Data, Produce, Transit, validate
from insituml_pipelines.common.task_files import read_tasks
from insituml_pipelines.produce import produce
from insituml_pipelines.reporting.transit import transit_blocks
from insituml_pipelines.stream import DIED, LOG, SECTIONS, evaluate, finish, learn, plan
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.transit.source import make_source, open_ring

ITERATIONS = 8
AMPLITUDES = [1.0, 2.0, 4.0]
CHOSEN = [
    "data=lwfa",
    "+data/ensemble=producers",
    f"data.ensemble.vary={{a0:{AMPLITUDES}}}",
    "data.ensemble.restarts=0",
    "data.ensemble.join_timeout=0.2",
    "data.source.shape=[2,256,2]",
    f"data.source.iterations={ITERATIONS}",
    "data.split.tasks=2",
    "data.split.holdout=0.2",
    "data.split.validation=null",
    "data.split.chunk=[2,64,2]",
    "tracking=none",
    "method=experience_replay",
    "training.batch_size=5",
    "training.schedule=constant",
    "training.warmup_steps=0",
    "training.averaging=null",
    "training.seeds=[0]",
    "training.memory_size=7",
    "training.reference_size=4",
    "transit.batches_per_iteration=1",
    "transit.checkpoint_every=2",
    "transit.task_samples=8",
]
MODEL = ["model=mlp", "model.hidden_sizes=[6]", "model.latent_size=2"]
FLOW = [
    "model=conditional_flow",
    "model.hidden_sizes=[3]",
    "model.couplings=2",
    "model.bins=2",
    "data.split.chunk=[2,16,2]",
]
FIXED = "data.ensemble.order=fixed"
PATIENT = "produce.open_timeout=60"


class Here:
    """The ring of a producer in this process, which is silent before each of its iterations."""

    stall_timeout, open_timeout, lag, _child = 60.0, 5.0, None, None

    def __init__(self, data: Data, transit: Transit, silences: int, dies_at: int | None) -> None:
        self.source = make_source(data, transit)
        self.silences, self.dies_at = silences, dies_at

    def start(self) -> None: ...

    def ready(self) -> bool:
        return True

    def describe(self) -> Any:
        return self.source.describe()

    def begin(self, after: int | None) -> None:
        self.said = self.says(after)

    def says(self, after: int | None) -> Iterator[Any]:
        for event in self.source.events(after):
            yield from [None] * self.silences
            if getattr(event, "iteration", None) == self.dies_at is not None:
                yield ProducerDied("it was killed")
                return
            yield event

    def take(self, timeout: float) -> Any:
        return next(self.said)

    def kill(self) -> None: ...

    close = kill


Run = Callable[..., Any]


@pytest.fixture
def run(tools, tmp_path, monkeypatch) -> Run:
    """Do what the command does but for evaluation; returns what was trained."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("insituml.stream.waiting.WAIT_SECONDS", 0.0)

    def run(
        *more: str,
        silences: list[int] | None = None,
        dies: dict[int, int] | None = None,
        tracker: Tracker | None = None,
        model: list[str] | None = None,
        expected_code: int = 0,
    ) -> Any:
        made: list[Here] = []

        def ring(data: Data, transit: Transit) -> Any:
            k = AMPLITUDES.index(data.source["a0"])
            made.append(Here(data, transit, (silences or [0, 0, 0])[k], (dies or {}).get(k)))
            return made[-1]

        monkeypatch.setattr("insituml_pipelines.transit.ensemble_source.open_ring", ring)
        prepared = plan(tools.invoke(tmp_path, SECTIONS, *CHOSEN, *(model or MODEL), *more))
        training, code = learn(prepared, tracker or Tracker())
        assert code == expected_code
        finish(prepared, training, tmp_path / "transit")
        if not code:
            shutil.rmtree(prepared.folder)
        return training

    return run


def weights(root: Path, task: int) -> dict[str, torch.Tensor]:
    file = root / f"transit/runs/experience_replay/seed_0/task_{task}.pt"
    return load_checkpoint(file).state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def log(root: Path) -> dict[str, Any]:
    return json.loads((root / "transit/runs/experience_replay" / LOG).read_text())


def by_hand(prepared: Any) -> list[dict[str, torch.Tensor]]:
    """Feed the same iterations to a trainer in one loop; return the weights after each task."""
    tasks, recipe = prepared.tasks, prepared.runs[0].recipe
    learner, method, optimizer, order = recipe.build()
    trainer = EnsembleTrainer(
        learner,
        method,
        optimizer,
        now_samples=3 * 3 * 4,
        task_samples=8,
        batches_per_arrival=1,
        batch_size=5,
        generator=order,
        max_gradient_norm=recipe.training["max_gradient_norm"],
        one_task=len(tasks.windows) == 1,
    )
    arrivals = Arrivals(tasks.cutter, tasks.windows, HeldOut(len(tasks.windows), 10**9, 1))
    arrivals.normalise_by = prepared.transit.normalisation_iterations
    sources = [m.ring.source.source for m in tasks.stream.members.values()]
    steps = {
        tasks.ensemble.number(s, step.iteration): step
        for s, source in enumerate(sources)
        for step in source
    }
    found = []
    for number in sorted(steps):
        step = steps[number]
        step = type(step)(number, step.time, step.values, step.metadata)
        for arrival in [*arrivals.take(step), *(arrivals.rest() if number == max(steps) else [])]:
            if arrival.batch is None:
                continue
            if trainer.task not in (None, arrival.task):
                trainer.end_task()
                found.append({k: v.clone() for k, v in learner.state_dict().items()})
            if trainer.task is None:
                trainer.begin_task(
                    arrival.task,
                    "",
                    arrival.batch,
                    arrivals=len(tasks.windows.trained(arrival.task)),
                )
            trainer.learn(arrival.batch, tasks.ensemble.place(arrival.iteration)[0])
    trainer.end_task()
    return [*found, learner.state_dict()]


@pytest.mark.parametrize("tasks, count", [("time", 2), ("simulation", 3), ("none", 1)])
def test_in_turn_weights_are_those_of_one_loop_however_fast_each_is(
    tasks, count, run, tools, tmp_path
) -> None:
    asked = (FIXED, f"data.ensemble.tasks={tasks}")
    training = run(*asked, silences=[0, 2, 1])
    found = [weights(tmp_path, task) for task in range(count)]
    if tasks == "time":
        run(*asked, silences=[3, 0, 0])
    expected = by_hand(plan(tools.invoke(tmp_path, SECTIONS, *CHOSEN, *MODEL, *asked)))
    assert len(expected) == count
    for task in range(count):
        assert same(weights(tmp_path, task), found[task])
        assert same(expected[task], found[task])
    memory = training.runs[0].state.method.memory
    assert isinstance(memory, SimulationMemory)
    assert memory.simulations().bincount().tolist() == [3, 2, 2]


@pytest.mark.skipif("sst" not in io.file_extensions, reason="ADIOS2 without SST")
def test_streams_that_others_write_teach_what_the_same_simulations_started_here_do(
    run, tools, tmp_path, monkeypatch, nothing_drawn
) -> None:
    run(FIXED)
    expected = [weights(tmp_path, task) for task in range(2)]
    shutil.rmtree(tmp_path / "transit")
    monkeypatch.setattr("insituml_pipelines.transit.ensemble_source.open_ring", open_ring)
    (tmp_path / "sims").mkdir()
    here = [each for each in CHOSEN if "ensemble" not in each]
    with ThreadPoolExecutor(len(AMPLITUDES)) as pool:
        for a0 in AMPLITUDES:
            of_one = (f"data.source.a0={a0}", f"produce.output=sims/{a0}.sst", PATIENT)
            asked = tools.invoke(tmp_path, ("data", "produce"), *here, *of_one)
            options = validate(Produce, asked.section("produce"), "produce")
            pool.submit(produce, data_of(asked), options)
        found = (
            *("data=openpmd", "+data/ensemble=streams", "data.ensemble.streams=sims/*.sst"),
            f"data.ensemble.simulations={len(AMPLITUDES)}",
        )
        rest = [each for each in here if "data=" not in each and "data.source" not in each]
        prepared = plan(tools.invoke(tmp_path, SECTIONS, *found, *rest, *MODEL, FIXED))
        training, code = learn(prepared, Tracker())
    finish(prepared, training, tmp_path / "transit")
    assert code == 0
    assert all(same(weights(tmp_path, task), expected[task]) for task in range(2))
    evaluate(["experience_replay"], training, tmp_path / "transit", Tracker())
    table = pd.read_csv(tmp_path / "transit/results/simulation_errors.csv")
    assert sorted(set(table["simulation"])) == [f"{a0} (a0={a0:g})" for a0 in AMPLITUDES]


class Interrupted(Tracker):
    """Ends training as Ctrl-C would, at a step."""

    def losses(self, run: Any, first_step: int, losses: Any) -> None:
        if first_step >= 11:
            raise KeyboardInterrupt


def test_a_trainer_that_was_killed_goes_on_to_the_same_weights(run, tmp_path, capsys) -> None:
    run(FIXED)
    expected, told = [weights(tmp_path, task) for task in range(2)], log(tmp_path)
    shutil.rmtree(tmp_path / "transit")
    with pytest.raises(KeyboardInterrupt):
        run(FIXED, tracker=Interrupted())
    run(FIXED)
    assert "goes on after" in capsys.readouterr().out
    assert all(same(weights(tmp_path, task), expected[task]) for task in range(2))
    assert log(tmp_path)["iterations"] == told["iterations"] == 3 * ITERATIONS
    kinds = [kind for _, kind, _ in log(tmp_path)["changes"]]
    assert kinds.count("restarted") == 3


def test_one_that_dies_loses_its_undelivered_iterations_which_are_named(
    run, tmp_path, capsys
) -> None:
    run(dies={1: 6})
    told = log(tmp_path)
    assert told["iterations"] == 3 * ITERATIONS - 2
    assert told["lost"] == 2
    assert told["lost_iterations"] == [
        ["simulation_1", 6, 7, 2, "undelivered: it died (it was killed)"]
    ]
    said = capsys.readouterr().out
    assert said.count("simulation_1 died: it was killed") == 1
    assert "simulation_1: iterations 6 to 7 are lost" in said
    assert told["ending"] == "the ensemble finished, 3 joined, 1 died, 2 finished"


def test_what_was_lost_when_all_died_is_learned_when_they_are_started_anew(run, tmp_path) -> None:
    run(dies={0: 6, 1: 5, 2: 6}, expected_code=DIED)
    assert log(tmp_path)["lost"] == 2 + 3 + 2
    run()
    told = log(tmp_path)
    assert (told["iterations"], told["lost"], told["lost_iterations"]) == (3 * ITERATIONS, 0, [])


def test_a_bad_iteration_ends_training_again_when_it_comes_again(run, monkeypatch) -> None:
    says = Here.says

    def bad(self: Here, after: int | None) -> Iterator[Any]:
        for event in says(self, after):
            is_bad = getattr(event, "iteration", None) == 5 and self.source.source.a0 == 2.0
            yield Rejected(5, "its values are NaN") if is_bad else event

    monkeypatch.setattr(Here, "says", bad)
    for _ in range(2):
        with pytest.raises(UserError, match="iteration 5 of simulation_1 cannot be learned from"):
            run("transit.on_bad_iteration=fail")


def test_the_schedule_counts_those_that_have_joined(run, monkeypatch) -> None:
    told: list[int | None] = []
    begin = EnsembleTrainer.begin_task

    def begin_task(self: Any, *task: Any, arrivals: int | None = None) -> None:
        told.append(arrivals)
        begin(self, *task, arrivals=arrivals)

    monkeypatch.setattr(EnsembleTrainer, "begin_task", begin_task)
    monkeypatch.setattr(EnsembleStream, "joined", lambda stream: {0, 2})
    training = run(FIXED)
    windows = training.windows
    assert told == [len(windows.trained(task)) * 2 // 3 for task in range(2)]


def test_one_that_is_started_again_loses_nothing(run, tmp_path) -> None:
    # The second ring of the same simulation dies at the same place, which is behind it then.
    class Once(dict):
        def get(self, key: int, default: Any = None) -> Any:
            return self.pop(key, default)

    run("data.ensemble.restarts=1", dies=Once({1: 6}))
    told = log(tmp_path)
    assert (told["iterations"], told["lost"]) == (3 * ITERATIONS, 0)


def test_errors_of_each_simulation_and_its_parameters_stand_in_the_results(
    run, tmp_path, nothing_drawn
) -> None:
    training = run(FIXED)
    evaluate(["experience_replay"], training, tmp_path / "transit", Tracker())
    manifest = read_tasks(tmp_path / "transit/data/tasks").manifest
    assert [s.parameters for s in manifest.ensemble.simulations] == [{"a0": a} for a in AMPLITUDES]
    table = pd.read_csv(tmp_path / "transit/results/simulation_errors.csv")
    found = table.pivot_table(index="simulation", columns="metric", values="value", sort=False)
    assert list(found.index) == [f"simulation_{k} (a0={a:g})" for k, a in enumerate(AMPLITUDES)]
    # An independent way to the numbers: whole held-out arrays, and loops over samples.
    files = read_tasks(tmp_path / "transit/data/tasks")
    learner = load_checkpoint(tmp_path / "transit/runs/experience_replay/seed_0/task_1.pt").eval()
    for k, name in enumerate(found.index):
        error, squares = RelativeError(3), []
        for task, info in enumerate(files.manifest.tasks):
            inputs = files.array(task, "test_inputs")
            numbers = files.array(task, "test_places")[:, 0]
            for sample in inputs[numbers % 3 == k]:
                with torch.no_grad():
                    decoded = learner(torch.from_numpy(sample[None]))[1].numpy()
                squares.append(np.mean((decoded[0] - sample) ** 2, dtype=np.float64))
                error.update(
                    info.normalisation.invert(sample[None])[0],
                    info.normalisation.invert(decoded)[0],
                )
        assert found.loc[name, "relative_l2"] == pytest.approx(error.overall(), rel=1e-5)
        assert found.loc[name, "mse"] == pytest.approx(np.mean(squares), rel=1e-5)
    words = (tmp_path / "transit/results/simulation_errors.md").read_text()
    assert words.count("simulation_") == 3
    (reported,) = [
        block
        for block in transit_blocks(tmp_path / "transit")
        if getattr(block, "name", "") == "Errors by simulation"
    ]
    assert [row[0].text for row in reported.rows] == list(found.index)


def test_a_conditional_learner_is_given_the_parameters_of_each_simulation(
    run, tmp_path, nothing_drawn
) -> None:
    training = run(FIXED, model=FLOW)
    learner = training.runs[0].state.learner
    assert learner.condition_size == 1
    samples = training.runs[0].state.method.memory
    _, conditions = samples.all()
    whose = samples.simulations()
    assert torch.equal(conditions[:, 0], torch.tensor(AMPLITUDES)[whose])
    assert len(set(whose.tolist())) == 3
    evaluate(["experience_replay"], training, tmp_path / "transit", Tracker())
    files = read_tasks(tmp_path / "transit/data/tasks")
    places = files.array(0, "test_places")[:, 0]
    labels = files.array(0, "test_labels")[:, 0]
    assert np.array_equal(labels, np.array(AMPLITUDES, np.float32)[places % 3])
    table = pd.read_csv(tmp_path / "transit/results/simulation_errors.csv")
    assert list(table["metric"]) == ["nll"] * 3


@pytest.mark.parametrize(
    "wrong, words",
    [
        (["data.ensemble.vary={a0:[1,2,4]}", "data.ensemble.producers=2"], "3 values for 2 prod"),
        (["data.ensemble.vary={b0:[1,2]}"], "names b0, which data.source has not"),
        ([], "needs either producers or vary"),
        (["data.ensemble.producers=2", "data.ensemble.streams='*.sst'"], "needs either producers"),
        (["data.ensemble.producers=2", "data.ensemble.tasks=space"], "tasks is 'space'"),
        (["data=toy8", "data.ensemble.producers=2"], "an ensemble is of simulations of fields"),
        (["data.ensemble.streams='*.sst'"], "data.ensemble.simulations is missing"),
        (["data.ensemble.streams='*.sst'", "data.ensemble.simulations=2"], "use data=openpmd"),
        (["data.ensemble.producers=2", "training.mix_iterations=3"], "set training.mix_iter"),
    ],
)
def test_what_contradicts_itself_is_said_in_one_line(wrong, words, tools, tmp_path) -> None:
    chosen = ["tracking=none", "+data/ensemble=producers", *wrong]
    with pytest.raises(UserError, match=words) as caught:
        plan(tools.invoke(tmp_path, SECTIONS, *chosen))
    assert "\n" not in str(caught.value)
