"""The train stage: a killed run goes on and ends with the same bits."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from insituml import load_checkpoint
from insituml.training import EpochRecord
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.task_files import read_tasks
from insituml_pipelines.common.workers import WorkerDiedError
from insituml_pipelines.evaluate import SECTIONS as EVALUATE
from insituml_pipelines.evaluate import main as evaluate
from insituml_pipelines.runs.run import checkpoint_path
from insituml_pipelines.runs.worker import train_run
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.train import SECTIONS, main, plan, train_method

ROOT = Path(__file__).parents[2]
TINY = ["experiment=toy8", "tracking=none", "model.hidden_sizes=[6]", "training.epochs=1"]
INLINE = [*TINY, "training.workers=0"]


@pytest.fixture
def root(points, tmp_path, monkeypatch) -> Path:
    """A folder with a split stream in it, and nothing else."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/tasks").symlink_to(points.folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_results_are_moved_when_all_seeds_are_whole(root, tools, capsys) -> None:
    call = tools.invoke(root, SECTIONS, *INLINE, "method=agem", "training.seeds=[0,4]")
    assert main(call) is None
    names = {path.name for path in (root / "runs/agem/seed_4").iterdir()}
    assert names == {"initial.pt", "task_0.pt", "task_1.pt", "task_2.pt"}
    assert {path.name for path in (root / "runs/agem").iterdir()} == {"seed_0", "seed_4"}
    assert list((root / ".partial").iterdir()) == []
    assert {path.name for path in root.iterdir()} == {"data", ".partial", "runs", "timings"}
    timings = json.loads((root / "timings/agem.json").read_text())
    assert timings.keys() == {"0", "4"}
    assert all(t["seconds"] > 0 and t["steps"] > 0 for t in timings.values())
    said = capsys.readouterr().out
    assert said.count("train: agem seed 4 task ") == 3  # one line a task, with its numbers
    assert "loss " in said
    # A second time: the same bytes, and nothing of the first.
    first = tools.contents(root / "runs")
    (root / "runs/agem/seed_9").mkdir()
    main(call)
    assert tools.contents(root / "runs") == first


def test_seeds_of_an_earlier_call_do_not_get_in_the_way(root, tools) -> None:
    """Interrupted with three seeds, called again with two: the third one's work stays."""
    _, runs = plan(tools.invoke(root, SECTIONS, *INLINE, "training.seeds=[0,1,2]"))

    class Enough(Exception):
        pass

    class Stop(Tracker):
        def losses(self, run, first_step, losses) -> None:
            if run.recipe.seed == 2:
                raise Enough

    with pytest.raises(Enough):
        train_method(runs, 0, 1, root, Stop())
    assert not (root / "runs").exists()
    main(tools.invoke(root, SECTIONS, *INLINE, "training.seeds=[0,1]"))
    assert {path.name for path in (root / "runs/naive").iterdir()} == {"seed_0", "seed_1"}
    assert runs[2].folder.exists()


def test_partial_work_of_another_configuration_is_not_used(root, tools) -> None:
    def folder(*overrides: str) -> Path:
        _, (run, *_) = plan(tools.invoke(root, SECTIONS, *INLINE, *overrides))
        return run.folder

    base = folder()
    assert folder() == folder("training.workers=2") == folder("training.seeds=[0,1,2]") == base
    assert base.parts[0] == ".partial"
    changed = {
        folder("training.epochs=2"),
        folder("model.latent_size=3"),
        folder("optimizer.lr=0.1"),
        folder("method=ewc"),
        folder("method=ewc", "method.strength=3"),
        folder("training.threads=2"),
    }
    assert len(changed | {base}) == 7
    info = json.loads((root / "data/tasks/stream.json").read_text())
    tasks = (root / "data/tasks").resolve()
    (root / "data/tasks").unlink()
    shutil.copytree(tasks, root / "data/tasks")
    (root / "data/tasks/stream.json").write_text(json.dumps({**info, "fingerprint": "f" * 64}))
    assert folder() not in changed | {base}


def test_a_diverging_run_is_a_clear_error(root, tools) -> None:
    call = tools.invoke(
        root,
        SECTIONS,
        *INLINE,
        "optimizer=sgd",
        "optimizer.lr=1e30",
        "training.max_gradient_norm=null",
        "training.epochs=4",
    )
    with pytest.raises(UserError, match=r"method=naive: the loss became (nan|inf)"):
        main(call)


def test_a_killed_worker_is_a_clear_error(root, tools, monkeypatch) -> None:
    def broken(*arguments: object) -> None:
        raise WorkerDiedError("a worker was killed; run the same command again")

    monkeypatch.setattr("insituml_pipelines.runs.pool.train_all", broken)
    with pytest.raises(UserError, match=r"a worker was killed.*fewer training\.workers"):
        main(tools.invoke(root, SECTIONS, *INLINE))


def test_a_sweep_job_returns_its_error_on_the_validation_part(validated, tools) -> None:
    """Into its own folder; no file of the test part is opened."""
    root, job = validated, validated / "multirun/0"
    hidden = {file: file.read_bytes() for file in root.rglob("test_*.npy")}
    for file in hidden:
        file.write_text("no array")
    call = tools.invoke(root, SECTIONS, *INLINE, "training.seeds=[0]")
    error = main(dataclasses.replace(call, output=job))
    summary = json.loads((job / "validation/naive/summary.json").read_text())
    assert summary["part"] == "validation"
    assert error == summary["mean"]["final_average_error"]
    assert {path.name for path in root.iterdir()} == {"data", ".partial", "multirun"}
    assert {path.name for path in job.iterdir()} == {"runs", "timings", "validation"}
    # It is the mean over the tasks of the last row, of these samples and no others.
    tasks = read_tasks(root / "data/tasks").tasks(("validation",))
    learner = load_checkpoint(job / "runs/naive/seed_0/task_2.pt").eval()
    with torch.no_grad():
        errors = [(learner(t.validation[0])[1] - t.validation[0]).square().mean() for t in tasks]
    assert error == pytest.approx(float(sum(errors)) / 3, rel=1e-5)
    # The test part alone if it is asked for.
    for file, content in hidden.items():
        file.write_bytes(content)
    call = tools.invoke(root, SECTIONS, *INLINE, "training.seeds=[0]", "part=test")
    tested = main(dataclasses.replace(call, output=job))
    summary = json.loads((job / "evaluations/naive/summary.json").read_text())
    assert tested == summary["mean"]["final_average_error"] != error


def test_a_sweep_without_a_validation_part_says_so_before_it_trains(root, tools) -> None:
    call = dataclasses.replace(tools.invoke(root, SECTIONS, *INLINE), output=root / "multirun/0")
    with pytest.raises(UserError, match=r"data\.split\.validation.*or say part=test"):
        main(call)
    assert not (root / ".partial").exists()
    with pytest.raises(UserError, match="part is 'train'; expected validation or test"):
        main(dataclasses.replace(tools.invoke(root, SECTIONS, *INLINE, "part=train"), output=root))


def test_evaluation_keeps_the_two_parts_apart(validated, tools, capsys) -> None:
    main(tools.invoke(validated, SECTIONS, *INLINE, "training.seeds=[0]"))
    evaluate(tools.invoke(validated, EVALUATE, "tracking=none", "method=naive"))
    assert ", on the validation part " in capsys.readouterr().out
    folder = validated / "evaluations/naive"
    tested, selecting = (
        pd.read_csv(folder / name) for name in ("loss_matrix.csv", "validation_loss_matrix.csv")
    )
    assert tested.shape == selecting.shape
    for file in validated.rglob("test_*.npy"):
        file.unlink()
    before = tools.contents(folder)
    call = tools.invoke(validated, EVALUATE, "tracking=none", "method=naive", "part=validation")
    evaluate(call)
    alone = pd.read_csv(validated / "validation/naive/loss_matrix.csv")
    pd.testing.assert_frame_equal(alone, selecting)
    assert not alone["value"].equals(tested["value"])
    assert tools.contents(folder) == before
    with pytest.raises(UserError, match=r"test_inputs.npy is missing"):
        evaluate(tools.invoke(validated, EVALUATE, "tracking=none", "method=naive"))


def test_there_may_be_no_validation_part_to_evaluate(root, tools) -> None:
    main(tools.invoke(root, SECTIONS, *INLINE, "training.seeds=[0]"))
    evaluate(tools.invoke(root, EVALUATE, "tracking=none", "method=naive"))
    assert not (root / "evaluations/naive/validation_loss_matrix.csv").exists()
    with pytest.raises(UserError, match=r"has no validation part of every task; set data\.split"):
        evaluate(tools.invoke(root, EVALUATE, "tracking=none", "method=naive", "part=validation"))


KIND = "method.memory._target_=insituml.memory."
REPLAY = ["method=experience_replay", "training.memory_size=9", "training.seeds=[0]"]


def replay_memory(root: Path, tools, *overrides: str) -> dict:
    """Return the memory's state at the end of a training run."""
    main(tools.invoke(root, SECTIONS, *INLINE, *REPLAY, *overrides))
    file = root / "runs/experience_replay/seed_0/task_2.pt"
    return torch.load(file, weights_only=True)["training"]["method"]["memory"]


def test_the_kind_of_memory_is_chosen_on_the_command_line(root, tools) -> None:
    ring = replay_memory(root, tools, f"{KIND}RingMemory")
    assert ring["task_of_row"].tolist() == [2] * 9  # a task has more than nine samples
    quota = replay_memory(root, tools, f"{KIND}QuotaMemory", "method.memory.dtype=float16")
    assert quota["task_of_row"].sort().values.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert quota["storage"]["columns"][0].dtype == torch.float16
    options = [f"{KIND}HerdingMemory", "+method.memory.selection=nearest", "method.store=latent"]
    herding = replay_memory(root, tools, *options, "model.latent_size=3")
    (latents,) = herding["storage"]["columns"]
    assert latents.shape == (9, 3)


def test_the_capacity_of_a_memory_is_given_in_bytes(root, tools) -> None:
    options = [f"{KIND}LossAwareMemory", "+method.memory.exponent=2.0", "method.memory_size=null"]
    memory = replay_memory(root, tools, *options, "method.memory.capacity_bytes=500")
    tensors = [*memory["storage"]["columns"], memory["task_of_row"], memory["keys"]]
    size = sum(t.numel() * t.element_size() for t in tensors)
    assert memory["filled"] == len(memory["keys"]) > 3
    assert 500 - size // len(memory["keys"]) < size <= 500
    with pytest.raises(UserError, match="capacity is None and capacity_bytes None; expected exac"):
        plan(tools.invoke(root, SECTIONS, *INLINE, *REPLAY, "method.memory_size=null"))


def test_a_compressor_that_is_missing_is_one_line(tools, tmp_path, monkeypatch) -> None:
    tools.make_stream(tools.images_data(), tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "zfpy", None)  # what Python takes for a package that is none
    options = ["model=convolutional", "model.channels=[2]", "model.latent_channels=1"]
    options += ["method=compressed_replay", "training.seeds=[0]", "tracking=none"]
    call = tools.invoke(tmp_path, SECTIONS, "experiment=digits", *options, "training.workers=0")
    with pytest.raises(UserError) as error:
        main(call)
    assert str(error.value).startswith("method=compressed_replay: zfpy is not installed")
    assert str(error.value).endswith("pip install 'insituml[compressors]'")
    assert "\n" not in str(error.value)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_sigkill_and_again_gives_the_same_bits(root, tools) -> None:
    """Long enough to be killed in between: one epoch takes milliseconds, so take many."""
    overrides = [*TINY, "training.epochs=100", "method=experience_replay", "training.seeds=[0,1]"]
    command = [sys.executable, "-m", "insituml_pipelines.train", *overrides, "training.workers=2"]
    process = subprocess.Popen(
        command,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 90
    workers: list[int] = []
    try:
        while not list((root / ".partial").glob("*/seed_*/task_0.pt")):
            assert process.poll() is None, "ended before its first checkpoint"
            assert time.monotonic() < deadline
            time.sleep(0.005)
        workers = children(process.pid)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(workers) >= 2
    while any(map(alive, workers)):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.02)
    assert not (root / "runs").exists()
    unfinished = sorted((root / ".partial").glob("*/seed_*"))
    assert unfinished
    assert not all(checkpoint_path(folder, 2).exists() for folder in unfinished)

    main(tools.invoke(root, SECTIONS, *overrides, "training.workers=0"))  # goes on
    resumed = tools.contents(root / "runs")
    (root / "runs").rename(root / "old")
    main(tools.invoke(root, SECTIONS, *overrides, "training.workers=0"))  # from the start
    assert tools.contents(root / "runs") == resumed
    assert len(resumed) == 2 * 4
    weights = torch.load(root / "runs/experience_replay/seed_1/task_2.pt", weights_only=True)
    assert weights["metadata"]["steps"] > 0


def test_too_small_a_budget_is_mentioned(root, tools, capsys) -> None:
    more = ["training.budget=30", "training.batch_size=4", "training.accumulate=2"]
    plan(tools.invoke(root, SECTIONS, *TINY, *more))
    said = capsys.readouterr().err
    assert "has 4 optimizer steps" in said or "has 5 optimizer steps" in said
    assert "budget 30, batches of 8); below about 100" in said
    assert "raise training.budget" in said


@pytest.mark.parametrize("epochs, noted", [(1, True), (40, False)])
def test_too_few_steps_are_mentioned(epochs, noted, root, tools, capsys) -> None:
    plan(tools.invoke(root, SECTIONS, *TINY, f"training.epochs={epochs}", "training.batch_size=8"))
    said = capsys.readouterr().err
    # Its smallest tasks have 24 samples.
    assert ("note: task 1 has 3 optimizer steps (24 samples, 1 epochs" in said) is noted


BOUND = ["method=joint_converged", "method.patience=1", "method.min_improvement=0.9"]
BOUND += ["method.fewest_epochs=1", "method.max_epochs=4"]


@pytest.fixture
def validated(tools, tmp_path, monkeypatch) -> Path:
    """A folder with a split stream in it that has a validation part."""
    tools.make_stream(tools.points_data(validation=0.1), tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_joint_converged_goes_on_where_it_was_stopped_and_is_not_trained_twice(
    validated, tools, capsys
) -> None:
    call = tools.invoke(validated, SECTIONS, *INLINE, *BOUND, "training.seeds=[3]")
    main(call)
    whole = tools.contents(validated / "runs")
    said = capsys.readouterr()
    note = "not converged: max_epochs=4 ended it in round 2"
    assert note in said.out
    assert "below about" not in said.err  # of epochs that it does not have
    last = load_checkpoint(validated / "runs/joint_converged/seed_3/task_2.pt")
    assert last.metadata["note"] == note
    assert last.metadata["is_bound"]
    # The same again: nothing is written.
    times = {p: p.stat().st_mtime_ns for p in validated.rglob("runs/**/*.pt")}
    main(call)
    assert "was trained on the same data in the same way before" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in validated.rglob("runs/**/*.pt")} == times
    # Stopped after its first segment, it ends with the same bits.
    shutil.rmtree(validated / "runs")
    run = plan(call)[1][0]

    def stop(run: Any, record: Any) -> None:
        if isinstance(record, EpochRecord) and record.task == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_run(run, stop)
    assert run.finished_tasks() == 1
    main(call)
    assert "resumes after 1 of 3" in capsys.readouterr().out
    assert tools.contents(validated / "runs") == whole
    # What is damaged, or of another recipe, is no result to stay with.
    file = validated / "runs/joint_converged/seed_3/task_0.pt"
    file.write_bytes(file.read_bytes()[:-9])
    main(call)
    assert tools.contents(validated / "runs") == whole
    main(tools.invoke(validated, SECTIONS, *INLINE, *BOUND, "training.seeds=[3]", "optimizer.lr=1"))
    assert tools.contents(validated / "runs") != whole
    assert "it stays" not in capsys.readouterr().out


def test_training_does_not_open_what_is_to_be_tested(validated, tools) -> None:
    for file in validated.rglob("test_*.npy"):
        file.unlink()
    for method in (["method=joint"], BOUND):
        main(tools.invoke(validated, SECTIONS, *INLINE, *method, "training.seeds=[0]"))
        assert (validated / "runs" / method[0][7:] / "seed_0/task_2.pt").exists()


def test_joint_converged_without_a_validation_part_names_the_key(root, tools) -> None:
    with pytest.raises(UserError, match=r"there is none; set data\.split\.validation"):
        plan(tools.invoke(root, SECTIONS, *INLINE, *BOUND))
