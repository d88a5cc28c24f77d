"""Runs of a stream on several ranks: what the first calls of its own, the others call of theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

from insituml_pipelines.runs.together import silent

if TYPE_CHECKING:
    from insituml_pipelines.common.node import Node
    from insituml_pipelines.transit.run import TransitRun

Function = TypeVar("Function", bound=Callable[..., Any])


def led(function: Function) -> Function:
    """Let a function of a run be called on all ranks, where there are several.

    It calls no other such function.
    """

    @wraps(function)
    def call(run: TransitRun, *arguments: Any) -> Any:
        from insituml import ranks

        if ranks.size() > 1 and ranks.rank() == 0:
            ranks.told((run.name, function.__name__, arguments, run.arrivals.normalisation))
        return function(run, *arguments)

    return call  # type: ignore[return-value]


@contextmanager
def led_runs(runs: Sequence[TransitRun], manifest: Node) -> Iterator[None]:
    """Have the other ranks follow these runs in the block; to be called while ``leading``."""
    from insituml import ranks

    first = runs[0]
    made = [(type(run), run.run) for run in runs]
    ranks.told((_follow, (made, first.arrivals, first.transit, manifest)))
    yield
    ranks.told(None)


def _follow(made: Sequence[Any], arrivals: Any, transit: Any, manifest: Node) -> None:
    """Have runs like those of the first rank, and call of them what it calls of its own."""
    from insituml import ranks
    from insituml.training import DivergedError
    from insituml_pipelines.runs.worker import pin

    pin(made[0][1].recipe.training["threads"])
    held = {run.recipe.name: kind(run, arrivals, transit, manifest, silent) for kind, run in made}
    while (said := ranks.told(None)) is not None:
        name, function, arguments, arrivals.normalisation = said
        try:
            getattr(held[name], function)(*arguments)
        except DivergedError:
            continue  # on the first rank too, which says so and lets the run drop out
