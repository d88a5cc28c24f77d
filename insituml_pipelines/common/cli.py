"""From a stage's function to its command: configuration in, one clear line on a user's mistake."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from insituml_pipelines.common import log
from insituml_pipelines.common.arguments import Arguments
from insituml_pipelines.common.composition import (
    CONF,
    check_composition,
    composed,
    key_of,
    one_line,
)
from insituml_pipelines.common.ending import explained, fail, failing_in_one_line
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.fitting import open_to_new_keys
from insituml_pipelines.common.help import stage_help
from insituml_pipelines.common.located import find_from_here
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.task_files import IDENTIFYING
from insituml_pipelines.sweeps.plan import Sweep, sweep_of
from insituml_pipelines.sweeps.records import JobRecord, collect, leave

__all__ = ["CONF", "Invocation", "fail", "reads_only", "run_stage"]
HYDRAS_RECORD = "multirun.yaml"
"""What Hydra itself leaves in the folder of a sweep."""
RENAMED = {
    f"transit.{name.replace('iteration', 'step')}": f"transit.{name}"
    for name in (
        "batches_per_iteration",
        "max_batches_per_iteration",
        "normalisation_iterations",
        "on_bad_iteration",
        "recent_iterations",
    )
}
"""Keys of version 0.1, when an iteration was called a step."""


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
    """

    config: DictConfig
    root: Path
    output: Path
    choices: dict[str, str]
    overrides: tuple[str, ...] = ()
    asked_data: Node = field(default_factory=dict)
    model_target: str = ""
    sweep: Sweep | None = None

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


def for_experiment(table: DictConfig, *, _root_: DictConfig) -> Any:
    """Resolve ``${for_experiment:{default: 1.0, toy8: 0.1}}`` by the experiment's name."""
    return table.get(_root_.name, table["default"])


OmegaConf.register_new_resolver("for_experiment", for_experiment, replace=True)


def run_stage(
    function: Callable[[Invocation], Any], sections: Sequence[str], description: str
) -> None:
    """Run a stage from the command line.

    Whatever goes wrong is said in one line. In a sweep a job that fails says so, the others go on,
    and the command fails at its end.

    Parameters
    ----------
    function
        The stage.
    sections
        Sections of the configuration it reads; ``dvc.yaml`` must track each.
    description
        Printed by ``--help`` above the groups and options.
    """
    find_from_here()
    # The library's users decide on telemetry and threads; a pipeline run decides here.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with failing_in_one_line():
        given = log.without_quiet(sys.argv[1:])
        arguments = Arguments(open_to_new_keys([_renamed(argument) for argument in given]))
        sweep = _sweep_of(function, arguments)
        check_composition(arguments, sweep.untaken if sweep else lambda overrides: [])
        if arguments.options.help:
            name = Path(function.__code__.co_filename).stem
            given = [*arguments.search_path, *arguments.overrides]
            print(stage_help(name, description, sections, given), end="")
            return
        jobs = _Jobs(function, sections, sweep, tuple(arguments.overrides))
        if sweep is not None:
            arguments.overrides[:] = _for_hydra(sweep, arguments.overrides)
        sys.argv[1:] = arguments.in_order()

        @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
        def entry(config: DictConfig) -> Any:
            return jobs.run(config)

        try:
            entry()
        except (ValueError, AssertionError, TypeError) as error:  # Hydra's own: ours are kept
            raise UserError(
                f"Hydra cannot run this ({error!r}); look at the hydra.*= options"
            ) from error
        jobs.conclude()


def _sweep_of(function: Callable[..., Any], arguments: Arguments) -> Sweep | None:
    """Return the sweep that a command asks for; None where it is a run, or cannot be read."""
    if not (arguments.is_sweep and arguments.is_run):
        return None
    given = [o for o in arguments.overrides if key_of(o) == "hydra.sweep.dir"]
    folder = given[-1].partition("=")[2].strip("'\"") if given else None
    stage = Path(function.__code__.co_filename).stem
    try:
        return sweep_of(stage, arguments.overrides, folder)
    except HydraException:  # what is wrong is said when it is composed
        return None


def _for_hydra(sweep: Sweep, overrides: Sequence[str]) -> list[str]:
    """Return overrides that every job can be composed from, and where the jobs lie."""
    loose = [f"++{o}" if key_of(o) in sweep.loose else o for o in overrides]
    if any(key_of(override) == "hydra.sweep.dir" for override in overrides):
        return loose
    return [*loose, f"hydra.sweep.dir=multirun/{sweep.name}"]


class _Jobs:
    """What Hydra calls: once, or for each job of a sweep, maybe in another process."""

    def __init__(
        self,
        function: Callable[[Invocation], Any],
        sections: Sequence[str],
        sweep: Sweep | None = None,
        overrides: Sequence[str] = (),
    ) -> None:
        self.function = function
        self.sections = sections
        self.sweep = sweep
        self.overrides = overrides
        """Of the command."""
        self.error: BaseException | None = None
        """What ended the only job: Hydra would say more than one line about it."""

    def run(self, config: DictConfig) -> Any:
        info = HydraConfig.get()
        # As it was given: a list of Hydra's would resolve what refers to other keys.
        listed = OmegaConf.to_container(info.overrides.task, resolve=False)
        given = tuple(map(str, listed or ()))
        if self.sweep is not None and info.mode == RunMode.MULTIRUN:
            return self._run_job(self.sweep, config, given)
        try:
            return self.function(self._call(config, given, Path.cwd()))
        except (Exception, SystemExit) as error:
            self.error = error
            return None

    def _run_job(self, sweep: Sweep, config: DictConfig, given: tuple[str, ...]) -> Any:
        info = HydraConfig.get()
        if untaken := sweep.untaken(given):
            if sweep.is_left_out(untaken):
                return None
            names = ", ".join(map(key_of, untaken))
            log.note(f"job {info.job.num} knows no {names}: it runs once, without")
            given = tuple(override for override in given if override not in untaken)
            for group, _, option in (key_of(override).partition(".") for override in untaken):
                with open_dict(config):
                    del config[group][option.split(".")[0]]
        own = info.sweep.subdir != "."
        output = Path(info.runtime.output_dir) if own else sweep.place(given)
        record = JobRecord(info.job.num, list(given), sweep.varied(given), str(output))
        try:
            value = self.function(self._call(config, given, output))
        except (Exception, SystemExit) as error:
            message, code = explained(error)
            log.error(f"job {info.job.num} ({' '.join(given)}): {message}")
            with suppress(OSError):  # what the job had written stays
                output.rmdir()
            leave(sweep, replace(record, code=code, message=message))
            return math.nan  # a sweeper that searches takes it for a failed trial
        finite = isinstance(value, float) and math.isfinite(value)
        leave(sweep, replace(record, value=value if finite else None))
        return value

    def _call(self, config: DictConfig, given: tuple[str, ...], output: Path) -> Invocation:
        info = HydraConfig.get()
        choices = {k: str(v) for k, v in info.runtime.choices.items() if not k.startswith("hydra")}
        asked = _asked_data(config, given)
        cut = reads_only(config, self.sections)
        target = str(OmegaConf.select(config, "model._target_") or "")
        return Invocation(cut, Path.cwd(), output, choices, given, asked, target, sweep=self.sweep)

    def conclude(self) -> None:
        """Say what came of a sweep, and fail where a job did; leave no empty folder behind."""
        if self.error is not None:
            raise self.error
        if self.sweep is None:
            return
        records = collect(self.sweep)
        codes = [record.code for record in records if record.code]
        if codes and len(codes) == len(records):
            _remove_empty(self.sweep.folder)
        if any(record.value is not None for record in records):
            from insituml_pipelines.sweeps.results import conclude

            conclude(self.sweep, records, self.overrides)
        if codes:
            raise SystemExit(max(codes))


def _remove_empty(sweep_folder: Path) -> None:
    """Remove the folder of a sweep without results; one that holds anything else stays."""
    folder = sweep_folder.absolute()
    with suppress(OSError):  # other results lie there
        if [file.name for file in folder.iterdir()] == [HYDRAS_RECORD]:
            (folder / HYDRAS_RECORD).unlink()
        folder.rmdir()
        for parent in folder.parents:
            if Path.cwd() not in parent.parents:
                break
            parent.rmdir()


def _renamed(argument: str) -> str:
    """Return an override under the name that its key has today, and say so."""
    key = key_of(argument)
    if key not in RENAMED:
        return argument
    log.note(f"{key} is called {RENAMED[key]} now")
    return argument.replace(key, RENAMED[key], 1)


def _asked_data(config: DictConfig, overrides: Sequence[str]) -> Node:
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
