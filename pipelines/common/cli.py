"""From a stage's function to its command: configuration in, one clear line on a user's mistake."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipelines.common.errors import UserError
from pipelines.common.fitting import open_to_new_keys
from pipelines.common.located import find_from_here
from pipelines.common.node import Node
from pipelines.common.task_files import IDENTIFYING

CONF = Path(__file__).parents[2] / "conf"
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
    """

    config: DictConfig
    root: Path
    output: Path
    choices: dict[str, str]
    overrides: tuple[str, ...] = ()
    asked_data: Node = field(default_factory=dict)

    @property
    def is_sweep(self) -> bool:
        return self.output != self.root

    def with_choice(self, group: str, name: str) -> Invocation:
        """Return the call with another file of a group, whose values are as they stand there.

        Raises
        ------
        UserError
            If there is no such file.
        """
        if self.choices[group] == name:
            return self
        others = [o for o in self.overrides if _key_of(o).split(".")[0] != group]
        try:
            config = _composed([*others, f"{group}={name}"])
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(_one_line(error)) from error
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
            raise UserError(_one_line(error)) from error
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
    function: Callable[[Invocation], Any],
    sections: Sequence[str],
    description: str,
    overrides: Sequence[str] = (),
) -> None:
    """Run a stage from the command line.

    Parameters
    ----------
    function
        The stage.
    sections
        Sections of the configuration it reads; ``dvc.yaml`` must track each.
    description
        Printed by ``--help`` above the options.
    overrides
        Overrides of this stage itself, before the user's.
    """
    find_from_here()
    arguments = open_to_new_keys([_renamed(argument) for argument in sys.argv[1:]])
    sys.argv[1:] = arguments
    if {"-h", "--help"} & set(arguments):
        print(f"{description}\n")
    elif not any(argument.startswith("-") for argument in arguments):  # Hydra's own options
        _check_overrides([*overrides, *arguments])
    # The library's users decide on telemetry and threads; a pipeline run decides here.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def entry(config: DictConfig) -> Any:
        info = HydraConfig.get()
        root = Path.cwd()
        sweep = info.mode == RunMode.MULTIRUN
        output = Path(info.runtime.output_dir) if sweep else root
        choices = {k: str(v) for k, v in info.runtime.choices.items() if not k.startswith("hydra")}
        given = tuple(info.overrides.task)
        asked = _asked_data(config, given)
        call = Invocation(reads_only(config, sections), root, output, choices, given, asked)
        try:
            return function(call)
        except UserError as error:
            fail(str(error), error.code)
        except KeyboardInterrupt:
            fail("stopped; run the same command again to go on", code=130)

    entry()


def _key_of(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


def _renamed(argument: str) -> str:
    """Return an override under the name that its key has today, and say so."""
    key = _key_of(argument)
    if key not in RENAMED:
        return argument
    print(f"note: {key} is called {RENAMED[key]} now", file=sys.stderr)
    return argument.replace(key, RENAMED[key], 1)


def _asked_data(config: DictConfig, overrides: Sequence[str]) -> Node:
    """Return what the command line itself says of the data, by dotted name below ``data``.

    A choice says which data these are, not every value that its file happens to have.
    """
    keys = [_key_of(override) for override in overrides]
    asked = [key.removeprefix("data.") for key in keys if key.startswith("data.")]
    if {"data", "experiment"} & set(keys):
        asked += ["name", "kind"]
    found: Node = {}
    for name in asked:
        if name.split(".")[0] in IDENTIFYING:
            value = OmegaConf.select(config.data, name)
            plain = OmegaConf.is_config(value)
            found[name] = OmegaConf.to_container(value, resolve=True) if plain else value
    return found


def fail(message: str, code: int = 2) -> NoReturn:
    """Print one clear error and leave."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(code)


def _composed(overrides: Sequence[str]) -> DictConfig:
    """Compose the configuration, within a stage that Hydra called or outside."""
    if GlobalHydra.instance().is_initialized():
        return compose("config", overrides=list(overrides))
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=list(overrides))


def _check_overrides(overrides: Sequence[str]) -> None:
    try:
        _composed(overrides)
    except (HydraException, OmegaConfBaseException) as error:
        fail(_with_accepted_keys(error, overrides))


def _with_accepted_keys(error: Exception, overrides: Sequence[str]) -> str:
    """Say which keys there are where a key does not exist."""
    message = _one_line(error)
    for override in overrides if message.startswith("Could not override") else ():
        name = override.partition("=")[0].lstrip("+~")
        parent = name.rpartition(".")[0]
        if f"'{name}'" not in message:
            continue
        group = parent.partition(".")[0]
        chosen = [o for o in overrides if o.startswith(f"{group}=")]
        config = _composed(chosen)
        # Where the parent does not exist either, the sections are what can be chosen from.
        node = OmegaConf.select(config, parent) if parent in config or "." in parent else None
        node, where = (node, parent) if isinstance(node, DictConfig) else (config, "the config")
        accepted = ", ".join(str(k) for k in node if not str(k).startswith("_"))
        return f"{name} does not exist; {where} accepts: {accepted}"
    return message


def _one_line(error: Exception) -> str:
    """Return what is wrong, without the lines that Hydra and OmegaConf add for programmers."""
    message = str(error).partition("Config search path:")[0].partition("full_key:")[0]
    message = " ".join(message.split())
    _, missing, key = message.partition("Missing mandatory value: ")
    return f"{key} has no value; give it one: {key}=..." if missing else message
