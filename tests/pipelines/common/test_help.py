"""``--help`` of a stage shows every option of the files it reads, with value, comment, choices."""

from __future__ import annotations

import sys

import pytest
from omegaconf import OmegaConf

from insituml_pipelines import evaluate, generate, plot, reconstruct, stream, train
from insituml_pipelines.common.cli import run_stage
from insituml_pipelines.common.composition import CONF, composed
from insituml_pipelines.common.help import stage_help
from insituml_pipelines.common.option_comments import read_options


def words(text: str) -> str:
    return " ".join(text.split())


def rows_of(text: str) -> dict[str, str]:
    """Return key and value of each option."""
    rows = (line.split(maxsplit=1) for line in text.splitlines() if line.startswith("  "))
    return {key: rest for key, rest in (r for r in rows if len(r) == 2) if "." in key}


@pytest.mark.parametrize("module", [generate, train, evaluate, plot, stream, reconstruct])
def test_every_section_is_there_and_every_line_fits(module) -> None:
    text = stage_help("x", "What it does.", module.SECTIONS, [])
    too_wide = [line for line in text.splitlines() if len(line) > 100]
    assert too_wide == []
    for section in module.SECTIONS:
        assert f"\n{section}" in text
        if (CONF / section).is_dir():
            names = {file.stem for file in (CONF / section).glob("*.yaml")}
            _, _, after = text.partition(f"\n  {section}=")
            listed = words(after).replace("[", "").replace("]", "").split(", ")
            assert names <= {name.split()[0] for name in listed}


@pytest.mark.parametrize("method", ["ewc", "experience_replay", "joint_converged"])
def test_every_option_has_its_value_and_comment(method) -> None:
    overrides = ["experiment=toy8", f"method={method}", "training.epochs=7", "training=debug"]
    text = stage_help("train", "Train.", train.SECTIONS, overrides)
    config = composed(overrides)
    rows = rows_of(text)
    options = read_options(CONF / f"method/{method}.yaml").options
    options += read_options(CONF / "training/default.yaml").options
    assert {f"training.{key}" for key in config.training} <= rows.keys()
    assert {f"method.{option.key}" for option in options if option.value} >= {
        key for key in rows if key.startswith("method.")
    }
    assert rows["training.epochs"].startswith("7 ")
    assert rows["training.memory_size"].startswith("100 ")  # of the experiment
    assert rows["training.budget"].startswith("32 ")  # of the profile, which goes on from default
    joined = words(text)
    kept = [option for option in options if option.comment and option.key != "budget"]
    assert kept
    for option in kept:
        assert words(option.comment) in joined, option.key


def test_choices_are_marked_and_what_is_not_known_yet_stands_as_it_is() -> None:
    text = stage_help("train", "Train.", train.SECTIONS, ["method=ewc"])
    assert ", [ewc], ewc_replay" in words(text)
    assert rows_of(text)["model.input_shape"] == "${stream.sample_shape}"
    config = composed(["method=ewc"])
    assert OmegaConf.select(config, "model.latent_size") == 32
    assert rows_of(text)["model.latent_size"].startswith("32 ")


def test_of_a_sweep_it_is_that_of_the_first_job(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["-m", "method=naive,ewc", "method.strength=1,7", "training.epochs=9,8", "--help"]
    monkeypatch.setattr(sys, "argv", ["train", *given])
    run_stage(train.main, train.SECTIONS, "Train one method.")
    text = capsys.readouterr().out
    assert "[naive]" in text
    assert rows_of(text)["training.epochs"].startswith("9 ")
    assert not list(tmp_path.iterdir())


def test_the_command_prints_it_and_does_nothing(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "method=ewc", "--help"])
    run_stage(train.main, train.SECTIONS, "Train one method.")
    text = capsys.readouterr().out
    assert text.startswith("Train one method.\n\nusage: insituml train [GROUP=CHOICE ...]")
    assert "method=ewc\n" in text
    assert list(tmp_path.iterdir()) == []


def test_help_about_what_cannot_be_composed_costs_one_line(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "method=ewcc", "--help"])
    with pytest.raises(SystemExit):
        run_stage(train.main, train.SECTIONS, "")
    assert "Available options in 'method'" in capsys.readouterr().err


def test_a_folder_of_ones_own_is_looked_into(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method/mine.yaml").write_text("_target_: mine.Mine\nwidth: 64 # of mine\n")
    monkeypatch.setattr(sys, "argv", ["train", f"--config-dir={tmp_path}", "method=mine", "--help"])
    run_stage(train.main, train.SECTIONS, "")
    assert rows_of(capsys.readouterr().out)["method.width"].split() == ["64", "of", "mine"]


def test_of_a_sweep_the_first_job_is_shown(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["train", "-m", "method=ewc,naive", "--help"])
    run_stage(train.main, train.SECTIONS, "")
    text = words(capsys.readouterr().out)
    assert ", [ewc], ewc_replay" in text
    assert "method.strength" in text
