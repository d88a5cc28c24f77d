"""In transit: the results of the file pipeline, whatever happens to the producer or the trainer."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from insituml import load_checkpoint
from insituml.data.npy_folder import NpyFolder
from insituml.data.openpmd.writer import write_series
from insituml.stream import ProducerDied, Rejected, RingSource
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.schema import Transit
from insituml_pipelines.common.task_files import read_tasks
from insituml_pipelines.evaluate import evaluate_method
from insituml_pipelines.results import figures
from insituml_pipelines.results.tables import comparable
from insituml_pipelines.stream import DIED, LOG, SECTIONS, STALLED, finish, learn, main, plan
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.transit.resume_points import RESUME

ROOT = Path(__file__).parents[2]
STEPS = 14
TINY = [
    "tracking=none",
    "model=mlp",
    "model.hidden_sizes=[6]",
    "model.latent_size=2",
    "training.batch_size=3",
    "training.seeds=[0]",
    "training.memory_size=9",
    "transit.batches_per_iteration=2",
    "transit.checkpoint_every=2",
    "transit.task_samples=8",
]


@pytest.fixture
def root(tools, tmp_path, monkeypatch) -> Path:
    """A folder with fields in it: 14 steps of 4 chunks, in 3 tasks."""
    tools.write_fields(tmp_path / "fields", STEPS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def overrides(*more: str, path: str = "fields", data: str = "efield_npy") -> list[str]:
    return [
        f"data={data}",
        f"data.path={path}",
        "data.split.tasks=3",
        "data.split.chunk=[1,4,2]",
        "data.split.holdout=0.3",
        *TINY,
        *more,
    ]


def stream(
    tools: Any, root: Path, *more: str, tracker: Tracker | None = None, **options: Any
) -> int:
    """Do what the command does but for evaluation and figures; return the exit code."""
    prepared = plan(tools.invoke(root, SECTIONS, *overrides(*more, **options)))
    training, code = learn(prepared, tracker or Tracker())
    finish(prepared, training, root / "transit")
    if not code:
        shutil.rmtree(prepared.folder)
    return code


def run(tools: Any, root: Path, *more: str) -> None:
    main(tools.invoke(root, SECTIONS, *overrides(*more)))


def draw_only(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out other methods' own figures, which look the same and take long."""
    draw = figures.draw_method
    monkeypatch.setattr(figures, "draw_method", lambda m, *rest: m == method and draw(m, *rest))


def weights(root: Path, method: str, task: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    path = root / f"transit/runs/{method}/seed_{seed}/task_{task}.pt"
    return load_checkpoint(path).state_dict()


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def log(root: Path, method: str = "naive") -> dict[str, Any]:
    return json.loads((root / f"transit/runs/{method}/{LOG}").read_text())


def resumed_after(root: Path) -> list[int]:
    return json.loads((root / "transit/timings/waiting.json").read_text())["resumed_after"]


def poison(root: Path, number: int, value: float = np.nan) -> None:
    file = root / f"fields/data_{100 * number}.npy"
    values = np.load(file)
    values[0, 0, 0, 0] = value
    np.save(file, values)


def test_methods_and_seeds_share_one_stream_and_come_out_as_from_files(
    root, tools, capsys, drawn_here, monkeypatch, request
) -> None:
    draw_only("ewc", monkeypatch)
    run(tools, root, "transit.methods=[naive,experience_replay,ewc]", "training.seeds=[0,3]")
    found = {path.relative_to(root / "transit").as_posix() for path in root.rglob("transit/**/*")}
    assert {
        "data/tasks/stream.json",
        "runs/ewc/seed_3/initial.pt",
        "runs/ewc/seed_3/task_2.pt",
        "timings/naive.json",
        "evaluations/experience_replay/loss_matrix.csv",
        "results/leaderboard.csv",
        "figures/loss_matrices.png",
        "figures/reconstructions_ewc_Ez.png",
    } <= found
    assert not list((root / ".partial").iterdir())
    metadata = load_checkpoint(root / "transit/runs/ewc/seed_3/task_2.pt").metadata
    assert metadata["task_name"] == "iterations 1000–1300"
    assert metadata["method_name"] == "ewc"
    assert metadata["training"]["batches_per_iteration"] == 2
    assert "epochs" not in metadata["training"]
    # 4 training steps in the first task and 3 in the others, 2 batches each
    assert (
        metadata["steps"]
        == len(metadata["loss_history"])
        == 2
        * sum(task.train // 4 for task in read_tasks(root / "transit/data/tasks").manifest.tasks)
    )
    assert not same(weights(root, "naive"), weights(root, "experience_replay"))
    assert not same(weights(root, "naive"), weights(root, "naive", seed=3))
    said = capsys.readouterr().out
    assert "14 iterations, 0 to 1300, of 3×2×8×2 float32" in said
    assert "14 iterations in " in said
    assert said.count("0 iterations lost in 0 gaps, 0 iterations rejected") == 1
    # Alone on a stream a method ends with the same bits, and meets the others in the tables.
    alone = weights(root, "experience_replay")
    request.getfixturevalue("nothing_drawn")
    run(tools, root, "method=experience_replay", "training.seeds=[0,3]")
    assert same(weights(root, "experience_replay"), alone)
    assert "| naive |" in (root / "transit/results/leaderboard.md").read_text()


def test_files_of_either_kind_and_the_split_stage_agree(root, tools) -> None:
    data = tools.field_data(root / "fields", validation=0.2)
    files = tools.make_stream(data, root)
    stream(tools, root, "data.split.validation=0.2")
    held_out = read_tasks(root / "transit/data/tasks")
    assert held_out.manifest.task_names == files.manifest.task_names
    assert held_out.manifest.times == files.manifest.times
    for k in range(3):
        for name in ("test_inputs", "test_places", "validation_inputs", "validation_places"):
            np.testing.assert_array_equal(held_out.array(k, name), files.array(k, name))
        ours, theirs = held_out.manifest.tasks[k], files.manifest.tasks[k]
        assert (ours.train, ours.test) == (theirs.train, theirs.test)
        assert ours.validation == theirs.validation == 4
        assert (ours.iterations, ours.held_out) == (theirs.iterations, theirs.held_out)
        assert ours.validation_iterations == theirs.validation_iterations
        np.testing.assert_array_equal(ours.normalisation.mean, theirs.normalisation.mean)
        np.testing.assert_array_equal(ours.normalisation.std, theirs.normalisation.std)
    first = weights(root, "naive")
    write_series(root / "series.h5", NpyFolder(root / "fields"))
    stream(tools, root, "data.split.validation=0.2", path="series.h5", data="openpmd")
    assert same(weights(root, "naive"), first)


class Interrupted(Tracker):
    """Ends the training as Ctrl-C would, in the middle of a step's batches."""

    def __init__(self, after: int = 8) -> None:
        self.after = after

    def losses(self, run: Any, first_step: int, losses: Any) -> None:
        if first_step >= self.after:
            raise KeyboardInterrupt


class BrokenOff(Tracker):
    """Hears which runs did not come to their end."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def broke_off(self, run: Any) -> None:
        self.names.append(run.recipe.method_name)


@pytest.mark.parametrize(
    "method, more",
    [
        ("naive", ["training.schedule=inverse_sqrt", "training.warmup_steps=3"]),
        ("agem", ["training.mirror=[x,z]"]),
        ("experience_replay", ["training.accumulate=2", "training.mix_iterations=2"]),
        ("ewc", ["training.schedule=cosine", "training.averaging=0.9"]),
    ],
)
def test_an_interrupted_call_goes_on_with_the_same_bits(method, more, root, tools) -> None:
    chosen = [f"method={method}", "training.seeds=[0,1]", *more]
    stream(tools, root, *chosen)
    expected = tools.contents(root / f"transit/runs/{method}")
    with pytest.raises(KeyboardInterrupt):
        stream(tools, root, *chosen, tracker=Interrupted())
    stream(tools, root, *chosen)
    found = tools.contents(root / f"transit/runs/{method}")
    log = json.loads(found.pop(LOG))
    expected.pop(LOG)
    assert found == expected
    assert resumed_after(root)
    assert log["iterations"] == STEPS
    assert not log["gaps"]


def test_a_killed_trainer_goes_on_with_the_same_bits_joint_too(root, tools) -> None:
    chosen = ["transit.methods=[agem,joint]", "transit.batches_per_iteration=30"]
    stream(tools, root, *chosen)
    expected = tools.contents(root / "transit/runs")
    command = [sys.executable, "-m", "insituml_pipelines.stream", *overrides(*chosen)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL)
    try:
        wait_for(lambda: list(root.glob(f".partial/stream-*/{RESUME}")), process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    (point,) = root.glob(f".partial/stream-*/{RESUME}")
    assert json.loads(point.read_text())["iteration"] < 1300
    stream(tools, root, *chosen)
    found = tools.contents(root / "transit/runs")
    assert resumed_after(root)
    assert found == expected  # the log too


def wait_for(condition: Any, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "it ended too soon"
        assert time.monotonic() < deadline
        time.sleep(0.001)


def plan_and_die(file: Path) -> Any:
    """Plan; then let the producer die where it would read a file that is lost."""

    def planned(call: Any) -> Any:
        prepared = plan(call)
        file.unlink()
        events = prepared.ring.events

        def until_it_is_read(after: int | None = None) -> Any:
            for event in events(after):
                if isinstance(event, Rejected):
                    yield ProducerDied(event.reason)
                    return
                yield event

        prepared.ring.events = until_it_is_read
        return prepared

    return planned


def test_after_the_producers_death_all_is_evaluated_and_the_same_command_goes_on(
    root, tools, capsys, monkeypatch, drawn_here, only_shared_drawn
) -> None:
    more = ["transit.batches_after_death=3"]
    stream(tools, root, *more)
    undisturbed = weights(root, "naive")
    file = root / "fields/data_800.npy"
    content = file.read_bytes()

    monkeypatch.setattr("insituml_pipelines.stream.plan", plan_and_die(file))
    with pytest.raises(SystemExit) as ended:
        run(tools, root, *more)
    assert ended.value.code == DIED
    said = capsys.readouterr().out
    assert "the producer died (" in said
    assert "goes on from memory for 3 batches" in said
    assert "the same command goes on" in said
    assert "all of this is of 2 of the 3 tasks" in said
    names = read_tasks(root / "transit/data/tasks").manifest.task_names
    assert names == ["iterations 0–400", "iterations 500–900"]
    assert (root / "transit/figures/leaderboard.png").exists()
    steps = load_checkpoint(root / "transit/runs/naive/seed_0/task_1.pt").metadata["steps"]
    assert steps % 2 == 1  # three batches more
    file.write_bytes(content)
    stream(tools, root, *more)
    assert same(weights(root, "naive"), undisturbed)
    assert log(root)["ending"] == "the producer finished"


def test_what_was_left_before_the_first_resume_point_counts_for_nothing(root, tools) -> None:
    with pytest.raises(KeyboardInterrupt):
        stream(tools, root, tracker=Interrupted(after=0))
    assert list(root.glob(".partial/stream-*/naive/seed_0/initial.pt"))
    for file in (root / "fields").iterdir():  # another simulation
        np.save(file, 3 * np.load(file))
    stream(tools, root)
    found = weights(root, "naive")
    shutil.rmtree(root / "transit")
    stream(tools, root)
    assert same(found, weights(root, "naive"))


def test_methods_that_learned_other_steps_are_not_compared(root, tools, monkeypatch) -> None:
    def learn_and_evaluate(method: str) -> list[str]:
        stream(tools, root, f"method={method}")
        files = read_tasks(root / "transit/data/tasks")
        evaluate_method(method, files, root / "transit", Tracker())
        return comparable(root / "transit", method)

    assert learn_and_evaluate("naive") == ["naive"]
    assert learn_and_evaluate("ewc") == ["ewc", "naive"]
    (root / "fields/data_1200.npy").rename(root / "away.npy")
    iterations = [100 * k for k in range(STEPS)]
    monkeypatch.setattr("insituml_pipelines.transit.prepared._iterations", lambda *_: iterations)
    assert learn_and_evaluate("agem") == ["agem"]


@pytest.mark.parametrize(
    "number, more, expected",
    [
        (0, [], r"the producer died .* before any task had both an iteration to train on and one"),
        (1100, ["transit.methods=[naive,mas]", "method=mas", "method.strength=1e300"], "diverged"),
    ],
    ids=["nothing to evaluate", "diverged"],
)
def test_a_death_has_its_exit_code_whatever_else_happened(
    number, more, expected, root, tools, monkeypatch, nothing_drawn
) -> None:
    monkeypatch.setattr(
        "insituml_pipelines.stream.plan", plan_and_die(root / f"fields/data_{number}.npy")
    )
    with pytest.raises(UserError, match=expected) as caught:
        run(tools, root, *more)
    assert caught.value.code == DIED


def test_runs_that_do_not_come_to_their_end_are_recorded_so(root, tools, monkeypatch) -> None:
    chosen = ["transit.methods=[naive,mas]", "method=mas", "method.strength=1e300"]
    tracker = BrokenOff()
    stream(tools, root, *chosen, tracker=tracker)
    assert tracker.names == ["mas"]
    tracker = BrokenOff()
    with pytest.raises(KeyboardInterrupt):
        stream(tools, root, *chosen, tracker=Interrupted(after=14))
    stream(tools, root, *chosen, tracker=tracker)  # where it diverged lies behind
    assert tracker.names == ["mas"]
    tracker = BrokenOff()
    file = root / "fields/data_1100.npy"
    call = tools.invoke(root, SECTIONS, *overrides("transit.methods=[ewc,naive]"))
    prepared = plan_and_die(file)(call)
    learn(prepared, tracker)
    assert tracker.names == ["ewc", "naive"]


class StopsProducer(Tracker):
    """Stops the producing process once training has begun."""

    def __init__(self, process: int) -> None:
        self.process = process

    def losses(self, run: Any, first_step: int, losses: Any) -> None:
        if first_step == 0:
            os.kill(self.process, signal.SIGSTOP)


def test_a_producer_that_stalls_ends_the_stream_and_the_same_command_goes_on(root, tools) -> None:
    stream(tools, root)
    undisturbed = weights(root, "naive")
    # With two slots it cannot be done before the first task is learned.
    chosen = overrides("transit.slots=2", "transit.stall_timeout=2")
    prepared = plan(tools.invoke(root, SECTIONS, *chosen))
    (producer,) = multiprocessing.active_children()
    assert producer.pid is not None
    training, code = learn(prepared, StopsProducer(producer.pid))
    assert code == STALLED != DIED
    assert not multiprocessing.active_children()
    finish(prepared, training, root / "transit")
    assert read_tasks(root / "transit/data/tasks").manifest.task_names[0] == "iterations 0–400"
    assert log(root)["ending"] == "the producer stalled (nothing for 2 s)"
    stream(tools, root)
    assert same(weights(root, "naive"), undisturbed)
    assert log(root)["ending"] == "the producer finished"


def test_bad_iterations_are_named_and_left_out_or_end_the_run(root, tools, capsys) -> None:
    poison(root, 6)
    poison(root, 11, np.inf)
    stream(tools, root)
    assert [entry[0] for entry in log(root)["rejected"]] == [600, 1100]
    assert log(root)["iterations"] == STEPS - 2
    assert not log(root)["gaps"]
    assert "iteration 600 is left out: 1 NaN and 0 infinite" in capsys.readouterr().out
    undisturbed = weights(root, "naive")
    for _ in range(2):  # the same command comes to the same step again
        with pytest.raises(UserError, match=r"iteration 600 cannot be learned from: 1 NaN.*skip"):
            stream(tools, root, "transit.on_bad_iteration=fail")
    stream(tools, root)
    assert resumed_after(root)
    assert [entry[0] for entry in log(root)["rejected"]] == [600, 1100]
    assert same(weights(root, "naive"), undisturbed)


def test_a_file_that_is_lost_on_the_way_is_one_bad_iteration(root, tools, capsys) -> None:
    prepared = plan(tools.invoke(root, SECTIONS, *overrides()))
    (root / "fields/data_800.npy").unlink()
    training, code = learn(prepared, Tracker())
    assert code == 0
    assert [entry[0] for entry in training.log.rejected] == [800]
    assert training.log.iterations == STEPS - 1
    assert "iteration 800 is left out" in capsys.readouterr().out


def test_bad_iterations_outside_the_tasks_do_no_harm(root, tools) -> None:
    poison(root, 1)
    poison(root, 11)
    stream(tools, root, "transit.iterations=[200,1000,100]", "transit.on_bad_iteration=fail")
    assert log(root)["rejected"] == []
    assert log(root)["outside"] == 3
    assert "the producer goes on" in log(root)["ending"]


def test_iterations_that_are_missing_are_named(root, tools) -> None:
    for number in (4, 5, 9):
        (root / f"fields/data_{100 * number}.npy").unlink()
    stream(tools, root, "transit.iterations=[0,1300,100]")
    assert [entry[:2] for entry in log(root)["gaps"]] == [[400, 500], [900, 900]]
    assert log(root)["lost"] == 3


def test_tasks_that_cover_less_than_the_stream_end_it_early(root, tools) -> None:
    stream(tools, root, "transit.iterations=[200,1000,100]")
    assert log(root)["iterations"] == 9
    assert log(root)["outside"] == 3  # two before, and the one that shows that all is over
    names = read_tasks(root / "transit/data/tasks").manifest.task_names
    assert names[0].startswith("iterations 200–")
    assert names[-1].endswith("–1000")


def test_joint_keeps_the_stream_and_trains_as_from_files(root, tools) -> None:
    """As many batches, and the bits of the same call of the library."""
    stream(tools, root, "transit.methods=[naive,joint]", "transit.batches_per_iteration=4")
    joint, naive = (
        load_checkpoint(root / f"transit/runs/{method}/seed_0/task_2.pt").metadata
        for method in ("joint", "naive")
    )
    samples = sum(t.train for t in read_tasks(root / "transit/data/tasks").manifest.tasks)
    assert joint["steps"] == 3 * -(-samples // 3)  # 4 batches of 3 for 4 samples: 3 epochs
    assert abs(joint["steps"] - naive["steps"]) <= 3
    plain = weights(root, "joint")
    stream(
        tools, root, "method=joint", "transit.batches_per_iteration=4", "training.mix_iterations=2"
    )
    mixed = load_checkpoint(root / "transit/runs/joint/seed_0/task_2.pt")
    # Counted as if nothing was mixed.
    counted = ("steps", "samples_seen", "samples_replayed", "flops")
    assert [mixed.metadata[key] for key in counted] == [joint[key] for key in counted]
    assert not same(mixed.state_dict(), plain)


def test_waiting_time_is_used_only_when_asked_for(root, tools, monkeypatch) -> None:
    def steps() -> int:
        return load_checkpoint(root / "transit/runs/naive/seed_0/task_2.pt").metadata["steps"]

    stream(tools, root)
    least = steps()
    for ready, expected in ((True, least), (False, 25 * least)):
        monkeypatch.setattr(RingSource, "ready", lambda ring, ready=ready: ready)
        stream(tools, root, "transit.max_batches_per_iteration=50")
        assert steps() == expected


def test_a_run_that_diverges_leaves_the_others_alone(root, tools, capsys, nothing_drawn) -> None:
    stream(tools, root)
    alone = weights(root, "naive")
    more = ["method=mas", "method.strength=1e300", "transit.methods=[naive,mas]"]
    with pytest.raises(UserError, match="mas seed 0 diverged and dropped out"):
        run(tools, root, *more)
    assert "drops out: the loss became" in capsys.readouterr().out
    assert same(weights(root, "naive"), alone)
    assert not (root / "transit/runs/mas").exists()


@pytest.mark.parametrize(
    "wrong, expected",
    [
        (["transit.methods=[naive,ewcc]"], "Could not find 'method/ewcc'"),
        (["transit.slots=1"], "transit.slots is 1"),
        (["transit.held_out_bytes=100"], "one held-out iteration of each of 3 tasks takes 1,152"),
        (["transit.iterations=[0,100]"], "transit.iterations"),
        (["transit.iterations=[100,0,1]"], r"expected \[first,last,period\]"),
        (["data.split.chunk=[3,4,2]"], "does not divide the grid"),
        (["data.split.tasks=30"], "30 tasks of 14 iterations"),
        (["data.path=nowhere"], "nowhere"),
        (["method=ewc", "transit.methods=[naive]"], "method=ewc is for method=ewc, which is not"),
    ],
)
def test_a_mistake_is_one_clear_error(wrong, expected, root, tools) -> None:
    with pytest.raises(UserError, match=expected) as caught:
        stream(tools, root, *wrong)
    assert "\n" not in str(caught.value)
    assert not (root / "transit").exists()


def test_the_converged_bound_trains_on_the_whole_stream_when_it_has_ended(root, tools) -> None:
    bound = ["method=joint_converged", "method.patience=1", "method.fewest_epochs=1"]
    bound.append("method.cumulative_start=false")
    with pytest.raises(UserError, match=r"there is none; set data\.split\.validation"):
        plan(tools.invoke(root, SECTIONS, *overrides(*bound)))
    stream(tools, root, "data.split.validation=0.2", *bound, "method.max_epochs=3")
    path = root / "transit/runs/joint_converged/seed_0/task_2.pt"
    metadata = load_checkpoint(path).metadata
    # Two iterations of four chunks to train on in each of three tasks, three a batch.
    assert metadata["steps"] == 3 * 8
    assert metadata["note"].startswith("not converged: max_epochs=3")


@pytest.mark.parametrize("kind", ["points", "images"])
def test_points_and_images_stream_and_come_out_as_from_files(
    kind, root, tools, drawn_here, monkeypatch
) -> None:
    """The held-out samples are those of the split stage, up to the order in which they come."""
    draw_only("agem", monkeypatch)
    data = {"points": tools.points_data, "images": tools.images_data}[kind](validation=0.05)
    files = tools.make_stream(data, root)
    chosen = {
        "points": [
            "data=toy8",
            "data.source.points=16",
            "data.source.iterations=7",
            "data.source.duration=6.0",
            "data.split.tasks=3",
            "data.split.holdout=0.25",
        ],
        "images": ["data=digits", "data.split.groups=[[0,3],[7]]", "data.split.holdout=0.9"],
    }[kind]
    size = "transit.samples_per_iteration=9"
    methods = "transit.methods=[naive,ewc,agem,experience_replay,joint]"
    chosen.append("data.split.validation=0.05")
    main(tools.invoke(root, SECTIONS, *chosen, *TINY, size, methods))
    held_out = read_tasks(root / "transit/data/tasks")
    assert held_out.manifest.in_transit
    assert held_out.manifest.title == f"{data.name} in transit"
    for k, (ours, theirs) in enumerate(
        zip(held_out.manifest.tasks, files.manifest.tasks, strict=True)
    ):
        assert (ours.name, ours.train, ours.test) == (theirs.name, theirs.train, theirs.test)
        assert ours.validation == theirs.validation > 0
        parts = ("test", "validation")
        for name in (f"{part}_{column}" for part in parts for column in ("inputs", "labels")):
            np.testing.assert_allclose(held_out.array(k, name), files.array(k, name), atol=1e-5)
    assert (root / "transit/figures/leaderboard.png").exists()
    assert (root / "transit/figures/reconstructions_agem.png").exists()


def test_an_interrupted_stream_of_samples_goes_on_with_the_same_bits(root, tools) -> None:
    chosen = ["data=toy8", "data.source.points=16", *TINY, "transit.samples_per_iteration=9"]

    def follow(tracker: Tracker) -> None:
        prepared = plan(tools.invoke(root, SECTIONS, *chosen))
        training, _ = learn(prepared, tracker)
        finish(prepared, training, root / "transit")
        shutil.rmtree(prepared.folder)

    follow(Tracker())
    expected = weights(root, "naive", task=4)
    with pytest.raises(KeyboardInterrupt):
        follow(Interrupted(after=20))
    follow(Tracker())
    assert resumed_after(root)
    assert same(weights(root, "naive", task=4), expected)


def test_iterations_are_not_given_to_streams_that_know_theirs(root, tools) -> None:
    with pytest.raises(UserError, match=r"transit\.iterations is for streams of fields; data=toy8"):
        main(tools.invoke(root, SECTIONS, "data=toy8", *TINY, "transit.iterations=[0,5,1]"))


def test_a_sweep_returns_the_final_error_of_each_job(
    root, tools, drawn_here, only_shared_drawn
) -> None:
    from dataclasses import replace

    call = tools.invoke(root, SECTIONS, *overrides(), "part=test")
    error = main(replace(call, output=root / "multirun/0"))
    assert error is not None
    assert error > 0
    assert (root / "multirun/0/transit/figures/leaderboard.png").exists()


def test_the_default_section_is_accepted(tools, tmp_path) -> None:
    section = tools.invoke(tmp_path, SECTIONS).section("transit")
    assert Transit.model_validate(section).slots >= 2
