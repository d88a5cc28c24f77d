"""A single run without ``hydra.main``: the same configuration, folder and environment."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from insituml_pipelines.common.arguments import Arguments
from insituml_pipelines.common.composition import CONF, check_composition
from insituml_pipelines.common.single_run import run_once

GIVEN = [
    "experiment=toy8",
    "method=ewc",
    "training.epochs=3",
    "+hydra.job.env_set={SET_FOR_THE_JOB: '5'}",
]


def noted(config: DictConfig) -> dict[str, Any]:
    """Return all that a stage sees of Hydra."""
    info = HydraConfig.get()
    return {
        "config": OmegaConf.to_container(config),
        "choices": dict(info.runtime.choices),
        "overrides": list(info.overrides.task),
        "output": info.runtime.output_dir,
        "here": Path.cwd(),
        "level": logging.getLogger().level,
        "handlers": [type(handler) for handler in logging.getLogger().handlers],
        "variable": os.environ.get("SET_FOR_THE_JOB"),
        "is_initialized": GlobalHydra.instance().is_initialized(),
    }


def test_a_stage_sees_what_it_sees_from_hydra_itself(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["insituml train", *GIVEN])
    by_hydra: list[dict[str, Any]] = []

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def entry(config: DictConfig) -> None:
        by_hydra.append(noted(config))

    entry()
    (expected,) = by_hydra
    assert expected["variable"] == "5"
    assert run_once(noted, check_composition(Arguments(GIVEN))) == expected
    assert "SET_FOR_THE_JOB" not in os.environ
    assert not GlobalHydra.instance().is_initialized()
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_stage_is_raised(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)

    def fail(config: DictConfig) -> None:
        raise LookupError("nothing of this name")

    with pytest.raises(LookupError, match="nothing of this name"):
        run_once(fail, check_composition(Arguments(GIVEN)))
    assert not GlobalHydra.instance().is_initialized()
