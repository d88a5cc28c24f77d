"""What a stream is, and what memory learning from it takes, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from insituml_pipelines.common.log import say
from insituml_pipelines.common.schema import Transit

if TYPE_CHECKING:
    from insituml.in_transit import Arrivals
    from insituml.stream import Description
    from insituml_pipelines.transit.prepared import StreamedTasks


def say_how_much(tasks: StreamedTasks, arrivals: Arrivals, transit: Transit, runs: int) -> None:
    """Say what memory the stream takes at most."""
    megabytes, per_iteration = 1e-6 * tasks.sample_bytes, tasks.cutter.samples_per_iteration
    samples = transit.recent_iterations * per_iteration + transit.task_samples
    waiting = arrivals.most_waiting
    say(
        f"stream: {runs} runs learn from it; each holds at most {megabytes * samples:.1f} MB of "
        f"recent and sampled data, and what its method stores; the first {waiting} iterations, "
        f"{megabytes * waiting * per_iteration:.1f} MB, wait until their mean is known",
    )


def in_words(description: Description) -> str:
    """Return how many iterations of what shape a stream will bring."""
    numbers = description.iterations
    count = "iterations"
    if numbers is not None:
        count = f"{len(numbers)} iterations, {numbers[0]} to {numbers[-1]},"
    shape = "×".join(map(str, description.shape))
    unit = f", {description.unit}" if description.unit else ""
    return f"{count} of {shape} float32{unit}"
