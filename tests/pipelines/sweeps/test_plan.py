"""What a sweep and its jobs are called, and which options a job knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from insituml_pipelines.common.arguments import Arguments
from insituml_pipelines.common.composition import CONF, check_composition
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.sweeps.plan import folder_name, sweep_of


def test_a_sweep_is_named_by_what_it_varies() -> None:
    one = sweep_of("train", ["method=ewc", "method.strength=1,10"], None)
    assert one.folder == Path("multirun").absolute() / one.name
    assert one.name.startswith("train-strength-")
    assert one.first == {"method.strength": "1"}
    for same in (
        ["method.strength=1,10,100", "method=ewc"],
        ["method=ewc", "method.strength=range(3)", "tracking=none", "hydra/launcher=joblib"],
    ):
        assert sweep_of("train", same, None).name == one.name
    for other in (
        ["method=agem", "method.strength=1,10"],
        ["method=ewc", "method.strength=1,10", "training.epochs=2"],
        ["method=ewc", "method.fisher_samples=1,10"],
    ):
        assert sweep_of("train", other, None).name != one.name
    assert sweep_of("train", ["method=ewc,mas"], "/tmp/x").folder == Path("/tmp/x")


def test_a_job_is_named_by_its_values() -> None:
    sweep = sweep_of("train", ["method=ewc,mas", "training.seeds=[0],[1]", "name=x"], None)
    place = sweep.place(["method=mas", "training.seeds=[1]", "name=x"])
    assert place == sweep.folder / "method=mas,training.seeds=[1]"
    assert folder_name({}) == "job"
    long, other = ({"data.path": "/a" * 200 + end} for end in "xy")
    assert folder_name(long) != folder_name(other)
    assert max(len(folder_name(long)), len(folder_name({"k": "x" * 500}))) < 200
    assert "/" not in folder_name(long)
    assert folder_name({"k": "a/b"}) != folder_name({"k": "a_b"})


def test_options_that_only_some_of_the_chosen_files_have() -> None:
    given = ["method=naive,ewc", "method.strength=1,10", "training.seeds=[0],[1]"]
    sweep = sweep_of("train", given, None)
    assert sweep.loose == ("method.strength",)
    check_composition(Arguments(["-m", *given]), sweep.untaken)
    job = ["method=naive", "++method.strength=10", "training.seeds=[1]"]
    assert sweep.untaken(job) == ["++method.strength=10"]
    assert sweep.is_left_out(sweep.untaken(job))  # it is the job with the first strength
    first = ["method=naive", "++method.strength=1", "training.seeds=[1]"]
    assert not sweep.is_left_out(sweep.untaken(first))
    assert sweep.untaken(["method=ewc", "++method.strength=10", "training.seeds=[1]"]) == []
    # Which none of them has, is a mistake.
    wrong = ["-m", "method=naive,joint", "method.strength=1,10"]
    sweep = sweep_of("train", wrong[1:], None)
    with pytest.raises(UserError, match=r"method\.strength does not exist"):
        check_composition(Arguments(wrong), sweep.untaken)


def test_the_launcher_for_slurm_is_composed() -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="the extra sweep")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        given = ["hydra/launcher=slurm", "hydra.launcher.partition=long"]
        config = compose("config", overrides=given, return_hydra_config=True)
    launcher = config.hydra.launcher
    assert launcher._target_.endswith(".SlurmLauncher")
    assert (launcher.partition, launcher.array_parallelism) == ("long", 16)
