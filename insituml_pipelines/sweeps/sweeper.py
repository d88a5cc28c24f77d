"""A sweeper of Hydra's by Optuna: ``hydra/sweeper=optuna`` draws jobs, and learns from each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from insituml_pipelines.common.composition import plain
from insituml_pipelines.common.locking import held
from insituml_pipelines.common.log import note
from insituml_pipelines.sweeps import study as studies
from insituml_pipelines.sweeps.plan import Sweep
from insituml_pipelines.sweeps.records import JobRecord, count, record_numbered
from insituml_pipelines.sweeps.space import job_overrides, space_of

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

NAME = "hydra_plugins.insituml.OptunaSweeper"
"""What configuration calls it: Hydra builds sweepers of the package ``hydra_plugins`` alone."""


def register(sweep: Sweep) -> None:
    """Make the sweeper known to Hydra, which looks for plugins among installed ones alone."""
    OptunaSweeper.jobs = sweep
    Plugins.instance().class_name_to_class[NAME] = OptunaSweeper


class OptunaSweeper(Sweeper):
    """Asks a study for trials, runs them as jobs, and tells it what came of each.

    Parameters
    ----------
    options
        The section ``hydra.sweeper``; its search space is among the overrides already.
    """

    jobs: ClassVar[Sweep]
    """Those of this command."""

    def __init__(self, **options: Any) -> None:
        self.options = plain(OmegaConf.create(options))
        self.launcher: Launcher | None = None

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra gives: see its own sweepers."""
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run trials until the study has as many as are asked for.

        Parameters
        ----------
        arguments
            All overrides; those with several values are the space.

        Raises
        ------
        UserError
            If the study cannot be, or another process goes on with it.
        """
        self.jobs.folder.mkdir(parents=True, exist_ok=True)
        lock = self.jobs.folder / ".study.lock"
        with held(lock, f"the study in {self.jobs.folder}"):
            self._go_on(studies.open_study(self.jobs, self.options), arguments)

    def _go_on(self, study: Study, arguments: Sequence[str]) -> None:
        space, wanted = space_of(arguments), self.options["n_trials"]
        for group in studies.in_groups([t.number for t in studies.interrupted(study)]):
            self._run(study, group, arguments)
        if (done := len(studies.launched(study))) >= wanted or studies.is_exhausted(study):
            more = f"hydra.sweeper.n_trials={2 * done} goes on with it"
            end = "its sampler has drawn all" if studies.is_exhausted(study) else more
            note(f"this study has its {done} trials; {end}")
            for known in studies.launched(study):  # for the table, beside those that ran just now
                if record_numbered(self.jobs, known.number) is None:
                    count(self.jobs, self._ended(known, arguments))
        while (done := len(studies.launched(study))) < wanted and not studies.is_exhausted(study):
            numbers = []
            for k in range(done, min(done + self.options["n_jobs"], wanted)):
                study.sampler = studies.sampler_for(self.options, k)
                trial = study.ask(space)
                trial.set_user_attr(studies.LAUNCHED, True)
                numbers.append(trial.number)
            self._run(study, numbers, arguments)

    def _ended(self, trial: FrozenTrial, arguments: Sequence[str]) -> JobRecord:
        """Return the record of a trial as the study knows it."""
        from optuna.trial import TrialState

        job = job_overrides(arguments, trial.params)
        kept = [override for override in job if override not in self.jobs.unknown(job)]
        ended = trial.state == TrialState.COMPLETE
        return JobRecord(
            trial.number,
            kept,
            self.jobs.varied(kept),
            str(self.jobs.place(kept)),
            # Optuna gives a pruned trial the last error that it reported.
            trial.value if ended else None,
            message="" if ended else f"{trial.state.name.lower()} in an earlier call",
            pruned=trial.state == TrialState.PRUNED,
        )

    def _run(self, study: Study, numbers: Sequence[int], arguments: Sequence[str]) -> None:
        """Run trials; of those that are the same job the first, whose end is that of all."""
        assert self.launcher is not None
        params = {t.number: t.params for t in study.get_trials(deepcopy=False)}
        jobs = {number: job_overrides(arguments, params[number]) for number in numbers}
        # Two at once would write the same files.
        firsts: dict[Path, int] = {}
        same = {n: firsts.setdefault(self.jobs.place_of_job(jobs[n]), n) for n in numbers}
        for group in studies.in_groups(list(firsts.values())):  # launchers count from a number on
            self.launcher.launch([jobs[n] for n in group], initial_job_idx=group[0])
        for number in numbers:
            studies.tell(study, number, record_numbered(self.jobs, same[number]))
