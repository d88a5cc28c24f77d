"""What a sweep and its jobs are called, and which options a job knows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from insituml_pipelines.common.arguments import Arguments
from insituml_pipelines.common.composition import CONF, check_composition
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.sweeps.globs import without_globs
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


@pytest.mark.parametrize("swept, first", [("5", None), ("range(1,9,4)", "1"), ("1,9", "1")])
def test_a_method_without_an_option_has_its_job(swept: str, first: str | None) -> None:
    sweep = sweep_of("train", ["method=naive,ewc", f"method.strength={swept}"], None)
    assert sweep.loose == ("method.strength",)
    values = ["5"] if first is None else [first, "7"]
    left_out = []
    for value in values:
        job = ["method=naive", f"++method.strength={value}"]
        assert sweep.unknown(job) == {job[1]: "method.strength"}
        left_out.append(sweep.is_left_out(sweep.untaken(job)))
    assert left_out == [False, True][: len(values)]


def test_each_trial_of_a_search_is_a_job() -> None:
    given = ["method=choice(naive,ewc)", "method.strength=interval(1,9)", "hydra/sweeper=x"]
    sweep = sweep_of("train", given, None)
    for value in ("2.5", "7.1"):  # a search learns from each: a repeated one finds what is there
        assert not sweep.is_left_out(sweep.untaken(["method=naive", f"++method.strength={value}"]))


def test_options_below_one_that_a_file_lacks() -> None:
    given = ["method=naive,agem,ewc", "method.memory.capacity_bytes=9", "method.strength=2"]
    sweep = sweep_of("train", given, None)
    assert sweep.loose == ("method.memory.capacity_bytes", "method.strength")
    job = ["method=naive", *(f"++{option}" for option in given[1:])]
    assert sweep.unknown(job) == {job[1]: "method.memory", job[2]: "method.strength"}
    assert sweep.unknown(["method=agem", *job[1:]]) == {job[2]: "method.strength"}


def test_options_are_known_that_a_file_inherits(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method/mine.yaml").write_text("defaults:\n  - ewc\nextra: 1\n")
    arguments = Arguments(["-m", "method=naive,mine,ewc", f"--config-dir={tmp_path}"])
    given = [*arguments.overrides, "method.strength=3", "method.extra=1,2"]
    sweep = sweep_of("train", given, None, arguments.search_path)
    assert sweep.loose == ("method.strength", "method.extra")
    assert sweep.untaken(["method=mine", "++method.strength=3", "++method.extra=2"]) == []
    assert sweep.untaken(["method=ewc", "++method.strength=3", "++method.extra=2"]) == [
        "++method.extra=2"
    ]


def test_globs_are_the_files_they_match(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method/ewc_mine.yaml").write_text("defaults: [ewc]\n")
    given = ["method=glob([ewc*,naive],exclude=*replay)", "name=x"]
    assert without_globs(given, None) == ["method=ewc,naive", "name=x"]
    assert without_globs(given, str(tmp_path)) == ["method=ewc,ewc_mine,naive", "name=x"]
    with pytest.raises(UserError, match=r"matches no file; there are: .*naive"):
        without_globs(["method=glob(zz*)"], None)
    with pytest.raises(UserError, match="no group name"):
        without_globs(["name=glob(*)"], None)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ("method.strength=range(0,0)", "holds no value"),
        ("tracking=mlflow,none", "recorded in one place"),
        ("tracking.uri=a,b", "recorded in one place"),
    ],
)
def test_sweeps_that_cannot_be(wrong: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        sweep_of("train", ["method=ewc", wrong], None)
