"""A whole stream in one loop: every step is trained on while it is recent, then let go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from insituml.data.step import Step
from insituml.in_transit.arrivals import Arrival, Arrivals
from insituml.in_transit.trainer import InTransitTrainer
from insituml.stream.events import Event, Finished
from insituml.training import TaskRecord


class StreamBrokeError(RuntimeError):
    """A stream ended otherwise than finished, or lost something on the way."""


def learn(
    events: Iterable[Event], arrivals: Arrivals, trainer: InTransitTrainer
) -> Iterator[TaskRecord]:
    """Train on a stream from its first step to its last; yield after each task.

    A generator: nothing is trained but what is iterated over.

    Parameters
    ----------
    events
        Of any source, such as ``RingSource(...).events()``.
    arrivals
        Cuts them into samples of tasks.
    trainer
        Trained in place.

    Raises
    ------
    StreamBrokeError
        For any event but steps and a proper end, or if there was nothing to train on;
        ``insituml stream`` copes with gaps and faults.
    """
    for samples in _samples(events, arrivals):
        if trainer.task not in (None, samples.task):
            yield trainer.end_task()
        if samples.batch is not None:
            if trainer.task is None:
                windows, task = arrivals.windows, samples.task
                expected = len(windows.trained(task))
                trainer.begin_task(task, windows.name(task), samples.batch, arrivals=expected)
            trainer.learn(samples.batch)
    if trainer.task is None:
        raise StreamBrokeError("the stream ended without a step to train on")
    yield trainer.end_task()


def _samples(events: Iterable[Event], arrivals: Arrivals) -> Iterator[Arrival]:
    for event in events:
        if isinstance(event, Step):
            yield from arrivals.take(event)
        elif isinstance(event, Finished):
            yield from arrivals.rest()
        else:
            raise StreamBrokeError(f"the stream said {event}, not another step")
