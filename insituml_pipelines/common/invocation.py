"""How a stage was called: the part of the configuration that it reads, folders and choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from insituml_pipelines.common.composition import composed, key_of, one_line
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.task_files import IDENTIFYING
from insituml_pipelines.sweeps.plan import Sweep
from insituml_pipelines.sweeps.trial import JobTrial


@dataclass(frozen=True)
class Invocation:
    """How a stage was called.

    Parameters
    ----------
    config
        The composed configuration, cut down to the sections that the stage declares it reads.
    root
        Where ``data/`` is read.
    output
        Where results are written: ``root``, or the job's folder below ``multirun/`` in a sweep.
    choices
        Name of the file chosen in each configuration group.
    overrides
        As given on the command line.
    asked_data
        What the command line says of the data, by dotted name below ``data``.
    model_target
        The class that ``model._target_`` names, which files may name too; empty: none.
    sweep
        What it is a job of, if of anything.
    trial
        To report to on the way, where a search may end it early.
    """

    config: DictConfig
    root: Path
    output: Path
    choices: dict[str, str]
    overrides: tuple[str, ...] = ()
    asked_data: Node = field(default_factory=dict)
    model_target: str = ""
    sweep: Sweep | None = None
    trial: JobTrial | None = None

    @property
    def is_sweep(self) -> bool:
        return self.output != self.root

    @property
    def experiment(self) -> str:
        """Name of the experiment that the command chose; empty where it chose none."""
        chosen = "experiment" in map(key_of, self.overrides)
        return str(self.config.name) if chosen else ""

    def with_choice(self, group: str, name: str) -> Invocation:
        """Return the call with another file of a group, whose values are as they stand there.

        Raises
        ------
        UserError
            If there is no such file.
        """
        if self.choices[group] == name:
            return self
        others = [o for o in self.overrides if key_of(o).split(".")[0] != group]
        try:
            config = composed([*others, f"{group}={name}"])
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(one_line(error)) from error
        cut = reads_only(config, [str(key) for key in self.config])
        return replace(self, config=cut, choices={**self.choices, group: name})

    def section(self, name: str, **facts: Any) -> Node:
        """Return a section with its references resolved; ``facts`` fill in ``stream``."""
        config = self.config.copy()
        if facts:
            config.stream = facts
        try:
            for key in sorted(OmegaConf.missing_keys(config[name])):
                raise UserError(f"{key} has no value; give it one: {key}=...")
            resolved = OmegaConf.to_container(config[name], resolve=True)
        except OmegaConfBaseException as error:
            raise UserError(one_line(error)) from error
        assert isinstance(resolved, dict)
        return {str(key): value for key, value in resolved.items()}


def reads_only(config: DictConfig, sections: Sequence[str]) -> DictConfig:
    """Cut the configuration down to what a stage declares, so that it can read nothing else."""
    return OmegaConf.masked_copy(config, [*sections, "stream", "name"])


def asked_data(config: DictConfig, overrides: Sequence[str]) -> Node:
    """Return what the command line itself says of the data, by dotted name below ``data``.

    A choice says which data these are, not every value that its file happens to have.
    """
    keys = [key_of(override) for override in overrides]
    asked = [key.removeprefix("data.") for key in keys if key.startswith("data.")]
    if {"data", "experiment"} & set(keys):
        asked += ["name", "kind"]
    found: Node = {}
    for name in asked:
        if name.split(".")[0] in IDENTIFYING:
            try:
                value = OmegaConf.select(config.data, name)
                plain = OmegaConf.is_config(value)
                found[name] = OmegaConf.to_container(value, resolve=True) if plain else value
            except OmegaConfBaseException as error:
                raise UserError(f"data.{name}: {one_line(error)}") from error
    return found
