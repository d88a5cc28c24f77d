"""The tasks of several simulations, and what is known of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from insituml_pipelines.common.schema import Data, TimeSplit, Transit
from insituml_pipelines.transit.ensemble_source import (
    asked_ensemble,
    most_of,
    started_here,
)
from insituml_pipelines.transit.prepared import StreamedTasks, digest_of, streamed_tasks

if TYPE_CHECKING:
    from insituml.data.ensemble import Ensemble
    from insituml.data.manifest import Manifest
    from insituml.data.windows import TaskWindows
    from insituml.in_transit import Arrivals
    from insituml.stream import EnsembleStream


@dataclass(frozen=True)
class EnsembleTasks(StreamedTasks):
    """How the streams of several simulations become tasks.

    Parameters
    ----------
    stream
        Knows who has joined.
    ensemble
        Numbers their iterations.
    one
        The tasks of one simulation.
    """

    stream: EnsembleStream
    ensemble: Ensemble
    one: TaskWindows

    def manifest(
        self, arrivals: Arrivals, tasks: Sequence[int], trained: dict[int, int]
    ) -> Manifest:
        joined = replace(self.ensemble, simulations=self.stream.simulations())
        return replace(super().manifest(arrivals, tasks, trained), ensemble=joined)


def ensemble_tasks(
    data: Data, transit: Transit, stream: EnsembleStream, conditions: Sequence[str]
) -> EnsembleTasks:
    """Lay out the tasks of an ensemble.

    Parameters
    ----------
    data, transit
        Sections of the configuration.
    stream
        Described.
    conditions
        Parameters that each sample is given; none: the learners take none.

    Raises
    ------
    UserError
        If it cannot be cut as configured.
    """
    from insituml.data.ensemble import ensemble_windows, numbered

    ensemble = asked_ensemble(data)
    of_one = data
    if ensemble.tasks != "time" and isinstance(data.split, TimeSplit):
        of_one = data.model_copy(update={"split": data.split.model_copy(update={"tasks": 1})})
    laid_out = streamed_tasks(of_one, transit, stream.describe(), conditions)
    one, most = laid_out.windows, most_of(ensemble)
    numbers = numbered(most, one.last, ensemble.tasks)
    names: list[str] = []
    if ensemble.streams is None:
        members = [simulation for simulation, _ in started_here(data)]
        names = replace(numbers, simulations=tuple(members)).titles()
    asked = ensemble.model_dump(exclude={"restarts", "join_timeout"})
    return EnsembleTasks(
        data,
        transit,
        laid_out.cutter,
        ensemble_windows(one, numbers, most, names),
        digest_of(laid_out.fingerprint, asked, list(conditions)),
        stream=stream,
        ensemble=numbers,
        one=one,
    )
