"""From what a stream taught its runs to the results below ``transit/``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from insituml_pipelines.common.errors import UserError
from insituml_pipelines.common.log import say
from insituml_pipelines.common.output import new_folder, remove

if TYPE_CHECKING:
    from insituml.data.manifest import Manifest
    from insituml.stream import Ending
    from insituml_pipelines.transit.loop import StreamTraining
    from insituml_pipelines.transit.planning import Plan

LOG = "transit.json"
"""What a stream brought, beside the checkpoints of each method."""
WAITING = "waiting.json"
"""How long it took, among the timings."""
EARLIER = "earlier"
"""Gets the results of methods that learned another stream."""
DIED, STALLED = 3, 4
"""Exit codes of a stream that did not finish."""


def exit_code(ending: Ending) -> int:
    """Return what the command says to who called it about how its stream ended."""
    from insituml.stream import ProducerDied, Stalled

    return {ProducerDied: DIED, Stalled: STALLED}.get(type(ending), 0)


def finish(plan: Plan, training: StreamTraining, output: Path) -> list[str]:
    """Copy what was trained to ``output``; return the methods of which all seeds are whole.

    Parameters
    ----------
    plan, training
        After the stream has ended.
    output
        Gets ``data/tasks``, ``runs/`` and ``timings/``.

    Raises
    ------
    UserError
        If there is nothing to evaluate.
    """
    from insituml.atomic_file import write_json
    from insituml_pipelines.runs.publish import publish

    done = training.whole[0]
    if not done.ended_tasks:
        raise UserError(
            f"{training.log.ending} before any task had both an iteration to train on and one held "
            "out: there is nothing to evaluate",
            exit_code(training.ending) or UserError.code,
        )
    manifest = training.manifest()
    set_earlier_aside(output, manifest.fingerprint)
    _write_held_out(plan, manifest, done.ended_tasks, output / "data/tasks")
    log = {**training.log.content(), "tasks": manifest.to_plain()["tasks"]}
    broken = {run.run.recipe.method_name for run in training.runs if run not in training.whole}
    names = dict.fromkeys(run.recipe.method_name for run in plan.runs)
    methods = [name for name in names if name not in broken]
    for method in methods:
        runs = [run for run in plan.runs if run.recipe.method_name == method]
        publish(runs, output, {LOG: log})
    write_json(output / "timings" / WAITING, training.log.times())
    return methods


def _write_held_out(plan: Plan, manifest: Manifest, tasks: Sequence[int], folder: Path) -> None:
    """Write the held-out samples as the split stage lays them out, tasks numbered on."""
    import numpy as np

    from insituml.data.task_files import task_folder, write_manifest, write_part

    with new_folder(folder) as made:
        for k, task in enumerate(tasks):
            write_part(made, k, "test", plan.arrivals.held_out.samples(task))
            if plan.arrivals.validation is not None:
                write_part(made, k, "validation", plan.arrivals.validation.samples(task))
            for name, array in plan.tasks.cutter.task_arrays(task).items():
                np.save(task_folder(made, k) / f"{name}.npy", array)
        write_manifest(made, manifest)


def set_earlier_aside(output: Path, data: str) -> None:
    """Move what methods learned from another stream to ``earlier/``: it is no part of this one.

    Parameters
    ----------
    output
        Holds ``runs/``, ``evaluations/`` and ``timings/``.
    data
        Fingerprint of this stream.
    """
    for folder in sorted((output / "runs").glob("[!.]*")):
        found = _stream_of(folder)
        if found == data:
            continue
        name = folder.name
        place = output / EARLIER / (found[:12] or "unknown")
        for part in (
            Path("runs", name),
            Path("evaluations", name),
            Path("timings", f"{name}.json"),
        ):
            if (output / part).exists():
                (place / part).parent.mkdir(parents=True, exist_ok=True)
                remove(place / part)
                (output / part).replace(place / part)
        say(f"stream: {name} learned another stream; its results are in {place} now")


def _stream_of(folder: Path) -> str:
    """Return the fingerprint of the stream that a method learned; empty where nothing says so."""
    from insituml.checkpoint_file import CheckpointFormatError, read_checkpoint_file
    from insituml.verified_file import DamagedFileError
    from insituml_pipelines.runs.run import INITIAL

    for file in sorted(folder.glob(f"seed_*/{INITIAL}")):
        try:
            return str(read_checkpoint_file(file).metadata["data"])
        except (OSError, DamagedFileError, CheckpointFormatError, KeyError):
            continue  # another seed says the same
    return ""
