"""The study of a search: a file in the folder of the sweep, whoever of its jobs asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.log import note
from insituml_pipelines.common.node import Node
from insituml_pipelines.common.targets import build, check_complete, validate_target
from insituml_pipelines.sweeps.plan import Sweep
from insituml_pipelines.sweeps.records import JobRecord

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial, Trial

STORAGE = "study.journal"
"""File of all studies of a sweep: one for each space, configuration, data and code."""
LAUNCHED = "launched"
"""Marks a trial all of whose values are known: one without it was being drawn when all ended."""
EXHAUSTED = "exhausted"
"""Marks a study whose sampler has drawn all that there is."""
NODES = ("sampler", "pruner")


def check_search(sweeper: Node) -> None:
    """Check the section ``hydra.sweeper`` of a search.

    Raises
    ------
    UserError
        If Optuna is not installed, or a sampler, a pruner or a number is none.
    """
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(
            "a search needs Optuna, which is not installed; pip install 'insituml[sweep]'"
        ) from error
    for name in NODES:
        node = sweeper.get(name)
        if not isinstance(node, dict):
            raise UserError(f"hydra.sweeper.{name} is {node!r}; choose one by hydra/sweeper/{name}")
        validate_target(node, f"hydra.sweeper.{name}")
        check_complete(node, f"hydra.sweeper.{name}")
    for name in ("n_trials", "n_jobs"):
        value = sweeper.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"hydra.sweeper.{name} is {value!r}; expected a whole number from 1")


def open_study(sweep: Sweep, sweeper: Node) -> Study:
    """Return the study of a search on the data that lie here, as far as it has come.

    Its sampler is one for the next trial alone: see :func:`sampler_for`.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = JournalStorage(JournalFileBackend(str(sweep.folder / STORAGE)))
    name = study_name(sweep, sweeper)
    known = optuna.get_all_study_names(storage)
    if name not in known and any(other.startswith(f"{sweep.name}-") for other in known):
        note(
            "space, sampler, configuration, data or code are not those of the study that lies in "
            f"{sweep.folder}: another begins beside it"
        )
    optuna.create_study(storage=storage, study_name=name, load_if_exists=True)
    return _asked(name, storage, _built(sweeper["pruner"]))


def study_name(sweep: Sweep, sweeper: Node) -> str:
    """Return a name that is the same where trials can be compared, and drawn from one space."""
    manifest = Path("data/tasks/stream.json")
    data = hashlib.sha256(manifest.read_bytes()).hexdigest() if manifest.is_file() else ""
    known = [sorted(sweep.space), data, sweep.common, *(sweeper[name] for name in NODES)]
    return f"{sweep.name}-{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:12]}"


def sampler_for(sweeper: Node, number: int) -> Any:
    """Return a sampler for one trial, with a seed made of the configured one and its number.

    So a study that goes on draws what it would have drawn, and nothing twice.
    """
    import numpy as np

    node = dict(sweeper["sampler"])
    if isinstance(seed := node.get("seed"), int):
        node["seed"] = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    return _built(node)


def launched(study: Study) -> list[FrozenTrial]:
    """Return the trials that count: those with all their values."""
    return [trial for trial in study.get_trials(deepcopy=False) if LAUNCHED in trial.user_attrs]


def interrupted(study: Study) -> list[FrozenTrial]:
    """Return the trials that were begun and have no end; one that was only being drawn fails."""
    from optuna.trial import TrialState

    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in running:
        if LAUNCHED not in trial.user_attrs:
            study.tell(trial.number, state=TrialState.FAIL)
    return [trial for trial in running if LAUNCHED in trial.user_attrs]


def is_exhausted(study: Study) -> bool:
    """Return whether the sampler has drawn all that there is."""
    return bool(study.user_attrs.get(EXHAUSTED))


def tell(study: Study, number: int, record: JobRecord | None) -> None:
    """Tell a study what came of a job; one without a record, or a value, has failed."""
    from optuna.trial import TrialState

    if record is not None and record.value is not None:
        study.tell(number, record.value)
    elif record is not None and record.pruned:
        study.tell(number, state=TrialState.PRUNED)
    else:
        study.tell(number, state=TrialState.FAIL)


def trial_numbered(study: Study, number: int) -> Trial:
    """Return a trial of a study, to be reported to, in any process."""
    from optuna.trial import Trial

    (found,) = (t for t in study.get_trials(deepcopy=False) if t.number == number)
    return Trial(study, found._trial_id)


def in_groups(numbers: Sequence[int]) -> list[list[int]]:
    """Return numbers in order, those together that follow each other: launchers count jobs so."""
    groups: list[list[int]] = []
    for number in sorted(numbers):
        if groups and groups[-1][-1] == number - 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups


def _built(node: Node) -> Any:
    import warnings

    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():  # whoever names a class knows of it
        warnings.simplefilter("ignore", ExperimentalWarning)
        return build(node)


def _asked(name: str, storage: Any, pruner: Any) -> Study:
    from optuna import Study

    class Asked(Study):
        # Asked and told, by a loop that is not Optuna's, which is the only one it lets stop.
        def stop(self) -> None:
            self.set_user_attr(EXHAUSTED, True)

    return Asked(name, storage, pruner=pruner)
