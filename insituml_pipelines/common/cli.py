"""From a stage's function to its command: configuration in, one clear line on a user's mistake."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from insituml_pipelines.common import log
from insituml_pipelines.common.arguments import Arguments
from insituml_pipelines.common.composition import (
    CONF,
    check_composition,
    composed,
    key_of,
    plain,
)
from insituml_pipelines.common.ending import fail, failing_in_one_line
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.fitting import open_to_new_keys
from insituml_pipelines.common.help import stage_help
from insituml_pipelines.common.invocation import Invocation, reads_only
from insituml_pipelines.common.jobs import Jobs
from insituml_pipelines.common.located import find_from_here
from insituml_pipelines.common.ranks import check_stage
from insituml_pipelines.common.single_run import run_once
from insituml_pipelines.sweeps.globs import without_globs
from insituml_pipelines.sweeps.plan import SWEEPER, Sweep, sweep_of
from insituml_pipelines.sweeps.sameness import digest_of_search
from insituml_pipelines.sweeps.study import check_search
from insituml_pipelines.sweeps.submitted import cancelled_where_stopped
from insituml_pipelines.sweeps.sweeper import NAME, register

__all__ = ["CONF", "Invocation", "fail", "reads_only", "run_stage"]
HYDRA = "hydra"
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
        check_stage(Path(function.__code__.co_filename).stem, sweeps=sweep is not None)
        untaken = sweep.untaken if sweep else lambda overrides: []
        composed_ones: list[DictConfig] = []
        config = check_composition(arguments, untaken, composed_ones.append)
        if arguments.options.help:
            name = Path(function.__code__.co_filename).stem
            given = [*arguments.search_path, *arguments.overrides]
            if sweep is not None:  # what the first file may not have
                given = [override for override in given if key_of(override) not in sweep.loose]
            print(stage_help(name, description, sections, given), end="")
            return
        if sweep is not None and sweep.space:
            sweep = replace(sweep, common=digest_of_search(composed_ones, sections))
            register(sweep)
        jobs = Jobs(function, sections, sweep, tuple(arguments.overrides))
        broken = None
        try:
            if arguments.is_plain_run:
                run_once(jobs.run, config)
            else:
                with cancelled_where_stopped() if sweep else nullcontext():
                    _run_by_hydra(jobs, sweep, arguments)
        except (ValueError, AssertionError, TypeError) as error:  # Hydra's own: ours are kept
            raise UserError(
                f"Hydra cannot run this ({error!r}); look at the hydra.*= options"
            ) from error
        except RuntimeError as error:  # what launchers say of a process that died
            if sweep is None or isinstance(error, UserError):
                raise
            broken = error
        jobs.conclude(broken)


def _run_by_hydra(jobs: Jobs, sweep: Sweep | None, arguments: Arguments) -> None:
    """Let Hydra compose and call what is no plain run."""
    if sweep is not None:
        arguments.overrides[:] = _for_hydra(sweep, arguments.overrides)
    sys.argv[1:] = arguments.in_order()

    @hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    def entry(config: DictConfig) -> Any:
        return jobs.run(config)

    entry()


def _sweep_of(function: Callable[..., Any], arguments: Arguments) -> Sweep | None:
    """Return the sweep that a command asks for; None where it is a run, or cannot be read."""
    if not (arguments.is_sweep and (arguments.is_run or arguments.options.help)):
        return None
    given = [o for o in arguments.overrides if key_of(o) == "hydra.sweep.dir"]
    folder = given[-1].partition("=")[2].strip("'\"") if given else None
    stage = Path(function.__code__.co_filename).stem
    own = [o for o in arguments.overrides if key_of(o) == "hydra.searchpath"]
    search_path = own or arguments.search_path
    try:
        _add_search(arguments, search_path)
        arguments.overrides[:] = without_globs(arguments.overrides, arguments.options.config_dir)
        return sweep_of(stage, arguments.overrides, folder, search_path)
    except HydraException:  # what is wrong is said when it is composed
        return None


def _add_search(arguments: Arguments, search_path: Sequence[str]) -> None:
    """Put before the overrides what the file of a search holds, if one is asked for."""
    given = {key_of(override) for override in arguments.overrides}
    if SWEEPER not in given:
        return
    own = [o for o in arguments.overrides if key_of(o).partition("/")[0].partition(".")[0] == HYDRA]
    own = [override for override in own if key_of(override) != "hydra.searchpath"]
    sweeper = plain(composed([*search_path, *own], for_hydra=True).hydra.sweeper)
    if sweeper.get("_target_") != NAME:  # another's
        return
    check_search(sweeper)
    params = (sweeper.get("params") or {}).items()
    arguments.overrides[:0] = [f"{key}={value}" for key, value in params if key not in given]


def _for_hydra(sweep: Sweep, overrides: Sequence[str]) -> list[str]:
    """Return overrides that every job can be composed from, and where the jobs lie."""
    loose = [f"++{o}" if key_of(o) in sweep.loose else o for o in overrides]
    if any(key_of(override) == "hydra.sweep.dir" for override in overrides):
        return loose
    return [*loose, f"hydra.sweep.dir=multirun/{sweep.name}"]


def _renamed(argument: str) -> str:
    """Return an override under the name that its key has today, and say so."""
    key = key_of(argument)
    if key not in RENAMED:
        return argument
    log.note(f"{key} is called {RENAMED[key]} now")
    return argument.replace(key, RENAMED[key], 1)
