"""What Hydra calls of a stage: once, or for each job of a sweep."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from insituml_pipelines.common import log
from insituml_pipelines.common.composition import key_of, plain
from insituml_pipelines.common.ending import explained
from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.failures import EXTERNAL
from insituml_pipelines.common.invocation import Invocation, asked_data, reads_only
from insituml_pipelines.sweeps.missing import REASON, missing_jobs
from insituml_pipelines.sweeps.plan import Sweep
from insituml_pipelines.sweeps.records import JobRecord, collect, leave
from insituml_pipelines.sweeps.sameness import digest_of_job
from insituml_pipelines.sweeps.sweeper import NAME
from insituml_pipelines.sweeps.trial import JobTrial, PrunedError, prunes

HYDRAS_RECORD = "multirun.yaml"
"""What Hydra itself leaves in the folder of a sweep."""


class Jobs:
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
        if info.mode == RunMode.MULTIRUN:  # a job would be taken for the only one
            raise UserError("hydra.mode is MULTIRUN, but this is no sweep; give -m for one")
        try:
            return self.function(self._call(config, given, Path.cwd()))
        except (Exception, SystemExit) as error:
            self.error = error
            return None

    def _run_job(self, sweep: Sweep, config: DictConfig, given: tuple[str, ...]) -> Any:
        info = HydraConfig.get()
        if untaken := sweep.unknown(given):
            if sweep.is_left_out(list(untaken)):
                return None
            names = ", ".join(map(key_of, untaken))
            log.note(f"job {info.job.num} knows no {names}: it runs once, without")
            given = tuple(override for override in given if override not in untaken)
            for part in set(untaken.values()):
                parent, _, option = part.rpartition(".")
                with open_dict(config):
                    del OmegaConf.select(config, parent)[option]
        own = info.sweep.subdir != "."
        output = Path(info.runtime.output_dir) if own else sweep.place(given)
        record = JobRecord(
            info.job.num,
            list(given),
            sweep.varied(given),
            str(output),
            configured=digest_of_job(sweep, given, self.sections),
        )
        try:
            trial = self._trial(sweep, info)
            value = self.function(replace(self._call(config, given, output), trial=trial))
        except PrunedError as pruned:
            log.note(f"job {info.job.num}: {pruned}")
            output.mkdir(parents=True, exist_ok=True)  # later tables have it, too
            leave(sweep, replace(record, message=str(pruned), pruned=True))
            return math.nan
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

    def _trial(self, sweep: Sweep, info: Any) -> JobTrial | None:
        """Return the trial of a job that may end early; None: it goes to its end."""
        options = plain(info.sweeper)
        if not (sweep.space and options.get("_target_") == NAME and prunes(options)):
            return None
        return JobTrial(sweep, options, info.job.num)

    def _call(self, config: DictConfig, given: tuple[str, ...], output: Path) -> Invocation:
        info = HydraConfig.get()
        choices = {k: str(v) for k, v in info.runtime.choices.items() if not k.startswith("hydra")}
        asked = asked_data(config, given)
        cut = reads_only(config, self.sections)
        target = str(OmegaConf.select(config, "model._target_") or "")
        return Invocation(cut, Path.cwd(), output, choices, given, asked, target, sweep=self.sweep)

    def conclude(self, broken: Exception | None = None) -> None:
        """Say what came of a sweep, and fail where a job did; leave no empty folder behind.

        Parameters
        ----------
        broken
            What the launcher said of a job that ended without a word.
        """
        if self.error is not None:
            raise self.error
        if self.sweep is None:
            return
        records = collect(self.sweep)
        if broken is not None:
            records += missing_jobs(self.sweep, self.overrides, records)
            unended = sum(record.message == REASON for record in records)
            log.error(
                f"the launcher gave up, as a job ended without a word "
                f"({type(broken).__name__}: {_first_line(broken)}): {unended} jobs count as "
                "failed; those still running go on, end them by scancel or kill; the same command "
                "does what is missing"
            )
        codes = [record.code for record in records if record.code]
        if codes and len(codes) == len(records):
            _remove_empty(self.sweep.folder)
        if any(record.value is not None for record in records):
            from insituml_pipelines.sweeps.results import conclude

            conclude(self.sweep, records, self.sections)
        if codes or broken is not None:
            raise SystemExit(max(codes, default=EXTERNAL))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else "it says nothing"


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
