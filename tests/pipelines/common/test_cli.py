"""A user's mistake costs one line that says what is accepted; nothing is left in the folder."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from insituml_pipelines import split
from insituml_pipelines.common.arguments import Arguments
from insituml_pipelines.common.cli import Invocation, run_stage
from insituml_pipelines.common.composition import check_composition
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.train import plan

ROOT = Path(__file__).parents[3]
TRAINING = "epochs, batch_size, max_gradient_norm, memory_size, reference_size, seeds"


def command(folder: Path, stage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", f"insituml_pipelines.{stage}", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    "override, expected",
    [
        ("training.epoch=3", f"training.epoch does not exist; training accepts: {TRAINING}"),
        ("optimizer.lrr=1", "optimizer.lrr does not exist; optimizer accepts: lr, betas"),
        ("data.source.a00=1", "data.source.a00 does not exist; data.source accepts: shape, iter"),
        ("method=ewcc", "Available options in 'method': agem agem_layerwise "),
        (
            "experiment=nope",
            "Available options in 'experiment': cifar100 digits fbpic islands lwfa mnist",
        ),
        (
            "trainig.epochs=3",
            "trainig.epochs does not exist; the config accepts: part, stream, data",
        ),
        (
            "epochs=3",
            "epochs does not exist; the config accepts: part, stream, data, model, method",
        ),
        ("ewc", "'ewc'"),
        ("training.epochs=[1", "'[1'"),
    ],
)
def test_what_cannot_be_composed(override, expected) -> None:
    with pytest.raises(UserError) as caught:
        check_composition(Arguments([override]))
    assert "\n" not in str(caught.value)
    assert expected in str(caught.value)


def split_in(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """Call the stage as ``python -m`` does, in this process; there are no data: it fails."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["insituml_pipelines.split", *arguments])
    with pytest.raises(SystemExit) as ended:
        run_stage(split.main, split.SECTIONS, "")
    assert ended.value.code == 2


def test_a_sweep_whose_jobs_all_fail_leaves_what_lay_in_its_folder(tmp_path, monkeypatch) -> None:
    earlier = tmp_path / "sweep/results.txt"
    earlier.parent.mkdir()
    earlier.write_text("of an earlier sweep")
    split_in(tmp_path, monkeypatch, "-m", "hydra.sweep.dir=sweep", "data.split.seed=1,2")
    assert earlier.read_text() == "of an earlier sweep"


def test_a_sweep_whose_jobs_all_fail_leaves_no_folder_but_the_users(tmp_path, monkeypatch) -> None:
    here = tmp_path / "empty"
    here.mkdir()
    split_in(here, monkeypatch, "-m", "data.split.seed=1,2")
    assert list(here.iterdir()) == []


def test_accepted_keys_are_those_of_the_chosen_file() -> None:
    with pytest.raises(UserError, match="optimizer accepts: lr, momentum, weight_decay"):
        check_composition(Arguments(["optimizer=sgd", "optimizer.betas=1"]))


@pytest.mark.parametrize(
    "override, expected",
    [
        ("training.epochs=abc", "training.epochs is 'abc': input should be a valid integer"),
        ("training.epochs=0", "training.epochs is 0: input should be greater than or equal to 1"),
        ("training.epochs=2.5", "training.epochs is 2.5: input should be a valid integer"),
        ("+training.epoch=3", "training.epoch is not a key of training; accepted: epochs"),
        ("~training.epochs", "training.epochs is missing"),
        ("training.seeds=[]", "training.seeds is []"),
        ("training.device=tpu9", "use training.device=cpu"),
        ("model.latent_size=wide", "model.latent_size is 'wide'"),
        ("model.activation=none", "activation is 'none'"),
        ("model=autoencoder2d", "AutoEncoder2D"),
        ("+model.depth=3", "model.depth is not an option of insituml.models.MLP; accepted: acti"),
        ("model._target_=insituml.models.Nope", "model._target_ is 'insituml.models.Nope'"),
        ("method.strength=-1", "strength is -1"),
        ("optimizer.lr=-1", "optimizer.lr is -1; expected a number above 0"),
        ("optimizer.lr=abc", "optimizer.lr is 'abc'; expected a number above 0"),
        ("method.strength=nan", "method.strength is nan; expected a number of at least 0"),
        ("model.latent_size=0", "model.latent_size is 0; expected a whole number of at least 1"),
        ("model.hidden_sizes=[4,0]", "model.hidden_sizes is [4, 0]; expected a whole number"),
        ("training.seeds=[1,1]", "training.seeds is [1, 1]: 1 stands there twice"),
        ("training.reference_size=0", "training.reference_size is 0"),
        ("training.batch_size=true", "training.batch_size is True"),
        ("+method.gamma=1", "accepted: chunk_size, fisher_samples, strength"),
    ],
)
def test_what_is_composed_but_wrong(override, expected, points, tools, tmp_path) -> None:
    sections = ("model", "method", "optimizer", "training")
    root = points.folder.parents[1]
    call = tools.invoke(root, sections, "experiment=toy8", "method=ewc", override)
    with pytest.raises(UserError) as caught:
        plan(call)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_that_is_missing_is_named(tools, tmp_path) -> None:
    call = tools.invoke(tmp_path, ["data"], "data=efield_npy")
    with pytest.raises(
        UserError, match=r"^data\.path has no value; give it one: data\.path=\.\.\.$"
    ):
        call.section("data")


def test_sections_come_resolved_and_apart(tmp_path) -> None:
    config = OmegaConf.create({"stream": {"tasks": "???"}, "method": {"k": "${stream.tasks}"}})
    call = Invocation(config, tmp_path, tmp_path, {})
    assert call.section("method", tasks=4) == {"k": 4}
    assert OmegaConf.is_missing(config.stream, "tasks")  # the configuration itself is unchanged
    assert not call.is_sweep
    assert Invocation(config, tmp_path, tmp_path / "multirun/0", {}).is_sweep


def test_values_by_experiment(tools, tmp_path) -> None:
    for experiment in ("toy8", "lwfa"):
        call = tools.invoke(
            tmp_path,
            ["method"],
            f"experiment={experiment}",
            "method.strength='${for_experiment:{default:2.0,toy8:0.5}}'",
            "method=ewc",
        )
        assert call.section("method")["strength"] == {"toy8": 0.5, "lwfa": 2.0}[experiment]


def test_commands_end_cleanly(tmp_path) -> None:
    """The same in processes of their own, all at once: they take seconds to start."""
    calls = {
        ("train", "--help"): (0, "  method=       agem, agem_layerwise, "),
        ("train", "--cfg", "job"): (0, "epochs:"),
        ("generate", "training.epoch=3"): (2, f"training accepts: {TRAINING}"),
        ("generate", "data=efield_npy"): (2, "data.path has no value"),
    }
    with ThreadPoolExecutor(2) as pool:
        done = dict(zip(calls, pool.map(lambda c: command(tmp_path, *c), calls), strict=True))
    for call, (code, expected) in calls.items():
        result = done[call]
        assert result.returncode == code, (call, result.stderr)
        assert "Traceback" not in result.stderr
        if code == 0:
            assert expected in result.stdout
            assert result.stderr == ""
        else:
            assert expected in result.stderr
            assert result.stderr.startswith("error: ")
            assert result.stderr.count("\n") == 1
            assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_characters_that_a_terminal_has_not_are_no_error(tmp_path) -> None:
    code = (
        "import os; from insituml_pipelines.common.ending import failing_in_one_line\n"
        "with failing_in_one_line(): print('0–2', os.environ['PYTHONIOENCODING'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == [b"0?2", b"ascii:replace"]  # worker processes take the latter
