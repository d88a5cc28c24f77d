"""What one call of ``stream`` trains, and on what: the stream opened, all configuration checked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.failures import ask_for_room
from insituml_pipelines.common.fitting import data_of
from insituml_pipelines.common.invocation import Invocation
from insituml_pipelines.common.launcher import launched
from insituml_pipelines.common.log import note, say
from insituml_pipelines.common.schema import Data, Training, Transit, validate
from insituml_pipelines.runs.planning import PARTIAL, TASKS, check_device, recipes_of
from insituml_pipelines.runs.sharding import refuse_sharding
from insituml_pipelines.runs.together import leading
from insituml_pipelines.runs.worker import settings_of

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.in_transit import Arrivals
    from insituml.stream import EnsembleStream, RingSource
    from insituml_pipelines.runs.recipe import Recipe
    from insituml_pipelines.runs.run import Run
    from insituml_pipelines.transit.live import LiveFile
    from insituml_pipelines.transit.prepared import StreamedTasks
    from insituml_pipelines.transit.rank_stream import RankStream

RESULT_KEYS = (
    "batches_per_iteration",
    "max_batches_per_iteration",
    "recent_iterations",
    "task_samples",
)
"""Settings of the stream that weights depend on, beside its samples."""


@dataclass(frozen=True)
class Plan:
    """What one call trains, and on what."""

    ring: RingSource | EnsembleStream | RankStream
    tasks: StreamedTasks
    arrivals: Arrivals
    transit: Transit
    runs: list[Run]
    folder: Path
    """Gets checkpoints and resume points until the stream has ended."""
    live: LiveFile | None = None
    """Tells who watches how it goes."""
    together: ExitStack = field(default_factory=ExitStack)
    """Of several ranks, keeps the others at work until it is closed."""

    def manifest(self, tasks: Sequence[int], trained: dict[int, int]) -> Manifest:
        return self.tasks.manifest(self.arrivals, tasks, trained)


def plan(call: Invocation) -> Plan:
    """Open the stream and return what is to be trained on it, all of the configuration checked.

    Raises
    ------
    UserError
        For any wrong key or value, or if no producer comes.
    """
    from insituml.ranks import alone
    from insituml.stream import NoProducerError
    from insituml_pipelines.runs.optimisation import schedule_of
    from insituml_pipelines.transit.announcing import in_words
    from insituml_pipelines.transit.ensemble_plan import for_all_simulations
    from insituml_pipelines.transit.folder import stream_folder
    from insituml_pipelines.transit.live import LiveFile

    data = data_of(call, in_transit=True)
    transit = validate(Transit, call.section("transit"), "transit")
    folder = stream_folder(call.output, transit.folder)
    training = validate(Training, call.section("training"), "training")
    check_device(training.device)
    refuse_sharding(training)
    schedule_of(training.model_dump())
    calls = _calls(call, transit)
    if data.ensemble is not None:
        transit, calls = for_all_simulations(transit, training, calls, data)
    with ExitStack() as together:
        ring = _opened(data, transit, together)
        say(f"stream: waiting for {data.path or data.name}")
        try:
            description = ring.describe()
        except NoProducerError as error:
            raise UserError(f"data={data.name}: {error}") from error
        say(f"stream: {data.name}: {in_words(description)}")
        with alone():  # the other ranks wait
            planned = _plan(calls, data, transit, training, ring)
        live = LiveFile(folder, data.name)
        return replace(planned, live=live, together=together.pop_all())


def _opened(
    data: Data, transit: Transit, together: ExitStack
) -> RingSource | EnsembleStream | RankStream:
    """Return the stream; on several ranks, the others follow from here on, until the stack ends."""
    from insituml_pipelines.transit.ensemble_source import open_ensemble
    from insituml_pipelines.transit.source import open_ring, reads_blocks

    if transit.read_blocks and (launched() == 1 or data.ensemble is not None):
        why = "one process reads all" if launched() == 1 else "the first rank reads an ensemble"
        note(f"transit.read_blocks is without effect: {why}")
    if data.ensemble is not None:
        several = open_ensemble(data, transit)
        if launched() > 1:
            together.enter_context(leading())
        return together.enter_context(several)
    if launched() == 1:
        return together.enter_context(open_ring(data, transit))
    in_blocks = reads_blocks(data, transit)
    ring = open_ring(data, transit, in_blocks=in_blocks)
    if not in_blocks and data.path is not None and transit.read_blocks is None:
        say("stream: the first rank reads all; transit.read_blocks=true lets each read a part")
    together.enter_context(leading())
    from insituml_pipelines.transit.rank_stream import led_stream

    return together.enter_context(led_stream(ring, in_blocks=in_blocks))


def _calls(call: Invocation, transit: Transit) -> list[Invocation]:
    """Return one call for each method that is to learn."""
    chosen = call.choices["method"]
    names = list(dict.fromkeys(transit.methods or [chosen]))
    given = [o for o in call.overrides if o.lstrip("+~").startswith("method")]
    if given and chosen not in names:
        raise UserError(
            f"{given[-1]} is for method={chosen}, which is not among transit.methods; add it, or "
            "leave transit.methods out"
        )
    return [call.with_choice("method", name) for name in names]


def _plan(
    calls: Sequence[Invocation],
    data: Data,
    transit: Transit,
    training: Training,
    ring: RingSource | EnsembleStream | RankStream,
) -> Plan:
    from insituml_pipelines.runs.identity import fingerprint
    from insituml_pipelines.runs.mirroring import mirrors_of
    from insituml_pipelines.runs.mixing import mixing_of
    from insituml_pipelines.runs.run import Run
    from insituml_pipelines.transit.announcing import say_how_much
    from insituml_pipelines.transit.ensemble_plan import tasks_of

    try:
        ring.check_room()
    except MemoryError as error:
        raise UserError(f"transit.slots is {transit.slots}: {error}") from error
    tasks = tasks_of(calls, data, transit, ring)
    settings = settings_of(training.model_dump())
    mirrors_of(settings, tasks.cutter.description.components, tasks.cutter.description.grid)
    mixing_of(settings, tasks.cutter.description.grid, tasks.cutter.chunk)
    # How often each iteration is trained on is the stream's matter, not that of epochs or a budget.
    del settings["epochs"], settings["budget"]
    settings |= {key: getattr(transit, key) for key in RESULT_KEYS}
    recipes: list[Recipe] = []
    for call in calls:
        recipes += recipes_of(
            call,
            tasks.facts,
            settings,
            tasks.fingerprint,
            training.seeds,
            tasks.example(),
            validated=bool(tasks.windows.validation),
        )
    folder = PARTIAL / f"stream-{fingerprint([r.identity().fingerprint for r in recipes])}"
    arrivals = tasks.arrivals(folder)
    runs = [Run(r, folder / TASKS, folder / r.method_name / f"seed_{r.seed}") for r in recipes]
    _ask_for_room(tasks, folder)
    say_how_much(tasks, arrivals, transit, len(runs))
    return Plan(ring, tasks, arrivals, transit, runs, folder)


def _ask_for_room(tasks: StreamedTasks, folder: Path) -> None:
    """See that what is held out fits the disk: beside the resume points, and among the results."""
    of_iteration = tasks.sample_bytes * tasks.cutter.samples_per_iteration
    windows = tasks.windows.windows
    numbers = [len(window.held_out) + len(window.validation) for window in windows]
    ask_for_room(
        folder,
        2 * sum(numbers) * of_iteration,
        max(numbers) * of_iteration,
        "stream: what is held out",
    )
