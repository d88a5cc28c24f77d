"""The loop over the events of several simulations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from insituml.in_transit import Arrival, InTransitTrainer
from insituml.in_transit.ensemble_log import EnsembleLog
from insituml.in_transit.ensemble_trainer import EnsembleTrainer
from insituml_pipelines.common.node import Node
from insituml_pipelines.runs.run import Run
from insituml_pipelines.transit.collected_run import CollectedRun
from insituml_pipelines.transit.ensemble_tasks import EnsembleTasks
from insituml_pipelines.transit.loop import StreamTraining
from insituml_pipelines.transit.prepared import StreamedTasks
from insituml_pipelines.transit.run import TransitRun


def training_of(tasks: StreamedTasks) -> Callable[..., StreamTraining]:
    """Return what makes the training on a stream: of one simulation, or of several."""
    return partial(EnsembleTraining, tasks) if isinstance(tasks, EnsembleTasks) else StreamTraining


class EnsembleTraining(StreamTraining):
    """Follows the streams of several simulations to their end.

    Parameters
    ----------
    tasks
        How these become tasks.
    arguments
        As of :class:`StreamTraining`, whose ``ring`` is the stream of ``tasks``.
    """

    def __init__(self, tasks: EnsembleTasks, *arguments: Any) -> None:
        self.tasks = tasks
        self._after: dict[str, Any] | None = None
        super().__init__(*arguments)
        self.log: EnsembleLog = EnsembleLog()

    def _open(self, run: Run) -> TransitRun:
        method = run.recipe.build()[1]
        in_transit = partial(EnsembleRun, self.tasks)
        kind = in_transit if method.learns_in_transit else CollectedRun
        untrained = self.manifest_of([], {}).to_plain()
        return kind(run, self.arrivals, self.transit, untrained, self.listener, self.shown.move)

    def _events(self) -> Iterator[Any]:
        tasks = self.tasks
        return tasks.stream.events(tasks.ensemble, tasks.windows, tasks.one.iterations, self._after)

    def _called(self, iteration: int) -> str:
        simulation, own = self.tasks.ensemble.place(iteration)
        return f"iteration {own} of {self.tasks.stream.simulations()[simulation].name}"

    def _go_on(self, content: Node) -> None:
        self._after = content["simulations"]
        for name, state in content["simulations"]["members"].items():
            self.log.may_come_again(name, state["last"])

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "simulations": self.tasks.stream.state_dict()}

    def _behind(self) -> str:
        joined = self._after["members"] if self._after else {}
        return f"{self.seen} iterations of {len(joined)} simulations"

    def _count(self) -> int:
        # One that came late, or ended early, has brought less than was planned.
        return 0 if self.seen is None else self.seen + self.log.lost

    def _passed(self, iteration: int) -> None:
        # The order of numbers is not that of arrival: what is behind the runs is counted.
        super()._passed(1 if self.seen is None else self.seen + 1)

    def _learn(self, arrival: Arrival) -> None:
        # What comes when its task is over, such as of one that joined late, is learned in the next.
        current = self.whole[0].trainer.task or 0
        super()._learn(replace(arrival, task=max(arrival.task, current)))

    def _lesson(self, arrival: Arrival) -> tuple[Any, ...]:
        return (*super()._lesson(arrival), self.tasks.ensemble.place(arrival.iteration)[0])

    def _facts(self) -> dict[str, Any]:
        members = [member.facts() for member in self.tasks.stream.members.values()]
        return {**super()._facts(), "simulations": members}


class EnsembleRun(TransitRun):
    """A run whose buffer and memory are shared equally by the simulations.

    Parameters
    ----------
    tasks
        Of the simulations.
    arguments
        As of :class:`TransitRun`.
    """

    def __init__(self, tasks: EnsembleTasks, *arguments: Any) -> None:
        self.tasks = tasks
        super().__init__(*arguments)

    def expected_arrivals(self, task: int) -> int:
        joined = self.tasks.stream.joined()
        numbers = self.arrivals.windows.trained(task)
        return sum(self.tasks.ensemble.place(number)[0] in joined for number in numbers)

    def trainer_kind(self) -> Callable[..., InTransitTrainer]:
        return partial(EnsembleTrainer, one_task=len(self.arrivals.windows) == 1)
