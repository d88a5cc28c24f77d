"""The baseline that brings its own learner, from the files of a stream and from the stream."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from insituml import load_checkpoint, plots
from insituml.models import PrincipalComponents
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.task_files import read_tasks
from insituml_pipelines.evaluate import evaluate_method
from insituml_pipelines.plot import compare
from insituml_pipelines.runs.worker import train_run
from insituml_pipelines.stream import SECTIONS as STREAM
from insituml_pipelines.stream import finish, learn
from insituml_pipelines.stream import plan as plan_stream
from insituml_pipelines.tracking.base import Tracker
from insituml_pipelines.train import SECTIONS, main, plan

BASELINE = "incremental_pca"
TINY = ["tracking=none", "training.epochs=2", "training.seeds=[0,1]", "training.workers=0"]
MLP = ["experiment=toy8", "model.hidden_sizes=[6]", "model.latent_size=1"]

QUIET = """
from insituml.models import PrincipalComponents
from insituml.learner import ContinualLearner

class Quiet(PrincipalComponents):
    observe = ContinualLearner.observe
"""


@pytest.fixture
def root(points, tmp_path, monkeypatch) -> Path:
    """A folder with a split stream in it, and nothing else."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/tasks").symlink_to(points.folder)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _noted(drawn: dict[str, Any], draw: Any, histories: Any, **options: Any) -> Any:
    drawn |= histories
    return draw(histories, **options)


def test_it_stands_in_one_table_with_methods_that_train_another_model(
    root, tools, capsys, monkeypatch
) -> None:
    for method in ("naive", BASELINE):
        main(tools.invoke(root, SECTIONS, *MLP, *TINY, f"method={method}"))
        evaluate_method(method, read_tasks(root / "data/tasks"), root, Tracker())
    said = capsys.readouterr()
    assert "batches observed, no steps" in said.out
    assert said.err.count("optimizer steps") == 1  # few of them, of the other method
    learner = load_checkpoint(root / f"runs/{BASELINE}/seed_1/task_2.pt")
    assert type(learner) is PrincipalComponents
    assert learner.latent_size == 1  # as many as the model beside it has
    files = read_tasks(root / "data/tasks")
    assert int(learner.count) == sum(task.train for task in files.manifest.tasks)
    assert learner.metadata["is_baseline"]
    drawn: dict[str, Any] = {}
    monkeypatch.setattr(plots, "loss_history", partial(_noted, drawn, plots.loss_history))
    compare(["naive", BASELINE], root, root, Tracker())
    assert list(drawn) == ["naive"]  # there are no steps to show of the other
    board = pd.read_csv(root / "results/leaderboard.csv").set_index("method")
    assert board["is_baseline"].to_dict() == {"naive": False, BASELINE: True}
    assert board.loc[BASELINE, "memory_bytes"] == sum(b.nbytes for b in learner.buffers())
    numbers = json.loads((root / "results/metrics.json").read_text())
    expected = board.loc[BASELINE, "final_average_error"]
    assert numbers[BASELINE] == {"final_average_error": pytest.approx(expected)}
    assert (root / f"figures/loss_matrix_{BASELINE}.png").exists()


def test_every_seed_gives_the_same_as_there_is_no_chance_in_it(root, tools) -> None:
    main(tools.invoke(root, SECTIONS, *MLP, *TINY, f"method={BASELINE}"))
    states = [
        load_checkpoint(root / f"runs/{BASELINE}/seed_{seed}/task_2.pt").state_dict()
        for seed in (0, 1)
    ]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_an_interrupted_run_ends_with_the_same_bits(root, tools, tmp_path) -> None:
    call = tools.invoke(root, SECTIONS, *MLP, *TINY, f"method={BASELINE}")
    _, (run, _) = plan(call)

    class Enough(Exception):
        pass

    def stop(run: Any, record: Any) -> None:
        if record.task == 1:
            raise Enough

    run.folder.mkdir(parents=True)
    with pytest.raises(Enough):
        train_run(run, stop)
    assert run.finished_tasks() == 1
    train_run(run, lambda run, record: None)
    resumed = load_checkpoint(run.checkpoint(2))
    main(call)
    whole = load_checkpoint(root / f"runs/{BASELINE}/seed_0/task_2.pt")
    for key, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[key], value), key
    assert whole.metadata["memory_bytes"] == resumed.metadata["memory_bytes"]


@pytest.mark.parametrize(
    "given, error",
    [
        (
            ["experiment=toy8_flow", f"method={BASELINE}"],
            "incremental_pca reconstructs, and ConditionalFlow is judged by nll: .* leave incr",
        ),
        (
            ["experiment=toy8", "model._target_=insituml.models.PrincipalComponents"],
            "PrincipalComponents has no parameter that could learn by gradients, as Naive needs; "
            "method=incremental_pca",
        ),
        (
            [*MLP, f"method={BASELINE}", "method.learner._target_=insituml.models.MLP"],
            "method.learner",
        ),
        (
            [*MLP, f"method={BASELINE}", "method.learner.latent_size=0"],
            "method.learner.latent_size is 0; expected a whole number of at least 1",
        ),
    ],
)
def test_what_cannot_be_is_one_line(given, error, root, tools) -> None:
    with pytest.raises(UserError, match=error) as caught:
        plan(tools.invoke(root, SECTIONS, *TINY, *given))
    assert "\n" not in str(caught.value)


def test_a_learner_that_observes_nothing_is_refused(root, tools, monkeypatch) -> None:
    monkeypatch.syspath_prepend(root)
    (root / "quiet.py").write_text(QUIET)
    chosen = [f"method={BASELINE}", "method.learner._target_=quiet.Quiet"]
    with pytest.raises(UserError, match=r"IncrementalPCA takes no gradients, and Quiet defines no"):
        plan(tools.invoke(root, SECTIONS, *MLP, *TINY, *chosen))


def test_it_learns_beside_others_from_a_stream(tools, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = ["data=lwfa", "data.source.shape=[2,256,2]", "data.source.iterations=8"]
    data += ["data.split.chunk=[2,64,2]", "data.split.tasks=2"]
    model = ["model=mlp", "model.hidden_sizes=[8]", "model.latent_size=3"]
    more = ["transit.batches_per_iteration=2", f"transit.methods=[naive,{BASELINE}]"]
    seeds = ["training.seeds=[0]", "tracking=none"]
    prepared = plan_stream(tools.invoke(tmp_path, STREAM, *data, *model, *more, *seeds))
    training, code = learn(prepared, Tracker())
    assert code == 0
    assert finish(prepared, training, tmp_path) == ["naive", BASELINE]
    files = read_tasks(tmp_path / "data/tasks")
    for method in ("naive", BASELINE):
        evaluate_method(method, files, tmp_path, Tracker())
    compare(["naive", BASELINE], tmp_path, tmp_path, Tracker())
    learner = load_checkpoint(tmp_path / f"runs/{BASELINE}/seed_0/task_1.pt")
    assert learner.latent_size == 3
    assert int(learner.count) == sum(task.train for task in files.manifest.tasks)
    assert learner.metadata["steps"] == len(learner.metadata["loss_history"])
