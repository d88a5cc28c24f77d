"""One run: the same bytes each time, also when it was interrupted in between."""

from __future__ import annotations

import dataclasses
import json
import shutil
from importlib.metadata import version

import pytest
import torch

from insituml import load_checkpoint
from insituml.checkpoint_file import drop_training_state
from insituml.training import EpochRecord, TaskRecord
from insituml_pipelines.runs.recipe import source_digest
from insituml_pipelines.runs.run import INITIAL, TIMINGS, Run
from insituml_pipelines.runs.worker import settings_of, train_run

METHODS = ["naive", "joint", "ewc", "agem", "experience_replay"]


def train(run: Run) -> list[object]:
    heard: list[object] = []
    train_run(run, lambda _, record: heard.append(record))
    return heard


def checkpoints(run: Run) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(run.folder.glob("*.pt"))}


COSINE = {"schedule": "cosine", "warmup_steps": 3, "averaging": 0.9}
INVERSE = {"schedule": "inverse_sqrt", "warmup_steps": 3}
BUDGET = {"budget": 31, "accumulate": 2}
RUNS = [*((method, {}) for method in METHODS), ("ewc", COSINE), ("joint", COSINE)]


@pytest.mark.parametrize("method, more", [*RUNS, ("naive", INVERSE), ("agem", BUDGET)])
def test_a_repeated_and_a_resumed_run_write_the_same_bytes(
    method, more, tools, make_run, tmp_path
) -> None:
    training = {**tools.TRAINING, **more}
    whole, again, killed = (
        make_run(method, folder=tmp_path / name, training=training)
        for name in ("whole", "again", "killed")
    )
    heard = train(whole)
    train(again)
    expected = checkpoints(whole)
    assert list(expected) == [INITIAL, "task_0.pt", "task_1.pt", "task_2.pt"]
    assert checkpoints(again) == expected

    def die(_: Run, record: object) -> None:
        if isinstance(record, EpochRecord) and record.task == 1:
            raise KeyboardInterrupt  # half way, before the task is done

    with pytest.raises(KeyboardInterrupt):
        train_run(killed, die)
    assert killed.finished_tasks() == 1
    (killed.folder / ".task_1.pt.half").write_bytes(b"what a killed run was writing")
    resumed = train(killed)
    assert checkpoints(killed) == expected
    assert {path.name for path in killed.folder.iterdir()} == {*expected, "timings.json"}
    # What is said from there on is what the whole run said.
    tail = [r for r in heard if isinstance(r, EpochRecord) and r.task >= 1]
    assert [r for r in resumed if isinstance(r, EpochRecord)] == tail
    assert train(killed) == []  # nothing is left to do


def test_a_damaged_last_checkpoint_is_trained_again(make_run, capsys) -> None:
    run = make_run("experience_replay")
    train(run)
    expected = checkpoints(run)
    for task in (1, 2):
        file = run.checkpoint(task)
        file.write_bytes(expected[file.name][:-100])
    heard = train(run)
    assert checkpoints(run) == expected
    assert [r.task for r in heard if isinstance(r, TaskRecord)] == [1, 2]
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert "task_1.pt is damaged. It is dropped, and its task trained again" in said


def spoiled(run: Run, how: str, other: Run) -> None:
    """Do to the folder of a run what disks, people and crashes do."""
    first, last = run.checkpoint(0), run.checkpoint(2)
    if how == "a folder":
        last.unlink()
        last.mkdir()
    elif how == "missing":
        first.unlink()
    elif how == "of another task":
        shutil.copy(run.checkpoint(1), last)
    elif how == "of another seed":
        shutil.copy(other.checkpoint(2), last)
    elif how == "without state":
        drop_training_state(last)
    elif how == "no timings":
        (run.folder / TIMINGS).unlink()
    elif how == "timings cut short":
        (run.folder / TIMINGS).write_text('{"0": {"steps"')
    elif how == "timings are a folder":
        (run.folder / TIMINGS).unlink()
        (run.folder / TIMINGS).mkdir()
        last.unlink()
    elif how == "no untrained model":
        run.initial.unlink()
    elif how == "untrained model empty":
        run.initial.write_bytes(b"")
    elif how == "a folder half written":
        (run.folder / ".task_2.pt.x").mkdir()


@pytest.mark.parametrize(
    "how, retrained",
    [
        ("a folder", [2]),
        ("missing", [0, 1, 2]),
        ("of another task", [2]),
        ("of another seed", [2]),
        ("without state", [2]),
        ("no timings", []),
        ("timings cut short", []),
        ("timings are a folder", [2]),
        ("no untrained model", []),
        ("untrained model empty", []),
        ("a folder half written", []),
    ],
)
def test_training_goes_on_from_what_is_whole(how, retrained, make_run, tmp_path) -> None:
    run, other = make_run("ewc", 0), make_run("ewc", 1)
    train(run)
    train(other)
    expected = checkpoints(run)
    spoiled(run, how, other)
    assert [r.task for r in train(run) if isinstance(r, TaskRecord)] == retrained
    assert checkpoints(run) == expected
    assert run.timing().keys() == {"seconds", "steps", "seconds_per_step", "side_by_side"}


def test_a_checkpoint_tells_everything_about_its_run(make_run, points) -> None:
    run = make_run("ewc", seed=3)
    heard = train(run)
    state = torch.load(run.checkpoint(1), weights_only=True)
    assert state["model_class"] == "insituml.models.mlp:MLP"
    assert state["model_arguments"]["hidden_sizes"] == [6]
    training = state["training"]
    assert training["method_class"] == "insituml.methods.ewc:EWC"
    assert training["method"].keys() > {"generator"}
    assert training["optimizer"]["param_groups"][0]["lr"] == 0.01
    assert len(training["optimizer"]["state"]) == len(state["weights"])
    assert training["generator"].dtype == torch.uint8
    metadata = state["metadata"]
    losses = [x for r in heard if isinstance(r, EpochRecord) and r.task <= 1 for x in r.losses]
    assert metadata["loss_history"] == losses
    assert metadata["steps"] == len(losses)
    assert (metadata["task"], metadata["task_name"]) == (1, "iterations 3–4")
    assert (metadata["seed"], metadata["method_name"]) == (3, "ewc")
    assert metadata["sequential"] is True
    assert metadata["memory_bytes"] > 0
    for section in ("model", "method", "optimizer"):
        assert metadata[section] == getattr(run.recipe, section)
    assert metadata["data"] == points.manifest.fingerprint
    assert metadata["manifest"] == points.manifest.to_plain()
    assert (metadata["keeps_all_data"], metadata["is_bound"]) == (False, False)
    assert metadata["code"] == source_digest()
    assert metadata["versions"]["torch"] == version("torch")
    assert metadata["versions"].keys() >= {"insituml", "python", "numpy"}
    learner = load_checkpoint(run.checkpoint(1))
    assert learner.metadata == metadata
    untrained = load_checkpoint(run.initial).metadata
    assert (untrained["task"], untrained["steps"], untrained["loss_history"]) == (-1, 0, [])
    timings = json.loads((run.folder / "timings.json").read_text())
    assert sum(t["steps"] for t in timings.values()) == learner.metadata["steps"] + sum(
        r.steps for r in heard if isinstance(r, TaskRecord) and r.task == 2
    )


def test_methods_of_one_seed_start_alike_and_seeds_differ(make_run) -> None:
    def start(*arguments, **options) -> tuple[bytes, bytes]:
        learner, _, _, order = make_run(*arguments, **options).recipe.build()
        weights = torch.cat([p.detach().flatten() for p in learner.parameters()])
        return weights.numpy().tobytes(), order.get_state().numpy().tobytes()

    first = start("naive", 0)
    assert start("agem", 0) == first
    assert all(a != b for a, b in zip(start("naive", 1), first, strict=True))
    ambient = torch.get_rng_state()
    make_run().recipe.build()
    assert torch.equal(torch.get_rng_state(), ambient)


def test_the_first_task_is_learned_alike_by_methods_that_only_remember(make_run) -> None:
    weights = []
    for method in ("naive", "ewc", "experience_replay", "agem"):
        run = make_run(method)
        train(run)
        weights.append(load_checkpoint(run.checkpoint(0)).state_dict())
    for other in weights[1:]:
        assert all(torch.equal(other[name], value) for name, value in weights[0].items())


def test_partial_work_is_kept_by_all_that_it_depends_on(make_run) -> None:
    run = make_run("ewc").recipe

    def key(**changes: object) -> str:
        return dataclasses.replace(run, **changes).identity().fingerprint

    others = {**run.training, "workers": 7, "seeds": [4, 5]}
    assert settings_of(others) == settings_of(run.training)
    same = {key()}
    different = [
        key(seed=1),
        key(method_name="other"),
        key(data_fingerprint="0" * 64),
        key(model={**run.model, "latent_size": 3}),
        key(method={**run.method, "strength": 5.5}),
        key(optimizer={**run.optimizer, "lr": 0.02}),
        *(
            key(training={**run.training, name: value})
            for name, value in [
                ("epochs", 4),
                ("batch_size", 7),
                ("max_gradient_norm", None),
                ("threads", 2),
                ("device", "cuda"),
            ]
        ),
    ]
    assert len({*different, *same}) == len(different) + 1


def test_the_code_that_ran_is_part_of_the_identity(make_run, monkeypatch) -> None:
    run = make_run().recipe
    before = run.identity().fingerprint
    monkeypatch.setattr("insituml_pipelines.runs.recipe.source_digest", lambda *nodes: "0" * 64)
    assert run.identity().fingerprint != before
